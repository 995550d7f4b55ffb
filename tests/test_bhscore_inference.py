from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from lib import artefacts, bhscore, bhscore_inference, bhscore_simulation, inference


def table(n_subjects=4, n_layers=6, n_rois=4, seed=0):
    """Numbers of units that follow a hierarchy, more or less in each subject."""
    rng = np.random.default_rng(seed)
    places = abs(np.linspace(0, 1, n_layers)[:, None] - np.linspace(0, 1, n_rois))
    mean = 30 * np.exp(-2 * places * rng.uniform(0.5, 1.5, (n_subjects, 1, 1)))
    coords = {
        "subject": [f"s{i}" for i in range(n_subjects)], "layer": [f"layer{i}" for i in range(n_layers)],
        "roi": [f"region{i}" for i in range(n_rois)],
    }  # fmt: skip
    return xr.DataArray(rng.poisson(mean), coords, ("subject", "layer", "roi"), name="count")


def accuracy(n_units=40, seed=0, n_subjects=3):
    rng = np.random.default_rng(seed)
    places = np.repeat(np.linspace(0, 1, 6), n_units)
    mean = 0.4 - 0.2 * abs(places - np.linspace(0, 1, 4)[:, None])
    values = (
        mean
        + 0.08 * rng.standard_normal((4, 6 * n_units))
        + 0.05 * rng.standard_normal((n_subjects, 4, 6 * n_units))
    )
    coords = {"subject": range(n_subjects), "roi": list("abcd"), "unit": range(6 * n_units)}
    layer = np.repeat([f"layer{i}" for i in range(6)], n_units)
    return xr.DataArray(values, coords | {"layer": ("unit", layer)}, ("subject", "roi", "unit"))


@pytest.fixture(scope="module")
def experiment():
    """Decoded features of a small simulated experiment."""
    design, rng = (
        bhscore_simulation.Design(n_layers=5, n_rois=3, n_units=25, n_latents=8, n_stimuli=40),
        np.random.default_rng(1),
    )
    mixture, correlation = bhscore_simulation.network(design, rng)
    who = bhscore_simulation.people(correlation, 3, design, rng)
    latents = rng.standard_normal((design.n_layers, design.n_stimuli, design.n_latents))
    return list(bhscore_simulation.predictions(mixture, who, latents, rng))


def test_jackknife_is_that_of_pseudovalues():
    H = table()
    found = bhscore_inference.over_subjects({"decoding": H}).set_index("measure")
    whole = bhscore.score(H.sum("subject").values)
    left_out = [bhscore.score(H.drop_sel(subject=s).sum("subject").values) for s in H["subject"].values]
    pseudo = 4 * whole - 3 * np.array(left_out)
    half = stats.t.ppf(0.975, 3) * pseudo.std(ddof=1) / 2
    row = found.loc["decoding"]
    assert row[["value", "low", "high"]].tolist() == pytest.approx([whole, whole - half, whole + half])
    assert row[["n", "unit", "method"]].tolist() == [4, "subject", "jackknife"]
    assert found.loc["decoding_all_layers", "value"] == pytest.approx(bhscore.spearman(H.sum("subject")))


def test_both_directions_are_taken_together():
    tables = {"decoding": table(), "encoding": table(seed=1)}
    found = bhscore_inference.over_subjects(tables).set_index("measure")
    assert list(found.index) == list(bhscore.MEASURES)
    assert found.loc["mean", "value"] == pytest.approx(found.loc[["decoding", "encoding"], "value"].mean())
    width = (found["high"] - found["low"])[["decoding", "encoding", "mean"]]
    assert width["mean"] < width[["decoding", "encoding"]].max()


def test_percentiles_are_over_all_resamples_of_few_subjects():
    H = table(3)
    values = [bhscore.score(sum(H.values[i] for i in drawn)) for drawn in product(range(3), repeat=3)]
    found = bhscore_inference.over_subjects({"decoding": H}, method="percentile").iloc[0]
    assert found[["low", "high"]].tolist() == pytest.approx(np.quantile(values, [0.025, 0.975]))
    six = bhscore_inference.over_subjects({"decoding": table(6)}, method="percentile").iloc[0]
    assert six["low"] < six["value"] < six["high"]


@pytest.mark.parametrize("method", bhscore_inference.METHODS)
def test_one_subject_has_no_interval(method):
    found = bhscore_inference.over_subjects({"decoding": table(1)}, method=method)
    assert found["value"].notna().all()
    assert found[["low", "high"]].isna().all(axis=None)


def test_scores_of_subjects_are_those_of_each_alone():
    H = table()
    found = bhscore_inference.subject_scores({"decoding": H}).query("measure == 'decoding'")
    assert found["subject"].tolist() == H["subject"].values.tolist()
    assert found["value"].tolist() == pytest.approx([bhscore.score(one) for one in H.values])


def test_directions_of_other_people_or_regions_are_refused():
    H = table()
    for other in (H.assign_coords(subject=list("abcd")), H.isel(roi=[1, 0, 2, 3]), H.isel(layer=slice(5))):
        with pytest.raises(ValueError, match="directions differ"):
            bhscore_inference.over_subjects({"decoding": H, "encoding": other})


def test_units_are_drawn_from_their_layer_with_all_their_subjects():
    accuracies = accuracy()
    tops = bhscore.top_rois(accuracies, n_stimuli=50)
    found = bhscore_inference.over_units({"decoding": tops}).iloc[0]
    rng, values = np.random.default_rng(1), []
    for _ in range(300):
        drawn = rng.integers(0, 40, size=(6, 40)) + 40 * np.arange(6)[:, None]
        again = bhscore.top_rois(accuracies.isel(unit=drawn.ravel()), n_stimuli=50)
        values.append(bhscore.score(bhscore.counts(again).sum("subject").values))
    bounds = np.quantile(values, [0.025, 0.975])
    # Standard error of a 2.5 % quantile of 300 normal values: 2.7 sd / √300; of 1000, half of that.
    assert found[["low", "high"]].tolist() == pytest.approx(bounds, abs=4 * 3 * np.std(values) / np.sqrt(300))
    assert found[["n", "unit"]].tolist() == [240, "unit"]


def test_voxels_are_drawn_from_their_subject_and_region():
    accuracies = accuracy(20)
    voxel = np.arange(4 * 60)
    coords = {
        "layer": range(6),
        "voxel": voxel,
        "subject": ("voxel", voxel % 3),
        "roi": ("voxel", np.repeat(list("abcd"), 60)),
    }
    values = accuracies.values.reshape(3, 4, 6, 20).transpose(2, 1, 3, 0).reshape(6, -1)
    tops = bhscore.top_layers(xr.DataArray(values, coords, ("layer", "voxel")), n_stimuli=50)
    found = bhscore_inference.over_units({"encoding": tops}).iloc[0]
    assert found["low"] < found["value"] < found["high"]
    assert found[["measure", "n", "unit"]].tolist() == ["encoding", 240, "voxel"]


def test_stimuli_that_all_come_once_change_nothing(experiment):
    tops = bhscore.top_rois(bhscore_simulation.accuracies(experiment), n_stimuli=40)
    drawn = bhscore_inference.resampled_counts(experiment, np.ones((2, 40), int))
    for one in drawn.values:
        np.testing.assert_array_equal(one, bhscore.counts(tops).values)
    assert drawn.dims == ("resample", "subject", "layer", "roi")


def test_resampled_correlations_are_those_of_repeated_stimuli(experiment):
    """With a single unit in a layer nothing is drawn to a mean: what is counted is the plain resample."""
    weights = inference.draws(40, 30, np.random.default_rng(0))
    alone = [(name, part.isel(unit=[3])) for name, part in experiment]
    drawn = bhscore_inference.resampled_counts(alone, weights)
    low, _ = bhscore.significance.threshold(40, 0.05)
    for row, counted in zip(weights, drawn.values, strict=True):
        index = np.repeat(np.arange(40), row)
        for i, (_, part) in enumerate(alone):
            true, decoded = part["true"].values[index, 0], part["decoded"].values[:, :, index, 0]
            r = np.array([[np.corrcoef(true, one)[0, 1] for one in subject] for subject in decoded])
            expected = (r == r.max(axis=1, keepdims=True)) & (r > low)
            np.testing.assert_array_equal(counted[:, i], expected)


def test_resamples_do_not_pull_scores_down_as_plain_ones_do(experiment):
    table_ = bhscore.counts(bhscore.top_rois(bhscore_simulation.accuracies(experiment), n_stimuli=40))
    weights, value = inference.draws(40, 25, np.random.default_rng(0)), bhscore.score(table_.sum("subject"))
    drawn = bhscore_inference.resampled_counts(experiment, weights)
    plain = []
    for row in weights:
        index = np.repeat(np.arange(40), row)
        again = bhscore_simulation.accuracies((name, part.isel(stimulus=index)) for name, part in experiment)
        plain.append(
            bhscore.score(bhscore.counts(bhscore.top_rois(again, n_stimuli=40)).sum("subject").values)
        )
    corrected = np.mean(bhscore.score(drawn.sum("subject").values))
    assert abs(corrected - value) < abs(np.mean(plain) - value) / 2


def test_units_that_are_never_decoded_do_not_disturb(experiment):
    weights = inference.draws(40, 20, np.random.default_rng(0))
    dead = [(name, part.copy(deep=True)) for name, part in experiment]
    for _, part in dead:
        part["decoded"][:, :, :, 5] = np.nan
        part["true"][:, 6] = 1.0
    left = [(name, part.isel(unit=[i for i in range(25) if i not in (5, 6)])) for name, part in experiment]
    with_dead, without = (bhscore_inference.resampled_counts(parts, weights) for parts in (dead, left))
    xr.testing.assert_equal(with_dead, without)


def test_intervals_over_people_and_stimuli(experiment):
    H = bhscore.counts(bhscore.top_rois(bhscore_simulation.accuracies(experiment), n_stimuli=40))
    drawn = bhscore_inference.resampled_counts(experiment, inference.draws(40, 50, np.random.default_rng(0)))
    found = bhscore_inference.over_stimuli(H, drawn).set_index(["measure", "unit"])
    people = bhscore_inference.over_subjects({"decoding": H}).set_index("measure")
    stimuli = np.std(bhscore.score(drawn.sum("subject").values), ddof=1)
    row = found.loc[("decoding", "stimulus")]
    assert row["high"] - row["value"] == pytest.approx(stats.norm.ppf(0.975) * stimuli)
    assert row["n"] == 40
    both = found.loc[("decoding", "subject and stimulus")]
    assert both["high"] >= people.loc["decoding", "high"] - 1e-12
    assert both["n"] == 3
    with pytest.raises(ValueError):  # noqa: PT011 - xarray's own words
        bhscore_inference.over_stimuli(H.isel(layer=slice(4)), drawn)


def test_weights_of_other_stimuli_are_refused(experiment):
    with pytest.raises(ValueError, match="layer1 has 40 stimuli"):
        bhscore_inference.resampled_counts(experiment, np.ones((2, 41), int))


def test_predictions_are_those_of_the_stimuli_that_a_split_tests(tmp_path, experiment):
    for name, part in experiment:
        decoded = part["decoded"].expand_dims(split=2).copy(deep=True)
        decoded[0, :, :, :10] = np.nan
        decoded[1, :, :, 30:] = np.nan
        artefacts.save(
            part.assign(decoded=decoded.transpose("unit", ...)), tmp_path / "predictions" / f"{name}.nc"
        )
    for split, where in ((0, slice(10, None)), (1, slice(30))):
        read = list(bhscore_inference.predictions(tmp_path, [name for name, _ in experiment], split=split))
        for (name, part), (expected, whole) in zip(read, experiment, strict=True):
            assert name == expected
            for side in ("decoded", "true"):
                wanted = whole[side].isel(stimulus=where)
                np.testing.assert_array_equal(part[side].transpose(*wanted.dims).values, wanted.values)


def without(predictions, **where):
    """The same, with NaN for the first subject somewhere."""
    for name, part in predictions:
        decoded = part["decoded"].transpose("subject", "roi", "stimulus", "unit").copy(deep=True)
        decoded[{"subject": 0, **where}] = np.nan
        yield name, part.assign(decoded=decoded)


def test_what_a_subject_lacks_is_left_out_of_that_subject(experiment):
    weights = inference.draws(40, 30, np.random.default_rng(0))
    whole = bhscore_inference.resampled_counts(experiment, weights)
    for where in ({"stimulus": slice(3, 5)}, {"roi": 1}):
        found = bhscore_inference.resampled_counts(without(experiment, **where), weights)
        np.testing.assert_array_equal(found[:, 1:], whole[:, 1:])
        kept = [part.isel(subject=[0]).drop_isel(where) for _, part in experiment if "roi" in where]
        if kept:
            alone = bhscore_inference.resampled_counts(zip(whole["layer"].values, kept, strict=True), weights)
            np.testing.assert_array_equal(found[:, 0].drop_isel(roi=1), alone[:, 0])
            assert not found[:, 0].isel(roi=1).any()
        else:
            assert found[:, 0].sum(["layer", "roi"]).mean() > 0.9 * whole[:, 0].sum(["layer", "roi"]).mean()
    nothing = bhscore_inference.resampled_counts(without(experiment), weights)
    assert not nothing[:, 0].any()


def test_perfectly_decoded_units_are_significant_in_resamples():
    true = np.random.default_rng(0).standard_normal((20, 3))
    part = xr.Dataset(
        {"decoded": (("subject", "roi", "stimulus", "unit"), true[None, None]), "true": (("stimulus", "unit"), true)},
        {"subject": ["a"], "roi": ["x"]},
    )  # fmt: skip
    weights = inference.draws(20, 9, np.random.default_rng(0))
    assert (bhscore_inference.resampled_counts([("layer", part)], weights) == 3).all()


def test_subjects_are_joined_by_name():
    H = table()
    expected = bhscore_inference.over_subjects({"decoding": H, "encoding": H})
    found = bhscore_inference.over_subjects({"decoding": H, "encoding": H.isel(subject=[2, 0, 3, 1])})
    pd.testing.assert_frame_equal(found, expected)


def test_true_order_is_as_extreme_as_itself_where_few_subsets_of_many_are_taken():
    for seed in range(3):
        found = bhscore_inference.order_null({"decoding": table(n_layers=30, n_rois=3, seed=seed)})
        row = found.set_index(["measure", "permuted"]).loc[("decoding", "regions")]
        assert row["exact"]
        assert row["p"] >= 1 / 3


def test_null_is_over_all_orders_where_there_are_few():
    H = table(n_layers=4, n_rois=3)
    pooled = H.sum("subject").values
    found = bhscore_inference.order_null({"decoding": H}).set_index(["measure", "permuted"])
    assert found["exact"].all()
    for name, layers, rois in (
        ("regions", [range(4)], permutations(range(3))), ("layers", permutations(range(4)), [range(3)]),
        ("both", permutations(range(4)), list(permutations(range(3)))),
    ):  # fmt: skip
        values = [bhscore.score(pooled[list(a)][:, list(b)]) for a, b in product(layers, rois)]
        row = found.loc[("decoding", name)]
        assert row["n"] == len(values)
        assert row[["low", "high"]].tolist() == pytest.approx(np.quantile(values, [0.025, 0.975]))
        assert row["p"] == pytest.approx(np.mean(np.abs(values) >= abs(row["value"]) - 1e-12))
    assert found.loc[("decoding", "regions"), "p"] >= 1 / 3  # 2 of 6 orders are as extreme as the best


def test_null_of_many_orders_is_sampled_and_never_0():
    found = bhscore_inference.order_null({"decoding": table(), "encoding": table(seed=1)})
    both = found[found["permuted"] == "both"].set_index("measure")
    assert not both["exact"].any()
    assert (both["p"] >= 1 / 5001).all()
    assert both.loc["decoding", "p"] < 0.05
    assert (both["low"] < 0).all()
    assert (both["high"] > 0).all()
    again = bhscore_inference.order_null({"decoding": table(), "encoding": table(seed=1)})
    pd.testing.assert_frame_equal(found, again)


def test_without_order_one_in_twenty_is_significant():
    rng = np.random.default_rng(0)
    coords = {"subject": ["a"], "layer": list("abcd"), "roi": list("wxyz")}
    p = []
    for _ in range(80):
        H = xr.DataArray(rng.poisson(rng.uniform(1, 40, (1, 4, 4))), coords, ("subject", "layer", "roi"))
        found = bhscore_inference.order_null({"encoding": H})
        p.append(found.loc[found["permuted"] == "both", "p"].item())
    assert np.mean(np.array(p) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 80)


def test_summary_has_a_row_per_measure_and_is_quotable():
    tables = {"decoding": table(), "encoding": table(seed=1)}
    intervals, null = bhscore_inference.over_subjects(tables), bhscore_inference.order_null(tables)
    found = bhscore_inference.summary(intervals, null, tables)
    assert found["measure"].tolist() == list(bhscore.MEASURES)
    assert found["n_layers"].tolist() == [5, 6, 6, 5]
    assert found["n_items"].tolist()[:3] == [tables["decoding"].sum()] * 2 + [tables["encoding"].sum()]
    rows = bhscore_inference.quotable(found.assign(target="planted_vision", model="efficientnet_lite0"))
    assert rows["name"].tolist() == [
        f"bhscore/planted_vision/efficientnet_lite0/bh/{m}" for m in bhscore.MEASURES
    ]
    assert list(rows) == inference.QUOTED
    assert rows["what"].str.contains("jackknife").all()
    one = bhscore_inference.over_subjects({"decoding": table(1)})
    null = bhscore_inference.order_null({"decoding": table(1)})
    one = bhscore_inference.summary(one, null, {"decoding": table(1)}).assign(target="t", model="m")
    assert bhscore_inference.quotable(one)["what"].str.contains("no interval: one subject").all()


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match="jackknife"):
        bhscore_inference.over_subjects({"decoding": table()}, method="jacknife")


@pytest.mark.parametrize("common", [False, True])
def test_what_people_and_stimuli_share_is_counted_once(common):
    """Noise of each person for itself is in the spread over people already; noise that all have is not."""
    H, rng = table(n_subjects=40), np.random.default_rng(0)
    noise = rng.normal(0, 0.3, size=(400, 1 if common else 40, 6, 4))
    drawn = xr.DataArray(H.values * np.exp(noise), dims=("resample", *H.dims), coords=H.coords)
    found = bhscore_inference.over_stimuli(H, drawn.assign_attrs(n_stimuli=50)).set_index(["measure", "unit"])
    people = bhscore_inference.over_subjects({"decoding": H}).set_index("measure").loc["decoding"]
    stimuli, both = (found.loc[("decoding", unit)] for unit in ("stimulus", "subject and stimulus"))
    added = (both["high"] - both["value"]) ** 2 - (people["high"] - people["value"]) ** 2
    share = added / (stimuli["high"] - stimuli["value"]) ** 2
    # Relative standard error of a variance of 400 resamples: √(2 / 400); here of a difference of two.
    assert share == pytest.approx(float(common), abs=4 * 2 * np.sqrt(2 / 400))
