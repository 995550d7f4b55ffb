"""Volumes hold float32 and NaN, each value in the voxel where it belongs."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import xarray as xr

from lib import maps, searchlight, volumes


def places(points, values):
    coords = {axis: ("place", np.asarray(points, float)[:, i]) for i, axis in enumerate("xyz")}
    return xr.DataArray(
        np.asarray(values, float),
        dims="place",
        coords={"hemisphere": ("place", ["left"] * len(values)), **coords},
    )


def looked_up(image, point):
    index = np.linalg.inv(image.affine) @ [*point, 1]
    return image.get_fdata()[tuple(np.rint(index[:3]).astype(int))]


def test_every_place_is_found_again_by_its_coordinates():
    points = [[-45, -20, 8], [-42, -20, 8], [-45, -17, 14], [30, -20, 8]]
    image = volumes.from_places(places(points, [1, 2, 3, np.nan]))
    assert image.get_data_dtype() == np.float32
    assert image.header.get_zooms() == (3, 3, 3)  # the places lie on a grid of 3 mm
    assert [looked_up(image, p) for p in points[:3]] == [1, 2, 3]
    assert np.isfinite(image.get_fdata()).sum() == 3


def test_places_on_no_grid_get_voxels_of_two_mm_and_share_by_median():
    points = [[0, 0, 0], [0.3, 0.1, 0.2], [5.1, 0, 0.7]]
    image = volumes.from_places(places(points, [1, 2, 7]))
    assert image.header.get_zooms() == (2, 2, 2)
    assert looked_up(image, points[0]) == 1.5
    assert looked_up(image, points[2]) == 7
    assert volumes.from_places(places(points, [1, 2, 7]), spacing=6).shape == (2, 1, 1)


def test_a_given_image_lends_its_voxels():
    like = nib.Nifti1Image(
        np.zeros((5, 6, 7), np.uint8), nib.affines.from_matvec(np.diag([-2, 2, 2]), (4, 0, 0))
    )
    image = volumes.from_places(places([[4, 2, 6], [-4, 0, 0]], [3, 4]), like=like)
    assert image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(image.affine, like.affine)
    assert image.get_fdata()[0, 1, 3] == 3
    assert image.get_fdata()[4, 0, 0] == 4
    with pytest.raises(ValueError, match=r"outside an image of \(5, 6, 7\) voxels: \[6.0, 0.0, 0.0\]"):
        volumes.from_places(places([[6, 0, 0]], [1]), like=like)


def test_flat_places_have_no_volume():
    with pytest.raises(ValueError, match="flattened surface"):
        volumes.from_places(places([[0, 0, 0]], [1]).drop_vars("z"))


def single():
    """The mask whose only voxels make one searchlight with corner (4, 4, 4)."""
    mask = np.zeros((12, 12, 12), np.uint8)
    mask[5:7, 5:7, 5:7] = 1
    return nib.Nifti1Image(mask, np.eye(4)), *searchlight.blocks(mask)


def test_a_block_is_painted_into_its_inner_part():
    mask, corners, sizes = single()
    image = volumes.from_blocks([7], corners, sizes, mask)
    known = np.argwhere(np.isfinite(image.get_fdata()))
    assert known.min() == 5
    assert known.max() == 6
    assert len(known) == 8
    assert image.get_data_dtype() == np.float32  # though the mask holds bytes


def test_published_blocks_reach_two_voxels_too_far():
    mask, corners, sizes = single()
    image = volumes.from_blocks([7], corners, sizes, mask, published="dwivedi2021")
    known = np.argwhere(np.isfinite(image.get_fdata()))
    assert (len(known), known.min(), known.max()) == (64, 5, 8)


def test_inner_parts_tile_the_volume():
    mask = nib.Nifti1Image(np.ones((12, 12, 12), np.float32), np.eye(4))
    corners, sizes = searchlight.blocks(mask.get_fdata())
    assert len(corners) == 125
    data = volumes.from_blocks(range(125), corners, sizes, mask).get_fdata()
    found, counts = np.unique(data[np.isfinite(data)], return_counts=True)
    assert len(found) == 125  # none covers another
    assert (counts == 8).all()


@pytest.mark.reference
@pytest.mark.parametrize(
    ("values", "painted"), [("paint_values", "paint_volume"), ("sl_group_codes_f64", "sl_group_volume_f64")]
)
def test_painting_is_that_of_the_published_program(values, painted):
    if "COMPENDIUM_REFERENCE" not in os.environ:
        pytest.skip("COMPENDIUM_REFERENCE is not set")
    oracle = np.load(Path(os.environ["COMPENDIUM_REFERENCE"]) / "functional_maps_oracle.npz")
    mask = nib.Nifti1Image(oracle["mask"], np.eye(4))
    corners, sizes = oracle["block_corner"], oracle["block_size"]
    image = volumes.from_blocks(oracle[values], corners, sizes, mask, published="dwivedi2021")
    np.testing.assert_array_equal(image.get_fdata(), oracle[painted])  # whole numbers and quarters are exact


def test_saved_images_are_the_same_bytes_and_come_back(tmp_path):
    mask, corners, sizes = single()
    code = maps.codes(["a"], ["a", "b"], start=-8)
    for name in ("one.nii.gz", "two.nii.gz", "plain.nii"):
        volumes.save(volumes.from_blocks(code, corners, sizes, mask), tmp_path / name)
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()
    assert (tmp_path / "one.nii.gz").read_bytes()[4:8] == b"\0\0\0\0"  # no time stamp
    for name in ("one.nii.gz", "plain.nii"):
        image = nib.load(tmp_path / name)
        assert image.get_data_dtype() == np.float32
        assert np.isnan(image.get_fdata()[0, 0, 0])
        assert image.get_fdata()[5, 5, 5] == -8
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.nii.gz", "plain.nii", "two.nii.gz"]


def test_other_types_and_endings_are_refused(tmp_path):
    mask, corners, sizes = single()
    with pytest.raises(ValueError, match="float32"):
        volumes.save(mask, tmp_path / "mask.nii.gz")
    with pytest.raises(ValueError, match=r"in .nii.gz or .nii"):
        volumes.save(volumes.from_blocks([1], corners, sizes, mask), tmp_path / "map.mgh")
