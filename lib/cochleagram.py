"""Cochleagram of a sound of any length and rate: compressed envelopes of ERB-spaced sub-bands."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

# Complex values held at once for the sub-bands of one sound; bounds memory for long sounds.
BLOCK = 2**22


def erb_number(frequency_hz):
    """Position of a frequency on the ERB scale, E(f) = 9.265 ln(1 + f / (24.7 · 9.265)).

    Parameters
    ----------
    frequency_hz : float or array
        At least 0.

    Returns
    -------
    float or array
        Same shape, in equivalent rectangular bandwidths above 0 Hz.

    References
    ----------
    Glasberg & Moore (1990), Hearing Research 47, 103-138; natural logarithm, as in McDermott & Simoncelli
    (2011), Neuron 71, 926-940.
    """
    return 9.265 * np.log1p(np.asarray(frequency_hz) / (24.7 * 9.265))


def erb_frequency(erb):
    """Frequency in Hz of a position on the ERB scale; the inverse of `erb_number`."""
    return 24.7 * 9.265 * np.expm1(np.asarray(erb) / 9.265)


@dataclass(frozen=True)
class HalfCosineBank:
    """Overlapping half-cosine filters, equally spaced in ERB, whose squares sum to 1 at every frequency.

    Parameters
    ----------
    n_filters : int
        Band-pass filters of a bank that would overlap by half; at least 1.
    low_hz, high_hz : float
        Limits in Hz. Below and above them the end filters take everything, down to 0 and up to Nyquist.
    sample_factor : int
        How many times more densely the scale is sampled: there are `sample_factor · (n_filters + 1) − 1`
        band-pass filters, and `sample_factor` low-pass and high-pass filters at the ends.

    Raises
    ------
    ValueError
        If a count is below 1, or the limits are not 0 ≤ low < high.

    References
    ----------
    McDermott & Simoncelli (2011), Neuron 71, 926-940; the four-fold bank of 211 filters (the defaults) is
    that of Feather et al. (2023), Nature Neuroscience 26, 2017-2034.
    """

    n_filters: int = 50
    low_hz: float = 50.0
    high_hz: float = 10_000.0
    sample_factor: int = 4

    def __post_init__(self):
        if self.n_filters < 1 or self.sample_factor < 1:
            raise ValueError(
                f"n_filters and sample_factor are at least 1, not {self.n_filters}, {self.sample_factor}"
            )
        if not 0 <= self.low_hz < self.high_hz:
            raise ValueError(f"limits must be 0 <= low < high, not {self.low_hz} and {self.high_hz} Hz")

    @property
    def n_channels(self):
        """Number of filters: low-pass, band-pass and high-pass together."""
        return self.sample_factor * (self.n_filters + 3) - 1

    @property
    def step(self):
        """Distance between neighbouring centres, in ERB."""
        n_steps = self.sample_factor * (self.n_filters + 1)
        return float(erb_number(self.high_hz) - erb_number(self.low_hz)) / n_steps

    def centres(self):
        """Centre frequencies; those of the end filters continue the scale and may lie outside the limits.

        Returns
        -------
        array (n_channels,)
            Hz, ascending.
        """
        position = np.arange(self.n_channels) - (self.sample_factor - 1)
        return erb_frequency(erb_number(self.low_hz) + position * self.step)

    def responses(self, n_samples, rate_hz):
        """Amplitude of each filter at each frequency of a real Fourier transform.

        A band-pass filter is cos(π (E − c) / (2 s d)) within s·d of its centre c, where d is `step` and s
        `sample_factor`; end filters complete the squares to 1; everything is divided by √s.

        Parameters
        ----------
        n_samples : int
        rate_hz : float

        Returns
        -------
        array (n_channels, n_samples // 2 + 1)
            Dimensionless, 0 to 1 / √s.

        Raises
        ------
        ValueError
            If `high_hz` is above half the rate, or the signal is too short to resolve every filter.
        """
        channel, frequency_bin, amplitude = self.entries(n_samples, rate_hz)
        responses = np.zeros((self.n_channels, n_samples // 2 + 1))
        responses[channel, frequency_bin] = amplitude
        return responses

    def entries(self, n_samples, rate_hz):
        """Where `responses` are not 0: about one entry in 25.

        Parameters
        ----------
        n_samples, rate_hz
            As for `responses`.

        Returns
        -------
        channel, frequency_bin : int array (n_entries,)
            In ascending order of channel, then of bin.
        amplitude : array (n_entries,)
            Dimensionless, above 0 and at most 1 / √s.

        Raises
        ------
        ValueError
            As `responses` does.
        """
        if self.high_hz > rate_hz / 2:
            raise ValueError(
                f"high_hz={self.high_hz:g} is above half the sampling rate of {rate_hz:g} Hz; "
                f"give a bank with high_hz <= {rate_hz / 2:g}"
            )
        erb = erb_number(np.arange(n_samples // 2 + 1) * (rate_hz / n_samples))
        rows = []
        for channel in range(self.n_channels):
            response = self._response(channel, erb)
            bins = np.flatnonzero(response)
            self._require_resolved(channel, bins, n_samples)
            rows.append((np.full(len(bins), channel), bins, response[bins]))
        return tuple(np.concatenate(part) for part in zip(*rows, strict=True))

    def _response(self, channel, erb):
        """Amplitude of one filter at positions on the ERB scale."""
        s, from_top = self.sample_factor, self.n_channels - 1 - channel
        # An end filter completes the band-pass filter s channels further in.
        source = channel + s * ((channel < s) - (from_top < s))
        centre = erb_number(self.low_hz) + (source - s + 1) * self.step
        distance = (erb - centre) / (s * self.step)
        response = np.where(np.abs(distance) < 1, np.cos(np.pi / 2 * distance), 0.0)
        if source != channel:
            beyond = distance < 0 if channel < s else distance > 0
            response = np.where(beyond, np.sqrt(1 - response**2), 0.0)
        return response / np.sqrt(s)

    def _require_resolved(self, channel, bins, n_samples):
        """Raise if a filter falls between two bins: its channel would be silent whatever the sound."""
        if not len(bins):
            raise ValueError(
                f"{n_samples} samples are too few to resolve the filter at {self.centres()[channel]:.0f} Hz; "
                "give a longer sound or a bank with fewer filters"
            )


class EnvelopeSampler(nn.Module):
    """Low-pass filter and sample envelopes: a Kaiser-windowed sinc, where it lies inside the signal.

    Parameters
    ----------
    factor : int
        Samples per frame: sampling rate divided by envelope rate.
    kernel_size : int
        Taps of the filter.
    beta : float
        Shape of the Kaiser window.

    Raises
    ------
    ValueError
        If `factor` or `kernel_size` is not a whole number of at least 1.

    Notes
    -----
    For an odd number of taps the published sinc lies half a sample later than its window (taps at
    −size/2, −size/2 + 1, …); kept, so that published cochleagrams are met.
    """

    def __init__(self, factor=100, kernel_size=1001, *, beta=5.0):
        super().__init__()
        if factor < 1 or kernel_size < 1 or factor != int(factor) or kernel_size != int(kernel_size):
            raise ValueError(
                f"factor and kernel_size must be whole and at least 1, not {factor}, {kernel_size}"
            )
        self.factor, self.kernel_size, self.beta = int(factor), int(kernel_size), beta
        t = np.arange(self.kernel_size) - self.kernel_size / 2
        kernel = np.kaiser(self.kernel_size, beta) * np.sinc(t / self.factor) / self.factor
        self.register_buffer("kernel", torch.from_numpy(kernel), persistent=False)

    def n_frames(self, n_samples):
        """Number of frames of a signal of `n_samples` samples."""
        return max(0, (n_samples - self.kernel_size) // self.factor + 1)

    def forward(self, envelope):
        """Sampled envelopes.

        Parameters
        ----------
        envelope : tensor (n_channels, n_samples)

        Returns
        -------
        tensor (n_channels, n_frames)
            Same unit. Frame j is centred on sample `j · factor + kernel_size / 2`.
        """
        kernel = self.kernel.to(envelope.dtype)[None, None]
        return nn.functional.conv1d(envelope[:, None], kernel, stride=self.factor)[:, 0]

    def extra_repr(self):
        return f"factor={self.factor}, kernel_size={self.kernel_size}, beta={self.beta}"


class _ClippedPower(torch.autograd.Function):
    """(max(x, 0) + floor)^power whose slope is clipped, and is that of the floor where x is negative."""

    @staticmethod
    def forward(ctx, x, power, floor, clip):
        base = x.clamp(min=0) + floor
        ctx.save_for_backward(base)
        ctx.power, ctx.clip = power, clip
        return base**power

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (base,) = ctx.saved_tensors
        slope = (ctx.power * base ** (ctx.power - 1)).clamp(-ctx.clip, ctx.clip)
        return grad * slope, None, None, None


class PowerLaw(nn.Module):
    """Compression of loudness, y = (max(x, 0) + floor)^power.

    Parameters
    ----------
    power, floor : float
    clip : float or None
        The largest slope passed back through the power law. A number gives the published gradient: the
        rectifier passes gradients unchanged, also where x is negative, and the slope of the power law is
        clipped to ±`clip`. None gives the true derivative, up to 10⁵ near silence at the defaults.

    References
    ----------
    Feather et al. (2023), Nature Neuroscience 26, 2017-2034, Methods (cochlear stage).
    """

    def __init__(self, power=0.3, floor=1e-8, *, clip=5.0):
        super().__init__()
        self.power, self.floor, self.clip = power, floor, clip

    def forward(self, x):
        """Compressed values, same shape as `x`."""
        if self.clip is None:
            return (torch.relu(x) + self.floor) ** self.power
        return _ClippedPower.apply(x, self.power, self.floor, self.clip)

    def extra_repr(self):
        return f"power={self.power}, floor={self.floor}, clip={self.clip}"


class Cochleagram(nn.Module):
    """Cochleagram: a differentiable picture of sound, frequency by time, as the ear passes it on.

    The sound is filtered by `bank`; the magnitude of each analytic sub-band (half its Hilbert envelope, for
    positive frequencies are not doubled) is low-pass filtered and sampled by `envelope`, then compressed.
    There are no learned parameters. Filters are built in float64; the calculation has the precision of its
    input.

    Parameters
    ----------
    n_samples : int
        Length of the sounds.
    rate_hz : float
        Their sampling rate.
    bank : HalfCosineBank, optional
    envelope : EnvelopeSampler, optional
        Default: 100 samples per frame, that is 200 Hz at 20 kHz.
    compression : torch.nn.Module, optional
        Default `PowerLaw()`.

    Raises
    ------
    ValueError
        If the bank does not fit the rate, or the sound is shorter than the envelope's filter.

    References
    ----------
    McDermott & Simoncelli (2011), Neuron 71, 926-940; Feather et al. (2023), Nature Neuroscience 26,
    2017-2034.
    """

    def __init__(self, n_samples=40_000, rate_hz=20_000, *, bank=None, envelope=None, compression=None):
        super().__init__()
        self.n_samples, self.rate_hz = n_samples, rate_hz
        self.bank = bank or HalfCosineBank()
        self.envelope = envelope or EnvelopeSampler()
        self.compression = compression or PowerLaw()
        if n_samples < self.envelope.kernel_size:
            raise ValueError(
                f"{n_samples} samples are shorter than the envelope's filter of {self.envelope.kernel_size}; "
                "give a longer sound or a smaller kernel_size"
            )
        channel, frequency_bin, amplitude = self.bank.entries(n_samples, rate_hz)
        self._counts = np.bincount(channel, minlength=self.bank.n_channels)
        self.register_buffer("_bin", torch.from_numpy(frequency_bin), persistent=False)
        self.register_buffer("_weight", torch.from_numpy(amplitude), persistent=False)

    @property
    def shape(self):
        """Channels and frames of the output."""
        return self.bank.n_channels, self.envelope.n_frames(self.n_samples)

    def forward(self, waveform):
        """Cochleagram of each sound of a batch.

        Parameters
        ----------
        waveform : tensor (..., n_samples)
            Any unit; published sounds have a root mean square of 0.1.

        Returns
        -------
        tensor (..., n_channels, n_frames)
            Compressed envelopes, at least `floor ** power`; channels from low to high frequency.

        Raises
        ------
        ValueError
            If the sounds do not have `n_samples` samples.
        """
        if waveform.shape[-1] != self.n_samples:
            raise ValueError(
                f"sounds have {waveform.shape[-1]} samples; this cochleagram was built for {self.n_samples}"
            )
        sounds = waveform.reshape(-1, self.n_samples)
        envelopes = torch.stack([self._envelopes(sound) for sound in sounds])
        return self.compression(envelopes).reshape(*waveform.shape[:-1], *self.shape)

    def _envelopes(self, sound):
        """Sampled envelopes of one sound, a block of channels at a time."""
        spectrum = torch.fft.rfft(sound)
        per_block = max(1, BLOCK // self.n_samples)
        blocks, start = [], 0
        for first in range(0, len(self._counts), per_block):
            counts = self._counts[first : first + per_block]
            entries = slice(start, start := start + int(counts.sum()))
            blocks.append(self.envelope(self._magnitude(spectrum, counts, entries)))
        return torch.cat(blocks)

    def _magnitude(self, spectrum, counts, entries):
        """Magnitude of the analytic sub-bands whose filter entries are given."""
        row = torch.repeat_interleave(torch.as_tensor(counts, device=spectrum.device))
        column = self._bin[entries]
        filtered = self._weight[entries].to(spectrum.real.dtype) * spectrum[column]
        bands = spectrum.new_zeros(len(counts), self.n_samples).index_put((row, column), filtered)
        analytic = torch.fft.ifft(bands)
        # The floor keeps the gradient of the root finite in silence.
        return (analytic.real**2 + analytic.imag**2).clamp(min=1e-16).sqrt()

    def extra_repr(self):
        return f"n_samples={self.n_samples}, rate_hz={self.rate_hz}, {self.bank}"
