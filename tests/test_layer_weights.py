"""Weights by left-out stimuli: refitting, slopes, a fine grid."""

import itertools

import numpy as np
import pytest
from scipy import optimize
from sklearn.linear_model import Ridge

from lib import layer_weights


def planted(shares, *, n_stimuli, n_units, n_voxels=30, seed=0):
    """Unrelated layers, and responses of which each carries a share of the variance that is not noise."""
    rng = np.random.default_rng(seed)
    layers = {f"layer{i}": rng.standard_normal((n_stimuli, n_units)) for i in range(len(shares))}
    Y = rng.standard_normal((n_stimuli, n_voxels))
    for share, X in zip(shares, layers.values(), strict=True):
        Y += np.sqrt(share / n_units) * X @ rng.standard_normal((n_units, n_voxels))
    return layers, Y


def kernels_of(layers, n_stimuli):
    """Products of centred layers with a mean diagonal of 1."""
    centred = [X[:n_stimuli] - X[:n_stimuli].mean(axis=0) for X in layers.values()]
    return np.stack([X @ X.T / np.trace(X @ X.T) * n_stimuli for X in centred])


def test_error_is_that_of_refitting_without_each_stimulus():
    layers, Y = planted((0.5, 0.5), n_stimuli=16, n_voxels=3, n_units=5)
    X = np.hstack([a * (x - x.mean(axis=0)) for a, x in zip((0.7, 1.3), layers.values(), strict=True)])
    errors, of_mean = 0, 0
    for i in range(len(X)):
        kept = np.arange(len(X)) != i
        fit = Ridge(alpha=1.0).fit(X[kept], Y[kept])
        errors += ((Y[i] - fit.predict(X[i : i + 1])[0]) ** 2).sum()
        of_mean += ((Y[i] - Y[kept].mean(axis=0)) ** 2).sum()
    kernels = np.stack([(x - x.mean(axis=0)) @ (x - x.mean(axis=0)).T for x in layers.values()])
    value, _ = layer_weights.error(np.log([0.49, 1.69]), kernels, Y - Y.mean(axis=0))
    np.testing.assert_allclose(value, errors / of_mean, rtol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_gradient_is_the_slope_of_the_error(seed):
    layers, Y = planted((0.2, 0.5, 0.3), n_stimuli=30, n_units=8)
    Y = Y - Y.mean(axis=0)
    kernels, at = kernels_of(layers, 30), np.random.default_rng(seed).normal(size=3)
    slope = optimize.approx_fprime(at, lambda x: layer_weights.error(x, kernels, Y)[0], 1e-6)
    # 1e-6: half a step times a curvature of order 1, and rounding over the step
    np.testing.assert_allclose(layer_weights.error(at, kernels, Y)[1], slope, atol=1e-6)


def test_no_weights_of_a_fine_grid_do_better():
    layers, Y = planted((0.7, 0.3), n_stimuli=40, n_units=15)
    kernels = kernels_of(layers, 40)
    found = layer_weights.weights(kernels, Y)
    Y = (Y - Y.mean(axis=0)) / Y.std(axis=0)
    grid = itertools.product(np.log(10) * np.arange(-3, 3.1, 0.25), repeat=2)
    best = min(layer_weights.error(np.array(point), kernels, Y)[0] for point in grid)
    assert found.converged
    assert found.gradient < 1e-5
    assert best - 0.01 < found.left_out <= best + layer_weights.IDLE


def test_no_more_columns_than_stimuli_and_the_same_errors():
    layers, Y = planted((0.7, 0.3), n_stimuli=20, n_units=15)
    C = layer_weights.columns(Y)
    unit = (Y - Y.mean(axis=0)) / np.linalg.norm(Y - Y.mean(axis=0), axis=0)
    assert C.shape == (20, 20)
    np.testing.assert_allclose(C @ C.T, unit @ unit.T / 30, atol=1e-14)
    at, kernels = np.log([0.5, 2]), kernels_of(layers, 20)
    few, many = (layer_weights.error(at, kernels, columns) for columns in (C, unit))
    np.testing.assert_allclose(few[0], many[0])
    np.testing.assert_allclose(few[1], many[1])


def test_one_kernel_at_its_best_size():
    layers, Y = planted((1.0,), n_stimuli=40, n_units=15)
    kernel, C = kernels_of(layers, 40)[0], layer_weights.columns(Y)
    best, scale = layer_weights.scaled_error(kernel, C)
    errors = [layer_weights.error(np.log([size]), kernel[None], C)[0] for size in layer_weights.SCALES]
    assert scale == layer_weights.SCALES[np.argmin(errors)]
    np.testing.assert_allclose(best, min(errors), rtol=1e-9)
