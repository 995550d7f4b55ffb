"""Sounds without a download: speech-like, music-like, textures, impacts and chirps, two seconds each."""

import numpy as np
import pandas as pd
import soundfile
from scipy import ndimage, signal

from lib.artefacts import atomic, home
from lib.plugins import require
from lib.stimuli import digest

RATE_HZ = 20_000
N_SAMPLES = 2 * RATE_HZ
TIME_S = np.arange(N_SAMPLES) / RATE_HZ
RMS = 0.05  # of full scale
PEAK = 0.95
HIGHEST_HZ = 9_000  # partials above would fold back or hum at the edge of the band
VOWELS_HZ = np.array(  # first three formants of ten vowels, men's means of Peterson & Barney (1952)
    [
        (270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410), (730, 1090, 2440),
        (570, 840, 2410), (440, 1020, 2240), (300, 870, 2240), (640, 1190, 2390), (490, 1350, 1690),
    ]
)  # fmt: skip
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10))  # semitones


def sound(category, number, *, seed=0):
    """One synthesised sound.

    Parameters
    ----------
    category : {"speech", "music", "texture", "impact", "chirp"}
    number : int
        Each number is another sound of the category.
    seed : int

    Returns
    -------
    array (40000,)
        Two seconds at 20 kHz, float64, rms 0.05 of full scale unless the peak would then exceed 0.95.

    Raises
    ------
    ValueError
        If there is no such category.
    """
    require(category, CATEGORIES, "category of sounds")
    rng = np.random.default_rng([seed, number, *category.encode()])
    waveform = CATEGORIES[category](rng)
    edge = np.minimum(1, np.minimum(TIME_S, TIME_S[::-1]) / 0.01)
    waveform = (waveform - waveform.mean()) * edge
    return waveform * min(RMS / np.sqrt(np.mean(waveform**2)), PEAK / np.abs(waveform).max())


def write_sounds(folder, *, n_per_category=33, seed=0):
    """Write sounds of all the categories as 16-bit WAV, and tabulate them.

    Parameters
    ----------
    folder : pathlib.Path
        Below `data/`.
    n_per_category : int
    seed : int

    Returns
    -------
    pandas.DataFrame
        stimulus (`speech_07`), file (below `data/`), sha256, category.
    """
    rows = []
    for category in CATEGORIES:
        for number in range(n_per_category):
            path = folder / f"{category}_{number:02d}.wav"
            with atomic(path) as part:
                # Floating-point WAV would carry the time of writing, and so another digest each time.
                soundfile.write(part, sound(category, number, seed=seed), RATE_HZ, subtype="PCM_16")
            file = path.relative_to(home() / "data").as_posix()
            rows.append({"stimulus": path.stem, "file": file, "sha256": digest(path), "category": category})
    return pd.DataFrame(rows)


def _log_uniform(rng, low, high, size=None):
    """Random numbers whose logarithms are evenly spread."""
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def _wander(rng, *, step_s, deviation):
    """Smooth random curve over the sound, with that standard deviation between its knots."""
    knots = np.arange(0, TIME_S[-1] + 4 * step_s, step_s)
    curve = ndimage.zoom(rng.normal(0, deviation, len(knots)), 8, order=3)
    return np.interp(TIME_S, np.linspace(0, knots[-1], len(curve)), curve)


def _bump(start_s, length_s, *, attack_s, power=1.0):
    """Envelope that rises from `start_s` within `attack_s`, and falls as a cosine to 0 at the end."""
    since = TIME_S - start_s
    rise = np.clip(since / attack_s, 0, 1)
    fall = np.cos(np.pi / 2 * np.clip((since - attack_s) / (length_s - attack_s), 0, 1)) ** power
    return rise * fall


def _harmonics(frequency_hz, gains):
    """Sum of harmonics of a varying frequency; `gains(order, frequency)` weighs each at each sample."""
    phase = 2 * np.pi * np.cumsum(frequency_hz) / RATE_HZ
    waveform, before, partial, twice = (
        np.zeros(N_SAMPLES),
        np.zeros(N_SAMPLES),
        np.sin(phase),
        2 * np.cos(phase),
    )
    for order in range(1, int(HIGHEST_HZ / frequency_hz.min()) + 1):
        partial_hz = order * frequency_hz
        waveform += gains(order, partial_hz) * (partial_hz < HIGHEST_HZ) * partial
        # sin nx = 2 cos x sin (n-1)x - sin (n-2)x: a tenth of the time of the sines
        before, partial = partial, twice * partial - before
    return waveform


def _band_noise(rng, low_hz, high_hz):
    """Gaussian noise of unit rms between two frequencies."""
    spectrum = np.fft.rfft(rng.normal(size=N_SAMPLES))
    frequency_hz = np.fft.rfftfreq(N_SAMPLES, 1 / RATE_HZ)
    noise = np.fft.irfft(spectrum * ((frequency_hz >= low_hz) & (frequency_hz < high_hz)), N_SAMPLES)
    return noise / np.sqrt(np.mean(noise**2))


def _speech(rng):
    """Voiced syllables with gliding pitch and moving formants, consonants of noise, and pauses."""
    n_syllables = rng.integers(4, 15)
    edges = np.sort(rng.uniform(0, 2, n_syllables - 1))
    starts, lengths = np.r_[0, edges], np.diff(np.r_[0, edges, 2]) + 0.05
    formants = VOWELS_HZ[rng.integers(len(VOWELS_HZ), size=n_syllables)] * rng.uniform(0.9, 1.35)
    centres = starts + lengths / 2
    tracks = [ndimage.gaussian_filter1d(np.interp(TIME_S, centres, f), 0.02 * RATE_HZ) for f in formants.T]
    voice_hz = _log_uniform(rng, 85, 320) * 2 ** (_wander(rng, step_s=0.25, deviation=0.18) - 0.1 * TIME_S)
    widths_hz = rng.uniform(0.8, 2) * np.array([70, 100, 150])
    tilt = rng.uniform(0.6, 1.4)

    def gains(order, partial_hz):
        peaks = (
            w / (1 + ((partial_hz - f) / b) ** 2)
            for f, b, w in zip(tracks, widths_hz, (1, 0.6, 0.3), strict=True)
        )
        return order**-tilt * (0.01 + sum(peaks))

    voice = _harmonics(voice_hz, gains)
    voice /= np.abs(voice).max()
    loudness, hiss = np.zeros(N_SAMPLES), np.zeros(N_SAMPLES)
    for start_s, length_s in zip(starts, lengths, strict=True):
        if rng.random() < 0.15:
            continue
        loudness += rng.uniform(0.4, 1) * _bump(start_s, length_s, attack_s=0.2 * length_s, power=0.7)
        if rng.random() < 0.6:
            low_hz = _log_uniform(rng, 800, 5000)
            burst = _bump(start_s, rng.uniform(0.02, 0.12), attack_s=0.01)
            hiss += rng.uniform(0.02, 0.12) * burst * _band_noise(rng, low_hz, low_hz * rng.uniform(1.3, 3))
    return voice * loudness + hiss


def _music(rng):
    """Notes and chords of a scale in a steady rhythm, in one of many timbres."""
    scale = np.array(SCALES[rng.integers(len(SCALES))])
    root, beat_s = rng.integers(38, 70), _log_uniform(rng, 0.12, 0.8)
    n_voices, odd_only = rng.integers(1, 4), rng.random() < 0.25
    tilt, decay_s = rng.uniform(0.4, 2), _log_uniform(rng, 0.1, 2)
    attack_s = min(_log_uniform(rng, 0.003, 0.15), beat_s / 2)
    wobble = 2 ** (rng.choice([0, 0.03]) * np.sin(2 * np.pi * rng.uniform(4, 7) * TIME_S))
    waveform, degree = np.zeros(N_SAMPLES), rng.integers(len(scale))
    for start_s in np.arange(0, 2, beat_s):
        degree += rng.integers(-3, 4)
        if start_s and rng.random() < 0.15:
            continue
        length_s = beat_s * rng.uniform(0.9, 2)
        loudness = _bump(start_s, length_s, attack_s=attack_s) * np.exp(
            -np.maximum(TIME_S - start_s, 0) / decay_s
        )
        for voice in range(n_voices):
            octave, step = divmod(degree + 2 * voice, len(scale))
            note_hz = 440 * 2 ** ((root + 12 * np.clip(octave, -1, 2) + scale[step] - 69) / 12)
            tone = _harmonics(note_hz * wobble, lambda order, _: order**-tilt * (order % 2 or not odd_only))
            waveform += rng.uniform(0.5, 1) * loudness * tone
    return waveform


def _texture(rng):
    """Noise in bands of random level whose envelopes move together as a ripple."""
    edges_hz = np.geomspace(60, HIGHEST_HZ, 25)
    level_db = np.cumsum(rng.normal(0, 4, 24)) - rng.uniform(-1, 1.2) * np.arange(24)
    rate_hz, density = _log_uniform(rng, 0.5, 32) * rng.choice([-1, 1]), rng.uniform(0, 2)
    depth, start, sharpness = rng.uniform(0.3, 1), rng.uniform(0, 2 * np.pi), _log_uniform(rng, 0.7, 6)
    flutter = _log_uniform(rng, 0.02, 0.3)
    waveform = np.zeros(N_SAMPLES)
    for low_hz, high_hz, db in zip(edges_hz, edges_hz[1:], level_db, strict=False):
        octave = np.log2(low_hz / edges_hz[0])
        ripple = 1 + depth * np.sin(2 * np.pi * (rate_hz * TIME_S + density * octave) + start)
        own = np.exp(_wander(rng, step_s=flutter, deviation=0.5))
        waveform += 10 ** (db / 20) * (ripple / 2) ** sharpness * own * _band_noise(rng, low_hz, high_hz)
    return waveform


def _impact(rng):
    """An object struck at random or regular times: modes that ring and die out, and the knock itself."""
    n_modes, n_hits = rng.integers(4, 25), rng.integers(1, 13)
    modes_hz = np.sort(_log_uniform(rng, _log_uniform(rng, 80, 1500), HIGHEST_HZ, n_modes))
    ring_s = _log_uniform(rng, 0.01, 0.5) * (modes_hz / modes_hz[0]) ** -rng.uniform(0, 1)
    gains = rng.normal(size=n_modes) * (modes_hz / modes_hz[0]) ** -rng.uniform(0, 1.5)
    knock_s = _log_uniform(rng, 0.001, 0.03)
    low_hz = _log_uniform(rng, 50, 3000)
    knock = rng.uniform(0.05, 1) * _band_noise(rng, low_hz, 3 * low_hz) * np.exp(-TIME_S / knock_s)
    rings = np.exp(-TIME_S / ring_s[:, None]) * np.sin(2 * np.pi * modes_hz[:, None] * TIME_S)
    times_s = rng.uniform(0, 1.8, n_hits) if rng.random() < 0.6 else np.arange(n_hits) * 1.9 / n_hits
    waveform = np.zeros(N_SAMPLES)
    for time_s in np.sort(times_s):
        hit = (gains * rng.uniform(0.4, 1, n_modes)) @ rings + knock
        first = int(time_s * RATE_HZ)
        waveform[first:] += rng.uniform(0.3, 1) * hit[: N_SAMPLES - first]
    return waveform


def _chirp(rng):
    """Calls of gliding and trembling pitch, repeated with gaps, as of birds, frogs and sirens."""
    period_s = _log_uniform(rng, 0.08, 2)
    call_s = period_s * rng.uniform(0.4, 1)
    within = np.mod(TIME_S - rng.uniform(0, period_s), period_s) / call_s
    start_hz, octaves = _log_uniform(rng, 250, 4000), rng.uniform(-2, 2)
    bend, tremble = rng.uniform(-1, 1), rng.choice([0, 1]) * _log_uniform(rng, 0.02, 0.4)
    glide = octaves * np.clip(within, 0, 1) + bend * np.sin(np.pi * np.clip(within, 0, 1))
    frequency_hz = start_hz * 2 ** (glide + tremble * np.sin(2 * np.pi * _log_uniform(rng, 4, 60) * TIME_S))
    tilt = rng.uniform(0.8, 4)
    loudness = np.where(within < 1, np.sin(np.pi * np.clip(within, 0, 1)) ** rng.uniform(0.3, 2), 0)
    throb = 1 + rng.uniform(0, 1) * signal.sawtooth(2 * np.pi * _log_uniform(rng, 3, 80) * TIME_S, 0.5)
    tone = _harmonics(np.clip(frequency_hz, 60, HIGHEST_HZ - 500), lambda order, _: order**-tilt)
    return tone * loudness * throb


CATEGORIES = {"speech": _speech, "music": _music, "texture": _texture, "impact": _impact, "chirp": _chirp}
