"""RSA of sounds as Tuckute et al. (2023) published it: their order of sounds, their splits, their error bars."""

import numpy as np
import xarray as xr

from lib import layers
from lib.plugins import first

# Order of the published figures, and of the sounds that the splits index.
CATEGORIES = (
    *("Music", "Song", "EngSpeech", "ForSpeech", "HumVoc", "AniVoc", "HumNonVoc", "AniNonVoc", "Nature"),
    *("Mechanical", "EnvSound"),
)


def by_category(stimuli):
    """Identifiers of sounds ordered by category, within a category as they were.

    Parameters
    ----------
    stimuli : pandas.DataFrame
        Columns stimulus and category, one of `CATEGORIES`.

    Returns
    -------
    array of str (n_stimuli,)

    Raises
    ------
    ValueError
        If there is no category, or another one.
    """
    if "category" not in stimuli:
        raise ValueError("the published order of sounds needs a column `category` of the stimuli")
    odd = stimuli["stimulus"][~stimuli["category"].isin(CATEGORIES)]
    if len(odd):
        raise ValueError(f"categories of {first(odd)} are not among the published ones: {CATEGORIES}")
    place = stimuli["category"].map(CATEGORIES.index)
    return stimuli["stimulus"].to_numpy(str)[np.argsort(place, kind="stable")]


def splits(train, stimuli):
    """The published splits: those of the regression, laid over sounds in another order.

    The masks are the same and the sounds were re-ordered by category before, so that other sounds train than in
    the regression. Otherwise no different from the data set's own splits, which are the default.

    Parameters
    ----------
    train : xarray.DataArray (split, stimulus)
        Of the data set.
    stimuli : pandas.DataFrame
        Columns stimulus and category, rows in the order of `train`.

    Returns
    -------
    xarray.DataArray (split, stimulus)
        The same values, with the sounds' identifiers in the order of categories.

    Raises
    ------
    ValueError
        If rows are in another order than `train`, or a category is missing or unknown.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, and its public code.
    """
    if train["stimulus"].values.tolist() != stimuli["stimulus"].tolist():
        raise ValueError("the table of stimuli is in another order than the splits")
    return train.assign_coords(stimulus=by_category(stimuli))


def error_bars(values, *, published=None):
    """Standard error of models' mean over participants, without what participants have in common.

    Each participant's mean over models is removed, then the standard deviation (ddof 0) over n participants divided
    by √(n - 1); see `lib.layers.within_subject_sem`. Published: by the root of the number of *models* less one,
    which makes bars too small where there are more models than participants.

    Parameters
    ----------
    values : xarray.DataArray (model, subject)
        All models of the figure.
    published : {"tuckute2023"}, optional

    Returns
    -------
    xarray.DataArray (model,)
        NaN for a single model or participant.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, figure 2, and its public code.
    """
    if values.sizes["model"] < 2 or values.sizes["subject"] < 2:
        return xr.full_like(values.isel(subject=0, drop=True), np.nan)
    if published:
        centred = values - values.mean("model")
        return centred.std("subject") / np.sqrt(values.sizes["model"] - 1)
    return layers.within_subject_sem(values, "model")


def positions(similarities):
    """Relative position of each participant's best layer over all sounds, 0 the first and 1 the last.

    Chosen and read on the same sounds, which flatters a similarity but not a position.

    Parameters
    ----------
    similarities : xarray.DataArray (layer, subject, …)
        Over all sounds.

    Returns
    -------
    xarray.DataArray (subject, …)
        NaN where no layer is defined, or there is one layer.
    """
    n_layers = similarities.sizes["layer"]
    best = similarities.fillna(-np.inf).argmax("layer").where(similarities.notnull().any("layer"))
    return best / (n_layers - 1 if n_layers > 1 else np.nan)


def position_table(scores):
    """Relative positions of best layers, as rows.

    Parameters
    ----------
    scores : pandas.DataFrame
        layer (in the model's order), subject, roi, value: one similarity over all sounds each.

    Returns
    -------
    pandas.DataFrame
        subject, part (region), position: of `positions`, without those that are not defined.
    """
    order = [list(dict.fromkeys(scores[name])) for name in ("layer", "subject", "roi")]
    cube = scores.set_index(["layer", "subject", "roi"])["value"].to_xarray()
    cube = cube.sel(dict(zip(cube.dims, order, strict=True)))
    found = positions(cube).rename(roi="part").to_series().dropna()
    return found.rename("position").reset_index()
