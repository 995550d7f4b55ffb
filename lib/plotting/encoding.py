"""Figures of encoding in the layout of the auditory study: each draws a tidy table of `lib.comparison`."""

from itertools import product

import numpy as np
import pandas as pd
import seaborn as sns

from lib.plotting.look import PUBLISHED, colour, label

CONTROLS = {"": "trained", "permuted": "permuted", "random": "random"}
RULES = {
    "nested": "chosen on train stimuli",
    "halves": "chosen on half of the splits",
    "tuckute2023": "chosen on half of the splits, as published",
}


def models(table, figure, *, ylabel, baseline=None):
    """Bars of all models, one row of panels trained and one per control, in the order of the trained networks.

    Parameters
    ----------
    table : pandas.DataFrame
        target, part, control, network, model, rank, value, sem; of `comparison.ranked`. With a column published (NaN:
        none) the published values are open diamonds, that of the baseline a dashed line; with a column ceiling (one
        per target and part; NaN: none) that is a dotted one.
    figure : matplotlib.figure.Figure
    ylabel : str
    baseline : str, optional
        Model drawn as a line with a band of its error, in every row, and not as a bar.

    Returns
    -------
    matplotlib.figure.Figure
        A column of panels per target and part. Without rows it says so.
    """
    columns = table[["target", "part"]].drop_duplicates().to_numpy().tolist()
    rows = [control for control in CONTROLS if control in set(table["control"])]
    if not _panels(figure, len(rows), len(columns)):
        return figure
    places = product(enumerate(rows), enumerate(columns))
    for (i, control), (j, (target, part)) in places:
        ax = figure.axes[i * len(columns) + j]
        here = table[(table["target"] == target) & (table["part"] == part)]
        order = [n for n in dict.fromkeys(here.sort_values("rank")["network"]) if n != baseline]
        bars = here[(here["control"] == control) & (here["network"] != baseline)]
        at = [order.index(network) for network in bars["network"]]
        shades = [colour(network) for network in bars["network"]]
        ax.bar(at, bars["value"], width=0.7, yerr=bars["sem"], color=shades, ecolor="black", capsize=0)
        for line in here[here["model"] == baseline].itertuples():
            ax.axhline(line.value, color="grey", linewidth=1, label=label(baseline))
            error = 0 if np.isnan(line.sem) else line.sem
            ax.axhspan(line.value - error, line.value + error, color="grey", alpha=0.25, linewidth=0)
        _printed(ax, at, bars, here[here["model"] == baseline])
        for ceiling in here.get("ceiling", pd.Series()).dropna().unique()[:1]:
            ax.axhline(ceiling, color="black", linewidth=1, linestyle=":", label="noise ceiling")
        names = [label(network) for network in order] if i == len(rows) - 1 else [""] * len(order)
        ax.set_xticks(range(len(order)), names, rotation=60, ha="right")
        top = np.nanmax([1, *(bars["value"] + bars["sem"].fillna(0))])
        ax.set(ylim=(0, top), xlim=(-0.6, max(len(order), 3) - 0.4))
        ax.set_title(f"{_where(target, part)}, {CONTROLS[control]}", fontsize=8)
    figure.supylabel(ylabel, fontsize=9)
    return _legend_once(figure)


def layers(table, figure, *, hue, ylabel):
    """Score across the layers of each network, a panel per target and network.

    Parameters
    ----------
    table : pandas.DataFrame
        target, network, number, layer, value, sem (NaN: no band), and the column `hue`.
    figure : matplotlib.figure.Figure
    hue : str
        Column that tells the lines of a panel apart, for instance "control" or "part".
    ylabel : str

    Returns
    -------
    matplotlib.figure.Figure
        Without rows it says so.
    """
    panels = table[["target", "network"]].drop_duplicates().to_numpy().tolist()
    if not _panels(figure, *_grid(len(panels))):
        return figure
    levels = list(dict.fromkeys(table[hue]))
    shades = dict(zip(levels, sns.color_palette("viridis", len(levels) + 1), strict=False))
    for ax, (target, network) in zip(figure.axes, panels, strict=False):
        here = table[(table["target"] == target) & (table["network"] == network)]
        for level, line in here.groupby(hue, sort=False):
            line = line.sort_values("number")
            name = CONTROLS.get(level, level)
            ax.plot(line["number"], line["value"], "o-", ms=3, color=shades[level], label=name)
            band = line["sem"].fillna(0)
            low, high = line["value"] - band, line["value"] + band
            ax.fill_between(line["number"], low, high, color=shades[level], alpha=0.25, linewidth=0)
        names = here.drop_duplicates("number").sort_values("number")
        ax.set_xticks(names["number"], names["layer"], rotation=60, ha="right", fontsize=7)
        ax.set_ylim(0, None)
        ax.set_title(f"{target}, {label(network)}", fontsize=8)
    figure.supylabel(ylabel, fontsize=9)
    return _legend_once(figure)


def roi_positions(table, tests, figure):
    """Best layer in each region against a reference region, a point per model, and the line where they agree.

    Parameters
    ----------
    table : pandas.DataFrame
        target, control, part, reference, model, x, x_sem, y, y_sem; of `comparison.facing`. With columns x_published
        and y_published (NaN: none) the published points are open diamonds, and lines lead to them.
    tests : pandas.DataFrame
        target, control, part, w, p, n_above, n; of `comparison.position_tests`.
    figure : matplotlib.figure.Figure

    Returns
    -------
    matplotlib.figure.Figure
        A row of panels per target, one per region. Without rows it says so.
    """
    rows = {target: list(dict.fromkeys(here["part"])) for target, here in table.groupby("target", sort=False)}
    n_columns = max(map(len, rows.values()), default=0)
    if not _panels(figure, len(rows), n_columns):
        return figure
    for i, (target, parts) in enumerate(rows.items()):
        for ax, part in zip(figure.axes[i * n_columns :], parts, strict=False):
            here, found = (t[(t["target"] == target) & (t["part"] == part)] for t in (table, tests))
            _crosses(ax, here)
            _published_points(ax, here)
            ax.axline((0, 0), slope=1, color="grey", linewidth=0.8, zorder=0)
            ax.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), aspect="equal")
            ax.set(xlabel=here["reference"].iloc[0], ylabel=part)
            said = [
                f"{CONTROLS[t.control]}: {t.n_above} of {t.n} above"
                + ("" if np.isnan(t.p) else f", W = {t.w:g}, p = {t.p:.2g}")
                for t in found.itertuples()
            ]
            ax.set_title("\n".join([target, *said]), fontsize=7)
    return _legend_once(figure)


def scatter(points, found, figure, *, panels=("x_level", "y_level"), axes=None):
    """One value of each model, or layer, against another, with the squared correlation.

    Parameters
    ----------
    points : pandas.DataFrame
        x, y, the columns `panels`, and network, which colours the points.
    found : pandas.DataFrame
        The columns `panels`, value (r²), p, n; of `comparison.agreement`.
    figure : matplotlib.figure.Figure
    panels : sequence of str
        Columns whose combinations have a panel each.
    axes : pair of str, optional
        What the two axes are. Default: both are the same quantity, under the conditions x_level and y_level; they
        have one scale, and the line where they agree is drawn.

    Returns
    -------
    matplotlib.figure.Figure
        Without rows it says so.
    """
    panels = list(panels)
    groups = dict(list(points.groupby(panels, sort=False))) if len(points) else {}
    if not _panels(figure, *_grid(len(groups))):
        return figure
    for ax, (group, here) in zip(figure.axes, groups.items(), strict=False):
        for network, some in here.groupby("network", sort=False):
            ax.plot(some["x"], some["y"], "o", ms=4, color=colour(network), label=label(network))
        if axes is None:
            ax.axline((0, 0), slope=1, color="grey", linewidth=0.8, zorder=0)
            largest = 1.05 * np.nanmax(here[["x", "y"]].to_numpy())
            ax.set(xlim=(0, largest), ylim=(0, largest), aspect="equal")
        names = {panel: CONTROLS.get(name, str(name)) for panel, name in zip(panels, group, strict=True)}
        across, up = axes or (names.pop("x_level"), names.pop("y_level"))
        ax.set(xlabel=across, ylabel=up)
        one = found.merge(pd.DataFrame([group], columns=panels)).iloc[0]
        known = f"r² = {one['value']:.2f}, p = {one['p']:.2g}, n = {one['n']:.0f}"
        said = known if pd.notna(one["value"]) else f"n = {one['n']:.0f}: too few for r²"
        ax.set_title("\n".join([*filter(None, [", ".join(names.values())]), said]), fontsize=8)
    return _legend_once(figure)


def optimism(table, figure):
    """How much choosing the layer on the test data itself adds to the score, by rule it is compared with.

    Parameters
    ----------
    table : pandas.DataFrame
        target, part, model, rule, value, low, high (NaN: no interval); of `comparison.optimism`, one part of each
        target.
    figure : matplotlib.figure.Figure

    Returns
    -------
    matplotlib.figure.Figure
        A panel per target. Without rows it says so.
    """
    targets = list(dict.fromkeys(table["target"]))
    if not _panels(figure, 1, len(targets)):
        return figure
    rules = [rule for rule in RULES if rule in set(table["rule"])]
    for ax, target in zip(figure.axes, targets, strict=True):
        here = table[table["target"] == target]
        names = list(dict.fromkeys(here["model"]))
        for number, rule in enumerate(rules):
            dots = here[here["rule"] == rule]
            at = np.array([names.index(m) for m in dots["model"]]) + 0.2 * (number - (len(rules) - 1) / 2)
            ax.hlines(at, dots["low"], dots["high"], color=f"C{number}")
            ax.plot(dots["value"], at, "o", ms=4, color=f"C{number}", label=RULES[rule])
        ax.axvline(0, color="grey", linewidth=0.8, zorder=0)
        ax.set_yticks(range(len(names)), [label(model) for model in names])
        ax.set(ylim=(len(names) - 0.5, -0.5), xlabel="gain by choosing on the test data", title=target)
    return _legend_once(figure)


def released_regressions(table, tests, figure):
    """Explained variance across layers, and of the best layers of two models in each region.

    Parameters
    ----------
    table : pandas.DataFrame
        panel ("layers" or "best layer"), model, part, layer, subject, value: of all voxels across layers, and of the
        best layer in each part.
    tests : pandas.DataFrame
        part, model, other, t, df, p; of `released_regressions.tests`.
    figure : matplotlib.figure.Figure

    Returns
    -------
    matplotlib.figure.Figure
        Participants are thin lines and dots, their means thick ones. Without rows it says so.
    """
    if not _panels(figure, 1, 2 if len(table) else 0):
        return figure
    left, right = figure.axes
    names = list(dict.fromkeys(table["model"]))
    shades = dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))
    curves, best = (table[table["panel"] == panel] for panel in ("layers", "best layer"))
    order = list(dict.fromkeys(curves["layer"]))
    for model, lines in curves.groupby("model", sort=False):
        at = lines["layer"].map(order.index)
        for _, one in lines.assign(at=at).sort_values("at").groupby("subject"):
            left.plot(one["at"], one["value"], "-", marker=".", ms=3, color=shades[model], alpha=0.3)
        mean = lines.assign(at=at).groupby("at")["value"].mean()
        left.plot(mean.index, mean, "o-", color=shades[model], linewidth=2, label=model)
    left.set_xticks(range(len(order)), order, rotation=45, ha="right")
    parts = list(dict.fromkeys(best["part"]))
    for (model, part), dots in best.groupby(["model", "part"], sort=False):
        at = parts.index(part) + 0.6 * ((names.index(model) + 0.5) / len(names) - 0.5)
        right.bar(at, dots["value"].mean(), width=0.55 / len(names), color=shades[model], alpha=0.5)
        right.plot(np.full(len(dots), at), dots["value"], ".", ms=4, color=shades[model])
    said = {t.part: f"\nt({t.df}) = {t.t:.1f}" for t in tests.itertuples() if len(names) == 2}
    right.set_xticks(range(len(parts)), [part + said.get(part, "") for part in parts], fontsize=7)
    left.set(ylim=(0, 1), ylabel="explained variance, corrected", title="all voxels")
    right.set(ylim=(0, 1), title="layer that is best in the other participants")
    left.legend(fontsize=7)
    return figure


def _panels(figure, n_rows, n_columns):
    """Axes of a grid, or a sentence where there is nothing to show."""
    if not n_rows * n_columns:
        figure.text(0.5, 0.5, "no results", ha="center")
        return False
    figure.subplots(n_rows, n_columns, squeeze=False)
    return True


def _grid(n):
    """Rows and columns of so many panels, at most four side by side."""
    n_columns = min(n, 4)
    return -(-n // 4) if n else 0, n_columns


def _where(target, part):
    return target if part == "all" else f"{target}, {part}"


def _crosses(ax, points):
    """A point per model with both error bars."""
    for point in points.itertuples():
        shade = colour(point.model)
        errors = {"xerr": point.x_sem, "yerr": point.y_sem}
        errors = {name: None if np.isnan(error) else error for name, error in errors.items()}
        ax.errorbar(
            point.x, point.y, fmt="o", ms=4, color=shade, elinewidth=0.8, label=label(point.model), **errors
        )


def _printed(ax, places, bars, baseline):
    """Published values of bars and of the baseline, as far as there are any."""
    if "published" not in bars:
        return
    if bars["published"].notna().any():
        ax.plot(places, bars["published"], label="published", **PUBLISHED)
    for line in baseline.dropna(subset="published").itertuples():
        name = f"{label(line.model)}, published"
        ax.axhline(line.published, color="black", linewidth=1, linestyle="--", label=name)


def _published_points(ax, points):
    """Where models were published to lie, joined to where they lie here."""
    if "x_published" not in points:
        return
    for point in points.dropna(subset=["x_published", "y_published"]).itertuples():
        across, up = (point.x, point.x_published), (point.y, point.y_published)
        ax.plot(across, up, "-", color=colour(point.model), linewidth=0.6, zorder=1)
        edge = PUBLISHED | {"mec": colour(point.model)}
        ax.plot(point.x_published, point.y_published, **edge)
        ax.plot([], [], label="published", **PUBLISHED)


def _legend_once(figure):
    """One legend for all panels, each name once; panels without data are removed."""
    known = {}
    for ax in list(figure.axes):
        if not ax.has_data():
            ax.set_axis_off()
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True):
            known.setdefault(name, handle)
    if known:
        figure.legend(known.values(), known.keys(), loc="outside lower center", fontsize=7, ncols=5)
    return figure
