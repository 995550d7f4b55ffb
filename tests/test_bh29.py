"""The 29 networks of the brain hierarchy score: layers as published, and modules here that exist and come in order."""

import importlib
import json
import os
from pathlib import Path

import pytest
import torch

from lib import activations, bh29, plugins

NETWORKS = list(bh29.networks().index)
HERE = [network for network in NETWORKS if bh29.networks().loc[network, "model"]]


@pytest.fixture
def published():
    """Layers by network, of the authors' settings."""
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE is not set; it would hold the authors' settings")
    return json.loads((Path(folder) / "hierarchy_settings_summary.json").read_text(encoding="utf-8"))


def sketch(network):
    """The network here without numbers, and an input for it."""
    name = bh29.networks().loc[network, "model"]
    plugin = importlib.import_module(f"lib.models.{plugins.path('model', name).stem}")
    size = plugins.about("model", name)["INPUT"]["size"]
    with torch.device("meta"):
        return plugin.build(name, trained=False), torch.zeros(1, 3, size, size)


def test_there_are_29_networks_with_705_layers():
    # Nonaka et al. (2021): 29 networks; 705 is the sum over the authors' settings.
    assert len(NETWORKS) == len(set(NETWORKS)) == 29
    assert sum(len(bh29.layers(network)) for network in NETWORKS) == 705
    for network in NETWORKS:
        table = bh29.layers(network)
        assert not table["layer"].duplicated().any()
        # Of each network the first layer, and no other, is an absolute value.
        assert table["absolute"].tolist() == [True] + [False] * (len(table) - 1)


@pytest.mark.reference
def test_layers_are_those_of_the_authors_settings(published):
    assert list(published) == NETWORKS
    for network, expected in published.items():
        assert bh29.layers(network)["layer"].tolist() == expected["layers"]
        assert bh29.networks().loc[network, "folder"] == expected["dir"]


def test_each_network_has_a_model_or_a_reason():
    table = bh29.networks()
    assert set(table["match"]) == set(bh29.MATCHES)
    assert ((table["model"] == "") == (table["match"] == "")).all()
    assert (table["note"].str.len() > 10).all()
    assert set(table["model"]) - {""} <= set(plugins.names("model"))
    assert not table.loc[table["model"] != "", "model"].duplicated().any()


@pytest.mark.parametrize("network", NETWORKS)
def test_all_layers_of_a_network_have_a_module_or_none_has(network):
    modules = bh29.layers(network)["module"]
    assert (modules != "").all() if network in HERE else (modules == "").all()
    assert network not in HERE or not modules.duplicated().any()


@pytest.mark.parametrize("network", HERE)
def test_modules_exist_and_come_in_the_published_order(network):
    modules = bh29.layers(network)["module"].tolist()
    assert list(activations.record(*sketch(network), modules)) == modules


def test_released_features_have_the_same_layers():
    found = {}
    for name in plugins.names("model"):
        known = plugins.about("model", name)
        if known.get("NETWORK") in set(bh29.networks()["folder"]):
            found[known["NETWORK"]] = list(known["LAYERS"])
    for folder, layers in found.items():
        assert bh29.layers(folder)["layer"].tolist() == layers


def test_a_network_goes_by_its_name_or_its_folder():
    assert bh29.layers("SqueezeNet-1.1").equals(bh29.layers("caffe/SqueeseNet"))
    for wrong, hint in (("AlexNett", "AlexNet"), ("ResNet50-v2", "ResNet-50-v2")):
        with pytest.raises(ValueError, match=f"unknown network of the brain hierarchy score.*{hint}"):
            bh29.layers(wrong)


def test_layers_are_put_in_published_order_and_strangers_last():
    layers = bh29.layers("MobileNet-v2-1.4-224")["layer"].tolist()
    assert sorted(layers) != layers
    for network in ("MobileNet-v2-1.4-224", "tensorflow/mobilenet_v2_1.4_224"):
        assert bh29.ordered(network, [*sorted(layers), "b", "a"]) == [*layers, "a", "b"]
    assert bh29.ordered("mine", {"b", "a", "Logits"}) == ["Logits", "a", "b"]
