"""Costs foretold without weights or stimuli are those of the extraction."""

import pandas as pd
import pytest
import toy

from lib import artefacts, budget, features, forecast, models
from lib.reduction import Reduction


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "how"),
    [("efficientnet_lite0", {}), ("efficientnet_lite0.permuted", {"pooling": "mean"}), ("crepe_tiny", {})],
)
def test_plan_foretells_what_is_written(name, how, tmp_path):
    model = models.load(name)
    table = (
        toy.pictures(tmp_path, 3) if model.modality == "vision" else toy.sounds(tmp_path, 3, n_samples=32000)
    )
    cost = forecast.plan(name, 3, reduce=Reduction(**how))
    features.extract(model, table, tmp_path / "a.nc", reduce=Reduction(**how))
    assert cost["units"] == features.units(tmp_path / "a.nc")
    assert cost["bytes"] == 12 * sum(cost["units"].values())
    assert 0 < cost["seconds"] < 60
    assert 1e8 < cost["peak_memory"] < 4e9


def test_cost_grows_with_the_stimuli_and_nothing_is_fetched(monkeypatch):
    def no_weights(*_, **__):
        raise AssertionError("weights are wanted")

    monkeypatch.setattr("lib.download.fetch", no_weights, raising=False)
    few, many = (forecast.plan("efficientnet_lite0", n, layers="every-block") for n in (10, 1000))
    assert many["bytes"] == 100 * few["bytes"]
    assert many["seconds"] > 10 * few["seconds"]
    assert len(many["units"]) == 19


def test_model_without_learned_weights_is_itself():
    assert forecast.untrained("spectemp").name == "spectemp"
    assert forecast.untrained("crepe_tiny.permuted").name == "crepe_tiny.random"


def test_what_is_said_is_what_the_plan_says(tmp_path):
    said = forecast.said("crepe_tiny.permuted", "planted_audio", {})
    n_stimuli = 165  # stated by the plug-in, since nothing is downloaded
    bytes_each = 4 * sum(forecast.plan("crepe_tiny", 1)["units"].values())
    assert said.startswith(f"{budget.size(n_stimuli * bytes_each)} on disk, ")
    half = forecast.said("crepe_tiny", "planted_audio", {"precision": "float16"})
    assert half.startswith(f"{budget.size(n_stimuli * bytes_each / 2)} on disk, ")
    folder = tmp_path / "data" / "download" / "planted_audio"
    artefacts.save_table(pd.DataFrame({"stimulus": ["a", "b"]}), folder / "stimuli.csv")
    assert forecast.said("crepe_tiny", "planted_audio", {}).startswith(
        f"{budget.size(2 * bytes_each)} on disk"
    )


def test_what_cannot_be_foretold_is_said():
    assert "published" in forecast.said("released_ast", "nh2015", {})
    assert "not known" in forecast.said("crepe_tiny", "metamer_recognition", {})
