"""What an experiment can show: gated metamers, their natural versions, and natural stimuli to practise on."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from PIL import Image

from lib import artefacts, stimuli
from lib.plugins import first

NEEDED = ("layer", "stimulus", "passed", "original_file", "file")
MODALITIES = {".png": "vision", ".wav": "audio"}
FULL_SCALE = 0.99


def gated(folders):
    """Metamers of one or several models with the verdict of their gates.

    Parameters
    ----------
    folders : dict
        Name of a model → folder with its `gate.csv` and the files that it names (`data/metamers/<model>/<target>`).

    Returns
    -------
    pandas.DataFrame
        model, layer, stimulus, passed (bool), file and original (pathlib.Path), label and
        label_original (what the generating network calls the metamer and its original, or "").

    Raises
    ------
    FileNotFoundError
        If a folder has no `gate.csv`, or a file that an experiment would show is not there.
    ValueError
        If there is no folder, a table lacks columns or has a metamer twice, a file lies outside its folder, none
        passed, or sounds and pictures are mixed.
    """
    if not folders:
        raise ValueError("there are no folders of metamers: an experiment needs at least one")
    table = pd.concat([_gate(model, Path(folder)) for model, folder in folders.items()], ignore_index=True)
    if not table["passed"].any():
        raise ValueError(f"no metamer of {first(folders)} passed its gate; there is nothing to show")
    shown = pd.concat([table["original"], table["file"][table["passed"]]])
    lacking = [path for path in shown.unique() if not path.is_file()]
    if lacking:
        raise FileNotFoundError(f"files that gate.csv names are not there: {first(lacking)}")
    modality(table)
    return table


def _gate(model, folder):
    """Table of one folder."""
    path = folder / "gate.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no gate.csv: metamers are shown only with their gate")
    table = artefacts.load_texts(path, NEEDED)
    twice = table[table.duplicated(["layer", "stimulus"])]
    if len(twice):
        raise ValueError(f"{path} has metamers twice: {first(twice['layer'] + ' of ' + twice['stimulus'])}")
    odd = table["passed"][~table["passed"].isin(["True", "False"])]
    if len(odd):
        raise ValueError(f"{path}: passed is True or False, not {first(odd.map(repr).unique())}")
    inside = folder.resolve()
    for column in ("file", "original_file"):
        away = [f for f in table[column] if f and not (folder / f).resolve().is_relative_to(inside)]
        if away:
            raise ValueError(f"{path} names files outside its folder: {first(away)}")
    return pd.DataFrame(
        {
            "model": model,
            "layer": table["layer"],
            "stimulus": table["stimulus"],
            "passed": table["passed"] == "True",
            "file": [folder / file for file in table["file"]],
            "original": [folder / file for file in table["original_file"]],
            "label": table.get("label_metamer", ""),
            "label_original": table.get("label_original", ""),
        }
    )


def modality(table):
    """Whether gated metamers are seen or heard.

    Parameters
    ----------
    table : pandas.DataFrame
        From `gated`.

    Returns
    -------
    {"vision", "audio"}

    Raises
    ------
    ValueError
        If they are neither PNG nor WAV, or both.
    """
    suffixes = {path.suffix.lower() for column in ("file", "original") for path in table[column]} - {""}
    found = {MODALITIES.get(suffix, suffix) for suffix in suffixes}
    if len(found) != 1 or not found <= set(MODALITIES.values()):
        raise ValueError(f"an experiment shows PNG or plays WAV, not {first(sorted(suffixes))}")
    return found.pop()


def picture(path, *, size=None):
    """A picture as PNG.

    Parameters
    ----------
    path : pathlib.Path
    size : (int, int), optional
        Width and height: the middle of the picture is cropped to this shape, then resized. Without it the file
        is taken as it is.

    Returns
    -------
    (bytes, (int, int))
        The file, and its width and height.

    Raises
    ------
    ValueError
        If it cannot be read as a picture.
    """
    pixels = Image.fromarray(stimuli.read(path))
    if size is None:
        return path.read_bytes(), pixels.size
    scale = min(pixels.width / size[0], pixels.height / size[1])
    width, height = size[0] * scale, size[1] * scale
    left, top = (pixels.width - width) / 2, (pixels.height - height) / 2
    box = (left, top, left + width, top + height)
    stream = io.BytesIO()
    pixels.resize(size, Image.Resampling.BICUBIC, box=box).save(stream, "PNG")
    return stream.getvalue(), size


def sound(path, *, rms, shape=None):
    """A sound as WAV of 16 bits, at a level that all have in common.

    Parameters
    ----------
    path : pathlib.Path
    rms : float
        Root of the mean square that it is brought to, full scale 1; less if its peaks would be cut off.
    shape : (int, int), optional
        Number of samples and rate in Hz to which it is resampled and cut; not touched if absent.

    Returns
    -------
    (bytes, (int, int))
        The file, and its number of samples and rate in Hz.

    Raises
    ------
    ValueError
        If the sound is silent, or not finite.
    """
    waveform, rate_hz = stimuli.read(path)
    if shape:
        waveform, rate_hz = stimuli.resample(waveform, rate_hz, shape[1])[: shape[0]], shape[1]
    power, peak = np.mean(waveform**2), np.abs(waveform).max()
    if not (np.isfinite(peak) and power > 0):
        raise ValueError(f"{path} is silent or not finite; it cannot be brought to a level")
    return encoded(waveform * min(rms / np.sqrt(power), FULL_SCALE / peak), rate_hz), (len(waveform), rate_hz)


def encoded(waveform, rate_hz):
    """A waveform as WAV of 16 bits, which every browser plays.

    Parameters
    ----------
    waveform : array (n_samples,) or (n_samples, n_channels)
        Full scale 1.
    rate_hz : int

    Returns
    -------
    bytes
    """
    stream = io.BytesIO()
    soundfile.write(stream, waveform, rate_hz, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def icons():
    """Drawings of the sixteen categories of the published experiments.

    Returns
    -------
    dict
        Category → pathlib.Path of its SVG.
    """
    return {file.stem: file for file in sorted(Path(__file__).with_name("icons").glob("*.svg"))}
