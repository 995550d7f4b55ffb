"""Figures of RSA show what is in their tables."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib import plotting, rdm
from lib.plotting import rsa as figures

MODELS = ["crepe_tiny", "crepe_tiny.permuted"]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def profiles():
    """Two regions, one without ceiling; a model and its control with three layers."""
    rows = [
        {
            "roi": roi,
            "model": model,
            "layer": layer,
            "value": 0.1 * i,
            "low": 0.1 * i - 0.1,
            "high": 0.1 * i + 0.1,
        }
        | {"lower": lower, "upper": lower + 0.2, "p_fwe": 0.01 if i else 0.5}
        for roi, lower in (("A", 0.4), ("B", np.nan))
        for model in MODELS
        for i, layer in enumerate(["one", "two", "three"])
    ]
    return pd.DataFrame(rows)


def points(ax, face):
    """Heights of points with a face of that colour."""
    lines = [line for line in ax.get_lines() if line.get_marker() == "o"]
    return [y for line in lines if (line.get_markerfacecolor() == "white") == face for y in line.get_ydata()]


def test_profiles_have_a_panel_per_region_and_hollow_points_where_not_significant():
    figure = plt.figure()
    figures.layer_profiles(profiles(), figure, ylabel="similarity")
    a, b = figure.axes
    assert [ax.get_title() for ax in (a, b)] == ["A", "B"]
    assert points(a, True) == [0.0, 0.0]
    assert points(a, False) == [0.1, 0.2, 0.1, 0.2]
    assert [t.get_text() for t in a.get_xticklabels()] == ["one", "two", "three"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["noise ceiling", *map(plotting.label, MODELS)]
    assert len(a.patches) == 1
    assert len(b.patches) == 0


def test_models_of_other_layers_share_an_axis_from_first_to_last():
    table = profiles().query("roi == 'A'")
    table = table[(table["model"] == MODELS[0]) | (table["layer"] != "three")]
    figure = plt.figure()
    figures.layer_profiles(table, figure, ylabel="similarity")
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["first", "last layer"]


def test_no_results_are_said():
    figure = plt.figure()
    figures.layer_profiles(profiles().iloc[:0], figure, ylabel="similarity")
    assert figure.texts[0].get_text() == "no results"


def test_ranked_models_are_in_order_with_stars():
    table = pd.DataFrame(
        {"name": ["low", "high"], "model": ["", MODELS[0]], "value": [0.1, 0.3], "p": [0.2, 0.01]}
    )
    table = table.assign(low=0.0, high=0.4, lower=0.2, upper=0.5)
    ax = figures.ranked(table, plt.figure().subplots(), xlabel="similarity")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["high", "low"]
    assert [(t.get_text(), t.get_position()[1]) for t in ax.texts if "*" in t.get_text()] == [(" *", 0)]
    widths = [bar.get_width() for bar in ax.containers[0]]
    assert widths == [0.3, 0.1]
    assert ax.containers[0][0].get_facecolor()[:3] == pytest.approx(plotting.colour(MODELS[0]))


def stimuli():
    """An RDM of six stimuli in two groups."""
    places = np.random.default_rng(0).standard_normal((6, 2))
    square = ((places[:, None] - places) ** 2).sum(axis=2)
    one = rdm.labelled(square, list("abcdef"))
    return one, pd.Series(["x", "y", "x", "y", "x", "y"], index=list("abcdef"))


def test_images_show_the_values_in_the_order_of_the_table():
    one, groups = stimuli()
    figure = plt.figure()
    figures.images(rdm.tidy({"P": one, "Q": 2 * one}, groups), figure, unit="dissimilarity")
    order = [0, 2, 4, 1, 3, 5]
    np.testing.assert_allclose(figure.axes[0].get_images()[0].get_array(), one.values[np.ix_(order, order)])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["x", "y"]
    plain = plt.figure()
    figures.images(rdm.tidy({"P": one}), plain, unit="dissimilarity", ranks=False)
    assert not plain.legends
    assert plain.axes[0].get_images()[0].get_clim() == (0, one.values.max())


def test_places_are_those_of_the_table():
    one, groups = stimuli()
    table, figure = rdm.placed({"P": one}, groups), plt.figure()
    figures.places(table, figure)
    np.testing.assert_allclose(figure.axes[0].collections[0].get_offsets(), table[["x", "y"]])


def test_false_positives_above_the_range_stand_out():
    table = pd.DataFrame(
        {"test": ["a", "b"], "rate": [0.04, 0.16], "low": 0.03, "high": 0.07, "level": 0.05, "n": 400}
    )
    ax = figures.false_positives(table, plt.figure().subplots())
    drawn = {line.get_label(): list(line.get_xdata()) for line in ax.get_lines()}
    assert drawn["holds its level"] == [0.04]
    assert drawn["does not"] == [0.16]


def test_positions_are_a_line_per_model():
    table = pd.DataFrame({"model": MODELS * 2, "roi": ["A", "A", "B", "B"], "position": [0, 0.5, 1, 0.2]})
    ax = figures.positions(table, plt.figure().subplots())
    assert [list(line.get_ydata()) for line in ax.get_lines()] == [[0, 1], [0.5, 0.2]]
