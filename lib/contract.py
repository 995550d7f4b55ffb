"""What every data set holds to: named axes, stimuli joined by identifier, files that are what they claim."""

import numpy as np

from lib.artefacts import home
from lib.plugins import require
from lib.stimuli import digest

DIMENSIONS = {"response": ("repeat", "stimulus", "voxel"), "train": ("split", "stimulus")}
COORDINATES = {"stimulus": "stimulus", "voxel": "voxel", "subject": "voxel", "roi": "voxel"}
ATTRIBUTES = ("target", "modality", "kind", "planted", "licence", "citation")
CHOICES = {"modality": ("audio", "vision"), "kind": ("component", "voxel"), "planted": (0, 1)}
FIRST = 3  # offenders a message names
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


def _check(offenders, message):
    """Raise with the first offenders, if there are any."""
    offenders = list(offenders)
    more = f" and {len(offenders) - FIRST} more" if len(offenders) > FIRST else ""
    if offenders:
        raise ValueError(f"{message}: {', '.join(str(o) for o in offenders[:FIRST])}{more}")


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
    _check(stimuli["stimulus"][stimuli["stimulus"].duplicated()], "stimuli more than once in the table")
    pairs = enumerate(zip(ours, theirs, strict=True))
    _check(
        (f"row {i} is {t}, not {o}" for i, (o, t) in pairs if o != t),
        "stimuli in another order than responses",
    )


def _check_cells(response, mask, message):
    """Raise with repeat, stimulus and voxel of the first responses where a mask holds."""
    places = np.argwhere(mask)
    first = places[:FIRST].tolist()
    named = (
        "/".join(str(response[d].values[i]) for d, i in zip(response.dims, p, strict=True)) for p in first
    )
    _check([*named, *places[FIRST:]], f"{message} (repeat/stimulus/voxel)")


def _check_values(response):
    values = response.values
    _check_cells(response, np.isinf(values), "infinite responses")
    if "missing" not in response.attrs:
        what = "responses that are NaN though no attribute `missing` says why"
        _check_cells(response, np.isnan(values), what)
    _check(response["voxel"].values[np.isnan(values).all(axis=(0, 1))], "voxels without any response")


def _check_splits(train, stimuli):
    mask = train.values
    if len(mask) < 2:
        raise ValueError(
            "train has a single split; layers are chosen and scored on different ones: give two or more"
        )
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
    wrong = (p for p, sha256 in wanted if digest(p) != sha256)
    _check(wrong, "stimulus files whose content is not that of the table's sha256")
