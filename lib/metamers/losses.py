"""How far an activation is from its target: the published loss, and losses that begin with a part of a layer."""

import hashlib
from typing import NamedTuple

import torch

from lib import plugins


class Moment(NamedTuple):
    """Where in the schedule a loss is evaluated: block and step from 0 on, and the number of blocks."""

    block: int
    step: int
    n_blocks: int

    @property
    def last(self):
        """Whether this is the last block, in which every loss is the plain one."""
        return self.block == self.n_blocks - 1


# Temporal rate in Hz and spectral scale in cycles per ERB up to which filters take part, stage by stage.
STAGES = ((0, 0), (0.5, 0.0625), (1, 0.125), (2, 0.25), (4, 0.5), (8, 1), (16, 2))


def relative(activation, target, _moment=None):
    """Distance of two activations relative to the length of the second, ‖a − t‖ / ‖t‖.

    Parameters
    ----------
    activation, target : tensor (n, n_units)
    _moment : Moment, optional
        Not looked at.

    Returns
    -------
    tensor (n,)
        One for each stimulus, 0 for a match; infinite or NaN where the target is 0.

    References
    ----------
    Feather et al. (2023), Nature Neuroscience 26, 2017-2034, Methods (metamer optimisation).
    """
    return (activation - target).norm(dim=1) / target.norm(dim=1)


def single_unit(shape, *, every=50, until=400, seed=0):
    """A loss that begins each block with one channel at a time, for layers that take a maximum.

    Parameters
    ----------
    shape : tuple of int
        Of the activation of one stimulus, channels first.
    every : int
        Steps after which another channel is drawn.
    until : int
        Steps of a block after which, as in all of the last block, the whole layer counts.
    seed : int
        Of the channels, drawn afresh for every block.

    Returns
    -------
    callable
        As `relative`. A channel whose target is 0 counts relative to the length of the whole target.

    References
    ----------
    Feather et al. (2023), Nature Neuroscience 26, 2017-2034, Methods (HMAX metamers).
    """

    def loss(activation, target, moment):
        if moment.last or moment.step >= until:
            return relative(activation, target)
        drawn = hashlib.sha256(f"{seed} {moment.block} {moment.step // every}".encode()).digest()
        channel = int.from_bytes(drawn[:8], "big") % shape[0]
        return _of_channels(activation, target, shape, [channel])

    return loss


def coarse_to_fine(labels, shape, *, every=400):
    """A loss that begins each block with slow and broad modulations and widens the set of filters.

    Parameters
    ----------
    labels : sequence of (float, float)
        Rate in Hz and scale in cycles per ERB of each filter, as `ModulationFilters.labels`. A filter takes
        part if one of the two is within the stage's limits.
    shape : tuple of int
        Of the activation of one stimulus, filters first.
    every : int
        Steps of a stage of STAGES; after the last, as in all of the last block, all filters count.

    Returns
    -------
    callable
        As `relative`.

    Raises
    ------
    ValueError
        If the layer's first axis is not that of the filters.

    References
    ----------
    Feather et al. (2023), Nature Neuroscience 26, 2017-2034, Methods (SpectroTemporal metamers).
    """
    if shape[0] != len(labels):
        raise ValueError(f"the layer has shape {shape}; its first axis must be the {len(labels)} filters")
    chosen = [
        [i for i, (rate, scale) in enumerate(labels) if abs(rate) <= highest or abs(scale) <= finest]
        for highest, finest in STAGES
    ]

    def loss(activation, target, moment):
        stage = moment.step // every
        if moment.last or stage >= len(STAGES):
            return relative(activation, target)
        return _of_channels(activation, target, shape, chosen[stage])

    return loss


NAMES = ("relative", "single_unit", "coarse_to_fine")


def named(name, tap, *, seed=0, every=None):
    """A loss by its name, fitted to a layer.

    Parameters
    ----------
    name : {"relative", "single_unit", "coarse_to_fine"}
    tap : lib.metamers.taps.Tap
    seed : int
        Of the channels of "single_unit".
    every : int, optional
        Steps of a stage; 50 of one unit and 400 of one set of filters, as published.

    Returns
    -------
    callable
        As `relative`.

    Raises
    ------
    ValueError
        If there is no such loss, or it does not fit the layer.
    """
    plugins.require(name, NAMES, "loss")
    if name == "relative":
        return relative
    if name == "single_unit":
        every = every or 50
        return single_unit(tap.shape, every=every, until=8 * every, seed=seed)
    labels = getattr(tap.part, "labels", None)
    if labels is None:
        raise ValueError(f"layer {tap.layer!r} is no bank of modulation filters, which coarse_to_fine needs")
    return coarse_to_fine(labels, tap.shape, every=every or 400)


def _of_channels(activation, target, shape, channels):
    """Relative distance over some channels only."""
    a, t = (x.reshape(-1, *shape)[:, channels].flatten(1) for x in (activation, target))
    length = t.norm(dim=1)
    return (a - t).norm(dim=1) / torch.where(length > 0, length, target.norm(dim=1))
