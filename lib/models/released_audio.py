"""Nine audio networks of other laboratories, and SpectroTemporal: released activations to 165 natural sounds.

Averaged over time by those who extracted them. Layers of recurrent networks are the states of their cells (LSTM) or
their outputs (GRU).
"""

from lib import plugins, soundactivations

MODALITY = "audio"
RELEASED = True
WITHOUT = ("metamers",)  # which need the network itself
TARGETS = ("b2021", "nh2015", "nh2015comp")
TIME_AXIS = None
CONTROLS = ("permuted",)
BUNDLED = False
LICENCE = "none stated by its authors; cite the paper"
CITATION = (
    "Tuckute, Feather, Boebinger & McDermott (2023). Many but not all deep neural network audio models capture brain "
    "responses and exhibit correspondence between model stages and brain regions. PLoS Biology 21, e3002366. "
    "doi:10.1371/journal.pbio.3002366"
)
INPUT = {}
# FOLDER of the archive; STORED, one HDF5 file or one pickle for each sound; KEYS of layers that it calls otherwise.
VARIANTS = {
    "released_deepspeech2": {
        "LABEL": "DeepSpeech2 (released)",
        "COLOUR": "#e8e869",
        "LAYERS": (
            "Tanh_1",
            "Tanh_2",
            "LSTM_1-cell",
            "LSTM_2-cell",
            "LSTM_3-cell",
            "LSTM_4-cell",
            "LSTM_5-cell",
            "Linear",
        ),
        "FOLDER": "DS2",
        "STORED": "per sound",
        "KEYS": {
            "Tanh_1": "Hardtanh(min_val=0, max_val=20)--0",
            "Tanh_2": "Hardtanh(min_val=0, max_val=20)--1",
            "LSTM_1-cell": "LSTM(1312, 1024, bidirectional=True)--0--cell",
            "LSTM_2-cell": "LSTM(1024, 1024, bidirectional=True)--0--cell",
            "LSTM_3-cell": "LSTM(1024, 1024, bidirectional=True)--1--cell",
            "LSTM_4-cell": "LSTM(1024, 1024, bidirectional=True)--2--cell",
            "LSTM_5-cell": "LSTM(1024, 1024, bidirectional=True)--3--cell",
            "Linear": "Linear(in_features=1024, out_features=29, bias=False)--0",
        },
    },
    "released_wav2vec2": {
        "LABEL": "Wav2Vec2 (released)",
        "COLOUR": "#dda0dd",
        "LAYERS": (
            "Embedding",
            "Encoder_1",
            "Encoder_2",
            "Encoder_3",
            "Encoder_4",
            "Encoder_5",
            "Encoder_6",
            "Encoder_7",
            "Encoder_8",
            "Encoder_9",
            "Encoder_10",
            "Encoder_11",
            "Encoder_12",
            "Final",
        ),
        "FOLDER": "wav2vec",
        "STORED": "per sound",
        "KEYS": {},
    },
    "released_vggish": {
        "LABEL": "VGGish (released)",
        "COLOUR": "#4169e1",
        "LAYERS": (
            "ReLU_1",
            "MaxPool2d_1",
            "ReLU_2",
            "MaxPool2d_2",
            "ReLU_3",
            "ReLU_4",
            "MaxPool2d_3",
            "ReLU_5",
            "ReLU_6",
            "MaxPool2d_4",
            "ReLU_7",
            "ReLU_8",
            "ReLU_9",
        ),
        "FOLDER": "VGGish",
        "STORED": "per sound",
        "KEYS": {
            "ReLU_1": "ReLU()--0",
            "MaxPool2d_1": "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)--0",
            "ReLU_2": "ReLU()--1",
            "MaxPool2d_2": "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)--1",
            "ReLU_3": "ReLU()--2",
            "ReLU_4": "ReLU()--3",
            "MaxPool2d_3": "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)--2",
            "ReLU_5": "ReLU()--4",
            "ReLU_6": "ReLU()--5",
            "MaxPool2d_4": "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)--3",
            "ReLU_7": "ReLU()--6",
            "ReLU_8": "ReLU()--7",
            "ReLU_9": "ReLU()--8",
        },
    },
    "released_dcase2020": {
        "LABEL": "DCASE2020 (released)",
        "COLOUR": "#ffd700",
        "LAYERS": ("GRU_1", "GRU_2", "GRU_3", "GRU_4", "Linear"),
        "FOLDER": "DCASE2020",
        "STORED": "per sound",
        "KEYS": {
            "GRU_1": "GRU(64, 256, batch_first=True, bidirectional=True)--0--hidden",
            "GRU_2": "GRU(512, 256, batch_first=True, bidirectional=True)--0--hidden",
            "GRU_3": "GRU(512, 256, batch_first=True, bidirectional=True)--1--hidden",
            "GRU_4": "GRU(512, 256, batch_first=True)--0--hidden",
            "Linear": "Linear(in_features=256, out_features=4367, bias=True)--0",
        },
    },
    "released_ast": {
        "LABEL": "AST (released)",
        "COLOUR": "#ba55d3",
        "LAYERS": (
            "Embedding",
            "Encoder_1",
            "Encoder_2",
            "Encoder_3",
            "Encoder_4",
            "Encoder_5",
            "Encoder_6",
            "Encoder_7",
            "Encoder_8",
            "Encoder_9",
            "Encoder_10",
            "Encoder_11",
            "Encoder_12",
            "Final",
        ),
        "FOLDER": "AST",
        "STORED": "per sound",
        "KEYS": {
            "Embedding": "Conv2d(1, 768, kernel_size=(16, 16), stride=(10, 10))--0",
            "Encoder_1": "Linear(in_features=3072, out_features=768, bias=True)--0",
            "Encoder_2": "Linear(in_features=3072, out_features=768, bias=True)--1",
            "Encoder_3": "Linear(in_features=3072, out_features=768, bias=True)--2",
            "Encoder_4": "Linear(in_features=3072, out_features=768, bias=True)--3",
            "Encoder_5": "Linear(in_features=3072, out_features=768, bias=True)--4",
            "Encoder_6": "Linear(in_features=3072, out_features=768, bias=True)--5",
            "Encoder_7": "Linear(in_features=3072, out_features=768, bias=True)--6",
            "Encoder_8": "Linear(in_features=3072, out_features=768, bias=True)--7",
            "Encoder_9": "Linear(in_features=3072, out_features=768, bias=True)--8",
            "Encoder_10": "Linear(in_features=3072, out_features=768, bias=True)--9",
            "Encoder_11": "Linear(in_features=3072, out_features=768, bias=True)--10",
            "Encoder_12": "Linear(in_features=3072, out_features=768, bias=True)--11",
        },
    },
    "released_vq_vae": {
        "LABEL": "VQ-VAE (released)",
        "COLOUR": "#87ceeb",
        "LAYERS": ("ReLU_1", "ReLU_2", "ReLU_3", "ReLU_4", "ReLU_5"),
        "FOLDER": "ZeroSpeech2020",
        "STORED": "per sound",
        "KEYS": {
            "ReLU_1": "ReLU(inplace=True)--0",
            "ReLU_2": "ReLU(inplace=True)--1",
            "ReLU_3": "ReLU(inplace=True)--2",
            "ReLU_4": "ReLU(inplace=True)--3",
            "ReLU_5": "ReLU(inplace=True)--4",
        },
    },
    "released_sepformer": {
        "LABEL": "SepFormer (released)",
        "COLOUR": "#800080",
        "LAYERS": (
            "Embedding",
            "Encoder_1",
            "Encoder_2",
            "Encoder_3",
            "Encoder_4",
            "Encoder_5",
            "Encoder_6",
            "Encoder_7",
            "Encoder_8",
            "Encoder_9",
            "Encoder_10",
            "Encoder_11",
            "Encoder_12",
            "Encoder_13",
            "Encoder_14",
            "Encoder_15",
            "Encoder_16",
            "Encoder_17",
            "Encoder_18",
            "Encoder_19",
            "Encoder_20",
            "Encoder_21",
            "Encoder_22",
            "Encoder_23",
            "Encoder_24",
            "Encoder_25",
            "Encoder_26",
            "Encoder_27",
            "Encoder_28",
            "Encoder_29",
            "Encoder_30",
            "Encoder_31",
            "Encoder_32",
        ),
        "FOLDER": "sepformer",
        "STORED": "per sound",
        "KEYS": {
            "Embedding": "Conv1d(1, 256, kernel_size=(16,), stride=(8,), bias=False)--0",
            "Encoder_1": "Linear(in_features=1024, out_features=256, bias=True)--0",
            "Encoder_2": "Linear(in_features=1024, out_features=256, bias=True)--1",
            "Encoder_3": "Linear(in_features=1024, out_features=256, bias=True)--2",
            "Encoder_4": "Linear(in_features=1024, out_features=256, bias=True)--3",
            "Encoder_5": "Linear(in_features=1024, out_features=256, bias=True)--4",
            "Encoder_6": "Linear(in_features=1024, out_features=256, bias=True)--5",
            "Encoder_7": "Linear(in_features=1024, out_features=256, bias=True)--6",
            "Encoder_8": "Linear(in_features=1024, out_features=256, bias=True)--7",
            "Encoder_9": "Linear(in_features=1024, out_features=256, bias=True)--8",
            "Encoder_10": "Linear(in_features=1024, out_features=256, bias=True)--9",
            "Encoder_11": "Linear(in_features=1024, out_features=256, bias=True)--10",
            "Encoder_12": "Linear(in_features=1024, out_features=256, bias=True)--11",
            "Encoder_13": "Linear(in_features=1024, out_features=256, bias=True)--12",
            "Encoder_14": "Linear(in_features=1024, out_features=256, bias=True)--13",
            "Encoder_15": "Linear(in_features=1024, out_features=256, bias=True)--14",
            "Encoder_16": "Linear(in_features=1024, out_features=256, bias=True)--15",
            "Encoder_17": "Linear(in_features=1024, out_features=256, bias=True)--16",
            "Encoder_18": "Linear(in_features=1024, out_features=256, bias=True)--17",
            "Encoder_19": "Linear(in_features=1024, out_features=256, bias=True)--18",
            "Encoder_20": "Linear(in_features=1024, out_features=256, bias=True)--19",
            "Encoder_21": "Linear(in_features=1024, out_features=256, bias=True)--20",
            "Encoder_22": "Linear(in_features=1024, out_features=256, bias=True)--21",
            "Encoder_23": "Linear(in_features=1024, out_features=256, bias=True)--22",
            "Encoder_24": "Linear(in_features=1024, out_features=256, bias=True)--23",
            "Encoder_25": "Linear(in_features=1024, out_features=256, bias=True)--24",
            "Encoder_26": "Linear(in_features=1024, out_features=256, bias=True)--25",
            "Encoder_27": "Linear(in_features=1024, out_features=256, bias=True)--26",
            "Encoder_28": "Linear(in_features=1024, out_features=256, bias=True)--27",
            "Encoder_29": "Linear(in_features=1024, out_features=256, bias=True)--28",
            "Encoder_30": "Linear(in_features=1024, out_features=256, bias=True)--29",
            "Encoder_31": "Linear(in_features=1024, out_features=256, bias=True)--30",
            "Encoder_32": "Linear(in_features=1024, out_features=256, bias=True)--31",
        },
    },
    "released_metricgan": {
        "LABEL": "MetricGAN (released)",
        "COLOUR": "#a0522d",
        "LAYERS": ("LSTM_1-cell", "LSTM_2-cell", "Linear_1", "Linear_2"),
        "FOLDER": "metricGAN",
        "STORED": "per sound",
        "KEYS": {
            "LSTM_1-cell": "LSTM(257, 200, num_layers=2, batch_first=True, bidirectional=True)--l1--cell",
            "LSTM_2-cell": "LSTM(257, 200, num_layers=2, batch_first=True, bidirectional=True)--l2--cell",
            "Linear_1": "Linear(in_features=400, out_features=300, bias=True)--0",
            "Linear_2": "Linear(in_features=300, out_features=257, bias=True)--0",
        },
    },
    "released_s2t": {
        "LABEL": "S2T (released)",
        "COLOUR": "#8a2be2",
        "LAYERS": (
            "Embedding",
            "Encoder_1",
            "Encoder_2",
            "Encoder_3",
            "Encoder_4",
            "Encoder_5",
            "Encoder_6",
            "Encoder_7",
            "Encoder_8",
            "Encoder_9",
            "Encoder_10",
            "Encoder_11",
            "Encoder_12",
        ),
        "FOLDER": "S2T",
        "STORED": "per sound",
        "KEYS": {},
    },
    "released_spectrotemporal": {
        "LABEL": "SpectroTemporal (released)",
        "COLOUR": "#808080",
        "CONTROLS": (),
        "LAYERS": ("avgpool",),
        "FOLDER": "spectemp",
        "STORED": "one file",
        "KEYS": {},
    },
}

_READERS = {"one file": soundactivations.one_file, "per sound": soundactivations.per_sound}


def release(name, *, control=""):
    """Released activations of a member.

    Parameters
    ----------
    name : str
        A key of VARIANTS.
    control : {"", "permuted"}

    Returns
    -------
    lib.released.Release
        See `lib.soundactivations`.
    """
    return _READERS[plugins.about("model", name)["STORED"]](name, control=control)
