"""CochResNet50 with five tasks, other seeds and clean speech: released activations to 165 natural sounds.

Averaged over time by the authors. One calls its first layer otherwise. Layers of outputs
(`final`, `final_word`, …) can be asked for by name; where they lie is published for the first seeds only, and taken
to be the same for the others.
"""

from lib import soundactivations

MODALITY = "audio"
RELEASED = True
WITHOUT = ("metamers",)  # which need the network itself
TARGETS = ("b2021", "nh2015", "nh2015comp")
LAYERS = ("conv1_relu1", "maxpool1", "layer1", "layer2", "layer3", "layer4", "avgpool")
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
    "released_cochresnet50_genre": {
        "LABEL": "CochResNet50-Genre (released)",
        "COLOUR": "#3cb371",
        "FOLDER": "ResNet50music",
        "KEYS": {"conv1_relu1": "relu1"},
    },
    "released_cochresnet50_word": {
        "LABEL": "CochResNet50-Word (released)",
        "COLOUR": "#006400",
        "FOLDER": "ResNet50word",
        "KEYS": {},
    },
    "released_cochresnet50_word_clean": {
        "LABEL": "CochResNet50-WordClean (released)",
        "COLOUR": "#90bf95",
        "FOLDER": "ResNet50wordClean",
        "KEYS": {},
    },
    "released_cochresnet50_word_clean_seed2": {
        "LABEL": "CochResNet50-WordCleanSeed2 (released)",
        "COLOUR": "#90bf95",
        "FOLDER": "ResNet50wordCleanSeed2",
        "KEYS": {},
    },
    "released_cochresnet50_word_seed2": {
        "LABEL": "CochResNet50-WordSeed2 (released)",
        "COLOUR": "#006400",
        "FOLDER": "ResNet50wordSeed2",
        "KEYS": {},
    },
    "released_cochresnet50_speaker": {
        "LABEL": "CochResNet50-Speaker (released)",
        "COLOUR": "#55d409",
        "FOLDER": "ResNet50speaker",
        "KEYS": {"final": "final/signal/speaker_int"},
    },
    "released_cochresnet50_speaker_clean": {
        "LABEL": "CochResNet50-SpeakerClean (released)",
        "COLOUR": "#b6f982",
        "FOLDER": "ResNet50speakerClean",
        "KEYS": {"final": "final/signal/speaker_int"},
    },
    "released_cochresnet50_speaker_clean_seed2": {
        "LABEL": "CochResNet50-SpeakerCleanSeed2 (released)",
        "COLOUR": "#b6f982",
        "FOLDER": "ResNet50speakerCleanSeed2",
        "KEYS": {"final": "final/signal/speaker_int"},
    },
    "released_cochresnet50_speaker_seed2": {
        "LABEL": "CochResNet50-SpeakerSeed2 (released)",
        "COLOUR": "#55d409",
        "FOLDER": "ResNet50speakerSeed2",
        "KEYS": {"final": "final/signal/speaker_int"},
    },
    "released_cochresnet50_audioset": {
        "LABEL": "CochResNet50-AudioSet (released)",
        "COLOUR": "#80f396",
        "FOLDER": "ResNet50audioset",
        "KEYS": {"final": "final/noise/labels_binary_via_int"},
    },
    "released_cochresnet50_audioset_seed2": {
        "LABEL": "CochResNet50-AudioSetSeed2 (released)",
        "COLOUR": "#80f396",
        "FOLDER": "ResNet50audiosetSeed2",
        "KEYS": {"final": "final/noise/labels_binary_via_int"},
    },
    "released_cochresnet50_multitask": {
        "LABEL": "CochResNet50-MultiTask (released)",
        "COLOUR": "#c3f380",
        "FOLDER": "ResNet50multitask",
        "KEYS": {
            "final_word": "final/signal/word_int",
            "final_speaker": "final/signal/speaker_int",
            "final_audioset": "final/noise/labels_binary_via_int",
        },
    },
    "released_cochresnet50_multitask_seed2": {
        "LABEL": "CochResNet50-MultiTaskSeed2 (released)",
        "COLOUR": "#c3f380",
        "FOLDER": "ResNet50multitaskSeed2",
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
