"""How sure a number is: intervals that name what was resampled."""

import numpy as np
import pandas as pd
import xarray as xr
from statsmodels.stats.weightstats import DescrStatsW


def draws(n_units, n_resamples, rng):
    """How often each unit comes in each resample with replacement.

    Parameters
    ----------
    n_units, n_resamples : int
    rng : numpy.random.Generator

    Returns
    -------
    int array (n_resamples, n_units)
        Rows sum to n_units.
    """
    return rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_resamples)


def resampled_r2(response, prediction, weights):
    """Squared correlations of predictions with responses, had other stimuli been drawn.

    Of each split, the test stimuli in the draw are correlated. The regression is not fitted again.

    Parameters
    ----------
    response : xarray.DataArray (stimulus, voxel)
    prediction : xarray.DataArray (split, stimulus, voxel)
        NaN at train stimuli, and throughout for a voxel that could not be fitted.
    weights : array (n_resamples, n_stimuli)
        How often each stimulus is drawn; see `draws`.

    Returns
    -------
    xarray.DataArray (resample, split, voxel)
        r², 0 where r is negative or a side does not vary in the draw; NaN where the response or prediction of
        a test stimulus is not finite.

    Raises
    ------
    ValueError
        If response and prediction are not of the same stimuli and voxels, in the same order.
    """
    response, prediction = xr.align(response, prediction, join="exact")
    Y_hat = prediction.transpose("split", "stimulus", "voxel").values.astype(float)
    Y = response.transpose("stimulus", "voxel").values
    r = np.stack([_weighted_correlation(weights, Y, one) for one in Y_hat], axis=1)
    coords = {"split": prediction["split"], "voxel": prediction["voxel"]}
    return xr.DataArray(np.maximum(r, 0) ** 2, dims=("resample", "split", "voxel"), coords=coords)


def percentile_interval(values, *, dim, level=0.95):
    """Bounds between which the middle share of the resampled values lies.

    Parameters
    ----------
    values : xarray.DataArray (dim, …)
    dim : str
        The dimension of resamples.
    level : float
        Share of values within, between 0 and 1.

    Returns
    -------
    low, high : xarray.DataArray (…)
        NaN where a value is.
    """
    bounds = values.quantile([(1 - level) / 2, (1 + level) / 2], dim, skipna=False)
    return bounds.isel(quantile=0, drop=True), bounds.isel(quantile=1, drop=True)


def mean_interval(table, *, value, by, unit="subject", level=0.95):
    """Mean over units, with Student's t interval: units are a sample of what might have been measured.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per unit and group.
    value : str
        Column to average.
    by : list of str
        Columns that name the groups.
    unit : str
        Column that names the units, each at most once per group.
    level : float
        Of confidence, between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        Columns `by`, value, low, high (NaN with a single unit), n and unit.

    Raises
    ------
    ValueError
        If a unit occurs more than once in a group.
    """
    twice = table[table.duplicated([*by, unit])]
    if len(twice):
        raise ValueError(
            f"{unit} {twice[unit].iloc[0]!r} has several rows in group {twice[by].iloc[0].to_dict()}"
        )
    rows = []
    for group, part in table.groupby(by, sort=False):
        values = part[value].dropna().to_numpy()
        bounds = DescrStatsW(values).tconfint_mean(1 - level) if len(values) > 1 else (np.nan, np.nan)
        rows.append((*group, values.mean() if len(values) else np.nan, *bounds, len(values), unit))
    return pd.DataFrame(rows, columns=[*by, value, "low", "high", "n", "unit"])


def _weighted_correlation(weights, Y, Y_hat):
    """Correlation of the columns of two arrays under each row of weights; 0 where a side does not vary."""
    kept = np.isfinite(Y_hat).any(axis=1)
    weights = weights[:, kept] / np.maximum(weights[:, kept].sum(axis=1, keepdims=True), 1)
    # Centred first: the moments below subtract, and would lose a small variance around a large mean.
    Y, Y_hat = (side[kept] - side[kept].mean(axis=0) for side in (Y, Y_hat))
    mean, mean_hat = weights @ Y, weights @ Y_hat
    # Below this share of the column's own power lies rounding; not ">", so that NaN stays NaN.
    moments = (
        (weights @ side**2 - m**2, (side**2).mean(axis=0)) for side, m in ((Y, mean), (Y_hat, mean_hat))
    )
    product = np.prod([np.where(v <= 1e-12 * whole, 0, v) for v, whole in moments], axis=0)
    covariance = weights @ (Y * Y_hat) - mean * mean_hat
    return np.divide(covariance, np.sqrt(product), out=np.zeros_like(product), where=product != 0)
