"""Activations that lie in one file for each stimulus, or one for each layer: `.mat` and `.npz`."""

import functools
from pathlib import Path, PurePosixPath

from lib import archives, artefacts, hierarchy_release, plugins, released, unpickle
from lib.stimuli import PICTURES, SOUNDS

KNOWN_ENDINGS = (*SOUNDS, *PICTURES, ".mp3", ".mp4", ".avi", ".mov", ".txt")
MARKS = ("consolidated_", "_consolidated")  # with which Net2Brain tells its files of layers


def mats(sources, network, stimuli, layers):
    """Layers of the brain hierarchy score's release, one `.mat` for each image and layer.

    Parameters
    ----------
    sources : sequence of str or pathlib.Path
        Zips of features, or folders that they were unpacked into; an image lies in one of them.
    network : str
        "<framework>/<network>".
    stimuli, layers : sequence of str
        Identifiers of the images, and layers (with `:`, as their folders have it), in the order wanted.

    Yields
    ------
    layer : str
    values : float32 array (n_stimuli, n_units)

    Raises
    ------
    ValueError
        If network, layer or an image is not there, an image lies in more than one source, or sources differ in
        units.
    """
    place = {}
    for source in sources:
        for image in hierarchy_release.images(source, network):
            if place.setdefault(image, source) != source:
                raise ValueError(f"image {image} of {network} lies in {place[image]} and in {source}")
    released.require_stimuli(stimuli, place, " and ".join(map(str, sources)))
    for layer in layers:
        found = {}
        for source in sources:
            names = [name for name in stimuli if place[name] == source]
            if names:
                rows = hierarchy_release.features(source, network, layer, stimuli=names).values
                found |= dict(zip(names, rows, strict=True))
        yield layer, released.stacked((found[name] for name in stimuli), stimuli, f"{network}, {layer}")


def npz(folder, name, layers):
    """Activations that Net2Brain has saved: a folder of `.npz` files.

    Each file belongs to a stimulus and holds an array for each layer; or to a layer, and holds one for each
    stimulus; or to both, and holds one. Stimuli are called like the file that was shown, without its ending.

    Parameters
    ----------
    folder : str or pathlib.Path
    name : str
        Of the model.
    layers : sequence of str
        Layers, from input to output; by them it is told what a file belongs to.

    Returns
    -------
    lib.released.Release

    Raises
    ------
    ValueError
        If there is no such file, or the files do not hold these layers (what they hold is named); when read,
        if a stimulus is missing or has another number of units at a layer than others, or a file is damaged.

    Examples
    --------
    A plug-in, `lib/models/theirs.py`, beside constants such as LAYERS and TARGETS::

        RELEASED = True

        def release(name, *, control=""):
            return featurefiles.npz(home() / "data" / "own" / "theirs", name, LAYERS)
    """
    index = _index(Path(folder), layers)
    files = sorted({file for by_layer in index.values() for file, _ in by_layer.values()})
    hashes = {file.name: artefacts.digest(file) for file in files}
    read = functools.partial(_arrays, folder, index)
    return released.Release(name, tuple(layers), released.digest(hashes, list(layers)), read)


def _arrays(folder, index, stimuli, layers):
    """Layers of a folder of `.npz` files, see `released.Release.read`."""
    for layer in layers:
        plugins.require(layer, index, f"layer in {folder}")
        released.require_stimuli(stimuli, index[layer], f"{folder}, layer {layer},")
        yield layer, released.stacked(_members(index[layer], stimuli), stimuli, f"{folder}, {layer}")


def _members(places, stimuli):
    """Arrays of the stimuli, each file opened as seldom as their order allows."""
    waiting = list(stimuli)
    while waiting:
        file = places[waiting[0]][0]
        count = next((i for i, name in enumerate(waiting) if places[name][0] != file), len(waiting))
        keys = [f"{places[name][1]}.npy" for name in waiting[:count]]
        for _, stream in archives.streams(file, keys):
            yield unpickle.npy(stream)
        waiting = waiting[count:]


def _index(folder, layers):
    """File and key of each stimulus, by layer."""
    keys = {
        file: [member.removesuffix(".npy") for member in archives.names(file)]
        for file in sorted(folder.glob("[!.]*.npz"))
    }
    if not keys:
        raise ValueError(f"{folder} holds no .npz file")
    index = {layer: {} for layer in layers}
    for file, key, layer, stimulus in _told(keys, layers, folder):
        name = _identifier(stimulus)
        if index.get(layer, {}).setdefault(name, (file, key)) != (file, key):
            raise ValueError(
                f"{folder}: two arrays are of stimulus {name} at layer {layer}: {file.name}, {key}"
            )
    return index


def _told(keys, layers, folder):
    """File, key, layer and stimulus of each array, by what the files are called and hold."""
    stems = {file: functools.reduce(_unmarked, MARKS, file.stem) for file in keys}
    first = next(iter(keys))
    if set(layers) <= set(stems.values()):
        return [(file, key, stems[file], key) for file, found in keys.items() for key in found]
    if set(layers) <= set(keys[first]):
        return [(file, key, key, stems[file]) for file, found in keys.items() for key in found]
    pairs = [
        (file, key, stem.removesuffix(f"_{key}"), key) for file, stem in stems.items() for key in keys[file]
    ]
    there = {layer for _, _, layer, _ in pairs}
    if set(layers) <= there:
        return pairs
    there = sorted(there.union(keys[first], stems.values()))
    missing = [layer for layer in layers if layer not in there]
    raise ValueError(
        f"{folder} holds no layers {missing[: released.FIRST]}; by its files' names and by the keys in "
        f"{first.name}, there are {there[: 2 * released.FIRST]}"
    )


def _unmarked(stem, mark):
    return stem.removeprefix(mark).removesuffix(mark)


def _identifier(shown):
    """A stimulus by the name of the file that was shown."""
    path = PurePosixPath(shown)
    return path.stem if path.suffix.lower() in KNOWN_ENDINGS else path.name
