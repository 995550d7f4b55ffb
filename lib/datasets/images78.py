"""Representational dissimilarities of 78 photographs in early visual and inferior temporal cortex, 15 people."""

from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import xarray as xr

from lib import archives, unpickle
from lib.artefacts import home
from lib.download import raw
from lib.registry import registry

LABEL = "78 images"
MODALITY = "vision"
KIND = "rdm"
PLANTED = False
HOMEPAGE = "https://github.com/cvai-roig-lab/Net2Brain"
LICENCE = (
    "none stated for pictures and RDMs; the repository that carries them: BSD 3-clause text (2021), later MIT"
)
CITATION = (
    "Bersch, Dwivedi, Vilas, Cichy & Roig (2022). Net2Brain: a toolbox to compare artificial vision models "
    "with human brain responses. arXiv:2208.09677. Its documentation names as the source: Cichy, Roig, "
    "Andonian, Dwivedi, Lahner, Lascelles, Mohsenzadeh, Ramakrishnan & Oliva (2019). The Algonauts Project: a "
    "platform for communication between the sciences of biological and artificial intelligence. "
    "arXiv:1905.05675"
)
COUNTS = {"stimuli": 78, "voxels": None, "subjects": 15, "rois": 2, "repeats": None}
SOURCE = (
    "https://raw.githubusercontent.com/cvai-roig-lab/Net2Brain/b59ed47dc88e3c120e43f5726ede126e902843e8/"
    "net2brain/tests/data/"
)
ROIS = ("EVC", "IT")


def load(_folder):
    """RDMs of two regions of 15 people, and the pictures.

    The files of RDMs hold no names. Their rows are taken to be the pictures sorted by file name, which is how
    the toolbox that carries them joins the two; in IT the 16 portraits, the last of them, lie closer together
    than to other pictures, as they would not in another order. The people agree very little: the mean squared
    rank correlation of one with the mean of the others is 0.0068 in EVC and 0.0028 in IT, as the toolbox
    itself records in `noise_ceiling_log.json` beside the RDMs.

    Parameters
    ----------
    _folder : pathlib.Path
        Not used: all stimuli are downloaded ones.

    Returns
    -------
    responses : xarray.Dataset
        `rdm` (1, 15, 2, 78, 78), dissimilarity as released (0 to 0.99).
    stimuli : pandas.DataFrame
        stimulus (`image_01`), file, sha256.

    Raises
    ------
    ValueError
        If a file of RDMs is damaged, or its size is not that of the pictures.

    References
    ----------
    Cichy et al. (2019), arXiv:1905.05675: EVC and IT of 15 people.
    """
    stimuli = _stimuli()
    rdms = np.stack([_rdms(raw(f"{SOURCE}brain_data/fmri_{roi}_RDMs.npz"), len(stimuli)) for roi in ROIS], 1)
    names = stimuli["stimulus"].tolist()
    attrs = {"dissimilarity": "as released; the measure is not stated beside the files"}
    responses = xr.Dataset(
        {"rdm": (("repeat", "subject", "roi", "stimulus", "stimulus_2"), rdms[None], attrs)},
        coords={
            "repeat": [0],
            "subject": [f"subject{number:02d}" for number in range(1, len(rdms) + 1)],
            "roi": list(ROIS),
            "stimulus": names,
            "stimulus_2": names,
        },
    )
    return responses, stimuli


def _stimuli():
    """Table of the pictures, sorted by file name."""
    files = registry("images78").query("url.str.endswith('.jpg')").sort_values("url")
    return pd.DataFrame(
        {
            "stimulus": [PurePosixPath(url).stem for url in files["url"]],
            "file": [raw(url).relative_to(home() / "data").as_posix() for url in files["url"]],
            "sha256": files["sha256"].tolist(),
        }
    )


def _rdms(path, n_stimuli):
    """RDMs (subject, stimulus, stimulus) of one region."""
    with archives.stream(path, "arr_0.npy") as stream:
        rdms = unpickle.npy(stream)
    if rdms.dtype.kind not in "fiu" or rdms.ndim != 3 or rdms.shape[1:] != (n_stimuli, n_stimuli):
        raise ValueError(
            f"{path} has RDMs of {rdms.dtype}, of shape {rdms.shape}; (subjects, {n_stimuli}, {n_stimuli}), numbers, "
            f"is right for the {n_stimuli} pictures"
        )
    return rdms.astype("float64")
