"""Scores of predictions: other implementations and limits."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from lib import metrics


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    Y = rng.standard_normal((50, 6)) * 3 + 100
    return Y, Y * np.linspace(-1, 1, 6) + rng.standard_normal(Y.shape) * 2


def test_pearson_equals_scipy(pair):
    expected = [stats.pearsonr(a, b).statistic for a, b in zip(pair[0].T, pair[1].T, strict=True)]
    np.testing.assert_allclose(metrics.pearson(*pair), expected, rtol=1e-10)


def test_pearson_ignores_scale_and_offset(pair):
    Y, Y_hat = pair
    np.testing.assert_allclose(metrics.pearson(Y * 5 - 3, Y_hat + 1e3), metrics.pearson(Y, Y_hat), rtol=1e-10)


def test_a_fit_that_found_nothing_scores_zero_and_a_constant_response_nothing(pair):
    Y, Y_hat = pair
    Y = Y.copy()
    Y[:, :2] = 3.0
    r = metrics.fit_correlation(Y, Y_hat, np.array([True, False, True, False, False, False]))
    assert np.isnan(r[:2]).all()
    assert r[2] == 0
    np.testing.assert_array_equal(r[3:], metrics.pearson(*pair)[3:])


def test_squared_correlation_zeroes_negative_r(pair):
    r, r2 = metrics.pearson(*pair), metrics.squared_correlation(*pair)
    assert (r < 0).any()
    np.testing.assert_array_equal(r2[r < 0], 0)
    np.testing.assert_array_equal(r2[r > 0], r[r > 0] ** 2)


def test_explained_variance_equals_scikit_learn(pair):
    expected = r2_score(*pair, multioutput="raw_values")
    np.testing.assert_allclose(metrics.explained_variance(*pair), expected, rtol=1e-10)


def test_perfect_prediction_is_the_optimum(pair):
    Y = pair[0]
    for metric in (metrics.pearson, metrics.squared_correlation, metrics.explained_variance):
        np.testing.assert_allclose(metric(Y, Y), 1, rtol=1e-14)
        assert (metric(Y, Y) <= 1).all()


def test_wrong_size_costs_explained_variance_only(pair):
    Y = pair[0]
    np.testing.assert_allclose(metrics.squared_correlation(Y, 2 * Y), 1)
    assert (metrics.explained_variance(Y, 2 * Y) < 0).all()


def test_shuffled_prediction_scores_chance():
    rng = np.random.default_rng(0)
    Y, Y_hat = rng.standard_normal((2, 80, 2000))
    # 4 standard errors of a mean of 2000 correlations with variance 1 / (n - 1)
    assert abs(metrics.pearson(Y, Y_hat).mean()) < 4 / np.sqrt(79 * 2000)


@pytest.mark.parametrize("value", [0.0, 0.1, np.nan])
def test_constant_or_missing_is_nan_and_leaves_the_others(pair, value):
    Y, Y_hat = pair[0].copy(), pair[1].copy()
    Y[:, 0], Y_hat[:, 1] = value, value
    for metric in (metrics.pearson, metrics.squared_correlation):
        scores = metric(Y, Y_hat)
        assert np.isnan(scores[:2]).all()
        np.testing.assert_array_equal(scores[2:], metric(*pair)[2:])
    assert np.isnan(metrics.explained_variance(Y, Y_hat)[0])


def test_mean_as_prediction_explains_nothing(pair):
    Y = pair[0]
    constant = np.broadcast_to(Y.mean(axis=0), Y.shape)
    np.testing.assert_allclose(metrics.explained_variance(Y, constant), 0, atol=1e-14)


def test_different_shapes_are_an_error(pair):
    for metric in (metrics.pearson, metrics.squared_correlation, metrics.explained_variance):
        with pytest.raises(ValueError, match="both be"):
            metric(pair[0], pair[1][:-1])


def test_median_equals_nanmedian_and_is_silent_where_nothing_is_left():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((4, 5, 7))
    values[rng.random(values.shape) < 0.4] = np.nan
    values[0, 0] = np.nan
    left = np.isfinite(values).any(axis=-1)
    np.testing.assert_array_equal(metrics.median(values)[left], np.nanmedian(values[left], axis=-1))
    assert np.isnan(metrics.median(values)[~left]).all()
    assert np.isnan(metrics.median(values[..., :0])).all()
