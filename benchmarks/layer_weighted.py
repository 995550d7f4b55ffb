"""All layers of a model together: the convergent default beside the published training and himalaya.

Planted data of the shape of one region of the published study: 450 videos to train, 100 to test, eight layers, each
a nonlinear mixture of the one before, 200 voxels that read out layers 3 and 6. The published training runs as
published (Adam at 1e-4, batches of 16, at most 500 epochs, patience 30) and is stopped on the test stimuli, which
flatters it. It is given its penalties: the published search trains 18 more models, on half of the stimuli each,
and is priced from the time of one epoch. Ours finds all weights and penalties itself, on the train stimuli alone. One
thread each.
"""

import functools
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from threadpoolctl import threadpool_limits

import benchmarks
from lib import layer_weighted, metrics, ridge, standardisation
from lib import layer_weighted_training as training


class Size(NamedTuple):
    """Of planted data, most epochs of the published training, and seconds that it all takes on two idle cores."""

    n_train: int = 450
    n_test: int = 100
    n_layers: int = 8
    n_units: int = 4000
    n_voxels: int = 200
    n_epochs: int = 500
    seconds: float = 120


PUBLISHED = Size()
SMALL = Size(n_train=120, n_test=30, n_layers=6, n_units=200, n_voxels=20, n_epochs=5, seconds=4)
SHARES = {"layer3": 0.6, "layer6": 0.4}
EXPLAINABLE = 0.5
PENALTIES = (1.0, 0.1)


def simulate(size=PUBLISHED, seed=0):
    """Layers by name, and responses with their split, of which two layers carry known shares.

    Parameters
    ----------
    size : Size
    seed : int

    Returns
    -------
    dict of str to float32 array (n_stimuli, n_units)
    xarray.Dataset
    """
    rng = np.random.default_rng(seed)
    n_stimuli, layers = size.n_train + size.n_test, {}
    X = rng.standard_normal((n_stimuli, 100)) / np.arange(1, 101) ** 0.5
    for number in range(1, size.n_layers + 1):
        mixture = rng.standard_normal((X.shape[1], size.n_units)) / np.sqrt((X**2).sum(axis=1).mean())
        X = np.maximum(X @ mixture + 0.5 * rng.standard_normal(size.n_units), 0)
        layers[f"layer{number}"] = X.astype(np.float32)
    signal = sum(
        np.sqrt(share) * _readout(layers[name], size.n_voxels, rng) for name, share in SHARES.items()
    )
    noise = rng.standard_normal(signal.shape) * signal.std(axis=0)
    Y = signal / signal.std(axis=0) + np.sqrt((1 - EXPLAINABLE) / EXPLAINABLE) * noise / signal.std(axis=0)
    return layers, xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), Y[None]),
            "train": (("split", "stimulus"), [np.arange(n_stimuli) < size.n_train]),
        },
        coords={
            "stimulus": [f"s{i}" for i in range(n_stimuli)],
            "subject": ("voxel", ["sub01"] * size.n_voxels),
            "roi": ("voxel", ["V1"] * size.n_voxels),
        },
    )


def _readout(X, n_voxels, rng):
    """Random mixtures of a layer's leading components, of variance 1 (stimulus, voxel)."""
    U, s, _ = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    readout = (U * s)[:, :60] @ rng.standard_normal((min(60, len(s)), n_voxels))
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
    dims = [X.shape[1] for X in layers.values()]
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


def cases(size="usual", device="cpu"):
    """Cases of a size, on the CPU alone; the usual one is that of the published study."""
    which = SMALL if size == "small" else PUBLISHED
    run = functools.partial(_on_one_thread, which)
    return [benchmarks.Case(_name(which), which.seconds, run)] if device == "cpu" else []


def _name(size):
    """A size in words."""
    return (
        f"{size.n_train} + {size.n_test} stimuli, {size.n_layers} layers of {size.n_units} units, "
        f"{size.n_voxels} voxels"
    )


def _on_one_thread(size):
    """Rows of all comparisons of a size."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            return _compare(size, *simulate(size))
    finally:
        torch.set_num_threads(n_threads)


def _compare(size, layers, responses):
    """Time each opponent, and ours, on the same data."""
    found, ours_s = benchmarks.cpu_seconds(lambda: ours(layers, responses))
    r = found["r"].mean().item()
    (fit, theirs), training_s = benchmarks.cpu_seconds(
        lambda: published(layers, responses, size.n_epochs), repeats=1
    )
    n_epochs = len(fit.history)
    shares = found["kernel_share"].sel(layer=list(SHARES)).values[0, 0]
    shares = ", ".join(f"{n} {s:.2f} found of {t}" for (n, t), s in zip(SHARES.items(), shares, strict=True))
    case = f"{_name(size)}; held-out r {r:.4f} beside {theirs:.4f}; {shares}"
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
    case = (
        f"{_name(size)}; held-out r {r:.4f} beside {theirs:.4f}; weights per region beside weights per voxel"
    )
    rows.append(benchmarks.row("layer_weighted", case, ours_s, "himalaya MultipleKernelRidgeCV", seconds))
    return rows
