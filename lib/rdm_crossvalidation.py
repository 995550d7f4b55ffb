"""Regressions on RDMs scored where they were not fitted: on another subject's RDM of other conditions."""

import numpy as np

from lib import partition, plugins, rdm_resampling

# Singular values below this share of the largest are rounding.
ROUNDING = 1e-6
MEASURES = ("variance", "correlation")


def condition_folds(n_stimuli, n_folds, rng):
    """Conditions dealt at random into folds of nearly equal size.

    Parameters
    ----------
    n_stimuli, n_folds : int
        At least three conditions per fold: fewer make fewer than three pairs.
    rng : numpy.random.Generator

    Returns
    -------
    bool array (n_folds, n_stimuli)
        True where a condition tests.

    Raises
    ------
    ValueError
        If a fold would have fewer than three conditions.
    """
    if n_stimuli < 3 * n_folds:
        raise ValueError(
            f"{n_folds} folds of {n_stimuli} conditions: each needs three, so at most {n_stimuli // 3} folds"
        )
    return rng.permutation(np.arange(n_stimuli) % n_folds) == np.arange(n_folds)[:, None]


def held_out(rdms, sets, folds=None, *, unions=None, measure="variance"):
    """How well regressions fitted to the mean RDM of the other subjects predict a left-out subject's RDM.

    With folds, weights come from pairs of train conditions and are scored on pairs of test conditions; pairs of
    one train and one test condition serve neither. With a single subject, only conditions are left out.

    Parameters
    ----------
    rdms : array (n_subjects, n_units, n_pairs)
    sets : dict of str to array (n_regressors, n_pairs)
    folds : bool array (n_folds, n_stimuli), optional
        True where a condition tests; by default all conditions train and test, and only subjects are left out.
    unions : iterable of iterable of str, optional
        As in `lib.rdm_regression.design`.
    measure : {"variance", "correlation"}
        "variance": 1 - Σ (y - ŷ)² / Σ y², both without their means over the test pairs, at most 1 and negative
        for predictions worse than the mean; "correlation": r |r|, blind to the size of the prediction.

    Returns
    -------
    array (n_subjects, n_units, n_unions)
        Mean over folds. NaN where an RDM is constant or not finite.

    Raises
    ------
    ValueError
        If there is a single subject and no folds: nothing would be left out.
    """
    rdms = np.asarray(rdms, float)
    n_subjects, n_units, n_pairs = rdms.shape
    if n_subjects == 1 and folds is None:
        raise ValueError("a single subject and no folds of conditions: nothing is left out")
    plugins.require(measure, MEASURES, "measure")
    others = rdms
    if n_subjects > 1:
        others = (rdms.sum(axis=0) - rdms) / (n_subjects - 1)
    unions = partition.subsets(sets) if unions is None else [frozenset(u) for u in unions]
    designs = [np.concatenate([sets[name] for name in sets if name in union]).T for union in unions]
    scores = []
    for train, test in _pairs(folds, n_pairs):
        Y, y = (side.reshape(-1, n_pairs) for side in (others, rdms))
        found = [_score(X[train], X[test], Y[:, train], y[:, test], measure) for X in designs]
        scores.append(np.stack(found, axis=-1).reshape(n_subjects, n_units, -1))
    return np.mean(scores, axis=0)


def cross_validated(rdms, sets, folds=None, *, statistic, unions=None, measure="variance", level=0.95):
    """A cross-validated statistic with its errors over conditions and over subjects.

    Parameters
    ----------
    rdms : array (n_subjects, n_units, n_pairs)
    sets : dict of str to array (n_regressors, n_pairs)
    folds : bool array (n_folds, n_stimuli), optional
        See `held_out`; a condition that the jackknife leaves out is missing in train and test pairs.
    statistic : callable
        scores (…, n_unions) → (…, n_sets), linear: it is applied to the mean over subjects.
    unions : iterable of iterable of str, optional
    measure : {"variance", "correlation"}
    level : float
        Of confidence.

    Returns
    -------
    lib.rdm_resampling.Estimate
        Its error over subjects is that of the mean of their scores.
    """
    options = {"unions": unions, "measure": measure}
    scores = statistic(held_out(rdms, sets, folds, **options))
    n_subjects, n_pairs = len(rdms), np.shape(rdms)[-1]
    n_stimuli = rdm_resampling.n_conditions(n_pairs)
    i, j = np.triu_indices(n_stimuli, 1)
    without = []
    for gone in range(n_stimuli):
        kept = (i != gone) & (j != gone)
        fewer = {name: np.asarray(values)[:, kept] for name, values in sets.items()}
        rest = None if folds is None else np.delete(folds, gone, axis=1)
        without.append(statistic(held_out(np.asarray(rdms)[..., kept], fewer, rest, **options)).mean(axis=0))
    means = (scores.sum(axis=0) - scores) / (n_subjects - 1) if n_subjects > 1 else None
    return rdm_resampling.estimate(scores.mean(axis=0), np.array(without), means, level=level)


def _pairs(folds, n_pairs):
    """Which pairs train and which test, fold by fold."""
    if folds is None:
        yield np.ones(n_pairs, bool), np.ones(n_pairs, bool)
        return
    i, j = np.triu_indices(np.shape(folds)[1], 1)
    for test in np.asarray(folds):
        yield ~test[i] & ~test[j], test[i] & test[j]


def _score(X, X_test, Y, y, measure):
    """Scores (n_rdms,) of one union on the test pairs."""
    centred = X - X.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    scale = np.divide(
        1, length, out=np.zeros_like(length), where=length > ROUNDING * np.linalg.norm(X, axis=0)
    )
    weights = (Y - Y.mean(axis=1, keepdims=True)) @ np.linalg.pinv(centred * scale, rcond=ROUNDING).T * scale
    predicted = weights @ (X_test - X_test.mean(axis=0)).T
    y = y - y.mean(axis=1, keepdims=True)
    power = np.sum(y**2, axis=1)
    power = np.where(power > 0, power, np.nan)
    if measure == "variance":
        return 1 - np.sum((y - predicted) ** 2, axis=1) / power
    size = np.sum(predicted**2, axis=1)
    r = np.sum(y * predicted, axis=1) / np.sqrt(np.where(size > 0, size, np.inf) * power)
    return r * np.abs(r)
