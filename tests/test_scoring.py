"""Summaries against a slow computation, one iteration, voxel and resample at a time."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from lib import encoding, inference, layers, scoring

N, N_LAYERS, N_SPLITS, N_ITERATIONS = 36, 3, 6, 10


def components(n_layers=N_LAYERS, seed=0):
    """Scores, responses and predictions of three components without repeats."""
    rng = np.random.default_rng(seed)
    names = [f"s{i}" for i in range(N)]
    latents = rng.standard_normal((n_layers, N, 3))
    # Each component reads all layers, so that none is best in every split.
    Y = sum(latent @ rng.standard_normal((3, 3)) for latent in latents) + rng.standard_normal((N, 3))
    train = np.array([rng.permutation(N) < N // 2 for _ in range(N_SPLITS)])
    responses = xr.Dataset(
        {"response": (("repeat", "stimulus", "voxel"), Y[None]), "train": (("split", "stimulus"), train)},
        coords={"stimulus": names, "voxel": ["Speech", "music", "pitch"], "split": np.arange(N_SPLITS)},
        attrs={"kind": "component"},
    )
    features = [xr.DataArray(z, dims=("stimulus", "unit"), coords={"stimulus": names}) for z in latents]
    encoded = [encoding.encode(X, responses) for X in features]
    scores = xr.concat([e.drop_vars(["prediction", "stimulus"]) for e in encoded], "layer")
    return scores, responses, [e["prediction"] for e in encoded]


def corrected(seed=0):
    """Corrected scores of 3 subjects, 2 regions and 4 voxels in each; one region of one subject above 1."""
    rng = np.random.default_rng(seed)
    r2 = 0.9 * rng.random((N_LAYERS, N_SPLITS, 24))
    r2[1, :, 4:8] = 1.4
    coords = {
        "voxel": [f"v{i}" for i in range(24)],
        "subject": ("voxel", np.repeat(["a", "b", "c"], 8)),
        "roi": ("voxel", np.tile(np.repeat(["V4", "V1"], 4), 3)),
    }
    r2 = xr.DataArray(r2, dims=("layer", "split", "voxel"), coords=coords)
    return xr.Dataset({"r2_corrected": r2, "r2": r2 / 2}, attrs={"corrected": 1, "kind": "voxel"})


def slow_best(values, selects, *, clip=np.inf):
    """Score and position from 1 of the best of several layers (layer, split), chosen on some splits."""
    choice = [min(np.median(row[mask]), clip) for row, mask in zip(values, selects, strict=True)]
    best = int(np.argmax(choice))
    return min(np.median(values[best][~selects[best]]), clip), best + 1


def slow_r2(response, prediction, rows):
    """Squared correlation over some rows, repeated ones included; 0 for a constant prediction."""
    rows = rows[np.isfinite(prediction[rows])]
    if np.ptp(prediction[rows]) == 0:
        return 0
    return max(np.corrcoef(response[rows], prediction[rows])[0, 1], 0) ** 2


@pytest.mark.parametrize("published", [None, "tuckute2023"])
def test_components_equal_a_slow_computation(published):
    scores, responses, predictions = components()
    rng = np.random.default_rng(5)
    table = scoring.summary(scores, responses, predictions, published=published, n_resamples=2, rng=rng)
    found = []
    for v in range(3):
        for iteration in range(N_ITERATIONS):
            halves = layers.selection_splits(N_LAYERS, 3, N_SPLITS, seed=iteration, published=published)
            found.append(slow_best(scores["r2"].values[:, :, v], halves[:, v]))
    score, position = np.array(found).reshape(3, N_ITERATIONS, 2).mean(axis=1).T
    assert np.ptp(position) > 0  # layers do compete
    np.testing.assert_allclose(table["value"], score, rtol=1e-12)
    np.testing.assert_allclose(table["position"], (position - 1) / (N_LAYERS - 1), rtol=1e-12)


@pytest.mark.parametrize("published", [None, "tuckute2023"])
def test_intervals_of_components_equal_a_slow_computation(published):
    scores, responses, predictions = components()
    rng = np.random.default_rng(7)
    table = scoring.summary(scores, responses, predictions, published=published, n_resamples=12, rng=rng)
    weights = inference.draws(N, 12, np.random.default_rng(7))
    Y = responses["response"].values[0]
    again = np.empty((12, 3))
    for i, counts in enumerate(weights):
        rows = np.repeat(np.arange(N), counts)
        for v in range(3):
            r2 = np.array([[slow_r2(Y[:, v], split[:, v], rows) for split in p.values] for p in predictions])
            # the halves of the value itself, whatever the resample
            halves = [
                layers.selection_splits(N_LAYERS, 3, N_SPLITS, seed=k, published=published)[:, v]
                for k in range(N_ITERATIONS)
            ]
            again[i, v] = np.mean([slow_best(r2, half)[0] for half in halves])
    low, high = np.quantile(again, [0.025, 0.975], axis=0)
    # predictions are stored in float32
    np.testing.assert_allclose(table["low"], low, rtol=1e-6)
    np.testing.assert_allclose(table["high"], high, rtol=1e-6)


def test_components_say_what_was_resampled():
    scores, responses, predictions = components()
    table = scoring.summary(scores, responses, predictions, n_resamples=20, rng=np.random.default_rng(0))
    assert table.columns.tolist() == scoring.COLUMNS
    assert table["part"].tolist() == ["Speech", "music", "pitch"]
    assert set(table["score"]) == {"r2"}
    assert table[["n", "unit", "interval"]].drop_duplicates().to_numpy().tolist() == [
        [N, "stimulus", "bootstrap"]
    ]
    assert (table["low"] < table["high"]).all()
    assert (table["above_1"] == 0).all()  # as a squared correlation cannot be


def test_a_model_of_one_layer_has_no_position():
    scores, responses, predictions = components(n_layers=1)
    table = scoring.summary(scores, responses, predictions, n_resamples=20, rng=np.random.default_rng(0))
    assert table["position"].isna().all()
    assert table[["value", "low", "high"]].notna().all(axis=None)


def test_the_interval_covers_the_true_r2_nearly_as_often_as_claimed():
    # 165 stimuli, of which each of ten splits tests 82; the fits err alike, as fits on overlapping halves do.
    rng, rho2, hits = np.random.default_rng(0), 0.34, []
    names = {"stimulus": [f"s{i}" for i in range(165)], "voxel": [f"v{i}" for i in range(100)]}
    for _ in range(4):
        Y, error = rng.standard_normal((2, 165, 100))
        Y_hat = np.tile(np.sqrt(rho2) * Y + np.sqrt(1 - rho2) * error, (10, 1, 1))
        for split in Y_hat:
            split[rng.permutation(165)[:83]] = np.nan
        dims = ("split", "stimulus", "voxel")
        prediction = xr.DataArray(Y_hat, dims=dims, coords=names | {"split": np.arange(10)})
        response = xr.DataArray(Y[None], dims=("repeat", *dims[1:]), coords=names)
        r2 = inference.resampled_r2(response[0], prediction, np.ones((1, 165)))[0].expand_dims("layer")
        scores = xr.Dataset({"r2": r2}, attrs={"corrected": 0, "kind": "component"})
        table = scoring.summary(scores, response.to_dataset(name="response"), [prediction], rng=rng)
        hits.append(((table["low"] <= rho2) & (rho2 <= table["high"])).mean())
    # Measured .942. 1.5/165 for a percentile interval, and 4 standard errors of 400 trials.
    margin = 1.5 / 165 + 4 * np.sqrt(0.05 * 0.95 / 400)
    assert abs(np.mean(hits) - 0.95) < margin


@pytest.mark.parametrize("published", [None, "tuckute2023"])
def test_regions_equal_a_slow_computation(published):
    scores = corrected()
    rng = np.random.default_rng(0)
    table = scoring.summary(scores, None, None, published=published, rng=rng).set_index("part")
    best = np.empty((2, N_ITERATIONS, 24))
    for iteration in range(N_ITERATIONS):
        halves = layers.selection_splits(N_LAYERS, 24, N_SPLITS, seed=iteration, published=published)
        for v in range(24):
            best[:, iteration, v] = slow_best(scores["r2_corrected"].values[:, :, v], halves[:, v], clip=1)
    assert (best[0, :, 4:8] == 1).all()  # limited to what can be explained
    for part in ("all", "V1", "V4"):
        inside = (scores["roi"] == part).values | (part == "all")
        subjects = [inside & (scores["subject"] == s).values for s in "abc"]
        score, position = np.stack([np.median(best[:, :, s], axis=2).mean(axis=1) for s in subjects], axis=1)
        interval = stats.ttest_1samp(score, 0).confidence_interval(0.95)
        row = table.loc[part]
        assert (row["value"], row["low"], row["high"]) == pytest.approx((score.mean(), *interval), rel=1e-10)
        assert row["position"] == pytest.approx((position.mean() - 1) / (N_LAYERS - 1), rel=1e-10)
        assert row["n"] == 3


def test_regions_say_what_was_sampled():
    table = scoring.summary(corrected(), None, None, rng=np.random.default_rng(0))
    assert table.columns.tolist() == scoring.COLUMNS
    assert table["part"].tolist() == ["all", "V1", "V4"]
    assert table[["score", "unit", "interval"]].drop_duplicates().to_numpy().tolist() == [
        ["r2_corrected", "subject", "t"]
    ]


def test_voxels_without_repeats_are_scored_over_subjects_too():
    scores = corrected().assign_attrs(corrected=0)
    table = scoring.summary(scores, None, None, rng=np.random.default_rng(0)).set_index("part")
    assert set(table["score"]) == {"r2"}
    assert table["n"].tolist() == [3, 3, 3]
    doubled = scoring.summary(
        corrected().assign(r2_corrected=scores["r2"]), None, None, rng=np.random.default_rng(0)
    )
    assert table["value"].tolist() == doubled["value"].tolist()


def test_scores_above_1_and_undefined_ones_are_counted():
    scores = corrected()
    scores["r2_corrected"][0, 0, :8] = np.nan  # one of 3 x 6 entries of each voxel of subject a
    table = scoring.summary(scores, None, None, rng=np.random.default_rng(0)).set_index("part")
    # voxels 4 to 7, in V1, are above 1 in one of three layers; subject a has a third of the voxels
    np.testing.assert_allclose(table["above_1"], [4 / 24 / 3, 4 / 12 / 3, 0], rtol=1e-12)
    np.testing.assert_allclose(table["undefined"], np.full(3, 8 / 24 / 18), rtol=1e-12)


def test_published_halves_differ_from_the_default():
    scores = corrected()
    plain, published = (
        scoring.summary(scores, None, None, published=rule, rng=np.random.default_rng(0))["value"]
        for rule in (None, "tuckute2023")
    )
    assert not np.isclose(plain, published).any()
    with pytest.raises(ValueError, match="published rule"):
        scoring.summary(scores, None, None, published="tuckute", rng=np.random.default_rng(0))


def test_quotable_numbers_have_unique_names_in_lower_case():
    scores, responses, predictions = components()
    one = scoring.summary(scores, responses, predictions, n_resamples=9, rng=np.random.default_rng(0))
    two = scoring.summary(corrected(), None, None, rng=np.random.default_rng(0))
    runs = [
        table.assign(model=model, target=target)
        for target, table in (("sounds", one), ("cortex", two))
        for model in ("net", "net.random")
    ]
    numbers = scoring.quotable(pd.concat(runs))
    assert numbers["name"].is_unique
    assert (numbers["name"] == numbers["name"].str.lower()).all()
    assert numbers["name"].iloc[0] == "encode/sounds/net/r2/speech"
    assert numbers["name"].iloc[-1] == "encode/cortex/net.random/r2_corrected/v4"
    whole = pd.concat(runs)
    for column in ("value", "low", "high", "n", "unit"):
        assert numbers[column].tolist() == whole[column].tolist()
    assert numbers["what"].str.contains("95 % bootstrap interval").sum() == 6
    assert numbers["what"].str.contains("95 % t interval").sum() == 6


def test_a_slash_in_a_region_does_not_add_a_level_to_the_name():
    table = scoring.summary(corrected(), None, None, rng=np.random.default_rng(0))
    table = table.assign(part=["all", "V1/V2", "V4"], model="net", target="cortex")
    assert scoring.quotable(table)["name"][1] == "encode/cortex/net/r2_corrected/v1_v2"


def test_a_number_without_an_interval_says_why():
    alone = corrected().isel(voxel=slice(0, 8))
    table = scoring.summary(alone, None, None, rng=np.random.default_rng(0))
    assert table["low"].isna().all()
    numbers = scoring.quotable(table.assign(model="net", target="cortex"))
    assert numbers["what"].str.contains("no interval: n is 1").all()
    assert not numbers["what"].str.contains("95 %").any()
