"""How sure a regression on RDMs is: had other conditions been shown, or other subjects been measured."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from lib import partition, rdm_regression

# Eigenvalues of the regressors' correlations below this share of the largest are rounding.
ROUNDING = 1e-11


class Estimate(NamedTuple):
    """Statistics with their sampling error over conditions and subjects.

    Attributes
    ----------
    value : array (n_units, n_sets)
        Of the mean RDM over subjects.
    se_conditions, se_subjects : array (n_units, n_sets)
        Jackknife standard errors.
    low, high : array (n_units, n_sets)
        Interval of Student's t with both errors added in squares.
    p_pairs : array (n_units, n_sets, n_sets)
        Two-sided p of no difference between two sets, paired: from the error of the difference. Diagonal 1.
    """

    value: np.ndarray
    se_conditions: np.ndarray
    se_subjects: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_pairs: np.ndarray


def resampled(rdms, sets, weights, *, unions=None, published=None):
    """Adjusted R² of each union, had other conditions or subjects been drawn.

    A pair of conditions counts as often as the product of their draws; a condition drawn twice makes no pair
    with itself. The regression is fitted anew each time.

    Parameters
    ----------
    rdms : array (n_subjects, n_units, n_pairs)
    sets : dict of str to array (n_regressors, n_pairs)
    weights : tuple of arrays (n_resamples, n_stimuli) and (n_resamples, n_subjects)
        How often each condition and each subject is drawn; 0 and 1 for subsamples and the jackknife,
        `lib.inference.draws` for the bootstrap.
    unions : iterable of iterable of str, optional
        As in `lib.rdm_regression.design`.
    published : {"dwivedi2021"}, optional
        The regressors of joined sets are summed, first to first and second to second, instead of put side by
        side: the published error bars are of this other model, whatever the number of joined sets.

    Returns
    -------
    array (n_resamples, n_units, n_unions)
        NaN where an RDM is constant or not finite.

    References
    ----------
    Dwivedi et al. (2021), PLoS Comput Biol 17, e1009267, scripts (the sums).
    """
    rdms = np.asarray(rdms, float)
    unions = [frozenset(u) for u in (partition.subsets(sets) if unions is None else unions)]
    X, places = _columns(sets, unions, summed=bool(published))
    X = X - X.mean(axis=1, keepdims=True)
    rdms = rdms - rdms.mean(axis=-1, keepdims=True)
    i, j = np.triu_indices(len(weights[0][0]), 1)
    found = []
    for conditions, subjects in zip(*weights, strict=True):
        pair, kept = conditions[i] * conditions[j], subjects > 0
        Y = np.tensordot(subjects[kept] / subjects.sum(), rdms[kept], 1)
        found.append(_weighted_r2(X[:, pair > 0], Y[:, pair > 0], pair[pair > 0].astype(float), places))
    return np.array(found)


def _columns(sets, unions, *, summed):
    """All regressors (n_columns, n_pairs), and which of them each union has."""
    if summed:
        blocks = [np.sum([sets[name] for name in sets if name in union], axis=0) for union in unions]
    else:
        blocks = [np.asarray(rdms, float) for rdms in sets.values()]
    ends = np.cumsum([len(block) for block in blocks])
    places = [np.arange(end - len(block), end) for block, end in zip(blocks, ends, strict=True)]
    if not summed:
        own = dict(zip(sets, places, strict=True))
        places = [np.concatenate([own[name] for name in sets if name in union]) for union in unions]
    return np.concatenate(blocks), places


def subsamples(subsets, n_stimuli, n_subjects):
    """Weights for `resampled` that keep some conditions and all subjects.

    Parameters
    ----------
    subsets : int array (n_resamples, n_kept)
    n_stimuli, n_subjects : int

    Returns
    -------
    tuple of int arrays (n_resamples, n_stimuli) and (n_resamples, n_subjects)
    """
    conditions = np.zeros((len(subsets), n_stimuli), int)
    np.put_along_axis(conditions, np.asarray(subsets), 1, axis=1)
    return conditions, np.ones((len(subsets), n_subjects), int)


def subsample_bars(rdms, sets, subsets, statistic, *, published=None):
    """Standard deviation of a statistic over subsamples of the conditions, as published.

    It is not the error of the statistic: subsamples that share most conditions differ little. That of n
    conditions is √(k / (n - k)) times as large if subsamples keep k (Shao & Wu 1989): three times for 45 of 50.

    Parameters
    ----------
    rdms : array (n_subjects, n_units, n_pairs)
    sets : dict of str to array (n_regressors, n_pairs)
    subsets : int array (n_resamples, n_kept)
        See `lib.rdm_tests.published_draws`.
    statistic : callable
        (prepared, adjusted R² (…, n_unions)) → (…, n_sets).
    published : {"dwivedi2021"}, optional
        See `resampled`.

    Returns
    -------
    array (n_units, n_sets)

    References
    ----------
    Shao & Wu (1989), Ann Stat 17, 1176-1197 (delete-d jackknife).
    """
    prepared = rdm_regression.design(sets)
    weights = subsamples(subsets, n_conditions(np.shape(rdms)[-1]), len(rdms))
    return statistic(prepared, resampled(rdms, sets, weights, published=published)).std(axis=0, ddof=1)


def jackknife(rdms, sets, statistic, *, unions=None, level=0.95):
    """A statistic of the mean RDM with its errors over conditions and over subjects, and paired comparisons.

    Each condition is left out once, then each subject. Both errors together take conditions and subjects as
    samples of what might have been shown and measured.

    Parameters
    ----------
    rdms : array (n_subjects, n_units, n_pairs)
    sets : dict of str to array (n_regressors, n_pairs)
    statistic : callable
        (prepared, adjusted R² (…, n_unions)) → (…, n_sets).
    unions : iterable of iterable of str, optional
        As in `lib.rdm_regression.design`.
    level : float
        Of confidence.

    Returns
    -------
    Estimate
        se_subjects is 0 with a single subject: the interval is then about conditions only.

    References
    ----------
    Efron & Stein (1981), Ann Stat 9, 586-596 (the jackknife of symmetric statistics such as those of pairs).
    """
    n, n_subjects = n_conditions(np.shape(rdms)[-1]), len(rdms)
    prepared = rdm_regression.design(sets, unions)
    value = statistic(prepared, rdm_regression.adjusted_r2(prepared, np.mean(rdms, axis=0)))
    left_out = [
        statistic(prepared, resampled(rdms, sets, weights, unions=prepared.unions))
        if len(weights[0])
        else None
        for weights in leave_one_out(n, n_subjects)
    ]
    return estimate(value, *left_out, level=level)


def leave_one_out(n_stimuli, n_subjects):
    """Weights for `resampled` that leave each condition out once, and those that leave each subject out once.

    Parameters
    ----------
    n_stimuli, n_subjects : int

    Returns
    -------
    tuple of two tuples of int arrays (n_resamples, n_stimuli) and (n_resamples, n_subjects)
        The second without rows if there is a single subject.
    """
    no_condition = 1 - np.eye(n_stimuli, dtype=int), np.ones((n_stimuli, n_subjects), int)
    no_subject = 1 - np.eye(n_subjects, dtype=int)[: n_subjects if n_subjects > 1 else 0]
    return no_condition, (np.ones((len(no_subject), n_stimuli), int), no_subject)


def estimate(value, without_condition, without_subject, *, level=0.95):
    """Errors, intervals and paired comparisons from statistics with one condition or one subject left out.

    Parameters
    ----------
    value : array (n_units, n_sets)
    without_condition : array (n_stimuli, n_units, n_sets)
    without_subject : array (n_subjects, n_units, n_sets) or None
        None: a single subject.
    level : float
        Of confidence.

    Returns
    -------
    Estimate

    References
    ----------
    Satterthwaite (1946), Biometrics Bull 2, 110-114 (degrees of freedom of a sum of two variances).
    """
    n = [len(without_condition), 0 if without_subject is None else len(without_subject)]
    errors = [_error(values, value) for values in (without_condition, without_subject)]
    half = stats.t.ppf((1 + level) / 2, _freedom(errors, n)) * np.hypot(*errors)
    difference = _differences(value)
    errors_of_pairs = [
        _error(None if values is None else _differences(values), difference)
        for values in (without_condition, without_subject)
    ]
    error = np.hypot(*errors_of_pairs)
    none = np.where(difference == 0, 0.0, np.inf)
    t = np.divide(np.abs(difference), error, out=none, where=error > 0)
    p = 2 * stats.t.sf(t, _freedom(errors_of_pairs, n))
    return Estimate(value, *errors, value - half, value + half, np.where(np.isnan(difference), np.nan, p))


def n_conditions(n_pairs):
    """Number of conditions that make so many pairs."""
    return round((1 + np.sqrt(1 + 8 * n_pairs)) / 2)


def _error(left_out, value):
    """Jackknife standard error over the first axis; 0 where nothing was left out."""
    if left_out is None:
        return np.zeros_like(value)
    n = len(left_out)
    return np.sqrt((n - 1) / n * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))


def _differences(values):
    """Of all pairs of sets, the last axis."""
    return values[..., :, None] - values[..., None, :]


def _freedom(errors, n):
    """Degrees of freedom of the sum of two squared errors, each from n values; those of the first alone if n is 0."""
    parts = sum(e**4 / (count - 1) for e, count in zip(errors, n, strict=True) if count)
    whole = np.hypot(*errors) ** 4
    return np.divide(whole, parts, out=np.full(whole.shape, n[0] - 1.0), where=parts > 0)


def _weighted_r2(X, Y, weights, places):
    """Adjusted R² (n_units, n_unions) of weighted least squares; weights count pairs."""
    n = weights.sum()
    mean = X @ weights / n, Y @ weights / n
    power = Y**2 @ weights - n * mean[1] ** 2
    power = np.where(power > 1e-13 * (Y**2 @ weights), power, np.nan)
    weighted = X * weights
    covariance = weighted @ X.T - n * np.outer(mean[0], mean[0])
    with_rdms = weighted @ Y.T - n * np.outer(*mean)
    scale = np.sqrt(np.maximum(covariance.diagonal(), 0))
    scale = np.divide(1, scale, out=np.zeros_like(scale), where=scale > ROUNDING * np.linalg.norm(X, axis=1))
    covariance, with_rdms = covariance * np.outer(scale, scale), with_rdms * scale[:, None]
    found = []
    for place in places:
        values, vectors = np.linalg.eigh(covariance[np.ix_(place, place)])
        kept = values > ROUNDING * values[-1]
        r2 = ((vectors[:, kept].T @ with_rdms[place]) ** 2 / values[kept, None]).sum(axis=0) / power
        found.append(1 - (1 - r2) * (n - 1) / (n - kept.sum() - 1))
    return np.stack(found, axis=-1)
