"""Which stimuli train a model and which test it: published and stored splits, halves, folds, runs, a fixed test."""

import numpy as np

from lib import plugins

SCHEMES = ("stored", "halves", "kfold", "leave-one-run-out", "fixed")


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
    member, sizes = _groups(stimuli, groups, 2)
    rng = np.random.default_rng(seed)
    return np.array([_half(sizes, rng)[member] for _ in range(n_splits)])


def parts(stimuli, n_parts=5, *, seed=0, groups=None):
    """Random parts of the stimuli, about equally large, that keep what belongs together in one part.

    Depends on the identifiers, not on their order. Groups are visited in random order, each joining the
    smallest part.

    Parameters
    ----------
    stimuli : sequence of str (n_stimuli,)
        Identifiers, each once.
    n_parts : int
    seed : int
    groups : sequence (n_stimuli,), optional
        Label of each stimulus; stimuli of one label are never separated.

    Returns
    -------
    int array (n_stimuli,)
        Part of each stimulus, 0 to n_parts - 1, in the order of `stimuli`.

    Raises
    ------
    ValueError
        If a stimulus comes twice, sizes differ, there are fewer groups than parts, or fewer than two parts.
    """
    if n_parts < 2:
        raise ValueError(f"{n_parts} parts leave nothing to train on; ask for at least two")
    member, sizes = _groups(stimuli, groups, n_parts)
    return _parts(sizes, n_parts, np.random.default_rng(seed))[0][member]


def scheme(responses, name, *, n_folds=5, seed=0, groups=None):
    """The same responses, split into train and test stimuli by another scheme.

    - "stored": the splits that came with the data set.
    - "halves": ten random halves (`half_splits`).
    - "kfold": each of n_folds random parts (`parts`) tests once, the others train.
    - "leave-one-run-out": each run tests once; runs are the labels in the coordinate `run` of the stimuli.
    - "fixed": one split, trained on all stimuli of `response` and tested on those of `test_response`.

    Parameters
    ----------
    responses : xarray.Dataset
        With coordinate `stimulus`; see `lib.contract`.
    name : {"stored", "halves", "kfold", "leave-one-run-out", "fixed"}
    n_folds : int
        Read by "kfold".
    seed : int
        Read by "halves" and "kfold".
    groups : sequence (n_stimuli,), optional
        Label of each stimulus; "halves" and "kfold" never separate stimuli of one label. Default: the coordinate
        `group` of the stimuli, if there is one.

    Returns
    -------
    xarray.Dataset
        With `train` (split, stimulus), bool: True for train stimuli. True throughout under "fixed", which
        `lib.encoding.encode` takes for a test on `test_response`.

    Raises
    ------
    ValueError
        If there is no such scheme, or the responses lack what it needs: splits, two runs, as many groups as
        folds, `test_response`.
    """
    plugins.require(name, SCHEMES, "scheme of splits")
    if name == "stored":
        _require("train" in responses, "no splits are stored with these responses", 'use "halves" or "kfold"')
        return responses
    train = {"halves": _halves, "kfold": _kfold, "leave-one-run-out": _runs, "fixed": _fixed}[name]
    groups = _of_stimuli(responses, "group") if groups is None else groups
    masks = train(responses, groups=groups, n_folds=n_folds, seed=seed)
    kept = responses.drop_dims("split", errors="ignore")
    return kept.assign(train=(("split", "stimulus"), masks)).assign_coords(split=np.arange(len(masks)))


def runs(responses):
    """Run of each stimulus.

    Parameters
    ----------
    responses : xarray.Dataset
        With coordinate `run` of the stimuli.

    Returns
    -------
    array (n_stimuli,)

    Raises
    ------
    ValueError
        If there is no such coordinate, or only one run.
    """
    labels = _of_stimuli(responses, "run")
    advice = 'give each stimulus its run as coordinate "run" (stimulus), or use "kfold"'
    _require(labels is not None, "these responses do not tell in which run a stimulus was shown", advice)
    first = labels[:1].tolist()
    _require(len(np.unique(labels)) > 1, f"all {len(labels)} stimuli are of one run, {first}", 'use "kfold"')
    return labels


def _halves(responses, *, groups, seed, **_):
    return half_splits(responses["stimulus"].values, seed=seed, groups=groups)


def _kfold(responses, *, groups, n_folds, seed):
    part = parts(responses["stimulus"].values, n_folds, seed=seed, groups=groups)
    return part != np.arange(n_folds)[:, None]


def _runs(responses, **_):
    labels = runs(responses)
    return labels != np.unique(labels)[:, None]


def _fixed(responses, **_):
    advice = '"fixed" needs `test_response` (test_repeat, test_stimulus, voxel); use "halves" or "kfold"'
    _require("test_response" in responses, "these responses have no held-out test stimuli", advice)
    return np.ones((1, responses.sizes["stimulus"]), bool)


def _of_stimuli(responses, name):
    """Values of a coordinate of the stimuli, or None."""
    if name not in responses.variables or responses[name].dims != ("stimulus",):
        return None
    return responses[name].values


def _require(fulfilled, message, advice):
    """Raise a message with advice unless a condition is fulfilled."""
    if not fulfilled:
        raise ValueError(f"{message}; {advice}")


def _groups(stimuli, groups, n_parts):
    """Each stimulus' group, numbered, and the groups' sizes."""
    stimuli = np.asarray(stimuli).astype(str)
    groups = stimuli if groups is None else np.asarray(groups).astype(str)
    if len(groups) != len(stimuli) or len(np.unique(stimuli)) != len(stimuli):
        raise ValueError(f"{len(stimuli)} stimuli must all differ and have a group each, got {len(groups)}")
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) < n_parts:
        kind = "one group" if len(sizes) == 1 else f"{len(sizes)} groups"
        raise ValueError(
            f"all {len(stimuli)} stimuli are of {kind} and cannot be split; give at least {n_parts}"
        )
    return member, sizes


def _parts(sizes, n_parts, rng):
    """Part of each group, and the parts' sizes."""
    part, totals = np.zeros(len(sizes), int), np.zeros(n_parts, int)
    for group in rng.permutation(len(sizes)):
        smallest = np.flatnonzero(totals == totals.min())
        part[group] = smallest[rng.integers(len(smallest))] if len(smallest) > 1 else smallest[0]
        totals[part[group]] += sizes[group]
    return part, totals


def _half(sizes, rng):
    """Side of each group, True for the larger."""
    side, totals = _parts(sizes, 2, rng)
    return side == 1 if totals[1] >= totals[0] else side == 0
