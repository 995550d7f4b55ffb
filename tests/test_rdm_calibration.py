"""Tests of RDMs hold their level; the published permutation of entries does not."""

import numpy as np
import pytest

from lib import rdm_calibration as calibration


@pytest.fixture(scope="module")
def table():
    tests = [calibration.PERMUTED, calibration.LARGEST, calibration.ENTRIES, calibration.NONE]
    return calibration.false_positives(tests=tests).set_index("test")


def test_permuted_stimuli_are_significant_at_the_nominal_rate(table):
    for name in (calibration.PERMUTED, calibration.LARGEST):
        assert table["low"][name] <= table["rate"][name] <= table["high"][name]
    assert table["n"].eq(400).all()
    assert table["low"].between(0.02, 0.04).all()


def test_permuted_entries_are_significant_too_often(table):
    assert table["rate"][calibration.ENTRIES] > 0.1 > table["high"][calibration.ENTRIES]
    # Five tests at 5 %: 1 - 0.95^5 = 0.23 if they were independent.
    assert table["rate"][calibration.NONE] == pytest.approx(0.226, abs=4 * 0.021)


def test_bootstrap_of_stimuli_holds_its_level_and_that_of_subjects_alone_does_not():
    tests = list(calibration.RESAMPLED)
    rates = calibration.false_positives(n_simulations=60, tests=tests).set_index("test")
    for name in tests[1:]:
        assert rates["rate"][name] <= rates["high"][name]
    assert rates["rate"][tests[0]] > rates["high"][tests[0]]


def test_unrelated_subjects_agree_with_each_other_only():
    models, brain = calibration.unrelated(40, 6, 3, np.random.default_rng(0))
    similar = np.corrcoef(np.vstack([models, brain]))
    assert similar[3:, 3:].mean() > 0.3
    assert np.abs(similar[:3, 3:]).max() < 0.3


def test_numbers_have_lower_case_names_and_exact_bounds(table):
    rows = calibration.quotable(table.reset_index())
    assert "rsa/simulated/unrelated/false_positives/entries_permuted_dwivedi2021" in rows["name"].tolist()
    assert ((rows["low"] < rows["value"]) & (rows["value"] < rows["high"])).all()
