"""The archive of voxels' responses to natural sounds that Tuckute, Feather et al. (2023) released, read in place."""

from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from lib import archives, damage, matfiles, unpickle
from lib.download import raw

URL = "https://mcdermottlab.mit.edu//tuckute_feather_2023/data.tar"
FOLDER = "data/neural"
LIMIT_BYTES = 4_000_000_000  # of one member; the whole archive is announced with 180 MB
FIRST = 3  # offenders a message names


def member(name, read):
    """One member of the archive, read in place.

    Parameters
    ----------
    name : str
        Below `data/neural`, for instance "NH2015/voxel_features_array.npy".
    read : callable
        Takes a binary stream.

    Returns
    -------
    object
        What `read` makes of it.

    Raises
    ------
    ValueError
        If the archive is damaged or does not hold the member.
    """
    path, wanted = raw(URL), PurePosixPath(FOLDER, name)
    with archives.stream(path, str(wanted), limit_bytes=LIMIT_BYTES) as stream, damage.named(stream):
        return read(stream)


def array(name):
    """Array of a `.npy` member of the archive, of any type.

    Parameters
    ----------
    name : str
        As for `member`.

    Returns
    -------
    numpy.ndarray
    """
    return member(name, unpickle.npy)


def table(name):
    """Table of voxels of a pickled member of the archive, by voxel identifier.

    Parameters
    ----------
    name : str
        As for `member`.

    Returns
    -------
    pandas.DataFrame
        Index `voxel_id`, whole numbers. Its rows may be in another order than the voxels of the array.

    Raises
    ------
    ValueError
        If it is no table, or voxels have no identifier or share one.
    """
    return member(name, _voxels)


def _voxels(stream):
    """Table of voxels."""
    found = unpickle.load(stream, allow="pandas")
    if not isinstance(found, pd.DataFrame) or "voxel_id" not in found:
        raise ValueError(f"{stream.name} is a {type(found).__name__} without a column voxel_id")
    found = found.set_index(found["voxel_id"].astype(int))
    if not found.index.is_unique:
        twice = found.index[found.index.duplicated()].unique().tolist()
        raise ValueError(f"{stream.name} holds voxels more than once: {twice[:FIRST]}")
    return found


def sounds():
    """Identifiers and categories of the sounds, in the order of the arrays of responses.

    Returns
    -------
    names : list of str
        Without `.wav`.
    categories : list of str

    Raises
    ------
    ValueError
        If the member is damaged, or does not hold records.
    """
    return member("NH2015/neural_stim_meta.npy", _sounds)


def _sounds(stream):
    """Identifiers and categories of records."""
    # By place: the fields' names are not documented.
    records = unpickle.npy(stream)
    return [text(r[0]).removesuffix(".wav") for r in records], [text(r[4]) for r in records]


def cells(name, variable, field):
    """Texts of a field of a structure in a `.mat` member.

    Parameters
    ----------
    name : str
        As for `member`.
    variable, field : str

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If the variable is no structure with that field.
    """

    def read(stream):
        found = matfiles.variable(stream, variable)
        if not isinstance(found, dict) or field not in found:
            raise ValueError(f"{variable} in {stream.name} is no structure with a field {field}")
        return [str(cell) for cell in np.ravel(found[field])]

    return member(name, read)


def text(value):
    """A text that may have been stored as bytes."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
