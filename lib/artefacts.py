"""Where results live, and how they are read and written: complete or not at all."""

import contextlib
import csv
import hashlib
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import xarray as xr

from lib import damage, plugins, records

ROOT = Path(__file__).resolve().parents[1]
# Columns of names: text in every table, whatever it looks like; 007, 1e5 and True are names of stimuli.
NAMES = (
    *(
        "stimulus",
        "stimulus_2",
        "voxel",
        "subject",
        "roi",
        "region",
        "layer",
        "model",
        "target",
        "participant",
    ),
    *("group", "network", "judge", "generator", "name", "file", "original_file", "url", "sha256"),
)
# Until pandas 3.1 reads all digits by itself.
PRECISE = {} if [*map(int, pd.__version__.split(".")[:2])] >= [3, 1] else {"float_precision": "round_trip"}
HOLLOW_BYTES = 1 << 16  # of variables that are packed if they are hollow; less is not worth it
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


def file_name(name):
    """A layer's or stimulus' name as a part of a path that every system allows, `conv1` as it is.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
        With `%` and two hexadecimal digits in place of a character that Windows refuses or a path would split at.
    """
    return re.sub(r'[<>:"/\\|?*%\x00-\x1f]', lambda found: f"%{ord(found[0]):02X}", name)


def predictions(folder, layer):
    """Path of the file that holds a layer's predictions, or what was decoded of it: `<folder>/predictions/<layer>.nc`.

    Parameters
    ----------
    folder : pathlib.Path
        Of a result.
    layer : str

    Returns
    -------
    pathlib.Path
    """
    return folder / "predictions" / f"{file_name(layer)}.nc"


def there(path):
    """A file of a result, or an error that says which step makes it.

    Parameters
    ----------
    path : str or pathlib.Path

    Returns
    -------
    pathlib.Path
        The same, if there is such a file.

    Raises
    ------
    FileNotFoundError
        If there is none; of a file in the folder of a step the message names the notebook and the command that
        make it.
    """
    path, data = Path(path), home() / "data"
    if path.is_file():
        return path
    step, *swept = path.relative_to(data).parts[:-1] or [""] if path.is_relative_to(data) else [""]
    names = ["target"] if len(swept) == 1 else ["model", "target"]
    for notebook in (ROOT / "notebooks").glob(f"[0-9]*_{step}.ipynb"):
        which = list(zip(names, swept, strict=False))
        settings = " and ".join(f'{name} = "{value}"' for name, value in which)
        options = " ".join(f"--{name} {value}" for name, value in which)
        raise FileNotFoundError(
            f"{path} is not there yet: run notebook {notebook.stem} with {settings} first, or "
            f"`python run_all.py {step} {options}`"
        )
    raise FileNotFoundError(f"there is no file {path}")


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

    Large variables of which a quarter or more is NaN, such as predictions of held-out stimuli, are packed (deflate).

    Parameters
    ----------
    dataset : xarray.Dataset
    path : str or pathlib.Path
        Ends in `.nc`.
    """
    hollow = {
        name: {"zlib": True, "complevel": 1, "shuffle": True}
        for name, variable in dataset.data_vars.items()
        if variable.dtype.kind == "f" and variable.nbytes >= HOLLOW_BYTES and _hollow(variable.values)
    }
    with atomic(path) as part:
        dataset.to_netcdf(part, engine="h5netcdf", encoding=hollow)


def load(path):
    """Read a labelled data set into memory.

    Parameters
    ----------
    path : str or pathlib.Path

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    FileNotFoundError
        If there is no such file; the message says what makes it.
    ValueError
        If it is damaged, or no such file.
    """
    from lib import hdf5  # takes longer to import than it takes to find everything fresh

    path = there(path)
    advice = "is damaged, or no netCDF file; delete it, and run its step again"
    with damage.named(path, advice), hdf5.opened(path, whole=True):
        return xr.load_dataset(path, engine="h5netcdf")


def save_table(table, path):
    """Write a tidy table as CSV, such that `load_table` gives it back.

    Parameters
    ----------
    table : pandas.DataFrame
        Its index is not written.
    path : str or pathlib.Path
    """
    text = table.to_csv(index=False, lineterminator="\n")
    if "\r" in text:  # which would end a line if it did not stand between quotes
        text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def stacked(tables):
    """Tables below one another.

    Parameters
    ----------
    tables : iterable of pandas.DataFrame
        Those without rows, and columns in which all is missing, have no say in the types of the columns.

    Returns
    -------
    pandas.DataFrame
        Rows numbered anew; columns in the order in which they first come; NaN where a table lacks one.
    """
    tables = list(tables)
    columns = list(dict.fromkeys(name for table in tables for name in table))
    filled = [table.dropna(axis=1, how="all") for table in tables if len(table)]
    found = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
    return found.reindex(columns=columns)


def load_table(path, **types):
    """Read a tidy table.

    Parameters
    ----------
    path : str or pathlib.Path
        CSV with a header.
    **types
        Types of columns, by name; None: guessed, as are all others but those of NAMES, which are text.

    Returns
    -------
    pandas.DataFrame
        NaN where nothing is written. In columns of text all else is text: a stimulus may be called NA.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no table in UTF-8: columns without a name or with the same one, rows longer or shorter than the
        header, quotes that do not close, values that are not of the types wanted; the message names file and line.
    """
    columns, rows = _cells(there(path))
    types = dict.fromkeys(NAMES, str) | types
    types = {name: types[name] for name in columns if types.get(name)}
    missing = {name: [""] if types.get(name) in (str, "category") else MISSING for name in columns}
    stream = io.StringIO(newline="")
    csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([columns, *rows])
    stream.seek(0)
    how = {"keep_default_na": False, "na_values": missing} | PRECISE
    try:
        with np.errstate(invalid="ignore"):  # pandas tries, warns and then refuses
            return pd.read_csv(stream, dtype=types, **how)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} has other values than {types}: {error}") from error


def load_texts(path, columns=()):
    """Read a tidy table, all of it as text.

    Parameters
    ----------
    path : str or pathlib.Path
        CSV with a header.
    columns : iterable of str
        That must be there.

    Returns
    -------
    pandas.DataFrame
        "" where nothing is written.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load_table`; or if columns are lacking.
    """
    there, rows = _cells(Path(path))
    if lacking := [name for name in columns if name not in there]:
        raise ValueError(
            f"{path} lacks columns {plugins.first(lacking)}; it has {', '.join(map(repr, there))}"
        )
    return pd.DataFrame(rows, columns=there, dtype=str)


def _hollow(values):
    """Whether a quarter or more is NaN."""
    return np.isnan(values).mean() >= 1 / 4


def _cells(path):
    """Names of the columns and cells of each row, as text; empty lines do not count."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            columns = next(reader, [])
            rows = [(reader.line_num, row) for row in reader if row]
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not in UTF-8 ({error}); spreadsheets call that CSV UTF-8") from error
        except csv.Error as error:
            raise ValueError(f"{path} is no table; line {reader.line_num}: {error}") from error
    if not all(columns) or len(set(columns)) < len(columns) or not columns:
        raise ValueError(f"{path} needs a header that names each column, once; it has {columns}")
    odd = [f"line {line} has {len(row)}" for line, row in rows if len(row) != len(columns)]
    odd += [f"line {line} has a NUL byte" for line, row in rows if any("\0" in cell for cell in row)]
    if odd:
        raise ValueError(f"{path} has a header of {len(columns)} cells, but {plugins.first(odd)}")
    return columns, [row for _, row in rows]


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
    """Read a JSON record.

    Parameters
    ----------
    path : str or pathlib.Path

    Returns
    -------
    dict or list, or whatever it holds

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no JSON in UTF-8, or nested too deeply; the message names the file.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON in UTF-8: {error}") from error


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
        json.dumps(found, ensure_ascii=False).encode()  # half a character could be told to nobody
    except (OSError, ValueError):
        return {}
    return found if records.is_valid(found) else {}


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
    made = {file.parent: record(file.parent).get("parameters") for file in directory(step).rglob("run.json")}
    made = {folder: parameters for folder, parameters in made.items() if parameters is not None}
    files = {str(p["model"]) for p in made.values() if ".py" in str(p.get("model"))}
    files = {name.rpartition(".py")[0] + ".py" for name in files}
    more = {"model": [file for file in files if os.path.isfile(file)]}
    known = {kind: plugins.catalogue(kind, more.get(kind, ())) for kind in plugins.FOLDERS}
    found = []
    for folder, parameters in sorted(made.items()):
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
