"""Sounds, losses and distances as scalable pictures, drawn in text: at once, and with no setting changed."""

import base64
import html
import io
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
import soundfile
import torch
from matplotlib.ticker import MaxNLocator
from PIL import Image

from lib import cochleagram, damage, stimuli

SHORTEST_S = 0.1  # shorter sounds are drawn between silence, or low filters could not be told apart
FRAMES_HZ = 200
LOW_HZ, HIGH_HZ = 50, 10_000
TICKS_HZ = (100, 300, 1000, 3000, 8000)
FAINTEST = 0.05  # end of the colour scale where all is silent; silence itself is 0.005
COLOURS = 64  # about as many as the eye tells apart in a cochleagram
MOST_POINTS = 400  # of a curve
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 460, 58, 8, 8, 40  # of a drawing and its margins
BLUE, RED, GREY = "#1f5fa8", "#b3261e", "#d4d4d4"


@dataclass(frozen=True)
class Sound:
    """A sound as it is shown."""

    waveform: np.ndarray
    rate_hz: int
    cochleagram: np.ndarray  # (channel, frame)
    centres_hz: np.ndarray

    @property
    def duration_s(self):
        """Length in seconds."""
        return len(self.waveform) / self.rate_hz

    @property
    def level_db(self):
        """Root mean square against full scale; minus infinity for silence."""
        with np.errstate(divide="ignore"):
            return float(20 * np.log10(np.sqrt(np.mean(self.waveform**2))))


def sound(file):
    """A stored sound and its cochleagram.

    Parameters
    ----------
    file : pathlib.Path

    Returns
    -------
    Sound

    Raises
    ------
    ValueError
        If the file is no sound.
    """
    waveform, rate_hz = stimuli.read(file)
    return Sound(waveform, rate_hz, *_cochleagram(waveform, rate_hz))


def flac(shown):
    """A sound as FLAC of 16 bits: a third of the bytes of a float WAV, rounding noise 78 dB below rms 0.1.

    Parameters
    ----------
    shown : Sound
        Values beyond ±1 are clipped, as any player does.

    Returns
    -------
    bytes
    """
    stream = io.BytesIO()
    soundfile.write(stream, np.clip(shown.waveform, -1, 1), shown.rate_hz, format="FLAC", subtype="PCM_16")
    return stream.getvalue()


def size(file):
    """Width and height of a stored picture in pixels.

    Parameters
    ----------
    file : pathlib.Path

    Returns
    -------
    tuple of int

    Raises
    ------
    ValueError
        If it is no PNG file.
    """
    with damage.named(file, "is no picture"), Image.open(file, formats=["PNG"]) as picture:
        return picture.size


def spectrum(shown, alt, *, brightest=None):
    """Cochleagram of a sound: frequency over time.

    Parameters
    ----------
    shown : Sound
    alt : str
        What it shows, for those who do not see it.
    brightest : float, optional
        Value of the brightest colour, so that sounds can be compared; by default the sound's own largest.

    Returns
    -------
    str
        SVG.
    """
    values, height = shown.cochleagram, 240
    brightest = max(values.max() if brightest is None else brightest, FAINTEST)
    colours = np.round(255 * mpl.colormaps["magma"](np.linspace(0, 1, COLOURS))[:, :3]).astype(np.uint8)
    index = np.clip(values[::-1] / brightest * (COLOURS - 1), 0, COLOURS - 1).astype(np.uint8)
    picture = Image.fromarray(index).convert("P")
    picture.putpalette(colours.tobytes())
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    image = (
        f'<image x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{height - TOP - BOTTOM}" '
        f'preserveAspectRatio="none" href="{uri(stream.getvalue(), "image/png")}"/>'
    )
    hertz = [hz for hz in TICKS_HZ if shown.centres_hz[0] <= hz <= shown.centres_hz[-1]]
    places = (np.interp(hertz, shown.centres_hz, np.arange(len(values))) + 0.5) / len(values)
    y = [(place, f"{hz:g}") for place, hz in zip(places, hertz, strict=True)]
    x = _ticks(0, shown.duration_s)
    return _drawing(image, alt, height=height, x=x, y=y, labels=("time (s)", "frequency (Hz)"))


def loss(table, alt):
    """The loss over steps, logarithmic where it is above 0.

    Parameters
    ----------
    table : pandas.DataFrame
        step, loss, as text or numbers; what is no number is left out.
    alt : str

    Returns
    -------
    str
        SVG.
    """
    step, value = (pd.to_numeric(table[name], errors="coerce").to_numpy(float) for name in ("step", "loss"))
    good = np.isfinite(step) & np.isfinite(value)
    step, value = step[good], value[good]
    some = np.unique(np.linspace(0, len(step) - 1, min(len(step), MOST_POINTS)).round().astype(int))
    step, value = step[some], value[some]
    if not len(value):
        return _drawing("", alt, x=[], y=[], labels=("step", "loss"))
    logarithmic = (value > 0).all()
    value = np.log10(value) if logarithmic else value
    (left, right), (low, high) = _limits(step), _limits(value)
    y = _decades(low, high) if logarithmic else _ticks(low, high)
    points = np.stack([(step - left) / (right - left), (value - low) / (high - low)], axis=1)
    return _drawing(_line(points), alt, x=_ticks(left, right), y=y, labels=("step", "loss"))


def profile(distances, null, layer, alt):
    """Agreement with the natural stimulus at every layer, and the best that unrelated pairs reach.

    Parameters
    ----------
    distances : pandas.DataFrame
        measured, spearman, of one metamer.
    null : pandas.DataFrame
        layer, measure, maximum.
    layer : str
        Where it was synthesised.
    alt : str

    Returns
    -------
    str
        SVG.
    """
    layers = distances["measured"].tolist()
    best = null[null["measure"] == "spearman"].drop_duplicates("layer").set_index("layer")["maximum"]
    chance = pd.to_numeric(best.reindex(layers), errors="coerce").to_numpy(float)
    value = pd.to_numeric(distances["spearman"], errors="coerce").to_numpy(float)
    low, high = min(0.0, np.nanmin(value, initial=0) - 0.05), 1.05
    x = (np.arange(len(layers)) + 0.5) / len(layers)
    y, ground, chance = ((v - low) / (high - low) for v in (value, 0.0, chance))
    bars = [
        _bar(at, 0.8 / len(layers), ground, top) for at, top in zip(x, chance, strict=True) if top > ground
    ]
    here = [_rule(x[layers.index(layer)])] if layer in layers else []
    good = np.isfinite(y)
    content = "".join([*bars, *here, _line(np.stack([x[good], y[good]], axis=1))])
    numbers = [(x[int(tick) - 1], f"{tick:g}") for tick in _whole(len(layers))]
    labels = ("layer measured, early to late", "Spearman")
    return _drawing(content, alt, x=numbers, y=_ticks(low, high), labels=labels)


def uri(content, kind):
    """Bytes as an address that holds them.

    Parameters
    ----------
    content : bytes
    kind : str
        Media type.

    Returns
    -------
    str
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _cochleagram(waveform, rate_hz):
    """Cochleagram of a whole sound (channel, frame), and the centres of its channels in Hz."""
    factor = max(1, round(rate_hz / FRAMES_HZ))
    kernel = 10 * factor + 1
    pad = max(kernel // 2, round((SHORTEST_S * rate_hz - len(waveform)) / 2))
    padded = np.pad(waveform, pad)
    bank = cochleagram.HalfCosineBank(low_hz=LOW_HZ, high_hz=min(HIGH_HZ, rate_hz / 2), sample_factor=2)
    sampler = cochleagram.EnvelopeSampler(factor, kernel)
    seen = cochleagram.Cochleagram(len(padded), rate_hz, bank=bank, envelope=sampler)
    frames = seen(torch.from_numpy(padded.astype(np.float32))).numpy()
    return frames, bank.centres()


def _drawing(content, alt, *, x, y, labels, height=200):
    """What is drawn, with axes: ticks are (place from 0 to 1, text)."""
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, height - BOTTOM
    parts = [f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#333"/>']
    for place, text in x:
        at = left + place * (right - left)
        parts.append(
            f'<path d="M{at:.1f} {bottom}v4" stroke="#333"/>{_text(at, bottom + 16, text, "middle")}'
        )
    for place, text in y:
        at = bottom - place * (bottom - top)
        parts.append(f'<path d="M{left} {at:.1f}h-4" stroke="#333"/>{_text(left - 7, at + 4, text, "end")}')
    parts.append(_text((left + right) / 2, height - 6, labels[0], "middle"))
    across = f'<g transform="translate(12 {(top + bottom) / 2}) rotate(-90)">{_text(0, 0, labels[1], "middle")}</g>'
    return (
        f'<svg role="img" aria-label="{html.escape(alt)}" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" font-family="system-ui, sans-serif" font-size="11.5" fill="#1c1c1c">'
        f"{content}{''.join(parts)}{across}</svg>"
    )


def _text(x, y, text, anchor):
    """Words at a place of the drawing."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _inside(points, height=200):
    """Places from 0 to 1 as places of the drawing."""
    across, up = WIDTH - LEFT - RIGHT, height - TOP - BOTTOM
    return np.asarray(points) * [across, -up] + [LEFT, height - BOTTOM]


def _line(points):
    """Points, and the line through them."""
    places = _inside(points)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = (
        "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in places)
        if len(places) < 100
        else ""
    )
    return f'<g fill="{BLUE}"><polyline points="{path}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>{dots}</g>'


def _bar(at, width, low, high):
    """A grey bar."""
    (left, top), (right, bottom) = _inside([[at - width / 2, high], [at + width / 2, low]])
    size = f'width="{right - left:.1f}" height="{bottom - top:.1f}"'
    return f'<rect x="{left:.1f}" y="{top:.1f}" {size} fill="{GREY}"/>'


def _rule(at):
    """A dotted vertical line."""
    (x, top), (_, bottom) = _inside([[at, 1], [at, 0]])
    return f'<path d="M{x:.1f} {top}V{bottom}" stroke="{RED}" stroke-dasharray="2 3"/>'


def _limits(values):
    """Range of an axis: that of the values, a little wider, and never empty."""
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def _ticks(low, high):
    """Round numbers on an axis, with their places."""
    values = [v for v in MaxNLocator(nbins=6).tick_values(low, high) if low <= v <= high]
    return [((v - low) / (high - low), f"{v:.4g}".replace("-", "−")) for v in values]


def _decades(low, high):
    """Powers of ten, or round numbers where there are fewer than two, on a logarithmic axis."""
    powers = np.arange(np.ceil(low), np.floor(high) + 1)
    powers = powers[:: max(1, len(powers) // 5)]
    values = 10.0**powers if len(powers) > 1 else MaxNLocator(nbins=4).tick_values(10**low, 10**high)
    values = [v for v in values if v > 0 and low <= np.log10(v) <= high]
    return [((np.log10(v) - low) / (high - low), f"{v:.3g}".replace("-", "−")) for v in values]


def _whole(n):
    """At most eight whole numbers from 1 to n."""
    ticks = MaxNLocator(nbins=8, integer=True, min_n_ticks=1).tick_values(1, n)
    return [tick for tick in ticks if 1 <= tick <= n and tick == int(tick)]
