"""Planted spheres: found where they are, with false positives at the nominal rate elsewhere."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.spatial.distance import squareform

from lib import planted_searchlight, searchlight_geometry

N_STIMULI = 12
SPHERE = (12, 12, 9), 6.1


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(14)


@pytest.fixture(scope="module")
def models(rng):
    names = [f"s{i}" for i in range(N_STIMULI)]
    rdms = [1 - np.corrcoef(rng.normal(size=(N_STIMULI, 6))) for _ in range(2)]
    coords = {"model": ["planted", "other"], "stimulus": names, "stimulus_2": names}
    return xr.DataArray(np.array(rdms), coords, ("model", "stimulus", "stimulus_2"))


PLACES = searchlight_geometry.coordinates(np.ones((9, 9, 7)), np.diag([3, 3, 3, 1]))


@pytest.fixture(scope="module")
def searched(models, rng):
    return planted_searchlight.simulate(
        models,
        PLACES,
        SPHERE,
        radius_mm=6.1,
        n_simulations=60,
        n_permutations=99,
        signal=0.7,
        n_subjects=3,
        rng=rng,
    )


def test_planted_patterns_have_the_rdm(models, rng):
    planted = np.arange(4000) < 3000
    rdm = models.values[0]
    (found,) = planted_searchlight.patterns(rdm, planted, n_subjects=1, signal=1.0, rng=rng).values()
    # Correlations of 3000 voxels have an error of 1 / √3000 = 0.018.
    np.testing.assert_allclose(np.corrcoef(found[:, planted]), 1 - rdm, atol=0.09)
    np.testing.assert_allclose(np.corrcoef(found[:, ~planted]), np.eye(N_STIMULI), atol=5 / np.sqrt(1000))


def test_the_signal_is_a_share_of_the_variance(models):
    rdm, how = models.values[0], {"n_subjects": 1, "signal": 0.3, "rng": np.random.default_rng(0)}
    (found,) = planted_searchlight.patterns(rdm, np.ones(4000, bool), **how).values()
    expected = 0.3 * (1 - rdm) + 0.7 * np.eye(N_STIMULI)
    # Covariances of 4000 voxels: errors of up to √2 / √4000 = 0.022, five times that.
    np.testing.assert_allclose(found @ found.T / 4000, expected, atol=5 * 0.0224)


def test_rdms_that_no_patterns_have_are_refused(rng):
    rdm = squareform([2.0, 2.0, 2.0])
    with pytest.raises(ValueError, match="no patterns have this RDM"):
        planted_searchlight.patterns(rdm, np.ones(5, bool), n_subjects=1, signal=1, rng=rng)


def test_the_planted_sphere_is_found(searched):
    table, maps = searched
    assert table["found"].mean() > 0.8
    assert table["right"].mean() > 0.95
    best = int(maps["score"].sel(model="planted").values.argmax())
    assert np.linalg.norm(PLACES[best] - SPHERE[0]) <= SPHERE[1]


def test_false_positives_elsewhere_are_at_the_nominal_rate(searched):
    table, _ = searched
    # Per test: the mean over simulations, whose error is measured over simulations; 3.3 of them are 99.9 %.
    error = table["false"].std() / np.sqrt(len(table))
    assert abs(table["false"].mean() - 0.05) < 3.3 * error
    low, high = stats.binom.interval(0.999, len(table), 0.05)
    assert low <= table["any_false"].sum() <= high


def test_rates_have_intervals(searched):
    rates = planted_searchlight.rates(searched[0])
    assert ((rates["low"] <= rates["value"]) & (rates["value"] <= rates["high"])).all()
    assert rates["nominal"].isna().tolist() == [True, True, False, False]


def test_numbers_are_the_rates(searched):
    numbers = planted_searchlight.quotable(searched[0])
    assert numbers["name"].iloc[2] == "rsa/planted_searchlight/all/false"
    assert numbers["value"].tolist() == planted_searchlight.rates(searched[0])["value"].tolist()


def test_section_goes_through_the_sphere(searched):
    _, maps = searched
    found = planted_searchlight.section(maps, PLACES, "score", model="planted")
    assert found.dims == ("y", "x")
    level = np.isclose(PLACES[:, 2], 9)
    expected = maps["score"].sel(model="planted").values[level].reshape(9, 9).T
    np.testing.assert_array_equal(found, expected)
    assert found["planted"].sel(x=12, y=12)
    assert found["planted"].values.sum() == maps["planted"].values[level].sum()
    assert planted_searchlight.section(maps, PLACES, "n_voxels").max() == 33
