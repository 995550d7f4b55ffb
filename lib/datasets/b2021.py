"""Voxels of auditory cortex of twenty people, musicians and not, responding three times to natural sounds."""

import numpy as np

from lib import soundarchive, soundvoxels

LABEL = "B2021 voxels"
MODALITY = "audio"
KIND = "voxel"
PLANTED = False
HOMEPAGE = "https://github.com/gretatuckute/auditory_brain_dnn"
LICENCE = "none stated by its authors; cite both papers"
CITATION = (
    "Boebinger, Norman-Haignere, McDermott & Kanwisher (2021). Music-selective neural populations arise "
    "without musical training. Journal of Neurophysiology 125, 2237-2263. doi:10.1152/jn.00588.2020; as "
    "released with Tuckute, Feather, Boebinger & McDermott (2023). PLoS Biology 21, e3002366. "
    "doi:10.1371/journal.pbio.3002366"
)
COUNTS = {"stimuli": 165, "voxels": 26792, "subjects": 20, "rois": 4, "repeats": 3}
SHARES = ("nh2015comp",)


def load(_folder):
    """Responses to the 165 sounds that the older experiment used too, by ascending stimulus number.

    Parameters
    ----------
    _folder : pathlib.Path
        Not used: all stimuli are downloaded ones.

    Returns
    -------
    responses : xarray.Dataset
        `response` (3, 165, 26792), arbitrary unit; `train` (10, 165), the published halves. `roi` is the
        anatomical one: Primary, Anterior, Lateral, Posterior or "".
    stimuli : pandas.DataFrame
        stimulus, file, sha256, category.

    Raises
    ------
    ValueError
        If the files are damaged, or do not fit each other or the published counts.

    References
    ----------
    Boebinger et al. (2021); Tuckute, Feather et al. (2023), Methods, "fMRI data".
    """
    names = _common(soundarchive.sounds()[0])
    voxel_ids = soundarchive.array("B2021/voxel_features_meta.npy").ravel().astype(int)
    Y = soundarchive.array("B2021/voxel_features_array.npy")
    wanted = (len(names), len(voxel_ids), soundvoxels.REPEATS)
    if Y.shape != wanted:
        raise ValueError(f"B2021/voxel_features_array.npy has shape {Y.shape} instead of {wanted}")
    voxels = soundvoxels.rows(soundarchive.table("B2021/df_roi_meta.pkl"), voxel_ids, "df_roi_meta")
    _check_counts(voxels)
    Y = np.moveaxis(Y, 2, 0)
    soundvoxels.check_reliability(Y, voxels, squared=True)
    n = COUNTS["stimuli"]
    return soundvoxels.responses(Y[:, :n], names[:n], voxels)


def _common(common):
    """Identifiers of all sounds of this experiment; they begin with the common ones."""
    names = soundarchive.cells("B2021/stim_info_v4.mat", "stim_info", "stim_names")
    odd = [f"{a} for {b}" for a, b in zip(names, common, strict=False) if a != b]
    if odd or len(names) < len(common):
        raise ValueError(f"stim_info_v4.mat does not begin with the {len(common)} common sounds: {odd[:3]}")
    return names


def _check_counts(voxels):
    """Raise unless there are as many voxels and subjects as published."""
    found = {"voxels": len(voxels), "subjects": voxels["subj_idx"].nunique()}
    if any(COUNTS[what] != n for what, n in found.items()):
        raise ValueError(f"{found} instead of the published {COUNTS}")
