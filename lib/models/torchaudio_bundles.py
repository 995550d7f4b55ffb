"""Transformers on the waveform: wav2vec 2.0, HuBERT and WavLM, in their base size, as torchaudio bundles them.

Seven convolutions turn 16 kHz sound into a token every 20 ms; twelve transformer layers follow. Features are
averaged over tokens. `wav2vec2_asr_base_960h`, fine-tuned to transcribe speech, is the network that Tuckute
et al. (2023) call Wav2Vec2.
"""

import torchaudio
from torch import nn

from lib import sounds, weights
from lib.models import frozen

MODALITY = "audio"
LAYERS = (
    "extractor",
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
# 400 samples make one token; the level is kept, for the first convolution normalises its channels.
INPUT = {"rate_hz": 16000, "shortest_s": 0.025}
# The bundles of these networks want the waveform as it is; only those of larger ones are normalised.
VARIANTS = {
    "wav2vec2_base": {
        "LABEL": "wav2vec 2.0 (base)",
        "COLOUR": "#8e4585",
        "FACTORY": "wav2vec2_base",
        "WEIGHTS": "https://download.pytorch.org/torchaudio/models/wav2vec2_fairseq_base_ls960.pth",
        "N_CLASSES": 0,
        "LICENCE": "MIT (weights: fairseq)",
        "CITATION": "Baevski, Zhou, Mohamed & Auli (2020), NeurIPS. arXiv:2006.11477",
    },
    "wav2vec2_asr_base_960h": {
        "LABEL": "Wav2Vec2",
        "COLOUR": "#dda0dd",
        "FACTORY": "wav2vec2_base",
        "WEIGHTS": "https://download.pytorch.org/torchaudio/models/wav2vec2_fairseq_base_ls960_asr_ls960.pth",
        "N_CLASSES": 29,
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
        "LICENCE": "MIT (weights: fairseq)",
        "CITATION": "Baevski, Zhou, Mohamed & Auli (2020), NeurIPS. arXiv:2006.11477",
    },
    "hubert_base": {
        "LABEL": "HuBERT (base)",
        "COLOUR": "#2a6f97",
        "FACTORY": "hubert_base",
        "WEIGHTS": "https://download.pytorch.org/torchaudio/models/hubert_fairseq_base_ls960.pth",
        "N_CLASSES": 0,
        "LICENCE": "MIT (weights: fairseq)",
        "CITATION": "Hsu, Bolte, Tsai, Lakhotia, Salakhutdinov & Mohamed (2021), IEEE/ACM TASLP 29, 3451-3460",
    },
    "wavlm_base": {
        "LABEL": "WavLM (base)",
        "COLOUR": "#468f6b",
        "FACTORY": "wavlm_base",
        "WEIGHTS": "https://download.pytorch.org/torchaudio/models/wavlm_base.pth",
        "N_CLASSES": 0,
        "LICENCE": "CC BY-SA 3.0 (weights: microsoft/unilm)",
        "CITATION": "Chen et al. (2022), IEEE JSTSP 16, 1505-1518. doi:10.1109/JSTSP.2022.3188113",
    },
}

# Rows of a fine-tuned read-out that belong to symbols of the dictionary which no transcription uses.
_UNUSED_SYMBOLS = (1, 2, 3)
# Length and direction of a normalised kernel, as torch called them when these weights were stored.
_KERNEL = {
    "conv.weight_g": "conv.parametrizations.weight.original0",
    "conv.weight_v": "conv.parametrizations.weight.original1",
}


class Tokens(nn.Module):
    """A network of torchaudio whose stages put out one tensor each, (batch, token, feature).

    Parameters
    ----------
    network : torchaudio.models.Wav2Vec2Model

    Notes
    -----
    The layers of the network itself put out tuples, and its embedding is no module; here both pass through
    modules that change nothing.
    """

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.taps = ["extractor", "embedding"]
        self.taps += [f"encoder_{i + 1}" for i in range(len(network.encoder.transformer.layers))]
        self.taps += ["final"]
        for name in self.taps:
            self.add_module(name, nn.Identity())

    def forward(self, waveform):
        """From waveforms (batch, sample) to the last stage, (batch, token, feature or class)."""
        transformer, stages = self.network.encoder.transformer, map(self.get_submodule, self.taps)
        x = next(stages)(self.network.feature_extractor(waveform, None)[0])
        x = self.network.encoder.feature_projection(x)
        x = x + transformer.pos_conv_embed(x)
        x = next(stages)(transformer.layer_norm(x) if transformer.layer_norm_first else x)
        bias = None
        for layer in transformer.layers:
            x, bias = layer(x, None, position_bias=bias)
            x = next(stages)(x)
        x = x if transformer.layer_norm_first else transformer.layer_norm(x)
        return next(stages)(self.network.aux(x) if self.network.aux else x)


def build(name, *, trained=True):
    """One of the networks, ready for evaluation.

    Parameters
    ----------
    name : str
        A key of VARIANTS.
    trained : bool
        Whether to load torchaudio's weights (about 380 MB); without them nothing is fetched.

    Returns
    -------
    Tokens
        From waveforms (batch, sample), at least 400 samples at 16 kHz, to features (batch, token, feature).

    Raises
    ------
    ValueError, lib.download.DownloadError
        As `lib.weights.state` and `lib.weights.into`.
    """
    known = VARIANTS[name]
    network = getattr(torchaudio.models, known["FACTORY"])(aux_num_out=known["N_CLASSES"] or None)
    if trained:
        state = {key: _used(key, value) for key, value in weights.state(known["WEIGHTS"]).items()}
        weights.into(network, state, rename=_renamed)
    return frozen(Tokens(network))


preprocess = sounds.whole


def _used(key, value):
    """A stored tensor without the read-out's unused symbols."""
    if not key.startswith("aux."):
        return value
    return value[[row for row in range(len(value)) if row not in _UNUSED_SYMBOLS]]


def _renamed(key):
    """Today's name of a stored tensor."""
    stem, dot, _ = key.partition("conv.weight_")
    return stem + _KERNEL[key.removeprefix(stem)] if dot else key
