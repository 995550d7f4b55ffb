"""Networks of the same architecture with other weights, which show what a model owes to its training."""

import contextlib
import copy
import hashlib

import torch

from lib import orders, plugins, untrained


def controlled(module, control, *, seed=0, order=None):
    """Copy of a network whose learned weights are replaced; architecture and buffers' shapes stay.

    Parameters
    ----------
    module : torch.nn.Module
        Left as it is.
    control : {"permuted", "random"}
        See `permuted` and `random`.
    seed : int
        Another seed gives another network.
    order : mapping, optional
        Of the control "permuted", a permutation that was stored or published.

    Returns
    -------
    torch.nn.Module
        In the same mode and with the same `requires_grad` as `module`.

    Raises
    ------
    ValueError
        If there is no such control, the network has no parameters to replace, or an order does not fit it.
    """
    plugins.require(control, plugins.CONTROLS, "control")
    if not any(True for _ in module.parameters()):
        raise ValueError(f"a network without parameters has no {control} control; use the network itself")
    if order is None:
        return {"permuted": permuted, "random": random}[control](module, seed=seed)
    plugins.require(control, ("permuted",), "control with a stored order")
    return permuted(module, order=order)


def permuted(module, *, seed=0, order=None):
    """Copy of a network with the entries of each learned tensor in random order.

    Each parameter keeps all its values, so every histogram of weights is that of the trained network and
    only their arrangement is lost. The order of a tensor follows from its name and the seed alone. Buffers
    (running statistics of batch normalisation) are kept: they were measured, not learned, and any
    arrangement of them is foreign to the permuted weights. The published networks permuted them like
    parameters; with their `order`, so does this function.

    Parameters
    ----------
    module : torch.nn.Module
        Left as it is.
    seed : int
        Not used with an order.
    order : mapping of str to int array (n_entries,), optional
        For each tensor of `module.state_dict()` that is permuted, the old position of each entry, positions
        counted with the last axis fastest; see `lib.orders`. Tensors of one memory under
        several names (tied weights) take the order of the last. Buffers may be left out.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    ValueError
        If the order lacks a parameter of several entries, names a tensor that is not there, or is no
        permutation of as many entries; the first offenders are named.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLOS Biology 21(12), Methods, "Candidate models with
    permuted weights". doi:10.1371/journal.pbio.3002366
    """
    twin = copy.deepcopy(module)
    trained, tensors = module.state_dict(), twin.state_dict()
    pairs = _drawn(module, seed) if order is None else orders.checked(order, module).items()
    with torch.no_grad():
        for name, places in pairs:
            values = trained[name].flatten()[places.to(trained[name].device)]
            tensors[name].copy_(values.view_as(tensors[name]))
    return twin


def random(module, *, seed=0):
    """Copy of a network as it would be before training.

    - Weights of convolutions and linear maps are drawn from a normal distribution with variance 2 / fan-in and
      their biases are 0, which carries a signal's scale through any depth of rectified layers (torch's default
      shrinks it threefold per layer, until biases drown it). Weights that are stored as direction and length,
      or otherwise computed from parameters, are drawn as what they are computed to.
    - Attention (`torch.nn.MultiheadAttention`): maps to queries, keys and values have variance 1 / fan-in, for
      no rectifier follows them; biases are 0.
    - Recurrent layers and cells: torch's default, uniform within 1 / √(hidden units), which keeps their states
      from growing.
    - Normalisations: gain 1, offset 0, running mean 0 and variance 1.
    - Embeddings, and parameters of a module that cannot initialise itself (positions, class tokens, gains):
      normal with the tensor's own mean and standard deviation, so that they keep their scale beside what they
      are added to. Padding stays 0, and a single number stays as it is.

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
    with _forked(seed):
        return untrained.redrawn(module)


def _drawn(module, seed):
    """Name and order of each parameter, one at a time: an order takes twice the memory of its tensor."""
    for name, parameter in module.named_parameters():
        yield name, torch.randperm(parameter.numel(), generator=_generator(name, seed))


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
