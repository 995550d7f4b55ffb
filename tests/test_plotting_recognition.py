"""Figures of recognition show the values of their tables, and say when there are none."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lib.plotting import recognition
from lib.recognition import agreement, printed, published


@pytest.fixture
def figure():
    made = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(made)
    return made


def means():
    rng, rows = np.random.default_rng(0), []
    for model, layers in {
        "a": ["natural", "conv", "final"],
        "b": ["natural", "conv", "final"],
        "c": ["x", "y"],
    }.items():
        for observer in ("human", "network"):
            rows += [
                {"experiment": "audio_exp1", "paper_name": "Audio Experiment 1", "model": model, "modality": "audio",
                 "observer": observer, "stage": i, "layer": layer, "value": rng.random(), "sem": 0.05, "n": 20}
                for i, layer in enumerate(layers)
            ]  # fmt: skip
    return pd.DataFrame(rows)


def test_curves_have_a_panel_per_set_of_layers(figure):
    table = means().sample(frac=1, random_state=0)
    recognition.curves(table, figure)
    figure.canvas.draw()
    shown = [ax for ax in figure.axes if ax.axison]
    assert sorted(len(ax.containers) for ax in shown) == [2, 4]
    (panel,) = [ax for ax in shown if len(ax.containers) == 2]
    for container, observer in zip(
        panel.containers, dict.fromkeys(table[table["model"] == "c"]["observer"]), strict=True
    ):
        line = container.lines[0]
        expected = table[(table["model"] == "c") & (table["observer"] == observer)].sort_values("stage")[
            "value"
        ]
        np.testing.assert_array_equal(line.get_ydata(), expected)
        assert line.get_linestyle() == recognition.LINES[observer][0]
    assert [t.get_text() for t in panel.get_xticklabels()] == ["x", "y"]


def analysed():
    rows = [
        {"experiment": "audio_exp1", "about": about, "design": design, "term": term, "F": 10.0, "df": 1,
         "df_error": 19, "eta2p": 0.1 * i, "p_permutation": 0.01, "form": form}
        for i, (about, design, term, form) in enumerate(
            [("a", "observer", "observer", "as published"), ("a", "observer", "observer", "paired"),
             ("b", "layer", "layer", "as published"), ("a_vs_b", "model", "layer:model", "as published")]
        )
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_effects_are_where_the_table_says(figure):
    recognition.effects(analysed(), figure)
    figure.canvas.draw()
    first, second = figure.axes
    shown = sorted(x for line in first.lines for x in line.get_xdata())
    assert shown == pytest.approx([0, 0.1, 0.2])
    assert "a_vs_b\nF(1, 19) = 10, p = 0.01" in second.get_yticklabels()[0].get_text()


def test_scatter_shows_points_and_correlations(figure):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"region": np.repeat(["V1", "IT"], 6), "model": list("abcdef") * 2, "score": rng.random(12),
                          "human": rng.random(12)})  # fmt: skip
    found = agreement.bonferroni(agreement.correlations(table, "score", "human", by="region", n_resamples=50))
    recognition.scatter(table, found, figure, x="score", y="human", by="region")
    figure.canvas.draw()
    ax = figure.axes[1]
    points = sorted(line.get_xydata()[0].tolist() for line in ax.lines)
    assert points == sorted(table[table["region"] == "IT"][["score", "human"]].to_numpy().tolist())
    rho = found[(found["region"] == "IT") & (found["measure"] == "rho")]["value"].item()
    assert f"ρ = {rho:.2f} [" in ax.get_title()
    assert "corrected" in ax.get_title()
    assert "published" not in ax.get_title()


def test_printed_correlations_stand_below_those_found(figure):
    table = pd.DataFrame(
        {"region": "IT", "model": list("abcdef"), "score": [1, 2, 3, 4, 5, 7], "human": range(6)}
    )
    found = agreement.correlations(table, "score", "human", by="region", n_resamples=50)
    known = published.correlations("brainscore").rename(columns={"group": "region"})
    found = found.merge(known, how="left", on=["region", "measure"])
    recognition.scatter(table, found, figure, x="score", y="human", by="region")
    title = figure.axes[0].get_title()
    assert title.splitlines()[-1] == "published, 26 networks: r² = 0.11, ρ = 0.45"  # no tau was printed


def test_ticks_are_plain_names_of_layers(figure):
    recognition.curves(means().assign(layer=means()["layer"] + "_fake_relu"), figure)
    assert not any("fake" in t.get_text() for t in figure.axes[0].get_xticklabels())


def test_networks_have_their_band_and_their_own_accuracy(figure):
    table = pd.DataFrame({"modality": "audio", "generator": "a", "stage": [1, 0], "layer": ["y", "x"],
                          "value": [0.2, 0.8], "sem": 0.1, "n": 5, "own": 0.9})  # fmt: skip
    recognition.networks(table, figure)
    figure.canvas.draw()
    (ax,) = figure.axes
    assert ax.lines[0].get_ydata().tolist() == [0.8, 0.2]
    assert ax.lines[1].get_ydata().tolist() == [0.9, 0.9]
    edges = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (edges.min(), edges.max()) == pytest.approx((0.1, 0.9))


def test_attacks_are_drawn_by_network(figure):
    index = pd.MultiIndex.from_product([["one"], ["a", "b"], range(3), [0.1, 1.0]],
                                       names=["comparison", "network", "seed", "eps"])  # fmt: skip
    table = index.to_frame(index=False).assign(norm="l2", proportion_correct=np.linspace(0.1, 0.5, 12))
    tests = pd.DataFrame(
        {"comparison": ["one"], "term": ["network:eps"], "F": [2.5], "df": [1], "df_error": [4]}
    )
    recognition.attacks(table, tests, figure)
    figure.canvas.draw()
    ax = figure.axes[0]
    assert len(ax.lines) == 2 * (3 + 1)
    expected = table[table["network"] == "b"].groupby("eps")["proportion_correct"].mean()
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), expected)
    assert "network × eps: F(1, 4) = 2.5" in ax.get_title()


@pytest.mark.parametrize("draw", ["curves", "effects", "scatter", "networks", "attacks"])
def test_without_results_the_figure_says_so(figure, draw):
    empty = {
        "curves": lambda f: recognition.curves(means().head(0), f),
        "effects": lambda f: recognition.effects(analysed().head(0), f),
        "scatter": lambda f: recognition.scatter(
            pd.DataFrame(columns=["modality", "model", "x", "y"]), pd.DataFrame(columns=["modality"]), f,
            x="x", y="y", by="modality",
        ),
        "networks": lambda f: recognition.networks(pd.DataFrame(columns=["modality", "stage"]), f),
        "attacks": lambda f: recognition.attacks(
            pd.DataFrame(columns=["comparison", "network"]), pd.DataFrame(columns=printed.COLUMNS), f
        ),
    }  # fmt: skip
    empty[draw](figure)
    assert [t.get_text() for t in figure.texts] == ["no results"]
