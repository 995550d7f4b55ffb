"""A small model and small stimuli for tests of what works on any model."""

import hashlib

import numpy as np
import pandas as pd
import soundfile
import torch
from PIL import Image
from torch import nn

from lib import models


def network(*parts, seed=0, **named):
    """Sequential network with weights from a seed, ready for evaluation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        whole = nn.Sequential()
        for name, part in [(str(i), part) for i, part in enumerate(parts)] + list(named.items()):
            whole.add_module(name, part() if isinstance(part, type) else part)
        for part in whole.modules():  # parts that were made before the seed was set
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
    return models.frozen(whole)


def vision(module=None, layers=("first", "second"), **changes):
    """Vision model over 16 × 16 pixels."""
    module = module or network(first=nn.Conv2d(3, 4, 3), second=nn.Conv2d(4, 5, 3, stride=2))
    return _model(module, layers, "vision", pixels, **changes)


def audio(module=None, layers=("filtered", "read"), **changes):
    """Audio model over a waveform; layers are (batch, channel, time)."""
    module = module or network(
        channel=nn.Unflatten(1, (1, -1)),
        filtered=nn.Conv1d(1, 6, 32, stride=8),
        bend=nn.Tanh(),
        read=nn.Conv1d(6, 3, 5),
    )
    return _model(module, layers, "audio", waveform, time_axis=2, **changes)


def pixels(stimulus):
    """Pixels from 0 to 1, (3, height, width)."""
    return torch.from_numpy(stimulus.astype(np.float32) / 255).permute(2, 0, 1)


def waveform(stimulus):
    """Samples as they are."""
    return torch.from_numpy(stimulus[0]).float()


def pictures(folder, count, *, size=16, seed=0):
    """Table of random pictures written to `folder`/data/pictures."""
    rng = np.random.default_rng(seed)
    (folder / "data" / "pictures").mkdir(parents=True)
    files = [f"pictures/p{i:04d}.png" for i in range(count)]
    for file in files:
        Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(folder / "data" / file)
    return table(folder, files)


def sounds(folder, count, *, n_samples=800, seed=0):
    """Table of noises at 16 kHz written to `folder`/data/sounds."""
    rng = np.random.default_rng(seed)
    (folder / "data" / "sounds").mkdir(parents=True)
    files = [f"sounds/s{i:04d}.wav" for i in range(count)]
    for file in files:
        soundfile.write(folder / "data" / file, rng.uniform(-0.5, 0.5, n_samples), 16000)
    return table(folder, files)


def table(folder, files):
    """Stimuli table of files below `folder`/data."""
    digests = [hashlib.sha256((folder / "data" / file).read_bytes()).hexdigest() for file in files]
    return pd.DataFrame({"stimulus": [f.split("/")[1][:-4] for f in files], "file": files, "sha256": digests})


def _model(module, layers, modality, preprocess, *, time_axis=None):
    """The module as a model called toy."""
    return models.Model(
        name="toy",
        label="Toy",
        colour="#000000",
        modality=modality,
        layers=layers,
        time_axis=time_axis,
        module=module,
        preprocess=preprocess,
        digest=models.digest(module, preprocess, {}),
    )
