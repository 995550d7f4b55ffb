import hashlib

import pytest

from lib import given
from lib.artefacts import home
from lib.download import NotThere, WrongHash

NAMES = ["b", "a"]
PATHS = ["set/clips/b.mp4", "set/clips/a.mp4"]


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    return {"raw": tmp_path / "home" / "data" / "raw", "mirror": tmp_path / "mirror"}


def put(folder, *names):
    (folder / "set" / "clips").mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / "set" / "clips" / name).write_text(f"content of {name}")


def test_files_of_both_places_are_listed_once(places):
    put(places["raw"], "b.mp4", "a.mp4", ".hidden.mp4", "notes.txt")
    put(places["mirror"], "b.mp4", "c.mp4")
    assert given.listed("set/clips", ".mp4") == [f"set/clips/{n}.mp4" for n in "abc"]
    assert given.listed("set/nothing", ".mp4") == []


def test_without_a_mirror_only_raw_is_looked_at(places, monkeypatch):
    monkeypatch.delenv("DATA_MIRROR")
    put(places["raw"], "b.mp4")
    assert given.listed("set/clips", ".mp4") == ["set/clips/b.mp4"]


def test_no_file_means_no_files(places):
    put(places["raw"], "other.mp4")
    table = given.stimuli(NAMES, PATHS, "ask")
    assert table.to_dict("list") == {"stimulus": NAMES, "file": ["", ""], "sha256": ["", ""]}


@pytest.mark.parametrize("where", [("raw", "raw"), ("mirror", "mirror"), ("raw", "mirror")])
def test_all_files_end_below_data(places, where):
    for place, name in zip(where, ["a.mp4", "b.mp4"], strict=True):
        put(places[place], name)
    table = given.stimuli(NAMES, PATHS, "ask")
    assert table["file"].tolist() == [f"raw/{path}" for path in PATHS]
    for name, file, sha256 in table.itertuples(index=False):
        content = (home() / "data" / file).read_bytes()
        assert content == f"content of {name}.mp4".encode()
        assert sha256 == hashlib.sha256(content).hexdigest()


def test_some_of_the_files_are_too_few(places):
    put(places["raw"], "a.mp4")
    with pytest.raises(NotThere, match=r"1 of 2 files are not here: set/clips/b\.mp4\. ask at the office"):
        given.stimuli(NAMES, PATHS, "ask at the office.")


def test_a_file_stays_what_it_was(places):
    put(places["raw"], "a.mp4", "b.mp4")
    given.stimuli(NAMES, PATHS, "ask")
    (places["raw"] / PATHS[0]).write_text("another")
    with pytest.raises(WrongHash, match=r"b\.mp4"):
        given.stimuli(NAMES, PATHS, "ask")
