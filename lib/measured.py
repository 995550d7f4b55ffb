"""Measured responses as regressions need them: single repeats and their mean, what trains and what tests."""

from typing import NamedTuple

import numpy as np

from lib.plugins import first


class Measured(NamedTuple):
    """Responses to some stimuli.

    Attributes
    ----------
    repeats : array (n_repeats, n_stimuli, n_voxels)
        NaN where nothing was measured, or a repeat is not used.
    mean : array (n_stimuli, n_voxels)
        Over the repeats that are used; NaN for all stimuli of a voxel of which one has none.
    number : int array (n_voxels,)
        Smallest number of repeats, used, of any stimulus.
    """

    repeats: np.ndarray
    mean: np.ndarray
    number: np.ndarray

    def at(self, stimuli):
        """The same, of some of the stimuli."""
        return self._replace(repeats=self.repeats[:, stimuli], mean=self.mean[stimuli])


def trains(responses):
    """Which stimuli train in each split.

    Parameters
    ----------
    responses : xarray.Dataset
        `train` (split, stimulus); see `lib.folds.scheme`.

    Returns
    -------
    bool array (n_splits, n_rows)
        Rows are the stimuli; then, where splits train on all of these, the `test_stimulus` that test them.

    Raises
    ------
    ValueError
        If some splits train on all stimuli and others do not, or there is no `test_response` for them, or a
        stimulus would train and test.
    """
    masks = responses["train"].transpose("split", "stimulus").values.astype(bool)
    whole = masks.all(axis=1)
    if not whole.any():
        return masks
    if not whole.all() or "test_response" not in responses:
        odd = np.flatnonzero(whole)[:3].tolist()
        raise ValueError(
            f"splits {odd} train on all stimuli; that needs `test_response` to test on, and no other splits"
        )
    twice = np.intersect1d(responses["stimulus"].values, responses["test_stimulus"].values)
    if len(twice):
        raise ValueError(f"stimuli that train must not test as well: {first(twice.tolist())}")
    return np.hstack([masks, np.zeros((len(masks), responses.sizes["test_stimulus"]), bool)])


def stimuli(responses):
    """Identifiers of the rows of `trains`.

    Parameters
    ----------
    responses : xarray.Dataset

    Returns
    -------
    list
    """
    own = responses["stimulus"].values.tolist()
    return own + (responses["test_stimulus"].values.tolist() if tests_apart(responses) else [])


def tests_apart(responses):
    """Whether splits train on all stimuli of `response` and test on those of `test_response`.

    Parameters
    ----------
    responses : xarray.Dataset

    Returns
    -------
    bool
    """
    return bool(responses["train"].all())


def shown(responses, rule="reliability"):
    """Responses to the stimuli of `response`.

    Parameters
    ----------
    responses : xarray.Dataset
        `response` (repeat, stimulus, voxel).
    rule : str
        Of the noise correction (`lib.correction.RULES`). By "reliability", which compares whole repeats, a repeat
        of a voxel that is not finite throughout is not used; by the others each stimulus has the repeats it has.

    Returns
    -------
    Measured
    """
    return _measured(responses["response"].transpose("repeat", "stimulus", "voxel").values, rule)


def held_out(responses, rule="reliability"):
    """Responses to the stimuli of `test_response`, if they are what splits test on.

    Parameters
    ----------
    responses, rule
        As for `shown`.

    Returns
    -------
    Measured, or None if each split has its own test stimuli
    """
    if not tests_apart(responses):
        return None
    Y = responses["test_response"].transpose("test_repeat", "test_stimulus", "voxel").values
    return _measured(Y, rule)


def columns(some, n_rows, rule="reliability"):
    """Responses to be fitted: the mean and, where the rule of correction needs them, single repeats.

    Parameters
    ----------
    some : Measured
    n_rows : int
        At least the number of stimuli; the rest is NaN.
    rule : str
        See `shown`.

    Returns
    -------
    array (n_rows, n_targets · n_voxels)
        The voxels of the mean come first, then those of each repeat.
    """
    targets = [some.mean, *(some.repeats if rule == "reliability" and len(some.repeats) > 1 else ())]
    filled = np.empty((n_rows, len(targets), some.mean.shape[1]))
    for index, target in enumerate(targets):
        filled[: len(target), index] = target
    filled[len(some.mean) :] = np.nan
    return filled.reshape(n_rows, -1)


def _measured(Y, rule):
    """Repeats, those that are not used as NaN, their mean, and how many there are."""
    here = np.isfinite(Y)
    if rule == "reliability":
        here = here.all(axis=1, keepdims=True)
    number = here.sum(axis=0)
    total = np.where(here, Y, 0).sum(axis=0)
    mean = np.where(number.min(axis=0) > 0, total / np.maximum(number, 1), np.nan)
    return Measured(np.where(here, Y, np.nan), mean, number.min(axis=0))
