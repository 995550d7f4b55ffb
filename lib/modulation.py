"""Spectro-temporal modulation filters of a cochleagram, and the power they pass."""

import numpy as np
import torch
from torch import nn

RATES_HZ = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
SCALES = (0.0, 0.0625, 0.125, 0.25, 0.5, 1.0, 2.0)


def temporal_response(rate_hz, n_frames, *, frame_rate_hz=200.0, padding=2, highest=False):
    """Transfer function of a temporal modulation filter.

    The impulse response is sin(2πu) u² exp(−3.5u) with u = rate · t, sampled over the cochleagram, its mean
    removed; its spectrum is divided by the largest magnitude.

    Parameters
    ----------
    rate_hz : float
        At rate 0 the response is 1 at 0 Hz and 0 elsewhere.
    n_frames : int
    frame_rate_hz : float
    padding : int
        Zeros appended, as a multiple of `n_frames`.
    highest : bool
        Make the filter high-pass: magnitude 1 above its peak, phase kept.

    Returns
    -------
    complex array ((1 + padding) · n_frames,)
        In the order of `numpy.fft.fftfreq`; magnitude 0 to 1.

    References
    ----------
    Chi, Ru & Shamma (2005), J. Acoust. Soc. Am. 118, 887-906; Norman-Haignere & McDermott (2018), PLOS
    Biology 16, e2005127.
    """
    n = (1 + padding) * n_frames
    if rate_hz == 0:
        return np.eye(1, n, dtype=complex)[0]
    u = rate_hz * np.arange(n_frames) / frame_rate_hz
    impulse = np.sin(2 * np.pi * u) * u**2 * np.exp(-3.5 * u)
    spectrum = np.fft.fft(impulse - impulse.mean(), n)
    magnitude, phase = np.abs(spectrum), np.angle(spectrum)
    magnitude /= magnitude.max()
    if highest:
        half = n // 2 + 1
        magnitude[magnitude[:half].argmax() : half + magnitude[half:].argmax()] = 1
    return magnitude * np.exp(1j * phase)


def spectral_response(scale, n_channels, *, channels_per_erb=6.0, padding=1, highest=False):
    """Transfer function of a spectral modulation filter.

    R exp(−R) with R = (Ω / scale)², divided by its maximum.

    Parameters
    ----------
    scale : float
        Cycles per ERB. At scale 0 the response is 1 at 0 and 0 elsewhere.
    n_channels : int
    channels_per_erb : float
        The published 6 is a round number; the published cochleagram has 6.11.
    padding : int
        Zeros appended, as a multiple of `n_channels`.
    highest : bool
        Make the filter high-pass: 1 above its peak.

    Returns
    -------
    array ((1 + padding) · n_channels,)
        In the order of `numpy.fft.fftfreq`; 0 to 1, even.

    References
    ----------
    Chi, Ru & Shamma (2005), J. Acoust. Soc. Am. 118, 887-906.
    """
    n = (1 + padding) * n_channels
    if scale == 0:
        return np.eye(1, n)[0]
    R = (np.abs(np.fft.fftfreq(n, 1 / channels_per_erb)) / scale) ** 2
    response = R * np.exp(-R)
    response /= response.max()
    if highest:
        response[R[response[: n // 2 + 1].argmax()] <= R] = 1
    return response


def direction_mask(sign, n_channels, n_frames):
    """Half plane of modulations that move one way: 1 where they are kept.

    Parameters
    ----------
    sign : {-1, 1}
        −1 keeps spectral and temporal frequencies of opposite sign, that is modulations that rise in
        frequency as time passes; 1 those of equal sign, which fall. Lines at 0 and at Nyquist belong to
        both.
    n_channels, n_frames : int
        Size of the padded cochleagram.

    Returns
    -------
    array (n_channels, n_frames // 2 + 1)
        0 or 1; temporal frequencies from 0 to Nyquist, spectral ones in the order of `numpy.fft.fftfreq`.
    """
    spectral = np.sign(np.fft.fftfreq(n_channels))
    temporal = np.ones(n_frames // 2 + 1)
    temporal[0] = 0
    if n_channels % 2 == 0:
        spectral[n_channels // 2] = 0
    if n_frames % 2 == 0:
        temporal[-1] = 0
    return (np.outer(spectral, temporal) != -sign).astype(float)


class ModulationFilters(nn.Module):
    """Filters tuned to modulations of a cochleagram in time and frequency; output: the power each passes.

    A filter is a spectral times a temporal response, limited to one direction of movement. Filters are
    ordered by direction (−1, then 1), scale, rate; a filter without direction (rate or scale 0) appears
    once, under −1. The defaults give 111 filters. There are no learned parameters. Filters are built in
    float64; the calculation has the precision of its input.

    Parameters
    ----------
    n_channels, n_frames : int
        Size of the cochleagrams.
    rates_hz : sequence of float
        Temporal rates, ascending; the last filter is high-pass.
    scales : sequence of float
        Spectral scales in cycles per ERB, ascending; the last filter is high-pass.
    sampling : (float, float)
        Frames per second, and channels per ERB. The published 6 is a round number; the published
        cochleagram has 6.11.

    Raises
    ------
    ValueError
        If rates or scales are missing, do not ascend, or are not from 0 to half of what is sampled.

    Notes
    -----
    The published filters act by the real part of a full two-dimensional inverse transform. Here the same
    numbers come from half as many frequencies and one inverse transform over channels per scale and
    direction, which all rates share: the filters are conjugate-symmetric up to the real part taken at the
    lines at 0 and Nyquist, which the inverse transform to real numbers takes as well.

    References
    ----------
    Norman-Haignere & McDermott (2018), PLOS Biology 16, e2005127; Feather et al. (2023), Nature
    Neuroscience 26, 2017-2034 (the SpectroTemporal model).
    """

    FRAME_PADDING, CHANNEL_PADDING, GAIN, FLOOR = 2, 1, 100.0, 1e-8

    def __init__(
        self, n_channels=211, n_frames=390, *, rates_hz=RATES_HZ, scales=SCALES, sampling=(200.0, 6.0)
    ):
        super().__init__()
        for what, values, per in (("rates_hz", rates_hz, sampling[0]), ("scales", scales, sampling[1])):
            _require_ascending(what, values, per / 2)
        self.n_channels, self.n_frames, self.sampling = n_channels, n_frames, tuple(sampling)
        self.rates_hz, self.scales = tuple(rates_hz), tuple(scales)
        self._padded = (1 + self.CHANNEL_PADDING) * n_channels, (1 + self.FRAME_PADDING) * n_frames
        # As pairs of real numbers: `module.to(dtype)` would drop the imaginary parts of a complex buffer.
        temporal = torch.view_as_real(torch.from_numpy(self._half_plane_rates()))
        self.register_buffer("_temporal", temporal, persistent=False)
        self.register_buffer("_spectral", torch.from_numpy(self._scale_responses()), persistent=False)
        masks = np.stack([direction_mask(sign, *self._padded) for sign in (-1, 1)])
        self.register_buffer("_masks", torch.from_numpy(masks), persistent=False)

    def _half_plane_rates(self):
        """Temporal responses from 0 to Nyquist, one row each."""
        rule = {"frame_rate_hz": self.sampling[0], "padding": self.FRAME_PADDING}
        top = self.rates_hz[-1]
        full = [temporal_response(r, self.n_frames, **rule, highest=r == top) for r in self.rates_hz]
        return np.stack(full)[:, : self._padded[1] // 2 + 1]

    def _scale_responses(self):
        """Spectral responses, one row each."""
        rule = {"channels_per_erb": self.sampling[1], "padding": self.CHANNEL_PADDING}
        top = self.scales[-1]
        return np.stack(
            [spectral_response(s, self.n_channels, **rule, highest=s == top) for s in self.scales]
        )

    @property
    def labels(self):
        """Rate in Hz (its sign is the direction) and scale in cycles per ERB of each filter, in order."""
        return [(sign * rate + 0.0, scale) for sign, scale, rates in self._groups() for rate in rates]

    def _groups(self):
        """Direction, scale and rates of filters that share one inverse transform over channels."""
        for sign in (-1, 1):
            for scale in self.scales:
                rates = self.rates_hz if sign < 0 else [rate for rate in self.rates_hz if rate and scale]
                if rates:
                    yield sign, scale, rates

    def forward(self, cochleagram):
        """Power of each filter's output, averaged over time.

        Parameters
        ----------
        cochleagram : tensor (..., n_channels, n_frames)

        Returns
        -------
        tensor (..., n_filters, n_channels)
            Squared output, at least 1e-8 before averaging.

        Raises
        ------
        ValueError
            If the cochleagrams do not have `n_channels` and `n_frames`.
        """
        return self._each(cochleagram, lambda filtered: self._power(filtered).mean(-1))

    def power(self, cochleagram):
        """Power of each filter's output: tensor (..., n_filters, n_channels, n_frames), at least 1e-8."""
        return self._each(cochleagram, self._power)

    def filtered(self, cochleagram):
        """Output of each filter: tensor (..., n_filters, n_channels, n_frames), of 100 × the cochleagram."""
        return self._each(cochleagram, lambda filtered: filtered)

    def _power(self, filtered):
        return filtered.square().clamp(min=self.FLOOR)

    def _each(self, cochleagram, reduce):
        """Apply `reduce` to the filter outputs of each cochleagram, one scale and direction at a time."""
        size = self.n_channels, self.n_frames
        if tuple(cochleagram.shape[-2:]) != size:
            raise ValueError(
                f"cochleagrams are {tuple(cochleagram.shape[-2:])} but these filters were built for {size}"
            )
        out = torch.stack(
            [torch.cat([reduce(part) for part in self._parts(c)]) for c in cochleagram.reshape(-1, *size)]
        )
        return out.reshape(*cochleagram.shape[:-2], *out.shape[1:])

    def _parts(self, cochleagram):
        """Outputs (n_rates, n_channels, n_frames) of the filters of one direction and scale after another."""
        spectrum = torch.fft.rfft2(self.GAIN * cochleagram, s=self._padded)
        temporal = torch.view_as_complex(self._temporal.to(cochleagram.dtype))
        spectral = self._spectral.to(cochleagram.dtype)
        masks = self._masks.to(cochleagram.dtype)
        for sign, scale, rates in self._groups():
            selected = spectral[self.scales.index(scale), :, None] * masks[(sign + 1) // 2]
            rows = torch.fft.ifft(selected * spectrum, dim=0)[: self.n_channels]
            chosen = temporal[[self.rates_hz.index(rate) for rate in rates], None]
            yield torch.fft.irfft(chosen * rows, n=self._padded[1])[..., : self.n_frames]

    def extra_repr(self):
        return (
            f"n_channels={self.n_channels}, n_frames={self.n_frames}, sampling={self.sampling}, "
            f"rates_hz={self.rates_hz}, scales={self.scales}"
        )


def _require_ascending(what, values, highest):
    """Raise ValueError unless the values ascend from 0 or above up to the highest allowed."""
    if not len(values) or list(values) != sorted(set(values)) or values[0] < 0 or values[-1] > highest:
        raise ValueError(f"{what} must ascend, from 0 or above to at most {highest:g}; not {tuple(values)}")
