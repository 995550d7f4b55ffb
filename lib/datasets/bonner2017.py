"""Dissimilarities of 50 indoor scenes in visual cortex, by region and searchlight, and in task-trained networks."""

import io
import logging
import re
import zipfile
from pathlib import PurePosixPath

import nibabel
import numpy as np
import pandas as pd
import xarray as xr

from lib import archives, matfiles, searchlight, unpickle
from lib.artefacts import atomic, digest, home
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
# The authors also keep the archive at https://osf.io/dj7v2; a copy from there can be put in the same place.
ARCHIVE = "https://www.dropbox.com/s/hehc4h8qale0lo9/data.zip?dl=1"
PACKAGE = "https://next.hessenbox.de/index.php/s/y6TPinCm6aQT8dR/download"
NETWORKS = (
    *(
        "autoencoder",
        "class_1000",
        "class_places",
        "colorization",
        "curvature",
        "denoise",
        "edge2d",
        "edge3d",
    ),
    *("inpainting_whole", "keypoint2d", "keypoint3d", "reshade", "rgb2depth", "rgb2mist", "rgb2sfnorm"),
    *("segment25d", "segment2d", "segmentsemantic", "random"),
)
LAYERS = ("block4", "encoder_output")
SEARCHLIGHTS = "sl_rad=1__max_blk_edge=2"
LIMIT_BYTES = 200_000_000_000  # of the searchlights' RDMs
ROUNDING = 1e-6
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
NO_IMAGE = (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError)
FIRST = 3  # offenders a message names


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
    rdm = _regions(_labels())
    attrs = {"stimuli": "ask for part photographs of this target, which fetches them"}
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


def _member(path, *tail):
    """Name of the one member of an archive with that end, below any folder."""
    found = [m for m in _members(path) if PurePosixPath(m).parts[-len(tail) :] == tail]
    if len(found) != 1:
        raise ValueError(f"{path} holds {'/'.join(tail)} {len(found)} times instead of once")
    return found[0]


def _members(path):
    """Members of an archive without what macOS adds."""
    hidden = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$)")
    return [m for m in archives.names(path) if not hidden.search(m)]


def _matrix(path, member, name, shape):
    """A variable of a `.mat` member."""
    with archives.stream(path, member) as stream:
        return np.asarray(matfiles.variable(stream, name, shape=shape), dtype=np.float64)


# Regions


def _labels():
    """Names of the regions as the label file has them, some with a blank at the end."""
    path = raw(ARCHIVE)
    with archives.stream(path, _member(path, "ROIfiles_Labeling.txt")) as stream:
        table = pd.read_csv(io.BytesIO(stream.read()), dtype=str, keep_default_na=False)
    table.columns = table.columns.str.strip()
    if "roi" not in table:
        raise ValueError(f"ROIfiles_Labeling.txt has columns {list(table.columns)}, none of them roi")
    stripped = table["roi"].str.strip()
    if (stripped == "").any() or stripped.duplicated().any():
        raise ValueError(f"ROIfiles_Labeling.txt names regions not or twice: {table['roi'].tolist()}")
    return table["roi"].tolist()


def _regions(labels):
    """RDMs of all regions and subjects."""
    path, n = raw(ARCHIVE), COUNTS["stimuli"]
    files = _region_files(path, labels)
    rdms = {roi: _matrix(path, file, "subject_rdm", (None, n, n)) for roi, file in files.items()}
    subjects = {roi: len(rdm) for roi, rdm in rdms.items()}
    if len(set(subjects.values())) != 1:
        raise ValueError(f"regions have RDMs of different numbers of subjects: {subjects}")
    n_subjects = next(iter(subjects.values()))
    if n_subjects != COUNTS["subjects"]:
        log = logging.getLogger(__name__)
        log.warning("%d subjects; %d were inferred from the paper", n_subjects, COUNTS["subjects"])
    coords = {"repeat": [0], "subject": [f"subject {i + 1}" for i in range(n_subjects)], "roi": list(rdms)}
    dims = ("repeat", "subject", "roi", "stimulus", "stimulus_2")
    # Inferred from the name of the folder, kastner_ROIs_RDMs_pearson.
    attrs = {"dissimilarity": "1 - Pearson correlation"}
    return xr.DataArray(np.stack(list(rdms.values()), axis=1)[None], coords, dims, attrs=attrs)


def _region_files(path, labels):
    """Member by region, regions with stripped names; the raw name is looked up first."""
    folder = "kastner_ROIs_RDMs_pearson"
    there = {PurePosixPath(m).name: m for m in _members(path) if PurePosixPath(m).parent.name == folder}
    found = {label.strip(): there.get(f"{label}.mat", there.get(f"{label.strip()}.mat")) for label in labels}
    lacking = [roi for roi, file in found.items() if file is None]
    if lacking:
        raise ValueError(f"{path} lacks RDMs of regions {lacking} in {folder}, which holds {sorted(there)}")
    return found


def _compare(rdm):
    """Hold the second copy of RDMs against the first; the regions that it lacks."""
    path, rois = raw(PACKAGE), rdm["roi"].values.tolist()
    copies = _copies(path, rois)
    for roi, member in copies.items():
        ours, theirs = rdm.sel(roi=roi)[0].values, _copy(path, member)
        if ours.shape != theirs.shape:
            raise ValueError(f"RDMs of {roi} have shape {ours.shape}, in the second copy {theirs.shape}")
        largest = np.abs(ours - theirs).max()
        if not largest <= ROUNDING * np.abs(ours).max():
            raise ValueError(f"RDMs of {roi} differ from their second copy by up to {largest:.2g}")
    return [roi for roi in rois if roi not in copies]


def _copies(path, rois):
    """Member by region, of the regions in the second copy; a file's name holds that of its region."""
    files = [m for m in _members(path) if re.search(r"(^|/)brain_data/[^/]+\.npz$", m)]
    found, known = {}, {roi.lower(): roi for roi in rois}
    for file in files:
        words = re.split(r"[^a-z0-9]+", PurePosixPath(file).stem.lower())
        named = [known[w] for w in words if w in known]
        if len(named) != 1 or named[0] in found:
            raise ValueError(f"{file} in {path} stands for {named or 'no region'}; regions are {rois}")
        found[named[0]] = file
    if not found:
        raise ValueError(f"{path} holds no RDMs: nothing like brain_data/*.npz")
    return found


def _copy(path, member):
    """RDMs (subject, stimulus, stimulus) of one region in the second copy."""
    with archives.stream(path, member) as stream:
        content = io.BytesIO(stream.read())
    try:
        with np.load(content, allow_pickle=False) as file:
            return np.asarray(file["arr_0"], dtype=np.float64)
    except (ValueError, OSError, KeyError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise ValueError(f"{member} in {path} is damaged, or holds no array arr_0: {error}") from error


# Photographs


def _photographs(folder):
    """Table of the scenes with their photographs, which are unpacked into a folder."""
    path = raw(PACKAGE)
    unpacked = archives.extract(path, folder, pattern="*stimuli_data/*")
    files = [unpacked[m] for m in _members(path) if m in unpacked and m.lower().endswith(PICTURES)]
    files = sorted(files, key=lambda f: _natural(f.name))
    scenes = _scenes()
    if len(files) != len(scenes):
        raise ValueError(f"{path} holds {len(files)} photographs in stimuli_data instead of {len(scenes)}")
    return scenes.assign(
        file=[file.relative_to(home() / "data").as_posix() for file in files],
        sha256=[digest(file) for file in files],
        name=[file.name for file in files],
    )


def _natural(name):
    """Sorting key by which 2 comes before 10."""
    return [int(piece) if piece.isdigit() else piece for piece in re.split(r"(\d+)", name)]


# Networks


def _networks():
    """RDMs of the networks trained for 18 tasks, and of a random one."""
    path, n = raw(ARCHIVE), COUNTS["stimuli"]
    files = [m for m in _members(path) if PurePosixPath(m).parent.name == "RDM_taskonomy_bonner50"]
    values = [
        [_matrix(path, _network_file(files, network, layer), "rdm", (n, n)) for layer in LAYERS]
        for network in NETWORKS
    ]
    coords = {"network": list(NETWORKS), "layer": list(LAYERS)}
    # Inferred from the authors' scripts for another set of images.
    attrs = {"dissimilarity": "1 - Pearson correlation of features centred over images"}
    return xr.DataArray(np.array(values), coords, ("network", "layer", "stimulus", "stimulus_2"), attrs=attrs)


def _network_file(files, network, layer):
    """The one file of a network's layer."""
    names = {m: PurePosixPath(m).name for m in files}
    found = [m for m, name in names.items() if network in name and name.endswith(f"{layer}.mat")]
    if len(found) != 1:
        raise ValueError(f"{len(found)} files instead of one for {network}, {layer}: {found[:FIRST]}")
    return found[0]


# Searchlights


def _searchlights(folder, responses):
    """Write mask.nii and searchlights.nc."""
    path = raw(ARCHIVE)
    corners, sizes = searchlight.blocks(_mask(path, folder / "mask.nii"))
    names = responses["stimulus"].values
    first, second = searchlight.pairs(len(names))
    about = xr.Dataset(
        {name: ("searchlight", v) for name, v in _ceilings(path, len(corners)).items()},
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
    member = _member(path, SEARCHLIGHTS, "all_sub_slrdms.npy")
    with archives.stream(path, member, limit_bytes=LIMIT_BYTES) as stream:
        try:
            searchlight.store(stream, folder / "searchlights.nc", about)
        except ValueError as error:
            raise ValueError(f"{member} in {path}: {error}") from error


def _mask(path, target):
    """The brain mask, (n_i, n_j, n_k), bool; its file is copied to `target`."""
    with archives.stream(path, _member(path, "mask.nii")) as stream, atomic(target) as part:
        part.write_bytes(stream.read())
        try:
            return np.asarray(nibabel.load(part).dataobj) != 0
        except (*NO_IMAGE, ValueError, OSError, EOFError) as error:
            raise ValueError(f"mask.nii in {path} is damaged, or no NIfTI file: {error}") from error


def _ceilings(path, n_searchlights):
    """Lower and upper noise ceiling of each searchlight: mean Spearman correlation over subjects."""
    member = _member(path, SEARCHLIGHTS, "noise_ceiling.pkl")
    with archives.stream(path, member) as stream:
        found = unpickle.load(stream)
    shapes = [np.shape(v) for v in found] if isinstance(found, list | tuple | np.ndarray) else type(found)
    if shapes != [(n_searchlights,)] * 2:
        raise ValueError(
            f"{member} holds {shapes} instead of twice ({n_searchlights},), as mask.nii has blocks"
        )
    lower, upper = (np.asarray(v, dtype=np.float64) for v in found)
    return {"lower_ceiling": lower, "upper_ceiling": upper}
