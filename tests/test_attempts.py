"""The last result survives an attempt at a new one, wherever that is killed or the disk is full."""

import json
import os
import subprocess
import sys

import pytest

from lib import artefacts, attempts, provenance

DEPENDS = {"code": {"lib/a.py": "0"}, "parameters": {}, "inputs": {}}
ANEW = DEPENDS | {"parameters": {"n": 2}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A result of two files, with a note that a person put there."""
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    made = tmp_path / "data" / "x"
    made.mkdir(parents=True)
    (made / "notes.txt").write_text("mine")
    with provenance.recorded(made, DEPENDS):
        write(made, **{"a.txt": "old a", "s/b.txt": "old b", "run.ipynb": "old copy"})
    return made


def write(folder, **contents):
    """Write files; where there is no text, fail."""
    for name, text in contents.items():
        with artefacts.atomic(folder / name) as part:
            part.write_text(text)


def tree(folder):
    """Content of each file below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def fail(folder, depends, **contents):
    """An attempt that writes and then raises."""
    with pytest.raises(TypeError), provenance.recorded(folder, depends):
        write(folder, **contents, broken=None)


def test_failed_attempt_gives_the_last_result_back_as_stale_as_it_was(folder):
    before = tree(folder)
    why = provenance.changed(folder, ANEW)
    fail(folder, ANEW, **{"a.txt": "new a", "c.txt": "new c", "run.ipynb": "new copy"})
    after = tree(folder)
    assert after.pop("run.failed.ipynb") == "new copy"
    assert {name for name in after if name not in before} == {
        ".unfinished/files/a.txt", ".unfinished/files/c.txt", ".unfinished/attempt.json"
    }  # fmt: skip
    assert {name: after[name] for name in before} == before
    assert provenance.changed(folder, ANEW) == why == ["parameter n default → 2"]
    assert provenance.changed(folder, DEPENDS) == []


@pytest.mark.parametrize("same", [True, False])
def test_what_a_failed_attempt_wrote_is_there_for_one_at_the_same_only(folder, same):
    fail(folder, ANEW, **{"c.txt": "new c"})
    with provenance.recorded(folder, ANEW if same else DEPENDS):
        assert (folder / "c.txt").exists() == same
        write(folder, **{"a.txt": "new a"})
    # What is taken over is claimed, checked and removed like what was written.
    assert set(artefacts.record(folder)["outputs"]) == ({"a.txt", "c.txt"} if same else {"a.txt"})
    assert not list(folder.glob(".*"))
    assert not (folder / "run.failed.ipynb").exists()


def test_without_a_last_result_a_failure_leaves_none(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    fail(folder, DEPENDS, **{"a.txt": "a"})
    assert provenance.changed(folder, DEPENDS) == ["never finished"]
    assert set(tree(folder)) == {"notes.txt", ".unfinished/attempt.json", ".unfinished/files/a.txt"}


def test_a_file_that_an_attempt_wrote_over_is_not_taken_for_a_persons(folder):
    fail(folder, ANEW, **{"notes.txt": "written over"})
    assert not (folder / "notes.txt").exists()
    assert (folder / ".unfinished" / "files" / "notes.txt").read_text() == "written over"


def test_a_running_attempt_is_no_result_and_is_said_to_be_one(folder):
    with provenance.recorded(folder, ANEW):
        assert artefacts.record(folder) == {}
        assert not list(folder.rglob("run.json"))
        assert provenance.changed(folder, DEPENDS) == ["begun anew, not finished"]
    assert provenance.changed(folder, ANEW) == []


def test_a_note_that_cannot_be_read_costs_nothing(folder):
    before = tree(folder)
    attempts.begin(folder, ANEW)
    (folder / ".previous" / "attempt.json").write_text("{")
    attempts.restore(folder)
    assert tree(folder) == before


# In processes that are forked from one without threads: what the `at`-th change of the disk below `home` meets is a
# kill, or a disk that is full from then on (which takes no new file, but lets files be renamed and removed).
STRICKEN = """
import errno, itertools, json, os, shutil, signal, sys
from pathlib import Path

from lib import artefacts, attempts, provenance

depends, anew = json.loads(sys.argv[2])
home = Path(sys.argv[1])
source, folder = home / "data" / "x", home / "data" / "y"
MOVES, GROWS = ("os.rename", "os.remove", "os.rmdir"), ("os.mkdir", "open")


def struck(body, at, how):
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    count = 0

    def strike(event, arguments):
        nonlocal count
        # Folders of rmtree are named relative to a descriptor; here nothing else is changed.
        writes = event in (*MOVES, "os.mkdir") or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if not writes:
            return
        count += 1
        if how == "kill" and count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "full" and count >= at and event in GROWS:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sys.addaudithook(strike)
    try:
        body()
    except OSError as error:
        os._exit(error.errno)
    os._exit(0)


def again():
    with provenance.recorded(folder, anew):
        for name, text in {"a.txt": "new a", "c.txt": "new c", "t/d.txt": "new d", "run.ipynb": "new"}.items():
            if name == "c.txt" and (folder / name).exists():
                continue
            with artefacts.atomic(folder / name) as part:
                part.write_text(text)


def tree():
    found = {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}
    return {name: text for name, text in found.items() if not name.startswith(".unfinished")}


def same(found):
    found = dict(found)
    record = json.loads(found.pop("run.json"))
    return found, record["outputs"], record["parameters"]


def reset():
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)


def sound(where):
    '''What has a record is what it says, and a person's file is untouched.'''
    assert (folder / "notes.txt").read_text() == "mine", where
    made = artefacts.record(folder)
    if made:
        assert provenance.digests(folder, made["outputs"]) == made["outputs"], where
        texts = {name: (folder / name).read_text() for name in made["outputs"]}
        fresh = not provenance.changed(folder, anew)
        assert {text.split()[0] for text in texts.values()} == {"new" if fresh else "old"}, (where, texts)


reset()
old = tree()
assert struck(again, 0, "") == 0
new, n_strikes = same(tree()), {"kill": 0, "full": 0}
for how in n_strikes:
    for at in itertools.count(1):
        reset()
        status = struck(again, at, how)
        sound((how, at))
        if status == 0:
            break
        n_strikes[how] += 1
        assert how == "kill" or status == errno.ENOSPC << 8, status
        stricken = folder.with_name("z")
        shutil.rmtree(stricken, ignore_errors=True)
        shutil.copytree(folder, stricken)
        for second in itertools.count(1) if how == "kill" and at % 3 == 0 else (0,):
            # Whoever puts the last result back may be killed as well.
            shutil.rmtree(folder)
            shutil.copytree(stricken, folder)
            status = struck(lambda: attempts.restore(folder), second, how if second else "")
            sound((how, at, second))
            attempts.restore(folder)
            found = tree()
            found.pop("run.failed.ipynb", None)
            assert found == old or same(found) == new, (how, at, second, found)
            if status == 0:
                break
        assert struck(again, 0, "") == 0
        assert same(tree()) == new, (how, at, tree())
        assert not list(folder.rglob(".*")), list(folder.rglob(".*"))
print(json.dumps(n_strikes))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_whatever_moment_is_struck_old_or_new_is_whole(folder):
    fail(folder, ANEW, **{"c.txt": "new c"})  # which the next attempt takes over
    command = [sys.executable, "-c", STRICKEN, str(folder.parents[1]), json.dumps([DEPENDS, ANEW])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=artefacts.ROOT, check=False)
    assert done.returncode == 0, done.stderr
    strikes = json.loads(done.stdout)
    assert strikes["kill"] > 20
    assert strikes["full"] > 5
