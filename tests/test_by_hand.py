"""Notebooks opened by hand: each with its defaults reads what those before it with theirs have made."""

import ast

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
import seaborn as sns

import run_all
from lib import artefacts, features, plugins
from lib.artefacts import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code(name):
    """Sources of the code cells of a notebook."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def defaults(name):
    """Model and target that a notebook names in its first cell of code."""
    set_there = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(code(name)[0]).body}
    return {kind: set_there[kind] for kind in ("model", "target") if kind in set_there}


def test_defaults_are_one_bundled_model_and_the_target_that_was_planted_for_it():
    found = [item for file in NOTEBOOKS for item in defaults(file.stem).items()]
    assert {kind for kind, _ in found} == {"model", "target"}
    assert len(set(found)) == 2, found
    model, target = (plugins.about(kind, dict(found)[kind]) for kind in ("model", "target"))
    assert model.get("BUNDLED", True)
    assert target["PLANTED"]
    assert model["MODALITY"] == target["MODALITY"]


@pytest.mark.parametrize("step", [step for step, (swept, _, _) in run_all.STEPS.items() if swept])
def test_every_parameter_that_is_swept_has_a_default(step):
    assert set(run_all.STEPS[step][0]) == set(defaults(step))


@pytest.mark.filterwarnings("ignore:The set_bad function")  # seaborn calls it
def test_rows_of_the_map_of_similarities_carry_their_own_regions_and_ceilings():
    drawing = next(cell for cell in code("04_rsa") if "sns.heatmap(" in cell)
    rows = [("all", 0.1), ("V4", 0.2), ("IT", 0.3), ("EVC", 0.4)]  # neither sorted nor sorted backwards
    summary = pd.DataFrame(rows, columns=["roi", "value"])
    summary = summary.assign(layer="first", p_fwe=0.5, lower=summary["value"] + 0.4, upper=0.9)
    names = {"plt": plt, "np": np, "sns": sns, "summary": summary, "layers": pd.Series(["first"])}
    exec(drawing, names | {"model": "m", "target": "t", "measure": "spearman"})
    ax = plt.gcf().axes[0]
    assert [text.get_text() for text in ax.texts] == [f"{value:.2f}" for _, value in rows]
    wanted = [f"{roi} [{value + 0.4:.2f}, 0.90]" for roi, value in rows]
    assert [label.get_text() for label in ax.get_yticklabels()] == wanted
    plt.close("all")


@pytest.mark.parametrize("read", [artefacts.load, artefacts.load_table, features.layers])
def test_a_result_that_is_not_there_names_the_step_that_makes_it(read, tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    missing = artefacts.directory("extract", "crepe_tiny", "planted_audio") / "features.nc"
    with pytest.raises(FileNotFoundError) as raised:
        read(missing)
    said = str(raised.value)
    assert str(missing) in said
    assert 'notebook 02_extract with model = "crepe_tiny" and target = "planted_audio"' in said
    assert "`python run_all.py extract --model crepe_tiny --target planted_audio`" in said
    with pytest.raises(FileNotFoundError, match=r"`python run_all\.py download --target planted_audio`"):
        read(artefacts.directory("download", target="planted_audio") / "responses.nc")


def test_what_no_step_makes_is_only_said_to_be_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    for path in ("a.csv", "data/locked.csv", "data/own/mine/voxels.csv"):
        with pytest.raises(FileNotFoundError, match=f"there is no file {tmp_path / path}"):
            artefacts.there(tmp_path / path)
    (tmp_path / "a.csv").write_text("a\n1\n", encoding="utf-8")
    assert artefacts.there(str(tmp_path / "a.csv")) == tmp_path / "a.csv"
