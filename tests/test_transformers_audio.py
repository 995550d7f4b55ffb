"""AST, Speech2Text and Whisper as the package transformers runs them, with every stage within reach."""

import re
import sys

import numpy as np
import pytest
import torch

from lib import activations, controls, models, plugins, sounds, validation, weights
from lib.models import transformers_audio as encoders

transformers = pytest.importorskip("transformers", reason="the extra [transformers] is not installed")

SMALL = {
    "ast": {
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "num_labels": 5,
    },
    "speech2text": {
        "d_model": 16,
        "encoder_layers": 3,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "conv_channels": 8,
        "max_source_positions": 200,
    },
    "whisper": {"d_model": 16, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 32},
}
# The spectrograms of the package are taken in NumPy or float32 in another order than ours.
TOLERANCE = 2e-4


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sound(seed=0, *, duration_s=1.0):
    return 0.1 * np.random.default_rng(seed).standard_normal(round(16_000 * duration_s)), 16_000


def small(name):
    """An encoder of few channels whose weights are large enough for every stage to matter."""
    torch.manual_seed(0)
    return models.frozen(controls.random(encoders._ENCODERS[name](SMALL[name]), seed=1))


def taps(module):
    return [name for name, _ in module.named_children() if name not in ("spectrogram", "network")]


def as_model(name):
    module = small(name)
    return models.Model(
        name=name,
        label=name,
        colour="#000000",
        modality="audio",
        layers=("embedding", *[name for name in taps(module) if name != "embedding"]),
        time_axis=encoders.TIME_AXIS,
        module=module,
        preprocess=lambda stimulus: sounds.whole(stimulus, encoders.INPUT),
        digest="",
    )


def recorded(module, waveform):
    return activations.record(module, torch.from_numpy(waveform).float()[None], taps(module))


def test_ast_equals_the_package_from_waveform_to_classes():
    module, (waveform, rate_hz) = small("ast"), sound()
    given = transformers.ASTFeatureExtractor()(waveform, sampling_rate=rate_hz, return_tensors="pt")
    encoder = module.network.audio_spectrogram_transformer
    inner = [f"audio_spectrogram_transformer.layers.{i}.mlp.fc2" for i in range(3)]
    inner.append("audio_spectrogram_transformer.embeddings.patch_embeddings.projection")
    expected = activations.record(module.network, given.input_values, inner)
    found = recorded(module, waveform)
    for i in range(3):
        assert activations.difference(expected[inner[i]], found[f"encoder_{i + 1}"]) < TOLERANCE
    convolved = expected[inner[-1]].permute(0, 3, 1, 2)
    assert convolved.shape == found["embedding"].shape == (1, 101, 24, 12)
    assert activations.difference(convolved, found["embedding"]) < TOLERANCE
    logits = module.network(given.input_values).logits
    assert activations.difference(logits, found["final"]) < TOLERANCE
    assert len(encoder.layers) == 3


@pytest.mark.parametrize(
    ("name", "extractor"),
    [("speech2text", "Speech2TextFeatureExtractor"), ("whisper", "WhisperFeatureExtractor")],
)
def test_hidden_states_equal_the_package_from_the_waveform_on(name, extractor):
    module, (waveform, rate_hz) = small(name), sound(duration_s=1.3)
    given = getattr(transformers, extractor)()(waveform, sampling_rate=rate_hz, return_tensors="pt")
    expected = module.network(given.input_features, output_hidden_states=True).hidden_states
    found = recorded(module, waveform)
    assert len(found) == len(expected) == 4
    for name, value in zip(["embedding", "encoder_1", "encoder_2", "encoder_3"], expected, strict=True):
        assert value.shape == found[name].shape
        assert activations.difference(value, found[name]) < TOLERANCE, name


@pytest.mark.parametrize("name", SMALL)
def test_encoders_keep_the_contract(name):
    validation.validate(as_model(name), [sound(0), sound(1)])


@pytest.mark.parametrize("name", encoders.VARIANTS)
def test_layers_of_the_full_networks_are_their_stages_in_order(name):
    with torch.device("meta"):
        module = encoders.build(name, trained=False)
    assert set(plugins.about("model", name)["LAYERS"]) == set(taps(module))


def test_speech_with_a_silent_band_stays_finite():
    module = small("speech2text")
    hum = np.sin(2 * np.pi * 100 * np.arange(16_000) / 16_000) * 1e-6
    assert all(tap.isfinite().all() for tap in recorded(module, hum).values())


def test_sounds_longer_than_ast_and_whisper_hear_are_cut():
    waveform = sound(duration_s=31)[0]
    for name, n_heard in (("ast", 1024 * 160 + 240), ("whisper", 480_000)):
        module = small(name)
        whole, cut = recorded(module, waveform), recorded(module, waveform[:n_heard])
        assert all(torch.equal(whole[tap], cut[tap]) for tap in whole)


def test_stored_names_of_ast_are_those_of_the_package():
    module = small("ast")
    stored = set()
    for name in module.network.state_dict():
        layer = r"^(audio_spectrogram_transformer\.)layers\.(\d+)\."
        match = re.match(layer, name)
        rest = re.sub(layer, "", name)
        for ours, theirs in {
            "attention.q_proj": "attention.attention.query",
            "attention.k_proj": "attention.attention.key",
            "attention.v_proj": "attention.attention.value",
            "attention.o_proj": "attention.output.dense",
            "mlp.fc1": "intermediate.dense",
            "mlp.fc2": "output.dense",
        }.items():
            rest = re.sub(rf"^{re.escape(ours)}\.", f"{theirs}.", rest)
        stored.add(f"{match[1]}encoder.layer.{match[2]}.{rest}" if match else name)
    assert "audio_spectrogram_transformer.encoder.layer.2.attention.output.dense.bias" in stored
    assert "classifier.dense.weight" in stored
    assert {module.renamed(name) for name in stored} == set(module.network.state_dict())


@pytest.mark.parametrize("name", ["speech2text", "whisper"])
def test_stored_encoders_load_without_their_decoder(name):
    module, twin = small(name), encoders._ENCODERS[name](SMALL[name])
    state = {f"model.encoder.{key}": value for key, value in module.network.state_dict().items()}
    state |= {"model.decoder.layer_norm.weight": torch.ones(3), "proj_out.weight": torch.ones(3)}
    state |= {"model.encoder.embed_positions.weights": torch.ones(3)} if name == "speech2text" else {}
    weights.into(twin.network, state, rename=twin.renamed)
    waveform = sound()[0]
    first, second = recorded(module, waveform), recorded(models.frozen(twin), waveform)
    assert all(torch.equal(first[tap], second[tap]) for tap in first)


def test_without_the_package_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"optional: install it by pip install -e '\.\[transformers\]'"
    ):
        encoders.build("ast", trained=False)
