"""Published activations in place of a network: stored as if they had been extracted here."""

import dataclasses
import fnmatch
import hashlib
import json
import math
import time
from collections.abc import Callable

import h5netcdf
import h5py
import numpy as np
import psutil
from tqdm.auto import tqdm

from lib import artefacts, damage, hdf5, reduction

CHUNK_BYTES = 1 << 20
FIRST = 3  # offenders a message names


@dataclasses.dataclass(frozen=True)
class Release:
    """Activations of one network that somebody else has extracted.

    Attributes
    ----------
    name : str
        Of the model, with the suffix of the control if it is one.
    layers : tuple of str
        From input to output.
    digest : str
        SHA-256 of what they are read from, and of what is taken from where.
    read : callable
        From a list of identifiers of stimuli and one of layers, an iterator over (layer, array (n_stimuli,
        n_units)) in these orders. ValueError names stimuli and layers that are not there.
    """

    name: str
    layers: tuple
    digest: str
    read: Callable


def store(release, table, path, *, layers=None, target=""):
    """Write the activations of a data set's stimuli where extraction would have written its features.

    Memory holds one layer. The file appears only when it is complete.

    Parameters
    ----------
    release : Release
    table : pandas.DataFrame
        Columns `stimulus` (unique identifiers) and `sha256`; its order is that of the file's rows. The files
        of the stimuli are not needed.
    path : str or pathlib.Path
        Of the file to write, as `lib.features.extract` writes it: each layer is a float32 variable (stimulus,
        unit_<layer>) in the unit of the release.
    layers : str or iterable of str, optional
        Other layers than those that the release names; a text holds names apart by spaces, or patterns of those
        that it names.
    target : str
        Name of the data set, for the record.

    Raises
    ------
    ValueError
        If identifiers repeat, no layer fits a pattern, the release lacks a stimulus or a layer (the first are
        named), or a value is not finite (layer and stimuli are named).
    """
    layers, names = _chosen(release, layers), _identifiers(table)
    with artefacts.atomic(path) as part, h5netcdf.File(part, "w") as file:
        file.dimensions = {"stimulus": len(names)}
        file.create_variable("stimulus", ("stimulus",), dtype=h5py.string_dtype())[:] = np.array(
            names, object
        )
        rows, units = release.read(names, list(layers)), {}
        for layer, values in tqdm(rows, total=len(layers), desc=f"{release.name} {target}"):
            _write(file, layer, _finite(values, layer, names))
            units[layer] = values.shape[1]
        file.attrs.update(_record(release, table, units) | {"target": target})


def estimate(release, table, *, layers=None):
    """What `store` with the same arguments will cost, from reading the first stimulus.

    Parameters
    ----------
    release, table, layers
        As for `store`.

    Returns
    -------
    dict
        `units`: number of units of each layer; `bytes` on disk, also as `peak_disk`; `seconds`, at most: what is
        read once for all stimuli counts for each; `extra_memory`: bytes of the largest layer, twice, and
        `peak_memory` with what the process has taken.
    """
    start = time.perf_counter()
    first = release.read(_identifiers(table)[:1], list(_chosen(release, layers)))
    units = {layer: values.shape[1] for layer, values in first}
    seconds = (time.perf_counter() - start) * len(table)
    stored, memory = 4 * len(table) * sum(units.values()), 8 * len(table) * max(units.values())
    return {
        "units": units,
        "bytes": stored,
        "peak_disk": stored,
        "seconds": seconds,
        "extra_memory": memory,
        "peak_memory": memory + psutil.Process().memory_info().rss,
    }


def repeatability(release, table, path, *, n_stimuli=2):
    """Largest difference between what was stored and what is read again of the first stimuli.

    Parameters
    ----------
    release, table, path
        As for `store`.
    n_stimuli : int
        How many to read again.

    Returns
    -------
    dict of str to float
        For each layer, relative to its largest absolute value among these stimuli; 0 unless the release or the
        file has changed.
    """
    names, found = _identifiers(table)[:n_stimuli], {}
    with damage.named(path), hdf5.opened(path) as file:
        place = {str(name): i for i, name in enumerate(file["stimulus"].asstr()[()])}
        rows = [place[name] for name in names]
        for layer, again in release.read(names, json.loads(file.attrs["layers"])):
            stored = file[layer][()][rows].astype(float)
            found[layer] = float(np.abs(stored - again).max() / (np.abs(stored).max() or 1.0))
    return found


def digest(*parts):
    """SHA-256 of what makes a release, for `Release.digest`.

    Parameters
    ----------
    *parts : object
        Texts, numbers, and lists and dicts of them: names and hashes of files, and what is read from them.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def require_stimuli(wanted, available, where):
    """Raise ValueError unless all stimuli are there.

    Parameters
    ----------
    wanted, available : iterable of str
    where : str
        What lacks them, for the message.

    Raises
    ------
    ValueError
        Naming the first stimuli that are missing.
    """
    available = set(available)
    missing = [name for name in wanted if name not in available]
    if missing:
        raise ValueError(
            f"{where} holds no activations for {len(missing)} of the stimuli, first {missing[:FIRST]}; "
            f"it was made for others than those of this target"
        )


def stacked(values, names, where):
    """Values of each stimulus as rows of one array.

    Parameters
    ----------
    values : iterable of array
        One for each stimulus, in any shape; the last axis is the fastest.
    names : sequence of str
        Of the stimuli, for messages.
    where : str
        For messages.

    Returns
    -------
    float32 array (n_stimuli, n_units)

    Raises
    ------
    ValueError
        If a stimulus has another number of units than the first, or something else than real numbers.
    """
    rows = None
    for i, value in enumerate(values):
        value = np.asarray(value)
        if value.dtype.kind not in "fiub" or value.size == 0:
            raise ValueError(f"{where}: {names[i]} holds {value.dtype} {value.shape} instead of real numbers")
        rows = np.empty((len(names), value.size), np.float32) if rows is None else rows
        if value.size != rows.shape[1]:
            raise ValueError(
                f"{where}: {names[i]} has {value.size} units, {names[0]} has {rows.shape[1]}; average out what "
                f"differs in length"
            )
        rows[i] = value.ravel()
    return rows


def _identifiers(table):
    """Identifiers of the stimuli, which must be unique."""
    names = table["stimulus"].tolist()
    repeated = table.loc[table["stimulus"].duplicated(), "stimulus"].tolist()
    if repeated or not names:
        raise ValueError(
            f"stimuli repeat in the table, first {repeated[:FIRST]}" if repeated else "no stimuli"
        )
    return names


def _chosen(release, layers):
    """Names of layers: those given, those that fit a pattern, or all."""
    if not layers:
        return release.layers
    given = layers.split() if isinstance(layers, str) else list(layers)
    fitting = [fnmatch.filter(release.layers, name) if set(name) & set("*?[") else [name] for name in given]
    if empty := [name for name, found in zip(given, fitting, strict=True) if not found]:
        raise ValueError(
            f"no layer of {release.name} fits {empty[:FIRST]}; it has {release.layers[:FIRST]}, …"
        )
    return tuple(dict.fromkeys(name for found in fitting for name in found))


def _write(file, layer, values):
    """One layer, in chunks of some stimuli and about equal shares of the units."""
    n_rows = min(len(values), 16)
    shares = math.ceil(4 * n_rows * values.shape[1] / CHUNK_BYTES)
    chunks = (n_rows, math.ceil(values.shape[1] / shares))
    file.dimensions[f"unit_{layer}"] = values.shape[1]
    variable = file.create_variable(layer, ("stimulus", f"unit_{layer}"), dtype="f4", chunks=chunks)
    variable[:] = values


def _finite(values, layer, names):
    """The values, none of which is NaN or infinite."""
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise ValueError(
            f"layer {layer!r} of the release is not finite for {len(bad)} stimuli, first "
            f"{[names[i] for i in bad[:FIRST]]}"
        )
    return values


def _record(release, table, units):
    """What the file was made from, as its attributes."""
    layers = list(units)
    parts = [release.digest, None, layers, table[["stimulus", "sha256"]].to_numpy().tolist()]
    return {
        "model": release.name,
        "model_digest": release.digest,
        "layers": json.dumps(layers),
        "shapes": json.dumps({layer: [size] for layer, size in units.items()}),
        "time": "as released",
        "reduction": json.dumps(dataclasses.asdict(reduction.NONE)),
        "tf32": 0,
        "digest": digest(parts),
        "versions": json.dumps({"numpy": np.__version__}),
    }
