"""Analyses of variance of the metamer experiments: those that were printed, done again, and their paired form."""

import re

import numpy as np
import pandas as pd

from lib.inference import QUOTED
from lib.recognition import anova, permutation

MARKS = {"observer": "network_or_human", "model": "model_type", "layer": "stage"}  # term that shows a design
CELLS = ["sumsq", "df", "meansq", "F", "p", "p_gg", "p_hf", "p_lb", "eta2p"]
DIGITS = 5  # significant ones of a printed cell
# The printed table has a layer less than the data, for no stated reason.
SHORTER = {("vision_exp12", "CLIP_resnet50"): ["final"]}
FILES = {"audio": r"EXPERIMENT_(\d+)", "vision": r"EXP(\d+)_ANALYSIS"}
COLUMNS = ["experiment", "about", "models", "design", *anova.COLUMNS, "p_permutation", "n"]


def layer(table, *, published=None, n_permutations=10_000, seed=0):
    """Whether people recognise metamers of some layers better than of others.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of one experiment and model; see `anova.cells`.
    published : {"feather2023"}, optional
        Without the last layer, the classifier; p of permutations as in `permutation.stage`.
    n_permutations, seed : int

    Returns
    -------
    pandas.DataFrame
        The columns of `anova.analysis`, p_permutation (of "layer") and n (participants).

    Raises
    ------
    ValueError
        If a cell is missing.
    """
    values = anova.cells(table[table["observer"] == "human"])
    values = values[:, :-1] if published else values
    options = {"published": published, "n_permutations": n_permutations, "seed": seed}
    found = anova.analysis(values, ["layer"])
    return _with_p(found, {"layer": permutation.stage(values, **options)}, len(values))


def observer(table, *, published=None, n_permutations=10_000, seed=0):
    """Whether people and the network that made the metamers differ, and differ by layer.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of one experiment and model; see `anova.cells`.
    published : {"feather2023"}, optional
        Participants' rows and the network's rows on the same stimuli taken for independent units: twice as many
        units, and an error that holds what stimuli and conditions share. Default: both are repeated measures of a
        participant's set of stimuli.
    n_permutations, seed : int

    Returns
    -------
    pandas.DataFrame
        The columns of `anova.analysis`, p_permutation (of "observer" and "observer:layer"; in the paired
        form the term is called so too) and n (participants).

    Raises
    ------
    ValueError
        If a cell is missing.
    """
    values = anova.cells(table, "observer").sel(observer=["human", "network"])
    n, options = len(values), {"n_permutations": n_permutations, "seed": seed}
    if published:
        stacked = np.concatenate([values[..., 0], values[..., 1]])
        groups = np.repeat([0, 1], n)
        found = anova.analysis(stacked, ["layer"], groups=groups)
        p = permutation.unpaired(stacked, groups, published=published, **options)
    else:
        found = anova.analysis(values.transpose("participant", "observer", "layer"), ["observer", "layer"])
        p = permutation.paired(values, **options)
    return _with_p(found, {"observer": p["main"], "observer:layer": p["interaction"]}, n)


def models(table, *, published=None, n_permutations=10_000, seed=0):
    """Whether people recognise metamers of some networks better than of others, and by layer.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of one experiment and two or more models of the same layers; see `anova.cells`.
    published : {"feather2023"}, optional
        p of permutations as in `permutation.paired`; the analysis is the same.
    n_permutations, seed : int

    Returns
    -------
    pandas.DataFrame
        The columns of `anova.analysis`, p_permutation (of "model" and "layer:model") and n (participants).

    Raises
    ------
    ValueError
        If a cell is missing, or layers differ.
    """
    values = anova.cells(table[table["observer"] == "human"], "model")
    options = {"published": published, "n_permutations": n_permutations, "seed": seed}
    p = permutation.paired(values, **options)
    found = anova.analysis(values, ["layer", "model"])
    return _with_p(found, {"model": p["main"], "layer:model": p["interaction"]}, len(values))


DESIGNS = {"observer": observer, "model": models, "layer": layer}


def analyses(recognition, printed, *, published="feather2023", n_permutations=10_000, seed=0):
    """Every printed analysis of variance of people's recognition, done again from the released proportions.

    Parameters
    ----------
    recognition, printed : pandas.DataFrame
        `recognition` and `anova` of target metamer_recognition.
    published : {"feather2023"} or None
        As printed; or None: as is right (see `observer` and `lib.recognition.permutation`).
    n_permutations, seed : int

    Returns
    -------
    pandas.DataFrame
        experiment, about (the model; or, where several are compared, the comparison's printed name), models, design
        ("observer", "model", "layer"), the columns of `anova.analysis`, p_permutation, n; and file and title. Tables
        whose people or models are not among the rows of `recognition`, and those of attacked networks, are left out.
    """
    people = dict(list(recognition.groupby("experiment")))
    found = []
    for (file, title), rows in printed.groupby(["file", "title"], sort=False):
        design, experiment = design_of(rows["term"]), experiment_of(file)
        names = rows["models"].iloc[0].split(", ")
        if design is None or not set(names) <= set(people.get(experiment, {"model": ()})["model"]):
            continue
        here = people[experiment]
        here = here[here["model"].isin(names)]
        if published:
            dropped = [layer for name in names for layer in SHORTER.get((experiment, name), ())]
            here = here[~here["layer"].isin(dropped)]
        options = {"published": published, "n_permutations": n_permutations, "seed": seed}
        about = names[0] if len(names) == 1 else title
        head = {"file": file, "title": title, "experiment": experiment, "about": about, "design": design}
        found.append(DESIGNS[design](here, **options).assign(**head, models=", ".join(names)))
    columns = [*COLUMNS, "file", "title"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def design_of(terms):
    """Design of a printed table: the key of MARKS whose factor it names; None if there is none.

    Parameters
    ----------
    terms : iterable of str
        As printed.

    Returns
    -------
    str or None
    """
    factors = {factor for term in terms for factor in re.findall(r"\w+", term)}
    return next((design for design, mark in MARKS.items() if mark in factors), None)


def experiment_of(file):
    """Name of the experiment that a log is about, "" if its name says none.

    Parameters
    ----------
    file : str

    Returns
    -------
    str
    """
    hits = {modality: re.search(pattern, file) for modality, pattern in FILES.items()}
    return next((f"{modality}_exp{hit[1]}" for modality, hit in hits.items() if hit), "")


def compared(found, printed):
    """Each printed cell beside the one done again.

    Parameters
    ----------
    found : pandas.DataFrame
        See `analyses`, as published.
    printed : pandas.DataFrame
        `anova` of target metamer_recognition.

    Returns
    -------
    pandas.DataFrame
        file, title, term (our name), cell, printed, value, deviation (relative), agrees (equal in the five
        digits printed). Permutation p are not compared: they are random.
    """
    theirs = printed.assign(term=printed["term"].map(term_of))
    keys = ["file", "title", "term"]
    long = [table.melt(keys, CELLS, "cell") for table in (theirs, found)]
    both = long[0].dropna(subset="value").merge(long[1], on=[*keys, "cell"], suffixes=("_printed", ""))
    both = both.rename(columns={"value_printed": "printed"})
    with np.errstate(divide="ignore"):
        unit = 10.0 ** (np.floor(np.log10(abs(both["printed"].where(both["printed"] != 0, 1)))) - DIGITS + 1)
    off = abs(both["value"] - both["printed"])
    # Half a unit of the last digit, and what a double leaves of it.
    return both.assign(deviation=off / abs(both["printed"]), agrees=off <= unit * (0.5 + 1e-6))


def term_of(term):
    """Our name of a printed term, such as "observer:layer" of "network_or_human:layer".

    Parameters
    ----------
    term : str

    Returns
    -------
    str
    """
    name = term.replace("(Intercept):", "").replace("(Intercept)", "intercept").replace("Error", "error")
    for ours, theirs in MARKS.items():
        name = name.replace(theirs, ours)
    return name


def quotable(found, *, paired=False):
    """Rows of numbers.csv of analyses of variance.

    Parameters
    ----------
    found : pandas.DataFrame
        See `analyses`.
    paired : bool
        Whether they are not as published; the quantities are then called `anova_paired_f` and so on.

    Returns
    -------
    pandas.DataFrame
        name (`recognition/<experiment>/<model or comparison>/<quantity>/<effect>`; effects layer, observer, model
        and interaction; quantities anova_f, anova_p_gg, anova_p_permutation and anova_eta2p), value, low, high,
        n, unit, what.
    """
    head = "anova_paired_" if paired else "anova_"
    effects = found[found["F"].notna() & (found["term"] != "intercept")]
    rows = []
    for row in effects.to_dict("records"):
        effect = "interaction" if ":" in row["term"] else row["term"]
        where = f"recognition/{row['experiment']}/{row['about']}/{head}"
        design = "as is right" if paired else "as published"
        if row["design"] == "observer":
            design += (
                ", people and network paired" if paired else ", people and network as independent groups"
            )
        text = (
            f"F({row['df']:.0f}, {row['df_error']:.0f}) of {row['term']}, {design}; Greenhouse-Geisser p "
            f"{row['p_gg']:.3g}, Huynh-Feldt p {row['p_hf']:.3g}, partial eta squared {row['eta2p']:.3f}"
        )
        p = row["p_permutation"]
        again = paired and row["design"] == "model"  # the analysis is the published one, its p is not
        text += "" if np.isnan(p) else f", permutation p {p:.3g}"
        text += "; no interval: a test"
        values = {"f": row["F"], "p_gg": row["p_gg"], "p_permutation": p, "eta2p": row["eta2p"]}
        rows += [
            {"name": f"{where}{quantity}/{effect}".lower(), "value": value, "n": row["n"], "what": text}
            for quantity, value in values.items()
            if quantity == "p_permutation" or not again
        ]
    table = pd.DataFrame(rows, columns=["name", "value", "n", "what"]).dropna(subset="value")
    return table.assign(low=np.nan, high=np.nan, unit="participant")[QUOTED]


def _with_p(found, p, n):
    """The terms' permutation p beside them."""
    return found.assign(p_permutation=found["term"].map(p).astype(float), n=n)
