"""Networks of many families go through extraction alike: names, order and sizes of layers."""

import gc

import numpy as np
import pytest
import toy

from lib import features, models, plugins

# Units of some layers for one stimulus, from the papers' sizes at 224 px, or 2 s; time is averaged out.
FAMILIES = {
    "squeezenet1_1": {"features.2": 64 * 55 * 55},
    "resnet18": {"maxpool": 64 * 56 * 56, "layer4.1": 512 * 7 * 7, "fc": 1000},
    "densenet121": {"features.denseblock4": 1024 * 7 * 7, "classifier": 1000},
    "mobilenet_v3_large": {"features.0": 16 * 112 * 112, "features.16": 960 * 7 * 7, "avgpool": 960},
    "convnext_tiny": {"features.7.2": 768 * 7 * 7},
    "swin_t": {"features.7.1": 7 * 7 * 768},
    "vit_b_32": {"encoder.layers.encoder_layer_11": 50 * 768},
    "cornet_rt": {"IT.output": 512 * 7 * 7},
    "resnet56_cifar10": {"layer3.8": 64 * 8 * 8, "linear": 10},
    "taskonomy_random": {"block4": 2048 * 16 * 16, "encoder_output": 8 * 16 * 16},
    "vggish": {"relu_9": 128},
    "cochresnet50_word": {"conv1_relu1": 6784, "layer4": 14336, "avgpool": 2048},
    "wav2vec2_base": {"extractor": 512, "encoder_1": 768, "encoder_12": 768},
}


@pytest.mark.parametrize("name", FAMILIES)
def test_network_is_extracted_layer_by_layer(name, tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    known = plugins.about("model", name)
    model = models.load(f"{name}.random" if "random" in known["CONTROLS"] else name)
    vision = model.modality == "vision"
    table = toy.pictures(tmp_path, 2) if vision else toy.sounds(tmp_path, 2, n_samples=40000)
    features.extract(model, table, tmp_path / "a.nc", batch_size=2)
    units = features.units(tmp_path / "a.nc")
    assert tuple(units) == known["LAYERS"]
    assert {layer: units[layer] for layer in FAMILIES[name]} == FAMILIES[name]
    for layer in units:
        rows = np.concatenate(list(features.blocks(tmp_path / "a.nc", layer)), axis=1)
        assert np.isfinite(rows).all()
        assert np.ptp(rows, axis=0).max() > 0, layer  # two stimuli, two rows
    del model
    gc.collect()
