import numpy as np
import pytest
import regions
import xarray as xr

from lib import presentations


@pytest.fixture
def responses(tmp_path):
    return regions.case(tmp_path)[1]


def all_train(responses):
    return np.ones(responses.sizes["stimulus"], bool)


def test_every_presentation_is_a_sample_and_test_stimuli_are_averaged(responses):
    voxels = np.array([2, 5, 11])
    found = presentations.samples(responses, voxels, all_train(responses))
    single = responses["response"].values[..., voxels]
    flat = single.reshape(-1, 3)
    np.testing.assert_array_equal(found.rows, np.tile(np.arange(40), 3))
    expected = (flat - flat.mean(axis=0)) / flat.std(axis=0, ddof=1)
    np.testing.assert_allclose(found.X, expected, rtol=1e-12)
    test = responses["test_response"].values[..., voxels]
    scaled = (test - flat.mean(axis=0)) / flat.std(axis=0, ddof=1)
    np.testing.assert_allclose(found.repeats, scaled, rtol=1e-12)
    np.testing.assert_allclose(found.test, scaled.mean(axis=0), rtol=1e-10, atol=1e-12)
    assert (found.n_constant, found.n_missing) == (0, 0)


def test_published_values_are_rounded_to_single_precision_by_rounded_parameters(responses):
    voxels = np.arange(4)
    found = presentations.samples(responses, voxels, all_train(responses), published="nonaka2021")
    flat = responses["response"].values[..., voxels].reshape(-1, 4)
    mean, deviation = flat.mean(axis=0), flat.std(axis=0, ddof=1)
    np.testing.assert_array_equal(found.X, ((flat - mean) / deviation).astype(np.float32))
    means = responses["test_response"].values[..., voxels].sum(axis=0) / 3
    expected = ((means - mean.astype(np.float32)) / deviation.astype(np.float32)).astype(np.float32)
    np.testing.assert_array_equal(found.test, expected)
    ours = presentations.samples(responses, voxels, all_train(responses))
    difference = abs(found.X - ours.X).max()
    assert 0 < difference < 2**-23 * abs(ours.X).max()


def test_presentations_that_were_not_given_are_left_out(responses):
    # The first subject (voxels 0 to 20) missed stimulus 4 in the second repeat, and stimulus 7 altogether.
    values = responses["response"].values.copy()
    values[1, 4, :21], values[:, 7, :21] = np.nan, np.nan
    test = responses["test_response"].values.copy()
    test[2, 3, :21], test[:, 5, :21] = np.nan, np.nan
    partial = responses.assign(
        response=(responses["response"].dims, values), test_response=(responses["test_response"].dims, test)
    )
    found = presentations.samples(partial, np.arange(7), all_train(responses))
    assert len(found.X) == 120 - 4
    np.testing.assert_array_equal(np.bincount(found.rows), [*[3] * 4, 2, 3, 3, 0, *[3] * 32])
    assert np.isfinite(found.X).all()
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found.test).all(axis=1)), [5])
    # A repeat less in the mean of stimulus 3.
    np.testing.assert_allclose(found.test[3], found.repeats[:2, 3].mean(axis=0), rtol=1e-9)
    other = presentations.samples(partial, np.arange(21, 28), all_train(responses))
    assert len(other.X) == 120


def test_voxels_that_do_not_vary_or_lack_a_value_are_left_out_and_counted(responses):
    values = responses["response"].values.copy()
    values[..., 1] = 0.1
    values[2, 3, 4] = np.nan
    odd = responses.assign(response=(responses["response"].dims, values))
    found = presentations.samples(odd, np.arange(7), all_train(responses))
    np.testing.assert_array_equal(found.kept, [0, 2, 3, 5, 6])
    assert (found.n_constant, found.n_missing) == (1, 1)
    assert found.test.shape[1] == found.repeats.shape[2] == 5
    # As published they stay, and are not finite.
    kept = presentations.samples(odd, np.arange(7), all_train(responses), published="nonaka2021")
    assert (kept.n_constant, kept.n_missing) == (1, 1)
    assert np.isnan(kept.X[:, 4]).all()
    assert kept.X.shape[1] == 7


def test_nothing_to_decode_from_is_said(responses):
    values = np.ones_like(responses["response"].values)
    flat = responses.assign(response=(responses["response"].dims, values))
    with pytest.raises(ValueError, match=r"of 3 voxels, first \['v002'\], 3 do not vary over 120"):
        presentations.samples(flat, np.array([2, 3, 4]), all_train(responses))
    with pytest.raises(ValueError, match="nonaka2021"):
        presentations.samples(responses, np.arange(3), all_train(responses), published="nonaka")


def test_test_stimuli_of_splits_are_those_that_do_not_train(responses):
    parted = regions.halves(responses)
    plan = presentations.plan(parted, 2)
    assert plan.splits == [3, 5]
    assert plan.n_test == 20
    for split in (0, 1):
        train = parted["train"].values[split]
        found = presentations.samples(parted, np.arange(7), train)
        assert len(found.X) == 3 * train.sum()
        np.testing.assert_allclose(found.test.mean(axis=0), found.repeats.mean(axis=(0, 1)), rtol=1e-9)
        expected = parted["stimulus"].values[~train].tolist()
        assert np.array(plan.stimuli)[plan.tested(split)].tolist() == expected
    assert presentations.plan(parted, 1).stimuli == parted["stimulus"].values[20:].tolist()


def test_regions_are_in_the_order_of_the_hierarchy(responses):
    found = presentations.regions(responses)
    assert [(r.subject, r.roi) for r in found] == [(s, r) for s in ("p0", "p1") for r in regions.ROIS]
    np.testing.assert_array_equal(found[4].voxels, np.arange(28, 35))
    reordered = responses.isel(voxel=slice(None, None, -1))
    assert [r.roi for r in presentations.regions(reordered)][:3] == ["C", "B", "A"]


def test_regions_can_overlap_and_be_missing_in_a_subject(responses):
    inside = np.zeros((2, 42), bool)
    inside[0, :10], inside[1, 8:20], inside[0, 30] = True, True, True
    members = xr.DataArray(inside, {"region": ["low", "high"]}, ("region", "voxel"))
    some = responses.assign_coords(in_roi=members)
    found = {(r.subject, r.roi): r.voxels.tolist() for r in presentations.regions(some)}
    assert found == {
        ("p0", "low"): [*range(10)],
        ("p0", "high"): [*range(8, 20)],
        ("p1", "low"): [30],
    }
    plan = presentations.plan(some, 1)
    assert plan.places == [(0, 0, 0), (0, 0, 1), (0, 1, 0)]
    with pytest.raises(ValueError, match="no voxel has a region"):
        presentations.regions(responses.assign_coords(roi=("voxel", [""] * 42)))


def test_units_are_scaled_by_stimuli_not_presentations():
    units = np.random.default_rng(0).normal(3, 2, (9, 4)).astype(np.float32)
    units[:, 2] = 0.1
    scaled, mean, deviation = presentations.scaled_units(units)
    np.testing.assert_allclose(scaled[:, 0], (units[:, 0] - mean[0]) / units[:, 0].std(ddof=1), rtol=1e-6)
    np.testing.assert_allclose(scaled[:, [0, 1, 3]].std(axis=0, ddof=1), 1, rtol=1e-12)
    # A unit that does not vary is 0, and undefined when scaled back.
    assert (scaled[:, 2] == 0).all()
    assert np.isnan(mean[2])
    assert deviation[2] == 1
    rounded, *_ = presentations.scaled_units(units, published="nonaka2021")
    np.testing.assert_array_equal(rounded, rounded.astype(np.float32))
    # Two roundings of a sum of nine and one of a quotient, of values up to 3.
    assert 0 < abs(rounded - scaled).max() < 3e-6
