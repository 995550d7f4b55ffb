"""Pickles and `.npy` files read as data: no name in a file is ever imported or called."""

import ast
import contextlib
import io
import os
from pathlib import Path

import numpy as np

from lib import pickled_arrays, pickled_tables, pickled_tensors
from lib.pickled_machine import BROKEN, Machine, Stream, Truncated, Unsafe

__all__ = ["TABLES", "Truncated", "Unsafe", "load", "npy"]

TABLES = {
    "numpy": pickled_arrays.ALLOWED,
    "pandas": pickled_arrays.ALLOWED | pickled_tables.ALLOWED,
    "torch": pickled_arrays.ALLOWED | pickled_tensors.ALLOWED,
}
MAGIC = b"\x93NUMPY"
VERSIONS = {
    (1, 0): (2, "latin1"),
    (2, 0): (4, "latin1"),
    (3, 0): (4, "utf-8"),
}  # bytes of the length, encoding
LIMIT_HEADER = 1 << 20


def load(source, *, allow="numpy", encoding="latin1"):
    """The data of a pickle.

    Parameters
    ----------
    source : str, pathlib.Path or binary file object
        Protocol 0 to 5. Of a file object, one pickle is read from its present position.
    allow : {"numpy", "pandas", "torch"}
        What a pickle may hold beside Python's own data (None, bool, numbers, text, bytes, list, tuple, dict,
        set, frozenset, slice, range, OrderedDict): arrays, types and scalars of NumPy, or also tables, series
        and indices of pandas 1 to 3 (not: times with a zone or frequency, periods, intervals, text kept by
        Arrow), or also tensors of PyTorch, which become arrays.
    encoding : str
        Of text written by Python 2; "bytes" leaves it. Beyond 64 KB it always stays bytes.

    Returns
    -------
    object
        Arrays are new and writeable.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    Unsafe
        If the pickle names anything else, or grows out of proportion; the message says what, at which byte,
        and what is allowed. Nothing that a file names is imported or called.
    ValueError
        If it is truncated or damaged; the message names file and byte.
    """
    table = _table(allow)
    with _opened(source) as stream:
        return Machine(stream, table, encoding).run()


def npy(source, *, allow="numpy"):
    """The array of a `.npy` file.

    Parameters
    ----------
    source : str, pathlib.Path or binary file object
        Format version 1 to 3; of a file object, from its present position.
    allow : {"numpy", "pandas", "torch"}
        What the elements of an object array may be; see `load`.

    Returns
    -------
    numpy.ndarray
        Of any type, structured ones and objects included; new and writeable.

    Raises
    ------
    FileNotFoundError, Unsafe, ValueError
        As `load`; and if shape and type need another number of bytes than there are.
    """
    table = _table(allow)
    with _opened(source) as stream:
        shape, fortran, dtype = _header(stream)
        start = stream.position
        if not dtype.hasobject:
            return _plain(stream, shape, "F" if fortran else "C", dtype)
        value = Machine(stream, table, "latin1").run()
    if not isinstance(value, np.ndarray) or value.dtype != dtype or value.shape != shape:
        raise ValueError(
            f"{stream.name}: what begins at byte {start} is not the announced array {dtype} {shape}"
        )
    return value


def _table(allow):
    if allow not in TABLES:
        raise ValueError(f"allow={allow!r} is unknown; valid are {', '.join(map(repr, TABLES))}")
    return TABLES[allow]


def _size(shape):
    """Number of elements, exactly."""
    return int(np.prod(shape, dtype=object))


def _header(stream):
    """Shape, order and type that an `.npy` file announces."""
    magic = stream.read(len(MAGIC) + 2)
    version = tuple(magic[-2:])
    if magic[:-2] != MAGIC or version not in VERSIONS:
        raise ValueError(f"{stream.name} is no .npy file of version 1 to 3: it begins with {magic!r}")
    width, encoding = VERSIONS[version]
    length = int.from_bytes(stream.read(width), "little")
    if length > LIMIT_HEADER:
        raise ValueError(f"{stream.name}: a header of {length} bytes at byte 8, more than {LIMIT_HEADER}")
    text = stream.read(length)
    try:
        return _announced(ast.literal_eval(text.decode(encoding).strip()))
    except (*BROKEN, SyntaxError) as error:
        raise ValueError(
            f"{stream.name}: the header before byte {stream.position} is damaged: {error}"
        ) from error


def _announced(header):
    """Shape, order and type of a header, checked."""
    if set(header) != {"shape", "fortran_order", "descr"}:
        raise ValueError(f"entries {sorted(header, key=str)} instead of descr, fortran_order, shape")
    shape, fortran = header["shape"], header["fortran_order"]
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"shape {shape!r}")
    return shape, bool(fortran), np.lib.format.descr_to_dtype(header["descr"])


def _plain(stream, shape, order, dtype):
    """The elements of an array without objects; memory is taken for bytes that are there only."""
    if dtype.itemsize == 0 and _size(shape):
        raise ValueError(f"{stream.name}: elements of type {dtype} have no bytes")
    start, needed = stream.position, _size(shape) * dtype.itemsize
    try:
        content = bytearray(stream.read(needed))
        flat = np.frombuffer(content, dtype) if needed else np.empty(0, dtype)
        return flat.reshape(shape, order=order)
    except Truncated as error:
        raise Truncated(f"{error}; an array {dtype} {shape} was announced") from error
    except BROKEN as error:
        raise ValueError(f"{stream.name}: {dtype} {shape} at byte {start} cannot be read: {error}") from error


@contextlib.contextmanager
def _opened(source):
    """The source as a stream that counts."""
    if isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as file:
            yield Stream(file, os.fspath(source), os.fstat(file.fileno()).st_size)
        return
    position = source.tell() if source.seekable() else 0
    name = str(getattr(source, "name", None) or "a stream without a name")
    yield Stream(source, name, _left(source, position), position)


def _left(source, position):
    """Bytes from here to the end of a file object; None if that is not known without reading them."""
    size = getattr(getattr(source, "raw", source), "size", None)
    if isinstance(source, io.BytesIO):
        size = source.getbuffer().nbytes
    return max(0, size - position) if isinstance(size, int) else None
