"""Whom metamers of a network still mean the same to: other networks, which see or hear the saved files."""

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torchvision.transforms.functional import to_tensor

from lib import artefacts, stimuli
from lib.inference import QUOTED
from lib.metamers import canvas as canvases
from lib.metamers import gate, labels

COLUMNS = ["judge", "layer", "stimulus", "label_original", "label_metamer", "agrees", "correct", "passed"]
TEXT = {"stimulus": str, "layer": str, "label_original": str, "label_metamer": str}


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
    types = TEXT | dict.fromkeys(numbers, float)
    return _filled(artefacts.load_table(path, **types), but=numbers)


def read(folder):
    """What judges of a result of the step said.

    Parameters
    ----------
    folder : pathlib.Path

    Returns
    -------
    pandas.DataFrame
        As `judge`, of all judges; empty if there were none.

    Raises
    ------
    FileNotFoundError
        If there is no `judged.csv`.
    """
    types = TEXT | {"correct": str}
    table = _filled(artefacts.load_table(folder / "judged.csv", **types))
    return table.assign(correct=table["correct"].map({"True": True, "False": False, "": ""}).astype(object))


def _filled(table, *, but=()):
    """A table with "" where nothing is written, but for some columns."""
    gaps = [name for name in table if name not in but and table[name].isna().any()]
    return table.assign(**{name: table[name].astype(object).where(table[name].notna(), "") for name in gaps})


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


def quotable(found):
    """Shares of metamers that networks recognise, as rows of numbers.csv.

    Parameters
    ----------
    found : pandas.DataFrame
        From `recognition`, with columns `target` and `generator`.

    Returns
    -------
    pandas.DataFrame
        name (`metamers/<target>/<generator>/recognised/<judge>/<layer>`), value, low, high, n, unit, what; and
        one over all layers and the judges other than the generator (`…/recognised/all`), whose interval takes
        all judgements of a stimulus for one observation.
    """
    head = "metamers/" + found["target"] + "/" + found["generator"] + "/recognised/"
    each = found.assign(name=head + found["judge"] + "/" + found["layer"])
    others, rows = found[(found["judge"] != found["generator"]) & (found["n"] > 0)], []
    for (target, generator), part in others.groupby(["target", "generator"], sort=False):
        mean = np.average(part["value"], weights=part["n"])
        name = f"metamers/{target}/{generator}/recognised/all"
        rows.append({"name": name} | gate.share(mean, int(part["n"].max())))
    table = pd.concat([each, pd.DataFrame(rows)], ignore_index=True) if rows else each
    what = "share of gated metamers that the judge names as the natural stimulus, 95 % Wilson interval"
    return table.assign(name=table["name"].str.lower(), unit="stimulus", what=what)[QUOTED]


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
