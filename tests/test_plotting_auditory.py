"""Figures of the auditory study in its layout show their tables, and say when there are none."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import colors
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lib import auditory_models, plotting
from lib.plotting import auditory

COMPONENTS = ["lowfreq", "pitch", "speech", "music"]


@pytest.fixture
def figure():
    made = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(made)
    return made


def points():
    rng = np.random.default_rng(0)
    rows = []
    for model, known in (("spectemp", 0.5), ("crepe_tiny", np.nan)):
        for part in COMPONENTS:
            head = {"model": model, "part": part, "layer": "conv1", "r2": 0.42, "published": known}
            values = {"response": rng.random(6), "predicted": rng.random(6)}
            sounds = {"stimulus": list("abcdef"), "category": ["Music", "Song"] * 3}
            rows.append(pd.DataFrame(head | sounds | values))
    return pd.concat(rows, ignore_index=True)


def test_sounds_are_points_of_their_category(figure):
    table = points()
    auditory.responses(table, figure)
    axes = np.reshape(figure.axes, (2, len(COMPONENTS)))
    for i, model in enumerate(("spectemp", "crepe_tiny")):
        for j, part in enumerate(COMPONENTS):
            here = table[(table["model"] == model) & (table["part"] == part)]
            drawn = {line.get_color(): line for line in axes[i, j].lines if line.get_marker() == "o"}
            song = here[here["category"] == "Song"]
            np.testing.assert_allclose(drawn["deepskyblue"].get_xdata(), song["predicted"])
            np.testing.assert_allclose(drawn["deepskyblue"].get_ydata(), song["response"])
    assert "published 0.50" in axes[0, 0].get_title()
    assert "published" not in axes[1, 0].get_title()
    assert axes[0, 0].get_title().startswith("lowfreq")
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["instrumental music", "vocal music"]


def inhouse(components=COMPONENTS, **columns):
    """Values of the study's networks."""
    table = auditory_models.trained().query("seed == 1 and not model.str.startswith('released')")
    table = table.merge(pd.DataFrame({"part": components}), how="cross")
    rng = np.random.default_rng(1)
    value = rng.uniform(0.3, 0.9, len(table))
    return table.assign(value=value, low=value - 0.1, high=value + 0.1, published=value + 0.05, **columns)


def test_networks_are_grouped_by_task_with_published_values(figure):
    table = inhouse().query("not clean").reset_index(drop=True)
    auditory.tasks(table, figure)
    figure.draw_without_rendering()
    first = figure.axes[0]
    rows = table[table["part"] == "lowfreq"].sort_values(
        "task", key=lambda t: t.map([*auditory.TASKS].index), kind="stable"
    )
    heights = [bar.get_height() for bar in first.patches]
    np.testing.assert_allclose(heights, rows["value"])
    middles = np.array([bar.get_x() + bar.get_width() / 2 for bar in first.patches])
    gaps = np.diff(middles)
    assert (gaps[:-2] == 1).all()
    assert gaps[-2] == 2  # before the two networks of several tasks
    (diamonds,) = [line for line in first.lines if line.get_marker() == "D"]
    np.testing.assert_allclose(diamonds.get_ydata(), rows["published"])
    pitch = figure.axes[len(COMPONENTS)]
    wide = table.pivot_table(index="model", columns="part", values="value")
    drawn = sorted(
        (line.get_xdata()[0], line.get_ydata()[0]) for line in pitch.lines if line.get_marker() != "None"
    )
    np.testing.assert_allclose(drawn, sorted(zip(wide["music"], wide["pitch"], strict=True)))


def test_clean_networks_stand_beside_their_twins(figure):
    table = inhouse(["all"], target="nh2015", sem=0.02)
    both = table.groupby(["network", "task"])["clean"].transform("nunique") == 2
    auditory.clean(table[both], figure, ylabel="score")
    (ax,) = figure.axes
    names = [text.get_text() for text in ax.get_xticklabels()]
    wanted = [plotting.label(f"{net}_{task}{end}") for task in ("word", "speaker")
              for net in ("cochcnn9", "cochresnet50") for end in ("", "_clean")]  # fmt: skip
    assert names == wanted
    middles = [bar.get_x() + bar.get_width() / 2 for bar in ax.patches]
    np.testing.assert_allclose(middles, [0, 1, 3, 4, 6, 7, 9, 10])
    value = table.set_index("model")["value"]
    assert ax.patches[1].get_height() == value["cochcnn9_word_clean"]
    np.testing.assert_allclose(
        ax.patches[0].get_facecolor()[:3], colors.to_rgb(plotting.colour("cochcnn9_word"))
    )


@pytest.mark.parametrize(("draw", "table", "options"), [
    (auditory.responses, points, {}), (auditory.tasks, inhouse, {}),
    (auditory.clean, lambda: inhouse(target="nh2015", sem=0.1), {"ylabel": "score"}),
])  # fmt: skip
def test_without_rows_a_figure_says_so(figure, draw, table, options):
    draw(table().iloc[:0], figure, **options)
    assert not figure.axes
    assert figure.texts[0].get_text().startswith("no ")
