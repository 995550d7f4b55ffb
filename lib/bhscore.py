"""The brain hierarchy score: whether higher regions of the brain go with later layers of a network."""

from itertools import combinations

import numpy as np
import pandas as pd
import xarray as xr

from lib import plugins, significance

N_LAYERS = 5  # of a subset, as published: the first, the last and three between
N_VOXELS = 1000  # of a subject and region, as published
NUMBERS_AT_ONCE = 500_000  # of stacked tables
NONE = -1  # in place of a candidate: no significant one
MEASURES = {
    "decoding": "mean over subsets of layers: the first, the last and those between in all combinations",
    "decoding_all_layers": "decoding, all layers at once",
    "encoding": "encoding, all layers at once",
    "mean": "mean of decoding (subsets of layers) and encoding",
}


def top_rois(accuracy, *, n_stimuli, level=0.05, published=None):
    """The region from which each unit of a network is decoded best, if better than by chance.

    Parameters
    ----------
    accuracy : xarray.DataArray (subject, roi, unit)
        Pearson correlations over test stimuli, with coordinate `layer` (unit); regions in the order of the
        hierarchy, layers (first appearance) in that of the network. NaN loses to every number.
    n_stimuli : int
        Number of test stimuli.
    level : float
        Of significance: a unit without a significant positive correlation has no region.
    published : {"nonaka2021"}, optional
        The significance as published, see `lib.significance`.

    Returns
    -------
    xarray.Dataset
        By `item`, a unit in a subject: `top`, position of the region, -1 for none; of equal correlations the
        first region counts; `fate`, one of "kept", "tied" (kept, and another region is as good), "below" and
        "above" (not between the bounds of significance), "undefined" (all correlations NaN). Coordinates
        `subject`, `unit` and `group` (position of the layer) by item; `layer`; `roi`; attribute `direction`.

    Raises
    ------
    ValueError
        If there are fewer than three stimuli or no such published rule.

    References
    ----------
    Nonaka, Majima, Aoki & Kamitani (2021), iScience 24:103013, doi:10.1016/j.isci.2021.103013, Methods.
    """
    values = accuracy.transpose("roi", "subject", "unit").values
    group, layers = pd.factorize(accuracy["layer"].values)
    subjects = accuracy["subject"].values
    n_units = len(group)
    items = {
        "subject": ("item", np.repeat(subjects, n_units)),
        "unit": ("item", np.tile(accuracy["unit"].values, len(subjects))),
        "group": ("item", np.tile(group, len(subjects))),
        "layer": list(layers),
        "roi": accuracy["roi"].values.tolist(),
    }
    bounds = significance.threshold(n_stimuli, level, published=published)
    return _items(values.reshape(len(values), -1), bounds, items, "decoding")


def top_layers(accuracy, *, n_stimuli, level=0.05, published=None, rois=None):
    """The layer that predicts each voxel best, if better than by chance.

    Parameters
    ----------
    accuracy : xarray.DataArray (layer, voxel)
        Pearson correlations over test stimuli, with coordinates `subject` and `roi` (voxel); layers in the order
        of the network. NaN loses to every number.
    n_stimuli, level, published
        As for `top_rois`; published also takes 1000 voxels of each subject and region that has more, by
        `published_voxels`.
    rois : sequence of str, optional
        Regions in the order of the hierarchy; voxels of others are left out. By default in order of appearance.

    Returns
    -------
    xarray.Dataset
        As `top_rois`, by voxel: `top` is the position of a layer, `group` that of the voxel's region, and `unit`
        the voxel.

    Raises
    ------
    ValueError
        As `top_rois`.

    References
    ----------
    As for `top_rois`.
    """
    bounds = significance.threshold(n_stimuli, level, published=published)
    accuracy = accuracy if published is None else published_voxels(accuracy)
    rois = pd.unique(accuracy["roi"].values) if rois is None else list(rois)
    accuracy = accuracy.isel(voxel=np.isin(accuracy["roi"].values, rois))
    group = pd.Index(rois).get_indexer(accuracy["roi"].values)
    items = {
        "subject": ("item", accuracy["subject"].values),
        "unit": ("item", accuracy["voxel"].values),
        "group": ("item", group),
        "layer": accuracy["layer"].values.tolist(),
        "roi": list(rois),
    }
    return _items(accuracy.transpose("layer", "voxel").values, bounds, items, "encoding")


def published_voxels(accuracy, *, most=N_VOXELS):
    """At most 1000 voxels of each subject and region, drawn as published: always the same ones.

    Parameters
    ----------
    accuracy : xarray.DataArray (layer, voxel)
        With coordinates `subject` and `roi` (voxel).
    most : int

    Returns
    -------
    xarray.DataArray (layer, voxel)
        Of a subject and region with more voxels, the first `most` of a permutation by the legacy generator with
        seed 0, anew for each; in their former order.

    References
    ----------
    Nonaka, Majima, Aoki & Kamitani (2021), and the authors' code (`calc_bhscore`, encoding).
    """
    cells = pd.DataFrame({name: accuracy[name].values for name in ("subject", "roi")})
    kept = np.ones(len(cells), bool)
    for _, rows in cells.groupby(["subject", "roi"], sort=False).groups.items():
        order = np.random.RandomState(0).permutation(len(rows))
        kept[rows.to_numpy()[order[most:]]] = False
    return accuracy.isel(voxel=kept)


def counts(tops):
    """How many items of each subject join a layer with a region.

    Parameters
    ----------
    tops : xarray.Dataset
        Of `top_rois` or `top_layers`.

    Returns
    -------
    xarray.DataArray (subject, layer, roi)
        Units of the layer that are decoded best from the region; or voxels of the region that the layer predicts
        best. Subjects in order of appearance.
    """
    subject, subjects = pd.factorize(tops["subject"].values)
    n_groups, n_tops = (tops.sizes[dim] for dim in _axes(tops))
    table = np.zeros((len(subjects), n_groups, n_tops), np.int64)
    kept = tops["top"].values != NONE
    np.add.at(table, (subject[kept], tops["group"].values[kept], tops["top"].values[kept]), 1)
    coords = {"subject": list(subjects), "layer": tops["layer"].values, "roi": tops["roi"].values}
    found = xr.DataArray(table, coords, ("subject", *_axes(tops)), name="count")
    return found.transpose("subject", "layer", "roi")


def fates(tops):
    """What became of the items of each group: what a score rests on, and what it leaves out.

    Parameters
    ----------
    tops : xarray.Dataset
        Of `top_rois` or `top_layers`.

    Returns
    -------
    pandas.DataFrame
        direction, group (layer of the units; region of the voxels), n (items, all subjects), kept, tied (among
        the kept), below, above (significance), undefined.
    """
    names = tops[_axes(tops)[0]].values
    fate = pd.crosstab(tops["group"].values, tops["fate"].values)
    fate = fate.reindex(index=range(len(names)), columns=["kept", "tied", "below", "above", "undefined"])
    fate = fate.fillna(0).astype(int).assign(kept=lambda f: f["kept"] + f["tied"])
    n = fate.drop(columns="tied").sum(axis=1)
    return pd.DataFrame({"direction": tops.attrs["direction"], "group": names, "n": n, **fate})


def spearman(table):
    """Rank correlation of rows and columns of tables of counts, in their order.

    With rank deviations of rows, a = cumulative count - half the row's own - half of all, and b of columns
    likewise, ρ = Σ H a b / √(Σ row a² · Σ column b²): the Pearson correlation of mid-ranks.

    Parameters
    ----------
    table : array (…, n_rows, n_columns)
        How many items are in each row and column; shares do as well. Rows and columns without any do not count.

    Returns
    -------
    array (…)
        From -1 to 1; NaN if all items are in one row or in one column, or there are none.

    References
    ----------
    Kendall & Gibbons (1990), Rank Correlation Methods, chapter 3 (ties).
    """
    table = np.asarray(table, float)
    rows, columns = table.sum(axis=-1), table.sum(axis=-2)
    a, b = (np.cumsum(n, axis=-1) - n / 2 - n.sum(axis=-1, keepdims=True) / 2 for n in (rows, columns))
    product = ((table @ b[..., None])[..., 0] * a).sum(axis=-1)
    spread = (rows * a**2).sum(axis=-1) * (columns * b**2).sum(axis=-1)
    # A single row or column leaves rounding where shares do not add up exactly.
    defined = spread > 1e-20 * np.maximum(rows.sum(axis=-1), 1e-300) ** 6
    return np.divide(
        product, np.sqrt(np.where(defined, spread, 1)), out=np.full(product.shape, np.nan), where=defined
    )


def subsets(n_all, n_layers=N_LAYERS, *, most=None, seed=0):
    """Sets of layers that hold the first and the last one.

    Parameters
    ----------
    n_all : int
        Layers of the network.
    n_layers : int or None
        Layers of a set, at least 2; None, or not fewer than there are: all layers, one set.
    most : int, optional
        If there are more sets than that, so many of them at random, without replacement.
    seed : int
        Of that draw.

    Returns
    -------
    int array (n_sets, n_layers)
        Ascending positions of layers; rows in lexical order.

    Raises
    ------
    ValueError
        If a set has fewer than two layers.
    """
    if n_layers is None or n_layers >= n_all:
        return np.arange(n_all)[None]
    if n_layers < 2:
        raise ValueError(f"sets of {n_layers} layers cannot hold the first and the last; 2 or more, or None")
    between = np.array(list(combinations(range(1, n_all - 1), n_layers - 2)), int)
    if most is not None and len(between) > most:
        between = between[np.sort(np.random.default_rng(seed).choice(len(between), most, replace=False))]
    first, last = np.zeros((len(between), 1), int), np.full((len(between), 1), n_all - 1)
    return np.concatenate([first, between, last], axis=1)


def score(table, *, n_layers=N_LAYERS, most=None):
    """Brain hierarchy score: mean rank correlation of layer and region over all subsets of layers.

    The published score draws 100 subsets (`drawn_scores`); this is what such draws scatter around.

    Parameters
    ----------
    table : array (…, n_all, n_rois)
        Of `counts`, summed over subjects.
    n_layers : int or None
        Layers of a subset, with the first and the last one; None: all layers at once. So it is also if the network
        has no more than n_layers.
    most : int, optional
        Take so many subsets at random, if there are more: for resampled tables.

    Returns
    -------
    float or array (…)
        From -1 to 1. Subsets whose correlation is undefined are left out; NaN if all are. A layer without
        significant units does not count in a subset, which then has fewer layers.

    Raises
    ------
    ValueError
        As `subsets`.

    References
    ----------
    Nonaka, Majima, Aoki & Kamitani (2021), iScience 24:103013, Methods (BH score).
    """
    table = np.asarray(table, float)
    chosen = subsets(table.shape[-2], n_layers, most=most)
    flat = table.reshape(-1, *table.shape[-2:])
    at_once = max(1, NUMBERS_AT_ONCE // (chosen.size * table.shape[-1]))
    pieces = (flat[start : start + at_once] for start in range(0, len(flat), at_once))
    found = [_mean(spearman(piece[:, chosen])) for piece in pieces]
    found = np.concatenate([*found, []]).reshape(table.shape[:-2])
    return found if found.ndim else float(found)


def subset_scores(table, *, n_layers=N_LAYERS, most=None):
    """Rank correlation of each subset of layers.

    Parameters
    ----------
    table : xarray.DataArray (layer, roi)
        Of `counts`, summed over subjects.
    n_layers, most
        As for `score`.

    Returns
    -------
    pandas.DataFrame
        layers (names, joined by ", "), n (items), value (NaN where undefined).

    Raises
    ------
    ValueError
        As `subsets`.
    """
    chosen = subsets(table.sizes["layer"], n_layers, most=most)
    parts = table.transpose("layer", "roi").values[chosen]
    names = [", ".join(row) for row in table["layer"].values.astype(str)[chosen]]
    return pd.DataFrame({"layers": names, "n": parts.sum(axis=(1, 2)), "value": spearman(parts)})


def drawn_scores(table, *, n_layers=N_LAYERS, n_draws=100, seed=None):
    """Scores of randomly drawn subsets of layers, as published; their mean is the published score.

    Parameters
    ----------
    table : array (n_all, n_rois)
        Of `counts`, summed over subjects.
    n_layers, n_draws : int
    seed : int, optional
        Of the legacy generator. The published draws had none, so that they can be met within 0.02 only.

    Returns
    -------
    array (n_draws,)

    Raises
    ------
    ValueError
        If the network has fewer layers than a subset.

    References
    ----------
    Nonaka, Majima, Aoki & Kamitani (2021), iScience 24:103013, and the authors' code (`calc_bhscore`).
    """
    table, rng = np.asarray(table, float), np.random.RandomState(seed)
    if len(table) < n_layers:
        raise ValueError(
            f"{len(table)} layers cannot be drawn {n_layers} at a time; use `score`: all at once"
        )
    between = np.arange(1, len(table) - 1)
    drawn = [np.sort(rng.choice(between, n_layers - 2, replace=False)) for _ in range(n_draws)]
    return spearman(table[[[0, *middle, len(table) - 1] for middle in drawn]])


def measures(tables, *, n_layers=N_LAYERS, most=None):
    """All scores of a network.

    Parameters
    ----------
    tables : dict of str to array (…, n_all, n_rois)
        Of `counts`, summed over subjects, by direction: "decoding", "encoding", or both.
    n_layers, most
        As for `score`; for decoding. Encoding takes all layers at once.

    Returns
    -------
    dict of str to float or array (…)
        Those of MEASURES that the directions allow.

    Raises
    ------
    ValueError
        If there is another direction; and as `subsets`.
    """
    for direction in tables:
        plugins.require(direction, ("decoding", "encoding"), "direction")
    found = {}
    if "decoding" in tables:
        found["decoding"] = score(tables["decoding"], n_layers=n_layers, most=most)
        found["decoding_all_layers"] = score(tables["decoding"], n_layers=None)
    if "encoding" in tables:
        found["encoding"] = score(tables["encoding"], n_layers=None)
    if len(tables) == 2:
        found["mean"] = (found["decoding"] + found["encoding"]) / 2
    return found


def shares(table):
    """Share of each layer's units that are decoded best from each region.

    Parameters
    ----------
    table : xarray.DataArray (subject, layer, roi)
        Of `counts`.

    Returns
    -------
    pandas.DataFrame
        layer, roi, count (all subjects), share (of the layer's significant units; NaN where it has none).
    """
    pooled = table.sum("subject").transpose("layer", "roi")
    rows = pooled.to_dataframe("count").reset_index()[["layer", "roi", "count"]]
    whole = np.repeat(pooled.sum("roi").values, pooled.sizes["roi"])
    share = np.divide(rows["count"], whole, out=np.full(len(rows), np.nan), where=whole > 0)
    return rows.assign(share=share)


def sensitivity(accuracy, *, n_stimuli, levels=(0.05, 0.01, 0.001), n_layers=(3, 4, 5, None)):
    """Scores by decoding, had significance or the number of layers in a subset been chosen otherwise.

    Parameters
    ----------
    accuracy : xarray.DataArray (subject, roi, unit)
        As for `top_rois`.
    n_stimuli : int
    levels : sequence of float
        Of significance; the published form is added for each.
    n_layers : sequence of int or None
        As for `score`.

    Returns
    -------
    pandas.DataFrame
        level, formula ("t" or "nonaka2021"), n_layers (all layers: their number), n (items kept), value.

    Raises
    ------
    ValueError
        As `top_rois` and `subsets`.
    """
    rows = []
    for formula in (None, *significance.RULES):
        for level in levels:
            tops = top_rois(accuracy, n_stimuli=n_stimuli, level=level, published=formula)
            table = counts(tops).sum("subject").values
            for n in dict.fromkeys(len(table) if n is None else min(n, len(table)) for n in n_layers):
                value = score(table, n_layers=n)
                rows.append((level, formula or "t", n, int(table.sum()), value))
    return pd.DataFrame(rows, columns=["level", "formula", "n_layers", "n", "value"])


def _items(values, bounds, coords, direction):
    """Best candidate of each column of values (n_candidates, n_items), and why there may be none."""
    known = np.where(np.isnan(values), -np.inf, values)
    top, best = known.argmax(axis=0), known.max(axis=0)
    low, high = bounds
    kept = (best > low) & (best < high)
    tied = (known == best).sum(axis=0) > 1
    # Bounds are NaN where no correlation can be significant: then all are too low.
    conditions = [np.isneginf(best), kept & tied, kept, best >= high]
    fate = np.select(conditions, ["undefined", "tied", "kept", "above"], "below")
    found = {"top": ("item", np.where(kept, top, NONE)), "fate": ("item", fate)}
    return xr.Dataset(found, coords, {"direction": direction})


def _axes(tops):
    """What items are grouped by, and what their candidates are."""
    return ("layer", "roi") if tops.attrs["direction"] == "decoding" else ("roi", "layer")


def _mean(values):
    """Mean along the last axis of what is defined, NaN where nothing is."""
    defined = np.isfinite(values)
    n = defined.sum(axis=-1)
    total = np.where(defined, values, 0).sum(axis=-1)
    return np.divide(total, n, out=np.full(n.shape, np.nan), where=n > 0)
