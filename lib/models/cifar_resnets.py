"""ResNet-20 and ResNet-56 trained on the ten classes of CIFAR-10: real networks of 1 and 3 MB.

Layers are the stem and every residual block, after rectification, the pooled features and the class scores.
The stages `layer1`, `layer2`, `layer3` have 16, 32 and 64 channels at 32 × 32, 16 × 16 and 8 × 8 positions.

CIFAR's pictures have 32 × 32 pixels. Other pictures are cut to their central square, which is resized to
32 × 32 by bilinear interpolation with antialiasing: the whole of a square picture is seen, in the resolution
that the networks know. Mean and standard deviation are those of ImageNet, with which the weights were trained.
"""

from torch import nn
from torch.nn.functional import pad
from torchvision.transforms import functional

from lib import stimuli, weights
from lib.models import frozen

MODALITY = "vision"
TIME_AXIS = None
CONTROLS = ("permuted", "random")
BUNDLED = False
LICENCE = "BSD-2-Clause (github.com/akamaster/pytorch_resnet_cifar10)"
CITATION = (
    "He, Zhang, Ren & Sun (2016), CVPR, section 4.2, doi:10.1109/CVPR.2016.90; weights: Idelbayev, Proper "
    "ResNet implementation for CIFAR10/CIFAR100 in PyTorch, github.com/akamaster/pytorch_resnet_cifar10"
)
INPUT = {"size": 32, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
SCORES = "linear"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SOURCE = (
    "https://raw.githubusercontent.com/akamaster/pytorch_resnet_cifar10/"
    "d5489e8995e81e91ce6b1d69dcc98ad579b0b153/pretrained_models/"
)

# fmt: off
VARIANTS = {
    "resnet20_cifar10": {
        "LABEL": "ResNet-20 (CIFAR-10)", "COLOUR": "#7b3294", "BLOCKS": 3,
        "FILE": "resnet20-12fca82f.th", "BYTES": 1099231,
        "SHA256": "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8",
        "LAYERS": (
            "relu", "layer1.0", "layer1.1", "layer1.2", "layer2.0", "layer2.1", "layer2.2", "layer3.0",
            "layer3.1", "layer3.2", "pool", "linear",
        ),
    },
    "resnet56_cifar10": {
        "LABEL": "ResNet-56 (CIFAR-10)", "COLOUR": "#b278c4", "BLOCKS": 9,
        "FILE": "resnet56-4bfd9763.th", "BYTES": 3471733,
        "SHA256": "4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367",
        "LAYERS": (
            "relu", "layer1.0", "layer1.1", "layer1.2", "layer1.3", "layer1.4", "layer1.5", "layer1.6",
            "layer1.7", "layer1.8", "layer2.0", "layer2.1", "layer2.2", "layer2.3", "layer2.4",
            "layer2.5", "layer2.6", "layer2.7", "layer2.8", "layer3.0", "layer3.1", "layer3.2",
            "layer3.3", "layer3.4", "layer3.5", "layer3.6", "layer3.7", "layer3.8", "pool", "linear",
        ),
    },
}
# fmt: on


class Shortcut(nn.Module):
    """Every second position of the input, framed by channels of zeros (option A of the paper)."""

    def __init__(self, extra):
        super().__init__()
        self.extra = extra

    def forward(self, x):
        """From (batch, channel, row, column) to (batch, channel + extra, row / 2, column / 2)."""
        return pad(x[..., ::2, ::2], (0, 0, 0, 0, self.extra // 2, self.extra // 2))


class Block(nn.Module):
    """Two convolutions added to their input, then rectified."""

    def __init__(self, n_in, n_out):
        super().__init__()
        narrower = n_in < n_out
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=2 if narrower else 1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.shortcut = Shortcut(n_out - n_in) if narrower else nn.Identity()
        self.relu2 = nn.ReLU()

    def forward(self, x):
        """From (batch, channel, row, column) to the same, half as large where channels double."""
        change = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(change + self.shortcut(x))


def build(name, *, trained=True):
    """A residual network for pictures of 32 × 32 pixels.

    Parameters
    ----------
    name : str
        A key of VARIANTS.
    trained : bool
        Whether to fetch the weights and load them; without, they are torch's initial ones.

    Returns
    -------
    torch.nn.Module
        From (batch, 3, 32, 32) to scores (batch, 10) of CLASSES before any softmax.

    Raises
    ------
    ValueError, lib.download.DownloadError
        If weights are wanted and damaged, or cannot be had.
    """
    known = VARIANTS[name]
    module = _architecture(known["BLOCKS"])
    if trained:
        stored = weights.state(
            SOURCE + known["FILE"],
            sha256=known["SHA256"],
            size=known["BYTES"],
            key="state_dict",
            strip="module.",
        )
        weights.into(module, stored)
    return frozen(module)


def preprocess(stimulus, settings):
    """Picture as the network takes it: the central square, resized by bilinear interpolation with antialiasing.

    A picture of that size already is taken as it is.

    Parameters
    ----------
    stimulus : uint8 array (height, width, 3)
        RGB.
    settings : dict
        INPUT of a variant.

    Returns
    -------
    float32 tensor (3, size, size)
        Scaled to 0 to 1, centred by `mean` and divided by `std`: about -2 to 2.7.
    """
    pixels = functional.to_tensor(stimuli.square(stimulus, settings["size"]))
    return functional.normalize(pixels, settings["mean"], settings["std"])


def _architecture(n_blocks):
    """The untrained network; its parts are called in the order in which they are added."""
    module, n_in = nn.Sequential(), 16
    module.add_module("conv1", nn.Conv2d(3, n_in, 3, padding=1, bias=False))
    module.add_module("bn1", nn.BatchNorm2d(n_in))
    module.add_module("relu", nn.ReLU())
    for stage, n_out in enumerate((16, 32, 64), start=1):
        blocks = [Block(n_in if b == 0 else n_out, n_out) for b in range(n_blocks)]
        module.add_module(f"layer{stage}", nn.Sequential(*blocks))
        n_in = n_out
    module.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    module.add_module("linear", nn.Linear(n_in, len(CLASSES)))
    return module
