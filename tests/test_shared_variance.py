"""Unique and shared variance of encoding models: by hand, planted, and how sure."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from lib import banded, correction, folds, metrics, partition, reliability, ridge, shared_variance

N_DIRECTIONS = 4
SHARES = {"a": 0.2, "b": 0.05, "a & b": 0.35}


def spaces(n_stimuli, rng, n_units=30):
    """Two sets of features that have some directions in common and some of their own, and those directions."""
    axes = {part: rng.standard_normal((n_stimuli, N_DIRECTIONS)) for part in SHARES}
    fixed = np.random.default_rng(99)  # the same read-out of directions by units in every draw of stimuli
    sets = {}
    for name in "ab":
        mixing = fixed.standard_normal((2 * N_DIRECTIONS, n_units))
        features = np.hstack([axes[name], axes["a & b"]]) @ mixing
        sets[name] = ridge.compress([features + 0.5 * rng.standard_normal(features.shape)])
    return sets, axes


def signals(axes, n_voxels, rng, shares=SHARES):
    """Responses without noise, variance 1, of which each part explains its share."""
    fixed = np.random.default_rng(98)
    signal = np.sqrt(1 - sum(shares.values())) * rng.standard_normal((len(axes["a"]), n_voxels))
    for part, share in shares.items():
        weights = fixed.standard_normal((N_DIRECTIONS, n_voxels))
        signal += np.sqrt(share) * axes[part] @ (weights / np.sqrt((weights**2).sum(axis=0)))
    return signal


def labelled(repeats, *, n_splits=4, seed=0, n_subjects=2, kind="voxel"):
    """Responses as a data set gives them; voxels of two regions in each subject."""
    _, n_stimuli, n_voxels = repeats.shape
    stimuli = [f"s{i}" for i in range(n_stimuli)]
    number = np.arange(n_voxels)
    return xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), repeats),
            "train": (("split", "stimulus"), folds.half_splits(stimuli, n_splits=n_splits, seed=seed)),
        },
        coords={
            "stimulus": stimuli,
            "voxel": [f"v{i}" for i in number],
            "subject": ("voxel", [f"p{i % n_subjects}" for i in number]),
            "roi": ("voxel", ["V1" if i < n_voxels // 2 else "IT" for i in number]),
        },
        attrs={"kind": kind, "target": "here"},
    )


def noisy(signal, n_repeats, share, rng):
    """Repeats of which a share of the variance is signal."""
    return signal + np.sqrt(1 / share - 1) * rng.standard_normal((n_repeats, *signal.shape))


@pytest.fixture(scope="module")
def planted():
    rng = np.random.default_rng(0)
    sets, axes = spaces(120, rng)
    signal = signals(axes, 40, rng)
    responses = labelled(noisy(signal, 3, 0.5, rng))
    return sets, signal, responses, shared_variance.encoding(sets, responses)


def test_scores_are_those_of_each_unions_own_ridge(planted):
    sets, _, responses, found = planted
    Y, train = responses["response"].values, responses["train"].values[1]
    for union in partition.subsets("ab"):
        bands = [sets[name] for name in sorted(union)]
        fits = [banded.leave_one_out(bands, y, train) for y in (Y.mean(axis=0), *Y)]
        here = found.sel(union=partition.label(union, "ab")).isel(split=1)
        r = metrics.pearson(Y.mean(axis=0)[~train], fits[0].predictions[~train])
        np.testing.assert_allclose(here["r2"], np.where(fits[0].constant, 0, r * abs(r)), atol=1e-9)
        predictions = np.stack([fit.predictions[~train] for fit in fits[1:]])
        terms = correction.terms(Y[:, train], Y[:, ~train], predictions, n_repeats=np.full(40, 3))
        np.testing.assert_allclose(here["ceiling"], terms[0] * terms[1], atol=1e-9)
        np.testing.assert_allclose(here["r2_left_out"], 1 - fits[0].left_out, atol=1e-12)


def test_parts_sum_to_the_score_of_all_sets(planted):
    *_, found = planted
    assert found["part_r2"].dims == found["part_corrected"].dims == ("part", "split", "voxel")
    full = found.sel(union="a & b")
    np.testing.assert_allclose(found["part_r2"].sum("part"), full["r2"], atol=1e-14)
    np.testing.assert_allclose(found["part_corrected"].sum("part"), full["r2"] / full["ceiling"], atol=1e-12)
    assert found["part"].values.tolist() == ["a", "b", "a & b"]
    np.testing.assert_allclose(found["weight"].sum("set"), 1)


def test_parts_are_corrected_by_each_unions_own_ceiling(planted):
    *_, found = planted
    a, b, both = (found["r2"] / found["ceiling"]).transpose("union", "split", "voxel").values
    np.testing.assert_allclose(
        found["part_corrected"], np.stack([both - b, both - a, a + b - both]), atol=1e-12
    )
    assert (abs(found["ceiling"].diff("union")) > 1e-3).mean() > 0.5


def of_all(found):
    """Parts and their total of all voxels."""
    rows = shared_variance.summary(found).set_index(["roi", "part"])
    return rows["value"].loc["all"].to_numpy()


def test_parts_corrected_by_reliability_are_those_of_responses_without_noise():
    parts = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        sets, axes = spaces(120, rng)
        signal = signals(axes, 60, rng)
        given = signal[None], noisy(signal, 4, 0.6, rng)
        parts.append([of_all(shared_variance.encoding(sets, labelled(Y, n_splits=2))) for Y in given])
    free, corrected = np.mean(parts, axis=0)
    # Unique a, unique b, shared, total. Scatter of these means about 0.01; the rule's own bias (it takes too much
    # for noise, `lib.noise_simulation`) adds up to 0.02
    np.testing.assert_allclose(corrected, free, atol=0.03)
    assert free[0] > 0.1
    assert free[2] > 0.25


def test_parts_corrected_by_explainable_variance_are_those_of_these_predictions():
    differences = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        sets, axes = spaces(120, rng)
        signal = signals(axes, 60, rng)
        responses = labelled(noisy(signal, 3, 0.3, rng), n_splits=2)
        found = shared_variance.encoding(sets, responses, correction="explainable-variance")
        truth = []
        for train in responses["train"].values:
            fits = banded.unions(sets, responses["response"].mean("repeat").values, train)
            r = {u: metrics.pearson(signal[~train], f.predictions[~train]) for u, f in fits.items()}
            scores = {u: np.nanmean(r[u] * abs(r[u])) for u in fits}
            truth.append([*partition.parts(scores).values(), scores[frozenset("ab")]])
        differences.append(of_all(found) - np.mean(truth, axis=0))
    error = np.std(differences, axis=0, ddof=1) / np.sqrt(6)
    # 4 standard errors of six draws, and what r|r| over 60 stimuli is too large by chance: (1 - r²)² / 60 over 0.56
    assert (abs(np.mean(differences, axis=0)) < 4 * error + 0.03).all()
    assert (error < 0.02).all()


def test_parts_of_what_no_set_explains_are_nothing_on_average():
    rng = np.random.default_rng(3)
    sets, _ = spaces(80, rng)
    found = shared_variance.encoding(sets, labelled(rng.standard_normal((1, 80, 200)), n_splits=6))
    mean = found["part_r2"].mean(["split", "voxel"])
    # 200 unrelated voxels: standard errors of r|r| below 0.001; the best of 11 mixtures is chosen on train alone
    assert (abs(mean) < 0.004).all()
    assert float((found["constant_prediction"] == 1).mean()) > 0.2
    assert found.attrs["corrected"] == 0
    assert np.isnan(found["ceiling"]).all()


def test_intervals_over_splits_cover():
    estimates, halves, naive = [], [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        sets, axes = spaces(48, rng, n_units=12)
        Y = signals(axes, 20, rng)[None]
        responses = labelled(Y, n_splits=6, seed=seed, kind="component")
        found = shared_variance.encoding(sets, responses)
        rows = shared_variance.summary(found)
        estimates.append(rows["value"])
        halves.append(rows["high"] - rows["value"])
        naive.append(2.57 * found["part_r2"].std("split", ddof=1) / np.sqrt(6))  # t(5) at 0.975
    estimates, halves = (np.reshape(x, (20, 20, 4)) for x in (estimates, halves))
    away = abs(estimates - estimates.mean(axis=0))
    # Nominal 0.95; in 120 draws of 60 stimuli 0.92 (total) to 0.99 (smallest part). 20 draws of 20 voxels that
    # share stimuli have a standard error of about 0.02.
    assert ((away <= halves).mean(axis=(0, 1)) > 0.88).all()
    naive = np.moveaxis(naive, 1, 2)
    assert (away[..., :3] <= naive).mean() < 0.85


def test_split_interval_is_nadeau_and_bengios():
    values = np.array([[0.1, 0.3, 0.2, 0.4]])
    half = shared_variance.split_interval(values, n_train=60, n_test=30)
    # t(3) at 0.975 is 3.182446; variance 0.016667 · (1 / 4 + 1 / 2)
    np.testing.assert_allclose(half, 3.1824463 * np.sqrt(values.var(ddof=1) * 0.75), rtol=1e-7)
    assert np.isnan(shared_variance.split_interval(values[:, :1], n_train=60, n_test=30)).all()


def test_summary_is_a_ratio_of_means_within_subjects_then_their_mean(planted):
    *_, found = planted
    rows = shared_variance.summary(found).set_index(["roi", "part"])
    assert list(rows.index.get_level_values("roi").unique()) == ["all", "V1", "IT"]
    values = []
    for subject in ("p0", "p1"):
        here = found.isel(voxel=((found["subject"] == subject) & (found["roi"] == "V1")).values)
        f = {
            union: float(here["r2"].sel(union=union).mean() / here["ceiling"].sel(union=union).mean())
            for union in found["union"].values
        }
        values.append([f["a & b"] - f["b"], f["a & b"] - f["a"], f["a"] + f["b"] - f["a & b"], f["a & b"]])
    values = np.array(values)
    np.testing.assert_allclose(rows.loc["V1", "value"], values.mean(axis=0))
    half = 12.7062047 * values.std(axis=0, ddof=1) / np.sqrt(2)  # t(1) at 0.975
    np.testing.assert_allclose(rows.loc["V1", "high"] - rows.loc["V1", "value"], half, rtol=1e-6)
    assert (rows["n"] == 2).all()
    assert set(rows["interval"]) == {"t over subjects"}
    mean = (found["part_r2"].sel(part="b") < 0).mean()
    assert rows.loc[("all", "b"), "negative"] == pytest.approx(float(mean))


def test_one_subject_has_its_interval_over_splits(planted):
    *_, found = planted
    one = found.isel(voxel=(found["subject"] == "p0").values)
    rows = shared_variance.summary(one)
    assert set(rows["interval"]) == {"corrected t over splits"}
    assert set(rows["n"]) == {120}
    first = rows.iloc[0]  # unique a, all voxels
    mean = one[["r2", "ceiling"]].mean("voxel")
    per_split = (mean["r2"] / mean["ceiling"]).diff("union")
    f = mean["r2"] / mean["ceiling"]
    unique = (f.sel(union="a & b") - f.sel(union="b")).values
    half = shared_variance.split_interval(unique, n_train=60, n_test=60)
    assert per_split.sizes["split"] == 4
    assert first["high"] - first["value"] == pytest.approx(half)
    assert first["value"] == pytest.approx(unique.mean(), abs=0.01)


def test_components_are_summarised_one_by_one_and_uncorrected():
    rng = np.random.default_rng(0)
    sets, axes = spaces(60, rng)
    found = shared_variance.encoding(sets, labelled(signals(axes, 3, rng)[None], kind="component"))
    rows = shared_variance.summary(found)
    assert rows["roi"].tolist() == [v for v in ("v0", "v1", "v2") for _ in range(4)]
    total = rows.set_index(["roi", "part"])["value"].xs("total", level="part")
    np.testing.assert_allclose(total, found["r2"].sel(union="a & b").mean("split"))


def test_undefined_voxels_are_left_out_and_counted(planted):
    sets, _, responses, _ = planted
    Y = responses["response"].values.copy()
    Y[:, :, 0] = 1.0  # constant
    Y[:2, 5, 1] = np.nan  # one complete repeat is left
    found = shared_variance.encoding(sets, responses.assign(response=responses["response"].copy(data=Y)))
    rows = shared_variance.summary(found).set_index(["roi", "part"])
    assert rows.loc[("all", "total"), "undefined"] == 2 / 40
    assert rows.loc[("IT", "total"), "undefined"] == 0
    np.testing.assert_array_equal(np.isnan(found["part_corrected"]).all(["part", "split"])[:3], [1, 1, 0])
    assert np.isfinite(rows["value"]).all()


def test_held_out_stimuli_test_what_all_others_trained():
    rng = np.random.default_rng(5)
    sets, axes = spaces(100, rng)
    signal = signals(axes, 6, rng)
    responses = labelled(noisy(signal, 2, 0.7, rng)[:, :70], n_splits=1)
    held_out = {
        "test_response": (("test_repeat", "test_stimulus", "voxel"), noisy(signal, 4, 0.7, rng)[:, 70:])
    }
    responses = folds.scheme(
        responses.assign(held_out).assign_coords(test_stimulus=[f"t{i}" for i in range(30)]), "fixed"
    )
    found = shared_variance.encoding(sets, responses)
    Y, test = responses["response"].values, responses["test_response"].values
    train = np.arange(100) < 70
    columns = np.concatenate([Y.mean(axis=0), np.zeros((30, 6))])
    fit = banded.leave_one_out([sets["a"], sets["b"]], columns, train)
    r = metrics.pearson(test.mean(axis=0), fit.predictions[70:])
    np.testing.assert_allclose(found["r2"].sel(union="a & b").values[0], r * abs(r))
    # Two repeats are fitted, the mean of four is scored.
    padded = np.concatenate([Y, np.zeros((2, 30, 6))], axis=1)
    single = [banded.leave_one_out([sets["a"], sets["b"]], y, train).predictions[70:] for y in padded]
    prediction = reliability.reliability(metrics.pearson(*single), 2, 30)
    voxel = reliability.reliability(reliability.single_repeat_reliability(test), 4, 30)
    np.testing.assert_allclose(found["ceiling"].sel(union="a & b").values[0], voxel * prediction)
    assert (found.attrs["n_train"], found.attrs["n_test"]) == (70, 30)
    with pytest.raises(ValueError, match="that needs `test_response`"):
        shared_variance.encoding(sets, responses.drop_vars("test_response"))


def test_collinearity_says_what_others_predict():
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((200, 10))
    sets = {"wide": wide, "same": 3 * wide, "part": wide[:, :3], "other": rng.standard_normal((200, 10))}
    sets = {name: ridge.compress([X]) for name, X in sets.items()}
    table = shared_variance.collinearity(sets, labelled(np.zeros((1, 200, 2))))
    table = table.set_index(["set", "other"])
    assert table.loc[("wide", "same"), "cka"] == pytest.approx(1)
    assert table.loc[("wide", "same"), "predicted"] == pytest.approx(1, abs=1e-6)
    assert table.loc[("part", "wide"), "predicted"] == pytest.approx(1, abs=1e-6)
    assert 0.2 < table.loc[("wide", "part"), "predicted"] < 0.4  # 3 of 10 directions
    assert abs(table.loc[("wide", "other"), "cka"]) < 0.1
    assert table.loc[("other", "all others"), "predicted"] < 0.05
    assert len(table) == 4 * 4


def test_two_sets_have_no_row_for_all_others(planted):
    sets, _, responses, _ = planted
    assert shared_variance.collinearity(sets, responses)["other"].tolist() == ["b", "a"]


@pytest.mark.parametrize(
    ("layers", "sets"),
    [
        ("abcdefg", {"early": "abc", "middle": "de", "late": "fg"}),
        ("abc", {"early": "a", "middle": "b", "late": "c"}),
        ("ab", {"early": "a", "late": "b"}),
        ("a", {"all": "a"}),
    ],
)
def test_thirds_of_layers(layers, sets):
    assert shared_variance.thirds(tuple(layers)) == {name: list(some) for name, some in sets.items()}


def test_one_set_has_one_part(planted):
    sets, _, responses, found = planted
    alone = shared_variance.encoding({"a": sets["a"]}, responses)
    np.testing.assert_allclose(alone["part_r2"].sel(part="a"), found["r2"].sel(union="a"), atol=1e-12)
    assert shared_variance.summary(alone)["part"].unique().tolist() == ["a", "total"]


def test_sets_that_do_not_fit_are_an_error(planted):
    sets, _, responses, _ = planted
    with pytest.raises(ValueError, match=r"5 sets: .* 1 to 4; join layers"):
        shared_variance.encoding({str(i): sets["a"] for i in range(5)}, responses)
    with pytest.raises(ValueError, match=r"120 rows.*'b': 60"):
        shared_variance.encoding({"a": sets["a"], "b": sets["b"][:60]}, responses)


def test_names_of_numbers_say_what_is_shared():
    rows = [("V1", "early & late", 0.2), ("V1", "total", 0.5)]
    table = pd.DataFrame(rows, columns=["roi", "part", "value"]).assign(
        low=0.1, high=0.3, n=4, unit="subject", interval="t over subjects", negative=0.25, undefined=0.0
    )
    table = table.assign(target="planted", model="Net", beside=["", "Other"])
    found = shared_variance.quotable(table)
    assert found["name"].tolist() == [
        "encode/planted/net/partition/v1/early+late",
        "encode/planted/net/partition_beside_other/v1/total",
    ]
    assert found["what"][0].endswith(
        "95 % t over subjects interval; 25.0% of voxels and splits below 0, 0.0% undefined"
    )
    assert len(shared_variance.quotable(table.iloc[:0])) == 0
    assert len(shared_variance.quotable(pd.DataFrame(columns=table.columns))) == 0
