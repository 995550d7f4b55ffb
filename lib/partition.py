"""Variance that sets of predictors explain alone and in common, from the scores of all their unions."""

from itertools import combinations

import numpy as np


def subsets(names):
    """All non-empty subsets of some names, the smaller first, each size in the order of the names.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    list of frozenset of str
        2ⁿ - 1 of them; of A, B and C: A, B, C, AB, AC, BC, ABC.

    Raises
    ------
    ValueError
        If there is no name, or one comes twice.
    """
    names = list(names)
    if not names or len(set(names)) != len(names):
        raise ValueError(f"sets need different names, at least one; got {names}")
    return [frozenset(some) for size in range(1, len(names) + 1) for some in combinations(names, size)]


def label(part, names):
    """A subset of names as text: `early & late`.

    Parameters
    ----------
    part : frozenset of str
    names : sequence of str
        All names, in the order in which they are to stand.

    Returns
    -------
    str
    """
    return " & ".join(name for name in names if name in part)


def parts(scores):
    """What exactly the sets of each subset explain, no others: unique parts, and parts shared by two or more.

    The score of a union is the sum of all parts that any of its sets has a share in. So all parts within a
    subset S amount to f(all) - f(all without S), and the part of S itself is

        part(S) = Σ_{T ⊆ S} (-1)^(|S| - |T| + 1) f(all without T),   f(nothing) = 0.

    Of one set A: f(all) - f(all without A), its unique part. The parts sum to f(all). They are differences of
    estimates and may be negative, by sampling or because sets suppress each other; nothing is clipped.

    Parameters
    ----------
    scores : dict of frozenset of str to float, array or xarray.DataArray
        Score of the union of each non-empty subset of the sets, all of one shape and unit, linear in variance
        (R², adjusted R², cross-validated or corrected by the same terms); fitted each in its own right.

    Returns
    -------
    dict of frozenset of str to what the scores are
        In the order of `subsets`, the names as the single sets come in `scores`. NaN where a score in the sum is.

    Raises
    ------
    ValueError
        If the score of a union is missing or a key is not a set of names.

    References
    ----------
    Dwivedi, Bonner, Cichy & Roig (2021), PLoS Comput Biol 17:e1009267, Methods (variance partitioning);
    Nimon & Oswald (2013), Organ Res Methods 16:650 (commonality analysis for any number of sets).
    """
    names = _names(scores)
    everything = frozenset(names)
    return {part: _part(scores, part, everything) for part in subsets(names)}


def negative(parts):
    """Share of the values of each part that lie below 0, where no variance can lie: what sampling does.

    Parameters
    ----------
    parts : dict of frozenset of str to float, array or xarray.DataArray
        See `parts`.

    Returns
    -------
    dict of frozenset of str to float
        In [0, 1], of the values that are not NaN; NaN where none is left.
    """
    shares = {}
    for part, values in parts.items():
        defined = np.asarray(values, float)
        defined = defined[~np.isnan(defined)]
        shares[part] = float((defined < 0).mean()) if defined.size else np.nan
    return shares


def _part(scores, part, everything):
    """Part of one subset, by inclusion and exclusion."""
    total = (-1) ** (len(part) + 1) * scores[everything]
    for left_out in subsets(sorted(part)):
        if left_out != everything:
            total = total + (-1) ** (len(part) - len(left_out) + 1) * scores[everything - left_out]
    return total


def _names(scores):
    """Names of the sets, in the order of the single ones; raise unless all unions are there."""
    wrong = [key for key in scores if not isinstance(key, frozenset) or not key]
    if wrong or not scores:
        raise ValueError(f"scores must be of frozensets of names, at least one; got {wrong[:3]}")
    names = [name for key in scores if len(key) == 1 for name in key]
    names += sorted(frozenset().union(*scores).difference(names))
    missing = [label(union, names) for union in subsets(names) if union not in scores]
    if missing:
        raise ValueError(f"{len(missing)} unions have no score, the first: {missing[:3]}")
    return names
