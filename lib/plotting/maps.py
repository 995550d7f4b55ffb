"""Maps of the brain: flat pictures and surfaces for print, and pages in which a brain can be turned."""

import html
import re
import textwrap
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib import colors
from matplotlib.cm import ScalarMappable
from matplotlib.patches import Patch
from nilearn import plotting as nilearn_plotting
from nilearn import surface

from lib import maps, surfaces, volumes
from lib.artefacts import atomic

GREY = (0.8, 0.8, 0.8)
KEY = "position:fixed;bottom:.5em;left:11em;right:.5em;font:13px sans-serif;background:#fffc;padding:.5em"
DARKNESS = (0.15, 0.45)  # of gyri and of sulci, as shares of black
ZOOM = 1.5  # of a brain in its axes, which nilearn leaves half empty
MARGIN_MM = 5.0  # around flat pictures
NAMES = 4  # of regions that fit side by side
NAMES_MM = 12.0  # below them, for the names of regions
LABEL = {
    "ha": "center", "va": "bottom", "fontsize": 6, "arrowprops": {"arrowstyle": "-", "linewidth": 0.5},
}  # fmt: skip
SHADES = 255  # of a colour map in a page; one more is the black of outlines


class Scale(NamedTuple):
    """How values become colours: from `palette`, or a sequential colour map from `low` to `high`."""

    label: str
    cmap: object = "viridis"
    low: float = 0.0
    high: float = 1.0
    names: tuple = ()  # of the categories, in the order of their codes
    shades: tuple = ()  # their colours


def palette(label, colours, *, codes=(0.0, 1.0), grey="not decided"):
    """Scale of a map of categories, whose values are those of `lib.maps.codes`.

    Parameters
    ----------
    label : str
    colours : dict of str to colour
        By category, in the order of the codes.
    codes : (start, step)
        Of the categories; `lib.maps.CODES` has the published ones.
    grey : str
        What the code before the first says.

    Returns
    -------
    Scale
        Each code lies in the middle of its colour's part of the range.
    """
    start, step = codes
    shades, names = (GREY, *colours.values()), (grey, *colours)
    low = start - 1.5 * step
    return Scale(label, colors.ListedColormap(shades), low, low + len(names) * step, names, shades)


def published_palette(kind, names):
    """Colours of the published functional maps: 2D tasks blue, 3D tasks green, semantic tasks magenta.

    Parameters
    ----------
    kind : {"individual", "grouped"}
        19 networks, or three groups.
    names : sequence of str
        Of the networks or groups, in display order: 7 of 2D, 8 of 3D, 3 semantic, random; or 2D, 3D, semantic.

    Returns
    -------
    Scale
        With the published range, -9 to 10 and -0.75 to 0.75; that of groups is continuous between the colours.

    Raises
    ------
    ValueError
        If there is another number of names.

    References
    ----------
    Dwivedi, Bonner, Cichy & Roig (2021), doi:10.1371/journal.pcbi.1009267, figures 1d and 3a.
    """
    shades = [(0, 0, 1), (0, 1, 0), (1, 0, 1)]
    if kind == "individual":
        shades = [(0, 0, b) for b in np.linspace(0.3, 1, 7)] + [(0, g, 0) for g in np.linspace(0.3, 1, 8)]
        shades += [(m, 0, m) for m in (0.5, 0.75, 1)] + [(0.8, 0.8, 0)]
    if len(names) != len(shades):
        raise ValueError(f"the {kind} map has {len(shades)} categories, not {len(names)}")
    start, step = maps.CODES[kind]
    low, high = start - step, start + step * (len(names) - 1)
    scale = palette(f"{kind} DNNs", dict(zip(names, shades, strict=True)), codes=(start, step))
    if kind == "grouped":
        scale = scale._replace(cmap=colors.LinearSegmentedColormap.from_list(kind, scale.shades))
    return scale._replace(low=low, high=high)


def brain_panels(table, figure, *, scales, views=("lateral", "ventral"), matrix=None):
    """A row of inflated brains for each map of places, whose value is that of the nearest place.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of `lib.maps.table`, with a column panel that says whose maps they are.
    figure : matplotlib.figure.Figure
    scales : dict of str to Scale
        By map; maps without a scale are not drawn.
    views : sequence of str
        See `brains`.
    matrix : dict of str to pandas.DataFrame, optional
        For places on a flattened surface (without z); from `lib.surfaces.voxel_matrix`.
    """
    parts, mesh = _parts(table, scales), surfaces.fsaverage5()
    rows = figure.subfigures(len(parts), 1, squeeze=False)[:, 0]
    for row, (panel, kind, values) in zip(rows, parts, strict=True):
        brains(_vertices(values, mesh, matrix), row, scale=scales[kind], mesh=mesh, views=views)
        row.suptitle(panel)


def flat_panels(table, figure, *, scales):
    """A row for each map of places: the flattened surface of each hemisphere.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of `lib.maps.table`, with a column panel that says whose maps they are.
    figure : matplotlib.figure.Figure
    scales : dict of str to Scale
        By map; maps without a scale are not drawn.
    """
    parts = _parts(table, scales)
    rows = figure.subfigures(len(parts), 1, squeeze=False)[:, 0]
    for row, (panel, kind, values) in zip(rows, parts, strict=True):
        images = maps.flat(values)
        axes = row.subplots(1, len(images), squeeze=False)[0]
        low, high = (np.array([f(values[a].values) for a in "xy"]) for f in (np.min, np.max))
        limits = np.transpose([low - MARGIN_MM, high + MARGIN_MM])
        limits[1, 0] -= NAMES_MM
        for ax, (side, image) in zip(axes, images.items(), strict=True):
            flat_map(image, ax, scale=scales[kind])
            ax.set(title=f"{side} hemisphere", xlim=limits[0], ylim=limits[1])
        axes[0].set_ylabel("y (mm)")
        row.suptitle(panel)
        key(scales[kind], row, axes)


def pages(table, folder, *, scales, spacing=None, matrix=None):
    """Write each map of places as a page with a brain that can be turned, and as a volume.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of `lib.maps.table`, with columns target, model and panel.
    folder : pathlib.Path
        Receives `<target>_<model>_<map>.html`, and `.nii.gz` if the places have a z.
    scales : dict of str to Scale
        By map; maps without a scale are not written.
    spacing : float, optional
        Of the volume's voxels; see `lib.volumes.from_places`.
    matrix : dict of str to pandas.DataFrame, optional
        For places on a flattened surface (without z); from `lib.surfaces.voxel_matrix`.
    """
    mesh = surfaces.fsaverage5()
    for (target, model, panel), rows in table.groupby(["target", "model", "panel"], sort=False):
        for _, kind, values in _parts(rows, scales):
            vertices, name = _vertices(values, mesh, matrix), f"{target}_{model}_{kind}"
            page = surface_page(vertices, scale=scales[kind], mesh=mesh, title=panel)
            save_page(page, folder / f"{name}.html")
            if "z" in values.coords:
                volumes.save(volumes.from_places(values, spacing=spacing), folder / f"{name}.nii.gz")


def brains(values, figure, *, scale, mesh, views=("lateral", "ventral")):
    """A row of inflated brains: each view of each hemisphere, regions outlined in black.

    Parameters
    ----------
    values : xarray.DataArray (hemisphere, vertex)
        From `lib.surfaces`. Where a coordinate roi is, its regions are outlined.
    figure : matplotlib.figure.Figure or SubFigure
    scale : Scale
    mesh : xarray.Dataset
        From `lib.surfaces.fsaverage5`.
    views : sequence of str
        nilearn's: "lateral", "medial", "ventral", "dorsal", "anterior", "posterior".
    """
    sides = [(view, side) for view in views for side in surfaces.HEMISPHERES]
    options = {"projection": "3d", "rasterized": True}
    axes = figure.subplots(1, len(sides), subplot_kw=options, squeeze=False)[0]
    for ax, (view, side) in zip(axes, sides, strict=True):
        _brain(values.sel(hemisphere=side), ax, scale=scale, mesh=mesh, view=view)
        ax.set_title(f"{side}, {view}", fontsize=7, y=0.92)
    key(scale, figure, axes)


def flat_map(image, ax, *, scale):
    """Picture of one hemisphere's flattened surface.

    Parameters
    ----------
    image : xarray.DataArray (y, x)
        From `lib.maps.flat`; where a coordinate roi is, its regions are outlined.
    ax : matplotlib.axes.Axes
    scale : Scale

    Returns
    -------
    matplotlib.axes.Axes
    """
    half = image.attrs["spacing_mm"] / 2
    x, y = image["x"].values, image["y"].values
    extent = (x[0] - half, x[-1] + half, y[0] - half, y[-1] + half)
    options = {"cmap": scale.cmap, "vmin": scale.low, "vmax": scale.high, "interpolation": "nearest"}
    ax.imshow(np.ma.masked_invalid(image.values), origin="lower", extent=extent, **options)
    if "roi" in image.coords:
        ax.add_collection(_borders(image, half))
        _name_regions(image, ax)
    ax.set(xlabel="x (mm)", aspect="equal")
    return ax


def key(scale, figure, axes):
    """What the colours mean, beside some axes: a colour bar, or a legend of categories.

    Parameters
    ----------
    scale : Scale
    figure : matplotlib.figure.Figure or SubFigure
    axes : sequence of matplotlib.axes.Axes
    """
    if scale.names:
        patches = [Patch(color=c, label=n) for n, c in zip(scale.names, scale.shades, strict=True)]
        figure.legend(handles=patches, loc="outside right center", title=scale.label, fontsize=6)
        return
    shades = ScalarMappable(colors.Normalize(scale.low, scale.high), scale.cmap)
    figure.colorbar(shades, ax=list(axes), label=textwrap.fill(scale.label, 20), shrink=0.7)


def surface_page(values, *, scale, mesh, title):
    """Page with both inflated hemispheres, which can be turned; nothing in it is loaded from elsewhere.

    Parameters
    ----------
    values : xarray.DataArray (hemisphere, vertex)
        From `lib.surfaces`; where a coordinate roi is, the vertices at the edge of its regions are black.
    scale : Scale
    mesh : xarray.Dataset
        From `lib.surfaces.fsaverage5`.
    title : str

    Returns
    -------
    str
        HTML of a few MB; it needs a browser with WebGL.
    """
    outline = surfaces.edges(values["roi"], mesh) if "roi" in values.coords else np.zeros(values.shape, bool)
    shade = _shades(values.values, scale)
    shade[outline] = SHADES
    parts = dict(zip(surfaces.HEMISPHERES, shade.astype(np.float32), strict=True))
    poly = surface.PolyMesh(**{s: _mesh(mesh, s) for s in parts})
    depth = dict(zip(parts, _depth(mesh).values.astype(np.float32), strict=True))
    view = nilearn_plotting.view_surf(
        surf_map=surface.SurfaceImage(poly, parts),
        bg_map=surface.SurfaceImage(poly, depth),
        hemi="both",
        view=surfaces.facing(values.where(values > _grey_until(scale)), mesh),
        **_page_colours(scale),
    )
    return _page(view, scale, title)


def volume_page(image, *, scale, title):
    """Page with three sections through a volume on the average brain; nothing in it is loaded from elsewhere.

    Parameters
    ----------
    image : nibabel image
        From `lib.volumes`; NaN is transparent.
    scale : Scale
    title : str

    Returns
    -------
    str
        HTML of a few MB.
    """
    shade = _shades(np.asarray(image.dataobj, float), scale)
    # nilearn knows no NaN here, and hides what is near 0.
    coded = np.where(np.isnan(shade), 0, shade + 1).astype(np.float32)
    coded = image.__class__(coded, image.affine)
    colours = _page_colours(scale) | {"vmin": 1, "vmax": SHADES + 1}
    view = nilearn_plotting.view_img(
        coded, threshold=0.5, black_bg=False, resampling_interpolation="nearest", **colours
    )
    return _page(view, scale, title)


def save_page(page, path):
    """Write a page completely or not at all.

    Parameters
    ----------
    page : str
        From `surface_page` or `volume_page`.
    path : pathlib.Path
        Ending in `.html`.
    """
    with atomic(path) as part:
        part.write_text(page, encoding="utf-8")


def _parts(table, scales):
    """Panel, name and values of each map that has a scale, in the order of the table."""
    groups = table[table["map"].isin(list(scales))].groupby(["panel", "map"], sort=False)
    return [(panel, kind, maps.places(rows)) for (panel, kind), rows in groups]


def _vertices(values, mesh, matrix):
    """Values of places on the surface."""
    if "z" in values.coords or matrix is None:
        return surfaces.from_places(values, mesh)
    return surfaces.from_flat(maps.flat(values), matrix)


def _brain(values, ax, *, scale, mesh, view):
    """One view of one hemisphere."""
    side = str(values["hemisphere"].values)
    place = {"hemi": side, "view": view, "axes": ax, "figure": ax.get_figure(root=True)}
    shape = surface.InMemoryMesh(
        mesh["inflated"].sel(hemisphere=side).values, surfaces.faces_toward(mesh, side, view)
    )
    depth = _depth(mesh).sel(hemisphere=side).values
    shown = values.values if np.isfinite(values).any() else None
    shades = {"cmap": scale.cmap, "vmin": scale.low, "vmax": scale.high, "avg_method": "median"}
    nilearn_plotting.plot_surf(shape, shown, bg_map=depth, colorbar=False, **shades, **place)
    if "roi" in values.coords:
        names, label = np.unique(values["roi"].values, return_inverse=True)
        triangles = label[shape.faces]
        whole = np.unique(
            triangles[(triangles == triangles[:, :1]).all(axis=1), 0]
        )  # nilearn outlines no others
        levels = [int(i) for i in whole if names[i]]
        if levels:
            nilearn_plotting.plot_surf_contours(
                shape, label, levels=levels, colors=["black"] * len(levels), **place
            )
    ax.set_box_aspect(None, zoom=ZOOM)
    for faces in ax.collections:
        faces.set_clip_on(False)


def _mesh(mesh, side):
    here = mesh.sel(hemisphere=side)
    return surface.InMemoryMesh(here["inflated"].values, here["faces"].values)


def _depth(mesh):
    """Shade of grey of each vertex without a value, (hemisphere, vertex)."""
    light, dark = DARKNESS
    return xr.where(mesh["sulc"] > 0, dark, light)


def _borders(image, half):
    """Lines between points of a flat picture that belong to different regions."""
    roi = np.pad(image["roi"].values.astype(object), 1, constant_values="")
    x, y = ((image[a].values[0] - half, 2 * half) for a in "xy")
    lines = []
    for row, column in np.argwhere(roi[:, 1:] != roi[:, :-1]):
        at = x[0] + column * x[1]
        lines.append([(at, y[0] + (row - 1) * y[1]), (at, y[0] + row * y[1])])
    for row, column in np.argwhere(roi[1:] != roi[:-1]):
        at = y[0] + row * y[1]
        lines.append([(x[0] + (column - 1) * x[1], at), (x[0] + column * x[1], at)])
    return mpl.collections.LineCollection(lines, colors="black", linewidths=0.7)


def _name_regions(image, ax):
    """Names of regions along the lower edge, each with a line to a point of its region."""
    inside = {
        name: np.argwhere(image["roi"].values == name) for name in set(image["roi"].values.ravel()) - {""}
    }
    middle = {name: here[len(here) // 2] for name, here in inside.items()}
    order = sorted(middle, key=lambda name: middle[name][1])
    wanted = np.array([middle[name][1] for name in order]) / max(image.sizes["x"] - 1, 1)
    for name, across in zip(order, _apart(wanted, gap=1 / max(len(order), NAMES)), strict=True):
        row, column = middle[name]
        point = image["x"].values[column], image["y"].values[row]
        ax.annotate(name, point, (across, 0.02), textcoords="axes fraction", **LABEL)


def _apart(wanted, *, gap):
    """Ascending places from gap / 2 to 1 - gap / 2 that lie near those wanted, a gap apart."""
    steps = gap * (np.arange(len(wanted)) + 0.5)
    right = np.maximum.accumulate(np.maximum(wanted - steps, 0))
    return np.minimum(right, 1 - gap * len(wanted)) + steps


def _shades(values, scale):
    """Position in the colour map of a page, 0 to SHADES - 1; NaN stays."""
    share = (values - scale.low) / (scale.high - scale.low)
    return np.clip(np.floor(share * SHADES), 0, SHADES - 1)


def _grey_until(scale):
    """Values up to this one say that nothing is decided."""
    return scale.low + (scale.high - scale.low) / len(scale.names) if scale.names else -np.inf


def _page_colours(scale):
    """What nilearn's pages need to know of colours; black comes after the last shade."""
    shades = mpl.colormaps[scale.cmap] if isinstance(scale.cmap, str) else scale.cmap
    listed = [*shades((np.arange(SHADES) + 0.5) / SHADES), (0, 0, 0, 1)]
    return {
        "cmap": colors.ListedColormap(listed),
        "vmin": 0,
        "vmax": SHADES,
        "symmetric_cmap": False,
        "colorbar": False,
    }


def _page(view, scale, title):
    """The page without the picture that nilearn would fetch for the browser's tab, with a title and a key."""
    page = re.sub(r"<link\s[^>]*https?://[^>]*>", "", view.html)
    page = re.sub(r"<title>.*?</title>", f"<title>{html.escape(title)}</title>", page, count=1, flags=re.S)
    head, tail = page.rsplit("</body>", 1)
    return f"{head}{_page_key(scale, title)}</body>{tail}"


def _page_key(scale, title):
    """Title and meaning of the colours, along the lower edge."""
    if scale.names:
        rows = zip(scale.names, map(colors.to_hex, scale.shades), strict=True)
        boxes = (
            f'<div><span style="color:{shade}">&#9632;</span> {html.escape(str(name))}</div>'
            for name, shade in rows
        )
        legend = f'<div style="columns:8em">{"".join(boxes)}</div>'
    else:
        shades = mpl.colormaps[scale.cmap] if isinstance(scale.cmap, str) else scale.cmap
        stops = ",".join(colors.to_hex(c) for c in shades(np.linspace(0, 1, 16)))
        bar = f"width:12em;height:1em;background:linear-gradient(to right,{stops})"
        legend = (
            f'<div style="display:flex;gap:.5em">{scale.low:g}<div style="{bar}"></div>{scale.high:g}</div>'
        )
    head = f"<b>{html.escape(title)}</b>: {html.escape(scale.label)}"
    return f'<div style="{KEY}"><div>{head}</div>{legend}</div>'
