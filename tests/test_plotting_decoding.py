import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lib.plotting import decoding


def table(model="crepe_tiny"):
    rows = []
    for i, layer in enumerate(("conv1", "conv2", "pitch")):
        for k, roi in enumerate(("P1", "P2")):
            value = 0.1 * i + 0.2 * k
            for quantity in ("accuracy", "corrected", "identification"):
                rows.append(("planted_audio", model, layer, roi, quantity, value, value - 0.05, value + 0.1))
    columns = ["target", "model", "layer", "roi", "quantity", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def test_lines_and_intervals_are_those_of_the_table():
    rows = table()
    rows = rows[rows["quantity"] == "accuracy"]
    ax = decoding.by_layer(rows, Figure().subplots(), rois=["P1", "P2"])
    lines = [line for line in ax.lines if line.get_label() in ("P1", "P2")]
    assert [line.get_label() for line in lines] == ["P1", "P2"]
    for line, intervals, (_, part) in zip(lines, ax.collections, rows.groupby("roi"), strict=True):
        np.testing.assert_allclose(line.get_ydata(), part["value"])
        ends = np.array([segment[:, 1] for segment in intervals.get_segments()])
        np.testing.assert_allclose(ends, part[["low", "high"]])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["conv1", "conv2", "pitch"]


def test_a_row_per_result_and_a_panel_per_quantity():
    figure = Figure()
    decoding.panels(pd.concat([table(), table("crepe_tiny.permuted")]), figure)
    assert len(figure.axes) == 6
    assert [ax.get_title() for ax in figure.axes[:3]] == [
        decoding.TITLES[q] for q in list(decoding.TITLES)[:2]
    ] + [decoding.TITLES["identification"]]
    assert "permuted" in figure.axes[3].get_ylabel()
    chance = [line for line in figure.axes[2].lines if line.get_linestyle() == ":"]
    assert chance[0].get_ydata()[0] == pytest.approx(0.5)


def test_a_layer_without_a_region_leaves_a_gap():
    rows = table()
    rows = rows[(rows["quantity"] == "accuracy") & ~((rows["roi"] == "P2") & (rows["layer"] == "conv2"))]
    ax = decoding.by_layer(rows, Figure().subplots(), rois=["P1", "P2"])
    assert np.isnan(ax.lines[1].get_ydata()[1])


def test_without_results_the_figure_says_so():
    figure = Figure()
    decoding.panels(table().iloc[:0], figure)
    assert figure.texts[0].get_text() == "no results"
