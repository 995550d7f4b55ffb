"""Figures of layers weighted together show the values of their tables."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lib.plotting import layer_weighted


@pytest.fixture
def figure():
    """A figure without a window."""
    made = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(made)
    return made


def shares():
    """Two regions, three layers, two subjects; the layer planted in each."""
    rows = [
        {"subject": s, "roi": roi, "layer": layer, "value": value + 0.1 * (s == "b"), "true_layer": true}
        for s in "ab"
        for roi, true, values in (("P1", "one", (0.9, 0.05, 0.05)), ("P2", "three", (-0.2, 0.3, 0.9)))
        for layer, value in zip(("one", "two", "three"), values, strict=True)
    ]
    return pd.DataFrame(rows)


def scores():
    """Two methods, two regions, two subjects."""
    rows = [
        {"method": method, "subject": s, "roi": roi, "value": 0.1 * i + 0.2 * j + 0.3 * k}
        for i, method in enumerate(("together", "single"), start=1)
        for j, s in enumerate("ab")
        for k, roi in enumerate(("P1", "P2"))
    ]
    table = pd.DataFrame(rows)
    return table.assign(mean=table.groupby(["method", "roi"])["value"].transform("mean"))


def test_heat_map_shows_means_and_frames_planted_layers(figure):
    ax = layer_weighted.contributions(shares(), figure.subplots(), layers=["one", "two", "three"])
    shown = ax.collections[0].get_array().reshape(2, 3)
    np.testing.assert_allclose(shown, [[0.95, 0.1, 0.1], [-0.15, 0.35, 0.95]])
    frames = [patch.get_xy() for patch in ax.patches if isinstance(patch, Rectangle)]
    assert frames == [(0, 0), (2, 1)]
    assert [text.get_text() for text in ax.texts][:2] == [".95", ".10"]


def test_pairs_join_the_methods_of_a_subject(figure):
    table = scores()
    ax = layer_weighted.pairs(table, figure.subplots(), ylabel="r²")
    joined = [
        line.get_ydata() for line in ax.lines if len(line.get_ydata()) == 2 and line.get_color() == "0.8"
    ]
    wide = table.pivot_table(index=["roi", "subject"], columns="method", values="value", sort=False)
    np.testing.assert_allclose(sorted(map(tuple, joined)), sorted(map(tuple, wide.to_numpy())))
    means = sorted(float(c.get_segments()[0][0, 1]) for c in ax.collections)
    np.testing.assert_allclose(means, sorted(table.groupby(["method", "roi"])["mean"].first()))
    assert ax.get_legend_handles_labels()[1] == ["together", "single"]


def test_a_row_of_panels_for_each_result(figure):
    parts = [shares().assign(panel="kernel_share"), scores().assign(panel="scores")]
    names = {"target": "planted_audio", "layers": "one,two,three"}
    table = pd.concat([*parts], ignore_index=True).assign(**names)
    table = pd.concat([table.assign(model=model) for model in ("crepe_tiny", "spectemp")], ignore_index=True)
    layer_weighted.panels(table, figure, ylabel="r²")
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["weight a², share", "held-out scores"] * 2
    assert figure.axes[0].get_ylabel().startswith("CREPE (tiny)")


def test_no_results_are_said_to_be_none(figure):
    layer_weighted.panels(pd.DataFrame(), figure, ylabel="r²")
    assert figure.texts[0].get_text() == "no results"


def test_recovery_shows_shares_with_intervals_beside_the_planted(figure):
    rows = [
        {"case": case, "layer": layer, "planted": planted, "method": method, "value": value}
        for case in ("easy", "hard")
        for layer, planted in (("one", 0.7), ("two", 0.3))
        for method, value in (("kernel_share", planted + 0.01), ("banded weight", planted - 0.05))
    ]
    found = pd.DataFrame(rows)
    found = found.assign(low=found["value"] - 0.02, high=found["value"] + 0.03)
    held_out = scores().assign(case="easy", roi="")
    held_out = pd.concat([held_out, held_out.assign(case="hard")])
    held_out = (
        held_out.groupby(["case", "method", "subject"], as_index=False, sort=False).first().assign(roi="")
    )
    layer_weighted.recovery(found, held_out, figure)
    left = figure.axes[0]
    assert left.get_title() == "easy"
    points = {c.get_label(): c[0].get_ydata().tolist() for c in left.containers}
    assert points == {"kernel_share": [0.71, 0.31], "banded weight": [0.7 - 0.05, 0.3 - 0.05]}
    bars = left.containers[0][2][0].get_segments()
    np.testing.assert_allclose([bar[:, 1] for bar in bars], [[0.69, 0.74], [0.29, 0.34]])
