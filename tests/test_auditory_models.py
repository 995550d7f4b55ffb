"""The table of the 36 models of hearing holds what was published, and says of each where it is or why not."""

import json
import os
from pathlib import Path

import pytest
from matplotlib import colors

from lib import auditory_models, cochnets, plugins

# Facts of Tuckute et al. (2023): models by architecture, and layers of each.
COUNTS = {
    "CochCNN9": (13, 9),
    "CochResNet50": (13, 7),
    "AST": (1, 14),
    "wav2vec": (1, 14),
    "S2T": (1, 13),
    "sepformer": (1, 33),
    "VGGish": (1, 13),
    "DS2": (1, 8),
    "DCASE2020": (1, 5),
    "ZeroSpeech2020": (1, 5),
    "metricGAN": (1, 4),
    "SpectroTemporal": (1, 1),
}
NETWORKS = auditory_models.networks()
HERE = NETWORKS[NETWORKS["model"] != ""]


@pytest.fixture(scope="module")
def published():
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE is unset")
    return json.loads((Path(folder) / "auditory_models.json").read_text())["models"]


def test_every_architecture_has_its_models_and_layers():
    assert len(NETWORKS) == NETWORKS.index.nunique() == NETWORKS["label"].nunique() == 36
    found = {
        network: (len(rows), len(auditory_models.layers(rows.index[0])))
        for network, rows in NETWORKS.groupby("network")
    }
    assert found == COUNTS


@pytest.mark.reference
def test_identifiers_labels_and_layers_are_the_published_ones_in_order(published):
    assert set(NETWORKS.index) == set(published)
    for identifier, known in published.items():
        table = auditory_models.layers(identifier)
        assert NETWORKS.loc[identifier, "label"] == known["display_name"]
        assert table["layer"].tolist() == known["layers"]
        assert table["label"].tolist() == known["layer_display_names"]


@pytest.mark.reference
def test_models_here_have_the_published_colours(published):
    ours = {name: plugins.about("model", name)["COLOUR"] for name in HERE["model"]}
    # SpectroTemporal, bundled and drawn beside networks of vision, has a grey of its own.
    differing = [
        identifier
        for identifier, name in HERE["model"].items()
        if colors.to_hex(published[identifier]["colour"]) != ours[name]
    ]
    assert differing == ["spectemp"]


@pytest.mark.parametrize("identifier", HERE.index)
def test_a_model_here_has_the_published_layers_in_order(identifier):
    name = HERE.loc[identifier, "model"]
    assert name in plugins.names("model")
    assert plugins.about("model", name)["LAYERS"] == tuple(auditory_models.layers(identifier)["model_layer"])
    assert plugins.about("model", name)["LABEL"] == HERE.loc[identifier, "label"]


def test_a_model_that_is_missing_says_why_and_has_no_layers_here():
    missing = NETWORKS[NETWORKS["model"] == ""]
    assert set(missing.index) == {"DS2", "DCASE2020", "ZeroSpeech2020", "metricGAN", "sepformer"}
    assert (missing["note"] != "").all()
    for identifier in missing.index:
        assert (auditory_models.layers(identifier)["model_layer"] == "").all()


def test_weights_are_where_the_models_take_them_from():
    for identifier, row in HERE.iterrows():
        known = plugins.about("model", row["model"])
        given = known.get("WEIGHTS", cochnets.CHECKPOINTS if known.get("MEMBER") else "")
        assert row["weights"] == given, identifier
        assert row["weights"] or row["note"], identifier


def test_released_activations_are_found_for_every_identifier():
    assert set(NETWORKS["released"]) <= set(plugins.names("model"))
    assert NETWORKS["released"].nunique() == 36


def test_an_unknown_identifier_names_the_nearest():
    with pytest.raises(
        ValueError, match="unknown model of hearing 'Kell2018words'; did you mean Kell2018word"
    ):
        auditory_models.layers("Kell2018words")


def test_what_networks_were_trained_on_is_in_their_names():
    table = auditory_models.trained().set_index("model")
    assert table.loc["cochresnet50_speaker_clean_seed2"].tolist() == ["CochResNet50", "speaker", True, 2]
    assert table.loc["released_cochcnn9_audioset"].tolist() == ["CochCNN9", "audioset", False, 1]
    assert len(table) == 2 * 26  # 13 of each architecture, run here or released
    assert set(table["task"]) == {"word", "speaker", "genre", "audioset", "multitask"}
