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

CPU seconds, on one thread (waiting threads count as CPU time); of all sizes also with as many as each library starts
by itself. The time of ours grows with voxels and units by the exponents told once four sizes are measured. On a GPU
both sides start from the products between stimuli there: ours are the fits alone, beside himalaya's on the same GPU,
and beside the time in which its memory could be read and written as often as the fits at least have to.
"""

import warnings
from contextlib import nullcontext
from functools import partial

import numpy as np
import xarray as xr
from himalaya.backend import set_backend
from himalaya.kernel_ridge import KernelRidgeCV
from sklearn.linear_model import RidgeCV
from threadpoolctl import threadpool_limits

import benchmarks
from lib import encoding, folds, ridge

N_STIMULI, N_REPEATS = 165, 3
# Units, voxels, and seconds on two idle cores with one thread.
FULL = {
    (1_000, 7_694): 30,
    (10_000, 7_694): 35,
    (100_000, 7_694): 40,
    (1_000, 26_792): 100,
    (10_000, 26_792): 100,
    (100_000, 26_792): 110,
}
SIZES = {
    "small": {(200, 300): 4},
    "usual": {size: FULL[size] for size in ((10_000, 7_694), (100_000, 26_792))},
    "full": FULL,
}
TOLERANCE = 1e-5  # of predictions, relative to the largest: features are in single precision
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
        means = K[:, train].mean(1)[:, None]
        centred = K - means - means.T + means[train].mean()
        mean = columns[train].mean(0)
        model = KernelRidgeCV(alphas=alphas, kernel="precomputed", warn=False)
        model.fit(centred[train][:, train], columns[train] - mean)
        predictions.append(model.predict(centred[~train][:, train]) + mean)
    return predictions


def cases(size="usual", device="cpu"):
    """Cases of a size on a device."""
    sizes, measured = SIZES[size], {}
    if device != "cpu":
        return [
            benchmarks.Case(_name(*which), seconds, partial(on_device, *which, device=device))
            for which, seconds in sizes.items()
        ]
    threads = ("one thread", "threads as they come") if size == "full" else ("one thread",)
    return [
        benchmarks.Case(f"{_name(*which)}, {how}", seconds, partial(_compare, *which, how, measured))
        for which, seconds in sizes.items()
        for how in threads
    ]


def _name(n_units, n_voxels):
    """A size in words."""
    return f"165 sounds, {n_units} units, {n_voxels} voxels x {N_REPEATS + 1} targets, 10 splits"


def _compare(n_units, n_voxels, how, measured):
    """Comparisons of one size; what ours takes on one thread is noted by size."""
    X, Y, trains = simulate(n_units, n_voxels)
    columns, size = targets(Y), f"{_name(n_units, n_voxels)}, {how}"
    set_backend("numpy")
    with warnings.catch_warnings(), threadpool_limits(1) if how == "one thread" else nullcontext():
        warnings.simplefilter("ignore")
        scores, ours_s = benchmarks.cpu_seconds(lambda: ours(X, Y, trains), repeats=2)
        if how == "one thread":
            measured[n_units, n_voxels] = ours_s
        said, scikit_s = _scikit_learn(X, columns, trains, scores)
        grown = _growth(measured)
        found = [(said, "scikit-learn RidgeCV per voxel", scikit_s)]
        timed = trains[:N_SPLITS_TIMED] if how == "one thread" else trains[:1]
        for dtype, alphas in (("float64", ridge.ALPHAS), ("float32", NARROW)):
            # The first call of a library does what later ones find done.
            himalaya(X[:, :9].astype(dtype) @ X[:, :9].astype(dtype).T, columns[:, :9], timed, alphas)
            seconds = _himalaya(X.astype(dtype), columns.astype(dtype), timed, alphas, len(trains))
            said = f"leave-one-out in float64 beside 5 folds in {dtype}, timed on {len(timed)} of the splits"
            found.append((said, f"himalaya KernelRidgeCV, {dtype}", seconds))
    return [
        benchmarks.row("encoding", f"{size}; {said}{grown}", ours_s, opponent, seconds)
        for said, opponent, seconds in found
    ]


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
    benchmarks.agreed("penalties, as a share of voxels,", 1 - same.mean(), 0.1)
    found = scores["prediction"].values[0][~trains[0]][:, chosen]
    difference = np.abs(found - predictions[:, :n])[:, same].max() / np.abs(predictions[:, :n]).max()
    benchmarks.agreed("predictions", difference, TOLERANCE)
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
    """Exponents of voxels and units in the time of ours, in words, by least squares of logarithms of some sizes."""
    if len(seconds) < 4:
        return ""
    logs = np.log([(n_units, n_voxels, np.e) for n_units, n_voxels in seconds])
    units, voxels, _ = np.linalg.lstsq(logs, np.log(list(seconds.values())), rcond=None)[0]
    return f"; on one thread ours grows as voxels^{voxels:.2f} and units^{units:.2f}"


def on_device(n_units, n_voxels, *, device):
    """Fits of ours and of himalaya on a device, by torch on the CPU too; rows of one size.

    Parameters
    ----------
    n_units, n_voxels : int
    device : str
        "cpu" or "cuda".

    Returns
    -------
    list of dict
    """
    import torch

    X, Y, trains = simulate(n_units, n_voxels)
    columns, layer = targets(Y), ridge.compress([X])
    fits, ours_s = benchmarks.device_seconds(
        lambda: [ridge.leave_one_out(layer, columns, train, device=device) for train in trains], device
    )
    floor_s = columns.nbytes * len(trains) / bandwidth(device, 1 << (30 if device == "cuda" else 24))
    said = f"fits alone; reading train responses and writing predictions once needs {floor_s / ours_s:.1%} of ours"
    rows = [("bandwidth of its memory", said, floor_s)]
    set_backend("torch_cuda" if device == "cuda" else "torch")
    there = {"device": device, "dtype": torch.float64}
    K, Y = torch.as_tensor(X, **there), torch.as_tensor(columns, **there)
    K, sides = K @ K.T, [torch.as_tensor(train, device=device) for train in trains]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predictions, timed_s = benchmarks.device_seconds(
                lambda: himalaya(K, Y, sides[:N_SPLITS_TIMED], ridge.ALPHAS), device, repeats=1
            )
    finally:
        set_backend("numpy")  # which is a setting of the whole process
    r = np.corrcoef(fits[0].predictions[~trains[0]].ravel(), predictions[0].cpu().numpy().ravel())[0, 1]
    said = (
        f"fits alone, leave-one-out beside 5 folds, both in float64, timed on {N_SPLITS_TIMED} of the splits"
    )
    said += f"; predictions correlate at {r:.3f}"
    rows.append(("himalaya KernelRidgeCV, float64", said, timed_s / N_SPLITS_TIMED * len(trains)))
    size = _name(n_units, n_voxels)
    return [benchmarks.row("encoding", f"{size}; {said}", ours_s, o, s, device=device) for o, said, s in rows]


def bandwidth(device, n_bytes=1 << 30):
    """Bytes per second that a device reads and writes when it copies."""
    import torch

    source = torch.ones(n_bytes // 8, dtype=torch.float64, device=device)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(4):  # the first takes longer
        with benchmarks.stopwatch(device) as taken:
            target.copy_(source)
        seconds += taken
    return 2 * n_bytes / min(seconds)
