"""Figures of metamers: examples with their verdicts, pass rates, null distributions, layers, judges."""

import numpy as np
import seaborn as sns
from matplotlib.patches import Rectangle

from lib import plugins
from lib.plotting.look import colour, label

PASSED, FAILED = "0.15", "crimson"
MEASURES = {"spearman": "rank correlation", "pearson": "correlation", "snr_db": "signal to noise (dB)"}


def examples(table, figure, *, images):
    """Natural stimuli in the left column, their metamers of each layer to the right; failed ones are crossed out.

    Sounds are cochleagrams, frequency from low to high over time, on one colour scale per row.

    Parameters
    ----------
    table : pandas.DataFrame
        stimulus, layer (the natural stimulus first), passed, file; `lib.metamers.gallery.chosen`.
    figure : matplotlib.figure.Figure
    images : dict of str to array
        By file: (row, column, 3) or (frequency, time).
    """
    rows = dict(list(table.groupby("stimulus", sort=False)))
    if not rows:
        figure.text(0.5, 0.5, "no results", ha="center")
        return
    axes = figure.subplots(len(rows), table["layer"].nunique(), squeeze=False)
    for i, (line, (stimulus, part)) in enumerate(zip(axes, rows.items(), strict=True)):
        brightest = max(images[file].max() for file in part["file"])
        for ax, row in zip(line, part.to_dict("records"), strict=True):
            _picture(ax, images[row["file"]], brightest)
            _verdict(ax, row["passed"])
            if i == 0:
                ax.set_title(row["layer"], fontsize=8)
        line[0].set_ylabel(stimulus[:24], fontsize=7)


def pass_rates(table, figure, *, columns=3):
    """Share of metamers that pass their gate, by layer: a panel per network, its controls paler; 95 % intervals.

    Parameters
    ----------
    table : pandas.DataFrame
        target, model, layer (in order), value, low, high.
    figure : matplotlib.figure.Figure
    columns : int
        Largest number of panels side by side.
    """
    stems = table["model"].map(lambda model: plugins.split_control(model)[0])
    panels = dict(list(table.groupby([table["target"], stems], sort=False)))
    if not panels:
        figure.text(0.5, 0.5, "no results", ha="center")
        return
    width = min(columns, len(panels))
    axes = figure.subplots(-(-len(panels) // width), width, sharey=True, squeeze=False)
    for ax, ((target, _), part) in zip(axes.ravel(), panels.items(), strict=False):
        layers = list(dict.fromkeys(part["layer"]))
        for shift, (model, rows) in enumerate(part.groupby("model", sort=False)):
            at = np.array([layers.index(layer) for layer in rows["layer"]]) + 0.08 * shift
            bars = np.stack([rows["value"] - rows["low"], rows["high"] - rows["value"]]).clip(0)
            ax.errorbar(
                at, rows["value"], bars, fmt="o-", ms=4, capsize=2, color=colour(model), label=label(model)
            )
        ax.set_xticks(range(len(layers)), layers, rotation=45, ha="right", fontsize=7)
        ax.set(ylim=(-0.03, 1.03), title=target)
        ax.legend(fontsize=6, loc="lower left")
    for ax in axes.ravel()[len(panels) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("share passing the gate")


def nulls(table, figure):
    """Likeness of metamers at their layers above that of random pairs: a row of panels per model.

    Grey bars reach from the median of random pairs to their maximum, with a line at 95 %; points are metamers, red
    where they failed their gate, for whatever reason. What is not finite is left out.

    Parameters
    ----------
    table : pandas.DataFrame
        model, target, layer (in order), measure, value, passed, median, q95, maximum.
    figure : matplotlib.figure.Figure
    """
    panels = dict(list(table.groupby(["target", "model"], sort=False)))
    if not panels:
        figure.text(0.5, 0.5, "no results", ha="center")
        return
    axes = figure.subplots(len(panels), len(MEASURES), squeeze=False)
    for line, ((target, model), part) in zip(axes, panels.items(), strict=True):
        layers = list(dict.fromkeys(part["layer"]))
        for ax, (measure, name) in zip(line, MEASURES.items(), strict=True):
            _above_null(ax, part[part["measure"] == measure], layers)
            ax.set_title(name)
        line[0].set_ylabel(f"{label(model)}\n{target}", fontsize=8)


def stages(table, figure, *, columns=3):
    """Share of metamers that agree with their natural stimulus, by the layer they were made for and that measured.

    From the framed diagonal on to the right they are to agree.

    Parameters
    ----------
    table : pandas.DataFrame
        model, target, tapped, measured (in order), share; `lib.metamers.gate.stages`.
    figure : matplotlib.figure.Figure
    columns : int
        Largest number of panels side by side.
    """
    panels = dict(list(table.groupby(["target", "model"], sort=False)))
    axes = _grid(figure, panels, columns)
    for ax, ((target, model), part) in zip(axes, panels.items(), strict=False):
        wide = _wide(part, "tapped", "measured", values="share")
        measured = wide.columns.tolist()
        _heat(ax, wide, cmap="Greys")
        for row, tapped in enumerate(wide.index):
            ax.add_patch(
                Rectangle((measured.index(tapped), row), 1, 1, fill=False, edgecolor="crimson", linewidth=1.5)
            )
        ax.set(xlabel="measured at", ylabel="metamers of")
        ax.set_title(f"{label(model)}, {target}", fontsize=8)


def judged(table, figure, *, columns=3):
    """Share of metamers that judges name as the natural stimulus: a panel per generating network, a row per judge.

    Empty: no metamer of that layer passed its gate.

    Parameters
    ----------
    table : pandas.DataFrame
        target, generator, judge, layer (in order), value, n; `lib.metamers.judges.recognition`.
    figure : matplotlib.figure.Figure
    columns : int
        Largest number of panels side by side.
    """
    panels = dict(list(table.groupby(["target", "generator"], sort=False)))
    axes = _grid(figure, panels, columns)
    for ax, ((target, generator), part) in zip(axes, panels.items(), strict=False):
        wide = _wide(part, "judge", "layer", values="value")
        wide.index = [label(judge) for judge in wide.index]
        _heat(ax, wide, cmap="viridis")
        ax.set(xlabel="layer", ylabel="")
        ax.set_title(f"metamers of {label(generator)}, {target}", fontsize=8)


def _wide(part, index, columns, *, values):
    """A matrix of values, its columns in their order in the table, those without a value too."""
    wide = part.pivot_table(index=index, columns=columns, values=values, sort=False)
    return wide.reindex(columns=list(dict.fromkeys(part[columns])))


def _grid(figure, panels, columns):
    """Axes for panels, those without one hidden."""
    if not panels:
        figure.text(0.5, 0.5, "no results", ha="center")
        return []
    width = min(columns, len(panels))
    axes = figure.subplots(-(-len(panels) // width), width, squeeze=False).ravel()
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    return axes


def _heat(ax, wide, *, cmap):
    """Shares as colours and digits."""
    text = wide.map(lambda share: "" if np.isnan(share) else f"{share:.2f}".removeprefix("0"))
    style = {"annot_kws": {"size": 7}, "cbar": False, "linewidths": 0.5, "fmt": ""}
    sns.heatmap(wide.astype(float), ax=ax, vmin=0, vmax=1, cmap=cmap, annot=text, **style)
    ax.tick_params(axis="x", rotation=45, labelsize=7)
    ax.tick_params(axis="y", rotation=0, labelsize=7)


def _picture(ax, image, brightest):
    """A picture or cochleagram without axes' numbers."""
    if image.ndim == 3:
        ax.imshow(image)
    else:
        ax.imshow(image, origin="lower", aspect="auto", cmap="magma", vmin=0, vmax=brightest)
    ax.set(xticks=[], yticks=[])


def _verdict(ax, passed):
    """A frame, and a cross where a metamer failed its gate."""
    for spine in ax.spines.values():
        spine.set(visible=True, color=PASSED if passed else FAILED, linewidth=1 if passed else 2)
    if not passed:
        for ends in ((0, 1), (1, 0)):
            ax.plot((0, 1), ends, transform=ax.transAxes, color=FAILED, linewidth=1.5)


def _above_null(ax, part, layers):
    """Points over bars at each layer."""
    for at, layer in enumerate(layers):
        here = part[part["layer"] == layer]
        median, q95, maximum = here[["median", "q95", "maximum"]].iloc[0]
        ax.bar(at, maximum - median, 0.7, bottom=median, color="0.85", zorder=0)
        ax.hlines(q95, at - 0.35, at + 0.35, color="0.5", linewidth=0.8)
        spread = np.linspace(-0.25, 0.25, len(here)) if len(here) > 1 else [0]
        shades = np.where(here["passed"], PASSED, FAILED)
        finite = np.isfinite(here["value"].to_numpy())
        places = at + np.asarray(spread)[finite]
        ax.scatter(places, here["value"][finite], s=7, c=shades[finite], linewidths=0)
    ax.set_xticks(range(len(layers)), layers, rotation=45, ha="right", fontsize=7)
