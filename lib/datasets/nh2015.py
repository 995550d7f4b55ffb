"""Voxels of auditory cortex of eight people, responding three times to 165 natural sounds."""

import numpy as np
import pandas as pd

from lib import soundarchive, soundvoxels

LABEL = "NH2015 voxels"
MODALITY = "audio"
KIND = "voxel"
PLANTED = False
HOMEPAGE = "https://github.com/gretatuckute/auditory_brain_dnn"
LICENCE = "none stated by its authors; cite both papers"
CITATION = (
    "Norman-Haignere, Kanwisher & McDermott (2015). Distinct cortical pathways for music and speech revealed "
    "by hypothesis-free voxel decomposition. Neuron 88, 1281-1296. doi:10.1016/j.neuron.2015.11.035; as "
    "released with Tuckute, Feather, Boebinger & McDermott (2023). PLoS Biology 21, e3002366. "
    "doi:10.1371/journal.pbio.3002366"
)
COUNTS = {"stimuli": 165, "voxels": 7694, "subjects": 8, "rois": 4, "repeats": 3}
SHARES = ("nh2015comp",)
# Voxels by subject, of those that were scanned three times.
SUBJECTS = {0: 1153, 1: 1221, 2: 1077, 3: 911, 5: 780, 6: 858, 7: 637, 9: 1057}
# Voxels by functional region; a voxel can be in several.
REGIONS = {"tonotopic": 379, "pitch": 379, "music": 393, "speech": 379}


def load(_folder):
    """Responses of the voxels that were scanned three times, and the sounds, by ascending stimulus number.

    Parameters
    ----------
    _folder : pathlib.Path
        Not used: all stimuli are downloaded ones.

    Returns
    -------
    responses : xarray.Dataset
        `response` (3, 165, 7694), arbitrary unit; `train` (10, 165), the published halves; `in_roi` (4, 7694)
        the functional regions, which overlap. `roi` is the anatomical one: Primary, Anterior, Lateral,
        Posterior or "".
    stimuli : pandas.DataFrame
        stimulus, file, sha256, category.

    Raises
    ------
    ValueError
        If the files are damaged, or do not fit each other or the published counts.

    References
    ----------
    Norman-Haignere et al. (2015); Tuckute, Feather et al. (2023), Methods, "fMRI data".
    """
    names, categories = soundarchive.sounds()
    Y = soundarchive.array("NH2015/voxel_features_array.npy")
    meta = _meta(Y, n_sounds=len(names))
    kept = np.flatnonzero(meta["n_reps"] == soundvoxels.REPEATS)
    meta, Y = meta.iloc[kept], np.moveaxis(Y[:, kept], 2, 0)
    soundvoxels.check_counts(meta["subj_idx"], SUBJECTS)
    voxels = soundvoxels.rows(soundarchive.table("NH2015/df_roi_meta.pkl"), meta["voxel_id"], "df_roi_meta")
    _check_same(meta, voxels)
    soundvoxels.check_reliability(Y, voxels, squared=False)
    responses, stimuli = soundvoxels.responses(Y, names, voxels)
    soundvoxels.check_categories(names, categories, stimuli)
    responses["in_roi"] = (("region", "voxel"), _regions(voxels))
    return responses.assign_coords(region=list(REGIONS)), stimuli


def _meta(Y, *, n_sounds):
    """What is known of each column of the array of responses."""
    meta = pd.DataFrame(soundarchive.array("NH2015/voxel_features_meta.npy"))
    wanted = (n_sounds, len(meta), soundvoxels.REPEATS)
    if Y.shape != wanted:
        raise ValueError(f"NH2015/voxel_features_array.npy has shape {Y.shape} instead of {wanted}")
    return meta.assign(hemi=[soundarchive.text(h) for h in meta["hemi"]])


def _check_same(meta, voxels):
    """Raise where the two tables of voxels, already in one order, contradict each other."""
    for column in ("subj_idx", "hemi", "x_ras", "y_ras"):
        odd = voxels.index[meta[column].to_numpy() != voxels[column].to_numpy()]
        if len(odd):
            raise ValueError(
                f"{column} in df_roi_meta is not that of voxel_features_meta: {odd[:3].tolist()}"
            )


def _regions(voxels):
    """Which voxel is in which functional region, (n_regions, n_voxels)."""
    inside = (voxels[list(REGIONS)].to_numpy(dtype=float) == 1).T
    found = dict(zip(REGIONS, inside.sum(1).tolist(), strict=True))
    if found != REGIONS:
        raise ValueError(f"functional regions have {found} voxels instead of {REGIONS}")
    return inside
