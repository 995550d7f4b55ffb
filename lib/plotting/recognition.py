"""Figures of recognition of metamers by people and networks; each draws a tidy table of `lib.recognition`."""

import numpy as np
import seaborn as sns
from matplotlib.lines import Line2D

LINES = {"human": ("-", "o"), "network": ("--", "s")}
OBSERVERS = {"human": "people", "network": "network that made them"}
EFFECTS = {"observer": "observer", "observer:layer": "observer × layer", "model": "model",
           "layer:model": "model × layer", "layer": "layer"}  # fmt: skip
AXES = {"human": "people", "networks": "other networks", "score": "Brain-Score"}
ROW_INCHES, LINE_INCHES = 3.3, 0.42  # height of a row of panels, and of a line of a panel
SHARES = ("human", "networks")  # columns that are proportions
GREEK = {"r2": "r²", "rho": "ρ", "tau": "τ"}


def curves(table, figure):
    """Recognition by layer: people solid, the network that made the metamers dashed, error bars of one SEM.

    Parameters
    ----------
    table : pandas.DataFrame
        experiment, paper_name, model, observer, stage, layer, value, sem; of `curves.means`.
    figure : matplotlib.figure.Figure

    Returns
    -------
    matplotlib.figure.Figure
        A panel per experiment and set of layers, as high as they need. Without rows it says so.
    """
    layers = (
        table.sort_values("stage").groupby(["experiment", "model"], sort=False)["layer"].unique().map(tuple)
    )
    table = table.join(layers.rename("layers"), on=["experiment", "model"])
    panels = dict(list(table.groupby(["experiment", "layers"], sort=False)))
    if not _panels(figure, *_grid(len(panels))):
        return figure
    figure.set_figheight(ROW_INCHES * -(-len(panels) // 4))
    for ax, ((_, names), here) in zip(figure.axes, panels.items(), strict=False):
        models = list(dict.fromkeys(here["model"]))
        shades = dict(zip(models, sns.color_palette("colorblind", len(models)), strict=True))
        for (model, observer), line in here.groupby(["model", "observer"], sort=False):
            style, marker = LINES[observer]
            line = line.sort_values("stage")
            ax.errorbar(line["stage"], line["value"], line["sem"], linestyle=style, marker=marker, ms=3,
                        linewidth=1, color=shades[model], elinewidth=0.8)  # fmt: skip
        ax.set_xticks(range(len(names)), map(_plain, names), rotation=60, ha="right", fontsize=6)
        ax.set(ylim=(-0.03, 1.06))
        ax.set_title(f"{here['paper_name'].iloc[0]}, n = {here['n'].max():.0f}", fontsize=8)
        handles = [Line2D([], [], color=shades[model], label=model) for model in models]
        ax.legend(handles=handles, fontsize=5, loc="lower left", handlelength=0.8, labelspacing=0.2)
    figure.supylabel("proportion correct", fontsize=9)
    return _legend(figure)


def effects(table, figure):
    """Partial eta squared of every effect, with F, degrees of freedom and p of permutations.

    Parameters
    ----------
    table : pandas.DataFrame
        experiment, about, design, term, F, df, df_error, eta2p, p_permutation, and form ("as published" or "paired");
        of `printed.analyses`, effects with a p only.
    figure : matplotlib.figure.Figure

    Returns
    -------
    matplotlib.figure.Figure
        A panel per design, as high as it needs. Without rows it says so.
    """
    table = table.assign(column=table["design"].map({"layer": "observer"}).fillna(table["design"]))
    parts = dict(list(table.groupby("column", sort=False)))
    if not _panels(figure, 1, len(parts)):
        return figure
    longest = max(here[["experiment", "about"]].drop_duplicates().shape[0] for here in parts.values())
    figure.set_figheight(1.5 + LINE_INCHES * longest)
    for ax, here in zip(figure.axes, parts.values(), strict=True):
        names = list(dict.fromkeys(zip(here["experiment"], here["about"], strict=True)))
        terms = list(dict.fromkeys(here["term"]))
        for form, marker in (("as published", "o"), ("paired", "D")):
            for number, term in enumerate(terms):
                dots = here[(here["form"] == form) & (here["term"] == term)]
                at = np.array([names.index(k) for k in zip(dots["experiment"], dots["about"], strict=True)])
                ax.plot(dots["eta2p"], at + 0.18 * (number - (len(terms) - 1) / 2), marker, ms=4, linestyle="none",
                        color=f"C{number}", markerfacecolor="none" if form == "paired" else f"C{number}",
                        label=f"{EFFECTS[term]}, {form}" if len(dots) else None)  # fmt: skip
        said = here[here["form"] == "as published"].groupby(["experiment", "about"], sort=False)
        lines = {key: "; ".join(_said(row) for row in rows.itertuples()) for key, rows in said}
        ax.set_yticks(
            range(len(names)), [f"{e}: {a}\n{lines.get((e, a), '')}" for e, a in names], fontsize=5.5
        )
        ax.set(ylim=(len(names) - 0.4, -0.6), xlim=(-0.03, 1.03), xlabel="partial η²")
        ax.grid(axis="y", linewidth=0.3)
        ax.legend(fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=2)
    return figure


def scatter(points, found, figure, *, x, y, by):
    """One point per layer or model, people's recognition against another quantity, with the correlations.

    Parameters
    ----------
    points : pandas.DataFrame
        Columns x, y, `by` and model.
    found : pandas.DataFrame
        `by`, measure, value, low, high, p, n; of `agreement.correlations`. With columns published and n_published (NaN:
        none) printed values stand below those found here.
    figure : matplotlib.figure.Figure
    x, y, by : str
        Columns of `points`.

    Returns
    -------
    matplotlib.figure.Figure
        A panel per level of `by`. Without rows it says so.
    """
    groups = dict(list(points.groupby(by, sort=False)))
    if not _panels(figure, *_grid(len(groups))):
        return figure
    names = list(dict.fromkeys(points["model"]))
    shades = dict(zip(names, sns.color_palette("husl", len(names)), strict=True))
    for ax, (group, here) in zip(figure.axes, groups.items(), strict=False):
        for model, some in here.groupby("model", sort=False):
            ax.plot(some[x], some[y], "o", ms=4, color=shades[model], label=model)
        rows = found[found[by] == group]
        said = [_correlation(row) for row in rows.itertuples()] + _printed(rows)
        ax.set_title("\n".join([f"{group}, n = {len(here)}", *said]), fontsize=7)
        ax.set(xlabel=AXES.get(x, x), ylabel=AXES.get(y, y))
        ax.set(**{f"{axis}lim": (-0.03, 1.03) for axis, name in (("x", x), ("y", y)) if name in SHARES})
    return _names(figure)


def networks(table, figure, *, by="generator"):
    """Recognition of metamers by other networks, by layer, with a band of one SEM.

    Parameters
    ----------
    table : pandas.DataFrame
        modality, stage, layer, value, sem, n, and the column `by`; of `networks.curves` or `networks.groups`. Where it
        has a column own, that is the generating network's own accuracy, dashed.
    figure : matplotlib.figure.Figure
    by : str
        Column that tells the lines of a panel apart.

    Returns
    -------
    matplotlib.figure.Figure
        A panel per modality. Without rows it says so.
    """
    panels = dict(list(table.groupby("modality", sort=False)))
    if not _panels(figure, 1, len(panels)):
        return figure
    for ax, (modality, here) in zip(figure.axes, panels.items(), strict=True):
        names = here.drop_duplicates("stage").sort_values("stage")
        for number, (name, line) in enumerate(here.groupby(by, sort=False)):
            line, shade = line.sort_values("stage"), f"C{number}"
            ax.plot(
                line["stage"], line["value"], "o-", ms=3, color=shade, label=f"{name} (n = {line['n'].max()})"
            )
            low, high = line["value"] - line["sem"], line["value"] + line["sem"]
            ax.fill_between(line["stage"], low, high, color=shade, alpha=0.25, linewidth=0)
            if "own" in line:
                ax.plot(line["stage"], line["own"], "s--", ms=3, color=shade, label=f"{name}, itself")
        ax.set_xticks(names["stage"], names["layer"].map(_plain), rotation=45, ha="right", fontsize=7)
        ax.set(ylim=(-0.03, 1.03), title=modality)
        ax.legend(fontsize=7, loc="lower left")
    figure.supylabel("share of metamers recognised", fontsize=9)
    return figure


def attacks(table, tests, figure):
    """Accuracy under attack by size of attack, a line per network and a thin one per seed.

    Parameters
    ----------
    table : pandas.DataFrame
        comparison, norm, network, seed, eps, proportion_correct; `adversarial` of target metamer_recognition.
    tests : pandas.DataFrame
        comparison, term, F, df, df_error, p_permutation; of `adversarial.analyses`.
    figure : matplotlib.figure.Figure

    Returns
    -------
    matplotlib.figure.Figure
        A panel per comparison. Without rows it says so.
    """
    panels = dict(list(table.groupby("comparison", sort=False)))
    if not _panels(figure, *_grid(len(panels), across=3)):
        return figure
    names = list(dict.fromkeys(table["network"]))
    for ax, (comparison, here) in zip(figure.axes, panels.items(), strict=False):
        for network, rows in here.groupby("network", sort=False):
            shade = f"C{names.index(network)}"
            for _, one in rows.groupby("seed"):
                ax.plot(one["eps"], one["proportion_correct"], "-", linewidth=0.5, alpha=0.4, color=shade)
            mean = rows.groupby("eps")["proportion_correct"].mean()
            ax.plot(mean.index, mean, "o-", ms=3, color=shade, label=network)
        rows = tests[(tests["comparison"] == comparison) & tests["term"].isin(["network", "network:eps"])]
        said = [f"{row.term.replace(':', ' × ')}: {_f(row)}" for row in rows.itertuples()]
        ax.set_title("\n".join([comparison, *said]), fontsize=6)
        ax.set(xscale="log", xlabel=f"size of the attack ({here['norm'].iloc[0]})", ylim=(-0.03, 0.6))
    figure.supylabel("proportion correct", fontsize=9)
    return _names(figure)


def _plain(layer):
    """A released layer's name without what only says how its gradient was taken."""
    return layer.removesuffix("_fake_relu").removesuffix("_fakerelu")


def _f(row):
    return f"F({row.df:.0f}, {row.df_error:.0f}) = {row.F:.3g}"


def _said(row):
    p = row.p_permutation
    return f"{_f(row)}, p = {p:.2g}"


def _correlation(row):
    interval = "" if np.isnan(row.low) else f" [{row.low:.2f}, {row.high:.2f}]"
    corrected = getattr(row, "p_corrected", np.nan)
    more = "" if np.isnan(corrected) else f", corrected {corrected:.2g}"
    return f"{GREEK[row.measure]} = {row.value:.2f}{interval}, p = {row.p:.2g}{more}"


def _printed(rows):
    """One line of published correlations, if there are any."""
    rows = rows.dropna(subset="published") if "published" in rows else rows.head(0)
    values = ", ".join(f"{GREEK[row.measure]} = {row.published:.2f}" for row in rows.itertuples())
    return [f"published, {rows['n_published'].max():.0f} networks: {values}"] if values else []


def _panels(figure, n_rows, n_columns):
    """Axes of a grid, or a sentence where there is nothing to show."""
    if not n_rows * n_columns:
        figure.text(0.5, 0.5, "no results", ha="center")
        return False
    figure.subplots(n_rows, n_columns, squeeze=False)
    return True


def _grid(n, across=4):
    """Rows and columns of so many panels."""
    n_columns = min(n, across)
    return -(-n // across) if n else 0, n_columns


def _legend(figure):
    """What solid and dashed lines are; panels without data are removed."""
    _spare(figure)
    handles = [
        Line2D([], [], color="black", linestyle=style, marker=marker, ms=3, label=OBSERVERS[observer])
        for observer, (style, marker) in LINES.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", fontsize=7, ncols=2, handlelength=4)
    return figure


def _names(figure):
    """One legend for all panels, each name once; panels without data are removed."""
    _spare(figure)
    known = {}
    for ax in figure.axes:
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True):
            known.setdefault(name, handle)
    figure.legend(known.values(), known.keys(), loc="outside lower center", fontsize=6, ncols=4)
    return figure


def _spare(figure):
    for ax in figure.axes:
        if not ax.has_data():
            ax.set_axis_off()
