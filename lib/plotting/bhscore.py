"""Figures of brain hierarchy scores: rankings, top regions by layer, and how scores hang on choices."""

from itertools import cycle

import numpy as np
import seaborn as sns
from matplotlib.patches import Rectangle

from lib.plotting.look import colour, label

PUBLISHED, RECOMPUTED = "#1f77b4", "#E69F00"
SHOWN = {"decoding": "decoding", "encoding": "encoding", "mean": "mean of both"}
REGION = "#808080"
FORMULAS = {"t": ("-", "t"), "nonaka2021": (":", "as published")}


def ranking(table, ax):
    """A bar per network with its published score, the best on top; beside it the recomputed one with its interval.

    Parameters
    ----------
    table : pandas.DataFrame
        network, published, value, low, high (NaN: not recomputed).
    ax : matplotlib.axes.Axes

    Returns
    -------
    matplotlib.axes.Axes
    """
    table = table.sort_values("published", ascending=False, kind="stable").reset_index(drop=True)
    places, both = np.arange(len(table)), table["value"].notna().any()
    height, shift = (0.4, 0.2) if both else (0.8, 0.0)
    ax.barh(places - shift, table["published"], height=height, color=PUBLISHED, label="published")
    inside = table["published"] > 0.15 * table["published"].max()
    for place, value, within in zip(places - shift, table["published"], inside, strict=True):
        where = {"color": "white", "ha": "right"} if within else {"color": "black", "ha": "left"}
        ax.text(
            value + (-0.005 if within else 0.005), place, f"{value:.2f}", va="center", fontsize=6, **where
        )
    if both:
        ax.barh(places + shift, table["value"], height=height, color=RECOMPUTED, label="recomputed")
        ax.hlines(places + shift, table["low"], table["high"], color="black", linewidth=0.8)
        ax.legend(loc="lower right", fontsize=7)
    ax.set_yticks(places, table["network"], fontsize=7)
    ax.set(ylim=(len(table) - 0.5, -0.5), xlabel="BH score")
    return ax


def rankings(table, figure):
    """A ranking for each measure: mean of decoding and encoding, and either.

    Parameters
    ----------
    table : pandas.DataFrame
        measure, and what `ranking` takes. Measures other than "mean", "decoding" and "encoding" are not drawn.
    figure : matplotlib.figure.Figure
    """
    axes = figure.subplots(1, 3)
    for ax, measure in zip(axes, ("mean", "decoding", "encoding"), strict=True):
        ranking(table[table["measure"] == measure], ax)
        ax.set_title(SHOWN[measure])


def performance(table, found, figure):
    """Scores of networks over their accuracy on ImageNet, with the rank correlation.

    Parameters
    ----------
    table : pandas.DataFrame
        network, measure, top1 (%), published, value (NaN: not recomputed). Networks without accuracy are left out.
    found : pandas.DataFrame
        measure, source ("published" or "recomputed"), value, low, high, n; of `lib.bhscore_published.performance`.
    figure : matplotlib.figure.Figure
    """
    table = table.dropna(subset="top1")
    for ax, (measure, title) in zip(figure.subplots(1, len(SHOWN)), SHOWN.items(), strict=True):
        rows = table[table["measure"] == measure]
        ax.plot(rows["top1"], rows["published"], "o", ms=4, color=PUBLISHED, label="published")
        if rows["value"].notna().any():
            ax.plot(rows["top1"], rows["value"], "o", ms=4, mfc="none", color=RECOMPUTED, label="recomputed")
            ax.legend(loc="lower left", fontsize=7)
        _name_points(ax, rows)
        said = [
            f"{row.source}: ρ = {row.value:.2f} [{row.low:.2f}, {row.high:.2f}], n = {row.n}"
            for row in found[found["measure"] == measure].itertuples()
        ]
        ax.set_title("\n".join([title, *said]), fontsize=8)
        ax.set(xlim=(40, 90), ylim=(0, 0.6), xlabel="top-1 accuracy on ImageNet (%)", ylabel="BH score")


def scores(table, figure):
    """A panel per measure: the score of each model with its interval, and in grey where scores without order lie.

    Parameters
    ----------
    table : pandas.DataFrame
        target, model, measure, value, low, high (NaN: no interval is drawn), null_low, null_high. Without rows the
        figure says so.
    figure : matplotlib.figure.Figure
    """
    table = table[table["measure"].isin(SHOWN)]
    if table.empty:
        figure.text(0.5, 0.5, "no results", ha="center")
        return
    results = table[["target", "model"]].drop_duplicates().itertuples(index=False, name=None)
    rows = {result: place for place, result in enumerate(results)}
    axes = figure.subplots(1, len(SHOWN), sharey=True)
    for ax, (measure, title) in zip(axes, SHOWN.items(), strict=True):
        for (target, model), part in table[table["measure"] == measure].groupby(
            ["target", "model"], sort=False
        ):
            row, place = part.iloc[0], rows[target, model]
            width = row["null_high"] - row["null_low"]
            ax.barh(place, width, left=row["null_low"], height=0.8, color="0.88")
            ax.hlines(place, row["low"], row["high"], color="black", linewidth=1)
            ax.plot(row["value"], place, "o", color=colour(model), markeredgecolor="black", ms=6)
        ax.axvline(0, color="grey", linewidth=0.6)
        ax.set(title=title, xlabel="BH score", xlim=(-1.05, 1.05))
    axes[0].set_yticks(range(len(rows)), [f"{label(model)}\n{target}" for target, model in rows], fontsize=7)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)


def top_rois(table, figure):
    """For each result a column of histograms: the region each unit is decoded best from, first layer at the bottom.

    Parameters
    ----------
    table : pandas.DataFrame
        target, model, layer, roi, share (of the layer's significant units; NaN: none), and score (of all layers, in
        the title). Without rows the figure says so.
    figure : matplotlib.figure.Figure
    """
    results = [part for _, part in table.groupby(["target", "model"], sort=False)]
    if not results:
        figure.text(0.5, 0.5, "no results", ha="center")
        return
    most = max(part["layer"].nunique() for part in results)
    axes = figure.subplots(most, len(results), squeeze=False)
    for column, part in zip(axes.T, results, strict=True):
        layers, rois = list(part["layer"].unique()), list(part["roi"].unique())
        for ax in column[: most - len(layers)]:
            ax.set_axis_off()
        top = column[most - len(layers)]
        top.set_title(
            f"{label(part['model'].iloc[0])}, {part['target'].iloc[0]}\nBH score = {part['score'].iloc[0]:.2f}"
        )
        for ax, layer in zip(column[::-1], layers, strict=False):
            share = part[part["layer"] == layer].set_index("roi")["share"].reindex(rois)
            ax.bar(range(len(rois)), share, width=0.8, color=REGION)
            ax.set(ylim=(0, 1), yticks=[], xticks=range(len(rois)), xticklabels=[])
            ax.text(-0.5, 0.7, layer, fontsize=8)
        column[-1].set_xticks(range(len(rois)), rois)


def matrices(table, figure):
    """For each result the share of each layer's units that are decoded best from each region.

    Parameters
    ----------
    table : pandas.DataFrame
        As for `top_rois`, and true_layer, the planted layer of each region ("": not planted), which is framed.
    figure : matplotlib.figure.Figure
    """
    results = [part for _, part in table.groupby(["target", "model"], sort=False)]
    if not results:
        figure.text(0.5, 0.5, "no results", ha="center")
        return
    for ax, part in zip(figure.subplots(1, len(results), squeeze=False)[0], results, strict=True):
        shares = part.pivot_table(index="layer", columns="roi", values="share", sort=False, dropna=False)[
            ::-1
        ]
        text = shares.map(lambda s: f"{s:.2f}".replace("0.", ".") if s == s else "")
        sns.heatmap(
            shares, ax=ax, vmin=0, vmax=1, cmap="Greys", annot=text, fmt="", cbar=False, annot_kws={"size": 7}
        )
        for place, roi in enumerate(shares.columns):
            true = part.loc[part["roi"] == roi, "true_layer"].iloc[0]
            if true in shares.index:
                corner = place, shares.index.get_loc(true)
                ax.add_patch(_frame(corner))
        ax.tick_params(axis="y", rotation=0)
        ax.set(xlabel="region", ylabel="", title=f"{label(part['model'].iloc[0])}\n{part['target'].iloc[0]}")


def sensitivity(table, figure):
    """For each result the score by the number of layers in a subset, a line per level of significance.

    Parameters
    ----------
    table : pandas.DataFrame
        target, model, and the columns of `lib.bhscore.sensitivity`. Lines are dotted where significance is that of the
        published formula; where no unit is left there is none.
    figure : matplotlib.figure.Figure
    """
    results = [part for _, part in table.groupby(["target", "model"], sort=False)]
    if not results:
        figure.text(0.5, 0.5, "no results", ha="center")
        return
    axes = figure.subplots(1, len(results), squeeze=False, sharey=True)[0]
    for ax, part in zip(axes, results, strict=True):
        shades = dict(
            zip(part["level"].unique(), cycle(("#0072B2", "#009E73", "#D55E00", "#CC79A7")), strict=False)
        )
        for (formula, level), rows in part.groupby(["formula", "level"], sort=False):
            style, name = FORMULAS[formula]
            ax.plot(
                rows["n_layers"],
                rows["value"],
                style,
                marker="o",
                ms=3,
                color=shades[level],
                label=f"{level:g}, {name}",
            )
        ax.axhline(0, color="grey", linewidth=0.6)
        ax.set(xlabel="layers in a subset", title=f"{label(part['model'].iloc[0])}\n{part['target'].iloc[0]}")
        ax.set_xticks(sorted(part["n_layers"].unique()))
    axes[0].set_ylabel("BH score by decoding")
    axes[-1].legend(
        title="significance", fontsize=7, title_fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5)
    )


def _name_points(ax, rows, *, gap=0.016):
    """Names beside their points, right or left, where they cover no point and no other name."""
    taken = [(x - 0.5, x + 0.5, y) for x, y in zip(rows["top1"], rows["published"], strict=True)]
    for row in rows.sort_values("published", ascending=False).itertuples():
        width = 0.72 * len(row.network)
        for side, start in (("left", row.top1 + 0.9), ("right", row.top1 - 0.9 - width)):
            box = start, start + width, row.published
            clear = all(box[1] < a or b < box[0] or abs(box[2] - y) > gap for a, b, y in taken)
            if clear and box[0] > 40 and box[1] < 91:
                ax.text(
                    start if side == "left" else start + width, row.published, row.network, fontsize=5, ha=side,
                    va="center",
                )  # fmt: skip
                taken.append(box)
                break


def _frame(corner):
    """A red frame around a field of a heat map."""
    return Rectangle(corner, 1, 1, fill=False, edgecolor="crimson", linewidth=2)
