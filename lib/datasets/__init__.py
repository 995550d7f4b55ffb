"""The data sets: one file each, fetched, loaded and held to one contract."""

import importlib

import pandas as pd

from lib import plugins
from lib.artefacts import directory, load_table
from lib.contract import validate
from lib.download import fetch, fetch_all

__all__ = ["fetch", "fetch_all", "load", "names", "registry", "validate"]


def names():
    """Names of all data sets, in alphabetical order.

    Returns
    -------
    list of str
    """
    return plugins.names("target")


def registry(name):
    """The files that a data set downloads.

    Parameters
    ----------
    name : str

    Returns
    -------
    pandas.DataFrame
        Columns url, sha256 (64 hexadecimal digits), size (bytes). No rows if nothing is downloaded.

    Raises
    ------
    ValueError
        If there is no such data set; the message holds the nearest names.
    """
    file = plugins.path("target", name).with_name(f"{name}.files.csv")
    if not file.exists():
        return pd.DataFrame({"url": [], "sha256": [], "size": []}).astype(
            {"url": str, "sha256": str, "size": int}
        )
    return load_table(file, url=str, sha256=str, size=int)


def load(name):
    """Responses and stimuli of a data set, fetched if need be, checked against the contract.

    Parameters
    ----------
    name : str

    Returns
    -------
    responses : xarray.Dataset
    stimuli : pandas.DataFrame
        Both as `validate` wants them.

    Raises
    ------
    ValueError
        If there is no such data set, or it breaks the contract.
    lib.download.DownloadError
        If a file cannot be had; the message says what to put where.
    """
    fetch_all(registry(name).itertuples(index=False))
    plugin = importlib.import_module(f"lib.datasets.{name}")
    responses, stimuli = plugin.load(directory("download", target=name))
    stated = {field: getattr(plugin, field.upper()) for field in ("modality", "kind", "licence", "citation")}
    responses = responses.assign_attrs(target=name, planted=int(plugin.PLANTED), **stated)
    return validate(responses, stimuli)
