"""Stimuli that come by form or by hand: used where they are, left out where they are not."""

import os
import shutil
from pathlib import Path, PurePosixPath

import pandas as pd

from lib.artefacts import atomic, digest, home
from lib.download import placed


def listed(folder, suffix):
    """Files that somebody has put into a folder.

    Parameters
    ----------
    folder : str
        Relative, with slashes; below `data/raw` and below `$DATA_MIRROR`.
    suffix : str
        How their names end.

    Returns
    -------
    list of str
        `<folder>/<name>`, sorted as text; hidden files do not count. Empty if there is no such folder.
    """
    places = [home() / "data" / "raw"]
    places += [Path(os.environ["DATA_MIRROR"])] if os.environ.get("DATA_MIRROR") else []
    found = {path.name for place in places for path in (place / folder).glob(f"[!.]*{suffix}")}
    return [str(PurePosixPath(folder) / name) for name in sorted(found)]


def stimuli(names, paths, advice):
    """Table of stimuli, whose files are there all or none.

    Parameters
    ----------
    names : sequence of str
        Identifiers.
    paths : sequence of str
        File of each, as `lib.download.placed` wants it. Those in the mirror are copied to `data/raw`.
    advice : str
        Where to ask for them.

    Returns
    -------
    pandas.DataFrame
        stimulus, file, sha256, in the given order; the latter two "" if no file is there.

    Raises
    ------
    lib.download.DownloadError
        If only some of the files are there, or one has changed.
    """
    table = pd.DataFrame({"stimulus": list(names), "file": "", "sha256": ""})
    suffixes = {(str(PurePosixPath(path).parent), PurePosixPath(path).suffix) for path in paths}
    there = {path for folder, suffix in suffixes for path in listed(folder, suffix)}
    if there.isdisjoint(paths):
        return table
    found = [_local(path, at) for path, at in placed(paths, advice).items()]
    table["file"] = [path.relative_to(home() / "data").as_posix() for path in found]
    table["sha256"] = [digest(path) for path in found]
    return table


def _local(name, path):
    """The file below `data/raw`."""
    local = home() / "data" / "raw" / name
    if path != local:
        with atomic(local) as part:
            shutil.copyfile(path, part)
    return local
