"""Speed beside other software, both measured in one run, in CPU seconds."""

import csv
import datetime
import os
import platform
from pathlib import Path

RESULTS = Path(__file__).with_name("results.csv")
COLUMNS = ("date", "machine", "benchmark", "case", "ours_s", "opponent", "opponent_s", "ratio")


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
        before = os.times()[:4]
        value = function()
        seconds.append(sum(os.times()[:4]) - sum(before))
    return value, min(seconds)


def row(benchmark, case, ours_s, opponent, opponent_s):
    """One comparison, as a dictionary of the columns of `results.csv`."""
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = f"{os.cpu_count()}-core {platform.machine()} CPU"
    numbers = f"{ours_s:.4g}", opponent, f"{opponent_s:.4g}", f"{opponent_s / ours_s:.4g}"
    return dict(zip(COLUMNS, (date, machine, benchmark, case, *numbers), strict=True))


def append(rows):
    """Add comparisons to `results.csv` and print them."""
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)
    for line in rows:
        print("{ratio:>8} x  {opponent} {opponent_s} s, ours {ours_s} s: {case}".format(**line))
