"""Unique and shared parts: closed-form vectors, and what the parts must add up to."""

import numpy as np
import pytest
import xarray as xr

from lib import partition

SETS = ("A", "B", "C", "D")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def planted(n_sets, shape, rng):
    """Parts of any size, and the scores of all unions that follow from what a part means."""
    truth = {part: rng.normal(size=shape) for part in partition.subsets(SETS[:n_sets])}
    scores = {
        union: sum(value for part, value in truth.items() if part & union)
        for union in partition.subsets(SETS[:n_sets])
    }
    return truth, scores


def adjusted_r2(y, columns):
    """By least squares with an intercept."""
    X = np.column_stack([np.ones_like(y), *columns])
    residual = y - X @ np.linalg.lstsq(X, y)[0]
    r2 = 1 - residual.var() / y.var()
    return 1 - (1 - r2) * (len(y) - 1) / (len(y) - X.shape[1])


@pytest.mark.parametrize("n_sets", [1, 2, 3, 4])
def test_parts_are_those_that_make_up_the_unions(n_sets, rng):
    truth, scores = planted(n_sets, (2, 5), rng)
    found = partition.parts(scores)
    assert list(found) == partition.subsets(SETS[:n_sets]) == list(truth)
    for part, value in truth.items():  # sums of at most 16 numbers of size 1
        np.testing.assert_allclose(found[part], value, atol=1e-13)


@pytest.mark.parametrize("n_sets", [1, 2, 3, 4])
def test_parts_sum_to_the_score_of_all(n_sets, rng):
    scores = {union: rng.normal(size=7) for union in partition.subsets(SETS[:n_sets])}
    total = sum(partition.parts(scores).values())
    np.testing.assert_allclose(total, scores[frozenset(SETS[:n_sets])], atol=1e-13)


def test_two_sets_share_what_the_union_does_not_add():
    scores = {frozenset("A"): 0.5, frozenset("B"): 0.3, frozenset("AB"): 0.6}
    found = {partition.label(part, "AB"): value for part, value in partition.parts(scores).items()}
    assert found == pytest.approx({"A": 0.3, "B": 0.1, "A & B": 0.2})


def test_three_sets_are_those_of_dwivedi():
    k = np.arange(1225)
    x1, x2, x4 = np.sin(0.1 * k), np.cos(0.07 * k), np.cos(0.031 * k)
    x3, x5 = np.sin(0.013 * k + 1) + 0.5 * np.sin(0.1 * k), np.sin(0.2 * k) + 0.3 * np.cos(0.07 * k)
    y = x1 + 0.4 * x2 + 0.5 * x3 + 0.3 * x5 + 1.5 * np.sin(0.9 * k)
    sets = {"A": [x1, x2], "B": [x3, x4], "C": [x5, np.cos(0.017 * k + 2)]}
    scores = {
        union: adjusted_r2(y, [x for name in sorted(union) for x in sets[name]])
        for union in partition.subsets(sets)
    }
    r2 = [0.412643, 0.233010, 0.044287, 0.469361, 0.433324, 0.274304, 0.488928]
    parts = [0.214624, 0.055604, 0.019568, 0.174413, 0.021726, 0.001114, 0.001880]
    # Half a unit in the last digit.
    np.testing.assert_allclose(list(scores.values()), r2, atol=5e-7)
    np.testing.assert_allclose(list(partition.parts(scores).values()), parts, atol=5e-7)


def test_labels_of_arrays_are_kept_and_scores_left_alone(rng):
    _, scores = planted(3, (4,), rng)
    labelled = {
        union: xr.DataArray(value, dims="voxel", coords={"voxel": list("abcd")})
        for union, value in scores.items()
    }
    before = {union: value.copy() for union, value in labelled.items()}
    found = partition.parts(labelled)
    for part, value in partition.parts(scores).items():
        assert found[part].dims == ("voxel",)
        np.testing.assert_array_equal(found[part], value)
    assert all(value.identical(before[union]) for union, value in labelled.items())


def test_order_of_unions_does_not_matter(rng):
    _, scores = planted(3, (), rng)
    turned = partition.parts(dict(reversed(scores.items())))
    assert turned == pytest.approx(partition.parts(scores))
    assert next(iter(turned)) == frozenset("C")  # names stand as the single sets came


def test_negative_parts_are_kept_and_counted():
    scores = {
        frozenset("A"): np.array([0.5, 0.5, np.nan]),
        frozenset("B"): np.array([0.3, 0.3, 0.3]),
        frozenset("AB"): np.array([0.6, 0.4, 0.5]),
    }
    found = partition.parts(scores)
    np.testing.assert_allclose(found[frozenset("B")], [0.1, -0.1, np.nan], atol=1e-15)
    np.testing.assert_allclose(found[frozenset("A")], [0.3, 0.1, 0.2], atol=1e-15)
    assert partition.negative(found) == {frozenset("A"): 0, frozenset("B"): 0.5, frozenset("AB"): 0}
    assert np.isnan(partition.negative({frozenset("A"): np.nan})[frozenset("A")])


def test_a_missing_union_is_an_error():
    with pytest.raises(ValueError, match=r"1 unions have no score, the first: \['A & B'\]"):
        partition.parts({frozenset("A"): 1, frozenset("B"): 1})
    with pytest.raises(ValueError, match=r"2 unions have no score, the first: \['A', 'B'\]"):
        partition.parts({frozenset("AB"): 1})


@pytest.mark.parametrize("scores", [{}, {"AB": 1}, {frozenset(): 1}])
def test_what_is_no_set_is_an_error(scores):
    with pytest.raises(ValueError, match="frozensets"):
        partition.parts(scores)


@pytest.mark.parametrize("names", [[], ["A", "A"]])
def test_names_must_differ(names):
    with pytest.raises(ValueError, match="different names"):
        partition.subsets(names)
