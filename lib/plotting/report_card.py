"""Figures of the report card: measures side by side, and how far they agree."""

import numpy as np
import seaborn as sns

from lib.plotting.look import colour, label
from lib.report_card import MEASURES, RUNGS

PLACES = {rung: place for place, rung in enumerate(RUNGS) if rung != "ceiling"}


def ladder(table, figure):
    """Each measure of each model on the ladder from the bare input to the trained network; the ceiling in grey.

    Parameters
    ----------
    table : pandas.DataFrame
        target, model, network, rung, measure, value, low, high; see `lib.report_card.card`. Rows of networks
        whose controls were run are joined by a line.
    figure : matplotlib.figure.Figure
    """
    targets = list(dict.fromkeys(table["target"]))
    measures = [name for name in MEASURES if name in set(table["measure"])]
    axes = figure.subplots(len(targets), len(measures), squeeze=False, sharex=True)
    for row, target in zip(axes, targets, strict=True):
        for ax, measure in zip(row, measures, strict=True):
            here = table[(table["target"] == target) & (table["measure"] == measure)]
            _rungs(here, ax)
            ax.set_title(MEASURES[measure][0] if ax in axes[0] else "", fontsize=8)
        row[0].set_ylabel(target.replace("_", " "))
    for ax in axes[-1]:
        ax.set_xticks(list(PLACES.values()), list(PLACES), rotation=45, ha="right")
        ax.set_xlim(-0.5, len(PLACES) - 0.5)
    networks = [name for name in dict.fromkeys(table["network"]) if name]
    handles = [axes[0, 0].plot([], [], "o-", color=colour(name), label=label(name))[0] for name in networks]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)


def agreement(table, figure):
    """Matrix of rank correlations between measures over models, one per target.

    Parameters
    ----------
    table : pandas.DataFrame
        target, a, b, value, low, high, n; see `lib.report_card.agreement`.
    figure : matplotlib.figure.Figure
    """
    targets = list(dict.fromkeys(table["target"]))
    names = [name for name in MEASURES if name in {*table["a"], *table["b"]}]
    for ax, target in zip(figure.subplots(1, len(targets), squeeze=False)[0], targets, strict=True):
        here = table[table["target"] == target]
        wide = np.full((len(names), len(names)), np.nan)
        text = np.full(wide.shape, "", dtype=object)
        for row in here.itertuples():
            i, j = sorted((names.index(row.a), names.index(row.b)), reverse=True)
            # White: so few models bear no opinion.
            wide[i, j] = row.value if np.isfinite(row.low) else 0
            bounds = f"\n{row.low:.2f} to {row.high:.2f}" if np.isfinite(row.low) else "\nno interval"
            text[i, j] = f"{row.value:.2f}{bounds}"
        options = {
            "vmin": -1,
            "vmax": 1,
            "cmap": "RdBu_r",
            "fmt": "",
            "annot_kws": {"fontsize": 6},
            "cbar": False,
        }
        sns.heatmap(wide, annot=text, ax=ax, xticklabels=names, yticklabels=names, square=True, **options)
        ax.set_title(f"{target.replace('_', ' ')}: {here['n'].max()} models", fontsize=9)


def _rungs(here, ax):
    """One measure on one target: points with intervals, a line per network, the ceiling as a band."""
    for ceiling in here[here["rung"] == "ceiling"].itertuples():
        ax.axhspan(ceiling.low, ceiling.high, color="0.85", zorder=0)
        ax.axhline(ceiling.value, color="0.7", linewidth=1, zorder=0)
    for network, rows in here[here["rung"] != "ceiling"].groupby("network", sort=False):
        rows = rows.assign(place=rows["rung"].map(PLACES)).sort_values("place")
        error = np.abs(rows[["low", "high"]].to_numpy().T - rows["value"].to_numpy())
        error = np.nan_to_num(error)
        ax.errorbar(
            rows["place"], rows["value"], yerr=error, fmt="o-", color=colour(network), ms=4, capsize=2
        )
    ax.set_ylim(min(0, here["low"].min()) if here["low"].notna().any() else 0, None)
    if here.empty:
        ax.text(0.5, 0.5, "not run", ha="center", transform=ax.transAxes, color="0.5")
        ax.set_yticks([])
