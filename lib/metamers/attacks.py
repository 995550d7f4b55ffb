"""How little has to be added to a stimulus for a network to name it otherwise: gradient ascent within a norm."""

import dataclasses

import numpy as np
import pandas as pd
import torch

from lib import activations, plugins
from lib.metamers import gate, labels

NORMS = ("l1", "l2", "linf")
# Feather et al. (2023), visual experiment with AlexNets of reduced aliasing: half decades, in canvas units.
EPSILONS = {
    "l1": (0.0, 31.6227766, 100.0, 316.227766, 1000.0),
    "l2": (0.0, 0.1, 0.316227766, 1.0, 3.16227766),
    "linf": (0.0, 3.16227766e-4, 1e-3, 3.16227766e-3, 1e-2),
}


@dataclasses.dataclass(frozen=True)
class Attack:
    """How far a stimulus may be changed, and how the change is looked for.

    Attributes
    ----------
    norm : {"l1", "l2", "linf"}
    epsilon : float
        Largest norm of what is added, in canvas units; 0 adds nothing.
    n_steps : int
        64 in the study.
    step : float
        Length of a step in the norm, as a share of `epsilon`; a quarter in the study. L1 takes no notice of it.
    random : bool
        Whether to start from a random point within reach; the study started from the stimulus.
    seed : int
        Of the random start.
    """

    norm: str
    epsilon: float
    n_steps: int = 64
    step: float = 0.25
    random: bool = False
    seed: int = 0

    def __post_init__(self):
        plugins.require(self.norm, NORMS, "norm")
        if not (np.isfinite(self.epsilon) and self.epsilon >= 0):
            raise ValueError(f"epsilon is {self.epsilon}; a number from 0 on is wanted")


def adversarial(canvas, x, truth, attack, *, layer=labels.OUTPUT, time_axis=None):
    """Stimuli changed so that a network does not name them as it should.

    In each step the cross-entropy of the scores is increased. L2 goes along its gradient, L∞ along the sign of it, and
    what was added is brought back within the norm, then within the range of the canvas, as published. L1 goes
    towards the best of all points within both, had the network been linear (conditional gradient, by 2 / (t + 2)
    in step t). Once a stimulus is named otherwise, it stays; else the step with the highest loss counts.

    Parameters
    ----------
    canvas : lib.metamers.canvas.Canvas
    x : tensor (n, …)
        In canvas units, on any device.
    truth : int tensor (n,)
        Class that each is to be, and not to be taken for.
    attack : Attack
    layer : str
        Whose output are the scores, as SCORES of a plug-in.
    time_axis : int, optional
        Of the scores, averaged out.

    Returns
    -------
    tensor (n, …)
        Within the range of the canvas, and no farther from `x` than `epsilon`; on the network's device.

    Raises
    ------
    ValueError
        If a stimulus leaves the range of the canvas, or the scores have no gradient.

    References
    ----------
    Madry et al. (2018), ICLR, arXiv:1706.06083; Frank & Wolfe (1956), doi:10.1002/nav.3800030109. L2 and L∞ as in
    Feather et al. (2023), doi:10.1038/s41593-023-01442-0, where the highest loss counted; its L1 steps (sparse,
    Tramèr & Boneh 2019, arXiv:1904.13000) scale what lies outside, and miss the optimum of a linear network.
    """
    x, truth = x.to(canvas.device), truth.to(canvas.device)
    if not (canvas.low <= x.min() and x.max() <= canvas.high):
        raise ValueError(f"stimuli leave the range of the canvas, {canvas.low:g} to {canvas.high:g}")
    if not attack.epsilon:
        return x.clone()
    added = _start(x, attack, canvas)
    best, highest = added, torch.full((len(x),), -torch.inf, device=x.device)
    for turn in range(attack.n_steps + 1):
        loss, fooled, gradient = _ascent(canvas, x + added, truth, layer, time_axis)
        merit = torch.where(fooled, torch.inf, loss)
        better = merit > highest
        best = torch.where(_like(better, x), added, best)
        highest = torch.where(better, merit, highest)
        if turn == attack.n_steps or fooled.all():
            break
        if attack.norm == "l1":
            goal = _steepest_l1(gradient, x, attack, canvas)
            added = added + (goal - added) * 2 / (turn + 2)
        else:
            added = _moved(added, gradient, x, attack, canvas)
    # Addition rounds: back into the range, of which the stimulus is a part.
    return (x + best).clamp(canvas.low, canvas.high)


def evaluation(canvas, x, truth, norm, *, epsilons=None, labeller=None, batch_size=16, **how):
    """Accuracy of a network on stimuli changed ever more.

    Parameters
    ----------
    canvas : lib.metamers.canvas.Canvas
    x : tensor (n, …)
        In canvas units.
    truth : int tensor (n,) or None
        True classes; None: those that the network gives to the unchanged stimuli, so that accuracy starts at 1.
    norm : {"l1", "l2", "linf"}
    epsilons : sequence of float, optional
        EPSILONS of the norm by default; 0 is clean accuracy.
    labeller : lib.metamers.labels.Labeller, optional
        Says where the scores are; by default the network's output.
    batch_size : int
    **how
        Fields of `Attack`.

    Returns
    -------
    pandas.DataFrame
        norm, epsilon, n, value (share named as `truth`), low, high (95 % Wilson over stimuli), largest (norm of
        what was added).
    """
    where = {"layer": labels.OUTPUT} if labeller is None else {
        "layer": labeller.layer, "time_axis": labeller.time_axis,
    }  # fmt: skip
    x, batches = x.to(canvas.device), range(0, len(x), batch_size)
    if truth is None:
        truth = torch.cat([classes(canvas, x[i : i + batch_size], **where) for i in batches])
    truth, rows = truth.to(canvas.device), []
    for epsilon in EPSILONS[norm] if epsilons is None else epsilons:
        attack, right, largest = Attack(norm, epsilon, **how), [], 0.0
        for i in batches:
            some, true = x[i : i + batch_size], truth[i : i + batch_size]
            changed = adversarial(canvas, some, true, attack, **where)
            right += (classes(canvas, changed, **where) == true).tolist()
            largest = max(largest, size(changed.double() - some.double(), norm).max().item())
        rows.append({"norm": norm, "epsilon": epsilon} | gate.rate(right) | {"largest": largest})
    return pd.DataFrame(rows)


def classes(canvas, x, *, layer=labels.OUTPUT, time_axis=None):
    """Best class of each stimulus.

    Parameters
    ----------
    canvas : lib.metamers.canvas.Canvas
    x : tensor (n, …)
        In canvas units.
    layer : str
    time_axis : int, optional

    Returns
    -------
    int tensor (n,)
    """
    with torch.no_grad():
        return _scores(canvas, x, layer, time_axis).argmax(1)


def size(added, norm):
    """Norm of what was added to each stimulus.

    Parameters
    ----------
    added : tensor (n, …)
    norm : {"l1", "l2", "linf"}

    Returns
    -------
    tensor (n,)
    """
    flat = added.flatten(1)
    return flat.norm(p={"l1": 1, "l2": 2, "linf": torch.inf}[norm], dim=1)


def _scores(canvas, x, layer, time_axis):
    """Scores (n, class)."""
    inputs = canvas.inputs(x.to(canvas.device))
    if layer == labels.OUTPUT:
        found = canvas.module(inputs)
    else:
        found = activations.record(canvas.module, inputs, [layer], stop=True)[layer]
    return found.mean(time_axis) if time_axis is not None and found.ndim > 2 else found


def _ascent(canvas, x, truth, layer, time_axis):
    """How far other classes are above the true one, whether one is, and the gradient of the former."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        scores = _scores(canvas, x, layer, time_axis)
        if not scores.requires_grad:
            raise ValueError(f"the scores ({layer}) have no gradient; name a layer before any argmax")
        own = torch.nn.functional.one_hot(truth, scores.shape[1]).bool()
        # Cross-entropy is log(1 + exp(loss)): the same direction, which does not fade where the network is sure.
        loss = scores.masked_fill(own, -torch.inf).logsumexp(1) - scores[own]
        (gradient,) = torch.autograd.grad(loss.sum(), x)
    return loss.detach(), scores.detach().argmax(1) != truth, gradient


def _start(x, attack, canvas):
    """Nothing, or a random point within reach."""
    if not attack.random:
        return torch.zeros_like(x)
    generator = torch.Generator().manual_seed(attack.seed)
    noise = torch.randn(x.shape, generator=generator).to(x)
    if attack.norm == "linf":
        noise = torch.rand(x.shape, generator=generator).to(x) * 2 - 1
    longest = noise * _like(attack.epsilon / size(noise, attack.norm), x)
    return longest.clamp(canvas.low - x, canvas.high - x)


def _steepest_l1(gradient, x, attack, canvas):
    """What of all that may be added increases the gradient's linear function most: few values, as far as they go."""
    room = torch.where(gradient > 0, canvas.high - x, x - canvas.low).flatten(1).double()
    order = gradient.abs().flatten(1).argsort(1, descending=True)
    room = room.gather(1, order)
    used = (attack.epsilon - (room.cumsum(1) - room)).clamp_min(0).minimum(room)
    filled = torch.zeros_like(used).scatter_(1, order, used).view_as(x)
    return (filled * gradient.sign()).to(x.dtype)


def _moved(added, gradient, x, attack, canvas):
    """What is added after a step, brought back within the norm and the stimulus's range."""
    low, high, length = canvas.low - x, canvas.high - x, attack.step * attack.epsilon
    if attack.norm == "linf":
        added = added + length * gradient.sign()
        return added.clamp(-attack.epsilon, attack.epsilon).clamp(low, high)
    added = added + length * gradient / _like(size(gradient, "l2").clamp_min(1e-30), x)
    return _shrunk(added, attack).clamp(low, high)


def _shrunk(added, attack):
    """What is added, scaled down to where it is not longer than allowed."""
    return added * _like((attack.epsilon / size(added, attack.norm).clamp_min(1e-30)).clamp(max=1), added)


def _like(values, x):
    """Values per stimulus, shaped to be multiplied with stimuli; in their type unless they are truth values."""
    values = values.view(-1, *[1] * (x.ndim - 1))
    return values if values.dtype == torch.bool else values.to(x.dtype)
