"""Write an online experiment: a folder of plain pages that ask nothing of any other server.

HTML, CSS and JavaScript without a framework: the pages need neither an installation nor a network to be built, no
one else's code or licence travels with them, and all that they do fits on a few screens. They run from any web
server that serves files, or opened from disk.
"""

import contextlib
import hashlib
import html
import json
import os
import re
import shutil
import string
import urllib.parse
from pathlib import Path

import numpy as np
import pandas as pd

from lib.experiment import design, material, procedure
from lib.plugins import first

# Files beside this one, and what they are called in the experiment.
PAGES = {
    "assignment.js": "assignment.js",
    "export.texts.js": "texts.js",
    "export.js": "experiment.js",
    "export.css": "experiment.css",
}
PAGE = "export.html"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src {connect}; base-uri 'none'; form-action 'none'"
)
BLANK = re.compile(r"\[[^\]]*\]")


def build(
    folders,
    destination,
    *,
    answers,
    consent,
    name="metamers",
    seed=0,
    choices=None,
    replace=False,
    **settings,
):
    """Write an experiment that asks which category or word each metamer is.

    Metamers that passed their gate are copied, others replaced by the natural version of their stimulus. Each
    participant sees each stimulus once; conditions (natural, and every layer of every model with a metamer that
    passed) are dealt as published, anew for each participant, by `lib.experiment.assignment`. Pictures are
    masked and answered by 16 icons, or buttons; sounds are played once after a headphone check and answered by
    buttons or, with more than 16 answers, by typing. Who fails the headphone check or the demonstration, or does
    not consent, is thanked and shown no more. Results are one CSV per participant, as
    `lib.recognition.responses.read` takes it: downloaded by the browser and, if there is a `post_url`, posted.

    Participants are named by `?participant=` in the address, or by a random name. A reload continues where it was.

    Parameters
    ----------
    folders : dict
        Name of a model → its folder of metamers with `gate.csv` (`data/metamers/<model>/<target>`).
    destination : str or pathlib.Path
        Folder to write; new, or without files.
    answers : pandas.DataFrame
        stimulus, answer (category or word), and file: natural stimuli beside those of the metamers, by path, which
        serve for practice, demonstration and, of sounds, catch trials.
    consent : str or pathlib.Path
        Text file that is shown first: paragraphs between empty lines, `#` before a heading, `-` before the points
        of a list. `consent.txt` beside this file is a template.
    name : str
        Letters, digits, `_` and `-`; the results carry it with eight digits of the digest of the design.
    seed : int
        Determines the order of all trials, with the participant.
    choices : list of str, optional
        All answers there are, if more than those in `answers`.
    replace : bool
        Whether an earlier experiment in `destination` gives way.
    **settings
        What differs from `lib.experiment.procedure.SETTINGS`: texts, numbers of trials, times, `post_url`.

    Returns
    -------
    pandas.DataFrame
        One row per condition: model, layer, n_stimuli, n_shown (with a metamer that passed; all for the natural
        one), n_dealt (most trials of one participant).

    Raises
    ------
    FileNotFoundError
        If a gate, a stimulus or the consent is not there.
    FileExistsError
        If the destination holds anything, and is not an experiment to be replaced.
    ValueError
        If the consent is empty or still has blanks to fill in, or a name, an answer, a setting or a stimulus is
        not as it should be. Nothing is written then.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2023), doi:10.1038/s41593-023-01442-0, methods, and the pages of their
    experiments.
    """
    destination = Path(destination)
    if not re.fullmatch(r"[\w-]+", name, re.ASCII):
        raise ValueError(f"name {name!r} has other characters than letters, digits, _ and -")
    _require_free(destination, replace)
    text = _consent(Path(consent))
    table = material.gated(folders)
    settings = procedure.settings(material.modality(table), settings)
    with _whole(destination, replace) as folder:
        made = design.contents(
            table, answers=answers, settings=settings, choices=choices, rng=np.random.default_rng(seed),
            keep=lambda content, suffix: _kept(folder, content, suffix),
        )  # fmt: skip
        made |= {"seed": int(seed), "settings": settings, "consent": text}
        made["experiment"] = f"{name}-{_digest(made)[:8]}"
        _write(made, folder)
    return _counts(made, table)


def _consent(path):
    """Text of the page of consent."""
    template = Path(__file__).with_name("consent.txt")
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no text of consent at {path.resolve()}: say who asks, what is done, what is kept and "
            f"whom to write to; {template} is a template with blanks"
        )
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}") from error
    blanks = BLANK.findall(text)
    if not text or blanks:
        raise ValueError(
            f"the text of consent {path} is {'not filled in: ' if text else 'empty'}{first(blanks)}"
        )
    return text


def _require_free(destination, replace):
    if destination.exists() and not destination.is_dir():
        raise FileExistsError(f"{destination} is a file; an experiment is a folder")
    there = sorted(file.name for file in destination.rglob("*") if not file.is_dir())
    if there and not (replace and (destination / "trials.json").is_file()):
        raise FileExistsError(
            f"{destination} is not empty ({first(there)}); choose another folder"
            + ("" if not replace else ": what is there is no experiment, and is not replaced")
        )


@contextlib.contextmanager
def _whole(destination, replace):
    """A temporary folder that becomes the destination at the end, or is removed."""
    part = destination.with_name(f".{os.getpid()}.part.{destination.name}")
    shutil.rmtree(part, ignore_errors=True)
    (part / "stimuli").mkdir(parents=True)
    try:
        yield part
        _require_free(destination, replace)
        if destination.exists():
            shutil.rmtree(destination)
        part.rename(destination)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _kept(folder, content, suffix):
    """Store a file under the digest of its content, which tells participants nothing; its name."""
    name = f"stimuli/{hashlib.sha256(content).hexdigest()[:20]}{suffix}"
    if not (folder / name).exists():
        (folder / name).write_bytes(content)
    return name


def _digest(made):
    """SHA-256 of the design and of the pages that carry it out."""
    pages = [Path(__file__).with_name(page).read_text(encoding="utf-8") for page in (PAGE, *PAGES)]
    return hashlib.sha256(json.dumps([made, pages], sort_keys=True).encode()).hexdigest()


def _write(made, folder):
    """Pages and design."""
    here = Path(__file__).parent
    for page, name in PAGES.items():
        shutil.copyfile(here / page, folder / name)
    (folder / "trials.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    address = urllib.parse.urlsplit(made["settings"]["post_url"])
    connect = f"{address.scheme}://{address.netloc}" if address.netloc else "'none'"
    page = string.Template((here / PAGE).read_text(encoding="utf-8")).substitute(
        policy=POLICY.format(connect=connect),
        title=html.escape(made["settings"]["title"]),
        # A "</script>" in a text would end the block.
        design=json.dumps(made).replace("<", "\\u003c"),
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


def _counts(made, table):
    """How many stimuli each condition has."""
    n = min(len(made["sources"]), made["settings"]["n_trials"])
    there = table.groupby(["model", "layer"])["stimulus"].nunique()
    rows = []
    for i, condition in enumerate(made["conditions"]):
        pair = condition["model"], condition["layer"]
        rows.append(
            {
                **condition,
                "n_stimuli": int(there.get(pair, len(made["sources"]))),
                "n_shown": sum(bool(source["files"][i]) for source in made["sources"]),
                "n_dealt": -(-n // len(made["conditions"])),
            }
        )
    return pd.DataFrame(rows)
