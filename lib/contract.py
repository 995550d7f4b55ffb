"""What every data set holds to: named axes, stimuli joined by identifier, files that are what they claim."""

import hashlib
from itertools import islice

import numpy as np

from lib.artefacts import home
from lib.plugins import require

DIMENSIONS = {"response": ("repeat", "stimulus", "voxel"), "train": ("split", "stimulus")}
COORDINATES = {"stimulus": "stimulus", "voxel": "voxel", "subject": "voxel", "roi": "voxel"}
ATTRIBUTES = ("target", "modality", "kind", "planted", "licence", "citation")
CHOICES = {"modality": ("audio", "vision"), "kind": ("component", "voxel"), "planted": (0, 1)}
COLUMNS = ("stimulus", "file", "sha256")


def validate(responses, stimuli):
    """The same responses and stimuli, if they keep the contract of a data set.

    Parameters
    ----------
    responses : xarray.Dataset
        `response` (repeat, stimulus, voxel), float64, any unit; NaN only where attribute `missing` of the
        variable says what a missing value means, and never for all stimuli and repeats of a voxel.
        `train` (split, stimulus), bool: True where a stimulus trains, False where it tests; both occur in
        each split. Coordinates: unique text identifiers `stimulus` and `voxel`; text `subject` and `roi` per
        voxel; whole numbers `repeat` and `split`. Attributes: target, modality ("audio", "vision"), kind
        ("component", "voxel"), planted (0, 1), licence, citation.
    stimuli : pandas.DataFrame
        One row per stimulus, in the order of `responses.stimulus`: `stimulus`, `file` (below `data/`, with
        forward slashes), `sha256` of that file. Stimuli that share a `group`, if there is such a column, are
        on the same side of every split.

    Returns
    -------
    responses, stimuli
        The very objects given.

    Raises
    ------
    ValueError
        If anything differs; the message names the first offenders.
    """
    _check_layout(responses)
    _check_attributes(responses.attrs)
    _check_table(stimuli)
    _check_identifiers(responses, stimuli)
    _check_values(responses["response"])
    _check_splits(responses["train"], stimuli)
    _check_files(stimuli)
    return responses, stimuli


def _first(offenders, count=3):
    """The first few offenders, for a message."""
    offenders = list(offenders)
    more = f" and {len(offenders) - count} more" if len(offenders) > count else ""
    return ", ".join(str(o) for o in islice(offenders, count)) + more


def _check(offenders, message):
    """Raise with the first offenders, if there are any."""
    offenders = list(offenders)
    if offenders:
        raise ValueError(f"{message}: {_first(offenders)}")


def _check_layout(responses):
    wanted = (*DIMENSIONS, *COORDINATES, "repeat", "split")
    _check(
        (name for name in wanted if name not in responses.variables),
        "responses lack variables or coordinates",
    )
    for name, dims in {**DIMENSIONS, **{c: (d,) for c, d in COORDINATES.items()}}.items():
        if responses[name].dims != dims:
            raise ValueError(f"{name} has axes {responses[name].dims} instead of {dims}")
    for name in COORDINATES:
        odd = (repr(v) for v in responses[name].values.tolist() if not isinstance(v, str))
        _check(odd, f"coordinate {name} holds something else than text")
    for name, wanted in {"response": np.float64, "train": np.bool_}.items():
        if responses[name].dtype != wanted:
            raise ValueError(f"{name} is {responses[name].dtype} instead of {np.dtype(wanted)}")
    for name in ("repeat", "split"):
        if responses[name].dtype.kind not in "iu":
            raise ValueError(f"coordinate {name} is {responses[name].dtype} instead of whole numbers")
    _check((d for d, n in responses.sizes.items() if not n), "axes without any entry")


def _check_attributes(attrs):
    _check((a for a in ATTRIBUTES if attrs.get(a, "") == ""), "responses lack attributes")
    for name, valid in CHOICES.items():
        if attrs[name] not in valid:
            require(attrs[name], (str(v) for v in valid), f"attribute {name} of responses")


def _check_table(stimuli):
    _check((c for c in COLUMNS if c not in stimuli.columns), "stimuli lack columns")
    for column in COLUMNS:
        bare = (i for i, v in enumerate(stimuli[column]) if not isinstance(v, str) or not v)
        _check(bare, f"rows of stimuli without text in column {column}")


def _check_identifiers(responses, stimuli):
    for name in ("stimulus", "voxel", "repeat", "split"):
        index = responses.indexes[name]
        _check(index[index.duplicated()].unique(), f"identifiers of axis {name} occur more than once")
    ours, theirs = responses["stimulus"].values.tolist(), stimuli["stimulus"].tolist()
    _check((s for s in ours if s not in set(theirs)), "stimuli with responses but without a row in the table")
    _check((s for s in theirs if s not in set(ours)), "stimuli in the table without responses")
    pairs = enumerate(zip(ours, theirs, strict=True))
    _check(
        (f"row {i} is {t}, not {o}" for i, (o, t) in pairs if o != t),
        "stimuli in another order than responses",
    )


def _cells(response, mask):
    """Where a mask holds, as text: repeat, stimulus and voxel."""
    for place in np.argwhere(mask):
        yield "/".join(str(response[d].values[i]) for d, i in zip(response.dims, place, strict=True))


def _check_values(response):
    values = response.values
    _check(_cells(response, np.isinf(values)), "infinite responses (repeat/stimulus/voxel)")
    if "missing" not in response.attrs:
        what = "responses that are NaN (repeat/stimulus/voxel), and no attribute `missing` says why"
        _check(_cells(response, np.isnan(values)), what)
    _check(response["voxel"].values[np.isnan(values).all(axis=(0, 1))], "voxels without any response")


def _check_splits(train, stimuli):
    mask = train.values
    _check(train["split"].values[~mask.any(axis=1)], "splits without a training stimulus")
    _check(train["split"].values[mask.all(axis=1)], "splits without a test stimulus")
    if "group" in stimuli.columns:
        share = train.to_pandas().T.groupby(stimuli["group"].to_numpy()).mean()
        torn = share.index[((share > 0) & (share < 1)).any(axis=1)]
        _check(torn, "groups of stimuli that a split tears apart")


def _check_files(stimuli):
    base = home() / "data"
    paths = [base / file for file in stimuli["file"]]
    _check((f for f in stimuli["file"] if f.startswith("/") or ".." in f.split("/")), f"files outside {base}")
    _check((p for p in paths if not p.is_file()), "stimulus files that are not there")
    wanted = zip(paths, stimuli["sha256"], strict=True)
    wrong = (p for p, sha256 in wanted if hashlib.sha256(p.read_bytes()).hexdigest() != sha256)
    _check(wrong, "stimulus files whose content is not that of the table's sha256")
