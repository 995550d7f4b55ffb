"""Records: what they hold, what makes them stale, and that a failure leaves none."""

import errno
from pathlib import Path

import pytest

from lib import artefacts, provenance


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    return tmp_path


def make(folder, depends, **files):
    folder.mkdir(parents=True, exist_ok=True)
    with provenance.recorded(folder, depends):
        for name, text in files.items():
            path = folder / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return folder


def overwrite(file, needs, folder=None):
    """A run that only overwrites one file."""
    with provenance.recorded(folder or file.parent, needs):
        file.write_bytes(b"2")


def depends(code=None, parameters=None, inputs=None):
    return {"code": code or {"lib/a.py": "0"}, "parameters": parameters or {}, "inputs": inputs or {}}


def test_recorded_result_is_fresh(home):
    folder = make(
        home / "data" / "x", depends(parameters={"layers": ("a", "b"), "low": 0.1}), a_txt="a", s__b_txt="b"
    )
    assert set(artefacts.record(folder)["outputs"]) == {"a.txt", "s/b.txt"}
    assert provenance.changed(folder, depends(parameters={"layers": ("a", "b"), "low": 0.1})) == []


def test_each_part_makes_stale_and_is_named(home):
    inputs = {"data/in": {"a.nc": "1", "b.nc": "2"}, "data/out": {"c.nc": "3"}}
    folder = home / "data" / "x"
    for name, files in inputs.items():
        for file in files:
            (home / name).mkdir(parents=True, exist_ok=True)
            (home / name / file).write_text(file, encoding="utf-8")
        inputs[name] = provenance.digests(home / name, files)
    first = depends({"lib/a.py": "0", "lib/b.py": "0"}, {"n": 100, "target": "t"}, inputs)
    make(folder, first, a_txt="a", b_txt="b", c_txt="c")
    (folder / "a.txt").write_text("A", encoding="utf-8")
    (folder / "b.txt").unlink()
    now = depends({"lib/a.py": "1", "lib/c.py": "0"}, {"n": 300, "target": "t", "m": 1})
    now["inputs"] = {"data/in": inputs["data/in"] | {"a.nc": "other"}, "data/new": {"d.nc": "4"}}
    assert provenance.changed(folder, now) == [
        "lib/a.py changed",
        "lib/b.py gone",
        "lib/c.py added",
        "parameter m default → 1",
        "parameter n 100 → 300",
        "data/in: a.nc changed",
        "data/new added",
        "data/out gone",
        "output a.txt changed",
        "output b.txt gone",
    ]


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"code": {}}', '{"code": 1, "parameters": 1}'])
def test_folder_without_readable_record_never_finished(home, text):
    if text is not None:
        (home / "run.json").write_text(text, encoding="utf-8")
    why = "never finished" if text is None else "its record is damaged"
    assert provenance.changed(home, depends()) == [why]


def test_failed_body_leaves_the_last_result(home):
    folder = make(home / "x", depends(), a_txt="a")
    other = depends(parameters={"n": 2})
    with pytest.raises(ZeroDivisionError), provenance.recorded(folder, other):
        1 / len([name for name in ("run.json", "a.txt") if (folder / name).exists()])
    assert (folder / "a.txt").read_text() == "a"
    assert provenance.changed(folder, depends()) == []
    assert provenance.changed(folder, other) == ["parameter n default → 2"]


def test_record_that_cannot_be_written_is_not_torn(home, monkeypatch):
    write_text = Path.write_text

    def full(path, text, encoding):  # as `write_text` on a disk that fills up half way
        if not path.name.endswith("run.json"):
            return write_text(path, text, encoding=encoding)
        write_text(path, text[: len(text) // 2], encoding=encoding)
        raise OSError(errno.ENOSPC, "No space left on device")

    folder, other = make(home / "x", depends(), a_txt="a"), depends(parameters={"n": 2})
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_text", full)
        with pytest.raises(OSError, match="No space"):
            overwrite(folder / "a.txt", other)
    assert {path.name for path in folder.iterdir()} == {"a.txt", "run.json", ".unfinished"}
    assert (folder / "a.txt").read_text() == "a"
    assert provenance.changed(folder, depends()) == []
    assert provenance.changed(folder, other) == ["parameter n default → 2"]


def test_input_that_changes_meanwhile_is_an_error(home):
    (home / "data" / "in").mkdir(parents=True)
    file = home / "data" / "in" / "a.nc"
    file.write_bytes(b"1")
    needs = depends(inputs={"data/in": provenance.digests(file.parent, ["a.nc"])})
    (home / "x").mkdir()
    with pytest.raises(RuntimeError, match=r"inputs changed while it ran: data/in/a\.nc changed"):
        overwrite(file, needs, folder=home / "x")
    assert not (home / "x" / "run.json").exists()
    with pytest.raises(RuntimeError, match="data/in holds no finished result"):
        overwrite(file, depends(inputs={"data/in": {}}), folder=home / "x")


def test_only_what_the_body_wrote_is_claimed_and_later_removed(home):
    (home / "x").mkdir()
    (home / "x" / "notes.txt").write_bytes(b"mine")
    (home / "x" / ".hidden").write_bytes(b"lock")
    folder = make(home / "x", depends(), old_txt="a", run_log="not an output")
    assert set(artefacts.record(folder)["outputs"]) == {"old.txt"}
    make(folder, depends(), new_txt="b")
    assert {p.name for p in folder.iterdir()} == {"notes.txt", ".hidden", "new.txt", "run.json", "run.log"}
    assert set(artefacts.record(folder)["outputs"]) == {"new.txt"}


def test_record_cannot_remove_files_outside_its_folder(home):
    outside = home / "precious.txt"
    outside.write_bytes(b"mine")
    folder = make(home / "x", depends(), a_txt="a")
    record = artefacts.record(folder)
    artefacts.save_json(record | {"outputs": {"../precious.txt": "0"}}, folder / "run.json")
    make(folder, depends(), a_txt="a")
    assert outside.read_bytes() == b"mine"


def test_digests_leave_out_what_is_missing(home):
    (home / "a").write_bytes(b"abc")
    # SHA-256 of "abc": FIPS 180-2, appendix B.1.
    published = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert provenance.digests(home, ["a", "b"]) == {"a": published}


def test_a_file_that_another_run_sets_aside_meanwhile_is_missing(home, monkeypatch):
    def slow(path):
        path.unlink(missing_ok=True)
        return artefacts.digest(path)

    (home / "a").write_bytes(b"abc")
    monkeypatch.setattr(provenance, "digest", slow)
    assert provenance.digests(home, ["a"]) == {}


def test_surroundings_hold_no_name_of_the_machine():
    found = provenance.surroundings()
    assert set(found) == {"versions", "device", "commit", "clean"}
    assert found["versions"]["numpy"]
    assert found["device"]
    assert "UUID" not in found["device"]
