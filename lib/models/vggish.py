"""VGGish: a convolutional network trained to tag the sound of videos, seen in pieces of 0.96 s.

The network knows no time beyond its piece. A layer's output holds the pieces one after another, so time is
the axis of all their frames together, and a unit is a channel at a mel band; the last three layers have one
frame per piece.
"""

from collections import OrderedDict

import numpy as np
import torch
from torch import nn

from lib import sounds, weights
from lib.models import frozen

LABEL = "VGGish"
COLOUR = "#4169e1"
MODALITY = "audio"
LAYERS = (
    "relu_1",
    "maxpool_1",
    "relu_2",
    "maxpool_2",
    "relu_3",
    "relu_4",
    "maxpool_3",
    "relu_5",
    "relu_6",
    "maxpool_4",
    "relu_7",
    "relu_8",
    "relu_9",
)
TIME_AXIS = 1
CONTROLS = ("permuted", "random")
BUNDLED = False
LICENCE = "Apache-2.0 (weights: torchvggish)"
CITATION = "Hershey et al. (2017), ICASSP. doi:10.1109/ICASSP.2017.7952132"
# One piece with the end of its last window; the level is kept, for loudness was learned as recorded.
INPUT = {"rate_hz": 16000, "shortest_s": 0.975}
VARIANTS = {
    "vggish": {
        "WEIGHTS": "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
    },
}

_WINDOW, _HOP, _FFT = 400, 160, 512  # samples
_PIECE, _BANDS = 96, 64  # frames of a piece, mel bands
_LOW_HZ, _HIGH_HZ, _FLOOR = 125.0, 7500.0, 0.01
# Channels of the convolutions that follow one another; None is a maximum over 2 × 2.
_PLAN = (64, None, 128, None, 256, 256, None, 512, 512, None)
# The published number of each module with weights, in order.
_STORED = (
    *("features.0", "features.3", "features.6", "features.8", "features.11", "features.13"),
    *("embeddings.0", "embeddings.2", "embeddings.4"),
)


def mel_filters():
    """Triangular filters from a spectrum to mel bands, straight on the mel scale.

    Returns
    -------
    tensor (257, 64)
        float64 weights, 0 to 1; the bins lie 31.25 Hz apart.

    References
    ----------
    Hershey et al. (2017), as released: edges equally spaced in 1127 ln(1 + f / 700) from 125 to 7500 Hz.
    """
    mel = 1127 * np.log1p(np.arange(_FFT // 2 + 1) * INPUT["rate_hz"] / _FFT / 700)
    edges = np.linspace(*(1127 * np.log1p(np.array([_LOW_HZ, _HIGH_HZ]) / 700)), _BANDS + 2)
    rising = (mel[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel[:, None]) / (edges[2:] - edges[1:-1])
    return torch.from_numpy(np.maximum(0, np.minimum(rising, falling)))


class LogMel(nn.Module):
    """Logarithm of a sound's loudness in mel bands, every 10 ms."""

    def __init__(self):
        super().__init__()
        self.register_buffer("filters", mel_filters().float(), persistent=False)
        self.register_buffer("window", torch.hann_window(_WINDOW), persistent=False)

    def forward(self, waveform):
        """From (batch, sample) to whole pieces, (batch, frame, 1, band)."""
        frames = waveform.unfold(-1, _WINDOW, _HOP) * self.window
        loudness = torch.log(torch.fft.rfft(frames, _FFT).abs() @ self.filters + _FLOOR)
        return loudness[:, : loudness.shape[1] // _PIECE * _PIECE, None]


class Stage(nn.Sequential):
    """Layers that see one piece of some frames at a time."""

    def __init__(self, n_frames, *layers):
        super().__init__(*layers)
        self.n_frames = n_frames

    def forward(self, x):
        """From (batch, frame, channel, band) to the same with other frames, channels and bands."""
        pieces = x.unflatten(1, (-1, self.n_frames)).flatten(0, 1).transpose(1, 2)
        return super().forward(pieces).transpose(1, 2).unflatten(0, (len(x), -1)).flatten(1, 2)


class Pieces(nn.Module):
    """All that is known of each piece in one row."""

    def forward(self, x):
        """From (batch, frame, channel, band) to (batch, piece, frame × band × channel), channels fastest."""
        pieces = x.unflatten(1, (-1, _PIECE // 16))
        return pieces.transpose(3, 4).flatten(2)


def network():
    """From waveforms (batch, sample) at 16 kHz to (batch, piece, 128), nothing trained."""
    stages = OrderedDict(spectrogram=LogMel())
    n_frames, n_in, n_relu, n_pool = _PIECE, 1, 0, 0
    for n_out in _PLAN:
        if n_out is None:
            n_pool += 1
            stages[f"maxpool_{n_pool}"] = Stage(n_frames, nn.MaxPool2d(2))
            n_frames //= 2
        else:
            n_relu += 1
            stages[f"relu_{n_relu}"] = Stage(n_frames, nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU())
            n_in = n_out
    stages["pieces"] = Pieces()
    n_in *= n_frames * _BANDS // 16
    for n_out in (4096, 4096, 128):
        n_relu += 1
        stages[f"relu_{n_relu}"] = nn.Sequential(nn.Linear(n_in, n_out), nn.ReLU())
        n_in = n_out
    return nn.Sequential(stages)


def build(name, *, trained=True):
    """The network, ready for evaluation.

    Parameters
    ----------
    name : str
        A key of VARIANTS.
    trained : bool
        Whether to load the published weights (about 290 MB); without them nothing is fetched.

    Returns
    -------
    torch.nn.Module
        From waveforms (batch, sample), as `preprocess` gives them, to (batch, piece, 128).

    Raises
    ------
    ValueError, lib.download.DownloadError
        As `lib.weights.state` and `lib.weights.into`.
    """
    module = network()
    if trained:
        weights.into(module, weights.state(VARIANTS[name]["WEIGHTS"]), rename=_ours)
    return frozen(module)


preprocess = sounds.whole


def _ours(key):
    """Our name of a stored tensor."""
    stem, _, part = key.rpartition(".")
    return f"relu_{_STORED.index(stem) + 1}.0.{part}" if stem in _STORED else key
