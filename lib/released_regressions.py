"""Voxels of auditory cortex as released regressions explain them: layers, regions, and tests over people."""

from itertools import combinations

import numpy as np
import pandas as pd
import xarray as xr

from lib import artefacts, inference, layers, metrics


def voxel_medians(released):
    """Explained variance of each voxel by each layer, splits brought together.

    Parameters
    ----------
    released : xarray.Dataset
        `r2` (model, layer, voxel, split): see `lib.metamer_results.joined`.

    Returns
    -------
    xarray.DataArray (model, layer, voxel)
        Median over splits; corrected for noise, not capped at 1. NaN where a network has not that layer.
    """
    return layers.over_splits(released["r2"])


def subjects(released):
    """Explained variance of each participant by each layer, in all voxels and in each region.

    Parameters
    ----------
    released : xarray.Dataset
        `r2` (model, layer, voxel, split), `in_roi` (region, voxel), which may overlap; coordinate subject.

    Returns
    -------
    xarray.DataArray (model, part, layer, subject)
        Median over splits, then over the participant's voxels; part "all" or a region. NaN as in
        `voxel_medians`.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2022), bioRxiv 2022.05.19.492678, figure 8 and Methods.
    """
    medians = voxel_medians(released)
    inside = {"all": np.ones(medians.sizes["voxel"], bool)}
    inside |= dict(zip(released["region"].values.tolist(), released["in_roi"].values, strict=True))
    parts = [layers.subject_medians(medians.isel(voxel=mask)) for mask in inside.values()]
    whole = xr.concat(parts, xr.Variable("part", list(inside)), join="outer")
    order = {name: released[name] for name in ("model", "layer")}
    return whole.reindex(order).transpose("model", "part", "layer", "subject")


def best_layers(values):
    """Each participant's explained variance in the layer that is best in the other participants.

    Parameters
    ----------
    values : xarray.DataArray (model, part, layer, subject)
        See `subjects`.

    Returns
    -------
    pandas.DataFrame
        model, part, subject, layer (chosen by the mean of the others), value. Participants without a voxel in a
        region, or without others, are left out.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2022), bioRxiv 2022.05.19.492678, Methods.
    """
    rows = []
    for model in values["model"].values:
        for part in values["part"].values:
            here = values.sel(model=model, part=part).dropna("layer", how="all")
            best = layers.leave_one_subject_out(here).dropna("subject", subset=["score"])
            layer = here["layer"].values[best["position"].values.astype(int) - 1]
            table = {"subject": best["subject"].values, "layer": layer, "value": best["score"].values}
            rows.append(pd.DataFrame(table).assign(model=model, part=part))
    return pd.concat(rows, ignore_index=True)[["model", "part", "subject", "layer", "value"]]


def means(chosen):
    """Mean over participants of their best layer's explained variance.

    Parameters
    ----------
    chosen : pandas.DataFrame
        See `best_layers`.

    Returns
    -------
    pandas.DataFrame
        model, part, value, low, high (t interval), n, unit, layers (chosen, and how often).
    """
    rows = inference.mean_interval(chosen, value="value", by=["model", "part"])
    counts = chosen.groupby(["model", "part"], sort=False)["layer"]
    counts = counts.agg(lambda names: ", ".join(f"{k} {v}" for k, v in names.value_counts().items()))
    return rows.join(counts.rename("layers"), on=["model", "part"])


def tests(chosen):
    """Whether two models explain the same participants' voxels equally well.

    Parameters
    ----------
    chosen : pandas.DataFrame
        See `best_layers`.

    Returns
    -------
    pandas.DataFrame
        part, model, other, value (mean of model minus other over participants), low, high (t interval), t, df, p
        (two-sided), p_swap (exact, over all 2^n swaps of the two models within participants, two-sided), p_published
        (of 10,000 random swaps, one-sided; see `inference.sign_flip`), n, unit.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2022), bioRxiv 2022.05.19.492678, Methods.
    """
    rows = []
    for part, here in chosen.groupby("part", sort=False):
        wide = here.pivot_table(index="subject", columns="model", values="value")
        for model, other in combinations(dict.fromkeys(here["model"]), 2):
            a, b = wide[model], wide[other]
            swaps = {"p_swap": inference.sign_flip(a, b)}
            swaps["p_published"] = inference.sign_flip(a, b, published="feather2022")
            rows.append({"part": part, "model": model, "other": other} | inference.paired_t(a, b) | swaps)
    names = ["part", "model", "other", "value", "low", "high", "t", "df", "p", "p_swap", "p_published", "n"]
    return pd.DataFrame(rows, columns=names).assign(unit="subject")


def quotable(released, *, target, names):
    """Rows of numbers.csv about released regressions.

    Parameters
    ----------
    released : xarray.Dataset
        See `subjects`.
    target : str
        Second part of the names.
    names : dict of str to str
        Names to give to models; the others keep theirs.

    Returns
    -------
    pandas.DataFrame
        name, value, low, high, n, unit, what. Quantities: median (of all voxels, by layer), r2_corrected (best layer,
        by region), difference and t (by the other model, and region unless all).
    """
    renamed = [names.get(model, model) for model in released["model"].values]
    released = released.assign_coords(model=renamed)
    chosen = best_layers(subjects(released))
    medians = voxel_medians(released).transpose("model", "layer", "voxel")
    medians = medians.isel(voxel=0, drop=True).copy(data=metrics.median(medians.values))
    medians = medians.to_series().dropna().rename("value").reset_index()
    medians["quantity"] = "median/" + medians["layer"]
    medians["what"] = "median over all voxels of the median over splits; no interval: voxels are no samples"
    medians = medians.assign(n=released.sizes["voxel"], unit="voxel")
    best = means(chosen).assign(quantity=lambda m: "r2_corrected/" + m["part"])
    best["what"] = "layer best in the other participants (" + best["layers"] + "); 95 % t interval"
    found = tests(chosen)
    suffix = found["other"] + ("/" + found["part"]).where(found["part"] != "all", "")
    p = [
        f"df = {r.df}, p = {r.p:.3g}, exact p of swaps {r.p_swap:.3g}, as published {r.p_published:.4g}; "
        f"mean difference {r.value:.4f}, 95 % t interval {r.low:.4f} to {r.high:.4f}"
        for r in found.itertuples()
    ]
    head = "best layers of " + found["model"] + " against " + found["other"] + " over participants: "
    t = found.assign(value=found["t"], low=np.nan, high=np.nan, quantity="t/" + suffix)
    t["what"] = "paired t of the " + head + p + "; no interval: a test statistic"
    difference = found.assign(quantity="difference/" + suffix, what="mean difference of the " + head + p)
    rows = artefacts.stacked([medians, best, difference, t])
    name = "encode/" + target + "/" + rows["model"] + "/" + rows["quantity"]
    return rows.assign(name=name.str.lower())[inference.QUOTED]
