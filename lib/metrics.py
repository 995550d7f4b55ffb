"""How well predictions match responses, voxel by voxel."""

import numpy as np


def pearson(Y, Y_hat):
    """Pearson correlation of each column of one array with the same column of another.

    Parameters
    ----------
    Y, Y_hat : array (n_stimuli, n_voxels)
        Responses and predictions, any unit.

    Returns
    -------
    array (n_voxels,)
        Between -1 and 1; NaN where either column is constant or holds NaN.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    Y, Y_hat = _pair(Y, Y_hat)
    defined = _varies(Y) & _varies(Y_hat)
    a, b = (_unit(values) for values in (Y, Y_hat))
    return np.where(defined, np.clip(np.einsum("ij,ij->j", a, b), -1, 1), np.nan)


def fit_correlation(Y, Y_hat, constant):
    """Correlation of responses and predictions, 0 for the prediction of a fit that found nothing.

    Parameters
    ----------
    Y, Y_hat : array (n_stimuli, n_voxels)
        Responses and predictions, any unit.
    constant : bool array (n_voxels,)
        Where a fit says that its prediction is constant (`lib.ridge.Fit`), which rounding may hide.

    Returns
    -------
    array (n_voxels,)
        Between -1 and 1; NaN where the response is constant or either holds NaN.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    r = pearson(Y, Y_hat)
    return np.where(constant & _varies(np.asarray(Y, float)), 0, r)


def squared_correlation(Y, Y_hat):
    """Squared correlation r² of each column, 0 where r is negative.

    Not the coefficient of determination: a prediction of the wrong size or offset is not penalised.

    Parameters
    ----------
    Y, Y_hat : array (n_stimuli, n_voxels)
        Responses and predictions, any unit.

    Returns
    -------
    array (n_voxels,)
        Between 0 and 1; NaN where either column is constant or holds NaN.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (regression).
    """
    return np.maximum(pearson(Y, Y_hat), 0) ** 2


def explained_variance(Y, Y_hat):
    """Share of each column's variance that the prediction explains, 1 - Σ(y - ŷ)² / Σ(y - ȳ)².

    The coefficient of determination: size and offset of the prediction count.

    Parameters
    ----------
    Y, Y_hat : array (n_stimuli, n_voxels)
        Responses and predictions, same unit.

    Returns
    -------
    array (n_voxels,)
        At most 1, 0 for the mean of Y, negative if worse; NaN where Y is constant or either holds NaN.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    Y, Y_hat = _pair(Y, Y_hat)
    total = ((Y - Y.mean(axis=0)) ** 2).sum(axis=0)
    residual = ((Y - Y_hat) ** 2).sum(axis=0)
    return 1 - np.divide(residual, total, out=np.full(total.shape, np.nan), where=_varies(Y))


def median(values):
    """Median along the last axis of what is not NaN.

    `numpy.nanmedian` warns where nothing is left, and is slow on short axes.

    Parameters
    ----------
    values : array (…, n)
        Any unit.

    Returns
    -------
    array (…)
        Unit of the values; NaN where all are NaN, or n is 0.
    """
    if not values.shape[-1]:
        return np.full(values.shape[:-1], np.nan)
    ordered = np.sort(values, axis=-1)
    count = np.isfinite(ordered).sum(axis=-1)
    # NaN sorts last, so the middle of the rest is found by counting.
    middle = np.stack([np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[-1] - 1)], axis=-1)
    middling = np.take_along_axis(ordered, middle, axis=-1).mean(axis=-1)
    return np.where(count > 0, middling, np.nan)


def _pair(Y, Y_hat):
    """Both as float64; raise unless they have the same two dimensions."""
    Y, Y_hat = np.asarray(Y, float), np.asarray(Y_hat, float)
    if Y.ndim != 2 or Y.shape != Y_hat.shape:
        raise ValueError(f"responses {Y.shape} and predictions {Y_hat.shape} must both be (stimuli, voxels)")
    return Y, Y_hat


def _varies(values):
    """Whether a column has more than one value and no NaN."""
    return (values != values[:1]).any(axis=0) & np.isfinite(values).all(axis=0)


def _unit(values):
    """Columns centred and of length 1; a column without length is left at 0."""
    centred = values - values.mean(axis=0)
    length = np.sqrt(np.einsum("ij,ij->j", centred, centred))
    return centred / np.where(length > 0, length, 1)
