"""Decoding: how well the units of each layer are decoded from each region."""

import numpy as np
import seaborn as sns

from lib.plotting.look import label

TITLES = {
    "accuracy": "correlation over stimuli",
    "corrected": "corrected for noise",
    "significant": "share of significant units",
    "pattern": "correlation over units",
    "identification": "identified stimuli",
}
CHANCE = {"accuracy": 0, "corrected": 0, "pattern": 0, "identification": 0.5}


def by_layer(table, ax, *, rois):
    """A line per region over the layers, with its interval over subjects; early regions dark, late ones bright.

    Parameters
    ----------
    table : pandas.DataFrame
        layer, roi, value, low, high (NaN: no interval is drawn), layers in the model's order.
    ax : matplotlib.axes.Axes
    rois : list of str
        All regions, in the order of the hierarchy.

    Returns
    -------
    matplotlib.axes.Axes
    """
    layers = list(dict.fromkeys(table["layer"]))
    shifts = np.linspace(-0.15, 0.15, len(rois)) if len(rois) > 1 else [0.0]
    for roi, shade, shift in zip(rois, sns.color_palette("viridis", len(rois)), shifts, strict=True):
        part = table[table["roi"] == roi].set_index("layer").reindex(layers)
        places = np.arange(len(layers)) + shift
        ax.vlines(places, part["low"], part["high"], color=shade, linewidth=1, alpha=0.7)
        ax.plot(places, part["value"], "o-", ms=3, linewidth=1.2, color=shade, label=roi)
    ax.set_xticks(range(len(layers)), layers, rotation=90 if len(layers) > 8 else 45)
    ax.set(xlabel="layer", xlim=(-0.4, len(layers) - 0.6))
    return ax


def panels(table, figure, *, quantities=("accuracy", "corrected", "identification")):
    """A row for each target and model, a panel for each quantity; chance is a dotted line.

    Parameters
    ----------
    table : pandas.DataFrame
        target, model, layer, roi, quantity, value, low, high: rows of `lib.decoding_accuracy.summary`. Without rows
        the figure says so.
    figure : matplotlib.figure.Figure
    quantities : sequence of str
        Which to show.
    """
    if not len(table):
        figure.text(0.5, 0.5, "no results", ha="center")
        return
    results = list(table.groupby(["target", "model"], sort=False))
    axes = figure.subplots(len(results), len(quantities), squeeze=False)
    for row, ((target, model), here) in zip(axes, results, strict=True):
        rois = list(dict.fromkeys(here["roi"]))
        for ax, quantity in zip(row, quantities, strict=True):
            by_layer(here[here["quantity"] == quantity], ax, rois=rois).set_title(TITLES[quantity])
            if quantity in CHANCE:
                ax.axhline(CHANCE[quantity], color="grey", linestyle=":", linewidth=1, zorder=0)
        row[0].set_ylabel(f"{label(model)}\n{target}")
        row[-1].legend(
            title="region", loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7, title_fontsize=7
        )
