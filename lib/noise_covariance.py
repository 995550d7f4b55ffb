"""Covariance of noise between voxels, shrunk so that it can be inverted, without ever forming it if it is large."""

from typing import NamedTuple

import numpy as np

from lib.plugins import require


class Covariance(NamedTuple):
    """Covariance `share · RᵀR / n_free + diag(diagonal)` of noise between voxels.

    Attributes
    ----------
    diagonal : array (n_voxels,)
        What shrinkage adds.
    share : float
        What shrinkage leaves of the sample's covariance.
    residuals : array (n_residuals, n_voxels)
        R, divided by the root of the degrees of freedom.
    shrinkage : float
        From 0, the sample's covariance, to 1, the target.
    """

    diagonal: np.ndarray
    share: float
    residuals: np.ndarray
    shrinkage: float

    def matrix(self):
        """The covariance, (n_voxels, n_voxels)."""
        return self.share * self.residuals.T @ self.residuals + np.diag(self.diagonal)

    def solve(self, patterns):
        """Patterns times the inverse of the covariance.

        Inverted in the smaller of the two spaces, voxels or residuals: (D + s RᵀR)⁻¹ = D⁻¹ - s D⁻¹Rᵀ (1 +
        s R D⁻¹ Rᵀ)⁻¹ R D⁻¹, by the Woodbury identity.

        Parameters
        ----------
        patterns : array (n_patterns, n_voxels)

        Returns
        -------
        array (n_patterns, n_voxels)

        Raises
        ------
        ValueError
            If the covariance is singular: there is no shrinkage, and too few residuals.
        """
        n_residuals, n_voxels = self.residuals.shape
        if not self.share:
            return patterns / self.diagonal
        if n_voxels <= n_residuals or not (self.diagonal > 0).all():
            if not (self.diagonal > 0).all() and n_voxels > n_residuals:
                raise ValueError(
                    f"a covariance of {n_voxels} voxels from {n_residuals} residuals is singular"
                )
            return np.linalg.solve(self.matrix(), patterns.T).T
        scaled = self.residuals / self.diagonal
        inner = np.eye(n_residuals) + self.share * scaled @ self.residuals.T
        return patterns / self.diagonal - self.share * np.linalg.solve(inner, scaled @ patterns.T).T @ scaled


def estimate(residuals, *, n_free=None, method="schafer_strimmer"):
    """Covariance between voxels, shrunk towards a simpler one as much as its own uncertainty suggests.

    Parameters
    ----------
    residuals : array (n_residuals, n_voxels)
        Noise, such as responses less the mean over their repeats; no NaN, each column with some variance.
    n_free : int, optional
        Degrees of freedom; by default n_residuals - 1.
    method : {"schafer_strimmer", "ledoit_wolf", "diagonal", "none"}
        Shrunk towards its diagonal, towards a multiple of the identity, the variances alone, or the identity.

    Returns
    -------
    Covariance

    Raises
    ------
    ValueError
        If the method is unknown, or nothing is free.

    References
    ----------
    Schäfer & Strimmer (2005), Stat Appl Genet Mol Biol 4:32, table 2 D; Ledoit & Wolf (2004), J Multivar Anal
    88:365, section 3.3. The sums over pairs of voxels are taken over pairs of residuals instead, which gives the
    same: Σ_jk (Σ_i r_ij r_ik)² = Σ_il (r_i · r_l)².
    """
    estimators = {"schafer_strimmer": _to_diagonal, "ledoit_wolf": _to_identity}
    require(method, (*estimators, "diagonal", "none"), "covariance of noise")
    n, n_voxels = residuals.shape
    if method == "none":
        return Covariance(np.ones(n_voxels), 0.0, np.zeros((0, n_voxels)), 1.0)
    residuals = residuals - residuals.mean(axis=0)
    n_free = n - 1 if n_free is None else n_free
    if n_free < 1:
        raise ValueError(f"{n} residuals with {n_free} degrees of freedom give no covariance; repeat stimuli")
    if method == "diagonal":
        return Covariance((residuals**2).sum(axis=0) / n_free, 0.0, residuals / np.sqrt(n_free), 1.0)
    shrinkage, target = estimators[method](residuals, n_free)
    return Covariance(shrinkage * target, 1 - shrinkage, residuals / np.sqrt(n_free), float(shrinkage))


def _to_diagonal(residuals, n_free):
    """Shrinkage towards the variances, and these."""
    n = len(residuals)
    variance = (residuals**2).sum(axis=0) / n_free
    scaled = residuals / np.sqrt(variance)
    within = scaled @ scaled.T
    # Sums over pairs of different voxels of the mean square and squared mean of their products.
    mean = ((within**2).sum() - ((scaled**2).sum(axis=0) ** 2).sum()) / (n - 1) ** 2
    square = ((np.diag(within) ** 2).sum() - (scaled**4).sum()) / (n - 1)
    if mean <= 0:
        return 1.0, variance
    return np.clip(n / n_free**2 * (square - mean) / mean, 0, 1), variance


def _to_identity(residuals, n_free):
    """Shrinkage towards the mean variance, and that for each voxel."""
    n, n_voxels = residuals.shape
    within = residuals @ residuals.T
    whole = (within**2).sum() / n**2
    mean = np.trace(within) / n / n_voxels
    distance = whole - n_voxels * mean**2
    uncertainty = min((np.diag(within) ** 2).sum() / n**2 - whole / n, distance)
    shrinkage = uncertainty / distance if distance > 0 else 1.0
    return shrinkage, np.full(n_voxels, mean * n / n_free)
