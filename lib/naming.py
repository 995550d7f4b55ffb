"""Which layers of a network are meant: by exact name, by pattern, or one per block."""

import functools
import re

from torch import nn

from lib import activations, plugins

EVERY_BLOCK = "every-block"
# Never the last of a group: they change the layout or nothing, and only in training.
PASSIVE = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.Flatten, nn.Identity)


def expand(module, wanted, inputs):
    """Exact names of the layers meant.

    Parameters
    ----------
    module : torch.nn.Module
    wanted : str or iterable of str
        Names as `activations.record` takes them; patterns, in which `*` stands for anything but a dot, `**`
        for anything, `?` for one character and `[…]` for one of those listed; and `every-block`, see `blocks`. A
        pattern that fits a module takes all its calls and outputs. One string may hold several, apart by
        spaces or commas.
    inputs : tensor (batch, …)
        For the forward pass that finds the order; not run if all names are exact.

    Returns
    -------
    tuple of str
        In the order given if all are exact names, else in the order in which the layers are reached.

    Raises
    ------
    ValueError
        If no layer is named, a pattern fits nothing that is called, or a name is unknown (the nearest are given).
    """
    wanted = (
        [name for name in re.split(r"[\s,]+", wanted) if name] if isinstance(wanted, str) else list(wanted)
    )
    if not wanted or not all(wanted):
        raise ValueError(f"no layer is named by {wanted}; {EVERY_BLOCK!r} stands for one per block")
    exact = [name for name in wanted if name != EVERY_BLOCK and not _is_pattern(name)]
    if len(exact) == len(wanted):
        return tuple(dict.fromkeys(wanted))
    called, parts = activations.calls(module, inputs), [name for name, _ in module.named_modules() if name]
    chosen = set(exact)
    for name in exact:
        if name.partition("#")[0] not in parts and name not in {call.layer for call in called}:
            plugins.require(name, parts, "layer")
    for pattern in (name for name in wanted if _is_pattern(name)):
        fits = _matcher(pattern)
        found = {call.layer for call in called if fits(call.layer) or fits(call.module)}
        if not found:
            plugins.require(pattern, parts, "layer, nothing that is called fits it:")
        chosen |= found
    if EVERY_BLOCK in wanted:
        chosen |= set(_blocks(module, called))
    order = [call.layer for call in called]
    last = {name: _position(name, called, order) for name in chosen}
    return tuple(sorted(chosen, key=lambda name: (last[name], name)))


def blocks(module, inputs):
    """One layer per block of a network, in the order in which they are reached.

    The tree of modules is walked from the root. Containers are looked into: the root, plain sequences and
    lists, modules that hold a list of two or more blocks of one kind, or a sequence of such with more than one
    weighted part each, and modules that are not themselves called. Any other module with parts and parameters
    is a block: a residual, dense, inception or transformer block, whatever it is built of. Modules without
    parts that follow one another in a container are grouped: a group begins with a module that has weights of
    two or more axes (convolution, linear,
    recurrent) and is known by its last module that is not dropout, flattening or identity, so that a
    convolution stands with its normalisation, rectification and pooling. A sequence that is one group is known
    by its own name. Of a block with several outputs the first counts; of one called several times, each call.

    Parameters
    ----------
    module : torch.nn.Module
    inputs : tensor (batch, …)
        For one forward pass.

    Returns
    -------
    tuple of str

    Raises
    ------
    ValueError
        If none is found.
    """
    return expand(module, EVERY_BLOCK, inputs)


def _blocks(module, called):
    """Layers of the blocks, in no particular order."""
    reached = {call.module for call in called}
    found = []
    for name in _walk(module, "", reached):
        seen = set()
        for call in called:
            # Of each call the first output: names differ behind the call's number.
            this = call.layer.removeprefix(name).partition(".")[0]
            if call.module == name and this not in seen:
                seen.add(this)
                found.append(call.layer)
    if not found:
        raise ValueError("no block is found in this network; name its layers")
    return found


def _walk(part, name, reached):
    """Names of the modules that stand for the blocks below a container."""
    prefix, group, weighted, groups = f"{name}." if name else "", "", False, []
    for key, child in part.named_children():
        here = prefix + key
        if _is_leaf(child):
            if here not in reached or isinstance(child, PASSIVE):
                continue
            if _has_weights(child):
                groups += [group] if weighted else []
                weighted = True
            group = here
            continue
        groups += [group] if weighted else []
        weighted = False
        groups += _walk(child, here, reached) if _is_container(child, here, reached) else []
        groups += [here] if here in reached and not _is_container(child, here, reached) else []
    groups += [group] if weighted else []
    alone = name in reached and len(groups) == 1 and all(_is_leaf(child) for child in part.children())
    return [name] if alone and _is_plain(part) else groups


def _is_leaf(part):
    """Whether a module counts as elementary: without parts, or without parameters."""
    return not any(True for _ in part.children()) or not any(True for _ in part.parameters())


def _has_weights(part):
    """Whether a module has weights of its own that mix units."""
    return any(parameter.ndim >= 2 for parameter in part.parameters(recurse=False))


def _is_plain(part):
    """Whether a module is a sequence, list or dictionary that does nothing of its own."""
    if isinstance(part, (nn.ModuleList, nn.ModuleDict)):
        return type(part).forward is nn.Module.forward
    return isinstance(part, nn.Sequential) and type(part).forward is nn.Sequential.forward


def _is_container(part, name, reached):
    """Whether a module is to be looked into for blocks."""
    return name not in reached or _is_plain(part) or any(_is_stack(inner) for inner in part.modules())


def _is_stack(part):
    """Whether a module is a plain list, or sequence, of two or more blocks of one kind."""
    inner = [child for child in part.children() if not _is_leaf(child) and not _is_plain(child)]
    if isinstance(part, nn.Sequential):
        # A sequence of single convolutions with their normalisation is a branch of a block.
        inner = [child for child in inner if sum(map(_has_weights, child.modules())) > 1]
    return _is_plain(part) and len(inner) > len({type(child) for child in inner})


def _is_pattern(name):
    """Whether a name holds wildcards."""
    return any(sign in name for sign in "*?[")


def _matcher(pattern):
    """Function that tells whether a name fits a pattern."""
    pieces = re.findall(r"\*\*|\[[^\]]*\]|.", pattern, re.DOTALL)
    return lambda name: _fits(name, pieces)


def _fits(name, pieces):
    """Whether a name fits the pieces of a pattern; the time grows with the product of their lengths."""

    @functools.cache
    def rest(i, j):
        if i == len(pieces):
            return j == len(name)
        here = j < len(name)
        if pieces[i] in ("*", "**"):
            more = here and (pieces[i] == "**" or name[j] != ".")
            return rest(i + 1, j) or (more and rest(i, j + 1))
        return here and _is_one(name[j], pieces[i]) and rest(i + 1, j + 1)

    return rest(0, 0)


def _is_one(character, piece):
    """Whether a character fits a piece of a pattern that stands for one."""
    if piece == "?":
        return character != "."
    if len(piece) == 1:
        return character == piece
    listed = re.findall(r"(.)-(.)|(.)", piece[1:-1], re.DOTALL)
    return any(one == character if one else low <= character <= high for low, high, one in listed)


def _position(name, called, order):
    """Where in the pass a layer is complete."""
    if name in order:
        return order.index(name)
    stem = name.partition("#")[0]
    ends = [i for i, call in enumerate(called) if stem == call.module]
    return max(ends, default=len(order))
