"""The cochleagram: filter facts, an independent calculation, laws, gradients, the original's output."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import signal

from lib import cochleagram as module
from lib.cochleagram import Cochleagram, EnvelopeSampler, HalfCosineBank, PowerLaw, erb_frequency, erb_number

RATE_HZ = 20_000
ORACLE = "cochleagram_oracle.npz"


@pytest.fixture(scope="module")
def published():
    return Cochleagram()


@pytest.fixture(scope="module")
def responses():
    return HalfCosineBank().responses(40_000, RATE_HZ)


def small(**changes):
    """A cochleagram of 400 samples at 2 kHz with eleven channels, quick enough for finite differences."""
    settings = {
        "bank": HalfCosineBank(n_filters=3, low_hz=50, high_hz=900, sample_factor=2),
        "envelope": EnvelopeSampler(factor=20, kernel_size=41),
    }
    return Cochleagram(400, 2000, **settings | changes)


def noise(*shape, seed=0):
    return torch.from_numpy(0.1 * np.random.default_rng(seed).standard_normal(shape))


@pytest.fixture(scope="module")
def oracle():
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder or not (Path(folder) / ORACLE).is_file():
        pytest.skip(f"COMPENDIUM_REFERENCE is unset or holds no {ORACLE}")
    with np.load(Path(folder) / ORACLE) as stored:
        return {key: stored[key] for key in stored}


def test_filters_have_the_published_centres_peaks_and_widths(responses):
    # Facts of the published cochleagram (Feather et al. 2023): row, centre in Hz, peak, bins that are not 0.
    facts = [
        (0, 35.6125746208, 0.5, 110),
        (4, 54.9676908694, 0.499998397884, 80),
        (50, 410.600154318, 0.499996966403, 181),
        (87, 1000.1612794, 0.499997870567, 348),
        (105, 1460.02025484, 0.499999982216, 478),
        (206, 9820.96060356, 0.4999999981, 1729),
        (210, 10556.4842426, 0.191341716183, 359),
    ]
    assert responses.shape == (211, 20_001)
    centres = HalfCosineBank().centres()
    for row, centre, peak, n_bins in facts:
        # Half a unit in the last printed digit, twelve of them.
        np.testing.assert_allclose(centres[row], centre, rtol=1e-11)
        np.testing.assert_allclose(responses[row].max(), peak, rtol=1e-11)
        assert np.count_nonzero(responses[row]) == n_bins
    np.testing.assert_allclose(centres[[3, 207]], [50, 10_000], rtol=1e-12)
    np.testing.assert_allclose(HalfCosineBank().step, 0.163604873134, rtol=1e-11)


@pytest.mark.parametrize(
    ("bank", "n_samples", "rate_hz"),
    [
        (HalfCosineBank(), 40_000, 20_000),
        (HalfCosineBank(), 140_001, 44_100),
        (HalfCosineBank(n_filters=30, low_hz=0, high_hz=8000, sample_factor=1), 48_000, 16_000),
        (HalfCosineBank(n_filters=1, low_hz=200, high_hz=700, sample_factor=3), 999, 2000),
    ],
)
def test_squares_of_responses_sum_to_one(bank, n_samples, rate_hz):
    total = (bank.responses(n_samples, rate_hz) ** 2).sum(0)
    np.testing.assert_allclose(total, 1, rtol=1e-12)


def test_erb_scale_is_inverted():
    frequency_hz = np.array([0.0, 50, 1000, 10_000])
    np.testing.assert_allclose(erb_frequency(erb_number(frequency_hz)), frequency_hz, rtol=1e-13, atol=1e-12)


def test_kernel_has_the_published_taps():
    kernel = EnvelopeSampler().kernel.numpy()
    assert kernel.argmax() == 500
    np.testing.assert_allclose(kernel.sum(), 1.00094465981, rtol=1e-11)
    np.testing.assert_allclose(
        kernel[499:502], [0.00999621000434, 0.00999958877156, 0.00999949943724], rtol=1e-11
    )
    np.testing.assert_allclose(kernel[[0, -1]], [-3.66727099051e-07, 3.67461287437e-07], rtol=1e-10)


def test_tone_is_seen_in_its_channel_only(published):
    t = torch.arange(40_000, dtype=torch.float64) / RATE_HZ
    tone = published(0.1 * np.sqrt(2) * torch.sin(2 * np.pi * 1000 * t)).numpy()
    assert tone[:, 195].argmax() == 87
    # Printed to twelve digits; 1 kHz is a whole number of bins, so other channels hold rounding error alone.
    np.testing.assert_allclose(tone[87, [0, 195]], 0.366994033751, rtol=1e-10)
    np.testing.assert_allclose(tone[[80, 95, 0], 195], 0.00490196858012, rtol=1e-10)
    np.testing.assert_allclose(tone.mean(), 0.0158971310662, rtol=1e-10)


def test_click_is_seen_at_its_time(published):
    click = torch.zeros(40_000, dtype=torch.float64)
    click[20_000] = 1
    picture = published(click).numpy()
    assert (picture[[50, 87, 150, 200]].argmax(1) == 195).all()
    np.testing.assert_allclose(
        picture[[87, 200, 50], 195], [0.171072488407, 0.209796987287, 0.140378308359], rtol=1e-10
    )
    np.testing.assert_allclose(picture.mean(), 0.0119163544571, rtol=1e-10)


def direct(waveform, rate_hz, *, bank, factor, size):
    """A cochleagram written frequency by frequency and frame by frame, with SciPy's Hilbert transform."""
    erb, s = lambda f: 9.265 * np.log(1 + f / (24.7 * 9.265)), bank.sample_factor
    frequency_hz = np.abs(np.fft.fftfreq(len(waveform), 1 / rate_hz))
    edges = np.linspace(erb(bank.low_hz), erb(bank.high_hz), s * (bank.n_filters + 1) + 1)
    d = edges[1] - edges[0]
    band = []
    for centre in edges[1:-1]:
        x = np.abs(erb(frequency_hz) - centre)
        band.append(np.where(x < s * d, np.cos(np.pi * x / (2 * s * d)), 0))
    low = [np.sqrt(1 - band[i] ** 2) * (erb(frequency_hz) < edges[1 + i]) for i in range(s)]
    high = [np.sqrt(1 - band[i] ** 2) * (erb(frequency_hz) > edges[1:-1][i]) for i in range(-s, 0)]
    taps = np.kaiser(size, 5) * np.sinc((np.arange(size) - size / 2) / factor) / factor
    rows = []
    for response in low + band + high:
        subband = np.fft.ifft(response / np.sqrt(s) * np.fft.fft(waveform)).real
        envelope = np.abs(signal.hilbert(subband)) / 2
        starts = range(0, len(waveform) - size + 1, factor)
        rows.append([np.dot(envelope[i : i + size], taps) for i in starts])
    return (np.maximum(rows, 0) + 1e-8) ** 0.3


@pytest.mark.parametrize("n_samples", [2000, 2001])
def test_cochleagram_equals_half_the_hilbert_envelope_sampled_and_compressed(n_samples):
    bank = HalfCosineBank(n_filters=6, low_hz=40, high_hz=1500, sample_factor=3)
    built = Cochleagram(n_samples, 4000, bank=bank, envelope=EnvelopeSampler(factor=40, kernel_size=101))
    waveform = np.random.default_rng(1).standard_normal(n_samples)
    # A Hilbert transform counts 0 Hz and Nyquist once and all else twice, so half of it differs there.
    spectrum = np.fft.rfft(waveform)
    spectrum[[0, -1]] = 0
    waveform = np.fft.irfft(spectrum, n_samples)
    expected = direct(waveform, 4000, bank=bank, factor=40, size=101)
    np.testing.assert_allclose(built(torch.from_numpy(waveform)).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("rate_hz", "duration_s", "high_hz"), [(16_000, 3, 8000), (44_100, 1, 10_000), (8000, 0.5, 3500)]
)
def test_amplitude_modulation_is_tracked_at_any_rate_and_length(rate_hz, duration_s, high_hz):
    n_samples = int(rate_hz * duration_s)
    sampler = EnvelopeSampler(factor=rate_hz // 100, kernel_size=rate_hz // 20 + 1)
    built = Cochleagram(n_samples, rate_hz, bank=HalfCosineBank(high_hz=high_hz), envelope=sampler)
    t = np.arange(n_samples) / rate_hz
    channel = np.abs(built.bank.centres() - 1000).argmin()
    modulation = 1 + 0.5 * np.cos(2 * np.pi * 4 * t)
    sound = torch.from_numpy(0.1 * modulation * np.sin(2 * np.pi * built.bank.centres()[channel] * t))
    picture = built(sound)
    assert picture.shape == built.shape == (211, sampler.n_frames(n_samples))
    assert (picture.argmax(0) == channel).all()
    envelope = (picture[channel].numpy() ** (1 / 0.3) - 1e-8)[5:-5]
    frame = sampler.factor * np.arange(sampler.n_frames(n_samples)) + sampler.kernel_size / 2
    expected = 1 + 0.5 * np.cos(2 * np.pi * 4 * frame / rate_hz)
    # Peak response 1/2, no doubling: 0.1 / 4. Sidebands 4 Hz off a centre lose under 1 %; the edges ring.
    np.testing.assert_allclose(envelope, 0.025 * expected[5:-5], rtol=0.02)


def test_twice_the_sound_is_two_to_the_power_higher(published):
    sound = noise(40_000)
    quiet, loud = published(sound), published(2 * sound)
    audible = quiet > 0.03
    assert audible.double().mean() > 0.9
    # The floor of 1e-8 is at most 1e-8 / 0.03^(1/0.3) = 1.2e-3 of an audible envelope, to the power 0.3.
    torch.testing.assert_close(loud[audible], 2**0.3 * quiet[audible], rtol=4e-4, atol=0)


def test_silence_rests_on_the_floor(published):
    picture = published(torch.zeros(40_000, dtype=torch.float64))
    # Magnitude 1e-8 by its own floor, times the kernel's sum, plus the floor of the power law.
    expected = (1e-8 * published.envelope.kernel.sum().item() + 1e-8) ** 0.3
    np.testing.assert_allclose(picture.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(PowerLaw()(torch.tensor([-1.0], dtype=torch.float64)).item(), 1e-8**0.3)


def test_batch_of_one_equals_batch_of_many():
    built, sounds = small(), noise(2, 3, 400)
    together = built(sounds)
    assert together.shape == (2, 3, *built.shape)
    for i in range(2):
        for j in range(3):
            assert torch.equal(together[i, j], built(sounds[i, j]))


def test_long_sounds_are_worked_in_blocks_with_the_same_result(monkeypatch):
    built, sound = small(), noise(400)
    whole = built(sound)
    monkeypatch.setattr(module, "BLOCK", 800)
    torch.testing.assert_close(built(sound), whole, rtol=1e-12, atol=0)


def test_single_precision_agrees_with_double(published):
    sound = noise(40_000).float()
    single, double = published(sound), published(sound.double())
    assert single.dtype == torch.float32
    assert double.dtype == torch.float64
    # The rounding of an envelope (1e-7 of the largest) is magnified by the slope where the envelope is small.
    largest = (double.max() ** (1 / 0.3)).item()
    slope = 0.3 * double ** ((0.3 - 1) / 0.3)
    assert ((single - double).abs() <= 1e-6 * double.max() + slope * 1e-7 * largest).all()


def test_true_gradient_equals_finite_differences():
    built = small(compression=PowerLaw(clip=None))
    torch.autograd.gradcheck(built, noise(1, 400).requires_grad_(), eps=1e-6, atol=1e-6, rtol=1e-5)


def test_published_gradient_equals_the_true_one_where_the_slope_is_small():
    sound = (10 * noise(400)).requires_grad_()
    gradients = []
    for clip in (5.0, None):
        picture = small(compression=PowerLaw(clip=clip))(sound)
        # 0.3 x^(-0.7) < 5 for x > 0.018, where the power law gives more than 0.3.
        gradients.append(torch.autograd.grad(picture[picture > 0.3].sum(), sound)[0])
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-14)


def test_published_gradient_is_clipped_and_passes_the_rectifier():
    x = torch.tensor([-3.0, 0.0, 1e-6, 0.0179, 0.0181, 1.0], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(PowerLaw()(x).sum(), x)
    expected = [5, 5, 5, 5, 0.3 * (0.0181 + 1e-8) ** -0.7, 0.3 * (1 + 1e-8) ** -0.7]
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-12)
    (true,) = torch.autograd.grad(PowerLaw(clip=None)(x).sum(), x)
    np.testing.assert_allclose(true[[0, 2]].numpy(), [0, 0.3 * (1e-6 + 1e-8) ** -0.7], rtol=1e-12)


def test_gradient_is_finite_in_silence():
    silence = torch.zeros(400, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(small()(silence).sum(), silence)
    assert torch.isfinite(gradient).all()


def test_there_is_nothing_to_learn_and_settings_are_printed(published):
    assert not list(published.parameters())
    assert not published.state_dict()
    assert str(published) != str(Cochleagram(bank=HalfCosineBank(high_hz=9000)))
    assert str(published) != str(Cochleagram(compression=PowerLaw(clip=None)))
    assert str(published) != str(Cochleagram(envelope=EnvelopeSampler(factor=50)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Cochleagram(32_000, 16_000), "high_hz <= 8000"),
        (lambda: Cochleagram(1000), "shorter than the envelope's filter of 1001"),
        (lambda: HalfCosineBank(low_hz=500, high_hz=400), "low < high"),
        (lambda: HalfCosineBank(n_filters=0), "at least 1"),
        (lambda: EnvelopeSampler(factor=220.5), "whole"),
        (lambda: HalfCosineBank().responses(200, RATE_HZ), "too few to resolve"),
        (lambda: small()(torch.zeros(401)), "401 samples; this cochleagram was built for 400"),
    ],
)
def test_settings_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.reference
@pytest.mark.parametrize("sound", ["stim5_alarm_clock", "stim34_blues_band", "stim506_hindi"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cochleagram_equals_the_original_on_real_sounds(published, oracle, sound, dtype):
    ours = published(torch.from_numpy(oracle[f"{sound}/waveform"]).to(dtype)).double().numpy()
    original = oracle[f"{sound}/cochleagram"].astype(float)
    error = np.abs(ours - original)
    # The original is single precision. Where a sampled envelope passes through zero, the power law's slope of
    # up to 1e5 shows its rounding: there one float32 step at the largest envelope, times slope, is allowed.
    rounding = np.finfo(np.float32).eps * original.max() ** (1 / 0.3)
    slope = 0.3 * np.minimum(ours, original) ** ((0.3 - 1) / 0.3)
    assert (error <= np.maximum(1e-5 * original.max(), slope * rounding)).all()
    assert (error > 1e-5 * original.max()).mean() < 3e-4
    envelopes = ours ** (1 / 0.3), original ** (1 / 0.3)
    assert np.abs(envelopes[0] - envelopes[1]).max() <= 1e-5 * envelopes[1].max()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_gives_the_same_cochleagram(published):
    sound = noise(2, 40_000)
    built = Cochleagram().to("cuda")
    torch.testing.assert_close(built(sound.cuda()).cpu(), published(sound), rtol=1e-9, atol=1e-9)
