"""Blocks of searchlights, and their files."""

import io

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import squareform

from lib import artefacts, searchlight


def walked(mask, radius=1, edge=2):
    """The rule written out as a walk over all corners."""
    found, outer = [], edge + 2 * radius
    for i in range(0, mask.shape[0], edge):
        for j in range(0, mask.shape[1], edge):
            for k in range(0, mask.shape[2], edge):
                block = mask[i : i + outer, j : j + outer, k : k + outer]
                inner = block[tuple(slice(radius, max(radius, n - radius)) for n in block.shape)]
                if inner.any():
                    found.append(((i, j, k), block.shape))
    return found


@pytest.mark.parametrize("shape", [(12, 12, 12), (7, 10, 9), (5, 4, 3), (2, 9, 9)])
@pytest.mark.parametrize(("radius", "edge"), [(1, 2), (2, 3), (0, 2)])
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_blocks_are_those_of_a_walk_over_corners(shape, radius, edge, share):
    mask = np.random.default_rng(0).random(shape) < share
    corners, sizes = searchlight.blocks(mask, radius=radius, edge=edge)
    found = list(zip(map(tuple, corners.tolist()), map(tuple, sizes.tolist()), strict=True))
    assert found == walked(mask, radius, edge)


def test_blocks_of_a_full_cube_and_of_its_middle():
    assert len(searchlight.blocks(np.ones((12, 12, 12)))[0]) == 125
    mask = np.zeros((12, 12, 12))
    mask[5:7, 5:7, 5:7] = 1
    corners, sizes = searchlight.blocks(mask)
    assert (corners.tolist(), sizes.tolist()) == ([[4, 4, 4]], [[4, 4, 4]])


def test_voxels_at_the_border_are_in_no_inner_part():
    mask = np.zeros((12, 12, 12))
    mask[0] = mask[:, 11] = 1
    assert len(searchlight.blocks(mask)[0]) == 0
    with pytest.raises(ValueError, match="three axes, not 2"):
        searchlight.blocks(mask[0])


def test_pairs_are_those_of_condensed_matrices():
    rows, columns = searchlight.pairs(50)
    places = {0: (0, 1), 48: (0, 49), 49: (1, 2), 1224: (48, 49)}
    assert {k: (int(rows[k]), int(columns[k])) for k in places} == places
    matrix = np.arange(2500.0).reshape(50, 50)
    matrix = matrix + matrix.T - np.diag(2 * matrix.diagonal())
    np.testing.assert_array_equal(matrix[rows, columns], squareform(matrix))


@pytest.fixture
def rdms():
    """Two subjects, five searchlights, six stimuli."""
    values = np.random.default_rng(1).random((2, 5, 6, 6))
    values = values + values.swapaxes(2, 3)
    values[:, :, range(6), range(6)] = 0
    return values


@pytest.fixture
def about():
    return xr.Dataset(
        {"lower_ceiling": ("searchlight", np.linspace(0, 1, 5))},
        coords={"subject": ["a", "b"], "stimulus": ("pair", list("x" * 15))},
    )


def npy(values):
    """A `.npy` file in memory."""
    stream = io.BytesIO()
    np.save(stream, values)
    return io.BytesIO(stream.getvalue())


class Trickle(io.RawIOBase):
    """A stream that gives less than asked for and cannot be rewound, as archives do."""

    def __init__(self, content):
        self.content = io.BytesIO(content)

    def readable(self):
        return True

    def read(self, size=-1):
        return self.content.read(min(size, 97) if size > 0 else 97)


@pytest.mark.parametrize("dtype", ["<f8", "<f4", ">f8"])
@pytest.mark.parametrize("piece", [1, 1 << 24])
def test_stored_rdms_are_the_upper_triangles(rdms, about, tmp_path, monkeypatch, dtype, piece):
    monkeypatch.setattr(searchlight, "PIECE_BYTES", piece)
    monkeypatch.setattr(searchlight, "CHUNK", 2)
    stream = Trickle(npy(rdms.astype(dtype)).getvalue())
    searchlight.store(stream, tmp_path / "s.nc", about)
    found = artefacts.load(tmp_path / "s.nc")
    assert found["rdm"].dtype == np.float32
    for subject in range(2):
        for s in range(5):
            expected = squareform(rdms[subject, s].astype("f4"))
            np.testing.assert_array_equal(found["rdm"][subject, s], expected)
    xr.testing.assert_identical(found.drop_vars("rdm"), about)


def test_average_is_that_over_subjects(rdms, about, tmp_path):
    searchlight.store(npy(rdms), tmp_path / "s.nc", about)
    found = searchlight.average(tmp_path / "s.nc", n_at_once=2)
    expected = [squareform(rdm) for rdm in rdms.mean(0)]
    np.testing.assert_allclose(found, expected, atol=1e-6)  # stored in single precision, up to 2


def test_what_is_undefined_stays_undefined(rdms, about, tmp_path):
    rdms[1, 3] = np.nan
    searchlight.store(npy(rdms), tmp_path / "s.nc", about)
    mean = searchlight.average(tmp_path / "s.nc", n_at_once=2)
    assert np.isnan(mean).any("pair").values.tolist() == [False, False, False, True, False]
    found = artefacts.load(tmp_path / "s.nc")["rdm"]
    assert found.isnull().all("pair").values.tolist() == [[False] * 5, [False] * 3 + [True, False]]


def lopsided(values):
    values[1, 2, 0, 3] += 1
    return values


def selfish(values):
    values[1, 2, 4, 4] = 1
    return values


def infinite(values):
    values[1, 2, 1, 0] = values[1, 2, 0, 1] = np.inf
    return values


BAD = {
    "another number of searchlights": (lambda v: npy(v[:, :4]), "shape .2, 4, 6, 6., but .* .2, 5, 15."),
    "another number of subjects": (lambda v: npy(v[:1]), "shape .1, 5, 6, 6., but"),
    "no RDMs": (lambda v: npy(v[:, :, :3]), "instead of floating-point RDMs"),
    "whole numbers": (lambda v: npy(v.astype(int)), "int64 array"),
    "the other order": (lambda v: npy(np.asfortranarray(v)), "in Fortran order"),
    "truncated": (lambda v: io.BytesIO(npy(v).getvalue()[:-300]), "truncated after 8 of 10 RDMs"),
    "too long": (lambda v: io.BytesIO(npy(v).getvalue() + b"x"), "bytes follow the 2 x 5 RDMs"),
    "not symmetric": (lambda v: npy(lopsided(v)), "1 RDMs .* searchlight 2 of subject 1"),
    "diagonal": (lambda v: npy(selfish(v)), "1 RDMs .* searchlight 2 of subject 1"),
    "infinite": (lambda v: npy(infinite(v)), "1 RDMs .* searchlight 2 of subject 1"),
    "no array": (lambda v: io.BytesIO(b"PK" + v.tobytes()), "magic string"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_and_leave_nothing(rdms, about, tmp_path, case):
    damage, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        searchlight.store(damage(rdms), tmp_path / "s.nc", about)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_before_it_is_full(rdms, about, tmp_path, monkeypatch):
    monkeypatch.setattr(searchlight.shutil, "disk_usage", lambda _: type("U", (), {"free": 100}))
    with pytest.raises(OSError, match=r"s.nc needs 0.0 GB; the disk has 0.0 GB left"):
        searchlight.store(npy(rdms), tmp_path / "s.nc", about)
    assert list(tmp_path.iterdir()) == []
