"""The procedure of an experiment: its texts, times and numbers of trials, as published and as changed."""

import re

from lib import plugins
from lib.experiment import headphones

SHARED = {
    "title": "Recognition experiment",
    "thanks": "Thank you for taking part.",
    "completion": "",
    "post_url": "",
    "n_trials": 400,
    "n_attention": 2,
    "n_break": 100,
    "feedback_ms": 1000,
}
# As published; of sounds, the numbers of practice and demonstration trials are ours.
SETTINGS = {
    "vision": SHARED
    | {"n_practice": 16, "n_demo": 12, "n_demo_correct": 7, "n_catch": 16, "n_slow": 8, "size_px": 256}
    | {"fixation_ms": 300, "image_ms": 300, "mask_ms": 300}
    | {"slow_fixation_ms": 500, "slow_image_ms": 400, "slow_mask_ms": 400},
    "audio": SHARED
    | {"n_practice": 5, "n_demo": 12, "n_demo_correct": 5, "n_catch": 16, "n_check": 6, "n_check_correct": 5}
    | {"gap_ms": 500, "rms": 0.05},
}
MOST = 10**6  # trials, milliseconds or pixels
ADDRESS = re.compile(r"(https://[\w.-]+|http://(?:localhost|127\.0\.0\.1))(:\d+)?(/[\w./~%?&=+-]*)?")


def settings(modality, changed):
    """Numbers and texts of an experiment.

    Parameters
    ----------
    modality : {"vision", "audio"}
    changed : dict
        What differs from SETTINGS.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If there is no such setting, its value is of another type or negative, or the address of `post_url` is not
        one of https.
    """
    known = SETTINGS[modality]
    for name, value in changed.items():
        plugins.require(name, known, f"setting of an experiment with {modality}")
        wanted = (int, float) if isinstance(known[name], float) else type(known[name])
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}; it should be like {known[name]!r}")
        if not isinstance(value, str) and not 0 <= value < MOST:
            raise ValueError(f"{name} is {value}; it cannot be negative, nor {MOST} or more")
    made = known | changed
    if made["post_url"] and not ADDRESS.fullmatch(made["post_url"]):
        raise ValueError(f"post_url {made['post_url']!r} is no address that starts with https://")
    if min(made["n_trials"], made.get("rms", 1), made.get("size_px", 1)) <= 0:
        raise ValueError("n_trials, rms and size_px cannot be 0")
    if made["n_demo_correct"] > made["n_demo"] or made.get("n_check_correct", 0) > made.get("n_check", 0):
        raise ValueError(
            "more correct answers are asked for than there are trials of the demonstration or check"
        )
    if made.get("n_check", 0) > (n := len(headphones.orders())):
        raise ValueError(f"n_check is {made['n_check']}; there are {n} orders of the tones")
    return made
