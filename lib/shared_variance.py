"""Variance of responses that layers or models explain alone and in common: encoding models of all their unions."""

from functools import partial

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from lib import banded, features, inference, measured, metrics, partition, plugins, rdm_comparison, ridge
from lib import correction as noise

MEANING = {
    "r2": "squared correlation of prediction and mean response, test stimuli, with the sign of the correlation; 0 "
    "where the prediction is constant",
    "ceiling": "share of the mean response that is not noise times that of this union's prediction; NaN with one "
    "repeat",
    "r2_left_out": "explained variance of train stimuli left out when mixture and penalty were chosen",
    "alpha_at_edge": "1 if the penalty is the largest of the grid, 2 if the smallest, else 0",
    "constant_prediction": "1 where nothing beats the train mean, which is then the prediction",
    "weight": "share of each set in the kernel of the union of all sets",
    "part_r2": "r2 of the response that exactly these sets explain, no others; negative by sampling",
    "part_corrected": "the same of r2 / ceiling; NaN where a ceiling is not above 0",
}
THIRDS = {1: ("all",), 2: ("early", "late"), 3: ("early", "middle", "late")}
COLUMNS = ["roi", "part", "score", "value", "low", "high", "n", "unit", "interval", "negative", "undefined"]


def thirds(layers):
    """Layers of a model in three sets: early, middle and late.

    Parameters
    ----------
    layers : sequence of str
        In the model's order.

    Returns
    -------
    dict of str to list of str
        As equal as can be, the earlier ones larger; of two layers early and late, of one layer all.
    """
    names = THIRDS[min(len(layers), 3)]
    return {
        name: [str(layer) for layer in some]
        for name, some in zip(names, np.array_split(layers, len(names)), strict=True)
    }


def bands(source, sets, responses):
    """Stored layers joined into sets, each layer of a set with an equal share, as `encoding` takes them.

    Parameters
    ----------
    source : pathlib.Path
        Features of one model; see `lib.features.extract`. Read in blocks of units.
    sets : dict of str to list of str
        Names of layers.
    responses : xarray.Dataset
        With coordinate `stimulus`, and `train`; stimuli are joined by identifier.

    Returns
    -------
    dict of str to array (n_stimuli, n_columns)

    Raises
    ------
    ValueError
        If a layer or stimulus has no features; the first offenders are named.
    """
    for layer in (layer for members in sets.values() for layer in members):
        plugins.require(layer, features.layers(source), "layer")
    stimuli = measured.stimuli(responses)
    return {
        name: banded.together(
            ridge.compress(features.blocks(source, layer, ids=stimuli)) for layer in members
        )
        for name, members in sets.items()
    }


def encoding(sets, responses, *, alphas=banded.ALPHAS, correction="reliability", published=None, device=None):
    """What each set of features explains of every voxel alone, and what sets explain in common, over all splits.

    Every union of the sets predicts the test stimuli by its own banded ridge, fitted to the train stimuli
    (`banded.unions`); the parts are what the unions' scores differ by (`partition.parts`). Scores keep the sign
    of the correlation, so that chance averages to 0. Each union's score is corrected by the voxel's noise, which
    all share, and by that of its own prediction: the predictions of large unions are noisier, and with one term
    for all, unique variance would be taken for shared.

    Cross-validated scores charge a union for what it must estimate: parts are what these stimuli suffice to
    learn, less than the population's, small unique parts above all.

    Parameters
    ----------
    sets : dict of str to array (n_stimuli, n_columns)
        From one to four, each compressed (`ridge.compress`, or several layers by `banded.together`); rows in the
        order of the responses' stimuli, then those of `test_stimulus` where splits train on all others.
    responses : xarray.Dataset
        `response` (repeat, stimulus, voxel) and `train` (split, stimulus), see `lib.folds.scheme`.
    alphas : array (n_alphas,), optional
        See `banded.leave_one_out`.
    correction, published
        Rule of the noise correction; see `lib.correction.terms`.
    device : str, optional
        Torch device on which the voxels are treated.

    Returns
    -------
    xarray.Dataset
        (union, split, voxel) `r2`, `ceiling`, `r2_left_out`, `alpha_at_edge`, `constant_prediction`; (set, split,
        voxel) `weight`; (part, split, voxel) `part_r2`, `part_corrected`, meanings in `long_name`. Unions and parts
        are named like `early & late`. Coordinates of voxels are kept. Attributes of the responses, and corrected
        (0 if no voxel can be), correction, n_train, n_test.

    Raises
    ------
    ValueError
        If there are no sets or more than four, or their stimuli are not those of the responses.

    References
    ----------
    Dupré la Tour, Eickenberg, Nunez-Elizalde & Gallant (2022), NeuroImage 264:119728 (variance partitioning of
    banded models); de Heer, Huth, Griffiths, Gallant & Theunissen (2017), J Neurosci 37:6539 (partitioning of
    encoding models).
    """
    rows, n_stimuli = measured.trains(responses), responses.sizes["stimulus"]
    _check(sets, rows)
    shown, held_out = measured.shown(responses, correction), measured.held_out(responses, correction)
    columns = measured.columns(shown, rows.shape[1], correction)
    numbers = {"n_repeats": (held_out or shown).number, "n_fitted": shown.number}
    terms = partial(noise.terms, rule=correction, published=published, **numbers)
    splits = []
    for row in rows:
        fits = banded.unions(sets, columns, row, alphas=alphas, device=device)
        test, told = held_out or shown.at(~row), held_out or shown.at(row[:n_stimuli])
        sides = partial(terms, told.repeats, test.repeats)
        splits.append([_scores(fit, row, test.mean, sides) for fit in fits.values()])
    return _labelled(splits, list(sets), responses, rows).assign_attrs(correction=correction)


def summary(found, *, by="roi", level=0.95):
    """Parts of each component, or of each region and all voxels, with intervals.

    Of a group of voxels, each union's score is a ratio of means: mean r2 over voxels and splits by the mean
    ceiling (r2 alone where nothing can be corrected); the parts follow from these. With several subjects: mean over
    subjects of the parts, with t interval; the stimuli are taken as they are. Components, and voxels of one
    subject: interval for other stimuli, from the scatter over splits (`split_interval`).

    Parameters
    ----------
    found : xarray.Dataset
        What `encoding` returned.
    by : str
        Coordinate of voxels that names regions; an empty name is none.
    level : float
        Of confidence, between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        roi (component, region or "all"), part (as in `found`, then "total"), score ("r2_corrected", or "r2" where
        nothing can be corrected), value, low, high, n, unit, interval (how), negative (share of single voxels and
        splits whose part is below 0; kept), undefined (share of them left out because a score or ceiling is NaN).
    """
    sides, rows = _counted(found), []
    subject = found["subject"].values
    for roi, voxels in _regions(found, by):
        here = sides[..., voxels]
        if found.attrs["kind"] == "component" or len(pd.unique(subject[voxels])) == 1:
            table = _over_splits(here, found, level)
        else:
            table = _over_subjects(here, found, level, subject=subject[voxels])
        rows.append(table.assign(roi=roi, **_odd(here, found)))
    score = "r2_corrected" if found.attrs["corrected"] else "r2"
    return pd.concat(rows, ignore_index=True).assign(score=score)[COLUMNS]


def split_interval(values, *, n_train, n_test, level=0.95):
    """Half width of the interval of a mean over random splits of the same stimuli, had other stimuli been shown.

    Splits share stimuli, so their scatter alone is far too small a variance: (1 / n_splits + n_test / n_train) s²
    with s² the variance over splits, and Student's t with n_splits - 1 degrees of freedom. It allows for other
    train stimuli too, which a bootstrap of test stimuli without new fits does not: in simulations of two correlated
    feature spaces, ten random halves of 165 stimuli, the latter covers the expected part in 79 to 90 %, this in 95
    to 99 % (of 60 stimuli, in 92 to 99 %), the more the smaller a part is.

    Parameters
    ----------
    values : array (…, n_splits)
    n_train, n_test : float
        Stimuli per split.
    level : float
        Of confidence, between 0 and 1.

    Returns
    -------
    array (…)
        Unit of the values; NaN with one split or where a value is NaN.

    References
    ----------
    Nadeau & Bengio (2003), Mach Learn 52:239, section 3 (corrected resampled t).
    """
    n_splits = np.shape(values)[-1]
    if n_splits < 2:
        return np.full(np.shape(values)[:-1], np.nan)
    variance = np.var(values, axis=-1, ddof=1) * (1 / n_splits + n_test / n_train)
    return stats.t.ppf((1 + level) / 2, n_splits - 1) * np.sqrt(variance)


def collinearity(sets, responses):
    """How alike the sets are: what one predicts, no other set can explain alone.

    Parameters
    ----------
    sets, responses
        As for `encoding`.

    Returns
    -------
    pandas.DataFrame
        set, other (each other set; "all others" together if there are several), cka (centred kernel alignment of
        all stimuli, unbiased, at most 1), predicted (share of the set's variance over test stimuli that ridge
        from the other predicts, mean over splits; at most 1, below 0 if worse than the mean).

    References
    ----------
    Kornblith, Norouzi, Lee & Hinton (2019), ICML, section 3 (linear regression and CKA as similarities).
    """
    trains = measured.trains(responses)
    _check(sets, trains)
    table = []
    for name, X in sets.items():
        others = {other: Z for other, Z in sets.items() if other != name}
        if len(others) > 1:
            others["all others"] = banded.together(others.values())
        for other, Z in others.items():
            cka = rdm_comparison.cka(X @ X.T, Z @ Z.T)
            predicted = np.mean([_predicted(Z, X, train) for train in trains])
            table.append((name, other, cka, predicted))
    return pd.DataFrame(table, columns=["set", "other", "cka", "predicted"])


def quotable(summaries):
    """Rows of numbers.csv from the summaries of several results.

    Parameters
    ----------
    summaries : pandas.DataFrame
        Rows of `summary`, with columns target, model and beside (the model compared with, "" if layers of one
        model are).

    Returns
    -------
    pandas.DataFrame
        name, value, low, high, n, unit, what.
    """
    rows = summaries.assign(part=summaries["part"].str.replace(" & ", "+"))
    rows["beside"] = ("partition_beside_" + rows["beside"]).where(rows["beside"] != "", "partition")
    pieces = [rows[c].str.replace("/", "_") for c in ("target", "model", "beside", "roi", "part")]
    name = "encode/" + pieces[0].str.cat(pieces[1:], sep="/")
    what = "share of variance explained by exactly these sets of features, cross-validated; 95 % "
    what = what + summaries["interval"] + " interval; " + summaries["negative"].map("{:.1%}".format)
    what = (
        what + " of voxels and splits below 0, " + summaries["undefined"].map("{:.1%}".format) + " undefined"
    )
    return summaries.assign(name=name.str.lower(), what=what)[inference.QUOTED]


def _scores(fit, rows, mean, terms):
    """Variables of one union and split, by name; `terms` takes the predictions by fits on single repeats."""
    predicted = fit.predictions[~rows].reshape(len(mean), -1, mean.shape[1])
    n_voxels = mean.shape[1]
    constant = fit.constant[:n_voxels]
    r = metrics.fit_correlation(mean, predicted[:, 0], constant)
    voxel, prediction = terms(np.moveaxis(predicted[:, 1:], 1, 0))
    return {
        "r2": r * np.abs(r),
        "ceiling": voxel * prediction,
        "r2_left_out": 1 - fit.left_out[:n_voxels],
        "alpha_at_edge": fit.edge[:n_voxels],
        "constant_prediction": constant.astype(np.int8),
        "weight": fit.weights[:, :n_voxels],
    }


def _labelled(splits, names, responses, rows):
    """One data set of all unions and splits, with their parts and the labels of voxels."""
    unions = partition.subsets(names)
    labels = [partition.label(union, names) for union in unions]
    scores = xr.Dataset(coords={"union": labels, "part": labels, "set": names})
    for name in splits[0][0]:
        if name == "weight":
            values = np.stack([split[-1][name] for split in splits], axis=1)
        else:
            values = np.stack([[union[name] for union in split] for split in splits], axis=1)
        scores[name] = ("set" if name == "weight" else "union", "split", "voxel"), values
    dims = "part", "split", "voxel"
    scores["part_r2"] = dims, _parts(scores["r2"].values, unions)
    corrected = scores["r2"] / scores["ceiling"].where(scores["ceiling"] > 0)
    scores["part_corrected"] = dims, _parts(corrected.values, unions)
    for name, values in scores.items():
        values.attrs["long_name"] = MEANING[name]
    kept = {name: c for name, c in responses.coords.items() if set(c.dims) <= {"split", "voxel"}}
    numbers = {"n_train": float(rows.sum(axis=1).mean()), "n_test": float((~rows).sum(axis=1).mean())}
    corrected = int(np.isfinite(scores["ceiling"]).any())
    return scores.assign_coords(kept).assign_attrs(**responses.attrs, **numbers, corrected=corrected)


def _parts(scores, unions):
    """Parts (part, …) of the scores (union, …)."""
    return np.stack(list(partition.parts(dict(zip(unions, scores, strict=True))).values()))


def _regions(found, by):
    """Names and masks of groups of voxels: components one by one, or all voxels and then each region."""
    if found.attrs["kind"] == "component":
        return [(name, found["voxel"].values == name) for name in found["voxel"].values]
    labels = found[by].values
    regions = [(name, labels == name) for name in pd.unique(labels) if name != ""]
    return [("all", np.ones(len(labels), bool)), *regions]


def _counted(found):
    """r2 and ceiling (side, union, split, voxel), NaN where either is for any union; no correction: ceilings of 1."""
    r2, ceiling = (found[name].transpose("union", "split", "voxel").values for name in ("r2", "ceiling"))
    sides = np.stack([r2, ceiling if found.attrs["corrected"] else np.ones_like(r2)])
    return np.where(np.isfinite(sides).all(axis=(0, 1)), sides, np.nan)


def _ratios(sides, found, *, over):
    """Parts and, last, their total (part, …) from ratios of sums over some axes of (side, union, split, voxel)."""
    above, below = np.nansum(sides, axis=over)
    ratio = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
    return np.concatenate([_parts(ratio, partition.subsets(found["set"].values.tolist())), ratio[-1:]])


def _over_splits(sides, found, level):
    """Rows of one subject or component, with the interval from the scatter over splits."""
    sizes = {name: found.attrs[name] for name in ("n_train", "n_test")}
    value = _ratios(sides, found, over=(2, 3))
    half = split_interval(_ratios(sides, found, over=3), level=level, **sizes)
    rows = {"part": _part_names(found), "value": value, "low": value - half, "high": value + half}
    n = round(sum(sizes.values()))
    return pd.DataFrame(rows).assign(n=n, unit="stimulus", interval="corrected t over splits")


def _over_subjects(sides, found, level, *, subject):
    """Rows of several subjects, each of whom is one value."""
    tables = []
    for one in pd.unique(subject):
        value = _ratios(sides[..., subject == one], found, over=(2, 3))
        tables.append(pd.DataFrame({"part": _part_names(found), "value": value, "subject": one}))
    rows = inference.mean_interval(pd.concat(tables), value="value", by=["part"], level=level)
    return rows.assign(interval="t over subjects")


def _part_names(found):
    """Names of the parts, and of their sum."""
    return [*found["part"].values, "total"]


def _odd(sides, found):
    """Shares of single parts that are negative, and of those that are left out, for the rows of a region."""
    r2 = sides[0]
    parts = _parts(r2, partition.subsets(found["set"].values.tolist()))
    shares = partition.negative(dict(enumerate([*parts, r2[-1]])))
    return {"negative": list(shares.values()), "undefined": float(np.isnan(r2[-1]).mean())}


def _predicted(Z, X, train):
    """Share of the variance of X over test stimuli, around the train mean, that ridge from Z predicts."""
    residual = X[~train] - ridge.leave_one_out(Z, X, train).predictions[~train]
    deviation = X[~train] - X[train].mean(axis=0)
    return 1 - (residual**2).sum() / (deviation**2).sum()


def _check(sets, rows):
    """Raise unless there are one to four sets with the right number of rows."""
    if not 1 <= len(sets) <= banded.MOST_BANDS_ON_GRID:
        raise ValueError(
            f"{len(sets)} sets: variance is parted between 1 to {banded.MOST_BANDS_ON_GRID}; join layers into "
            "fewer sets with lib.banded.together"
        )
    wrong = {name: len(X) for name, X in sets.items() if len(X) != rows.shape[1]}
    if wrong:
        raise ValueError(
            f"sets must have {rows.shape[1]} rows, one per stimulus of the responses; not {wrong}"
        )
