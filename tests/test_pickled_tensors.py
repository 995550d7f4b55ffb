"""Tensors in pickles are read as numbers, and nothing else is."""

import contextlib
import io
import os
import pickle

import numpy as np
import pytest
import torch

from lib import pickled_tensors, unpickle

TENSORS = {
    "indices": torch.randperm(50, generator=torch.Generator().manual_seed(0)),
    "turned": torch.arange(24.0).view(4, 6).t()[1:, ::2],
    "one": torch.tensor(3, dtype=torch.int32),
    "none": torch.zeros(0, 3, dtype=torch.half),
    "truth": torch.tensor([True, False]),
    "bytes": torch.arange(9, dtype=torch.uint8),
    "double": torch.rand(3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
}


def read(content):
    return unpickle.load(io.BytesIO(content), allow="torch")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensors_become_arrays_of_their_numbers(protocol):
    found = read(pickle.dumps(TENSORS, protocol=protocol))
    assert list(found) == list(TENSORS)
    for name, tensor in TENSORS.items():
        assert np.array_equal(found[name], tensor.numpy())
        assert found[name].dtype == tensor.numpy().dtype
        assert found[name].flags.writeable


def test_tensors_are_refused_where_they_are_not_asked_for():
    with pytest.raises(unpickle.Unsafe, match=r"torch\._utils\._rebuild_tensor_v2"):
        unpickle.load(io.BytesIO(pickle.dumps(TENSORS)))


def test_nothing_else_of_torch_is_read():
    for thing in (torch.nn.Linear(2, 2), torch.Generator, torch.float32, torch.device("cpu")):
        with pytest.raises(unpickle.Unsafe):
            read(pickle.dumps({"x": thing}))


class Worm:
    def __reduce__(self):
        return os.mkdir, ("hatched",)


def test_a_storage_runs_nothing():
    with pytest.raises(unpickle.Unsafe, match="mkdir"):
        pickled_tensors._storage(pickle.dumps(Worm()))
    assert not os.path.exists("hatched")


def test_a_tensor_larger_than_its_storage_is_refused():
    storage = np.arange(10)
    for shape, strides, offset in (
        ((11,), (1,), 0),
        ((5, 5), (5, 1), 0),
        ((4,), (3,), 1),
        ((10**12,), (0,), 0),
    ):
        with pytest.raises(ValueError, match="storage that has 10"):
            pickled_tensors._tensor(storage, offset, shape, strides)
    for shape, strides, offset in (((2,), (-1,), 5), ((-2,), (1,), 0), ((2,), (1,), -1), ((2, 2), (1,), 0)):
        with pytest.raises(ValueError, match="in steps"):
            pickled_tensors._tensor(storage, offset, shape, strides)


def test_damage_is_named_and_never_crashes():
    whole = pickle.dumps({"a": TENSORS["indices"], "b": TENSORS["turned"]}, protocol=2)
    rng = np.random.default_rng(0)
    for end in rng.integers(1, len(whole), 60):
        with pytest.raises(ValueError, match=r"truncated|damaged"):
            read(whole[:end])
    for place in rng.integers(0, len(whole), 300):
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.integers(8)
        # Another error than this one, or a crash, fails the test.
        with contextlib.suppress(ValueError):
            assert isinstance(read(bytes(changed)), dict)
