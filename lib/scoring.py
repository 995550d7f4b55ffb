"""One number per region or component: the best layer's score, chosen and read on different splits."""

import pandas as pd
import xarray as xr

from lib import inference, layers

COLUMNS = [
    "part",
    "score",
    "value",
    "low",
    "high",
    "n",
    "unit",
    "interval",
    "position",
    "above_1",
    "undefined",
]


def summary(scores, responses, predictions, *, published=None, n_resamples=1000, rng):
    """Score of the best layer of each component, or each region and all voxels, with an interval.

    The layer is chosen on half of the splits and read on the other half, ten times (`layers.best_layer`).
    Components: each by itself, the mean over iterations; 95 % interval from resampled stimuli, by the same
    halves of the splits, the regression not fitted again. It is an interval of r², which is never negative, and
    no test against 0. Voxels: medians over splits (corrected ones at most 1), median over the voxels of a
    subject (and region), mean over iterations; then mean over subjects with t interval. Without repeats voxels
    are scored by r², uncorrected.

    Parameters
    ----------
    scores : xarray.Dataset
        `r2`, `r2_corrected` (layer, split, voxel), attributes `corrected` and `kind`; see `lib.encoding`.
    responses : xarray.Dataset
        `response` (repeat, stimulus, voxel).
    predictions : iterable of xarray.DataArray (split, stimulus, voxel)
        Of each layer, in the order of the scores' layers; read for components only.
    published : {"tuckute2023"}, optional
        See `layers.selection_splits`.
    n_resamples : int
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        part (component, region or "all"), score ("r2" or "r2_corrected"), value, low, high, n (of units), unit
        (what was resampled or sampled), interval (how), position (mean of the chosen layers' relative position,
        0 the first and 1 the last; NaN for a model of one layer), above_1 and undefined (shares of all layers,
        splits and voxels of the part whose score is above 1 or NaN; both are kept, NaN drops out of medians).
    """
    name = "r2_corrected" if scores.attrs["corrected"] else "r2"
    if scores.attrs["kind"] != "component":
        return _regions(scores[name], published).assign(score=name)[COLUMNS]
    weights = inference.draws(responses.sizes["stimulus"], n_resamples, rng)
    response = responses["response"].mean("repeat")
    low, high = _stimulus_interval(response, predictions, weights, published)
    best = layers.best_layer(scores["r2"], published=published).mean("iteration")
    values = {"value": best["score"], "low": low, "high": high, "position": best["relative_position"]}
    rows = pd.DataFrame({name: value.values for name, value in values.items()})
    found = {"score": "r2", "n": responses.sizes["stimulus"], "unit": "stimulus", "interval": "bootstrap"}
    odd = {"above_1": scores["r2"] > 1, "undefined": scores["r2"].isnull()}
    odd = {kind: where.mean(["layer", "split"]).values for kind, where in odd.items()}
    return rows.assign(part=scores["voxel"].values, **found, **odd)[COLUMNS]


def quotable(summaries):
    """Rows of numbers.csv from the summaries of several results.

    Parameters
    ----------
    summaries : pandas.DataFrame
        Rows of `summary`, with columns target and model.

    Returns
    -------
    pandas.DataFrame
        name, value, low, high, n, unit, what.
    """
    parts = summaries[["target", "model", "score", "part"]].replace("/", "_", regex=True)
    name = "encode/" + parts.agg("/".join, axis=1)
    interval = ("95 % " + summaries["interval"] + " interval").where(
        summaries["low"].notna(), "no interval: n is " + summaries["n"].astype(str)
    )
    odd = ", ".join(f"{{{kind}:.1%}} of scores {kind.replace('_', ' ')}" for kind in ("above_1", "undefined"))
    odd = [odd.format(**row) for row in summaries[["above_1", "undefined"]].to_dict("records")]
    what = (
        "best layer, chosen and read on different splits; "
        + interval
        + "; "
        + pd.Series(odd, summaries.index)
    )
    return summaries.assign(name=name.str.lower(), what=what)[
        ["name", "value", "low", "high", "n", "unit", "what"]
    ]


def _stimulus_interval(response, predictions, weights, published):
    """Bounds of the best layer's score of each voxel, had other stimuli been drawn."""
    drawn = xr.concat([inference.resampled_r2(response, layer, weights) for layer in predictions], "layer")
    drawn = drawn.transpose("layer", "split", "voxel", "resample").values
    copies = xr.DataArray(drawn.reshape(*drawn.shape[:2], -1), dims=("layer", "split", "voxel"))
    again = layers.best_layer(copies, published=published, n_copies=len(weights))["score"].mean("iteration")
    again = xr.DataArray(again.values.reshape(drawn.shape[2:]), dims=("voxel", "resample"))
    return inference.percentile_interval(again, dim="resample")


def _regions(scores, published):
    """Rows of the summary for all voxels and for each region."""
    best = layers.best_layer(scores, clip=1, published=published)[["score", "relative_position"]]
    everywhere = layers.subject_medians(best).mean("iteration").to_dataframe().reset_index().assign(roi="all")
    regions = layers.subject_medians(best, "subject", "roi").mean("iteration").to_dataframe().reset_index()
    table = pd.concat([everywhere, regions]).rename(columns={"roi": "part", "score": "value"})
    rows = inference.mean_interval(table, value="value", by=["part"])
    position = table.groupby("part")["relative_position"].mean()
    odd = xr.Dataset({"above_1": scores > 1, "undefined": scores.isnull()}).mean(["layer", "split"])
    odd = odd[["above_1", "undefined"]].to_dataframe()
    odd = pd.concat([odd.assign(roi="all"), odd]).groupby("roi")[["above_1", "undefined"]].mean()
    return rows.assign(interval="t", position=rows["part"].map(position)).join(odd, on="part")
