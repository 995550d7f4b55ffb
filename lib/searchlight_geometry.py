"""Neighbourhoods of searchlights: cubes and spheres of voxels, discs on a cortical surface."""

import numpy as np
from scipy import sparse, spatial
from scipy.sparse import csgraph

# Lists of voxels, or distances along a surface to all vertices, of so many centres are held at a time.
CENTRES_AT_ONCE = 256


def coordinates(mask, affine):
    """Places of a mask's voxels in mm.

    Parameters
    ----------
    mask : array_like, (n_i, n_j, n_k)
        Non-zero inside.
    affine : array_like, (4, 4)
        From voxel numbers to mm, as in NIfTI.

    Returns
    -------
    array (n_voxels, 3)
        In the order of `mask[mask != 0]`.
    """
    affine = np.asarray(affine, float)
    return np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3]


def spheres(places, radius_mm, centres=None):
    """Voxels not farther than a radius from each centre.

    Parameters
    ----------
    places : array (n_voxels, 3)
        In mm; see `coordinates`.
    radius_mm : float
    centres : array (n_centres, 3), optional
        In mm; by default the voxels themselves.

    Returns
    -------
    scipy.sparse.csr_array (n_centres, n_voxels), bool
    """
    tree = spatial.cKDTree(places)
    centres = places if centres is None else centres
    found = []
    for start in range(0, len(centres), CENTRES_AT_ONCE):
        some = centres[start : start + CENTRES_AT_ONCE]
        # A share of the radius more: voxels at the radius exactly are in, whatever an affine's rounding says.
        near = tree.query_ball_point(some, radius_mm * (1 + 1e-9), return_sorted=True)
        found.extend(np.asarray(row, np.int32) for row in near)
    return _sparse(found, len(places))


def cubes(mask, corners, sizes):
    """Voxels of a mask in each block of a volume.

    Parameters
    ----------
    mask : array_like, (n_i, n_j, n_k)
        Non-zero inside. All ones: every voxel of the blocks, as published.
    corners, sizes : int arrays (n_blocks, 3)
        As `lib.searchlight.blocks` gives them.

    Returns
    -------
    scipy.sparse.csr_array (n_blocks, n_voxels), bool
        Columns in the order of `mask[mask != 0]`.
    """
    mask = np.asarray(mask) != 0
    column = np.where(mask, np.cumsum(mask).reshape(mask.shape) - 1, -1)
    found = [column[_box(corner, size)] for corner, size in zip(corners, sizes, strict=True)]
    return _sparse([block[block >= 0] for block in found], int(mask.sum()))


def discs(vertices, faces, radius_mm, centres=None):
    """Vertices of a surface not farther than a radius from each centre, along the edges of its triangles.

    Paths along edges are longer than the shortest ones across triangles, by up to 15 % on regular meshes: discs
    are a little smaller than their radius says.

    Parameters
    ----------
    vertices : array (n_vertices, 3)
        In mm, of the surface on which distances are to be measured.
    faces : int array (n_faces, 3)
        Vertices of each triangle.
    radius_mm : float
    centres : int array (n_centres,), optional
        Vertices; by default all.

    Returns
    -------
    scipy.sparse.csr_array (n_centres, n_vertices), bool

    References
    ----------
    Oosterhof et al. (2011), NeuroImage 56, 593-600 (searchlights on surfaces).
    """
    a, b = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).T
    lengths = np.linalg.norm(vertices[a] - vertices[b], axis=1)
    n = len(vertices)
    # Each inner edge comes from two triangles, in both directions: the larger of equal lengths is that length.
    graph = sparse.csr_array((lengths, (a, b)), shape=(n, n))
    edges = sparse.csr_array((np.ones(len(a)), (a, b)), shape=(n, n))
    graph.data /= edges.data
    graph = graph.maximum(graph.T)
    centres = np.arange(n) if centres is None else np.asarray(centres)
    found = []
    for start in range(0, len(centres), CENTRES_AT_ONCE):
        some = centres[start : start + CENTRES_AT_ONCE]
        distances = csgraph.dijkstra(graph, directed=False, indices=some, limit=radius_mm * (1 + 1e-9))
        found.extend(np.flatnonzero(row) for row in np.isfinite(distances))
    return _sparse(found, n)


def of_target(responses, radius_mm, centres=None, *, keep_repeats=False):
    """Patterns and spheres of each subject of a data set, around the same centres.

    Parameters
    ----------
    responses : xarray.Dataset
        With `response` (repeat, stimulus, voxel) and coordinates subject, x, y and z per voxel, in mm. Where
        their attribute `shared` is 0, each subject has a space of its own: its places are searched in it alone.
    radius_mm : float
    centres : array (n_centres, 3), optional
        In mm; by default every place where some subject has a voxel (one after the other, if in spaces of their
        own).
    keep_repeats : bool
        Not their mean, for crossed measures.

    Returns
    -------
    patterns : dict of str to array (n_stimuli, n_voxels) or (n_repeats, n_stimuli, n_voxels)
        Of each subject: mean over the repeats that were measured, or all repeats.
    neighbourhoods : dict of str to scipy.sparse.csr_array (n_centres, n_voxels)
    centres : array (n_centres, 3)

    Raises
    ------
    ValueError
        If voxels have no coordinates, their spaces differ, or centres are given for spaces that are not shared.
    """
    places, own = _places(responses), _own(responses)
    if not _shared(responses) and len(own) > 1:
        if centres is not None:
            raise ValueError(
                f"{list(own)} have spaces of their own: no centre is the same place in all of them"
            )
        near, centres = _apart(places, own, radius_mm)
        return _patterns(responses, own, keep_repeats), near, centres
    centres = np.unique(places, axis=0) if centres is None else centres
    neighbourhoods = {subject: spheres(places[here], radius_mm, centres) for subject, here in own.items()}
    return _patterns(responses, own, keep_repeats), neighbourhoods, centres


def on_surface(responses, mesh, radius_mm, *, keep_repeats=False):
    """Patterns and discs of each subject of a data set, each voxel at the vertex that is nearest to it.

    Parameters
    ----------
    responses : xarray.Dataset
        As in `of_target`, and with a coordinate hemisphere.
    mesh : xarray.Dataset
        From `lib.surfaces.fsaverage5`; distances are along the surface halfway between white and pial.
    radius_mm : float
    keep_repeats : bool
        Not their mean, for crossed measures.

    Returns
    -------
    patterns : dict of str to array
        See `of_target`.
    neighbourhoods : dict of str to scipy.sparse.csr_array (n_centres, n_voxels)
    centres : array (n_centres, 3)
        The vertices where some subject has a voxel, mm, the left hemisphere first.

    Raises
    ------
    ValueError
        If voxels have no coordinates, or lie in different spaces or spaces of the subjects' own.
    """
    places, own = _places(responses), _own(responses)
    if not _shared(responses):
        raise ValueError(
            "voxels lie in the subjects' own spaces, not where the surface does; see `of_target`"
        )
    sides = responses["hemisphere"].values
    blocks, centres = {subject: [] for subject in own}, []
    for side in mesh["hemisphere"].values:
        here = np.flatnonzero(sides == side)
        vertices = mesh["middle"].sel(hemisphere=side).values
        nearest = spatial.cKDTree(vertices).query(places[here])[1]
        used = np.unique(nearest)
        faces = mesh["faces"].sel(hemisphere=side).values
        within = discs(vertices, faces, radius_mm, used)[:, nearest]
        centres.append(vertices[used])
        for subject, members in own.items():
            columns = np.flatnonzero(np.isin(members, here))
            block = sparse.coo_array(within[:, np.isin(here, members)])
            shape = len(used), len(members)
            spread = sparse.csr_array((block.data, (block.row, columns[block.col])), shape=shape)
            blocks[subject].append(spread)
    neighbourhoods = {subject: sparse.csr_array(sparse.vstack(found)) for subject, found in blocks.items()}
    return _patterns(responses, own, keep_repeats), neighbourhoods, np.concatenate(centres)


def _places(responses):
    """Coordinates (n_voxels, 3) in mm."""
    missing = [axis for axis in "xyz" if axis not in responses.coords]
    if missing:
        raise ValueError(f"responses have no coordinates {missing}: there is no neighbourhood to search")
    spaces = {responses[axis].attrs.get("space") for axis in "xyz"}
    if len(spaces) > 1:
        raise ValueError(f"coordinates x, y and z lie in different spaces: {sorted(map(str, spaces))}")
    return np.stack([responses[axis].values for axis in "xyz"], axis=1)


def _shared(responses):
    """Whether a place is the same in all subjects."""
    return all(responses[axis].attrs.get("shared", 1) for axis in "xyz")


def _apart(places, own, radius_mm):
    """Spheres of each subject around its own places, and all these places (n_centres, 3)."""
    centres = {subject: np.unique(places[here], axis=0) for subject, here in own.items()}
    near = {}
    for subject, here in own.items():
        rows = [
            spheres(places[here], radius_mm, points)
            if other == subject
            else sparse.csr_array((len(points), len(here)), dtype=bool)
            for other, points in centres.items()
        ]
        near[subject] = sparse.csr_array(sparse.vstack(rows))
    return near, np.concatenate(list(centres.values()))


def _own(responses):
    """Numbers of each subject's voxels."""
    subjects = responses["subject"].values
    return {str(name): np.flatnonzero(subjects == name) for name in dict.fromkeys(subjects.tolist())}


def _patterns(responses, own, keep_repeats):
    """Responses of each subject's voxels, or their means over repeats."""
    found = responses["response"].transpose(..., "stimulus", "voxel")
    found = found if keep_repeats else found.mean("repeat", skipna=True)
    return {subject: found.values[..., here] for subject, here in own.items()}


def _box(corner, size):
    """Slices of a box of voxels."""
    return tuple(slice(int(c), int(c) + max(int(e), 0)) for c, e in zip(corner, size, strict=True))


def _sparse(found, n_columns):
    """Rows of columns as a sparse matrix of True."""
    lengths = [len(row) for row in found]
    small = max(sum(lengths), n_columns) <= np.iinfo(np.int32).max
    kind = np.int32 if small else np.int64
    indices = np.concatenate([np.zeros(0, kind), *found], dtype=kind)
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(kind)
    return sparse.csr_array((np.ones(len(indices), bool), indices, ends), shape=(len(lengths), n_columns))
