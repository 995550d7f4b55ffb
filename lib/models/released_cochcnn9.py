"""CochCNN9 with five tasks, other seeds and clean speech: released activations to 165 natural sounds.

Averaged over time by the authors. Layers of outputs
(`final`, `final_word`, …) can be asked for by name; where they lie is published for the first seeds only, and taken
to be the same for the others.
"""

from lib import soundactivations

MODALITY = "audio"
RELEASED = True
WITHOUT = ("metamers",)  # which need the network itself
TARGETS = ("b2021", "nh2015", "nh2015comp")
LAYERS = ("relu0", "maxpool0", "relu1", "maxpool1", "relu2", "relu3", "relu4", "avgpool", "relufc")
TIME_AXIS = None
CONTROLS = ("permuted",)
BUNDLED = False
LICENCE = "none stated by its authors; cite the paper"
CITATION = (
    "Tuckute, Feather, Boebinger & McDermott (2023). Many but not all deep neural network audio models capture brain "
    "responses and exhibit correspondence between model stages and brain regions. PLoS Biology 21, e3002366. "
    "doi:10.1371/journal.pbio.3002366"
)
INPUT = {"rate_hz": 20000, "duration_s": 2.0, "rms": 0.1}
# FOLDER of the archive, and KEYS of layers that the file calls otherwise.
VARIANTS = {
    "released_cochcnn9_genre": {
        "LABEL": "CochCNN9-Genre (released)",
        "COLOUR": "#f9671d",
        "FOLDER": "Kell2018music",
        "KEYS": {},
    },
    "released_cochcnn9_word": {
        "LABEL": "CochCNN9-Word (released)",
        "COLOUR": "#ad233b",
        "FOLDER": "Kell2018word",
        "KEYS": {},
    },
    "released_cochcnn9_word_clean": {
        "LABEL": "CochCNN9-WordClean (released)",
        "COLOUR": "#ca8484",
        "FOLDER": "Kell2018wordClean",
        "KEYS": {},
    },
    "released_cochcnn9_word_clean_seed2": {
        "LABEL": "CochCNN9-WordCleanSeed2 (released)",
        "COLOUR": "#ca8484",
        "FOLDER": "Kell2018wordCleanSeed2",
        "KEYS": {},
    },
    "released_cochcnn9_word_seed2": {
        "LABEL": "CochCNN9-WordSeed2 (released)",
        "COLOUR": "#ad233b",
        "FOLDER": "Kell2018wordSeed2",
        "KEYS": {},
    },
    "released_cochcnn9_speaker": {
        "LABEL": "CochCNN9-Speaker (released)",
        "COLOUR": "#f13336",
        "FOLDER": "Kell2018speaker",
        "KEYS": {"final": "final/signal/speaker_int"},
    },
    "released_cochcnn9_speaker_clean": {
        "LABEL": "CochCNN9-SpeakerClean (released)",
        "COLOUR": "#fdb5b5",
        "FOLDER": "Kell2018speakerClean",
        "KEYS": {"final": "final/signal/speaker_int"},
    },
    "released_cochcnn9_speaker_clean_seed2": {
        "LABEL": "CochCNN9-SpeakerCleanSeed2 (released)",
        "COLOUR": "#fdb5b5",
        "FOLDER": "Kell2018speakerCleanSeed2",
        "KEYS": {"final": "final/signal/speaker_int"},
    },
    "released_cochcnn9_speaker_seed2": {
        "LABEL": "CochCNN9-SpeakerSeed2 (released)",
        "COLOUR": "#f13336",
        "FOLDER": "Kell2018speakerSeed2",
        "KEYS": {"final": "final/signal/speaker_int"},
    },
    "released_cochcnn9_audioset": {
        "LABEL": "CochCNN9-AudioSet (released)",
        "COLOUR": "#ff80a5",
        "FOLDER": "Kell2018audioset",
        "KEYS": {"final": "final/noise/labels_binary_via_int"},
    },
    "released_cochcnn9_audioset_seed2": {
        "LABEL": "CochCNN9-AudioSetSeed2 (released)",
        "COLOUR": "#ff80a5",
        "FOLDER": "Kell2018audiosetSeed2",
        "KEYS": {"final": "final/noise/labels_binary_via_int"},
    },
    "released_cochcnn9_multitask": {
        "LABEL": "CochCNN9-MultiTask (released)",
        "COLOUR": "#ffbaa5",
        "FOLDER": "Kell2018multitask",
        "KEYS": {
            "final_word": "final/signal/word_int",
            "final_speaker": "final/signal/speaker_int",
            "final_audioset": "final/noise/labels_binary_via_int",
        },
    },
    "released_cochcnn9_multitask_seed2": {
        "LABEL": "CochCNN9-MultiTaskSeed2 (released)",
        "COLOUR": "#ffbaa5",
        "FOLDER": "Kell2018multitaskSeed2",
        "KEYS": {
            "final_word": "final/signal/word_int",
            "final_speaker": "final/signal/speaker_int",
            "final_audioset": "final/noise/labels_binary_via_int",
        },
    },
}


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
        See `lib.soundactivations.one_file`.
    """
    return soundactivations.one_file(name, control=control)
