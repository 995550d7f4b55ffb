"""HDF5 files are read with care, and damage is told with file, data set and byte."""

import io
import re

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib import hdf5


@pytest.fixture
def path(tmp_path):
    """A file with a contiguous, a compressed and a checked data set."""
    noise = np.random.default_rng(0).normal(size=(40, 30)).round(2)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["plain"] = noise
        file.create_dataset("group/packed", data=noise, chunks=(10, 10), compression="gzip")
        file.create_dataset("checked", data=noise, chunks=(20, 30), fletcher32=True)
        file["text"] = ["a", "b"]
        file["text"].attrs["note"] = "x"
    return tmp_path / "a.h5"


def test_files_are_opened_for_reading(path):
    for source in (path, str(path), io.BytesIO(path.read_bytes())):
        with hdf5.opened(source) as file:
            assert file.mode == "r"
            np.testing.assert_array_equal(file["plain"][()], hdf5.values(file["group/packed"]))
        assert not file


@pytest.mark.parametrize("missing", [1, 100, 5000])
def test_a_truncated_file_is_told_with_both_lengths(path, missing):
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-missing])
    message = rf"{path} is truncated at byte {size - missing}; it should have {size} bytes"
    with pytest.raises(ValueError, match=message), hdf5.opened(path):
        pass
    with (
        pytest.raises(ValueError, match=rf"a stream.* truncated at byte {size - missing}"),
        hdf5.opened(io.BytesIO(path.read_bytes())),
    ):
        pass


@pytest.mark.parametrize("name", ["group/packed", "checked"])
@pytest.mark.parametrize("chunk", [0, 1])
def test_a_damaged_chunk_is_told_with_data_set_and_byte(path, name, chunk):
    with h5py.File(path) as file:
        place = file[name].id.get_chunk_info(chunk)
    content = bytearray(path.read_bytes())
    content[place.byte_offset + place.size // 2] ^= 0xFF
    path.write_bytes(content)
    message = (
        rf"{path} is damaged: data set /{name}, chunk at byte {place.byte_offset} \({place.size} bytes\)"
    )
    with pytest.raises(ValueError, match=message), hdf5.opened(path) as file:
        file[name][()]
    with hdf5.opened(path) as file:
        file["plain"][()]  # what is whole can be read


def test_other_errors_pass_unchanged(path):
    with pytest.raises(KeyError, match="nothing"), hdf5.opened(path) as file:
        file["nothing"]
    with pytest.raises(ValueError, match=r"^mine$"), hdf5.opened(path):
        raise ValueError("mine")
    with pytest.raises(ZeroDivisionError), hdf5.opened(path):
        1 / 0  # noqa: B018


def test_only_errors_of_hdf5_make_it_search_for_damage(path, monkeypatch):
    monkeypatch.setattr(hdf5, "_damage", lambda _: "found")
    with pytest.raises(ValueError, match=r"^mine$"), hdf5.opened(path):
        raise ValueError("mine")
    with pytest.raises(ValueError, match="is damaged: found"), hdf5.opened(path) as file:
        file["nothing"]


def test_what_is_not_there_or_no_hdf5_is_told(tmp_path):
    with pytest.raises(FileNotFoundError), hdf5.opened(tmp_path / "x"):
        pass
    for content in (b"", b"hello", b"\x89HDF\r\n\x1a\n"):
        (tmp_path / "x").write_bytes(content)
        message = rf"x \({len(content)} bytes\) is not a readable HDF5 file"
        with pytest.raises(ValueError, match=message), hdf5.opened(tmp_path / "x"):
            pass


def linked(file, other):
    file["a/out"] = h5py.ExternalLink(str(other), "/secret")


def stored_outside(file, other):
    file.create_dataset("out", (3,), "u1", external=[(str(other), 0, 3)])


def virtual(file, other):
    layout = h5py.VirtualLayout((3,), "u1")
    layout[:] = h5py.VirtualSource(str(other), "secret", (3,))
    file.create_virtual_dataset("out", layout)


@pytest.mark.parametrize("make", [linked, stored_outside, virtual])
def test_other_files_are_not_opened(make, tmp_path):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.arange(3, dtype="u1")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file, other)
    message = r"a.h5 is refused: (a/)?out lies in another file"
    with pytest.raises(ValueError, match=message), hdf5.opened(tmp_path / "a.h5"):
        pass


def test_inner_links_are_followed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["b"] = [1, 2]
        file["soft"], file["hard"], file["nowhere"] = h5py.SoftLink("/b"), file["b"], h5py.SoftLink("/c")
    with hdf5.opened(tmp_path / "a.h5") as file:
        assert file["soft"][1] == file["hard"][1] == 2


def test_sizes_that_cannot_be_true_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("bomb", (10**7, 10**7), "f8", chunks=(1000, 1000), compression="gzip")
        file.create_dataset("zeros", (1000, 1000), "f8", chunks=(1000, 1000), compression="gzip")
        file["empty"] = h5py.Empty("f8")
    with hdf5.opened(tmp_path / "a.h5") as file:
        assert not hdf5.values(file["zeros"]).any()
        assert isinstance(hdf5.values(file["empty"]), h5py.Empty)
        with pytest.raises(
            ValueError, match=r"a.h5, data set /zeros, declares 8000000 bytes.* allowed are 100$"
        ):
            hdf5.values(file["zeros"], limit_bytes=100)
        with pytest.raises(
            ValueError, match=r"a.h5, data set /bomb, declares 800000000000000 bytes but stores 0;"
        ):
            hdf5.values(file["bomb"])
    message = r"a.h5 is refused: data set /bomb declares 800000000000000 bytes but stores 0;"
    with pytest.raises(ValueError, match=message), hdf5.opened(tmp_path / "a.h5", whole=True):
        pass


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4), st.integers(0, 10**6))
def test_no_change_raises_anything_else(path, changes, end):
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    changed = path.with_name("changed.h5")
    changed.write_bytes(content[: end % len(content)] if end % 3 == 0 else content)
    message = ""
    try:
        with hdf5.opened(changed) as file:
            file.visititems(lambda _, item: hdf5.values(item) if isinstance(item, h5py.Dataset) else None)
    except ValueError as error:
        message = str(error)
    assert re.match(f"$|{re.escape(str(changed))}", message)


# Files that end their reader


def test_a_first_reading_passes_whole_files_and_those_of_other_kinds(path, tmp_path):
    hdf5.tried(path)
    (tmp_path / "a.csv").write_text("stimulus\n")
    hdf5.tried(tmp_path / "a.csv")
    behind = tmp_path / "behind.mat"  # as MATLAB writes them, behind 512 bytes of its own
    with h5py.File(behind, "w", userblock_size=512) as file:
        file["x"] = [1.0]
    hdf5.tried(behind)
    with pytest.raises(FileNotFoundError):
        hdf5.tried(tmp_path / "nothing.h5")


def test_a_first_reading_reads_everything_in_a_process_of_its_own(path, monkeypatch):
    hdf5.walked(path)
    told = "import sys; from lib import hdf5; was = hdf5._chunk; seen = []\n"
    told += "hdf5._chunk = lambda item: seen.append(item.name) or was(item)\n"
    told += "hdf5.walked(sys.argv[1]); sys.exit(40 + len(seen))"
    monkeypatch.setattr(hdf5, "TRIAL", told)
    with pytest.raises(ValueError, match="exit status 44"):  # four data sets
        hdf5.tried(path)


def test_damage_that_is_told_passes_to_who_reads(path):
    with h5py.File(path) as file:
        place = file["checked"].id.get_chunk_info(1)
    content = bytearray(path.read_bytes())
    content[place.byte_offset] ^= 0xFF
    path.write_bytes(content)
    hdf5.tried(path)
    path.write_bytes(content[:-10])
    hdf5.tried(path)


def test_files_that_end_their_reader_are_refused(path, monkeypatch):
    monkeypatch.setattr(hdf5, "TRIAL", "import os; os.abort()")
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} is damaged: the HDF5 library dies of it"):
        hdf5.tried(path)
    monkeypatch.setattr(hdf5, "TRIAL", "import time; time.sleep(60)")
    monkeypatch.setattr(hdf5, "TRIAL_S", 0.2)
    with pytest.raises(ValueError, match="has not read it in 0 s"):
        hdf5.tried(path)
