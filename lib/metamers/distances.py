"""How alike a network's activations for two stimuli are: rank and linear correlation, signal-to-noise ratio."""

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


def correlation(a, b):
    """Pearson correlation of each row of one array with the same row of another.

    Parameters
    ----------
    a, b : tensor (n, unit)

    Returns
    -------
    float64 tensor (n,)
        NaN where a row is constant or not finite.
    """
    a, b = _scaled(a), _scaled(b)
    r = (a * b).sum(1).clamp(-1, 1)
    return torch.where(a.isnan().any(1) | b.isnan().any(1), torch.nan, r)


def between(signal, other, *, ranked=None, published=None):
    """Measures of how alike activations are, pair by pair.

    Spearman's and Pearson's correlation over units; signal-to-noise ratio 20 · log10(‖signal‖ / ‖signal − other‖)
    in decibels; and the two norms it is made of.

    Parameters
    ----------
    signal, other : tensor (n, …)
        Activations of n pairs of stimuli, each flattened.
    ranked : tuple of tensor (n, unit), optional
        `ranks` of both, where they are known.
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
    if signal.shape != other.shape:
        raise ValueError(f"activations of pairs have shapes {tuple(signal.shape)} and {tuple(other.shape)}")
    signal, other = signal.flatten(1).double(), other.flatten(1).double()
    norm, noise = signal.norm(dim=1), (signal - other).norm(dim=1)
    found = {
        "spearman": correlation(*(ranked or (ranks(signal), ranks(other)))),
        "pearson": correlation(signal, other),
        "snr_db": factor * (norm / noise).log10(),
        "norm_signal": norm,
        "norm_noise": noise,
    }
    odd = ~(signal.isfinite().all(1) & other.isfinite().all(1))
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
