"""RDMs of all searchlights, a few at a time: from patterns and neighbourhoods, or from a file of RDMs."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from lib import budget, dissimilarity, rdm
from lib.plugins import require
from lib.searchlight import pairs

N_BYTES = 1 << 26  # of patterns, products and RDMs held at a time
SMALLEST = 2  # voxels that make a pattern
ROUNDING = 1e-13  # of a pattern's power: less is what the removal of its mean leaves of a constant one


class Batch(NamedTuple):
    """RDMs of some searchlights.

    Attributes
    ----------
    start : int
        Number of the first of them.
    rdm : array (n_subjects, n_here, n_pairs)
        Upper triangles, as by `lib.searchlight.pairs`; NaN throughout where a subject has too few voxels or a
        pattern without direction. A tensor if a device was asked for.
    n_voxels : int array (n_subjects, n_here)
        Voxels of the neighbourhoods that were used.
    """

    start: int
    rdm: np.ndarray
    n_voxels: np.ndarray


class Batches:
    """Batches of searchlights, each made when it is asked for; `len` is how many there are.

    Parameters
    ----------
    n_batches : int
    made : callable
        Without arguments; returns an iterator of `Batch`.
    """

    def __init__(self, n_batches, made):
        self.n_batches, self.made = n_batches, made

    def __len__(self):
        return self.n_batches

    def __iter__(self):
        return self.made()


def usable(patterns):
    """Which voxels tell stimuli apart.

    Parameters
    ----------
    patterns : array (n_stimuli, n_voxels) or (n_repeats, n_stimuli, n_voxels)

    Returns
    -------
    missing, constant : bool array (n_voxels,)
        Voxels without a finite value for some stimulus (in no repeat, that is), and voxels that are the same for
        all stimuli. The others are used.
    """
    means = _means(np.asarray(patterns, float))
    missing = ~np.isfinite(means).all(axis=0)
    return missing, (means == means[:1]).all(axis=0) & ~missing


def dropped(patterns):
    """How many voxels of each subject are left out, and why.

    Parameters
    ----------
    patterns : dict of str to array (n_stimuli, n_voxels)

    Returns
    -------
    pandas.DataFrame
        subject, n_voxels, n_missing, n_constant.
    """
    rows = [
        (subject, values.shape[-1], *(int(kind.sum()) for kind in usable(values)))
        for subject, values in patterns.items()
    ]
    return pd.DataFrame(rows, columns=["subject", "n_voxels", "n_missing", "n_constant"])


def cost(neighbourhoods, n_stimuli, *, n_models, n_permutations=0, n_bytes=N_BYTES):
    """What a search takes, beforehand.

    Parameters
    ----------
    neighbourhoods : dict of str to scipy.sparse.csr_array (n_centres, n_voxels)
    n_stimuli, n_models, n_permutations : int
    n_bytes : int
        As given to `of_patterns`.

    Returns
    -------
    pandas.DataFrame
        what, and size in words: patterns, neighbourhoods, RDMs held at a time, permuted models, maps.
    """
    n_subjects, n_pairs = len(neighbourhoods), n_stimuli * (n_stimuli - 1) // 2
    n_centres = next(iter(neighbourhoods.values())).shape[0]
    at_once = _step(neighbourhoods, n_stimuli, n_bytes)
    each = {id(n): n for n in neighbourhoods.values()}.values()  # subjects may share them
    sizes = {
        "patterns": 8 * n_stimuli * sum(n.shape[1] + 1 for n in neighbourhoods.values()),
        "neighbourhoods": sum(a.nbytes for n in each for a in (n.data, n.indices, n.indptr)),
        f"RDMs of {min(at_once, n_centres)} of {n_centres} searchlights at a time": n_bytes,
        "permuted models": 4 * n_pairs * n_models * n_permutations,
        "maps": 8 * n_centres * (n_models * (4 + n_subjects) + n_subjects + 3),
    }
    return pd.DataFrame([(what, budget.size(size)) for what, size in sizes.items()], columns=["what", "size"])


def of_patterns(
    patterns, neighbourhoods, *, measure="correlation", scaling="none", n_bytes=N_BYTES, device=None
):
    """RDMs of all searchlights from response patterns, batch by batch.

    With X (n_stimuli, n_voxels) of a neighbourhood, all dissimilarities come from XXᵀ and the patterns' means, for
    many searchlights in one product. Time and the RDMs' size grow with the number of searchlights times that of
    pairs of stimuli.

    Parameters
    ----------
    patterns : dict of str to array (n_stimuli, n_voxels)
        Of each subject. (n_repeats, n_stimuli, n_voxels) for the crossed measures.
    neighbourhoods : dict of str to scipy.sparse.csr_array (n_centres, n_voxels)
        Of the same subjects, around the same centres; see `lib.searchlight_geometry`.
    measure : str
        "correlation", "cosine", "euclidean", "squared_euclidean" as in `lib.dissimilarity.of_units`; "crossnobis",
        "mahalanobis" as in `lib.dissimilarity.of_repeats`, searchlight by searchlight, with the noise of its voxels.
    scaling : {"none", "centred", "z-scored"}
        What is done to each voxel over the stimuli; not for crossed measures.
    n_bytes : int
        About what may be held at a time, beside the patterns themselves.
    device : str, optional
        Torch device for the products ("cuda", "cpu"), in float64. Default: NumPy. Crossed measures ignore it.

    Returns
    -------
    Batches

    Raises
    ------
    ValueError
        If measure or scaling are unknown or exclude each other, or subjects, centres, voxels or stimuli do not
        match.
    """
    require(measure, {**dissimilarity.UNCROSSED, **dissimilarity.CROSSED}, "dissimilarity in searchlights")
    require(scaling, dissimilarity.SCALINGS, "scaling of voxels")
    crossed = measure in dissimilarity.CROSSED
    if crossed and scaling != "none":
        raise ValueError(f"{measure} weighs voxels by their noise; scaling {scaling!r} is not for it")
    n_stimuli = _check(patterns, neighbourhoods)
    n_centres = next(iter(neighbourhoods.values())).shape[0]
    subjects = [
        _Crossed(patterns[name], neighbourhoods[name], measure)
        if crossed
        else _Products(patterns[name], neighbourhoods[name], measure, scaling, device)
        for name in patterns
    ]
    step = _step(neighbourhoods, n_stimuli, n_bytes)
    starts = range(0, n_centres, step)

    def made():
        for start in starts:
            found = [subject(slice(start, min(start + step, n_centres))) for subject in subjects]
            rdms, counts = zip(*found, strict=True)
            yield Batch(start, _stack(rdms), np.stack(counts))

    return Batches(len(starts), made)


def stored(path, *, n_at_once=256):
    """RDMs of all searchlights from a file, batch by batch.

    Parameters
    ----------
    path : pathlib.Path
        As `lib.searchlight.store` writes it, with the edges of blocks (`size`) for the number of voxels.
    n_at_once : int
        Searchlights per batch.

    Returns
    -------
    Batches
        In double precision.
    """
    with xr.open_dataset(path, engine="h5netcdf") as file:
        n_voxels, starts = file["size"].prod("axis").values, range(0, file.sizes["searchlight"], n_at_once)

    def made():
        with xr.open_dataset(path, engine="h5netcdf") as file:
            for start in starts:
                some = slice(start, start + n_at_once)
                values = file["rdm"][:, some].transpose("subject", "searchlight", "pair").values.astype(float)
                values[np.isnan(values).any(axis=2)] = np.nan
                yield Batch(start, values, np.broadcast_to(n_voxels[some], values.shape[:2]))

    return Batches(len(starts), made)


class _Products:
    """RDMs of one subject that follow from products between stimuli."""

    def __init__(self, patterns, neighbourhoods, measure, scaling, device):
        self.neighbourhoods, self.measure, self.device = neighbourhoods, measure, device
        patterns = np.asarray(patterns, float)
        missing, constant = usable(patterns)
        kept = ~(missing | constant)
        values = np.where(kept, _means(patterns), 0)
        if scaling != "none":
            values -= values.mean(axis=0)
        if scaling == "z-scored":
            values[:, kept] /= values[:, kept].std(axis=0)
        # What the measure ignores is removed, which spares rounding.
        if measure == "correlation":
            values -= values.sum(axis=1, keepdims=True) / max(kept.sum(), 1)
        elif "euclidean" in measure:
            values -= values.mean(axis=0)
        values[:, ~kept] = 0
        # A last voxel of zeros fills up neighbourhoods that are smaller than others.
        self.rows = _on(np.concatenate([values, np.zeros((len(values), 1))], axis=1).T.copy(), device)
        self.kept = np.append(kept, False)
        self.pairs = np.ravel_multi_index(pairs(len(values)), (len(values),) * 2)

    def __call__(self, some):
        members = _padded(self.neighbourhoods, some)
        n_voxels = self.kept[members].sum(axis=1)
        values = self.rows[members] if self.device else np.take(self.rows, members, axis=0)
        gram = values.swapaxes(1, 2) @ values
        found = self._dissimilarity(gram, values, _on(np.where(n_voxels, n_voxels, np.nan), self.device))
        found[n_voxels < SMALLEST] = np.nan
        return found, n_voxels

    def _dissimilarity(self, gram, values, n_voxels):
        diagonal = np.arange(gram.shape[1])
        raw = gram[:, diagonal, diagonal]
        if self.measure == "correlation":
            total = values.sum(axis=1)
            gram -= total[:, :, None] * (total / n_voxels[:, None])[:, None]
        power = gram[:, diagonal, diagonal]
        i, j = pairs(len(diagonal))
        product = gram.reshape(len(gram), -1)[:, self.pairs]
        if "euclidean" in self.measure:
            squared = (power[:, i] + power[:, j] - 2 * product) / n_voxels[:, None]
            squared[squared < 0] = 0
            return squared**0.5 if self.measure == "euclidean" else squared
        power[(power <= ROUNDING * raw) | (power <= 0)] = np.nan
        inverse = power**-0.5
        found = 1 - product * (inverse[:, i] * inverse[:, j])
        found[~(found == found).all(axis=1)] = np.nan
        return found


class _Crossed:
    """RDMs of one subject that need repeats, one searchlight after the other."""

    def __init__(self, patterns, neighbourhoods, measure):
        missing, constant = usable(patterns)
        kept = np.flatnonzero(~(missing | constant))
        self.values, self.neighbourhoods, self.measure = patterns[..., kept], neighbourhoods[:, kept], measure

    def __call__(self, some):
        here = self.neighbourhoods[some]
        n_voxels = np.diff(here.indptr)
        n_stimuli = self.values.shape[1]
        found = np.full((len(n_voxels), n_stimuli * (n_stimuli - 1) // 2), np.nan)
        for row in np.flatnonzero(n_voxels >= SMALLEST):
            voxels = here.indices[here.indptr[row] : here.indptr[row + 1]]
            response = xr.DataArray(self.values[..., voxels], dims=("repeat", "stimulus", "voxel"))
            response = response.assign_coords(stimulus=np.arange(n_stimuli).astype(str))
            found[row] = rdm.condensed(dissimilarity.of_repeats(response, measure=self.measure))
        return found, n_voxels


def _means(patterns):
    """Patterns themselves, or their means over the repeats in which they were measured; NaN where in none."""
    if patterns.ndim == 2:
        return patterns
    here = np.isfinite(patterns)
    number = here.sum(axis=0)
    return np.where(here, patterns, 0).sum(axis=0) / np.where(number, number, np.nan)


def _check(patterns, neighbourhoods):
    """Number of stimuli, if everything matches."""
    if list(patterns) != list(neighbourhoods) or not patterns:
        raise ValueError(f"patterns of {list(patterns)}, but neighbourhoods of {list(neighbourhoods)}")
    for name, values in patterns.items():
        if np.shape(values)[-1] != neighbourhoods[name].shape[1]:
            raise ValueError(
                f"{name} has {np.shape(values)[-1]} voxels, its neighbourhoods {neighbourhoods[name].shape[1]}"
            )
    for what, numbers in (
        ("stimuli", {name: np.shape(values)[-2] for name, values in patterns.items()}),
        ("centres", {name: found.shape[0] for name, found in neighbourhoods.items()}),
    ):
        if len(set(numbers.values())) > 1:
            raise ValueError(f"subjects differ in their numbers of {what}: {numbers}")
    return np.shape(next(iter(patterns.values())))[-2]


def _step(neighbourhoods, n_stimuli, n_bytes):
    """Searchlights whose arrays fit, at least one."""
    largest = max(int(np.diff(n.indptr).max(initial=1)) for n in neighbourhoods.values())
    n_pairs = n_stimuli * (n_stimuli - 1) // 2
    each = 8 * (largest * (n_stimuli + 2) + 2 * n_stimuli**2 + n_pairs * (4 + 4 * len(neighbourhoods)))
    return max(1, int(n_bytes // each))


def _padded(neighbourhoods, some):
    """Voxels (n_here, largest neighbourhood) of some searchlights; the number of voxels where there are fewer."""
    starts, stop = neighbourhoods.indptr[some], neighbourhoods.indptr[some.stop]
    lengths = np.diff(np.append(starts, stop))
    members = np.full((len(lengths), lengths.max(initial=1)), neighbourhoods.shape[1])
    members[np.arange(members.shape[1]) < lengths[:, None]] = neighbourhoods.indices[starts[0] : stop]
    return members


def _stack(rdms):
    """Arrays or tensors as one."""
    if isinstance(rdms[0], np.ndarray):
        return np.stack(rdms)
    import torch

    return torch.stack(rdms)


def _on(array, device):
    """The array itself, or a float64 tensor of it on a device."""
    if device is None:
        return array
    import torch

    return torch.as_tensor(array, dtype=torch.float64, device=device)
