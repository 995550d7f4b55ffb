"""Responses of single voxels to the 165 natural sounds, held to their table, and in the order of the sounds."""

import warnings

import numpy as np
import pandas as pd
import xarray as xr

from lib import naturalsounds
from lib.reliability import single_repeat_reliability
from lib.soundarchive import text

HEMISPHERES = {"rh": "right", "lh": "left"}
SPACE = "flattened surface, 2 mm grid"
ROUNDING = 1e-4  # of a correlation of responses that were stored in single precision, amply
FIRST = 3  # offenders a message names
REPEATS = 3


def rows(found, voxel_ids, what):
    """Rows of a table of voxels, in the order of some voxels.

    Parameters
    ----------
    found : pandas.DataFrame
        As `lib.soundarchive.table` gives it.
    voxel_ids : array_like of int, (n_voxels,)
    what : str
        What the table is, for the message.

    Returns
    -------
    pandas.DataFrame
        `hemi` is text, also where bytes are stored.

    Raises
    ------
    ValueError
        If the table lacks one of the voxels, or has others.
    """
    odd = sorted(set(found.index) ^ set(np.asarray(voxel_ids).tolist()))
    if odd or len(found) != len(voxel_ids):
        raise ValueError(f"voxels of the responses and of {what} differ: {odd[:FIRST]} ({len(odd)} in all)")
    ordered = found.loc[list(voxel_ids)]
    return ordered.assign(hemi=[text(h) for h in ordered["hemi"]])


def check_counts(subjects, expected):
    """Raise unless each subject has as many voxels as published.

    Parameters
    ----------
    subjects : iterable of int, (n_voxels,)
        Subject of each voxel.
    expected : dict
        Number of voxels by subject.

    Raises
    ------
    ValueError
        If there are other subjects, or one has another number of voxels; the message names the first.
    """
    found = pd.Series(list(subjects)).value_counts().to_dict()
    odd = [s for s in sorted({*found, *expected}) if found.get(s, 0) != expected.get(s, 0)]
    if odd:
        named = ", ".join(f"{s} ({found.get(s, 0)}, not {expected.get(s, 0)})" for s in odd[:FIRST])
        raise ValueError(f"voxels per subject are not the published ones: subject {named}")


def projection_reliability(Y, *, squared=False):
    """Share of the first two repeats' mean that the third repeat explains, per voxel.

    With v the mean of repeats 1 and 2, and p its projection on repeat 3: 1 - |v - p| / |v|, not centred.

    Parameters
    ----------
    Y : array_like, (3, n_stimuli, n_voxels)
    squared : bool
        Take squared norms instead: 1 - |v - p|² / |v|².

    Returns
    -------
    numpy.ndarray, (n_voxels,)
        At most 1; NaN where a repeat is 0 throughout.

    References
    ----------
    Norman-Haignere et al. (2015), doi:10.1016/j.neuron.2015.11.035 (not squared); Boebinger et al. (2021),
    doi:10.1152/jn.00588.2020 (squared).
    """
    first, second, third = np.asarray(Y, dtype=float)
    v = (first + second) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        p = (third * v).sum(0) / (third**2).sum(0) * third
        share = np.linalg.norm(v - p, axis=0) / np.linalg.norm(v, axis=0)
    return 1 - share ** (2 if squared else 1)


def check_reliability(Y, voxels, *, squared):
    """Hold responses to the reliabilities that the table of voxels states, where it does.

    The correlation between repeats is the proof that rows of the table and columns of the array belong
    together, so one that differs is an error. The share explained by projection was worked out elsewhere for
    one of the data sets, so one that differs is only told.

    Parameters
    ----------
    Y : array_like, (3, n_stimuli, n_voxels)
        All sounds that were presented, also those that are not used further.
    voxels : pandas.DataFrame
        Perhaps with columns pearson_r_reliability and kell_r_reliability.
    squared : bool
        As for `projection_reliability`.

    Raises
    ------
    ValueError
        If a correlation differs.
    """
    if "pearson_r_reliability" in voxels:
        told = _differing(single_repeat_reliability(Y), voxels["pearson_r_reliability"])
        if told:
            raise ValueError(f"responses do not have the stated correlation between repeats: {told}")
    if "kell_r_reliability" in voxels:
        told = _differing(projection_reliability(Y, squared=squared), voxels["kell_r_reliability"])
        if told:
            warnings.warn(f"stated shares explained by projection differ: {told}", stacklevel=2)


def check_categories(names, categories, stimuli):
    """Tell where categories of sounds are others than in the table of sounds.

    Parameters
    ----------
    names, categories : list of str
        As stored with the responses.
    stimuli : pandas.DataFrame
        stimulus, category: the table that holds.
    """
    ours = stimuli.set_index("stimulus")["category"].reindex(names)
    odd = [f"{n} ({c}, not {o})" for n, c, o in zip(names, categories, ours, strict=True) if c != o]
    if odd:
        told = f"{len(odd)} of {len(names)} sounds: {', '.join(odd[:FIRST])}"
        warnings.warn(
            f"categories stored with the responses are not those of the sounds: {told}", stacklevel=2
        )


def _differing(ours, stated):
    """Which voxels differ from what is stated: "" if none."""
    stated_values = stated.to_numpy(dtype=float)
    odd = np.flatnonzero(~np.isclose(ours, stated_values, rtol=0, atol=ROUNDING, equal_nan=True))
    named = ", ".join(f"{stated.index[i]} ({ours[i]:.4f}, not {stated_values[i]:.4f})" for i in odd[:FIRST])
    return named and f"{len(odd)} of {len(ours)} voxels: {named}"


def responses(Y, names, voxels):
    """Responses in the order of the table of sounds, and that table.

    Parameters
    ----------
    Y : array_like, (3, n_sounds, n_voxels)
        Arbitrary unit.
    names : list of str, (n_sounds,)
        Identifiers of the sounds of Y.
    voxels : pandas.DataFrame
        Index voxel identifier; columns subj_idx, hemi ("rh", "lh"), x_ras, y_ras (mm), roi_label_general and
        roi_label_specific (NaN for none).

    Returns
    -------
    responses : xarray.Dataset
        `response` (3, 165, n_voxels) and `train` (10, 165); per voxel subject, roi, roi_specific, hemisphere,
        x and y.
    stimuli : pandas.DataFrame
        stimulus, file, sha256, category.

    Raises
    ------
    ValueError
        If the sounds are not the 165, or a hemisphere is neither.
    """
    stimuli = naturalsounds.stimuli()
    places = naturalsounds.positions(stimuli["stimulus"], names, "the responses of voxels")
    odd = sorted(set(voxels["hemi"]) - set(HEMISPHERES))
    if odd:
        raise ValueError(f"hemispheres {odd[:FIRST]} instead of {list(HEMISPHERES)}")
    train = naturalsounds.splits(stimuli)
    values = np.asarray(Y, dtype=np.float64)[:, places]
    found = xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), values, {"units": "arbitrary"}),
            "train": (("split", "stimulus"), train),
        },
        coords={
            "repeat": range(len(values)),
            "stimulus": stimuli["stimulus"].tolist(),
            "voxel": [str(v) for v in voxels.index],
            "split": range(len(train)),
            **_places(voxels),
        },
    )
    return found, stimuli


def _places(voxels):
    """Where each voxel lies."""
    mm = {"units": "mm", "space": SPACE}
    label = {
        "subject": [f"subject {s}" for s in voxels["subj_idx"]],
        "hemisphere": [HEMISPHERES[h] for h in voxels["hemi"]],
        "roi": [text(r) if pd.notna(r) else "" for r in voxels["roi_label_general"]],
        "roi_specific": [text(r) if pd.notna(r) else "" for r in voxels["roi_label_specific"]],
    }
    place = {axis: ("voxel", voxels[f"{axis}_ras"].to_numpy(dtype=np.float64), mm) for axis in ("x", "y")}
    return {name: ("voxel", values) for name, values in label.items()} | place
