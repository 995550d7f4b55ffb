"""Weights as they are drawn before training, for modules of any kind."""

import copy

import torch
from torch import nn
from torch.nn.utils import parametrize

# Maps whose outputs a rectifier usually follows; their weights are (out, in, …).
_MAPS = nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear
_TABLES = nn.Embedding, nn.EmbeddingBag


def redrawn(module):
    """Copy of a network with other weights, from torch's own generator.

    Parameters
    ----------
    module : torch.nn.Module
        Left as it is.

    Returns
    -------
    torch.nn.Module
        The rules are those of `lib.controls.random`.
    """
    twin = copy.deepcopy(module)
    with torch.no_grad():
        for part in _parts(twin):
            _initialise(part)
    return twin


def _parts(module):
    """Modules whose own parameters are drawn; those that other weights are computed from come with these."""
    inside = {
        id(inner)
        for part in module.modules()
        if parametrize.is_parametrized(part)
        for inner in part.parametrizations.modules()
    }
    return [part for part in module.modules() if id(part) not in inside]


def _initialise(part):
    """Draw the parameters a module holds itself, not those of its children."""
    if isinstance(part, _MAPS):
        _assign(part, "weight", _he(part.weight, gain=2))
        if part.bias is not None:
            nn.init.zeros_(part.bias)
    elif isinstance(part, nn.MultiheadAttention):
        _initialise_attention(part)
    elif isinstance(part, _TABLES):
        _like_itself(part.weight)
        if part.padding_idx is not None:
            part.weight[part.padding_idx] = 0
    elif callable(getattr(part, "reset_parameters", None)):
        part.reset_parameters()
    else:
        for parameter in part.parameters(recurse=False):
            _like_itself(parameter)
        for name in getattr(part, "parametrizations", {}):
            _assign(part, name, _like_itself(getattr(part, name).clone()))


def _initialise_attention(part):
    """Maps to queries, keys and values, which are one tensor if they are of one size."""
    for name, parameter in part.named_parameters(recurse=False):
        if name.endswith("_weight"):
            parameter.copy_(_he(parameter, gain=1))
        elif name.endswith("in_proj_bias"):
            nn.init.zeros_(parameter)
        else:
            _like_itself(parameter)


def _he(weight, *, gain):
    """Normal values of variance gain / fan-in, in the shape of a weight (out, in, …)."""
    return torch.randn_like(weight) * (gain / weight[0].numel()) ** 0.5


def _like_itself(tensor):
    """The tensor, filled with normal values of its own mean and standard deviation."""
    return tensor.normal_(float(tensor.mean()), float(tensor.std(correction=0)))


def _assign(part, name, values):
    """Give a module a weight, also one that is computed from parameters whenever it is asked for."""
    if parametrize.is_parametrized(part, name):
        setattr(part, name, values)
    elif hasattr(part, f"{name}_v"):  # the older form of `torch.nn.utils.weight_norm`
        direction, length = getattr(part, f"{name}_v"), getattr(part, f"{name}_g")
        direction.copy_(values)
        axes = [axis for axis in range(values.ndim) if length.ndim == 0 or length.shape[axis] == 1]
        length.copy_(torch.linalg.vector_norm(values, dim=axes, keepdim=True).view_as(length))
    else:
        getattr(part, name).copy_(values)
