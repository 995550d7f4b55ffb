"""MATLAB files of version 5: elements of tag and bytes, each checked to lie inside the one that holds it."""

import zlib

import numpy as np
import scipy.sparse

HEADER = 128  # bytes before the first variable
LIMIT_DEPTH = 50
LIMIT_FIELDLESS = 1_000_000  # structures without fields take no bytes
LIMIT_BYTES = 20_000_000_000
# Types of elements: numbers, text, and what holds others.
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
CODECS = {1: ("latin1", 1), 2: ("latin1", 1), 16: ("utf-8", 1), 4: ("utf-16", 2), 17: ("utf-16", 2),
          18: ("utf-32", 4)}  # fmt: skip
MATRIX, COMPRESSED = 14, 15
# Classes of MATLAB; those of numbers with the type that their values are meant to have.
CELL, STRUCT, OBJECT, CHAR, SPARSE, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 16, 17
NUMBERS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
COMPLEX, LOGICAL = 0x800, 0x200


def variables(content, names=None):
    """Variables of a file.

    Parameters
    ----------
    content : bytes-like
        The whole file.
    names : container of str, optional
        Which are wanted; all by default. Others are stepped over.

    Returns
    -------
    dict
        Value by name; None for what is not wanted, and for functions and objects that MATLAB keeps in a way of
        its own. Numbers are arrays of the type that their class says; text, cells, structures and sparse
        matrices as `lib.matfiles.read` describes.

    Raises
    ------
    ValueError
        If the content is truncated or damaged; the message names the byte.
    """
    content = memoryview(content)
    cursor = _Cursor(content, "<" if bytes(content[126:128]) == b"IM" else ">", HEADER, len(content))
    found = {}
    while cursor.place < cursor.end:
        kind, inner = cursor.take(padded=False)
        if kind == COMPRESSED:
            kind, inner = _inflated(inner)
        if kind != MATRIX:
            inner.fail(f"element of type {kind} where a variable is needed")
        name, value = _variable(inner, names, 0)
        if name:
            found[name] = value
    return found


class _Cursor:
    """A range of bytes, and the place where the next element begins."""

    def __init__(self, content, order, place, end, told=""):
        self.content, self.order, self.place, self.end, self.told = content, order, place, end, told

    def fail(self, what):
        """Raise, telling the present byte."""
        raise ValueError(f"at byte {self.place}{self.told}: {what}")

    def take(self, *, padded=True):
        """Type and inner range of the next element; this range goes on behind it."""
        left = self.end - self.place
        if left < 8:
            self.fail(f"truncated: 8 bytes of a tag are needed, {left} left")
        first, size = np.frombuffer(self.content[self.place : self.place + 8], self.order + "u4").tolist()
        small = first >> 16  # up to 4 bytes lie in the tag itself
        kind, size, start = (first & 0xFFFF, small, 4) if small else (first, size, 8)
        if start + size > (8 if small else left):
            self.fail(f"truncated: {size} bytes are announced, {left - start} left")
        begin = self.place + start
        # Behind the last element, padding may lack.
        whole = 8 if small else start + size + (-size % 8 if padded else 0)
        self.place = min(self.end, self.place + whole)
        return kind, _Cursor(self.content, self.order, begin, begin + size, self.told)

    def numbers(self, kinds="iuf"):
        """The next element as numbers, integer or floating."""
        kind, inner = self.take()
        if kind not in STORED or STORED[kind][0] not in kinds:
            inner.fail(f"element of type {kind} where numbers are needed")
        dtype = np.dtype(self.order + STORED[kind])
        if (inner.end - inner.place) % dtype.itemsize:
            inner.fail(f"{inner.end - inner.place} bytes are no whole number of {dtype}")
        return np.frombuffer(self.content[inner.place : inner.end], dtype)

    def text(self):
        """The next element as text, one character a byte or more."""
        kind, inner = self.take()
        if kind not in CODECS:
            inner.fail(f"element of type {kind} where text is needed")
        codec, width = CODECS[kind]
        content = bytes(self.content[inner.place : inner.end])
        if width > 1:
            codec += "-le" if self.order == "<" else "-be"
        try:
            return content.decode(codec)
        except UnicodeDecodeError as error:
            return inner.fail(f"text cannot be read: {error}")


def _inflated(cursor):
    """Type and inner range of a compressed element; its bytes are counted from the first one that comes out."""
    told = f" of what is compressed at byte {cursor.place}"
    stream = zlib.decompressobj()
    try:
        tag = stream.decompress(cursor.content[cursor.place : cursor.end], 8)
        kind, size = np.frombuffer(tag, cursor.order + "u4").tolist()
        content = tag + stream.decompress(stream.unconsumed_tail, size + 1)
    except (zlib.error, ValueError, MemoryError) as error:
        return cursor.fail(f"what is compressed is damaged: {error}")
    if len(content) != 8 + size or not stream.eof:
        cursor.fail(
            f"what is compressed is damaged or cut off: it gives {len(content)} bytes, not {8 + size}"
        )
    return kind, _Cursor(memoryview(content), cursor.order, 8, len(content), told)


def _variable(cursor, names, depth):
    """Name and value of a variable, or of a part of one."""
    if depth > LIMIT_DEPTH:
        cursor.fail(f"nested more than {LIMIT_DEPTH} deep")
    if cursor.place == cursor.end:  # what was never set in a cell
        return "", np.empty((0, 0))
    flags = cursor.numbers("u")
    if len(flags) != 2:
        cursor.fail(f"{len(flags)} flags instead of 2")
    kind, marks = int(flags[0]) & 0xFF, int(flags[0])
    shape = () if kind == OPAQUE else tuple(cursor.numbers("iu").tolist())
    name = cursor.text()
    # Behind the variables lies, without a name, what MATLAB keeps for objects of its own.
    if kind in (FUNCTION, OPAQUE) or (depth == 0 and not name) or (names is not None and name not in names):
        return name, None
    if len(shape) < 2 or any(n < 0 for n in shape) or len(shape) > 32:
        cursor.fail(f"variable {name!r} has shape {shape}")
    return name, _value(cursor, kind, marks, shape, depth)


def _value(cursor, kind, marks, shape, depth):
    """What a variable holds, by its class."""
    if kind in NUMBERS:
        return _numbers(cursor, NUMBERS[kind], marks, shape)
    if kind == CHAR:
        return _text(cursor, shape)
    if kind == SPARSE:
        return _sparse(cursor, marks, shape)
    if kind == CELL:
        return _cells(cursor, shape, depth)
    if kind == OBJECT:
        cursor.text()  # its class
    if kind in (STRUCT, OBJECT):
        return _structures(cursor, shape, depth)
    return cursor.fail(f"class {kind} is not known")


def _size(shape):
    return int(np.prod(shape, dtype=object))


def _numbers(cursor, dtype, marks, shape):
    """An array of numbers or truths."""
    values = _parts(cursor, marks, np.dtype(dtype))
    if len(values) != _size(shape):
        cursor.fail(f"{len(values)} values for shape {shape}")
    return values.reshape(shape, order="F")


def _parts(cursor, marks, dtype):
    """Values, of which imaginary parts may follow the real ones."""
    values = cursor.numbers().astype(bool if marks & LOGICAL else dtype)
    if not marks & COMPLEX:
        return values
    imaginary = cursor.numbers()
    if len(imaginary) != len(values):
        cursor.fail(f"{len(imaginary)} imaginary parts for {len(values)} values")
    return values + 1j * imaginary.astype(dtype)


def _text(cursor, shape):
    """One str; several rows give a list."""
    text = cursor.text() if _size(shape) else ""
    if shape[0] <= 1:
        return text
    if len(text) != _size(shape):
        cursor.fail(f"{len(text)} characters for shape {shape}")
    letters = np.array(list(text), dtype="U1").reshape(shape[0], -1, order="F") if text else []
    return ["".join(row) for row in letters]


def _sparse(cursor, marks, shape):
    """A sparse matrix: rows, beginnings of columns, values."""
    rows, starts = cursor.numbers("iu").astype(np.int64), cursor.numbers("iu").astype(np.int64)
    values = _truths(cursor, rows) if marks & LOGICAL else _parts(cursor, marks, np.dtype("f8"))
    try:
        return sparse(values, rows, starts, shape)
    except ValueError as error:
        return cursor.fail(str(error))


def sparse(values, rows, starts, shape):
    """A sparse matrix, checked before compiled code trusts it.

    Parameters
    ----------
    values : numpy.ndarray
        One or more per entry of `rows`, which may be longer than needed.
    rows : numpy.ndarray
        Row of each value, whole numbers from 0.
    starts : numpy.ndarray
        Where in `rows` each column begins; one more than columns.
    shape : tuple of int

    Returns
    -------
    scipy.sparse.csc_array
        With sorted rows.

    Raises
    ------
    ValueError
        If these are not the parts of such a matrix.
    """
    count = int(starts[-1]) if len(starts) else -1
    if len(shape) != 2 or len(starts) != shape[1] + 1 or not 0 <= count <= min(len(rows), len(values)):
        raise ValueError(
            f"a sparse matrix {shape} with {len(starts)} beginnings of columns, {len(values)} values"
        )
    values, rows = values[:count], rows[:count]
    if starts[0] or (np.diff(starts) < 0).any() or ((rows < 0) | (rows >= shape[0])).any():
        raise ValueError(f"a sparse matrix {shape} with rows or columns outside of it")
    matrix = scipy.sparse.csc_array((values, rows, starts), shape=shape)
    matrix.sort_indices()
    return matrix


def _truths(cursor, rows):
    """Truths of a sparse matrix: MATLAB says double and stores bytes."""
    kind, inner = cursor.take()
    values = np.frombuffer(cursor.content[inner.place : inner.end], np.uint8)
    if len(values) < len(rows) or kind not in STORED:
        inner.fail(f"{len(values)} truths for {len(rows)} rows")
    return values[: len(rows)].astype(bool)


def _cells(cursor, shape, depth):
    """An object array."""
    if 8 * _size(shape) > cursor.end - cursor.place:
        cursor.fail(f"{_size(shape)} cells do not fit into {cursor.end - cursor.place} bytes")
    flat = np.empty(_size(shape), object)
    for place in range(len(flat)):
        flat[place : place + 1] = [_part(cursor, depth)]
    return flat.reshape(shape, order="F")


def _part(cursor, depth):
    """A cell or field."""
    kind, inner = cursor.take()
    if kind != MATRIX:
        inner.fail(f"element of type {kind} where a part of a variable is needed")
    return _variable(inner, None, depth + 1)[1]


def _structures(cursor, shape, depth):
    """One dict, or an object array of several."""
    fields = _fields(cursor)
    count, left = _size(shape), cursor.end - cursor.place
    if 8 * count * len(fields) > left or count > max(left, LIMIT_FIELDLESS):
        cursor.fail(f"{count} structures of {len(fields)} fields do not fit into {left} bytes")
    flat = np.empty(count, object)
    for place in range(count):
        flat[place] = {field: _part(cursor, depth) for field in fields}
    return flat[0] if count == 1 else flat.reshape(shape, order="F")


def _fields(cursor):
    """Names of fields, each padded to one length."""
    length = cursor.numbers("iu")
    if len(length) != 1 or length[0] < 1:
        cursor.fail(f"names of fields of {length.tolist()} bytes")
    width, text = int(length[0]), cursor.text()
    return [text[i : i + width].split("\0")[0] for i in range(0, len(text), width)]
