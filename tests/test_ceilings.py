"""Noise ceilings: other implementations, laws, planted reliability, missing responses."""

import os
from itertools import combinations, pairwise, permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from lib import ceilings, datasets, metrics, reliability


def repeats(n_repeats=3, n_stimuli=60, n_voxels=40, share=0.4, seed=0):
    """Responses of which a given share of each repeat's variance is signal."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((1, n_stimuli, n_voxels))
    noise = rng.standard_normal((n_repeats, n_stimuli, n_voxels))
    return np.sqrt(share) * signal + np.sqrt(1 - share) * noise


def holes(Y, share=0.15, seed=1):
    """The responses with some cells not measured, each stimulus at least once."""
    lost = np.random.default_rng(seed).random(Y.shape) < share
    lost[0] &= ~lost.all(axis=0)
    return np.where(lost, np.nan, Y)


def rdms(n_subjects=5, n_stimuli=12, seed=0):
    """RDMs with something in common, some of whose values are tied."""
    rng = np.random.default_rng(seed)
    n_pairs = n_stimuli * (n_stimuli - 1) // 2
    values = rng.standard_normal(n_pairs) + 0.8 * rng.standard_normal((n_subjects, n_pairs))
    return np.round(values, 1)


def two_way(y):
    """Mean squares of stimuli and of the residual of one voxel's (repeat, stimulus), by least squares."""
    repeat, stimulus = np.indices(y.shape)
    table = pd.DataFrame({"y": y.ravel(), "repeat": repeat.ravel(), "stimulus": stimulus.ravel()})
    fit = ols("y ~ C(repeat) + C(stimulus)", table).fit()
    return anova_lm(fit)["mean_sq"][["C(stimulus)", "Residual"]], fit


@pytest.mark.parametrize("n_repeats", [2, 3, 6])
def test_repeat_correlation_is_the_single_repeat_reliability(n_repeats):
    Y = 50 + repeats(n_repeats)
    expected = reliability.single_repeat_reliability(Y)
    np.testing.assert_allclose(ceilings.repeat_correlation(Y)[0], expected, rtol=1e-10)


def test_repeats_are_correlated_over_the_stimuli_both_have():
    Y = holes(repeats(4, n_voxels=5))
    for voxel, value in enumerate(ceilings.repeat_correlation(Y)[0]):
        pairs = []
        for a, b in combinations(Y[:, :, voxel], 2):
            both = np.isfinite(a) & np.isfinite(b)
            pairs.append(stats.pearsonr(a[both], b[both]).statistic)
        assert value == pytest.approx(np.median(pairs), rel=1e-10)


def test_explainable_variance_is_that_of_an_analysis_of_variance():
    Y = 20 + repeats(n_voxels=4) + np.array([0, 3, -1])[:, None, None]
    centre = stats.f.ppf(0.5, 59, 118)
    for voxel, value in enumerate(ceilings.explainable_variance(Y)[0]):
        squares, _ = two_way(Y[:, :, voxel])
        assert value == pytest.approx(1 - centre * squares["Residual"] / squares["C(stimulus)"], rel=1e-9)


def test_explainable_variance_with_holes_takes_offsets_from_least_squares():
    Y = holes(20 + repeats(n_voxels=3) + np.array([0, 3, -1])[:, None, None])
    for voxel, value in enumerate(ceilings.explainable_variance(Y)[0]):
        y = Y[:, :, voxel]
        _, fit = two_way(y)
        offsets = [0, *fit.params[["C(repeat)[T.1]", "C(repeat)[T.2]"]]]
        mean = np.nanmean(y - np.array(offsets)[:, None], axis=0)
        noise = fit.mse_resid * np.mean(1 / np.isfinite(y).sum(axis=0))
        centre = stats.f.ppf(0.5, 59, fit.df_resid)
        # The small ridge on the offsets moves them by 1e-9 of their size over the number of stimuli.
        assert value == pytest.approx(1 - centre * noise / mean.var(ddof=1), rel=1e-7)


@pytest.mark.parametrize("statistic", [ceilings.repeat_correlation, ceilings.explainable_variance])
def test_order_of_stimuli_and_repeats_offsets_and_units_do_not_matter(statistic):
    rng = np.random.default_rng(2)
    for Y in (repeats(4), holes(repeats(4))):
        other = Y[rng.permutation(4)][:, rng.permutation(Y.shape[1])] * -7 + rng.normal(size=(4, 1, 1))
        np.testing.assert_allclose(statistic(other), statistic(Y), rtol=1e-7, atol=1e-9)


def test_repeats_of_a_subset_are_correlated_over_it():
    subsets = np.random.default_rng(3).random((5, 60)) < 0.6
    for Y in (repeats(), holes(repeats())):
        own = [ceilings.repeat_correlation(Y[:, chosen])[0] for chosen in subsets]
        np.testing.assert_allclose(ceilings.repeat_correlation(Y, subsets), own, rtol=1e-10)


def test_explainable_variance_of_a_subset_keeps_offsets_and_factor_of_all():
    Y = repeats()
    Y = Y - Y.mean(axis=1, keepdims=True)
    subsets = np.vstack([np.ones((1, 60), bool), np.random.default_rng(3).random((5, 60)) < 0.6])
    for chosen, values in zip(subsets, ceilings.explainable_variance(Y, subsets), strict=True):
        part, n = Y[:, chosen], chosen.sum()
        noise = ((part - part.mean(axis=0)) ** 2).sum(axis=(0, 1)) / (2 * n - 2)
        expected = 1 - stats.f.ppf(0.5, 59, 118) * noise / 3 / part.mean(axis=0).var(axis=0, ddof=1)
        np.testing.assert_allclose(values, expected, rtol=1e-9)


def test_perfect_repeats_are_explained_entirely():
    Y = np.repeat(repeats()[:1], 3, axis=0)
    np.testing.assert_allclose(ceilings.repeat_correlation(Y), 1, rtol=1e-12)
    np.testing.assert_allclose(ceilings.explainable_variance(Y), 1, rtol=1e-12)


def test_what_does_not_vary_or_comes_once_is_undefined():
    Y = repeats(3, n_voxels=5)
    Y[:, :, 0] = 0.1
    Y[1:, :, 1] = np.nan
    Y[:, 2:, 2] = np.nan
    Y[2, :, 3] = np.nan
    for statistic in (ceilings.repeat_correlation, ceilings.explainable_variance):
        for part in (Y, Y[:, :, :1], Y[:, :, 3:]):
            assert statistic(part).shape == (1, part.shape[2])
        values = statistic(Y)[0]
        assert np.isnan(values[:3]).all()
        np.testing.assert_allclose(values[3], statistic(Y[:2, :, 3:4])[0, 0], rtol=1e-8)
        np.testing.assert_allclose(values[4], statistic(Y[:, :, 4:])[0, 0], rtol=1e-8)


@pytest.mark.parametrize(("n_repeats", "n_stimuli", "share"), [(2, 20, 0.3), (3, 165, 0.1), (12, 50, 0.0)])
def test_planted_reliability_is_recovered_at_the_median(n_repeats, n_stimuli, share):
    Y = repeats(n_repeats, n_stimuli, 4000, share=share)
    truth = reliability.spearman_brown(share, n_repeats)
    values = ceilings.explainable_variance(Y)[0]
    # Half of 4000 independent voxels lie below the truth, with standard error √(1/4 / 4000) = 0.8 %; 4 of them.
    assert (values < truth).mean() == pytest.approx(0.5, abs=0.032)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
def test_planted_reliability_is_recovered_in_the_mean_if_asked(share):
    Y = repeats(3, 40, 4000, share=share)
    truth = reliability.spearman_brown(share, 3)
    values, median = (ceilings.explainable_variance(Y, unbiased=what)[0] for what in ("mean", "median"))
    assert values.mean() == pytest.approx(truth, abs=4 * values.std() / np.sqrt(4000))
    # 1 / F of 39 degrees of freedom is 39 / 37 on average, and near 1 at its median.
    assert median.mean() < truth - 0.03 * (1 - truth)
    with pytest.raises(ValueError, match="did you mean mean, median"):
        ceilings.explainable_variance(Y, unbiased="mode")


def test_planted_reliability_is_recovered_from_unequal_repeats():
    Y = repeats(4, 200, 2000, share=0.2)
    Y[2:, 80:] = np.nan
    Y[1, 150:] = np.nan
    number = np.isfinite(Y[:, :, 0]).sum(axis=0)
    # The mean of k repeats has noise 0.8 / k: what a perfect model explains of the means of all stimuli.
    truth = 0.2 / (0.2 + 0.8 * np.mean(1 / number))
    values = ceilings.explainable_variance(Y)[0]
    # Standard error of the median of 2000 voxels; F no longer fits exactly, hence an allowance of its order 1/n.
    assert np.median(values) == pytest.approx(truth, abs=4 * 1.25 * values.std() / np.sqrt(2000) + 1 / 200)


def test_the_ceiling_is_what_the_true_signal_reaches():
    rng = np.random.default_rng(6)
    signal = rng.standard_normal((165, 3000))
    Y = signal + 1.5 * rng.standard_normal((3, 165, 3000))
    reached = metrics.pearson(signal, Y.mean(axis=0)) ** 2
    # Both medians have a standard error near 1.25 · 0.07 / √3000 = 0.0016, and r² is larger by about (1 - r²)²/n.
    assert np.median(ceilings.explainable_variance(Y)) == pytest.approx(np.median(reached), abs=0.009)


@pytest.mark.parametrize("n_subjects", [2, 3, 8])
def test_rdm_bounds_equal_rsatoolbox(n_subjects):
    rdm = pytest.importorskip("rsatoolbox.rdm")
    ceiling = pytest.importorskip("rsatoolbox.inference.noise_ceiling")
    values = rdms(n_subjects)
    peer = rdm.RDMs(values)
    expected = ceiling.boot_noise_ceiling(peer, method="spearman")
    np.testing.assert_allclose(ceilings.rdm_bounds(values), expected, rtol=1e-10)
    if n_subjects > 2:
        # The mean of ranks itself is what rsatoolbox pools for Pearson correlations of ranked RDMs, but for
        # scaling each to unit variance, which untied ranks already share.
        values = rdms(n_subjects) + 1e-3 * np.random.default_rng(1).random(values.shape)
        peer = rdm.RDMs(stats.rankdata(values, axis=1))
        expected = ceiling.boot_noise_ceiling(peer, method="corr")
        np.testing.assert_allclose(ceilings.rdm_bounds(values, reranked=False), expected, rtol=1e-10)


def test_rdm_bounds_are_plain_spearman_correlations():
    values = rdms()
    ranks = np.array([stats.rankdata(v) for v in values])
    lower = [stats.spearmanr(r, np.delete(ranks, i, 0).mean(0)).statistic for i, r in enumerate(ranks)]
    upper = [stats.spearmanr(r, ranks.mean(0)).statistic for r in ranks]
    np.testing.assert_allclose(ceilings.rdm_bounds(values), (np.mean(lower), np.mean(upper)), rtol=1e-10)


def test_rdm_bounds_follow_order_only_and_are_ordered():
    values = rdms()
    bounds = ceilings.rdm_bounds(values)
    assert bounds[0] < bounds[1]
    np.testing.assert_allclose(ceilings.rdm_bounds(np.exp(values)[::-1]), bounds, rtol=1e-12)
    shuffled = values[:, np.random.default_rng(0).permutation(values.shape[1])]
    np.testing.assert_allclose(ceilings.rdm_bounds(shuffled), bounds, rtol=1e-12)
    np.testing.assert_allclose(ceilings.rdm_bounds(np.tile(values[0], (3, 1))), 1, rtol=1e-12)


def test_no_ranking_beats_the_upper_bound():
    ranks = np.array([[0, 1, 2, 3, 4, 5], [1, 0, 2, 5, 3, 4], [0, 5, 3, 4, 1, 2]])
    assert len(set(ranks.sum(axis=0))) == 6
    every = np.array(list(permutations(range(6))))
    best = np.corrcoef(ranks, every)[:3, 3:].mean(axis=0).max()
    lower, upper = ceilings.rdm_bounds(ranks)
    assert lower < upper
    assert upper == pytest.approx(best, rel=1e-12)
    assert upper < ceilings.rdm_bounds(ranks, reranked=False)[1]


def test_one_subject_or_a_constant_rdm_has_no_bounds():
    assert np.isnan(ceilings.rdm_bounds(rdms(1))).all()
    values = rdms()
    values[2] = 1.0
    assert np.isnan(ceilings.rdm_bounds(values)).all()
    assert np.isnan(ceilings.rdm_correlation(rdms(1)))


def test_rdm_correlation_is_the_median_of_spearman_correlations():
    values = rdms(4)
    pairs = [stats.spearmanr(a, b).statistic for a, b in combinations(values, 2)]
    assert ceilings.rdm_correlation(values) == pytest.approx(np.median(pairs), rel=1e-10)


@pytest.mark.mirror
def test_rdm_bounds_of_the_92_objects(tmp_path, monkeypatch):
    if "DATA_MIRROR" not in os.environ:
        pytest.skip("DATA_MIRROR is not set")
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    rdm = datasets.contents("objects92")["responses"]["rdm"].sel(roi="human_it")
    a, b = np.triu_indices(92, 1)
    people = rdm.mean("repeat", skipna=False).values[..., a, b]
    people = people[np.isfinite(people).all(axis=1)]
    # Both to the last digit printed: rsatoolbox 0.3.2 on ranked RDMs, methods "corr" and "spearman".
    np.testing.assert_allclose(ceilings.rdm_bounds(people, reranked=False), (0.377, 0.672), atol=0.0005)
    np.testing.assert_allclose(ceilings.rdm_bounds(people), (0.3723, 0.6657), atol=0.00005)


def test_split_half_is_the_mean_over_all_halves():
    rng = np.random.default_rng(0)
    profiles = rng.standard_normal(9) + rng.standard_normal((6, 9))
    halves = [set(half) for half in combinations(range(6), 3)]
    values = []
    for half in halves:
        A, B = profiles[sorted(half)].sum(axis=0), profiles[sorted(set(range(6)) - half)].sum(axis=0)
        values.append(4 * np.cov(A, B)[0, 1] / np.var(A + B, ddof=1))
    assert ceilings.split_half(profiles)[0] == pytest.approx(np.mean(values), rel=1e-12)


def test_split_half_recovers_planted_reliability():
    rng = np.random.default_rng(1)
    profile = rng.standard_normal(30)
    truth = profile.var(ddof=1) / (profile.var(ddof=1) + 4 / 20)
    noise = 2 * rng.standard_normal((400, 20, 30))
    offsets = rng.standard_normal((400, 20, 1))
    values = np.array([ceilings.split_half(profile + n + o)[0] for n, o in zip(noise, offsets, strict=True)])
    # 4 standard errors, and the bias of a ratio, of the order of its squared relative error.
    assert values.mean() == pytest.approx(truth, abs=4 * values.std() / 20 + values.var())
    halves = np.arange(20) < 10
    of_half = np.array([ceilings.split_half(profile + n, halves[None])[0] for n in noise])
    assert of_half.mean() == pytest.approx(truth, abs=4 * of_half.std() / 20 + of_half.var())


def test_split_half_of_the_same_profiles_is_one_and_of_one_participant_undefined():
    profile = np.random.default_rng(2).standard_normal(9)
    assert ceilings.split_half(np.tile(profile, (5, 1)) + np.arange(5)[:, None])[0] == pytest.approx(1)
    assert np.isnan(ceilings.split_half(profile[None])).all()
    assert np.isnan(ceilings.split_half(np.ones((5, 9)))).all()
    assert ceilings.split_half(np.empty((0, 9))).shape == (1,)


def test_better_data_have_higher_ceilings():
    medians = [np.median(ceilings.explainable_variance(repeats(share=s))) for s in (0.1, 0.3, 0.6, 0.9)]
    assert all(low < high for low, high in pairwise(medians))
