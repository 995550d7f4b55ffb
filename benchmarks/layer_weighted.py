"""All layers of a model together: the convergent default beside the published training and himalaya.

Planted data of the shape of one region of the published study: 450 videos to train, 100 to test, eight layers, each
a nonlinear mixture of the one before, 200 voxels that read out layers 3 and 6. The published training runs as
published (Adam at 1e-4, batches of 16, at most 500 epochs, patience 30) and is stopped on the test stimuli, which
flatters it. It is given its penalties: the published search trains 18 more models, on half of the stimuli each,
and is priced from the time of one epoch. Ours finds all weights and penalties itself, on the train stimuli alone. One
thread each.
"""

import numpy as np
import torch
import xarray as xr
from threadpoolctl import threadpool_limits

import benchmarks
from lib import layer_weighted, metrics, ridge, standardisation
from lib import layer_weighted_training as training

N_TRAIN, N_TEST, N_LAYERS, N_UNITS, N_VOXELS = 450, 100, 8, 4000, 200
SHARES = {"layer3": 0.6, "layer6": 0.4}
EXPLAINABLE = 0.5
PENALTIES = (1.0, 0.1)
SIZE = f"{N_TRAIN} + {N_TEST} stimuli, {N_LAYERS} layers of {N_UNITS} units, {N_VOXELS} voxels"


def simulate(seed=0, n_train=N_TRAIN):
    """Layers by name, and responses with their split, of which two layers carry known shares.

    Parameters
    ----------
    seed : int
    n_train : int

    Returns
    -------
    dict of str to float32 array (n_stimuli, n_units)
    xarray.Dataset
    """
    rng = np.random.default_rng(seed)
    n_stimuli, layers = n_train + N_TEST, {}
    X = rng.standard_normal((n_stimuli, 100)) / np.arange(1, 101) ** 0.5
    for number in range(1, N_LAYERS + 1):
        mixture = rng.standard_normal((X.shape[1], N_UNITS)) / np.sqrt((X**2).sum(axis=1).mean())
        X = np.maximum(X @ mixture + 0.5 * rng.standard_normal(N_UNITS), 0)
        layers[f"layer{number}"] = X.astype(np.float32)
    signal = sum(np.sqrt(share) * _readout(layers[name], rng) for name, share in SHARES.items())
    noise = rng.standard_normal(signal.shape) * signal.std(axis=0)
    Y = signal / signal.std(axis=0) + np.sqrt((1 - EXPLAINABLE) / EXPLAINABLE) * noise / signal.std(axis=0)
    return layers, xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), Y[None]),
            "train": (("split", "stimulus"), [np.arange(n_stimuli) < n_train]),
        },
        coords={
            "stimulus": [f"s{i}" for i in range(n_stimuli)],
            "subject": ("voxel", ["sub01"] * N_VOXELS),
            "roi": ("voxel", ["V1"] * N_VOXELS),
        },
    )


def _readout(X, rng):
    """Random mixtures of a layer's leading components, of variance 1 (stimulus, voxel)."""
    U, s, _ = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    readout = (U * s)[:, :60] @ rng.standard_normal((60, N_VOXELS))
    return readout / readout.std(axis=0)


def ours(layers, responses):
    """Weights, penalties and predictions of all voxels, from the features in memory."""
    compressed = {name: ridge.compress([X]) for name, X in layers.items()}
    return layer_weighted.encode(compressed, responses, drop_one=False)


def published(layers, responses, n_epochs=500):
    """One published training, penalties given, stopped on the test stimuli."""
    train, Y = responses["train"].values[0], responses["response"].values[0].astype(np.float32)
    X = standardisation.columns(np.hstack(list(layers.values())), train, published="zhou2022")
    settings = training.Settings(*PENALTIES, n_epochs=n_epochs)
    dims = [N_UNITS] * N_LAYERS
    validation = X[~train], Y[~train]
    fit = training.train(X[train], Y[train], validation, dims, settings=settings, published="zhou2022")
    return fit, training.score(fit.model, *validation)


def banded(layers, responses):
    """himalaya's ridge with a weight per layer and voxel, by random search over 100 mixtures."""
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import MultipleKernelRidgeCV

    set_backend("numpy")
    train, Y = responses["train"].values[0], responses["response"].values[0]
    kernels = []
    for X in layers.values():
        X = X - X[train].mean(axis=0, dtype=float)
        X = X / np.sqrt((X[train] ** 2).sum(axis=1).mean())
        kernels.append(X @ X[train].T)
    options = {"n_iter": 100, "alphas": np.logspace(-4, 3, 15), "progress_bar": False}
    model = MultipleKernelRidgeCV("precomputed", solver_params=options, random_state=0, cv=5)
    offset = Y[train].mean(axis=0)
    model.fit(np.stack([K[train] for K in kernels]), Y[train] - offset)
    predicted = model.predict(np.stack([K[~train] for K in kernels]))
    return float(metrics.pearson(Y[~train], predicted).mean())


def compare():
    """Rows of all comparisons.

    Returns
    -------
    list of dict
    """
    torch.set_num_threads(1)
    with threadpool_limits(1):
        return _compare(*simulate())


def _compare(layers, responses):
    """Time each opponent, and ours, on the same data."""
    found, ours_s = benchmarks.cpu_seconds(lambda: ours(layers, responses))
    r = found["r"].mean().item()
    (fit, theirs), training_s = benchmarks.cpu_seconds(lambda: published(layers, responses), repeats=1)
    n_epochs = len(fit.history)
    shares = found["kernel_share"].sel(layer=list(SHARES)).values[0, 0]
    shares = ", ".join(f"{n} {s:.2f} found of {t}" for (n, t), s in zip(SHARES.items(), shares, strict=True))
    case = f"{SIZE}; held-out r {r:.4f} beside {theirs:.4f}; {shares}"
    rows = [
        benchmarks.row(
            "layer_weighted", f"{case}; {n_epochs} epochs", ours_s, "published training, once", training_s
        )
    ]
    # Half of the stimuli, half of the steps of an epoch; 9 pairs of penalties, 2 folds.
    searched_s = training_s * (1 + 18 / 2)
    rows.append(
        benchmarks.row(
            "layer_weighted", f"{case}; priced", ours_s, "published training with its search", searched_s
        )
    )
    theirs, seconds = benchmarks.cpu_seconds(lambda: banded(layers, responses), repeats=1)
    case = f"{SIZE}; held-out r {r:.4f} beside {theirs:.4f}; weights per region beside weights per voxel"
    rows.append(benchmarks.row("layer_weighted", case, ours_s, "himalaya MultipleKernelRidgeCV", seconds))
    return rows


if __name__ == "__main__":
    benchmarks.append(compare())
