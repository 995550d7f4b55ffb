import numpy as np
import pytest
from scipy import stats

from lib import significance


def test_p_is_that_of_scipy():
    rng = np.random.default_rng(0)
    for n in (5, 20, 50):
        x, y = rng.standard_normal((2, n, 30))
        expected = [stats.pearsonr(a, b) for a, b in zip(x.T, y.T, strict=True)]
        r = np.array([found.statistic for found in expected])
        # SciPy uses the beta distribution instead of t: the same number, to rounding.
        np.testing.assert_allclose(
            significance.p_value(r, n), [found.pvalue for found in expected], rtol=1e-9
        )


def test_unrelated_data_are_significant_as_often_as_the_level_says():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 12, 40_000))
    r = ((x - x.mean(0)) * (y - y.mean(0))).sum(0) / (12 * x.std(0) * y.std(0))
    share = (significance.p_value(r, 12) < 0.05).mean()
    assert abs(share - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 40_000)  # four standard errors
    # The published one keeps too few: its bounds hold less than 5 % of what chance gives.
    assert (significance.p_value(r, 12, published="nonaka2021") < 0.05).mean() < 0.025


@pytest.mark.parametrize(
    ("level", "published", "bounds"),
    # Nonaka et al. (2021), their formula and the correct one at 50 images: two-sided, 48 degrees of freedom.
    [
        (0.05, None, (0.278711, np.inf)),
        (0.05, "nonaka2021", (0.304699, 0.952449)),
        (0.01, None, (0.361031, np.inf)),
        (0.01, "nonaka2021", (0.428465, 0.903559)),
    ],
)
def test_bounds_for_50_images(level, published, bounds):
    found = significance.threshold(50, level, published=published)
    np.testing.assert_allclose(found, bounds, atol=5e-7)
    low, high = found
    assert significance.p_value(low, 50, published=published) == pytest.approx(level, rel=1e-9)
    if published:
        assert significance.p_value(high, 50, published=published) == pytest.approx(level, rel=1e-9)


def test_what_the_published_formula_can_never_find():
    # t is at most √48 / 2 = 3.4641, at r = √½, where p = .00113.
    assert significance.p_value(np.sqrt(0.5), 50, published="nonaka2021") == pytest.approx(0.00113, abs=5e-6)
    assert np.isnan(significance.threshold(50, 0.001, published="nonaka2021")).all()
    assert significance.p_value(1.0, 50, published="nonaka2021") == 1.0


def test_worked_example():
    # r = .30: t = 1.9827 and p = .0531 as published, t = 2.1788 and p = .0343 correctly; r = .97: p = .109.
    assert significance.p_value(0.30, 50, published="nonaka2021") == pytest.approx(0.0531, abs=5e-5)
    assert significance.p_value(0.30, 50) == pytest.approx(0.0343, abs=5e-5)
    assert significance.p_value(0.97, 50, published="nonaka2021") == pytest.approx(0.109, abs=5e-4)


def test_bounds_decide_as_p_does():
    r = np.linspace(0, 1, 2001)
    for published in (None, "nonaka2021"):
        for n, level in ((50, 0.05), (9, 0.2), (120, 0.001)):
            low, high = significance.threshold(n, level, published=published)
            below = significance.p_value(r, n, published=published) < level
            np.testing.assert_array_equal(below, (r > low) & (r < high))


def test_ends_of_the_range():
    np.testing.assert_array_equal(significance.p_value(np.array([0, 1, -1, np.nan]), 50), [1, 0, 0, np.nan])


def test_too_few_stimuli_and_unknown_rules_are_refused():
    with pytest.raises(ValueError, match="2 stimuli"):
        significance.p_value(0.5, 2)
    with pytest.raises(ValueError, match="nonaka2021"):
        significance.threshold(50, 0.05, published="nonaka2020")
