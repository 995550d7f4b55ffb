"""Tables of the models and targets there are, for people who choose among them."""

import pandas as pd

from lib import plugins
from lib.artefacts import directory, load_table, record


def models():
    """Table of models.

    Returns
    -------
    pandas.DataFrame
        Columns model, modality, layers (their number), controls (suffixes), label.
    """
    rows = []
    for name in plugins.names("model"):
        known = plugins.constants(plugins.path("model", name))
        controls = " ".join(f".{control}" for control in known["CONTROLS"]) or "-"
        rows.append((name, known["MODALITY"], len(known["LAYERS"]), controls, known["LABEL"]))
    return pd.DataFrame(rows, columns=["model", "modality", "layers", "controls", "label"])


def targets():
    """Table of targets.

    Returns
    -------
    pandas.DataFrame
        Columns target, modality, kind, planted, download_mb (10⁶ bytes), here (whether the download step has
        finished), licence.
    """
    rows = []
    for name in plugins.names("target"):
        file = plugins.path("target", name)
        known, listed = plugins.constants(file), file.with_name(f"{name}.files.csv")
        size = round(load_table(listed)["size"].sum() / 1e6, 1) if listed.exists() else 0.0
        here = "yes" if record(directory("download", target=name)) else "no"
        planted = "yes" if known["PLANTED"] else "no"
        rows.append((name, known["MODALITY"], known["KIND"], planted, size, here, known["LICENCE"]))
    columns = ["target", "modality", "kind", "planted", "download_mb", "here", "licence"]
    return pd.DataFrame(rows, columns=columns)
