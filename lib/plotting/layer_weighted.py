"""Layers weighted together: what each contributes to each region, and what it gains over other methods."""

import numpy as np
import seaborn as sns
from matplotlib.patches import Rectangle

from lib.plotting.look import label

# Of methods, in the order in which they come: dark for what is shown, colours for what it is held against.
SHADES = ("#1b1b1b", "#d95f02", "#1b9e77", "#7570b3")
LIGHTER = "#8c8c8c"

TITLES = {
    "kernel_share": "weight a², share",
    "contribution": "contribution as published",
    "covariance_share": "share of covariance",
    "unique": "r² lost without the layer",
}


def contributions(table, ax, *, layers):
    """Share of each layer in each region, mean over subjects, as a heat map; planted layers are framed.

    Parameters
    ----------
    table : pandas.DataFrame
        roi, layer, value, and, where it is known, true_layer; rows of one region and layer are averaged.
    ax : matplotlib.axes.Axes
    layers : list of str
        All layers, in the model's order.

    Returns
    -------
    matplotlib.axes.Axes
    """
    values = table.pivot_table(index="roi", columns="layer", values="value", sort=False).reindex(
        columns=layers
    )
    limit = max(1.0, float(np.nanmax(np.abs(values.to_numpy()), initial=0)))
    text = values.map(lambda v: f"{v:.2f}".replace("0.", ".", 1) if abs(v) >= 0.005 else "")
    few = values.size <= 150
    look = {"cmap": "Greys", "vmin": 0, "vmax": limit, "linewidths": 0.5, "cbar": not few}
    sns.heatmap(values, ax=ax, annot=text if few else None, fmt="", annot_kws={"size": 7}, **look)
    if "true_layer" in table:
        for roi, true in table.dropna(subset="true_layer").groupby("roi")["true_layer"].first().items():
            corner = layers.index(true), values.index.get_loc(roi)
            ax.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="crimson", linewidth=2, clip_on=False))
    ax.tick_params("x", labelrotation=90 if len(layers) > 8 else 0)
    ax.tick_params("y", labelrotation=0)
    ax.set(xlabel="layer", ylabel="")
    return ax


def pairs(table, ax, *, ylabel):
    """A dot per subject, region and method, those of a subject joined within a region, and a bar per mean.

    Parameters
    ----------
    table : pandas.DataFrame
        method, subject, roi, value, mean (over subjects); methods and regions in order.
    ax : matplotlib.axes.Axes
    ylabel : str

    Returns
    -------
    matplotlib.axes.Axes
    """
    methods, rois = table["method"].unique(), table["roi"].unique()
    places = np.linspace(-0.25, 0.25, len(methods)) if len(methods) > 1 else [0.0]
    for at, roi in enumerate(rois):
        region = table[table["roi"] == roi]
        here = region.pivot_table(index="subject", columns="method", values="value").reindex(columns=methods)
        means = region.groupby("method")["mean"].first().reindex(methods)
        ax.plot(at + np.array(places), here.to_numpy().T, color="0.8", linewidth=0.7, zorder=1)
        for place, method, shade in zip(places, methods, SHADES, strict=False):
            values = here[method].to_numpy()
            name = method if not at else None
            ax.plot(np.full(len(values), at + place), values, "o", ms=4, color=shade, label=name, zorder=2)
            ax.hlines(means[method], at + place - 0.09, at + place + 0.09, color=shade, linewidth=2.5)
    ax.set_xticks(range(len(rois)), rois, rotation=90 if len(rois) > 8 else 0)
    ax.set(
        ylabel=ylabel,
        ylim=(min(0, table["value"].min()), 1.08 * table["value"].max()),
        xlim=(-0.6, len(rois) - 0.4),
    )
    return ax


def panels(table, figure, *, ylabel):
    """A row for each target and model: shares of layers by each measure, and the scores of methods.

    Parameters
    ----------
    table : pandas.DataFrame
        What `lib.layer_contributions.shown` returned. Without rows the figure says so.
    figure : matplotlib.figure.Figure
    ylabel : str
        Of the scores.
    """
    if not len(table):
        figure.text(0.5, 0.5, "no results", ha="center")
        return
    results = list(table.groupby(["target", "model"], sort=False))
    measures = [panel for panel in table["panel"].unique() if panel != "scores"]
    axes = figure.subplots(len(results), len(measures) + 1, squeeze=False)
    for row, ((target, model), here) in zip(axes, results, strict=True):
        for ax, measure in zip(row, measures, strict=False):
            part = here[here["panel"] == measure]
            contributions(part, ax, layers=part["layers"].iloc[0].split(","))
            ax.set_title(TITLES.get(measure, measure))
        pairs(here[here["panel"] == "scores"], row[-1], ylabel=ylabel).set_title("held-out scores")
        row[0].set_ylabel(f"{label(model)}\n{target}")
    handles, labels = axes[0, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=len(labels))


def recovery(shares, scores, figure):
    """Planted shares found again, with intervals over draws, and how well methods predict the same stimuli.

    Parameters
    ----------
    shares : pandas.DataFrame
        case, layer, planted, method, value, low, high; planted shares are lines.
    scores : pandas.DataFrame
        case, subject (draw), roi, method, value, mean: see `pairs`.
    figure : matplotlib.figure.Figure
    """
    cases, methods = shares["case"].unique(), shares["method"].unique()
    shades = [SHADES[0], LIGHTER, *SHADES[1:]]
    axes = figure.subplots(len(cases), 2, squeeze=False, width_ratios=(1.6, 1))
    for (left, right), case in zip(axes, cases, strict=True):
        part = shares[shares["case"] == case]
        names = list(part["layer"].unique())
        for place, method, shade in zip(np.linspace(-0.3, 0.3, len(methods)), methods, shades, strict=False):
            found = part[part["method"] == method]
            at = np.array([names.index(name) for name in found["layer"]]) + place
            half = np.abs(found[["low", "high"]].sub(found["value"], axis=0)).to_numpy().T
            left.errorbar(at, found["value"], yerr=half, fmt="o", ms=4, color=shade, capsize=2, label=method)
        for place, planted in enumerate(part.groupby("layer", sort=False)["planted"].first()):
            left.hlines(planted, place - 0.45, place + 0.45, color="crimson", linewidth=1, zorder=0)
        left.set_xticks(range(len(names)), names)
        left.set(ylabel="share of the layer", title=case, ylim=(-0.05, 1.08))
        pairs(scores[scores["case"] == case], right, ylabel="held-out r")
    axes[0, 0].legend(fontsize=7)
    axes[0, 1].legend(fontsize=7, loc="lower left")
