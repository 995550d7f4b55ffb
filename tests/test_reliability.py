"""Reliability and correction for it: worked examples, laws, the published code."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lib import reliability


def repeats(n_repeats=3, n_stimuli=200, n_voxels=500, share=0.4, seed=0):
    """Responses of which a given share of each repeat's variance is reliable."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((1, n_stimuli, n_voxels))
    noise = rng.standard_normal((n_repeats, n_stimuli, n_voxels))
    return np.sqrt(share) * signal + np.sqrt(1 - share) * noise


def test_pairs_are_plain_correlations():
    Y = repeats(n_voxels=3)
    pairs = reliability.repeat_correlations(Y)
    for row, (a, b) in zip(pairs, [(0, 1), (0, 2), (1, 2)], strict=True):
        expected = [stats.pearsonr(Y[a, :, v], Y[b, :, v]).statistic for v in range(3)]
        np.testing.assert_allclose(row, expected, rtol=1e-10)


@pytest.mark.parametrize("n_repeats", [2, 3, 4, 5])
def test_median_equals_numpy(n_repeats):
    Y = repeats(n_repeats, n_voxels=20)
    expected = np.median(reliability.repeat_correlations(Y), axis=0)
    np.testing.assert_allclose(reliability.single_repeat_reliability(Y), expected, rtol=1e-14)


def test_pairs_without_a_value_drop_out():
    Y = repeats(4, n_voxels=3)
    Y[0, :, 0] = 1.0
    Y[:3, :, 1] = np.nan
    r = reliability.single_repeat_reliability(Y)
    assert r[0] == pytest.approx(reliability.single_repeat_reliability(Y[1:])[0], rel=1e-14)
    assert np.isnan(r[1])
    assert np.isfinite(r[2])
    assert np.isnan(reliability.single_repeat_reliability(Y[:1])).all()


@given(st.floats(0, 1), st.integers(1, 6), st.integers(1, 6))
def test_spearman_brown_composes(r, a, b):
    twice = reliability.spearman_brown(reliability.spearman_brown(r, a), b)
    assert twice == pytest.approx(reliability.spearman_brown(r, a * b), abs=1e-12)
    assert reliability.spearman_brown(1.0, a) == 1
    assert reliability.spearman_brown(r, 1) == pytest.approx(r, abs=1e-15)


@pytest.mark.parametrize("n_repeats", [2, 3, 6])
def test_reliability_of_the_mean_is_recovered(n_repeats):
    share = 0.4
    planted = n_repeats * share / (1 + (n_repeats - 1) * share)
    Y = repeats(n_repeats, share=share)
    r = reliability.single_repeat_reliability(Y)
    values = reliability.reliability(r, n_repeats, 200)
    # 4 standard errors over voxels, and the bias of a correlation, below 1 / (2 n)
    assert abs(values.mean() - planted) < 4 * values.std() / np.sqrt(500) + 1 / 400


def test_floor_is_the_critical_correlation():
    assert round(reliability.critical_correlation(83), 3) == 0.182  # Tuckute et al. 2023
    assert round(reliability.critical_correlation(82), 3) == 0.183
    for n in (3, 10, 83):
        r = reliability.critical_correlation(n)
        edge = np.r_[np.ones(n // 2), -np.ones(n // 2), np.zeros(n % 2)]
        assert 0 < r < 1
        # SciPy 1.15 inverts the distribution to 1.1e-10.
        assert stats.t.sf(r * np.sqrt((n - 2) / (1 - r**2)), n - 2) == pytest.approx(0.05, rel=1e-9)
        assert len(edge) == n
    with pytest.raises(ValueError, match="at least 3"):
        reliability.critical_correlation(2)


def test_worked_examples():
    # specs: pairs (.3, .4, .5), prediction pairs (.8, .85, .9), r = .5; pairs all .02
    voxel = reliability.reliability(np.median([0.3, 0.4, 0.5]), 3, 83)
    prediction = reliability.reliability(np.median([0.8, 0.85, 0.9]), 3, 82)
    assert voxel == pytest.approx(2 / 3, abs=1e-12)
    assert round(float(prediction), 4) == 0.9444
    assert round(float(reliability.corrected_r2(0.5, voxel, prediction)), 4) == 0.3971
    assert round(float(reliability.spearman_brown(0.02, 3)), 4) == 0.0577
    assert reliability.reliability(0.02, 3, 83, published="tuckute2023") == 0.182
    assert reliability.reliability(0.02, 3, 83) == reliability.critical_correlation(83)


def test_negative_reliability_is_the_floor_unless_published():
    r = np.array([-1.0, -0.6, -0.51, -0.2, 0.0, np.nan])
    np.testing.assert_array_equal(reliability.reliability(r, 3, 83), reliability.critical_correlation(83))
    published = reliability.reliability(r, 3, 83, published="tuckute2023")
    np.testing.assert_allclose(published, [3, 9, 76.5, 0.182, 0.182, 0.182])
    with pytest.raises(ValueError, match="did you mean tuckute2023"):
        reliability.reliability(r, 3, 83, published="tuckute2024")


def test_corrected_r2_is_not_clipped_and_negative_r_counts_as_zero():
    values = reliability.corrected_r2(np.array([0.9, -0.9, np.nan, 0.5]), np.array([0.5, 0.5, 0.5, 1.0]), 0.8)
    np.testing.assert_allclose(values, [0.81 / 0.4, 0, np.nan, 0.25 / 0.8])


def test_corrected_r2_of_what_has_no_signal_is_undefined():
    assert np.isnan(reliability.corrected_r2(0.5, np.array([0.0, -0.2]), 1.0)).all()


@pytest.mark.reference
def test_reliabilities_equal_the_published_code():
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE is not set")
    oracle = np.load(Path(folder) / "auditory_oracle.npz")
    Y = np.moveaxis(oracle["in_a_Y"], 2, 0)
    for split, train in enumerate(oracle["split_train_mask"].astype(bool)):
        r = reliability.single_repeat_reliability(Y[:, train])
        pairs = reliability.repeat_correlations(Y[:, train])[[0, 2, 1]]
        corrected = reliability.reliability(r, 3, 83, published="tuckute2023")
        np.testing.assert_allclose(pairs.T, oracle["a_rv_pairs"][:, split], rtol=0, atol=1e-12)
        np.testing.assert_allclose(r, oracle["a_rv_median"][:, split], rtol=0, atol=1e-12)
        np.testing.assert_allclose(corrected, oracle["a_rv_corrected"][:, split], rtol=0, atol=1e-12)
