"""Networks of the same architecture with other weights, which show what a model owes to its training."""

import contextlib
import copy
import hashlib

import torch
from torch import nn

from lib import plugins


def controlled(module, control, *, seed=0):
    """Copy of a network whose learned weights are replaced; architecture and buffers' shapes stay.

    Parameters
    ----------
    module : torch.nn.Module
        Left as it is.
    control : {"permuted", "random"}
        See `permuted` and `random`.
    seed : int
        Another seed gives another network.

    Returns
    -------
    torch.nn.Module
        In the same mode and with the same `requires_grad` as `module`.

    Raises
    ------
    ValueError
        If there is no such control, or the network has no parameters to replace.
    """
    plugins.require(control, plugins.CONTROLS, "control")
    if not any(True for _ in module.parameters()):
        raise ValueError(f"a network without parameters has no {control} control; use the network itself")
    return {"permuted": permuted, "random": random}[control](module, seed=seed)


def permuted(module, *, seed=0):
    """Copy of a network with the entries of each learned tensor in random order.

    Each parameter keeps all its values, so every histogram of weights is that of the trained network and
    only their arrangement is lost. The order of a tensor follows from its name and the seed alone. Buffers
    (running statistics of batch normalisation) are kept: they were measured, not learned, and any
    arrangement of them is foreign to the permuted weights.

    Parameters
    ----------
    module : torch.nn.Module
        Left as it is.
    seed : int

    Returns
    -------
    torch.nn.Module

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLOS Biology 21(12), Methods, "Candidate models with
    permuted weights". doi:10.1371/journal.pbio.3002366
    """
    twin = copy.deepcopy(module)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            order = torch.randperm(parameter.numel(), generator=_generator(name, seed))
            parameter.copy_(parameter.flatten()[order.to(parameter.device)].view_as(parameter))
    return twin


def random(module, *, seed=0):
    """Copy of a network as it would be before training.

    Weights of convolutions and linear maps are drawn from a normal distribution with variance 2 / fan-in
    and their biases are 0, which carries a signal's scale through any depth of rectified layers (torch's
    default shrinks it threefold per layer, until biases drown it). Other modules that know how to initialise
    themselves (`reset_parameters`) do so; batch normalisation thereby gets mean 0 and variance 1. A tensor
    of any remaining module is drawn from a normal distribution with the tensor's own mean and standard
    deviation.

    Parameters
    ----------
    module : torch.nn.Module
        Left as it is.
    seed : int

    Returns
    -------
    torch.nn.Module

    References
    ----------
    He, Zhang, Ren & Sun (2015), ICCV, section 2.2, equation 10. doi:10.1109/ICCV.2015.123
    """
    twin = copy.deepcopy(module)
    with torch.no_grad(), _forked(seed):
        for part in twin.modules():
            _initialise(part)
    return twin


def _initialise(part):
    """Draw the parameters a module holds itself, not those of its children."""
    if isinstance(part, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)):
        nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
        if part.bias is not None:
            nn.init.zeros_(part.bias)
    elif callable(getattr(part, "reset_parameters", None)):
        part.reset_parameters()
    else:
        for parameter in part.parameters(recurse=False):
            parameter.normal_(float(parameter.mean()), float(parameter.std(correction=0)))


def _generator(name, seed):
    """Generator of one tensor, independent of the order in which tensors are visited."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@contextlib.contextmanager
def _forked(seed):
    """Seed torch's own generator, which `reset_parameters` draws from, and put its state back after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
