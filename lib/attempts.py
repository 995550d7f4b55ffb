"""A result that is made anew: the last one is set aside until the new one is complete.

Below a result's folder, `.previous` holds the last result while an attempt at a new one runs, and `.unfinished`
what an attempt had written when it failed or was killed. Every step is a renaming, and their order is such that
after a kill at any point `restore` knows where it was.
"""

import os
import shutil

from lib.artefacts import digest, load_json, record, save_json, sweep

PREVIOUS, UNFINISHED, NOTE = ".previous", ".unfinished", "attempt.json"
RECORD, COPY, FAILED = "run.json", "run.ipynb", "run.failed.ipynb"
# Not `run.json`: results are found by files of that name.
SET_ASIDE = {COPY: "copy.ipynb", RECORD: "record.json"}


def files(folder):
    """State of each file of a result; hidden ones and the run's own record and copies are left out.

    Parameters
    ----------
    folder : pathlib.Path

    Returns
    -------
    dict
        Name, relative to the folder → what changes when the file is written.
    """
    states = {}
    for file in folder.rglob("*"):
        name = file.relative_to(folder)
        own = len(name.parts) == 1 and (name.stem == "run" or name.name == FAILED)
        if file.is_file() and not own and not any(part.startswith(".") for part in name.parts):
            status = file.stat()
            states[name.as_posix()] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return dict(sorted(states.items()))


def pending(folder):
    """Whether an attempt at a result is running, or was killed and nobody has put the last result back."""
    return (folder / PREVIOUS).is_dir()


def begin(folder, depends):
    """Set the last result aside; put back what the last attempt had written, if it was at the very same.

    Parameters
    ----------
    folder : pathlib.Path
        Nobody else may be at work there.
    depends : dict
        Of JSON: all that the result depends on.

    Returns
    -------
    dict
        States, as `files` gives them, of what lies there besides: put there by a person.
    """
    restore(folder)
    sweep(folder)
    (folder / FAILED).unlink(missing_ok=True)
    same = _noted(folder / UNFINISHED).get("depends") == depends
    if not same:
        shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    outputs = record(folder).get("outputs", ())
    (folder / PREVIOUS).mkdir()
    # The record goes first and comes back last: where there is one, all that it lists is in place.
    for name in reversed(SET_ASIDE):
        _move(folder / name, folder / PREVIOUS / SET_ASIDE[name])
    for name in outputs:
        if folder.resolve() in (folder / name).resolve().parents:
            _move(folder / name, folder / PREVIOUS / "files" / name)
    before = files(folder)
    note = {"depends": depends, "before": {name: digest(folder / name) for name in before}}
    save_json(note, folder / PREVIOUS / NOTE)
    if same:
        _move_all(folder / UNFINISHED / "files", folder)
        shutil.rmtree(folder / UNFINISHED)
    return before


def restore(folder):
    """Put the last result back, unless the new one is complete: then remove it. Do nothing if there was no attempt.

    What an attempt that failed or was killed wrote is kept aside for one at the very same, and its executed copy
    as `run.failed.ipynb`. What a person puts into the folder while an attempt runs, or after a kill, counts as
    written by it.

    Parameters
    ----------
    folder : pathlib.Path
        Nobody else may be at work there.
    """
    previous = folder / PREVIOUS
    if not previous.is_dir():
        return
    sweep(folder)
    if not (folder / RECORD).exists():  # else the attempt was complete, or nothing has been moved yet
        if (previous / NOTE).exists():
            _set_unfinished_aside(folder)
        _move_all(previous / "files", folder)
        for name, aside in SET_ASIDE.items():
            _move(previous / aside, folder / name)
    shutil.rmtree(previous)


def _set_unfinished_aside(folder):
    """Move what an attempt has written out of the way, its note last."""
    note, unfinished = folder / PREVIOUS / NOTE, folder / UNFINISHED
    before = _noted(note.parent).get("before")
    there = {} if before is None else files(folder)  # a note that cannot be read: nothing is touched
    written = [name for name in there if name not in before or digest(folder / name) != before[name]]
    try:
        for name in written:
            _move(folder / name, unfinished / "files" / name)
    except OSError:  # a disk so full that it takes no folder: the last result is worth more
        for name in written:
            (folder / name).unlink(missing_ok=True)
    _move(folder / COPY, folder / FAILED)
    # From here on what lies in the folder is the last result's, or a person's.
    if unfinished.is_dir():
        os.replace(note, unfinished / NOTE)
    else:
        note.unlink()


def _noted(folder):
    """What was noted of an attempt; empty if nothing was, or it cannot be read."""
    try:
        return load_json(folder / NOTE)
    except (FileNotFoundError, ValueError):
        return {}


def _move_all(folder, destination):
    """Move every file of a folder to the same name elsewhere."""
    for file in [file for file in folder.rglob("*") if not file.is_dir()]:
        _move(file, destination / file.relative_to(folder))


def _move(file, destination):
    """Rename a file if it is there."""
    if file.exists() or file.is_symlink():
        destination.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, destination)
