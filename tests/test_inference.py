"""Intervals: resampled correlations against repeated rows and other libraries, coverage, Student's t."""

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
