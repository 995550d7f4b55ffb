"""Benchmarks in one command: rows are kept whatever fails, the latest are shown, devices are timed."""

import csv
import functools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import benchmarks
from benchmarks import command, figure
from lib.artefacts import ROOT

ALL = sorted(
    p.stem for p in (ROOT / "benchmarks").glob("[!_]*.py") if "\ndef cases(" in p.read_text(encoding="utf-8")
)


def line(case="2 voxels; found", opponent="other", ratio=2.0, benchmark="toy", **other):
    return benchmarks.row(benchmark, case, 1.0, opponent, ratio) | other


def ratios(path):
    with path.open(newline="", encoding="utf-8") as file:
        return [float(row["ratio"]) for row in csv.DictReader(file)]


# The file of results


def test_rows_are_appended_below_those_before(tmp_path, capsys):
    path = tmp_path / "results.csv"
    benchmarks.append([line(ratio=1), line(case='of "two", kinds; x', ratio=2)], path)
    before = path.read_bytes()
    benchmarks.append([line(ratio=3)], path)
    assert path.read_bytes().startswith(before)
    assert ratios(path) == [1, 2, 3]
    assert path.read_text().splitlines()[0] == "date,machine,benchmark,case,ours_s,opponent,opponent_s,ratio"
    assert 'of "two", kinds' in capsys.readouterr().out


def test_rows_before_a_failure_are_kept(tmp_path):
    def rows():
        yield line(ratio=5)
        raise MemoryError("out of it")

    with pytest.raises(MemoryError):
        benchmarks.append(rows(), tmp_path / "results.csv")
    assert ratios(tmp_path / "results.csv") == [5]


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "results.csv"
    benchmarks.append([line()], path)
    before = path.read_bytes()

    def half(self, text, **_):
        self.write_bytes(text.encode()[:-20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="No space"):
        benchmarks.append([line()], path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["results.csv"]


def test_two_that_append_at_once_lose_nothing(tmp_path):
    path = tmp_path / "results.csv"
    threads = [
        threading.Thread(target=benchmarks.append, args=([line(ratio=r) for r in range(1, 16)], path))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ratios(path)) == sorted(3 * list(range(1, 16)))


def test_another_table_is_not_appended_to(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("stimulus,file\na,b\n")
    with pytest.raises(ValueError, match="no table of benchmarks"):
        benchmarks.append([line()], path)
    assert path.read_text() == "stimulus,file\na,b\n"


# The command, on benchmarks in miniature

TOY = """
import time
import benchmarks

def cases(size="usual", device="cpu"):
    return [benchmarks.Case(f"{{n}} voxels {{size}}", {seconds}, lambda n=n: rows(n, size)) for n in {sizes}]

def rows(n, size):
    {body}
    yield benchmarks.row("{name}", f"{{n}} voxels {{size}}; wall", 1, "other", n)
"""


@pytest.fixture
def miniature(tmp_path):
    """A folder with the command and the benchmarks given: name → (sizes, what a case does first)."""

    def made(**toys):
        folder = tmp_path / "benchmarks"
        folder.mkdir()
        for name in ("__init__", "__main__", "command", "figure"):
            (folder / f"{name}.py").write_text((ROOT / "benchmarks" / f"{name}.py").read_text("utf-8"))
        for name, (sizes, body) in toys.items():
            text = TOY.format(name=name, sizes=sizes, body=body, seconds=30)
            (folder / f"{name}.py").write_text(text)
        # Its import takes as long as everything else here.
        (tmp_path / "torch.py").write_text(
            "Tensor = type('Tensor', (), {})\n\nclass cuda:\n    is_available = staticmethod(lambda: False)\n"
        )
        environment = os.environ | {"PYTHONPATH": str(ROOT), "COMPENDIUM_HOME": str(tmp_path / "home")}
        return functools.partial(
            subprocess.Popen, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    return made


def test_failures_keep_the_rows_of_others_and_are_named(tmp_path, miniature):
    start = miniature(
        abrupt=((4,), "import os; os._exit(9)"), broken=((2, 3), "1 / (n - 2)"), whole=((7,), "pass")
    )
    (tmp_path / "benchmarks" / "unfinished.py").write_text(
        "import no_such_module\n\ndef cases(*_):\n    ...\n"
    )
    process = start([sys.executable, "-m", "benchmarks"])
    said, errors = process.communicate()
    assert process.returncode == 1, errors
    assert ratios(tmp_path / "benchmarks" / "results.csv") == [3, 7]
    named = [text for text in errors.splitlines() if " failed: " in text]
    assert named == [
        "abrupt failed: exit status 9",
        "broken failed: see above",
        "unfinished failed: see above",
    ]
    assert "ZeroDivisionError" in errors
    # What it will take is said before each case, and for all of them first.
    assert said.startswith("about 2 minutes")
    assert said.index("[whole 1/1] 7 voxels usual") < said.index(" 7 x")
    assert "about 30 s" in said
    table = pd.read_csv(tmp_path / "home" / "figures" / "benchmarks.csv")
    assert table["case"].tolist() == ["3 voxels usual", "7 voxels usual"]
    assert all((tmp_path / "home" / "figures" / f"benchmarks.{e}").stat().st_size for e in ("pdf", "png"))


def test_rows_before_a_kill_are_kept(tmp_path, miniature):
    start = miniature(long=((5, 6, 8), "time.sleep(60 * (n == 8))"))
    path = tmp_path / "given.csv"
    process = start([sys.executable, "-m", "benchmarks", "--small", "--results", str(path)], process_group=0)
    ends = time.monotonic() + 60
    while not (path.exists() and len(ratios(path)) == 2) and time.monotonic() < ends:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert ratios(path) == [5, 6]
    assert not (tmp_path / "benchmarks" / "results.csv").exists()


def test_unknown_benchmarks_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match="encoding"):
        command.main(["encodin"])


# The table and the figure


@pytest.fixture
def history(tmp_path):
    path = tmp_path / "results.csv"
    rows = [
        line("10 voxels; r 0.1", ratio=20, date="2026-11-22"),
        line("10 voxels; r 0.2", ratio=10, date="2026-11-21"),  # entered later, measured earlier
        line("10 voxels; r 0.3", ratio=30, date="2026-11-21", machine="a GPU"),
        line("10 voxels; r 0.4", "another", ratio=0.5, date="2026-11-20"),
        line("5 voxels; r 0.5", ratio=7, date="2026-11-23"),
        line("10 voxels; r 0.6", ratio=99, benchmark="gone"),
        line("9 voxels", ratio=40, benchmark="free", date="2026-11-21"),
        line("9 voxels", ratio=41, benchmark="free", date="2026-11-21"),
    ]
    benchmarks.append(rows, path)
    return path


def test_table_takes_the_latest_of_what_exists(history):
    table = figure.latest(history, {"toy": {"10 voxels"}, "free": None})
    here = benchmarks.machine()
    assert table[["benchmark", "machine", "case", "opponent", "ratio"]].to_numpy().tolist() == [
        ["free", here, "9 voxels", "other", 41],
        ["toy", here, "10 voxels", "other", 20],
        ["toy", here, "10 voxels", "another", 0.5],
        ["toy", "a GPU", "10 voxels", "other", 30],
    ]
    assert table["found"].tolist() == ["", "r 0.1", "r 0.4", "r 0.3"]
    said = figure.printed(table)
    assert "20× other" in said
    assert "0.50× another" in said


def test_history_holds_no_benchmark_that_is_gone():
    existing = dict.fromkeys(p.stem for p in (ROOT / "benchmarks").glob("[!_]*.py"))
    table = figure.latest(benchmarks.RESULTS, existing)
    assert "ridge" not in set(table["benchmark"])
    assert "encoding" in set(table["benchmark"])


def test_damaged_rows_are_named(history):
    history.write_text(history.read_text() + "2026-11-24,a CPU,toy\n")
    with pytest.raises(ValueError, match="row 10"):
        figure.latest(history, {"toy": None})


def test_figure_shows_each_ratio_once(history):
    table = figure.latest(history, {"toy": {"10 voxels"}, "free": None})
    drawing = mpl.figure.Figure()
    figure.draw(table, drawing)
    assert [ax.get_title(loc="left") for ax in drawing.axes] == ["free", "toy"]
    assert {ax.get_xscale() for ax in drawing.axes} == {"log"}
    for ax, (_, rows) in zip(drawing.axes, table.groupby("benchmark"), strict=True):
        dots = [x for drawn in ax.lines if drawn.get_marker() == "o" for x in drawn.get_xdata()]
        np.testing.assert_array_equal(np.sort(dots), np.sort(rows["ratio"]))
        assert sorted(t.get_text() for t in ax.texts) == sorted(figure.times(r) for r in rows["ratio"])
    assert "a GPU, 2026-11-21" in drawing.get_supxlabel().replace("\n", " ")
    empty = mpl.figure.Figure()
    figure.draw(table[:0], empty)
    assert [text.get_text() for text in empty.texts] == ["nothing was measured yet"]


@pytest.mark.parametrize(
    ("ratio", "said"),
    [(0.874, "0.87×"), (0.999, "1.0×"), (9.99, "10×"), (2.966, "3.0×"), (38049.0, "38,000×")],
)
def test_ratios_have_two_digits(ratio, said):
    assert figure.times(ratio) == said


# Time


def test_cpu_time_counts_all_threads_and_children():
    spin = "import time\nwhile time.process_time() < 0.2: pass"
    _, seconds = benchmarks.cpu_seconds(
        lambda: subprocess.run([sys.executable, "-c", spin], check=True), repeats=1
    )
    assert seconds >= 0.19  # os.times counts children in hundredths of a second
    assert benchmarks.device_seconds(lambda: "found", "cpu")[0] == "found"


def test_a_gpu_is_timed_by_its_own_events(monkeypatch):
    import torch

    told = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            told.append("record")
            self.at = len(told)

        def elapsed_time(self, end):
            assert told[-1] == "synchronize", "the end was not reached yet"
            return 1000.0 * (end.at - self.at)

    monkeypatch.setattr(
        torch, "cuda",
        SimpleNamespace(
            Event=Event, synchronize=lambda: told.append("synchronize"), get_device_name=lambda: "a GPU",
            is_available=lambda: True,
        ),
    )  # fmt: skip
    value, seconds = benchmarks.device_seconds(lambda: told.append("work") or len(told), "cuda", repeats=2)
    once = ["synchronize", "record", "work", "record", "synchronize"]
    assert told == ["work", *once, *once]
    assert (value, seconds) == (9, 2.0)
    assert benchmarks.devices() == ["cpu", "cuda"]
    assert benchmarks.row("toy", "2 voxels", 1, "other", 3, device="cuda")["machine"] == "a GPU"


# What is compared


@pytest.mark.parametrize("name", ALL)
def test_cases_say_their_size_and_what_they_take(name):
    pytest.importorskip("himalaya", reason="peers come with the test extra")
    module = __import__(f"benchmarks.{name}", fromlist=["cases"])
    for size in benchmarks.SIZES:
        found = module.cases(size, "cpu")
        assert found
        assert len({case.name for case in found}) == len(found)
        for case in found:
            assert re.search(r"\d|one|two", case.name)
            assert ";" not in case.name
            assert 0 < case.seconds < 600
    assert sum(case.seconds for case in module.cases("small")) < 20


def test_all_usual_cases_take_at_most_forty_minutes():
    pytest.importorskip("himalaya", reason="peers come with the test extra")
    modules = [__import__(f"benchmarks.{name}", fromlist=["cases"]) for name in ALL]
    assert sum(case.seconds for module in modules for case in module.cases("usual")) < 40 * 60
    assert sum(case.seconds for module in modules for case in module.cases("full")) < 80 * 60


@pytest.mark.parametrize("name", ["encoding", "layer_weighted", "searchlight"])
def test_smallest_case_agrees_with_its_peer(name):
    module = pytest.importorskip(f"benchmarks.{name}", exc_type=ImportError)
    case = module.cases("small")[0]
    rows = list(case.compare())
    assert rows
    for row in rows:
        assert row["benchmark"] == name
        assert row["case"].split("; ")[0] == case.name
        assert float(row["ratio"]) > 0


@pytest.mark.parametrize("name", ["encoding", "decoding", "searchlight"])
def test_device_path_runs_by_torch_on_the_cpu(name):
    module = pytest.importorskip(f"benchmarks.{name}", exc_type=ImportError)
    small = module.cases("small", "cuda")[0]
    rows = small.compare.func(*(small.compare.args if name != "encoding" else (50, 10)), device="cpu")
    assert rows
    assert all(row["machine"] == benchmarks.machine() for row in rows)


def test_another_answer_is_no_comparison(monkeypatch):
    assert benchmarks.agreed("scores", 1e-12, 1e-10) == 1e-12
    for difference in (1e-9, np.nan):
        with pytest.raises(ValueError, match="scores differ"):
            benchmarks.agreed("scores", difference, 1e-10)
    searchlight = pytest.importorskip("benchmarks.searchlight", exc_type=ImportError)
    right = searchlight.ours
    monkeypatch.setattr(searchlight, "ours", lambda *a, **k: right(*a, **k) + 1e-9)
    with pytest.raises(ValueError, match="scores differ"):
        searchlight.cases("small")[0].compare()


def test_time_that_is_none_is_no_comparison():
    for ours, other in ((-0.6, 2.0), (0.0, 2.0), (1.0, float("nan"))):
        with pytest.raises(ValueError, match=r"whole: .* of bare pass: .* swallowed"):
            benchmarks.row("extraction", "whole", ours, "bare pass", other)
