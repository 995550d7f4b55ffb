"""Encoding: how well one layer predicts every voxel, split by split, corrected for unreliable responses."""

import numpy as np
import xarray as xr

from lib import metrics, reliability, ridge

BYTES_PER_BLOCK = 64e6

MEANING = {
    "prediction": "predicted mean response of a test stimulus, unit of the response; NaN at train stimuli",
    "r": "correlation of prediction and mean response, test stimuli; 0 where the prediction is constant",
    "r2": "squared r, 0 where r is negative; NaN where the response is constant",
    "r2_train": "the same on the train stimuli",
    "r2_corrected": "r2 / (reliability_voxel * reliability_prediction), not clipped; NaN with one repeat",
    "reliability_voxel": "reliability of the mean response, train stimuli; NaN with one repeat",
    "reliability_prediction": "reliability of the prediction, test stimuli; NaN with one repeat",
    "alpha": "ridge penalty of the mean response; NaN without a complete repeat",
    "alpha_at_edge": "1 if alpha is the largest of the grid, 2 if the smallest, else 0",
    "constant_prediction": "1 where no penalty beats the train mean, which is then the prediction",
    "constant_repeats": "number of repeats whose own fit is constant; they drop out of the reliability",
}


def encode(features, responses, *, alphas=ridge.ALPHAS, published=None, device=None):
    """Predictions and scores of all voxels from one layer, over all splits.

    Ridge with leave-one-out penalties (`ridge.leave_one_out`) on the mean of the repeats and on each repeat,
    then corrected r² = r² / (r'_voxel r'_prediction): r'_voxel from the correlation of repeats over train
    stimuli, r'_prediction from that of predictions by single-repeat fits over test stimuli, both by
    Spearman-Brown. Stimuli are joined by identifier. The layer is read in blocks of units.

    Parameters
    ----------
    features : xarray.DataArray (stimulus, unit)
        One layer, with coordinate `stimulus`; may lie on disk.
    responses : xarray.Dataset
        `response` (repeat, stimulus, voxel) and bool `train` (split, stimulus), with coordinate `stimulus`. A
        repeat of a voxel that is not finite throughout is left out for that voxel.
    alphas : array (n_alphas,), optional
        Penalties > 0.
    published : {"tuckute2023"}, optional
        The published treatment of low reliabilities; see `reliability.reliability`.
    device : str, optional
        Torch device, for instance "cuda"; float64 there as here. Default: NumPy.

    Returns
    -------
    xarray.Dataset
        `prediction` (split, stimulus, voxel), float32; the other variables (split, voxel), each with its
        meaning in the attribute `long_name`. `n_repeats` (voxel) counts the complete repeats. Coordinates of
        voxels are kept.

    Raises
    ------
    ValueError
        If stimuli of features and responses differ (the first offenders named), or a split or a feature
        cannot be used (see `ridge`).

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (regression, noise
    correction).
    """
    X = _layer(features, responses)
    Y = responses["response"].transpose("repeat", "stimulus", "voxel").values
    trains = responses["train"].transpose("split", "stimulus").values.astype(bool)
    repeats, mean, n_repeats = _complete(Y)
    targets = np.concatenate([mean[None], repeats]) if len(Y) > 1 else mean[None]
    columns = np.moveaxis(targets, 0, 1).reshape(len(X), -1)
    splits = []
    for train in trains:
        fit = ridge.leave_one_out(X, columns, train, alphas=alphas, device=device)
        splits.append(_scores(fit, targets, train, n_repeats, published))
    return _labelled(splits, responses, n_repeats)


def pooled_r2(scores):
    """Explained variance of a group of voxels as a share of what could be explained: a ratio of means.

    Mean r² over voxels, divided by the mean product of reliabilities. The mean of the voxels' own ratios is
    biased upwards where reliabilities are low and vary by chance; this is not.

    Parameters
    ----------
    scores : xarray.Dataset
        What `encode` returned, or the voxels of one subject or region of it.

    Returns
    -------
    xarray.DataArray (split)
        At least 0, not clipped; voxels whose `r2_corrected` is NaN drop out, NaN where none is left.
    """
    ceiling = scores["reliability_voxel"] * scores["reliability_prediction"]
    counted = scores["r2_corrected"].notnull()
    return scores["r2"].where(counted).mean("voxel") / ceiling.where(counted).mean("voxel")


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
    """The layer, compressed, its rows in the order of the responses' stimuli; held-out stimuli are left out."""
    features = features.transpose("stimulus", ...)
    stimuli = responses["stimulus"].values
    held_out = responses["test_stimulus"].values if "test_stimulus" in responses.variables else ()
    row = {name: index for index, name in enumerate(features["stimulus"].values)}
    missing = [name for name in stimuli if name not in row]
    extra = sorted(set(row).difference(stimuli, held_out))
    if missing or extra or len(row) != features.sizes["stimulus"]:
        raise ValueError(
            f"features and responses must hold the same stimuli, each once; without features: {missing[:3]} "
            f"({len(missing)} in all), without responses: {extra[:3]} ({len(extra)} in all)"
        )
    return ridge.compress(blocks(features))[[row[name] for name in stimuli]]


def _complete(Y):
    """Repeats with incomplete ones as NaN, the mean of the complete ones, and their number per voxel."""
    complete = np.isfinite(Y).all(axis=1, keepdims=True)
    n_repeats = complete.sum(axis=0)[0]
    total = np.where(complete, Y, 0).sum(axis=0)
    mean = np.where(n_repeats > 0, total / np.maximum(n_repeats, 1), np.nan)
    return np.where(complete, Y, np.nan), mean, n_repeats


def _scores(fit, targets, train, n_repeats, published):
    """Variables of one split, by name, from the fits of all targets (mean, then single repeats)."""
    shape = targets[:, 0].shape
    predictions, fitted = (rows.reshape(-1, *shape) for rows in (fit.predictions, fit.fitted))
    alpha, edge, constant = (values.reshape(shape) for values in (fit.alpha, fit.edge, fit.constant))
    mean, predicted = targets[0], predictions[:, 0]
    r = _correlation(mean[~train], predicted[~train], constant[0])
    voxel = _reliability(targets[1:, train], n_repeats, published)
    # A constant prediction has no correlation, so its pairs drop out.
    prediction = _reliability(np.moveaxis(predictions[~train, 1:], 1, 0), n_repeats, published)
    return {
        "prediction": predicted.astype(np.float32),
        "r": r,
        "r2": np.maximum(r, 0) ** 2,
        "r2_train": np.maximum(_correlation(mean[train], fitted[train, 0], constant[0]), 0) ** 2,
        "r2_corrected": reliability.corrected_r2(r, voxel, prediction),
        "reliability_voxel": voxel,
        "reliability_prediction": prediction,
        "alpha": alpha[0],
        "alpha_at_edge": edge[0],
        "constant_prediction": constant[0].astype(np.int8),
        "constant_repeats": constant[1:].sum(axis=0).astype(np.int8),
    }


def _correlation(Y, Y_hat, constant):
    """Pearson correlation, 0 for a constant prediction of responses that do vary."""
    r = metrics.pearson(Y, Y_hat)
    return np.where(constant & (Y[:1] != Y).any(axis=0), 0, r)


def _reliability(Y, n_repeats, published):
    """Reliability of the mean of the complete repeats, NaN where there are not two."""
    if not len(Y):
        return np.full(n_repeats.shape, np.nan)
    r = reliability.single_repeat_reliability(Y)
    value = reliability.reliability(r, n_repeats, Y.shape[1], published=published)
    return np.where(n_repeats > 1, value, np.nan)


def _labelled(splits, responses, n_repeats):
    """One data set of all splits, with the responses' labels of splits, stimuli and voxels."""
    scores = xr.Dataset(attrs={**responses.attrs, "corrected": int((n_repeats > 1).any())})
    for name in splits[0]:
        dims = ("split", "stimulus", "voxel") if name == "prediction" else ("split", "voxel")
        scores[name] = dims, np.stack([split[name] for split in splits]), {"long_name": MEANING[name]}
    scores["n_repeats"] = "voxel", n_repeats, {"long_name": "number of complete repeats"}
    kept = {"split", "stimulus", "voxel"}
    return scores.assign_coords({name: c for name, c in responses.coords.items() if set(c.dims) <= kept})
