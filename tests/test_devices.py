"""Arrays on a device: the same values, in steps that cover all voxels once."""

import numpy as np
import pytest
import torch

from lib import devices


@pytest.mark.parametrize("device", [None, "cpu"])
def test_steps_cover_every_voxel_once(device, monkeypatch):
    monkeypatch.setattr(devices, "VOXELS_PER_STEP", 7)
    monkeypatch.setattr(devices, "VOXELS_PER_STEP_ON_DEVICE", 11)
    found = np.concatenate([np.arange(30)[step] for step in devices.steps(30, device)])
    np.testing.assert_array_equal(found, np.arange(30))
    assert len(devices.steps(30, device)) == (5 if device is None else 3)


def test_arrays_come_back_from_a_device_in_double_precision():
    values = np.arange(6, dtype=np.float32).reshape(2, 3) / 3
    there = devices.on(values, "cpu")
    assert there.dtype == torch.float64
    np.testing.assert_array_equal(devices.off(there), values)
    assert devices.on(values, None) is values
    assert devices.off(values) is values


@pytest.mark.parametrize("device", [None, "cpu"])
def test_pieces_are_joined_side_by_side(device):
    pieces = [devices.on(np.full((2, n), float(n)), device) for n in (1, 3)]
    np.testing.assert_array_equal(devices.off(devices.joined(pieces)), [[1, 3, 3, 3]] * 2)
