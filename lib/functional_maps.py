"""Functional maps of visual cortex: which task-trained network, or group of them, explains each place best."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from lib import maps, plugins, rdm_regression, rdm_tests

GROUPS = ("2D", "3D", "semantic")
BASELINE = "baseline"
LOWEST_CEILING = 0.033  # published; where it comes from is not said
LEVEL = 0.05


class Searchlights(NamedTuple):
    """Statistics of all searchlights, and p after both corrections.

    Attributes
    ----------
    statistic : array (n_units, n_sets)
        Score of each network, or unique variance of each group.
    p : array (n_units, n_sets)
        Corrected over sets within a unit, then, set by set, over the units that are included.
    p_winner : array (n_units,)
        Of the best set against the others, the largest of its pairs; corrected likewise.
    p_family : array (n_units, n_sets)
        Corrected family-wise over all units and sets by the largest statistic of each permutation instead.
    """

    statistic: np.ndarray
    p: np.ndarray
    p_winner: np.ndarray
    p_family: np.ndarray


def networks(names=None, *, prefix="taskonomy_"):
    """What networks were trained for, as the study groups and orders them.

    Parameters
    ----------
    names : sequence of str, optional
        As in the data (`class_1000`); by default all that there are, in the order of the study.
    prefix : str
        With it, names of models.

    Returns
    -------
    pandas.DataFrame
        network, model, label, group, order (that of the study's arrays), place (in its figures), in the order of
        the names.

    Raises
    ------
    ValueError
        If one is no model with a task.
    """
    if names is None:
        known = {
            n.removeprefix(prefix): plugins.about("model", n)
            for n in plugins.names("model")
            if n.startswith(prefix)
        }
        names = sorted(known, key=lambda name: known[name]["ORDER"])
    about = [plugins.about("model", f"{prefix}{name}") for name in names]
    without = [name for name, known in zip(names, about, strict=True) if "TASK" not in known]
    if without:
        raise ValueError(f"models without a task: {plugins.first(without)}")
    rows = [(k["TASK"], k["GROUP"], k["ORDER"], k["PLACE"]) for k in about]
    table = pd.DataFrame(rows, columns=["label", "group", "order", "place"])
    table.insert(0, "model", [f"{prefix}{name}" for name in names])
    table.insert(0, "network", list(names))
    return table


def grouped(sets, about):
    """Mean RDM of the networks of each group, layer by layer.

    Parameters
    ----------
    sets : dict of str to array (n_layers, n_pairs)
        By network.
    about : pandas.DataFrame
        See `networks`; the baseline is left out.

    Returns
    -------
    dict of str to array (n_layers, n_pairs)
        By group, in the order of GROUPS.
    """
    members = about[about["group"] != BASELINE].groupby("group")["network"]
    return {group: np.mean([sets[name] for name in members.get_group(group)], axis=0) for group in GROUPS}


def individual(sets):
    """Design and statistic of the analysis of single networks: each on its own, √ of adjusted R².

    Parameters
    ----------
    sets : dict of str to array (n_layers, n_pairs)

    Returns
    -------
    prepared : lib.rdm_regression.Design
    statistic : callable
    """
    return rdm_regression.design(sets, rdm_regression.singles(sets)), lambda _, r2: rdm_regression.score(r2)


def partitioned(sets):
    """Design and statistic of the analysis of sets beside each other: what each explains that no other does.

    Parameters
    ----------
    sets : dict of str to array (n_layers, n_pairs)

    Returns
    -------
    prepared : lib.rdm_regression.Design
    statistic : callable
    """
    return rdm_regression.design(sets), rdm_regression.unique


def searchlights(rdms, analysis, orders, *, lower_ceiling, pairs=True, published=None):
    """Permutation tests of all searchlights with the study's two corrections.

    Parameters
    ----------
    rdms : array (n_units, n_pairs)
        Mean over subjects.
    analysis : tuple
        Of `individual` or `partitioned`.
    orders : int array (n_permutations, n_pairs)
        Of `lib.rdm_tests.orders` (conditions permuted) or `lib.rdm_tests.published_draws` (entries).
    lower_ceiling : array (n_units,)
        Units above LOWEST_CEILING are included in the second correction.
    pairs : bool
        Whether to compare sets with each other; p_winner is NaN otherwise.
    published : {"dwivedi2021"}, optional
        As in `lib.rdm_tests.permutation_test`.

    Returns
    -------
    Searchlights

    References
    ----------
    Dwivedi et al. (2021), PLoS Comput Biol 17, e1009267, Methods and scripts.
    """
    prepared, statistic = analysis
    options = {"statistic": statistic, "pairs": pairs, "published": published}
    test = rdm_tests.permutation_test(prepared, rdms, orders, **options)
    p, p_pairs = rdm_tests.within_units(test.p, test.p_pairs)
    included = np.asarray(lower_ceiling) > LOWEST_CEILING
    final = rdm_tests.across_units(p, included)
    against = rdm_tests.across_units(against_others(test.statistic, p_pairs), included)
    return Searchlights(test.statistic, final, against, test.p_family)


def searchlights_by_subject(rdms, analysis, *, lower_ceiling, published=None):
    """Two-sided t tests over subjects of all searchlights, with the study's two corrections.

    Parameters
    ----------
    rdms : array (n_subjects, n_units, n_pairs)
    analysis : tuple
        Of `individual` or `partitioned`.
    lower_ceiling : array (n_units,)
    published : {"dwivedi2021"}, optional
        Compare sets as if they came from different subjects, and take p as 0.1 where it is undefined.

    Returns
    -------
    Searchlights
        statistic is the mean over subjects; p_family is NaN.

    References
    ----------
    Dwivedi et al. (2021), scripts (not used for the figures).
    """
    prepared, statistic = analysis
    values = statistic(prepared, rdm_regression.adjusted_r2(prepared, rdms))
    p, p_pairs = rdm_tests.t_tests(values, published=published)
    if published:
        p, p_pairs = (np.where(np.isnan(side), 0.1, side) for side in (p, p_pairs))
    p, p_pairs = rdm_tests.within_units(p, p_pairs)
    included, mean = np.asarray(lower_ceiling) > LOWEST_CEILING, values.mean(axis=0)
    against = rdm_tests.across_units(against_others(mean, p_pairs), included)
    return Searchlights(mean, rdm_tests.across_units(p, included), against, np.full(p.shape, np.nan))


def against_others(statistic, p_pairs):
    """Largest p of the best set against any other.

    Parameters
    ----------
    statistic : array (n_units, n_sets)
    p_pairs : array (n_units, n_sets, n_sets)
        The diagonal is not looked at: with t tests it is 1, which made the published map all grey.

    Returns
    -------
    array (n_units,)
        NaN where there is no best set.
    """
    n = statistic.shape[1]
    pairs = np.where(np.eye(n, dtype=bool), -np.inf, p_pairs)
    defined = np.isfinite(statistic).all(axis=1)
    best = np.where(defined[:, None], statistic, 0).argmax(axis=1)
    return np.where(defined, pairs[np.arange(len(best)), best].max(axis=1), np.nan)


def codes(statistic, names, p, lower_ceiling, *, order, p_winner=None):
    """Numbers of a map of the best network or group, as published, for `lib.plotting.maps.published_palette`.

    Grey where the lower ceiling is below LOWEST_CEILING or the best one's p above LEVEL; of groups also where it
    is not better than each of the others. Of single networks the best need not beat the second.

    Parameters
    ----------
    statistic : array (n_units, n_sets)
    names : sequence of str
        Of the sets; of equal statistics the first counts.
    p : array (n_units, n_sets)
    lower_ceiling : array (n_units,)
    order : sequence of str
        Of the sets in figures.
    p_winner : array (n_units,), optional
        Of groups: of the best against the others.

    Returns
    -------
    array (n_units,)
        Networks from -8, grey -9; groups from -0.25 in steps of 0.5, grey -0.75. NaN where nothing is defined.

    References
    ----------
    Dwivedi et al. (2021), figures 1d and 3a.
    """
    defined = np.isfinite(statistic).all(axis=1)
    best = np.where(defined[:, None], statistic, 0).argmax(axis=1)
    grey = ~(np.asarray(lower_ceiling) >= LOWEST_CEILING) | ~(p[np.arange(len(best)), best] <= LEVEL)
    if p_winner is not None:
        grey |= ~(p_winner <= LEVEL)
    winner = np.where(defined, np.asarray(names, dtype=object)[best], "")
    start, step = maps.CODES["individual" if p_winner is None else "grouped"]
    return maps.codes(winner, order, grey=grey, start=start, step=step)


def top(score, n=3):
    """Places of the largest scores, the best first.

    Parameters
    ----------
    score : array (n_sets,)
        NaN counts as 0.
    n : int

    Returns
    -------
    int array (n,)
        Of equal scores the later comes first, as published.
    """
    return np.argsort(np.where(np.isnan(score), 0, score), kind="stable")[::-1][:n]
