"""The layer-weighted model trained by gradient descent: as published, or without the published leaks."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch.nn import functional

from lib import artefacts, metrics, plugins, projection

PUBLISHED = ("zhou2022",)

# Penalties of weights and of layer weights, in the order in which they are tried.
GRID = tuple((weight, layer) for weight in (1.0, 10.0, 100.0) for layer in (0.1, 1.0, 10.0))

# Share of the train stimuli that training is stopped on where it is not stopped on what is scored.
HELD_OUT = 0.1

LOGGED = ("mse", "weight_penalty", "layer_penalty", "pcc", "total")
COLUMNS = (
    *("run", "mode", "n_folds", "subject", "roi", "weight_penalty", "layer_penalty", "epoch_saved"),
    "score",
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the model is trained; the defaults are the published ones.

    Attributes
    ----------
    weight_penalty, layer_penalty : float
        Factors of the mean root mean square of the voxels' weights, and of the mean absolute layer weight.
    metric : {"pcc", "mse"}
        What training is stopped by.
    n_epochs : int
        At most.
    patience : int
        Epochs without improvement after which training stops.
    delta : float
        By how much the best score must be exceeded, or equalled with this on top.
    rate : float
        Of Adam.
    batch_size : int
        Stimuli per step; an incomplete last batch is dropped.
    seed : int
    device : str
        Torch device; numbers are drawn on the CPU in any case, so that weights start alike everywhere.
    """

    weight_penalty: float = 1.0
    layer_penalty: float = 0.1
    metric: str = "pcc"
    n_epochs: int = 500
    patience: int = 30
    delta: float = 1e-3
    rate: float = 1e-4
    batch_size: int = 16
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self):
        plugins.require(self.metric, ("pcc", "mse"), "metric")


class Model(torch.nn.Module):
    """y = b + Σ_l |a_l| W_l x_l for all voxels of a region.

    Parameters
    ----------
    dims : sequence of int
        Columns of each layer.
    n_voxels : int
    generator : torch.Generator, optional
        Weights are normal with variance 2 / (columns + voxels) as published; without one they are 0.
    """

    def __init__(self, dims, n_voxels, generator=None):
        super().__init__()
        n_columns = sum(dims)
        W = torch.zeros(n_voxels, n_columns)
        if generator is not None:
            # Numbers that the published code draws and overwrites.
            torch.empty(n_voxels, n_columns).uniform_(generator=generator)
            torch.empty(n_voxels).uniform_(generator=generator)
            W.normal_(0, (2 / (n_columns + n_voxels)) ** 0.5, generator=generator)
        self.W = torch.nn.Parameter(W)
        self.b = torch.nn.Parameter(torch.zeros(n_voxels))
        self.a = torch.nn.Parameter(torch.full((len(dims),), 1 / len(dims)))
        self.register_buffer("layer", torch.repeat_interleave(torch.arange(len(dims)), torch.tensor(dims)))

    def forward(self, X):
        """Predicted responses (n_stimuli, n_voxels) from features (n_stimuli, n_columns)."""
        return functional.linear(X * self.a.abs()[self.layer], self.W, self.b)

    def penalties(self):
        """Mean over voxels of the root mean square of their weights (not squared), and mean of |a|."""
        return self.W.square().mean(1).sqrt().mean(), self.a.abs().mean()


class EarlyStopping:
    """Which epoch is kept, and when to stop.

    The first epoch is kept, and each whose score is not below the best kept one plus `delta`. A score that is
    NaN counts as no improvement; the published code keeps it, and whatever comes next.

    Parameters
    ----------
    delta : float
    patience : int

    Attributes
    ----------
    best : float
        Score of the kept epoch.
    counter : int
        Epochs since.
    stored : int
        The kept epoch, from 0; -1 before there is one.
    stopped : bool
    """

    def __init__(self, *, delta, patience):
        self.delta, self.patience = delta, patience
        self.best, self.counter, self.stored, self.stopped, self.epoch = -np.inf, 0, -1, False, -1

    def improves(self, score):
        """Whether an epoch of this score is to be kept; to be asked once per epoch."""
        self.epoch += 1
        better = not np.isnan(score) and not score < self.best + self.delta
        if better:
            self.best, self.counter, self.stored = score, 0, self.epoch
        else:
            self.counter += 1
            self.stopped = self.counter >= self.patience
        return better


class Fit(NamedTuple):
    """A trained model.

    Attributes
    ----------
    model : Model
        With the weights of the kept epoch, on the CPU.
    epoch : int
        The kept epoch, from 0.
    history : pandas.DataFrame
        A row per epoch: step from 1; `train_…` (means over batches before their updates) and `validation_…`
        (after the epoch) of what `LOGGED` names; score, best, counter, stored, stopped.
    layer_weights : array (n_epochs, n_layers)
        Signed a after each epoch.
    """

    model: Model
    epoch: int
    history: pd.DataFrame
    layer_weights: np.ndarray


def inflated_correlation(Y, Y_hat):
    """Correlation as published: covariance with n - 1, standard deviations with n and 1e-8 on top.

    Parameters
    ----------
    Y, Y_hat : tensor (n_stimuli, n_voxels)

    Returns
    -------
    tensor (n_voxels,)
        n / (n - 1) times Pearson's r; 0 where a column is constant.

    References
    ----------
    Zhou, Du & He (2022), Mach Intell Res 19:439, as in the published code.
    """
    a, b = Y - Y.mean(0), Y_hat - Y_hat.mean(0)
    covariance = (a * b).sum(0) / (len(Y) - 1)
    return covariance / ((a.square().mean(0).sqrt() + 1e-8) * (b.square().mean(0).sqrt() + 1e-8))


def loss(model, X, Y, settings):
    """Mean squared error and penalties of one batch.

    Parameters
    ----------
    model : Model
    X : tensor (n_stimuli, n_columns)
    Y : tensor (n_stimuli, n_voxels)
    settings : Settings

    Returns
    -------
    tuple of scalar tensors
        Mean squared error, penalty of weights, penalty of layer weights (both without their factors),
        correlation (mean over voxels, inflated), and the total: error plus penalties with their factors.
    """
    predicted = model(X)
    error, (weights, layers) = functional.mse_loss(predicted, Y), model.penalties()
    pcc = inflated_correlation(Y, predicted.detach()).mean()
    total = error + settings.weight_penalty * weights + settings.layer_penalty * layers
    return error, weights, layers, pcc, total


def train(X, Y, validation, dims, *, settings=None, published=None, start=None, orders=None):
    """Train the model until the validation rows no longer improve.

    Parameters
    ----------
    X : array (n_stimuli, n_columns)
        Train features, standardised; layers side by side.
    Y : array (n_stimuli, n_voxels)
        Train responses.
    validation : tuple of arrays
        Features and responses of other stimuli. The published training gives the test stimuli: a leak.
    dims : sequence of int
        Columns of each layer.
    settings : Settings, optional
    published : {"zhou2022"}, optional
        Score epochs by the inflated correlation of each batch of validation rows, the incomplete last one
        dropped, averaged. Default: true correlation over all validation rows.
    start : tuple of arrays (W, b, a), optional
        Initial weights, in place of random ones.
    orders : int array (n_epochs, n_rows), optional
        Train rows of each epoch's batches, in place of random ones.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        If there is not one complete batch, or no epoch had a score.

    References
    ----------
    Zhou, Du & He (2022), Mach Intell Res 19:439, doi:10.1007/s11633-022-1348-x, section on training.
    """
    settings = settings or Settings()
    generator = torch.Generator().manual_seed(settings.seed)
    model = _initial(dims, Y.shape[1], generator, start).to(settings.device)
    X, Y, *validation = (_tensor(array, settings.device) for array in (X, Y, *validation))
    batches = _batches(len(validation[0]), settings.batch_size if published else len(validation[0]))
    _require_batches(len(X), batches, settings)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.rate)
    stopping = EarlyStopping(delta=settings.delta, patience=settings.patience)
    rows, layer_weights, kept = [], [], None
    for epoch in range(settings.n_epochs):
        order = _order(len(X), generator) if orders is None else torch.as_tensor(orders[epoch]).long()
        logged = _epoch(model, optimiser, X, Y, order, settings)
        checked = _checked(model, *validation, batches, settings, published)
        score = checked["pcc"] if settings.metric == "pcc" else -checked["mse"]
        if stopping.improves(score):
            kept = {name: value.detach().clone().cpu() for name, value in model.state_dict().items()}
        layer_weights.append(model.a.detach().cpu().numpy().copy())
        rows.append(_row(epoch, logged, checked, score, stopping))
        if stopping.stopped:
            break
    if kept is None:
        raise ValueError("no epoch had a finite score; are there values that are not finite?")
    model.load_state_dict(kept)
    return Fit(model.cpu(), stopping.stored, pd.DataFrame(rows), np.array(layer_weights))


def predict(model, X):
    """Predicted responses.

    Parameters
    ----------
    model : Model
    X : array (n_stimuli, n_columns)
        Standardised as in training.

    Returns
    -------
    float32 array (n_stimuli, n_voxels)
    """
    with torch.no_grad():
        return model(_tensor(X, model.W.device)).cpu().numpy()


def contributions(model, X, Y):
    """How well each layer alone, the others set to 0, predicts: correlation, and its share of all layers' sum.

    In double precision: of a layer of little weight nothing but rounding would be left otherwise.

    Parameters
    ----------
    model : Model
    X : array (n_stimuli, n_columns)
        Test features.
    Y : array (n_stimuli, n_voxels)
        Test responses.

    Returns
    -------
    array (n_layers,)
        Mean inflated correlation over voxels.
    array (n_layers,)
        The same over its sum: not between 0 and 1 if some are negative. Not what is lost without the layer.

    References
    ----------
    Zhou, Du & He (2022), Mach Intell Res 19:439 (layer contribution).
    """
    X, Y = (torch.as_tensor(np.asarray(array), dtype=torch.float64) for array in (X, Y))
    W, b, a, layer = (value.detach().cpu() for value in (model.W, model.b, model.a, model.layer))
    correlations = []
    for index, weight in enumerate(a.double().abs()):
        here = layer == index
        predicted = weight * X[:, here] @ W[:, here].double().T + b.double()
        correlations.append(inflated_correlation(Y, predicted).mean().item())
    correlations = np.array(correlations)
    return correlations, correlations / correlations.sum()


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


def tune(X, Y, dims, *, grid=GRID, n_folds=2, settings=None, published=None):
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
    settings, rows = settings or Settings(), []
    for weight_penalty, layer_penalty in grid:
        how = dataclasses.replace(settings, weight_penalty=weight_penalty, layer_penalty=layer_penalty)
        scores = []
        for fold in np.array_split(np.arange(len(X)), n_folds):
            inside = ~np.isin(np.arange(len(X)), fold)
            features = X if published else projection.standardised(X, inside)
            fit = _stopped(features, Y, inside, dims, settings=how, published=published)
            scores.append(score(fit.model, features[fold], Y[fold], published=published))
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


def score(model, X, Y, *, published=None):
    """Mean correlation over voxels.

    Parameters
    ----------
    model : Model
    X : array (n_stimuli, n_columns)
    Y : array (n_stimuli, n_voxels)
    published : {"zhou2022"}, optional
        Inflated by n / (n - 1).

    Returns
    -------
    float
        Constant predictions count as 0; NaN responses drop out.
    """
    return float(np.nanmean(correlations(Y, predict(model, X), published=published)))


def correlations(Y, Y_hat, *, published=None):
    """Correlation of each voxel's responses and predictions.

    Parameters
    ----------
    Y, Y_hat : array (n_stimuli, n_voxels)
    published : {"zhou2022"}, optional
        Inflated by n / (n - 1). Default: Pearson's r.

    Returns
    -------
    array (n_voxels,)
        0 for a constant prediction; NaN for responses that are constant (0 as published) or not finite.
    """
    if published:
        return inflated_correlation(*(torch.as_tensor(np.asarray(y)) for y in (Y, Y_hat))).numpy()
    r = metrics.pearson(Y, Y_hat)
    return np.where(np.isnan(r) & (np.ptp(Y_hat, axis=0) == 0) & (np.ptp(Y, axis=0) > 0), 0, r)


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
        and `score`, the mean of r (split, group). Attribute `published`.

    Raises
    ------
    ValueError
        If there is no such published rule or mode, no region, or no folder to test models from.
    """
    if published is not None:
        plugins.require(published, PUBLISHED, "published rule")
    plugins.require(mode, ("train", "test"), "mode")
    if mode == "test" and folder is None:
        raise ValueError("mode 'test' reads trained models: name the folder that training wrote them to")
    fitted = Regions(grid, settings or Settings(), published, folder, mode)
    usable = np.isfinite(responses["response"]).all(("repeat", "stimulus")).values
    for name in by:
        usable &= responses[name].values.astype(str) != ""
    if not usable.any():
        raise ValueError(f"no voxel has finite responses and all of the labels {list(by)}")
    responses = responses.isel(voxel=usable)
    names = pd.MultiIndex.from_arrays([responses[name].values.astype(str) for name in by])
    parts = []
    trains = responses["train"].transpose("split", "stimulus").values.astype(bool)
    for split, train in zip(responses["split"].values, trains, strict=True):
        X = projection.standardised(np.hstack(list(layers.values())), train, published=published)
        dims = [layer.shape[1] for layer in layers.values()]
        parts.append(fitted.split(X, responses, train, names, dims, str(split)))
    dataset = xr.concat(parts, "split").assign_coords(layer=list(layers), split=responses["split"])
    groups = names.unique()
    labels = {f"group_{name}": ("group", groups.get_level_values(i).tolist()) for i, name in enumerate(by)}
    labels |= {"group": ["/".join(group) for group in groups]}
    labels |= {name: coord for name, coord in responses.coords.items() if coord.dims == ("voxel",)}
    return dataset.assign_coords(labels | {"stimulus": responses["stimulus"]}).assign_attrs(
        published=published or ""
    )


def summary(scores, *, run, mode="train", n_folds=2):
    """Scores of each subject and region as rows of the published tables, told apart by run.

    Parameters
    ----------
    scores : xarray.Dataset
        What `encode` returned, by subject and roi.
    run : str
        Rows of several runs may be put below each other.
    mode : str
    n_folds : int
        Of the search.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`, and split; one row per subject, region and split.
    """
    named = ["weight_penalty", "layer_penalty", "epoch_saved", "score", "group_subject", "group_roi"]
    rows = scores[named].reset_coords(["group_subject", "group_roi"]).to_dataframe().reset_index()
    rows = rows.rename(columns={"group_subject": "subject", "group_roi": "roi"})
    return rows.assign(run=run, mode=mode, n_folds=n_folds)[[*COLUMNS, "split"]]


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
    settings: Settings
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
            if self.mode == "train" and region not in penalties:
                penalties[region] = self._penalties(X[train], here[train], dims)
            fit, pair = self._fit(X, here, train, dims, penalties.get(region), "/".join([split, *group]))
            predictions = predict(fit.model, X[test])
            predicted[np.ix_(test, voxels)] = predictions
            r[voxels] = correlations(here[test], predictions, published=self.published)
            a = fit.model.a.detach().abs().numpy()
            c = contributions(fit.model, X[test], here[test])
            rows.append((a, *c, *pair, fit.epoch, np.nanmean(r[voxels])))
        variables = ("layer_weight", "part_r", "contribution", *COLUMNS[-4:])
        found = {
            name: (("group", "layer")[: 1 + np.ndim(values[0])], np.array(values))
            for name, values in zip(variables, zip(*rows, strict=True), strict=True)
        }
        return xr.Dataset(found | {"prediction": (("stimulus", "voxel"), predicted), "r": ("voxel", r)})

    def _penalties(self, X, Y, dims):
        """The pair of penalties to train with."""
        if len(self.grid) == 1:
            return self.grid[0]
        how = {"grid": self.grid, "settings": self.settings, "published": self.published}
        return best_penalties(tune(X, Y, dims, **how))

    def _fit(self, X, Y, train, dims, pair, name):
        """A trained model, or a stored one, and its pair of penalties."""
        if self.mode == "test":
            return Fit(load(self.folder / f"{name}.nc"), -1, None, None), (np.nan, np.nan)
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
    model = Model(dims, state.sizes["voxel"])
    model.load_state_dict({name: torch.as_tensor(state[name].values) for name in ("W", "b", "a", "layer")})
    return model


def _stopped(X, Y, inside, dims, *, settings, published):
    """A fit to the rows inside, stopped on the others as published, or on some of those inside."""
    if published:
        fitted, watched = inside, ~inside
    else:
        rows = np.random.default_rng(settings.seed).permutation(np.flatnonzero(inside))
        watched = np.isin(np.arange(len(X)), rows[: max(2, round(HELD_OUT * len(rows)))])
        fitted = inside & ~watched
    validation = X[watched], Y[watched]
    return train(X[fitted], Y[fitted], validation, dims, settings=settings, published=published)


def _initial(dims, n_voxels, generator, start):
    """The untrained model, random or of given weights."""
    if start is None:
        return Model(dims, n_voxels, generator)
    model = Model(dims, n_voxels)
    with torch.no_grad():
        for parameter, values in zip((model.W, model.b, model.a), start, strict=True):
            parameter.copy_(torch.as_tensor(values))
    return model


def _order(n_rows, generator):
    """Rows of an epoch in the order in which a shuffling loader draws them, and after it an orderly one."""
    torch.empty((), dtype=torch.int64).random_(generator=generator)  # for workers of the train loader
    seed = torch.empty((), dtype=torch.int64).random_(generator=generator).item()
    order = torch.randperm(n_rows, generator=torch.Generator().manual_seed(seed))
    torch.empty((), dtype=torch.int64).random_(generator=generator)  # for workers of the validation loader
    return order


def _batches(n_rows, size):
    """Slices of complete batches."""
    return [slice(start, start + size) for start in range(0, n_rows - size + 1, size)]


def _epoch(model, optimiser, X, Y, order, settings):
    """One pass over the train rows; what was logged before each update, averaged."""
    logged = []
    order = order.to(X.device)
    for batch in _batches(len(order), settings.batch_size):
        rows = order[batch]
        values = loss(model, X[rows], Y[rows], settings)
        optimiser.zero_grad()
        values[-1].backward()
        optimiser.step()
        logged.append(torch.stack([value.detach() for value in values]))
    return torch.stack(logged).double().mean(0).tolist()


def _checked(model, X, Y, batches, settings, published):
    """What is logged of the validation rows after an epoch, by name, averaged over batches."""
    with torch.no_grad():
        logged = [torch.stack(loss(model, X[rows], Y[rows], settings)) for rows in batches]
        values = dict(zip(LOGGED, torch.stack(logged).double().mean(0).tolist(), strict=True))
    if not published:
        values["pcc"] *= (len(X) - 1) / len(X)
    return values


def _row(epoch, logged, checked, score, stopping):
    """A row of the history."""
    row = {"step": epoch + 1} | {f"train_{k}": v for k, v in zip(LOGGED, logged, strict=True)}
    row |= {f"validation_{k}": v for k, v in checked.items()} | {"score": score}
    return row | {name: getattr(stopping, name) for name in ("best", "counter", "stored", "stopped")}


def _tensor(array, device):
    """A float32 tensor on a device."""
    return torch.as_tensor(np.asarray(array), dtype=torch.float32, device=device)


def _require_batches(n_rows, validation, settings):
    """Refuse rows that do not fill a batch."""
    if n_rows < settings.batch_size or not validation:
        raise ValueError(
            f"{n_rows} train rows and the validation rows must each fill a batch of {settings.batch_size}"
        )
