"""Frames of video clips."""

import importlib
from pathlib import Path

import numpy as np


def frames(path, *, every=1):
    """Every so many frames of a video.

    Parameters
    ----------
    path : str or pathlib.Path
        Any format that FFmpeg decodes.
    every : int
        4 gives the frames number 4, 8, 12, … counted from 1: a video of n frames has floor(n / 4) of them.

    Returns
    -------
    uint8 array (n_frames, height, width, 3)
        RGB, 0 to 255, in the order shown. Only frames that could be decoded count, whatever number the
        file's header states.

    Raises
    ------
    ImportError
        If PyAV, an optional dependency, is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file holds no picture stream, cannot be decoded, or is shorter than `every` frames.

    References
    ----------
    PyAV, https://pyav.basswood-io.com (BSD licence), which binds FFmpeg.
    """
    if every < 1 or every != int(every):
        raise ValueError(f"every is a whole number from 1 on, not {every!r}")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"video {path} does not exist")
    av, shown, kept = _decoder(), 0, []
    try:
        with av.open(str(path)) as clip:
            for frame in clip.decode(video=0):
                shown += 1
                if shown % every == 0:
                    kept.append(frame.to_ndarray(format="rgb24"))
                if kept and kept[-1].shape != kept[0].shape:
                    raise ValueError(f"it is {kept[-1].shape} large, others are {kept[0].shape}")
    # What a decoder raises depends on the byte that is wrong.
    except Exception as error:
        raise ValueError(f"video {path} cannot be decoded after frame {shown}: {error}") from error
    if not kept:
        raise ValueError(f"video {path} has {shown} frames, too few to keep one of every {every}")
    return np.stack(kept)


def _decoder():
    """PyAV, which the compendium does without unless there are videos."""
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise ImportError('videos need PyAV: pip install -c .ci/constraints.txt -e ".[video]"') from error
