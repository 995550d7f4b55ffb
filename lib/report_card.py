"""A report card per model: the same measures side by side, on the ladder from the bare input to the ceiling."""

import itertools

import numpy as np
import pandas as pd
from scipy import stats

from lib import plugins
from lib.inference import QUOTED
from lib.rdm_comparison import MEASURES as COMPARISONS

# Measure: what it is; which numbers hold it, the preferred first (part of the name after the model); and its ceiling,
# NaN where none is known, None where the target's own numbers tell.
MEASURES = {
    "encoding": ("corrected r², best layer", ("r2_corrected/all",), 1.0),
    "rsa": ("correlation of RDMs, best layer", tuple(f"{name}/all" for name in COMPARISONS), None),
    "layer_weighted": (
        "r², all layers, weighted by region", ("layer weighted r2/all layers, one weight per region",), np.nan,
    ),
    "bh": ("brain hierarchy score", ("bh/mean", "bh/decoding"), 1.0),
    "metamers": ("metamers that pass the gate", ("pass_rate/all",), 1.0),
    "recognised": ("metamers recognised by other networks", ("recognised/all",), 1.0),
}  # fmt: skip
RUNGS = ("input", "designed", "random", "permuted", "trained", "ceiling")
COLUMNS = ["target", "model", "network", "rung", "measure", "value", "low", "high", "n", "unit"]
MOST = 8  # models up to which all orders are tried


def card(numbers):
    """Measures of each model on each target, from the table of numbers.

    Parameters
    ----------
    numbers : pandas.DataFrame
        Rows of numbers.csv: name (`<step>/<target>/<model>/<quantity>[/<part>]`), value, low, high, n, unit. Those
        of released results count for no model here.

    Returns
    -------
    pandas.DataFrame
        target, model, network (model without its control), rung (see RUNGS), measure (a key of MEASURES), value,
        low, high, n, unit. Rows of rung "ceiling" have no model; there is one for the measures whose ceiling is
        known: 1, or of RDMs the mean of lower and upper noise ceiling, which are the interval. Measures that were
        not made have no row.
    """
    names = {name.lower(): name for name in plugins.names("model")}
    split = numbers["name"].str.extract(
        r"^(?P<step>[^/]+)/(?P<target>[^/]+)/(?P<called>[^/]+)/(?P<quantity>.+)$"
    )
    table = pd.concat([numbers, split], axis=1).dropna(subset="called")
    brains = [
        name for name in plugins.names("target") if plugins.about("target", name)["KIND"] in plugins.BRAINS
    ]
    table = table[table["target"].isin(brains)]
    rows = []
    for measure, (_, quantities, _) in MEASURES.items():
        here = table[table["quantity"].isin(quantities)]
        order = here["quantity"].map(quantities.index)
        best = (
            here.assign(order=order).sort_values("order", kind="stable").drop_duplicates(["target", "called"])
        )
        rows.append(best.assign(measure=measure))
    found = pd.concat(rows, ignore_index=True)
    found["network"], control = zip(*map(_parted, found["called"]), strict=True) if len(found) else ([], [])
    found = found.assign(control=list(control))
    found = found[found["network"].isin(names)]
    found["network"] = found["network"].map(names)
    found["model"] = found["network"] + found["control"].map(lambda c: f".{c}" if c else "")
    found["rung"] = [_rung(network, c) for network, c in zip(found["network"], found["control"], strict=True)]
    return pd.concat([found[COLUMNS], _ceilings(found, table)], ignore_index=True)


def agreement(cards):
    """How far the measures agree on which model is more brain-like.

    Parameters
    ----------
    cards : pandas.DataFrame
        What `card` returned.

    Returns
    -------
    pandas.DataFrame
        target, a, b (measures), value (Spearman correlation over models, controls included), low, high (95 %
        bootstrap over networks, a network's controls going with it; NaN with fewer than four), p (two-sided; all
        orders of up to 8 models, else 10,000), n (models), n_networks. Controls differ from their network so much that
        they alone can make measures agree.
    """
    rows, rng = [], np.random.default_rng(0)
    models = cards[cards["rung"] != "ceiling"]
    for target, here in models.groupby("target", sort=False):
        wide = here.pivot_table(index=["network", "model"], columns="measure", values="value", sort=False)
        for a, b in itertools.combinations([m for m in MEASURES if m in wide], 2):
            pair = wide[[a, b]].dropna()
            if len(pair) >= 3 and (np.ptp(pair.to_numpy(), axis=0) > 0).all():
                rows.append((target, a, b, *_agreeing(pair, rng)))
    return pd.DataFrame(rows, columns=["target", "a", "b", "value", "low", "high", "p", "n", "n_networks"])


def quotable(agreed):
    """Rows of numbers.csv from how measures agree.

    Parameters
    ----------
    agreed : pandas.DataFrame
        What `agreement` returned.

    Returns
    -------
    pandas.DataFrame
        name (`figures/<target>/agreement/<a>/<b>`), value, low, high, n, unit, what.
    """
    name = "figures/" + agreed["target"] + "/agreement/" + agreed["a"] + "/" + agreed["b"]
    what = "Spearman correlation of two measures over models and controls, p = " + agreed["p"].map(
        "{:.2g}".format
    )
    return agreed.assign(name=name.str.lower(), unit="network", what=what, n=agreed["n_networks"])[QUOTED]


def _parted(called):
    """Name of a model without its control, and the control."""
    stem, _, control = called.rpartition(".")
    return (stem, control) if control in plugins.CONTROLS else (called, "")


def _rung(network, control):
    """Rung of the ladder that a model stands on."""
    return control or plugins.about("model", network).get("RUNG", "trained")


def _ceilings(found, table):
    """Rows of rung "ceiling" for the measures and targets of which there is one."""
    rows = []
    for (target, measure), here in found.groupby(["target", "measure"], sort=False):
        bounds = [MEASURES[measure][2]] * 2
        if bounds[0] is None:
            bounds = [
                _ceiling(table, target, here["quantity"].iloc[0], bound) for bound in ("lower", "upper")
            ]
        if np.isfinite(bounds).all():
            rows.append((target, "", "", "ceiling", measure, np.mean(bounds), *bounds, np.nan, ""))
    return pd.DataFrame(rows, columns=COLUMNS)


def _ceiling(table, target, quantity, bound):
    """A noise ceiling of RDMs over all regions, over subjects."""
    measure, part = quantity.split("/")
    name = f"rsa/{target}/{part}/{measure}/{bound}_ceiling/subject"
    values = table.loc[table["name"] == name, "value"]
    return values.iloc[0] if len(values) else np.nan


def _agreeing(pair, rng):
    """Correlation of two columns with interval and p; see `agreement`."""
    a, b = pair.to_numpy().T
    observed = stats.spearmanr(a, b).statistic
    networks = pair.index.get_level_values("network")
    groups = [np.flatnonzero(networks == name) for name in dict.fromkeys(networks)]
    low = high = np.nan
    if len(groups) >= 4:
        drawn = [
            np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))])
            for _ in range(2000)
        ]
        again = [stats.spearmanr(a[i], b[i]).statistic for i in drawn if np.ptp(a[i]) and np.ptp(b[i])]
        low, high = np.quantile(again, [0.025, 0.975])
    orders = (
        np.array(list(itertools.permutations(b)))
        if len(b) <= MOST
        else np.array([rng.permutation(b) for _ in range(10_000)])
    )
    ranks = stats.rankdata(orders, axis=1) - (len(b) + 1) / 2
    own = stats.rankdata(a) - (len(a) + 1) / 2
    as_large = np.abs(ranks @ own) >= abs((stats.rankdata(b) - (len(b) + 1) / 2) @ own) - 1e-9
    p = as_large.mean() if len(b) <= MOST else (as_large.sum() + 1) / (len(as_large) + 1)
    return observed, low, high, p, len(a), len(groups)
