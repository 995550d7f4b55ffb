"""Permuted stimuli: all permutations by hand, corrections, and the published permutation of entries."""

from itertools import permutations

import numpy as np
import pytest
from scipy.spatial.distance import squareform

from lib import inference
from lib import rdm_comparison as comparison
from lib import rdm_permutation as permutation


def rdms(n_rdms, seed, n=5):
    """RDMs without ties."""
    return np.random.default_rng(seed).random((n_rdms, n * (n - 1) // 2))


@pytest.mark.parametrize("measure", comparison.MEASURES)
def test_permuted_stimuli_are_rows_and_columns_together(measure):
    models, brain = rdms(3, 0, n=7), rdms(2, 1, n=7)
    found = permutation.permuted(
        models, brain, measure=measure, n_permutations=9, rng=np.random.default_rng(4)
    )
    orders = permutation._orders(7, 9, np.random.default_rng(4))
    assert orders[0].tolist() == list(range(7))
    for row, order in zip(found, orders, strict=True):
        moved = np.array([squareform(squareform(one)[np.ix_(order, order)]) for one in brain])
        expected = comparison.similarities(models, moved, measure=measure).mean(axis=1)
        np.testing.assert_allclose(row, expected, atol=1e-12)


def test_published_permutation_is_of_entries():
    models, brain = rdms(2, 0), rdms(3, 1)
    found = permutation.permuted(
        models, brain, n_permutations=6, published="dwivedi2021", rng=np.random.default_rng(4)
    )
    for row, order in zip(found, permutation._orders(10, 6, np.random.default_rng(4)), strict=True):
        expected = comparison.similarities(models, brain[:, order], measure="spearman").mean(axis=1)
        np.testing.assert_allclose(row, expected, atol=1e-12)
    with pytest.raises(ValueError, match="measure with entries"):
        permutation.permuted(
            models, brain, measure="unbiased_cka", published="dwivedi2021", rng=np.random.default_rng(0)
        )


def test_p_is_the_share_of_all_orders():
    models, brain = rdms(2, 3), rdms(3, 4)
    every = []
    for order in permutations(range(5)):
        moved = np.array([squareform(squareform(one)[np.ix_(order, order)]) for one in brain])
        every.append(comparison.similarities(models, moved, measure="spearman").mean(axis=1))
    exact = (np.array(every) >= np.array(every)[0] - 1e-12).mean(axis=0)
    found = permutation.permuted(models, brain, n_permutations=4000, rng=np.random.default_rng(0))
    # Standard error of a share of 4000 draws: at most 0.8 %.
    np.testing.assert_allclose(permutation.p_values(found), exact, atol=4 * 0.008)


def test_pairs_that_are_missing_take_no_part():
    models, brain = rdms(2, 0, n=9), rdms(2, 1, n=9)
    models[0, 3] = np.nan
    found = permutation.permuted(models, brain, n_permutations=5, rng=np.random.default_rng(0))
    have = np.arange(36) != 3
    expected = comparison.similarities(np.where(have, models, np.nan), brain, measure="spearman").mean(axis=1)
    np.testing.assert_allclose(found[0], expected, atol=1e-12)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("published", [None, "dwivedi2021"])
def test_stimuli_that_are_missing_change_nothing_but_the_draws(published):
    models, brain = rdms(2, 0, n=9), rdms(2, 1, n=9)
    with_gaps, gone = brain.copy(), np.array([3, 7])
    i, j = np.triu_indices(9, 1)
    lost = np.isin(i, gone) | np.isin(j, gone)
    with_gaps[0, lost] = np.nan
    how = {"n_permutations": 3000, "published": published}
    found = permutation.permuted(models, with_gaps, rng=np.random.default_rng(0), **how)
    less = permutation.permuted(models[:, ~lost], brain[:, ~lost], rng=np.random.default_rng(1), **how)
    np.testing.assert_allclose(found[0], less[0], atol=1e-12)
    # Spread of the null: that of fewer stimuli, not of fewer pairs; standard error 1 / √6000.
    np.testing.assert_allclose(found.std(axis=0), less.std(axis=0), rtol=4 * 0.013 * np.sqrt(2))


def test_nothing_is_permuted_where_nothing_is_left():
    models, brain = rdms(2, 0), rdms(2, 1)
    models[0] = np.nan
    found = permutation.permuted(models, brain, n_permutations=3, rng=np.random.default_rng(0))
    assert found.shape == (4, 2)
    assert np.isnan(found).all()


def test_chunks_do_not_matter(monkeypatch):
    models, brain = rdms(3, 0, n=8), rdms(2, 1, n=8)
    found = []
    for size in (1 << 22, 100):
        monkeypatch.setattr(permutation, "AT_ONCE", size)
        found.append(permutation.permuted(models, brain, n_permutations=40, rng=np.random.default_rng(1)))
    np.testing.assert_allclose(*found, atol=1e-14)


def test_p_values_count_the_unpermuted():
    statistic = np.array([[0.5, 0.1, np.nan], [0.1, 0.1, 0.2], [0.6, -0.2, 0.1], [0.2, 0.0, 0.3]])
    np.testing.assert_array_equal(permutation.p_values(statistic), [2 / 4, 2 / 4, np.nan])
    np.testing.assert_array_equal(permutation.p_values(statistic, one_sided=False), [2 / 4, 3 / 4, np.nan])
    assert permutation.p_values(np.r_[1, np.zeros(999)]) == 1 / 1000


def test_max_statistic_is_the_largest_of_each_permutation():
    statistic = np.array([[0.5, 0.1, np.nan], [0.1, 0.1, 9.0], [0.6, -0.2, 9.0], [0.2, 0.0, 9.0]])
    np.testing.assert_array_equal(permutation.max_statistic(statistic), [2 / 4, 4 / 4, np.nan])
    assert (permutation.max_statistic(statistic[:, :2]) >= permutation.p_values(statistic[:, :2])).all()
    assert np.isnan(permutation.max_statistic(np.full((4, 2), np.nan))).all()


def test_corrected_keeps_what_is_missing():
    p = [0.01, np.nan, 0.02, 0.03]
    np.testing.assert_allclose(inference.corrected(p), [0.03, np.nan, 0.03, 0.03])
    np.testing.assert_allclose(inference.corrected(p, "holm"), [0.03, np.nan, 0.04, 0.04])
    assert np.isnan(inference.corrected([np.nan])).all()
