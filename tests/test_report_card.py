"""The report card: the right numbers on the right rungs, and how far measures agree."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib import report_card
from lib.plotting import report_card as drawing


def numbers(rows):
    """Rows of numbers.csv from names and values; intervals reach .1 to both sides."""
    table = pd.DataFrame(rows, columns=["name", "value"])
    return table.assign(low=table["value"] - 0.1, high=table["value"] + 0.1, n=4, unit="subject", what="")


@pytest.fixture
def table():
    return numbers(
        [
            ("encode/planted_audio/crepe_tiny/r2_corrected/all", 0.9),
            ("encode/planted_audio/crepe_tiny/r2_corrected/p1", 0.1),
            ("encode/planted_audio/crepe_tiny.permuted/r2_corrected/all", 0.3),
            ("encode/planted_audio/cochleagram/r2_corrected/all", 0.2),
            ("encode/planted_audio/spectemp/r2_corrected/all", 0.35),
            ("rsa/planted_audio/crepe_tiny/spearman/all", 0.4),
            ("rsa/planted_audio/crepe_tiny/spearman/all/conv1", 0.8),
            ("rsa/planted_audio/all/spearman/lower_ceiling/subject", 0.6),
            ("rsa/planted_audio/all/spearman/upper_ceiling/subject", 0.8),
            ("bhscore/planted_audio/crepe_tiny/bh/decoding", 0.7),
            ("bhscore/planted_audio/crepe_tiny/bh/mean", 0.5),
            ("bhscore/planted_audio/crepe_tiny.permuted/bh/decoding", 0.1),
            ("encode/planted_audio/crepe_tiny/layer weighted r2/all layers, one weight per region", 0.6),
            ("encode/planted_audio/gone/r2_corrected/all", 0.2),
            ("encode/metamer_recognition/spectemp/r2_corrected/all", 0.6),
        ]
    )


def test_each_model_stands_on_its_rung_with_its_number(table):
    found = report_card.card(table)
    got = {(r.model, r.rung, r.measure): r.value for r in found.itertuples()}
    assert got == {
        ("crepe_tiny", "trained", "encoding"): 0.9,
        ("crepe_tiny.permuted", "permuted", "encoding"): 0.3,
        ("cochleagram", "input", "encoding"): 0.2,
        ("spectemp", "designed", "encoding"): 0.35,
        ("crepe_tiny", "trained", "rsa"): 0.4,
        ("crepe_tiny", "trained", "layer_weighted"): 0.6,
        ("crepe_tiny", "trained", "bh"): 0.5,  # the mean is preferred
        ("crepe_tiny.permuted", "permuted", "bh"): 0.1,  # there is no other
        ("", "ceiling", "encoding"): 1,
        ("", "ceiling", "rsa"): pytest.approx(0.7),
        ("", "ceiling", "bh"): 1,
    }
    assert set(found.loc[found["model"] == "crepe_tiny.permuted", "network"]) == {"crepe_tiny"}
    ceiling = found[(found["rung"] == "ceiling") & (found["measure"] == "rsa")].iloc[0]
    assert (ceiling["low"], ceiling["high"]) == (0.6, 0.8)


def test_nothing_gives_an_empty_card(table):
    assert report_card.card(table.iloc[:0]).empty
    assert report_card.agreement(report_card.card(table.iloc[:0])).empty


def cards(pairs):
    """Cards of networks with two measures each."""
    rows = [
        {
            "target": "t",
            "model": name,
            "network": name.split(".")[0],
            "rung": "trained",
            "measure": m,
            "value": v,
        }
        for name, values in pairs.items()
        for m, v in zip(("encoding", "bh"), values, strict=True)
    ]
    return pd.DataFrame(rows).assign(low=np.nan, high=np.nan)


def test_agreement_is_the_rank_correlation_with_the_exact_p():
    rng = np.random.default_rng(0)
    pairs = {f"m{i}": rng.normal(size=2) for i in range(6)}
    (row,) = report_card.agreement(cards(pairs)).itertuples()
    x, y = np.array(list(pairs.values())).T
    exact = stats.permutation_test(
        (x,), lambda a: stats.spearmanr(a, y).statistic, permutation_type="pairings", n_resamples=np.inf
    )
    assert row.value == pytest.approx(exact.statistic)
    assert row.p == pytest.approx(np.mean(np.abs(exact.null_distribution) >= abs(exact.statistic) - 1e-9))
    assert row.low < row.value < row.high
    assert (row.n, row.n_networks) == (6, 6)


def test_controls_go_with_their_network_and_few_networks_have_no_interval():
    pairs = {"a": (3, 3), "a.permuted": (1, 1), "a.random": (2, 2), "b": (4, 4)}
    (row,) = report_card.agreement(cards(pairs)).itertuples()
    assert row.value == pytest.approx(1)
    assert np.isnan([row.low, row.high]).all()
    assert row.p == pytest.approx(2 / 24)
    assert (row.n, row.n_networks) == (4, 2)
    quoted = report_card.quotable(report_card.agreement(cards(pairs)))
    assert quoted["name"].tolist() == ["figures/t/agreement/encoding/bh"]


def test_measures_that_do_not_vary_or_are_of_two_models_have_no_agreement():
    assert report_card.agreement(cards({"a": (1, 1), "b": (2, 2)})).empty
    assert report_card.agreement(cards({"a": (1, 1), "b": (2, 1), "c": (3, 1)})).empty


def test_ladder_shows_each_value_on_its_rung(table):
    figure = plt.figure()
    drawing.ladder(report_card.card(table), figure)
    first = figure.axes[0]
    points = {tuple(p) for line in first.lines for p in np.round(line.get_xydata(), 6)}
    assert {(0, 0.2), (1, 0.35), (3, 0.3), (4, 0.9)} <= points
    assert len(figure.axes) == 4
    assert [t.get_text() for t in figure.legends[0].texts] == [
        "CREPE (tiny)",
        "Cochleagram",
        "SpectroTemporal",
    ]
    plt.close(figure)


def test_matrix_shows_each_pair_once():
    figure = plt.figure()
    pairs = {"a": (3, 3), "b": (1, 1), "c": (2, 2)}
    drawing.agreement(report_card.agreement(cards(pairs)), figure)
    assert [t.get_text() for t in figure.axes[0].texts if t.get_text()] == ["1.00\nno interval"]
    # What may be chance has no colour.
    np.testing.assert_array_equal(figure.axes[0].collections[0].get_array().compressed(), [0])
    plt.close(figure)
