"""The 36 models of hearing of Tuckute et al. (2023) and their layers, as published and as they are called here.

The tables beside this module, `auditory_models.networks.csv` and `auditory_models.layers.csv`, hold facts of
the publication and our correspondence to them.
"""

from pathlib import Path

import pandas as pd

from lib import artefacts, plugins


def networks():
    """The models by their published identifiers.

    Returns
    -------
    pandas.DataFrame
        One row per model, whose identifier is the index (`Kell2018word`, …). Columns of text: `label` for
        figures; `network`, the architecture, by which layers are listed; `model`, a name of `lib.models`, ""
        where there is none here; `weights`, their address, "" where there are none; `note`, why a model or its
        weights are missing, or in what it may differ. The released activations of all of them can be read
        (`lib.released`), whether they can be run here or not.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLOS Biology 21, e3002366; tables of
    github.com/gretatuckute/auditory_brain_dnn.
    """
    return _table("networks").set_index("identifier")


def trained():
    """What the study's own networks were trained on.

    Returns
    -------
    pandas.DataFrame
        One row per name of `lib.models` (run here, or released). model, network (architecture), task ("word",
        "speaker", "genre", "audioset", "multitask"), clean (bool: without background noise), seed (1 or 2: random
        start).

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLOS Biology 21, e3002366, Methods (in-house models).
    """
    table = networks()
    named = table["label"].str.extract(r"^(Coch\w+?)-([A-Z][a-z]+(?:Set|Task)?)(Clean)?(?:Seed(\d))?$")
    found = pd.DataFrame(
        {
            "network": named[0],
            "task": named[1].str.lower(),
            "clean": named[2].notna(),
            "seed": named[3].fillna("1").astype(int),
        }
    ).join(table[["model", "released"]])
    found = found.dropna(subset="network").melt(["network", "task", "clean", "seed"], value_name="name")
    found = found.rename(columns={"name": "model"})
    return found[["model", "network", "task", "clean", "seed"]]


def layers(identifier):
    """Layers of a model, from input to output.

    Parameters
    ----------
    identifier : str
        As published (`Kell2018word`).

    Returns
    -------
    pandas.DataFrame
        One row per layer. Columns of text: `layer`, as published; `label` for figures; `model_layer`, the
        layer of the model here, "" where there is none.

    Raises
    ------
    ValueError
        If there is no such identifier; the nearest are named.
    """
    known = networks()
    plugins.require(identifier, known.index, "model of hearing")
    table = _table("layers")
    chosen = table[table["network"] == known.loc[identifier, "network"]]
    return chosen.drop(columns="network").reset_index(drop=True)


def _table(part):
    """One of the tables beside this module; nothing in it is a number."""
    return artefacts.load_table(Path(__file__).with_name(f"auditory_models.{part}.csv")).fillna("")
