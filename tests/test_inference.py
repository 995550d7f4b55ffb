"""Intervals and tests: against repeated rows, other libraries and the published code; coverage, false alarms."""

import itertools
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from lib import inference, metrics

N, N_VOXELS, N_SPLITS = 40, 5, 3


def labelled(Y, Y_hat):
    """Responses and predictions with names."""
    names = {"stimulus": [f"s{i}" for i in range(len(Y))], "voxel": [f"v{i}" for i in range(Y.shape[1])]}
    response = xr.DataArray(Y, dims=("stimulus", "voxel"), coords=names)
    splits = {"split": np.arange(len(Y_hat))}
    return response, xr.DataArray(Y_hat, dims=("split", "stimulus", "voxel"), coords=names | splits)


def data(seed=0, *, sign=1):
    """Responses and predictions of half of the stimuli in each split."""
    rng = np.random.default_rng(seed)
    Y = 100 + rng.standard_normal((N, N_VOXELS))
    Y_hat = 5 + sign * Y + rng.standard_normal((N_SPLITS, N, N_VOXELS))
    for split in Y_hat:
        split[rng.permutation(N)[: N // 2]] = np.nan
    return labelled(Y, Y_hat)


def test_draws_are_resamples_with_replacement():
    weights = inference.draws(30, 4000, np.random.default_rng(0))
    assert weights.shape == (4000, 30)
    assert (weights.sum(axis=1) == 30).all()
    # Binomial (30, 1/30); 4 standard errors over 4000 draws of its variance, whose relative one is √(3.03 / 4000)
    # (fourth moment of Poisson 1 is 4), averaged over 30 units.
    assert weights.var() == pytest.approx(29 / 30, rel=4 * np.sqrt(3.03 / 4000 / 30))
    again = inference.draws(30, 4000, np.random.default_rng(0))
    np.testing.assert_array_equal(weights, again)


def test_each_stimulus_once_gives_the_plain_squared_correlation():
    response, prediction = data()
    r2 = inference.resampled_r2(response, prediction, np.ones((1, N), int))
    assert r2.dims == ("resample", "split", "voxel")
    for k, split in enumerate(prediction.values):
        test = np.isfinite(split).all(axis=1)
        expected = metrics.squared_correlation(response.values[test], split[test])
        np.testing.assert_allclose(r2[0, k], expected, rtol=1e-10)


def test_weights_are_repeated_rows():
    response, prediction = data(1)
    weights = inference.draws(N, 20, np.random.default_rng(2))
    r2 = inference.resampled_r2(response, prediction, weights)
    for i, counts in enumerate(weights):
        for k, split in enumerate(prediction.values):
            rows = np.repeat(np.arange(N), counts)
            rows = rows[np.isfinite(split[rows]).all(axis=1)]
            for v in range(N_VOXELS):
                r = np.corrcoef(response.values[rows, v], split[rows, v])[0, 1]
                # float64 sums of values around 100: 1e-16 · 100² · 40, relative to a variance of 1
                assert r2.values[i, k, v] == pytest.approx(max(r, 0) ** 2, rel=1e-9, abs=1e-12)


def test_negative_correlations_count_as_zero():
    response, prediction = data(sign=-1)
    assert (inference.resampled_r2(response, prediction, np.ones((1, N), int)) == 0).all()


def test_scale_and_offset_of_one_voxel_leave_all_voxels_as_they_are():
    response, prediction = data(3)
    weights = inference.draws(N, 10, np.random.default_rng(0))
    plain = inference.resampled_r2(response, prediction, weights)
    scale, offset = np.array([1, 1e-9, 1e9, 1, 1]), np.array([0, 0, 0, 1e3, 0])
    scaled = inference.resampled_r2(response * scale + offset, prediction * scale, weights)
    # An offset of 1000 costs three digits of the response itself.
    np.testing.assert_allclose(scaled, plain, rtol=1e-9, atol=1e-12)


def test_sides_that_do_not_vary_in_a_draw_score_zero():
    response, prediction = data()
    prediction[0] = prediction[0] * 0 + 0.7  # constant on its test stimuli; their mean differs by rounding
    only = int(np.flatnonzero(np.isfinite(prediction.values[1, :, 0]))[0])
    one = np.zeros((1, N), int)
    one[0, only] = N  # the same stimulus again and again
    none = np.where(np.isfinite(prediction.values[2, :, 0]), 0, 1)[None]  # no test stimulus of split 2
    assert (inference.resampled_r2(response, prediction, np.ones((1, N), int))[0, 0] == 0).all()
    assert (inference.resampled_r2(response, prediction, one) == 0).all()
    assert (inference.resampled_r2(response, prediction, none)[0, 2] == 0).all()


def test_a_voxel_without_values_is_nan_and_leaves_the_others_as_they_are():
    response, prediction = data()
    weights = inference.draws(N, 10, np.random.default_rng(0))
    plain = inference.resampled_r2(response, prediction, weights)
    prediction[:, :, 2] = np.nan
    tests = np.isfinite(prediction.values[:, 8, 0])  # splits that test s8
    assert 0 < tests.sum() < N_SPLITS
    response[8, 4] = np.nan
    r2 = inference.resampled_r2(response, prediction, weights)
    assert np.isnan(r2[..., 2]).all()
    np.testing.assert_array_equal(np.isnan(r2[..., 4]), np.tile(tests, (10, 1)))
    np.testing.assert_array_equal(r2[..., [0, 1, 3]], plain[..., [0, 1, 3]])
    for bound in inference.percentile_interval(r2, dim="resample"):
        assert np.isnan(bound).any("split").values.tolist() == [False, False, True, False, True]


def test_other_stimuli_or_voxels_or_order_are_refused():
    response, prediction = data()
    weights = np.ones((1, N), int)
    for changed in (response[::-1], response[1:], response[:, ::-1]):
        with pytest.raises(ValueError, match="align"):
            inference.resampled_r2(changed, prediction, weights)


def test_inputs_are_unchanged():
    response, prediction = data()
    weights = inference.draws(N, 4, np.random.default_rng(0))
    before = response.copy(deep=True), prediction.copy(deep=True), weights.copy()
    inference.resampled_r2(response, prediction, weights)
    xr.testing.assert_identical(response, before[0])
    xr.testing.assert_identical(prediction, before[1])
    np.testing.assert_array_equal(weights, before[2])


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_percentile_interval_of_the_normal_distribution(level):
    n = 40_000
    values = xr.DataArray(np.random.default_rng(0).normal(3, 2, (n, 2)), dims=("draw", "voxel"))
    p = (1 - level) / 2
    expected = stats.norm(3, 2).ppf([p, 1 - p])
    # Standard error of a sample quantile, √(p (1 - p) / n) / density.
    error = np.sqrt(p * (1 - p) / n) / stats.norm(3, 2).pdf(expected)
    for bound, wanted, se in zip(
        inference.percentile_interval(values, dim="draw", level=level), expected, error, strict=True
    ):
        assert bound.dims == ("voxel",)
        assert (abs(bound - wanted) < 4 * se).all()


def test_percentile_interval_of_whole_numbers_is_exact():
    low, high = inference.percentile_interval(xr.DataArray(np.arange(1001)[::-1], dims="draw"), dim="draw")
    assert (float(low), float(high)) == pytest.approx((25, 975))


@pytest.mark.parametrize("rho2", [0.34, 0.71])
def test_resampled_stimuli_cover_the_true_r2_nearly_as_often_as_claimed(rho2):
    # Worst and best SpectroTemporal component at 82 test stimuli; a voxel is a simulated experiment.
    rng, n_sets, per_set = np.random.default_rng(int(100 * rho2)), 40, 100
    hits = []
    for _ in range(n_sets):
        Y, noise = rng.standard_normal((2, 82, per_set))
        response, prediction = labelled(Y, (np.sqrt(rho2) * Y + np.sqrt(1 - rho2) * noise)[None])
        drawn = inference.resampled_r2(response, prediction, inference.draws(82, 1000, rng))
        low, high = (bound.values for bound in inference.percentile_interval(drawn, dim="resample"))
        hits.append(((low <= rho2) & (rho2 <= high)).mean())
    # Percentile intervals cover less than claimed by a term of order 1/n (Efron & Tibshirani 1993, chapter 14):
    # measured .943 and .939. 1.5/82, and 4 standard errors of 4000 trials, either side.
    margin = 1.5 / 82 + 4 * np.sqrt(0.05 * 0.95 / (n_sets * per_set))
    assert 0.95 - margin < np.mean(hits) < 0.95 + margin / 2


def subjects(n=6, seed=0):
    """Scores of subjects in two regions."""
    values = np.random.default_rng(seed).random(2 * n)
    names = [f"sub{i}" for i in range(n)]
    return pd.DataFrame({"roi": ["V4"] * n + ["V1"] * n, "subject": 2 * names, "score": values})


@pytest.mark.parametrize("level", [0.68, 0.95])
def test_mean_interval_equals_scipy(level):
    table = subjects()
    found = inference.mean_interval(table, value="score", by=["roi"], level=level)
    assert found.columns.tolist() == ["roi", "score", "low", "high", "n", "unit"]
    assert found["roi"].tolist() == ["V4", "V1"]  # in the order of the table
    assert found["n"].tolist() == [6, 6]
    assert found["unit"].tolist() == ["subject", "subject"]
    for row in found.itertuples():
        values = table.loc[table["roi"] == row.roi, "score"]
        expected = stats.ttest_1samp(values, 0).confidence_interval(level)
        assert row.score == pytest.approx(values.mean(), rel=1e-12)
        assert (row.low, row.high) == pytest.approx(tuple(expected), rel=1e-10)


def test_mean_interval_leaves_out_units_without_a_value():
    table = subjects()
    table.loc[2, "score"] = np.nan
    found = inference.mean_interval(table, value="score", by=["roi"])
    fewer = inference.mean_interval(table.drop(index=2), value="score", by=["roi"])
    assert found["n"].tolist() == [5, 6]
    pd.testing.assert_frame_equal(found, fewer)


def test_one_unit_has_a_mean_but_no_interval_and_none_has_neither():
    table = subjects(1)
    table.loc[1, "score"] = np.nan
    found = inference.mean_interval(table, value="score", by=["roi"])
    assert found["n"].tolist() == [1, 0]
    assert found["score"].isna().tolist() == [False, True]
    assert found[["low", "high"]].isna().all(axis=None)


def test_units_that_agree_have_an_interval_of_no_width():
    table = subjects().assign(score=0.25)
    found = inference.mean_interval(table, value="score", by=["roi"])
    assert (found[["score", "low", "high"]] == 0.25).all(axis=None)


def test_a_unit_that_comes_twice_is_named_with_its_group():
    table = pd.concat([subjects(), subjects().iloc[[7]]])
    with pytest.raises(ValueError, match=r"subject 'sub1' has several rows in group \{'roi': 'V1'\}"):
        inference.mean_interval(table, value="score", by=["roi"])
    # of another kind the same rows may be different units
    table["session"] = np.arange(len(table)).astype(str)
    assert inference.mean_interval(table, value="score", by=["roi"], unit="session")["n"].tolist() == [6, 7]


# Tests of differences


@pytest.fixture
def oracle():
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE is not set")
    return np.load(Path(folder) / "auditory_oracle.npz")


def pair(n=8, seed=0, shift=0.4):
    """Two conditions of the same units, which differ as a whole by more than the conditions do."""
    rng = np.random.default_rng(seed)
    common = 3 * rng.standard_normal(n)
    a, b = common + 0.5 * rng.standard_normal((2, n))
    return a + shift, b


@pytest.mark.reference
def test_published_bootstrap_and_shuffle_equal_the_published_code(oracle):
    a, b = oracle["in_f_participant_A"], oracle["in_f_participant_B"]
    found = [inference.bootstrap(*ab, published="tuckute2023")["p"] for ab in ((a, b), (b, a))]
    np.testing.assert_allclose(found, oracle["f_participant_bootstrap_p"], rtol=0, atol=1e-12)
    a, b = oracle["in_f_iterations_A"], oracle["in_f_iterations_B"]
    found = [inference.shuffled_iterations(*ab) for ab in ((a, b), (b, a))]
    np.testing.assert_allclose(found, oracle["f_component_shuffle_p"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [2, 8, 20])
def test_paired_t_equals_scipy(n):
    a, b = pair(n)
    found, expected = inference.paired_t(a, b, level=0.9), stats.ttest_rel(a, b)
    assert (found["t"], found["p"]) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)
    interval = expected.confidence_interval(0.9)
    assert (found["value"], found["low"], found["high"]) == pytest.approx(((a - b).mean(), *interval))
    assert (found["df"], found["n"]) == (n - 1, n)


def test_units_without_a_value_drop_out_of_both_conditions():
    a, b = pair()
    holed = a.copy()
    holed[3] = np.nan
    kept = np.arange(8) != 3
    for test in (inference.paired_t, inference.sign_flip, inference.bootstrap, inference.wilcoxon):
        assert test(holed, b) == test(a[kept], b[kept])
    assert inference.correlation(holed, b) == inference.correlation(a[kept], b[kept])


def test_drawn_swaps_count_the_observed_one():
    # 40 units that all agree: no other of 100,000 draws of 2^40 is as far from 0.
    assert inference.sign_flip(np.ones(40), np.zeros(40)) == pytest.approx(1 / 100_001, rel=1e-12)


def test_one_unit_or_none_has_no_test():
    for n in (0, 1):
        a, b = np.ones(n), np.zeros(n)
        assert np.isnan([inference.paired_t(a, b)[k] for k in ("low", "high", "t", "p")]).all()
        assert np.isnan([inference.bootstrap(a, b)[k] for k in ("low", "high", "p")]).all()
        assert np.isnan(inference.correlation(a, b)["value"])
    assert np.isnan(inference.sign_flip([], []))
    assert inference.sign_flip([1.0], [0.0]) == 1  # both signs are as far from 0


def test_conditions_of_other_units_are_refused():
    with pytest.raises(ValueError, match="same units"):
        inference.paired_t(np.ones(3), np.ones(4))


@pytest.mark.parametrize(("n", "shift"), [(2, 0.4), (5, 0.1), (8, 0.4), (8, 9)])
def test_exact_swaps_equal_scipy(n, shift):
    a, b = pair(n, shift=shift)
    expected = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    # scipy doubles the smaller tail, which for a symmetric distribution is the same
    assert inference.sign_flip(a, b) == pytest.approx(expected.pvalue, rel=1e-12)
    assert inference.sign_flip(b, a) == inference.sign_flip(a, b)


def test_units_that_all_agree_have_the_smallest_p_there_is():
    a, b = pair(8, shift=9)
    assert inference.sign_flip(a, b) == 2 / 2**8
    # as published one-sided, strictly above, floored
    assert inference.sign_flip(a, b, published="feather2022") == 1 / 256
    assert inference.sign_flip(b, a, published="feather2022") > 0.99
    with pytest.raises(ValueError, match="published rule"):
        inference.sign_flip(a, b, published="tuckute2023")


def test_many_units_are_swapped_at_random_near_the_exact_value():
    a, b = pair(17, seed=3, shift=0.2)
    signs = np.array(list(itertools.product([-1, 1], repeat=17)))
    exact = (abs(signs @ (a - b)) >= abs((a - b).sum()) - 1e-9).mean()
    found = inference.sign_flip(a, b)
    assert 0.01 < exact < 0.99
    assert abs(found - exact) < 4 * np.sqrt(exact * (1 - exact) / 100_000)


def test_no_difference_is_found_as_often_as_claimed():
    # 8 units without any difference but a large common part: the test's false alarms at .05
    rng, alarms = np.random.default_rng(0), []
    for _ in range(400):
        common = rng.standard_normal(8)
        a, b = common + 0.3 * rng.standard_normal((2, 8))
        paired = inference.bootstrap(a, b, n_resamples=400)["p"], inference.sign_flip(a, b)
        printed = inference.bootstrap(a, b, n_resamples=400, published="tuckute2023")["p"]
        alarms.append([inference.paired_t(a, b)["p"] <= 0.05, *(p <= 0.05 for p in paired), printed <= 0.05])
    t, bootstrap, swaps, printed = np.mean(alarms, axis=0)
    margin = 4 * np.sqrt(0.05 * 0.95 / 400)
    assert t < 0.05 + margin
    assert swaps < 0.05 + margin
    # As percentile intervals do, the bootstrap of 8 units errs to the narrow side: measured .10.
    assert bootstrap < 0.1 + 4 * np.sqrt(0.1 * 0.9 / 400)
    # The published one leaves what units share in: it hardly ever sees a difference of the conditions.
    assert printed < 0.03


def test_pairing_sees_a_difference_that_the_published_bootstrap_cannot():
    a, b = pair(20, shift=0.5)
    found, printed = inference.bootstrap(a, b), inference.bootstrap(a, b, published="tuckute2023")
    assert (found["value"], printed["value"]) == pytest.approx(2 * ((a - b).mean(),))
    assert found["low"] > 0
    assert found["p"] < 0.05
    assert printed["p"] > 0.1
    assert np.isnan([printed["low"], printed["high"]]).all()


def test_bootstrap_probability_is_never_zero_and_has_two_sides():
    a, b = pair(8, shift=9)
    for first, second in ((a, b), (b, a)):
        assert inference.bootstrap(first, second, n_resamples=999)["p"] == 2 / 1000
    assert inference.bootstrap(a, b, n_resamples=999, published="tuckute2023")["p"] == 0
    assert inference.bootstrap(a, a)["p"] == 1
    with pytest.raises(ValueError, match="published rule"):
        inference.bootstrap(a, b, published="tuckute")


def test_resampled_difference_counts_both_tails():
    drawn = np.r_[-np.ones(3), np.ones(96)]
    found = inference.resampled_difference(drawn, 0.9)
    assert found["p"] == 2 * 4 / 100
    assert found["value"] == 0.9
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
    assert inference.resampled_difference(-drawn, -0.9)["p"] == found["p"]


@pytest.mark.parametrize("n", [1, 4, 15])
def test_wilcoxon_equals_scipy_without_ties(n):
    a, b = pair(n)
    exact, printed = inference.wilcoxon(a, b), inference.wilcoxon(a, b, published="tuckute2023")
    assert exact["p"] == pytest.approx(stats.wilcoxon(a, b, method="exact").pvalue, rel=1e-12)
    expected = stats.wilcoxon(a, b, method="approx", correction=False)
    assert (printed["w"], printed["p"]) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)


def test_wilcoxon_with_ties_and_zeros_equals_all_signs():
    a = np.array([0.25, 0.5, 0.75, 0.5, 0.5, 0.125, 0.375, 0.5])
    b = np.array([0.5, 0.25, 0.5, 0.5, 0.25, 0.0, 0.25, 0.375])
    found = inference.wilcoxon(a, b)
    difference = (a - b)[a != b]
    ranks = stats.rankdata(abs(difference))
    assert len(set(ranks)) < len(ranks)
    sums = [ranks[np.array(signs) > 0].sum() for signs in itertools.product([-1, 1], repeat=7)]
    w = min(ranks[difference > 0].sum(), ranks[difference < 0].sum())
    expected = min(1, 2 * np.mean(np.array(sums) <= w))
    assert (found["w"], found["n"]) == (w, 7)
    assert found["p"] == pytest.approx(expected, rel=1e-12)
    printed = stats.wilcoxon(a, b, zero_method="wilcox", correction=False, method="approx")
    assert inference.wilcoxon(a, b, published="tuckute2023")["p"] == pytest.approx(printed.pvalue, rel=1e-12)


def test_equal_conditions_have_no_wilcoxon_test():
    found = inference.wilcoxon(np.ones(5), np.ones(5))
    assert found["n"] == found["w"] == 0
    assert np.isnan(found["p"])
    assert np.isnan(inference.wilcoxon(np.ones(5), np.ones(5), published="tuckute2023")["p"])


# Printed beside figure 7 of Tuckute et al. (2023), doi:10.1371/journal.pbio.3002366 (RSA, Primary against another
# region over 15 models): W and p to five decimals. Models on the diagonal drop out, and ties change the variance, so
# only those whose ranks are known to be free of both can be computed from W alone.
def test_wilcoxon_has_the_convention_of_the_printed_values():
    # W = 0 of 15 models: all above the diagonal
    found = inference.wilcoxon(np.arange(1.0, 16), np.zeros(15), published="tuckute2023")
    assert (found["w"], round(found["p"], 5)) == (0, 0.00065)
    # W = 1: the smallest difference below it
    found = inference.wilcoxon(np.r_[-1.0, 2:16], np.zeros(15), published="tuckute2023")
    assert (found["w"], round(found["p"], 5)) == (1, 0.00081)
    # W = 14: the second and the twelfth
    difference = np.arange(1.0, 16) * np.where(np.isin(np.arange(15), [1, 11]), -1, 1)
    found = inference.wilcoxon(difference, np.zeros(15), published="tuckute2023")
    assert (found["w"], round(found["p"], 5)) == (14, 0.00898)


def test_holm_equals_its_definition():
    p = np.array([0.04, np.nan, 0.01, 0.03, 0.5])
    # 4 tests: .01 * 4, .03 * 3, then never below an earlier one
    np.testing.assert_allclose(inference.holm(p), [0.09, np.nan, 0.04, 0.09, 0.5], rtol=1e-12)
    assert inference.holm([]).shape == (0,)
    assert np.isnan(inference.holm([np.nan])).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_correlation_equals_scipy(sign):
    a, b = pair(12)
    found, expected = inference.correlation(a, sign * b), stats.pearsonr(a, sign * b)
    assert (found["r"], found["p"]) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)
    assert found["value"] == pytest.approx(expected.statistic**2)
    bounds = np.sort(np.square(expected.confidence_interval(0.95)))
    assert (found["low"], found["high"]) == pytest.approx(tuple(bounds), rel=1e-12)


def test_squared_correlation_that_may_be_none_has_an_interval_from_zero():
    x = np.arange(6.0)
    found = inference.correlation(x, np.array([1, -1, 1, 1, -1, 1.0]))
    assert found["low"] == 0
    assert found["high"] > found["value"]


def test_correlation_of_three_units_has_no_interval_and_of_constants_no_value():
    found = inference.correlation([0, 1, 2.0], [0, 1, 1.0])
    assert found["value"] == pytest.approx(0.75)
    assert np.isnan([found["low"], found["high"]]).all()
    assert np.isnan(inference.correlation([0, 1, 2.0], np.ones(3))["value"])
    assert np.isnan(inference.correlation([0, 1.0], [0, 1.0])["value"])


def test_shuffles_of_iterations_count_strictly_larger_differences():
    assert inference.shuffled_iterations(np.ones(10), np.ones(10), n_permutations=20) == 0
    p = inference.shuffled_iterations(np.arange(10.0), np.arange(10.0) + 0.5, n_permutations=500)
    assert 0.4 < p < 0.8
