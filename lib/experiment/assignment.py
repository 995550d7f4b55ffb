"""Which trials a participant sees, in which order: drawn from a seed, alike here and in the participant's browser.

`assignment.js` holds the same functions. Both count in 32 bits, so that they agree to the last trial, and what a
participant saw can be found again without the browser.
"""

import itertools
import math

WORD = 2**32
WARM_UP = 20  # numbers thrown away, until seeds that differ in one bit no longer give similar numbers


def stream(text):
    """Random whole numbers below 2³² that a text determines.

    Parameters
    ----------
    text : str
        Seed and participant.

    Returns
    -------
    iterator of int
        Endless.

    References
    ----------
    Fowler, Noll & Vo's hash (FNV-1a, 32 bits) with the last step of MurmurHash3 makes the state from the text;
    Doty-Humphrey's "sfc32" (Small Fast Counting generator of PractRand, chaotic part and a counter) continues it.
    """
    numbers = _sfc32(*(_digest(f"{i}/{text}") for i in range(4)))
    return itertools.islice(numbers, WARM_UP, None)


def _digest(text):
    """A text as one number below 2³²."""
    state = 2166136261
    for byte in text.encode("utf-8"):
        state = (state ^ byte) * 16777619 % WORD
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        state = (state ^ state >> shift) * factor % WORD
    return state


def _sfc32(a, b, c, counter):
    """The generator from its state of four numbers."""
    while True:
        number = (a + b + counter) % WORD
        counter = (counter + 1) % WORD
        a = b ^ b >> 9
        b = (c + (c << 3)) % WORD
        c = ((c << 21 | c >> 11) + number) % WORD
        yield number


def below(n, *, rng):
    """A random whole number from 0 to n - 1, all equally likely.

    Parameters
    ----------
    n : int
        1 to 2³².
    rng : iterator of int
        From `stream`.

    Returns
    -------
    int
    """
    # The last, incomplete run of n numbers would favour the first of them.
    return next(number for number in rng if number < WORD - WORD % n) % n


def shuffled(items, *, rng):
    """Items in random order, all orders equally likely.

    Parameters
    ----------
    items : iterable
    rng : iterator of int
        From `stream`.

    Returns
    -------
    list
        A new one.

    References
    ----------
    Durstenfeld (1964), algorithm 235, doi:10.1145/364520.364540.
    """
    items = list(items)
    for last in range(len(items) - 1, 0, -1):
        other = below(last + 1, rng=rng)
        items[last], items[other] = items[other], items[last]
    return items


def dealt(n, n_conditions, *, rng):
    """Condition of each of n stimuli: as many copies of all conditions as are needed, shuffled, then cut to n.

    Parameters
    ----------
    n, n_conditions : int
    rng : iterator of int
        From `stream`.

    Returns
    -------
    list of int
        0 to n_conditions - 1. Each occurs at most ceil(n / n_conditions) times.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2023), doi:10.1038/s41593-023-01442-0, the pages of their experiments.
    """
    copies = math.ceil(n / n_conditions)
    return shuffled(list(range(n_conditions)) * copies, rng=rng)[:n]


def trials(design, participant):
    """All trials of one participant, in order: checks, practice, demonstration, then main and catch trials mixed.

    A metamer that did not pass its gate is replaced by the natural version of its stimulus.

    Parameters
    ----------
    design : dict
        `trials.json` of an experiment (see `lib.experiment.design`).
    participant : str

    Returns
    -------
    list of dict
        phase, kind ("stimulus", "word" or "question"), stimulus, model, layer ("natural" for originals), dealt
        (`model/layer` that the natural version stands in for, or ""), answer, label (what the generating network
        calls it, or ""), file (or "").
    """
    rng = stream(f"{design['seed']}/{participant}")
    sources = shuffled(design["sources"], rng=rng)[: design["settings"]["n_trials"]]
    conditions = dealt(len(sources), len(design["conditions"]), rng=rng)
    main = iter([_shown(design, *pair) for pair in zip(sources, conditions, strict=True)])
    catches = shuffled(design["catch"], rng=rng)
    n = len(sources) + len(catches)
    places = set(shuffled(range(n), rng=rng)[: len(catches)])
    catches = iter([_natural(item, "catch") for item in catches])
    mixed = [next(catches if place in places else main) for place in range(n)]
    before = [
        _natural(item, phase)
        for phase in ("check", "practice", "demo")
        for item in shuffled(design[phase], rng=rng)
    ]
    return before + mixed


def _shown(design, source, condition):
    """Trial of the main part: a metamer, or the natural version in its place."""
    wanted = design["conditions"][condition]
    shown = condition if source["files"][condition] else 0
    return {
        "phase": "main", "kind": "stimulus", "stimulus": source["stimulus"], "answer": source["answer"],
        **design["conditions"][shown], "dealt": "" if shown == condition else f"{wanted['model']}/{wanted['layer']}",
        "label": source["labels"][shown], "file": source["files"][shown],
    }  # fmt: skip


def _natural(item, phase):
    """Trial beside the main part."""
    return {"phase": phase, "model": "", "layer": "natural", "dealt": "", "label": "", **item}
