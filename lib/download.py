"""Files of the web, by address, hash and size: fetched once, checked always, never half."""

import contextlib
import hashlib
import logging
import os
import re
import shutil
import time
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import pooch
import requests
from tqdm.auto import tqdm

from lib.artefacts import home

TIMEOUT_S = 30  # of silence, not of the whole transfer
RETRIES = 2
CHUNK = 1 << 16  # bytes
# An interrupted transfer leaves a file of this name; a living one is touched far more often than this.
ABANDONED = re.compile(r"tmp[a-z0-9_]{8}")
ABANDONED_AFTER_S = 20 * TIMEOUT_S
DEFAULT_PORTS = {"http": 80, "https": 443}
# Worth asking again: request timed out, too many requests, and all server errors.
PASSING = {408, 429}


class DownloadError(OSError):
    """A file could not be had as declared; the message says what to put where."""


class WrongHash(DownloadError):
    """A complete file whose content is not the declared one."""


class WrongSize(DownloadError, ValueError):
    """A file shorter (truncated) or longer than declared."""


class NotThere(DownloadError):
    """The server answers, but does not give the file."""


class NoNetwork(DownloadError):
    """The server does not answer, or breaks off at each attempt."""


def location(url):
    """Place of a file below `data/raw` and below `$DATA_MIRROR`: `<host>/<path>`, as `wget -x` writes it.

    Percent-encoding is undone; a port other than the scheme's own stays (`host:port`), so does a query
    (`name?query`, with `%2F` for a slash in it); doubled slashes count once.

    Parameters
    ----------
    url : str
        With scheme http or https.

    Returns
    -------
    pathlib.PurePosixPath
        Relative, without `.` or `..`.

    Raises
    ------
    ValueError
        If the scheme is another, host or file name is missing, or the path would climb out.
    """
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError(
            f"{url!r} is not an address of the web; it must begin with http://host/ or https://host/"
        )
    port = "" if parts.port in (None, DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    query = "?" + unquote(parts.query).replace("/", "%2F") if parts.query else ""
    pieces = [parts.hostname + port, *(p for p in (unquote(parts.path) + query).split("/") if p)]
    if len(pieces) < 2 or parts.path.endswith("/"):
        raise ValueError(f"{url!r} names no file")
    if any(p in (".", "..") or re.search(r"[\\\x00-\x1f]", p) for p in pieces):
        raise ValueError(
            f"{url!r} holds '.', '..', a backslash or a control character: it could leave its folder"
        )
    return PurePosixPath(*pieces)


def raw(url):
    """Path of a downloaded file: `data/raw/<host>/<path>` (see `location`), whether it is there or not."""
    return home() / "data" / "raw" / location(url)


def mirror(url):
    """Path of a file in the mirror, `$DATA_MIRROR/<host>/<path>`; None if the variable is unset."""
    folder = os.environ.get("DATA_MIRROR")
    return Path(folder).resolve() / location(url) if folder else None


def fetch(url, sha256, size):
    """Path of one file of the web, fetched if it is not here yet, and checked in any case.

    Parameters
    ----------
    url : str
    sha256 : str
        64 hexadecimal digits.
    size : int
        Bytes.

    Returns
    -------
    pathlib.Path
        `data/raw/<host>/<path>`; its content has the declared size and hash.

    Raises
    ------
    ValueError
        If the address is unsafe (see `location`).
    DownloadError
        `WrongHash`, `WrongSize`, `NotThere` or `NoNetwork`. Nothing is left under the file's name then,
        except a damaged file that was already there.
    """
    return fetch_all([(url, sha256, size)])[url]


def fetch_all(registry):
    """Paths of several files of the web; one progress bar counts the bytes of those not here yet.

    Each file is taken from `$DATA_MIRROR` if it is there, else from the network. A file that is here with
    another content than declared is fetched again.

    Parameters
    ----------
    registry : iterable of (url, sha256, size)
        For instance `table.itertuples(index=False)`.

    Returns
    -------
    dict
        Path by url, in the given order.

    Raises
    ------
    ValueError, DownloadError
        As `fetch`.
    """
    registry = [(str(url), str(sha256).lower(), int(size)) for url, sha256, size in registry]
    wanted = missing(registry)
    total = sum(size for _, _, size in wanted)
    if wanted:
        logging.getLogger(__name__).info("%d files to fetch, %.1f MB", len(wanted), total / 1e6)
    with tqdm(total=total, unit="B", unit_scale=True, desc="download", disable=not wanted) as bar:
        for url, sha256, size in wanted:
            bar.set_postfix_str(location(url).name, refresh=False)
            _fetch(url, sha256, size, bar)
    return {url: raw(url) for url, _, _ in registry}


def missing(registry):
    """The rows of a registry whose file is not here with the declared size and hash.

    Parameters
    ----------
    registry : iterable of (url, sha256, size)

    Returns
    -------
    list of tuple
        Their sizes add up to the bytes still to fetch.
    """
    return [row for row in registry if _fault(raw(row[0]), row[1], int(row[2])) != ""]


def _fault(path, sha256, size):
    """What is wrong with a file: "" if nothing, None if it is not there."""
    if not path.is_file():
        return None
    if path.stat().st_size != size:
        return f"{path} has {path.stat().st_size} bytes instead of {size}"
    found = pooch.file_hash(str(path))
    return "" if found == sha256 else f"{path} has sha256 {found} instead of {sha256}"


def _fetch(url, sha256, size, bar):
    """Fetch one file through pooch, which writes beside, checks, and moves when complete."""
    path, source = raw(url), mirror(url)
    source = source if source and source.is_file() else None
    _sweep(path.parent)
    pooch.get_logger().setLevel(logging.WARNING)  # the bar says the rest
    keeper = pooch.create(
        path=path.parent,
        base_url="",
        registry={path.name: sha256},
        urls={path.name: url},
        retry_if_failed=0 if source else RETRIES,
    )
    try:
        keeper.fetch(path.name, downloader=_Transfer(source, sha256, size, bar))
    except requests.RequestException as error:
        raise NoNetwork(_advice(f"{url} cannot be fetched ({error})", url, sha256, size)) from error


def _sweep(folder):
    """Remove what killed transfers have left in a folder."""
    for path in folder.glob("tmp*"):
        if ABANDONED.fullmatch(path.name) and time.time() - path.stat().st_mtime > ABANDONED_AFTER_S:
            path.unlink(missing_ok=True)


def _advice(what, url, sha256, size):
    """A message that ends with where to put the file by hand."""
    damaged = _fault(raw(url), sha256, size)
    note = f" The file that is here cannot be used: {damaged}." if damaged else ""
    unset = "" if os.environ.get("DATA_MIRROR") else " (DATA_MIRROR is not set)"
    return (
        f"{what}.{note} Put the file with sha256 {sha256} and {size} bytes by hand at {raw(url)} "
        f"or at {mirror(url) or Path('$DATA_MIRROR') / location(url)}{unset}, and run again."
    )


class _Transfer:
    """Downloader for pooch: copies from the mirror or the network, counts, then checks size and hash."""

    def __init__(self, source, sha256, size, bar):
        self.source, self.sha256, self.size, self.bar = source, sha256, size, bar

    def __call__(self, url, output_file, _pooch):
        self.url, self.count, self.digest = url, 0, hashlib.sha256()
        try:
            with open(output_file, "wb") as self.file:
                self._copy()
            self._check()
        except Exception:
            self.bar.update(-self.count)  # what comes to nothing is not progress
            raise

    def write(self, chunk):
        """Keep a piece, unless it is more than was declared."""
        self.count += len(chunk)
        self.bar.update(len(chunk))
        if self.count > self.size:
            self._refuse(WrongSize, f"is longer than the {self.size} bytes expected")
        self.digest.update(chunk)
        self.file.write(chunk)

    def flush(self):
        """Leave flushing to the file."""

    def _copy(self):
        if self.source:
            with open(self.source, "rb") as mirrored:
                shutil.copyfileobj(mirrored, self, CHUNK)
            return
        try:
            self._ask()
        except requests.exceptions.ChunkedEncodingError as error:
            self._refuse(WrongSize, f"is truncated, expected {self.size} bytes: {error}")

    def _ask(self):
        """Read from the network; a refusal that will not pass is not worth another attempt."""
        with contextlib.ExitStack() as stack:

            def close_later(answer, **_):
                stack.callback(answer.close)  # a transfer that fails would leave its socket open

            plain = {"Accept-Encoding": "identity"}
            ask = pooch.HTTPDownloader(
                chunk_size=CHUNK, timeout=TIMEOUT_S, headers=plain, hooks={"response": close_later}
            )
            try:
                ask(self.url, self, None)
            except requests.HTTPError as error:
                if error.response.status_code >= 500 or error.response.status_code in PASSING:
                    raise
                what = f"{self.url} is not given by its server ({error})"
                raise NotThere(_advice(what, self.url, self.sha256, self.size)) from error

    def _check(self):
        if self.count < self.size:
            self._refuse(WrongSize, f"is truncated, expected {self.size} bytes: {self.count} bytes read")
        if self.digest.hexdigest() != self.sha256:
            self._refuse(WrongHash, f"has sha256 {self.digest.hexdigest()}, expected {self.sha256}")

    def _refuse(self, kind, fault):
        """Say which source gave what, and what to do about it."""
        if self.source:
            what = f"The mirrored file {self.source} {fault}; replace or remove it"
        else:
            what = f"What {self.url} sends {fault}; it was damaged on the way or changed at its source"
        raise kind(_advice(what, self.url, self.sha256, self.size))
