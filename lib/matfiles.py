"""MATLAB files of version 5 and 7.3: variables as plain arrays, text, lists and dicts."""

import difflib
import io
import zlib
from pathlib import Path

import h5py
import numpy as np
import scipy.io
import scipy.sparse

from lib import hdf5

HEADER = 128  # bytes of a version 5 file before its first variable
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
USERBLOCK = 512  # bytes of MATLAB header before the HDF5 part of version 7.3
COMPRESSED, MATRIX = 15, 14  # element types of version 5
LIMIT_BYTES = 20_000_000_000
LIMIT_DEPTH = 50
CONTROL = "__bdpy_sparse_arrray"  # spelled so in the files
DAMAGE = (OSError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError, RuntimeError, EOFError)
DAMAGE += (AttributeError, NotImplementedError, AssertionError, SystemError)


def read(source, names=None):
    """Variables of a `.mat` file.

    Parameters
    ----------
    source : str, pathlib.Path or binary file object
        Version 5 (also compressed) or 7.3 (HDF5), told apart by content.
    names : iterable of str, optional
        Which variables; all by default.

    Returns
    -------
    dict
        Value by name. Numbers and logicals are arrays with the axes that MATLAB (or Python, where the file
        tells a `Python.Shape`) gave them: of version 7.3, those with a `MATLAB_class` are stored with axes
        reversed and turned back, those without (written by Julia) are left. Text is str (several rows: a list
        of str); a cell array is an object array; a structure is a dict (several: an object array of dict);
        sparse matrices are scipy.sparse.csc_array, sparse arrays of bdpy plain arrays.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not such a file, is truncated or damaged, or lacks a variable; the message names file,
        variable (with the nearest ones) and byte.
    """
    where = hdf5.name(source)
    names = None if names is None else list(names)
    with _file(source) as file:
        magic = file.read(USERBLOCK + len(HDF5_MAGIC))
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if magic[:8] == HDF5_MAGIC or magic[USERBLOCK:] == HDF5_MAGIC:
            return _read_hdf5(file if hasattr(source, "read") else source, where, names)
        if len(magic) < HEADER or magic[126:128] not in (b"IM", b"MI"):
            raise ValueError(f"{where} ({size} bytes) is no MATLAB file of version 5 or 7.3: at byte 126 it has "
                             f"{magic[126:128]!r} instead of b'IM'")  # fmt: skip
        return _read_5(file, size, where, names)


def variable(source, name, *, shape=None):
    """One variable of a `.mat` file.

    Parameters
    ----------
    source : str, pathlib.Path or binary file object
    name : str
    shape : tuple, optional
        What the shape must be; None stands for any length.

    Returns
    -------
    object
        As in `read`.

    Raises
    ------
    ValueError
        As `read`; and if the shape is another.
    """
    value = read(source, [name])[name]
    if shape is not None:
        found = getattr(value, "shape", None)
        fits = found is not None and len(found) == len(shape)
        if not fits or any(want not in (None, n) for want, n in zip(shape, found, strict=True)):
            what = f"shape {found}" if found is not None else f"no shape (it is {type(value).__name__})"
            raise ValueError(f"{hdf5.name(source)}: variable {name!r} has {what} instead of {_words(shape)}")
    return value


def _words(shape):
    return (
        "("
        + ", ".join("any" if n is None else str(n) for n in shape)
        + ("," if len(shape) == 1 else "")
        + ")"
    )


def _file(source):
    """A seekable binary file; what cannot seek, or only slowly, is taken into memory."""
    if not hasattr(source, "read"):
        return Path(source).open("rb")
    content = source.read(LIMIT_BYTES + 1)
    if len(content) > LIMIT_BYTES:
        raise ValueError(f"{hdf5.name(source)} has more than {LIMIT_BYTES} bytes")
    file = io.BytesIO(content)
    file.name = hdf5.name(source)
    return file


def _missing(where, name, present):
    near = difflib.get_close_matches(name, present, n=3, cutoff=0.3) or sorted(present)[:3]
    return ValueError(
        f"{where} has no variable {name!r}; the nearest are {', '.join(map(repr, near)) or 'none'}"
    )


# Version 5


def _read_5(file, size, where, names):
    """Variables of version 5, one element of the file after the other."""
    header = file.read(HEADER)
    order = "<" if header[126:128] == b"IM" else ">"
    header = header[:116] + bytes(8) + header[124:]  # without the place of MATLAB's own objects
    found = {}
    for offset, element in _elements(file, size, order, where):
        content = _inflated(element, order, f"{where}, variable at byte {offset}")
        found |= _element(header, content, names, f"{where}, variable at byte {offset}")
    for name in names or ():
        if name not in found:
            raise _missing(where, name, [n for n in found])
    return {n: _plain(found[n]) for n in (found if names is None else names)}


def _elements(file, size, order, where):
    """Place and bytes (with tag) of each element of a version 5 file."""
    offset = file.tell()
    while offset < size:
        tag = file.read(8)
        kind, length = np.frombuffer(tag.ljust(8, b"\0"), order + "u4").tolist()
        if len(tag) < 8 or offset + 8 + length > size:
            raise ValueError(f"{where} is truncated: the variable at byte {offset} needs {offset + 8 + length} "
                             f"bytes, the file has {size}")  # fmt: skip
        if kind not in (COMPRESSED, MATRIX):
            raise ValueError(f"{where} is damaged at byte {offset}: {kind} is no type of a variable")
        yield offset, tag + file.read(length)
        offset += 8 + length


def _inflated(element, order, where):
    """An element without its compression."""
    kind, _ = np.frombuffer(element[:8], order + "u4").tolist()
    if kind != COMPRESSED:
        return element
    try:
        stream = zlib.decompressobj()
        tag = stream.decompress(element[8:], 8)
        inner, size = np.frombuffer(tag, order + "u4").tolist()
        content = tag + stream.decompress(stream.unconsumed_tail, size + 1)
    except (zlib.error, ValueError, MemoryError, OverflowError) as error:
        raise ValueError(f"{where}: its compressed content is damaged: {error}") from error
    if inner != MATRIX or len(content) != 8 + size or not stream.eof:
        raise ValueError(f"{where}: its compressed content is {len(content)} bytes instead of {8 + size}")
    return content


def _element(header, content, names, where):
    """The variable of one element, as scipy reads it; with `names`, others give no value."""
    try:
        listed = scipy.io.whosmat(io.BytesIO(header + content))
        if names is not None and not any(n in names for n, _, _ in listed):
            return {n: None for n, _, _ in listed}
        loaded = scipy.io.loadmat(io.BytesIO(header + content), struct_as_record=False)
    except DAMAGE as error:
        raise ValueError(f"{where} is damaged: {error}") from error
    return {n: v for n, v in loaded.items() if not (n.startswith("__") and n.endswith("__"))}


def _plain(value):
    """A value without scipy's own types."""
    if scipy.sparse.issparse(value):
        return scipy.sparse.csc_array(value)
    if hasattr(value, "_fieldnames"):
        return {n: _plain(getattr(value, n)) for n in value._fieldnames}
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind in "US":
        return _text([str(v) for v in value.ravel()])
    if value.dtype == object:
        return _objects(value)
    return value


def _text(rows):
    return rows[0] if len(rows) == 1 else rows or ""


def _objects(value):
    """Cells as an object array; a single structure as a dict."""
    if value.size == 1 and hasattr(value.flat[0], "_fieldnames"):
        return _plain(value.flat[0])
    plain = np.empty(value.shape, object)
    for place in np.ndindex(value.shape):
        plain[place] = _plain(value[place])
    return plain


# Version 7.3


def _read_hdf5(source, where, names):
    """Variables of version 7.3."""
    with hdf5.opened(source) as file:
        present = [n for n in file if not n.startswith("#")]
        for name in names or ():
            if name not in present:
                raise _missing(where, name, present)
        return {n: _item(file[n], 0) for n in (present if names is None else names)}


def _item(node, depth):
    """A data set or group as a value."""
    if depth > LIMIT_DEPTH:
        raise ValueError(f"{node.file.filename}: {node.name} is nested more than {LIMIT_DEPTH} deep")
    if isinstance(node, h5py.Dataset):
        return _dataset(node, depth)
    if CONTROL in node:
        return _bdpy_sparse(node)
    if "MATLAB_sparse" in node.attrs:
        return _sparse(node)
    return {n: _item(node[n], depth + 1) for n in node if not n.startswith("#")}


def _class(node):
    """MATLAB's name of a variable's type; None in files that tell none."""
    value = node.attrs.get("MATLAB_class")
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def _dataset(node, depth):
    """The values of a data set, with axes as meant."""
    kind = _class(node)
    value = _empty(node, kind) if node.attrs.get("MATLAB_empty", 0) else hdf5.values(node)
    if isinstance(value, h5py.Empty):
        value = np.empty(0, value.dtype)
    value = np.asarray(value)
    if kind is not None and not node.attrs.get("MATLAB_empty", 0):
        value = value.T
    value = _shaped(node, value)
    if h5py.check_ref_dtype(node.dtype) is h5py.Reference and value.dtype == object:
        return _cells(node.file, value, depth)
    if kind == "char":
        return _characters(value)
    if h5py.check_string_dtype(node.dtype):
        return _strings(value)
    return _number(value, kind)


def _empty(node, kind):
    """An array without values, of which only the shape is stored."""
    shape = tuple(int(n) for n in np.ravel(hdf5.values(node)))
    if 0 not in shape or any(n < 0 for n in shape):
        raise ValueError(f"{node.file.filename}: {node.name} is said to be empty but has shape {shape}")
    types = {"double": "f8", "single": "f4", "logical": "?", "char": "u2", "cell": "O", "struct": "O"}
    return np.empty(shape, np.dtype(types.get(kind) or kind))


def _shaped(node, value):
    """An array with the shape it had in Python, if that is told."""
    told = node.attrs.get("Python.Shape")
    if told is None:
        return value
    shape = tuple(int(n) for n in np.ravel(told))
    if any(n < 0 for n in shape) or np.prod(shape, dtype=object) != value.size:
        raise ValueError(
            f"{node.file.filename}: {node.name} has {value.size} values, Python.Shape is {shape}"
        )
    return value.reshape(shape)


def _cells(file, value, depth):
    """What an array of references points to; a single value without axes for one without."""
    cells = np.empty(value.shape, object)
    for place in np.ndindex(value.shape):
        if not value[place]:
            raise ValueError(f"{file.filename}: a cell refers to nothing")
        cells[place] = _item(file[value[place]], depth + 1)
    return cells if value.ndim else cells[()]


def _characters(value):
    """Text from UTF-16 (or 8, 32) codes, one row per first axis."""
    if value.dtype.kind not in "ui":
        return _strings(value)
    codec = {1: "utf-8", 2: "utf-16-le", 4: "utf-32-le"}[value.dtype.itemsize]
    rows = value.reshape(1, -1) if value.ndim < 2 else value.reshape(len(value), -1)
    little = rows.astype(rows.dtype.newbyteorder("<"))
    return _text([row.tobytes().decode(codec) for row in little] if value.size else [])


def _strings(value):
    """Text of HDF5's own kind."""
    rows = [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in np.ravel(value).tolist()]
    return _text(rows)


def _number(value, kind):
    """Numbers in native byte order, complex ones joined, logical ones as bool."""
    if value.dtype.names == ("real", "imag"):
        value = value["real"] + 1j * value["imag"]
    if kind == "logical":
        return value.astype(bool)
    return np.ascontiguousarray(value, value.dtype.newbyteorder("=")).reshape(value.shape)


def _sparse(node):
    """A sparse matrix of MATLAB: rows `ir`, beginnings of columns `jc`, values `data`."""
    starts = hdf5.values(node["jc"]).astype(np.int64)
    empty = "data" not in node
    data = np.empty(0) if empty else _number(hdf5.values(node["data"]), _class(node))
    rows = np.empty(0, np.int64) if empty else hdf5.values(node["ir"]).astype(np.int64)
    shape = int(node.attrs["MATLAB_sparse"]), len(starts) - 1
    matrix = scipy.sparse.csc_array((data, rows, starts), shape=shape)
    matrix.check_format(full_check=True)
    return matrix


def _bdpy_sparse(node):
    """A sparse array of bdpy, filled: indices from 0 by axis, shape, values, background."""
    shape = tuple(int(n) for n in _vector(node["shape"]))
    value = np.ravel(_item(node["value"], 0))
    background = np.ravel(_item(node["background"], 0))[0]
    size = np.prod(shape, dtype=object) * value.dtype.itemsize
    if any(n < 0 for n in shape) or size > LIMIT_BYTES:
        raise ValueError(f"{node.file.filename}: {node.name} declares {size} bytes, shape {shape}")
    index = _indices(node["index"])
    full = np.full(shape, background, value.dtype)
    if len(index) != len(shape) or any(((i < 0) | (i >= n)).any() for i, n in zip(index, shape, strict=True)):
        raise ValueError(f"{node.file.filename}: {node.name} has indices outside of its shape {shape}")
    full[tuple(index)] = value
    return full


def _indices(node):
    """One vector of indices per axis, whether stored by reference (Python) or as a matrix (Julia)."""
    value = hdf5.values(node)
    if value.dtype == object:
        return [_vector(node.file[reference]) for reference in value.ravel()]
    return list(value.astype(np.int64))


def _vector(node):
    """Whole numbers, flat, whether stored by reference or plainly."""
    value = hdf5.values(node)
    if value.dtype == object:
        value = np.concatenate([np.ravel(hdf5.values(node.file[r])) for r in value.ravel()])
    return np.ravel(value).astype(np.int64)
