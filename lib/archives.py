"""Archives (tar, tar.gz, zip) of which every member is checked before any is read."""

import contextlib
import fnmatch
import functools
import gzip
import io
import itertools
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lib import plugins
from lib.artefacts import atomic

LIMIT_BYTES = 20_000_000_000
# Real data shrink some 20-fold at most; below the floor what comes out does no harm.
LIMIT_RATIO, FLOOR_BYTES = 100, 100_000_000
LIMIT_MEMBERS = 2_000_000
PIECE = 1 << 20  # bytes
LIMIT_HEADER = 64 * PIECE
# What the readers of the standard library raise for damaged archives, beside OSError.
DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile, struct.error),
    *(ValueError, LookupError, ArithmeticError, MemoryError, RuntimeError, TypeError),
)
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


class Unsafe(ValueError):
    """An archive that could write outside its folder, or fill memory or disk."""


@dataclass(frozen=True)
class Member:
    """One file of an archive: name, size in bytes, CRC-32 (None in a tar), and the reader's own record."""

    name: str
    size: int
    crc: int | None
    record: object


def names(path, *, limit_ratio=LIMIT_RATIO):
    """Names of all files in an archive, checked.

    Parameters
    ----------
    path : str or pathlib.Path
        tar, tar.gz or zip, told apart by content.
    limit_ratio : float
        Largest factor by which what is compressed may grow (beyond the first 100 MB).

    Returns
    -------
    list of str
        In the archive's order, with forward slashes, without folders.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    Unsafe
        If any member is absolute, climbs out, is a link or a device, is encrypted, occurs twice, differs from
        another in case only, or grows too much: the whole archive is refused then.
    ValueError
        If the archive is damaged, or of another kind; the message names file and byte.
    """
    return [member.name for member in _members(path, limit_ratio)]


@contextlib.contextmanager
def stream(path, member, *, limit_bytes=LIMIT_BYTES, limit_ratio=LIMIT_RATIO):
    """Open one member of an archive in place.

    Parameters
    ----------
    path : str or pathlib.Path
    member : str
        One of `names(path)`.
    limit_bytes : int
        Largest size the member may have.
    limit_ratio : float
        As in `names`.

    Yields
    ------
    io.BufferedReader
        Binary, seekable; `raw.size` is the member's size in bytes, `name` says where it comes from. What
        turns out to be damaged while reading raises ValueError.

    Raises
    ------
    ValueError
        As `names`; and if there is no such member, or it is larger than allowed (`Unsafe`).
    """
    with contextlib.closing(
        streams(path, [member], limit_bytes=limit_bytes, limit_ratio=limit_ratio)
    ) as opened:
        yield next(opened)[1]


def streams(path, members, *, limit_bytes=LIMIT_BYTES, limit_ratio=LIMIT_RATIO):
    """Open several members of an archive in place, one after the other; the archive itself is opened once.

    Parameters
    ----------
    path : str or pathlib.Path
    members : iterable of str
        Some of `names(path)`.
    limit_bytes : int
        Largest size that each member may have.
    limit_ratio : float
        As in `names`.

    Yields
    ------
    name : str
    stream : io.BufferedReader
        As `stream` gives it; closed when the next one is asked for.

    Raises
    ------
    ValueError
        As `stream`, before the first member is opened.
    """
    found = {m.name: m for m in _members(path, limit_ratio)}
    members = list(members)
    for member in members:
        if member not in found:
            near = [name for name in found if PurePosixPath(name).name == PurePosixPath(member).name]
            raise ValueError(f"{path} has no member {member!r}; it has {_first(near or list(found))}")
        _check_size(path, [found[member]], limit_bytes)
    with _container(path, limit_ratio) as container:
        for member in members:
            with _reader(path, container, found[member]) as reader:
                yield member, reader


def extract(path, folder, *, pattern="*", limit_bytes=LIMIT_BYTES, limit_ratio=LIMIT_RATIO):
    """Unpack an archive, or some of it, into a folder.

    Parameters
    ----------
    path : str or pathlib.Path
    folder : str or pathlib.Path
        Made if it is not there. Each file appears complete or not at all. Files that are there with the right
        size (and checksum, in a zip) are left alone; links in the folder are never followed.
    pattern : str
        Which members, with `*`, `?` and `[]`; `*` also matches slashes.
    limit_bytes : int
        Largest size of all these together.
    limit_ratio : float
        As in `names`.

    Returns
    -------
    dict
        pathlib.Path by member, in the archive's order.

    Raises
    ------
    ValueError
        As `names`; and if no member matches, or they are larger than allowed (`Unsafe`), or a link is in the
        way (`Unsafe`). Nothing is written if the archive is refused.
    """
    members = _members(path, limit_ratio)
    chosen = [m for m in members if fnmatch.fnmatchcase(m.name, pattern)]
    if not chosen:
        raise ValueError(f"{path} has no member like {pattern!r}; it has {_first([m.name for m in members])}")
    _check_size(path, chosen, limit_bytes)
    targets = {m: _target(Path(folder), m.name) for m in chosen}
    missing = [m for m, target in targets.items() if not _is_there(m, target)]
    if missing:
        with _container(path, limit_ratio) as container:
            for member in missing:
                _copy(path, container, member, targets[member])
    return {m.name: target for m, target in targets.items()}


def _copy(path, container, member, target):
    """Write one member."""
    with (
        _reader(path, container, member) as reader,
        atomic(target) as part,
        part.open("xb") as file,
    ):
        shutil.copyfileobj(reader, file, PIECE)


def _first(items):
    """The first few of a list, in words."""
    return plugins.first(map(repr, items)) or "none"


def _check_size(path, members, limit_bytes):
    total = sum(m.size for m in members)
    if total > limit_bytes:
        raise Unsafe(f"{path}: {_first([m.name for m in members])} would take {total} bytes, more than the "
                     f"{limit_bytes} allowed")  # fmt: skip


def _target(folder, name):
    """Where a member goes, if no link is on the way."""
    target = folder.resolve()
    for piece in PurePosixPath(name).parts:
        target = target / piece
        if target.is_symlink():
            raise Unsafe(f"{target} is a link; {name!r} is not written through it")
    return target


def _is_there(member, target):
    """Whether a file is already unpacked."""
    if not target.is_file() or target.stat().st_size != member.size:
        return False
    if member.crc is None:
        return True
    crc = 0
    with target.open("rb") as file:
        while piece := file.read(PIECE):
            crc = zlib.crc32(piece, crc)
    return crc == member.crc


def _members(path, limit_ratio):
    """All files of an archive, checked; remembered as long as the file stays the same."""
    status = Path(path).stat()
    return _listed(str(Path(path).resolve()), status.st_mtime_ns, status.st_size, limit_ratio)


@functools.lru_cache(maxsize=4)
def _listed(path, _changed, _size, limit_ratio):
    with _container(path, limit_ratio) as container, _telling(path):
        if isinstance(container, zipfile.ZipFile):
            members, faults = _zip_members(container, limit_ratio)
        else:
            members, faults = _tar_members(container)
    faults += _collisions([m.name for m in members])
    if faults:
        raise Unsafe(f"{path} is refused, nothing of it is read: {plugins.first(faults, between='; ')}")
    return tuple(members)


@contextlib.contextmanager
def _container(path, limit_ratio):
    """The open archive, as zipfile or tarfile see it."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(Path(path).open("rb"))
        magic = file.read(4)
        file.seek(0)
        with _telling(path):
            if magic[:2] == b"PK":
                container = zipfile.ZipFile(file)
            else:
                size = Path(path).stat().st_size
                if magic[:2] == b"\x1f\x8b":
                    limit = max(FLOOR_BYTES, limit_ratio * size)
                    file = stack.enter_context(gzip.GzipFile(fileobj=file))
                else:
                    limit = size
                container = tarfile.TarFile(fileobj=_Meter(file, limit, path))
        stack.enter_context(container)
        yield container


@contextlib.contextmanager
def _telling(path, where=""):
    """Damage becomes a ValueError that names the file."""
    try:
        yield
    except Unsafe:
        raise
    except (*DAMAGE, OSError) as error:
        raise ValueError(f"{path}{where} is damaged, or neither tar, tar.gz nor zip: {error}") from error


class _Meter:
    """A tar's bytes, of which no more are taken than a limit."""

    def __init__(self, file, limit, path):
        self.file, self.limit, self.path = file, limit, path

    def read(self, size=-1):
        """Bytes from here; asking for very many at once is a forged header."""
        if not 0 <= size <= LIMIT_HEADER:
            raise Unsafe(f"{self.path}: a header at byte {self.file.tell()} asks for {size} bytes at once")
        return self.file.read(size)

    def seek(self, position, whence=io.SEEK_SET):
        """Go to a byte, unless it lies beyond all that there can be."""
        if whence == io.SEEK_SET and position > self.limit:
            raise (Unsafe if isinstance(self.file, gzip.GzipFile) else tarfile.ReadError)(
                f"{self.path} ends, or grows too much, before byte {position} (at most {self.limit} bytes)"
            )
        return self.file.seek(position, whence)

    def tell(self):
        """The present byte."""
        return self.file.tell()

    def seekable(self):
        """Yes."""
        return True


def _tar_members(archive):
    """Files of a tar, and what is wrong with its members."""
    members, faults = [], []
    for entry in archive:
        if len(members) > LIMIT_MEMBERS:
            raise Unsafe(f"more than {LIMIT_MEMBERS} members")
        fault = _name_fault(entry.name) or _tar_fault(entry)
        if fault:
            faults.append(f"{entry.name!r} {fault}")
        elif entry.isreg():
            members.append(Member(_tidy(entry.name), entry.size, None, entry))
    _check_end(archive)
    return members, faults


def _tar_fault(entry):
    """Why an entry of a tar is neither a file nor a folder, in words."""
    if entry.islnk() or entry.issym():
        return f"is a link to {entry.linkname!r}"
    if entry.issparse():
        return "has holes (sparse)"
    return "" if entry.isreg() or entry.isdir() else "is a device or pipe"


def _check_end(archive):
    """A tar ends with zeros; what tarfile takes for the end may be a damaged header."""
    archive.fileobj.seek(archive.offset)
    block = archive.fileobj.read(tarfile.BLOCKSIZE)
    if len(block) != tarfile.BLOCKSIZE or any(block):
        raise tarfile.ReadError(f"damaged or cut off at byte {archive.offset} of its content")
    if isinstance(archive.fileobj.file, gzip.GzipFile):
        while archive.fileobj.read(PIECE):  # to the end, where the checksum is
            archive.fileobj.seek(archive.fileobj.tell())


def _zip_members(archive, limit_ratio):
    """Files of a zip, and what is wrong with its members."""
    entries = archive.infolist()
    if len(entries) > LIMIT_MEMBERS:
        raise Unsafe(f"{len(entries)} members, more than {LIMIT_MEMBERS}")
    members, faults = [], _overlaps(entries)
    for entry in entries:
        fault = _name_fault(entry.orig_filename) or _zip_fault(entry, limit_ratio)
        if fault:
            faults.append(f"{entry.orig_filename!r} {fault}")
        elif not entry.is_dir():
            members.append(Member(_tidy(entry.filename), entry.file_size, entry.CRC, entry))
    return members, faults


def _zip_fault(entry, limit_ratio):
    """What is wrong with an entry of a zip, in words."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link" if kind == stat.S_IFLNK else "is a device or pipe"
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if entry.compress_type not in METHODS:
        return f"is compressed by method {entry.compress_type}, not deflate"
    if entry.file_size > max(FLOOR_BYTES, limit_ratio * entry.compress_size):
        return f"would grow from {entry.compress_size} to {entry.file_size} bytes"
    return ""


def _overlaps(entries):
    """Members of a zip that share their bytes with the next one."""
    ordered = sorted(entries, key=lambda e: e.header_offset)
    return [
        f"{a.orig_filename!r} overlaps {b.orig_filename!r}"
        for a, b in itertools.pairwise(ordered)
        if a.header_offset + 30 + a.compress_size > b.header_offset
    ]


def _name_fault(name):
    """Why a name could leave its folder, in words."""
    if not name or name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "is not a relative path"
    if ".." in re.split(r"[/\\]", name):
        return "climbs out of its folder"
    return "holds a backslash or control character" if re.search(r"[\\\x00-\x1f\x7f]", name) else ""


def _tidy(name):
    """A name without `.` and doubled slashes."""
    return str(PurePosixPath(name))


def _collisions(names):
    """Names that would land on the same file, on any file system."""
    seen, faults = {}, []
    for name in names:
        key = unicodedata.normalize("NFC", name).casefold()
        if key in seen:
            same = "occurs twice" if seen[key] == name else f"differs from {seen[key]!r} in case only"
            faults.append(f"{name!r} {same}")
        seen[key] = name
    inner = {str(p) for key in seen for p in PurePosixPath(key).parents}
    return faults + [f"{name!r} is a file and a folder" for key, name in seen.items() if key in inner]


@contextlib.contextmanager
def _reader(path, container, member):
    """A member as a buffered stream."""
    where = f", member {member.name!r},"
    with contextlib.ExitStack() as stack:
        with _telling(path, where):
            if isinstance(container, zipfile.ZipFile):
                inner = stack.enter_context(container.open(member.record))
            else:
                inner = stack.enter_context(container.extractfile(member.record))
        yield stack.enter_context(io.BufferedReader(_Checked(inner, member, path, where), PIECE))


class _Checked(io.RawIOBase):
    """A member's bytes; damage is told with file, member and byte."""

    def __init__(self, inner, member, path, where):
        self.inner, self.size, self.path, self.where = inner, member.size, path, where
        self.name = f"{path}:{member.name}"

    def readable(self):
        """Yes."""
        return True

    def seekable(self):
        """Yes; backwards in what is compressed means from the start."""
        return True

    def tell(self):
        """The present byte of the member."""
        return self.inner.tell()

    def seek(self, offset, whence=io.SEEK_SET):
        """Go to a byte of the member."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self.size}[whence]
        with _telling(self.path, self.where):
            return self.inner.seek(min(max(start + offset, 0), self.size))

    def readinto(self, buffer):
        """Fill a buffer as far as there are bytes."""
        position = self.inner.tell()
        with _telling(self.path, f"{self.where} at byte {position}"):
            piece = self.inner.read(min(len(buffer), PIECE))
            if not piece and position < self.size:
                raise EOFError(f"it ends at byte {position} of {self.size}")
        buffer[: len(piece)] = piece
        return len(piece)
