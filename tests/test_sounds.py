"""Sounds reach models at their rate and level; what cannot be heard is refused in words."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from lib import sounds, stimuli

FIRST = {"rate_hz": 20_000, "duration_s": 2.0, "rms": 0.1, "limit": None}
ALL = {"rate_hz": 16_000, "shortest_s": 0.025}


def noise(seed=0, *, rate_hz=44_100, duration_s=2.0):
    return np.random.default_rng(seed).standard_normal(round(rate_hz * duration_s)), rate_hz


def test_the_first_seconds_are_centred_and_levelled():
    waveform, rate_hz = noise(duration_s=3.0)
    given = sounds.levelled((waveform + 5, rate_hz), FIRST)
    assert given.dtype == torch.float32
    assert given.shape == (40_000,)
    # float32 keeps 24 bits of each sample
    assert abs(given.mean().item()) < 1e-6
    assert given.square().mean().sqrt().item() == pytest.approx(0.1, rel=1e-6)
    # What follows the two seconds reaches into them only by the last samples of the resampling filter.
    alone = sounds.levelled((waveform[: 2 * rate_hz], rate_hz), FIRST)
    assert functional.cosine_similarity(given, alone, dim=0) > 0.9999


def test_what_exceeds_the_limit_is_clipped_after_levelling():
    waveform, rate_hz = noise(rate_hz=20_000)
    waveform[[100, 200]] = 50, -50
    whole = sounds.levelled((waveform, rate_hz), FIRST)
    clipped = sounds.levelled((waveform, rate_hz), FIRST | {"limit": 1.0})
    assert whole[100] > 3
    assert torch.equal(clipped, whole.clamp(-1, 1))
    assert clipped[[100, 200]].tolist() == [1, -1]


def test_the_level_of_the_first_seconds_does_not_depend_on_the_unit():
    waveform, rate_hz = noise()
    quiet, loud = (sounds.levelled((factor * waveform, rate_hz), FIRST) for factor in (1e-3, 30_000))
    torch.testing.assert_close(quiet, loud, rtol=1e-6, atol=1e-7)


def test_a_whole_sound_is_resampled_and_nothing_else():
    waveform, rate_hz = noise(duration_s=0.5)
    given = sounds.whole((waveform, rate_hz), ALL)
    np.testing.assert_array_equal(
        given.numpy(), stimuli.resample(waveform, rate_hz, 16_000).astype(np.float32)
    )


@pytest.mark.parametrize(
    ("prepare", "settings", "stimulus", "message"),
    [
        (sounds.levelled, FIRST, noise(duration_s=1.9), r"lasts 1\.9 s; this model needs 2 s"),
        (sounds.levelled, FIRST, (np.zeros(0), 44_100), "lasts 0 s"),
        (sounds.levelled, FIRST, (np.full(88_200, 0.3), 44_100), "first 88200 samples are equal"),
        (sounds.levelled, FIRST, (np.r_[np.zeros(88_200), noise()[0]], 44_100), "silent"),
        (sounds.whole, ALL, noise(duration_s=0.02), r"lasts 0\.02 s; this model needs 0\.025 s"),
        (sounds.whole, ALL, (np.zeros(16_000), 16_000), "silent"),
        (sounds.whole, ALL, (np.zeros((16_000, 2)), 16_000), "mono"),
        (sounds.whole, ALL, (np.r_[noise()[0], np.inf], 16_000), "1 samples of the waveform are not finite"),
    ],
)
def test_what_cannot_be_heard_is_refused(prepare, settings, stimulus, message):
    with pytest.raises(ValueError, match=message):
        prepare(stimulus, settings)


def test_sounds_of_just_the_duration_are_taken():
    assert sounds.levelled(noise(), FIRST).shape == (40_000,)
    assert sounds.whole(noise(rate_hz=16_000, duration_s=0.025), ALL).shape == (400,)
