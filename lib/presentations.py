"""Single presentations of stimuli, region by region: what decoders are fitted to, and the means that test them."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from lib import measured, plugins
from lib.significance import RULES


class Region(NamedTuple):
    """Voxels of a region of a subject.

    Attributes
    ----------
    subject, roi : str
    voxels : int array (n_voxels,)
        Their positions; regions may share some.
    """

    subject: str
    roi: str
    voxels: np.ndarray


class Samples(NamedTuple):
    """Normalised responses of a region in one split.

    Attributes
    ----------
    X : float64 array (n_presentations, n_voxels)
        Single presentations of train stimuli, in standard deviations of them.
    rows : int array (n_presentations,)
        Train stimulus of each presentation, counted among the train stimuli.
    test : float64 array (n_test_stimuli, n_voxels)
        Means over the repeats of the test stimuli, by the same mean and deviation; NaN where a stimulus was not shown.
    repeats : float64 array (n_test_repeats, n_test_stimuli, n_voxels)
        The same of single repeats.
    kept : int array (n_voxels,)
        Which of the region's voxels these are.
    n_constant, n_missing : int
        Voxels left out, or as published kept, because they do not vary over presentations, or lack a value.
    """

    X: np.ndarray
    rows: np.ndarray
    test: np.ndarray
    repeats: np.ndarray
    kept: np.ndarray
    n_constant: int
    n_missing: int


class Plan(NamedTuple):
    """What is decoded from where.

    Attributes
    ----------
    splits, subjects, rois : list
        Labels.
    places : list of tuple of int
        Split, subject and region, counted, of the cells that exist.
    voxels : dict of tuple of int to int array
        Positions of the voxels of each subject and region, counted.
    trains : bool array (n_splits, n_known)
        Which of the stimuli that can train do so.
    known, stimuli : list of str
        Stimuli that can train, and those tested in any split.
    n_test : int
        Smallest number tested in a split.
    """

    splits: list
    subjects: list
    rois: list
    places: list
    voxels: dict
    trains: np.ndarray
    known: list
    stimuli: list
    n_test: int

    def tested(self, split):
        """Positions among `stimuli` of those that a split tests."""
        if self.trains[split].all():
            return np.arange(len(self.stimuli))
        own = {name for name, trains in zip(self.known, self.trains[split], strict=True) if not trains}
        return np.array([i for i, name in enumerate(self.stimuli) if name in own], dtype=int)


def plan(responses, n_splits):
    """Cells of split, subject and region, and the stimuli that train and test in each split.

    Parameters
    ----------
    responses : xarray.Dataset
        `response`, `train` (split, stimulus) and more, see `lib.contract`. Where all stimuli train, those of
        `test_response` test.
    n_splits : int
        How many of the splits are used, from the first on.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        If no voxel has a region, or a split cannot be used (see `measured.trains`).
    """
    apart = measured.tests_apart(responses)
    known = responses["stimulus"].values.astype(str)
    trains = measured.trains(responses)[:n_splits, : len(known)]
    tested = responses["test_stimulus"].values.astype(str) if apart else known[~trains.all(axis=0)]
    found = regions(responses)
    subjects = list(dict.fromkeys(region.subject for region in found))
    rois = [roi for roi in memberships(responses) if roi in {region.roi for region in found}]
    voxels = {(subjects.index(r.subject), rois.index(r.roi)): r.voxels for r in found}
    places = [(split, *cell) for split in range(len(trains)) for cell in voxels]
    n_test = len(tested) if apart else int((~trains).sum(axis=1).min())
    splits = responses["split"].values[: len(trains)].tolist()
    return Plan(splits, subjects, rois, places, voxels, trains, known.tolist(), tested.tolist(), n_test)


def regions(responses):
    """All regions of all subjects.

    Parameters
    ----------
    responses : xarray.Dataset
        See `lib.contract`. With `in_roi` (region, voxel) a voxel can be in several regions.

    Returns
    -------
    list of Region
        Subjects in the order in which they first appear, and for each the regions in theirs (with `in_roi`, in the
        order of `region`), which is that of the hierarchy from low to high.

    Raises
    ------
    ValueError
        If no voxel is in any region.
    """
    subject, members = responses["subject"].values, memberships(responses)
    found = [
        Region(str(name), roi, np.flatnonzero(inside & (subject == name)))
        for name in pd.unique(subject)
        for roi, inside in members.items()
    ]
    found = [region for region in found if len(region.voxels)]
    if not found:
        raise ValueError("no voxel has a region: coordinate `roi` is empty throughout")
    return found


def memberships(responses):
    """Which voxels are in each region.

    Parameters
    ----------
    responses : xarray.Dataset
        As for `regions`.

    Returns
    -------
    dict of str to bool array (n_voxels,)
        In the order of the hierarchy.
    """
    if "in_roi" in responses:
        inside = responses["in_roi"].transpose("region", "voxel").values.astype(bool)
        return dict(zip(responses["region"].values.tolist(), inside, strict=True))
    roi = responses["roi"].values
    return {str(name): roi == name for name in pd.unique(roi) if name != ""}


def samples(responses, voxels, train, *, published=None):
    """Presentations of a region, normalised, and the test stimuli's means by the same parameters.

    Every presentation is a sample: nothing is averaged for training. A presentation without any value was not given
    to this subject and is left out. Mean and standard deviation (with n - 1) are those of the train presentations.
    Test responses are averaged over repeats first. The mean of several repeats varies less than single ones do, which
    makes decoded features shrink but leaves correlations as they are.

    Parameters
    ----------
    responses : xarray.Dataset
        `response` (repeat, stimulus, voxel); test stimuli are the others, or where all of them train those of
        `test_response` (test_repeat, test_stimulus, voxel).
    voxels : int array (n_voxels,)
        Positions of the region's voxels.
    train : bool array (n_stimuli,)
    published : {"nonaka2021"}, optional
        Parameters and normalised values rounded to single precision, as published; a voxel with a missing value or
        without variance is kept as NaN (and then everything decoded from the region is). By default such voxels are
        left out, and nothing is rounded.

    Returns
    -------
    Samples

    Raises
    ------
    ValueError
        If no presentation or no voxel is left, or there is no such published rule.

    References
    ----------
    Nonaka, Majima, Aoki & Kamitani (2021), iScience 24:103013, Methods (feature decoding), and the authors' code.
    """
    if published is not None:
        plugins.require(published, RULES, "published rule")
    X, rows, repeats = _raw(responses, voxels, train)
    mean = _mean_over_repeats(repeats)
    shown = np.isfinite(mean).any(axis=1)
    missing = ~np.isfinite(X).all(axis=0) | ~np.isfinite(mean[shown]).all(axis=0)
    constant = (X[:1] == X).all(axis=0)
    kept = np.flatnonzero(~(missing | constant)) if published is None else np.arange(len(voxels))
    X, mean, repeats = X[:, kept], mean[:, kept], repeats[..., kept]
    if not X.size:
        where = responses["voxel"].values[voxels[:1]].tolist()
        raise ValueError(
            f"nothing to decode from: of {len(voxels)} voxels, first {where}, {constant.sum()} do not vary over "
            f"{len(X)} presentations of train stimuli, {missing.sum()} lack values"
        )
    scaled = _scaled(X, (mean, repeats), published)
    return Samples(scaled[0], rows, scaled[1], scaled[2], kept, int(constant.sum()), int(missing.sum()))


def scaled_units(units, *, published=None):
    """Features of train stimuli with mean 0 and standard deviation 1, each stimulus counted once.

    Parameters
    ----------
    units : array (n_stimuli, n_units)
        Any unit.
    published : {"nonaka2021"}, optional
        In single precision throughout, as published.

    Returns
    -------
    scaled : float64 array (n_stimuli, n_units)
        0 throughout where a unit does not vary or is not finite.
    mean, deviation : float64 array (n_units,)
        Deviation with n - 1. NaN and 1 for such units, so that what is decoded is undefined for them.
    """
    units = np.asarray(units, float if published is None else np.float32)
    usable = (units != units[:1]).any(axis=0) & np.isfinite(units).all(axis=0)
    known = np.where(usable, units, 0)
    mean, deviation = (
        known.mean(axis=0),
        known.std(axis=0, ddof=1) if len(units) > 1 else np.zeros(len(usable)),
    )
    deviation = np.where(usable, deviation, 1).astype(units.dtype)
    scaled = (known - mean) / deviation
    return scaled.astype(float), np.where(usable, mean, np.nan).astype(float), deviation.astype(float)


def _raw(responses, voxels, train):
    """Train presentations as rows, the stimulus of each, and test responses (repeat, stimulus, voxel)."""
    axes = ("repeat", "stimulus", "voxel")
    response = responses["response"].transpose(*axes)[..., voxels].values
    if measured.tests_apart(responses):
        test = (
            responses["test_response"].transpose("test_repeat", "test_stimulus", "voxel")[..., voxels].values
        )
    else:
        test = response[:, ~train]
    single = response[:, train]
    X = single.reshape(-1, len(voxels))
    given = np.isfinite(X).any(axis=1)
    rows = np.tile(np.arange(single.shape[1]), len(single))
    return X[given], rows[given], test


def _mean_over_repeats(values):
    """Mean of the repeats there are; NaN where there is none."""
    here = np.isfinite(values)
    number = here.sum(axis=0)
    total = np.where(here, values, 0).sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _scaled(X, others, published):
    """Train and other responses by mean and deviation of the train ones."""
    mean, deviation = X.mean(axis=0), X.std(axis=0, ddof=1)
    if published is None:
        return [(values - mean) / deviation for values in (X, *others)]
    with np.errstate(invalid="ignore", divide="ignore"):
        train = (X - mean) / deviation
        train[np.isinf(train)] = 0
        stored = mean.astype(np.float32), deviation.astype(np.float32)
        rest = [(values - stored[0]) / stored[1] for values in others]
    return [values.astype(np.float32).astype(float) for values in (train, *rest)]
