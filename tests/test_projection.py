"""Projections equal scikit-learn's, keep distances, and are the same whatever the pieces."""

import numpy as np
import pytest
import torch
from scipy import sparse, stats
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from sklearn.random_projection import SparseRandomProjection, johnson_lindenstrauss_min_dim

from lib import projection, standardisation


def _dense(project):
    """The whole matrix (component, unit)."""
    pieces = []
    for start in range(0, project.n_units, projection.PIECE):
        width = min(projection.PIECE, project.n_units - start)
        bounds, units, values = project.entries(start, width)
        pieces.append(sparse.csr_matrix((values, units, bounds), (project.n_components, width)))
    return sparse.hstack(pieces).tocsr()


@pytest.mark.parametrize(("n_stimuli", "expected"), [(900, 5830), (1000, 5920), (450, 5236), (1102, 6004)])
def test_dimension_is_the_published_one(n_stimuli, expected):
    # Of the 900 training videos of the Algonauts data, and what scikit-learn gives for others.
    assert projection.dimension(n_stimuli) == expected == johnson_lindenstrauss_min_dim(n_stimuli, eps=0.1)


def test_dimension_refuses_what_makes_no_sense():
    assert projection.dimension(1) == 1
    for wrong in ({"n_stimuli": 0}, {"n_stimuli": 9, "eps": 0}, {"n_stimuli": 9, "eps": 1}):
        with pytest.raises(ValueError, match="0 < eps < 1"):
            projection.dimension(**wrong)


@pytest.mark.parametrize("piece", [1 << 18, 1000])
def test_projection_equals_scikit_learn_with_the_same_matrix(piece, monkeypatch):
    monkeypatch.setattr(projection, "PIECE", piece)
    project = projection.SparseProjection(2500, 300, name="conv1", seed=3)
    X = np.random.default_rng(0).standard_normal((7, 2500)).astype(np.float32)
    theirs = SparseRandomProjection(n_components=300, random_state=0).fit(X)
    theirs.components_ = _dense(project)
    expected = theirs.transform(X.astype(np.float64))
    # Float32 sums of about 50 products.
    np.testing.assert_allclose(project(torch.from_numpy(X)).numpy(), expected, rtol=0, atol=1e-5)


def test_matrix_has_the_distribution_of_scikit_learn():
    project = projection.SparseProjection(9216, 800, name="conv5")
    ours = _dense(project)
    theirs = SparseRandomProjection(n_components=800, random_state=0).fit(np.zeros((2, 9216), np.float32))
    assert project.density == theirs.density_ == 1 / 96
    np.testing.assert_allclose(np.unique(ours.data), np.unique(theirs.components_.data), rtol=1e-6)
    n = 9216 * 800
    for matrix in (ours, theirs.components_):
        # Four standard errors of a binomial count, and of even odds.
        assert abs(matrix.nnz - n / 96) < 4 * np.sqrt(n / 96)
        assert abs((matrix.data > 0).sum() - matrix.nnz / 2) < 2 * np.sqrt(matrix.nnz)
    # Numbers of entries per component and per unit are those of independent draws.
    for axis, size in ((1, 9216), (0, 800)):
        counts = np.asarray((ours != 0).sum(axis=axis)).ravel()
        expected = stats.binom(size, 1 / 96).var()
        assert abs(counts.var() / expected - 1) < 4 * np.sqrt(2 / len(counts)) + 0.01


def test_published_size_of_the_entries():
    # Last convolution of AlexNet: 9216 units to 5830 dimensions, entries ± .128322.
    *_, values = projection.SparseProjection(9216, 5830).entries(0, 96)
    np.testing.assert_allclose(np.abs(values), 0.128322, atol=5e-7)


def test_seed_and_layer_each_give_another_matrix_and_the_same_one_again():
    def matrix(**choice):
        return _dense(projection.SparseProjection(400, 50, **choice)).toarray()

    base = matrix(name="a", seed=1)
    np.testing.assert_array_equal(base, matrix(name="a", seed=1))
    for other in (matrix(name="b", seed=1), matrix(name="a", seed=2)):
        assert abs(np.corrcoef(base.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(base.size)


def test_pieces_that_are_drawn_again_are_the_same(monkeypatch):
    monkeypatch.setattr(projection, "PIECE", 500)
    X = torch.from_numpy(np.random.default_rng(1).standard_normal((3, 1800)).astype(np.float32))
    kept = projection.SparseProjection(1800, 60)(X)
    monkeypatch.setattr(projection, "KEPT_BYTES", 7000)
    project = projection.SparseProjection(1800, 60)
    for _ in range(2):
        torch.testing.assert_close(project(X), kept, rtol=0, atol=0)
    assert len(project._kept) == 1


def test_distances_stay_within_the_bound():
    X = np.random.default_rng(2).standard_normal((20, 6000)).astype(np.float32)
    Y = projection.SparseProjection(6000, projection.dimension(20))(torch.from_numpy(X)).numpy()
    first, second = np.triu_indices(20, 1)
    ratio = ((Y[first] - Y[second]) ** 2).sum(1) / ((X[first] - X[second]) ** 2).sum(1)
    assert 0.9 < ratio.min() < ratio.max() < 1.1


def _pieces(X):
    return (X[:, start : start + 70] for start in range(0, X.shape[1], 70))


@pytest.mark.parametrize("chosen", [None, np.arange(12) < 8])
def test_components_equal_scikit_learn(chosen):
    rng = np.random.default_rng(3)
    X = (rng.standard_normal((12, 300)) * rng.uniform(0.1, 3, 300) + 5).astype(np.float32)
    scores = projection.principal_components(_pieces(X), fitted_on=chosen)
    train = slice(None) if chosen is None else chosen
    theirs = PCA(svd_solver="full").fit(X[train].astype(float))
    n = len(X[train]) - 1
    assert scores.shape == (12, n)
    expected = theirs.transform(X.astype(float))[:, :n]
    expected *= np.sign((expected * scores).sum(0))
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    assert (np.take_along_axis(scores, np.abs(scores).argmax(0)[None], 0) > 0).all()


@pytest.mark.parametrize("share", [0.5, 0.9, 0.98])
def test_share_of_variance_is_kept_by_as_few_components_as_it_takes(share):
    X = np.random.default_rng(4).standard_normal((15, 40)) * np.arange(1, 41)
    scores = projection.principal_components(_pieces(X), variance=share)
    assert scores.shape[1] == PCA(n_components=share, svd_solver="full").fit(X).n_components_


def test_more_stimuli_than_units_and_constant_layers():
    X = np.random.default_rng(5).standard_normal((30, 4))
    scores = projection.principal_components(_pieces(X))
    assert scores.shape == (30, 4)
    ours, theirs = np.diff(scores, axis=0), np.diff(X, axis=0)
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-9)
    assert projection.principal_components(_pieces(np.ones((5, 9)))).tolist() == [[0]] * 5


def test_components_refuse_what_makes_no_sense():
    X = np.ones((4, 3))
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        projection.principal_components(_pieces(X), variance=0)
    with pytest.raises(ValueError, match="two stimuli"):
        projection.principal_components(_pieces(X), fitted_on=np.arange(4) < 1)


def test_columns_are_standardised_before_projection_equals_scikit_learn():
    rng = np.random.default_rng(7)
    X = rng.normal(3, 2, size=(60, 3500)).astype(np.float32)
    X[:, 5] = 0.1
    train = np.arange(60) < 40
    scaled = standardisation.columns(X, train)
    expected = StandardScaler().fit(X[train].astype(float))
    kept = np.arange(3500) != 5
    # 1e-6: rounding of single precision at values of a few standard deviations
    np.testing.assert_allclose(scaled[:, kept], expected.transform(X.astype(float))[:, kept], atol=1e-6)
    assert (scaled[:, 5] == 0).all()
    own = standardisation.columns(X, train, published="zhou2022")
    np.testing.assert_allclose(own[~train][:, kept].mean(axis=0), 0, atol=1e-6)
    projected = projection.standardised_first(X, train, "srp", rng=np.random.RandomState(0))
    matrix = SparseRandomProjection(random_state=np.random.RandomState(0)).fit(scaled[train])
    np.testing.assert_allclose(projected, matrix.transform(scaled), atol=1e-5)
    components = projection.standardised_first(X, train, "pca", rng=None, variance=0.9)
    pca = PCA(n_components=0.9, svd_solver="full").fit(scaled[train].astype(float))
    # 1e-3: single precision at scores of order 100
    np.testing.assert_allclose(np.abs(components), np.abs(pca.transform(scaled)), atol=1e-3)


def test_layers_below_the_dimension_stay_as_they_are():
    X = np.random.default_rng(8).normal(size=(30, 20)).astype(np.float32)
    kept = projection.standardised_first(X, np.arange(30) < 20, "srp", rng=np.random.RandomState(0))
    np.testing.assert_array_equal(kept, X)
    with pytest.raises(ValueError, match="srp"):
        projection.standardised_first(X, np.arange(30) < 20, "srq", rng=None)


@pytest.mark.gpu
def test_projection_on_the_gpu_agrees():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    X = torch.from_numpy(np.random.default_rng(6).standard_normal((5, 4000)).astype(np.float32))
    project = projection.SparseProjection(4000, 500)
    # Float32 sums of about 60 products in another order.
    torch.testing.assert_close(project(X.cuda()).cpu(), project(X), rtol=0, atol=1e-5)
