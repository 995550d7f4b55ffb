"""Which metamers may be shown: those that their network cannot tell from the natural stimulus, and why not others."""

import numpy as np
import pandas as pd
import torch
from statsmodels.stats.proportion import proportion_confint

from lib.inference import QUOTED
from lib.metamers import distances, nulls, store

MEASURES = distances.MEASURES
COLUMNS = [
    "layer", "stimulus", "loss", *MEASURES, *(f"null_{m}" for m in MEASURES), "label_original", "label_metamer",
    "label_agrees", "passed", "why", "original_file", "file",
]  # fmt: skip
# Share of random pairs that a layer may not tell apart before it says nothing: room for duplicates.
SAME = 0.01


def examined(canvas, metamers, null, *, labeller=None, losses=None, published=None, batch_size=16):
    """Each metamer beside its natural stimulus, as its network sees both.

    A metamer passes if, at the layer it was made for, none of rank correlation, correlation and signal-to-noise
    ratio is below the maximum of the null distribution; if the network gives both the same name; and if nothing
    else is wrong: a loss that is not finite or did not fall, a stimulus without contrast or sound, values out of
    range, a layer that does not tell random stimuli apart.

    Parameters
    ----------
    canvas : lib.metamers.canvas.Canvas
    metamers : xarray.Dataset
        `metamer` (layer, stimulus, …) and `original` (stimulus, …) in canvas units; where there is `why` (layer,
        stimulus), what it says of a synthesis keeps the metamer back.
    null : pandas.DataFrame
        `nulls.summary`, of all layers at which both are to be compared, in the network's order.
    labeller : lib.metamers.labels.Labeller, optional
        Of a network that names things; without one, no names need agree.
    losses : pandas.DataFrame, optional
        layer, stimulus, step, loss.
    published : {None, "feather2023"}
        Pictures are compared as they will be seen, rounded to 8 bits; "feather2023" compares what was synthesised,
        and half decibels. `null` is to be of the same rule.
    batch_size : int

    Returns
    -------
    gate : pandas.DataFrame
        One row per metamer: COLUMNS. label_agrees is True, False or "" (nothing is named); `why` holds all
        reasons against it, "" if it passed; files are relative to the folder of the result.
    table : pandas.DataFrame
        tapped, measured, stimulus, spearman, pearson, snr_db: of each metamer at each layer.

    Raises
    ------
    ValueError
        If a metamer's layer has no null, or `losses` lack a metamer.
    """
    layers = list(dict.fromkeys(null["layer"]))
    lacking = [layer for layer in metamers["layer"].values.tolist() if layer not in layers]
    if lacking:
        raise ValueError(f"layers {lacking} have no null distribution; there are: {', '.join(layers)}")
    rows, compared = [], []
    for start in range(0, metamers.sizes["stimulus"], batch_size):
        some = metamers.isel(stimulus=slice(start, start + batch_size))
        natural = _natural(canvas, some, layers, labeller)
        for layer in some["layer"].values.tolist():
            exact = torch.from_numpy(some["metamer"].sel(layer=layer).values).float()
            seen = exact if published else as_saved(exact, canvas.modality)
            table = _compared(canvas, seen, natural, published=published)
            compared.append(table.assign(tapped=layer))
            own = table[table["measured"] == layer].reset_index(drop=True)
            own["layer"], own["label_original"] = layer, natural["names"]
            own["label_metamer"] = labeller.of(canvas, seen) if labeller else ""
            notes = some["why"].sel(layer=layer).values.tolist() if "why" in some else [""] * len(exact)
            shown = natural["x"] if published else as_saved(natural["x"], canvas.modality)
            own["faults"] = [
                [*filter(None, [note]), *_range_faults(canvas, x), *_faults(canvas, *both)]
                for note, x, *both in zip(notes, exact, shown, seen, strict=True)
            ]
            rows.append(_gated(own, null, losses, named=labeller is not None))
    gate = pd.concat(rows, ignore_index=True)
    ending = store.ENDINGS[canvas.modality]
    gate["original_file"] = "original/" + gate["stimulus"] + ending
    gate["file"] = "metamer/" + gate["layer"] + "/" + gate["stimulus"] + ending
    whole = pd.concat(compared, ignore_index=True)
    return (
        _ordered(gate, metamers, ["layer", "stimulus"])[COLUMNS],
        _ordered(whole, metamers, ["tapped", "stimulus"])[["tapped", "measured", "stimulus", *MEASURES]],
    )


def as_saved(x, modality):
    """Stimuli as their files hold them.

    Parameters
    ----------
    x : tensor
        In canvas units.
    modality : {"vision", "audio"}
        Pictures are rounded to 255 steps; sounds are kept as they are, in 32-bit floating point.

    Returns
    -------
    tensor
    """
    return (x * 255).round() / 255 if modality == "vision" else x


def stages(table, null):
    """Layer by layer: where metamers of one layer are the same to the network, and where they need not be.

    A network is a function of each of its layers: what agrees at one agrees at all that follow. Earlier ones may
    differ; how much they do is what its invariances are.

    Parameters
    ----------
    table : pandas.DataFrame
        From `examined`.
    null : pandas.DataFrame
        `nulls.summary`, in the network's order of layers.

    Returns
    -------
    pandas.DataFrame
        tapped, measured, relation ("earlier", "matched", "later"), n (stimuli), share of them of which no
        measure is below the null's maximum, low, high (95 % Wilson), expected ("agrees" or "free"), verdict
        ("agrees", "agrees in part", "differs"); spearman, pearson, snr_db: medians.
    """
    layers = list(dict.fromkeys(null["layer"]))
    limits = null.pivot_table(index="layer", columns="measure", values="maximum", dropna=False)
    limits = limits.reindex(layers)[list(MEASURES)]
    reached = table[list(MEASURES)].to_numpy() >= limits.loc[table["measured"]].to_numpy()
    rows = []
    for (tapped, measured), part in table.assign(reached=reached.all(axis=1)).groupby(["tapped", "measured"]):
        behind = layers.index(measured) - layers.index(tapped)
        head = {"tapped": tapped, "measured": measured}
        head["relation"] = "matched" if behind == 0 else "later" if behind > 0 else "earlier"
        share = part["reached"].mean()
        verdict = "agrees" if share == 1 else "agrees in part" if share else "differs"
        tail = {"expected": "agrees" if behind >= 0 else "free", "verdict": verdict}
        rows.append(head | rate(part["reached"]) | tail | part[list(MEASURES)].median().to_dict())
    found = pd.DataFrame(rows).rename(columns={"value": "share"})
    key = {"key": lambda column: column.map(layers.index)}
    return found.sort_values(["tapped", "measured"], **key).reset_index(drop=True)


def rate(passed):
    """Share of what is True, with its interval.

    Parameters
    ----------
    passed : sequence of bool

    Returns
    -------
    dict
        n, value, low, high: Wilson's 95 % interval of a binomial share; NaN if there is nothing.
    """
    passed = np.asarray(passed, dtype=bool)
    return share(passed.mean() if len(passed) else np.nan, len(passed))


def pass_rates(gates):
    """Share of metamers that passed, by layer.

    Parameters
    ----------
    gates : dict of str to pandas.DataFrame
        Model → from `examined`.

    Returns
    -------
    pandas.DataFrame
        model, layer (in order), n, value, low, high (95 % Wilson over stimuli), measures (share of which no
        measure is below the null), labels (share with the same name; NaN if nothing is named).
    """
    rows = []
    for model, gate in gates.items():
        for layer, part in gate.groupby("layer", sort=False):
            alike = np.all([part[m] >= part[f"null_{m}"] for m in MEASURES], axis=0)
            named = part["label_agrees"].map({True: 1.0, False: 0.0, "True": 1.0, "False": 0.0})
            rows.append(
                {"model": model, "layer": layer, **rate(part["passed"])}
                | {"measures": alike.mean(), "labels": named.mean()}
            )
    columns = ["model", "layer", "n", "value", "low", "high", "measures", "labels"]
    return pd.DataFrame(rows, columns=columns)


def quotable(gate, *, model, target):
    """Pass rates as rows of numbers.csv.

    Parameters
    ----------
    gate : pandas.DataFrame
        From `examined`.
    model, target : str

    Returns
    -------
    pandas.DataFrame
        name (`metamers/<target>/<model>/pass_rate/<layer>`), value, low, high, n, unit, what; and one for all
        layers together (`…/all`), whose interval takes a stimulus' layers for one observation.
    """
    table = pass_rates({model: gate})
    whole = {"layer": "all"} | share(gate["passed"].mean(), gate["stimulus"].nunique())
    table = pd.concat([table, pd.DataFrame([whole])], ignore_index=True)
    names = f"metamers/{target}/{model}/pass_rate/" + table["layer"]
    what = "share of metamers that pass their gate, 95 % Wilson interval"
    return table.assign(name=names.str.lower(), unit="stimulus", what=what)[QUOTED]


def share(value, n):
    """A share with its interval, as of so many independent observations.

    Parameters
    ----------
    value : float
        0 to 1; NaN if there is nothing.
    n : int

    Returns
    -------
    dict
        n, value, low, high: Wilson's 95 % interval; NaN if there is nothing.
    """
    low, high = proportion_confint(value * n, n, method="wilson") if n else (np.nan, np.nan)
    return {"n": n, "value": value if n else np.nan, "low": low, "high": high}


def _blind(null):
    """Reasons against a layer that does not tell random stimuli apart, or whose null is empty."""
    n_same, n_pairs = null["n_infinite"].max(), null["n_pairs"].max()
    if n_same > SAME * n_pairs:
        yield f"the layer does not tell {n_same} of {n_pairs} random pairs of stimuli apart"
    for measure in null.loc[null["maximum"].isna(), "measure"]:
        yield f"the null distribution has no finite {measure}"


def _natural(canvas, metamers, layers, labeller):
    """Natural stimuli: themselves, their names, their activations, what the network calls them."""
    x = torch.from_numpy(metamers["original"].values).float()
    return {
        "x": x,
        "stimulus": metamers["stimulus"].values.astype(str),
        "active": {k: distances.rows(v) for k, v in nulls.activity(canvas, x, layers).items()},
        "names": labeller.of(canvas, x) if labeller else [""] * len(x),
    }


def _compared(canvas, seen, natural, *, published):
    """Measures of stimuli at all layers, against activations of the natural ones."""
    theirs, tables = nulls.activity(canvas, seen, list(natural["active"])), []
    for layer, values in natural["active"].items():
        found = distances.between(values, theirs[layer], published=published)
        columns = {measure: found[measure].cpu().numpy() for measure in MEASURES}
        tables.append(pd.DataFrame({"measured": layer, "stimulus": natural["stimulus"], **columns}))
    return pd.concat(tables, ignore_index=True)


def _range_faults(canvas, metamer):
    """What is wrong with the values of a metamer."""
    if not metamer.isfinite().all():
        yield "it holds values that are not finite"
    elif metamer.min() < canvas.low or metamer.max() > canvas.high:
        yield f"it leaves the range from {canvas.low:g} to {canvas.high:g}"


def _faults(canvas, original, metamer):
    """What is wrong with a metamer, beside its original, whatever a network makes of them."""
    what = {"vision": "has no contrast", "audio": "is silent"}[canvas.modality]
    if original.max() == original.min():
        yield f"the natural stimulus {what}"
    if metamer.max() == metamer.min():
        yield f"it {what}"
    if torch.equal(original, metamer):
        yield "it is the natural stimulus itself"


def _course(losses, own):
    """First and last loss of each metamer."""
    if losses is None:
        return [(np.nan, np.nan)] * len(own)
    part = losses[losses["layer"] == own["layer"].iloc[0]].sort_values("step", kind="stable")
    by_stimulus = dict(list(part.groupby(part["stimulus"].astype(str))["loss"]))
    lacking = [stimulus for stimulus in own["stimulus"] if stimulus not in by_stimulus]
    if lacking:
        raise ValueError(f"losses lack {lacking[:3]} at layer {own['layer'].iloc[0]!r}")
    return [tuple(by_stimulus[stimulus].iloc[[0, -1]]) for stimulus in own["stimulus"]]


def _gated(own, null, losses, *, named):
    """Verdicts on the metamers of a layer."""
    part = null[null["layer"] == own["layer"].iloc[0]]
    limits, blind = part.set_index("measure")["maximum"], list(_blind(part))
    rows = []
    for row, (first, last) in zip(own.to_dict("records"), _course(losses, own), strict=True):
        why = [*row.pop("faults"), *blind, *([] if losses is None else _loss_faults(first, last))]
        why += [fault for measure in MEASURES for fault in _likeness_faults(measure, row, limits)]
        both = row["label_original"], row["label_metamer"]
        agrees = bool(both[0] and both[0] == both[1]) if named else ""
        if agrees is False:
            why.append(f"named {both[1] or 'nothing'}, not {both[0] or 'anything'}")
        row |= {f"null_{measure}": limits[measure] for measure in MEASURES}
        rows.append(row | {"loss": last, "label_agrees": agrees, "passed": not why, "why": "; ".join(why)})
    return pd.DataFrame(rows)


def _likeness_faults(measure, row, limits):
    """What is wrong with a measure of a metamer."""
    if np.isnan(row[measure]):
        yield f"{measure} is undefined"
    elif row[measure] < limits[measure]:
        yield "{} {} is below {} of random pairs".format(measure, *_apart(row[measure], limits[measure]))


def _apart(a, b):
    """Two different numbers in as many digits as it takes to see that they differ."""
    for digits in range(3, 18):
        texts = f"{a:.{digits}g}", f"{b:.{digits}g}"
        if texts[0] != texts[1]:
            break
    return texts


def _loss_faults(first, last):
    """What is wrong with a loss."""
    if not np.isfinite(last):
        yield f"the loss is {last:g}"
    elif last >= first > 0:
        yield f"the loss did not fall ({first:.3g} to {last:.3g}): the input does not move it"


def _ordered(table, metamers, by):
    """Rows in the order of the metamers: layer, then stimulus."""
    places = {
        name: {value: i for i, value in enumerate(metamers[dim].values.tolist())}
        for name, dim in zip(by, ("layer", "stimulus"), strict=True)
    }
    return table.sort_values(by, key=lambda c: c.map(places[c.name]), kind="stable").reset_index(drop=True)
