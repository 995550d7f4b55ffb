"""SpectroTemporal features of one sound, beside the published formula: one full-plane transform per filter.

Both sides start from the same cochleagram of 2 s of noise, with their filters built, and end with the power of
111 filters averaged over time; one thread, since waiting threads count as CPU time.
"""

import numpy as np
import torch
from threadpoolctl import threadpool_limits

import benchmarks
from lib.cochleagram import Cochleagram
from lib.modulation import RATES_HZ, SCALES, ModulationFilters, spectral_response, temporal_response

NAME = "111 filters on a cochleagram of 211 x 390, float32, one thread"
TOLERANCE = 1e-5  # relative to the largest feature: single precision


def full_planes(labels):
    """Transfer functions over all frequencies, complex (filter, 422, 1170)."""
    planes = []
    for rate_hz, scale in labels:
        temporal = temporal_response(abs(rate_hz), 390, highest=abs(rate_hz) == RATES_HZ[-1])
        spectral = spectral_response(scale, 211, highest=scale == SCALES[-1])
        directions = np.outer(_signs(422), _signs(1170)) * (-1 if rate_hz < 0 else 1)
        planes.append((np.outer(spectral, temporal) * (directions >= 0)).astype(np.complex64))
    return planes


def _signs(n):
    """Sign of each frequency of a transform of even length; 0 at 0 and at Nyquist."""
    signs = np.sign(np.fft.fftfreq(n))
    signs[n // 2] = 0
    return signs


def published(cochleagram, planes):
    """Features by the published formula."""
    spectrum = np.fft.fft2(100 * cochleagram, s=planes[0].shape)
    filtered = (np.fft.ifft2(plane * spectrum).real[:211, :390] for plane in planes)
    return np.stack([np.maximum(f**2, 1e-8).mean(-1) for f in filtered])


def cases(_="usual", device="cpu"):
    """The only case, on the CPU alone."""
    return [benchmarks.Case(NAME, 12, _on_one_thread)] if device == "cpu" else []


def _on_one_thread():
    """The row of the only comparison."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1), torch.no_grad():
            return _compare()
    finally:
        torch.set_num_threads(n_threads)


def _compare():
    """Time the formula, then ours on the same cochleagram, then the whole front end."""
    sound = torch.from_numpy(0.1 * np.random.default_rng(0).standard_normal(40_000)).float()
    front_end, filters = Cochleagram(), ModulationFilters()
    picture, front_end_s = benchmarks.cpu_seconds(lambda: front_end(sound))
    features, ours_s = benchmarks.cpu_seconds(lambda: filters(picture))
    planes = full_planes(filters.labels)
    expected, seconds = benchmarks.cpu_seconds(lambda: published(picture.numpy(), planes))
    difference = np.abs(features.numpy() - expected).max() / expected.max()
    case = (
        f"{NAME}; largest difference {benchmarks.agreed('features', difference, TOLERANCE):.0e}; "
        f"the cochleagram of 2 s itself takes {front_end_s:.2g} s"
    )
    return [benchmarks.row("spectemp", case, ours_s, "full-plane transforms in NumPy", seconds)]
