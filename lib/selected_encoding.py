"""Encoding of the brain hierarchy score: every voxel from the units of a layer that correlate most with it."""

import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from lib import artefacts, decoding, decoding_accuracy, features, presentations, selected_ridge, solver_cost

CODE = ("selected_encoding", *decoding.SOLVER)
MEANING = "correlation of predicted and mean response over test stimuli; NaN where either does not vary"


class Group(NamedTuple):
    """Voxels of which the same stimuli were shown equally often, in one split.

    Attributes
    ----------
    rows : int array (n_samples,)
        Train stimulus of each sample.
    alpha : float
        Penalty.
    Y : array (n_samples, n_voxels)
        Normalised responses.
    voxels : int array (n_voxels,)
    test : array (n_test_stimuli, n_voxels)
        Mean responses to the test stimuli.
    """

    rows: np.ndarray
    alpha: float
    Y: np.ndarray
    voxels: np.ndarray
    test: np.ndarray


def encode(source, responses, folder, *, settings=decoding.DEFAULT):
    """How well each layer predicts each voxel, from the units that correlate most with it.

    For each split and voxel: ridge (`selected_ridge`) from `settings.n_selected` of all units of a layer, every
    presentation of a train stimulus a sample; then the responses to test stimuli are predicted and compared with their
    means. Where all stimuli were presented equally often, k times, the mean response is fitted with alpha / k instead,
    which is the same. Products between all units are formed of small layers only, so that one can have any number of
    them: in memory are the layer itself, in single precision, and products of those units that some voxels select
    (`forecast`). What is done stays in `folder`, layer by layer, and is not done
    again after a kill.

    Parameters
    ----------
    source : str or pathlib.Path
        Features, written by `features.extract`.
    responses : xarray.Dataset
        As for `decoding.decode`.
    folder : str or pathlib.Path
        Gets `encoding/<layer>.nc` with `accuracy` (split, voxel).
    settings : lib.decoding.Settings
        `n_units` and `seed` have no meaning here: all units take part.

    Returns
    -------
    xarray.Dataset
        `accuracy` (split, layer, voxel), float32, NaN also for voxels that do not vary or lack values, and where no
        unit of the layer varies. A voxel of several regions is there once for each. Coordinates `subject` and `roi` of
        the voxels; `constant_units` (split, layer), units that do not vary over train stimuli. Attributes as from
        `decoding.decode`.

    Raises
    ------
    ValueError
        If stimuli have no features, no voxel has a region, or nothing is left to encode.

    References
    ----------
    Nonaka, Majima, Aoki & Kamitani (2021), iScience 24:103013, Methods (encoding). As published, all units are NaN
    where one does not vary, which makes the whole layer NaN; inputs, weights and biases are rounded to single
    precision. That the published fit itself is in single precision is not imitated: it differs by rounding alone.
    """
    folder, plan = Path(folder) / "encoding", presentations.plan(responses, settings.n_splits)
    made_of = decoding.identity(source, responses, settings, code=CODE)
    groups = [_groups(responses, plan, train, settings) for train in plan.trains]
    layers, parts = features.layers(source), []
    for layer in tqdm(layers, desc=f"encode {responses.attrs.get('target', '')}"):
        path = folder / f"{artefacts.file_name(layer)}.nc"
        if not decoding.is_made_of(path, made_of):
            found = _labelled(_layer(source, layer, plan, groups, settings), responses, plan)
            artefacts.save(found.assign_attrs(identity=json.dumps(made_of)), path)
        parts.append(artefacts.load(path))
    whole = xr.concat(parts, xr.Variable("layer", list(layers)), combine_attrs="drop")
    whole = _by_region(whole.transpose("split", "layer", "voxel").drop_encoding(), responses)
    return whole.assign_attrs(responses.attrs | decoding.described(settings) | {"n_test": plan.n_test})


def forecast(source, responses, *, settings=decoding.DEFAULT):
    """What `encode` with the same arguments will take, from a few voxels and two layers that are tried.

    Parameters
    ----------
    source, responses, settings
        As for `encode`.

    Returns
    -------
    dict
        `seconds` of wall time, which other work on the machine lengthens: narrowest and widest layer are tried, the
        others lie between by their units. `memory`: bytes of the widest layer with products of its units, and of the
        responses; libraries come on top. `n_voxels`, `n_layers`.

    Raises
    ------
    ValueError
        As `encode`.
    """
    plan, widths = presentations.plan(responses, settings.n_splits), features.units(source)
    groups, found = _groups(responses, plan, plan.trains[0], settings), {}
    for layer in sorted(widths, key=widths.get)[:: max(1, len(widths) - 1)]:
        start = time.perf_counter()
        X, *_ = _inputs(source, layer, plan, 0, settings.published)
        seconds = time.perf_counter() - start
        for group in groups:
            seconds += solver_cost.by_data(_prepared(X, group, settings), group.Y, group.Y.shape[1])
        found[widths[layer]] = seconds
    sizes = sorted(found)
    each = np.interp(list(widths.values()), sizes, [found[size] for size in sizes])
    memory = responses.nbytes + len(plan.trains) * sum(g.Y.nbytes + g.test.nbytes for g in groups)
    memory += _memory(max(widths.values()), max(map(len, (g.rows for g in groups))), plan, settings)
    numbers = {"seconds": float(each.sum() * len(plan.trains)), "memory": int(memory)}
    return numbers | {"n_voxels": sum(group.Y.shape[1] for group in groups), "n_layers": len(widths)}


def _memory(n_units, n_samples, plan, settings):
    """Bytes of a layer, of its units as they are fitted, and of products between those selected together."""
    # Where products of all units are too many, those of the units that targets treated together select are formed if
    # they are fewer than their systems have numbers: at most the cube root of this.
    most = int((selected_ridge.STEP * settings.n_selected**2) ** (1 / 3))
    together = min(n_units, max(selected_ridge.INPUTS_SHARED, most))
    layer = 4 * (len(plan.known) + len(plan.stimuli) + n_samples) * n_units
    return layer + 8 * (together**2 + 2 * together * n_samples + 3 * min(selected_ridge.STEP, 4096 * n_units))


def _prepared(X, group, settings):
    """Units as inputs of a group of voxels."""
    samples = X if np.array_equal(group.rows, np.arange(len(X))) else X[group.rows]
    how = {"n_feat": settings.n_selected, "published": settings.published, "device": settings.device}
    return selected_ridge.prepare(samples, alpha=group.alpha, **how)


def _layer(source, layer, plan, groups, settings):
    """Accuracies of one layer by group of voxels, and how many of its units do not vary in each split."""
    found, n_constant = [], []
    for split, of_split in enumerate(groups):
        X, tested, constant = _inputs(source, layer, plan, split, settings.published)
        n_constant.append(int(constant))
        for group in of_split:
            r = np.full(len(group.voxels), np.nan)
            if _varies(X, group):
                fit = decoding.rounded(_prepared(X, group, settings).fit(group.Y), settings.published)
                r = decoding_accuracy.profile(group.test, selected_ridge.predict(fit, tested))
            found.append((split, group.voxels, r))
    return found, n_constant


def _varies(X, group):
    """Whether any unit is finite and varies over the stimuli of a group."""
    shown = X[np.unique(group.rows)]
    parts = (shown[:, start : start + 8192] for start in range(0, X.shape[1], 8192))
    return any((np.isfinite(part).all(axis=0) & (part != part[:1]).any(axis=0)).any() for part in parts)


def _labelled(found, responses, plan):
    """Accuracies of a layer with labels."""
    cells, n_constant = found
    accuracy = np.full((len(plan.trains), responses.sizes["voxel"]), np.nan, np.float32)
    for split, voxels, r in cells:
        accuracy[split, voxels] = r
    meaning = {"accuracy": MEANING, "constant_units": "number of units that do not vary over train stimuli"}
    values = {"accuracy": (("split", "voxel"), accuracy), "constant_units": ("split", n_constant)}
    values = {name: (*value, {"long_name": meaning[name]}) for name, value in values.items()}
    return xr.Dataset(values, {"split": plan.splits, "voxel": responses["voxel"].values})


def _inputs(source, layer, plan, split, published):
    """Normalised units of the train and of the tested stimuli, single precision, and how many do not vary."""
    train, n_known, n_constant, start = plan.trains[split], len(plan.known), 0, 0
    places = np.append(np.flatnonzero(train), n_known + plan.tested(split))
    values = np.empty((len(places), features.units(source)[layer]), np.float32)
    for piece in features.blocks(source, layer, ids=plan.known + plan.stimuli):
        units = piece[places]
        _, mean, deviation = presentations.scaled_units(units[: train.sum()], published=published)
        constant = np.isnan(mean)
        scaled = (units - np.where(constant, 0, mean)) / deviation
        # The solver leaves constant units out; as published they make everything NaN.
        scaled[:, constant] = 0 if published is None else np.nan
        values[:, start : start + scaled.shape[1]] = scaled
        n_constant, start = n_constant + constant.sum(), start + scaled.shape[1]
    return values[: train.sum()], values[train.sum() :], n_constant


def _groups(responses, plan, train, settings):
    """All voxels in any region, grouped by how often each train stimulus was presented to their subject."""
    subject, found = responses["subject"].values, {}
    inside = np.any(list(presentations.memberships(responses).values()), axis=0)
    for name in plan.subjects:
        voxels = np.flatnonzero(inside & (subject == name))
        samples = presentations.samples(responses, voxels, train, published=settings.published)
        shown, rows = np.unique(samples.rows, return_inverse=True)
        Y, alpha = samples.X, settings.alpha
        if len(set(np.bincount(rows).tolist())) == 1:
            Y, alpha = selected_ridge.averaged(Y, rows, alpha)
            rows = np.arange(len(shown))
        key = (shown[rows].tobytes(), alpha)
        found.setdefault(key, []).append(Group(shown[rows], alpha, Y, voxels[samples.kept], samples.test))
    return [_together(groups) for groups in found.values()]


def _together(groups):
    """One group of several that have the same samples and penalty."""
    first = groups[0]
    sides = (np.concatenate([getattr(g, name) for g in groups], axis=1) for name in ("Y", "test"))
    Y, test = sides
    return Group(first.rows, first.alpha, Y, np.concatenate([g.voxels for g in groups]), test)


def _by_region(found, responses):
    """Voxels with subject and region; those of several regions once for each, told apart by name."""
    members = presentations.memberships(responses)
    if "in_roi" in responses:
        pairs = [(voxel, roi) for roi, inside in members.items() for voxel in np.flatnonzero(inside)]
    else:
        pairs = [(voxel, roi) for voxel, roi in enumerate(responses["roi"].values.tolist()) if roi != ""]
    voxels, rois = (list(side) for side in zip(*pairs, strict=True))
    chosen, names = found.isel(voxel=voxels), found["voxel"].values[voxels].tolist()
    if "in_roi" in responses:
        names = [f"{name}/{roi}" for name, roi in zip(names, rois, strict=True)]
    labels = {"subject": responses["subject"].values[voxels], "roi": rois}
    return chosen.assign_coords(voxel=names, **{name: ("voxel", values) for name, values in labels.items()})
