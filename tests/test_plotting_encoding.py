"""Figures of encoding show the values of their tables, for any number of models, and say when there are none."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import colors
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lib import comparison, plotting
from lib.plotting import encoding

MODELS = ["crepe_tiny", "vggish", "spectemp"]


@pytest.fixture
def figure():
    made = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(made)
    return made


def scores(models=MODELS, targets=("planted_audio",)):
    """Score and position of some networks and their permuted twins, but for the filter bank."""
    names = [*models, *(f"{m}.permuted" for m in models if m != "spectemp")]
    rng, rows = np.random.default_rng(0), []
    for target in targets:
        for i, model in enumerate(names):
            for j, part in enumerate(["all", "P1", "P2", "P3"]):
                value = 0.8 - 0.1 * i + 0.05 * rng.standard_normal(4)
                head = {"target": target, "part": part, "model": model, "subject": list("abcd")}
                position = np.clip(0.3 * j - 0.05 * i + 0.02 * rng.standard_normal(4), 0, 1)
                rows.append(pd.DataFrame(head | {"value": value, "position": position}))
    return pd.concat(rows, ignore_index=True)


def bars(ax):
    return np.array(
        [(p.get_x() + p.get_width() / 2, p.get_height()) for p in ax.patches if p.get_width() == 0.7]
    )


def said(figure):
    """All text of a figure."""
    return [t.get_text() for t in figure.texts] + [ax.get_title() for ax in figure.axes]


def test_models_are_bars_in_the_order_of_the_trained_with_the_baseline_as_a_line(figure):
    table = comparison.ranked(comparison.means(scores(), value="value", condition="model"))
    table = table[table["part"] == "all"]
    encoding.models(table, figure, baseline="spectemp", ylabel="corrected r²")
    trained, permuted = figure.axes
    value = table.set_index("model")["value"]
    np.testing.assert_allclose(bars(trained), [(0, value["crepe_tiny"]), (1, value["vggish"])])
    np.testing.assert_allclose(
        bars(permuted), [(0, value["crepe_tiny.permuted"]), (1, value["vggish.permuted"])]
    )
    names = [t.get_text() for t in permuted.get_xticklabels()]
    assert names == [plotting.label("crepe_tiny"), plotting.label("vggish")]
    assert [t.get_text() for t in trained.get_xticklabels()] == ["", ""]
    sem = table.set_index("model")["sem"]
    for ax in figure.axes:
        (line,) = [
            line for line in ax.lines if len(set(line.get_ydata())) == 1 and line.get_color() == "grey"
        ]
        assert line.get_ydata()[0] == value["spectemp"]
        (band,) = [p for p in ax.patches if p.get_width() != 0.7]
        box = band.get_bbox() if hasattr(band, "get_bbox") else band.get_extents()
        np.testing.assert_allclose([box.y0, box.y1], value["spectemp"] + sem["spectemp"] * np.array([-1, 1]))
    shade = trained.patches[0].get_facecolor()[:3]
    np.testing.assert_allclose(shade, colors.to_rgb(plotting.colour("crepe_tiny")))


def test_published_values_are_diamonds_and_those_of_the_baseline_a_dashed_line(figure):
    table = comparison.ranked(comparison.means(scores(), value="value", condition="model"))
    table = table[table["part"] == "all"].assign(ceiling=0.93)
    known = {"vggish": 0.55, "spectemp": 0.21, "vggish.permuted": 0.11}
    table = table.assign(published=table["model"].map(known))
    encoding.models(table, figure, baseline="spectemp", ylabel="corrected r²")
    for ax, value in zip(figure.axes, (0.55, 0.11), strict=True):
        (dots,) = [line for line in ax.lines if line.get_marker() == "D"]
        np.testing.assert_array_equal(dots.get_ydata(), [np.nan, value])  # crepe_tiny is not in the study
        (dashed,) = [line for line in ax.lines if line.get_linestyle() == "--"]
        assert dashed.get_ydata()[0] == 0.21
        (dotted,) = [line for line in ax.lines if line.get_linestyle() == ":"]
        assert dotted.get_ydata()[0] == 0.93
    assert "published" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_published_positions_are_joined_to_their_models(figure):
    positions = comparison.means(scores(), value="position", condition="part", by=["target", "model"])
    facing = comparison.facing(positions, reference="P1")
    tests = comparison.position_tests(positions, reference="P1")
    facing = facing.assign(x_published=np.where(facing["model"] == "vggish", 0.25, np.nan), y_published=0.5)
    encoding.roi_positions(facing, tests, figure)
    (dot,) = [line for line in figure.axes[0].lines if line.get_marker() == "D" and len(line.get_xdata())]
    assert dot.get_xydata().tolist() == [[0.25, 0.5]]
    here = facing[(facing["model"] == "vggish") & (facing["part"] == "P2")].iloc[0]
    joined = [
        line for line in figure.axes[0].lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"
    ]
    assert [[here["x"], here["y"]], [0.25, 0.5]] in [line.get_xydata().tolist() for line in joined]


def test_one_model_without_controls_and_many_targets_are_drawn(figure):
    table = comparison.means(
        scores(["crepe_tiny"], ("planted_audio", "nh2015")), value="value", condition="model"
    )
    table = comparison.ranked(table[~table["model"].str.contains("permuted")])
    encoding.models(table, figure, ylabel="r²")
    assert len(figure.axes) == 8  # two targets, four parts
    assert said(figure)[-8:] == [
        f"{t}{p}, trained" for t in ("planted_audio", "nh2015") for p in ("", ", P1", ", P2", ", P3")
    ]
    figure.canvas.draw()


def test_layers_are_lines_through_their_scores(figure):
    number = np.tile(np.arange(1, 4), 2)
    table = pd.DataFrame(
        {"target": "t", "network": "crepe_tiny", "number": number, "layer": number.astype(str)}
    )
    table = table.assign(
        control=["", "", "", *["permuted"] * 3], value=[0.1, 0.3, 0.2, 0.1, 0.1, 0.0], sem=0.01
    )
    encoding.layers(table.sample(frac=1, random_state=0), figure, hue="control", ylabel="r²")
    (ax,) = figure.axes
    lines = {line.get_label(): line for line in ax.lines}
    np.testing.assert_array_equal(lines["trained"].get_ydata(), [0.1, 0.3, 0.2])
    np.testing.assert_array_equal(lines["permuted"].get_xdata(), [1, 2, 3])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "2", "3"]


def test_positions_are_points_against_the_reference_with_their_tests(figure):
    table = comparison.means(scores(), value="position", condition="part", by=["target", "model"])
    table = table[table["model"] != "spectemp"]
    facing = comparison.facing(table, reference="P1")
    tests = comparison.position_tests(table, reference="P1")
    encoding.roi_positions(facing, tests, figure)
    assert len(figure.axes) == 2
    for ax, part in zip(figure.axes, ["P2", "P3"], strict=True):
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("P1", part)
        here = facing[facing["part"] == part]
        drawn = [line for line in ax.lines if line.get_marker() == "o"]
        points = np.array([(line.get_xdata()[0], line.get_ydata()[0]) for line in drawn])
        np.testing.assert_allclose(points, here[["x", "y"]])
        assert "trained: 2 of 2 above, W = 0, p = 0.5" in ax.get_title()
    figure.canvas.draw()


def test_a_region_that_a_target_lacks_is_left_empty(figure):
    table = comparison.means(
        scores(targets=("planted_audio", "nh2015")),
        value="position",
        condition="part",
        by=["target", "model"],
    )
    table = table[~((table["target"] == "nh2015") & (table["part"] == "P3"))]
    facing = comparison.facing(table, reference="P1")
    encoding.roi_positions(facing, comparison.position_tests(table, reference="P1"), figure)
    assert [ax.axison for ax in figure.axes] == [True, True, True, False]


def test_scatter_draws_all_points_and_what_they_agree_by(figure):
    table = pd.DataFrame(
        {"network": ["crepe_tiny", "vggish", "spectemp"] * 2, "control": [""] * 3 + ["permuted"] * 3}
    )
    table = table.assign(value=[0.8, 0.6, 0.5, 0.2, 0.3, 0.1])
    points = comparison.paired(table, "control", units=["network"])
    found = comparison.agreement(points)
    encoding.scatter(points, found, figure)
    (ax,) = figure.axes
    drawn = np.array(
        [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "o"]
    )
    np.testing.assert_allclose(drawn, points[["x", "y"]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("trained", "permuted")
    assert ax.get_xlim() == ax.get_ylim()
    assert ax.get_title() == f"r² = {found['value'][0]:.2f}, p = {found['p'][0]:.2g}, n = 3"


def test_scatter_of_other_quantities_names_its_axes_and_says_when_there_are_too_few(figure):
    points = pd.DataFrame({"target": "t", "network": "vggish", "x": [3.0, 4], "y": [0.1, 0.2]})
    found = comparison.agreement(points, by=["target"])
    encoding.scatter(points, found, figure, panels=["target"], axes=("dimensions", "r²"))
    (ax,) = figure.axes
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == (
        "dimensions",
        "r²",
        "t\nn = 2: too few for r²",
    )


def test_optimism_is_a_dot_and_an_interval_per_model_and_rule(figure):
    table = pd.DataFrame(
        {"target": "t", "part": "all", "model": ["vggish", "spectemp"] * 2, "value": [0.1, 0, 0.2, 0.3]}
    )
    table = table.assign(rule=["nested"] * 2 + ["halves"] * 2, low=table["value"] - 0.1, high=np.nan)
    encoding.optimism(table, figure)
    (ax,) = figure.axes
    drawn = {line.get_label(): line.get_xdata().tolist() for line in ax.lines if line.get_marker() == "o"}
    assert drawn == {"chosen on train stimuli": [0.1, 0.0], "chosen on half of the splits": [0.2, 0.3]}
    assert [t.get_text() for t in ax.get_yticklabels()] == [
        plotting.label("vggish"),
        plotting.label("spectemp"),
    ]
    figure.canvas.draw()


def test_released_regressions_show_every_participant(figure):
    best = pd.DataFrame(
        {"model": ["a", "a", "b", "b"], "part": "all", "subject": ["s", "t"] * 2, "layer": "x"}
    )
    best = best.assign(value=[0.7, 0.8, 0.5, 0.4], panel="best layer")
    curves = best.assign(panel="layers")
    tests = pd.DataFrame(
        {"part": ["all"], "model": ["a"], "other": ["b"], "t": [4.25], "df": [1], "p": [0.1]}
    )
    encoding.released_regressions(pd.concat([curves, best]), tests, figure)
    left, right = figure.axes
    assert len(left.lines) == 4 + 2  # participants, means
    dots = np.concatenate([line.get_ydata() for line in right.lines])
    np.testing.assert_array_equal(dots, best["value"])
    np.testing.assert_allclose([p.get_height() for p in right.patches], [0.75, 0.45])
    assert right.get_xticklabels()[0].get_text() == "all\nt(1) = 4.2"


@pytest.mark.parametrize(
    "name", ["models", "layers", "roi_positions", "scatter", "optimism", "released_regressions"]
)
def test_a_figure_without_rows_says_so(figure, name):
    columns = [
        "target",
        "part",
        "reference",
        "model",
        "network",
        "control",
        "rule",
        "panel",
        "x_level",
        "y_level",
    ]
    none = pd.DataFrame(columns=[*columns, "value"])
    more = {"models": {"ylabel": ""}, "layers": {"hue": "control", "ylabel": ""}}
    tables = [none] * (2 if name in ("roi_positions", "scatter", "released_regressions") else 1)
    getattr(encoding, name)(*tables, figure, **more.get(name, {}))
    assert said(figure) == ["no results"]
