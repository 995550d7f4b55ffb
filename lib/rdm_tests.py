"""Which sets of model RDMs explain a brain's RDM, and which explain it better: permutations, t tests, corrections."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from lib import rdm_regression

PIECE_BYTES = 1 << 26  # of permuted bases and of their products with the RDMs, treated at a time


class Test(NamedTuple):
    """Statistics of brain units, and how often chance does as well.

    Attributes
    ----------
    statistic : array (n_units, n_sets)
        Of the data.
    p : array (n_units, n_sets)
        (1 + number of permutations that reach the statistic) / (1 + number of permutations); not corrected.
    p_pairs : array (n_units, n_sets, n_sets)
        The same of the difference of two sets, in the direction of its sign; symmetric. The null hypothesis is
        that none of the sets explains anything, not that two explain the same: `lib.rdm_resampling.jackknife`
        asks that.
    p_family : array (n_units, n_sets)
        Corrected for all units and sets by the largest statistic of each permutation (family-wise).
    """

    statistic: np.ndarray
    p: np.ndarray
    p_pairs: np.ndarray
    p_family: np.ndarray


def orders(permutations):
    """Where permuted conditions take the entries of an RDM.

    Parameters
    ----------
    permutations : int array (n_permutations, n_stimuli)
        Row after row, the stimulus that takes each place.

    Returns
    -------
    int array (n_permutations, n_pairs)
        Such that `rdm[orders]` are the upper triangles of the RDM with rows and columns permuted.
    """
    permutations = np.asarray(permutations)
    n = permutations.shape[1]
    i, j = np.triu_indices(n, 1)
    first, second = permutations[:, i], permutations[:, j]
    low, high = np.minimum(first, second), np.maximum(first, second)
    # Entries of the rows above, then the place in the row.
    return low * (2 * n - low - 1) // 2 + high - low - 1


def published_draws(n_stimuli, n_draws, *, seed, subsamples=True, share=0.9):
    """Random numbers as the published scripts draw them from NumPy's legacy generator.

    First all subsamples of conditions, for error bars of regions (searchlights have none), then all permutations
    of the RDM's entries, not of its conditions. Entries that share a condition are not exchangeable, so tests with
    these are too lenient.

    Parameters
    ----------
    n_stimuli, n_draws : int
    seed : int
        The scripts set none.
    subsamples : bool
        Whether subsamples are drawn.
    share : float
        Of the conditions, in each subsample.

    Returns
    -------
    subsets : int array (n_draws, int(share n_stimuli))
        Without rows if there are no subsamples.
    orders : int array (n_draws, n_pairs)
        For `permutation_test`.

    References
    ----------
    Dwivedi et al. (2021), PLoS Comput Biol 17, e1009267, scripts.
    """
    generator = np.random.RandomState(seed)
    size = int(share * n_stimuli)
    subsets = [generator.choice(n_stimuli, size, replace=False) for _ in range(n_draws if subsamples else 0)]
    entries = [generator.permutation(n_stimuli * (n_stimuli - 1) // 2) for _ in range(n_draws)]
    return np.reshape(subsets, (-1, size)).astype(int), np.array(entries)


def permutation_test(prepared, rdms, orders, *, statistic=None, pairs=True, published=None):
    """Permutation test of all brain units at once; one permutation serves all units and sets.

    Parameters
    ----------
    prepared : lib.rdm_regression.Design
    rdms : array (n_units, n_pairs)
    orders : int array (n_permutations, n_pairs)
        New order of the RDMs' entries; see `orders` for permuted conditions, which are exchangeable if the
        models explain nothing.
    statistic : callable, optional
        (prepared, adjusted R² (…, n_unions)) → (…, n_sets); by default `lib.rdm_regression.score` of each union.
    pairs : bool
        Whether to compare sets with each other, which takes most of the time if there are many.
    published : {"dwivedi2021"}, optional
        Pairs of equal statistics get the smallest possible p, as published, not 1.

    Returns
    -------
    Test
        NaN where an RDM is constant or not finite; p_pairs also without `pairs`.
    """
    statistic = statistic or (lambda _, r2: rdm_regression.score(r2))
    centred = rdms - np.mean(rdms, axis=1, keepdims=True)
    true = statistic(prepared, rdm_regression.adjusted_r2(prepared, rdms))
    above, above_pair, above_any = (
        np.zeros(true.shape),
        np.zeros((*true.shape, true.shape[1])),
        np.zeros(true.shape),
    )
    for r2 in _permuted(prepared, centred, np.asarray(orders)):
        null = statistic(prepared, r2)
        above += (null >= true[:, None]).sum(axis=1)
        largest = np.max(null, axis=(0, 2), where=np.isfinite(null), initial=-np.inf)
        above_any += (largest >= true[..., None]).sum(axis=-1)
        if pairs:
            above_pair += _pairs_reached(null, true, ties=not published)
    counts = above, above_pair, above_any
    p, p_pairs, p_family = ((1 + count) / (1 + len(orders)) for count in counts)
    odd = np.isnan(true)
    p[odd] = p_family[odd] = p_pairs[odd] = np.nan
    p_pairs.swapaxes(1, 2)[odd] = np.nan
    p_pairs = p_pairs if pairs else np.full_like(p_pairs, np.nan)
    return Test(true, p, p_pairs, p_family)


def benjamini_hochberg(p, *, axis=-1):
    """p values corrected for the false discovery rate.

    Parameters
    ----------
    p : array
        NaN: not tested, and not counted.
    axis : int
        Along which a family of tests lies.

    Returns
    -------
    array
        Smallest rate at which each test would be a discovery.

    References
    ----------
    Benjamini & Hochberg (1995), J R Stat Soc B 57, 289-300.
    """
    p = np.moveaxis(np.array(p, float), axis, -1)
    if not p.size:
        return np.moveaxis(p, -1, axis)
    for family in p.reshape(-1, p.shape[-1]):  # views of the copy
        tested = ~np.isnan(family)
        if tested.any():
            family[tested] = stats.false_discovery_control(family[tested])
    return np.moveaxis(p, -1, axis)


def within_units(p, p_pairs):
    """Corrections within each brain unit: across its sets, and across their pairs.

    Parameters
    ----------
    p : array (n_units, n_sets)
    p_pairs : array (n_units, n_sets, n_sets)

    Returns
    -------
    p, p_pairs : array
        False discovery rates; the diagonal of the pairs is as it was.
    """
    i, j = np.triu_indices(p.shape[1], 1)
    corrected = p_pairs.copy()
    corrected[:, i, j] = corrected[:, j, i] = benjamini_hochberg(p_pairs[:, i, j])
    return benjamini_hochberg(p), corrected


def across_units(p, included):
    """Correction across brain units, for each column on its own.

    Parameters
    ----------
    p : array (n_units, …)
        Published: values that were corrected within units before.
    included : bool array (n_units,)
        Units to be tested; the others keep their values.

    Returns
    -------
    array (n_units, …)
    """
    corrected = np.array(p, float)
    corrected[included] = benjamini_hochberg(corrected[included], axis=0)
    return corrected


def t_tests(statistics, *, published=None):
    """Two-sided t tests over subjects: of each set against 0, and between sets.

    Parameters
    ----------
    statistics : array (n_subjects, n_units, n_sets)
    published : {"dwivedi2021"}, optional
        Sets are compared as if they came from different subjects. By default the test is paired.

    Returns
    -------
    p : array (n_units, n_sets)
    p_pairs : array (n_units, n_sets, n_sets)
        The diagonal is 1. NaN where the statistics do not vary over subjects.
    """
    statistics = np.asarray(statistics, float)
    one, other = statistics[..., :, None], statistics[..., None, :]
    if published:
        p_pairs = stats.ttest_ind(*np.broadcast_arrays(one, other), axis=0).pvalue
        p = stats.ttest_1samp(statistics, 0, axis=0).pvalue
    else:
        p, p_pairs = _t(statistics), _t(one - other)
    p_pairs[:, *np.diag_indices(p.shape[1])] = 1
    return p, p_pairs


def _t(values):
    """Two-sided p of a mean of 0 over the first axis; NaN where nothing varies."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    t = np.divide(values.mean(axis=0), error, out=np.full(error.shape, np.nan), where=error > 0)
    return 2 * stats.t.sf(np.abs(t), len(values) - 1)


def _permuted(prepared, centred, orders):
    """Adjusted R² (n_units, some permutations, n_unions), piece by piece."""
    n_units, n_pairs = centred.shape
    n_sets = len(prepared.rank)
    # Differences of pairs of sets are the largest arrays where there are many sets.
    each = 8 * (prepared.basis.size + n_units * (prepared.basis.shape[1] + n_sets**2))
    step = max(1, PIECE_BYTES // each)
    power = np.sum(centred**2, axis=1)[:, None]
    power = np.where(power > 0, power, np.nan)
    identity = np.arange(n_pairs)
    for start in range(0, len(orders), step):
        some = orders[start : start + step]
        back = np.empty_like(some)
        np.put_along_axis(back, some, identity[None], axis=1)
        # Permuting the basis backwards instead of each RDM forwards: one product serves all units.
        products = np.einsum("up,bpc->ubc", centred, prepared.basis[back], optimize=True)
        r2 = rdm_regression.sums(prepared, products**2) / power[..., None]
        yield rdm_regression.adjust(r2, prepared, n_pairs)


def _pairs_reached(null, true, *, ties):
    """How many permutations (second axis) reach the difference of two sets, in its direction."""
    d_null = null[..., :, None] - null[..., None, :]
    d_true = (true[..., :, None] - true[..., None, :])[:, None]
    reached = np.where(d_true > 0, d_null >= d_true, (d_true < 0) & (d_null <= d_true))
    return (reached | (ties & (d_true == 0))).sum(axis=1)
