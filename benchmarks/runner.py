"""What the runner costs per notebook: 10, 100 and 1,000 jobs, beside papermill alone.

A repository in miniature: one data set, and half as many models as there are jobs; extraction and encoding of each
model are notebooks that write one number. Two things are measured:

- what the runner itself adds. Kernels are left out (a function writes the file), so that what is left is finding what
  is stale, locks, hashing and records: CPU seconds per job when all jobs run, and when all are fresh. Two seconds of
  each run are spent whatever the number of jobs; what each job adds beyond the smallest run is told with it, and must
  not grow.
- the same notebooks with their kernels, by `run_all.py --jobs 1` and by papermill in a plain loop. The ratio is
  papermill's time over ours, wall-clock, since most of it is waiting for kernels to start.
"""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import benchmarks
from lib.artefacts import ROOT

JOBS = {"small": (10, 20), "usual": (10, 100, 1_000), "full": (10, 100, 1_000)}
WITH_KERNELS = {"small": 2, "usual": 6, "full": 6}
MODEL = 'LABEL = "Model"\nMODALITY = "audio"\nLAYERS = ("first",)\nCONTROLS = ()\nBUNDLED = True\n'
TARGET = 'MODALITY = "audio"\nKIND = "voxel"\nPLANTED = True\nLICENCE = "CC0"\n'
PARAMETERS = {"01_download": 'target = "t"', "02_extract": 'model = "m"\ntarget = "t"'}
PARAMETERS["03_encode"] = PARAMETERS["02_extract"]
BODY = """from lib import artefacts
made = artefacts.directory("{step}", {swept})
artefacts.save_json([1], made / "value.json")"""
# Runs the runner with or without kernels, and tells how long it took.
DRIVER = """
import json, sys, time
from pathlib import Path
import run_all
from lib import artefacts, kernels
steps, with_kernels = json.loads(sys.argv[1])
run_all.STEPS = {step: run_all.STEPS[step] for step in steps}
run_all.NAMES = {step.partition("_")[2]: step for step in run_all.STEPS}

def execute(notebook, output, parameters, **_):
    artefacts.save_json([1], Path(output).with_name("value.json"))

if not with_kernels:
    kernels.execute = execute
start, cpu = time.perf_counter(), time.process_time()
status = run_all.main(["--jobs", "1"])
print(json.dumps([status, time.perf_counter() - start, time.process_time() - cpu]))
"""
PAPERMILL = """
import sys, time
import papermill
start = time.perf_counter()
for number, (step, model) in enumerate((s, m) for s in ("02_extract", "03_encode") for m in sys.argv[2:]):
    papermill.execute_notebook(f"notebooks/{step}.ipynb", f"{sys.argv[1]}/{number}.ipynb", {"model": model},
                               progress_bar=False)
print(time.perf_counter() - start)
"""


def build(folder, n_models):
    """A repository with that many models, one target and three notebooks."""
    shutil.copytree(
        ROOT / "lib", folder / "lib", ignore=shutil.ignore_patterns("models", "datasets", "__pycache__")
    )
    shutil.copy(ROOT / "run_all.py", folder)
    for name in ("lib/models", "lib/datasets", "notebooks"):
        (folder / name).mkdir(parents=True)
    for package in ("models", "datasets"):
        (folder / "lib" / package / "__init__.py").write_text("", encoding="utf-8")
    for number in range(n_models):
        (folder / "lib" / "models" / f"m{number:04d}.py").write_text(MODEL, encoding="utf-8")
    (folder / "lib" / "datasets" / "t.py").write_text(TARGET, encoding="utf-8")
    for step, parameters in PARAMETERS.items():
        swept = "target=target" if step == "01_download" else "model, target"
        body = BODY.format(step=step.partition("_")[2], swept=swept)
        cells = [_cell("given", parameters, ["parameters"]), _cell("body", body, [])]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
        (folder / "notebooks" / f"{step}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")


def runs(folder, *, with_kernels=False):
    """Seconds, wall-clock and CPU, that the runner takes for all jobs."""
    said = _python(folder, DRIVER, json.dumps([list(PARAMETERS), with_kernels]))
    status, wall, cpu = json.loads(said.splitlines()[-1])
    if status:
        raise RuntimeError(f"the runner failed: {said}")
    return wall, cpu


def papermill(folder, n_models):
    """Seconds that papermill takes for the extractions and encodings in a plain loop."""
    (folder / "out").mkdir()
    models = [f"m{number:04d}" for number in range(n_models)]
    return float(_python(folder, PAPERMILL, "out", *models).splitlines()[-1])


def cases(size="usual", device="cpu"):
    """Cases of a size; none on a GPU, which the runner never uses."""
    if device != "cpu":
        return []
    n_run, fewest = WITH_KERNELS[size], min(JOBS[size])
    call = functools.partial(beside_papermill, n_run)
    found = [benchmarks.Case(f"{n_run} jobs with kernels, wall", 4 + 2 * n_run, call)]
    for n_jobs in JOBS[size]:
        for fresh in (False, True):
            seconds = 0.1 if fresh else 3 + 0.05 * n_jobs  # both are measured with the first
            name = f"added to one of {n_jobs} jobs when all {'are fresh' if fresh else 'run'}"
            call = functools.partial(added, name, n_jobs, fresh, fewest, n_run)
            found.append(benchmarks.Case(name, seconds, call))
    return found


def beside_papermill(n_run):
    """Jobs with their kernels, by the runner and by papermill in a loop."""
    ours, theirs = with_kernels(n_run)
    case = f"{n_run} jobs with kernels, wall"
    return [benchmarks.row("runner", case, ours, "papermill in a loop", theirs)]


def added(name, n_jobs, fresh, fewest, n_run):
    """What the runner adds to each job, beside what papermill takes for one."""
    seconds = without_kernels(n_jobs)[fresh]
    if n_jobs > fewest:
        each = (seconds - without_kernels(fewest)[fresh]) / (n_jobs - fewest)
        name += f"; each beyond {fewest} adds {1000 * each:.2g} ms"
    job = with_kernels(n_run)[1] / n_run
    # One job more than there are: the download.
    return [benchmarks.row("runner", name, seconds / (n_jobs + 1), "the job by papermill", job)]


@functools.cache
def with_kernels(n_run):
    """Wall-clock seconds of all extractions and encodings: by the runner, by papermill."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        build(folder, n_run // 2)
        runs(folder)  # the download, and what is compiled once
        for result in (folder / "data").rglob("run.json"):
            if "download" not in result.parts:
                result.unlink()
        ours, _ = runs(folder, with_kernels=True)
        return ours, papermill(folder, n_run // 2)


@functools.cache
def without_kernels(n_jobs):
    """CPU seconds of the runner: when all jobs run, and when all are fresh."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        build(folder, n_jobs // 2)
        return runs(folder)[1], runs(folder)[1]


def _cell(name, source, tags):
    about = {"id": name, "cell_type": "code", "metadata": {"tags": tags}}
    return about | {"execution_count": None, "outputs": [], "source": source}


def _python(folder, code, *arguments):
    """What a program prints that runs in the miniature."""
    environment = os.environ | {
        "COMPENDIUM_HOME": str(folder),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(folder),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout
