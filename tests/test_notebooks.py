"""Notebooks: how each is built; then what each wrote when the real runner executed it."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import time

import h5py
import nbformat
import numpy as np
import pytest
import xarray as xr

import run_all
from lib import artefacts, contract, features, plotting, plugins, scoring, sources
from lib.artefacts import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ANALYSES = [file for file in NOTEBOOKS if file.stem != "08_figures"]
LINES_PER_CELL = 12
WORDS_PER_PROSE = 15
PACKAGES = ("lib", "lib.experiment", "lib.metamers", "lib.plotting", "lib.recognition")
FILE = r"`(?:figures/)?([^`]*\.\w+)`"
# The planted target and the model that was planted: nothing is downloaded, and there is a right answer.
MODEL, TARGET = "efficientnet_lite0", "planted_vision"
RESULTS = {
    "01_download": f"data/download/{TARGET}",
    "02_extract": f"data/extract/{MODEL}/{TARGET}",
    "03_encode": f"data/encode/{MODEL}/{TARGET}",
    "04_rsa": f"data/rsa/{MODEL}/{TARGET}",
    "05_decode": f"data/decode/{MODEL}/{TARGET}",
    "06_bhscore": f"data/bhscore/{MODEL}/{TARGET}",
    "07_metamers": f"data/metamers/{MODEL}/{TARGET}",
    "08_figures": "figures",
}

each = pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)


def read(file):
    return nbformat.read(file, as_version=4)


def cells(file, kind="code"):
    return [cell for cell in read(file).cells if cell.cell_type == kind]


def prose(file):
    return "\n".join(cell.source for cell in cells(file, "markdown"))


def code(file):
    """Syntax tree of all code; magics and shell commands are not Python and fail here."""
    return ast.parse("\n".join(cell.source for cell in cells(file)))


def calls(file):
    """Each call of a notebook: the name called, and its arguments that are text."""
    for node in ast.walk(code(file)):
        if isinstance(node, ast.Call):
            texts = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            yield ast.unparse(node.func), texts


# How each is built


def test_every_notebook_is_a_step():
    assert [file.stem for file in NOTEBOOKS] == sorted(run_all.STEPS)


@each
def test_file_is_valid_and_stored_without_outputs(file):
    notebook = read(file)
    nbformat.validate(notebook)
    ids = [cell["id"] for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]]
    assert len(set(ids)) == len(ids)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in cells(file):
        assert cell.outputs == []
        assert cell.execution_count is None
        assert set(cell.metadata) <= {"tags"}


@each
def test_file_is_as_jupyter_saves_it(file):
    # So that opening and saving it changes nothing but what was edited.
    assert file.read_text(encoding="utf-8") == nbformat.writes(read(file)) + "\n"


@each
def test_first_cell_is_title_question_reads_and_writes(file):
    first, second = read(file).cells[:2]
    title, _, *question, reads, writes = first.source.splitlines()
    assert title.startswith("# ")
    assert len(" ".join(question).split()) >= 2 * WORDS_PER_PROSE
    assert reads.startswith("*Reads* ")
    assert writes.startswith("*Writes* ")
    assert second.metadata.tags == ["parameters"]


@each
def test_reads_line_table_of_steps_and_code_agree(file):
    reads = run_all.STEPS[file.stem][1]
    named = re.findall(r"`data/(\w+)/", re.search(r"^\*Reads\* .*", prose(file), re.M)[0])
    steps = {step.partition("_")[2] for step in reads}
    assert set(named) == steps
    opened = {
        texts[0] for called, texts in calls(file) if called in ("artefacts.directory", "artefacts.finished")
    }
    assert opened == steps | {file.stem.partition("_")[2]}


@each
def test_parameters_are_literals_each_explained(file):
    (cell,) = [cell for cell in cells(file) if "parameters" in cell.metadata.get("tags", ())]
    lines = cell.source.splitlines()
    for node in ast.parse(cell.source).body:
        rest = lines[node.end_lineno - 1][node.end_col_offset :]
        assert re.fullmatch(r"  # \S.*", rest), f"{ast.unparse(node)}: unit or allowed values are not said"
    declared = sources.declared(file)  # raises unless all are literals
    assert len(declared) == len(ast.parse(cell.source).body)
    assert set(run_all.STEPS[file.stem][0]) <= set(declared)


@each
def test_every_parameter_is_used(file):
    used = {n.id for n in ast.walk(code(file)) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    assert set(sources.declared(file)) <= used


@each
def test_imports_are_one_cell_and_lib_has_one_form(file):
    imports = [n for n in ast.walk(code(file)) if isinstance(n, ast.Import | ast.ImportFrom)]
    cell = cells(file)[1].source
    assert len(imports) == len(ast.parse(cell).body), (
        "imports stand after the parameters, and nothing else does"
    )
    for node in imports:
        modules = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        assert modules[0] in PACKAGES or not modules[0].startswith("lib"), ast.unparse(node)
        assert not {"sys", "os", "subprocess", "papermill"} & set(modules)


@each
def test_figures_alone_know_the_look(file):
    # Else a new colour would make results stale.
    taken = {
        f"{n.module}.{a.name}" for n in ast.walk(code(file)) if isinstance(n, ast.ImportFrom) for a in n.names
    }
    assert any("plotting" in name for name in taken) == (file.stem == "08_figures")


@each
def test_code_defines_nothing_and_names_no_path(file):
    for node in ast.walk(code(file)):
        assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef), (
            "logic belongs in lib"
        )
        assert not isinstance(node, ast.Try | ast.While | ast.Global)
    assert not {called for called, _ in calls(file)} & {
        "open",
        "input",
        "exec",
        "eval",
        "get_ipython",
        "os.chdir",
    }
    texts = [
        n.value for n in ast.walk(code(file)) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    ]
    assert not [text for text in texts if text.startswith(("/", "~", "..", "data/", "figures/"))]


@each
def test_cells_are_short_and_loops_one_deep(file):
    for cell in cells(file):
        # Lists, not arguments.
        declares = cell.metadata.get("tags") == ["parameters"] or "\nfrom lib import" in cell.source
        assert declares or len(cell.source.splitlines()) <= LINES_PER_CELL, cell.source
        for loop in (n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.For)):
            assert not [n for n in ast.walk(loop) if isinstance(n, ast.For) and n is not loop], cell.source


@each
def test_prose_says_why(file):
    words = [len(cell.source.split()) for cell in cells(file, "markdown")]
    assert sum(words) / len(words) >= WORDS_PER_PROSE
    # At most a load, a look and a save without a word between them.
    kinds = "".join(cell.cell_type[0] for cell in read(file).cells)
    assert "cccc" not in kinds
    assert kinds.endswith("m"), "the last cell says what to read in the result, and what not"


@pytest.mark.parametrize("file", ANALYSES, ids=lambda file: file.stem)
def test_analysis_loads_computes_checks_shows_and_saves(file):
    headings = re.findall(r"^## (.*)", prose(file), re.M)
    order = ("Load", "Compute", "Check", "Show", "Save")
    assert [h for h in headings if h in order] == [h for h in order if h in headings]
    assert {"Load", "Check", "Show", "Save"} <= set(headings)


@pytest.mark.parametrize("file", ANALYSES[1:], ids=lambda file: file.stem)
def test_analysis_names_its_source(file):
    assert re.search(r"doi:10\.\d{4}", prose(file))


# What each wrote


class Run:
    """The real runner on the real notebooks, its results in a home of their own."""

    def __init__(self, home):
        self.home = home
        self.said, self.seconds = self.again()

    def again(self, *arguments, root=ROOT):
        """Run the selection; what was said, and how long it took."""
        command = [sys.executable, "run_all.py", "--model", MODEL, "--target", TARGET, *arguments]
        environment = os.environ | {"COMPENDIUM_HOME": str(self.home)}
        start = time.monotonic()
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout, time.monotonic() - start

    def folder(self, step):
        return self.home / RESULTS[step]

    def record(self, step):
        return artefacts.record(self.folder(step))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Everything that the default job does for one target and model: two minutes' work."""
    run = Run(tmp_path_factory.mktemp("home"))
    yield run
    shutil.rmtree(run.home)  # features take 200 MB


@pytest.fixture(scope="module")
def responses(made):
    return artefacts.load(made.folder("01_download") / "responses.nc")


@pytest.fixture(scope="module")
def scores(made):
    return artefacts.load(made.folder("03_encode") / "scores.nc")


def test_first_run_makes_everything(made):
    assert "8 ran, 0 fresh" in made.said
    assert {str(f.parent.relative_to(made.home)) for f in made.home.rglob("run.json")} == set(
        RESULTS.values()
    )
    assert not list(made.home.rglob("*.part.*"))


def test_second_run_is_fresh_and_quick(made):
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", "import run_all"], cwd=ROOT, check=True)
    imports = time.monotonic() - start
    said, seconds = made.again()
    assert "0 ran, 8 fresh" in said
    # All code and 250 MB of results are read, while another test has its share of the machine.
    assert seconds - imports < 9


@pytest.mark.parametrize("step", RESULTS)
def test_record_says_what_made_the_result(made, step):
    record = made.record(step)
    assert record["parameters"] == {n: {"model": MODEL, "target": TARGET}[n] for n in run_all.STEPS[step][0]}
    assert f"notebooks/{step}.ipynb" in record["code"]
    assert set(record["inputs"]) == {RESULTS[read] for read in run_all.STEPS[step][1]}
    for folder, files in record["inputs"].items():
        assert files == artefacts.record(made.home / folder)["outputs"]
    for file, digest in record["outputs"].items():
        assert artefacts.digest(made.folder(step) / file) == digest
    there = {p.relative_to(made.folder(step)).as_posix() for p in made.folder(step).rglob("*") if p.is_file()}
    assert there - set(record["outputs"]) == {"run.json", "run.ipynb", ".lock"}
    assert record["versions"]["torch"]
    assert record["device"]
    assert 0 < record["seconds"] < made.seconds
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", record["start"])
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert record["commit"] == head.stdout.strip()


@pytest.mark.parametrize("step", RESULTS)
def test_writes_line_names_what_is_written(made, step):
    writes = re.search(r"^\*Writes\* .*", prose(ROOT / "notebooks" / f"{step}.ipynb"), re.M)[0]
    always, *sometimes = (
        [re.sub(r"<\w+>|^(?=\.)", ".+", name).replace(".csv", r"\.csv") for name in re.findall(FILE, part)]
        for part in writes.split(". Where ")
    )
    # Stimuli that a plug-in makes are its own affair.
    written = [file for file in made.record(step)["outputs"] if not file.startswith("stimuli/")]
    for file in written:
        assert any(re.fullmatch(pattern, file) for pattern in sum(sometimes, always)), file
    for pattern in always:
        assert any(re.fullmatch(pattern, file) for file in written), pattern


@pytest.mark.parametrize("step", RESULTS)
def test_executed_copy_is_complete_and_quiet(made, step):
    executed = nbformat.read(made.folder(step) / "run.ipynb", as_version=4)
    for cell in executed.cells:
        if cell.cell_type == "code":
            assert cell.execution_count
            for output in cell.outputs:
                assert output.output_type != "error"
                assert "Warning" not in output.get("text", "")
    assert any("image/png" in o.get("data", {}) for c in executed.cells for o in c.get("outputs", ()))


def test_each_step_depends_on_its_own_code_alone(made):
    code = {step: set(made.record(step)["code"]) for step in RESULTS}
    assert [step for step in RESULTS if "lib/plotting/__init__.py" in code[step]] == ["08_figures"]
    assert "lib/ridge.py" not in code["02_extract"]
    assert "lib/ridge.py" in code["03_encode"]
    assert f"lib/datasets/{TARGET}.py" in code["01_download"]
    assert f"lib/datasets/{TARGET}.py" not in code["02_extract"]
    assert f"lib/models/{MODEL}.py" in code["02_extract"]
    assert not [file for file in code["03_encode"] if file.startswith(("lib/models/", "lib/datasets/"))]
    others = {f"lib/models/{name}.py" for name in plugins.names("model")} - {f"lib/models/{MODEL}.py"}
    assert not others & (code["01_download"] | code["02_extract"] | code["03_encode"])


def test_same_code_elsewhere_finds_all_fresh_and_a_new_look_redraws_figures_alone(made, tmp_path):
    for folder in ("lib", "notebooks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "run_all.py", tmp_path)
    assert "0 of 8 jobs" in made.again("--dry-run", root=tmp_path)[0]
    with (tmp_path / "lib" / "plotting" / "__init__.py").open("a", encoding="utf-8") as file:
        file.write("\nSHADE = 1\n")
    said, _ = made.again("--dry-run", root=tmp_path)
    assert re.findall(r"^stale +(.*)$", said, re.M) == ["08_figures (lib/plotting/__init__.py changed)"]


def test_download_keeps_the_contract(made, responses, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(made.home))
    stimuli = artefacts.load_table(made.folder("01_download") / "stimuli.csv")
    contract.validate(responses, stimuli)
    assert responses.attrs["target"] == TARGET
    assert set(responses["true_layer"].values) <= set(
        features.layers(made.folder("02_extract") / "features.nc")
    )


def test_features_open_in_xarray_and_h5py(made, responses):
    path = made.folder("02_extract") / "features.nc"
    layers = plugins.about("model", MODEL)["LAYERS"]
    with xr.open_dataset(path, engine="h5netcdf") as stored, h5py.File(path) as raw:
        assert tuple(stored.data_vars) == layers
        assert stored["stimulus"].values.tolist() == responses["stimulus"].values.tolist()
        assert re.fullmatch(r"[0-9a-f]{64}", stored.attrs["digest"])
        assert (stored.attrs["model"], stored.attrs["target"]) == (MODEL, TARGET)
        for layer in layers:
            assert stored[layer].dims == ("stimulus", f"unit_{layer}")
            assert stored[layer].dtype == raw[layer].dtype == np.float32
            assert raw[layer].chunks
            assert np.isfinite(raw[layer][:8]).all()
            assert raw[layer][:8].std() > 0
            np.testing.assert_array_equal(stored[layer][:8].values, raw[layer][:8])
        identifiers = [i.decode() if isinstance(i, bytes) else i for i in raw["stimulus"][()]]
        assert identifiers == responses["stimulus"].values.tolist()


def test_layers_grow_more_than_a_handful_of_dimensions(made):
    table = artefacts.load_table(made.folder("02_extract") / "layers.csv")
    assert tuple(table["layer"]) == features.layers(made.folder("02_extract") / "features.nc")
    assert (table["effective dimensions"] > 2).all()
    assert (table["effective dimensions"] <= table["units"]).all()


def test_scores_have_layers_splits_and_voxels(made, responses, scores):
    for name in ("r2", "r2_corrected", "reliability_voxel", "reliability_prediction", "alpha"):
        assert scores[name].dims == ("layer", "split", "voxel"), name
    assert scores["voxel"].equals(responses["voxel"])
    assert tuple(scores["layer"].values) == features.layers(made.folder("02_extract") / "features.nc")
    assert scores.sizes["split"] == 10
    assert float(scores["r2"].min()) >= 0
    assert float(scores["r2"].max()) <= 1
    assert scores.attrs["model"] == MODEL


def test_predictions_are_of_held_out_stimuli_only(made, responses, scores):
    for layer in scores["layer"].values:
        predicted = artefacts.load(made.folder("03_encode") / "predictions" / f"{layer}.nc")["prediction"]
        assert predicted.dims == ("split", "stimulus", "voxel")
        train = responses["train"].values.astype(bool)[:, :, None]
        np.testing.assert_array_equal(np.isnan(predicted.values), np.broadcast_to(train, predicted.shape))


def test_predictions_give_the_scores(made, responses, scores):
    layer = str(scores["layer"].values[0])
    predicted = artefacts.load(made.folder("03_encode") / "predictions" / f"{layer}.nc")["prediction"]
    response = responses["response"].mean("repeat")
    r = xr.corr(predicted, response.where(~responses["train"].astype(bool)), "stimulus")
    expected = (r.clip(min=0) ** 2).where(scores["constant_prediction"].sel(layer=layer) == 0, 0)
    # Predictions are stored in float32, 1e-7 of their size.
    np.testing.assert_allclose(
        scores["r2"].sel(layer=layer), expected.transpose("split", "voxel"), atol=1e-5, rtol=0
    )


def test_summary_has_all_voxels_and_each_region(made, responses):
    table = artefacts.load_table(made.folder("03_encode") / "summary.csv")
    assert table.columns.tolist() == scoring.COLUMNS
    assert sorted(table["part"]) == sorted({"all", *responses["roi"].values})
    assert (table["low"] < table["value"]).all()
    assert (table["value"] < table["high"]).all()
    assert (table["n"] == len(set(responses["subject"].values))).all()
    assert (table["unit"] == "subject").all()


def test_figures_are_pdf_png_and_table(made):
    folder = made.folder("08_figures")
    files = {file.name for file in folder.iterdir()} - {
        "run.json",
        "run.ipynb",
        ".lock",
        "maps",
        "numbers.csv",
        "index.html",
    }
    drawn = {name.rpartition(".")[0] for name in files}
    assert drawn >= {"planted_truth", "models", "layers", "layer_weighted", "partition", "maps", "rsa_layers"}
    assert files == {f"{name}.{ending}" for name in drawn for ending in ("pdf", "png", "csv")}
    assert (folder / "planted_truth.pdf").read_bytes().startswith(b"%PDF")
    assert b"CreationDate" not in (folder / "planted_truth.pdf").read_bytes()
    assert (folder / "planted_truth.png").read_bytes().startswith(b"\x89PNG")
    shown = artefacts.load_table(folder / "planted_truth.csv")
    assert set(shown["panel"]) == {"layers", "corrected r2", "models"}
    assert set(shown["target"]) == {TARGET}


def test_numbers_are_named_once_and_carry_intervals(made):
    table = artefacts.load_table(made.folder("08_figures") / "numbers.csv")
    assert table.columns.tolist() == plotting.NUMBERS == ["name", "value", "low", "high", "n", "unit", "what"]
    assert table["name"].is_unique
    steps = "|".join(step.partition("_")[2] for step in RESULTS)
    assert table["name"].str.fullmatch(rf"({steps})/({TARGET}|deeprecon/published)(/[^/A-Z]+){{2,6}}").all()
    assert table["name"].is_monotonic_increasing
    assert table.drop(columns=["low", "high", "n"]).notna().all(axis=None)
    known = table.dropna(subset=["low", "high"])
    assert (
        known["name"].str.startswith(f"encode/{TARGET}/{MODEL}/r2_corrected/").sum() == 5
    )  # all, four regions
    assert ((known["low"] <= known["value"]) & (known["value"] <= known["high"])).all()
    assert table.loc[table["low"].isna(), "what"].str.len().min() > 20  # says what it is, and why no interval


def test_planted_layers_are_found(made):
    numbers = artefacts.load_table(made.folder("08_figures") / "numbers.csv").set_index("name")
    assert numbers.loc[f"encode/{TARGET}/{MODEL}/layer_found", "value"] >= 0.95
