"""The layer-weighted model, its loss and its training by gradient descent, as published."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from lib import metrics, plugins

LOGGED = ("mse", "weight_penalty", "layer_penalty", "pcc", "total")


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
