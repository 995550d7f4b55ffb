"""The opcodes of a pickle, interpreted as data: no name in a file is ever imported or called."""

import codecs
import pickletools
import re
from collections import OrderedDict

import numpy as np

# Python 2 kept text and the bytes of arrays alike; longer ones than this are not text.
LONGEST_TEXT = 1 << 16
PIECE = 1 << 24  # bytes taken at a time from a stream of unknown length
LONGEST_LINE = 1 << 30
LIMIT_KEY = 10_000  # parts of a dictionary key; hashing visits them all
# What is made may exceed what was read by this factor, beyond the first 64 MB: one byte can stand for an element
# of eight, which passes through an array, an index and a table.
GROWTH, FLOOR_BYTES = 32, 1 << 26
BROKEN = (
    *(ValueError, TypeError, LookupError, ArithmeticError, MemoryError, AttributeError, RecursionError),
    *(EOFError, NotImplementedError),
)
LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
CONTAINERS = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
PLAIN = {
    *("FLOAT", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "UNICODE", "BINUNICODE"),
    *("SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "BINFLOAT"),
}
ESCAPE = re.compile(rb"""\\(?!['"abfnrtv]|x[0-9a-fA-F]{2})""")  # one that Python 2 does not write
MARK = object()


class Unsafe(ValueError):
    """A pickle that asks for something else than data."""


class Truncated(ValueError):
    """A file that ends too early."""


class Named:
    """What a name in a pickle stands for here; `make` gives the value for arguments, None: no call."""

    def __init__(self, name, make=None):
        self.name, self.make = name, make


class Pending:
    """An object whose state comes later: `complete(state)` gives its value, None means that none came."""

    def __init__(self, complete):
        self.complete, self.places = complete, []


class Stream:
    """A binary stream that knows where it is, and takes no memory for bytes that are not there.

    Parameters
    ----------
    file : binary file object
    name : str
        For messages.
    left : int or None
        Bytes to the end, if known.
    position : int
        Byte at which the file object stands.
    """

    def __init__(self, file, name, left, position=0):
        self.file, self.name, self.left, self.position = file, name, left, position

    def read(self, size):
        """Exactly so many bytes."""
        if self.left is not None and size > self.left:
            self._short(size)
        content = self.file.read(size) if size <= PIECE else self._pieces(size)
        if len(content) < size:
            self._short(size)
        self._took(content)
        return content

    def readline(self):
        """One line with its end."""
        line = self.file.readline(LONGEST_LINE)
        if not line.endswith(b"\n"):
            self._short(len(line) + 1)
        self._took(line)
        return line

    def _pieces(self, size):
        if self.left is not None:
            return self.file.read(size)
        content = bytearray()
        while len(content) < size and (piece := self.file.read(min(PIECE, size - len(content)))):
            content += piece
        return bytes(content)

    def _took(self, content):
        self.position += len(content)
        if self.left is not None:
            self.left -= len(content)

    def _short(self, size):
        raise Truncated(f"{self.name} is truncated: at byte {self.position} another {size} are announced, "
                        f"{'fewer' if self.left is None else self.left} are there")  # fmt: skip


class Machine:
    """One pickle of a stream.

    Parameters
    ----------
    stream : Stream
    table : dict
        What the names that are allowed stand for, by (module, name): `Named`, or a value.
    encoding : str
        Of text written by Python 2; "bytes" leaves it.
    """

    def __init__(self, stream, table, encoding):
        self.stream, self.table, self.encoding = stream, table, encoding
        self.stack, self.memo, self.spent, self.start = [], {}, 0, 0

    def run(self):
        """The value of the pickle.

        Returns
        -------
        object

        Raises
        ------
        Unsafe
            If it asks for more than data, or grows out of proportion.
        ValueError
            If it is truncated (`Truncated`) or damaged.
        """
        name = "its first opcode"
        try:
            while True:
                self.start = self.stream.position
                code = self.stream.read(1).decode("latin1")
                if code not in pickletools.code2op:
                    raise ValueError(f"{code!r} is no opcode")
                opcode = pickletools.code2op[code]
                name = opcode.name
                if name == "STOP":
                    return self._data(self._pop())
                self._step(name, self._argument(opcode))
        except Unsafe as error:
            raise Unsafe(self._located(error, name)) from error
        except Truncated as error:
            raise Truncated(self._located(error, name)) from error
        except BROKEN as error:
            what = f"{self.stream.name} is damaged at byte {self.start} ({name})"
            raise ValueError(f"{what}: {error or type(error).__name__}") from error

    def _located(self, error, name):
        """What an error says, with the file and the place if it is of a pickle inside this one."""
        inside = self.stream.name not in str(error)
        return f"{self.stream.name}, {name} at byte {self.start}: {error}" if inside else str(error)

    def _argument(self, opcode):
        """What follows an opcode."""
        if opcode.name == "STRING":
            line = self.stream.readline().strip()
            if len(line) < 2 or line[:1] not in b"'\"" or line[:1] != line[-1:]:
                raise ValueError("text without quotes")
            if ESCAPE.search(line.replace(b"\\\\", b"")):
                raise ValueError("text with an escape that is none")
            return codecs.escape_decode(line[1:-1])[0]
        if opcode.name in ("GLOBAL", "INST"):
            return tuple(self.stream.readline()[:-1].decode("utf-8") for _ in range(2))
        if opcode.name in ("BINSTRING", "SHORT_BINSTRING"):
            size = int.from_bytes(self.stream.read(4 if opcode.name == "BINSTRING" else 1), "little")
            return self.stream.read(size)
        return opcode.arg.reader(self.stream) if opcode.arg else None

    def _step(self, name, argument):
        """Carry out one opcode."""
        if name in PLAIN:
            self.stack.append(argument)
        elif name in LITERALS:
            self.stack.append(LITERALS[name])
        elif name in CONTAINERS:
            self.stack.append(CONTAINERS[name]())
        elif name in TUPLES:
            self.stack.append(tuple(self._last(TUPLES[name])))
        elif name.endswith("STRING"):
            self.stack.append(self._text(argument))
        elif name.endswith("PUT") or name == "MEMOIZE":
            self._put(len(self.memo) if argument is None else argument)
        elif name.endswith("GET"):
            self._get(argument)
        else:
            action = getattr(self, f"_op_{name.lower()}", None)
            if action is None:
                raise Unsafe(f"{self.stream.name}: at byte {self.start} {name} asks for more than data")
            action(argument)

    def _text(self, content):
        """Text of Python 2."""
        if self.encoding == "bytes" or len(content) > LONGEST_TEXT:
            return content
        return content.decode(self.encoding)

    # Stack and memo

    def _pop(self):
        value = self.stack.pop()
        if value is MARK:
            raise ValueError("nothing on the stack after the mark")
        return self._finished(value, None) if isinstance(value, Pending) else value

    def _last(self, count):
        return [self._pop() for _ in range(count)][::-1]

    def _since_mark(self):
        """All values after the last mark."""
        values = []
        while (value := self.stack.pop()) is not MARK:
            values.append(self._finished(value, None) if isinstance(value, Pending) else value)
        return values[::-1]

    def _top(self, kind):
        if not isinstance(self.stack[-1], kind):
            raise ValueError(f"{type(self.stack[-1]).__name__} where {kind.__name__} is needed")
        return self.stack[-1]

    def _put(self, place):
        if self.stack[-1] is MARK:
            raise ValueError("a mark cannot be kept")
        self.memo[place] = self.stack[-1]
        if isinstance(self.stack[-1], Pending):
            self.stack[-1].places.append(place)

    def _get(self, place):
        if place not in self.memo:
            raise ValueError(f"nothing was kept as {place}")
        if isinstance(self.memo[place], Pending):
            raise ValueError("an object is used before it is complete")
        self.stack.append(self.memo[place])

    def _finished(self, pending, state):
        """The value of what was pending, also where it was kept."""
        self._spend(state)
        value = pending.complete(state)
        for place in pending.places:
            if self.memo[place] is pending:
                self.memo[place] = value
        return value

    def _spend(self, value):
        """Count what something is made of: the same bytes could be used again and again."""
        self.spent += _weight(value)
        if self.spent > FLOOR_BYTES + GROWTH * self.stream.position:
            raise Unsafe(f"{self.stream.name}: up to byte {self.start} it grows to {self.spent} bytes")

    def _data(self, value):
        if isinstance(value, Named):
            raise Unsafe(
                f"{self.stream.name}: at byte {self.start} {value.name} is kept itself, not its data"
            )
        return value

    def _key(self, value):
        """A value that can be a key without hashing more than it is worth."""
        left, inner = LIMIT_KEY, [self._data(value)]
        while inner:
            item = inner.pop()
            left -= 1
            if isinstance(item, tuple):
                inner.extend(item[:LIMIT_KEY])
            if left < 0:
                raise Unsafe(f"{self.stream.name}: at byte {self.start} a key of more than {LIMIT_KEY} parts")
        return value

    # Opcodes

    def _op_proto(self, version):
        if version > 5:
            raise ValueError(f"protocol {version} is not known")

    def _op_frame(self, _):
        """Frames help only those who read ahead."""

    def _op_mark(self, _):
        self.stack.append(MARK)

    def _op_pop(self, _):
        self.stack.pop()

    def _op_pop_mark(self, _):
        self._since_mark()

    def _op_dup(self, _):
        self.stack.append(self._pop())
        self.stack.append(self.stack[-1])

    def _op_tuple(self, _):
        self.stack.append(tuple(self._since_mark()))

    def _op_list(self, _):
        self.stack.append([self._data(v) for v in self._since_mark()])

    def _op_dict(self, _):
        values = self._since_mark()
        self.stack.append({})
        self._set(values)

    def _op_frozenset(self, _):
        self.stack.append(frozenset(self._key(v) for v in self._since_mark()))

    def _op_append(self, _):
        value = self._data(self._pop())
        self._top(list).append(value)

    def _op_appends(self, _):
        values = [self._data(v) for v in self._since_mark()]
        self._top(list).extend(values)

    def _op_additems(self, _):
        values = [self._key(v) for v in self._since_mark()]
        self._top(set).update(values)

    def _op_setitem(self, _):
        self._set(self._last(2))

    def _op_setitems(self, _):
        self._set(self._since_mark())

    def _set(self, values):
        """Put keys and values, in turn, into the dictionary on the stack."""
        if len(values) % 2:
            raise ValueError("a key without a value")
        target = self._top(dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[self._key(key)] = self._data(value)

    def _op_global(self, argument):
        self._name(*argument)

    def _op_stack_global(self, _):
        self._name(*self._last(2))

    def _op_inst(self, argument):
        self._name(*argument)
        raise Unsafe(f"{self.stream.name}: at byte {self.start} an instance of a class of Python 2")

    def _name(self, module, name):
        """Push what a name stands for, if it is allowed."""
        found = self.table.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if found is None:
            allowed = sorted({".".join(pair) for pair in self.table})
            raise Unsafe(
                f"{self.stream.name}: at byte {self.start} it names {module}.{name}, which is not data; allowed "
                f"are {', '.join(allowed)}"
            )
        self.stack.append(found)

    def _op_reduce(self, _):
        self._call(*self._last(2))

    def _op_newobj(self, _):
        self._call(*self._last(2))

    def _op_newobj_ex(self, _):
        made, arguments, named = self._last(3)
        if named:
            raise ValueError("arguments by name")
        self._call(made, arguments)

    def _call(self, made, arguments):
        """Push what one of our own functions makes of its arguments."""
        if not isinstance(made, Named) or made.make is None or not isinstance(arguments, tuple):
            what = made.name if isinstance(made, Named) else type(made).__name__
            raise Unsafe(f"{self.stream.name}: at byte {self.start} {what} is called, which is not allowed")
        self._spend(arguments)
        self.stack.append(made.make(*arguments))

    def _op_build(self, _):
        state = self._pop()
        if isinstance(self.stack[-1], Pending):
            self.stack[-1] = self._finished(self.stack[-1], state)
        elif state is not None and state != {}:
            raise ValueError(f"a state for {type(self.stack[-1]).__name__}, which has none")


def _weight(value, depth=3):
    """Roughly the bytes that are copied with a value, three levels deep."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, bytes | bytearray):
        return len(value)
    if isinstance(value, dict | OrderedDict):
        return 8 * len(value) + (sum(_weight(v, depth - 1) for v in value.values()) if depth else 0)
    if isinstance(value, list | tuple | set | frozenset):
        return 8 * len(value) + (sum(_weight(v, depth - 1) for v in value) if depth else 0)
    return 0
