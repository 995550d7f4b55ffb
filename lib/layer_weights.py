"""Weights of feature spaces that best predict each train stimulus from all others, by gradient descent."""

from typing import NamedTuple

import numpy as np
from scipy import linalg, optimize

# Squared weights lie between, relative to the penalty: from next to nothing to next to no noise.
SMALLEST, LARGEST = 1e-6, 1e6
SCALES = 10.0 ** np.arange(-3, 5)

# Layers without which the error rises by less are left out: so little weight still has a direction, but no meaning.
IDLE = 1e-5


class Weights(NamedTuple):
    """Layer weights of one region, found on its train stimuli.

    Attributes
    ----------
    squared : array (n_layers,)
        a², for kernels as given and a penalty of 1; exactly 0 for layers that are left out (`IDLE`).
    left_out : float
        Mean squared error of left-out stimuli over that of predicting their mean, mean over voxels: 1 means
        that nothing is predicted.
    gradient : float
        Largest absolute derivative of `left_out` by a log weight that is not at its limit.
    spread : float
        Largest less smallest `left_out` over the solver's starts: above 0 the error has several minima, of
        which the lowest is taken.
    converged : bool
    n_evaluations : int
        Over all starts.
    """

    squared: np.ndarray
    left_out: float
    gradient: float
    spread: float
    converged: bool
    n_evaluations: int


def error(log_squared, kernels, Y):
    """Squared error of left-out stimuli of ridge with the kernel Σ a² K, and its gradient by ln a².

    With M = (I + Σ a² K)⁻¹ and centred responses, the residual of a stimulus when it is left out is
    e_i = (M y)_i / g_i, g_i = M_ii - 1/n. The gradient follows from dM = -M dK M.

    Parameters
    ----------
    log_squared : array (n_layers,)
        ln a².
    kernels : array (n_layers, n_stimuli, n_stimuli)
        Products between train stimuli of features that are centred on them.
    Y : array (n_stimuli, n_columns)
        Centred responses, or any columns C with C Cᵀ = Y Yᵀ.

    Returns
    -------
    float
        Σ e², over (n / (n - 1))² Σ y², which is the error of predicting the mean.
    array (n_layers,)
        Its derivatives.

    References
    ----------
    Rifkin & Lippert (2007), MIT-CSAIL-TR-2007-025, section 3 (leave-one-out in closed form).
    """
    n, squared = len(Y), np.exp(log_squared)
    M = _inverse(np.tensordot(squared, kernels, 1))
    g = M.diagonal() - 1 / n
    C = M @ Y
    power = np.einsum("ij,ij->i", C, C)
    norm = (n / (n - 1)) ** 2 * np.einsum("ij,ij->", Y, Y)
    slope = M @ (M * (power / g**3)[:, None] - (C / g[:, None] ** 2) @ C.T)
    gradient = 2 * squared * (kernels.reshape(len(kernels), -1) @ slope.ravel())
    return float((power / g**2).sum() / norm), gradient / norm


def weights(kernels, Y, *, start=None):
    """Layer weights whose ridge best predicts each train stimulus from all others, every voxel counting alike.

    The error of left-out stimuli, relative to each voxel's variance, is minimised over ln a² by L-BFGS-B
    from three starts: all layers alike, the best single layer, and weights by each layer's own success. The
    penalty is part of the weights: their ratios say which layers matter, their size how strong the signal is.

    Parameters
    ----------
    kernels : array (n_layers, n_stimuli, n_stimuli)
        Products between train stimuli of features centred on them, with a mean diagonal of 1 (0 for a layer
        that does not vary).
    Y : array (n_stimuli, n_voxels)
        Train responses, any unit, finite, not constant.
    start : array (n_layers,), optional
        a² to start from instead.

    Returns
    -------
    Weights

    References
    ----------
    Zhou, Du & He (2022), Mach Intell Res 19:439 (the model); Dupré la Tour et al. (2022), NeuroImage
    264:119728 (weights of feature spaces by gradient descent on a cross-validated error).
    """
    C = columns(Y)
    starts = _starts(kernels, C) if start is None else [np.log(np.clip(start, SMALLEST, LARGEST))]
    bounds = [(np.log(SMALLEST), np.log(LARGEST))] * len(kernels)
    options = {"maxiter": 300, "ftol": 1e-9, "gtol": 1e-5}
    found = [
        optimize.minimize(error, x, (kernels, C), "L-BFGS-B", jac=True, bounds=bounds, options=options)
        for x in starts
    ]
    best = min(found, key=lambda result: result.fun)
    inside = (best.x > bounds[0][0] + 1e-9) & (best.x < bounds[0][1] - 1e-9)
    squared, left_out = _without_the_idle(best, kernels, C)
    spread = max(result.fun for result in found) - best.fun
    n_evaluations = sum(result.nfev for result in found)
    slope = np.abs(best.jac[inside]).max(initial=0)
    return Weights(squared, left_out, slope, spread, bool(best.success), n_evaluations)


def columns(Y):
    """Columns C with C Cᵀ = Y Yᵀ / n_voxels of responses that are centred and scaled to norm 1.

    Parameters
    ----------
    Y : array (n_stimuli, n_voxels)
        Not constant.

    Returns
    -------
    array (n_stimuli, n_columns)
        No more columns than stimuli: errors that are summed over voxels depend on the responses through Y Yᵀ.
    """
    Y = Y - Y.mean(axis=0)
    Y = Y / np.linalg.norm(Y, axis=0) / np.sqrt(Y.shape[1])
    return Y if Y.shape[1] <= len(Y) else np.linalg.qr(Y.T, mode="r").T


def scaled_error(kernel, columns):
    """Smallest error of left-out stimuli of one kernel, over a grid of its size.

    Parameters
    ----------
    kernel : array (n_stimuli, n_stimuli)
        See `weights`.
    columns : array (n_stimuli, n_columns)
        Of centred responses.

    Returns
    -------
    float
        Relative to that of predicting the mean.
    float
        The size a², of `SCALES`.
    """
    n = len(kernel)
    values, vectors = linalg.eigh(kernel)
    projected, squares = vectors.T @ columns, vectors**2
    errors = []
    for scale in SCALES:
        filters = 1 / (1 + scale * np.maximum(values, 0))
        C = vectors @ (filters[:, None] * projected)
        errors.append((np.einsum("ij,ij->i", C, C) / (squares @ filters - 1 / n) ** 2).sum())
    errors = np.array(errors) * ((n - 1) / n) ** 2 / np.einsum("ij,ij->", columns, columns)
    return errors.min(), SCALES[errors.argmin()]


def _starts(kernels, columns):
    """Where the solver starts from: ln a² of all layers alike, of the best one, and by their own success."""
    floor = np.log(SMALLEST) / 2
    best = [scaled_error(kernel, columns) for kernel in kernels]
    success = np.clip([1 - left_out for left_out, _ in best], 0.01, None)
    single = np.full(len(kernels), floor)
    single[success.argmax()] = np.log(best[success.argmax()][1])
    starts = []
    for mixture in (np.ones(len(kernels)), success):
        mixture = mixture / mixture.sum()
        scale = scaled_error(np.tensordot(mixture, kernels, 1), columns)[1]
        starts.append(np.log(scale * mixture))
    # Not at the limit, where the slope along a log weight vanishes.
    return [starts[0], np.maximum(single, single.max() - 5), starts[1]]


def _without_the_idle(best, kernels, C):
    """Squared weights with 0 for layers that the error does not need, smallest first, and the error then."""
    squared, left_out = np.where(kernels.any(axis=(1, 2)), np.exp(best.x), 0), best.fun
    for layer in np.argsort(squared):
        fewer = squared.copy()
        fewer[layer] = 0
        with np.errstate(divide="ignore"):
            value, _ = error(np.log(fewer), kernels, C)
        if value <= best.fun + IDLE:
            squared, left_out = fewer, value
    return squared, left_out


def _inverse(kernel):
    """(I + kernel)⁻¹, symmetric."""
    factor = linalg.cholesky(kernel + np.eye(len(kernel)), lower=True, check_finite=False)
    inverse, _ = linalg.lapack.dpotri(factor, lower=True)
    return np.tril(inverse) + np.tril(inverse, -1).T
