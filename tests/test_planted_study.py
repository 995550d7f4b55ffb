"""A planted functional-map study has the answer that was planted."""

import numpy as np
import pytest

from lib import functional_maps, functional_rois, planted_study, rdm_tests, searchlight, searchlight_rdms


@pytest.fixture(scope="module")
def study():
    return planted_study.study(n_subjects=4, resolution=6)


@pytest.fixture(scope="module")
def sets(study):
    rdm = study[0]["taskonomy_rdm"]
    i, j = searchlight.pairs(rdm.sizes["stimulus"])
    return dict(zip(rdm["network"].values.tolist(), rdm.values[..., i, j], strict=True))


def test_it_has_the_form_of_the_released_study(study):
    responses, found, mask = study
    assert responses["rdm"].dims == ("repeat", "subject", "roi", "stimulus", "stimulus_2")
    assert responses["taskonomy_rdm"].sizes["network"] == 19
    assert tuple(responses["roi"].values) == functional_rois.SHOWN
    values = responses["rdm"].values
    np.testing.assert_array_equal(values, values.swapaxes(-1, -2))
    corners, sizes = searchlight.blocks(np.asarray(mask.dataobj))
    np.testing.assert_array_equal(found["corner"], corners)
    np.testing.assert_array_equal(found["size"], sizes)
    assert found["rdm"].dtype == np.float32


def test_searchlights_can_be_stored_and_streamed(study, tmp_path):
    study[1].to_netcdf(tmp_path / "searchlights.nc", engine="h5netcdf")
    batches = list(searchlight_rdms.stored(tmp_path / "searchlights.nc"))
    rdms = np.concatenate([batch.rdm for batch in batches], axis=1)
    np.testing.assert_array_equal(rdms, study[1]["rdm"])
    mean = searchlight.average(tmp_path / "searchlights.nc")
    np.testing.assert_allclose(mean, rdms.mean(axis=0), atol=1e-6)


def test_planted_networks_explain_their_regions_best(study, sets):
    responses = study[0]
    i, j = searchlight.pairs(50)
    scores = functional_rois.scores(responses["rdm"].values[0][..., i, j], sets, responses["roi"].values)
    best = functional_rois.chosen(scores, 1)
    # The first of each region, or the second, which nearly as many voxels read out.
    hits = [best[roi][0] in responses["true_network"].sel(roi=roi).values[:2] for roi in best]
    assert all(hits), best


def test_the_map_of_groups_is_that_of_the_planted_regions(study, sets):
    responses, found, _ = study
    about = functional_maps.networks(responses["network"].values)
    groups = functional_maps.grouped(sets, about)
    rng = np.random.default_rng(0)
    orders = rdm_tests.orders([rng.permutation(50) for _ in range(200)])
    ceiling = found["lower_ceiling"].values
    maps = functional_maps.searchlights(
        found["rdm"].values.astype(float).mean(axis=0),
        functional_maps.partitioned(groups),
        orders,
        lower_ceiling=ceiling,
    )
    codes = functional_maps.codes(
        maps.statistic, list(groups), maps.p, ceiling, order=list(groups), p_winner=maps.p_winner
    )
    group = about.set_index("network")["group"]
    first = {roi: group[study[0]["true_network"].sel(roi=roi).values[0]] for roi in responses["roi"].values}
    true = np.array([first.get(roi, "") for roi in found["true_roi"].values])
    named = np.select([codes == -0.25, codes == 0.25, codes == 0.75], functional_maps.GROUPS, "")
    shown = (named != "") & (true != "")
    assert shown.sum() > 30
    assert (named[shown] == true[shown]).mean() > 0.85
    assert (named[true == ""] != "").mean() < 0.15  # neighbours of regions, mostly
