"""A folder of one's own becomes a target, or an error that says what to change."""

import re
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
import xarray as xr
from PIL import Image

from lib import artefacts, datasets, own, plugins

PLUGIN = '''"""Mine."""

from lib import own

LABEL = "Mine"
MODALITY = "{modality}"
KIND = "voxel"
PLANTED = False
HOMEPAGE = ""
LICENCE = "unpublished"
CITATION = "me"
load = own.load
'''
NAMES = [f"p{i}" for i in range(6)]
VOXELS = pd.DataFrame(
    {"voxel": ["a", "b", "c", "d"], "subject": list("xxyy"), "roi": ["V1", "V1", "IT", None]}
)
Y = np.random.default_rng(0).normal(size=(3, 6, 4))


@pytest.fixture(autouse=True)
def target(tmp_path, monkeypatch):
    """A plug-in in a registry that lists no other, and an empty home."""
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    monkeypatch.setitem(plugins.FOLDERS, "target", tmp_path / "plugins")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(PLUGIN.format(modality="vision"))


@pytest.fixture
def place(tmp_path):
    """The folder, complete, with `responses.npy`."""
    folder = tmp_path / "data" / "own" / "mine"
    (folder / "stimuli").mkdir(parents=True)
    for i, name in enumerate(NAMES):
        Image.new("RGB", (8, 8), (i, i, i)).save(folder / "stimuli" / f"{name}.png")
    table = pd.DataFrame({"stimulus": NAMES, "file": [f"{n}.png" for n in NAMES], "group": list("aabbcc")})
    artefacts.save_table(table, folder / "stimuli.csv")
    artefacts.save_table(VOXELS.assign(x=[1, 2, 3.5, np.nan]), folder / "voxels.csv")
    np.save(folder / "responses.npy", Y)
    return folder


def load():
    return own.load(artefacts.directory("download", target="mine"))


def labelled(place, **changes):
    """The same responses as `responses.h5`, axes and stimuli in another order."""
    (place / "responses.npy").unlink()
    values = xr.DataArray(
        Y, dims=own.AXES, coords={"stimulus": NAMES, "voxel": list("abcd")}, name="response"
    )
    values = values[:, ::-1].transpose("voxel", "repeat", "stimulus").assign_attrs(changes)
    values.to_netcdf(place / "responses.h5", engine="h5netcdf")
    return values


def edit(path, **columns):
    artefacts.save_table(pd.read_csv(path).assign(**columns), path)


@pytest.mark.usefixtures("place")
def test_a_folder_is_a_target(monkeypatch):
    constants = plugins.about("target", "mine")
    monkeypatch.setitem(sys.modules, "lib.datasets.mine", SimpleNamespace(**constants, load=own.load))
    responses, stimuli = datasets.load("mine")
    np.testing.assert_array_equal(responses["response"], Y)
    assert stimuli["file"].tolist() == [f"own/mine/stimuli/{n}.png" for n in NAMES]
    assert responses["roi"].values.tolist() == ["V1", "V1", "IT", ""]
    assert responses["x"].attrs["units"] == "mm"
    sides = responses["train"].to_pandas().T.groupby(list("aabbcc")).nunique()
    assert (sides == 1).all(axis=None)


def test_labelled_responses_are_joined_by_identifier(place):
    labelled(place)
    np.testing.assert_array_equal(load()[0]["response"], Y)


def test_axes_may_be_named_in_an_attribute(place):
    (place / "responses.npy").unlink()
    with h5py.File(place / "responses.h5", "w") as file:
        file["response"] = Y.transpose(1, 2, 0)
        file["response"].attrs["dims"] = "stimulus voxel repeat"
        file["stimulus"], file["voxel"] = NAMES, list("abcd")
    np.testing.assert_array_equal(load()[0]["response"], Y)


def test_without_a_table_stimuli_are_called_like_their_files(place):
    labelled(place)
    (place / "stimuli.csv").unlink()
    responses, stimuli = load()
    assert stimuli["stimulus"].tolist() == NAMES
    np.testing.assert_array_equal(responses["response"], Y)


def test_own_splits_are_used(place):
    masks = pd.DataFrame(
        {"stimulus": NAMES[::-1], "split0": [1, 1, 1, 0, 0, 0], "split1": [0, 0, 0, 1, 1, 1]}
    )
    artefacts.save_table(masks, place / "splits.csv")
    assert load()[0]["train"].values.tolist() == [[False] * 3 + [True] * 3, [True] * 3 + [False] * 3]
    artefacts.save_table(masks.assign(split0=[2, 1, 1, 0, 0, 0]), place / "splits.csv")
    with pytest.raises(
        ValueError, match=r"each stimulus once, and 0 or 1 in each other column; offenders: p5$"
    ):
        load()


def missing_file(place):
    (place / "stimuli" / "p3.png").unlink()


def file_elsewhere(place):
    edit(place / "stimuli.csv", file=[str(place / "voxels.csv"), *(f"p{i}.png" for i in range(1, 6))])


def missing_stimulus(place):
    labelled(place)
    (place / "stimuli.csv").unlink()
    (place / "stimuli" / "p3.png").unlink()


def duplicate_stimulus(place):
    edit(place / "stimuli.csv", stimulus=["p0", "p1", "p1", "p3", "p4", "p5"])


def duplicate_voxel(place):
    edit(place / "voxels.csv", voxel=["a", "b", "b", "d"])


def one_name_two_files(place):
    (place / "stimuli.csv").unlink()
    Image.new("RGB", (8, 8)).save(place / "stimuli" / "p1.jpg")


def axes_swapped(place):
    np.save(place / "responses.npy", Y.transpose(1, 2, 0))


def axes_ambiguous(place):
    np.save(place / "responses.npy", np.concatenate([Y, Y[:1]]))


def no_repeats(place):
    np.save(place / "responses.npy", Y[0])


def axes_misnamed(place):
    labelled(place).rename(repeat="run").to_netcdf(place / "responses.h5", engine="h5netcdf")


def nan_voxel(place):
    holed = Y.copy()
    holed[:, 2, 1] = np.nan
    np.save(place / "responses.npy", holed)


def unequal_repeats(place):
    holed = Y.copy()
    holed[2, 4] = np.nan
    np.save(place / "responses.npy", holed)


def objects(place):
    np.save(place / "responses.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def truncated(place):
    labelled(place)
    file = place / "responses.h5"
    file.write_bytes(file.read_bytes()[:3000])


WRONG = {
    missing_file: r"without a file in .*: p3$",
    file_elsewhere: r"without a file in .*: p0$",
    missing_stimulus: r"only in the responses: p3; only in stimuli: none",
    duplicate_stimulus: r"stimuli of .*more than once or are empty: p1$",
    duplicate_voxel: r"voxels.csv: identifiers occur more than once or are empty: b$",
    one_name_two_files: r"stimuli of .*more than once or are empty: p1$",
    axes_swapped: r"\(6, 4, 3\), by its lengths stimulus × voxel × repeat; it must be repeat × 6 stimuli × 4 voxels",
    axes_ambiguous: r"two axes are of one length, so an exchange would go unseen; name the axes in responses.h5",
    no_repeats: r"\(6, 4\), by its lengths stimulus × voxel; it must be repeat",
    axes_misnamed: r"named \['voxel', 'run', 'stimulus'\]; they must be \('repeat', 'stimulus', 'voxel'\)",
    nan_voxel: r"voxels with responses that are NaN: b \(3\); leave them out, or say why",
    unequal_repeats: r"fewer repeats than others: p4 \(2 of 3\); leave them out, or say why",
    objects: r"responses.npy",
    truncated: r"responses.h5",
}


@pytest.mark.parametrize("break_it", WRONG, ids=lambda f: f.__name__)
def test_a_wrong_folder_is_told_what_is_wrong(place, break_it):
    break_it(place)
    with pytest.raises(ValueError, match=WRONG[break_it]):
        load()


@pytest.mark.parametrize("file", ["stimuli.csv", "voxels.csv", "responses.npy", "stimuli"])
def test_a_missing_file_is_named(place, file):
    (place / file).rename(place / "elsewhere")
    with pytest.raises(FileNotFoundError, match=re.escape(file)):
        load()


def test_missing_responses_may_be_explained(place):
    values = labelled(place, missing="run discarded").copy()
    values[:, 2, 1] = np.nan
    values.to_netcdf(place / "responses.h5", engine="h5netcdf")
    responses, _ = load()
    assert responses["response"].attrs["missing"] == "run discarded"
    assert responses["response"].sel(stimulus="p4", repeat=2).isnull().all()


def test_sounds_of_different_rates_are_refused(place, tmp_path):
    (tmp_path / "plugins" / "mine.py").write_text(PLUGIN.format(modality="audio"))
    with pytest.raises(
        ValueError, match=r"none of \('.wav', '.flac', '.ogg'\): p0.png, p1.png, p2.png and 3 more"
    ):
        load()
    for i, name in enumerate(NAMES):
        (place / "stimuli" / f"{name}.png").unlink()
        soundfile.write(place / "stimuli" / f"{name}.wav", np.zeros(100), 22050 if i == 4 else 44100)
    edit(place / "stimuli.csv", file=[f"{n}.wav" for n in NAMES])
    with pytest.raises(ValueError, match=r"most have 44100 Hz, but p4.wav \(22050 Hz\)"):
        load()
    soundfile.write(place / "stimuli" / "p4.wav", np.zeros(100), 44100)
    assert load()[1]["stimulus"].tolist() == NAMES


@pytest.mark.parametrize("kind", [complex, str, object])
def test_responses_that_are_no_real_numbers_are_refused(place, kind):
    np.save(place / "responses.npy", Y.astype(kind))
    with pytest.raises(
        ValueError, match=r"responses\.npy holds responses of type .*; they must be real numbers"
    ):
        load()


def test_columns_of_voxels_do_not_take_the_names_of_axes(place):
    artefacts.save_table(VOXELS.assign(stimulus="a"), place / "voxels.csv")
    with pytest.raises(ValueError, match=r"voxels\.csv has columns of reserved names; rename stimulus"):
        load()


def test_whole_numbers_identify_voxels_too(place):
    artefacts.save_table(VOXELS.assign(voxel=[3, 1, 2, 0]), place / "voxels.csv")
    (place / "responses.npy").unlink()
    values = xr.DataArray(Y, dims=own.AXES, coords={"stimulus": NAMES, "voxel": range(4)}, name="response")
    values.to_netcdf(place / "responses.h5", engine="h5netcdf")
    responses, _ = load()
    assert responses["voxel"].values.tolist() == ["3", "1", "2", "0"]
    np.testing.assert_array_equal(responses["response"].values, Y[..., [3, 1, 2, 0]])


def test_tables_that_a_spreadsheet_spoiled_are_named(place):
    artefacts.save_table(VOXELS.assign(x=[1, "2,5", 3, None]), place / "voxels.csv")
    with pytest.raises(ValueError, match=r"voxels\.csv has something else than numbers in column x: b"):
        load()
    (place / "voxels.csv").write_bytes("voxel,subject,roi\na,Jö,V1\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"voxels\.csv is not in UTF-8 .*CSV UTF-8"):
        load()
