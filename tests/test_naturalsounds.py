"""The 165 natural sounds, their table and their published splits."""

import os

import numpy as np
import pandas as pd
import pytest
import soundset

from lib import artefacts, download, naturalsounds


@pytest.fixture
def sounds(tmp_path, monkeypatch):
    """SHA-256 of 165 tiny sounds, in place of the real ones."""
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    written = soundset.write()
    monkeypatch.setattr(naturalsounds, "digests", lambda: written)
    return written


def test_sounds_are_sorted_by_number_and_joined_to_their_files(sounds):
    table = naturalsounds.stimuli()
    assert table["stimulus"].tolist() == soundset.names()
    numbers = [int(name.split("_")[0][4:]) for name in table["stimulus"]]
    assert numbers == sorted(numbers)
    for row in table.itertuples():
        path = artefacts.home() / "data" / row.file
        assert path.name == f"{row.stimulus}.wav"
        assert (
            artefacts.digest(path) == row.sha256 == sounds[f"{naturalsounds.SOURCE}stimuli/wav/{path.name}"]
        )


def test_categories_follow_their_sounds(sounds):
    labels = pd.read_csv(
        download.raw(f"{naturalsounds.SOURCE}stimuli/category_labels.csv"), names=["stimulus", "category"]
    )
    expected = labels.set_index("stimulus")["category"].to_dict()
    table = naturalsounds.stimuli()
    assert len(sounds) == len(table)
    assert dict(zip(table["stimulus"], table["category"], strict=True)) == expected


def test_splits_follow_their_sounds():
    table = pd.DataFrame({"stimulus": soundset.names()})
    halves = naturalsounds.splits(table)
    assert halves.shape == (10, 165)
    assert halves.sum(axis=1).tolist() == [83] * 10
    order = np.random.default_rng(0).permutation(165)
    np.testing.assert_array_equal(naturalsounds.splits(table.iloc[order]), halves[:, order])


def test_positions_find_each_sound():
    assert naturalsounds.positions(["a", "b", "c"], ["c", "a", "b"], "x") == [1, 2, 0]


@pytest.mark.parametrize(
    ("there", "named"),
    [
        (["c", "a"], "b"),
        (["c", "a", "b", "d"], "d"),
        (["a", "b", "b", "c"], "b"),
        (["a", "b", "d"], "c', 'd"),
    ],
)
def test_other_sounds_are_named(there, named):
    with pytest.raises(ValueError, match=f"of the tape differ: .*'{named}'"):
        naturalsounds.positions(["a", "b", "c"], there, "the tape")


@pytest.mark.mirror
def test_real_sounds_are_what_the_table_says(tmp_path, monkeypatch):
    if not os.environ.get("DATA_MIRROR"):
        pytest.skip("DATA_MIRROR is not set: the real sounds cannot be read")
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    labels = f"{naturalsounds.SOURCE}stimuli/category_labels.csv"
    download.raw(labels).parent.mkdir(parents=True)
    download.raw(labels).write_bytes(download.mirror(labels).read_bytes())
    for row in naturalsounds.stimuli().itertuples():
        path = download.mirror(f"{naturalsounds.SOURCE}stimuli/wav/{row.stimulus}.wav")
        assert artefacts.digest(path) == row.sha256
