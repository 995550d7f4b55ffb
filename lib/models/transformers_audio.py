"""Transformers on the spectrogram: AST, Speech2Text and Whisper, built from the optional package transformers.

Each begins with its own spectrogram of 16 kHz sound, in torch, so that gradients reach the waveform; its
first layer is what the first transformer layer is given. Features are averaged over tokens, those of the
silence that AST and Whisper add to every sound included: AST hears 10.24 s, Whisper 30 s.
"""

import importlib

import torch
import torchaudio
from torch import nn
from torch.nn import functional
from torchaudio.compliance import kaldi

from lib import sounds, weights
from lib.models import frozen

MODALITY = "audio"
LAYERS = (
    "embedding",
    "encoder_1",
    "encoder_2",
    "encoder_3",
    "encoder_4",
    "encoder_5",
    "encoder_6",
    "encoder_7",
    "encoder_8",
    "encoder_9",
    "encoder_10",
    "encoder_11",
    "encoder_12",
)
TIME_AXIS = 1
CONTROLS = ("permuted", "random")
BUNDLED = False
INPUT = {"rate_hz": 16000, "shortest_s": 0.1}
# SETTINGS are those of the published configuration that differ from the package's defaults.
VARIANTS = {
    "ast": {
        "LABEL": "AST",
        "COLOUR": "#ba55d3",
        "ENCODER": "ast",
        "SETTINGS": {"num_labels": 527},
        "WEIGHTS": "https://huggingface.co/MIT/ast-finetuned-audioset-10-10-0.4593/resolve/main/pytorch_model.bin",
        "LAYERS": (
            "embedding",
            "encoder_1",
            "encoder_2",
            "encoder_3",
            "encoder_4",
            "encoder_5",
            "encoder_6",
            "encoder_7",
            "encoder_8",
            "encoder_9",
            "encoder_10",
            "encoder_11",
            "encoder_12",
            "final",
        ),
        "LICENCE": "BSD-3-Clause (weights)",
        "CITATION": "Gong, Chung & Glass (2021), Interspeech. doi:10.21437/Interspeech.2021-698",
    },
    "speech2text_large": {
        "LABEL": "S2T",
        "COLOUR": "#8a2be2",
        "ENCODER": "speech2text",
        "SETTINGS": {
            "d_model": 1024,
            "encoder_attention_heads": 16,
            "encoder_ffn_dim": 4096,
            "max_source_positions": 6000,
        },
        "WEIGHTS": "https://huggingface.co/facebook/s2t-large-librispeech-asr/resolve/main/pytorch_model.bin",
        "LICENCE": "MIT (weights)",
        "CITATION": "Wang et al. (2020), AACL (demonstrations). arXiv:2010.05171",
    },
    "whisper_base": {
        "LABEL": "Whisper (base)",
        "COLOUR": "#5b7c99",
        "ENCODER": "whisper",
        "SETTINGS": {
            "d_model": 512,
            "encoder_layers": 6,
            "encoder_attention_heads": 8,
            "encoder_ffn_dim": 2048,
        },
        "WEIGHTS": "https://huggingface.co/openai/whisper-base/resolve/main/pytorch_model.bin",
        "LAYERS": (
            "embedding",
            "encoder_1",
            "encoder_2",
            "encoder_3",
            "encoder_4",
            "encoder_5",
            "encoder_6",
        ),
        "LICENCE": "Apache-2.0 (weights)",
        "CITATION": "Radford, Kim, Xu, Brockman, McLeavey & Sutskever (2023), ICML. arXiv:2212.04356",
    },
}


class KaldiMel(nn.Module):
    """Logarithm of a sound's energy in mel bands every 10 ms, as the Kaldi toolkit takes it.

    Parameters
    ----------
    n_bands : int
    scale : float
        Full scale of the waveform that the network was trained on.
    window : str
        Name of the window of 25 ms.
    """

    def __init__(self, n_bands, *, scale=1.0, window="povey"):
        super().__init__()
        self.scale, self.options = scale, {"num_mel_bins": n_bands, "window_type": window}

    def forward(self, waveform):
        """From (batch, sample) to (batch, frame, band)."""
        rate_hz = INPUT["rate_hz"]
        return torch.stack(
            [
                kaldi.fbank(self.scale * sound[None], sample_frequency=rate_hz, **self.options)
                for sound in waveform
            ]
        )

    def extra_repr(self):
        return f"scale={self.scale}, {self.options}"


class WhisperMel(nn.Module):
    """Logarithm of a sound's power in 80 mel bands every 10 ms, limited to 80 dB below its peak."""

    N_SAMPLES, WINDOW, HOP = 480_000, 400, 160

    def __init__(self):
        super().__init__()
        with torch.device("cpu"):  # torchaudio looks at their values, which the meta device does not have
            filters = torchaudio.functional.melscale_fbanks(
                *(self.WINDOW // 2 + 1, 0.0, 8000.0, 80, INPUT["rate_hz"]), norm="slaney", mel_scale="slaney"
            )
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(self.WINDOW), persistent=False)

    def forward(self, waveform):
        """From (batch, sample), filled up with silence to 30 s or cut there, to (batch, 3000, 80)."""
        whole = functional.pad(waveform, (0, self.N_SAMPLES - waveform.shape[-1]))
        spectrum = torch.stft(whole, self.WINDOW, self.HOP, window=self.window, return_complex=True)
        power = spectrum[..., :-1].real ** 2 + spectrum[..., :-1].imag ** 2
        level = (power.transpose(1, 2) @ self.filters).clamp(min=1e-10).log10()
        return (torch.maximum(level, level.amax((1, 2), keepdim=True) - 8) + 4) / 4


class Stages(nn.Module):
    """An encoder of the package whose stages put out one tensor each, (batch, token, feature).

    Parameters
    ----------
    spectrogram : torch.nn.Module
        From waveforms (batch, sample) to (batch, frame, band).
    network : torch.nn.Module
        Of the package, with its transformer layers.
    """

    def __init__(self, spectrogram, network):
        super().__init__()
        self.spectrogram, self.network = spectrogram, network
        self.embedding = nn.Identity()
        for i in range(len(self.layers)):
            self.add_module(f"encoder_{i + 1}", nn.Identity())

    @property
    def layers(self):
        """Transformer layers of the package."""
        return self.network.layers

    @property
    def taps(self):
        """Modules that change nothing, one behind each transformer layer."""
        return [self.get_submodule(f"encoder_{i + 1}") for i in range(len(self.layers))]

    def encoded(self, x):
        """What the transformer makes of its embedding, after the last normalisation.

        As where the package gives its hidden states, that of the last layer is the normalised one.
        """
        x = self.embedding(x)
        for layer, tap in zip(self.layers[:-1], self.taps[:-1], strict=True):
            x = tap(layer(x, None))
        return self.taps[-1](self.network.layer_norm(self.layers[-1](x, None)))

    @staticmethod
    def renamed(key):
        """Name in `network` of a stored tensor, None for what belongs to the decoder or is no weight."""
        stem = key.removeprefix("model.encoder.")
        return None if stem == key or stem == "embed_positions.weights" else stem


class Ast(Stages):
    """Audio Spectrogram Transformer.

    As published, its stages are the convolution that makes tokens, by its frames (batch, frame, channel,
    band), and the second linear map of each transformer layer, before what goes around it is added.
    """

    N_FRAMES, MEAN, STD = 1024, -4.2677393, 4.5689974  # level of AudioSet in logarithmic units

    def __init__(self, settings):
        package = _package()
        network = package.ASTForAudioClassification(package.ASTConfig(**settings))
        super().__init__(KaldiMel(network.config.num_mel_bins, window="hanning"), network)
        self.final = nn.Identity()

    @property
    def layers(self):
        """Transformer layers of the package."""
        return self.network.audio_spectrogram_transformer.layers

    def forward(self, waveform):
        """From waveforms (batch, sample) to the 527 classes of AudioSet, (batch, class)."""
        level = self.spectrogram(waveform)
        level = functional.pad(level, (0, 0, 0, self.N_FRAMES - level.shape[1]))
        encoder = self.network.audio_spectrogram_transformer
        level = (level - self.MEAN) / (2 * self.STD)
        convolution = encoder.embeddings.patch_embeddings.projection
        self.embedding(convolution(level[:, None].transpose(2, 3)).permute(0, 3, 1, 2))
        x = encoder.embeddings(level)
        for layer, tap in zip(self.layers, self.taps, strict=True):
            x = x + layer.attention(layer.layernorm_before(x), None)[0]
            x = x + tap(layer.mlp(layer.layernorm_after(x)))
        x = encoder.layernorm(x)
        return self.final(self.network.classifier((x[:, 0] + x[:, 1]) / 2))

    @staticmethod
    def renamed(key):
        """Name in `network` of a stored tensor, as the package called it until its version 4."""
        for old, new in _AST_NAMES.items():
            key = key.replace(old, new)
        return key


class Speech2Text(Stages):
    """Encoder of a transformer that transcribes speech."""

    def __init__(self, settings):
        part = _package(".models.speech_to_text.modeling_speech_to_text")
        network = part.Speech2TextEncoder(_package().Speech2TextConfig(**settings))
        super().__init__(KaldiMel(network.config.input_feat_per_channel, scale=2.0**15), network)

    def forward(self, waveform):
        """From waveforms (batch, sample) to tokens every 40 ms, (batch, token, feature)."""
        level = self.spectrogram(waveform)
        # The floor is for bands without any sound, whose level does not vary.
        spread = level.std(1, correction=0, keepdim=True).clamp(min=1e-5)
        level = (level - level.mean(1, keepdim=True)) / spread
        x = self.network.conv(level) * self.network.embed_scale
        return self.encoded(x + self.network.embed_positions(x.new_zeros(x.shape[:2], dtype=torch.long)))


class Whisper(Stages):
    """Encoder of a transformer that transcribes and translates speech."""

    def __init__(self, settings):
        part = _package(".models.whisper.modeling_whisper")
        super().__init__(WhisperMel(), part.WhisperEncoder(_package().WhisperConfig(**settings)))

    def forward(self, waveform):
        """From waveforms (batch, sample) to 1500 tokens every 20 ms, (batch, token, feature)."""
        x = functional.gelu(self.network.conv1(self.spectrogram(waveform).transpose(1, 2)))
        x = functional.gelu(self.network.conv2(x)).transpose(1, 2)
        return self.encoded(x + self.network.embed_positions.weight)


_ENCODERS = {"ast": Ast, "speech2text": Speech2Text, "whisper": Whisper}
_AST_NAMES = {
    "encoder.layer.": "layers.",
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}


def build(name, *, trained=True):
    """One of the networks, ready for evaluation.

    Parameters
    ----------
    name : str
        A key of VARIANTS.
    trained : bool
        Whether to load the published weights; without them nothing is fetched.

    Returns
    -------
    Stages
        From waveforms (batch, sample), as `preprocess` gives them.

    Raises
    ------
    ModuleNotFoundError
        If the package transformers is not installed.
    ValueError, lib.download.DownloadError
        As `lib.weights.state` and `lib.weights.into`.
    """
    known = VARIANTS[name]
    module = _ENCODERS[known["ENCODER"]](known["SETTINGS"])
    if trained:
        weights.into(module.network, weights.state(known["WEIGHTS"]), rename=module.renamed)
    return frozen(module)


preprocess = sounds.whole


def _package(part=""):
    """The optional package, or a module of it."""
    try:
        return importlib.import_module(f"transformers{part}")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "this network is built from the package transformers, which is optional: "
            "install it by pip install -e '.[transformers]'"
        ) from error
