"""Shrunk covariances: scikit-learn's and rsatoolbox's, and the small inverse against the large one."""

import numpy as np
import pytest
from rsatoolbox.data.noise import cov_from_residuals
from sklearn.covariance import ledoit_wolf

from lib import noise_covariance


def noise(n, n_voxels, seed=0):
    """Correlated residuals."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, n_voxels)) @ rng.standard_normal((n_voxels, n_voxels)) + 3


@pytest.mark.parametrize("n_voxels", [8, 60])
@pytest.mark.parametrize(
    ("method", "named"),
    [("schafer_strimmer", "shrinkage_diag"), ("ledoit_wolf", "shrinkage_eye"), ("diagonal", "diag")],
)
def test_covariance_is_that_of_rsatoolbox(method, named, n_voxels):
    residuals = noise(25, n_voxels)
    for n_free in (None, 12):
        found = noise_covariance.estimate(residuals, n_free=n_free, method=method).matrix()
        expected = cov_from_residuals(residuals.copy(), dof=n_free, method=named)
        np.testing.assert_allclose(found, expected, atol=1e-10 * np.abs(expected).max())


def test_shrinkage_is_that_of_scikit_learn():
    residuals = noise(25, 60)
    found = noise_covariance.estimate(residuals, n_free=25, method="ledoit_wolf")
    expected, shrinkage = ledoit_wolf(residuals)
    np.testing.assert_allclose(found.matrix(), expected, rtol=1e-9)
    assert found.shrinkage == pytest.approx(shrinkage, rel=1e-9)


@pytest.mark.parametrize("method", ["schafer_strimmer", "ledoit_wolf", "diagonal", "none"])
@pytest.mark.parametrize("n_voxels", [8, 60])
def test_solving_is_multiplying_by_the_inverse(method, n_voxels):
    found = noise_covariance.estimate(noise(25, n_voxels), method=method)
    patterns = noise(4, n_voxels, seed=1)
    expected = patterns @ np.linalg.inv(found.matrix())
    np.testing.assert_allclose(found.solve(patterns), expected, rtol=1e-7, atol=1e-9)


def test_independent_voxels_are_shrunk_and_dependent_ones_are_not():
    independent = np.random.default_rng(0).standard_normal((40, 60))
    dependent = noise(2000, 4)
    for method in ("schafer_strimmer", "ledoit_wolf"):
        assert noise_covariance.estimate(independent, method=method).shrinkage > 0.9
        assert noise_covariance.estimate(dependent, method=method).shrinkage < 0.05


def test_nothing_free_and_unknown_methods_are_errors():
    with pytest.raises(ValueError, match="0 degrees of freedom"):
        noise_covariance.estimate(noise(5, 3), n_free=0)
    with pytest.raises(ValueError, match="did you mean ledoit_wolf"):
        noise_covariance.estimate(noise(5, 3), method="ledoitwolf")
    singular = noise_covariance.Covariance(np.zeros(9), 1.0, noise(4, 9), 0.0)
    with pytest.raises(ValueError, match="singular"):
        singular.solve(noise(2, 9))
