"""Torchvision's zoo by name: layers that exist and come in order, official preprocessing, official weights."""

import hashlib

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torchvision import models as zoo
from torchvision.models.googlenet import Inception

from lib import activations, controls, models, plugins, validation, weights
from lib.models import torchvision_zoo

NAMES = sorted(torchvision_zoo.VARIANTS)
WANTED = (
    "alexnet vgg16 vgg19 resnet18 resnet34 resnet50 resnet101 resnet152 squeezenet1_0 squeezenet1_1 densenet121 "
    "densenet161 densenet169 densenet201 googlenet inception_v3 mobilenet_v2 mobilenet_v3_large efficientnet_b0 "
    "vit_b_16 vit_b_32 convnext_tiny convnext_base swin_t swin_b"
)
# Shapes at 224 × 224 (299 × 299 for Inception) as the papers' tables give them.
SHAPES = {
    "alexnet": {"features.2": (64, 27, 27), "features.12": (256, 6, 6), "classifier.2": (4096,)},
    "vgg16": {"features.4": (64, 112, 112), "features.30": (512, 7, 7), "classifier.4": (4096,)},
    "resnet18": {"maxpool": (64, 56, 56), "layer2.1": (128, 28, 28), "layer4.1": (512, 7, 7)},
    "resnet50": {"layer1.2": (256, 56, 56), "layer3.5": (1024, 14, 14), "layer4.2": (2048, 7, 7)},
    "resnet152": {"layer2.7": (512, 28, 28), "layer3.35": (1024, 14, 14), "avgpool": (2048, 1, 1)},
    "squeezenet1_0": {"features.3": (128, 54, 54), "features.7": (256, 27, 27), "features.12": (512, 13, 13)},
    "densenet121": {
        "features.denseblock1": (256, 56, 56),
        "features.transition2": (256, 14, 14),
        "features.denseblock4": (1024, 7, 7),
    },
    "googlenet": {"inception3a": (256, 28, 28), "inception4e": (832, 14, 14), "inception5b": (1024, 7, 7)},
    "inception_v3": {"Mixed_5d": (288, 35, 35), "Mixed_6e": (768, 17, 17), "Mixed_7c": (2048, 8, 8)},
    "mobilenet_v2": {"features.1": (16, 112, 112), "features.13": (96, 14, 14), "features.18": (1280, 7, 7)},
    "efficientnet_b0": {"features.3": (40, 28, 28), "features.8": (1280, 7, 7)},
    "vit_b_16": {"conv_proj": (768, 14, 14), "encoder.layers.encoder_layer_11": (197, 768)},
    "vit_b_32": {"encoder.layers.encoder_layer_0": (50, 768), "heads.head": (1000,)},
    "convnext_tiny": {"features.1.2": (96, 56, 56), "features.7.2": (768, 7, 7)},
    "swin_t": {"features.0": (56, 56, 96), "features.5.5": (14, 14, 384), "features.7.1": (7, 7, 768)},
}
BLOCKS = (
    zoo.resnet.BasicBlock,
    zoo.resnet.Bottleneck,
    zoo.squeezenet.Fire,
    zoo.densenet._DenseBlock,
    Inception,
    zoo.inception.InceptionA,
    zoo.inception.InceptionC,
    zoo.inception.InceptionE,
    zoo.mobilenetv2.InvertedResidual,
    zoo.mobilenetv3.InvertedResidual,
    zoo.shufflenetv2.InvertedResidual,
    zoo.regnet.ResBottleneckBlock,
    zoo.convnext.CNBlock,
    zoo.vision_transformer.EncoderBlock,
    zoo.swin_transformer.SwinTransformerBlock,
)
SMALL = "squeezenet1_1", "shufflenet_v2_x1_0"


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def _no_network(monkeypatch):
    """Whoever asks for weights fails."""
    monkeypatch.setattr(weights, "state", lambda url, **_: pytest.fail(f"asks for {url}"))


def about(name):
    return plugins.about("model", name)


def sketch(name):
    """The network without its weights, and an input for it that holds no numbers."""
    size = about(name)["INPUT"]["size"]
    # RegNet works out its widths with tensors, which the meta device does not calculate.
    with torch.device("cpu" if "regnet" in name else "meta"):
        return torchvision_zoo.build(name, trained=False), torch.zeros(2, 3, size, size)


def untrained(name):
    """The network with random weights and random statistics."""
    module = torchvision_zoo.build(name, trained=False)
    shaken(module, name)
    return module


def shaken(module, name):
    """Replace all weights by numbers that no initialisation gives, of the same scale."""
    generator = torch.Generator().manual_seed(int(hashlib.sha256(name.encode()).hexdigest()[:8], 16))
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if value.is_floating_point():
                noise = torch.randn(value.shape, generator=generator)
                value.copy_(1 + 0.1 * noise if value.ndim < 2 and "bias" not in key else 0.05 * noise)


def pictures():
    rng = np.random.default_rng(0)
    return [
        skimage.data.chelsea(),
        skimage.data.astronaut()[:300, :111],
        rng.integers(0, 256, (40, 51, 3), dtype=np.uint8),
        rng.integers(0, 256, (700, 400, 3), dtype=np.uint8)[::-1, ::2],
    ]


def test_the_networks_that_the_field_uses_are_there():
    assert set(WANTED.split()) <= set(NAMES) <= set(zoo.list_models())
    assert len({about(name)["COLOUR"] for name in NAMES}) == len(NAMES)
    assert all(about(name)["BUNDLED"] is False for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_layers_come_once_each_and_in_the_order_listed(name):
    module, inputs = sketch(name)
    layers = about(name)["LAYERS"]
    found = activations.record(module, inputs, layers)
    assert tuple(found) == layers
    assert {output.shape[0] for output in found.values()} == {2}
    # The last layer is the class scores (SqueezeNet pools them, and keeps the two axes of length 1).
    assert found[layers[-1]].flatten(1).shape == (2, 1000)
    for layer, shape in SHAPES.get(name, {}).items():
        assert found[layer].shape[1:] == shape, layer
    blocks = [key for key, part in module.named_modules() if isinstance(part, BLOCKS)]
    assert set(blocks) <= set(layers)


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_those_of_the_official_transforms(name):
    official = zoo.get_model_weights(name)[torchvision_zoo.RELEASE].transforms()
    assert about(name)["INPUT"] == {
        "resize": official.resize_size[0],
        "size": official.crop_size[0],
        "interpolation": official.interpolation.value,
        "mean": tuple(official.mean),
        "std": tuple(official.std),
    }


# One name for each way of preprocessing.
@pytest.mark.parametrize("name", sorted({str(about(name)["INPUT"]): name for name in NAMES}.values()))
def test_preprocessing_equals_the_official_transforms_bit_for_bit(name):
    official = zoo.get_model_weights(name)[torchvision_zoo.RELEASE].transforms()
    for picture in pictures():
        ours = torchvision_zoo.preprocess(picture, about(name)["INPUT"])
        assert ours.dtype == torch.float32
        assert torch.equal(ours, official(Image.fromarray(np.ascontiguousarray(picture))))


@pytest.mark.parametrize("name", NAMES)
def test_weights_come_from_torchvisions_addresses_which_carry_their_hash(name, monkeypatch):
    asked = []

    def refuse(url, **options):
        asked.append((url, options))
        raise ValueError("enough")

    monkeypatch.setattr(weights, "state", refuse)
    monkeypatch.setattr(torchvision_zoo.models, "get_model", lambda *_, **__: torch.nn.Identity())
    with pytest.raises(ValueError, match="enough"):
        torchvision_zoo.build(name)
    ((url, options),) = asked
    assert url == zoo.get_model_weights(name)["IMAGENET1K_V1"].url
    assert url.startswith("https://download.pytorch.org/models/")
    assert weights.HASHED.search(url)
    assert options == {}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("squeezenet1_1", {}),
        ("densenet121", {}),
        ("googlenet", {"aux_logits": True, "transform_input": True, "init_weights": False}),
    ],
)
def test_a_loaded_network_equals_torchvisions_own(name, options, monkeypatch):
    theirs = zoo.get_model(name, weights=None, **options).eval()
    shaken(theirs, name)
    # As the official files have them: DenseNet's names have one dot more.
    dotted = {
        "norm1.": "norm.1.",
        "norm2.": "norm.2.",
        "conv1.": "conv.1.",
        "conv2.": "conv.2.",
    }
    stored = {}
    for key, value in theirs.state_dict().items():
        for new, old in dotted.items():
            key = key.replace(new, old) if "denselayer" in key else key
        stored[key] = value
    monkeypatch.setattr(weights, "state", lambda _: stored)
    ours = torchvision_zoo.build(name)
    assert not ours.training
    assert not any(parameter.requires_grad for parameter in ours.parameters())
    inputs = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(ours(inputs), theirs(inputs))
    less = {key: value for key, value in stored.items() if not key.endswith("weight")}
    monkeypatch.setattr(weights, "state", lambda _: less)
    with pytest.raises(ValueError, match="the file lacks"):
        torchvision_zoo.build(name)


@pytest.mark.usefixtures("_no_network")
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_of_googles_scale_get_pixels_between_minus_one_and_one(name):
    with torch.device("meta"):
        module = torchvision_zoo.build(name, trained=False)
    picture = skimage.data.astronaut()
    settings = about(name)["INPUT"]
    scaled = module._transform_input(torchvision_zoo.preprocess(picture, settings)[None])[0]
    plain = torchvision_zoo.preprocess(picture, settings | {"mean": (0.5,) * 3, "std": (0.5,) * 3})
    # Two scalings of numbers up to 3 in float32, 6e-8 each.
    torch.testing.assert_close(scaled, plain, rtol=0, atol=1e-6)
    assert not [key for key, _ in module.named_modules() if key.lower().startswith("aux")]


def test_nothing_works_in_place_so_a_convolution_is_not_rectified():
    module = untrained("squeezenet1_1")
    inputs = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    found = activations.record(module, inputs, ["features.0", "features.1", "features.3.expand3x3"])
    assert (found["features.0"] < 0).any()
    assert torch.equal(found["features.0"].relu(), found["features.1"])
    assert (found["features.3.expand3x3"] < 0).any()
    for name in ("alexnet", "vgg16", "resnet50", "densenet121", "mobilenet_v2", "efficientnet_b0"):
        assert not [part for part in sketch(name)[0].modules() if getattr(part, "inplace", False)]


def test_a_dense_layer_shows_what_it_is_given():
    module = untrained("densenet121")
    block, inputs = "features.denseblock2", torch.randn(1, 3, 64, 64)
    new = [f"{block}.denselayer{i}" for i in range(1, 13)]
    shown = [f"{block}.denselayer{i}.norm1.concat" for i in range(1, 13)]
    found = activations.record(module, inputs, ["features.transition1", *new, *shown, block])
    for i in range(12):
        given = torch.cat([found["features.transition1"], *(found[key] for key in new[:i])], dim=1)
        assert torch.equal(found[shown[i]], given)
    assert torch.equal(found[block], torch.cat([found[shown[11]], found[new[11]]], dim=1))


@pytest.mark.usefixtures("_no_network")
@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x1_0", "regnet_y_400mf"])
def test_untrained_networks_keep_the_contract_without_any_download(name):
    model = models.load(f"{name}.random")
    assert model.control == "random"
    validation.validate(model, [skimage.data.chelsea(), skimage.data.coffee()])


@pytest.mark.usefixtures("_no_network")
@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "googlenet",
        "densenet121",
        "mobilenet_v2",
        "mobilenet_v3_large",
        "mnasnet1_0",
        "efficientnet_b0",
        "swin_t",
    ],
)
def test_rows_of_a_layer_are_the_stimuli(name):
    module = controls.controlled(torchvision_zoo.build(name, trained=False), "random")
    inputs = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    layers = about(name)["LAYERS"]
    with torch.inference_mode():
        assert validation.batch_faults(module, inputs, layers) == []
        found = activations.record(module, inputs, layers)
    for layer, output in found.items():
        assert torch.isfinite(output).all()
        assert activations.difference(output[0], output[1]) > 1e-3, layer


@pytest.mark.parametrize("name", SMALL)
def test_permuted_changes_every_layer_but_no_histogram(name, monkeypatch):
    drawn = controls.controlled(torchvision_zoo.build(name, trained=False), "random", seed=1)
    stored = drawn.state_dict()
    monkeypatch.setattr(weights, "state", lambda _: stored)
    trained, other = models.load(name), models.load(f"{name}.permuted")
    assert str(other.module) == str(trained.module)
    assert other.settings == trained.settings
    assert other.digest != trained.digest
    before, after = (dict(m.module.named_parameters()) for m in (trained, other))
    for key, value in before.items():
        assert torch.equal(value.flatten().sort().values, after[key].flatten().sort().values)
    inputs = torch.stack([trained.preprocess(picture) for picture in pictures()[:2]])
    with torch.inference_mode():
        found, changed = (activations.record(m.module, inputs, m.layers) for m in (trained, other))
    for layer in trained.layers:
        assert activations.difference(found[layer], changed[layer]) > 0.01, layer


@pytest.mark.network
def test_real_weights_name_what_photographs_show():
    # Class indices of ILSVRC 2012: tabby 281 to Egyptian cat 285; espresso 967.
    model = models.load("resnet18")
    for picture, classes in ((skimage.data.chelsea(), range(281, 286)), (skimage.data.coffee(), [967])):
        best = model.module(model.preprocess(picture)[None])[0].topk(5).indices.tolist()
        assert set(best) & set(classes)
