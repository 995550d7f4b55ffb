"""How a stimulus is moved until its activation matches: the published rule, and one that needs no step size."""

import dataclasses
import math

import torch

from lib import plugins

PUBLISHED = ("feather2023",)
DECAY, DECAY_OF_SQUARES, FLOOR = 0.9, 0.99, 1e-3


@dataclasses.dataclass(frozen=True)
class Rule:
    """All that decides how metamers come about, besides network, layer and stimuli.

    Attributes
    ----------
    published : str
        "feather2023", or "" for our own rule.
    n_blocks, steps_per_block : int
        There is a checkpoint after every block.
    step : float
        "feather2023": Euclidean length of each step of the first block, halved for each block after. Ours:
        the longest mean step of a value, in canvas units.
    centre, deviation : float
        Mean and standard deviation of the noise that synthesis starts from, in canvas units.
    tolerance : float
        A stimulus is done once a block has lowered its best loss by less than this share; 0 never.
    loss : {"relative", "single_unit", "coarse_to_fine"}
    every : int or None
        Steps of a stage of the latter two, as `lib.metamers.losses.named` takes it.
    seed : int
        Of the noise, together with the stimulus' name.
    precision : {"float32", "float64"}
    fake_relu : bool
        Whether a tapped ReLU passes back its gradient unchanged, as `lib.metamers.taps.tap` says.
    """

    published: str = ""
    n_blocks: int = 8
    steps_per_block: int = 50
    step: float = 0.03
    centre: float = 0.5
    deviation: float = 0.05
    tolerance: float = 0.0
    loss: str = "relative"
    every: int | None = None
    seed: int = 0
    precision: str = "float32"
    fake_relu: bool = True

    @property
    def n_steps(self):
        """Number of steps in all."""
        return self.n_blocks * self.steps_per_block

    @property
    def dtype(self):
        """Floating type of the calculation."""
        return getattr(torch, self.precision)


def rule(modality, published="", **changes):
    """The rule of a modality, with what is to differ.

    Parameters
    ----------
    modality : {"vision", "audio"}
    published : {"", "feather2023"}
        "feather2023": steps of one length against the gradient, 1, 1/2, … 1/128 in 8 blocks of 3,000; the last
        iterate is kept. "": 8 blocks of 20 steps for pictures and of 6 for sounds, which show whether all works;
        more is better. Each value moves by its share of a Polyak step (see `moved`); at the end of a block
        the best iterate is kept.
    **changes
        Fields of Rule.

    Returns
    -------
    Rule

    Raises
    ------
    ValueError
        If there is no such rule or field, or a number is out of range.

    References
    ----------
    Feather et al. (2023), Nature Neuroscience 26, 2017-2034, Methods and code (`-I 3000 -N 8 -Z 1`, noise 1/20
    for pictures and 1e-7 for sounds; the authors took 1e-5 for SpectroTemporal).
    """
    plugins.require(published, ("", *PUBLISHED), "published rule")
    plugins.require(modality, ("vision", "audio"), "modality")
    sound = modality == "audio"
    values = {"published": published, "centre": 0.0 if sound else 0.5}
    if published:
        values |= {"steps_per_block": 3000, "step": 1.0, "deviation": 1e-7 if sound else 0.05}
    else:
        values |= {"steps_per_block": 6 if sound else 20, "step": 0.01 if sound else 0.03, "tolerance": 0.01}
        values |= {"deviation": 0.01 if sound else 0.05}
    for name in changes:
        plugins.require(name, [field.name for field in dataclasses.fields(Rule)], "field of a rule")
    made = Rule(**(values | changes))
    plugins.require(made.precision, ("float32", "float64"), "precision")
    if not (0 <= made.deviation < math.inf and math.isfinite(made.step)):
        raise ValueError(f"{made}: deviation is 0 or more, and both it and step are finite")
    if made.n_blocks < 1 or made.steps_per_block < 1 or made.step <= 0 or not 0 <= made.tolerance < 1:
        raise ValueError(
            f"{made}: blocks and steps are 1 or more, step is above 0, tolerance from 0 to below 1"
        )
    return made


def state(x):
    """What a rule remembers between steps: nothing yet.

    Parameters
    ----------
    x : tensor (n, …)

    Returns
    -------
    dict of str to tensor
        `momentum` and `squares` like x; `count` of steps (n,).
    """
    return {"momentum": torch.zeros_like(x), "squares": torch.zeros_like(x), "count": x.new_zeros(len(x))}


def moved(rule, x, gradient, loss, *, block, start, memory, limits):
    """Stimuli after one step.

    "feather2023" with the start c of the block and s = step / 2^block:

        x ← clamp(c + ((x − s g / (‖g‖ + 1e-10)) − c))

    Ours takes the direction d of Adam, without its momentum, and of all steps along it the one after which a
    linear loss would be half (Polyak's step, the optimum being 0), at most `step` for a value on average; what is
    moved is the running mean of these steps:

        u = g √N / ‖g‖,   v ← 0.99 v + 0.01 u²,   d = u / (√(v / (1 − 0.99^k)) + 0.001)
        m ← 0.9 m + 0.1 min(step, loss / (2 g·d)) d,   x ← clamp(x − m)

    All norms and products are over the values of one stimulus: stimuli of a batch do not touch each other.

    Parameters
    ----------
    rule : Rule
    x, gradient : tensor (n, …)
    loss : tensor (n,)
    block : int
        From 0 on.
    start : tensor (n, …)
        x at the beginning of the block.
    memory : dict of str to tensor
        As `state` makes it.
    limits : (float, float)
        Range of the values.

    Returns
    -------
    x : tensor (n, …)
    memory : dict of str to tensor

    References
    ----------
    Feather et al. (2023), code; Kingma & Ba (2015), ICLR, arXiv:1412.6980; Polyak (1987), Introduction to
    Optimization, section 5.3.
    """
    length = wide(gradient.flatten(1).norm(dim=1), x)
    if rule.published:
        s = rule.step / 2**block
        x = x - gradient / (length + 1e-10) * s
        return torch.clamp(start + (x - start), *limits), memory
    # In place where nobody else looks: these passes over the values are what a step costs besides the network.
    count, tiny = memory["count"] + 1, torch.finfo(x.dtype).tiny
    u = (gradient / length.clamp(min=tiny)).mul_(math.sqrt(x[0].numel()))
    squares = torch.addcmul(DECAY_OF_SQUARES * memory["squares"], u, u, value=1 - DECAY_OF_SQUARES)
    d = u.div_((squares / wide(1 - DECAY_OF_SQUARES**count, x)).sqrt_().add_(FLOOR))
    slope = torch.linalg.vecdot(gradient.flatten(1), d.flatten(1))
    step = (loss / (2 * slope).clamp(min=tiny)).clamp(max=rule.step)
    momentum = torch.addcmul(DECAY * memory["momentum"], d, wide((1 - DECAY) * step, x))
    x = (x - momentum).clamp_(*limits)
    return x, {"momentum": momentum, "squares": squares, "count": count}


def wide(values, x):
    """One value per stimulus, shaped to be combined with the stimuli.

    Parameters
    ----------
    values : tensor (n,)
    x : tensor (n, …)

    Returns
    -------
    tensor (n, 1, …)
    """
    return values.reshape(-1, *[1] * (x.ndim - 1))
