"""Benchmarks in one command: what ours takes beside other software, as rows of a table and as a figure.

    python -m benchmarks                      # all of them, at sizes of the studies: 20 minutes
    python -m benchmarks encoding decoding    # some
    python -m benchmarks --full               # every size of the studies: 40 minutes
    python -m benchmarks --small              # whether everything runs: 5 minutes; numbers are not kept
    python -m benchmarks --figure             # only the table and figure of what was measured before

Each benchmark runs in a process of its own, one after the other; before each case it says how many seconds that takes
on two idle cores. Whatever else the machine does in the meantime falsifies the numbers. Rows enter `results.csv` as
they are measured; a benchmark that fails keeps nothing from the others, is named at the end, and makes the exit status
1. Everything is measured on the CPU and, where there is a GPU and something to run on it, there too. The peers come
with the test extra.

Figure: `figures/benchmarks.pdf`, `.png` and `.csv`, the latest row of each case, opponent and machine.
"""

import argparse
import importlib
import math
import multiprocessing
import re
import sys
import tempfile
import time
import traceback
from pathlib import Path

import benchmarks
from lib import plugins


def names():
    """Benchmarks: the modules here that have cases."""
    files = sorted(benchmarks.RESULTS.parent.glob("[!_]*.py"))
    return [file.stem for file in files if re.search(r"^def cases\(", file.read_text("utf-8"), re.M)]


def offered(name, size):
    """Cases of a benchmark by device.

    Parameters
    ----------
    name : str
    size : {"small", "usual", "full"}

    Returns
    -------
    dict of str to list of benchmarks.Case
    """
    module = importlib.import_module(f"benchmarks.{name}")
    return {device: module.cases(size, device) for device in benchmarks.devices()}


def planned(chosen, size):
    """Seconds that each benchmark takes; NaN for one whose cases cannot be told (its own process tells why)."""
    seconds = {}
    for name in chosen:
        try:
            seconds[name] = sum(case.seconds for found in offered(name, size).values() for case in found)
        except Exception:
            seconds[name] = math.nan
    return seconds


def measured(name, size, path):
    """Run the cases of one benchmark and keep their rows; the exit status is 1 if one failed."""
    failed = False
    for device, found in offered(name, size).items():
        for number, case in enumerate(found, start=1):
            said = f"{case.name}; {benchmarks.machine(device)}, about {case.seconds:.0f} s"
            print(f"[{name} {number}/{len(found)}] {said}", flush=True)
            start = time.perf_counter()
            try:
                benchmarks.append(case.compare(), path)
            except Exception:
                traceback.print_exc()
                failed = True
            print(f"         took {time.perf_counter() - start:.0f} s", flush=True)
    sys.exit(failed)


def run(chosen, size, path):
    """Run benchmarks, each in a process of its own; exit statuses of those that failed."""
    seconds = planned(chosen, size)
    known = {name: s for name, s in seconds.items() if not math.isnan(s)}
    said = ", ".join(f"{name} {s / 60:.1f}" for name, s in known.items())
    unknown = ", ".join(name for name in seconds if name not in known)
    more = f", and what {unknown} takes" if unknown else ""
    print(f"about {sum(known.values()) / 60:.0f} minutes on two idle cores ({said}){more}", flush=True)
    failed, context = {}, multiprocessing.get_context("spawn")
    for name in chosen:
        process = context.Process(target=measured, args=(name, size, path))
        process.start()
        process.join()
        if process.exitcode:
            failed[name] = process.exitcode
    return failed


def drawn(path):
    """Print the table of what was measured last, and write it with its figure."""
    from benchmarks import figure

    if not path.exists():
        print(f"nothing was measured yet: there is no {path}")
        return
    existing = {}
    for name in names():
        try:
            existing[name] = {case.name for size in benchmarks.SIZES for case in offered(name, size)["cpu"]}
        except Exception:
            print(f"{name}: cases are not known, all of its rows are shown", file=sys.stderr)
            existing[name] = None
    table = figure.latest(path, existing)
    print(figure.printed(table))
    print(f"figure: {figure.write(table)}")


def main(arguments):
    """Parse arguments, run what they name, show the table and the figure; the exit status."""
    summary, _, more = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        "python -m benchmarks", None, summary, more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(names())}; default: all")
    sizes = parser.add_mutually_exclusive_group()
    for size in ("small", "full"):
        sizes.add_argument(f"--{size}", dest="size", action="store_const", const=size, default="usual")
    parser.add_argument("--results", type=Path, help="file that rows are added to; default: results.csv here")
    parser.add_argument("--figure", action="store_true", help="run nothing, show what was measured before")
    given = parser.parse_args(arguments)
    for name in given.names:
        plugins.require(name, names(), "benchmark")
    with tempfile.TemporaryDirectory() as scratch:
        kept = given.results or (None if given.size == "small" and not given.figure else benchmarks.RESULTS)
        path = (kept or Path(scratch) / "results.csv").resolve()
        failed = {} if given.figure else run(given.names or names(), given.size, path)
        if kept:
            drawn(path)
    for name, status in failed.items():
        print(f"{name} failed: " + ("see above" if status == 1 else f"exit status {status}"), file=sys.stderr)
    return bool(failed)
