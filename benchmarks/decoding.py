"""Decoding of a layer's units from voxels of which each uses the 500 that correlate most with it, beside fastl2lir.

Penalty 100, bias penalised as published: weights from float64 arrays in memory, nothing made beforehand.

- One layer: 1,200 samples, 5,000 voxels, 1,000 units, on two kinds of data. Of a common origin: voxels and units read
  out the same latents, of decaying size as in a layer, voxels with as unequal signals as in a brain; many units then
  select the same voxels, and share work. Noise: they select independently and share nothing, the worst case.
- A subject and region of a study: 6,000 presentations of 1,200 stimuli, eight layers of 1,000 units, 1,000 voxels (an
  early visual area, say) and 2,500; data of a common origin. fastl2lir takes the same time for every layer and all
  data, and is timed on one layer.

CPU seconds, with as many threads as each starts by itself; wall time is told. fastl2lir knows no GPU: there, ours
(transfers included) stands beside the wall time of fastl2lir on the CPU. The floor is that of one factor for each
unit: (half of) the products between voxels, those of voxels and units, and Cholesky factors of 501 rows, at the
speed that a large product of matrices reaches in the same run. Sharing work goes below what it counts.

fastl2lir 0.11 writes arrays of one number into single places, which NumPy since 2.4 refuses. Here it gets solutions
as plain vectors, so that these writes pass; nothing else is changed.
"""

import functools
import os
import warnings
from unittest import mock

import fastl2lir.fastl2lir as package
import numpy as np
from tqdm import tqdm

import benchmarks
from lib import selected_ridge

# Voxels, units of a layer, layers, presentations of each stimulus, kind of data; seconds on two idle cores.
CASES = {
    (5_000, 1_000, 1, 1, "of a common origin"): 35,
    (5_000, 1_000, 1, 1, "noise"): 35,
    (1_000, 1_000, 8, 5, "of a common origin"): 25,
    (2_500, 1_000, 8, 5, "of a common origin"): 35,
}
SMALL = {(600, 200, 1, 1, "of a common origin"): 1, (120, 200, 2, 5, "noise"): 1}
TOLERANCE = 1e-9  # of weights, relative to the largest: double precision, systems of condition 1e3 or so
N_STIMULI, N_FEAT, ALPHA = 1_200, 500, 100.0


def simulate(kind, *, n_stimuli, n_voxels, n_units, n_repeats, seed=0):
    """Standardised voxels (presentation, voxel) and units (stimulus, unit), and the stimulus of each presentation."""
    rng = np.random.default_rng(seed)
    rows = np.tile(np.arange(n_stimuli), n_repeats)
    X, Y = rng.standard_normal((len(rows), n_voxels)), rng.standard_normal((n_stimuli, n_units))
    if kind == "of a common origin":
        latents = rng.standard_normal((n_stimuli, 100)) / np.arange(1, 101)
        signal = latents @ rng.standard_normal((100, n_voxels))
        X += (0.5 * np.exp(rng.standard_normal(n_voxels)) * signal / signal.std(axis=0))[rows]
        Y = latents @ rng.standard_normal((100, n_units))
    X, Y = ((array - array.mean(axis=0)) / array.std(axis=0, ddof=1) for array in (X, Y))
    return X, Y, rows


def ours(X, Y, rows, n_feat, *, n_layers=1, device=None):
    """Selected voxels, weights and biases of each layer."""
    settings = {"alpha": ALPHA, "n_feat": n_feat, "published": "nonaka2021", "device": device}
    inputs = selected_ridge.prepare(X, rows, **settings)
    return [inputs.fit(layer) for layer in np.split(Y, n_layers, axis=1)]


def fastl2lir(X, Y, n_feat):
    """Weights (voxel, unit) and biases."""
    solve = np.linalg.solve
    with warnings.catch_warnings(), open(os.devnull, "w", encoding="utf-8") as nowhere:
        warnings.simplefilter("ignore")
        with (
            mock.patch.object(np.linalg, "solve", lambda a, b: solve(a, b).ravel()),
            mock.patch.object(package, "tqdm", lambda items: tqdm(items, file=nowhere)),
        ):
            model = package.FastL2LiR().fit(X, Y, alpha=ALPHA, n_feat=n_feat)
    return model.W, model.b


def cases(size="usual", device="cpu"):
    """Cases of a size on a device; the usual ones are all that there are."""
    n_stimuli, n_feat = (100, 50) if size == "small" else (N_STIMULI, N_FEAT)
    function = _compare if device == "cpu" else functools.partial(on_device, device=device)
    return [
        benchmarks.Case(
            _name(n_stimuli, *case), seconds, functools.partial(function, n_stimuli, n_feat, *case)
        )
        for case, seconds in (SMALL if size == "small" else CASES).items()
    ]


def _name(n_stimuli, n_voxels, n_units, n_layers, n_repeats, kind):
    """A size in words."""
    said = f"{n_stimuli * n_repeats} samples of {n_stimuli} stimuli, {n_voxels} voxels, {n_layers} x {n_units} units"
    return f"{said}, {kind}"


def _compare(n_stimuli, n_feat, *case):
    """Comparison on one size and kind of data."""
    n_voxels, n_units, n_layers, n_repeats, kind = case
    size = {"n_stimuli": n_stimuli, "n_voxels": n_voxels, "n_units": n_units * n_layers}
    X, Y, rows = simulate(kind, **size, n_repeats=n_repeats)
    repeats = 3 if n_layers == 1 else 1
    with benchmarks.stopwatch() as wall:
        fits, ours_s = benchmarks.cpu_seconds(
            lambda: ours(X, Y, rows, n_feat, n_layers=n_layers), repeats=repeats
        )
    with benchmarks.stopwatch() as their_wall:
        theirs, their_s = benchmarks.cpu_seconds(lambda: fastl2lir(X, Y[rows, :n_units], n_feat), repeats=1)
    floor = floor_s(**size, n_samples=len(X), n_feat=n_feat)
    said = f"{_name(n_stimuli, *case)}; {_agreement(fits[0], *theirs)}; "
    said += f"wall {wall[0] / repeats:.2f} s against {their_wall[0] * n_layers:.2f} s; "
    said += f"floor of one factor per unit {floor:.2f} s, {floor / ours_s:.0%} of ours"
    return [benchmarks.row("decoding", said, ours_s, "fastl2lir", their_s * n_layers)]


def _agreement(fit, W, b):
    """How far weights and biases of one layer differ from theirs, in words."""
    weights = np.abs(selected_ridge.sparse(fit).T.toarray() - W).max() / np.abs(W).max()
    biases = np.abs(fit.bias - b).max()
    benchmarks.agreed("weights", weights, TOLERANCE)
    benchmarks.agreed("biases", biases, TOLERANCE)
    return f"weights differ by {weights:.0e} of the largest, biases by {biases:.0e}"


def on_device(n_stimuli, n_feat, *case, device):
    """Ours on a device, by torch on the CPU too, beside the wall time of fastl2lir on the CPU; one row.

    Parameters
    ----------
    n_stimuli, n_feat : int
    *case
        Voxels, units of a layer, layers, presentations of each stimulus, kind of data.
    device : str
        "cpu" or "cuda".

    Returns
    -------
    list of dict
    """
    n_voxels, n_units, n_layers, n_repeats, kind = case
    size = {"n_stimuli": n_stimuli, "n_voxels": n_voxels, "n_units": n_units * n_layers}
    X, Y, rows = simulate(kind, **size, n_repeats=n_repeats)
    fits, ours_s = benchmarks.device_seconds(
        lambda: ours(X, Y, rows, n_feat, n_layers=n_layers, device=device), device
    )
    with benchmarks.stopwatch() as wall:
        theirs = fastl2lir(X, Y[rows, :n_units], n_feat)
    said = f"{_name(n_stimuli, *case)}; {_agreement(fits[0], *theirs)}; transfers included"
    row = benchmarks.row(
        "decoding", said, ours_s, "fastl2lir on the CPU, wall", wall[0] * n_layers, device=device
    )
    return [row]


def floor_s(*, n_samples, n_stimuli, n_voxels, n_units, n_feat):
    """CPU seconds of the least arithmetic with one factor for each unit, at the speed of a large product."""
    products = n_samples * n_voxels**2 + 2 * n_stimuli * n_voxels * n_units
    return (products + n_units * (n_feat + 1) ** 3 / 3) / speed()


@functools.cache
def speed(n=2_000):
    """Additions and multiplications in a second of CPU time of a large product."""
    A = np.ones((n, n))
    _, seconds = benchmarks.cpu_seconds(lambda: A @ A)
    return 2 * n**3 / seconds
