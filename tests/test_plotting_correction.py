"""Figure of noise correction's bias and coverage: every condition is drawn, and those not meant are hollow."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import same_color

from lib.plotting import correction

LEVELS = (0.1, 0.4)
CASES = ("equal repeats", "unequal repeats")
KINDS = ("median", "unbiased ratio")


@pytest.fixture
def figure():
    drawn = plt.figure()
    yield drawn
    plt.close(drawn)


def table():
    """Bias and coverage of two rules, at two levels each, by two summaries."""
    cells = list(product(("reliability", "ncsnr"), LEVELS, (0.3, 0.6), CASES, KINDS))
    rows = pd.DataFrame(cells, columns=["rule", "explainable", "planted", "case", "kind"])
    coverage = np.linspace(0.3, 0.99, len(rows))
    return rows.assign(
        bias=np.linspace(-0.1, 0.1, len(rows)),
        bias_se=0.01,
        coverage=coverage,
        coverage_low=coverage - 0.02,
        coverage_high=coverage + 0.01,
        meant=(rows["explainable"] > 0.2) | (rows["rule"] == "ncsnr"),
    )


def test_every_condition_is_a_point_on_the_left_and_on_the_right(figure):
    correction.bias_and_coverage(table(), figure)
    figure.canvas.draw()
    axes = np.array(figure.axes).reshape(len(KINDS), 4)
    assert [ax.get_title() for ax in axes[0]] == 2 * [*CASES]
    for row, kind in zip(axes, KINDS, strict=True):
        assert row[0].get_ylabel().startswith(f"{kind}:")
        for column, case in enumerate(CASES):
            part = table()[(table()["kind"] == kind) & (table()["case"] == case)]
            left, right = (points(ax) for ax in (row[column], row[2 + column]))
            np.testing.assert_allclose(
                sorted(left), sorted(part["bias"].clip(-correction.LARGEST_BIAS, correction.LARGEST_BIAS))
            )
            np.testing.assert_allclose(sorted(right), sorted(part["coverage"].clip(correction.LOWEST)))


def points(ax):
    """Heights of all markers that lie on a level."""
    return [y for line in ax.lines if line.get_marker() != "None" for y in line.get_ydata()]


def test_what_is_not_meant_is_hollow_and_rules_have_their_colour(figure):
    correction.bias_and_coverage(table(), figure)
    lines = [line for line in figure.axes[0].lines if line.get_marker() != "None" and len(line.get_xdata())]
    for line in lines:
        hollow = same_color(line.get_markerfacecolor(), "white")
        reliability = same_color(line.get_color(), correction.COLOURS["reliability"])
        assert hollow == (reliability and max(line.get_xdata()) < 0.2)
    assert any(same_color(line.get_markerfacecolor(), "white") for line in lines)


def test_the_band_to_be_met_is_drawn_and_the_legend_names_all(figure):
    correction.bias_and_coverage(table(), figure)
    bands = [
        patch.get_extents().transformed(ax.transData.inverted()) for ax in figure.axes for patch in ax.patches
    ]
    assert len(bands) == 4
    np.testing.assert_allclose([[band.y0, band.y1] for band in bands], [[0.93, 0.97]] * 4)
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named[:4] == ["reliability", "ncsnr", "planted share 0.3", "planted share 0.6"]
