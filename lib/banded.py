"""Banded ridge: several layers or models at once, each voxel with its own weight for each of them."""

from itertools import product
from typing import NamedTuple

import numpy as np

from lib import partition, ridge

# Decades around the spectrum of kernels of mean diagonal 1, and a penalty that leaves only the mean.
ALPHAS = np.append(10.0 ** np.arange(6, -7, -1), 1e20)

# Up to so many bands all mixtures are tried that a grid of decades holds; beyond, some drawn at random.
MOST_BANDS_ON_GRID = 4
DECADES = {1: (0,), 2: (0, -0.5, -1, -1.5, -2), 3: (0, -1, -2), 4: (0, -1, -2)}


class Fit(NamedTuple):
    """Banded ridge fits of all voxels on one split.

    Attributes
    ----------
    predictions : array (n_stimuli, n_voxels)
        Predicted responses of the test stimuli, in units of the response; NaN at train stimuli.
    weights : array (n_bands, n_voxels)
        Share of each band in the kernel, at least 0, sum 1; the bands' own sizes do not count.
    alpha : array (n_voxels,)
        Chosen penalties, relative to kernels of mean diagonal 1 over train stimuli; NaN for a voxel whose
        train responses are not all finite.
    edge : int8 array (n_voxels,)
        1 if alpha is the largest of the grid, 2 if the smallest, 0 within it or where alpha is NaN.
    constant : bool array (n_voxels,)
        True where nothing beats the train mean, which is then the prediction.
    left_out : array (n_voxels,)
        Mean squared error of left-out train stimuli over that of predicting the mean; NaN where the train
        responses are constant, or not all finite.
    """

    predictions: np.ndarray
    weights: np.ndarray
    alpha: np.ndarray
    edge: np.ndarray
    constant: np.ndarray
    left_out: np.ndarray


def together(layers):
    """One band of several layers, each with the same total variance.

    Parameters
    ----------
    layers : iterable of array (n_stimuli, n_columns)
        Compressed layers (`lib.ridge.compress`) of the same stimuli, in the same order.

    Returns
    -------
    array (n_stimuli, ≤ n_stimuli)
        Centred columns whose products between stimuli are the sum of the layers' own, each scaled to mean squared
        norm 1 over stimuli. A layer without variance adds nothing.
    """
    return _mixture([_scaled(layer, slice(None)) for layer in layers])


def grid(n_bands):
    """Weights on the interior of a grid that treats all bands alike: ratios of whole or half decades to 1:100.

    Parameters
    ----------
    n_bands : int
        From 1 to 4; two bands are mixed in half decades.

    Returns
    -------
    array (n_candidates, n_bands)
        Rows above 0 that sum to 1, the equal mixture first; 1, 9, 19 and 65 of them.

    Raises
    ------
    ValueError
        If there are more bands than a grid is worth.
    """
    if n_bands not in DECADES:
        raise ValueError(f"{n_bands} bands: a grid of mixtures is for 1 to {MOST_BANDS_ON_GRID}")
    powers = [p for p in product(DECADES[n_bands], repeat=n_bands) if max(p) == 0]
    weights = 10.0 ** np.array(sorted(powers, key=lambda p: (-sum(p), p)))
    return weights / weights.sum(axis=1, keepdims=True)


def candidates(n_bands, *, n_draws=100, seed=0):
    """Weights of bands to choose from: each band alone, the equal mixture, and others.

    Parameters
    ----------
    n_bands : int
    n_draws : int
        Beyond four bands: draws from Dirichlet distributions of concentration 0.1 and 1, in turn.
    seed : int
        Of these draws.

    Returns
    -------
    array (n_candidates, n_bands)
        Rows at least 0 that sum to 1, those of fewer bands first. Up to four bands: the grid (`grid`) of every
        subset of them, 1, 11, 49 and 199 rows.

    References
    ----------
    Dupré la Tour, Eickenberg, Nunez-Elizalde & Gallant (2022), NeuroImage 264:119728, section 2.6 (random
    search over Dirichlet draws).
    """
    if n_bands <= MOST_BANDS_ON_GRID:
        return np.concatenate([_embedded(subset, n_bands) for subset in partition.subsets(range(n_bands))])
    rng = np.random.default_rng(seed)
    drawn = [rng.dirichlet(np.full(n_bands, (0.1, 1.0)[i % 2])) for i in range(n_draws)]
    return np.concatenate([np.eye(n_bands), np.full((1, n_bands), 1 / n_bands), *(d[None] for d in drawn)])


def leave_one_out(bands, Y, train, *, weights=None, alphas=ALPHAS, device=None):
    """Predictions of every voxel by ridge on all bands, mixed as best predicts each train stimulus left out.

    The kernel of a voxel is Σ_b γ_b K_b, K_b = X_b X_bᵀ over its mean diagonal, centred on train stimuli: ridge
    on the columns √γ_b X_b side by side (`lib.ridge.leave_one_out`), with one penalty. Of all candidates γ and
    penalties those of smallest mean squared leave-one-out error are taken, per voxel; where candidates tie (to
    1e-9, relative), the one that comes first.

    Parameters
    ----------
    bands : sequence of array (n_stimuli, n_columns)
        Features, or what `lib.ridge.compress` made of them.
    Y : array (n_stimuli, n_voxels)
        Responses, any unit; see `lib.ridge.leave_one_out` for those that are not finite.
    train : bool array (n_stimuli,)
    weights : array (n_candidates, n_bands), optional
        Default: `candidates`.
    alphas : array (n_alphas,), optional
        Penalties > 0, relative to a kernel of mean diagonal 1.
    device : str, optional
        Torch device on which the voxels are treated.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        If bands differ in stimuli, or weights are negative, do not sum to 1 or are not of these bands.

    References
    ----------
    Nunez-Elizalde, Huth & Gallant (2019), NeuroImage 197:482 (banded ridge); Dupré la Tour, Eickenberg,
    Nunez-Elizalde & Gallant (2022), NeuroImage 264:119728 (multiple-kernel ridge).
    """
    everything = frozenset(range(len(bands)))
    weights = candidates(len(bands)) if weights is None else np.asarray(weights, float)
    return _search(bands, Y, train, weights, [everything], alphas=alphas, device=device)[everything]


def unions(bands, Y, train, *, alphas=ALPHAS, device=None):
    """Banded ridge of every union of bands, each fitted in its own right.

    Each union chooses among the mixtures of its own bands (`candidates`), so those of fewer bands are tried
    once for all unions that hold them; a band that does not help is left out, not paid for.

    Parameters
    ----------
    bands : dict of str to array (n_stimuli, n_columns)
        At most four.
    Y, train, alphas, device
        See `leave_one_out`.

    Returns
    -------
    dict of frozenset of str to Fit
        In the order of `lib.partition.subsets`; weights are of all bands, in the order of `bands`.

    Raises
    ------
    ValueError
        If there are more than four bands.
    """
    if not 1 <= len(bands) <= MOST_BANDS_ON_GRID:
        raise ValueError(
            f"{len(bands)} bands have {2 ** len(bands) - 1} unions to be fitted, each with its own mixtures; "
            f"from 1 to {MOST_BANDS_ON_GRID} are possible: join layers (lib.banded.together)"
        )
    wanted = partition.subsets(range(len(bands)))
    found = _search(
        list(bands.values()), Y, train, candidates(len(bands)), wanted, alphas=alphas, device=device
    )
    names = list(bands)
    return {frozenset(names[band] for band in union): fit for union, fit in found.items()}


def contributions(bands, Y, train, fit):
    """What each band adds to the predictions of test stimuli.

    The share of band b is γ_b K_b times the dual coefficients (Σ_b γ_b K_b + alpha I)⁻¹ (y - mean).

    Parameters
    ----------
    bands, Y, train
        As given to `leave_one_out`.
    fit : Fit
        What it returned.

    Returns
    -------
    array (n_bands, n_stimuli, n_voxels)
        Deviation from the train mean, unit of the response; over bands they sum to prediction - train mean. NaN
        at train stimuli.
    """
    scaled = [_scaled(band, train) for band in bands]
    parts = np.full((len(bands), *np.shape(Y)), np.nan)
    inside, across = ([one[rows] @ one[train].T for one in scaled] for rows in (train, ~train))
    mixtures, chosen = np.unique(fit.weights, axis=1, return_inverse=True)
    for index, gamma in enumerate(mixtures.T):
        voxels = np.flatnonzero(chosen == index)
        dual = _dual(np.tensordot(gamma, inside, 1), Y[train][:, voxels], fit.alpha[voxels])
        dual[:, fit.constant[voxels]] = 0
        for part, share, kernel in zip(parts, gamma, across, strict=True):
            part[np.ix_(~train, voxels)] = share * (kernel @ dual)
    return parts


def split_r2(Y, parts):
    """Squared correlation of prediction and response, split between the bands (product measure).

    With ŷ = Σ ŷ_b, r = Σ_b cov(ŷ_b, y) / (sd(ŷ) sd(y)); band b is given r times its term.

    Parameters
    ----------
    Y : array (n_stimuli, n_voxels)
        Responses of test stimuli.
    parts : array (n_bands, n_stimuli, n_voxels)
        Of the same stimuli; see `contributions`.

    Returns
    -------
    array (n_bands, n_voxels)
        They sum to r², or are all 0 where r is negative or the prediction constant. Single ones may be negative:
        a band that only balances another. NaN where the response is constant.

    References
    ----------
    Pratt (1987), Proc 2nd Tampere Conf Statistics, 245; Dupré la Tour, Eickenberg, Nunez-Elizalde & Gallant
    (2022), NeuroImage 264:119728, section 2.4 (product measure).
    """
    Y = Y - Y.mean(axis=0)
    whole = parts.sum(axis=0)
    whole = whole - whole.mean(axis=0)
    size = np.sqrt((Y**2).sum(axis=0) * (whole**2).sum(axis=0))
    terms = np.einsum("bsv,sv->bv", parts, Y)
    terms = np.divide(terms, size, out=np.zeros_like(terms), where=size != 0)
    return np.where((Y != 0).any(axis=0), np.maximum(terms.sum(axis=0), 0) * terms, np.nan)


def _search(bands, Y, train, weights, wanted, *, alphas, device):
    """Best candidate and penalty of each voxel, for each union among the candidates of its bands alone."""
    _check(bands, train, weights)
    scaled = [_scaled(band, train) for band in bands]
    found = {}
    for gamma in weights:
        used = np.flatnonzero(gamma)
        X = _mixture([np.sqrt(gamma[band]) * scaled[band] for band in used])
        one = ridge.leave_one_out(X, Y, train, alphas=alphas, device=device)
        for union in wanted:
            if union.issuperset(used.tolist()):
                _keep(found, union, one, gamma)
    return {union: found[union] for union in wanted}


def _keep(found, union, one, gamma):
    """Take over the voxels of one candidate that it predicts better than those before it."""
    if union not in found:
        shares = np.repeat(gamma[:, None], len(one.alpha), axis=1)
        arrays = one.predictions, shares, one.alpha, one.edge, one.constant, one.left_out
        found[union] = Fit(*(array.copy() for array in arrays))
        return
    best = found[union]
    better = one.left_out < best.left_out * (1 - ridge.TIE)
    for name in set(Fit._fields) - {"weights"}:
        getattr(best, name)[..., better] = getattr(one, name)[..., better]
    best.weights[:, better] = gamma[:, None]


def _dual(kernel, Y, alpha):
    """Dual coefficients of centred responses, each column with its own penalty."""
    spectrum, U = np.linalg.eigh(kernel)
    return U @ ((U.T @ (Y - Y.mean(axis=0))) / (spectrum[:, None] + alpha))


def _mixture(columns):
    """Bands side by side, with no more columns than stimuli."""
    columns = np.concatenate(list(columns), axis=1)
    return columns if columns.shape[1] <= len(columns) else ridge.compress([columns])


def _scaled(band, train):
    """A band centred on train stimuli and over its root mean square norm there."""
    band = np.asarray(band, float)
    centred = band - band[train].mean(axis=0)
    return centred / _size(band, train)


def _size(band, rows):
    """Root mean squared distance of stimuli from their mean; 1 if they do not differ."""
    centred = band[rows] - band[rows].mean(axis=0)
    return np.sqrt((centred**2).sum() / len(centred)) or 1.0


def _embedded(subset, n_bands):
    """Grid of a subset of bands, as weights of all."""
    interior = grid(len(subset))
    weights = np.zeros((len(interior), n_bands))
    weights[:, sorted(subset)] = interior
    return weights


def _check(bands, train, weights):
    """Raise unless bands and weights fit together."""
    shapes = [np.shape(band) for band in bands]
    if not shapes or any(len(shape) != 2 or shape[0] != len(train) for shape in shapes):
        raise ValueError(f"bands {shapes} must all be (stimuli, columns), of {len(train)} stimuli")
    fits = weights.ndim == 2 and weights.shape[1] == len(bands) and len(weights)
    if not fits or (weights < 0).any() or not np.allclose(weights.sum(axis=1), 1):
        raise ValueError(f"weights {weights.shape} must be at least 0 and sum to 1 over {len(bands)} bands")
