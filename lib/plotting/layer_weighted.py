"""Layers weighted together: what each contributes to each region, and what it gains over other methods."""

import numpy as np
import seaborn as sns
from matplotlib.patches import Rectangle

# Of methods, in the order in which they come: dark for what is argued for, paler for what it is held against.
SHADES = ("#1b1b1b", "#d95f02", "#1b9e77", "#7570b3")


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
    """A dot per subject, region and method, those of a subject joined within a region; bars are means.

    Parameters
    ----------
    table : pandas.DataFrame
        method, subject, roi, value; methods and regions in order.
    ax : matplotlib.axes.Axes
    ylabel : str

    Returns
    -------
    matplotlib.axes.Axes
    """
    methods, rois = table["method"].unique(), table["roi"].unique()
    places = np.linspace(-0.25, 0.25, len(methods)) if len(methods) > 1 else [0.0]
    for at, roi in enumerate(rois):
        here = table[table["roi"] == roi].pivot_table(index="subject", columns="method", values="value")
        here = here.reindex(columns=methods)
        ax.plot(at + np.array(places), here.to_numpy().T, color="0.8", linewidth=0.7, zorder=1)
        for place, method, shade in zip(places, methods, SHADES, strict=False):
            values = here[method].to_numpy()
            label = method if not at else None
            ax.plot(np.full(len(values), at + place), values, "o", ms=4, color=shade, label=label, zorder=2)
            ax.hlines(np.nanmean(values), at + place - 0.09, at + place + 0.09, color=shade, linewidth=2.5)
    ax.set_xticks(range(len(rois)), rois, rotation=90 if len(rois) > 8 else 0)
    ax.set(ylabel=ylabel, ylim=(0, None), xlim=(-0.6, len(rois) - 0.4))
    return ax


def panels(table, figure, *, ylabel):
    """A row for each result: shares of layers by two measures, and the scores of methods.

    Parameters
    ----------
    table : pandas.DataFrame
        Told apart by `panel`: a measure of layers (roi, layer, value, true_layer) or "scores" (method, subject,
        roi, value); each with title (one row of panels per title) and layers (all of them, comma-separated).
        Without rows the figure says so.
    figure : matplotlib.figure.Figure
    ylabel : str
        Of the scores.
    """
    titles = table["title"].unique() if len(table) else []
    if not len(titles):
        figure.text(0.5, 0.5, "no results", ha="center")
        return
    measures = [panel for panel in table["panel"].unique() if panel != "scores"]
    axes = figure.subplots(len(titles), len(measures) + 1, squeeze=False)
    for row, title in zip(axes, titles, strict=True):
        here = table[table["title"] == title]
        for ax, measure in zip(row, measures, strict=False):
            part = here[here["panel"] == measure]
            contributions(part, ax, layers=part["layers"].iloc[0].split(","))
            ax.set_title(measure)
        pairs(here[here["panel"] == "scores"], row[-1], ylabel=ylabel)
        row[-1].set_title("held-out scores")
        row[0].set_ylabel(title)
    handles, labels = axes[0, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=len(labels))


def recovery(shares, scores, figure):
    """Planted shares found again, draw by draw, and how well each method predicts the same stimuli.

    Parameters
    ----------
    shares : pandas.DataFrame
        case, layer, planted, method, value: a dot each; planted shares are lines.
    scores : pandas.DataFrame
        case, draw, method, r: joined within a draw.
    figure : matplotlib.figure.Figure
    """
    cases = shares["case"].unique()
    axes = figure.subplots(len(cases), 2, squeeze=False, width_ratios=(2, 1))
    for (left, right), case in zip(axes, cases, strict=True):
        part = shares[shares["case"] == case]
        look = {"x": "layer", "y": "value", "hue": "method", "ax": left, "palette": SHADES, "dodge": True}
        sns.stripplot(part, size=3, legend=False, alpha=0.6, **look)
        look |= {"errorbar": ("ci", 95), "linestyle": "none", "marker": "_", "seed": 0}
        sns.pointplot(part, markersize=10, **look | {"dodge": 0.6}, err_kws={"linewidth": 1.5})
        for place, planted in enumerate(part.groupby("layer", sort=False)["planted"].first()):
            left.hlines(planted, place - 0.45, place + 0.45, color="crimson", zorder=0)
        left.set(ylabel="share of the layer", xlabel="", title=case, ylim=(-0.1, 1.1))
        left.legend(fontsize=7)
        here = scores[scores["case"] == case]
        table = here.rename(columns={"r": "value", "draw": "subject"}).assign(roi="")
        pairs(table, right, ylabel="held-out r")
        right.legend(fontsize=7, loc="lower left")
