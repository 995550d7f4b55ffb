"""Figures of metamers say what their tables say."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from PIL import Image
from scipy.io import wavfile

from lib.metamers import gallery, gate
from lib.plotting import metamers as drawn

MODEL = "efficientnet_lite0"
LAYERS = ["stage2", "logits"]


@pytest.fixture
def figure():
    mpl.use("agg")
    made = plt.figure(figsize=(6, 4))
    yield made
    plt.close(made)


def table(passed=((True, False), (True, True), (False, False))):
    """A gate of three stimuli at two layers."""
    rows = [
        {"layer": layer, "stimulus": f"s{i}", "passed": ok, "why": "" if ok else "reason", "spearman": 0.9 - 0.1 * i,
         "pearson": 0.8, "snr_db": 20.0 - i, "label_agrees": "", "null_spearman": 0.5, "null_pearson": 0.5,
         "null_snr_db": 5.0, "loss": 0.1, "original_file": f"original/s{i}.png", "file": f"metamer/{layer}/s{i}.png"}
        for j, layer in enumerate(LAYERS) for i, line in enumerate(passed) for ok in [line[j]]
    ]  # fmt: skip
    return pd.DataFrame(rows).reindex(columns=gate.COLUMNS)


@pytest.fixture
def folder(tmp_path):
    made = table()
    made.to_csv(tmp_path / "gate.csv", index=False)
    for k, file in enumerate([*made["original_file"].unique(), *made["file"]]):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), 20 * k, np.uint8)).save(tmp_path / file)
    return tmp_path


def test_examples_are_the_stimuli_that_passed_most_and_show_what_failed(folder, figure):
    chosen = gallery.chosen(folder, n_stimuli=2)
    assert chosen["stimulus"].unique().tolist() == ["s1", "s0"]
    assert chosen["layer"].tolist() == [gallery.ORIGINAL, *LAYERS] * 2
    images = gallery.images(folder, chosen["file"])
    drawn.examples(chosen, figure, images=images)
    axes = figure.axes
    assert [ax.get_title() for ax in axes[:3]] == [gallery.ORIGINAL, *LAYERS]
    crossed = [len(ax.lines) == 2 for ax in axes]
    assert crossed == (~chosen["passed"]).tolist()
    shown = [ax.images[0].get_array()[0, 0, 0] for ax in axes]
    assert shown == [images[file][0, 0, 0] for file in chosen["file"]]


def test_sounds_are_shown_as_cochleagrams(tmp_path, figure):
    tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 16000).astype(np.float32) / 4
    wavfile.write(tmp_path / "a.wav", 16000, tone)
    images = gallery.images(tmp_path, ["a.wav"])
    assert images["a.wav"].ndim == 2
    chosen = pd.DataFrame({"stimulus": ["a"], "layer": ["natural"], "passed": True, "file": ["a.wav"]})
    drawn.examples(chosen, figure, images=images)
    assert figure.axes[0].images[0].origin == "lower"


def test_pass_rates_have_a_panel_per_network_and_a_line_per_control(figure):
    found = [
        gate.pass_rates({model: table()}).assign(target=target)
        for target, model in (("a", MODEL), ("a", f"{MODEL}.permuted"), ("b", MODEL))
    ]
    drawn.pass_rates(pd.concat(found), figure)
    assert [ax.get_title() for ax in figure.axes if ax.get_visible()] == ["a", "b"]
    assert [len(ax.containers) for ax in figure.axes] == [2, 1]
    line = figure.axes[0].containers[0].lines[0]
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), [2 / 3, 1 / 3])
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == LAYERS


def test_metamers_stand_over_the_null_of_their_layer(figure):
    null = pd.DataFrame(
        [{"layer": layer, "measure": m, "median": 0.1, "q95": 0.3, "maximum": 0.5, "n_pairs": 9}
         for layer in LAYERS for m in gate.MEASURES]
    )  # fmt: skip
    found = gallery.against_null(table(), null)
    assert len(found) == 2 * 3 * 3
    drawn.nulls(found.assign(model=MODEL, target="a"), figure)
    ax = figure.axes[0]
    clouds = [c for c in ax.collections if isinstance(c, PathCollection)]
    points = np.concatenate([cloud.get_offsets()[:, 1] for cloud in clouds])
    np.testing.assert_allclose(points, found.query("measure == 'spearman'")["value"])
    assert [bar.get_height() + bar.get_y() for bar in ax.patches] == [0.5, 0.5]


def test_stages_frame_what_was_matched(figure):
    rows = [{"model": MODEL, "target": "a", "tapped": t, "measured": m, "share": s}
            for t, m, s in (("l1", "l1", 1), ("l1", "l2", 0.9), ("l2", "l1", 0), ("l2", "l2", 1))]  # fmt: skip
    drawn.stages(pd.DataFrame(rows), figure)
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.texts] == ["1.00", ".90", ".00", "1.00"]
    assert [(p.get_x(), p.get_y()) for p in ax.patches] == [(0, 0), (1, 1)]


def test_judges_have_a_row_each(figure):
    rows = [{"target": "a", "generator": MODEL, "judge": j, "layer": layer, "value": 0.5, "n": 4}
            for j in (MODEL, "resnet20_cifar10") for layer in LAYERS]  # fmt: skip
    drawn.judged(pd.DataFrame(rows), figure)
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["EfficientNet-Lite0", "ResNet-20 (CIFAR-10)"]


@pytest.mark.parametrize("draw", [drawn.pass_rates, drawn.nulls, drawn.stages, drawn.judged])
def test_without_results_figures_say_so(figure, draw):
    columns = ["target", "model", "generator", "layer", "tapped", "measured", "share", "value"]
    draw(pd.DataFrame(columns=columns), figure)
    assert figure.texts[0].get_text() == "no results"
