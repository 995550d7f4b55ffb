"""Ridge regression of many voxels on one layer, each with its own penalty, from one decomposition."""

import contextlib
import functools
from typing import NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from lib import left_out
from lib.devices import joined, off, on, steps

# Published grid: 10^49 … 10^-50 (Tuckute et al. 2023); both ends lie far outside any layer's spectrum.
ALPHAS = 10.0 ** np.arange(49, -51, -1)

# Errors this close are one error.
TIE = left_out.TIE

# Units treated together: enough to keep a processor busy, few enough for its cache.
UNITS_PER_STEP = 1024

# Smaller products lose more to threads waiting for each other than they gain (30-fold on a busy machine).
STIMULI_WORTH_THREADS = 512


class Fit(NamedTuple):
    """Ridge fits of all voxels on one split.

    Attributes
    ----------
    predictions : array (n_stimuli, n_voxels)
        Predicted responses of the test stimuli, in units of the response; NaN at train stimuli.
    alpha : array (n_voxels,)
        Chosen penalties; NaN for a voxel whose train responses are not all finite.
    edge : int8 array (n_voxels,)
        1 if alpha is the largest of the grid, 2 if the smallest, 0 within it or where alpha is NaN.
    constant : bool array (n_voxels,)
        True where the smallest error is that of predicting the train mean (flat top): that mean is then the
        prediction, where the published code lets rounding decide.
    r_train : array (n_voxels,)
        Correlation of the train responses with their in-sample values; 0 where these are constant, NaN where
        the responses are, or are not all finite.
    left_out : array (n_voxels,)
        Mean squared error of left-out train stimuli at the chosen penalty, over that of predicting each by the
        mean of the others: 1 - left_out is the explained variance of left-out stimuli. NaN where the train
        responses are constant, or not all finite.
    """

    predictions: np.ndarray
    alpha: np.ndarray
    edge: np.ndarray
    constant: np.ndarray
    r_train: np.ndarray
    left_out: np.ndarray


def compress(blocks):
    """A narrow stand-in for a layer: the same products between stimuli from at most n_stimuli columns.

    Each unit's mean over stimuli is removed, then the triangular factor R of the transposed layer is
    accumulated block by block (X = Rᵀ Qᵀ, so X Xᵀ = Rᵀ R). Ridge predictions depend on the layer through
    these products only, whichever stimuli train them. Orthogonal factors keep small singular values that
    the products themselves, squared, would lose to rounding.

    Parameters
    ----------
    blocks : iterable of array (n_stimuli, n_units_of_block)
        The layer in pieces, any real type; one piece is in memory at a time.

    Returns
    -------
    float64 array (n_stimuli, min(n_stimuli, n_units))
        The centred layer itself if it has no more units than stimuli, else Rᵀ. Unit of the features.

    Raises
    ------
    ValueError
        If there is no unit, a block has other stimuli, or a value is not finite (the first units named).

    References
    ----------
    Golub & Van Loan (2013), Matrix Computations, section 5.2 (QR) and 6.5 (appending rows).
    """
    rows, n_units = None, 0
    for block in blocks:
        block = np.asarray(block)
        rows = np.empty((0, len(block))) if rows is None else rows
        _check_block(block, rows.shape[1], n_units)
        rows = _appended(rows, block)
        n_units += block.shape[1]
    if not n_units:
        raise ValueError("the layer has no units; at least one is needed")
    return np.ascontiguousarray(rows.T)


def leave_one_out(X, Y, train, *, alphas=ALPHAS, groups=None, device=None):
    """Predictions of every voxel by ridge with the penalty that best predicts train stimuli left out of it.

    Unpenalised intercept, features and responses centred on the train stimuli. With U, s from the singular
    value decomposition of the centred train features, completed to an orthonormal basis of all profiles of mean
    0 (s = 0 for what the features do not span), C = U w Uᵀ and w = alpha / (s² + alpha), the residuals of a
    group G of stimuli, when it is left out, are (C_GG)⁻¹ (C y)_G; a single stimulus' is (C y)_i / C_ii. Their
    mean square is smallest at the chosen alpha. Directions with s ≤ 1e-12 s_max count as not spanned. Where
    several penalties tie (to 1e-9, relative) the largest is taken; the published code lets rounding decide
    there.

    Parameters
    ----------
    X : array (n_stimuli, n_units)
        Features, or what `compress` made of them.
    Y : array (n_stimuli, n_voxels)
        Responses, any unit. A voxel with a value that is not finite among the train stimuli gets NaN
        throughout and leaves the others as they are.
    train : bool array (n_stimuli,)
        True for train stimuli; the others are predicted.
    alphas : array (n_alphas,), optional
        Penalties > 0, in any order. Default: the published grid.
    groups : sequence (n_stimuli,), optional
        Train stimuli of one label (a run, a fold) are left out together. Default: each by itself.
    device : str, optional
        Torch device on which the voxels are treated ("cuda", "cpu"), in float64. Default: NumPy.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        If sizes differ, fewer than three train stimuli or no test stimulus are left, all train stimuli are of
        one group, a feature is not finite, or a penalty is not a positive number.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (regression);
    Rifkin & Lippert (2007), MIT-CSAIL-TR-2007-025, section 3 (leave-one-out in closed form);
    Pahikkala, Boberg & Salakoski (2006), SCAI 2006, 83-90 (leaving groups out).
    """
    X, Y, train, alphas = _check_fit(X, Y, train, alphas)
    groups = _members(np.arange(train.sum()) if groups is None else _check_groups(groups, train))
    with _threads(len(X)):
        return _fit(X, Y, train, alphas, groups, device)


def _fit(X, Y, train, alphas, groups, device):
    """Fit of checked arguments; see `leave_one_out`."""
    centred = np.where((X[train] == X[train][0]).all(axis=0), 0, X - X[train].mean(axis=0))
    U, s, V = _decompose(centred[train])
    errors = left_out.LeftOut(U, s, alphas, groups, device)
    offset, scores = _scores(Y, train, errors)
    alpha, constant, ratio = errors.choose(scores)
    s, test = (on(array, device) for array in (s[:, None], centred[~train] @ V))
    fit = _empty(train, Y.shape[1])
    for voxels in steps(Y.shape[1], device):
        penalty = on(np.where(constant, np.inf, alpha)[voxels], device)
        spanned = scores.spanned[:, voxels]
        weights = spanned * (s / (s**2 + penalty))
        fit.predictions[~train, voxels] = off(test @ weights) + offset[voxels]
        fit.r_train[voxels] = _cosine(spanned, s * weights, scores.power[voxels])
    undefined = np.isnan(offset)
    fit.r_train[undefined] = np.nan
    fit.alpha[:] = np.where(undefined, np.nan, alpha)
    fit.constant[:], fit.left_out[:] = constant, ratio
    fit.edge[:] = np.select([fit.alpha == alphas[0], fit.alpha == alphas[-1]], [1, 2], 0)
    return fit


def _decompose(X):
    """Singular vectors and values of centred features, without the directions that are rounding."""
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    kept = s > 1e-12 * s[0]
    return U[:, kept], s[kept], Vt[kept].T


def _scores(Y, train, errors):
    """Means of the train responses, and scores of what they deviate from them."""
    offset, scores = np.empty(Y.shape[1]), []
    for voxels in steps(Y.shape[1], errors.device):
        offset[voxels], y = _centred_responses(Y[train, voxels])
        scores.append(errors.scores(y))
    spanned, rest, power = zip(*scores, strict=True)
    rest = None if errors.full else joined(rest)
    return offset, left_out.Scores(joined(spanned), rest, np.concatenate(power))


def _cosine(scores, fitted, power):
    """Correlation of responses and in-sample values from their scores; 0 or NaN where either is constant."""
    product, square = (off((values * fitted).sum(0)) for values in (scores, fitted))
    r = np.divide(product, np.sqrt(power * square), out=np.zeros_like(product), where=square > 0)
    return np.where(power > 0, r, np.nan)


def _centred_responses(Y):
    """Means over stimuli and deviations from them: NaN where not all are finite, 0 where all are equal."""
    with np.errstate(invalid="ignore"):
        offset = Y.mean(axis=0)
    offset[~np.isfinite(offset)] = np.nan
    centred = Y - offset
    centred[:, (Y[:1] == Y).all(axis=0)] = 0
    return offset, centred


def _appended(rows, block):
    """Rows with a block's centred units below them, as a triangle of the same products once that is smaller."""
    with _threads(rows.shape[1]):
        for start in range(0, block.shape[1], UNITS_PER_STEP):
            units = block[:, start : start + UNITS_PER_STEP]
            centred = units - units.mean(axis=0, dtype=float)
            centred[:, (units == units[:1]).all(axis=0)] = 0
            rows = np.concatenate([rows, centred.T])
            rows = rows if len(rows) <= rows.shape[1] else np.linalg.qr(rows, mode="r")
    return rows


def _threads(n_stimuli):
    """Context in which products of this size use one thread, or as many as they like if large."""
    few = n_stimuli < STIMULI_WORTH_THREADS
    return _libraries().limit(limits=1, user_api="blas") if few else contextlib.nullcontext()


@functools.cache
def _libraries():
    """The loaded libraries that have threads; to find them takes longer than a small fit."""
    return ThreadpoolController()


def _empty(train, n_voxels):
    """A fit to be filled, with NaN at the train stimuli of predictions."""
    predictions = np.empty((len(train), n_voxels))
    predictions[train] = np.nan
    r_train, alpha, left_out = np.empty((3, n_voxels))
    edge, constant = np.zeros(n_voxels, np.int8), np.zeros(n_voxels, bool)
    return Fit(predictions, alpha, edge, constant, r_train, left_out)


def _members(labels):
    """Positions of each label's members."""
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def _check_groups(groups, train):
    """Labels of the train stimuli; raise unless there is one for each stimulus and two among them differ."""
    groups = np.asarray(groups)
    if groups.shape != train.shape:
        raise ValueError(f"{len(train)} stimuli need a group each, got {groups.shape}")
    groups = groups[train]
    if (groups == groups[0]).all():
        raise ValueError(
            f"all {len(groups)} train stimuli are of group {str(groups[0])!r}: none is left to train on when it is "
            "left out; at least two groups are needed"
        )
    return groups


def _check_block(block, n_stimuli, first_unit):
    """Raise unless a block is (n_stimuli, any) and finite."""
    if block.ndim != 2 or len(block) != n_stimuli:
        raise ValueError(f"a block of units has shape {block.shape}, not ({n_stimuli} stimuli, units)")
    bad = ~np.isfinite(block).all(axis=0)
    if bad.any():
        first = (first_unit + np.flatnonzero(bad))[:5].tolist()
        raise ValueError(f"{bad.sum()} units hold values that are not finite, the first: {first}")


def _check_fit(X, Y, train, alphas):
    """Arguments of a fit as float64 arrays, penalties descending; raise if they cannot belong together."""
    X, Y, train = np.asarray(X, float), np.asarray(Y, float), np.asarray(train)
    alphas = np.sort(np.unique(np.asarray(alphas, float)))[::-1]
    if X.ndim != 2 or Y.ndim != 2 or not len(X) == len(Y) == len(train):
        raise ValueError(f"X {X.shape}, Y {Y.shape} and train {train.shape} differ in stimuli (rows)")
    if train.dtype != bool or train.sum() < 3 or train.all():
        raise ValueError("train must be boolean, with at least three train stimuli and one test stimulus")
    bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
    if len(bad):
        raise ValueError(f"features of {len(bad)} stimuli are not finite, the first: {bad[:5].tolist()}")
    if not len(alphas) or not np.isfinite(alphas).all() or alphas[-1] <= 0:
        raise ValueError(f"penalties must be positive finite numbers, got {alphas[-5:].tolist()}")
    return X, Y, train, alphas
