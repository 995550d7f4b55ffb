"""Maps of how well model RDMs fit the RDM of each searchlight, with ceilings and chance, in one pass."""

import numpy as np
import xarray as xr
from scipy import stats

from lib import rdm, rdm_comparison, rdm_tests

LEVEL = 0.95  # quantile of chance that is kept as a map
ROUNDING = 1e-6  # of a correlation: permuted models are in single precision
PIECE_BYTES = 1 << 25  # of correlations with permuted models, held at a time
ON_DEVICE = ("pearson", "spearman", "cosine")


def evaluate(batches, models, stimuli, *, comparison="spearman", permutations=None, device=None):
    """Correlation of model RDMs with the RDM of each searchlight, mean over subjects, and what chance does.

    Each subject's RDM becomes a vector whose inner product with a model's is their similarity (ranks, centred and
    of length 1, for "spearman"). Subjects are averaged as such vectors, so that one product of searchlights with
    all models, permuted ones included, gives the mean similarity. Ceilings are the similarity of each subject's
    vector with the mean vector of the others (lower) and of all (upper): no RDM does better than the upper.

    Parameters
    ----------
    batches : iterable of lib.searchlight_rdms.Batch
        In order; each is dropped when it has been used.
    models : xarray.DataArray (model, stimulus, stimulus_2)
        Joined by the stimuli's identifiers; may hold more.
    stimuli : sequence of str
        Of the batches' RDMs, in their order.
    comparison : str
        As in `lib.rdm_comparison.similarities`; all but "kendall_tau_a", which has no such vectors.
    permutations : int array (n_permutations, n_stimuli), optional
        Orders of the conditions; the same for all searchlights, subjects and models.
    device : str, optional
        Torch device ("cuda", "cpu"), for "spearman", "pearson" and "cosine"; permuted models in single precision
        as without. Default: NumPy.

    Returns
    -------
    xarray.Dataset
        `score` (centre, model), mean over the subjects that have an RDM there; `subject_score` (subject, centre,
        model); `winner` (centre), name of the model with the largest score, "" where there is none;
        `lower_ceiling`, `upper_ceiling` (centre), NaN with fewer than two subjects; `n_voxels` (subject, centre);
        `n_subjects` (centre). With permutations: `p` (centre, model), share of them that reach the score;
        `p_family`, share whose largest score of any searchlight and model does; `null_95`, the 95 % quantile of
        chance. NaN where no subject has an RDM.

    Raises
    ------
    ValueError
        If the comparison is unknown or not possible here, stimuli do not match, or a model RDM is not finite.

    References
    ----------
    Kriegeskorte, Goebel & Bandettini (2006), PNAS 103, 3863-3868; Nili et al. (2014), PLoS Comput Biol
    10:e1003553 (ceilings, permuted conditions); Nichols & Holmes (2002), Hum Brain Mapp 15, 1-25 (largest score).
    """
    wanted = ON_DEVICE if device else [m for m in rdm_comparison.MEASURES if m != "kendall_tau_a"]
    rdm_comparison.require(comparison, wanted, "comparison in searchlights")
    models = rdm.matched(models, stimuli).transpose("model", ...)
    vectors = rdm.condensed(models)
    odd = models["model"].values[~np.isfinite(vectors).all(axis=1)]
    if len(odd):
        raise ValueError(f"model RDMs {odd[:3].tolist()} are not finite")
    M = _on(embedded(vectors, comparison).T, device)
    null = None if permutations is None else _Null(vectors, comparison, permutations, device)
    pieces = [_piece(batch, M, comparison, null) for batch in batches]
    found = {
        name: np.concatenate([p[name] for p in pieces], axis=DIMS[name].index("centre")) for name in pieces[0]
    }
    if null is not None:
        found["p_family"] = null.family(found["score"])
    names = models["model"].values.astype(str)
    score = found["score"]
    best = np.where(np.isnan(score), -np.inf, score).argmax(axis=1)
    found["winner"] = np.where(np.isfinite(score).any(axis=1), names[best], "")
    attrs = {
        "comparison": rdm_comparison.MEASURES[comparison],
        "n_undefined": int((found["n_subjects"] == 0).sum()),
    }
    attrs["n_permutations"] = 0 if null is None else len(permutations)
    return xr.Dataset({k: (DIMS[k], v) for k, v in found.items()}, coords={"model": names}, attrs=attrs)


DIMS = {
    "subject_score": ("subject", "centre", "model"),
    "n_voxels": ("subject", "centre"),
    **dict.fromkeys(("score", "p", "p_family", "null_95"), ("centre", "model")),
    **dict.fromkeys(("winner", "lower_ceiling", "upper_ceiling", "n_subjects"), ("centre",)),
}


def embedded(rdms, comparison):
    """RDMs as vectors whose inner products are their similarities; as in `lib.rdm_comparison`, but faster.

    Parameters
    ----------
    rdms : array or tensor (n_rdms, n_pairs)
        Finite.
    comparison : str

    Returns
    -------
    array or tensor (n_rdms, n)
        NaN where an RDM does not vary.
    """
    if comparison not in ON_DEVICE:
        return rdm_comparison.embedded(rdms, np.ones(rdms.shape[1], bool), comparison)
    rows = ranks(rdms) if comparison == "spearman" else rdms
    size = (rows**2).sum(axis=1) ** 0.5
    if comparison != "cosine":
        rows = rows - rows.mean(axis=1)[:, None]
    length = (rows**2).sum(axis=1) ** 0.5
    length[length <= rdm_comparison.ROUNDING * size] = np.nan
    return rows / length[:, None]


def ranks(values):
    """Ranks within rows from 0; ties share their mean rank.

    Parameters
    ----------
    values : array or tensor (n_rows, n)
        Finite.

    Returns
    -------
    array or tensor (n_rows, n), float64
    """
    if not isinstance(values, np.ndarray):
        import torch

        ordered = values.sort(dim=1).values
        below = torch.searchsorted(ordered, values)
        return (below + torch.searchsorted(ordered, values, right=True) - 1).double() / 2
    order = np.argsort(values, axis=1)
    found = np.empty(values.shape)
    np.put_along_axis(found, order, np.arange(values.shape[1], dtype=float)[None], axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    tied = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    if tied.any():
        found[tied] = stats.rankdata(values[tied], axis=1) - 1
    return found


def ceilings(vectors, have):
    """Bounds on the mean similarity with subjects, from vectors of length 1.

    Parameters
    ----------
    vectors : array or tensor (n_subjects, n_units, n)
        0 where a subject has none.
    have : bool array (n_subjects, n_units)

    Returns
    -------
    lower, upper : array (n_units,)
        NaN with fewer than two subjects.
    """
    first = vectors.swapaxes(0, 1)
    K = _back(first @ first.swapaxes(1, 2))
    own, row = np.diagonal(K, axis1=1, axis2=2), K.sum(axis=2)
    whole, count = row.sum(axis=1, keepdims=True), have.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        lower = (row - own) / np.sqrt(whole - 2 * row + own)
        upper = row / np.sqrt(whole)
    few = np.where(count > 1, count, np.nan)
    return tuple(np.where(have.T, side, 0).sum(axis=1) / few for side in (lower, upper))


def shown(maps, *, level=0.05):
    """What a map of searchlights shows at each place, for `lib.maps.table`.

    Parameters
    ----------
    maps : xarray.Dataset
        Of `evaluate`, with coordinates hemisphere, x, y and z (centre), mm.
    level : float
        Largest family-wise p of a winner that is shown, where conditions were permuted.

    Returns
    -------
    dict of str to xarray.DataArray (place)
        `relative_position` of the best model in their order, from 0 to 1, NaN where it is not significant;
        `score` of the best; `lower_ceiling`; `n_voxels`, mean over subjects.
    """
    maps = maps.rename(centre="place")
    score = maps["score"].fillna(-np.inf)
    position = score.argmax("model") / max(maps.sizes["model"] - 1, 1)
    decided = maps["n_subjects"] > 0
    if "p_family" in maps:
        decided = decided & (maps["p_family"].isel(model=score.argmax("model")) <= level)
    found = {"relative_position": position.where(decided), "score": maps["score"].max("model")}
    found |= {"lower_ceiling": maps["lower_ceiling"], "n_voxels": maps["n_voxels"].mean("subject")}
    return {name: values.drop_vars("model", errors="ignore") for name, values in found.items()}


class _Null:
    """Models with permuted conditions, and the largest of their scores so far."""

    def __init__(self, vectors, comparison, permutations, device):
        orders = rdm_tests.orders(permutations)
        self.n_models, self.n = len(vectors), len(orders)
        length = _permuted(vectors[0], orders[:1], comparison).shape[1]
        whole = np.empty((length, self.n_models * self.n), np.float32)
        for number, vector in enumerate(vectors):  # one by one: no second copy of all
            whole[:, number * self.n : (number + 1) * self.n] = _permuted(vector, orders, comparison).T
        self.M = _on(whole, device)
        self.largest = np.full(self.n, -np.inf)

    def maps(self, mean, score):
        """p and quantile of chance of some searchlights, from their mean vectors."""
        mean = mean.astype(np.float32) if isinstance(mean, np.ndarray) else mean.float()
        p, quantile = np.full((2, *score.shape), np.nan)
        step = max(1, PIECE_BYTES // (4 * self.n * self.n_models))
        for start in range(0, len(score), step):
            some = slice(start, start + step)
            null = _back(mean[some] @ self.M).reshape(-1, self.n_models, self.n)
            reached = (null >= score[some, :, None] - ROUNDING).sum(axis=2)
            p[some] = (1 + reached) / (1 + self.n)
            quantile[some] = np.quantile(null, LEVEL, axis=2)
            self.largest = np.maximum(self.largest, np.nanmax(null, axis=(0, 1), initial=-np.inf))
        p[np.isnan(score)] = np.nan
        return p, quantile

    def family(self, score):
        """p of each score among the largest ones of all permutations."""
        below = np.searchsorted(np.sort(self.largest), score - ROUNDING)
        return np.where(np.isnan(score), np.nan, (1 + self.n - below) / (1 + self.n))


def _permuted(vector, orders, comparison):
    """One model with permuted conditions as vectors (n_permutations, n)."""
    if comparison in ON_DEVICE:  # these do not mind the order of pairs, so the model is ranked once
        return embedded(vector[None], comparison)[0].astype(np.float32)[orders]
    return embedded(vector[orders], comparison)


def _piece(batch, M, comparison, null):
    """All maps of some searchlights."""
    n_subjects, n_here, n_pairs = batch.rdm.shape
    rows = batch.rdm.reshape(-1, n_pairs)
    have = _back(rows[:, 0] == rows[:, 0])
    vectors = embedded(rows[have], comparison)
    varies = _back(vectors[:, 0] == vectors[:, 0])
    have[have] = varies
    whole = _zeros(vectors, (len(rows), vectors.shape[1]))
    whole[have] = vectors[varies]
    whole, have = whole.reshape(n_subjects, n_here, -1), have.reshape(n_subjects, n_here)
    count = have.sum(axis=0)
    mean = whole.sum(axis=0) / _like(np.where(count, count, np.nan), whole)[:, None]
    found = {"score": _back(mean @ M), "n_voxels": batch.n_voxels, "n_subjects": count}
    found["subject_score"] = np.where(have[..., None], _back(whole @ M), np.nan)
    found["lower_ceiling"], found["upper_ceiling"] = ceilings(whole, have)
    if null is not None:
        found["p"], found["null_95"] = null.maps(mean, found["score"])
    return found


def _on(array, device):
    """The array itself, or a tensor of it on a device."""
    if device is None:
        return array
    import torch

    return torch.as_tensor(array, device=device)


def _back(array):
    """An array or tensor as an array."""
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()


def _like(array, other):
    """An array as what another is: array or tensor, on its device."""
    return array if isinstance(other, np.ndarray) else _on(array, other.device)


def _zeros(other, shape):
    """Zeros of what another is: array or tensor, on its device."""
    return np.zeros(shape) if isinstance(other, np.ndarray) else other.new_zeros(shape)
