"""Features of stimuli: layers averaged over time, streamed to disk, read back by blocks of units."""

import hashlib
import json
import math
import time

import h5netcdf
import h5py
import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from lib import activations, artefacts, plugins, stimuli, validation

# A chunk of a stored layer holds the stimuli of one batch, and units up to this many bytes.
CHUNK_BYTES = 1 << 20


def extract(model, table, path, *, batch_size=8, device="auto", layers=None, target=""):
    """Store the features of all stimuli: one forward pass per batch, all layers at once.

    Memory holds one batch, whatever the number of stimuli. The file appears only when it is complete.

    Parameters
    ----------
    model : lib.models.Model
    table : pandas.DataFrame
        Columns `stimulus` (unique identifiers), `file` (relative to the folder `data`) and `sha256`; its
        order is that of the file's rows.
    path : str or pathlib.Path
        Of the file to write. Each layer is a float32 variable (stimulus, unit_<layer>) in the unit of the
        network's activations; time is averaged out, other axes are flattened, last axis fastest.
    batch_size : int
        Stimuli per pass.
    device : {"auto", "cpu", "cuda"}
    layers : iterable of str, optional
        Other layers than the model's own list.
    target : str
        Name of the data set, for the record.

    Raises
    ------
    ValueError
        If identifiers repeat, a stimulus is missing, changed or of another shape than the first, a layer is
        unknown or its first axis is not the batch, or a feature is not finite (layer and stimulus named).
    """
    layers = tuple(layers or model.layers)
    _require_identifiers(table)
    on = activations.device(device)
    with activations.inference(model.module, on) as module, artefacts.atomic(path) as part:
        first = _inputs(model, table.iloc[:2]).to(on)
        faults = validation.batch_faults(module, first, layers)
        if faults:
            raise ValueError(f"model {model.name!r} cannot be recorded: " + "; ".join(faults))
        sizes = {name: rows.shape[1] for name, rows in _rows(model, module, first[:1], layers).items()}
        with h5netcdf.File(part, "w") as file, tqdm(total=len(table), desc=f"{model.name} {target}") as bar:
            _lay_out(file, table, sizes, batch_size)
            file.attrs.update(_record(model, table, layers) | {"target": target, "batch_size": batch_size})
            for start in range(0, len(table), batch_size):
                batch = table.iloc[start : start + batch_size]
                inputs = _inputs(model, batch, shape=first.shape[1:]).to(on)
                for name, rows in _rows(model, module, inputs, layers).items():
                    _require_finite(rows, name, batch)
                    file.variables[name][start : start + len(batch)] = rows.cpu().numpy()
                bar.update(len(batch))


def estimate(model, table, *, batch_size=8, device="auto", layers=None):
    """What `extract` with the same arguments will cost, from one batch that is run and thrown away.

    Parameters
    ----------
    model, table, batch_size, device, layers
        As for `extract`.

    Returns
    -------
    dict
        `units`: number of units of each layer; `bytes` on disk; `seconds`, which other work on the machine
        lengthens.
    """
    layers = tuple(layers or model.layers)
    on = activations.device(device)
    with activations.inference(model.module, on) as module:
        _rows(model, module, _inputs(model, table.iloc[:1]).to(on), layers)
        start = time.perf_counter()
        batch = _inputs(model, table.iloc[:batch_size]).to(on)
        rows = _rows(model, module, batch, layers)
        seconds = (time.perf_counter() - start) / len(batch) * len(table)
    units = {name: values.shape[1] for name, values in rows.items()}
    return {"units": units, "bytes": 4 * len(table) * sum(units.values()), "seconds": seconds}


def repeatability(model, table, path, *, n_stimuli=2, device="auto"):
    """Largest difference between stored features and those of a second extraction of the first stimuli.

    Parameters
    ----------
    model, table, path
        As for `extract`.
    n_stimuli : int
        How many to extract again.
    device
        As for `extract`.

    Returns
    -------
    dict of str to float
        For each layer, relative to its largest absolute value among these stimuli. 0 if the batch holds the
        same stimuli as before, else some roundings of float32.
    """
    on, few = activations.device(device), table.iloc[:n_stimuli]
    with activations.inference(model.module, on) as module:
        rows = _rows(model, module, _inputs(model, few).to(on), layers(path))
    stored = {name: next(blocks(path, name, ids=few["stimulus"], n_units=None)) for name in rows}
    return {name: activations.difference(stored[name], values.cpu()) for name, values in rows.items()}


def layers(path):
    """Names of the layers in a file of features, from input to output."""
    with h5py.File(path) as file:
        return tuple(json.loads(file.attrs["layers"]))


def identifiers(path):
    """Identifiers of the stimuli in a file of features, in the order of its rows."""
    with h5py.File(path) as file:
        return [str(name) for name in file["stimulus"].asstr()[()]]


def layer(path, name):
    """A layer that stays on disk until parts of it are read.

    Parameters
    ----------
    path : str or pathlib.Path
        Written by `extract`.
    name : str

    Returns
    -------
    xarray.DataArray (stimulus, unit)
        float32, with coordinate `stimulus`.

    Raises
    ------
    ValueError
        If the file has no such layer; the nearest are named.
    """
    plugins.require(name, layers(path), f"layer in {path}")
    stored = xr.open_dataset(path, engine="h5netcdf")[name]
    return stored.rename({stored.dims[1]: "unit"})


def effective_dimensionality(path, layer):
    """Number of dimensions that the stimuli fill in a layer: (Σλ)² / Σλ² over the features' principal variances λ.

    Parameters
    ----------
    path : str or pathlib.Path
        Written by `extract`.
    layer : str

    Returns
    -------
    float
        From 1 to the number of stimuli less one; NaN if no unit varies. Units are centred, not scaled.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (effective dimensionality).
    """
    gram = 0
    for piece in blocks(path, layer):
        centred = piece - piece.mean(axis=0, dtype=float)
        gram = gram + centred @ centred.T
    total = np.einsum("ij,ij->", gram, gram)
    return float(np.trace(gram) ** 2 / total) if total > 0 else np.nan


def blocks(path, layer, *, ids=None, n_units=8192):
    """A layer in pieces, so that it need not fit into memory.

    Parameters
    ----------
    path : str or pathlib.Path
        Written by `extract`.
    layer : str
    ids : iterable of str, optional
        Identifiers of the stimuli wanted, in the order wanted; all, in the file's order, by default.
    n_units : int or None
        Units per piece; None is the whole layer.

    Yields
    ------
    float32 array (n_stimuli, up to n_units)

    Raises
    ------
    ValueError
        If the file has no such layer or stimulus; nearest layers, first missing stimuli are named.
    """
    plugins.require(layer, layers(path), f"layer in {path}")
    rows = None if ids is None else select(identifiers(path), ids)
    with h5py.File(path) as file:
        stored = file[layer]
        step = n_units or stored.shape[1]
        for start in range(0, stored.shape[1], step):
            piece = stored[:, start : start + step]
            yield piece if rows is None else piece[rows]


def select(available, wanted):
    """Positions of identifiers in a list of them.

    Parameters
    ----------
    available, wanted : iterable of str

    Returns
    -------
    int array (n_wanted,)

    Raises
    ------
    ValueError
        If any is not available; the first three are named.
    """
    at, wanted = {name: i for i, name in enumerate(available)}, list(wanted)
    missing = [name for name in wanted if name not in at]
    if missing:
        raise ValueError(
            f"{len(missing)} stimuli have no features, first {missing[:3]}; extract again for this target"
        )
    return np.array([at[name] for name in wanted], dtype=int)


def _inputs(model, table, *, shape=None):
    """Preprocessed stimuli of a table as one batch; `shape` is what each must have (default: the first's)."""
    tensors = []
    for row in table.itertuples():
        if not isinstance(row.file, str) or not row.file:
            raise ValueError(
                f"stimulus {row.stimulus!r} has no file: its data set may not hand it on; attribute `stimuli` "
                f"of the target's responses.nc says where to ask for it and where to put it"
            )
        try:
            stimulus = stimuli.read(artefacts.home() / "data" / row.file, sha256=row.sha256)
            if isinstance(stimulus, tuple) != (model.modality == "audio"):
                raise ValueError(f"{row.file} is of another modality than {model.name} ({model.modality})")
            tensor = model.preprocess(stimulus)
            shape = tensor.shape if shape is None else shape
            if tensor.shape != shape:
                raise ValueError(f"shape {tuple(tensor.shape)} differs from the first's, {tuple(shape)}")
        except ValueError as error:
            raise ValueError(f"stimulus {row.stimulus!r}: {error}") from error
        tensors.append(tensor)
    return torch.stack(tensors)


def _rows(model, module, inputs, layers):
    """Features (stimulus, unit) of a batch, on its device, by layer."""

    def keep(output):
        if output.is_complex() or output.ndim < 2:
            kind = "complex numbers" if output.is_complex() else f"shape {tuple(output.shape)}"
            raise ValueError(
                f"a layer of {model.name} puts out {kind}; real numbers (batch, unit, …) are wanted"
            )
        output = output.float()
        timed = model.time_axis is not None and output.ndim > 2
        # A copy, because a later module may work in place on the very same memory.
        return output.mean(model.time_axis) if timed else output.clone()

    found = activations.record(module, inputs, layers, keep=keep, stop=True)
    return {name: found[name].flatten(1) for name in layers}


def _lay_out(file, table, sizes, batch_size):
    """Dimensions, identifiers and empty variables of a file of features."""
    file.dimensions = {"stimulus": len(table)} | {f"unit_{name}": size for name, size in sizes.items()}
    names = file.create_variable("stimulus", ("stimulus",), dtype=h5py.string_dtype())
    names[:] = table["stimulus"].to_numpy(dtype=object)
    n_rows = min(batch_size, len(table))
    for name, size in sizes.items():
        # Equal shares of the units: a last chunk that is mostly empty would still take its whole space.
        n_columns = math.ceil(size / math.ceil(4 * n_rows * size / CHUNK_BYTES))
        file.create_variable(name, ("stimulus", f"unit_{name}"), dtype="f4", chunks=(n_rows, n_columns))


def _record(model, table, layers):
    """What features were made from, as attributes of their file."""
    parts = [model.digest, model.time_axis, layers, table[["stimulus", "sha256"]].to_numpy().tolist()]
    return {
        "model": model.name,
        "model_digest": model.digest,
        "layers": json.dumps(layers),
        "time": "averaged" if model.time_axis is not None else "none",
        "digest": hashlib.sha256(json.dumps(parts).encode()).hexdigest(),
        "versions": json.dumps({"torch": torch.__version__, "numpy": np.__version__}),
    }


def _require_identifiers(table):
    """Refuse an empty table and one whose identifiers repeat."""
    repeated = table.loc[table["stimulus"].duplicated(), "stimulus"].tolist()
    if repeated or table.empty:
        raise ValueError(f"stimuli repeat in the table, first {repeated[:3]}" if repeated else "no stimuli")


def _require_finite(rows, layer, batch):
    """Refuse features that are NaN or infinite."""
    bad = (~rows.isfinite().all(1)).nonzero().flatten().tolist()
    if bad:
        names = batch["stimulus"].iloc[bad[:3]].tolist()
        raise ValueError(f"layer {layer!r} is not finite for stimuli {names}; check them for silence or NaN")
