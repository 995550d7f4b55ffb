"""Whatever is written in a table, record, plug-in or notebook: it is taken as it stands, or refused in our words."""

import json
import re

import mutations
import numpy as np
import pandas as pd
import pytest
import releases
import test_experiment
import test_responses
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lib import (
    artefacts,
    locked,
    own,
    page,
    plugins,
    printouts,
    provenance,
    records,
    registry,
    sources,
    transfer,
    verification,
)
from lib.exhibits import tables
from lib.experiment import material
from lib.metamers import judges
from lib.recognition import responses

CELLS = [
    "",
    "NA",
    "nan",
    "1",
    "01",
    "1e5",
    "True",
    " x",
    "ä",
    'a"b',
    "a,b",
    "a\nb",
    "a\rb",
    "inf",
    "-1",
    "9" * 40,
]
TEXT = st.text(max_size=12) | st.sampled_from(CELLS)
OURS = (ValueError, FileNotFoundError)
# Of slower tests there are fewer examples.
FEW = settings(max_examples=max(10, settings.default.max_examples // 5))
MODEL = """
LABEL = "M"
COLOUR = "#ff0000"
MODALITY = "vision"
LAYERS = ("one", "two")
CONTROLS = ("permuted",)
BUNDLED = True
WITHOUT = ("metamers",)
VARIANTS = {"m1": {"LABEL": "M1"}, "m2": {"LAYERS": ("three",)}}
"""
TARGET = 'MODALITY = "vision"\nKIND = "voxel"\nPLANTED = True\nPARTS = {"more": "more"}\nLICENCE = "CC0"\n'
NOTEBOOK = {
    "cells": [
        {
            "cell_type": "markdown",
            "metadata": {},
            "source": ["# T\n", "**Figure `bars`.** What *it* shows.\n"],
        },
        {
            "cell_type": "code",
            "metadata": {"tags": ["parameters"]},
            "source": "model = 'm'\ntarget = 't'\nn = 3\n",
        },
        {"cell_type": "code", "metadata": {}, "source": ["import lib\n", "x = 1\n"]},
    ],
    "metadata": {},
    "nbformat": 4,
}
RECORD = {
    "code": {"lib/a.py": "f" * 64},
    "parameters": {"model": "m", "target": "t", "seed": 0, "judged_by": ""},
    "inputs": {"data/download/t": {"responses.nc": "0" * 64}},
    "outputs": {},
    "seconds": 3.5,
    "versions": {"python": "3.11"},
    "start": "2026-01-01",
    "device": "cpu",
    "commit": "",
    "clean": True,
}


@st.composite
def other_tables(draw, table):
    """A table with one to three things changed: columns and rows lost, renamed, doubled, moved; cells overwritten."""
    rows = [[*table.columns], *([str(v) if v == v else "" for v in row] for row in table.to_numpy().tolist())]
    for _ in range(draw(st.integers(1, 3))):
        i, j = draw(st.integers(0, max(len(rows) - 1, 0))), draw(st.integers(0, 30))
        kind = draw(
            st.sampled_from(["cell", "cell", "cell", "lose", "double", "shift", "column", "name", "copy"])
        )
        if not rows or not rows[i]:
            break
        j %= len(rows[i])
        if kind == "cell":
            rows[i][j] = draw(TEXT)
        elif kind == "lose":
            del rows[i]
        elif kind == "double":
            rows.insert(i, list(rows[i]))
        elif kind == "shift":
            rows[i].insert(j, draw(TEXT))
        elif kind == "column":
            rows = [row[:j] + row[j + 1 :] for row in rows]
        elif kind == "name" and rows[0]:
            rows[0][j % len(rows[0])] = draw(TEXT)
        else:
            rows = [[*row, *row[j : j + 1]] for row in rows]
    ends, apart = (
        draw(st.sampled_from(["\n", "\r\n", "\r"])),
        draw(st.sampled_from([",", ",", ",", ";", "\t"])),
    )
    text = ends.join(apart.join(quoted(cell) for cell in row) for row in rows) + ends
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"])), "replace")


def quoted(cell):
    return '"' + cell.replace('"', '""') + '"' if set(cell) & {*',;"\r\n\t'} else cell


def table_bytes(table):
    return table.to_csv(index=False).encode()


def any_table(table):
    """What may come in place of a table: other tables, and files with other bytes."""
    return st.one_of(other_tables(table), other_tables(table), mutations.changed(table_bytes(table)))


def any_json(value):
    """What may come in place of a record: other values, and files with other bytes."""
    whole = json.dumps(value).encode()
    other = mutations.otherwise(value).filter(is_json).map(lambda v: json.dumps(v).encode())
    return st.one_of(other, other, mutations.changed(whole))


def is_json(value):
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An empty home, and a registry of one family of models and one target."""
    folder = tmp_path_factory.mktemp("home")
    for kind, text, name in (("models", MODEL, "m"), ("datasets", TARGET, "t")):
        (folder / kind).mkdir()
        (folder / kind / f"{name}.py").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPENDIUM_HOME", str(folder))
        patch.delenv("DATA_MIRROR", raising=False)
        patch.setitem(plugins.FOLDERS, "model", folder / "models")
        patch.setitem(plugins.FOLDERS, "target", folder / "datasets")
        yield folder


def written(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# ---- tables

SIMPLE = pd.DataFrame(
    {"stimulus": ["a", "007", "NA"], "value": [1.5, 2, np.nan], "roi": ["V1", "", "x,y"], "n": 3}
)


@given(any_table(SIMPLE))
def test_tables(home, content):
    path = written(home, "a.csv", content)
    texts = mutations.outcome(lambda: artefacts.load_texts(path), str(path), pd.DataFrame)
    found = mutations.outcome(lambda: artefacts.load_table(path), str(path), pd.DataFrame)
    assert isinstance(found, str) == isinstance(texts, str)
    if isinstance(texts, pd.DataFrame):
        assert len(found) == len(texts)
        assert [*found.columns] == [*texts.columns]
        for name in {*texts.columns} & {*artefacts.NAMES}:
            assert found[name].fillna("").tolist() == texts[name].tolist()
        again = path.with_name("again.csv")
        artefacts.save_table(texts, again)
        pd.testing.assert_frame_equal(artefacts.load_texts(again), texts)


@given(any_table(SIMPLE), st.sampled_from([float, int, str, "category"]))
def test_tables_of_given_types(home, content, kind):
    path = written(home, "a.csv", content)
    mutations.outcome(lambda: artefacts.load_table(path, value=kind, n=int), str(path), pd.DataFrame)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"a,b\n1,2,3\n4,5,6\n", "line 2 has 3, line 3 has 3"),
        (b"a,b\n1,2\n4\n", "line 3 has 1"),
        (b"a,a\n1,2\n", "each column, once"),
        (b"a,,b\n1,2,3\n", "each column, once"),
        (b"", "each column, once"),
        (b'a,b\n"1,2\n', "is no table; line 2"),
        ("a,b\nü,2\n".encode("latin-1"), "is not in UTF-8"),
        (b"a,b\n1\0,2\n", "line 2 has a NUL byte"),
    ],
)
def test_tables_that_would_be_read_wrongly_are_refused(content, fault, tmp_path):
    path = written(tmp_path, "a.csv", content)
    with pytest.raises(ValueError, match=fault) as caught:
        artefacts.load_table(path)
    assert str(path) in str(caught.value)


def test_a_row_of_blanks_counts_and_an_empty_line_does_not(tmp_path):
    path = written(tmp_path, "a.csv", b"\xef\xbb\xbfstimulus\r\n \r\n\r\na\r\n")
    assert artefacts.load_table(path)["stimulus"].tolist() == [" ", "a"]


ANSWERS = test_responses.answers(n=1, demo=2)


@given(any_table(ANSWERS))
def test_answers_of_people(home, content):
    path = written(home, "answers.csv", content)
    found = mutations.outcome(lambda: responses.read([path]), path.name, pd.DataFrame)
    if isinstance(found, pd.DataFrame):
        right = (found["response"] == found["answer"]) & (found["response"] != "")
        assert (found["correct"] == right).all()
        mutations.outcome(lambda: responses.exclusions(found), "", pd.DataFrame)


LOCKED = pd.DataFrame(
    {"url": ["https://a.org/x", "placed:b/c"], "sha256": ["a" * 64, "b" * 64], "size": [3, 4]}
).assign(recorded="2026-01-02")


@given(any_table(LOCKED))
def test_locked_hashes(home, content):
    path = written(home, "data/locked.csv", content)
    try:
        found = mutations.outcome(locked.entries, str(path), dict)
        for entry in found.values() if isinstance(found, dict) else ():
            assert re.fullmatch("[0-9a-f]{64}", entry.sha256)
    finally:
        path.unlink()


FILES = pd.DataFrame(
    {
        "url": ["https://a.org/x", "https://a.org/y"],
        "sha256": ["a" * 64, ""],
        "size": ["3", ""],
        "part": ["", "more"],
    }
)


@given(any_table(FILES))
def test_files_of_a_data_set(home, content):
    path = written(home, "datasets/t.files.csv", content)
    try:
        found = mutations.outcome(lambda: registry.registry("t", ["more"]), str(path), pd.DataFrame)
        if isinstance(found, pd.DataFrame):
            assert found["sha256"].str.fullmatch("([0-9a-f]{64})?").all()
            assert found["size"].dtype == np.int64
    finally:
        path.unlink()


def test_a_hash_in_a_column_of_another_name_is_not_overlooked(home):
    path = written(home, "datasets/t.files.csv", table_bytes(FILES.rename(columns={"sha256": "SHA-256"})))
    try:
        with pytest.raises(ValueError, match=r"t\.files\.csv lacks columns sha256; it has 'url', 'SHA-256'"):
            registry.registry("t")
    finally:
        path.unlink()


@pytest.fixture(scope="module")
def metamers(tmp_path_factory):
    return test_experiment.folder_of(tmp_path_factory.mktemp("metamers"), "vision", n=2)


GATE = pd.DataFrame(
    {"layer": ["early", "late"], "stimulus": ["s0", "s1"], "passed": [True, False], "why": ["", "x"], "loss": [0.5, 1],
     "label_metamer": "dog", "label_original": "NA", "original_file": ["original/s0.png", "original/s1.png"],
     "file": ["metamer/early/s0.png", "metamer/late/s1.png"]}
)  # fmt: skip


@given(any_table(GATE))
def test_gates_of_metamers(metamers, content):
    path = written(metamers, "gate.csv", content)
    found = mutations.outcome(lambda: material.gated({"m": metamers}), "", pd.DataFrame, within=OURS)
    if isinstance(found, pd.DataFrame):
        assert not found.duplicated(["model", "layer", "stimulus"]).any()
        assert found["passed"].dtype == bool
    mutations.outcome(lambda: judges.read_gate(metamers), str(path), pd.DataFrame)
    mutations.outcome(lambda: tables._table(path, GATE.columns), str(path), pd.DataFrame)


@given(st.sampled_from(["stimuli.csv", "voxels.csv", "splits.csv"]), st.data())
def test_own_data(home, name, data):
    place, tidy = home / "data" / "own" / "t", {
        "stimuli.csv": pd.DataFrame({"stimulus": ["1", "01", "NA", "d"], "file": [f"{i}.png" for i in range(4)]})
        .assign(group=["a", "a", "b", "b"], note="x"),
        "voxels.csv": pd.DataFrame({"voxel": ["1", "1.0", "v"], "subject": "s", "roi": ["NA", "", "V1"]})
        .assign(x=[0, 1.5, 2], hemisphere="left", note=""),
        "splits.csv": pd.DataFrame({"stimulus": ["1", "01", "NA", "d"], "a": [1, 1, 0, 0], "b": [0, 0, 1, 1]}),
    }  # fmt: skip
    for file, table in tidy.items():
        written(place, file, table_bytes(table))
    if not (place / "stimuli").is_dir():
        (place / "stimuli").mkdir()
        for i in range(4):
            Image.new("RGB", (4, 4), (i, i, i)).save(place / "stimuli" / f"{i}.png")
        np.save(place / "responses.npy", np.random.default_rng(0).normal(size=(2, 4, 3)))
    written(place, name, data.draw(any_table(tidy[name])))
    found = mutations.outcome(lambda: own.load(home / "t"), str(place), tuple, within=OURS)
    if isinstance(found, tuple):
        whole, table = found
        assert whole["stimulus"].values.tolist() == table["stimulus"].tolist()
        assert all(isinstance(name, str) and name for name in whole["voxel"].values.tolist())
        artefacts.save(whole, home / "whole.nc")
        saved = artefacts.load(home / "whole.nc")
        for name in ("stimulus", "voxel", "subject", "roi"):
            assert saved[name].values.tolist() == whole[name].values.tolist()


NUMBERS = pd.DataFrame(
    {
        "name": ["encode/t/m/r2", "rsa/t/m/r"],
        "value": [0.5, np.nan],
        "low": 0.1,
        "high": 1,
        "n": 3,
        "unit": "",
        "what": "w",
    }
)


@FEW
@given(any_table(NUMBERS), any_json(NOTEBOOK))
def test_the_page(home, content, notebook):
    path, told = written(home, "figures/numbers.csv", content), written(home, "08.ipynb", notebook)
    written(home, "data/download/t/run.json", json.dumps(RECORD).encode())
    written(home, "figures/bars.png", b"\x89PNG")
    written(home, "figures/bars.csv", content)
    found = mutations.outcome(lambda: page.write(path.parent, told), "", type(path))
    assert not isinstance(found, str) or str(home) in found


@given(any_table(SIMPLE))
def test_verification_of_tables(home, content):
    written(home, "stored/a.csv", table_bytes(SIMPLE))
    path = written(home, "again/a.csv", content)
    found = mutations.outcome(
        lambda: verification.differences(home / "stored", home / "again", ["a.csv"]), str(path), pd.DataFrame
    )
    if isinstance(found, pd.DataFrame) and found.empty:
        pd.testing.assert_frame_equal(artefacts.load_table(path), artefacts.load_table(home / "stored/a.csv"))


LOG = (releases.mixed_log() + releases.two_way_log()).encode()


@given(mutations.changed(LOG), st.lists(st.integers(0, 200), max_size=3))
def test_printed_analyses(content, lost):
    lines = content.decode("utf-8", "replace").splitlines()
    text = "\n".join(line for i, line in enumerate(lines) if i not in lost)
    for read in (printouts.anova_tables, printouts.adversarial_accuracies):
        mutations.outcome(lambda read=read: read(text), "", pd.DataFrame)


MATRIX = """experiment_short_name = 'images_l2'
    {'one'}    {'two'}
Running EPS values [0.0 1.0]
anova_comparison_data_matrix(:,:,1) =

    0.5000    0.2500
    0.5000    0.2500

anova_comparison_data_matrix(:,:,2) =

    1.0000    0.0000
    1.0000    0.0000

"""


@given(mutations.changed(MATRIX.encode()), st.sets(st.integers(0, 20), max_size=3))
def test_printed_matrices(content, lost):
    assert len(printouts.adversarial_accuracies(MATRIX)) == 8
    lines = content.decode("utf-8", "replace").splitlines()
    text = "\n".join(line for i, line in enumerate(lines) if i not in lost)
    found = mutations.outcome(lambda: printouts.adversarial_accuracies(text), "", pd.DataFrame)
    if isinstance(found, pd.DataFrame) and len(found):
        assert found["n_correct"].between(0, 1024).all()


# ---- records


@given(any_json({"b": [1, 2.5, None, {"ü": True}]}))
def test_json(home, content):
    path = written(home, "a.json", content)
    mutations.outcome(lambda: artefacts.load_json(path), str(path), object)


@pytest.mark.parametrize("content", [b"[" * 100000, b'{"a":' * 100000, b"9" * 5000, b"\xff", b""])
def test_json_that_no_reader_takes_is_refused(content, tmp_path):
    path = written(tmp_path, "a.json", content)
    with pytest.raises(ValueError, match="is no JSON"):
        artefacts.load_json(path)


@given(any_json(RECORD))
def test_a_damaged_record_makes_a_result_stale(home, content):
    folder = home / "data" / "encode" / "m" / "t"
    written(folder, "run.json", content)
    depends = {name: RECORD[name] for name in ("code", "parameters", "inputs")}
    found = artefacts.record(folder)
    why = provenance.changed(folder, depends)
    assert all(isinstance(reason, str) and reason.encode() for reason in why)
    if not why:
        assert {name: found[name] for name in depends} == depends
        assert found["outputs"] == {}
        assert records.is_valid(found)
    for result in artefacts.finished("encode"):
        assert {"model", "target", "folder"} <= result.keys() | {"model", "target"}
    page.results()


@pytest.mark.parametrize(
    ("part", "value"),
    [
        *(("code", value) for value in ([], {"a": 1}, None)),
        *(("inputs", value) for value in ({"a": "b"}, {"a": {"b": 1}}, [])),
        *(
            ("outputs", value)
            for value in ({"../a": "b"}, {"/etc/passwd": "b"}, {"a\0": "b"}, {"": "b"}, {"a": 1})
        ),
        *(("outputs", {"x" * 300: "b"}), ("parameters", {"model": ["m"]}), ("parameters", {"target": None})),
        *(("seconds", value) for value in ("3", -1, float("nan"), float("inf"), 10**400, None)),
        *(("versions", value) for value in ([], {"python": 3})),
        ("device", "\ud800"),
    ],
)
def test_records_of_other_schemas_are_not_believed(part, value, tmp_path):
    written(tmp_path, "run.json", json.dumps(RECORD).encode())
    assert artefacts.record(tmp_path) == RECORD
    written(tmp_path, "run.json", json.dumps(RECORD | {part: value}).encode())
    assert artefacts.record(tmp_path) == {}
    depends = {name: RECORD[name] for name in ("code", "parameters", "inputs")}
    assert provenance.changed(tmp_path, depends) == ["its record is damaged"]


@given(any_json({"ETag": '"x"', "Last-Modified": "", "size": 10}))
def test_notes_of_interrupted_transfers(home, content):
    path = home / "raw" / "file.bin"
    written(path.parent, f".{path.name}.partial.json", content)
    note = transfer.Partial(path).note
    assert isinstance(note["ETag"], str)
    assert note["size"] is None or isinstance(note["size"], int)


@pytest.mark.parametrize("size", ["Infinity", "-Infinity", "NaN", '"x"', "[]"])
def test_a_size_that_is_none_is_not_believed(size, tmp_path):
    text = f'{{"ETag": "x", "Last-Modified": "", "size": {size}}}'
    written(tmp_path, ".file.bin.partial.json", text.encode())
    assert transfer.Partial(tmp_path / "file.bin").note == {"ETag": "", "Last-Modified": "", "size": None}


# ---- plug-ins and notebooks


@given(st.one_of(mutations.changed(MODEL.encode()), st.data()))
def test_plug_ins(home, content):
    if not isinstance(content, bytes):
        name = content.draw(st.sampled_from(re.findall(r"^[A-Z]+", MODEL, re.MULTILINE)))
        value = content.draw(st.sampled_from([v for v in mutations.ODD if not isinstance(v, np.ndarray)]))
        content = (MODEL + f"{name} = {value!r}\n").encode()
    path = written(home, "other.py", content)
    within = (ValueError, SyntaxError, IndentationError, TabError)
    found = mutations.outcome(
        lambda: plugins.catalogue("model", [str(path)]), "other.py", dict, within=within
    )
    if isinstance(found, dict):
        assert found[str(path)]["MODALITY"] in ("audio", "vision")
    mutations.outcome(lambda: plugins.constants(path), "other.py", dict, within=within)
    tree = sources._tree(path)
    assert tree is None or len(sources._digest(tree, path)) == 64


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("MODALITY = None", "MODALITY is None; it must be one of audio, vision"),
        ('CONTROLS = "permuted"', "CONTROLS is 'permuted'; it must be some of"),
        ("LAYERS = (1, 2)", "LAYERS is .*; it must be a text, or a tuple of texts"),
        ("VARIANTS = 5", "VARIANTS must be a dictionary"),
        ('VARIANTS = {"a": 5}', "VARIANTS must be a dictionary"),
        ("BUNDLED = 1", "BUNDLED is 1; it must be True or False"),
        ("WITHOUT = 'metamers'", "WITHOUT is 'metamers'; it must be a tuple of texts"),
    ],
)
def test_constants_that_cannot_be_are_refused(line, fault, tmp_path):
    path = written(tmp_path, "mine.py", (MODEL.replace("VARIANTS", "_") + line).encode())
    with pytest.raises(ValueError, match=fault) as caught:
        plugins.about("model", str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["MODALITY", "LAYERS"])
def test_constants_that_are_needed_are_asked_for(name, tmp_path):
    path = written(tmp_path, "mine.py", MODEL.replace("VARIANTS", "_").replace(f"{name} =", "_ =").encode())
    with pytest.raises(ValueError, match=f"{name} is missing, or no literal"):
        plugins.catalogue("model", [str(path)])


@pytest.mark.parametrize(
    "text", ["A = {[]: 1}", "A = " + "-" * 5000 + "1", "A = " + "(" * 300 + ")" * 300, "A = 1\0"]
)
def test_what_is_no_literal_ends_nothing(text, tmp_path):
    path = written(tmp_path, "mine.py", text.encode())
    found = mutations.outcome(lambda: plugins.constants(path), "", dict, within=(ValueError, SyntaxError))
    assert found == {} or "mine.py" in found
    assert sources._tree(path) is None or found == {}


def test_python_in_other_encodings_is_python(tmp_path):
    for content in (b'\xef\xbb\xbfA = "\xc3\xbc"\n', b'# -*- coding: latin-1 -*-\nA = "\xfc"\n'):
        path = written(tmp_path, f"m{len(content)}.py", content)
        assert plugins.constants(path) == {"A": "ü"}
        assert sources._tree(path) is not None


def test_a_long_sum_of_texts_is_still_python(tmp_path):
    path = written(tmp_path, "mine.py", b"A = (" + b"'x' + " * 900 + b"'x')\n")
    compile(path.read_bytes(), path, "exec")
    assert len(sources._digest(sources._tree(path), path)) == 64


@given(any_json(NOTEBOOK))
def test_notebooks(home, content):
    path = written(home, "05_x.ipynb", content)
    found = mutations.outcome(lambda: sources.declared(path), "05_x.ipynb", dict)
    mutations.outcome(lambda: page.captions(path), "05_x.ipynb", dict)
    tree = sources._tree(path)
    assert tree is None or sources._digest(tree, path)
    if isinstance(found, dict):
        mutations.outcome(lambda: sources.overrides(path, dict.fromkeys(found, "1")), "05_x.ipynb", dict)


LINES = [
    "a, b = 1, 2",
    "a = b = 1",
    "a += 1",
    "a: int = 1",
    "a = b",
    "import os",
    "a = {[]: 1}",
    "a = (",
    "a.b = 1",
]


@pytest.mark.parametrize("line", LINES)
def test_parameters_are_literals_each_with_a_name(line, tmp_path):
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": line}
    path = written(tmp_path, "05_x.ipynb", json.dumps({"cells": [cell]}).encode())
    with pytest.raises(ValueError, match=r"05_x\.ipynb: the parameters cell"):
        sources.declared(path)
