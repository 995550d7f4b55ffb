"""Maps on the cortical surface fsaverage5, which nilearn carries: from places, volumes and flat pictures."""

import warnings

import numpy as np
import pandas as pd
import xarray as xr
from nilearn import datasets, surface
from scipy.spatial import cKDTree

from lib import damage, download, given, maps, matfiles, plugins
from lib.maps import HEMISPHERES

SHAPES = {"white": "white", "pial": "pial", "inflated": "infl", "sphere": "sphere"}
N_VERTICES = 10242  # of a hemisphere of fsaverage5: the first of the 163842 of fsaverage
N_FSAVERAGE = 163842
N_COARSE = 2562  # of fsaverage4, the first of fsaverage5: about 7 mm apart
DEPTHS = np.linspace(0, 1, 7)  # from white matter to pial surface
# From where the right hemisphere is seen.
VIEWS = {
    "lateral": (1, 0, 0), "medial": (-1, 0, 0), "dorsal": (0, 0, 1), "ventral": (0, 0, -1), "anterior": (0, 1, 0),
    "posterior": (0, -1, 0),
}  # fmt: skip
SLANT = 0.15  # of triangles that turn away so little that perspective may still show them
EMPTY = 1e-10  # values of at most this size stood for no value
PUBLISHED = {"volume": ("dwivedi2021",), "flat": ("tuckute2023",)}
MATRIX = "fsavg_surf/voxel_matrix_for_alex.mat"
ADVICE = "voxel_matrix_for_alex.mat is in https://mcdermottlab.mit.edu//tuckute_feather_2023/voxel_matrix_for_alex.tar"


def fsaverage5():
    """The surface of an average brain.

    Returns
    -------
    xarray.Dataset (hemisphere, vertex, axis)
        `white`, `pial`, `inflated`, `sphere`: x, y, z of each vertex in mm; `middle`, halfway between white and
        pial surface; `sulc` (hemisphere, vertex), depth, positive inside a sulcus; `faces` (hemisphere, face,
        corner), vertices of each triangle.

    References
    ----------
    Fischl, Sereno, Tootell & Dale (1999), Hum Brain Mapp 8:272.
    """
    files = datasets.fetch_surf_fsaverage("fsaverage5")
    meshes = {
        name: [surface.load_surf_mesh(files[f"{stem}_{side}"]) for side in HEMISPHERES]
        for name, stem in SHAPES.items()
    }
    dims = ("hemisphere", "vertex", "axis")
    found = {
        name: (dims, np.stack([m.coordinates for m in both]).astype(float)) for name, both in meshes.items()
    }
    faces = np.stack([m.faces for m in meshes["white"]]).astype(int)
    sulc = [surface.load_surf_data(files[f"sulc_{side}"]) for side in HEMISPHERES]
    mesh = xr.Dataset(
        found | {"faces": (("hemisphere", "face", "corner"), faces), "sulc": (dims[:2], np.stack(sulc))},
        coords={"hemisphere": list(HEMISPHERES), "axis": list(maps.AXES)},
    )
    return mesh.assign(middle=(mesh["white"] + mesh["pial"]) / 2)


def patch(mesh, hemisphere, centre, n_vertices, *, taken=()):
    """The vertices around a point of the brain.

    Parameters
    ----------
    mesh : xarray.Dataset
        From `fsaverage5`.
    hemisphere : {"left", "right"}
    centre : sequence of float (3,)
        x, y, z in mm, of the same side.
    n_vertices : int
    taken : iterable of int, optional
        Vertices that belong to others.

    Returns
    -------
    int array (n_vertices,)
        By distance from that of them which is nearest to the centre, along the inflated sphere, so that a patch
        does not jump across a sulcus.
    """
    side = mesh.sel(hemisphere=hemisphere)
    middle = np.linalg.norm(side["middle"].values - centre, axis=1).argmin()
    away = np.linalg.norm(side["sphere"].values - side["sphere"].values[middle], axis=1)
    away[list(taken)] = np.inf
    return np.argsort(away, kind="stable")[:n_vertices]


def from_places(values, mesh, *, radius_mm=None):
    """Each vertex has the value of the place that is nearest to it.

    Parameters
    ----------
    values : xarray.DataArray (place)
        From `lib.maps.over_subjects`, with coordinates hemisphere, x, y, z (mm, in the space of fsaverage or
        MNI152), perhaps roi. Numbers, also codes: nothing is interpolated.
    mesh : xarray.Dataset
        From `fsaverage5`.
    radius_mm : float, optional
        Largest distance from the middle of the cortex; farther vertices remain empty. Default: the median
        distance between a place and the next, of both hemispheres.

    Returns
    -------
    xarray.DataArray (hemisphere, vertex)
        NaN where no place is near; coordinate roi ("" there), if the places have it.

    Raises
    ------
    ValueError
        If the places have no z, so that nobody knows where on this surface they lie.
    """
    if "z" not in values.coords:
        raise ValueError("places without z lie on a flattened surface; see lib.surfaces.from_flat")
    found = np.full((len(HEMISPHERES), mesh.sizes["vertex"]), np.nan)
    roi = np.full(found.shape, "", dtype=object)
    sides = {side: values.isel(place=(values["hemisphere"] == side).values) for side in HEMISPHERES}
    trees = {s: cKDTree(np.column_stack([v[a] for a in maps.AXES])) for s, v in sides.items() if v.size}
    radius_mm = _spacing(trees.values()) if radius_mm is None else radius_mm
    for side, tree in trees.items():
        here, number = sides[side], HEMISPHERES.index(side)
        distance, nearest = tree.query(mesh["middle"].sel(hemisphere=side).values)
        near = distance <= radius_mm
        found[number, near] = here.values[nearest[near]]
        if "roi" in values.coords:
            roi[number, near] = here["roi"].values[nearest[near]]
    return _on_surface(found, roi if "roi" in values.coords else None)


def from_volume(image, mesh, *, categories=False, published=None):
    """Values of a volume between the white and the pial surface.

    Voxels are looked up at seven depths of the cortex, the nearest each time, and those without a value left
    out.

    Parameters
    ----------
    image : nibabel image
        In the space of fsaverage or MNI152; NaN where nothing is known.
    mesh : xarray.Dataset
        From `fsaverage5`.
    categories : bool
        The values are codes: take the most frequent one (of equally frequent ones the smallest), never a
        number between two. Otherwise the mean.
    published : {"dwivedi2021"}, optional
        Interpolate linearly between voxels, codes as well: between two categories the map then shows others
        that lie between their codes.

    Returns
    -------
    xarray.DataArray (hemisphere, vertex)
        NaN where no voxel with a value is.

    References
    ----------
    Dwivedi, Bonner, Cichy & Roig (2021), doi:10.1371/journal.pcbi.1009267, figures 1d and 3a.
    """
    if published is not None:
        plugins.require(published, PUBLISHED["volume"], "published rule")
        return _on_surface(np.stack([_linear(image, mesh.sel(hemisphere=side)) for side in HEMISPHERES]))
    samples = _samples(image, mesh)
    return _on_surface(_most_frequent(samples) if categories else _mean(samples))


def voxel_matrix(path):
    """Which points of the flattened surface the vertices of fsaverage are.

    Parameters
    ----------
    path : str or pathlib.Path
        `voxel_matrix_for_alex.mat`: cells `ras_coords_fsaverage` (n, 2) in mm and `voxel_indices_fsaverage` (n)
        counted from 0, the right hemisphere first.

    Returns
    -------
    dict of str to pandas.DataFrame
        By hemisphere: vertex (from 0), x, y.

    Raises
    ------
    ValueError
        If the file is damaged or another one.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, figure 6.
    """
    names = ("ras_coords_fsaverage", "voxel_indices_fsaverage")
    with damage.named(path):
        cells = [np.ravel(matfiles.variable(path, name)) for name in names]
        pairs = [(np.asarray(p, float), np.ravel(v).astype(int)) for p, v in zip(*cells, strict=True)]
        sides = dict(zip(("right", "left"), pairs, strict=True))
    found = {}
    for side, (points, vertices) in sides.items():
        low, high = vertices.min(initial=N_FSAVERAGE), vertices.max(initial=0)
        if (
            points.shape != (len(vertices), 2)
            or low < 0
            or high >= N_FSAVERAGE
            or not np.isfinite(points).all()
        ):
            raise ValueError(
                f"{path}: points {points.shape} of {len(vertices)} vertices {low} to {high} instead of (n, 2), "
                f"all finite, of n vertices from 0 to {N_FSAVERAGE - 1} ({side} hemisphere)"
            )
        found[side] = pd.DataFrame({"vertex": vertices, "x": points[:, 0], "y": points[:, 1]})
    return found


def given_matrix():
    """The matrix of `voxel_matrix`, if somebody has put it into `data/raw/fsavg_surf` or the mirror.

    Returns
    -------
    dict of str to pandas.DataFrame, or None

    Raises
    ------
    lib.download.DownloadError
        If the file is another one than when it was first used.
    """
    folder, _ = MATRIX.rsplit("/", 1)
    if MATRIX not in given.listed(folder, ".mat"):
        return None
    return voxel_matrix(download.placed([MATRIX], ADVICE)[MATRIX])


def from_flat(images, matrix, *, n_vertices=N_VERTICES, published=None):
    """Each vertex has the value of the nearest point of a flat picture.

    Parameters
    ----------
    images : dict of str to xarray.DataArray (y, x)
        From `lib.maps.flat`.
    matrix : dict of str to pandas.DataFrame
        From `voxel_matrix`.
    n_vertices : int
        The first so many of fsaverage; by default those of fsaverage5.
    published : {"tuckute2023"}, optional
        A value of 0 is none, which is why 1 was added to relative positions.

    Returns
    -------
    xarray.DataArray (hemisphere, vertex)
        NaN where the picture is empty, and beyond it; coordinate roi, if the pictures have it.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, figure 6.
    """
    found = np.full((len(HEMISPHERES), n_vertices), np.nan)
    roi = np.full(found.shape, "", dtype=object)
    for side, image in images.items():
        number, rows = HEMISPHERES.index(side), matrix[side][matrix[side]["vertex"] < n_vertices]
        vertices, points = _nearest_points(image, rows)
        found[number, vertices] = image.values[points]
        if "roi" in image.coords:
            roi[number, vertices] = image["roi"].values[points]
    if published is not None:
        plugins.require(published, PUBLISHED["flat"], "published rule")
        found[np.abs(found) < EMPTY] = np.nan
    return _on_surface(found, roi if all("roi" in image.coords for image in images.values()) else None)


def edges(labels, mesh):
    """Vertices at the edge of a region, inside it.

    Parameters
    ----------
    labels : array_like of str (hemisphere, vertex)
        "" is no region.
    mesh : xarray.Dataset
        From `fsaverage5`.

    Returns
    -------
    bool array (hemisphere, vertex)
        Where two regions touch, the edge is in that whose name comes later, so that it is one vertex wide.
    """
    labels = np.asarray(labels, dtype=str)
    order = np.unique(np.append(labels.ravel(), ""), return_inverse=True)[1][:-1].reshape(labels.shape)
    found = np.zeros(labels.shape, bool)
    for number, side in enumerate(HEMISPHERES):
        row, faces = order[number], mesh["faces"].sel(hemisphere=side).values
        a, b = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).T
        found[number, np.concatenate([a[row[a] > row[b]], b[row[b] > row[a]]])] = True
    return found


def facing(values, mesh):
    """From which side most of the vertices with a value are seen.

    Parameters
    ----------
    values : xarray.DataArray (hemisphere, vertex)
        NaN where nothing is.
    mesh : xarray.Dataset
        From `fsaverage5`.

    Returns
    -------
    {"left", "right", "front", "back", "top", "bottom"}
        Of the inflated brain; from the left only the left hemisphere is seen, and from the right the right.
    """
    normals = np.stack([_normals(mesh.sel(hemisphere=side)) for side in HEMISPHERES])
    normals[np.isnan(values.values)] = 0
    toward = np.maximum(np.concatenate([normals, -normals], axis=-1), 0).sum(axis=1)
    sides = {"left": toward[0, 3], "right": toward[1, 0]}
    sides |= dict(zip(("front", "top", "back", "bottom"), toward.sum(axis=0)[[1, 2, 4, 5]], strict=True))
    return max(sides, key=sides.get)


def faces_toward(mesh, hemisphere, view):
    """Triangles of an inflated hemisphere that may be seen in a view; the others only cost time.

    Parameters
    ----------
    mesh : xarray.Dataset
        From `fsaverage5`.
    hemisphere : {"left", "right"}
    view : str
        As nilearn names it; of other views than lateral, medial, dorsal, ventral, anterior and posterior all
        triangles are given.

    Returns
    -------
    int array (n_faces, 3)
    """
    side = mesh.sel(hemisphere=hemisphere)
    faces = side["faces"].values
    if view not in VIEWS:
        return faces
    outward = np.multiply(VIEWS[view], (1 if hemisphere == "right" else -1, 1, 1))
    return faces[(_normals(side)[faces] @ outward).max(axis=1) > -SLANT]


def _spacing(trees):
    """Median distance between a place and the next one."""
    apart = [tree.query(tree.data, k=2)[0][:, 1] for tree in trees if tree.n > 1]
    return float(np.median(np.concatenate(apart))) if apart else maps.SPACING_MM


def _normals(side):
    """Outward directions (vertex, axis) of the inflated surface, of length 1."""
    points, faces = side["inflated"].values, side["faces"].values
    a, b, c = np.moveaxis(points[faces], 1, 0)
    found = np.zeros_like(points)
    for corner in faces.T:
        np.add.at(found, corner, np.cross(b - a, c - a))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _on_surface(found, roi=None):
    coords = {"hemisphere": list(HEMISPHERES)}
    coords |= {} if roi is None else {"roi": (("hemisphere", "vertex"), roi.astype(str))}
    return xr.DataArray(found, dims=("hemisphere", "vertex"), coords=coords)


def _samples(image, mesh):
    """Nearest voxels at each depth, (hemisphere, vertex, depth); NaN outside."""
    data, inverse = np.asarray(image.dataobj, float), np.linalg.inv(image.affine)
    depth = DEPTHS[:, None]
    white, pial = (mesh[name].values[..., None, :] for name in ("white", "pial"))
    points = (1 - depth) * white + depth * pial
    index = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    inside = ((index >= 0) & (index < data.shape)).all(axis=-1)
    found = np.full(inside.shape, np.nan)
    found[inside] = data[tuple(index[inside].T)]
    return found


def _mean(samples):
    known = np.isfinite(samples)
    with np.errstate(invalid="ignore"):
        return np.where(known, samples, 0).sum(axis=-1) / known.sum(axis=-1)


def _most_frequent(samples):
    levels = np.unique(samples[np.isfinite(samples)])
    if not len(levels):
        return np.full(samples.shape[:-1], np.nan)
    counts = np.stack([(samples == level).sum(axis=-1) for level in levels])
    return np.where(counts.any(axis=0), levels[counts.argmax(axis=0)], np.nan)


def _linear(image, side):
    """As nilearn projects a volume by default."""
    faces = side["faces"].values
    pial, white = (surface.InMemoryMesh(side[name].values, faces) for name in ("pial", "white"))
    with warnings.catch_warnings():
        # A vertex without any value is what NaN says.
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return surface.vol_to_surf(image, pial, inner_mesh=white)


def _nearest_points(image, rows):
    """Vertices that lie in a flat picture (y, x), and row and column of the grid point nearest to each."""
    steps = {a: (rows[a].to_numpy() - float(image[a][0])) / image.attrs["spacing_mm"] for a in ("y", "x")}
    inside = np.all([(steps[a] >= 0) & (steps[a] <= image.sizes[a] - 1) for a in steps], axis=0)
    # Half a step belongs to the point above, as in MATLAB's interp2.
    points = tuple(np.floor(step[inside] + 0.5).astype(int) for step in steps.values())
    return rows["vertex"].to_numpy()[inside], points
