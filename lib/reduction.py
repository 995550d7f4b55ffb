"""What is kept of a layer's output: pooled, projected, of which precision."""

import dataclasses
import math

import torch

from lib import plugins, projection, standardisation

POOLINGS = ("", "mean", "max", "cls")
PROJECTIONS = ("", "srp", "pca", "srp-standardised", "pca-standardised")
AFTERWARDS = PROJECTIONS[2:]  # for which all stimuli must be there
UNITS_PER_PIECE = 8192
PRECISIONS = {"float32": 4, "float16": 2}  # bytes of a number


@dataclasses.dataclass(frozen=True)
class Reduction:
    """How features are made smaller before they are stored; by default they are not.

    Attributes
    ----------
    pooling : {"", "mean", "max", "cls"}
        "mean" and "max" over space or tokens; "cls" keeps the first token. An output (batch, a, b) is taken for
        (batch, token, unit); one of more axes for (batch, channel, space, …), or for (batch, space, space,
        channel) where the first two of them are equal and the last differs. Others stay as they are, as do
        outputs without tokens with "cls".
    projection : {"", "srp", "pca", "srp-standardised", "pca-standardised"}
        "srp": sparse random projection to the dimensions that `projection.dimension` names for the stimuli,
        batch by batch; layers below that stay as they are. "pca": principal components, after the last batch.
        "…-standardised": units are first given mean 0 and standard deviation 1 over the stimuli fitted on, as
        Zhou, Du & He (2022) did with those of their train stimuli; after the last batch.
    variance : float
        Share of the variance that principal components keep.
    seed : int
        Of random projections.
    precision : {"float32", "float16"}
        In which features are stored; they are computed in float32.
    fitted_on : tuple of str
        Identifiers of the stimuli that define components and the scale of units, and whose number random
        projections go by; all if empty.
    """

    pooling: str = ""
    projection: str = ""
    variance: float = 1.0
    seed: int = 0
    precision: str = "float32"
    fitted_on: tuple = ()

    def __post_init__(self):
        plugins.require(self.pooling, POOLINGS, "pooling")
        plugins.require(self.projection, PROJECTIONS, "projection")
        plugins.require(self.precision, PRECISIONS, "precision")

    @property
    def dtype(self):
        """Name of the stored type in HDF5."""
        return f"f{PRECISIONS[self.precision]}"

    def n_fitted(self, n_stimuli):
        """Number of stimuli that a projection goes by, of so many in all."""
        return len(self.fitted_on) or n_stimuli

    @property
    def afterwards(self):
        """Whether the projection needs all stimuli, and so comes after the last batch."""
        return self.projection in AFTERWARDS

    def n_kept(self, n_units, n_stimuli):
        """Number of units that are stored of a layer; at most, for principal components.

        Parameters
        ----------
        n_units : int
            What batches give: a projection batch by batch has been applied.
        n_stimuli : int

        Returns
        -------
        int
        """
        if self.projection.startswith("pca"):
            return min(n_units, self.n_fitted(n_stimuli) - 1)
        if self.projection == "srp-standardised":
            return min(n_units, projection.dimension(self.n_fitted(n_stimuli)))
        return n_units

    def n_bytes(self, sizes, n_stimuli):
        """Bytes of memory that a projection after the last batch takes.

        Parameters
        ----------
        sizes : dict of str to int
            Units of each layer.
        n_stimuli : int

        Returns
        -------
        int
        """
        if self.projection.startswith("pca"):
            # Products of stimuli with stimuli, their eigenvectors, and a piece of the layer in double precision.
            return 8 * n_stimuli * (4 * n_stimuli + 2 * UNITS_PER_PIECE)
        kept = max(self.n_kept(n, n_stimuli) for n in sizes.values())
        # Sums and what is added to them, pieces in double precision, and those of the matrix that are kept.
        return n_stimuli * (3 * 4 * kept + 4 * 8 * projection.PIECE) + projection.KEPT_BYTES

    def projected(self, layer, name, fitted):
        """A layer after a projection that needs all stimuli.

        Parameters
        ----------
        layer : array or h5py.Dataset (n_stimuli, n_units)
        name : str
        fitted : bool array (n_stimuli,), optional
            Which stimuli define components and the scale of units; all by default.

        Returns
        -------
        array (n_stimuli, n_components)
            The layer itself where a random projection would not make it smaller.
        """
        n_stimuli, n_units = layer.shape
        n_kept, random = self.n_kept(n_units, n_stimuli), self.projection == "srp-standardised"
        if random and n_kept == n_units:
            return layer[:]
        step = projection.PIECE if random else UNITS_PER_PIECE
        pieces = (layer[:, start : start + step] for start in range(0, n_units, step))
        if self.projection.endswith("-standardised"):
            pieces = standardisation.pieces(pieces, fitted)
        if random:
            matrix = projection.SparseProjection(n_units, n_kept, name=name, seed=self.seed)
            return matrix.together(torch.from_numpy(piece).float() for piece in pieces).numpy()
        return projection.principal_components(pieces, fitted_on=fitted, variance=self.variance)


NONE = Reduction()


class Reducer:
    """From a layer's output for a batch to the rows that are kept of it.

    Parameters
    ----------
    name : str
        Of the layer.
    shape : tuple of int
        Of its output for one stimulus, the batch's axis first.
    axis : int
        Where the network puts the batch.
    time_axis : int or None
        Of a batch-first output of three axes or more: averaged out.
    reduction : Reduction
    n_stimuli : int
        In all batches.

    Attributes
    ----------
    shape : tuple of int
        Of the output for one stimulus, batch first, without time.
    n_raw, n_units : int
        Units before and after the projection.
    """

    def __init__(self, name, shape, *, axis=0, time_axis=None, reduction=NONE, n_stimuli=1):
        self.name, self.axis, self.pooling = name, axis, reduction.pooling
        self.time_axis = time_axis if len(shape) > 2 else None
        self.shape = tuple(n for i, n in enumerate(shape) if i != self.time_axis)
        self.n_raw = self.n_units = width(self.shape, pooling=reduction.pooling)
        self.project = None
        if reduction.projection == "srp":
            n_kept = projection.dimension(reduction.n_fitted(n_stimuli))
            if n_kept < self.n_raw:
                self.n_units = n_kept
                self.project = projection.SparseProjection(self.n_raw, n_kept, name=name, seed=reduction.seed)

    def __call__(self, output):
        """Rows of a batch.

        Parameters
        ----------
        output : tensor
            As the network puts it out; not changed, and nothing of it is kept.

        Returns
        -------
        float32 tensor (n_stimuli, n_units)
        """
        rows = output.movedim(self.axis, 0).float()
        if self.time_axis is not None:
            rows = rows.mean(self.time_axis)
        rows = _pooled(rows, self.pooling).flatten(1)
        if self.project is not None:
            return self.project(rows)
        # A copy, because a later module may work in place on the very same memory.
        return rows.clone() if rows.data_ptr() == output.data_ptr() else rows


def width(shape, *, pooling=""):
    """Number of units that are left of an output once space or tokens are pooled.

    Parameters
    ----------
    shape : tuple of int
        Batch first, without time.
    pooling : {"", "mean", "max", "cls"}

    Returns
    -------
    int
    """
    gone = _pooled_axes(shape, pooling)
    return math.prod(n for i, n in enumerate(shape) if i and i not in gone)


def _pooled_axes(shape, pooling):
    """Axes that pooling takes away."""
    if not pooling or len(shape) < 3 or (pooling == "cls" and len(shape) > 3):
        return ()
    if len(shape) == 3:
        return (1,)
    last = len(shape) == 4 and shape[1] == shape[2] != shape[3]
    return (1, 2) if last else tuple(range(2, len(shape)))


def _pooled(rows, pooling):
    """Rows with space or tokens pooled."""
    axes = _pooled_axes(rows.shape, pooling)
    if not axes:
        return rows
    if pooling == "cls":
        return rows[:, 0]
    return rows.mean(axes) if pooling == "mean" else rows.amax(axes)


def rounded(rows, precision):
    """Rows in the precision in which they are stored.

    Parameters
    ----------
    rows : float32 tensor (n_stimuli, n_units)
    precision : {"float32", "float16"}

    Returns
    -------
    tensor (n_stimuli, n_units)
        Of that precision.
    float
        Largest absolute rounding error, relative to the largest absolute value; 0 without rounding.

    Raises
    ------
    ValueError
        If a value is too large for the precision.
    """
    if precision == "float32" or not rows.numel():
        return rows, 0.0
    small, largest = rows.to(getattr(torch, precision)), float(rows.abs().max())
    if not bool(small.isfinite().all()):
        limit = torch.finfo(small.dtype).max
        raise ValueError(f"values up to {largest:.3g} exceed the range of {precision}, ±{limit:.6g}")
    return small, float((small.float() - rows).abs().max()) / (largest or 1.0)
