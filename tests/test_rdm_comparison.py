"""Similarities of RDMs: rsatoolbox, definitions, laws, missing pairs, what does not vary."""

import numpy as np
import pytest
import xarray as xr
from rsatoolbox.rdm import RDMs
from rsatoolbox.rdm import compare as compare_theirs
from scipy.spatial.distance import pdist, squareform

from lib import rdm
from lib import rdm_comparison as comparison

NAMED = {
    "pearson": "corr",
    "spearman": "spearman",
    "kendall_tau_a": "tau-a",
    "rho_a": "rho-a",
    "cosine": "cosine",
    "whitened_cosine": "cosine_cov",
    "whitened_pearson": "corr_cov",
}


def vectors(n_rdms, seed, *, digits=1, n=20):
    """RDMs with ties."""
    return np.random.default_rng(seed).random((n_rdms, n * (n - 1) // 2)).round(digits)


@pytest.mark.parametrize("measure", NAMED)
@pytest.mark.parametrize("missing", [False, True])
def test_similarity_is_that_of_rsatoolbox(measure, missing):
    A, B = vectors(3, 0), vectors(4, 1, digits=2)
    if missing:
        A[:, 5:9] = B[:, 5:9] = np.nan
    expected = compare_theirs(RDMs(A), RDMs(B), method=NAMED[measure])
    np.testing.assert_allclose(comparison.similarities(A, B, measure=measure), expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("measure", ["whitened_cosine", "whitened_pearson"])
@pytest.mark.parametrize("missing", [[], [3, 17]])
def test_whitening_is_by_the_covariance_of_dissimilarities(measure, missing):
    n = 8
    A, B = vectors(2, 0, n=n), vectors(2, 1, n=n)
    contrasts = np.eye(n)[np.triu_indices(n, 1)[0]] - np.eye(n)[np.triu_indices(n, 1)[1]]
    have = np.setdiff1d(np.arange(A.shape[1]), missing)
    V = ((contrasts @ contrasts.T) ** 2)[np.ix_(have, have)]
    a, b = A[:, have], B[:, have]
    if measure == "whitened_pearson":
        a, b = (side - side.mean(axis=1, keepdims=True) for side in (a, b))
    inner = a @ np.linalg.solve(V, b.T)
    lengths = [np.sqrt(np.diag(side @ np.linalg.solve(V, side.T))) for side in (a, b)]
    A[:, missing] = np.nan
    found = comparison.similarities(A, B, measure=measure)
    np.testing.assert_allclose(found, inner / np.outer(*lengths), atol=1e-11)


def gram(seed, n=12, n_units=40):
    """Products of patterns, and their squared distances."""
    X = np.random.default_rng(seed).gamma(1, 1, (n, n_units))
    return X @ X.T, pdist(X, "sqeuclidean")


def test_cka_is_the_comparison_of_squared_distances():
    (K, k), (L, m) = gram(0), gram(1)
    for unbiased, measure in ((True, "unbiased_cka"), (False, "whitened_cosine")):
        found = comparison.cka(K, L, unbiased=unbiased)
        assert found == pytest.approx(comparison.similarities(k, m, measure=measure)[0, 0], abs=1e-12)


def test_cka_is_that_of_its_definitions():
    (K, _), (L, _) = gram(0), gram(1)
    n = len(K)
    H = np.eye(n) - 1 / n

    def biased(A, B):
        return np.trace(A @ H @ B @ H)

    def unbiased(A, B):
        A, B = (side * (1 - np.eye(n)) for side in (A, B))
        total = A.sum() * B.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * A.sum(axis=0) @ B.sum(axis=0)
        return np.trace(A @ B) + total

    for rule, hsic in ((False, biased), (True, unbiased)):
        expected = hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))
        assert comparison.cka(K, L, unbiased=rule) == pytest.approx(expected, abs=1e-12)


def test_unbiased_cka_of_unrelated_patterns_is_0_on_average_and_the_biased_is_not():
    rng = np.random.default_rng(0)
    values = []
    for _ in range(300):
        K, L = (x @ x.T for x in rng.standard_normal((2, 10, 30)))
        values.append((comparison.cka(K, L), comparison.cka(K, L, unbiased=False)))
    mean, error = np.mean(values, axis=0), np.std(values, axis=0) / np.sqrt(300)
    assert abs(mean[0]) < 4 * error[0]
    assert mean[1] > 0.5


def test_cka_says_what_it_needs():
    with pytest.raises(ValueError, match="same four stimuli or more"):
        comparison.cka(np.eye(5), np.eye(4))
    assert np.isnan(comparison.cka(np.ones((5, 5)), gram(0, n=5)[0], unbiased=False))


@pytest.mark.parametrize("measure", comparison.MEASURES)
def test_an_rdm_is_most_like_itself(measure):
    A = vectors(3, 0, digits=8)
    np.testing.assert_allclose(np.diag(comparison.similarities(A, A, measure=measure)), 1, atol=1e-12)
    assert (comparison.similarities(A, vectors(3, 1), measure=measure) < 0.9).all()


@pytest.mark.parametrize("measure", ["pearson", "spearman", "kendall_tau_a", "rho_a", "whitened_pearson"])
def test_unit_and_offset_of_rdms_do_not_matter(measure):
    A, B = vectors(2, 0, digits=8), vectors(2, 1, digits=8)
    found = comparison.similarities(3 * A + 7, B, measure=measure)
    if measure == "whitened_pearson":
        found = comparison.similarities(3 * A, B, measure=measure)
    np.testing.assert_allclose(found, comparison.similarities(A, B, measure=measure), atol=1e-12)


@pytest.mark.parametrize("measure", comparison.MEASURES)
def test_shuffled_stimuli_change_nothing(measure):
    names, rng = [f"s{i}" for i in range(20)], np.random.default_rng(2)
    models = rdm.labelled(squareform(vectors(1, 0)[0]), names).expand_dims(layer=["a"])
    brain = rdm.labelled(squareform(vectors(1, 1)[0]), names).expand_dims(subject=["x"])
    orders = {"stimulus": rng.permutation(20), "stimulus_2": rng.permutation(20)}
    expected = comparison.compare(models, brain, measure=measure)
    assert expected.dims == ("layer", "subject")
    for one, other in ((models.isel(orders), brain), (models, brain.isel(orders))):
        found = comparison.compare(one, other, measure=measure)
        xr.testing.assert_allclose(found, expected, atol=1e-12)


def test_each_pair_of_rdms_uses_what_both_have():
    A, B = vectors(2, 0), vectors(2, 1)
    A[0, :10], B[1, 100:] = np.nan, np.nan
    for measure in comparison.MEASURES:
        found = comparison.similarities(A, B, measure=measure)
        if measure in (*comparison.WHITENED, "unbiased_cka"):
            continue
        both = np.isfinite(A[0]) & np.isfinite(B[1])
        expected = {
            "pearson": lambda a, b: np.corrcoef(a, b)[0, 1],
            "cosine": lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b),
        }.get(measure)
        if expected:
            assert found[0, 1] == pytest.approx(expected(A[0, both], B[1, both]), abs=1e-12)
        assert np.isfinite(found).all()
    assert np.isnan(comparison.similarities(A, B, measure="unbiased_cka")[0]).all()


def test_what_does_not_vary_or_is_missing_is_undefined():
    A = np.vstack([np.full(190, 2.0), np.full(190, np.nan), vectors(1, 0)])
    for measure in comparison.MEASURES:
        found = comparison.similarities(A, A, measure=measure)
        assert np.isnan(found[1]).all()
        assert np.isfinite(found[2, 2])
        if measure in ("kendall_tau_a", "rho_a"):
            assert found[0, 2] == 0
        elif measure != "cosine":
            assert np.isnan(found[0, 2]) == (measure != "whitened_cosine")


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match="did you mean spearman"):
        comparison.similarities(vectors(1, 0), vectors(1, 0), measure="spearmen")
    with pytest.raises(ValueError, match="190 and of 45"):
        comparison.similarities(vectors(1, 0), vectors(1, 0, n=10), measure="pearson")
    with pytest.raises(ValueError, match="191 values are no upper triangle"):
        comparison.similarities(np.ones(191), np.ones(191), measure="pearson")
    one = rdm.labelled(squareform(vectors(1, 0)[0]), range(20)).expand_dims(layer=["a"])
    with pytest.raises(ValueError, match=r"share the dimensions \['layer'\]"):
        comparison.compare(one, one, measure="pearson")
