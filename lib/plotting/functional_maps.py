"""Figures of functional maps: bars of regions with their diagrams, ceilings, and planted searchlights."""

import numpy as np
from matplotlib.patches import Circle, Patch, Rectangle
from scipy import optimize

from lib.plotting import maps
from lib.plotting.look import PUBLISHED

N_COLUMNS = 4
HATCHES = ("///", "\\\\\\", "|||")
LEVEL = 0.05
BAR, GREY = "#4878b0", "0.85"


def brains(drawn, scales, figure, *, mesh, title):
    """Maps of what explains each place best, one analysis above the other.

    Parameters
    ----------
    drawn : dict of str to xarray.DataArray (hemisphere, vertex)
        By analysis, codes as `lib.surfaces.from_volume` gives them.
    scales : dict of str to lib.plotting.maps.Scale
        By analysis.
    figure : matplotlib.figure.Figure
    mesh : xarray.Dataset
        From `lib.surfaces.fsaverage5`.
    title : str
        The analysis is added.
    """
    for part, (name, codes) in zip(figure.subfigures(len(drawn), 1), drawn.items(), strict=True):
        maps.brains(codes, part, scale=scales[name], mesh=mesh)
        part.suptitle(f"{title}: {name}")


def roi_panels(table, figure, *, colours, labels, hatched=True):
    """A panel per region, as published: unique variance of each set, what is significant, and a Venn diagram.

    Stars over bars: p < 0.05 against nothing; brackets: p < 0.05 between two sets. In the diagrams the area of a
    circle is what the set explains alone, and that of a lens what two sets explain in common; three circles
    cannot show all seven areas exactly.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `lib.functional_rois.parted`. With a column published (NaN: none) the published bars are open diamonds.
    figure : matplotlib.figure.Figure
    colours, labels : dict of str
        Of sets.
    hatched : bool
        Hatch bars by position, for sets that differ between regions; each panel then names its sets.
    """
    regions = dict(list(table.groupby("roi", sort=False)))
    n_rows = -(-(len(regions) + 1) // N_COLUMNS)
    axes = figure.subplots(n_rows, N_COLUMNS, sharey=True, squeeze=False)
    highest = np.nanmax(table.loc[table["kind"] == "unique", ["value", "high"]].to_numpy())
    for ax, (roi, rows) in zip(axes.flat, regions.items(), strict=False):
        _bars(rows[rows["kind"] == "unique"], ax, colours, highest, hatched)
        _brackets(rows, ax, highest)
        _venn(rows, ax, colours)
        ax.set_title(f"{roi}: R² = {rows['total'].iloc[0]:.2f}", fontsize=8)
        if hatched:
            _legend(rows, ax, colours, labels)
    for ax in axes.flat[len(regions) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_ylabel("unique variance (R²)", fontsize=7)
    if not hatched:
        names = table.loc[table["kind"] == "unique", "part"].unique()
        axes.flat[len(regions)].legend(
            handles=[Patch(color=colours[n], label=labels[n]) for n in names], loc="center", fontsize=9
        )
    axes[0, 0].set_ylim(min(0, table.loc[table["kind"] == "unique", "value"].min()), 2 * highest)


def explained(table, ax):
    """Explained variance of each region between grey bounds of what could be explained.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `lib.functional_ceilings.reconstruction`: roi, value, sd, lower_ceiling, upper_ceiling. With columns
        published, published_lower and published_upper (NaN: none) those are open diamonds and dashed frames.
    ax : matplotlib.axes.Axes

    Returns
    -------
    matplotlib.axes.Axes
    """
    for place, row in enumerate(table.itertuples()):
        height = row.upper_ceiling - row.lower_ceiling
        ax.add_patch(Rectangle((place - 0.42, row.lower_ceiling), 0.84, height, color=GREY, zorder=0))
    places = np.arange(len(table))
    ax.bar(places, table["value"], width=0.6, color=BAR, label="best three networks, left-out subject")
    ax.errorbar(
        places,
        table["value"],
        yerr=table["sd"],
        fmt="none",
        ecolor="black",
        capsize=2,
        label="± SD of subjects",
    )
    ax.set_xticks(places, table["roi"], rotation=45)
    ax.set(ylabel="explained variance (R²)", xlim=(-0.6, len(table) - 0.4))
    handles, _ = ax.get_legend_handles_labels()
    handles = [*handles, Patch(color=GREY, label="noise ceiling, lower to upper")]
    if "published" in table and table["published"].notna().any():
        handles += _published_ceilings(table, ax)
    ax.legend(handles=handles, fontsize=7, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    return ax


def planted_search(maps, rates, figure):
    """Maps around a planted sphere, and how often it is found and others are taken for it.

    Parameters
    ----------
    maps : dict of str to xarray.DataArray (y, x)
        A section through the volume by title, NaN outside; coordinate `planted` (y, x): the sphere.
    rates : pandas.DataFrame
        what, value, low, high, nominal (NaN: none).
    figure : matplotlib.figure.Figure
    """
    axes = figure.subplots(1, len(maps) + 1, width_ratios=[*[1] * len(maps), 1.1])
    for ax, (title, values) in zip(axes, maps.items(), strict=False):
        x, y = values["x"].values, values["y"].values
        half = (x[1] - x[0]) / 2
        extent = (x[0] - half, x[-1] + half, y[0] - half, y[-1] + half)
        image = ax.imshow(values.values, origin="lower", extent=extent, cmap="viridis")
        ax.contour(x, y, values["planted"].values.astype(float), levels=[0.5], colors="crimson", linewidths=1)
        ax.set_title(title, fontsize=8)
        ax.set(xlabel="mm", ylabel="mm" if ax is axes[0] else "")
        figure.colorbar(image, ax=ax, shrink=0.7)
    ax, places = axes[-1], np.arange(len(rates))
    ax.errorbar(
        rates["value"], places, xerr=[rates["value"] - rates["low"], rates["high"] - rates["value"]],
        fmt="o", color="black", ms=4, capsize=2,
    )  # fmt: skip
    ax.scatter(rates["nominal"], places, marker="|", s=120, color="crimson", label="nominal")
    ax.set_yticks(places, rates["what"], fontsize=7)
    ax.set(xlim=(-0.02, 1.02), ylim=(len(rates) - 0.5, -0.5), xlabel="share")
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), fontsize=7)


def _published_ceilings(table, ax):
    """Published values and bounds over those found here, and what they are for the legend."""
    frame = {"fill": False, "edgecolor": "black", "linewidth": 0.6, "linestyle": "--"}
    for place, row in enumerate(table.itertuples()):
        height = row.published_upper - row.published_lower
        ax.add_patch(Rectangle((place - 0.42, row.published_lower), 0.84, height, **frame))
    (dots,) = ax.plot(np.arange(len(table)), table["published"], label="published", **PUBLISHED)
    return [dots, Patch(label="noise ceiling, published", **frame)]


def _bars(rows, ax, colours, highest, hatched):
    """Bars with their errors and stars."""
    for row in rows.itertuples():
        hatch = HATCHES[row.position % len(HATCHES)] if hatched else None
        ax.bar(
            row.position,
            row.value,
            color=colours[row.part],
            hatch=hatch,
            edgecolor="white" if hatched else None,
            width=0.8,
        )
        if np.isfinite(row.low):
            ax.plot([row.position] * 2, [row.low, row.high], color="black", linewidth=1)
        if np.isfinite(getattr(row, "published", np.nan)):
            ax.plot(row.position, row.published, **PUBLISHED)
        if row.p < LEVEL:
            top = np.nanmax([row.value, row.high])
            ax.text(row.position, top + 0.01 * highest, "*", ha="center", va="bottom", fontsize=8)
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set_xticks([])
    ax.set_xlim(-0.6, len(rows) + 2.2)
    ax.tick_params(labelsize=7)


def _brackets(rows, ax, highest):
    """Lines over pairs that differ."""
    unique = rows[rows["kind"] == "unique"].set_index("part")
    level = unique[["value", "high"]].to_numpy()
    top = np.nanmax(level) + 0.17 * highest
    for row in rows[(rows["kind"] == "pair") & (rows["p"] < LEVEL)].itertuples():
        a, b = unique.loc[row.part, "position"], unique.loc[row.second, "position"]
        ax.plot([a, a, b, b], np.array([-0.03, 0, 0, -0.03]) * highest + top, color="black", linewidth=0.7)
        ax.text((a + b) / 2, top - 0.03 * highest, "*", ha="center", va="bottom", fontsize=8)
        top += 0.14 * highest


def _legend(rows, ax, colours, labels):
    """Names of a panel's sets, in order."""
    sets = rows[rows["kind"] == "unique"]
    handles = [
        Patch(
            facecolor=colours[row.part],
            hatch=HATCHES[row.position % 3],
            edgecolor="white",
            label=labels[row.part],
        )
        for row in sets.itertuples()
    ]
    ax.legend(
        handles=handles,
        fontsize=5.5,
        loc="upper right",
        handlelength=1.2,
        borderaxespad=0.1,
        labelspacing=0.2,
    )


def _venn(rows, ax, colours):
    """Circles of up to three sets in a corner of the panel."""
    single = rows[rows["kind"] == "single"].sort_values("position")
    shared = rows[rows["kind"] == "shared"]
    areas = np.maximum(single["value"].to_numpy(), 1e-6)
    names = single["part"].tolist()
    common = {
        (a, b): max(
            sum(r.value for r in shared.itertuples() if {names[a], names[b]} <= set(r.part.split(" & "))), 0
        )
        for a, b in zip(*np.triu_indices(len(names), 1), strict=True)
    }
    radii = np.sqrt(areas / np.pi)
    centres = _centres(radii, common)
    inset = ax.inset_axes([0.62, 0.28, 0.38, 0.4])
    for name, centre, radius in zip(names, centres, radii, strict=True):
        inset.add_patch(Circle(centre, radius, color=colours[name], alpha=0.4, linewidth=0, clip_on=False))
        inset.add_patch(Circle(centre, radius, fill=False, edgecolor="black", linewidth=0.3, clip_on=False))
    reach = np.abs(centres).max(axis=0) + radii.max()
    inset.set(xlim=(-reach.max(), reach.max()), ylim=(-reach.max(), reach.max()), aspect="equal")
    inset.set_axis_off()


def _centres(radii, common):
    """Places of circles whose distances make the wanted lenses, as far as a plane allows."""
    distances = {(a, b): _distance(radii[a], radii[b], area) for (a, b), area in common.items()}
    n = len(radii)

    def misfit(flat):
        places = flat.reshape(n, 2)
        return [np.linalg.norm(places[a] - places[b]) - d for (a, b), d in distances.items()] or [0.0]

    angles = np.pi / 2 + 2 * np.pi * np.arange(n) / n
    start = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii.mean()
    found = optimize.least_squares(misfit, start.ravel()).x.reshape(n, 2)
    return found - (found * radii[:, None] ** 2).sum(axis=0) / (radii**2).sum()


def _distance(r, s, area):
    """Distance of two circles whose lens has an area."""
    largest = np.pi * min(r, s) ** 2
    if area >= largest:
        return abs(r - s)
    if area <= 0:
        return r + s
    return optimize.brentq(lambda d: _lens(r, s, d) - area, abs(r - s) + 1e-12, r + s)


def _lens(r, s, d):
    """Area that two circles at a distance have in common."""
    a = np.clip((d**2 + r**2 - s**2) / (2 * d * r), -1, 1)
    b = np.clip((d**2 + s**2 - r**2) / (2 * d * s), -1, 1)
    triangle = max((-d + r + s) * (d + r - s) * (d - r + s) * (d + r + s), 0)
    return r**2 * np.arccos(a) + s**2 * np.arccos(b) - np.sqrt(triangle) / 2
