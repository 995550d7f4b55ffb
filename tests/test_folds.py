"""Splits of stimuli: the published ones, and halves that keep groups together."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
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


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=60), st.integers(2, 7), st.integers(0, 99))
def test_parts_keep_groups_together_and_balance(groups, n_parts, seed):
    stimuli = [f"s{i}" for i in range(len(groups))]
    if len(set(groups)) < n_parts:
        with pytest.raises(ValueError, match=f"at least {n_parts}"):
            folds.parts(stimuli, n_parts, groups=groups, seed=seed)
        return
    part = folds.parts(stimuli, n_parts, groups=groups, seed=seed)
    sizes = np.bincount(part, minlength=n_parts)
    assert len(sizes) == n_parts
    assert sizes.max() - sizes.min() <= max(groups.count(g) for g in set(groups))
    assert len({(g, p) for g, p in zip(groups, part, strict=True)}) == len(set(groups))


def responses(n=20, **coords):
    """Responses of one voxel with two stored splits."""
    stimuli = [f"s{i}" for i in range(n)]
    train = np.arange(n) % 2 == np.arange(2)[:, None]
    values = {"response": (("repeat", "stimulus", "voxel"), np.zeros((2, n, 1)))}
    values["train"] = ("split", "stimulus"), train
    coords = {name: ("stimulus", labels) for name, labels in coords.items()}
    return xr.Dataset(values, coords={"stimulus": stimuli, "split": [3, 4], **coords})


def test_stored_splits_are_left_as_they_are():
    stored = responses()
    assert folds.scheme(stored, "stored") is stored
    with pytest.raises(ValueError, match="no splits are stored"):
        folds.scheme(stored.drop_vars("train"), "stored")


def test_halves_by_name_are_the_half_splits():
    found = folds.scheme(responses(), "halves", seed=3)
    np.testing.assert_array_equal(found.train, folds.half_splits(found.stimulus.values, seed=3))
    assert found.split.values.tolist() == list(range(10))


@pytest.mark.parametrize("n_folds", [2, 5, 20])
def test_each_stimulus_is_tested_in_one_fold(n_folds):
    found = folds.scheme(responses(), "kfold", n_folds=n_folds, seed=1)
    assert found.train.shape == (n_folds, 20)
    np.testing.assert_array_equal((~found.train).sum("split"), 1)
    assert set((~found.train).sum("stimulus").values.tolist()) == {20 // n_folds}


def test_folds_never_separate_a_group():
    group = np.arange(20) // 4
    for where, groups in ((responses(group=group), None), (responses(), group)):
        train = folds.scheme(where, "kfold", n_folds=3, groups=groups).train.values
        for members in (group == g for g in range(5)):
            assert (train[:, members].all(axis=1) | ~train[:, members].any(axis=1)).all()


def test_each_run_is_tested_once():
    run = np.repeat(["b", "a", "c"], [5, 9, 6])
    found = folds.scheme(responses(run=run), "leave-one-run-out")
    for train, tested in zip(found.train.values, ["a", "b", "c"], strict=True):
        np.testing.assert_array_equal(~train, run == tested)


def test_fixed_trains_on_all_stimuli():
    both = responses()
    both["test_response"] = ("test_repeat", "test_stimulus", "voxel"), np.zeros((3, 4, 1))
    found = folds.scheme(both, "fixed")
    assert found.train.shape == (1, 20)
    assert found.train.all()
    assert "test_response" in found


@pytest.mark.parametrize(
    ("name", "coords", "message"),
    [
        ("leave-one-run-out", {}, r'coordinate "run" \(stimulus\), or use "kfold"'),
        ("leave-one-run-out", {"run": np.zeros(20, int)}, r"all 20 stimuli are of one run, \[0\]"),
        ("kfold", {"group": np.arange(20) // 7}, "3 groups and cannot be split; give at least 5"),
        ("halves", {"group": np.zeros(20)}, "one group"),
        ("fixed", {}, "test_response"),
        ("kfolds", {}, "kfold"),
    ],
)
def test_scheme_that_does_not_fit_is_an_error_that_says_what_would(name, coords, message):
    with pytest.raises(ValueError, match=message):
        folds.scheme(responses(**coords), name)


def test_fewer_stimuli_than_folds_is_an_error():
    with pytest.raises(ValueError, match="at least 5"):
        folds.scheme(responses(4), "kfold")
    with pytest.raises(ValueError, match="at least two"):
        folds.scheme(responses(), "kfold", n_folds=1)
