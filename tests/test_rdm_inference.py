"""Ceilings, bootstraps and differences: rsatoolbox, copies made explicitly, laws, coverage."""

import numpy as np
import pytest
from rsatoolbox.inference import boot_noise_ceiling
from rsatoolbox.inference.bootstrap import bootstrap_sample_pattern
from rsatoolbox.rdm import RDMs, compare
from rsatoolbox.util.inference_util import extract_variances
from scipy.spatial.distance import pdist

from lib import ceilings
from lib import rdm_comparison as comparison
from lib import rdm_inference as inference

FAST = ("spearman", "rho_a", "pearson", "cosine")


def brain_and_models(n_subjects=5, n_models=3, n=12, seed=0):
    """Subjects who share an RDM, and models of which the first resembles it most."""
    rng = np.random.default_rng(seed)
    n_pairs = n * (n - 1) // 2
    shared = rng.random(n_pairs)
    brain = shared + 0.4 * rng.standard_normal((n_subjects, n_pairs))
    models = shared + np.arange(1, n_models + 1)[:, None] * 0.4 * rng.standard_normal((n_models, n_pairs))
    return models.round(2), brain.round(1)


@pytest.mark.parametrize(("measure", "named"), [("pearson", "corr"), ("cosine", "cosine")])
def test_bounds_are_those_of_rsatoolbox(measure, named):
    _, brain = brain_and_models()
    expected = boot_noise_ceiling(RDMs(brain), method=named)
    np.testing.assert_allclose(inference.bounds(brain, measure=measure), expected, atol=1e-10)


@pytest.mark.parametrize("named", ["cosine_cov", "corr_cov"])
def test_whitened_upper_bound_is_above_that_of_rsatoolbox_which_is_not_the_best(named):
    _, brain = brain_and_models()
    measure = "whitened_cosine" if named == "cosine_cov" else "whitened_pearson"
    theirs = boot_noise_ceiling(RDMs(brain), method=named)[1]
    assert theirs < inference.bounds(brain, measure=measure)[1] < theirs + 0.02


def test_bounds_of_ranks_are_those_of_lib_ceilings():
    brain = brain_and_models()[1]
    unties = brain + 1e-6 * np.random.default_rng(1).standard_normal(brain.shape)
    found = inference.bounds(unties), inference.bounds(brain, reranked=True)
    np.testing.assert_allclose(found[0], ceilings.rdm_bounds(unties, reranked=False), atol=1e-12)
    np.testing.assert_allclose(found[1], boot_noise_ceiling(RDMs(brain), method="spearman"), atol=1e-10)
    with pytest.raises(ValueError, match="measure that is ranked again"):
        inference.bounds(brain, measure="cosine", reranked=True)


@pytest.mark.parametrize("measure", comparison.MEASURES)
def test_nothing_exceeds_the_upper_bound(measure):
    _, brain = brain_and_models()
    lower, upper = inference.bounds(brain, measure=measure)
    candidates = np.vstack([brain, brain.mean(axis=0), np.random.default_rng(1).random((50, brain.shape[1]))])
    reached = comparison.similarities(candidates, brain, measure=measure).mean(axis=1).max()
    assert lower < reached <= upper + 1e-12
    assert np.isnan(inference.bounds(brain[:1], measure=measure)).all()


@pytest.mark.parametrize("measure", comparison.MEASURES)
def test_drawn_stimuli_are_those_of_explicit_copies(measure):
    models, brain = brain_and_models()
    counts = inference.draws(12, 4, np.random.default_rng(0))
    both = np.vstack([models, brain])
    for one, found in zip(counts, inference._grams(both, measure, counts), strict=True):
        drawn = inference._drawn(both, one)
        if measure == "unbiased_cka":  # has no pairs that are missing
            assert np.isnan(found).all()
            continue
        expected = comparison.similarities(drawn, drawn, measure=measure)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_copies_are_those_of_rsatoolbox():
    models, brain = brain_and_models()
    np.random.seed(0)
    sample, rows = bootstrap_sample_pattern(RDMs(brain))
    counts = np.bincount(rows, minlength=12)
    drawn = RDMs(models).subsample_pattern("index", rows)
    grams = inference._grams(np.vstack([models, brain]), "spearman", counts[None])
    expected = compare(drawn, sample, "spearman")
    np.testing.assert_allclose(grams[0, :3, 3:], expected, atol=1e-10)


def test_subjects_drawn_are_those_of_explicit_copies():
    models, brain = brain_and_models()
    found = inference.resamples(np.vstack([models, brain]), stimuli=False, rng=None)
    values = inference.resampled(found, 3, unit="subject", n_resamples=6, rng=np.random.default_rng(3))
    counts = inference.draws(5, 6, np.random.default_rng(3))
    ranks = [comparison.embedded(side, np.ones(66, bool), "spearman") for side in (models, brain)]
    for found, one in zip(values, counts, strict=True):
        copies = np.repeat(np.arange(5), one)
        expected = comparison.similarities(models, brain[copies], measure="spearman").mean(axis=1)
        np.testing.assert_allclose(found[:3], expected, atol=1e-12)
        others = [ranks[1][copies[copies != s]].sum(axis=0) for s in copies]
        lower = np.mean([ranks[1][s] @ o / np.linalg.norm(o) for s, o in zip(copies, others, strict=True)])
        np.testing.assert_allclose(
            found[3:], (lower, np.linalg.norm(ranks[1][copies].mean(axis=0))), atol=1e-12
        )


def test_variances_of_both_units_combine_as_in_rsatoolbox():
    models, brain = brain_and_models(n_subjects=6, n=15)
    rng = np.random.default_rng(0)
    drawn = inference.resamples(np.vstack([models, brain]), n_resamples=400, rng=rng)
    found = inference.covariance(drawn, 3, n_resamples=400, rng=rng)
    single = found[1:] / np.array([6 / 5, 15 / 14])[:, None, None]
    raw = np.concatenate([found[:1], single])
    model, difference, _ = extract_variances(raw, True, 6, 15)
    contrasts = np.array([[1, -1, 0, 0, 0], [1, 0, -1, 0, 0], [0, 1, -1, 0, 0]])
    np.testing.assert_allclose(inference.variance(found, np.eye(5)[:3], 6, 15), model, rtol=1e-10)
    np.testing.assert_allclose(inference.variance(found, contrasts, 6, 15), difference, rtol=1e-10)


def test_errors_over_subjects_are_those_of_a_mean():
    models, brain = brain_and_models(n_subjects=4)
    values = comparison.similarities(models, brain, measure="spearman")
    found = inference.resamples(np.vstack([models, brain]), n_resamples=4000, rng=np.random.default_rng(0))
    how = {"n_resamples": 4000}
    table = inference.estimates(found, 3, unit="subject", rng=np.random.default_rng(1), **how)
    expected = values.std(axis=1, ddof=1) / np.sqrt(4)
    # Relative error of a standard deviation of 4000 draws: 1.1 %; without n / (n - 1) it were 13 % too small.
    np.testing.assert_allclose(table["se"][:3], expected, rtol=0.045)
    alone = inference.covariance(found, 3, unit="subject", rng=np.random.default_rng(1), **how)
    both = inference.covariance(found, 3, rng=np.random.default_rng(1), **how)
    np.testing.assert_array_equal(both[1], alone[0])


def test_intervals_hold_values_and_bounds():
    models, brain = brain_and_models()
    for unit in inference.UNITS:
        table = inference.intervals(models, brain, unit=unit, n_resamples=200, rng=np.random.default_rng(0))
        expected = comparison.similarities(models, brain, measure="spearman").mean(axis=1)
        np.testing.assert_allclose(table["value"], [*expected, *inference.bounds(brain)], atol=1e-12)
        assert table["what"].tolist() == [0, 1, 2, "lower", "upper"]
        assert (table["low"] < table["value"]).all()
        assert (table["n_free"] == {"stimulus": 11}.get(unit, 4)).all()
    assert table["p"][0] < 0.05


def test_one_subject_has_intervals_over_stimuli_only():
    models, brain = brain_and_models(n_subjects=1)
    rng = np.random.default_rng(0)
    for unit in inference.UNITS:
        table = inference.intervals(models, brain, unit=unit, n_resamples=100, rng=rng)
        assert np.isfinite(table["low"][:3]).all() == (unit == "stimulus")
        assert table["low"][3:].isna().all()


def planted(n_subjects, n, rng):
    """A model's and subjects' RDMs from patterns that are drawn anew, stimuli and subjects both at random."""
    signal = rng.standard_normal((n, 10))
    model = pdist(signal + rng.standard_normal((n, 10)), "sqeuclidean")
    weights = 1 + 0.5 * rng.standard_normal((n_subjects, 10))
    return model[None], np.stack(
        [pdist(signal * w + 0.8 * rng.standard_normal((n, 10)), "sqeuclidean") for w in weights]
    )


def test_intervals_cover_the_mean_of_all_subjects_and_stimuli():
    rng = np.random.default_rng(0)
    truth = np.mean([
        comparison.similarities(*planted(8, 20, rng), measure="pearson").mean() for _ in range(1000)
    ])  # fmt: skip
    covered = []
    for _ in range(80):
        models, brain = planted(8, 20, rng)
        row = inference.intervals(models, brain, measure="pearson", n_resamples=40, rng=rng).iloc[0]
        covered.append(row["low"] <= truth <= row["high"])
    # 95 %, of 80 with a standard error of 2.4 %; bounded variances and few degrees of freedom make it more.
    assert np.mean(covered) > 0.95 - 4 * 0.024


def compared(models, brain, n_resamples=200):
    """Differences between models."""
    rng = np.random.default_rng(0)
    found = inference.resamples(np.vstack([models, brain]), n_resamples=n_resamples, rng=rng)
    return inference.pairwise(found, len(models), n_resamples=n_resamples, rng=rng)


def test_differences_are_those_of_the_models():
    models, brain = brain_and_models(n_models=4)
    table = compared(models, brain)
    values = comparison.similarities(models, brain, measure="spearman").mean(axis=1)
    np.testing.assert_allclose(table["value"], values[table["a"]] - values[table["b"]], atol=1e-12)
    assert (table["p_fwe"] >= table["p_fdr"]).all()
    assert (table["p_fdr"] >= table["p"]).all()
    assert len(compared(models[:1], brain, 9)) == 0


def test_equal_models_do_not_differ():
    models, brain = brain_and_models()
    row = compared(np.vstack([models[:1], models[:1]]), brain, 50).iloc[0]
    assert row["value"] == pytest.approx(0, abs=1e-15)
    assert not row["p"] < 0.05


def test_results_depend_on_the_seed_alone():
    models, brain = brain_and_models()
    one, two, other = (
        inference.intervals(models, brain, n_resamples=5, rng=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert one.equals(two)
    assert not one.equals(other)


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(ValueError, match="did you mean subject"):
        inference.intervals(*brain_and_models(), unit="subjects", rng=np.random.default_rng(0))


def test_resamples_of_some_rdms_are_those_of_these_alone():
    models, brain = brain_and_models()
    how = {"n_resamples": 5}
    both = np.vstack([models, brain])
    some = inference.resamples(both, **how, rng=np.random.default_rng(0)).of(np.array([0, 2, 5, 6]))
    alone = inference.resamples(both[[0, 2, 5, 6]], **how, rng=np.random.default_rng(0))
    np.testing.assert_allclose(some.observed, alone.observed, atol=1e-12)
    np.testing.assert_allclose(some.drawn, alone.drawn, atol=1e-12)
