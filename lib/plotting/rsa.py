"""Figures of representational geometry: RDMs, layer profiles under their ceiling, ranked models, false positives."""

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.colors import ListedColormap

from lib.plotting.look import colour, label

CEILING = "0.88"
PLAIN = "0.6"


def layer_profiles(table, figure, *, ylabel, columns=4):
    """Similarity of each layer with each region: a panel per region, a line per model, the noise ceiling in grey.

    Bands are intervals; filled points are significant (corrected for all layers), hollow ones are not.

    Parameters
    ----------
    table : pandas.DataFrame
        roi, model, layer (in the model's order), value, low, high, lower, upper (NaN: no ceiling), p_fwe.
    figure : matplotlib.figure.Figure
    ylabel : str
    columns : int
        Largest number of panels side by side.
    """
    rois = dict(list(table.groupby("roi", sort=False)))
    if not rois:
        figure.text(0.5, 0.5, "no results", ha="center")
        return
    width = min(columns, len(rois))
    axes = figure.subplots(-(-len(rois) // width), width, sharey=True, squeeze=False).ravel()
    for ax, (roi, rows) in zip(axes, rois.items(), strict=False):
        _profile(rows, ax)
        ax.set_title(roi)
    for ax in axes[len(rois) :]:
        ax.set_visible(False)
    for ax in axes[::width]:
        ax.set_ylabel(ylabel)
    entries = [zip(*ax.get_legend_handles_labels(), strict=True) for ax in axes]
    legend = {name: handle for pairs in entries for handle, name in pairs}
    figure.legend(legend.values(), legend, loc="outside lower center", ncols=min(4, len(legend)))


def ranked(table, ax, *, xlabel):
    """A horizontal bar per model, the most similar on top, over the noise ceiling; a star where p is below 0.05.

    Parameters
    ----------
    table : pandas.DataFrame
        name (shown), value, low, high (NaN: no interval), lower, upper (NaN: no ceiling; else the same in all
        rows), p. With a column `model` bars have the models' colours
        ("": grey).
    ax : matplotlib.axes.Axes
    xlabel : str

    Returns
    -------
    matplotlib.axes.Axes
    """
    table = table.sort_values("value", ascending=False, kind="stable")
    places = np.arange(len(table))
    shades = [colour(model) if model else PLAIN for model in table.get("model", [""] * len(table))]
    lower, upper = table[["lower", "upper"]].iloc[0]
    if np.isfinite(upper):
        ax.axvspan(lower, upper, color=CEILING, zorder=0)
        ax.text(upper, len(table) - 0.5, "noise ceiling ", ha="right", va="bottom", fontsize=7)
    ax.barh(places, table["value"], color=shades, height=0.7)
    ax.hlines(places, table["low"], table["high"], color="black", linewidth=1)
    # Stars stand inside the axes, right of whatever is drawn.
    ends = table[["value", "high"]].max(axis=1).clip(lower=0)
    for place, end, p in zip(places, ends, table["p"], strict=True):
        if p < 0.05:
            ax.text(end, place, " *", va="center")
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_yticks(places, table["name"])
    ax.set(xlabel=xlabel, ylim=(len(table) - 0.4, -0.6))
    return ax


def images(table, figure, *, unit, columns=4, ranks=True):
    """RDMs as images, side by side, with a bar of colours for the stimuli's groups.

    Parameters
    ----------
    table : pandas.DataFrame
        panel (title), stimulus, stimulus_2, value, group (of `stimulus`; "" for none); stimuli in the order in
        which they are to be drawn, the same in all panels.
    figure : matplotlib.figure.Figure
    unit : str
        Of the colours.
    columns : int
    ranks : bool
        Whether each RDM has its own scale of colours, from its smallest to its largest value (for percentiles
        it is the same one), or all the same, from 0.
    """
    panels = dict(list(table.groupby("panel", sort=False)))
    width = min(columns, len(panels))
    axes = figure.subplots(-(-len(panels) // width), width, squeeze=False).ravel()
    groups = table.drop_duplicates("stimulus").set_index("stimulus")["group"]
    limits = {} if ranks else {"vmin": 0, "vmax": table["value"].max()}
    for ax, (title, rows) in zip(axes, panels.items(), strict=False):
        square = rows.pivot_table(
            index="stimulus", columns="stimulus_2", values="value", sort=False, dropna=False
        )
        square = square.reindex(index=groups.index, columns=groups.index)
        drawn = ax.imshow(square, cmap="viridis", interpolation="nearest", **limits)
        _group_bar(groups, ax)
        ax.set(title=title, xticks=[], yticks=[])
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    figure.colorbar(drawn, ax=axes.tolist(), label=unit, shrink=0.6)
    _group_legend(groups, figure)


def places(table, figure, *, columns=4):
    """Stimuli where their dissimilarities put them in the plane, coloured by group, a panel per RDM.

    Parameters
    ----------
    table : pandas.DataFrame
        panel (title), stimulus, x, y, group.
    figure : matplotlib.figure.Figure
    columns : int
    """
    panels = dict(list(table.groupby("panel", sort=False)))
    width = min(columns, len(panels))
    axes = figure.subplots(-(-len(panels) // width), width, squeeze=False).ravel()
    groups = table.drop_duplicates("stimulus").set_index("stimulus")["group"]
    shades = _shades(groups)
    for ax, (title, rows) in zip(axes, panels.items(), strict=False):
        ax.scatter(rows["x"], rows["y"], s=12, c=[shades[group] for group in rows["group"]])
        ax.set(title=title, xticks=[], yticks=[])
        ax.set_aspect("equal", adjustable="datalim")
        ax.set_box_aspect(1)
        ax.spines[["left", "bottom"]].set_visible(False)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    _group_legend(groups, figure)


def false_positives(table, ax):
    """How often each test calls unrelated RDMs similar, and the range in which an exact test would lie.

    Parameters
    ----------
    table : pandas.DataFrame
        test, rate, low, high (the same in all rows), level, n; see `lib.rdm_calibration`.
    ax : matplotlib.axes.Axes

    Returns
    -------
    matplotlib.axes.Axes
    """
    first = table.iloc[0]
    rows = np.arange(len(table))
    ax.axvspan(first["low"], first["high"], color=CEILING, zorder=0, label=f"exact, {first['n']} simulations")
    ax.axvline(first["level"], color="black", linewidth=0.8)
    inflated = table["rate"] > table["high"]
    ax.plot(table["rate"][~inflated], rows[~inflated], "o", color="black", label="holds its level")
    ax.plot(table["rate"][inflated], rows[inflated], "o", color="crimson", label="does not")
    ax.set_yticks(rows, table["test"])
    ax.set(xlabel=f"false positives at {first['level']:.0%}", xlim=(0, None), ylim=(len(table) - 0.4, -0.6))
    ax.legend(loc="best", fontsize=7)
    return ax


def positions(table, ax):
    """Mean relative position of the best layer in each region, a line per model.

    Parameters
    ----------
    table : pandas.DataFrame
        model, roi (in the order to be drawn), position (0 the first layer, 1 the last).
    ax : matplotlib.axes.Axes

    Returns
    -------
    matplotlib.axes.Axes
    """
    for model, rows in table.groupby("model", sort=False):
        ax.plot(rows["roi"], rows["position"], "o-", color=colour(model), label=label(model), markersize=4)
    ax.set(ylabel="relative position of the best layer", ylim=(-0.05, 1.05))
    ax.legend(fontsize=7)
    return ax


def _profile(rows, ax):
    """Lines of all models in one region."""
    several = rows["model"].nunique() > 1 and rows.groupby("model")["layer"].agg(tuple).nunique() > 1
    bounds = rows[["lower", "upper"]].dropna()
    if len(bounds):
        ax.axhspan(*bounds.iloc[0], color=CEILING, zorder=0, label="noise ceiling")
    for model, part in rows.groupby("model", sort=False):
        # Models of different depth share an axis from the first layer to the last.
        x = np.linspace(0, 1, len(part)) if several else np.arange(len(part))
        ax.fill_between(x, part["low"], part["high"], color=colour(model), alpha=0.2, linewidth=0)
        ax.plot(x, part["value"], color=colour(model), label=label(model))
        for sure, face in ((part["p_fwe"] < 0.05, colour(model)), (~(part["p_fwe"] < 0.05), "white")):
            ax.plot(
                x[sure], part["value"][sure], "o", markersize=4, color=colour(model), markerfacecolor=face
            )
    ax.axhline(0, color="black", linewidth=0.8)
    if several:
        ax.set(xticks=[0, 1], xticklabels=["first", "last layer"])
    else:
        ax.set_xticks(x, part["layer"], rotation=90)


def _shades(groups):
    """A colour for each group."""
    names = dict.fromkeys(groups)
    return dict(zip(names, sns.color_palette("husl", len(names)), strict=True))


def _group_bar(groups, ax):
    """A strip of the groups' colours left of and below an image."""
    names = list(dict.fromkeys(groups))
    if names == [""]:
        return
    strip = np.array([[names.index(group) for group in groups]])
    palette = ListedColormap(list(_shades(groups).values()))
    for bounds, values in (([-0.05, 0, 0.035, 1], strip.T), ([0, -0.05, 1, 0.035], strip)):
        inset = ax.inset_axes(bounds)
        inset.imshow(
            values, cmap=palette, aspect="auto", interpolation="nearest", vmin=-0.5, vmax=len(names) - 0.5
        )
        inset.set_axis_off()


def _group_legend(groups, figure):
    """What the colours of groups mean."""
    shades = _shades(groups)
    if list(shades) != [""]:
        handles = [mpl.patches.Patch(color=shade, label=group) for group, shade in shades.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)), fontsize=7)
