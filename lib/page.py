"""One page of all figures and numbers, each with a way to the notebook, code, inputs and versions behind it."""

import base64
import gzip
import html
import json
import re
from pathlib import Path

from lib import sources
from lib.artefacts import atomic, home, load_table, record

TEMPLATE = Path(__file__).with_suffix(".template.html")
CAPTION = r"\*\*Figure `(\w+)`\.\*\* *"


def captions(notebook):
    """Captions of figures, as a notebook words them.

    Parameters
    ----------
    notebook : pathlib.Path
        Its prose holds paragraphs that begin with **Figure `name`.**

    Returns
    -------
    dict
        Name of the figure → (heading of its section, caption).
    """
    found, heading = {}, ""
    for kind, source, _ in sources.cells(notebook):
        for line in source.splitlines() if kind == "markdown" else ():
            heading = line.removeprefix("## ") if line.startswith("## ") else heading
            _, *told = re.split(CAPTION, line)
            found |= {name: (heading, text.strip()) for name, text in zip(told[::2], told[1::2], strict=True)}
    return found


def results(folders=None):
    """What is known of each finished result.

    Parameters
    ----------
    folders : iterable of pathlib.Path, optional
        Of results. Default: all below the home's `data`.

    Returns
    -------
    dict
        Folder relative to the home ("data/encode/crepe_tiny/planted_audio") → its record, see
        `lib.artefacts.record`.
    """
    if folders is None:
        folders = (file.parent for file in (home() / "data").rglob("run.json"))
    known = {folder.relative_to(home()).as_posix(): record(folder) for folder in folders}
    return {name: made for name, made in sorted(known.items()) if made}


def write(folder, notebook):
    """Write `index.html` into a folder of figures: one file that needs no network and no other file.

    Pictures, tables of numbers and the maps that can be turned lie in it. Links to executed notebooks and tables are
    relative, and lead somewhere as long as the folder is where it was made.

    Parameters
    ----------
    folder : pathlib.Path
        Holds `<name>.png` and `<name>.csv` of each figure, `numbers.csv` and `maps/<name>.html`.
    notebook : pathlib.Path
        That drew the figures; see `captions`.

    Returns
    -------
    pathlib.Path
        Of the page.
    """
    known, told = results(), captions(notebook)
    there = {p.stem: p for p in sorted(folder.glob("*.png")) if p.with_suffix(".csv").exists()}
    drawn = [name for name in told if name in there] + [name for name in there if name not in told]
    numbers = _numbers(folder / "numbers.csv", known)
    parts = {
        "SUMMARY": f"{len(drawn)} figures, {len(numbers)} numbers, {len(known)} results. Planted and simulated "
        'data are called so wherever they are shown. Drawn by <a href="run.ipynb">08_figures</a> '
        '(<a href="run.json">record</a>).',
        "CONTENTS": "".join(f'<a href="#figure-{_id(name)}">{_broken(name)}</a>' for name in drawn)
        + "".join(f'<a href="#{name}"><b>{name}</b></a>' for name in ("cortex", "numbers", "results")),
        "FIGURES": "".join(_figure(name, there[name], told.get(name), known) for name in drawn),
        "RESULTS": "".join(_result(name, made, folder) for name, made in known.items()),
        "NUMBERS": _json(numbers),
        "MAPS": _json({p.stem: _packed(p) for p in sorted((folder / "maps").glob("*.html"))}),
    }
    pieces = re.split(r"@([A-Z]+)@", TEMPLATE.read_text(encoding="utf-8"))
    text = "".join(parts[piece] if i % 2 else piece for i, piece in enumerate(pieces))
    with atomic(folder / "index.html") as part:
        part.write_text(text, encoding="utf-8")
    return folder / "index.html"


def _numbers(file, known):
    """Rows of the table of numbers, each with the result it comes from."""
    if not file.exists():
        return []
    table = load_table(file, unit=str, what=str)
    if "name" not in table or table["name"].isna().any():
        raise ValueError(f"{file} has numbers without a name")
    by_name = {name.lower(): _id(name) for name in known}
    rows = json.loads(table.to_json(orient="records", double_precision=12))
    return [row | {"result": by_name.get(_source(row["name"]))} for row in rows]


def _source(name):
    """Folder of the result that a number names: `encode/<target>/<model>/…` is `data/encode/<model>/<target>`."""
    step, target, model, *_ = [*name.split("/"), "", ""]
    return f"data/{step}/{model}/{target}"


def _figure(name, picture, told, known):
    """A figure with its caption, its table and the results whose models and targets it shows."""
    heading, caption = told or (name, "")
    table = load_table(picture.with_suffix(".csv"))
    if table.empty:
        return (
            f'<h2 id="figure-{_id(name)}">{_text(heading)}: {_text(name)}</h2><p>No result to show yet.</p>'
        )
    image = base64.b64encode(picture.read_bytes()).decode()
    about = "".join(
        f'<li><a href="#{_id(source)}"><code>{_text(source)}</code></a></li>'
        for source in _shown(table, known)
    )
    return (
        f'<h2 id="figure-{_id(name)}">{_text(heading)}: {_text(name)}</h2><figure>'
        f'<img src="data:image/png;base64,{image}" alt="Figure {_text(name)}" loading="lazy">'
        f"<figcaption>{_marked(caption)}</figcaption></figure>"
        f'<p><a href="{_text(name)}.pdf">PDF</a> · <a href="{_text(name)}.csv">table, {len(table)} rows</a></p>'
        f"<details><summary>made from {about.count('<li>')} results</summary><ul>{about}</ul></details>"
    )


def _shown(table, known):
    """Results of the models and targets that a table names; of the target alone where no model is named."""
    models, targets = (
        set(table[c].dropna().astype(str)) if c in table else set() for c in ("model", "target")
    )

    def fits(parameters):
        model, target = (str(parameters.get(what, "")) for what in ("model", "target"))
        return (
            (target in targets or not targets) and (model in models or not model) and bool(models | targets)
        )

    return [name for name, made in known.items() if fits(made["parameters"])]


def _result(name, made, folder):
    """A result: links to its executed notebook and folder, and what its record says."""
    up = "../" * len(folder.resolve().relative_to(home()).parts)
    read = "".join(
        f'<li><a href="#{_id(source)}"><code>{_text(source)}</code></a></li>' for source in made["inputs"]
    )
    code = "".join(
        f"<li><code>{_text(file)} {digest[:12]}</code></li>" for file, digest in made["code"].items()
    )
    versions = ", ".join(f"{package} {version}" for package, version in made.get("versions", {}).items())
    said = {
        "notebook": f'<a href="{up}{_text(name)}/run.ipynb">executed notebook</a>, '
        f'<a href="{up}{_text(name)}/run.json">record</a>, <a href="{up}{_text(name)}/">files</a>',
        "parameters": _text(", ".join(f"{k} = {v!r}" for k, v in made["parameters"].items())) or "defaults",
        "read": f"<ul>{read}</ul>" if read else "downloads, or nothing",
        "code": f"<details><summary>{len(made['code'])} files, SHA-256</summary><ul>{code}</ul></details>",
        "made": _text(
            f"{made.get('start', '')}, {made.get('seconds', '')} s, commit {made.get('commit', '')}"
        ),
        "with": _text(versions),
        "on": _text(made.get("device", "")),
    }
    rows = "".join(f"<tr><th>{what}</th><td>{text}</td></tr>" for what, text in said.items())
    return f'<details id="{_id(name)}"><summary><code>{_text(name)}</code></summary><table>{rows}</table></details>'


def _packed(file):
    """A page, compressed, as text."""
    return base64.b64encode(gzip.compress(file.read_bytes(), mtime=0)).decode()


def _json(value):
    """JSON that can stand inside a page: nothing in it ends the element it stands in."""
    return json.dumps(value).replace("<", "\\u003c")


def _broken(name):
    """A name that may go on in the next line behind an underscore or a dot."""
    return re.sub(r"(?<=[_.])", "<wbr>", _text(name))


def _text(value):
    """Text that is no markup."""
    return html.escape(str(value))


def _marked(text):
    """Text of a caption: code and emphasis are kept, all else is no markup."""
    text = html.escape(text)
    for pattern, tag in ((r"`([^`]+)`", "code"), (r"\*\*([^*]+)\*\*", "b"), (r"\*([^*]+)\*", "i")):
        text = re.sub(pattern, rf"<{tag}>\1</{tag}>", text)
    return text


def _id(name):
    """Name that can be linked to."""
    return re.sub(r"[^\w.-]+", "-", name)
