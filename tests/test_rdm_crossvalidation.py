"""Regressions on RDMs, scored on other subjects and conditions."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from lib import rdm_crossvalidation as crossvalidation
from lib import rdm_regression


@pytest.fixture
def rng():
    return np.random.default_rng(8)


@pytest.fixture
def example(rng):
    sets = {name: rng.random((2, 190)) for name in "ab"}
    return sets, sets["a"][0] + 0.5 * sets["b"][1] + rng.random((4, 3, 190))


@pytest.mark.parametrize("measure", crossvalidation.MEASURES)
@pytest.mark.parametrize("with_folds", [False, True])
def test_held_out_scores_are_those_of_scikit_learn(example, rng, measure, with_folds):
    sets, rdms = example
    folds = crossvalidation.condition_folds(20, 3, rng) if with_folds else None
    found = crossvalidation.held_out(rdms, sets, folds, measure=measure)
    X, (i, j) = np.concatenate([sets["a"], sets["b"]]).T, np.triu_indices(20, 1)
    scores = []
    for test in folds if with_folds else [None]:
        train, tested = (~test[i] & ~test[j], test[i] & test[j]) if with_folds else (slice(None),) * 2
        fit = LinearRegression().fit(X[train], np.delete(rdms, 2, axis=0).mean(axis=0)[1, train])
        y, predicted = rdms[2, 1, tested], fit.predict(X[tested])
        # The offset of a subject's RDM is not asked for.
        centred = r2_score(y - y.mean(), predicted - predicted.mean())
        r = np.corrcoef(y, predicted)[0, 1]
        scores.append(centred if measure == "variance" else r * abs(r))
    assert found.shape == (4, 3, 3)
    assert found[2, 1, -1] == pytest.approx(np.mean(scores), rel=1e-9)


def test_nothing_is_explained_where_there_is_nothing(rng):
    sets = {"a": rng.random((6, 190))}
    rdms = rng.random((8, 40, 190))
    inside = rdm_regression.adjusted_r2(rdm_regression.design(sets), rdms.mean(axis=0)).mean()
    folds = crossvalidation.condition_folds(20, 2, rng)
    outside = crossvalidation.held_out(rdms, sets, folds).mean()
    assert abs(inside) < 0.02
    assert -0.3 < outside < 0  # fitted noise predicts worse than the mean


def test_parts_of_cross_validated_scores_sum_to_the_whole(example, rng):
    sets, rdms = example
    prepared = rdm_regression.design(sets)
    scores = crossvalidation.held_out(rdms, sets, crossvalidation.condition_folds(20, 3, rng))
    parts = rdm_regression.parts(prepared, scores)
    np.testing.assert_allclose(sum(parts.values()), scores[..., -1], atol=1e-12)


def test_folds_take_each_condition_once(rng):
    folds = crossvalidation.condition_folds(50, 4, rng)
    assert folds.sum(axis=0).tolist() == [1] * 50
    assert sorted(folds.sum(axis=1)) == [12, 12, 13, 13]
    with pytest.raises(ValueError, match="at most 6 folds"):
        crossvalidation.condition_folds(20, 7, rng)


def test_a_single_subject_needs_folds(example, rng):
    sets, rdms = example
    with pytest.raises(ValueError, match="nothing is left out"):
        crossvalidation.held_out(rdms[:1], sets)
    folds = crossvalidation.condition_folds(20, 2, rng)
    assert np.isfinite(crossvalidation.held_out(rdms[:1], sets, folds)).all()


def test_estimate_has_errors_over_subjects_and_conditions(example, rng):
    sets, rdms = example
    folds = crossvalidation.condition_folds(20, 2, rng)
    found = crossvalidation.cross_validated(rdms, sets, folds, statistic=lambda r2: r2)
    scores = crossvalidation.held_out(rdms, sets, folds)
    np.testing.assert_allclose(found.value, scores.mean(axis=0))
    np.testing.assert_allclose(found.se_subjects, scores.std(axis=0, ddof=1) / 2)
    assert (found.se_conditions > 0).all()
    assert ((found.low < found.value) & (found.value < found.high)).all()
