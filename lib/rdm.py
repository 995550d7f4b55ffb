"""Representational dissimilarity matrices: square, labelled by stimulus on both axes, joined by these labels."""

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from lib.plugins import first
from lib.searchlight import pairs

PAIR = ("stimulus", "stimulus_2")


def labelled(values, stimuli, **attributes):
    """Matrices with the identifiers of their stimuli on both axes.

    Parameters
    ----------
    values : array (…, n_stimuli, n_stimuli)
        At most one more axis in front, which is named `split`.
    stimuli : sequence of str (n_stimuli,)
    **attributes
        Kept beside `n_constant_stimuli`, the number of stimuli without any dissimilarity.

    Returns
    -------
    xarray.DataArray (…, stimulus, stimulus_2)

    Raises
    ------
    ValueError
        If an identifier repeats.
    """
    stimuli = identifiers(stimuli)
    dims = ("split", *PAIR)[-values.ndim :]
    lost = np.isnan(values).sum(axis=-1) >= len(stimuli) - 1
    attributes["n_constant_stimuli"] = int(lost.sum(axis=-1).max())
    return xr.DataArray(values, dims=dims, coords=dict.fromkeys(PAIR, stimuli), attrs=attributes)


def matched(rdm, stimuli):
    """The RDM of the stimuli named, in the order named: joined by identifier, on both axes.

    Parameters
    ----------
    rdm : xarray.DataArray (…, stimulus, stimulus_2)
    stimuli : sequence of str
        Each once.

    Returns
    -------
    xarray.DataArray (…, stimulus, stimulus_2)

    Raises
    ------
    ValueError
        If a stimulus is missing from an axis or occurs twice; the first are named.
    """
    stimuli = identifiers(stimuli)
    for axis in PAIR:
        there = identifiers(rdm[axis].values)
        missing = np.setdiff1d(stimuli, there)
        if len(missing):
            raise ValueError(
                f"RDM lacks {len(missing)} of {len(stimuli)} stimuli on {axis}: {first(missing)}"
            )
    return rdm.sel(stimulus=stimuli, stimulus_2=stimuli)


def condensed(rdm):
    """Upper triangles of RDMs, the order of `lib.searchlight.pairs`.

    Parameters
    ----------
    rdm : xarray.DataArray (…, stimulus, stimulus_2)

    Returns
    -------
    array (…, n_pairs)

    Raises
    ------
    ValueError
        If the two axes hold different stimuli, or the same in different orders.
    """
    rdm = rdm.transpose(..., *PAIR)
    if not np.array_equal(rdm["stimulus"].values, rdm["stimulus_2"].values):
        raise ValueError(
            "the axes `stimulus` and `stimulus_2` of an RDM must hold the same, in the same order"
        )
    return rdm.values[(..., *pairs(rdm.sizes["stimulus"]))]


def classical_scaling(rdm, *, n_dimensions=2):
    """Places of the stimuli whose distances come closest to the dissimilarities: the largest principal axes.

    Parameters
    ----------
    rdm : xarray.DataArray (stimulus, stimulus_2)
        Treated as squared distances, as 1 - correlation is (of normalised patterns, halved); no NaN.
    n_dimensions : int

    Returns
    -------
    xarray.DataArray (stimulus, dimension)
        The root of the unit of the RDM. The sign of an axis is that which makes its largest place positive.

    References
    ----------
    Torgerson (1952), Psychometrika 17:401.
    """
    D = rdm.values
    centred = D - D.mean(axis=0) - D.mean(axis=1, keepdims=True) + D.mean()
    values, axes = np.linalg.eigh(-centred / 2)
    values, axes = values[::-1][:n_dimensions], axes[:, ::-1][:, :n_dimensions]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    places = axes * np.sqrt(np.maximum(values, 0))
    return xr.DataArray(places, dims=("stimulus", "dimension"), coords={"stimulus": rdm["stimulus"].values})


def tidy(rdms, groups=None, *, percentiles=False):
    """RDMs as a table with a row per pair, stimuli of one group next to each other.

    Parameters
    ----------
    rdms : dict
        Title → xarray.DataArray (stimulus, stimulus_2), all of the stimuli of the first.
    groups : pandas.Series, optional
        Group of each stimulus, by identifier; groups come in the order in which they first occur.
    percentiles : bool
        Ranks of the dissimilarities of each RDM from 0, the smallest, to 100 instead of their values.

    Returns
    -------
    pandas.DataFrame
        panel (title), stimulus, stimulus_2, value (NaN where undefined), group ("" without groups).

    Raises
    ------
    ValueError
        If a stimulus has no group, or an RDM lacks one.
    """
    names, group = _grouped(rdms, groups)
    tables = []
    for title, one in rdms.items():
        values = matched(one, names).values
        if percentiles:
            values = _percentiles(values)
        pair = {PAIR[0]: np.repeat(names, len(names)), PAIR[1]: np.tile(names, len(names))}
        tables.append(pd.DataFrame({"panel": title} | pair | {"value": values.ravel()}))
    table = pd.concat(tables, ignore_index=True)
    return table.assign(group=table["stimulus"].map(group))[["panel", *PAIR, "value", "group"]]


def placed(rdms, groups=None):
    """Places of stimuli in the plane for each RDM, as a table; see `classical_scaling`.

    Parameters
    ----------
    rdms : dict
        As for `tidy`, without NaN.
    groups : pandas.Series, optional

    Returns
    -------
    pandas.DataFrame
        panel, stimulus, x, y, group.
    """
    names, group = _grouped(rdms, groups)
    tables = []
    for title, one in rdms.items():
        x, y = classical_scaling(matched(one, names)).values.T
        tables.append(pd.DataFrame({"panel": title, "stimulus": names, "x": x, "y": y}))
    table = pd.concat(tables, ignore_index=True)
    return table.assign(group=table["stimulus"].map(group))


def identifiers(stimuli):
    """Identifiers of stimuli as text, each once.

    Parameters
    ----------
    stimuli : sequence of str

    Returns
    -------
    array of str (n_stimuli,)

    Raises
    ------
    ValueError
        If one repeats; the first are named.
    """
    stimuli = np.asarray(stimuli).astype(str)
    names, number = np.unique(stimuli, return_counts=True)
    if (number > 1).any():
        raise ValueError(f"stimuli must be named once each, not so: {first(names[number > 1])}")
    return stimuli


def _grouped(rdms, groups):
    """Identifiers in the order of their groups, and the group of each."""
    names = identifiers(next(iter(rdms.values()))["stimulus"].values)
    if groups is None:
        return names, dict.fromkeys(names, "")
    missing = np.setdiff1d(names, groups.index)
    if len(missing):
        raise ValueError(f"no group is given for the stimuli {first(missing)}")
    group = groups.loc[names].astype(str)
    order = {name: place for place, name in enumerate(dict.fromkeys(groups.astype(str)))}
    return names[np.argsort(group.map(order), kind="stable")], group.to_dict()


def _percentiles(values):
    """Ranks of the dissimilarities of a square matrix, from 0 to 100; its diagonal stays as it is."""
    upper = pairs(len(values))
    found = values.copy()
    ranks = stats.rankdata(values[upper], nan_policy="omit") - 1
    found[upper] = 100 * ranks / max(np.isfinite(ranks).sum() - 1, 1)
    found.T[upper] = found[upper]
    return found
