"""Splits of stimuli: the published ones, and halves that keep groups together."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import folds

# First 16 digits of the SHA-256 of the 165 bytes of each train mask (split 0 first).
PUBLISHED = [
    "cf82281b2229a95f",
    "22fcd24ad11e10a0",
    "ddf33efcb51db233",
    "93c7afd670b3a837",
    "80f3c193b3a8bc8d",
    "d41dfa18cd54c92f",
    "ccf6e93f6fcf6553",
    "58fcda6d79870f5e",
    "c2241bdffec2cdd6",
    "97ce60e375d14400",
]


def test_published_splits_are_reproduced():
    splits = folds.published_splits()
    assert [hashlib.sha256(s.astype(np.uint8).tobytes()).hexdigest()[:16] for s in splits] == PUBLISHED
    assert np.flatnonzero(splits[0])[:12].tolist() == [2, 5, 7, 8, 10, 16, 18, 19, 22, 24, 26, 27]
    assert (splits.sum(axis=1) == 83).all()


@pytest.mark.reference
def test_published_splits_equal_the_golden_file():
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE is not set")
    golden = json.loads((Path(folder) / "auditory_golden_rng.json").read_text())["main_splits"]
    for row, split in zip(golden, folds.published_splits(), strict=True):
        assert row["train_sorted"] == np.flatnonzero(split).tolist()


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=60), st.integers(0, 99))
def test_groups_stay_together_and_halves_balance(groups, seed):
    stimuli = [f"s{i}" for i in range(len(groups))]
    if len(set(groups)) < 2:
        with pytest.raises(ValueError, match="one group"):
            folds.half_splits(stimuli, groups=groups, seed=seed)
        return
    splits = folds.half_splits(stimuli, groups=groups, seed=seed, n_splits=4)
    largest = max(groups.count(g) for g in set(groups))
    for train in splits:
        assert {g for g, t in zip(groups, train, strict=True) if t}.isdisjoint(
            g for g, t in zip(groups, train, strict=True) if not t
        )
        assert 0 <= train.sum() - (~train).sum() <= largest
        assert 0 < train.sum() < len(train)


def test_halves_follow_identifiers_not_order():
    stimuli = np.array([f"stim{i}" for i in range(31)])
    order = np.random.default_rng(0).permutation(31)
    plain, moved = folds.half_splits(stimuli), folds.half_splits(stimuli[order])
    np.testing.assert_array_equal(plain[:, order], moved)


def test_halves_are_seeded_and_differ():
    stimuli = [f"s{i}" for i in range(40)]
    a, b = folds.half_splits(stimuli, seed=1), folds.half_splits(stimuli, seed=1)
    np.testing.assert_array_equal(a, b)
    assert len(np.unique(a, axis=0)) == 10
    assert not np.array_equal(a, folds.half_splits(stimuli, seed=2))
    assert (a.sum(axis=1) == 20).all()


def test_every_stimulus_is_as_often_in_either_half():
    splits = folds.half_splits([f"s{i}" for i in range(20)], n_splits=2000)
    # 4.5 standard errors of a share of 2000: a false alarm among 20 in 7000 runs
    assert np.abs(splits.mean(axis=0) - 0.5).max() < 4.5 * 0.5 / np.sqrt(2000)
    together = (splits[:, 0] == splits[:, 1]).mean()
    assert abs(together - 9 / 19) < 4.5 * 0.5 / np.sqrt(2000)


def test_what_cannot_be_split_is_an_error():
    with pytest.raises(ValueError, match="must all differ"):
        folds.half_splits(["a", "a", "b"])
    with pytest.raises(ValueError, match="a group each"):
        folds.half_splits(["a", "b"], groups=[0])
