"""The 29 networks of the brain hierarchy score and their layers, as published and as they are called here.

The tables beside this module, `bh29.networks.csv` and `bh29.layers.csv`, hold facts of the publication and our
correspondence to them: layer lists and folders are those of the authors' settings.
"""

from pathlib import Path

from lib import artefacts, plugins

MATCHES = {
    "weights": "the same trained weights",
    "architecture": "the same architecture, trained by others",
    "kin": "a relative of another architecture, trained by others",
    "": "none here; the note says why",
}


def networks():
    """The networks in their published order.

    Returns
    -------
    pandas.DataFrame
        One row per network, which is the index (`AlexNet`, …). Columns: `folder` of the authors' release
        ("<framework>/<network>"), `model` (a name of `lib.models`, or "" where none corresponds), `match` (a
        key of MATCHES: what the two share) and `note` (what differs, or why there is none).

    References
    ----------
    Nonaka, Majima, Aoki & Kamitani (2021), iScience 24, 103013, doi:10.1016/j.isci.2021.103013;
    settings of github.com/KamitaniLab/BHscore.
    """
    return _table("networks").set_index("network")


def layers(network):
    """Layers of a network, from input to output.

    Parameters
    ----------
    network : str
        As published (`AlexNet`), or its folder in the release (`caffe/AlexNet`).

    Returns
    -------
    pandas.DataFrame
        One row per layer. Columns: `layer`, as published; `module`, the layer of the network here, as
        `lib.activations` takes it ("" where there is none); `absolute`, whether the published values are
        absolute values of that output, as in each network's first layer.

    Raises
    ------
    ValueError
        If there is no such network; the nearest are named.
    """
    known = networks()
    by_folder = dict(zip(known["folder"], known.index, strict=True))
    name = by_folder.get(network, network)
    plugins.require(name, known.index, "network of the brain hierarchy score")
    table = _table("layers")
    rows = table.loc[table["network"] == name, ["layer", "module"]].reset_index(drop=True)
    return rows.assign(absolute=rows["layer"].str.endswith("_abs"))


def ordered(network, names):
    """Names of layers from input to output.

    Parameters
    ----------
    network : str
        As for `layers`, or any other.
    names : iterable of str
        Of layers, as published.

    Returns
    -------
    list of str
        In the published order; names that are not published, and those of other networks, last and as text.
    """
    known = networks()
    published = layers(network)["layer"] if network in {*known.index, *known["folder"]} else []
    place = {layer: i for i, layer in enumerate(published)}
    return sorted(names, key=lambda name: (place.get(name, len(place)), name))


def _table(part):
    """A table beside this module."""
    return artefacts.load_table(Path(__file__).with_name(f"bh29.{part}.csv")).fillna("")
