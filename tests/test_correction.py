"""Noise correction by four rules: worked examples, other implementations, planted shares, missing repeats."""

from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from lib import correction, layers, reliability

SHARES = ("split-half", "ncsnr", "explainable-variance")


def repeats(n_repeats=3, n_stimuli=60, n_voxels=40, share=0.4, seed=0):
    """Responses of which a given share of each repeat's variance is signal."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((1, n_stimuli, n_voxels))
    noise = rng.standard_normal((n_repeats, n_stimuli, n_voxels))
    return np.sqrt(share) * signal + np.sqrt(1 - share) * noise


def unequal(Y, seed=1):
    """The responses with 1, 2, … repeats of a stimulus, each number as often."""
    number = 1 + np.random.default_rng(seed).permutation(Y.shape[1]) % len(Y)
    return np.where((np.arange(len(Y))[:, None] >= number)[..., None], np.nan, Y)


def voxel_term(Y, rule, **options):
    """Term of the response by a rule that looks at test responses alone."""
    n_repeats = np.full(Y.shape[2], len(Y))
    voxel, prediction = correction.terms(None, Y, None, rule=rule, n_repeats=n_repeats, **options)
    np.testing.assert_array_equal(prediction, np.where(np.isnan(voxel), np.nan, 1))
    return voxel


@pytest.mark.parametrize("published", [None, "tuckute2023"])
def test_reliability_is_that_of_train_responses_and_of_test_predictions(published):
    train, predictions = 0.1 * repeats(n_stimuli=83, share=0.1), repeats(n_stimuli=82, share=0.9, seed=1)
    n = np.full(40, 3)
    found = correction.terms(train, None, predictions, rule="reliability", n_repeats=n, published=published)
    for term, Y in zip(found, (train, predictions), strict=True):
        pairs = [
            [stats.pearsonr(a[:, v], b[:, v]).statistic for v in range(40)] for a, b in combinations(Y, 2)
        ]
        r = np.median(pairs, axis=0)
        floor = {83: 0.182, 82: 0.183}[Y.shape[1]]
        mean = 3 * r / (1 + 2 * r)
        # Without `published` the floor is exact, so up to half of the third decimal away.
        np.testing.assert_allclose(term, np.maximum(mean, floor), atol=1e-12 if published else 5e-4)


def test_two_halves_are_lengthened_by_spearman_brown():
    Y = repeats(2, n_stimuli=500)
    r = np.array([stats.pearsonr(*Y[:, :, v]).statistic for v in range(40)])
    # What is taken off is of the order 1/n: at most half the curvature, 4, times (1 - r²)² / n, and r / (2 n).
    np.testing.assert_allclose(correction.split_half(Y), 2 * r / (1 + r), atol=5 / 500)
    assert (correction.split_half(Y) > 2 * r / (1 + r)).all()


def test_unequal_halves_follow_horst():
    # Population correlation of the means of 1 and 3 repeats of signal variance 1 and noise variance 2.
    Y = repeats(4, n_stimuli=20_000, n_voxels=3, share=1 / 3)
    Y[0, :10_000], Y[2:, :10_000] = np.nan, np.nan  # one repeat, then four
    noise = 2 * np.mean([1, 1 / 4])
    # Only stimuli with a repeat in both halves are correlated. A share has a standard error near 1/√n here.
    assert correction.split_half(Y) == pytest.approx(np.full(3, 1 / (1 + noise)), abs=4 / np.sqrt(10_000))


@pytest.mark.parametrize("rule", SHARES)
@pytest.mark.parametrize("n_repeats", [2, 3, 4])
@pytest.mark.parametrize("missing", [False, True])
def test_share_is_right_in_the_mean_however_small(rule, n_repeats, missing):
    for share in (0.0, 0.1, 0.5):
        Y = repeats(n_repeats, 82, 2000, share=share)
        Y = unequal(Y) if missing else Y
        inverse = np.mean(1 / np.isfinite(Y[:, :, 0]).sum(axis=0))
        values = voxel_term(Y, rule)
        truth = share / (share + (1 - share) * inverse)
        # 4 standard errors over voxels; what is left of the order of 1/n² is multiplied by what few repeats lack.
        slack = 12 / 82**2 + missing * 0.015
        assert values.mean() == pytest.approx(truth, abs=4 * values.std() / np.sqrt(2000) + slack)


@pytest.mark.parametrize("rule", SHARES)
def test_unit_origin_and_order_of_stimuli_do_not_matter(rule):
    rng = np.random.default_rng(2)
    for Y in (repeats(4), unequal(repeats(4))):
        other = 1e5 - 7 * Y[:, rng.permutation(60)]
        np.testing.assert_allclose(voxel_term(other, rule), voxel_term(Y, rule), rtol=1e-7)


@pytest.mark.parametrize("rule", SHARES)
def test_perfect_repeats_leave_nothing_to_correct(rule):
    Y = np.repeat(repeats()[:1], 3, axis=0)
    np.testing.assert_allclose(voxel_term(Y, rule), 1, rtol=1e-12)


def test_ncsnr_as_published_equals_a_plain_reading_of_the_paper():
    for Y in (repeats(), unequal(repeats())):
        expected = []
        for voxel in range(Y.shape[2]):
            trials = [y[np.isfinite(y)] for y in Y[:, :, voxel].T]
            noise = np.mean([np.var(y, ddof=1) for y in trials if len(y) > 1])
            ncsnr = np.sqrt(max(np.var(np.concatenate(trials), ddof=1) - noise, 0) / noise)
            expected.append(ncsnr**2 / (ncsnr**2 + np.mean([1 / len(y) for y in trials])))
        values = voxel_term(Y, "ncsnr", published="allen2022")
        np.testing.assert_allclose(values, expected, rtol=1e-10)
        # Ours counts stimuli where the paper counts trials: 1/n apart, and more where repeats are unequal.
        assert np.median(values) == pytest.approx(np.median(voxel_term(Y, "ncsnr")), abs=0.05)


def test_published_share_is_zero_by_chance_and_ours_negative():
    Y = repeats(share=0.0)
    assert (voxel_term(Y, "ncsnr", published="allen2022") == 0).any()
    assert (voxel_term(Y, "ncsnr") < 0).any()


@pytest.mark.parametrize("rule", correction.RULES)
def test_one_repeat_cannot_be_corrected(rule):
    Y = repeats(4, n_voxels=3)
    Y[1:, :, 1] = np.nan
    n = np.array([4, 1, 4])
    for term in correction.terms(Y, Y, Y, rule=rule, n_repeats=n):
        np.testing.assert_array_equal(np.isnan(term), n < 2)
    for term in correction.terms(Y[:1], Y[:1], Y[:0], rule=rule, n_repeats=np.ones(3, int)):
        assert np.isnan(term).all()


@pytest.mark.parametrize("rule", correction.RULES)
def test_a_repeat_that_is_missing_throughout_changes_nothing(rule):
    Y = repeats(4)
    Y[2] = np.nan
    n = np.full(40, 3)
    some, others = (correction.terms(y, y, y, rule=rule, n_repeats=n) for y in (Y, np.delete(Y, 2, axis=0)))
    if rule == "split-half":  # other halves
        assert np.abs(np.array(some[0]) - others[0]).max() < 0.2
    else:
        np.testing.assert_allclose(some, others, rtol=1e-7)


@pytest.mark.parametrize("rule", SHARES)
def test_what_does_not_vary_has_no_share(rule):
    Y = repeats(n_voxels=3)
    Y[:, :, 1] = 0.1
    assert np.isnan(voxel_term(Y, rule)).tolist() == [False, True, False]


def test_many_repeats_are_halved_in_a_sample_of_ways():
    Y = repeats(12, n_voxels=5)
    np.testing.assert_array_equal(correction.split_half(Y), correction.split_half(Y.copy()))
    np.testing.assert_allclose(correction.split_half(Y), voxel_term(Y, "ncsnr"), atol=0.03)


def test_unknown_rules_are_errors_that_name_the_right_ones():
    Y, n = repeats(), np.full(40, 3)
    with pytest.raises(ValueError, match="did you mean ncsnr"):
        correction.terms(Y, Y, Y, rule="ncsn", n_repeats=n)
    with pytest.raises(ValueError, match="published version of ncsnr"):
        correction.terms(Y, Y, Y, rule="ncsnr", n_repeats=n, published="tuckute2023")
    with pytest.raises(ValueError, match="there are: none"):
        correction.terms(Y, Y, Y, rule="split-half", n_repeats=n, published="allen2022")


def test_a_voxel_without_share_is_undefined_and_never_zero():
    values = reliability.corrected_r2(np.array([0.5, 0.5, 0.5, 0.5]), np.array([0.5, 0, -0.1, np.nan]), 1.0)
    np.testing.assert_array_equal(values, [0.5, np.nan, np.nan, np.nan])


def test_corrected_scores_are_limited_only_after_the_median_over_splits():
    scores = xr.DataArray([[0.4], [0.8], [1.4], [3.0]], dims=("split", "voxel"))
    # Limited first, the median would be 0.9.
    assert layers.over_splits(scores, clip=1).item() == 1
    assert layers.over_splits(scores).item() == pytest.approx(1.1)
    scores[2] = 1.0
    assert layers.over_splits(scores, clip=1).item() == pytest.approx(0.9)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.8])
def test_unbiased_r2_is_right_in_the_mean(rho):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 10, 40_000))
    b = rho * a + np.sqrt(1 - rho**2) * b
    r = np.einsum("ij,ij->j", *((x - x.mean(0)) / np.linalg.norm(x - x.mean(0), axis=0) for x in (a, b)))
    values = correction.unbiased_r2(r, 10)
    assert values.mean() == pytest.approx(rho**2, abs=4 * values.std() / 200)
    assert (r**2).mean() - rho**2 > 0.01 or rho > 0.7


def test_unbiased_r2_takes_off_what_chance_adds():
    r = np.array([0.0, 0.3, -0.6, 1.0, np.nan])
    # The first two terms of the series; the third is of the order 1/n².
    np.testing.assert_allclose(
        correction.unbiased_r2(r, 500), r**2 - (1 - r**2) * (1 - 2 * r**2) / 500, atol=8 / 500**2
    )
    assert correction.unbiased_r2(1.0, 10) == 1
    below, above = (1 - correction.unbiased_r2(np.linspace(0, 0.99), n) for n in (39, 40))
    np.testing.assert_allclose(below, above, rtol=0.01)  # two ways to the same function
    with pytest.raises(ValueError, match="at least 4"):
        correction.unbiased_r2(r, 3)


def test_shares_of_three_stimuli_are_not_known():
    Y = np.random.default_rng(0).standard_normal((4, 4, 2))
    for share in (correction.split_half, correction.noise_ceiling):
        assert np.isnan(share(Y[:, :3])).all()
        assert np.isfinite(share(Y)).all()


def test_pooled_ratio_is_a_jackknife_over_subjects():
    rng = np.random.default_rng(0)
    above, below = rng.uniform(0.1, 0.3, 7), rng.uniform(0.4, 0.6, 7)
    pseudo = [
        7 * above.sum() / below.sum() - 6 * np.delete(above, i).sum() / np.delete(below, i).sum()
        for i in range(7)
    ]
    interval = stats.t.interval(0.9, 6, np.mean(pseudo), stats.sem(pseudo))
    np.testing.assert_allclose(
        correction.pooled_ratio(above, below, level=0.9), (np.mean(pseudo), *interval), rtol=1e-12
    )
    gap = np.r_[above, np.nan], np.r_[below, 0.5]
    np.testing.assert_allclose(
        correction.pooled_ratio(*gap), correction.pooled_ratio(above, below), rtol=1e-12
    )


def test_pooled_ratio_needs_two_subjects_and_signal():
    assert np.isnan(correction.pooled_ratio([0.2], [0.5])).all()
    assert np.isnan(correction.pooled_ratio([0.2, 0.3], [0.5, -0.1])).all()
    value, low, high = correction.pooled_ratio(np.full((2, 5), 0.2), 0.5)
    np.testing.assert_allclose([value, low, high], 0.4)


def scores():
    """Scores of 60 voxels of three subjects and two regions, as `encode` labels them."""
    rng = np.random.default_rng(0)
    shape = 4, 60
    variables = {
        "r": rng.uniform(-0.2, 0.9, shape),
        "constant_prediction": np.zeros(shape, int),
        "reliability_voxel": rng.uniform(-0.1, 1, shape),
        "reliability_prediction": np.ones(shape),
    }
    dataset = xr.Dataset({name: (("split", "voxel"), values) for name, values in variables.items()})
    return dataset.assign_coords(
        subject=("voxel", np.arange(60) % 3), roi=("voxel", np.array(["a", "b", ""])[np.arange(60) // 20])
    )


def test_pooled_interval_is_the_ratio_of_each_subjects_means():
    data = scores()
    table = correction.pooled_interval(data, n_test=82, by="roi").set_index("part")
    assert table.index.tolist() == ["all", "a", "b"]
    assert (table["n"] == 3).all()
    for part, rows in (("all", data), ("b", data.isel(voxel=data["roi"] == "b"))):
        r2 = correction.unbiased_r2(rows["r"].values, 82)
        sides = [
            [values[:, rows["subject"].values == subject].mean() for subject in range(3)]
            for values in (r2, rows["reliability_voxel"].values)
        ]
        expected = correction.pooled_ratio(*sides)
        np.testing.assert_allclose(table.loc[part, ["value", "low", "high"]].astype(float), expected)


def test_splits_may_differ_in_their_number_of_test_stimuli():
    data = scores().isel(split=[0, 1])
    data["r"][1] = data["r"][0]
    data["reliability_voxel"][1] = data["reliability_voxel"][0]
    few, many, mixed = (correction.pooled_interval(data, n_test=n)["value"][0] for n in (10, 80, [10, 80]))
    # Of equal denominators the jackknife is linear in what is explained.
    assert mixed == pytest.approx((few + many) / 2, rel=1e-9)


def test_pooled_interval_counts_constant_predictions_as_nothing_and_drops_what_is_unknown():
    data = scores()
    data["r"][:, :20] = 0
    data["constant_prediction"][:, :20] = 1
    nothing = correction.pooled_interval(data, n_test=82, by="roi")
    assert nothing["value"][1] == 0
    data["r"][:, :20] = np.nan
    unknown = correction.pooled_interval(data, n_test=82, by="roi")
    assert unknown["n"].tolist() == [3, 0, 3]
    kept = correction.pooled_interval(data.isel(voxel=slice(20, None)), n_test=82)
    assert unknown["value"][0] == pytest.approx(kept["value"][0])
