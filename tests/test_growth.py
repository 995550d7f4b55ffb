"""What finds plug-ins and their code looks at each file once, however many there are."""

import collections

from lib import plugins, sources

TEXT = 'LABEL = "One"\nMODALITY = "audio"\nLAYERS = ("first",)\nCONTROLS = ()\nBUNDLED = True\n'


def test_finding_all_plugins_looks_at_each_a_fixed_number_of_times(tmp_path, monkeypatch):
    monkeypatch.setitem(plugins.FOLDERS, "model", tmp_path)
    looked, constants = collections.Counter(), plugins.constants

    def counted(file):
        looked[file] += 1
        return constants(file)

    monkeypatch.setattr(plugins, "constants", counted)
    per_file = []
    for n in (10, 40):
        for i in range(n):
            (tmp_path / f"m{i}.py").write_text(TEXT, encoding="utf-8")
        looked.clear()
        assert len(plugins.catalogue("model")) == n
        assert all(plugins.path("model", f"m{i}") == tmp_path / f"m{i}.py" for i in range(n))
        per_file.append(max(looked.values()))
    assert per_file[0] == per_file[1]


def test_member_of_a_family_is_found_and_its_file_is_no_plugin(tmp_path, monkeypatch):
    monkeypatch.setitem(plugins.FOLDERS, "model", tmp_path)
    (tmp_path / "family.py").write_text(TEXT + 'VARIANTS = {"child": {}}\n', encoding="utf-8")
    (tmp_path / "_hidden.py").write_text(TEXT, encoding="utf-8")
    assert plugins.path("model", "child") == tmp_path / "family.py"
    for name in ("family", "_hidden", "../family", "x" * 5000, "a\0b"):
        try:
            found = plugins.path("model", name)
        except ValueError:
            continue
        raise AssertionError(f"{name[:9]!r} is {found}")


def test_data_beside_a_module_are_those_whose_names_begin_like_it(tmp_path):
    names = ["a.py", "a.b.csv", "a.b.c.csv", "ab.csv", "a_b.py", ".a.part.csv", "a"]
    for name in names:
        (tmp_path / name).touch()
    found = sources._by_stem(tmp_path)
    for stem in ("a", "ab", "a_b", "a.b"):
        assert {file.name for file in found[stem]} == {file.name for file in tmp_path.glob(f"{stem}.*")}
