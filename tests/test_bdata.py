import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from lib import bdata
from lib.artefacts import ROOT
from lib.bdata import BData

KEYS = ("VoxelData", "image_index", "stimulus_name", "ROI_V1", "ROI_V2", "ROI-odd one", "voxel_x")
SAMPLE = (
    "raw.githubusercontent.com/KamitaniLab/bdpy/d86199fc0683fe257dc0a3d474a1abdc81b0249f/"
    "examples/data/sample_vmap.h5"
)
NAMES = {101.0: "n02_2", 102.0: "n03_1", 103.5: "n01_9"}


def write(path, samples, members, *, names=None, old=False, fixed=False, layout=None):
    """A BData file as its own writer lays it out; `members`: key → value per column."""
    text = (lambda words: np.array(words, dtype="S")) if fixed else list
    with h5py.File(path, "w") as file:
        file.create_dataset("dataSet" if old else "dataset", data=samples, **(layout or {}))
        metadata = file.create_group("metaData" if old else "metadata")
        metadata["key"] = text([*members])
        metadata["description"] = text([f"1 = {key}" for key in members])
        metadata["value"] = np.array([*members.values()], dtype=float)
        for key, mapping in (names or {}).items():
            group = file.require_group(f"vmap/{key}")
            for number, label in mapping.items():
                group[str(float(number))] = label.encode()
    return path


def members(n_voxels=6):
    """Metadata of some voxels and two label columns; V1 and V2 overlap at voxel 2."""

    def row(columns, value=1.0):
        values = np.full(n_voxels + 2, np.nan)
        values[list(columns)] = value
        return values

    return {
        "VoxelData": row(range(n_voxels)),
        "image_index": row([n_voxels]),
        "stimulus_name": row([n_voxels + 1]),
        "ROI_V1": row([0, 1, 2]),
        "ROI_V2": row([2, 3]),
        "ROI-odd one": row([5]),
        "voxel_x": row(range(n_voxels), np.arange(n_voxels) - 2.5),
    }


@pytest.fixture
def samples():
    values = np.random.default_rng(0).normal(size=(9, 8))
    values[:, 6] = [1, 2, 3] * 3
    values[:, 7] = [101.0, 102.0, 103.5] * 3
    return values


@pytest.fixture
def path(tmp_path, samples):
    return write(tmp_path / "a.h5", samples, members(), names={"stimulus_name": NAMES})


def columns(data, expression):
    return np.flatnonzero(data.mask(expression)).tolist()


# Independent implementation: files of the format's own writer


@pytest.fixture
def golden():
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE is not set: the file of the original writer cannot be read")
    expected = json.loads((Path(folder) / "hierarchy_bdata_fixture_expected.json").read_text())
    return BData(Path(folder) / "hierarchy_bdata_fixture.h5"), expected


@pytest.mark.reference
def test_selections_are_those_of_the_original(golden):
    data, expected = golden
    assert data.shape == (expected["rows"], expected["columns"])
    assert list(data.keys) == expected["metadata_keys"]
    assert {e: columns(data, e) for e in expected["select"]} == expected["select"]
    with h5py.File(data.path) as file:
        everything = file["dataset"][()]
    for expression, chosen in expected["select"].items():
        np.testing.assert_array_equal(data.select(expression), everything[:, chosen])


@pytest.mark.reference
def test_labels_numbers_and_averages_are_those_of_the_original(golden):
    data, expected = golden
    assert data.labels("stimulus_name").ravel().tolist() == expected["labels"]
    index = data.select("image_index").ravel()
    assert index.tolist() == expected["image_index"]
    assert {str(k): v for k, v in data._vmap["stimulus_name"].items()} == expected["vmap"]
    x = data.metadata("voxel_x")
    assert x[~np.isnan(x)].tolist() == expected["voxel_x"]
    v1 = data.select("ROI_V1 = 1")
    for image, mean in expected["test_average_ROI_V1"].items():
        np.testing.assert_allclose(v1[index == float(image)].mean(axis=0), mean, rtol=1e-12)


@pytest.mark.mirror
def test_the_sample_of_bdpy_is_read():
    if not os.environ.get("DATA_MIRROR"):
        pytest.skip("DATA_MIRROR is not set: bdpy's sample cannot be read")
    data = BData(Path(os.environ["DATA_MIRROR"]) / SAMPLE)
    assert data.shape == (8, 11)
    assert data.keys == ("Data", "Label")
    assert data.select("Label").ravel().tolist() == [1, 3, 4, 2, 3, 1, 2, 4]
    # printed to six decimals
    assert data.select("Data")[0, :3] == pytest.approx([0.154746, 0.18997, 0.258742], abs=0.51e-6)
    expected = [f"label-0{n}" for n in (1, 3, 4, 2, 3, 1, 2, 4)]
    assert data.labels("Label").tolist() == [[label] for label in expected]


# Selectors


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("ROI_V1 = 1", [0, 1, 2]),
        ("VoxelData - (ROI_V1 - ROI_V2)", [2, 3, 4, 5]),
        ("ROI_V*", [0, 1, 2, 3]),
        ("*_V2", [2, 3]),
        ("R*1", [0, 1, 2]),
        ("*", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("'ROI-*'", [5]),
        ("voxel_x", []),  # numbers of voxels, none of which is 1
    ],
)
def test_keys_are_those_of_the_file(path, expression, expected):
    assert columns(BData(path), expression) == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("ROI_V9", r"did you mean .*ROI_V1"),
        ("V1", r"key of a\.h5 'V1'"),  # anchored at both ends
        ("roi*", r"'roi\*'"),
        ("ROI-odd one", r"key of a\.h5 'ROI'"),
    ],
)
def test_an_unknown_key_is_met_with_the_nearest(path, expression, message):
    with pytest.raises(ValueError, match=message):
        BData(path).mask(expression)


# Formats


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("fixed", [False, True])
def test_old_names_and_fixed_keys_are_read_alike(tmp_path, samples, path, old, fixed):
    names = {"stimulus_name": NAMES}
    other = BData(write(tmp_path / "b.h5", samples, members(), names=names, old=old, fixed=fixed))
    data = BData(path)
    assert other.keys == data.keys == KEYS
    np.testing.assert_array_equal(other.select("ROI_V* | 'ROI-odd one'"), samples[:, [0, 1, 2, 3, 5]])
    assert other.labels("stimulus_name").tolist() == [["n02_2"], ["n03_1"], ["n01_9"]] * 3


LAYOUTS = {
    "contiguous": {},
    "rows": {"chunks": (1, 8)},
    "columns": {"chunks": (9, 1)},
    "tiles": {"chunks": (4, 3), "compression": "gzip"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("block", [8, 100, 1 << 20])
def test_blocks_cover_each_cell_once_in_any_layout(tmp_path, samples, monkeypatch, layout, block):
    monkeypatch.setattr(bdata, "BLOCK", block)
    data = BData(write(tmp_path / "b.h5", samples, members(), layout=LAYOUTS[layout]))
    for expression in ("ROI_V1", "VoxelData - ROI_V1", "*", "ROI_V1 & 'ROI-odd one'"):
        seen = np.zeros((9, int(data.mask(expression).sum())), int)
        for rows, chosen, _ in data.blocks(expression):
            seen[rows, chosen] += 1
        assert (seen == 1).all()
        np.testing.assert_array_equal(data.select(expression), samples[:, data.mask(expression)])


def test_other_numbers_are_read_as_double(tmp_path, samples):
    data = BData(write(tmp_path / "b.h5", samples.astype("f4"), members()))
    assert data.select("VoxelData").dtype == np.float64


def test_metadata_are_numbers_per_column(path):
    data = BData(path)
    np.testing.assert_array_equal(data.metadata("voxel_x"), members()["voxel_x"])
    data.metadata("voxel_x")[:] = 0
    np.testing.assert_array_equal(data.metadata("voxel_x"), members()["voxel_x"])
    with pytest.raises(ValueError, match=r"did you mean .*voxel_x"):
        data.metadata("voxel_xx")


# Labels


def test_a_row_without_a_number_has_no_name(tmp_path, samples):
    samples[4, 7] = np.nan
    data = BData(write(tmp_path / "b.h5", samples, members(), names={"stimulus_name": NAMES}))
    assert data.labels("stimulus_name")[[3, 4, 5], 0].tolist() == ["n02_2", "n/a", "n01_9"]


def test_a_key_of_several_columns_has_several_labels(tmp_path, samples):
    both = members() | {"Label": np.array([np.nan] * 6 + [1, 1])}
    names = {"Label": NAMES | {1.0: "a", 2.0: "b", 3.0: "c"}}
    data = BData(write(tmp_path / "b.h5", samples, both, names=names))
    assert data.labels("Label")[:2].tolist() == [["a", "n02_2"], ["b", "n03_1"]]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("image_index", r"no names .*'image_index'.*'stimulus_name'"),
        ("stimulus", "did you mean .*stimulus_name"),
    ],
)
def test_labels_without_names_are_refused(path, key, message):
    with pytest.raises(ValueError, match=message):
        BData(path).labels(key)


def test_an_empty_map_of_names_is_none(tmp_path, samples):
    path = write(tmp_path / "b.h5", samples, members())
    with h5py.File(path, "a") as file:
        file.create_group("vmap/stimulus_name")
    with pytest.raises(ValueError, match="no names"):
        BData(path).labels("stimulus_name")


def test_a_number_without_a_name_is_named(tmp_path, samples):
    names = {"stimulus_name": {101: "a", 102: "b"}}
    with pytest.raises(ValueError, match=r"without a name: \[103.5\]"):
        BData(write(tmp_path / "b.h5", samples, members(), names=names)).labels("stimulus_name")


# Faults


def test_nan_samples_are_named(tmp_path, samples):
    samples[4, 3] = samples[7, 2] = np.nan
    data = BData(write(tmp_path / "b.h5", samples, members()))
    np.testing.assert_array_equal(data.select("VoxelData - ROI_V2"), samples[:, [0, 1, 4, 5]])
    with pytest.raises(ValueError, match=r"b.h5: 'ROI_V2' .* NaN: row 4 column 3, row 7 column 2$"):
        data.select("ROI_V2")


def ragged(path, change):
    """The file with another table of metadata values."""
    with h5py.File(path, "a") as file:
        values = file["metadata/value"][()]
        del file["metadata/value"]
        file["metadata/value"] = change(values)
    return path


@pytest.mark.parametrize("change", [lambda v: v[:-1], lambda v: v[:, :-1], lambda v: v.T, lambda v: v[0]])
def test_ragged_metadata_are_refused(path, change):
    with pytest.raises(ValueError, match=r"a.h5: metadata are ragged: 7 keys"):
        BData(ragged(path, change))


@pytest.mark.parametrize("gone", ["dataset", "metadata"])
def test_another_kind_of_file_is_refused(path, gone):
    with h5py.File(path, "a") as file:
        del file[gone]
    with pytest.raises(ValueError, match=r"a.h5 is no BData file: .* missing in \["):
        BData(path)


def test_damage_is_named(path):
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(ValueError, match=r"a\.h5"):
        BData(path).select("VoxelData")


def test_names_of_no_number_are_refused(path):
    with h5py.File(path, "a") as file:
        file["vmap/stimulus_name/first"] = b"n04_1"
    with pytest.raises(ValueError, match=r"a\.h5: vmap of 'stimulus_name' is no table of numbers"):
        BData(path)


def test_samples_never_written_are_not_taken_for_zeros(path):
    with h5py.File(path, "a") as file:
        del file["dataset"]
        file.create_dataset("dataset", (10**7, 8), "f8")
    with pytest.raises(ValueError, match=r"a\.h5: samples \(10000000, 8\) were announced but never written"):
        BData(path)


# Size


def test_the_cost_is_known_before(path, caplog):
    data = BData(path)
    assert data.cost("ROI_V1 | ROI_V2") == (9 * 4 * 8, (9, 4))
    with caplog.at_level(logging.DEBUG):
        values = data.select("ROI_V1 | ROI_V2")
    assert values.nbytes == 9 * 4 * 8
    assert "(9, 4) will take 0.0 MB of memory" in caplog.text


PEAK = """
import resource, sys
from lib.bdata import BData

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

data = BData(sys.argv[1])
data.select("image_index")  # what reading itself brings into memory, once
before = peak()
values = data.select("ROI_V1")
print(peak() - before, values.nbytes)
"""


@pytest.mark.parametrize("layout", ["contiguous", "rows"])
def test_reading_takes_little_more_than_the_selection(tmp_path, layout):
    # 240 MB, of which half of the columns are wanted, scattered.
    shape, rng = (1500, 20_000), np.random.default_rng(0)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        chunks = (1, shape[1]) if layout == "rows" else None
        samples = file.create_dataset("dataset", shape, "f8", chunks=chunks)
        for start in range(0, shape[0], 100):
            samples[start : start + 100] = rng.normal(size=(100, shape[1]))
        chosen = np.where(np.arange(shape[1]) % 2, 1.0, np.nan)
        file["metadata/key"] = ["ROI_V1", "image_index"]
        file["metadata/value"] = [chosen, np.where(np.arange(shape[1]) == 4, 1.0, np.nan)]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "b.h5")],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    grown, selected = map(int, done.stdout.split())
    assert selected == 1500 * 10_000 * 8
    # A block, its chosen columns (half), the mask of NaN (a sixteenth); the next block is read beside them.
    assert grown < selected + 3 * bdata.BLOCK
