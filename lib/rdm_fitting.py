"""Weighted sums of model RDMs, fitted to some stimuli and subjects and tested on others."""

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from lib import inference, rdm_inference
from lib import rdm_comparison as comparison
from lib.searchlight import pairs

FITTED, EQUAL = "fitted", "equal weights"


def weights(models, brain, *, measure="pearson"):
    """Weights, none negative, of the sum of model RDMs that comes closest to the mean of subjects' RDMs.

    Least squares in the space where the measure is an inner product: RDMs centred for "pearson", whitened for
    whitened measures. Ranks of a sum are no sum of ranks: for "spearman", "rho_a" and "kendall_tau_a" the fit is
    that of "pearson".

    Parameters
    ----------
    models : array (n_models, n_pairs)
    brain : array (n_subjects, n_pairs)
        In both, pairs that any RDM lacks are left out.
    measure : str
        See `lib.rdm_comparison`.

    Returns
    -------
    array (n_models,)
        From 0, of length 1; all 0 if no model points the same way as the brain.

    References
    ----------
    Khaligh-Razavi & Kriegeskorte (2014), PLoS Comput Biol 10:e1003915 (weighted models fitted by non-negative
    least squares).
    """
    linear = "pearson" if measure in (*comparison.RANKED, "kendall_tau_a") else measure
    have = np.isfinite(np.vstack([models, brain])).all(axis=0)
    A = comparison.spread(models, have, linear)
    size = np.maximum(np.linalg.norm(A, axis=1), np.finfo(float).tiny)
    b = comparison.embedded(brain, have, linear).mean(axis=0)
    # Scaled to length 1, so that a model of small dissimilarities is fitted as exactly as one of large ones.
    found = nnls((A / size[:, None]).T, b)[0] / size
    length = np.linalg.norm(found)
    return found / length if length > 0 else found


def cross_validated(models, brain, *, measure="spearman", n_folds=4, rng):
    """Similarity of the fitted sum with subjects that were not fitted, over stimuli that were not fitted.

    Stimuli are split into folds at random; subjects are left out one by one. Weights are fitted to the pairs among
    the other stimuli in the other subjects, and the sum is compared over the pairs among the fold's stimuli with
    the subject left out. A single subject is fitted and tested itself, on different stimuli.

    Parameters
    ----------
    models : array (n_models, n_pairs)
        Those without any value take no part, and have no rows.
    brain : array (n_subjects, n_pairs)
    measure : str
        See `lib.rdm_comparison`.
    n_folds : int
        Of stimuli; at least three stimuli must be in each.
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        fold, subject (number), model (number, "fitted", "equal weights": of models scaled to the same length,
        "lower" or "upper": similarity of that subject with the mean of the others, or of all, over the same
        stimuli), value, and weight (of single models; NaN else).

    Raises
    ------
    ValueError
        If a fold would have fewer than three stimuli.
    """
    models, brain = np.asarray(models, float), np.asarray(brain, float)
    n = comparison.n_stimuli(models.shape[1])
    if n // n_folds < 3:
        raise ValueError(f"{n} stimuli in {n_folds} folds leave fewer than three each; take fewer folds")
    folds = rng.permutation(np.arange(n) % n_folds)
    numbers = np.flatnonzero(np.isfinite(models).any(axis=1))
    models, rows = models[numbers], []
    for fold in range(n_folds):
        train, test = (_among(folds != fold), _among(folds == fold))
        for subject in range(len(brain)):
            others = np.arange(len(brain)) != subject if len(brain) > 1 else np.ones(1, bool)
            found = weights(models[:, train], brain[others][:, train], measure=measure)
            values = _tested(models[:, test], brain[:, test], subject, found, measure)
            rows += [(fold, subject, name, value, weight) for name, value, weight in values]
    table = pd.DataFrame(rows, columns=["fold", "subject", "model", "value", "weight"])
    return table.assign(model=table["model"].replace(dict(enumerate(numbers.tolist()))))


def over_subjects(table):
    """Mean over subjects of what `cross_validated` finds, with t interval.

    Folds of one subject are averaged first.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `cross_validated`.

    Returns
    -------
    pandas.DataFrame
        model (as there, without the bounds), value, low, high (NaN for one subject), n, unit ("subject"),
        interval ("t"), lower and upper (noise ceiling over the same stimuli), weight (mean over folds).
    """
    each = table.groupby(["model", "subject"], sort=False)[["value", "weight"]].mean().reset_index()
    rows = inference.mean_interval(each.drop(columns="weight"), value="value", by=["model"]).set_index(
        "model"
    )
    bounds = rows["value"].loc[["lower", "upper"]]
    weight = each.groupby("model")["weight"].mean()
    rows = rows.drop(index=["lower", "upper"]).assign(weight=weight, interval="t", **bounds)
    return rows.reset_index()


def _among(chosen):
    """Pairs of which both stimuli are chosen."""
    i, j = pairs(len(chosen))
    return chosen[i] & chosen[j]


def _tested(models, brain, subject, found, measure):
    """Name, similarity and weight of all that is compared with one subject."""
    lengths = np.linalg.norm(models - models.mean(axis=1, keepdims=True), axis=1)
    equal = (models / np.where(lengths > 0, lengths, 1)[:, None]).sum(axis=0)
    candidates = np.vstack([models, found @ models, equal])
    values = comparison.similarities(candidates, brain[[subject]], measure=measure)[:, 0]
    names = [*range(len(models)), FITTED, EQUAL]
    bounds = rdm_inference.each_bound(brain, measure=measure)[:, subject]
    weight = [*found, np.nan, np.nan, np.nan, np.nan]
    return zip([*names, "lower", "upper"], [*values, *bounds], weight, strict=True)
