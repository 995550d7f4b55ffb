"""Regions of visual cortex: the best networks, what each explains alone and in common, and how sure that is."""

import numpy as np
import pandas as pd

from lib import (
    functional_maps,
    inference,
    partition,
    rdm_crossvalidation,
    rdm_regression,
    rdm_resampling,
    rdm_tests,
)

# Of the 25 regions of the atlas, in the order of its label file; those that the figures show.
SHOWN = tuple(
    [
        "V1v",
        "V1d",
        "V2v",
        "V2d",
        "V3v",
        "V3d",
        "hV4",
        "VO1",
        "VO2",
        "PHC1",
        "PHC2",
        "LO2",
        "LO1",
        "V3b",
        "V3a",
    ]
)
COLUMNS = ["roi", "kind", "part", "second", "position", "value", "low", "high", "p", "total"]
SHARE = 0.9  # of conditions in a published subsample


def scores(rdms, sets, rois):
    """How much each network explains of each region's mean RDM.

    Parameters
    ----------
    rdms : array (n_subjects, n_rois, n_pairs)
    sets : dict of str to array (n_layers, n_pairs)
    rois : sequence of str

    Returns
    -------
    pandas.DataFrame (n_rois, n_sets)
        √ of adjusted R², negative ones as 0.
    """
    prepared, _ = functional_maps.individual(sets)
    r2 = rdm_regression.adjusted_r2(prepared, np.mean(rdms, axis=0))
    return pd.DataFrame(
        rdm_regression.score(r2), index=[str(roi) for roi in rois], columns=[str(name) for name in sets]
    )


def parted(rdms, sets, rois, *, chosen=None, n_draws=10000, seed=0, published=None):
    """Unique and shared variance of sets of RDMs in each region, with errors and tests.

    By default bars have jackknife intervals over conditions and subjects, pairs of sets are compared with the
    error of their difference, and conditions are permuted against the hypothesis that nothing explains anything,
    which is conservative for a set beside others that do explain something. p are corrected over the sets, and
    over the pairs, of a region (false discovery rate).

    Parameters
    ----------
    rdms : array (n_subjects, n_rois, n_pairs)
    sets : dict of str to array (n_layers, n_pairs)
    rois : sequence of str
    chosen : dict of str to sequence of str, optional
        Sets of each region; all by default. Choosing the best of many flatters them: the intervals know nothing
        of it, `lib.functional_ceilings.reconstruction` chooses without the
        subject it scores.
    n_draws : int
        Permutations, and published subsamples.
    seed : int
    published : {"dwivedi2021"}, optional
        Permute entries instead of conditions, test pairs with them too, and give as low and high the value less
        and plus the standard deviation over subsamples of 90 % of the conditions, of regressions on sums of
        layers instead of on all layers: neither is the error of the bar.

    Returns
    -------
    pandas.DataFrame
        One row per region and part. kind "unique" (part: the set; with low, high, p), "pair" (part, second; value
        is the difference, p), "shared" (part: sets joined by " & ") or "single" (part: the set; its adjusted R²
        alone); position of the set in the region; total: adjusted R² of all sets.

    References
    ----------
    Dwivedi et al. (2021), PLoS Comput Biol 17, e1009267, figures 2b and 3b.
    """
    rows = []
    for place, roi in enumerate(rois):
        own = {name: sets[name] for name in chosen[roi]} if chosen else sets
        rows += _roi(np.asarray(rdms)[:, [place]], own, roi, n_draws=n_draws, seed=seed, published=published)
    return pd.DataFrame(rows, columns=COLUMNS)


def chosen(table, n=3):
    """The best networks of each region.

    Parameters
    ----------
    table : pandas.DataFrame (n_rois, n_sets)
        Of `scores`.
    n : int

    Returns
    -------
    dict of str to list of str
        By region, the best first.
    """
    return {
        roi: table.columns[functional_maps.top(row, n)].tolist()
        for roi, row in zip(table.index, table.values, strict=True)
    }


def cross_validated(rdms, sets, rois, folds=None, *, measure="variance"):
    """Unique variance of sets of RDMs in left-out subjects (and conditions), with intervals.

    Parameters
    ----------
    rdms : array (n_subjects, n_rois, n_pairs)
    sets : dict of str to array (n_layers, n_pairs)
    rois : sequence of str
    folds : bool array (n_folds, n_stimuli), optional
        See `lib.rdm_crossvalidation.held_out`.
    measure : {"variance", "correlation"}

    Returns
    -------
    pandas.DataFrame
        Rows of kind "unique" and "total", as in `parted`; intervals over conditions and subjects.
    """
    prepared = rdm_regression.design(sets)

    def statistic(found):
        return np.concatenate([rdm_regression.unique(prepared, found), found[..., -1:]], axis=-1)

    found = rdm_crossvalidation.cross_validated(rdms, sets, folds, statistic=statistic, measure=measure)
    rows = []
    for i, roi in enumerate(rois):
        for k, name in enumerate([*sets, "all"]):
            kind = "unique" if name in sets else "total"
            values = found.value[i, k], found.low[i, k], found.high[i, k]
            rows.append((roi, kind, name, "", k, *values, np.nan, found.value[i, -1]))
    return pd.DataFrame(rows, columns=COLUMNS)


def quotable(table, *, target, published=None):
    """Rows of numbers.csv: total and unique variance of each region.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `parted`.
    target : str
    published : str, optional
        As given to `parted`.

    Returns
    -------
    pandas.DataFrame
        name, value, low, high, n, unit, what.
    """
    unit = "subsample of stimuli, as published" if published else "stimulus and subject"
    unique = table[table["kind"] == "unique"]
    rows = [
        (
            f"rsa/{target}/{part}/unique/{roi}",
            value,
            low,
            high,
            np.nan,
            unit,
            "adjusted R² that no other set explains",
        )
        for roi, part, value, low, high in unique[["roi", "part", "value", "low", "high"]].itertuples(
            index=False
        )
    ]
    what = "adjusted R² of all sets; no interval: that of its parts is given"
    rows += [
        (f"rsa/{target}/all/r2/{roi}", total, np.nan, np.nan, np.nan, "", what)
        for roi, total in unique.groupby("roi", sort=False)["total"].first().items()
    ]
    rows = pd.DataFrame(rows, columns=inference.QUOTED)
    return rows.assign(name=rows["name"].str.lower().str.replace(" ", "_"))


def _roi(rdms, sets, roi, *, n_draws, seed, published):
    """Rows of one region."""
    prepared, statistic = functional_maps.partitioned(sets)
    mean = rdms.mean(axis=0)
    r2 = rdm_regression.adjusted_r2(prepared, mean)[0]
    subsets, orders = _draws(rdm_resampling.n_conditions(mean.shape[1]), n_draws, seed, published)
    test = rdm_tests.permutation_test(prepared, mean, orders, statistic=statistic, published=published)
    if published:
        half = rdm_resampling.subsample_bars(rdms, sets, subsets, statistic, published=published)[0]
        low, high, p_pairs = test.statistic[0] - half, test.statistic[0] + half, test.p_pairs
    else:
        found = rdm_resampling.jackknife(rdms, sets, statistic)
        low, high, p_pairs = found.low[0], found.high[0], found.p_pairs
    p, p_pairs = (side[0] for side in rdm_tests.within_units(test.p, p_pairs))
    value, names, total = test.statistic[0], list(sets), r2[-1]
    rows = [
        (roi, "unique", name, "", k, value[k], low[k], high[k], p[k], total) for k, name in enumerate(names)
    ]
    rows += [(roi, "single", name, "", k, r2[k], *[np.nan] * 3, total) for k, name in enumerate(names)]
    for a, b in zip(*np.triu_indices(len(names), 1), strict=True):
        rows.append(
            (roi, "pair", names[a], names[b], a, value[a] - value[b], np.nan, np.nan, p_pairs[a, b], total)
        )
    for part, shared in rdm_regression.parts(prepared, r2).items():
        if len(part) > 1:
            rows.append(
                (roi, "shared", partition.label(part, names), "", len(part), shared, *[np.nan] * 3, total)
            )
    return rows


def _draws(n_stimuli, n_draws, seed, published):
    """Subsamples of conditions, and orders of an RDM's entries."""
    if published:
        return rdm_tests.published_draws(n_stimuli, n_draws, seed=seed, share=SHARE)
    rng = np.random.default_rng(seed)
    permutations = rng.permuted(np.tile(np.arange(n_stimuli), (n_draws, 1)), axis=1)
    return None, rdm_tests.orders(permutations)
