"""One file transferred, so that a broken connection costs only what had not come yet."""

import os
import re
import time
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pooch
import requests

from lib.artefacts import load_json, save_json

TIMEOUT_S = 30  # of silence, not of the whole transfer
PAUSE_S = 1  # before a connection that broke is taken up again
CHUNK = 1 << 16  # bytes
# Worth asking again: request timed out, too many requests, and all server errors.
PASSING = {408, 429}
PAGES = {".html", ".htm", ".xhtml"}
MARKUP = re.compile(rb"\s*(<\?xml[^>]*>\s*|<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.I | re.S)


class DownloadError(OSError):
    """A file could not be had as declared; the message says what to put where."""


class WrongHash(DownloadError):
    """A complete file whose content is not the declared one."""


class WrongSize(DownloadError, ValueError):
    """A file shorter (truncated) or longer than declared."""


class Changed(WrongHash, WrongSize):
    """A complete file of another size than declared, hence of another content."""


class NotThere(DownloadError):
    """The server answers, but does not give the file."""


class NoNetwork(DownloadError):
    """The server does not answer, or breaks off at each attempt."""


class _Broken(Exception):
    """A connection that ended early without saying so."""


def no_data(path, url):
    """What shows a file to be no data: a server's page (a login, a "not found") saved under a data file's name.

    Parameters
    ----------
    path : pathlib.Path
    url : str
        Its address; pages are expected where it ends in `.html`, `.htm` or `.xhtml`.

    Returns
    -------
    str
        Empty if nothing speaks against the file.
    """
    with path.open("rb") as stream:
        start = stream.read(2048).removeprefix(b"\xef\xbb\xbf")
    if not start:
        return "is empty"
    if PurePosixPath(urlsplit(url).path).suffix.lower() not in PAGES and MARKUP.match(start):
        return f"is a web page (a login or a message in disguise?), no data: {start[:60]!r}"
    return ""


class Partial:
    """What is here of a file, hidden beside it, and what its server said of the whole.

    Parameters
    ----------
    path : pathlib.Path
        Final place of the file.
    """

    def __init__(self, path):
        self.content = path.with_name(f".{path.name}.partial")
        self._note = path.with_name(f".{path.name}.partial.json")

    @property
    def size(self):
        """Bytes that are here."""
        return self.content.stat().st_size if self.content.is_file() else 0

    @property
    def note(self):
        """ETag (strong) and Last-Modified ("" where not given), and size of the whole (None if not stated)."""
        try:
            found = load_json(self._note)
            return {"ETag": str(found["ETag"]), "Last-Modified": str(found["Last-Modified"])} | {
                "size": None if found["size"] is None else int(found["size"])
            }
        except (OSError, ValueError, TypeError, KeyError, OverflowError):
            return {"ETag": "", "Last-Modified": "", "size": None}

    def begin(self, headers, size):
        """Start afresh.

        Parameters
        ----------
        headers : mapping
            Of the server's answer.
        size : int or None
            Bytes of the whole.
        """
        self.discard()
        etag = headers.get("ETag", "")
        note = {"ETag": "" if etag.startswith("W/") else etag, "size": size}
        save_json(note | {"Last-Modified": headers.get("Last-Modified", "")}, self._note)

    def finish(self, place):
        """Give the whole a name; it also stays here until `discard`, should the process be killed before.

        Parameters
        ----------
        place : str or pathlib.Path
        """
        Path(place).unlink(missing_ok=True)
        try:
            os.link(self.content, place)
        except OSError:  # a file system without links
            os.replace(self.content, place)

    def discard(self):
        """Remove what is here."""
        self.content.unlink(missing_ok=True)  # first: a note without content does no harm
        self._note.unlink(missing_ok=True)


class _Taken:
    """What transfers have in common: what was declared, the bar that counts, and how faults are told."""

    wording = "{} {}"

    def __init__(self, sha256, size, bar):
        self.sha256, self.bar, self.counted = sha256, bar, size
        self.whole = size if sha256 and size else None  # bytes there must be in the end; None: not known

    def state(self, size):
        """Count on a size that was learned only now."""
        self.bar.total += size - self.counted
        self.counted = size

    def check(self, path, url, origin):
        """Refuse a file that is not the declared one; of an undeclared one, what is plainly no data."""
        count = path.stat().st_size
        if self.whole is not None and count != self.whole:
            fault = f"is truncated, expected {self.whole} bytes: {count} bytes read"
            longer = f"is longer than the {self.whole} bytes expected"
            self.refuse(Changed, origin, fault if count < self.whole else longer)
        if not self.sha256 and (fault := no_data(path, url)):
            self.refuse(NotThere, origin, fault)
        if self.sha256 and (found := pooch.file_hash(str(path))) != self.sha256:
            self.refuse(WrongHash, origin, f"has sha256 {found}, expected {self.sha256}")

    def refuse(self, kind, origin, fault):
        """Say what is wrong with what."""
        raise kind(self.wording.format(origin, fault))


class Copy(_Taken):
    """Downloader for pooch that takes a file from a mirror.

    Parameters
    ----------
    source : pathlib.Path
        The file in the mirror.
    sha256 : str
        64 hexadecimal digits, or "" if nobody published them.
    size : int
        Bytes, 0 if unknown; without a hash only announced.
    bar : tqdm.tqdm
        Counts the bytes.
    """

    wording = "The mirrored file {} {}; replace or remove it"

    def __init__(self, source, *, sha256, size, bar):
        super().__init__(sha256, size, bar)
        self.source = source

    def __call__(self, url, output_file, _pooch):
        size, count = self.source.stat().st_size, 0
        if self.whole is not None and size != self.whole:
            self.check(self.source, url, self.source)  # before a large file is copied in vain
        self.state(size)
        try:
            with self.source.open("rb") as mirrored, open(output_file, "wb") as file:
                while chunk := mirrored.read(CHUNK):
                    count += file.write(chunk)
                    self.bar.update(len(chunk))
            self.check(Path(output_file), url, self.source)
        except Exception:
            self.bar.update(-count)  # what comes to nothing is not progress
            raise


class Transfer(_Taken):
    """Downloader for pooch that takes a file from the network, and continues where it broke off.

    What has come lies beside the final place (`Partial`) until it is whole and right; a connection that breaks
    is taken up again for as long as each attempt brings more than all before.

    Parameters
    ----------
    path : pathlib.Path
        Final place of the file.
    sha256, size, bar
        As for `Copy`.

    References
    ----------
    RFC 9110, sections 13.1.5 (If-Range) and 14 (Range, Content-Range, 206 and 416).
    """

    wording = "What {} sends {}; it was damaged on the way or changed at its source"

    def __init__(self, path, *, sha256, size, bar):
        super().__init__(sha256, size, bar)
        self.partial, self.resumed = Partial(path), False
        expected, have = self._expected(), self.partial.size
        # Without hash and validator nobody could tell whether the rest belongs to what is here.
        if not (sha256 or self._validator()) or (expected is not None and have > expected):
            self.partial.discard()
        elif have and not bar.disable:
            bar.initial += have  # bytes of an earlier run say nothing about the speed of this one
            bar.n += have
            bar.last_print_n += have
            bar.refresh()

    def __call__(self, url, output_file, _pooch):
        self.url, most, afresh = url, self.partial.size, False
        while True:
            try:
                self._ask()
                self.check(self.partial.content, url, url)
                break
            except (requests.RequestException, _Broken) as error:
                if self.partial.size <= most:
                    self._give_up(error)
                most = self.partial.size
                time.sleep(PAUSE_S)
            except DownloadError:
                self._discard()
                if afresh or not self.resumed:
                    raise
                most, afresh = 0, True
            except OSError:
                self._discard()  # a full disk is not left full
                raise
        self.partial.finish(output_file)

    def write(self, file, chunk):
        """Keep a piece, so that it stays if this process is killed.

        Parameters
        ----------
        file : binary file
        chunk : bytes
        """
        file.write(chunk)
        file.flush()
        self.bar.update(len(chunk))

    def _ask(self):
        """Read what is missing, if anything is."""
        have, validator = self.partial.size, self._validator()
        self.resumed = have > 0
        if have and have == self._expected():
            return  # the last run ended between the last byte and the hash
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        headers |= {"If-Range": validator} if have and validator else {}
        with requests.get(self.url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
            if have and answer.status_code == 416:
                self.refuse(WrongSize, self.url, f"ends before the {have} bytes that are here already")
            answer.raise_for_status()
            (self._continue if answer.status_code == 206 else self._begin)(answer, have)
            self._receive(answer)

    def _receive(self, answer):
        """Keep what comes, unless it is more than there should be."""
        expected, count = self._expected(), self.partial.size
        with self.partial.content.open("ab") as file:
            for chunk in answer.iter_content(CHUNK):
                count += len(chunk)
                if expected is not None and count > expected:
                    self.refuse(Changed, self.url, f"is longer than the {expected} bytes expected")
                self.write(file, chunk)
        if expected is not None and count < expected:
            raise _Broken(f"{count} bytes read")

    def _begin(self, answer, have):
        """Expect the whole from its first byte."""
        if answer.status_code != 200:
            self.refuse(NotThere, self.url, f"is no content (status {answer.status_code})")
        encoded = answer.headers.get("Content-Encoding", "identity") != "identity"
        stated = answer.headers.get("Content-Length", "")
        size = int(stated) if stated.isdecimal() and not encoded else None
        if None not in (size, self.whole) and size != self.whole:
            self.refuse(Changed, self.url, f"has {size} bytes, expected {self.whole}")
        self.bar.update(-have)
        self.resumed = False
        self.partial.begin({} if encoded else answer.headers, size)
        if size is not None:
            self.state(size)

    def _continue(self, answer, have):
        """Make sure that the part that comes is the one asked for, of the same whole."""
        stated, note = answer.headers.get("Content-Range", ""), self.partial.note
        part = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", stated)
        begin, size = map(int, part.groups()) if part else (-1, -1)
        expected = self._expected()
        if begin != have or size != (size if expected is None else expected):
            fault = f"is part {stated!r}, expected bytes from {have} on of {expected or 'the whole'}"
            self.refuse(WrongSize, self.url, fault)
        name = "ETag" if note["ETag"] else "Last-Modified"
        if note[name] and answer.headers.get(name, note[name]) != note[name]:
            self.refuse(WrongSize, self.url, "is part of another version than what is here already")
        self.state(size)

    def _expected(self):
        """Bytes of the whole: as declared with a hash, else as the server said; None if nobody knows."""
        return self.partial.note["size"] if self.whole is None else self.whole

    def _validator(self):
        """What names the version that is here, for If-Range."""
        return self.partial.note["ETag"] or self.partial.note["Last-Modified"]

    def _discard(self):
        self.bar.update(-self.partial.size)  # what comes to nothing is not progress
        self.partial.discard()

    def _give_up(self, error):
        """Say why; what has come is kept for the next run."""
        if not self.partial.size:
            self.partial.discard()
        status = error.response.status_code if isinstance(error, requests.HTTPError) else 500
        if status < 500 and status not in PASSING:
            raise NotThere(f"{self.url} is not given by its server ({error})") from error
        if isinstance(error, requests.exceptions.ChunkedEncodingError | _Broken):
            fault = f"is truncated, expected {self._expected() or 'more'} bytes: {error}"
            self.refuse(WrongSize, self.url, fault)
        raise error
