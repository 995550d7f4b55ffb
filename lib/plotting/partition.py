"""Figures of unique and shared variance: bars with intervals, and circles whose areas are the variances."""

from itertools import combinations

import numpy as np
from matplotlib import colors
from matplotlib.patches import Circle
from scipy import optimize

from lib.plotting.look import label

# Like paints: what two sets share has the colour of their mixture. The last is for a fourth set.
COLOURS = ("#0072B2", "#D55E00", "#F0E442", "#CC79A7")
SHARED_BY_ALL = 0.3
SCORES = {"r2": "r²", "r2_corrected": "corrected r²"}
MOST_CIRCLES = 3


def panels(table, figure):
    """For each result a row of bars, what each set of features explains alone and in common, and its circles.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of `lib.shared_variance.summary` with columns target, model and beside. Without rows the figure says
        so.
    figure : matplotlib.figure.Figure

    Returns
    -------
    matplotlib.figure.Figure
    """
    results = [rows for _, rows in table.groupby(["target", "model", "beside"], sort=False)]
    if not results:
        figure.text(0.5, 0.5, "no results", ha="center")
        return figure
    for part, rows in zip(figure.subfigures(len(results), 1, squeeze=False)[:, 0], results, strict=True):
        regions = rows["roi"].unique()
        grid = part.add_gridspec(2, len(regions), height_ratios=(2, 1))
        ax = bars(rows, part.add_subplot(grid[0, :]))
        target, model, beside = rows.iloc[0][["target", "model", "beside"]]
        ax.set_title(f"{target}: {label(model)}" + (f" beside {label(beside)}" if beside else ""))
        for column, region in enumerate(regions):
            here = rows[rows["roi"] == region].set_index("part")["value"].drop("total")
            circles(here, part.add_subplot(grid[1, column]))
    return figure


def bars(table, ax):
    """A group of bars per region, one for each part, with its interval; the total as a diamond.

    Parameters
    ----------
    table : pandas.DataFrame
        roi, part (names of sets joined by " & "; "total"), score, value, low, high (NaN: no interval is drawn).
    ax : matplotlib.axes.Axes

    Returns
    -------
    matplotlib.axes.Axes
    """
    regions, parts = table["roi"].unique(), [p for p in table["part"].unique() if p != "total"]
    shades, width = part_colours(parts), 0.85 / (len(parts) + 1)
    marks = []
    for index, part in enumerate([*parts, "total"]):
        rows = table[table["part"] == part].set_index("roi").loc[regions]
        places = np.arange(len(regions)) + (index - len(parts) / 2) * width
        if part == "total":
            marks += ax.plot(places, rows["value"], "D", color="black", ms=4, label=part)
        else:
            marks.append(ax.bar(places, rows["value"], width=0.9 * width, color=shades[part], label=part))
        ax.vlines(places, rows["low"], rows["high"], color="black", linewidth=0.8)
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set_xticks(np.arange(len(regions)), regions)
    ax.set(xlim=(-0.6, len(regions) - 0.4), ylabel=SCORES[table["score"].iloc[0]])
    ax.legend(
        handles=marks,
        fontsize=7,
        title="explained by exactly",
        title_fontsize=7,
        loc="center left",
        bbox_to_anchor=(1, 0.5),
    )
    return ax


def circles(values, ax):
    """Area-proportional circles of two or three sets, each part with its value.

    Parameters
    ----------
    values : pandas.Series
        Value of each part, by name (sets joined by " & "). A part below 0 has no area; its number is not drawn.
    ax : matplotlib.axes.Axes

    Returns
    -------
    matplotlib.axes.Axes
        Empty if there are one or more than three sets, or nothing is explained.
    """
    ax.set(aspect="equal", xticks=[], yticks=[])
    ax.set_axis_off()
    sets = [part for part in values.index if " & " not in part]
    if not 2 <= len(sets) <= MOST_CIRCLES or not (values > 0).any():
        return ax
    centres, radii = layout(values)
    for name, centre, radius in zip(sets, centres, radii, strict=True):
        shade = part_colours(sets)[name]
        ax.add_patch(Circle(centre, radius, facecolor=(*colors.to_rgb(shade), 0.35), edgecolor=shade))
    reach = 1.04 * max(radii)
    low, high = (centres - reach).min(axis=0), (centres + reach).max(axis=0)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    for part, place in _places(values.index, sets, centres, radii).items():
        ax.text(*place, f"{values[part]:.2f}".replace("0.", "."), ha="center", va="center", fontsize=6)
    return ax


def layout(values):
    """Circles whose areas are what each set explains, and whose pairwise overlaps are what two sets share.

    Two sets: exact. Three: circles and pairwise overlaps are exact where three such distances form a triangle, else
    as near as circles can be; the parts within the overlaps follow and are not free.

    Parameters
    ----------
    values : pandas.Series
        Of two or three sets, see `circles`; parts below 0 count as 0.

    Returns
    -------
    centres : array (n_sets, 2)
        In units of the square root of the values.
    radii : array (n_sets,)
    """
    parts = {frozenset(name.split(" & ")): max(value, 0) for name, value in values.items()}
    sets = [name for name in values.index if " & " not in name]
    areas = [sum(v for part, v in parts.items() if name in part) for name in sets]
    radii = np.sqrt(np.array(areas) / np.pi)
    pairs = list(combinations(range(len(sets)), 2))
    shared = [sum(v for part, v in parts.items() if {sets[a], sets[b]} <= part) for a, b in pairs]
    wanted = [_distance(radii[a], radii[b], area) for (a, b), area in zip(pairs, shared, strict=True)]
    if len(sets) == 2:
        return np.array([[0, 0], [wanted[0], 0]]), radii
    ab, ac, bc = wanted
    x = (ab**2 + ac**2 - bc**2) / (2 * ab) if ab > 0 else 0.0
    start = np.array([ab, np.clip(x, -ac, ac), np.sqrt(max(ac**2 - x**2, 0))])

    def off(places):
        centres = _three(places)
        drawn = [overlap(radii[a], radii[b], np.linalg.norm(centres[a] - centres[b])) for a, b in pairs]
        return ((np.array(drawn) - shared) ** 2).sum()

    return _three(optimize.minimize(off, start, method="Nelder-Mead").x), radii


def overlap(r, s, distance):
    """Area that two circles have in common.

    Parameters
    ----------
    r, s : float
        Radii.
    distance : float
        Of their centres.

    Returns
    -------
    float
    """
    if distance >= r + s:
        return 0.0
    if distance <= abs(r - s):
        return np.pi * min(r, s) ** 2
    corner = [(distance**2 + a**2 - b**2) / (2 * distance * a) for a, b in ((r, s), (s, r))]
    angles = np.arccos(np.clip(corner, -1, 1))
    sectors = angles - np.sin(2 * angles) / 2
    return float(sectors @ [r**2, s**2])


def part_colours(parts):
    """Colour of each part: of a set its own, of a shared part the mean of its sets', dark grey if all of three share.

    Parameters
    ----------
    parts : sequence of str
        Single sets first, at most four; names joined by " & ".

    Returns
    -------
    dict of str to tuple of float
        RGB.
    """
    sets = [part for part in parts if " & " not in part]
    own = {name: np.array(colors.to_rgb(shade)) for name, shade in zip(sets, COLOURS, strict=False)}
    shades = {}
    for part in parts:
        members = part.split(" & ")
        mixture = np.mean([own[name] for name in members], axis=0)
        everyone = len(members) == len(sets) > 2
        shades[part] = (SHARED_BY_ALL,) * 3 if everyone else tuple(mixture.tolist())
    return shades


def _three(places):
    """Centres of three circles, the first at the origin, the second on the axis."""
    b, x, y = places
    return np.array([[0, 0], [b, 0], [x, y]])


def _distance(r, s, area):
    """Distance of two circles that have an area in common."""
    if area <= 0:
        return r + s
    if area >= np.pi * min(r, s) ** 2 * (1 - 1e-9):
        return abs(r - s)
    return optimize.brentq(lambda d: overlap(r, s, d) - area, abs(r - s), r + s)


def _places(parts, sets, centres, radii):
    """Where the number of each part that has room goes: the point farthest from all circles' lines."""
    low, high = (centres - radii[:, None]).min(axis=0), (centres + radii[:, None]).max(axis=0)
    points = np.stack(np.meshgrid(*(np.linspace(a, b, 80) for a, b in zip(low, high, strict=True))), axis=-1)
    inward = radii - np.linalg.norm(points[..., None, :] - centres, axis=-1)
    places = {}
    for part in parts:
        inside = np.array([name in part.split(" & ") for name in sets])
        room = np.where(inside, inward, -inward).min(axis=-1)
        if room.max() > 0.12 * max(radii):
            places[part] = points[np.unravel_index(room.argmax(), room.shape)]
    return places
