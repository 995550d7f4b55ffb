"""Models, regions and data sets compared: differences with their unit of resampling, and agreement."""

import re
from itertools import combinations

import numpy as np
import pandas as pd
import xarray as xr
from statsmodels.stats.proportion import proportion_confint

from lib import inference, layers, plugins
from lib.scoring import EVERYONE

GROUP = ["target", "part"]
# What is quoted of a table: quantity in the name, column of the value, unit of resampling, words.
QUOTED = {
    "differences": (
        "minus/{other}",
        "value",
        "subject",
        "difference of best layers, mean and 95 % t interval over subjects",
    ),
    "components": (
        "minus/{other}",
        "value",
        "stimulus",
        "difference of best layers, 95 % interval of resampled stimuli",
    ),
    "position_tests": (
        "later_than_reference",
        "above",
        "model",
        "share of models whose best layer lies later than in the reference region, 95 % Clopper-Pearson interval; p of "
        "Wilcoxon's signed ranks",
    ),
    "region_tests": (
        "position_after_reference",
        "value",
        "subject",
        "relative position of the best layer less that in the reference region, mean and 95 % t interval over subjects",
    ),
    "optimism": (
        "optimism/{rule}",
        "value",
        "subject",
        "gain by choosing the layer on the test data over the rule named, mean and 95 % t interval over subjects",
    ),
    "dimensionality": (
        "dimensions_r2/{units}",
        "value",
        "layer",
        "r2 over layers of effective dimensions and score, 95 % interval by Fisher's z as if layers were independent",
    ),
    "agreement": (
        "{x_level}_{y_level}_r2",
        "value",
        "model",
        "r2 over models of the scores in two conditions, 95 % interval by Fisher's z as if models were independent",
    ),
}
TESTED = {"p": "p", "p after Holm": "p_holm", "p of swaps": "p_swap", "p as published": "p_published"}
COUNTS = ["n", "df", "n_above", "n_differing"]
TEXT = ["target", "part", "control", "model", "other", "unit", "x_level", "y_level"]


def means(table, *, value, condition, by=("target", "part")):
    """Mean of each condition over subjects, with the published error bar and an interval.

    Parameters
    ----------
    table : pandas.DataFrame
        subject and the columns named below, a row per subject and condition (several are averaged first); for instance
        of `scoring.choices` by one rule, or `scoring.by_layer`. Of components
        (`scoring.EVERYONE` for a subject), a row per iteration.
    value : str
        Column to average.
    condition : str
        Column of what is compared and therefore sets the error bar: "model", "part", "layer".
    by : sequence of str
        Columns within whose combinations conditions are compared.

    Returns
    -------
    pandas.DataFrame
        The columns `by`, the condition, value, low, high (t interval over subjects; NaN for components and single
        subjects), sem (`layers.within_subject_sem` over the conditions; of components over iterations, which are no
        samples: how much the choice of halves matters), n, unit ("subject"; "iteration" of components). Conditions
        without a value are left out.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, figures 2, 5 and 7.
    """
    by, table = list(by), table[table[value].notna()]
    each = table.groupby([*by, condition, "subject"], sort=False)[value].mean().reset_index()
    rows = inference.mean_interval(each, value=value, by=[*by, condition])
    rows = rows.drop(columns=["n", "unit"]).rename(columns={value: "value"})
    sems = [_sem(part, value, condition) for _, part in table.groupby(by, sort=False)]
    heads = [part[by].iloc[[0]] for _, part in table.groupby(by, sort=False)]
    sems = [head.merge(sem, how="cross") for head, sem in zip(heads, sems, strict=True)]
    none = [pd.DataFrame(columns=[*by, condition, "sem", "n", "unit"])]
    return rows.merge(pd.concat(sems or none), on=[*by, condition], validate="one_to_one")


def controls(table):
    """Models split into network and control.

    Parameters
    ----------
    table : pandas.DataFrame
        With column model.

    Returns
    -------
    pandas.DataFrame
        The table with columns network (model without control) and control ("" for the trained network).
    """
    pairs = [plugins.split_control(model) for model in table["model"]]
    return table.assign(network=[p[0] for p in pairs], control=[p[1] for p in pairs])


def ranked(table):
    """Models ordered by how well the trained network does.

    Parameters
    ----------
    table : pandas.DataFrame
        target, part, model, value; for instance of `means`.

    Returns
    -------
    pandas.DataFrame
        The rows of the table with the columns of `controls` and rank (from 1, of the trained network's value within
        target and part; controls share their network's, NaN if that is missing), by rank, targets and parts in their
        order.
    """
    table = controls(table)
    trained = table[table["control"] == ""]
    rank = trained.groupby(GROUP)["value"].rank(ascending=False, method="first")
    rank = trained.assign(rank=rank)[[*GROUP, "network", "rank"]]
    merged = table.merge(rank, on=[*GROUP, "network"], how="left", validate="many_to_one")
    return merged.sort_values(["rank", "control"], kind="stable", ignore_index=True)


def couples(models, *, baseline=None):
    """Which models to compare: every network with its controls and the baseline, and every two networks.

    Parameters
    ----------
    models : iterable of str
        Controls end in ".permuted" or ".random".
    baseline : str, optional
        A model that all others are compared with, such as a filter bank.

    Returns
    -------
    dict
        "control", "baseline" and "model": lists of pairs (model, other).
    """
    models = list(dict.fromkeys(models))
    networks = [m for m in models if not plugins.split_control(m)[1]]
    controls = [(plugins.split_control(m)[0], m) for m in models if plugins.split_control(m)[1]]
    others = [m for m in networks if m != baseline]
    return {
        "control": [pair for pair in controls if pair[0] in networks],
        "baseline": [(m, baseline) for m in others] if baseline in networks else [],
        "model": list(combinations(others, 2)),
    }


def differences(table, pairs, *, value="value", n_resamples=10_000, seed=0):
    """Differences between models over the same subjects, by every test.

    Parameters
    ----------
    table : pandas.DataFrame
        target, part, subject, model and the column `value`; of `scoring.choices` by one rule, of voxels.
    pairs : list of (str, str)
        Models, the first minus the second; pairs that a target has not are left out.
    value : str
    n_resamples : int
        Of the bootstraps.
    seed : int

    Returns
    -------
    pandas.DataFrame
        target, part, model, other, value (mean difference over subjects who have both), low, high (t interval), t, df,
        p (of the t), p_holm (p corrected for all pairs of the target and part), p_swap (exact, of swapped pairs),
        p_bootstrap, bootstrap_low, bootstrap_high (paired; `inference.bootstrap`), p_published (one-sided, of the
        published bootstrap, that the first is no better), n, unit.
    """
    rows = []
    for group, part in table.groupby(GROUP, sort=False):
        wide = part.pivot_table(index="subject", columns="model", values=value, sort=False)
        here = [pair for pair in pairs if set(pair) <= set(wide.columns)]
        tests = [_tests(wide[list(pair)].dropna(), n_resamples, seed) for pair in here]
        corrected = inference.holm([test["p"] for test in tests])
        for (model, other), test, p in zip(here, tests, corrected, strict=True):
            rows.append(dict(zip(GROUP, group, strict=True)) | {"model": model, "other": other} | test)
            rows[-1]["p_holm"] = p
    names = "value low high t df p p_holm p_swap p_bootstrap bootstrap_low bootstrap_high p_published n unit"
    return _table(rows, columns=[*GROUP, "model", "other", *names.split()])


def components(drawn, table, pairs):
    """Differences between models in each component, over resampled stimuli.

    Fits stay as they are, so that p and interval leave out what other train stimuli would change, and are too small:
    of two equally good models, simulated in ten halves of 165 stimuli, p fell below 0.05 in 16 % of cases, and
    differences of new experiments scattered 1.4 times as much as resamples. A p near 0.05 is no evidence.

    Parameters
    ----------
    drawn : dict of str to xarray.DataArray (resample, voxel)
        By model, `scoring.resampled` with the same weights, so that resamples are paired.
    table : pandas.DataFrame
        part (component), model, iteration, value: rows of `scoring.choices` of one target, by the rule that the draws
        are of.
    pairs : list of (str, str)
        Models, the first minus the second; pairs without draws are left out.

    Returns
    -------
    pandas.DataFrame
        part, model, other, value, low, high (percentile interval), p (two-sided, paired bootstrap over stimuli), p_holm
        (p corrected for all pairs of the component), p_published (`inference.shuffled_iterations`, one-sided; NaN
        without iterations), n (of stimuli), unit.

    Raises
    ------
    ValueError
        If two models were resampled otherwise.
    """
    rows = []
    pairs = [pair for pair in pairs if set(pair) <= set(drawn)]
    n_stimuli = min((one.attrs["n_stimuli"] for one in drawn.values()), default=0)
    for part, here in table.groupby("part", sort=False):
        values = here.groupby(["model", "iteration"])["value"].mean()
        tests = []
        for model, other in pairs:
            one, two = (drawn[name].sel(voxel=part).values for name in (model, other))
            if drawn[model].attrs["draws"] != drawn[other].attrs["draws"]:
                raise ValueError(f"{model} and {other} were not resampled alike: encode both with one seed")
            a, b = values[model], values[other]
            test = inference.resampled_difference(one - two, a.mean() - b.mean())
            p = inference.shuffled_iterations(a, b) if min(len(a), len(b)) > 1 else np.nan
            tests.append({"model": model, "other": other} | test | {"p_published": p, "n": n_stimuli})
        corrected = inference.holm([test["p"] for test in tests])
        rows += [test | {"part": part, "p_holm": p} for test, p in zip(tests, corrected, strict=True)]
    names = ["part", "model", "other", "value", "low", "high", "p", "p_holm", "p_published", "n", "unit"]
    return _table(rows, columns=names).assign(unit="stimulus")


def position_tests(positions, *, reference, published=None):
    """Whether regions prefer other layers than a reference region does, over models.

    Parameters
    ----------
    positions : pandas.DataFrame
        target, part, model, value (relative position of the best layer, mean over subjects); of `means`.
    reference : str
        The region that the others are compared with; targets without it are left out.
    published : {"tuckute2023"}, optional
        p by the normal approximation, uncorrected for the number of regions. Default: exact, and Holm's correction.

    Returns
    -------
    pandas.DataFrame
        target, control ("" trained; controls are tested by themselves), part, reference_mean, mean (over models), w
        (Wilcoxon's), p, p_holm (over the regions of the target and control; as p if published), n_differing (models
        that differ), above (share of models above the diagonal: later than in the reference), low, high
        (Clopper-Pearson interval of that share), n_above, n (models), unit. Models are no random sample, and those of
        one architecture or training set resemble each other: read p as a description.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, figure 7.
    """
    rows = []
    for (target, control), here in controls(positions).groupby(["target", "control"], sort=False):
        wide = here.pivot_table(index="model", columns="part", values="value", sort=False).dropna()
        others = [part for part in wide.columns if part not in (reference, "all")]
        others = others if reference in wide.columns else []
        tests = [inference.wilcoxon(wide[part], wide[reference], published=published) for part in others]
        corrected = [t["p"] for t in tests] if published else inference.holm([t["p"] for t in tests])
        for part, test, p in zip(others, tests, corrected, strict=True):
            n_above = int((wide[part] > wide[reference] + 1e-12).sum())
            low, high = proportion_confint(n_above, len(wide), method="beta")
            found = {"reference_mean": wide[reference].mean(), "mean": wide[part].mean(), "w": test["w"]}
            found |= {"p": test["p"], "p_holm": p, "n_differing": test["n"], "above": n_above / len(wide)}
            found |= {"low": low, "high": high, "n_above": n_above, "n": len(wide), "unit": "model"}
            rows.append({"target": target, "control": control, "part": part} | found)
    names = "reference_mean mean w p p_holm n_differing above low high n_above n unit"
    return _table(rows, columns=["target", "control", "part", *names.split()])


def facing(positions, *, reference):
    """Each region's positions beside those of a reference region, for scatter plots.

    Parameters
    ----------
    positions : pandas.DataFrame
        target, part, model, value, sem; of `means`.
    reference : str
        Targets without this region are left out.

    Returns
    -------
    pandas.DataFrame
        target, control, part, reference, model, x, x_sem (in the reference), y, y_sem (in the region).
    """
    table = controls(positions).rename(columns={"value": "y", "sem": "y_sem"})
    table = table[["target", "control", "part", "model", "y", "y_sem"]]
    base = table[table["part"] == reference].rename(columns={"y": "x", "y_sem": "x_sem"}).drop(columns="part")
    others = table[~table["part"].isin([reference, "all"])]
    found = others.merge(base, on=["target", "control", "model"], validate="many_to_one")
    return found.assign(reference=reference)


def region_tests(table, *, reference, value="position"):
    """Whether regions differ from a reference region within one model, over subjects.

    Parameters
    ----------
    table : pandas.DataFrame
        target, part, subject, model and the column `value`; of `scoring.choices` by one rule.
    reference : str
        Targets without this region are left out.
    value : str
        "position" of the best layer, or "value", its score.

    Returns
    -------
    pandas.DataFrame
        target, part, model, value (mean of the region minus the reference), low, high (t interval), t, df, p, p_holm
        (over the regions of the model), p_swap (exact), n, unit.
    """
    rows = []
    for (target, model), here in table.groupby(["target", "model"], sort=False):
        wide = here.pivot_table(index="subject", columns="part", values=value, sort=False)
        others = [part for part in wide.columns if part not in (reference, "all")]
        others = others if reference in wide.columns else []
        tests = [inference.paired_t(wide[part], wide[reference]) for part in others]
        corrected = inference.holm([test["p"] for test in tests])
        for part, test, p in zip(others, tests, corrected, strict=True):
            swap = inference.sign_flip(wide[part], wide[reference])
            head = {"target": target, "part": part, "model": model}
            rows.append(head | test | {"p_holm": p, "p_swap": swap, "unit": "subject"})
    names = ["value", "low", "high", "t", "df", "p", "p_holm", "p_swap", "n", "unit"]
    return _table(rows, columns=[*GROUP, "model", *names])


def optimism(table, *, rules=("nested", "halves", "tuckute2023")):
    """How much the score gains where the layer is chosen and read on the same test data.

    Parameters
    ----------
    table : pandas.DataFrame
        target, model and the rows of `scoring.choices`.
    rules : sequence of str
        Rules that are compared with "same_data".

    Returns
    -------
    pandas.DataFrame
        target, part, model, rule, value (same_data minus the rule, mean over subjects), low, high (t interval; NaN for
        components), n, unit, score (by the rule). It holds, besides what the choice flatters, what the rule loses by
        choosing on fewer data: an upper bound of the optimism. 0 for a model of one layer by the rule "nested"; the
        halves read fewer splits, so that there it scatters around 0.
    """
    keys = [*GROUP, "model", "subject"]
    wide = table.pivot_table(index=keys, columns="rule", values="value", sort=False).reset_index()
    here = [rule for rule in rules if rule in wide]
    rows = []
    for rule in here if "same_data" in wide else []:
        each = wide.assign(value=wide["same_data"] - wide[rule], rule=rule)
        found = inference.mean_interval(each, value="value", by=[*GROUP, "model", "rule"])
        score = each.groupby([*GROUP, "model"], sort=False)[rule].mean().rename("score")
        rows.append(found.join(score, on=[*GROUP, "model"]))
    names = [*GROUP, "model", "rule", "value", "low", "high", "n", "unit", "score"]
    return pd.concat(rows, ignore_index=True)[names] if rows else pd.DataFrame(columns=names)


def seeds(table):
    """Which networks are the same but for their random start.

    Parameters
    ----------
    table : pandas.DataFrame
        With column model; names may hold `_seed2`, and without it are the first.

    Returns
    -------
    pandas.DataFrame
        The table with columns network (the model's name without its seed) and seed ("1", "2", …).
    """
    seed = table["model"].str.extract(r"_seed(\d+)", expand=False).fillna("1")
    network = [re.sub(r"_seed\d+", "", model) for model in table["model"]]
    return table.assign(network=network, seed=seed)


def paired(table, column, *, units):
    """Values of the same units under every two levels of a column, for scatter plots.

    Parameters
    ----------
    table : pandas.DataFrame
        With the column, those of `units`, and value (rows of a unit and level are averaged). Other columns are
        dropped: select first what is to be compared.
    column : str
        For instance "control", "target" or "seed".
    units : list of str
        Columns that name the points, for instance ["network"] or ["network", "layer"].

    Returns
    -------
    pandas.DataFrame
        The units, x_level, y_level, x, y: a row for every unit that has both.
    """
    wide = table.pivot_table(index=units, columns=column, values="value", sort=False)
    rows = []
    for one, two in combinations(wide.columns, 2):
        both = wide[[one, two]].dropna().set_axis(["x", "y"], axis=1).reset_index()
        rows.append(both.assign(x_level=one, y_level=two))
    names = [*units, "x_level", "y_level", "x", "y"]
    return pd.concat(rows, ignore_index=True)[names] if rows else pd.DataFrame(columns=names)


def agreement(points, *, by=("x_level", "y_level")):
    """Squared correlation over the points of a scatter plot, as papers print it there.

    Parameters
    ----------
    points : pandas.DataFrame
        x, y and the columns `by`.
    by : sequence of str
        Each combination is correlated by itself.

    Returns
    -------
    pandas.DataFrame
        The columns `by`, value (r²), low, high, r, p, n: see `inference.correlation` for what they take for granted.
    """
    by = list(by)
    rows = [
        dict(zip(by, group, strict=True)) | inference.correlation(here["x"], here["y"])
        for group, here in points.groupby(by, sort=False)
    ]
    return _table(rows, columns=[*by, "value", "low", "high", "r", "p", "n"])


def dimensionality(curves):
    """Effective dimensionality and score of every layer, for scatter plots.

    Parameters
    ----------
    curves : pandas.DataFrame
        target, part, subject, model, layer, value, dimensions, dimensions_scaled: rows of `scoring.by_layer` with
        `features.effective_dimensionality` of each layer.

    Returns
    -------
    pandas.DataFrame
        units ("centred", "scaled"), target, control, network, layer, x (effective dimensions), y (score, mean over
        subjects of all voxels, or over components).

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, supplementary figures.
    """
    kinds = {"dimensions": "centred", "dimensions_scaled": "scaled"}
    whole = controls(curves[(curves["part"] == "all") | (curves["subject"] == EVERYONE)])
    keys = ["target", "control", "network", "layer"]
    each = whole.groupby(keys, sort=False)[["value", *kinds]].mean().rename(columns=kinds | {"value": "y"})
    long = each.reset_index().melt([*keys, "y"], var_name="units", value_name="x")
    return long[["units", *keys, "x", "y"]]


def quotable(found, kind, *, about="all"):
    """Rows of numbers.csv from a table of this module.

    Parameters
    ----------
    found : pandas.DataFrame
        Of the function `kind`; with column target, or it is "all".
    kind : str
        A key of QUOTED, which holds name, unit and words.
    about : str
        Stands for the model where the table has none; a control is added to it.

    Returns
    -------
    pandas.DataFrame
        name, value, low, high, n, unit, what; rows without a value are left out.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    plugins.require(kind, QUOTED, "kind of numbers")
    quantity, column, unit, text = QUOTED[kind]
    rows = []
    for row in found[found[column].notna()].to_dict("records"):
        model = row.get("model", ".".join(filter(None, [about, row.get("control", "")])))
        levels = {
            name: row.get(name, "") or "trained" for name in ("x_level", "y_level", "units", "other", "rule")
        }
        parts = ["encode", row.get("target", "all"), model, quantity.format(**levels).replace(" ", "_")]
        parts += [row["part"].replace("/", "_")] if row.get("part", "all") != "all" else []
        known = {said: row[name] for said, name in TESTED.items() if pd.notna(row.get(name))}
        what = text + "".join(f"; {said} = {p:.3g}" for said, p in known.items())
        what += "" if pd.notna(row.get("low")) else "; no interval: too few or dependent units"
        values = {name: row.get(name, np.nan) for name in ("low", "high", "n")}
        rows.append(
            {"name": "/".join(parts).lower(), "value": row[column], **values, "unit": unit, "what": what}
        )
    return pd.DataFrame(rows, columns=inference.QUOTED)


def _table(rows, *, columns):
    """Rows as a table; without any, columns of numbers are such all the same, so that tables can be put together."""
    table = pd.DataFrame(rows, columns=columns)
    types = {name: int if name in COUNTS else float for name in table.columns.difference(TEXT)}
    return table if rows else table.astype(types)


def _sem(part, value, condition):
    """Published error bar of each condition: over subjects, or over iterations of a component."""
    if (part["subject"] == EVERYONE).all():
        sem = part.groupby(condition, sort=False)[value].agg(["sem", "size"])
        return sem.rename(columns={"size": "n"}).assign(unit="iteration").reset_index()
    wide = part.pivot_table(index="subject", columns=condition, values=value, sort=False)
    sem = layers.within_subject_sem(xr.DataArray(wide.values, dims=("subject", "one")), "one")
    counts = {"sem": sem.values, "n": wide.notna().sum().values, "unit": "subject"}
    return pd.DataFrame({condition: wide.columns} | counts)


def _tests(both, n_resamples, seed):
    """All tests of two columns over the same subjects."""
    a, b = both.to_numpy().T
    t = inference.paired_t(a, b)
    drawn = inference.bootstrap(a, b, n_resamples=n_resamples, seed=seed)
    printed = inference.bootstrap(a, b, n_resamples=n_resamples, seed=seed, published="tuckute2023")
    return t | {
        "p_swap": inference.sign_flip(a, b),
        "p_bootstrap": drawn["p"],
        "bootstrap_low": drawn["low"],
        "bootstrap_high": drawn["high"],
        "p_published": printed["p"],
        "unit": "subject",
    }
