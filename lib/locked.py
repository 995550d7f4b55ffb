"""Hashes that nobody published: recorded when a file first comes, held to from then on."""

import csv
import logging
import re
from datetime import date
from typing import NamedTuple

import pandas as pd
from filelock import FileLock

from lib.artefacts import home, save_table

COLUMNS = ["url", "sha256", "size", "recorded"]


class Entry(NamedTuple):
    """What is recorded of one file."""

    sha256: str  # 64 hexadecimal digits
    size: int  # bytes
    recorded: str  # day, YYYY-MM-DD


def file():
    """Path of the lock file, `data/locked.csv`, whether it is there or not."""
    return home() / "data" / "locked.csv"


def entries():
    """All that is recorded.

    Returns
    -------
    dict
        `Entry` by address (or other key); empty if there is no lock file.

    Raises
    ------
    ValueError
        If the lock file is damaged; the message names the line.
    """
    if not file().is_file():
        return {}
    found, lines = {}, {}
    with file().open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream)
        try:
            if (header := next(reader, [])) != COLUMNS:
                raise ValueError(f"has columns {header} instead of {COLUMNS}")
            for row in filter(None, reader):
                key, entry = _entry(row)
                if key in found:
                    raise ValueError(f"repeats line {lines[key]}: {key}; delete one of the two")
                found[key], lines[key] = entry, reader.line_num
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{file()}, line {max(reader.line_num, 1)}: {error}") from error
    return found


def record(found):
    """Add files to the lock file, one writer at a time, and tell the log.

    Parameters
    ----------
    found : dict
        (sha256, size in bytes) by address.

    Raises
    ------
    ValueError
        If one of them is recorded with another content already, or the lock file is damaged.
    """
    file().parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file().with_name(".locked.csv.lock")):
        known = entries()
        for key, (sha256, size) in found.items():
            if key in known and known[key][:2] != (sha256, size):
                raise ValueError(f"{key} has sha256 {sha256} and {size} bytes. {accepting(key, known[key])}")
        new = {key: Entry(*content, date.today().isoformat()) for key, content in found.items()}
        new = {key: entry for key, entry in new.items() if key not in known}
        if new:
            rows = [(key, *entry) for key, entry in sorted((known | new).items())]
            save_table(pd.DataFrame(rows, columns=COLUMNS), file())
    for key, entry in new.items():
        logging.getLogger(__name__).info(
            "recorded in %s: %s has sha256 %s and %d bytes; from now on it must; commit that file",
            *(file(), key, entry.sha256, entry.size),
        )


def accepting(key, entry):
    """How to accept another content on purpose, in words.

    Parameters
    ----------
    key : str
        Address under which the file is recorded.
    entry : Entry

    Returns
    -------
    str
    """
    return (
        f"Nobody published this hash; {file()} holds sha256 {entry.sha256} ({entry.size} bytes) since "
        f"{entry.recorded}. To accept another content on purpose, delete the row of {key} there."
    )


def _entry(row):
    """Key and content of one line."""
    if len(row) != len(COLUMNS):
        raise ValueError(f"has {len(row)} cells instead of {len(COLUMNS)}: {','.join(row)[:80]}")
    key, sha256, size, recorded = row
    if not key:
        raise ValueError("names no url")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256.lower()):
        raise ValueError(f"has sha256 {sha256!r}, which is not 64 hexadecimal digits")
    if not re.fullmatch(r"[0-9]+", size):
        raise ValueError(f"has size {size!r}, which is no number of bytes")
    date.fromisoformat(recorded)
    return key, Entry(sha256.lower(), int(size), recorded)
