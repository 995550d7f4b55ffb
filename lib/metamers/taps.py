"""The activation that a metamer is matched at: one layer with its gradient, and nothing run beyond it."""

import collections
import contextlib
import dataclasses

import torch
from torch import nn

from lib import activations


class _FakeReLU(torch.autograd.Function):
    """A rectifier to the front, nothing to the back."""

    @staticmethod
    def forward(_ctx, z):
        return z.clamp(min=0)

    @staticmethod
    def backward(_ctx, gradient):
        return gradient


def rectified(z):
    """max(z, 0), whose gradient is passed back as if it were z: a unit that is silent can be woken.

    Parameters
    ----------
    z : tensor

    Returns
    -------
    tensor
        Of the same shape.

    References
    ----------
    Feather et al. (2023), Nature Neuroscience 26, 2017-2034, Methods (modified gradient of the final ReLU).
    """
    return _FakeReLU.apply(z)


@dataclasses.dataclass(frozen=True)
class Tap:
    """One layer of a network, as a function of the network's input.

    Attributes
    ----------
    layer : str
        As it was asked for.
    module : torch.nn.Module
    calls : tuple of str
        What `lib.activations.record` is asked for: one name, or all calls of which the mean is taken.
    shape : tuple of int
        Of the activation of one stimulus.
    rectifier : torch.nn.Module or None
        The nn.ReLU whose output the activation is, if its gradient is overridden.
    turn : int
        Which call of the rectifier, from 1 on.
    """

    layer: str
    module: nn.Module
    calls: tuple
    shape: tuple
    rectifier: nn.Module | None = None
    turn: int = 0

    @property
    def part(self):
        """The module whose output is tapped."""
        stem = self.calls[0].partition("#")[0]
        while stem and stem not in dict(self.module.named_modules()):
            stem = stem.rpartition(".")[0]
        return self.module.get_submodule(stem)

    @property
    def overridden(self):
        """Whether the last ReLU passes back its gradient unchanged."""
        return self.rectifier is not None

    def activation(self, inputs):
        """Activation of each input of a batch, attached to its gradient; the network is left right after it.

        Parameters
        ----------
        inputs : tensor (n, …)
            As the network takes them.

        Returns
        -------
        tensor (n, n_units)
        """
        keep = torch.clone if len(self.calls) > 1 else _itself
        with _overridden(self.rectifier, self.turn):
            found = activations.record(self.module, inputs, self.calls, keep=keep, stop=True)
        total = sum(found[call].flatten(1) for call in self.calls)
        return total if len(self.calls) == 1 else total / len(self.calls)


def tap(module, layer, inputs, *, fake_relu=True):
    """A layer of a network, found and tried in one complete pass of one stimulus.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode.
    layer : str
        As `lib.activations.record` takes it, `relu#2`, `cell#last` and `cell#mean` included.
    inputs : tensor (1 or more, …)
        Of which the first is tried.
    fake_relu : bool
        Whether an activation that is the output of an nn.ReLU, be it the layer itself or the last that a block
        does, is given the gradient of that ReLU's input. Only this call of this ReLU is overridden. Functional
        rectifiers, those that are followed by anything, and other kinds (ReLU6, GELU) keep their gradient.

    Returns
    -------
    Tap

    Raises
    ------
    ValueError
        If the layer is unknown or ambiguous; its output is no floating-point tensor or is not connected to the
        input by gradients, as after an argmax; or it does not depend on the input at all.
    """
    x = inputs[:1].detach().clone().requires_grad_()
    calls = _calls(module, layer, inputs[:1])
    with torch.enable_grad():
        found = activations.record(module, x * 1, calls, stop=True)
        value = sum(found.values())
        _require_gradient(layer, value, x)
    rectifier, turn = _rectifier(module, calls, inputs[:1]) if fake_relu and len(calls) == 1 else (None, 0)
    return Tap(layer, module, calls, tuple(value.shape[1:]), rectifier, turn)


def _itself(output):
    """The output as it is: after it nothing runs that could change it."""
    return output


def _calls(module, layer, inputs):
    """Names that `record` can stop after: calls by their numbers in place of the last one or the mean."""
    with torch.no_grad():
        activations.record(module, inputs.clone(), [layer])  # complete: refuses what is ambiguous
    stem, mark, rest = layer.partition("#")
    which, dot, element = rest.partition(".")
    if not mark or which not in ("last", "mean"):
        return (layer,)
    count = _count(module, module.get_submodule(stem), inputs)
    numbers = (count,) if which == "last" else range(1, count + 1)
    return tuple(f"{stem}#{number}{dot}{element}" for number in numbers)


def _count(module, part, inputs):
    """How often a part is called in a pass."""
    found = []
    handle = part.register_forward_hook(lambda *_: found.append(None))
    try:
        with torch.no_grad():
            module(inputs.clone())
    finally:
        handle.remove()
    return len(found)


def _require_gradient(layer, value, x):
    """Refuse an activation that cannot be matched by gradients."""
    if not value.is_floating_point():
        raise ValueError(
            f"layer {layer!r} puts out {value.dtype}, which has no gradient (an argmax, say); tap a layer before"
        )
    if not value.requires_grad:
        raise ValueError(
            f"layer {layer!r} is not connected to the input by a gradient: something before it (an argmax, "
            "rounding, `detach`, `no_grad`) breaks it, or it ignores the input; tap a layer before"
        )
    if torch.autograd.grad(value.sum(), x, allow_unused=True)[0] is None:
        raise ValueError(f"layer {layer!r} does not depend on the input of the network")


def _rectifier(module, calls, inputs):
    """The nn.ReLU, and which of its calls, whose output is the tapped tensor itself; None, 0 if there is none."""
    seen, counts, handles = [], collections.Counter(), []

    def note(part, _inputs, output):
        counts[part] += 1
        seen.append((part, counts[part], output, output._version))

    def matched(output):
        for part, turn, tensor, version in reversed(seen):
            same = output.data_ptr() == tensor.data_ptr() and output.numel() == tensor.numel()
            if same and output._version == version:
                return part, turn
        return None, 0

    # One whose forward was replaced rectifies no longer, or not only.
    plain = [p for p in set(module.modules()) if type(p) is nn.ReLU and "forward" not in vars(p)]
    try:
        handles += [p.register_forward_hook(note) for p in plain]
        with torch.no_grad():
            found = activations.record(module, inputs.clone(), calls, keep=matched, stop=True)
    finally:
        for handle in handles:
            handle.remove()
    return found[calls[0]]


@contextlib.contextmanager
def _overridden(rectifier, turn):
    """One call of a ReLU replaced by `rectified`, in place or not; the module is as before afterwards."""
    if rectifier is None:
        yield
        return
    true, calls = rectifier.forward, []

    def forward(z):
        calls.append(None)
        return rectified(z) if len(calls) == turn else true(z)

    rectifier.forward = forward
    try:
        yield
    finally:
        del rectifier.forward
