"""Standardised units: scales come from the stimuli that may define them, whatever the pieces."""

import numpy as np

from lib import standardisation


def test_units_are_standardised_on_train_stimuli():
    X = np.random.default_rng(0).normal(2, 3, size=(20, 5))
    X[:, 2] = 0.1
    train = np.arange(20) < 12
    done = np.hstack(list(standardisation.pieces([X[:, :3], X[:, 3:]], train)))
    kept = [0, 1, 3, 4]
    np.testing.assert_allclose(done[train][:, kept].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(done[train][:, kept].std(axis=0), 1)
    assert (done[:, 2] == 0).all()
    assert np.abs(done[~train].mean(axis=0)[kept]).max() > 0.05
    assert (np.vstack(list(standardisation.pieces([X])))[:, kept].std(axis=0) - 1 < 1e-12).all()
    # Half a unit in the last place of single precision, at values up to 4
    np.testing.assert_allclose(standardisation.columns(X, train), done, atol=3e-7)


def test_test_stimuli_are_scaled_by_themselves_only_as_published():
    X = np.random.default_rng(0).normal(2, 3, size=(20, 5))
    train = np.arange(20) < 12
    changed = np.where(train[:, None], X, X + np.arange(20)[:, None])
    for published in (None, "zhou2022"):
        first, second = (standardisation.columns(x, train, published=published) for x in (X, changed))
        np.testing.assert_array_equal(first[train], second[train])
        centred = np.abs(first[~train].mean(axis=0)).max() < 1e-6
        assert centred == (published is not None)
