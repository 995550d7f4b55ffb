"""Made-up results of 07_metamers, small, in the layout that it writes."""

import numpy as np
import pandas as pd
import soundfile
import xarray as xr
from PIL import Image

from lib import artefacts

LAYERS = ("conv1", "conv2.relu", "logits")
MEASURES = ("spearman", "pearson", "snr_db")
RATE_HZ = 8000


def made(folder, *, modality, stimuli=("dog_1", "bell_2"), layers=LAYERS, size=12):
    """Write a folder of metamers; what the last layer made fails its gate, the rest passes.

    Parameters
    ----------
    folder : pathlib.Path
    modality : {"audio", "vision"}
    stimuli, layers : tuple of str
    size : int
        Pixels of a side, or milliseconds.

    Returns
    -------
    pathlib.Path
        The folder.
    """
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    shape = (3, size, size) if modality == "vision" else (size * RATE_HZ // 1000,)
    original = natural(rng, modality, (len(stimuli), *shape))
    noise = rng.uniform(-0.2, 0.2, size=(len(layers), *original.shape))
    depth = np.arange(1, len(layers) + 1).reshape(-1, *[1] * original.ndim)
    low = 0 if modality == "vision" else -1
    metamer = np.clip(original + noise * depth / len(layers), low, 1).astype(np.float32)
    save_arrays(folder, modality, metamer, original, (layers, stimuli))
    ending = "png" if modality == "vision" else "wav"
    for i in range(len(stimuli)):
        write(original[i], folder / "original" / f"{i}.{ending}")
        for j, layer in enumerate(layers):
            write(metamer[j, i], folder / "metamer" / layer / f"{i}.{ending}")
    save_tables(folder, ending, layers, stimuli)
    return folder


def natural(rng, modality, shape):
    """Coloured squares, or decaying tones."""
    if modality == "vision":
        return np.broadcast_to(rng.uniform(0.1, 0.9, size=(*shape[:2], 1, 1)), shape).astype(np.float32)
    time = np.arange(shape[1]) / RATE_HZ
    tones = [np.sin(2 * np.pi * 300 * (i + 1) * time) * np.exp(-3 * time / time[-1]) for i in range(shape[0])]
    return (0.3 * np.array(tones)).astype(np.float32)


def write(values, file):
    """A picture as PNG, a sound as float WAV."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if values.ndim == 1:
        soundfile.write(file, values, RATE_HZ, subtype="FLOAT")
    else:
        Image.fromarray(np.round(255 * values).astype(np.uint8).transpose(1, 2, 0)).save(file)


def save_arrays(folder, modality, metamer, original, names):
    """metamers.nc."""
    inside = ("sample",) if modality == "audio" else ("channel", "row", "column")
    arrays = {
        "metamer": (("layer", "stimulus", *inside), metamer),
        "original": (("stimulus", *inside), original),
    }
    about = {"modality": modality, "rate_hz": RATE_HZ, "published": "", "seed": 0}
    coords = dict(zip(("layer", "stimulus"), map(list, names), strict=True))
    artefacts.save(xr.Dataset(arrays, coords, about), folder / "metamers.nc")


def save_tables(folder, ending, layers, stimuli):
    """gate.csv, loss.csv, distances.csv, null.csv and judged.csv."""
    gate, loss, distances, judged = [], [], [], []
    for j, layer in enumerate(layers):
        for i, stimulus in enumerate(stimuli):
            good = layer != layers[-1]
            near = dict.fromkeys(MEASURES[:2], 0.98 - 0.5 * (not good)) | {"snr_db": 14.2 if good else 1.0}
            chance = {"null_spearman": 0.61, "null_pearson": 0.55, "null_snr_db": 3.1}
            labels = {
                "label_original": "dog",
                "label_metamer": "dog" if good else "cat",
                "label_agrees": good,
            }
            reasons = {"passed": good, "why": "" if good else "spearman 0.480 is not above the null's 0.610"}
            files = {"original_file": f"original/{i}.{ending}", "file": f"metamer/{layer}/{i}.{ending}"}
            key = {"layer": layer, "stimulus": stimulus}
            gate.append(key | {"loss": 0.01} | near | chance | labels | reasons | files)
            loss += [key | {"step": 100 * k, "loss": 0.9 * 0.3**k} for k in range(5)]
            distances += [
                {
                    "tapped": layer,
                    "measured": m,
                    "stimulus": stimulus,
                    "spearman": 0.98 if k >= j else 0.4 + 0.1 * k,
                }
                for k, m in enumerate(layers)
            ]
            judged.append(
                {"judge": "another network", **key, "label_original": "dog", "label_metamer": "bell"}
            )
    null = [
        {"layer": layer, "measure": m, "n_pairs": 9, "maximum": 0.6} for layer in layers for m in MEASURES
    ]
    tables = {"gate": gate, "loss": loss, "distances": distances, "judged": judged, "null": null}
    artefacts.save_all({name: pd.DataFrame(rows) for name, rows in tables.items()}, folder)
