import numpy as np
import pytest
import xarray as xr

from lib import decoding_accuracy, reliability


def test_identification_is_the_share_of_pairs_by_brute_force():
    rng = np.random.default_rng(0)
    true = rng.standard_normal((9, 30))
    decoded = 0.3 * true + rng.standard_normal((9, 30))
    pattern, share = decoding_accuracy.patterns(true, decoded)
    for i in range(9):
        own = np.corrcoef(decoded[i], true[i])[0, 1]
        wins = [own > np.corrcoef(decoded[i], true[j])[0, 1] for j in range(9) if j != i]
        assert pattern[i] == pytest.approx(own, abs=1e-12)
        assert share[i] == pytest.approx(np.mean(wins), abs=1e-12)


def test_identification_by_chance_is_a_half_and_by_right_patterns_1():
    rng = np.random.default_rng(1)
    true, unrelated = rng.standard_normal((2, 200, 40))
    _, share = decoding_accuracy.patterns(true, unrelated)
    # Of one stimulus it is uniform on 0 … 1, variance 1 / 12; four standard errors.
    assert abs(share.mean() - 0.5) < 4 * np.sqrt(1 / 12 / 200)
    np.testing.assert_array_equal(decoding_accuracy.patterns(true, 2 * true + 5)[1], 1)
    np.testing.assert_array_equal(decoding_accuracy.patterns(true, -true)[1], 0)


def test_equal_patterns_count_half():
    rng = np.random.default_rng(2)
    true = np.repeat(rng.standard_normal((1, 20)), 5, axis=0)
    np.testing.assert_array_equal(decoding_accuracy.patterns(true, rng.standard_normal((5, 20)))[1], 0.5)


def test_units_without_values_and_stimuli_not_shown_are_left_out():
    rng = np.random.default_rng(3)
    true = rng.standard_normal((6, 12))
    decoded = true + rng.standard_normal((6, 12))
    expected = decoding_accuracy.patterns(true[:5, :11], decoded[:5, :11])
    decoded[:, 11], decoded[5] = np.nan, np.nan
    found = decoding_accuracy.patterns(true, decoded)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours[:5], theirs, atol=1e-14)
        assert np.isnan(ours[5])
    r = decoding_accuracy.profile(true, decoded)
    assert r[3] == pytest.approx(np.corrcoef(true[:5, 3], decoded[:5, 3])[0, 1], abs=1e-12)
    assert np.isnan(r[11])


def test_a_pattern_that_does_not_vary_is_undefined():
    true = np.random.default_rng(4).standard_normal((4, 8))
    decoded = true.copy()
    decoded[1] = 0.3
    pattern, share = decoding_accuracy.patterns(true, decoded)
    assert np.isnan([pattern[1], share[1]]).all()
    assert np.isfinite(pattern[[0, 2, 3]]).all()


def test_reliability_is_spearman_brown_of_all_halves():
    rng = np.random.default_rng(5)
    signal = rng.standard_normal((400, 30))
    repeats = signal + 1.5 * rng.standard_normal((4, 400, 30))
    ours = decoding_accuracy.signal_share(repeats)
    halves = []
    for first in ([0, 1], [0, 2], [0, 3]):
        rest = [i for i in range(4) if i not in first]
        a, b = repeats[first].mean(axis=0), repeats[rest].mean(axis=0)
        r = np.array([np.corrcoef(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)])
        halves.append(reliability.spearman_brown(r, 2))
    # Both estimate 1 / (1 + 2.25 / 4) from the same data; they differ by terms of the order of 1 / n.
    np.testing.assert_allclose(ours, np.mean(halves, axis=0), atol=4 / 400)
    # The standard error of a reliability over 400 stimuli is below .02, of the mean of 30 below .004.
    assert ours.mean() == pytest.approx(1 / (1 + 2.25 / 4), abs=0.012)
    assert np.isnan(decoding_accuracy.signal_share(repeats[:1])).all()


@pytest.mark.parametrize("n_repeats", [2, 8])
def test_corrected_accuracy_is_that_without_noise_whatever_the_number_of_repeats(n_repeats):
    # Decoded = .6 true + .8 other + noise / √k: without noise it correlates .6 with the true feature.
    rng = np.random.default_rng(6)
    true, other = rng.standard_normal((2, 300, 200))
    repeats = 0.6 * true + 0.8 * other + 1.2 * rng.standard_normal((n_repeats, 300, 200))
    r = decoding_accuracy.profile(true, repeats.mean(axis=0))
    found = decoding_accuracy.corrected(r, decoding_accuracy.signal_share(repeats))
    assert r.mean() < 0.6 / np.sqrt(1 + 1.44 / n_repeats) + 0.02
    # Four standard errors of the mean of 200 correlations of 300 stimuli, inflated by the correction.
    assert found.mean() == pytest.approx(0.6, abs=4 * 1.4 / np.sqrt(300 * 200))


def test_what_cannot_be_corrected_is_undefined_and_nothing_is_clipped():
    found = decoding_accuracy.corrected(
        np.array([0.5, 0.9, -0.3, 0.5, np.nan]), [0.25, 0.64, 0.09, -0.1, 0.5]
    )
    np.testing.assert_allclose(found[:3], [1, 1.125, -1])
    assert np.isnan(found[3:]).all()


@pytest.fixture
def decoded():
    """Accuracies of two layers, two subjects and two regions, with one region missing."""
    rng = np.random.default_rng(7)
    accuracy = rng.uniform(-0.1, 0.9, (1, 2, 2, 6)).astype("f4")
    accuracy[0, 1, 1], accuracy[0, 0, 0, 2] = np.nan, np.nan
    share = rng.uniform(0.3, 0.9, accuracy.shape)
    share[0, 0, 0, 4] = -0.1
    cells, known = ("split", "subject", "roi"), np.array([[[9, 8], [7, np.nan]]])
    both = rng.uniform(0.4, 1, (2, 1, 2, 2, 2, 4))
    both[:, 0, 1, 1] = np.nan
    return xr.Dataset(
        {
            "accuracy": ((*cells, "unit"), accuracy),
            "reliability": ((*cells, "unit"), np.where(np.isnan(accuracy), np.nan, share)),
            "corrected": ((*cells, "unit"), decoding_accuracy.corrected(accuracy, share)),
            "pattern": ((*cells, "layer_name", "stimulus"), both[0]),
            "identification": ((*cells, "layer_name", "stimulus"), both[1]),
            "n_voxels": (cells, known),
            "n_constant": (cells, np.where(np.isnan(known), np.nan, 1)),
            "n_missing": (cells, 0 * known),
        },
        coords={
            "subject": ["a", "b"], "roi": ["low", "high"], "split": [0], "layer_name": ["x", "y"],
            "layer": ("unit", ["x"] * 3 + ["y"] * 3),
        },
        attrs={"n_test": 50},
    )  # fmt: skip


def test_units_are_averaged_within_subjects_and_subjects_are_sampled(decoded):
    table = decoding_accuracy.summary(decoded).set_index(["quantity", "layer", "roi"])
    row = table.loc[("accuracy", "x", "low")]
    values = decoded["accuracy"].values[0]
    each = [np.nanmean(values[0, 0, :3]), values[1, 0, :3].mean()]
    assert row["value"] == pytest.approx(np.mean(each), rel=1e-6)
    assert (row["n"], row["unit"]) == (2, "subject")
    # Student's t with one degree of freedom: 12.706 standard errors.
    half = 12.7062 * np.std(each, ddof=1) / np.sqrt(2)
    assert row["high"] - row["value"] == pytest.approx(half, rel=1e-4)
    alone = table.loc[("accuracy", "y", "high")]
    assert alone["n"] == 1
    assert np.isnan([alone["low"], alone["high"]]).all()
    assert set(table.index.get_level_values("quantity")) == set(decoding_accuracy.QUANTITIES)


def test_corrected_mean_is_a_ratio_of_means(decoded):
    table = decoding_accuracy.by_subject(decoded).set_index(["layer", "roi", "subject"])
    r, share = (decoded[name].values[0, 0, 0] for name in ("accuracy", "reliability"))
    assert table.loc[("y", "low", "a"), "corrected"] == pytest.approx(
        r[[3, 5]].sum() / np.sqrt(share[[3, 5]]).sum(), rel=1e-6
    )


def test_significant_units_are_counted_at_a_false_discovery_rate():
    r = np.array([0.9, 0.30, 0.29, 0.1, -0.9, np.nan])
    # p of .30 and .29 at n = 50 are .034 and .041; among five tests they are below .05 only uncorrected.
    assert decoding_accuracy._significant(r, n=50) == pytest.approx(1 / 5)
    assert np.isnan(decoding_accuracy._significant(np.full(3, np.nan), n=50))


def test_everything_odd_is_counted(decoded):
    table = decoding_accuracy.counts(decoded).set_index("quantity")
    accuracy = decoded["accuracy"].values
    assert table.loc["undefined", ["count", "of"]].tolist() == [1, 18]
    assert table.loc["undefined_corrected", ["count", "of"]].tolist() == [1, 17]
    assert table.loc["constant_voxels", ["count", "of"]].tolist() == [3, 24]
    assert table.loc["missing_voxels", "count"] == 0
    assert table.loc["significant", "count"] == (accuracy > 0.278711).sum()
    assert (
        table.loc["significant_published", "count"] == ((accuracy > 0.304699) & (accuracy < 0.952449)).sum()
    )
    assert table.loc["above_1", "count"] == (decoded["corrected"].values > 1).sum()


def test_of_two_test_stimuli_nothing_is_significant(decoded):
    table = decoding_accuracy.counts(decoded.assign_attrs(n_test=2)).set_index("quantity")
    assert table.loc[["significant", "significant_published"], "count"].tolist() == [0, 0]
    assert table.loc["undefined", ["count", "of"]].tolist() == [1, 18]


def test_numbers_are_named_by_target_model_quantity_layer_and_region(decoded):
    table = decoding_accuracy.summary(decoded).assign(target="Small", model="toy")
    rows = decoding_accuracy.quotable(table)
    assert rows["name"].is_unique
    assert "decode/small/toy/identification/y/high" in rows["name"].tolist()
    assert list(rows.columns) == ["name", "value", "low", "high", "n", "unit", "what"]
