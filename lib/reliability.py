"""How reliable responses and predictions are, and the variance that could have been explained."""

from itertools import combinations

import numpy as np
from scipy import stats

from lib import metrics, plugins
from lib.published import RULES as PUBLISHED


def repeat_correlations(Y):
    """Correlation of each pair of repeats over stimuli, per voxel.

    Parameters
    ----------
    Y : array (n_repeats, n_stimuli, n_voxels)
        Single responses, or predictions of models each fitted on one repeat; any unit.

    Returns
    -------
    array (n_pairs, n_voxels)
        Pairs in the order (0, 1), (0, 2), … (1, 2), …; NaN where a repeat is constant or holds NaN. No row
        for one repeat.
    """
    pairs = [metrics.pearson(Y[a], Y[b]) for a, b in combinations(range(len(Y)), 2)]
    return np.array(pairs).reshape(len(pairs), np.shape(Y)[2])


def single_repeat_reliability(Y):
    """Median over pairs of repeats of their correlation, per voxel.

    Parameters
    ----------
    Y : array (n_repeats, n_stimuli, n_voxels)
        Single responses, or predictions of models each fitted on one repeat; any unit.

    Returns
    -------
    array (n_voxels,)
        Reliability of one repeat; pairs that are NaN drop out, NaN where none is left.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (noise correction).
    """
    return metrics.median(np.moveaxis(repeat_correlations(Y), 0, -1))


def spearman_brown(r, n_repeats):
    """Reliability of the mean of several repeats, k r / (1 + (k - 1) r).

    Parameters
    ----------
    r : array
        Reliability of one repeat.
    n_repeats : array or int
        Number k of repeats averaged, >= 1.

    Returns
    -------
    array
        At most 1 for r in (-1 / (k - 1), 1]; below that the formula has no meaning.

    References
    ----------
    Spearman (1910), Br J Psychol 3:271; Brown (1910), Br J Psychol 3:296.
    """
    r = np.asarray(r, float)
    return n_repeats * r / (1 + (np.asarray(n_repeats) - 1) * r)


def critical_correlation(n_stimuli, *, p=0.05):
    """Correlation that unrelated normal data exceed with probability p, from Student's t.

    Parameters
    ----------
    n_stimuli : int
        Number of stimuli, >= 3.
    p : float
        One-tailed, in (0, 0.5].

    Returns
    -------
    float
        0.1818 for 83 stimuli and 0.1829 for 82 at p = 0.05.

    Raises
    ------
    ValueError
        If there are fewer than three stimuli.
    """
    if n_stimuli < 3:
        raise ValueError(f"a correlation over {n_stimuli} stimuli has no distribution; at least 3 are needed")
    t = stats.t.ppf(1 - p, n_stimuli - 2)
    return t / np.sqrt(n_stimuli - 2 + t**2)


def reliability(r, n_repeats, n_stimuli, *, published=None):
    """Reliability of the mean of several repeats, never below what unrelated data could reach.

    Parameters
    ----------
    r : array (n_voxels,)
        Reliability of one repeat; NaN is raised to the floor, since it is not known to be higher.
    n_repeats : array (n_voxels,) or int
        Number of repeats averaged.
    n_stimuli : int
        Number of stimuli r was measured on, which sets the floor (`critical_correlation`).
    published : {"tuckute2023"}, optional
        Apply Spearman-Brown to any r, so that r < -1 / (k - 1) gives a meaningless value above 1, and round
        the floor to three decimals, as published. Default: r <= 0 gives the floor, which is exact.

    Returns
    -------
    array (n_voxels,)
        In [floor, 1].

    Raises
    ------
    ValueError
        If there are fewer than three stimuli, or no such published rule.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (noise correction).
    """
    floor = critical_correlation(n_stimuli)
    if published is not None:
        plugins.require(published, PUBLISHED, "published rule")
        return np.fmax(spearman_brown(r, n_repeats), round(floor, 3))
    return np.fmax(spearman_brown(np.fmax(r, 0), n_repeats), floor)


def corrected_r2(r, voxel_reliability, prediction_reliability):
    """Explained variance as a share of what could be explained, r² / (r'_voxel r'_prediction).

    Parameters
    ----------
    r : array
        Correlation of prediction and mean response on test stimuli; negative values count as 0.
    voxel_reliability, prediction_reliability : array
        Reliabilities of the mean response and of its prediction, at most 1; not above 0 where a rule without
        floor (`lib.correction.terms`) found no signal.

    Returns
    -------
    array
        At least 0, above 1 through sampling error (nothing is clipped); NaN where any input is NaN or the product
        of reliabilities is not above 0.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (noise correction);
    Spearman (1904), Am J Psychol 15:72.
    """
    ceiling = np.asarray(voxel_reliability) * np.asarray(prediction_reliability)
    return np.maximum(r, 0) ** 2 / np.where(ceiling > 0, ceiling, np.nan)
