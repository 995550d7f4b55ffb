"""Recognition by layer of the metamers: means over participants with their intervals."""

import numpy as np

from lib import inference, plugins
from lib.inference import QUOTED

RULES = ("feather2023",)
GROUP = ["modality", "experiment", "paper_name", "model", "observer", "stage", "layer"]


def means(table, *, published=None, level=0.95):
    """Mean recognition of each layer's metamers by people, and by the network that made them.

    Parameters
    ----------
    table : pandas.DataFrame
        `recognition` of target metamer_recognition, or `responses.by_condition`.
    published : {"feather2023"}, optional
        The interval is one standard error to either side, from the population SD (over n) and hence too small by
        sqrt(1 - 1 / n), not that of a sample. Default: Student's t interval.
    level : float
        Of the t interval.

    Returns
    -------
    pandas.DataFrame
        modality, experiment, paper_name, model, observer, stage, layer, value (mean over participants), sem
        (sample SD / sqrt n; published: population SD), low, high, n, unit. Bounds are not cut at 0 and 1; NaN
        with a single participant.

    Raises
    ------
    ValueError
        If a participant has several rows for a layer, or there is no such published rule.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2023), doi:10.1038/s41593-023-01442-0, figures 2 to 6.
    """
    if published is not None:
        plugins.require(published, RULES, "published rule")
    found = inference.mean_interval(
        table, value="proportion_correct", by=GROUP, unit="participant", level=level
    )
    found = found.rename(columns={"proportion_correct": "value"})
    ddof = 0 if published else 1
    spread = table.groupby(GROUP, sort=False)["proportion_correct"].std(ddof=ddof)
    found.insert(len(GROUP) + 1, "sem", spread.to_numpy() / np.sqrt(found["n"].to_numpy()))
    if published:
        found = found.assign(low=found["value"] - found["sem"], high=found["value"] + found["sem"])
    return found


def quotable(found):
    """Rows of numbers.csv of mean recognition.

    Parameters
    ----------
    found : pandas.DataFrame
        See `means`, without `published`.

    Returns
    -------
    pandas.DataFrame
        name (`recognition/<experiment>/<model>/<observer>/<layer>`), value, low, high, n, unit, what.
    """
    parts = ["experiment", "model", "observer", "layer"]
    name = "recognition/" + found[parts].agg("/".join, axis=1)
    who = found["observer"].map({"human": "people", "network": "the network that made them"})
    natural = np.where(found["stage"] == 0, "natural stimuli", "metamers of the layer")
    interval = np.where(found["low"].isna(), "no interval: one participant", "95 % t interval")
    what = "proportion correct of " + natural + ", judged by " + who + "; mean over participants; " + interval
    return found.assign(name=name.str.lower(), what=what)[QUOTED]
