"""Ridge of one layer and split for all voxels of the auditory study, beside scikit-learn and himalaya.

Synthetic features and responses of the size of SpectroTemporal and of the eight participants of Norman-Haignere
et al. (2015): 165 sounds, 83 to train, 23,421 units, 7,694 voxels, and four targets per voxel (the mean of three
repeats and each repeat). Each side starts from float32 features in memory and ends with penalties and test
predictions, on one thread, since waiting threads count as CPU time. himalaya has no closed form for leaving one
out: its default, five folds, does the least work it offers for a choice of penalty.
"""

import warnings

import numpy as np
from himalaya.backend import set_backend
from himalaya.kernel_ridge import KernelRidge, KernelRidgeCV
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import PredefinedSplit
from threadpoolctl import threadpool_limits

import benchmarks
from lib import folds, ridge

N_STIMULI, N_TRAIN, N_UNITS, N_VOXELS, N_TARGETS = 165, 83, 23421, 7694, 4
N_SAMPLED = 40
# himalaya in float32 cannot hold the published grid.
NARROW = np.logspace(-5, 15, 100)
SIZE = (
    f"{N_TRAIN} of {N_STIMULI} stimuli, {N_UNITS} units, {N_VOXELS} voxels x {N_TARGETS} targets, one split"
)


def simulate(seed=0):
    """Features with the decaying spectrum of a layer, responses (stimulus, target, voxel), train mask."""
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((N_STIMULI, 100)) / np.arange(1, 101)
    X = latents @ rng.standard_normal((100, N_UNITS)) + 0.01 * rng.standard_normal((N_STIMULI, N_UNITS))
    signal = 3 * latents[:, :20] @ rng.standard_normal((20, N_VOXELS))
    repeats = signal[:, None] + 3 * rng.standard_normal((N_STIMULI, N_TARGETS - 1, N_VOXELS))
    Y = np.concatenate([repeats.mean(axis=1, keepdims=True), repeats], axis=1)
    return X.astype(np.float32), Y, rng.permutation(N_STIMULI) < N_TRAIN


def ours(X, Y, train, alphas=ridge.ALPHAS):
    """All voxels and targets at once."""
    fit = ridge.leave_one_out(ridge.compress([X]), Y.reshape(N_STIMULI, -1), train, alphas=alphas)
    return fit.alpha, fit.predictions[~train]


def scikit_learn(X, Y, train):
    """The published scheme: one fit per voxel and target."""
    X = X - X[train].mean(axis=0)
    alphas, predictions = [], []
    for y in Y.reshape(N_STIMULI, -1).T:
        model = RidgeCV(alphas=ridge.ALPHAS).fit(X[train], y[train])
        alphas.append(model.alpha_)
        predictions.append(model.predict(X[~train]))
    return np.array(alphas), np.array(predictions).T


def himalaya(X, Y, train, dtype, cv=5, alphas=ridge.ALPHAS):
    """All voxels and targets at once; a choice of penalty by cross-validation, or one penalty."""
    X, Y = X.astype(dtype), Y.reshape(N_STIMULI, -1).astype(dtype)
    means = X[train].mean(axis=0), Y[train].mean(axis=0)
    if len(alphas) > 1:
        model = KernelRidgeCV(alphas=alphas, cv=cv, warn=False)
    else:
        model = KernelRidge(alpha=alphas[0], warn=False)
    model.fit(X[train] - means[0], Y[train] - means[1])
    predictions = model.predict(X[~train] - means[0]) + means[1]
    return getattr(model, "best_alphas_", None), predictions


def compare():
    """Rows of all comparisons."""
    set_backend("numpy")
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _compare(*simulate())


def _compare(X, Y, train):
    """Time each opponent, then ours on the same data."""
    (alpha, predictions), ours_s = benchmarks.cpu_seconds(lambda: ours(X, Y, train))
    some = Y[:, :, :: N_VOXELS // N_SAMPLED][:, :, :N_SAMPLED]
    (theirs, expected), sampled_s = benchmarks.cpu_seconds(lambda: scikit_learn(X, some, train), repeats=1)
    scikit_s = sampled_s * N_VOXELS / N_SAMPLED
    same = _agreement(alpha, predictions, theirs, expected)
    case = f"{SIZE}, 100 penalties; leave-one-out both; scikit-learn timed on {N_SAMPLED} voxels and scaled; {same}"
    rows = [benchmarks.row("ridge", case, ours_s, "scikit-learn RidgeCV per voxel", scikit_s)]
    for cv, scheme in ((5, "5 folds"), (PredefinedSplit(np.arange(N_TRAIN)), "leave-one-out")):
        _, seconds = benchmarks.cpu_seconds(lambda cv=cv: himalaya(X, Y, train, "float64", cv), repeats=1)
        case = f"{SIZE}, 100 penalties, float64; leave-one-out beside himalaya's {scheme}"
        rows.append(benchmarks.row("ridge", case, ours_s, "himalaya KernelRidgeCV", seconds))
    _, ours_s = benchmarks.cpu_seconds(lambda: ours(X, Y, train, NARROW))
    _, seconds = benchmarks.cpu_seconds(lambda: himalaya(X, Y, train, "float32", alphas=NARROW))
    case = f"{SIZE}, 100 penalties 1e-5 to 1e15; leave-one-out in float64 beside 5 folds in float32"
    return [*rows, benchmarks.row("ridge", case, ours_s, "himalaya KernelRidgeCV", seconds), *_fixed(X, Y)]


def _fixed(X, Y):
    """Ten splits with one penalty: the arithmetic alone, without a choice; both give the same predictions."""
    trains = folds.half_splits(np.arange(N_STIMULI))
    columns = Y.reshape(N_STIMULI, -1)

    def ten_of_ours():
        layer = ridge.compress([X])
        return [ridge.leave_one_out(layer, columns, t, alphas=[1e4]).predictions[~t] for t in trains]

    predictions, ours_s = benchmarks.cpu_seconds(ten_of_ours)
    expected, seconds = benchmarks.cpu_seconds(
        lambda: [himalaya(X, Y, t, "float64", alphas=[1e4])[1] for t in trains]
    )
    difference = max(np.abs(a - b).max() for a, b in zip(predictions, expected, strict=True))
    case = f"{SIZE.replace('one split', 'ten splits')}, one penalty; predictions differ by {difference:.0e}"
    return [benchmarks.row("ridge", case, ours_s, "himalaya KernelRidge", seconds)]


def _agreement(alpha, predictions, theirs, expected):
    """How far ours equals scikit-learn on the voxels both have fitted, in words."""
    columns = np.arange(N_TARGETS)[:, None] * N_VOXELS + np.arange(N_SAMPLED) * (N_VOXELS // N_SAMPLED)
    columns = columns.ravel()
    same = np.isclose(alpha[columns], theirs, rtol=1e-9)
    difference = np.abs(predictions[:, columns] - expected)[:, same].max() / np.abs(expected).max()
    return f"same penalty in {same.sum()} of {len(same)} fits, there predictions to {difference:.0e} (float32 features)"


if __name__ == "__main__":
    benchmarks.append(compare())
