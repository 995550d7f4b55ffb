"""What a paper's whole study costs on this machine, foretold from its sizes, and how well jobs that ran were foretold.

Two studies, each with all steps that it takes, one job per network and target:

- auditory: 36 networks, trained and permuted, against 7,694 and 26,792 voxels and six components, 165 sounds; extract,
  encode, rsa. Networks that can be built here are run; activations of the others are taken as released.
- hierarchy: 29 networks with released features, against five regions of three people, 1,200 pictures shown five times
  and 50 shown 24 times; extract, decode, bhscore. Numbers of voxels are not published; the usual ones are assumed.

What one of each term of `lib.study_cost` costs is measured first, in CPU seconds of one thread, with the functions that
the notebooks call, at small sizes. The table goes to `paper_run.csv`. Every job that has run in `$COMPENDIUM_HOME` is
then foretold too: its rows are foretold over measured seconds, and bytes, median and range by step.
"""

import functools
import os
from pathlib import Path

import pandas as pd

import benchmarks
from lib import artefacts, auditory_models, bh29, plugins, study_cost, study_sizes

TABLE = Path(__file__).with_name("paper_run.csv")
CELLS = {"V1": 1000, "V2": 1000, "V3": 700, "V4": 700, "HVC": 2500}
TARGETS = {
    "nh2015": study_sizes.Target(165, 83, 10, 3, study_sizes.even(7694, 32), 8, 9),
    "b2021": study_sizes.Target(165, 83, 10, 3, study_sizes.even(26792, 80), 20, 5),
    "nh2015comp": study_sizes.Target(165, 83, 10, 1, (1,) * 6, 1, 7, kind="component"),
    "deeprecon": study_sizes.Target(1200, 1200, 1, 5, tuple(CELLS.values()) * 3, 3, 6, 50, 24),
}
STUDIES = ("auditory", "hierarchy")
AUDITORY = ("nh2015", "b2021", "nh2015comp")
SIZE = {"n_units": None}  # released features are decoded whole


def studies(costs=None):
    """All jobs of both studies.

    Parameters
    ----------
    costs : pandas.Series, optional
        Seconds of one of each term, as `rates.measured` returns them; default: those of the compendium.

    Returns
    -------
    pandas.DataFrame
        A row per job: study, step, network, control, target, seconds (of one core), bytes, memory, flops (of forward
        passes, additions and multiplications), source of the layers' sizes.
    """
    rows = []
    for name, table in zip(STUDIES, (auditory(), hierarchy()), strict=True):
        steps = {"auditory": ("extract", "encode", "rsa"), "hierarchy": ("extract", "decode", "bhscore")}[
            name
        ]
        targets = AUDITORY if name == "auditory" else ("deeprecon",)
        for label, network, controls, source in table:
            for control in controls:
                for target in targets:
                    about = {"study": name, "network": label, "control": control, "target": target}
                    for step in steps:
                        if step == "rsa" and TARGETS[target].kind == "component":
                            continue
                        rows.append(about | _job(step, network, TARGETS[target], costs) | {"source": source})
    return pd.DataFrame(rows)


def _job(step, network, target, costs):
    """One job of a study."""
    how = SIZE if step in ("decode", "bhscore") else {}
    cost = study_cost.job(step, network, target, rates=costs, **how)
    flops = study_cost.work(step, network, target, **how).get("flops", 0)
    return {"step": step, **cost, "flops": flops}


def auditory():
    """Networks of the auditory study: label, sizes, controls, source of the sizes."""
    found, known = [], auditory_models.networks()
    for identifier, row in known.iterrows():
        layers = auditory_models.layers(identifier)["model_layer"]
        stem = row["model"] or row["released"]
        units = study_sizes.units(stem)
        here = [units.get(layer, study_sizes.ASSUMED_UNITS) for layer in layers]
        work = study_sizes.passes(stem) if row["model"] else {}
        source = "forward pass" if all(layer in units for layer in layers) else "assumed: 1000 units"
        learned = bool(plugins.about("model", stem)["CONTROLS"])
        found.append(
            (row["label"], study_sizes.Network(tuple(here), **work), ("", "permuted")[: 1 + learned], source)
        )
    return found


def hierarchy():
    """Networks of the hierarchy study as released: at most 1,000 units of a layer, fewer where it has fewer."""
    found = []
    for label, row in bh29.networks().iterrows():
        units, modules = study_sizes.units(row["model"]), bh29.layers(label)["module"]
        sizes = tuple(min(1000, units.get(module, 1000)) for module in modules)
        known = sum(module in units for module in modules)
        source = f"forward pass: {known} of {len(modules)} layers, others 1000 units"
        found.append((label, study_sizes.Network(sizes), ("",), source))
    return found


def totals(jobs, n_cores=2):
    """Cost of each study and step.

    Parameters
    ----------
    jobs : pandas.DataFrame
        As `studies` returns it.
    n_cores : int
        With one job on each.

    Returns
    -------
    pandas.DataFrame
        study, step ("all" for the sum), target ("all" for the sum), jobs, core_hours, hours, gb (of results), memory_gb
        (the most of any job), pflop (10¹⁵ additions and multiplications of forward passes).
    """
    every = jobs.assign(step="all", target="all")
    table = pd.concat([jobs, jobs.assign(target="all"), every]).groupby(
        ["study", "step", "target"], sort=False
    )
    found = table.agg(
        jobs=("seconds", "size"),
        core_hours=("seconds", lambda s: s.sum() / 3600),
        gb=("bytes", lambda s: s.sum() / 1e9),
        memory_gb=("memory", lambda s: s.max() / 1e9),
        pflop=("flops", lambda s: s.sum() / 1e15),
    ).reset_index()
    found.insert(5, "hours", found["core_hours"] / n_cores)
    numbers = found.select_dtypes("float").columns
    return found.assign(**{name: found[name].map(lambda x: float(f"{x:.3g}")) for name in numbers})


def checked(homes=None, costs=None):
    """Jobs that have run, foretold.

    Parameters
    ----------
    homes : iterable of path, optional
        Folders with `data`; default: `artefacts.home()`.
    costs : pandas.Series, optional
        Seconds of one of each term, as `rates.measured` returns them; default: those of the compendium.

    Returns
    -------
    pandas.DataFrame
        step, model, target, seconds and bytes measured, and their ratios foretold / measured.
    """
    rows, before = [], os.environ.get("COMPENDIUM_HOME")
    for home in homes or [artefacts.home()]:
        os.environ["COMPENDIUM_HOME"] = str(home)
        for file in sorted(Path(home, "data").rglob("run.json")):
            done = artefacts.record(file.parent)
            named = [done.get("parameters", {}).get(name, "") for name in ("model", "target")]
            step = file.relative_to(Path(home, "data")).parts[0]
            if done.get("seconds") and step in study_cost.STEPS:
                size = sum(f.stat().st_size for f in file.parent.rglob("*") if f.is_file() and f != file)
                cost = study_cost.foretold(step, *named, rates=costs)
                ratios = cost["seconds"] / done["seconds"], cost["bytes"] / size
                rows.append((step, *named, done["seconds"], size, *ratios))
    os.environ.pop("COMPENDIUM_HOME")
    os.environ.update({"COMPENDIUM_HOME": before} if before else {})
    columns = ["step", "model", "target", "seconds", "bytes", "seconds_ratio", "bytes_ratio"]
    return pd.DataFrame(rows, columns=columns)


def cases(size="usual", device="cpu"):
    """A case per study, and one per step, of jobs that have run in `$COMPENDIUM_HOME`; on the CPU alone."""
    if device != "cpu":
        return []
    shrink = 4 if size == "small" else 1
    found = [
        benchmarks.Case(
            f"{study} study as one machine's seconds", 40 / shrink, functools.partial(whole, study, shrink)
        )
        for study in STUDIES
    ]
    found[1:] = [case._replace(seconds=3) for case in found[1:]]  # the machine has been measured by then
    for step in study_cost.STEPS:
        call = functools.partial(beside_measured, step, shrink)
        found.append(benchmarks.Case(f"{step}: one home's jobs that ran, foretold", 1, call))
    return found


def whole(study, shrink=1):
    """Foretell one study from what this machine takes, beside what the compendium foretells.

    Parameters
    ----------
    study : {"auditory", "hierarchy"}
    shrink : int
        By which sizes are divided that this machine is measured at; 1 writes the table of both studies, too.

    Returns
    -------
    list of dict
        One row.
    """
    table = totals(studies(_costs(shrink)))
    if shrink == 1:
        artefacts.save_table(table, TABLE)
    step = table.query("study == @study and step == 'all'").iloc[0]
    stored = totals(studies()).query("study == @study and step == 'all'").iloc[0]
    said = f"{study} study as one machine's seconds; {step['jobs']} jobs, {step['gb']:g} GB"
    said += f", {step['memory_gb']:g} GB of memory at most"
    hours = step["core_hours"], "where the table of rates was made", stored["core_hours"]
    return [benchmarks.row("paper_run", said, hours[0] * 3600, hours[1], hours[2] * 3600)]


def beside_measured(step, shrink=1):
    """Foretell the jobs of one step that have run, from what this machine takes; one row, or none without such jobs."""
    jobs = _checked(shrink).query("step == @step").dropna()
    if jobs.empty:
        return []
    said = f"{step}: one home's jobs that ran, foretold; {len(jobs)} jobs, foretold / measured seconds "
    said += f"{_range(jobs['seconds_ratio'])}, bytes {_range(jobs['bytes_ratio'])}"
    foretold = (jobs["seconds"] * jobs["seconds_ratio"]).sum()
    return [benchmarks.row("paper_run", said, jobs["seconds"].sum(), "foretold", foretold)]


@functools.cache
def _checked(shrink):
    """Jobs that have run here, foretold once."""
    return checked(costs=_costs(shrink))


@functools.cache
def _costs(shrink):
    """What this machine takes, measured once."""
    from benchmarks import rates  # needs torch, which the rest does not

    return rates.measured(shrink=shrink)


def _range(ratios):
    """Median and range, in words."""
    return f"{ratios.median():.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
