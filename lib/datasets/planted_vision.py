"""A planted visual cortex: four regions that read out four stages of a network, for crops of photographs."""

from lib import models, photographs, planted

LABEL = "Planted vision"
MODALITY = "vision"
KIND = "voxel"
PLANTED = True
HOMEPAGE = ""
LICENCE = (
    "MIT for the responses; photographs carried by scikit-image (public domain or CC0) and by scikit-learn "
    "(china.jpg by danielbuechele, flower.jpg by vultilion, both CC BY 2.0)"
)
CITATION = "made by this compendium"
COUNTS = {"stimuli": 256, "voxels": 432, "subjects": 4, "rois": 4, "repeats": 3}
MODEL = "efficientnet_lite0"
ROIS = {"P1": "stage2", "P2": "stage4", "P3": "stage6", "P4": "pool"}
DESIGN = {
    "n_subjects": 4, "n_repeats": 3, "n_voxels": 3, "shares": (0.8, 0.9, 1.0), "explainable": (0.4, 0.6, 0.8),
}  # fmt: skip
# From the calcarine sulcus along the ventral surface to the fusiform gyrus; left hemisphere, mm.
CENTRES = {"P1": (-8, -92, 0), "P2": (-18, -80, -11), "P3": (-29, -70, -12), "P4": (-38, -52, -18)}
SEED = 20260101


def load(folder):
    """Responses with the truth about them, and the pictures, which are written into `folder`.

    Parameters
    ----------
    folder : pathlib.Path
        Of the download step.

    Returns
    -------
    responses : xarray.Dataset
        See `lib.planted.target` and `lib.planted.placed`; crops of one photograph stay on one side of a split.
    stimuli : pandas.DataFrame
        stimulus, file, sha256, group (the photograph).
    """
    stimuli = photographs.write_crops(folder / "stimuli", n_per_photograph=16, seed=SEED)
    responses = planted.target(models.load(MODEL), stimuli, rois=ROIS, design=DESIGN, seed=SEED)
    return planted.placed(responses, CENTRES), stimuli
