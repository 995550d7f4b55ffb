"""Figures 4, 8 and 9 of the auditory study, in their layout, and published values beside those found here."""

import numpy as np
from matplotlib.lines import Line2D

from lib.plotting.look import PUBLISHED, colour, label

# Categories of sounds in the order of the study, with its colours and names.
CATEGORIES = {
    "Music": ("mediumblue", "instrumental music"),
    "Song": ("deepskyblue", "vocal music"),
    "EngSpeech": ("darkgreen", "English speech"),
    "ForSpeech": ("limegreen", "foreign speech"),
    "HumVoc": ("darkviolet", "non-speech vocal"),
    "AniVoc": ("orchid", "animal vocal"),
    "HumNonVoc": ("firebrick", "human non-vocal"),
    "AniNonVoc": ("hotpink", "animal non-vocal"),
    "Nature": ("gold", "nature"),
    "Mechanical": ("darkorange", "mechanical"),
    "EnvSound": ("grey", "environmental sounds"),
}
TASKS = {"word": "s", "speaker": "D", "genre": "x", "audioset": "+", "multitask": "o"}


def responses(table, figure):
    """Response of components to each sound over what a model predicts, a row per model, coloured by category.

    Parameters
    ----------
    table : pandas.DataFrame
        model, part (component), layer, stimulus, category (of `CATEGORIES`, or others in grey), response, predicted,
        r2 (of the best layer, in the title) and published (the study's, NaN: none). In order.
    figure : matplotlib.figure.Figure

    Returns
    -------
    matplotlib.figure.Figure
        Axes of a component have one scale, also between models. Without rows the figure says so.
    """
    names, parts = (list(dict.fromkeys(table[column])) for column in ("model", "part"))
    if not names:
        figure.text(0.5, 0.5, "no results", ha="center")
        return figure
    axes = figure.subplots(len(names), len(parts), squeeze=False, sharex="col", sharey="col")
    for (model, part), rows in table.groupby(["model", "part"], sort=False):
        ax = axes[names.index(model), parts.index(part)]
        for category, sounds in rows.groupby("category", sort=False):
            shade = CATEGORIES.get(category, ("black",))[0]
            ax.plot(sounds["predicted"], sounds["response"], "o", ms=2.5, color=shade, linewidth=0)
        row = rows.iloc[0]
        said = f"r² = {row['r2']:.2f} ({row['layer']})"
        printed = "" if np.isnan(row["published"]) else f"\npublished {row['published']:.2f}"
        ax.set_title(f"{part}\n{said}{printed}" if model == names[0] else said + printed, fontsize=7)
        ax.axline((0, 0), slope=1, color="grey", linewidth=0.6, zorder=0)
        ax.tick_params(labelsize=6)
    for ax, model in zip(axes[:, 0], names, strict=True):
        ax.set_ylabel(f"{label(model)}\nresponse", fontsize=7)
    for ax in axes[-1]:
        ax.set_xlabel("predicted", fontsize=7)
    there = set(table["category"])
    handles = [
        Line2D([], [], marker="o", ms=4, linestyle="none", color=shade, label=name)
        for category, (shade, name) in CATEGORIES.items()
        if category in there
    ]
    figure.legend(handles=handles, loc="outside lower center", fontsize=7, ncols=6)
    return figure


def tasks(table, figure):
    """r² of the networks of each task: bars per component, and music against pitch and speech.

    Parameters
    ----------
    table : pandas.DataFrame
        part (component), model, network (architecture), task (of `TASKS`), value, low, high (NaN: no interval) and
        published (NaN: none).
    figure : matplotlib.figure.Figure

    Returns
    -------
    matplotlib.figure.Figure
        Networks in the order of tasks, a gap before those of several tasks. Without rows the figure says so.
    """
    if table.empty:
        figure.text(0.5, 0.5, "no networks of the study", ha="center")
        return figure
    parts = list(dict.fromkeys(table["part"]))
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.3, 1))
    for ax, part in zip(top.subplots(1, len(parts), sharey=True, squeeze=False)[0], parts, strict=True):
        rows = _by_task(table[table["part"] == part])
        _bars(ax, _places(rows["task"].map([*TASKS].index), {len(TASKS) - 1}), rows)
        ax.set_title(part, fontsize=8)
    top.axes[0].set(ylabel="r²", ylim=(0, 1))
    wide = table.pivot_table(index=["task", "model"], columns="part", values="value", sort=False)
    others = [part for part in ("pitch", "speech") if {part, "music"} <= set(wide.columns)]
    for ax, part in zip(bottom.subplots(1, 2), ("pitch", "speech"), strict=True):
        for (task, model), row in wide[[part, "music"]].iterrows() if part in others else ():
            fill = "none" if TASKS[task] == "o" else "full"
            ax.plot(
                row["music"], row[part], TASKS[task], ms=5, color=colour(model), fillstyle=fill, label=task
            )
        ax.axline((0, 0), slope=1, color="grey", linewidth=0.8, zorder=0)
        ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="r² of music", ylabel=f"r² of {part}")
    _key(figure, table, tasks=True)
    return figure


def clean(table, figure, *, ylabel):
    """Networks trained with background noise beside the same trained without, in pairs.

    Parameters
    ----------
    table : pandas.DataFrame
        target, model, network (architecture), task, clean (bool), value, sem (NaN: no bar), published (NaN: none).
    figure : matplotlib.figure.Figure
    ylabel : str

    Returns
    -------
    matplotlib.figure.Figure
        A panel per target. Without rows the figure says so.
    """
    targets = list(dict.fromkeys(table["target"]))
    if not targets:
        figure.text(0.5, 0.5, "no networks trained with and without noise", ha="center")
        return figure
    for ax, target in zip(figure.subplots(1, len(targets), squeeze=False)[0], targets, strict=True):
        rows = table[table["target"] == target].sort_values(
            ["task", "network", "clean"], ascending=[False, True, True]
        )
        pair = rows.groupby(["task", "network"], sort=False).ngroup()
        half = rows["sem"].fillna(0)
        _bars(ax, 3 * pair + rows["clean"], rows.assign(low=rows["value"] - half, high=rows["value"] + half))
        ax.set_title(target, fontsize=8)
    figure.axes[0].set_ylabel(ylabel)
    _key(figure, table)
    return figure


def _by_task(rows):
    place = rows["task"].map([*TASKS].index).rename("place")
    return rows.assign(place=place).sort_values(["place", "network"], kind="stable")


def _places(groups, gaps):
    """A place per bar, side by side, with an empty one before the groups named."""
    first = ~groups.duplicated() & groups.isin(gaps)
    return np.arange(len(groups)) + first.cumsum().to_numpy()


def _bars(ax, places, rows):
    """Bars with their intervals and published values."""
    ax.bar(places, rows["value"], width=0.8, color=[colour(model) for model in rows["model"]])
    ax.vlines(places, rows["low"], rows["high"], color="black", linewidth=0.8)
    ax.plot(places, rows["published"], **PUBLISHED)
    ax.set_xticks(places, [label(model) for model in rows["model"]], rotation=60, ha="right", fontsize=6)


def _key(figure, table, *, tasks=False):
    """What the markers are."""
    handles = [Line2D([], [], label="published", **PUBLISHED)] if table["published"].notna().any() else []
    if tasks:
        there = [task for task in TASKS if task in set(table["task"])]
        filled = {task: "none" if TASKS[task] == "o" else "full" for task in there}
        handles += [
            Line2D([], [], marker=TASKS[t], fillstyle=filled[t], linestyle="none", color="black", label=t)
            for t in there
        ]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", fontsize=7, ncols=6)
