"""Ridge regression: other implementations, laws, published numbers."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from lib import devices, folds, metrics, ridge

ALPHAS = 10.0 ** np.arange(6, -4, -1)


def data(n_units, n_stimuli=40, n_voxels=12, seed=0):
    """Features with a decaying spectrum, responses that follow them in part, and a half split."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_stimuli, n_units)) * np.linspace(3, 0.3, n_units) + 5
    Y = X @ rng.standard_normal((n_units, n_voxels)) / np.sqrt(n_units)
    Y = Y + np.linspace(0.5, 6, n_voxels) * rng.standard_normal(Y.shape) + 100
    return X, Y, rng.permutation(n_stimuli) < n_stimuli // 2


def close(a, b, tolerance):
    """Largest difference, relative to the largest value."""
    return np.abs(np.asarray(a) - b).max() <= tolerance * np.abs(b).max()


def r(a, b):
    return np.corrcoef(a, b)[0, 1]


# p < n, p = 1, p just above and far above the number of train stimuli (20)
@pytest.mark.parametrize("n_units", [1, 6, 19, 24, 300])
def test_ridge_equals_scikit_learn(n_units):
    X, Y, train = data(n_units)
    fit = ridge.leave_one_out(X, Y, train, alphas=ALPHAS)
    for voxel in range(Y.shape[1]):
        model = RidgeCV(alphas=ALPHAS).fit(X[train], Y[train, voxel])
        assert model.alpha_ == fit.alpha[voxel]
        # 1e-8: the tolerance; both solve in float64 with condition numbers below 1e6
        assert close(fit.predictions[~train, voxel], model.predict(X[~train]), 1e-8)
        assert abs(fit.r_train[voxel] - r(Y[train, voxel], model.predict(X[train]))) < 1e-8
    assert len(np.unique(fit.alpha)) > 1 or n_units == 1


@pytest.mark.parametrize("n_units", [6, 300])
def test_ridge_equals_himalaya_at_one_penalty(n_units):
    from himalaya.kernel_ridge import KernelRidge

    X, Y, train = data(n_units)
    fit = ridge.leave_one_out(X, Y, train, alphas=[10.0])
    mean = X[train].mean(axis=0), Y[train].mean(axis=0)
    model = KernelRidge(alpha=10.0, warn=False).fit(X[train] - mean[0], Y[train] - mean[1])
    assert close(fit.predictions[~train], model.predict(X[~train] - mean[0]) + mean[1], 1e-10)


@pytest.mark.parametrize("n_units", [3, 60])
def test_alpha_is_best_by_refitting_without_each_stimulus(n_units):
    X, Y, train = data(n_units, n_stimuli=24)
    errors = []
    for alpha in ALPHAS:
        left_out = cross_val_predict(Ridge(alpha), X[train], Y[train], cv=LeaveOneOut())
        errors.append(((left_out - Y[train]) ** 2).mean(axis=0))
    fit = ridge.leave_one_out(X, Y, train, alphas=ALPHAS)
    np.testing.assert_array_equal(fit.alpha, ALPHAS[np.argmin(errors, axis=0)])


@pytest.mark.parametrize("n_units", [1, 2, 5, 18, 19, 20, 200])
def test_leaving_out_penalties_of_equal_effect_changes_nothing(n_units):
    X, Y, train = data(n_units)
    with_all = ridge.leave_one_out(X, Y, train)
    U, s, _ = np.linalg.svd(X[train] - X[train].mean(0), full_matrices=False)
    y = Y[train] - Y[train].mean(0)
    kept = s > 1e-12 * s[0]
    U, lam = U[:, kept], s[kept] ** 2
    errors = []
    for alpha in ridge.ALPHAS:  # the formula of the specification, every penalty on its own
        w = alpha / (lam + alpha)
        c, g = U @ (w[:, None] * (U.T @ y)), U**2 @ w
        if kept.sum() < len(y) - 1:
            c, g = c + y - U @ (U.T @ y), g + 1 - 1 / len(y) - (U**2).sum(1)
        errors.append(((c / g[:, None]) ** 2).mean(0))
    errors = np.array(errors)
    largest = (errors <= errors.min(0) * (1 + 1e-9)).argmax(0)
    np.testing.assert_array_equal(with_all.alpha, ridge.ALPHAS[largest])


@pytest.mark.parametrize("n_units", [4, 39, 40, 41, 500])
def test_compressed_layer_has_the_same_products_and_predictions(n_units):
    X, Y, train = data(n_units)
    X = X.astype(np.float32)
    L = ridge.compress(np.array_split(X, min(7, n_units), axis=1))
    centred = X.astype(float) - X.astype(float).mean(0)
    assert L.shape == (40, min(40, n_units))
    assert close(L @ L.T, centred @ centred.T, 1e-13)
    dual, primal = ridge.leave_one_out(L, Y, train), ridge.leave_one_out(X.astype(float), Y, train)
    np.testing.assert_array_equal(dual.alpha, primal.alpha)
    assert close(dual.predictions[~train], primal.predictions[~train], 1e-10)


def test_compression_keeps_singular_values_that_products_lose():
    # Singular values down to 1e-10 of the largest: their squares, 1e-20, are below float64's 1e-16.
    rng = np.random.default_rng(0)
    U = np.linalg.qr(rng.standard_normal((30, 30)) - rng.standard_normal((1, 30)))[0]
    V = np.linalg.qr(rng.standard_normal((200, 29)))[0]
    U = np.linalg.qr(np.c_[np.ones(30), U])[0][:, 1:30]
    s = np.logspace(0, -10, 29)
    L = ridge.compress(np.array_split(U * s @ V.T, 9, axis=1))
    # absolute error of a backward stable factorisation: some eps of the largest singular value, 1
    np.testing.assert_allclose(np.linalg.svd(L, compute_uv=False)[:29], s, atol=1e-14)


def test_blocks_of_any_size_give_the_same_compression(monkeypatch):
    X, Y, train = data(700)
    one = ridge.leave_one_out(ridge.compress([X]), Y, train)
    monkeypatch.setattr(ridge, "UNITS_PER_STEP", 13)
    monkeypatch.setattr(devices, "VOXELS_PER_STEP", 5)
    many = ridge.leave_one_out(ridge.compress(X[:, [unit]] for unit in range(700)), Y, train)
    np.testing.assert_array_equal(one.alpha, many.alpha)
    assert close(one.predictions[~train], many.predictions[~train], 1e-11)


def refitted(X, Y, groups, alphas):
    """Mean squared error (penalty, voxel) of stimuli predicted by fits without their group."""
    errors = np.zeros((len(alphas), Y.shape[1]))
    for group in np.unique(groups):
        out = groups == group
        for row, alpha in enumerate(alphas):
            model = Ridge(alpha, solver="svd").fit(X[~out], Y[~out])
            errors[row] += ((model.predict(X[out]) - Y[out]) ** 2).sum(axis=0)
    return errors / len(Y)


def labels(kind, train):
    """Groups of all stimuli: four of ten, or some of one, two and many."""
    return np.arange(len(train)) % 4 if kind == "equal" else np.repeat([0, 1, 2, 3, 4], [1, 2, 9, 18, 10])


# p = 1, less than a group, less and more than the train stimuli, and than all
@pytest.mark.parametrize("n_units", [1, 3, 12, 19, 21, 300])
@pytest.mark.parametrize("kind", ["equal", "unequal"])
def test_leaving_groups_out_equals_refitting_without_them(n_units, kind):
    X, Y, train = data(n_units)
    groups = labels(kind, train)
    expected = refitted(X[train], Y[train], groups[train], ALPHAS)
    fit = ridge.leave_one_out(X, Y, train, alphas=ALPHAS, groups=groups)
    np.testing.assert_array_equal(fit.alpha, ALPHAS[expected.argmin(axis=0)])
    of_mean = refitted(np.zeros((train.sum(), 1)), Y[train], groups[train], [1.0])[0]
    # 1e-9: both are in float64, with condition numbers below 1e6
    np.testing.assert_allclose(fit.left_out, expected.min(axis=0) / of_mean, rtol=1e-9)
    for row, alpha in enumerate(ALPHAS):
        one = ridge.leave_one_out(X, Y, train, alphas=[alpha], groups=groups)
        np.testing.assert_allclose(one.left_out, expected[row] / of_mean, rtol=1e-9)


@pytest.mark.parametrize("n_units", [3, 12, 300])
def test_groups_of_one_are_leave_one_out(n_units):
    X, Y, train = data(n_units)
    plain = ridge.leave_one_out(X, Y, train)
    shuffled = np.random.default_rng(1).permutation(40)
    for groups in (np.arange(40), shuffled):
        fit = ridge.leave_one_out(X, Y, train, groups=groups)
        np.testing.assert_array_equal(fit.alpha, plain.alpha)
        np.testing.assert_allclose(fit.left_out, plain.left_out, rtol=1e-12)


@pytest.mark.parametrize("n_units", [3, 8, 300])
@pytest.mark.parametrize("kind", ["equal", "unequal", "single"])
def test_left_out_errors_are_stable_at_both_ends_of_the_published_grid(n_units, kind):
    X, Y, train = data(n_units)
    groups = np.arange(40) if kind == "single" else labels(kind, train)
    of_mean = refitted(np.zeros((train.sum(), 1)), Y[train], groups[train], [1.0])[0]
    top, bottom = (ridge.leave_one_out(X, Y, train, alphas=[a], groups=groups) for a in (1e49, 1e-50))
    np.testing.assert_allclose(top.left_out, 1, rtol=1e-12)
    errors = 0
    for group in np.unique(groups[train]):
        out = groups[train] == group
        rest, left = (X[train][side] - X[train][~out].mean(axis=0) for side in (~out, out))
        mean = Y[train][~out].mean(axis=0)
        # least squares, of smallest norm where there are many
        weights = np.linalg.pinv(rest, rcond=1e-12) @ (Y[train][~out] - mean)
        errors = errors + ((left @ weights + mean - Y[train][out]) ** 2).sum(axis=0)
    np.testing.assert_allclose(bottom.left_out * of_mean, errors / train.sum(), rtol=1e-8)


@pytest.mark.parametrize("kind", ["equal", "unequal"])
def test_units_active_in_one_group_only_leave_its_error_defined(kind):
    # Without the group such units do not vary: their weights are 0, whatever the penalty.
    X, Y, train = data(4)
    groups = labels(kind, train)
    lone = np.where((groups == 3)[:, None], np.random.default_rng(0).standard_normal((40, 2)), 0) * 50
    wide = np.c_[X, lone]
    alphas = 10.0 ** np.arange(6, -9, -1)
    expected = refitted(wide[train], Y[train], groups[train], alphas)
    fit = ridge.leave_one_out(wide, Y, train, alphas=alphas, groups=groups)
    np.testing.assert_array_equal(fit.alpha, alphas[expected.argmin(axis=0)])
    for row, alpha in ((0, 1e6), (-1, 1e-8)):
        one = ridge.leave_one_out(wide, Y, train, alphas=[alpha], groups=groups)
        of_mean = refitted(np.zeros((train.sum(), 1)), Y[train], groups[train], [1.0])[0]
        # the refits lose about 1e-16 * (50 / 1e-8) of the weights of units that do not vary
        np.testing.assert_allclose(one.left_out * of_mean, expected[row], rtol=1e-7)
    bottom = ridge.leave_one_out(wide, Y, train, alphas=[1e-50], groups=groups)
    # penalty / s² is 1e-8 / 1.6 or less
    np.testing.assert_allclose(bottom.left_out, one.left_out, rtol=1e-7)


def test_left_out_share_is_that_of_refits_and_one_for_the_mean():
    X, Y, train = data(60)
    alphas = ALPHAS[ALPHAS >= 1]
    fit = ridge.leave_one_out(X, Y, train, alphas=alphas)
    y = Y[train]
    left_out = [cross_val_predict(Ridge(a, solver="svd"), X[train], y, cv=LeaveOneOut()) for a in alphas]
    chosen = np.stack(left_out)[np.searchsorted(-alphas, -fit.alpha), :, np.arange(Y.shape[1])].T
    of_mean = cross_val_predict(Ridge(1), np.zeros((20, 1)), y, cv=LeaveOneOut())
    expected = ((chosen - y) ** 2).sum(axis=0) / ((of_mean - y) ** 2).sum(axis=0)
    np.testing.assert_allclose(fit.left_out, expected, rtol=1e-9)
    assert np.isnan(ridge.leave_one_out(X, np.ones((40, 1)), train).left_out).all()


@pytest.mark.parametrize(
    ("groups", "message"),
    [(np.zeros(40), "at least two groups"), (np.arange(39), "a group each"), (["a"] * 40, "of group 'a'")],
)
def test_groups_that_cannot_be_left_out_are_an_error(groups, message):
    X, Y, train = data(6)
    with pytest.raises(ValueError, match=message):
        ridge.leave_one_out(X, Y, train, groups=groups)


def check_device(device):
    """Same penalties, flags and predictions as NumPy, to 1e-10 (float64 on both, other order of sums)."""
    for n_units in (6, 300):
        X, Y, train = data(n_units)
        Y[0, 3] = np.nan
        for groups in (None, np.arange(40) % 4):
            with_numpy, with_torch = (
                ridge.leave_one_out(X, Y, train, groups=groups, device=d) for d in (None, device)
            )
            np.testing.assert_array_equal(with_torch.alpha, with_numpy.alpha)
            np.testing.assert_array_equal(with_torch.constant, with_numpy.constant)
            for field in ("predictions", "r_train", "left_out"):
                np.testing.assert_allclose(getattr(with_torch, field), getattr(with_numpy, field), rtol=1e-10)


def test_torch_gives_the_same_alphas_and_predictions():
    check_device("cpu")


@pytest.mark.gpu
def test_gpu_gives_the_same_alphas_and_predictions():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    check_device("cuda")


@settings(max_examples=25, deadline=None)
@given(st.integers(-3, 3), st.sampled_from([4, 60]), st.integers(0, 10**6))
def test_scaling_features_scales_penalties(power, n_units, seed):
    X, Y, train = data(n_units, seed=seed)
    c = 10.0**power
    plain = ridge.leave_one_out(X, Y, train, alphas=ALPHAS)
    scaled = ridge.leave_one_out(X * c, Y, train, alphas=ALPHAS * c**2)
    np.testing.assert_allclose(scaled.alpha, plain.alpha * c**2, rtol=1e-12)
    assert close(scaled.predictions[~train], plain.predictions[~train], 1e-9)


def test_small_penalty_reaches_least_squares():
    X, Y, train = data(6)
    fit = ridge.leave_one_out(X, Y, train, alphas=[1e-12])
    assert close(
        fit.predictions[~train], LinearRegression().fit(X[train], Y[train]).predict(X[~train]), 1e-12
    )


@pytest.mark.parametrize("size", [1e-5, 1e-8, 1e-10])
def test_a_response_along_a_tiny_direction_is_predicted(size):
    # Directions count down to 1e-12 of the largest: far below what products between stimuli would keep.
    rng = np.random.default_rng(0)
    X = np.linalg.qr(rng.standard_normal((40, 6)))[0] * [1, 1, 1, 1, 1, size]
    train = np.arange(40) < 25
    fit = ridge.leave_one_out(X, X[:, 5:] / size, train)
    assert r(fit.predictions[~train, 0], X[~train, 5]) > 0.999
    assert fit.alpha[0] < size**2


@pytest.mark.parametrize("n_units", [6, 300])
def test_huge_penalty_predicts_the_train_mean(n_units):
    X, Y, train = data(n_units)
    fit = ridge.leave_one_out(X, Y, train, alphas=[1e49])
    np.testing.assert_array_equal(fit.predictions[~train], np.tile(Y[train].mean(0), (20, 1)))
    assert fit.constant.all()


def test_order_of_stimuli_units_voxels_and_penalties_changes_nothing():
    X, Y, train = data(60)
    rng = np.random.default_rng(1)
    stimuli, units, voxels = (rng.permutation(n) for n in (40, 60, 12))
    plain = ridge.leave_one_out(X, Y, train)
    moved = ridge.leave_one_out(
        X[stimuli][:, units], Y[stimuli][:, voxels], train[stimuli], alphas=ridge.ALPHAS[::-1]
    )
    np.testing.assert_array_equal(moved.alpha, plain.alpha[voxels])
    expected = plain.predictions[stimuli][:, voxels][~train[stimuli]]
    assert close(moved.predictions[~train[stimuli]], expected, 1e-11)


def test_predictions_do_not_see_test_responses():
    X, Y, train = data(60)
    changed = np.where(train[:, None], Y, np.nan)
    before, after = ridge.leave_one_out(X, Y, train), ridge.leave_one_out(X, changed, train)
    np.testing.assert_array_equal(before.predictions, after.predictions)
    assert np.isnan(before.predictions[train]).all()


def test_inputs_are_unchanged():
    X, Y, train = data(60)
    copies = X.copy(), Y.copy(), train.copy()
    ridge.leave_one_out(X, Y, train)
    ridge.compress([X])
    for before, after in zip(copies, (X, Y, train), strict=True):
        np.testing.assert_array_equal(before, after)


def test_voxel_with_nan_gets_nan_and_leaves_the_others():
    X, Y, train = data(60)
    clean = ridge.leave_one_out(X, Y, train)
    Y[np.flatnonzero(train)[0], 3] = np.inf
    fit = ridge.leave_one_out(X, Y, train)
    others = np.arange(12) != 3
    assert np.isnan(fit.alpha[3])
    assert np.isnan(fit.predictions[:, 3]).all()
    assert not fit.constant[3]
    assert fit.edge[3] == 0
    np.testing.assert_array_equal(fit.predictions[:, others], clean.predictions[:, others])


@pytest.mark.parametrize("value", [0.1, 2.0])
def test_constant_response_is_predicted_constant_and_flagged(value):
    X, Y, train = data(60)
    Y[:, 3] = value
    fit = ridge.leave_one_out(X, Y, train)
    assert fit.constant[3]
    assert fit.edge[3] == 1
    assert np.ptp(fit.predictions[~train, 3]) == 0


def test_units_that_do_not_vary_change_nothing():
    X, Y, train = data(60)
    dead = np.c_[X, np.full((40, 3), 0.1)]
    plain, with_dead = (ridge.leave_one_out(ridge.compress([x]), Y, train) for x in (X, dead))
    assert close(with_dead.predictions[~train], plain.predictions[~train], 1e-11)
    for value in (0.1, 12.3, 1e12 / 3, 1e15 / 7):  # some differ from their own mean by rounding
        alone = np.full((40, 3), value)
        assert ridge.leave_one_out(ridge.compress([alone]), Y, train).constant.all()
        assert ridge.leave_one_out(alone, Y, train).constant.all()


def test_unit_active_for_one_train_stimulus_leaves_its_error_defined():
    # Such a stimulus has leverage 1: residual / (1 - leverage) would be 0 / 0 at small penalties.
    X, Y, train = data(4)
    lone = np.zeros((40, 1))
    lone[np.flatnonzero(train)[2]] = 50
    X = np.c_[X, lone]
    errors = []
    for alpha in ALPHAS:
        left_out = cross_val_predict(Ridge(alpha, solver="svd"), X[train], Y[train], cv=LeaveOneOut())
        errors.append(((left_out - Y[train]) ** 2).mean(axis=0))
    fit = ridge.leave_one_out(X, Y, train, alphas=ALPHAS)
    np.testing.assert_array_equal(fit.alpha, ALPHAS[np.argmin(errors, axis=0)])


@pytest.mark.parametrize("seed", range(5))
def test_stimulus_of_leverage_one_does_not_make_tiny_penalties_random(seed):
    X, Y, train = data(4, seed=seed)
    lone = np.zeros((40, 1))
    lone[np.flatnonzero(train)[2]] = 50
    Y = X @ np.ones((4, 12)) + 1e-3 * Y
    fit = ridge.leave_one_out(np.c_[X, lone], Y, train)
    # The error moves by alpha / s² times the size of signal to residual, 1e3: ties, to 1e-9, begin near 1e-11,
    # and of what ties the largest is taken.
    assert (fit.alpha >= 1e-13).all()


def test_exact_responses_take_the_largest_penalty_that_is_exact():
    X, _, train = data(6)
    fit = ridge.leave_one_out(X, X @ np.ones((6, 2)), train)
    assert close(fit.predictions[~train], X[~train] @ np.ones((6, 2)), 1e-10)
    # An error of (alpha / s²)² drowns in rounding, (n eps)², near alpha = 20 · 2e-16 · s², s² about 100.
    assert (fit.alpha >= 1e-14).all()
    assert (fit.alpha <= 1e-10).all()


def test_edges_of_the_grid_are_reported():
    X, Y, train = data(6)
    assert (ridge.leave_one_out(X, Y, train, alphas=[1e-8, 1e-9]).edge == 1).all()
    strong = ridge.leave_one_out(X, X @ np.ones((6, 2)) + 1e-3 * Y[:, :2], train, alphas=[1e9, 1e8, 1.0])
    np.testing.assert_array_equal(strong.edge, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Y": np.zeros((39, 2))}, "differ in stimuli"),
        ({"train": np.arange(40) < 2}, "at least three"),
        ({"train": np.ones(40, bool)}, "one test stimulus"),
        ({"train": np.ones(40, int)}, "boolean"),
        ({"X": np.full((40, 2), np.nan)}, "not finite"),
        ({"alphas": [1.0, 0.0]}, "positive"),
        ({"alphas": []}, "positive"),
    ],
)
def test_what_cannot_be_fitted_is_an_error(change, message):
    X, Y, train = data(6)
    arguments = {"X": X, "Y": Y, "train": train, **change}
    with pytest.raises(ValueError, match=message):
        ridge.leave_one_out(arguments.pop("X"), arguments.pop("Y"), arguments.pop("train"), **arguments)


def test_layer_that_cannot_be_compressed_is_an_error():
    with pytest.raises(ValueError, match="no units"):
        ridge.compress([])
    with pytest.raises(ValueError, match="40 stimuli"):
        ridge.compress([np.ones((40, 2)), np.ones((39, 2))])
    bad = np.ones((40, 3))
    bad[5, 1] = np.nan
    with pytest.raises(ValueError, match=r"the first: \[3\]"):
        ridge.compress([np.ones((40, 2)), bad])


@pytest.mark.reference
@pytest.mark.parametrize(
    ("key", "features", "responses", "mask"),
    [
        ("a", "in_a_X", "in_a_Y", "mask_a_mean_fit_determined"),
        ("b", "in_a_X", "in_b_Y", "mask_b_determined"),
        ("bw", "in_b_Xwide", "in_b_Y", "mask_bw_determined"),
    ],
)
def test_ridge_equals_the_published_code(key, features, responses, mask):
    oracle = reference("auditory_oracle.npz")
    X, Y, mask = oracle[features], oracle[responses], oracle[mask].astype(bool).T
    Y = Y.mean(axis=2) if Y.ndim == 3 else Y
    for train, determined, expected in zip(
        oracle["split_train_mask"].astype(bool), mask, oracle[f"{key}_r2_test"].T, strict=True
    ):
        fit = ridge.leave_one_out(X, Y, train)
        r2 = metrics.squared_correlation(Y[~train], fit.predictions[~train])
        np.testing.assert_allclose(r2[determined], expected[determined], rtol=0, atol=1e-10)
        assert not fit.constant[determined].any()
    last = oracle[f"{key}_alphas"][:, -1]
    np.testing.assert_allclose(fit.alpha[determined], last[determined], rtol=1e-12)


@pytest.mark.reference
def test_predictions_equal_the_published_code():
    oracle = reference("auditory_oracle.npz")
    train = folds.published_splits()[0]
    determined = oracle["mask_a_mean_fit_determined"][:, 0].astype(bool)
    Y = oracle["in_a_Y"].mean(axis=2)
    fit = ridge.leave_one_out(oracle["in_a_X"], Y, train)
    # the published predictions lack the train mean
    expected = oracle["a_y_preds_test"] + Y[train].mean(axis=0)
    np.testing.assert_allclose(fit.predictions[:, determined], expected[:, determined], rtol=0, atol=1e-10)


def reference(name):
    """A reference file, or skip."""
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder or not (Path(folder) / name).exists():
        pytest.skip(f"COMPENDIUM_REFERENCE has no {name}")
    return np.load(Path(folder) / name)
