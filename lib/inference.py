"""How sure a number is, and whether two differ: intervals and tests that name what was resampled."""

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from lib import plugins
from lib.published import RULES

SWAPS = ("feather2022",)
EXACT_UNITS = 16
QUOTED = ["name", "value", "low", "high", "n", "unit", "what"]


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


def paired_t(a, b, *, level=0.95):
    """Mean difference of two conditions over the same units, with Student's t.

    Parameters
    ----------
    a, b : array (n_units,)
        Scores of the same units in the same order; a unit with a NaN is left out of both.
    level : float
        Of confidence, between 0 and 1.

    Returns
    -------
    dict
        `value` (mean of a - b), `low`, `high` (its interval), `t`, `df`, `p` (two-sided), `n` (units). NaN
        where fewer than two units are left; t and p also where all differences are the same, so that their
        variance says nothing (positions in few layers can be).
    """
    difference = _differences(a, b)
    n = len(difference)
    found = {"value": difference.mean() if n else np.nan, "low": np.nan, "high": np.nan}
    t = p = np.nan
    if n > 1:
        found["low"], found["high"] = DescrStatsW(difference).tconfint_mean(1 - level)
    if n > 1 and np.ptp(difference) > 1e-12 * abs(difference).max():
        t, p = stats.ttest_1samp(difference, 0)
    return found | {"t": t, "df": max(n - 1, 0), "p": p, "n": n}


def sign_flip(a, b, *, published=None, seed=0):
    """Probability of a mean difference as large, if within every unit the two conditions could be swapped.

    Parameters
    ----------
    a, b : array (n_units,)
        Scores of the same units in the same order; a unit with a NaN is left out of both.
    published : {"feather2022"}, optional
        10,000 random swaps, one-sided (a above b), counting only means strictly above the observed one, and
        never below 1 / min(10,000, 2^n). Counting no ties, it would be 0 wherever all units agree, but for
        that floor; drawing at random what can be enumerated, it is another number for every seed. Default:
        all 2^n swaps (at most 2^16; above, 100,000 random ones and the observed), two-sided, ties counted.
    seed : int
        Of the random swaps.

    Returns
    -------
    float
        In (0, 1]; exact values are multiples of 2^(1 - n), so that five units never reach 0.05. NaN without
        units.

    Raises
    ------
    ValueError
        If there is no such published rule.

    References
    ----------
    Fisher (1935), The Design of Experiments, section 21. Feather, Leclerc, Madry & McDermott (2022), bioRxiv
    2022.05.19.492678, Methods (comparison of regressions).
    """
    difference = _differences(a, b)
    n = len(difference)
    if not n:
        return np.nan
    if published is not None:
        plugins.require(published, SWAPS, "published rule")
        signs = np.random.RandomState(seed).choice([-1, 1], size=(10_000, n))
        p = ((signs * difference).mean(axis=1) > difference.mean()).mean()
        return max(float(p), 1 / min(10_000, 2**n))
    if n <= EXACT_UNITS:
        means = _all_signs(n) @ difference
        return float(_as_large(means, difference.sum()).mean())
    means = np.random.default_rng(seed).choice([-1.0, 1.0], size=(100_000, n)) @ difference
    return float((_as_large(means, difference.sum()).sum() + 1) / (len(means) + 1))


def bootstrap(a, b, *, n_resamples=10_000, seed=0, published=None, level=0.95):
    """Mean difference of two conditions, had other units been drawn.

    Both conditions are resampled together, so that what units differ in as a whole cancels. Percentile
    intervals of few units are too narrow (8 units: 95 % ones cover 89 %); t intervals are not.

    Parameters
    ----------
    a, b : array (n_units,)
        Scores of the same units in the same order; a unit with a NaN is left out of both.
    n_resamples : int
    seed : int
    published : {"tuckute2023"}, optional
        The share of resampled means of b that lie above the mean of a (which is not resampled), from the
        legacy generator. One-sided, so that its 0.05 is a two-sided 0.1; the error of a's mean is left out,
        and the units' common differences, which the pairing would remove, are left in; without the +1 it can
        be 0, which no number of resamples shows.
    level : float
        Of the interval.

    Returns
    -------
    dict
        `value` (mean of a - b), `low`, `high`, `p` (two-sided for no difference, (k + 1) / (n_resamples + 1);
        published: one-sided), `n` (units). The published rule gives no interval: NaN.

    Raises
    ------
    ValueError
        If there is no such published rule.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (statistics). Davison &
    Hinkley (1997), Bootstrap Methods and their Application, section 4.2.
    """
    if published is not None:
        plugins.require(published, RULES, "published rule")
        a, b = np.asarray(a, float), np.asarray(b, float)
        rng = np.random.RandomState(seed)
        means = rng.choice(b, size=(n_resamples, len(b)), replace=True).mean(axis=1)
        found = {"value": a.mean() - b.mean(), "low": np.nan, "high": np.nan}
        return found | {"p": float((means > a.mean()).mean()), "n": len(a)}
    difference = _differences(a, b)
    n = len(difference)
    if n < 2:
        value = difference.mean() if n else np.nan
        return {"value": value, "low": np.nan, "high": np.nan, "p": np.nan, "n": n}
    means = draws(n, n_resamples, np.random.default_rng(seed)) @ difference / n
    return resampled_difference(means, difference.mean(), level=level) | {"n": n}


def resampled_difference(resampled, value, *, level=0.95):
    """Interval and two-sided probability of a difference from its resamples.

    Parameters
    ----------
    resampled : array (n_resamples,)
        The difference in each resample, both conditions resampled together.
    value : float
        The difference itself.
    level : float

    Returns
    -------
    dict
        `value`, `low`, `high` (percentiles), `p`: twice the smaller share of resamples on either side of 0
        (which counts for both), with 1 added to numerator and denominator, at most 1; NaN where a resample is.
    """
    resampled = np.asarray(resampled, float)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    tail = min((resampled <= 0).sum(), (resampled >= 0).sum())
    p = min(1.0, 2 * (tail + 1) / (len(resampled) + 1)) if np.isfinite(low) else np.nan
    return {"value": float(value), "low": float(low), "high": float(high), "p": p}


def shuffled_iterations(a, b, *, n_permutations=10_000, seed=0):
    """Published probability that two models' scores of a component differ as much by chance.

    The scores of the iterations of `layers.best_layer`, ten per model, are pooled and shuffled. Not to be
    relied on, and here to reproduce what is printed: the iterations are ten readings of the same fits to the
    same stimuli, not samples, so p says how much the choice of halves matters and is far too small; one-sided,
    without +1. Less wrong is the bootstrap over stimuli, both models predicting the same resamples
    (`comparison.components`, which says by how much).

    Parameters
    ----------
    a, b : array (n_iterations,)
    n_permutations : int
    seed : int
        Of the legacy generator.

    Returns
    -------
    float
        Share of shuffles whose mean difference a - b is above the observed one, from 0 to 1.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (statistics).
    """
    pooled, n = np.concatenate([a, b]).astype(float), len(a)
    rng = np.random.RandomState(seed)
    shuffled = np.array([rng.permutation(pooled) for _ in range(n_permutations)])
    differences = shuffled[:, :n].mean(axis=1) - shuffled[:, n:].mean(axis=1)
    return float((differences > np.mean(a) - np.mean(b)).mean())


def wilcoxon(a, b, *, published=None):
    """Wilcoxon's signed-rank test of the difference of two conditions over the same units.

    Parameters
    ----------
    a, b : array (n_units,)
        Scores of the same units in the same order; a unit with a NaN is left out of both.
    published : {"tuckute2023"}, optional
        p from the normal approximation (ties counted, no continuity correction), which is only roughly right for
        few units; and equal differences that rounding in the fifteenth digit made unequal are not tied, so that W
        and p depend on the order of a sum. Default: the exact distribution over all signs of the ranks found,
        ties or not, differences equal if they are to 12 decimals.

    Returns
    -------
    dict
        `w` (the smaller sum of ranks), `p` (two-sided; NaN if no difference is left), `n` (units that differ;
        equal ones are dropped).

    Raises
    ------
    ValueError
        If there is no such published rule.

    References
    ----------
    Wilcoxon (1945), Biometrics Bull 1:80. Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol
    21:e3002366, figure 7 and Methods (statistics).
    """
    difference = _differences(a, b)
    difference = difference if published else difference.round(12)
    difference = difference[difference != 0]
    ranks = stats.rankdata(abs(difference))
    above, below = ranks[difference > 0].sum(), ranks[difference < 0].sum()
    found = {"w": float(min(above, below)), "n": len(ranks)}
    if published is not None:
        plugins.require(published, RULES, "published rule")
        # Each rank counts or not, with even odds; mid-ranks make the variance that of ties.
        z = (found["w"] - ranks.sum() / 2) / np.sqrt((ranks**2).sum() / 4) if len(ranks) else np.nan
        return found | {"p": float(2 * stats.norm.sf(abs(z)))}
    if not len(ranks):
        return found | {"p": np.nan}
    counts = np.ones(1)
    for step in (2 * ranks).astype(int):  # mid-ranks are halves
        counts = np.append(counts, np.zeros(step)) + np.append(np.zeros(step), counts)
    share = counts[: round(2 * found["w"]) + 1].sum() / counts.sum()
    return found | {"p": float(min(1.0, 2 * share))}


def holm(p):
    """Probabilities corrected for having asked several questions, by Holm's steps.

    Parameters
    ----------
    p : array (n_tests,)
        NaN is no test, and stays NaN.

    Returns
    -------
    array (n_tests,)
        At most 1; whatever is below a level has that level as its chance of any false alarm.

    References
    ----------
    Holm (1979), Scand J Stat 6:65.
    """
    return corrected(p, "holm")


def corrected(p, method="fdr_bh"):
    """p-values corrected for their number, NaN left out and kept.

    Parameters
    ----------
    p : array (n,)
    method : str
        Of statsmodels' `multipletests`, such as "fdr_bh" (Benjamini-Hochberg) or "holm".

    Returns
    -------
    array (n,)
    """
    p = np.asarray(p, float)
    found, there = np.full(p.shape, np.nan), np.isfinite(p)
    if there.any():
        found[there] = multipletests(p[there], method=method)[1]
    return found


def correlation(x, y, *, level=0.95):
    """Squared Pearson correlation over units, as papers print it beside scatter plots.

    Parameters
    ----------
    x, y : array (n_units,)
        A unit with a NaN is left out of both.
    level : float

    Returns
    -------
    dict
        `value` (r², of either sign of r), `low`, `high` (by Fisher's z; low is 0 where the interval of r holds
        0), `r`, `p` (two-sided, Student's t), `n`. NaN with fewer than three units or where one side does not
        vary; no interval with three. All take the units for independent, which networks of one architecture,
        and layers of one network, are not: then p and interval are too small.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    known = np.isfinite(x) & np.isfinite(y)
    x, y, n = x[known], y[known], int(known.sum())
    if n < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return dict.fromkeys(("value", "low", "high", "r", "p"), np.nan) | {"n": n}
    found = stats.pearsonr(x, y)
    low, high = found.confidence_interval(level) if n > 3 else (np.nan, np.nan)
    smallest, largest = np.sort([low**2, high**2])
    bounds = {"low": 0.0 if low * high < 0 else smallest, "high": largest}
    return {"value": found.statistic**2, **bounds, "r": found.statistic, "p": found.pvalue, "n": n}


def _differences(a, b):
    """Differences of the units that have both values."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"conditions {a.shape} and {b.shape} must be of the same units, one value each")
    return (a - b)[np.isfinite(a - b)]


def _all_signs(n):
    """Every assignment of signs to n units, as rows."""
    return 1.0 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)


def _as_large(sums, observed):
    """Whether sums are as far from 0 as the observed one, but for rounding."""
    return abs(sums) >= abs(observed) * (1 - 1e-12)


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
