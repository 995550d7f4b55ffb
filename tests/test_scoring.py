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
    left_out = scores["r2"] + 0.1 * rng.standard_normal(scores["r2"].shape)
    scores = scores.assign(r2_left_out=left_out, layer=[f"layer{i}" for i in range(n_layers)])
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
    variables = {"r2_corrected": r2, "r2": r2 / 2, "r2_left_out": r2.copy(data=rng.random(r2.shape))}
    # r2_corrected = r2 / (1 * 0.5), as the correction has it
    variables |= {"reliability_voxel": r2 * 0 + 1, "reliability_prediction": r2 * 0 + 0.5}
    edge = xr.DataArray(rng.integers(0, 3, r2.shape) == 1, dims=r2.dims)
    attrs = {"corrected": 1, "kind": "voxel"}
    return xr.Dataset(variables | {"alpha_at_edge": edge.astype(np.int8)}, attrs=attrs)


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


def slow_components(r2, left_out, published):
    """Score and relative position of the best layer of each component, from r2 (layer, split, voxel)."""
    found = []
    for v in range(3):
        if published is None:
            best = left_out[:, :, v].argmax(axis=0)
            found.append([(np.median(r2[best, np.arange(N_SPLITS), v]), best.mean() + 1)])
            continue
        halves = [
            layers.selection_splits(N_LAYERS, 3, N_SPLITS, seed=k, published=published)[:, v]
            for k in range(N_ITERATIONS)
        ]
        found.append([slow_best(r2[:, :, v], half) for half in halves])
    score, position = np.array([np.mean(rows, axis=0) for rows in found]).T
    return score, (position - 1) / (N_LAYERS - 1)


@pytest.mark.parametrize("published", [None, "tuckute2023"])
def test_components_equal_a_slow_computation(published):
    scores, responses, predictions = components()
    rng = np.random.default_rng(5)
    table = scoring.summary(scores, responses, predictions, published=published, n_resamples=2, rng=rng)
    score, position = slow_components(scores["r2"].values, scores["r2_left_out"].values, published)
    assert np.ptp(position) > 0  # layers do compete
    np.testing.assert_allclose(table["value"], score, rtol=1e-12)
    np.testing.assert_allclose(table["position"], position, rtol=1e-12)
    assert set(table["rule"]) == {published or "nested"}


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
        r2 = [
            [[slow_r2(Y[:, v], split[:, v], rows) for v in range(3)] for split in p.values]
            for p in predictions
        ]
        # the layers, or the halves, of the value itself, whatever the resample
        again[i] = slow_components(np.array(r2), scores["r2_left_out"].values, published)[0]
    low, high = np.quantile(again, [0.025, 0.975], axis=0)
    # predictions are stored in float32
    np.testing.assert_allclose(table["low"], low, rtol=1e-6)
    np.testing.assert_allclose(table["high"], high, rtol=1e-6)
    drawn = scoring.resampled(scores, responses, predictions, weights=weights, published=published)
    np.testing.assert_allclose(drawn.transpose("resample", "voxel"), again, rtol=1e-6)
    other = inference.draws(N, 12, np.random.default_rng(8))
    other = scoring.resampled(scores, responses, predictions, weights=other, published=published)
    assert drawn.attrs["n_stimuli"] == other.attrs["n_stimuli"] == N
    assert drawn.attrs["draws"] != other.attrs["draws"]


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


def test_a_component_without_a_score_has_no_resamples_either():
    scores, responses, predictions = components()
    scores["r2"][:, 2, 1] = np.nan
    drawn = scoring.resampled(scores, responses, predictions, weights=np.ones((2, N), int))
    assert np.isnan(drawn).values.tolist() == [[False, True, False]] * 2


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
        scores = xr.Dataset({"r2": r2, "r2_left_out": r2, "alpha_at_edge": r2 * 0})
        scores = scores.assign_attrs(corrected=0, kind="component")
        table = scoring.summary(scores, response.to_dataset(name="response"), [prediction], rng=rng)
        hits.append(((table["low"] <= rho2) & (rho2 <= table["high"])).mean())
    # Measured .942. 1.5/165 for a percentile interval, and 4 standard errors of 400 trials.
    margin = 1.5 / 165 + 4 * np.sqrt(0.05 * 0.95 / 400)
    assert abs(np.mean(hits) - 0.95) < margin


def slow_regions(scores, rule):
    """Score and position from 1 (iteration or split, voxel) of every voxel's best layer, single splits read."""
    r2, left_out = scores["r2_corrected"].values, scores["r2_left_out"].values
    if rule == "nested":
        best = left_out.argmax(axis=0)
        score = np.take_along_axis(r2, best[None], axis=0)[0]
        return np.minimum(np.median(score, axis=0), 1)[None], best.mean(axis=0)[None] + 1
    if rule == "same_data":
        medians = np.minimum(np.median(r2, axis=1), 1)
        return medians.max(axis=0)[None], medians.argmax(axis=0)[None] + 1
    published = None if rule == "halves" else rule
    best = np.empty((2, N_ITERATIONS, 24))
    for k in range(N_ITERATIONS):
        halves = layers.selection_splits(N_LAYERS, 24, N_SPLITS, seed=k, published=published)
        for v in range(24):
            best[:, k, v] = slow_best(r2[:, :, v], halves[:, v], clip=1)
    return best


PARTS = ("all", "V1", "V4")


@pytest.mark.parametrize("rule", ["nested", "halves", "tuckute2023", "same_data"])
def test_choices_of_voxels_equal_a_slow_computation(rule):
    scores = corrected()
    best = slow_regions(scores, rule)
    table = scoring.choices(scores).query("rule == @rule").set_index(["part", "subject"])
    assert len(table) == 9
    for part in PARTS:
        for subject in "abc":
            inside = (scores["roi"] == part).values | (part == "all")
            inside &= (scores["subject"] == subject).values
            value, position = (np.median(b[:, inside], axis=1).mean() for b in best)
            row = table.loc[(part, subject)]
            assert row["value"] == pytest.approx(value, rel=1e-12)
            assert row["position"] == pytest.approx((position - 1) / (N_LAYERS - 1), rel=1e-12)


def test_the_layer_of_other_subjects_is_that_of_largest_mean():
    scores = corrected()
    curves = scoring.by_layer(scores)
    table = scoring.choices(scores).query("rule == 'other_subjects'").set_index(["part", "subject"])
    assert len(table) == 9
    for part in PARTS:
        wide = curves[curves["part"] == part].pivot_table(index="number", columns="subject", values="value")
        for subject in "abc":
            number = wide.drop(columns=subject).mean(axis=1).idxmax()
            row = table.loc[(part, subject)]
            assert row["value"] == wide.loc[number, subject]
            assert row["position"] == (number - 1) / (N_LAYERS - 1)


@pytest.mark.parametrize("rule", ["nested", "same_data"])
def test_pooled_values_are_ratios_of_sums_in_the_layers_chosen(rule):
    scores = corrected()
    scores["reliability_prediction"] = scores["reliability_prediction"] * (0.5 + scores["r2_left_out"])
    if rule == "nested":
        best = scores["r2_left_out"].argmax("layer")
    else:
        best = np.minimum(scores["r2_corrected"].median("split"), 1).argmax("layer")
    ceiling = scores["reliability_voxel"] * scores["reliability_prediction"]
    r2, ceiling = (v.isel(layer=best).transpose("split", "voxel").values for v in (scores["r2"], ceiling))
    table = scoring.choices(scores).query("rule == @rule and part == 'all'").set_index("subject")
    for subject in "abc":
        here = (scores["subject"] == subject).values
        ratio = r2[:, here].sum(axis=1) / ceiling[:, here].sum(axis=1)
        assert table.loc[subject, "pooled"] == pytest.approx(ratio.mean(), rel=1e-12)


@pytest.mark.parametrize("rule", ["nested", "same_data"])
def test_voxels_without_a_ceiling_are_pooled_in_their_best_layer_too(rule):
    scores = corrected()
    best = xr.DataArray(np.arange(24) % N_LAYERS, dims="voxel")
    r2 = xr.where(xr.DataArray(np.arange(N_LAYERS), dims="layer") == best, 0.4, 0.1) + 0 * scores["r2"]
    share = xr.where(best == 2, -0.1, 0.8)  # as `ncsnr` gives by chance
    scores = scores.assign(r2=r2, r2_left_out=r2, reliability_voxel=share + 0 * r2, r2_corrected=r2 / share)
    scores["reliability_prediction"] = 1 + 0 * r2
    scores["r2_corrected"] = scores["r2_corrected"].where(share > 0)
    rows = scoring.choices(scores)
    rows = rows[(rows["rule"] == rule) & (rows["part"] == "all")].set_index("subject")
    for subject in "abc":
        mean = share[(scores["subject"] == subject).values].mean().item()
        assert rows.loc[subject, "pooled"] == pytest.approx(0.4 / mean, rel=1e-12)


@pytest.mark.parametrize("published", [None, "tuckute2023"])
def test_summaries_are_means_over_subjects_with_t_intervals(published):
    scores, rng = corrected(), np.random.default_rng(0)
    table = scoring.summary(scores, None, None, published=published, rng=rng).set_index("part")
    each = scoring.choices(scores)
    each = each[each["rule"] == (published or "nested")]
    for part, rows in each.groupby("part"):
        interval = stats.ttest_1samp(rows["value"], 0).confidence_interval(0.95)
        row = table.loc[part]
        expected = (rows["value"].mean(), *interval, rows["position"].mean())
        assert tuple(row[["value", "low", "high", "position"]]) == pytest.approx(expected, rel=1e-10)
        assert row["n"] == 3
        if published is None:
            interval = stats.ttest_1samp(rows["pooled"], 0).confidence_interval(0.95)
            expected = (rows["pooled"].mean(), *interval)
            assert tuple(row[["pooled", "pooled_low", "pooled_high"]]) == pytest.approx(expected, rel=1e-10)
        else:
            assert np.isnan(row["pooled"])


def test_chosen_on_test_data_the_best_of_equal_layers_is_flattered_and_nested_is_not():
    # Eight layers that predict equally well: r2 of a voxel and split has mean .25 whatever the layer.
    rng = np.random.default_rng(1)
    dims, shape = ("layer", "split", "voxel"), (8, 10, 600)
    noise = 0.15 * rng.random((8, 1, 600)) - 0.075  # of the voxel's test stimuli, which the splits share
    r2 = xr.DataArray(0.25 + noise + 0.05 * (rng.random(shape) - 0.5), dims=dims)
    r2 = r2.assign_coords(subject=("voxel", np.repeat(["a", "b"], 300)), roi=("voxel", ["V1"] * 600))
    left_out = r2.copy(data=rng.random(shape))
    scores = xr.Dataset(
        {"r2": r2, "r2_left_out": left_out}, {"layer": range(8)}, {"corrected": 0, "kind": "voxel"}
    )
    value = scoring.choices(scores).query("part == 'all'").groupby("rule")["value"].mean()
    assert abs(value["nested"] - 0.25) < 4 * 0.0433 / np.sqrt(600)
    assert value["same_data"] > 0.3
    # halves of the splits share their test stimuli, and with them the luck of a layer
    assert value["halves"] > 0.3


def test_layers_of_components_are_medians_over_splits_with_the_published_error():
    scores, *_ = components()
    table = scoring.by_layer(scores).set_index(["part", "layer"])
    for v, part in enumerate(scores["voxel"].values):
        for number, layer in enumerate(scores["layer"].values):
            values, row = scores["r2"].values[number, :, v], table.loc[(part, layer)]
            assert row["value"] == pytest.approx(np.median(values), rel=1e-12)
            assert row["sem"] == pytest.approx(values.std() / np.sqrt(N_SPLITS - 1), rel=1e-12)
            assert (row["number"], row["subject"]) == (number + 1, "everyone")


def test_iterations_of_components_are_rows():
    scores, *_ = components()
    table = scoring.choices(scores)
    assert "other_subjects" not in set(table["rule"])
    counts = table.groupby(["rule", "part"]).size()
    assert set(counts[["halves", "tuckute2023"]]) == {10}
    assert set(counts[["nested", "same_data"]]) == {1}
    best = layers.best_layer(scores["r2"], published="tuckute2023")["score"].sel(voxel="music")
    rows = table.query("rule == 'tuckute2023' and part == 'music'").sort_values("iteration")
    np.testing.assert_allclose(rows["value"], best)


def test_a_single_split_has_no_halves():
    table = scoring.choices(corrected().isel(split=[0]))
    assert set(table["rule"]) == {"nested", "other_subjects", "same_data"}


def test_scores_without_left_out_variance_say_so():
    with pytest.raises(ValueError, match="r2_left_out"):
        scoring.choices(corrected().drop_vars("r2_left_out"))


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
    edge = scores["alpha_at_edge"] > 0
    assert table.loc["all", "at_edge"] == pytest.approx(float(edge.mean()), rel=1e-12)
    inside = (scores["roi"] == "V4").values
    assert table.loc["V4", "at_edge"] == pytest.approx(float(edge[..., inside].mean()), rel=1e-12)


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
    assert numbers["name"].iloc[-1] == "encode/cortex/net.random/r2_pooled/v4"
    whole = pd.concat(runs)
    pooled = numbers[numbers["name"].str.contains("r2_pooled")]
    assert len(pooled) == 6  # components and single responses have no ceiling
    known = whole[["pooled", "pooled_low", "pooled_high"]].dropna().to_numpy()
    np.testing.assert_array_equal(pooled[["value", "low", "high"]], known)
    numbers = numbers.iloc[: len(whole)]
    assert numbers["name"].iloc[-1] == "encode/cortex/net.random/r2_corrected/v4"
    assert numbers["what"].str.contains("% of penalties at their edge").all()
    for column in ("value", "low", "high", "n", "unit"):
        assert numbers[column].tolist() == whole[column].tolist()
    assert (
        numbers["what"].str.contains("95 % bootstrap interval (fits not made again)", regex=False).sum() == 6
    )
    assert numbers["what"].str.contains("95 % t interval").sum() == 6


def test_without_results_there_are_no_numbers():
    none = pd.DataFrame(columns=["target", "model", *scoring.COLUMNS])
    assert scoring.quotable(none).empty


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
