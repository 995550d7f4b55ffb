"""Dissimilarities of 50 indoor scenes in visual cortex, by region and searchlight, and in task-trained networks."""

import logging

import numpy as np
import pandas as pd
import xarray as xr

from lib import archives, scenes, searchlight
from lib.artefacts import digest, home
from lib.download import raw

LABEL = "Bonner 2017 scenes"
MODALITY = "vision"
KIND = "rdm"
PLANTED = False
HOMEPAGE = "https://github.com/cvai-roig-lab/dnn2brain-function"
LICENCE = "none stated by its authors; cite both papers"
CITATION = (
    "Bonner & Epstein (2017). Coding of navigational affordances in the human visual system. PNAS 114, "
    "4793-4798. doi:10.1073/pnas.1618228114; as released with Dwivedi, Bonner, Cichy & Roig (2021). Unveiling "
    "functions of the visual cortex using task-specific deep neural networks. PLoS Computational Biology 17, "
    "e1009267. doi:10.1371/journal.pcbi.1009267"
)
COUNTS = {"stimuli": 50, "voxels": None, "subjects": 16, "rois": 25, "repeats": 1}
PARTS = {
    "photographs": "the 50 photographs, and a second copy of 15 regions' RDMs to check against (size not stated)",
    "searchlight": "RDMs of all searchlights, from the archive that is fetched anyway; about 0.08 MB each",
}
NETWORKS = (
    *("autoencoder", "class_1000", "class_places", "colorization", "curvature", "denoise", "edge2d", "edge3d"),
    *("inpainting_whole", "keypoint2d", "keypoint3d", "reshade", "rgb2depth", "rgb2mist", "rgb2sfnorm"),
    *("segment25d", "segment2d", "segmentsemantic", "random"),
)  # fmt: skip
LAYERS = ("block4", "encoder_output")
LIMIT_BYTES = 200_000_000_000  # of the searchlights' RDMs
ROUNDING = 1e-6  # of the largest dissimilarity


def load(folder, parts=()):
    """RDMs of regions and of networks; on demand the photographs, and searchlights as files in `folder`.

    The files know scenes by their place alone, so "scene01" is the first row of every RDM. That the photographs
    in natural order of their names are these scenes is inferred: Net2Brain compares them so.

    Parameters
    ----------
    folder : pathlib.Path
        Of the download step. With part "searchlight" it receives `mask.nii` and `searchlights.nc` (`rdm`
        (subject, searchlight, pair); lower_ceiling and upper_ceiling per searchlight; first voxel and edges
        of each block), with part "photographs" the photographs.
    parts : iterable of str
        Of PARTS.

    Returns
    -------
    responses : xarray.Dataset
        `rdm` (1, subject, roi, 50, 50); `taskonomy_rdm` (network, layer, 50, 50).
    stimuli : pandas.DataFrame
        stimulus, file, sha256, name (the photograph's file name; "" without part "photographs").

    Raises
    ------
    ValueError
        If files are missing from the archives, damaged, or contradict each other.

    References
    ----------
    Bonner & Epstein (2017); Dwivedi et al. (2021), Methods.
    """
    stimuli = _scenes()
    rdm = _regions()
    attrs = {"stimuli": 'step 01_download fetches them with the parameter parts = "photographs"'}
    if "photographs" in parts:
        stimuli = _photographs(folder / "stimuli")
        attrs = {"not_in_second_copy": ", ".join(_compare(rdm))}
    names = stimuli["stimulus"].tolist()
    responses = xr.Dataset({"rdm": rdm, "taskonomy_rdm": _networks()}, attrs=attrs)
    responses = responses.assign_coords(stimulus=names, stimulus_2=names)
    if "searchlight" in parts:
        _searchlights(folder, responses)
    return responses, stimuli


def _scenes():
    """Table of the scenes without photographs."""
    names = [f"scene{i:02d}" for i in range(1, COUNTS["stimuli"] + 1)]
    return pd.DataFrame({"stimulus": names, "file": "", "sha256": "", "name": ""})


def _regions():
    """RDMs of all regions and subjects."""
    rdms = scenes.regions(scenes.labels())
    n_subjects = len(next(iter(rdms.values())))
    if n_subjects != COUNTS["subjects"]:
        log = logging.getLogger(__name__)
        log.warning("%d subjects; %d were inferred from the paper", n_subjects, COUNTS["subjects"])
    coords = {"repeat": [0], "subject": [f"subject {i + 1}" for i in range(n_subjects)], "roi": list(rdms)}
    dims = ("repeat", "subject", "roi", "stimulus", "stimulus_2")
    # Inferred from the name of the folder.
    attrs = {"dissimilarity": "1 - Pearson correlation"}
    return xr.DataArray(np.stack(list(rdms.values()), axis=1)[None], coords, dims, attrs=attrs)


def _networks():
    """RDMs of the networks trained for 18 tasks, and of a random one."""
    values = [[scenes.network(network, layer) for layer in LAYERS] for network in NETWORKS]
    coords = {"network": list(NETWORKS), "layer": list(LAYERS)}
    dims = ("network", "layer", "stimulus", "stimulus_2")
    # Inferred from the authors' scripts for another set of images.
    attrs = {"dissimilarity": "1 - Pearson correlation of features centred over images"}
    return xr.DataArray(np.array(values), coords, dims, attrs=attrs)


def _photographs(folder):
    """Table of the scenes with their photographs, which are unpacked into a folder."""
    files = scenes.photographs(folder)
    return _scenes().assign(
        file=[file.relative_to(home() / "data").as_posix() for file in files],
        sha256=[digest(file) for file in files],
        name=[file.name for file in files],
    )


def _compare(rdm):
    """Hold the second copy of RDMs against the first; the regions that it lacks."""
    rois = rdm["roi"].values.tolist()
    copies = scenes.copies(rois)
    for roi, theirs in copies.items():
        ours = rdm.sel(roi=roi)[0].values
        if ours.shape != theirs.shape:
            raise ValueError(f"RDMs of {roi} have shape {ours.shape}, in the second copy {theirs.shape}")
        largest = np.abs(ours - theirs).max()
        if not largest <= ROUNDING * np.abs(ours).max():
            raise ValueError(f"RDMs of {roi} differ from their second copy by up to {largest:.2g}")
    return [roi for roi in rois if roi not in copies]


def _searchlights(folder, responses):
    """Write mask.nii and searchlights.nc."""
    corners, sizes = searchlight.blocks(scenes.mask(folder / "mask.nii"))
    names = responses["stimulus"].values
    first, second = searchlight.pairs(len(names))
    about = xr.Dataset(
        {name: ("searchlight", v) for name, v in scenes.ceilings(len(corners)).items()},
        coords={
            "subject": responses["subject"].values,
            "axis": list("ijk"),
            "corner": (("searchlight", "axis"), corners),
            "size": (("searchlight", "axis"), sizes),
            "stimulus": ("pair", names[first]),
            "stimulus_2": ("pair", names[second]),
        },
        attrs={"dissimilarity": responses["rdm"].attrs["dissimilarity"], "mask": "mask.nii"},
    )
    path, member = raw(scenes.ARCHIVE), scenes.member(scenes.SEARCHLIGHTS, "all_sub_slrdms.npy")
    with archives.stream(path, member, limit_bytes=LIMIT_BYTES) as stream:
        try:
            searchlight.store(stream, folder / "searchlights.nc", about)
        except ValueError as error:
            raise ValueError(f"{member} in {path}: {error}") from error
