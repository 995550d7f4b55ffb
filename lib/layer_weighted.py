"""All layers of a model together: one weight per layer, shared by the voxels of a region, found on train stimuli."""

import contextlib
import functools

import numpy as np
import xarray as xr
from scipy import linalg
from threadpoolctl import threadpool_limits

from lib import encoding, layer_weights, measured, metrics, plugins, ridge

PUBLISHED = ("zhou2022",)

# Penalties of single voxels, as multiples of their region's.
ALPHAS = 10.0 ** np.linspace(6, -4, 41)

MEANING = {
    "layer_weight": "|a|, for layers of mean squared norm 1 and a penalty of 1; 0 where a layer is left out",
    "chosen": "1 for the layer that predicts left-out train stimuli best, else 0",
    "kernel_share": "a² over the sum of all layers' a²",
    "contribution": "correlation of the layer's part alone with the test responses, over the sum of all layers'",
    "part_r": "correlation of the layer's part alone with the test responses, mean over voxels",
    "covariance_share": "covariance of the layer's part with the test responses, over that of all parts",
    "unique": "mean r2 lost when the layer is left out and all others are weighted anew",
    "left_out": "mean squared error of left-out train stimuli, over that of predicting the mean, mean over voxels",
    "gradient": "largest slope of left_out along a log weight that is not at its limit",
    "start_spread": "largest difference of left_out between the solver's starts",
    "converged": "1 where the solver says so",
    "n_evaluations": "number of times the error was evaluated, all starts",
    "n_voxels": "number of voxels that weights were found on",
    "n_constant": "number of voxels left out for constant train responses",
    "n_missing": "number of voxels left out for responses that are not finite",
}


SOLVER = ("left_out", "gradient", "start_spread", "converged", "n_evaluations", "n_voxels")


def encode(layers, responses, *, by=("subject", "roi"), published=None, drop_one=True, **how):
    """Predictions of all voxels from all layers together, each region with its own weight per layer.

    y = b + Σ_l |a_l| W_l x_l with one a per region is ridge regression on layers scaled by |a_l|. Per split
    and region, features are centred and each layer scaled to a mean squared norm of 1 on the train stimuli,
    the weights are found there (`layer_weights.weights`), and each voxel then has its own penalty by
    leave-one-out, as for single layers. Test stimuli are used for the scores alone.

    Parameters
    ----------
    layers : dict of str to array (n_stimuli, n_columns) or (n_splits, n_stimuli, n_columns)
        Each layer as `ridge.compress` gives it, stimuli in the order of the responses, then those of a fixed test
        (`measured.stimuli`); one per split where units are scaled by train stimuli (`standardisation.pieces`). With
        `published`, the features themselves.
    responses : xarray.Dataset
        As for `encoding.encode`; coordinates named in `by` on `voxel`. Voxels of an empty label are left out.
    by : tuple of str
        Voxels that agree in these share layer weights.
    published : {"zhou2022"}, optional
        The published model, loss and training with all its leaks; see `layer_weighted_runs.encode`,
        which takes the other arguments then.
    drop_one : bool
        Whether to find `unique`, which fits as many more models as there are layers.
    **how
        Of `encoding.encode`: `alphas` (multiples of the region's penalty; [1] for one penalty for all its
        voxels), `device` …

    Returns
    -------
    xarray.Dataset
        (split, group, layer) and (split, group): see `MEANING`; `prediction` (split, stimulus, voxel) and
        scores (split, voxel) as from `encoding.encode`. The predictions by which reliability is corrected
        come from single repeats, but with the layer weights of their mean. NaN where a region has no usable
        voxel.

    Raises
    ------
    ValueError
        If layers and responses differ in stimuli or splits, or no voxel has all labels.

    References
    ----------
    Zhou, Du & He (2022), Mach Intell Res 19:439, doi:10.1007/s11633-022-1348-x.
    """
    if published is not None:
        plugins.require(published, PUBLISHED, "published rule")
        from lib import layer_weighted_runs

        return layer_weighted_runs.encode(layers, responses, by=by, published=published, **how)
    region = functools.partial(_weighted_region, drop_one=drop_one)
    return _each(region, layers, responses, by, how)


def single_layer(layers, responses, *, by=("subject", "roi"), **how):
    """Predictions of all voxels from the one layer that predicts their region's left-out train stimuli best.

    Parameters
    ----------
    layers, responses, by, **how
        As for `encode`.

    Returns
    -------
    xarray.Dataset
        `chosen` (split, group, layer), 1 for the layer taken, `left_out` (split, group), and predictions and
        scores as from `encode`.

    Raises
    ------
    ValueError
        As for `encode`.
    """
    return _each(_single_region, layers, responses, by, how)


def _each(region, layers, responses, by, how):
    """Results of a function of one region and split, for all of them, as one data set."""
    trains = measured.trains(responses)
    layers, groups = _checked(layers, trains), _groups(responses, by)
    parts = []
    for split, train in enumerate(trains):
        scaled = _scaled([X[split] for X in layers.values()], train)
        with _threads(train.sum()):
            for voxels in groups.values():
                parts.append(
                    region(scaled, responses.isel(split=[split], voxel=voxels), {"alphas": ALPHAS} | how)
                )
    rows = [parts[start : start + len(groups)] for start in range(0, len(parts), len(groups))]
    exact = {"join": "exact", "coords": "minimal", "compat": "override"}
    voxelwise = [xr.concat([s for s, _ in row], "voxel", data_vars="minimal", **exact) for row in rows]
    dataset = xr.concat(voxelwise, "split", data_vars="minimal", **exact)
    dataset = dataset.isel(voxel=np.argsort(np.concatenate(list(groups.values()))))
    for name, first in parts[0][1].items():
        values = np.array([[numbers[name] for _, numbers in row] for row in rows])
        dims = ("split", "group", "layer")[: 2 + np.ndim(first)]
        dataset[name] = dims, values, {"long_name": MEANING[name]}
    labels = {
        name: ("group", list(values)) for name, values in zip(by, zip(*groups, strict=True), strict=True)
    }
    # Regions and voxels share the names of labels, which each has along its own dimension.
    labels = {f"group_{name}": values for name, values in labels.items()}
    labels |= {"group": ["/".join(names) for names in groups], "layer": list(layers)}
    return dataset.assign_coords(labels)


def _weighted_region(scaled, responses, how, *, drop_one):
    """Scores, and weights and contributions of layers, of one region and split."""
    train, Y, usable, counts = _usable(responses, how)
    if not usable.any():
        return _ridge(scaled, np.zeros(len(scaled)), responses, how), _unknown(len(scaled), drop_one) | counts
    kernels, Y = np.stack([X[train] @ X[train].T for X in scaled]), Y[:, usable]
    found = layer_weights.weights(kernels, Y[train])
    a = np.sqrt(found.squared)
    scores = _ridge(scaled, a, responses, how)
    numbers = {"layer_weight": a, "kernel_share": found.squared / (found.squared.sum() or np.nan)}
    numbers |= _contributions(_parts(scaled, a, Y, train, scores["alpha"].values[0, usable]), Y[~train])
    if drop_one:
        numbers["unique"] = _unique(scaled, kernels, found.squared, Y, train, how["alphas"])
    solver = found._asdict() | {"start_spread": found.spread, "n_voxels": int(usable.sum())}
    return scores, numbers | {name: solver[name] for name in SOLVER} | counts


def _single_region(scaled, responses, how):
    """Scores of the region's best layer, and which it is, in one split."""
    train, Y, usable, counts = _usable(responses, how)
    errors = np.full(len(scaled), np.nan)
    if usable.any():
        columns = layer_weights.columns(Y[np.ix_(train, usable)])
        errors = np.array([layer_weights.scaled_error(X[train] @ X[train].T, columns)[0] for X in scaled])
    best = (errors == np.fmin.reduce(errors)).astype(float)
    scores, chosen = _ridge(scaled, best, responses, how), np.where(np.isnan(errors), np.nan, best)
    return scores, {"chosen": chosen, "left_out": errors.min(), "n_voxels": int(usable.sum())} | counts


def _usable(responses, how):
    """Train rows, mean responses, voxels that vary there and are complete, and counts of the others."""
    rule = how.get("correction", "reliability")
    (train,), held_out = measured.trains(responses), measured.held_out(responses, rule)
    Y = measured.shown(responses, rule).mean
    Y = Y if held_out is None else np.concatenate([Y, held_out.mean])
    missing = np.isnan(Y).any(axis=0)
    constant = (Y[train] == Y[train][:1]).all(axis=0) & ~missing
    counts = {"n_constant": int(constant.sum()), "n_missing": int(missing.sum())}
    return train, Y, ~missing & ~constant, counts


def _unknown(n_layers, drop_one):
    """What is said of a region without a usable voxel."""
    layered = ["layer_weight", "kernel_share", "contribution", "part_r", "covariance_share"]
    layered += ["unique"] * drop_one
    unknown = {name: np.full(n_layers, np.nan) for name in layered} | dict.fromkeys(SOLVER, np.nan)
    return unknown | {"converged": 0, "n_evaluations": 0, "n_voxels": 0}


def _scaled(layers, train):
    """Layers centred and scaled to a mean squared norm of 1 on train stimuli; 0 where they do not vary."""
    scaled = []
    for X in layers:
        X = X - X[train].mean(axis=0)
        size = np.sqrt((X[train] ** 2).sum(axis=1).mean())
        scaled.append(X / size if size > 0 else np.zeros_like(X))
    return scaled


def _ridge(scaled, a, responses, how):
    """Predictions and scores of layers scaled by their weights."""
    X, stimuli = _together(scaled, a), measured.stimuli(responses)
    features = xr.DataArray(X, dims=("stimulus", "unit"), coords={"stimulus": stimuli})
    return encoding.encode(features, responses, **how)


def _together(scaled, a):
    """Columns with the same products between stimuli as all layers, scaled by their weights, side by side."""
    kernel = sum(weight**2 * X @ X.T for weight, X in zip(a, scaled, strict=True) if weight)
    if np.ndim(kernel) == 0:
        return np.zeros((len(scaled[0]), 1))
    values, vectors = linalg.eigh(kernel)
    # Squares keep what is above this, 1e-7 of the largest; every penalty is far above it.
    kept = values > 1e-14 * values[-1]
    return vectors[:, kept] * np.sqrt(values[kept])


def _parts(scaled, a, Y, train, alpha):
    """What each layer adds to the predictions of test stimuli (layer, stimulus, voxel)."""
    weighted = [a_l * X for a_l, X in zip(a, scaled, strict=True)]
    kernel = sum(X[train] @ X[train].T for X in weighted)
    values, vectors = linalg.eigh(kernel)
    projected = vectors.T @ (Y[train] - Y[train].mean(axis=0))
    dual = vectors @ (projected / (np.maximum(values, 0)[:, None] + alpha))
    return np.stack([X[~train] @ (X[train].T @ dual) for X in weighted])


def _contributions(parts, Y):
    """How much of the match with test responses each layer's part makes up, in three ways, where these vary."""
    varies = (Y[:1] != Y).any(axis=0)
    if not varies.any():
        return dict.fromkeys(("part_r", "contribution", "covariance_share"), np.full(len(parts), np.nan))
    parts, Y = parts[:, :, varies], Y[:, varies]
    r = np.stack([np.where(np.ptp(part, axis=0) > 0, metrics.pearson(Y, part), 0) for part in parts])
    r = r.mean(axis=1)
    covariance = np.einsum("lij,ij->l", parts - parts.mean(axis=1, keepdims=True), Y / Y.std(axis=0))
    return {
        "part_r": r,
        "contribution": r / (r.sum() or np.nan),
        "covariance_share": covariance / (covariance.sum() or np.nan),
    }


def _unique(scaled, kernels, squared, Y, train, alphas):
    """Mean r² that is lost when each layer is left out and the others are weighted anew."""

    def r2(kept, squared):
        X = _together([scaled[layer] for layer in kept], np.sqrt(squared))
        fit = ridge.leave_one_out(X, Y, train, alphas=alphas)
        values = metrics.fit_correlation(Y[~train], fit.predictions[~train], fit.constant)
        known = np.isfinite(values)
        return (np.maximum(values[known], 0) ** 2).mean() if known.any() else np.nan

    everything = list(range(len(scaled)))
    whole, lost = r2(everything, squared), []
    for layer in everything:
        kept = [other for other in everything if other != layer]
        if squared[layer] == 0 or not kept:
            lost.append(0.0 if kept else whole)
            continue
        again = layer_weights.weights(kernels[kept], Y[train], start=np.maximum(squared[kept], 1e-3))
        lost.append(whole - r2(kept, again.squared))
    return np.array(lost)


def _groups(responses, by):
    """Positions of the voxels of each group, by its labels, in order of first appearance."""
    labels = np.stack([responses[name].values.astype(str) for name in by])
    groups = {}
    for voxel, names in enumerate(zip(*labels, strict=True)):
        if all(names):
            groups.setdefault(names, []).append(voxel)
    if not groups:
        raise ValueError(
            f"no voxel has all of the labels {list(by)}, so there is no region to weight layers for"
        )
    return groups


def _checked(layers, trains):
    """Layers as (n_splits, n_stimuli, n_columns), or an error naming the first that do not fit."""
    n_splits, n_stimuli = trains.shape
    arrays = {name: np.asarray(X, float) for name, X in layers.items()}
    arrays = {n: np.broadcast_to(X, (n_splits, *X.shape)) if X.ndim == 2 else X for n, X in arrays.items()}
    wrong = [name for name, X in arrays.items() if X.shape[:-1] != trains.shape]
    if wrong or not arrays:
        raise ValueError(
            f"layers are wanted as ({n_stimuli} stimuli, columns), or that for each of {n_splits} splits; "
            f"not so: {plugins.first(wrong) if wrong else 'no layer at all'}"
        )
    bad = [name for name, X in arrays.items() if not np.isfinite(X).all()]
    if bad:
        raise ValueError(f"layers hold values that are not finite: {plugins.first(bad)}")
    return arrays


def _threads(n_stimuli):
    """Context in which small products use one thread, as in `ridge`."""
    small = n_stimuli < ridge.STIMULI_WORTH_THREADS
    return threadpool_limits(1, "blas") if small else contextlib.nullcontext()
