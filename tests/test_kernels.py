"""A notebook runs in this Python, in the repository's folder, and says how it failed."""

import os
import pickle
import sys

import nbformat
import papermill
import pytest

from lib import artefacts, kernels


def notebook(path, *cells):
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(made, path)
    return path


def test_kernel_is_this_python_in_the_repository(tmp_path, monkeypatch):
    # Another kernel of the same name, installed by the person, must not be taken.
    other = tmp_path / "jupyter" / "kernels" / "python3"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text('{"argv": ["false"], "display_name": "x", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.chdir(tmp_path)
    file = notebook(
        tmp_path / "n.ipynb",
        "n = 1",
        f"import os, sys\nopen({str(tmp_path / 'said')!r}, 'w').write(f'{{sys.executable}} {{os.getcwd()}} {{n}}')",
    )
    kernels.execute(file, tmp_path / "run.ipynb", {"n": 2})
    assert (tmp_path / "said").read_text() == f"{sys.executable} {artefacts.ROOT} 2"
    assert os.getcwd() == str(tmp_path)


def test_failed_cell_is_told_in_one_line_and_in_full(tmp_path):
    file = notebook(tmp_path / "n.ipynb", "n = 1", "raise ValueError('shapes differ\\nhere and there')")
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        kernels.execute(file, tmp_path / "run.ipynb", {})
    assert kernels.last_line(caught.value) == "ValueError: shapes differ"
    assert kernels.last_line(pickle.loads(pickle.dumps(caught.value))) == "ValueError: shapes differ"
    assert "here and there" in (tmp_path / "run.ipynb").read_text()


def test_killed_kernel_names_memory(tmp_path):
    file = notebook(tmp_path / "n.ipynb", "n = 1", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(RuntimeError) as caught:
        kernels.execute(file, tmp_path / "run.ipynb", {})
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert "killed" in kernels.last_line(error)
        assert "memory" in kernels.last_line(error)


def test_other_errors_are_told_by_their_last_line():
    assert (
        kernels.last_line(OSError(28, "No space left on device"))
        == "OSError: [Errno 28] No space left on device"
    )
    assert kernels.last_line(ValueError()) == "ValueError"
