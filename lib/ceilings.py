"""What noise leaves to be explained: agreement of repeats, of subjects' RDMs, of participants' profiles."""

import numpy as np
from scipy import stats

from lib import metrics, plugins


def repeat_correlation(Y, subsets=None):
    """Median over pairs of repeats of their correlation over the stimuli that both have.

    Parameters
    ----------
    Y : array (n_repeats, n_stimuli, n_voxels)
        Any unit; NaN is a response that was not measured.
    subsets : bool array (n_subsets, n_stimuli), optional
        Stimuli to use; one subset of all by default.

    Returns
    -------
    array (n_subsets, n_voxels)
        `lib.reliability.single_repeat_reliability` where nothing is missing; NaN where no two repeats vary over
        three stimuli.
    """
    a, b = np.triu_indices(len(Y), 1)
    here = np.isfinite(Y)
    filled = _centred(Y, here)
    weights = _weights(subsets, Y.shape[1])
    if here.all():
        n, total, power = weights.sum(axis=1)[:, None], weights @ filled, weights @ filled**2
        sums, lengths = ([part[one] for one in (a, b)] for part in (total, _length(power, total, n)))
    else:
        both = (here[a] & here[b]).astype(float)
        n = weights @ both
        sums = [weights @ (filled[one] * both) for one in (a, b)]
        powers = [weights @ (filled[one] ** 2 * both) for one in (a, b)]
        lengths = [_length(power, total, n) for power, total in zip(powers, sums, strict=True)]
    r = weights @ (filled[a] * filled[b])
    r -= sums[0] * (sums[1] / np.where(n < 3, np.nan, n))
    for length in lengths:
        r /= length
    return metrics.median(np.moveaxis(r, 0, -1))


def explainable_variance(Y, subsets=None, *, unbiased="median"):
    """Share of the variance of the mean over repeats that is not noise: the largest r² of a perfect model.

    A response is signal (stimulus) + offset (repeat) + noise of variance N. With k repeats and the mean squares
    of stimuli, S, and of what stimuli and repeats leave over, R, the expectations are k Var(signal) + N and N, so
    that 1 - R / S estimates Var(signal) / (Var(signal) + N / k), the Spearman-Brown formula applied to one
    repeat's share. It is too small by chance more often than not; 1 - c R / S, with c the median of Fisher's F
    of the same degrees of freedom, is too small just as often as too large (exactly so for normal signal and
    noise), and so is its median over voxels. With c = 1 - 2 / (n - 1), of n stimuli, it is right in the mean, which
    means over voxels ask for. Where repeats are missing, R / S is R times the mean over stimuli of
    1 / number of their repeats, over the variance of the stimuli's means.

    Parameters
    ----------
    Y : array (n_repeats, n_stimuli, n_voxels)
        Any unit; NaN is a response that was not measured.
    subsets : bool array (n_subsets, n_stimuli), optional
        Stimuli to use; one subset of all by default. Offsets and c stay those of all stimuli.
    unbiased : {"median", "mean"}
        What of the estimate is that of the truth.

    Returns
    -------
    array (n_subsets, n_voxels)
        At most 1, negative by chance where there is little signal. NaN with fewer than two repeats or three
        stimuli (four if unbiased in the mean), or where the mean does not vary.

    Raises
    ------
    ValueError
        If `unbiased` is something else.

    References
    ----------
    Hoyt (1941), Psychometrika 6:153 (reliability from an analysis of variance); Sahani & Linden (2003), How
    linear are auditory cortical responses?, NIPS 15 (signal power).
    """
    Y = _without_offsets(Y)
    here = np.isfinite(Y)
    weights = _weights(subsets, Y.shape[1])
    number = here.sum(axis=0)
    known, spare = number > 0, np.maximum(number - 1, 0)
    mean = np.where(here, Y, 0).sum(axis=0) / np.maximum(number, 1)
    squares = np.where(here, (Y - mean) ** 2, 0).sum(axis=0)
    n, lost = weights @ known, np.maximum(here.any(axis=1).sum(axis=0) - 1, 0)
    noise = _ratio(weights @ squares, weights @ spare - lost)
    share = _ratio(weights @ (known / np.maximum(number, 1)), n)
    power = weights @ mean**2
    variance = _ratio(_varying(power - _ratio((weights @ mean) ** 2, n), power), n - 1)
    plugins.require(unbiased, CENTRES, "kind of unbiasedness")
    centre = CENTRES[unbiased](known.sum(axis=0) - 1, spare.sum(axis=0) - lost)
    return 1 - centre * _ratio(noise * share, variance)


def rdm_bounds(rdms, *, reranked=True):
    """Bounds on the rank correlation with single subjects that the best possible RDM would reach on average.

    Each RDM is replaced by its ranks (ties share their mean rank). Lower: mean over subjects of the Spearman
    correlation of a subject's RDM with the mean of the ranked RDMs of the others; upper: with the mean over all.
    By the rearrangement inequality no ranking without ties correlates better on average than that of the mean.

    Parameters
    ----------
    rdms : array (n_subjects, n_pairs)
        Upper triangles, any unit.
    reranked : bool
        False: Pearson correlations with the mean ranks themselves. Both bounds are then slightly higher, and no
        RDM reaches the upper one: a model's ranks are whole and evenly spaced, mean ranks are not.

    Returns
    -------
    lower, upper : float
        NaN with fewer than two subjects, or if an RDM is constant.

    References
    ----------
    Nili et al. (2014), PLoS Comput Biol 10:e1003553, section on the noise ceiling.
    """
    if len(rdms) < 2:
        return np.nan, np.nan
    ranks = stats.rankdata(rdms, axis=1)
    total = ranks.sum(axis=0, keepdims=True)
    references = [total - ranks, total]
    if reranked:
        references = [stats.rankdata(reference, axis=1) for reference in references]
    lower, upper = (_row_correlations(ranks, reference).mean() for reference in references)
    return float(lower), float(upper)


def rdm_correlation(rdms):
    """Median over pairs of RDMs, such as repeats, of their Spearman correlation.

    Parameters
    ----------
    rdms : array (n_rdms, n_pairs)
        Upper triangles, any unit.

    Returns
    -------
    float
        NaN for a single RDM, or if all but one are constant.
    """
    ranks = stats.rankdata(rdms, axis=1)
    a, b = np.triu_indices(len(ranks), 1)
    return float(metrics.median(_row_correlations(ranks[a], ranks[b])))


def split_half(profiles, subsets=None):
    """Reliability of the mean profile of all participants: all split halves, Spearman-Brown corrected.

    The mean over all halves A, B of 4 cov(A, B) / var(A + B), which is coefficient alpha with participants as
    items: s / (s + (t - s) / P), with P participants, s the mean covariance over conditions of two different
    ones, and t their mean variance. A subset of participants gives s and t; P stays that of all.

    Parameters
    ----------
    profiles : array (n_participants, n_conditions)
        Any unit, no NaN.
    subsets : bool array (n_subsets, n_participants), optional
        Participants to use; one subset of all by default.

    Returns
    -------
    array (n_subsets,)
        At most 1; negative if participants agree less than by chance; NaN with fewer than two participants, or
        where no profile varies.

    References
    ----------
    Cronbach (1951), Psychometrika 16:297 (alpha is the mean of all split-half coefficients).
    """
    profiles = np.asarray(profiles, float)
    weights = _weights(subsets, len(profiles))
    centred = profiles - profiles.mean(axis=1, keepdims=True)
    n, own = weights.sum(axis=1), weights @ (centred**2).sum(axis=1)
    shared = _ratio(((weights @ centred) ** 2).sum(axis=1) - own, n * (n - 1))
    return _ratio(shared, shared + (_ratio(own, n) - shared) / len(profiles))


def _weights(subsets, n):
    """Subsets as 0 and 1; all units by default."""
    return np.ones((1, n)) if subsets is None else np.asarray(subsets, float)


def _ratio(above, below):
    """The quotient, NaN where the divisor is not above 0."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _length(power, total, n):
    """Root of the sum of squares around the mean, NaN where nothing varies."""
    squares = _varying(power - _ratio(total**2, n), power)
    return np.sqrt(np.where(squares > 0, squares, np.nan))


def _varying(variance, power):
    """The variance, 0 where it is rounding: below a tiny share of the power it is the difference from."""
    return np.where(variance <= 1e-12 * power, 0, variance)


def _centred(Y, here):
    """Each repeat less its mean over stimuli, 0 where nothing was measured or only rounding is left."""
    filled = np.where(here, Y, 0)
    largest = np.abs(filled).max(axis=1, keepdims=True)
    mean = filled.sum(axis=1, keepdims=True) / np.maximum(here.sum(axis=1, keepdims=True), 1)
    return np.where(here & (np.abs(filled - mean) > 1e-13 * largest), filled - mean, 0)


def _without_offsets(Y):
    """Responses less the offset of each repeat, from least squares of offsets and stimuli together."""
    here = np.isfinite(Y)
    if here.all():
        return _centred(Y, here)
    filled = np.where(here, Y, 0)
    largest = np.abs(filled).max(axis=(0, 1))
    # Most of the offsets goes first: the rest is then small against the responses, and so is its rounding.
    Y = np.where(here, _centred(Y, here), np.nan)
    number = np.maximum(here.sum(axis=0), 1)
    deviation = np.where(here, Y - np.where(here, Y, 0).sum(axis=0) / number, 0).sum(axis=1)
    cells = here.sum(axis=1).T[:, :, None] * np.eye(len(Y))
    shared = np.einsum("asv,bsv->vab", here / number, here.astype(float))
    # The same number can be added to all offsets, and any to that of a repeat without responses, or without
    # stimuli in common with others: ones and a small ridge make the equations regular, and pick one solution.
    regular = 1 / len(Y) + np.eye(len(Y)) * np.where(cells == 0, 1, 1e-9)
    offsets = np.linalg.solve(cells - shared + regular, deviation.T[..., None])[..., 0].T
    Y = Y - offsets[:, None]
    Y = Y - np.where(here, Y, 0).sum(axis=(0, 1)) / np.maximum(here.sum(axis=(0, 1)), 1)
    return np.where(np.abs(Y) <= 1e-13 * largest, 0, Y)


def _median_f(between, within):
    """Median of Fisher's F, NaN unless there are two degrees of freedom between stimuli and one within."""
    enough = (between > 1) & (within > 0)
    return np.where(enough, stats.f.median(np.where(enough, between, 1), np.where(enough, within, 1)), np.nan)


def _inverse_mean_f(between, within):
    """1 / mean of the inverse of Fisher's F, NaN unless the degrees of freedom suffice."""
    enough = (between > 2) & (within > 0)
    return np.where(enough, 1 - 2 / np.where(enough, between, 1), np.nan)


def _row_correlations(A, B):
    """Pearson correlation of each row of A with that row of B, or with its only one."""
    A, B = (side - side.mean(axis=1, keepdims=True) for side in (A, B))
    return _ratio((A * B).sum(axis=1), np.sqrt((A**2).sum(axis=1) * (B**2).sum(axis=1)))


CENTRES = {"median": _median_f, "mean": _inverse_mean_f}
