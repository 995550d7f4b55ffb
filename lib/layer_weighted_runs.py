"""Search, training and scores of layer-weighted models of all subjects and regions, as published or without leaks.

What leaks as published, each off by default: training is stopped on the very test stimuli that are scored; features
of test stimuli are standardised by themselves; the fold that stops a training of the search scores it, and its
features were standardised with all train stimuli; penalties are those of the first subject, who is tested too;
correlations are inflated by n / (n - 1).
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import xarray as xr

from lib import artefacts, plugins, standardisation
from lib import layer_weighted_training as training

PUBLISHED = ("zhou2022",)

# Penalties of weights and of layer weights, in the order in which they are tried.
GRID = tuple((weight, layer) for weight in (1.0, 10.0, 100.0) for layer in (0.1, 1.0, 10.0))

# Share of the train stimuli that training is stopped on where it is not stopped on what is scored.
HELD_OUT = 0.1

N_FOLDS = 2
PAIR = ("pair_weight_penalty", "pair_layer_penalty")

COLUMNS = (
    *("run", "mode", "n_folds", "subject", "roi", "weight_penalty", "layer_penalty", "epoch_saved"),
    "score",
)


def tune(X, Y, dims, *, grid=GRID, n_folds=N_FOLDS, settings=None, published=None):
    """Held-out score of each pair of penalties, over folds of the train stimuli.

    Folds are runs of consecutive stimuli. Default: units are standardised and training is stopped inside each
    fold's train stimuli, and the fold is only scored. As published: units are taken as they come, and the
    fold that is scored also stops the training.

    Parameters
    ----------
    X : array (n_stimuli, n_columns)
        Train features; as published, already standardised.
    Y : array (n_stimuli, n_voxels)
    dims : sequence of int
    grid : sequence of (weight_penalty, layer_penalty)
    n_folds : int
    settings : Settings, optional
    published : {"zhou2022"}, optional

    Returns
    -------
    pandas.DataFrame
        weight_penalty, layer_penalty, epoch_saved (of the last fold), score (mean over folds of the mean
        correlation over voxels; inflated as published), in the order of the grid.
    """
    settings, rows = settings or training.Settings(), []
    for weight_penalty, layer_penalty in grid:
        how = dataclasses.replace(settings, weight_penalty=weight_penalty, layer_penalty=layer_penalty)
        scores = []
        for fold in np.array_split(np.arange(len(X)), n_folds):
            inside = ~np.isin(np.arange(len(X)), fold)
            features = X if published else standardisation.columns(X, inside)
            fit = _stopped(features, Y, inside, dims, settings=how, published=published)
            scores.append(training.score(fit.model, features[fold], Y[fold], published=published))
        values = weight_penalty, layer_penalty, fit.epoch, float(np.mean(scores))
        rows.append(dict(zip(COLUMNS[-4:], values, strict=True)))
    return pd.DataFrame(rows)


def best_penalties(tuned):
    """The pair of penalties of the highest score, the first of those that tie.

    Parameters
    ----------
    tuned : pandas.DataFrame
        What `tune` returned; of one run, since another's scores are of other data.

    Returns
    -------
    tuple of float
        weight_penalty, layer_penalty.
    """
    return tuple(tuned.loc[tuned["score"].idxmax(), ["weight_penalty", "layer_penalty"]].astype(float))


def encode(
    layers,
    responses,
    *,
    by=("subject", "roi"),
    published=None,
    grid=GRID,
    settings=None,
    folder=None,
    mode="train",
):
    """Predictions of all voxels by gradient descent, penalties searched over folds of the train stimuli.

    As published: features of test stimuli are standardised by themselves, training is stopped on the test
    stimuli, correlations are inflated, and the penalties that are best for the first subject are taken for
    all subjects of a region. Default: none of these; penalties are searched for each subject and region, and
    training is stopped on a tenth of the train stimuli.

    Parameters
    ----------
    layers : dict of str to array (n_stimuli, n_columns)
        Features, stimuli in the order of the responses; reduced by `projection.standardised_first`, if at all.
    responses : xarray.Dataset
        As for `layer_weighted.encode`. Voxels with a value that is not finite are left out.
    by : tuple of str
        Voxels that agree in these share layer weights; the first is what penalties are searched once for.
    published : {"zhou2022"}, optional
    grid : sequence of (weight_penalty, layer_penalty)
        One pair is taken without a search.
    settings : Settings, optional
    folder : pathlib.Path, optional
        Where trained models go, and are read from: `<split>/<subject>/<roi>.nc`, with their history beside.
    mode : {"train", "test"}
        "test" scores models that lie in the folder; their `epoch_saved` is -1, their penalties NaN.

    Returns
    -------
    xarray.Dataset
        `prediction` (split, stimulus, voxel), NaN at train stimuli; `r` (split, voxel); `layer_weight`, |a|,
        `part_r` and `contribution` (split, group, layer); `weight_penalty`, `layer_penalty`, `epoch_saved`
        and `score`, the mean of r (split, group); `search_score` and `search_epoch` (split, group, pair), NaN
        where penalties were not searched. Attribute `published`.

    Raises
    ------
    ValueError
        If there is no such published rule or mode, no region, or no folder to test models from, or a layer
        has other stimuli.
    """
    if published is not None:
        plugins.require(published, PUBLISHED, "published rule")
    plugins.require(mode, ("train", "test"), "mode")
    if mode == "test" and folder is None:
        raise ValueError("mode 'test' reads trained models: name the folder that training wrote them to")
    fitted = Regions(grid, settings or training.Settings(), published, folder, mode)
    responses = _usable(layers, responses, by)
    names = pd.MultiIndex.from_arrays([responses[name].values.astype(str) for name in by])
    parts = []
    trains = responses["train"].transpose("split", "stimulus").values.astype(bool)
    for split, train in zip(responses["split"].values, trains, strict=True):
        X = standardisation.columns(np.hstack(list(layers.values())), train, published=published)
        dims = [layer.shape[1] for layer in layers.values()]
        parts.append(fitted.split(X, responses, train, names, dims, str(split)))
    dataset = xr.concat(parts, "split").assign_coords(layer=list(layers), split=responses["split"])
    labels = _labels(names, by, grid)
    labels |= {name: coord for name, coord in responses.coords.items() if coord.dims == ("voxel",)}
    labels["stimulus"] = responses["stimulus"]
    return dataset.assign_coords(labels).assign_attrs(published=published or "")


def summary(scores, *, run):
    """Scores of each subject and region, and of the search, as rows of the published tables, told apart by run.

    Parameters
    ----------
    scores : xarray.Dataset
        What `encode` returned, by subject and roi.
    run : str
        Rows of several runs may be put below each other.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`, and split; rows of mode "hyper_tune" (a row per searched pair), then "train" or "test".
    """
    names = {"group_subject": "subject", "group_roi": "roi"}
    mode = "train" if (scores["epoch_saved"] >= 0).all() else "test"
    rows = scores[list(COLUMNS[-4:])].reset_coords(list(names)).to_dataframe().reset_index()
    search = scores[["search_score", "search_epoch"]].reset_coords([*names, *PAIR]).to_dataframe()
    search = search.dropna(subset="search_score").reset_index()
    renamed = dict(
        zip(("search_score", "search_epoch", *PAIR), ("score", "epoch_saved", *COLUMNS[-4:-2]), strict=True)
    )
    rows = [search.rename(columns=renamed).assign(mode="hyper_tune"), rows.assign(mode=mode)]
    rows = pd.concat([part for part in rows if len(part)], ignore_index=True).rename(columns=names)
    return rows.assign(run=run, n_folds=N_FOLDS)[[*COLUMNS, "split"]]


def averages(rows):
    """Mean and standard deviation over subjects of each region's score, of one run of mode train.

    Parameters
    ----------
    rows : pandas.DataFrame
        What `summary` returned; several runs are kept apart.

    Returns
    -------
    pandas.DataFrame
        run, roi, mean, std (ddof 1; NaN with one subject), n.
    """
    scores = rows[rows["mode"] == "train"].groupby(["run", "roi", "subject"], sort=False)["score"].mean()
    found = scores.groupby(["run", "roi"], sort=False).agg(["mean", "std", "count"]).reset_index()
    return found.rename(columns={"count": "n"})


def _usable(layers, responses, by):
    """Responses of voxels that have labels and all values; raise if there is none, or layers or splits do not fit."""
    n_stimuli = responses.sizes["stimulus"]
    wrong = [name for name, X in layers.items() if np.ndim(X) != 2 or len(X) != n_stimuli]
    if wrong:
        raise ValueError(
            f"layers are wanted as ({n_stimuli} stimuli, columns); not so: {plugins.first(wrong)}"
        )
    usable = np.isfinite(responses["response"]).all(("repeat", "stimulus")).values
    for name in by:
        usable &= responses[name].values.astype(str) != ""
    if not usable.any():
        raise ValueError(f"no voxel has finite responses and all of the labels {list(by)}")
    if responses["train"].all("stimulus").any():
        raise ValueError('splits that train on all stimuli leave none to test: split by "halves" or "kfold"')
    return responses.isel(voxel=usable)


def _labels(names, by, grid):
    """Coordinates of groups of voxels, and of pairs of penalties."""
    groups = names.unique()
    labels = {f"group_{name}": ("group", groups.get_level_values(i).tolist()) for i, name in enumerate(by)}
    labels |= {"group": ["/".join(group) for group in groups]}
    pairs = zip(PAIR, zip(*grid, strict=True), strict=True)
    return labels | {name: ("pair", list(values)) for name, values in pairs}


class Regions(NamedTuple):
    """How the models of all regions are fitted, or read.

    Attributes
    ----------
    grid : sequence of (weight_penalty, layer_penalty)
    settings : Settings
    published : str or None
    folder : pathlib.Path or None
    mode : {"train", "test"}
    """

    grid: tuple
    settings: training.Settings
    published: str | None
    folder: object
    mode: str

    def split(self, X, responses, train, names, dims, split):
        """All regions of one split.

        Parameters
        ----------
        X : array (n_stimuli, n_columns)
            Standardised features.
        responses : xarray.Dataset
        train : bool array (n_stimuli,)
        names : pandas.MultiIndex (n_voxels,)
            Labels of each voxel.
        dims : list of int
        split : str

        Returns
        -------
        xarray.Dataset
        """
        Y = responses["response"].mean("repeat").transpose("stimulus", "voxel").values.astype(np.float32)
        predicted, r = np.full(Y.shape, np.nan, np.float32), np.full(Y.shape[1], np.nan)
        test, rows, penalties = ~train, [], {}
        for group in names.unique():
            voxels = np.flatnonzero(names == group)
            here, region = Y[:, voxels], group[1:] if self.published else group
            searched = np.full((2, len(self.grid)), np.nan)
            if self.mode == "train" and region not in penalties:
                penalties[region], searched = self._search(X[train], here[train], dims)
            fit, pair = self._fit(X, here, train, dims, penalties.get(region), "/".join([split, *group]))
            predictions = training.predict(fit.model, X[test])
            predicted[np.ix_(test, voxels)] = predictions
            r[voxels] = training.correlations(here[test], predictions, published=self.published)
            a = fit.model.a.detach().abs().numpy()
            c = training.contributions(fit.model, X[test], here[test])
            rows.append((a, *c, *searched, *pair, fit.epoch, np.nanmean(r[voxels])))
        variables = dict.fromkeys(("layer_weight", "part_r", "contribution"), ("group", "layer"))
        variables |= dict.fromkeys(("search_epoch", "search_score"), ("group", "pair"))
        variables |= dict.fromkeys(COLUMNS[-4:], ("group",))
        found = {
            name: (variables[name], np.array(values))
            for name, values in zip(variables, zip(*rows, strict=True), strict=True)
        }
        return xr.Dataset(found | {"prediction": (("stimulus", "voxel"), predicted), "r": ("voxel", r)})

    def _search(self, X, Y, dims):
        """The pair of penalties to train with, and epochs and scores of all pairs (NaN without a search)."""
        if len(self.grid) == 1:
            return self.grid[0], np.full((2, 1), np.nan)
        how = {"grid": self.grid, "settings": self.settings, "published": self.published}
        tuned = tune(X, Y, dims, n_folds=N_FOLDS, **how)
        return best_penalties(tuned), tuned[["epoch_saved", "score"]].to_numpy().T

    def _fit(self, X, Y, train, dims, pair, name):
        """A trained model, or a stored one, and its pair of penalties."""
        if self.mode == "test":
            return training.Fit(load(self.folder / f"{name}.nc"), -1, None, None), (np.nan, np.nan)
        how = dataclasses.replace(self.settings, weight_penalty=pair[0], layer_penalty=pair[1])
        fit = _stopped(X, Y, train, dims, settings=how, published=self.published)
        if self.folder is not None:
            save(fit, self.folder / f"{name}.nc")
            artefacts.save_table(fit.history, self.folder / f"{name}.csv")
        return fit, pair


def save(fit, path):
    """Write a trained model, to be scored again without training.

    Parameters
    ----------
    fit : Fit
    path : pathlib.Path
        Ends in `.nc`.
    """
    names = {"W": ("voxel", "column"), "b": ("voxel",), "a": ("layer",), "layer": ("column",)}
    state = {name: (dims, fit.model.state_dict()[name].numpy()) for name, dims in names.items()}
    artefacts.save(xr.Dataset(state, attrs={"epoch": fit.epoch}), path)


def load(path):
    """Read a trained model.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    Model
    """
    state = artefacts.load(path)
    dims = np.bincount(state["layer"].values, minlength=state.sizes["layer"]).tolist()
    model = training.Model(dims, state.sizes["voxel"])
    model.load_state_dict({name: torch.as_tensor(state[name].values) for name in ("W", "b", "a", "layer")})
    return model


def published_test(n_stimuli=1000, n_test=100, *, seed=400):
    """Test stimuli as published, and the generator from which projections are drawn next.

    Parameters
    ----------
    n_stimuli, n_test : int
    seed : int
        Of NumPy's legacy generator.

    Returns
    -------
    int array (n_test,)
        Positions in the order drawn.
    numpy.random.RandomState

    References
    ----------
    Zhou, Du & He (2022), Mach Intell Res 19:439, as in the published code.
    """
    rng = np.random.RandomState(seed)
    return rng.permutation(n_stimuli)[:n_test], rng


def _stopped(X, Y, inside, dims, *, settings, published):
    """A fit to the rows inside, stopped on the others as published, or on some of those inside."""
    if published:
        fitted, watched = inside, ~inside
    else:
        rows = np.random.default_rng(settings.seed).permutation(np.flatnonzero(inside))
        watched = np.isin(np.arange(len(X)), rows[: max(2, round(HELD_OUT * len(rows)))])
        fitted = inside & ~watched
    validation = X[watched], Y[watched]
    return training.train(X[fitted], Y[fitted], validation, dims, settings=settings, published=published)
