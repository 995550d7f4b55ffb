"""A small brain that reads known layers, and the features of its stimuli in a file, for tests of decoding."""

import numpy as np
import pandas as pd
import xarray as xr

from lib import features, released

LAYERS = ("first", "second", "third")
ROIS = ("A", "B", "C")


def case(
    folder, *, n_train=40, n_test=20, n_units=12, n_voxels=7, n_repeats=3, n_subjects=2, noise=0.5, seed=0
):
    """Features on disk and responses, `test_response` apart; region k reads the latents of layer k."""
    rng = np.random.default_rng(seed)
    names = [f"s{i:03d}" for i in range(n_train + n_test)]
    latents = rng.standard_normal((len(LAYERS), len(names), 2))
    layers = {
        layer: (z @ rng.standard_normal((2, n_units)) + 2 + 0.05 * rng.standard_normal((len(names), n_units)))
        for layer, z in zip(LAYERS, latents, strict=True)
    }  # fmt: skip
    source = folder / "features.nc"
    write(source, names, layers, rng)
    cells = [
        (f"p{s}", roi, k) for s in range(n_subjects) for k, roi in enumerate(ROIS) for _ in range(n_voxels)
    ]
    signal = np.stack([latents[k] @ rng.standard_normal(2) for *_, k in cells], 1)
    single = 5 + signal + noise * rng.standard_normal((n_repeats, *signal.shape))
    responses = xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), single[:, :n_train]),
            "test_response": (("test_repeat", "test_stimulus", "voxel"), single[:, n_train:]),
            "train": (("split", "stimulus"), np.ones((1, n_train), bool)),
        },
        coords={
            "stimulus": names[:n_train],
            "test_stimulus": names[n_train:],
            "voxel": [f"v{i:03d}" for i in range(len(cells))],
            "subject": ("voxel", [s for s, *_ in cells]),
            "roi": ("voxel", [roi for _, roi, _ in cells]),
            "split": [0],
        },
        attrs={"target": "small", "kind": "voxel"},
    )
    return source, responses


def write(source, names, layers, rng):
    """Features as extracted, rows in an order of their own."""
    order = rng.permutation(len(names))
    table = pd.DataFrame({"stimulus": np.array(names)[order], "sha256": "0" * 64})
    rows = {
        layer: dict(zip(names, values.astype(np.float32), strict=True)) for layer, values in layers.items()
    }

    def read(stimuli, wanted):
        for layer in wanted:
            yield layer, np.stack([rows[layer][name] for name in stimuli])

    digest = released.digest({layer: values.tolist() for layer, values in layers.items()}, names)
    released.store(released.Release("small", tuple(layers), digest, read), table, source)


def columns(source, layer, ids):
    """A layer, stimuli in order."""
    return next(features.blocks(source, layer, ids=ids, n_units=None)).astype(float)


def halves(responses):
    """The same with two splits of the train stimuli, and no test stimuli apart."""
    n = responses.sizes["stimulus"]
    train = np.zeros((2, n), bool)
    train[0, : n // 2], train[1, n // 4 : -n // 4] = True, True
    some = responses.drop_dims(["test_stimulus", "split"])
    return some.assign(train=(("split", "stimulus"), train)).assign_coords(split=[3, 5])
