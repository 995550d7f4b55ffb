"""The surface shows what is nearest, and invents no category."""

import warnings

import nibabel as nib
import numpy as np
import pytest
import scipy.io
import xarray as xr
from nilearn import surface

from lib import maps, surfaces


@pytest.fixture(scope="module")
def mesh():
    return surfaces.fsaverage5()


def at_vertices(mesh, vertices, values, *, roi=None):
    """Places at vertices of the left hemisphere."""
    points = mesh["middle"].sel(hemisphere="left").values[vertices]
    coords = {axis: ("place", points[:, i]) for i, axis in enumerate("xyz")}
    coords |= {"hemisphere": ("place", ["left"] * len(vertices))}
    coords |= {"roi": ("place", roi)} if roi else {}
    return xr.DataArray(np.asarray(values, float), dims="place", coords=coords)


def test_the_mesh_is_a_brain(mesh):
    assert mesh.sizes["vertex"] == surfaces.N_VERTICES
    left, right = mesh["middle"].sel(axis="x")
    assert left.mean() < -20 < 20 < right.mean()
    np.testing.assert_allclose(np.linalg.norm(mesh["sphere"], axis=-1), 100, rtol=1e-4)
    thickness = np.linalg.norm(mesh["pial"] - mesh["white"], axis=-1)
    assert 1 < thickness.mean() < 4
    assert mesh["faces"].values.max() == surfaces.N_VERTICES - 1


def test_a_patch_grows_from_its_centre_and_spares_what_is_taken(mesh):
    centre = (-43, -23, 8)
    patch = surfaces.patch(mesh, "left", centre, 20)
    points = mesh["middle"].sel(hemisphere="left").values
    assert patch[0] == np.linalg.norm(points - centre, axis=1).argmin()
    assert len(set(patch)) == 20
    # On the sphere nothing outside is nearer than what is inside.
    sphere = mesh["sphere"].sel(hemisphere="left").values
    away = np.linalg.norm(sphere - sphere[patch[0]], axis=1)
    assert away[patch].max() <= np.delete(away, patch).min()
    next_one = surfaces.patch(mesh, "left", centre, 20, taken=patch)
    assert not set(patch) & set(next_one)


def test_places_colour_the_vertices_around_them(mesh):
    patch = surfaces.patch(mesh, "left", (-43, -23, 8), 30)
    found = surfaces.from_places(at_vertices(mesh, patch, np.arange(30), roi=["A"] * 30), mesh)
    left = found.sel(hemisphere="left")
    np.testing.assert_array_equal(left.values[patch], np.arange(30))
    assert (left["roi"].values[patch] == "A").all()
    assert found.sel(hemisphere="right").isnull().all()
    # No value comes from farther away than the usual distance of places.
    points = mesh["middle"].sel(hemisphere="left").values
    away = np.linalg.norm(points[:, None] - points[patch], axis=2).min(axis=1)
    known = np.isfinite(left.values)
    assert away[known].max() < 5 < away[~known].max()
    assert ((left["roi"] != "") == known).all()
    only = surfaces.from_places(at_vertices(mesh, patch, np.arange(30)), mesh, radius_mm=1e-6)
    assert int(only.notnull().sum()) == 30


def test_flat_places_are_refused(mesh):
    with pytest.raises(ValueError, match="flattened surface"):
        surfaces.from_places(at_vertices(mesh, [0], [1]).drop_vars("z"), mesh)


def volume(value, *, spacing=2.0, dtype=np.float32):
    """Image of a function of x, y, z in mm."""
    affine = nib.affines.from_matvec(np.eye(3) * spacing, (-80, -115, -60))
    shape = np.rint(np.array([160, 200, 150]) / spacing).astype(int)
    points = nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
    return nib.Nifti1Image(np.asarray(value(points), dtype), affine)


def test_the_mean_over_depths_follows_a_slope(mesh):
    found = surfaces.from_volume(volume(lambda p: p[..., 1]), mesh)
    # The nearest voxel is at most half a voxel away, and the mean of seven is at most as far.
    np.testing.assert_allclose(found, mesh["middle"].sel(axis="y"), atol=1)


def test_categories_never_become_other_categories(mesh):
    """Two of nine codes touch: a linear projection shows codes in between, the nearest voxel does not."""
    codes = volume(lambda p: np.where(p[..., 1] > -20, -9, 9))
    assert set(np.unique(surfaces.from_volume(codes, mesh, categories=True))) == {-9, 9}
    linear = surfaces.from_volume(codes, mesh, published="dwivedi2021")
    assert ((linear > -8) & (linear < 8)).mean() > 0.01


def test_the_most_frequent_code_wins_and_what_is_empty_stays_empty(mesh):
    def left_only(points):
        return np.where(points[..., 0] < 0, np.where(points[..., 2] > 0, 4, 2), np.nan)

    found = surfaces.from_volume(volume(left_only), mesh, categories=True)
    far = np.abs(mesh["middle"].sel(axis="z")) > 8
    left = found.sel(hemisphere="left").values
    z = mesh["middle"].sel(hemisphere="left", axis="z").values
    sure = far.sel(hemisphere="left").values & np.isfinite(left)
    np.testing.assert_array_equal(left[sure], np.where(z[sure] > 0, 4, 2))
    beyond = mesh["pial"].sel(hemisphere="right", axis="x").values > 2
    assert np.isnan(found.sel(hemisphere="right").values[beyond & (mesh["white"].values[1, :, 0] > 2)]).all()
    empty = surfaces.from_volume(volume(lambda p: p[..., 0] * np.nan), mesh, categories=True)
    assert empty.isnull().all()


def test_an_image_may_end_inside_the_brain(mesh):
    image = nib.Nifti1Image(
        np.ones((5, 5, 5), np.float32), nib.affines.from_matvec(np.eye(3) * 4, (-50, -30, 0))
    )
    found = surfaces.from_volume(image, mesh)
    middle = mesh["middle"].values
    assert set(np.unique(found.values[np.isfinite(found)])) == {1}
    known = middle[np.isfinite(found.values)]
    assert (known.min(axis=0) > [-55, -35, -5]).all()
    assert (known.max(axis=0) < [-29, -9, 21]).all()


def test_published_projection_is_that_of_nilearn(mesh):
    image = volume(lambda p: np.where(p[..., 1] > -30, p[..., 0] + 2 * p[..., 2], np.nan), spacing=4)
    found = surfaces.from_volume(image, mesh, published="dwivedi2021")
    for number, side in enumerate(surfaces.HEMISPHERES):
        pial, white = (
            surface.InMemoryMesh(mesh[n].values[number], mesh["faces"].values[number])
            for n in ("pial", "white")
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of vertices without a value
            expected = surface.vol_to_surf(image, pial, inner_mesh=white)
        assert 0.2 < np.isnan(expected).mean() < 0.8
        np.testing.assert_allclose(found.sel(hemisphere=side), expected)
    with pytest.raises(ValueError, match="published rule"):
        surfaces.from_volume(image, mesh, published="nobody")


def matrix_file(folder, points, vertices):
    """`voxel_matrix_for_alex.mat` in miniature: cells, the right hemisphere first, vertices from 0."""
    cells = {"ras_coords_fsaverage": points, "voxel_indices_fsaverage": vertices}
    content = {}
    for name, parts in cells.items():
        content[name] = np.empty((1, 2), object)
        content[name][0] = parts
    path = folder / "voxel_matrix_for_alex.mat"
    scipy.io.savemat(path, content)
    return path


def flat_map():
    """Left: 3 × 2 points of 2 mm, one of them empty; right: a single row."""
    rows = [("left", x, y, 10 * x + y) for x, y in ((1, 0), (3, 0), (5, 0), (1, 2), (5, 2))]
    rows += [("right", 0, 7, 0.0), ("right", 2, 7, 3.5)]
    side, x, y, value = zip(*rows, strict=True)
    places = {"hemisphere": ("place", list(side)), "x": ("place", np.array(x, float))}
    return maps.flat(
        xr.DataArray(list(value), dims="place", coords=places | {"y": ("place", np.array(y, float))})
    )


def test_vertices_take_the_nearest_point_of_the_flat_map(tmp_path):
    points = [
        np.array([[0.4, 7], [1.0, 7], [2.0, 7], [2.1, 7], [-0.1, 7], [1.9, 7]]),
        np.array([[1.9, 0.9], [2.0, 1.0], [3.1, 1.4], [5.0, 2.0], [1.0, 0.0], [9.0, 0.0]]),
    ]
    vertices = [
        np.array([[0], [1], [2], [3], [4], [163841]]),
        np.array([[10], [11], [12], [13], [10241], [15]]),
    ]
    matrix = surfaces.voxel_matrix(matrix_file(tmp_path, points, vertices))
    found = surfaces.from_flat(flat_map(), matrix)
    assert found.shape == (2, surfaces.N_VERTICES)
    right = found.sel(hemisphere="right").values
    # half way belongs to the point above; beyond the picture there is nothing
    np.testing.assert_array_equal(right[:5], [0, 3.5, 3.5, np.nan, np.nan])
    left = found.sel(hemisphere="left").values
    # (2, 1) is half way along both axes: it belongs to (3, 2), which is empty
    np.testing.assert_array_equal(left[[10, 11, 12, 13, 10241, 15]], [10, np.nan, np.nan, 52, 10, np.nan])
    assert int(found.notnull().sum()) == 3 + 3
    full = surfaces.from_flat(flat_map(), matrix, n_vertices=surfaces.N_FSAVERAGE)
    assert full.sel(hemisphere="right").values[163841] == 3.5


def test_published_maps_take_zero_for_nothing(tmp_path):
    points, vertices = [np.array([[0.0, 7]])] * 2, [np.array([[3]])] * 2
    matrix = surfaces.voxel_matrix(matrix_file(tmp_path, points, vertices))
    right = {"right": flat_map()["right"]}
    assert surfaces.from_flat(right, matrix).sel(hemisphere="right").values[3] == 0
    assert surfaces.from_flat(right, matrix, published="tuckute2023").isnull().all()


def test_regions_of_a_flat_map_come_along(tmp_path):
    points, vertices = [np.array([[0.0, 7]])] * 2, [np.array([[3]])] * 2
    matrix = surfaces.voxel_matrix(matrix_file(tmp_path, points, vertices))
    image = flat_map()["right"]
    image = image.assign_coords(roi=(("y", "x"), np.full(image.shape, "A1")))
    found = surfaces.from_flat({"right": image}, matrix).sel(hemisphere="right")
    assert found["roi"].values[3] == "A1"
    assert (found["roi"].values != "").sum() == 1


def test_a_matrix_is_used_where_somebody_has_put_it(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    assert surfaces.given_matrix() is None
    folder = tmp_path / "data" / "raw" / "fsavg_surf"
    folder.mkdir(parents=True)
    matrix_file(folder, [np.array([[0.0, 7]])] * 2, [np.array([[3]])] * 2)
    found = surfaces.given_matrix()
    assert found["left"].to_numpy().tolist() == [[3, 0, 7]]


def test_a_matrix_that_cannot_be_is_refused(tmp_path):
    points, vertices = [np.zeros((2, 2))] * 2, [np.array([[0], [163842]])] * 2
    with pytest.raises(ValueError, match=r"0 to 163842 instead .* \(right hemisphere\)"):
        surfaces.voxel_matrix(matrix_file(tmp_path, points, vertices))


def test_edges_are_inside_regions_and_enclose_them(mesh):
    labels = np.full((2, surfaces.N_VERTICES), "", dtype="<U1")
    patch = surfaces.patch(mesh, "left", (-43, -23, 8), 40)
    labels[0, patch] = "A"
    edge = surfaces.edges(labels, mesh)
    assert not edge[1].any()
    assert set(np.flatnonzero(edge[0])) < set(patch)
    inside = labels[0] == "A"
    for face in mesh["faces"].sel(hemisphere="left").values:  # whoever touches the outside is at the edge
        if not inside[face].all():
            assert edge[0, face[inside[face]]].all()
    assert (inside & ~edge[0]).sum() > 5


def test_where_regions_touch_the_edge_is_in_one_of_them(mesh):
    labels = np.full((2, surfaces.N_VERTICES), "", dtype="<U1")
    patch = surfaces.patch(mesh, "left", (-43, -23, 8), 80)
    y = mesh["sphere"].values[0, patch, 1]
    labels[0, patch] = np.where(y > np.median(y), "A", "B")
    edge = surfaces.edges(labels, mesh)[0]
    faces = mesh["faces"].sel(hemisphere="left").values
    between = [f for f in faces if set(labels[0, f]) == {"A", "B"}]
    assert between
    outer = surfaces.edges(np.where(labels == "", "", "C"), mesh)[0]
    for face in between:
        first, later = face[labels[0, face] == "A"], face[labels[0, face] == "B"]
        assert edge[later].all()
        np.testing.assert_array_equal(edge[first], outer[first])


@pytest.mark.parametrize(
    ("hemisphere", "centre", "side"),
    [
        ("left", (-62, -40, 10), "left"),
        ("right", (62, -40, 10), "right"),
        ("left", (-38, -52, -18), "bottom"),
        ("right", (15, -95, 0), "back"),
        ("left", (-25, 50, 15), "front"),
        ("left", (-20, -20, 75), "top"),
    ],
)
def test_a_brain_is_turned_to_where_its_values_are(mesh, hemisphere, centre, side):
    values = np.full((2, surfaces.N_VERTICES), np.nan)
    patch = surfaces.patch(mesh, hemisphere, centre, 60)
    values[surfaces.HEMISPHERES.index(hemisphere), patch] = 1
    assert surfaces.facing(xr.DataArray(values, dims=("hemisphere", "vertex")), mesh) == side


def test_triangles_that_turn_away_are_left_out(mesh):
    for side in surfaces.HEMISPHERES:
        points, faces = (
            mesh["inflated"].sel(hemisphere=side).values,
            mesh["faces"].sel(hemisphere=side).values,
        )
        for view, axis in (("lateral", 0), ("ventral", 2), ("posterior", 1)):
            kept = surfaces.faces_toward(mesh, side, view)
            assert 0.4 < len(kept) / len(faces) < 0.85
            sign = {"lateral": 1 if side == "right" else -1, "ventral": -1, "posterior": -1}[view]
            a, b, c = np.moveaxis(points[faces], 1, 0)
            normal = np.cross(b - a, c - a)
            toward = faces[sign * normal[:, axis] > 0]
            assert {tuple(f) for f in toward.tolist()} <= {tuple(f) for f in kept.tolist()}
    assert len(surfaces.faces_toward(mesh, "left", "oblique")) == mesh.sizes["face"]
