"""Proportions correct of participants and of a network, for metamers of each stage, as stored by experiment."""

import numpy as np
import pandas as pd

from lib import damage, matfiles

VARIABLES = ("participant_data_matrix", "model_layers", "conditions", "participants", "axis_order")
AXES = ["participants", "model_layers", "conditions"]
OBSERVERS = {"Human": "human", "Network": "network"}


def recognition(source):
    """Recognition by people and by the network that made the metamers, in one experiment with one network.

    Parameters
    ----------
    source : str, pathlib.Path or binary file object
        `.mat` with `participant_data_matrix` (participant, layer, condition), `model_layers`, `conditions`,
        `participants` and `axis_order`; text padded with blanks.

    Returns
    -------
    pandas.DataFrame
        stage (0 is the natural stimulus), layer, participant, observer ("human", or "network": the generating
        network on the stimuli of that participant), proportion_correct (0 to 1).

    Raises
    ------
    ValueError
        If the file is damaged, a variable is lacking, axes or conditions are others, names occur twice, or a
        proportion is outside 0 to 1 or missing.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2023), doi:10.1038/s41593-023-01442-0, figures 2 to 6.
    """
    with damage.named(source):
        content = matfiles.read(source, VARIABLES)
        names = {variable: _texts(content[variable]) for variable in VARIABLES[1:]}
    if names["axis_order"] != AXES or sorted(names["conditions"]) != sorted(OBSERVERS):
        raise ValueError(
            f"{damage.name(source)} has axes {names['axis_order']} and conditions {names['conditions']} instead of "
            f"{AXES} and {list(OBSERVERS)}"
        )
    values, sizes = content[VARIABLES[0]], tuple(len(names[axis]) for axis in AXES)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise ValueError(f"{damage.name(source)} has {type(values).__name__} instead of a matrix of numbers")
    if np.shape(values) != sizes or any(len(set(names[axis])) < len(names[axis]) for axis in AXES):
        raise ValueError(
            f"{damage.name(source)} has a matrix of shape {np.shape(values)}; {sizes} with different names along each "
            "axis is right"
        )
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"{damage.name(source)} has proportions that are missing or outside 0 to 1")
    return _tidy(values, names)


def _tidy(values, names):
    """One row per cell."""
    index = pd.MultiIndex.from_product(
        [names["participants"], range(values.shape[1]), [OBSERVERS[c] for c in names["conditions"]]],
        names=["participant", "stage", "observer"],
    )
    table = pd.DataFrame({"proportion_correct": values.ravel()}, index=index).reset_index()
    table["layer"] = np.array(names["model_layers"])[table["stage"]]
    return table[["stage", "layer", "participant", "observer", "proportion_correct"]]


def _texts(value):
    """Texts without the blanks that fill a matrix of characters."""
    return [str(text).strip() for text in ([value] if isinstance(value, str) else np.ravel(value))]
