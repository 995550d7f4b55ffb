"""One look for all figures: axes-level plots of tidy tables, and the files that a figure becomes."""

import contextlib
from itertools import cycle

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib import colors
from matplotlib.patches import Rectangle

from lib import inference, plugins
from lib.artefacts import atomic, save_table

STYLE = {
    "figure.dpi": 110,
    "savefig.dpi": 200,
    "savefig.bbox": "tight",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
}
NUMBERS = inference.QUOTED


# A published value beside one that was found here.
PUBLISHED = {
    "marker": "D",
    "ms": 4,
    "mfc": "white",
    "mec": "black",
    "mew": 0.8,
    "linestyle": "none",
    "zorder": 5,
}


def label(model):
    """Name of a model in figures, its control after a comma."""
    stem, control = plugins.split_control(model)
    return plugins.about("model", stem)["LABEL"] + (f", {control}" if control else "")


def colour(model):
    """Colour of a model in figures, as RGB; its controls are paler."""
    stem, control = plugins.split_control(model)
    full = np.array(colors.to_rgb(plugins.about("model", stem)["COLOUR"]))
    paleness = {"": 0, "permuted": 0.45, "random": 0.7}[control]
    return tuple(full + (1 - full) * paleness)


def score_bars(table, ax, *, xlabel):
    """A horizontal bar per model, with its interval, the first on top.

    Parameters
    ----------
    table : pandas.DataFrame
        model, value, low, high (NaN: no interval is drawn), one row per model, in order.
    ax : matplotlib.axes.Axes
    xlabel : str

    Returns
    -------
    matplotlib.axes.Axes
    """
    places = np.arange(len(table))
    ax.barh(places, table["value"], color=[colour(model) for model in table["model"]], height=0.7)
    middle, half = _interval(table)
    ax.errorbar(middle, places, xerr=half, fmt="none", ecolor="black", capsize=2)
    ax.set_yticks(places, [label(model) for model in table["model"]])
    largest = np.nanmax(table[["value", "high"]].to_numpy(), initial=1)
    ax.set(xlabel=xlabel, xlim=(0, largest), ylim=(len(table) - 0.4, -0.6))
    return ax


def assignment(table, ax, *, layers):
    """How often voxels of each region were given to each layer; the planted layer is framed.

    Parameters
    ----------
    table : pandas.DataFrame
        roi, true_layer, layer, share (of the region's voxels).
    ax : matplotlib.axes.Axes
    layers : list of str
        All layers, in the model's order.

    Returns
    -------
    matplotlib.axes.Axes
    """
    planted = table.groupby("roi", sort=False)["true_layer"].first()
    shares = table.pivot_table(index="roi", columns="layer", values="share", sort=False)
    shares = shares.reindex(
        index=sorted(planted.index, key=lambda r: layers.index(planted[r])), columns=layers
    ).fillna(0)
    text = shares.map(lambda s: f"{s:.2f}".lstrip("0") if s > 0 else "")
    sns.heatmap(shares, ax=ax, vmin=0, vmax=1, cmap="Greys", annot=text, fmt="", cbar=False, linewidths=0.5)
    for roi, true in planted.items():
        corner = layers.index(true), shares.index.get_loc(roi)
        ax.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="crimson", linewidth=2))
    ax.set(xlabel="layer found", ylabel="planted region")
    ax.tick_params(axis="x", rotation=45)
    return ax


def recovered(table, ax, *, hue, title):
    """Recovered against planted value, each with its interval, and the line where they agree.

    Parameters
    ----------
    table : pandas.DataFrame
        planted, value, low, high, and the column that is told apart by colour.
    ax : matplotlib.axes.Axes
    hue : str
        Name of that column.
    title : str
        Of the legend.

    Returns
    -------
    matplotlib.axes.Axes
    """
    shades = sns.color_palette("viridis", table[hue].nunique())
    for shade, marker, (level, part) in zip(shades, cycle("osD^v"), table.groupby(hue), strict=False):
        middle, half = _interval(part)
        ax.errorbar(part["planted"], middle, yerr=half, fmt="none", ecolor=shade, capsize=2)
        ax.plot(part["planted"], part["value"], marker, ms=4, color=shade, label=level)
    ax.axline((1, 1), slope=1, color="grey", linewidth=0.8, zorder=0)
    ax.legend(title=title, loc="upper left", fontsize=7, title_fontsize=7)
    return ax


def component_panels(table, figure):
    """A panel of bars for each component, with the published baseline as a line.

    Parameters
    ----------
    table : pandas.DataFrame
        part (component), model, value, low, high, baseline (published value of the baseline) and published (of the
        model; NaN: none). Without rows the figure says so.
    figure : matplotlib.figure.Figure
    """
    parts = dict(list(table.groupby("part", sort=False)))
    if not parts:
        figure.text(0.5, 0.5, "no results", ha="center")
        return
    axes = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
    for ax, (part, rows) in zip(axes, parts.items(), strict=True):
        score_bars(rows, ax, xlabel="r²")
        line = ax.axvline(rows["baseline"].iloc[0], color="black", linestyle="--", linewidth=1)
        (dots,) = ax.plot(rows["published"], np.arange(len(rows)), **PUBLISHED)
        ax.set_title(part)
    said = {"SpectroTemporal as published": line}
    if table["published"].notna().any():
        said["the model as published"] = dots
    figure.legend(said.values(), said.keys(), loc="outside upper right", ncols=2)


def planted_panels(table, figure):
    """For each planted target: the layers found, the corrected r² recovered, and how controls do.

    Parameters
    ----------
    table : pandas.DataFrame
        The tables of `lib.recovery.tables` and the summaries of all models, one below the other, told apart by
        `panel` ("layers", "corrected r2", "models").
    figure : matplotlib.figure.Figure
    """
    targets = table["target"].unique()
    axes = figure.subplots(len(targets), 3, squeeze=False, width_ratios=(1.4, 1, 0.8))
    for (left, middle, right), target in zip(axes, targets, strict=True):
        here = {panel: rows for panel, rows in table[table["target"] == target].groupby("panel")}
        assigned = here["layers"]
        assignment(assigned, left, layers=assigned["layers"].iloc[0].split(","))
        left.set_title(f"{target} (planted), {assigned['model'].iloc[0]}")
        recovered(here["corrected r2"], middle, hue="explainable", title="explainable variance")
        middle.set(xlabel="r² without noise", ylabel="corrected r² recovered")
        score_bars(here["models"], right, xlabel="corrected r², best layer")


def save_figure(figure, table, path):
    """Write a figure as PDF and PNG, and the table it shows as CSV, all of one name, or none of them.

    The same figure gives the same bytes, so that a changed file is a changed figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    table : pandas.DataFrame
    path : pathlib.Path
        Without ending.
    """
    with contextlib.ExitStack() as stack:
        pdf, png, csv = (
            stack.enter_context(atomic(path.with_name(path.name + ending)))
            for ending in (".pdf", ".png", ".csv")
        )
        stack.enter_context(mpl.rc_context(STYLE))
        figure.savefig(pdf, metadata={"CreationDate": None})
        figure.savefig(png)
        save_table(table, csv)


def save_numbers(table, path):
    """Write the numbers worth quoting, sorted by name.

    Parameters
    ----------
    table : pandas.DataFrame
        name (`<step>/<target>/<model>/<quantity>[/<part>]`, lower case), value, low, high (NaN: `what` says
        why there is no interval), n (of units), unit (what was resampled), what.
    path : pathlib.Path

    Raises
    ------
    ValueError
        If a column is missing, or a name occurs twice or has capitals.
    """
    missing = [column for column in NUMBERS if column not in table]
    if missing:
        raise ValueError(f"the table of numbers lacks the columns {missing}")
    bad = table["name"][table["name"].duplicated() | (table["name"] != table["name"].str.lower())]
    if len(bad):
        raise ValueError(f"names of numbers must be unique and lower case, not so: {bad.iloc[:3].tolist()}")
    save_table(table[NUMBERS].sort_values("name"), path)


def _interval(table):
    """Middle and half width of each row's interval, which need not lie around its value."""
    low, high = table["low"].to_numpy(), table["high"].to_numpy()
    return (low + high) / 2, (high - low) / 2
