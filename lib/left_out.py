"""Errors of stimuli left out of a ridge regression, for all penalties and voxels from one decomposition."""

import itertools
from typing import NamedTuple

import numpy as np
from scipy import linalg

from lib.devices import off, on, steps

# Errors this close, relative to the smallest, are one error: beyond it rounding would choose the penalty.
TIE = 1e-9

# Penalties this many times above or below the spectrum are tried for the voxels they may suit only.
FAR = 100


class Scores(NamedTuple):
    """Responses along the singular vectors, what is left of them beside these (or None), sum of all squares."""

    spanned: np.ndarray
    rest: np.ndarray
    power: np.ndarray

    def at(self, voxels):
        """The same, of some voxels."""
        rest = None if self.rest is None else self.rest[:, voxels]
        return Scores(self.spanned[:, voxels], rest, self.power[voxels])


class Form(NamedTuple):
    """Residuals of left-out stimuli as matrices on scores and rest; a vector `rest` stands for a diagonal one."""

    spanned: np.ndarray
    rest: np.ndarray


class LeftOut:
    """Errors of left-out stimuli for all penalties from one decomposition; see `ridge.leave_one_out`.

    The residuals are linear in the responses, so that each penalty has one matrix, its form, for all voxels.
    Where a penalty is far above or below the spectrum its form hardly differs from its neighbour's, and a bound
    on the difference tells for most voxels that no such penalty can be the best: those errors stay infinite.

    Parameters
    ----------
    U : array (n_train, n_directions)
        Left singular vectors of the centred train features.
    s : array (n_directions,)
        Singular values, descending, > 0.
    alphas : array (n_alphas,)
        Penalties, descending.
    groups : list of int array
        Positions of the stimuli that are left out together; each stimulus in one.
    device : str or None
        Torch device; None is NumPy.
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
        self.turned = on(self.U, device)

    def scores(self, y):
        """Scores and rest of centred responses.

        Parameters
        ----------
        y : array (n_train, n_voxels)
            Mean 0 over stimuli; NaN throughout for a voxel that is to be left alone.

        Returns
        -------
        Scores
        """
        y = on(y[self.order], self.device)
        power = off((y * y).sum(0))
        for rows, rotation in () if self.single else zip(self.slices, self.rotations, strict=True):
            y[rows] = on(rotation.T, self.device) @ y[rows]
        spanned = self.turned.T @ y
        if self.full:
            return Scores(spanned, None, power)
        inside = on((self.outside > 0)[:, None], self.device)
        return Scores(spanned, inside * (y - self.turned @ spanned), power)

    def _form(self, w):
        """Form of a penalty with filter w (each group's residuals are rotated among themselves)."""
        if self.single:
            leverage = self.outside**2 + self.U**2 @ w
            return Form(self.U * w / leverage[:, None], 1 / leverage)
        forms = [_form(self.U[rows], self.outside[rows], w) for rows in self.slices]
        return Form(np.vstack([form.spanned for form in forms]), linalg.block_diag(*[f.rest for f in forms]))

    def _mean_square(self, form, scores):
        """Mean square of left-out residuals, per voxel."""
        means = np.empty(len(scores.power))
        spanned, rest = (on(matrix, self.device) for matrix in form)
        for voxels in steps(len(means), self.device):
            part = scores.at(voxels)
            residual = spanned @ part.spanned
            if not self.full:
                residual += rest[:, None] * part.rest if self.single else rest @ part.rest
            residual *= residual
            means[voxels] = off(residual.sum(0))
        return means / self.n

    def _errors(self, scores):
        """Mean squared error (penalty, voxel); infinite where it is certain to be no tie with the smallest."""
        errors = np.full((len(self.alphas), len(scores.power)), np.inf)
        last = len(self.alphas) - self.n_bottom - 1
        for row in range(self.n_top, last + 1):
            errors[row] = self._mean_square(self._form(self.filters[row]), scores)
        for rows, edge in ((range(self.n_top), self.n_top), (range(last + 1, len(errors)), last)):
            if len(rows):
                self._add(errors, rows, edge, scores)
        return errors

    def _add(self, errors, rows, edge, scores):
        """Errors of penalties beyond an edge, for the voxels whose best may lie there."""
        forms, at_edge = [self._form(w) for w in self.filters[rows]], self._form(self.filters[edge])
        moved = np.max(
            [np.sqrt(((form.spanned - at_edge.spanned) ** 2).sum(axis=0)) for form in forms], axis=0
        )
        distance = off(on(moved, self.device) @ abs(scores.spanned))
        if not self.full:
            norm = np.abs if self.single else np.linalg.norm
            moved = max(norm(form.rest - at_edge.rest).max() for form in forms)
            distance += moved * np.sqrt(off((scores.rest * scores.rest).sum(0)))
        lowest = np.sqrt(self.n * errors[edge]) - distance
        best = self._as_good(errors.min(axis=0), scores.power, 2 * TIE)
        near = np.flatnonzero(lowest <= np.sqrt(self.n * best))
        if len(near):
            some = scores.at(near)
            for row, form in zip(rows, forms, strict=True):
                errors[row, near] = self._mean_square(form, some)

    def choose(self, scores):
        """Largest penalty of smallest error of each voxel, and how that compares with predicting the mean.

        Parameters
        ----------
        scores : Scores

        Returns
        -------
        alpha : array (n_voxels,)
        constant : bool array (n_voxels,)
            Where the smallest error is that of predicting each stimulus by the mean of those not left out.
        ratio : array (n_voxels,)
            Smallest error over that of the mean; NaN where responses are constant or not finite.
        """
        n, errors = self.n, self._errors(scores)
        best = errors.min(axis=0)
        tied = errors <= self._as_good(best, scores.power, TIE)
        of_mean = scores.power * (n / (n - 1) ** 2)
        if not self.single:
            of_mean = self._mean_square(self._form(np.ones(self.U.shape[1])), scores)
        constant = np.abs(best - of_mean) <= TIE * of_mean
        ratio = np.divide(best, of_mean, out=np.full(len(best), np.nan), where=of_mean > 0)
        return self.alphas[tied.argmax(axis=0)], constant, ratio

    def _as_good(self, best, power, tie):
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
    return Form(inverse[:, n:] * np.sqrt(w), rest)


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
