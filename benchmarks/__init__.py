"""Speed beside other software, both measured in one run, in CPU seconds or seconds of a GPU."""

import contextlib
import csv
import datetime
import io
import os
import platform
import time
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from lib import artefacts

RESULTS = Path(__file__).with_name("results.csv")
COLUMNS = ("date", "machine", "benchmark", "case", "ours_s", "opponent", "opponent_s", "ratio")
SIZES = ("small", "usual", "full")


class Case(NamedTuple):
    """One size and kind of work, on which ours is measured beside others.

    Attributes
    ----------
    name : str
        Says the size; the `case` of its rows begins with it, and goes on after a semicolon with what was found.
    seconds : float
        That it takes on two idle cores; on a GPU less.
    compare : callable
        Takes no argument, returns rows.
    """

    name: str
    seconds: float
    compare: callable


def cpu_seconds(function, *, repeats=3):
    """Least CPU time of several calls, with all threads and finished child processes.

    Parameters
    ----------
    function : callable
        Takes no argument.
    repeats : int

    Returns
    -------
    value
        What the last call returned.
    float
        Seconds. The least, since other work on the machine only ever adds.
    """
    seconds = []
    for _ in range(repeats):
        before = _cpu_s()
        value = function()
        seconds.append(_cpu_s() - before)
    return value, min(seconds)


def _cpu_s():
    """CPU time so far: of this process to the nanosecond, of finished children to a hundredth of a second."""
    return time.process_time() + sum(os.times()[2:4])


def device_seconds(function, device, *, repeats=3):
    """Least time of several calls on a device: of its own on a GPU, CPU time without one.

    Parameters
    ----------
    function : callable
        Takes no argument.
    device : str
        "cpu" or "cuda".
    repeats : int

    Returns
    -------
    value
        What the last call returned.
    float
        Seconds. On a GPU a first call does not count, in which memory is taken and kernels are loaded.
    """
    if device == "cpu":
        return cpu_seconds(function, repeats=repeats)
    function()
    seconds = []
    for _ in range(repeats):
        with stopwatch(device) as taken:
            value = function()
        seconds += taken
    return value, min(seconds)


@contextlib.contextmanager
def stopwatch(device="cpu"):
    """Wall time of a block; on a GPU from its start to the end of all that the block gave it to do.

    Parameters
    ----------
    device : str
        "cpu" or "cuda".

    Yields
    ------
    list of float
        Holds the seconds once the block has ended.
    """
    taken = []
    if device == "cpu":
        start = time.perf_counter()
        yield taken
        taken.append(time.perf_counter() - start)
        return
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    yield taken
    end.record()
    torch.cuda.synchronize()
    taken.append(start.elapsed_time(end) / 1000)


def devices():
    """Names of the devices that there are to measure on: "cpu" always, "cuda" where there is a GPU."""
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def machine(device="cpu"):
    """What the seconds were measured on, in words."""
    if device == "cpu":
        return f"{os.cpu_count()}-core {platform.machine()} CPU"
    import torch

    return torch.cuda.get_device_name()


def row(benchmark, case, ours_s, opponent, opponent_s, *, device="cpu"):
    """One comparison, as a dictionary of the columns of `results.csv`; ValueError unless both took time."""
    if not (ours_s > 0 and opponent_s > 0):
        what = f"{case}: {ours_s:.4g} s beside {opponent_s:.4g} s of {opponent}"
        raise ValueError(f"{what}: differences of times that other work on the machine has swallowed")
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    numbers = f"{ours_s:.4g}", opponent, f"{opponent_s:.4g}", f"{opponent_s / ours_s:.4g}"
    return dict(zip(COLUMNS, (date, machine(device), benchmark, case, *numbers), strict=True))


def agreed(what, difference, tolerance):
    """The difference from the opponent's answer, if it is one that rounding makes.

    Parameters
    ----------
    what : str
    difference, tolerance : float

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If it is larger (or no number): the time of another answer is no comparison.
    """
    if not difference <= tolerance:
        raise ValueError(f"{what} differ by {difference:.0e} from the opponent's, more than {tolerance:.0e}")
    return difference


def append(rows, path=RESULTS):
    """Add comparisons to a file and print them.

    Each enters the file whole or not at all: whoever is killed, or runs beside another, loses none of those before.

    Parameters
    ----------
    rows : iterable of dict
    path : pathlib.Path

    Raises
    ------
    ValueError
        If the file is a table of something else.
    """
    path, lock = Path(path).resolve(), artefacts.home() / "data" / ".benchmarks.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    for line in rows:
        with FileLock(lock):
            _add(line, path)
        print("{ratio:>8} x  {opponent} {opponent_s} s, ours {ours_s} s: {case}".format(**line), flush=True)


def _add(line, path):
    """One row more, in a copy of the file that then takes its place."""
    header = ",".join(COLUMNS) + "\n"
    there = path.read_text(encoding="utf-8") if path.exists() else header
    if not there.startswith(header):
        raise ValueError(f"{path} is no table of benchmarks: its first line is not {header.strip()!r}")
    text = io.StringIO()
    csv.DictWriter(text, COLUMNS, lineterminator="\n").writerow(line)
    with artefacts.atomic(path) as part:
        part.write_text(there + "\n" * (not there.endswith("\n")) + text.getvalue(), encoding="utf-8")
