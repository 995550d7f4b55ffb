"""A decoding study of full size: the time that was foretold beside the time that it took."""

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import benchmarks
from lib import budget, decoding, released

WIDTHS = {"V1": 1000, "V2": 1000, "V3": 700, "V4": 700, "HVC": 2500}


def compare(*, n_subjects=3, widths=None, n_layers=8, n_units=1000, n_train=1200, n_test=50, repeats=(5, 24)):
    """Wall time of decoding all layers from all regions, with its forecast as the opponent.

    Parameters
    ----------
    n_subjects, n_layers, n_units, n_train, n_test : int
    widths : dict of str to int, optional
        Voxels of each region.
    repeats : tuple of int
        Presentations of train and of test stimuli.

    Returns
    -------
    list of dict
        One row; `ratio` is forecast / measured.
    """
    widths = widths or WIDTHS
    with tempfile.TemporaryDirectory() as folder:
        source, responses = study(
            Path(folder), (n_subjects, widths), (n_layers, n_units), (n_train, n_test), repeats
        )
        foretold = decoding.forecast(source, responses)
        start = time.perf_counter()
        decoding.decode(source, responses, folder)
        took = time.perf_counter() - start
    case = (
        f"{n_subjects} subjects x {len(widths)} regions ({min(widths.values())} to {max(widths.values())} voxels) x "
        f"{n_layers} layers x {n_units} units, {n_train * repeats[0]} presentations, wall time, "
        f"{budget.size(foretold['memory'])} of memory"
    )
    return [benchmarks.row("decoding_forecast", case, took, "its own forecast", foretold["seconds"])]


def study(folder, brain, network, stimuli, repeats):
    """Features in a file and responses, both reading 100 latents; each layer, and each region, another part of them.

    Parameters
    ----------
    folder : pathlib.Path
    brain : tuple
        Number of subjects; number of voxels of each region, by name.
    network, stimuli, repeats : tuple of int
        Layers and units of each; train and test stimuli; presentations of either.

    Returns
    -------
    source : pathlib.Path
    responses : xarray.Dataset
    """
    rng, names = np.random.default_rng(0), [f"s{i:05d}" for i in range(sum(stimuli))]
    latents = rng.standard_normal((len(names), 100)).astype(np.float32)

    def read_out(n, part):
        weights = rng.standard_normal((100, n)).astype(np.float32)
        weights *= np.exp(-((np.arange(100)[:, None] / 100 - part) ** 2) / 0.05)
        return latents @ weights

    layers = {
        f"layer{i}": read_out(network[1], i / max(1, network[0] - 1))
        + rng.standard_normal((len(names), network[1]))
        for i in range(network[0])
    }
    n_subjects, widths = brain
    parts = dict(zip(widths, np.linspace(0, 1, len(widths)), strict=True))
    cells = [(f"p{s}", roi, n) for s in range(n_subjects) for roi, n in widths.items()]
    signal = np.concatenate([read_out(n, parts[roi]) for _, roi, n in cells], axis=1)
    sides = np.split(signal, [stimuli[0]])
    train, test = (
        side + 10 * rng.standard_normal((n, *side.shape)) for n, side in zip(repeats, sides, strict=True)
    )
    responses = xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), train),
            "test_response": (("test_repeat", "test_stimulus", "voxel"), test),
            "train": (("split", "stimulus"), np.ones((1, stimuli[0]), bool)),
        },
        coords={
            "stimulus": names[: stimuli[0]],
            "test_stimulus": names[stimuli[0] :],
            "split": [0],
            "subject": ("voxel", np.repeat([s for s, *_ in cells], [n for *_, n in cells])),
            "roi": ("voxel", np.repeat([roi for _, roi, _ in cells], [n for *_, n in cells])),
            "voxel": [f"v{i:05d}" for i in range(signal.shape[1])],
        },
    )
    table = pd.DataFrame({"stimulus": names, "sha256": "0" * 64})

    def rows(_, wanted):
        yield from ((layer, layers[layer].astype(np.float32)) for layer in wanted)

    source = folder / "features.nc"
    released.store(released.Release("simulated", tuple(layers), "0" * 64, rows), table, source)
    return source, responses
