"""Ridge regression of many voxels on one layer, each with its own penalty, from one decomposition."""

import contextlib
from typing import NamedTuple

import numpy as np
from scipy import linalg
from threadpoolctl import threadpool_limits

# Published grid: 10^49 … 10^-50 (Tuckute et al. 2023); both ends lie far outside any layer's spectrum.
ALPHAS = 10.0 ** np.arange(49, -51, -1)

# Errors this close, relative to the smallest, are one error: beyond it rounding would choose the penalty.
TIE = 1e-9

# Penalties this many times above or below the spectrum are tried for the voxels they may suit only.
FAR = 100

# Units and voxels treated together: enough to keep a processor busy, few enough for its cache.
UNITS_PER_STEP = 1024
VOXELS_PER_STEP = 2048
VOXELS_PER_STEP_ON_DEVICE = 65536

# Smaller products lose more to threads waiting for each other than they gain (30-fold on a busy machine).
STIMULI_WORTH_THREADS = 512


class Fit(NamedTuple):
    """Ridge fits of all voxels on one split.

    Attributes
    ----------
    predictions : array (n_stimuli, n_voxels)
        Predicted responses of the test stimuli, in units of the response; NaN at train stimuli.
    alpha : array (n_voxels,)
        Chosen penalties; NaN for a voxel whose train responses are not all finite.
    edge : int8 array (n_voxels,)
        1 if alpha is the largest of the grid, 2 if the smallest, 0 within it or where alpha is NaN.
    constant : bool array (n_voxels,)
        True where the smallest error is that of predicting the train mean (flat top): that mean is then the
        prediction, where the published code lets rounding decide.
    r_train : array (n_voxels,)
        Correlation of the train responses with their in-sample values; 0 where these are constant, NaN where
        the responses are, or are not all finite.
    left_out : array (n_voxels,)
        Mean squared error of left-out train stimuli at the chosen penalty, over that of predicting each by the
        mean of the others: 1 - left_out is the explained variance of left-out stimuli. NaN where the train
        responses are constant, or not all finite.
    """

    predictions: np.ndarray
    alpha: np.ndarray
    edge: np.ndarray
    constant: np.ndarray
    r_train: np.ndarray
    left_out: np.ndarray


def compress(blocks):
    """A narrow stand-in for a layer: the same products between stimuli from at most n_stimuli columns.

    Each unit's mean over stimuli is removed, then the triangular factor R of the transposed layer is
    accumulated block by block (X = Rᵀ Qᵀ, so X Xᵀ = Rᵀ R). Ridge predictions depend on the layer through
    these products only, whichever stimuli train them. Orthogonal factors keep small singular values that
    the products themselves, squared, would lose to rounding.

    Parameters
    ----------
    blocks : iterable of array (n_stimuli, n_units_of_block)
        The layer in pieces, any real type; one piece is in memory at a time.

    Returns
    -------
    float64 array (n_stimuli, min(n_stimuli, n_units))
        The centred layer itself if it has no more units than stimuli, else Rᵀ. Unit of the features.

    Raises
    ------
    ValueError
        If there is no unit, a block has other stimuli, or a value is not finite (the first units named).

    References
    ----------
    Golub & Van Loan (2013), Matrix Computations, section 5.2 (QR) and 6.5 (appending rows).
    """
    rows, n_units = None, 0
    for block in blocks:
        block = np.asarray(block)
        rows = np.empty((0, len(block))) if rows is None else rows
        _check_block(block, rows.shape[1], n_units)
        rows = _appended(rows, block)
        n_units += block.shape[1]
    if not n_units:
        raise ValueError("the layer has no units; at least one is needed")
    return np.ascontiguousarray(rows.T)


def leave_one_out(X, Y, train, *, alphas=ALPHAS, groups=None, device=None):
    """Predictions of every voxel by ridge with the penalty that best predicts train stimuli left out of it.

    Unpenalised intercept, features and responses centred on the train stimuli. With U, s from the singular
    value decomposition of the centred train features, completed to an orthonormal basis of all profiles of mean
    0 (s = 0 for what the features do not span), C = U w Uᵀ and w = alpha / (s² + alpha), the residuals of a
    group G of stimuli, when it is left out, are (C_GG)⁻¹ (C y)_G; a single stimulus' is (C y)_i / C_ii. Their
    mean square is smallest at the chosen alpha. Directions with s ≤ 1e-12 s_max count as not spanned. Where
    several penalties tie (to 1e-9, relative) the largest is taken; the published code lets rounding decide
    there.

    Parameters
    ----------
    X : array (n_stimuli, n_units)
        Features, or what `compress` made of them.
    Y : array (n_stimuli, n_voxels)
        Responses, any unit. A voxel with a value that is not finite among the train stimuli gets NaN
        throughout and leaves the others as they are.
    train : bool array (n_stimuli,)
        True for train stimuli; the others are predicted.
    alphas : array (n_alphas,), optional
        Penalties > 0, in any order. Default: the published grid.
    groups : sequence (n_stimuli,), optional
        Train stimuli of one label (a run, a fold) are left out together. Default: each by itself.
    device : str, optional
        Torch device on which the voxels are treated ("cuda", "cpu"), in float64. Default: NumPy.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        If sizes differ, fewer than three train stimuli or no test stimulus are left, all train stimuli are of
        one group, a feature is not finite, or a penalty is not a positive number.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (regression);
    Rifkin & Lippert (2007), MIT-CSAIL-TR-2007-025, section 3 (leave-one-out in closed form);
    Pahikkala, Boberg & Salakoski (2006), SCAI 2006, 83-90 (leaving groups out).
    """
    X, Y, train, alphas = _check_fit(X, Y, train, alphas)
    groups = _members(np.arange(train.sum()) if groups is None else _check_groups(groups, train))
    with _threads(len(X)):
        return _fit(X, Y, train, alphas, groups, device)


def _fit(X, Y, train, alphas, groups, device):
    """Fit of checked arguments; see `leave_one_out`."""
    centred = np.where((X[train] == X[train][0]).all(axis=0), 0, X - X[train].mean(axis=0))
    U, s, V = _decompose(centred[train])
    offset, scores = _scores(Y, train, U, device)
    alpha, constant, left_out = _LeftOut(U, s, alphas, groups).choose(scores, device)
    s, test = (_on(array, device) for array in (s[:, None], centred[~train] @ V))
    fit = _empty(train, Y.shape[1])
    for voxels in _steps(Y.shape[1], device):
        penalty = _on(np.where(constant, np.inf, alpha)[voxels], device)
        all_of_it = scores[:, voxels]
        weights = all_of_it[: len(s)] * (s / (s**2 + penalty))
        fit.predictions[~train, voxels] = _off(test @ weights) + offset[voxels]
        weights *= s
        fit.r_train[voxels] = _cosine(all_of_it, weights)
    undefined = np.isnan(offset)
    fit.r_train[undefined] = np.nan
    fit.alpha[:] = np.where(undefined, np.nan, alpha)
    fit.constant[:], fit.left_out[:] = constant, left_out
    fit.edge[:] = np.select([fit.alpha == alphas[0], fit.alpha == alphas[-1]], [1, 2], 0)
    return fit


class _LeftOut:
    """Errors of left-out stimuli for all penalties from one decomposition; see `leave_one_out`.

    The residuals are linear in the scores Uᵀy, so that each penalty has one matrix, its form, for all voxels.
    Where a penalty is far above or below the spectrum its form hardly differs from its neighbour's, and a bound
    on the difference tells for most voxels that no such penalty can be the best: those errors stay infinite.
    """

    def __init__(self, U, s, alphas, groups):
        self.alphas, filters = _distinct(s, alphas, scaled=len(s) == U.shape[1])
        # What the features do not span is left as it is.
        self.filters = np.hstack([filters, np.ones((len(filters), U.shape[1] - len(s)))])
        self.parts = [_part(U[rows], len(s)) for rows in groups]
        self.single = all(len(rows) == 1 for rows in groups)
        if self.single:
            self.rows = np.vstack(self.parts)
            self.squares = self.rows**2
        spectrum = s**2 if len(s) else np.ones(1)
        self.n_top = max(0, (self.alphas > FAR * spectrum[0]).sum() - 1)
        self.n_bottom = max(0, (self.alphas < spectrum[-1] / FAR).sum() - 1)

    def form(self, w):
        """Matrix that turns scores into residuals of left-out stimuli (each group's rotated among themselves)."""
        if self.single:
            return self.rows * w / (self.squares @ w)[:, None]
        return np.vstack([_form(part, w) for part in self.parts])

    def errors(self, scores, power, device):
        """Mean squared error (penalty, voxel); infinite where it is certain to be no tie with the smallest."""
        errors = np.full((len(self.alphas), scores.shape[1]), np.inf)
        last = len(self.alphas) - self.n_bottom - 1
        for row in range(self.n_top, last + 1):
            errors[row] = _mean_square(self.form(self.filters[row]), scores, device)
        for rows, edge in ((range(self.n_top), self.n_top), (range(last + 1, len(errors)), last)):
            if len(rows):
                self._add(errors, rows, edge, scores, power, device)
        return errors

    def _add(self, errors, rows, edge, scores, power, device):
        """Errors of penalties beyond an edge, for the voxels whose best may lie there."""
        forms = [self.form(w) for w in self.filters[rows]]
        at_edge = self.form(self.filters[edge])
        moved = np.max([np.sqrt(((form - at_edge) ** 2).sum(axis=0)) for form in forms], axis=0)
        n = len(at_edge)
        lowest = np.sqrt(n * errors[edge]) - _off(_on(moved, device) @ abs(scores))
        near = np.flatnonzero(lowest <= np.sqrt(n * _as_good(errors.min(axis=0), power, n, 2 * TIE)))
        if len(near):
            some = scores[:, near]
            for row, form in zip(rows, forms, strict=True):
                errors[row, near] = _mean_square(form, some, device)

    def choose(self, scores, device):
        """Per voxel: largest penalty of smallest error, whether that is the mean's, and the ratio of the two."""
        n = len(scores) + 1
        power = _off((scores * scores).sum(0)) / n
        errors = self.errors(scores, power, device)
        best = errors.min(axis=0)
        tied = errors <= _as_good(best, power, n, TIE)
        of_mean = power * (n / (n - 1)) ** 2
        if not self.single:
            of_mean = _mean_square(self.form(np.ones(n - 1)), scores, device)
        constant = np.abs(best - of_mean) <= TIE * of_mean
        ratio = np.divide(best, of_mean, out=np.full(len(best), np.nan), where=of_mean > 0)
        return self.alphas[tied.argmax(axis=0)], constant, ratio


def _as_good(best, power, n, tie):
    """Largest error that counts as the best: an error that is zero but for rounding is as good as any such."""
    return best * (1 + tie) + power * (n * np.finfo(float).eps) ** 2


def _mean_square(form, scores, device):
    """Mean square of a form's values, per voxel."""
    form, means = _on(form, device), np.empty(scores.shape[1])
    for voxels in _steps(len(means), device):
        residual = form @ scores[:, voxels]
        residual *= residual
        means[voxels] = _off(residual.sum(0))
    return means / len(form)


def _part(rows, n_spanned):
    """Basis vectors at the stimuli of a group, rotated so that what is outside the features' span comes first.

    Beside stimuli that alone determine a direction (of leverage 1), what rounding leaves outside would decide.
    """
    outside = rows[:, n_spanned:]
    rotation, lengths, _ = np.linalg.svd(outside)
    rows = rotation.T @ rows
    rows[(lengths > 1e-6).sum() :, n_spanned:] = 0
    return rows


def _form(part, w):
    """(C_GG)⁻¹ C_G Uᵀ as a matrix on scores, up to a rotation: the least-squares inverse of √w U_Gᵀ, times √w."""
    # Rows by size and columns pivoted: small rows keep their relative accuracy (Cox & Higham 1998).
    root, order = np.sqrt(w), np.argsort(-w, kind="stable")
    Q, R, _ = linalg.qr((part * root).T[order], mode="economic", pivoting=True)
    form = np.empty((len(part), len(w)))
    form[:, order] = linalg.solve_triangular(R, Q.T * root[order])
    return form


def _distinct(s, alphas, *, scaled):
    """Penalties (descending) whose filters w differ in floating point, the largest of each kind, and w.

    With `scaled`, w is (s_min² + alpha) / (s² + alpha): the same up to a factor, without underflow.
    """
    spectrum, alphas = s**2, alphas[:, None]
    ratios = (spectrum.min(initial=np.inf) + alphas) / (spectrum + alphas)
    filters = ratios if scaled else alphas / (spectrum + alphas)
    # Beside what the layer does not span, a share below rounding is none; between stimuli, ratios count.
    effect = np.hstack([ratios, np.where(filters < 1e-17, 0, filters)])
    new = np.append(True, (effect[1:] != effect[:-1]).any(axis=1))
    return alphas[new, 0], filters[new]


def _decompose(X):
    """Basis of all profiles of mean 0, the singular vectors of centred features first, and their values.

    Directions that are rounding count as not spanned. The right singular vectors come last.
    """
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    kept = s > 1e-12 * s[0]
    U = np.column_stack([np.full(len(X), len(X) ** -0.5), U[:, kept]])
    rest = np.linalg.qr(U, mode="complete")[0][:, U.shape[1] :]
    return np.hstack([U[:, 1:], rest]), s[kept], Vt[kept].T


def _scores(Y, train, U, device):
    """Means of the train responses, and the scores Uᵀy of what they deviate from them."""
    offset, scores = np.empty(Y.shape[1]), []
    U = _on(U, device)
    for voxels in _steps(Y.shape[1], device):
        offset[voxels], y = _centred_responses(Y[train, voxels])
        scores.append(U.T @ _on(y, device))
    return offset, _joined(scores)


def _cosine(scores, fitted):
    """Correlation of responses and in-sample values from their scores; 0 or NaN where either is constant."""
    product = _off((scores[: len(fitted)] * fitted).sum(0))
    own, theirs = (_off((values * values).sum(0)) for values in (scores, fitted))
    r = np.divide(product, np.sqrt(own * theirs), out=np.zeros_like(product), where=theirs > 0)
    return np.where(own > 0, r, np.nan)


def _centred_responses(Y):
    """Means over stimuli and deviations from them: NaN where not all are finite, 0 where all are equal."""
    with np.errstate(invalid="ignore"):
        offset = Y.mean(axis=0)
    offset[~np.isfinite(offset)] = np.nan
    centred = Y - offset
    centred[:, (Y[:1] == Y).all(axis=0)] = 0
    return offset, centred


def _appended(rows, block):
    """Rows with a block's centred units below them, as a triangle of the same products once that is smaller."""
    with _threads(rows.shape[1]):
        for start in range(0, block.shape[1], UNITS_PER_STEP):
            units = block[:, start : start + UNITS_PER_STEP]
            centred = units - units.mean(axis=0, dtype=float)
            centred[:, (units == units[:1]).all(axis=0)] = 0
            rows = np.concatenate([rows, centred.T])
            rows = rows if len(rows) <= rows.shape[1] else np.linalg.qr(rows, mode="r")
    return rows


def _threads(n_stimuli):
    """Context in which products of this size use one thread, or as many as they like if large."""
    return threadpool_limits(1, "blas") if n_stimuli < STIMULI_WORTH_THREADS else contextlib.nullcontext()


def _empty(train, n_voxels):
    """A fit to be filled, with NaN at the train stimuli of predictions."""
    predictions = np.empty((len(train), n_voxels))
    predictions[train] = np.nan
    r_train, alpha, left_out = np.empty((3, n_voxels))
    edge, constant = np.zeros(n_voxels, np.int8), np.zeros(n_voxels, bool)
    return Fit(predictions, alpha, edge, constant, r_train, left_out)


def _steps(n_voxels, device):
    """Slices of voxels that are treated together."""
    step = VOXELS_PER_STEP if device is None else VOXELS_PER_STEP_ON_DEVICE
    return [slice(start, start + step) for start in range(0, n_voxels, step)]


def _on(array, device):
    """The array itself, or a float64 tensor of it on a device."""
    if device is None:
        return array
    import torch

    return torch.as_tensor(array, dtype=torch.float64, device=device)


def _off(array):
    """The array itself, or a tensor's values as an array."""
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()


def _joined(pieces):
    """Arrays or tensors side by side."""
    if isinstance(pieces[0], np.ndarray):
        return np.concatenate(pieces, axis=1)
    import torch

    return torch.cat(pieces, dim=1)


def _members(labels):
    """Positions of each label's members."""
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def _check_groups(groups, train):
    """Labels of the train stimuli; raise unless there is one for each stimulus and two among them differ."""
    groups = np.asarray(groups)
    if groups.shape != train.shape:
        raise ValueError(f"{len(train)} stimuli need a group each, got {groups.shape}")
    groups = groups[train]
    if (groups == groups[0]).all():
        raise ValueError(
            f"all {len(groups)} train stimuli are of group {groups[0]!r}: none is left to train on when it is "
            "left out; at least two groups are needed"
        )
    return groups


def _check_block(block, n_stimuli, first_unit):
    """Raise unless a block is (n_stimuli, any) and finite."""
    if block.ndim != 2 or len(block) != n_stimuli:
        raise ValueError(f"a block of units has shape {block.shape}, not ({n_stimuli} stimuli, units)")
    bad = ~np.isfinite(block).all(axis=0)
    if bad.any():
        first = (first_unit + np.flatnonzero(bad))[:5].tolist()
        raise ValueError(f"{bad.sum()} units hold values that are not finite, the first: {first}")


def _check_fit(X, Y, train, alphas):
    """Arguments of a fit as float64 arrays, penalties descending; raise if they cannot belong together."""
    X, Y, train = np.asarray(X, float), np.asarray(Y, float), np.asarray(train)
    alphas = np.sort(np.unique(np.asarray(alphas, float)))[::-1]
    if X.ndim != 2 or Y.ndim != 2 or not len(X) == len(Y) == len(train):
        raise ValueError(f"X {X.shape}, Y {Y.shape} and train {train.shape} differ in stimuli (rows)")
    if train.dtype != bool or train.sum() < 3 or train.all():
        raise ValueError("train must be boolean, with at least three train stimuli and one test stimulus")
    bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
    if len(bad):
        raise ValueError(f"features of {len(bad)} stimuli are not finite, the first: {bad[:5].tolist()}")
    if not len(alphas) or not np.isfinite(alphas).all() or alphas[-1] <= 0:
        raise ValueError(f"penalties must be positive finite numbers, got {alphas[-5:].tolist()}")
    return X, Y, train, alphas
