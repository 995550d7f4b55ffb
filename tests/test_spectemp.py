"""Modulation filters and the SpectroTemporal model: full formula, facts, ripples, the original's output."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from lib import models, stimuli
from lib.models import spectemp
from lib.modulation import (
    RATES_HZ,
    SCALES,
    ModulationFilters,
    direction_mask,
    spectral_response,
    temporal_response,
)

ORACLE = "cochleagram_oracle.npz"
SOUNDS = "raw.githubusercontent.com/snormanhaignere/natsound165-neuron2015/*/stimuli/wav"


@pytest.fixture(scope="module")
def published():
    return ModulationFilters()


@pytest.fixture(scope="module")
def model():
    return models.load("spectemp")


@pytest.fixture(scope="module")
def oracle():
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder or not (Path(folder) / ORACLE).is_file():
        pytest.skip(f"COMPENDIUM_REFERENCE is unset or holds no {ORACLE}")
    with np.load(Path(folder) / ORACLE) as stored:
        return {key: stored[key] for key in stored}


def noise(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def full_filter(rate_hz, scale, *, n_channels=211, n_frames=390, top=(RATES_HZ[-1], SCALES[-1])):
    """Transfer function of one filter over the whole plane, with two of its quadrants emptied."""
    temporal = temporal_response(abs(rate_hz), n_frames, highest=abs(rate_hz) == top[0])
    spectral = spectral_response(scale, n_channels, highest=scale == top[1])
    plane = np.outer(spectral, temporal)
    rows, columns = plane.shape
    positive = [range(1, (n - 1) // 2 + 1) for n in (rows, columns)]
    negative = [range(n // 2 + 1, n) for n in (rows, columns)]
    if rate_hz < 0:
        emptied = [(positive[0], positive[1]), (negative[0], negative[1])]
    else:
        emptied = [(positive[0], negative[1]), (negative[0], positive[1])]
    for i, j in emptied:
        plane[np.ix_(i, j)] = 0
    return plane


def full_formula(cochleagram, rate_hz, scale, **size):
    """Real part of the inverse transform of the whole complex product, cut to size."""
    plane = full_filter(rate_hz, scale, **size)
    rows, columns = cochleagram.shape
    return np.fft.ifft2(plane * np.fft.fft2(100 * cochleagram, s=plane.shape)).real[:rows, :columns]


def test_filters_have_the_published_sums(published):
    # Facts of the published filter bank (Feather et al. 2023), printed to twelve digits.
    facts = {
        (0, 0): 1.0,
        (-0.5, 0): 6.21669392172,
        (0, 0.0625): 7.89279706846,
        (-2, 0.0625): 58.2718598486,
        (-4, 0.5): 901.178416185,
        (-64, 2): 80206.1150039,
        (0.5, 0.0625): 24.5335523974,
        (8, 0.125): 449.592661304,
        (64, 2): 80206.1150039,
    }
    magnitudes = {label: np.abs(full_filter(*label)) for label in published.labels}
    for label, power in facts.items():
        np.testing.assert_allclose((magnitudes[label] ** 2).sum(), power, rtol=1e-11)
    np.testing.assert_allclose(sum(m.sum() for m in magnitudes.values()), 908524.387228, rtol=1e-11)
    np.testing.assert_allclose(sum((m**2).sum() for m in magnitudes.values()), 542432.355184, rtol=1e-11)


def test_filters_are_in_the_published_order(published):
    labels = published.labels
    assert len(labels) == len(set(labels)) == 111
    assert labels[:9] == [(0, 0), *((-rate, 0) for rate in RATES_HZ[1:])]
    assert labels[9:12] == [(0, 0.0625), (-0.5, 0.0625), (-1, 0.0625)]
    assert labels[63:65] == [(0.5, 0.0625), (1, 0.0625)]
    assert labels[-3:] == [(16, 2), (32, 2), (64, 2)]


def test_half_plane_equals_the_full_formula(published):
    cochleagram = np.random.default_rng(0).random((211, 390))
    filtered = published.filtered(torch.from_numpy(cochleagram)).numpy()
    # Each direction and scale, at rates that differ from one to the next, and the high-pass filters.
    for i in sorted({*range(0, 111, 7), 8, 62, *range(103, 111)}):
        expected = full_formula(cochleagram, *published.labels[i])
        np.testing.assert_allclose(filtered[i], expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize(("n_channels", "n_frames"), [(8, 30), (7, 31), (5, 16)])
def test_half_plane_equals_the_full_formula_at_even_and_odd_sizes(n_channels, n_frames):
    rates_hz, scales = (0, 16, 40, 100), (0, 0.5, 3)
    built = ModulationFilters(n_channels, n_frames, rates_hz=rates_hz, scales=scales)
    cochleagram = noise(n_channels, n_frames)
    filtered = built.filtered(cochleagram).numpy()
    for ours, label in zip(filtered, built.labels, strict=True):
        expected = full_formula(
            cochleagram.numpy(), *label, n_channels=n_channels, n_frames=n_frames, top=(100, 3)
        )
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12 * np.abs(filtered).max())


@pytest.mark.parametrize("rate_hz", [-32, -8, -2, 4, 16])
@pytest.mark.parametrize("scale", [0.125, 0.5, 1])
def test_drifting_ripple_drives_its_own_filter_most(published, rate_hz, scale):
    seconds, erb = torch.arange(390) / 200, torch.arange(211)[:, None] / 6
    # Its crests fall in frequency for a positive rate.
    ripple = torch.cos(2 * np.pi * (rate_hz * seconds + scale * erb)).double()
    power = published(ripple).mean(-1)
    assert published.labels[power.argmax()] == (rate_hz, scale)
    opposite = power[published.labels.index((-rate_hz, scale))]
    assert opposite < 0.2 * power.max()


def test_directions_share_only_the_lines_without_direction():
    for rows, columns in [(8, 10), (7, 9)]:
        down, up = direction_mask(1, rows, columns), direction_mask(-1, rows, columns)
        line = np.zeros_like(down)
        line[0] = line[:, 0] = 1
        if rows % 2 == 0:
            line[rows // 2] = line[:, -1] = 1
        np.testing.assert_array_equal(down * up, line)
        np.testing.assert_array_equal(down + up, 1 + line)


def test_last_filters_are_high_pass():
    temporal = np.abs(temporal_response(64, 390, highest=True))
    peak = np.abs(temporal_response(64, 390))[:586].argmax()
    np.testing.assert_allclose(temporal[peak : 1170 - peak + 1], 1, rtol=1e-12)
    assert (temporal[:peak] < 1).all()
    spectral = spectral_response(2, 211, highest=True)
    peak = spectral_response(2, 211)[:212].argmax()
    np.testing.assert_array_equal(spectral[peak : 422 - peak + 1], 1)
    assert (spectral[:peak] < 1).all()


def test_power_is_the_floored_square_and_the_output_its_mean_over_time(published):
    cochleagram = noise(2, 211, 390).float()
    filtered, power, mean = (f(cochleagram) for f in (published.filtered, published.power, published))
    assert filtered.shape == power.shape == (2, 111, 211, 390)
    assert torch.equal(power, filtered.square().clamp(min=1e-8))
    assert torch.equal(mean, power.mean(-1))


def test_nothing_in_gives_the_floor(published):
    torch.testing.assert_close(
        published(torch.zeros(211, 390)), torch.full((111, 211), 1e-8), rtol=1e-6, atol=0
    )


def test_batch_of_one_equals_batch_of_many(published):
    cochleagrams = noise(3, 211, 390).float()
    together = published(cochleagrams)
    assert all(torch.equal(together[i], published(cochleagrams[i])) for i in range(3))


def test_gradient_equals_finite_differences():
    built = ModulationFilters(6, 10, rates_hz=(0, 20, 60), scales=(0, 1, 2))
    torch.autograd.gradcheck(built, noise(1, 6, 10).requires_grad_(), eps=1e-6, atol=1e-4, rtol=1e-6)


def test_conversion_of_the_module_keeps_complex_filters(published):
    cochleagram = noise(211, 390)
    converted = ModulationFilters().to(torch.float32)(cochleagram)
    # Filters rounded to float32.
    torch.testing.assert_close(converted, published(cochleagram), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rates_hz": (4, 2)}, "rates_hz must ascend"),
        ({"rates_hz": (0, 101)}, "at most 100"),
        ({"scales": (-1, 2)}, "scales must ascend"),
        ({"scales": ()}, "scales must ascend"),
    ],
)
def test_filters_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ModulationFilters(8, 16, **settings)


def test_cochleagram_of_another_size_is_refused(published):
    with pytest.raises(ValueError, match=r"\(211, 400\).*\(211, 390\)"):
        published(torch.zeros(211, 400))


@pytest.mark.parametrize(("rate_hz", "duration_s"), [(44_100, 2), (20_000, 2), (48_000, 3.1), (16_000, 2.5)])
def test_preprocessing_gives_two_seconds_at_a_fixed_level(rate_hz, duration_s):
    waveform = 0.3 + noise(int(rate_hz * duration_s)).numpy()
    before = waveform.copy()
    sound = spectemp.preprocess((waveform, rate_hz))
    np.testing.assert_array_equal(waveform, before)
    assert sound.shape == (40_000,)
    assert sound.dtype == torch.float32
    # Rounding to float32 moves 40,000 values by up to 1e-8 each.
    assert abs(sound.double().mean()) < 1e-8
    assert abs(sound.double().square().mean().sqrt() - 0.1) < 1e-8
    torch.testing.assert_close(spectemp.preprocess((7 * waveform, rate_hz)), sound, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.full(40_000, 0.5), "silent"),
        (np.ones((40_000, 2)), "mono"),
        (np.r_[np.nan, np.ones(39_999)], "1 samples of the waveform are not finite"),
        (np.sin(np.arange(30_000)), r"lasts 1\.5 s; this model needs 2 s at least"),
        (np.r_[np.zeros(40_000), 1.0], "silent: its first 40000 samples"),
    ],
)
def test_sounds_without_level_or_of_wrong_shape_are_refused(waveform, message):
    with pytest.raises(ValueError, match=message):
        spectemp.preprocess((waveform, 20_000))


def test_model_gives_one_layer_with_time_averaged_out(model):
    seen = {}
    for layer in model.layers:
        model.module.get_submodule(layer).register_forward_hook(
            lambda _module, _inputs, output, layer=layer: seen.update({layer: output})
        )
    sounds = torch.stack([model.preprocess((noise(40_000, seed=s).numpy(), 20_000)) for s in range(2)])
    model.module(sounds)
    assert list(seen) == ["avgpool"]
    assert seen["avgpool"].shape == (2, 111, 211)
    assert model.time_axis is None
    assert not list(model.module.parameters())


def test_model_has_no_control():
    with pytest.raises(ValueError, match="no learned weights"):
        models.load("spectemp.permuted")


def test_gradient_reaches_the_waveform(model):
    sound = spectemp.preprocess((noise(40_000).numpy(), 20_000))[None].requires_grad_()
    (gradient,) = torch.autograd.grad(model.module(sound).log().sum(), sound)
    assert torch.isfinite(gradient).all()
    assert (gradient != 0).double().mean() > 0.99


@pytest.mark.reference
@pytest.mark.parametrize("sound", ["stim5_alarm_clock", "stim34_blues_band", "stim506_hindi"])
def test_features_equal_the_original_on_real_sounds(model, oracle, sound):
    ours = model.module(torch.from_numpy(oracle[f"{sound}/waveform"])[None]).flatten().numpy()
    original = oracle[f"{sound}/spectemp_power"]
    np.testing.assert_allclose(ours, original, rtol=0, atol=1e-5 * original.max())
    # Features span ten decades and a regression weighs the small ones as much. In a few of about 1e-8, single
    # precision relative to the large mean of the cochleagram leaves errors of up to 1e-2.
    relative = np.abs(ours / original - 1)
    assert np.median(relative) < 5e-6
    assert np.quantile(relative, 0.99) < 2e-4
    assert relative.max() < 5e-2


@pytest.mark.reference
@pytest.mark.mirror
def test_preprocessing_equals_the_original_on_a_real_sound(oracle):
    folder = os.environ.get("DATA_MIRROR")
    files = sorted(Path(folder).glob(f"{SOUNDS}/stim34_blues_band.wav")) if folder else []
    if not files:
        pytest.skip("DATA_MIRROR is unset or holds no natural sounds")
    sound = spectemp.preprocess(stimuli.read(files[0]))
    # One step of float32 at the largest value, about 0.5.
    np.testing.assert_allclose(sound.numpy(), oracle["stim34_blues_band/waveform"], rtol=0, atol=6e-8)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_gives_the_same_features(model):
    sounds = torch.stack([model.preprocess((noise(40_000, seed=s).numpy(), 20_000)) for s in range(2)])
    on_gpu = spectemp.build().to("cuda")(sounds.cuda()).cpu()
    # Single precision, two libraries of Fourier transforms.
    torch.testing.assert_close(on_gpu, model.module(sounds), rtol=1e-3, atol=1e-5)
