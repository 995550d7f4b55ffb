"""Which stimuli train a model and which test it."""

import numpy as np


def published_splits(n_stimuli=165, n_train=83, n_splits=10, *, seed=0):
    """The ten halves of Tuckute et al. (2023), drawn again from their random numbers.

    The data-set plug-in stores the splits themselves; this recipe shows where they come from.

    Parameters
    ----------
    n_stimuli, n_train, n_splits : int
    seed : int
        Of NumPy's legacy generator.

    Returns
    -------
    bool array (n_splits, n_stimuli)
        True for train stimuli, in the data set's own order.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (regression).
    """
    rng = np.random.RandomState(seed)
    splits = np.zeros((n_splits, n_stimuli), bool)
    for train in splits:
        train[rng.choice(n_stimuli, n_train, replace=False)] = True
        # The original draws its test stimuli too; the numbers must be used up.
        rng.choice(np.flatnonzero(~train), n_stimuli - n_train, replace=False)
    return splits


def half_splits(stimuli, *, n_splits=10, seed=0, groups=None):
    """Random halves of the stimuli that keep what belongs together on one side.

    Depends on the identifiers, not on their order. Groups are visited in random order, each joining the
    smaller side, so the sides differ by at most the largest group; train is the larger.

    Parameters
    ----------
    stimuli : sequence of str (n_stimuli,)
        Identifiers, each once.
    n_splits : int
    seed : int
    groups : sequence (n_stimuli,), optional
        Label of each stimulus; stimuli of one label (crops of one photograph) are never separated.

    Returns
    -------
    bool array (n_splits, n_stimuli)
        True for train stimuli, in the order of `stimuli`.

    Raises
    ------
    ValueError
        If a stimulus comes twice, sizes differ, or there are fewer than two groups.
    """
    stimuli = np.asarray(stimuli).astype(str)
    groups = stimuli if groups is None else np.asarray(groups).astype(str)
    if len(groups) != len(stimuli) or len(np.unique(stimuli)) != len(stimuli):
        raise ValueError(f"{len(stimuli)} stimuli must all differ and have a group each, got {len(groups)}")
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise ValueError(
            f"all {len(stimuli)} stimuli are of one group and cannot be split; give at least two"
        )
    rng = np.random.default_rng(seed)
    return np.array([_half(sizes, rng)[member] for _ in range(n_splits)])


def _half(sizes, rng):
    """Side of each group, True for the larger."""
    side, totals = np.zeros(len(sizes), bool), np.zeros(2, int)
    for group in rng.permutation(len(sizes)):
        smaller = rng.integers(2) if totals[0] == totals[1] else totals.argmin()
        side[group] = smaller
        totals[smaller] += sizes[group]
    return side if totals[1] >= totals[0] else ~side
