import numpy as np
import pytest
import xarray as xr

from lib import bhscore, bhscore_simulation, decoding
from lib.bhscore_simulation import Design

SMALL = Design(n_layers=5, n_rois=4, n_units=30, n_latents=10, n_stimuli=40)


def test_simulated_correlations_are_those_planted():
    design = Design(n_layers=2, n_rois=2, n_units=1, n_latents=1, n_stimuli=4000, strength=0.2)
    rng = np.random.default_rng(0)
    mixture, _ = bhscore_simulation.network(design, rng)
    planted = np.array([[[[0.5], [0.1]], [[0.3], [0.7]]]])
    latents = rng.standard_normal((2, 4000, 1))
    found = bhscore_simulation.accuracies(bhscore_simulation.predictions(mixture, planted, latents, rng))
    assert found.dims == ("subject", "roi", "unit")
    assert found["layer"].values.tolist() == ["layer1", "layer2"]
    # 4 standard errors of a correlation over 4000 stimuli
    np.testing.assert_allclose(found.values[0].T, planted[0, :, :, 0], atol=4 / np.sqrt(4000))


@pytest.mark.parametrize(("strength", "bounds"), [(0.6, (0.5, 1)), (-0.6, (-1, -0.1))])
def test_strength_orders_regions(strength, bounds):
    """Regions far from a layer are decoded better if the strength is negative: the order is turned round."""
    design, rng = Design(n_layers=5, n_rois=4, n_units=60, strength=strength), np.random.default_rng(0)
    mixture, correlation = bhscore_simulation.network(design, rng)
    who = bhscore_simulation.people(correlation, 3, design, rng)
    latents = rng.standard_normal((5, design.n_stimuli, design.n_latents))
    found = bhscore_simulation.accuracies(bhscore_simulation.predictions(mixture, who, latents, rng))
    score = bhscore.score(bhscore.counts(bhscore.top_rois(found, n_stimuli=50)).sum("subject").values)
    assert bounds[0] < score < bounds[1]


def test_intervals_over_people_hold_the_truth_and_percentiles_do_not():
    found = bhscore_simulation.subject_coverage(SMALL, n_subjects=3, n_networks=2, n_experiments=40)
    coverage = found.set_index("method")["coverage"]
    # 80 intervals of 95 %: 3 standard errors are 0.073; in larger simulations 0.93 to 0.96, and 0.65 to 0.70
    assert coverage["jackknife"] > 0.95 - 0.073
    assert coverage["percentile"] < 0.85
    assert (found["n"] == 80).all()


def test_intervals_over_stimuli_hold_the_truth():
    design = Design(n_layers=4, n_rois=3, n_units=25, n_latents=10, n_stimuli=40)
    found = bhscore_simulation.stimulus_coverage(design, n_networks=2, n_experiments=20, n_resamples=50)
    # 40 intervals; in larger simulations 0.92 to 0.98
    assert found["coverage"].item() > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 40)


def test_planted_brains_are_decoded_from_their_signal(monkeypatch):
    rng = np.random.default_rng(0)
    responses = xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), rng.standard_normal((3, 6, 4))),
            "signal": (("stimulus", "voxel"), rng.standard_normal((6, 4))),
            "train": (("split", "stimulus"), rng.random((2, 6)) < 0.5),
        },
        {"stimulus": list("abcdef"), "voxel": list("wxyz"), "repeat": range(3)},
    )
    given = {}

    def decode(source, clean, _, *, settings):
        given.update(source=source, clean=clean, settings=settings)
        return xr.Dataset({"accuracy": (("unit",), [1.0])})

    monkeypatch.setattr(decoding, "decode", decode)
    settings = decoding.Settings(n_units=7)
    found = bhscore_simulation.noise_free("features.nc", responses, settings=settings)
    assert found.item() == 1
    assert given["settings"] is settings
    clean = given["clean"]
    assert clean.sizes["repeat"] == 1
    np.testing.assert_array_equal(clean["response"].values[0], responses["signal"].values)
    xr.testing.assert_equal(clean["train"], responses["train"])
