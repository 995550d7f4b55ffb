"""Repeats and their means, and rows that train and test."""

import numpy as np
import pytest
import xarray as xr

from lib import folds, measured


def responses(n_repeats=3, n=8, held_out=0):
    """Responses of two voxels, halves as splits, perhaps with held-out stimuli."""
    Y = np.random.default_rng(0).standard_normal((n_repeats, n + held_out, 2))
    stimuli = [f"s{i}" for i in range(n + held_out)]
    values = {"response": (("repeat", "stimulus", "voxel"), Y[:, :n])}
    coords = {"stimulus": stimuli[:n]}
    if held_out:
        values["test_response"] = ("test_repeat", "test_stimulus", "voxel"), Y[:2, n:]
        coords["test_stimulus"] = stimuli[n:]
    return folds.scheme(xr.Dataset(values, coords=coords), "fixed" if held_out else "halves")


def test_whole_repeats_or_what_each_stimulus_has():
    data = responses()
    Y = data["response"].values
    Y[2, 1, 0] = np.inf
    Y[:, 3, 1] = np.nan
    whole, each = measured.shown(data), measured.shown(data, "ncsnr")
    assert whole.number.tolist() == [2, 0]
    assert each.number.tolist() == [2, 0]
    np.testing.assert_allclose(whole.mean[:, 0], Y[:2, :, 0].mean(axis=0))
    assert np.isnan(whole.repeats[2, :, 0]).all()
    np.testing.assert_allclose(each.mean[:, 0], [np.mean(y[np.isfinite(y)]) for y in Y[:, :, 0].T])
    assert np.isnan(whole.mean[:, 1]).all()
    assert np.isnan(each.mean[:, 1]).all()
    some = whole.at([4, 0])
    np.testing.assert_array_equal(some.mean, whole.mean[[4, 0]])
    np.testing.assert_array_equal(some.repeats, whole.repeats[:, [4, 0]])


def test_splits_of_the_same_stimuli_are_as_they_are():
    data = responses()
    np.testing.assert_array_equal(measured.trains(data), data["train"])
    assert measured.stimuli(data) == data["stimulus"].values.tolist()
    assert measured.held_out(data) is None


def test_held_out_stimuli_come_last_and_test():
    data = responses(held_out=3)
    assert measured.trains(data).tolist() == [[True] * 8 + [False] * 3]
    assert measured.stimuli(data) == [f"s{i}" for i in range(11)]
    test = measured.held_out(data)
    assert test.number.tolist() == [2, 2]
    np.testing.assert_allclose(test.mean, data["test_response"].mean("test_repeat"))


def test_columns_are_the_mean_and_where_wanted_the_repeats():
    data = responses(held_out=3)
    shown, Y = measured.shown(data), data["response"].values
    filled = measured.columns(shown, 11).reshape(11, 4, 2)
    np.testing.assert_allclose(filled[:8], np.stack([Y.mean(axis=0), *Y], axis=1))
    assert np.isnan(filled[8:]).all()
    np.testing.assert_allclose(measured.columns(shown, 8, "ncsnr"), Y.mean(axis=0))
    assert measured.columns(measured.shown(responses(1)), 8).shape == (8, 2)


def test_what_cannot_be_tested_is_an_error():
    data = responses(held_out=3)
    with pytest.raises(ValueError, match=r"must not test as well: s2"):
        measured.trains(data.assign_coords(test_stimulus=["s9", "s2", "s10"]))
    with pytest.raises(ValueError, match="needs `test_response`"):
        measured.trains(data.drop_vars("test_response"))
    mixed = responses()
    mixed["train"][1] = True
    with pytest.raises(ValueError, match=r"splits \[1\] train on all"):
        measured.trains(mixed)
