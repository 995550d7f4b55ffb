"""What names of Python and NumPy stand for in a pickle: plain values and arrays, made by public constructors."""

import re
from collections import OrderedDict

import numpy as np

from lib.pickled_machine import Named, Pending

# One type by its letter and bytes; anything longer is not how NumPy pickles a type.
TYPE = re.compile(r"[|<>=]?(?:[?bBhHiIlLqQpPefdgFDG]|[bBiufcOSUaVmM]\d{0,9})")
UNITS = {"Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "generic"}
LIMIT_ELEMENT = (
    1 << 16
)  # bytes of a record with objects, which takes memory that no byte of the file stands for

NDARRAY = Named("numpy.ndarray")


def _raw(value):
    """Bytes, also of Python 2, which keeps them as text."""
    if isinstance(value, str):
        return value.encode("latin1")
    if not isinstance(value, bytes | bytearray):
        raise TypeError(f"{type(value).__name__} instead of bytes")
    return value


def _shape(value):
    """A shape, as a tuple of whole numbers."""
    shape = (value,) if isinstance(value, int) else tuple(value)
    if not all(isinstance(n, int) and n >= 0 for n in shape) or len(shape) > 64:
        raise ValueError(f"{shape!r} is no shape")
    return tuple(int(n) for n in shape)


def _size(shape):
    return int(np.prod(shape, dtype=object))


def _dtype(text, _align=False, _copy=True):
    """A type, which its state may make wider, structured, or of another byte order."""
    text = text.decode("ascii") if isinstance(text, bytes) else text
    if not isinstance(text, str) or not TYPE.fullmatch(text):
        raise ValueError(f"{text!r} is no type of NumPy")
    # Object, text and bytes: Python 2 wrote the letter a for S.
    plain = np.dtype(re.sub(r"^([|<>=]?)a", r"\1S", text))
    return Pending(lambda state: plain if state is None else _typed(plain, state))


def _typed(plain, state):
    """A type with its state: version, byte order, subarray, names, fields, bytes, alignment, flags, metadata."""
    _, order, subarray, names, fields, itemsize, *rest = state
    order = order.decode("ascii") if isinstance(order, bytes) else order
    if order not in ("<", ">", "|", "="):
        raise ValueError(f"byte order {order!r}")
    if subarray is not None:
        base, shape = subarray
        return np.dtype((_is_dtype(base), _shape(shape)))
    if names:
        return _structured(names, fields, itemsize)
    if plain.kind in "mM":
        return _timed(plain, rest).newbyteorder(order)
    if itemsize not in (-1, plain.itemsize):
        raise ValueError(f"{itemsize} bytes for type {plain}")
    return plain.newbyteorder(order) if order in "<>" else plain


def _is_dtype(value):
    if not isinstance(value, np.dtype):
        raise TypeError(f"{type(value).__name__} instead of a type")
    return value


def _structured(names, fields, itemsize):
    """A type with fields; NumPy checks that they lie inside and that objects do not overlap."""
    names = [n.decode("utf-8") if isinstance(n, bytes) else n for n in names]
    fields = {n.decode("utf-8") if isinstance(n, bytes) else n: field for n, field in fields.items()}
    chosen = [fields[n] for n in names]
    described = {
        "names": names,
        "formats": [_is_dtype(field[0]) for field in chosen],
        "offsets": [int(field[1]) for field in chosen],
        "itemsize": int(itemsize),
    }
    if any(len(field) > 2 for field in chosen):
        described["titles"] = [field[2] if len(field) > 2 else None for field in chosen]
    return np.dtype(described)


def _timed(plain, rest):
    """A type of times, with the unit that its metadata name."""
    if len(rest) < 3:
        return plain
    unit, number, denominator, _ = rest[2][1]
    unit = unit.decode("ascii") if isinstance(unit, bytes) else unit
    if unit not in UNITS or denominator != 1:
        raise ValueError(f"unit of time {unit!r} / {denominator}")
    return plain if unit == "generic" else np.dtype(f"{plain.kind}8[{int(number)}{unit}]")


def _reconstruct(kind, _size, _type):
    """An array, which its state fills."""
    if kind is not NDARRAY:
        raise TypeError(f"an array of type {getattr(kind, 'name', kind)!r}; only numpy.ndarray is allowed")
    return Pending(_filled)


def _filled(state):
    """An array from its state: (version,) shape, type, whether in Fortran's order, bytes or list."""
    if not isinstance(state, tuple) or len(state) not in (4, 5):
        raise ValueError("an array without shape, type and content")
    shape, dtype, fortran, content = state[-4:]
    array = _array(content, _is_dtype(dtype), _shape(shape), "F" if fortran else "C")
    # So does NumPy, which leaves fields as they are.
    return array if dtype.isnative or dtype.names else array.astype(dtype.newbyteorder("="))


def _array(content, dtype, shape, order):
    """A new array of exactly the content given."""
    if order not in ("C", "F"):
        raise ValueError(f"order {order!r}")
    if dtype.hasobject:
        return _objects(content, dtype, shape, order)
    content = _raw(content)
    if len(content) != _size(shape) * dtype.itemsize or (dtype.itemsize == 0 and _size(shape)):
        raise ValueError(f"{len(content)} bytes for an array {dtype} {shape}")
    flat = np.frombuffer(content, dtype) if content else np.empty(0, dtype)
    array = flat.reshape(shape, order=order)
    return array if array.flags.writeable else array.copy(order="K")


def _objects(content, dtype, shape, order):
    """An array of objects, or of records that hold some."""
    if not isinstance(content, list) or len(content) != _size(shape):
        raise ValueError(f"not a list of {_size(shape)} elements for an array {dtype} {shape}")
    if dtype.subdtype is not None or dtype.itemsize > LIMIT_ELEMENT:
        raise ValueError(f"elements of type {dtype}, {dtype.itemsize} bytes each")
    flat = np.empty(len(content), dtype)
    for place, item in enumerate(content):
        flat[place] = item
    array = flat.reshape(shape)  # objects are always listed in C's order
    return np.asfortranarray(array) if order == "F" else array


def _from_buffer(content, dtype, shape, order):
    """An array of protocol 5."""
    if _is_dtype(dtype).hasobject:
        raise ValueError("objects in a buffer")
    return _array(content, dtype, _shape(shape), order)


def _scalar(dtype, content=None):
    """A scalar of NumPy."""
    if _is_dtype(dtype).hasobject:
        if dtype != np.dtype(object):
            raise ValueError(f"a scalar of type {dtype}")
        return content
    content = bytes(dtype.itemsize) if content is None and dtype.itemsize <= 16 else _raw(content)
    return _array(content, dtype, (1,), "C")[0]


def _encode(text, codec):
    """Bytes, as protocols before 3 write them."""
    if codec not in ("latin1", "latin-1") or not isinstance(text, str):
        raise ValueError(f"encoding to {codec!r}")
    return text.encode("latin1")


def _bytes(content=b"", codec=None):
    """Bytes; a number would ask for as many zeros."""
    return b"" if not content else _encode(content, codec)


def _bytearray(content=b"", codec=None):
    """Bytes that can be changed."""
    return bytearray(content if isinstance(content, bytes) else _bytes(content, codec))


def _complex(real, imaginary=0.0):
    if not isinstance(real, int | float) or not isinstance(imaginary, int | float):
        raise TypeError("parts of a complex number that are no numbers")
    return complex(real, imaginary)


def _set(items=()):
    """A set, of what is quick to hash."""
    return {_simple(item) for item in items}


def _frozenset(items=()):
    return frozenset(_set(items))


def _simple(item):
    """A member of a set: tuples only of what is none itself."""
    if isinstance(item, tuple) and any(isinstance(part, tuple) for part in item):
        raise ValueError("tuples of tuples in a set")
    return item


def _ordered(items=()):
    """An ordered dictionary; its entries mostly come later."""
    return OrderedDict((_simple(key), value) for key, value in items)


def _slice(start, stop, step):
    if not all(part is None or isinstance(part, int) for part in (start, stop, step)):
        raise TypeError("a slice of something else than whole numbers")
    return slice(start, stop, step)


def _reconstructor(kind, base, state):
    """An object as protocols before 2 make it."""
    if not isinstance(kind, Named) or kind.make is None or base is not OBJECT or state is not None:
        raise ValueError("an object of a type that is not plain")
    return kind.make()


OBJECT = Named("builtins.object")
BUILTINS = {
    "bytearray": _bytearray, "bytes": _bytes, "complex": _complex, "frozenset": _frozenset, "range": range,
    "set": _set, "slice": _slice, "xrange": range,
}  # fmt: skip
ALLOWED = {
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): Named("numpy.dtype", _dtype),
    **{(f"numpy.{core}.multiarray", "_reconstruct"): Named("numpy._reconstruct", _reconstruct)
       for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): Named("numpy.scalar", _scalar) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): Named("numpy._frombuffer", _from_buffer)
       for core in ("core", "_core")},
    **{(module, name): Named(name, make) for module in ("builtins", "__builtin__")
       for name, make in BUILTINS.items()},
    **{(module, "object"): OBJECT for module in ("builtins", "__builtin__")},
    **{(module, "_reconstructor"): Named("copyreg._reconstructor", _reconstructor)
       for module in ("copyreg", "copy_reg")},
    ("collections", "OrderedDict"): Named("collections.OrderedDict", _ordered),
    ("_codecs", "encode"): Named("_codecs.encode", _encode),
}  # fmt: skip
