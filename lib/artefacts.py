"""Where results live, and how they are read and written: complete or not at all."""

import contextlib
import hashlib
import json
import os
from pathlib import Path

import pandas as pd
import psutil
import xarray as xr

from lib import plugins

ROOT = Path(__file__).resolve().parents[1]
# How others write in tables that there is no value.
MISSING = ("", "NA", "N/A", "n/a", "<NA>", "#N/A", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "None")

# The default join drops stimuli that do not match, silently; here a mismatch is an error.
xr.set_options(arithmetic_join="exact")


def home():
    """Folder that holds `data/` and `figures/`: `$COMPENDIUM_HOME`, or the repository itself."""
    return Path(os.environ.get("COMPENDIUM_HOME") or ROOT).resolve()


def directory(step, model=None, target=None, layer=None):
    """Folder of one result of a step.

    Parameters
    ----------
    step : str
        "download", "extract", … (the notebook's name without its number).
    model, target, layer : str, optional
        The swept parameters of the step.

    Returns
    -------
    pathlib.Path
        `data/<step>/<model>/<target>/<layer>`, or `figures` for the step of that name.
    """
    base = home() / "figures" if step == "figures" else home() / "data" / step
    return base.joinpath(*(part for part in (model and plugins.called(model), target, layer) if part))


@contextlib.contextmanager
def atomic(path):
    """Give a temporary path beside `path`; on success it takes its place, on failure it is removed.

    Parameters
    ----------
    path : str or pathlib.Path

    Yields
    ------
    pathlib.Path
        Hidden file in the same folder, with the same suffix.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{os.getpid()}.part.{path.name}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def save(dataset, path):
    """Write a labelled data set as netCDF4 that h5py opens too.

    Parameters
    ----------
    dataset : xarray.Dataset
    path : str or pathlib.Path
        Ends in `.nc`.
    """
    with atomic(path) as part:
        dataset.to_netcdf(part, engine="h5netcdf")


def load(path):
    """Read a labelled data set into memory.

    Parameters
    ----------
    path : str or pathlib.Path

    Returns
    -------
    xarray.Dataset
    """
    return xr.load_dataset(path, engine="h5netcdf")


def save_table(table, path):
    """Write a tidy table as CSV.

    Parameters
    ----------
    table : pandas.DataFrame
        Its index is not written.
    path : str or pathlib.Path
    """
    with atomic(path) as part:
        table.to_csv(part, index=False)


def load_table(path, **types):
    """Read a tidy table.

    Parameters
    ----------
    path : str or pathlib.Path
        CSV with a header.
    **types
        Types of columns, by name; others are guessed.

    Returns
    -------
    pandas.DataFrame
        NaN where nothing is written. In columns said to be of text all else is text: a stimulus may be called NA.
    """
    texts = [name for name, kind in types.items() if kind is str]
    if not texts:
        return pd.read_csv(path, dtype=types or None)
    missing = {name: [""] if name in texts else MISSING for name in pd.read_csv(path, nrows=0).columns}
    return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=missing)


def save_all(contents, folder):
    """Write several tables and labelled data sets, each under its name: `<name>.csv` or `<name>.nc`.

    Parameters
    ----------
    contents : dict
        Name → pandas.DataFrame or xarray.Dataset.
    folder : pathlib.Path
    """
    for name, content in contents.items():
        if isinstance(content, pd.DataFrame):
            save_table(content, folder / f"{name}.csv")
        else:
            save(content, folder / f"{name}.nc")


def save_json(value, path):
    """Write a record as indented JSON.

    Parameters
    ----------
    value : dict or list
        Of what JSON knows.
    path : str or pathlib.Path
    """
    with atomic(path) as part:
        part.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def load_json(path):
    """Read a JSON record."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def digest(path):
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def record(folder):
    """What a finished result was made from and holds, as written last by the runner.

    Parameters
    ----------
    folder : str or pathlib.Path

    Returns
    -------
    dict
        `code`, `parameters`, `inputs`, `outputs` and more; empty if no run has finished here, or the record
        cannot be read.
    """
    try:
        found = load_json(Path(folder) / "run.json")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return {}
    parts = ("code", "parameters", "inputs", "outputs")
    return found if isinstance(found, dict) and all(isinstance(found.get(p), dict) for p in parts) else {}


def finished(step):
    """All finished results of a step whose model and target still exist and fit.

    Parameters
    ----------
    step : str
        "download", "extract", …

    Returns
    -------
    list of dict
        The parameters of each result (`model`, `target`, … as swept, and those that were set by hand) and its
        `folder` (pathlib.Path), in the order of the folders' names.
    """
    records = {
        file.parent: record(file.parent).get("parameters") for file in directory(step).rglob("run.json")
    }
    records = {folder: parameters for folder, parameters in records.items() if parameters is not None}
    files = {str(p["model"]) for p in records.values() if ".py" in str(p.get("model"))}
    files = {plugins.split_control(name)[0] for name in files}
    more = {"model": [file for file in files if Path(file).is_file()]}
    known = {kind: plugins.catalogue(kind, more.get(kind, ())) for kind in plugins.FOLDERS}
    found = []
    for folder, parameters in sorted(records.items()):
        if any(parameters.get(kind) not in (None, *known[kind]) for kind in known):
            continue
        modalities = {known[k][parameters[k]].get("MODALITY") for k in known if k in parameters}
        if len(modalities) <= 1:
            found.append(parameters | {"folder": folder})
    return found


def sweep(folder):
    """Remove what processes that are gone left half-written in a folder.

    Parameters
    ----------
    folder : str or pathlib.Path
    """
    for part in Path(folder).rglob(".*.part.*"):
        pid = part.name.split(".")[1]
        if pid.isdecimal() and not _writes(int(pid), part):
            part.unlink(missing_ok=True)


def _writes(pid, part):
    """Whether a process that may have begun a file still runs."""
    try:
        process = psutil.Process(pid)
        reused = (
            process.create_time() > part.stat().st_mtime + 60
        )  # clocks of the two agree to a second or so
        return process.status() != psutil.STATUS_ZOMBIE and not reused
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False
