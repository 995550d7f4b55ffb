"""Faults anywhere in a run: nothing wrong is reported fresh, nothing finished is lost, one run later all is well."""

import contextlib
import ctypes
import json
import os
import random
import shutil
import subprocess
import sys
import time

import psutil
import pytest
from filelock import FileLock
from miniature import begun, build, gone, lines, wait_for

from lib import artefacts

RESULTS = {"download/sine", *(f"{s}/{m}/sine" for s in ("extract", "encode") for m in "ab"), "figures"}


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A compendium that has run: 2 models, 1 target, 6 results."""
    made = build(tmp_path_factory.mktemp("old"))
    for file in ("models/c.py", "datasets/noise.py", "datasets/noise.offset.csv"):
        (made.root / "lib" / file).unlink()
    made.run("--jobs", "2")
    return made


@pytest.fixture(scope="module")
def new(old, tmp_path_factory):
    """The same after its target changed, run without a disturbance: every file of every result is another."""
    made = old.copy(tmp_path_factory.mktemp("new"))
    change(made)
    assert "6 ran" in made.run("--jobs", "2")
    return made


@pytest.fixture
def made(old, tmp_path):
    """A copy of the old one, to spoil."""
    return old.copy(tmp_path)


def change(compendium):
    """Make every result stale, and different when it is made anew."""
    compendium.target("sine", offset="2.5")
    compendium.edit("notebooks/03_encode.ipynb", "n_bytes = 1", "n_bytes = 2")
    compendium.edit("notebooks/08_figures.ipynb", "{r['model']} {r['target']}", "{r['target']} {r['model']}")


def results(home):
    """Each result that has a record: what it was made from and the bytes of what it holds."""
    found = {}
    for file in home.rglob("run.json"):
        record, folder = artefacts.record(file.parent), file.parent
        made_from = [record.get(part) for part in ("code", "parameters", "inputs")]
        contents = {name: (folder / name).read_bytes() for name in record.get("outputs", ())}
        name = folder.relative_to(home).as_posix().removeprefix("data/")
        found[name] = json.dumps(made_from, sort_keys=True), contents
    return found


def leftovers(home):
    """Files and folders that only an attempt that goes on may have."""
    kinds = (".*.part.*", ".previous", ".unfinished", "run.failed.ipynb", ".verify*", "tmp*")
    return [path for kind in kinds for path in home.rglob(kind)]


def kernels(process):
    """Kernels that a run has started."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "ipykernel_launcher" in " ".join(child.cmdline())]


def kill(process):
    """Kill a run and no more: what it has started is not waited for."""
    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()


def kill_kernels(process):
    """Kill them as the system does when memory runs out; the run goes on, and is waited for."""
    with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended by itself
        for kernel in kernels(process):
            kernel.kill()
    process.communicate(timeout=120)


def test_kills_at_any_moment_cost_time_only(made, old, new):
    change(made)
    draw = random.Random(9)
    for at in range(4):
        process = made.start("--jobs", "2")
        time.sleep(draw.uniform(1, 4.5))
        if at % 2:
            kill_kernels(process)
        else:
            kill(process)
        for name, found in results(made.home).items():
            assert found in (results(old.home)[name], results(new.home)[name]), (at, name)
    made.run("--jobs", "2")
    assert results(made.home) == results(new.home)
    assert not leftovers(made.home)


# In a name space of its own, so that neither a password nor a trace on the machine is needed. The home is a disk of
# 4 MB, filled up but for some blocks of 4096 bytes; the last run finds it with room again.
FULL = """
mount -t tmpfs -o size=4m,mode=700 none "$COMPENDIUM_HOME"
cp -a "$OLD/." "$COMPENDIUM_HOME"
for blocks in $BLOCKS; do
    cat /dev/zero > "$COMPENDIUM_HOME/filler" 2> /dev/null || true
    truncate -s "-$((blocks * 4096))" "$COMPENDIUM_HOME/filler"
    "$PYTHON" run_all.py --jobs 1 2>&1 || true
    rm "$COMPENDIUM_HOME/filler"
    cp -a "$COMPENDIUM_HOME" "$OUT/$blocks"
done
"$PYTHON" run_all.py --jobs 2
cp -a "$COMPENDIUM_HOME" "$OUT/end"
"""


def spaces():
    """Whether a disk can be mounted here without harm."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return (
        shutil.which("unshare") and not subprocess.run(command, capture_output=True, check=False).returncode
    )


@pytest.mark.skipif(not spaces(), reason="no disk can be mounted here, not even in a name space")
def test_full_disk_costs_nothing_that_was_finished(made, old, new, tmp_path):
    change(made)
    names = {"OLD": str(old.home), "OUT": str(tmp_path / "out"), "PYTHON": sys.executable, "BLOCKS": "0 3 7"}
    (tmp_path / "out").mkdir()
    shutil.rmtree(made.home)
    made.home.mkdir()
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-euc", FULL],
        cwd=made.root, env=made.environment() | names, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("No space left on device") >= 2, done.stdout
    for blocks in names["BLOCKS"].split():
        home = tmp_path / "out" / blocks
        there = results(home)
        assert set(there) == RESULTS, (blocks, done.stdout)
        for name, found in there.items():
            assert found in (results(old.home)[name], results(new.home)[name]), (blocks, name)
    assert results(tmp_path / "out" / "end") == results(new.home)
    assert not leftovers(tmp_path / "out" / "end")


def ordinary():
    """In a child about to run a program: give up the right of root to write what is read-only."""
    if os.geteuid() == 0:
        drop, override = 24, 1  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE: linux/prctl.h, linux/capability.h
        if ctypes.CDLL(None, use_errno=True).prctl(drop, override, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "cannot become ordinary")


def held(folder):
    """Whether a read-only folder keeps an ordinary process from writing."""
    try:
        command = [sys.executable, "-c", f"open({str(folder / 'x')!r}, 'w')"]
        done = subprocess.run(command, preexec_fn=ordinary, capture_output=True, check=False)
    except (AttributeError, OSError, subprocess.SubprocessError):
        return False
    (folder / "x").unlink(missing_ok=True)
    return done.returncode != 0


def test_read_only_folders_are_named_and_keep_what_they_hold(made, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    if not held(locked):
        pytest.skip("nothing is read-only to this user")
    before = results(made.home)
    shut = [made.folder("encode", "a", "sine"), made.folder("figures")]
    for folder in shut:
        folder.chmod(0o555)
    said = made.run("figures", "--set", "bars=False", status=1, preexec_fn=ordinary)
    assert f"failed 08_figures: PermissionError: [Errno 13] Permission denied: '{shut[1]}" in said
    made.edit("lib/ridge.py", "slope=2.0", "slope=4.0")
    said = made.run("--jobs", "2", status=1, preexec_fn=ordinary)
    assert f"failed 03_encode a sine: PermissionError: [Errno 13] Permission denied: '{shut[0]}" in said
    assert set(lines(said, "ran")) == {"encode/b/sine"}
    after = results(made.home)
    for name in before.keys() - {"encode/b/sine"}:
        assert after[name] == before[name], name
    for folder in shut:
        folder.chmod(0o755)
    folders = [made.home, *(path for path in made.home.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    # Without a place to write: what is fresh is fresh, and each job that is not says where it could not write.
    assert "2 of 6 jobs to run" in made.run("--dry-run", preexec_fn=ordinary)
    said = made.run("extract", "--set", "scale=3.0", status=1, preexec_fn=ordinary)
    for model in "ab":
        place = made.folder("extract", model, "sine")
        assert (
            f"failed 02_extract {model} sine: PermissionError: [Errno 13] Permission denied: '{place}" in said
        )
    assert results(made.home) == after
    for folder in folders:
        folder.chmod(0o755)
    made.run("--jobs", "2")
    assert not leftovers(made.home)


def flip(path):
    """Turn over one bit of a file, of a digit if it has one; neither its size nor its times tell."""
    status, content = path.stat(), bytearray(path.read_bytes())
    digits = [at for at, byte in enumerate(content) if chr(byte).isdecimal()]
    content[digits[0] if digits else len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_one_bit_turned_over_in_any_output_is_noticed_and_named(made):
    outputs = {
        name: sorted(artefacts.record(made.home / ("" if name == "figures" else "data") / name)["outputs"])
        for name in RESULTS
    }
    for name, files in outputs.items():
        for file in files:
            flip(made.home / ("" if name == "figures" else "data") / name / file)
    stale = lines(made.run("--dry-run"), "stale")
    assert stale == {
        name: ", ".join(f"output {file} changed" for file in files) for name, files in outputs.items()
    }


def test_an_input_spoilt_while_it_is_read_is_named_and_nothing_made_of_it_kept(made):
    before = results(made.home)
    process = made.start("extract", "--model", "a", "--set", "scale=2.0", "--set", "pause_s=1.5")
    begun(made, "a")
    flip(made.folder("download", "sine") / "values.json")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "RuntimeError: inputs changed while it ran: data/download/sine/values.json changed" in said
    after = results(made.home)
    assert {name for name in RESULTS if after[name] != before[name]} == {"download/sine"}
    stale = lines(made.run("--dry-run"), "stale")
    assert stale["download/sine"] == "output values.json changed"
    assert stale["extract/a/sine"] == "reads 01_download sine, which is stale"
    assert set(lines(made.run(), "ran")) == {"download/sine"}
    assert results(made.home) == before


def test_a_clock_that_jumped_changes_nothing_about_what_is_made(made, new):
    change(made)
    for place, year in ((made.root, 1980), (made.home, 2080)):
        for file in place.rglob("*"):
            os.utime(file, ((year - 1970) * 365 * 86400,) * 2)
    for file in made.home.rglob("run.json"):
        record = json.loads(file.read_text()) | {"start": "2080-01-01T00:00:00+00:00"}
        file.write_text(json.dumps(record))
    asked = ("download", "extract", "--model", "a")
    assert set(lines(made.run(*asked), "ran")) == {"download/sine", "extract/a/sine"}
    for name in ("download/sine", "extract/a/sine"):
        assert results(made.home)[name] == results(new.home)[name]
    assert "0 of 2 jobs" in made.run(*asked, "--dry-run")


def test_a_run_that_waits_for_another_says_for_which_job(made, tmp_path):
    said = tmp_path / "said"
    with FileLock(made.folder("extract", "a", "sine") / ".lock"), said.open("w") as stream:
        process = made.start("extract", "--model", "a", "--set", "scale=2.0", stdout=stream)
        wait_for(lambda: "waits     02_extract a sine (another run is making it)" in said.read_text())
        assert process.poll() is None
    process.communicate(timeout=60)
    assert set(lines(said.read_text(), "ran")) == {"extract/a/sine"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_kernel_that_outlives_its_runner_is_waited_for(made, tmp_path):
    # One call that lets no other thread of the kernel run: it does not see that its runner is gone.
    os.mkfifo(tmp_path / "pipe")
    call = f"import ctypes; ctypes.PyDLL(None).open(b'{tmp_path / 'pipe'}', 0); return 5.0"
    made.edit("lib/models/a.py", "return 1.0", call)
    asked, said = ("extract", "--model", "a"), tmp_path / "said"
    process = made.start(*asked)
    features = made.folder("extract", "a", "sine") / "features.json"
    wait_for(lambda: features.exists() and features.read_text() == "half")
    kernel = kernels(process)[0]
    time.sleep(0.5)  # into the call
    kill(process)
    with said.open("w") as stream:
        process = made.start(*asked, stdout=stream)
        wait_for(lambda: "waits     02_extract a sine (another run is making it)" in said.read_text())
        assert kernel.is_running()
        with (tmp_path / "pipe").open("w"):  # lets the call return, then and from now on
            process.communicate(timeout=60)
    assert gone(kernel.pid)  # at most a zombie
    assert set(lines(said.read_text(), "ran")) == {"extract/a/sine"}
    assert json.loads(features.read_text()) == [2.5, 7.5, 12.5, 17.5]


CLUSTER = """
from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        input()
"""


def test_a_run_on_a_cluster_and_one_beside_it_make_each_result_once(made, new):
    change(made)
    (made.root / "cluster.py").write_text(CLUSTER, encoding="utf-8")
    cluster = made.start(file="cluster.py", stderr=subprocess.DEVNULL)
    try:
        address = cluster.stdout.readline().strip()
        both = [made.start("--scheduler", address), made.start("--jobs", "2", "--model", "a")]
        said = [process.communicate(timeout=120)[0] for process in both]
    finally:
        cluster.communicate("\n", timeout=30)
    assert [process.returncode for process in both] == [0, 0], said
    ran = sorted(name for text in said for name in lines(text, "ran"))
    assert ran == sorted(RESULTS), said
    assert results(made.home) == results(new.home)
    assert not leftovers(made.home)


def test_interrupted_twice_in_a_row_the_last_result_is_still_there(made):
    before = results(made.home)
    for scale in ("2.0", "3.0"):
        process = made.start("extract", "--model", "a", "--set", f"scale={scale}", "--set", "pause_s=60.0")
        begun(made, "a")
        kill(process)
    assert "extract/a/sine" not in results(made.home)
    assert "0 ran, 2 fresh" in made.run("extract", "--model", "a")
    assert results(made.home) == before
