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


OURS = """
import numpy as np
import pandas as pd
from PIL import Image
from lib import artefacts, datasets, quality
place = artefacts.home() / "data" / "own" / "ours"
(place / "stimuli").mkdir(parents=True)
for name in "abcd":
    Image.new("RGB", (8, 8)).save(place / "stimuli" / f"{name}.png")
stimuli = pd.DataFrame({"stimulus": list("abcd"), "file": [f"{n}.png" for n in "abcd"]})
voxels = pd.DataFrame({"voxel": list("xyz"), "subject": list("pqq"), "roi": ["V1", "IT", "IT"]})
artefacts.save_table(stimuli, place / "stimuli.csv")
artefacts.save_table(voxels, place / "voxels.csv")
np.save(place / "responses.npy", np.zeros((2, 4, 3)))
print(*quality.counts(datasets.contents("ours"), datasets.stated("ours"))["agree"])
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
    plugins = {"lib/models/edges.py", "lib/datasets/mine.py", "lib/datasets/ours.py"}
    assert set(EXAMPLES) == plugins | {"cluster.py"}


def test_examples_keep_the_contracts(repository):
    assert python(repository, "-c", CHECK).strip() == "('near', 'far')"


def test_the_example_of_the_readme_runs_from_anywhere(repository, tmp_path):
    (code,) = re.findall(r"```python\n(# mine.py.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    (tmp_path / "mine.py").write_text(code)
    check = CHECK.replace('("edges", "edges.permuted", "edges.random")', f'("{tmp_path}/mine.py",)')
    check = check.replace('models.load("edges")', f'models.load("{tmp_path}/mine.py")')
    assert "'layer4.1'" in python(repository, "-c", check)


def test_the_example_of_ten_lines_makes_a_folder_a_target(repository):
    assert python(repository, "-c", OURS).split() == ["yes"] * 4
    code = [
        line for line in EXAMPLES["lib/datasets/ours.py"].splitlines() if line and not line.startswith('"""')
    ]
    assert len(code) == 10


def test_examples_are_swept_and_listed(repository):
    listed = python(repository, "run_all.py", "--list")
    assert re.search(r"^\s*edges\s+vision\s+2\s+\.permuted \.random\s+bundled\s+Edges$", listed, re.M)
    assert re.search(r"^\s*mine\s+vision\s+voxel\s+12\s+2\s+1\s+2\s+0.0\s+-\s+no", listed, re.M)
    planned = python(repository, "run_all.py", "--target", "mine", "--model", "edges", "--dry-run")
    assert "stale     03_encode edges mine (never finished)" in planned


def test_cluster_starts_workers_in_the_repository_and_its_python(tmp_path):
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    text = EXAMPLES["cluster.py"].replace("cluster.scale(jobs=10)", "print(cluster.job_script())")
    (tmp_path / "cluster.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "cluster.py"], cwd=tmp_path, input="\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *script, address = done.stdout.splitlines()
    assert re.fullmatch(r"tcp://[\d.]+:\d+", address)
    for line in ("#SBATCH -p short", "#SBATCH --cpus-per-task=8", "#SBATCH -t 08:00:00",
                 "#SBATCH --chdir=/shared/compendium", "export COMPENDIUM_HOME=/shared/results"):  # fmt: skip
        assert line in script
    worker = [line for line in script if line][-1]
    assert script.index("source .venv/bin/activate") < script.index(worker)
    assert "distributed.cli.dask_worker" in worker
    assert address in worker
    assert "--nthreads 2" in worker
