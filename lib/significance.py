"""Whether a correlation over stimuli is more than chance, by Student's t."""

import numpy as np
from scipy import stats

from lib import plugins

# Names of published methods that differ from ours in decoding and the brain hierarchy score.
RULES = ("nonaka2021",)


def p_value(r, n, *, published=None):
    """Two-sided probability that unrelated normal data correlate as much, from t = r √((n - 2) / (1 - r²)).

    Parameters
    ----------
    r : array
        Pearson correlation, from -1 to 1; NaN stays NaN.
    n : int
        Number of stimuli, >= 3.
    published : {"nonaka2021"}, optional
        t = r √((n - 2) (1 - r²)), a slip that multiplies where it should divide. It is largest, and p smallest, at
        r = .7071 and falls to 0 as r rises to 1: what is correlated best is thrown out.

    Returns
    -------
    array
        From 0 to 1. The sign of r does not count: whoever wants positive correlations only asks for them as well.

    Raises
    ------
    ValueError
        If there are fewer than three stimuli, or no such published rule.

    References
    ----------
    Student (1908), Biometrika 6:302. Nonaka, Majima, Aoki & Kamitani (2021), iScience 24:103013, and the authors' code
    (`bh_score`).
    """
    _require(n, published)
    r = np.asarray(r, float)
    if published is not None:
        t = abs(r) * np.sqrt((n - 2) * (1 - r**2))
    else:
        with np.errstate(divide="ignore"):  # r = 1 is infinitely far from chance
            t = abs(r) * np.sqrt((n - 2) / (1 - r**2))
    return 2 * stats.t.sf(t, n - 2)


def threshold(n, level, *, published=None):
    """Correlations whose `p_value` is below a level: those between two bounds.

    Parameters
    ----------
    n : int
        Number of stimuli, >= 3.
    level : float
        In (0, 1).
    published : {"nonaka2021"}, optional
        As for `p_value`.

    Returns
    -------
    low, high : float
        A correlation r > 0 is significant if low < r < high; by default high is infinite, for r = 1 is significant.
        (0.2787, inf) for n = 50 at 0.05; published (0.3047, 0.9524). NaN where no correlation at all can be.

    Raises
    ------
    ValueError
        If there are fewer than three stimuli, or no such published rule.

    References
    ----------
    As for `p_value`.
    """
    _require(n, published)
    share = stats.t.isf(level / 2, n - 2) ** 2 / (n - 2)
    if published is None:
        return float(np.sqrt(share / (1 + share))), np.inf
    if share >= 0.25:  # r² (1 - r²) is at most a quarter
        return np.nan, np.nan
    half = np.sqrt(0.25 - share)
    return float(np.sqrt(share / (0.5 + half))), float(np.sqrt(0.5 + half))


def _require(n, published):
    """Refuse a number of stimuli that leaves no degree of freedom, and an unknown rule."""
    if n < 3:
        raise ValueError(f"a correlation over {n} stimuli has no distribution; at least 3 are needed")
    if published is not None:
        plugins.require(published, RULES, "published rule")
