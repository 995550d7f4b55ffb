"""Ridge regression of every target on the inputs that correlate most with it, exact and for many targets."""

import functools
from typing import NamedTuple

import numpy as np
import scipy.sparse

from lib import definite, plugins, subsets
from lib.devices import off, on

# Published: penalty 100, and 500 inputs for each target in both directions.
ALPHA, N_FEAT = 100.0, 500

# What `published=` takes: Nonaka, Majima, Aoki & Kamitani (2021).
RULES = ("nonaka2021",)

# Population variance below which an input counts as uncorrelated with everything in the published method.
PUBLISHED_VARIANCE = 1e-8

# With more inputs than this, products between all of them take more memory than they save time.
INPUTS_SHARED = 8192

# Share of the inputs above which products are made of all of them at once, so that later targets find them made.
NEARLY_ALL = 0.7

# Targets whose inputs one thread chooses before it takes others.
PER_THREAD = 32

# Correlations kept at once.
STEP = 1 << 23


class Fit(NamedTuple):
    """Weights of a block of targets.

    Attributes
    ----------
    selected : int32 array (n_targets, n_selected)
        Positions of the inputs of each target, ascending. Without selection one row that all targets share.
    weights : float64 array (n_targets, n_selected)
        Unit of the target per unit of the input; NaN for a target that holds a value which is not finite.
    bias : float64 array (n_targets,)
        Unit of the target; NaN likewise.
    n_inputs : int
    """

    selected: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    n_inputs: int


def prepare(X, rows=None, *, n_rows=None, alpha=ALPHA, n_feat=N_FEAT, published=None, device=None):
    """What all targets share, made once for any number of blocks of targets.

    Parameters
    ----------
    X : array (n_samples, n_inputs)
        Any real type; not copied if there are more than 8192 inputs, so leave it as it is.
    rows : int array (n_samples,), optional
        Row of the targets that belongs to each sample, where stimuli were presented several times. Default: each
        sample has its own.
    n_rows : int, optional
        Rows of the targets; some may have no sample. Default: up to the last of `rows`.
    alpha : float, optional
        Penalty > 0 of the squared weights.
    n_feat : int, optional
        Inputs of each target; 0, or as many as there are or more: no selection.
    published : str, optional
        "nonaka2021" also penalises the bias by `alpha`, gives inputs of population variance below 1e-8 the
        correlation 0 but keeps them, and makes every target NaN if an input holds a value that is not finite.
        Default: the bias is free, inputs that are constant or not finite are left out.
    device : str, optional
        Torch device on which targets are treated in batches, in float64 (weights agree to 1e-9 of the largest).
        Without selection, or with more than 8192 inputs, NumPy is used all the same. Default: NumPy on all cores.

    Returns
    -------
    Inputs

    Raises
    ------
    ValueError
        If sizes do not fit, the penalty is not positive, or no input can be used.

    References
    ----------
    Nonaka, Majima, Aoki & Kamitani (2021), iScience 24:103013, STAR Methods (unit activity decoding).
    """
    X = np.asarray(X)
    if X.ndim != 2 or not len(X):
        raise ValueError(f"inputs must be (samples, inputs), got {X.shape}")
    if not (np.isfinite(alpha) and alpha > 0) or n_feat < 0:
        raise ValueError(f"alpha must be positive and n_feat not negative, got {alpha} and {n_feat}")
    if rows is not None:
        rows = np.asarray(rows)
        if rows.shape != (len(X),) or rows.dtype.kind not in "iu" or rows.min() < 0:
            raise ValueError(f"{len(X)} samples need one row number each, got {rows.dtype} {rows.shape}")
    least = len(X) if rows is None else int(rows.max()) + 1
    n_rows = least if n_rows is None else n_rows
    if n_rows < least or (rows is None and n_rows > least):
        raise ValueError(f"samples have rows up to {least}, the targets {n_rows}")
    if published is not None:
        plugins.require(published, RULES, "published method")
    return Inputs(X, (rows, n_rows), alpha, n_feat, published, device)


def predict(fit, X):
    """Predicted targets.

    Parameters
    ----------
    fit : Fit
    X : array (n_samples, n_inputs)
        In the units of the inputs that were fitted. Inputs that no target selected are not read.

    Returns
    -------
    float64 array (n_samples, n_targets)
        Unit of the targets; NaN for a target without weights, or where a selected input is NaN.

    Raises
    ------
    ValueError
        If X has another number of inputs.
    """
    X = np.asarray(X)
    if X.ndim != 2 or X.shape[1] != fit.n_inputs:
        raise ValueError(f"{fit.n_inputs} inputs were fitted, got {X.shape}")
    if len(fit.selected) == 1:
        return X[:, fit.selected[0]].astype(float) @ fit.weights.T + fit.bias
    return (sparse(fit) @ X.T.astype(float)).T + fit.bias


def sparse(fit):
    """Weights as a matrix, zero where an input is not selected.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    scipy.sparse.csr_array (n_targets, n_inputs)
        float64; `.T.toarray()` has the layout of the published `W`.
    """
    n_targets, n_selected = fit.weights.shape
    selected = np.broadcast_to(fit.selected, fit.weights.shape).ravel()
    pointers = np.arange(n_targets + 1) * n_selected
    return scipy.sparse.csr_array((fit.weights.ravel(), selected, pointers), shape=(n_targets, fit.n_inputs))


def averaged(Y, rows, alpha):
    """The smaller problem with the same solution where inputs, not targets, are repeated.

    If every row of inputs is presented equally often, the fit of all presentations with penalty alpha is that of the
    mean target of each row with alpha / number of presentations. The bias may be penalised or not.

    Parameters
    ----------
    Y : array (n_samples, n_targets)
        Targets of all presentations, NaN allowed.
    rows : int array (n_samples,)
        Row of the inputs that each presentation belongs to; all of 0 … n_rows - 1.
    alpha : float

    Returns
    -------
    float64 array (n_rows, n_targets)
        Mean targets.
    float
        Penalty to fit them with.

    Raises
    ------
    ValueError
        If rows are not presented equally often; then fit all presentations.
    """
    counts = np.bincount(rows)
    if len(rows) != len(Y) or counts.min() != counts.max():
        raise ValueError(
            f"rows are presented {counts.min()} to {counts.max()} times in {len(Y)} samples: only equal numbers can "
            "be averaged exactly; fit all presentations instead"
        )
    return _summed(np.asarray(Y, float), rows) / counts[0], alpha / counts[0]


class Inputs:
    """Inputs that are ready to be fitted; see `prepare`.

    With the bias penalised by b ≥ 0, the solution is that of the centred problem with one more sample, the means times
    g = √(n b / (n + b)): no bias is left to solve for, and b = 0 needs no case of its own.

    Attributes
    ----------
    used : int array (n_used,)
        Positions of the inputs that can be selected.
    n_constant, n_undefined : int
        Inputs whose values are all equal (published: of variance below 1e-8), and that hold a value which is not
        finite.
    n_selected : int
        Inputs of each target.
    """

    def __init__(self, X, rows, alpha, n_feat, published, device):
        self.X, self.alpha, self.device = X, float(alpha), device
        self.rows, self.n_rows = rows
        self.n_samples, self.n_inputs = X.shape
        bias_alpha = self.alpha if published else 0.0
        self.bias_scale = self.n_samples + bias_alpha
        self.g = np.sqrt(self.n_samples * bias_alpha / self.bias_scale)
        self._measure(published)
        self.n_selected = min(n_feat or len(self.used), len(self.used))
        self.selects = self.n_selected < len(self.used)
        self.shared = len(self.used) <= INPUTS_SHARED
        self.known, self.subsets = np.zeros(len(self.used), bool), None

    def _measure(self, published):
        """Means and norms of the inputs, which of them can be used, and those centred if all fit."""
        mean, norm, constant = np.empty(self.n_inputs), np.empty(self.n_inputs), np.empty(self.n_inputs, bool)
        for part in _parts(self.n_inputs, INPUTS_SHARED):
            values = self.X[:, part].astype(float)
            constant[part] = (values == values[:1]).all(axis=0)
            with np.errstate(invalid="ignore"):
                mean[part] = values.mean(axis=0)
                values -= mean[part]
                norm[part] = np.sqrt(np.einsum("ij,ij->j", values, values))
        undefined = ~np.isfinite(norm)
        if published:
            constant = norm**2 / self.n_samples < PUBLISHED_VARIANCE
        self.n_constant, self.n_undefined = int(constant.sum()), int(undefined.sum())
        self.poisoned = bool(published and self.n_undefined)
        self.used = np.flatnonzero(~undefined if published else ~(undefined | constant))
        if not len(self.used):
            raise ValueError(f"none of {self.n_inputs} inputs varies and is finite")
        self.mean = mean[self.used]
        with np.errstate(divide="ignore"):
            self.per_norm = np.where(constant, 0, 1 / norm)[self.used]

    @functools.cached_property
    def centred(self):
        """Centred inputs that are used, with the sample of means if the bias is penalised."""
        return self._columns(np.arange(len(self.used)))

    @functools.cached_property
    def summed(self):
        """The same, summed over the samples of each row of the targets."""
        return self._by_row(self.centred)

    def _by_row(self, columns):
        """Sums over the samples of each row; the sample of means stays."""
        if self.rows is None:
            return columns
        return np.vstack(
            [_summed(columns[: self.n_samples], self.rows, self.n_rows), columns[self.n_samples :]]
        )

    @functools.cached_property
    def there(self):
        """Summed inputs and products between all inputs on the device."""
        centred = on(self.centred, self.device)
        gram = centred.T @ centred
        gram.diagonal().add_(self.alpha)
        return on(self.summed, self.device), gram

    def _solve(self, selected, products):
        """Weights of selected inputs, from products of those that the first targets select, or of all."""
        needed = np.zeros(len(self.used), bool)
        needed[selected] = True
        if needed[~self.known].any():
            every = self.known.any() or needed.mean() > NEARLY_ALL
            self.known = needed | every
            columns = self.centred if self.known.all() else self.centred[:, self.known]
            self.subsets = subsets.Subsets(self._penalised(columns.T @ columns))
        place = np.cumsum(self.known) - 1
        return self.subsets.solve(place[selected], products[:, self.known])

    def _within(self, union, selected, products):
        """The same where all inputs are too many, but those that these targets select are not."""
        columns = self._columns(union)
        systems = subsets.Subsets(self._penalised(columns.T @ columns))
        return systems.solve(np.searchsorted(union, selected), products[:, union])

    def _penalised(self, gram):
        """The same matrix with the penalty added to its diagonal."""
        gram.ravel()[:: len(gram) + 1] += self.alpha
        return gram

    def fit(self, Y):
        """Weights of a block of targets.

        The inputs of a target are those with the largest absolute correlation over samples; of equal ones, the first.

        Parameters
        ----------
        Y : array (n_rows, n_targets)
            Any unit and any real type. A target with a value that is not finite becomes NaN and leaves the others as
            they are. Give targets in whatever blocks fit in memory: the weights are the same but for rounding.

        Returns
        -------
        Fit

        Raises
        ------
        ValueError
            If the number of rows is another.
        """
        Y = np.asarray(Y)
        if Y.ndim != 2 or len(Y) != self.n_rows:
            raise ValueError(f"targets must be ({self.n_rows} rows, targets), got {Y.shape}")
        step = int(np.clip(STEP // len(self.used), 16, 4096))
        parts = [self._fit(Y[:, part].astype(float)) for part in _parts(Y.shape[1], step)]
        selected, weights, bias = zip(*parts, strict=True)
        selected = np.concatenate(selected) if self.selects else selected[0]
        selected = self.used[selected].astype(np.int32)
        return Fit(selected, np.concatenate(weights), np.concatenate(bias), self.n_inputs)

    def _fit(self, Y):
        """Selected inputs, weights and biases of targets that are treated together."""
        undefined = ~np.isfinite(Y).all(axis=0) | self.poisoned
        Y = np.where(undefined, 0, Y)
        counts = np.ones(self.n_rows) if self.rows is None else np.bincount(self.rows, minlength=self.n_rows)
        mean = counts @ Y / self.n_samples
        Y = Y - mean
        if self.g:
            Y = np.vstack([Y, self.g * mean])
        if self.selects:
            selected, weights = self._selected(Y, mean)
        else:
            selected, weights = np.arange(len(self.used))[None], self._unselected(Y)
        weights[undefined] = np.nan
        bias = self.n_samples * (mean - (weights * self.mean[selected]).sum(axis=1)) / self.bias_scale
        return selected, weights, bias

    def _selected(self, Y, mean):
        """Selected inputs and their weights for targets that are treated together."""
        if self.device and self.shared:
            return self._on_device(Y, mean)
        products = self._products(Y)
        selected = np.empty((len(products), self.n_selected), int)

        def choose(part):
            about_means = self.g**2 * mean[part, None] * self.mean
            selected[part] = _chosen(np.abs(products[part] - about_means) * self.per_norm, self.n_selected)

        definite.each(choose, _parts(len(products), PER_THREAD))
        if self.shared:
            return selected, self._solve(selected, products)
        union = np.unique(selected)
        if len(union) ** 2 < selected.size * self.n_selected:
            return selected, self._within(union, selected, products)
        return selected, self._gathered(
            selected, np.take_along_axis(products, selected, axis=1), self._of_samples(Y)
        )

    def _on_device(self, Y, mean):
        """As `_selected`, on a torch device."""
        from lib import subsets_on_device

        Y, mean, about, per_norm = (on(array, self.device) for array in (Y, mean, self.mean, self.per_norm))
        products = Y.T @ self.there[0]
        scores = (products - self.g**2 * mean[:, None] * about).abs() * per_norm
        selected = subsets_on_device.chosen(scores, self.n_selected)
        return off(selected), off(subsets_on_device.solve(self.there[1], selected, products))

    def _products(self, Y):
        """Products of centred targets and inputs (n_targets, n_used)."""
        if self.shared:
            return Y.T @ self.summed
        products = np.empty((Y.shape[1], len(self.used)))
        for part in _parts(len(self.used), INPUTS_SHARED):
            products[:, part] = Y.T @ self._by_row(self._columns(np.arange(len(self.used))[part]))
        return products

    def _columns(self, selected):
        """Some centred inputs, with the sample of means if the bias is penalised."""
        mean = self.mean[selected]
        columns = self.X[:, self.used[selected]] - mean
        return np.vstack([columns, self.g * mean]) if self.g else columns

    def _of_samples(self, Y):
        """Centred targets of all samples (n_targets, n_samples)."""
        Y = Y if self.rows is None else np.vstack([Y[self.rows], Y[self.n_rows :]])
        return np.ascontiguousarray(Y.T)

    def _gathered(self, selected, right, targets):
        """One system for each target from its own inputs: of the inputs, or of the samples if these are fewer."""
        dual = targets.shape[1] < self.n_selected

        def solve(target):
            columns = self._columns(selected[target])
            matrix = self._penalised(columns @ columns.T if dual else columns.T @ columns)
            if dual:
                definite.solve(matrix, targets[target])
                right[target] = targets[target] @ columns
            else:
                definite.solve(matrix, right[target])

        definite.each(solve, range(len(selected)))
        return right

    def _unselected(self, Y):
        """Weights of all inputs for all targets."""
        X = self.centred
        if len(X) > X.shape[1]:
            right = Y.T @ self.summed
            definite.solve(self._penalised(X.T @ X), right)
            return right
        matrix, targets = self._penalised(X @ X.T), self._of_samples(Y)
        definite.solve(matrix, targets)
        return targets @ X


def _chosen(scores, n):
    """Positions of the n largest in each row, ascending; of equal ones, the first."""
    least = np.partition(scores, scores.shape[1] - n, axis=1)[:, [scores.shape[1] - n]]
    above, equal = scores > least, scores == least
    missing = n - above.sum(axis=1, keepdims=True)
    if (equal.sum(axis=1, keepdims=True) > missing).any():
        equal &= equal.cumsum(axis=1) <= missing
    above |= equal
    return np.nonzero(above)[1].reshape(len(scores), n)


def _summed(values, rows, n_rows=None):
    """Sums over the samples of each row."""
    n_rows = int(rows.max()) + 1 if n_rows is None else n_rows
    place = scipy.sparse.csr_array(
        (np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=(n_rows, len(rows))
    )
    return place @ values


def _parts(n, step):
    """Slices of so many at most."""
    return [slice(start, start + step) for start in range(0, n, step)]
