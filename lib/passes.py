"""Forward passes over stimuli: batches are read ahead, and layers made smaller as they come."""

import contextlib
import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor

import torch

from lib import activations, artefacts, naming, reduction, stimuli, validation


@dataclasses.dataclass(frozen=True)
class Passes:
    """A network on a device, and what is to be kept of which of its layers.

    Attributes
    ----------
    model : lib.models.Model
    module : torch.nn.Module
        On the device.
    on : torch.device
    shape : tuple of int
        Of a preprocessed stimulus.
    reducers : dict of str to lib.reduction.Reducer
        By layer, in the order in which layers are stored.
    """

    model: object
    module: torch.nn.Module
    on: torch.device
    shape: tuple
    reducers: dict

    @property
    def layers(self):
        """Names of the layers."""
        return tuple(self.reducers)

    @property
    def sizes(self):
        """Number of units of each layer, by name."""
        return {name: reducer.n_units for name, reducer in self.reducers.items()}

    def rows(self, inputs, owners, *, batch_size):
        """Features of some stimuli; those of a video are the means over its frames.

        Parameters
        ----------
        inputs : float32 tensor (n_inputs, …)
        owners : int tensor (n_inputs,)
            Number of the stimulus that each input belongs to, from 0 on, in ascending order.
        batch_size : int
            Inputs per pass.

        Returns
        -------
        dict of str to float32 tensor (n_stimuli, n_units)
            By layer, on the device.
        """
        if owners[-1] + 1 == len(owners):
            return self._pass(inputs)
        counts = torch.bincount(owners).to(self.on)[:, None]
        totals = {name: torch.zeros(len(counts), n, device=self.on) for name, n in self.sizes.items()}
        for start in range(0, len(inputs), batch_size):
            few = slice(start, start + batch_size)
            for name, rows in self._pass(inputs[few]).items():
                totals[name].index_add_(0, owners[few].to(self.on), rows)
        return {name: total / counts for name, total in totals.items()}

    def seconds(self, inputs, owners, *, batch_size):
        """How long `rows` takes, once all that is made only once has been made.

        Parameters
        ----------
        inputs, owners, batch_size
            As for `rows`.

        Returns
        -------
        float
        """
        self.rows(inputs[:1], owners[:1], batch_size=1)
        start = time.perf_counter()
        rows = self.rows(inputs, owners, batch_size=batch_size)
        float(next(iter(rows.values())).sum())  # a GPU has finished only then
        return time.perf_counter() - start

    def _pass(self, inputs):
        """Features of one batch."""
        found = activations.record(
            self.module, inputs.to(self.on), self.layers, keep=self.reducers, stop=True
        )
        return {name: found[name] for name in self.layers}


def ready(module, model, inputs, *, layers=None, reduce=reduction.NONE, n_stimuli=1):
    """Passes through a network whose layers have been found and seen to keep stimuli apart.

    Parameters
    ----------
    module : torch.nn.Module
        As `activations.inference` yields it.
    model : lib.models.Model
        That it belongs to.
    inputs : float32 tensor (1 or more, …)
        Preprocessed stimuli to try, on the module's device.
    layers : str or iterable of str, optional
        As for `naming.expand`; the model's own by default.
    reduce : lib.reduction.Reduction
    n_stimuli : int
        How many there are in all.

    Returns
    -------
    Passes

    Raises
    ------
    ValueError
        If a layer is unknown, its batch cannot be told, or it is not made of real numbers.
    """
    names = naming.expand(module, layers or model.layers, inputs[:1])
    axes, faults = validation.batch_axes(module, inputs, names)
    if faults:
        raise ValueError(f"model {model.name!r} cannot be recorded: " + "; ".join(faults))
    looks = activations.record(
        module, inputs[:1], names, keep=lambda out: (tuple(out.shape), out.is_complex())
    )
    reducers = {}
    for name in names:
        shape, is_complex = looks[name]
        if is_complex or len(shape) < 2:
            kind = "complex numbers" if is_complex else f"shape {shape}"
            raise ValueError(f"layer {name!r} puts out {kind}; real numbers (batch, unit, …) are wanted")
        shape = (shape[axes[name]], *(n for i, n in enumerate(shape) if i != axes[name]))
        how = {"axis": axes[name], "time_axis": model.time_axis, "reduction": reduce, "n_stimuli": n_stimuli}
        reducers[name] = reduction.Reducer(name, shape, **how)
    return Passes(model, module, inputs.device, tuple(inputs.shape[1:]), reducers)


def load(model, table, *, shape=None):
    """Preprocessed stimuli of a table, and whose they are.

    Parameters
    ----------
    model : lib.models.Model
    table : pandas.DataFrame
        Columns `stimulus`, `file`, `sha256`.
    shape : tuple of int, optional
        That each must have; that of the first by default.

    Returns
    -------
    float32 tensor (n_inputs, …)
        One input per picture or sound, one per frame of a video, in the order of the table.
    int tensor (n_inputs,)
        Number of the row that each belongs to.

    Raises
    ------
    ValueError
        If a stimulus has no file, is of another modality than the model, or of another shape.
    """
    tensors, owners = [], []
    with torch.inference_mode():
        for number, row in enumerate(table.itertuples()):
            if not isinstance(row.file, str) or not row.file:
                raise ValueError(
                    f"stimulus {row.stimulus!r} has no file: its data set may not hand it on; attribute `stimuli` "
                    f"of the target's responses.nc says where to ask for it and where to put it"
                )
            try:
                for tensor in _preprocessed(model, row):
                    shape = tuple(tensor.shape) if shape is None else tuple(shape)
                    if tuple(tensor.shape) != shape:
                        raise ValueError(f"shape {tuple(tensor.shape)} differs from the first's, {shape}")
                    tensors.append(tensor)
                    owners.append(number)
            except ValueError as error:
                raise ValueError(f"stimulus {row.stimulus!r}: {error}") from error
        return torch.stack(tensors), torch.tensor(owners)


def ahead(function, items):
    """What a function makes of each item, the next one being made while this one is used.

    Parameters
    ----------
    function : callable
        Run in another thread.
    items : iterable

    Yields
    ------
    What the function returns, in the order of the items.
    """
    with ThreadPoolExecutor(1) as thread:
        coming = None
        for item in items:
            present, coming = coming, thread.submit(function, item)
            if present is not None:
                yield present.result()
                present = None  # let go of it before the one after is waited for
        if coming is not None:
            yield coming.result()


@contextlib.contextmanager
def behind(function):
    """Let a function be run in another thread, one call at a time, while this one goes on.

    Parameters
    ----------
    function : callable

    Yields
    ------
    callable
        Takes the same arguments, waits for the call before, and returns at once; what a call raises, the next
        one or the end of the body raises.
    """
    with ThreadPoolExecutor(1) as thread:
        running = []

        def later(*given):
            if running:
                running.pop().result()
            running.append(thread.submit(function, *given))

        yield later
        if running:
            running.pop().result()


def _preprocessed(model, row):
    """Preprocessed pictures or sounds of a stimulus, one at a time."""
    stimulus = stimuli.read(artefacts.home() / "data" / row.file, sha256=row.sha256)
    if isinstance(stimulus, tuple) != (model.modality == "audio"):
        raise ValueError(f"{row.file} is of another modality than {model.name} ({model.modality})")
    frames = [stimulus] if isinstance(stimulus, tuple) or stimulus.ndim == 3 else stimulus
    return (model.preprocess(frame) for frame in frames)
