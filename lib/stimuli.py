"""Sounds, pictures and videos: read from disk, checked against their digests, brought to a rate."""

import math
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from scipy import signal

from lib import damage, videos
from lib.artefacts import digest

SOUNDS = (".wav", ".flac", ".ogg")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
VIDEOS = (".mp4",)
# Frames 4, 8, 12, …: about 20 of a clip of three seconds, as Zhou, Du & He (2022) take them.
EVERY_FRAME = 4
SAMPLES = 1 << 20  # of a sound that are read at a time
LIMIT_PIXELS = 80_000_000  # of a picture


def read(path, *, sha256=None):
    """A stimulus as the experiment presented it.

    Parameters
    ----------
    path : str or pathlib.Path
        Sound (`.wav`, `.flac`, `.ogg`), picture (`.png`, `.jpg`, `.bmp`, `.tif`) or video (`.mp4`).
    sha256 : str, optional
        Expected digest of the file.

    Returns
    -------
    tuple (array (n_samples,), int), array (height, width, 3) or array (n_frames, height, width, 3)
        Sound: waveform in float64, full scale 1, channels averaged; and its rate in Hz. Picture: uint8 RGB,
        0 to 255; 16-bit grey is scaled to 8 bits, grey is repeated three times, transparent parts are
        shown on white. Video: uint8 RGB of every fourth frame.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty, unreadable, of another kind, or its digest differs.
    ImportError
        If it is a video, and PyAV is not installed.

    References
    ----------
    Zhou, Du & He (2022), Machine Intelligence Research 19:439, for the frames of a video.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"stimulus {path} does not exist; put it back, or delete the folder of its target in data/download "
            f"and run the download step again"
        )
    if sha256 is not None and digest(path) != sha256:
        raise ValueError(f"stimulus {path} has changed: SHA-256 {digest(path)}, expected {sha256}")
    kind = path.suffix.lower()
    if kind not in SOUNDS + PICTURES + VIDEOS:
        raise ValueError(
            f"stimulus {path} is neither a sound {SOUNDS} nor a picture {PICTURES} nor a video {VIDEOS}"
        )
    with damage.named(f"stimulus {path}", "cannot be read"):
        if kind in VIDEOS:
            return videos.frames(path, every=EVERY_FRAME)
        return _sound(path) if kind in SOUNDS else _picture(path)


def rate(path):
    """Sampling rate of a sound, in Hz.

    Parameters
    ----------
    path : str or pathlib.Path

    Returns
    -------
    int

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no sound.
    """
    with damage.named(f"sound {path}", "cannot be read"), Path(path).open("rb") as file:
        return int(soundfile.info(file).samplerate)


def square(picture, size):
    """The central square of a picture, resized by bilinear interpolation with antialiasing.

    Parameters
    ----------
    picture : uint8 array (height, width, 3)
    size : int
        Pixels of a side; a picture of that size already is taken as it is.

    Returns
    -------
    PIL.Image.Image
    """
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    central = Image.fromarray(np.ascontiguousarray(picture[top : top + side, left : left + side]))
    return central.resize((size, size), Image.Resampling.BILINEAR)


def resample(waveform, rate_hz, to_hz):
    """Waveform at another rate, by polyphase filtering.

    Parameters
    ----------
    waveform : array (n_samples,)
    rate_hz, to_hz : int
        Rates before and after, in Hz; whole numbers.

    Returns
    -------
    array (ceil(n_samples · to_hz / rate_hz),)
        float64, zero phase, same duration; a new array even if the rates agree.

    Raises
    ------
    ValueError
        If a rate is not a positive whole number, or the waveform is not one-dimensional.

    References
    ----------
    `scipy.signal.resample_poly` with its default filter, a sinc in a Kaiser window (beta 5) of ten zero
    crossings at the lower rate on each side.
    """
    waveform = np.asarray(waveform, dtype=np.float64)
    if waveform.ndim != 1:
        raise ValueError(f"a waveform has one axis, samples; this one has shape {waveform.shape}")
    if any(rate != int(rate) or rate <= 0 for rate in (rate_hz, to_hz)):
        raise ValueError(f"rates are positive whole numbers of Hz, not {rate_hz} and {to_hz}")
    if rate_hz == to_hz:
        return waveform.copy()
    shared = math.gcd(int(rate_hz), int(to_hz))
    return signal.resample_poly(waveform, int(to_hz) // shared, int(rate_hz) // shared)


def _sound(path):
    """Mono waveform and its rate."""
    # Piece by piece, for a header may announce any number of samples.
    with soundfile.SoundFile(path) as file:
        pieces, rate_hz = [*_pieces(file)], file.samplerate
    if not pieces:
        raise ValueError("it holds no samples")
    return np.concatenate(pieces), int(rate_hz)


def _pieces(file):
    """Mono samples, so many at a time."""
    while len(samples := file.read(SAMPLES, dtype="float64", always_2d=True)):
        yield samples.mean(axis=1)


def _picture(path):
    """RGB pixels."""
    with Image.open(path) as picture:
        if math.prod(picture.size) > LIMIT_PIXELS:
            raise ValueError(f"it announces {picture.size} pixels, more than {LIMIT_PIXELS}")
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        if picture.mode.startswith("I;16"):
            # Pillow's own conversion cuts off at 255 instead of scaling.
            grey = np.round(np.asarray(picture) / 257).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=2)
        if picture.mode in ("I", "F"):
            raise ValueError(f"pixels of mode {picture.mode} have no known range; store 8 or 16 bits")
        return np.asarray(picture.convert("RGB"))
