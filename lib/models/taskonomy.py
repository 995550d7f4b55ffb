"""Taskonomy: 18 encoders of one architecture, each trained for another visual task on the same indoor pictures.

A ResNet-50 that keeps 16 × 16 positions to its end (`block4`), squeezed to 8 channels (`encoder_output`): the
two layers that Dwivedi et al. (2021) compared with visual cortex, in these networks and in one with random
weights. Weights come from the port to PyTorch, whose colorization encoder sees one channel, lightness. How the
random weights of the study were drawn is not known: here they are the control `.random` of seed 0, and its
pictures are not clipped.
"""

from collections import OrderedDict

import torch
from skimage import color
from torch import nn
from torch.nn import functional
from torchvision.models.resnet import Bottleneck

from lib import controls, plugins, weights
from lib.models import frozen

MODALITY = "vision"
LAYERS = ("block4", "encoder_output")
TIME_AXIS = None
CONTROLS = ("permuted", "random")
BUNDLED = False
LICENCE = "none stated by the port (github.com/alexsax/visual-prior); cite the papers"
CITATION = (
    "Zamir et al. (2018), CVPR, doi:10.1109/CVPR.2018.00391; port: Sax et al. (2018), arXiv:1812.11971; tasks, "
    "layers and groups: Dwivedi, Bonner, Cichy & Roig (2021), PLoS Comput Biol 17, e1009267"
)
SOURCE = "https://github.com/alexsax/visual-prior/raw/networks/assets/pytorch/"
# TASK is the study's name, ORDER the row of its arrays, which decides ties, PLACE the position in its figures.
# Before they are brought to -1 … 1, values of pictures are limited to `clip`.
VARIANTS = {
    "taskonomy_autoencoder": {
        "LABEL": "Taskonomy autoencoding",
        "TASK": "autoencoding",
        "GROUP": "2D",
        "ORDER": 0,
        "PLACE": 0,
        "COLOUR": "#08306b",
        "WEIGHTS": "autoencoding_encoder-e35146c09253720e97c0a7f8ee4e896ac931f5faa1449df003d81e6089ac6307.pth",
        "INPUT": {"size": 256, "clip": (0.1, 0.9), "lightness": False},
        "WITHOUT": ("metamers",),
    },
    "taskonomy_class_1000": {
        "LABEL": "Taskonomy object class",
        "TASK": "object class",
        "GROUP": "semantic",
        "ORDER": 1,
        "PLACE": 15,
        "COLOUR": "#7a0177",
        "WEIGHTS": "class_object_encoder-4a4e42dad58066039a0d2f9d128bb32e93a7e4aa52edb2d2a07bcdd1a6536c18.pth",
        "INPUT": {"size": 256, "clip": (0.0, 1.0), "lightness": False},
    },
    "taskonomy_class_places": {
        "LABEL": "Taskonomy scene class",
        "TASK": "scene class",
        "GROUP": "semantic",
        "ORDER": 2,
        "PLACE": 16,
        "COLOUR": "#c51b8a",
        "WEIGHTS": "class_scene_encoder-ad85764467cddafd98211313ceddebb98adf2a6bee2cedfe0b922a37ae65eaf8.pth",
        "INPUT": {"size": 256, "clip": (0.0, 1.0), "lightness": False},
    },
    "taskonomy_colorization": {
        "LABEL": "Taskonomy colorization",
        "TASK": "colorization",
        "GROUP": "2D",
        "ORDER": 3,
        "PLACE": 1,
        "COLOUR": "#08519c",
        "WEIGHTS": "colorization_encoder-5ed817acdd28d13e443d98ad15ebe1c3059a3252396a2dff6a2090f6f86616a5.pth",
        "INPUT": {"size": 256, "clip": (0.0, 1.0), "lightness": True},
        "WITHOUT": ("metamers",),
    },
    "taskonomy_curvature": {
        "LABEL": "Taskonomy curvature",
        "TASK": "curvature",
        "GROUP": "3D",
        "ORDER": 4,
        "PLACE": 14,
        "COLOUR": "#8bc34a",
        "WEIGHTS": "curvature_encoder-3767cf5d06d9c6bca859631eb5a3c368d66abeb15542171b94188ffbe47d7571.pth",
        "INPUT": {"size": 256, "clip": (0.1, 0.9), "lightness": False},
        "WITHOUT": ("metamers",),
    },
    "taskonomy_denoise": {
        "LABEL": "Taskonomy denoising",
        "TASK": "denoising",
        "GROUP": "2D",
        "ORDER": 5,
        "PLACE": 2,
        "COLOUR": "#2171b5",
        "WEIGHTS": "denoising_encoder-b64cab95af4a2c565066a7e8effaf37d6586c3b9389b47fff9376478d849db38.pth",
        "INPUT": {"size": 256, "clip": (0.1, 0.9), "lightness": False},
        "WITHOUT": ("metamers",),
    },
    "taskonomy_edge2d": {
        "LABEL": "Taskonomy 2D edges",
        "TASK": "2D edges",
        "GROUP": "2D",
        "ORDER": 6,
        "PLACE": 3,
        "COLOUR": "#4292c6",
        "WEIGHTS": "edge_texture_encoder-be2d686a6a4dfebe968d16146a17176eba37e29f736d5cd9a714317c93718810.pth",
        "INPUT": {"size": 256, "clip": (0.1, 0.9), "lightness": False},
        "WITHOUT": ("metamers",),
    },
    "taskonomy_edge3d": {
        "LABEL": "Taskonomy 3D edges",
        "TASK": "3D edges",
        "GROUP": "3D",
        "ORDER": 7,
        "PLACE": 7,
        "COLOUR": "#00441b",
        "WEIGHTS": "edge_occlusion_encoder-5ac3f3e918131f61e01fe95e49f462ae2fc56aa463f8d353ca84cd4e248b9c08.pth",
        "INPUT": {"size": 256, "clip": (0.1, 0.9), "lightness": False},
        "WITHOUT": ("metamers",),
    },
    "taskonomy_inpainting_whole": {
        "LABEL": "Taskonomy inpainting",
        "TASK": "inpainting",
        "GROUP": "2D",
        "ORDER": 8,
        "PLACE": 4,
        "COLOUR": "#6baed6",
        "WEIGHTS": "inpainting_encoder-bf96fbaaea9268a820a19a1d13dbf6af31798f8983c6d9203c00fab2d236a142.pth",
        "INPUT": {"size": 256, "clip": (0.0, 1.0), "lightness": False},
    },
    "taskonomy_keypoint2d": {
        "LABEL": "Taskonomy 2D keypoints",
        "TASK": "2D keypoints",
        "GROUP": "2D",
        "ORDER": 9,
        "PLACE": 5,
        "COLOUR": "#9ecae1",
        "WEIGHTS": "keypoints2d_encoder-6b77695acff4c84091c484a7b128a1e28a7e9c36243eda278598f582cf667fe0.pth",
        "INPUT": {"size": 256, "clip": (0.1, 0.9), "lightness": False},
        "WITHOUT": ("metamers",),
    },
    "taskonomy_keypoint3d": {
        "LABEL": "Taskonomy 3D keypoints",
        "TASK": "3D keypoints",
        "GROUP": "3D",
        "ORDER": 10,
        "PLACE": 8,
        "COLOUR": "#006d2c",
        "WEIGHTS": "keypoints3d_encoder-7e3f1ec97b82ae30030b7ea4fec2dc606b71497d8c0335d05f0be3dc909d000d.pth",
        "INPUT": {"size": 256, "clip": (0.1, 0.9), "lightness": False},
        "WITHOUT": ("metamers",),
    },
    "taskonomy_reshade": {
        "LABEL": "Taskonomy reshading",
        "TASK": "reshading",
        "GROUP": "3D",
        "ORDER": 11,
        "PLACE": 10,
        "COLOUR": "#41ab5d",
        "WEIGHTS": "reshading_encoder-de456246e171dc8407fb2951539aa60d75925ae0f1dbb43f110b7768398b36a6.pth",
        "INPUT": {"size": 256, "clip": (0.1, 0.9), "lightness": False},
        "WITHOUT": ("metamers",),
    },
    "taskonomy_rgb2depth": {
        "LABEL": "Taskonomy z-depth",
        "TASK": "z-depth",
        "GROUP": "3D",
        "ORDER": 12,
        "PLACE": 11,
        "COLOUR": "#74c476",
        "WEIGHTS": "depth_zbuffer_encoder-cc343a8ed622fd7ee3ce54398be8682bbbbfb5d11fa80e8d03a56a5ae4e11b09.pth",
        "INPUT": {"size": 256, "clip": (0.1, 0.9), "lightness": False},
        "WITHOUT": ("metamers",),
    },
    "taskonomy_rgb2mist": {
        "LABEL": "Taskonomy distance",
        "TASK": "distance",
        "GROUP": "3D",
        "ORDER": 13,
        "PLACE": 12,
        "COLOUR": "#a1d99b",
        "WEIGHTS": "depth_euclidean_encoder-88f18d41313de7dbc88314a7f0feec3023047303d94d73eb8622dc40334ef149.pth",
        "INPUT": {"size": 256, "clip": (0.1, 0.9), "lightness": False},
        "WITHOUT": ("metamers",),
    },
    "taskonomy_rgb2sfnorm": {
        "LABEL": "Taskonomy normals",
        "TASK": "normals",
        "GROUP": "3D",
        "ORDER": 14,
        "PLACE": 13,
        "COLOUR": "#5b8c2a",
        "WEIGHTS": "normal_encoder-f5e2c7737e4948e3b2a822f584892c342eaabbe66661576ba50db7cdd40561c5.pth",
        "INPUT": {"size": 256, "clip": (0.1, 0.9), "lightness": False},
        "WITHOUT": ("metamers",),
    },
    "taskonomy_segment25d": {
        "LABEL": "Taskonomy 2.5d segment",
        "TASK": "2.5d segment",
        "GROUP": "3D",
        "ORDER": 15,
        "PLACE": 9,
        "COLOUR": "#238b45",
        "WEIGHTS": "segment_unsup25d_encoder-7d12d2500c18c003ffc23943214f5dfd74932f0e3d03dde2c3a81ebc406e31a0.pth",
        "INPUT": {"size": 256, "clip": (0.1, 0.9), "lightness": False},
        "WITHOUT": ("metamers",),
    },
    "taskonomy_segment2d": {
        "LABEL": "Taskonomy 2D segment",
        "TASK": "2D segment",
        "GROUP": "2D",
        "ORDER": 16,
        "PLACE": 6,
        "COLOUR": "#3f51b5",
        "WEIGHTS": "segment_unsup2d_encoder-b679053a920e8bcabf0cd454606098ae85341e054080f2be29473971d4265964.pth",
        "INPUT": {"size": 256, "clip": (0.1, 0.9), "lightness": False},
        "WITHOUT": ("metamers",),
    },
    "taskonomy_segmentsemantic": {
        "LABEL": "Taskonomy semantic segm",
        "TASK": "semantic segm",
        "GROUP": "semantic",
        "ORDER": 17,
        "PLACE": 17,
        "COLOUR": "#f768a1",
        "WEIGHTS": "segment_semantic_encoder-bb3007244520fc89cd111e099744a22b1e5c98cd83ed3f116fbff6376d220127.pth",
        "INPUT": {"size": 256, "clip": (0.0, 1.0), "lightness": False},
    },
    "taskonomy_random": {
        "LABEL": "Taskonomy random",
        "TASK": "random",
        "GROUP": "baseline",
        "ORDER": 18,
        "PLACE": 18,
        "COLOUR": "#737373",
        "WEIGHTS": "",
        "CONTROLS": (),
        "INPUT": {"size": 256, "clip": (0.0, 1.0), "lightness": False},
    },
}

_STAGES = (
    (64, 3, 2),
    (128, 4, 2),
    (256, 6, 1),
    (512, 3, 1),
)  # channels inside, blocks, stride of the last one
# Names of the port: `layer1.0.conv1`, `compress1`, …
_PARTS = {
    **{"conv1": "stem.conv", "bn1": "stem.norm"},
    **{"compress1": "encoder_output.conv", "compress_bn": "encoder_output.norm"},
    **{f"layer{i}": f"block{i}" for i in range(1, 5)},
}


def build(name, *, trained=True, normalised=False):
    """An encoder, ready for evaluation.

    Parameters
    ----------
    name : str
        A key of VARIANTS.
    trained : bool
        Whether to load weights, which are downloaded. The network of random weights has none to load.
    normalised : bool
        Whether `encoder_output` ends in the port's normalisation of each channel over its 16 × 16 positions.
        It has no weights, and the original has no such step.

    Returns
    -------
    torch.nn.Module
        From pictures (batch, channel, 256, 256) as `preprocess` gives them to (batch, 8, 16, 16); layer
        `block4` is (batch, 2048, 16, 16).
    """
    known = plugins.about("model", name)
    # PyTorch draws first weights from its global generator, which is none of our business.
    with torch.random.fork_rng(devices=[]):
        module = _architecture(1 if known["INPUT"]["lightness"] else 3, normalised=normalised)
    if not known["WEIGHTS"]:
        return frozen(controls.random(module, seed=0))
    if trained:
        digest = known["WEIGHTS"].rpartition("-")[2].removesuffix(".pth")
        stored = weights.state(SOURCE + known["WEIGHTS"], sha256=digest, key="state_dict")
        weights.into(module, stored, rename=renamed)
    return frozen(module)


def preprocess(stimulus, settings):
    """Picture as the encoders were shown it.

    The largest central square of an even number of pixels, brought to the wanted size by linear interpolation
    without smoothing.

    Parameters
    ----------
    stimulus : uint8 array (height, width, 3)
    settings : dict
        INPUT: `size` in pixels; `clip`, the smallest and largest value kept, of 0 … 1; `lightness`, whether
        the one channel is CIE lightness, 0 … 100 brought to -1 … 1.

    Returns
    -------
    tensor (3 or 1, size, size)
        float32, within -1 … 1.

    References
    ----------
    Taskonomy's loading of pictures for its released models. That it interpolated without smoothing is inferred
    from the age of its scikit-image.
    """
    half, (height, width) = min(stimulus.shape[:2]) // 2, stimulus.shape[:2]
    rows, columns = (slice(n // 2 - half, n // 2 + half) for n in (height, width))
    square = torch.from_numpy(stimulus[rows, columns].copy()).double() / 255
    square = functional.interpolate(
        square.permute(2, 0, 1)[None], (settings["size"],) * 2, mode="bilinear", align_corners=False
    )[0].clamp(*settings["clip"])
    if settings["lightness"]:
        square = torch.from_numpy(color.rgb2lab(square.permute(1, 2, 0).numpy())[None, ..., 0] / 100)
    return (square * 2 - 1).float()


def renamed(name):
    """Our name of a tensor of the port: `layer1.0.conv1.weight` is `block1.0.conv1.weight`."""
    part, _, rest = name.partition(".")
    return f"{_PARTS[part]}.{rest}" if part in _PARTS else name


def _architecture(n_channels, *, normalised):
    """The untrained network; its parts are called in the order in which they are added."""
    stem = OrderedDict(
        conv=nn.Conv2d(n_channels, 64, 7, 2, padding=3, bias=False),
        norm=nn.BatchNorm2d(64),
        relu=nn.ReLU(),
        pool=nn.MaxPool2d(3, 2, ceil_mode=True),
    )
    parts, n_in = OrderedDict(stem=nn.Sequential(stem)), 64
    for i, (n_inside, n_blocks, stride) in enumerate(_STAGES, start=1):
        parts[f"block{i}"] = _block(n_in, n_inside, n_blocks, stride)
        n_in = n_inside * Bottleneck.expansion
    output = OrderedDict(
        conv=nn.Conv2d(n_in, 8, 3, padding=1, bias=False), norm=nn.BatchNorm2d(8), relu=nn.ReLU()
    )
    if normalised:
        output["scaled"] = nn.GroupNorm(8, 8, affine=False)
    parts["encoder_output"] = nn.Sequential(output)
    return nn.Sequential(parts)


def _block(n_in, n_inside, n_blocks, stride):
    """Bottlenecks of which the first widens, and the last one, not the first, takes every other position."""
    n_out = n_inside * Bottleneck.expansion
    wider = nn.Sequential(nn.Conv2d(n_in, n_out, 1, bias=False), nn.BatchNorm2d(n_out))
    fewer = nn.MaxPool2d(1, stride) if stride > 1 else None
    middle = [Bottleneck(n_out, n_inside) for _ in range(n_blocks - 2)]
    last = Bottleneck(n_out, n_inside, stride, downsample=fewer)
    return nn.Sequential(Bottleneck(n_in, n_inside, downsample=wider), *middle, last)
