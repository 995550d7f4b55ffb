"""Files appear complete or not at all, and results are found by their records."""

import os
import subprocess
import sys
import time

import h5py
import numpy as np
import pandas as pd
import psutil
import pytest
import xarray as xr

from lib import artefacts, plugins


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    return tmp_path


def test_home_moves_data_and_figures(home, monkeypatch):
    assert artefacts.directory("encode", "a", "t") == home / "data" / "encode" / "a" / "t"
    assert artefacts.directory("download", target="t") == home / "data" / "download" / "t"
    assert (
        artefacts.directory("metamers", "a", "t", "relu.1")
        == home / "data" / "metamers" / "a" / "t" / "relu.1"
    )
    assert artefacts.directory("figures") == home / "figures"
    monkeypatch.delenv("COMPENDIUM_HOME")
    assert artefacts.home() == artefacts.ROOT


def fail_half_way(file):
    """Write half of a file, then raise KeyError."""
    with artefacts.atomic(file) as part:
        part.write_text("half", encoding="utf-8")
        assert part.suffix == file.suffix
        raise KeyError


def test_atomic_leaves_nothing_behind_on_failure(home):
    with pytest.raises(KeyError):
        fail_half_way(home / "deep" / "a.txt")
    assert list((home / "deep").iterdir()) == []


def test_atomic_keeps_the_old_file_until_the_new_one_is_whole(home):
    file = home / "a.txt"
    file.write_text("old", encoding="utf-8")
    with pytest.raises(KeyError):
        fail_half_way(file)
    assert file.read_text(encoding="utf-8") == "old"
    with artefacts.atomic(file) as part:
        part.write_text("new", encoding="utf-8")
        assert file.read_text(encoding="utf-8") == "old"
    assert [path.name for path in home.iterdir()] == ["a.txt"]
    assert file.read_text(encoding="utf-8") == "new"


def dataset():
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    return xr.Dataset(
        {"first": (("stimulus", "unit_first"), values, {"units": "1"})},
        coords={"stimulus": ["a", "b", "ç"]},
        attrs={"model": "m"},
    )


def test_saved_data_set_is_read_by_xarray_and_h5py(home):
    artefacts.save(dataset(), home / "a.nc")
    xr.testing.assert_identical(artefacts.load(home / "a.nc"), dataset())
    with h5py.File(home / "a.nc") as file:
        np.testing.assert_array_equal(file["first"][:], dataset()["first"].values)
        assert file["first"].dtype == np.float32
        assert [name.decode() for name in file["stimulus"][:]] == ["a", "b", "ç"]


def test_saved_data_set_is_the_same_bytes_each_time(home):
    for name in ("a.nc", "b.nc"):
        artefacts.save(dataset(), home / name)
    assert artefacts.digest(home / "a.nc") == artefacts.digest(home / "b.nc")


def test_tables_and_records_survive_a_round_trip(home):
    table = pd.DataFrame({"stimulus": ["001", "002"], "score": [0.1, np.nan]})
    artefacts.save_table(table, home / "a.csv")
    pd.testing.assert_frame_equal(
        artefacts.load_table(home / "a.csv", stimulus=str), table.astype({"stimulus": str})
    )
    artefacts.save_json({"b": [1, 2.5], "a": "é"}, home / "a.json")
    assert artefacts.load_json(home / "a.json") == {"a": "é", "b": [1, 2.5]}


def test_arithmetic_on_other_stimuli_is_an_error():
    a = xr.DataArray([1, 2], coords={"stimulus": ["a", "b"]})
    with pytest.raises(ValueError, match="stimulus"):
        a + a.assign_coords(stimulus=["a", "c"])


def test_sweep_removes_what_the_dead_left_and_nothing_else(home):
    dead, zombie = (subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) for _ in range(2))
    dead.communicate()
    zombie.stdout.read()  # ended, but not waited for, as under an init that reaps nothing
    while psutil.Process(zombie.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    (home / "sub").mkdir()
    dead_parts = [home / f".{dead.pid}.part.a.nc", home / "sub" / f".{zombie.pid}.part.b.csv"]
    stale = [*dead_parts, home / f".{os.getpid()}.part.c.nc"]
    kept = [home / f".{os.getpid()}.part.a.nc", home / ".mine.part.txt", home / "a.part.nc", home / ".lock"]
    for path in stale + kept:
        path.write_bytes(b"")
    os.utime(stale[-1], (0, 0))  # older than the process that has its number now
    artefacts.sweep(home)
    zombie.communicate()
    assert not any(path.exists() for path in stale)
    assert all(path.exists() for path in kept)


@pytest.mark.usefixtures("home")
def test_finished_lists_results_of_plugins_that_exist_and_fit(monkeypatch):
    known = {
        "model": {
            "a": {"MODALITY": "audio"},
            "a.permuted": {"MODALITY": "audio"},
            "v": {"MODALITY": "vision"},
        },
        "target": {"t": {"MODALITY": "audio"}},
    }
    monkeypatch.setattr(plugins, "catalogue", known.get)
    record = {"code": {}, "inputs": {}, "outputs": {}}
    for model in ("a.permuted", "a", "v", "removed", "a.random"):
        parameters = {"model": model, "target": "t", "seed": 1}
        artefacts.save_json(
            record | {"parameters": parameters}, artefacts.directory("encode", model, "t") / "run.json"
        )
    artefacts.directory("encode", "a", "unfinished").mkdir()
    (artefacts.directory("encode", "a", "unfinished") / "run.json").write_text("{", encoding="utf-8")
    found = artefacts.finished("encode")
    assert [result["model"] for result in found] == ["a", "a.permuted"]
    assert found[0] == {
        "model": "a",
        "target": "t",
        "seed": 1,
        "folder": artefacts.directory("encode", "a", "t"),
    }
    assert artefacts.finished("rsa") == []


def test_names_that_look_like_nothing_are_kept_in_columns_of_text(tmp_path):
    table = pd.DataFrame(
        {"stimulus": ["NA", "nan", "007", "None"], "value": [1.0, np.nan, 3.0, np.nan], "note": "a"}
    )
    artefacts.save_table(table.assign(note=["NA", "", "b", "c"]), tmp_path / "t.csv")
    found = artefacts.load_table(tmp_path / "t.csv", stimulus=str)
    assert found["stimulus"].tolist() == table["stimulus"].tolist()
    assert found["value"].isna().tolist() == [False, True, False, True]
    assert found["note"].isna().tolist() == [True, True, False, False]
    assert artefacts.load_table(tmp_path / "t.csv", note=str)["note"].isna().tolist() == [
        False,
        True,
        False,
        False,
    ]
    assert artefacts.load_table(tmp_path / "t.csv")["stimulus"].tolist() == table["stimulus"].tolist()
    guessed = artefacts.load_table(tmp_path / "t.csv", stimulus=None)["stimulus"]
    assert guessed.isna().tolist() == [True, True, False, True]


def test_names_of_layers_become_names_of_files():
    for name in ("conv1", "features.3#2", "layer 1 é", "a-b_c@0"):
        assert artefacts.file_name(name) == name
    names = ["block1:unit_1", "block1/unit_1", "block1%3Aunit_1", "a\\b", 'a"b', "a*b?", "a\x00"]
    files = [artefacts.file_name(name) for name in names]
    assert files[0] == "block1%3Aunit_1"
    assert len(set(files)) == len(names)
    assert not any(c in file for file in files for c in ':/\\"*?\x00')


def test_what_is_half_nan_takes_half_the_room(tmp_path):
    values = np.random.default_rng(0).normal(size=(4, 60, 200)).astype("f4")
    full, half = (xr.Dataset({"x": (("split", "stimulus", "voxel"), v.copy())}) for v in (values, values))
    half["x"][:, ::2] = np.nan
    for name, dataset in (("full", full), ("half", half)):
        artefacts.save(dataset, tmp_path / f"{name}.nc")
        xr.testing.assert_identical(artefacts.load(tmp_path / f"{name}.nc"), dataset)
    sizes = [(tmp_path / f"{name}.nc").stat().st_size for name in ("full", "half")]
    assert sizes[0] > values.nbytes
    assert sizes[1] < 0.55 * values.nbytes


def test_tables_are_stacked_whatever_they_lack():
    full = pd.DataFrame({"name": ["a", "b"], "low": [1.0, 2.0], "n": [3, 4]})
    bare = pd.DataFrame({"name": ["c"], "low": [np.nan], "unit": ["voxel"]})
    empty = pd.DataFrame({"other": np.array([], object), "n": np.array([], object)})
    found = artefacts.stacked([empty, full, bare])
    assert found.columns.tolist() == ["other", "n", "name", "low", "unit"]
    assert found["name"].tolist() == ["a", "b", "c"]
    assert found["low"].dtype == float
    assert found["n"].tolist()[:2] == [3, 4]
    assert found["other"].isna().all()
    assert found["unit"].tolist()[2] == "voxel"
    assert artefacts.stacked([]).empty
    assert artefacts.stacked([empty]).columns.tolist() == ["other", "n"]
