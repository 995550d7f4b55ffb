"""Whom metamers of a network still mean the same to: other networks, which see or hear the saved files."""

import numpy as np
import pandas as pd
import torch
from PIL import Image
from statsmodels.stats.weightstats import DescrStatsW
from torchvision.transforms.functional import to_tensor

from lib import plugins, stimuli
from lib.metamers import canvas as canvases
from lib.metamers import gate, labels

COLUMNS = ["judge", "layer", "stimulus", "label_original", "label_metamer", "agrees", "correct", "passed"]
TEXT = {"stimulus": str, "layer": str, "label_original": str, "label_metamer": str}
RULES = ("feather2022", "feather2023")
# Feather et al. (2023), figure 8: generating networks of one architecture, by how they were trained.
GROUPS = {
    "standard": ("resnet50", "cochresnet50"),
    "contrastive": ("resnet50_simclr", "resnet50_moco_v2", "resnet50_byol"),
    "adversarially_trained": ("resnet50_l2_3_robust", "resnet50_linf_4_robust", "resnet50_linf_8_robust"),
    "waveform_adversaries": (
        "cochresnet50_l2_1_robust_waveform",
        "cochresnet50_l2_p5_robust_waveform",
        "cochresnet50_linf_p002_robust_waveform",
    ),
    "cochleagram_adversaries": (
        "cochresnet50_l2_1_robust_cochleagram",
        "cochresnet50_l2_p5_robust_cochleagram",
    ),
}


def judge(model, folder, *, truth=None, labeller=None, batch_size=16):
    """What a network makes of another's metamers, from the files that are shown to people.

    A file that has the form which the judge takes (size of pictures; rate and duration of sounds) is taken as it
    is. A picture of another size is resized as a whole: it was cut once, for the network that it is a metamer of.
    Other sounds go through the judge's own preprocessing.

    Parameters
    ----------
    model : lib.models.Model
        The judge.
    folder : pathlib.Path
        Result of the step, with `gate.csv` and the files it names.
    truth : dict of str to str, optional
        Stimulus → its true class, of those that the judge knows.
    labeller : lib.metamers.labels.Labeller, optional
        By default that of the model's plug-in.
    batch_size : int

    Returns
    -------
    pandas.DataFrame
        COLUMNS: judge, layer, stimulus, label_original, label_metamer ("" where the judge refuses a metamer that
        failed its gate: silence, say), agrees (it is named as the natural stimulus is, by the same judge),
        correct (as `truth` has it; "" where that is unknown), passed (the gate of its own network; what failed is
        shown to nobody).

    Raises
    ------
    ValueError
        If the judge names nothing, or is of the other modality.
    FileNotFoundError
        If there is no gate, or a file is missing.
    """
    labeller = labeller or labels.of(model)
    if labeller is None:
        raise ValueError(f"model {model.name!r} names nothing (no SCORES and CLASSES), so it cannot judge")
    seen, table = canvases.of(model), read_gate(folder)
    if not len(table):
        return pd.DataFrame(columns=COLUMNS)
    names = _names(seen, labeller, folder, table, batch_size)
    original, metamer = table["original_file"].map(names), table["file"].map(names)
    known = table["stimulus"].map(truth or {})
    return pd.DataFrame({
        "judge": model.name, "layer": table["layer"], "stimulus": table["stimulus"],
        "label_original": original, "label_metamer": metamer, "agrees": (original == metamer) & (original != ""),
        "correct": (metamer == known).astype(object).where(known.notna(), ""), "passed": table["passed"],
    })  # fmt: skip


def read_gate(folder):
    """The gate of a result of the step; layers and stimuli as text.

    Parameters
    ----------
    folder : pathlib.Path

    Returns
    -------
    pandas.DataFrame
        As `gate.examined`.

    Raises
    ------
    FileNotFoundError
        If there is none: metamers without a gate are shown to nobody.
    """
    path = folder / "gate.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no gate.csv; metamers without a gate are shown to nobody")
    numbers = [*gate.MEASURES, *(f"null_{measure}" for measure in gate.MEASURES), "loss"]
    types, missing = TEXT | dict.fromkeys(numbers, float), {name: [""] for name in numbers}
    return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=missing)


def recognition(table, *, value="agrees", n_resamples=1000, seed=0):
    """Share of metamers that mean the same to a judge, by layer; only of those that passed their gate.

    Parameters
    ----------
    table : pandas.DataFrame
        From `judge`, of one or more judges; with a column `generator` also of several networks' metamers.
    value : {"agrees", "correct"}
        As the judge names the natural stimulus, or as it is truly named, where that is known.
    n_resamples : int
        For the standard error.
    seed : int

    Returns
    -------
    pandas.DataFrame
        generator (where there is one), judge, layer (in order), n (metamers), value, low, high (95 % Wilson),
        sem: standard deviation over resamples of the stimuli, as the study gives it.
    """
    rng, by = np.random.default_rng(seed), ["generator", "judge", "layer"]
    by = [name for name in by if name in table]
    table = table[table["passed"].astype(bool) & (table[value] != "")]
    rows = []
    for key, part in table.groupby(by, sort=False):
        right = part[value].astype(bool).to_numpy()
        resampled = rng.binomial(len(right), right.mean(), n_resamples) / len(right)
        rows.append(dict(zip(by, key, strict=True)) | gate.rate(right) | {"sem": resampled.std()})
    return pd.DataFrame(rows, columns=[*by, "n", "value", "low", "high", "sem"])


def generators(table, *, published="feather2023"):
    """How well networks recognise one another's metamers: mean over judges, by generating network and layer.

    Parameters
    ----------
    table : pandas.DataFrame
        generator, network (the judge), stage, layer, correct; one row per judgement. More columns are ignored;
        of `modality` and `classes` there should be one each.
    published : {"feather2023", "feather2022"}
        Whether the generating network is left out of the judges (as in the paper), or counts (as in its preprint).

    Returns
    -------
    pandas.DataFrame
        generator, stage, layer, n_metamers, own (share that the generating network itself recognises; NaN if it
        did not judge), n (judges), value, sem, low, high: mean, standard error (deviation as of a population,
        by the root of n, as published) and 95 % interval of the mean by Student's t, over judges.

    Raises
    ------
    ValueError
        If `published` is unknown.
    """
    plugins.require(published, RULES, "published rule")
    rows, by = [], ["generator", "stage", "layer"]
    for key, part in table.groupby(by, sort=False):
        accuracy = part.groupby("network")["correct"].mean()
        own = accuracy.get(key[0], np.nan)
        counted = accuracy if published == "feather2022" else accuracy.drop(key[0], errors="ignore")
        head = dict(zip(by, key, strict=True)) | {"n_metamers": int(part.groupby("network").size().max())}
        rows.append(head | {"own": own} | _mean(counted.to_numpy(float)))
    return pd.DataFrame(rows)


def groups(table, named=GROUPS):
    """How well networks recognise the metamers of kinds of networks, by layer.

    Of each judge the mean over a group's networks other than itself is taken, then the mean over judges.

    Parameters
    ----------
    table : pandas.DataFrame
        As for `generators`.
    named : dict of str to sequence of str
        Group → generating networks, which share their layers.

    Returns
    -------
    pandas.DataFrame
        group, stage, layer, generators (how many are there), n (judges with a value), value, sem: deviation as of
        a population by the root of one less than all judges, as published; low, high: as `generators`.

    References
    ----------
    Feather et al. (2023), figure 8b and d, doi:10.1038/s41593-023-01442-0.
    """
    rows, n_judges = [], table["network"].nunique()
    for name, members in named.items():
        part = table[table["generator"].isin(members) & (table["generator"] != table["network"])]
        for (stage, layer), judged in part.groupby(["stage", "layer"], sort=False):
            accuracy = judged.groupby(["network", "generator"])["correct"].mean()
            means = accuracy.groupby("network").mean().to_numpy(float)
            head = {
                "group": name,
                "stage": stage,
                "layer": layer,
                "generators": judged["generator"].nunique(),
            }
            rows.append(head | _mean(means) | {"sem": means.std() / np.sqrt(n_judges - 1)})
    return pd.DataFrame(rows)


def _mean(values):
    """Mean over judges, with the published standard error and an interval by Student's t."""
    low, high = DescrStatsW(values).tconfint_mean(0.05) if len(values) > 1 else (np.nan, np.nan)
    sem = values.std() / np.sqrt(len(values)) if len(values) else np.nan
    mean = values.mean() if len(values) else np.nan
    return {"n": len(values), "value": mean, "sem": sem, "low": low, "high": high}


def _names(seen, labeller, folder, table, batch_size):
    """What the judge calls each file."""
    failed = set(table.loc[~table["passed"].astype(bool), "file"])
    files = pd.unique(table[["original_file", "file"]].to_numpy().ravel())
    names = {}
    for start in range(0, len(files), batch_size):
        shown = {}
        for file in files[start : start + batch_size]:
            try:
                shown[file] = _seen(seen, folder / file)
            except ValueError:
                if file not in failed:
                    raise
                names[file] = ""
        if shown:
            called = labeller.of(seen, torch.stack(list(shown.values())))
            names |= dict(zip(shown, called, strict=True))
    return names


def _seen(seen, path):
    """A saved stimulus in the judge's canvas units."""
    stimulus = stimuli.read(path)
    shown = seen.of_stimulus(stimulus, what=str(path))
    if seen.modality == "audio":
        waveform, rate_hz = stimulus
        fits = rate_hz == seen.rate_hz and len(waveform) == len(shown)
        return torch.from_numpy(waveform).float() if fits else shown
    height, width = shown.shape[1:]
    picture = Image.fromarray(stimulus)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    return to_tensor(picture)
