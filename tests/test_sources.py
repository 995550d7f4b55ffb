"""Code as it counts: what is traced, and what is not looked at."""

import nbformat
import pytest

from lib import sources


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Writes files of a repository of its own."""
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    (tmp_path / "notebooks").mkdir()

    def write(**files):
        for name, text in {
            "lib/__init__": "",
            "lib/models/__init__": "",
            "lib/datasets/__init__": "",
        }.items():
            files.setdefault(name, text)
        for name, text in files.items():
            path = tmp_path / (name if "." in name else f"{name}.py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return write


def used(root, file="lib/a.py"):
    return set(sources.code(sources.scan(), [root / file])) - {file}


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("from lib import b", {"lib/b.py"}),
        ("from lib import b as c", {"lib/b.py"}),
        ("import lib.b", {"lib/b.py"}),
        ("import lib.b as c, os", {"lib/b.py"}),
        ("from lib.b import anything", {"lib/b.py"}),
        ("from lib.models import m", {"lib/models/__init__.py", "lib/models/m.py"}),
        ("from lib.models.m import net", {"lib/models/__init__.py", "lib/models/m.py"}),
        ("import lib.models.m", {"lib/models/__init__.py", "lib/models/m.py"}),
        ("from . import b", {"lib/b.py"}),
        ("from .b import anything", {"lib/b.py"}),
        ("from .models import m", {"lib/models/__init__.py", "lib/models/m.py"}),
        ("def f():\n    from lib import b", {"lib/b.py"}),
        ("async def f():\n    import lib.b", {"lib/b.py"}),
        ("class C:\n    if True:\n        from lib import (\n            b,\n        )", {"lib/b.py"}),
        ("try:\n    from lib.b import *\nexcept ImportError:\n    raise", {"lib/b.py"}),
    ],
)
def test_every_form_of_import_is_followed(repository, text, files):
    root = repository(**{"lib/a": text, "lib/b": "", "lib/c": "", "lib/models/m": ""})
    assert used(root) == files | {"lib/__init__.py"}


def test_relative_imports_climb(repository):
    root = repository(**{"lib/models/m": "from .. import b\nfrom ..c import d\nfrom .n import e"})
    repository(**{"lib/b": "", "lib/c": "", "lib/models/n": ""})
    expected = {"lib/__init__.py", "lib/b.py", "lib/c.py", "lib/models/__init__.py", "lib/models/n.py"}
    assert used(root, "lib/models/m.py") == expected


def test_packages_and_circles_are_followed_to_the_end(repository):
    root = repository(
        **{"lib/a": "from lib import b", "lib/b": "from lib import c", "lib/c": "from lib import a"}
    )
    assert used(root) == {"lib/__init__.py", "lib/b.py", "lib/c.py"}
    repository(**{"lib/__init__": "from lib import d", "lib/d": ""})
    assert "lib/d.py" in used(root)


def test_other_packages_are_not_followed(repository):
    root = repository(**{"lib/a": "import numpy\nfrom b import c\nimport library", "lib/b": ""})
    assert used(root) == set()


def test_data_files_beside_a_module_count_by_their_bytes(repository):
    root = repository(**{"lib/a": "", "lib/a.table.csv": "1", "lib/ab.table.csv": "2"})
    assert used(root) == {"lib/a.table.csv"}
    before = sources.code(sources.scan(), [root / "lib/a.py"])
    repository(**{"lib/a.table.csv": "1 "})
    assert sources.code(sources.scan(), [root / "lib/a.py"]) != before


def test_model_that_a_data_set_loads_by_name_counts(repository):
    files = {
        "lib/models/m": "",
        "lib/models/n": "",
        "lib/datasets/d": 'def load():\n    return load("m.permuted")',
    }
    root = repository(**files)
    assert used(root, "lib/datasets/d.py") == {"lib/models/m.py"}


def digest(repository, text):
    root = repository(**{"lib/a": text})
    return sources.code(sources.scan(), [root / "lib/a.py"])["lib/a.py"]


CODE = 'def f(x):\n    """Words."""\n    return x + 1\n\n\nclass C:\n    """Words."""\n\n    y = "z"\n'


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("return x + 1", "return x + 1  # why", True),
        ("return x + 1", "return (\n        x + 1\n    )", True),
        ("Words.", "Other words, more of them.", True),
        ('    """Words."""\n', "", True),
        ('"z"', "'z'", True),
        ("def f", '"""Module."""\n\n\ndef f', True),
        ("x + 1", "x + 2", False),
        ("x + 1", "1 + x", False),
        ('"z"', '"Z"', False),
        ("(x)", "(x=0)", False),
        ("def f", "import os\n\n\ndef f", False),
    ],
)
def test_only_what_is_executed_counts(repository, old, new, same):
    assert (digest(repository, CODE) == digest(repository, CODE.replace(old, new))) is same


def test_file_that_is_not_python_counts_by_its_bytes(repository):
    assert digest(repository, "def f(:") != digest(repository, "def f(: ")


def notebook(repository, *cells, tag=True):
    root = repository()
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.cells[0].metadata["tags"] = ["parameters"] if tag else []
    nbformat.write(made, root / "notebooks" / "n.ipynb")
    return root / "notebooks" / "n.ipynb"


def test_notebook_counts_by_its_code_cells(repository):
    root = repository(**{"lib/b": ""})
    file = notebook(repository, "n = 1", "from lib import b")
    before = sources.code(sources.scan(), [file])
    assert set(before) == {"notebooks/n.ipynb", "lib/__init__.py", "lib/b.py"}
    whole = nbformat.read(file, as_version=4)
    whole.cells.append(nbformat.v4.new_markdown_cell("Words."))
    whole.cells[1].execution_count = 7
    nbformat.write(whole, file)
    assert sources.code(sources.scan(), [root / "notebooks/n.ipynb"]) == before
    file = notebook(repository, "n = 2", "from lib import b")
    assert sources.code(sources.scan(), [file]) != before


def test_declared_parameters_are_literals(repository):
    file = notebook(
        repository, '# unit\nn = 1\nlayers = (\n    "a",\n    "b",\n)\nnothing = None\nlow = -1.5'
    )
    assert sources.declared(file) == {"n": 1, "layers": ("a", "b"), "nothing": None, "low": -1.5}
    assert sources.declared(notebook(repository, "n = 1", tag=False)) == {}
    with pytest.raises(ValueError, match=r"notebooks/n.ipynb: .*`n = len\('a'\)`"):
        sources.declared(notebook(repository, "n = len('a')"))
    with pytest.raises(FileNotFoundError, match=r"m\.ipynb is missing"):
        sources.declared(file.with_name("m.ipynb"))


@pytest.mark.parametrize(
    ("default", "text", "value"),
    [
        ("1", "2", 2),
        ("1.0", "2", 2.0),
        ("(1, 2)", "[3]", (3,)),
        ("[1]", "(3, 4)", [3, 4]),
        ("'a'", "pearson r", "pearson r"),
        ("'a'", "'7'", "7"),
        ("True", "False", False),
        ("None", "0.5", 0.5),
    ],
)
def test_overrides_take_the_type_of_the_default(repository, default, text, value):
    found = sources.overrides(notebook(repository, f"n = {default}"), {"n": text, "elsewhere": "1"})
    assert found == {"n": value}
    assert type(found["n"]) is type(value)


@pytest.mark.parametrize(("default", "text"), [("1", "2.5"), ("1", "True"), ("True", "1"), ("1", "x")])
def test_overrides_of_another_type_are_refused(repository, default, text):
    with pytest.raises(ValueError, match=r"parameter n of notebooks/n\.ipynb is of type"):
        sources.overrides(notebook(repository, f"n = {default}"), {"n": text})


def test_overrides_equal_to_the_default_are_none(repository):
    assert sources.overrides(notebook(repository, "n = 1.0"), {"n": "1"}) == {}
