"""The runner under stress, on a miniature compendium."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import psutil
import pytest
from miniature import begun, build, gone, lines, wait_for

import run_all
from lib import artefacts

MODELS, TARGETS = ("a", "b", "c"), ("noise", "sine")
DOWNLOADS = {f"download/{t}" for t in TARGETS}
EXTRACTS = {f"extract/{m}/{t}" for m in MODELS for t in TARGETS}
ENCODES = {f"encode/{m}/{t}" for m in MODELS for t in TARGETS}
ALL = DOWNLOADS | EXTRACTS | ENCODES | {"figures"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A compendium that has run once: 3 models × 2 targets, 4 steps."""
    made = build(tmp_path_factory.mktemp("finished"))
    made.said = made.run("--jobs", "2")
    return made


@pytest.fixture
def compendium(finished, tmp_path):
    """A copy of the finished one, to spoil."""
    return finished.copy(tmp_path)


@pytest.fixture(scope="module")
def reduced(finished, tmp_path_factory):
    """The finished one after model c and target noise were removed, run again: 6 jobs."""
    made = finished.copy(tmp_path_factory.mktemp("reduced"))
    for file in ("models/c.py", "datasets/noise.py", "datasets/noise.offset.csv"):
        (made.root / "lib" / file).unlink()
    made.said = made.run()
    return made


@pytest.fixture
def small(reduced, tmp_path):
    """A copy of the reduced one, to spoil where every job that is redone costs a kernel."""
    return reduced.copy(tmp_path)


@pytest.fixture
def empty(tmp_path):
    return build(tmp_path)


def saved(compendium, *result):
    """Record of a result."""
    return json.loads((compendium.folder(*result) / "run.json").read_text(encoding="utf-8"))


def rewritten(compendium, before):
    return {name for name, when in compendium.written().items() if before.get(name) != when}


def refusals(compendium, *requests):
    """What main says on standard error to requests that make no sense; each must exit with status 2."""
    code = """
import contextlib, io, json, sys
import run_all
said = []
for request in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as text:
        try:
            status = run_all.main(request)
        except SystemExit as error:
            status = error.code
    said.append((status, text.getvalue().splitlines()[-1]))
print(json.dumps(said))
"""
    command = [sys.executable, "-c", code, json.dumps(requests)]
    done = subprocess.run(
        command, cwd=compendium.root, env=compendium.environment(), check=True, capture_output=True, text=True
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert [status for status, _ in said] == [2] * len(requests), said
    return [text for _, text in said]


def test_first_run_makes_every_result(finished):
    assert set(finished.written()) == ALL
    assert set(lines(finished.said, "ran")) == ALL
    assert "15 ran, 0 fresh" in finished.said
    features = json.loads((finished.folder("extract", "c", "noise") / "features.json").read_text())
    assert features == [21.0, 24.0, 27.0, 30.0]  # weight 3 × (offset 7 + 0 … 3)
    drawn = (finished.folder("figures") / "lines.csv").read_text().splitlines()
    assert drawn == [f"{m} {t}" for m in MODELS for t in TARGETS]


def test_nothing_but_the_runner_speaks(finished):
    said = finished.said.replace("\r", "\n").splitlines()
    foreign = [s for s in said if s.strip() and not s.startswith(("ran ", "15 ")) and "job" not in s]
    assert foreign == []


def test_bar_names_the_job(finished):
    assert "/15 [" in finished.said
    assert "08_figures]" in finished.said


def test_record_says_what_made_the_result(finished):
    record = saved(finished, "encode", "a", "sine")
    assert record["parameters"] == {"model": "a", "target": "sine"}
    assert set(record["inputs"]) == {"data/download/sine", "data/extract/a/sine"}
    assert set(record["outputs"]) == {"scores.json", "predictions.bin"}
    assert record["seconds"] > 0
    assert {"versions", "device", "commit", "clean", "start"} <= set(record)
    assert record["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))


def test_plugin_counts_where_its_kind_is_loaded(finished):
    plugged = {
        step: {f for f in saved(finished, *step)["code"] if f.startswith(("lib/models/", "lib/datasets/"))}
        for step in [("download", "sine"), ("extract", "a", "sine"), ("encode", "a", "sine"), ("figures",)]
    }
    data = {"lib/datasets/sine.py", "lib/datasets/sine.offset.csv"}
    assert plugged["download", "sine"] == data | {"lib/datasets/__init__.py"}
    assert plugged["extract", "a", "sine"] == {"lib/models/a.py", "lib/models/__init__.py"}
    assert plugged["encode", "a", "sine"] == set()
    assert {f"lib/models/{m}.py" for m in MODELS} | data <= plugged["figures",]


def test_figures_read_every_encoding(finished):
    assert set(saved(finished, "figures")["inputs"]) == {f"data/{name}" for name in DOWNLOADS | ENCODES}


def test_second_run_is_fresh_and_quick(compendium):
    before = compendium.written()
    start = time.monotonic()
    imports = subprocess.run([sys.executable, "-c", "import run_all"], cwd=compendium.root, check=True)
    middle = time.monotonic()
    said = compendium.run()
    assert imports.returncode == 0
    assert "0 ran, 15 fresh" in said
    assert compendium.written() == before
    assert (time.monotonic() - middle) - (middle - start) < 5


def test_comments_docstrings_and_layout_do_not_count(compendium):
    compendium.edit("lib/ridge.py", "# why", "# why not")
    compendium.edit("lib/ridge.py", "Small fit.", "Fit, explained at length.")
    compendium.edit(
        "lib/ridge.py", "[slope * value for value in x]", "[\n        (slope * value)   for value in x\n    ]"
    )
    compendium.edit("notebooks/03_encode.ipynb", "# Small", "# Small, with more prose")
    assert "0 of 15 jobs to run" in compendium.run("--dry-run")


def test_code_edit_reruns_its_readers_only(small):
    small.edit("lib/ridge.py", "slope=2.0", "slope=4.0")
    before = small.written()
    said = small.run("--jobs", "2")
    assert rewritten(small, before) == {"encode/a/sine", "encode/b/sine", "figures"}
    assert "s by earlier runs" in said
    assert lines(said, "ran")["encode/a/sine"] == "lib/ridge.py changed"
    assert "data/encode/a/sine: scores.json changed" in lines(said, "ran")["figures"]
    assert json.loads((small.folder("encode", "a", "sine") / "scores.json").read_text())[0] == 2.0


def test_code_edit_makes_every_reader_stale(compendium):
    compendium.edit("lib/ridge.py", "slope=2.0", "slope=4.0")
    said = compendium.run("--dry-run")
    assert set(lines(said, "stale")) == ENCODES | {"figures"}
    assert set(lines(said, "fresh")) == DOWNLOADS | EXTRACTS


def test_added_model_runs_alone(small):
    before = small.written()
    small.model("d", weight="5.0")
    said = small.run("--jobs", "2")
    assert rewritten(small, before) == {"extract/d/sine", "encode/d/sine", "figures"}
    assert "data/encode/d/sine added" in said


def test_spoilt_result_is_redone_and_what_reads_it_stays_fresh(compendium):
    before = compendium.written()
    tampered, missing, unreadable = (
        compendium.folder("extract", m, "sine") / "features.json" for m in MODELS
    )
    good = {file: file.read_bytes() for file in (tampered, missing, unreadable)}
    tampered.write_bytes(good[tampered][:-3])
    missing.unlink()
    unreadable.with_name("run.json").write_text("{", encoding="utf-8")
    said = compendium.run()
    assert lines(said, "ran") == {
        "extract/a/sine": "output features.json changed",
        "extract/b/sine": "output features.json gone",
        "extract/c/sine": "its record is damaged",
    }
    assert rewritten(compendium, before) == {f"extract/{m}/sine" for m in MODELS}
    assert {file: file.read_bytes() for file in good} == good


def test_kill_keeps_what_finished_and_leaves_no_kernel(small):
    asked = ("extract", "--jobs", "2")
    before = small.written()
    process = small.start(*asked, "--set", "pause_s=60.0")
    marks = [begun(small, m) for m in ("a", "b")]
    process.kill()
    process.communicate()
    for _, pid in marks:
        wait_for(lambda p=pid: gone(p))
    kept = small.written()
    assert kept == {n: when for n, when in before.items() if n not in ("extract/a/sine", "extract/b/sine")}
    assert list(marks[0][0].glob(".*.part.*"))
    why = lines(small.run(*asked, "--dry-run"), "stale")
    assert why["extract/a/sine"] == why["extract/b/sine"] == "begun anew, not finished"
    # What was there before is asked for again, and comes back as it was.
    assert "0 ran, 3 fresh" in small.run(*asked)
    assert small.written() == before
    assert not list(small.home.rglob("*.part.*"))


def test_interrupt_ends_kernels(small):
    before = small.written()
    process = small.start("extract", "--model", "a", "--set", "pause_s=60.0")
    _, pid = begun(small, "a")
    process.send_signal(signal.SIGINT)
    try:
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in said
    assert gone(pid)
    assert small.written() == before


def test_an_interrupt_that_reaches_another_thread_ends_kernels_too(small):
    driver = (
        "import signal, sys, threading, run_all\n"
        "def strike():\n"
        "    sys.stdin.read()\n"
        "    signal.pthread_kill(threading.get_ident(), signal.SIGINT)\n"
        "threading.Thread(target=strike, daemon=True).start()\n"
        "sys.exit(run_all.main(sys.argv[1:]))\n"
    )
    process = small.start(driver, "extract", "--model", "a", "--set", "pause_s=60.0", file="-c")
    _, pid = begun(small, "a")
    try:
        said, _ = process.communicate(timeout=30)  # closes its input, which strikes
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted; what has finished is kept" in said
    assert gone(pid)


def test_failure_holds_back_only_what_reads_it(small):
    before = small.written()
    small.edit("lib/models/b.py", "return 2.0", 'raise ValueError("no weights\\nhere")')
    small.edit("lib/models/a.py", "return 1.0", "return 4.0")
    said = small.run(status=1)
    assert rewritten(small, before) == {"extract/a/sine", "encode/a/sine"}
    assert "encode/b/sine" in lines(said, "held back")
    assert "figures" in lines(said, "held back")
    summary = said[said.rindex("failed 02_extract b sine") :]
    assert "ValueError: no weights" in summary.splitlines()[0]
    executed = small.folder("extract", "b", "sine") / "run.failed.ipynb"
    assert str(executed) in summary
    assert "Traceback (most recent call last)" in executed.read_text(encoding="utf-8")
    # The last result is there, with the copy that made it, and as stale as before.
    assert "Traceback" not in executed.with_name("run.ipynb").read_text(encoding="utf-8")
    assert json.loads(executed.with_name("features.json").read_text()) == [1.0, 3.0, 5.0, 7.0]
    assert lines(small.run("--dry-run"), "stale")["extract/b/sine"] == "lib/models/b.py changed"


def test_plugin_that_is_not_python_is_named(compendium):
    compendium.edit("lib/models/b.py", "def weight():", "def weight(:")
    (said,) = refusals(compendium, [])
    assert "b.py" in said


def test_undeclared_parameter_is_refused(compendium):
    compendium.edit("notebooks/02_extract.ipynb", "scale = 1.0", "scales = 1.0")
    said = refusals(compendium, ["--set", "scale=2.0"])
    compendium.edit("notebooks/02_extract.ipynb", 'model = \\"a\\"', 'modle = \\"a\\"')
    said += refusals(compendium, [])
    assert "'scale'" in said[0]
    assert "did you mean scales" in said[0]
    assert "parameter of 02_extract 'model'; did you mean modle" in said[1]
    assert set(compendium.written()) == ALL


def test_requests_that_make_no_sense_are_refused(compendium):
    compendium.model("seen", modality="vision", controls='("permuted",)')
    said = refusals(
        compendium,
        ["--model", "sene"],
        ["--model", "seen.permutd"],
        ["--target", "noize"],
        ["extrat"],
        ["--model", "a", "--target", "real"],
        ["--model", "seen"],
        ["--set", "model=b"],
        ["--set", "pause_s=long"],
        ["--set", "n_values=2.5"],
        ["download", "--set", "scale=2.0"],
        ["--jobs", "0"],
    )
    for text, part in zip(
        said,
        [
            "unknown model 'sene'; did you mean seen",
            "did you mean seen.permuted",
            "unknown target 'noize'; did you mean noise",
            "unknown step 'extrat'; did you mean extract",
            "a (audio), real (vision)",
            "seen (vision), noise (audio), sine (audio)",
            "--model",
            "parameter pause_s of notebooks/02_extract.ipynb is of type float (0.0), not str ('long')",
            "is of type int (4), not float (2.5)",
            "unknown parameter of the chosen steps 'scale'",
            "at least 1",
        ],
        strict=True,
    ):
        assert part in text


def test_parts_that_a_target_lacks_are_refused_before_its_result_is_touched(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    asked = ["download", "--target", "metamer_recognition"]
    for target, parts, said in (
        ([], "behavior", "unknown part of metamer_recognition 'behavior'; did you mean behaviour"),
        (["--target", "images78"], "behaviour", "unknown part of images78 'behaviour'; there are: none"),
    ):
        with pytest.raises(SystemExit, match=r"^2$"):
            run_all.main([*asked, *target, "--set", f"parts={parts}"])
        assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert run_all.main([*asked, "--set", "parts=behaviour network_network", "--dry-run"]) == 0


def test_models_meet_targets_of_their_modality(compendium):
    compendium.model("seen", modality="vision", controls='("permuted", "random")')
    assert "real" not in compendium.run("--dry-run")
    said = compendium.run("--dry-run", "--target", "all")
    new = {f"{s}/{m}/real" for s in ("extract", "encode") for m in ("seen", "seen.permuted", "seen.random")}
    assert set(lines(said, "stale")) - {"figures"} == new | {"download/real"}
    said = compendium.run("--dry-run", "--target", "all", "--model", "seen.random")
    assert set(lines(said, "stale")) - {"figures"} == {
        "download/real",
        "extract/seen.random/real",
        "encode/seen.random/real",
    }


def test_steps_take_the_kinds_of_targets_they_can_use(compendium):
    compendium.target("matrices", kind="rdm")
    compendium.target("people", kind="results", modality="both")
    asked = ("--dry-run", "--target", "matrices", "--target", "people", "--model", "a")
    stale = set(lines(compendium.run(*asked), "stale")) - {"figures"}
    assert stale == {"download/matrices", "download/people", "extract/a/matrices"}
    both = set(lines(compendium.run(*asked[:-2]), "stale"))
    assert {"download/matrices", "download/people", "extract/c/matrices"} <= both
    assert not any("people" in job for job in both - {"download/people"})
    said = compendium.run("encode", "--target", "matrices", status=2)
    assert "nothing to do for matrices (rdm): 03_encode takes kinds component voxel" in said


def test_models_that_need_a_download_run_only_when_named(compendium):
    compendium.model("far", controls='("random",)', bundled=False)
    assert "far" not in compendium.run("--dry-run")
    stale = lines(compendium.run("--dry-run", "--model", "far.random"), "stale")
    assert {"extract/far.random/sine", "extract/far.random/noise"} <= set(stale)
    stale = lines(compendium.run("--dry-run", "--model", "all"), "stale")
    assert {"extract/far/sine", "extract/far.random/sine"} <= set(stale)
    assert "download" in compendium.run("--list")


def test_dry_run_says_what_each_stale_extraction_will_cost(compendium):
    asked = ("extract", "--target", "sine", "--dry-run")
    assert "1 GB" not in compendium.run(*asked)
    said = compendium.run(*asked, "--model", "a", "--set", "scale=3.0")
    assert "a with sine and {'scale': 3.0}: 1 GB" in said


def test_released_activations_meet_only_their_targets(compendium):
    compendium.model("published", more='RELEASED = True\nTARGETS = ("noise",)\n')
    stale = set(lines(compendium.run("--dry-run", "--model", "published"), "stale"))
    assert {"extract/published/noise", "encode/published/noise"} <= stale
    assert "extract/published/sine" not in stale
    assert "no target" in compendium.run("--dry-run", "--model", "published", "--target", "sine", status=2)


def test_a_model_may_be_a_file_anywhere(compendium, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text('MODALITY = "audio"\nLAYERS = ("one",)\n')
    asked = ("extract", "--target", "sine", "--dry-run")
    stale = lines(compendium.run(*asked, "--model", str(file)), "stale")
    assert {f"extract/{file}/sine"} == set(stale)
    controlled = lines(compendium.run(*asked, "--model", f"{file}.random"), "stale")
    assert {f"extract/{file}.random/sine"} == set(controlled)
    said = compendium.run(*asked, "--model", str(tmp_path / "other.py"), status=2)
    assert "there is no file" in said


def test_data_that_a_person_gives_are_inputs(compendium):
    given = compendium.home / "data" / "own" / "sine" / "stimuli" / "one.txt"
    given.parent.mkdir(parents=True)
    given.write_text("one")
    asked = ("download", "--target", "sine")
    assert "data/own/sine added" in lines(compendium.run(*asked), "ran")["download/sine"]
    assert lines(compendium.run(*asked), "ran") == {}
    given.write_text("two")
    assert lines(compendium.run(*asked), "ran") == {"download/sine": "data/own/sine: stimuli/one.txt changed"}


def test_a_model_that_others_are_compared_with_is_read_and_run(empty):
    empty.run("--model", "a", "--target", "sine", "--set", "beside=b")
    assert set(saved(empty, "encode", "a", "sine")["inputs"]) == {
        "data/download/sine", "data/extract/a/sine", "data/extract/b/sine"
    }  # fmt: skip
    assert not empty.folder("encode", "b", "sine").exists()
    said = empty.run("figures", "--model", "a", "--target", "sine", "--dry-run")
    assert "encode/a/sine" in lines(said, "fresh")
    said = empty.run("encode", "--model", "a", "--target", "sine", "--dry-run")
    reasons = lines(said, "stale")["encode/a/sine"]
    assert "data/extract/b/sine gone" in reasons
    assert "parameter beside b → default" in reasons
    said = empty.run("--model", "a", "--set", "beside=bb", status=2)
    assert "there is no 02_extract bb" in said


def test_models_that_judge_count_as_code_of_what_they_judge(empty):
    empty.edit("notebooks/03_encode.ipynb", 'beside = \\"\\"', 'judged_by = \\"b\\"\\nbeside = \\"\\"')
    empty.run("--model", "a", "--target", "sine")
    assert "lib/models/b.py" in saved(empty, "encode", "a", "sine")["code"]
    empty.model("b", weight="2.5")
    said = empty.run("--model", "a", "--target", "sine", "--dry-run")
    assert lines(said, "stale")["encode/a/sine"] == "lib/models/b.py changed"
    said = empty.run("--model", "a", "--target", "sine", "--set", "judged_by=bb", status=2)
    assert "bb" in said


def test_a_plugin_can_keep_out_of_a_step(empty):
    empty.model("b", more='\nWITHOUT = ("encode",)\n')
    said = empty.run("--target", "sine")
    assert "encode/b/sine" not in said
    assert empty.folder("extract", "b", "sine").exists()
    assert not empty.folder("encode", "b", "sine").exists()
    assert empty.folder("encode", "a", "sine").exists()


def test_results_are_made_again_and_compared(compendium):
    before = compendium.written()
    said = compendium.run("--verify")
    assert [row.split()[:2] for row in said.splitlines() if row.startswith("same")] == [
        ["same", step] for step in ("01_download", "02_extract", "03_encode", "08_figures")
    ]
    assert compendium.written() == before
    assert not list(compendium.home.glob(".verify*"))


def test_what_came_out_differently_is_named(compendium):
    # A record that vouches for other contents than the code makes, as after a change of a library.
    folder = compendium.folder("extract", "a", "sine")
    (folder / "features.json").write_text("[1]")
    record = json.loads((folder / "run.json").read_text())
    record["outputs"]["features.json"] = artefacts.digest(folder / "features.json")
    (folder / "run.json").write_text(json.dumps(record))
    said = compendium.run("extract", "--model", "a", "--target", "sine", "--verify", "9", status=1)
    assert "differs   02_extract a sine\n          features.json : other bytes" in said


def test_layers_can_be_swept(finished):
    code = """
import run_all
from lib import plugins
run_all.STEPS["07_metamers"] = (("model", "target", "layer"), ("01_download",), ("voxel",))
run_all.STEPS["09_tests"] = (("model", "target"), ("07_metamers",), ("voxel",))
jobs = run_all.graph({kind: plugins.catalogue(kind) for kind in plugins.FOLDERS})
swept = [job for job in jobs if job.step == "07_metamers"]
assert len(swept) == 12, swept
assert swept[0].folder.parts[-4:] == ("metamers", "a", "noise", "first")
(job,) = [j for j in jobs if j.step == "09_tests" and j.swept == (("model", "b"), ("target", "sine"))]
assert [str(need) for need in jobs[job]] == ["07_metamers b sine first", "07_metamers b sine second"]
"""
    subprocess.run([sys.executable, "-c", code], cwd=finished.root, env=finished.environment(), check=True)


def test_dry_run_executes_nothing(compendium):
    before = compendium.written()
    compendium.edit("lib/models/c.py", "3.0", "3.5")
    said = compendium.run("--dry-run")
    assert compendium.written() == before
    assert lines(said, "stale")["extract/c/sine"] == "lib/models/c.py changed"
    assert {"extract/a/sine", "encode/b/noise"} <= set(lines(said, "fresh"))
    assert "5 of 15 jobs to run; about" in said


def test_list_shows_what_there_is(compendium):
    compendium.model("seen", modality="vision", controls='("permuted",)')
    rows = [line.split() for line in compendium.run("--list").splitlines()]
    assert ["seen", "vision", "2", ".permuted", "bundled", "Model", "seen"] in rows
    assert ["sine", "audio", "voxel,", "planted", *"----", "0.0", "-", "yes", "CC0"] in rows
    assert ["real", "vision", "voxel", *"----", "0.0", "-", "no", "CC0"] in rows
    assert ["02_extract", "model", "target", "scale=1.0", "pause_s=0.0"] in rows


def test_set_reaches_declaring_steps_and_is_recorded(compendium):
    only = ("--model", "a", "--target", "sine")
    before = compendium.written()
    said = compendium.run("extract", *only, "--set", "scale=2")
    assert rewritten(compendium, before) == {"extract/a/sine"}
    assert lines(said, "ran") == {"extract/a/sine": "parameter scale default → 2.0"}
    record = json.loads((compendium.folder("extract", "a", "sine") / "run.json").read_text())
    assert record["parameters"] == {"model": "a", "target": "sine", "scale": 2.0}
    # What is only read is judged with the parameters it was made with.
    assert set(lines(compendium.run("encode", *only, "--dry-run"), "stale")) == {"encode/a/sine"}
    assert "extract/a/sine" in lines(compendium.run("extract", *only, "--dry-run"), "stale")
    assert "0 of" in compendium.run(
        "extract", *only, "--set", "scale=2.0", "--set", "pause_s=0.0", "--dry-run"
    )


def test_figures_are_left_alone_while_another_result_is_stale(small):
    before = small.written()
    small.edit("lib/ridge.py", "slope=2.0", "slope=4.0")
    said = small.run("--model", "a")
    assert rewritten(small, before) == {"encode/a/sine"}
    assert "reads 03_encode b sine: left" in lines(said, "left")["figures"]
    assert lines(said, "left")["encode/b/sine"] == "lib/ridge.py changed"


def test_step_without_its_input_is_an_error(empty):
    said = empty.run("encode", "--target", "sine", "--model", "a", status=1)
    assert "reads 02_extract a sine: left" in lines(said, "left")["encode/a/sine"]


def test_results_of_removed_plugins_are_ignored(reduced):
    assert lines(reduced.said, "ran").keys() == {"figures"}
    assert "lib/models/c.py gone" in lines(reduced.said, "ran")["figures"]
    drawn = (reduced.folder("figures") / "lines.csv").read_text().splitlines()
    assert drawn == ["a sine", "b sine"]
    assert "0 of 6 jobs" in reduced.run("--dry-run")


def test_files_put_by_hand_survive_and_old_outputs_do_not(small):
    folder = small.folder("encode", "a", "sine")
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    assert "0 of 6" in small.run("--dry-run")
    small.edit("notebooks/03_encode.ipynb", "predictions.bin", "guesses.bin")
    small.run("encode", "--model", "a")
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "mine"
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert names == {"notes.txt", "guesses.bin", "scores.json", "run.ipynb", "run.json"}
    assert set(json.loads((folder / "run.json").read_text())["outputs"]) == {"guesses.bin", "scores.json"}


def test_data_file_beside_a_plugin_counts(compendium):
    compendium.target("noise", offset="8.0")
    said = compendium.run("--dry-run")
    assert lines(said, "stale")["download/noise"] == "lib/datasets/noise.offset.csv changed"
    assert set(lines(said, "fresh")) == {n for n in ALL if n.endswith("sine")}


def test_two_runs_at_once_share_the_work(small):
    asked = ("extract", "--model", "a", "--set", "pause_s=1.0")
    both = [small.start(*asked), small.start(*asked)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    ran = [name for text in said for name in lines(text, "ran")]
    assert ran == ["extract/a/sine"]
    assert "0 of 2 jobs" in small.run(*asked, "--dry-run")


def test_full_disk_leaves_the_last_result_and_no_torn_file(small):
    # A limit on the size of a file makes the write itself fail, in the kernel, as a full disk does.
    asked = ("encode", "--model", "a", "--set", "n_bytes=4000000")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    folder = small.folder("encode", "a", "sine")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    said = small.run(*asked, status=1, preexec_fn=limit)
    assert "failed 03_encode a sine: OSError" in said
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert b"Traceback" in after.pop("run.failed.ipynb")
    assert after == before
    why = "parameter n_bytes default → 4000000"
    assert lines(small.run(*asked, "--dry-run"), "stale") == {"encode/a/sine": why}


def test_memory_that_runs_out_in_one_job_fails_that_job_only(small):
    # What the system does to the largest process; the kernel has no chance to say anything.
    small.edit("lib/models/a.py", "return 1.0", "import os; os.kill(os.getpid(), 9)")
    small.edit("lib/models/b.py", "return 2.0", "return 3.0")
    said = small.run(status=1)
    assert "failed 02_extract a sine: " in said
    assert "DeadKernelError: the kernel was killed or crashed; if memory ran out: " in said
    assert set(lines(said, "held back")) == {"encode/a/sine", "figures"}
    assert set(lines(said, "ran")) == {"extract/b/sine", "encode/b/sine"}
    assert lines(small.run("--dry-run"), "stale")["extract/a/sine"] == "lib/models/a.py changed"


@pytest.mark.parametrize("year", [1980, 2080])
def test_a_wrong_clock_makes_nothing_stale_or_fresh(small, year):
    then = (year - 1970) * 365 * 86400
    for file in (*small.root.rglob("*"), *small.home.rglob("*")):
        os.utime(file, (then, then))
    assert "0 of 6 jobs" in small.run("--dry-run")
    features = small.folder("extract", "a", "sine") / "features.json"
    features.write_text("[2]")
    os.utime(features, (then, then))
    assert lines(small.run("--dry-run"), "stale")["extract/a/sine"] == "output features.json changed"


CLUSTER = """
from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        input()
"""


def test_cluster_of_worker_processes_runs_the_same_jobs(small):
    (small.root / "cluster.py").write_text(CLUSTER, encoding="utf-8")
    process = small.start(file="cluster.py", stderr=subprocess.DEVNULL)
    small.edit("lib/models/a.py", "return 1.0", 'raise ValueError("no weights")')
    small.edit("lib/models/b.py", "return 2.0", "return 3.0")
    try:
        asked = ("--scheduler", process.stdout.readline().strip())
        said = small.run(*asked, status=1)
        assert "failed 02_extract a sine: ValueError: no weights" in said
        assert set(lines(said, "held back")) == {"encode/a/sine", "figures"}
        assert set(lines(said, "ran")) == {"extract/b/sine", "encode/b/sine"}
        elsewhere = os.environ | {"COMPENDIUM_HOME": str(small.home / "elsewhere")}
        said = small.run(*asked, status=2, env=elsewhere)
        assert "has repository and home" in said
        assert "Traceback" not in said
    finally:
        process.communicate("\n", timeout=30)


def test_loss_of_a_worker_costs_the_time_of_its_job_only(small):
    (small.root / "cluster.py").write_text(CLUSTER, encoding="utf-8")
    cluster = small.start(file="cluster.py", stderr=subprocess.DEVNULL)
    kernel = small.folder("extract", "a", "sine") / ".kernel"
    kernel.unlink()
    try:
        asked = ("extract", "--set", "pause_s=3.0")
        process = small.start(*asked, "--scheduler", cluster.stdout.readline().strip())
        while not kernel.exists():
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        lost = psutil.Process(int(kernel.read_text()))
        worker = lost.parent()
        kernel.unlink()
        worker.kill()
        said = process.communicate(timeout=90)[0]
        assert process.returncode == 0, said
        assert set(lines(said, "ran")) == {"extract/a/sine", "extract/b/sine"}
        psutil.wait_procs([lost], timeout=10)
        assert gone(lost.pid)
        assert int(kernel.read_text()) != lost.pid
        assert "0 of 3 jobs" in small.run(*asked, "--dry-run")
    finally:
        cluster.communicate("\n", timeout=30)
