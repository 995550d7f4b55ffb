"""Pickles and `.npy` files are read as data, and nothing in them is ever run."""

import builtins
import collections
import datetime
import io
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import pickled_arrays, pickled_machine, pickled_tables, pickled_tensors, unpickle

PROTOCOLS = range(6)
RECORDS = np.array([(1, b"lh", 2.5), (-2, b"rh", np.nan)], [("subj", ">i8"), ("hemi", "S2"), ("reps", "<f4")])


def same(found, expected):
    """Assert equality of value, type, shape, and byte order, however deep."""
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        if expected.dtype.hasobject:
            for one, other in zip(found.ravel().tolist(), expected.ravel().tolist(), strict=True):
                same(one, other)
        else:
            assert found.tobytes() == expected.tobytes()
    elif isinstance(expected, dict):
        same(list(found.items()), list(expected.items()))
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    elif isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected)
    elif isinstance(expected, pd.Series):
        pd.testing.assert_series_equal(found, expected)
    elif isinstance(expected, pd.Index):
        pd.testing.assert_index_equal(found, expected, exact=True)
    else:
        assert found is expected or found == expected or found != found


# What is data comes back as it was


VALUES = {
    "plain": [None, True, False, 0, -1, 255, 65536, 2**40, -(2**70), 1.5, "text", "ünï\n'\"\\", b"\x00\xff", ()],
    "containers": {"a": [1, (2, 3), {"b": {4}}], 5: (1, 2, 3, 4), (6, "x"): frozenset("ab"), None: {}},
    "others": [bytearray(b"ab"), 1 + 2j, slice(1, None, 2), range(3, 9, 2), collections.OrderedDict(a=1, b=2)],
    "scalars": [np.float32(1.5), np.int64(-3), np.bool_(True), np.str_("ab"), np.complex64(1j), np.float64("nan")],
    "records": [RECORDS, RECORDS[0]],
    "big endian": [np.arange(5, dtype=">f8"), np.array(["ab", "c"], ">U2")],
    "no axes": [np.array(3.5), np.array("text"), np.array(None)],
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "strided": np.arange(24).reshape(4, 6)[::2, ::-3],
    "empty": [np.empty((0, 3)), np.empty(0, object), np.array("")],
    "times": [np.array(["2020-01-01"], "M8[D]"), np.array([3], "m8[25s]"), np.datetime64("2020-01-01", "ns")],
    "objects": np.array([np.arange(3), "text", None, {"k": [1]}, np.array(5.0)], object),
    "objects in columns": np.asfortranarray(np.array([["a", None, 1], [2.5, b"x", ()]], object)),
    "nested types": np.zeros(2, [("a", [("b", "f4", (2, 3)), ("c", "O")]), ("d", "S3")]),
    "types": [np.dtype("f8"), RECORDS.dtype, np.dtype({"names": ["x"], "formats": ["i2"], "offsets": [6]})],
    "shared": [RECORDS] * 3,
}  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", VALUES)
def test_data_come_back_as_they_were(name, protocol):
    written = pickle.dumps(VALUES[name], protocol)
    same(unpickle.load(io.BytesIO(written)), pickle.loads(written))  # bytes swapped where NumPy swaps them


def test_what_is_shared_stays_shared_and_cycles_close():
    rows, own = [1], []
    own.append(own)
    first, second, cycle = unpickle.load(io.BytesIO(pickle.dumps([rows, rows, own])))
    assert first is second
    assert cycle[0] is cycle


def test_arrays_can_be_written_to(tmp_path):
    path = tmp_path / "a.pkl"
    for protocol in PROTOCOLS:
        path.write_bytes(pickle.dumps(np.arange(4.0), protocol))
        unpickle.load(path)[0] = 7
    np.save(tmp_path / "a.npy", np.arange(4.0))
    unpickle.npy(tmp_path / "a.npy")[0] = 7


def test_several_pickles_in_a_row_are_read_one_by_one():
    stream = io.BytesIO(pickle.dumps([1], 4) + pickle.dumps({"a": 2}, 2))
    assert [unpickle.load(stream), unpickle.load(stream)] == [[1], {"a": 2}]


def test_text_of_python_2_is_decoded():
    written = b"\x80\x02]q\x00(U\x04caf\xe9q\x01U\x01ae."  # pickle.dumps(["caf\xe9", "a"], 2) of Python 2
    assert unpickle.load(io.BytesIO(written)) == ["café", "a"]
    assert unpickle.load(io.BytesIO(written), encoding="bytes") == [b"caf\xe9", b"a"]
    assert unpickle.load(io.BytesIO(b"(lp0\nS'caf\\xe9\\n\\''\np1\na.")) == ["café\n'"]
    with pytest.raises(ValueError, match=r"damaged at byte 6 \(SHORT_BINSTRING\).*utf"):
        unpickle.load(io.BytesIO(written), encoding="utf-8")


def python_2_array(values, *, opcode):
    """An array as Python 2 pickled it with protocol 2: names of old, content as text."""
    content = values.tobytes()
    size = len(content).to_bytes(4 if opcode == b"T" else 1, "little")
    wide = b"K\x03K\x01" if values.dtype.kind == "S" else b"J\xff\xff\xff\xff" * 2
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87R"
        b"q\x03(K\x01K" + bytes([len(values)]) + b"\x85cnumpy\ndtype\nq\x04U\x02" + values.dtype.str[1:].encode()
        + b"K\x00K\x01\x87Rq\x05(K\x03U\x01" + values.dtype.str[:1].encode() + b"NNN" + wide
        + b"K\x00tb\x89" + opcode + size + content + b"tb."
    )  # fmt: skip


@pytest.mark.parametrize(("dtype", "opcode"), [("<f8", b"U"), (">f4", b"U"), ("<f8", b"T"), ("|S3", b"T")])
def test_arrays_of_python_2_come_back(dtype, opcode):
    values = np.array([b"ab", b"\xff\xfe", b""] if dtype == "|S3" else [1.5, -2, 1e30], dtype)
    written = python_2_array(values, opcode=opcode)
    same(unpickle.load(io.BytesIO(written)), pickle.loads(written, encoding="latin1"))
    np.testing.assert_array_equal(unpickle.load(io.BytesIO(written)), values)


@pytest.mark.mirror
def test_real_pickles_come_back_as_python_reads_them():
    folder = os.environ.get("DATA_MIRROR")
    if not folder:
        pytest.skip("DATA_MIRROR is not set: the real pickles cannot be read")
    paths = sorted(Path(folder).rglob("*.pckl"))
    assert len(paths) >= 42
    for path in paths:
        with path.open("rb") as stream:
            same(unpickle.load(path), pickle.load(stream, encoding="latin1"))


# Tables


def tables():
    """Tables of all kinds that are read."""
    mixed = pd.DataFrame(
        {
            "a": [1, 2, 3],
            "b": [1.5, np.nan, 2],
            "c": ["x", "y", "z"],
            "d": [True, False, True],
            "e": [4, 5, 6],
        }
    )
    yield "mixed", mixed
    yield "object", mixed.astype({"c": object})
    yield "sliced", mixed.iloc[::2, 1:]
    yield "rows named", mixed.set_index("c").rename_axis(columns="k")
    for name in ("int8", "uint64", "float32", "float64"):
        yield name, pd.DataFrame({"a": [1.0, 2]}, index=pd.Index([5, 7], dtype=name))
    pairs = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["x", None])
    yield "two levels", pd.DataFrame({"a": range(4)}, index=pairs)
    yield "columns of numbers", pd.DataFrame(np.arange(12.0).reshape(3, 4))
    yield "columns of truth", pd.DataFrame([[1, "x"]], columns=[True, False])
    yield "columns twice", pd.DataFrame([[1, 2.5, 3]], columns=["a", "a", "b"])
    yield "categories", pd.DataFrame({"a": pd.Categorical(["u", "v", None], ["v", "u", "w"], ordered=True)})
    yield "rows of categories", pd.DataFrame({"a": [1, 2]}, index=pd.CategoricalIndex(["a", "b"]))
    moments = pd.to_datetime(["2020-01-01", None])
    yield "moments", pd.DataFrame({"t": moments, "s": pd.to_timedelta([1, 2], "s"), "u": moments})
    yield "rows of moments", pd.DataFrame({"a": [1, 2]}, index=moments)
    kinds = {"i": "Int16", "f": "Float32", "b": "boolean"}
    masked = pd.DataFrame({"i": [1, None], "f": [None, 2.5], "b": [True, None]}).astype(object).astype(kinds)
    yield "masked", masked.assign(s=pd.array(["a", None], pd.StringDtype("python")))
    yield "arrays", pd.DataFrame({"a": [np.arange(3.0), np.arange(2)], "b": [None, {"k": 1}]})
    yield "nothing", pd.DataFrame()
    yield "no rows", mixed.iloc[:0]
    yield "no columns", mixed[[]]
    yield "series", pd.Series([1.5, 2], index=list("ab"), name="s")
    yield "series of text", pd.Series(["a", None])
    yield (
        "in a dictionary",
        {"t": mixed, "s": mixed["a"], "i": mixed.columns, "n": [pd.NaT, pd.NA, pd.Timestamp("2020")]},
    )


TABLES = dict(tables())


@pytest.mark.parametrize("protocol", PROTOCOLS[2:])
@pytest.mark.parametrize("name", TABLES)
def test_tables_come_back_as_they_were(name, protocol):
    same(unpickle.load(io.BytesIO(pickle.dumps(TABLES[name], protocol)), allow="pandas"), TABLES[name])


class Name:
    """A name, whether it still exists or not."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Made:
    """What a pickle makes by calling (or by `__new__`), with a state or without."""

    def __init__(self, kind, *arguments, state=None, new=False):
        self.kind, self.arguments, self.state, self.new = kind, arguments, state, new


class Pickler(pickle._Pickler):
    """Writes any name, and those of NumPy as before version 2."""

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Name):
            self.save_name(obj.module, obj.name)
        elif isinstance(obj, Made) and id(obj) in self.memo:
            self.write(self.get(self.memo[id(obj)][0]))
        elif isinstance(obj, Made):
            self.save(obj.kind)
            self.save(obj.arguments)
            self.write(pickle.NEWOBJ if obj.new else pickle.REDUCE)
            self.memoize(obj)
            if obj.state is not None:
                self.save(obj.state)
                self.write(pickle.BUILD)
        else:
            super().save(obj, save_persistent_id)

    def save_global(self, obj, name=None):
        self.save_name(obj.__module__.replace("numpy._core", "numpy.core"), name or obj.__qualname__)

    def save_name(self, module, name):
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            module = {"builtins": "__builtin__"}.get(module, module) if self.proto < 3 else module
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())


def pickled(value, protocol=2):
    """A pickle of values, names and calls, as bytes."""
    stream = io.BytesIO()
    Pickler(stream, protocol).dump(value)
    return stream.getvalue()


def old_index(kind, **parts):
    places = {"Index": "base", "RangeIndex": "range", "MultiIndex": "multi"}
    name = Name(f"pandas.core.indexes.{places.get(kind, 'numeric')}", kind)
    return Made(Name("pandas.core.indexes.base", "_new_Index"), name, parts)


def old_table(axes, blocks, *, version):
    """A table as pandas 1.0, 1.1 (manager with a state) or 1.3 to 1.5 (manager of blocks) pickled it."""
    manager = Name("pandas.core.internals.managers", "BlockManager")
    if version < (1, 3):
        kept = {"axes": axes, "blocks": [{"values": v, "mgr_locs": p} for v, p in blocks]}
        state = (axes, [v for v, _ in blocks], [axes[0]] * len(blocks), {"0.14.1": kept})
        made = Made(manager, state=state, new=True)
    else:
        block = Name("pandas._libs.internals", "_unpickle_block")
        made = Made(manager, tuple(Made(block, v, p, 2) for v, p in blocks), axes)
    state = {"_data" if version < (1, 1) else "_mgr": made, "_typ": "dataframe", "_metadata": []}
    return Made(Name("pandas.core.frame", "DataFrame"), state=state | {"attrs": {}}, new=True)


@pytest.mark.parametrize("protocol", PROTOCOLS[2:])
@pytest.mark.parametrize("version", [(1, 0), (1, 1), (1, 5)])
@pytest.mark.parametrize("kind", ["Int64Index", "UInt64Index", "Float64Index", "Index", "RangeIndex"])
def test_tables_of_pandas_1_come_back(kind, version, protocol):
    data = {
        "Int64Index": np.array([5, 7]),
        "UInt64Index": np.array([5, 7], "u8"),
        "Index": np.array(["s1", "s2"], object),
    }
    data["Float64Index"] = np.array([0.5, 7])
    rows = {"start": 0, "stop": 2, "step": 1} if kind == "RangeIndex" else {"data": data[kind]}
    columns = old_index("Index", data=np.array(["subj", "hemi", "r"], object), name=None)
    blocks = [
        (np.array([[1, 2]]), slice(0, 1, 1)),
        (np.array([["lh", "rh"]], object), np.array([1])),
        (np.asfortranarray([[0.25, np.nan]]), slice(2, 3, 1)),
    ]
    written = pickled(
        old_table([columns, old_index(kind, name="i", **rows)], blocks, version=version), protocol
    )
    index = (
        pd.RangeIndex(2, name="i")
        if kind == "RangeIndex"
        else pd.Index(data[kind], dtype=data[kind].dtype, name="i")
    )
    expected = pd.DataFrame({"subj": [1, 2], "r": [0.25, np.nan]}, index=index)
    expected.insert(1, "hemi", pd.Series(["lh", "rh"], index=index, dtype=object))
    expected.columns = pd.Index(expected.columns, dtype=object)
    same(unpickle.load(io.BytesIO(written), allow="pandas"), expected)


@pytest.mark.parametrize(
    ("axis", "block", "message"),
    [
        (3, (np.zeros((1, 2)), slice(0, 1, 1)), "a block"),
        (2, (np.zeros((1, 2)), np.array([1])), "blocks for columns"),
        (2, (np.zeros((1, 2)), np.array([0.0])), "a block"),
        (2, ([1, 2], slice(0, 1, 1)), "list instead of values"),
    ],
)
def test_tables_whose_parts_do_not_fit_are_damaged(axis, block, message):
    axes = [
        old_index("Index", data=np.array(["a"], object)),
        old_index("RangeIndex", start=0, stop=axis, step=1),
    ]
    with pytest.raises(ValueError, match=rf"damaged at byte \d+ \(BUILD\): {message}"):
        unpickle.load(io.BytesIO(pickled(old_table(axes, [block], version=(1, 1)))), allow="pandas")


# What is not data is refused, and does nothing


class Caller:
    """Pickled, a call of anything."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile(marker):
    """Values whose pickles would make a file, by many ways."""
    command = f"touch {marker}"
    python = f"open({str(marker)!r}, 'w').close()"
    yield "system", Caller(os.system, command)
    yield "subprocess", Caller(subprocess.check_output, ["touch", str(marker)])
    yield "eval", Caller(builtins.eval, python)
    yield "exec", Caller(builtins.exec, python)
    yield "open", Caller(builtins.open, str(marker), "w")
    yield "getattr", Caller(getattr, Caller(__import__, "os"), "system")
    yield "in a list", [1, {"a": (Caller(os.system, command),)}]
    yield "as a key", {Caller(os.system, command): 1}
    yield "in an array", np.array([1, Caller(os.system, command)], object)
    yield "save", Caller(np.save, str(marker), 1)
    yield "numpy's runner", Made(Name("numpy.testing._private.utils", "runstring"), python, {})
    yield "numpy's loader", Made(Name("numpy", "load"), str(marker))
    yield "numpy's f2py", Made(Name("numpy.f2py.diagnose", "run_command"), command)
    yield "pandas' eval", Made(Name("pandas", "eval"), python)
    yield "pandas' reader", Made(Name("pandas", "read_pickle"), str(marker))
    yield "pandas' method", Made(Name("pandas.core.frame", "DataFrame.to_csv"), pd.DataFrame(), str(marker))
    yield "a dotted name", Made(Name("numpy", "ndarray.tofile"), np.arange(3), str(marker))
    yield (
        "as the type of an array",
        Made(Name("numpy.core.multiarray", "_reconstruct"), Name("os", "system"), command),
    )
    yield (
        "as an index",
        Made(Name("pandas.core.indexes.base", "_new_Index"), Name("os", "system"), {"command": command}),
    )
    yield (
        "as values",
        Made(Name("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"), Name("os", "system"), 0, None),
    )
    yield "codec", Made(Name("_codecs", "decode"), b"", "latin1")
    yield "importer", Made(Name("importlib", "import_module"), "antigravity")
    yield "partial", Made(Made(Name("functools", "partial"), Name("os", "system")), command)
    yield (
        "object",
        Made(Name("copyreg", "_reconstructor"), Name("os", "system"), Name("builtins", "object"), None),
    )


HOSTILE = [name for name, _ in hostile("x")]


@pytest.mark.parametrize(("protocol", "allow"), [(0, "pandas"), (2, "numpy"), (2, "pandas"), (4, "pandas")])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_run_nothing(name, protocol, allow, tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "hostile.pkl"
    value = dict(hostile(marker))[name]
    path.write_bytes(pickled(value, protocol))
    modules = set(sys.modules)
    with pytest.raises(
        unpickle.Unsafe, match=rf"{path}: at byte \d+ it names .*; allowed are .*numpy\.dtype"
    ):
        unpickle.load(path, allow=allow)
    assert not marker.exists()
    assert set(sys.modules) == modules


def test_the_hostile_pickle_is_hostile(tmp_path):
    """What the test above holds off does happen with Python's own reader."""
    for name in ("system", "subprocess", "eval", "in a list", "in an array"):
        marker = tmp_path / name.replace(" ", "_")
        pickle.loads(pickled(dict(hostile(marker))[name]))
        assert marker.exists()


@pytest.mark.parametrize("name", ["in an array", "system"])
def test_hostile_arrays_run_nothing(name, tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "hostile.npy"
    np.save(path, np.array([dict(hostile(marker))[name]], object), allow_pickle=True)
    with pytest.raises(unpickle.Unsafe, match=r"hostile.npy: at byte \d+ it names posix.system"):
        unpickle.npy(path)
    assert not marker.exists()


def test_names_of_pandas_need_to_be_allowed():
    with pytest.raises(unpickle.Unsafe, match="names pandas"):
        unpickle.load(io.BytesIO(pickle.dumps(TABLES["mixed"])))
    with pytest.raises(ValueError, match="allow='all' is unknown; valid are 'numpy', 'pandas'"):
        unpickle.load(io.BytesIO(), allow="all")


REFUSED = {
    "persistent": (b"Pos\n.", "PERSID asks for more than data"),
    "extension": (b"\x82\x01.", "EXT1 asks for more"),
    "out of band": (b"\x80\x05\x97.", "NEXT_BUFFER asks"),
    "instance": (b"(icollections\nOrderedDict\n.", "instance of a class of Python 2"),
    "call of a value": (b"I1\n)R.", "int is called"),
    "call of a type": (b"cnumpy\nndarray\n)R.", "numpy.ndarray is called"),
    "a type as data": (b"cnumpy\nndarray\n.", "numpy.ndarray is kept itself"),
    "a function as data": (b"]c_codecs\nencode\na.", "_codecs.encode is kept itself"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_ways_to_more_than_data_are_refused(name):
    written, message = REFUSED[name]
    with pytest.raises(unpickle.Unsafe, match=message):
        unpickle.load(io.BytesIO(written), allow="pandas")


def array(shape, dtype, content, *, names=None, fields=None, itemsize=-1, subarray=None):
    """A pickled array with any parts."""
    parts = (3, "|", subarray, names, fields, itemsize, 1, 0)
    made = Made(Name("numpy", "dtype"), dtype, False, True, state=parts)
    state = (1, shape, made, False, content)
    reconstruct = Name("numpy.core.multiarray", "_reconstruct")
    return Made(reconstruct, Name("numpy", "ndarray"), (0,), b"b", state=state)


FORGED = {
    "shape beyond content": array((10**12,), "f8", b"12345678"),
    "huge shape": array((2**40, 2**40), "f8", b""),
    "negative shape": array((-1,), "f8", b"12345678"),
    "no bytes each": array((10**15,), "V0", b""),
    "pointers from bytes": array((1,), "O8", b"12345678"),
    # NumPy's own reader believes the flags: without them, the bytes are taken for pointers to objects.
    "hidden objects": array(
        (1,), "V8", b"12345678", names=("a",), fields={"a": (np.dtype("O"), 0)}, itemsize=8
    ),
    "field outside": array(
        (1,), "V8", b"12345678", names=("a",), fields={"a": (np.dtype("f8"), 4)}, itemsize=8
    ),
    "wide element": array((1,), "f8", b"12345678", itemsize=2**30),
    "wide records": array(
        (1,), "V8", [(1,)], names=("a",), fields={"a": (np.dtype("O"), 0)}, itemsize=2**31 - 1
    ),
    "objects by the million": array((1,), "V8", [1], subarray=(np.dtype("O"), (10**9,))),
    "list of types": array((1,), "f8,f8", b"1234567812345678"),
    "a file as type": array((1,), "/etc/passwd", b"12345678"),
    "many zeros": Made(Name("builtins", "bytearray"), 10**12),
    "many zeros, unchangeable": Made(Name("builtins", "bytes"), 10**12),
    "other codec": Made(Name("_codecs", "encode"), "x", "zip"),
    "type of another array": Made(
        Name("numpy.core.multiarray", "_reconstruct"), Name("builtins", "set"), (0,), b"b"
    ),
    "scalar too short": Made(Name("numpy.core.multiarray", "scalar"), np.dtype("f8"), b"1234"),
    "wide type, no scalar": Made(Name("numpy.core.multiarray", "scalar"), np.dtype("S999999999")),
    "state of a number": Made(Name("builtins", "complex"), 1.0, state={"real": 2}),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_parts_are_damage(name):
    with pytest.raises(ValueError, match=r"a stream without a name is damaged at byte \d+ \([A-Z]+\): \S"):
        unpickle.load(io.BytesIO(pickled(FORGED[name])))


def test_the_same_bytes_do_not_fill_the_memory():
    content = b"x" * 10**6
    many = [Made(Name("builtins", "bytearray"), content) for _ in range(1000)]
    with pytest.raises(unpickle.Unsafe, match="it grows to"):
        unpickle.load(io.BytesIO(pickled(many, 4)))


def test_keys_are_not_hashed_without_end():
    value = ("x",)
    for _ in range(60):
        value = (value, value)
    with pytest.raises(unpickle.Unsafe, match="a key of more than"):
        unpickle.load(io.BytesIO(b"\x80\x02}" + pickle.dumps(value, 2)[2:-1] + b"Ns."))
    with pytest.raises(ValueError, match="tuples of tuples"):
        unpickle.load(io.BytesIO(pickled(Made(Name("builtins", "set"), [value]))))


@pytest.mark.parametrize("size", [2**31 - 1, 2**62])
def test_announced_bytes_must_be_there(size, tmp_path):
    path = tmp_path / "short.pkl"
    path.write_bytes(b"\x80\x04\x8e" + size.to_bytes(8, "little") + b"abc")
    for source in (path, io.BytesIO(path.read_bytes()), Endless(path.read_bytes())):
        with pytest.raises(
            unpickle.Truncated, match=f"is truncated: at byte 11 another {size} are announced"
        ):
            unpickle.load(source)


class Endless(io.RawIOBase):
    """A stream of unknown length."""

    def __init__(self, content):
        self.content = io.BytesIO(content)

    def readable(self):
        return True

    def read(self, size=-1):
        return self.content.read(size)

    def readline(self, size=-1):
        return self.content.readline(size)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_cut_is_told_with_file_and_byte(protocol, tmp_path):
    path = tmp_path / "cut.pkl"
    whole = pickle.dumps({"a": np.arange(3.0), "b": ["text", 1.5, 2**40]}, protocol)
    for length in range(0, len(whole), 2):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=rf"{path}.* byte \d+"):
            unpickle.load(path)


def test_garbage_is_told(tmp_path):
    for content in (
        b"",
        b"\xff\xfe",
        b"hello world",
        b"<html>",
        b"\x89HDF\r\n",
        b"PK\x03\x04",
        b"\x80\x09.",
        b".",
    ):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(ValueError, match=r"x.* byte \d+"):
            unpickle.load(tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        unpickle.load(tmp_path / "y")


def test_every_rule_is_ours_or_a_constant():
    """No name stands for a class or function of another package."""
    for table in unpickle.TABLES.values():
        for value in table.values():
            assert value is pd.NA or isinstance(value, pickled_machine.Named)
            made = getattr(value, "make", None)
            ours = {m.__name__ for m in (pickled_arrays, pickled_tables, pickled_tensors)}
            assert made is None or made is range or made.__module__ in ours


# Arrays in files of their own


ARRAYS = {
    "numbers": np.arange(12.0).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(12, dtype=">i2").reshape(3, 4)),
    "records": RECORDS,
    "text": np.array(["a", "bcd"]),
    "no axes": np.array(2.5),
    "empty": np.empty((0, 4)),
    "truth": np.array([True, False]),
    "objects": np.array([np.arange(3), "text", None, {"k": 1}], object).reshape(2, 2),
    "fortran objects": np.asfortranarray(np.array([["a", None, 1], [2.5, b"x", ()]], object)),
    "wide": np.zeros(2, [(f"field{i:05}", "f4") for i in range(5000)]),
    "records in greek": np.zeros(2, [("αβγ", "f4")]),
}


@pytest.mark.filterwarnings("ignore:Stored array in format")
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_as_they_were(name, version, tmp_path):
    stream = io.BytesIO()
    if (name == "wide" and version == (1, 0)) or (name == "records in greek" and version != (3, 0)):
        pytest.skip("NumPy cannot write this either")
    np.lib.format.write_array(stream, ARRAYS[name], version=version)
    (tmp_path / "a.npy").write_bytes(stream.getvalue())
    for source in (tmp_path / "a.npy", io.BytesIO(stream.getvalue()), Endless(stream.getvalue())):
        same(unpickle.npy(source), np.ascontiguousarray(ARRAYS[name]).reshape(ARRAYS[name].shape))
    assert unpickle.npy(tmp_path / "a.npy").flags.f_contiguous == ARRAYS[name].flags.f_contiguous


def header(text, *, version=b"\x01\x00"):
    """An `.npy` file with any header and 16 bytes."""
    return (
        b"\x93NUMPY"
        + version
        + len(text).to_bytes(2 if version == b"\x01\x00" else 4, "little")
        + text.encode()
        + bytes(16)
    )


BAD_HEADERS = {
    "no magic": (b"PK" + bytes(20), "is no .npy file"),
    "version": (header("{}", version=b"\x04\x00"), "version 1 to 3"),
    "code": (header("__import__('os').system('true')"), "header before byte"),
    "deep": (header("(" * 50000), "header before byte|header of"),
    "entries": (header("{'descr': '<f8', 'shape': (2,)}"), "instead of descr, fortran_order, shape"),
    "shape": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-2,)}"), r"shape \(-2,\)"),
    "truth": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}"), r"shape \(True,\)"),
    "type": (header("{'descr': 'nonsense', 'fortran_order': False, 'shape': (2,)}"), "damaged"),
    "too many": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}"), "truncated.*24 are announced"),
    "far too many": (header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**40}, {2**40})}}"), "truncated"),
    "no bytes": (header("{'descr': '|V0', 'fortran_order': False, 'shape': (9,)}"), "have no bytes"),
    "long header": (header(" " * 10, version=b"\x02\x00")[:8] + b"\xff" * 4, "a header of 4294967295 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_bad_headers_are_told(name, tmp_path):
    content, message = BAD_HEADERS[name]
    (tmp_path / "bad.npy").write_bytes(content)
    with pytest.raises(ValueError, match=rf"(?s)bad.npy.*({message})"):
        unpickle.npy(tmp_path / "bad.npy")


def test_object_arrays_are_what_was_announced(tmp_path):
    np.save(tmp_path / "a.npy", np.array(["a", 2], object), allow_pickle=True)
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "b.npy").write_bytes(content.replace(b"(2,)", b"(3,)"))
    with pytest.raises(ValueError, match=r"begins at byte 128 is not the announced array object \(3,\)"):
        unpickle.npy(tmp_path / "b.npy")


# Anything else


def seeds():
    yield from (pickle.dumps(list(VALUES.values()), protocol) for protocol in PROTOCOLS)
    yield from (pickle.dumps(TABLES, protocol) for protocol in (2, 5))
    yield pickled(
        old_table(
            [old_index("Index", data=np.array(["a"], object))] * 2,
            [(np.ones((1, 1)), slice(0, 1, 1))],
            version=(1, 1),
        )
    )


SEEDS = list(seeds())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(SEEDS), st.data())
def test_no_change_of_a_pickle_raises_anything_else(whole, data):
    content = changed(whole, data)
    message = told(lambda: unpickle.load(io.BytesIO(content), allow="pandas"))
    assert re.fullmatch(r"|a stream without a name.* byte \d+.*", message, re.S)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.sampled_from(["numbers", "records", "objects", "text"]), st.data())
def test_no_change_of_an_array_raises_anything_else(name, data):
    stream = io.BytesIO()
    np.save(stream, ARRAYS[name], allow_pickle=True)
    content = changed(stream.getvalue(), data)
    assert re.fullmatch(r"|a stream without a name.*", told(lambda: unpickle.npy(io.BytesIO(content))), re.S)


def told(read):
    """The message of a ValueError; "" if there was none."""
    try:
        read()
    except ValueError as error:
        return str(error)
    return ""


def changed(whole, data):
    """Content of which some bytes are others, or the end is missing."""
    content = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=5)):
        content[place] = data.draw(st.integers(0, 255))
    return bytes(content[: data.draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))])


def test_a_date_is_not_data():
    with pytest.raises(unpickle.Unsafe, match=r"names datetime\.date"):
        unpickle.load(io.BytesIO(pickle.dumps(datetime.date(2020, 1, 1))))
