"""A file of features while it is filled: a killed process leaves it behind, and the next one goes on with it."""

import contextlib
import json
import os
from pathlib import Path

import h5py
import numpy as np

from lib import artefacts, hdf5


class Partial:
    """A file that is filled batch by batch, with a log that says which batches are whole.

    Attributes
    ----------
    file : h5py.File
    done : int
        Rows that are complete already.
    notes : list of dict
        What was said of each complete batch when it was written.
    """

    def __init__(self, file, log, records):
        self.file, self._log, self._path = file, log, Path(file.filename)
        self.done = records[-1]["stop"] if records else 0
        self.notes = [record["note"] for record in records]

    def write(self, rows, note):
        """Add a batch.

        Parameters
        ----------
        rows : dict of str to array (n_stimuli, n_units)
            By layer, in the type in which they are stored.
        note : dict
            Anything of JSON to be known of the batch when it is taken over.
        """
        start, stop = self.done, self.done + len(next(iter(rows.values())))
        for name, values in rows.items():
            self.file[name][start:stop] = values
        self.file.flush()
        sums = {name: _checksum(values) for name, values in rows.items()}
        self._say({"start": start, "stop": stop, "sums": sums, "note": note})
        self.done, self.notes = stop, [*self.notes, note]

    def complete(self, path, attributes):
        """Give the file its attributes and its place.

        Parameters
        ----------
        path : pathlib.Path
        attributes : dict
        """
        # From here on a kill may tear what HDF5 knows of itself: nobody is to go on with such a file.
        self._say({"sealed": True})
        self.file.attrs.update(attributes)
        self.file.close()
        os.replace(self._path, path)

    def _say(self, record):
        """Add a line to the log; one that is not whole does not count."""
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")


@contextlib.contextmanager
def filling(path, identity, lay_out):
    """A file beside `path` to fill; what another process left of the very same is taken over.

    It is removed when the body ends or fails, and stays when the process is killed or interrupted.

    Parameters
    ----------
    path : pathlib.Path
    identity : dict
        All that the content depends on, of JSON. What was begun with anything else is thrown away.
    lay_out : callable
        From a path to nothing: writes a file with all variables, space reserved for each (`reserved`).

    Yields
    ------
    Partial

    Raises
    ------
    RuntimeError
        If another process is filling it now.
    """
    part, log = _parts(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _opened(part, log, identity, lay_out) as file:
            yield Partial(file, log, _whole(file, log))
    except (Exception, GeneratorExit) as error:
        if not isinstance(error, BlockingIOError):
            _discard(part, log)
            raise
        raise RuntimeError(f"{path} is being written by another process; wait for it") from error
    _discard(part, log)


def size(path):
    """Bytes on the disk of what was left of filling a file; 0 if there is nothing."""
    part = _parts(path)[0]
    return part.stat().st_blocks * 512 if part.exists() else 0


def reserved():
    """Properties of a chunked variable whose space is taken at once.

    Filling it then changes nothing but its numbers: whenever the process is killed, the file can be opened.

    Returns
    -------
    h5py.h5p.PropDCID
    """
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return properties


def _parts(path):
    """The file that is filled and its log, hidden beside a path."""
    return [path.with_name(f".partial.{path.name}{end}") for end in ("", ".log")]


def _opened(part, log, identity, lay_out):
    """The file, as another process left it or new."""
    if part.exists():
        file = _reopened(part)  # before anything is removed: its lock says whether it is in use
        if file is not None and _begun_with(log, _opening(file, identity)):
            return file
        if file is not None:
            file.close()
    _discard(part, log)
    new = part.with_name(f".{os.getpid()}.part{part.name}")
    try:
        lay_out(new)
        with h5py.File(new) as file:
            log.write_text(json.dumps(_opening(file, identity)) + "\n", encoding="utf-8")
        os.replace(new, part)
    finally:
        new.unlink(missing_ok=True)
    return h5py.File(part, "r+")


def _reopened(part):
    """A file left behind; None if it cannot be read."""
    try:
        return h5py.File(part, "r+")
    except BlockingIOError:
        raise
    except hdf5.SUSPECT:
        return None


def _opening(file, identity):
    """First line of the log: what the content depends on, and which variables there are."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = [item.shape, str(item.dtype)]

    try:
        file.visititems(visit)
    except hdf5.SUSPECT:
        found = {}
    return json.loads(json.dumps({"identity": identity, "variables": found}))


def _begun_with(log, opening):
    """Whether what was left was made from the same, and not given its last touch already."""
    records = _records(log)
    return bool(records) and records[0] == opening and "sealed" not in records[-1]


def _records(log):
    """Lines of the log up to the first that is torn."""
    found = []
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    for line in text.splitlines(keepends=True):
        try:
            found.append(json.loads(line) if line.endswith("\n") else None)
        except ValueError:
            break
    return [record for record in found if isinstance(record, dict)]


def _whole(file, log):
    """Records of the batches, from the first on, whose numbers are as they were written; the log is cut to them."""
    opening, *records = _records(log)
    kept = []
    for record in records:
        if not _is_whole(file, record):
            break
        kept.append(record)
    with artefacts.atomic(log) as new:
        new.write_text("".join(json.dumps(record) + "\n" for record in (opening, *kept)), encoding="utf-8")
    return kept


def _is_whole(file, record):
    """Whether the numbers of a batch are as they were written."""
    try:
        rows = slice(record["start"], record["stop"])
        return all(_checksum(file[name][rows]) == value for name, value in record["sums"].items())
    except (*hdf5.SUSPECT, AttributeError):
        return False


def _checksum(values):
    """Sum of an array's bytes, taken eight at a time, and of the rest: what is missing shows, at little cost."""
    content = np.frombuffer(memoryview(values).cast("B"), dtype=np.uint8)
    whole = len(content) // 8 * 8
    return int(content[:whole].view(np.uint64).sum(dtype=np.uint64)) ^ int(content[whole:].sum())


def _discard(*files):
    """Remove files."""
    for file in files:
        file.unlink(missing_ok=True)
