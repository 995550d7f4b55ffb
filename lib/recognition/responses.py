"""Answers of people in an online experiment: read, checked, and brought to proportions by layer."""

import re
from pathlib import Path

import pandas as pd

from lib import artefacts, plugins

COLUMNS = ["experiment", "participant", "trial", "phase", "modality", "stimulus", "model", "layer", "response",
           "answer", "correct", "rt_ms", "network_response", "network_correct", "n_choices", "seed"]  # fmt: skip
# What the page adds: condition that the original stands in for, time shown, how often the trial was begun.
OPTIONAL = ["dealt", "shown_ms", "views"]
TEXT = ["experiment", "participant", "phase", "modality", "stimulus", "model", "layer", "response", "answer",
        "network_response"]  # fmt: skip
PHASES = ("check", "practice", "demo", "main", "catch")
MODALITIES = ("vision", "audio")
NATURAL = "natural"
MOST = 2**53  # above, not every whole number is one of double precision
# Correct answers without which a participant does not go on, by modality and phase (Feather et al., 2023).
GATES = {"vision": {"demo": 7}, "audio": {"check": 5, "demo": 5}}


def read(paths):
    """Answers of all participants, in the order shown.

    Parameters
    ----------
    paths : iterable of str or pathlib.Path
        CSV files with the columns COLUMNS, and perhaps OPTIONAL, in any order, each of one or several participants.

    Returns
    -------
    pandas.DataFrame
        COLUMNS, and file. participant (unique over files), trial (from 1), phase (one of PHASES), modality, stimulus,
        model ("" where it is of none), layer ("natural": the original), response ("": none), answer, correct (bool),
        rt_ms (NaN: none), network_response (what the network that made the metamer calls it, "" if nothing),
        network_correct (0, 1 or NaN), n_choices, seed.

    Raises
    ------
    ValueError
        If there is no file, one is no table, columns are lacking or unknown, a participant has no name or occurs in
        two files, a trial twice or in
        no order, a phase or modality is unknown, a number is none, or `correct` is not whether response equals
        answer.
    """
    tables = [_read(Path(path)) for path in paths]
    if not tables:
        raise ValueError("no file of answers; give at least one")
    owners = {}
    for table in tables:
        file = table["file"].iloc[0]
        for participant in table["participant"].unique():
            if owners.setdefault(participant, file) != file:
                raise ValueError(f"participant {participant!r} is in {owners[participant]} and in {file}")
    return pd.concat(tables, ignore_index=True)


def exclusions(table, *, gates=None):
    """Participants who should not count, and why.

    Parameters
    ----------
    table : pandas.DataFrame
        See `read`.
    gates : dict, optional
        Modality → phase → smallest number of correct answers. Default: GATES. A phase with a gate must have been
        shown.

    Returns
    -------
    pandas.DataFrame
        experiment, participant, reason ("" if there is none), and the numbers of correct answers and of trials in
        each phase: check_correct, check_trials and so on; one row per participant.
    """
    gates = GATES if gates is None else gates
    longest = table[table["phase"] == "main"].groupby(["experiment", "participant"]).size()
    longest = longest.groupby("experiment").max()
    rows = []
    for (experiment, participant), here in table.groupby(["experiment", "participant"], sort=False):
        counts = here.groupby("phase")["correct"].agg(["sum", "size"]).reindex(PHASES, fill_value=0)
        needed = gates.get(here["modality"].iloc[0], {})
        reasons = [
            f"{phase}: {counts['sum'][phase]} of {counts['size'][phase]} correct, {least} needed"
            for phase, least in needed.items()
            if counts["sum"][phase] < least
        ]
        if counts["size"]["main"] < longest.get(experiment, 1):
            reasons.append(
                f"broken off: {counts['size']['main']} of {longest.get(experiment, 1)} main trials"
            )
        numbers = {f"{phase}_{name}": int(counts[column][phase]) for phase in PHASES
                   for name, column in (("correct", "sum"), ("trials", "size"))}  # fmt: skip
        rows.append(
            {"experiment": experiment, "participant": participant, "reason": "; ".join(reasons)} | numbers
        )
    return pd.DataFrame(rows)


def by_condition(table, *, layers=None, gates=None):
    """Proportions correct in the form of the released ones, so that the same analyses take them.

    Originals shown in the main part count for every model of the experiment, as stage 0. Participants with a reason
    in `exclusions` are left out.

    Parameters
    ----------
    table : pandas.DataFrame
        See `read`.
    layers : dict of str to sequence of str, optional
        Model → its layers in order. Default: the order of names, digits as numbers.
    gates : dict, optional
        See `exclusions`.

    Returns
    -------
    pandas.DataFrame
        modality, experiment, paper_name (the experiment), model, stage (0: natural), layer, participant, observer
        ("human"; "network" where the network's answer to each stimulus is known, not for stage 0 of experiments that
        do not name it), proportion_correct, file.

    Raises
    ------
    ValueError
        If nobody is left, no metamer was shown, or a layer is not among `layers`.
    """
    found = exclusions(table, gates=gates)
    kept = found[found["reason"] == ""]
    if kept.empty:
        raise ValueError(f"no participant is left: {plugins.first(found['reason'], between='; ')}")
    main = table[(table["phase"] == "main") & table["participant"].isin(kept["participant"])]
    shown = main[main["layer"] != NATURAL]
    if shown.empty:
        raise ValueError("no metamer was shown in the main part, only originals")
    natural = main[main["layer"] == NATURAL]
    parts = []
    for (_, model), rows in shown.groupby(["experiment", "model"], sort=False):
        order = _order(rows["layer"].unique(), (layers or {}).get(model), model)
        same = natural[natural["experiment"].isin(rows["experiment"]) & natural["model"].isin(["", model])]
        rows = pd.concat([same, rows]).assign(model=model)
        parts.append(rows.assign(stage=rows["layer"].map({NATURAL: 0} | order)))
    return _proportions(pd.concat(parts))


def _proportions(trials):
    """Means of people's and the network's answers by cell."""
    keys = ["modality", "experiment", "model", "stage", "layer", "participant", "file"]
    tables = []
    for observer, column in (("human", "correct"), ("network", "network_correct")):
        means = trials.astype({column: float}).groupby(keys, sort=False)[column].mean().dropna()
        tables.append(means.rename("proportion_correct").reset_index().assign(observer=observer))
    found = pd.concat(tables, ignore_index=True)
    found = found.assign(paper_name=found["experiment"])
    columns = ["modality", "experiment", "paper_name", "model", "stage", "layer", "participant", "observer",
               "proportion_correct", "file"]  # fmt: skip
    order = ["experiment", "model", "participant", "stage", "observer"]
    return found.sort_values(order, kind="stable")[columns].reset_index(drop=True)


def _order(found, given, model):
    """Stage of each layer, from 1."""
    if given is None:
        given = sorted(
            found, key=lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)]
        )
    odd = [layer for layer in found if layer not in given]
    if odd:
        raise ValueError(f"layers {plugins.first(odd)} are none of {model}: {plugins.first(given)}")
    return {layer: stage for stage, layer in enumerate(given, start=1)}


def _read(path):
    """One file, checked."""
    table = artefacts.load_texts(path)
    lacking = [c for c in COLUMNS if c not in table]
    unknown = [c for c in table if c not in COLUMNS + OPTIONAL]
    if lacking or unknown or table.empty:
        raise ValueError(
            f"{path.name} lacks columns {lacking}, has unknown ones {unknown} and {len(table)} rows; right are "
            f"rows of {', '.join(COLUMNS)}"
        )
    for column, valid in (("phase", PHASES), ("modality", MODALITIES)):
        for value in table[column].unique():
            plugins.require(value, valid, f"{column} in {path.name}")
    for column in (c for c in COLUMNS if c not in TEXT):
        table[column] = _numbers(
            table[column], f"{path.name}, column {column}", column in ("rt_ms", "network_correct")
        )
    _check(table, path.name)
    return (
        table[[c for c in COLUMNS + OPTIONAL if c in table]]
        .astype({"trial": int, "correct": bool, "n_choices": int, "seed": int})
        .assign(file=path.name)
    )


def _numbers(column, where, may_lack):
    """Texts as numbers; "" is NaN where it may be."""
    values = pd.to_numeric(column, errors="coerce").astype(float)
    odd = column[~(values.abs() < MOST) & ~((column == "") & may_lack)]
    if len(odd):
        raise ValueError(f"{where}: {odd.iloc[0]!r} in row {odd.index[0] + 2} is no number below {MOST:.0e}")
    return values


def _check(table, name):
    """What the columns must agree in."""
    if (table["participant"] == "").any():
        raise ValueError(f"{name} has answers of a participant without a name")
    right = (table["response"] == table["answer"]) & (table["response"] != "")
    wrong = table.index[table["correct"] != right]
    if len(wrong):
        row = table.loc[wrong[0]]
        raise ValueError(
            f"{name}, row {wrong[0] + 2}: response {row['response']!r} to {row['answer']!r} is said to be "
            f"{row['correct']:g}"
        )
    network = (
        (table["network_response"] == table["answer"]).astype(float).where(table["network_response"] != "")
    )
    odd = table.index[
        ~((table["network_correct"] == network) | (table["network_correct"].isna() & network.isna()))
    ]
    if len(odd):
        raise ValueError(f"{name}, row {odd[0] + 2}: network_correct contradicts network_response")
    if (table["rt_ms"] < 0).any():
        raise ValueError(f"{name}: {table['rt_ms'].min()} ms from stimulus to answer; 0 or more is right")
    steps = table.groupby("participant")["trial"].diff()
    if (steps <= 0).any() or (table["trial"] < 1).any():
        raise ValueError(
            f"{name}: trials of {table['participant'].iloc[0]!r} are not numbered 1, 2, … in order"
        )
    whole = table[["trial", "n_choices", "seed"]]
    if (whole != whole.round()).any(axis=None):
        raise ValueError(f"{name}: trial, n_choices and seed must be whole numbers")
