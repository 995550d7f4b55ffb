"""Maps as volumes: places or searchlights painted into NIfTI images whose background is NaN."""

import gzip

import nibabel as nib
import numpy as np
import pandas as pd

from lib import maps, plugins
from lib.artefacts import atomic

FINEST_MM = 0.5  # coordinates that differ by less are not those of a grid
PUBLISHED = ("dwivedi2021",)


def from_places(values, *, spacing=None, like=None):
    """Image of what is known at single places.

    Parameters
    ----------
    values : xarray.DataArray (place)
        From `lib.maps.over_subjects`, with coordinates x, y and z (mm). Several places in one voxel: their
        median.
    spacing : float, optional
        Of the voxels, mm. Default: that of the places if they lie on a grid, else 2.
    like : nibabel image, optional
        Whose voxels to use instead.

    Returns
    -------
    nibabel.Nifti1Image
        float32, NaN where no place is.

    Raises
    ------
    ValueError
        If z is missing, or places lie outside the image given.
    """
    if "z" not in values.coords:
        raise ValueError("places without z lie on a flattened surface; see lib.maps.flat")
    points = np.column_stack([values[axis].values.astype(float) for axis in maps.AXES])
    affine, shape = (like.affine, like.shape[:3]) if like else _grid(points, spacing)
    inverse = np.linalg.inv(affine)
    index = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    outside = ((index < 0) | (index >= shape)).any(axis=1)
    if outside.any():
        offenders = plugins.first(points[outside].tolist())
        raise ValueError(f"places lie outside an image of {tuple(shape)} voxels: {offenders}")
    medians = pd.Series(values.values.astype(float)).groupby(list(index.T)).median()
    data = np.full(shape, np.nan, np.float32)
    data[tuple(np.array(medians.index.to_list()).T)] = medians
    return _image(data, affine)


def from_blocks(values, corners, sizes, mask, *, radius=1, published=None):
    """Image of what is known of searchlights, each painted into the inner part of its block.

    Parameters
    ----------
    values : array_like (n_blocks,)
    corners, sizes : array_like of int (n_blocks, 3)
        As `lib.searchlight.blocks` gives them.
    mask : nibabel image
        Of the same mask; only its shape and affine are used.
    radius : int
        Voxels that a block has around its inner part. Inner parts never overlap.
    published : {"dwivedi2021"}, optional
        Paint the whole size of the block, moved by `radius`, in order: later blocks overwrite, and a map
        reaches two voxels too far.

    Returns
    -------
    nibabel.Nifti1Image
        float32, whatever the mask's type (of an integer type NaN would become a code, and codes be scaled);
        NaN where no block is.

    References
    ----------
    Dwivedi, Bonner, Cichy & Roig (2021), doi:10.1371/journal.pcbi.1009267, figures 1d and 3a.
    """
    start = np.asarray(corners) + radius
    stop = start + np.asarray(sizes) - 2 * radius
    if published is not None:
        plugins.require(published, PUBLISHED, "published rule")
        stop = start + np.asarray(sizes)
    data = np.full(mask.shape[:3], np.nan, np.float32)
    for value, low, high in zip(np.asarray(values, float), start, stop, strict=True):
        data[tuple(map(slice, low, high))] = value
    return _image(data, mask.affine)


def save(image, path):
    """Write an image completely or not at all; the same image gives the same bytes.

    Parameters
    ----------
    image : nibabel.Nifti1Image
    path : pathlib.Path
        Ending in `.nii.gz` or `.nii`.

    Raises
    ------
    ValueError
        If the path ends otherwise, or the image is not float32.
    """
    if not path.name.endswith((".nii", ".nii.gz")) or image.get_data_dtype() != np.float32:
        raise ValueError(f"{path.name} of {image.get_data_dtype()}: maps are float32 in .nii.gz or .nii")
    with atomic(path) as part:
        content = image.to_bytes()
        part.write_bytes(_packed(content) if path.suffix == ".gz" else content)


def _packed(content):
    """Compressed without a time stamp."""
    return gzip.compress(content, mtime=0)


def _grid(points, spacing):
    """Affine and shape of the smallest grid around places."""
    spacing = spacing or _step(points)
    corner = points.min(axis=0)
    shape = np.rint((points.max(axis=0) - corner) / spacing).astype(int) + 1
    return nib.affines.from_matvec(np.eye(3) * spacing, corner), tuple(shape)


def _step(points):
    """Distance of grid points on which all places lie, else the usual one."""
    steps = [s for axis in points.T if FINEST_MM <= (s := maps.smallest_step(axis)) < np.inf]
    step = min(steps, default=maps.SPACING_MM)
    off = (points - points.min(axis=0)) / step
    return step if np.allclose(off, np.rint(off), atol=1e-3) else maps.SPACING_MM


def _image(data, affine):
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    return image
