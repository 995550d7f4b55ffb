"""RDMs of units and of repeated voxels: other implementations, laws, what is missing or does not vary."""

import tracemalloc

import numpy as np
import pytest
import xarray as xr
from rsatoolbox.data import Dataset
from rsatoolbox.data.noise import cov_from_unbalanced
from rsatoolbox.rdm import calc_rdm
from scipy.spatial.distance import pdist

from lib import dissimilarity, rdm

N = 20
NAMES = [f"s{i:02d}" for i in range(N)]


def units(seed=0, n_units=300):
    """Activations of all units, positive and skewed."""
    return np.random.default_rng(seed).gamma(1, 1, (N, n_units))


def pieces(X):
    """The same in pieces of unequal size."""
    return np.array_split(X, [7, 100, 170], axis=1)


def repeats(n_repeats=4, n_voxels=30, seed=0):
    """Responses with noise that voxels share."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n_repeats, N, n_voxels)) @ rng.standard_normal((n_voxels, n_voxels))
    Y = rng.standard_normal((1, N, n_voxels)) + noise
    coords = {"stimulus": NAMES}
    return xr.DataArray(Y, dims=("repeat", "stimulus", "voxel"), coords=coords)


def theirs(response):
    """The same as a data set of rsatoolbox, its voxels' names kept in order."""
    R = response.sizes["repeat"]
    described = {"stimulus": np.tile(NAMES, R), "repeat": np.repeat(range(R), N)}
    return Dataset(response.values.reshape(R * N, -1), obs_descriptors=described)


@pytest.mark.parametrize(
    ("measure", "method"), [("correlation", "correlation"), ("squared_euclidean", "euclidean")]
)
def test_units_give_what_rsatoolbox_gives(measure, method):
    X = units()
    expected = calc_rdm(Dataset(X), method=method).get_vectors()[0]
    found = rdm.condensed(dissimilarity.of_units(pieces(X), NAMES, measure=measure))
    np.testing.assert_allclose(found, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("measure", ["correlation", "cosine", "euclidean"])
def test_units_give_what_scipy_gives(measure):
    X = units()
    expected = pdist(X, measure) / (np.sqrt(X.shape[1]) if measure == "euclidean" else 1)
    found = rdm.condensed(dissimilarity.of_units(pieces(X), NAMES, measure=measure))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("measure", dissimilarity.UNCROSSED)
@pytest.mark.parametrize("scaling", dissimilarity.SCALINGS)
def test_shuffled_stimuli_and_units_change_nothing(measure, scaling):
    X, rng = units(), np.random.default_rng(1)
    order = rng.permutation(N)
    one = dissimilarity.of_units(pieces(X), NAMES, measure=measure, scaling=scaling)
    other = X[order][:, rng.permutation(X.shape[1])]
    other = dissimilarity.of_units([other], np.array(NAMES)[order], measure=measure, scaling=scaling)
    xr.testing.assert_allclose(rdm.matched(other, NAMES), one, atol=1e-12)


def test_published_scalings_are_those_of_the_scripts():
    X = units()
    centred = X - X.mean(axis=0)
    for work, patterns in (("dwivedi2021", centred), ("tuckute2023", centred / X.std(axis=0))):
        found = dissimilarity.of_units(pieces(X), NAMES, published=work)
        np.testing.assert_allclose(found, 1 - np.corrcoef(patterns), atol=1e-12)
    plain = dissimilarity.of_units(pieces(X), NAMES)
    assert abs(plain - 1 + np.corrcoef(centred)).max() > 0.05


def test_units_silent_in_training_count_only_as_published():
    X, train = units(n_units=5), np.arange(N) < 12
    X[train, 0] = 1
    z = (X - X[train].mean(axis=0)) / np.where(X[train].std(axis=0) > 0, X[train].std(axis=0), 1)
    both = {
        rule: dissimilarity.of_units([X], NAMES, scaling="z-scored", train=train[None], published=rule)[0]
        for rule in (None, "tuckute2023")
    }
    np.testing.assert_allclose(both["tuckute2023"], 1 - np.corrcoef(z), atol=1e-12)
    np.testing.assert_allclose(both[None], 1 - np.corrcoef(z[:, 1:]), atol=1e-12)


def test_units_are_scaled_on_the_train_stimuli_of_each_split():
    X, train = units(), np.random.default_rng(2).random((3, N)) < 0.6
    found = dissimilarity.of_units(pieces(X), NAMES, scaling="z-scored", train=train)
    for one, subset in zip(found, train, strict=True):
        z = (X - X[subset].mean(axis=0)) / X[subset].std(axis=0)
        np.testing.assert_allclose(one, 1 - np.corrcoef(z), atol=1e-12)


def test_what_is_constant_or_not_finite_is_counted():
    X = units()
    X[4] = 3.3
    X[6, 2] = np.nan
    found = dissimilarity.of_units(pieces(X), NAMES)
    assert np.isnan(found.values[4]).all()
    assert np.isfinite(np.delete(np.delete(found.values, 4, 0), 4, 1)).all()
    assert (found.attrs["n_constant_stimuli"], found.attrs["n_missing_units"]) == (1, 1)
    X = units()
    X[:, 5] = 2
    found = dissimilarity.of_units(pieces(X), NAMES)
    assert (found.attrs["n_constant_units"], found.attrs["n_units"]) == (1, 300)
    with pytest.raises(ValueError, match="no unit is left"):
        dissimilarity.of_units([np.full((N, 3), np.nan)], NAMES)


def test_identical_patterns_are_0_apart():
    X = units().astype(np.float32)
    X[3] = X[9]
    for measure in dissimilarity.UNCROSSED:
        one = dissimilarity.of_units(pieces(X), NAMES, measure=measure)
        assert one.values[3, 9] == pytest.approx(0, abs=1e-14)
        np.testing.assert_array_equal(one.values, one.values.T)


def test_a_large_mean_does_not_drown_distances():
    X = units()
    for measure in ("euclidean", "squared_euclidean"):
        one, other = (dissimilarity.of_units(pieces(x), NAMES, measure=measure) for x in (X, X + 1e6))
        # X + 1e6 itself is rounded to 1e-10.
        np.testing.assert_allclose(other, one, rtol=1e-8)


def test_memory_is_that_of_a_chunk():
    X = np.random.default_rng(0).standard_normal((N, 400_000)).astype(np.float32)
    tracemalloc.start()
    dissimilarity.of_units((X[:, i : i + 4000] for i in range(0, X.shape[1], 4000)), NAMES)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A few float64 copies of a chunk of 20 x 4000, while the layer itself in float64 has 64 MB.
    assert peak < 6e6


# rsatoolbox fills an array of integers with NaN when it sorts.
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize("measure", ["crossnobis", "mahalanobis"])
@pytest.mark.parametrize(
    ("covariance", "method"),
    [("schafer_strimmer", "shrinkage_diag"), ("ledoit_wolf", "shrinkage_eye"), ("diagonal", "diag")],
)
def test_repeats_give_what_rsatoolbox_gives(measure, covariance, method):
    response = repeats()
    data = theirs(response)
    precision = np.linalg.inv(cov_from_unbalanced(data, "stimulus", method=method))
    crossed = {"cv_descriptor": "repeat"} if measure == "crossnobis" else {}
    expected = calc_rdm(data, method=measure, descriptor="stimulus", noise=precision, **crossed)
    found = dissimilarity.of_repeats(response, measure=measure, covariance=covariance)
    np.testing.assert_allclose(rdm.condensed(found), expected.get_vectors()[0], atol=1e-10, rtol=0)


def test_crossnobis_without_covariance_is_the_cross_validated_distance():
    response = repeats(2)
    a, b = response.values
    expected = np.einsum("ijv,ijv->ij", a[:, None] - a, b[:, None] - b) / 30
    found = dissimilarity.of_repeats(response, covariance="none")
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_crossnobis_recovers_planted_distances_which_mahalanobis_exaggerates():
    rng, n_voxels = np.random.default_rng(0), 40
    truth = 0.5 * rng.standard_normal((N, n_voxels))
    Y = truth + rng.standard_normal((400, 3, N, n_voxels))
    found = {
        measure: np.mean(
            [
                rdm.condensed(dissimilarity.of_repeats(one, measure=measure, covariance="none"))
                for one in (xr.DataArray(y, dims=repeats().dims, coords={"stimulus": NAMES}) for y in Y)
            ],
            axis=0,
        )
        for measure in ("crossnobis", "mahalanobis")
    }
    planted = pdist(truth, "sqeuclidean") / n_voxels
    # Standard error of each distance: noise of a product of differences is √(4·2/3·…)/√(40·400) < 0.02.
    np.testing.assert_allclose(found["crossnobis"], planted, atol=0.08)
    np.testing.assert_allclose(found["mahalanobis"], planted + 2 / 3, atol=0.08)


def test_missing_patterns_leave_the_other_pairs_of_repeats():
    response = repeats(3)
    response[0, 4] = np.nan
    found = dissimilarity.of_repeats(response, covariance="none").values
    fewer = dissimilarity.of_repeats(response[1:], covariance="none").values
    np.testing.assert_allclose(found[4], fewer[4], atol=1e-12)
    kept = np.delete(np.arange(N), 4)
    all_ = dissimilarity.of_repeats(response[:, kept], covariance="none").values
    np.testing.assert_allclose(found[np.ix_(kept, kept)], all_, atol=1e-12)
    response[1:, 4] = np.nan
    assert np.isnan(dissimilarity.of_repeats(response, covariance="none").values[4]).all()


def test_voxels_without_noise_or_values_are_counted():
    response = repeats()
    response[:, :, 3] = np.nan
    response[:, :, 5] = 2.5
    found = dissimilarity.of_repeats(response)
    assert [found.attrs[f"n_{kind}_units"] for kind in ("missing", "constant")] == [1, 1]
    assert found.attrs["n_units"] == 28
    rest = dissimilarity.of_repeats(response.isel(voxel=np.delete(np.arange(30), [3, 5])))
    np.testing.assert_allclose(found, rest, rtol=1e-12)


def test_order_of_repeats_voxels_and_stimuli_changes_nothing():
    response, rng = repeats(n_voxels=50), np.random.default_rng(3)
    parts = {dim: rng.permutation(size) for dim, size in response.sizes.items()}
    other = dissimilarity.of_repeats(response.isel(parts))
    xr.testing.assert_allclose(rdm.matched(other, NAMES), dissimilarity.of_repeats(response), rtol=1e-9)


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match="did you mean correlation"):
        dissimilarity.of_units([units()], NAMES, measure="corelation")
    with pytest.raises(ValueError, match=r"shape \(20, 300\); \(19 stimuli"):
        dissimilarity.of_units([units()], NAMES[1:])
    with pytest.raises(ValueError, match="two repeats or more, not 1"):
        dissimilarity.of_repeats(repeats(1))
