"""What noise correction gets wrong, and how often its intervals hold the truth, in simulated brains."""

# Told apart by eye with any colour vision (Okabe & Ito).
COLOURS = {
    "reliability": "#D55E00",
    "split-half": "#0072B2",
    "ncsnr": "#009E73",
    "explainable-variance": "#CC79A7",
}
WANTED = 0.93, 0.97
LOWEST = 0.6
LARGEST_BIAS = 0.07


def bias_and_coverage(table, figure):
    """Bias on the left, coverage of 95 % intervals on the right, a row per way to summarise voxels.

    A column per case on either side. A colour per rule, a marker per planted share, each with its 95 % interval over
    simulations; hollow where the rule or its interval is not meant for this. The grey band is the coverage to be
    met; what lies beyond an axis is drawn on its edge.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of `lib.noise_simulation.summary`.
    figure : matplotlib.figure.Figure
    """
    kinds, cases = table["kind"].unique(), table["case"].unique()
    axes = figure.subplots(len(kinds), 2 * len(cases), squeeze=False, sharex=True)
    for row, kind in zip(axes, kinds, strict=True):
        for column, case in enumerate(cases):
            part = table[(table["kind"] == kind) & (table["case"] == case)]
            left, right = row[column], row[len(cases) + column]
            error = 1.96 * part["bias_se"]
            bias = [part["bias"] + shift for shift in (0, -error, error)]
            _points(part, left, *(values.clip(-LARGEST_BIAS, LARGEST_BIAS) for values in bias))
            left.set_ylim(-1.05 * LARGEST_BIAS, 1.05 * LARGEST_BIAS)
            left.axhline(0, color="grey", linewidth=0.8, zorder=0)
            right.axhspan(*WANTED, color="0.85", zorder=0)
            covered = [part[c].clip(LOWEST) for c in ("coverage", "coverage_low", "coverage_high")]
            _points(part, right, *covered)
            right.set_ylim(LOWEST - 0.01, 1.005)
        row[0].set_ylabel(f"{kind}:\nbias of corrected r²")
        row[len(cases)].set_ylabel("coverage of 95 % intervals")
    for column, case in enumerate([*cases, *cases]):
        axes[0, column].set_title(case.replace(", ", ",\n"))
    levels = sorted(table["explainable"].unique())
    for ax in axes[-1]:
        ax.set(xlabel="explainable variance, one repeat", xscale="log")
        ax.set_xticks(levels, [f"{level:g}" for level in levels], fontsize=7)
        ax.minorticks_off()
    _legend(table, figure, axes[0, 0])


def _points(part, ax, value, low, high):
    """A point with its interval per row, rules side by side."""
    for (rule, planted), rows in part.groupby(["rule", "planted"], sort=False):
        place = rows["explainable"] * 1.05 ** (list(COLOURS).index(rule) - 1.5)
        shade, marker = COLOURS[rule], _markers(part)[planted]
        ax.vlines(place, low[rows.index], high[rows.index], color=shade, linewidth=0.8)
        for filled, chosen in rows.groupby("meant"):
            face = shade if filled else "white"
            ax.plot(place[chosen.index], value[chosen.index], marker, ms=4, color=shade, mfc=face)


def _markers(table):
    """A marker for each planted share."""
    return dict(zip(sorted(table["planted"].unique()), "os^Dv", strict=False))


def _legend(table, figure, ax):
    """Rules by colour, planted shares by marker."""
    rules = [rule for rule in COLOURS if rule in set(table["rule"])]
    handles = [ax.plot([], [], "o", color=COLOURS[rule], label=rule)[0] for rule in rules]
    handles += [
        ax.plot([], [], marker, color="grey", label=f"planted share {planted:g}")[0]
        for planted, marker in _markers(table).items()
    ]
    handles += ax.plot([], [], "o", color="grey", mfc="white", label="not meant for this")
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=7)
