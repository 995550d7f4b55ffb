"""Sizes of data sets and networks are those on disk, stated, or tabulated from a forward pass."""

import json

import numpy as np
import pytest
import xarray as xr

from lib import artefacts, auditory_models, bh29, models, network_cost, study_sizes


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))


def test_sizes_are_read_from_what_is_there(tmp_path):
    train = np.arange(40) % 2 == 0
    responses = xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), np.zeros((3, 40, 20))),
            "train": (("split", "stimulus"), np.stack([train, ~train])),
        },
        coords={"subject": ("voxel", ["p"] * 20), "roi": ("voxel", ["a"] * 10 + ["b"] * 10)},
        attrs={"kind": "voxel"},
    )
    artefacts.save(responses, tmp_path / "data" / "download" / "planted_audio" / "responses.nc")
    assert study_sizes.target("planted_audio") == study_sizes.Target(40, 20, 2, 3, (10, 10), 1, 3)
    file = tmp_path / "data" / "extract" / "crepe_tiny" / "planted_audio" / "features.nc"
    made = xr.Dataset(
        {"b": (("stimulus", "unit_b"), np.zeros((4, 7))), "a": (("stimulus", "unit_a"), np.zeros((4, 5)))}
    )
    artefacts.save(made.assign_attrs(layers=json.dumps(["b", "a"])), file)
    assert study_sizes.network("crepe_tiny", "planted_audio").units == (7, 5)


def test_sizes_are_those_stated_where_nothing_is_there():
    stated = study_sizes.target("b2021")
    assert (stated.n_stimuli, stated.n_train, stated.n_voxels, stated.n_columns) == (165, 83, 26792, 107168)
    assert (len(stated.cells), stated.n_rdms) == (80, 100)
    assert study_sizes.target("deeprecon") is None  # its voxels are not published
    assert study_sizes.network("resnet50") is None or study_sizes.network("resnet50").units


@pytest.mark.parametrize("model", ["resnet18", "squeezenet1_1", "cochresnet50_genre"])
def test_tabulated_sizes_are_those_of_the_network(model):
    known = study_sizes.units(model)
    cost = network_cost.measured(model, layers=tuple(known))
    assert cost.pop("units") == known
    assert study_sizes.passes(model) == cost


def test_every_layer_of_the_two_papers_that_is_here_is_tabulated():
    for network, row in bh29.networks().iterrows():
        modules = [module for module in bh29.layers(network)["module"] if module and row["model"]]
        assert set(modules) <= set(study_sizes.units(row["model"])), network
    known = auditory_models.networks()
    for architecture, rows in known.groupby("network"):
        layers = [layer for layer in auditory_models.layers(rows.index[0])["model_layer"] if layer]
        assert any(set(layers) <= set(study_sizes.units(model)) for model in rows["model"]), architecture


def test_spectrotemporal_layer_is_the_published_one():
    assert study_sizes.units("spectemp") == {models.load("spectemp").layers[0]: 111 * 211}


def test_models_of_one_architecture_share_their_sizes():
    assert study_sizes.twin("cochresnet50_word") == study_sizes.twin("released_cochresnet50_speaker") != ""
    assert (
        study_sizes.network("released_cochresnet50_word").units
        == study_sizes.network("cochresnet50_word").units
    )
    assert study_sizes.network("released_cochresnet50_word").traffic == 0  # no pass is needed
    assert study_sizes.network("released_sepformer").units[0] == study_sizes.ASSUMED_UNITS
    assert study_sizes.twin("vit_b_32") == ""
