"""Panels of regions show what is in their table."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from lib import functional_rois
from lib.plotting import functional_maps, maps


@pytest.fixture
def figure():
    made = plt.figure()
    yield made
    plt.close(made)


@pytest.fixture
def table():
    rng = np.random.default_rng(15)
    sets = {name: rng.random((2, 190)) for name in "abc"}
    rdms = 0.3 * rng.random((5, 5, 190)) + sets["a"][0] + 0.8 * sets["b"][1]
    return functional_rois.parted(rdms, sets, ["V1", "V2", "V3", "V4", "LO"], n_draws=99)


@pytest.mark.parametrize("hatched", [True, False])
def test_each_region_has_a_panel_with_its_bars_and_stars(figure, table, hatched):
    colours = dict(zip("abc", ("red", "green", "blue"), strict=True))
    functional_maps.roi_panels(
        table, figure, colours=colours, labels={n: n.upper() for n in "abc"}, hatched=hatched
    )
    titled = [ax for ax in figure.axes if "R²" in ax.get_title()]
    assert [ax.get_title().split(":")[0] for ax in titled] == ["V1", "V2", "V3", "V4", "LO"]
    for ax, (_, rows) in zip(titled, table.groupby("roi", sort=False), strict=True):
        unique = rows[rows["kind"] == "unique"]
        np.testing.assert_allclose([bar.get_height() for bar in ax.patches], unique["value"])
        stars = [text for text in ax.texts if text.get_text() == "*"]
        expected = (unique["p"] < 0.05).sum() + (rows.loc[rows["kind"] == "pair", "p"] < 0.05).sum()
        assert len(stars) == expected > 2
        assert (ax.get_legend() is not None) == hatched


def test_published_bars_are_diamonds_where_there_are_any(figure, table):
    known = table.assign(
        published=np.where((table["kind"] == "unique") & (table["part"] == "b"), 0.07, np.nan)
    )
    shades = dict(zip("abc", ("red", "green", "blue"), strict=True))
    functional_maps.roi_panels(known, figure, colours=shades, labels={n: n for n in "abc"})
    place = table.query("kind == 'unique' and part == 'b' and roi == 'V1'")["position"].item()
    (dot,) = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert dot.get_xydata().tolist() == [[place, 0.07]]


def test_lenses_have_their_areas():
    rng = np.random.default_rng(0)
    points = rng.uniform(-3, 3, (400_000, 2))
    both = (np.linalg.norm(points, axis=1) < 1.5) & (np.linalg.norm(points - [1.2, 0], axis=1) < 1)
    # 400,000 points: 0.4 % of an area of 2.
    assert functional_maps._lens(1.5, 1, 1.2) == pytest.approx(36 * both.mean(), rel=0.02)
    for area in (0.1, 1, 2.5):
        distance = functional_maps._distance(1.5, 1, area)
        assert functional_maps._lens(1.5, 1, distance) == pytest.approx(area)
    assert functional_maps._distance(1.5, 1, 0) == 2.5
    assert functional_maps._distance(1.5, 1, 4) == 0.5


def test_circles_lie_as_far_apart_as_a_plane_allows():
    radii, common = np.array([1.0, 0.8, 0.6]), {(0, 1): 0.5, (0, 2): 0.3, (1, 2): 0.2}
    places = functional_maps._centres(radii, common)
    for (a, b), area in common.items():
        distance = np.linalg.norm(places[a] - places[b])
        assert functional_maps._lens(radii[a], radii[b], distance) == pytest.approx(area, abs=1e-4)


def test_ceilings_are_drawn_behind_bars(figure):
    table = pd.DataFrame(
        {
            "roi": ["V1", "V2"],
            "value": [0.3, 0.2],
            "sd": 0.05,
            "lower_ceiling": 0.35,
            "upper_ceiling": [0.5, 0.4],
        }
    )
    ax = functional_maps.explained(table, figure.subplots())
    heights = [patch.get_height() for patch in ax.patches]
    np.testing.assert_allclose(heights, [0.15, 0.05, 0.3, 0.2])
    known = table.assign(
        published=[0.25, np.nan], published_lower=[0.4, np.nan], published_upper=[0.45, np.nan]
    )
    figure.clear()
    ax = functional_maps.explained(known, figure.subplots())
    (dots,) = [line for line in ax.lines if line.get_marker() == "D"]
    np.testing.assert_array_equal(dots.get_ydata(), [0.25, np.nan])
    frame = ax.patches[-2].get_bbox()
    np.testing.assert_allclose([frame.y0, frame.y1], [0.4, 0.45])
    assert "published" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_planted_sphere_is_outlined(figure):
    grid = np.arange(6) * 3.0
    inside = np.zeros((6, 6), bool)
    inside[2:4, 2:4] = True
    coords = {"x": grid, "y": grid, "planted": (("y", "x"), inside)}
    section = xr.DataArray(np.random.default_rng(0).random((6, 6)), coords, ("y", "x"))
    rates = pd.DataFrame(
        {
            "what": ["found", "false"],
            "value": [0.9, 0.05],
            "low": [0.8, 0.02],
            "high": [1, 0.1],
            "nominal": [np.nan, 0.05],
        }
    )
    functional_maps.planted_search({"score": section, "p": section}, rates, figure)
    assert figure.axes[0].get_title() == "score"
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), section)


def test_maps_stand_one_above_the_other(figure, monkeypatch):
    told = []
    monkeypatch.setattr(maps, "brains", lambda codes, part, **how: told.append((codes, part, how)))
    functional_maps.brains(
        {"networks": 1, "groups": 2}, {"groups": "b", "networks": "a"}, figure, mesh="m", title="Map"
    )
    assert [codes for codes, *_ in told] == [1, 2]
    assert [part.get_suptitle() for _, part, _ in told] == ["Map: networks", "Map: groups"]
    assert [how for *_, how in told] == [{"scale": "a", "mesh": "m"}, {"scale": "b", "mesh": "m"}]
    assert told[0][1].bbox.y0 > told[1][1].bbox.y0
