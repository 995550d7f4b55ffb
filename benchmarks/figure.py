"""Table and figure of what was measured last."""

import csv
import itertools
import textwrap

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import benchmarks
from lib import artefacts
from lib.plotting import look

KEY = ["benchmark", "machine", "case", "opponent"]
NUMBERS = ["ours_s", "opponent_s", "ratio"]
WIDTH = 52  # characters of a case in a line of the figure
CLOSE = 1.0  # a ratio larger by at most this share has its label on the other side of the line


def latest(path, existing):
    """The latest comparison of each case with each opponent on each machine.

    Parameters
    ----------
    path : pathlib.Path
        Of the columns of `benchmarks.COLUMNS`.
    existing : dict of str to set of str
        Names of cases of the benchmarks that there are; None: all that were measured. Rows of others are history.

    Returns
    -------
    pandas.DataFrame
        benchmark, machine, case (its size alone), opponent, ours_s, opponent_s, ratio, date, found (what else the row
        said of the case); by benchmark and machine, in the order in which they were first measured.

    Raises
    ------
    ValueError
        If the file is another table, or a number none.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, restkey="more", restval=None))
    for number, row in enumerate(rows, start=2):
        if tuple(row) != benchmarks.COLUMNS or None in row.values():
            raise ValueError(
                f"{path}, row {number}, does not have the columns {', '.join(benchmarks.COLUMNS)}"
            )
    table = pd.DataFrame(rows, columns=benchmarks.COLUMNS).astype(dict.fromkeys(NUMBERS, float))
    parts = table["case"].str.partition("; ")
    table["case"], table["found"] = parts[0], parts[2]
    here = [
        benchmark in existing and (existing[benchmark] is None or case in existing[benchmark])
        for benchmark, case in zip(table["benchmark"], table["case"], strict=True)
    ]
    table = table[here]
    first = table.drop_duplicates(KEY).reset_index()[[*KEY, "index"]]
    last = table.sort_values("date", kind="stable").drop_duplicates(KEY, keep="last")
    order = ["benchmark", "machine", "index"]
    return (
        last.merge(first, on=KEY).sort_values(order)[[*KEY, *NUMBERS, "date", "found"]].reset_index(drop=True)
    )


def printed(table):
    """The table in words, a block for each benchmark and machine."""
    lines = []
    for (benchmark, machine), rows in table.groupby(["benchmark", "machine"], sort=False):
        lines += ["", f"{benchmark}, {machine}, {span(rows['date'])}"]
        for case, here in rows.groupby("case", sort=False):
            lines.append(f"  {case}")
            lines += [
                f"  {times(r.ratio):>10} {r.opponent}: {r.opponent_s:.4g} s, ours {r.ours_s:.4g} s"
                for r in here.itertuples()
            ]
    return "\n".join(lines[1:]) or "nothing was measured yet"


def times(ratio):
    """A ratio in words, of two digits that count."""
    if ratio < 9.95:
        return f"{ratio:.2f}×" if ratio < 0.995 else f"{ratio:.1f}×"
    return f"{float(f'{ratio:.2g}'):,.0f}×"


def span(dates):
    """First and last of some dates."""
    return " to ".join(sorted({dates.min(), dates.max()}))


def draw(table, figure):
    """A panel per benchmark: how many times as long as ours the others take, a line per case.

    Parameters
    ----------
    table : pandas.DataFrame
        As `latest` gives it. Without rows the figure says so.
    figure : matplotlib.figure.Figure
    """
    panels = [(name, _lines(rows)) for name, rows in table.groupby("benchmark", sort=False)]
    if not panels:
        figure.text(0.5, 0.5, "nothing was measured yet", ha="center")
        return
    heights = [1 + sum(height for _, height, _ in lines) for _, lines in panels]
    figure.set_size_inches(9, 0.9 + 0.19 * sum(heights))
    axes = figure.subplots(len(panels), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (name, lines) in zip(axes, panels, strict=True):
        _panel(lines, ax)
        ax.set_title(name, loc="left", fontweight="bold")
    low, high = table["ratio"].min(), table["ratio"].max()
    axes[-1].set(xscale="log", xlim=(min(low, 1) / 1.6, max(high, 1) * 2.2))
    axes[-1].xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes[-1].set_xlabel("time of the other / time of ours (right of the line ours is faster)")
    figure.supxlabel(caption(table), fontsize=7, color="dimgrey")


def caption(table):
    """Where and when the numbers were measured."""
    said = [f"{m}, {span(rows['date'])}" for m, rows in table.groupby("machine", sort=False)]
    unit = "Seconds of CPU, wall time where a case says so, or seconds of a GPU"
    return textwrap.fill(f"{unit}; both sides in one run. {'; '.join(said)}.", 150)


def _lines(rows):
    """Label, height in lines of text and rows of each case of one benchmark, the machine named where there are more."""
    several = len(set(rows["machine"])) > 1
    found = []
    for (machine, case), here in rows.groupby(["machine", "case"], sort=False):
        label = textwrap.fill(case + (f" ({machine})" if several else ""), WIDTH)
        found.append((label, max(2, label.count("\n") + 1.4), here))
    return found


def _panel(lines, ax):
    """Dots of one benchmark with their ratios, in the colour of the opponent."""
    opponents = list(dict.fromkeys(itertools.chain(*(rows["opponent"] for *_, rows in lines))))
    shades = dict(zip(opponents, sns.color_palette("colorblind", len(opponents)), strict=True))
    ends = np.cumsum([height for _, height, _ in lines])
    places = ends - np.array([height for _, height, _ in lines]) / 2
    ax.axvline(1, color="black", linewidth=0.8, zorder=0)
    for place, (_, _, rows) in zip(places, lines, strict=True):
        ax.axhline(place, color="0.9", linewidth=0.6, zorder=-1)
        rows, above = rows.sort_values("ratio"), True
        close = rows["ratio"].pct_change() < CLOSE
        for row, beside in zip(rows.itertuples(), close, strict=True):
            above = not (beside and above)
            ax.plot(row.ratio, place, "o", ms=5, color=shades[row.opponent])
            ax.annotate(
                times(row.ratio), (row.ratio, place), (0, 9 if above else -9), textcoords="offset points",
                ha="center", va="center", fontsize=6, color=shades[row.opponent],
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.8},
            )  # fmt: skip
    for opponent, shade in shades.items():
        ax.plot([], [], "o", ms=5, color=shade, label=opponent)
    ax.set_yticks(places, [label for label, *_ in lines], fontsize=7)
    ax.set_ylim(ends[-1], -0.3)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)


def write(table):
    """Draw the table and write figure and table to `figures/benchmarks`.

    Parameters
    ----------
    table : pandas.DataFrame
        As `latest` gives it.

    Returns
    -------
    pathlib.Path
        The picture.
    """
    path = artefacts.directory("figures") / "benchmarks"
    with mpl.rc_context(look.STYLE):
        figure = Figure()
        FigureCanvasAgg(figure)
        draw(table, figure)
        look.save_figure(figure, table, path)
    return path.with_suffix(".png")
