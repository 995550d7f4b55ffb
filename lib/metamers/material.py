"""What metamers are made from: original stimuli in canvas units, layers to match, and noise to start from."""

import hashlib

import numpy as np
import torch
import xarray as xr

from lib import artefacts, plugins

MOST_BYTES = 200  # of a file's name without what is added while it is written
AXES = {"vision": ("channel", "row", "column"), "audio": ("sample",)}


def picked(table, stimuli):
    """Some rows of a table of stimuli.

    Parameters
    ----------
    table : pandas.DataFrame
        Column `stimulus`.
    stimuli : int, str or sequence of str
        How many, evenly spread over the table, or their names in the order wanted; as text, a number (007 is a
        name), one name, or names apart by spaces.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    ValueError
        If a name is unknown, or there are fewer rows than wanted.
    """
    if isinstance(stimuli, str):
        is_number = stimuli.isdecimal() and stimuli == str(int(stimuli))
        one = [stimuli] if stimuli in set(table["stimulus"]) else stimuli.split()
        stimuli = int(stimuli) if is_number else one
    if not isinstance(stimuli, int):
        for name in stimuli:
            plugins.require(name, table["stimulus"].tolist(), "stimulus")
        return table.set_index("stimulus").loc[list(stimuli)].reset_index()
    if not 0 < stimuli <= len(table):
        raise ValueError(f"{stimuli} stimuli are wanted of {len(table)}; say 1 to {len(table)}, or names")
    middles = (np.arange(stimuli) + 0.5) * len(table) / stimuli
    return table.iloc[middles.astype(int)].reset_index(drop=True)


def spread(layers):
    """First, middle and last of the layers, each once.

    Parameters
    ----------
    layers : sequence of str

    Returns
    -------
    list of str
    """
    return list(dict.fromkeys((layers[0], layers[len(layers) // 2], layers[-1])))


def originals(canvas, table):
    """Stimuli of a table in canvas units.

    Parameters
    ----------
    canvas : lib.metamers.canvas.Canvas
    table : pandas.DataFrame
        Columns `stimulus`, `file` (below `data/`), `sha256`.

    Returns
    -------
    xarray.DataArray (stimulus, channel, row, column) or (stimulus, sample)
        float32, in canvas units.

    Raises
    ------
    ValueError
        If a stimulus has no file, cannot be shown to the network, differs in size from the first, or has a name
        that cannot be one of a file, or is that of another but for upper and lower case.
    """
    folded = table["stimulus"].astype(str).str.casefold()
    alike = table["stimulus"][folded.duplicated(keep=False)]
    if len(alike):
        raise ValueError(
            f"stimuli {plugins.first(alike)} would share files where case does not count; rename them"
        )
    made = {}
    for row in table.itertuples():
        if not isinstance(row.file, str) or not row.file:
            raise ValueError(f"stimulus {row.stimulus!r} has no file: its data set does not hand it on")
        _require_name(row.stimulus)
        made[row.stimulus] = canvas.stimulus(artefacts.home() / "data" / row.file, sha256=row.sha256)
    shapes = {name: tuple(x.shape) for name, x in made.items()}
    first = next(iter(shapes), None)
    odd = [name for name in shapes if shapes[name] != shapes[first]]
    if odd:
        raise ValueError(f"stimulus {odd[0]!r} has shape {shapes[odd[0]]}, {first!r} has {shapes[first]}")
    return labelled(canvas, made)


def _require_name(stimulus):
    """Refuse a name under which no metamer can be written into its folder."""
    parts = stimulus.split("/") if isinstance(stimulus, str) else [""]
    odd = any(part in ("", ".", "..") or "\0" in part or len(part.encode()) > MOST_BYTES for part in parts)
    if odd:
        raise ValueError(
            f"stimulus {stimulus!r} has no name that a file can have: at most {MOST_BYTES} bytes between slashes, none "
            "empty, . or .."
        )


def labelled(canvas, tensors):
    """Stimuli with their names.

    Parameters
    ----------
    canvas : lib.metamers.canvas.Canvas
    tensors : dict of str to tensor
        All of one shape, in canvas units.

    Returns
    -------
    xarray.DataArray (stimulus, …)
        float32.
    """
    values = torch.stack(list(tensors.values())).float().numpy()
    return xr.DataArray(values, dims=("stimulus", *AXES[canvas.modality]), coords={"stimulus": list(tensors)})


def starts(canvas, originals, rule):
    """Noise that synthesis starts from: of one stimulus always the same, whatever the layer or the batch.

    Parameters
    ----------
    canvas : lib.metamers.canvas.Canvas
    originals : xarray.DataArray (stimulus, …)
    rule : lib.metamers.rules.Rule

    Returns
    -------
    float32 tensor (n_stimuli, …)
        Normally distributed, drawn by a generator of its own for each stimulus; pictures are clamped.
    """
    made = []
    for name in originals["stimulus"].values:
        digest = hashlib.sha256(f"{rule.seed} {name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        noise = torch.randn(originals.shape[1:], generator=generator)
        made.append(rule.deviation * noise + rule.centre)
    made = torch.stack(made)
    return made.clamp(canvas.low, canvas.high) if canvas.modality == "vision" else made
