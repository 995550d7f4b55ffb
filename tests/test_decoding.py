import json
import time

import h5py
import numpy as np
import pytest
import regions
import xarray as xr
from scipy import stats

from lib import artefacts, decoding, decoding_accuracy, features, partial

SETTINGS = decoding.Settings(alpha=3.0, n_selected=4)


@pytest.fixture
def case(tmp_path):
    return regions.case(tmp_path)


def brute_force(X, Y, *, alpha, n_selected):
    """Ridge with a free bias on the most correlated inputs, one target at a time."""
    weights, bias = np.zeros((X.shape[1], Y.shape[1])), np.zeros(Y.shape[1])
    for u in range(Y.shape[1]):
        r = [abs(stats.pearsonr(x, Y[:, u]).statistic) for x in X.T]
        S = np.argsort(r)[-n_selected:]
        centred, target = X[:, S] - X[:, S].mean(axis=0), Y[:, u] - Y[:, u].mean()
        weights[S, u] = np.linalg.solve(centred.T @ centred + alpha * np.eye(len(S)), centred.T @ target)
        bias[u] = Y[:, u].mean() - X[:, S].mean(axis=0) @ weights[S, u]
    return weights, bias


def test_decoded_features_are_those_of_a_plain_regression_on_all_presentations(case, tmp_path):
    source, responses = case
    # One presentation is missing, so that stimuli weigh differently and the bias is not 0.
    values = responses["response"].values.copy()
    values[1, 4, :21] = np.nan
    responses = responses.assign(response=(responses["response"].dims, values))
    found = decoding.decode(source, responses, tmp_path, settings=SETTINGS)
    names = responses["stimulus"].values.tolist() + responses["test_stimulus"].values.tolist()
    for subject, roi, voxels in (("p0", "B", slice(7, 14)), ("p1", "A", slice(21, 28))):
        single = values[..., voxels].reshape(-1, 7)
        shown = np.isfinite(single).all(axis=1)
        X, test = single[shown], responses["test_response"].values[..., voxels].mean(axis=0)
        test, X = ((side - X.mean(axis=0)) / X.std(axis=0, ddof=1) for side in (test, X))
        for layer in regions.LAYERS:
            units = regions.columns(source, layer, names)
            mean, deviation = units[:40].mean(axis=0), units[:40].std(axis=0, ddof=1)
            Y = ((units[:40] - mean) / deviation)[np.tile(np.arange(40), 3)[shown]]
            weights, bias = brute_force(X, Y, alpha=3.0, n_selected=4)
            expected = (test @ weights + bias) * deviation + mean
            stored = artefacts.load(tmp_path / "predictions" / f"{layer}.nc").isel(split=0)
            ours = stored["decoded"].sel(subject=subject, roi=roi).transpose("stimulus", "unit")
            np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)  # single precision
            np.testing.assert_array_equal(stored["true"].transpose("stimulus", "unit"), units[40:])
            r = [stats.pearsonr(a, b).statistic for a, b in zip(expected.T, units[40:].T, strict=True)]
            ours = found["accuracy"].isel(split=0).sel(subject=subject, roi=roi)
            np.testing.assert_allclose(ours[found["layer"].values == layer], r, atol=1e-6)


def test_layout_is_the_agreed_one(case, tmp_path):
    found = decoding.decode(*case, tmp_path, settings=SETTINGS)
    assert found["accuracy"].dims == ("split", "subject", "roi", "unit")
    assert found["accuracy"].dtype == np.float32
    assert found["roi"].values.tolist() == list(regions.ROIS)
    assert list(dict.fromkeys(found["layer"].values.tolist())) == list(regions.LAYERS)
    assert found["layer_name"].values.tolist() == list(regions.LAYERS)
    assert found["unit"].values[:2].tolist() == ["first/0000", "first/0001"]
    assert found.attrs["n_test"] == 20
    assert found.attrs["target"] == "small"
    assert found.attrs["published"] == ""
    artefacts.save(found, tmp_path / "decoding.nc")
    xr.testing.assert_identical(artefacts.load(tmp_path / "decoding.nc"), found)
    stored = artefacts.load(tmp_path / "predictions" / "second.nc")
    assert dict(stored["decoded"].sizes) == {"unit": 12, "split": 1, "subject": 2, "roi": 3, "stimulus": 20}


def test_planted_layers_come_back_and_shuffled_stimuli_are_at_chance(case, tmp_path):
    source, responses = case
    found = decoding.decode(source, responses, tmp_path / "a", settings=SETTINGS)
    means = (
        found["accuracy"].mean(["split", "subject"]).groupby("layer").mean().sel(layer=list(regions.LAYERS))
    )
    np.testing.assert_array_equal(means.argmax("roi"), [0, 1, 2])
    assert (np.diag(means.transpose("layer", "roi")) > 0.8).all()
    order = np.random.default_rng(1).permutation(40)
    shuffled = responses.assign(
        response=responses["response"].copy(data=responses["response"].values[:, order])
    )
    chance = decoding.decode(source, shuffled, tmp_path / "b", settings=SETTINGS)
    # Units of a layer share two latents: 18 correlations, anywhere from -1 to 1, whose standard deviation is near
    # .7; their mean lies within two standard errors.
    assert abs(chance["accuracy"].mean()) < 2 * 0.7 / np.sqrt(18)
    assert abs(chance["identification"].mean() - 0.5) < 0.1
    assert found["identification"].sel(layer_name="first", roi="A").mean() > 0.8
    assert (abs(found["corrected"]) > abs(found["accuracy"])).mean() > 0.9


@pytest.mark.parametrize("block", [1, 7])
def test_blocks_change_nothing(case, tmp_path, block):
    whole = decoding.decode(*case, tmp_path / "whole", settings=SETTINGS, block=1000)
    parts = decoding.decode(*case, tmp_path / "parts", settings=SETTINGS, block=block)
    xr.testing.assert_allclose(whole, parts, rtol=0, atol=2**-22)  # the last digits of single precision
    for layer in regions.LAYERS:
        a, b = (
            artefacts.load(tmp_path / side / "predictions" / f"{layer}.nc") for side in ("whole", "parts")
        )
        xr.testing.assert_allclose(a, b, rtol=3e-7)


class Killed(BaseException):
    """As when the process is killed: nothing is cleaned up."""


def test_what_was_done_before_a_kill_is_not_done_again(case, tmp_path, monkeypatch):
    whole = decoding.decode(*case, tmp_path / "whole", settings=SETTINGS, block=5)
    done, block = [], decoding._block

    def counted(*arguments):
        if len(done) == 4:  # in the second block of the second layer
            raise Killed
        done.append(1)
        return block(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "_block", counted)
        with pytest.raises(Killed):
            decoding.decode(*case, tmp_path / "killed", settings=SETTINGS, block=5)
    assert partial.size(tmp_path / "killed" / "predictions" / "second.nc") > 0
    again = []
    monkeypatch.setattr(decoding, "_block", lambda *arguments: again.append(1) or block(*arguments))
    found = decoding.decode(*case, tmp_path / "killed", settings=SETTINGS, block=5)
    assert len(again) == 9 - 4
    xr.testing.assert_identical(found, whole)
    decoding.decode(*case, tmp_path / "killed", settings=SETTINGS, block=5)
    assert len(again) == 5


@pytest.mark.parametrize("what", ["settings", "responses", "features"])
def test_what_was_made_from_something_else_is_made_again(case, tmp_path, what):
    source, responses = case
    before = decoding.decode(source, responses, tmp_path, settings=SETTINGS)
    settings = SETTINGS
    if what == "settings":
        settings = decoding.Settings(alpha=300.0, n_selected=4)
    elif what == "responses":
        responses = responses.assign(
            response=responses["response"] + np.random.default_rng(0).normal(size=42)
        )
        responses["response"][0, 0] += 1
    else:
        source, _ = regions.case(tmp_path / "other", seed=1) if (tmp_path / "other").mkdir() is None else None
    after = decoding.decode(source, responses, tmp_path, settings=settings)
    assert not after["accuracy"].equals(before["accuracy"])
    fresh = decoding.decode(source, responses, tmp_path / "fresh", settings=settings)
    xr.testing.assert_identical(after, fresh)


def test_units_are_drawn_once_for_all_by_name_of_the_layer(tmp_path):
    source, _ = regions.case(tmp_path, n_units=30)
    # What the authors of a release have drawn is all there is.
    assert {len(index) for index in decoding.units(source, n_units=8).values()} == {30}
    with h5py.File(source, "r+") as file:
        file.attrs["time"] = "averaged"
    drawn = decoding.units(source, n_units=8)
    for index in drawn.values():
        assert (np.diff(index) > 0).all()
        assert len(index) == 8
    assert drawn["first"].tolist() != drawn["second"].tolist()
    again, other = (decoding.units(source, n_units=8, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(drawn["first"], again["first"])
    assert drawn["first"].tolist() != other["first"].tolist()
    np.testing.assert_array_equal(decoding.units(source, n_units=None)["third"], np.arange(30))
    with h5py.File(source, "r+") as file:
        file.attrs["layers"] = json.dumps(["second", "first"])
    np.testing.assert_array_equal(decoding.units(source, n_units=8)["first"], drawn["first"])


def test_drawn_units_are_the_ones_decoded(tmp_path, monkeypatch):
    source, responses = regions.case(tmp_path, n_units=30)
    whole = decoding.decode(source, responses, tmp_path / "whole", settings=SETTINGS)
    with h5py.File(source, "r+") as file:
        file.attrs["time"] = "averaged"
    monkeypatch.setattr(decoding, "COLUMNS_READ", 7)
    some = decoding.Settings(alpha=3.0, n_selected=4, n_units=9)
    found = decoding.decode(source, responses, tmp_path / "some", settings=some, block=4)
    index = decoding.units(source, n_units=9)["second"]
    assert found["index"].values[found["layer"].values == "second"].tolist() == index.tolist()
    names = found["unit"].values.tolist()
    expected = whole["accuracy"].sel(unit=names)
    np.testing.assert_allclose(found["accuracy"], expected, atol=1e-6)


def test_splits_of_the_train_stimuli_are_taken_from_the_first_on(case, tmp_path):
    source, responses = case
    parted = regions.halves(responses)
    two = decoding.decode(source, parted, tmp_path / "two", settings=decoding.Settings(3.0, 4, n_splits=2))
    one = decoding.decode(source, parted, tmp_path / "one", settings=SETTINGS)
    assert two["split"].values.tolist() == [3, 5]
    assert one["split"].values.tolist() == [3]
    np.testing.assert_allclose(one["accuracy"][0], two["accuracy"][0], atol=1e-6)
    stored = artefacts.load(tmp_path / "two" / "predictions" / "first.nc")
    for i, split in enumerate((3, 5)):
        tested = parted["stimulus"].values[~parted["train"].values[i]].tolist()
        decoded = stored["decoded"].sel(split=split)
        finite = decoded["stimulus"].values[np.isfinite(decoded).all(["unit", "subject", "roi"])].tolist()
        assert finite == [name for name in stored["stimulus"].values.tolist() if name in tested]


def test_a_unit_that_does_not_vary_is_undefined_and_leaves_the_others_alone(tmp_path):
    source, responses = regions.case(tmp_path)
    before = decoding.decode(source, responses, tmp_path / "a", settings=SETTINGS)
    with h5py.File(source, "r+") as file:
        values = file["first"][()]
        values[:, 3] = 0.7
        file["first"][...] = values
    for published in (None, "nonaka2021"):
        settings = decoding.Settings(3.0, 4, published=published)
        found = decoding.decode(source, responses, tmp_path / f"b{published}", settings=settings)
        undefined = np.isnan(found["accuracy"]).all(["split", "subject", "roi"])
        assert found["unit"].values[undefined].tolist() == ["first/0003"]
        assert np.isfinite(found["pattern"]).all()
    for name in ("accuracy", "reliability"):
        others = before[name].drop_sel(unit="first/0003")
        ours = artefacts.load(tmp_path / "bNone" / "predictions" / "first.nc")[name].drop_sel(
            unit="first/0003"
        )
        expected = others.isel(unit=others["layer"] == "first").transpose(*ours.dims)
        np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_a_voxel_that_lacks_a_value_is_left_out_and_as_published_spoils_its_region(case, tmp_path):
    source, responses = case
    values = responses["response"].values.copy()
    values[0, 0, 8] = np.nan  # a voxel of the first subject's region B
    odd = responses.assign(response=(responses["response"].dims, values))
    without = responses.drop_isel(voxel=8)
    ours = decoding.decode(source, odd, tmp_path / "a", settings=SETTINGS)
    expected = decoding.decode(source, without, tmp_path / "b", settings=SETTINGS)
    np.testing.assert_allclose(ours["accuracy"], expected["accuracy"], atol=1e-6)
    assert ours["n_missing"].values.tolist() == [[[0, 1, 0], [0, 0, 0]]]
    settings = decoding.Settings(3.0, 4, published="nonaka2021")
    spoilt = decoding.decode(source, odd, tmp_path / "c", settings=settings)
    undefined = np.isnan(spoilt["accuracy"]).all("unit").values[0]
    np.testing.assert_array_equal(undefined, [[False, True, False], [False] * 3])
    counted = decoding_accuracy.counts(ours).set_index("quantity")
    assert counted.loc["missing_voxels", ["count", "of"]].tolist() == [1, 42]


def test_the_penalised_bias_matters_where_stimuli_were_not_shown_equally_often(case, tmp_path):
    source, responses = case
    plain, published = (decoding.Settings(100.0, 4, published=p) for p in (None, "nonaka2021"))
    runs = [
        decoding.decode(source, responses, tmp_path / f"{s.published}", settings=s)
        for s in (plain, published)
    ]
    # Shown equally often, responses and features have mean 0, and so has the bias, penalised or not.
    np.testing.assert_allclose(*(run["accuracy"] for run in runs), atol=1e-5)
    both = [
        artefacts.load(tmp_path / f"{s.published}/predictions/first.nc")["decoded"]
        for s in (plain, published)
    ]
    np.testing.assert_allclose(*both, atol=1e-4)
    values = responses["response"].values.copy()
    few = regions.columns(source, "first", responses["stimulus"].values.tolist())[:, 0] < 2
    values[1:, few] = np.nan
    odd = responses.assign(response=(responses["response"].dims, values))
    for s in (plain, published):
        decoding.decode(source, odd, tmp_path / f"odd{s.published}", settings=s)
    both = [
        artefacts.load(tmp_path / f"odd{s.published}/predictions/first.nc")["decoded"]
        for s in (plain, published)
    ]
    offset = (both[0] - both[1]).sel(unit="first/0000")
    # The same for all stimuli: a correlation does not see it, an error in the feature's own unit does.
    assert (abs(offset.mean("stimulus")) > 0.02).all()
    assert offset.std("stimulus").max() < 0.02


@pytest.mark.parametrize("lacking", [[0, 7], [39], [38, 39]])
def test_train_stimuli_that_a_subject_was_not_shown_are_left_out(case, tmp_path, lacking):
    source, responses = case
    values = responses["response"].values.copy()
    values[:, lacking, :21] = np.nan
    odd = responses.assign(response=(responses["response"].dims, values))
    found = decoding.decode(source, odd, tmp_path / "odd", settings=SETTINGS)
    # Features are scaled by all train stimuli there or by those left, which a free bias and correlations hardly see.
    left = responses.drop_isel(stimulus=lacking)
    expected = decoding.decode(source, left, tmp_path / "left", settings=SETTINGS)
    np.testing.assert_allclose(found["accuracy"][0, 0], expected["accuracy"][0, 0], atol=1e-6)
    whole = decoding.decode(source, responses, tmp_path / "whole", settings=SETTINGS)
    np.testing.assert_allclose(found["accuracy"][0, 1], whole["accuracy"][0, 1], atol=1e-6)


def test_all_that_computes_counts_for_what_is_taken_over():
    assert {"subsets_on_device", "devices", "measured"} <= set(decoding.SOLVER)
    assert all((artefacts.ROOT / "lib" / f"{name}.py").is_file() for name in decoding.CODE)


def test_identity_sees_every_value_and_name(case):
    source, responses = case

    def said(one):
        return decoding.identity(source, one, SETTINGS, code=decoding.CODE)["responses"]

    values = responses["response"].values.copy()
    values[2, 39, 41] = np.nextafter(values[2, 39, 41], 9)
    other = responses.assign(response=(responses["response"].dims, values))
    names = responses.assign_coords(test_stimulus=["odd", *responses["test_stimulus"].values[1:]])
    turned = responses.transpose("voxel", ...)
    regions_ = responses.assign_coords(roi=("voxel", responses["roi"].values[::-1].copy()))
    assert len({said(one) for one in (responses, other, names, turned, regions_)}) == 5
    assert said(responses) == said(responses.copy(deep=True))


def test_shuffled_units_are_spread_over_those_decoded(tmp_path):
    source, responses = regions.case(tmp_path, n_units=30)
    with h5py.File(source, "r+") as file:
        file.attrs["time"] = "averaged"
    settings = decoding.Settings(3.0, 4, n_units=10)
    found = decoding.chance(source, responses, settings=settings, n_units=4)
    drawn = decoding.units(source, n_units=10)["second"]
    names = found["unit"].values[found["layer"].values == "second"].tolist()
    assert names == decoding.identifiers("second", drawn[[0, 3, 6, 9]])


def test_forecast_memory_covers_responses_and_what_regions_keep(case):
    source, responses = case
    found = decoding.forecast(source, responses, settings=SETTINGS)["memory"]
    plan = decoding.presentations.plan(responses, 1)
    kept = 0
    for place in plan.places:
        design = decoding._design(responses, plan, place, SETTINGS)
        samples, inputs = design.samples, design.inputs
        arrays = samples.X, samples.test, samples.repeats, inputs.centred, inputs.summed
        kept += sum(array.nbytes for array in arrays)
    assert kept + responses.nbytes < found < 3 * (kept + responses.nbytes) + 8e6


def test_stimuli_without_features_are_named(case, tmp_path):
    source, responses = case
    other = responses.assign_coords(test_stimulus=["odd", *responses["test_stimulus"].values[1:]])
    with pytest.raises(ValueError, match=r"1 stimuli have no features, first \['odd'\]"):
        decoding.decode(source, other, tmp_path, settings=SETTINGS)


def test_a_layer_is_never_read_whole(case, tmp_path, monkeypatch):
    source, responses = case
    monkeypatch.setattr(features, "blocks", lambda *_, **__: pytest.fail("reads all units"))
    monkeypatch.setattr(decoding, "COLUMNS_READ", 3)
    found = decoding.decode(source, responses, tmp_path, settings=SETTINGS)
    assert np.isfinite(found["accuracy"]).all()


def test_forecast_sums_what_regions_of_their_size_would_take(tmp_path, monkeypatch):
    source, responses = regions.case(tmp_path, n_voxels=9)
    # Regions of 3, 6 and 9 voxels in each of two subjects.
    kept = [v for v in range(54) if v % 9 < 3 * (1 + v % 27 // 9)]
    responses = responses.isel(voxel=kept)
    asked = []

    def timed(columns, what, _, n_units):
        asked.append((len(columns), n_units))
        return {3: 10.0, 6: 17.0, 9: 30.0}[len(what[1].voxels[what[2][1:]])]

    monkeypatch.setattr(decoding, "_timed", timed)
    found = decoding.forecast(source, responses, settings=SETTINGS)
    assert found["seconds"] == pytest.approx(2 * (10 + 17 + 30), abs=0.01)
    assert asked == [(60, 36)] * 6
    assert (found["n_units"], found["n_cells"]) == (36, 6)
    assert found["bytes"] == 4 * 36 * 20 * 7
    # Two regions are tried, the smallest and the largest; those of 6 voxels lie between.
    few = decoding.forecast(source, responses, settings=SETTINGS, n_probed=2)
    assert few["seconds"] == pytest.approx(2 * (10 + 20 + 30), abs=0.01)
    assert len(asked) == 6 + 2


def test_forecast_is_of_the_right_size(case, tmp_path):
    # Of 36 units there is little to time, and other work on the machine counts; hours for seconds would show.
    found = decoding.forecast(*case, settings=SETTINGS)
    start = time.perf_counter()
    decoding.decode(*case, tmp_path, settings=SETTINGS)
    assert 0 < found["seconds"] < 20 * (time.perf_counter() - start)


def test_with_shuffled_stimuli_nothing_is_decoded(case):
    source, responses = case
    found = decoding.chance(source, responses, settings=SETTINGS, n_units=5)
    assert found.dims == ("roi", "unit")
    assert found["roi"].values.tolist() == list(regions.ROIS)
    assert found.sizes["unit"] == 15
    xr.testing.assert_identical(found, decoding.chance(source, responses, settings=SETTINGS, n_units=5))
    # Of two latents, correlations are anywhere from -1 to 1 with a standard deviation near .7; those of 3 layers,
    # 3 regions and 8 shuffles are independent, and their mean lies within three standard errors.
    runs = [
        decoding.chance(source, responses, settings=decoding.Settings(3.0, 4, seed=seed)) for seed in range(8)
    ]
    assert abs(np.mean(runs)) < 3 * 0.7 / np.sqrt(72)


def test_results_of_anything_else_or_damaged_are_not_taken(tmp_path):
    path = tmp_path / "a.nc"
    assert not decoding.is_made_of(path, {"n": 1})
    artefacts.save(xr.Dataset(attrs={"identity": json.dumps({"n": 1})}), path)
    assert decoding.is_made_of(path, {"n": 1})
    assert not decoding.is_made_of(path, {"n": 2})
    path.write_bytes(path.read_bytes()[:-100])
    assert not decoding.is_made_of(path, {"n": 1})
