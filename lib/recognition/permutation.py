"""Permutation tests of effects: what could be exchanged if there were none, shuffled or enumerated."""

from itertools import combinations

import numpy as np
from scipy.special import comb

from lib import plugins

RULES = ("feather2023",)
EXACT_UNITS = 24  # up to here all 2^n swaps are enumerated
BATCH = 1000  # draws held in memory at once
ROUNDING = 1e-10  # statistics that differ by less than this share are ties


def stage(values, *, published=None, n_permutations=10_000, seed=0):
    """Probability of an F among columns as large, if each unit's columns could be shuffled.

    Parameters
    ----------
    values : array (n_units, n_columns)
    published : {"feather2023"}, optional
        Share of draws whose F is not below the observed one, at least 1 / n_permutations. Default: the observed
        order counts as one more draw, (b + 1) / (n_permutations + 1), which is a valid probability; two columns
        of at most 24 units are enumerated instead, see `swaps`.
    n_permutations, seed : int

    Returns
    -------
    float
        In (0, 1].

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2023), doi:10.1038/s41593-023-01442-0, Methods (statistics). Phipson &
    Smyth (2010), Stat Appl Genet Mol Biol 9:39.
    """
    _known(published)
    return _columns(np.asarray(values, float), published, True, n_permutations, seed)


def paired(values, *, published=None, n_permutations=10_000, seed=0):
    """Probabilities of a factor's main effect and of its interaction with layer, units being their own controls.

    Parameters
    ----------
    values : array (n_units, n_layers, n_levels)
        The factor's levels (models; human and network) last.
    published : {"feather2023"}, optional
        Main effect: levels of the layers' means shuffled within units. Interaction: all cells of a unit shuffled,
        which also takes away the effects of layer and level that may well exist. Share of draws strictly above the
        observed F, at least 1 / n_permutations. Default: the main effect likewise, but ties count, with the
        observed as one more draw, and two levels enumerated. Interaction: each unit's profiles over layers, taken
        from their means, are shuffled among levels as wholes; this leaves the effect of layer and the dependence
        of layers on one another as they are, so that neither main effects nor a lack of sphericity matter. Where
        one of eight layers varies much more than the others, shuffling all cells calls 14 % of interactions that
        are none significant at 5 % (20 units, simulated), shuffling profiles 5 %.
    n_permutations, seed : int

    Returns
    -------
    dict
        main, interaction: in (0, 1].

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2023), doi:10.1038/s41593-023-01442-0, Methods (statistics). Anderson &
    ter Braak (2003), J Stat Comput Simul 73:85.
    """
    _known(published)
    values, options = np.asarray(values, float), (n_permutations, seed)
    main = _columns(values.mean(axis=1), published, not published, *options)
    if published:
        observed, draws = _interaction(values[None])[0], _shuffled_cells(values, *options)
    else:
        profiles = values - values.mean(axis=1, keepdims=True)
        observed, draws = _levels_apart(profiles[None])[0], _shuffled_levels(profiles, *options)
    return {"main": main, "interaction": _share(observed, draws, published, not published)}


def unpaired(values, groups, *, published=None, ties=True, n_permutations=10_000, seed=0):
    """Probabilities of a difference between two groups of units, and of its interaction with layer.

    Parameters
    ----------
    values : array (n_units, n_layers)
    groups : array (n_units,)
        Two levels.
    published : {"feather2023"}, optional
        Main effect: groups of the layers' means shuffled. Interaction: groups shuffled, and the layers of every
        unit, which takes away the effect of layer. Share of draws, at least 1 / n_permutations. Default: groups
        alone are shuffled; for the interaction, those of profiles without the unit's mean. All assignments are
        enumerated if there are no more than n_permutations; else the observed one counts as one more.
    ties : bool
        Whether draws equal to the observed count (published: for people and networks they do, for attacked networks
        they do not).
    n_permutations, seed : int

    Returns
    -------
    dict
        main, interaction: in (0, 1].

    Raises
    ------
    ValueError
        If there are not two groups.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2023), doi:10.1038/s41593-023-01442-0, Methods (statistics).
    """
    _known(published)
    values, levels = np.asarray(values, float), np.unique(groups)
    if len(levels) != 2:
        raise ValueError(f"groups {levels.tolist()}: two are right")
    first = (np.asarray(groups) == levels[0]).astype(float)
    profiles = values - values.mean(axis=1, keepdims=True)
    if not published:
        draws = _assignments(first, n_permutations, seed)
        shares = {}
        for name, x in (("main", values.mean(axis=1, keepdims=True)), ("interaction", profiles)):
            observed = _apart(first[None], x - x.mean(axis=0))[0]
            statistics = [_apart(draws, x - x.mean(axis=0))]
            exact = len(draws) == comb(len(first), first.sum(), exact=True)
            shares[name] = _share(observed, statistics, "exact" if exact else None, ties)
        return shares
    means = values.mean(axis=1, keepdims=True)
    means = means - means.mean()
    labels = _assignments(first, n_permutations, seed, exact=False)
    main = _share(_apart(first[None], means)[0], [_apart(labels, means)], published, ties)
    draws = _shuffled_profiles(profiles, first, n_permutations, seed)
    observed = _mixed_interaction(profiles[None], first[None])[0]
    return {"main": main, "interaction": _share(observed, draws, published, ties)}


def swaps(differences, *, ties=True):
    """Share of all 2^n swaps of two conditions within units whose mean difference is as far from 0.

    Parameters
    ----------
    differences : array (n_units,)
        At most 24.
    ties : bool
        Whether swaps that are exactly as far count; without them p may be 0.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there are more units.

    References
    ----------
    Fisher (1935), The Design of Experiments, section 21.
    """
    differences = np.asarray(differences, float)
    if len(differences) > EXACT_UNITS:
        raise ValueError(
            f"{len(differences)} units have too many swaps to enumerate; {EXACT_UNITS} are possible"
        )
    half = len(differences) // 2
    left, right = (_sums(part) for part in (differences[:half], differences[half:]))
    above = _above(abs(differences.sum()), abs(differences).sum(), ties)
    return float(np.mean([above(abs(one + right)).mean() for one in left]))


def _known(published):
    if published is not None:
        plugins.require(published, RULES, "published rule")


def _above(observed, scale, ties):
    """Whether statistics reach the observed one, but for rounding."""
    margin = ROUNDING * max(observed, 1e-3 * scale)
    return lambda drawn: drawn >= observed - margin if ties else drawn > observed + margin


def _share(observed, draws, published, ties):
    """p from batches of statistics; NaN if nothing varies."""
    if np.isnan(observed):
        return np.nan
    above = _above(observed, observed, ties)
    counts, n = zip(*((above(batch).sum(), len(batch)) for batch in draws), strict=True)
    count, n = sum(counts), sum(n)
    if published is None:
        return float((count + 1) / (n + 1))
    return float(max(count, 1) / n)


def _sums(differences):
    """Sums of all assignments of signs."""
    sums = np.zeros(1)
    for one in differences:
        sums = np.concatenate([sums + one, sums - one])
    return sums


def _columns(values, published, ties, n_permutations, seed):
    """p of differences among columns, shuffled within units: F grows with the spread of the columns' sums."""
    if published is None and values.shape[1] == 2 and len(values) <= EXACT_UNITS:
        return swaps(values[:, 0] - values[:, 1], ties=ties)
    centred = values - values.mean(axis=1, keepdims=True)
    observed = np.square(centred.sum(axis=0)).sum()
    draws = (np.square(x.sum(axis=1)).sum(axis=1) for x in _rows_shuffled(centred, n_permutations, seed))
    return _share(observed, draws, published, ties)


def _rows_shuffled(values, n_permutations, seed):
    """Batches (n_draws, n_units, n_columns) with each unit's columns in random order."""
    rng = np.random.default_rng(seed)
    for start in range(0, n_permutations, BATCH):
        n = min(BATCH, n_permutations - start)
        yield rng.permuted(np.broadcast_to(values, (n, *values.shape)), axis=-1)


def _shuffled_cells(values, n_permutations, seed):
    """F of the interaction with all cells of each unit in random order."""
    for batch in _rows_shuffled(values.reshape(len(values), -1), n_permutations, seed):
        yield _interaction(batch.reshape(-1, *values.shape))


def _interaction(values):
    """F of layer by level, of draws (n_draws, n_units, n_layers, n_levels)."""
    _, n, k, m = values.shape
    values = values - values.mean(axis=(2, 3), keepdims=True)
    layers, levels = np.square(values.mean(axis=3)).sum((1, 2)), np.square(values.mean(axis=2)).sum((1, 2))
    within = np.square(values).sum((1, 2, 3)) - m * layers - k * levels
    means = values.mean(axis=1)
    means = means - means.mean(axis=1, keepdims=True) - means.mean(axis=2, keepdims=True)
    effect = n * np.square(means).sum((1, 2))
    return _divided((n - 1) * effect, within - effect)


def _shuffled_levels(profiles, n_permutations, seed):
    """Spread of profiles among levels, with each unit's levels in random order."""
    n, _, m = profiles.shape
    for order in _rows_shuffled(np.broadcast_to(np.arange(m), (n, m)), n_permutations, seed):
        yield _levels_apart(np.take_along_axis(profiles[None], order[:, :, None], axis=3))


def _levels_apart(profiles):
    """What F of the interaction grows with when levels move within units."""
    means = profiles.mean(axis=1)
    return np.square(means - means.mean(axis=2, keepdims=True)).sum((1, 2))


def _assignments(first, n_permutations, seed, exact=True):
    """Assignments of units to the first group: all, if there are few, else random ones."""
    n, size = len(first), int(first.sum())
    if exact and comb(n, size, exact=True) <= n_permutations:
        chosen = np.array(list(combinations(range(n), size)))
        labels = np.zeros((len(chosen), n))
        np.put_along_axis(labels, chosen, 1.0, axis=1)
        return labels
    rng = np.random.default_rng(seed)
    return rng.permuted(np.broadcast_to(first, (n_permutations, n)), axis=1)


def _apart(labels, values):
    """Squared distance of the two groups' means of centred values, for each assignment."""
    means = labels @ values / labels.sum(axis=1, keepdims=True)
    others = (1 - labels) @ values / (1 - labels).sum(axis=1, keepdims=True)
    return np.square(means - others).sum(axis=1)


def _shuffled_profiles(profiles, first, n_permutations, seed):
    """F of group by layer with groups in random order, and each unit's layers."""
    rng = np.random.default_rng([seed, 1])
    for batch in _rows_shuffled(profiles, n_permutations, seed):
        yield _mixed_interaction(batch, rng.permuted(np.broadcast_to(first, batch.shape[:2]), axis=1))


def _mixed_interaction(profiles, labels):
    """F of group by layer, of draws (n_draws, n_units, n_layers) without the units' means."""
    n = profiles.shape[1]
    sizes = labels.sum(axis=1)[:, None], n - labels.sum(axis=1)[:, None]
    sums = [(side[:, None] @ profiles)[:, 0] for side in (labels, 1 - labels)]
    groups = sum(np.square(s).sum(axis=1) / size[:, 0] for s, size in zip(sums, sizes, strict=True))
    layers = np.square(sums[0] + sums[1]).sum(axis=1) / n
    effect, total = groups - layers, np.square(profiles).sum((1, 2))
    return _divided((n - 2) * effect, total - groups)


def _divided(effect, error):
    """F; infinite without error, NaN where nothing varies."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return effect / error
