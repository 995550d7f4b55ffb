"""SpectroTemporal: fixed modulation filters on a cochleagram, the classical account of auditory cortex.

There are no learned weights, so there is nothing to permute or re-initialise: figures of permuted networks
draw the same SpectroTemporal line as figures of trained ones, as published.
"""

from collections import OrderedDict

import torch

from lib import sounds
from lib.cochleagram import Cochleagram
from lib.models import frozen
from lib.modulation import ModulationFilters

LABEL = "SpectroTemporal"
COLOUR = "#6b6b6b"
MODALITY = "audio"
# The output of `avgpool` is averaged over time already: filters × channels.
LAYERS = ("avgpool",)
TIME_AXIS = None
CONTROLS = ()
BUNDLED = True
RUNG = "designed"  # of the report card
WITHOUT = ("decode", "bhscore")  # which compare layers
LICENCE = "MIT (part of this compendium)"
CITATION = (
    "Norman-Haignere & McDermott (2018), PLOS Biology 16, e2005127, doi:10.1371/journal.pbio.2005127; "
    "as set up by Feather et al. (2023), Nature Neuroscience 26, 2017-2034, doi:10.1038/s41593-023-01442-0"
)
INPUT = {"rate_hz": 20000, "duration_s": 2.0, "rms": 0.1, "limit": None}


def build():
    """Cochleagram (211 channels × 390 frames) and the 111 modulation filters on it.

    Returns
    -------
    torch.nn.Module
        From waveforms (batch, 40000) as `preprocess` gives them to the power of each filter at each
        channel, averaged over time: (batch, 111, 211), at least 1e-8. Layers: `cochleagram` (batch, 211,
        390) and `avgpool`.
    """
    n_samples = round(INPUT["rate_hz"] * INPUT["duration_s"])
    cochleagram = Cochleagram(n_samples, INPUT["rate_hz"])
    filters = ModulationFilters(*cochleagram.shape)
    return frozen(torch.nn.Sequential(OrderedDict(cochleagram=cochleagram, avgpool=filters)))


def preprocess(stimulus):
    """First 2 s of a sound at 20 kHz, mean removed, root mean square 0.1.

    Parameters
    ----------
    stimulus : (array (n_samples,), int)
        Mono waveform in any unit, and its sampling rate in Hz.

    Returns
    -------
    tensor (40000,)
        float32.

    Raises
    ------
    ValueError
        If the sound is not mono, has values that are not finite, is silent (constant) in these 2 s, or is
        shorter: it is not padded, for the slowest filter passes 0.5 Hz and silence at the end would count
        as a modulation.

    References
    ----------
    Feather et al. (2023), Nature Neuroscience 26, 2017-2034, Methods (fMRI: sounds); polyphase resampling.
    """
    return sounds.levelled(stimulus, INPUT)
