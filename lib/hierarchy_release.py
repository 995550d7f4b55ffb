"""Released features and accuracies of the brain hierarchy score: one `.mat` file each, in folders or zips."""

import contextlib
import re
from pathlib import Path

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from lib import archives, artefacts, bh29, matfiles, plugins

NETWORK = r"(?:^|/)(?P<network>[^/]+/[^/]+)/(?P<layer>[^/]+)/"
FEATURE = re.compile(NETWORK + r"(?P<stimulus>[^/]+)\.mat$")
ACCURACY = re.compile(NETWORK + r"(?P<subject>sub-[^/]+)/(?P<roi>[^/]+)/accuracy\.mat$")
REGIONS = "V1", "V2", "V3", "V4", "HVC"


def networks(source):
    """Networks whose accuracies a release holds.

    Parameters
    ----------
    source : str or pathlib.Path
        Zip, or folder it was unpacked into.

    Returns
    -------
    list of str
        "<framework>/<network>", sorted.
    """
    return sorted({found["network"] for found in map(ACCURACY.search, _names(source)) if found})


def images(source, network):
    """Images of which a release holds features.

    Parameters
    ----------
    source : str or pathlib.Path
        Zip of features, or folder it was unpacked into.
    network : str
        "<framework>/<network>".

    Returns
    -------
    list of str
        Identifiers, sorted as text.

    Raises
    ------
    ValueError
        If the network is unknown (the nearest are named).
    """
    return sorted({found["stimulus"] for found in _members(source, FEATURE, network).values()})


def features(source, network, layer, *, stimuli=None):
    """Features of images at one layer of a network.

    Parameters
    ----------
    source : str or pathlib.Path
        Zip of features (read in place), or folder it was unpacked into.
    network : str
        "<framework>/<network>".
    layer : str
        With `/` or, as its folder has it, `:`.
    stimuli : sequence of str, optional
        Identifiers of the images wanted, in the order wanted; all by default, sorted as text.

    Returns
    -------
    xarray.DataArray (stimulus, unit)
        Usually float32, in the unit of the network; units count from 0, last axis of a layer fastest.

    Raises
    ------
    ValueError
        If network or layer is unknown (the nearest are named), an image is not there, layers of the network
        hold different images, or a file is damaged or of another shape.
    """
    members = _members(source, FEATURE, network)
    by_layer = {}
    for member, found in members.items():
        by_layer.setdefault(found["layer"], {})[found["stimulus"]] = member
    layer = plugins.require(layer.replace("/", ":"), by_layer, f"layer of {network}")
    for other, files in by_layer.items():
        odd = sorted(set(files) ^ set(by_layer[layer]))
        if odd:
            raise ValueError(f"{source}: layers {layer} and {other} of {network} differ in images: {odd[:3]}")
    stimuli = sorted(by_layer[layer]) if stimuli is None else list(stimuli)
    missing = [s for s in stimuli if s not in by_layer[layer]]
    if missing:
        raise ValueError(f"{source}: {network} lacks {len(missing)} images wanted, such as {missing[:3]}")
    rows, values = _values(source, [by_layer[layer][s] for s in stimuli], "feat"), None
    for row, (member, value) in enumerate(tqdm(rows, total=len(stimuli), desc=f"{network} {layer}")):
        _require(source, member, value, "feat", np.shape(value)[:1] == (1,) and np.size(value) > 0, "(1, …)")
        values = np.empty((len(stimuli), value.size), value.dtype) if values is None else values
        if value.size != values.shape[1]:
            raise ValueError(f"{source}: {member} has {value.size} units, others {values.shape[1]}")
        values[row] = value.ravel()
    coords = {"stimulus": stimuli, "unit": range(values.shape[1])}
    return xr.DataArray(values, coords, ("stimulus", "unit"), name="features", attrs={"layer": layer})


def decoding_accuracies(source, network):
    """How well each unit of a network was decoded from each region of each subject.

    Parameters
    ----------
    source : str or pathlib.Path
        `decoding_accuracy.zip` (read in place), or folder it was unpacked into.
    network : str
        "<framework>/<network>".

    Returns
    -------
    xarray.DataArray (subject, roi, unit)
        Pearson correlation over the 50 test images, in the precision of the file; NaN where it is undefined.
        Units of all layers, one after another; coordinate `layer` (unit). Regions in the order of the visual
        hierarchy, layers in that of the network (`lib.bh29`).

    Raises
    ------
    ValueError
        If the network is unknown, a file is missing or damaged, or numbers of units differ.

    References
    ----------
    Nonaka et al. (2021), doi:10.1016/j.isci.2021.103013.
    """
    values, (subjects, rois, layers) = _accuracies(source, network)
    width = {layer: len(values[subjects[0], rois[0], layer]) for layer in layers}
    for (subject, roi, layer), value in values.items():
        if len(value) != width[layer]:
            raise ValueError(f"{source}: {network} {layer} has {len(value)} units in {subject} {roi}, "
                             f"{width[layer]} elsewhere")  # fmt: skip
    rows = [[np.concatenate([values[s, r, layer] for layer in layers]) for r in rois] for s in subjects]
    coords = {
        "subject": subjects,
        "roi": rois,
        "unit": [f"{layer}/{n:04d}" for layer in layers for n in range(width[layer])],
        "layer": ("unit", [layer for layer in layers for _ in range(width[layer])]),
    }
    return xr.DataArray(np.array(rows), coords, ("subject", "roi", "unit"), name="accuracy")


def encoding_accuracies(source, network):
    """How well each voxel was predicted from each layer of a network.

    Parameters
    ----------
    source : str or pathlib.Path
        `encoding_accuracy.zip` (read in place), or folder it was unpacked into.
    network : str
        "<framework>/<network>".

    Returns
    -------
    xarray.DataArray (layer, voxel)
        Pearson correlation over the 50 test images, in the precision of the file; NaN where it is undefined.
        Coordinates `subject` and `roi` (voxel); a voxel of two regions is there twice. Order as in
        `decoding_accuracies`.

    Raises
    ------
    ValueError
        If the network is unknown, a file is missing or damaged, or numbers of voxels differ.

    References
    ----------
    Nonaka et al. (2021), doi:10.1016/j.isci.2021.103013.
    """
    values, (subjects, rois, layers) = _accuracies(source, network)
    width = {(s, r): len(values[s, r, layers[0]]) for s in subjects for r in rois}
    for (subject, roi, layer), value in values.items():
        if len(value) != width[subject, roi]:
            raise ValueError(f"{source}: {network} {layer} has {len(value)} voxels in {subject} {roi}, "
                             f"{width[subject, roi]} at other layers")  # fmt: skip
    rows = [np.concatenate([values[s, r, layer] for s, r in width]) for layer in layers]
    coords = {
        "layer": layers,
        "voxel": [f"{s}-{r}-{n:05d}" for (s, r), count in width.items() for n in range(count)],
        "subject": ("voxel", [s for (s, _), count in width.items() for _ in range(count)]),
        "roi": ("voxel", [r for (_, r), count in width.items() for _ in range(count)]),
    }
    return xr.DataArray(np.array(rows), coords, ("layer", "voxel"), name="accuracy")


DIRECTIONS = {"decoding": decoding_accuracies, "encoding": encoding_accuracies}


def store(source, folder, *, direction):
    """Write the accuracies of all networks, one labelled file each.

    Parameters
    ----------
    source : str or pathlib.Path
        Zip, or folder it was unpacked into.
    folder : pathlib.Path
        Gets `<framework>/<network>.nc` with variable `accuracy`.
    direction : {"decoding", "encoding"}

    Raises
    ------
    ValueError
        As `decoding_accuracies` and `encoding_accuracies`; and if there is no network.
    """
    read, found = DIRECTIONS[plugins.require(direction, DIRECTIONS, "direction")], networks(source)
    if not found:
        raise ValueError(f"{source} holds no file like <framework>/<network>/<layer>/sub-01/V1/accuracy.mat")
    for network in tqdm(found, desc=f"{direction} accuracies"):
        artefacts.save(read(source, network).to_dataset(), Path(folder) / f"{network}.nc")


def _accuracies(source, network):
    """Accuracies by (subject, roi, layer), of all combinations; and the three lists."""
    members = _members(source, ACCURACY, network)
    read, values = _values(source, list(members), "accuracy"), {}
    for member, value in read:
        _require(source, member, value, "accuracy", np.shape(value)[:-1] == (1,), "(1, any)")
        values[members[member].group("subject", "roi", "layer")] = value[0]
    subjects, rois, layers = (sorted(set(names)) for names in zip(*values, strict=True))
    layers = bh29.ordered(network, layers)
    rois.sort(key=lambda roi: (REGIONS.index(roi) if roi in REGIONS else len(REGIONS), roi))
    wanted = [(s, r, layer) for s in subjects for r in rois for layer in layers]
    gone = ["/".join(key) for key in wanted if key not in values]
    if gone:
        raise ValueError(f"{source}: {network} lacks {len(gone)} accuracies, such as {', '.join(gone[:3])}")
    return values, (subjects, rois, layers)


def _require(source, member, value, variable, fits, shape):
    """Raise unless a variable is an array of real numbers whose shape fits."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        found = getattr(value, "dtype", type(value).__name__)
        raise ValueError(f"{source}: {variable} in {member} is {found} instead of numbers")
    if not fits:
        raise ValueError(f"{source}: {variable} in {member} has shape {value.shape} instead of {shape}")


def _members(source, pattern, network):
    """Files of a network, with their parts; the network must be there."""
    found = {name: match for name in _names(source) if (match := pattern.search(name))}
    plugins.require(network, sorted({m["network"] for m in found.values()}), f"network in {source}")
    return {name: match for name, match in found.items() if match["network"] == network}


def _names(source):
    """Files in a zip or below a folder, with forward slashes."""
    if not Path(source).is_dir():
        return archives.names(source)
    return [path.relative_to(source).as_posix() for path in sorted(Path(source).rglob("*.mat"))]


def _values(source, members, variable):
    """Each member with one of its variables; a zip is opened once for all of them."""
    if Path(source).is_dir():
        for member in members:
            yield member, matfiles.variable(Path(source) / member, variable)
        return
    with contextlib.closing(archives.streams(source, members)) as streams:
        for member, stream in streams:
            yield member, matfiles.variable(stream, variable)
