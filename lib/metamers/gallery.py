"""Metamers beside their natural stimuli, for figures: which to show, and as pictures."""

import pandas as pd

from lib import stimuli
from lib.exhibits import drawing
from lib.metamers import gate, judges

ORIGINAL = "natural"
COLUMNS = ["stimulus", "layer", "passed", "why", "file"]


def chosen(folder, *, n_stimuli=2):
    """Stimuli to show with all their metamers: those of which most passed, the first ones of equals.

    Parameters
    ----------
    folder : pathlib.Path
        Result of the step.
    n_stimuli : int

    Returns
    -------
    pandas.DataFrame
        stimulus, layer (ORIGINAL first, then in order), passed, why, file (relative to `folder`).

    Raises
    ------
    FileNotFoundError
        If there is no gate.
    """
    table = judges.read_gate(folder)
    passed = table.groupby("stimulus", sort=False)["passed"].sum().sort_values(ascending=False, kind="stable")
    rows = []
    for stimulus in passed.index[:n_stimuli]:
        part = table[table["stimulus"] == stimulus]
        natural = {"stimulus": stimulus, "layer": ORIGINAL, "passed": True, "why": ""}
        rows += [natural | {"file": part["original_file"].iloc[0]}, *part[COLUMNS].to_dict("records")]
    return pd.DataFrame(rows, columns=COLUMNS)


def images(folder, files):
    """Pictures of stimuli.

    Parameters
    ----------
    folder : pathlib.Path
    files : iterable of str
        Relative to it.

    Returns
    -------
    dict of str to array
        Of a picture (row, column, 3) uint8, of a sound its cochleagram (frequency, time), from low to high.

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is missing or cannot be read.
    """
    return {
        file: drawing.sound(folder / file).cochleagram
        if file.endswith(stimuli.SOUNDS)
        else stimuli.read(folder / file)
        for file in files
    }


def against_null(table, null):
    """Each metamer's likeness at its own layer, and the null distribution there.

    Parameters
    ----------
    table : pandas.DataFrame
        `gate.examined`.
    null : pandas.DataFrame
        `nulls.summary`.

    Returns
    -------
    pandas.DataFrame
        layer, measure, stimulus, value, passed, median, q95, maximum, n_pairs.
    """
    long = table.melt(["layer", "stimulus", "passed"], list(gate.MEASURES), "measure", "value")
    return long.merge(
        null[["layer", "measure", "median", "q95", "maximum", "n_pairs"]], on=["layer", "measure"], how="left"
    )
