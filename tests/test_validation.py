"""Each way of breaking the contract of a model is found and named."""

import dataclasses

import numpy as np
import pytest
import torch
import toy
from torch import nn

from lib import validation


@pytest.fixture
def stimuli():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(3)]


class Tokens(nn.Module):
    """(batch, token, channel) handed on as (token, batch, channel), as some attention layers do."""

    def forward(self, x):
        return x.flatten(2).permute(2, 0, 1)


class Folded(nn.Module):
    """Windows folded into the batch."""

    def forward(self, x):
        return x.flatten(0, 1)


class Bare(nn.Module):
    def forward(self, x):
        return x.mean(0)


class Pairs(nn.Module):
    """Products of all stimuli with one another."""

    def forward(self, x):
        return x.flatten(1) @ x.flatten(1).T


class Output(nn.Module):
    def forward(self, outputs):
        return outputs[0]


class Restored(nn.Module):
    def forward(self, x):
        return x.permute(1, 2, 0)


class Mixing(nn.Module):
    """Centres each stimulus on the mean of the batch."""

    def forward(self, x):
        return x - x.mean(0, keepdim=True) / 2


class Reversing(nn.Module):
    def forward(self, x):
        return x.flip(0)


class Noise(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


class Detached(nn.Module):
    def forward(self, x):
        return x.detach() * 2


class Infinite(nn.Module):
    def forward(self, x):
        return x / 0


def _with(part):
    """Model whose second layer is `part`."""
    return toy.vision(toy.network(first=nn.Conv2d(3, 4, 3), second=part))


def test_sound_models_pass(stimuli):
    validation.validate(toy.vision(), stimuli)
    validation.validate(toy.vision(layers=("every-block",)), stimuli)
    sounds = [(np.random.default_rng(i).uniform(-1, 1, 800), 16000) for i in range(2)]
    validation.validate(toy.audio(), sounds)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Folded(), "axis 0 holds the batch together with something else"),
        (Bare(), "does not depend on the batch"),
        (Pairs(), "not clear which axis is the batch"),
        (Mixing(), "differs from the same stimulus alone"),
        (Reversing(), "differs from the same stimulus alone"),
        (Noise(), "differs between two passes"),
        (Detached(), "gives the input no finite gradient"),
        (Infinite(), "not finite"),
    ],
)
def test_faulty_layer_is_named(part, message, stimuli):
    with pytest.raises(ValueError, match=f"'second'.*{message}"):
        validation.validate(_with(part), stimuli)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_batch_axis_is_found_whatever_the_batch_and_the_sizes(count):
    # As many tokens and units as there are stimuli in one of the batches.
    for shape in ((3, 4, 4), (2, 1, 1), (1, 1, 2)):
        module, inputs = toy.network(tokens=Tokens(), back=Restored()), torch.rand(count, *shape)
        axes, faults = validation.batch_axes(module, inputs, ("tokens", "back"))
        assert (axes, faults) == ({"tokens": 1, "back": 0}, [])
        assert validation.batch_faults(module, inputs, ("tokens", "back")) == []


def test_recurrent_modules_keep_the_batch_where_they_put_it():
    module = toy.network(
        rows=nn.Flatten(2),
        first=nn.LSTM(16, 5, num_layers=2, batch_first=True),
        pick=Output(),
        second=nn.GRU(5, 4),
    )
    # (batch, channel, pixel) read as (batch, time, unit) by the first, and as (time, batch, unit) by the second.
    names = ("first.output", "first.hidden", "first.cell", "second.hidden")
    axes, faults = validation.batch_axes(module, torch.rand(3, 3, 4, 4), names)
    assert axes == {"first.output": 0, "first.hidden": 1, "first.cell": 1}
    assert len(faults) == 1
    assert "'second.hidden'" in faults[0]


def test_faulty_setup_is_named(stimuli):
    model = toy.vision()
    model.module.train().requires_grad_(True)
    with pytest.raises(ValueError, match=r"call \.eval\(\).*requires_grad_\(False\)"):
        validation.validate(model, stimuli)


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        (lambda s: toy.pixels(s).double(), "float32"),
        (lambda s: toy.pixels(s) + torch.rand(1), "remove what is random"),
    ],
)
def test_faulty_preprocessing_is_named(preprocess, message, stimuli):
    with pytest.raises(ValueError, match=message):
        validation.validate(dataclasses.replace(toy.vision(), preprocess=preprocess), stimuli)


def test_layers_out_of_order_and_missing_time_are_named(stimuli):
    with pytest.raises(ValueError, match=r"reached in the order \('first', 'second'\)"):
        validation.validate(toy.vision(layers=("second", "first")), stimuli)
    with pytest.raises(ValueError, match="has no axis 4"):
        validation.validate(dataclasses.replace(toy.vision(), time_axis=4), stimuli)
