"""How often tests of RDMs find what is not there: unrelated RDMs, tested many times."""

import numpy as np
import pandas as pd
from scipy import stats
from scipy.spatial.distance import pdist

from lib import rdm_inference, rdm_permutation

PERMUTED, ENTRIES = "stimuli permuted", "entries permuted (dwivedi2021)"
LARGEST, NONE = "largest of all models, stimuli permuted", "any model, uncorrected"
RESAMPLED = {
    f"bootstrap of {what}": unit
    for what, unit in zip(("subjects", "stimuli", "subjects and stimuli"), rdm_inference.UNITS, strict=True)
}


def unrelated(n_stimuli, n_subjects, n_models, rng):
    """RDMs of models and of subjects from patterns that have nothing to do with one another.

    Patterns have ten normal dimensions; those of the subjects are the same, weighted by their own random weights,
    and noise, so that subjects agree with each other and with no model but by chance.

    Parameters
    ----------
    n_stimuli, n_subjects, n_models : int
    rng : numpy.random.Generator

    Returns
    -------
    models, brain : array (n_models or n_subjects, n_pairs)
    """
    models = [pdist(rng.standard_normal((n_stimuli, 10)), "sqeuclidean") for _ in range(n_models)]
    shared = rng.standard_normal((n_stimuli, 10))
    brain = [
        pdist(shared * rng.gamma(4, 0.25, 10) + rng.standard_normal((n_stimuli, 10)), "sqeuclidean")
        for _ in range(n_subjects)
    ]
    return np.array(models), np.array(brain)


def false_positives(*, n_simulations=400, tests=None, n_stimuli=20, level=0.05, seed=0):
    """Share of simulations in which a test calls unrelated RDMs similar, at a given level.

    Eight subjects, five models, Spearman correlations, 199 permutations and 100 resamples. Tests of one model are
    of the first. Permutations are one-sided, bootstrap tests two-sided.

    Parameters
    ----------
    n_simulations : int
    tests : sequence of str, optional
        All by default: "stimuli permuted", "entries permuted (dwivedi2021)", "largest of all models, stimuli
        permuted" (whether any of five is significant), "any model, uncorrected", "bootstrap of subjects", "… of
        stimuli", "… of subjects and stimuli".
    n_stimuli : int
    level : float
    seed : int

    Returns
    -------
    pandas.DataFrame
        test, rate, low, high (the central 95 % of what an exact test gives, binomial), n (simulations), level,
        n_stimuli.
    """
    tests = [PERMUTED, ENTRIES, LARGEST, NONE, *RESAMPLED] if tests is None else list(tests)
    found = []
    for rng in np.random.default_rng(seed).spawn(n_simulations):
        models, brain = unrelated(n_stimuli, 8, 5, rng)
        found.append(_p_values(models, brain, tests, rng))
    rates = (np.array(found) <= level + 1e-12).mean(axis=0)
    low, high = np.array(stats.binom.interval(0.95, n_simulations, level)) / n_simulations
    table = pd.DataFrame({"test": tests, "rate": rates, "low": low, "high": high, "n": n_simulations})
    return table.assign(level=level, n_stimuli=n_stimuli)


def quotable(table):
    """Rows of numbers.csv from a table of `false_positives`.

    Parameters
    ----------
    table : pandas.DataFrame

    Returns
    -------
    pandas.DataFrame
        name (`rsa/simulated/unrelated/false_positives/<test>`), value, low, high, n, unit, what; bounds are
        those of the rate that was measured (exact binomial, 95 %).
    """
    tests = table["test"].str.replace(r"\W+", "_", regex=True).str.strip("_").str.lower()
    count = (table["rate"] * table["n"]).round().astype(int)
    bounds = [
        stats.binomtest(k, n).proportion_ci(0.95, "exact") for k, n in zip(count, table["n"], strict=True)
    ]
    what = "share of unrelated RDMs called similar at " + table["level"].map("{:.0%}".format)
    return pd.DataFrame(
        {
            "name": "rsa/simulated/unrelated/false_positives/" + tests,
            "value": table["rate"],
            "low": [bound.low for bound in bounds],
            "high": [bound.high for bound in bounds],
            "n": table["n"],
            "unit": "simulation",
            "what": what + ": " + table["test"] + ", " + table["n_stimuli"].astype(str) + " stimuli",
        }
    )


def _p_values(models, brain, tests, rng):
    """p of each test in one simulation."""
    how = {"n_permutations": 199, "rng": rng}
    null = rdm_permutation.permuted(models, brain, **how)
    found = {
        PERMUTED: rdm_permutation.p_values(null)[0],
        LARGEST: rdm_permutation.max_statistic(null).min(),
        NONE: rdm_permutation.p_values(null).min(),
    }
    if ENTRIES in tests:
        null = rdm_permutation.permuted(models[:1], brain, published="dwivedi2021", **how)
        found[ENTRIES] = rdm_permutation.p_values(null)[0]
    for name in set(tests) & set(RESAMPLED):
        how = {"unit": RESAMPLED[name], "n_resamples": 100, "rng": rng}
        found[name] = rdm_inference.intervals(models[:1], brain, **how)["p"][0]
    return [found[test] for test in tests]
