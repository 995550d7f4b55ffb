"""Ridge regression of many voxels on one layer, each with its own penalty, from one decomposition."""

import contextlib
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

# Published grid: 10^49 … 10^-50 (Tuckute et al. 2023); both ends lie far outside any layer's spectrum.
ALPHAS = 10.0 ** np.arange(49, -51, -1)

# Errors this close, relative to the smallest, are one error: beyond it rounding would choose the penalty.
TIE = 1e-9

# Units and voxels treated together: enough to keep a processor busy, few enough for its cache.
UNITS_PER_STEP = 1024
VOXELS_PER_STEP = 2048
VOXELS_PER_STEP_ON_DEVICE = 65536

# Smaller products lose more to threads waiting for each other than they gain (30-fold on a busy machine).
STIMULI_WORTH_THREADS = 512


class Fit(NamedTuple):
    """Ridge fits of all voxels on one split.

    Attributes
    ----------
    predictions : array (n_stimuli, n_voxels)
        Predicted responses of the test stimuli, in units of the response; NaN at train stimuli.
    fitted : array (n_stimuli, n_voxels)
        In-sample values of the train stimuli; NaN at test stimuli.
    alpha : array (n_voxels,)
        Chosen penalties; NaN for a voxel whose train responses are not all finite.
    edge : int8 array (n_voxels,)
        1 if alpha is the largest of the grid, 2 if the smallest, 0 within it or where alpha is NaN.
    constant : bool array (n_voxels,)
        True where the smallest error is that of predicting the train mean (flat top): that mean is then the
        prediction, where the published code lets rounding decide.
    """

    predictions: np.ndarray
    fitted: np.ndarray
    alpha: np.ndarray
    edge: np.ndarray
    constant: np.ndarray


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


def leave_one_out(X, Y, train, *, alphas=ALPHAS, device=None):
    """Predictions of every voxel by ridge with the penalty that best predicts each train stimulus left out.

    Unpenalised intercept, features and responses centred on the train stimuli. With U, s from the singular
    value decomposition of the centred train features and w = alpha / (s² + alpha), the residual of stimulus
    i when it is left out is e_i = c_i / g_i, c = U (w Uᵀy) + (1 - UUᵀ) y, g_i = Σ_j U_ij² w_j + (1 - 1/n -
    Σ_j U_ij²); mean(e²) is smallest at the chosen alpha. Directions with s ≤ 1e-12 s_max are dropped.
    Where several penalties tie (to 1e-9, relative) the largest is taken; the published code lets rounding
    decide there.

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
    device : str, optional
        Torch device on which the voxels are treated ("cuda", "cpu"), in float64. Default: NumPy.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        If sizes differ, fewer than three train stimuli or no test stimulus are left, a feature is not
        finite, or a penalty is not a positive number.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (regression);
    Rifkin & Lippert (2007), MIT-CSAIL-TR-2007-025, section 3 (leave-one-out in closed form).
    """
    X, Y, train, alphas = _check_fit(X, Y, train, alphas)
    with _threads(len(X)):
        return _fit(X, Y, train, alphas, device)


def _fit(X, Y, train, alphas, device):
    """Fit of checked arguments; see `leave_one_out`."""
    centred = X - X[train].mean(axis=0)
    U, s, V = _decompose(centred[train])
    loo = _LeaveOneOut(U, s, alphas, device)
    U, s, test = (_on(array, device) for array in (U, s[:, None], centred[~train] @ V))
    fit = _empty(train, Y.shape[1])
    for voxels in _steps(Y.shape[1], device):
        offset, y = _centred_responses(Y[train, voxels])
        y = _on(y, device)
        scores = U.T @ y
        alpha, constant = loo.choose(y, scores)
        penalty = _on(np.where(constant, np.inf, alpha), device)
        scores *= s / (s**2 + penalty)
        fit.predictions[~train, voxels] = _off(test @ scores) + offset
        fit.fitted[train, voxels] = _off(U @ (s * scores)) + offset
        fit.alpha[voxels] = np.where(np.isnan(offset), np.nan, alpha)
        fit.constant[voxels] = constant
    fit.edge[:] = np.select([fit.alpha == alphas[0], fit.alpha == alphas[-1]], [1, 2], 0)
    return fit


class _LeaveOneOut:
    """Leave-one-out errors of all penalties from one decomposition; see `leave_one_out` for the formula."""

    def __init__(self, U, s, alphas, device):
        n, n_directions = U.shape
        # All of the space around the mean is spanned: what remains outside is rounding, and w may be scaled.
        self.full = n_directions >= n - 1
        self.alphas, filters = _distinct(s, alphas, scaled=self.full)
        share = 1 - 1 / n - (U**2).sum(axis=1)
        outside = np.where(share > 1e-12, share, 0) * (not self.full)
        leverage = outside + filters @ (U**2).T
        arrays = U, filters, leverage[:, :, None], (outside > 0)[:, None]
        self.U, self.filters, self.leverage, self.outside = (_on(array, device) for array in arrays)

    def errors(self, y, scores):
        """Mean squared leave-one-out error (penalty, voxel) of centred responses and their scores Uᵀy."""
        rest = None if self.full else self.outside * (y - self.U @ scores)
        errors = np.empty((len(self.alphas), y.shape[1]))
        for row, w, g in zip(errors, self.filters, self.leverage, strict=True):
            residual = (self.U * w / g) @ scores
            if rest is not None:
                residual += rest / g
            residual *= residual
            row[:] = _off(residual.sum(0)) / len(y)
        return errors

    def choose(self, y, scores):
        """Largest penalty of smallest error per voxel, and whether it does no more than predict the mean."""
        n, errors, power = len(y), self.errors(y, scores), _off((y * y).sum(0)) / len(y)
        best = errors.min(axis=0)
        # An error that is zero but for rounding is as good as any other such.
        tied = errors <= best * (1 + TIE) + power * (n * np.finfo(float).eps) ** 2
        of_mean = power * (n / (n - 1)) ** 2
        constant = np.abs(best - of_mean) <= TIE * of_mean
        return self.alphas[tied.argmax(axis=0)], constant


def _distinct(s, alphas, *, scaled):
    """Penalties (descending) whose filters w differ in floating point, the largest of each kind, and w.

    With `scaled`, w is (s_min² + alpha) / (s² + alpha): the same up to a factor, without underflow.
    """
    spectrum, alphas = s**2, alphas[:, None]
    ratios = (spectrum.min(initial=np.inf) + alphas) / (spectrum + alphas)
    filters = ratios if scaled else alphas / (spectrum + alphas)
    # Beside what the layer does not span, a share below rounding is none; between stimuli, ratios count.
    effect = np.hstack([ratios, np.where(filters < 1e-17, 0, filters)])
    new = np.append(True, (effect[1:] != effect[:-1]).any(axis=1))
    return alphas[new, 0], filters[new]


def _decompose(X):
    """Singular vectors and values of centred features, without the directions that are rounding."""
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    kept = s > 1e-12 * s[0]
    return U[:, kept], s[kept], Vt[kept].T


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
            rows = np.concatenate([rows, (units - units.mean(axis=0, dtype=float)).T])
            rows = rows if len(rows) <= rows.shape[1] else np.linalg.qr(rows, mode="r")
    return rows


def _threads(n_stimuli):
    """Context in which products of this size use one thread, or as many as they like if large."""
    return threadpool_limits(1, "blas") if n_stimuli < STIMULI_WORTH_THREADS else contextlib.nullcontext()


def _empty(train, n_voxels):
    """A fit to be filled, with NaN at the train stimuli of predictions and the test stimuli of fitted."""
    predictions, fitted = np.empty((2, len(train), n_voxels))
    predictions[train], fitted[~train] = np.nan, np.nan
    alpha, edge, constant = np.empty(n_voxels), np.zeros(n_voxels, np.int8), np.zeros(n_voxels, bool)
    return Fit(predictions, fitted, alpha, edge, constant)


def _steps(n_voxels, device):
    """Slices of voxels that are treated together."""
    step = VOXELS_PER_STEP if device is None else VOXELS_PER_STEP_ON_DEVICE
    return [slice(start, start + step) for start in range(0, n_voxels, step)]


def _on(array, device):
    """The array itself, or a float64 tensor of it on a device."""
    if device is None:
        return array
    import torch

    return torch.as_tensor(array, dtype=torch.float64, device=device)


def _off(array):
    """The array itself, or a tensor's values as an array."""
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()


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
