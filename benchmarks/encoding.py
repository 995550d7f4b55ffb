"""Encoding of one layer by all splits for the voxels of two studies of the auditory cortex, beside other software.

Synthetic layers of 1,000 to 100,000 units and responses of the size of Norman-Haignere et al. (2015; 7,694 voxels)
and Boebinger et al. (2021; 26,792): 165 sounds, three repeats, the ten published splits, 100 penalties. Each side
starts from float32 features in memory. Ours is `encoding.encode`: predictions of the mean and of each repeat, all
scores, the correction for noise. The others only fit (penalties chosen, test stimuli predicted, for the mean and for
each repeat), scores left out:

- the published scheme, scikit-learn's `RidgeCV` per voxel and target; timed for some voxels of one split, since every
  fit takes as long, and scaled to all;
- himalaya's `KernelRidgeCV` on all voxels at once, with products between stimuli that are computed once and centred
  per split. It has no closed form for leaving one out: its default, five folds, does the least work it offers. Timed
  for some of the ten splits, since every split takes as long, and scaled; in float64 with the published penalties,
  and in float32, which cannot hold these, with 100 penalties that it can.

CPU seconds, on one thread (waiting threads count as CPU time) and with as many as each library starts by itself. The
time of ours grows with voxels and units by the exponents told. With a GPU: seconds of ours there, and those in which
its memory could be read and written as often as the fits at least have to.
"""

import time
import warnings
from contextlib import nullcontext
from itertools import product

import numpy as np
import xarray as xr
from himalaya.backend import set_backend
from himalaya.kernel_ridge import KernelRidgeCV
from sklearn.linear_model import RidgeCV
from threadpoolctl import threadpool_limits

import benchmarks
from lib import encoding, folds, ridge

N_STIMULI, N_REPEATS = 165, 3
UNITS = (1_000, 10_000, 100_000)
VOXELS = (7_694, 26_792)
SMALL = {"units": (200, 2_000), "voxels": (300, 900)}
# himalaya in float32 cannot hold the published grid.
NARROW = np.logspace(-5, 15, 100)
# Voxels that scikit-learn is timed on take it about as long as this many of 1,000 units.
N_SAMPLED = 200
N_SPLITS_TIMED = 2


def simulate(n_units, n_voxels, seed=0):
    """Features with the decaying spectrum of a layer, responses (repeat, stimulus, voxel), published splits."""
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((N_STIMULI, 100)) / np.arange(1, 101)
    X = latents @ rng.standard_normal((100, n_units)) + 0.01 * rng.standard_normal((N_STIMULI, n_units))
    signal = 3 * latents[:, :20] @ rng.standard_normal((20, n_voxels))
    Y = signal + 3 * rng.standard_normal((N_REPEATS, N_STIMULI, n_voxels))
    return X.astype(np.float32), Y, folds.published_splits(N_STIMULI)


def ours(X, Y, trains, device=None):
    """Everything that an encoding holds."""
    stimuli = {"stimulus": [f"sound{i}" for i in range(N_STIMULI)]}
    values = {"response": (("repeat", "stimulus", "voxel"), Y), "train": (("split", "stimulus"), trains)}
    layer = xr.DataArray(X, dims=("stimulus", "unit"), coords=stimuli)
    return encoding.encode(layer, xr.Dataset(values, coords=stimuli), device=device)


def targets(Y):
    """Mean and single repeats as columns (stimulus, target · voxel)."""
    return np.concatenate([Y.mean(axis=0)[None], Y]).transpose(1, 0, 2).reshape(N_STIMULI, -1)


def scikit_learn(X, columns, train):
    """The published scheme: penalties and predictions, one fit per voxel and target."""
    X = X - X[train].mean(axis=0)
    fits = [RidgeCV(alphas=ridge.ALPHAS).fit(X[train], y[train]) for y in columns.T]
    return np.array([fit.alpha_ for fit in fits]), np.array([fit.predict(X[~train]) for fit in fits]).T


def himalaya(K, columns, trains, alphas):
    """Predictions of all voxels and targets at once, split by split, from products between stimuli."""
    predictions = []
    for train in trains:
        means = K[:, train].mean(axis=1, keepdims=True)
        centred = K - means - means.T + means[train].mean()
        mean = columns[train].mean(axis=0)
        model = KernelRidgeCV(alphas=alphas, kernel="precomputed", warn=False)
        model.fit(centred[np.ix_(train, train)], columns[train] - mean)
        predictions.append(model.predict(centred[np.ix_(~train, train)]) + mean)
    return predictions


def compare(*, small=False):
    """Rows of all comparisons; a few small sizes in seconds to try it."""
    set_backend("numpy")
    sizes = SMALL if small else {"units": UNITS, "voxels": VOXELS}
    rows, seconds = [], {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n_units, n_voxels in product(sizes["units"], sizes["voxels"]):
            rows += _compare(n_units, n_voxels, seconds)
        rows += _gpu(sizes["units"][0], sizes["voxels"][-1])
    growth = _growth(seconds)
    return [row | {"case": f"{row['case']}; {growth}"} for row in rows]


def _compare(n_units, n_voxels, seconds):
    """Comparisons of one size; what ours takes on one thread is noted by size."""
    X, Y, trains = simulate(n_units, n_voxels)
    columns, n_splits = targets(Y), len(trains)
    size = f"{N_STIMULI} stimuli, {n_units} units, {n_voxels} voxels x {N_REPEATS + 1} targets, {n_splits} splits"
    rows = []
    for threads, limit in (("one thread", threadpool_limits(1)), ("threads as they come", nullcontext())):
        with limit:
            scores, ours_s = benchmarks.cpu_seconds(lambda: ours(X, Y, trains), repeats=2)
            if threads == "one thread":
                seconds[n_units, n_voxels] = ours_s
            said, scikit_s = _scikit_learn(X, columns, trains, scores)
            case = f"{size}, {threads}; {said}"
            rows.append(benchmarks.row("encoding", case, ours_s, "scikit-learn RidgeCV per voxel", scikit_s))
            timed = trains[:N_SPLITS_TIMED] if threads == "one thread" else trains[:1]
            for dtype, alphas in (("float64", ridge.ALPHAS), ("float32", NARROW)):
                # The first call of a library does what later ones find done.
                himalaya(X[:, :9].astype(dtype) @ X[:, :9].astype(dtype).T, columns[:, :9], timed, alphas)
                himalaya_s = _himalaya(X.astype(dtype), columns.astype(dtype), timed, alphas, n_splits)
                how = (
                    f"leave-one-out in float64 beside 5 folds in {dtype}, timed on {len(timed)} of the splits"
                )
                case = f"{size}, {threads}; {how}"
                rows.append(benchmarks.row("encoding", case, ours_s, "himalaya KernelRidgeCV", himalaya_s))
    return rows


def _scikit_learn(X, columns, trains, scores):
    """How far ours agrees with it, in words, and its seconds for all voxels, targets and splits."""
    n_voxels = scores.sizes["voxel"]
    n = int(np.clip(N_SAMPLED * 1_000 // X.shape[1], 4, min(N_SAMPLED, n_voxels // 10)))
    chosen = np.arange(n) * (n_voxels // n)
    some = columns[:, (np.arange(N_REPEATS + 1)[:, None] * n_voxels + chosen).ravel()]
    (alpha, predictions), seconds = benchmarks.cpu_seconds(
        lambda: scikit_learn(X, some, trains[0]), repeats=1
    )
    same = np.isclose(scores["alpha"].values[0, chosen], alpha[:n], rtol=1e-9)
    found = scores["prediction"].values[0][~trains[0]][:, chosen]
    difference = np.abs(found - predictions[:, :n])[:, same].max() / np.abs(predictions[:, :n]).max()
    said = (
        f"leave-one-out both, timed on {n} voxels of one split; same penalty in {same.sum()} of {n}, there "
    )
    return said + f"predictions to {difference:.0e}", seconds / n * n_voxels * len(trains)


def _himalaya(X, columns, timed, alphas, n_splits):
    """Its seconds for all splits: products between stimuli once, and every split like those timed."""
    K, once = benchmarks.cpu_seconds(lambda: X @ X.T, repeats=2)
    _, seconds = benchmarks.cpu_seconds(lambda: himalaya(K, columns, timed, alphas), repeats=1)
    return once + seconds / len(timed) * n_splits


def _growth(seconds):
    """Exponents of voxels and units in the time of ours, in words, by least squares of logarithms."""
    logs = np.log([(n_units, n_voxels, 1) for n_units, n_voxels in seconds])
    logs[:, 2] = 1
    units, voxels, _ = np.linalg.lstsq(logs, np.log(list(seconds.values())), rcond=None)[0]
    return f"on one thread ours grows as voxels^{voxels:.2f} and units^{units:.2f}"


def _gpu(n_units, n_voxels):
    """Ours on a GPU beside the time its memory needs for what has to move; no rows without one."""
    import torch

    if not torch.cuda.is_available():
        return []
    X, Y, trains = simulate(n_units, n_voxels)
    columns, layer, name = targets(Y), ridge.compress([X]), torch.cuda.get_device_name()
    seconds = wall_seconds(
        lambda: [ridge.leave_one_out(layer, columns, train, device="cuda") for train in trains]
    )
    floor = columns.nbytes * len(trains) / bandwidth("cuda")
    case = f"fits of {N_STIMULI} stimuli, {n_units} units, {columns.shape[1]} columns, {len(trains)} splits on {name}, "
    case += f"wall time, {floor / seconds:.2%} of what reading train responses and writing predictions once would need"
    return [benchmarks.row("encoding", case, seconds, "bandwidth of its memory", floor)]


def wall_seconds(function, repeats=3):
    """Least wall time of several calls after a first that does not count."""
    function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def bandwidth(device, n_bytes=1 << 30):
    """Bytes per second that a device reads and writes when it copies."""
    import torch

    source = torch.ones(n_bytes // 8, dtype=torch.float64, device=device)
    target = torch.empty_like(source)

    def copy():
        target.copy_(source)
        if source.is_cuda:
            torch.cuda.synchronize()

    return 2 * n_bytes / wall_seconds(copy)


if __name__ == "__main__":
    benchmarks.append(compare())
