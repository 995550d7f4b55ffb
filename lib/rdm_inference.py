"""How sure a comparison of RDMs is: noise ceilings, resampled subjects and stimuli, differences between models."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from lib import ceilings
from lib import rdm_comparison as comparison
from lib.inference import corrected, draws
from lib.plugins import require
from lib.searchlight import pairs

UNITS = ("subject", "stimulus", "subject and stimulus")
AT_ONCE = 1 << 22  # values of all RDMs together that are ranked at a time


def bounds(brain, *, measure="spearman", reranked=False):
    """Bounds on the mean similarity with single subjects that the best possible RDM would reach.

    In the space where the measure is an inner product, of unit vectors x_s: upper = |mean x_s|, which nothing
    exceeds; lower = mean over subjects of the similarity with the mean of the others.

    Parameters
    ----------
    brain : array (n_subjects, n_pairs)
        Pairs that a subject lacks are left out for all.
    measure : str
        See `lib.rdm_comparison.similarities`.
    reranked : bool
        For "spearman": the mean of ranks is ranked again, as an RDM's would be; see `lib.ceilings.rdm_bounds`.

    Returns
    -------
    lower, upper : float
        NaN with fewer than two subjects, or if an RDM does not vary.

    Raises
    ------
    ValueError
        If the measure is unknown, or `reranked` is asked for another than "spearman".

    References
    ----------
    Nili et al. (2014), PLoS Comput Biol 10:e1003553, section on the noise ceiling.
    """
    require(measure, comparison.MEASURES, "comparison of RDMs")
    if reranked:
        require(measure, ("spearman",), "measure that is ranked again")
        return ceilings.rdm_bounds(brain[:, np.isfinite(brain).all(axis=0)])
    if len(brain) < 2:
        return np.nan, np.nan
    lower, upper = _bounds(_gram(brain, measure)[None], np.ones((1, len(brain))))
    return float(lower[0]), float(upper[0])


def each_bound(brain, *, measure="spearman", published=None):
    """Similarity of each subject's RDM with the mean of the others, and with the mean of all.

    Their means over subjects are those of `bounds`.

    Parameters
    ----------
    brain : array (n_subjects, n_pairs)
        Pairs that a subject lacks are left out for all; subjects without any are left out.
    measure : str
        See `lib.rdm_comparison.similarities`.
    published : {"tuckute2023"}, optional
        Pearson correlation with the mean of dissimilarities as they are, whatever the measure.

    Returns
    -------
    array (2, n_subjects)
        Lower, then upper; NaN for a subject left out, or alone.

    Raises
    ------
    ValueError
        If a name is unknown.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (RSA, noise ceiling).
    """
    require(measure, comparison.MEASURES, "comparison of RDMs")
    if published:
        require(published, ("tuckute2023",), "published ceiling")
    found = np.full((2, len(brain)), np.nan)
    there = np.isfinite(brain).any(axis=1)
    have = np.isfinite(brain[there]).all(axis=0)
    if there.sum() < 2 or have.sum() < 3:
        return found
    if published:
        each = brain[there][:, have]
        total = each.sum(axis=0)
        pearson = [
            comparison.embedded(side, np.ones(have.sum(), bool), "pearson") for side in (each, total - each)
        ]
        found[0, there] = (pearson[0] * pearson[1]).sum(axis=1)
        found[1, there] = (
            pearson[0] @ comparison.embedded(total[None], np.ones(have.sum(), bool), "pearson")[0]
        )
        return found
    gram = _gram(np.where(have, brain[there], np.nan), measure)
    shared, own, whole = gram.sum(axis=1), np.diag(gram), gram.sum()
    others = whole - 2 * shared + own
    found[0, there] = (shared - own) / np.sqrt(np.where(others > 1e-12 * whole, others, np.nan))
    found[1, there] = shared / np.sqrt(max(whole, 0) or np.nan)
    return found


class Resamples(NamedTuple):
    """Similarities of RDMs with each other, as they are and had other stimuli been drawn.

    All that is asked of resampled subjects and stimuli follows from them. The models come first, then the subjects.

    Attributes
    ----------
    observed : array (n_rdms, n_rdms)
    drawn : array (n_resamples, n_rdms, n_rdms) or None
        None where stimuli are not drawn.
    n_stimuli : int
    """

    observed: np.ndarray
    drawn: np.ndarray | None
    n_stimuli: int

    def of(self, rows):
        """The same of some of the RDMs.

        Parameters
        ----------
        rows : array of int
            Models, then subjects.

        Returns
        -------
        Resamples
        """
        drawn = None if self.drawn is None else self.drawn[:, rows[:, None], rows]
        return Resamples(self.observed[np.ix_(rows, rows)], drawn, self.n_stimuli)


def resamples(vectors, *, measure="spearman", n_resamples=1000, stimuli=True, rng):
    """Similarities of RDMs with each other, as they are and had other stimuli been drawn.

    Stimuli are drawn with replacement. Pairs of a stimulus with its own copy are left out: their dissimilarity 0
    says nothing.

    Parameters
    ----------
    vectors : array (n_rdms, n_pairs)
        Models, then subjects. Pairs that any RDM lacks are left out for all.
    measure : str
        See `lib.rdm_comparison.similarities`; those that need more than weighted ranks are slow, and
        "unbiased_cka" is undefined where a stimulus is drawn twice.
    n_resamples : int
    stimuli : bool
        Whether stimuli are drawn.
    rng : numpy.random.Generator

    Returns
    -------
    Resamples

    Raises
    ------
    ValueError
        If the measure is unknown.
    """
    require(measure, comparison.MEASURES, "comparison of RDMs")
    vectors = np.asarray(vectors, float)
    n = comparison.n_stimuli(vectors.shape[1])
    drawn = _grams(vectors, measure, draws(n, n_resamples, rng)) if stimuli else None
    return Resamples(_gram(vectors, measure), drawn, n)


def resampled(found, n_models, *, unit="subject and stimulus", n_resamples=1000, rng):
    """Mean similarities and ceilings, had other subjects or stimuli been drawn.

    A subject drawn twice is left out with its copy when the lower bound is taken.

    Parameters
    ----------
    found : Resamples
    n_models : int
        The RDMs after so many are those of subjects.
    unit : {"subject", "stimulus", "subject and stimulus"}
        What is drawn.
    n_resamples : int
        As of `found`, where stimuli are drawn.
    rng : numpy.random.Generator

    Returns
    -------
    array (n_resamples, n_models + 2)
        Mean over subjects of each model's similarity, then lower and upper bound. NaN where undefined: bounds
        where all copies are of one subject, anything where too few stimuli are left.

    Raises
    ------
    ValueError
        If the unit is unknown.
    """
    require(unit, UNITS, "unit of resampling")
    n_subjects = len(found.observed) - n_models
    shape = (n_resamples, *found.observed.shape)
    grams = np.broadcast_to(found.observed, shape) if unit == "subject" else found.drawn
    subjects = (
        np.ones((n_resamples, n_subjects), int) if unit == "stimulus" else draws(n_subjects, n_resamples, rng)
    )
    return _means(grams, subjects)


def covariance(found, n_models, *, unit="subject and stimulus", n_resamples=1000, rng):
    """Covariance of the estimates of similarities and ceilings, from the bootstrap.

    A resample of n units varies too little by (n - 1) / n, which is corrected. Where subjects and stimuli are drawn
    together, what their measurement error contributes is counted three times; `variance` takes two of them away,
    with the help of the covariances of the two bootstraps that draw one of them, of the same draws.

    Parameters
    ----------
    found, n_models, unit, n_resamples, rng
        As for `resampled`.

    Returns
    -------
    array (n_parts, n_models + 2, n_models + 2)
        The covariances of which `variance` takes what it needs: one part, or for both units those of both, of
        subjects, and of stimuli. NaN for a unit of which there is one.

    References
    ----------
    Schütt, Kipnis, Diedrichsen & Kriegeskorte (2023), eLife 12:e82566, "two-factor bootstrap".
    """
    numbers = {"subject": len(found.observed) - n_models, "stimulus": found.n_stimuli}
    parts, state = [], rng.bit_generator.state
    for one in (UNITS[2], *UNITS[:2]) if unit == UNITS[2] else (unit,):
        rng.bit_generator.state = state  # the same subjects in all of them
        values = resampled(found, n_models, unit=one, n_resamples=n_resamples, rng=rng)
        n = numbers.get(one, min(numbers.values()))
        factor = n / (n - 1) if one in numbers and n > 1 else (1 if n > 1 else np.nan)
        parts.append(factor * _pairwise_covariance(values))
    return np.stack(parts)


def variance(covariances, contrast, n_subjects, n_stimuli):
    """Variance of a weighted sum of estimates, of the parts that `covariance` gives.

    With the variances V of the three bootstraps, V_subject and V_stimulus corrected as said there: V_subject +
    V_stimulus - a b (V_both - V_subject / a - V_stimulus / b), a = n / (n - 1) for subjects and b for stimuli;
    not below the larger single one, nor above that of both.

    Parameters
    ----------
    covariances : array (n_parts, n, n)
    contrast : array (…, n)
        Weights; what has weight 0 may be NaN.
    n_subjects, n_stimuli : int

    Returns
    -------
    array (…)
    """
    parts = np.stack([_quadratic(part, contrast) for part in covariances])
    if len(parts) == 1:
        return parts[0]
    both, subject, stimulus = parts
    a, b = (n / (n - 1) if n > 1 else np.nan for n in (n_subjects, n_stimuli))
    # The single ones come corrected already.
    corrected = subject + stimulus - a * b * (both - subject / a - stimulus / b)
    return np.minimum(np.maximum(corrected, np.maximum(subject, stimulus)), np.maximum(both, 0))


def intervals(models, brain, *, measure="spearman", unit="subject and stimulus", n_resamples=1000, rng):
    """Mean similarity over subjects of each model and both ceilings, with bootstrap-t intervals.

    Parameters
    ----------
    models : array (n_models, n_pairs)
    brain : array (n_subjects, n_pairs)
        In both, pairs that any RDM lacks are left out for all.
    measure : str
        See `resamples`.
    unit : {"subject", "stimulus", "subject and stimulus"}
        What is drawn.
    n_resamples : int
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        See `estimates`.
    """
    how = {"n_resamples": n_resamples, "rng": rng}
    found = resamples(np.vstack([models, brain]), measure=measure, stimuli=unit != "subject", **how)
    return estimates(found, len(models), unit=unit, **how)


def estimates(found, n_models, *, unit="subject and stimulus", n_resamples=1000, rng):
    """Mean similarity over subjects of each model and both ceilings, with bootstrap-t intervals.

    Parameters
    ----------
    found, n_models, unit, n_resamples, rng
        As for `resampled`.

    Returns
    -------
    pandas.DataFrame
        One row per model, in order, then "lower" and "upper": what, value, se, low, high (95 %, Student's t),
        p (two-sided, against 0), n_free (degrees of freedom: the smaller number of units drawn, less one).
    """
    sizes = len(found.observed) - n_models, found.n_stimuli
    value = _means(found.observed[None], np.ones((1, sizes[0]), int))[0]
    cov = covariance(found, n_models, unit=unit, n_resamples=n_resamples, rng=rng)
    se = np.sqrt(variance(cov, np.eye(n_models + 2), *sizes))
    table = pd.DataFrame({"what": [*range(n_models), "lower", "upper"], "value": value, "se": se})
    return _with_t(table, _free(unit, sizes))


def pairwise(found, n_models, *, unit="subject and stimulus", n_resamples=1000, rng):
    """Differences between the mean similarities of all pairs of models, each tested against none.

    Parameters
    ----------
    found, n_models, unit, n_resamples, rng
        As for `resampled`.

    Returns
    -------
    pandas.DataFrame
        a, b (numbers of the models), value (similarity of a less that of b), se, low, high (95 %), p (two-sided
        t), n_free, p_fwe (Holm) and p_fdr (Benjamini-Hochberg) over the pairs.
    """
    rows = np.transpose(pairs(n_models)) if n_models > 1 else np.empty((0, 2), int)
    contrast = np.zeros((len(rows), n_models + 2))
    contrast[np.arange(len(rows)), rows[:, 0]] = 1
    contrast[np.arange(len(rows)), rows[:, 1]] = -1
    sizes = len(found.observed) - n_models, found.n_stimuli
    value = _means(found.observed[None], np.ones((1, sizes[0]), int))[0, :-2]
    table = pd.DataFrame({"a": rows[:, 0], "b": rows[:, 1], "value": contrast[:, :-2] @ value})
    cov = covariance(found, n_models, unit=unit, n_resamples=n_resamples, rng=rng)
    table["se"] = np.sqrt(variance(cov, contrast, *sizes))
    table = _with_t(table, _free(unit, sizes))
    return table.assign(p_fwe=corrected(table["p"], "holm"), p_fdr=corrected(table["p"], "fdr_bh"))


def _free(unit, sizes):
    """Degrees of freedom: the smaller number of units that are drawn, less one."""
    return min(n for n, name in zip(sizes, UNITS, strict=False) if name in unit) - 1


def _gram(vectors, measure):
    """Similarities of all RDMs with each other, over the pairs that all have."""
    have = np.isfinite(vectors).all(axis=0)
    vectors = np.where(have, vectors, np.nan)
    return comparison.similarities(vectors, vectors, measure=measure)


def _grams(vectors, measure, stimuli):
    """Similarities of all RDMs with each other, for each draw of stimuli (n_resamples, n_stimuli)."""
    i, j = pairs(stimuli.shape[1])
    have = np.isfinite(vectors).all(axis=0)
    if not have.any():
        return np.full((len(stimuli), len(vectors), len(vectors)), np.nan)
    if measure not in ("spearman", "rho_a", "pearson", "cosine"):
        return np.stack([_gram(_drawn(vectors, one), measure) for one in stimuli])
    kept, found = vectors[:, have], []
    ranking = [_ranking(values) for values in kept] if measure in comparison.RANKED else None
    for some in np.array_split(stimuli, -(-kept.size * len(stimuli) // AT_ONCE)):
        weights = (some[:, i] * some[:, j])[:, have].astype(float)
        found.append(_weighted_gram(kept, ranking, weights, measure))
    return np.concatenate(found)


def _drawn(vectors, counts):
    """RDMs of the stimuli drawn, as often as drawn; NaN between a stimulus and its copy."""
    n = len(counts)
    rows = np.repeat(np.arange(n), counts)
    i, j = pairs(n)
    number = np.full((n, n), -1)
    number[i, j] = number[j, i] = np.arange(len(i))
    wanted = number[rows[:, None], rows][pairs(len(rows))]
    return np.where(wanted < 0, np.nan, vectors[:, wanted])


def _weighted_gram(vectors, ranking, weights, measure):
    """Similarities of all RDMs with each other, each pair counted as often as its weight says."""
    total = weights.sum(axis=1)
    shape = (len(weights), *vectors.shape)
    if measure in comparison.RANKED:
        rows = np.empty(shape)
        for row, one in enumerate(ranking):
            rows[:, row] = _weighted_ranks(one, weights)
    else:
        rows = np.broadcast_to(vectors, shape)
    size = np.abs(rows).max(axis=2)
    if measure != "cosine":
        mean = np.einsum("rkm,rm->rk", rows, weights) / np.where(total > 0, total, np.nan)[:, None]
        rows = rows - mean[..., None]
    rows = rows * np.sqrt(weights)[:, None]
    if measure == "rho_a":
        rows = rows * np.sqrt(12 / np.where(total > 1, total**3 - total, np.nan))[:, None, None]
    else:
        rows = comparison.unit(rows, size)
    return rows @ rows.swapaxes(1, 2)


def _ranking(values):
    """Order of values, and of each in that order the number of its group of equal ones; None without ties."""
    order = np.argsort(values, kind="stable")
    first = np.r_[True, values[order][1:] != values[order][:-1]]
    return order, None if first.all() else np.cumsum(first) - 1


def _weighted_ranks(ranking, weights):
    """Ranks (n_resamples, n) of values that come as often as weights say; ties share their mean rank."""
    order, group = ranking
    ordered = weights.take(order, axis=1)
    reached = np.cumsum(ordered, axis=1)
    if group is None:
        ordered -= 1
        ordered *= -0.5
        ordered += reached
    else:
        last = np.append(group[1:] != group[:-1], True)
        reached = reached[:, last]
        before = np.concatenate([np.zeros((len(weights), 1)), reached[:, :-1]], axis=1)
        ordered = ((before + reached + 1) / 2)[:, group]
    ranks = np.empty_like(weights)
    ranks[:, order] = ordered
    return ranks


def _means(grams, subjects):
    """Mean similarity of each model, lower and upper bound, from similarities of all and draws of subjects."""
    n_subjects = subjects.shape[1]
    with_models = grams[:, :-n_subjects, -n_subjects:]
    means = np.einsum("rms,rs->rm", with_models, subjects) / n_subjects
    lower, upper = _bounds(grams[:, -n_subjects:, -n_subjects:], subjects)
    return np.column_stack([means, lower, upper])


def _bounds(grams, subjects):
    """Lower and upper bound from the similarities among subjects, and how often each is drawn."""
    n = subjects.sum(axis=1)
    shared = np.einsum("rst,rt->rs", grams, subjects)
    whole = np.einsum("rs,rs->r", shared, subjects)
    own = subjects * np.einsum("rss->rs", grams)
    several = (subjects > 0).sum(axis=1) > 1
    upper = np.sqrt(np.maximum(whole, 0)) / n
    # Of the others: the similarity with their sum, over its length.
    length = whole[:, None] - 2 * subjects * shared + subjects * own
    length = np.sqrt(np.where(length > 1e-12 * whole[:, None], length, np.nan))
    each = np.where(subjects > 0, (shared - own) / length, 0)
    lower = (subjects * each).sum(axis=1) / n
    return tuple(np.where(several, bound, np.nan) for bound in (lower, upper))


def _pairwise_covariance(values):
    """Covariance over rows of each two columns, of the rows where both are finite."""
    here = np.isfinite(values)
    number = here.T.astype(float) @ here
    mean = np.where(here, values, 0).sum(axis=0) / np.maximum(here.sum(axis=0), 1)
    centred = np.where(here, values - mean, 0)
    return centred.T @ centred / np.where(number > 1, number - 1, np.nan)


def _quadratic(matrix, contrast):
    """cᵀ M c for each contrast; NaN of M counts only where the contrast is not 0."""
    contrast = np.asarray(contrast, float)
    filled = np.where(np.isnan(matrix), 0, matrix)
    unknown = (np.abs(contrast) @ np.isnan(matrix) * np.abs(contrast)).sum(axis=-1) > 0
    return np.where(unknown, np.nan, ((contrast @ filled) * contrast).sum(axis=-1))


def _with_t(table, n_free):
    """Student's interval and two-sided p of each value from its standard error."""
    table = table.assign(n_free=n_free)
    if n_free < 1:
        return table.assign(se=np.nan, low=np.nan, high=np.nan, p=np.nan)
    reach = stats.t.ppf(0.975, n_free) * table["se"]
    t = table["value"].abs() / table["se"].where(table["se"] > 0)
    return table.assign(low=table["value"] - reach, high=table["value"] + reach, p=2 * stats.t.sf(t, n_free))
