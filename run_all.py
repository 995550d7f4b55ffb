"""Run the notebooks for every model and target that fit together, skipping results that are fresh."""

import argparse
import contextlib
import os
import queue
import random
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from graphlib import TopologicalSorter
from itertools import islice, zip_longest
from typing import NamedTuple

import pandas as pd
from filelock import FileLock, Timeout
from tqdm import tqdm

from lib import attempts, catalogue, kernels, plugins, provenance, sources, verification
from lib.artefacts import ROOT, directory, home, record
from lib.registry import registry

STEPS = {  # step: (swept parameters, steps whose results it reads, kinds of targets it takes)
    "01_download": (("target",), (), plugins.KINDS),
    "02_extract": (("model", "target"), ("01_download",), plugins.BRAINS),
    "03_encode": (("model", "target"), ("01_download", "02_extract"), ("component", "voxel")),
    "04_rsa": (("model", "target"), ("01_download", "02_extract"), ("voxel", "rdm")),
    "05_decode": (("model", "target"), ("01_download", "02_extract"), ("voxel",)),
    "06_bhscore": (("model", "target"), ("01_download", "02_extract", "05_decode"), ("voxel",)),
    "07_metamers": (("model", "target"), ("01_download",), plugins.BRAINS),
    "08_figures": (
        (),
        ("01_download", "03_encode", "04_rsa", "05_decode", "06_bhscore", "07_metamers"),
        plugins.KINDS,
    ),
}
NAMES = {step.partition("_")[2]: step for step in STEPS}
ADDRESS = re.compile(r"([a-z]+://)?(\[[0-9A-Fa-f:.]+\]|[\w.-]+):[0-9]{1,5}")  # of a scheduler
GOOD, BROKEN = ("ran", "fresh"), ("failed", "held back")


class Job(NamedTuple):
    """A step, and a value of each parameter that it is swept by: ((name, value), …)."""

    step: str
    swept: tuple

    def __str__(self):
        return " ".join((self.step, *dict(self.swept).values()))

    @property
    def folder(self):
        return directory(self.step.partition("_")[2], **dict(self.swept))

    @property
    def given(self):
        """Folders of data that a person has put there for a target to load."""
        return [] if STEPS[self.step][1] else [directory("own", **dict(self.swept))]


def notebook(step):
    """File of a step."""
    return ROOT / "notebooks" / f"{step}.ipynb"


def fits(known, swept, step=""):
    """Whether model and target are of one modality, and a step, if it is named, takes both."""
    about = {name: known[name][value] for name, value in swept if name in known}
    modalities = {constants["MODALITY"] for constants in about.values()}
    taken = not any(step.partition("_")[2] in constants.get("WITHOUT", ()) for constants in about.values())
    if step and "target" in about:
        taken = taken and about["target"]["KIND"] in STEPS[step][2]
    # Released activations are of certain stimuli.
    only = about.get("model", {}).get("TARGETS")
    return taken and len(modalities) <= 1 and (not only or dict(swept).get("target", only[0]) in only)


def combinations(known, names, step, chosen=()):
    """All values of swept parameters that fit; those of `layer` are the LAYERS of the model's plug-in."""
    if not names:
        return [chosen]
    name = names[0]
    values = known[name] if name in known else known["model"][dict(chosen)["model"]][f"{name.upper()}S"]
    values = values.split() if isinstance(values, str) else values
    runs = [(*chosen, (name, value)) for value in values]
    runs = [run for run in runs if fits(known, run, step)]
    return [full for run in runs for full in combinations(known, names[1:], step, run)]


def graph(known):
    """Map each possible job to the jobs it reads: those that agree on the parameters they share."""
    jobs = {
        step: [Job(step, run) for run in combinations(known, swept, step)]
        for step, (swept, *_) in STEPS.items()
    }

    there = {step: set(made) for step, made in jobs.items()}

    def reads(job, read):
        own, names = dict(job.swept), STEPS[read][0]
        if own.keys() >= set(names):  # one job at most, found without looking at the others
            return [
                need
                for need in [Job(read, tuple((name, own[name]) for name in names))]
                if need in there[read]
            ]
        return [
            need for need in jobs[read] if all(own.get(name, value) == value for name, value in need.swept)
        ]

    return {
        job: [need for read in STEPS[step][1] for need in reads(job, read)]
        for step in STEPS
        for job in jobs[step]
    }


def select(args, known, jobs):
    """The jobs that may run: by default the models and planted targets that need no download."""
    steps = [
        NAMES.get(name) or plugins.require(name, [*NAMES, *STEPS], "step") for name in args.steps
    ] or STEPS
    models = named_models(args.model or (), known["model"])
    named = [plugins.require(name, [*known["target"], "all"], "target") for name in args.target or ()]
    named = named or [name for name, constants in known["target"].items() if constants["PLANTED"]]
    named = known["target"] if "all" in named else named
    pairs = [(m, t) for m in models for t in named if fits(known, [("model", m), ("target", t)])]
    # Results that were released are of no model here, and go with any.
    free = {t for t in named if known["target"][t]["KIND"] not in plugins.BRAINS}
    targets = {t for _, t in pairs} | free if args.model else named
    if not targets:
        asked = [
            f"{n} ({known[k][n]['MODALITY']})" for k, ns in (("model", models), ("target", named)) for n in ns
        ]
        raise ValueError(f"no target has the modality of a model among {', '.join(asked)}; --list shows all")
    chosen = {"model": {*models}, "target": {*targets}}
    found = {j for j in jobs if j.step in steps and all(v in chosen.get(name, [v]) for name, v in j.swept)}
    if not found:
        kinds = ", ".join(f"{t} ({known['target'][t]['KIND']})" for t in sorted(targets))
        takes = ", ".join(f"{step} takes kinds {' '.join(STEPS[step][2])}" for step in steps)
        raise ValueError(f"nothing to do for {kinds}: {takes}")
    return found


def named_models(names, known):
    """The models named: all for "all", those that need no download for none."""
    if "all" in names:
        return list(known)
    bundled = [name for name, constants in known.items() if constants["BUNDLED"]]
    return [named_model(name, known) for name in names] or bundled


def placed(name):
    """A model's name; if it is a path to a Python file, the full path, whatever folder a worker is in."""
    stem, control = plugins.split_control(name) if ".py" in name else (name, "")
    if not stem.endswith(".py"):
        return name
    return str(plugins.path("model", stem)) + (f".{control}" if control else "")


def named_model(name, known):
    """The name of a model or control that there is; an error that says which controls a model has."""
    stem, _, control = name.rpartition(".")
    if stem in known and name not in known and control in plugins.CONTROLS:
        offered = ", ".join(known[stem]["CONTROLS"]) or "none, because nothing in it is learned"
        raise ValueError(f"model {stem!r} has no control {control!r}; its controls: {offered}")
    return plugins.require(name, known, "model")


def reading(jobs, selected):
    """Map the selected jobs, and all they read, to what each reads.

    A job that gathers over a parameter it is not swept by reads what exists or is about to.
    """
    needs, waiting = {}, list(selected)
    while waiting:
        job = waiting.pop()
        if job not in needs:
            own = dict(job.swept).keys()
            needs[job] = [
                n for n in jobs[job] if dict(n.swept).keys() <= own or n in selected or record(n.folder)
            ]
            waiting.extend(needs[job])
    return {job: needs[job] for job in jobs if job in needs}


def compared(jobs, selected, chosen, known):
    """What each job reads, and which may run, with the extractions of models that others are compared with.

    Parameter `beside` names such a model. A result that is only read is judged by the one it was made with.
    """
    found, more = dict(jobs), set()
    for job in jobs:
        by_hand = chosen[job.step] if job in selected else made_with(job, known)
        if by_hand.get("beside"):
            swept = ("model", by_hand["beside"]), ("target", dict(job.swept)["target"])
            other = Job(NAMES["extract"], swept)
            if job in selected and other not in jobs:
                raise ValueError(f"{job}: there is no {other} to compare it with; --list shows all models")
            found[job] = [*jobs[job], *({other} & set(jobs) - set(jobs[job]))]
            more |= {other} if job in selected and other.step in chosen else set()
    return found, selected | more


def settings(assignments, steps):
    """Parameters set by hand, by step, checked against what the notebooks declare."""
    declared = {step: sources.declared(notebook(step)) for step in steps}
    swept = {name for names, *_ in STEPS.values() for name in names}
    bare = [assignment for assignment in assignments if "=" not in assignment]
    if bare:
        raise ValueError(f"--set {bare[0]}: NAME=VALUE is wanted")
    pairs = [assignment.partition("=")[::2] for assignment in assignments]
    twice = [name for name, _ in pairs if [n for n, _ in pairs].count(name) > 1]
    if twice:
        raise ValueError(f"--set {twice[0]}=… is given more than once; which is meant?")
    texts = dict(pairs)
    for step in steps:
        for name in STEPS[step][0]:
            plugins.require(name, declared[step], f"parameter of {step}")
    for name in texts:
        if name in swept:
            raise ValueError(f"{name} is swept by run_all itself; choose with --model and --target")
        plugins.require(
            name, {n for d in declared.values() for n in d} - swept, "parameter of the chosen steps"
        )
    return {step: sources.overrides(notebook(step), texts) for step in steps}


def check_parts(chosen, selected):
    """Raise if a target lacks a part that is asked for, before any job begins."""
    for job in selected:
        parts = chosen[job.step].get("parts", "").split()
        if parts:
            registry(dict(job.swept)["target"], parts)


def plan(needs, selected, chosen, known):
    """What each job depends on besides its inputs, and why it is stale ([] if it is fresh)."""
    own = {plugins.path(*pair) for job in needs for pair in job.swept if pair[0] == "model"}
    scanned, depends, stale = sources.scan(f for f in own if ROOT not in f.parents), {}, {}
    declared = {step: sources.declared(notebook(step)) for step in {job.step for job in needs}}
    with ThreadPoolExecutor() as pool:
        outputs = pool.map(
            lambda job: provenance.digests(job.folder, record(job.folder).get("outputs", ())), needs
        )
        outputs = dict(zip(needs, outputs, strict=True))
    for job in TopologicalSorter(needs).static_order():
        # A result that is only read is judged with the parameters it was made with.
        by_hand = chosen[job.step] if job in selected else made_with(job, known)
        pairs = plugged(job, needs[job], scanned) | judging(declared[job.step] | by_hand)
        files = [notebook(job.step), *(plugins.path(*pair) for pair in pairs)]
        depends[job] = {"code": sources.code(scanned, files), "parameters": by_hand | dict(job.swept)}
        now = depends[job] | {"inputs": provenance.inputs((need.folder for need in needs[job]), job.given)}
        waits = [f"reads {need}, which is stale" for need in needs[job] if stale[need]]
        stale[job] = provenance.changed(job.folder, now, outputs[job]) or waits
    return depends, stale


def plugged(job, reads, scanned):
    """Plug-ins, (kind, name), whose code makes a result: its own, of the kinds that its notebook loads.

    A notebook that takes what a data set left on disk does not depend on how it got there. One that gathers
    results of many plug-ins shows their labels and colours, and depends on them all.
    """
    loads = sources.code(scanned, [notebook(job.step)])
    if not job.swept:
        return {pair for need in reads for pair in need.swept if pair[0] in plugins.FOLDERS}
    kinds = [k for k, folder in plugins.FOLDERS.items() if f"lib/{folder.name}/__init__.py" in loads]
    return {(kind, value) for kind, value in job.swept if kind in kinds}


def judging(parameters):
    """Plug-ins, (kind, name), of the models that parameter `judged_by` names: they look at what the job made."""
    return {("model", name) for name in parameters.get("judged_by", "").split()}


def made_with(job, known):
    """Parameters that a result was made with, as far as they could be given today: the rest makes it stale."""
    if not (made := record(job.folder).get("parameters")):
        return {}
    made, swept = sources.accepted(sources.declared(notebook(job.step)), made), STEPS[job.step][0]
    models = [made.get("beside", ""), *made.get("judged_by", "").split()]
    gone = {name for name in models if name and name not in known["model"]}
    return {name: value for name, value in made.items() if name in swept or not gone & {*str(value).split()}}


def whereabouts():
    """The repository and the home that this process works in."""
    return str(ROOT), str(home())


def execute(job, reads, depends, may_run, expected):
    """Bring one result up to date if it may run; what was done, and why."""
    if whereabouts() != expected:
        raise RuntimeError(f"worker with repository and home {whereabouts()}, but the runner has {expected}")
    depends = depends | {"inputs": provenance.inputs((need.folder for need in reads), job.given)}
    if not (may_run or attempts.pending(job.folder)):
        why = provenance.changed(job.folder, depends)
        return "left" if why else "fresh", why
    job.folder.mkdir(parents=True, exist_ok=True)
    with alone(job) as lock:
        attempts.restore(job.folder)
        why = provenance.changed(job.folder, depends)
        if why and may_run:
            with provenance.recorded(job.folder, depends):
                copy = job.folder / attempts.COPY
                kernels.execute(notebook(job.step), copy, depends["parameters"], keep=lock)
    return ("ran" if may_run else "left") if why else "fresh", why


@contextlib.contextmanager
def alone(job):
    """Let one run at a time, and its kernel, have to do with a result; descriptors of the lock."""
    lock = FileLock(job.folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tqdm.write(line("waits", job, ["another run is making it"]))
        lock.acquire()
    try:
        # A kernel that has it too keeps it until it ends, should its runner be killed.
        yield (lock._context.lock_file_fd,) if os.name == "posix" else ()
    finally:
        lock.release()


def run(pool, needs, selected, depends, stale):
    """Run the jobs in order, as many at a time as the pool takes; status and reasons by job."""
    order, status, running = TopologicalSorter(needs), {}, {}
    ended_ones = queue.SimpleQueue()  # waiting for any of thousands would look at all of them each time
    order.prepare()

    def finish(job, what, why):
        status[job] = what, why
        order.done(job)
        bar.update()
        if what != "fresh":
            tqdm.write(line(what, job, why))

    with tqdm(total=len(needs), unit="job", dynamic_ncols=True) as bar, ended(running):
        while order.is_active():
            for job in ready(order):
                what, why = verdict(needs[job], status)
                if what or not stale[job]:
                    finish(job, what or "fresh", why)
                else:
                    task = partial(execute, job, needs[job], depends[job], job in selected, whereabouts())
                    future = pool.submit(task)
                    running[future] = job
                    future.add_done_callback(ended_ones.put)
            bar.set_postfix_str(", ".join(map(str, islice(running.values(), 2))))
            if running:
                future = taken(ended_ones)
                job, error = running.pop(future), future.exception()
                finish(job, *(("failed", [kernels.last_line(error)]) if error else future.result()))
    return status


def taken(ended_ones):
    """The next of a queue; between two waits an interrupt is seen that another thread was struck by, or on Windows."""
    while True:
        with contextlib.suppress(queue.Empty):
            return ended_ones.get(timeout=1)


def ready(order):
    """Jobs that wait for none, and those that become so when one of them turns out to be finished."""
    while jobs := order.get_ready():
        yield from jobs


def verdict(reads, status):
    """Whether a job cannot run because of what it reads, and why."""
    bad = {need: status[need][0] for need in reads if status[need][0] not in GOOD}
    broken = any(what in BROKEN for what in bad.values())
    return bad and ("held back" if broken else "left"), [
        f"reads {need}: {what}" for need, what in bad.items()
    ]


@contextlib.contextmanager
def ended(running):
    """When the body is interrupted: start nothing more, and end the kernels of what runs."""
    try:
        yield
    except BaseException:
        left = {future for future in running if not future.cancel()}
        while wait(left, timeout=0.5).not_done:
            kernels.stop()
        raise


@contextlib.contextmanager
def threads(jobs):
    """Threads that each wait for one kernel; the kernels share the cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(max(1, cores // jobs)))
    with ThreadPoolExecutor(jobs) as pool:
        yield pool


@contextlib.contextmanager
def cluster(address):
    """Workers of a dask.distributed cluster; each must work in this repository and home."""
    from distributed import Client  # slow to import, and most runs need no cluster

    with Client(address) as client:
        try:
            places = client.run(whereabouts)
        except Exception as error:  # what a worker raises while it unpickles arrives as text
            if "ModuleNotFoundError" not in repr(error):
                raise
            raise ValueError(
                f"the workers cannot import run_all: start them in {ROOT}, in this Python"
            ) from error
        for worker, place in places.items():
            if place != whereabouts():
                raise ValueError(
                    f"{worker} has repository and home {place}, but the runner has {whereabouts()}"
                )
        yield client.get_executor(pure=False)


def line(what, job, why):
    """What is said of a job: its status, and the first three reasons."""
    more = [f"and {len(why) - 3} more"] if len(why) > 3 else []
    return f"{what:9} {job}" + (f" ({', '.join([*why[:3], *more])})" if why else "")


def cost(todo, needs, jobs):
    """How long the jobs will take, by the last runs of their steps."""
    last = {job: record(job.folder).get("seconds") for job in needs}
    steps = {step: [s for job, s in last.items() if job.step == step and s is not None] for step in STEPS}
    means = {step: sum(seconds) / len(seconds) for step, seconds in steps.items() if seconds}
    known = [last[job] or means[job.step] for job in todo if job.step in means]
    new = f", and {len(todo) - len(known)} never run before" if len(known) < len(todo) else ""
    return f"; about {max(sum(known) / jobs, max(known)):.0f} s by earlier runs{new}" if known else ""


def outlook(todo, needs, jobs):
    """Core-hours, disk and memory that the jobs will take, in words."""
    from lib import study_cost  # nothing else needs its tables

    def named(job):
        return job.step.partition("_")[2], *(dict(job.swept).get(name, "") for name in ("model", "target"))

    last = {job: record(job.folder).get("seconds") for job in needs}
    done = [(*named(job), seconds) for job, seconds in last.items() if seconds]
    return study_cost.said(study_cost.expected([named(job) for job in todo], done), jobs)


def forecast(job, chosen):
    """What an extraction will take, by a dry pass of its model."""
    from lib import forecast as dry  # imports torch, which takes longer than to find what is stale

    return dry.said(dict(job.swept)["model"], dict(job.swept)["target"], chosen)


def verify(fresh, n_jobs):
    """Make a random sample of fresh results again beside the stored ones, and say what differs; exit status."""
    steps = {step: [job for job in fresh if job.step == step] for step in STEPS}
    shuffled = [random.sample(jobs, len(jobs)) for jobs in steps.values()]
    # Every step in turn, so that a small sample is of many steps.
    turns = [job for turn in zip_longest(*shuffled) for job in turn if job]
    status = 0
    for job in tqdm(turns[:n_jobs], unit="job", dynamic_ncols=True):
        try:
            found = made_again(job)
        except Exception as error:
            tqdm.write(line("failed", job, [kernels.last_line(error)]))
            status = 1
            continue
        tqdm.write(line("differs" if len(found) else "same", job, []))
        for row in found.itertuples():
            size = "" if pd.isna(row.difference) else f", by {row.difference:.1g} of the largest"
            tqdm.write(f"          {row.file} {row.quantity}: {row.what}{size}")
        status = status or int(len(found) > 0)
    return status


def made_again(job):
    """What differs between a stored result and one that is made from the same inputs, in another home."""
    stored, made = job.folder, record(job.folder)
    with (
        tempfile.TemporaryDirectory(dir=home(), prefix=".verify") as scratch,
        verification.elsewhere(scratch, made["inputs"]),
    ):
        again = job.folder
        again.mkdir(parents=True)
        kernels.execute(notebook(job.step), again / "run.ipynb", made["parameters"])
        return verification.differences(stored, again, made["outputs"])


def listing():
    """Tables of models, targets and steps."""
    declared = {step: sources.declared(notebook(step)) for step in STEPS}
    own = {
        s: " ".join(f"{n}={v!r}" for n, v in d.items() if n not in STEPS[s][0]) for s, d in declared.items()
    }
    steps = pd.DataFrame(
        [(s, " ".join(STEPS[s][0]), own[s]) for s in STEPS], columns=["step", "swept", "set"]
    )
    return "\n\n".join(written(table) for table in (catalogue.models(), catalogue.targets(), steps))


def written(table):
    """A table as text, its last column in full, from the left."""
    last = table.columns[-1]
    lines = table.drop(columns=last).to_string(index=False).splitlines()
    return "\n".join(f"{line}  {text}" for line, text in zip(lines, [last, *table[last]], strict=True))


def summary(status):
    """How the jobs ended, in words."""
    kinds = [what for what, _ in status.values()]
    ended = [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys((*GOOD, *kinds))]
    failed = [
        f"failed {job}: {why[0]}"
        + (f"\n  in full: {file}" if (file := job.folder / attempts.FAILED).exists() else "")
        for job, (w, why) in status.items()
        if w == "failed"
    ]
    return "\n".join([", ".join(ended), *failed])


def parser():
    """The command line."""
    made = argparse.ArgumentParser(prog="run_all.py", description=__doc__)
    made.add_argument("steps", nargs="*", help=f"run only these: {' '.join(NAMES)}")
    made.add_argument(
        "--model",
        action="append",
        help="run this model, model.control, or all; repeatable; default: the bundled",
    )
    made.add_argument(
        "--target", action="append", help="run this target, or all; repeatable; default: the planted"
    )
    made.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter, not its default"
    )
    made.add_argument("--jobs", type=int, default=2, metavar="N", help="notebooks at a time; default: 2")
    made.add_argument("--scheduler", metavar="ADDRESS", help="run on this dask.distributed cluster")
    made.add_argument("--dry-run", action="store_true", help="only say what is stale, and why")
    made.add_argument(
        "--verify",
        nargs="?",
        type=int,
        const=len(STEPS),
        metavar="N",
        help="make N fresh results again (default: one per step) and compare; nothing stored is touched",
    )
    made.add_argument("--list", action="store_true", help="list models, targets and steps")
    return made


def work(args):
    """Do what the command line says; the exit status."""
    if args.jobs < 1:
        raise ValueError(f"--jobs must be at least 1, not {args.jobs}")
    if args.scheduler is not None and not ADDRESS.fullmatch(args.scheduler):
        raise ValueError(f"--scheduler {args.scheduler!r} is no address; it is like tcp://HOST:8786")
    if args.verify is not None and args.verify < 1:
        raise ValueError(f"--verify must be at least 1, not {args.verify}")
    if args.list:
        print(listing())
        return 0
    args.model = [placed(name) for name in args.model or ()]
    own = {plugins.split_control(name)[0] for name in args.model if ".py" in name}
    known = {kind: plugins.catalogue(kind, own if kind == "model" else ()) for kind in plugins.FOLDERS}
    folders = [plugins.called(name) for name in known["model"]]
    shared = [name for name in own if folders.count(plugins.called(name)) > 1]
    if shared:
        raise ValueError(f"another model is called {plugins.called(shared[0])!r}; rename {shared[0]}")
    jobs = graph(known)
    selected = select(args, known, jobs)
    chosen = settings(args.set, {job.step for job in selected})
    jobs, selected = compared(jobs, selected, chosen, known)
    needs = reading(jobs, selected)
    check_parts(chosen, selected)
    depends, stale = plan(needs, selected, chosen, known)
    todo = [job for job in needs if stale[job] and job in selected]
    if args.verify is not None:
        return verify([job for job in needs if not stale[job] and job in selected], args.verify)
    for job in needs if args.dry_run else ():
        print(line("stale" if job in todo else "left" if stale[job] else "fresh", job, stale[job]))
        if job in todo and job.step == NAMES["extract"]:
            print(f"          {forecast(job, chosen[job.step])}", flush=True)
    print(f"{len(todo)} of {len(needs)} jobs to run{cost(todo, needs, args.jobs)}", flush=True)
    if args.dry_run:
        if todo:
            print(outlook(todo, needs, args.jobs))
        return 0
    with cluster(args.scheduler) if args.scheduler else threads(args.jobs) as pool:
        status = run(pool, needs, selected, depends, stale)
    print(summary(status))
    # Figures of a part are left alone without complaint; any other result that was asked for is owed.
    return int(
        any(w in BROKEN or (w == "left" and j in selected and j.swept) for j, (w, _) in status.items())
    )


def main(argv=None):
    """Run from the command line; the exit status: 0, 1 if a job failed, 2 if the request makes no sense."""
    made = parser()
    try:
        return work(made.parse_args(argv))
    except (ValueError, OSError, SyntaxError) as error:
        made.error(str(error))
    except KeyboardInterrupt:
        print("interrupted; what has finished is kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    from run_all import main as main_by_name  # so that the workers of a cluster find `execute` by its name

    sys.exit(main_by_name())
