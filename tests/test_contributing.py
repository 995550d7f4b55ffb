"""The examples of CONTRIBUTING.md are what they claim: complete plug-ins."""

import re
import shutil
import subprocess
import sys

import pytest

from lib.artefacts import ROOT

EXAMPLES = dict(
    re.findall(
        r"<!-- file: (\S+) -->\n```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.S
    )
)
CHECK = """
from lib import artefacts, datasets, features, models, stimuli, validation
responses, table = datasets.load("mine")
pictures = [stimuli.read(artefacts.home() / "data" / file) for file in table["file"][:2]]
for name in ("edges", "edges.permuted", "edges.random"):
    validation.validate(models.load(name), pictures)
features.extract(models.load("edges"), table, artefacts.home() / "features.nc")
print(features.layers(artefacts.home() / "features.nc"))
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy of the library with the examples put where they say they belong."""
    root = tmp_path_factory.mktemp("contributing")
    shutil.copytree(ROOT / "lib", root / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "run_all.py", root)
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    for file, text in EXAMPLES.items():
        (root / file).write_text(text, encoding="utf-8")
    return root


def python(root, *arguments):
    """Run Python there; what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=root, capture_output=True, text=True, check=False,
        env={"PATH": "", "COMPENDIUM_HOME": str(root / "home"), "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_is_an_example_of_each_plugin():
    assert set(EXAMPLES) == {"lib/models/edges.py", "lib/datasets/mine.py"}


def test_examples_keep_the_contracts(repository):
    assert python(repository, "-c", CHECK).strip() == "('near', 'far')"


def test_examples_are_swept_and_listed(repository):
    listed = python(repository, "run_all.py", "--list")
    assert re.search(r"^\s*edges\s+vision\s+2\s+\.permuted \.random\s+Edges$", listed, re.M)
    assert re.search(r"^\s*mine\s+vision\s+voxel\s+no", listed, re.M)
    planned = python(repository, "run_all.py", "--target", "mine", "--model", "edges", "--dry-run")
    assert "stale     03_encode edges mine (never finished)" in planned
