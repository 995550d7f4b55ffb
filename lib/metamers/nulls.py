"""How alike a network finds random pairs of stimuli: what a metamer must not fall below at its layer."""

import itertools

import numpy as np
import pandas as pd
import torch

from lib import activations
from lib.metamers import distances

MEMORY = 2**30
BYTES = 12  # of a unit: its value, scaled, and its rank, scaled
COLUMNS = ["layer", "pair", "first", "second", *distances.MEASURES, *distances.NORMS]


def pairs(n_stimuli, *, n_pairs=None, seed=0, published=None, shuffled=True):
    """Pairs of different stimuli, by their numbers; the first of each pair is the signal.

    Parameters
    ----------
    n_stimuli : int
    n_pairs : int, optional
        At most so many, drawn at random, none twice in either order; all there are by default.
    seed : int
        Of the draw, and of which of two comes first.
    published : {None, "feather2023"}
        "feather2023" uses every stimulus once, as the batches of two of the study did.
    shuffled : bool
        Of the published rule: whether stimuli are shuffled by `seed` (pictures of the study) or neighbours
        are paired (its sounds).

    Returns
    -------
    int array (n_pairs, 2)

    Raises
    ------
    ValueError
        If there is no pair, or `published` is unknown.
    """
    distances.decibels(published)
    rng = np.random.default_rng(seed)
    most = n_stimuli // 2 if published else n_stimuli * (n_stimuli - 1) // 2
    wanted = most if n_pairs is None else min(n_pairs, most)
    if wanted < 1:
        raise ValueError(f"{wanted} pairs are wanted; of {n_stimuli} stimuli there are {most}")
    if published:
        order = rng.permutation(n_stimuli) if shuffled else np.arange(n_stimuli)
        return order[: 2 * wanted].reshape(-1, 2)
    chosen = np.arange(most) if wanted == most else rng.choice(most, wanted, replace=False)
    larger = np.floor((1 + np.sqrt(1 + 8 * chosen)) / 2).astype(int)
    # Rounding of the root, of large numbers, can be off by one either way.
    larger += chosen >= larger * (larger + 1) // 2
    larger -= chosen < larger * (larger - 1) // 2
    found = np.column_stack([chosen - larger * (larger - 1) // 2, larger])
    return rng.permuted(found, axis=1)


def activity(canvas, x, layers):
    """Activations of layers for stimuli, each flattened.

    Parameters
    ----------
    canvas : lib.metamers.canvas.Canvas
    x : tensor (n, …)
        In canvas units, on any device.
    layers : sequence of str
        As `lib.activations.record` takes them.

    Returns
    -------
    dict of str to float32 tensor (n, unit)
        On the network's device.
    """
    with torch.inference_mode():
        inputs = canvas.inputs(x.to(canvas.device))
        found = activations.record(canvas.module, inputs, layers, stop=True)
        return {layer: found[layer].flatten(1).float() for layer in layers}


def distribution(canvas, shown, layers, *, paired, published=None, batch_size=16, memory=MEMORY):
    """Likeness of pairs of stimuli at each layer.

    Layers that fit into memory for all stimuli are taken in one pass. Of any other, activations of two sets of
    stimuli are kept at a time, and pairs are taken in an order in which few stimuli are run again.

    Parameters
    ----------
    canvas : lib.metamers.canvas.Canvas
    shown : sequence
        Stimuli: tensors in canvas units, or files.
    layers : sequence of str
    paired : int array (n_pairs, 2)
        See `pairs`.
    published : {None, "feather2023"}
        "feather2023": half decibels; correlations and decibels are 0 where either activation sums to 0.
    batch_size : int
        Stimuli run at a time.
    memory : int
        Bytes of activations kept at a time, about.

    Returns
    -------
    pandas.DataFrame
        layer, pair (its row in `paired`), first, second, spearman, pearson, snr_db, norm_signal, norm_noise: one
        row per layer and pair, in these orders. NaN and infinite as `distances.between` has them.
    """
    tables = [
        _tiled(canvas, shown, some, paired, published=published, batch_size=batch_size, tile=tile)
        for some, tile in _passes(canvas, shown, layers, len(np.unique(paired)), memory)
    ]
    table = pd.concat(tables, ignore_index=True)
    place = table["layer"].map({layer: i for i, layer in enumerate(layers)})
    return table.loc[np.lexsort((table["pair"], place)), COLUMNS].reset_index(drop=True)


def summary(table, *, published=None):
    """What there is to know of a null distribution: its maximum, which metamers must reach, and how sure that is.

    Pairs that a layer does not tell apart (infinite decibels) are counted and left out: one duplicate among the
    stimuli would reject every metamer. No maximum of more pairs is extrapolated: the largest of a million
    pairs of natural stimuli is that of near duplicates, of which the tail of few pairs knows nothing. Instead
    `chance` says how strict the maximum is at least.

    Parameters
    ----------
    table : pandas.DataFrame
        From `distribution`.
    published : {None, "feather2023"}
        "feather2023" leaves out infinite decibels, but not the correlations of the same pairs.

    Returns
    -------
    pandas.DataFrame
        layer, measure, n_pairs, n_stimuli, n_infinite, n_undefined (NaN, left out too), maximum, median, q95 (NaN if
        nothing is left), chance: the largest probability with which a pair of two further stimuli of the same
        kind would lie above the maximum: 1 / (k + 1), where k pairs share no stimulus. It is what `n_pairs`
        are worth, as pairs that share stimuli are not independent.
    """
    distances.decibels(published)
    rows = []
    for layer, part in table.groupby("layer", sort=False):
        same = part["norm_noise"] == 0
        apart = _n_disjoint(part[["first", "second"]].to_numpy()[~same.to_numpy()])
        for measure in distances.MEASURES:
            out = np.isinf(part[measure]) if published else same | np.isinf(part[measure])
            left = part.loc[~out, measure].dropna().to_numpy()
            rows.append({
                "layer": layer,
                "measure": measure,
                "n_pairs": len(part),
                "n_stimuli": len(np.unique(part[["first", "second"]])),
                "n_infinite": int(out.sum()),
                "n_undefined": int(part.loc[~out, measure].isna().sum()),
                "maximum": left.max() if len(left) else np.nan,
                "median": np.median(left) if len(left) else np.nan,
                "q95": np.quantile(left, 0.95) if len(left) else np.nan,
                "chance": 1 / (apart + 1),
            })  # fmt: skip
    return pd.DataFrame(rows)


def _passes(canvas, shown, layers, n_stimuli, memory):
    """Layers that are taken together, and of how many stimuli at a time: the small ones of all, others alone."""
    found = activity(canvas, _stacked(canvas, shown, [0]), layers)
    size = {layer: found[layer].shape[1] * BYTES for layer in layers}
    small, left = [], memory // n_stimuli
    for layer in sorted(layers, key=size.get):
        if size[layer] <= left:
            small.append(layer)
            left -= size[layer]
    if small:
        yield small, len(shown)
    for layer in layers:
        if layer not in small:
            yield [layer], max(1, memory // (2 * size[layer]))


def _tiled(canvas, shown, layers, paired, *, published, batch_size, tile):
    """Measures of all pairs at some layers, two tiles of stimuli at a time."""
    tiles = np.sort(paired, axis=1) // tile
    order = np.lexsort((tiles[:, 1], tiles[:, 0]))
    kept, rows = {}, []
    for (row, _), members in itertools.groupby(order, key=lambda pair: tuple(tiles[pair])):
        members = np.fromiter(members, int)
        needed = np.unique(paired[members])
        kept = {i: kept[i] for i in kept if i // tile == row or i in needed}
        kept |= _run(canvas, shown, layers, [i for i in needed.tolist() if i not in kept], batch_size)
        for start in range(0, len(members), batch_size):
            some = members[start : start + batch_size]
            rows += [_measured(kept, paired[some], some, layer, published) for layer in layers]
    return pd.concat(rows, ignore_index=True)


def _stacked(canvas, shown, wanted):
    """Some stimuli as a batch."""
    return torch.stack([s if isinstance(s := shown[i], torch.Tensor) else canvas.stimulus(s) for i in wanted])


def _run(canvas, shown, layers, wanted, batch_size):
    """Activations at each layer, made ready to be compared, by stimulus."""
    found = {}
    for start in range(0, len(wanted), batch_size):
        some = wanted[start : start + batch_size]
        active = activity(canvas, _stacked(canvas, shown, some), layers)
        ready = {layer: distances.rows(values, torch.float32) for layer, values in active.items()}
        for row, i in enumerate(some):
            found[i] = {layer: [part[row] for part in ready[layer]] for layer in layers}
    return found


def _measured(kept, paired, numbers, layer, published):
    """Measures of some pairs at a layer."""
    a, b = (
        distances.Rows(*map(torch.stack, zip(*(kept[i][layer] for i in column.tolist()), strict=True)))
        for column in paired.T
    )
    found = distances.between(a, b, published=published)
    if published:
        silent = (a.values.sum(1, dtype=torch.float64) == 0) | (b.values.sum(1, dtype=torch.float64) == 0)
        found |= {measure: found[measure].masked_fill(silent, 0) for measure in distances.MEASURES}
    head = {"layer": layer, "pair": numbers, "first": paired[:, 0], "second": paired[:, 1]}
    return pd.DataFrame(head | {name: values.cpu().numpy() for name, values in found.items()})


def _n_disjoint(paired):
    """How many pairs, taken as they come, share no stimulus with one taken before."""
    taken = set()
    for first, second in paired.tolist():
        if first not in taken and second not in taken:
            taken |= {first, second}
    return len(taken) // 2
