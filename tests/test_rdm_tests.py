"""Permutation tests, corrections and t tests of regressions on RDMs."""

import numpy as np
import oracle_maps
import pytest
from scipy import stats
from scipy.spatial.distance import squareform

from lib import rdm_regression as regression
from lib import rdm_tests


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def test_orders_permute_rows_and_columns(rng):
    rdm = squareform(rng.random(66))
    permutations = np.array([rng.permutation(12) for _ in range(5)])
    for permutation, order in zip(permutations, rdm_tests.orders(permutations), strict=True):
        np.testing.assert_array_equal(
            squareform(rdm)[order], squareform(rdm[np.ix_(permutation, permutation)])
        )


@pytest.mark.reference
def test_published_draws_are_those_of_the_scripts():
    oracle = oracle_maps.arrays()
    subsets, orders = rdm_tests.published_draws(50, oracle_maps.N_DRAWS, seed=oracle_maps.SEED_ROI)
    np.testing.assert_array_equal(subsets[:3], oracle["boot_indices_first3"])
    np.testing.assert_array_equal(orders[:2], oracle["perm_indices_first2_roi"])
    assert rdm_tests.published_draws(50, 2, seed=1, subsamples=False)[0].shape == (0, 45)


@pytest.mark.reference
@pytest.mark.parametrize("analysis", ["single", "vpart"])
def test_published_p_of_a_region_are_reproduced(analysis):
    oracle = oracle_maps.arrays()
    test = published(
        oracle, analysis, oracle["roi"].mean(axis=0)[None], oracle_maps.SEED_ROI, subsamples=True
    )
    corrected = rdm_tests.within_units(test.p, test.p_pairs)
    found = {"p_raw": test.p, "ppair_raw": test.p_pairs, "p_bh": corrected[0], "ppair_bh": corrected[1]}
    for name, values in found.items():
        expected = oracle[f"roi_{analysis}_{name}_f64"]
        np.testing.assert_allclose(values[0], expected, rtol=0, atol=oracle_maps.TOLERANCE["p"], err_msg=name)


@pytest.mark.reference
@pytest.mark.parametrize("analysis", ["single", "vpart"])
def test_published_p_of_searchlights_are_reproduced(analysis):
    oracle = oracle_maps.arrays()
    seed = oracle_maps.SEED_SEARCHLIGHT
    test = published(oracle, analysis, oracle["sls"].mean(axis=0), seed, subsamples=False)
    p, p_pairs = rdm_tests.within_units(test.p, test.p_pairs)
    final = rdm_tests.across_units(p, oracle["sl_ceiling_lower"] > 0.033)
    close = {"rtol": 0, "atol": oracle_maps.TOLERANCE["f64"]}
    np.testing.assert_allclose(test.statistic.T, oracle[f"sl_{analysis}_stat_f64"], **close)
    close["atol"] = oracle_maps.TOLERANCE["p"]
    np.testing.assert_allclose(p.T, oracle[f"sl_{analysis}_p_unit_bh_f64"], **close)
    np.testing.assert_allclose(
        np.moveaxis(p_pairs, 0, -1), oracle[f"sl_{analysis}_ppair_unit_bh_f64"], **close
    )
    np.testing.assert_allclose(final.T, oracle[f"sl_{analysis}_p_final_f64"], **close)


def published(oracle, analysis, rdms, seed, *, subsamples):
    """The published test of single networks or of groups."""
    single, grouped = oracle_maps.sets(oracle)
    _, orders = rdm_tests.published_draws(50, oracle_maps.N_DRAWS, seed=seed, subsamples=subsamples)
    if analysis == "vpart":
        prepared, statistic = regression.design(grouped), regression.unique
    else:
        prepared, statistic = regression.design(single, regression.singles(single)), None
    return rdm_tests.permutation_test(prepared, rdms, orders, statistic=statistic, published="dwivedi2021")


@pytest.mark.reference
@pytest.mark.parametrize("analysis", ["single", "vpart"])
def test_published_t_tests_are_reproduced(analysis):
    oracle = oracle_maps.arrays()
    single, grouped = oracle_maps.sets(oracle)
    prepared = regression.design(
        *((grouped,) if analysis == "vpart" else (single, regression.singles(single)))
    )
    r2 = regression.adjusted_r2(prepared, oracle["roi"][:, None])
    values = regression.unique(prepared, r2) if analysis == "vpart" else regression.score(r2)
    p, p_pairs = rdm_tests.within_units(*rdm_tests.t_tests(values, published="dwivedi2021"))
    found = {"mean": values.mean(axis=0), "errorbar": values.std(axis=0), "p": p, "ppair": p_pairs}
    for name, value in found.items():
        # Variances of statistics that agree to 1e-14 or so; p of strong effects are far below 1e-9.
        np.testing.assert_allclose(value[0], oracle[f"ttest_roi_{analysis}_{name}"], rtol=1e-9, atol=1e-12)


def test_p_equals_that_of_refitting(rng):
    sets, rdms = {name: rng.random((2, 66)) for name in "ab"}, rng.random((3, 66))
    rdms += 0.4 * sets["a"][0]
    orders = rdm_tests.orders([rng.permutation(12) for _ in range(60)])
    prepared = regression.design(sets)
    found = rdm_tests.permutation_test(prepared, rdms, orders, statistic=regression.unique)
    null = np.array(
        [regression.unique(prepared, regression.adjusted_r2(prepared, rdms[:, order])) for order in orders]
    )
    true = regression.unique(prepared, regression.adjusted_r2(prepared, rdms))
    np.testing.assert_allclose(found.p, (1 + (null >= true).sum(axis=0)) / 61)
    np.testing.assert_allclose(
        found.p_family, (1 + (null.max(axis=(1, 2))[:, None, None] >= true).sum(axis=0)) / 61
    )
    difference, true = null[..., 0] - null[..., 1], true[:, 0] - true[:, 1]
    reached = np.where(true > 0, difference >= true, difference <= true).sum(axis=0)
    np.testing.assert_allclose(found.p_pairs[:, 0, 1], (1 + reached) / 61)
    np.testing.assert_allclose(found.p_pairs[:, 0, 0], 1)


def test_pairs_can_be_left_out(rng):
    prepared, rdms = regression.design({name: rng.random((2, 66)) for name in "ab"}), rng.random((3, 66))
    orders = rdm_tests.orders([rng.permutation(12) for _ in range(15)])
    whole = rdm_tests.permutation_test(prepared, rdms, orders)
    found = rdm_tests.permutation_test(prepared, rdms, orders, pairs=False)
    np.testing.assert_array_equal(found.p, whole.p)
    assert np.isnan(found.p_pairs).all()


def test_smallest_p_and_p_of_nothing(rng):
    sets = {"a": rng.random((1, 190)), "b": rng.random((4, 190))}
    y = np.stack([sets["a"][0] + 1e-3 * rng.random(190), np.full(190, np.nan)])
    orders = np.array([rng.permutation(190) for _ in range(50)])
    prepared = regression.design(sets, regression.singles(sets))
    found = rdm_tests.permutation_test(prepared, y, orders)
    assert found.p[0, 0] == 1 / 51
    # A score that is clipped to 0 is reached by every permutation.
    assert found.statistic[0, 1] > 0 or found.p[0, 1] == 1
    assert np.isnan(found.p[1]).all()
    assert np.isnan(found.p_pairs[1]).all()
    assert np.isnan(found.p_family[1]).all()


def test_equal_models_do_not_differ_except_in_the_published_test(rng):
    one = rng.random((2, 66))
    prepared = regression.design({"a": one, "b": one}, [["a"], ["b"]])
    orders = rdm_tests.orders([rng.permutation(12) for _ in range(20)])
    y = rng.random((1, 66))
    assert rdm_tests.permutation_test(prepared, y, orders).p_pairs[0, 0, 1] == 1
    published = rdm_tests.permutation_test(prepared, y, orders, published="dwivedi2021")
    assert published.p_pairs[0, 0, 1] == 1 / 21


def test_pieces_do_not_matter(rng, monkeypatch):
    prepared, rdms = regression.design({name: rng.random((2, 66)) for name in "ab"}), rng.random((3, 66))
    orders = rdm_tests.orders([rng.permutation(12) for _ in range(25)])
    whole = rdm_tests.permutation_test(prepared, rdms, orders, statistic=regression.unique)
    monkeypatch.setattr(rdm_tests, "PIECE_BYTES", 1)
    pieces = rdm_tests.permutation_test(prepared, rdms, orders, statistic=regression.unique)
    for a, b in zip(whole, pieces, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_benjamini_hochberg_leaves_out_what_was_not_tested():
    np.testing.assert_allclose(rdm_tests.benjamini_hochberg([0.01, 0.02, 0.03]), [0.03] * 3)
    found = rdm_tests.benjamini_hochberg([[0.01, np.nan, 0.02, 0.03], [np.nan] * 4])
    np.testing.assert_allclose(found, [[0.03, np.nan, 0.03, 0.03], [np.nan] * 4])
    p = np.random.default_rng(0).random((3, 7))
    expected = [stats.false_discovery_control(row) for row in p]
    np.testing.assert_allclose(rdm_tests.benjamini_hochberg(p), expected)
    np.testing.assert_allclose(rdm_tests.benjamini_hochberg(p.T, axis=0), np.transpose(expected))


def test_units_that_are_left_out_keep_their_p():
    p = np.array([[0.01, 0.5], [0.02, 0.6], [0.03, 0.7]])
    found = rdm_tests.across_units(p, np.array([True, False, True]))
    np.testing.assert_allclose(found, [[0.02, 0.7], [0.02, 0.6], [0.03, 0.7]])


def test_paired_t_test_is_that_of_scipy_and_sharper_than_the_published(rng):
    values = rng.normal(size=(12, 2, 3)) * 0.1 + rng.normal(size=(12, 1, 1)) + [0, 0.1, 0.2]
    p, p_pairs = rdm_tests.t_tests(values)
    np.testing.assert_allclose(p, stats.ttest_1samp(values, 0).pvalue)
    np.testing.assert_allclose(p_pairs[:, 0, 2], stats.ttest_rel(values[..., 0], values[..., 2]).pvalue)
    np.testing.assert_allclose(p_pairs, p_pairs.swapaxes(1, 2))
    published = rdm_tests.t_tests(values, published="dwivedi2021")[1]
    assert (published[:, 0, 2] > p_pairs[:, 0, 2]).all()


def test_entry_permutations_reject_too_often_and_condition_permutations_do_not():
    rng, n, n_permutations = np.random.default_rng(5), 16, 99
    rejected = np.zeros(2)
    n_simulated = 120
    for _ in range(n_simulated):
        # RDMs of unrelated patterns of few dimensions: entries that share a condition are far from independent.
        model, brain = (np.array([squareform(distances(rng.normal(size=(n, 2))))]) for _ in range(2))
        prepared = regression.design({"a": model})
        conditions = rdm_tests.orders([rng.permutation(n) for _ in range(n_permutations)])
        entries = np.array([rng.permutation(n * (n - 1) // 2) for _ in range(n_permutations)])
        for k, orders in enumerate((conditions, entries)):
            p = rdm_tests.permutation_test(prepared, brain, orders, statistic=lambda _, r2: r2).p
            rejected[k] += p[0, 0] <= 0.05
    low, high = stats.binom.interval(0.999, n_simulated, 0.05)
    assert low <= rejected[0] <= high
    assert rejected[1] > high


def distances(places):
    return np.linalg.norm(places[:, None] - places, axis=-1)
