"""What names of PyTorch stand for in a pickle: the numbers of tensors, as arrays."""

import io
import math

import numpy as np

from lib.pickled_machine import Machine, Named, Stream, Truncated

# How PyTorch opens what it pickles for one storage: two numbers, each a pickle of its own.
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
STORAGES = {
    **{
        "BoolStorage": "?",
        "ByteStorage": "u1",
        "CharStorage": "i1",
        "ShortStorage": "<i2",
        "IntStorage": "<i4",
    },
    **{"LongStorage": "<i8", "HalfStorage": "<f2", "FloatStorage": "<f4", "DoubleStorage": "<f8"},
}
KINDS = {("torch", name): Named(f"torch.{name}") for name in STORAGES}


class _Storages(Machine):
    """A pickle that stands for numbers which follow it: its persistent names are kept as what they are."""

    def _op_binpersid(self, _):
        name = self._pop()
        if not isinstance(name, tuple):
            raise ValueError(f"a storage is named by {type(name).__name__}")
        self.stack.append([name[1].name if isinstance(name[1], Named) else name[1], *name[2:5]])


def _storage(content):
    """The numbers of one storage, one-dimensional: pickles that describe it, then their count and themselves."""
    if not isinstance(content, bytes | bytearray):
        raise TypeError(f"a storage is {type(content).__name__} instead of bytes")
    stream = Stream(io.BytesIO(content), "a storage of PyTorch", len(content))
    opening = [_Storages(stream, {}, "latin1").run() for _ in range(3)]
    if opening[:2] != [MAGIC, PROTOCOL] or opening[2].get("little_endian") is not True:
        raise ValueError(f"a storage of PyTorch opens with {opening[:2]}")
    kind, key, _, count = _Storages(stream, KINDS, "latin1").run()
    if _Storages(stream, {}, "latin1").run() != [key]:
        raise ValueError("more than one storage of PyTorch, or another than was named")
    dtype = np.dtype(STORAGES[str(kind).removeprefix("torch.")])
    if int.from_bytes(stream.read(8), "little") != count:
        raise ValueError(f"a storage of PyTorch has another size than the {count} announced")
    return np.frombuffer(stream.read(count * dtype.itemsize), dtype).copy()


def _tensor(storage, offset, shape, strides, _gradient=False, _hooks=None, _metadata=None):
    """The array of a tensor: a part of a storage, in steps."""
    if not isinstance(storage, np.ndarray) or storage.ndim != 1:
        raise TypeError(f"a tensor of {type(storage).__name__} instead of a storage")
    if len(shape) != len(strides) or min((offset, *shape, *strides)) < 0:
        raise ValueError(f"a tensor of shape {shape} in steps {strides} from {offset}")
    if 0 in shape:
        return np.empty(shape, storage.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    # More numbers than are stored: one could stand for any amount of memory.
    if last >= len(storage) or math.prod(shape) > len(storage):
        raise Truncated(f"a tensor {tuple(shape)} needs number {last} of a storage that has {len(storage)}")
    steps = [step * storage.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False).copy()


ALLOWED = {
    ("torch._utils", "_rebuild_tensor_v2"): Named("torch._utils._rebuild_tensor_v2", _tensor),
    ("torch.storage", "_load_from_bytes"): Named("torch.storage._load_from_bytes", _storage),
}
