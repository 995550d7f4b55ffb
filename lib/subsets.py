"""Many systems that are each some rows and columns of one symmetric positive definite matrix."""

import functools
from typing import NamedTuple

import numpy as np

from lib import definite

# Seconds for each system, for each element gathered from a whole matrix and from the small one of a base, and for
# squares and cubes of the number of unknowns in a factor. Their ratios decide what is quickest, not what results.
OVERHEAD, FAR, NEAR, SQUARE, CUBE = 6e-5, 7e-9, 3e-9, 2.5e-9, 9e-12
# Seconds for one multiplication and addition of a large product.
PRODUCT = 4e-11

# Numbers of bases that are tried, and rounds in which they are moved to the selections that are nearest.
BASES, ROUNDS = (4, 12, 36, 108), 3

# Systems that one thread solves before it takes others.
PER_THREAD = 16


class Subsets:
    """Solutions x of A[S, S] x = r[S] for many selections S, from solutions for bases that resemble them.

    For a base B, with N the other unknowns of any selection near it, P = A_BB⁻¹, F = P A_BN and the Schur complement
    C = A_NN - A_NB F, z = P r_B and q = r_N - A_NB z, a selection with I = S \\ B entering and O = B \\ S leaving has

        [ P_OO  -F_OI ] [ d   ]   [ -z_O ]
        [ F_OIᵀ  C_II ] [ x_I ] = [  q_I ],    x_B = z - F_:I x_I + P_:O d,

    a system of the inputs in which S and B differ only. Without a base this is the system itself; with all unknowns as
    base it solves for those that are discarded. Bases are majorities among selections that are alike, as many as an
    estimate of the work finds best. All this is exact.

    Parameters
    ----------
    matrix : float64 array (n, n)
        Symmetric positive definite.

    References
    ----------
    Tsatsomeros (2000), Linear Algebra Appl 307:151-165 (principal pivot transforms);
    Golub & Van Loan (2013), Matrix Computations, section 4.1.6 (quasidefinite systems).
    """

    def __init__(self, matrix):
        self.matrix = matrix

    @functools.cached_property
    def inverse(self):
        """Inverse of the whole matrix."""
        return _pivoted(self.matrix, len(self.matrix))

    def solve(self, selected, right):
        """Solutions of all systems.

        Parameters
        ----------
        selected : int array (n_systems, n_selected)
            Ascending positions of the unknowns of each system.
        right : float64 array (n_systems, n)
            Right-hand sides at all positions.

        Returns
        -------
        float64 array (n_systems, n_selected)
        """
        chosen = np.zeros(right.shape, bool)
        np.put_along_axis(chosen, selected, True, axis=1)
        solutions = np.empty(selected.shape)

        def treat(task):
            near, systems = task
            if near is None:
                self._alone(systems, selected, right, solutions)
            else:
                solutions[systems] = near.solve(chosen[systems], selected[systems], right[systems])

        for tasks in _split(_tasks(chosen), definite.cores()):
            near = definite.each(lambda task: self._near(task[0], chosen[task[1]]), tasks)
            parts = [_split(systems, PER_THREAD) for _, systems in tasks]
            definite.each(treat, [(n, part) for n, some in zip(near, parts, strict=True) for part in some])
        return solutions

    def _alone(self, systems, selected, right, solutions):
        """Write solutions of systems without a base."""
        for system in systems:
            S = selected[system]
            solutions[system] = right[system, S]
            definite.solve(_gathered(self.matrix, S), solutions[system])

    def _near(self, base, chosen):
        """A base that is ready for the systems near it; None without a base."""
        if not base.any():
            return None
        B, N = np.flatnonzero(base), np.flatnonzero(~base & chosen.any(axis=0))
        order = np.concatenate([B, N])
        pivoted = _pivoted(_gathered(self.matrix, order), len(B)) if len(B) < len(base) else self.inverse
        return Near(order, len(B), pivoted)


class Near(NamedTuple):
    """A base that is ready for the systems near it.

    Attributes
    ----------
    order : int array (n_near,)
        Positions of the unknowns of the base, then of the others that a system near it has.
    n_base : int
    pivoted : float64 array (n_near, n_near)
        P, F and C in the places of A_BB, A_BN and A_NN; see `Subsets`.
    """

    order: np.ndarray
    n_base: int
    pivoted: np.ndarray

    def solve(self, chosen, selected, right):
        """Solutions of systems near the base.

        Parameters
        ----------
        chosen : bool array (n_systems, n)
            Unknowns of each system.
        selected : int array (n_systems, n_selected)
            Their positions.
        right : float64 array (n_systems, n)
            Right-hand sides.

        Returns
        -------
        float64 array (n_systems, n_selected)
        """
        n_base, right = self.n_base, right[:, self.order]
        P, F = self.pivoted[:n_base, :n_base], self.pivoted[n_base:, :n_base]
        start = np.hstack([right[:, :n_base] @ P, right[:, n_base:] - right[:, :n_base] @ F.T])
        change = np.zeros(right.shape)
        for system, now in enumerate(chosen[:, self.order]):
            entering, leaving = n_base + np.flatnonzero(now[n_base:]), np.flatnonzero(~now[:n_base])
            _differences(self.pivoted, entering, leaving, start[system], change[system])
        start[:, :n_base] += change[:, :n_base] @ P - change[:, n_base:] @ F
        start[:, n_base:] = change[:, n_base:]
        place = np.empty(chosen.shape[1], int)
        place[self.order] = np.arange(len(self.order))
        return np.take_along_axis(start, place[selected], axis=1)


def _gathered(matrix, places):
    """Rows and columns of a matrix at some places."""
    return matrix.take(places[:, None] * len(matrix) + places)


def _pivoted(matrix, n_base):
    """P, F and C in the places of A_BB, A_BN and A_NN, where B are the first unknowns."""
    rows = np.vstack([np.eye(n_base), matrix[n_base:, :n_base]])
    triangle = matrix[:n_base, :n_base].copy()
    definite.factor(triangle)
    definite.half_solve(triangle, rows, transposed=True)
    pivoted = rows @ rows.T
    pivoted[n_base:, n_base:] = matrix[n_base:, n_base:] - pivoted[n_base:, n_base:]
    return pivoted


def _differences(pivoted, entering, leaving, start, change):
    """Write x of the entering and d of the leaving unknowns of one system into `change`."""
    both, n = np.concatenate([entering, leaving]), len(entering)
    block = np.empty((len(both) + 1, len(both)))
    pivoted.take(both[:, None] * len(pivoted) + both, out=block[:-1], mode="clip")
    block[-1, :n], block[-1, n:] = start[entering], -start[leaving]
    C, P, rows, d = block[:n, :n], block[n:-1, n:], block[n:, :n], block[-1, n:]
    if n:
        definite.factor(C)
        definite.half_solve(C, rows, transposed=True)
        P += rows[:-1] @ rows[:-1].T
        d += rows[:-1] @ rows[-1]
    if len(leaving):
        definite.solve(P, d)
    if n:
        rows[-1] -= d @ rows[:-1]
        definite.half_solve(C, rows[-1], transposed=False)
    change[both] = block[-1]


def _tasks(chosen):
    """Bases and the systems that each serves, so that the estimated work is least."""
    n_systems, n = chosen.shape
    n_selected = chosen.sum(axis=1)
    alone = np.minimum(_work(n_selected, FAR), _work(n - n_selected, FAR))
    shared = np.flatnonzero(chosen.any(axis=0))
    masks = chosen[:, shared].astype(np.float32)
    least, best = alone.sum(), (None, np.full(n_systems, -1))
    for n_bases in BASES:
        bases, nearest, distances = _clustered(masks, n_bases)
        work = _work(distances, NEAR)
        nearest[work > alone] = -1
        cost = np.minimum(work, alone).sum() + sum(
            _pivoting(base, masks[nearest == k]) for k, base in enumerate(bases)
        )
        if cost >= least:
            break
        least, best = cost, (bases, nearest)
    bases, nearest = best
    whole = np.full(n, 2 * n_selected[0] > n)
    tasks = [(whole, np.flatnonzero(nearest < 0))]
    for k in np.unique(nearest[nearest >= 0]):
        base = np.zeros(n, bool)
        base[shared[bases[k]]] = True
        tasks.append((base, np.flatnonzero(nearest == k)))
    return tasks


def _clustered(masks, n_bases):
    """Bases that selections are near to, the nearest of each, and in how many unknowns it differs from it."""
    sizes = masks.sum(axis=1)
    bases = masks[np.linspace(0, len(masks) - 1, n_bases).astype(int)] > 0
    for _ in range(ROUNDS):
        nearest = _distances(masks, sizes, bases).argmin(axis=1)
        members = np.eye(n_bases, dtype=np.float32)[nearest]
        bases = members.T @ masks > members.sum(axis=0)[:, None] / 2
    distances = _distances(masks, sizes, bases)
    return bases, distances.argmin(axis=1), distances.min(axis=1)


def _distances(masks, sizes, bases):
    """Number of unknowns in which selections and bases differ (n_systems, n_bases)."""
    bases = bases.astype(np.float32)
    return sizes[:, None] + bases.sum(axis=1) - 2 * masks @ bases.T


def _work(n, gather):
    """Estimated seconds for a system of n unknowns."""
    return OVERHEAD + (gather + SQUARE) * n**2 + CUBE * n**3


def _pivoting(base, masks):
    """Estimated seconds to make a base ready."""
    if not len(masks):
        return 0.0
    n_base, n = base.sum(), (base | masks.any(axis=0)).sum()
    return 2 * FAR * n**2 + PRODUCT * n_base / 2 * (n_base**2 / 3 + n_base * n + n**2)


def _split(items, size):
    """Parts of so many at most."""
    return [items[start : start + size] for start in range(0, len(items), size)]
