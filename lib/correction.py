"""Noise correction: one interface to rules that say which share of a response a model could explain."""

from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
import xarray as xr
from scipy import special, stats

from lib import ceilings, plugins, reliability

RULES = ("reliability", "split-half", "ncsnr", "explainable-variance")

# Published versions of each rule; elsewhere there is none.
PUBLISHED = {"reliability": reliability.PUBLISHED, "ncsnr": ("allen2022",)}

# Six repeats have ten halves, eight 35; of more, that many are drawn.
MOST_HALVES = 35


def terms(train, test, predictions, *, rule="reliability", n_repeats, n_fitted=None, published=None):
    """What r² is divided by to correct it for noise: a term for the response and one for its prediction.

    Corrected r² = r² / (voxel · prediction), see `lib.reliability.corrected_r2`; r² is that of the prediction
    with the mean over repeats, test stimuli. What the corrected value estimates depends on the rule:

    - "reliability": both sides are corrected. The squared correlation of the response without noise and the
      prediction by a regression on responses without noise. Each term is the median correlation between
      repeats (of train responses; of test predictions by fits on one repeat each) by Spearman-Brown, at least
      the correlation that unrelated data exceed in 5 % of cases (`lib.reliability.reliability`).
    - "split-half" (`split_half`), "ncsnr" (`noise_ceiling`), "explainable-variance"
      (`lib.ceilings.explainable_variance`, unbiased in the mean): the response alone is corrected. The squared
      correlation of the response without noise and the prediction as it was fitted, from noisy responses. The
      term of the response is the share of the variance of its mean over repeats that is not noise, test stimuli;
      that of the prediction is 1. Nothing is floored: by chance a share is negative or tiny. A voxel whose share
      is not above 0 has no corrected r² of its own (NaN); in the pooled one (`pooled_r2`) it counts.

    Parameters
    ----------
    train, test : array (n_repeats, n_stimuli, n_voxels)
        Responses to the stimuli of either side, any unit; NaN where a repeat was not measured.
    predictions : array (n_repeats, n_test_stimuli, n_voxels)
        Predictions of the test stimuli by fits on one repeat each; read by "reliability" only.
    rule : {"reliability", "split-half", "ncsnr", "explainable-variance"}
    n_repeats : array (n_voxels,)
        Number of repeats that were averaged; read by "reliability" only, the others count them per stimulus.
    n_fitted : array (n_voxels,), optional
        The same of the responses that models were fitted to, if those that tell how reliable a voxel is are others.
    published : str, optional
        The rule as published: "tuckute2023" of "reliability", "allen2022" of "ncsnr".

    Returns
    -------
    voxel, prediction : array (n_voxels,)
        NaN where there are not two repeats.

    Raises
    ------
    ValueError
        If there is no such rule, or no such published version of it.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (noise correction);
    Allen et al. (2022), Nat Neurosci 25:116, Methods (noise ceiling); Sahani & Linden (2003), NIPS 15;
    Spearman (1904), Am J Psychol 15:72.
    """
    plugins.require(rule, RULES, "noise correction")
    if published is not None:
        plugins.require(published, PUBLISHED.get(rule, ()), f"published version of {rule}")
    if rule == "reliability":
        numbers = n_repeats, n_repeats if n_fitted is None else n_fitted
        sides = zip((train, predictions), numbers, strict=True)
        return tuple(_reliability(Y, np.asarray(number), published) for Y, number in sides)
    shares = {
        "split-half": split_half,
        "ncsnr": partial(noise_ceiling, published=published),
        "explainable-variance": _explainable_variance,
    }
    voxel = shares[rule](np.asarray(test, float))
    return voxel, np.where(np.isnan(voxel), np.nan, 1.0)


def split_half(Y):
    """Share of the variance of the mean over repeats that is not noise, from the correlation of two halves.

    Repeats are halved in all ways (35 drawn ways if there are more), and r is the mean correlation between the
    means of two halves over the stimuli that both have. With noise variance x times that of the signal, and p,
    q, w the means over stimuli of 1 / number of repeats in the halves and in the whole,
    1 / r² = (1 + x p) (1 + x q) gives x, and the share is f(r) = 1 / (1 + x w): Spearman-Brown, 2 r / (1 + r),
    for equal halves, and Horst's formula for unequal ones. Negative r takes the root of negative share.

    A correlation is too small by r (1 - r²) / (2 n), and the curve of f makes the mean of f(r) smaller than f of
    the mean r; both are of the order of 1 / n and taken off: f(r') - (f(r' + s) - 2 f(r') + f(r' - s)) / 2, with
    r' = r + r (1 - r²) / (2 n) and s the standard error of r from its influence function.

    Parameters
    ----------
    Y : array (n_repeats, n_stimuli, n_voxels)
        Any unit; NaN is a response that was not measured.

    Returns
    -------
    array (n_voxels,)
        At most about 1, negative by chance where there is little signal; NaN with fewer than two repeats or four
        stimuli, or where a half does not vary.

    References
    ----------
    Spearman (1910), Br J Psychol 3:271; Brown (1910), Br J Psychol 3:296; Horst (1951), Psychometrika 16:29
    (unequal halves).
    """
    halves = _halves(len(Y))
    if not halves:
        return np.full(np.shape(Y)[2], np.nan)
    r, influence, p, q = (np.mean(part, axis=0) for part in zip(*(_half(Y, a) for a in halves), strict=True))
    number = np.isfinite(Y).sum(axis=0)
    whole = _mean_inverse(number, number > 0)
    n = (number > 0).sum(axis=0)
    n = np.where(n > 3, n, np.nan)
    r, error = r + r * (1 - r**2) / (2 * n), np.sqrt((influence**2).sum(axis=0)) / n
    below, middle, above = (_lengthened(np.clip(r + d, -1, 1), p, q, whole) for d in (-error, 0, error))
    return middle - (above - 2 * middle + below) / 2


def noise_ceiling(Y, *, published=None):
    """Share of the variance of the mean over repeats that is not noise, from the signal-to-noise ratio.

    Noise variance N is that over the repeats of a stimulus, averaged over stimuli; signal variance is what the
    stimuli's means vary more than noise makes them, S = V - N m with m the mean over stimuli of 1 / number of
    repeats. With ncsnr² = S / N the share is ncsnr² / (ncsnr² + m). As N / V is too large by (n - 1) / (n - 3)
    for normal responses to n stimuli, N is reduced by that factor before S is taken.

    Parameters
    ----------
    Y : array (n_repeats, n_stimuli, n_voxels)
        Any unit; NaN is a response that was not measured. Offsets of repeats count as noise.
    published : {"allen2022"}, optional
        As published: N is the mean of the stimuli's variances (those with two repeats or more), S the variance
        of all single responses less N, at least 0. Then a share is 0 by chance, never negative.

    Returns
    -------
    array (n_voxels,)
        At most 1; NaN with fewer than two repeats or four stimuli, or where nothing varies.

    References
    ----------
    Allen et al. (2022), Nat Neurosci 25:116, Methods (noise ceiling: ncsnr, and its use with unequal numbers of
    repeats).
    """
    here = np.isfinite(Y)
    number = here.sum(axis=0)
    known, spare = number > 0, np.maximum(number - 1, 0)
    n = np.where(known.sum(axis=0) > 3, known.sum(axis=0), np.nan)
    # Around a voxel's mean, so that sums of squares do not drown in it.
    filled = np.where(here, Y - _ratio(np.where(here, Y, 0).sum(axis=(0, 1)), number.sum(axis=0)), 0)
    mean = filled.sum(axis=0) / np.maximum(number, 1)
    squares = np.where(here, (filled - mean) ** 2, 0).sum(axis=0)
    m = _mean_inverse(number, known)
    if published is not None:
        noise = _ratio(_ratio(squares, spare, 0).sum(axis=0), (spare > 0).sum(axis=0))
        total = _ratio((filled**2).sum(axis=(0, 1)), number.sum(axis=0) - 1)
        signal = np.maximum(total - noise, 0)
    else:
        noise = _ratio(squares.sum(axis=0), spare.sum(axis=0))
        centred = np.where(known, mean - _ratio(mean.sum(axis=0), n), 0)
        variance = (centred**2).sum(axis=0) / (n - 1)
        noise = noise * (n - 3) / (n - 1)
        signal = variance - noise * m
    return _ratio(signal, signal + noise * m)


def unbiased_r2(r, n_stimuli):
    """Squared correlation without what chance adds to it, (1 - r²) (1 - 2 r²) / n to first order.

    1 - (n - 3) / (n - 2) (1 - r²) F(1, 1; n / 2; 1 - r²), with F Gauss's hypergeometric function: exactly
    unbiased for normal responses and predictions.

    Parameters
    ----------
    r : array
        Correlations; the sign does not count.
    n_stimuli : int
        That r is measured on, at least 4.

    Returns
    -------
    array
        At most 1, negative where r is near 0; NaN where r is.

    Raises
    ------
    ValueError
        If there are fewer than four stimuli.

    References
    ----------
    Olkin & Pratt (1958), Ann Math Stat 29:201, equation 5.1.
    """
    if n_stimuli < 4:
        raise ValueError(f"r² over {n_stimuli} stimuli has no unbiased estimate; at least 4 are needed")
    rest = 1 - np.asarray(r, float) ** 2
    return 1 - (n_stimuli - 3) / (n_stimuli - 2) * rest * _hypergeometric(n_stimuli / 2, rest)


def pooled_ratio(explained, explainable, *, level=0.95):
    """Explained over explainable variance of a population of subjects, with an interval that holds for it.

    The ratio of means over subjects, so that no subject's small denominator dominates, and its jackknife: with
    R the ratio of all s subjects and R_i that without subject i, the pseudo-values s R - (s - 1) R_i have as mean
    the estimate, free of a ratio's bias to the order 1 / s, and give Student's t interval with s - 1 degrees of
    freedom. Subjects are a sample; stimuli are the ones used.

    Parameters
    ----------
    explained, explainable : array (…, n_subjects)
        Of each subject, means over voxels (and splits) of r² (`unbiased_r2`) and of voxel · prediction (`terms`).
        Negative values belong to the means. A subject with NaN drops out.
    level : float
        Of confidence, between 0 and 1.

    Returns
    -------
    value, low, high : array (…)
        NaN without two subjects, or where a mean without one subject is not above 0: too little signal to divide
        by.

    References
    ----------
    Quenouille (1956), Biometrika 43:353; Tukey (1958), Ann Math Stat 29:614.
    """
    explained, explainable = np.broadcast_arrays(np.asarray(explained, float), explainable)
    here = np.isfinite(explained) & np.isfinite(explainable)
    s = np.where(here.sum(axis=-1) > 1, here.sum(axis=-1), np.nan)[..., None]
    above, below = (np.where(here, side, 0) for side in (explained, explainable))
    totals = [side.sum(axis=-1, keepdims=True) for side in (above, below)]
    without = _ratio(totals[0] - above, totals[1] - below)
    pseudo = s * _ratio(*totals) - (s - 1) * without
    value = np.where(here, pseudo, 0).sum(axis=-1, keepdims=True) / s
    error = np.sqrt(np.where(here, (pseudo - value) ** 2, 0).sum(axis=-1, keepdims=True) / (s - 1) / s)
    half = stats.t.ppf((1 + level) / 2, s - 1) * error
    return tuple(bound[..., 0] for bound in (value, value - half, value + half))


def pooled_interval(scores, *, n_test, by=None):
    """Corrected r² of all voxels, and of each region, in the population of subjects: `pooled_ratio` of an analysis.

    Parameters
    ----------
    scores : xarray.Dataset (split, voxel)
        `r`, `constant_prediction`, `reliability_voxel` and `reliability_prediction` of one layer (see
        `lib.encoding.encode`), or of each voxel's layer where it was chosen on other data; coordinates subject and
        `by` of the voxels. Voxels with NaN in all splits drop out; shares of 0 and less stay in the means.
    n_test : int or array (n_splits,)
        Number of test stimuli of each split, at least 4.
    by : str, optional
        Coordinate that names regions; an empty name is none.

    Returns
    -------
    pandas.DataFrame
        part ("all", then regions), value, low, high (95 %), n (subjects with such voxels), unit, interval.
    """
    constant = (scores["constant_prediction"] == 1) & np.isfinite(scores["r"])
    sizes = np.broadcast_to(n_test, scores.sizes["split"]).tolist()
    r = scores["r"].transpose("split", "voxel").values
    unbiased = np.stack([unbiased_r2(row, n) for row, n in zip(r, sizes, strict=True)])
    r2 = xr.where(constant, 0, xr.DataArray(unbiased, dims=("split", "voxel")))
    ceiling = scores["reliability_voxel"] * scores["reliability_prediction"]
    counted = np.isfinite(r2) & np.isfinite(ceiling)
    means = {
        "explained": r2.where(counted).mean("split"),
        "explainable": ceiling.where(counted).mean("split"),
    }
    table = pd.DataFrame({name: value.values for name, value in means.items()})
    table["subject"] = scores["subject"].values
    parts = {"all": table}
    if by is not None:
        names = scores[by].values
        parts |= {name: table[names == name] for name in pd.unique(names) if name != ""}
    rows = []
    for part, voxels in parts.items():
        subjects = voxels.dropna().groupby("subject")[["explained", "explainable"]].mean()
        bounds = pooled_ratio(subjects["explained"], subjects["explainable"])
        rows.append((part, *(float(bound) for bound in bounds), len(subjects)))
    table = pd.DataFrame(rows, columns=["part", "value", "low", "high", "n"])
    return table.assign(unit="subject", interval="jackknife t")


def _explainable_variance(Y):
    """Share of the variance of the mean over repeats that is not noise, right in the mean."""
    return ceilings.explainable_variance(Y, unbiased="mean")[0]


def _reliability(Y, n_repeats, published):
    """Reliability of the mean of the repeats, floored; NaN where there are not two."""
    if not len(Y):
        return np.full(n_repeats.shape, np.nan)
    r = reliability.single_repeat_reliability(Y)
    value = reliability.reliability(r, n_repeats, Y.shape[1], published=published)
    return np.where(n_repeats > 1, value, np.nan)


def _hypergeometric(c, x):
    """Gauss's F(1, 1; c; x) for x in [0, 1]."""
    if c < 20:
        return special.hyp2f1(1, 1, c, x)
    # Its gamma functions overflow for large c, where the series ends soon.
    term = total = np.ones_like(x)
    for k in range(60):
        term = term * (k + 1) * x / (c + k)
        total = total + term
    return total


def _halves(n_repeats):
    """Repeats of one half, for every way of halving them (or a sample of the ways), the smaller half if odd."""
    halves = list(combinations(range(n_repeats), n_repeats // 2)) if n_repeats > 1 else []
    # Of an even number every division comes twice, first with repeat 0 and then without it.
    halves = halves[: len(halves) // 2] if n_repeats % 2 == 0 else halves
    if len(halves) <= MOST_HALVES:
        return halves
    chosen = np.random.default_rng(0).choice(len(halves), MOST_HALVES, replace=False)
    return [halves[index] for index in np.sort(chosen)]


def _half(Y, half):
    """Correlation of two halves, each stimulus' influence on it, and mean 1 / number of repeats in either."""
    inside = np.isin(np.arange(len(Y)), half)
    numbers = [np.isfinite(Y[side]).sum(axis=0) for side in (inside, ~inside)]
    both = (numbers[0] > 0) & (numbers[1] > 0)
    means = [
        np.where(both, np.where(np.isfinite(Y[side]), Y[side], 0).sum(axis=0) / np.maximum(number, 1), 0)
        for side, number in zip((inside, ~inside), numbers, strict=True)
    ]
    a, b = (_standard(mean, both) for mean in means)
    r = _ratio((a * b).sum(axis=0), both.sum(axis=0))
    influence = a * b - r * (a**2 + b**2) / 2
    return r, influence, *(_mean_inverse(number, both) for number in numbers)


def _standard(values, known):
    """Mean 0 and standard deviation 1 over the known stimuli, 0 at the others; NaN if they do not vary."""
    n = known.sum(axis=0)
    largest = np.abs(values).max(axis=0)
    centred = np.where(known, values - _ratio(values.sum(axis=0), n), 0)
    deviation = np.sqrt(_ratio((centred**2).sum(axis=0), n))
    return centred / np.where(deviation > 1e-13 * largest, deviation, np.nan)


def _lengthened(r, p, q, whole):
    """Share of signal in the mean of all repeats, from the correlation of halves; see `split_half`."""
    # 1 / (1 + x whole), multiplied through by r, so that r = 0 is no exception.
    root = np.sqrt((p - q) ** 2 * r**2 + 4 * p * q)
    x_r = (root - (p + q) * r) / (2 * p * q)
    return _ratio(r, r + x_r * whole)


def _mean_inverse(number, known):
    """Mean over known stimuli of 1 / number of repeats."""
    return _ratio(np.where(known, 1 / np.maximum(number, 1), 0).sum(axis=0), known.sum(axis=0))


def _ratio(above, below, otherwise=np.nan):
    """The quotient, something else where the divisor is not above 0."""
    above, below = np.broadcast_arrays(np.asarray(above, float), below)
    return np.divide(above, below, out=np.full(above.shape, float(otherwise)), where=below > 0)
