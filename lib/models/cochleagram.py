"""The cochleagram alone: what networks of hearing are given, as a model of its own and the lowest rung for them.

Nothing is learned. A network that predicts the brain no better than this adds nothing to the ear.
"""

from collections import OrderedDict

import torch

from lib import sounds
from lib.cochleagram import Cochleagram
from lib.models import frozen

LABEL = "Cochleagram"
COLOUR = "#bfa36a"
MODALITY = "audio"
LAYERS = ("cochleagram",)
TIME_AXIS = 2
CONTROLS = ()
BUNDLED = True
RUNG = "input"  # of the report card
WITHOUT = ("decode", "bhscore", "metamers")  # which compare layers, or ask what a layer leaves out
LICENCE = "MIT (part of this compendium)"
CITATION = "Feather et al. (2023), Nature Neuroscience 26, 2017-2034, doi:10.1038/s41593-023-01442-0, Methods"
INPUT = {"rate_hz": 20000, "duration_s": 2.0, "rms": 0.1, "limit": None}


def build():
    """Cochleagram of 2 s at 20 kHz: (batch, 40000) to (batch, 211 channels, 390 frames)."""
    cochleagram = Cochleagram(round(INPUT["rate_hz"] * INPUT["duration_s"]), INPUT["rate_hz"])
    return frozen(torch.nn.Sequential(OrderedDict(cochleagram=cochleagram)))


def preprocess(stimulus):
    """First 2 s of a sound at 20 kHz, mean removed, root mean square 0.1; float32 tensor (40000,)."""
    return sounds.levelled(stimulus, INPUT)
