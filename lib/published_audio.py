"""Numbers in the figures of the auditory study, as printed there or measured in them.

Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, doi:10.1371/journal.pbio.3002366; printed and
drawn by the notebooks of github.com/gretatuckute/auditory_brain_dnn (generate_Figure2 to generate_Figure9).
"""

import functools
from pathlib import Path

import pandas as pd

from lib import auditory_models, plugins
from lib.artefacts import load_table

MEASURES = ("regression", "rsa", "regression_position", "rsa_position")


def values(measure):
    """Published values of the models.

    Parameters
    ----------
    measure : {"regression", "rsa", "regression_position", "rsa_position"}
        Of the layer chosen on half of the splits: median noise-corrected r² of voxels, mean over participants (figures
        2 and 8), or r² of a component, not corrected (figures 4, 5 and 9); Spearman correlation of the similarities of
        sounds (figures 2 and 8); relative position, from 0 to 1, of the layer that is best by either (figure 7).

    Returns
    -------
    pandas.DataFrame
        model (name of `lib.models`; a row for each that is the published one, run here or released), identifier (as
        published), figure, target, part ("all", component or region), control ("" or "permuted"), published (the
        value), tolerance (how far off reading the figure may be), how ("printed", "bar", "line", "point"; "covered
        point": other markers hide it). Points that cannot be seen are left out.

    Raises
    ------
    ValueError
        If there is no such measure.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, figures 2, 4, 5, 7, 8 and 9.
    """
    plugins.require(measure, MEASURES, "measure")
    table = _table().merge(_names(), on="identifier").rename(columns={"value": "published"})
    table = table[table["measure"] == measure].reset_index(drop=True)
    control = table["control"].map(lambda name: f".{name}" if name else "")
    return table.assign(model=table["model"] + control).drop(columns="measure")


def beside(table, measure):
    """The published value of each model beside the one found here.

    Parameters
    ----------
    table : pandas.DataFrame
        target, part, model.
    measure : str
        See `values`.

    Returns
    -------
    pandas.DataFrame
        The table with the column published, NaN where the study has none: on other data, of other models, and of
        random weights.

    Raises
    ------
    ValueError
        If there is no such measure.
    """
    known = values(measure)[["target", "part", "model", "published"]]
    table = table.drop(columns="published", errors="ignore")
    return table.merge(known, how="left", on=["target", "part", "model"], validate="many_to_one")


@functools.cache
def _table():
    table = load_table(Path(__file__).with_name("published_audio.values.csv"), figure=str)
    return table.fillna({"control": ""})


@functools.cache
def _names():
    """Names of the models here, by published identifier: those that can be run, and those whose activations can."""
    table = (
        auditory_models.networks().reset_index().melt("identifier", ["model", "released"], value_name="name")
    )
    table = table[table["name"] != ""].drop(columns="variable").rename(columns={"name": "model"})
    return pd.DataFrame(table.reset_index(drop=True))
