"""How much of a brain's RDM several model RDMs explain together: least squares for all brain units at once."""

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib import partition

# Singular values below this share of the largest are rounding of RDMs in single precision.
ROUNDING = 1e-6


class Design(NamedTuple):
    """Regressors of several unions of sets, each as an orthonormal basis.

    Attributes
    ----------
    unions : tuple of frozenset of str
        Names of the sets that each union joins.
    basis : array (n_pairs, n_columns)
        Orthonormal bases of the unions' centred regressors, side by side.
    rank : int array (n_unions,)
        Columns of each; fewer than its regressors where some depend on others.
    n_regressors : int array (n_unions,)
        As given, redundant ones counted.
    """

    unions: tuple
    basis: np.ndarray
    rank: np.ndarray
    n_regressors: np.ndarray

    @property
    def redundant(self):
        """How many regressors of each union depend linearly on the others (constant ones count)."""
        return self.n_regressors - self.rank


def design(sets, unions=None):
    """Prepare regressions on unions of sets of RDMs.

    Regressors that depend linearly on others of their union add nothing: the fit is that without them, and
    they do not count in adjusted R².

    Parameters
    ----------
    sets : dict of str to array (n_regressors, n_pairs)
        RDMs of each set (as of the two layers of a network), upper triangles, any unit.
    unions : iterable of iterable of str, optional
        Which sets are joined in each regression; all combinations by default, as variance partitioning needs.

    Returns
    -------
    Design

    Raises
    ------
    ValueError
        If RDMs differ in their number of pairs, or are not finite.
    """
    lengths = {name: np.shape(rdms)[1] for name, rdms in sets.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"sets of RDMs differ in their numbers of pairs: {lengths}")
    odd = [name for name, rdms in sets.items() if not np.isfinite(rdms).all()]
    if odd:
        raise ValueError(f"RDMs of {odd[:3]} are not finite")
    unions = tuple(frozenset(union) for union in (partition.subsets(sets) if unions is None else unions))
    joined = [np.concatenate([sets[name] for name in sets if name in union]) for union in unions]
    bases = [_basis(np.asarray(rdms, float)) for rdms in joined]
    rank, n_regressors = ([np.shape(rdms)[axis] for rdms in each] for each, axis in ((bases, 1), (joined, 0)))
    prepared = Design(unions, np.concatenate(bases, axis=1), np.array(rank), np.array(n_regressors))
    if prepared.redundant.any():
        worst = int(prepared.redundant.argmax())
        log = logging.getLogger(__name__)
        names = partition.label(unions[worst], list(sets))
        log.warning(
            "%d of %d regressors of %s are redundant", prepared.redundant[worst], n_regressors[worst], names
        )
    return prepared


def singles(names):
    """Unions for `design` that join nothing: each set alone, in order."""
    return [[name] for name in names]


def adjusted_r2(prepared, rdms):
    """Adjusted R² of ordinary least squares with intercept, for all brain units and unions in one product.

    With Q an orthonormal basis of p centred regressors and y a centred RDM of n pairs, R² = |Qᵀy|² / |y|², and
    adjusted R² = 1 - (1 - R²) (n - 1) / (n - p - 1).

    Parameters
    ----------
    prepared : Design
    rdms : array (…, n_pairs)
        RDMs of brain units, any unit.

    Returns
    -------
    array (…, n_unions)
        At most 1, negative where regressors explain less than chance would; NaN where an RDM is constant or
        not finite.

    References
    ----------
    Dwivedi et al. (2021), PLoS Comput Biol 17, e1009267, Methods.
    """
    centred = rdms - np.mean(rdms, axis=-1, keepdims=True)
    power = np.sum(centred**2, axis=-1)
    level = np.finfo(float).eps * np.sum(np.square(rdms), axis=-1)
    power = np.where(power > level, power, np.nan)
    r2 = sums(prepared, (centred @ prepared.basis) ** 2) / power[..., None]
    return adjust(r2, prepared, np.shape(rdms)[-1])


def sums(prepared, squares):
    """Sums over the columns of each union.

    Parameters
    ----------
    prepared : Design
    squares : array (…, n_columns)
        As of an RDM's squared projections on the bases.

    Returns
    -------
    array (…, n_unions)
    """
    ends = np.cumsum(prepared.rank)
    pieces = [
        squares[..., end - rank : end].sum(axis=-1) for end, rank in zip(ends, prepared.rank, strict=True)
    ]
    return np.stack(pieces, axis=-1)


def adjust(r2, prepared, n_pairs):
    """Adjusted R² from R²: what regressors would explain by chance is taken off.

    Parameters
    ----------
    r2 : array (…, n_unions)
    prepared : Design
        Its ranks are the numbers of regressors.
    n_pairs : int or array that broadcasts against r2

    Returns
    -------
    array (…, n_unions)
    """
    return 1 - (1 - r2) * (n_pairs - 1) / (n_pairs - prepared.rank - 1)


def score(r2):
    """Square root of adjusted R², negative values counted as 0: a value on the scale of correlations.

    Parameters
    ----------
    r2 : array

    Returns
    -------
    array
        From 0 to 1; NaN stays NaN.
    """
    return np.sqrt(np.maximum(r2, 0))


def parts(prepared, r2):
    """Variance that exactly these sets share, for each combination of sets.

    Parameters
    ----------
    prepared : Design
        With all unions.
    r2 : array (…, n_unions)
        Adjusted R² of each union.

    Returns
    -------
    dict of frozenset of str to array (…)
        Parts; they sum to the score of all sets together. Of adjusted R², parts can be slightly negative.

    References
    ----------
    Dwivedi et al. (2021), Methods (commonality analysis of three sets).
    """
    return partition.parts({union: r2[..., i] for i, union in enumerate(prepared.unions)})


def unique(prepared, r2):
    """What each set explains that no other does: the score of all sets, less that of all but this one.

    Parameters
    ----------
    prepared : Design
        With the union of all sets and those that lack one.
    r2 : array (…, n_unions)

    Returns
    -------
    array (…, n_sets)
        In the order in which the sets first occur alone among the unions.
    """
    names = [next(iter(union)) for union in prepared.unions if len(union) == 1]
    place = {union: i for i, union in enumerate(prepared.unions)}
    whole = frozenset(names)
    if len(names) == 1:
        return r2[..., place[whole], None]
    return np.stack([r2[..., place[whole]] - r2[..., place[whole - {name}]] for name in names], axis=-1)


def collinearity(sets):
    """How far the regressors of one regression can be told apart.

    Parameters
    ----------
    sets : dict of str to array (n_regressors, n_pairs)

    Returns
    -------
    pandas.DataFrame
        One row per regressor: set, regressor (its number in the set), r2_others (R² from all other regressors),
        vif (variance inflation factor, 1 / (1 - r2_others); infinite for a redundant one), r2_other_sets (from
        regressors of other sets only: how much of it could ever be unique to its set is the rest),
        condition_number (of all standardised regressors together) and rank.
    """
    columns = np.concatenate([np.asarray(rdms, float) for rdms in sets.values()])
    labels = [(name, i) for name, rdms in sets.items() for i in range(len(rdms))]
    standard = columns - columns.mean(axis=1, keepdims=True)
    length = np.linalg.norm(standard, axis=1, keepdims=True)
    standard = np.divide(standard, length, out=np.zeros_like(standard), where=length > 0)
    values = np.linalg.svd(standard, compute_uv=False)
    rank = int((values > ROUNDING * values[0]).sum())
    condition = values[0] / values[-1] if rank == len(values) else np.inf
    rows = []
    for k, (name, i) in enumerate(labels):
        others = _explained(standard[k], np.delete(standard, k, axis=0))
        strangers = _explained(standard[k], standard[[n != name for n, _ in labels]])
        vif = 1 / (1 - others) if others < 1 - ROUNDING else np.inf
        rows.append((name, i, others, vif, strangers, condition, rank))
    return pd.DataFrame(
        rows, columns=["set", "regressor", "r2_others", "vif", "r2_other_sets", "condition_number", "rank"]
    )


def _basis(rdms):
    """Orthonormal basis (n_pairs, rank) of centred regressors (n_regressors, n_pairs)."""
    centred = rdms - rdms.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    size = np.linalg.norm(rdms, axis=1, keepdims=True)
    kept = (length > ROUNDING * size)[:, 0]
    # Scaled to equal length, so that a regressor in small units is not taken for rounding.
    U, s, _ = np.linalg.svd((centred[kept] / length[kept]).T, full_matrices=False)
    return U[:, s > ROUNDING * s.max(initial=0)]


def _explained(y, regressors):
    """R² of a centred vector from centred regressors; 1 for a vector of zeros, which anything explains."""
    if not y.any():
        return 1.0
    return float(np.sum((y @ _basis(regressors)) ** 2) / np.sum(y**2)) if regressors.any() else 0.0
