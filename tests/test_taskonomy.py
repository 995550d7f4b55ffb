"""The encoders of Taskonomy have the published names, shapes and arithmetic, and see what they were shown."""

import dataclasses
import functools
import re
from collections import Counter

import numpy as np
import pytest
import skimage.color
import skimage.transform
import torch
import toy
from torch.nn import functional

from lib import controls, models, plugins, weights
from lib.metamers import canvas
from lib.models import taskonomy

NAMES = [name for name in plugins.names("model") if name.startswith("taskonomy_")]
ABOUT = {name: plugins.about("model", name) for name in NAMES}
# Dwivedi et al. (2021), as stored: rows of the arrays, and members of the groups in the order of the figures.
ROWS = [
    *(
        "autoencoder",
        "class_1000",
        "class_places",
        "colorization",
        "curvature",
        "denoise",
        "edge2d",
        "edge3d",
    ),
    *("inpainting_whole", "keypoint2d", "keypoint3d", "reshade", "rgb2depth", "rgb2mist", "rgb2sfnorm"),
    *("segment25d", "segment2d", "segmentsemantic", "random"),
]
SHOWN = {
    "2D": "autoencoding, colorization, denoising, 2D edges, inpainting, 2D keypoints, 2D segment",
    "3D": "3D edges, 3D keypoints, 2.5d segment, reshading, z-depth, distance, normals, curvature",
    "semantic": "object class, scene class, semantic segm",
    "baseline": "random",
}


def published(n_channels):
    """Shapes of the port's tensors by name, written down from its description: a ResNet-50 with three twists."""
    shapes = {"conv1.weight": (64, n_channels, 7, 7), **norm("bn1", 64)}
    n_in = 64
    for layer, (width, n_blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=1):
        for block in range(n_blocks):
            here = f"layer{layer}.{block}."
            shapes |= {
                here + "conv1.weight": (width, n_in, 1, 1),
                here + "conv2.weight": (width, width, 3, 3),
                here + "conv3.weight": (4 * width, width, 1, 1),
            }
            shapes |= norm(here + "bn1", width) | norm(here + "bn2", width) | norm(here + "bn3", 4 * width)
            if block == 0:
                shapes |= {here + "downsample.0.weight": (4 * width, n_in, 1, 1)}
                shapes |= norm(here + "downsample.1", 4 * width)
            n_in = 4 * width
    return shapes | {"compress1.weight": (8, 2048, 3, 3)} | norm("compress_bn", 8)


def norm(name, size):
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (size,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def weights_of(n_channels):
    """Random weights in the published format; each layer keeps the scale of its input."""
    generator = torch.Generator().manual_seed(3)
    found = {}
    for name, shape in published(n_channels).items():
        if name.endswith("num_batches_tracked"):
            found[name] = torch.tensor(7)
        elif len(shape) == 4:
            found[name] = torch.randn(shape, generator=generator) * (2 / np.prod(shape[1:])) ** 0.5
        else:
            found[name] = torch.rand(shape, generator=generator) + 0.5
    return found


def forward(state, x):
    """Both layers, written with functions alone and the published names."""

    def scaled(x, name):
        mean, var, weight, bias = (
            state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(x, mean, var, weight, bias, eps=1e-5)

    def bottleneck(x, name, stride):
        y = scaled(functional.conv2d(x, state[name + "conv1.weight"]), name + "bn1").relu()
        y = scaled(
            functional.conv2d(y, state[name + "conv2.weight"], stride=stride, padding=1), name + "bn2"
        ).relu()
        y = scaled(functional.conv2d(y, state[name + "conv3.weight"]), name + "bn3")
        if name + "downsample.0.weight" in state:
            x = scaled(functional.conv2d(x, state[name + "downsample.0.weight"]), name + "downsample.1")
        return (y + x[:, :, ::stride, ::stride]).relu()

    x = functional.conv2d(functional.pad(x, (3, 3, 3, 3)), state["conv1.weight"], stride=2)
    # Pooling by 3 from every second position: the last window has two rows and columns only.
    x = functional.max_pool2d(
        functional.pad(scaled(x, "bn1").relu(), (0, 1, 0, 1), value=-torch.inf), 3, stride=2
    )
    for layer, (n_blocks, halves) in enumerate([(3, True), (4, True), (6, False), (3, False)], start=1):
        for block in range(n_blocks):
            stride = 2 if halves and block == n_blocks - 1 else 1
            x = bottleneck(x, f"layer{layer}.{block}.", stride)
    return x, scaled(functional.conv2d(x, state["compress1.weight"], padding=1), "compress_bn").relu()


@pytest.fixture
def offline(monkeypatch):
    """What is asked of the web is noted, and answered with random weights."""
    asked = []

    def state(url, **options):
        asked.append((url, options))
        return weights_of(1 if "/colorization_" in url else 3)

    monkeypatch.setattr(weights, "state", state)
    return asked


def test_members_groups_and_orders_are_those_of_the_study():
    assert sorted(NAMES) == sorted(f"taskonomy_{row}" for row in ROWS)
    assert [n.removeprefix("taskonomy_") for n in sorted(NAMES, key=lambda n: ABOUT[n]["ORDER"])] == ROWS
    shown = sorted(NAMES, key=lambda n: ABOUT[n]["PLACE"])
    for group, tasks in SHOWN.items():
        assert ", ".join(ABOUT[n]["TASK"] for n in shown if ABOUT[n]["GROUP"] == group) == tasks
    groups = [ABOUT[n]["GROUP"] for n in shown]
    assert groups == [group for group, tasks in SHOWN.items() for _ in tasks.split(", ")]
    assert sorted(ABOUT[n]["PLACE"] for n in NAMES) == list(range(19))


def test_every_member_but_the_random_one_has_weights_of_its_own():
    files = {n: ABOUT[n]["WEIGHTS"] for n in NAMES}
    assert files.pop("taskonomy_random") == ""
    assert all(re.fullmatch(r"[a-z0-9_]+_encoder-[0-9a-f]{64}\.pth", file) for file in files.values())
    assert len({file.partition("_encoder")[0] for file in files.values()}) == 18
    assert len({file.partition("-")[2] for file in files.values()}) == 18
    assert ABOUT["taskonomy_random"]["CONTROLS"] == ()


def test_clipped_are_the_pictures_of_the_published_list():
    clipped = {n.removeprefix("taskonomy_") for n in NAMES if ABOUT[n]["INPUT"]["clip"] == (0.1, 0.9)}
    assert set(ROWS) - clipped == {
        *("class_1000", "class_places", "colorization", "inpainting_whole", "segmentsemantic", "random"),
    }
    assert [n for n in NAMES if ABOUT[n]["INPUT"]["lightness"]] == ["taskonomy_colorization"]
    assert Counter(ABOUT[n]["INPUT"]["size"] for n in NAMES) == {256: 19}


@pytest.mark.parametrize("n_channels", [1, 3])
def test_tensors_have_the_published_names_and_shapes(n_channels):
    with torch.device("meta"):
        module = taskonomy._architecture(n_channels, normalised=True)
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    assert {taskonomy.renamed(name): shape for name, shape in published(n_channels).items()} == shapes


@pytest.mark.parametrize("name", ["taskonomy_colorization", "taskonomy_edge3d"])
def test_published_weights_give_the_published_arithmetic(name, offline):
    module = taskonomy.build(name)
    known = ABOUT[name]
    assert offline == [
        (
            f"https://github.com/alexsax/visual-prior/raw/networks/assets/pytorch/{known['WEIGHTS']}",
            {"sha256": known["WEIGHTS"].partition("-")[2][:64], "key": "state_dict"},
        )
    ]
    state = weights_of(1 if known["INPUT"]["lightness"] else 3)
    picture = np.random.default_rng(0).integers(0, 256, (301, 411, 3), dtype=np.uint8)
    x = taskonomy.preprocess(picture, known["INPUT"])[None]
    with torch.no_grad():
        expected = dict(zip(known["LAYERS"], forward(state, x), strict=True))
        found = {}
        for layer in known["LAYERS"]:
            module.get_submodule(layer).register_forward_hook(
                lambda _m, _i, output, layer=layer: found.update({layer: output.clone()})
            )
        module(x)
    assert {layer: tuple(out.shape[1:]) for layer, out in found.items()} == {
        "block4": (2048, 16, 16),
        "encoder_output": (8, 16, 16),
    }
    for layer, out in found.items():
        assert (expected[layer] > 0).any()
        # Sums of up to 18,000 float32 products in another order: roundings of 6e-8 times the root of that.
        assert (out - expected[layer]).abs().max() < 1e-5 * expected[layer].abs().max()


def test_normalisation_is_off_unless_asked_for():
    x = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    plain, scaled = (
        taskonomy.build("taskonomy_random", normalised=normalised) for normalised in (False, True)
    )
    with torch.no_grad():
        out, normalised = plain(x), scaled(x)
    assert "scaled" not in dict(plain.encoder_output.named_children())
    mean, var = out.mean((2, 3), keepdim=True), out.var((2, 3), keepdim=True, correction=0)
    assert torch.allclose(normalised, (out - mean) / (var + 1e-5).sqrt(), atol=1e-4)
    assert plain.state_dict().keys() == scaled.state_dict().keys()


def test_random_network_is_the_control_of_any_member_and_asks_for_nothing(offline):
    random = taskonomy.build("taskonomy_random")
    state = torch.get_rng_state()
    untrained = taskonomy.build("taskonomy_edge2d", trained=False)
    assert torch.equal(torch.get_rng_state(), state)
    twin = controls.random(untrained, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(random.parameters(), twin.parameters(), strict=True))
    assert offline == []
    assert not random.training


def test_model_and_its_random_control_load(offline):
    trained, control = (models.load(f"taskonomy_rgb2mist{suffix}") for suffix in ("", ".random"))
    assert len(offline) == 1
    assert trained.layers == control.layers == ("block4", "encoder_output")
    assert trained.digest != control.digest
    assert trained.preprocess(np.full((9, 9, 3), 255, np.uint8)).shape == (3, 256, 256)


@pytest.mark.parametrize("shape", [(700, 512, 3), (300, 301, 3), (64, 91, 3), (256, 256, 3)])
def test_pictures_are_cropped_and_resized_as_scikit_image_does(shape):
    picture = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    half = min(shape[:2]) // 2
    top, left = shape[0] // 2 - half, shape[1] // 2 - half
    square = picture[top : top + 2 * half, left : left + 2 * half] / 255
    resized = skimage.transform.resize(square, (256, 256), order=1, anti_aliasing=False, mode="edge")
    for name, wanted in {
        "taskonomy_class_places": resized * 2 - 1,
        "taskonomy_keypoint2d": np.clip(resized, 0.1, 0.9) * 2 - 1,
        "taskonomy_colorization": skimage.color.rgb2lab(resized)[..., :1] / 50 - 1,
    }.items():
        found = taskonomy.preprocess(picture, ABOUT[name]["INPUT"])
        assert found.dtype == torch.float32
        # Float32 rounds values up to 1 by 6e-8; CIE lightness is steep near black, so ten times that.
        assert np.abs(found.permute(1, 2, 0).numpy() - wanted).max() < 1e-6


def test_grey_pictures_have_known_values():
    settings = ABOUT["taskonomy_colorization"]["INPUT"]
    # CIE 1976: white has lightness 100; sRGB 119/255 has relative luminance 0.184, lightness 116 · Y^(1/3) - 16.
    luminance = ((119 / 255 + 0.055) / 1.055) ** 2.4
    for value, lightness in {0: 0, 255: 100, 119: 116 * luminance ** (1 / 3) - 16}.items():
        found = taskonomy.preprocess(np.full((20, 20, 3), value, np.uint8), settings)
        # The white point has five digits.
        assert torch.allclose(found, torch.tensor(lightness / 50 - 1).float(), atol=1e-4)
    for value, expected in {0: -0.8, 255: 0.8}.items():
        found = taskonomy.preprocess(
            np.full((20, 20, 3), value, np.uint8), ABOUT["taskonomy_denoise"]["INPUT"]
        )
        assert torch.allclose(found, torch.tensor(expected))


@pytest.mark.parametrize("name", ["autoencoder", "colorization", "class_1000", "random"])
def test_members_without_metamers_are_those_that_clip_or_see_no_colour(name):
    alike = [about for about in ABOUT.values() if about["INPUT"] == ABOUT[f"taskonomy_{name}"]["INPUT"]]
    without = {"metamers" in about.get("WITHOUT", ()) for about in alike}
    assert len(without) == 1
    settings = alike[0]["INPUT"]
    preprocess = functools.partial(taskonomy.preprocess, settings=settings)
    model = toy.vision(toy.network(torch.nn.Identity()), ("0",))
    model = dataclasses.replace(model, preprocess=preprocess, settings=settings)
    if without == {False}:
        assert canvas.of(model).scale.diag().tolist() == [2, 2, 2]
    else:
        with pytest.raises(ValueError, match="not affine"):
            canvas.of(model)
