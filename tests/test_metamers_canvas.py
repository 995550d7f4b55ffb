import collections
import dataclasses

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from torch import nn

from lib import models
from lib.metamers import attacks, canvas, labels, nulls

PICTURE = np.random.default_rng(1).integers(0, 256, (60, 50, 3), dtype=np.uint8)


def model(preprocess, *, modality="vision", module=None, **settings):
    """A model with a preprocess of its own."""
    return models.Model(
        name="own",
        label="own",
        colour="#000000",
        modality=modality,
        layers=("0",),
        time_axis=None,
        module=module or nn.Sequential(nn.Flatten()).eval(),
        preprocess=preprocess,
        digest="",
        settings=settings,
    )


def pixels(stimulus):
    """A picture of 32 × 32 pixels from 0 to 1."""
    resized = Image.fromarray(stimulus).resize((32, 32), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(resized).transpose(2, 0, 1).copy()).float() / 255


def grey(stimulus):
    """Every channel the mean of all."""
    return pixels(stimulus).mean(0, keepdim=True).expand(3, 32, 32)


def equalised(stimulus):
    """Stretched to its own range."""
    x = pixels(stimulus)
    return (x - x.mean()) / (x.std() + 1)


@pytest.mark.parametrize("name", ["efficientnet_lite0"])
def test_inputs_of_a_stimulus_are_what_the_model_preprocesses(name):
    own = models.load(name)
    made = canvas.of(own)
    x = made.of_stimulus(PICTURE)
    assert x.dtype == torch.float32
    assert x.min() >= 0
    assert x.max() <= 1
    # float32 of the way there and back
    torch.testing.assert_close(made.inputs(x[None])[0], own.preprocess(PICTURE), atol=1e-6, rtol=0)


def test_channels_in_another_order_are_found():
    made = canvas.of(model(lambda stimulus: pixels(stimulus).flip(0) * 255 - 100))
    x = made.of_stimulus(PICTURE)
    torch.testing.assert_close(x, pixels(PICTURE), atol=1e-6, rtol=0)
    torch.testing.assert_close(made.inputs(x[None])[0], x.flip(0) * 255 - 100, atol=1e-4, rtol=0)


def test_inputs_pass_gradients_also_beyond_the_range():
    made = canvas.of(model(lambda stimulus: 2 * pixels(stimulus) - 1))
    x = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0]).expand(1, 3, 1, 5).clone().requires_grad_()
    made.inputs(x).sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 2.0))


@pytest.mark.parametrize(
    ("preprocess", "why"),
    [
        (grey, "loses colours"),
        (equalised, "not map|negative"),
        (lambda stimulus: pixels(stimulus).square(), "not map the colour"),
        (lambda stimulus: pixels(stimulus).flatten(), "not three channels"),
    ],
)
def test_preprocess_that_is_not_affine_is_refused(preprocess, why):
    with pytest.raises(ValueError, match=why):
        canvas.of(model(preprocess))


def test_released_activations_have_no_canvas():
    with pytest.raises(ValueError, match="no network"):
        canvas.of(dataclasses.replace(model(pixels), module=None))


def test_picture_of_one_pixel_and_sound_for_a_picture_are_refused():
    made = canvas.of(model(pixels))
    with pytest.raises(ValueError, match="2 × 2 pixels"):
        made.of_stimulus(np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(ValueError, match="another modality"):
        made.of_stimulus((np.ones(9), 8000))


def test_sound_that_is_silent_or_no_waveform_is_refused():
    def waveform(stimulus):
        return torch.from_numpy(stimulus[0]).float()

    made = canvas.of(model(waveform, modality="audio", rate_hz=8000))
    assert (made.low, made.high, made.rate_hz) == (-1, 1, 8000)
    with pytest.raises(ValueError, match="silent"):
        made.of_stimulus((np.zeros(100), 8000))
    spectrogram = canvas.of(model(lambda _: torch.ones(4, 5), modality="audio", rate_hz=8000))
    with pytest.raises(ValueError, match="a waveform"):
        spectrogram.of_stimulus((np.ones(20), 8000))
    with pytest.raises(ValueError, match="rate_hz"):
        canvas.of(model(waveform, modality="audio"))


def test_network_asks_for_no_gradient_of_its_parameters_and_is_left_as_it_was():
    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Dropout())
    made = canvas.of(model(pixels, module=module))
    assert not made.module.training
    assert not any(p.requires_grad for p in made.module.parameters())
    assert module.training
    assert all(p.requires_grad for p in module.parameters())


def test_written_pictures_are_rounded_and_sounds_kept(tmp_path):
    made = canvas.of(model(pixels))
    made.write(torch.full((3, 4, 5), 0.9999), tmp_path / "x.png")
    assert (np.asarray(Image.open(tmp_path / "x.png")) == 255).all()
    x = made.stimulus(tmp_path / "x.png")
    assert x.shape == (3, 32, 32)
    assert x.min() == 1
    heard = canvas.of(model(lambda s: torch.from_numpy(s[0]).float(), modality="audio", rate_hz=8000))
    sound = torch.rand(100) * 1e-7
    heard.write(sound, tmp_path / "x.wav")
    first = (tmp_path / "x.wav").read_bytes()
    heard.write(sound, tmp_path / "x.wav")
    assert (tmp_path / "x.wav").read_bytes() == first
    samples, rate_hz = soundfile.read(tmp_path / "x.wav", dtype="float32")
    assert rate_hz == 8000
    assert np.array_equal(samples, sound.numpy())
    assert torch.equal(heard.stimulus(tmp_path / "x.wav"), sound)


def test_moved_canvas_is_a_copy_in_the_other_type():
    made = canvas.of(model(pixels, module=nn.Sequential(nn.Conv2d(3, 2, 3))))
    assert made.moved(torch.device("cpu")) is made
    double = made.moved(torch.device("cpu"), torch.float64)
    assert next(double.module.parameters()).dtype == torch.float64
    assert next(made.module.parameters()).dtype == torch.float32


class Elsewhere(nn.Module):
    """A network on another device, which notes where its inputs are."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.empty(1, device="meta"), persistent=False)

    def forward(self, x):
        self.seen = x.device.type
        return torch.zeros(len(x), 2)


@pytest.mark.parametrize(
    "shown_to",
    [
        labels.Labeller("output", ("a", "b")).of,
        attacks.classes,
        lambda canvas, x: nulls.activity(canvas, x, ["inner"]),
    ],
)
def test_stimuli_go_where_the_network_is(shown_to):
    module = nn.Sequential(collections.OrderedDict(inner=Elsewhere()))
    made = canvas.Canvas("audio", -1.0, 1.0, 8000, module, None)
    assert made.device.type == "meta"
    shown_to(made, torch.rand(2, 4))
    assert module.inner.seen == "meta"
    assert dataclasses.replace(made, module=nn.ReLU()).device.type == "cpu"
