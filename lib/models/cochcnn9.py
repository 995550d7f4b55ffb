"""CochCNN9: nine stages of convolution and pooling on a cochleagram, trained for one of five tasks of hearing.

A cochleagram (`lib.cochleagram`) is their first stage, so gradients reach the waveform. "Clean" networks were
trained without background noise, "Seed2" from another random start. Weights come in one archive of about
14 GB; those of the genre network were not published.
"""

from lib import cochnets, sounds
from lib.models import frozen

MODALITY = "audio"
LAYERS = (
    "relu0",
    "maxpool0",
    "relu1",
    "maxpool1",
    "relu2",
    "relu3",
    "relu4",
    "avgpool",
    "relufc",
)
# Of pictures (batch, channel, frequency, time); layers without time, (batch, unit), are left as they are.
TIME_AXIS = 3
CONTROLS = ("permuted", "random")
BUNDLED = False
LICENCE = "MIT (repository jenellefeather/cochdnn)"
CITATION = (
    "Kell, Yamins, Shook, Norman-Haignere & McDermott (2018), Neuron 98, 630-644, "
    "doi:10.1016/j.neuron.2018.03.044; networks of "
    "Tuckute, Feather, Boebinger & McDermott (2023), PLOS Biology 21, e3002366, "
    "doi:10.1371/journal.pbio.3002366"
)
# The released networks clip their input, and so are a quarter of the natural sounds of the study. Done here,
# before the network, clipping stops no gradient.
INPUT = {"rate_hz": 20000, "duration_s": 2.0, "rms": 0.1, "limit": 1.0}

VARIANTS = {
    "cochcnn9_word": {
        "LABEL": "CochCNN9-Word",
        "COLOUR": "#ad233b",
        "TASK": "word",
        "SCORES": "final",
        "CLASSES": "words",
        "MEMBER": "audio_rep_training_cochleagram_1/kell2018_decay_lr/"
        "2b411fd2-56f2-46c1-ad45-1355d4ffadde/5_checkpoint.pt",
    },
    "cochcnn9_word_seed2": {
        "LABEL": "CochCNN9-WordSeed2",
        "COLOUR": "#ad233b",
        "TASK": "word",
        "SCORES": "final",
        "CLASSES": "words",
        "MEMBER": "audio_rep_training_cochleagram_1/fmri_paper_more_seeds/kell2018_decay_lr_seed2/"
        "08aac329-3d79-4f0e-96b9-0ffb3824b822/5_checkpoint.pt",
    },
    "cochcnn9_word_clean": {
        "LABEL": "CochCNN9-WordClean",
        "COLOUR": "#ca8484",
        "TASK": "word",
        "SCORES": "final",
        "CLASSES": "words",
        "MEMBER": "audio_rep_training_cochleagram_1/clean_speech_training/"
        "kell2018_decay_lr_clean_speech/33d14e31-4a5b-45a4-8f98-3b30adab1322/5_checkpoint.pt",
    },
    "cochcnn9_word_clean_seed2": {
        "LABEL": "CochCNN9-WordCleanSeed2",
        "COLOUR": "#ca8484",
        "TASK": "word",
        "SCORES": "final",
        "CLASSES": "words",
        "MEMBER": "audio_rep_training_cochleagram_1/clean_speech_training/"
        "kell2018_decay_lr_clean_speech_seed2/2e829114-0fbc-476a-94fa-a2aaa686605a/5_checkpoint.pt",
    },
    "cochcnn9_speaker": {
        "LABEL": "CochCNN9-Speaker",
        "COLOUR": "#f13336",
        "TASK": "speaker",
        "MEMBER": "audio_rep_training_cochleagram_1/kell2018_speaker_decay_lr/"
        "46ed16b7-4097-4d99-b457-3cd1011b55cc/5_checkpoint.pt",
    },
    "cochcnn9_speaker_seed2": {
        "LABEL": "CochCNN9-SpeakerSeed2",
        "COLOUR": "#f13336",
        "TASK": "speaker",
        "MEMBER": "audio_rep_training_cochleagram_1/fmri_paper_more_seeds/"
        "kell2018_speaker_decay_lr_seed2/18ea3d9b-8e4a-4514-ae16-64d908ceb8bc/5_checkpoint.pt",
    },
    "cochcnn9_speaker_clean": {
        "LABEL": "CochCNN9-SpeakerClean",
        "COLOUR": "#fdb5b5",
        "TASK": "speaker",
        "MEMBER": "audio_rep_training_cochleagram_1/clean_speech_training/"
        "kell2018_decay_lr_clean_speech_speaker/train_out/5_checkpoint.pt",
    },
    "cochcnn9_speaker_clean_seed2": {
        "LABEL": "CochCNN9-SpeakerCleanSeed2",
        "COLOUR": "#fdb5b5",
        "TASK": "speaker",
        "MEMBER": "audio_rep_training_cochleagram_1/clean_speech_training/"
        "kell2018_decay_lr_clean_speech_speaker_seed2/train_out/5_checkpoint.pt",
    },
    "cochcnn9_audioset": {
        "LABEL": "CochCNN9-AudioSet",
        "COLOUR": "#ff80a5",
        "TASK": "audioset",
        "MEMBER": "audio_rep_training_cochleagram_1/kell2018_audioset_decay_lr/"
        "1629f285-0a2c-4764-beaf-0b9fe11ba2e7/5_checkpoint.pt",
    },
    "cochcnn9_audioset_seed2": {
        "LABEL": "CochCNN9-AudioSetSeed2",
        "COLOUR": "#ff80a5",
        "TASK": "audioset",
        "MEMBER": "audio_rep_training_cochleagram_1/fmri_paper_more_seeds/"
        "kell2018_audioset_decay_lr_seed2/582a178d-8bd7-4a83-928a-554df423f7c1/5_checkpoint.pt",
    },
    "cochcnn9_multitask": {
        "LABEL": "CochCNN9-MultiTask",
        "COLOUR": "#ffbaa5",
        "TASK": "multitask",
        "SCORES": "final.word",
        "CLASSES": "words",
        "MEMBER": "audio_rep_training_cochleagram_1/kell2018_word_audioset_speaker_decay_lr/"
        "5728d456-ddc2-4fc2-bf07-a41e658f36d4/5_checkpoint.pt",
    },
    "cochcnn9_multitask_seed2": {
        "LABEL": "CochCNN9-MultiTaskSeed2",
        "COLOUR": "#ffbaa5",
        "TASK": "multitask",
        "SCORES": "final.word",
        "CLASSES": "words",
        "MEMBER": "audio_rep_training_cochleagram_1/fmri_paper_more_seeds/"
        "kell2018_word_audioset_speaker_decay_lr_seed2/ef1d3dc2-c133-4206-9cf5-9aa82706235b/5_checkpoint.pt",
    },
    "cochcnn9_genre": {
        "LABEL": "CochCNN9-Genre",
        "COLOUR": "#f9671d",
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
        From waveforms (batch, 40000), as `preprocess` gives them, to logits: `lib.cochnets.cochcnn9`.

    Raises
    ------
    ValueError, lib.download.DownloadError
        As `lib.cochnets.trained`.
    """
    module = cochnets.cochcnn9(cochnets.CLASSES[VARIANTS[name]["TASK"]])
    return frozen(cochnets.trained(module, VARIANTS[name]["MEMBER"]) if trained else module)


preprocess = sounds.levelled
