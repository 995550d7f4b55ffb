"""What a record of a finished result must be like, whoever wrote it, before anything believes it."""

from pathlib import PurePosixPath

PARTS = ("code", "parameters", "inputs", "outputs")
SWEPT = ("model", "target", "layer")
LONGEST_S = 1e9  # 30 years
LONGEST_NAME = 255  # bytes; file systems take no more


def is_valid(found):
    """Whether a value read from JSON is the record of a finished result.

    Parameters
    ----------
    found : object

    Returns
    -------
    bool
        True for a dictionary with `code` and `outputs` (file → digest), `parameters` (name → value; names of model,
        target and layer are text), `inputs` (folder → file → digest), and if there are any, `seconds` (0 or more)
        and `versions` (package → text); outputs lie below the record's folder.
    """
    if not isinstance(found, dict) or not all(isinstance(found.get(part), dict) for part in PARTS):
        return False
    tables = [found["code"], found["outputs"], found.get("versions", {}), *found["inputs"].values()]
    tables.append({name: value for name, value in found["parameters"].items() if name in SWEPT})
    texts = all(isinstance(t, dict) and all(isinstance(v, str) for v in t.values()) for t in tables)
    seconds = found.get("seconds", 0)
    timed = isinstance(seconds, int | float) and 0 <= seconds < LONGEST_S
    return texts and timed and all(map(_is_inside, found["outputs"]))


def _is_inside(name):
    """Whether a path can be that of a file below a folder."""
    parts = PurePosixPath(name).parts
    short = all(len(part.encode()) <= LONGEST_NAME for part in parts)
    return bool(parts) and short and not {"/", ".."} & set(parts) and "\0" not in name
