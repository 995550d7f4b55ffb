"""What a network is shown, in the units in which it is synthesised: pixels from 0 to 1, samples from -1 to 1."""

import copy
import dataclasses
import itertools

import numpy as np
import torch
from PIL import Image
from scipy.io import wavfile

from lib import artefacts, stimuli
from lib.models import frozen

RANGES = {"vision": (0.0, 1.0), "audio": (-1.0, 1.0)}
# Pixels of 8 bits, resized and rounded once, lie within one step of what an affine map gives.
ROUNDING = 1.01 / 255
PROBE_PIXELS = 96
PURE = {"black": (0, 0, 0), "red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@dataclasses.dataclass(frozen=True)
class Canvas:
    """The network of a model and the way from canvas units to its input.

    Attributes
    ----------
    modality : {"vision", "audio"}
    low, high : float
        Range of the values of a stimulus: 0 to 1 for pictures (channel, row, column), -1 to 1 for sounds
        (sample).
    rate_hz : int or None
        Of a sound; None for pictures.
    module : torch.nn.Module
        The network in evaluation mode, no parameter of which asks for a gradient.
    preprocess : callable
        The model's own.
    scale : float32 tensor (n_channels, 3) or None
        From red, green, blue in canvas units to the channels of the input; None for sounds.
    offset : float32 tensor (n_channels,) or None
        Input of a black picture; None for sounds.
    """

    modality: str
    low: float
    high: float
    rate_hz: int | None
    module: torch.nn.Module
    preprocess: object
    scale: torch.Tensor | None = None
    offset: torch.Tensor | None = None

    @property
    def device(self):
        """Where the network is; the CPU if it holds no numbers."""
        held = itertools.chain(self.module.parameters(), self.module.buffers())
        return next((tensor.device for tensor in held), torch.device("cpu"))

    def inputs(self, x):
        """What the network is given for stimuli in canvas units.

        There is no clamp: inside the range it changes nothing, and its gradient at the border depends on the
        version of torch.

        Parameters
        ----------
        x : tensor (n, …)
            In canvas units, on any device, of any floating type.

        Returns
        -------
        tensor (n, …)
            Attached to the gradient of `x`; sounds are given as they are.
        """
        if self.scale is None:
            return x
        scale, offset = self.scale.to(x), self.offset.to(x)
        if torch.equal(scale, scale.diag().diag()):
            return x * scale.diag()[:, None, None] + offset[:, None, None]
        return torch.einsum("dc,nchw->ndhw", scale, x) + offset[:, None, None]

    def stimulus(self, file, *, sha256=None):
        """A stimulus from its file, as the network sees it: cut and resized, or at its rate and level.

        Parameters
        ----------
        file : str or pathlib.Path
            Of a picture or a sound.
        sha256 : str, optional
            Expected digest of the file.

        Returns
        -------
        float32 tensor (3, height, width) or (n_samples,)
            In canvas units. Pictures are clamped to 0 to 1, which resizing may overshoot.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, it is of the other modality, a picture one pixel wide or high, or a
            silent sound.
        """
        return self.of_stimulus(stimuli.read(file, sha256=sha256), what=str(file))

    def of_stimulus(self, stimulus, *, what="the stimulus"):
        """A stimulus as `lib.stimuli.read` gives it, in canvas units.

        Parameters
        ----------
        stimulus : uint8 array (height, width, 3), or tuple (array (n_samples,), int)
        what : str
            How errors call it.

        Returns
        -------
        float32 tensor
            As `stimulus`.

        Raises
        ------
        ValueError
            As `stimulus`.
        """
        if isinstance(stimulus, tuple) != (self.modality == "audio"):
            raise ValueError(f"{what} is of another modality than the model ({self.modality})")
        if self.modality == "audio":
            return self._sound(stimulus, what)
        if stimulus.ndim != 3 or min(stimulus.shape[:2]) < 2:
            raise ValueError(
                f"{what} has shape {stimulus.shape}; a picture of 2 × 2 pixels or more is wanted"
            )
        seen = self.preprocess(stimulus).double() - self.offset.double()[:, None, None]
        back = torch.linalg.inv(self.scale.double())
        return torch.einsum("cd,dhw->chw", back, seen).clamp(self.low, self.high).float()

    def write(self, x, path):
        """Write a stimulus as a file that can be looked at or listened to.

        Parameters
        ----------
        x : tensor or array (3, height, width) or (n_samples,)
            In canvas units.
        path : str or pathlib.Path
            PNG of 8 bits, rounded to the nearest step; WAV of 32-bit floating point at `rate_hz`.
        """
        values = np.asarray(torch.as_tensor(x).detach().cpu(), dtype=np.float32)
        with artefacts.atomic(path) as part:
            if self.modality == "audio":
                # soundfile would note the time of writing in the file.
                wavfile.write(part, self.rate_hz, values)
            else:
                steps = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
                Image.fromarray(steps.transpose(1, 2, 0)).save(part)

    def moved(self, device, dtype=torch.float32):
        """The same canvas with its network on a device and in a floating type.

        Parameters
        ----------
        device : torch.device
        dtype : torch.dtype

        Returns
        -------
        Canvas
            With the network itself where it is there already, else with a copy.
        """
        first = next((t for t in self.module.state_dict().values() if t.is_floating_point()), None)
        there = first is None or (first.device.type == torch.device(device).type and first.dtype == dtype)
        if there and torch.device(device).type == "cpu" and dtype == torch.float32:
            return self
        return dataclasses.replace(self, module=copy.deepcopy(self.module).to(device, dtype))

    def _sound(self, stimulus, what):
        """A sound as the network takes it."""
        waveform = self.preprocess(stimulus)
        if waveform.ndim != 1 or not waveform.is_floating_point():
            raise ValueError(
                f"the model's preprocess makes {tuple(waveform.shape)} of {what}; a waveform (n_samples,) is "
                "wanted: what follows, as a spectrogram, belongs into the network, where it has a gradient"
            )
        if not torch.isfinite(waveform).all() or not len(waveform) or waveform.max() == waveform.min():
            raise ValueError(f"{what} is silent, or holds values that are not finite")
        return waveform.float()


def of(model):
    """The canvas of a model.

    Parameters
    ----------
    model : lib.models.Model

    Returns
    -------
    Canvas

    Raises
    ------
    ValueError
        If the model is only known by activations that others released, or, for pictures, if its
        preprocessing is more than cutting, resizing and an affine map of colours that can be inverted, or,
        for sounds, does not state its rate.
    """
    if model.module is None:
        raise ValueError(
            f"model {model.name!r} has no network, only released activations; nothing to synthesise"
        )
    module = model.module
    if module.training or any(p.requires_grad for p in module.parameters()):
        module = frozen(copy.deepcopy(module))
    low, high = RANGES[model.modality]
    if model.modality == "audio":
        rate_hz = model.settings.get("rate_hz")
        if not rate_hz:
            raise ValueError(
                f"model {model.name!r}: INPUT says no rate_hz, the rate of what preprocess returns"
            )
        return Canvas("audio", low, high, int(rate_hz), module, model.preprocess)
    scale, offset = _colours(model)
    return Canvas("vision", low, high, None, module, model.preprocess, scale, offset)


def _colours(model):
    """The affine map from colours to input channels, seen from uniform pictures and checked on others."""
    seen = {}
    for name, colour in PURE.items():
        values = model.preprocess(_uniform(colour)).double()
        if values.ndim != 3 or values.shape[0] != 3:
            _refuse(model, f"it makes {tuple(values.shape)} of a picture, not three channels of pixels")
        seen[name] = values.mean((1, 2))
        if (values - seen[name][:, None, None]).abs().max() > 1e-4 * (1 + values.abs().max()):
            _refuse(model, f"it makes a uniform {name} picture uneven")
    black = seen.pop("black")
    scale = torch.stack([values - black for values in seen.values()], dim=1)
    # Differences of the size of rounding are no mixing of colours.
    scale = torch.where(scale.abs() > 1e-6 * scale.abs().max(), scale, 0)
    if torch.linalg.matrix_rank(scale) < 3:
        _refuse(model, "it loses colours, so that there is no way back to the picture")
    _check(model, scale, black)
    return scale.float(), black.float()


def _check(model, scale, offset):
    """Refuse a preprocess that is not the map found: on greys, on a colour, on a picture and its negative."""
    step = scale.abs().sum(1) * ROUNDING
    for colour in ((128, 128, 128), (37, 141, 222), (10, 12, 11)):
        found = model.preprocess(_uniform(colour)).double().mean((1, 2))
        wanted = scale @ torch.tensor(colour, dtype=torch.float64) / 255 + offset
        if ((found - wanted).abs() > 1e-4 * (1 + wanted.abs())).any():
            _refuse(model, f"it does not map the colour {colour} as black, red, green and blue say")
    picture = np.random.default_rng(0).integers(0, 256, (PROBE_PIXELS, PROBE_PIXELS, 3), dtype=np.uint8)
    both = (model.preprocess(picture) + model.preprocess(255 - picture)).double()
    wanted = (scale.sum(1) + 2 * offset)[:, None, None]
    if ((both - wanted).abs() > 2 * step[:, None, None] + 1e-4).any():
        _refuse(model, "a picture and its negative do not add up to white")


def _uniform(colour):
    """A picture of one colour."""
    return np.full((PROBE_PIXELS, PROBE_PIXELS, 3), colour, dtype=np.uint8)


def _refuse(model, why):
    """Raise for a preprocess without a canvas."""
    raise ValueError(
        f"preprocess of model {model.name!r} is not affine in the colours: {why}; what it does beyond cutting, "
        "resizing and scaling belongs into the network, where it has a gradient"
    )
