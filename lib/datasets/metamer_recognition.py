"""Released results of the model-metamer experiments: recognition by people and networks, tests, voxels."""

import re
from pathlib import Path

import pandas as pd

from lib import behaviour, damage, metamer_results, printouts, unpickle
from lib.download import raw
from lib.registry import registry

LABEL = "Metamer recognition"
MODALITY = "both"
KIND = "results"
PLANTED = False
HOMEPAGE = "https://github.com/jenellefeather/model_metamers_pytorch"
LICENCE = "MIT, Copyright (c) 2022 Jenelle Feather"
CITATION = (
    "Feather, Leclerc, Madry & McDermott (2023). Model metamers reveal divergent invariances between biological "
    "and artificial neural networks. Nature Neuroscience 26, 2017-2034. doi:10.1038/s41593-023-01442-0. With the "
    "voxels also Norman-Haignere, Kanwisher & McDermott (2015), doi:10.1016/j.neuron.2015.11.035, and Kell et "
    "al. (2018), doi:10.1016/j.neuron.2018.03.044"
)
COUNTS = {
    "recognition.file": 59, "anova.file": 59, "network_network.generator": 37, "voxels": 7694, "subjects": 8,
}  # fmt: skip
PARTS = {
    "behaviour": "the other 34 of 59 behavioural files and 31 of 59 printed analyses (about 0.4 MB)",
    "network_network": "the other 652 of 689 evaluations of networks on others' metamers (about 45 MB)",
    "regression": "the other 48 of 52 regressions onto voxels (about 83 MB)",
}
SOURCE = (
    "https://raw.githubusercontent.com/jenellefeather/model_metamers_pytorch/"
    "f89cdad5c355081f97886863ed901fc9b34bce21/"
)
# Numbers of the repository → names of the paper.
EXPERIMENTS = {
    "vision_exp1": "Visual Experiment 1", "vision_exp12": "Visual Experiment 2",
    "vision_exp5": "Visual Experiment 3", "vision_exp16": "Visual Experiment 4",
    "vision_exp10": "Visual Experiment 5", "vision_exp6": "Visual Experiment 6",
    "vision_exp3": "Visual Experiment 7", "vision_exp4": "Visual Experiment 8",
    "vision_exp9": "Visual Experiment 12", "audio_exp1": "Audio Experiment 1",
    "audio_exp6": "Audio Experiment 2", "audio_exp3": "Audio Experiment 3",
    "audio_exp4": "Audio Experiment 4", "audio_exp7": "Audio Experiment 5",
    "audio_exp8": "Audio Experiment 6",
}  # fmt: skip
LAYERS = (
    "input_after_preproc", "conv1_relu1", "relu0", "relu1", "relu2", "relu3", "relu4", "layer1", "layer2", "layer3",
    "layer4", "avgpool", "relufc", "final",
)  # fmt: skip
KINDS = {
    "behaviour": r"/(Vision|Audio)Experiment(\d+)_network_vs_humans_datamatrix_(.+)_public\.mat$",
    "printed": r"_RESULTS\.txt$",
    "evaluation": r"/(visual|audio)_networks/.+/accuracy_on_metamers_from_.+\.pckl$",
    "regression": r"/voxelwise_regression_.+\.pckl$",
}
SCORES = ("Average", "V1", "V2", "V4", "IT", "Behavior", "Geirhos 2021")


def load(_folder, parts=()):
    """Tables of released results.

    Parameters
    ----------
    _folder : pathlib.Path
        Not used.
    parts : iterable of str
        Keys of PARTS: what to read besides the files that are always fetched.

    Returns
    -------
    dict
        `recognition`: modality, experiment (numbered as in the repository), paper_name, model (that made the
        metamers), stage, layer, participant (within the experiment), observer, proportion_correct, file; see
        `lib.behaviour`. `anova`: file and the columns of `lib.printouts.anova_tables`. `network_network`:
        modality and the columns of `lib.metamer_results.evaluation`. `voxel_regression` (xarray.Dataset): see
        `lib.metamer_results.joined`. `brainscore`: model, score (region or benchmark), value, best_layer ("" where
        none is named). `words`: number, word (of the classes of sounds). With part "behaviour" also `adversarial`:
        file and the columns of `lib.printouts.adversarial_accuracies`.

    Raises
    ------
    ValueError
        If a file is damaged or unsafe, or files contradict one another: the same people with other proportions
        for natural stimuli, metamers in another order, voxels that differ.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2023), doi:10.1038/s41593-023-01442-0.
    """
    paths = [raw(url) for url in registry("metamer_recognition", parts)["url"]]
    found = {kind: [p for p in paths if re.search(pattern, p.as_posix())] for kind, pattern in KINDS.items()}
    texts = {path.name: path.read_text(encoding="utf-8") for path in found["printed"]}
    attacked = _by_file(texts, printouts.adversarial_accuracies)
    return {
        "recognition": _recognition(found["behaviour"]),
        "anova": _by_file(texts, printouts.anova_tables),
        "network_network": _evaluations(found["evaluation"]),
        "voxel_regression": metamer_results.joined(
            [metamer_results.voxel_regression(path) for path in found["regression"]], LAYERS
        ),
        "brainscore": _brainscore(_one(paths, "_Brainscore_Model_Tracking.csv")),
        "words": _words(_one(paths, "word_and_speaker_encodings_jsinv3.pckl")),
        **({"adversarial": attacked} if len(attacked) else {}),
    }


def _one(paths, ending):
    return next(path for path in paths if path.name.endswith(ending))


def _by_file(texts, parse):
    """Rows of all logs, with the name of the file first."""
    tables = []
    for name, text in texts.items():
        try:
            table = parse(text)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        table.insert(0, "file", name)
        tables.append(table)
    return pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)


def _recognition(paths):
    """All behavioural files; people of an experiment are the same for all its networks."""
    tables = []
    for path in paths:
        modality, number, model = re.search(KINDS["behaviour"], path.as_posix()).groups()
        experiment = f"{modality.lower()}_exp{number}"
        head = {"modality": modality.lower(), "experiment": experiment, "paper_name": EXPERIMENTS[experiment]}
        tables.append(behaviour.recognition(path).assign(**head, model=model, file=path.name))
    table = pd.concat(tables, ignore_index=True)
    natural = table[(table["stage"] == 0) & (table["observer"] == "human")]
    people = natural.groupby(["experiment", "participant"])["proportion_correct"].agg(["min", "max", "size"])
    n_models = natural.groupby("experiment")["model"].nunique().reindex(people.index, level="experiment")
    odd = people.index[(people["min"] < people["max"]) | (people["size"] != n_models)].tolist()
    if odd:
        raise ValueError(f"networks of one experiment differ in people or their natural stimuli: {odd[:3]}")
    order = ["modality", "experiment", "paper_name", "model", "stage", "layer", "participant", "observer"]
    return table[[*order, "proportion_correct", "file"]]


def _evaluations(paths):
    """All evaluations; the metamers of a network come in the same order for every network that judges them."""
    tables = []
    for path in paths:
        modality = {"visual": "vision", "audio": "audio"}[re.search(KINDS["evaluation"], path.as_posix())[1]]
        table = metamer_results.evaluation(path)
        table.insert(0, "modality", modality)
        tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    keys = ["modality", "generator", "layer", "classes", "position"]
    labels = table.groupby(keys)["label"].nunique()
    if (labels > 1).any():
        raise ValueError(f"metamers in different orders: {labels.index[labels > 1][:3].tolist()}")
    return table


def _brainscore(path):
    """Scores by model; the first row of a model that is listed twice."""
    table = pd.read_csv(path, dtype=str).drop_duplicates("name")
    table = table[table["Submission ID"].str.fullmatch(r"\d+")]  # the rest is a placeholder
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "model": table["name"],
                    "score": score,
                    "value": table[score].astype(float),
                    "best_layer": table.get(f"{score} best layer", ""),
                }
            )
            for score in SCORES
        ],
        ignore_index=True,
    )


def _words(path):
    with damage.named(path, "is no table of words"):
        words = unpickle.load(Path(path))["word_idx_to_word"]
        table = pd.DataFrame({"number": [int(n) for n in words], "word": list(words.values())})
    return table.sort_values("number")
