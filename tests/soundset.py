"""The 165 natural sounds in miniature: their real names, with a few samples each, where downloads would lie."""

import hashlib

import numpy as np
import pandas as pd
import soundfile

from lib import download, naturalsounds
from lib.artefacts import load_table


def names():
    """Identifiers of the 165 sounds, by ascending number."""
    return load_table(naturalsounds._beside("splits"))["stimulus"].tolist()


def write(seed=0):
    """Write sounds and table of categories, in another order than ascending; SHA-256 by address."""
    rng = np.random.default_rng(seed)
    found = {}
    for name in rng.permutation(names()):
        url = f"{naturalsounds.SOURCE}stimuli/wav/{name}.wav"
        path = download.raw(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.uniform(-0.5, 0.5, 20), 8000, subtype="PCM_16")
        found[url] = hashlib.sha256(path.read_bytes()).hexdigest()
    table = pd.DataFrame(
        {"name": rng.permutation(names()), "category": rng.permutation(["a", "b", "c"] * 55)}
    )
    table.to_csv(
        download.raw(f"{naturalsounds.SOURCE}stimuli/category_labels.csv"), header=False, index=False
    )
    return pd.Series(found, name="sha256")
