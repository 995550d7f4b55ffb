"""HDF5 files read with care: damage is named with file, data set and byte, and no other file is opened."""

import contextlib
import os
import re
import subprocess
import sys
import traceback
from pathlib import Path

import h5py

from lib.damage import name

# What h5py raises for a damaged file, and also for other reasons; which of the two is found by reading all.
SUSPECT = (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError, MemoryError, SystemError)
TRUNCATED = re.compile(r"eof = (\d+), sblock->base_addr = (\d+), stored_eof = (\d+)")
LIMIT_BYTES = 20_000_000_000
# Deflate never shrinks more than 1032-fold; below the floor a size does no harm.
LIMIT_RATIO, FLOOR_BYTES = 1032, 100_000_000
PIECE_BYTES = 1 << 20  # of a data set that are read at a time in search of damage
# How long a first reading may take: the slowest disk, and a child process on a crowded machine.
TRIAL_S, TRIAL_BYTES_PER_S = 60, 20_000_000
TRIAL = "import sys; from lib import hdf5; hdf5.walked(sys.argv[1])"


def tried(path):
    """Read all of a file whose content nobody vouches for in a process of its own, before it is read in this one.

    The HDF5 library is safe with files that it or another program wrote whole. Of those that are heavily damaged, or
    made to do harm, it dies on few and never ends with fewer, and its caller can catch neither. Damage that it tells
    of passes: `opened` names it where it is read.

    Parameters
    ----------
    path : str or pathlib.Path
        Another kind of file passes.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the library dies of the file, or does not end in a minute and one second per 20 MB.
    """
    limit = TRIAL_S + Path(path).stat().st_size / TRIAL_BYTES_PER_S
    if not h5py.is_hdf5(path):
        return
    paths = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-c", TRIAL, str(path)]
    try:
        status = subprocess.run(
            command, env=environment, capture_output=True, timeout=limit, check=False
        ).returncode
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{path} is damaged: the HDF5 library has not read it in {limit:.0f} s") from error
    if status not in (0, 1):  # 1: an error of Python
        raise ValueError(f"{path} is damaged: the HDF5 library dies of it (exit status {status})")


def walked(path):
    """Read every data set and attribute of a file, and keep nothing; ValueError if it cannot be opened."""
    with opened(path) as file:
        _damage(file)


@contextlib.contextmanager
def opened(source, *, whole=False):
    """Open an HDF5 file for reading.

    Parameters
    ----------
    source : str, pathlib.Path or binary file object
        A file object must be seekable.
    whole : bool
        All of it is going to be read: refuse data sets that declare more than they can hold.

    Yields
    ------
    h5py.File
        Read-only.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no HDF5 file, is truncated (with actual and expected length), refers to other files, or
        is damaged where it is read inside the `with` (with data set and, for chunked ones, the byte where the
        chunk begins). Errors for other reasons pass unchanged.
    """
    where = name(source)
    with _open(source, where) as file:
        _check(file, where, whole)
        try:
            yield file
        except SUSPECT as error:
            damage = _damage(file) if _is_of_hdf5(error) else ""
            if damage:
                raise ValueError(f"{where} is damaged: {damage}") from error
            raise


def values(dataset, *, limit_bytes=LIMIT_BYTES):
    """All values of a data set, unless their declared size cannot be true.

    Parameters
    ----------
    dataset : h5py.Dataset
    limit_bytes : int
        Of the array in memory.

    Returns
    -------
    numpy.ndarray
        As stored.

    Raises
    ------
    ValueError
        If more bytes are declared than allowed, or than what is stored can hold.
    """
    excess = _excess(dataset, limit_bytes)
    if excess:
        raise ValueError(f"{name(dataset.file.filename)}, data set {dataset.name}, {excess}")
    return dataset[()]


def _excess(dataset, limit_bytes=None):
    """How a data set declares more than it can hold, in words; None if it does not."""
    declared = dataset.size * dataset.dtype.itemsize if dataset.size else 0
    if declared <= FLOOR_BYTES and limit_bytes is None:
        return None
    stored = dataset.id.get_storage_size()
    possible = max(FLOOR_BYTES, LIMIT_RATIO * stored)
    allowed = possible if limit_bytes is None else min(limit_bytes, possible)
    if declared <= allowed:
        return None
    return f"declares {declared} bytes but stores {stored}; allowed are {allowed}"


def _open(source, where):
    """The open file, or a message with its length."""
    if isinstance(source, str | os.PathLike):
        Path(source).stat()
    try:
        return h5py.File(source, "r")
    except SUSPECT as error:
        length = _length(source)
        found = TRUNCATED.search(str(error))
        if found:
            message = f"{where} is truncated at byte {length}; it should have {found[3]} bytes"
        else:
            message = f"{where} ({length} bytes) is not a readable HDF5 file: {error}"
        raise ValueError(message) from error


def _length(source):
    """Bytes of a file or stream."""
    if isinstance(source, str | os.PathLike):
        return Path(source).stat().st_size
    return source.seek(0, os.SEEK_END)


def _check(file, where, whole):
    """Refuse what would make HDF5 open other files, or take more memory than the file can fill."""
    try:
        found = _unsafe(file, whole)
    except SUSPECT as error:
        raise ValueError(f"{where} is damaged: {_damage(file) or error}") from error
    if found:
        raise ValueError(f"{where} is refused: {found}")


def _unsafe(file, whole):
    """An external link, a data set stored elsewhere or, of a whole file, too large, in words; None if none is."""

    def visit(path, link):
        item = file[path] if isinstance(link, h5py.HardLink) else None
        stored = isinstance(item, h5py.Dataset)
        if isinstance(link, h5py.ExternalLink) or (stored and (item.external or item.is_virtual)):
            return f"{path} lies in another file"
        excess = _excess(item) if stored and whole else None
        return excess and f"data set /{path} {excess}"

    return file.visititems_links(visit)


def _is_of_hdf5(error):
    """Whether an error, or what caused it, was raised by h5py; others need no search for damage."""
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        if frames and "h5py" in frames[-1].filename:
            return True
        error = error.__cause__
    return False


def _damage(file):
    """Where a file is damaged, in words; "" if all of it can be read."""
    found = []

    def visit(path, item):
        found.append(path)
        dict(item.attrs)
        return (_chunk(item) or None) if isinstance(item, h5py.Dataset) else None

    try:
        return file.visititems(visit) or ""
    except SUSPECT as error:
        return f"after object {found[-1] if found else '/'}: {error}"


def _chunk(dataset):
    """The first part of a data set that cannot be read, in words; "" if all can be."""
    if dataset.shape is None or not dataset.id.get_storage_size():
        return ""
    if not dataset.chunks:
        return _contiguous(dataset)
    for index in range(dataset.id.get_num_chunks()):
        info = dataset.id.get_chunk_info(index)
        try:
            dataset[tuple(slice(o, o + n) for o, n in zip(info.chunk_offset, dataset.chunks, strict=True))]
        except SUSPECT as error:
            return f"data set {dataset.name}, chunk at byte {info.byte_offset} ({info.size} bytes): {error}"
    return ""


def _contiguous(dataset):
    """What is wrong with a data set that lies in one piece, in words."""
    try:
        n_rows = len(dataset) if dataset.ndim else 1
        step = max(1, PIECE_BYTES * n_rows // max(1, dataset.nbytes))
        for row in range(0, n_rows, step) if dataset.ndim else ():
            dataset[row : row + step]
        if not dataset.ndim:
            dataset[()]
    except SUSPECT as error:
        return f"data set {dataset.name}, stored at byte {dataset.id.get_offset()}: {error}"
    return ""
