import h5py
import numpy as np
import pytest
import regions
import xarray as xr
from scipy import stats
from test_decoding import brute_force

from lib import bhscore, bhscore_inference, decoding, features, selected_encoding, selected_ridge, solver_cost

SETTINGS = decoding.Settings(alpha=3.0, n_selected=4)


@pytest.fixture
def case(tmp_path):
    return regions.case(tmp_path)


def plain(source, responses, layer, *, alpha=3.0, n_selected=4):
    """Accuracy of every voxel by a plain regression on units replicated for all presentations."""
    names = responses["stimulus"].values.tolist() + responses["test_stimulus"].values.tolist()
    units = regions.columns(source, layer, names)
    units = (units - units[:40].mean(axis=0)) / units[:40].std(axis=0, ddof=1)
    found = []
    for voxel in range(responses.sizes["voxel"]):
        y = responses["response"].values[..., voxel].ravel()
        shown = np.isfinite(y)
        Y = ((y[shown] - y[shown].mean()) / y[shown].std(ddof=1))[:, None]
        rows = np.tile(np.arange(40), 3)[shown]
        weights, bias = brute_force(units[rows], Y, alpha=alpha, n_selected=n_selected)
        test = responses["test_response"].values[..., voxel].mean(axis=0)
        found.append(stats.pearsonr((units[40:] @ weights + bias)[:, 0], test).statistic)
    return np.array(found)


def test_accuracies_are_those_of_a_plain_regression_on_all_presentations(case, tmp_path):
    source, responses = case
    found = selected_encoding.encode(source, responses, tmp_path, settings=SETTINGS)
    assert found["accuracy"].dims == ("split", "layer", "voxel")
    assert found["layer"].values.tolist() == list(regions.LAYERS)
    assert found.attrs["n_test"] == 20
    for layer in regions.LAYERS[:2]:
        ours = found["accuracy"].isel(split=0).sel(layer=layer)
        np.testing.assert_allclose(ours, plain(source, responses, layer), atol=1e-6)


def test_stimuli_not_shown_equally_often_are_fitted_one_by_one(case, tmp_path):
    source, responses = case
    values = responses["response"].values.copy()
    values[1, 4, :21], values[:, 9, :21] = np.nan, np.nan
    odd = responses.assign(response=(responses["response"].dims, values))
    found = selected_encoding.encode(source, odd, tmp_path, settings=SETTINGS)
    np.testing.assert_allclose(found["accuracy"][0, 0], plain(source, odd, "first"), atol=1e-6)


def test_planted_layers_predict_their_regions_best(case, tmp_path):
    found = selected_encoding.encode(*case, tmp_path, settings=SETTINGS)
    by_roi = found["accuracy"].isel(split=0).groupby("roi").mean()
    np.testing.assert_array_equal(by_roi.sel(roi=list(regions.ROIS)).argmax("layer"), [0, 1, 2])


def test_no_product_of_all_units_is_formed(tmp_path, monkeypatch):
    source, responses = regions.case(tmp_path, n_units=300, n_voxels=3)
    whole = selected_encoding.encode(source, responses, tmp_path / "a", settings=SETTINGS)
    monkeypatch.setattr(selected_ridge, "INPUTS_SHARED", 64)
    narrow = selected_encoding.encode(source, responses, tmp_path / "b", settings=SETTINGS)
    xr.testing.assert_allclose(whole, narrow, atol=2e-6)


def test_a_dead_unit_is_left_out_and_as_published_makes_the_layer_undefined(case, tmp_path):
    source, responses = case
    with h5py.File(source, "r+") as file:
        values = file["second"][()]
        values[:, 3] = 0.7
        file["second"][...] = values
    found = selected_encoding.encode(source, responses, tmp_path / "a", settings=SETTINGS)
    assert np.isfinite(found["accuracy"]).all()
    assert found["constant_units"].values.tolist() == [[0, 1, 0]]
    settings = decoding.Settings(3.0, 4, published="nonaka2021")
    published = selected_encoding.encode(source, responses, tmp_path / "b", settings=settings)
    undefined = np.isnan(published["accuracy"]).all("voxel").values[0]
    np.testing.assert_array_equal(undefined, [False, True, False])


@pytest.mark.parametrize("published", [None, "nonaka2021"])
@pytest.mark.parametrize("value", [0.7, np.inf])
def test_a_dead_layer_is_undefined_and_leaves_the_others_alone(case, tmp_path, published, value):
    source, responses = case
    settings = decoding.Settings(3.0, 4, published=published)
    before = selected_encoding.encode(source, responses, tmp_path / "a", settings=settings)
    with h5py.File(source, "r+") as file:
        file["second"][...] = np.full(file["second"].shape, value)
    found = selected_encoding.encode(source, responses, tmp_path / "b", settings=settings)
    assert np.isnan(found["accuracy"].sel(layer="second")).all()
    assert found["constant_units"].values.tolist() == [[0, 12, 0]]
    others = ["first", "third"]
    np.testing.assert_array_equal(found["accuracy"].sel(layer=others), before["accuracy"].sel(layer=others))


def test_a_subject_that_lacks_the_first_of_overlapping_regions_is_scored(case, tmp_path):
    source, responses = case
    subject, roi = responses["subject"].values, responses["roi"].values
    inside = np.array([roi == name for name in regions.ROIS])
    inside[0, subject == "p0"] = False
    inside[1, np.flatnonzero((roi == "C") & (subject == "p0"))[:2]] = True
    odd = responses.assign(in_roi=(("region", "voxel"), inside)).assign_coords(region=list(regions.ROIS))
    decoded = decoding.decode(source, odd, tmp_path, settings=SETTINGS)
    encoded = selected_encoding.encode(source, odd, tmp_path, settings=SETTINGS)
    assert decoded["roi"].values.tolist() == list(regions.ROIS)
    mean = {"decoding": decoded["accuracy"].mean("split"), "encoding": encoded["accuracy"].mean("split")}
    tables = {
        "decoding": bhscore.counts(bhscore.top_rois(mean["decoding"], n_stimuli=20)),
        "encoding": bhscore.counts(
            bhscore.top_layers(mean["encoding"], n_stimuli=20, rois=list(regions.ROIS))
        ),
    }
    assert tables["encoding"]["subject"].values.tolist() == ["p1", "p0"]
    found = bhscore_inference.over_subjects(tables)
    assert np.isfinite(found["value"]).all()
    assert tables["decoding"].sel(subject="p0", roi="A").sum() == 0


def test_splits_are_tested_on_their_own_stimuli(case, tmp_path):
    source, responses = case
    parted = regions.halves(responses)
    two = selected_encoding.encode(
        source, parted, tmp_path / "two", settings=decoding.Settings(3.0, 4, n_splits=2)
    )
    assert two["split"].values.tolist() == [3, 5]
    for split in (3, 5):
        train = parted["train"].sel(split=split).values
        alone = responses.isel(stimulus=train).assign(train=(("split", "stimulus"), np.ones((1, 20), bool)))
        tested = parted.isel(stimulus=~train).drop_dims("split").rename(stimulus="test_stimulus")
        alone = alone.drop_dims("test_stimulus").assign(
            test_response=tested["response"].rename(repeat="test_repeat")
        )
        one = selected_encoding.encode(source, alone, tmp_path / f"one{split}", settings=SETTINGS)
        np.testing.assert_allclose(two["accuracy"].sel(split=split), one["accuracy"][0], atol=1e-6)


def test_layers_that_are_done_are_not_done_again(case, tmp_path, monkeypatch):
    whole = selected_encoding.encode(*case, tmp_path / "a", settings=SETTINGS)
    (tmp_path / "a" / "encoding" / "second.nc").unlink()
    read, blocks = [], features.blocks
    monkeypatch.setattr(
        features, "blocks", lambda path, layer, **how: read.append(layer) or blocks(path, layer, **how)
    )
    xr.testing.assert_identical(selected_encoding.encode(*case, tmp_path / "a", settings=SETTINGS), whole)
    assert read == ["second"]
    selected_encoding.encode(*case, tmp_path / "a", settings=decoding.Settings(9.0, 4))
    assert len(read) == 4


def test_forecast_lies_between_the_narrowest_and_the_widest_layer(case, monkeypatch):
    source, responses = case
    monkeypatch.setattr(features, "units", lambda _: {"first": 4, "second": 12, "third": 8})
    widths = {"first": 4, "second": 12}
    monkeypatch.setattr(
        selected_encoding, "_inputs", lambda _, layer, *__: (np.zeros((40, widths[layer])), None, 0)
    )
    monkeypatch.setattr(selected_encoding, "_prepared", lambda X, *_: X.shape[1])
    monkeypatch.setattr(solver_cost, "by_data", lambda inputs, _, n: inputs * n)
    found = selected_encoding.forecast(source, responses, settings=SETTINGS)
    assert found["seconds"] == pytest.approx((4 + 12 + 8) * 42, abs=1)
    assert (found["n_voxels"], found["n_layers"]) == (42, 3)
    # Layer and samples in single precision; products of 12 units, and these centred and summed, of 40 stimuli; work.
    fitted = 4 * (60 + 40) * 12 + 8 * (12**2 + 2 * 12 * 40 + 3 * 4096 * 12)
    assert found["memory"] == responses.nbytes + 8 * (40 + 20) * 42 + fitted
