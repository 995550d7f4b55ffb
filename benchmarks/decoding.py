"""Decoding of a layer's units from voxels of which each uses the 500 that correlate most with it, beside fastl2lir.

1,200 samples, 5,000 voxels, 1,000 units, penalty 100, bias penalised as published: weights from float64 arrays in
memory, nothing made beforehand. Two kinds of data. Of a common origin: voxels and units read out the same latents, of
decaying size as in a layer, voxels with as unequal signals as in a brain; many units then select the same voxels, and
share work. Noise: they select independently and share nothing, the worst case. fastl2lir takes the same time for both.

CPU seconds, with as many threads as each starts by itself; wall time is told. The floor is that of one factor for each
unit: (half of) the products between voxels, those of voxels and units, and Cholesky factors of 501 rows, at the
speed that a large product of matrices reaches in the same run. Sharing work goes below what it counts.

fastl2lir 0.11 writes arrays of one number into single places, which NumPy since 2.4 refuses. Here it gets solutions
as plain vectors, so that these writes pass; nothing else is changed.
"""

import contextlib
import os
import time
import warnings
from unittest import mock

import fastl2lir.fastl2lir as package
import numpy as np
from tqdm import tqdm

import benchmarks
from benchmarks import encoding
from lib import selected_ridge

SIZE = {"n_samples": 1_200, "n_voxels": 5_000, "n_units": 1_000, "n_feat": 500}
SMALL = {"n_samples": 120, "n_voxels": 300, "n_units": 40, "n_feat": 50}
KINDS = ("of a common origin", "noise")
ALPHA = 100.0


def simulate(kind, *, n_samples, n_voxels, n_units, seed=0):
    """Standardised voxels and units, float64."""
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((n_samples, n_voxels)), rng.standard_normal((n_samples, n_units))
    if kind == "of a common origin":
        latents = rng.standard_normal((n_samples, 100)) / np.arange(1, 101)
        signal = latents @ rng.standard_normal((100, n_voxels))
        X += 0.5 * np.exp(rng.standard_normal(n_voxels)) * signal / signal.std(axis=0)
        Y = latents @ rng.standard_normal((100, n_units))
    return [(array - array.mean(axis=0)) / array.std(axis=0, ddof=1) for array in (X, Y)]


def ours(X, Y, n_feat, device=None):
    """Selected voxels, weights and biases."""
    return selected_ridge.prepare(X, alpha=ALPHA, n_feat=n_feat, published="nonaka2021", device=device).fit(Y)


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


def compare(*, small=False):
    """Rows of all comparisons; a small size to try it."""
    size = dict(SMALL if small else SIZE)
    n_feat = size.pop("n_feat")
    said = "{n_samples} samples, {n_voxels} voxels, {n_units} units, {n} selected".format(**size, n=n_feat)
    floor, rows = floor_s(n_feat=n_feat, **size), []
    for kind in KINDS:
        X, Y = simulate(kind, **size)
        with clock() as ours_wall:
            fit, ours_s = benchmarks.cpu_seconds(lambda: ours(X, Y, n_feat), repeats=3)  # noqa: B023
        with clock() as their_wall:
            (W, b), their_s = benchmarks.cpu_seconds(lambda: fastl2lir(X, Y, n_feat), repeats=1)  # noqa: B023
        difference = np.abs(selected_ridge.sparse(fit).T.toarray() - W).max() / np.abs(W).max()
        bias = np.abs(fit.bias - b).max()
        case = f"{said}, {kind}; weights differ by {difference:.0e} of the largest, biases by {bias:.0e}; "
        case += f"wall {ours_wall[0] / 3:.2f} s against {their_wall[0]:.2f} s; "
        case += f"floor of one factor per unit {floor:.2f} s, {floor / ours_s:.0%} of ours"
        rows.append(benchmarks.row("decoding", case, ours_s, "fastl2lir", their_s))
        rows += _gpu(X, Y, n_feat, f"{said}, {kind}", their_wall[0])
    return rows


@contextlib.contextmanager
def clock():
    """A list that holds the wall time of the block once it has ended."""
    seconds, start = [], time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - start)


def floor_s(*, n_samples, n_voxels, n_units, n_feat):
    """CPU seconds of the least arithmetic with one factor for each unit, at the speed of a large product."""
    products = n_samples * n_voxels**2 + 2 * n_samples * n_voxels * n_units
    A = np.ones((2_000, 2_000))
    _, seconds = benchmarks.cpu_seconds(lambda: A @ A)
    return (products + n_units * (n_feat + 1) ** 3 / 3) * seconds / (2 * len(A) ** 3)


def _gpu(X, Y, n_feat, said, their_s):
    """Ours on a GPU beside fastl2lir's wall time; no rows without one."""
    import torch

    if not torch.cuda.is_available():
        return []
    seconds = encoding.wall_seconds(lambda: ours(X, Y, n_feat, device="cuda"))
    case = f"{said} on {torch.cuda.get_device_name()}, transfers included, wall time of both"
    return [benchmarks.row("decoding", case, seconds, "fastl2lir on the CPU", their_s)]


if __name__ == "__main__":
    benchmarks.append(compare())
