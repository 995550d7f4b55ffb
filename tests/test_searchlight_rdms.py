"""RDMs of searchlights, batch by batch."""

import numpy as np
import pytest
import xarray as xr
from scipy import sparse
from scipy.spatial.distance import pdist

from lib import budget, dissimilarity, rdm
from lib import searchlight_rdms as rdms

N_STIMULI, N_VOXELS, N_CENTRES = 9, 40, 17


@pytest.fixture
def rng():
    return np.random.default_rng(10)


@pytest.fixture
def patterns(rng):
    found = {name: rng.normal(size=(N_STIMULI, N_VOXELS)) + 50 for name in "ab"}
    found["a"][2, 7], found["b"][:, 3] = np.nan, 4
    return found


@pytest.fixture
def neighbourhoods(rng):
    return {name: sparse.csr_array(rng.random((N_CENTRES, N_VOXELS)) < 0.4) for name in "ab"}


def used(patterns, neighbourhoods, name, centre):
    """Patterns of the voxels that tell stimuli apart."""
    members = neighbourhoods[name][[centre]].indices
    return patterns[name][:, [v for v in members if v != {"a": 7, "b": 3}[name]]]


def joined(batches):
    batches = list(batches)
    assert [b.start for b in batches] == np.cumsum([0, *(b.rdm.shape[1] for b in batches)])[:-1].tolist()
    return (
        np.concatenate([np.asarray(getattr(b, part)) for b in batches], axis=1)
        for part in ("rdm", "n_voxels")
    )


MEASURES = {
    "correlation": lambda x: pdist(x, "correlation"),
    "cosine": lambda x: pdist(x, "cosine"),
    "euclidean": lambda x: pdist(x) / np.sqrt(x.shape[1]),
    "squared_euclidean": lambda x: pdist(x, "sqeuclidean") / x.shape[1],
}


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("measure", MEASURES)
def test_rdms_are_those_of_each_neighbourhood(patterns, neighbourhoods, measure, device):
    found, n_voxels = joined(
        rdms.of_patterns(patterns, neighbourhoods, measure=measure, n_bytes=1, device=device)
    )
    assert found.shape == (2, N_CENTRES, 36)
    for subject, name in enumerate("ab"):
        for centre in range(N_CENTRES):
            x = used(patterns, neighbourhoods, name, centre)
            assert n_voxels[subject, centre] == x.shape[1]
            # A mean of 50 standard deviations costs four of sixteen digits.
            np.testing.assert_allclose(found[subject, centre], MEASURES[measure](x), rtol=1e-9, atol=1e-11)


def test_crossed_measures_are_those_of_the_repeats(rng, neighbourhoods):
    patterns = {name: rng.normal(size=(3, N_STIMULI, N_VOXELS)) for name in "ab"}
    patterns["a"][:, :, 5] = 0
    patterns["a"][2, 7] = np.nan  # a stimulus that was shown twice only
    found, n_voxels = joined(rdms.of_patterns(patterns, neighbourhoods, measure="crossnobis"))
    members = neighbourhoods["a"][[4]].indices
    members = members[members != 5]
    names = [str(i) for i in range(N_STIMULI)]
    response = xr.DataArray(
        patterns["a"][..., members], dims=("repeat", "stimulus", "voxel"), coords={"stimulus": names}
    )
    np.testing.assert_allclose(found[0, 4], rdm.condensed(dissimilarity.of_repeats(response)))
    assert n_voxels[0, 4] == len(members)


def test_means_over_repeats_are_correlated(rng, neighbourhoods):
    patterns = {name: rng.normal(size=(3, N_STIMULI, N_VOXELS)) for name in "ab"}
    patterns["a"][1, 3, 4] = patterns["b"][2] = np.nan
    found = next(iter(rdms.of_patterns(patterns, neighbourhoods))).rdm
    means = {name: np.nanmean(values, axis=0) for name, values in patterns.items()}
    np.testing.assert_allclose(found, next(iter(rdms.of_patterns(means, neighbourhoods))).rdm)


@pytest.mark.parametrize("scaling", ["centred", "z-scored"])
def test_voxels_are_scaled_as_elsewhere(patterns, neighbourhoods, scaling):
    found, _ = joined(rdms.of_patterns(patterns, neighbourhoods, scaling=scaling))
    names = [str(i) for i in range(N_STIMULI)]
    x = used(patterns, neighbourhoods, "b", 6)
    expected = rdm.condensed(dissimilarity.of_units([x], names, scaling=scaling))
    np.testing.assert_allclose(found[1, 6], expected, rtol=1e-9, atol=1e-11)
    with pytest.raises(ValueError, match="is not for it"):
        rdms.of_patterns(patterns, neighbourhoods, measure="crossnobis", scaling=scaling)


def test_batches_do_not_matter(patterns, neighbourhoods):
    whole, _ = joined(rdms.of_patterns(patterns, neighbourhoods))
    batches = rdms.of_patterns(patterns, neighbourhoods, n_bytes=100_000)
    assert len(batches) == len(list(batches)) > 1  # and they can be made again
    some, _ = joined(batches)
    np.testing.assert_allclose(whole, some, rtol=1e-12)


def test_what_has_no_pattern_has_no_rdm(patterns, neighbourhoods):
    few = neighbourhoods["a"].tolil()
    few[3], few[4] = False, False
    few[4, [7, 8]] = True  # one of them is not finite
    patterns["a"][5] = 1.0  # a stimulus without a pattern
    found, n_voxels = joined(rdms.of_patterns(patterns, neighbourhoods | {"a": few.tocsr()}))
    assert n_voxels[0, 3:5].tolist() == [0, 1]
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_dropped_voxels_are_counted(patterns):
    table = rdms.dropped(patterns)
    assert table.to_dict("list") == {
        "subject": ["a", "b"],
        "n_voxels": [N_VOXELS] * 2,
        "n_missing": [1, 0],
        "n_constant": [0, 1],
    }


@pytest.mark.parametrize("measure", rdms.dissimilarity.UNCROSSED)
def test_one_voxel_makes_no_rdm(rng, measure):
    near = sparse.csr_array(np.eye(3, dtype=bool)[[0, 1, 1]] | [[0, 0, 0], [0, 0, 0], [1, 0, 0]])
    (batch,) = rdms.of_patterns({"a": rng.normal(size=(5, 3))}, {"a": near}, measure=measure)
    assert np.isnan(batch.rdm).all(axis=2).tolist() == [[True, True, False]]
    assert batch.n_voxels.tolist() == [[1, 1, 2]]


def test_cost_is_told_beforehand(neighbourhoods):
    table = rdms.cost(neighbourhoods, N_STIMULI, n_models=3, n_permutations=1000, n_bytes=1 << 20)
    sizes = table.set_index("what")["size"]
    assert sizes["permuted models"] == "432 kB"
    n = neighbourhoods["a"]  # shared by both subjects: counted once
    shared = rdms.cost({"a": n, "b": n}, N_STIMULI, n_models=3).set_index("what")["size"]
    assert shared["neighbourhoods"] == budget.size(5 * n.nnz + 4 * (n.shape[0] + 1))
    assert any("17 of 17 searchlights at a time" in what for what in table["what"])


def test_what_does_not_match_is_refused(patterns, neighbourhoods):
    with pytest.raises(ValueError, match="did you mean"):
        rdms.of_patterns(patterns, neighbourhoods, measure="correlations")
    with pytest.raises(ValueError, match=r"neighbourhoods of .'a'."):
        rdms.of_patterns(patterns, {"a": neighbourhoods["a"]})
    with pytest.raises(ValueError, match="b has 39 voxels, its neighbourhoods 40"):
        rdms.of_patterns(patterns | {"b": patterns["b"][:, 1:]}, neighbourhoods)
    with pytest.raises(ValueError, match="numbers of stimuli"):
        rdms.of_patterns(patterns | {"b": patterns["b"][1:]}, neighbourhoods)
    with pytest.raises(ValueError, match="numbers of centres"):
        rdms.of_patterns(patterns, neighbourhoods | {"b": neighbourhoods["b"][1:]})


def test_stored_rdms_are_streamed(rng, tmp_path):
    values = rng.random((2, 5, 15)).astype("f4")
    values[1, 3, 2] = np.nan
    size = ("searchlight", "axis"), [[4, 4, 4]] * 4 + [[4, 4, 3]]
    file = xr.Dataset({"rdm": (("subject", "searchlight", "pair"), values)}, coords={"size": size})
    file.to_netcdf(tmp_path / "s.nc", engine="h5netcdf")
    found, n_voxels = joined(rdms.stored(tmp_path / "s.nc", n_at_once=2))
    values[1, 3] = np.nan
    np.testing.assert_array_equal(found, values)
    assert n_voxels.tolist() == [[64, 64, 64, 64, 48]] * 2
