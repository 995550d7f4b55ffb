"""Activations of 36 audio networks to 165 natural sounds, released by Tuckute, Feather et al. (2023), read in place."""

import functools
import re

import numpy as np

from lib import archives, damage, download, hdf5, locked, naturalsounds, plugins, released, unpickle

URL = "https://mcdermottlab.mit.edu//tuckute_feather_2023/model_actv.tar"
SUFFIXES = {"": "", "permuted": "_randnetw"}
LIMIT_BYTES = 4_000_000_000  # of one member; the whole archive is announced with 2.7 GB
N_SOUNDS = 165


def one_file(name, *, control=""):
    """Activations of a model that lie in one HDF5 file: a data set (sound, unit) for each layer.

    The rows have no names. That they are the sounds by ascending number is inferred: with this order, features
    computed from the sounds reproduce published scores.

    Parameters
    ----------
    name : str
        A model whose plug-in says FOLDER, its folder in the archive, and KEYS, the data sets of layers that are
        not called like the layer.
    control : {"", "permuted"}

    Returns
    -------
    lib.released.Release

    Raises
    ------
    ValueError
        If the archive is damaged or does not hold the file; when read, if a layer is missing or has another
        number of rows than there are sounds.
    lib.download.DownloadError
        If the archive cannot be had.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), doi:10.1371/journal.pbio.3002366, and its repository's note
    on how activations are organised.
    """
    known, path = plugins.about("model", name), download.fetch(URL)
    pattern = rf"(?:^|/){known['FOLDER']}/natsound_activations{SUFFIXES[control]}\.h5$"
    found = [member for member in archives.names(path) if re.search(pattern, member)]
    if len(found) != 1:
        folders = _folders(path, r"natsound_activations(?:_randnetw)?\.h5")
        plugins.require(known["FOLDER"], folders, f"folder of a model in {path}")
        raise ValueError(f"{path} holds {len(found)} files {pattern[7:-1]} instead of one: {found}")
    read = functools.partial(_from_file, path, found[0], known["KEYS"])
    return _release(name, control, known, read)


def per_sound(name, *, control=""):
    """Activations of a model that lie in one pickle for each sound: a table of arrays (unit,) by layer.

    Parameters
    ----------
    name : str
        A model whose plug-in says FOLDER, its folder in the archive, and KEYS, the entries of layers that are
        not called like the layer.
    control : {"", "permuted"}

    Returns
    -------
    lib.released.Release

    Raises
    ------
    ValueError
        If the archive is damaged, or does not hold one pickle for each of the 165 sounds; when read, if a
        pickle is no table of arrays, a layer is missing, or sounds differ in units.
    lib.download.DownloadError
        If the archive cannot be had.

    References
    ----------
    As for `one_file`.
    """
    known, path = plugins.about("model", name), download.fetch(URL)
    pattern = rf"(?:^|/){known['FOLDER']}/(?P<sound>[^./][^/]*)_activations{SUFFIXES[control]}\.pkl$"
    matches = [match for member in archives.names(path) if (match := re.search(pattern, member))]
    if not matches:
        plugins.require(known["FOLDER"], _folders(path, r"[^/]*\.pkl"), f"folder of a model in {path}")
    members = {match["sound"]: match.string for match in matches}
    sounds = naturalsounds.names()
    odd = sorted(set(sounds) ^ set(members))
    if odd or len(matches) != N_SOUNDS:
        raise ValueError(
            f"{path}: {known['FOLDER']} has {len(matches)} pickles {SUFFIXES[control]} instead of {N_SOUNDS}; "
            f"it lacks, or has beside them, {odd[: released.FIRST] or 'one more than once'}"
        )
    read = functools.partial(_from_pickles, path, members, known["KEYS"])
    return _release(name, control, known, read)


def _release(name, control, known, read):
    """What is known of a model, with where its activations are read."""
    parts = [locked.entries()[URL].sha256, known["FOLDER"], control, sorted(known["KEYS"].items())]
    full = f"{name}.{control}" if control else name
    return released.Release(full, tuple(known["LAYERS"]), released.digest(*parts), read)


def _folders(path, file):
    """Folders of the archive that hold files called so."""
    found = (re.search(rf"(?:^|/)([^/]+)/{file}$", member) for member in archives.names(path))
    return sorted({match[1] for match in found if match})


def _from_file(path, member, keys, stimuli, layers):
    """Layers of an HDF5 file, see `released.Release.read`."""
    sounds = naturalsounds.names()
    released.require_stimuli(stimuli, sounds, path)
    rows = [sounds.index(name) for name in stimuli]
    with (
        archives.stream(path, member, limit_bytes=LIMIT_BYTES) as stream,
        hdf5.opened(stream) as file,
    ):
        for layer in layers:
            yield layer, _dataset(file, keys.get(layer, layer), f"{path}, {member}")[rows]


def _dataset(file, key, where):
    """Activations of all sounds at one layer, float32 (sound, unit)."""
    there = [name for name, item in _walk(file) if name != "layer_list"]
    plugins.require(key, there, f"data set in {where}")
    with damage.named(where):
        values = hdf5.values(file[key])
    if values.ndim != 2 or len(values) != N_SOUNDS or not values.size or values.dtype.kind != "f":
        raise ValueError(
            f"{where}: data set {key} is {values.dtype} {values.shape} instead of real ({N_SOUNDS}, units)"
        )
    return values.astype(np.float32, copy=False)


def _walk(file):
    """Names and data sets of a file, also in groups."""
    found = []
    file.visititems(lambda name, item: found.append((name, item)) if hasattr(item, "shape") else None)
    return found


def _from_pickles(path, members, keys, stimuli, layers):
    """Layers of one pickle for each sound, see `released.Release.read`; each is read once."""
    released.require_stimuli(stimuli, members, path)
    wanted = {members[name]: name for name in stimuli}
    found = {}
    for member, stream in archives.streams(path, wanted, limit_bytes=LIMIT_BYTES):
        content, where = unpickle.load(stream), f"{path}, {member}"
        if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
            raise ValueError(f"{where} holds {type(content).__name__} instead of a table of layers by name")
        keyed = [plugins.require(keys.get(layer, layer), content, f"layer in {where}") for layer in layers]
        found[wanted[member]] = [_vector(content[key], key, where) for key in keyed]
    for i, layer in enumerate(layers):
        yield layer, released.stacked((found[name][i] for name in stimuli), stimuli, f"{path}, {layer}")


def _vector(value, key, where):
    """An array with one axis."""
    if not isinstance(value, np.ndarray) or value.ndim != 1:
        shape = value.shape if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f"{where}: {key} is {shape} instead of an array (units,), averaged over time")
    return value
