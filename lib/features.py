"""Features of stimuli: what is kept of layers, streamed to disk, read back by blocks of units."""

import contextlib
import dataclasses
import hashlib
import json
import math
import time
from pathlib import Path

import h5netcdf
import h5py
import numpy as np
import psutil
import torch
import xarray as xr
from tqdm.auto import tqdm

from lib import (
    activations,
    artefacts,
    budget,
    damage,
    hdf5,
    partial,
    passes,
    plugins,
    projection,
    reduction,
    released,
)
from lib.published import RULES

# A chunk of a stored layer holds the stimuli of one batch, and units up to this many bytes.
CHUNK_BYTES = 1 << 20
# So many outputs of the size of the largest are in memory at once in a pass: input, output and a branch.
OUTPUTS_AT_ONCE = 3
WRITTEN_PER_S = 1e9  # bytes, through the cache of the system


def extract(
    model,
    table,
    path,
    *,
    batch_size=8,
    device="auto",
    layers=None,
    target="",
    reduce=reduction.NONE,
    tf32=False,
):
    """Store the features of all stimuli: one forward pass per batch, all layers at once.

    Memory holds one batch, the inputs of the next and the features of the last, whatever the number of
    stimuli. The file appears only when it is complete. Where a process that did the very same was killed or
    interrupted, the batches that it had completed are taken over.

    Parameters
    ----------
    model : lib.models.Model
    table : pandas.DataFrame
        Columns `stimulus` (unique identifiers), `file` (relative to the folder `data`) and `sha256`; its
        order is that of the file's rows.
    path : str or pathlib.Path
        Of the file to write. Each layer is a variable (stimulus, unit_<layer>), float32 unless `reduce` says
        otherwise, in the unit of the network's activations; time is averaged out, other axes are flattened,
        last axis fastest. Features of a video are the means over its frames.
    batch_size : int
        Stimuli per pass.
    device : {"auto", "cpu", "cuda"}
    layers : str or iterable of str, optional
        Other layers than the model's own list: names, patterns, "every-block" (see `naming.expand`).
    target : str
        Name of the data set, for the record.
    reduce : lib.reduction.Reduction
        What is kept of each layer.
    tf32 : bool
        Whether a GPU may round factors to 10 bits.

    Raises
    ------
    ValueError
        If identifiers repeat, a stimulus is missing, changed or of another shape than the first, a layer is
        unknown or the batch is not one of its axes, a feature is not finite or too large for the precision
        (layer and stimuli named), or disk or memory do not suffice (alternatives named).
    RuntimeError
        If another process is writing the same file.
    """
    path = Path(path)
    if model.released:
        _require_whole(reduce)
        released.store(model.released, table, path, layers=layers, target=target)
        return
    _require_identifiers(table)
    fitted = _fitted(table, reduce)
    with activations.inference(model.module, activations.device(device), tf32=tf32) as module:
        run = _ready(model, module, table, device, layers=layers, reduce=reduce, n_stimuli=len(table))
        needs = cost(run, len(table), batch_size=batch_size, reduce=reduce)
        budget.require(needs, path, batch_size=batch_size, spare=partial.size(path))
        record = _record(run, table, reduce) | {"target": target, "batch_size": batch_size, "tf32": int(tf32)}

        def lay_out(new):
            with h5netcdf.File(new, "w") as file:
                _lay_out(file, table, run.sizes, batch_size, "f4" if reduce.afterwards else reduce.dtype)
                file.attrs.update(record)

        with partial.filling(path, record | {"code": _code(), "device": run.on.type}, lay_out) as part:
            _fill(part, run, table, batch_size, reduce)
            if reduce.afterwards:
                _save_projected(part.file, path, table, reduce, fitted)
            else:
                part.complete(path, _rounding(part.notes, reduce))


def estimate(model, table, *, batch_size=8, device="auto", layers=None, reduce=reduction.NONE):
    """What `extract` with the same arguments will cost, from one batch that is run and thrown away.

    Parameters
    ----------
    model, table, batch_size, device, layers, reduce
        As for `extract`.

    Returns
    -------
    dict
        `units`: number of units stored of each layer (with "pca": at most); `bytes` on disk, `peak_disk`
        while it runs; `seconds`, which other work on the machine lengthens; `extra_memory`: bytes needed beyond
        those that this process takes with its model loaded, `peak_memory`: both together; and what
        `budget.require` goes by: `shapes` of the layers (batch first), `n_stimuli`, `n_fitted`, `bytes_each`.
    """
    if model.released:
        return released.estimate(model.released, table, layers=layers)
    with activations.inference(model.module, activations.device(device)) as module:
        run = _ready(model, module, table, device, layers=layers, reduce=reduce, n_stimuli=len(table))
        batch, start = table.iloc[:batch_size], time.perf_counter()
        inputs = passes.load(model, batch, shape=run.shape)
        seconds = time.perf_counter() - start + run.seconds(*inputs, batch_size=batch_size)
        seconds *= len(table) / len(batch)
        needs = cost(run, len(table), batch_size=batch_size, reduce=reduce)
    return needs | {"seconds": seconds + needs["peak_disk"] / WRITTEN_PER_S}


def cost(run, n_stimuli, *, batch_size, reduce=reduction.NONE):
    """What an extraction needs of disk and memory, from the shapes of one more pass.

    Parameters
    ----------
    run : lib.passes.Passes
    n_stimuli, batch_size : int
    reduce : lib.reduction.Reduction
        As it was when `run` was made ready.

    Returns
    -------
    dict
        As `estimate` returns it, without `seconds`.
    """
    probe = torch.zeros(1, *run.shape, device=run.on)
    largest = max((call.n_bytes for call in activations.calls(run.module, probe)), default=0)
    raw, n_fitted = run.sizes, reduce.n_fitted(n_stimuli)
    units = {name: reduce.n_kept(n, n_stimuli) for name, n in raw.items()}
    bytes_each = reduction.PRECISIONS[reduce.precision]
    stored = bytes_each * n_stimuli * sum(units.values())
    kept = 4 * sum(raw.values())
    # Twice: one batch is passed while the inputs of the next are read and the rows of the last are written.
    extra = min(batch_size, n_stimuli) * (2 * (probe.nbytes + kept) + OUTPUTS_AT_ONCE * largest)
    extra += sum(min(projection.KEPT_BYTES, r.project.n_bytes) for r in run.reducers.values() if r.project)
    extra = max(extra, reduce.n_bytes(raw, n_stimuli)) if reduce.afterwards else extra
    return {
        "units": units,
        "bytes": stored,
        "peak_disk": stored + n_stimuli * kept * reduce.afterwards,
        "extra_memory": extra,
        "peak_memory": extra + psutil.Process().memory_info().rss,
        "shapes": {name: reducer.shape for name, reducer in run.reducers.items()},
        "n_stimuli": n_stimuli,
        "n_fitted": n_fitted,
        "bytes_each": bytes_each,
    }


def repeatability(model, table, path, *, n_stimuli=2, device="auto", tf32=False):
    """Largest difference between stored features and those of a second extraction of the first stimuli.

    Parameters
    ----------
    model, table, path
        As for `extract`.
    n_stimuli : int
        How many to extract again.
    device, tf32
        As for `extract`.

    Returns
    -------
    dict of str to float
        For each layer, relative to its largest absolute value among these stimuli. 0 if the batch holds the
        same stimuli as before, else some roundings of the stored precision. Empty for projections of
        which the first stimuli alone do not define scale or components.
    """
    if model.released:
        return released.repeatability(model.released, table, path, n_stimuli=n_stimuli)
    reduce, few = reductions(path), table.iloc[:n_stimuli]
    if reduce.afterwards:
        return {}
    with activations.inference(model.module, activations.device(device), tf32=tf32) as module:
        n_all = len(identifiers(path))
        run = _ready(model, module, few, device, layers=layers(path), reduce=reduce, n_stimuli=n_all)
        rows = run.rows(*passes.load(model, few, shape=run.shape), batch_size=n_stimuli)
    stored = {name: next(blocks(path, name, ids=few["stimulus"], n_units=None)) for name in rows}
    again = {name: reduction.rounded(values, reduce.precision)[0].cpu() for name, values in rows.items()}
    return {name: activations.difference(stored[name], values) for name, values in again.items()}


@contextlib.contextmanager
def opened(path):
    """Open a file of features for reading, by code that takes for granted what such a file holds.

    Parameters
    ----------
    path : str or pathlib.Path
        Written by `extract`.

    Yields
    ------
    h5py.File

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or no file of features.
    """
    with (
        damage.named(path, "is damaged, or no file of features; extract again"),
        hdf5.opened(artefacts.there(path), whole=True) as file,
    ):
        yield file


def reductions(path):
    """How the layers in a file of features were made smaller, as a `lib.reduction.Reduction`."""
    with opened(path) as file:
        said = json.loads(file.attrs["reduction"])
    return reduction.Reduction(**said | {"fitted_on": tuple(said["fitted_on"])})


def layers(path):
    """Names of the layers in a file of features, from input to output."""
    with opened(path) as file:
        return tuple(json.loads(file.attrs["layers"]))


def units(path):
    """Number of units of each layer in a file of features, by name."""
    with opened(path) as file:
        return {name: file[name].shape[1] for name in json.loads(file.attrs["layers"])}


def rounding(path):
    """Largest error that storing in half precision has made in each layer, relative to its largest value in a batch.

    Parameters
    ----------
    path : str or pathlib.Path
        Written by `extract`.

    Returns
    -------
    dict of str to float
        0 for layers in full precision.
    """
    with opened(path) as file:
        return dict.fromkeys(units(path), 0.0) | json.loads(file.attrs.get("rounding", "{}"))


def identifiers(path):
    """Identifiers of the stimuli in a file of features, in the order of its rows."""
    with opened(path) as file:
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
    with opened(path):
        stored = xr.open_dataset(path, engine="h5netcdf")[name]
    return stored.rename({stored.dims[1]: "unit"})


def effective_dimensionality(path, layer, *, scaled=False, published=None):
    """Number of dimensions that the stimuli fill in a layer: (Σλ)² / Σλ² over the features' principal variances λ.

    Parameters
    ----------
    path : str or pathlib.Path
        Written by `extract`.
    layer : str
    scaled : bool
        Divide every unit by its standard deviation over stimuli, as an RDM of z-scored units sees it; a constant unit
        stays 0. Default: units are centred only, as a regression sees them.
    published : {"tuckute2023"}, optional
        Centre every stimulus over units as well, as a covariance with stimuli for variables does: what all units have
        in common, one dimension, is taken out, though a regression can use it.

    Returns
    -------
    float
        From 1 to the number of stimuli less one; NaN if no unit varies.

    Raises
    ------
    ValueError
        If there is no such layer or published rule.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (effective dimensionality).
    """
    if published is not None:
        plugins.require(published, RULES, "published rule")
    gram, common, n_units = 0, 0, 0
    for piece in blocks(path, layer):
        centred = piece - piece.mean(axis=0, dtype=float)
        if scaled:
            std = centred.std(axis=0)
            # What rounding leaves of a constant unit is not variance.
            varies = std > 1e-12 * abs(piece).max(axis=0, initial=0)
            centred = np.where(varies, centred / np.where(varies, std, 1), 0)
        gram = gram + centred @ centred.T
        common, n_units = common + centred.sum(axis=1), n_units + centred.shape[1]
    if published is not None:
        gram = gram - np.outer(common, common) / n_units
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
        Whatever precision they are stored in.

    Raises
    ------
    ValueError
        If the file has no such layer or stimulus; nearest layers, first missing stimuli are named.
    """
    plugins.require(layer, layers(path), f"layer in {path}")
    rows = None if ids is None else select(identifiers(path), ids)
    with opened(path) as file:
        stored = file[layer]
        step = n_units or stored.shape[1]
        for start in range(0, stored.shape[1], step):
            piece = stored[:, start : start + step].astype(np.float32, copy=False)
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


def _ready(model, module, table, device, **how):
    """Passes through the network, tried on the first two stimuli."""
    inputs, owners = passes.load(model, table.iloc[:2])
    first = [int((owners == number).nonzero()[0, 0]) for number in range(len(table.iloc[:2]))]
    return passes.ready(module, model, inputs[first].to(activations.device(device)), **how)


def _fitted(table, reduce):
    """Which stimuli a projection is fitted on; None for all."""
    if not reduce.fitted_on:
        return None
    chosen = np.zeros(len(table), dtype=bool)
    chosen[select(table["stimulus"], reduce.fitted_on)] = True
    return chosen


def _fill(part, run, table, batch_size, reduce):
    """Pass all stimuli that are not in a file yet, and put their features there."""
    precision = "float32" if reduce.afterwards else reduce.precision
    batches = [table.iloc[start : start + batch_size] for start in range(part.done, len(table), batch_size)]
    loaded = passes.ahead(lambda batch: passes.load(run.model, batch, shape=run.shape), batches)
    bar = tqdm(total=len(table), initial=part.done, desc=run.model.name)
    with bar, passes.behind(part.write) as write:
        for batch, (inputs, owners) in zip(batches, loaded, strict=True):
            found, errors = {}, {}
            for name, rows in run.rows(inputs, owners, batch_size=batch_size).items():
                _require_finite(rows, name, batch)
                found[name], errors[name] = _stored(rows, name, precision)
            write(found, errors if precision != "float32" else {})
            bar.update(len(batch))


def _stored(rows, name, precision):
    """Rows as an array of the stored precision, and their largest relative rounding error."""
    try:
        rounded, error = reduction.rounded(rows, precision)
    except ValueError as problem:
        raise ValueError(f"layer {name!r}: {problem}; store float32, or leave the layer out") from problem
    return rounded.cpu().numpy(), error


def _rounding(notes, reduce):
    """Largest relative rounding error of each layer, as an attribute; none in full precision."""
    if reduce.precision == "float32":
        return {}
    return {"rounding": json.dumps({name: max(note[name] for note in notes) for name in notes[0]})}


def _save_projected(raw, path, table, reduce, fitted):
    """Write projections of layers that lie in a file."""
    names, notes = json.loads(raw.attrs["layers"]), {}
    with artefacts.atomic(path) as new, h5netcdf.File(new, "w") as file:
        _lay_out(file, table, {}, 1, reduce.dtype)
        file.attrs.update({key: value for key, value in raw.attrs.items() if not key.startswith("_")})
        for name in names:
            layer = raw[name]
            scores = torch.from_numpy(reduce.projected(layer, name, fitted)).float()
            rows, notes[name] = _stored(scores, name, reduce.precision)
            _add_layer(file, name, rows.shape[1], layer.chunks[0], reduce.dtype)
            file.variables[name][...] = rows
        file.attrs.update(_rounding([notes], reduce))


def _lay_out(file, table, sizes, batch_size, dtype):
    """Dimensions, identifiers and empty variables of a file of features."""
    file.dimensions = {"stimulus": len(table)}
    names = file.create_variable("stimulus", ("stimulus",), dtype=h5py.string_dtype())
    names[:] = table["stimulus"].to_numpy(dtype=object)
    for name, size in sizes.items():
        _add_layer(file, name, size, min(batch_size, len(table)), dtype)


def _add_layer(file, name, size, n_rows, dtype):
    """Dimension and empty variable of a layer."""
    # Equal shares of the units: a last chunk that is mostly empty would still take its whole space.
    n_bytes = np.dtype(dtype).itemsize * n_rows * size
    n_columns = math.ceil(size / max(1, math.ceil(n_bytes / CHUNK_BYTES)))
    file.dimensions[f"unit_{name}"] = size
    how = {"chunks": (n_rows, n_columns), "dcpl": partial.reserved()}
    variable = file.create_variable(name, ("stimulus", f"unit_{name}"), dtype=dtype, **how)
    if np.dtype(dtype) != np.float32:
        # Read with this, numbers of half precision come back as float32, in which one can compute.
        variable.attrs["scale_factor"] = np.float32(1)


def _record(run, table, reduce):
    """What features were made from, as attributes of their file."""
    model = run.model
    parts = [model.digest, model.time_axis, run.layers, table[["stimulus", "sha256"]].to_numpy().tolist()]
    parts += [dataclasses.asdict(reduce)] if reduce != reduction.NONE else []
    return {
        "model": model.name,
        "model_digest": model.digest,
        "layers": json.dumps(run.layers),
        "shapes": json.dumps({name: reducer.shape[1:] for name, reducer in run.reducers.items()}),
        "time": "averaged" if model.time_axis is not None else "none",
        "reduction": json.dumps(dataclasses.asdict(reduce)),
        "digest": hashlib.sha256(json.dumps(parts).encode()).hexdigest(),
        "versions": json.dumps({"torch": torch.__version__, "numpy": np.__version__}),
    }


def _code():
    """Digest of the library's code: what an older one began is not gone on with."""
    files = sorted((artefacts.ROOT / "lib").rglob("*.py"))
    return hashlib.sha256("".join(map(artefacts.digest, files)).encode()).hexdigest()


def _require_whole(reduce):
    """Released activations are stored as they are."""
    if reduce != reduction.NONE:
        raise ValueError(
            "released activations are stored as they are; leave pooling, projection and precision out"
        )


def _require_identifiers(table):
    """Refuse an empty table and one whose identifiers repeat."""
    repeated = table.loc[table["stimulus"].duplicated(), "stimulus"].tolist()
    if repeated or table.empty:
        raise ValueError(f"stimuli repeat in the table, first {repeated[:3]}" if repeated else "no stimuli")


def _require_finite(rows, layer, batch):
    """Refuse features that are NaN or infinite."""
    # A sum is cheap, and finite only if all that is summed is.
    bad = [] if bool(rows.sum().isfinite()) else (~rows.isfinite().all(1)).nonzero().flatten().tolist()
    if bad:
        names = batch["stimulus"].iloc[bad[:3]].tolist()
        raise ValueError(f"layer {layer!r} is not finite for stimuli {names}; check them for silence or NaN")
