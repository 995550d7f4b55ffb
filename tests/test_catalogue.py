"""The tables of what there is agree with the plug-ins."""

import pytest

from lib import catalogue, plugins
from lib.registry import registry


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))


def test_every_plugin_is_listed():
    models, targets = catalogue.models(), catalogue.targets()
    assert list(models["model"]) == plugins.names("model")
    assert list(targets["target"]) == plugins.names("target")
    assert (models["layers"] > 0).all()
    assert (targets["here"] == "no").all()


def test_targets_are_listed_with_what_a_person_chooses_by():
    targets = catalogue.targets().set_index("target")
    planted = targets.loc["planted_audio"]
    assert planted[["kind", "stimuli", "voxels", "subjects", "rois"]].tolist() == [
        "voxel, planted", "165", "432", "4", "4"
    ]  # fmt: skip
    assert planted["download_mb"] == "0.0"
    assert targets.loc["nh2015comp", "download_mb"] == "29.6"
    assert targets.loc["algonauts2021", "download_mb"] == "by form"
    assert targets["licence"].str.len().gt(0).all()


def test_sizes_that_nobody_published_are_unknown_and_not_zero(tmp_path, monkeypatch):
    monkeypatch.setitem(plugins.FOLDERS, "target", tmp_path)
    (tmp_path / "web.py").write_text(
        'MODALITY = "audio"\nKIND = "voxel"\nPLANTED = False\nLICENCE = "CC0"\n'
        'COUNTS = {"stimuli": 3, "voxels": None}\nPARTS = {"more": "all the rest"}\n'
    )
    (tmp_path / "web.files.csv").write_text(
        "url,sha256,size,part\nhttps://a.org/one.h5,,,\nhttps://a.org/two.h5,,5,more\n"
    )
    row = catalogue.targets().iloc[0]
    assert row[["stimuli", "voxels", "subjects", "download_mb", "parts"]].tolist() == [
        "3",
        "?",
        "-",
        "?",
        "more",
    ]


def test_parts_are_fetched_only_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(plugins.FOLDERS, "target", tmp_path)
    (tmp_path / "web.py").write_text('PARTS = {"more": "all the rest"}\nSHARES = ("other",)\n')
    (tmp_path / "other.py").write_text("")
    (tmp_path / "web.files.csv").write_text(
        "url,sha256,size,part\nhttps://a.org/one.h5,,,\nhttps://a.org/two.h5,,5,more\n"
    )
    (tmp_path / "other.files.csv").write_text(
        f"url,sha256,size\nhttps://a.org/three.h5,{'0' * 64},7\nhttps://a.org/one.h5,,\n"
    )
    assert [url[-6:] for url in registry("web")["url"]] == ["one.h5", "ree.h5"]
    assert registry("web", ["more"])["size"].tolist() == [0, 5, 7]
    assert registry("web")["sha256"].tolist() == ["", "0" * 64]
    with pytest.raises(ValueError, match="unknown part of web 'mor'; did you mean more"):
        registry("web", ["mor"])
