"""What does not fit is refused in words that say what would."""

from pathlib import Path

import pytest

from lib import budget

COST = {
    "units": {"conv": 3_200_000, "pool": 50_000, "fc": 1000},
    "shapes": {"conv": (1, 64, 224, 224), "pool": (1, 500, 10, 10), "fc": (1, 1000)},
    "n_stimuli": 1000,
    "n_fitted": 900,
    "bytes_each": 4,
    "bytes": 13_004_000_000,
    "peak_disk": 13_004_000_000,
    "extra_memory": 800_000_000,
}


def test_what_fits_passes(tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "free_disk", lambda _: 20e9)
    monkeypatch.setattr(budget, "free_memory", lambda: 1e9)
    budget.require(COST, tmp_path, batch_size=8)


def test_a_full_disk_is_told_with_each_alternative_and_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "free_disk", lambda _: 10e9)
    monkeypatch.setattr(budget, "free_memory", lambda: 1e9)
    with pytest.raises(ValueError, match=r"13 GB would be written, but only 10 GB are free") as refused:
        budget.require(COST, tmp_path, batch_size=8)
    # 64 + 500 + 1000 units; 5830 + 5830 + 1000; half of the bytes; the 50,000 and 1000 units of two layers.
    for said in ('pooling="mean": 6.26 MB', 'projection="srp": 50.6 MB', 'precision="float16": 6.5 GB'):
        assert said in str(refused.value)
    assert "the 2 smallest of 3 layers: 204 MB" in str(refused.value)
    budget.require(COST, tmp_path, batch_size=8, spare=5_000_000_000)


def test_too_little_memory_is_told_with_a_batch_that_fits(tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "free_disk", lambda _: 20e9)
    monkeypatch.setattr(budget, "free_memory", lambda: 5e8)
    with pytest.raises(
        ValueError, match=r"batches of 8 take 800 MB.*only 500 MB.*batch_size=4, which takes 400 MB"
    ):
        budget.require(COST, tmp_path, batch_size=8)
    monkeypatch.setattr(budget, "free_memory", lambda: 5e7)
    with pytest.raises(ValueError, match="not even one stimulus fits"):
        budget.require(COST, tmp_path, batch_size=8)


def test_alternatives_that_do_not_help_are_left_out():
    cost = COST | {
        "units": {"fc": 1000},
        "shapes": {"fc": (1, 1000)},
        "peak_disk": 4_000_000,
        "bytes_each": 2,
    }
    assert budget.smaller(cost) == []


def test_free_space_is_that_of_the_disk_and_of_the_container(tmp_path):
    assert budget.free_disk(tmp_path / "not" / "yet" / "a.nc") > 0
    assert 0 < budget.free_memory() < 1e15
    assert budget.free_disk(Path("/")) > 0


@pytest.mark.parametrize(
    ("n_bytes", "words"), [(999, "999 B"), (1500, "1.5 kB"), (26.4e9, "26.4 GB"), (3.2e15, "3200 TB")]
)
def test_sizes_are_in_words(n_bytes, words):
    assert budget.size(n_bytes) == words
