"""Results made again are compared value by value."""

import contextlib
import os

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from lib import artefacts, verification


@pytest.fixture
def pair(tmp_path):
    """Two folders that hold the same data set, table, note and picture."""
    folders = [tmp_path / "stored", tmp_path / "again"]
    for folder in folders:
        values = xr.Dataset({"r2": ("voxel", [0.5, np.nan, -2.0]), "roi": ("voxel", ["V1", "V1", "V2"])})
        artefacts.save(values, folder / "scores.nc")
        table = pd.DataFrame({"part": ["a", None], "value": [0.25, np.inf], "n": [3, 4]})
        artefacts.save_table(table, folder / "summary.csv")
        artefacts.save_json({"seed": 1}, folder / "note.json")
        (folder / "bars.png").write_bytes(os.urandom(8))
    return folders


NAMES = ("scores.nc", "summary.csv", "note.json", "bars.png")


def changed(pair, name, **new):
    """The second folder's data set or table with other contents."""
    file = pair[1] / name
    if name.endswith(".nc"):
        artefacts.save(artefacts.load(file).load().assign(**new), file)
    else:
        artefacts.save_table(artefacts.load_table(file).assign(**new), file)
    return verification.differences(*pair, NAMES)


def test_the_same_is_the_same_whatever_a_picture_looks_like(pair):
    assert verification.differences(*pair, NAMES).empty


@pytest.mark.parametrize(("share", "n_rows"), [(0.5e-5, 0), (2e-5, 1)])
def test_numbers_may_differ_by_a_share_of_the_largest(pair, share, n_rows):
    found = changed(pair, "scores.nc", r2=("voxel", [0.5 + 2 * share, np.nan, -2.0]))
    assert len(found) == n_rows
    if n_rows:
        assert found.loc[0, ["file", "quantity", "what"]].tolist() == ["scores.nc", "r2", "other numbers"]
        assert found.loc[0, "difference"] == pytest.approx(share)


CHANGES = {
    "undefined": ("scores.nc", {"r2": ("voxel", [0.5, 0.0, -2.0])}, "finite here, not there"),
    "minus infinite": ("summary.csv", {"value": [0.25, -np.inf]}, "finite here, not there"),
    "text": ("scores.nc", {"roi": ("voxel", ["V1", "V2", "V2"])}, "other text"),
    "missing text": ("summary.csv", {"part": ["a", "b"]}, "other text"),
    "a column more": ("summary.csv", {"low": [0, 1]}, "is new"),
    "number to text": ("summary.csv", {"n": ["3", "four"]}, "other text"),
}


@pytest.mark.parametrize(("name", "new", "what"), CHANGES.values(), ids=CHANGES)
def test_other_differences_are_named(pair, name, new, what):
    found = changed(pair, name, **new)
    assert found[["file", "quantity", "what"]].to_numpy().tolist() == [[name, next(iter(new)), what]]


def test_shapes_files_and_bytes_are_compared(pair):
    artefacts.save_table(artefacts.load_table(pair[1] / "summary.csv").iloc[:1], pair[1] / "summary.csv")
    artefacts.save_json({"seed": 2}, pair[1] / "note.json")
    (pair[1] / "scores.nc").unlink()
    found = verification.differences(*pair, NAMES).set_index("file")["what"]
    assert found["scores.nc"] == "was not made again"
    assert found["note.json"] == "other bytes"
    assert set(found["summary.csv"]) == {"shape (2,) → (1,)"}


def test_inputs_lie_in_the_other_home_as_links_and_the_first_is_back_afterwards(tmp_path, monkeypatch):
    first = tmp_path / "first"
    monkeypatch.setenv("COMPENDIUM_HOME", str(first))
    for name in ("data/raw/host/file", "data/extract/m/t/features.nc", "data/encode/m/t/scores.nc"):
        (first / name).parent.mkdir(parents=True)
        (first / name).write_text(name)
    with (
        contextlib.suppress(RuntimeError),
        verification.elsewhere(tmp_path / "scratch", ["data/extract/m/t"]),
    ):
        assert artefacts.home() == tmp_path / "scratch"
        assert (artefacts.directory("extract", "m", "t") / "features.nc").read_text().endswith("features.nc")
        assert (artefacts.home() / "data/raw/host/file").exists()
        assert not artefacts.directory("encode", "m", "t").exists()
        raise RuntimeError
    assert artefacts.home() == first
