"""What befalls files: bytes changed, lost or added, and whole files of the right kind with the wrong content."""

import copy
import io
import resource
import signal
import time
import zipfile
from contextlib import contextmanager

import h5py
import numpy as np
from hypothesis import strategies as st

# Sizes, counts and offsets as a header might have them, in either byte order.
EXTREMES = [
    number.to_bytes(width, order)
    for width in (2, 4, 8)
    for number in (0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1), 2 ** (8 * width) - 2, 2 ** (8 * width) - 1)
    for order in ("little", "big")
]  # fmt: skip
MOST_BYTES = 1 << 29  # that a small file may make the process grow
MOST_SECONDS = 20  # of computing that a small file may take
KINDS = ("set", "set", "flip", "insert", "delete", "repeat")

_edit = st.tuples(
    st.one_of(st.integers(0, 511), st.integers(0, 1 << 20)),
    st.sampled_from(KINDS),
    st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(EXTREMES)),
)


def _zip():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("a/b.txt", b"nothing of use")
    return stream.getvalue()


OTHERS = [
    b"",
    b"\n",
    b"\0" * 600,
    b"\xff" * 600,
    b"<!DOCTYPE html><html><head><title>404 Not Found</title></head></html>\n",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
    b'{"error": "Too many requests"}',
    b"name,value\na,1\n",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF\xff\xff\xff\xffWAVEfmt ",
    b"\x89HDF\r\n\x1a\n",
    b"\x93NUMPY\x01\x00\x06\x00{(((((",
    b"\x1f\x8b\x08\x00",
    b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM",
    b"\x80\x04N.",
    _zip(),
]


def changed(whole):
    """Strategy of what may come in place of some bytes.

    Parameters
    ----------
    whole : bytes
        A valid file.

    Returns
    -------
    strategy of bytes
        The file with bytes set, flipped, put in, taken out or repeated, or cut off; only its beginning, and noise
        after it; or another file.
    """
    edits = st.lists(_edit, min_size=1, max_size=5).map(lambda edits: _edited(whole, edits))
    cut = st.integers(0, len(whole)).map(lambda end: whole[:end])
    tail = st.tuples(st.integers(0, len(whole)), st.binary(max_size=64)).map(lambda t: whole[: t[0]] + t[1])
    both = st.tuples(edits, st.integers(0, len(whole))).map(lambda t: t[0][: t[1]])
    return st.one_of(
        edits, edits, edits, edits, cut, tail, both, st.binary(max_size=300), st.sampled_from(OTHERS)
    )


def _edited(whole, edits):
    content = bytearray(whole)
    for place, kind, value in edits:
        place %= max(len(content), 1)
        if kind == "set":
            content[place : place + len(value)] = value
        elif kind == "flip" and content:
            content[place] ^= value[0] or 1
        elif kind == "insert":
            content[place:place] = value
        elif kind == "delete":
            del content[place : place + value[0]]
        elif kind == "repeat":
            content[place:place] = content[place : place + 1 + value[0]]
    return bytes(content)


def _nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def _objects(*items):
    values = np.empty(len(items), object)
    values[:] = items
    return values


# Values that belong nowhere.
ODD = [
    *(None, True, 0, -1, 2**70, 1.5, float("nan"), float("inf"), 1j, "", "text", "ü" * 300, b"\xff\x00", [], {}, ()),
    *({"a": 1}, {1: 2}, [[1], [2, 3]], ["a", "a"], _nested(90), {"shape": (1, 2)}, slice(3), range(3), {1, 2}),
    *(np.zeros(0), np.zeros((2, 0, 3)), np.zeros(()), np.zeros((1,) * 9), np.full((3, 3), np.nan), np.ones(7, ">f4")),
    *(np.array(["a", "b"]), np.array([b"\xff"]), np.array([True]), np.array([1j]), np.array([-1, 10**12])),
    *(np.zeros(3, [("a", "f4"), ("b", "S2")]), np.array(["2020"], "M8[s]"), _objects(), _objects(None, 1, "a")),
    *(_objects(np.zeros(2), np.zeros(3)), _objects({"a": 1}), np.zeros(4, np.uint8), np.array("text")),
]  # fmt: skip
CASTS = ["f4", "f8", "f2", "c16", "i1", "u8", "?", "S3", "U2", ">f8", "O"]


def otherwise(content):
    """Strategy of contents that are not what they should be.

    Parameters
    ----------
    content : dict
        Of arrays, texts, numbers, lists and dicts.

    Returns
    -------
    strategy of dict
        With one to three entries, at any depth, missing, under another name, or of another value, type or shape.
    """
    change = st.tuples(
        st.integers(0, 10**6),
        st.sampled_from(("odd", "odd", "cast", "shape", "missing", "renamed", "undefined", "doubled")),
        st.integers(0, 10**6),
    )
    return st.lists(change, min_size=1, max_size=3).map(lambda changes: _altered(content, changes))


def _altered(content, changes):
    content = copy.deepcopy(content)
    for place, kind, number in changes:
        places = list(_places(content))
        if not places:
            break
        parent, key = places[place % len(places)]
        if kind == "missing":
            del parent[key]
        elif kind == "renamed" and isinstance(parent, dict):
            parent[f"{key}_"] = parent.pop(key)
        elif kind == "doubled" and isinstance(parent, list):
            parent.append(parent[key])
        elif kind in ("cast", "shape", "undefined") and isinstance(parent[key], np.ndarray):
            parent[key] = _array(parent[key], kind, number)
        else:
            parent[key] = copy.deepcopy(ODD[number % len(ODD)])
    return content


def _places(content):
    """Where something can be changed: container and key."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in list(items):
        yield content, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _array(values, kind, number):
    if kind == "cast":
        try:
            with np.errstate(all="ignore"):
                return values.astype(CASTS[number % len(CASTS)])
        except (ValueError, TypeError):
            return values.astype("O")
    if kind == "undefined" and values.dtype.kind in "fc" and values.size:
        values = values.copy()
        values.flat[number % values.size] = (np.nan, np.inf, -np.inf, 1e300 if values.itemsize > 4 else 1e30)[
            number % 4
        ]
        return values
    values = np.atleast_1d(values)
    shapes = (values.T, values[..., None], values[None], values[:1], values[:0], values.ravel(), values[::-1])
    return np.concatenate([values, values]) if number % 8 == 7 and values.ndim else shapes[number % 7]


def reworked(path, data):
    """Change one to three things of an HDF5 file that remains one.

    Parameters
    ----------
    path : pathlib.Path
    data : hypothesis data object
    """
    with h5py.File(path, "r+") as file:
        for _ in range(data.draw(st.integers(1, 3))):
            names = ["/"]
            file.visit(names.append)
            place = file[data.draw(st.sampled_from(names))]
            owner, key = place, None
            if place.attrs and (place.name == "/" or data.draw(st.booleans())):
                owner, key = place.attrs, data.draw(st.sampled_from(sorted(place.attrs)))
            elif place.name != "/":
                owner, key = place.parent, place.name.rpartition("/")[2]
            if key is not None:
                _rework(owner, key, data)


def _rework(owner, key, data):
    kind = data.draw(
        st.sampled_from(("odd", "odd", "shape", "cast", "missing", "renamed", "group", "undefined"))
    )
    old = owner[key]
    old = old[()] if isinstance(old, h5py.Dataset) else old
    del owner[key]
    new = data.draw(st.sampled_from(ODD))
    if kind in ("shape", "cast", "undefined") and isinstance(old, np.ndarray):
        new = _array(old, kind, data.draw(st.integers(0, 999)))
    if kind == "group" and isinstance(owner, h5py.Group):
        owner.create_group(key)
    elif kind == "renamed" and not isinstance(old, h5py.Group):
        owner[f"{key}_"] = old
    elif kind != "missing":
        try:
            owner[key] = new
        # Not all of this can be stored; then it is missing.
        except (TypeError, ValueError, OverflowError, RuntimeError, OSError):
            return


class TooLong(BaseException):
    """Of which no reader can make an error of its own."""


def outcome(read, named, kinds, *, within=(ValueError,)):
    """What comes of reading a damaged file: a value of the right type, or an error of ours that names the file.

    Parameters
    ----------
    read : callable
        Without arguments.
    named : str
        What a message must hold.
    kinds : type or tuple of type
        Of the value.
    within : tuple of type
        Errors that are ours, besides those that are defined in `lib`.

    Returns
    -------
    object
        The value, or the message of the error.

    Raises
    ------
    AssertionError
        If anything else came, or it took too much memory or time.
    Exception
        What was raised, if it is none of ours.
    """
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        with _limited():
            found = read()
        assert isinstance(found, kinds), f"{type(found)} instead of {kinds}"
    except Exception as error:
        if type(error) not in within and not type(error).__module__.startswith("lib."):
            raise
        found = str(error)
        assert named in found, f"{found!r} does not name {named}"
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < MOST_BYTES, f"memory grew by {grown} bytes"
    assert time.process_time() - start < MOST_SECONDS, f"{time.process_time() - start} s of computing"
    return found


@contextmanager
def _limited():
    """A loop of Python without end is an error; one of compiled code cannot be."""

    def expired(*_):
        raise TooLong

    previous = signal.signal(signal.SIGALRM, expired)
    signal.alarm(3 * MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
