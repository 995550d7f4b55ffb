"""Extraction of every block of a network from files to a file, beside the bare forward pass of the same network.

Both sides pass the same pictures in the same batches in inference mode on the same device, on one thread of the CPU.
The bare pass has its preprocessed inputs in memory and throws its outputs away; extraction reads and decodes
pictures, records each block, checks it, and writes it to disk. Wall time of all batches after the first, so that what
is done only once (six trial passes of one picture, drawing a projection) does not count: the ratio is the throughput
of extraction as a share of that of the bare pass. Random weights take as long as any. The last layer as written has
to be what the bare pass gives.
"""

import functools
import hashlib
import os
import tempfile
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import pandas as pd
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

import benchmarks
from lib import activations, features, models
from lib.reduction import Reduction

CASES = {"pooled": Reduction("mean"), "srp": Reduction(projection="srp"), "whole": Reduction()}
BATCH_SIZE = 8
# Network, pictures, rounds in which sides take turns, and seconds of each way on two idle cores.
RESNET50, VIT = ("resnet50", 72, 3, 45), ("vit_b_32", 72, 3, 45)
SIZES = {"small": [("resnet18", 16, 1, 3)], "usual": [RESNET50], "full": [RESNET50, VIT]}
TOLERANCE = 1e-5  # of the last layer, relative to its largest value: single precision


def network(name):
    """A network of torchvision with random weights and every block of it, as a model."""
    torch.manual_seed(0)
    module = models.frozen(torchvision.models.get_model(name, weights=None))
    scale = v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

    def preprocess(stimulus):
        picture = torch.from_numpy(stimulus.copy()).permute(2, 0, 1)
        return scale(v2.functional.center_crop(v2.functional.resize(picture, [256]), [224]) / 255)

    about = {
        "label": name,
        "colour": "#000000",
        "modality": "vision",
        "layers": "every-block",
        "time_axis": None,
    }
    return models.Model(name=name, module=module, preprocess=preprocess, digest="", **about)


def pictures(folder, n_stimuli):
    """Table of photograph-like pictures of 400 by 300 in JPEG."""
    generator, rows = np.random.default_rng(0), []
    (folder / "data").mkdir()
    for i in range(n_stimuli):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        file = folder / "data" / f"{i}.jpg"
        coarse.resize((400, 300), Image.Resampling.BICUBIC).save(file, quality=90)
        rows.append((str(i), file.name, hashlib.sha256(file.read_bytes()).hexdigest()))
    return pd.DataFrame(rows, columns=["stimulus", "file", "sha256"])


def bare_s(model, inputs, on):
    """Seconds of the forward passes alone, after the first, and what the last one gives."""
    with activations.inference(model.module, on) as module:
        module(inputs[:BATCH_SIZE])
        with benchmarks.stopwatch(on.type) as taken:
            for i in range(BATCH_SIZE, len(inputs), BATCH_SIZE):
                outputs = module(inputs[i : i + BATCH_SIZE])
        return taken[0], outputs.cpu().numpy()


def ours_s(model, table, path, reduce, on):
    """Seconds of an extraction from pictures to file, after its first batch."""
    seconds = []
    for rows in (table.iloc[:BATCH_SIZE], table):
        path.unlink(missing_ok=True)
        with benchmarks.stopwatch(on.type) as taken:
            features.extract(model, rows, path, batch_size=BATCH_SIZE, reduce=reduce, device=on.type)
        seconds += taken
    return seconds[1] - seconds[0]


def cases(size="usual", device="cpu"):
    """Cases of a size on a device, one for each network and way to keep its layers."""
    return [
        benchmarks.Case(
            _name(name, what, n), seconds, functools.partial(_compare, name, what, n, rounds, device)
        )
        for name, n, rounds, seconds in SIZES[size]
        for what in CASES
    ]


def _name(name, what, n):
    """A size in words."""
    return f"{name}, every block, {what}: {n} pictures in batches of {BATCH_SIZE}, one thread, wall time"


def _compare(name, what, n, rounds, device):
    """One row: sides take turns, and the least of each counts, since other work only ever adds."""
    n_threads, on = torch.get_num_threads(), activations.device(device)
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as place, mock.patch.dict(os.environ, COMPENDIUM_HOME=place):
            model, table, path = network(name), pictures(Path(place), n), Path(place) / "features.nc"
            read = [np.asarray(Image.open(path.parent / "data" / file)) for file in table["file"]]
            inputs = torch.stack([model.preprocess(picture) for picture in read]).to(on)
            times = []
            for _ in range(rounds):
                bare, outputs = bare_s(model, inputs, on)
                times.append((ours_s(model, table, path, CASES[what], on), bare))
            least, bare = (min(side) for side in zip(*times, strict=True))
            said = f"{_name(name, what, n)}; {path.stat().st_size / 1e6:.0f} MB written"
            if what != "srp":
                said += f"; last layer differs by {_difference(path, outputs):.0e}"
    finally:
        torch.set_num_threads(n_threads)
    return [benchmarks.row("extraction", said, least, "bare forward pass", bare, device=on.type)]


def _difference(path, outputs):
    """Of the last layer in a file from what the last of its stimuli give, relative to the largest value."""
    with h5py.File(path) as file:
        layers = [
            value for value in file.values() if value.shape[-1:] == outputs.shape[-1:] and value.ndim == 2
        ]
        written = layers[-1][-len(outputs) :]
    return benchmarks.agreed("features", np.abs(written - outputs).max() / np.abs(outputs).max(), TOLERANCE)
