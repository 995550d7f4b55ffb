"""Units of a layer with mean 0 and standard deviation 1, by the stimuli that may define them."""

import numpy as np

# Deviations this small beside the mean are rounding.
ROUNDING = 1e-12


def pieces(layer, train=None):
    """Units with mean 0 and standard deviation 1 over the train stimuli.

    Parameters
    ----------
    layer : iterable of array (n_stimuli, n_units of the piece)
        In pieces, any unit.
    train : bool array (n_stimuli,), optional
        All stimuli by default.

    Yields
    ------
    float64 array (n_stimuli, n_units of the piece)
        In standard deviations (ddof 0); 0 throughout where a unit is the same for all train stimuli.
    """
    for piece in layer:
        units = np.asarray(piece, float)
        yield _scaled(units, units if train is None else units[train])


def columns(X, train, *, published=None):
    """Units of a whole layer with mean 0 and standard deviation 1 over the train stimuli.

    Parameters
    ----------
    X : array (n_stimuli, n_units)
    train : bool array (n_stimuli,)
    published : {"zhou2022"}, optional
        Test stimuli by their own mean and deviation instead: a leak, each depends on the others.

    Returns
    -------
    float32 array (n_stimuli, n_units)
        Units that are the same for all stimuli that define mean and deviation are 0.

    References
    ----------
    Zhou, Du & He (2022), Mach Intell Res 19:439, doi:10.1007/s11633-022-1348-x, as in the published code.
    """
    X, train = np.asarray(X, float), np.asarray(train, bool)
    scaled = np.empty(X.shape, np.float32)
    for rows in (train, ~train):
        scaled[rows] = _scaled(X[rows], X[rows if published else train])
    return scaled


def _scaled(units, by):
    """Units in deviations from the mean of some rows."""
    mean, deviation = by.mean(axis=0), by.std(axis=0)
    varies = deviation > ROUNDING * np.abs(mean)
    return np.where(varies, (units - mean) / np.where(varies, deviation, 1), 0)
