"""The notebook of figures where nothing has been run: each section says so, and nothing is made up."""

import matplotlib.pyplot as plt

from lib import artefacts, sources

NOTEBOOK = artefacts.ROOT / "notebooks" / "08_figures.ipynb"
# What needs no run: scores that were published, and figures that say that there is no result.
ALWAYS = {"bh_matrix", "bh_performance", "bh_ranking", "bh_scores", "bh_sensitivity", "bh_top_rois"}


def test_without_results_every_section_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    cells = [source for kind, source, _ in sources.cells(NOTEBOOK) if kind == "code"]
    names = {}
    for number, source in enumerate(cells):
        exec(compile(source, f"cell {number}", "exec"), names)
        plt.close("all")
    assert {file.stem for file in (tmp_path / "figures").glob("*.png")} == ALWAYS
    numbers = artefacts.load_table(tmp_path / "figures" / "numbers.csv")
    assert numbers["name"].str.startswith("bhscore/deeprecon/published/").all()
    assert capsys.readouterr().out.count("yet: python run_all.py") >= 12
