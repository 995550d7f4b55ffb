"""Which layer of a model fits best, chosen on splits that are not scored."""

import warnings

import numpy as np
import xarray as xr

from lib import metrics, plugins
from lib.published import RULES


def selection_splits(n_layers, n_voxels, n_splits, *, seed=0, published=None):
    """Random half of the splits on which layers are chosen; the other half scores the choice.

    Parameters
    ----------
    n_layers, n_voxels : int
    n_splits : int
        At least 2; of an odd number the smaller half chooses.
    seed : int
        Of the generator; one per iteration.
    published : {"tuckute2023"}, optional
        Another half for every layer of a voxel, from the legacy generator in the published order. Default:
        one half per voxel, so that layers are compared on the same splits.

    Returns
    -------
    bool array (n_layers, n_voxels, n_splits)
        True where a split takes part in the choice.

    Raises
    ------
    ValueError
        If there are fewer than two splits, or no such published rule.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (best layer).
    """
    if n_splits < 2:
        raise ValueError(f"{n_splits} split cannot both choose and score a layer; at least two are needed")
    half = np.arange(n_splits) % 2
    if published is None:
        order = np.random.default_rng(seed).permuted(np.tile(half, (n_voxels, 1)), axis=1)
        return np.broadcast_to(order.astype(bool), (n_layers, n_voxels, n_splits))
    plugins.require(published, RULES, "published rule")
    rng = np.random.RandomState(seed)
    halves = np.tile(half, (n_layers * n_voxels, 1))
    # One shuffle after another: only so are the random numbers used up as published.
    for row in halves:
        rng.shuffle(row)
    return halves.reshape(n_layers, n_voxels, n_splits).astype(bool)


def best_layer(scores, *, n_iterations=10, clip=None, published=None, n_copies=1):
    """Score of each voxel's best layer, read on splits that did not choose it.

    In every iteration the splits are halved (`selection_splits`, seeded by the iteration's number); the layer
    of largest median score over one half is read by its median over the other. Exact ties are broken at
    random. A model of one layer has nothing to choose and is read on the same half.

    Where each split tests half of the stimuli, the splits that choose and the splits that score share most of
    their test stimuli, so a little optimism is left, more the more layers do equally well. `nested_layer` has
    none.

    Parameters
    ----------
    scores : xarray.DataArray (layer, split, voxel)
        Any score that is larger for a better fit; layers in the model's order. NaN drops out of the medians;
        a layer that is NaN is not chosen.
    n_iterations : int
    clip : float, optional
        Upper limit of the medians (not of single splits); 1 for corrected r² as published.
    published : {"tuckute2023"}, optional
        See `selection_splits`.
    n_copies : int
        Each voxel comes so many times, one copy after the other (resamples of it), and all its copies are
        given the same halves of the splits.

    Returns
    -------
    xarray.Dataset (iteration, voxel)
        `score` in units of the scores, `position` of the chosen layer counted from 1 and `relative_position`
        from 0 to 1 (NaN for a model of one layer); all NaN where every layer is NaN.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (best layer).
    """
    scores = scores.transpose("layer", "voxel", "split")
    chosen = []
    for iteration in range(n_iterations):
        sizes = len(scores), scores.sizes["voxel"] // n_copies, scores.sizes["split"]
        selects = selection_splits(*sizes, seed=iteration, published=published).repeat(n_copies, axis=1)
        choice = _median(np.where(selects, scores.values, np.nan), clip)
        reading = _median(np.where(selects, np.nan, scores.values), clip)
        layer = _argmax(choice, np.random.RandomState(0))
        score = np.take_along_axis(reading, layer[None], axis=0)[0]
        chosen.append((score, *_positions(layer, choice)))
    names = ("score", "position", "relative_position")
    values = zip(names, np.moveaxis(np.array(chosen), 1, 0), strict=True)
    dataset = xr.Dataset({name: (("iteration", "voxel"), value) for name, value in values})
    return dataset.assign_coords(_voxel_coordinates(scores))


def nested_layer(scores, left_out):
    """Score of the layer that predicts left-out train stimuli best, in every split.

    The choice sees the train stimuli of its split alone, so the score on the test stimuli is not flattered.

    Parameters
    ----------
    scores : xarray.DataArray (layer, split, voxel)
        Any score on test stimuli; layers in the model's order.
    left_out : xarray.DataArray (layer, split, voxel)
        Explained variance of left-out train stimuli (`r2_left_out` of `encoding.encode`): larger is better. The
        first of equal layers is taken; a layer that is NaN, or whose score is NaN, is not.

    Returns
    -------
    xarray.Dataset (split, voxel)
        `score` in units of the scores, `position` of the chosen layer from 1, `relative_position` from 0 to 1
        (NaN for a model of one layer); all NaN where there was no layer to choose.

    References
    ----------
    Varma & Simon (2006), BMC Bioinformatics 7:91 (bias of choosing and scoring on the same data).
    """
    scores = scores.transpose("layer", "split", "voxel")
    eligible = left_out.transpose("layer", "split", "voxel").where(scores.notnull()).values
    layer = np.where(np.isnan(eligible), -np.inf, eligible).argmax(axis=0)
    position, relative = _positions(layer, eligible)
    score = np.take_along_axis(scores.values, layer[None], axis=0)[0]
    score = np.where(np.isnan(position), np.nan, score)
    values = {"score": score, "position": position, "relative_position": relative}
    dataset = xr.Dataset({name: (("split", "voxel"), value) for name, value in values.items()})
    return dataset.assign_coords(_voxel_coordinates(scores))


def leave_one_subject_out(values):
    """Score of each subject in the layer that is best in the others.

    Parameters
    ----------
    values : xarray.DataArray (layer, subject)
        Any score; layers in the model's order. NaN drops out of the others' mean.

    Returns
    -------
    xarray.Dataset (subject)
        `score` in units of the values, `position` from 1 of the layer of largest mean over the other subjects,
        `relative_position` from 0 to 1 (NaN for a model of one layer). NaN for a single subject, unless the
        model has one layer and nothing is chosen. Subjects share stimuli and noise that is not theirs (the
        stimuli drawn), so this guards against the chance of one subject, not of these stimuli.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2023), Nat Neurosci 26:2017, Methods (best layer of voxels).
    """
    table = values.transpose("layer", "subject")
    scores = table.values
    known = np.isfinite(scores)
    total = np.where(known, scores, 0).sum(axis=1, keepdims=True) - np.where(known, scores, 0)
    n_others = known.sum(axis=1, keepdims=True) - known
    others = np.divide(total, n_others, out=np.full(scores.shape, np.nan), where=n_others > 0)
    others = others if len(scores) > 1 else np.zeros(scores.shape)
    layer = np.where(np.isnan(others), -np.inf, others).argmax(axis=0)
    position, relative = _positions(layer, others)
    score = np.where(np.isnan(position), np.nan, np.take_along_axis(scores, layer[None], axis=0)[0])
    found = {"score": score, "position": position, "relative_position": relative}
    dataset = xr.Dataset({name: ("subject", value) for name, value in found.items()})
    return dataset.assign_coords(subject=table["subject"])


def preferred_layer(scores, *, clip=None, seed=0):
    """Layer of largest median score over all splits, per voxel: where it lies, not how good it is.

    Parameters
    ----------
    scores : xarray.DataArray (layer, split, voxel)
        Layers in the model's order; NaN drops out of the medians.
    clip : float, optional
        Upper limit of the medians; 1 for corrected r² as published.
    seed : int
        Of the legacy generator that breaks exact ties.

    Returns
    -------
    xarray.Dataset (voxel)
        `position` from 1, `relative_position` from 0 to 1 (NaN for a model of one layer), NaN where every
        layer is NaN; `n_tied` layers that share the largest value, 0 without a tie; `score`, that largest
        value, which is optimistic: chosen and read on the same splits.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, figure 7.
    """
    medians = over_splits(scores, clip=clip).transpose("layer", "voxel").to_numpy()
    position, relative = _positions(_argmax(medians, np.random.RandomState(seed)), medians)
    n_tied = (medians == np.fmax.reduce(medians)).sum(axis=0)
    n_tied = np.where(n_tied > 1, n_tied, 0)
    values = {"position": position, "relative_position": relative, "n_tied": n_tied}
    values["score"] = np.fmax.reduce(medians)
    dataset = xr.Dataset({name: ("voxel", value) for name, value in values.items()})
    return dataset.assign_coords(_voxel_coordinates(scores))


def over_splits(scores, *, clip=None):
    """Median score over splits, limited only afterwards.

    Parameters
    ----------
    scores : xarray.DataArray (…, split)
    clip : float, optional
        Upper limit of the medians.

    Returns
    -------
    xarray.DataArray
        Without dimension split; NaN drops out, NaN where nothing else is left.
    """
    dims = [dim for dim in scores.dims if dim != "split"]
    ordered = scores.transpose(*dims, "split")
    return ordered.isel(split=0, drop=True).copy(data=_median(ordered.values, clip))


def subject_medians(values, *labels):
    """Median over the voxels of each subject, or of each subject and region.

    Parameters
    ----------
    values : xarray.DataArray or xarray.Dataset (…, voxel)
        With the labels as coordinates of `voxel`.
    *labels : str
        Coordinates to group by, "subject" if none is given; for instance "subject", "roi".

    Returns
    -------
    same type, with one dimension per label in place of `voxel`
        NaN drops out, NaN where a subject has no voxel in a region. Voxels with an empty label are left out.
    """
    labels = labels or ("subject",)
    named = np.all([values[label].to_numpy() != "" for label in labels], axis=0)
    frame = values.to_dataset(name="values") if isinstance(values, xr.DataArray) else values
    others = [dim for dim in frame.dims if dim != "voxel"]
    kept = [name for name in (*others, *labels) if name in frame.coords]
    table = frame.drop_vars(set(frame.coords) - set(kept)).isel(voxel=named).to_dataframe().reset_index()
    result = table.groupby([*others, *labels])[list(frame.data_vars)].median().to_xarray()
    return result["values"] if isinstance(values, xr.DataArray) else result


def over_iterations(values):
    """Mean, standard deviation and standard error over the iterations of `best_layer`.

    Parameters
    ----------
    values : xarray.DataArray (iteration, …)

    Returns
    -------
    xarray.Dataset (…)
        `mean`, `std` (ddof 1; NaN of one iteration) and `sem` = std / √n_iterations. Iterations share their data,
        so neither is an interval for the population; they say how much the choice of halves matters.
    """
    with warnings.catch_warnings():  # older NumPy warns of what is documented: one value has no spread
        warnings.filterwarnings("ignore", "Degrees of freedom")
        std = values.std("iteration", ddof=1)
    sem = std / np.sqrt(values.sizes["iteration"])
    return xr.Dataset({"mean": values.mean("iteration"), "std": std, "sem": sem})


def within_subject_sem(values, condition):
    """Standard error of each condition's mean over subjects, without what subjects differ in as a whole.

    Each subject's mean over conditions is subtracted; the standard deviation over subjects (ddof 0) is
    divided by √(n_subjects - 1). It depends on which conditions are compared.

    Parameters
    ----------
    values : xarray.DataArray (subject, condition)
    condition : str
        Name of the other dimension: "model", "layer", "roi" …

    Returns
    -------
    xarray.DataArray (condition)
        Unit of the values; NaN with one subject or where a value is missing.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, figure 2; Loftus & Masson (1994),
    Psychon Bull Rev 1:476.
    """
    n_subjects = values.sizes["subject"]
    centred = values - values.mean(condition, skipna=False)
    return centred.std("subject", skipna=False) / (np.sqrt(n_subjects - 1) if n_subjects > 1 else np.nan)


def relative_position(position, n_layers):
    """Position of a layer in its model, (position - 1) / (n_layers - 1).

    Parameters
    ----------
    position : array
        Counted from 1; halves occur in medians.
    n_layers : int

    Returns
    -------
    array
        0 for the first layer, 1 for the last; NaN for a model of one layer (published: 1).
    """
    return (np.asarray(position, float) - 1) / (n_layers - 1 if n_layers > 1 else np.nan)


def _median(values, clip):
    """Median along the last axis without NaN, at most `clip`; NaN where nothing is left."""
    median = metrics.median(values)
    return median if clip is None else np.minimum(median, clip)


def _argmax(values, rng):
    """Row of the largest value per column; exact ties at random, column by column, as published."""
    best = np.where(np.isnan(values), -np.inf, values)
    tied = best == best.max(axis=0)
    layer = tied.argmax(axis=0)
    for voxel in np.flatnonzero(tied.sum(axis=0) > 1):
        layer[voxel] = rng.choice(np.flatnonzero(tied[:, voxel]))
    return layer


def _positions(layer, values):
    """Position from 1 and relative position of chosen layers, NaN where no layer had a value."""
    position = np.where(np.isnan(values).all(axis=0), np.nan, layer + 1.0)
    return position, relative_position(position, len(values))


def _voxel_coordinates(scores):
    """Coordinates along `voxel` alone."""
    return {name: coord for name, coord in scores.coords.items() if coord.dims == ("voxel",)}
