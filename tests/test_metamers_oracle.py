"""Traces of the published programs, step by step: see the tolerances in reference/metamer_oracle.json."""

import json
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from lib import models
from lib.cochleagram import Cochleagram
from lib.metamers import canvas, rules, synthesis
from lib.models import cifar_resnets

REFERENCE = os.environ.get("COMPENDIUM_REFERENCE")
needs_reference = pytest.mark.skipif(not REFERENCE, reason="COMPENDIUM_REFERENCE is not set")
MEAN, STD = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
ABOUT = {"label": "", "colour": "", "layers": (), "time_axis": None, "digest": ""}


def stored(name):
    """Arrays of one network of the oracle, by the rest of their names."""
    with np.load(Path(REFERENCE) / "metamer_oracle.npz") as file:
        return {key.partition("/")[2]: file[key] for key in file.files if key.startswith(name + "/")}


def weighted(module, arrays):
    """The module with the stored weights, as many as there are."""
    kept = {
        k.removeprefix("weights/"): torch.from_numpy(v) for k, v in arrays.items() if k.startswith("weights/")
    }
    missing, unexpected = module.load_state_dict(kept, strict=False)
    assert not unexpected
    return models.frozen(module), missing


class Normalised(nn.Module):
    """The published normaliser; what it clamps lies in the range already."""

    def __init__(self, *, clamp=False):
        super().__init__()
        self.clamp = clamp
        self.register_buffer("mean", MEAN.double())
        self.register_buffer("std", STD.double())

    def forward(self, x):
        x = torch.clamp(x, 0, 1) if self.clamp else x
        return (x - self.mean.to(x)) / self.std.to(x)


def pictured(module, *, clamp=False):
    """Canvas of a network that takes pictures from 0 to 1 and normalises them to the last bit as published."""
    whole = nn.Sequential(OrderedDict([("inner", Normalised(clamp=clamp)), *module.named_children()]))
    return canvas.Canvas("vision", 0.0, 1.0, None, models.frozen(whole), None)


def tiny():
    """The small convolutional network, and its arrays."""
    arrays = stored("tiny")
    parts = OrderedDict(
        input_after_preproc=nn.Identity(),
        conv1=nn.Conv2d(3, 8, 3, padding=1),
        relu1=nn.ReLU(),
        conv2=nn.Conv2d(8, 12, 3, stride=2, padding=1),
        relu2=nn.ReLU(),
        avgpool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        fc=nn.Linear(12, 10),
        final=nn.Identity(),
    )
    return weighted(nn.Sequential(parts), arrays)[0], arrays


def natural(arrays, dtype=torch.float32):
    """The natural picture, in canvas units."""
    x = torch.from_numpy(arrays["image"]).permute(2, 0, 1)[None].to(dtype) / 255
    return xr.DataArray(
        x.numpy(), dims=("stimulus", "channel", "row", "column"), coords={"stimulus": ["natural"]}
    )


def course(made, layer, original, arrays, **changes):
    """Loss before each step and after the last, and the last x."""
    tap, fake = layer.removesuffix("_fake_relu"), layer.endswith("_fake_relu")
    rule = rules.rule(made.modality, "feather2023", fake_relu=fake, **changes)
    start = torch.from_numpy(arrays["x0"]).reshape(original.shape)
    found = synthesis.metamers(made, tap, original, rule, start=start, device="cpu")
    assert found.overridden == fake
    return found.loss["loss"].to_numpy(), found.values.values[0]


TINY = ["input_after_preproc", "relu1", "relu1_fake_relu", "relu2", "relu2_fake_relu", "avgpool", "final"]


@needs_reference
@pytest.mark.reference
@pytest.mark.parametrize("layer", TINY)
def test_tiny_network_takes_the_published_course(layer):
    module, arrays = tiny()
    loss, x = course(pictured(module), layer, natural(arrays), arrays, n_blocks=2, steps_per_block=20)
    loose = layer == "relu2"  # true ReLUs amplify rounding: stated for the first 20 steps only
    n, atol = (20, 2e-3) if loose else (40, 1e-6)
    np.testing.assert_allclose(loss[:n], arrays[f"{layer}/step_loss"][:n], atol=atol, rtol=0)
    np.testing.assert_allclose(loss[[0, 20]], arrays[f"{layer}/block_loss"][:2], atol=atol, rtol=0)
    if not loose:
        np.testing.assert_allclose(loss[40], arrays[f"{layer}/block_loss"][2], atol=1e-6, rtol=0)
        np.testing.assert_allclose(x, arrays[f"{layer}/x"][-1], atol=1e-5, rtol=0)


@needs_reference
@pytest.mark.reference
@pytest.mark.parametrize("layer", TINY)
def test_tiny_network_in_double_precision_takes_the_published_course(layer):
    module, arrays = tiny()
    rule = {"n_blocks": 2, "steps_per_block": 20, "precision": "float64"}
    loss, _ = course(pictured(module), layer, natural(arrays, torch.float64), arrays, **rule)
    np.testing.assert_allclose(loss[[0, 20, 40]], arrays[f"{layer}/block_loss_f64"], atol=1e-9, rtol=0)


@needs_reference
@pytest.mark.reference
@pytest.mark.parametrize("layer", ["relu1_fake_relu", "final"])
def test_clamp_inside_the_graph_takes_the_course_of_newer_torch(layer):
    border = torch.tensor([1.0], requires_grad=True)
    torch.clamp(border, 0, 1).sum().backward()
    module, arrays = tiny()
    made = pictured(module, clamp=True)
    loss, x = course(made, layer, natural(arrays), arrays, n_blocks=2, steps_per_block=20)
    suffix = "" if border.grad else "_border0"
    np.testing.assert_allclose(loss[[0, 20, 40]], arrays[f"{layer}/block_loss{suffix}"], atol=1e-6, rtol=0)
    last = arrays[f"{layer}/x{suffix}"][-1]
    np.testing.assert_allclose(x, last, atol=1e-5, rtol=0)


@needs_reference
@pytest.mark.reference
@pytest.mark.parametrize("layer", ["layer1_fake_relu", "layer2", "layer2_fake_relu"])
def test_resnet20_takes_the_published_course(layer):
    arrays = stored("resnet20")
    module, missing = weighted(cifar_resnets.build("resnet20_cifar10", trained=False), arrays)
    assert all(name.startswith(("layer3", "linear")) or "num_batches" in name for name in missing)
    loss, _ = course(pictured(module), layer, natural(arrays), arrays, n_blocks=3, steps_per_block=30)
    wanted = arrays[f"{layer}/step_loss"]
    np.testing.assert_allclose(loss[0], wanted[0], rtol=1e-4)
    np.testing.assert_allclose(loss[:25], wanted[:25], atol=1e-5, rtol=0)
    assert abs(loss[-1] - arrays[f"{layer}/block_loss"][-1]) < 0.03


class Heard(nn.Module):
    """Cochleagram and one convolution on it."""

    def __init__(self):
        super().__init__()
        self.input_after_preproc = Cochleagram()
        self.conv0 = nn.Conv2d(1, 4, (7, 14), stride=3)
        self.relu0 = nn.ReLU()

    def forward(self, sound):
        return self.relu0(self.conv0(self.input_after_preproc(sound)[:, None]))


@needs_reference
@pytest.mark.reference
@pytest.mark.parametrize("layer", ["input_after_preproc", "relu0", "relu0_fake_relu"])
def test_sounds_take_the_published_course(layer):
    arrays = stored("audio")
    module, _ = weighted(Heard(), arrays)
    about = ABOUT | {"settings": {"rate_hz": 20_000}}
    made = canvas.of(models.Model(name="", modality="audio", module=module, preprocess=None, **about))
    original = xr.DataArray(
        arrays["sound"][None], dims=("stimulus", "sample"), coords={"stimulus": ["natural"]}
    )
    n = 10 if layer == "relu0_fake_relu" else 2
    loss, x = course(made, layer, original, arrays, n_blocks=1, steps_per_block=n)
    wanted = arrays[layer.replace("fake_relu", "fakerelu") + "/step_loss"][: n + 1]
    if layer == "relu0":
        assert (loss == 1).all()
        assert np.array_equal(x, arrays["x0"])
    np.testing.assert_allclose(loss[:2], wanted[:2], atol=1e-5, rtol=0)
    # A change of one unit in the last place of the start moves the loss after two steps by 3e-5.
    np.testing.assert_allclose(loss[2], wanted[2], atol=3e-5, rtol=0)
    np.testing.assert_allclose(loss, wanted, atol=1e-2, rtol=0)


class Linear(nn.Module):
    """x W' + b on three values that stand for a picture of one pixel."""

    def __init__(self, known):
        super().__init__()
        self.read = nn.Linear(3, 3)
        self.read.weight.data = torch.tensor(known["W"], dtype=torch.float64)
        self.read.bias.data = torch.tensor(known["b"], dtype=torch.float64)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.read(x.flatten(1)))


@needs_reference
@pytest.mark.reference
@pytest.mark.parametrize("case", ["linear", "relu", "fake_relu"])
def test_toy_traces_are_met(case):
    known = json.loads((Path(REFERENCE) / "metamers.json").read_text())["toy_checks"][case]
    shape = (1, 3, 1, 1)
    made = canvas.Canvas("vision", 0.0, 1.0, None, models.frozen(Linear(known)), None)
    original = xr.DataArray(
        np.reshape(known["x_ref"], shape),
        dims=("stimulus", "channel", "row", "column"),
        coords={"stimulus": ["a"]},
    )
    x0 = torch.tensor(known["x_init"], dtype=torch.float64).reshape(shape)
    for n, wanted in enumerate(known["trace"][1:], start=1):
        rule = rules.rule(
            "vision",
            "feather2023",
            n_blocks=n,
            steps_per_block=known["iterations"],
            step=known["step"],
            precision="float64",
            fake_relu=case == "fake_relu",
        )
        layer = "read" if case == "linear" else "relu"
        found = synthesis.metamers(made, layer, original, rule, start=x0, device="cpu")
        # x comes back in float32
        np.testing.assert_allclose(found.loss["loss"].iloc[-1], wanted["loss"], atol=1e-11)
        np.testing.assert_allclose(found.values.values.ravel(), wanted["x"], atol=6e-8)
    assert len(known["trace"]) == known["reps"] + 1
