"""The study of functional maps: groups, tests, codes of its maps."""

import nibabel
import numpy as np
import oracle_maps
import pytest

from lib import functional_ceilings, functional_maps, plugins, rdm_tests, searchlight, volumes
from lib.datasets import bonner2017


@pytest.fixture
def rng():
    return np.random.default_rng(12)


def test_networks_are_grouped_and_ordered_as_in_the_study():
    about = functional_maps.networks(bonner2017.NETWORKS)
    assert about.groupby("group").size().to_dict() == {"2D": 7, "3D": 8, "semantic": 3, "baseline": 1}
    assert about["order"].tolist() == list(range(19))
    assert functional_maps.networks().equals(about)
    shown = about.sort_values("place")
    assert shown["group"].tolist() == ["2D"] * 7 + ["3D"] * 8 + ["semantic"] * 3 + ["baseline"]
    assert shown["label"].iloc[[0, 7, 15, 17, 18]].tolist() == [
        "autoencoding", "3D edges", "object class", "semantic segm", "random",
    ]  # fmt: skip
    other = next(n for n in plugins.names("model") if "TASK" not in plugins.about("model", n))
    with pytest.raises(ValueError, match=f"without a task: {other}"):
        functional_maps.networks([other], prefix="")


def test_groups_are_means_without_the_baseline(rng):
    about = functional_maps.networks(bonner2017.NETWORKS)
    sets = {name: rng.random((2, 66)) for name in bonner2017.NETWORKS}
    found = functional_maps.grouped(sets, about)
    assert list(found) == ["2D", "3D", "semantic"]
    semantic = [sets[name] for name in ("class_1000", "class_places", "segmentsemantic")]
    np.testing.assert_allclose(found["semantic"], np.mean(semantic, axis=0))


@pytest.fixture
def oracle():
    return oracle_maps.arrays()


def published(oracle, analysis):
    _, orders = rdm_tests.published_draws(
        50, oracle_maps.N_DRAWS, seed=oracle_maps.SEED_SEARCHLIGHT, subsamples=False
    )
    return functional_maps.searchlights(
        oracle["sls"].mean(axis=0), analysis, orders,
        lower_ceiling=oracle["sl_ceiling_lower"], published="dwivedi2021",
    )  # fmt: skip


@pytest.mark.reference
def test_published_map_of_groups_is_reproduced(oracle):
    _, grouped = oracle_maps.sets(oracle)
    found = published(oracle, functional_maps.partitioned(grouped))
    close = {"rtol": 0, "atol": oracle_maps.TOLERANCE["p"]}
    np.testing.assert_allclose(found.p.T, oracle["sl_vpart_p_final_f64"], **close)
    np.testing.assert_allclose(found.p_winner, oracle["sl_vpart_winnerpair_p_final_f64"], **close)
    ceiling = oracle["sl_ceiling_lower"]
    codes = functional_maps.codes(
        found.statistic, list("ABC"), found.p, ceiling, order=list("ABC"), p_winner=found.p_winner
    )
    np.testing.assert_array_equal(codes, oracle["sl_group_codes_f64"])
    blocks = searchlight.blocks(oracle["mask"])
    mask = nibabel.Nifti1Image(oracle["mask"], np.eye(4))
    volume = volumes.from_blocks(codes, *blocks, mask, published="dwivedi2021")
    np.testing.assert_array_equal(volume.get_fdata(), oracle["sl_group_volume_f64"])


@pytest.mark.reference
def test_published_parts_of_searchlights_are_reproduced(oracle):
    _, grouped = oracle_maps.sets(oracle)
    prepared, _ = functional_maps.partitioned(grouped)
    r2 = functional_maps.rdm_regression.adjusted_r2(prepared, oracle["sls"].mean(axis=0))
    parts = list(functional_maps.rdm_regression.parts(prepared, r2).values())
    np.testing.assert_allclose(parts, oracle["sl_vpart_parts_f64"], rtol=0, atol=oracle_maps.TOLERANCE["f64"])
    np.testing.assert_allclose(
        r2[:, -1], oracle["sl_vpart_total_f64"], rtol=0, atol=oracle_maps.TOLERANCE["f64"]
    )


@pytest.mark.reference
def test_published_map_of_networks_is_reproduced(oracle):
    about = functional_maps.networks(bonner2017.NETWORKS)
    order = about.sort_values("place")["network"].tolist()
    codes = functional_maps.codes(
        oracle["ind_s"].T, bonner2017.NETWORKS, oracle["ind_p"].T, oracle["ind_lnc"], order=order
    )
    np.testing.assert_array_equal(codes, oracle["ind_codes"])
    single, _ = oracle_maps.sets(oracle)
    found = published(oracle, functional_maps.individual(single))
    np.testing.assert_allclose(
        found.p.T, oracle["sl_single_p_final_f64"], rtol=0, atol=oracle_maps.TOLERANCE["p"]
    )


@pytest.mark.reference
def test_published_ceilings_are_reproduced(oracle):
    bounds = np.array([functional_ceilings.ceilings(oracle["sls"][:, k]) for k in range(9)]).T
    close = {"rtol": 0, "atol": oracle_maps.TOLERANCE["ceiling"]}
    np.testing.assert_allclose(bounds, [oracle["sl_ceiling_lower"], oracle["sl_ceiling_upper"]], **close)
    bounds = functional_ceilings.ceilings(oracle["roi"])
    np.testing.assert_allclose(bounds, [oracle["roi_ceiling_lower"], oracle["roi_ceiling_upper"]], **close)


def test_condition_permutations_find_planted_searchlights(rng):
    sets = {name: rng.random((2, 190)) for name in "ABC"}
    rdms = rng.random((12, 190))
    rdms[:3] += 2 * sets["A"][0]
    rdms[3] = np.nan
    orders = rdm_tests.orders([rng.permutation(20) for _ in range(200)])
    ceiling = np.where(np.arange(12) < 4, 0.5, 0.01)
    found = functional_maps.searchlights(
        rdms, functional_maps.partitioned(sets), orders, lower_ceiling=ceiling
    )
    codes = functional_maps.codes(
        found.statistic, list("ABC"), found.p, ceiling, order=list("ABC"), p_winner=found.p_winner
    )
    assert codes[:3].tolist() == [-0.25] * 3
    assert np.isnan(codes[3])
    assert (codes[4:] == -0.75).all()  # below the ceiling
    assert (found.p_family[:3, 0] < 0.05).all()
    assert found.p_family[4:].min() > 0.01


def test_places_are_grey_for_each_reason_that_was_published():
    statistic = np.tile([0.1, 0.3, 0.2], (6, 1))
    p, ceiling, p_winner = np.full((6, 3), 0.01), np.full(6, 0.033), np.full(6, 0.05)
    p[1, 1], p[2, [0, 2]] = 0.051, 0.9  # the winner's own p counts, not that of others
    ceiling[3], p_winner[4], p_winner[5] = 0.0329, 0.051, np.nan
    names = list("ABC")
    single = functional_maps.codes(statistic, names, p, ceiling, order=["B", "A", "C"])
    assert single.tolist() == [-8, -9, -8, -9, -8, -8]
    grouped = functional_maps.codes(statistic, names, p, ceiling, order=names, p_winner=p_winner)
    assert grouped.tolist() == [0.25, -0.75, 0.25, -0.75, -0.75, -0.75]


def test_ceilings_at_the_threshold_are_not_corrected_again(rng):
    sets = {name: rng.random((2, 66)) for name in "AB"}
    rdms, orders = (
        rng.random((5, 66)),
        rdm_tests.orders([rng.permutation(12) for _ in range(40)]),
    )
    ceiling = np.array([0.033, 0.034, 0.5, 0.5, 0.01])
    test = rdm_tests.permutation_test(functional_maps.individual(sets)[0], rdms, orders)
    once, _ = rdm_tests.within_units(test.p, test.p_pairs)
    found = functional_maps.searchlights(
        rdms, functional_maps.individual(sets), orders, lower_ceiling=ceiling
    )
    np.testing.assert_array_equal(found.p[[0, 4]], once[[0, 4]])
    np.testing.assert_allclose(found.p[1:4], rdm_tests.benjamini_hochberg(once[1:4], axis=0))


def test_t_tests_do_not_leave_the_map_of_groups_grey(rng):
    sets = {name: rng.random((2, 190)) for name in "ABC"}
    rdms = rng.random((10, 5, 190)) + 2 * sets["B"][1]
    rdms[:, 4] = 0.5
    analysis, ceiling = functional_maps.partitioned(sets), np.full(5, 0.5)
    for rule in (None, "dwivedi2021"):
        found = functional_maps.searchlights_by_subject(rdms, analysis, lower_ceiling=ceiling, published=rule)
        assert (found.p_winner[:4] < 0.01).all()
        codes = functional_maps.codes(
            found.statistic, list("ABC"), found.p, ceiling, order=list("ABC"), p_winner=found.p_winner
        )
        assert codes[:4].tolist() == [0.25] * 4
        assert np.isnan(codes[4])
        assert np.isfinite(found.p[4]).all() == (rule is not None)


def test_best_three_are_ordered_as_published():
    assert functional_maps.top(np.array([0.2, 0.5, np.nan, 0.5, 0.1])).tolist() == [3, 1, 0]
