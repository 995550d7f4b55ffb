"""Loss against time: how far one rule and another come on the same budget."""

import time

import pandas as pd

from lib.metamers import synthesis


def courses(canvas, layers, originals, rules, *, batch_size=8, device="auto"):
    """Loss of every stimulus at every layer as time passes, by each rule.

    Parameters
    ----------
    canvas : lib.metamers.canvas.Canvas
    layers : sequence of str
    originals : xarray.DataArray (stimulus, …)
    rules : dict of str to lib.metamers.rules.Rule
        By the name that it has in the table. For the same budget they have as many steps and no tolerance; the
        published one then halves its step within these.
    batch_size, device
        As for `lib.metamers.synthesis.metamers`.

    Returns
    -------
    pandas.DataFrame
        rule, layer, stimulus, step, loss, and seconds: the wall time of all the stimuli together up to that step,
        taken to be even over the steps.
    """
    tables = []
    for layer in layers:
        for name, rule in rules.items():
            began = time.perf_counter()
            made = synthesis.metamers(canvas, layer, originals, rule, batch_size=batch_size, device=device)
            elapsed = time.perf_counter() - began
            steps = made.loss["step"]
            tables.append(made.loss.assign(rule=name, seconds=steps / max(1, steps.max()) * elapsed))
    whole = pd.concat(tables, ignore_index=True)
    return whole[["rule", "layer", "stimulus", "step", "seconds", "loss"]]


def reached(courses, *, at=(0.25, 0.5, 1.0)):
    """Mean loss after shares of the budget, and how many stimuli end lower than by the first rule.

    Parameters
    ----------
    courses : pandas.DataFrame
        As `courses` returns it.
    at : sequence of float
        Shares of the steps.

    Returns
    -------
    pandas.DataFrame
        layer, rule, n (stimuli), seconds, `loss_<share in percent>` for each share, and n_lower: stimuli whose last
        loss is below that of the rule that comes first (NaN for this one).
    """
    first, rows = courses["rule"].iloc[0], []
    final = courses.sort_values("step").groupby(["layer", "rule", "stimulus"])["loss"].last()
    for (layer, rule), part in courses.groupby(["layer", "rule"], sort=False):
        row = {
            "layer": layer,
            "rule": rule,
            "n": part["stimulus"].nunique(),
            "seconds": part["seconds"].max(),
        }
        for share in at:
            early = part[part["step"] <= share * part["step"].max()]
            row[f"loss_{round(100 * share)}"] = early.groupby("stimulus")["loss"].last().mean()
        lower = final[layer, rule] < final[layer, first]
        rows.append(row | {"n_lower": float("nan") if rule == first else int(lower.sum())})
    return pd.DataFrame(rows)
