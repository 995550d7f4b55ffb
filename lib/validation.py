"""Whether a network keeps the contract that every analysis relies on."""

import dataclasses

import torch

from lib.activations import difference, record
from lib.naming import expand

# Float32 sums in another order (batch size, device) differ by some tens of roundings of 6e-8; decisions that
# a network makes between near-equal values can amplify that, hence three orders more.
TOLERANCE = 1e-4


def validate(model, stimuli):
    """Hold a model to the contract that every analysis relies on.

    Parameters
    ----------
    model : lib.models.Model
        From `models.load`, or one's own.
    stimuli : sequence
        At least two stimuli, as `stimuli.read` gives them, of one shape.

    Raises
    ------
    ValueError
        With a sentence for each fault: what is wrong and what to do.
    """
    faults = list(_setup_faults(model, stimuli))
    if not faults:
        inputs = torch.stack([model.preprocess(stimulus) for stimulus in stimuli])
        model = dataclasses.replace(model, layers=expand(model.module, model.layers, inputs[:1]))
        with torch.no_grad():
            faults = [*_pass_faults(model, inputs), *batch_faults(model.module, inputs, model.layers)]
        faults += _gradient_faults(model, inputs)
    if faults:
        raise ValueError(f"model {model.name!r} breaks the contract: " + "; ".join(faults))


def batch_faults(module, inputs, layers):
    """What keeps a layer's rows from being the stimuli of the batch.

    Parameters
    ----------
    module, inputs, layers
        As for `batch_axes`.

    Returns
    -------
    list of str
        A sentence for each offending layer; empty if there is none.
    """
    return batch_axes(module, inputs, layers)[1]


def batch_axes(module, inputs, layers):
    """Axis of each layer that is the batch.

    The first stimulus is passed alone, then second of two: the batch is the one axis that grows from 1 to 2
    while all others stay, and along it the stimulus must stay the same. This finds layouts such as (token,
    batch, unit), networks that mix stimuli, and layers that fold other axes into the batch.

    Parameters
    ----------
    module : torch.nn.Module
    inputs : tensor (batch, …)
        The first two stimuli are used; one is paired with itself.
    layers : iterable of str

    Returns
    -------
    dict of str to int
        For the layers that have such an axis.
    list of str
        A sentence for each layer that has none.
    """
    layers = tuple(layers)
    alone = record(module, inputs[:1], layers)
    pair = record(module, torch.stack([inputs[-1] if len(inputs) == 1 else inputs[1], inputs[0]]), layers)
    axes, faults = {}, []
    for name in layers:
        sizes = tuple(alone[name].shape), tuple(pair[name].shape)
        grown = (
            [] if len(sizes[0]) != len(sizes[1]) else [i for i, n in enumerate(sizes[0]) if n != sizes[1][i]]
        )
        if len(grown) != 1 or (sizes[0][grown[0]], sizes[1][grown[0]]) != (1, 2):
            faults.append(_no_axis(name, sizes, grown))
        elif difference(alone[name].select(grown[0], 0), pair[name].select(grown[0], 1)) > TOLERANCE:
            faults.append(
                f"layer {name!r}: a stimulus in a batch of 2 differs from the same stimulus alone; "
                f"call .eval() and normalise over each stimulus only"
            )
        else:
            axes[name] = grown[0]
    return axes, faults


def _no_axis(name, sizes, grown):
    """Sentence on a layer without an axis that is the batch, given the axes that changed."""
    if len(grown) == 1 and sizes[1][grown[0]] == 2 * sizes[0][grown[0]]:
        why = f"axis {grown[0]} holds the batch together with something else, such as windows or time"
    elif not grown and len(sizes[0]) == len(sizes[1]):
        why = "it does not depend on the batch"
    else:
        why = "it is not clear which axis is the batch"
    return (
        f"layer {name!r}: batches of 1 and 2 give shapes {sizes[0]} and {sizes[1]}: {why}; "
        f"name the module around it, one that puts out (batch, …)"
    )


def _setup_faults(model, stimuli):
    """Faults seen before the network is run on a batch."""
    if model.module.training:
        yield "the network is in training mode; call .eval() in build()"
    if any(parameter.requires_grad for parameter in model.module.parameters()):
        yield "parameters ask for gradients; call .requires_grad_(False) in build()"
    first, second = (model.preprocess(stimulus) for stimulus in stimuli[:2])
    if first.dtype != torch.float32 or first.shape != second.shape:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        yield f"preprocess gives {first.dtype} of shapes {shapes}; return float32 of one shape"
    if not torch.equal(first, model.preprocess(stimuli[0])):
        yield "preprocess gives another tensor the second time; remove what is random in it"


def _pass_faults(model, inputs):
    """Faults of order, repeatability, time axis and values, seen in two passes over the same batch."""
    once, again = (record(model.module, inputs, model.layers) for _ in range(2))
    if tuple(once) != tuple(model.layers):
        yield f"layers are reached in the order {tuple(once)}; list them so"
    for name, output in once.items():
        if not torch.isfinite(output).all():
            yield f"layer {name!r} holds values that are not finite; check the preprocessing's scale"
        elif not torch.equal(output, again[name]):
            yield f"layer {name!r} differs between two passes; remove what is random in it (dropout, noise)"
        if model.time_axis is not None and 2 < output.ndim <= model.time_axis:
            shape = tuple(output.shape)
            yield f"layer {name!r} of shape {shape} has no axis {model.time_axis}; correct TIME_AXIS"


def _gradient_faults(model, inputs):
    """Layers from which no gradient comes back to the input, as metamers need it."""
    leaf = inputs.clone().requires_grad_(True)
    outputs = record(model.module, leaf, model.layers)
    for name, output in outputs.items():
        loss = output.double().square().sum()
        grad = torch.autograd.grad(loss, leaf, retain_graph=True)[0] if loss.requires_grad else None
        if grad is None or not torch.isfinite(grad).all() or not grad.any():
            yield f"layer {name!r} gives the input no finite gradient; avoid detach, rounding and 0/0"
