"""The two archives with RDMs of 50 indoor scenes, read in place: that of the authors, and Net2Brain's."""

import glob
import io
import re
import tempfile
from pathlib import PurePosixPath

import nibabel
import numpy as np
import pandas as pd

from lib import archives, damage, matfiles, unpickle
from lib.artefacts import atomic
from lib.download import raw

# The authors also keep the archive at https://osf.io/dj7v2; a copy from there can be put in the same place.
ARCHIVE = "https://www.dropbox.com/s/hehc4h8qale0lo9/data.zip?dl=1"
PACKAGE = "https://next.hessenbox.de/index.php/s/y6TPinCm6aQT8dR/download"
N_SCENES = 50
REGIONS = "kastner_ROIs_RDMs_pearson"
NETWORKS = "RDM_taskonomy_bonner50"
SEARCHLIGHTS = "sl_rad=1__max_blk_edge=2"
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
HIDDEN = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$)")  # what macOS adds
FIRST = 3  # offenders a message names


def labels():
    """Names of the regions in the label file's order, exactly as there: some end with a blank.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If the file has no column `roi`, or a region has no name or that of another.
    """
    path = raw(ARCHIVE)
    with archives.stream(path, member("ROIfiles_Labeling.txt")) as stream:
        table = pd.read_csv(io.BytesIO(stream.read()), dtype=str, keep_default_na=False)
    table.columns = table.columns.str.strip()
    if "roi" not in table:
        raise ValueError(f"ROIfiles_Labeling.txt has columns {list(table.columns)}, none of them roi")
    stripped = table["roi"].str.strip()
    if (stripped == "").any() or stripped.duplicated().any():
        raise ValueError(f"ROIfiles_Labeling.txt names regions not or twice: {table['roi'].tolist()}")
    return table["roi"].tolist()


def regions(names):
    """RDMs of regions.

    Parameters
    ----------
    names : list of str
        As `labels` gives them; each is looked up as it is first, then without blanks around.

    Returns
    -------
    dict
        (n_subjects, 50, 50) by region, without blanks.

    Raises
    ------
    ValueError
        If regions have no file, or RDMs are not over 50 scenes, or not of the same number of subjects.
    """
    there = {PurePosixPath(m).name: m for m in _members(ARCHIVE) if PurePosixPath(m).parent.name == REGIONS}
    files = {name.strip(): there.get(f"{name}.mat", there.get(f"{name.strip()}.mat")) for name in names}
    lacking = [roi for roi, file in files.items() if file is None]
    if lacking:
        raise ValueError(
            f"{raw(ARCHIVE)} lacks RDMs of regions {lacking} in {REGIONS}, which holds {sorted(there)}"
        )
    found = {roi: _matrix(file, "subject_rdm", (None, N_SCENES, N_SCENES)) for roi, file in files.items()}
    subjects = {roi: len(rdm) for roi, rdm in found.items()}
    if len(set(subjects.values())) != 1:
        raise ValueError(f"regions have RDMs of different numbers of subjects: {subjects}")
    return found


def network(name, layer):
    """RDM of a layer of a network.

    Parameters
    ----------
    name, layer : str
        The one file whose name holds the first and ends with the second (and `.mat`) is taken.

    Returns
    -------
    numpy.ndarray, (50, 50)

    Raises
    ------
    ValueError
        If there is not exactly one such file.
    """
    files = [PurePosixPath(m) for m in _members(ARCHIVE) if PurePosixPath(m).parent.name == NETWORKS]
    found = [str(f) for f in files if name in f.name and f.name.endswith(f"{layer}.mat")]
    if len(found) != 1:
        raise ValueError(f"{len(found)} files instead of one for {name}, {layer}: {found[:FIRST]}")
    return _matrix(found[0], "rdm", (N_SCENES, N_SCENES))


def mask(target):
    """The brain mask, whose file is copied.

    Parameters
    ----------
    target : pathlib.Path
        Of the copy, ends in `.nii`.

    Returns
    -------
    numpy.ndarray, (n_i, n_j, n_k), bool

    Raises
    ------
    ValueError
        If the file is damaged, or no NIfTI file.
    """
    path = raw(ARCHIVE)
    with archives.stream(path, member("mask.nii")) as stream, atomic(target) as part:
        part.write_bytes(stream.read())
        with damage.named(f"mask.nii in {path}", "is damaged, or no NIfTI file"):
            values = np.asarray(nibabel.load(part).dataobj)
            if values.ndim != 3 or values.dtype.kind not in "biuf":
                raise ValueError(
                    f"it holds {values.dtype} {values.shape} instead of numbers along three axes"
                )
    return values != 0


def ceilings(n_searchlights):
    """Noise ceilings of the searchlights: mean Spearman correlation of each subject's RDM with the mean RDM.

    Parameters
    ----------
    n_searchlights : int
        As many as the mask has blocks.

    Returns
    -------
    dict
        lower_ceiling (mean of the other subjects) and upper_ceiling (of all), (n_searchlights,) each.

    Raises
    ------
    ValueError
        If there are not two of so many values.
    """
    name = member(SEARCHLIGHTS, "noise_ceiling.pkl")
    with archives.stream(raw(ARCHIVE), name) as stream, damage.named(stream):
        found = unpickle.load(stream)
        shapes = [np.shape(v) for v in found] if isinstance(found, list | tuple | np.ndarray) else type(found)
        if shapes != [(n_searchlights,)] * 2:
            raise ValueError(
                f"{stream.name} holds {shapes} instead of twice ({n_searchlights},), as mask.nii has blocks"
            )
        lower, upper = (np.asarray(v, dtype=np.float64) for v in found)
    return {"lower_ceiling": lower, "upper_ceiling": upper}


def copies(rois):
    """Net2Brain's copy of the RDMs of some regions.

    Parameters
    ----------
    rois : list of str
        Regions, without blanks; a file's name holds that of its region as a word, in capitals or not.

    Returns
    -------
    dict
        (n_subjects, 50, 50) by region, of those that are there.

    Raises
    ------
    ValueError
        If there is none, a file is damaged, or stands for no region or one that another stands for.
    """
    known, found = {roi.lower(): roi for roi in rois}, {}
    for file in (m for m in _members(PACKAGE) if re.search(r"(^|/)brain_data/[^/]+\.npz$", m)):
        words = re.split(r"[^a-z0-9]+", PurePosixPath(file).stem.lower())
        named = [known[w] for w in words if w in known]
        if len(named) != 1 or named[0] in found:
            raise ValueError(
                f"{file} in {raw(PACKAGE)} stands for {named or 'no region'}; regions are {rois}"
            )
        found[named[0]] = _packed(file)
    if not found:
        raise ValueError(f"{raw(PACKAGE)} holds no RDMs: nothing like brain_data/*.npz")
    return found


def photographs(folder):
    """Photographs of the scenes, unpacked.

    Parameters
    ----------
    folder : pathlib.Path

    Returns
    -------
    list of pathlib.Path
        In natural order of their names (2 before 10).

    Raises
    ------
    ValueError
        If there are not 50.
    """
    unpacked = archives.extract(raw(PACKAGE), folder, pattern="*stimuli_data/*")
    found = [unpacked[m] for m in _members(PACKAGE) if m in unpacked and m.lower().endswith(PICTURES)]
    if len(found) != N_SCENES:
        raise ValueError(
            f"{raw(PACKAGE)} holds {len(found)} photographs in stimuli_data instead of {N_SCENES}"
        )
    return sorted(found, key=lambda f: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", f.name)])


def member(*tail):
    """Name of the one member of the authors' archive with that end, below any folder.

    Parameters
    ----------
    *tail : str
        Last parts of its path.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If there is none, or more than one.
    """
    found = [m for m in _members(ARCHIVE) if PurePosixPath(m).parts[-len(tail) :] == tail]
    if len(found) != 1:
        raise ValueError(f"{raw(ARCHIVE)} holds {'/'.join(tail)} {len(found)} times instead of once")
    return found[0]


def _members(url):
    return [m for m in archives.names(raw(url)) if not HIDDEN.search(m)]


def _matrix(file, name, shape):
    """A variable of a `.mat` member of the authors' archive."""
    with archives.stream(raw(ARCHIVE), file) as stream:
        return np.asarray(matfiles.variable(stream, name, shape=shape), dtype=np.float64)


def _packed(file):
    """The array of a `.npz` member of Net2Brain's archive."""
    where = f"{file} in {raw(PACKAGE)}"
    with tempfile.TemporaryDirectory() as folder, damage.named(where, "is damaged, or holds no array arr_0"):
        inner = archives.extract(raw(PACKAGE), folder, pattern=glob.escape(file))[file]
        with archives.stream(inner, "arr_0.npy") as stream:
            values = unpickle.npy(stream)
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{where} holds {values.dtype} {values.shape} instead of RDMs")
    return values.astype(np.float64)
