"""What a killed process has completed is taken over; what is torn or of something else is not."""

import json

import h5py
import numpy as np
import pytest

from lib import artefacts, partial

IDENTITY = {"model": "a", "layers": ["x", "y"]}
ROWS = np.arange(24, dtype=np.float32).reshape(8, 3)


def _lay_out(path):
    with h5py.File(path, "w") as file:
        for name in "xy":
            file.create_dataset(name, (8, 3), "f4", chunks=(2, 3), dcpl=partial.reserved())


def _begin(path, n_batches=2, identity=IDENTITY):
    """Write some batches and be interrupted."""

    def interrupted():
        with partial.filling(path, identity, _lay_out) as part:
            for start in range(part.done, 2 * n_batches, 2):
                part.write({"x": ROWS[start : start + 2], "y": -ROWS[start : start + 2]}, {"at": start})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


def _finish(path, identity=IDENTITY):
    """Complete the file; how many rows were there already."""
    with partial.filling(path, identity, _lay_out) as part:
        done = part.done
        assert [note["at"] for note in part.notes] == list(range(0, done, 2))
        for start in range(done, 8, 2):
            part.write({"x": ROWS[start : start + 2], "y": -ROWS[start : start + 2]}, {"at": start})
        part.complete(path, {"whole": 1})
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["x"], ROWS)
        np.testing.assert_array_equal(file["y"], -ROWS)
        assert file.attrs["whole"] == 1
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    return done


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "features.nc"


def _log(path):
    return path.with_name(".partial.features.nc.log")


def test_nothing_left_is_a_fresh_start(path):
    assert partial.size(path) == 0
    assert _finish(path) == 0


@pytest.mark.parametrize("n_batches", [0, 1, 3, 4])
def test_interrupted_filling_is_gone_on_with(n_batches, path):
    _begin(path, n_batches)
    assert not path.exists()
    assert partial.size(path) > 0
    artefacts.sweep(path.parent)  # as the runner does before each run
    assert _finish(path) == 2 * n_batches


def test_interrupted_twice(path):
    _begin(path, 1)
    _begin(path, 3)
    assert _finish(path) == 6


def test_what_was_begun_from_something_else_is_thrown_away(path):
    _begin(path)
    assert _finish(path, IDENTITY | {"model": "b"}) == 0


@pytest.mark.parametrize("torn", ["last", "first", "both"])
def test_batch_whose_numbers_are_not_as_written_is_not_trusted(torn, path):
    _begin(path, 3)
    with h5py.File(path.with_name(".partial.features.nc"), "r+") as file:
        if torn in ("last", "both"):
            file["y"][5, 1] += 1
        if torn in ("first", "both"):
            file["x"][0] = 0, 0, 0
    assert _finish(path) == {"last": 4, "first": 0, "both": 0}[torn]


def test_torn_log_counts_up_to_the_tear(path):
    _begin(path, 3)
    whole = _log(path).read_bytes()
    _log(path).write_bytes(whole[:-1])  # all but the last line's end
    assert _finish(path) == 4
    _begin(path, 3)
    lines = _log(path).read_text().splitlines(keepends=True)
    _log(path).write_text("".join(lines[:2]) + '{"start": 2, "st')
    _begin(path, 3)
    assert len(_log(path).read_text().splitlines()) == 4
    assert _finish(path) == 6


@pytest.mark.parametrize(
    "damage", ["no log", "empty log", "no file", "file is text", "log is bytes", "sealed"]
)
def test_damaged_remains_are_thrown_away(damage, path):
    _begin(path)
    part, log = path.with_name(".partial.features.nc"), _log(path)
    if damage == "sealed":
        with log.open("a") as file:
            file.write(json.dumps({"sealed": True}) + "\n")
    elif damage in ("no log", "no file"):
        (log if damage == "no log" else part).unlink()
    else:
        {"empty log": log, "file is text": part, "log is bytes": log}[damage].write_bytes(
            {"empty log": b"", "file is text": b"hello", "log is bytes": b"\xff\x00\n"}[damage]
        )
    assert _finish(path) == 0


def test_failure_leaves_nothing(path):
    with pytest.raises(OSError, match="full"), partial.filling(path, IDENTITY, _lay_out):
        raise OSError("disk is full")
    assert list(path.parent.iterdir()) == []
    with pytest.raises(ZeroDivisionError), partial.filling(path, IDENTITY, lambda _: 1 / 0):
        pass
    assert list(path.parent.iterdir()) == []


def test_file_that_another_process_writes_is_left_alone(path, monkeypatch):
    _begin(path)

    def locked(*_, **__):
        raise BlockingIOError("unable to lock file")

    with monkeypatch.context() as patch:
        patch.setattr(partial.h5py, "File", locked)
        with pytest.raises(RuntimeError, match="is being written by another process"):
            _finish(path)
    assert _finish(path) == 4


def test_remains_without_one_of_the_variables_are_thrown_away(path):
    _begin(path)
    with h5py.File(path.with_name(".partial.features.nc"), "r+") as file:
        del file["y"]
        file["y"] = [1, 2]
    assert _finish(path) == 0


def test_a_log_that_says_something_else_of_a_batch_is_not_trusted(path):
    _begin(path)
    with _log(path).open("a") as log:
        log.write('{"start": "none", "stop": [], "sums": {"x": 0}, "note": {}}\n')
    assert _finish(path) == 4
