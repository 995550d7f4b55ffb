"""How networks recognise one another's metamers: curves by layer, of one generating network and of groups."""

import numpy as np
import pandas as pd

from lib import inference, plugins
from lib.inference import QUOTED

RULES = ("feather2023", "feather2022")
CLASSES = (16, 794)  # of pictures and of words; the 1000 classes behind the 16 are not shown
UNIT = ["modality", "generator", "stage", "layer"]
# Generating networks of Feather et al. (2023), figure 8B and 8D, as far as they are of one architecture.
GROUPS = {
    "vision": {
        "standard": ["resnet50"],
        "contrastive": ["resnet50_simclr", "resnet50_moco_v2", "resnet50_byol"],
        "adversarially trained": ["resnet50_l2_3_robust", "resnet50_linf_4_robust", "resnet50_linf_8_robust"],
    },
    "audio": {
        "standard": ["cochresnet50"],
        "waveform adversaries": [
            "cochresnet50_l2_1_robust_waveform", "cochresnet50_l2_p5_robust_waveform",
            "cochresnet50_linf_p002_robust_waveform",
        ],
        "cochleagram adversaries": [
            "cochresnet50_l2_1_robust_cochleagram", "cochresnet50_l2_p5_robust_cochleagram",
        ],
    },
}  # fmt: skip


def accuracies(table):
    """Share of a generating network's metamers that each network classifies as their source.

    Parameters
    ----------
    table : pandas.DataFrame
        `network_network` of target metamer_recognition.

    Returns
    -------
    pandas.DataFrame
        modality, generator, stage, layer, network, value (0 to 1; of 16 classes or words), n (metamers that passed).
    """
    here = table[table["classes"].isin(CLASSES)]
    grouped = here.groupby([*UNIT, "network"], sort=False)["correct"]
    return grouped.agg(value="mean", n="size").reset_index()


def curves(found, *, published=None, level=0.95):
    """Recognition of a network's metamers by the others, by layer.

    Parameters
    ----------
    found : pandas.DataFrame
        See `accuracies`.
    published : {"feather2023", "feather2022"}, optional
        Interval: one standard error to either side, from the population SD; 2022: the generating network counts
        among its judges. Default: other networks only, Student's t interval over them. Either way networks of
        one family are no independent units, so that it is too narrow.
    level : float
        Of the t interval.

    Returns
    -------
    pandas.DataFrame
        modality, generator, stage, layer, value (mean over networks), sem, low, high, n (networks), unit, own (the
        generating network's accuracy on its metamers; NaN if it was not measured).

    Raises
    ------
    ValueError
        If there is no such published rule.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2023), doi:10.1038/s41593-023-01442-0, figure 8.
    """
    if published is not None:
        plugins.require(published, RULES, "published rule")
    itself = found["network"] == found["generator"]
    judges = found if published == "feather2022" else found[~itself]
    rows = _means(judges, UNIT, published, level)
    own = found[itself].set_index(UNIT)["value"].rename("own")
    return rows.join(own, on=UNIT)


def groups(found, members, *, published=None, level=0.95):
    """Recognition by other networks of the metamers of groups of networks with the same layers.

    A network's accuracy is its mean over the generating networks of the group other than itself; then the mean over
    networks.

    Parameters
    ----------
    found : pandas.DataFrame
        See `accuracies`.
    members : dict of str to dict of str to list of str
        Modality → group → generating networks, such as GROUPS.
    published : {"feather2023"}, optional
        Interval: one standard error to either side, the population SD over the root of the number of networks less
        one. Default: Student's t interval over networks.
    level : float
        Of the t interval.

    Returns
    -------
    pandas.DataFrame
        modality, group, stage, layer, value, sem, low, high, n, unit, missing (generating networks of the group without
        evaluations, separated by ", "). Groups without any are left out.

    Raises
    ------
    ValueError
        If layers differ within a group, or there is no such published rule.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2023), doi:10.1038/s41593-023-01442-0, figure 8B and 8D.
    """
    if published is not None:
        plugins.require(published, RULES[:1], "published rule")
    tables = []
    for modality, sets in members.items():
        for group, names in sets.items():
            here = found[(found["modality"] == modality) & found["generator"].isin(names)]
            missing = ", ".join(name for name in names if name not in set(here["generator"]))
            if here.groupby("stage")["layer"].nunique().gt(1).any():
                raise ValueError(f"generating networks of group {group!r} differ in their layers")
            n_measured = here["network"].nunique()
            here = here[here["network"] != here["generator"]]
            by = ["modality", "stage", "layer"]
            means = here.groupby([*by, "network"], sort=False)["value"].mean().reset_index()
            rows = _means(means, by, published, level)
            if published:  # of all measured networks, whether or not they are their own generator
                scale = np.sqrt(rows["n"] / max(n_measured - 1, 1))
                rows["sem"] *= scale
                rows = rows.assign(low=rows["value"] - rows["sem"], high=rows["value"] + rows["sem"])
            rows.insert(1, "group", group)
            tables.append(rows.assign(missing=missing))
    return pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)


def quotable(found):
    """Rows of numbers.csv of networks that judge others' metamers.

    Parameters
    ----------
    found : pandas.DataFrame
        See `curves`, not as published.

    Returns
    -------
    pandas.DataFrame
        name (`recognition/metamer_recognition/<generator>/networks/<layer>`), value, low, high, n, unit, what.
    """
    name = "recognition/metamer_recognition/" + found["generator"] + "/networks/" + found["layer"]
    own = found["own"].map(lambda share: "" if np.isnan(share) else f"; its own accuracy {share:.3f}")
    what = "share of the layer's metamers that networks other than their own recognise" + own
    return found.assign(name=name.str.lower(), what=what + "; 95 % t interval over networks")[QUOTED]


def _means(table, by, published, level):
    rows = inference.mean_interval(table, value="value", by=by, unit="network", level=level)
    spread = table.groupby(by, sort=False)["value"].std(ddof=0 if published else 1)
    rows.insert(len(by) + 1, "sem", spread.to_numpy() / np.sqrt(rows["n"].to_numpy()))
    if published:
        rows = rows.assign(low=rows["value"] - rows["sem"], high=rows["value"] + rows["sem"])
    return rows
