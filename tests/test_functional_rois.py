"""Regions: best networks, parts of variance, a reconstructed figure; published numbers agree with themselves."""

import numpy as np
import oracle_maps
import pytest
from scipy import stats

from lib import functional_rois as rois
from lib import rdm_crossvalidation, rdm_regression, rdm_resampling


@pytest.fixture
def rng():
    return np.random.default_rng(13)


@pytest.fixture
def example(rng):
    """Two regions of six subjects over 20 conditions: the first follows `a` and `b`, the second `d`."""
    sets = {name: rng.random((2, 190)) for name in "abcd"}
    rdms = 0.5 * rng.random((6, 2, 190))
    rdms[:, 0] += sets["a"][0] + 0.6 * sets["b"][1]
    rdms[:, 1] += sets["d"].sum(axis=0)
    return rdms, sets


def test_best_networks_are_found(example):
    rdms, sets = example
    best = rois.chosen(rois.scores(rdms, sets, ["V1", "V2"]), 2)
    assert best["V1"] == ["a", "b"]
    assert best["V2"][0] == "d"


def test_parts_of_a_region_sum_to_its_total(example):
    rdms, sets = example
    table = rois.parted(rdms, sets, ["V1", "V2"], chosen={"V1": "abc", "V2": "da"}, n_draws=100)
    for roi, rows in table.groupby("roi"):
        parts = rows[rows["kind"].isin(["unique", "shared"])]
        assert len(parts) == {"V1": 7, "V2": 3}[roi]
        assert parts["value"].sum() == pytest.approx(rows["total"].iloc[0], abs=1e-12)
    unique = table[table["kind"] == "unique"].set_index(["roi", "part"])
    assert unique.loc[("V1", "a"), "p"] == pytest.approx(1.5 / 101)  # BH of two smallest of three
    assert unique.loc[("V1", "c"), "p"] > 0.05
    assert (unique["low"] < unique["value"]).all()
    pairs = table[(table["kind"] == "pair") & (table["roi"] == "V1")].set_index(["part", "second"])
    own = {name: sets[name] for name in "abc"}
    jackknifed = rdm_resampling.jackknife(rdms[:, :1], own, rdm_regression.unique).p_pairs[0]
    expected = stats.false_discovery_control(jackknifed[np.triu_indices(3, 1)])
    np.testing.assert_allclose(pairs["p"], expected)
    assert pairs.loc[("a", "c"), "p"] < 0.01


def test_a_set_alone_explains_its_total(example):
    rdms, sets = example
    table = rois.parted(rdms[:, :1], {"a": sets["a"]}, ["V1"], n_draws=20)
    assert table["kind"].tolist() == ["unique", "single"]
    np.testing.assert_allclose(table["value"], table["total"])


@pytest.mark.reference
@pytest.mark.parametrize("rule", [None, "dwivedi2021"])
def test_published_bars_and_stars_of_a_region_are_reproduced(rule):
    oracle = oracle_maps.arrays()
    _, grouped = oracle_maps.sets(oracle)
    table = rois.parted(
        oracle["roi"][:, None], grouped, ["V1"],
        n_draws=oracle_maps.N_DRAWS, seed=oracle_maps.SEED_ROI, published=rule,
    )  # fmt: skip
    unique = table[table["kind"] == "unique"]
    np.testing.assert_allclose(unique["value"], oracle["vpart_parts_f64"][:3], rtol=0, atol=1e-9)
    half = (unique["high"] - unique["low"]) / 2
    if rule is None:
        assert (half > 3 * oracle["roi_vpart_errorbar_correct_f64"]).all()
        return
    np.testing.assert_allclose(half, oracle["roi_vpart_errorbar_published_f64"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(unique["p"], oracle["roi_vpart_p_bh_f64"], rtol=0, atol=1e-12)
    pairs = table[table["kind"] == "pair"]["p"]
    expected = oracle["roi_vpart_ppair_bh_f64"][np.triu_indices(3, 1)]
    np.testing.assert_allclose(pairs, expected, rtol=0, atol=1e-12)


def test_cross_validated_parts_are_those_of_held_out_subjects(example, rng):
    rdms, sets = example
    sets = {name: sets[name] for name in "ab"}
    folds = rdm_crossvalidation.condition_folds(20, 2, rng)
    table = rois.cross_validated(rdms, sets, ["V1", "V2"], folds)
    found = rdm_crossvalidation.held_out(rdms, sets, folds).mean(axis=0)
    expected = found[:, 2] - found[:, 1], found[:, 2] - found[:, 0], found[:, 2]
    np.testing.assert_allclose(table["value"], np.transpose(expected).ravel())
    assert (table["low"] < table["value"]).all()
    total = table[table["kind"] == "total"].set_index("roi")
    assert total.loc["V1", "low"] > 0


def test_numbers_are_named_for_their_region(example):
    rdms, sets = example
    table = rois.parted(rdms, sets, ["V1", "hV4"], n_draws=20)
    numbers = rois.quotable(table, target="planted").set_index("name")
    assert numbers.loc["rsa/planted/a/unique/v1", "value"] > 0.1
    assert (
        numbers.loc["rsa/planted/all/r2/hv4", "value"] == table.set_index("roi").loc["hV4", "total"].iloc[0]
    )
