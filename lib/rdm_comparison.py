"""How alike RDMs are: correlations, rank correlations, cosines, whitened or not, and centred kernel alignment."""

import numpy as np
import xarray as xr
from scipy import stats

from lib import rdm
from lib.plugins import require
from lib.searchlight import pairs

MEASURES = {
    "pearson": "Pearson correlation of RDMs",
    "spearman": "Spearman correlation of RDMs",
    "kendall_tau_a": "Kendall tau-a of RDMs",
    "rho_a": "rho-a of RDMs, the expected Spearman correlation if ties are broken at random",
    "cosine": "cosine of RDMs",
    "whitened_cosine": "whitened cosine of RDMs",
    "whitened_pearson": "whitened Pearson correlation of RDMs",
    "unbiased_cka": "unbiased centred kernel alignment",
}
RANKED = ("spearman", "rho_a")
WHITENED = ("whitened_cosine", "whitened_pearson")
ROUNDING = 1e-12


def compare(models, brain, *, measure):
    """Similarity of each model RDM with each brain RDM, of the stimuli of the brain RDMs.

    Parameters
    ----------
    models : xarray.DataArray (…, stimulus, stimulus_2)
        Joined to `brain` by the stimuli's identifiers; may hold more stimuli.
    brain : xarray.DataArray (…, stimulus, stimulus_2)
        Leading dimensions must be others than those of `models`.
    measure : str
        See `similarities`.

    Returns
    -------
    xarray.DataArray (… of models, … of brain)
        Between -1 and 1; NaN where an RDM has no values or does not vary.

    Raises
    ------
    ValueError
        If the measure is unknown, a stimulus is missing or repeats, or leading dimensions are shared.
    """
    models = rdm.matched(models, brain["stimulus"].values)
    brain = rdm.matched(brain, brain["stimulus"].values)
    sides = [one.transpose(..., *rdm.PAIR) for one in (models, brain)]
    leading = [one.dims[:-2] for one in sides]
    if set(leading[0]) & set(leading[1]):
        raise ValueError(f"models and brain share the dimensions {sorted(set(leading[0]) & set(leading[1]))}")
    A, B = (rdm.condensed(one).reshape(-1, _n_pairs(one)) for one in sides)
    values = similarities(A, B, measure=measure).reshape(sides[0].shape[:-2] + sides[1].shape[:-2])
    coords = {
        name: coord
        for one, dims in zip(sides, leading, strict=True)
        for name, coord in one.coords.items()
        if set(coord.dims) <= set(dims) and coord.dims
    }
    return xr.DataArray(values, dims=leading[0] + leading[1], coords=coords, name=measure)


def similarities(A, B, *, measure):
    """Similarity of each RDM of one set with each of another, over the pairs of stimuli that both have.

    - "pearson", "cosine": of the dissimilarities; "spearman": of their ranks (ties share the mean rank).
    - "rho_a": 12 Σ (rank - mean)(rank' - mean') / (m³ - m) over m pairs; "kendall_tau_a": concordant less
      discordant pairs of dissimilarities over all, ties counting 0. Neither favours models that predict ties.
    - "whitened_cosine", "whitened_pearson": vᵀV⁻¹w / √(vᵀV⁻¹v · wᵀV⁻¹w), V the covariance of dissimilarities of
      unrelated patterns with equal and independent noise (for the second, each RDM's mean is removed first).
      What V⁻¹ weighs is what is left of the square matrix, diagonal 0 included, after the a_i + a_j that fits
      it best: without missing pairs the doubly centred matrix, so that "whitened_cosine" of squared distances
      is linear CKA.
    - "unbiased_cka": of squared distances, which 1 - correlation is too; see `cka`. All pairs must be there.

    Parameters
    ----------
    A : array (n_a, n_pairs)
        Upper triangles; NaN where a pair is missing.
    B : array (n_b, n_pairs)
    measure : str
        One of those above.

    Returns
    -------
    array (n_a, n_b)
        Between -1 and 1; NaN with fewer than three pairs, or where an RDM does not vary ("cosine": is 0
        throughout); such an RDM has 0 in "kendall_tau_a" and "rho_a".

    Raises
    ------
    ValueError
        If the measure is unknown, sizes differ or belong to no RDM.

    References
    ----------
    Nili et al. (2014), PLoS Comput Biol 10:e1003553; Schütt et al. (2023), eLife 12:e82566 (rho-a); Diedrichsen
    et al. (2021), Neurons, Behavior, Data analysis and Theory 5(3), doi:10.51628/001c.27664 (whitening).
    """
    require(measure, MEASURES, "comparison of RDMs")
    A, B = np.atleast_2d(A).astype(float), np.atleast_2d(B).astype(float)
    n_stimuli(A.shape[1])
    if A.shape[1] != B.shape[1]:
        raise ValueError(f"RDMs of {A.shape[1]} and of {B.shape[1]} pairs cannot be compared")
    found = np.full((len(A), len(B)), np.nan)
    for rows, have in _patterns(A):
        for columns, have_too in _patterns(B):
            both = have & have_too
            if both.sum() > 2:
                found[np.ix_(rows, columns)] = _products(A[rows], B[columns], both, measure)
    return found


def cka(K, L, *, unbiased=True):
    """Centred kernel alignment of two representations of the same stimuli, from products between stimuli.

    ⟨K̃, L̃⟩ / √(⟨K̃, K̃⟩⟨L̃, L̃⟩). Biased: K̃ is K doubly centred. Unbiased: of K with its diagonal set to 0, K̃_ij =
    K_ij - (r_i + r_j) / (n - 2) + s / ((n - 1)(n - 2)) for i ≠ j, with r the sums of rows and s that of all, so
    that numerator and both factors below have the expectation of infinitely many stimuli.

    Parameters
    ----------
    K, L : array (n_stimuli, n_stimuli)
        XXᵀ of each representation; columns of X need not be centred.
    unbiased : bool

    Returns
    -------
    float
        At most 1; biased from 0. NaN where stimuli do not differ (or, unbiased, seem to differ less than that).

    Raises
    ------
    ValueError
        If the shapes differ, or there are fewer than four stimuli.

    References
    ----------
    Kornblith, Norouzi, Lee & Hinton (2019), ICML, equation 2; Song et al. (2012), J Mach Learn Res 13:1393,
    equation 5 (unbiased estimate).
    """
    K, L = np.asarray(K, float), np.asarray(L, float)
    if K.shape != L.shape or K.ndim != 2 or len(K) < 4 or K.shape[0] != K.shape[1]:
        raise ValueError(
            f"products {K.shape} and {L.shape} must be of the same four stimuli or more, squared"
        )
    centred = [_u_centred(side[None]) if unbiased else _residual(side[None], None) for side in (K, L)]
    a, b = (one.ravel() for one in centred)
    below = np.sqrt(max((a @ a) * (b @ b), 0))
    return float(a @ b / below) if below > 0 else np.nan


def embedded(vectors, have, measure):
    """RDMs as vectors whose inner products are the similarities of a measure (all but Kendall's).

    Parameters
    ----------
    vectors : array (n_rdms, n_pairs)
    have : bool array (n_pairs,)
        Pairs to use; finite in all RDMs.
    measure : str

    Returns
    -------
    array (n_rdms, n_pairs used)
        Or (n_rdms, n_stimuli²) for whitened measures and CKA. Of length 1 (except for "rho_a"), NaN where an RDM
        does not vary.
    """
    rows = spread(vectors, have, measure)
    if measure == "rho_a":
        m = rows.shape[1]
        return rows * np.sqrt(12 / (m**3 - m))
    largest = np.abs(vectors[:, have]).max(axis=1, initial=0)
    return unit(rows, rows.shape[1] if measure == "spearman" else largest)


def spread(vectors, have, measure):
    """What `embedded` gives before lengths are made 1: linear in the RDMs, except for ranks.

    Parameters
    ----------
    vectors : array (n_rdms, n_pairs)
    have : bool array (n_pairs,)
    measure : str

    Returns
    -------
    array (n_rdms, n_pairs used)
        Or (n_rdms, n_stimuli²) for whitened measures and CKA.
    """
    if measure in WHITENED or measure == "unbiased_cka":
        centred = vectors - vectors[:, have].mean(axis=1, keepdims=True)
        D, mask = _square(centred if measure == "whitened_pearson" else vectors, have)
        rows = _u_centred(D) if measure == "unbiased_cka" else _residual(D, mask)
        return rows.reshape(len(D), -1)
    rows = vectors[:, have]
    if measure in RANKED:
        rows = stats.rankdata(rows, axis=1)
    return rows if measure == "cosine" else rows - rows.mean(axis=1, keepdims=True)


def unit(rows, size):
    """Rows of length 1, NaN where nothing but rounding is left.

    Parameters
    ----------
    rows : array (…, n)
    size : array (…,)
        Largest value of each row before its mean was removed.

    Returns
    -------
    array (…, n)
    """
    length = np.sqrt((rows**2).sum(axis=-1))
    return rows / np.where(length > ROUNDING * size, length, np.nan)[..., None]


def n_stimuli(n_pairs):
    """Number of stimuli whose upper triangle has so many values.

    Parameters
    ----------
    n_pairs : int

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If no RDM has so many.
    """
    n = round((1 + np.sqrt(1 + 8 * n_pairs)) / 2)
    if n * (n - 1) // 2 != n_pairs or n < 2:
        raise ValueError(f"{n_pairs} values are no upper triangle of an RDM; n (n - 1) / 2 is right")
    return n


def _products(A, B, both, measure):
    """Similarities of RDMs that have the same pairs."""
    if measure == "kendall_tau_a":
        return np.array([[_tau_a(a[both], b[both]) for b in B] for a in A])
    if measure == "unbiased_cka" and not both.all():
        return np.nan
    return np.clip(embedded(A, both, measure) @ embedded(B, both, measure).T, -1, 1)


def _patterns(vectors):
    """Rows that lack the same pairs, and the pairs that they have."""
    finite = np.isfinite(vectors)
    kinds, kind = np.unique(finite, axis=0, return_inverse=True)
    return [(np.flatnonzero(kind.ravel() == number), have) for number, have in enumerate(kinds)]


def _tau_a(a, b):
    """Kendall's tau-a, from SciPy's tau-b: the two differ in how they count ties."""
    total = len(a) * (len(a) - 1) / 2
    untied = [total - (n * (n - 1) / 2).sum() for n in (np.unique(x, return_counts=True)[1] for x in (a, b))]
    if 0 in untied:
        return 0.0
    return stats.kendalltau(a, b, method="asymptotic").statistic * np.sqrt(np.prod(untied)) / total


def _square(vectors, have):
    """RDMs as square matrices with 0 where a pair is missing, and where there is something."""
    n = n_stimuli(vectors.shape[1])
    rows, columns = pairs(n)
    D, mask = np.zeros((len(vectors), n, n)), np.eye(n)
    D[:, rows, columns] = np.where(have, vectors, 0)
    mask[rows, columns] = mask[columns, rows] = have
    return D + D.swapaxes(1, 2), mask


def _residual(D, mask):
    """What the best fitting a_i + a_j leaves of each symmetric matrix, over the entries of a mask (None: all)."""
    n = D.shape[1]
    if mask is None or mask.all():
        mean = D.mean(axis=2)
        return D - mean[:, None] - mean[..., None] + mean.mean(axis=1)[:, None, None]
    a = np.linalg.solve(np.diag(mask.sum(axis=1)) + mask, D.sum(axis=2).reshape(-1, n).T).T
    return mask * (D - a[:, None] - a[..., None])


def _u_centred(D):
    """Matrices centred so that their products are unbiased; see `cka`."""
    n = D.shape[1]
    off = 1 - np.eye(n)
    row = (D * off).sum(axis=2)
    shift = (row[:, None] + row[..., None]) / (n - 2) - row.sum(axis=1)[:, None, None] / ((n - 1) * (n - 2))
    return (D - shift) * off


def _n_pairs(one):
    """Number of pairs of an RDM's stimuli."""
    n = one.sizes["stimulus"]
    return n * (n - 1) // 2
