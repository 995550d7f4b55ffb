"""Your own data set: a folder of stimuli, responses and voxels becomes a target."""

import unicodedata

import pandas as pd
import xarray as xr

from lib import damage, folds, hdf5, plugins, unpickle
from lib.artefacts import digest, home, load_table
from lib.plugins import first
from lib.stimuli import PICTURES, SOUNDS, rate

AXES = ("repeat", "stimulus", "voxel")
SUFFIXES = {"audio": SOUNDS, "vision": PICTURES}
PLACES = ("x", "y", "z")
RESERVED = (
    *AXES,
    "split",
    "train",
    "response",
)  # names in the responses that no column of voxels.csv may take


def load(folder):
    """Responses and stimuli of the folder `data/own/<name>`, joined by identifier.

    The folder holds `stimuli/` (sounds or pictures; a stimulus is called like its file, without the ending,
    unless `stimuli.csv` with columns stimulus, file says otherwise), `voxels.csv` (voxel, subject, roi, and
    if known x, y, z in mm and hemisphere) and the responses, as one of

    - `responses.h5`: `response` with its axes named (netCDF dimensions as xarray writes them, or attribute
      `dims` = "repeat stimulus voxel", in any order), and `stimulus` and `voxel`, the identifiers along them;
    - `responses.npy`: repeat × stimulus × voxel, in the order of the rows of `stimuli.csv` and `voxels.csv`.

    `splits.csv` (stimulus, then one column per split: 1 trains, 0 tests) is optional; without it ten random
    halves are drawn that keep stimuli of one `group` (a column of `stimuli.csv`) together.

    Parameters
    ----------
    folder : pathlib.Path
        Of the download step; its name is the data set's.

    Returns
    -------
    responses : xarray.Dataset
    stimuli : pandas.DataFrame
        Both as `lib.contract.validate` wants them.

    Raises
    ------
    FileNotFoundError
        If a file of the layout is missing.
    ValueError
        If a table is damaged, identifiers differ, occur twice or look alike, a stimulus has no group though others
        have, axes are in another order, responses are missing without
        attribute `missing` of `response` saying why, or sounds have different rates; the message names the
        first offenders and what would be right.
    """
    place = home() / "data" / "own" / folder.name
    modality = plugins.about("target", folder.name)["MODALITY"]
    stimuli = _stimuli(place, SUFFIXES[modality])
    voxels = _table(place / "voxels.csv", ("voxel", "subject", "roi"))
    _unique(voxels["voxel"], place / "voxels.csv")
    taken = [c for c in voxels.columns if c != "voxel" and c in RESERVED]
    if taken:
        raise ValueError(f"{place / 'voxels.csv'} has columns of reserved names; rename {first(taken)}")
    response = _response(place, stimuli["stimulus"].tolist(), voxels["voxel"].tolist())
    _complete(response)
    responses = xr.Dataset({"response": response, "train": _train(place, stimuli)})
    return responses.assign_coords(_per_voxel(voxels)), stimuli


def _table(file, columns):
    """Table with the columns wanted, as text."""
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; it is a table with columns {', '.join(columns)}")
    table = load_table(file, **dict.fromkeys(columns, str)).fillna(dict.fromkeys(columns, ""))
    lacking = [c for c in columns if c not in table.columns]
    if lacking:
        odd = "; commas are wanted between columns" if len(table.columns) == 1 else ""
        raise ValueError(
            f"{file} lacks columns {first(lacking)}; it has {first(map(repr, table.columns))}{odd}"
        )
    return table


def _unique(names, where):
    twice = names[names.duplicated()].unique()
    if len(twice) or (names == "").any():
        raise ValueError(
            f"{where}: identifiers occur more than once or are empty: {first(twice) or repr('')}"
        )
    # As people read them: é is one sign or two, and a blank at the end is none.
    seen = names.map(lambda name: " ".join(unicodedata.normalize("NFC", name).split()))
    alike = names[seen.duplicated(keep=False)]
    if len(alike):
        raise ValueError(f"{where}: identifiers look alike: {first(map(ascii, alike))}; rename them")


def _stimuli(place, suffixes):
    """Table of the stimuli, with digests of their files."""
    files = sorted(p for p in (place / "stimuli").rglob("*") if p.is_file() and not p.name.startswith("."))
    if not files:
        raise FileNotFoundError(f"{place / 'stimuli'} holds no stimuli; put the files {suffixes} there")
    odd = [p.name for p in files if p.suffix.lower() not in suffixes]
    if odd:
        raise ValueError(f"{place / 'stimuli'}: files that are none of {suffixes}: {first(odd)}")
    if (place / "stimuli.csv").exists():
        table = _table(place / "stimuli.csv", ("stimulus", "file"))
        files = [place / "stimuli" / file for file in table["file"]]
        inside = [p.is_file() and (place / "stimuli") in p.parents for p in files]
        gone = [s for s, there in zip(table["stimulus"], inside, strict=True) if not there]
        if gone:
            raise ValueError(f"stimuli of stimuli.csv without a file in {place / 'stimuli'}: {first(gone)}")
    else:
        table = pd.DataFrame({"stimulus": [p.stem for p in files]})
    _unique(table["stimulus"], f"stimuli of {place}")
    if "group" in table and table["group"].isna().any():
        bare = table["stimulus"][table["group"].isna()]
        raise ValueError(f"{place / 'stimuli.csv'}: stimuli without a group: {first(bare)}; each needs one")
    if suffixes is SOUNDS:
        _one_rate(files)
    data = home() / "data"
    return table.assign(file=[p.relative_to(data).as_posix() for p in files], sha256=[*map(digest, files)])


def _one_rate(files):
    rates = pd.Series({p.name: rate(p) for p in files})
    usual = rates.mode()[0]
    if (rates != usual).any():
        odd = (f"{name} ({rate} Hz)" for name, rate in rates[rates != usual].items())
        raise ValueError(
            f"sounds differ in sampling rate; most have {usual} Hz, but {first(odd)}: were they all played "
            f"as they are? Resample them to one rate"
        )


def _response(place, stimuli, voxels):
    """Responses with named axes, in the order of the tables."""
    if (place / "responses.h5").exists():
        response = _from_hdf5(place / "responses.h5")
    elif (place / "responses.npy").exists():
        response = _from_npy(place, stimuli, voxels)
    else:
        raise FileNotFoundError(f"{place} holds neither responses.h5 nor responses.npy")
    for axis, wanted, table in (("stimulus", stimuli, "stimuli"), ("voxel", voxels, "voxels.csv")):
        _unique(pd.Series(response[axis].values), f"axis {axis} of the responses in {place}")
        found = set(response[axis].values)
        if found != set(wanted):
            raise ValueError(
                f"{axis} identifiers of responses and {table} in {place} differ; only in the responses: "
                f"{first(sorted(found - set(wanted))) or 'none'}; only in {table}: "
                f"{first(sorted(set(wanted) - found)) or 'none'}"
            )
    return response.sel(stimulus=stimuli, voxel=voxels).transpose(*AXES)


def _from_hdf5(path):
    hdf5.tried(path)
    with damage.named(path), hdf5.opened(path) as file:
        lacking = [n for n in ("response", "stimulus", "voxel") if n not in file]
        if lacking:
            raise ValueError(f"{path} lacks {first(lacking)}; it holds {first(file)}")
        values, attrs = hdf5.values(file["response"]), file["response"].attrs
        names = {axis: _identifiers(file[axis]) for axis in AXES[1:]}
        scales = [d[0].name.rpartition("/")[2] if len(d) else d.label for d in file["response"].dims]
        dims = [str(n) for n in (str(attrs["dims"]).split() if "dims" in attrs else scales)]
        kept = {k: str(attrs[k]) for k in ("missing", "units") if k in attrs}
    if sorted(dims) != sorted(AXES):
        raise ValueError(f"axes of response in {path} are named {dims}; they must be {AXES}, in any order")
    wrong = [f"{a} {values.shape[dims.index(a)]}, not {len(n)}" for a, n in names.items()
             if values.shape[dims.index(a)] != len(n)]  # fmt: skip
    if wrong:
        raise ValueError(f"response in {path} is {values.shape} along {dims}: {first(wrong)}; axes swapped?")
    coords = names | {"repeat": range(values.shape[dims.index("repeat")])}
    return xr.DataArray(_real(values, path), dims=dims, coords=coords, attrs=kept)


def _identifiers(dataset):
    """Text along an axis; whole numbers as `voxels.csv` and `stimuli.csv` write them."""
    return [str(n) for n in (dataset[()] if dataset.dtype.kind in "iu" else dataset.asstr()[()]).tolist()]


def _real(values, path):
    """The same numbers in double precision, if they are such."""
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{path} holds responses of type {values.dtype}; they must be real numbers")
    return values.astype(float)


def _from_npy(place, stimuli, voxels):
    path = place / "responses.npy"
    if not (place / "stimuli.csv").exists():
        raise FileNotFoundError(
            f"{place / 'stimuli.csv'} is missing; it says which row of {path.name} is what"
        )
    values, sizes = unpickle.npy(path), {"stimulus": len(stimuli), "voxel": len(voxels)}
    wanted = f"repeat × {sizes['stimulus']} stimuli × {sizes['voxel']} voxels"
    if values.ndim != 3 or values.shape[1:] != tuple(sizes.values()):
        guess = [next((a for a, n in sizes.items() if n == length), "repeat") for length in values.shape]
        raise ValueError(f"{path} is {values.shape}, by its lengths {' × '.join(guess)}; it must be {wanted}")
    if len(set(values.shape)) < 3:
        raise ValueError(
            f"{path} is {values.shape}: two axes are of one length, so an exchange would go unseen; name the "
            f"axes in responses.h5 instead"
        )
    coords = {"repeat": range(len(values)), "stimulus": stimuli, "voxel": voxels}
    return xr.DataArray(_real(values, path), dims=AXES, coords=coords)


def _complete(response):
    """Raise where responses are missing without a reason."""
    gone = response.isnull()
    if "missing" in response.attrs or not gone.any():
        return
    advice = "leave them out, or say why in attribute `missing` of response in responses.h5"
    shown = (~gone.all("voxel")).sum("repeat")
    fewer = shown.stimulus[(shown < response.sizes["repeat"]).values].values
    if len(fewer):
        counts = (f"{s} ({shown.sel(stimulus=s).item()} of {response.sizes['repeat']})" for s in fewer)
        raise ValueError(f"stimuli with fewer repeats than others: {first(counts)}; {advice}")
    cells = gone.sum(["repeat", "stimulus"])
    counts = (f"{v} ({cells.sel(voxel=v).item()})" for v in response.voxel[(cells > 0).values].values)
    raise ValueError(f"voxels with responses that are NaN: {first(counts)}; {advice}")


def _train(place, stimuli):
    """Splits of the stimuli, as published or drawn."""
    names, dims = stimuli["stimulus"].tolist(), ("split", "stimulus")
    if not (place / "splits.csv").exists():
        halves = folds.half_splits(names, groups=stimuli.get("group"))
        return xr.DataArray(halves, dims=dims, coords={"split": range(len(halves))})
    table = _table(place / "splits.csv", ("stimulus",)).set_index("stimulus")
    odd = sorted({*table.index} ^ {*names}) or table.index[table.index.duplicated()].tolist()
    odd = odd or table.index[~table.isin([0, 1]).all(axis=1)].tolist()
    if odd:
        raise ValueError(
            f"{place / 'splits.csv'} must have each stimulus once, and 0 or 1 in each other column; offenders: "
            f"{first(odd)}"
        )
    values = table.loc[names].to_numpy().T.astype(bool)
    return xr.DataArray(values, dims=dims, coords={"split": range(len(values))})


def _per_voxel(voxels):
    """Columns of the table of voxels as coordinates."""
    others = voxels.drop(columns=["voxel", *PLACES], errors="ignore")
    # A list with text and NaN would become one with the text "nan".
    filled = {c: others[c].fillna("") for c in others if pd.api.types.is_string_dtype(others[c].dropna())}
    coords = {name: ("voxel", column.tolist()) for name, column in others.assign(**filled).items()}
    attrs = {"units": "mm", "space": "as given in voxels.csv"}
    for axis in [a for a in PLACES if a in voxels.columns]:
        odd = voxels["voxel"][pd.to_numeric(voxels[axis], errors="coerce").isna() & voxels[axis].notna()]
        if len(odd):
            raise ValueError(f"voxels.csv has something else than numbers in column {axis}: {first(odd)}")
    places = {a: ("voxel", voxels[a].astype(float), attrs) for a in PLACES if a in voxels.columns}
    return coords | places
