"""Does noise correction come back to the truth, and do its intervals hold it: simulated brains that are known."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from lib import correction, inference, layers, metrics, reliability, ridge

ALPHAS = 10.0 ** np.arange(-1, 4)

# The smallest explainable variance of a single response for which a summary of voxels is meant: below it medians
# lose voxels without a share above 0, plain ratios keep what chance adds to r², and "reliability" has its floors
# and a Spearman-Brown formula that does not know how ridge adapts to noise. Set from earlier runs of this simulation.
MEANT_FROM = {"median": 0.2, "ratio": 0.6, "unbiased ratio": 0.1}
RELIABILITY_MEANT_FROM = 0.6

CONDITION = ["case", "planted", "rule", "kind", "explainable"]

# Columns of responses that are fitted together: some hundred megabytes.
COLUMNS = 8000


class Design(NamedTuple):
    """What is simulated.

    Attributes
    ----------
    n_stimuli, n_train, n_splits : int
        Of each split, n_train stimuli train and the others test.
    n_units : int
        Of the layer; the unit of rank j has variance 1 / j.
    n_subjects, n_voxels : int
        Voxels of each subject.
    n_repeats : int
    unequal : bool
        A stimulus has 1, 2, … n_repeats repeats, each number equally often.
    planted, spread : float
        Share of the signal's variance that the layer carries: mean and standard deviation over subjects, who are
        normally distributed (and kept within 0 to 1).
    common : float
        Share of what the layer does not carry that is the same in all voxels and subjects.
    new_stimuli : bool
        Every experiment has stimuli, splits and a common part of its own, and the truth is that of all stimuli that
        could have been used; no interval over subjects is meant for that.
    """

    n_stimuli: int = 165
    n_train: int = 83
    n_splits: int = 10
    n_units: int = 10
    n_subjects: int = 8
    n_voxels: int = 6
    n_repeats: int = 3
    unequal: bool = False
    planted: float = 0.5
    spread: float = 0.08
    common: float = 0.0
    new_stimuli: bool = False

    @property
    def case(self):
        """What is special, in words."""
        words = ["unequal repeats"] * self.unequal + ["new stimuli"] * self.new_stimuli
        words += [f"{self.common:.0%} of the rest in common"] * (self.common > 0)
        return ", ".join(words) or "equal repeats"


def experiments(design, *, explainable, n_simulations, seed=0):
    """Corrected scores of simulated experiments by every rule, with intervals, beside the truth.

    Stimuli, splits, layer and what is common to all brains are drawn once, or anew if the design says so. In every
    experiment subjects, their voxels and all noise are new: signal = √share · read-out of the layer +
    √(1 - share) · unrelated, both of variance 1 in the population of stimuli; a voxel's read-out has a random
    direction. A single response adds noise of variance (1 - e) / e, with e the explainable variance. Ridge
    (`lib.ridge`) is fitted as in `lib.encoding`, on the mean over repeats and on single ones. With ten splits an
    experiment at five explainable variances takes about 0.1 s of one core, and any number some hundred megabytes.

    The true score of a voxel and split is the squared correlation of prediction p and signal on the test stimuli,
    had the voxel's own unrelated part no chance correlation with p: cov(d, p)² / (var(p) (var(d) + f)), with d
    what the stimuli determine of the signal and f the variance of the rest. For the rule "reliability" p is
    fitted on the signal itself, for the others on the noisy mean, as they are meant (`lib.correction.terms`).

    Parameters
    ----------
    design : Design
    explainable : sequence of float
        Explainable variance e of a single response, in (0, 1).
    n_simulations : int
        Experiments; each is analysed at every e with the same random numbers.
    seed : int

    Returns
    -------
    pandas.DataFrame
        One row per rule, kind, explainable and simulation: case and planted (of the design), meant (whether rule,
        kind and interval are made for this), value, low, high (95 % interval), truth (the same summary of the true
        scores of this experiment), above_1 and undefined (shares of the voxels' corrected r² of
        single splits). Kinds: "median" as published (median over splits, at most 1, median over a subject's
        voxels; mean over subjects, t interval), "ratio" (mean r² over mean voxel · prediction, voxels and splits
        of a subject; mean over subjects, t interval), "unbiased ratio" (`lib.correction.unbiased_r2` and
        `lib.correction.pooled_ratio`).
    """
    rng = np.random.default_rng(seed)
    size = len(explainable) * design.n_subjects * design.n_voxels * (design.n_repeats + 2)
    step = 1 if design.new_stimuli else max(1, COLUMNS // size)
    tables, stimuli = [], _stimuli(design, rng)
    for start in range(0, n_simulations, step):
        shape = len(explainable), min(step, n_simulations - start), design.n_subjects, design.n_voxels
        stimuli = _stimuli(design, rng) if design.new_stimuli else stimuli
        brain = _brain(stimuli, design, int(np.prod(shape[1:])), explainable, rng)
        layer = stimuli.units / np.sqrt(1 + np.arange(design.n_units))
        splits = [_split(layer, brain, train) for train in stimuli.trains]
        tables += _tables(splits, shape, explainable, start)
    found = pd.concat(tables, ignore_index=True)
    smallest = found["kind"].map(MEANT_FROM).where(found["rule"] != "reliability", RELIABILITY_MEANT_FROM)
    meant = (found["explainable"] >= smallest) & (not design.new_stimuli)
    return found.assign(case=design.case, planted=design.planted, meant=meant)


def summary(found):
    """Bias and coverage of each rule.

    Parameters
    ----------
    found : pandas.DataFrame
        Rows of `experiments`, of several designs one below the other.

    Returns
    -------
    pandas.DataFrame
        One row per case, planted, rule, kind and explainable: planted_r2 (the truth: mean over experiments), bias
        (mean of value less truth of the same experiment) and its standard error bias_se, coverage (share of
        intervals that hold the truth), coverage_low and coverage_high (its exact 95 % binomial interval),
        half_width (mean of the intervals'), above_1, undefined, meant, n_simulations, missing (experiments without
        an interval, which count as not covering).
    """
    rows = []
    for key, part in found.groupby(CONDITION, sort=False):
        truth, error = part["truth"].mean(), part["value"] - part["truth"]
        held = int(((part["low"] <= truth) & (truth <= part["high"])).sum())
        low, high = stats.binomtest(held, len(part)).proportion_ci()
        rows.append(
            {
                **dict(zip(CONDITION, key, strict=True)),
                "planted_r2": truth,
                "bias": error.mean(),
                "bias_se": error.std() / np.sqrt(error.count()),
                "coverage": held / len(part),
                "coverage_low": low,
                "coverage_high": high,
                "half_width": (part["high"] - part["low"]).mean() / 2,
                "above_1": part["above_1"].mean(),
                "undefined": part["undefined"].mean(),
                "meant": bool(part["meant"].all()),
                "n_simulations": len(part),
                "missing": int(part["low"].isna().sum()),
            }
        )
    return pd.DataFrame(rows)


def quotable(table):
    """Rows of numbers.csv about bias and coverage.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of `summary`.

    Returns
    -------
    pandas.DataFrame
        name, value, low, high, n, unit, what.
    """
    parts = table["case"] + "/" + table["kind"]
    parts = parts.str.replace("[ ,%]+", "_", regex=True)
    parts += "/explainable_" + table["explainable"].astype(str) + "_planted_" + table["planted"].astype(str)
    what = table["kind"] + ", " + table["case"] + ", true corrected r² "
    what += table["planted_r2"].round(3).astype(str)
    half = 1.96 * table["bias_se"]
    bias = table["bias"], table["bias"] - half, table["bias"] + half
    coverage = table["coverage"], table["coverage_low"], table["coverage_high"]
    rows = []
    for quantity, said, (value, low, high) in (
        ("bias", "mean error of corrected r², normal interval; ", bias),
        ("coverage", "share of 95 % intervals that hold the truth; ", coverage),
    ):
        name = "encode/simulated/" + table["rule"] + f"/{quantity}/" + parts
        rows.append(
            pd.DataFrame({"name": name, "value": value, "low": low, "high": high, "what": said + what})
        )
    rows = pd.concat([part.assign(n=table["n_simulations"], unit="simulation") for part in rows])
    return rows[inference.QUOTED].reset_index(drop=True)


class _Stimuli(NamedTuple):
    """What experiments with the same stimuli share."""

    units: np.ndarray  # (stimulus, unit), standardised
    common: np.ndarray  # (stimulus, 1), of all brains
    trains: list


def _stimuli(design, rng):
    """Stimuli, as the layer and all brains see them, and their splits."""
    units = rng.standard_normal((design.n_stimuli, design.n_units))
    trains = [rng.permutation(design.n_stimuli) < design.n_train for _ in range(design.n_splits)]
    return _Stimuli(units, rng.standard_normal((design.n_stimuli, 1)), trains)


class _Brain(NamedTuple):
    """Voxels of many experiments, in columns: what is measured of them, and what is true."""

    share: np.ndarray  # (voxel,)
    lasting: np.ndarray  # (stimulus, voxel), what the stimuli determine, in whichever voxels are drawn
    free: np.ndarray  # (voxel,), variance of what each voxel draws
    signal: np.ndarray  # (stimulus, voxel)
    responses: np.ndarray  # (repeat, stimulus, explainable · voxel), NaN where not measured


def _brain(stimuli, design, n_voxels, levels, rng):
    """Voxels of new subjects; the columns of responses run over explainable variances, then voxels."""
    directions = rng.standard_normal((design.n_units, n_voxels))
    subjects = rng.standard_normal(n_voxels // design.n_voxels).repeat(design.n_voxels)
    share = np.clip(design.planted + design.spread * subjects, 0, 1)
    lasting = np.sqrt(share) * (stimuli.units @ (directions / np.linalg.norm(directions, axis=0)))
    lasting += np.sqrt((1 - share) * design.common) * stimuli.common
    free = (1 - share) * (1 - design.common)
    signal = lasting + np.sqrt(free) * rng.standard_normal(lasting.shape)
    noise = np.sqrt(1 / np.asarray(levels) - 1).repeat(n_voxels)
    drawn = rng.standard_normal((design.n_repeats, *signal.shape))
    responses = np.tile(signal, len(levels)) + noise * np.tile(drawn, len(levels))
    if design.unequal:
        number = 1 + rng.permutation(design.n_stimuli) % design.n_repeats
        responses[np.arange(design.n_repeats)[:, None] >= number] = np.nan
    return _Brain(share, lasting, free, signal, responses)


def _split(layer, brain, train):
    """What an analysis finds in each voxel on one split, and the truth, by name."""
    number = np.isfinite(brain.responses).sum(axis=0)
    mean = np.nansum(brain.responses, axis=0) / number
    complete = (number == len(brain.responses)).all()
    targets = np.concatenate([mean, brain.signal, *(brain.responses if complete else ())], axis=1)
    fit = ridge.leave_one_out(layer, targets, train, alphas=ALPHAS)
    ends = np.cumsum([mean.shape[1], brain.signal.shape[1]])
    noisy, clean, single = np.split(fit.predictions[~train], ends, axis=1)
    r = np.where(fit.constant[: ends[0]], 0, metrics.pearson(mean[~train], noisy))
    unbiased = np.where(fit.constant[: ends[0]], 0, correction.unbiased_r2(r, len(noisy)))
    found = {"r2": np.maximum(r, 0) ** 2, "unbiased": unbiased}
    n_levels = mean.shape[1] // brain.signal.shape[1]
    found["truth"] = _truth(brain, noisy, ~train, n_levels)
    found["truth without noise"] = np.tile(_truth(brain, clean, ~train, 1), n_levels)
    single = single.reshape(len(noisy), -1, mean.shape[1]).swapaxes(0, 1)
    for rule in correction.RULES:
        if rule != "reliability" or complete:
            sides = brain.responses[:, train], brain.responses[:, ~train], single
            found[rule] = np.prod(correction.terms(*sides, rule=rule, n_repeats=number.max(axis=0)), axis=0)
    return found


def _truth(brain, predictions, test, n_levels):
    """Squared correlation of signal and prediction, 0 where it is negative; see `experiments`."""
    lasting = brain.lasting[test] - brain.lasting[test].mean(axis=0)
    variance = (lasting**2).sum(axis=0) / (len(lasting) - 1)
    r = metrics.pearson(np.tile(lasting, n_levels), predictions)
    return np.tile(variance / (variance + brain.free), n_levels) * np.fmax(r, 0) ** 2


def _tables(splits, shape, explainable, first):
    """Rows of `experiments` of one batch, a table per rule and kind."""
    found = {name: np.stack([split[name] for split in splits]).reshape(-1, *shape) for name in splits[0]}
    labels = {
        "explainable": np.repeat(explainable, shape[1]),
        "simulation": np.tile(first + np.arange(shape[1]), len(explainable)),
    }
    for rule in correction.RULES:
        if rule in found:
            truth = found["truth without noise" if rule == "reliability" else "truth"]
            corrected = reliability.corrected_r2(np.sqrt(found["r2"]), found[rule], 1)
            odd = {"above_1": (corrected > 1), "undefined": np.isnan(corrected)}
            odd = {name: values.mean(axis=(0, 3, 4)).ravel() for name, values in odd.items()}
            for kind, values in _estimates(found, corrected, rule, truth).items():
                values = {name: value.ravel() for name, value in values.items()}
                yield pd.DataFrame({"rule": rule, "kind": kind, **labels, **values, **odd})


def _estimates(found, corrected, rule, truth):
    """Value, bounds and truth (explainable, simulation) of each kind."""
    means = {name: found[name].mean(axis=(0, 4)) for name in ("r2", "unbiased", rule)}
    over_all = truth.mean(axis=(0, 3, 4))
    kinds = {
        "median": (*_t_interval(_median(corrected)), _median(truth).mean(axis=-1)),
        "ratio": (*_t_interval(means["r2"] / means[rule]), over_all),
        "unbiased ratio": (*correction.pooled_ratio(means["unbiased"], means[rule]), over_all),
    }
    return {kind: dict(zip(("value", "low", "high", "truth"), v, strict=True)) for kind, v in kinds.items()}


def _median(values):
    """Median over splits, at most 1, then over the voxels of a subject."""
    values = xr.DataArray(values, dims=("split", "explainable", "simulation", "subject", "voxel"))
    return metrics.median(layers.over_splits(values, clip=1).values)


def _t_interval(values):
    """Mean over subjects and 95 % bounds by Student's t, without those that are NaN."""
    here = np.isfinite(values)
    n = np.where(here.sum(axis=-1) > 1, here.sum(axis=-1), np.nan)
    mean = np.where(here, values, 0).sum(axis=-1) / n
    squares = np.where(here, (values - mean[..., None]) ** 2, 0).sum(axis=-1)
    half = stats.t.ppf(0.975, n - 1) * np.sqrt(squares / (n - 1) / n)
    return mean, mean - half, mean + half
