"""What an extraction will cost before anything has been downloaded."""

import functools

import numpy as np
import torch

from lib import activations, artefacts, budget, features, models, passes, plugins, reduction

# Of stimuli that nobody has seen yet; a network that takes other sizes brings them to its own.
PICTURE = (256, 256, 3)
SOUND_S, SOUND_HZ = 2.0, 20_000


def plan(name, n_stimuli, *, batch_size=8, device="auto", layers=None, reduce=reduction.NONE):
    """Cost of extracting a model for so many stimuli, from one dry pass of its architecture.

    Nothing is downloaded or read: the network has random weights, and the stimulus is noise of a usual size, a
    picture of 256 by 256 or a sound of 2 s.

    Parameters
    ----------
    name : str
        As for `models.load`; a control costs what its model costs.
    n_stimuli : int
    batch_size, device, layers, reduce
        As for `features.extract`.

    Returns
    -------
    dict
        As `features.estimate` returns it: `bytes`, `seconds`, `peak_memory` and more. The time is that of two
        stimuli in a row, so it is rather too long than too short, and without that for reading stimuli.

    Examples
    --------
    >>> cost = plan("efficientnet_lite0", 1200, layers="every-block")
    >>> f"{cost['bytes'] / 1e9:.1f} GB, {cost['seconds'] / 60:.0f} min"  # doctest: +SKIP
    '9.2 GB, 2 min'
    """
    model, on = untrained(name), activations.device(device)
    with activations.inference(model.module, on) as module:
        inputs = model.preprocess(noise(model.modality))[None].to(on)
        run = passes.ready(module, model, inputs, layers=layers, reduce=reduce, n_stimuli=n_stimuli)
        pair = torch.cat([inputs, inputs])[: min(2, batch_size)]
        seconds = run.seconds(pair, torch.arange(len(pair)), batch_size=batch_size) / len(pair) * n_stimuli
        cost = features.cost(run, n_stimuli, batch_size=batch_size, reduce=reduce)
    return cost | {"seconds": seconds + cost["peak_disk"] / features.WRITTEN_PER_S}


def noise(modality):
    """A stimulus of a usual size that holds nothing: a sound ("audio") or a picture, as `Model.preprocess` takes it."""
    generator = np.random.default_rng(0)
    if modality == "audio":
        return generator.uniform(-0.1, 0.1, int(SOUND_S * SOUND_HZ)), SOUND_HZ
    return generator.integers(0, 256, PICTURE, dtype=np.uint8)


def said(name, target, settings):
    """What extracting a model for a target will cost, in words.

    Parameters
    ----------
    name, target : str
        As for `models.load`, `datasets.load`. If the target is not here yet, the number of stimuli is the one that
        its plug-in states.
    settings : dict
        Parameters of the notebook `02_extract` that are not its defaults.

    Returns
    -------
    str
        Gigabytes on disk, memory and minutes; or why nothing is known.
    """
    stem, _ = plugins.split_control(name)
    table = artefacts.directory("download", target=target) / "stimuli.csv"
    known = plugins.about("target", target).get("COUNTS", {}).get("stimuli")
    n_stimuli = len(artefacts.load_table(table)) if table.exists() else known
    if plugins.about("model", stem).get("RELEASED"):
        return "published activations, stored as they are"
    if not n_stimuli:
        return "the number of stimuli is not known before the download"
    chosen = tuple((k, settings[k]) for k in ("pooling", "projection", "precision") if k in settings)
    more = tuple((k, settings[k]) for k in ("batch_size", "device", "layers") if settings.get(k))
    try:
        cost = _planned(stem, n_stimuli, more, chosen)
    except ImportError as error:
        return f"unknown: {error}"
    disk, memory = budget.size(cost["bytes"]), budget.size(cost["peak_memory"])
    return f"{disk} on disk, {memory} of memory, {cost['seconds'] / 60:.1f} min"


@functools.lru_cache(maxsize=256)
def _planned(stem, n_stimuli, more, chosen):
    """As `plan`; the controls of a model cost what it costs."""
    return plan(stem, n_stimuli, reduce=reduction.Reduction(**dict(chosen)), **dict(more))


def untrained(name):
    """A model with whatever weights need no download: random ones, unless nothing in it is learned.

    Parameters
    ----------
    name : str
        As for `models.load`; its control is ignored.

    Returns
    -------
    lib.models.Model
    """
    stem, _ = plugins.split_control(name)
    offered = plugins.about("model", stem)["CONTROLS"]
    return models.load(f"{stem}.random" if "random" in offered else stem)
