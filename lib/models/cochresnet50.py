"""CochResNet50: a residual network of 50 layers on a cochleagram, trained for one of five tasks of hearing.

A cochleagram (`lib.cochleagram`) is their first stage, so gradients reach the waveform. "Clean" networks were
trained without background noise, "Seed2" from another random start. Weights come in one archive of about
14 GB; those of the genre network were not published.
"""

from lib import cochnets, sounds
from lib.models import frozen

MODALITY = "audio"
LAYERS = (
    "conv1_relu1",
    "maxpool1",
    "layer1",
    "layer2",
    "layer3",
    "layer4",
    "avgpool",
)
# Of pictures (batch, channel, frequency, time); layers without time, (batch, unit), are left as they are.
TIME_AXIS = 3
CONTROLS = ("permuted", "random")
BUNDLED = False
LICENCE = "MIT (repository jenellefeather/cochdnn)"
CITATION = (
    "He, Zhang, Ren & Sun (2016), CVPR, doi:10.1109/CVPR.2016.90; networks of "
    ""
    "Tuckute, Feather, Boebinger & McDermott (2023), PLOS Biology 21, e3002366, "
    "doi:10.1371/journal.pbio.3002366"
)
# The released networks clip their input, and so are a quarter of the natural sounds of the study. Done here,
# before the network, clipping stops no gradient.
INPUT = {"rate_hz": 20000, "duration_s": 2.0, "rms": 0.1, "limit": 1.0}

VARIANTS = {
    "cochresnet50_word": {
        "LABEL": "CochResNet50-Word",
        "COLOUR": "#006400",
        "TASK": "word",
        "SCORES": "final",
        "CLASSES": "words",
        "MEMBER": "audio_rep_training_cochleagram_1/standard_training_word_decay_lr/"
        "a10c97f7-3f2b-4219-8e72-bc625c94fd08/5_checkpoint.pt",
    },
    "cochresnet50_word_seed2": {
        "LABEL": "CochResNet50-WordSeed2",
        "COLOUR": "#006400",
        "TASK": "word",
        "SCORES": "final",
        "CLASSES": "words",
        "MEMBER": "audio_rep_training_cochleagram_1/fmri_paper_more_seeds/"
        "standard_training_word_decay_lr_seed2/a64afebf-4bb6-483c-ac0d-29b5af3af486/5_checkpoint.pt",
    },
    "cochresnet50_word_clean": {
        "LABEL": "CochResNet50-WordClean",
        "COLOUR": "#90bf95",
        "TASK": "word",
        "SCORES": "final",
        "CLASSES": "words",
        "MEMBER": "audio_rep_training_cochleagram_1/clean_speech_training/"
        "standard_training_word_decay_lr_clean_speech/a402cb64-ca52-4b78-9416-9d260f54f350/5_checkpoint.pt",
    },
    "cochresnet50_word_clean_seed2": {
        "LABEL": "CochResNet50-WordCleanSeed2",
        "COLOUR": "#90bf95",
        "TASK": "word",
        "SCORES": "final",
        "CLASSES": "words",
        "MEMBER": "audio_rep_training_cochleagram_1/clean_speech_training/"
        "standard_training_word_decay_lr_clean_speech_seed2/8021245c-973b-4ea7-a2c0-9cd0ca69d526/5_checkpoint.pt",
    },
    "cochresnet50_speaker": {
        "LABEL": "CochResNet50-Speaker",
        "COLOUR": "#55d409",
        "TASK": "speaker",
        "MEMBER": "audio_rep_training_cochleagram_1/standard_training_speaker_decay_lr/"
        "0d84f6d5-8994-43ad-b5f1-650300b875ff/5_checkpoint.pt",
    },
    "cochresnet50_speaker_seed2": {
        "LABEL": "CochResNet50-SpeakerSeed2",
        "COLOUR": "#55d409",
        "TASK": "speaker",
        "MEMBER": "audio_rep_training_cochleagram_1/fmri_paper_more_seeds/"
        "standard_training_speaker_decay_lr_seed2/0afd73b1-92b0-4ace-93c0-3671d7e58b21/5_checkpoint.pt",
    },
    "cochresnet50_speaker_clean": {
        "LABEL": "CochResNet50-SpeakerClean",
        "COLOUR": "#b6f982",
        "TASK": "speaker",
        "MEMBER": "audio_rep_training_cochleagram_1/clean_speech_training/"
        "standard_training_word_decay_lr_clean_speech_speaker/train_out/5_checkpoint.pt",
    },
    "cochresnet50_speaker_clean_seed2": {
        "LABEL": "CochResNet50-SpeakerCleanSeed2",
        "COLOUR": "#b6f982",
        "TASK": "speaker",
        "MEMBER": "audio_rep_training_cochleagram_1/clean_speech_training/"
        "standard_training_word_decay_lr_clean_speech_speaker_seed2/train_out/5_checkpoint.pt",
    },
    "cochresnet50_audioset": {
        "LABEL": "CochResNet50-AudioSet",
        "COLOUR": "#80f396",
        "TASK": "audioset",
        "MEMBER": "audio_rep_training_cochleagram_1/standard_training_audioset_decay_lr/"
        "9442ee31-7775-4e4a-9ff8-12cb54cf32e1/5_checkpoint.pt",
    },
    "cochresnet50_audioset_seed2": {
        "LABEL": "CochResNet50-AudioSetSeed2",
        "COLOUR": "#80f396",
        "TASK": "audioset",
        "MEMBER": "audio_rep_training_cochleagram_1/fmri_paper_more_seeds/"
        "standard_training_audioset_decay_lr_seed2/c7e82e1d-06df-4f85-8b62-bb2a51145cbc/5_checkpoint.pt",
    },
    "cochresnet50_multitask": {
        "LABEL": "CochResNet50-MultiTask",
        "COLOUR": "#c3f380",
        "TASK": "multitask",
        "SCORES": "final.word",
        "CLASSES": "words",
        "MEMBER": "audio_rep_training_cochleagram_1/"
        "standard_training_word_and_audioset_and_speaker_decay_lr/542752d7-9849-49ff-b84a-6758a81585b4/5_checkpoint.pt",
    },
    "cochresnet50_multitask_seed2": {
        "LABEL": "CochResNet50-MultiTaskSeed2",
        "COLOUR": "#c3f380",
        "TASK": "multitask",
        "SCORES": "final.word",
        "CLASSES": "words",
        "MEMBER": "audio_rep_training_cochleagram_1/fmri_paper_more_seeds/"
        "standard_training_word_and_audioset_and_speaker_decay_lr_seed2/d36092f5-cc1b-4ea9-af81-c187d99c0b6c/5_checkpoint.pt",
    },
    "cochresnet50_genre": {
        "LABEL": "CochResNet50-Genre",
        "COLOUR": "#3cb371",
        "TASK": "genre",
        "MEMBER": "",
        "CONTROLS": ("random",),
    },
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
    torch.nn.Module
        From waveforms (batch, 40000), as `preprocess` gives them, to logits: `lib.cochnets.cochresnet50`.

    Raises
    ------
    ValueError, lib.download.DownloadError
        As `lib.cochnets.trained`.
    """
    module = cochnets.cochresnet50(cochnets.CLASSES[VARIANTS[name]["TASK"]])
    return frozen(cochnets.trained(module, VARIANTS[name]["MEMBER"]) if trained else module)


preprocess = sounds.levelled
