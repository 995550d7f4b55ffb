"""A planted auditory cortex: four regions that read out four layers of a network, for synthesised sounds."""

from lib import models, planted, synthesis

LABEL = "Planted audio"
MODALITY = "audio"
KIND = "voxel"
PLANTED = True
HOMEPAGE = ""
LICENCE = "MIT"
CITATION = "made by this compendium"
COUNTS = {"stimuli": 165, "voxels": 432, "subjects": 4, "rois": 4, "repeats": 3}
MODEL = "crepe_tiny"
ROIS = {"P1": "conv1", "P2": "conv2", "P3": "conv3", "P4": "pitch"}
DESIGN = {
    "n_subjects": 4, "n_repeats": 3, "n_voxels": 3, "shares": (0.8, 0.9, 1.0), "explainable": (0.4, 0.6, 0.8),
}  # fmt: skip
# Heschl's gyrus, then lateral, anterior and posterior of it on the superior temporal gyrus; left hemisphere, mm.
CENTRES = {"P1": (-43, -23, 8), "P2": (-60, -14, 2), "P3": (-55, 6, -10), "P4": (-62, -40, 10)}
SEED = 20260102


def load(folder):
    """Responses with the truth about them, and the sounds, which are written into `folder`.

    Parameters
    ----------
    folder : pathlib.Path
        Of the download step.

    Returns
    -------
    responses : xarray.Dataset
        See `lib.planted.target` and `lib.planted.placed`.
    stimuli : pandas.DataFrame
        stimulus, file, sha256, category.
    """
    stimuli = synthesis.write_sounds(folder / "stimuli", n_per_category=33, seed=SEED)
    responses = planted.target(models.load(MODEL), stimuli, rois=ROIS, design=DESIGN, seed=SEED)
    return planted.placed(responses, CENTRES), stimuli
