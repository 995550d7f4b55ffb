"""Maps over places of the brain: medians over people who share a place, flat pictures, codes of winners."""

import itertools

import numpy as np
import pandas as pd
import xarray as xr

from lib import layers, metrics, plugins
from lib.plugins import first

AXES = ("x", "y", "z")
HEMISPHERES = ("left", "right")
SPACING_MM = 2.0  # of a grid that its places do not tell
DECIMALS = 6  # of mm: coordinates that agree so far are the same place
# How a median becomes the whole number that was published; the second version rounds instead of truncating.
PUBLISHED = {"tuckute2023": np.trunc, "tuckute2023-rounded": np.rint}
# Code of the first category and step to the next, of the maps of single networks and of groups of them.
CODES = {"individual": (-8.0, 1.0), "grouped": (-0.25, 0.5)}


def located(values, responses):
    """Values of voxels, with where the voxels lie.

    Parameters
    ----------
    values : xarray.DataArray or xarray.Dataset (…, voxel)
    responses : xarray.Dataset
        Of the same voxels, in any order.

    Returns
    -------
    same type
        With the coordinates subject, hemisphere, x, y, z and roi along `voxel` that the responses have.

    Raises
    ------
    ValueError
        If the voxels are others.
    """
    odd = sorted(set(values["voxel"].values.tolist()) ^ set(responses["voxel"].values.tolist()))
    if odd:
        raise ValueError(f"voxels of the map and of the responses differ: {first(odd)}")
    here = responses.sel(voxel=values["voxel"].values)
    known = [name for name in ("subject", "hemisphere", *AXES, "roi") if name in responses.variables]
    return values.assign_coords({name: ("voxel", here[name].values) for name in known})


def of_encoding(scores, *, clip=None, published=None):
    """Which layer is best at each place, and how much of the response it explains.

    Parameters
    ----------
    scores : xarray.DataArray (layer, split, voxel)
        Explained variance, corrected for noise or not, with the coordinates that `located` gives; layers in
        the model's order.
    clip : float, optional
        Upper limit of medians over splits; 1 as published.
    published : {"tuckute2023", "tuckute2023-rounded"}, optional
        As for `over_subjects`; concerns positions alone.

    Returns
    -------
    dict of str to xarray.DataArray (place)
        `position` of the best layer from 1, `relative_position` from 0 to 1 (NaN for a model of one layer),
        both chosen on all splits; `score` of the layer chosen on one half of the splits, read on the other,
        mean over ten such halves.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, figures 6 and 7.
    """
    preferred = layers.preferred_layer(scores, clip=clip)
    read = layers.best_layer(scores, clip=clip)["score"].mean("iteration", skipna=False)
    return {
        "position": over_subjects(preferred["position"], published=published),
        "relative_position": over_subjects(preferred["relative_position"]),
        "score": over_subjects(read),
    }


def over_subjects(values, *, published=None):
    """Median over the people who share a place.

    Several voxels of one person at one place count as that person's median, so people, not voxels, are what
    the median is over.

    Parameters
    ----------
    values : xarray.DataArray (…, voxel)
        Any unit; with coordinates subject, hemisphere, x, y, perhaps z (mm) and roi along `voxel`. NaN drops
        out.
    published : {"tuckute2023", "tuckute2023-rounded"}, optional
        Truncate (or round) the median to a whole number: between an even number of people it may lie halfway
        between two layers. Default: keep it as it is.

    Returns
    -------
    xarray.DataArray (…, place)
        Unit of the values; NaN where nobody has a value. Coordinates hemisphere, x, y, perhaps z; roi, the most
        frequent one of the place's voxels ("" outside all regions); n_subjects who share the place.

    Raises
    ------
    ValueError
        If a coordinate is missing, or no such published rule exists.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, figure 6.
    """
    keys = _places(values)
    others = [dim for dim in values.dims if dim != "voxel"]
    stacked = values.transpose("voxel", *others)
    table = pd.DataFrame(stacked.values.reshape(values.sizes["voxel"], -1).astype(float))
    places = [keys[name] for name in keys]
    own = table.groupby([*places, pd.Series(values["subject"].values, name="subject")]).median()
    medians = own.groupby(level=list(keys)).median()
    found = medians.to_numpy().reshape(len(medians), *stacked.shape[1:])
    found = found if published is None else _rule(published)(found)
    coords = {name: ("place", medians.index.get_level_values(name).to_numpy()) for name in keys}
    coords["hemisphere"] = ("place", coords["hemisphere"][1].astype(str))
    coords["n_subjects"] = ("place", own.groupby(level=list(keys)).size().to_numpy())
    if "roi" in values.coords:
        coords["roi"] = ("place", _most_frequent(pd.Series(values["roi"].values), places))
    coords |= {dim: values[dim] for dim in others if dim in values.coords}
    dims = ("place", *others)
    return xr.DataArray(found, dims=dims, coords=coords, name=values.name).transpose(*others, "place")


def over_models(values, *, published=None):
    """Median over models of what each has at a place.

    Parameters
    ----------
    values : xarray.DataArray (model, place)
        From `over_subjects`; for the published map relative positions, 0 for a model's first layer and 1 for
        its last. NaN drops out.
    published : {"tuckute2023", "tuckute2023-rounded"}, optional
        Ten times the median plus one, so that 1 … 11 differ from the 0 that stood for nothing, truncated (or
        rounded) to a whole number.

    Returns
    -------
    xarray.DataArray (place)
        NaN where no model has a value.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, figure 6.
    """
    ordered = values.transpose(..., "model")
    median = metrics.median(ordered.values)
    median = median if published is None else _rule(published)(median * 10 + 1)
    return ordered.isel(model=0, drop=True).copy(data=median)


def top_of_scale(positions, n_layers):
    """Upper end of the published colour scale of layers: the one after that which most voxels prefer.

    Parameters
    ----------
    positions : array_like (n_voxels,)
        Preferred layer of each voxel, from 1; all data sets together. NaN drops out.
    n_layers : int

    Returns
    -------
    int
        From 2 to n_layers. Of layers that are preferred equally often, the earlier counts.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, figure 6.
    """
    found, counts = np.unique(np.asarray(positions, float)[np.isfinite(positions)], return_counts=True)
    return int(min(found[counts.argmax()] + 1, n_layers))


def flat(values, *, spacing=None):
    """Pictures of places on a flattened surface, one per hemisphere.

    Each place lies in the grid point that is nearest to it.

    Parameters
    ----------
    values : xarray.DataArray (place)
        From `over_subjects`, with coordinates hemisphere, x and y (mm).
    spacing : float, optional
        Of the grid, mm. Default: the smallest distance between two columns or rows of places.

    Returns
    -------
    dict of str to xarray.DataArray (y, x)
        By hemisphere; x and y in mm, from the smallest to the largest that occurs. NaN where no place is.
        Coordinate roi (y, x) if the places have it.

    Raises
    ------
    ValueError
        If two places lie in one grid point.
    """
    table = pd.DataFrame({name: values[name].values for name in ("hemisphere", "x", "y")})
    return {
        str(side): _picture(rows, values.isel(place=rows.index), spacing)
        for side, rows in table.groupby("hemisphere")
    }


def table(values):
    """What maps show, one row per map and place.

    Parameters
    ----------
    values : dict of str to xarray.DataArray (place)
        By name of the map; from `over_subjects`.

    Returns
    -------
    pandas.DataFrame
        map; hemisphere, x, y, perhaps z (mm), roi and n_subjects, where the places have them; value.
    """
    rows = []
    for name, found in values.items():
        coords = [c for c in ("hemisphere", *AXES, "roi", "n_subjects") if c in found.coords]
        columns = {c: found[c].values for c in coords}
        rows.append(pd.DataFrame({"map": name, **columns, "value": found.values}))
    return pd.concat(rows, ignore_index=True)


def places(table):
    """Values of one map, back from its rows.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of `table` of a single map.

    Returns
    -------
    xarray.DataArray (place)
    """
    coords = [c for c in ("hemisphere", *AXES, "roi", "n_subjects") if c in table and table[c].notna().all()]
    coords = {c: ("place", table[c].to_numpy()) for c in coords}
    return xr.DataArray(table["value"].to_numpy(float), dims="place", coords=coords)


def codes(winner, order, *, grey=False, start=0.0, step=1.0):
    """Numbers that stand for the best model, or group of models, of each unit in a map.

    Parameters
    ----------
    winner : array_like of str (…)
        Name of the best one; "" where nothing is known.
    order : sequence of str
        All names; each stands for `start + step · its position`.
    grey : array_like of bool (…), optional
        Where the winner does not count, for instance below the noise ceiling or the threshold.
    start, step : float
        `CODES` has the published ones.

    Returns
    -------
    array (…)
        `start - step` where grey, NaN where nothing is known.

    Raises
    ------
    ValueError
        If a winner is not in the order, or names occur twice in it.

    References
    ----------
    Dwivedi, Bonner, Cichy & Roig (2021), doi:10.1371/journal.pcbi.1009267, figures 1d and 3a.
    """
    winner, order = np.asarray(winner, dtype=object), list(order)
    if twice := [name for i, name in enumerate(order) if name in order[:i]]:
        raise ValueError(f"names occur twice in the order of a map: {first(twice)}")
    if unknown := sorted(set(winner.ravel().tolist()) - {*order, ""}):
        raise ValueError(f"winners are not in the order of the map: {first(unknown)}")
    number = {name: start + step * i for i, name in enumerate(order)} | {"": np.nan}
    found = np.array([number[name] for name in winner.ravel()], float).reshape(winner.shape)
    return np.where(np.broadcast_to(grey, found.shape) & ~np.isnan(found), start - step, found)


def _rule(published):
    plugins.require(published, PUBLISHED, "published rule")
    return PUBLISHED[published]


def _places(values):
    """Coordinates by which places are told apart, as columns."""
    missing = [n for n in ("subject", "hemisphere", "x", "y") if n not in values.coords]
    if missing:
        raise ValueError(f"values to map lack the coordinates {missing} along voxel")
    axes = {a: np.round(values[a].values.astype(float), DECIMALS) + 0.0 for a in AXES if a in values.coords}
    return {n: pd.Series(v, name=n) for n, v in {"hemisphere": values["hemisphere"].values, **axes}.items()}


def _most_frequent(labels, places):
    """Most frequent label of each place; of equally frequent ones the first in the alphabet."""
    counts = labels.rename("label").groupby([*places, labels]).size()
    levels = list(range(len(places)))
    return [index[-1] for index in counts.groupby(level=levels).idxmax()]


def _picture(rows, values, spacing):
    """Values of one hemisphere on their grid."""
    steps = (*map(smallest_step, (rows["x"], rows["y"])), np.inf)
    spacing = spacing or (min(steps) if np.isfinite(min(steps)) else SPACING_MM)
    corner = rows[["x", "y"]].min().to_numpy()
    # Half a step belongs to the point above, as in `surfaces.from_flat`.
    column, row = np.floor((rows[["x", "y"]].to_numpy() - corner) / spacing + 0.5).astype(int).T
    cells = pd.Series(list(zip(column, row, strict=True)))
    if cells.duplicated().any():
        offenders = rows[["x", "y"]][cells.duplicated(keep=False).to_numpy()].to_numpy().tolist()
        raise ValueError(f"places share a point of a grid of {spacing:g} mm: {first(offenders)}")
    image = np.full((row.max() + 1, column.max() + 1), np.nan)
    image[row, column] = values.values
    coords = {
        axis: start + spacing * np.arange(n)
        for axis, start, n in zip("xy", corner, image.shape[::-1], strict=True)
    }
    if "roi" in values.coords:
        roi = np.full(image.shape, "", dtype=object)
        roi[row, column] = values["roi"].values
        coords["roi"] = (("y", "x"), roi.astype(str))
    return xr.DataArray(image, dims=("y", "x"), coords=coords, attrs={"spacing_mm": float(spacing)})


def smallest_step(coordinates):
    """Smallest distance between different coordinates of an axis.

    Parameters
    ----------
    coordinates : array_like (n,)
        mm.

    Returns
    -------
    float
        mm; infinite if there is a single one.
    """
    found = np.unique(coordinates)
    return min((b - a for a, b in itertools.pairwise(found)), default=np.inf)
