"""Bars and circles show the parts they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from lib import partition
from lib.plotting import partition as parted


def figure():
    """A figure without a window."""
    made = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(made)
    return made


def parts(values, names=("early", "middle", "late")):
    """Values of all parts, by name."""
    labels = [partition.label(part, names) for part in partition.subsets(names)]
    return pd.Series(dict(zip(labels, values, strict=True)))


def table(regions=("V1", "IT"), **given):
    """Rows of a summary."""
    rows = []
    for index, roi in enumerate(regions):
        values = parts([0.2, 0.1, -0.02, 0.05, 0.0, 0.03, 0.1]) / (index + 1)
        rows.append(
            pd.DataFrame({"roi": roi, "part": [*values.index, "total"], "value": [*values, values.sum()]})
        )
    rows = pd.concat(rows, ignore_index=True)
    rows = rows.assign(low=rows["value"] - 0.01, high=rows["value"] + 0.02, score="r2_corrected")
    return rows.assign(**{"target": "here", "model": "spectemp", "beside": ""} | given)


def test_bars_have_the_values_and_intervals():
    rows = table()
    ax = parted.bars(rows, figure().subplots())
    heights = [bar.get_height() for group in ax.containers for bar in group]
    by_part = rows.pivot_table(index="part", columns="roi", values="value", sort=False).drop("total")
    np.testing.assert_allclose(heights, by_part[["V1", "IT"]].to_numpy().ravel())
    (total,) = (line for line in ax.lines if line.get_marker() == "D")
    np.testing.assert_allclose(total.get_ydata(), rows.loc[rows["part"] == "total", "value"])
    drawn = np.concatenate([np.array(lines.get_segments())[..., 1] for lines in ax.collections])
    wanted = rows.set_index(["part", "roi"])[["low", "high"]].loc[[*by_part.index, "total"]]
    np.testing.assert_allclose(drawn, wanted.to_numpy())
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == [*by_part.index, "total"]
    assert ax.get_ylabel() == "corrected r²"


def test_intervals_that_are_not_known_are_not_drawn():
    ax = parted.bars(table().assign(low=np.nan, high=np.nan), figure().subplots())
    assert [len(segment) for lines in ax.collections for segment in lines.get_segments()] == [0] * 16


@pytest.mark.parametrize("values", [(0.3, 0.1, 0.2), (0.3, 0.3, 0.0), (0.3, 0.0, 0.2), (0.01, 0.4, 0.02)])
def test_two_circles_have_the_areas(values):
    centres, radii = parted.layout(parts(values, "AB"))
    alone_a, alone_b, both = values
    np.testing.assert_allclose(np.pi * radii**2, [alone_a + both, alone_b + both])
    drawn = parted.overlap(*radii, np.linalg.norm(centres[1] - centres[0]))
    assert drawn == pytest.approx(both, abs=1e-8)


def test_overlap_is_the_area_by_counting_points():
    points = np.random.default_rng(0).uniform(-2, 3, size=(400_000, 2))
    for r, s, d in [(1, 1, 1), (1, 0.5, 0.8), (1.5, 0.7, 1.9), (1, 0.3, 0.2), (0.5, 0.5, 1.2)]:
        both = (np.hypot(*points.T) < r) & (np.hypot(points[:, 0] - d, points[:, 1]) < s)
        # 4 standard errors of a share of 25 squares
        error = 4 * 25 * np.sqrt(max(both.mean(), 1e-6) / len(points))
        assert abs(parted.overlap(r, s, d) - 25 * both.mean()) < error


def test_three_circles_have_the_areas_of_sets_and_pairs():
    values = parts([0.2, 0.15, 0.1, 0.05, 0.04, 0.03, 0.06])
    centres, radii = parted.layout(values)
    np.testing.assert_allclose(np.pi * radii**2, [0.35, 0.29, 0.23])
    for (a, b), shared in {(0, 1): 0.11, (0, 2): 0.10, (1, 2): 0.09}.items():
        drawn = parted.overlap(radii[a], radii[b], np.linalg.norm(centres[a] - centres[b]))
        assert drawn == pytest.approx(shared, abs=1e-4)  # the optimiser's tolerance


def test_parts_below_0_have_no_area():
    _, radii = parted.layout(parts([0.2, -0.1, 0.05], "AB"))
    np.testing.assert_allclose(np.pi * radii**2, [0.25, 0.05])


def test_circles_carry_the_numbers_that_have_room():
    ax = parted.circles(parts([0.3, 0.2, 0.25], "AB"), figure().subplots())
    assert len([patch for patch in ax.patches if isinstance(patch, Circle)]) == 2
    assert sorted(text.get_text() for text in ax.texts) == [".20", ".25", ".30"]
    place = {text.get_text(): text.get_position()[0] for text in ax.texts}
    assert place[".30"] < place[".25"] < place[".20"]


@pytest.mark.parametrize("values", [parts([0.4], "A"), parts(range(15), "ABCD"), parts([-1, -1, -1], "AB")])
def test_what_circles_cannot_show_is_left_empty(values):
    ax = parted.circles(values, figure().subplots())
    assert not ax.patches
    assert not ax.texts


def test_shared_parts_have_mixed_colours():
    names = parts(range(7)).index
    shades = parted.part_colours(names)
    assert len(set(shades.values())) == 7
    mixture = (np.array(shades["early"]) + shades["late"]) / 2
    np.testing.assert_allclose(shades["early & late"], mixture)


def test_each_result_has_its_row():
    rows = pd.concat([table(), table(["C1"], target="there", beside="crepe_tiny")])
    made = parted.panels(rows, figure())
    titles = [ax.get_title() for ax in made.axes if ax.get_title()]
    assert titles == ["here: SpectroTemporal", "there: SpectroTemporal beside CREPE (tiny)"]
    assert len(made.axes) == 2 + 2 + 1
    made.canvas.draw()


def test_no_result_is_said():
    made = parted.panels(table().iloc[:0], figure())
    assert [text.get_text() for text in made.texts] == ["no results"]
    plt.close("all")
