"""What every data set holds to: named axes, stimuli joined by identifier, files that are what they claim."""

import numpy as np
import pandas as pd
import xarray as xr

from lib.artefacts import home
from lib.plugins import BRAINS, FIRST, first, require
from lib.stimuli import digest

ATTRIBUTES = ("target", "modality", "kind", "planted", "licence", "citation")
CHOICES = {"modality": ("audio", "vision"), "kind": BRAINS, "planted": (0, 1)}
COLUMNS = ("stimulus", "file", "sha256")
HEMISPHERES = ("left", "right")
RDM = ("repeat", "subject", "roi", "stimulus", "stimulus_2")
ROUNDING = 1e-6  # of the largest dissimilarity; RDMs are stored in single precision here and there


def validate(responses, stimuli):
    """The same responses and stimuli, if they keep the contract of a data set.

    Parameters
    ----------
    responses : xarray.Dataset
        Attributes: target, modality ("audio", "vision"), kind ("component", "voxel", "rdm"), planted (0, 1),
        licence, citation.

        Kinds "component" and "voxel": `response` (repeat, stimulus, voxel), float64, any unit; NaN only where
        attribute `missing` of the variable says what a missing value means, and never for all stimuli and
        repeats of a voxel. `train` (split, stimulus), bool: True where a stimulus trains, False where it
        tests; both occur in each split. Coordinates: unique text identifiers `stimulus` and `voxel`; text
        `subject` and `roi` per voxel ("" outside all regions); whole numbers `repeat` and `split`. If there
        are any: `test_response` (test_repeat, test_stimulus, voxel), held-out stimuli that were shown another
        number of times; `in_roi` (region, voxel), bool, for regions that overlap; `hemisphere` ("left",
        "right") and `x`, `y`, `z` per voxel, float64 in mm (attributes units and space; shared = 0
        where each subject has a space of its own).

        Kind "rdm": `rdm` (repeat, subject, roi, stimulus, stimulus_2), float64, symmetric within rounding, 0
        on the diagonal, its attribute `dissimilarity` in words; NaN only for whole matrices, where attribute
        `missing` says why. Other variables named `…_rdm` end in the same two axes and keep the same rules.
    stimuli : pandas.DataFrame
        One row per stimulus, in the order of `responses.stimulus`, then of `test_stimulus`: `stimulus`,
        `file` (below `data/`, with forward slashes), `sha256` of that file. Stimuli that share a `group`, if
        there is such a column, are on the same side of every split. Where stimuli may not be redistributed,
        all files and digests are "" and attribute `stimuli` of the responses says how to get them.

    Returns
    -------
    responses, stimuli
        The very objects given.

    Raises
    ------
    ValueError
        If anything differs; the message names the first offenders.
    """
    _check_attributes(responses.attrs)
    _check_table(responses, stimuli)
    values = _check_rdms if responses.attrs["kind"] == "rdm" else _check_responses
    values(responses)
    _check_identifiers(responses, stimuli)
    if "train" in responses:
        _check_splits(responses["train"], stimuli)
    _check_files(stimuli)
    return responses, stimuli


def validate_results(tables):
    """The same tables, if they keep the contract of a data set of kind "results".

    Parameters
    ----------
    tables : dict
        Name → pandas.DataFrame or xarray.Dataset, each with content.

    Returns
    -------
    dict
        The very object given.

    Raises
    ------
    ValueError
        If there is no table, or one has no content or no usable name.
    TypeError
        If one is something else than a table or data set.
    """
    if not tables:
        raise ValueError("results without any table")
    _check((repr(n) for n in tables if not str(n).isidentifier()), "tables whose name makes no file name")
    for name, table in tables.items():
        if not isinstance(table, pd.DataFrame | xr.Dataset):
            raise TypeError(f"table {name} is a {type(table).__name__}, not a DataFrame or a Dataset")
    empty = (n for n, t in tables.items() if not (len(t) if isinstance(t, pd.DataFrame) else t.sizes))
    _check(empty, "tables without content")
    return tables


def _check(offenders, message):
    """Raise with the first offenders, if there are any."""
    offenders = list(offenders)
    if offenders:
        raise ValueError(f"{message}: {first(offenders)}")


def _check_attributes(attrs):
    _check((a for a in ATTRIBUTES if attrs.get(a, "") == ""), "responses lack attributes")
    for name, valid in CHOICES.items():
        if attrs[name] not in valid:
            require(attrs[name], (str(v) for v in valid), f"attribute {name} of responses")


def _check_table(responses, stimuli):
    _check((c for c in COLUMNS if c not in stimuli.columns), "stimuli lack columns")
    told = "stimuli" in responses.attrs and (stimuli[["file", "sha256"]] == "").all(axis=None)
    for column in COLUMNS[:1] if told else COLUMNS:
        bare = (i for i, v in enumerate(stimuli[column]) if not isinstance(v, str) or not v)
        _check(bare, f"rows of stimuli without text in column {column}")


def _check_responses(responses):
    blocks = [("response", "repeat", "stimulus")]
    if "test_response" in responses:
        blocks.append(("test_response", "test_repeat", "test_stimulus"))
    dims = {name: (repeat, stimulus, "voxel") for name, repeat, stimulus in blocks}
    text = {s: s for _, _, s in blocks} | {"voxel": "voxel", "subject": "voxel", "roi": "voxel"}
    if "in_roi" in responses:
        dims["in_roi"], text["region"] = ("region", "voxel"), "region"
    numbers = [*(repeat for _, repeat, _ in blocks), "split"]
    _check_layout(responses, dims | {"train": ("split", "stimulus")}, text, numbers)
    _check_types(responses, {name: np.bool_ if name == "in_roi" else np.float64 for name in dims})
    _check_types(responses, {"train": np.bool_})
    for name, *_ in blocks:
        _check_values(responses[name])
    _check_places(responses)


def _check_rdms(responses):
    more = [str(v) for v in responses.data_vars if str(v).endswith("_rdm")]
    dims = {"rdm": RDM} | {v: (*responses[v].dims[:-2], *RDM[-2:]) for v in more}
    text = {name: name for name in RDM[1:]}
    _check_layout(responses, dims, text, ["repeat"])
    _check_types(responses, dict.fromkeys(dims, np.float64))
    ours, theirs = (responses[name].values.tolist() for name in RDM[-2:])
    _check(
        (f"{o} by {t}" for o, t in zip(ours, theirs, strict=True) if o != t),
        "rows and columns of RDMs differ",
    )
    for name in dims:
        if not responses[name].attrs.get("dissimilarity"):
            raise ValueError(f"{name} lacks attribute `dissimilarity`, which says how patterns were compared")
        _check_matrices(responses[name])
    measured = np.isfinite(responses["rdm"]).any(["repeat", "subject", "stimulus", "stimulus_2"])
    _check(responses["roi"].values[~measured.values], "regions of which no subject has an RDM")


def _check_layout(responses, dims, text, numbers):
    """Variables are there, with the axes wanted; identifiers are text, once each; numbers are whole."""
    wanted = (*dims, *text, *numbers)
    _check((n for n in wanted if n not in responses.variables), "responses lack variables or coordinates")
    for name, axes in {**dims, **{c: (d,) for c, d in text.items()}}.items():
        if responses[name].dims != axes:
            raise ValueError(f"{name} has axes {responses[name].dims} instead of {axes}")
    for name in text:
        odd = (repr(v) for v in responses[name].values.tolist() if not isinstance(v, str))
        _check(odd, f"coordinate {name} holds something else than text")
        lost = (ascii(v) for v in responses[name].values.tolist() if "\0" in v or not _is_utf8(v))
        _check(lost, f"coordinate {name} holds text that no file keeps as it is")
    for name in numbers:
        if responses[name].dtype.kind not in "iu":
            raise ValueError(f"coordinate {name} is {responses[name].dtype} instead of whole numbers")
    _check((d for d, n in responses.sizes.items() if not n), "axes without any entry")
    for name in (*(name for name, dim in text.items() if name == dim), *numbers):
        index = responses.indexes[name]
        _check(index[index.duplicated()].unique(), f"identifiers of axis {name} occur more than once")


def _is_utf8(text):
    """Whether a text is made of whole characters."""
    return text.encode("utf-8", "ignore").decode() == text


def _check_types(responses, types):
    for name, wanted in types.items():
        if responses[name].dtype != wanted:
            raise ValueError(f"{name} is {responses[name].dtype} instead of {np.dtype(wanted)}")


def _check_identifiers(responses, stimuli):
    ours = [s for name in ("stimulus", "test_stimulus") if name in responses for s in responses[name].values]
    theirs = stimuli["stimulus"].tolist()
    _check((s for s in ours if s not in set(theirs)), "stimuli with responses but without a row in the table")
    _check((s for s in theirs if s not in set(ours)), "stimuli in the table without responses")
    _check(stimuli["stimulus"][stimuli["stimulus"].duplicated()], "stimuli more than once in the table")
    _check(pd.Index(ours)[pd.Index(ours).duplicated()], "stimuli both held out and not")
    pairs = enumerate(zip(ours, theirs, strict=True))
    _check(
        (f"row {i} is {t}, not {o}" for i, (o, t) in pairs if o != t),
        "stimuli in another order than responses",
    )


def _check_cells(values, mask, message):
    """Raise with the coordinates of the first cells where a mask holds."""
    places = np.argwhere(mask)
    few = places[:FIRST].tolist()
    named = ("/".join(str(values[d].values[i]) for d, i in zip(values.dims, p, strict=True)) for p in few)
    _check([*named, *places[FIRST:]], f"{message} ({'/'.join(map(str, values.dims))})")


def _check_values(response):
    values = response.values
    _check_cells(response, np.isinf(values), "infinite responses")
    if "missing" not in response.attrs:
        what = "responses that are NaN though no attribute `missing` says why"
        _check_cells(response, np.isnan(values), what)
    _check(response["voxel"].values[np.isnan(values).all(axis=(0, 1))], "voxels without any response")


def _check_matrices(rdm):
    """Dissimilarities are finite or missing as a whole, symmetric, and 0 between a stimulus and itself."""
    values, axes = rdm.values, (-2, -1)
    undefined = np.isnan(values)
    gone = undefined.all(axis=axes)
    whole = rdm.isel(stimulus=0, stimulus_2=0, drop=True)
    _check_cells(whole, (undefined | np.isinf(values)).any(axis=axes) & ~gone, f"{rdm.name}s not finite")
    if gone.any() and "missing" not in rdm.attrs:
        _check_cells(whole, gone, f"{rdm.name}s that are NaN though no attribute `missing` says why")
    size = ROUNDING * np.nanmax(np.abs(values), initial=0)
    odd = (np.abs(values - values.swapaxes(*axes)) > size).any(axis=axes)
    _check_cells(whole, odd, f"{rdm.name}s that are not symmetric")
    diagonal = np.abs(np.diagonal(values, axis1=-2, axis2=-1)) > size
    _check_cells(whole, diagonal.any(axis=-1), f"{rdm.name}s whose diagonal is not 0")


def _check_places(responses):
    """Where voxels lie, for data sets that say so."""
    for name in ("x", "y", "z"):
        if name in responses.variables:
            place = responses[name]
            if place.dims != ("voxel",) or place.dtype != np.float64 or place.attrs.get("units") != "mm":
                raise ValueError(f"{name} must be float64 per voxel, in mm (attribute units)")
            if not place.attrs.get("space"):
                raise ValueError(f"{name} lacks attribute `space`, which says in which space it lies")
    if "hemisphere" in responses.variables:
        values = responses["hemisphere"].values.tolist()
        _check(sorted({repr(v) for v in values if v not in HEMISPHERES}), f"hemispheres not in {HEMISPHERES}")


def _check_splits(train, stimuli):
    mask = train.values
    if len(mask) < 2:
        raise ValueError(
            "train has a single split; layers are chosen and scored on different ones: give two or more"
        )
    _check(train["split"].values[~mask.any(axis=1)], "splits without a training stimulus")
    _check(train["split"].values[mask.all(axis=1)], "splits without a test stimulus")
    if "group" in stimuli.columns:
        groups = stimuli.set_index("stimulus")["group"].reindex(train["stimulus"].values)
        share = train.to_pandas().T.groupby(groups.to_numpy()).mean()
        torn = share.index[((share > 0) & (share < 1)).any(axis=1)]
        _check(torn, "groups of stimuli that a split tears apart")


def _check_files(stimuli):
    if (stimuli["file"] == "").all():  # which `_check_table` has allowed
        return
    base = home() / "data"
    paths = [base / file for file in stimuli["file"]]
    _check((f for f in stimuli["file"] if f.startswith("/") or ".." in f.split("/")), f"files outside {base}")
    _check((p for p in paths if not p.is_file()), "stimulus files that are not there")
    wanted = zip(paths, stimuli["sha256"], strict=True)
    wrong = (p for p, sha256 in wanted if digest(p) != sha256)
    _check(wrong, "stimulus files whose content is not that of the table's sha256")
