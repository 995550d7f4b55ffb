"""Searchlights: the blocks of a brain mask, and files of their dissimilarity matrices."""

import logging
import shutil

import h5netcdf
import numpy as np
import xarray as xr

from lib import damage, hdf5
from lib.artefacts import atomic

PIECE_BYTES = 1 << 24  # of searchlights read at a time
CHUNK = 64  # searchlights of one subject that lie together on disk
ROUNDING = 1e-6  # of the largest dissimilarity; RDMs are stored in single precision here and there


def blocks(mask, *, radius=1, edge=2):
    """Overlapping cubes that cover a mask, of which each stands for one searchlight.

    Corners lie on a grid of stride `edge`. A block has edges of `edge + 2 radius` voxels, cut where the volume
    ends; it counts if the mask holds a voxel of its inner part, which is the block without `radius` voxels on
    each side. Voxels of the mask within `radius` of the volume's border are in no inner part.

    Parameters
    ----------
    mask : array_like, (n_i, n_j, n_k)
        Non-zero inside the brain.
    radius, edge : int
        Voxels.

    Returns
    -------
    corners : numpy.ndarray, (n_blocks, 3)
        First voxel of each block; ordered, the first axis slowest.
    sizes : numpy.ndarray, (n_blocks, 3)
        Edges of each block in voxels.

    Raises
    ------
    ValueError
        If the mask has not three axes.

    References
    ----------
    Dwivedi et al. (2021), doi:10.1371/journal.pcbi.1009267; the rule is that of BrainIAK's searchlight.
    """
    mask = np.asarray(mask)
    if mask.ndim != 3:
        raise ValueError(f"a mask has three axes, not {mask.ndim}")
    shape = np.array(mask.shape)
    voxels = np.argwhere(mask)
    inner = voxels[((voxels >= radius) & (voxels < shape - radius)).all(axis=1)]
    # Inner parts tile the volume, so each voxel is in that of one block.
    corners = np.unique((inner - radius) // edge * edge, axis=0)
    return corners, np.minimum(edge + 2 * radius, shape - corners)


def pairs(n_stimuli):
    """Rows and columns of the upper triangle of an RDM, without diagonal, in row-major order.

    Parameters
    ----------
    n_stimuli : int

    Returns
    -------
    tuple of numpy.ndarray
        For 50 stimuli (0, 1), (0, 2), … (48, 49): 1225 pairs, the order of SciPy's `squareform`.
    """
    return np.triu_indices(n_stimuli, 1)


def shape(stream):
    """Shape and type of RDMs in a `.npy` file; the stream stands at the first of them then.

    Parameters
    ----------
    stream : binary file object
        At the file's beginning.

    Returns
    -------
    shape : tuple of int
        (n_subjects, n_searchlights, n_stimuli, n_stimuli).
    dtype : numpy.dtype
        Floating point.

    Raises
    ------
    ValueError
        If it is no such file, or its values do not lie one RDM after the other.
    """
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(stream)
    if version not in readers:
        raise ValueError(f"version {version} of .npy is not one of {list(readers)}")
    found, fortran, dtype = readers[version](stream)
    if fortran or dtype.kind != "f" or len(found) != 4 or found[2] != found[3]:
        order = "Fortran" if fortran else "C"
        raise ValueError(
            f"{dtype} array of shape {found} in {order} order instead of floating-point RDMs (subject, "
            "searchlight, stimulus, stimulus) in C order"
        )
    return found, dtype


def store(stream, path, about):
    """Copy RDMs of searchlights into a netCDF file without ever holding more than a piece in memory.

    Parameters
    ----------
    stream : binary file object
        `.npy` file with (n_subjects, n_searchlights, n_stimuli, n_stimuli), any floating-point type.
    path : pathlib.Path
        Of the new file; `rdm` (subject, searchlight, pair) in single precision, the upper triangles as by
        `pairs`, beside what is in `about`.
    about : xarray.Dataset
        With axes subject, searchlight and pair, and what is known of each.

    Raises
    ------
    ValueError
        If the numbers of subjects, searchlights or pairs are others than in `about`, the file is truncated or
        too long, or an RDM is infinite, not symmetric, or not 0 on its diagonal.
    OSError
        If the disk has too little space; the message says how much is needed.
    """
    found, dtype = shape(stream)
    wanted = tuple(about.sizes[d] for d in ("subject", "searchlight", "pair"))
    n_subjects, n_searchlights, n, _ = found
    if (n_subjects, n_searchlights, n * (n - 1) // 2) != wanted:
        raise ValueError(f"RDMs of shape {found}, but (subjects, searchlights, pairs) should be {wanted}")
    _check_space(path, 4 * int(np.prod(wanted)))
    with atomic(path) as part:
        about.to_netcdf(part, engine="h5netcdf")
        with h5netcdf.File(part, "r+") as file:
            chunks = (1, min(CHUNK, n_searchlights), wanted[2])
            rdm = file.create_variable("rdm", ("subject", "searchlight", "pair"), "f4", chunks=chunks)
            rdm.attrs["missing"] = "a pattern was constant or undefined in this searchlight"
            for subject, start, values in _pieces(stream, found, dtype):
                rdm[subject, start : start + len(values)] = _condensed(values, subject, start)
        if stream.read(1):
            raise ValueError(f"bytes follow the {n_subjects} x {n_searchlights} RDMs")


def average(path, *, n_at_once=1024):
    """RDMs of all searchlights, averaged over subjects, read piece by piece.

    Parameters
    ----------
    path : pathlib.Path
        As `store` writes it.
    n_at_once : int
        Searchlights per piece.

    Returns
    -------
    xarray.DataArray
        (searchlight, pair), float64; NaN where a subject has NaN.
    """
    with damage.named(path), hdf5.opened(path), xr.open_dataset(path, engine="h5netcdf") as file:
        rdm = file["rdm"]
        starts = range(0, rdm.sizes["searchlight"], n_at_once)
        piece = [
            rdm.isel(searchlight=slice(i, i + n_at_once)).astype("f8").mean("subject", skipna=False)
            for i in starts
        ]
        return xr.concat(piece, "searchlight")


def _check_space(path, n_bytes):
    """Raise if a file of that size does not fit on the disk."""
    logging.getLogger(__name__).info("%s will take %.1f GB", path, n_bytes / 1e9)
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if n_bytes > free:
        raise OSError(f"{path} needs {n_bytes / 1e9:.1f} GB; the disk has {free / 1e9:.1f} GB left")


def _pieces(stream, found, dtype):
    """Subject, first searchlight and RDMs of one piece after the other."""
    n_subjects, n_searchlights, n, _ = found
    size = n * n * dtype.itemsize
    at_once = max(1, PIECE_BYTES // size // CHUNK) * CHUNK
    for subject in range(n_subjects):
        for start in range(0, n_searchlights, at_once):
            count = min(at_once, n_searchlights - start)
            content = _read(stream, count * size)
            if len(content) < count * size:
                have = subject * n_searchlights + start + len(content) // size
                raise ValueError(f"truncated after {have} of {n_subjects * n_searchlights} RDMs")
            yield subject, start, np.frombuffer(content, dtype).reshape(count, n, n)


def _read(stream, n_bytes):
    """So many bytes, or all that are left."""
    content = bytearray()
    while len(content) < n_bytes and (more := stream.read(n_bytes - len(content))):
        content += more
    return bytes(content)


def _condensed(values, subject, start):
    """Upper triangles of RDMs that are what an RDM must be."""
    infinite = np.isinf(values)
    finite = np.where(infinite, 0, values)
    tolerance = ROUNDING * np.nanmax(np.abs(finite), initial=0)
    lopsided = np.abs(finite - finite.swapaxes(1, 2)) > tolerance
    selfish = (np.abs(finite) > tolerance) & np.eye(values.shape[1], dtype=bool)
    odd = (infinite | lopsided | selfish).any(axis=(1, 2))
    if odd.any():
        first = start + int(np.argmax(odd))
        raise ValueError(
            f"{odd.sum()} RDMs are infinite, not symmetric or not 0 on their diagonal; the first is that of "
            f"searchlight {first} of subject {subject} (both counted from 0)"
        )
    return values[:, *pairs(values.shape[1])].astype(np.float32)
