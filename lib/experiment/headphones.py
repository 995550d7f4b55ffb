"""Sounds that tell whether a listener wears headphones, and that let him set their volume."""

import itertools

import numpy as np

RATE_HZ = 16000
FREQUENCY_HZ = 200
TONE_S, RAMP_S, SILENCE_S = 1.0, 0.1, 0.5
QUIETER_DB = 6
KINDS = ("plain", "quiet", "antiphase")
NOISE_S = 3.0
EDGES_HZ = (100, 6000)


def orders():
    """The six orders of a plain, a quieter and an antiphase tone, each with the place (1 to 3) of the quieter.

    Returns
    -------
    list of (tuple of str, int)
    """
    return [(order, 1 + order.index("quiet")) for order in itertools.permutations(KINDS)]


def tones(order, *, rms):
    """Three tones, of which one is quieter and one has opposite signs in the two ears.

    Over loudspeakers the ears receive the sum of the channels: the antiphase tone cancels and seems the
    quietest. Over headphones it does not. With the six `orders`, at least five right answers pass.

    Parameters
    ----------
    order : sequence of str
        Of KINDS.
    rms : float
        Root of the mean square of the plain tone between its ramps, full scale 1.

    Returns
    -------
    array (n_samples, 2)
        Left and right, at RATE_HZ. Tones of 200 Hz last 1 s with half-cosine ramps of 100 ms and are 0.5 s apart.

    References
    ----------
    Woods, Siegel, Traer & McDermott (2017), Attention, Perception & Psychophysics 79:2064,
    doi:10.3758/s13414-017-1361-2.
    """
    time = np.arange(round(TONE_S * RATE_HZ)) / RATE_HZ
    ramp = np.clip(np.minimum(time, TONE_S - time) / RAMP_S, 0, 1)
    plain = rms * np.sqrt(2) * np.sin(2 * np.pi * FREQUENCY_HZ * time) * (1 - np.cos(np.pi * ramp)) / 2
    gains = {"plain": (1, 1), "quiet": (10 ** (-QUIETER_DB / 20),) * 2, "antiphase": (1, -1)}
    silence = np.zeros((round(SILENCE_S * RATE_HZ), 2))
    parts = [part for kind in order for part in (silence, plain[:, None] * gains[kind])]
    return np.concatenate(parts[1:])


def noise(*, rms, rng):
    """Noise to set the volume by, of equal power per octave from 100 to 6000 Hz, as loud as the stimuli.

    Parameters
    ----------
    rms : float
        Root of the mean square, full scale 1.
    rng : numpy.random.Generator

    Returns
    -------
    array (n_samples, 1)
        3 s at RATE_HZ.
    """
    n = round(NOISE_S * RATE_HZ)
    frequency = np.fft.rfftfreq(n, 1 / RATE_HZ)
    inside = (frequency >= EDGES_HZ[0]) & (frequency <= EDGES_HZ[1])
    size = np.where(inside, 1 / np.sqrt(np.maximum(frequency, 1)), 0)
    waveform = np.fft.irfft(size * np.exp(2j * np.pi * rng.random(len(size))), n)
    return (waveform * rms / np.sqrt(np.mean(waveform**2)))[:, None]
