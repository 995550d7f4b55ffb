"""Widgets of metamers: what they show, what they refuse to show, and how they behave in a real JupyterLab."""

import base64
import hashlib
import html
import io
import json
import re

import browsing
import matplotlib as mpl
import matplotlib.pyplot as plt
import metamerfolder
import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image
from traitlets.config import Config

from lib import artefacts, widgets
from lib.exhibits import drawing, markup, pages, tables

HOSTILE = '<img src=x onerror="document.title=1">&\'</template></iframe>'


@pytest.fixture
def sounds(tmp_path):
    return metamerfolder.made(tmp_path / "net" / "sounds", modality="audio", size=30)


@pytest.fixture
def pictures(tmp_path):
    return metamerfolder.made(tmp_path / "net" / "pictures", modality="vision")


@pytest.fixture(params=["audio", "vision"])
def folder(request):
    return request.getfixturevalue({"audio": "sounds", "vision": "pictures"}[request.param])


def parts(widget):
    """Drop-down lists by name, and the sheet."""
    row, sheet = widget.children
    return {chosen.description.lower(): chosen for chosen in row.children}, sheet


def held(text, kind):
    """Contents of all data addresses of a kind, in order."""
    return [base64.b64decode(found) for found in re.findall(rf'src="data:{kind};base64,([^"]*)"', text)]


def document(page):
    """The document inside the frame of a page."""
    return html.unescape(re.search(r'srcdoc="([^"]*)"', page.data)[1])


def templates(page):
    """The parts of a page that wait to be chosen."""
    return re.findall(r'<template id="[mo]-.*?</template>', document(page), re.S)


def changed(folder, table, rows=slice(None), **columns):
    """Change a table of a folder."""
    content = pd.read_csv(folder / f"{table}.csv", dtype=object)
    content.loc[rows, list(columns)] = list(columns.values())
    artefacts.save_table(content, folder / f"{table}.csv")


# What is shown


def test_sounds_are_played_as_stored(sounds):
    lists, sheet = parts(widgets.metamers(sounds))
    lists["layer"].value, lists["stimulus"].value = "conv2.relu", "bell_2"
    files = [sounds / "original" / "1.wav", sounds / "metamer" / "conv2.relu" / "1.wav"]
    assert held(sheet.value, "audio/wav") == [file.read_bytes() for file in files]
    assert "0.03 s at 8000 Hz" in sheet.value


def test_pictures_are_shown_as_stored_and_tiny_ones_enlarged_by_whole_factors(pictures):
    lists, sheet = parts(widgets.metamers(pictures))
    lists["layer"].value = "logits"
    files = [pictures / "original" / "0.png", pictures / "metamer" / "logits" / "0.png"]
    assert held(sheet.value, "image/png")[:2] == [file.read_bytes() for file in files]
    # 18 × 12 = 216 is the largest multiple that fits 224.
    assert sheet.value.count('class="mm-tiny"') == 2
    assert sheet.value.count('width="216" height="216"') == 2


def test_each_choice_changes_the_sheet(folder):
    lists, sheet = parts(widgets.metamers(folder))
    seen = set()
    for layer in lists["layer"].options:
        lists["layer"].value = layer[1]
        for _, stimulus in lists["stimulus"].options:
            lists["stimulus"].value = stimulus
            seen.add(sheet.value)
            assert lists["layer"].value == layer[1]
    assert len(seen) == 3 * 2


def test_everything_seen_has_words_for_those_who_do_not_see(folder):
    _, sheet = parts(widgets.metamers(folder))
    images = re.findall(r"<(?:img|svg) [^>]*>", sheet.value)
    assert len(images) == 4
    assert all(len(re.search(r'(?:alt|aria-label)="([^"]*)"', image)[1]) > 10 for image in images)
    assert all("aria-label=" in player for player in re.findall(r"<audio [^>]*>", sheet.value))


def test_evidence_stands_beside_the_metamer(folder):
    lists, sheet = parts(widgets.metamers(folder))
    for said in ("Passed the gate", "0.980", "0.610", "14.2", "another network", "0.9 at step 0"):
        assert said in sheet.value
    lists["layer"].value = "logits"
    assert "Did not pass the gate" in sheet.value
    assert markup.escaped("spearman 0.480 is not above the null's 0.610") in sheet.value
    assert [label for label, _ in lists["stimulus"].options] == ["dog_1 (failed)", "bell_2 (failed)"]


def test_results_are_found_by_model_and_target(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    results = [("crepe_tiny", "planted_audio"), ("spectemp", "planted_audio"), ("spectemp", "nh2015comp")]
    record = {"code": {}, "inputs": {}, "outputs": {}}
    for model, target in results:
        folder = artefacts.directory("metamers", model, target)
        metamerfolder.made(folder, modality="audio", size=5, stimuli=(f"{model} {target}",))
        artefacts.save_json(record | {"parameters": {"model": model, "target": target}}, folder / "run.json")
    lists, sheet = parts(widgets.metamers())
    assert (lists["model"].value, lists["target"].value) == results[0]
    lists["model"].value = "spectemp"
    assert [target for _, target in lists["target"].options] == ["nh2015comp", "planted_audio"]
    assert "spectemp planted_audio" in sheet.value
    lists["target"].value = "nh2015comp"
    assert "spectemp nh2015comp" in sheet.value


def test_without_results_it_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    assert "07_metamers" in widgets.metamers().value


def test_only_what_is_chosen_is_read(folder):
    for file in [*folder.rglob("*.png"), *folder.rglob("*.wav")]:
        if file.stem != "0" or file.parent.name not in ("original", "conv1"):
            file.unlink()
    assert "Passed the gate" in parts(widgets.metamers(folder))[1].value


def test_names_that_look_like_numbers_or_nothing_are_kept(tmp_path):
    folder = metamerfolder.made(
        tmp_path / "a" / "b", modality="vision", stimuli=("007", "NA"), layers=("1", "2")
    )
    lists, sheet = parts(widgets.metamers(folder))
    lists["stimulus"].value = "NA"
    assert "Natural: NA" in sheet.value
    assert [stimulus for _, stimulus in lists["stimulus"].options] == ["007", "NA"]


# What is not shown


@pytest.mark.parametrize("fault", ["row", "table", "empty", "neither"])
def test_without_a_gate_nothing_is_shown(folder, fault):
    if fault == "table":
        (folder / "gate.csv").unlink()
    elif fault == "row":
        artefacts.save_table(pd.read_csv(folder / "gate.csv").iloc[1:], folder / "gate.csv")
    else:
        changed(folder, "gate", 0, passed={"empty": "", "neither": "maybe"}[fault])
    lists, sheet = parts(widgets.metamers(folder))
    assert "no gate" in sheet.value
    assert "data:" not in sheet.value
    assert lists["stimulus"].options[0][0] == "dog_1 (no gate)"
    (template,) = re.findall(r'<template id="m-0-0".*?</template>', document(widgets.page(folder)), re.S)
    assert "data:" not in template
    assert "no gate" in template


def test_an_error_while_choosing_is_said_and_passes(folder):
    for file in folder.glob("metamer/logits/0.*"):
        file.unlink()
    lists, sheet = parts(widgets.metamers(folder))
    lists["layer"].value = "logits"
    assert 'role="alert"' in sheet.value
    assert "does not exist, although the gate names it" in sheet.value
    lists["stimulus"].value = "bell_2"
    assert 'role="alert"' not in sheet.value
    assert "Did not pass the gate" in sheet.value


@pytest.mark.parametrize(
    "name", ["../../secret.png", "metamers.nc", "original/../../../other.wav", "gate.csv"]
)
def test_files_outside_the_folder_or_of_another_kind_are_refused(folder, name):
    changed(folder, "gate", 0, file=name)
    assert "not a PNG or WAV file inside" in parts(widgets.metamers(folder))[1].value


def test_two_rows_of_the_gate_are_an_error(folder):
    gate = pd.read_csv(folder / "gate.csv")
    artefacts.save_table(pd.concat([gate, gate.iloc[:1]]), folder / "gate.csv")
    assert "gate.csv has 2 rows" in parts(widgets.metamers(folder))[1].value


def test_a_metamer_that_was_not_stored_shows_its_verdict_alone(folder):
    changed(folder, "gate", 0, file="", passed="False", why="the loss is not a number", spearman="")
    sheet = parts(widgets.metamers(folder))[1].value
    assert "the loss is not a number" in sheet
    assert "Nothing was stored" in sheet
    assert "undefined" in sheet


def test_wrong_folders_are_named(tmp_path, pictures):
    with pytest.raises(ValueError, match=r"holds no metamers\.nc"):
        widgets.metamers(tmp_path)
    with pytest.raises(ValueError, match="two folders hold net and pictures"):
        widgets.metamers([pictures, pictures])
    (pictures / "gate.csv").write_text("layer,stimulus\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"lacks the columns \['passed'"):
        tables.collection(pictures)


def test_names_are_text_never_markup(tmp_path):
    folder = metamerfolder.made(
        tmp_path / "a" / "b", modality="vision", stimuli=(HOSTILE, "b"), layers=("<b>x", "y")
    )
    changed(folder, "gate", why=HOSTILE, label_metamer=HOSTILE, spearman=HOSTILE)
    changed(folder, "judged", judge=HOSTILE)
    changed(folder, "loss", loss=HOSTILE)
    for text in (parts(widgets.metamers(folder))[1].value, document(widgets.page(folder))):
        assert "<img src=x" not in text
        assert "<b>x" not in text
        assert markup.escaped(HOSTILE) in text
    page = widgets.page(folder).data
    assert page.count("</iframe>") == 1
    assert document(widgets.page(folder)).count("</template>") == 1 + 2 + 4


# Pictures of sounds, losses and distances


def seen(text):
    """Picture inside a drawn cochleagram, as the brightness of (row, column)."""
    (stored,) = re.findall(r'href="data:image/png;base64,([^"]*)"', text)
    picture = Image.open(io.BytesIO(base64.b64decode(stored))).convert("L")
    return np.asarray(picture, float)


def test_a_higher_tone_is_drawn_higher(sounds):
    tones = [drawing.sound(sounds / "original" / f"{name}.wav") for name in ("0", "1")]
    for tone, hz in zip(tones, (300, 600), strict=True):
        loudest = tone.cochleagram.mean(axis=1).argmax()
        # Centres are half an ERB apart, at 600 Hz less than 50 Hz.
        assert tone.centres_hz[loudest] == pytest.approx(hz, abs=50)
        assert seen(drawing.spectrum(tone, "")).mean(axis=1).argmax() == len(tone.cochleagram) - 1 - loudest


def test_two_sounds_share_a_scale_of_colours(sounds):
    tone = drawing.sound(sounds / "original" / "0.wav")
    brightest = float(tone.cochleagram.max())
    own, half = (seen(drawing.spectrum(tone, "", brightest=b)) for b in (brightest, 2 * brightest))
    np.testing.assert_array_equal(own, seen(drawing.spectrum(tone, "")))
    assert half.max() < own.max()
    _, sheet = parts(widgets.metamers(sounds))
    expected = drawing.spectrum(
        drawing.sound(sounds / "metamer" / "conv1" / "0.wav"), "", brightest=brightest
    )
    assert re.search(r'href="([^"]*)"', expected)[1] in sheet.value


@pytest.mark.parametrize("n_samples", [1, 40, 9000])
def test_silence_and_short_sounds_are_drawn(tmp_path, n_samples):
    soundfile.write(tmp_path / "silence.wav", np.zeros(n_samples), 16_000)
    shown = drawing.sound(tmp_path / "silence.wav")
    assert shown.level_db == -np.inf
    assert "level −∞ dB" in markup.piece(tmp_path / "silence.wav", "silence").text
    # A frame each 5 ms, over the whole of the sound.
    assert shown.cochleagram.shape[1] >= n_samples // 80
    assert seen(drawing.spectrum(shown, "")).max() < 30  # of 255


def test_compact_sounds_are_the_stored_ones_rounded(sounds):
    shown = drawing.sound(sounds / "metamer" / "conv1" / "0.wav")
    played, rate_hz = soundfile.read(io.BytesIO(drawing.flac(shown)))
    assert rate_hz == shown.rate_hz
    # One step of 16 bits, of which full scale has 2¹⁵.
    np.testing.assert_allclose(played, shown.waveform, atol=2**-15, rtol=0)


def test_drawing_leaves_no_figure_and_no_setting(folder):
    before = dict(mpl.rcParams)
    widgets.metamers(folder)
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("values", "n_points"), [(["nan", "nan"], 0), (["0", "0"], 2), (["0.5", "inf"], 1), (["1", "1e-9"], 2)]
)
def test_strange_losses_are_drawn_where_they_are_numbers(values, n_points):
    table = pd.DataFrame({"step": [str(i) for i in range(len(values))], "loss": values})
    drawn = drawing.loss(table, "loss")
    assert drawn.count("<circle") == n_points
    assert "nan" not in drawn


def test_long_losses_keep_their_ends():
    table = pd.DataFrame({"step": range(5000), "loss": np.linspace(2, 1, 5000)})
    points = re.search(r'points="([^"]*)"', drawing.loss(table, ""))[1].split()
    short = re.search(r'points="([^"]*)"', drawing.loss(table.iloc[[0, -1]], ""))[1].split()
    assert len(points) < 500
    assert [points[0], points[-1]] == short


@pytest.mark.parametrize("value", ["", "nan", "-0.4"])
def test_layers_that_agree_nowhere_are_drawn(value):
    distances = pd.DataFrame({"measured": ["a", "b"], "spearman": [value, value]})
    null = pd.DataFrame({"layer": ["a"], "measure": ["spearman"], "maximum": [""]})
    drawn = drawing.profile(distances, null, "b", "")
    assert drawn.count("<circle") == (2 if value == "-0.4" else 0)
    assert "nan" not in drawn


def test_loss_is_drawn_to_scale():
    table = pd.DataFrame({"step": ["0", "1", "2"], "loss": ["1", "0.1", "0.01"]})
    drawn = drawing.loss(table, "loss")
    height = [float(y) for y in re.findall(r'cy="([\d.]+)"', drawn)]
    # Places are rounded to tenths; powers of ten are equally far apart.
    assert height[1] - height[0] == pytest.approx(height[2] - height[1], abs=0.11)
    assert height[0] < height[1]
    assert [f">{tick}<" in drawn for tick in ("1", "0.1", "0.01")] == [True] * 3


# The page


def test_page_holds_all_or_says_how_many(folder):
    whole = widgets.page(folder)
    assert "holds 6 of 6 metamers, of 2 of 2 stimuli" in whole.data
    limit = sum(map(len, templates(whole))) * 0.7
    some = widgets.page(folder, megabytes=limit / 1e6)
    n_held, n_stimuli = map(int, re.search(r"holds (\d) of 6 metamers, of (\d) of 2", some.data).groups())
    assert 1 <= n_held < 6
    assert document(some).count('<template id="m-') == n_held
    assert document(some).count('<template id="o-') == n_stimuli
    assert sum(map(len, templates(some))) <= limit
    none = widgets.page(folder, megabytes=1e-6)
    assert "holds 0 of 6 metamers" in none.data
    with pytest.raises(ValueError, match="above 0"):
        widgets.page(folder, megabytes=0)


def test_page_says_why_it_is_empty_where_frames_are_taken_out(folder):
    # JupyterLab does so to notebooks that are not trusted, and keeps the text inside.
    assert re.search(r'">([^<]*)</iframe>', widgets.page(folder).data)[1] == pages.UNTRUSTED


def test_page_may_run_its_own_script_alone_and_load_nothing(folder):
    text = document(widgets.page(folder))
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert script == pages.SCRIPT
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.findall(r"(?:src|href)=\"(?!data:)|https?://", text)


# In a browser


@pytest.fixture(scope="module")
def browser():
    with browsing.chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def visited(browser, tmp_path_factory):
    """A notebook run in JupyterLab: what the page showed before and after each choice, and the saved file."""
    home = tmp_path_factory.mktemp("lab")
    served = home / "served"
    folders = [
        metamerfolder.made(home / "net" / "sounds", modality="audio", size=300),
        metamerfolder.made(home / "net" / "pictures", modality="vision", stimuli=("dog_1", HOSTILE)),
    ]
    served.mkdir()
    cells = [
        "from lib import widgets",
        f"widgets.metamers({list(map(str, folders))})",
        f"widgets.page({str(folders[0])!r})",
        f"widgets.page({str(folders[1])!r})",
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)), metadata=kernel)
    nbformat.write(notebook, served / "metamers.ipynb")
    with browsing.jupyterlab(served, home) as address:
        page = browser.new_page(viewport={"width": 1100, "height": 1000})
        page.set_default_timeout(1000 * browsing.PATIENCE_S)
        browsing.run_all(page, address.format("metamers.ipynb"))
        seen = chosen_in_turn(page, home)
        page.close()
    return seen | {"notebook": served / "metamers.ipynb", "home": home}


def chosen_in_turn(page, home):
    """What the widget showed: a sound, another sound, a picture, another picture."""
    page.wait_for_selector(".mm audio")
    seen = {"first": shown(page), "width": page.evaluate(WIDTHS)}
    page.screenshot(path=home / "sounds.png")
    choose(page, "Stimulus", 1, "Natural: bell_2")
    seen["second"] = shown(page)
    page.get_by_label("Layer", exact=True).focus()
    for key in ("Enter", "ArrowDown", "Enter"):  # JupyterLab takes the arrows while a list is closed
        page.keyboard.press(key)
    page.wait_for_selector(".mm figcaption:has-text('Metamer of layer conv2.relu')")
    seen["by_keyboard"] = shown(page)
    choose(page, "Target", 1, "Natural: dog_1")
    seen["picture"] = shown(page)
    page.screenshot(path=home / "pictures.png")
    choose(page, "Stimulus", 1, "onerror")
    seen |= {"hostile": shown(page), "title": page.title()}
    page.wait_for_function("document.querySelectorAll('iframe[srcdoc]').length == 2")
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty")
    return seen


WIDTHS = "[...document.querySelectorAll('.mm')].map(e => e.scrollWidth - e.clientWidth)"
SHOWN = """async root => ({
  sources: [...document.querySelectorAll(root + ' figure :is(audio, img, image)')].map(
    e => e.src || e.getAttribute('href')),
  durations: await Promise.all([...document.querySelectorAll(root + ' audio')].map(async e => {
    while (e.readyState < 1) await new Promise(done => setTimeout(done, 20));
    return e.duration;
  })),
  broken: [...document.querySelectorAll(root + ' img')].filter(e => e.complete && !e.naturalWidth).length,
  text: document.querySelector(root).innerText,
})"""


def shown(page, root=".mm"):
    """Sources and durations of what a page shows, and its words."""
    return page.evaluate(SHOWN, root)


def choose(page, label, place, expected):
    """Choose from a drop-down list of the widget, and wait for what must appear."""
    page.get_by_label(label, exact=True).select_option(index=place)
    page.wait_for_selector(f".mm figcaption:has-text('{expected}')")


def test_in_jupyterlab_another_choice_is_another_sound(visited):
    first, second, third = (visited[name] for name in ("first", "second", "by_keyboard"))
    for one in (first, second, third):
        # Cochleagram and player of each; 300 ms at 8000 Hz are 2400 samples exactly.
        assert len(one["sources"]) == 4
        assert one["durations"] == [0.3, 0.3]
        assert one["broken"] == 0
    assert not set(first["sources"]) & set(second["sources"])
    assert second["sources"][:2] == third["sources"][:2]  # the natural sound stays
    assert not set(second["sources"][2:]) & set(third["sources"][2:])
    assert "Passed the gate" in first["text"]


def test_in_jupyterlab_pictures_take_the_place_of_sounds(visited):
    assert visited["picture"]["durations"] == []
    assert len(visited["picture"]["sources"]) == 2
    assert visited["picture"]["broken"] == 0
    assert not set(visited["picture"]["sources"]) & set(visited["hostile"]["sources"])


def test_in_jupyterlab_nothing_is_cut_off_and_no_name_becomes_markup(visited):
    assert set(visited["width"]) == {0}
    assert HOSTILE in visited["hostile"]["text"]
    assert visited["hostile"]["broken"] == 0
    assert visited["title"] != "1"
    for name in ("sounds", "pictures"):
        assert drawing.size(visited["home"] / f"{name}.png") == (1100, 1000)


def test_exported_notebook_is_browsed_without_kernel_and_network(visited, browser):
    nbconvert = pytest.importorskip("nbconvert")
    text, _ = nbconvert.HTMLExporter(Config()).from_filename(str(visited["notebook"]))
    file = visited["home"] / "exported.html"
    file.write_text(text, encoding="utf-8")
    context = browser.new_context(offline=True, viewport={"width": 1100, "height": 1000})
    asked = []
    context.route(lambda address: not address.startswith(("file:", "data:")), lambda route: route.abort())
    page = context.new_page()
    page.set_default_timeout(1000 * browsing.PATIENCE_S)
    page.on("request", lambda r: asked.append(r) if not r.url.startswith(("file:", "data:")) else None)
    page.goto(file.as_uri(), wait_until="domcontentloaded")
    frame = page.frame_locator("iframe[srcdoc]").first
    sources = [frame.locator("figure audio").nth(i).get_attribute("src") for i in (0, 1)]
    frame.get_by_label("Stimulus", exact=True).select_option(index=1)
    frame.get_by_text("Natural: bell_2").wait_for()
    frame.get_by_label("Layer", exact=True).select_option(index=2)
    frame.get_by_text("Did not pass the gate").wait_for()
    inside = next(f for f in page.frames if f.parent_frame and f.locator("audio").count())
    after = shown(inside, "#view")
    others = page.frame_locator("iframe[srcdoc]").last
    others.get_by_label("Stimulus", exact=True).select_option(index=1)
    others.get_by_text(f"Natural: {HOSTILE}").wait_for()
    title = page.title()
    page.screenshot(path=visited["home"] / "exported.png", full_page=True)
    context.close()
    assert title != "1"
    assert after["durations"] == [0.3, 0.3]
    assert after["broken"] == 0
    assert not set(sources) & set(after["sources"])
    # What the exporter's own template asks for (mathematics, its widget manager) is not ours.
    assert [r.url for r in asked if r.frame.parent_frame] == []


def test_saved_notebook_holds_no_more_than_it_says(visited):
    saved = json.loads(visited["notebook"].read_text(encoding="utf-8"))
    said = []
    for cell in saved["cells"][2:]:
        (output,) = cell["outputs"]
        text = "".join(output["data"]["text/html"])
        said.append(float(re.search(r"in ([\d.]+) MB", text)[1]))
        # Escaping and the page's frame come on top.
        assert len(text) < 1e6 * (1.1 * said[-1] + 0.1)
    assert said[0] > 0
