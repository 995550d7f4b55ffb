"""Where a synthesis stands: noted after every block, taken up again after a kill."""

import contextlib
import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from lib import archives, artefacts, unpickle
from lib.metamers import rules


@dataclasses.dataclass
class Batch:
    """Stimuli on their way, and what has been seen of them so far.

    Attributes
    ----------
    x : tensor (n, …)
    memory : dict of str to tensor
        As `rules.state` makes it.
    best : tensor (n,)
        Lowest loss of each so far.
    active : bool tensor (n,)
        Which are not done.
    trace : array (n_steps + 1, n)
        Loss before each step and after the last; NaN where no step was taken.
    why : list of str
        What went wrong with each, or "".
    block : int
        How many are complete.
    """

    x: torch.Tensor
    memory: dict
    best: torch.Tensor
    active: torch.Tensor
    trace: np.ndarray
    why: list
    block: int = 0


def fresh(start, rule):
    """A batch before its first step.

    Parameters
    ----------
    start : tensor (n, …)
    rule : lib.metamers.rules.Rule

    Returns
    -------
    Batch
    """
    n = len(start)
    return Batch(
        x=start.clone(),
        memory=rules.state(start),
        best=start.new_full((n,), torch.inf),
        active=torch.ones(n, dtype=torch.bool, device=start.device),
        trace=np.full((rule.n_steps + 1, n), np.nan),
        why=[""] * n,
    )


def identity(layer, rule, names, target, start):
    """All that the course of a batch depends on, as text.

    Parameters
    ----------
    layer : str
    rule : lib.metamers.rules.Rule
    names : list of str
    target : tensor (n, n_units)
        Which stands for originals and network.
    start : tensor (n, …)

    Returns
    -------
    str
        JSON.
    """
    arrays = [tensor.cpu().contiguous().numpy() for tensor in (target, start)]
    digests = [hashlib.sha256(array).hexdigest() for array in arrays]
    device = torch.cuda.get_device_name() if start.is_cuda else "cpu"
    whole = layer, names, digests, dataclasses.asdict(rule), device, torch.__version__
    return json.dumps(whole)


def note(file, identity, batch):
    """Write where a batch stands.

    Parameters
    ----------
    file : pathlib.Path
        Ends in `.npz`; replaced as a whole.
    identity : str
    batch : Batch
    """
    arrays = {"x": batch.x, "best": batch.best, "active": batch.active}
    arrays |= {f"memory.{name}": values for name, values in batch.memory.items()}
    arrays = {name: tensor.cpu().numpy() for name, tensor in arrays.items()}
    with artefacts.atomic(file) as part:
        np.savez(
            part, identity=identity, trace=batch.trace, why=np.array(batch.why), block=batch.block, **arrays
        )


def restored(file, identity, device):
    """A batch as it was noted.

    Parameters
    ----------
    file : pathlib.Path
    identity : str
    device : torch.device

    Returns
    -------
    Batch or None
        None if nothing of the very same was noted, or it cannot be read.
    """
    try:
        arrays = _arrays(file)
        # What was noted of the same synthesis is whole, or its archive tells of the damage.
        return _batch(arrays, device) if str(arrays.get("identity")) == identity else None
    except (OSError, ValueError, TypeError, KeyError, ArithmeticError):
        return None


def _arrays(file):
    """All that was noted, by name."""
    with contextlib.closing(archives.streams(file, archives.names(file))) as streams:
        return {name.removesuffix(".npy"): unpickle.npy(stream) for name, stream in streams}


def _batch(arrays, device):
    """A batch from its arrays."""
    tensors = {
        name: torch.from_numpy(values).to(device)
        for name, values in arrays.items()
        if name in ("x", "best", "active") or name.startswith("memory.")
    }
    memory = {name.partition(".")[2]: tensors.pop(name) for name in list(tensors) if "." in name}
    why = [str(text) for text in arrays["why"]]
    return Batch(memory=memory, trace=arrays["trace"], why=why, block=int(arrays["block"]), **tensors)


def place(folder, layer, first):
    """File of a batch.

    Parameters
    ----------
    folder : pathlib.Path
    layer : str
    first : int
        Number of its first stimulus.

    Returns
    -------
    pathlib.Path
    """
    return Path(folder) / f"{hashlib.sha256(layer.encode()).hexdigest()[:16]}.{first}.npz"
