"""How long regressions on selected inputs will take, from a few that are timed."""

import time

import numpy as np

from lib import selected_ridge

# Targets that are timed: only hundreds show how much work those that select alike share.
N_PROBED = 256


def by_data(inputs, Y, n_fitted, *, n_together=1000, n_probed=N_PROBED):
    """Wall time that targets will take with inputs that are there, from fitting some of these targets.

    Half of the targets that are timed are fitted by themselves too: what the others add tells what each further one
    will.

    Parameters
    ----------
    inputs : lib.selected_ridge.Inputs
        What all targets share is made here, and counted, unless it has been before.
    Y : array (n_rows, at least one)
        Targets of the kind that will be fitted, better hundreds than less; evenly spaced ones of them are timed.
    n_fitted : int
        Number of targets that will be fitted.
    n_together : int, optional
        Number of those that will be fitted in one call.
    n_probed : int, optional
        Of targets that are timed, at most.

    Returns
    -------
    float
        Seconds. How far the selections of targets overlap decides on them, hence the data.
    """
    columns = np.unique(np.linspace(0, Y.shape[1] - 1, min(n_probed, Y.shape[1])).astype(int))
    first = _seconds(inputs, Y[:, columns])
    half = _seconds(inputs, Y[:, columns[::2]])
    whole = _seconds(inputs, Y[:, columns])
    # Sharing at most halves what each adds, and nothing makes it grow; beyond, the clock errs.
    each = np.clip((whole - half) / max(len(columns) // 2, 1), whole / len(columns) / 2, whole / len(columns))
    n_calls = np.ceil(n_fitted / n_together)
    return float(max(first - whole, 0) + n_calls * (whole - each * len(columns)) + n_fitted * each)


def by_size(n_samples, n_inputs, n_fitted, *, n_feat=selected_ridge.N_FEAT, n_rows=None):
    """Wall time that targets will take at most, from noise of the same size.

    Parameters
    ----------
    n_samples, n_inputs, n_fitted : int
    n_feat : int, optional
        Inputs selected for each target.
    n_rows : int, optional
        Rows of the targets, where they are presented several times. Default: n_samples.

    Returns
    -------
    float
        Seconds. Noise shares no selections, so that real targets take as long at most.
    """
    n_rows = n_samples if n_rows is None else n_rows
    noise = np.random.default_rng(0)
    X = noise.standard_normal((n_samples, n_inputs), np.float32)
    Y = noise.standard_normal((n_rows, N_PROBED // 4), np.float32)
    rows = np.arange(n_samples) % n_rows
    start = time.perf_counter()
    inputs = selected_ridge.prepare(X, rows, n_feat=n_feat)
    return time.perf_counter() - start + by_data(inputs, Y, n_fitted)


def _seconds(inputs, Y):
    """Wall time of one fit."""
    start = time.perf_counter()
    inputs.fit(Y)
    return time.perf_counter() - start
