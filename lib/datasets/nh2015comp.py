"""The six components of human auditory cortex, as responses to 165 natural sounds."""

import pandas as pd
import xarray as xr

from lib import damage, matfiles, naturalsounds
from lib.download import raw
from lib.naturalsounds import SOURCE

LABEL = "NH2015 components"
MODALITY = "audio"
KIND = "component"
PLANTED = False
HOMEPAGE = "https://github.com/snormanhaignere/natsound165-neuron2015"
LICENCE = "none stated by its authors; cite the paper"
CITATION = (
    "Norman-Haignere, Kanwisher & McDermott (2015). Distinct cortical pathways for music and speech revealed "
    "by hypothesis-free voxel decomposition. Neuron 88, 1281-1296. doi:10.1016/j.neuron.2015.11.035"
)
COMPONENTS = {
    "lowfreq": "Low frequency",
    "highfreq": "High frequency",
    "envsounds": "Env. sound",
    "pitch": "Pitch",
    "speech": "Speech",
    "music": "Music",
}
COUNTS = {"stimuli": 165, "voxels": 6, "subjects": None, "rois": 6, "repeats": 1}


def load(_folder):
    """Response profiles of the six components, and the sounds, in ascending order of stimulus number.

    Parameters
    ----------
    _folder : pathlib.Path
        Not used: all stimuli are downloaded ones.

    Returns
    -------
    responses : xarray.Dataset
        `response` (1, 165, 6), arbitrary unit; `train` (10, 165), the published random halves (83 train, 82
        test).
    stimuli : pandas.DataFrame
        stimulus, file, sha256, category (one of 11).

    Raises
    ------
    ValueError
        If the file of components is damaged, or its sounds are not the ones of the other tables.

    References
    ----------
    Norman-Haignere et al. (2015), doi:10.1016/j.neuron.2015.11.035; the halves are those of Tuckute, Feather
    et al. (2023), doi:10.1371/journal.pbio.3002366.
    """
    stimuli = naturalsounds.stimuli()
    train = naturalsounds.splits(stimuli)
    profiles = _profiles(raw(SOURCE + "data/components.mat"))
    profiles = profiles.iloc[naturalsounds.positions(stimuli["stimulus"], profiles.index, "components.mat")]
    response = profiles.to_numpy()[None].astype("float64")
    responses = xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), response, {"units": "arbitrary"}),
            "train": (("split", "stimulus"), train),
        },
        coords={
            "repeat": [0],
            "stimulus": stimuli["stimulus"].tolist(),
            "voxel": list(COMPONENTS),
            "split": range(len(train)),
            "subject": ("voxel", ["group"] * len(COMPONENTS)),
            "roi": ("voxel", list(COMPONENTS)),
            "label": ("voxel", list(COMPONENTS.values())),
        },
    )
    return responses, stimuli


def _profiles(path):
    """Response of each component (columns) to each sound (rows), in the file's own order of sounds."""
    with damage.named(path, "is no file of components"):
        content = matfiles.read(path, ["R", "stim_names", "component_names"])
        names, sounds = (content[f"{part}_names"].ravel().tolist() for part in ("component", "stim"))
        table = pd.DataFrame(content["R"], index=sounds, columns=names, dtype=float)
    if names != list(COMPONENTS):
        raise ValueError(f"{path} holds components {names} instead of {list(COMPONENTS)}")
    return table
