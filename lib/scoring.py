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
        rows = _regions(scores["r2_corrected"], published)
    else:
        rows = _components(scores["r2"], responses["response"].mean("repeat"), predictions, published)
        rows = rows(inference.draws(responses.sizes["stimulus"], n_resamples, rng))
    return rows[COLUMNS]


def _components(r2, response, predictions, published):
    """From draws of stimuli to the rows of the summary."""
    best = layers.best_layer(r2, published=published).mean("iteration")

    def rows(weights):
        drawn = [inference.resampled_r2(response, layer, weights) for layer in predictions]
        stacked = xr.concat(drawn, "layer").stack(drawn=("resample", "voxel")).reset_index("drawn")
        again = layers.best_layer(stacked.rename(voxel="part", drawn="voxel"))["score"].mean("iteration")
        again = again.set_xindex(["resample", "part"]).unstack("voxel")
        low, high = inference.percentile_interval(again, dim="resample")
        bounds = {"low": low.sel(part=r2["voxel"].values).values, "high": high.sel(part=r2["voxel"].values).values}
        table = {"part": r2["voxel"].values, "value": best["score"].values, **bounds}
        found = {"score": "r2", "n": response.sizes["stimulus"], "unit": "stimulus", "interval": "bootstrap"}
        return pd.DataFrame(table).assign(**found, position=best["relative_position"].values)

    return rows


def _regions(corrected, published):
    """Rows of the summary for all voxels and for each region."""
    best = layers.best_layer(corrected, clip=1, published=published)[["score", "relative_position"]]
    everywhere = layers.subject_medians(best).mean("iteration").to_dataframe().reset_index().assign(roi="all")
    regions = layers.subject_medians(best, "subject", "roi").mean("iteration").to_dataframe().reset_index()
    table = pd.concat([everywhere, regions]).rename(columns={"roi": "part", "score": "value"})
    rows = inference.mean_interval(table, value="value", by=["part"])
    position = table.groupby("part")["relative_position"].mean()
    return rows.assign(score="r2_corrected", interval="t", position=rows["part"].map(position))
