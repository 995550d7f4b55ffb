"""Experiments show each stimulus once, only metamers that passed, and a browser brings them to a CSV that is read."""

import collections
import itertools
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from lib.experiment import assignment, export, headphones, material, procedure
from lib.recognition import responses

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SWITCHES = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required", "--mute-audio",
]  # fmt: skip
LAYERS = ("early", "late")
CATEGORIES = ("dog", "cat", "car", "clock")
WORDS = tuple(
    f"{a}{b}" for a in ("sun", "rain", "wind", "snow", "star") for b in ("flower", "storm", "light", "fall")
)
QUICK = {
    "vision": {"fixation_ms": 34, "image_ms": 34, "mask_ms": 34, "slow_fixation_ms": 34, "slow_image_ms": 100}
    | {"slow_mask_ms": 34, "feedback_ms": 20, "n_practice": 2, "n_demo": 3, "n_demo_correct": 2, "n_catch": 2}
    | {"n_attention": 1, "n_break": 5, "n_slow": 1},
    "audio": {
        "gap_ms": 10,
        "feedback_ms": 20,
        "n_practice": 1,
        "n_demo": 3,
        "n_demo_correct": 2,
        "n_catch": 1,
    }
    | {"n_attention": 1, "n_check": 1, "n_check_correct": 1},
}


def folder_of(path, modality, *, n=6, failing=(("late", 0),), seed=0):
    """A folder of made-up metamers; those of `failing` (layer, number of the stimulus) did not pass."""
    rng, suffix, rows = np.random.default_rng(seed), {"vision": "png", "audio": "wav"}[modality], []
    for i, layer in itertools.product(range(n), LAYERS):
        original, file = f"original/s{i}.{suffix}", f"metamer/{layer}/s{i}.{suffix}"
        for name in (original, file):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            if name != original or not (path / name).exists():
                stimulus_at(path / name, rng)
        passed = (layer, i) not in failing
        rows.append(
            {"layer": layer, "stimulus": f"s{i}", "passed": passed, "why": "", "label_metamer": "dog"}
            | {"original_file": original, "file": file}
        )
    pd.DataFrame(rows).to_csv(path / "gate.csv", index=False)
    return path


def stimulus_at(path, rng):
    """Noise, seen or heard."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    else:
        soundfile.write(path, rng.normal(0, 0.1, 1600), 16000, subtype="FLOAT")


def answers_for(path, suffix, choices, *, n=6, more=6):
    """Right answers of n stimuli, and of more natural ones to practise on, which are written."""
    rng = np.random.default_rng(1)
    rows = [
        {"stimulus": f"s{i}", "answer": choices[i % len(choices)], "file": path / f"other/o0.{suffix}"}
        for i in range(n)
    ]
    for i in range(more):
        stimulus_at(path / f"other/o{i}.{suffix}", rng)
        rows.append(
            {"stimulus": f"o{i}", "answer": choices[i % len(choices)], "file": path / f"other/o{i}.{suffix}"}
        )
    return pd.DataFrame(rows)


@pytest.fixture
def consent(tmp_path):
    path = tmp_path / "consent.txt"
    path.write_text("# What <b>this</b> is\n\nA test.\n\n- one\n- two\n", encoding="utf-8")
    return path


@pytest.fixture
def given(tmp_path, consent):
    """What a small experiment with pictures is built from."""
    folder = folder_of(tmp_path / "metamers", "vision")
    answers = answers_for(tmp_path, "png", CATEGORIES)
    return {"folders": {"toy": folder}, "answers": answers, "consent": consent, **QUICK["vision"]}


def built(given, path):
    """The design of an experiment that is written, and what `build` says of it."""
    counts = export.build(destination=path, **given)
    return json.loads((path / "trials.json").read_text()), counts


def made_up(n_sources, n_conditions, failing=()):
    """A design without files."""
    conditions = [{"model": "", "layer": "natural"}]
    conditions += [{"model": "m", "layer": f"l{i}"} for i in range(1, n_conditions)]
    sources = [
        {"stimulus": f"s{i}", "answer": "a", "labels": [""] * n_conditions,
         "files": ["" if (i, k) in failing else f"{i}_{k}" for k in range(n_conditions)]}
        for i in range(n_sources)
    ]  # fmt: skip
    catch = [{"kind": "word", "stimulus": f"catch_{i}", "answer": "a", "file": ""} for i in range(16)]
    rest = {"check": [], "practice": [], "demo": [], "catch": catch, "seed": 3, "settings": {"n_trials": 400}}
    return {"conditions": conditions, "sources": sources, **rest}


# Assignment


def test_numbers_of_a_stream_are_spread_evenly():
    n, bins = 60_000, 6
    counts = np.bincount(
        [assignment.below(bins, rng=rng) for rng in [assignment.stream("x")] for _ in range(n)]
    )
    # Chi-square of 5 degrees of freedom: 1 in 10,000 exceeds 25.7; the stream is fixed, so the test is not chancy.
    assert ((counts - n / bins) ** 2 / (n / bins)).sum() < 25.7


def test_all_orders_are_equally_likely():
    counts = collections.Counter(
        tuple(assignment.shuffled("abc", rng=assignment.stream(str(i)))) for i in range(6000)
    )
    assert len(counts) == 6
    assert sum((c - 1000) ** 2 / 1000 for c in counts.values()) < 25.7


def test_each_stimulus_is_shown_once_and_conditions_are_dealt_evenly():
    made = made_up(400, 45)
    shown = pd.DataFrame(assignment.trials(made, "p1"))
    main = shown[shown["phase"] == "main"]
    assert sorted(main["stimulus"]) == sorted(s["stimulus"] for s in made["sources"])
    counts = main["layer"].value_counts()
    assert counts.max() <= 9  # ceil(400 / 45)
    assert len(main) == 400
    assert (shown["phase"] == "catch").sum() == 16


def test_a_stimulus_without_metamer_is_replaced_by_its_natural_version():
    failing = {(i, 2) for i in range(0, 60, 2)}
    made = made_up(60, 3, failing)
    for participant in ("a", "b"):
        for trial in assignment.trials(made, participant):
            if trial["phase"] == "main" and trial["layer"] == "natural":
                assert trial["file"] == f"{trial['stimulus'][1:]}_0"
                assert trial["dealt"] in ("", "m/l2")
            elif trial["phase"] == "main":
                assert (int(trial["stimulus"][1:]), int(trial["layer"][1:])) not in failing
    natural = [t for t in assignment.trials(made, "a") if t["layer"] == "natural" and t["phase"] == "main"]
    assert len(natural) > 20  # 20 are dealt; of the 20 of l2, half are replaced on average
    assert any(t["dealt"] == "m/l2" for t in natural)


def test_participants_differ_and_each_is_the_same_again():
    made = made_up(40, 5)
    first, again, other = (assignment.trials(made, name) for name in ("p1", "p1", "p2"))
    assert first == again
    assert first != other
    assert first != assignment.trials(made | {"seed": 4}, "p1")


# Headphones


def test_antiphase_tones_cancel_and_the_quiet_one_is_6_db_down():
    for order, place in headphones.orders():
        heard = headphones.tones(order, rms=0.05)
        n, gap = round(headphones.RATE_HZ), round(0.5 * headphones.RATE_HZ)
        parts = [heard[i * (n + gap) : i * (n + gap) + n] for i in range(3)]
        inner = [part[2000:-2000] for part in parts]  # between the ramps: whole cycles
        levels = [20 * np.log10(np.sqrt((part**2).mean(axis=0)) / 0.05) for part in inner]
        for kind, part, level in zip(order, inner, levels, strict=True):
            np.testing.assert_allclose(level, -6 if kind == "quiet" else 0, atol=1e-9)
            np.testing.assert_allclose(part.sum(axis=1).any(), kind != "antiphase")
        assert place == 1 + int(np.argmin([level[0] for level in levels]))
    assert len({order for order, _ in headphones.orders()}) == 6


def test_noise_is_as_loud_as_the_stimuli_and_pink():
    waveform = headphones.noise(rms=0.05, rng=np.random.default_rng(0))[:, 0]
    assert np.sqrt((waveform**2).mean()) == pytest.approx(0.05)
    power = np.abs(np.fft.rfft(waveform)) ** 2
    hz = np.fft.rfftfreq(len(waveform), 1 / headphones.RATE_HZ)
    octaves = [power[(hz >= low) & (hz < 2 * low)].sum() for low in (200, 400, 800, 1600)]
    np.testing.assert_allclose(
        octaves, octaves[0], rtol=0.02
    )  # a sum of 1/f differs from ln 2 by 1 / (2 · 600)


# What is written


def test_an_experiment_holds_only_metamers_that_passed(given, tmp_path):
    made, counts = built(given, tmp_path / "out")
    shown = {file for source in made["sources"] for file in source["files"] if file}
    passed = [given["folders"]["toy"] / f"metamer/{layer}/s{i}.png" for i in range(6) for layer in LAYERS]
    passed.remove(given["folders"]["toy"] / "metamer/late/s0.png")
    natural = [given["folders"]["toy"] / f"original/s{i}.png" for i in range(6)]
    kept = sorted((tmp_path / "out" / file).read_bytes() for file in shown)
    assert kept == sorted(path.read_bytes() for path in passed + natural)
    named = {f for part in ("practice", "demo", "catch") for t in made[part] for f in [t["file"]] if f}
    on_disk = {f"stimuli/{file.name}" for file in (tmp_path / "out/stimuli").iterdir()}
    assert on_disk == shown | named | set(made["icons"].values())
    assert made["mode"] == "icons"
    assert counts.to_dict("list") == {
        "model": ["toy", "toy", "toy"], "layer": ["natural", *LAYERS], "n_stimuli": [6, 6, 6],
        "n_shown": [6, 6, 5], "n_dealt": [2, 2, 2],
    }  # fmt: skip


def test_practice_and_demonstration_show_no_stimulus_of_the_main_part(given, tmp_path):
    given["answers"] = answers_for(tmp_path, "png", CATEGORIES, more=24)
    made, _ = built(given | {"n_practice": 4, "n_demo": 8}, tmp_path / "out")
    main = {source["stimulus"] for source in made["sources"]}
    others = [trial["stimulus"] for part in ("practice", "demo") for trial in made[part]]
    assert len(set(others)) == len(others) == 12
    assert not main & set(others)
    for part, n in (("practice", 1), ("demo", 2)):  # spread over the answers
        counts = collections.Counter(trial["answer"] for trial in made[part])
        assert counts == dict.fromkeys(CATEGORIES, n)


def test_a_layer_of_which_nothing_passed_is_no_condition(given, tmp_path):
    folder_of(given["folders"]["toy"], "vision", failing=[("late", i) for i in range(6)])
    made, _ = built(given, tmp_path / "out")
    assert [c["layer"] for c in made["conditions"]] == ["natural", "early"]


def test_conditions_are_in_the_order_of_the_gate_whichever_stimulus_failed(given, tmp_path):
    folder_of(given["folders"]["toy"], "vision", failing=[("early", 0), ("early", 1)])
    made, _ = built(given, tmp_path / "out")
    assert [c["layer"] for c in made["conditions"]] == ["natural", *LAYERS]


def test_several_models_share_the_natural_condition(given, tmp_path):
    given["folders"]["other"] = folder_of(tmp_path / "more", "vision", seed=5)
    made, _ = built(given, tmp_path / "out")
    assert [(c["model"], c["layer"]) for c in made["conditions"]] == [
        ("", "natural"), *[(model, layer) for model in ("toy", "other") for layer in LAYERS],
    ]  # fmt: skip


def test_labels_are_kept_of_models_that_know_the_choices(given, tmp_path):
    for choices, label in ((CATEGORIES, "dog"), (WORDS[:4], "")):
        answers = given["answers"].assign(answer=[choices[i % 4] for i in range(12)])
        made, _ = built(given | {"answers": answers}, tmp_path / (label or "none"))
        pairs = [
            pair for source in made["sources"] for pair in zip(source["files"], source["labels"], strict=True)
        ]
        assert {named for _, named in pairs} - {""} == {label} - {""}


def test_the_same_again_is_the_same_and_another_seed_is_not(given, tmp_path):
    contents = []
    for i, seed in enumerate((1, 1, 2)):
        built(given | {"seed": seed}, tmp_path / str(i))
        files = sorted(f for f in (tmp_path / str(i)).rglob("*") if f.is_file())
        contents.append({f.relative_to(tmp_path / str(i)): f.read_bytes() for f in files})
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_pages_forbid_every_address_but_their_own(given, tmp_path):
    built(given, tmp_path / "a")
    page = (tmp_path / "a/index.html").read_text()
    assert "default-src 'none'; script-src 'self'" in page
    assert "connect-src 'none'" in page
    built(given | {"post_url": "https://lab.example.org:8443/results?x=1"}, tmp_path / "b")
    assert "connect-src https://lab.example.org:8443;" in (tmp_path / "b/index.html").read_text()
    for file in (tmp_path / "a").glob("*.*"):
        found = re.findall(r"https?://[^\s\"'`]+", file.read_text())
        assert found == [], file.name


def test_texts_cannot_become_markup(given, tmp_path):
    built(given | {"title": "</script><script>alert(1)</script>"}, tmp_path / "out")
    page = (tmp_path / "out/index.html").read_text()
    assert "<script>alert" not in page
    assert page.count("</script>") == 4
    block = re.search(r'id="design">(.*?)</script>', page, re.S)[1]
    assert json.loads(block) == json.loads((tmp_path / "out/trials.json").read_text())


def test_sounds_are_brought_to_one_level(tmp_path):
    rng = np.random.default_rng(0)
    for name, gain in (("loud", 0.3), ("soft", 1e-3)):
        soundfile.write(tmp_path / f"{name}.wav", rng.normal(0, gain, 4000), 8000, subtype="FLOAT")
        content, shape = material.sound(tmp_path / f"{name}.wav", rms=0.05)
        (tmp_path / "made.wav").write_bytes(content)
        made, rate = soundfile.read(tmp_path / "made.wav")
        assert shape == (4000, rate)
        # Rounding to 16 bits adds noise of 1/3 of a step of 2⁻¹⁵, 74 dB below.
        assert np.sqrt((made**2).mean()) == pytest.approx(0.05, rel=1e-3)
    click = np.zeros(4000)
    click[0] = 0.5
    soundfile.write(tmp_path / "click.wav", click, 8000, subtype="FLOAT")
    (tmp_path / "made.wav").write_bytes(material.sound(tmp_path / "click.wav", rms=0.05)[0])
    assert np.abs(soundfile.read(tmp_path / "made.wav")[0]).max() == pytest.approx(0.99, abs=2**-15)


def test_practice_stimuli_are_cropped_resized_and_cut_like_the_others(tmp_path):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 16:44] = 255  # the crop, and what its edges are interpolated from
    Image.fromarray(wide).save(tmp_path / "wide.png")
    content, shape = material.picture(tmp_path / "wide.png", size=(10, 10))
    (tmp_path / "made.png").write_bytes(content)
    assert shape == (10, 10)
    assert np.asarray(Image.open(tmp_path / "made.png")).min() == 255  # the middle, which is white
    soundfile.write(tmp_path / "long.wav", np.sin(np.arange(16000)), 16000)
    assert material.sound(tmp_path / "long.wav", rms=0.1, shape=(3000, 8000))[1] == (3000, 8000)


# Bad input


def changed_gate(given, **columns):
    path = given["folders"]["toy"] / "gate.csv"
    table = pd.read_csv(path, dtype=str)
    for name, value in columns.items():
        table.loc[0, name] = value
    table.to_csv(path, index=False)


def no_gate(given):
    (given["folders"]["toy"] / "gate.csv").unlink()


def none_passed(given):
    changed_gate(given)
    path = given["folders"]["toy"] / "gate.csv"
    path.write_text(path.read_text().replace("True", "False"))


def lost_file(given):
    (given["folders"]["toy"] / "metamer/early/s3.png").unlink()


def another_size(given):
    Image.new("RGB", (8, 8)).save(given["folders"]["toy"] / "metamer/early/s3.png")


def a_sound(given):
    changed_gate(given, file="metamer/early/s0.wav")
    stimulus_at(given["folders"]["toy"] / "metamer/early/s0.wav", np.random.default_rng(0))


FAULTS = {
    "no gate.csv": (no_gate, FileNotFoundError, "has no gate.csv"),
    "none passed": (none_passed, ValueError, "no metamer of toy passed its gate"),
    "lost": (lost_file, FileNotFoundError, r"s3\.png"),
    "unclear verdict": (lambda g: changed_gate(g, passed="yes"), ValueError, "passed is True or False, not 'yes'"),
    "outside": (lambda g: changed_gate(g, file="../../x.png"), ValueError, "outside its folder"),
    "twice": (lambda g: changed_gate(g, layer="late"), ValueError, "metamers twice: late of s0"),
    "size": (another_size, ValueError, r"s3\.png \(8, 8\)"),
    "mixed": (a_sound, ValueError, "PNG or plays WAV"),
    "no folder": (lambda g: g.update(folders={}), ValueError, "no folders of metamers"),
    "category": (lambda g: g.update(choices=["dog", "cat", "car"]), ValueError, "not among the choices: clock"),
    "one choice": (lambda g: g.update(choices=["dog"]), ValueError, "two choices or more"),
    "case": (lambda g: g.update(choices=[*CATEGORIES, "Dog"]), ValueError, "upper and lower case"),
    "no answer": (lambda g: g.update(answers=g["answers"].drop(index=2)), ValueError, "no answer: s2"),
    "answer twice": (
        lambda g: g.update(answers=pd.concat([g["answers"], g["answers"].head(1)])), ValueError, "twice: s0",
    ),
    "column": (lambda g: g.update(answers=g["answers"].drop(columns="answer")), ValueError, "lacks the column answer"),
    "too few": (lambda g: g.update(n_practice=9), ValueError, "need 12 natural stimuli .* has 6 more"),
    "setting": (lambda g: g.update(n_trial=9), ValueError, "did you mean n_trials"),
    "type": (lambda g: g.update(n_trials="9"), ValueError, "n_trials is '9'"),
    "negative": (lambda g: g.update(n_catch=-1), ValueError, "cannot be negative"),
    "gate": (lambda g: g.update(n_demo_correct=4), ValueError, "more correct answers"),
    "http": (lambda g: g.update(post_url="http://a.org/"), ValueError, "no address that starts with https"),
    "policy": (lambda g: g.update(post_url="https://a.org; script-src *"), ValueError, "no address"),
    "name": (lambda g: g.update(name="a b"), ValueError, "name 'a b'"),
    "no consent": (lambda g: g["consent"].unlink(), FileNotFoundError, "template with blanks"),
    "blank": (lambda g: g["consent"].write_text("We are [names]."), ValueError, r"not filled in: \[names\]"),
    "empty": (lambda g: g["consent"].write_text(" \n"), ValueError, "is empty"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_is_named_and_nothing_is_written(given, tmp_path, fault):
    spoil, error, said = FAULTS[fault]
    given["folders"] = dict(given["folders"])
    spoil(given)
    with pytest.raises(error, match=said):
        export.build(destination=tmp_path / "there/out", **given)
    assert not (tmp_path / "there").exists() or list((tmp_path / "there").iterdir()) == []


def test_template_of_consent_is_refused_until_filled_in(given, tmp_path):
    given["consent"] = export.Path(export.__file__).with_name("consent.txt")
    with pytest.raises(ValueError, match="not filled in"):
        export.build(destination=tmp_path / "out", **given)


def test_only_an_experiment_gives_way_and_only_when_told(given, tmp_path):
    path = tmp_path / "out"
    (path / "left").mkdir(parents=True)  # folders without files are no obstacle
    built(given, path)
    before = (path / "trials.json").read_bytes()
    with pytest.raises(FileExistsError, match="not empty"):
        built(given | {"seed": 2}, path)
    assert (path / "trials.json").read_bytes() == before
    built(given | {"seed": 2, "replace": True}, path)
    assert (path / "trials.json").read_bytes() != before
    (path / "trials.json").unlink()
    with pytest.raises(FileExistsError, match="no experiment"):
        built(given | {"replace": True}, path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError, match="is a file"):
        built(given, tmp_path / "file")


def test_settings_are_those_published():
    made = procedure.settings("vision", {})
    assert [made[f"{step}_ms"] for step in ("fixation", "image", "mask")] == [300, 300, 300]
    assert [made[n] for n in ("n_trials", "n_practice", "n_demo", "n_demo_correct", "n_catch")] == [
        400,
        16,
        12,
        7,
        16,
    ]
    assert procedure.settings("audio", {})["n_demo_correct"] == 5
    assert len(material.icons()) == 16


def test_other_categories_have_buttons_and_many_words_are_typed(given, tmp_path):
    for n, mode in ((16, "buttons"), (17, "typed")):
        choices = [*CATEGORIES, *WORDS][:n]
        made, _ = built(given | {"choices": choices}, tmp_path / mode)
        assert made["mode"] == mode
        assert {trial["kind"] for trial in made["catch"]} == {"word", "question"}


# In a browser


@pytest.fixture(scope="module")
def chromium():
    sync = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    with sync.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield made
        made.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A small experiment with pictures and the sixteen categories."""
    path = tmp_path_factory.mktemp("pictures")
    folder = folder_of(path / "metamers", "vision")
    answers = answers_for(path, "png", CATEGORIES)
    (path / "consent.txt").write_text("# About\n\nA <b>test</b>.\n\n- one\n- two", encoding="utf-8")
    given = {"folders": {"toy": folder}, "answers": answers, "consent": path / "consent.txt"}
    export.build(destination=path / "out", choices=list(material.icons()), **given, **QUICK["vision"])
    return path / "out"


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """A small experiment with sounds and more words than there is room for buttons."""
    path = tmp_path_factory.mktemp("sounds")
    folder = folder_of(path / "metamers", "audio", n=3)
    answers = answers_for(path, "wav", WORDS, n=3)
    (path / "consent.txt").write_text("A test.", encoding="utf-8")
    given = {"folders": {"toy": folder}, "answers": answers, "consent": path / "consent.txt"}
    with pytest.MonkeyPatch.context() as shorter:
        shorter.setattr(headphones, "TONE_S", 0.25)
        shorter.setattr(headphones, "SILENCE_S", 0.1)
        export.build(destination=path / "out", choices=list(WORDS), name="words", **given, **QUICK["audio"])
    return path / "out"


# Keeps the trial and the kind of every page that is shown.
WATCH = """document.addEventListener("DOMContentLoaded", () => {
  const main = document.querySelector("main");
  window.pages = [];
  new MutationObserver(() => window.pages.push(`${main.dataset.trial} ${main.dataset.page}`)).observe(
    main, { attributes: true, attributeFilter: ["data-page"] });
});"""


class Visit:
    """One participant before the browser, and what the page asks for."""

    def __init__(self, chromium, folder, participant="p1", query=None):
        self.design = json.loads((folder / "trials.json").read_text())
        self.participant, self.asked, self.errors = participant, [], []
        self.plan = assignment.trials(self.design, participant)
        context = chromium.new_context(offline=True, viewport={"width": 1024, "height": 768}, has_touch=True)
        context.set_default_timeout(10_000)
        self.page = context.new_page()
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.add_init_script(WATCH)
        query = f"?participant={participant}" if query is None else query
        self.page.goto((folder / "index.html").as_uri() + query)

    def stored(self):
        """What the browser keeps of this participant."""
        key = f"{self.design['experiment']}/{self.participant}"
        return json.loads(self.page.evaluate("key => localStorage.getItem(key)", key) or "{}")

    def choose(self, value):
        """Press a button of a page of text."""
        self.page.click(f".card button[data-value={value}]")

    def answer(self, trial, *, right=True):
        """Answer a trial once it asks."""
        place = f"main[data-trial='{self.plan.index(trial) + 1}'] .stage"
        self.page.wait_for_selector(f"{place} .grid, {place} input")
        options = ["1", "2", "3"] if trial["phase"] == "check" else self.design["choices"]
        said = trial["answer"] if right else next(c for c in options if c != trial["answer"])
        if self.page.query_selector(f"{place} input"):
            self.page.keyboard.type(said)
            self.page.keyboard.press("Enter")
        else:
            self.page.tap(f"{place} button[data-choice='{said}']")

    def through(self, phases, right=lambda trial: True):  # noqa: ARG005
        """Answer all trials of phases."""
        for trial in self.plan:
            if trial["phase"] in phases:
                if self.page.get_attribute("main", "data-page") == "rest":
                    self.choose("begin")
                self.answer(trial, right=right(trial))
                n = self.plan.index(trial) + 1
                self.page.wait_for_selector(f"main[data-trial='{n + 1}'] .stage, main .card")

    def saved(self, path):
        """The results that the browser saves, at the end."""
        with self.page.expect_download() as download:
            self.page.click("button[data-value=save]")
        download.value.save_as(path / download.value.suggested_filename)
        return path / download.value.suggested_filename


@pytest.fixture
def visit(chromium):
    """Open an experiment; in the end, nothing went wrong in the page and nothing left it."""
    made = []

    def opened(*args, **options):
        made.append(Visit(chromium, *args, **options))
        return made[-1]

    yield opened
    for one in made:
        one.page.context.close()
        assert one.errors == []
        assert [url for url in one.asked if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.parametrize("kind", ["pictures", "sounds"])
def test_the_browser_draws_the_same_trials(visit, request, kind):
    here = visit(request.getfixturevalue(kind))
    large = made_up(317, 13, {(i, 3) for i in range(50)})
    for participant in ("p1", "A-b_9", "00000000"):
        for known in (here.design, large):
            asked = "([design, name]) => assignment.trials(design, name)"
            assert here.page.evaluate(asked, [known, participant]) == assignment.trials(known, participant)
    # Of numbers below 3·10⁹, three tenths of what the generator gives are thrown away.
    asked = """() => {
      const rng = assignment.stream("é");
      return Array.from({ length: 99 }, () => assignment.below(3000000000, rng));
    }"""
    rng = assignment.stream("é")
    assert here.page.evaluate(asked) == [assignment.below(3_000_000_000, rng=rng) for _ in range(99)]


def test_pictures_from_consent_to_results_with_a_reload(visit, pictures, tmp_path):
    here = visit(pictures)
    assert "A <b>test</b>." in here.page.inner_text(".card")
    assert here.page.locator(".card li").count() == 2
    here.choose("agree")
    here.choose("begin")
    here.through(["practice"])
    here.choose("begin")
    here.through(["demo"])
    here.choose("begin")
    main = [trial for trial in here.plan if trial["phase"] in ("main", "catch")]

    def right(trial):
        return trial["phase"] != "main" or trial["layer"] != "early"

    for trial in main[:3]:
        here.answer(trial, right=right(trial))
    here.page.wait_for_selector("main[data-trial='9'] .grid")
    sizes = here.page.evaluate("() => [document.body.scrollWidth, document.body.scrollHeight]")
    assert sizes <= [1024, 768]  # all icons are seen without scrolling
    here.page.reload()
    assert "Welcome back" in here.page.inner_text(".card")
    here.choose("begin")
    for i, trial in enumerate(main[3:], 3):
        if i == 5:
            here.page.wait_for_selector("main[data-page=rest]")
            here.choose("begin")
        here.answer(trial, right=right(trial))
    here.page.wait_for_selector("main[data-page=end]")
    table = responses.read([here.saved(tmp_path)])
    assert table["trial"].tolist() == list(range(1, len(here.plan) + 1))
    for column in ("phase", "stimulus", "model", "layer", "answer"):
        assert table[column].tolist() == [trial[column] for trial in here.plan]
    assert (table["experiment"] == here.design["experiment"]).all()
    means = responses.by_condition(table, layers={"toy": LAYERS}, gates={"vision": {"demo": 2}})
    people = means[means["observer"] == "human"].set_index("layer")["proportion_correct"]
    assert people.to_dict() == {"natural": 1, "early": 0, "late": 1}
    rows = here.stored()["rows"]
    assert [row["views"] for row in rows] == [1] * 8 + [2] + [1] * (len(rows) - 9)
    shown = [row["shown_ms"] for row in rows if row["stimulus"] != "attention_1"]
    # A picture stays for the whole frames nearest to its time, or longer on a busy machine.
    shown = np.array(shown, float)
    assert shown.min() >= 34 - 1000 / 60 / 2 - 1
    assert shown[0] >= 100 - 1000 / 60 / 2 - 1  # the first of practice is slower
    assert np.median(shown[1:]) < 90
    here.page.reload()
    assert "Finished" in here.page.inner_text(".card")


def test_sounds_from_consent_to_results(visit, sounds, tmp_path):
    here = visit(sounds)
    for value in ("agree", "begin", "begin"):
        here.choose(value)
    here.through(["check"])
    here.choose("begin")
    (practice,) = (trial for trial in here.plan if trial["phase"] == "practice")
    here.page.wait_for_selector(".stage input")
    here.page.keyboard.type("nothing like it")
    here.page.keyboard.press("Enter")
    assert "from the list" in here.page.inner_text("#hint")
    here.page.fill("#word", practice["answer"][:5])
    offered = here.page.locator("#words li").all_inner_texts()
    assert all(practice["answer"][:5] in word for word in offered)
    for _ in range(1 + offered.index(practice["answer"])):
        here.page.keyboard.press("ArrowDown")
    assert (
        here.page.get_attribute("#word", "aria-activedescendant")
        == f"word-{offered.index(practice['answer'])}"
    )
    here.page.keyboard.press("Enter")
    here.page.wait_for_selector("main[data-page=demo]")
    here.page.keyboard.press("Enter")
    here.through(["demo"])
    here.choose("begin")
    here.through(["main", "catch"])
    here.page.wait_for_selector("main[data-page=end]")
    table = responses.read([here.saved(tmp_path)])
    assert table["correct"].all()
    assert table["phase"].value_counts().to_dict() == {
        "check": 1,
        "practice": 1,
        "demo": 3,
        "main": 3,
        "catch": 2,
    }
    assert (table["n_choices"] == table["phase"].map(lambda phase: 3 if phase == "check" else 20)).all()
    heard = [float(row["shown_ms"]) for row in here.stored()["rows"] if row["phase"] == "main"]
    assert min(heard) > 50  # sounds of 100 ms were played to their end; the players' clocks are coarse


def test_who_fails_the_demonstration_is_thanked_and_sees_no_more(visit, pictures, tmp_path):
    here = visit(pictures, "p2")
    here.choose("agree")
    here.choose("begin")
    here.through(["practice"])
    here.choose("begin")
    correct = iter([True, False, False])
    here.through(["demo"], right=lambda _: next(correct))
    here.page.wait_for_selector("main[data-page=end]")
    told = [page for page in here.page.evaluate("() => window.pages") if page.endswith("feedback")]
    assert told == ["1 feedback", "2 feedback"]  # in practice, and not after it
    assert "Thank you" in here.page.inner_text(".card")
    table = responses.read([here.saved(tmp_path)])
    assert set(table["phase"]) == {"practice", "demo"}
    assert "demo: 1 of 3" in responses.exclusions(table, gates={"vision": {"demo": 2}})["reason"][0]
    here.page.reload()
    assert "Thank you" in here.page.inner_text(".card")


def test_who_fails_the_headphone_check_hears_no_more(visit, sounds):
    here = visit(sounds, "p2")
    for value in ("agree", "begin", "begin"):
        here.choose(value)
    here.through(["check"], right=lambda _: False)
    here.page.wait_for_selector("main[data-page=end]")
    assert "headphones" in here.page.inner_text(".card")
    assert len(here.stored()["rows"]) == 1


def test_of_who_declines_nothing_is_kept(visit, pictures):
    here = visit(pictures, "p3")
    here.choose("decline")
    assert "nothing is kept" in here.page.inner_text(".card")
    assert here.page.evaluate("() => localStorage.length") == 0
    assert here.page.locator("button").count() == 0


def test_a_strange_participant_is_refused_and_none_gets_a_random_name(visit, pictures):
    assert "not complete" in visit(pictures, query="?participant=%3Cb%3E").page.inner_text(".card")
    here = visit(pictures, query="")
    here.choose("agree")
    here.page.wait_for_selector("main[data-page=practice]")
    name = here.page.evaluate("key => localStorage.getItem(key)", here.design["experiment"])
    assert re.fullmatch(r"[0-9a-f]{16}", name)
    here.page.reload()
    assert "Welcome back" in here.page.inner_text(".card")


def test_answers_can_be_given_by_keys_alone(visit, pictures):
    here = visit(pictures, "p4")
    here.page.keyboard.press("Tab")
    here.page.keyboard.press("Enter")
    here.page.wait_for_selector("main[data-page=practice]")
    here.page.keyboard.press("Enter")
    here.page.wait_for_selector(".grid")
    for key in ("ArrowDown", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowRight"):
        here.page.keyboard.press(key)
    here.page.keyboard.press("Enter")
    here.page.wait_for_selector("main[data-trial='2'] .grid")
    assert here.stored()["rows"][0]["response"] == sorted(material.icons())[5]


def test_results_are_posted_where_the_experimenter_says_and_nowhere_else(chromium, given, tmp_path):
    few = {"n_practice": 0, "n_demo": 0, "n_demo_correct": 0, "n_catch": 0, "n_attention": 0, "n_trials": 1}
    url = "http://127.0.0.1:9/results"
    export.build(destination=tmp_path / "out", **(given | few | {"post_url": url, "completion": "C0DE"}))
    here = Visit(chromium, tmp_path / "out", query="?participant=p1")
    bodies, replies = [], [503, 200]

    def server(route):
        bodies.append(route.request.post_data)
        route.fulfill(status=replies[len(bodies) - 1], headers={"Access-Control-Allow-Origin": "*"})

    here.page.context.set_offline(False)
    here.page.context.route(url, server)
    here.choose("agree")
    here.choose("begin")
    here.answer(here.plan[0])
    here.page.wait_for_selector("button[data-value=send]")
    assert "could not be sent" in here.page.inner_text(".card")
    here.choose("send")
    here.page.wait_for_selector("text=have been sent")
    assert "C0DE" in here.page.inner_text(".card")
    assert bodies[0] == bodies[1]
    assert bodies[1].splitlines()[0].split(",") == responses.COLUMNS + responses.OPTIONAL
    elsewhere = "() => fetch('http://127.0.0.1:8/').then(() => 'let through', () => 'refused')"
    assert here.page.evaluate(elsewhere) == "refused"
    left = [address for address in here.asked if not address.startswith(("file:", "data:", "blob:"))]
    assert set(left) == {url}
    here.page.context.close()
    assert here.errors == []


def test_labels_with_commas_and_quotes_come_back_from_the_csv(visit, given, tmp_path):
    few = {"n_practice": 0, "n_demo": 0, "n_demo_correct": 0, "n_catch": 0, "n_attention": 0, "n_trials": 1}
    odd = ['a "b", c', "=1+1", "<i>d</i>", "é"]
    answers = given["answers"].assign(answer=odd[:1] * 12)
    export.build(destination=tmp_path / "out", **(given | few | {"answers": answers, "choices": odd}))
    here = visit(tmp_path / "out")
    here.choose("agree")
    here.choose("begin")
    here.page.wait_for_selector(".grid")
    assert here.page.locator(".grid button").all_inner_texts() == odd
    here.page.locator(".grid button").first.click()
    here.page.wait_for_selector("main[data-page=end]")
    assert responses.read([here.saved(tmp_path)])["response"].tolist() == odd[:1]
