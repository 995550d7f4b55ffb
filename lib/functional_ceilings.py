"""Explained variance of single subjects' RDMs beside what subjects have in common."""

import numpy as np
import pandas as pd
from scipy import stats

from lib import functional_maps, rdm_crossvalidation, rdm_regression


def reconstruction(rdms, sets, rois, folds=None, *, n=3):
    """Explained variance of single subjects' RDMs beside the noise ceiling: a reconstruction of a published figure.

    For each subject the best networks are chosen, and their regressors fitted, on the mean RDM of the other
    subjects; the score is the squared correlation of the prediction with the subject's RDM (0 if negative).
    Ceilings are squared correlations with the mean RDM of the others (lower) and of all (upper). The authors gave
    neither code nor words for their figure: this is how such numbers could have come about.

    Parameters
    ----------
    rdms : array (n_subjects, n_rois, n_pairs)
    sets : dict of str to array (n_layers, n_pairs)
    rois : sequence of str
    folds : bool array (n_folds, n_stimuli), optional
        Conditions that are held out too, in turn.
    n : int
        Networks.

    Returns
    -------
    pandas.DataFrame
        roi, value (mean over subjects), sd (over subjects), low, high (Student's t), lower_ceiling, upper_ceiling,
        share (value / lower ceiling), n_subjects, networks (the most frequent choice).

    Raises
    ------
    ValueError
        If there is a single subject: no other could predict it.

    References
    ----------
    Dwivedi et al. (2021), figure 2c.
    """
    rdms, rows = np.asarray(rdms, float), []
    if len(rdms) < 2:
        raise ValueError("a single subject cannot be predicted from others; two are needed")
    others = (rdms.sum(axis=0) - rdms) / (len(rdms) - 1)
    prepared, statistic = functional_maps.individual(sets)
    names = list(sets)
    for place, roi in enumerate(rois):
        found, choices = [], []
        for subject in range(len(rdms)):
            best = functional_maps.top(
                statistic(prepared, rdm_regression.adjusted_r2(prepared, others[subject, place])), n
            )
            own = {names[k]: sets[names[k]] for k in best}
            # As if there were two subjects: the mean of the others, and the one that is predicted.
            pair = np.stack([rdms[subject, place], others[subject, place]])[:, None]
            score = rdm_crossvalidation.held_out(pair, own, folds, unions=[list(own)], measure="correlation")
            found.append(max(score[0, 0, 0], 0))
            choices.append(tuple(own))
        rows.append(
            (
                roi,
                *_summary(np.array(found)),
                *ceilings(rdms[:, place], ranked=False, squared=True),
                max(set(choices), key=choices.count),
            )
        )
    columns = [
        "roi",
        "value",
        "sd",
        "low",
        "high",
        "n_subjects",
        "lower_ceiling",
        "upper_ceiling",
        "networks",
    ]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(
        networks=table["networks"].map(", ".join), share=table["value"] / table["lower_ceiling"]
    )


def ceilings(rdms, *, ranked=True, squared=False):
    """Correlation of each subject's RDM with the mean RDM of the others and of all, mean over subjects.

    Parameters
    ----------
    rdms : array (n_subjects, n_pairs)
    ranked : bool
        Spearman's correlation, else Pearson's.
    squared : bool
        Whether correlations are squared before they are averaged.

    Returns
    -------
    lower, upper : float

    References
    ----------
    Nili et al. (2014), PLoS Comput Biol 10:e1003553; RDMs themselves are averaged, not their ranks, as published.
    """
    rdms = np.asarray(rdms, float)
    total = rdms.sum(axis=0)
    power = 2 if squared else 1
    sides = ((total - rdms) / (len(rdms) - 1), np.broadcast_to(total / len(rdms), rdms.shape))
    return tuple(float(np.mean(_correlation(rdms, side, ranked) ** power)) for side in sides)


def _summary(values):
    """Mean, standard deviation, t interval and number."""
    n, sd = len(values), values.std(ddof=1)
    half = stats.t.ppf(0.975, n - 1) * sd / np.sqrt(n)
    return values.mean(), sd, values.mean() - half, values.mean() + half, n


def _correlation(a, b, ranked):
    """Correlation of rows, or of their ranks."""
    if ranked:
        a, b = (stats.rankdata(side, axis=1) for side in (a, b))
    a, b = (side - side.mean(axis=1, keepdims=True) for side in (a, b))
    return (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
