"""The code behind a result: every file a notebook uses, as digests blind to comments and layout."""

import ast
import collections
import contextlib
import functools
import hashlib
import os
import re
from pathlib import Path

from lib.artefacts import ROOT, digest, load_json
from lib.plugins import MALFORMED


def scan(more=()):
    """Code of every notebook and every file of lib, comments, docstrings and layout aside.

    Parameters
    ----------
    more : iterable of pathlib.Path
        Further Python files, from elsewhere.

    Returns
    -------
    dict
        File (relative to the repository) → (SHA-256, files that it uses). Data files beside a module, named
        `<module>.<anything>`, count as used by it, byte by byte.
    """
    found, listed = {}, {}
    for file in [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "lib").rglob("*.py"), *more]:
        if file.parent not in listed:
            listed[file.parent] = _by_stem(file.parent)
        beside = [p for p in listed[file.parent][file.stem] if p != file] if file.suffix == ".py" else []
        found |= {_name(p): (digest(p), ()) for p in beside}
        tree = _tree(file)
        if tree is None:  # its job shall fail, with the traceback in its notebook, and no other
            found[_name(file)] = (digest(file), ())
            continue
        uses = {_name(p) for p in (*beside, *_imports(tree, file))}
        found[_name(file)] = (_digest(tree, file), tuple(sorted(uses)))
    return found


def _by_stem(folder):
    """Files of a folder by each part of their names that ends before a dot."""
    found = collections.defaultdict(list)
    for file in folder.iterdir():
        for dot in re.finditer(r"\.", file.name):
            found[file.name[: dot.start()]].append(file)
    return found


def _digest(tree, file):
    """SHA-256 of a syntax tree; of the file's bytes if it is nested too deeply to be written out."""
    try:
        return hashlib.sha256(ast.unparse(tree).encode("utf-8", "surrogatepass")).hexdigest()
    except RecursionError:
        return digest(file)


def cells(notebook):
    """Cells of a notebook.

    Parameters
    ----------
    notebook : pathlib.Path

    Returns
    -------
    list of tuple
        (type, source, tags), in order.

    Raises
    ------
    FileNotFoundError
        If there is no such notebook.
    ValueError
        If the file is no notebook.
    """
    found = load_json(notebook)
    try:
        made = [
            (cell["cell_type"], "".join(cell["source"]), list(cell.get("metadata", {}).get("tags", ())))
            for cell in found["cells"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{_name(notebook)} is no notebook: its cells lack type, source or tags") from error
    return made


def code(scanned, files):
    """Digests of some files and of all that they use, directly or not.

    Parameters
    ----------
    scanned : dict
        As `scan` returns it.
    files : iterable of pathlib.Path
        Notebook and plug-ins of a job.

    Returns
    -------
    dict
        File (relative to the repository) → SHA-256.
    """
    found, waiting = {}, [_name(file) for file in files]
    while waiting:
        file = waiting.pop()
        if file not in found and file in scanned:
            found[file], uses = scanned[file]
            waiting.extend(uses)
    return dict(sorted(found.items()))


def declared(notebook):
    """Parameters that a notebook declares, with their defaults.

    Parameters
    ----------
    notebook : pathlib.Path

    Returns
    -------
    dict
        Names and literals assigned in the cells tagged `parameters`.

    Raises
    ------
    FileNotFoundError
        If there is no such notebook.
    ValueError
        If the cell holds something other than literals.
    """
    if not notebook.exists():
        raise FileNotFoundError(f"{_name(notebook)} is missing, yet run_all's table of steps names it")
    state = notebook.stat()
    return dict(_declared(notebook, state.st_mtime_ns, state.st_size))


@functools.lru_cache(maxsize=64)
def _declared(notebook, *_state):
    """As `declared`; read again when the file's state is another."""
    found = {}
    for source in (source for _, source, tags in cells(notebook) if "parameters" in tags):
        try:
            body = ast.parse(source).body
        except MALFORMED as error:
            raise ValueError(f"{_name(notebook)}: the parameters cell is no Python: {error}") from error
        for node in body:
            try:
                (bound,) = node.targets
                found[bound.id] = ast.literal_eval(node.value)
            except (AttributeError, *MALFORMED) as error:
                raise ValueError(
                    f"{_name(notebook)}: the parameters cell holds `{ast.get_source_segment(source, node)}`; "
                    f"only `name = literal` is allowed there"
                ) from error
    return found


def accepted(defaults, values):
    """Those of some parameters that a notebook takes: it declares them, and they are of their defaults' types.

    Parameters
    ----------
    defaults : dict
        See `declared`.
    values : dict
        Name → value, as a record holds them: JSON has no tuples.

    Returns
    -------
    dict
    """
    alike = {name: list(d) if isinstance(d, tuple) else d for name, d in defaults.items()}
    return {
        name: value
        for name, value in values.items()
        if name in alike and (alike[name] is None or type(value) is type(alike[name]))
    }


def overrides(notebook, texts):
    """Values, other than the defaults, for those parameters that a notebook declares.

    Parameters
    ----------
    notebook : pathlib.Path
    texts : dict
        Name → value as text: a Python literal; anything else is taken as a string, and so is all that stands for
        a string, between quotes or not: 007 and None are names.

    Returns
    -------
    dict
        Name → value.

    Raises
    ------
    ValueError
        If a value is not of its default's type. A whole number may stand for a float, a list for a tuple;
        for None anything may.
    """
    defaults = declared(notebook)
    values = {name: _literal(text, defaults[name]) for name, text in texts.items() if name in defaults}
    for name, value in values.items():
        default = defaults[name]
        if default is not None and type(value) is not type(default):
            raise ValueError(
                f"parameter {name} of {_name(notebook)} is of type {type(default).__name__} ({default!r}), "
                f"not {type(value).__name__} ({value!r})"
            )
    return {name: value for name, value in values.items() if value != defaults[name]}


def _literal(text, like):
    """Value that a text stands for, turned into the type of `like` where nothing is lost."""
    try:
        value = ast.literal_eval(text)
    except MALFORMED:
        value = text
    if type(like) is str and type(value) is not str:
        return text
    for stands_in, wanted in ((int, float), (list, tuple), (tuple, list)):
        if type(value) is stands_in and type(like) is wanted:
            with contextlib.suppress(OverflowError):  # too large a number is of the wrong type
                return wanted(value)
    return value


def _name(file):
    """Path relative to the repository, or in full if the file lies elsewhere."""
    return (file.relative_to(ROOT) if ROOT in file.parents else file).as_posix()


def _tree(file):
    """Syntax tree of a module or notebook without docstrings; None if it is not Python."""
    try:
        if file.suffix == ".ipynb":
            tree = ast.parse("\n".join(source for kind, source, _ in cells(file) if kind == "code"))
        else:
            tree = ast.parse(file.read_bytes())
    except MALFORMED:
        return None
    for node in ast.walk(tree):
        holds = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if holds and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _imports(tree, file):
    """Files of lib that a syntax tree uses: imports of every form, and models that a data set names."""
    package = Path(_name(file)).parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _modules(tuple(alias.name.split(".")))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            for alias in node.names:
                yield from _modules((*base, *alias.name.split(".")))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "datasets" in package:
            # A planted data set is read out of a model that it loads by name.
            model = ROOT / "lib" / "models" / f"{node.value.partition('.')[0]}.py"
            if re.fullmatch(r"[\w.]+", node.value) and os.path.isfile(model):
                yield model


def _modules(parts):
    """Files run by importing a dotted name of lib: the module and every package on the way."""
    for n in range(1, len(parts) + 1) if parts[0] == "lib" else ():
        place = ROOT.joinpath(*parts[:n])
        yield from (f for f in (place.with_suffix(".py"), place / "__init__.py") if os.path.isfile(f))
