"""A planted functional-map study: networks and a visual cortex whose regions read out known ones of them."""

import nibabel
import numpy as np
import xarray as xr
from nilearn import datasets as bundled
from scipy import spatial

from lib import functional_ceilings, functional_maps, published_maps, searchlight_geometry, searchlight_rdms
from lib.searchlight import blocks, pairs

N_STIMULI = 50
N_LAYERS = 2
N_UNITS = 60  # of each part of a network's layer
# Shares of a layer that all networks have, those of one group, both layers of one network, and the layer alone.
SHARES = {"all": 0.25, "group": 0.25, "network": 0.35, "layer": 0.15}
# Roughly where the regions of the atlas lie, right hemisphere, MNI152, mm; the left is the mirror image.
CENTRES = {
    "V1v": (8, -80, -4), "V1d": (8, -94, 4), "V2v": (14, -74, -10), "V2d": (14, -98, 16), "V3v": (22, -76, -14),
    "V3d": (24, -94, 20), "hV4": (30, -80, -16), "VO1": (28, -66, -12), "VO2": (30, -57, -12),
    "PHC1": (30, -48, -10), "PHC2": (32, -40, -12), "LO2": (44, -76, -2), "LO1": (36, -88, 4),
    "V3b": (34, -84, 22), "V3a": (22, -88, 32),
}  # fmt: skip
RADIUS_MM = 14
WEIGHTS = (0.45, 0.35, 0.2)  # shares of a region's voxels that read out its first, second and third network


def networks(about, rng):
    """Activations of networks that share parts as trained networks do.

    Parameters
    ----------
    about : pandas.DataFrame
        Of `lib.functional_maps.networks`.
    rng : numpy.random.Generator

    Returns
    -------
    dict of str to array (n_layers, n_stimuli, n_units)
        By network; each unit has mean 0 over stimuli, and a layer variance 1.
    """
    groups = about["group"].unique()
    common = _part(rng, "all")
    of_group = {group: _part(rng, "group") for group in groups}
    found = {}
    for name, group in about[["network", "group"]].itertuples(index=False):
        own = _part(rng, "network")
        layers = [
            np.concatenate([common, of_group[group], own, _part(rng, "layer")], axis=1)
            for _ in range(N_LAYERS)
        ]
        found[name] = np.stack([layer - layer.mean(axis=0) for layer in layers])
    return found


def brain(activations, planted, rng, *, n_subjects=6, explained=0.8, resolution=4):
    """Patterns of subjects whose voxels read out the networks of their region, or nothing.

    Parameters
    ----------
    activations : dict of str to array (n_layers, n_stimuli, n_units)
    planted : dict of str to sequence of str
        Networks of each region of CENTRES, the most frequent first.
    rng : numpy.random.Generator
    n_subjects : int
    explained : float
        Share of a voxel's variance that it reads out; 0 outside regions.
    resolution : int
        Edge of a voxel, mm.

    Returns
    -------
    patterns : dict of str to array (n_stimuli, n_voxels)
        By subject; voxels of the mask.
    roi : array of str (n_voxels,)
        "" outside all regions.
    mask : nibabel.Nifti1Image
        The back of the average brain.
    """
    mask = _mask(resolution)
    inside = np.asarray(mask.dataobj) > 0
    roi = _regions(searchlight_geometry.coordinates(inside, mask.affine))
    patterns = {}
    for subject in range(n_subjects):
        noise = rng.standard_normal((N_STIMULI, len(roi)))
        signal = np.zeros_like(noise)
        for name, members in planted.items():
            here = np.flatnonzero(roi == name)
            which = rng.choice(len(members), len(here), p=np.array(WEIGHTS) / np.sum(WEIGHTS))
            for voxel, number in zip(here, which, strict=True):
                layer = activations[members[number]][rng.integers(N_LAYERS)]
                signal[:, voxel] = layer @ rng.standard_normal(layer.shape[1]) / np.sqrt(layer.shape[1])
        scale = signal.std(axis=0)
        read = scale > 0
        signal[:, read] *= np.sqrt(explained) / scale[read]
        patterns[f"planted{subject + 1}"] = signal + np.where(read, np.sqrt(1 - explained), 1) * noise
    return patterns, roi, mask


def study(*, seed=0, **options):
    """The planted study in the form of the released one, its regions reading out what was found there.

    Parameters
    ----------
    seed : int
    **options
        Of `brain`.

    Returns
    -------
    responses : xarray.Dataset
        `rdm` (repeat, subject, roi, stimulus, stimulus_2) and `taskonomy_rdm` (network, layer, stimulus,
        stimulus_2), 1 - Pearson correlation; `true_network` (roi, rank): the three best of the published figure.
    searchlights : xarray.Dataset
        `rdm` (subject, searchlight, pair), lower_ceiling and upper_ceiling (Spearman), corner, size, and
        `true_roi`, the region in which most voxels of the inner part lie ("" if none do).
    mask : nibabel.Nifti1Image
    """
    rng, about = np.random.default_rng(seed), functional_maps.networks()
    network = about.set_index("label")["network"]
    best = published_maps.bars("2b").groupby("roi", sort=False)["name"].agg(list)
    planted = {roi: network[labels].tolist() for roi, labels in best.items()}
    activations = networks(about, rng)
    patterns, roi, mask = brain(activations, planted, rng, **options)
    stimuli = [f"planted{i:02d}" for i in range(1, N_STIMULI + 1)]
    rdms = [[_rdm(values[:, roi == name]) for name in planted] for values in patterns.values()]
    layers = [[_rdm(layer) for layer in activations[name]] for name in about["network"]]
    responses = xr.Dataset(
        {
            "rdm": (("repeat", "subject", "roi", "stimulus", "stimulus_2"), np.array(rdms)[None]),
            "taskonomy_rdm": (("network", "layer", "stimulus", "stimulus_2"), np.array(layers)),
            "true_network": (("roi", "rank"), np.array(list(planted.values()))),
        },
        coords={
            "repeat": [0], "subject": list(patterns), "roi": list(planted), "network": about["network"].tolist(),
            "layer": ["block4", "encoder_output"], "stimulus": stimuli, "stimulus_2": stimuli,
        },
        attrs={"planted": 1},
    )  # fmt: skip
    for name in ("rdm", "taskonomy_rdm"):
        responses[name].attrs["dissimilarity"] = "1 - Pearson correlation"
    return responses, _searchlights(patterns, roi, mask, stimuli), mask


def _searchlights(patterns, roi, mask, stimuli):
    """RDMs of the published cubes."""
    inside = np.asarray(mask.dataobj) > 0
    corners, sizes = blocks(inside)
    # As published, a cube's voxels outside the mask belong to it; here they hold nothing and are left out.
    within = searchlight_geometry.cubes(inside, corners, sizes)
    batches = searchlight_rdms.of_patterns(patterns, dict.fromkeys(patterns, within))
    rdms = np.concatenate([batch.rdm.astype(np.float32) for batch in batches], axis=1)
    bounds = np.array([_ceilings(own) for own in rdms.swapaxes(0, 1)])
    first, second = pairs(len(stimuli))
    inner = searchlight_geometry.cubes(inside, corners + 1, sizes - 2)
    return xr.Dataset(
        {
            "rdm": (("subject", "searchlight", "pair"), rdms),
            "lower_ceiling": ("searchlight", bounds[:, 0]),
            "upper_ceiling": ("searchlight", bounds[:, 1]),
            "true_roi": ("searchlight", [_most(roi[inner[[i]].indices]) for i in range(len(corners))]),
        },
        coords={
            "subject": list(patterns),
            "axis": list("ijk"),
            "corner": (("searchlight", "axis"), corners),
            "size": (("searchlight", "axis"), sizes),
            "stimulus": ("pair", np.array(stimuli)[first]),
            "stimulus_2": ("pair", np.array(stimuli)[second]),
        },
        attrs={"dissimilarity": "1 - Pearson correlation", "mask": "mask.nii"},
    )


def _ceilings(rdms):
    """Lower and upper bound; NaN where a subject has no RDM."""
    return functional_ceilings.ceilings(rdms) if np.isfinite(rdms).all() else (np.nan, np.nan)


def _part(rng, share):
    """Units (n_stimuli, n_units) with a share of a layer's variance."""
    return np.sqrt(SHARES[share]) * rng.standard_normal((N_STIMULI, N_UNITS)) / np.sqrt(N_UNITS)


def _rdm(patterns):
    """1 - Pearson correlation of rows, exactly symmetric."""
    found = 1 - np.corrcoef(patterns)
    found = (found + found.T) / 2
    np.fill_diagonal(found, 0)
    return found


def _mask(resolution):
    """The back of the average brain that nilearn carries."""
    whole = bundled.load_mni152_brain_mask(resolution=resolution, threshold=0.2)
    inside = np.asarray(whole.dataobj) > 0
    places = np.argwhere(inside) @ whole.affine[:3, :3].T + whole.affine[:3, 3]
    kept = np.zeros(inside.shape, np.float32)
    back = np.argwhere(inside)[(places[:, 1] < -28) & (places[:, 2] < 48)]
    kept[tuple(back.T)] = 1
    return nibabel.Nifti1Image(kept, whole.affine)


def _regions(places):
    """Region of each place: that of the nearest centre within RADIUS_MM."""
    centres = np.array([(side * x, y, z) for x, y, z in CENTRES.values() for side in (1, -1)])
    distance, nearest = spatial.cKDTree(centres).query(places)
    names = np.repeat(list(CENTRES), 2)
    return np.where(distance <= RADIUS_MM, names[nearest], "")


def _most(names):
    """The most frequent name; the first in the alphabet of equally frequent ones."""
    found, count = np.unique(names, return_counts=True)
    return str(found[count.argmax()]) if len(found) else ""
