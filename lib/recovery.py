"""Whether an analysis of planted voxels finds what was planted."""

import pandas as pd

from lib import inference, layers, reliability


def voxels(scores, truth):
    """What an encoding analysis found in each planted voxel, beside what was planted.

    Parameters
    ----------
    scores : xarray.Dataset
        `r2`, `r2_corrected`, `reliability_voxel`, `reliability_prediction` (layer, split, voxel) of the model
        that was planted.
    truth : xarray.Dataset
        See `lib.planted.target`.

    Returns
    -------
    pandas.DataFrame
        One row per voxel: subject, roi, true_layer, true_share, true_explainable, attainable_r2; `layer`, the
        one of largest median corrected r² over splits; `r2` and `ceiling` (product of the two reliabilities)
        in the true layer, means over splits, so that Σ r2 / Σ ceiling over voxels is a corrected r² that no
        small denominator dominates; `repeat_r`, median correlation between repeats.

    Raises
    ------
    ValueError
        If voxels differ, or scores lack a true layer.
    """
    if scores["voxel"].values.tolist() != truth["voxel"].values.tolist():
        raise ValueError("scores and truth are of different voxels, or in different order")
    missing = sorted(set(truth["true_layer"].values.tolist()) - set(scores["layer"].values.tolist()))
    if missing:
        raise ValueError(f"scores lack the planted layers {missing}: they are of another model")
    preferred = layers.preferred_layer(scores["r2_corrected"])["position"].values.astype(int) - 1
    here = scores.sel(layer=truth["true_layer"])
    ceiling = (here["reliability_voxel"] * here["reliability_prediction"]).mean("split")
    columns = ["true_layer", "true_share", "true_explainable", "attainable_r2"]
    table = truth[columns].to_dataframe().reset_index()[["voxel", "subject", "roi", *columns]]
    return table.assign(
        layer=scores["layer"].values[preferred],
        r2=here["r2"].mean("split").values,
        ceiling=ceiling.values,
        repeat_r=reliability.single_repeat_reliability(truth["response"].values),
    )


def tables(found, *, smallest_repeat_r, level=0.95):
    """What the figure of planted truth shows.

    Parameters
    ----------
    found : pandas.DataFrame
        Rows of `voxels` of one or more targets, with columns target, model and layers.
    smallest_repeat_r : float
        Voxels whose correlation between repeats is not larger are left out of the first table.
    level : float
        Of the intervals.

    Returns
    -------
    assigned : pandas.DataFrame
        target, model, layers, roi, true_layer, layer, share: of the region's voxels, those given to the layer.
    recovered : pandas.DataFrame
        target, model, explainable, planted_share, planted (r² without noise), value (Σ r2 / Σ ceiling over the
        voxels of a subject), low, high, n, unit: mean and t interval over subjects.
    """
    keys = ["target", "model", "layers", "roi", "true_layer"]
    reliable = found[found["repeat_r"] > smallest_repeat_r]
    assigned = reliable.groupby(keys, sort=False)["layer"].value_counts(normalize=True).rename("share")
    cells = ["target", "model", "true_explainable", "true_share"]
    sums = found.groupby([*cells, "subject"], sort=False)[["r2", "ceiling"]].sum()
    each = (sums["r2"] / sums["ceiling"]).rename("value").reset_index()
    recovered = inference.mean_interval(each, value="value", by=cells, level=level)
    planted = found.groupby(cells, sort=False)["attainable_r2"].mean().rename("planted").reset_index()
    recovered = recovered.merge(planted, on=cells, validate="one_to_one")
    renamed = {"true_explainable": "explainable", "true_share": "planted_share"}
    return assigned.reset_index(), recovered.rename(columns=renamed)


def quotable(found, recovered, *, smallest_repeat_r, level=0.95):
    """Rows of numbers.csv about planted truth.

    Parameters
    ----------
    found : pandas.DataFrame
        As for `tables`.
    recovered : pandas.DataFrame
        The second of `tables`.
    smallest_repeat_r, level
        As for `tables`.

    Returns
    -------
    pandas.DataFrame
        name, value, low, high, n, unit, what.
    """
    reliable = found[found["repeat_r"] > smallest_repeat_r]
    right = (reliable["layer"] == reliable["true_layer"]).rename("value")
    shares = (
        reliable.assign(value=right.astype(float)).groupby(["target", "model", "subject"])["value"].mean()
    )
    accuracy = inference.mean_interval(
        shares.reset_index(), value="value", by=["target", "model"], level=level
    )
    what = (
        f"share of planted voxels (repeats correlate above {smallest_repeat_r}) whose best layer is the "
        "planted one; read-outs chosen to be told apart"
    )
    accuracy = accuracy.assign(quantity="layer_found", what=what)
    part = (
        "/explainable_"
        + recovered["explainable"].astype(str)
        + "_share_"
        + recovered["planted_share"].astype(str)
    )
    text = "corrected r2 in the planted layer; the same regression reaches " + recovered["planted"].round(
        3
    ).astype(str)
    recovered = recovered.assign(quantity="recovered_r2" + part, what=text + " without noise")
    rows = pd.concat([accuracy, recovered])
    name = "encode/" + rows["target"] + "/" + rows["model"] + "/" + rows["quantity"]
    return rows.assign(name=name.str.lower())[inference.QUOTED]
