"""Ridge regression of many voxels on one layer, each with its own penalty, from one decomposition."""

import contextlib
import functools
import itertools
from typing import NamedTuple

import numpy as np
from scipy import linalg
from threadpoolctl import ThreadpoolController

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
    left_out = _LeftOut(U, s, alphas, groups, device)
    offset, scores = _scores(Y, train, left_out)
    alpha, constant, ratio = left_out.choose(scores)
    s, test = (_on(array, device) for array in (s[:, None], centred[~train] @ V))
    fit = _empty(train, Y.shape[1])
    for voxels in _steps(Y.shape[1], device):
        penalty = _on(np.where(constant, np.inf, alpha)[voxels], device)
        spanned = scores.spanned[:, voxels]
        weights = spanned * (s / (s**2 + penalty))
        fit.predictions[~train, voxels] = _off(test @ weights) + offset[voxels]
        fit.r_train[voxels] = _cosine(spanned, s * weights, scores.power[voxels])
    undefined = np.isnan(offset)
    fit.r_train[undefined] = np.nan
    fit.alpha[:] = np.where(undefined, np.nan, alpha)
    fit.constant[:], fit.left_out[:] = constant, ratio
    fit.edge[:] = np.select([fit.alpha == alphas[0], fit.alpha == alphas[-1]], [1, 2], 0)
    return fit


class _Scores(NamedTuple):
    """Responses along the singular vectors, what is left of them beside these (or None), sum of all squares."""

    spanned: np.ndarray
    rest: np.ndarray
    power: np.ndarray

    def at(self, voxels):
        """The same, of some voxels."""
        rest = None if self.rest is None else self.rest[:, voxels]
        return _Scores(self.spanned[:, voxels], rest, self.power[voxels])


class _Form(NamedTuple):
    """Residuals of left-out stimuli as matrices on scores and rest; a vector `rest` stands for a diagonal one."""

    spanned: np.ndarray
    rest: np.ndarray


class _LeftOut:
    """Errors of left-out stimuli for all penalties from one decomposition; see `leave_one_out`.

    The residuals are linear in the responses, so that each penalty has one matrix, its form, for all voxels.
    Where a penalty is far above or below the spectrum its form hardly differs from its neighbour's, and a bound
    on the difference tells for most voxels that no such penalty can be the best: those errors stay infinite.
    """

    def __init__(self, U, s, alphas, groups, device):
        self.device, self.n, self.order = device, len(U), np.concatenate(groups)
        # All of the space around the mean is spanned: what remains outside is rounding, and w may be scaled.
        self.full = len(s) >= len(U) - 1
        self.alphas, self.filters = _distinct(s, alphas, scaled=self.full)
        self.single = all(len(rows) == 1 for rows in groups)
        self.U, self.outside, self.rotations = _grouped(U, groups, self.full)
        starts = np.cumsum([0, *map(len, groups)])
        self.slices = [slice(*ends) for ends in itertools.pairwise(starts)]
        spectrum = s**2 if len(s) else np.ones(1)
        self.n_top = max(0, (self.alphas > FAR * spectrum[0]).sum() - 1)
        self.n_bottom = max(0, (self.alphas < spectrum[-1] / FAR).sum() - 1)
        self.turned = _on(self.U, device)

    def scores(self, y):
        """Scores and rest of centred responses."""
        y = _on(y[self.order], self.device)
        power = _off((y * y).sum(0))
        for rows, rotation in () if self.single else zip(self.slices, self.rotations, strict=True):
            y[rows] = _on(rotation.T, self.device) @ y[rows]
        spanned = self.turned.T @ y
        if self.full:
            return _Scores(spanned, None, power)
        inside = _on((self.outside > 0)[:, None], self.device)
        return _Scores(spanned, inside * (y - self.turned @ spanned), power)

    def form(self, w):
        """Form of a penalty with filter w (each group's residuals are rotated among themselves)."""
        if self.single:
            leverage = self.outside**2 + self.U**2 @ w
            return _Form(self.U * w / leverage[:, None], 1 / leverage)
        forms = [_form(self.U[rows], self.outside[rows], w) for rows in self.slices]
        return _Form(np.vstack([form.spanned for form in forms]), linalg.block_diag(*[f.rest for f in forms]))

    def mean_square(self, form, scores):
        """Mean square of left-out residuals, per voxel."""
        means = np.empty(len(scores.power))
        spanned, rest = (_on(matrix, self.device) for matrix in form)
        for voxels in _steps(len(means), self.device):
            part = scores.at(voxels)
            residual = spanned @ part.spanned
            if not self.full:
                residual += rest[:, None] * part.rest if self.single else rest @ part.rest
            residual *= residual
            means[voxels] = _off(residual.sum(0))
        return means / self.n

    def errors(self, scores):
        """Mean squared error (penalty, voxel); infinite where it is certain to be no tie with the smallest."""
        errors = np.full((len(self.alphas), len(scores.power)), np.inf)
        last = len(self.alphas) - self.n_bottom - 1
        for row in range(self.n_top, last + 1):
            errors[row] = self.mean_square(self.form(self.filters[row]), scores)
        for rows, edge in ((range(self.n_top), self.n_top), (range(last + 1, len(errors)), last)):
            if len(rows):
                self._add(errors, rows, edge, scores)
        return errors

    def _add(self, errors, rows, edge, scores):
        """Errors of penalties beyond an edge, for the voxels whose best may lie there."""
        forms, at_edge = [self.form(w) for w in self.filters[rows]], self.form(self.filters[edge])
        moved = np.max(
            [np.sqrt(((form.spanned - at_edge.spanned) ** 2).sum(axis=0)) for form in forms], axis=0
        )
        distance = _off(_on(moved, self.device) @ abs(scores.spanned))
        if not self.full:
            norm = np.abs if self.single else np.linalg.norm
            moved = max(norm(form.rest - at_edge.rest).max() for form in forms)
            distance += moved * np.sqrt(_off((scores.rest * scores.rest).sum(0)))
        lowest = np.sqrt(self.n * errors[edge]) - distance
        best = self.as_good(errors.min(axis=0), scores.power, 2 * TIE)
        near = np.flatnonzero(lowest <= np.sqrt(self.n * best))
        if len(near):
            some = scores.at(near)
            for row, form in zip(rows, forms, strict=True):
                errors[row, near] = self.mean_square(form, some)

    def choose(self, scores):
        """Per voxel: largest penalty of smallest error, whether that is the mean's, and the ratio of the two."""
        n, errors = self.n, self.errors(scores)
        best = errors.min(axis=0)
        tied = errors <= self.as_good(best, scores.power, TIE)
        of_mean = scores.power * (n / (n - 1) ** 2)
        if not self.single:
            of_mean = self.mean_square(self.form(np.ones(self.U.shape[1])), scores)
        constant = np.abs(best - of_mean) <= TIE * of_mean
        ratio = np.divide(best, of_mean, out=np.full(len(best), np.nan), where=of_mean > 0)
        return self.alphas[tied.argmax(axis=0)], constant, ratio

    def as_good(self, best, power, tie):
        """Largest error that counts as the best: an error that is zero but for rounding is as good as any such."""
        return best * (1 + tie) + power * (self.n * np.finfo(float).eps ** 2)


def _grouped(U, groups, full):
    """Rows of U group by group, lengths of what the features do not span there, and rotations.

    Groups of several are rotated so that these lengths are those of single rows. Beside stimuli that alone
    determine a direction (of leverage 1), rounding would be left outside: it counts as 0.
    """
    rows, lengths, rotations = [], [], []
    for group in groups:
        outside = np.eye(len(group)) - 1 / len(U) - U[group] @ U[group].T
        squares, rotation = np.linalg.eigh(outside) if len(group) > 1 else (outside[0], np.ones((1, 1)))
        rows.append(rotation.T @ U[group])
        lengths.append(np.sqrt(np.where((squares > 1e-12) & (not full), squares, 0)))
        rotations.append(rotation)
    return np.vstack(rows), np.concatenate(lengths), rotations


def _form(U, outside, w):
    """Form of one group: with A = (outside, U √w), C_GG is A Aᵀ, and its inverse is applied by least squares."""
    n = len(U)
    A, root = np.hstack([np.diag(outside), U * np.sqrt(w)]), np.append(np.ones(n), np.sqrt(w))
    # Rows by size and columns pivoted: small rows keep their relative accuracy (Cox & Higham 1998).
    order = np.argsort(-root, kind="stable")
    Q, R, _ = linalg.qr(A.T[order], mode="economic", pivoting=True)
    inverse = np.empty(A.shape)
    inverse[:, order] = linalg.solve_triangular(R, Q.T)
    rest = np.divide(inverse[:, :n], outside, out=np.zeros((n, n)), where=outside > 0)
    return _Form(inverse[:, n:] * np.sqrt(w), rest)


def _distinct(s, alphas, *, scaled):
    """Penalties (descending) whose filters w differ in floating point, the largest of each kind, and w.

    With `scaled`, w is (s_min² + alpha) / (s² + alpha): the same up to a factor, without underflow.
    """
    spectrum = s**2
    smallest = spectrum.min(initial=np.inf)
    # Beside 1, what is smaller than rounding is as good as nothing: so far below the spectrum nothing changes.
    effective = np.maximum(alphas, 1e-17 * smallest)[:, None] if len(s) else alphas[:, None]
    ratios = (smallest + effective) / (spectrum + effective)
    filters = ratios if scaled else effective / (spectrum + effective)
    effect = np.hstack([ratios, filters])
    new = np.append(True, (effect[1:] != effect[:-1]).any(axis=1))
    return alphas[new], filters[new]


def _decompose(X):
    """Singular vectors and values of centred features, without the directions that are rounding."""
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    kept = s > 1e-12 * s[0]
    return U[:, kept], s[kept], Vt[kept].T


def _scores(Y, train, left_out):
    """Means of the train responses, and scores of what they deviate from them."""
    offset, scores = np.empty(Y.shape[1]), []
    for voxels in _steps(Y.shape[1], left_out.device):
        offset[voxels], y = _centred_responses(Y[train, voxels])
        scores.append(left_out.scores(y))
    spanned, rest, power = zip(*scores, strict=True)
    rest = None if left_out.full else _joined(rest)
    return offset, _Scores(_joined(spanned), rest, np.concatenate(power))


def _cosine(scores, fitted, power):
    """Correlation of responses and in-sample values from their scores; 0 or NaN where either is constant."""
    product, square = (_off((values * fitted).sum(0)) for values in (scores, fitted))
    r = np.divide(product, np.sqrt(power * square), out=np.zeros_like(product), where=square > 0)
    return np.where(power > 0, r, np.nan)


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
    few = n_stimuli < STIMULI_WORTH_THREADS
    return _libraries().limit(limits=1, user_api="blas") if few else contextlib.nullcontext()


@functools.cache
def _libraries():
    """The loaded libraries that have threads; to find them takes longer than a small fit."""
    return ThreadpoolController()


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
            f"all {len(groups)} train stimuli are of group {str(groups[0])!r}: none is left to train on when it is "
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
