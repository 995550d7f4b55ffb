"""Whether a result comes out the same when it is made again: value by value, within a tolerance."""

import contextlib
import os
from pathlib import Path

import numpy as np
import pandas as pd

from lib import artefacts

# Of the largest absolute value of a variable or column: what other libraries and numbers of threads may change.
RTOL = 1e-5
COLUMNS = ["file", "quantity", "difference", "what"]
TABLES, LABELLED, PICTURES = (".csv",), (".nc",), (".png", ".pdf", ".html", ".gz")


@contextlib.contextmanager
def elsewhere(scratch, inputs):
    """Another home, in which the inputs of a result lie as links, so that it can be made again beside the first.

    Parameters
    ----------
    scratch : pathlib.Path
        An empty folder that becomes the home while the body runs.
    inputs : iterable of str
        Folders relative to the home, as in a result's record. Downloads (`data/raw`) and a person's own data
        (`data/own`) are linked as well.

    Yields
    ------
    pathlib.Path
        The scratch folder.
    """
    first, scratch = artefacts.home(), Path(scratch)
    for name in inputs:
        # File by file: results are looked for below folders, and such a search follows no link to a folder.
        for file in (f for f in (first / name).rglob("*") if f.is_file()):
            link = scratch / file.relative_to(first)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
    for name in ("data/raw", "data/own"):
        if (first / name).exists():
            (scratch / "data").mkdir(exist_ok=True)
            (scratch / name).symlink_to(first / name, target_is_directory=True)
    before = os.environ.get("COMPENDIUM_HOME")
    os.environ["COMPENDIUM_HOME"] = str(scratch)
    try:
        yield scratch
    finally:
        if before is None:
            del os.environ["COMPENDIUM_HOME"]
        else:
            os.environ["COMPENDIUM_HOME"] = before


def differences(stored, again, names, *, rtol=RTOL):
    """What differs between two makings of a result.

    Parameters
    ----------
    stored, again : pathlib.Path
        Folders of the two.
    names : iterable of str
        Files, relative to both.
    rtol : float
        Numbers are the same if they differ by no more than this share of the largest absolute value in their
        variable or column; NaN is the same as NaN. All else must be equal.

    Returns
    -------
    pandas.DataFrame
        One row per variable or column that differs: file, quantity ("" for the file as a whole), difference
        (the largest, as a share of the largest absolute value; NaN where it is not a matter of size) and what
        is different, in words. Figures are drawings of tables that are compared; that their bytes differ is no
        difference.
    """
    rows = []
    for name in sorted(names):
        pair = [folder / name for folder in (stored, again)]
        if not pair[1].is_file():
            rows.append((name, "", np.nan, "was not made again"))
        elif pair[0].suffix in TABLES + LABELLED:
            columns = [_columns(file) for file in pair]
            rows += [(name, *row) for row in _differing(*columns, rtol)]
        elif pair[0].suffix not in PICTURES and artefacts.digest(pair[0]) != artefacts.digest(pair[1]):
            rows.append((name, "", np.nan, "other bytes"))
    return pd.DataFrame(rows, columns=COLUMNS)


def _columns(file):
    """Variables and coordinates of a data set, or columns of a table, by name; arrays."""
    if file.suffix in TABLES:
        table = artefacts.load_table(file)
        return {column: table[column].to_numpy() for column in table}
    with artefacts.load(file) as dataset:
        return {str(name): values.values for name, values in dataset.variables.items()}


def _differing(old, new, rtol):
    """Name, largest difference and a word about it, of what is not the same."""
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new:
            yield name, np.nan, "is new" if name in new else "was not made again"
            continue
        a, b = old[name], new[name]
        numbers = all(np.issubdtype(values.dtype, np.number) for values in (a, b))
        if a.shape != b.shape:
            yield name, np.nan, f"shape {a.shape} → {b.shape}"
        elif numbers:
            share = _largest(a.astype(float), b.astype(float))
            if not share <= rtol:
                yield name, share, "other numbers" if np.isfinite(share) else "finite here, not there"
        elif not _same(a, b):
            yield name, np.nan, "other text"


def _largest(a, b):
    """Largest difference as a share of the largest absolute value; infinite where only one is finite."""
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)) or not _same(a[~finite], b[~finite]):
        return np.inf
    scale = np.abs(a[finite]).max(initial=0)
    gap = np.abs(a[finite] - b[finite]).max(initial=0)
    return gap / scale if scale else np.inf if gap else 0.0


def _same(a, b):
    """Whether two arrays hold the same, missing values being the same as missing values."""
    return bool(((a == b) | (pd.isna(a) & pd.isna(b))).all())
