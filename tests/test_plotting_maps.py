"""Maps show the values they are given, in the colours that were published, without anything from the web."""

import html.parser
import io
import json
import re
import shutil

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib import colors
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lib import maps, plotting, surfaces
from lib.plotting import maps as brain_maps

NETWORKS = [f"network{i}" for i in range(19)]
GROUPS = ["2D", "3D", "semantic"]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

SWITCHES = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip


def figure():
    """A figure without a window."""
    made = Figure(figsize=(6, 3), layout="constrained")
    FigureCanvasAgg(made)
    return made


@pytest.fixture(scope="module")
def mesh():
    return surfaces.fsaverage5()


@pytest.fixture(scope="module")
def patches(mesh):
    """Two regions in the left hemisphere, one in the right, values 0, 1 and 0.5."""
    values = np.full((2, surfaces.N_VERTICES), np.nan)
    roi = np.full(values.shape, "", dtype="<U2")
    for side, centre, name, value in (
        (0, (-60, -14, 2), "P1", 0), (0, (-62, -40, 10), "P2", 1), (1, (60, -14, 2), "P1", 0.5),
    ):  # fmt: skip
        patch = surfaces.patch(mesh, surfaces.HEMISPHERES[side], centre, 150)
        values[side, patch], roi[side, patch] = value, name
    coords = {"hemisphere": list(surfaces.HEMISPHERES), "roi": (("hemisphere", "vertex"), roi)}
    return xr.DataArray(values, dims=("hemisphere", "vertex"), coords=coords)


def shown(scale, code):
    """Colour of a value, RGB."""
    return scale.cmap(colors.Normalize(scale.low, scale.high)(code))[:3]


# Colours


def test_palette_of_single_networks_is_the_published_one():
    scale = brain_maps.published_palette("individual", NETWORKS)
    assert (scale.low, scale.high, scale.cmap.N) == (-9, 10, 20)
    expected = {
        -9: (0.8, 0.8, 0.8), -8: (0, 0, 0.3), -2: (0, 0, 1), -1: (0, 0.3, 0), 6: (0, 1, 0), 7: (0.5, 0, 0.5),
        9: (1, 0, 1), 10: (0.8, 0.8, 0),
    }  # fmt: skip
    for code, colour in expected.items():
        np.testing.assert_allclose(shown(scale, code), colour, atol=1e-12)
    assert len({shown(scale, code) for code in range(-9, 11)}) == 20  # each code in its own bin


def test_palette_of_groups_is_the_published_one():
    scale = brain_maps.published_palette("grouped", GROUPS)
    assert (scale.low, scale.high) == (-0.75, 0.75)
    expected = {-0.75: (0.8, 0.8, 0.8), -0.25: (0, 0, 1), 0.25: (0, 1, 0), 0.75: (1, 0, 1)}
    for code, colour in expected.items():
        np.testing.assert_allclose(shown(scale, code), colour, atol=1e-12)
    assert 0 < shown(scale, 0)[1] < 1  # continuous in between


def test_another_number_of_names_is_refused():
    with pytest.raises(ValueError, match="individual map has 19 categories, not 3"):
        brain_maps.published_palette("individual", GROUPS)


def test_each_code_has_the_colour_of_its_name():
    chosen = {"a": "#ff0000", "b": "#00ff00", "c": "#0000ff"}
    scale = brain_maps.palette("winner", chosen, grey="neither")
    assert scale.names == ("neither", "a", "b", "c")
    for code, name in zip(maps.codes(["a", "b", "c"], chosen), chosen, strict=True):
        assert colors.to_hex(shown(scale, code)) == chosen[name]
    assert shown(scale, maps.codes(["a"], chosen, grey=True)[0]) == brain_maps.GREY


@pytest.mark.parametrize(("kind", "names"), [("individual", NETWORKS), ("grouped", GROUPS)])
def test_codes_keep_their_colours_in_a_page(kind, names):
    scale = brain_maps.published_palette(kind, names)
    start, step = maps.CODES[kind]
    codes = maps.codes(names, names, start=start, step=step)
    cmap = brain_maps._page_colours(scale)["cmap"]
    found = cmap(brain_maps._shades(codes, scale).astype(int))[:, :3]
    # A page has 255 shades and Matplotlib's continuous map 256: off by half a step of each, of 3 colours in 255.
    np.testing.assert_allclose(found, scale.shades[1:], atol=3 / 255 + 1e-9)


# Print


def flat_places(shift=0):
    rows = [(x, y, x + 10 * y, "A" if x == 2 else "") for x in (0, 2, 4) for y in (0, 2) if (x, y) != (4, 2)]
    x, y, value, roi = zip(*rows, strict=True)
    coords = {"hemisphere": ("place", ["left"] * 5), "roi": ("place", list(roi))}
    coords |= {"x": ("place", np.array(x, float) + shift), "y": ("place", np.array(y, float))}
    return xr.DataArray(np.array(value, float), dims="place", coords=coords)


def flat_values():
    return maps.flat(flat_places())


def test_a_flat_map_shows_its_values_where_they_are():
    ax = figure().subplots()
    scale = brain_maps.Scale("value", "magma", 0, 24)
    brain_maps.flat_map(flat_values()["left"], ax, scale=scale)
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array().filled(np.nan), [[0, 2, 4], [20, 22, np.nan]])
    assert image.get_extent() == [-1, 5, -1, 3]
    assert image.get_clim() == (0, 24)
    assert image.origin == "lower"


def test_regions_of_a_flat_map_are_framed_and_named():
    ax = figure().subplots()
    brain_maps.flat_map(flat_values()["left"], ax, scale=brain_maps.Scale("value"))
    segments = {tuple(map(tuple, s)) for s in ax.collections[0].get_segments()}
    # around the two points at x = 2: four sides of each, without the one between them
    assert segments == {
        ((1, -1), (1, 1)), ((1, 1), (1, 3)), ((3, -1), (3, 1)), ((3, 1), (3, 3)), ((1, -1), (3, -1)), ((1, 3), (3, 3)),
    }  # fmt: skip
    assert [t.get_text() for t in ax.texts] == ["A"]


def test_flat_panels_have_one_scale_in_mm():
    made = figure()
    both = xr.concat(
        [flat_places(), flat_places(10).assign_coords(hemisphere=("place", ["right"] * 5))], "place"
    )
    table = maps.table({"one": both, "hidden": both, "two": both + 1}).assign(panel="p")
    brain_maps.flat_panels(table, made, scales=dict.fromkeys(["one", "two"], brain_maps.Scale("value")))
    pictures = [ax for ax in made.axes if ax.images]
    assert [ax.images[0].get_array().min() for ax in pictures] == [0, 0, 1, 1]
    assert [ax.get_title() for ax in pictures] == ["left hemisphere", "right hemisphere"] * 2
    assert {ax.get_xlim() for ax in pictures} == {(-5, 19)}
    assert {ax.get_ylim() for ax in pictures} == {
        (-5 - brain_maps.NAMES_MM, 7)
    }  # names stand below the voxels


def test_names_of_regions_stand_apart_and_near_their_regions():
    apart = brain_maps._apart(np.array([0.5, 0.51, 0.9]), gap=0.25)
    np.testing.assert_allclose(apart, [0.375, 0.625, 0.875])
    np.testing.assert_allclose(brain_maps._apart(np.array([0.5]), gap=0.25), [0.5])
    np.testing.assert_allclose(
        brain_maps._apart(np.array([0.0, 0.0, 0.0, 1.0]), gap=0.25), [0.125, 0.375, 0.625, 0.875]
    )


def drawn(patches, mesh):
    made = figure()
    scale = brain_maps.Scale("value", colors.ListedColormap(["red", "lime", "blue"]))
    brain_maps.brains(patches, made, scale=scale, mesh=mesh, views=("lateral",))
    return made


def test_brains_show_their_patches_outlined(patches, mesh):
    made = drawn(patches, mesh)
    left, right = (ax for ax in made.axes if ax.name == "3d")
    assert [left.get_title(), right.get_title()] == ["left, lateral", "right, lateral"]
    for ax, expected in ((left, {"red", "blue"}), (right, {"lime"})):
        faces = {tuple(f) for f in np.round(ax.collections[0].get_facecolor()[:, :3], 3)}
        bright = {f for f in faces if max(f) - min(f) > 0.5}
        assert bright == {colors.to_rgb(c) for c in expected}
        assert (0, 0, 0) in {tuple(e[:3]) for e in ax.collections[0].get_edgecolor()}


def test_the_same_brains_give_the_same_small_files(patches, mesh, tmp_path):
    table = maps.table({"map": xr.DataArray([1.0], dims="place")})
    for name in ("one", "two"):
        plotting.save_figure(drawn(patches, mesh), table, tmp_path / name)
    for ending in ("png", "pdf"):
        one, two = ((tmp_path / f"{name}.{ending}").read_bytes() for name in ("one", "two"))
        assert one == two
        assert len(one) < 300_000


def test_a_hemisphere_without_values_is_drawn_bare(patches, mesh):
    made = drawn(patches.where(patches["hemisphere"] == "left"), mesh)
    assert len([ax for ax in made.axes if ax.name == "3d"]) == 2


def test_regions_that_cannot_be_outlined_are_left_alone(mesh):
    """One is a single vertex, one lies on the side that is not shown, one is all there is in its hemisphere."""
    roi = np.full((2, surfaces.N_VERTICES), "", dtype="<U4")
    roi[0, 100], roi[1] = "lone", "all"
    roi[0, surfaces.patch(mesh, "left", (-8, -92, 0), 60)] = "back"
    coords = {"hemisphere": list(surfaces.HEMISPHERES), "roi": (("hemisphere", "vertex"), roi)}
    values = xr.DataArray(np.ones(roi.shape), dims=("hemisphere", "vertex"), coords=coords)
    made = figure()
    brain_maps.brains(values, made, scale=brain_maps.Scale("value"), mesh=mesh, views=("anterior",))
    assert len([ax for ax in made.axes if ax.name == "3d"]) == 2


def test_a_page_opens_where_something_is_decided(mesh):
    pytest.importorskip("plotly", reason="nilearn draws its surfaces with plotly, which is not installed")
    scale = brain_maps.palette("winner", {"a": "red", "b": "blue"})
    values = np.full((2, surfaces.N_VERTICES), -1.0)
    values[1, surfaces.patch(mesh, "right", (62, -40, 10), 100)] = 0
    coords = {"hemisphere": list(surfaces.HEMISPHERES)}
    values = xr.DataArray(values, dims=("hemisphere", "vertex"), coords=coords)
    assert '"view": "right"' in brain_maps.surface_page(values, scale=scale, mesh=mesh, title="t")


def test_categories_have_a_legend(patches, mesh):
    made = figure()
    scale = brain_maps.palette("winner", {"a": "red", "b": "blue"})
    brain_maps.brains(patches, made, scale=scale, mesh=mesh, views=("lateral",))
    (legend,) = made.legends
    assert [t.get_text() for t in legend.get_texts()] == ["not decided", "a", "b"]


@pytest.fixture
def places(mesh):
    """A table of two maps of places at vertices of the left hemisphere."""
    patch = surfaces.patch(mesh, "left", (-60, -14, 2), 40)
    points = mesh["middle"].sel(hemisphere="left").values[patch]
    coords = {a: ("place", points[:, i]) for i, a in enumerate("xyz")} | {
        "hemisphere": ("place", ["left"] * 40)
    }
    values = xr.DataArray(np.repeat([0.0, 1.0], 20), dims="place", coords=coords)
    return maps.table({"one": values, "two": 1 - values}).assign(panel="whose", target="t", model="m")


def test_brain_panels_draw_the_places_of_their_table(places):
    made = figure()
    scales = {"one": brain_maps.Scale("value", colors.ListedColormap(["red", "blue"]))}
    brain_maps.brain_panels(places, made, scales=scales, views=("lateral",))
    (row,) = made.subfigs  # the other map has no scale
    assert row.get_suptitle() == "whose"
    left, right = (ax for ax in made.axes if ax.name == "3d")
    for ax, expected in ((left, {"red", "blue"}), (right, set())):
        faces = {tuple(f) for f in np.round(ax.collections[0].get_facecolor()[:, :3], 3)}
        assert {f for f in faces if max(f) - min(f) > 0.5} == {colors.to_rgb(c) for c in expected}


def test_pages_and_volumes_have_one_name(places, tmp_path, monkeypatch):
    monkeypatch.setattr(
        brain_maps, "surface_page", lambda _values, *, scale, title, **_rest: f"{title} {scale.label}"
    )
    scales = {kind: brain_maps.Scale(kind) for kind in ("one", "two")}
    brain_maps.pages(places, tmp_path, scales=scales, spacing=4)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "t_m_one.html", "t_m_one.nii.gz", "t_m_two.html", "t_m_two.nii.gz",
    ]  # fmt: skip
    assert (tmp_path / "t_m_two.html").read_text() == "whose two"
    image = nib.load(tmp_path / "t_m_one.nii.gz")
    assert image.header.get_zooms() == (4, 4, 4)
    assert set(np.unique(image.get_fdata()[np.isfinite(image.get_fdata())])) >= {0, 1}


def test_flat_places_are_drawn_where_a_matrix_says(mesh, tmp_path, monkeypatch):
    patch = surfaces.patch(mesh, "left", (-60, -14, 2), 300)
    rows = pd.DataFrame({"vertex": patch, "x": np.linspace(0, 4, 300), "y": 0.0})
    table = maps.table({"one": flat_places()}).assign(panel="p", target="t", model="m")
    scales = {"one": brain_maps.Scale("value", colors.ListedColormap(["red", "lime", "blue"]), 0, 4)}
    made = figure()
    brain_maps.brain_panels(table, made, scales=scales, views=("lateral",), matrix={"left": rows})
    faces = np.round(next(ax for ax in made.axes if ax.name == "3d").collections[0].get_facecolor()[:, :3], 3)
    bright = {tuple(f) for f in faces if max(f) - min(f) > 0.5}
    assert bright == {colors.to_rgb(c) for c in ("red", "lime", "blue")}
    monkeypatch.setattr(brain_maps, "surface_page", lambda *_values, **_rest: "page")
    brain_maps.pages(table, tmp_path, scales=scales, matrix={"left": rows})
    assert [p.name for p in tmp_path.iterdir()] == ["t_m_one.html"]  # no z, no volume
    with pytest.raises(ValueError, match="flattened surface"):
        brain_maps.pages(table, tmp_path, scales=scales)


# Pages


class Loads(html.parser.HTMLParser):
    """Addresses that a page would fetch."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        wanted = {"href"} if tag == "link" else {"src", "data", "poster", "srcset", "action"}
        self.found += [value for name, value in attrs if name in wanted and value]


def loads(page):
    parser = Loads()
    parser.feed(page)
    return [address for address in parser.found if not address.startswith("data:")]


def test_a_parser_sees_what_a_page_would_fetch():
    assert loads('<link rel="icon" href="https://x/y"><script src="a.js"></script><a href="b">') == [
        "https://x/y",
        "a.js",
    ]


@pytest.fixture(scope="module")
def surface_page(patches, mesh):
    pytest.importorskip("plotly", reason="nilearn draws its surfaces with plotly, which is not installed")
    scale = brain_maps.Scale("position", colors.ListedColormap(["red", "lime", "blue"]))
    return brain_maps.surface_page(patches, scale=scale, mesh=mesh, title="planted <audio>")


@pytest.fixture(scope="module")
def volume_page():
    affine = nib.affines.from_matvec(np.eye(3) * 4, (-90, -126, -72))
    data = np.full((46, 55, 46), np.nan, np.float32)
    data[12:20, 20:30, 15:25] = 0
    data[24:30, 20:30, 15:25] = 2
    scale = brain_maps.palette("winner", {"a": "#ff0000", "b": "#00ff00", "c": "#0000ff"})
    return brain_maps.volume_page(nib.Nifti1Image(data, affine), scale=scale, title="winners")


def test_a_surface_page_needs_nothing_from_elsewhere(surface_page):
    assert loads(surface_page) == []
    assert "<title>planted &lt;audio&gt;</title>" in surface_page
    assert len(surface_page) < 5_000_000


def test_a_volume_page_needs_nothing_from_elsewhere(volume_page):
    assert loads(volume_page) == []
    for name in ("not decided", "a", "b", "c", "winners"):
        assert f"{name}</" in volume_page
    assert len(volume_page) < 5_000_000


def test_vertices_of_a_page_have_the_colours_of_their_values(surface_page, patches, mesh):
    info = json.loads(re.search(r"surfaceMapInfo = (\{.*\});", surface_page)[1])
    found = np.array([colors.to_rgb(c) for c in info["vertexcolor_both"]]).reshape(*patches.shape, 3)
    edge = surfaces.edges(patches["roi"], mesh)
    np.testing.assert_array_equal(found[edge], 0)
    for value, colour in ((0, "red"), (0.5, "lime"), (1, "blue")):
        here = (patches.values == value) & ~edge
        assert here.sum() > 50
        np.testing.assert_array_equal(np.unique(found[here], axis=0), [colors.to_rgb(colour)])
    bare = found[np.isnan(patches.values)]
    np.testing.assert_array_equal(bare.min(axis=1), bare.max(axis=1))  # grey
    assert bare.min() > 0.3


@pytest.fixture(scope="module")
def browser():
    """Chromium, without a network."""
    sync = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    with sync.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield chromium.new_context(offline=True, viewport={"width": 900, "height": 600})
        chromium.close()


@pytest.mark.parametrize(
    ("kind", "seen", "other"),
    [("surface_page", {"red", "blue"}, "lime"), ("volume_page", {"red", "blue"}, "lime")],
)
def test_a_browser_without_network_shows_the_map(browser, tmp_path, request, kind, seen, other):
    path = tmp_path / "page.html"
    brain_maps.save_page(request.getfixturevalue(kind), path)
    page, asked, errors = browser.new_page(), [], []
    page.on("request", lambda r: asked.append(r.url))
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.goto(path.as_uri())
    page.wait_for_selector("canvas")
    # The key is hidden, so that its colours do not count.
    page.add_style_tag(content="body > div[style*='position:fixed'] { display: none }")
    page.wait_for_timeout(2500)
    picture = plt.imread(io.BytesIO(page.screenshot()))[..., :3]
    assert errors == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    counts = {c: int(coloured(picture, c).sum()) for c in (*seen, other)}
    assert all(counts[c] > 100 for c in seen), counts
    assert counts[other] == 0  # on the far side, or in no voxel


def coloured(picture, colour):
    """Where a picture has a pure colour, in whatever light."""
    rgb = np.array(colors.to_rgb(colour), bool)
    return (picture[..., rgb] > 0.35).all(axis=-1) & (picture[..., ~rgb] < 0.15).all(axis=-1)


def test_pages_are_written_whole(tmp_path, monkeypatch):
    path = tmp_path / "maps" / "page.html"
    brain_maps.save_page("<html>é</html>", path)
    assert path.read_text(encoding="utf-8") == "<html>é</html>"
    monkeypatch.setattr("pathlib.Path.write_text", lambda *_a, **_k: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        brain_maps.save_page("half", path)
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]
