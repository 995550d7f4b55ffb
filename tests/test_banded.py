"""Banded ridge: other implementations, laws, recovery of planted mixtures."""

import numpy as np
import pytest

from lib import banded, metrics, partition, ridge


def data(n_stimuli=60, n_units=(30, 200, 12), n_voxels=9, seed=0):
    """Bands of very different sizes, responses that follow the first and second, and a half split."""
    rng = np.random.default_rng(seed)
    bands = [
        10.0**i * rng.standard_normal((n_stimuli, n)) * np.linspace(2, 0.2, n) + 5
        for i, n in enumerate(n_units)
    ]
    signal = sum(
        share * standard(band @ rng.standard_normal((band.shape[1], n_voxels)))
        for share, band in zip((1, 0.7), bands, strict=False)
    )
    Y = signal + np.linspace(0.2, 3, n_voxels) * rng.standard_normal(signal.shape) + 100
    return bands, Y, rng.permutation(n_stimuli) < n_stimuli // 2


def standard(columns):
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)


def close(a, b, tolerance):
    """Largest difference, relative to the largest value."""
    return np.abs(np.asarray(a) - b).max() <= tolerance * np.abs(b).max()


def size(band, train):
    """Mean squared distance of train stimuli from their mean."""
    return ((band[train] - band[train].mean(axis=0)) ** 2).sum() / train.sum()


@pytest.mark.parametrize("n_units", [5, 25, 300])
def test_one_band_is_ridge(n_units):
    (X, *_), Y, train = data(n_units=(n_units, 3))
    fit = banded.leave_one_out([X], Y, train)
    same = ridge.leave_one_out(X, Y, train, alphas=banded.ALPHAS * size(X, train))
    # 1e-9: products of two orders of summation, conditions of the kept directions below 1e6
    assert close(fit.predictions[~train], same.predictions[~train], 1e-9)
    np.testing.assert_allclose(fit.alpha * size(X, train), same.alpha, rtol=1e-12)
    np.testing.assert_allclose(fit.left_out, same.left_out, rtol=1e-9)
    np.testing.assert_array_equal(fit.edge, same.edge)
    np.testing.assert_array_equal(fit.constant, same.constant)
    np.testing.assert_array_equal(fit.weights, np.ones((1, Y.shape[1])))


def test_choices_and_predictions_equal_himalaya():
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import MultipleKernelRidgeCV
    from sklearn.model_selection import KFold

    set_backend("numpy")
    bands, Y, train = data()
    weights, alphas = banded.candidates(3), 10.0 ** np.arange(3, -4, -1)
    fit = banded.leave_one_out(bands, Y, train, weights=weights, alphas=alphas)
    centred = [(band - band[train].mean(axis=0)) / np.sqrt(size(band, train)) for band in bands]
    kernels = np.stack([band @ band[train].T for band in centred])
    solver = {"n_iter": weights, "alphas": alphas, "score_func": negative_error, "progress_bar": False}
    model = MultipleKernelRidgeCV(
        kernels="precomputed",
        solver="random_search",
        solver_params=solver,
        fit_intercept=True,
        cv=KFold(train.sum()),
    )
    with np.errstate(divide="ignore"):  # it keeps logarithms, of weights of 0 too
        model.fit(kernels[:, train], Y[train])
    scale = np.exp(model.deltas_)
    assert close(scale / scale.sum(axis=0), fit.weights, 1e-10)
    np.testing.assert_allclose(1 / scale.sum(axis=0), fit.alpha, rtol=1e-10)
    assert len(np.unique(fit.weights, axis=1).T) > 3
    assert close(fit.predictions[~train], model.predict(kernels[:, ~train]), 1e-8)


def negative_error(Y, Y_hat):
    """Of each target; himalaya's arrays may have a leading axis of penalties."""
    return -((Y - Y_hat) ** 2).mean(-2)


def test_choice_is_the_smallest_error_of_refits_without_each_stimulus():
    bands, Y, train = data(n_stimuli=24, n_voxels=4)
    weights, alphas = banded.grid(3)[:5], [1.0, 0.01]
    fit = banded.leave_one_out(bands, Y, train, weights=weights, alphas=alphas)
    scaled = [(band - band[train].mean(axis=0)) / np.sqrt(size(band, train)) for band in bands]
    errors = []
    for gamma in weights:
        kernel = sum(g * band[train] @ band[train].T for g, band in zip(gamma, scaled, strict=True))
        errors += [[refitted_error(kernel, Y[train], alpha) for alpha in alphas]]
    errors = np.array(errors)  # (weights, alphas, voxels)
    best = errors.reshape(-1, 4).argmin(axis=0)
    np.testing.assert_array_equal(fit.weights.T, weights[best // 2])
    np.testing.assert_array_equal(fit.alpha, np.array(alphas)[best % 2])
    n = train.sum()
    of_mean = Y[train].var(axis=0) * (n / (n - 1)) ** 2
    np.testing.assert_allclose(fit.left_out, errors.min((0, 1)) / of_mean, rtol=1e-9)


def refitted_error(kernel, Y, alpha):
    """Mean squared error of each stimulus predicted from all others, one fit after the other."""
    n, errors = len(Y), []
    for out in range(n):
        rest = np.arange(n) != out
        centre = np.eye(n) - np.outer(np.ones(n), rest / rest.sum())
        K = centre @ kernel @ centre.T
        mean = Y[rest].mean(axis=0)
        dual = np.linalg.solve(K[np.ix_(rest, rest)] + alpha * np.eye(n - 1), Y[rest] - mean)
        errors.append((Y[out] - mean - K[out, rest] @ dual) ** 2)
    return np.mean(errors, axis=0)


def test_unions_choose_among_their_own_bands_as_if_alone():
    bands, Y, train = data()
    named = dict(zip("abc", bands, strict=True))
    found = banded.unions(named, Y, train)
    assert list(found) == partition.subsets("abc")
    for union, fit in found.items():
        alone = banded.leave_one_out([named[name] for name in sorted(union)], Y, train)
        np.testing.assert_array_equal(fit.predictions, alone.predictions)
        np.testing.assert_array_equal(fit.weights[["abc".index(n) for n in sorted(union)]], alone.weights)
        np.testing.assert_allclose(fit.weights.sum(axis=0), 1)
        for smaller in (s for s in found if s < union):
            assert (fit.left_out <= found[smaller].left_out * (1 + ridge.TIE)).all()


def test_size_of_a_band_does_not_matter():
    bands, Y, train = data()
    fit = banded.leave_one_out(bands, Y, train)
    other = banded.leave_one_out([1e3 * bands[0] - 7, bands[1] / 50, bands[2]], Y, train)
    np.testing.assert_array_equal(fit.weights, other.weights)
    assert close(fit.predictions[~train], other.predictions[~train], 1e-9)


@pytest.mark.parametrize(
    "truth",
    [pytest.param(t, id=str(t)) for t in [(1, 0), (0, 1), (0.5, 0.5), (0.1, 0.9), (0.9, 0.1)]],
)
def test_planted_mixture_is_found(truth):
    rng = np.random.default_rng(1)
    bands = [rng.standard_normal((300, 40)) for _ in truth]
    Y = sum(
        np.sqrt(t / 40) * band @ rng.standard_normal((40, 60)) for t, band in zip(truth, bands, strict=True)
    )
    train = np.arange(300) < 200
    noisy = Y + 0.5 * rng.standard_normal(Y.shape)
    fit = banded.leave_one_out(bands, noisy, train)
    mean = fit.weights.mean(axis=1)
    # Neighbours on the grid are half a decade of the ratio apart, at most 0.26 of the weight; choices scatter.
    assert np.abs(mean - truth).max() < 0.06
    alone = [ridge.leave_one_out(band, noisy, train) for band in bands]
    r2 = [metrics.explained_variance(Y[~train], f.predictions[~train]).mean() for f in (fit, *alone)]
    assert r2[0] >= max(r2[1:]) - 0.01
    if min(truth) > 0:
        assert r2[0] > max(r2[1:]) + 0.05


def test_a_large_useless_band_costs_less_than_with_one_scale_for_all():
    rng = np.random.default_rng(2)
    small, large = rng.standard_normal((120, 10)), 30 * rng.standard_normal((120, 500))
    Y = small @ rng.standard_normal((10, 40)) / 3 + rng.standard_normal((120, 40))
    train = np.arange(120) < 60
    fits = [f(Y=Y, train=train) for f in (
        lambda **given: banded.leave_one_out([small, large], **given),
        lambda **given: ridge.leave_one_out(np.hstack([small, large]), **given),
        lambda **given: ridge.leave_one_out(small, **given),
    )]  # fmt: skip
    banded_r, drowned_r, alone_r = (
        np.nanmean(metrics.pearson(Y[~train], f.predictions[~train])) for f in fits
    )
    assert drowned_r < 0.3 < alone_r - 0.02 < banded_r


def test_contributions_sum_to_the_prediction_and_split_its_score():
    bands, Y, train = data()
    fit = banded.leave_one_out(bands, Y, train)
    parts = banded.contributions(bands, Y, train, fit)
    whole = fit.predictions[~train] - Y[train].mean(axis=0)
    # 1e-8: eigenvalues of the kernel are right to 1e-14, the smallest penalty is 1e-6
    assert close(parts[:, ~train].sum(axis=0), whole, 1e-8)
    assert np.isnan(parts[:, train]).all()
    assert (parts[:, ~train][np.broadcast_to(fit.weights[:, None] == 0, parts[:, ~train].shape)] == 0).all()
    split = banded.split_r2(Y[~train], parts[:, ~train])
    r2 = metrics.squared_correlation(Y[~train], fit.predictions[~train])
    np.testing.assert_allclose(split.sum(axis=0), np.where(fit.constant, 0, r2), atol=1e-8)
    assert split[0].mean() > split[1].mean() > split[2].mean()  # as planted: 1, 0.7 and nothing


def test_split_score_equals_himalayas_product_measure():
    from himalaya.scoring import correlation_score_split

    rng = np.random.default_rng(0)
    parts = rng.standard_normal((3, 30, 8))
    Y = parts.sum(axis=0) + rng.standard_normal((30, 8))
    theirs = correlation_score_split(Y, parts)  # splits r; r² = r Σ of it
    ours = banded.split_r2(Y, parts)
    np.testing.assert_allclose(ours, theirs.sum(axis=0) * theirs, rtol=1e-10)
    assert (banded.split_r2(-Y, parts) == 0).all()
    assert np.isnan(banded.split_r2(np.ones_like(Y), parts)).all()


def test_constant_and_missing_responses_leave_the_others_alone():
    bands, Y, train = data()
    odd = Y.copy()
    odd[:, 1] = 3.0
    odd[np.flatnonzero(train)[0], 4] = np.nan
    fit, clean = (banded.leave_one_out(bands, y, train) for y in (odd, Y))
    rest = np.delete(np.arange(Y.shape[1]), [1, 4])
    np.testing.assert_array_equal(fit.weights[:, rest], clean.weights[:, rest])
    assert close(fit.predictions[~train][:, rest], clean.predictions[~train][:, rest], 1e-10)
    assert (fit.predictions[~train, 1] == 3).all()
    assert fit.constant[1]
    assert np.isnan(fit.predictions[~train, 4]).all()
    assert np.isnan(fit.alpha[4])
    parts = banded.contributions(bands, odd, train, fit)[:, ~train]
    assert (parts[..., 1] == 0).all()
    assert np.isnan(parts[..., 4]).all()


def test_arguments_are_left_as_they_are():
    bands, Y, train = data()
    before = [band.copy() for band in bands], Y.copy(), train.copy()
    fit = banded.leave_one_out(bands, Y, train)
    banded.contributions(bands, Y, train, fit)
    np.testing.assert_equal(([*bands], Y, train), before)


def test_together_is_the_mean_of_kernels_of_equal_size():
    bands, _, _ = data()
    kernels = []
    for band in bands:
        centred = band - band.mean(axis=0)
        kernels.append(centred @ centred.T * len(band) / np.trace(centred @ centred.T))
    joined = banded.together([*bands, np.ones((60, 2))])
    assert joined.shape[1] <= 60
    assert close(joined @ joined.T, sum(kernels), 1e-12)


def test_a_band_without_variance_changes_nothing():
    bands, Y, train = data()
    half = {"weights": [[0.5, 0.5]], "alphas": [0.1]}
    fit = banded.leave_one_out([bands[0], np.ones((60, 3))], Y, train, **half)
    alone = banded.leave_one_out(bands[:1], Y, train, alphas=[0.2])
    np.testing.assert_allclose(fit.predictions, alone.predictions, rtol=1e-9)


@pytest.mark.parametrize(("n_bands", "n_rows"), [(1, 1), (2, 9), (3, 19), (4, 65)])
def test_grid_treats_bands_alike(n_bands, n_rows):
    weights = banded.grid(n_bands)
    assert weights.shape == (n_rows, n_bands) == np.unique(weights, axis=0).shape
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights[0], 1 / n_bands)
    assert (weights > 0).all()
    mirrored = {tuple(np.round(row, 12)) for row in weights[:, ::-1]}
    assert mirrored == {tuple(np.round(row, 12)) for row in weights}


@pytest.mark.parametrize(("n_bands", "n_rows"), [(1, 1), (2, 11), (3, 49), (4, 199), (7, 28)])
def test_candidates_hold_each_band_and_the_equal_mixture(n_bands, n_rows):
    weights = banded.candidates(n_bands, n_draws=20)
    assert len(weights) == n_rows
    np.testing.assert_array_equal(weights[:n_bands], np.eye(n_bands))
    assert (np.abs(weights - 1 / n_bands).max(axis=1) < 1e-12).any()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_array_equal(weights, banded.candidates(n_bands, n_draws=20))
    if n_bands > 4:
        assert (weights[-1] != banded.candidates(n_bands, n_draws=20, seed=1)[-1]).all()


def test_more_bands_than_unions_can_be_fitted_are_an_error():
    bands, Y, train = data()
    named = {str(i): bands[0] for i in range(5)}
    with pytest.raises(ValueError, match="5 bands have 31 unions"):
        banded.unions(named, Y, train)
    with pytest.raises(ValueError, match="0 bands"):
        banded.unions({}, Y, train)
    with pytest.raises(ValueError, match="5 bands: a grid"):
        banded.grid(5)


def test_bands_and_weights_that_do_not_fit_are_an_error():
    bands, Y, train = data()
    with pytest.raises(ValueError, match=r"must all be \(stimuli, columns\), of 60"):
        banded.leave_one_out([bands[0], bands[1][:50]], Y, train)
    for weights in ([[0.5, 0.6, 0]], [[-0.5, 1.5, 0]], [[1, 0]], np.empty((0, 3))):
        with pytest.raises(ValueError, match="sum to 1 over 3 bands"):
            banded.leave_one_out(bands, Y, train, weights=weights)


@pytest.mark.gpu
def test_gpu_gives_the_same():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    bands, Y, train = data()
    here, there = (banded.leave_one_out(bands, Y, train, device=device) for device in (None, "cuda"))
    np.testing.assert_array_equal(here.weights, there.weights)
    assert close(there.predictions[~train], here.predictions[~train], 1e-9)
