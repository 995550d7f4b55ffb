"""How alike a network's activations for two stimuli are: rank and linear correlation, signal-to-noise ratio."""

from typing import NamedTuple

import torch

from lib import plugins

RULES = ("feather2023",)
MEASURES = ("spearman", "pearson", "snr_db")
NORMS = ("norm_signal", "norm_noise")


def ranks(x):
    """Ranks of the values of each row, from 1 on; equal values share the mean of theirs.

    Parameters
    ----------
    x : tensor (n, unit)

    Returns
    -------
    float64 tensor (n, unit)
        Where a row holds NaN, all of it is NaN.
    """
    ordered, order = x.sort(dim=1)
    places = torch.arange(x.shape[1], device=x.device).expand_as(order)
    step = torch.ones(len(x), 1, dtype=torch.bool, device=x.device)
    differs = ordered[:, 1:] != ordered[:, :-1]
    # First and last place of the run of equal values that each place lies in.
    first = torch.where(torch.cat([step, differs], 1), places, 0).cummax(1).values
    ends = torch.where(torch.cat([differs, step], 1), places, x.shape[1])
    last = ends.flip(1).cummin(1).values.flip(1)
    shared = (first + last).double() / 2 + 1
    found = torch.empty_like(shared).scatter_(1, order, shared)
    return found.masked_fill(x.isnan().any(1, keepdim=True), torch.nan)


class Rows(NamedTuple):
    """Activations of n stimuli, made ready to be compared with others.

    Attributes
    ----------
    values : tensor (n, unit)
    linear, ranked : tensor (n, unit)
        Values and their ranks, centred and of length 1; NaN where a row is constant.
    """

    values: torch.Tensor
    linear: torch.Tensor
    ranked: torch.Tensor


def rows(x, dtype=torch.float64):
    """Activations made ready to be compared, once for all comparisons.

    Parameters
    ----------
    x : tensor (n, …)
        Each is flattened.
    dtype : torch.dtype
        In which they are kept.

    Returns
    -------
    Rows
    """
    x = x.flatten(1)
    return Rows(*(values.to(dtype) for values in (x, _scaled(x), _scaled(ranks(x)))))


def between(signal, other, *, published=None):
    """Measures of how alike activations are, pair by pair.

    Spearman's and Pearson's correlation over units; signal-to-noise ratio 20 · log10(‖signal‖ / ‖signal − other‖)
    in decibels; and the two norms it is made of.

    Parameters
    ----------
    signal, other : tensor (n, …) or Rows
        Activations of n pairs of stimuli, each flattened.
    published : {None, "feather2023"}
        "feather2023" gives half the decibels, 10 · log10 of the ratio of norms, as the study did.

    Returns
    -------
    dict of str to float64 tensor (n,)
        spearman, pearson: NaN where either is constant. snr_db: inf where both are equal, NaN where both are 0.
        norm_signal, norm_noise. All NaN where an activation is not finite.

    Raises
    ------
    ValueError
        If shapes differ, or `published` is unknown.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2023), Nature Neuroscience 26, 2017-2034, Methods (criteria for
    metamers), doi:10.1038/s41593-023-01442-0.
    """
    factor = decibels(published)
    a, b = (x if isinstance(x, Rows) else rows(x) for x in (signal, other))
    if a.values.shape != b.values.shape:
        raise ValueError(
            f"activations of pairs have shapes {tuple(a.values.shape)} and {tuple(b.values.shape)}"
        )
    norm, noise = (
        torch.linalg.vector_norm(v, dim=1, dtype=torch.float64) for v in (a.values, a.values - b.values)
    )
    found = {
        "spearman": (a.ranked * b.ranked).sum(1, dtype=torch.float64).clamp(-1, 1),
        "pearson": (a.linear * b.linear).sum(1, dtype=torch.float64).clamp(-1, 1),
        "snr_db": factor * (norm / noise).log10(),
        "norm_signal": norm,
        "norm_noise": noise,
    }
    # Norms are not finite exactly where a value is not.
    odd = ~(norm.isfinite() & torch.linalg.vector_norm(b.values, dim=1, dtype=torch.float64).isfinite())
    return {name: values.masked_fill(odd, torch.nan) for name, values in found.items()}


def decibels(published=None):
    """Decibels per decade of a ratio of amplitudes: 20, or 10 as "feather2023" has it.

    Parameters
    ----------
    published : {None, "feather2023"}

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If `published` is unknown.
    """
    if published is None:
        return 20
    plugins.require(published, RULES, "published rule")
    return 10


def _scaled(x):
    """Rows centred and of length 1; NaN where a row is constant, whatever rounding leaves of it."""
    x = x.double()
    constant = x.amax(1, keepdim=True) == x.amin(1, keepdim=True)
    centred = x - x.mean(1, keepdim=True)
    return (centred / centred.norm(dim=1, keepdim=True)).masked_fill(constant, torch.nan)
