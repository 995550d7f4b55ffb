"""Whatever is asked for, a parameter, a layer, an address or a run: it is done, or refused in our words."""

import contextlib
import io
import json
import re
import string

import mutations
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from test_fuzzed_tables import MODEL, TEXT, any_json, home, written
from torch import nn

import run_all
from lib import addresses, artefacts, download, naming, plugins, provenance, selector, sources
from lib.experiment import design, export, procedure

__all__ = ["home"]  # a fixture
# Of slower tests there are fewer examples.
FEW = settings(max_examples=max(10, settings.default.max_examples // 5))
PLAIN = [value for value in mutations.ODD if not isinstance(value, np.ndarray)]


DEFAULTS = {"a": "", "b": 1, "c": 1.5, "d": True, "e": None, "f": {}, "g": [1], "h": ("x",)}
LITERALS = [
    *(
        "1",
        "-1",
        "1.0",
        "1e5",
        "1e999",
        "nan",
        "007",
        "True",
        "None",
        "''",
        '"a"',
        "'",
        "[1]",
        "(1,)",
        "{}",
        "{1: 2}",
    ),
    *(
        "{[]: 1}",
        "1j",
        "b'x'",
        "...",
        "f'x'",
        "-" * 5000 + "1",
        "(" * 500,
        "9" * 400,
        "9" * 5000,
        "a b",
        "=",
        "\n",
        "ü",
    ),
]


@given(st.dictionaries(st.sampled_from([*DEFAULTS]), st.sampled_from(LITERALS) | st.text(max_size=20)))
def test_parameters_set_by_hand(home, texts):
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}}
    source = "\n".join(f"{name} = {value!r}" for name, value in DEFAULTS.items())
    path = written(home, "05_set.ipynb", json.dumps({"cells": [cell | {"source": source}]}).encode())
    found = mutations.outcome(lambda: sources.overrides(path, texts), "05_set.ipynb", dict)
    for name, value in found.items() if isinstance(found, dict) else ():
        assert DEFAULTS[name] is None or type(value) is type(DEFAULTS[name])


@pytest.mark.parametrize(
    ("text", "value"),
    [("007", "007"), ("None", "None"), ("'1'", "1"), ("[1]", "[1]"), ("a", "a"), ("1e5", "1e5")],
)
def test_texts_are_taken_as_they_stand(text, value, tmp_path):
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "layers = ''"}
    path = written(tmp_path, "05_x.ipynb", json.dumps({"cells": [cell]}).encode())
    assert sources.overrides(path, {"layers": text}) == {"layers": value}


def test_a_number_too_large_is_of_the_wrong_type(tmp_path):
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "share = 0.5"}
    path = written(tmp_path, "05_x.ipynb", json.dumps({"cells": [cell]}).encode())
    with pytest.raises(ValueError, match="is of type float"):
        sources.overrides(path, {"share": "9" * 400})


MEMBERS = {
    "ROI_V1": np.array([True, False, True]),
    "ROI_V2": np.array([False, True, True]),
    "a b": np.zeros(3, bool),
}


def members(pattern):
    parts = ".*".join(map(re.escape, pattern.split("*")))
    rows = [mask for key, mask in MEMBERS.items() if re.fullmatch(parts, key)]
    if not rows:
        raise ValueError(f"selector: unknown key {pattern!r}")
    return np.any(rows, axis=0)


SELECTORS = st.lists(
    st.sampled_from(
        [*"()|&-+=*", "ROI_V1", "ROI_V2", "'a b'", '"a b"', "1", "0", " ", "'", "9" * 5000, "²", "٣"]
    )
).map(" ".join)


@given(SELECTORS | st.text(max_size=30))
def test_selectors(expression):
    found = mutations.outcome(lambda: selector.mask(expression, members), "selector", np.ndarray)
    assert isinstance(found, str) or found.shape == (3,)


@pytest.mark.parametrize("depth", [99, 101, 100000])
def test_selectors_are_nested_only_so_deep(depth):
    expression = "(" * depth + "ROI_V1" + ")" * depth
    found = mutations.outcome(lambda: selector.mask(expression, members), "selector", np.ndarray)
    assert isinstance(found, str) == (depth > selector.DEEPEST)


NETWORK = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 2))
PATTERNS = st.lists(st.sampled_from([*"*?[].-!^01", "**", " ", ",", "every-block", "0.1"])).map("".join)


@given(PATTERNS | st.text(max_size=12) | st.lists(st.text(max_size=4), max_size=3))
def test_patterns_of_layers(wanted):
    found = mutations.outcome(lambda: naming.expand(NETWORK, wanted, np_input()), "layer", tuple)
    assert found


def np_input():
    return NETWORK[1].weight.new_zeros(1, 2)


@given(st.text("ab.*?[]-", max_size=8), st.text("ab.-", max_size=8))
def test_patterns_fit_as_regular_expressions_do(pattern, name):
    if re.search(r"\[[^\]]*[-\[][^\]]*\]|\[\]", pattern):
        reject()  # ranges and brackets within brackets mean something else there
    pieces = re.split(r"(\*\*|\*|\?|\[[^\]]*\])", pattern)
    signs = {"**": ".*", "*": r"[^.]*", "?": r"[^.]"}
    text = "".join(
        signs.get(p) or (p if p.startswith("[") and p.endswith("]") else re.escape(p)) for p in pieces
    )
    assert naming._matcher(pattern)(name) == (re.fullmatch(text, name) is not None)


def test_patterns_of_many_stars_take_no_time():
    name = ".".join(["a" * 20] * 5)
    assert not naming._matcher("**a" * 20 + "b")(name)
    assert naming._matcher("**a" * 20 + "**")(name)


PIECES = [
    *(
        "http://",
        "https://",
        "ftp://",
        "a.org",
        "/",
        "//",
        "..",
        "%2e%2e",
        "%2F",
        "%00",
        "%ff",
        "?",
        ":80",
        ":99999",
    ),
    *(":x", "@", "[", "]", "[::1]", "#", "\\", " ", "ü", "x.csv", "\ud800"),
]
URL = st.text(max_size=40) | st.lists(st.sampled_from(PIECES)).map("".join)
SIZES = [0, 3, -1, "3", "", "x", 1.5, None, np.nan, np.inf]


@given(URL)
def test_addresses(home, url):
    found = mutations.outcome(lambda: addresses.raw(url), "", type(home))
    if not isinstance(found, str):
        assert found.resolve().is_relative_to((home / "data" / "raw").resolve())
        assert not found.is_file()


@given(URL, st.sampled_from(["", "a" * 64, "A" * 64, "x", None, 5]), st.sampled_from(SIZES))
@pytest.mark.usefixtures("home")
def test_rows_of_downloads(url, sha256, size):
    mutations.outcome(lambda: download._rows([(url, sha256, size)]), "", list)


@given(st.text(max_size=20) | st.lists(st.sampled_from(["..", ".", "a", "", "\\", "\0"])).map("/".join))
@pytest.mark.usefixtures("home")
def test_placed_files(path):
    found = mutations.outcome(lambda: download.placed([path], "Ask"), "", dict)
    assert isinstance(found, str)


# ---- experiments


@given(mutations.changed(b"# Consent\n\nWe ask you to listen.\n\n- a\n- b\n"))
def test_texts_of_consent(home, content):
    path = written(home, "consent.txt", content)
    mutations.outcome(lambda: export._consent(path), str(path), str)


@given(
    st.sampled_from(["audio", "vision"]),
    st.dictionaries(
        st.sampled_from([*procedure.SETTINGS["audio"], *procedure.SETTINGS["vision"], "other"]),
        st.sampled_from(
            [
                *(v for v in mutations.ODD if not isinstance(v, np.ndarray)),
                5,
                0.5,
                "https://a.org/x",
                "http://a",
            ]
        ),
        max_size=3,
    ),
)
def test_settings_of_experiments(modality, changed):
    found = mutations.outcome(lambda: procedure.settings(modality, changed), "", dict)
    if isinstance(found, dict):
        numbers = [value for value in found.values() if not isinstance(value, str)]
        assert all(0 <= value < procedure.MOST for value in numbers)


@given(
    st.lists(st.tuples(TEXT | st.none() | st.integers(), TEXT | st.none() | st.floats()), max_size=4),
    st.none() | st.lists(TEXT | st.none() | st.integers(), max_size=3),
)
def test_answers_of_experiments(pairs, choices):
    table = pd.DataFrame(pairs, columns=["stimulus", "answer"], dtype=object)
    mutations.outcome(lambda: design._right(table, ["1", "01"]), "", dict)
    right = {"a": "x"}
    mutations.outcome(lambda: design._require_choices(right, choices or []), "", type(None))


# ---- the command line


@pytest.fixture(scope="module")
def planned(home):
    """The runner over the small registry, without what takes long: the scan of the code, and the forecast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "scan", lambda _more=(): {})
        patch.setattr(run_all, "forecast", lambda *_: "")
        yield home


def said(*arguments):
    """Exit status of a dry run, and what it says."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict", write_through=True)
    errors = io.TextIOWrapper(stream.buffer, encoding="utf-8", errors="backslashreplace", write_through=True)
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(errors):
        try:
            status = run_all.main([*arguments, "--dry-run"])
        except SystemExit as error:
            status = error.code
    return status, stream.buffer.getvalue().decode()


PARAMETERS = ["seed", "layers", "sets", "variance", "n", "model", "beside", ""]
MODELS = [
    *("m1", "m1.permuted", "m1.random", "m3", "all", "~nobody/x.py", "x.py", "/", "m1.py", ".py", "\udcff"),
    *("a\0.py", "x" * 300 + ".py", "../m1", "M1", "m1.permuted.py", "m1.py.permuted", "."),
]
OPTION = st.sampled_from(["--model", "--target", "--set", "--jobs"])
ARGUMENTS = st.lists(
    st.one_of(
        st.sampled_from(
            [["extract"], ["download"], ["figures"], ["--list"], ["x"], [""], ["--jobs", "0"], ["-1"]]
        ),
        st.tuples(OPTION, st.text(max_size=12)).map(list),
        st.tuples(st.sampled_from(PARAMETERS), st.sampled_from(LITERALS)).map(
            lambda p: ["--set", "=".join(p)]
        ),
        st.sampled_from(MODELS).map(lambda name: ["--model", name]),
        st.sampled_from(["t", "all", "T", "t ", "../t", ""]).map(lambda name: ["--target", name]),
    ),
    max_size=4,
).map(lambda parts: [text for part in parts for text in part])


@pytest.mark.usefixtures("planned")
@FEW
@given(ARGUMENTS)
def test_command_lines(arguments):
    status, text = said(*arguments)
    assert status in (0, 2), arguments
    assert text


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--set", "seed=1", "--set", "seed=2"], "more than once"),
        (["--verify", "0"], "--verify must be at least 1"),
        (["--verify", "-3"], "--verify must be at least 1"),
        (["--jobs", "0"], "--jobs must be at least 1"),
        (["extract", "--set", "variance=" + "9" * 400], "is of type float"),
        (["encode", "--set", "sets={[]: 1}"], "is of type dict"),
        (["--model", "~nobody123/x.py"], "there is no file"),
        (["--model", "m1.random"], "has no control 'random'"),
        (["--model", ""], "unknown model ''"),
        *(
            (["--scheduler", address], "is no address")
            for address in ("", " ", "host", "tcp://host", "h:x", "a b:1")
        ),
    ],
)
@pytest.mark.usefixtures("planned")
def test_requests_that_make_no_sense_are_refused_in_words(arguments, fault):
    status, text = said(*arguments)
    assert (status, fault in text) == (2, True), text


@pytest.mark.usefixtures("planned")
def test_a_model_that_would_share_a_folder_with_another_is_refused(tmp_path):
    path = written(tmp_path, "m1.py", MODEL.partition("VARIANTS")[0].encode())
    status, text = said("--model", str(path))
    assert (status, "another model is called 'm1'; rename" in text) == (2, True), text


@pytest.fixture(scope="module")
def made(planned):
    """Records of results of the small registry, all fresh but for the figures, by folder."""
    jobs = run_all.graph({kind: plugins.catalogue(kind) for kind in plugins.FOLDERS})
    jobs = {job: needs for job, needs in jobs.items() if job.swept}
    for job, needs in jobs.items():
        written(job.folder, "a.csv", b"x\n1\n")
        inputs = provenance.inputs((need.folder for need in needs), job.given)
        outputs = provenance.digests(job.folder, ["a.csv"])
        record = {
            "code": {},
            "parameters": dict(job.swept),
            "inputs": inputs,
            "outputs": outputs,
            "seconds": 1.0,
        }
        artefacts.save_json(record, job.folder / "run.json")
    status, text = said()
    lines = [line for line in text.splitlines() if line.startswith("fresh")]
    assert (status, len(lines)) == (0, len(jobs)), text
    assert planned in next(iter(jobs)).folder.parents
    return {job.folder: (job.folder / "run.json").read_bytes() for job in jobs}


@FEW
@given(st.data())
def test_a_damaged_record_ends_no_run_and_makes_its_result_stale(made, data):
    folder = data.draw(st.sampled_from(sorted(made)))
    before = artefacts.record(folder)
    (folder / "run.json").write_bytes(data.draw(any_json(json.loads(made[folder]))))
    try:
        status, text = said()
        assert status == 0, text
        now = artefacts.record(folder)
        if any(now.get(part) != before[part] for part in ("code", "parameters", "inputs", "outputs")):
            job = "_" + " ".join(folder.relative_to(artefacts.home() / "data").parts)
            lines = [line for line in text.splitlines() if f"{job} (" in line]
            assert lines, text
            assert all(line.startswith("stale") for line in lines), text
    finally:
        (folder / "run.json").write_bytes(made[folder])


def test_a_result_beside_a_model_that_is_gone_is_stale_and_ends_nothing(made):
    folder = next(folder for folder in made if folder.parts[-3] == "encode")
    found = json.loads(made[folder])
    artefacts.save_json(found | {"parameters": found["parameters"] | {"beside": "gone"}}, folder / "run.json")
    status, text = said("figures")
    (folder / "run.json").write_bytes(made[folder])
    assert status == 0, text
    assert "parameter beside gone → default" in text


@pytest.mark.usefixtures("planned")
@pytest.mark.parametrize("text", [string.printable, chr(0xDCFF), chr(0xD800), "日本"], ids=ascii)
def test_letters_of_every_kind_are_said(text):
    assert said("--target", text)[0] == 2
