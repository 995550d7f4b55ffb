"""The page of all figures and numbers: complete, safe, and readable without a network."""

import base64
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from lib import artefacts, page

# The smallest picture there is: one pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HOSTILE = "<script>alert(1)</script>"
CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with two results, two figures (one of them empty), numbers and a map."""
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    download, encode = "data/download/sine", "data/encode/Net/sine"
    versions = {"versions": {"python": "3"}, "start": "now", "seconds": 2, "commit": "abc", "device": HOSTILE}
    for name, parameters, inputs in (
        (download, {"target": "sine"}, {}),
        (encode, {"model": "Net", "target": "sine", "note": HOSTILE}, {download: {"a.nc": "0" * 64}}),
    ):
        made = {"code": {"lib/x.py": "f" * 64}, "parameters": parameters, "inputs": inputs, "outputs": {}}
        artefacts.save_json(made | versions, tmp_path / name / "run.json")
        (tmp_path / name / "run.ipynb").write_text("{}")
    figures = tmp_path / "figures"
    figures.mkdir()
    for name, table in {
        "bars": pd.DataFrame({"model": ["Net"], "target": ["sine"], "value": [0.5]}),
        "empty": pd.DataFrame(columns=["model", "target"]),
    }.items():
        (figures / f"{name}.png").write_bytes(PIXEL)
        artefacts.save_table(table, figures / f"{name}.csv")
    rows = [("encode/sine/net/r2/all", 0.5, 0.25, 0.75, 4, "subject", HOSTILE),
            ("rsa/sine/other/r/all", 1 / 3, None, None, 4, None, "no such result")]  # fmt: skip
    artefacts.save_table(
        pd.DataFrame(rows, columns=["name", "value", "low", "high", "n", "unit", "what"]),
        figures / "numbers.csv",
    )
    (figures / "maps").mkdir()
    (figures / "maps" / "brain.html").write_text("<p id='turned'>a brain</p>")
    cells = [
        {"cell_type": "markdown", "source": ["## Bars\n", "\n", "**Figure `bars`.** Mean of *all* `x` < 1."]},
        {"cell_type": "code", "source": ["## not a heading"]},
    ]
    artefacts.save_json({"cells": cells}, tmp_path / "08.ipynb")
    return tmp_path


@pytest.fixture
def written(home):
    return page.write(home / "figures", home / "08.ipynb").read_text(encoding="utf-8")


def test_captions_are_those_of_the_notebook(home):
    assert page.captions(home / "08.ipynb") == {"bars": ("Bars", "Mean of *all* `x` < 1.")}
    assert "Mean of <i>all</i> <code>x</code> &lt; 1." in page.write(
        home / "figures", home / "08.ipynb"
    ).read_text(encoding="utf-8")


def test_every_figure_of_the_real_notebook_has_a_caption():
    told = page.captions(artefacts.ROOT / "notebooks" / "08_figures.ipynb")
    drawn = (artefacts.ROOT / "notebooks" / "08_figures.ipynb").read_text(encoding="utf-8")
    names = set(re.findall(r'folder / \\"(\w+)\\"\)', drawn)) - {"maps"}
    assert names <= set(told) | {"maps"}, names - set(told)


def test_a_figure_leads_to_what_it_was_made_from(written):
    section = written.split('id="figure-bars"')[1].split("<h2")[0]
    assert '<a href="#data-encode-Net-sine">' in section
    assert "table, 1 rows" in section
    result = written.split('<details id="data-encode-Net-sine">')[1]
    assert '<a href="../data/encode/Net/sine/run.ipynb">' in result
    assert '<a href="#data-download-sine">' in result
    assert "lib/x.py ffffffffffff" in result


def test_a_figure_without_results_says_so(written):
    section = written.split('id="figure-empty"')[1].split("<h2")[0]
    assert "No result to show yet" in section
    assert "<img" not in section


def test_a_number_leads_to_its_result_where_there_is_one(written):
    rows = json.loads(re.search(r'id="numbers-data">(.*?)</script>', written, re.S)[1])
    assert [row["result"] for row in rows] == ["data-encode-Net-sine", None]
    assert rows[0]["low"] == 0.25
    assert rows[1]["low"] is None
    assert rows[1]["value"] == pytest.approx(1 / 3, abs=1e-11)


def test_nothing_in_the_data_is_taken_for_markup(written):
    assert HOSTILE not in written
    assert "alert(1)" in written


def test_page_can_be_written_before_there_is_anything(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    (tmp_path / "figures").mkdir()
    artefacts.save_json({"cells": []}, tmp_path / "08.ipynb")
    assert "0 figures, 0 numbers, 0 results" in page.write(
        tmp_path / "figures", tmp_path / "08.ipynb"
    ).read_text(encoding="utf-8")


def test_page_works_in_a_browser_without_network(home):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}")
    file, said = page.write(home / "figures", home / "08.ipynb"), []
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
        )
        context = browser.new_context(offline=True)
        shown = context.new_page()
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.on("dialog", lambda dialog: said.append(dialog.message))
        shown.goto(file.as_uri())
        assert shown.inner_text("#count") == "2 of 2"
        shown.fill("#wanted", "net ENCODE")
        assert shown.inner_text("#rows td >> nth=2") == "0.25 to 0.75"
        shown.click("#rows a")
        assert shown.is_visible("#data-encode-Net-sine table")
        shown.click("#map-buttons button")
        assert shown.frame_locator("#map iframe").locator("#turned").inner_text() == "a brain"
        browser.close()
    assert said == []


def test_long_names_go_on_behind_an_underscore():
    assert page._broken("rsa_places") == "rsa_<wbr>places"
    assert page._broken("a.b<c") == "a.<wbr>b&lt;c"
