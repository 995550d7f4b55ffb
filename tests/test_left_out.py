"""Errors of left-out stimuli: what is passed over is never the best; a group's residuals are those of a refit."""

import numpy as np
import pytest
from test_ridge import data, labels

from lib import left_out, ridge


@pytest.mark.parametrize("n_units", [1, 3, 19, 300])
@pytest.mark.parametrize("kind", ["single", "equal", "unequal"])
def test_penalties_passed_over_are_never_the_best(n_units, kind, monkeypatch):
    X, Y, train = data(n_units, n_voxels=300)
    Y[:, :100] = np.random.default_rng(1).standard_normal((40, 100))  # best at the flat top
    Y[:, 100:120] = X[:, :1] * 3 + 1e-6 * Y[:, 100:120]  # best at the flat bottom
    groups = np.arange(40) if kind == "single" else labels(kind, train)
    fast = ridge.leave_one_out(X, Y, train, groups=groups)
    monkeypatch.setattr(left_out, "FAR", np.inf)
    every = ridge.leave_one_out(X, Y, train, groups=groups)
    for field in ("alpha", "constant", "edge"):
        np.testing.assert_array_equal(getattr(fast, field), getattr(every, field))
    np.testing.assert_allclose(fast.left_out, every.left_out, rtol=1e-13)
    assert every.constant.any() or n_units == 300 or kind != "single"


@pytest.mark.parametrize("n_units", [1, 3, 17, 300])
@pytest.mark.parametrize("kind", ["single", "unequal"])
def test_bound_holds_where_errors_still_move_beyond_the_edge(n_units, kind, monkeypatch):
    # So near the spectrum errors beyond the edge do fall below those at the edge again.
    X, _, train = data(n_units)
    Y = np.random.default_rng(2).standard_normal((40, 4000))
    groups = np.arange(40) if kind == "single" else labels(kind, train)
    found = []
    for far in (0.1, 1, np.inf):
        monkeypatch.setattr(left_out, "FAR", far)
        found.append(ridge.leave_one_out(X, Y, train, alphas=10.0 ** np.arange(8, -9, -0.5), groups=groups))
    for fit in found[:2]:
        np.testing.assert_array_equal(fit.alpha, found[2].alpha)


def test_most_penalties_far_from_the_spectrum_are_passed_over():
    X, Y, train = data(300, n_voxels=50)
    U, s, _ = ridge._decompose(X[train] - X[train].mean(axis=0))
    found = left_out.LeftOut(U, s, ridge.ALPHAS, [[i] for i in range(20)], None)
    errors = found._errors(found.scores(Y[train] - Y[train].mean(axis=0)))
    assert np.isinf(errors).mean() > 0.5
    assert len(errors) < 50


@pytest.mark.parametrize("alpha", [1e-2, 1.0, 1e3])
@pytest.mark.parametrize("n_units", [5, 300])
def test_errors_are_those_of_the_inverse_matrix(alpha, n_units):
    X, Y, _ = data(n_units, n_stimuli=12)
    n = len(X)
    centre = np.eye(n) - 1 / n
    # a large weight of the constant profile is an intercept with hardly any penalty
    C = np.linalg.inv(centre @ X @ X.T @ centre + alpha * np.eye(n) + 1e8)
    groups = [np.array([0, 5]), np.array([1, 2, 3, 9]), np.array([4, 6, 7, 8, 10, 11])]
    squares = [
        ((np.linalg.inv(C[np.ix_(g, g)]) @ (C @ (Y - Y.mean(axis=0)))[g]) ** 2).sum(axis=0) for g in groups
    ]
    U, s, _ = ridge._decompose(X - X.mean(axis=0))
    found = left_out.LeftOut(U, s, np.array([alpha]), groups, None)
    errors = found._errors(found.scores(Y - Y.mean(axis=0)))
    # the constant profile keeps 1e3 / 1e9 of its penalty, and the inverse a condition number of 1e9 / 1e-2
    np.testing.assert_allclose(errors[0], np.sum(squares, axis=0) / n, rtol=1e-4)
