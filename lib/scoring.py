"""The best layer's score of each subject, region or component, by every rule of choosing, and its summary."""

import warnings
import zlib

import numpy as np
import pandas as pd
import xarray as xr

from lib import encoding, inference, layers, plugins
from lib.published import RULES as PUBLISHED

COLUMNS = [
    "part",
    "score",
    "rule",
    "value",
    "low",
    "high",
    "n",
    "unit",
    "interval",
    "position",
    "above_1",
    "undefined",
    "at_edge",
    "pooled",
    "pooled_low",
    "pooled_high",
]
# How the layer is chosen. All but the last score it on other data than chose it, some more strictly than others.
RULES = {
    "nested": "best layer, chosen on left-out train stimuli of each split",
    "halves": "best layer, chosen on half of the splits and read on the other half",
    **dict.fromkeys(PUBLISHED, "best layer, chosen and read on different splits as published"),
    "other_subjects": "best layer of the other subjects",
    "same_data": "best layer, chosen and read on the same test data: optimistic",
}
# Not empty: an empty field of a table is read as missing.
EVERYONE = "everyone"
CEILING = ("reliability_voxel", "reliability_prediction")


def choices(scores):
    """Score and place of the best layer of each subject and region, or component, by every rule of choosing.

    nested: in every split the layer that predicts its left-out train stimuli best (`layers.nested_layer`),
    median over splits. halves and tuckute2023: half of the splits choose, the other half is read, ten times
    (`layers.best_layer`). other_subjects: the layer of largest mean over the other subjects, median over all
    splits. same_data: the layer of largest median over all splits, read on the same splits: what it gains over
    the others is optimism; its position, which is not scored, is the published one of regions.

    Parameters
    ----------
    scores : xarray.Dataset
        `r2`, `r2_corrected`, `r2_left_out`, `reliability_voxel`, `reliability_prediction` (layer, split, voxel),
        coordinates subject and roi of voxels, attributes `corrected` and `kind`; see `lib.encoding`. Voxels
        without repeats are scored by r², uncorrected.

    Returns
    -------
    pandas.DataFrame
        rule, part (component, region or "all"), subject ("everyone" for components, which subjects share), iteration
        (of components by halves, else 0), value (medians over splits, of voxels at most 1; median over the voxels of a
        subject; mean over iterations unless these are rows), position (relative, 0 the first layer and 1 the last;
        median over voxels; NaN for a model of one layer), pooled (Σ r² / Σ ceiling over the voxels of the subject in
        the layers chosen, mean over splits: no small ceiling dominates it; NaN for halves, other_subjects and without
        correction). Components have no rule other_subjects, a single split has no halves.

    Raises
    ------
    ValueError
        If scores are without `r2_left_out`.
    """
    without = {"other_subjects"} if _components(scores) else set()
    without |= {"halves", *PUBLISHED} if scores.sizes["split"] < 2 else set()
    return pd.concat([_by_rule(scores, rule) for rule in RULES if rule not in without], ignore_index=True)


def by_layer(scores):
    """Score of every layer in each subject and region, or component: the curve over layers.

    Parameters
    ----------
    scores : xarray.Dataset
        See `choices`.

    Returns
    -------
    pandas.DataFrame
        layer, number (from 1, in the model's order), part, subject ("everyone" for components), value (median over
        splits, of voxels at most 1; median over the voxels of a subject), sem (of components: standard deviation over
        splits / √(n_splits - 1), as published, which takes overlapping splits for independent; else NaN).

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, supplementary figures (all layers).
    """
    score = scores[_name(scores)]
    names = pd.DataFrame({"layer": scores["layer"].values, "number": np.arange(scores.sizes["layer"]) + 1})
    if _components(scores):
        with warnings.catch_warnings():  # older NumPy warns of undefined scores, which are NaN here too
            warnings.filterwarnings("ignore", "Degrees of freedom")
            sem = score.std("split") / np.sqrt(max(score.sizes["split"] - 1, 1))
        table = xr.Dataset({"value": layers.over_splits(score), "sem": sem})
        table = table.to_dataframe().reset_index().rename(columns={"voxel": "part"}).assign(subject=EVERYONE)
    else:
        table = _per_subject(layers.over_splits(score, clip=1).to_dataset(name="value")).assign(sem=np.nan)
    columns = ["layer", "number", "part", "subject", "value", "sem"]
    return table.merge(names, on="layer", validate="many_to_one")[columns]


def resampled(scores, responses, predictions, *, weights, published=None):
    """The best layer's score of each component, had other stimuli been drawn; the regression not fitted again.

    Parameters
    ----------
    scores : xarray.Dataset
        See `choices`.
    responses : xarray.Dataset
        `response` (repeat, stimulus, voxel).
    predictions : iterable of xarray.DataArray (split, stimulus, voxel)
        Of each layer, in the order of the scores' layers.
    weights : array (n_resamples, n_stimuli)
        How often each stimulus is drawn; see `inference.draws`. The same for two models, their scores can be
        compared draw by draw.
    published : {"tuckute2023"}, optional
        Layers chosen anew in every resample, by the published halves of the splits. Default: each split keeps the
        layer that its train stimuli chose.

    Returns
    -------
    xarray.DataArray (resample, voxel)
        r², at least 0. Attributes n_stimuli, and draws, a checksum of the weights.
    """
    response = responses["response"].mean("repeat")
    again = (inference.resampled_r2(response, layer, weights) for layer in predictions)
    drawn = {"n_stimuli": weights.shape[1], "draws": zlib.crc32(weights.astype("<i8").tobytes())}
    if published is None:
        position = _nested(scores)["position"]
        kept = sum(one.where(position == number, 0) for number, one in enumerate(again, start=1))
        median = kept.where(np.isfinite(position)).median("split", skipna=False)
        return median.assign_attrs(drawn)
    again = xr.concat(again, "layer").transpose("layer", "split", "voxel", "resample").values
    n_voxels, copies = again.shape[2], again.reshape(*again.shape[:2], -1)
    copies = xr.DataArray(copies, dims=("layer", "split", "voxel"))
    again = layers.best_layer(copies, published=published, n_copies=len(weights))["score"].mean("iteration")
    again = again.values.reshape(n_voxels, -1).T
    again = xr.DataArray(again, dims=("resample", "voxel"), coords={"voxel": scores["voxel"].values})
    return again.assign_attrs(drawn)


def summary(scores, responses, predictions, *, published=None, n_resamples=1000, rng):
    """Score of the best layer of each component, or each region and all voxels, with an interval.

    Components: each by itself; 95 % interval from resampled stimuli (`resampled`). It is an interval of r², which
    is never negative, and no test against 0. Fits stay as they are, so that it is one for other test stimuli alone:
    in simulations of ten halves of 165 stimuli, it held the expected r² of new experiments, with train stimuli of
    their own, in 86 to 91 %. Voxels: mean and t interval over the scores of subjects
    (`choices`).

    Parameters
    ----------
    scores : xarray.Dataset
        See `choices`; with `alpha_at_edge` (layer, split, voxel).
    responses : xarray.Dataset
        `response` (repeat, stimulus, voxel); read for components only.
    predictions : iterable of xarray.DataArray (split, stimulus, voxel)
        Of each layer, in the order of the scores' layers; read for components only.
    published : {"tuckute2023"}, optional
        Layers chosen on one half of the splits and read on the other, another half for every layer of a voxel. The
        halves share test stimuli, which flatters where layers do equally well. Default: the rule "nested".
    n_resamples : int
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        part (component, region or "all"), score ("r2" or "r2_corrected"), rule (see `choices`), value, low, high, n
        (of units), unit (what was resampled or sampled), interval (how), position (mean of the chosen layers'
        relative position, 0 the first and 1 the last; NaN for a model of one layer), above_1, undefined and at_edge
        (shares of all layers, splits and voxels of the part whose score is above 1, whose score is NaN, and whose
        penalty lies at the edge of its grid; the first two are kept, NaN drops out of medians), pooled, pooled_low
        and pooled_high (mean of the subjects' ratio of means, see `choices`, and its t interval; NaN for
        components, without correction, and by halves).

    Raises
    ------
    ValueError
        If there is no such published rule, or scores are without `r2_left_out`, which the default needs.
    """
    if published is not None:
        plugins.require(published, PUBLISHED, "published rule")
    rule = published or "nested"
    table = _by_rule(scores, rule)
    if _components(scores):
        weights = inference.draws(responses.sizes["stimulus"], n_resamples, rng)
        drawn = resampled(scores, responses, predictions, weights=weights, published=published)
        rows = table.groupby("part", sort=False)[["value", "position", "pooled"]].mean()
        low, high = (b.to_series() for b in inference.percentile_interval(drawn, dim="resample"))
        rows = rows.assign(low=low, high=high, pooled_low=np.nan, pooled_high=np.nan).reset_index()
        rows = rows.assign(n=responses.sizes["stimulus"], unit="stimulus", interval="bootstrap")
    else:
        rows = _over_subjects(table)
    return rows.join(_odd(scores), on="part").assign(score=_name(scores), rule=rule)[COLUMNS]


def quotable(summaries):
    """Rows of numbers.csv from the summaries of several results.

    Parameters
    ----------
    summaries : pandas.DataFrame
        Rows of `summary`, with columns target and model.

    Returns
    -------
    pandas.DataFrame
        name, value, low, high, n, unit, what. The score `r2_pooled` is the ratio of means.
    """
    odd = (
        "{above_1:.1%} of scores above 1, {undefined:.1%} undefined, {at_edge:.1%} of penalties at their edge"
    )
    odd = [odd.format(**row) for row in summaries[["above_1", "undefined", "at_edge"]].to_dict("records")]
    rows = summaries.assign(what=summaries["rule"].map(RULES), odd=odd)
    renamed = {"pooled": "value", "pooled_low": "low", "pooled_high": "high"}
    pooled = rows.drop(columns=["value", "low", "high"]).rename(columns=renamed).dropna(subset="value")
    pooled = pooled.assign(score="r2_pooled", what="sum of r2 over sum of ceilings; " + pooled["what"])
    rows = pd.concat([rows, pooled], ignore_index=True)
    parts = rows[["target", "model", "score", "part"]].astype(str).replace("/", "_", regex=True)
    name = "encode/" + parts["target"] + "/" + parts["model"] + "/" + parts["score"] + "/" + parts["part"]
    interval = rows["interval"].replace("bootstrap", "bootstrap interval (fits not made again)")
    interval = "95 % " + interval.where(rows["interval"] == "bootstrap", interval + " interval")
    interval = interval.where(rows["low"].notna(), "no interval: n is " + rows["n"].astype(str))
    what = rows["what"] + "; " + interval + "; " + rows["odd"]
    return rows.assign(name=name.str.lower(), what=what)[inference.QUOTED]


def _components(scores):
    return scores.attrs["kind"] == "component"


def _name(scores):
    """Which score counts: components and single responses cannot be corrected."""
    return "r2_corrected" if scores.attrs["corrected"] and not _components(scores) else "r2"


def _by_rule(scores, rule):
    """Rows of `choices` for one rule."""
    if rule == "other_subjects":
        table = _other_subjects(scores)
    elif _components(scores):
        table = _read(_chosen(scores, rule)).to_dataframe().reset_index().rename(columns={"voxel": "part"})
        table = table.assign(subject=EVERYONE, iteration=table.get("iteration", 0), pooled=np.nan)
    else:
        chosen = _chosen(scores, rule)
        table = _per_subject(_read(chosen, clip=1)).groupby(["part", "subject"], sort=False)
        table = table[["score", "relative_position"]].mean().join(_pooled(scores, chosen, rule))
        table = table.reset_index().assign(iteration=0)
    table = table.rename(columns={"score": "value", "relative_position": "position"}).assign(rule=rule)
    return table[["rule", "part", "subject", "iteration", "value", "position", "pooled"]]


def _chosen(scores, rule):
    """Score and positions of the best layer of each voxel: by split, by iteration, or once for all."""
    clip = None if _components(scores) else 1
    if rule == "nested":
        return _nested(scores)
    if rule == "same_data":
        return layers.preferred_layer(scores[_name(scores)], clip=clip)
    published = rule if rule in PUBLISHED else None
    return layers.best_layer(scores[_name(scores)], clip=clip, published=published)


def _nested(scores):
    if "r2_left_out" not in scores:
        raise ValueError("scores are without r2_left_out, by which layers are chosen: encode once more")
    return layers.nested_layer(scores[_name(scores)], scores["r2_left_out"])


def _read(chosen, *, clip=None):
    """Score and relative position of each voxel, splits brought together."""
    chosen = chosen[["score", "relative_position"]]
    if "split" not in chosen.dims:
        return chosen
    score = layers.over_splits(chosen["score"], clip=clip)
    return xr.Dataset({"score": score, "relative_position": chosen["relative_position"].mean("split")})


def _per_subject(values):
    """Median over the voxels of each subject, in all regions together ("all") and in each, as a table."""
    everywhere = layers.subject_medians(values).to_dataframe().reset_index().assign(part="all")
    regions = layers.subject_medians(values, "subject", "roi").to_dataframe().reset_index()
    return pd.concat([everywhere, regions.rename(columns={"roi": "part"})], ignore_index=True)


def _pooled(scores, chosen, rule):
    """Ratio of means over the voxels of each subject and part, in the layers chosen.

    Voxels whose ceiling is not above 0 have no score of their own, but count here: in the layer chosen without one.
    """
    pooled = pd.DataFrame({"pooled": pd.Series(dtype=float)})
    pooled.index = pd.MultiIndex.from_arrays([[], []], names=["part", "subject"])
    if "iteration" in chosen.dims or not scores.attrs["corrected"]:
        return pooled
    without = _chosen(scores.assign_attrs(corrected=0), rule)["position"]
    layer = chosen["position"].fillna(without).fillna(1).astype(int) - 1
    here = scores[["r2", *CEILING]].isel(layer=layer)
    for part in ("all", *sorted(set(scores["roi"].values.tolist()) - {""})):
        inside = here if part == "all" else here.isel(voxel=(here["roi"] == part).values)
        for subject, voxels in inside.groupby("subject"):
            pooled.loc[(part, subject), "pooled"] = float(encoding.pooled_r2(voxels).mean())
    return pooled


def _other_subjects(scores):
    """Rows for the layer that is best in the other subjects."""
    found = []
    for part, rows in by_layer(scores).groupby("part", sort=False):
        values = rows.pivot_table(index="number", columns="subject", values="value", dropna=False)
        best = layers.leave_one_subject_out(xr.DataArray(values, dims=("layer", "subject")))
        found.append(best.drop_vars("position").to_dataframe().reset_index().assign(part=part))
    return pd.concat(found, ignore_index=True).assign(iteration=0, pooled=np.nan)


def _over_subjects(table):
    """Mean and t interval over subjects of scores and of ratios of means."""
    rows = inference.mean_interval(table, value="value", by=["part"])
    pooled = inference.mean_interval(table, value="pooled", by=["part"])
    pooled = pooled.rename(columns={"low": "pooled_low", "high": "pooled_high"})
    rows = rows.merge(pooled.drop(columns=["n", "unit"]), on="part", validate="one_to_one")
    return rows.assign(interval="t", position=rows["part"].map(table.groupby("part")["position"].mean()))


def _odd(scores):
    """Shares of odd scores and penalties by part."""
    score = scores[_name(scores)]
    odd = {"above_1": score > 1, "undefined": score.isnull(), "at_edge": scores["alpha_at_edge"] > 0}
    odd = xr.Dataset(odd).mean(["layer", "split"])
    part = "voxel" if _components(scores) else "roi"
    odd = odd.to_dataframe().reset_index()[[part, *odd.data_vars]].rename(columns={part: "part"})
    return pd.concat([odd, odd.assign(part="all")]).groupby("part").mean()
