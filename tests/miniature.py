"""A miniature compendium: the real runner on small notebooks, models and targets that need no torch."""

import ast
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil

REPOSITORY = Path(__file__).resolve().parents[1]
OTHERS = ("04_rsa", "05_decode", "06_bhscore", "07_metamers")  # steps that the miniature goes without
MODEL = """
LABEL = "Model {name}"
MODALITY = "{modality}"
LAYERS = ("first", "second")
CONTROLS = {controls}
BUNDLED = {bundled}


def weight():
    return {weight}
"""
TARGET = """
from lib import artefacts

MODALITY = "{modality}"
KIND = "{kind}"
PLANTED = {planted}
LICENCE = "CC0"


def offset():
    return artefacts.load_table(artefacts.ROOT / "lib/datasets/{name}.offset.csv")["offset"][0]
"""
PACKAGE = '''"""Small."""

import importlib


def load(name):
    return importlib.import_module(f"{__name__}.{name}")
'''
RIDGE = '''"""Small ridge."""


def fit(x, slope=2.0):
    """Small fit."""
    # why
    return [slope * value for value in x]
'''
FORECAST = '''"""Small forecast."""


def said(name, target, settings):
    return f"{name} with {target} and {settings}: 1 GB"
'''
NOTEBOOKS = {
    "01_download": """target = "sine"
n_values = 4
name = "plain"
# %%
from lib import artefacts, datasets
# %%
offset = float(datasets.load(target).offset())
folder = artefacts.directory("download", target=target)
artefacts.save_json([offset + i for i in range(n_values)], folder / "values.json")
""",
    "02_extract": """model = "a"
target = "sine"
scale = 1.0
pause_s = 0.0
# %%
import os
import time
from lib import artefacts, models, plugins
# %%
folder = artefacts.directory("extract", model, target)
with artefacts.atomic(folder / "features.json") as part:
    (folder / ".kernel").write_text(str(os.getpid()))
    part.write_text("half")
    time.sleep(pause_s)
# %%
weight = models.load(plugins.split_control(model)[0]).weight()
values = artefacts.load_json(artefacts.directory("download", target=target) / "values.json")
artefacts.save_json([scale * weight * value for value in values], folder / "features.json")
""",
    "03_encode": """model = "a"
target = "sine"
n_bytes = 1
beside = ""
# %%
from lib import artefacts, ridge
# %%
folder = artefacts.directory("encode", model, target)
features = artefacts.load_json(artefacts.directory("extract", model, target) / "features.json")
with artefacts.atomic(folder / "predictions.bin") as part:
    part.write_bytes(bytes(n_bytes))
artefacts.save_json(ridge.fit(features), folder / "scores.json")
""",
    "08_figures": """bars = True
# %%
from lib import artefacts
# %%
lines = [f"{r['model']} {r['target']}" for r in artefacts.finished("encode")]
with artefacts.atomic(artefacts.directory("figures") / "lines.csv") as part:
    part.write_text("\\n".join(lines))
""",
}


@functools.cache
def modules():
    """Modules of lib that the runner needs, but for those that the miniature has its own of."""
    found, waiting = {"__init__"}, [REPOSITORY / "run_all.py"]
    while waiting:
        for node in ast.walk(ast.parse(waiting.pop().read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or (node.module or "").partition(".")[0] != "lib":
                continue
            inner = node.module.split(".")[1:2]
            new = (
                set(inner or (alias.name for alias in node.names))
                - {"models", "datasets", "forecast"}
                - found
            )
            waiting += [REPOSITORY / "lib" / f"{name}.py" for name in new]
            found |= new
    return sorted(found)


def notebook(source):
    """Notebook of code cells parted by `# %%`, the first of them tagged `parameters`."""
    cells = [nbformat.v4.new_code_cell(cell.strip()) for cell in source.split("# %%\n")]
    cells[0].metadata["tags"] = ["parameters"]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Small"), *cells])


class Compendium:
    """A repository in miniature and its home, and how a person runs it."""

    def __init__(self, folder):
        self.root, self.home = folder / "repository", folder / "home"

    def run(self, *arguments, status=0, **options):
        """What run_all.py prints; its exit status must be `status`."""
        options = {
            "cwd": self.root,
            "env": self.environment(),
            "capture_output": True,
            "text": True,
        } | options
        done = subprocess.run([sys.executable, "run_all.py", *arguments], check=False, **options)
        assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def start(self, *arguments, file="run_all.py", **options):
        """Process that runs, in a group of its own."""
        options = {
            "cwd": self.root,
            "env": self.environment(),
            "start_new_session": True,
            "text": True,
            "preexec_fn": _interruptible,
        } | options
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | options
        return subprocess.Popen([sys.executable, file, *arguments], **pipes)

    def environment(self):
        return os.environ | {"COMPENDIUM_HOME": str(self.home), "OMP_NUM_THREADS": "1"}

    def folder(self, step, *values):
        return self.home.joinpath("figures" if step == "figures" else f"data/{step}", *values)

    def written(self):
        """Each finished result, as `step/…`, with the time its record was written."""
        files = self.home.rglob("run.json")
        return {
            p.parent.relative_to(self.home).as_posix().removeprefix("data/"): p.stat().st_mtime_ns
            for p in files
        }

    def edit(self, file, old, new):
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def model(self, name, *, modality="audio", weight="1.0", controls="()", bundled=True, more=""):
        text = (
            MODEL.format(name=name, modality=modality, weight=weight, controls=controls, bundled=bundled)
            + more
        )
        (self.root / "lib" / "models" / f"{name}.py").write_text(text, encoding="utf-8")

    def target(self, name, *, modality="audio", planted=True, offset="0.5", kind="voxel"):
        text = TARGET.format(name=name, modality=modality, planted=planted, kind=kind)
        (self.root / "lib" / "datasets" / f"{name}.py").write_text(text, encoding="utf-8")
        (self.root / "lib" / "datasets" / f"{name}.offset.csv").write_text(
            f"offset\n{offset}\n", encoding="utf-8"
        )

    def copy(self, folder):
        """The same repository and results elsewhere."""
        for old, new in ((self.root, folder / "repository"), (self.home, folder / "home")):
            shutil.copytree(old, new)
        return Compendium(folder)


def build(folder):
    """Audio models a, b and c; planted audio targets sine and noise; a vision target, real, to download."""
    made = Compendium(folder)
    made.home.mkdir(parents=True)
    for name in ("lib/models", "lib/datasets", "notebooks"):
        (made.root / name).mkdir(parents=True)
    for file in ("run_all.py", *(f"lib/{module}.py" for module in modules())):
        shutil.copy(REPOSITORY / file, made.root / file)
    for package in ("models", "datasets"):
        (made.root / "lib" / package / "__init__.py").write_text(PACKAGE, encoding="utf-8")
    # Four steps are enough to show how the runner runs any.
    runner = (made.root / "run_all.py").read_text(encoding="utf-8")
    for pattern in (r'    "{}": \(.*\),\n', r', "{}"'):
        for step in OTHERS:
            runner, n = re.subn(pattern.format(step), "", runner)
            assert n == 1, (pattern, step)
    (made.root / "run_all.py").write_text(runner, encoding="utf-8")
    (made.root / "lib" / "ridge.py").write_text(RIDGE, encoding="utf-8")
    (made.root / "lib" / "forecast.py").write_text(FORECAST, encoding="utf-8")
    # A part of jsonschema that papermill can do without, and that alone takes a second to import at each run.
    (made.root / "rfc3987_syntax.py").write_text("raise ImportError\n", encoding="utf-8")
    for name, source in NOTEBOOKS.items():
        nbformat.write(notebook(source), made.root / "notebooks" / f"{name}.ipynb")
    made.model("a")
    made.model("b", weight="2.0")
    made.model("c", weight="3.0")
    made.target("sine")
    made.target("noise", offset="7.0")
    made.target("real", modality="vision", planted=False)
    return made


def lines(said, status):
    """Jobs said to have a status, as in `written`, with the reasons."""
    found = {}
    for line in said.replace("\r", "\n").splitlines():
        words = line.split(" (")[0].removeprefix(status).split()
        if (
            line.startswith(f"{status} ")
            and words
            and words[0][:2].isdecimal()
            and not line.startswith("failed 0 ")
        ):
            found["/".join([words[0][3:], *words[1:]])] = line.partition(" (")[2].rstrip(")")
    return found


def wait_for(condition, seconds=30):
    """First true value of a condition."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def begun(compendium, model):
    """Folder and process of an extraction that has begun anew to write its features."""
    folder = compendium.folder("extract", model, "sine")
    mark = folder / ".kernel"
    wait_for(lambda: list(folder.glob(".*.part.*")) and mark.exists() and not (folder / "run.json").exists())
    return folder, int(wait_for(lambda: mark.stat().st_size and mark.read_text()))


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def _interruptible():
    """Undo what a shell does to all that it starts in the background: to ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
