"""What named modules of a network put out in a forward pass, on the CPU or a GPU."""

import contextlib
import copy
from collections.abc import Mapping

import torch

from lib import plugins


class _Reached(Exception):
    """All layers asked for have been recorded."""


def record(module, inputs, layers, *, keep=None, stop=False):
    """Outputs of named modules in one forward pass.

    Parameters
    ----------
    module : torch.nn.Module
        Its hooks are as before afterwards, also if the pass fails.
    inputs : tensor (batch, …)
    layers : iterable of str
        Names among `module.named_modules()`. Where such a module puts out several tensors, one of them by
        its position or key behind a dot: `attention.0`.
    keep : callable, optional
        From an output to what is kept of it, called at once, before later modules can change it in place.
        Default: the output itself, attached to its gradient.
    stop : bool
        Whether to leave out what follows the last layer. A module called again after that goes unnoticed.

    Returns
    -------
    dict of str to tensor
        In the order in which the layers were reached.

    Raises
    ------
    ValueError
        If a name is unknown (nearest names given), a module is not called or called more than once, or its
        output is not one tensor.
    """
    wanted = {name: _resolved(module, name) for name in layers}
    found, handles = {}, []
    try:
        for name, (part, element) in wanted.items():
            handles.append(part.register_forward_hook(_hook(found, name, element, keep)))
            if stop:
                handles.append(part.register_forward_hook(_stopper(found, len(wanted))))
        with contextlib.suppress(_Reached):
            module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    silent = [name for name in wanted if name not in found]
    if silent:
        raise ValueError(f"layers {silent} are not called in a forward pass; leave them out")
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
def inference(module, on):
    """The network on a device, without gradients and in full float32 precision (no TF32) while it is in use.

    Parameters
    ----------
    module : torch.nn.Module
        Left where it is.
    on : torch.device

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
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
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
    a, b = torch.as_tensor(a).double(), torch.as_tensor(b).double()
    return float((a - b).abs().max() / (a.abs().max() or 1.0))


def _resolved(module, name):
    """Module of a layer's name, and the element of its output ("" for the output itself)."""
    parts = dict(module.named_modules())
    stem, dot, element = name.rpartition(".")
    if name not in parts and dot and stem in parts:
        return parts[stem], element
    plugins.require(name, [part for part in parts if part], "layer")
    return parts[name], ""


def _hook(found, name, element, keep):
    """Forward hook that stores one layer."""

    def hook(_module, _inputs, output):
        if name in found:
            raise ValueError(
                f"layer {name!r} is called more than once in a forward pass, so its name is ambiguous; "
                f"name the module around it, or give each call a module of its own"
            )
        tensor = _element(output, name, element)
        found[name] = tensor if keep is None else keep(tensor)

    return hook


def _stopper(found, count):
    """Forward hook that ends the pass once all layers are stored."""

    def hook(_module, _inputs, _output):
        if len(found) == count:
            raise _Reached

    return hook


def _element(output, name, element):
    """The one tensor meant by a layer's name."""
    if isinstance(output, torch.Tensor) and not element:
        return output
    parts = output if isinstance(output, Mapping) else {}
    if isinstance(output, (tuple, list)):
        parts = {str(i): value for i, value in enumerate(output)}
    tensors = [key for key, value in parts.items() if isinstance(value, torch.Tensor)]
    if element in tensors:
        return parts[element]
    stem = name.removesuffix(f".{element}") if element else name
    raise ValueError(
        f"layer {name!r} is not one tensor but {type(output).__name__}; "
        + (f"name one of: {', '.join(f'{stem}.{key}' for key in tensors)}" if tensors else f"use {stem!r}")
    )
