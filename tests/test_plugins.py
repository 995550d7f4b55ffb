"""Plug-ins are found as files, and read without being run."""

import pytest

from lib import plugins


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "FOLDERS", {"model": tmp_path, "target": tmp_path})
    return tmp_path


def test_names_are_files_without_underscore(folders):
    for name in ("zeta.py", "alpha.py", "_toy.py", "__init__.py", "alpha.files.csv", "notes.txt"):
        (folders / name).write_text("", encoding="utf-8")
    assert plugins.names("model") == ["alpha", "zeta"]


def test_path_ignores_the_control_and_names_the_nearest(folders):
    (folders / "crepe_tiny.py").write_text("", encoding="utf-8")
    assert plugins.path("model", "crepe_tiny.permuted") == folders / "crepe_tiny.py"
    with pytest.raises(ValueError, match="unknown model 'crepe_tinny'; did you mean crepe_tiny"):
        plugins.path("model", "crepe_tinny")
    with pytest.raises(ValueError, match="unknown control suffix 'permute'; did you mean permuted"):
        plugins.path("model", "crepe_tiny.permute")


def test_require_lists_all_when_nothing_is_near():
    assert plugins.require("a", ["a", "b"], "letter") == "a"
    with pytest.raises(ValueError, match="unknown letter 'xyz'; there are: a, b"):
        plugins.require("xyz", (name for name in "ab"), "letter")
    with pytest.raises(ValueError, match="there are: none"):
        plugins.require("xyz", [], "letter")


def test_constants_are_literals_read_without_running(folders):
    file = folders / "a.py"
    file.write_text(
        'raise SystemExit\nA = ("x",)\nB = len(A)\nc = 1\nD = {"k": -1.5}\nE = A', encoding="utf-8"
    )
    assert plugins.constants(file) == {"A": ("x",), "D": {"k": -1.5}}
    file.write_text("A = (", encoding="utf-8")
    with pytest.raises(SyntaxError, match=r"a\.py"):
        plugins.constants(file)


def test_catalogue_counts_controls_as_models(folders):
    (folders / "net.py").write_text(
        'MODALITY = "audio"\nLAYERS = "a"\nCONTROLS = ("permuted", "random")', encoding="utf-8"
    )
    (folders / "bank.py").write_text('MODALITY = "audio"\nLAYERS = "a"\nCONTROLS = ()', encoding="utf-8")
    found = plugins.catalogue("model")
    assert list(found) == ["bank", "net", "net.permuted", "net.random"]
    assert [constants["CONTROL"] for constants in found.values()] == ["", "", "permuted", "random"]
