"""Whether RDMs are alike at all: permuted names of stimuli, and corrections for many tests."""

import numpy as np

from lib import rdm_comparison as comparison
from lib.plugins import require
from lib.searchlight import pairs

AT_ONCE = 1 << 22  # values that are permuted at a time


def permuted(models, brain, *, measure="spearman", n_permutations=1000, published=None, rng):
    """Mean similarities over subjects if the stimuli of the brain RDMs had other names.

    The stimuli are permuted, rows and columns together, which keeps what pairs with a stimulus in common share.
    All models see the same permutations, so that their largest similarity is that of one permutation.

    Parameters
    ----------
    models : array (n_models, n_pairs)
    brain : array (n_subjects, n_pairs)
        In both, stimuli of which some RDM lacks all pairs take no part. Other pairs that any RDM lacks are 0 after
        centring, left out on one side and permuted on the other: if they are many, p is too small.
    measure : str
        See `lib.rdm_comparison.similarities`.
    n_permutations : int
    published : {"dwivedi2021"}, optional
        Permute the entries of the RDM instead, each for itself: dissimilarities that share a stimulus are not
        exchangeable, and far more than the nominal share of tests is significant (see `lib.rdm_calibration`).
    rng : numpy.random.Generator

    Returns
    -------
    array (1 + n_permutations, n_models)
        The first row is unpermuted. NaN if fewer than three pairs are left.

    Raises
    ------
    ValueError
        If a name is unknown, or entries of a whitened measure are to be permuted: it has none.

    References
    ----------
    Nili et al. (2014), PLoS Comput Biol 10:e1003553 (random permutations of stimulus labels). Dwivedi et al.
    (2021), doi:10.1371/journal.pcbi.1009267, its public code.
    """
    models, brain = np.asarray(models, float), np.asarray(brain, float)
    if published:
        require(published, ("dwivedi2021",), "published permutation")
        require(
            measure, set(comparison.MEASURES) - {*comparison.WHITENED, "unbiased_cka"}, "measure with entries"
        )
    have = np.isfinite(np.vstack([models, brain])).all(axis=0)
    kept, whole = _exchangeable(have, published)
    orders = _among(_orders(len(kept), n_permutations, rng), kept)
    models, brain, have, n = models[:, whole], brain[:, whole], have[whole], int(kept.sum())
    if have.sum() < 3:
        return np.full((len(orders), len(models)), np.nan)
    if measure == "kendall_tau_a":
        moved = (_moved(brain, order, n, published) for order in orders)
        return np.stack([comparison.similarities(models, one, measure=measure).mean(axis=1) for one in moved])
    A, b = (comparison.embedded(side, have, measure) for side in (models, brain))
    A, b = (_spread(side, have, n) for side in (A, b.mean(axis=0)[None]))
    return np.concatenate(
        [
            _moved(b, chunk, n, published)[0] @ A.T
            for chunk in np.array_split(orders, _steps(orders, A.shape[1]))
        ]
    )


def p_values(statistic, *, one_sided=True):
    """Share of permutations, the unpermuted one included, that reach the unpermuted statistic.

    Parameters
    ----------
    statistic : array (1 + n_permutations, …)
        The first is unpermuted.
    one_sided : bool
        Whether only large values count, or large absolute ones.

    Returns
    -------
    array (…)
        (1 + number that reach it) / (1 + n_permutations); NaN where a statistic is.
    """
    statistic = np.asarray(statistic, float) if one_sided else np.abs(statistic)
    # What ties but for rounding is reached.
    reached = statistic >= statistic[0] - 1e-12 * np.abs(statistic[0])
    return np.where(np.isnan(statistic).any(axis=0), np.nan, reached.mean(axis=0))


def max_statistic(statistic, *, one_sided=True):
    """p-values of each test, corrected for all: how often the largest of them reaches it under permutation.

    The chance that any true null hypothesis is rejected is at most the level, however the tests depend on one
    another.

    Parameters
    ----------
    statistic : array (1 + n_permutations, n_tests)
        All tests see the same permutations; the first is unpermuted. Tests with NaN take no part.
    one_sided : bool

    Returns
    -------
    array (n_tests,)

    References
    ----------
    Nichols & Holmes (2002), Hum Brain Mapp 15:1, "single threshold test".
    """
    statistic = np.asarray(statistic, float) if one_sided else np.abs(statistic)
    defined = ~np.isnan(statistic).any(axis=0)
    found = np.full(statistic.shape[1], np.nan)
    if defined.any():
        largest = statistic[1:, defined].max(axis=1, keepdims=True)
        here = statistic[0, defined]
        reached = (largest >= here - 1e-12 * np.abs(here)).sum(axis=0)
        found[defined] = (1 + reached) / len(statistic)
    return found


def _orders(n, n_permutations, rng):
    """The identity, then random orders of n things, (1 + n_permutations, n)."""
    first = np.arange(n)
    return np.vstack([first, rng.permuted(np.tile(first, (n_permutations, 1)), axis=1)])


def _exchangeable(have, published):
    """What is permuted, stimuli that have any pair (published: entries), and the pairs among these."""
    if published:
        return have, have
    n = comparison.n_stimuli(len(have))
    i, j = pairs(n)
    kept = np.bincount(np.r_[i[have], j[have]], minlength=n) > 0
    return kept, kept[i] & kept[j]


def _among(orders, kept):
    """Orders of those kept, numbered anew: as in the whole orders, so that RDMs that lack others share them."""
    return (np.cumsum(kept) - 1)[orders[kept[orders]].reshape(len(orders), kept.sum())]


def _steps(orders, n_values):
    """Number of chunks so that what is moved at a time stays small."""
    return max(1, -(-len(orders) * n_values // AT_ONCE))


def _spread(rows, have, n):
    """Embedded RDMs with 0 for the pairs left out; those of square matrices are whole already."""
    if rows.shape[1] == n * n and rows.shape[1] != have.sum():
        return rows
    found = np.zeros((len(rows), len(have)))
    found[:, have] = rows
    return found


def _moved(vectors, orders, n, published):
    """Vectors (n_vectors, …) after stimuli, or entries if published so, were put in other orders."""
    if published:
        return vectors[:, orders]
    if vectors.shape[1] == n * n:
        rows = orders[..., :, None] * n + orders[..., None, :]
        return vectors[:, rows.reshape(*orders.shape[:-1], -1)]
    i, j = pairs(n)
    a, b = orders[..., i], orders[..., j]
    low, high = np.minimum(a, b), np.maximum(a, b)
    return vectors[:, low * n - low * (low + 1) // 2 + high - low - 1]
