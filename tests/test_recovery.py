"""What is planted is found: the true layer, the explained variance, and nothing where there is nothing.

Each voxel is √share · f + √(1 - share) · u + noise: f a read-out of its true layer, u reliable but unrelated
to any layer. The correction removes what noise does, to the response and, through the fitted weights, to the
prediction. It does not remove the systematic misfit of a model fitted on few stimuli: u leaks into the
weights, which costs (1 - share) · n_latents / n_train of the share, and a squared correlation over n_test
stimuli is too large by about (1 - r²)² / n_test, which at low reliability is divided by little. So corrected
R² equals the planted share where stimuli are many for the layer's dimensions (here 1500 against 3: below
.001), which is where the law is tested; at 165 stimuli the true layer is what must be found.
"""

import numpy as np
import pytest
import xarray as xr

from lib import encoding, folds, layers

# Reliability of the mean of three repeats.
RELIABILITIES = [0.9, 0.6, 0.35]


def standardised(values):
    centred = values - values.mean(axis=0)
    return centred / centred.std(axis=0)


def simulate(n_stimuli, n_layers, n_latents, share, reliability, seed, n_splits=10):
    """Layers that share a third of their variance with the one before, responses, and true layers."""
    rng = np.random.default_rng(seed)
    latents = [standardised(rng.standard_normal((n_stimuli, n_latents)))]
    for _ in range(n_layers - 1):
        new = standardised(rng.standard_normal((n_stimuli, n_latents)))
        latents.append(np.sqrt(0.3) * latents[-1] + np.sqrt(0.7) * new)
    units = [z @ rng.standard_normal((n_latents, 8 * n_latents)) for z in latents]
    units = [u + 0.05 * rng.standard_normal(u.shape) for u in units]
    truth = rng.integers(n_layers, size=len(share))
    read_out = standardised(np.stack([latents[t] @ rng.standard_normal(n_latents) for t in truth], axis=1))
    signal = np.sqrt(share) * read_out + np.sqrt(1 - share) * rng.standard_normal(read_out.shape)
    noise = np.sqrt(3 * (1 - reliability) / reliability) * rng.standard_normal((3, *signal.shape))
    return labelled(units, signal + noise, n_splits), truth


def labelled(units, Y, n_splits):
    stimuli = [f"s{i}" for i in range(Y.shape[1])]
    trains = folds.half_splits(stimuli, n_splits=n_splits)
    responses = xr.Dataset(
        {"response": (("repeat", "stimulus", "voxel"), Y), "train": (("split", "stimulus"), trains)},
        coords={"stimulus": stimuli},
    )
    features = [
        xr.DataArray(u.astype(np.float32), dims=("stimulus", "unit"), coords={"stimulus": stimuli})
        for u in units
    ]
    return features, responses


def estimate(values):
    """Mean and its standard error over independent simulations."""
    return np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))


@pytest.mark.parametrize("reliability", RELIABILITIES)
def test_true_layer_is_the_best_layer(reliability):
    (features, responses), truth = simulate(165, 4, 5, np.full(200, 0.6), reliability, seed=3)
    scores = xr.concat([encoding.encode(f, responses).r2_corrected for f in features], "layer")
    assert (layers.preferred_layer(scores).position == truth + 1).mean() >= 0.95
    # five splits choose less surely than ten, most of all at a reliability that is barely above 0.3
    held_out = (layers.best_layer(scores).position == truth + 1).mean()
    assert held_out >= (0.95 if reliability > 0.5 else 0.9)


@pytest.mark.parametrize("reliability", RELIABILITIES)
def test_corrected_r2_averages_to_the_planted_value(reliability):
    share = np.linspace(0.3, 0.9, 30)
    values, uncorrected = [], []
    for seed in range(12):
        (features, responses), _ = simulate(3000, 1, 3, share, reliability, seed=100 + seed, n_splits=1)
        scores = encoding.encode(features[0], responses)
        values.append(float(encoding.pooled_r2(scores).mean()))
        uncorrected.append(float(scores.r2.mean()))
    mean, sem = estimate(values)
    assert abs(mean - share.mean()) < 3 * sem
    assert sem < 0.01
    assert np.mean(uncorrected) < share.mean() - 0.05 * (1 - reliability) / 0.1


def test_mean_of_ratios_is_biased_where_reliability_is_low():
    of_means, of_ratios = [], []
    for seed in range(12):
        (features, responses), _ = simulate(165, 1, 3, np.full(40, 0.6), 0.35, seed=seed, n_splits=2)
        scores = encoding.encode(features[0], responses)
        of_means.append(float(encoding.pooled_r2(scores).mean()))
        of_ratios.append(float(scores.r2_corrected.mean()))
    assert abs(np.mean(of_means) - 0.6) < 0.06
    assert np.mean(of_ratios) > 0.7


@pytest.mark.parametrize("reliability", RELIABILITIES)
def test_shuffled_target_scores_zero(reliability):
    r, signed = [], []
    for seed in range(12):
        (features, responses), _ = simulate(165, 1, 5, np.full(30, 0.6), reliability, seed=seed, n_splits=2)
        order = np.random.default_rng(seed).permutation(165)
        shuffled = responses.assign(
            response=responses.response.copy(data=responses.response.values[:, order])
        )
        scores = encoding.encode(features[0], shuffled)
        ceiling = scores.reliability_voxel * scores.reliability_prediction
        r.append(float(scores.r.mean()))
        signed.append(float((np.sign(scores.r) * scores.r**2 / ceiling).mean()))
    for values in (r, signed):  # r² itself is positive by chance, so the sign is kept
        mean, sem = estimate(values)
        assert abs(mean) < 3 * sem
