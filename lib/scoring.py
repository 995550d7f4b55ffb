"""One number per region or component: the best layer's score, chosen and read on different splits."""

import pandas as pd
import xarray as xr

from lib import inference, layers

COLUMNS = ["part", "score", "value", "low", "high", "n", "unit", "interval", "position"]


def summary(scores, responses, predictions, *, published=None, n_resamples=1000, rng):
    """Score of the best layer of each component, or each region and all voxels, with an interval.

    The layer is chosen on half of the splits and read on the other half, ten times (`layers.best_layer`).
    Without repeats: each voxel (component) by itself, the mean over iterations; 95 % interval from resampled
    stimuli, the regression not fitted again. With repeats: corrected, medians over splits at most 1, median
    over the voxels of a subject (and region), mean over iterations; then mean over subjects with t interval.

    Parameters
    ----------
    scores : xarray.Dataset
        `r2`, `r2_corrected` (layer, split, voxel), attribute `corrected`; see `lib.encoding`.
    responses : xarray.Dataset
        `response` (repeat, stimulus, voxel).
    predictions : list of xarray.DataArray (split, stimulus, voxel)
        Of each layer, in the order of the scores' layers.
    published : {"tuckute2023"}, optional
        See `layers.selection_splits`.
    n_resamples : int
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        part (component, region or "all"), score ("r2" or "r2_corrected"), value, low, high, n (of units), unit
        (what was resampled or sampled), interval (how), position (mean of the chosen layers' relative position,
        0 the first and 1 the last; NaN for a model of one layer).
    """
    if scores.attrs["corrected"]:
        return _regions(scores["r2_corrected"], published)[COLUMNS]
    weights = inference.draws(responses.sizes["stimulus"], n_resamples, rng)
    low, high = _stimulus_interval(responses["response"].mean("repeat"), predictions, weights)
    best = layers.best_layer(scores["r2"], published=published).mean("iteration")
    values = {"value": best["score"], "low": low, "high": high, "position": best["relative_position"]}
    rows = pd.DataFrame({name: value.values for name, value in values.items()})
    found = {"score": "r2", "n": responses.sizes["stimulus"], "unit": "stimulus", "interval": "bootstrap"}
    return rows.assign(part=scores["voxel"].values, **found)[COLUMNS]


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
    name = "encode/" + summaries[["target", "model", "score", "part"]].agg("/".join, axis=1)
    interval = ("95 % " + summaries["interval"] + " interval").where(
        summaries["low"].notna(), "no interval: n is " + summaries["n"].astype(str)
    )
    what = "best layer, chosen and read on different splits; " + interval
    return summaries.assign(name=name.str.lower(), what=what)[
        ["name", "value", "low", "high", "n", "unit", "what"]
    ]


def _stimulus_interval(response, predictions, weights):
    """Bounds of the best layer's score of each voxel, had other stimuli been drawn."""
    drawn = xr.concat([inference.resampled_r2(response, layer, weights) for layer in predictions], "layer")
    drawn = drawn.transpose("layer", "split", "resample", "voxel").values
    # Each resample of a voxel is handled as a voxel of its own, with its own halves of the splits.
    as_voxels = xr.DataArray(drawn.reshape(*drawn.shape[:2], -1), dims=("layer", "split", "voxel"))
    again = layers.best_layer(as_voxels)["score"].mean("iteration").values.reshape(drawn.shape[2:])
    return inference.percentile_interval(xr.DataArray(again, dims=("resample", "voxel")), dim="resample")


def _regions(corrected, published):
    """Rows of the summary for all voxels and for each region."""
    best = layers.best_layer(corrected, clip=1, published=published)[["score", "relative_position"]]
    everywhere = layers.subject_medians(best).mean("iteration").to_dataframe().reset_index().assign(roi="all")
    regions = layers.subject_medians(best, "subject", "roi").mean("iteration").to_dataframe().reset_index()
    table = pd.concat([everywhere, regions]).rename(columns={"roi": "part", "score": "value"})
    rows = inference.mean_interval(table, value="value", by=["part"])
    position = table.groupby("part")["relative_position"].mean()
    return rows.assign(score="r2_corrected", interval="t", position=rows["part"].map(position))
