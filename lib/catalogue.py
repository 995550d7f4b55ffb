"""Tables of the models and targets there are, for people who choose among them."""

import pandas as pd

from lib import plugins
from lib.artefacts import directory, record
from lib.registry import registry

COUNTED = ("stimuli", "voxels", "subjects", "rois")


def models():
    """Table of models.

    Returns
    -------
    pandas.DataFrame
        Columns model, modality, layers (their number), controls (suffixes), weights ("bundled", or "download":
        run only when named), label.
    """
    rows = []
    for name in plugins.names("model"):
        known = plugins.about("model", name)
        controls = " ".join(f".{control}" for control in known["CONTROLS"]) or "-"
        weights = "bundled" if known["BUNDLED"] else "download"
        # A pattern is worth as many layers as the network turns out to have.
        layers = "?" if isinstance(known["LAYERS"], str) else len(known["LAYERS"])
        rows.append((name, known["MODALITY"], layers, controls, weights, known["LABEL"]))
    return pd.DataFrame(rows, columns=["model", "modality", "layers", "controls", "weights", "label"])


def targets():
    """Table of targets.

    Returns
    -------
    pandas.DataFrame
        Columns target, modality, kind, stimuli, voxels, subjects, rois (as the paper counts them; "?" where
        it does not say, "-" where there are none), download_mb (10⁶ bytes, parts aside; "?" if some sizes are
        not published, "by form" if a person has to ask for the data), parts (names of what is fetched only
        when asked for), here (whether the download step has finished), licence.
    """
    columns = ["target", "modality", "kind", *COUNTED, "download_mb", "parts", "here", "licence"]
    return pd.DataFrame([_target(name) for name in plugins.names("target")], columns=columns)


def _target(name):
    """Row of a target."""
    known = plugins.about("target", name)
    stated, files = known.get("COUNTS", {}), registry(name)
    counts = ["?" if stated.get(what, 0) is None else str(stated.get(what, "-")) for what in COUNTED]
    size = f"{files['size'].sum() / 1e6:.1f}" if (files["size"] > 0).all() else "?"
    size = "by form" if known.get("BY_FORM") else size
    here = "yes" if record(directory("download", target=name)) else "no"
    parts = " ".join(known.get("PARTS", ())) or "-"
    kind = known["KIND"] + (", planted" if known["PLANTED"] else "")
    return (name, known["MODALITY"], kind, *counts, size, parts, here, known["LICENCE"])
