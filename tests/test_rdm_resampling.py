"""Errors of regressions on RDMs: published bars, and intervals that hold."""

import numpy as np
import oracle_maps
import pytest
from scipy import stats

from lib import inference, rdm_regression, rdm_resampling, rdm_tests


@pytest.fixture
def rng():
    return np.random.default_rng(6)


def subset(rdms, kept, n):
    """RDMs of some of n conditions, rows and columns in order."""
    i, j = np.triu_indices(n, 1)
    return rdms[..., np.isin(i, kept) & np.isin(j, kept)]


@pytest.mark.reference
def test_published_error_bars_are_reproduced_with_and_without_their_error():
    oracle = oracle_maps.arrays()
    single, grouped = oracle_maps.sets(oracle)
    subsets, _ = rdm_tests.published_draws(50, oracle_maps.N_DRAWS, seed=oracle_maps.SEED_ROI)
    rdms, close = oracle["roi"][:, None], {"rtol": 0, "atol": oracle_maps.TOLERANCE["bar"]}
    bars = rdm_resampling.subsample_bars(rdms, grouped, subsets, rdm_regression.unique)
    np.testing.assert_allclose(bars[0], oracle["roi_vpart_errorbar_correct_f64"], **close)
    bars = rdm_resampling.subsample_bars(
        rdms, grouped, subsets, rdm_regression.unique, published="dwivedi2021"
    )
    np.testing.assert_allclose(bars[0], oracle["roi_vpart_errorbar_published_f64"], **close)
    weights = rdm_resampling.subsamples(subsets, 50, 5)
    r2 = rdm_resampling.resampled(rdms, single, weights, unions=rdm_regression.singles(single))
    bars = rdm_regression.score(r2).std(axis=0, ddof=1)
    np.testing.assert_allclose(bars[0], oracle["roi_single_errorbar_published_f64"], **close)


def test_subsamples_are_regressions_on_fewer_conditions(rng):
    n, sets = 12, {name: rng.random((2, 66)) for name in "ab"}
    rdms = rng.random((3, 2, 66)) + sets["a"][0]
    kept = np.array([[0, 1, 3, 4, 5, 7, 8, 9, 11], [0, 2, 3, 4, 5, 6, 7, 8, 10]])
    found = rdm_resampling.resampled(rdms, sets, rdm_resampling.subsamples(kept, n, 3))
    for some, r2 in zip(kept, found, strict=True):
        prepared = rdm_regression.design({name: subset(values, some, n) for name, values in sets.items()})
        expected = rdm_regression.adjusted_r2(prepared, subset(rdms, some, n).mean(axis=0))
        np.testing.assert_allclose(r2, expected, atol=1e-11)


def test_weights_count_pairs_and_subjects(rng):
    n, sets = 8, {"a": rng.random((2, 28))}
    rdms = rng.random((3, 1, 28)) + sets["a"][0]
    conditions, subjects = np.array([[2, 1, 0, 3, 1, 1, 0, 1]]), np.array([[2, 0, 1]])
    (found,) = rdm_resampling.resampled(rdms, sets, (conditions, subjects))
    i, j = np.triu_indices(n, 1)
    often = np.repeat(np.arange(28), conditions[0, i] * conditions[0, j])
    y = (2 * rdms[0] + rdms[2])[:, often] / 3
    expected = rdm_regression.adjusted_r2(rdm_regression.design({"a": sets["a"][:, often]}), y)
    np.testing.assert_allclose(found, expected, atol=1e-11)


def test_redundant_regressors_and_undefined_rdms_are_met_there_too(rng):
    sets = {"a": rng.random((2, 66))}
    more = {"a": np.vstack([sets["a"], sets["a"].sum(axis=0), np.ones(66)])}
    rdms = rng.random((2, 3, 66)) + sets["a"][0]
    rdms[:, 1] = 0.5
    rdms[1, 2, 3] = np.nan
    weights = inference.draws(12, 4, rng), inference.draws(2, 4, rng)
    found, expected = (rdm_resampling.resampled(rdms, each, weights) for each in (more, sets))
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert np.isnan(expected[:, 1]).all()
    assert np.isfinite(expected[:, 0]).all()


def test_published_bars_are_too_short_by_the_known_factor(rng):
    # For a mean over conditions of a quantity per condition, errors are known: sd / √n.
    n, kept, values = 50, 45, rng.normal(size=50)
    subsets = [rng.choice(n, kept, replace=False) for _ in range(4000)]
    bar = np.std([values[s].mean() for s in subsets], ddof=1)
    expected = values.std(ddof=1) / np.sqrt(n) * np.sqrt((n - kept) / kept)
    assert bar == pytest.approx(expected, rel=0.05)  # 4000 draws: 1.1 %, five times that


def test_pairs_are_compared_as_by_a_paired_t_test(rng):
    values = rng.normal(size=(9, 2, 3)) + rng.normal(size=(9, 1, 1)) + [0, 0.3, 0.6]  # subject, unit, set
    mean = values.mean(axis=0)
    without = (values.sum(axis=0) - values) / 8
    found = rdm_resampling.estimate(mean, np.broadcast_to(mean, (20, 2, 3)), without)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        expected = stats.ttest_rel(values[..., a], values[..., b]).pvalue
        np.testing.assert_allclose(found.p_pairs[:, a, b], expected)


def test_jackknife_of_a_mean_is_its_standard_error(rng):
    values = rng.normal(size=(9, 1, 1))
    without = np.array([np.delete(values, i, axis=0).mean(axis=0) for i in range(9)])
    found = rdm_resampling.estimate(values.mean(axis=0), without, None)
    error = values.std(ddof=1) / 3
    assert found.se_conditions.item() == pytest.approx(error)
    assert found.high.item() == pytest.approx(values.mean() + stats.t.ppf(0.975, 8) * error)


def test_equal_sets_do_not_differ_and_clear_ones_do(rng):
    one = rng.random((1, 190))
    rdms = one + 0.1 * rng.random((6, 1, 190))
    sets = {"a": one, "b": one, "c": rng.random((1, 190))}
    found = rdm_resampling.jackknife(
        rdms, sets, lambda _, r2: rdm_regression.score(r2), unions=rdm_regression.singles(sets)
    )
    assert found.p_pairs[0, 0, 1] == 1
    assert found.p_pairs[0, 0, 2] < 1e-6
    assert np.diagonal(found.p_pairs[0]).tolist() == [1, 1, 1]


def test_a_single_subject_has_errors_over_conditions_only(rng):
    sets = {"a": rng.random((1, 66))}
    found = rdm_resampling.jackknife(rng.random((1, 2, 66)), sets, lambda _, r2: r2)
    assert (found.se_subjects == 0).all()
    assert (found.se_conditions > 0).all()


def simulated(rng, n, n_subjects):
    """RDMs of subjects and model RDMs, from latents of conditions, idiosyncratic parts, and noise."""
    latents = rng.normal(size=(3, n, 12))
    i, j = np.triu_indices(n, 1)
    models = np.array([((z[i] - z[j]) ** 2).mean(axis=1) for z in latents])
    own = rng.normal(scale=0.5, size=(n_subjects, n, 12))
    noise = rng.normal(scale=0.6, size=(n_subjects, len(i)))
    rdms = models[0] + 0.6 * models[1] + ((own[:, i] - own[:, j]) ** 2).mean(axis=2) + noise
    return {"a": models[:1], "b": models[1:2], "c": models[2:]}, rdms[:, None]


def unique(sets, rdms):
    """What the first two sets explain of the mean RDM that no other does."""
    prepared = rdm_regression.design(sets)
    return rdm_regression.unique(prepared, rdm_regression.adjusted_r2(prepared, rdms.mean(axis=0)))[0, :2]


def test_intervals_hold_where_the_published_bars_do_not():
    rng, n, n_subjects, n_simulated = np.random.default_rng(7), 20, 6, 100
    truth = np.mean([unique(*simulated(rng, 100, n_subjects)) for _ in range(8)], axis=0)
    inside, bars = np.zeros(2), np.zeros(2)
    for _ in range(n_simulated):
        sets, rdms = simulated(rng, n, n_subjects)
        found = rdm_resampling.jackknife(rdms, sets, rdm_regression.unique)
        inside += (found.low[0, :2] <= truth) & (truth <= found.high[0, :2])
        subsets = [rng.choice(n, int(0.9 * n), replace=False) for _ in range(30)]
        bar = rdm_resampling.subsample_bars(rdms, sets, np.array(subsets), rdm_regression.unique)
        bars += np.abs(found.value[0, :2] - truth) <= 1.96 * bar[0, :2]
    low, high = stats.binom.interval(0.999, n_simulated, 0.95)
    assert ((low <= inside) & (inside <= high)).all(), inside
    assert (bars / n_simulated < 0.75).all(), bars / n_simulated
