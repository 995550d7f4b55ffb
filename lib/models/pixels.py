"""The picture alone: what networks of vision are given, as a model of its own and the lowest rung for them.

Nothing is learned. A network that predicts the brain no better than this adds nothing to the eye.
"""

from collections import OrderedDict

import numpy as np
import torch
from torch import nn

from lib import stimuli
from lib.models import frozen

LABEL = "Pixels"
COLOUR = "#a8a8a8"
MODALITY = "vision"
LAYERS = ("pixels",)
TIME_AXIS = None
CONTROLS = ()
BUNDLED = True
RUNG = "input"  # of the report card
WITHOUT = ("decode", "bhscore", "metamers")  # which compare layers, or ask what a layer leaves out
LICENCE = "MIT (part of this compendium)"
CITATION = "made by this compendium"
INPUT = {"size": 64}


def build():
    """Pictures (batch, 3, 64, 64) as they are."""
    return frozen(nn.Sequential(OrderedDict(pixels=nn.Identity())))


def preprocess(stimulus):
    """Central square of a picture, resized with antialiasing: from uint8 (height, width, 3) to (3, 64, 64), 0 to 1."""
    pixels = np.asarray(stimuli.square(stimulus, INPUT["size"]), np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
