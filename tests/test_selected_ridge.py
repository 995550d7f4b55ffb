"""Ridge on selected inputs: the published implementation and its files, brute force, laws."""

import ctypes
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from benchmarks import decoding
from lib import definite, selected_ridge, solver_cost, subsets, subsets_on_device

NONAKA = "nonaka2021"

# Oracle cases: penalty, inputs of each target, tolerance.
CASES = {
    "sel15_a100": (100, 15, 1e-9),
    "sel15_a100_f32": (100, 15, 1e-4),  # arithmetic of the oracle in float32
    "nosel_tall_a100": (100, 0, 1e-9),
    "nosel_toolarge_a100": (100, 500, 1e-9),
    "nosel_wide_a10": (10, 0, 1e-9),
    "sel15_uncentred_bias_a7": (7, 15, 1e-9),
    "sel10_4d_chunk5_a100": (100, 10, 1e-9),
    "sel20_constvoxel7_a100": (100, 20, 1e-9),
    "sel15_nanunit4_a100": (100, 15, 1e-9),
}

# The package's own files: penalty, inputs of each target, which of their keys belong to their inputs.
FILES = {
    "basic": (1, 500, ("1d", "2d")),
    "alpha01": (0.1, 0, ("1d", "2d")),
    "nfeat": (1, 20, ("1d", "2d")),
    "chunk": (1, 0, ("2d",)),
    "wide": (1, 500, ("1d", "2d")),
}


def folder(variable, *parts):
    """A folder of oracles; the test is skipped without it."""
    path = Path(os.environ.get(variable, "/nowhere")).joinpath(*parts)
    if variable not in os.environ or not path.exists():
        pytest.skip(f"{variable} does not hold {'/'.join(parts)}")
    return path


def data(n_inputs=60, *, n_samples=90, n_targets=24, seed=0):
    """Inputs and targets that share a few latents of very different size, so that selections overlap in part."""
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((n_samples, 12)) / np.arange(1, 13)
    X = latents @ rng.standard_normal((12, n_inputs)) + 0.4 * rng.standard_normal((n_samples, n_inputs))
    Y = latents @ rng.standard_normal((12, n_targets)) + 0.2 * rng.standard_normal((n_samples, n_targets))
    return X + rng.standard_normal(n_inputs), Y + 3 * rng.standard_normal(n_targets)


def dense(fit):
    return selected_ridge.sparse(fit).toarray()


def close(fit, other, tolerance=1e-11):
    """Same inputs and, relative to the largest, the same weights and biases.

    Condition numbers here are below 1e4, which times the rounding 1e-16 of a solution is 1e-12.
    """
    scale = np.abs(dense(other)).max()
    weights = np.abs(dense(fit) - dense(other)).max() <= tolerance * scale
    return weights and np.abs(fit.bias - other.bias).max() <= tolerance * np.abs(other.bias).max()


def brute_force(X, Y, *, alpha, n_feat, penalised):
    """One system with its column of ones for each target (n_targets, n_inputs + 1)."""
    solution = np.zeros((Y.shape[1], X.shape[1] + 1))
    for target, y in enumerate(Y.T):
        r = [abs(np.corrcoef(x, y)[0, 1]) for x in X.T]
        S = np.append(np.sort(np.argsort(r)[-n_feat:]), X.shape[1])
        A = np.column_stack([X, np.ones(len(X))])[:, S]
        penalty = alpha * np.eye(len(S))
        penalty[-1, -1] *= penalised
        solution[target, S] = np.linalg.solve(A.T @ A + penalty, A.T @ y)
    return solution


@pytest.mark.reference
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n_shared", [selected_ridge.INPUTS_SHARED, 5])
def test_fit_equals_the_published_solver(case, n_shared, monkeypatch):
    monkeypatch.setattr(selected_ridge, "INPUTS_SHARED", n_shared)
    alpha, n_feat, tolerance = CASES[case]
    with np.load(folder("COMPENDIUM_REFERENCE", "hierarchy_fastl2lir_oracle.npz")) as oracle:
        X, Y, X_test, W, b, P = (oracle[f"{case}__{key}"] for key in ("X", "Y", "Xte", "W", "b", "P"))
    Y, W, b, P = (array.reshape(len(array), -1, order="F") for array in (Y, W, b, P))
    fit = selected_ridge.prepare(X, alpha=alpha, n_feat=n_feat, published=NONAKA).fit(Y)
    predicted = selected_ridge.predict(fit, X_test)
    ok = np.isfinite(P).all(axis=0)
    assert ok.sum() == len(ok) - (case == "sel15_nanunit4_a100")
    assert np.isnan(predicted[:, ~ok]).all()
    np.testing.assert_allclose(dense(fit).T[:, ok], W[:, ok], rtol=0, atol=tolerance)
    np.testing.assert_allclose(fit.bias[ok], b[0, ok], rtol=0, atol=tolerance)
    np.testing.assert_allclose(predicted[:, ok], P[:, ok], rtol=0, atol=tolerance)


@pytest.mark.mirror
@pytest.mark.parametrize("name", FILES)
def test_fit_equals_the_files_of_the_published_package(name):
    found = folder("DATA_MIRROR", "raw.githubusercontent.com", "KamitaniLab", "PyFastL2LiR")
    alpha, n_feat, kinds = FILES[name]
    with np.load(next(found.glob(f"*/tests/testdata_{name}.npz"))) as file:
        inputs = selected_ridge.prepare(file["x_tr"], alpha=alpha, n_feat=n_feat, published=NONAKA)
        for kind in kinds:
            Y, W, b, P = (file[f"{key}_{kind}"] for key in ("y", "w", "b", "yp"))
            Y, W, b, P = (array.reshape(len(array), -1, order="F") for array in (Y, W, b, P))
            fit = inputs.fit(Y)
            np.testing.assert_allclose(dense(fit).T, W, rtol=0, atol=1e-9)
            np.testing.assert_allclose(fit.bias, b[0], rtol=0, atol=1e-9)
            np.testing.assert_allclose(selected_ridge.predict(fit, file["x_te"]), P, rtol=0, atol=1e-9)


@pytest.mark.parametrize("n_feat", [0, 20])
def test_fit_equals_the_installed_package(n_feat, monkeypatch):
    package = pytest.importorskip("fastl2lir.fastl2lir")
    # Version 0.11 writes arrays of one number into single places, which NumPy since 2.4 refuses; as a plain vector,
    # the solution of its one-column systems passes.
    solve = np.linalg.solve
    if n_feat:
        monkeypatch.setattr(package.np.linalg, "solve", lambda a, b: solve(a, b).ravel())
    X, Y = data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = package.FastL2LiR().fit(X, Y, alpha=3.0, n_feat=n_feat)
    fit = selected_ridge.prepare(X, alpha=3.0, n_feat=n_feat, published=NONAKA).fit(Y)
    np.testing.assert_allclose(dense(fit).T, theirs.W, rtol=0, atol=1e-11)
    np.testing.assert_allclose(fit.bias, theirs.b[0], rtol=0, atol=1e-11)


@pytest.mark.parametrize("published", [None, NONAKA])
@pytest.mark.parametrize("n_feat", [7, 20, 55])
@pytest.mark.parametrize("n_shared", [100, 9])
def test_fit_equals_one_system_per_target(published, n_feat, n_shared, monkeypatch):
    monkeypatch.setattr(selected_ridge, "INPUTS_SHARED", n_shared)
    X, Y = data()
    fit = selected_ridge.prepare(X, alpha=5.0, n_feat=n_feat, published=published).fit(Y)
    expected = brute_force(X, Y, alpha=5.0, n_feat=n_feat, penalised=published is not None)
    np.testing.assert_allclose(dense(fit), expected[:, :-1], rtol=0, atol=1e-11)
    np.testing.assert_allclose(fit.bias, expected[:, -1], rtol=0, atol=1e-10)
    assert fit.selected.shape == (24, n_feat)
    assert (np.diff(fit.selected, axis=1) > 0).all()


@pytest.mark.parametrize("n_samples", [30, 90])
def test_fit_without_selection_equals_scikit_learn(n_samples):
    X, Y = data(n_samples=n_samples)
    fit = selected_ridge.prepare(X, alpha=2.0, n_feat=0).fit(Y)
    theirs = Ridge(alpha=2.0, tol=1e-12).fit(X, Y)
    np.testing.assert_allclose(dense(fit), theirs.coef_, rtol=0, atol=1e-11)
    np.testing.assert_allclose(selected_ridge.predict(fit, X), theirs.predict(X), rtol=0, atol=1e-11)


def test_fewer_samples_than_inputs_are_solved_among_samples(monkeypatch):
    X, Y = data(n_samples=25)
    primal = selected_ridge.prepare(X, n_feat=40, alpha=3.0, published=NONAKA).fit(Y)
    monkeypatch.setattr(selected_ridge, "INPUTS_SHARED", 9)
    assert close(selected_ridge.prepare(X, n_feat=40, alpha=3.0, published=NONAKA).fit(Y), primal)


def test_many_inputs_are_solved_within_those_selected_or_one_by_one(monkeypatch):
    X, Y = data(140, n_samples=200, n_targets=150)
    shared = selected_ridge.prepare(X, n_feat=30, published=NONAKA).fit(Y)
    monkeypatch.setattr(selected_ridge, "INPUTS_SHARED", 9)
    inputs, ways = selected_ridge.prepare(X, n_feat=30, published=NONAKA), []
    for name in ("_within", "_gathered"):
        way = getattr(inputs, name)
        monkeypatch.setattr(inputs, name, lambda *a, name=name, way=way: ways.append(name) or way(*a))
    assert close(inputs.fit(Y), shared)
    # That of a single one is its own selection.
    part = inputs.fit(Y[:, :1])
    np.testing.assert_allclose(part.weights, shared.weights[:1], rtol=0, atol=1e-11)
    assert ways == ["_within", "_gathered"]


@pytest.mark.parametrize("n_feat", [30, 110])
def test_bases_change_nothing_but_the_work(n_feat, monkeypatch):
    X, Y = data(140, n_samples=200, n_targets=150)
    used = []
    tasks = subsets._tasks
    monkeypatch.setattr(subsets, "_tasks", lambda chosen: used.append(tasks(chosen)) or used[-1])
    fits = []
    # No base pays, only the whole or none; or they are for nothing.
    for overhead, product in ((0, 1.0), (1e-9, 0.0)):
        monkeypatch.setattr(subsets, "OVERHEAD", overhead)
        monkeypatch.setattr(subsets, "PRODUCT", product)
        monkeypatch.setattr(subsets, "FAR", product)
        fits.append(selected_ridge.prepare(X, alpha=3.0, n_feat=n_feat).fit(Y))
    assert {int(base.sum()) for base, _ in used[0]} == {140 * (n_feat > 70)}
    assert len({base.tobytes() for base, _ in used[1]}) >= 4
    assert sorted(np.concatenate([systems for _, systems in used[1]])) == list(range(150))
    np.testing.assert_array_equal(fits[0].selected, fits[1].selected)
    assert close(fits[1], fits[0])


def test_complement_equals_direct():
    rng = np.random.default_rng(1)
    factor = rng.standard_normal((80, 40))
    systems, right = subsets.Subsets(factor.T @ factor + np.eye(40)), rng.standard_normal((9, 40))
    selected = np.sort(rng.permuted(np.tile(np.arange(40), (9, 1)), axis=1)[:, :33], axis=1)
    chosen = np.zeros((9, 40), bool)
    np.put_along_axis(chosen, selected, True, axis=1)
    complement = systems._near(np.ones(40, bool), chosen).solve(chosen, selected, right)
    direct = np.empty((9, 33))
    systems._alone(range(9), selected, right, direct)
    np.testing.assert_allclose(complement, direct, rtol=0, atol=1e-13)


def test_blocks_and_threads_change_nothing(monkeypatch):
    X, Y = data(140, n_samples=200, n_targets=150)
    inputs = selected_ridge.prepare(X, n_feat=30)
    whole = inputs.fit(Y)
    for size in (1, 7, 64):
        parts = [inputs.fit(Y[:, start : start + size]) for start in range(0, 150, size)]
        joined = selected_ridge.Fit(
            *(np.concatenate(field) for field in list(zip(*parts, strict=True))[:3]), 140
        )
        np.testing.assert_array_equal(joined.selected, whole.selected)
        assert close(joined, whole, 1e-12)
    monkeypatch.setattr(definite, "cores", lambda: 1)
    np.testing.assert_array_equal(inputs.fit(Y).weights, whole.weights)
    monkeypatch.setattr(selected_ridge, "STEP", 1)
    assert close(inputs.fit(Y), whole, 1e-12)


def test_later_targets_may_select_other_inputs():
    X, Y = data(140, n_samples=200, n_targets=150)
    inputs = selected_ridge.prepare(X, n_feat=30)
    first = inputs.fit(Y[:, :2])
    assert inputs.known.sum() == len(np.unique(first.selected)) < 0.7 * 140
    assert close(inputs.fit(Y), selected_ridge.prepare(X, n_feat=30).fit(Y), 1e-12)
    assert inputs.known.all()


def test_order_of_inputs_and_targets_changes_nothing():
    X, Y = data()
    rng = np.random.default_rng(2)
    columns, targets = rng.permutation(60), rng.permutation(24)
    fit = selected_ridge.prepare(X, n_feat=20).fit(Y)
    moved = selected_ridge.prepare(X[:, columns], n_feat=20).fit(Y[:, targets])
    np.testing.assert_allclose(dense(moved), dense(fit)[targets][:, columns], rtol=0, atol=1e-12)
    np.testing.assert_allclose(moved.bias, fit.bias[targets], rtol=1e-11)


@pytest.mark.parametrize("published", [None, NONAKA])
@pytest.mark.parametrize("n_feat", [0, 20])
def test_rows_stand_for_repeated_targets(published, n_feat):
    X, Y = data()
    rows = np.random.default_rng(3).integers(0, 30, 90)
    rows[:30] = np.arange(30)
    once = selected_ridge.prepare(X, rows, n_feat=n_feat, published=published).fit(Y[:30])
    replicated = selected_ridge.prepare(X, n_feat=n_feat, published=published).fit(Y[:30][rows])
    assert close(once, replicated)


@pytest.mark.parametrize("published", [None, NONAKA])
def test_mean_targets_with_a_smaller_penalty_equal_all_presentations(published):
    X, Y = data()
    X, rows = X[:18], np.random.default_rng(4).permutation(np.repeat(np.arange(18), 5))
    mean, alpha = selected_ridge.averaged(Y, rows, 100.0)
    assert alpha == 20
    once = selected_ridge.prepare(X, alpha=alpha, n_feat=20, published=published).fit(mean)
    every = selected_ridge.prepare(X[rows], alpha=100.0, n_feat=20, published=published).fit(Y)
    assert close(once, every)
    with pytest.raises(ValueError, match="4 to 5 times"):
        selected_ridge.averaged(Y[1:], rows[1:], 100.0)


def test_bias_is_free_by_default_and_penalised_as_published():
    X, Y = data()
    moved = Y + 10.0
    free, later = (selected_ridge.prepare(X, n_feat=20).fit(y) for y in (Y, moved))
    np.testing.assert_allclose(later.weights, free.weights, rtol=0, atol=1e-11)
    np.testing.assert_allclose(later.bias, free.bias + 10, rtol=0, atol=1e-10)
    # Inputs of mean 0: b = n / (n + alpha) times the mean of the targets, weights as without penalty.
    X = X - X.mean(axis=0)
    free, penalised = (selected_ridge.prepare(X, n_feat=20, published=p).fit(Y) for p in (None, NONAKA))
    np.testing.assert_allclose(free.bias, Y.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(penalised.bias, Y.mean(axis=0) * 90 / 190, rtol=1e-12)
    np.testing.assert_allclose(penalised.weights, free.weights, rtol=0, atol=1e-12)


def test_constant_and_undefined_inputs_are_left_out():
    X, Y = data()
    expected = selected_ridge.prepare(X[:, 3:], n_feat=20).fit(Y)
    X[:, 0], X[5, 1], X[6, 2] = 4.0, np.nan, np.inf
    inputs = selected_ridge.prepare(X, n_feat=20)
    assert (inputs.n_constant, inputs.n_undefined, len(inputs.used)) == (1, 2, 57)
    fit = inputs.fit(Y)
    np.testing.assert_array_equal(fit.selected, expected.selected + 3)
    np.testing.assert_allclose(fit.weights, expected.weights, rtol=0, atol=1e-12)
    assert np.isfinite(selected_ridge.predict(fit, X)).all()
    assert np.isnan(selected_ridge.prepare(X, n_feat=20, published=NONAKA).fit(Y).weights).all()


def test_small_variance_counts_as_published():
    X, Y = data()
    X = X * 1e-5
    default, published = (selected_ridge.prepare(X, n_feat=20, published=p) for p in (None, NONAKA))
    assert (default.n_constant, published.n_constant) == (0, 60)
    # All correlations count as 0 there, and the first of equal ones are taken.
    assert (published.fit(Y).selected == np.arange(20)).all()
    assert (default.fit(Y).selected != np.arange(20)).any()


def test_undefined_targets_leave_others_alone():
    X, Y = data()
    expected = selected_ridge.prepare(X, n_feat=20).fit(Y)
    Y[4, 3] = np.nan
    fit = selected_ridge.prepare(X, n_feat=20).fit(Y)
    others = np.arange(24) != 3
    assert np.isnan(fit.weights[3]).all()
    assert np.isnan(fit.bias[3])
    np.testing.assert_allclose(fit.weights[others], expected.weights[others], rtol=0, atol=1e-12)


def test_first_of_equal_correlations_is_taken():
    X, Y = data()
    whole = np.column_stack([X, X[:, :30]])
    # Equal columns give equal products only if these are added up in the same order, as small whole numbers are.
    whole, Y = np.round(4 * whole), np.round(4 * (Y - Y.mean(axis=0)))
    whole[-1] -= whole.sum(axis=0)
    fit = selected_ridge.prepare(whole, n_feat=15).fit(Y)
    assert all(set(S[S >= 60] - 60) <= set(S) for S in fit.selected)
    assert any(not set(S[S < 30] + 60) <= set(S) for S in fit.selected)


def test_constant_targets_are_predicted_by_themselves():
    X, Y = data()
    Y[:, 2] = 7.0
    fit = selected_ridge.prepare(X, n_feat=20).fit(Y)
    assert not fit.weights[2].any()
    assert fit.bias[2] == pytest.approx(7, abs=1e-13)


def check_device(device):
    X, Y = data(140, n_samples=200, n_targets=150)
    for published in (None, NONAKA):
        here, there = (
            selected_ridge.prepare(X, n_feat=30, published=published, device=d) for d in (None, device)
        )
        assert close(there.fit(Y), here.fit(Y), 1e-9)
        np.testing.assert_array_equal(there.fit(Y).selected, here.fit(Y).selected)


def test_torch_gives_the_same_weights():
    check_device("cpu")


def test_torch_takes_the_first_of_equal_scores():
    import torch

    scores = np.random.default_rng(5).integers(0, 4, (40, 30)).astype(float)
    there = subsets_on_device.chosen(torch.as_tensor(scores), 9).numpy()
    np.testing.assert_array_equal(there, np.sort(np.argsort(-scores, axis=1, kind="stable")[:, :9], axis=1))
    np.testing.assert_array_equal(there, selected_ridge._chosen(scores, 9))


@pytest.mark.gpu
def test_gpu_gives_the_same_weights():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    check_device("cuda")


def test_benchmark_compares_equal_weights():
    pytest.importorskip("fastl2lir")
    rows = [row for case in decoding.cases("small") for row in case.compare()]
    assert len(rows) == 2
    assert all(float(row["case"].split("differ by ")[1].split()[0]) < 1e-11 for row in rows)


def test_misfits_are_refused():
    X, Y = data()
    with pytest.raises(ValueError, match="alpha must be positive"):
        selected_ridge.prepare(X, alpha=0)
    with pytest.raises(ValueError, match="row number"):
        selected_ridge.prepare(X, np.arange(5))
    with pytest.raises(ValueError, match="nonaka2021"):
        selected_ridge.prepare(X, published="nonaka")
    with pytest.raises(ValueError, match="none of 2 inputs"):
        selected_ridge.prepare(np.ones((5, 2)))
    inputs = selected_ridge.prepare(X)
    with pytest.raises(ValueError, match="90 rows"):
        inputs.fit(Y[1:])
    with pytest.raises(ValueError, match="60 inputs were fitted"):
        selected_ridge.predict(inputs.fit(Y), X[:, 1:])
    with pytest.raises(ValueError, match="positive definite"):
        definite.solve(-np.eye(3), np.ones(3))
    with pytest.raises(ValueError, match="float64"):
        definite.solve(np.eye(3, dtype=np.float32), np.ones(3))


def test_forecast_counts_what_is_left_to_do():
    X, Y = data(140, n_samples=200, n_targets=150)
    inputs = selected_ridge.prepare(X, n_feat=30)
    some, many = (solver_cost.by_data(inputs, Y, n_fitted) for n_fitted in (10, 10**6))
    assert 0 < some < many
    assert solver_cost.by_size(200, 140, 1000, n_feat=30, n_rows=40) > 0


def odd_arrays():
    """Right-hand sides that LAPACK would write beyond, over one another, or where nobody may write."""
    right = np.ones((3, 4))
    fixed = right.copy()
    fixed.flags.writeable = False
    wide = np.ones((3, 8))
    return {
        "reversed rows": right[::-1], "one row for all": np.broadcast_to(right[0], (3, 4)), "read-only": fixed,
        "by columns": np.ones((4, 3)).T, "every second": wide[:, ::2], "none": np.ones((0, 4)),
        "other bytes": right.astype(">f8"),
    }  # fmt: skip


@pytest.mark.parametrize("name", odd_arrays())
def test_arrays_that_cannot_be_overwritten_are_refused(name):
    with pytest.raises(ValueError, match="by rows that can be written"):
        definite.solve(np.eye(4), odd_arrays()[name])


def test_blocks_of_rows_and_columns_are_solved_in_place():
    matrix, right = np.full((6, 6), 0.5) + np.eye(6), np.zeros((4, 9))
    right[:, 2:8] = np.random.default_rng(0).standard_normal((4, 6))
    expected = np.linalg.solve(matrix, right[:, 2:8].T).T
    definite.solve(matrix.copy(), right[:, 2:8])
    np.testing.assert_allclose(right[:, 2:8], expected, rtol=1e-13)
    assert (right[:, [0, 1, 8]] == 0).all()


def test_systems_without_a_solution_are_said():
    spoilt = np.eye(5)
    spoilt[1, 3] = spoilt[3, 1] = np.nan
    for matrix in (np.ones((5, 5)), spoilt):
        with pytest.raises(ValueError, match="not positive definite"):
            definite.solve(matrix.copy(), np.ones(5))
        with pytest.raises(ValueError, match="not positive definite"):
            definite.factor(matrix.copy())
    with pytest.raises(ValueError, match="diagonal of a triangle of 5 unknowns is 0 at 2"):
        definite.half_solve(np.diag([1.0, 1, 0, 1, 1]), np.ones(5), transposed=True)
    with pytest.raises(ValueError, match="not positive definite"):
        definite.each(lambda _: definite.solve(np.ones((3, 3)), np.ones(3)), range(4))


def test_a_lapack_with_other_numbers_is_refused(monkeypatch):
    new, address = ctypes.pythonapi.PyCapsule_New, ctypes.create_string_buffer(8)
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p] * 3
    text = ctypes.create_string_buffer(b"void (char *, int64_t *, long *)")
    capsule = new(ctypes.addressof(address), ctypes.addressof(text), None)
    monkeypatch.setitem(definite.cython_lapack.__pyx_capi__, "dother", capsule)
    with pytest.raises(RuntimeError, match="not int, char and double"):
        definite._routine("dother")


def test_rows_without_samples_count_for_nothing():
    X, Y = data(n_samples=90)
    rows = np.tile(np.arange(30), 3)
    inputs = selected_ridge.prepare(X, rows, n_feat=15)
    more = selected_ridge.prepare(X, rows, n_rows=33, n_feat=15)
    assert close(more.fit(np.vstack([Y[:30], 9 * Y[:3]])), inputs.fit(Y[:30]))
    for some, n_rows in ((rows, 29), (None, 91), (None, 89)):
        with pytest.raises(ValueError, match="samples have rows up to"):
            selected_ridge.prepare(X, some, n_rows=n_rows)
