"""CORnet: networks of four areas named after V1, V2, V4 and IT, three of them recurrent, trained on ImageNet.

Layers are what each area puts out, after rectification and at its last time step (`V2.output`), the pooled
features of IT and the class scores. Earlier steps have layers of their own, counted from 0: `V2.step0`,
`V2.step1`, … The last of these equals `output`. Other modules serve all steps of their area and are called once
in each (`V2.conv1#1`, …).

CORnet-S runs its areas one after the other, V1 once, V2 twice, V4 four times, IT twice. In CORnet-R and -RT
all areas take five steps together: in RT an area sees what the one before put out a step earlier, in R what
it puts out in the same step. At step 0 areas beyond V1 see nothing. CORnet-Z is not recurrent.
"""

import functools

from torch import nn
from torch.nn import functional

from lib import weights
from lib.models import frozen
from lib.models.torchvision_zoo import preprocess

__all__ = ["build", "preprocess"]

MODALITY = "vision"
LAYERS = ("V1.output", "V2.output", "V4.output", "IT.output", "decoder.avgpool", "decoder.linear")
SCORES = "decoder.linear"
CLASSES = "imagenet"
TIME_AXIS = None
CONTROLS = ("permuted", "random")
BUNDLED = False
LICENCE = "GPL-3.0 (github.com/dicarlolab/CORnet, which says nothing else of the weights); written anew here"
CITATION = (
    "Kubilius, Schrimpf et al. (2019), NeurIPS, Brain-like object recognition with high-performing shallow "
    "recurrent ANNs, arXiv:1909.06161; Kubilius et al. (2018), bioRxiv, doi:10.1101/408385"
)
INPUT = {
    "resize": 256,
    "size": 224,
    "interpolation": "bilinear",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}
VARIANTS = {
    "cornet_z": {"LABEL": "CORnet-Z", "COLOUR": "#fdbe85", "FILE": "cornet_z-5c427c9c.pth", "KIND": "Z"},
    "cornet_r": {"LABEL": "CORnet-R", "COLOUR": "#fd8d3c", "FILE": "cornet_r-5930a990.pth", "KIND": "R"},
    "cornet_rt": {"LABEL": "CORnet-RT", "COLOUR": "#e6550d", "FILE": "cornet_rt-933c001c.pth", "KIND": "RT"},
    "cornet_s": {"LABEL": "CORnet-S", "COLOUR": "#a63603", "FILE": "cornet_s-1d3f7974.pth", "KIND": "S"},
}
SOURCE = "https://s3.amazonaws.com/cornet-models/"
AREAS = ("V1", "V2", "V4", "IT")
WIDTHS = (64, 128, 256, 512)
STEPS = 5  # of R and RT


class Strided(nn.Conv2d):
    """Convolution over 3 × 3 positions whose stride is given with the input."""

    def __init__(self, channels):
        super().__init__(channels, channels, 3, padding=1, bias=False)

    def forward(self, x, stride):
        """Smaller by the stride.

        Parameters
        ----------
        x : tensor (batch, channel, row, column)
        stride : int

        Returns
        -------
        tensor (batch, channel, row, column)
        """
        return functional.conv2d(x, self.weight, stride=stride, padding=1)


class AreaZ(nn.Module):
    """Convolution, rectification, pooling."""

    def __init__(self, n_in, n_out, kernel=3, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2)
        self.nonlin = nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.output = nn.Identity()

    def forward(self, x):
        """From (batch, channel, row, column) to the same, smaller."""
        return self.output(self.pool(self.nonlin(self.conv(x))))


class AreaS(nn.Module):
    """A bottleneck applied to its own result, with the same weights but its own normalisation at each step."""

    def __init__(self, n_in, n_out, steps):
        super().__init__()
        wide, self.steps = 4 * n_out, steps
        self.conv_input = nn.Conv2d(n_in, n_out, 1, bias=False)
        self.skip = nn.Conv2d(n_out, n_out, 1, stride=2, bias=False)
        self.norm_skip = nn.BatchNorm2d(n_out)
        self.conv1 = nn.Conv2d(n_out, wide, 1, bias=False)
        self.conv2 = Strided(wide)
        self.conv3 = nn.Conv2d(wide, n_out, 1, bias=False)
        for step in range(steps):
            for part, channels in (("norm1", wide), ("norm2", wide), ("norm3", n_out)):
                self.add_module(f"{part}_{step}", nn.BatchNorm2d(channels))
            self.add_module(f"step{step}", nn.ReLU())
        self.output = nn.Identity()

    def forward(self, x):
        """From (batch, channel, row, column) to the same, of half the size, after all steps."""
        x = self.conv_input(x)
        for step in range(self.steps):
            kept = x if step else self.norm_skip(self.skip(x))
            x = functional.relu(self._normalised(1, step, self.conv1(x)))
            x = functional.relu(self._normalised(2, step, self.conv2(x, 1 if step else 2)))
            x = getattr(self, f"step{step}")(self._normalised(3, step, self.conv3(x)) + kept)
        return self.output(x)

    def _normalised(self, part, step, x):
        return getattr(self, f"norm{part}_{step}")(x)


class AreaR(nn.Module):
    """What comes in is added to the area's own state and convolved."""

    def __init__(self, n_in, n_out, kernel=3, stride=2):
        super().__init__()
        self.conv_input = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2)
        self.norm_input = nn.GroupNorm(32, n_out)
        self.conv1 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(32, n_out)
        for step in range(STEPS):
            self.add_module(f"step{step}", nn.ReLU())
        self.output = nn.Identity()

    def forward(self, x, state, step):
        """State after a step.

        Parameters
        ----------
        x : tensor (batch, channel, row, column) or None
            What comes in; None where nothing does yet.
        state : tensor (batch, channel, row, column)
            After the step before; 0 at first.
        step : int
            Counted from 0.

        Returns
        -------
        tensor (batch, channel, row, column)
        """
        if x is not None:
            state = state + functional.relu(self.norm_input(self.conv_input(x)))
        state = getattr(self, f"step{step}")(self.norm1(self.conv1(state)))
        return self.output(state) if step == STEPS - 1 else state


class Recurrent(nn.Module):
    """Four areas that take their steps together.

    Parameters
    ----------
    delayed : bool
        Whether an area sees what the one before put out a step earlier (RT) or in the same step (R).
    """

    def __init__(self, delayed):
        super().__init__()
        self.delayed = delayed
        for name, n_in, n_out in zip(AREAS, (3, *WIDTHS), WIDTHS, strict=False):
            self.add_module(name, AreaR(n_in, n_out, *(() if n_in > 3 else (7, 4))))
        self.decoder = _decoder()

    def forward(self, x):
        """From (batch, 3, row, column) to class scores (batch, 1000)."""
        states = self._silence(x)
        for step in range(STEPS):
            before = [x, *states]
            for area, name in enumerate(AREAS):
                inward = before[area] if self.delayed else [x, *states][area]
                states[area] = getattr(self, name)(
                    inward if step or name == AREAS[0] else None, states[area], step
                )
        return self.decoder(states[-1])

    def _silence(self, x):
        """State 0 of all areas, each in its own size."""
        (height, width), states = x.shape[2:], []
        for n_out, stride in zip(WIDTHS, (4, 2, 2, 2), strict=True):
            height, width = -(-height // stride), -(-width // stride)
            states.append(x.new_zeros(len(x), n_out, height, width))
        return states


def build(name, *, trained=True):
    """A network of the family.

    Parameters
    ----------
    name : str
        A key of VARIANTS.
    trained : bool
        Whether to fetch the weights and load them; without, they are torch's initial ones.

    Returns
    -------
    torch.nn.Module
        From (batch, 3, row, column) to class scores (batch, 1000) before any softmax.

    Raises
    ------
    ValueError, lib.download.DownloadError
        If weights are wanted and damaged, or cannot be had.
    """
    module = KINDS[VARIANTS[name]["KIND"]]()
    if trained:
        stored = weights.state(SOURCE + VARIANTS[name]["FILE"], key="state_dict", strip="module.")
        weights.into(module, stored)
    return frozen(module)


def _decoder():
    """From the last area to class scores."""
    return _chain(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), linear=nn.Linear(WIDTHS[-1], 1000))


def _cornet_s():
    first = _chain(
        conv1=nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        norm1=nn.BatchNorm2d(64),
        nonlin1=nn.ReLU(),
        pool=nn.MaxPool2d(3, 2, 1),
        conv2=nn.Conv2d(64, 64, 3, padding=1, bias=False),
        norm2=nn.BatchNorm2d(64),
        nonlin2=nn.ReLU(),
        output=nn.Identity(),
    )
    later = zip(AREAS[1:], WIDTHS, WIDTHS[1:], (2, 4, 2), strict=False)
    areas = {name: AreaS(n_in, n_out, steps) for name, n_in, n_out, steps in later}
    return _chain(V1=first, **areas, decoder=_decoder())


def _cornet_z():
    later = zip(AREAS[1:], WIDTHS, WIDTHS[1:], strict=False)
    areas = {name: AreaZ(n_in, n_out) for name, n_in, n_out in later}
    return _chain(V1=AreaZ(3, WIDTHS[0], kernel=7, stride=2), **areas, decoder=_decoder())


def _chain(**parts):
    """Modules one after the other, by name."""
    module = nn.Sequential()
    for name, part in parts.items():
        module.add_module(name, part)
    return module


KINDS = {
    "Z": _cornet_z,
    "R": functools.partial(Recurrent, delayed=False),
    "RT": functools.partial(Recurrent, delayed=True),
    "S": _cornet_s,
}
