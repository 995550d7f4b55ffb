"""Synthesis of metamers beside a bare forward and backward pass, the published scheme and plenoptic.

All sides match the same layer of the same network for the same pictures from the same noise, in CPU seconds per step
and picture on one thread, or all on the same GPU in seconds of its own. The bare pass is a network that ends at the
layer, called by hand. The published scheme runs every picture alone, the whole network twice per step (one pass is
not used) with a graph beyond the layer, which is never asked for. Plenoptic is given the network that ends at the
layer and the same loss; it knows batches, but one optimiser and one loss for all of them, so it gets one picture.
Losses are those reached after the same number of steps by the published rule, by plenoptic (Adam, as it comes) and by
ours. Random weights take as long as any; the bundled network is a trained one.
"""

import functools
import warnings

import torch
from torch import nn

import benchmarks
from lib import models
from lib.metamers import canvas, losses, material, rules, synthesis
from lib.models import cifar_resnets

# Network, layer, pictures, steps, and seconds on two idle cores.
CASES = (
    ("resnet20_cifar10", "layer1", 8, 100, 20),
    ("resnet20_cifar10", "layer3", 8, 100, 30),
    ("efficientnet_lite0", "stage5", 4, 60, 110),
)
SIZES = {"small": [("resnet20_cifar10", "layer1", 2, 4, 1)], "usual": CASES[1:], "full": CASES}


def network(name):
    """A network and the size of its pictures; the small one with weights that come from nowhere."""
    if name == "resnet20_cifar10":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return cifar_resnets.build(name, trained=False), cifar_resnets.INPUT["size"]
    model = models.load(name)
    return model.module, model.settings["size"]


def shown(module, size, n):
    """Canvas without a preprocessing of its own, and smooth random pictures on it."""
    made = canvas.Canvas("vision", 0.0, 1.0, None, module, None)
    rough = torch.rand(n, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    smooth = nn.functional.interpolate(rough, size=(size, size), mode="bicubic").clamp(0, 1)
    return made, material.labelled(made, {f"p{i}": picture for i, picture in enumerate(smooth)})


def ended(module, layer):
    """The network up to a layer: the same parts, called one after another."""
    parts = []
    for name, part in module.named_children():
        parts.append(part)
        if name == layer:
            return nn.Sequential(*parts)
    raise ValueError(f"{layer} is no child of the network")


def ours(made, layer, originals, n_steps, *, published="", device="cpu"):
    """Metamers by our loop; the published rule halves its step seven times within these steps."""
    n_blocks = min(8, n_steps) if published else 1
    rule = rules.rule(
        "vision", published, n_blocks=n_blocks, steps_per_block=n_steps // n_blocks, tolerance=0.0
    )
    return synthesis.metamers(made, layer, originals, rule, batch_size=len(originals), device=device)


def bare(part, x, target, n_steps):
    """Loss and gradient by hand, as often as there are steps."""
    for _ in range(n_steps):
        x = x.detach().requires_grad_()
        torch.autograd.grad(losses.relative(part(x).flatten(1), target).sum(), x)


def published(module, layer, x, target, n_steps):
    """As published: one picture, the complete network twice per step."""
    caught = {}
    handle = module.get_submodule(layer).register_forward_hook(lambda *a: caught.update(out=a[2]))
    try:
        for _ in range(n_steps):
            module(x)
            x = x.detach().requires_grad_()
            module(x)
            torch.autograd.grad(losses.relative(caught["out"].flatten(1), target).sum(), x)
    finally:
        handle.remove()


def plenoptic(part, x, start, n_steps):
    """Loss that plenoptic's metamer of one picture reaches."""
    import plenoptic as po

    found = po.Metamer(x, part, loss_function=lambda a, b: losses.relative(b.flatten(1), a.flatten(1)).sum())
    found.setup(start)
    found.synthesize(n_steps, stop_criterion=0.0, stop_iters_to_check=n_steps + 1)
    with torch.no_grad():
        return float(losses.relative(part(found.metamer).flatten(1), part(x).flatten(1)))


def cases(size="usual", device="cpu"):
    """Cases of a size on a device."""
    return [
        benchmarks.Case(_name(*case), seconds, functools.partial(_on_one_thread, *case, device))
        for *case, seconds in SIZES[size]
    ]


def _name(name, layer, n, n_steps):
    """A size in words."""
    return f"{name} {layer}, {n} pictures, {n_steps} steps, per step and picture, one thread"


def _on_one_thread(name, layer, n, n_steps, device):
    """Rows of one network and layer."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _compare(name, layer, n, n_steps, device)
    finally:
        torch.set_num_threads(n_threads)


def _compare(name, layer, n, n_steps, device):
    """The same on a device, ours from pictures on the CPU, the others with everything there."""
    module, size = network(name)
    made, originals = shown(module, size, n)
    start = material.starts(made, originals, rules.rule("vision")).to(device)
    found, ours_s = benchmarks.device_seconds(
        lambda: ours(made, layer, originals, n_steps, device=device), device
    )
    loss = _last(found)
    by_rule = _last(ours(made, layer, originals, n_steps, published="feather2023", device=device))
    module = module.to(device)
    part, x = ended(module, layer), torch.as_tensor(originals.values).to(device)
    with torch.no_grad():
        target = part(x).flatten(1)
    _, bare_s = benchmarks.device_seconds(lambda: bare(part, start, target, n_steps), device)
    tenth = max(2, n_steps // 10)
    _, scheme_s = benchmarks.device_seconds(
        lambda: published(module, layer, start[:1], target[:1], tenth), device, repeats=2
    )
    last, opponent_s = benchmarks.device_seconds(
        lambda: plenoptic(part, x[:1], start[:1], n_steps), device, repeats=1
    )
    per = n * n_steps
    said = f"mean loss reached {loss.mean():.3g}, {by_rule.mean():.3g} by the published rule"
    alone = f"loss of one picture reached {loss[0]:.3g}, {last:.3g} by plenoptic"
    return [
        benchmarks.row(
            "metamers", f"{_name(name, layer, n, n_steps)}; {what}", ours_s / per, *other, device=device
        )
        for *other, what in (
            ("forward and backward to the layer", bare_s / per, f"ours takes {ours_s / bare_s:.3f} of it"),
            ("two whole forward passes, batch 1", scheme_s / tenth, said),
            ("plenoptic Metamer", opponent_s / n_steps, alone),
        )
    ]


def _last(found):
    """Loss reached for each picture."""
    return found.loss.groupby("stimulus")["loss"].last().to_numpy()
