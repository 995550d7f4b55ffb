"""Weighted models: rsatoolbox's weights, planted weights, and no gain where nothing is shared."""

import numpy as np
import pytest
from rsatoolbox.model import ModelWeighted
from rsatoolbox.model.fitter import fit_regress_nn
from rsatoolbox.rdm import RDMs

from lib import rdm_comparison as comparison
from lib import rdm_fitting as fitting


def planted(n_subjects=4, n=24, noise=0.3, seed=0, share=(0.7, 0.0, 0.3)):
    """Models, of which two add up to what subjects share."""
    rng = np.random.default_rng(seed)
    n_pairs = n * (n - 1) // 2
    models = rng.random((3, n_pairs)) * np.array([1, 5, 0.2])[:, None]
    shared = np.array(share) / np.array([1, 5, 0.2]) @ models
    return models, shared + noise * rng.standard_normal((n_subjects, n_pairs))


@pytest.mark.parametrize(("measure", "named"), [("pearson", "corr"), ("cosine", "cosine")])
def test_weights_are_those_of_rsatoolbox(measure, named):
    models, brain = planted()
    expected = fit_regress_nn(ModelWeighted("all", RDMs(models)), RDMs(brain), method=named)
    np.testing.assert_allclose(fitting.weights(models, brain, measure=measure), expected, atol=1e-10)


@pytest.mark.parametrize("measure", comparison.MEASURES)
def test_planted_weights_are_recovered(measure):
    models, brain = planted(noise=0)
    expected = np.array([0.7, 0, 1.5]) / np.linalg.norm([0.7, 0, 1.5])
    np.testing.assert_allclose(fitting.weights(models, brain, measure=measure), expected, atol=1e-8)


def test_weights_are_never_negative():
    models, brain = planted(share=(-1, 0, 0.5))
    assert (fitting.weights(models, brain) >= 0).all()
    np.testing.assert_array_equal(fitting.weights(models[:1], brain), [0])


def test_fitted_beats_single_models_where_two_are_needed():
    table = fitting.cross_validated(*planted(noise=0.1), rng=np.random.default_rng(0))
    mean = table.groupby("model")["value"].mean()
    assert mean[fitting.FITTED] > mean[[0, 1, 2, fitting.EQUAL]].max() + 0.03
    assert mean["lower"] - 0.1 < mean[fitting.FITTED] < mean["upper"]
    assert len(table) == 4 * 4 * 7


def test_models_without_values_are_left_out():
    models, brain = planted()
    silent = np.insert(models, 1, np.nan, axis=0)
    whole = fitting.cross_validated(models, brain, rng=np.random.default_rng(0))
    found = fitting.cross_validated(silent, brain, rng=np.random.default_rng(0))
    assert found["model"].replace({2: 1, 3: 2}).tolist() == whole["model"].tolist()
    np.testing.assert_array_equal(found["value"], whole["value"])


def test_fitting_finds_nothing_in_noise():
    values = []
    for seed in range(30):
        models, _ = planted(seed=seed)
        brain = np.random.default_rng(seed + 100).random((3, models.shape[1]))
        table = fitting.cross_validated(models, brain, n_folds=3, rng=np.random.default_rng(seed))
        values.append(table.loc[table["model"] == fitting.FITTED, "value"].mean())
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(30)


def test_train_and_test_share_no_stimulus_and_no_subject(monkeypatch):
    models, brain = planted(n=12)
    seen = []
    monkeypatch.setattr(fitting, "weights", lambda A, b, **_: seen.append((A.shape[1], len(b))) or np.ones(3))
    table = fitting.cross_validated(models, brain, n_folds=3, rng=np.random.default_rng(0))
    # Eight stimuli train, 28 pairs; of the four others the 6 pairs test.
    assert set(seen) == {(28, 3)}
    assert table.groupby(["fold", "subject"]).ngroups == 12


def test_a_single_subject_is_tested_on_other_stimuli():
    models, brain = planted(n_subjects=1, noise=0.05)
    table = fitting.cross_validated(models, brain, rng=np.random.default_rng(0)).set_index("model")["value"]
    assert table[fitting.FITTED].mean() > 0.9
    assert table[["lower", "upper"]].isna().all()
    with pytest.raises(ValueError, match="fewer than three each"):
        fitting.cross_validated(models, brain, n_folds=9, rng=np.random.default_rng(0))


def test_subjects_are_averaged_after_their_folds():
    table = fitting.cross_validated(*planted(noise=0.1), rng=np.random.default_rng(0))
    found = fitting.over_subjects(table).set_index("model")
    means = table.groupby("model")["value"].mean()
    np.testing.assert_allclose(found["value"], means[found.index].to_numpy(float), rtol=1e-12)
    assert found["lower"].iloc[0] == pytest.approx(means["lower"])
    assert set(found.index) == {0, 1, 2, fitting.FITTED, fitting.EQUAL}
    assert found.loc[fitting.FITTED, ["low", "high", "n"]].notna().all()
    alone = fitting.over_subjects(
        fitting.cross_validated(*planted(n_subjects=1), rng=np.random.default_rng(0))
    )
    assert alone["low"].isna().all()
