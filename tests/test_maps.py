"""People, not voxels, are what a map's median is over; every place stays where it was."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from lib import maps, metamer_results

NAMES = [f"network{i}" for i in range(19)]  # display order: 7 of 2D, 8 of 3D, 3 semantic, random
REGRESSIONS = (
    "raw.githubusercontent.com/jenellefeather/model_metamers_pytorch/f89cdad5c355081f97886863ed901fc9b34bce21"
)


def voxels(rows, *, z=False):
    """Values (voxel) from rows of subject, hemisphere, x, y, roi, value."""
    table = pd.DataFrame(rows, columns=["subject", "hemisphere", "x", "y", "roi", "value"])
    coords = {n: ("voxel", table[n].to_numpy()) for n in ("subject", "hemisphere", "roi")}
    coords |= {a: ("voxel", table[a].to_numpy(float)) for a in ("x", "y")}
    coords |= {"z": ("voxel", np.zeros(len(table)))} if z else {}
    return xr.DataArray(table["value"].to_numpy(float), dims="voxel", coords=coords)


SHARED = voxels(
    [
        ("a", "left", 1, 2, "A1", 1),
        ("b", "left", 1, 2, "A1", 2),
        ("c", "left", 1, 2, "", 9),
        ("d", "left", 1, 2, "", 3),
        ("a", "right", 1, 2, "", 5),  # the other hemisphere's places have coordinates of their own
        ("b", "left", 3, 2, "B", np.nan),
        ("a", "left", 3, 2, "B", 7),
    ]
)


def at(values, hemisphere, x, y):
    here = (values["hemisphere"] == hemisphere) & (values["x"] == x) & (values["y"] == y)
    return values.isel(place=int(np.flatnonzero(here)[0]))


def test_a_place_has_the_median_of_its_people():
    found = maps.over_subjects(SHARED)
    assert found.sizes == {"place": 3}
    assert at(found, "left", 1, 2).item() == 2.5
    assert at(found, "left", 1, 2)["n_subjects"] == 4
    assert at(found, "right", 1, 2).item() == 5
    assert at(found, "left", 3, 2).item() == 7  # NaN drops out
    assert at(found, "left", 1, 2)["roi"].item() == ""  # of equally frequent names the first
    assert at(found, "left", 3, 2)["roi"].item() == "B"


def test_a_person_with_many_voxels_counts_once():
    many = voxels([("a", "left", 0, 0, "", v) for v in (1, 1, 1, 1)] + [("b", "left", 0, 0, "", 3)])
    assert maps.over_subjects(many).values == [2]
    assert maps.over_subjects(many)["n_subjects"].values == [2]


def test_order_of_voxels_does_not_matter_and_nothing_is_changed():
    before = SHARED.copy(deep=True)
    shuffled = SHARED.isel(voxel=np.random.default_rng(0).permutation(SHARED.size))
    xr.testing.assert_identical(maps.over_subjects(shuffled), maps.over_subjects(SHARED))
    xr.testing.assert_identical(SHARED, before)


def test_other_axes_stay():
    both = xr.concat([SHARED, SHARED + 1], "model").assign_coords(model=["m", "n"])
    found = maps.over_subjects(both)
    assert found.dims == ("model", "place")
    xr.testing.assert_equal(found.sel(model="n", drop=True), maps.over_subjects(SHARED) + 1)


def test_medians_are_those_of_an_explicit_loop():
    rng = np.random.default_rng(1)
    n = 300
    rows = zip(
        rng.choice(list("abcde"), n), rng.choice(["left", "right"], n), rng.integers(0, 4, n),
        rng.integers(0, 4, n), [""] * n, rng.standard_normal(n), strict=True,
    )  # fmt: skip
    values = voxels(list(rows))
    found = maps.over_subjects(values)
    for place in found.transpose("place"):
        here = np.all([values[c].values == place[c].item() for c in ("hemisphere", "x", "y")], axis=0)
        people = [
            np.median(values.values[here & (values["subject"].values == s)])
            for s in set(values["subject"].values[here])
        ]
        assert place.item() == pytest.approx(np.median(people), rel=1e-12)
        assert place["n_subjects"] == len(people)


def test_published_maps_truncate_halves():
    assert at(maps.over_subjects(SHARED, published="tuckute2023"), "left", 1, 2).item() == 2
    with pytest.raises(ValueError, match="did you mean tuckute2023"):
        maps.over_subjects(SHARED, published="tuckute")


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match=r"coordinates \['hemisphere', 'y'\]"):
        maps.over_subjects(SHARED.drop_vars(["hemisphere", "y"]))


def encoding():
    """Three layers, four splits, three voxels of two people at two places; the best layers are 3, 1 and 2."""
    best = np.array([[0.1, 0.9, 0.2], [0.2, 0.1, 0.6], [0.8, 0.3, 0.1]])
    noise = 0.01 * np.random.default_rng(0).standard_normal((3, 4, 3))
    scores = xr.DataArray(best[:, None] + noise, dims=("layer", "split", "voxel"))
    scores = scores.assign_coords(layer=["l1", "l2", "l3"], voxel=["v1", "v2", "v3"])
    responses = voxels(
        [("b", "right", 5, 0, "", 0), ("a", "left", 1, 2, "A1", 0), ("b", "left", 1, 2, "A1", 0)]
    )
    responses = responses.assign_coords(voxel=["v3", "v1", "v2"])  # in another order
    return scores, responses.to_dataset(name="response")


def test_voxels_are_located_by_identifier():
    scores, responses = encoding()
    found = maps.located(scores, responses)
    assert found["x"].values.tolist() == [1, 1, 5]
    assert found["roi"].values.tolist() == ["A1", "A1", ""]
    with pytest.raises(ValueError, match="differ: v3"):
        maps.located(scores, responses.isel(voxel=[1, 2]))


def test_maps_of_an_encoding_show_the_best_layer_and_its_score():
    scores, responses = encoding()
    found = maps.of_encoding(maps.located(scores, responses), published="tuckute2023")
    shared, alone = (("left", 1, 2), ("right", 5, 0))
    assert at(found["position"], *shared).item() == 2  # between layers 3 and 1
    assert at(found["position"], *alone).item() == 2
    assert at(found["relative_position"], *shared).item() == 0.5
    # medians of two or four values whose noise has a standard deviation of 0.01
    assert at(found["score"], *shared).item() == pytest.approx(0.85, abs=0.03)
    assert at(found["score"], *alone).item() == pytest.approx(0.6, abs=0.03)
    clipped = maps.of_encoding(maps.located(scores, responses), clip=0.5)
    assert clipped["score"].max() <= 0.5
    halves = maps.over_subjects(maps.located(scores, responses).median("split").argmax("layer") + 0.5)
    assert at(halves, *alone).item() == 1.5


def test_median_over_models_and_its_published_whole_numbers():
    values = xr.DataArray(
        [[0.0, 0.25, np.nan, np.nan], [0.1, 0.75, 1.0, np.nan], [0.26, 1.0, 1.0, np.nan]],
        dims=("model", "place"),
    )
    np.testing.assert_array_equal(maps.over_models(values), [0.1, 0.75, 1, np.nan])
    # 0.75 becomes 8.5, which is truncated to 8
    np.testing.assert_array_equal(maps.over_models(values, published="tuckute2023"), [2, 8, 11, np.nan])
    other = xr.DataArray([[0.07, 0.66]], dims=("model", "place"))
    np.testing.assert_array_equal(maps.over_models(other, published="tuckute2023"), [1, 7])
    np.testing.assert_array_equal(maps.over_models(other, published="tuckute2023-rounded"), [2, 8])


def test_the_scale_ends_after_the_layer_that_most_voxels_prefer():
    assert maps.top_of_scale([1, 2, 2, 2, 5, np.nan], 7) == 3
    assert maps.top_of_scale([7, 7, 1], 7) == 7
    assert maps.top_of_scale([3, 1, 1, 3], 7) == 2


def test_flat_pictures_hold_every_place_and_nothing_else():
    places = maps.over_subjects(SHARED)
    images = maps.flat(places)
    assert set(images) == {"left", "right"}
    left = images["left"]
    assert left.attrs["spacing_mm"] == 2
    assert left.sel(x=1, y=2).item() == 2.5
    assert left.sel(x=3, y=2)["roi"].item() == "B"
    assert images["right"].shape == (1, 1)


def test_grid_points_without_a_place_are_empty():
    rows = [("a", "left", x, y, "", x + 10 * y) for x, y in ((-4, 1), (0, 1), (-4, 7), (2, 5))]
    image = maps.flat(maps.over_subjects(voxels(rows)))["left"]
    assert image.attrs["spacing_mm"] == 2
    np.testing.assert_array_equal(image["x"], [-4, -2, 0, 2])
    np.testing.assert_array_equal(image["y"], [1, 3, 5, 7])
    assert np.isfinite(image).sum() == 4
    assert all(image.sel(x=x, y=y).item() == value for _, _, x, y, _, value in rows)


def test_places_between_grid_points_go_to_the_nearest():
    rows = [("a", "left", x, 0, "", x) for x in (0, 2.9, 5.1, 8)]
    image = maps.flat(maps.over_subjects(voxels(rows)), spacing=2)["left"]
    np.testing.assert_array_equal(image.values, [[0, 2.9, np.nan, 5.1, 8]])
    np.testing.assert_array_equal(image["x"], [0, 2, 4, 6, 8])


def test_places_that_would_cover_one_another_are_refused():
    rows = [("a", "left", x, 0, "", x) for x in (0, 1, 4)]
    with pytest.raises(ValueError, match=r"share a point of a grid of 4 mm: \[0.0, 0.0\], \[1.0, 0.0\]"):
        maps.flat(maps.over_subjects(voxels(rows)), spacing=4)


def test_a_table_has_a_row_per_map_and_place():
    places = maps.over_subjects(SHARED)
    table = maps.table({"layer": places, "r2": places / 10})
    assert table.columns.tolist() == ["map", "hemisphere", "x", "y", "roi", "n_subjects", "value"]
    assert len(table) == 6
    row = table[(table["map"] == "r2") & (table["hemisphere"] == "left") & (table["x"] == 1)]
    assert row["value"].item() == 0.25
    xr.testing.assert_equal(maps.places(table[table["map"] == "layer"]), places)


def test_published_codes_of_networks_and_of_groups():
    start, step = maps.CODES["individual"]
    winner = ["network0", "network6", "network7", "network14", "network15", "network17", "network18", ""]
    found = maps.codes(winner, NAMES, start=start, step=step)
    np.testing.assert_array_equal(found, [-8, -2, -1, 6, 7, 9, 10, np.nan])
    assert maps.codes(["network3", ""], NAMES, grey=True, start=start, step=step)[0] == -9
    start, step = maps.CODES["grouped"]
    groups = ["2D", "3D", "semantic"]
    found = maps.codes([*groups, "2D"], groups, grey=[False, False, False, True], start=start, step=step)
    np.testing.assert_array_equal(found, [-0.25, 0.25, 0.75, -0.75])


def test_codes_keep_the_shape_and_nothing_known_stays_nothing():
    found = maps.codes([["b", ""], ["a", "b"]], ["a", "b"], grey=[[False, True], [True, False]])
    np.testing.assert_array_equal(found, [[1, np.nan], [-1, 1]])


def test_unknown_and_doubled_names_are_refused():
    with pytest.raises(ValueError, match="not in the order of the map: c, d"):
        maps.codes(["a", "d", "c"], ["a", "b"])
    with pytest.raises(ValueError, match="twice in the order of a map: a"):
        maps.codes(["a"], ["a", "b", "a"])


@pytest.mark.reference
def test_codes_are_those_of_the_published_program():
    """Scores, p and ceilings of 19 networks in the order of the arrays; codes count in display order."""
    if "COMPENDIUM_REFERENCE" not in os.environ:
        pytest.skip("COMPENDIUM_REFERENCE is not set")
    oracle = np.load(Path(os.environ["COMPENDIUM_REFERENCE"]) / "functional_maps_oracle.npz")
    tasks = [
        "autoencoder", "class_1000", "class_places", "colorization", "curvature", "denoise", "edge2d", "edge3d",
        "inpainting_whole", "keypoint2d", "keypoint3d", "reshade", "rgb2depth", "rgb2mist", "rgb2sfnorm",
        "segment25d", "segment2d", "segmentsemantic", "random",
    ]  # fmt: skip
    shown = [
        "autoencoder", "colorization", "denoise", "edge2d", "inpainting_whole", "keypoint2d", "segment2d", "edge3d",
        "keypoint3d", "segment25d", "reshade", "rgb2depth", "rgb2mist", "rgb2sfnorm", "curvature", "class_1000",
        "class_places", "segmentsemantic", "random",
    ]  # fmt: skip
    best = oracle["ind_s"].argmax(axis=0)
    grey = (oracle["ind_lnc"] < 0.033) | (oracle["ind_p"][best, np.arange(len(best))] > 0.05)
    start, step = maps.CODES["individual"]
    found = maps.codes(np.array(tasks)[best], shown, grey=grey, start=start, step=step)
    np.testing.assert_array_equal(found, oracle["ind_codes"])


@pytest.mark.mirror
def test_the_released_voxels_share_places_as_published():
    """1945 coordinates (a comment in the authors' code), shared by one to eight people."""
    folder = Path(os.environ.get("DATA_MIRROR", "")) / REGRESSIONS
    paths = sorted(folder.rglob("voxelwise_regression_*.pckl")) if "DATA_MIRROR" in os.environ else []
    if not paths:
        pytest.skip("DATA_MIRROR does not hold the regressions onto voxels")
    found = maps.over_subjects(metamer_results.voxel_regression(paths[0])["r2"].median("split"))
    counts = found["n_subjects"].to_series().value_counts().sort_index()
    assert counts.to_dict() == dict(zip(range(1, 9), (487, 286, 236, 155, 134, 169, 201, 277), strict=True))
    images = maps.flat(found)
    assert sum(int(np.isfinite(image).sum()) for image in images.values()) == 1945
    assert {image.attrs["spacing_mm"] for image in images.values()} == {2.0}
