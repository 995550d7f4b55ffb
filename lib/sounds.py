"""What models of hearing are given: sounds at their rate, refused where nothing could be heard."""

import numpy as np
import torch

from lib import stimuli


def at_rate(stimulus, rate_hz, *, shortest_s, used_s=None):
    """A sound at another rate.

    Parameters
    ----------
    stimulus : (array (n_samples,), int)
        Mono waveform in any unit, and its sampling rate in Hz.
    rate_hz : int
        Rate wanted.
    shortest_s : float
        Duration below which a sound is refused.
    used_s : float, optional
        Duration from the start that is kept; all of it by default.

    Returns
    -------
    array (n_samples,)
        float64 in the same unit; `stimuli.resample`.

    Raises
    ------
    ValueError
        If the sound is not mono, has values that are not finite, is too short, or is silent (constant) where
        it is used.
    """
    waveform, from_hz = np.asarray(stimulus[0], dtype=float), stimulus[1]
    if waveform.ndim != 1:
        raise ValueError(f"the waveform must be mono, (n_samples,), not {waveform.shape}")
    if n_odd := np.count_nonzero(~np.isfinite(waveform)):
        raise ValueError(f"{n_odd} samples of the waveform are not finite")
    sound = stimuli.resample(waveform, from_hz, rate_hz)
    if len(sound) < round(shortest_s * rate_hz):
        raise ValueError(
            f"the sound lasts {len(sound) / rate_hz:.4g} s; this model needs {shortest_s:g} s at least"
        )
    n_used = len(waveform) if used_s is None else round(used_s * from_hz)
    if np.ptp(waveform[:n_used]) == 0:
        raise ValueError(f"the sound is silent: its first {len(waveform[:n_used])} samples are equal")
    return sound if used_s is None else sound[: round(used_s * rate_hz)]


def whole(stimulus, settings):
    """All of a sound, as loud as it is.

    Parameters
    ----------
    stimulus : (array (n_samples,), int)
        Mono waveform with full scale 1, and its sampling rate in Hz.
    settings : dict
        `rate_hz` and `shortest_s`, as for `at_rate`.

    Returns
    -------
    tensor (n_samples,)
        float32 at `rate_hz`.

    Raises
    ------
    ValueError
        As `at_rate`.
    """
    sound = at_rate(stimulus, settings["rate_hz"], shortest_s=settings["shortest_s"])
    return torch.from_numpy(sound).float()


def levelled(stimulus, settings):
    """First seconds of a sound, mean removed, scaled to a level.

    Parameters
    ----------
    stimulus : (array (n_samples,), int)
        Mono waveform in any unit, and its sampling rate in Hz.
    settings : dict
        `rate_hz`; `duration_s`; `rms`, the root mean square wanted; `limit`, the largest magnitude a sample
        may have after that, beyond which it is clipped, or None.

    Returns
    -------
    tensor (rate_hz · duration_s,)
        float32.

    Raises
    ------
    ValueError
        As `at_rate`; shorter sounds are not padded, for silence at their end would be heard as such.
    """
    duration_s = settings["duration_s"]
    sound = at_rate(stimulus, settings["rate_hz"], shortest_s=duration_s, used_s=duration_s)
    sound = sound - sound.mean()
    sound *= settings["rms"] / np.sqrt(np.mean(sound**2))
    if settings["limit"] is not None:
        sound = sound.clip(-settings["limit"], settings["limit"])
    return torch.from_numpy(sound.astype(np.float32))
