"""The two networks of hearing trained in the McDermott lab: cochleagram, then CochCNN9 or CochResNet50."""

from collections import OrderedDict

import torch
import torchvision
from torch import nn
from torch.nn import functional

from lib import weights
from lib.cochleagram import Cochleagram

# One archive of all checkpoints of Tuckute et al. (2023), about 14 GB; nobody published its hash.
CHECKPOINTS = "https://mcdermottlab.mit.edu/cochdnn/cochdnn_model_checkpoints.tar"
# Classes of each task. Networks of the Word-Speaker-Noise set other than those of the word task have all
# three heads, whichever of them were trained. The genres are those of Kell et al. (2018).
_HEADS = {"word": 794, "speaker": 433, "audioset": 517}
CLASSES = {"word": 794, "speaker": _HEADS, "audioset": _HEADS, "multitask": _HEADS, "genre": 41}
# Published name of a head, which says where a label lies in the training files, and ours.
_PUBLISHED_HEADS = {
    "signal/word_int": "word",
    "signal/speaker_int": "speaker",
    "noise/labels_binary_via_int": "audioset",
}


def same_padding(size, kernel, stride):
    """Zeros to add before and after an axis so that a window sees ⌈size / stride⌉ positions.

    Parameters
    ----------
    size, kernel, stride : int
        Samples along the axis, width of the window, step of the window.

    Returns
    -------
    before, after : int
        The odd one of an odd number comes after.

    References
    ----------
    TensorFlow's padding "SAME": max((⌈size / stride⌉ − 1) · stride + kernel − size, 0) in total.
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _padded(x, window, *, value=0.0):
    """The picture (…, frequency, time) with room for the window of a convolution or pooling at its edges."""
    sizes = zip(x.shape[-2:], _pair(window.kernel_size), _pair(window.stride), strict=True)
    frequency, time = (same_padding(*size) for size in sizes)
    return functional.pad(x, (*time, *frequency), value=value)


def _pair(size):
    """Size along frequency and time; torch keeps one number for both as it was given."""
    return (size, size) if isinstance(size, int) else size


class SameConv2d(nn.Conv2d):
    """Convolution whose output has ⌈size / stride⌉ positions along each axis; outside the picture is 0."""

    def forward(self, x):
        """From (batch, channel, frequency, time) to other channels and fewer positions."""
        return super().forward(_padded(x, self))


class SameMaxPool2d(nn.MaxPool2d):
    """Maximum over windows, of which those at the edges reach beyond the picture, where there is nothing."""

    def forward(self, x):
        """From (batch, channel, frequency, time) to fewer positions."""
        return super().forward(_padded(x, self, value=-torch.inf))


class SameAvgPool2d(nn.AvgPool2d):
    """Mean over windows; the zeros that those at the edges reach beyond the picture count."""

    def forward(self, x):
        """From (batch, channel, frequency, time) to fewer positions."""
        return super().forward(_padded(x, self))


class Heads(nn.ModuleDict):
    """One linear read-out per task of the same features."""

    def forward(self, x):
        """From (batch, feature) to the classes of each task, a dict of (batch, class)."""
        return {task: head(x) for task, head in self.items()}


def cochcnn9(n_classes):
    """Nine stages of convolution and pooling on a cochleagram.

    Parameters
    ----------
    n_classes : int or dict of int
        Classes of the task, or of each of several tasks.

    Returns
    -------
    torch.nn.Sequential
        From waveforms (batch, 40000) at 20 kHz to logits (batch, class), or a dict of them. Every stage that
        publications name is a module of that name; pictures are (batch, channel, frequency, time).

    References
    ----------
    Kell, Yamins, Shook, Norman-Haignere & McDermott (2018), Neuron 98, 630-644; as set up by Feather et al.
    (2023), Nature Neuroscience 26, 2017-2034, Methods.
    """
    layers = OrderedDict(
        **_hearing(),
        batchnorm0=nn.BatchNorm2d(1),
        conv0=SameConv2d(1, 96, (7, 14), 3, bias=False),
        relu0=nn.ReLU(),
        maxpool0=SameMaxPool2d((2, 5), (2, 2)),
        batchnorm1=nn.BatchNorm2d(96),
        conv1=SameConv2d(96, 256, (4, 8), 2, bias=False),
        relu1=nn.ReLU(),
        maxpool1=SameMaxPool2d((2, 5), (2, 2)),
        batchnorm2=nn.BatchNorm2d(256),
        conv2=SameConv2d(256, 512, (2, 5), bias=False),
        relu2=nn.ReLU(),
        conv3=SameConv2d(512, 1024, (2, 5), bias=False),
        relu3=nn.ReLU(),
        conv4=SameConv2d(1024, 512, (2, 5), bias=False),
        relu4=nn.ReLU(),
        avgpool=SameAvgPool2d((2, 5), (2, 2)),
        flatten=nn.Flatten(),
        fullyconnected=nn.Linear(512 * 5 * 9, 4096),
        relufc=nn.ReLU(),
        dropout=nn.Dropout(),
        final=_head(4096, n_classes),
    )
    return nn.Sequential(layers)


def cochresnet50(n_classes):
    """A residual network of 50 layers on a cochleagram.

    Parameters
    ----------
    n_classes : int or dict of int
        Classes of the task, or of each of several tasks.

    Returns
    -------
    torch.nn.Sequential
        From waveforms (batch, 40000) at 20 kHz to logits (batch, class), or a dict of them. Every stage that
        publications name is a module of that name; pictures are (batch, channel, frequency, time).

    References
    ----------
    He, Zhang, Ren & Sun (2016), CVPR; with one input channel, as set up by Feather et al. (2023), Nature
    Neuroscience 26, 2017-2034, Methods.
    """
    seen = torchvision.models.resnet50(weights=None, num_classes=1)
    layers = OrderedDict(
        **_hearing(),
        conv1=nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False),
        bn1=seen.bn1,
        conv1_relu1=nn.ReLU(),
        maxpool1=seen.maxpool,
        layer1=seen.layer1,
        layer2=seen.layer2,
        layer3=seen.layer3,
        layer4=seen.layer4,
        avgpool=seen.avgpool,
        flatten=nn.Flatten(),
        final=_head(2048, n_classes),
    )
    module = nn.Sequential(layers)
    for part in module.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = False  # what a hook stored must not change after it
    return module


def _hearing():
    """First stages of both networks: the cochleagram, as a picture of one channel."""
    cochleagram = Cochleagram(40_000, 20_000)
    return {"cochleagram": cochleagram, "input_after_preproc": nn.Unflatten(1, (1, cochleagram.shape[0]))}


def _head(n_features, n_classes):
    """Linear read-out of one task or of several."""
    if isinstance(n_classes, int):
        return nn.Linear(n_features, n_classes)
    return Heads({task: nn.Linear(n_features, count) for task, count in n_classes.items()})


def trained(module, member, *, url=CHECKPOINTS):
    """The network with published weights.

    Parameters
    ----------
    module : torch.nn.Module
        From `cochcnn9` or `cochresnet50`.
    member : str
        Checkpoint inside the archive, "" if none was published.
    url : str
        The archive; it is fetched once and read in place, never unpacked.

    Returns
    -------
    torch.nn.Module
        The module itself.

    Raises
    ------
    ValueError
        If no weights were published, or the checkpoint is damaged, unsafe or of another network.
    lib.download.DownloadError
        If the archive cannot be had.
    """
    if not member:
        raise ValueError(
            "the weights of this network were not published; its released activations can be read, "
            "and its `.random` control can be run"
        )
    state = weights.state(f"{url}#{member}", key="model", strip="module.")
    return weights.into(module, state, rename=_ours)


def _ours(name):
    """Our name of a published tensor, None for copies and for the cochleagram's filters.

    Checkpoints were written from a wrapper that holds the network twice, behind the cochleagram (`model.0`).
    """
    stem = name.removeprefix("model.1.")
    if stem == name:
        return None
    for published, ours in _PUBLISHED_HEADS.items():
        stem = stem.replace(f".{published}.", f".{ours}.")
    first, _, rest = stem.partition(".")
    return f"final.{rest}" if first in ("classification", "fc") else stem
