"""Files of the web, by address, hash and size: fetched once, checked always, never half."""

import contextlib
import hashlib
import logging
import os
import re
import time
from pathlib import Path
from typing import NamedTuple

import pooch
import requests
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from lib import locked
from lib.addresses import inside, location, mirror, raw
from lib.artefacts import digest, home
from lib.plugins import first
from lib.transfer import (
    TIMEOUT_S,
    Copy,
    DownloadError,
    NoNetwork,
    NotThere,
    Partial,
    Transfer,
    WrongHash,
    WrongSize,
    no_data,
)

__all__ = [
    "DownloadError",
    "NoNetwork",
    "NotThere",
    "WrongHash",
    "WrongSize",
    "fetch",
    "fetch_all",
    "location",
    "mirror",
    "missing",
    "placed",
    "raw",
]

RETRIES = 2  # of an attempt that brought nothing new
# An interrupted transfer leaves an empty file of this name.
ABANDONED = re.compile(r"tmp[a-z0-9_]{8}")
ABANDONED_AFTER_S = 20 * TIMEOUT_S


class _Row(NamedTuple):
    """A file that is wanted."""

    url: str
    sha256: str  # "": nobody published it, and it has never been here
    size: int  # bytes, 0 if unknown; without a hash only announced
    entry: locked.Entry | None = None  # where hash and size are not published ones, but those recorded


def fetch(url, sha256="", size=0):
    """Path of one file of the web, fetched if it is not here yet, and checked in any case.

    Parameters
    ----------
    url : str
    sha256 : str, optional
        64 hexadecimal digits. "" if nobody published them: then hash and size are recorded in
        `data/locked.csv` when the file first comes, and it is held to them from then on.
    size : int, optional
        Bytes; 0 if unknown. Without a hash it is only announced, not checked.

    Returns
    -------
    pathlib.Path
        `data/raw/<host>/<path>`; its content has the declared, or else the recorded, size and hash.

    Raises
    ------
    ValueError
        If the address is unsafe (see `location`), `data/locked.csv` is damaged, or an HDF5 file without published
        hash ends whoever reads it (see `lib.hdf5.tried`); then nothing is recorded of it.
    DownloadError
        `WrongHash`, `WrongSize`, `NotThere` or `NoNetwork`. Nothing is left under the file's name then,
        except a damaged file that was already there; what came before a connection broke is kept hidden
        beside it, and the next attempt continues there.
    """
    return fetch_all([(url, sha256, size)])[url]


def fetch_all(rows):
    """Paths of several files of the web; one progress bar counts the bytes of those not here yet.

    Each file is taken from `$DATA_MIRROR` if it is there, else from the network. A file that is here with
    another content than declared is fetched again. Of processes that want the same file at once, one fetches
    it and the others wait.

    Parameters
    ----------
    rows : iterable of (url, sha256, size)
        As for `fetch`; for instance `table.itertuples(index=False)`.

    Returns
    -------
    dict
        Path by url, in the given order.

    Raises
    ------
    ValueError, DownloadError
        As `fetch`.
    """
    rows = _rows(rows)
    wanted = [row for row, fault in _faults(rows) if fault != ""]
    total = sum(row.size for row in wanted)
    unknown = sum(not row.size for row in wanted)
    what = f"download ({unknown} of unknown size)" if unknown else "download"
    if wanted:
        kept = sum(_already(row) for row in wanted)
        logging.getLogger(__name__).info(
            "%d files to fetch, %.1f MB%s%s",
            *(len(wanted), total / 1e6, f" and {unknown} of unknown size" if unknown else ""),
            f"; {kept / 1e6:.1f} MB have come already" if kept else "",
        )
    with tqdm(total=total, unit="B", unit_scale=True, desc=what, disable=not wanted) as bar:
        for row in rows:
            if row in wanted or not row.sha256:
                bar.set_postfix_str(location(row.url).name, refresh=False)
                _fetch(row if row in wanted else row._replace(size=0), bar)
    return {row.url: raw(row.url) for row in rows}


def missing(rows):
    """The rows whose file is not here with the declared, or else the recorded, size and hash.

    Parameters
    ----------
    rows : iterable of (url, sha256, size)
        As for `fetch`.

    Returns
    -------
    list of tuple
        (url, sha256, size), the latter two as recorded where nobody published them. The sizes add up to the
        bytes still to fetch, but for files of unknown size (0).
    """
    return [tuple(row[:3]) for row, fault in _faults(_rows(rows)) if fault != ""]


def placed(paths, advice):
    """Paths of files that come by form or by hand, held to the content they had when first used.

    Parameters
    ----------
    paths : iterable of str
        Relative, with slashes, for instance "algonauts2021/participants_data_v2021/V1.pkl". Looked up below
        `data/raw`, then below `$DATA_MIRROR`.
    advice : str
        Where to ask for them.

    Returns
    -------
    dict
        pathlib.Path by path, in the given order.

    Raises
    ------
    ValueError
        If a path could leave its folder, `data/locked.csv` is damaged, or an HDF5 file ends whoever reads it.
    NotThere
        If files are missing, or one is empty or a web page.
    WrongHash
        If a file is not what it was when `data/locked.csv` recorded it, under `placed:<path>`.
    """
    folders = [home() / "data" / "raw"]
    folders += [Path(os.environ["DATA_MIRROR"]).resolve()] if os.environ.get("DATA_MIRROR") else []
    places = {path: [folder / _relative(path) for folder in folders] for path in paths}
    found = {path: next(filter(Path.is_file, there), None) for path, there in places.items()}
    if absent := [path for path, there in found.items() if there is None]:
        unset = "" if len(folders) > 1 else " (or below $DATA_MIRROR, which is not set)"
        raise NotThere(
            f"{len(absent)} of {len(found)} files are not here: {first(absent)}. "
            f"{advice.rstrip('. ')}. Put them below {' or '.join(map(str, folders))}{unset}, and run again."
        )
    _hold(found)
    return found


def _relative(path):
    """A placed file's relative path, checked."""
    if path.startswith("/") or path.endswith("/") or not path:
        raise ValueError(f"{path!r} is no path of a file relative to data/raw")
    return inside([p for p in path.split("/") if p], path)


def _hold(found):
    """Compare placed files with what is recorded of them; record the new ones."""
    known, new = locked.entries(), {}
    for path, there in _counted(found.items(), lambda item: item[1]):
        key, content = f"placed:{path}", (digest(there), there.stat().st_size)
        if key not in known and (fault := no_data(there, there.as_uri())):
            raise NotThere(f"{there} {fault}; replace it")
        if key not in known:
            _survives(there)
        if known.get(key, content)[:2] != content:
            what = f"{there} has sha256 {content[0]} and {content[1]} bytes, which it had not before"
            raise WrongHash(f"{what}. {locked.accepting(key, known[key])}")
        new |= {} if key in known else {key: content}
    if new:
        locked.record(new)


def _survives(path):
    """ValueError if reading a file that nobody vouches for would end its reader."""
    from lib import hdf5  # takes longer to import than all else here

    hdf5.tried(path)


def _counted(items, place):
    """The items one by one, with a bar of the bytes of their files if it takes long."""
    items = list(items)
    sizes = [path.stat().st_size if (path := place(item)).is_file() else 0 for item in items]
    with tqdm(total=sum(sizes), unit="B", unit_scale=True, desc="check", delay=2) as bar:
        for item, size in zip(items, sizes, strict=True):
            yield item
            bar.update(size)


def _rows(rows):
    """Rows, each once, with what is recorded where nothing is published."""
    known, found = None, []
    for url, sha256, size in rows:
        stated = str(size) if re.fullmatch(r"[0-9]{1,18}", str(size)) else "-1"
        row = _Row(str(url), str(sha256).lower(), int(stated))
        location(row.url)
        if not re.fullmatch(r"([0-9a-f]{64})?", row.sha256) or row.size < 0:
            raise ValueError(
                f"{url} is declared with sha256 {sha256!r} and size {size!r}; right are 64 hexadecimal digits, "
                "or nothing where nobody published them, and a number of bytes, or 0 where it is unknown"
            )
        if not row.sha256:
            known = locked.entries() if known is None else known
            row = _recorded(row, known)
        found.append(row)
    return list(dict.fromkeys(found))


def _recorded(row, known):
    """A row without a published hash, with the recorded one if there is one."""
    entry = known.get(row.url)
    return _Row(row.url, entry.sha256, entry.size, entry) if entry else row


def _faults(rows):
    """Each row with what is wrong with its file (see `_fault`)."""
    return [(row, _fault(row)) for row in _counted(rows, lambda row: raw(row.url))]


def _fault(row):
    """What is wrong with a file: "" if nothing, None if it is not there."""
    path = raw(row.url)
    if not path.is_file():
        return None
    if not row.sha256:
        fault = no_data(path, row.url)
        return fault and f"{path} {fault}"
    if row.size and path.stat().st_size != row.size:
        return f"{path} has {path.stat().st_size} bytes instead of {row.size}"
    found = digest(path)
    return "" if found == row.sha256 else f"{path} has sha256 {found} instead of {row.sha256}"


def _already(row):
    """Bytes of a file that an earlier transfer has left."""
    return 0 if _mirrored(row) else Partial(raw(row.url)).size


def _mirrored(row):
    """The file in the mirror, None if it is not there."""
    path = mirror(row.url)
    return path if path and path.is_file() else None


@contextlib.contextmanager
def _alone(row):
    """Let one process at a time have to do with a file."""
    name = hashlib.sha256(str(location(row.url)).encode()).hexdigest()[:32]
    path = home() / "data" / "raw" / ".locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logging.getLogger(__name__).info("waiting for another process that fetches %s", row.url)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fetch(row, bar):
    """Fetch one file unless another process has, and record it where nobody published its hash."""
    path = raw(row.url)
    with _alone(row):
        if _fault(row) != "":
            _take(row, bar)
        else:
            bar.update(row.size)
        if not row.sha256:
            _survives(path)
            locked.record({row.url: (digest(path), path.stat().st_size)})


def _take(row, bar):
    """Let pooch take one file; it writes beside, checks, and moves when complete."""
    path, source = raw(row.url), _mirrored(row)
    if not row.sha256:
        path.unlink(missing_ok=True)  # it is no data, and pooch would leave it
    declared = {"sha256": row.sha256, "size": row.size, "bar": bar}
    _sweep(path.parent)
    pooch.get_logger().setLevel(logging.WARNING)  # the bar says the rest
    keeper = pooch.create(
        path=path.parent,
        base_url="",
        registry={path.name: row.sha256 or None},
        urls={path.name: row.url},
        retry_if_failed=0 if source else RETRIES,
    )
    try:
        keeper.fetch(path.name, downloader=Copy(source, **declared) if source else Transfer(path, **declared))
    except requests.RequestException as error:
        raise NoNetwork(_advice(f"{row.url} cannot be fetched ({error})", row)) from error
    except DownloadError as error:
        raise type(error)(_advice(str(error), row)) from error
    Partial(path).discard()


def _sweep(folder):
    """Remove what killed transfers have left in a folder, apart from what can be continued."""
    for path in folder.glob("tmp*"):
        if ABANDONED.fullmatch(path.name) and time.time() - path.stat().st_mtime > ABANDONED_AFTER_S:
            path.unlink(missing_ok=True)


def _advice(what, row):
    """A message that ends with where to put the file by hand."""
    damaged, partial = _fault(row), Partial(raw(row.url))
    note = f" The file that is here cannot be used: {damaged}." if damaged else ""
    note += f" {partial.size} bytes are kept; the next run continues there." if partial.size else ""
    note += f" {locked.accepting(row.url, row.entry)}" if row.entry else ""
    unset = "" if os.environ.get("DATA_MIRROR") else " (DATA_MIRROR is not set)"
    content = f" with sha256 {row.sha256}" if row.sha256 else ""
    content += f" and {row.size} bytes" if row.sha256 and row.size else ""
    return (
        f"{what}.{note} Put the file{content} by hand at {raw(row.url)} "
        f"or at {mirror(row.url) or Path('$DATA_MIRROR') / location(row.url)}{unset}, and run again."
    )
