"""Responses of components to sounds beside those that a model predicts: what lies behind an r²."""

import numpy as np
import pandas as pd
import xarray as xr


def favourites(choices, names):
    """The layer that is chosen most often for each component.

    Parameters
    ----------
    choices : pandas.DataFrame
        part, iteration, position (relative, 0 to 1; NaN: the model has one layer); of `lib.scoring.choices`, by a rule
        that chooses on half of the splits.
    names : sequence of str
        Layers in the model's order.

    Returns
    -------
    pandas.Series
        Name of the layer by component; of two that are chosen equally often the earlier one. (Published: a random one.)

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, figure 4.
    """
    number = (choices["position"].fillna(0) * (len(names) - 1)).round().astype(int)
    often = number.groupby(choices["part"], sort=False).agg(lambda rows: int(rows.mode().min()))
    return often.map(lambda place: names[place]).rename("layer")


def predicted(favourite, predictions, responses):
    """What a model predicts of the response to each sound, beside the response.

    Parameters
    ----------
    favourite : pandas.Series
        Layer of each component, as from `favourites`.
    predictions : dict of str to xarray.DataArray (split, stimulus, voxel)
        Of the layers that are favourites.
    responses : xarray.Dataset
        `response` (repeat, stimulus, voxel) and `train` (split, stimulus).

    Returns
    -------
    pandas.DataFrame
        part, layer, stimulus, response (mean of repeats), predicted (mean over the splits in which the sound was not
        trained on; NaN if there is none), both in the unit of the responses. Means of different splits come from
        different fits, so that their correlation is not the r² of any of them.

    Raises
    ------
    ValueError
        If predictions and responses differ in stimuli.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, figure 4.
    """
    found = []
    for part, layer in favourite.items():
        one = predictions[layer].sel(voxel=part)
        if set(one["stimulus"].values) != set(responses["stimulus"].values):
            raise ValueError(f"predictions of {layer} and responses are of different stimuli")
        one = one.sel(stimulus=responses["stimulus"])
        mean = one.where(~responses["train"]).mean("split")
        table = xr.Dataset(
            {"predicted": mean, "response": responses["response"].sel(voxel=part).mean("repeat")}
        )
        found.append(
            table.reset_coords(drop=True).to_dataframe().reset_index().assign(part=part, layer=layer)
        )
    columns = ["part", "layer", "stimulus", "response", "predicted"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def correlations(table):
    """Squared correlation of responses and predictions over sounds, of each component.

    Parameters
    ----------
    table : pandas.DataFrame
        part, response, predicted.

    Returns
    -------
    pandas.Series
        r² by component, of the points themselves; NaN for constant ones.
    """
    parts = table.dropna().groupby("part", sort=False)
    return parts.apply(
        lambda rows: rows["response"].corr(rows["predicted"]) ** 2 if len(rows) > 2 else np.nan
    )
