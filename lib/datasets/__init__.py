"""The data sets: one file each, fetched, loaded and held to one contract."""

import importlib

from lib import plugins
from lib.artefacts import directory
from lib.contract import validate, validate_results
from lib.download import fetch, fetch_all
from lib.registry import registry

__all__ = ["contents", "fetch", "fetch_all", "load", "names", "registry", "stated", "validate"]


def names():
    """Names of all data sets, in alphabetical order.

    Returns
    -------
    list of str
    """
    return plugins.names("target")


def stated(name):
    """What the paper of a data set counts: its plug-in's COUNTS.

    Parameters
    ----------
    name : str

    Returns
    -------
    dict
        What (stimuli, voxels, subjects, rois, repeats, …) → number, None where the paper does not say.

    Raises
    ------
    ValueError
        If there is no such data set.
    """
    return plugins.about("target", name).get("COUNTS", {})


def load(name, parts=()):
    """Responses and stimuli of a data set, fetched if need be, checked against the contract.

    Parameters
    ----------
    name : str
        Of a data set with responses of a brain; others have only `contents`.
    parts : iterable of str
        As for `registry`.

    Returns
    -------
    responses : xarray.Dataset
    stimuli : pandas.DataFrame
        Both as `validate` wants them.

    Raises
    ------
    ValueError
        If there is no such data set or part, it has no responses, or it breaks the contract.
    lib.download.DownloadError
        If a file cannot be had; the message says what to put where.
    """
    kind = plugins.about("target", name).get("KIND")
    if kind not in plugins.BRAINS:
        raise ValueError(f"{name} holds {kind}, not responses of a brain; take datasets.contents({name!r})")
    found = contents(name, parts)
    return found["responses"], found["stimuli"]


def contents(name, parts=()):
    """Everything that a data set holds, fetched if need be, checked against the contract.

    Parameters
    ----------
    name : str
    parts : iterable of str
        As for `registry`.

    Returns
    -------
    dict
        `responses` and `stimuli` as `load` gives them, the columns group and run of the stimuli, if there are any,
        also as coordinates of the responses; or, of kind "results", the plug-in's tables: name →
        pandas.DataFrame or xarray.Dataset.

    Raises
    ------
    ValueError, lib.download.DownloadError
        As `load`.
    """
    parts = tuple(parts)
    fetch_all(registry(name, parts)[["url", "sha256", "size"]].itertuples(index=False))
    plugin = importlib.import_module(f"lib.datasets.{name}")
    chosen = {"parts": parts} if hasattr(plugin, "PARTS") else {}
    found = plugin.load(directory("download", target=name), **chosen)
    if plugin.KIND not in plugins.BRAINS:
        return validate_results(found)
    stated = {field: getattr(plugin, field.upper()) for field in ("modality", "kind", "licence", "citation")}
    responses, stimuli = found
    responses = responses.assign_attrs(target=name, planted=int(plugin.PLANTED), **stated)
    validate(responses, stimuli)
    return {"responses": _grouped(responses, stimuli), "stimuli": stimuli}


def _grouped(responses, stimuli):
    """Responses that tell, as the table does, which stimuli no split may separate: where `folds` looks for it."""
    if "response" not in responses:
        return responses
    rows = stimuli.set_index("stimulus").loc[responses["stimulus"].values]
    known = [name for name in ("group", "run") if name in rows and name not in responses.coords]
    return responses.assign_coords({name: ("stimulus", rows[name].to_list()) for name in known})
