"""MATLAB files of version 5 and 7.3: variables as plain arrays, text, lists and dicts."""

import difflib
import io
from pathlib import Path

import numpy as np

from lib import damage, hdf5, matlab5, matlab73

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
USERBLOCK = 512  # bytes of MATLAB header before the HDF5 part of version 7.3
LIMIT_BYTES = 20_000_000_000
PIECE_BYTES = 1 << 24


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
    names = None if names is None else list(names)
    content = _content(source)
    where, size = hdf5.name(source), len(content)
    if HDF5_MAGIC in (bytes(content[:8]), bytes(content[USERBLOCK : USERBLOCK + 8])):
        found = _read_73(_file(content, where) if hasattr(source, "read") else source, where, names)
    elif bytes(content[126:128]) in (b"IM", b"MI"):
        found = _read_5(content, where, names)
    else:
        raise ValueError(
            f"{where} ({size} bytes) is no MATLAB file of version 5 or 7.3: at byte 126 it has "
            f"{bytes(content[126:128])!r} instead of b'IM'"
        )
    return found


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


def _content(source):
    """The whole file; one with a path is mapped rather than read."""
    if not hasattr(source, "read"):
        path = Path(source)
        if not path.stat().st_size:
            raise ValueError(f"{path} is empty")
        return np.memmap(path, np.uint8, "r").data
    # Piece by piece: asking for more than there is takes memory for all of it.
    content = bytearray()
    while piece := source.read(PIECE_BYTES):
        content += piece
        if len(content) > LIMIT_BYTES:
            raise ValueError(f"{hdf5.name(source)} has more than {LIMIT_BYTES} bytes")
    return bytes(content)


def _file(content, where):
    """Content in memory as a file with a name."""
    file = io.BytesIO(content)
    file.name = where
    return file


def _missing(where, name, present):
    near = difflib.get_close_matches(name, present, n=3, cutoff=0.3) or sorted(present)[:3]
    return ValueError(
        f"{where} has no variable {name!r}; the nearest are {', '.join(map(repr, near)) or 'none'}"
    )


def _read_5(content, where, names):
    """Variables of version 5."""
    try:
        found = matlab5.variables(content, names)
    except (ValueError, OverflowError, MemoryError) as error:
        raise ValueError(f"{where} is damaged {error}") from error
    for name in names or ():
        if name not in found:
            raise _missing(where, name, found)
        if found[name] is None:
            raise ValueError(
                f"{where}: variable {name!r} is a function or object of MATLAB, which is not read"
            )
    return {n: found[n] for n in (found if names is None else names) if found[n] is not None}


def _read_73(source, where, names):
    """Variables of version 7.3."""
    with hdf5.opened(source) as file:
        present = [n for n in file if not n.startswith("#")]
        for name in names or ():
            if name not in present:
                raise _missing(where, name, present)
        return {n: _item(file, n, where) for n in (present if names is None else names)}


def _item(file, name, where):
    """One variable of version 7.3."""
    with damage.named(f"{where}, variable {name!r}", "cannot be read"):
        return matlab73.item(file[name])
