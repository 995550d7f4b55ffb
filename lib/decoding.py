"""Decoding: the units of every layer from the voxels of every region, single presentations in, test means out."""

import dataclasses
import hashlib
import json
import time
from pathlib import Path
from typing import NamedTuple

import h5netcdf
import h5py
import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from lib import (
    artefacts,
    decoding_accuracy,
    features,
    hdf5,
    partial,
    presentations,
    selected_ridge,
    solver_cost,
)
from lib.decoding_accuracy import MEANING

# Columns of a layer that are read at once, of which the chosen units are kept.
COLUMNS_READ = 8192
# For the forecast: units that are tried, and bytes of a layer that are read in a second.
PROBED_UNITS, READ_PER_S = 256, 1e9
# Modules whose change makes what older ones decoded worthless.
SOLVER = (
    "presentations",
    "measured",
    "selected_ridge",
    "subsets",
    "subsets_on_device",
    "devices",
    "definite",
    "decoding_accuracy",
    "correction",
    "metrics",
)
CODE = ("decoding", *SOLVER)
PER_UNIT = ("accuracy", "reliability", "corrected")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How features are decoded.

    Attributes
    ----------
    alpha : float
        Ridge penalty.
    n_selected : int
        Voxels of each unit: those that correlate most with it.
    n_units : int or None
        At most so many units of a layer, drawn at random. None takes all, as do released features, which their
        authors have cut already.
    seed : int
        Of that draw.
    n_splits : int
        How many of the splits are used, from the first on.
    published : {"nonaka2021"} or None
        Normalisation, penalised bias and rounding as published; see `presentations.samples`, `selected_ridge`.
    device : str or None
        Torch device; None is NumPy.
    """

    alpha: float = 100.0
    n_selected: int = 500
    n_units: int | None = 1000
    seed: int = 0
    n_splits: int = 1
    published: str | None = None
    device: str | None = None


DEFAULT = Settings()


class Design(NamedTuple):
    """A region in one split, ready for any number of units.

    Attributes
    ----------
    place : tuple of int
        Split, subject and region, counted.
    train, tested : int array
        Rows of the stimuli, among all and among those tested.
    samples : lib.presentations.Samples
    inputs : lib.selected_ridge.Inputs
    """

    place: tuple
    train: np.ndarray
    tested: np.ndarray
    samples: presentations.Samples
    inputs: selected_ridge.Inputs


def decode(source, responses, folder, *, settings=DEFAULT, block=500):
    """Units of all layers, decoded from all regions of all subjects.

    For each region, split and unit: ridge (`selected_ridge`) from the voxels that correlate most with the unit to its
    value, every presentation of a train stimulus a sample; then the mean response to each test stimulus is decoded. The
    same units are taken for all regions. What all units share is made once for each region. Layers are read in blocks
    of units, and stored as they come: after a kill, the next call with the same arguments goes on where that one stood.
    The size of the blocks changes nothing.

    Parameters
    ----------
    source : str or pathlib.Path
        Features, written by `features.extract`.
    responses : xarray.Dataset
        `response`, `train` and more, see `lib.contract`; stimuli are joined by identifier.
    folder : str or pathlib.Path
        Gets `predictions/<layer>.nc` with `decoded` (unit, split, subject, roi, stimulus), float32, in the unit of the
        feature, NaN where a stimulus trains, and `true` (unit, stimulus).
    settings : Settings
    block : int
        Units decoded and stored at once.

    Returns
    -------
    xarray.Dataset
        `accuracy`, `reliability` and `corrected` (split, subject, roi, unit), `pattern` and `identification` (split,
        subject, roi, layer_name, stimulus), float32, each with its meaning in the attribute `long_name`; coordinates
        `layer` and `index` (place in the layer) of the units. `n_voxels`, of which `n_constant` and `n_missing` (see
        `presentations.Samples`), and `n_shown` test stimuli (split, subject, roi); NaN where a subject lacks a region.
        Attributes: those of the responses, the settings, and `n_test`, the number of test stimuli.

    Raises
    ------
    ValueError
        If stimuli have no features, no voxel has a region, or nothing is left to decode from.
    RuntimeError
        If another process decodes into the same folder.

    References
    ----------
    Nonaka, Majima, Aoki & Kamitani (2021), iScience 24:103013, Methods (feature decoding).
    """
    folder, chosen = Path(folder), units(source, n_units=settings.n_units, seed=settings.seed)
    plan = presentations.plan(responses, settings.n_splits)
    designs = [_design(responses, plan, place, settings) for place in plan.places]
    made_of = identity(source, responses, settings, code=CODE)
    for layer, index in tqdm(chosen.items(), desc=f"decode {responses.attrs.get('target', '')}"):
        path = artefacts.predictions(folder, layer)
        if not is_made_of(path, made_of):
            _layer(
                path, (source, layer, index), plan, designs, settings=settings, made_of=made_of, block=block
            )
    return _gathered(folder, list(chosen), plan, designs).assign_attrs(
        responses.attrs | described(settings) | {"n_test": plan.n_test}
    )


def chance(source, responses, *, settings=DEFAULT, n_units=20):
    """Accuracies of a few units with the train stimuli of their features shuffled: what is left without a relation.

    Parameters
    ----------
    source, responses, settings
        As for `decode`; the seed also shuffles.
    n_units : int
        Of each layer, spread over those that are decoded.

    Returns
    -------
    xarray.DataArray (roi, unit)
        Correlations over test stimuli in the first subject and split, with coordinate `layer` (unit).
    """
    plan, rng = presentations.plan(responses, settings.n_splits), np.random.default_rng(settings.seed)
    drawn = units(source, n_units=settings.n_units, seed=settings.seed)
    chosen = {layer: _spread(index, n_units) for layer, index in drawn.items()}
    rows = features.select(features.identifiers(source), plan.known + plan.stimuli)
    columns = np.concatenate(
        [_columns(source, layer, index)[rows] for layer, index in chosen.items()], axis=1
    )
    places, found = [place for place in plan.places if place[:2] == (0, 0)], []
    for place in places:
        design = _design(responses, plan, place, settings)
        train = columns[rng.permutation(design.train)]
        scaled, *scale = presentations.scaled_units(train, published=settings.published)
        fit = rounded(design.inputs.fit(scaled), settings.published)
        found.append(_scored(design, fit, columns[len(plan.known) :][design.tested], scale)[1])
    names = [name for layer, index in chosen.items() for name in identifiers(layer, index)]
    layers = [layer for layer, index in chosen.items() for _ in index]
    coords = {"roi": [plan.rois[place[2]] for place in places], "unit": names, "layer": ("unit", layers)}
    return xr.DataArray(np.array(found), coords, ("roi", "unit"), name="accuracy")


def forecast(source, responses, *, settings=DEFAULT, n_probed=8):
    """What `decode` with the same arguments will take, from a few units of a few regions, decoded and forgotten.

    Parameters
    ----------
    source, responses, settings
        As for `decode`.
    n_probed : int
        Regions that are tried, of all sizes, each with another layer; those between are interpolated by their voxels.

    Returns
    -------
    dict
        `seconds` of wall time, which other work on the machine lengthens; `memory` (the responses, and what is held at
        once besides; libraries come on top) and `bytes` (on disk), in bytes;
        `n_units`, of all layers, and `n_cells` (splits times regions of subjects).

    Raises
    ------
    ValueError
        As `decode`.
    """
    chosen = units(source, n_units=settings.n_units, seed=settings.seed)
    plan = presentations.plan(responses, settings.n_splits)
    n_units, sizes = sum(map(len, chosen.values())), [len(plan.voxels[place[1:]]) for place in plan.places]
    order = np.argsort(sizes, kind="stable")
    tried = order[np.unique(np.linspace(0, len(order) - 1, min(n_probed, len(order))).astype(int))]
    rows, found = features.select(features.identifiers(source), plan.known + plan.stimuli), {}
    for i, at in enumerate(tried.tolist()):
        layer = list(chosen)[i % len(chosen)]
        index = _spread(chosen[layer], PROBED_UNITS)
        seconds = _timed(
            _columns(source, layer, index)[rows], (responses, plan, plan.places[at]), settings, n_units
        )
        found.setdefault(sizes[at], []).append(seconds)
    widths = sorted(found)
    seconds = np.interp(sizes, widths, [np.mean(found[width]) for width in widths]).sum()
    read = 4 * len(rows) * sum(int(index[-1]) for index in chosen.values())
    n_cells = len(plan.places)
    stored = 4 * n_units * len(plan.stimuli) * (len(plan.splits) * len(plan.subjects) * len(plan.rois) + 1)
    numbers = {
        "seconds": float(seconds + read / READ_PER_S),
        "memory": _memory(responses, plan),
        "bytes": stored,
    }
    return numbers | {"n_units": n_units, "n_cells": n_cells}


def _memory(responses, plan, block=500):
    """Bytes of the responses, of what each region keeps (inputs as given, centred and summed), and of work on one."""
    sizes = np.array([len(plan.voxels[place[1:]]) for place in plan.places])
    n_repeats = responses.sizes["test_repeat" if plan.trains.all() else "repeat"]
    n_samples = responses.sizes["repeat"] * plan.trains.sum(axis=1).max()
    tests = max(len(plan.tested(split)) for split in range(len(plan.splits)))
    kept = (2 * n_samples + len(plan.known) + (n_repeats + 1) * tests + 2 * sizes) * sizes
    widest, cells = sizes.max(), len(plan.splits) * len(plan.subjects) * len(plan.rois)
    work = widest * (3 * block + 4 * widest) + block * (cells * len(plan.stimuli) + 2 * n_repeats * tests)
    return int(responses.nbytes + 8 * (kept.sum() + work))


def _spread(index, n):
    """Some of the drawn units, evenly from the first to the last."""
    return index[np.unique(np.linspace(0, len(index) - 1, n).astype(int))]


def _timed(columns, what, settings, n_units):
    """Seconds that a region will take with so many units like these."""
    start = time.perf_counter()
    plan = what[1]
    design = _design(*what, settings)
    scaled, *scale = presentations.scaled_units(columns[design.train], published=settings.published)
    seconds = time.perf_counter() - start
    seconds += solver_cost.by_data(design.inputs, scaled, n_units)
    fit, start = design.inputs.fit(scaled), time.perf_counter()
    _scored(design, fit, columns[len(plan.known) :][design.tested], scale)
    return seconds + (time.perf_counter() - start) * n_units / scaled.shape[1]


def units(source, *, n_units=1000, seed=0):
    """Which units of each layer are decoded: a draw without replacement, layer by layer.

    Parameters
    ----------
    source : str or pathlib.Path
        Features, written by `features.extract`.
    n_units : int or None
        Largest number; None takes all. Released features are taken whole.
    seed : int
        Together with the layer's name it decides, so that other layers do not.

    Returns
    -------
    dict of str to int array (n_chosen,)
        Ascending positions in the layer.
    """
    with features.opened(source) as file:
        whole = n_units is None or file.attrs.get("time") == "as released"
    found = {}
    for layer, size in features.units(source).items():
        own = int.from_bytes(hashlib.sha256(layer.encode()).digest()[:4], "big")
        drawn = np.random.default_rng([seed, own]).permutation(size)
        found[layer] = np.sort(drawn if whole else drawn[:n_units])
    return found


def _design(responses, plan, place, settings):
    """A region's samples and what its units share."""
    train = plan.trains[place[0]]
    samples = presentations.samples(responses, plan.voxels[place[1:]], train, published=settings.published)
    how = {"alpha": settings.alpha, "n_feat": settings.n_selected, "device": settings.device}
    how |= {"n_rows": int(train.sum()), "published": settings.published}
    inputs = selected_ridge.prepare(samples.X, samples.rows, **how)
    return Design(place, np.flatnonzero(train), plan.tested(place[0]), samples, inputs)


def _layer(path, what, plan, designs, *, settings, made_of, block):
    """Decode the units of a layer into a file, block by block."""
    source, layer, index = what
    rows = features.select(features.identifiers(source), plan.known + plan.stimuli)
    with partial.filling(path, made_of, lambda new: _lay_out(new, layer, index, plan, block)) as part:
        for start in range(part.done, len(index), block):
            columns = _columns(source, layer, index[start : start + block])[rows]
            part.write(_block(columns, plan, designs, settings), {})
        part.complete(path, {"identity": json.dumps(made_of)} | described(settings))


def _block(columns, plan, designs, settings):
    """Decoded features of some units from all regions, by name of the variable."""
    n_units, n_train = columns.shape[1], len(plan.known)
    true = columns[n_train:]
    cells = n_units, len(plan.splits), len(plan.subjects), len(plan.rois)
    found = {name: np.full(cells, np.nan, np.float32) for name in PER_UNIT}
    found["decoded"] = np.full((*cells, len(plan.stimuli)), np.nan, np.float32)
    found |= {name: np.full(cells[:2], np.nan, np.float32) for name in ("mean", "deviation")}
    for design in designs:
        scaled, mean, deviation = presentations.scaled_units(
            columns[design.train], published=settings.published
        )
        fit, at = rounded(design.inputs.fit(scaled), settings.published), (slice(None), *design.place)
        decoded, r, share = _scored(design, fit, true[design.tested], (mean, deviation))
        found["accuracy"][at], found["reliability"][at] = r, np.where(np.isnan(r), np.nan, share)
        found["corrected"][at] = decoding_accuracy.corrected(r, share)
        found["decoded"][at][:, design.tested] = decoded.T
        found["mean"][at[:2]], found["deviation"][at[:2]] = mean, deviation
    return found | {"true": np.ascontiguousarray(true.T)}


def _scored(design, fit, true, scale):
    """Decoded test means in the features' unit, their accuracy, and reliability from single test presentations."""
    weights, test, repeats = (
        selected_ridge.sparse(fit).toarray().T,
        design.samples.test,
        design.samples.repeats,
    )
    mean, deviation = scale
    single = repeats.reshape(-1, repeats.shape[-1]) @ weights
    share = decoding_accuracy.signal_share(single.reshape(*repeats.shape[:2], -1))
    decoded = (test @ weights + fit.bias) * deviation + mean
    return decoded, decoding_accuracy.profile(true, decoded), share


def _columns(source, layer, index):
    """Some units of a layer, all stimuli, without reading the whole layer at once."""
    pieces = []
    with features.opened(source) as file:
        for start in range(index[0], index[-1] + 1, COLUMNS_READ):
            inside = index[(index >= start) & (index < start + COLUMNS_READ)]
            if len(inside):
                pieces.append(file[layer][:, start : inside[-1] + 1][:, inside - start])
    return np.concatenate(pieces, axis=1).astype(np.float32, copy=False)


def _lay_out(path, layer, index, plan, block):
    """Dimensions, labels and empty variables of a file of predictions."""
    sizes = {
        "unit": len(index), "split": len(plan.splits), "subject": len(plan.subjects),
        "roi": len(plan.rois), "stimulus": len(plan.stimuli),
    }  # fmt: skip
    labels = {
        "unit": identifiers(layer, index), "subject": plan.subjects, "roi": plan.rois, "stimulus": plan.stimuli,
    }  # fmt: skip
    variables = {name: ("unit", "split", "subject", "roi") for name in PER_UNIT}
    variables |= {"decoded": (*variables["accuracy"], "stimulus"), "true": ("unit", "stimulus")}
    variables |= {"mean": ("unit", "split"), "deviation": ("unit", "split")}
    with h5netcdf.File(path, "w") as file:
        file.dimensions = sizes
        for name, values in labels.items():
            file.create_variable(name, (name,), dtype=h5py.string_dtype())[:] = np.array(values, dtype=object)
        file.create_variable("split", ("split",), data=np.array(plan.splits))
        file.create_variable("index", ("unit",), data=np.asarray(index))
        for name, dims in variables.items():
            chunks = (min(block, len(index)), *(sizes[dim] for dim in dims[1:]))
            how = {"chunks": chunks, "dcpl": partial.reserved()}
            file.create_variable(name, dims, dtype="f4", **how).attrs["long_name"] = MEANING.get(name, name)


def identifiers(layer, index):
    """Names of units.

    Parameters
    ----------
    layer : str
    index : int array (n_units,)
        Their positions in the layer.

    Returns
    -------
    list of str
        `<layer>/<position>`.
    """
    return [f"{layer}/{i:04d}" for i in np.asarray(index).tolist()]


def _gathered(folder, layers, plan, designs):
    """All layers side by side, with what needs whole patterns of units."""
    parts, similar = [], []
    for layer in layers:
        stored = artefacts.load(artefacts.predictions(folder, layer))
        part = stored[list(PER_UNIT)].assign_coords(layer=("unit", [layer] * stored.sizes["unit"]))
        parts.append(part.assign_coords(index=stored["index"]).transpose("split", "subject", "roi", "unit"))
        similar.append(_patterns(stored, plan, designs))
    found = xr.concat(parts, "unit", data_vars="all", coords="minimal", compat="override")
    # The lengths of texts as they were in the first file would cut those of the others.
    found = found.drop_encoding()
    found.attrs.clear()
    dims = ("split", "subject", "roi", "layer_name", "stimulus")
    for i, name in enumerate(("pattern", "identification")):
        values = np.stack([one[i] for one in similar], axis=3)
        found[name] = dims, values.astype(np.float32), {"long_name": MEANING[name]}
    found = found.assign_coords(layer_name=layers, stimulus=plan.stimuli)
    for name, values in _numbers(plan, designs).items():
        found[name] = dims[:3], values
    return found


def _patterns(stored, plan, designs):
    """Resemblance of patterns, and shares of identified stimuli (split, subject, roi, stimulus)."""
    shape = len(plan.splits), len(plan.subjects), len(plan.rois), len(plan.stimuli)
    found = np.full((2, *shape), np.nan)
    for design in designs:
        split, at = design.place[0], design.tested
        scale = stored[["mean", "deviation"]].isel(split=split)
        mean, deviation = (scale[name].values.astype(float) for name in ("mean", "deviation"))
        cell = stored["decoded"].values[:, *design.place]
        sides = (stored["true"].values[:, at], cell[:, at])
        true, decoded = (((side.T - mean) / deviation) for side in sides)
        found[(slice(None), *design.place)][:, at] = decoding_accuracy.patterns(true, decoded)
    return found


def _numbers(plan, designs):
    """Numbers of voxels and test stimuli of each cell."""
    shape = len(plan.splits), len(plan.subjects), len(plan.rois)
    names = ("n_voxels", "n_constant", "n_missing", "n_shown")
    found = {name: np.full(shape, np.nan) for name in names}
    for design in designs:
        samples = design.samples
        shown = np.isfinite(samples.test).any(axis=1).sum()
        size = len(plan.voxels[design.place[1:]])
        for name, value in zip(names, (size, samples.n_constant, samples.n_missing, shown), strict=True):
            found[name][design.place] = value
    return found


def rounded(fit, published):
    """Weights and biases as they are used for prediction.

    Parameters
    ----------
    fit : lib.selected_ridge.Fit
    published : {"nonaka2021"} or None
        As published they are stored in single precision, and read again.

    Returns
    -------
    lib.selected_ridge.Fit
    """
    if published is None:
        return fit
    weights, bias = (values.astype(np.float32).astype(float) for values in (fit.weights, fit.bias))
    return fit._replace(weights=weights, bias=bias)


def described(settings):
    """Settings as attributes of a file: None is empty; the device, which changes nothing, is left out."""
    values = {name: value for name, value in dataclasses.asdict(settings).items() if name != "device"}
    return {name: "" if value is None else value for name, value in values.items()}


def identity(source, responses, settings, *, code):
    """All that a result depends on, to tell whether one that is there can be taken over.

    Parameters
    ----------
    source : str or pathlib.Path
        Features, written by `features.extract`.
    responses : xarray.Dataset
    settings : Settings
        All but the device count.
    code : sequence of str
        Modules of `lib` whose change makes older results worthless.

    Returns
    -------
    dict
        Of JSON.
    """
    digest = hashlib.sha256()
    for name in sorted(responses.variables):
        values = responses[name].values
        values = np.char.encode(values.astype(str), "utf-8") if values.dtype.kind in "UO" else values
        digest.update(f"{name} {values.shape} {values.dtype}".encode())
        # Not as bytes of their own, which would be all responses once more.
        digest.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8))
    with features.opened(source) as file:
        made_of = str(file.attrs["digest"])
    files = [artefacts.digest(artefacts.ROOT / "lib" / f"{name}.py") for name in code]
    code = hashlib.sha256("".join(files).encode()).hexdigest()
    return {"responses": digest.hexdigest(), "features": made_of, "code": code} | described(settings)


def is_made_of(path, made_of):
    """Whether a file is there, complete, and made from the very same.

    Parameters
    ----------
    path : pathlib.Path
    made_of : dict
        As from `identity`; the file has it as its attribute `identity`.

    Returns
    -------
    bool
    """
    if not path.exists():
        return False
    try:
        with hdf5.opened(path) as file:
            return file.attrs.get("identity") == json.dumps(made_of)
    except ValueError:
        return False
