"""What a network names a stimulus: one of 16 kinds of things, a word, a pitch, or a class of its own."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lib import activations, artefacts, plugins

# What SCORES says where the network itself puts out the scores.
OUTPUT = "output"
N_WORDS = 794
IMAGENET = Path(__file__).with_name("labels.imagenet.csv")
PITCHES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
# CREPE's first bin, in cents above 10 Hz (31.7 Hz), and the width of a bin.
FIRST_CENTS = 1997.3794084376191
BIN_CENTS = 20


@dataclasses.dataclass(frozen=True)
class Labeller:
    """How a network's scores become names.

    Attributes
    ----------
    layer : str
        Whose output are the scores; `OUTPUT`: the network's own.
    classes : tuple of str
        Name of each class, in the order of the scores; "" where a class has no name, and then the next best
        class that has one counts.
    time_axis : int or None
        Axis of the scores over which they are averaged first; scores (n, class) have no time.
    """

    layer: str
    classes: tuple
    time_axis: int | None = None

    def label(self, scores):
        """Names of stimuli.

        Parameters
        ----------
        scores : tensor (n, class), or with an axis of time more
            The best class counts; of equal ones the first.

        Returns
        -------
        list of str
            "" where a score is NaN.

        Raises
        ------
        ValueError
            If there are not as many scores as classes.
        """
        if self.time_axis is not None and scores.ndim > 2:
            scores = scores.mean(self.time_axis)
        if scores.ndim != 2 or scores.shape[1] != len(self.classes):
            raise ValueError(
                f"scores have shape {tuple(scores.shape)}; {len(self.classes)} classes are named"
            )
        named = torch.tensor([bool(name) for name in self.classes], device=scores.device)
        best = torch.where(named, scores, -torch.inf).argmax(1).tolist()
        odd = scores.isnan().any(1).tolist()
        return ["" if is_odd else self.classes[at] for at, is_odd in zip(best, odd, strict=True)]

    def of(self, canvas, x):
        """Names that a network gives to stimuli.

        Parameters
        ----------
        canvas : lib.metamers.canvas.Canvas
        x : tensor (n, …)
            In canvas units, on any device.

        Returns
        -------
        list of str
        """
        with torch.inference_mode():
            inputs = canvas.inputs(x.to(canvas.device))
            if self.layer == OUTPUT:
                return self.label(canvas.module(inputs))
            scores = activations.record(canvas.module, inputs, [self.layer], stop=True)[self.layer]
        return self.label(scores)


def of(model):
    """How a model names stimuli: by the constants SCORES and CLASSES of its plug-in.

    Parameters
    ----------
    model : lib.models.Model

    Returns
    -------
    Labeller or None
        None if the plug-in does not state both: the model names nothing.

    Raises
    ------
    ValueError
        If there is no such plug-in, or CLASSES names a table that is unknown.
    """
    known = plugins.about("model", model.name)
    layer, classes = known.get("SCORES"), known.get("CLASSES")
    if not layer or not classes:
        return None
    if isinstance(classes, str):
        classes = TABLES[plugins.require(classes, TABLES, "table of classes")]()
    return Labeller(layer, tuple(classes), model.time_axis)


def imagenet():
    """The 1000 classes of ImageNet (ILSVRC 2012), in the order of networks.

    Returns
    -------
    pandas.DataFrame
        index, wnid (WordNet 3.0), name (all lemmas), group: one of 16, or "".

    References
    ----------
    Groups: Geirhos et al. (2018), NeurIPS, as used by Feather et al. (2023), doi:10.1038/s41593-023-01442-0.
    Their 231 synsets hold 207 of the 1000. The study looked classes up by their name, of which the last in a list
    of all nouns counts; so "Dutch oven", the pot (n03259280), counts as the oven (n03259401), and all else as
    its own synset.
    """
    return pd.read_csv(IMAGENET, keep_default_na=False)


@functools.lru_cache(maxsize=1)
def sixteen():
    """Group of each of the 1000 classes of ImageNet, "" for those in none; a tuple."""
    return tuple(imagenet()["group"])


def words():
    """Names of the 794 classes of networks trained on words, in the order of their scores.

    Returns
    -------
    tuple of str
        As released, if the target `metamer_recognition` has been downloaded; else "word0" to "word793".
    """
    path = artefacts.directory("download", target="metamer_recognition") / "words.csv"
    if not path.is_file():
        return tuple(f"word{number}" for number in range(N_WORDS))
    table = artefacts.load_table(path, word=str).sort_values("number")
    return tuple(table["word"])


@functools.lru_cache(maxsize=1)
def pitches():
    """Nearest note of the equal-tempered scale (A4 = 440 Hz) to each of CREPE's 360 pitches; a tuple."""
    hertz = 10 * 2 ** ((FIRST_CENTS + BIN_CENTS * np.arange(360)) / 1200)
    notes = np.rint(69 + 12 * np.log2(hertz / 440)).astype(int)
    return tuple(f"{PITCHES[note % 12]}{note // 12 - 1}" for note in notes)


# What CLASSES may name instead of listing them.
TABLES: dict[str, Callable] = {"imagenet": sixteen, "pitches": pitches, "words": words}
