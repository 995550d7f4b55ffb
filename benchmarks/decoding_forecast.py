"""A decoding study of full size: the time that was foretold beside the time that it took."""

import functools
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import benchmarks
from lib import budget, decoding, released

WIDTHS = {"V1": 1000, "V2": 1000, "V3": 700, "V4": 700, "HVC": 2500}
# Subjects and voxels of each region; layers and units of each; train and test stimuli; presentations of either.
ONE_SUBJECT = ((1, WIDTHS), (8, 1000), (1200, 50), (5, 24))
STUDY = ((3, WIDTHS), (8, 1000), (1200, 50), (5, 24))
MINIATURE = ((1, {"V1": 60, "HVC": 120}), (2, 100), (150, 20), (2, 3))


def cases(size="usual", device="cpu"):
    """Cases of a size; on the CPU alone."""
    if device != "cpu":
        return []
    found = {
        "small": [(MINIATURE, 5)],
        "usual": [(ONE_SUBJECT, 90)],
        "full": [(ONE_SUBJECT, 90), (STUDY, 250)],
    }
    return [benchmarks.Case(_name(*c), s, functools.partial(_compare, *c)) for c, s in found[size]]


def _name(brain, network, stimuli, repeats):
    """A size in words."""
    (n_subjects, widths), (n_layers, n_units) = brain, network
    return (
        f"{n_subjects} subjects x {len(widths)} regions ({min(widths.values())} to {max(widths.values())} voxels) x "
        f"{n_layers} layers x {n_units} units, {stimuli[0] * repeats[0]} presentations, wall time"
    )


def _compare(*case):
    """Wall time of decoding all layers from all regions, with its forecast as the opponent; one row."""
    with tempfile.TemporaryDirectory() as folder:
        source, responses = study(Path(folder), *case)
        foretold = decoding.forecast(source, responses)
        with benchmarks.stopwatch() as took:
            decoding.decode(source, responses, folder)
    said = f"{_name(*case)}; {budget.size(foretold['memory'])} of memory"
    return [benchmarks.row("decoding_forecast", said, took[0], "its own forecast", foretold["seconds"])]


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
