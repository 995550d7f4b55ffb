"""The tables of what there is agree with the plug-ins."""

from lib import catalogue, plugins


def test_every_plugin_is_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    models, targets = catalogue.models(), catalogue.targets()
    assert list(models["model"]) == plugins.names("model")
    assert list(targets["target"]) == plugins.names("target")
    assert (models["layers"] > 0).all()
    assert (targets["here"] == "no").all()
    assert (targets.loc[targets["planted"] == "yes", "download_mb"] == 0).all()
