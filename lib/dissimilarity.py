"""How dissimilar stimuli are in a layer, streamed in chunks of units, or in voxels that were measured repeatedly."""

import numpy as np

from lib import noise_covariance, rdm
from lib.plugins import require

UNCROSSED = {
    "correlation": "1 - Pearson correlation over units",
    "cosine": "1 - cosine over units",
    "euclidean": "root mean square difference over units",
    "squared_euclidean": "mean squared difference over units",
}
CROSSED = {
    "mahalanobis": "squared Mahalanobis distance, divided by the number of voxels",
    "crossnobis": "cross-validated squared Mahalanobis distance, divided by the number of voxels",
}
MEASURES = UNCROSSED | CROSSED
SCALINGS = {
    "none": "units as they are",
    "centred": "each unit's mean over stimuli removed",
    "z-scored": "each unit's mean over stimuli removed, divided by its standard deviation",
}
# What the published scripts do to units before they correlate patterns.
PUBLISHED = {"dwivedi2021": "centred", "tuckute2023": "z-scored"}
ROUNDING = 1e-13


def of_units(blocks, stimuli, *, measure="correlation", scaling="none", train=None, published=None):
    """Dissimilarity of all pairs of stimuli, from activations that are streamed in chunks of units.

    What a measure needs are products between stimuli, which add up over chunks: XXᵀ and the patterns' sums, in
    double precision. No more than a chunk is ever held in double precision.

    Parameters
    ----------
    blocks : iterable of array (n_stimuli, n_units_of_block)
        The units in pieces, any real type, such as `lib.features.blocks`. Units with a value that is not finite
        are left out and counted.
    stimuli : sequence of str (n_stimuli,)
        Identifiers of the rows.
    measure : {"correlation", "cosine", "euclidean", "squared_euclidean"}
    scaling : {"none", "centred", "z-scored"}
        What is done to each unit over the stimuli; it changes "correlation" and "cosine".
    train : bool array (n_splits, n_stimuli), optional
        Stimuli whose mean and standard deviation (ddof 0) scale the unit; all by default.
    published : {"dwivedi2021", "tuckute2023"}, optional
        Scaling as in that work instead of `scaling`. In "tuckute2023" units that do not vary over the train
        stimuli are centred and kept (they count where they vary over the test stimuli), here they are left out.

    Returns
    -------
    xarray.DataArray (stimulus, stimulus_2)
        Or (split, stimulus, stimulus_2) if `train` is given. From 0; at most 2 for "correlation", "cosine". NaN
        where a stimulus has no direction (a constant pattern, or all zero for "cosine"). Attributes:
        dissimilarity, scaling, n_units, n_missing_units, n_constant_units (over all stimuli), and
        n_constant_stimuli (largest number of any split).

    Raises
    ------
    ValueError
        If a name is unknown, rows and identifiers differ in number, an identifier repeats, or no unit is left.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Front Syst Neurosci 2:4. Scaling: the code of Dwivedi et al. (2021),
    doi:10.1371/journal.pcbi.1009267, and Tuckute et al. (2023), doi:10.1371/journal.pbio.3002366.
    """
    require(measure, UNCROSSED, "dissimilarity of units")
    if published:
        scaling = PUBLISHED[require(published, PUBLISHED, "published scaling")]
    require(scaling, SCALINGS, "scaling of units")
    stimuli = rdm.identifiers(stimuli)
    subsets = np.ones((1, len(stimuli)), bool) if train is None else np.asarray(train, bool)
    keep_silent = published == "tuckute2023"
    # Removing each unit's mean leaves distances as they are, and spares them rounding.
    centre = "centred" if scaling == "none" and "euclidean" in measure else scaling
    sums = [_Sums(len(stimuli)) for _ in subsets]
    n_missing = n_constant = 0
    for block in blocks:
        block = _rows(block, len(stimuli))
        finite = np.isfinite(block).all(axis=0)
        n_missing += int((~finite).sum())
        block = block[:, finite].astype(np.float64)
        n_constant += int((block == block[:1]).all(axis=0).sum())
        for total, subset in zip(sums, subsets, strict=True):
            total.add(_scaled(block, subset, centre, keep_silent))
    if not sums[0].n_units:
        raise ValueError(f"no unit is left of the layer: {n_missing} are not finite")
    found = np.stack([total.dissimilarity(measure) for total in sums])
    about = {"dissimilarity": UNCROSSED[measure], "scaling": SCALINGS[scaling], "n_units": sums[0].n_units}
    about |= {"n_missing_units": n_missing, "n_constant_units": n_constant}
    return rdm.labelled(found[0] if train is None else found, stimuli, **about)


def of_repeats(response, *, measure="crossnobis", covariance="schafer_strimmer"):
    """Dissimilarity of all pairs of stimuli, from voxels measured repeatedly.

    With x_i the pattern of stimulus i and S the covariance of the noise (`lib.noise_covariance`), over n voxels:
    "mahalanobis" is (x_i - x_j)ᵀ S⁻¹ (x_i - x_j) / n of the means over repeats, which noise makes too large;
    "crossnobis" takes the two differences from different repeats, averaged over all pairs of repeats, whose
    expectation is the distance without noise (leave-one-repeat-out gives the same mean).

    Parameters
    ----------
    response : xarray.DataArray (repeat, stimulus, voxel)
        NaN where not measured: a pair of stimuli is then taken from the pairs of repeats that have both. Voxels
        without a finite value, or without noise, are left out and counted.
    measure : {"crossnobis", "mahalanobis"}
    covariance : {"schafer_strimmer", "ledoit_wolf", "diagonal", "none"}
        Estimate of S; "none" is the identity.

    Returns
    -------
    xarray.DataArray (stimulus, stimulus_2)
        In units of the noise's variance per voxel; "crossnobis" is around 0, also below, where patterns do not
        differ; NaN where no two repeats have both stimuli. Attributes dissimilarity, covariance, shrinkage,
        n_units, n_missing_units, n_constant_units.

    Raises
    ------
    ValueError
        If a name is unknown, there are fewer than two repeats, or no voxel is left.

    References
    ----------
    Walther et al. (2016), NeuroImage 137:188; Diedrichsen, Provost & Zareamoghaddam (2016), arXiv:1607.01371.
    """
    require(measure, CROSSED, "dissimilarity of repeats")
    response = response.transpose("repeat", "stimulus", "voxel")
    Y = response.values.astype(float)
    if len(Y) < 2:
        raise ValueError(
            f"{measure} needs two repeats or more, not {len(Y)}; see `of_units` for other measures"
        )
    residuals, n_free = _residuals(Y)
    missing = ~np.isfinite(Y).any(axis=(0, 1))
    constant = ~missing & ~(np.abs(residuals).max(axis=0, initial=0) > ROUNDING * _largest(Y))
    kept = ~missing & ~constant
    if not kept.any():
        raise ValueError(f"no voxel is left: {missing.sum()} are not finite, {constant.sum()} have no noise")
    # A voxel that lacks some stimuli would leave those patterns undefined; a repeat may lack whole patterns.
    Y = np.where(np.isfinite(Y[:, :, kept]).all(axis=2, keepdims=True), Y[:, :, kept], np.nan)
    noise = noise_covariance.estimate(residuals[:, kept], n_free=n_free, method=covariance)
    repeats = Y if measure == "crossnobis" else _mean(Y)[None]
    found = _crossed(repeats, noise) / kept.sum()
    about = {"dissimilarity": MEASURES[measure], "covariance": covariance, "shrinkage": noise.shrinkage}
    about |= {"n_units": int(kept.sum()), "n_missing_units": int(missing.sum())}
    return rdm.labelled(found, response["stimulus"].values, **about, n_constant_units=int(constant.sum()))


class _Sums:
    """Products between stimuli and sums of patterns, over the units so far."""

    def __init__(self, n_stimuli):
        self.gram, self.total, self.n_units = np.zeros((n_stimuli, n_stimuli)), np.zeros(n_stimuli), 0

    def add(self, block):
        self.gram += block @ block.T
        self.total += block.sum(axis=1)
        self.n_units += block.shape[1]

    def dissimilarity(self, measure):
        gram = self.gram
        if measure == "correlation":
            gram = gram - np.outer(self.total, self.total) / self.n_units
        power = np.diag(gram)
        if measure in ("correlation", "cosine"):
            # The difference above leaves rounding where a pattern is constant.
            length = np.sqrt(np.where(power > ROUNDING * np.diag(self.gram), power, np.nan))
            found = np.clip(1 - gram / np.outer(length, length), 0, 2)
            np.fill_diagonal(found, np.where(np.isnan(length), np.nan, 0))
            return found
        squared = (power + power[:, None] - 2 * gram) / self.n_units
        squared[squared <= 1e-14 * (power + power[:, None]) / self.n_units] = 0
        np.fill_diagonal(squared, 0)
        return np.sqrt(squared) if measure == "euclidean" else squared


def _scaled(block, train, scaling, keep_silent):
    """Units centred or z-scored on the train stimuli."""
    if scaling == "none":
        return block
    centred = block - block[train].mean(axis=0)
    if scaling == "centred":
        return centred
    silent = (block[train] == block[train][:1]).all(axis=0)
    centred[:, silent] = block[:, silent] - block[train][0, silent]
    sd = np.where(silent, 1, block[train].std(axis=0))
    return centred / sd if keep_silent else (centred / sd)[:, ~silent]


def _rows(block, n_stimuli):
    """A block as an array of the right number of rows."""
    block = np.asarray(block)
    if block.ndim != 2 or len(block) != n_stimuli:
        raise ValueError(f"a block of units has shape {block.shape}; ({n_stimuli} stimuli, units) is right")
    return block


def _mean(Y):
    """Mean over repeats of what was measured, (stimulus, voxel); NaN where nothing was."""
    here = np.isfinite(Y)
    number = here.sum(axis=0)
    return np.where(here, Y, 0).sum(axis=0) / np.where(number, number, np.nan)


def _residuals(Y):
    """What the mean over repeats leaves of complete patterns, (pattern, voxel), and its degrees of freedom."""
    measured = np.isfinite(Y).any(axis=2)
    often = measured & (measured.sum(axis=0) > 1)
    residuals = np.where(np.isfinite(Y), Y - _mean(Y), 0)[often]
    return residuals, int(often.sum() - (often.sum(axis=0) > 0).sum())


def _largest(Y):
    """Largest absolute response of each voxel, 0 where there is none."""
    return np.where(np.isfinite(Y), np.abs(Y), 0).max(axis=(0, 1))


def _crossed(Y, noise):
    """Mean over pairs of repeats of the products of differences, whitened; of a single one with itself."""
    n_repeats, n_stimuli, _ = Y.shape
    whitened = [noise.solve(np.where(np.isnan(one), 0, one)) for one in Y]
    total, number = np.zeros((n_stimuli, n_stimuli)), np.zeros((n_stimuli, n_stimuli))
    for a in range(n_repeats):
        for b in range(a + 1, n_repeats) if n_repeats > 1 else [a]:
            both = np.isfinite(Y[[a, b]]).all(axis=(0, 2))
            gram = whitened[a] @ np.where(np.isnan(Y[b]), 0, Y[b]).T
            gram = gram + gram.T
            power = np.diag(gram) / 2
            use = np.outer(both, both)
            total += np.where(use, power + power[:, None] - gram, 0)
            number += use
    found = total / np.where(number, number, np.nan)
    np.fill_diagonal(found, np.where(np.diag(number) > 0, 0, np.nan))
    return found
