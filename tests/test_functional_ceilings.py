"""A reconstructed figure: what is explained of subjects who had no say in it, and ceilings."""

import numpy as np
import pytest
from scipy import stats

from lib import functional_ceilings, rdm_crossvalidation


@pytest.fixture
def rng():
    return np.random.default_rng(13)


@pytest.fixture
def example(rng):
    """Two regions of six subjects over 20 conditions: the first follows `a` and `b`, the second `d`."""
    sets = {name: rng.random((2, 190)) for name in "abcd"}
    rdms = 0.5 * rng.random((6, 2, 190))
    rdms[:, 0] += sets["a"][0] + 0.6 * sets["b"][1]
    rdms[:, 1] += sets["d"].sum(axis=0)
    return rdms, sets


@pytest.mark.parametrize("with_folds", [False, True])
def test_reconstruction_chooses_without_the_subject_it_scores(example, rng, with_folds):
    rdms, sets = example
    folds = rdm_crossvalidation.condition_folds(20, 2, rng) if with_folds else None
    table = functional_ceilings.reconstruction(rdms, sets, ["V1", "V2"], folds, n=2)
    assert (table["value"] <= table["upper_ceiling"]).all()
    assert (table["lower_ceiling"] < table["upper_ceiling"]).all()
    assert table["networks"].tolist()[0] == "a, b"
    if not with_folds:
        others = np.delete(rdms, 3, axis=0).mean(axis=0)[0]
        X = np.concatenate([sets["a"], sets["b"], np.ones((1, 190))]).T
        predicted = X @ np.linalg.lstsq(X, others, rcond=None)[0]
        own = []
        for subject in range(6):
            others = np.delete(rdms, subject, axis=0).mean(axis=0)[0]
            predicted = X @ np.linalg.lstsq(X, others, rcond=None)[0]
            own.append(np.corrcoef(predicted, rdms[subject, 0])[0, 1] ** 2)
        assert table["value"].iloc[0] == pytest.approx(np.mean(own))
        assert table["sd"].iloc[0] == pytest.approx(np.std(own, ddof=1))


def test_a_single_subject_is_refused(example):
    rdms, sets = example
    with pytest.raises(ValueError, match="single subject"):
        functional_ceilings.reconstruction(rdms[:1], sets, ["V1", "V2"])


def test_ceilings_are_those_of_scipy(example):
    rdms = example[0][:, 0]
    lower = [
        stats.spearmanr(r, np.delete(rdms, i, axis=0).mean(axis=0)).statistic for i, r in enumerate(rdms)
    ]
    upper = [stats.spearmanr(r, rdms.mean(axis=0)).statistic for r in rdms]
    assert functional_ceilings.ceilings(rdms) == pytest.approx((np.mean(lower), np.mean(upper)))
    squared = functional_ceilings.ceilings(rdms, squared=True)
    assert squared == pytest.approx((np.mean(np.square(lower)), np.mean(np.square(upper))))
    linear = [np.corrcoef(r, rdms.mean(axis=0))[0, 1] for r in rdms]
    assert functional_ceilings.ceilings(rdms, ranked=False)[1] == pytest.approx(np.mean(linear))
