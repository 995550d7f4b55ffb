"""Unrelated layers, and voxels that read them out in known shares."""

import numpy as np
import xarray as xr


def responses_of(Y, train, rois=None):
    """A data set of responses (repeat, stimulus, voxel) and one or more splits."""
    n_repeats, n_stimuli, n_voxels = Y.shape
    train = np.atleast_2d(train)
    return xr.Dataset(
        {"response": (("repeat", "stimulus", "voxel"), Y), "train": (("split", "stimulus"), train)},
        coords={
            "repeat": np.arange(n_repeats),
            "stimulus": [f"s{i}" for i in range(n_stimuli)],
            "voxel": [f"v{i}" for i in range(n_voxels)],
            "split": np.arange(len(train)),
            "subject": ("voxel", ["a"] * n_voxels),
            "roi": ("voxel", rois or ["P"] * n_voxels),
        },
    )


def planted(shares, *, n_stimuli=120, n_voxels=30, n_units=40, noise=0.5, seed=0):
    """Unrelated layers, and responses of which each carries a share of the variance that is not noise."""
    rng = np.random.default_rng(seed)
    layers = {f"layer{i}": rng.standard_normal((n_stimuli, n_units)) for i in range(len(shares))}
    signal = 0
    for share, X in zip(shares, layers.values(), strict=True):
        signal = signal + np.sqrt(share / n_units) * X @ rng.standard_normal((n_units, n_voxels))
    Y = signal + np.sqrt(noise / (1 - noise)) * rng.standard_normal((2, n_stimuli, n_voxels))
    return layers, responses_of(Y, rng.permutation(n_stimuli) < 0.75 * n_stimuli)
