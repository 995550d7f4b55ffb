"""wav2vec 2.0, HuBERT and WavLM as torchaudio runs them, with every stage within reach."""

import re

import numpy as np
import pytest
import torch
import torchaudio
from torchaudio.pipelines._wav2vec2 import utils

from lib import activations, controls, models, plugins, validation
from lib.models import torchaudio_bundles as bundles

BUNDLES = {
    "wav2vec2_base": torchaudio.pipelines.WAV2VEC2_BASE,
    "wav2vec2_asr_base_960h": torchaudio.pipelines.WAV2VEC2_ASR_BASE_960H,
    "hubert_base": torchaudio.pipelines.HUBERT_BASE,
    "wavlm_base": torchaudio.pipelines.WAVLM_BASE,
}
SMALL = {
    "extractor_mode": "group_norm",
    "extractor_conv_layer_config": [(16, 10, 5), *[(16, 3, 2)] * 4, *[(16, 2, 2)] * 2],
    "extractor_conv_bias": False,
    "encoder_embed_dim": 24,
    "encoder_projection_dropout": 0.1,
    "encoder_pos_conv_kernel": 16,
    "encoder_pos_conv_groups": 4,
    "encoder_num_layers": 3,
    "encoder_num_heads": 4,
    "encoder_attention_dropout": 0.1,
    "encoder_ff_interm_features": 32,
    "encoder_ff_interm_dropout": 0.1,
    "encoder_dropout": 0.1,
    "encoder_layer_norm_first": False,
    "encoder_layer_drop": 0.05,
    "aux_num_out": 7,
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def wavlm():
    return models.load("wavlm_base.random")


def sound(seed=0, *, rate_hz=22_050, duration_s=0.5):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(round(rate_hz * duration_s)), rate_hz


def small(*, kind="wav2vec2", **changes):
    torch.manual_seed(0)
    if kind == "wavlm":
        settings = SMALL | changes | {"encoder_num_buckets": 8, "encoder_max_distance": 16}
        return torchaudio.models.wavlm_model(**settings).eval()
    return torchaudio.models.wav2vec2_model(**SMALL | changes).eval()


@pytest.mark.parametrize("name", BUNDLES)
def test_networks_and_addresses_are_those_of_the_bundle(name):
    bundle, known = BUNDLES[name], bundles.VARIANTS[name]
    with torch.device("meta"):
        ours = getattr(torchaudio.models, known["FACTORY"])(aux_num_out=known["N_CLASSES"] or None)
        theirs = utils._get_model(bundle._model_type, bundle._params)
    shapes = [{key: value.shape for key, value in net.state_dict().items()} for net in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert known["WEIGHTS"] == f"https://download.pytorch.org/torchaudio/models/{bundle._path}"
    assert bundle.sample_rate == bundles.INPUT["rate_hz"]
    assert not bundle._normalize_waveform
    assert getattr(bundle, "_remove_aux_axis", bundles._UNUSED_SYMBOLS) == bundles._UNUSED_SYMBOLS


@pytest.mark.parametrize("name", BUNDLES)
def test_layers_are_modules_in_order(name):
    with torch.device("meta"):
        module = bundles.build(name, trained=False)
    known = plugins.about("model", name)
    assert [part for part in dict(module.named_modules()) if part in known["LAYERS"]] == list(known["LAYERS"])


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("kind", ["wav2vec2", "wavlm"])
def test_stages_equal_torchaudios_own_outputs(kind, first):
    network = small(kind=kind, encoder_layer_norm_first=first)
    waveform = torch.randn(2, 4000, generator=torch.Generator().manual_seed(1))
    module = bundles.Tokens(network)
    found = activations.record(module, waveform, module.taps)
    expected = network.extract_features(waveform)[0]
    assert len(expected) == 3
    # The same operations in the same order: equal to the last bit.
    for i, value in enumerate(expected):
        assert torch.equal(found[f"encoder_{i + 1}"], value)
    assert torch.equal(found["extractor"], network.feature_extractor(waveform, None)[0])
    assert torch.equal(found["final"], network(waveform)[0])
    assert torch.equal(module(waveform), found["final"])


def test_the_embedding_is_what_the_first_layer_is_given():
    network = small()
    given = []
    network.encoder.transformer.layers[0].register_forward_pre_hook(lambda _, args: given.append(args[0]))
    waveform = torch.randn(1, 4000)
    found = activations.record(bundles.Tokens(network), waveform, ["embedding"])
    assert torch.equal(found["embedding"], given[0])


def test_a_network_of_full_size_keeps_the_contract(wavlm):
    validation.validate(wavlm, [sound(0), sound(1)])


def test_tokens_come_every_20_ms_and_are_averaged(wavlm):
    given = wavlm.preprocess(sound(duration_s=1.0))[None]
    found = activations.record(wavlm.module, given, ["extractor", "encoder_12"])
    # Seven convolutions over 400 samples in steps of 320.
    assert found["extractor"].shape == (1, (16_000 - 400) // 320 + 1, 512)
    assert found["encoder_12"].mean(wavlm.time_axis).shape == (1, 768)


def old_name(match):
    """How torch called a part of a normalised kernel until version 2.0."""
    return {"0": "weight_g", "1": "weight_v"}[match[1]]


def test_stored_weights_give_torchaudios_network(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path / "home"))
    twin = small(aux_num_out=10)  # three of them unused
    known = bundles.VARIANTS["wav2vec2_asr_base_960h"]
    path = tmp_path / "mirror" / known["WEIGHTS"].removeprefix("https://")
    path.parent.mkdir(parents=True)
    state = {
        re.sub(r"parametrizations\.weight\.original(\d)", old_name, k): v
        for k, v in twin.state_dict().items()
    }
    assert {"encoder.transformer.pos_conv_embed.conv.weight_g"} <= state.keys()
    torch.save(state, path)
    monkeypatch.setattr(
        torchaudio.models, known["FACTORY"], lambda aux_num_out: small(aux_num_out=aux_num_out - 22)
    )
    module = bundles.build("wav2vec2_asr_base_960h")
    waveform = torch.randn(1, 4000)
    expected = twin(waveform)[0][..., [0, *range(4, 10)]]
    # Another shape of the last product may be summed in another order.
    assert activations.difference(expected.detach(), module(waveform)) < 1e-5


def test_controls_reach_every_stage_of_the_copy():
    module = bundles.frozen(bundles.Tokens(small()))
    waveform = torch.randn(1, 4000)
    first = activations.record(module, waveform, module.taps)
    for control in ("permuted", "random"):
        second = activations.record(controls.controlled(module, control), waveform, module.taps)
        assert all(activations.difference(first[tap], second[tap]) > 0.01 for tap in module.taps)
