"""Plug-ins are files: find them, name the nearest when one is missing, read their constants unexecuted."""

import ast
import difflib
import functools
import os
from pathlib import Path

FOLDERS = {
    kind: Path(__file__).resolve().with_name(name)
    for kind, name in (("model", "models"), ("target", "datasets"))
}
CONTROLS = ("permuted", "random")
FIRST = 3  # offenders a message names
# All that `ast` raises for texts that are no literals, or nested too deeply.
MALFORMED = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)
# What a person's own model need not say.
MODEL = {
    "COLOUR": "#777777", "TIME_AXIS": None, "CONTROLS": CONTROLS, "BUNDLED": True, "LICENCE": "not stated",
    "CITATION": "not stated", "INPUT": {},
}  # fmt: skip
BRAINS = ("component", "voxel", "rdm")  # kinds of data sets that have responses and stimuli
KINDS = (*BRAINS, "results")


def names(kind):
    """Names of all plug-ins of a kind, in alphabetical order; files starting with `_` do not count.

    A file is one plug-in, called like the file, or a family of them: one per key of its VARIANTS.

    Parameters
    ----------
    kind : {"model", "target"}

    Returns
    -------
    list of str
    """
    return sorted(_files(kind))


def path(kind, name):
    """File of a plug-in; a control suffix (`.permuted`, `.random`) is ignored.

    Parameters
    ----------
    kind : {"model", "target"}
    name : str
        A model may also be a path to a Python file, of the form of those in `lib/models`.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        If there is no such plug-in; the message holds the nearest valid names.
    """
    stem = split_control(name)[0] if kind == "model" else name
    if kind == "model" and stem.endswith(".py"):
        try:
            file = Path(stem).expanduser().resolve()
        except RuntimeError as error:  # no such person's home, or links in a circle
            raise ValueError(f"there is no file {stem!r}: {error}") from error
        if not file.is_file():
            raise ValueError(f"there is no file {file}; a model is a name, or a path to a Python file")
        return file
    own = FOLDERS[kind] / f"{stem}.py"
    # Found without looking at all others, unless it is one of a family.
    alone = own.parent == FOLDERS[kind] and not stem.startswith("_") and os.path.isfile(own)
    if alone and "VARIANTS" not in constants(own):
        return own
    found = _files(kind)
    require(stem, sorted(found), kind)
    return found[stem]


def about(kind, name):
    """Constants of a plug-in; of a member of a family, its own over those that all share.

    What a model leaves out is as in MODEL, and its LABEL is the name of its file.

    Parameters
    ----------
    kind : {"model", "target"}
    name : str
        A control suffix is ignored.

    Returns
    -------
    dict
        Upper-case names and their values.

    Raises
    ------
    ValueError
        If there is no such plug-in, with the nearest valid names, or a constant is another than it can be.
    """
    file = path(kind, name)
    known = constants(file)
    stem = split_control(name)[0] if kind == "model" else name
    shared = {"LABEL": file.stem, **MODEL} if kind == "model" else {"PLANTED": False}
    found = shared | known | _variants(file).get(stem, {})
    _check(kind, file, found)
    return found


def _check(kind, file, found):
    """Raise unless what is relied on is as it should be."""
    for name, (wanted, right) in (NEEDED[kind] | OPTIONAL).items():
        if name in found and not wanted(found[name]):
            raise ValueError(f"{file}: {name} is {found[name]!r}; it must be {right}")


def _is_names(value):
    """Whether a value is a sequence of texts."""
    return isinstance(value, tuple | list) and all(isinstance(v, str) and v for v in value)


def _one_of(valid):
    """Test for being one of some texts, and what to say."""
    return lambda value: isinstance(value, str) and value in valid, f"one of {', '.join(valid)}"


LIST = _is_names, "a tuple of texts, none empty"
FLAG = (lambda value: isinstance(value, bool)), "True or False"
TEXT = (lambda value: isinstance(value, str)), "a text"
TABLE = (lambda value: isinstance(value, dict)), "a dictionary"
# What is relied on before a plug-in is run: constant, test of its value, what is right.
NEEDED = {
    "model": {
        "MODALITY": _one_of(("audio", "vision")),
        "LAYERS": (
            lambda value: isinstance(value, str) or _is_names(value),
            "a text, or a tuple of texts, none empty",
        ),
        "CONTROLS": (lambda value: _is_names(value) and {*value} <= {*CONTROLS}, f"some of {CONTROLS}"),
        **dict.fromkeys(("LABEL", "COLOUR", "LICENCE", "CITATION"), TEXT),
        "BUNDLED": FLAG,
        "INPUT": TABLE,
    },
    "target": {
        "MODALITY": _one_of(("audio", "vision", "both")),
        "KIND": _one_of(KINDS),
        "PLANTED": FLAG,
    },
}
# What a plug-in may leave out, but not have otherwise.
OPTIONAL = {"WITHOUT": LIST, "TARGETS": LIST, "SHARES": LIST, "COUNTS": TABLE, "PARTS": TABLE}


def _files(kind):
    """File of each plug-in by its name."""
    found = {}
    for file in sorted(FOLDERS[kind].glob("[!_]*.py")):
        for name in _variants(file) or (file.stem,):
            if found.setdefault(name, file) != file:
                raise ValueError(f"{kind} {name!r} is defined in {found[name].name} and in {file.name}")
    return found


def _variants(file):
    """Members of a family and their own constants; empty if a plug-in is none."""
    found = constants(file).get("VARIANTS", {})
    sound = isinstance(found, dict) and all(isinstance(v, dict) for v in found.values())
    if not sound or not all(isinstance(name, str) and name for name in found):
        raise ValueError(f"{file}: VARIANTS must be a dictionary, name → constants, not {found!r}"[:400])
    return found


def split_control(name):
    """Split a model's name into plug-in and control: `("crepe_tiny", "permuted")`, or control "" if none."""
    stem, dot, control = name.rpartition(".")
    if not dot or control == "py":
        return name, ""
    require(control, CONTROLS, "control suffix")
    return stem, control


def require(name, valid, what):
    """Raise ValueError naming the nearest valid names unless `name` is one of them.

    Parameters
    ----------
    name : str
    valid : iterable of str
    what : str
        What the name is of, for the message.

    Returns
    -------
    str
        The name, unchanged.

    Raises
    ------
    ValueError
        If `name` is not in `valid`.
    """
    valid = list(valid)
    if name in valid:
        return name
    near = difflib.get_close_matches(str(name), valid, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are: {', '.join(valid) or 'none'}"
    raise ValueError(f"unknown {what} {name!r}; {hint}")


def first(offenders, *, between=", "):
    """The first three of some names, and how many more there are, for a message.

    Parameters
    ----------
    offenders : iterable
    between : str

    Returns
    -------
    str
        Empty if there are none.
    """
    offenders = [str(offender) for offender in offenders]
    more = f" and {len(offenders) - FIRST} more" if len(offenders) > FIRST else ""
    return between.join(offenders[:FIRST]) + more


def constants(file):
    """Module-level literals of a plug-in, read from its source without running it.

    Parameters
    ----------
    file : str or pathlib.Path

    Returns
    -------
    dict
        Upper-case names and their values; names bound to anything but a literal are left out.

    Raises
    ------
    SyntaxError, ValueError
        If the file is no Python.
    """
    file = Path(file)
    return dict(_constants(file, file.stat().st_mtime_ns, file.stat().st_size))


@functools.lru_cache(maxsize=1 << 15)
def _constants(file, *_state):
    """As `constants`; read again when the file's state is another."""
    found = {}
    try:
        body = ast.parse(file.read_bytes(), filename=str(file)).body
    except MALFORMED as error:
        if isinstance(error, SyntaxError) and error.filename:
            raise
        raise ValueError(f"{file} is no Python: {str(error) or 'it is nested too deeply'}") from error
    for node in body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id.isupper()
        ):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except MALFORMED:
                continue
    return found


def called(name):
    """Name of a model for folders: of a path to a Python file, the file's, with the control if there is one."""
    stem, control = split_control(name)
    return Path(stem).stem + (f".{control}" if control else "") if stem.endswith(".py") else name


def catalogue(kind, more=()):
    """Constants of every value that a swept parameter can take.

    Parameters
    ----------
    kind : {"model", "target"}
    more : iterable of str
        Further names: models that are paths to Python files.

    Returns
    -------
    dict
        Value → constants of its plug-in. A model counts once as it is (`CONTROL` is "") and once per control
        that it offers: `crepe_tiny`, `crepe_tiny.permuted`, …

    Raises
    ------
    ValueError
        If a constant that is needed is missing, is no literal, or is another than it can be.
    """
    found = {}
    for name in (*names(kind), *more):
        known = about(kind, name)
        for lacking in [name for name in NEEDED[kind] if name not in known]:
            where, right = path(kind, name), NEEDED[kind][lacking][1]
            raise ValueError(f"{where}: {lacking} is missing, or no literal; it must be {right}")
        for control in ("", *known.get("CONTROLS", ())):
            found[f"{name}.{control}" if control else name] = known | {"CONTROL": control}
    return found
