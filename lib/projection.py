"""Fewer dimensions for features: sparse random projection and principal components, in bounded memory."""

import hashlib
import math
import warnings

import numpy as np
import torch
from sklearn.random_projection import SparseRandomProjection

from lib import plugins, standardisation

# Units per piece of a projection matrix, whose columns then stay in the cache, and bytes of all pieces of one
# matrix that are kept between batches.
PIECE = 1 << 14
KEPT_BYTES = 1 << 28


def dimension(n_stimuli, *, eps=0.1):
    """Dimensions in which distances between stimuli stay within a factor 1 ± eps: ⌊4 ln n / (ε²/2 − ε³/3)⌋.

    Parameters
    ----------
    n_stimuli : int
    eps : float
        Above 0 and below 1.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    ValueError
        If there are no stimuli or `eps` is outside its range.

    References
    ----------
    Dasgupta & Gupta (2003), Random Struct Algorithms 22:60, theorem 2.1 (Johnson-Lindenstrauss lemma).
    """
    if n_stimuli < 1 or not 0 < eps < 1:
        raise ValueError(
            f"a number of stimuli from 1 on and 0 < eps < 1 are wanted, not {n_stimuli} and {eps}"
        )
    return max(1, int(4 * math.log(n_stimuli) / (eps**2 / 2 - eps**3 / 3)))


class SparseProjection:
    """Random projection of a layer: entries 0, or ±√(1 / (density · n_components)) with even odds.

    The density is 1/√n_units. The matrix is drawn in pieces of units, each from a seed of its own, and pieces
    beyond a budget are drawn again whenever they are needed, so that memory is bounded whatever the layer.

    Parameters
    ----------
    n_units, n_components : int
        Before and after.
    name : str
        Of the layer: another layer has another matrix.
    seed : int

    References
    ----------
    Li, Hastie & Church (2006), KDD, very sparse random projections; the distribution is that of
    `sklearn.random_projection.SparseRandomProjection` with its defaults.
    """

    def __init__(self, n_units, n_components, *, name="", seed=0):
        self.n_units, self.n_components = n_units, n_components
        self.density = 1 / math.sqrt(n_units)
        # One digest for both, because the same seed must not give two layers the same signs.
        self._key = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:16], "big")
        self._kept, self._bytes = {}, 0

    def __call__(self, rows):
        """Projected features.

        Parameters
        ----------
        rows : float32 tensor (n_stimuli, n_units)

        Returns
        -------
        float32 tensor (n_stimuli, n_components)
            On the device of `rows`, in their unit.
        """
        return self.together(rows[:, start : start + PIECE] for start in range(0, self.n_units, PIECE))

    def together(self, pieces):
        """Projected features from pieces of a layer.

        Parameters
        ----------
        pieces : iterable of float32 tensor (n_stimuli, n_units of the piece)
            Units in order, `PIECE` of them in each piece but the last.

        Returns
        -------
        float32 tensor (n_stimuli, n_components)
        """
        total, start = None, 0
        for rows in pieces:
            piece = rows.T.contiguous()
            part = self._matrix(start, len(piece), rows.device) @ piece
            total = part if total is None else total.add_(part)
            start += len(piece)
        return total.T.contiguous()

    @property
    def n_bytes(self):
        """Bytes of the whole matrix as it is kept, on average."""
        return int(8 * self.density * self.n_units * self.n_components)

    def entries(self, start, width):
        """Entries of the matrix for a piece of the units.

        Parameters
        ----------
        start, width : int
            First unit, a multiple of `PIECE`, and number of units.

        Returns
        -------
        tuple of arrays
            Compressed rows: bounds of each component's entries (n_components + 1,), their units, counted from
            `start`, in ascending order, and their float32 values.
        """
        rng = np.random.default_rng([self._key, start])
        cells, found, last = self.n_components * width, [], -1
        expected = cells * self.density
        while last < cells:
            # Gaps between successes of independent draws, one per cell, are geometric.
            gaps = rng.geometric(self.density, size=int(expected + 6 * math.sqrt(expected)) + 16)
            found.append(last + np.cumsum(gaps))
            last = found[-1][-1]
        at = np.concatenate(found)
        at = at[at < cells]
        size = np.float32(math.sqrt(1 / (self.density * self.n_components)))
        values = np.where(rng.random(len(at), dtype=np.float32) < 0.5, -size, size)
        bounds = np.searchsorted(at, width * np.arange(self.n_components + 1, dtype=np.int64))
        return bounds, (at % width).astype(np.int32), values

    def _matrix(self, start, width, device):
        """A piece of the matrix as a sparse tensor, kept as long as there is room."""
        if (start, device) in self._kept:
            return self._kept[start, device]
        bounds, units, values = self.entries(start, width)
        with warnings.catch_warnings():
            # torch 2.11 says that checks are off by default even where, as here, they are asked for.
            warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
            warnings.filterwarnings("ignore", "Sparse invariant checks are implicitly", UserWarning)
            tensors = [torch.from_numpy(part).to(device) for part in (bounds.astype(np.int32), units, values)]
            size = (self.n_components, width)
            matrix = torch.sparse_csr_tensor(*tensors, size=size, check_invariants=True)
        n_bytes = sum(part.nbytes for part in tensors)
        if self._bytes + n_bytes <= KEPT_BYTES:
            self._kept[start, device] = matrix
            self._bytes += n_bytes
        return matrix


def principal_components(pieces, *, fitted_on=None, variance=1.0):
    """Scores of stimuli on the principal components of a layer, read once in pieces of units.

    With C the layer less its means over the fitting stimuli and U S Vᵀ the decomposition of their rows, the scores
    C V = (C Cᵀ) U / S need nothing but products of stimuli with stimuli, exact whenever there are no more
    stimuli than units.

    Parameters
    ----------
    pieces : iterable of arrays (n_stimuli, n_units of the piece)
        Of one layer, each unit once.
    fitted_on : bool array (n_stimuli,), optional
        Stimuli that define means and components; all by default.
    variance : float
        Share of the variance of these stimuli to keep, above 0 to 1, by as few components as it takes.

    Returns
    -------
    float64 array (n_stimuli, n_components)
        In the unit of the features, largest variance first; the sign of a component is that of its largest
        score. One component, of zeros, if no unit varies.

    Raises
    ------
    ValueError
        If fewer than two stimuli are to be fitted, or the share is outside its range.
    """
    if not 0 < variance <= 1:
        raise ValueError(f"the share of variance to keep is above 0 and at most 1, not {variance}")
    gram, train = 0, fitted_on
    for piece in pieces:
        train = np.ones(len(piece), dtype=bool) if train is None else np.asarray(train, dtype=bool)
        if train.sum() < 2:
            raise ValueError(f"principal components need two stimuli to fit at least, not {train.sum()}")
        centred = piece.astype(np.float64) - piece[train].mean(axis=0, dtype=np.float64)
        gram = gram + centred @ centred[train].T
    values, vectors = np.linalg.eigh(gram[train])
    values, vectors = values[::-1], vectors[:, ::-1]
    # Roundings of a sum of products of doubles leave null directions with this much at most.
    real = values > len(values) * np.finfo(float).eps * max(values[0], 0)
    real[len(values) - 1 :] = False  # centring takes one dimension
    if not real.any():
        return np.zeros((len(gram), 1))
    shares = np.cumsum(values[real]) / values[real].sum()
    n_kept = min(int(np.searchsorted(shares, variance - 1e-12)) + 1, len(shares))
    scores = gram @ (vectors[:, :n_kept] / np.sqrt(values[:n_kept]))
    largest = np.take_along_axis(scores, np.abs(scores).argmax(axis=0, keepdims=True), axis=0)
    return scores * np.sign(largest)


def standardised_first(X, train, kind, *, rng, variance=0.98, published=None):
    """A layer whose columns are standardised, then projected: at random, or on principal components.

    Parameters
    ----------
    X : array (n_stimuli, n_units)
    train : bool array (n_stimuli,)
        Stimuli that define the scale of columns, components, and by their number the dimensions.
    kind : {"srp", "pca"}
        "srp": as many dimensions as `dimension` names for the train stimuli, a layer of fewer units staying
        as it is. "pca": as few components as keep the share of variance.
    rng : numpy.random.RandomState
        Of "srp"; layers that share it, one after the other, get the published matrices.
    variance : float
    published : {"zhou2022"}, optional
        See `standardisation.columns`.

    Returns
    -------
    float32 array (n_stimuli, n_components)

    Raises
    ------
    ValueError
        If there is no such projection.

    References
    ----------
    Zhou, Du & He (2022), Mach Intell Res 19:439 (features).
    """
    plugins.require(kind, ("srp", "pca"), "projection")
    n_components = dimension(int(np.sum(train)))
    if kind == "srp" and n_components >= X.shape[1]:
        return np.asarray(X, np.float32)
    scaled = standardisation.columns(X, train, published=published)
    if kind == "pca":
        return principal_components([scaled], fitted_on=train, variance=variance).astype(np.float32)
    return SparseRandomProjection(n_components, random_state=rng).fit(scaled[train]).transform(scaled)
