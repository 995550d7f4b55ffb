"""Metamers on disk: arrays with their names, files to look at and listen to, losses."""

import shutil

import numpy as np
import pandas as pd
import xarray as xr

from lib import artefacts

ENDINGS = {"vision": ".png", "audio": ".wav"}
VERDICTS = ("gate", "distances", "null", "stages", "judged")
POINTS = 200  # of a loss curve that are written


def save(folder, canvas, originals, made, *, attributes):
    """Write metamers of several layers.

    Parameters
    ----------
    folder : pathlib.Path
        Gets `metamers.nc`, `original/<stimulus>.png` or `.wav`, `metamer/<layer>/<stimulus>.png` or `.wav`, and
        `loss.csv`. Files of an earlier synthesis are removed, and what was said of it: its gate is not that of
        these.
    canvas : lib.metamers.canvas.Canvas
    originals : xarray.DataArray (stimulus, …)
    made : dict of str to lib.metamers.synthesis.Metamers
        By layer, in their order.
    attributes : dict
        Of the data set: model, digest, target, …

    Returns
    -------
    xarray.Dataset
        As written: `metamer` (layer, stimulus, …) and `original` (stimulus, …) in canvas units, `why` (layer,
        stimulus), which says what went wrong or nothing, and `overridden` (layer): 1 where the layer's last
        ReLU passed back its gradient unchanged.
    """
    for part in ("original", "metamer"):
        shutil.rmtree(folder / part, ignore_errors=True)
    for name in VERDICTS:
        (folder / f"{name}.csv").unlink(missing_ok=True)
    whole = _dataset(canvas, originals, made, attributes)
    ending = ENDINGS[canvas.modality]
    for name in whole["stimulus"].values:
        file = f"{artefacts.file_name(str(name))}{ending}"
        canvas.write(whole["original"].sel(stimulus=name).values, folder / "original" / file)
        for layer in made:
            x = whole["metamer"].sel(layer=layer, stimulus=name).values
            canvas.write(x, folder / "metamer" / artefacts.file_name(layer) / file)
    losses = pd.concat([thinned(metamers.loss) for metamers in made.values()], ignore_index=True)
    artefacts.save_table(losses, folder / "loss.csv")
    artefacts.save(whole, folder / "metamers.nc")
    return whole


def thinned(loss):
    """Loss curves with at most so many points that they can be drawn, the first and the last among them.

    Parameters
    ----------
    loss : pandas.DataFrame
        layer, stimulus, step, loss; in the order of steps.

    Returns
    -------
    pandas.DataFrame
    """
    last = loss.groupby(["layer", "stimulus"])["step"].transform("max")
    every = max(1, int(np.ceil(loss["step"].max() / POINTS)))
    return loss[(loss["step"] % every == 0) | (loss["step"] == last)].reset_index(drop=True)


def _dataset(canvas, originals, made, attributes):
    """All arrays."""
    layers = pd.Index(list(made), name="layer")
    names = originals["stimulus"].values
    metamer = xr.concat([metamers.values for metamers in made.values()], layers, join="exact")
    why = np.array([[metamers.why[str(name)] for name in names] for metamers in made.values()], dtype=object)
    whole = xr.Dataset(
        {
            "metamer": metamer.astype("float32"),
            "original": originals.astype("float32"),
            "why": (("layer", "stimulus"), why),
            "overridden": ("layer", [int(metamers.overridden) for metamers in made.values()]),
        },
        attrs={"modality": canvas.modality, "low": canvas.low, "high": canvas.high, **attributes},
    )
    for name in ("metamer", "original"):
        whole[name].attrs = {"long_name": name, "units": "1", "valid_range": [canvas.low, canvas.high]}
    if canvas.rate_hz:
        whole.attrs["rate_hz"] = canvas.rate_hz
    return whole
