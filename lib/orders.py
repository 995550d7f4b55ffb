"""Orders in which the entries of a network's tensors are permuted: drawn as published, or read from indices."""

import numpy as np
import torch

from lib import plugins, unpickle


def drawn(state, *, seed=0, skip=()):
    """The order in which the published networks were permuted, drawn again.

    One generator serves all tensors, one after another, buffers among them. That this gives the very orders
    of the authors' files needs the tensors in the order of their checkpoint, and a generator of PyTorch that
    has not changed since; the files themselves (`stored`) need neither.

    Parameters
    ----------
    state : mapping of str to tensor
        The network's tensors in the order of its checkpoint.
    seed : int
        0 in the study.
    skip : iterable of str
        Tensors whose name holds one of these are not permuted, and nothing is drawn for them: in the study,
        those of the cochleagram ("preproc.", "model.0.full_rep"), and second names ("attacker.model.").

    Returns
    -------
    dict of str to int64 tensor (n_entries,)

    References
    ----------
    Tuckute et al. (2023), as for `lib.controls.permuted`; the scheme is that of the build scripts of github.com/
    jenellefeather/cochdnn (folders ending in `_randomize_weights`).
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randperm(tensor.numel(), generator=generator)
        for name, tensor in state.items()
        if not any(part in name for part in skip)
    }


def stored(path, *, rename=None):
    """An order of permutation from a file of indices, as the authors share it for each of their networks.

    Parameters
    ----------
    path : str or pathlib.Path
        `rand_network_indices.pckl` or `<model>_randnetw_indices.pkl`: a pickled table of tensors by name. It is
        read as data; nothing that it names is run.
    rename : callable, optional
        From a stored name to that of our network, or to None to leave the tensor out.

    Returns
    -------
    dict of str to int64 tensor (n_entries,)

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, holds anything else than whole numbers by name, or names fall together.
    """
    found = unpickle.load(path, allow="torch")
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{path} holds {type(found).__name__} instead of indices by name of a tensor")
    odd = [
        n
        for n, v in found.items()
        if not isinstance(v, np.ndarray) or v.ndim != 1 or v.dtype.kind not in "iu"
    ]
    if odd:
        raise ValueError(f"{path}: {plugins.first(odd)} hold something else than a row of whole numbers")
    pairs = [
        (rename(name) if rename else name, torch.from_numpy(v.astype(np.int64))) for name, v in found.items()
    ]
    kept = {name: places for name, places in pairs if name is not None}
    if len(kept) < sum(name is not None for name, _ in pairs):
        raise ValueError(f"{path}: renamed, tensors fall together")
    return kept


def checked(order, module):
    """An order that fits a network.

    Parameters
    ----------
    order : mapping of str to int array (n_entries,)
    module : torch.nn.Module

    Returns
    -------
    dict of str to int64 tensor (n_entries,)

    Raises
    ------
    ValueError
        If it lacks a parameter of several entries, names a tensor that is not there, or is no permutation of as
        many entries; the first offenders are named.
    """
    state = module.state_dict()
    unknown = [name for name in order if name not in state]
    shared = {state[name].data_ptr() for name in order if name in state}
    lacking = [
        name for name, p in module.named_parameters() if name not in order and p.numel() > 1
        and p.data_ptr() not in shared
    ]  # fmt: skip
    if unknown or lacking:
        what = (
            f"lacks parameters {plugins.first(lacking)}"
            if lacking
            else f"names tensors that are not there: {plugins.first(unknown)}"
        )
        raise ValueError(f"the order of permutation {what}; it is of another network, or names need renaming")
    found = {name: torch.as_tensor(places).flatten().long() for name, places in order.items()}
    odd = [name for name, places in found.items() if not _is_permutation(places, state[name].numel())]
    if odd:
        sizes = ", ".join(
            f"{name} ({len(found[name])} of {state[name].numel()})" for name in odd[: plugins.FIRST]
        )
        raise ValueError(f"the order holds no permutation of all entries for {sizes}")
    return found


def _is_permutation(places, size):
    return len(places) == size and torch.equal(places.sort().values, torch.arange(size))
