"""How sure a brain hierarchy score is: had other people, stimuli or units been taken, or no order been there."""

from itertools import permutations, product
from math import factorial

import numpy as np
import pandas as pd
import xarray as xr
from scipy import linalg, stats

from lib import artefacts, bhscore, inference, plugins, significance
from lib.bhscore import MEASURES, N_LAYERS

METHODS = ("jackknife", "percentile")
ORDERS = ("regions", "layers", "both")
MOST_SUBSETS = 500  # of layers, in resampled tables
MOST_ORDERS = 5000  # enumerated; above, so many at random
NEARLY_1 = 1 - 1e-9
COLUMNS = ["measure", "value", "low", "high", "n", "unit", "method"]


def over_subjects(tables, *, n_layers=N_LAYERS, level=0.95, method="jackknife"):
    """Scores of all subjects' items together, and what other people would have given.

    A pooled score is a smooth function of the mean table of the subjects, so that leaving out each in turn gives
    its standard error; with Student's t of n - 1 degrees of freedom the interval is wide enough for three people.

    Parameters
    ----------
    tables : dict of str to xarray.DataArray (subject, layer, roi)
        Of `lib.bhscore.counts`, by direction ("decoding", "encoding" or both), of the same subjects.
    n_layers : int or None
        As for `lib.bhscore.score`.
    level : float
    method : {"jackknife", "percentile"}
        "percentile" is the bootstrap over subjects, much too narrow: 95 % intervals of three subjects held the
        truth in 65 to 70 % of simulations, of four in 79 to 86 %, those of the jackknife in 93 to 96 %
        (`lib.bhscore_simulation`). It is here to be seen.

    Returns
    -------
    pandas.DataFrame
        measure (of `lib.bhscore.MEASURES`), value, low, high (NaN of a single subject), n (subjects), unit,
        method. Stimuli and units are taken as they are; scores cannot exceed 1, so neither do bounds.

    Raises
    ------
    ValueError
        If there is no such method, or directions differ in subjects, layers or regions.

    References
    ----------
    Miller (1974), Biometrika 61:1 (jackknife).
    """
    plugins.require(method, METHODS, "method")
    stacked, n = _stacked(tables)
    value = bhscore.measures({d: table.sum(axis=0) for d, table in stacked.items()}, n_layers=n_layers)
    options = {"n_layers": n_layers, "most": MOST_SUBSETS}
    if method == "jackknife":
        spread = {m: p.std(ddof=1) if n > 1 else np.nan for m, p in _pseudovalues(stacked, options).items()}
        half = {m: spread[m] / np.sqrt(n) * stats.t.ppf((1 + level) / 2, max(n - 1, 1)) for m in value}
        bounds = {m: (value[m] - half[m], value[m] + half[m]) for m in value}
    else:
        weights = np.array(_resamples_of_subjects(n))
        drawn = bhscore.measures({d: np.tensordot(weights, t, 1) for d, t in stacked.items()}, **options)
        bounds = {m: _percentiles(drawn[m], level) if n > 1 else (np.nan, np.nan) for m in value}
    rows = [(m, value[m], *_capped(bounds[m]), n, "subject", method) for m in value]
    return pd.DataFrame(rows, columns=COLUMNS)


def subject_scores(tables, *, n_layers=N_LAYERS):
    """Scores of each subject alone.

    Parameters
    ----------
    tables, n_layers
        As for `over_subjects`.

    Returns
    -------
    pandas.DataFrame
        subject, measure, value.

    Raises
    ------
    ValueError
        If directions differ in subjects, layers or regions.
    """
    stacked, _ = _stacked(tables)
    found = bhscore.measures(stacked, n_layers=n_layers)
    subjects = next(iter(tables.values()))["subject"].values.tolist()
    rows = [(s, m, values[i]) for m, values in found.items() for i, s in enumerate(subjects)]
    return pd.DataFrame(rows, columns=["subject", "measure", "value"])


def over_units(tops, *, n_layers=N_LAYERS, level=0.95, n_resamples=1000, seed=0):
    """Scores had other units of each layer been taken, by the percentile bootstrap.

    A unit is drawn with all subjects in which it was decoded, from its layer, so that the number of units of a
    layer stays. Voxels are drawn from those of their subject and region: they are neighbours and no samples, and
    their interval only says how much it matters which of them were taken.

    Parameters
    ----------
    tops : dict of str to xarray.Dataset
        Of `lib.bhscore.top_rois` ("decoding") and `lib.bhscore.top_layers` ("encoding"), or one of them.
    n_layers, level
        As for `over_subjects`.
    n_resamples, seed : int

    Returns
    -------
    pandas.DataFrame
        As `over_subjects`; n counts units and voxels. People and stimuli are taken as they are.

    Raises
    ------
    ValueError
        If there is another direction.
    """
    pooled = {d: bhscore.counts(found).sum("subject").values for d, found in tops.items()}
    value, rng = bhscore.measures(pooled, n_layers=n_layers), np.random.default_rng(seed)
    drawn = {d: _resampled_units(found, n_resamples, rng) for d, found in tops.items()}
    drawn = bhscore.measures(drawn, n_layers=n_layers, most=MOST_SUBSETS)
    n = {d: len(set(found["unit"].values.tolist())) for d, found in tops.items()}
    rows = []
    for measure in value:
        low, high = _percentiles(drawn[measure], level)
        who = {"mean": ("unit and voxel", sum(n.values())), "encoding": ("voxel", n.get("encoding"))}
        unit, count = who.get(measure, ("unit", n.get("decoding")))
        rows.append((measure, value[measure], low, high, count, unit, "percentile"))
    return pd.DataFrame(rows, columns=COLUMNS)


def predictions(folder, layers, *, split=0):
    """Decoded and true features of the test stimuli, layer by layer.

    Parameters
    ----------
    folder : pathlib.Path
        Of `lib.decoding.decode`.
    layers : iterable of str
    split : int
        Position of the split.

    Yields
    ------
    str, xarray.Dataset
        The layer, `decoded` (subject, roi, stimulus, unit) and `true` (stimulus, unit) of the stimuli that are
        tested in the split.
    """
    for layer in layers:
        part = artefacts.load(artefacts.predictions(folder, layer))[["decoded", "true"]].isel(split=split)
        tested = np.isfinite(part["decoded"]).any(["unit", "subject", "roi"]).values
        yield layer, part.isel(stimulus=tested)


def resampled_counts(predictions, weights, *, level=0.05, published=None):
    """Which region each unit is decoded best from, counted for other test stimuli.

    The best of several regions is chosen on noisy accuracies. Accuracies in a resample are noisy twice, so that
    its choices are worse than those of new stimuli would be. Therefore the spread of the units' accuracies in a
    layer is first reduced to what is left when noise, as the resamples show it, is taken off (in Fisher's z, each
    subject's regions together), and the deviations of the resamples are added to that. Stimuli and regions that a
    subject lacks (NaN throughout) are left out of that subject's.

    Parameters
    ----------
    predictions : iterable of (str, xarray.Dataset)
        For each layer in order its name, `decoded` (subject, roi, stimulus, unit) and `true` (stimulus, unit) of
        the same test stimuli. Taken one at a time.
    weights : int array (n_resamples, n_stimuli)
        How often each stimulus is drawn, see `lib.inference.draws`.
    level, published
        As for `lib.bhscore.top_rois`.

    Returns
    -------
    xarray.DataArray (resample, subject, layer, roi)
        Numbers of units.

    Raises
    ------
    ValueError
        If a layer has another number of stimuli than the weights; and as `lib.bhscore.top_rois`.
    """
    low, high = significance.threshold(weights.shape[1], level, published=published)
    bounds = np.arctanh(low), np.inf if np.isinf(high) else np.arctanh(high)
    tables, names = [], []
    for name, part in predictions:
        if part.sizes["stimulus"] != weights.shape[1]:
            raise ValueError(f"{name} has {part.sizes['stimulus']} stimuli, the weights {weights.shape[1]}")
        true = part["true"].transpose("stimulus", "unit").values
        decoded = part["decoded"].transpose("subject", "stimulus", "roi", "unit").values
        tables.append([_counts_of_resamples(one, true, weights, bounds) for one in decoded])
        names.append(name)
    coords = {"subject": part["subject"].values, "layer": names, "roi": part["roi"].values}
    table = xr.DataArray(np.array(tables), coords, ("layer", "subject", "resample", "roi"), name="count")
    table.attrs["n_stimuli"] = weights.shape[1]
    return table.transpose("resample", "subject", "layer", "roi")


def over_stimuli(table, resampled, *, n_layers=N_LAYERS, level=0.95):
    """Scores by decoding had other stimuli been tested, as many; and other people as well.

    value ± z times the standard deviation over resamples, whose mean is not trusted: the selection of regions
    biases it a little even so. The interval for people and stimuli adds what these share only once:
    V = V(people) + V(stimuli) - V(both at once). In simulations (`lib.bhscore_simulation`) 95 % intervals over stimuli
    held the truth in 92 to 98 % of experiments, those over people and stimuli in 95 to 99 %; percentiles of plain
    resamples, or of the leave-one-out jackknife, in 5 to 90 % and 100 %.

    Parameters
    ----------
    table : xarray.DataArray (subject, layer, roi)
        Of `lib.bhscore.counts`, of the same accuracies.
    resampled : xarray.DataArray (resample, subject, layer, roi)
        Of `resampled_counts`.
    n_layers, level
        As for `over_subjects`.

    Returns
    -------
    pandas.DataFrame
        As `over_subjects`, for each measure a row of unit "stimulus" and one of "subject and stimulus" (NaN
        bounds of a single subject). Unit "stimulus": the people are taken as they are.

    Raises
    ------
    ValueError
        If the two are not of the same subjects, layers and regions.

    References
    ----------
    Nili, Walther, Alink & Kriegeskorte (2020) and Schütt, Kipnis, Diedrichsen & Kriegeskorte (2023), eLife
    12:e82566 (variance over two factors). Davison & Hinkley (1997), section 3.9 (shrunken resamples).
    """
    table, resampled = xr.align(table, resampled, join="exact")
    n_stimuli, dims = resampled.attrs["n_stimuli"], ("subject", "layer", "roi")
    H, drawn = (side.transpose(..., *dims).values for side in (table, resampled))
    n, options = table.sizes["subject"], {"n_layers": n_layers, "most": MOST_SUBSETS}
    value = bhscore.measures({"decoding": H.sum(axis=0)}, n_layers=n_layers)
    varied = bhscore.measures({"decoding": drawn.sum(axis=1)}, **options)
    pseudo, pseudo_drawn = (_pseudovalues({"decoding": side}, options) for side in (H, drawn))
    t, z = stats.t.ppf((1 + level) / 2, max(n - 1, 1)), stats.norm.ppf((1 + level) / 2)
    rows = []
    for m in value:
        stimuli = varied[m].var(ddof=1)
        change = pseudo_drawn[m] - pseudo_drawn[m].mean(axis=0)
        both_at_once = change.var(axis=1, ddof=1).mean() / n if n > 1 else np.nan
        people = pseudo[m].var(ddof=1) / n if n > 1 else np.nan
        half = z * np.sqrt(stimuli), np.sqrt(t**2 * people + z**2 * max(stimuli - both_at_once, 0))
        units = ("stimulus", n_stimuli, "bootstrap"), (
            "subject and stimulus", n, "jackknife and bootstrap",
        )  # fmt: skip
        for width, (unit, count, method) in zip(half, units, strict=True):
            rows.append((m, value[m], *_capped((value[m] - width, value[m] + width)), count, unit, method))
    return pd.DataFrame(rows, columns=COLUMNS)


def order_null(tables, *, n_layers=N_LAYERS, level=0.95, seed=0):
    """Scores had regions, or layers, no order: the same tables with their rows and columns exchanged.

    Parameters
    ----------
    tables : dict of str to xarray.DataArray (subject, layer, roi)
        As for `over_subjects`; all are exchanged alike.
    n_layers : int or None
    level : float
        Share of the null values within the band.
    seed : int
        Of the random orders, where there are more than 5000.

    Returns
    -------
    pandas.DataFrame
        measure, permuted ("regions", "layers", "both"), value, low, high (of the null band), p (two-sided: share
        of orders whose score is at least as far from 0, the true one among them), n (orders), exact (whether
        these are all).

    Raises
    ------
    ValueError
        If directions differ in subjects, layers or regions.

    Notes
    -----
    Three regions in any order can never be significant: of 6 orders, 2 are as extreme as the best. An order that
    fits says nothing of other people or stimuli; the intervals do.
    """
    stacked, _ = _stacked(tables)
    pooled = {d: table.sum(axis=0) for d, table in stacked.items()}
    shape = next(iter(pooled.values())).shape
    value, rng, rows = bhscore.measures(pooled, n_layers=n_layers), np.random.default_rng(seed), []
    # Against scores of the same subsets of layers, so that the true order is as extreme as itself.
    alike = bhscore.measures(pooled, n_layers=n_layers, most=MOST_SUBSETS // 5)
    for permuted in ORDERS:
        layers, rois, exact = _orders(*shape, permuted, rng)
        moved = {d: table[layers[:, :, None], rois[:, None]] for d, table in pooled.items()}
        null = bhscore.measures(moved, n_layers=n_layers, most=MOST_SUBSETS // 5)
        for m, values in null.items():
            values = values[np.isfinite(values)]
            extreme = int((abs(values) >= abs(alike[m]) * (1 - 1e-12)).sum())
            p = (extreme + (not exact)) / max(len(values) + (not exact), 1)
            p = p if np.isfinite(value[m]) else np.nan
            rows.append((m, permuted, value[m], *_percentiles(values, level), p, len(values), exact))
    return pd.DataFrame(rows, columns=["measure", "permuted", "value", "low", "high", "p", "n", "exact"])


def summary(intervals, null, tables, *, n_layers=N_LAYERS):
    """Each score of a network with its interval over people and the band of scores without order.

    Parameters
    ----------
    intervals : pandas.DataFrame
        Of `over_subjects`.
    null : pandas.DataFrame
        Of `order_null`.
    tables, n_layers
        As for these.

    Returns
    -------
    pandas.DataFrame
        As `over_subjects`, with null_low, null_high and p of `order_null` (both orders), n_items (units or voxels
        with a region or layer; NaN for the mean) and n_layers (of a subset).
    """
    found, both = intervals.set_index("measure"), null[null["permuted"] == "both"].set_index("measure")
    found[["null_low", "null_high", "p"]] = both[["low", "high", "p"]]
    direction = found.index.str.split("_").str[0]
    found["n_items"] = [int(tables[d].sum()) if d in tables else np.nan for d in direction]
    n_all = next(iter(tables.values())).sizes["layer"]
    whole = found.index.isin(["decoding_all_layers", "encoding"])
    found["n_layers"] = np.where(whole, n_all, min(n_layers or n_all, n_all))
    return found.reset_index()


def quotable(summaries):
    """Rows of numbers.csv from tables of `summary`.

    Parameters
    ----------
    summaries : pandas.DataFrame
        Rows of these tables, with columns target and model. Scores that are undefined give no row.

    Returns
    -------
    pandas.DataFrame
        name (`bhscore/<target>/<model>/bh/<measure>`), value, low, high, n, unit, what.
    """
    rows = summaries.dropna(subset="value")
    name = "bhscore/" + rows["target"] + "/" + rows["model"] + "/bh/" + rows["measure"]
    interval = pd.Series("95 % jackknife t interval over people, stimuli as they are", rows.index)
    interval = interval.where(rows["low"].notna(), "no interval: one subject")
    null = rows.apply("without order {0[null_low]:.2f} to {0[null_high]:.2f}, p = {0[p]:.3g}".format, axis=1)
    layers = " (" + rows["n_layers"].astype(int).astype(str) + " layers); "
    what = "brain hierarchy score, " + rows["measure"].map(MEASURES) + layers + interval + "; " + null
    return rows.assign(name=name.str.lower(), what=what)[inference.QUOTED]


def _stacked(tables):
    """Tables as arrays (subject, layer, roi), subjects in the order of the first, and how many these are."""
    tables = {d: table.transpose("subject", "layer", "roi") for d, table in tables.items()}
    first = next(iter(tables.values()))
    same = set(first["subject"].values.tolist())
    if all(set(table["subject"].values.tolist()) == same for table in tables.values()):
        tables = {d: table.sel(subject=first["subject"].values) for d, table in tables.items()}
    for dim in first.dims:
        named = {d: table[dim].values.tolist() for d, table in tables.items()}
        if any(names != first[dim].values.tolist() for names in named.values()):
            raise ValueError(f"directions differ in what they call {dim}, or in its order: {named}")
    return {d: table.values for d, table in tables.items()}, first.sizes["subject"]


def _pseudovalues(stacked, options):
    """What each subject adds to a score: n times that of all, less n - 1 times that of the others."""
    n = next(iter(stacked.values())).shape[-3]
    whole = bhscore.measures({d: table.sum(axis=-3) for d, table in stacked.items()}, **options)
    without = {d: table.sum(axis=-3, keepdims=True) - table for d, table in stacked.items()}
    without = bhscore.measures(without, **options)
    return {m: n * np.asarray(whole[m])[..., None] - (n - 1) * without[m] for m in whole}


def _resamples_of_subjects(n, *, most=5, n_resamples=2000):
    """How often each subject is drawn: all ways there are, or many."""
    if n > most:
        return inference.draws(n, n_resamples, np.random.default_rng(0))
    return np.array([np.bincount(drawn, minlength=n) for drawn in product(range(n), repeat=n)])


def _resampled_units(tops, n_resamples, rng):
    """Tables (resample, layer, roi) of units drawn within their layer, or voxels within subject and region."""
    n_groups, n_tops = (tops.sizes[dim] for dim in (("layer", "roi") if _decoded(tops) else ("roi", "layer")))
    group, top = tops["group"].values, tops["top"].values
    stratum = group if _decoded(tops) else group * 1_000_000 + pd.factorize(tops["subject"].values)[0]
    table = np.zeros((n_resamples, n_groups, n_tops))
    for one in np.unique(stratum):
        here = np.flatnonzero(stratum == one)
        unit, units = pd.factorize(tops["unit"].values[here])
        votes, kept = np.zeros((len(units), n_tops)), top[here] != bhscore.NONE
        np.add.at(votes, (unit[kept], top[here][kept]), 1)
        table[:, group[here[0]]] += inference.draws(len(units), n_resamples, rng) @ votes
    return table if _decoded(tops) else table.swapaxes(1, 2)


def _decoded(tops):
    """Whether items are units, and their candidates regions."""
    return tops.attrs["direction"] == "decoding"


def _counts_of_resamples(decoded, true, weights, bounds):
    """How often each region is the best (resample, roi): one subject's decoded (stimulus, roi, unit) features."""
    n_rois, known = decoded.shape[1], np.isfinite(decoded)
    shown, there = known.any(axis=(1, 2)), np.flatnonzero(known.any(axis=(0, 2)))
    counts = np.zeros((len(weights), n_rois), int)
    if not len(there):
        return counts
    decoded, true, weights = decoded[shown][:, there], true[shown], weights[:, shown]
    z = _fisher(_correlations(np.ones((1, len(true))), decoded, true))[0]
    deviation = _fisher(_correlations(weights, decoded, true)) - z
    values = _without_noise(z, deviation) + deviation
    values = np.where(np.isnan(values), -np.inf, values)
    best, top = values.max(axis=1), values.argmax(axis=1)
    top = np.where((best > bounds[0]) & (best < bounds[1]), top, n_rois)
    counts[:, there] = np.stack([(top == roi).sum(axis=1) for roi in range(len(there))], axis=1)
    return counts


def _fisher(r):
    """Fisher's z, finite for perfect correlations."""
    return np.arctanh(np.clip(r, -NEARLY_1, NEARLY_1))


def _correlations(weights, decoded, true):
    """Weighted correlations (resample, roi, unit) of decoded (stimulus, roi, unit) with true (stimulus, unit)."""
    weights = weights / weights.sum(axis=1, keepdims=True)
    # Centred first: the moments below subtract, and would lose a small variance around a large mean.
    true, decoded = (side - side.mean(axis=0) for side in (true.astype(float), decoded.astype(float)))
    mean, variance, power = _moments(weights, true)
    mean_hat, variance_hat, power_hat = _moments(weights, decoded)
    product = decoded * true[:, None]
    covariance = (weights @ product.reshape(len(product), -1)).reshape(mean_hat.shape) - mean_hat * mean[
        :, None
    ]
    known = (variance > 1e-12 * power)[:, None] & (variance_hat > 1e-12 * power_hat)
    scale = np.sqrt(np.where(known, variance_hat * variance[:, None], 1))
    return np.where(known, covariance / scale, np.nan)


def _moments(weights, values):
    """Weighted means and variances (resample, …) of values (stimulus, …), and their mean squares (…)."""
    flat, shape = values.reshape(len(values), -1), (len(weights), *values.shape[1:])
    mean = weights @ flat
    variance = weights @ flat**2 - mean**2
    return mean.reshape(shape), variance.reshape(shape), (values**2).mean(axis=0)


def _without_noise(z, deviation):
    """Values (roi, unit) drawn towards their mean over units, as far as noise has spread them.

    With noise covariance N and observed covariance C over units, both of regions, the spread left has covariance
    C - N; where N exceeds C, none.
    """
    known = np.isfinite(z).all(axis=0) & np.isfinite(deviation).all(axis=(0, 1))
    if not known.any():
        return z
    centred, noise = z[:, known] - z[:, known].mean(axis=1, keepdims=True), deviation[:, :, known]
    noise = noise - noise.mean(axis=2, keepdims=True)
    covariance = np.einsum("bru,bsu->rs", noise, noise, optimize=True) / (noise.shape[0] * noise.shape[2])
    observed = centred @ centred.T / centred.shape[1]
    observed[np.diag_indices_from(observed)] += 1e-9 * max(np.trace(observed), 1e-9)
    share, V = linalg.eigh(covariance, observed)
    left = np.sqrt(np.clip(1 - share, 0, 1))
    found = z.copy()
    found[:, known] += np.linalg.solve(V.T, left[:, None] * (V.T @ centred)) - centred
    return found


def _orders(n_layers, n_rois, permuted, rng):
    """Orders of layers (n, n_layers) and of regions (n, n_rois), and whether these are all there are."""
    sizes = {"regions": (1, n_rois), "layers": (n_layers, 1), "both": (n_layers, n_rois)}[permuted]
    exact = factorial(sizes[0]) * factorial(sizes[1]) <= MOST_ORDERS
    if exact:
        pairs = list(product(*(permutations(range(size)) for size in sizes)))
        moved = [np.array(side) for side in zip(*pairs, strict=True)]
    else:
        moved = [rng.permuted(np.tile(np.arange(size), (MOST_ORDERS, 1)), axis=1) for size in sizes]
    still = np.arange(n_layers), np.arange(n_rois)
    moved = [
        side if side.shape[1] == len(full) else np.tile(full, (len(side), 1))
        for side, full in zip(moved, still, strict=True)
    ]
    return *moved, exact


def _percentiles(values, level):
    """Bounds of the middle share of what is defined."""
    values = values[np.isfinite(values)]
    return np.quantile(values, [(1 - level) / 2, (1 + level) / 2]) if len(values) else (np.nan, np.nan)


def _capped(bounds):
    """Bounds of a correlation."""
    return max(bounds[0], -1.0) if np.isfinite(bounds[0]) else np.nan, (
        min(bounds[1], 1.0) if np.isfinite(bounds[1]) else np.nan
    )
