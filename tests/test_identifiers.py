"""Names of stimuli, voxels and people come back as they were written, whatever they look like."""

import hashlib

import numpy as np
import pandas as pd
import pytest
import toy
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lib import artefacts, contract, features, own, plotting, plugins, rsa, verification
from lib.metamers import material
from lib.recognition import responses

# What looks like a number, a truth, a date or nothing; what tables, paths or people may take for the same.
LOOKS = [
    *("1", "01", "1.0", "1e5", "007", "0x10", "1_000", "+1", "-0", "inf", "Infinity", "nan", "NaN", "1,5", "½", "٣"),
    *("NA", "N/A", "None", "null", "NULL", "<NA>", "#N/A", "-", "True", "true", "FALSE", "yes", "2020-01-02", "1-2"),
    *("a", "A", "ä", "a\u0308", " a", "a ", "a  b", "a;b", 'a"b', "'a'", "#a", "=1+1", "@", "a\nb", "a\rb", "a\r\nb"),
    *("\t", " ", "\u00a0", "\u200b", "\ufeff", "a.b", "a/b", "..", "stimulus", "Unnamed: 0", "日本", "🙂", "x" * 300),
]  # fmt: skip
WHOLE = st.characters(exclude_categories=("Cs",), exclude_characters="\0")
NAME = st.one_of(st.sampled_from(LOOKS), st.text(WHOLE, min_size=1, max_size=8))
NAMES = st.lists(NAME, min_size=1, max_size=6, unique=True)
NUMBER = st.floats(allow_nan=True, allow_infinity=True)
# Of files; the rest of LOOKS cannot be one.
FILES = [name for name in LOOKS if not {*"/\n\r\t"} & {*name} and name.strip(" .\u00a0") and len(name) < 200]


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory):
    return tmp_path_factory.mktemp("names")


@given(NAMES, st.data())
def test_tables_keep_names_and_numbers(folder, names, data):
    values = [data.draw(NUMBER) for _ in names]
    other = [data.draw(NAME) for _ in names]
    table = pd.DataFrame({"stimulus": names, "value": values, "other": other})
    artefacts.save_table(table, folder / "a.csv")
    found = artefacts.load_table(folder / "a.csv", other=str)
    assert found["stimulus"].tolist() == names
    assert found["other"].tolist() == other
    np.testing.assert_array_equal(found["value"].to_numpy(float), values)
    assert artefacts.load_texts(folder / "a.csv")[["stimulus", "other"]].to_numpy().T.tolist() == [
        names,
        other,
    ]


@pytest.mark.parametrize("column", artefacts.NAMES, ids="column_{}".format)
def test_every_column_of_names_is_text_unasked(column, tmp_path):
    artefacts.save_table(pd.DataFrame({column: LOOKS}), tmp_path / "a.csv")
    assert artefacts.load_table(tmp_path / "a.csv")[column].tolist() == LOOKS
    artefacts.save_table(pd.DataFrame({column: ["007", "1"]}), tmp_path / "a.csv")
    assert artefacts.load_table(tmp_path / "a.csv")[column].tolist() == ["007", "1"]


@given(NAMES, NAMES)
def test_labelled_data_keep_names(folder, stimuli, voxels):
    values = np.arange(float(len(stimuli) * len(voxels))).reshape(len(stimuli), -1)
    dataset = xr.Dataset(
        {"x": (("stimulus", "voxel"), values)}, coords={"stimulus": stimuli, "voxel": voxels}
    )
    artefacts.save(dataset, folder / "a.nc")
    found = artefacts.load(folder / "a.nc")
    assert found["stimulus"].values.tolist() == stimuli
    assert found["voxel"].values.tolist() == voxels
    xr.testing.assert_equal(found.sel(stimulus=stimuli[::-1])["x"], dataset["x"][::-1])


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])  # NumPy itself cuts "a\0" down
def test_names_that_no_file_keeps_are_refused(name):
    response = (("repeat", "stimulus", "voxel"), np.zeros((1, 2, 1)))
    coords = {"repeat": [0], "stimulus": ["z", name], "voxel": ["v"], "split": [0, 1]}
    coords |= {"subject": ("voxel", ["s"]), "roi": ("voxel", ["r"])}
    train = (("split", "stimulus"), np.eye(2, dtype=bool))
    attrs = dict.fromkeys(contract.ATTRIBUTES, "x") | {"modality": "audio", "kind": "voxel", "planted": 0}
    whole = xr.Dataset({"response": response, "train": train}, coords, attrs)
    table = pd.DataFrame({"stimulus": ["z", name], "file": ["a", "b"], "sha256": "0"})
    with pytest.raises(ValueError, match=r"stimulus holds text that no file keeps"):
        contract.validate(whole, table)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder of one's own with stimuli and voxels of odd names."""
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text('MODALITY = "vision"\nKIND = "voxel"\nPLANTED = False\n')
    monkeypatch.setitem(plugins.FOLDERS, "target", tmp_path / "plugins")
    place = tmp_path / "data" / "own" / "mine"
    (place / "stimuli").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(len(NAMED)):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(
            place / "stimuli" / f"p{i}.png"
        )
    files = [f"p{i}.png" for i in range(len(NAMED))]
    artefacts.save_table(pd.DataFrame({"stimulus": NAMED, "file": files}), place / "stimuli.csv")
    voxels = pd.DataFrame(
        {"voxel": NAMED[:5], "subject": ["1", "01", "1", "NA", "1.0"], "roi": [*"ab", "", "1", "01"]}
    )
    artefacts.save_table(voxels, place / "voxels.csv")
    np.save(place / "responses.npy", rng.normal(size=(2, len(NAMED), 5)))
    masks = {f"split{i}": np.arange(len(NAMED)) % 2 == i for i in range(2)}
    artefacts.save_table(pd.DataFrame({"stimulus": NAMED[::-1], **masks}), place / "splits.csv")
    return place


# Such that no two look alike to people: an own data set with names that do is refused.
NAMED = ["1", "01", "1.0", "1e5", "NA", "None", "True", "nan", "a", "A", "a;b", '"', "日本"]


@pytest.mark.usefixtures("mine")
def test_names_survive_from_a_folder_to_features_and_dissimilarities(tmp_path):
    responses_, stimuli = own.load(artefacts.directory("download", target="mine"))
    folder = artefacts.directory("download", target="mine")
    artefacts.save_all({"responses": responses_, "stimuli": stimuli}, folder)
    table, stored = artefacts.load_table(folder / "stimuli.csv"), artefacts.load(folder / "responses.nc")
    assert table["stimulus"].tolist() == stored["stimulus"].values.tolist() == NAMED
    assert stored["subject"].values.tolist() == ["1", "01", "1", "NA", "1.0"]
    assert stored["roi"].values.tolist() == ["a", "b", "", "1", "01"]
    assert stored["train"].sel(stimulus="01").values.tolist() == [False, True]
    features.extract(toy.vision(), table, tmp_path / "features.nc")
    assert features.identifiers(tmp_path / "features.nc") == NAMED
    model = rsa.of_layer(tmp_path / "features.nc", "first", NAMED[::-1])
    assert model["stimulus"].values.tolist() == model["stimulus_2"].values.tolist() == NAMED[::-1]
    artefacts.save(model.to_dataset(name="rdm"), tmp_path / "rdm.nc")
    assert artefacts.load(tmp_path / "rdm.nc")["stimulus"].values.tolist() == NAMED[::-1]


@pytest.mark.parametrize(
    ("one", "two"), [("\u00e9", "e\u0301"), ("z", "z "), ("y z", "y  z"), ("y z", "y\u00a0z")]
)
def test_own_names_that_look_alike_are_refused(mine, one, two):
    table = artefacts.load_texts(mine / "stimuli.csv")
    table["stimulus"] = [one, two, *NAMED[2:]]
    artefacts.save_table(table, mine / "stimuli.csv")
    with pytest.raises(ValueError, match="identifiers look alike") as caught:
        own.load(artefacts.directory("download", target="mine"))
    assert ascii(two) in str(caught.value)


@given(st.lists(NAME, min_size=2, max_size=5, unique=True), NAME)
def test_answers_keep_names(folder, names, person):
    rows = [
        {"experiment": "NA", "participant": person, "trial": i + 1, "phase": "main", "modality": "audio",
         "stimulus": name, "model": "1.0", "layer": "01", "response": name, "answer": name, "correct": 1,
         "rt_ms": 1.5, "network_response": "", "network_correct": "", "n_choices": 16, "seed": 0}
        for i, name in enumerate(names)
    ]  # fmt: skip
    artefacts.save_table(pd.DataFrame(rows), folder / "p.csv")
    found = responses.read([folder / "p.csv"])
    for column in ("stimulus", "response", "answer"):
        assert found[column].tolist() == names
    assert found["participant"].unique().tolist() == [person]
    assert found[["experiment", "model", "layer"]].iloc[0].tolist() == ["NA", "1.0", "01"]


@given(NAMES)
def test_numbers_keep_their_names(folder, names):
    low = sorted({f"step/target/model/quantity/{name}".lower() for name in names})
    table = pd.DataFrame(
        {"name": low, "value": 0.1, "low": np.nan, "high": 1.0, "n": 3, "unit": "NA", "what": "w"}
    )
    plotting.save_numbers(table, folder / "numbers.csv")
    assert artefacts.load_table(folder / "numbers.csv")["name"].tolist() == low


def test_metamers_of_names_that_differ_in_case_would_share_files():
    table = pd.DataFrame({"stimulus": ["a", "b", "A"], "file": "x.png", "sha256": ""})
    with pytest.raises(ValueError, match="stimuli a, A would share files"):
        material.originals(None, table)


@pytest.mark.parametrize(
    ("one", "two"), [("1", "01"), ("1", "1.0"), ("NA", "nan"), ("NA", ""), ("True", "true")]
)
def test_a_result_with_another_name_is_not_the_same(one, two, tmp_path):
    for folder, name in (("a", one), ("b", two)):
        table = pd.DataFrame({"stimulus": [name, "5"], "value": [1.0, 2.0]})
        artefacts.save_table(table, tmp_path / folder / "t.csv")
    found = verification.differences(tmp_path / "a", tmp_path / "b", ["t.csv"])
    assert found["quantity"].tolist() == ["stimulus"]


def test_splits_depend_on_names_alone(mine):
    (mine / "splits.csv").unlink()
    first = own.load(artefacts.directory("download", target="mine"))[0]["train"]
    order = np.random.default_rng(1).permutation(len(NAMED))
    table, values = artefacts.load_texts(mine / "stimuli.csv"), np.load(mine / "responses.npy")
    artefacts.save_table(table.iloc[order], mine / "stimuli.csv")
    np.save(mine / "responses.npy", values[:, order])
    second = own.load(artefacts.directory("download", target="mine"))[0]["train"]
    xr.testing.assert_equal(first, second.sel(stimulus=NAMED))


@pytest.mark.parametrize("name", FILES)
def test_stimuli_are_called_like_their_files(name, tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    file = tmp_path / "data" / "own" / "mine" / "stimuli" / f"{name}.png"
    file.parent.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(file)
    table = own._stimuli(file.parents[1], own.PICTURES)
    assert table["stimulus"].tolist() == [name]
    assert table["sha256"].tolist() == [hashlib.sha256(file.read_bytes()).hexdigest()]
