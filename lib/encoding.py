"""Encoding: how well one layer predicts every voxel, split by split, corrected for unreliable responses."""

import numpy as np
import pandas as pd
import xarray as xr

from lib import folds, measured, metrics, plugins, reliability, ridge
from lib.correction import terms

BYTES_PER_BLOCK = 64e6
PENALTIES = ("leave-one-out", "kfold", "leave-one-run-out")
INNER_FOLDS = 5

MEANING = {
    "prediction": "predicted mean response of a test stimulus, unit of the response; NaN at train stimuli",
    "r": "correlation of prediction and mean response, test stimuli; 0 where the prediction is constant",
    "r2": "squared r, 0 where r is negative; NaN where the response is constant",
    "r2_train": "the same on the train stimuli",
    "r2_left_out": "explained variance of train stimuli left out when the penalty was chosen; negative if worse "
    "than their mean",
    "r2_corrected": "r2 / (reliability_voxel * reliability_prediction), not clipped; NaN with one repeat, or where "
    "that product is not above 0",
    "reliability_voxel": "share of the mean response that is not noise (see attribute correction); NaN with one "
    "repeat",
    "reliability_prediction": "the same of the prediction, test stimuli; NaN with one repeat",
    "alpha": "ridge penalty of the mean response; NaN without a complete repeat",
    "alpha_at_edge": "1 if alpha is the largest of the grid, 2 if the smallest, else 0",
    "constant_prediction": "1 where no penalty beats the train mean, which is then the prediction",
    "constant_repeats": "number of repeats whose own fit is constant; they drop out of the reliability",
    "constant_response": "1 where the mean response is the same to all test stimuli",
    "n_repeats": "number of complete repeats, or if other repeats are used too, the smallest of any stimulus",
    "constant_units": "number of units that are the same for all stimuli",
}


def encode(
    features,
    responses,
    *,
    alphas=ridge.ALPHAS,
    penalty="leave-one-out",
    correction="reliability",
    published=None,
    device=None,
):
    """Predictions and scores of all voxels from one layer, over all splits.

    Ridge (`ridge.leave_one_out`) on the mean of the repeats, and r² of its predictions of the test stimuli,
    corrected for noise: r² / (r'_voxel r'_prediction), see `correction.terms`. By the rule "reliability",
    r'_voxel comes from the correlation of repeats over train stimuli, r'_prediction from that of predictions by
    fits on single repeats over test stimuli. Stimuli are joined by identifier. The layer is read in blocks of
    units.

    A split that trains on all stimuli is tested on `test_response`: its own stimuli, repeats and reliability
    (r'_voxel over test stimuli then).

    Parameters
    ----------
    features : xarray.DataArray (stimulus, unit)
        One layer, with coordinate `stimulus`; may lie on disk.
    responses : xarray.Dataset
        `response` (repeat, stimulus, voxel) and bool `train` (split, stimulus), with coordinate `stimulus`; see
        `folds.scheme`. By the rule "reliability" a repeat of a voxel that is not finite throughout is left out
        for that voxel; by the others each stimulus has the mean of the repeats it has.
    alphas : array (n_alphas,), optional
        Penalties > 0.
    penalty : {"leave-one-out", "kfold", "leave-one-run-out"}
        What is left out together of the train stimuli to choose a penalty: single stimuli; one of five random
        parts (keeping stimuli of one `group` together, if they have that coordinate); a `run`.
    correction : {"reliability", "split-half", "ncsnr", "explainable-variance"}
        Rule of the noise correction.
    published : str, optional
        The rule as published, "tuckute2023" of "reliability"; see `correction.terms`.
    device : str, optional
        Torch device, for instance "cuda"; float64 there as here. Default: NumPy.

    Returns
    -------
    xarray.Dataset
        `prediction` (split, stimulus, voxel), float32, of the test stimuli alone if they are those of
        `test_response`; the other variables (split, voxel), each with its meaning in the attribute `long_name`;
        `n_repeats` (voxel); `constant_units`. Coordinates of voxels are kept. Attributes: those of the
        responses, `correction`, and `corrected`: 0 if no voxel can be corrected (one repeat), else 1.

    Raises
    ------
    ValueError
        If stimuli of features and responses differ (the first offenders named), there is no such choice or
        rule, or a split or a feature cannot be used (see `ridge`).

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (regression, noise
    correction).
    """
    plugins.require(penalty, PENALTIES, "choice of penalty")
    trains, held_out = measured.trains(responses), measured.held_out(responses, correction)
    X, n_constant = _layer(features, responses)
    shown = measured.shown(responses, correction)
    columns, splits = measured.columns(shown, len(X), correction), []
    for rows in trains:
        left_out = _left_out_together(responses, rows, penalty)
        fit = ridge.leave_one_out(X, columns, rows, alphas=alphas, groups=left_out, device=device)
        train = shown.at(rows[: responses.sizes["stimulus"]])
        test = held_out or shown.at(~rows)
        found = _scores(fit, rows, (train, test, held_out or train), rule=correction, published=published)
        predicted = fit.predictions[~rows if held_out else ...]
        splits.append(found | {"prediction": predicted[:, : responses.sizes["voxel"]].astype(np.float32)})
    scores = _labelled(splits, responses, (held_out or shown).number)
    scores["constant_units"] = (), n_constant, {"long_name": MEANING["constant_units"]}
    ceiling = scores["reliability_voxel"] * scores["reliability_prediction"]
    return scores.assign_attrs(correction=correction, corrected=int(np.isfinite(ceiling).any()))


def counts(scores):
    """How often something was out of the ordinary in an encoding.

    Parameters
    ----------
    scores : xarray.Dataset
        What `encode` returned, or several such, concatenated along a dimension `layer`.

    Returns
    -------
    pandas.DataFrame
        Columns quantity (a short name), what (in words), count, of: the last is the number of cases looked at.
    """
    voxels = scores["n_repeats"].isel(layer=0) if "layer" in scores["n_repeats"].dims else scores["n_repeats"]
    cases = {
        "no_repeat": ("voxels without a complete repeat", voxels == 0),
        "one_repeat": ("voxels with one repeat, which cannot be corrected", voxels == 1),
        "constant_response": ("constant responses, undefined score", scores["constant_response"] == 1),
        "alpha_largest": ("penalties at the largest of the grid", scores["alpha_at_edge"] == 1),
        "alpha_smallest": ("penalties at the smallest of the grid", scores["alpha_at_edge"] == 2),
        "constant_prediction": ("constant predictions, score 0", scores["constant_prediction"] == 1),
        "undefined": ("undefined scores", np.isnan(scores["r2"])),
        "undefined_corrected": ("undefined corrected scores", np.isnan(scores["r2_corrected"])),
        "above_1": ("corrected scores above 1", scores["r2_corrected"] > 1),
        "constant_units": ("layers with units that do not vary", scores["constant_units"] > 0),
    }
    rows = [(name, what, int(where.sum()), where.size) for name, (what, where) in cases.items()]
    return pd.DataFrame(rows, columns=["quantity", "what", "count", "of"])


def quotable(counted):
    """Rows of numbers.csv from what was counted in several results.

    Parameters
    ----------
    counted : pandas.DataFrame
        Rows of `counts`, with columns target and model.

    Returns
    -------
    pandas.DataFrame
        name, value (a share), low and high (NaN: nothing is sampled), n, unit, what.
    """
    name = "encode/" + counted[["target", "model", "quantity"]].agg("/".join, axis=1)
    unit = counted["quantity"].map({"no_repeat": "voxel", "one_repeat": "voxel", "constant_units": "layer"})
    return pd.DataFrame(
        {
            "name": name.str.lower(),
            "value": counted["count"] / counted["of"],
            "low": np.nan,
            "high": np.nan,
            "n": counted["of"],
            "unit": unit.fillna("layer x split x voxel"),
            "what": "share of " + counted["what"],
        }
    )


def pooled_r2(scores):
    """Explained variance of a group of voxels as a share of what could be explained: a ratio of means.

    Mean r² over voxels, divided by the mean product of reliabilities. The mean of the voxels' own ratios is
    biased upwards where reliabilities are low and vary by chance. This is so only by what chance adds to r² itself,
    of the order of 1 / number of test stimuli; `lib.correction.pooled_interval` is without that.

    Parameters
    ----------
    scores : xarray.Dataset
        What `encode` returned, or the voxels of one subject or region of it.

    Returns
    -------
    xarray.DataArray (split)
        Not clipped. Voxels whose score or reliability is NaN drop out; reliabilities that chance made negative
        count. NaN where no voxel is left, or the mean product is not above 0.
    """
    ceiling = scores["reliability_voxel"] * scores["reliability_prediction"]
    counted = np.isfinite(scores["r2"] * ceiling)
    mean = ceiling.where(counted).mean("voxel")
    return scores["r2"].where(counted).mean("voxel") / mean.where(mean > 0)


def blocks(layer):
    """Pieces of a layer, some tens of megabytes each, in the order of its units.

    Parameters
    ----------
    layer : xarray.DataArray (stimulus, unit)

    Yields
    ------
    array (n_stimuli, n_units_of_block)
    """
    step = max(1, int(BYTES_PER_BLOCK // (8 * len(layer))))
    for start in range(0, layer.shape[1], step):
        yield layer[:, start : start + step].values


def _layer(features, responses):
    """The layer, compressed, and its number of constant units.

    Rows are in the order of the responses' stimuli, then of the stimuli tested; others held out are left alone.
    """
    features = features.transpose("stimulus", ...)
    stimuli = measured.stimuli(responses)
    held_out = responses["test_stimulus"].values.tolist() if "test_stimulus" in responses.variables else ()
    row = {name: index for index, name in enumerate(features["stimulus"].values.tolist())}
    missing = [name for name in stimuli if name not in row]
    extra = sorted(set(row).difference(stimuli, held_out))
    if missing or extra or len(row) != features.sizes["stimulus"]:
        raise ValueError(
            f"features and responses must hold the same stimuli, each once; without features: {missing[:3]} "
            f"({len(missing)} in all), without responses: {extra[:3]} ({len(extra)} in all)"
        )
    n_constant = []

    def counted():
        for block in blocks(features):
            n_constant.append((block == block[:1]).all(axis=0).sum())
            yield block

    return ridge.compress(counted())[[row[name] for name in stimuli]], int(sum(n_constant))


def _left_out_together(responses, rows, penalty):
    """Label of each row: what is left out together when the penalty is chosen; None for single stimuli."""
    if penalty == "leave-one-out":
        return None
    if penalty == "leave-one-run-out":
        labels = folds.runs(responses)
    else:
        train = rows[: responses.sizes["stimulus"]]
        stimuli = responses.isel(stimulus=train)
        groups = stimuli["group"].values if "group" in stimuli.coords else None
        labels = np.full(len(train), -1)
        labels[train] = folds.parts(stimuli["stimulus"].values, INNER_FOLDS, groups=groups)
    return np.append(labels, np.repeat(labels[:1], len(rows) - len(labels)))


def _scores(fit, rows, sides, *, rule, published):
    """Variables of one split, by name, from the fits of the mean and, if any, of single repeats.

    The sides are the responses to train and to test stimuli, and those that tell how reliable voxels are.
    """
    train, test, told = sides
    shape = -1, test.mean.shape[1]
    tested = fit.predictions[~rows].reshape(len(test.mean), *shape)
    alpha, edge, constant, r_train, left_out = (values.reshape(shape) for values in fit[1:])
    r = metrics.fit_correlation(test.mean, tested[:, 0], constant[0])
    singles = np.moveaxis(tested[:, 1:], 1, 0)  # a constant one has no correlation, so its pairs drop out
    numbers = {"n_repeats": told.number, "n_fitted": train.number}
    voxel, both = terms(told.repeats, test.repeats, singles, rule=rule, published=published, **numbers)
    return {
        "r": r,
        "r2": np.maximum(r, 0) ** 2,
        "r2_train": np.maximum(r_train[0], 0) ** 2,
        "r2_left_out": 1 - left_out[0],
        "r2_corrected": np.where(voxel * both > 0, reliability.corrected_r2(r, voxel, both), np.nan),
        "reliability_voxel": voxel,
        "reliability_prediction": both,
        "alpha": alpha[0],
        "alpha_at_edge": edge[0],
        "constant_prediction": constant[0].astype(np.int8),
        "constant_repeats": constant[1:].sum(axis=0).astype(np.int8),
        "constant_response": (test.mean[:1] == test.mean).all(axis=0).astype(np.int8),
    }


def _labelled(splits, responses, n_repeats):
    """One data set of all splits, with the responses' labels of splits, stimuli and voxels."""
    scores = xr.Dataset(attrs=responses.attrs)
    for name in splits[0]:
        dims = ("split", "stimulus", "voxel") if name == "prediction" else ("split", "voxel")
        scores[name] = dims, np.stack([split[name] for split in splits]), {"long_name": MEANING[name]}
    scores["n_repeats"] = "voxel", n_repeats, {"long_name": MEANING["n_repeats"]}
    if scores.sizes["stimulus"] != responses.sizes["stimulus"]:
        responses = responses.drop_dims("stimulus").rename(test_stimulus="stimulus")
    kept = {"split", "stimulus", "voxel"}
    return scores.assign_coords({name: c for name, c in responses.coords.items() if set(c.dims) <= kept})
