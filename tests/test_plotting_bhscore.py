from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from lib import bhscore_published
from lib.plotting import bhscore

ROIS, LAYERS = ["P1", "P2", "P3"], ["conv1", "conv2"]


@pytest.fixture
def figure():
    made = plt.figure(layout="constrained")
    yield made
    made.canvas.draw()
    plt.close(made)


def shares(model="spectemp", layers=LAYERS):
    rows = [(layer, roi) for layer in layers for roi in ROIS]
    table = pd.DataFrame(rows, columns=["layer", "roi"])
    share = np.resize([0.5, 0.3, 0.2, 0.1, 0.3, 0.6], len(rows))
    true = table["roi"].map({"P1": "conv1", "P3": "conv2"}).fillna("")
    return table.assign(share=share, target="planted_audio", model=model, score=0.4, true_layer=true)


def ranked(value=np.nan):
    return bhscore_published.tidy().assign(value=value, low=value - 0.1, high=value + 0.1)


def test_ranking_has_the_published_scores_best_on_top(figure):
    table = ranked().query("measure == 'mean'")
    ax = bhscore.ranking(table, figure.subplots())
    (bars,) = ax.containers
    assert [bar.get_width() for bar in bars] == sorted(table["published"], reverse=True)
    assert [label.get_text() for label in ax.get_yticklabels()][:2] == ["VGG-S", "CORnet-R"]
    assert [text.get_text() for text in ax.texts][:2] == ["0.43", "0.42"]
    assert ax.yaxis_inverted()


def test_recomputed_scores_stand_beside_with_intervals(figure):
    table = ranked(0.3).query("measure == 'mean'")
    ax = bhscore.ranking(table, figure.subplots())
    published, recomputed, *_ = ax.containers
    assert {bar.get_width() for bar in recomputed} == {0.3}
    assert all(a.get_y() != b.get_y() for a, b in zip(published, recomputed, strict=True))
    (lines,) = ax.collections
    np.testing.assert_allclose(np.array(lines.get_segments())[:, :, 0], [[0.2, 0.4]] * 29)


def test_each_measure_has_its_ranking(figure):
    bhscore.rankings(ranked(), figure)
    assert [ax.get_title() for ax in figure.axes] == ["mean of both", "decoding", "encoding"]


def test_performance_has_a_point_per_network_and_names_that_do_not_collide(figure):
    table = bhscore_published.beside(bhscore_published.recomputed(Path("nowhere")))
    table = table.join(bhscore_published.scores()["top1"], on="network")
    found = bhscore_published.performance(table).assign(source="published")
    figure.set_size_inches(12, 4)
    bhscore.performance(table, found, figure)
    for ax, measure in zip(figure.axes, ("decoding", "encoding", "mean"), strict=True):
        here = table[table["measure"] == measure].dropna(subset="top1")
        (points,) = ax.lines
        np.testing.assert_array_equal(points.get_xydata(), here[["top1", "published"]].to_numpy())
        assert f"ρ = {found.set_index('measure')['value'][measure]:.2f} [" in ax.get_title()
        boxes = [text.get_window_extent() for text in ax.texts]
        assert len(boxes) > len(here) / 2
        assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_scores_have_intervals_and_the_band_without_order(figure):
    row = {"target": "planted_audio", "model": "spectemp", "value": 0.4, "low": 0.3, "high": 0.5}
    row |= {"null_low": -0.2, "null_high": 0.25}
    other = row | {"model": "crepe_tiny", "low": np.nan, "high": np.nan}
    table = pd.DataFrame(
        [r | {"measure": m} for r in (row, other) for m in ("decoding", "decoding_all_layers", "mean")]
    )
    bhscore.scores(table, figure)
    left, middle, right = figure.axes
    assert [ax.get_title() for ax in figure.axes] == ["decoding", "encoding", "mean of both"]
    assert len(left.containers) == len(right.containers) == 2
    assert len(middle.containers) == 0
    band = left.containers[0][0]
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((-0.2, 0.25))
    assert left.collections[0].get_segments()[0][:, 0].tolist() == [0.3, 0.5]


def test_histograms_have_the_first_layer_at_the_bottom(figure):
    table = pd.concat([shares(), shares("crepe_tiny", [*LAYERS, "pitch"])])
    bhscore.top_rois(table, figure)
    grid = np.array(figure.axes).reshape(3, 2)
    assert not grid[0, 0].axison
    assert [ax.texts[0].get_text() for ax in grid[:, 1]] == ["pitch", "conv2", "conv1"]
    assert [ax.texts[0].get_text() for ax in grid[1:, 0]] == ["conv2", "conv1"]
    assert [bar.get_height() for bar in grid[2, 0].patches] == [0.5, 0.3, 0.2]
    assert [tick.get_text() for tick in grid[2, 0].get_xticklabels()] == ROIS
    assert "BH score = 0.40" in grid[1, 0].get_title()


def test_layers_without_units_are_drawn_empty(figure):
    bhscore.top_rois(shares().assign(share=np.nan), figure)
    assert all(np.isnan(bar.get_height()) for ax in figure.axes for bar in ax.patches)


def test_matrix_frames_the_planted_layers(figure):
    bhscore.matrices(shares(), figure)
    (ax,) = figure.axes
    frames = [patch.get_xy() for patch in ax.patches if isinstance(patch, Rectangle)]
    assert frames == [(0, 1), (2, 0)]  # conv1 in the lower row, conv2 in the upper one
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["conv2", "conv1"]
    assert sorted(text.get_text() for text in ax.texts) == [".10", ".20", ".30", ".30", ".50", ".60"]


def test_sensitivity_has_a_line_per_level_and_formula(figure):
    rows = [(f, level, n, 0.1 * n) for f in ("t", "nonaka2021") for level in (0.05, 0.01) for n in (3, 5, 8)]
    table = pd.DataFrame(rows, columns=["formula", "level", "n_layers", "value"])
    bhscore.sensitivity(table.assign(target="planted_audio", model="spectemp"), figure)
    (ax,) = figure.axes
    lines = [line for line in ax.lines if line.get_marker() == "o"]
    assert [line.get_linestyle() for line in lines] == ["-", "-", ":", ":"]
    assert lines[0].get_color() == lines[2].get_color() != lines[1].get_color()
    np.testing.assert_allclose(lines[0].get_ydata(), [0.3, 0.5, 0.8])


@pytest.mark.parametrize("draw", [bhscore.scores, bhscore.top_rois, bhscore.matrices, bhscore.sensitivity])
def test_no_result_is_said(draw, figure):
    draw(pd.DataFrame(columns=["target", "model", "measure"]), figure)
    assert [text.get_text() for text in figure.texts] == ["no results"]
