"""Synthesised sounds: exact repetition, the facts of each category, and enough variety."""

import hashlib

import numpy as np
import pytest
import soundfile
from scipy import signal, stats

from lib import synthesis
from lib.artefacts import home

N = 10


@pytest.fixture(scope="module")
def sounds():
    """Ten sounds of each category."""
    return {c: np.array([synthesis.sound(c, k) for k in range(N)]) for c in synthesis.CATEGORIES}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))


def spectrum(waveform):
    """Power by frequency."""
    return signal.welch(waveform, synthesis.RATE_HZ, nperseg=2048)


def test_a_sound_is_two_seconds_finite_and_of_known_level(sounds):
    for waveforms in sounds.values():
        assert waveforms.shape == (N, 40_000)
        rms, peak = np.sqrt(np.mean(waveforms**2, axis=1)), np.abs(waveforms).max(axis=1)
        # the quieter of two limits, each up to rounding
        assert np.allclose(np.maximum(rms / synthesis.RMS, peak / synthesis.PEAK), 1, rtol=1e-9)


def test_a_sound_depends_on_category_number_and_seed_alone(sounds):
    np.random.seed(3)
    for category, waveforms in sounds.items():
        assert np.array_equal(synthesis.sound(category, 2), waveforms[2])
        assert not np.allclose(synthesis.sound(category, 2, seed=1), waveforms[2])
    every = np.concatenate(list(sounds.values()))
    correlation = np.abs(np.corrcoef(every) - np.eye(len(every)))
    assert correlation.max() < 0.9


def test_little_power_lies_beyond_the_highest_partial(sounds):
    for category in ("speech", "music", "texture", "impact", "chirp"):
        for waveform in sounds[category]:
            frequency_hz, power = spectrum(waveform)
            # knocks, tremolo and onsets spread a little beyond; folded partials would show at full strength
            assert power[frequency_hz > 9_500].sum() < 0.02 * power.sum()


def test_speech_and_music_are_harmonic_and_textures_are_not(sounds):
    def flatness(waveform):
        """Geometric by arithmetic mean of power within half an octave around the peak: 1 if noise is flat."""
        frequency_hz, power = signal.welch(waveform, synthesis.RATE_HZ, nperseg=8192)
        near = np.abs(np.log2(np.maximum(frequency_hz, 1) / frequency_hz[power.argmax()])) < 0.5
        return np.exp(np.log(power[near] + 1e-30).mean()) / power[near].mean()

    noisy = np.median([flatness(w) for w in sounds["texture"]])
    assert np.median([flatness(w) for w in sounds["music"]]) < noisy / 2
    assert np.median([flatness(w) for w in sounds["impact"]]) < noisy / 2


def test_impacts_rise_faster_than_they_fall(sounds):
    def lopsided(waveform):
        """Skewness of the steps of the envelope in 10 ms: 0 if rise and fall mirror each other."""
        return stats.skew(np.diff(np.convolve(waveform**2, np.ones(200) / 200)[::200]))

    skewness = {c: np.median([lopsided(w) for w in sounds[c]]) for c in ("impact", "texture", "chirp")}
    assert skewness["impact"] > 1
    assert abs(skewness["texture"]) < 0.5
    assert abs(skewness["chirp"]) < 0.5


def test_harmonics_are_the_sum_of_sines():
    frequency_hz = 200 * (1 + 0.1 * np.sin(2 * np.pi * 3 * synthesis.TIME_S))
    phase = 2 * np.pi * np.cumsum(frequency_hz) / synthesis.RATE_HZ
    expected = sum(np.sin(n * phase) / n * (n * frequency_hz < synthesis.HIGHEST_HZ) for n in range(1, 60))
    # rounding of the recurrence grows with order squared over the sine of the phase: below 1e-9 here
    assert np.abs(synthesis._harmonics(frequency_hz, lambda n, _: 1 / n) - expected).max() < 1e-8


def dimensions(features):
    """Participation ratio of z-scored features: (Σ variance)² / Σ variance², over principal components."""
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    variance = np.linalg.svd(features, compute_uv=False) ** 2
    return variance.sum() ** 2 / (variance**2).sum()


def test_sounds_vary_in_as_many_directions_as_natural_ones(sounds):
    waveforms = np.concatenate(list(sounds.values()))
    power = signal.stft(waveforms, synthesis.RATE_HZ, nperseg=512)[2]
    level = np.log(np.abs(power) + 1e-4)
    bands = level[:, :256].reshape(len(level), 32, 8, -1).mean(axis=2)
    change = np.abs(np.fft.rfft(bands - bands.mean(axis=2, keepdims=True), axis=2))[:, :, 1:40]
    # 50 of the 165 natural sounds of NH2015 have 2.36 and 5.56; a fifth less would be a poorer set
    assert dimensions(level.mean(axis=2)) > 0.8 * 2.36
    assert dimensions(np.log(change + 1e-3).reshape(len(level), -1)) > 0.8 * 5.56


def test_an_unknown_category_is_met_with_the_nearest():
    with pytest.raises(ValueError, match=r"did you mean texture\?"):
        synthesis.sound("textures", 0)


def test_written_sounds_are_tabulated_and_the_same_each_time(tmp_path):
    folder = tmp_path / "data" / "download" / "toy" / "stimuli"
    table = synthesis.write_sounds(folder, n_per_category=2)
    assert table["stimulus"].tolist()[:3] == ["speech_00", "speech_01", "music_00"]
    assert table["category"].value_counts().to_dict() == dict.fromkeys(synthesis.CATEGORIES, 2)
    assert table["file"][0] == "download/toy/stimuli/speech_00.wav"
    for row in table.itertuples():
        content = (home() / "data" / row.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row.sha256
    waveform, rate_hz = soundfile.read(folder / "speech_01.wav")
    assert rate_hz == 20_000
    # 16 bits: half a step of 2⁻¹⁵, and the rounding of its writer
    assert np.abs(waveform - synthesis.sound("speech", 1)).max() <= 2**-15
    assert synthesis.write_sounds(folder, n_per_category=2).equals(table)
    assert sorted(p.name for p in folder.iterdir()) == sorted(f"{s}.wav" for s in table["stimulus"])
