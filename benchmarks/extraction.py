"""Extraction of every block of a network from files to a file, beside the bare forward pass of the same network.

Both sides pass the same pictures in the same batches in inference mode on the same device, on one thread. The bare
pass has its preprocessed inputs in memory and throws its outputs away; extraction reads and decodes pictures,
records each block, checks it, and writes it to disk. Wall time of all batches after the first, so that what is done
only once (six trial passes of one picture, drawing a projection) does not count: the ratio is the throughput of
extraction as a share of that of the bare pass. Random weights take as long as any.
"""

import hashlib
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

import benchmarks
from lib import activations, features, models
from lib.reduction import Reduction

N_STIMULI, BATCH_SIZE, ROUNDS = 72, 8, 3
CASES = {"pooled": Reduction("mean"), "srp": Reduction(projection="srp"), "whole": Reduction()}
NETWORKS = ("resnet50", "vit_b_32")


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


def pictures(folder):
    """Table of photograph-like pictures of 400 by 300 in JPEG."""
    generator, rows = np.random.default_rng(0), []
    (folder / "data").mkdir()
    for i in range(N_STIMULI):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        file = folder / "data" / f"{i}.jpg"
        coarse.resize((400, 300), Image.Resampling.BICUBIC).save(file, quality=90)
        rows.append((str(i), file.name, hashlib.sha256(file.read_bytes()).hexdigest()))
    return pd.DataFrame(rows, columns=["stimulus", "file", "sha256"])


def bare_s(model, inputs, on):
    """Seconds of the forward passes alone, after the first."""
    with activations.inference(model.module, on) as module:
        float(module(inputs[:BATCH_SIZE]).sum())
        start = time.perf_counter()
        for i in range(BATCH_SIZE, N_STIMULI, BATCH_SIZE):
            outputs = module(inputs[i : i + BATCH_SIZE])
        float(outputs.sum())  # a GPU has finished only then
        return time.perf_counter() - start


def ours_s(model, table, path, reduce):
    """Seconds of an extraction from pictures to file, after its first batch."""
    seconds = []
    for rows in (table, table.iloc[:BATCH_SIZE]):
        path.unlink(missing_ok=True)
        start = time.perf_counter()
        features.extract(model, rows, path, batch_size=BATCH_SIZE, reduce=reduce)
        seconds.append(time.perf_counter() - start)
    return seconds[0] - seconds[1]


def compare():
    """Rows of all comparisons."""
    rows, on, before = [], activations.device(), os.environ.get("COMPENDIUM_HOME")
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        os.environ["COMPENDIUM_HOME"] = place
        table = pictures(Path(place))
        for name in NETWORKS:
            rows += _rows(network(name), table, Path(place) / "features.nc", on)
    torch.set_num_threads(n_threads)
    os.environ.pop("COMPENDIUM_HOME")
    os.environ.update({"COMPENDIUM_HOME": before} if before else {})
    return rows


def _rows(model, table, path, on):
    """Rows of one network; sides take turns, and the least of each counts, since other work only ever adds."""
    read = [np.asarray(Image.open(path.parent / "data" / file)) for file in table["file"]]
    inputs = torch.stack([model.preprocess(picture) for picture in read]).to(on)
    times = {what: [] for what in ("bare", *CASES)}
    for _ in range(ROUNDS):
        times["bare"].append(bare_s(model, inputs, on))
        for what, reduce in CASES.items():
            times[what].append(ours_s(model, table, path, reduce))
    found, size = (
        [],
        f"{N_STIMULI} pictures in batches of {BATCH_SIZE} on {on.type}, {torch.get_num_threads()} thread(s)",
    )
    for what, reduce in CASES.items():
        features.extract(model, table, path, batch_size=BATCH_SIZE, reduce=reduce)
        case = f"{model.name}, every block, {what}: {size}, wall time, {path.stat().st_size / 1e6:.0f} MB written"
        least, bare = min(times[what]), min(times["bare"])
        found.append(benchmarks.row("extraction", case, least, "bare forward pass", bare))
    return found


if __name__ == "__main__":
    benchmarks.append(compare())
