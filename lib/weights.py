"""Trained weights of the web: fetched once, read without running anything they hold, loaded strictly."""

import difflib
import re
from pathlib import PurePosixPath

import numpy as np
import torch

from lib import archives, artefacts, download, locked, plugins

# `resnet18-f37072fd.pth`: the first digits of the file's SHA-256, as published names carry them; no dates.
DATE = r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\."
HASHED = re.compile(rf"-(?!{DATE})([0-9a-f]{{8,64}})\.\w+$")
# Numbers that checkpoints hold beside the weights (an accuracy, say); reading them runs nothing.
_NUMBERS = [
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    np._core.multiarray.scalar,
    np.dtype,
    *{type(np.dtype(kind)) for kind in "?bhilqBHILQefd"},
]


def state(url, *, sha256="", size=0, key=None, strip=""):
    """Weights of a network by the names under which they were stored.

    Parameters
    ----------
    url : str
        Looked for below `data/raw`, then below `$DATA_MIRROR`, then in the network (`lib.download.fetch`).
        Behind a `#`, the file inside an archive (tar, tar.gz or zip), which is read in place: its name there,
        or the end of it from some folder on.
    sha256 : str, optional
        64 hexadecimal digits. "" if nobody published them: then the file is held to the digits in its name
        (`resnet18-f37072fd.pth`), if it has any, and from its first use on to what `data/locked.csv` records.
    size : int, optional
        Bytes; 0 if unknown.
    key : str, optional
        Entry of the file under which the weights lie, for instance "state_dict"; None if the file holds
        nothing else.
    strip : str, optional
        Removed from the front of each name, for instance "module.".

    Returns
    -------
    dict of str to tensor
        On the CPU, as stored.

    Raises
    ------
    ValueError
        If the file is damaged, holds something that reading could run, is not what its name says, or has
        no weights under `key`; or the archive is unsafe (`lib.archives`), or has not one such member.
    lib.download.DownloadError
        If the file cannot be had.
    """
    url, _, member = url.partition("#")
    path = download.fetch(url, sha256, size)
    if not sha256:
        _require_named_hash(url, path)
    where = f"{path}, member {member!r}" if member else path
    found = _entry(_unpacked(path, member, where) if member else _read(path, where), key, where)
    shorter = {name.removeprefix(strip): value.detach() for name, value in found.items()}
    if len(shorter) < len(found):
        raise ValueError(f"{where}: without {strip!r} in front, names of weights occur more than once")
    return shorter


def into(module, state, *, rename=None):
    """The network with these weights, all of which it takes and none of which it lacks.

    Counters that batch normalisation needs in training only (`num_batches_tracked`) may be missing.

    Parameters
    ----------
    module : torch.nn.Module
        Its own parameters and buffers are overwritten; types and devices stay.
    state : dict of str to tensor
        See `state`.
    rename : callable, optional
        From a stored name to the module's, or to None to leave the tensor out.

    Returns
    -------
    torch.nn.Module
        The module itself.

    Raises
    ------
    ValueError
        If names or shapes differ; the first of each kind are named, and nothing is overwritten.
    """
    given = _renamed(state, rename)
    wanted = module.state_dict()
    needed = [name for name in wanted if not name.endswith("num_batches_tracked")]
    faults = {
        "lacks": [name for name in needed if name not in given],
        "holds, without a place for them,": [name for name in given if name not in wanted],
        "has in another shape": [
            f"{name} {tuple(value.shape)} instead of {tuple(wanted[name].shape)}"
            for name, value in given.items()
            if name in wanted and value.shape != wanted[name].shape
        ],
    }
    said = [f"{what} {plugins.first(offenders)}" for what, offenders in faults.items() if offenders]
    if said:
        raise ValueError(f"weights do not fit {type(module).__name__}: the file " + "; it ".join(said))
    if any(value.is_meta for value in wanted.values()):
        raise ValueError(f"{type(module).__name__} lies on the meta device, which keeps nothing; use the CPU")
    module.load_state_dict(given, strict=False)
    return module


def _require_named_hash(url, path):
    """Compare a file with the digits of its SHA-256 that its name carries."""
    digits = HASHED.search(PurePosixPath(path).name)
    found = artefacts.digest(path) if digits else ""
    if digits and not found.startswith(digits[1]):
        entry = locked.entries().get(url)
        raise ValueError(
            f"{path} is not what its name says: its sha256 is {found}, which does not begin with {digits[1]}. "
            f"Delete it, and run again. {locked.accepting(url, entry) if entry else ''}".rstrip()
        )


def _unpacked(path, member, where):
    """Content of a file of weights inside an archive."""
    names = archives.names(path)
    found = [name for name in names if name == member or name.endswith(f"/{member}")]
    if len(found) != 1:
        near = found or difflib.get_close_matches(member, names, n=plugins.FIRST, cutoff=0) or names
        raise ValueError(f"{path} has {len(found)} members {member!r}; near are {plugins.first(near)}")
    with archives.stream(path, found[0]) as stream:
        return _read(stream, where)


def _read(file, where):
    """Content of a file of weights; `where` it lies is for messages."""
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            return torch.load(file, map_location="cpu", weights_only=True)
    # What torch raises depends on the byte that is wrong.
    except Exception as error:
        if unsafe := re.search(r"GLOBAL ([\w.]+)|Unsupported class ([\w.]+)", str(error)):
            raise ValueError(
                f"{where} holds more than numbers ({unsafe[1] or unsafe[2]}), which reading could run; "
                f"it is refused. Ask its authors for a file of weights alone"
            ) from error
        what = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise ValueError(
            f"{where} is damaged or no file of weights ({what}); delete it, and run again"
        ) from error


def _entry(content, key, path):
    """Weights among what a file holds."""
    if key is not None:
        if not isinstance(content, dict) or key not in content:
            raise ValueError(f"{path} has no entry {key!r}; it holds {_kind(content)}")
        content = content[key]
    odd = (
        [name for name, value in content.items() if not _is_weight(name, value)] if _is_dict(content) else []
    )
    if not _is_dict(content) or odd:
        what = f"; no tensors are {plugins.first(odd)}" if odd else ""
        raise ValueError(f"{path}, entry {key!r}, is no table of weights but {_kind(content)}{what}")
    return content


def _is_dict(content):
    return isinstance(content, dict) and len(content) > 0


def _is_weight(name, value):
    return isinstance(name, str) and isinstance(value, torch.Tensor)


def _kind(content):
    """What something is, in words."""
    if isinstance(content, dict):
        return f"entries {plugins.first(content)}" if content else "nothing"
    return type(content).__name__


def _renamed(state, rename):
    """Weights under the module's names."""
    if rename is None:
        return dict(state)
    pairs = [(rename(name), value) for name, value in state.items()]
    given = {name: value for name, value in pairs if name is not None}
    if len(given) < sum(name is not None for name, _ in pairs):
        raise ValueError("renamed, names of weights occur more than once")
    return given
