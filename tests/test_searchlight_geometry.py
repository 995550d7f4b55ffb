"""Neighbourhoods of searchlights in volumes and on surfaces."""

import tracemalloc

import numpy as np
import oracle_maps
import pytest
import xarray as xr
from nilearn import datasets as bundled

from lib import searchlight, searchlight_rdms, surfaces
from lib import searchlight_geometry as geometry


@pytest.fixture
def rng():
    return np.random.default_rng(9)


AFFINE = np.array([[0, -3, 0, 40], [2, 0, 0, -10], [0, 0.5, 4, 7], [0, 0, 0, 1.0]])


def test_spheres_hold_the_voxels_within_their_radius(rng):
    mask = rng.random((7, 6, 5)) < 0.6
    places = geometry.coordinates(mask, AFFINE)
    np.testing.assert_allclose(places[3], (AFFINE @ [*np.argwhere(mask)[3], 1])[:3])
    distances = np.linalg.norm(places[:, None] - places, axis=-1)
    np.testing.assert_array_equal(geometry.spheres(places, 6.1).toarray(), distances <= 6.1)
    centres = rng.random((4, 3)) * 10
    found = geometry.spheres(places, 5, centres)
    expected = np.linalg.norm(centres[:, None] - places, axis=-1) <= 5
    np.testing.assert_array_equal(found.toarray(), expected)


def test_many_spheres_take_little_more_than_they_are():
    places = geometry.coordinates(np.ones((16, 16, 16)), np.diag([2, 2, 2, 1]))
    tracemalloc.start()
    found = geometry.spheres(places, 8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Rows, all of them joined, and True for each voxel: 9 bytes a voxel, and 10 kB a sphere that is looked up.
    assert peak < 9 * found.nnz + 200 * len(places) + 10240 * geometry.CENTRES_AT_ONCE
    some = [0, 700, 2222, 4095]
    distances = np.linalg.norm(places[some][:, None] - places, axis=-1)
    np.testing.assert_array_equal(found[some].toarray(), distances <= 8)


def test_voxels_at_the_radius_are_in():
    places = geometry.coordinates(np.ones((5, 5, 5)), np.diag([0.1, 0.1, 0.1, 1]))
    assert geometry.spheres(places, 0.2)[[62]].sum() == 33


def test_cubes_are_the_blocks_voxels(rng):
    mask = rng.random((9, 8, 7)) < 0.5
    corners, sizes = searchlight.blocks(mask)
    number = np.arange(mask.size).reshape(mask.shape)
    for whole, inside in ((np.ones(mask.shape), False), (mask, True)):
        found = geometry.cubes(whole, corners, sizes)
        columns = number[whole != 0]
        for row, (i, j, k), (a, b, c) in zip(range(len(corners)), corners, sizes, strict=True):
            box = np.s_[i : i + a, j : j + b, k : k + c]
            expected = number[box][mask[box]] if inside else number[box].ravel()
            np.testing.assert_array_equal(columns[found[[row]].indices], expected)


@pytest.mark.reference
def test_published_blocks_are_reproduced():
    oracle = oracle_maps.arrays()
    corners, sizes = searchlight.blocks(oracle["mask"])
    np.testing.assert_array_equal(corners, oracle["block_corner"])
    np.testing.assert_array_equal(sizes, oracle["block_size"])
    blocks = geometry.cubes(np.ones_like(oracle["mask"]), corners, sizes)
    ends = [(row.indices[0], row.indices[-1], row.nnz) for row in (blocks[[i]] for i in range(len(corners)))]
    np.testing.assert_array_equal(ends, oracle["block_first_last_voxel"])


def grid(n):
    """A flat square mesh of n x n vertices, 1 mm apart."""
    vertices = np.array([(x, y, 0.0) for x in range(n) for y in range(n)])
    number = np.arange(n * n).reshape(n, n)
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[:-1, 1:], number[1:, 1:]
    return vertices, np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, d), (a, d, c))])


def test_discs_follow_the_edges():
    vertices, faces = grid(9)
    (found,) = geometry.discs(vertices, faces, 2.0, [40]).toarray()
    # Steps along the axes cost 1; of the diagonals, one direction has edges, of √2.
    x, y = (vertices - vertices[40])[:, :2].T
    same = np.sign(x) == np.sign(y)
    cost = np.where(
        same, np.abs(np.abs(x) - np.abs(y)) + np.sqrt(2) * np.minimum(abs(x), abs(y)), abs(x) + abs(y)
    )
    np.testing.assert_array_equal(found, cost <= 2.0)
    assert found.sum() == 13
    faces[::2] = faces[::2, ::-1]  # some triangles seen from behind: their edges run in one direction twice
    np.testing.assert_array_equal(geometry.discs(vertices, faces, 2.0, [40]).toarray()[0], found)


def test_discs_on_the_bundled_surface_are_nearly_geodesic(monkeypatch):
    mesh = bundled.load_fsaverage("fsaverage5")["sphere"].parts["left"]
    vertices, faces = np.asarray(mesh.coordinates, float), np.asarray(mesh.faces)
    monkeypatch.setattr(geometry, "CENTRES_AT_ONCE", 3)
    centres = np.arange(0, len(vertices), 1500)
    found = geometry.discs(vertices, faces, 12.0, centres).toarray()
    unit = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    arcs = 100 * np.arccos(np.clip(unit[centres] @ unit.T, -1, 1))
    # Paths along edges are no shorter than arcs (chords are, by 1e-4 of these lengths) and up to 16 % longer.
    assert not found[arcs > 12.0 * 1.001].any()
    assert found[arcs < 12.0 / 1.16].all()


@pytest.fixture
def responses(rng):
    subjects = np.repeat(["a", "b"], [27, 20])
    places = geometry.coordinates(np.ones((3, 3, 3)), np.diag([2, 2, 2, 1]))
    places = np.concatenate([places, places[:20]])
    about = {"units": "mm", "space": "native"}
    axes = {axis: ("voxel", places[:, k], about) for k, axis in enumerate("xyz")}
    values = rng.normal(size=(2, 5, 47))
    values[0, 1, 3] = np.nan
    return xr.Dataset(
        {"response": (("repeat", "stimulus", "voxel"), values)},
        coords={"subject": ("voxel", subjects), **axes},
    )


def test_subjects_are_searched_around_the_same_centres(responses):
    patterns, neighbourhoods, centres = geometry.of_target(responses, 2.0)
    assert centres.shape == (27, 3)
    assert {name: values.shape for name, values in patterns.items()} == {"a": (5, 27), "b": (5, 20)}
    assert patterns["a"][1, 3] == responses["response"].values[1, 1, 3]
    middle = np.flatnonzero((centres == 2).all(axis=1))
    assert [neighbourhoods[name][middle].sum() for name in "ab"] == [7, 6]


def test_repeats_are_kept_if_wanted(responses):
    patterns, _, _ = geometry.of_target(responses, 2.0, keep_repeats=True)
    np.testing.assert_array_equal(patterns["b"], responses["response"].values[:, :, 27:])


def test_targets_without_places_cannot_be_searched(responses):
    with pytest.raises(ValueError, match=r"no coordinates .'z'."):
        geometry.of_target(responses.drop_vars("z"), 2.0)
    responses["x"].attrs["space"] = "MNI"
    with pytest.raises(ValueError, match="different spaces"):
        geometry.of_target(responses, 2.0)


def test_subjects_in_spaces_of_their_own_are_searched_apart(responses):
    together, shared, _ = geometry.of_target(responses, 2.0)
    for axis in "xyz":
        responses[axis].attrs["shared"] = 0
    patterns, neighbourhoods, centres = geometry.of_target(responses, 2.0)
    assert centres.shape == (27 + 20, 3)
    np.testing.assert_array_equal(patterns["b"], together["b"])
    np.testing.assert_array_equal(neighbourhoods["a"][:27].toarray(), shared["a"].toarray())
    np.testing.assert_array_equal(neighbourhoods["b"][27:].toarray(), shared["b"].toarray()[:20])
    assert neighbourhoods["a"][27:].nnz == neighbourhoods["b"][:27].nnz == 0
    found = next(iter(searchlight_rdms.of_patterns(patterns, neighbourhoods))).rdm
    assert (np.isfinite(found).any(axis=2).sum(axis=0) <= 1).all()
    with pytest.raises(ValueError, match="spaces of their own"):
        geometry.of_target(responses, 2.0, centres)
    with pytest.raises(ValueError, match="own spaces"):
        geometry.on_surface(responses, None, 2.0)


def test_voxels_are_searched_along_the_surface(rng):
    mesh = surfaces.fsaverage5()
    at = {side: np.sort(rng.choice(200, 30, replace=False)) for side in ("left", "right")}
    places = np.concatenate([mesh["middle"].sel(hemisphere=side).values[at[side]] for side in at])
    sides, subjects = np.repeat(list(at), 30), np.tile(["a", "b"], 30)
    mm = {"units": "mm", "space": "fsaverage"}
    coords = {axis: ("voxel", places[:, k] + 0.1, mm) for k, axis in enumerate("xyz")}
    coords |= {"subject": ("voxel", subjects), "hemisphere": ("voxel", sides)}
    responses = xr.Dataset(
        {"response": (("repeat", "stimulus", "voxel"), rng.normal(size=(1, 4, 60)))}, coords
    )
    patterns, neighbourhoods, centres = geometry.on_surface(responses, mesh, 25.0)
    np.testing.assert_allclose(centres, places)
    np.testing.assert_array_equal(patterns["b"], responses["response"].values[0, :, 1::2])
    expected = np.zeros((60, 60), bool)
    for k, side in enumerate(at):
        part = mesh.sel(hemisphere=side)
        found = geometry.discs(part["middle"].values, part["faces"].values, 25.0, at[side]).toarray()
        expected[30 * k : 30 * k + 30, 30 * k : 30 * k + 30] = found[:, at[side]]
    assert 60 < expected.sum() < 1800
    for start, name in enumerate("ab"):
        np.testing.assert_array_equal(neighbourhoods[name].toarray(), expected[:, start::2])
