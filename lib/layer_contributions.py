"""Which layers make up a joint prediction, and what it gains: tables, a comparison of methods, planted weights."""

import numpy as np
import pandas as pd
import xarray as xr

from lib import banded, inference, layer_weighted, layers, measured, metrics


def table(scores):
    """Weights and contributions of layers as rows, averaged over splits.

    Parameters
    ----------
    scores : xarray.Dataset
        What `layer_weighted.encode` or `layer_weighted.single_layer` returned.

    Returns
    -------
    pandas.DataFrame
        A row per group and layer: the labels of the group, layer, each variable of (split, group, layer) and of
        (split, group), its mean over splits. NaN drops out.
    """
    kept = {("split", "group"), ("split", "group", "layer")}
    named = [name for name, variable in scores.data_vars.items() if variable.dims in kept]
    labels = [name for name in scores.coords if name.startswith("group_")]
    rows = scores[named].mean("split").reset_coords(labels).to_dataframe(dim_order=["group", "layer"])
    rows = rows.reset_index()[[*labels, "layer", *named]]
    return rows.rename(columns=lambda name: name.removeprefix("group_"))


def banded_scores(columns, responses, *, device=None):
    """Held-out scores of banded ridge, a weight per layer and voxel, on the same splits.

    Parameters
    ----------
    columns : dict of str to array (n_stimuli, n_columns)
        Compressed layers, stimuli in the order of the responses (`measured.stimuli`).
    responses : xarray.Dataset
        As for `layer_weighted.encode`.
    device : str, optional

    Returns
    -------
    xarray.Dataset
        `r`, 0 for a constant prediction, and `r2`, 0 where r is negative (split, voxel); NaN for voxels that
        are constant or not finite.
    """
    trains, shown, held_out = (
        measured.trains(responses),
        measured.shown(responses),
        measured.held_out(responses),
    )
    Y, r = shown.mean if held_out is None else np.concatenate([shown.mean, held_out.mean]), []
    for train in trains:
        fit = banded.leave_one_out(list(columns.values()), Y, train, device=device)
        r.append(metrics.fit_correlation(Y[~train], fit.predictions[~train], fit.constant))
    coords = {name: c for name, c in responses.coords.items() if set(c.dims) <= {"split", "voxel"}}
    r = xr.DataArray(np.array(r), dims=("split", "voxel"), coords=coords)
    return xr.Dataset({"r": r, "r2": np.maximum(r, 0) ** 2})


def methods(scores, *, score="r2"):
    """Scores of several methods on the same splits: median over splits, then over a subject's voxels.

    Parameters
    ----------
    scores : dict of str to xarray.Dataset
        By method, each with the score as (split, voxel).
    score : str

    Returns
    -------
    pandas.DataFrame
        method, subject, roi, value, and mean (over the subjects of a region); methods in their order.
    """
    rows = []
    for method, found in scores.items():
        medians = layers.subject_medians(layers.over_splits(found[score]), "subject", "roi")
        frame = medians.to_dataframe("value").reset_index().dropna(subset="value")
        rows.append(frame[["subject", "roi", "value"]].assign(method=method))
    table = pd.concat(rows, ignore_index=True)
    means = table.groupby(["method", "roi"])["value"].transform("mean")
    return table.assign(mean=means)[["method", "subject", "roi", "value", "mean"]]


def shown(shares, compared, planted, *, measures=("kernel_share", "contribution")):
    """One tidy table of what a figure shows: measures of layers, and the scores of methods.

    Parameters
    ----------
    shares : pandas.DataFrame
        What `table` returned for each result, with columns target and model.
    compared : pandas.DataFrame
        What `methods` returned for each, likewise.
    planted : dict
        (target, model) → {roi: layer} where the truth is known.
    measures : sequence of str
        Columns of `shares`.

    Returns
    -------
    pandas.DataFrame
        panel (a measure or "scores"), target, model, subject, roi, layer, true_layer, value, method, mean, and
        layers: all layers of the model in order, comma-separated.
    """
    keys = ["target", "model", "subject", "roi", "layer"]
    panels = [shares[keys].assign(value=shares[measure], panel=measure) for measure in measures]
    table = pd.concat([*panels, compared.assign(panel="scores")], ignore_index=True)
    names = list(zip(table["target"], table["model"], strict=True))
    ordered = shares.groupby(["target", "model"])["layer"].agg(lambda names: ",".join(names.unique()))
    true = [planted.get(name, {}).get(roi) for name, roi in zip(names, table["roi"], strict=True)]
    return table.assign(true_layer=true, layers=[ordered[name] for name in names])


def quotable(rows, compared, *, target, model, share="kernel_share"):
    """Numbers worth quoting: each region's strongest layer, and what each method gains over the last.

    Parameters
    ----------
    rows : pandas.DataFrame
        What `table` returned, with subject and roi.
    compared : pandas.DataFrame
        What `methods` returned; the last method is the one that others are compared with.
    target, model : str
    share : str
        Column by which layers are ranked.

    Returns
    -------
    pandas.DataFrame
        name, value, low, high, n, unit, what; means over subjects with t intervals (NaN with one subject).
    """
    quoted, start = [], f"encode/{target}/{model}/layer weighted"
    for roi, region in rows.groupby("roi", sort=False):
        top = region.groupby("layer", sort=False)[share].mean().idxmax()
        found = region[region["layer"] == top].assign(part=roi)
        what = f"{layer_weighted.MEANING[share]}: the largest of {region['layer'].nunique()} layers, {top}"
        quoted.append(_quoted(f"{start} {share}/{roi}/{top}", found.rename(columns={share: "value"}), what))
    subjects = compared.pivot_table(index="subject", columns="method", values="value", sort=False)
    last = subjects.columns[-1]
    for method in subjects.columns:
        found = subjects[method].rename("value").reset_index().assign(part=method)
        what = f"r², {method}: median over splits and voxels, mean over regions"
        quoted.append(_quoted(f"{start} r2/{method}", found, what))
        if method != last:
            gained = (subjects[method] - subjects[last]).rename("value").reset_index().assign(part=method)
            quoted.append(_quoted(f"{start} gain/{method}", gained, f"the same, less that of {last}"))
    return pd.DataFrame(quoted)


def recovered(shares, *, n_draws=20, n_stimuli=160, n_train=100, n_units=60, n_voxels=40, explainable=0.5):
    """Planted weights found again: unrelated layers that carry known shares of every voxel's signal.

    Parameters
    ----------
    shares : sequence of float
        Of each layer, of the variance that is not noise; sum 1.
    n_draws : int
        Independent data sets, seeded by their number.
    n_stimuli, n_train, n_units, n_voxels : int
    explainable : float
        Share of the responses' variance that is not noise.

    Returns
    -------
    pandas.DataFrame
        draw, layer, planted, method, value: `kernel_share` and `covariance_share` of the layer-weighted model,
        mean weight over voxels of banded ridge, 1 for the best single layer.
    pandas.DataFrame
        draw, method, r: held-out correlation, mean over voxels, the same split for all.
    """
    found, scores = [], []
    for draw in range(n_draws):
        rng = np.random.default_rng(draw)
        columns = {f"layer{i + 1}": rng.standard_normal((n_stimuli, n_units)) for i in range(len(shares))}
        Y = np.sqrt(1 / explainable - 1) * rng.standard_normal((n_stimuli, n_voxels))
        for share, X in zip(shares, columns.values(), strict=True):
            Y += np.sqrt(share / n_units) * X @ rng.standard_normal((n_units, n_voxels))
        train = np.arange(n_stimuli) < n_train
        joint, single, bands, r = _fits(columns, _responses(Y, train), train, Y)
        values = {name: joint[name].values[0, 0] for name in ("kernel_share", "covariance_share")}
        values |= {
            "banded weight": bands.weights.mean(axis=1),
            "best single layer": single["chosen"].values[0, 0],
        }
        for method, parts in values.items():
            part = {"draw": draw, "layer": list(columns), "planted": list(shares), "method": method}
            found.append(pd.DataFrame(part | {"value": parts}))
        scores.append(pd.DataFrame({"draw": draw, "method": list(r), "r": list(r.values())}))
    return pd.concat(found, ignore_index=True), pd.concat(scores, ignore_index=True)


def _fits(columns, responses, train, Y):
    """Fits of all three methods and their mean held-out correlations."""
    joint = layer_weighted.encode(columns, responses, drop_one=False)
    single = layer_weighted.single_layer(columns, responses)
    bands = banded.leave_one_out(list(columns.values()), Y, train)
    r = metrics.pearson(Y[~train], bands.predictions[~train])
    r = {
        "all layers, weighted by region": joint["r"].mean().item(),
        "banded ridge": float(np.where(bands.constant, 0, r).mean()),
        "best single layer": single["r"].mean().item(),
    }
    return joint, single, bands, r


def _responses(Y, train):
    """Responses of one subject and region."""
    names = {"subject": "one", "roi": "one"}
    return xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), Y[None]),
            "train": (("split", "stimulus"), train[None]),
        },
        coords={"stimulus": [f"s{i}" for i in range(len(Y))]}
        | {name: ("voxel", [value] * Y.shape[1]) for name, value in names.items()},
    )


def _quoted(name, rows, what):
    """One number with its interval over subjects."""
    interval = inference.mean_interval(rows.dropna(subset="value"), value="value", by=["part"]).iloc[0]
    number = {"name": name.lower(), "value": interval["value"], "unit": "subject", "what": what}
    return number | {"low": interval["low"], "high": interval["high"], "n": interval["n"]}
