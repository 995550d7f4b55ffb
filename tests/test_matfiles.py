"""MATLAB files of both versions hold what was meant, and damage is told with file, variable and byte."""

import io
import os
import re
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import archives, matfiles, matlab5, matlab73

FEATURES = np.arange(30, dtype="f4").reshape(1, 5, 3, 2)


def cells(*values):
    made = np.empty((1, len(values)), object)
    for place, value in enumerate(values):
        made[0, place] = value
    return made


CONTENT = {
    "feat": FEATURES,
    "double": np.array([[1.5, np.nan, -np.inf]]),
    "whole": np.arange(6, dtype="i2").reshape(2, 3),
    "truth": np.array([[True], [False]]),
    "complex": np.array([[1 + 2j, 3]]),
    "text": "héllo",
    "rows": np.array(["ab ", "cde"]),
    "nothing": "",
    "empty": np.empty((0, 3)),
    "cells": cells("abc", np.arange(3.0)[None], cells("deep")),
    "one": {"a": np.array([[1.0]]), "b": {"c": "inner"}},
    "several": np.array([[(1.0, "x"), (2.0, "y")]], [("n", object), ("t", object)]),
    "sparse": scipy.sparse.csc_array(np.array([[0, 2.5, 0], [1, 0, 0]])),
}


def version_5(content=None, **options):
    """A file of version 5, as SciPy writes it."""
    stream = io.BytesIO()
    scipy.io.savemat(stream, CONTENT if content is None else content, **options)
    return stream.getvalue()


def same(found, expected):
    """Assert that a value is what SciPy's reader makes of it, in plain types."""
    if hasattr(expected, "_fieldnames"):
        assert list(found) == expected._fieldnames
        for name in found:
            same(found[name], getattr(expected, name))
    elif isinstance(found, dict):
        same(found, expected.item())
    elif isinstance(found, str):
        assert found == ("" if not expected.size else expected.item())
    elif isinstance(found, list):
        assert found == expected.tolist()
    elif scipy.sparse.issparse(found):
        np.testing.assert_array_equal(found.toarray(), expected.toarray())
    elif found.dtype == object:
        assert found.shape == expected.shape
        for one, other in zip(found.ravel(), expected.ravel(), strict=True):
            same(one, other)
    else:
        assert found.dtype in (bool, expected.dtype.newbyteorder("="))  # SciPy gives truths as numbers
        np.testing.assert_array_equal(found, expected)


def oracle(source):
    """A file of version 5 as SciPy reads it."""
    loaded = scipy.io.loadmat(source, struct_as_record=False, spmatrix=False)
    return {name: value for name, value in loaded.items() if not name.startswith("__")}


@pytest.mark.parametrize("compressed", [False, True])
def test_version_5_holds_what_was_written(compressed, tmp_path):
    path = tmp_path / "a.mat"
    path.write_bytes(version_5(do_compression=compressed))
    for source in (path, str(path), io.BytesIO(path.read_bytes())):
        found = matfiles.read(source)
        assert list(found) == list(CONTENT)
        np.testing.assert_array_equal(found["feat"], FEATURES)
        assert found["feat"].dtype == np.float32
        assert (found["text"], found["rows"], found["nothing"]) == ("héllo", ["ab ", "cde"], "")
        assert found["one"]["b"] == {"c": "inner"}
        assert [s["t"] for s in found["several"].ravel()] == ["x", "y"]
        assert found["cells"].shape == (1, 3)
        assert found["cells"][0, 2][0, 0] == "deep"
        np.testing.assert_array_equal(found["sparse"].toarray(), CONTENT["sparse"].toarray())
        for name, value in oracle(path).items():
            same(found[name], value)


def test_files_written_by_matlab_are_read_as_scipy_reads_them():
    """SciPy brings files of many versions of MATLAB, with little and big end first."""
    folder = Path(scipy.io.__file__).parent / "matlab" / "tests" / "data"
    paths = sorted(p for p in folder.glob("test*.mat") if re.search(r"_(5|6|7)[._]", p.name))
    if not paths:
        pytest.skip("this SciPy was installed without its test data")
    for path in paths:
        if any(word in path.name for word in ("hdf5", "func", "matlabstring")):  # the last two hold objects
            continue
        for name, value in scipy.io.loadmat(path, struct_as_record=False, spmatrix=False).items():
            if not name.startswith("__"):
                loosely(matfiles.variable(path, name), value)
    assert matfiles.read(folder / "testhdf5_7.4_GLNX86.mat")["testdouble"].shape == (1, 9)
    function = folder / "testfunc_7.4_GLNX86.mat"
    assert matfiles.read(function) == {}
    with pytest.raises(ValueError, match="'testfunc' is a function or object of MATLAB"):
        matfiles.variable(function, "testfunc")


def loosely(found, expected):
    """As `same`; but SciPy leaves numbers as they are stored, here they have the type that MATLAB gave them."""
    if isinstance(found, np.ndarray) and found.dtype != object:
        np.testing.assert_array_equal(found, expected)
    elif isinstance(found, dict) and hasattr(expected, "_fieldnames"):
        for name in found:
            loosely(found[name], getattr(expected, name))
    elif isinstance(found, dict):
        loosely(found, expected.item())
    elif isinstance(found, np.ndarray):
        for one, other in zip(found.ravel(), expected.ravel(), strict=True):
            loosely(one, other)
    else:
        same(found, expected)


@pytest.mark.mirror
def test_real_files_are_read_as_scipy_reads_them():
    if not os.environ.get("DATA_MIRROR"):
        pytest.skip("DATA_MIRROR is not set: the real files cannot be read")
    paths = sorted(Path(os.environ["DATA_MIRROR"]).rglob("*.mat"))
    assert len(paths) >= 30
    for path in paths:
        for name, value in oracle(path).items():
            loosely(matfiles.variable(path, name), value)


# Version 7.3


def written(file, name, value, *, kind=None, shape=None, **attributes):
    """A data set as MATLAB, or Python through hdf5storage, stores it: axes reversed where there is a class."""
    value = np.asarray(value)
    item = file.create_dataset(name, data=value if kind is None else value.T)
    if kind is not None:
        item.attrs["MATLAB_class"] = np.bytes_(kind)
    if shape is not None:
        item.attrs["Python.Shape"] = np.array(shape, "u8")
    for key, content in attributes.items():
        item.attrs[key] = content
    return item


def codes(text):
    """A row of characters."""
    return np.frombuffer(text.encode("utf-16-le"), "u2")[None]


@pytest.fixture
def recent(tmp_path):
    """A file of version 7.3 with all that is known of the format."""
    path = tmp_path / "b.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")
        written(file, "feat", FEATURES, kind="single", shape=FEATURES.shape)
        written(file, "vector", np.arange(4.0)[:, None], kind="double", shape=(4,))
        written(file, "scalar", [[2.5]], kind="double", shape=())
        written(file, "julia", FEATURES)
        written(file, "text", codes("héllo"), kind="char", MATLAB_int_decode=2)
        written(file, "text of python", codes("héllo").T, kind="char", shape=(), MATLAB_int_decode=2)
        written(file, "texts of python", codes("ab\0cde").T, kind="char", shape=(2,), MATLAB_int_decode=2)
        written(file, "rows", np.vstack([codes("ab"), codes("cd")]), kind="char", MATLAB_int_decode=2)
        written(file, "truth", np.array([[1, 0]], "u1"), kind="logical", MATLAB_int_decode=1)
        written(file, "none", np.array([0, 3], "u8"), kind="double", MATLAB_empty=1)
        file["complex"] = np.array([[(1.0, 2.0)], [(3.0, 0.0)]], [("real", "f8"), ("imag", "f8")])
        file["complex"].attrs["MATLAB_class"] = np.bytes_("double")
        inner = [written(refs, "a", codes("abc"), kind="char"), written(refs, "b", [[1.0, 2]], kind="double")]
        cell = file.create_dataset("cell", (2, 1), h5py.ref_dtype)
        cell[:, 0] = [item.ref for item in inner]
        cell.attrs["MATLAB_class"] = np.bytes_("cell")
        file.create_group("struct").attrs["MATLAB_class"] = np.bytes_("struct")
        written(file, "struct/k", [[1.0, 2], [3, 4]], kind="double")
        matrix = scipy.sparse.csc_array(np.array([[0, 2.5, 0], [1, 0, 0]]))
        group = file.create_group("sparse")
        group.attrs["MATLAB_class"], group.attrs["MATLAB_sparse"] = np.bytes_("double"), np.uint64(2)
        group["ir"], group["jc"], group["data"] = (
            matrix.indices.astype("u8"),
            matrix.indptr.astype("u8"),
            matrix.data,
        )
        for name, order in (("sparse of python", "python"), ("sparse of julia", "julia")):
            sparse(file, name, order)
    content = bytearray(path.read_bytes())
    content[:128] = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    path.write_bytes(content)
    return path


FILLED = np.zeros((4, 2, 3))
FILLED[[0, 3, 3], [1, 0, 0], [2, 0, 1]] = [1.5, -2, 7]


def sparse(file, name, order):
    """A sparse array of bdpy: `W.mat` of feature decoders."""
    group = file.create_group(name)
    index, value = np.where(FILLED), FILLED[np.where(FILLED)]
    if order == "julia":
        group["__bdpy_sparse_arrray"], group["index"] = True, np.array(index)
        group["shape"], group["value"], group["background"] = np.array(FILLED.shape), value, 0
        return
    written(group, "__bdpy_sparse_arrray", np.array([[1]], "u1"), kind="logical", shape=())
    written(group, "value", value[:, None], kind="double", shape=value.shape)
    written(group, "background", [[0]], kind="int64", shape=())
    for key, parts in (
        ("index", [np.array(i)[:, None] for i in index]),
        ("shape", [[[n]] for n in FILLED.shape]),
    ):
        kept = group.create_dataset(key, (1, 3), h5py.ref_dtype)
        kept.attrs["MATLAB_class"], kept.attrs["Python.Shape"] = np.bytes_("cell"), np.array([3], "u8")
        for place, part in enumerate(parts):
            kept[0, place] = written(file["#refs#"], f"{key}{place}", part, kind="int64").ref


def test_version_73_holds_what_was_meant(recent):
    for source in (recent, io.BytesIO(recent.read_bytes())):
        found = matfiles.read(source)
        for name in ("feat", "julia"):
            assert found[name].dtype == np.float32
            np.testing.assert_array_equal(found[name], FEATURES)
        np.testing.assert_array_equal(found["vector"], np.arange(4.0))
        assert found["scalar"].shape == ()
        assert found["text"] == found["text of python"] == "héllo"
        assert found["texts of python"] == ["ab", "cde"]
        assert found["rows"] == ["ab", "cd"]
        assert found["truth"].tolist() == [[True, False]]
        assert found["none"].shape == (0, 3)
        assert found["complex"].tolist() == [[1 + 2j, 3]]
        assert found["cell"].shape == (1, 2)
        assert found["cell"][0, 0] == "abc"
        assert found["cell"][0, 1].tolist() == [[1, 2]]
        assert found["struct"]["k"].tolist() == [[1, 2], [3, 4]]
        assert found["sparse"].toarray().tolist() == [[0, 2.5, 0], [1, 0, 0]]
        np.testing.assert_array_equal(found["sparse of python"], FILLED)
        np.testing.assert_array_equal(found["sparse of julia"], FILLED)
        assert not [name for name in found if name.startswith("#")]


def test_only_a_class_of_matlab_reverses_axes(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["plain"], file["marked"] = np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3)
        file["marked"].attrs["MATLAB_class"] = np.bytes_("int64")
    found = matfiles.read(tmp_path / "a.mat")
    np.testing.assert_array_equal(found["plain"], np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(found["marked"], np.arange(6).reshape(2, 3).T)


def test_members_of_an_archive_are_read_in_place(recent, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(recent, "x/new.mat")
        archive.writestr("x/old.mat", version_5())
    for member in ("x/new.mat", "x/old.mat"):
        with archives.stream(tmp_path / "a.zip", member) as stream:
            np.testing.assert_array_equal(matfiles.variable(stream, "feat", shape=(1, None, 3, 2)), FEATURES)
        with (
            pytest.raises(ValueError, match=f"a.zip:{member} has no"),
            archives.stream(tmp_path / "a.zip", member) as stream,
        ):
            matfiles.variable(stream, "feats")


# What does not fit


@pytest.fixture(params=["5", "7.3"])
def either(request, recent):
    """A file of either version."""
    if request.param == "5":
        recent.write_bytes(version_5(do_compression=True))
    return recent


def test_some_variables_are_read(either):
    assert list(matfiles.read(either, ["text", "feat"])) == ["text", "feat"]
    assert matfiles.variable(either, "text") == "héllo"


def test_a_wrong_shape_is_told(either):
    assert matfiles.variable(either, "feat", shape=(1, None, 3, 2)).shape == FEATURES.shape
    for shape, words in (
        ((1, 5), r"\(1, 5\)"),
        ((1, 5, None, 3), r"\(1, 5, any, 3\)"),
        ((None,), r"\(any,\)"),
    ):
        message = rf"{either}: variable 'feat' has shape \(1, 5, 3, 2\) instead of {words}$"
        with pytest.raises(ValueError, match=message):
            matfiles.variable(either, "feat", shape=shape)
    with pytest.raises(ValueError, match=r"'text' has no shape \(it is str\) instead of \(1, any\)"):
        matfiles.variable(either, "text", shape=(1, None))


def test_a_missing_variable_is_told_with_the_nearest(either):
    with pytest.raises(ValueError, match=rf"{either} has no variable 'feet'; the nearest are 'feat'"):
        matfiles.variable(either, "feet")
    with pytest.raises(FileNotFoundError):
        matfiles.read(either.with_name("x.mat"))


def test_every_cut_is_told_with_its_byte(either):
    whole = either.read_bytes()
    starts = [128]  # where version 5 may end without anything missing
    if whole[512:516] != b"\x89HDF":
        while starts[-1] < len(whole):
            starts.append(starts[-1] + 8 + int.from_bytes(whole[starts[-1] + 4 : starts[-1] + 8], "little"))
    for length in {*range(0, len(whole), max(1, len(whole) // 150)), len(whole) - 1} - set(starts):
        either.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=rf"{either} .*"):
            matfiles.read(either)
    either.write_bytes(whole[:-1])
    last = starts[-2] if len(starts) > 1 else len(whole) - 1
    with pytest.raises(ValueError, match=f"at byte {last}"):
        matfiles.read(either)


def test_other_files_are_told(tmp_path):
    for content in (b"", b"hello", bytes(600), b"PK\x03\x04" * 200):
        (tmp_path / "x.mat").write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.mat.* is (empty|no MATLAB file of version 5 or 7.3)"):
            matfiles.read(tmp_path / "x.mat")


def element(kind, content):
    return np.array([kind, len(content)], "<u4").tobytes() + content + bytes(-len(content) % 8)


def matrix(kind=6, dims=(1, 2), name=b"x", parts=(), marks=0):
    """A variable of version 5 with any parts."""
    head = element(6, np.array([kind | marks, 0], "<u4").tobytes()) + element(
        5, np.array(dims, "<i4").tobytes()
    )
    return element(14, head + element(1, name) + b"".join(parts))


TWO = element(9, np.zeros(2).tobytes())
EIGHT = element(5, bytes([8, 0, 0, 0]))


def whole(*numbers):
    return element(5, np.array(numbers, "<i4").tobytes())


FORGED = {
    "too few values": matrix(dims=(1, 3), parts=[TWO]),
    "huge shape": matrix(dims=(2**31 - 1, 2**31 - 1), parts=[TWO]),
    "negative shape": matrix(dims=(-1, -2), parts=[TWO]),
    "one axis": matrix(dims=(2,), parts=[TWO]),
    "half a value": matrix(parts=[element(9, bytes(13))]),
    "text for numbers": matrix(parts=[element(16, bytes(16))]),
    "no values": matrix(),
    "huge cell": matrix(kind=1, dims=(2**20, 2**20)),
    "cell that is none": matrix(kind=1, dims=(1, 1), parts=[TWO]),
    "huge structure": matrix(kind=2, dims=(2**20, 2**20), parts=[EIGHT, element(1, b"a".ljust(8))]),
    "structures of nothing": matrix(kind=2, dims=(2**15, 2**15), parts=[EIGHT, element(1, b"")]),
    "no length of fields": matrix(kind=2, dims=(1, 1), parts=[whole(0), element(1, b"")]),
    "sparse outside": matrix(kind=5, dims=(2, 1), parts=[whole(7), whole(0, 1), element(9, bytes(8))]),
    "sparse backwards": matrix(kind=5, dims=(9, 2), parts=[whole(0), whole(0, 5, 0), element(9, bytes(8))]),
    "rows of text": matrix(kind=4, dims=(2, 3), parts=[element(4, bytes(4))]),
    "unknown class": matrix(kind=99, parts=[TWO]),
    "imaginary": matrix(marks=0x800, parts=[TWO, element(9, bytes(8))]),
    "other element": element(9, bytes(8)),
    "inner size": element(14, element(6, bytes(8)) + np.array([5, 2**31], "<u4").tobytes()),
}  # fmt: skip


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", FORGED)
def test_forged_variables_are_told_with_their_byte(name, compressed, tmp_path):
    content = FORGED[name]
    if compressed:
        packed = zlib.compress(content)
        content = np.array([15, len(packed)], "<u4").tobytes() + packed
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + content)
    message = "of what is compressed at byte 136" if compressed else ""
    with pytest.raises(ValueError, match=rf"a.mat is damaged at byte \d+.*{message}: \S"):
        matfiles.read(tmp_path / "a.mat")


def test_nesting_has_an_end():
    content = matrix(parts=[TWO])
    for _ in range(200):
        content = matrix(kind=1, dims=(1, 1), parts=[content])
    with pytest.raises(ValueError, match="nested more than 50 deep"):
        matlab5.variables(b"".ljust(126) + b"IM" + content)


def test_a_compressed_bomb_takes_no_more_than_it_says(tmp_path):
    packed = zlib.compress(matrix(dims=(1, 2), parts=[TWO]) + bytes(50_000_000))
    content = np.array([15, len(packed)], "<u4").tobytes() + packed
    (tmp_path / "a.mat").write_bytes(b"".ljust(126) + b"IM" + content)
    with pytest.raises(ValueError, match="what is compressed is damaged or cut off"):
        matfiles.read(tmp_path / "a.mat")


def test_references_in_a_circle_have_an_end(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        cell = file.create_dataset("c", (1, 1), h5py.ref_dtype)
        cell[0, 0] = cell.ref
        file.create_dataset("nothing", (1, 1), h5py.ref_dtype)
    with pytest.raises(
        ValueError, match=r"a\.mat, variable 'c' cannot be read: /c is nested more than 50 deep"
    ):
        matfiles.read(tmp_path / "a.mat", ["c"])
    with h5py.File(tmp_path / "a.mat") as file, pytest.raises(ValueError, match="/nothing refers to nothing"):
        matlab73.item(file["nothing"])


def test_a_stream_is_asked_for_no_more_than_a_piece_at_a_time():
    class Metered(io.BytesIO):
        def read(self, size=-1):
            assert 0 <= size <= 1 << 24  # so much memory is taken whether it is there or not
            return super().read(size)

    assert matfiles.read(Metered(version_5())).keys() == matfiles.read(io.BytesIO(version_5())).keys()


def test_cells_that_are_shared_come_to_an_end(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["n0"] = np.zeros(1)
        for level in range(1, 45):  # 2^44 parts
            file[f"n{level}"] = np.array([file[f"n{level - 1}"].ref] * 2, h5py.ref_dtype)
            file[f"n{level}"].attrs["MATLAB_class"] = np.bytes_("cell")
    assert matfiles.variable(tmp_path / "a.mat", "n3").shape == (2,)
    with pytest.raises(
        ValueError, match=r"a\.mat, variable 'n44' cannot be read: /n\d+ is one of more parts"
    ):
        matfiles.variable(tmp_path / "a.mat", "n44")


@pytest.mark.parametrize(
    ("shape", "message"),
    [((9, 2, 3), "10\\*\\*"), ((10**6, 10**6, 10**6), "declares shape"), ((2, 2, 3), "outside")],
)
def test_sparse_arrays_keep_to_their_shape(shape, message, recent):
    with h5py.File(recent, "r+") as file:
        file["sparse of julia/shape"][:] = shape
    if message == "10\\*\\*":
        assert matfiles.variable(recent, "sparse of julia").shape == shape
        return
    with pytest.raises(ValueError, match=f"'sparse of julia' cannot be read: .*{message}"):
        matfiles.variable(recent, "sparse of julia")


def test_a_shape_of_python_that_does_not_fit_is_told(recent):
    with h5py.File(recent, "r+") as file:
        file["feat"].attrs["Python.Shape"] = np.array([7, 7], "u8")
    with pytest.raises(
        ValueError, match=r"'feat' cannot be read: /feat has 30 values but Python.Shape \(7, 7\)"
    ):
        matfiles.variable(recent, "feat")


SEEDS = [version_5(), version_5(do_compression=True)]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=5),
    st.integers(0, 10**6),
)
def test_no_change_raises_anything_else(whole, changes, end):
    content = bytearray(whole)
    for place, value in changes:
        content[place % len(content)] = value
    message = ""
    try:
        matfiles.read(io.BytesIO(content[: end % len(content)] if end % 3 == 0 else content))
    except ValueError as error:
        message = str(error)
    assert re.match("$|a stream without a name", message)
