"""MATLAB files of version 7.3, which are HDF5: variables with the axes they were meant to have."""

import h5py
import numpy as np

from lib import hdf5
from lib.matlab5 import sparse

LIMIT_BYTES = 20_000_000_000
LIMIT_DEPTH = 50
LIMIT_PARTS = 10_000  # cells and fields of any file; of a large one as many as references fit in
SPARSE = "__bdpy_sparse_arrray"  # spelled so in the files
CODECS = {1: "utf-8", 2: "utf-16-le", 4: "utf-32-le"}
EMPTY = {
    **{
        "double": "f8",
        "single": "f4",
        "logical": "?",
        "char": "u2",
        "cell": "O",
        "struct": "O",
        "canonical empty": "f8",
    },
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def item(node, depth=0, left=None):
    """Value of a variable, or of a part of one.

    Parameters
    ----------
    node : h5py.Dataset or h5py.Group
    depth : int
        How many others hold it.
    left : list of one int, optional
        How many parts may still be read; counted down.

    Returns
    -------
    object
        As `lib.matfiles.read` describes.

    Raises
    ------
    ValueError
        If it is not what such files hold.
    """
    if depth > LIMIT_DEPTH:
        raise ValueError(f"{node.name} is nested more than {LIMIT_DEPTH} deep")
    left = [max(LIMIT_PARTS, node.file.id.get_filesize() // 8)] if left is None else left
    left[0] -= 1
    if left[0] < 0:  # parts that hold one another could be read for ever
        raise ValueError(f"{node.name} is one of more parts than the file can hold")
    if isinstance(node, h5py.Dataset):
        return _dataset(node, depth, left)
    if not isinstance(node, h5py.Group):
        raise ValueError(f"{node.name} is neither an array nor a structure")
    if SPARSE in node:
        return _filled(node, depth, left)
    if "MATLAB_sparse" in node.attrs:
        return _sparse(node)
    return {n: item(node[n], depth + 1, left) for n in node if not n.startswith("#")}


def _class(node):
    """MATLAB's name of a variable's type; None in files that tell none (written by Julia)."""
    value = node.attrs.get("MATLAB_class")
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def _dataset(node, depth, left):
    """The values of a data set, with axes as meant."""
    kind = _class(node)
    if node.attrs.get("MATLAB_empty", 0):
        value = _empty(node, kind)
    else:
        value = np.asarray(_present(hdf5.values(node)))
        value = value if kind is None else value.T
    if kind == "char":
        return _characters(node, value)
    value = _shaped(node, value)
    if value.dtype == object and h5py.check_ref_dtype(node.dtype) is h5py.Reference:
        return _cells(node, value, depth, left)
    if h5py.check_string_dtype(node.dtype):
        return _strings(value)
    return _number(value, kind)


def _present(value):
    """Values; of a data set without any space, an empty array."""
    return np.empty(0, value.dtype) if isinstance(value, h5py.Empty) else value


def _empty(node, kind):
    """An array without values, of which only the shape is stored."""
    shape = tuple(int(n) for n in np.ravel(hdf5.values(node)))
    if 0 not in shape or any(n < 0 for n in shape) or kind not in EMPTY:
        raise ValueError(f"{node.name} is said to be empty but has class {kind!r} and shape {shape}")
    return np.empty(shape, EMPTY[kind])


def _shaped(node, value):
    """An array with the shape it had in Python, if that is told."""
    told = node.attrs.get("Python.Shape")
    if told is None:
        return value
    shape = tuple(int(n) for n in np.ravel(told))
    if any(n < 0 for n in shape) or np.prod(shape, dtype=object) != value.size:
        raise ValueError(f"{node.name} has {value.size} values but Python.Shape {shape}")
    return value.reshape(shape)


def _cells(node, value, depth, left):
    """What an array of references points to, as an object array."""
    flat = np.empty(value.size, object)
    for place, reference in enumerate(value.ravel()):
        flat[place : place + 1] = [item(_target(node, reference), depth + 1, left)]
    return flat.reshape(value.shape)


def _target(node, reference):
    """What a reference points to."""
    if not reference:
        raise ValueError(f"{node.name} refers to nothing")
    return node.file[reference]


def _characters(node, value):
    """Text from codes of 8, 16 or 32 bits, one row per first axis; a single column, as from Python, is one."""
    if value.dtype.kind not in "ui" or value.dtype.itemsize not in CODECS:
        raise ValueError(f"{node.name} holds text as {value.dtype}")
    if not value.size:
        return ""
    rows = (
        value.reshape(1, -1) if value.ndim < 2 or value.size == len(value) else value.reshape(len(value), -1)
    )
    count = int(np.prod(node.attrs.get("Python.Shape", 1), dtype=object))
    if len(rows) == 1 and count > 1 and value.size % count == 0:  # texts of Python, padded to one length
        rows = rows.reshape(count, -1)
    codes = rows.astype(rows.dtype.newbyteorder("<"))
    texts = [row.tobytes().decode(CODECS[value.dtype.itemsize]) for row in codes]
    return _text([text.rstrip("\0") for text in texts])


def _strings(value):
    """Text of HDF5's own kind."""
    return _text([v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in np.ravel(value).tolist()])


def _text(rows):
    """One str, or a list of several."""
    return rows[0] if len(rows) == 1 else rows


def _number(value, kind):
    """Numbers in native byte order, complex ones joined, truths as bool."""
    if value.dtype.names == ("real", "imag"):
        value = value["real"] + 1j * value["imag"]
    dtype = np.dtype(bool) if kind == "logical" else value.dtype.newbyteorder("=")
    return np.require(value, dtype, "C") if value.ndim else value.astype(dtype)


def _sparse(node):
    """A sparse matrix of MATLAB: rows `ir`, beginnings of columns `jc`, values `data`."""
    starts = np.ravel(hdf5.values(node["jc"])).astype(np.int64)
    data, rows = np.empty(0), np.empty(0, np.int64)
    if "data" in node:
        data = _number(np.ravel(hdf5.values(node["data"])), _class(node))
        rows = np.ravel(hdf5.values(node["ir"])).astype(np.int64)
    shape = int(node.attrs["MATLAB_sparse"]), len(starts) - 1
    return sparse(data, rows, starts, shape)


def _filled(node, depth, left):
    """A sparse array of bdpy, filled: indices from 0 by axis, shape, values, background."""
    shape = tuple(int(n) for n in np.concatenate(_vectors(node["shape"])))
    values = np.ravel(item(node["value"], depth + 1, left))
    background = np.ravel(item(node["background"], depth + 1, left))[0]
    size = np.prod(shape, dtype=object) * values.dtype.itemsize
    allowed = min(LIMIT_BYTES, max(hdf5.FLOOR_BYTES, hdf5.LIMIT_RATIO * node.file.id.get_filesize()))
    if any(n < 0 for n in shape) or size > allowed:
        raise ValueError(f"{node.name} declares shape {shape}, {size} bytes; allowed are {allowed}")
    index = _vectors(node["index"])
    if len(index) != len(shape) or any(len(i) != len(values) for i in index):
        raise ValueError(
            f"{node.name} has {[len(i) for i in index]} indices for {len(values)} values {shape}"
        )
    if any(((i < 0) | (i >= n)).any() for i, n in zip(index, shape, strict=True)):
        raise ValueError(f"{node.name} has indices outside of its shape {shape}")
    full = np.full(shape, background, values.dtype)
    full[tuple(index)] = values
    return full


def _vectors(node):
    """Whole numbers by axis, whether stored by reference (Python) or as rows of a matrix (Julia)."""
    stored = hdf5.values(node)
    if stored.dtype == object:
        return [np.ravel(hdf5.values(_target(node, r))).astype(np.int64) for r in stored.ravel()]
    return list(np.atleast_2d(stored if stored.ndim > 1 else stored[:, None]).astype(np.int64))
