"""What named modules of a network put out in a forward pass, on the CPU or a GPU."""

import collections
import contextlib
import copy
import dataclasses
import difflib
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from lib import plugins

# What these put out is known by name; any other tuple's parts are known by their positions.
RECURRENT = {
    nn.LSTM: ("output", "hidden", "cell"),
    nn.GRU: ("output", "hidden"),
    nn.RNN: ("output", "hidden"),
    nn.LSTMCell: ("hidden", "cell"),
}


class _Reached(Exception):
    """All layers asked for have been recorded."""


class _Layer(NamedTuple):
    """A layer's name, taken apart: module, which call ("" for the only one), element of the output."""

    part: nn.Module
    stem: str
    call: str
    element: str


class Call(NamedTuple):
    """An output of a call of a module: its layer's name, its module's name, its shape, its size in bytes."""

    layer: str
    module: str
    shape: tuple
    n_bytes: int


def record(module, inputs, layers, *, keep=None, stop=False):
    """Outputs of named modules in one forward pass.

    Parameters
    ----------
    module : torch.nn.Module
        Its hooks are as before afterwards, also if the pass fails.
    inputs : tensor (batch, …)
    layers : iterable of str
        Names among `module.named_modules()`. Of a module that is called several times, a call by its number:
        `relu#1`, `relu#2`, the last one: `relu#last`, or the mean over all calls, as for a cell that is called
        once per step: `cell#mean`. Where a module puts out several tensors, one of them by its path of
        positions, keys or fields: `attention.0`, `block.2.hidden`; those of recurrent modules are also called
        `output`, `hidden` and `cell`. A name that is a module's is never taken for an element's: the first
        element of a module `a` that has a part `0` is `a#1.0`.
    keep : callable or dict of str to callable, optional
        From an output to what is kept of it, called at once, before later modules can change it in place; one
        for all layers, or one for each. Default: a copy, attached to its gradient.
    stop : bool
        Whether to leave out what follows the last layer. A module called again after that goes unnoticed.

    Returns
    -------
    dict of str to tensor
        In the order in which the layers were reached.

    Raises
    ------
    ValueError
        If a name is unknown (nearest names given), a module is not called, called more than once (the calls are
        listed) or fewer times than said, or its output is not one tensor.
    """
    wanted = {name: _resolved(module, name) for name in layers}
    keeps = keep if isinstance(keep, Mapping) else dict.fromkeys(wanted, keep or torch.clone)
    found, counts, handles = {}, collections.Counter(), []
    open_ended = any(layer.call in ("last", "mean") for layer in wanted.values())
    try:
        for name, layer in wanted.items():
            store = _mean_hook if layer.call == "mean" else _hook
            handles.append(layer.part.register_forward_hook(store(found, counts, name, layer, keeps[name])))
            if stop and not open_ended:
                handles.append(layer.part.register_forward_hook(_stopper(found, len(wanted))))
        with contextlib.suppress(_Reached):
            module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    _require_called(wanted, found, counts)
    return {
        name: keeps[name](kept.mean()) if isinstance(kept, _Sum) else kept for name, kept in found.items()
    }


def calls(module, inputs):
    """Every output of every module in one forward pass, in the order in which they are put out.

    Parameters
    ----------
    module : torch.nn.Module
        The whole itself is left out.
    inputs : tensor (batch, …)

    Returns
    -------
    list of Call
        Under the names that `record` takes.
    """
    seen, handles, counts = [], [], collections.Counter()

    def hook(name):
        def note(part, _inputs, output):
            counts[name] += 1
            for element, tensor in _tensors(part, output).items():
                seen.append((name, counts[name], element, tuple(tensor.shape), tensor.nbytes))

        return note

    try:
        for name, part in module.named_modules():
            if name:
                handles.append(part.register_forward_hook(hook(name)))
        module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    per_call = collections.Counter((name, n) for name, n, *_ in seen)
    found = []
    for name, n, element, shape, n_bytes in seen:
        call = f"#{n}" if counts[name] > 1 else ""
        part = f".{element}" if element and per_call[name, n] > 1 else ""
        found.append(Call(name + call + part, name, shape, n_bytes))
    return found


def device(name="auto"):
    """Device to compute on.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda"}
        "auto" is "cuda" where there is a GPU.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If the name is another one, or "cuda" is asked for and there is none.
    """
    plugins.require(name, ("auto", "cpu", "cuda"), "device")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' is not available here; use 'auto' or 'cpu'")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def inference(module, on, *, tf32=False):
    """The network on a device, without gradients and in full float32 precision while it is in use.

    Parameters
    ----------
    module : torch.nn.Module
        Left where it is.
    on : torch.device
    tf32 : bool
        Whether a GPU may round factors to 10 bits, which is faster; the CPU never does.

    Yields
    ------
    torch.nn.Module
        The module itself on the CPU, else a copy on the device.

    Raises
    ------
    ValueError
        If the network is in training mode.
    """
    if module.training:
        raise ValueError("the network is in training mode, where outputs depend on the batch; call .eval()")
    moved = module if on.type == "cpu" else copy.deepcopy(module).to(on)
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=tf32):
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = tf32
        try:
            yield moved
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before


def difference(a, b):
    """Largest absolute difference of two arrays, relative to the largest absolute value of the first.

    Parameters
    ----------
    a, b : array or tensor
        Of one shape.

    Returns
    -------
    float
        NaN if either holds one; the absolute difference where the first is all 0.
    """
    a, b = (torch.view_as_real(x) if x.is_complex() else x for x in map(torch.as_tensor, (a, b)))
    a, b = a.double(), b.double()
    return float((a - b).abs().max() / (a.abs().max() or 1.0))


def _resolved(module, name):
    """A layer's name taken apart: the longest module's name it begins with, a call, an element."""
    parts = dict(module.named_modules())
    stem, mark, rest = name.partition("#")
    if mark:
        plugins.require(stem, [part for part in parts if part], "layer")
        call, _, element = rest.partition(".")
        if call not in ("last", "mean") and not (call.isdecimal() and int(call)):
            raise ValueError(f"layer {name!r}: after # stands the number of a call, from 1 on, last or mean")
        return _Layer(parts[stem], stem, call, element)
    pieces = name.split(".")
    for n in range(len(pieces), 0, -1):
        stem = ".".join(pieces[:n])
        if stem and stem in parts:
            return _Layer(parts[stem], stem, "", ".".join(pieces[n:]))
    plugins.require(name, [part for part in parts if part], "layer")
    raise AssertionError(name)


def _hook(found, counts, name, layer, keep):
    """Forward hook that stores one layer."""

    def hook(part, _inputs, output):
        counts[name] += 1
        if layer.call == "last":
            found.pop(name, None)
        if layer.call == "last" or counts[name] == int(layer.call or 1):
            found[name] = keep(_element(part, output, name, layer.element))

    return hook


class _Sum:
    """Sum of the outputs of all calls so far."""

    def __init__(self):
        self.total, self.count = 0, 0

    def add(self, tensor):
        self.total, self.count = self.total + tensor, self.count + 1

    def mean(self):
        return self.total / self.count


def _mean_hook(found, counts, name, layer, _keep):
    """Forward hook that adds up all calls of one layer."""

    def hook(part, _inputs, output):
        counts[name] += 1
        total = found.pop(name, None) or _Sum()
        tensor = _element(part, output, name, layer.element)
        if total.count and total.total.shape != tensor.shape:
            shapes = f"{tuple(total.total.shape)} and {tuple(tensor.shape)}"
            raise ValueError(
                f"layer {name!r}: calls put out shapes {shapes}, which have no mean; name a call"
            )
        total.add(tensor)
        found[name] = total

    return hook


def _stopper(found, count):
    """Forward hook that ends the pass once all layers are stored."""

    def hook(_module, _inputs, _output):
        if len(found) == count:
            raise _Reached

    return hook


def _require_called(wanted, found, counts):
    """Refuse layers that were not called, or more often than their names tell apart."""
    silent = [name for name in wanted if not counts[name]]
    if silent:
        raise ValueError(f"layers {silent} are not called in a forward pass; leave them out")
    for name, layer in wanted.items():
        if name not in found:
            raise ValueError(f"layer {name!r}: {layer.stem} is called {counts[name]} times in a forward pass")
        if not layer.call and counts[name] > 1:
            rest = f".{layer.element}" if layer.element else ""
            listed = [f"{layer.stem}#{n}{rest}" for n in range(1, counts[name] + 1)]
            listed = listed if len(listed) <= 8 else [*listed[:3], "…", listed[-1]]
            raise ValueError(
                f"layer {name!r} is called more than once in a forward pass, so its name is ambiguous; name a "
                f"call: {', '.join(listed)}, or the mean over all: {layer.stem}#mean{rest}"
            )


def _flat(output, path=""):
    """All tensors of a nested output, by their paths: positions, keys and fields, joined by dots."""
    if isinstance(output, torch.Tensor):
        return {path: output}
    if isinstance(output, Mapping):
        parts = output.items()
    elif dataclasses.is_dataclass(output):
        parts = [(field.name, getattr(output, field.name)) for field in dataclasses.fields(output)]
    elif hasattr(output, "_fields"):
        parts = output._asdict().items()
    elif isinstance(output, (tuple, list)):
        parts = enumerate(output)
    else:
        return {}
    return {
        key: tensor
        for name, part in parts
        for key, tensor in _flat(part, f"{path}.{name}" if path else str(name)).items()
    }


def _tensors(part, output):
    """All tensors that a module put out, by their names."""
    flat = _flat(output)
    for kind, names in RECURRENT.items():
        if isinstance(part, kind) and len(flat) == len(names):
            return dict(zip(names, flat.values(), strict=True))
    return flat


def _element(part, output, name, element):
    """The one tensor meant by a layer's name."""
    tensors = _tensors(part, output)
    if element in tensors:
        return tensors[element]
    if not element and len(tensors) == 1:
        return next(iter(tensors.values()))
    if element and element in (flat := _flat(output)):
        return flat[element]
    stem = name.removesuffix(f".{element}") if element else name
    several = [f"{stem}.{key}" for key in tensors if key]
    near = difflib.get_close_matches(name, [f"{stem}.{child}" for child, _ in part.named_modules() if child])
    raise ValueError(
        f"layer {name!r} is not one tensor but {type(output).__name__}; "
        + (f"name one of: {', '.join(several)}" if several else f"use {stem!r}")
        + (f"; or did you mean {', '.join(near)}?" if near else "")
    )
