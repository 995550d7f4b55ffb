"""Planted brains: regions that read out known layers of a known network, with known noise, for positive control."""

import tempfile
from itertools import product
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import linalg, stats

from lib import features, folds, metrics, ridge, surfaces

# A share of the mean squared feature: strong enough that no read-out hangs on a direction that is rounding.
PENALTY = 0.003


def directions(layers, layer, train, *, n_directions=2, n_candidates=5):
    """Response profiles that a layer predicts for stimuli it was not fitted to, and other layers predict worse.

    For a profile u over stimuli, ridge from each half of them predicts the other half with squared error uᵀA u
    out of a variance uᵀB u, both summed over splits. The candidates are the generalised eigenvectors with the
    smallest uᵀA u / uᵀB u in `layer`; of their mixtures those are taken for which the share explained by
    `layer` exceeds that of its strongest rivals most. Each is a linear read-out of the layer's units that a
    regression can find, and tell from the other layers.

    Parameters
    ----------
    layers : dict of str to array (n_stimuli, n_columns)
        Each layer as `lib.ridge.compress` gives it.
    layer : str
        The one that is to explain the profiles.
    train : bool array (n_splits, n_stimuli)
    n_directions, n_candidates : int

    Returns
    -------
    array (n_stimuli, n_directions)
        Mean 0, standard deviation 1.
    """
    forms = {name: _error_and_variance(X, train) for name, X in layers.items()}
    error, variance = forms.pop(layer)
    basis = linalg.null_space(np.ones((1, len(error))))
    last = [0, n_candidates - 1]
    candidates = (
        basis @ linalg.eigh(basis.T @ error @ basis, basis.T @ variance @ basis, subset_by_index=last)[1]
    )
    own, *rivals = (candidates.T @ (v - e) @ candidates for e, v in ((error, variance), *forms.values()))
    return _standard(candidates @ _contest(own, rivals, candidates.T @ variance @ candidates, n_directions))


def brain(profiles, stimuli, *, design, rng):
    """Responses of planted voxels, and the truth about each.

    response = √share · read-out + √(1 - share) · unrelated + noise. Read-out (a random mixture of the region's
    profiles) and unrelated part (random, from no layer) have variance 1 and are the same at each repeat; noise
    is drawn anew for each repeat, with variance (1 - e) / e, so that e is the explainable variance.

    Parameters
    ----------
    profiles : dict of str to array (n_stimuli, n_directions)
        For each region, what its voxels mix; see `directions`.
    stimuli : sequence of str (n_stimuli,)
    design : dict
        n_subjects, n_repeats, n_voxels (per subject, region, share and explainable variance), shares and
        explainable (lists of values in (0, 1]).
    rng : numpy.random.Generator

    Returns
    -------
    xarray.Dataset
        `response` (repeat, stimulus, voxel), dimensionless; `signal` (stimulus, voxel), the response without
        noise; `true_share` (voxel), of the explainable variance that the layer carries; `true_explainable`
        (voxel), share of a single repeat's variance that is not noise; coordinates subject and roi.
    """
    cells = list(product(range(design["n_subjects"]), profiles, design["shares"], design["explainable"]))
    cells = [cell for cell in cells for _ in range(design["n_voxels"])]
    share, explainable = np.array([cell[2:] for cell in cells]).T
    readout = np.stack(
        [_standard(profiles[roi] @ rng.normal(size=profiles[roi].shape[1])) for _, roi, *_ in cells], 1
    )
    unrelated = _standard(rng.normal(size=readout.shape))
    signal = np.sqrt(share) * readout + np.sqrt(1 - share) * unrelated
    noise = np.sqrt((1 - explainable) / explainable)
    response = signal + noise * rng.normal(size=(design["n_repeats"], *signal.shape))
    return xr.Dataset(
        {
            "response": (
                ("repeat", "stimulus", "voxel"),
                response,
                {"units": "standard deviations of the signal"},
            ),
            "signal": (("stimulus", "voxel"), signal, {"units": "standard deviations of the signal"}),
            "true_share": (
                "voxel",
                share,
                {"long_name": "share of explainable variance that the layer carries"},
            ),
            "true_explainable": (
                "voxel",
                explainable,
                {"long_name": "explainable variance of a single repeat"},
            ),
        },
        coords={
            "repeat": np.arange(design["n_repeats"]),
            "stimulus": list(stimuli),
            "voxel": [f"planted_{i:04d}" for i in range(len(cells))],
            "subject": ("voxel", [f"planted{subject + 1}" for subject, *_ in cells]),
            "roi": ("voxel", [roi for _, roi, *_ in cells]),
        },
    )


def attainable(X, signal, train):
    """Squared correlation that ridge reaches on responses without noise: what a right correction comes back to.

    Parameters
    ----------
    X : array (n_stimuli, n_columns)
        The true layer, as `lib.ridge.compress` gives it.
    signal : array (n_stimuli, n_voxels)
    train : bool array (n_splits, n_stimuli)

    Returns
    -------
    array (n_voxels,)
        Mean over splits of the test stimuli's squared correlation, negative correlations and constant
        predictions counted as 0.
    """
    scores = []
    for split in train:
        fit = ridge.leave_one_out(X, signal, split)
        r2 = metrics.squared_correlation(signal[~split], fit.predictions[~split])
        scores.append(np.where(fit.constant, 0, r2))
    return np.mean(scores, axis=0)


def target(model, stimuli, *, rois, design, seed):
    """A planted data set: each region reads out a layer of a model for given stimuli.

    Parameters
    ----------
    model : lib.models.Model
    stimuli : pandas.DataFrame
        stimulus, file, sha256, and optionally `group`: stimuli of a group stay on one side of each split.
    rois : dict of str to str
        Layer of each region, in the order of the hierarchy.
    design : dict
        See `brain`.
    seed : int

    Returns
    -------
    xarray.Dataset
        What `brain` returns, with `train` (split, stimulus), ten random halves; `true_layer` (voxel);
        `attainable_r2` (voxel), see `attainable`; attributes `true_model`, `true_layers` (regions and layers in
        order), and `true_bh`, the brain hierarchy score of this plan: the rank correlation of the order of
        regions with that of their layers.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.nc"
        features.extract(model, stimuli, path)
        columns = {layer: ridge.compress(features.blocks(path, layer)) for layer in model.layers}
    train = folds.half_splits(stimuli["stimulus"], seed=seed, groups=stimuli.get("group"))
    # Read-outs are designed on other halves than those that will score them.
    apart = folds.half_splits(stimuli["stimulus"], seed=seed + 1, groups=stimuli.get("group"))
    profiles = {roi: directions(columns, layer, apart) for roi, layer in rois.items()}
    responses = brain(profiles, stimuli["stimulus"], design=design, rng=np.random.default_rng(seed))
    reachable = xr.zeros_like(responses["true_share"])
    for roi, layer in rois.items():
        here = (responses["roi"] == roi).values
        reachable[here] = attainable(columns[layer], responses["signal"].values[:, here], train)
    depth = [model.layers.index(layer) for layer in rois.values()]
    return responses.assign(
        train=(("split", "stimulus"), train),
        true_layer=("voxel", [rois[roi] for roi in responses["roi"].values]),
        attainable_r2=("voxel", reachable.values, {"long_name": "squared correlation without noise"}),
        split=np.arange(len(train)),
    ).assign_attrs(
        planted=1,
        true_model=model.name,
        true_layers=", ".join(f"{roi} {layer}" for roi, layer in rois.items()),
        true_bh=float(stats.spearmanr(range(len(depth)), depth).statistic),
    )


def placed(responses, centres):
    """The same responses, each voxel at a place of the cortex, so that maps can be drawn.

    Every region is a patch of places in both hemispheres, about 7 mm apart; no place belongs to two regions.
    The voxels of a subject in a region take the patch's places in turn, left and right, from its centre
    outwards; subjects share these places, as people do whose brains were brought into one space.

    Parameters
    ----------
    responses : xarray.Dataset
        From `target`.
    centres : dict of str to sequence of float (3,)
        For each region x, y and z of its centre in the left hemisphere, mm; the right one is its mirror image.

    Returns
    -------
    xarray.Dataset
        With coordinates `hemisphere`, `x`, `y` and `z` (voxel), mm: places halfway between the white and the
        pial surface of fsaverage5.
    """
    mesh = surfaces.fsaverage5()
    table = responses[["subject", "roi"]].to_dataframe()
    number = table.groupby(["subject", "roi"]).cumcount().to_numpy()
    side, nth = np.array(surfaces.HEMISPHERES)[number % 2], number // 2
    places, between = np.full((len(table), 3), np.nan), range(surfaces.N_COARSE, surfaces.N_VERTICES)
    taken = {name: [*between] for name in surfaces.HEMISPHERES}
    for (roi, centre), name in product(centres.items(), taken):
        here = (table["roi"] == roi).to_numpy() & (side == name)
        mirrored = np.multiply(centre, (1 if name == "left" else -1, 1, 1))
        vertices = surfaces.patch(mesh, name, mirrored, nth[here].max() + 1, taken=taken[name])
        taken[name] += vertices.tolist()
        places[here] = mesh["middle"].sel(hemisphere=name).values[vertices[nth[here]]]
    mm = {"units": "mm", "space": "fsaverage, halfway between white and pial surface"}
    coords = {axis: ("voxel", places[:, i].round(2), mm) for i, axis in enumerate("xyz")}
    return responses.assign_coords(hemisphere=("voxel", side), **coords)


def _contest(own, rivals, variance, n_directions):
    """Mixtures (n_candidates, n_directions) whose share explained exceeds that of the strongest rival most."""
    rivals = np.reshape(rivals, (-1, *own.shape))
    weights, tried = np.full(len(rivals), 1 / max(len(rivals), 1)), []
    for _ in range(20):  # the strongest rivals of the present mixtures weigh more in the next ones
        mixtures = linalg.eigh(np.tensordot(weights, rivals, 1) - own, variance)[1][:, :n_directions]
        share, *others = (np.trace(mixtures.T @ form @ mixtures) / n_directions for form in (own, *rivals))
        tried.append((share - max(others, default=0), mixtures))
        strength = np.exp(8 * np.array(others))
        weights = (weights + strength / strength.sum()) / 2
    return max(tried, key=lambda attempt: attempt[0])[1]


def _standard(columns):
    """Mean 0 and standard deviation 1 over stimuli."""
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)


def _error_and_variance(X, train):
    """Quadratic forms of a profile: squared error of its prediction, and its variance, per test stimulus."""
    n_stimuli = len(X)
    error, variance = np.zeros((2, n_stimuli, n_stimuli))
    for split in (*train, *~train):  # each half predicts the other: every stimulus is predicted at some time
        centred = X - X[split].mean(axis=0)
        gram = centred[split] @ centred[split].T
        gram[np.diag_indices_from(gram)] += PENALTY * np.trace(gram) / len(gram)
        weights = linalg.solve(gram, centred[split] @ centred[~split].T, assume_a="pos").T
        residual = np.zeros(((~split).sum(), n_stimuli))
        residual[:, ~split] = np.eye(len(residual))
        deviation = residual - residual.mean(axis=0)
        residual[:, split] = weights.mean(axis=1, keepdims=True) - weights - 1 / split.sum()
        error += residual.T @ residual / len(residual)
        variance += deviation.T @ deviation / len(residual)
    return error, variance
