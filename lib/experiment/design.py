"""The design of an experiment: what each of its trials can show, and the right answers."""

import numpy as np

from lib import plugins
from lib.experiment import headphones, material

MOST_BUTTONS = 16


def contents(table, *, answers, settings, choices, rng, keep):
    """What each trial can show, and the right answers.

    Stimuli of `table` are the sources of the main part. Practice, demonstration and, of sounds, catch trials show
    stimuli of `answers` that are not among them, spread over the answers. Catch trials with pictures show the icon
    of a category, or its name where there is no icon. `n_attention` questions say which answer to choose.

    Parameters
    ----------
    table : pandas.DataFrame
        From `lib.experiment.material.gated`.
    answers : pandas.DataFrame
        stimulus, answer, and file (path) for stimuli to practise on.
    settings : dict
        From `lib.experiment.procedure.settings`.
    choices : list of str or None
        All answers there are; those of `answers` if None.
    rng : numpy.random.Generator
    keep : function (bytes, str) → str
        Stores a file with a suffix, and gives its name.

    Returns
    -------
    dict
        modality, mode ("icons", "buttons" or "typed"), choices, conditions (model and layer; the first is natural, of
        the model if there is one only), sources (stimulus, answer, and by condition files, "" without a metamer
        that passed, and labels, what the model calls them, "" if it knows none of the choices), icons (choice →
        file), check, practice, demo and catch (kind, stimulus, answer, file each), and of sounds noise (file).

    Raises
    ------
    ValueError
        If answers are lacking, twice, or none of the choices; stimuli differ in size, length or rate; or there are
        too few to practise on.
    """
    modality = material.modality(table)
    right = _right(answers, table["stimulus"].unique())
    choices = sorted(set(right.values())) if choices is None else list(choices)
    _require_choices(right, choices)
    icons = material.icons()
    mode = "icons" if set(choices) <= set(icons) else "buttons" if len(choices) <= MOST_BUTTONS else "typed"
    show = _picture if modality == "vision" else _sound
    labelled = _comparable(table, choices)
    conditions, sources, shape = _sources(labelled, right, lambda path, **k: show(path, settings, keep, **k))
    made = {"modality": modality, "mode": mode, "choices": choices}
    made |= {"conditions": conditions, "sources": sources, "check": [], "icons": {}}
    if mode == "icons":
        made["icons"] = {choice: keep(icons[choice].read_bytes(), ".svg") for choice in choices}
    if modality == "audio":
        made |= _checks(settings, rng, keep)
    heard = settings["n_catch"] if modality == "audio" else 0
    pool = _pool(answers, table, settings["n_practice"] + settings["n_demo"] + heard, rng)
    pool = [
        {
            "kind": "stimulus",
            "stimulus": s,
            "answer": right[s],
            "file": show(f, settings, keep, shape=shape)[0],
        }
        for s, f in pool
    ]
    cuts = np.cumsum([settings["n_practice"], settings["n_demo"]])
    made |= {"practice": pool[: cuts[0]], "demo": pool[cuts[0] : cuts[1]]}
    catch = pool[cuts[1] :] if heard else _named(made, settings["n_catch"] * (modality == "vision"), rng)
    return made | {"catch": catch + _questions(choices, settings["n_attention"], rng)}


def _right(answers, sources):
    """Right answer of each stimulus, by its name."""
    lacking = [column for column in ("stimulus", "answer") if column not in answers]
    if lacking:
        raise ValueError(f"the table of answers lacks the column {', '.join(lacking)}")
    names = answers["stimulus"].astype(str)
    if names.duplicated().any():
        raise ValueError(
            f"the table of answers has stimuli twice: {plugins.first(names[names.duplicated()])}"
        )
    right = dict(zip(names, answers["answer"], strict=True))
    without = [s for s in (*sources, *names) if not (isinstance(right.get(s), str) and right[s].strip())]
    if without:
        raise ValueError(f"stimuli have no answer: {plugins.first(dict.fromkeys(without))}")
    return right


def _require_choices(right, choices):
    odd = [repr(choice) for choice in choices if not isinstance(choice, str)]
    if odd:
        raise ValueError(f"choices are texts, not {plugins.first(odd)}")
    if len(set(choices)) != len(choices) or len(choices) < 2:
        raise ValueError(f"there must be two choices or more, each once; there are {plugins.first(choices)}")
    folded = [choice.casefold().strip() for choice in choices]
    if len(set(folded)) != len(folded) or "" in folded:
        raise ValueError("choices differ only in upper and lower case or blanks, or one is empty")
    unknown = sorted(set(right.values()) - set(choices))
    if unknown:
        raise ValueError(f"answers are not among the choices: {plugins.first(unknown)}")


def _comparable(table, choices):
    """The table without the labels of models that name things in other terms than the choices."""
    labels = ["label", "label_original"]
    in_terms = table[labels].isin(choices).any(axis=1).groupby(table["model"]).transform("any")
    return table.assign(**{column: table[column].where(in_terms, "") for column in labels})


def _sources(table, right, show):
    """Conditions, what each stimulus looks like in each of them, and the shape that all have."""
    some = table[table.groupby(["model", "layer"])["passed"].transform("any")]
    pairs = list(some[["model", "layer"]].drop_duplicates().itertuples(index=False, name=None))
    models = some["model"].unique()
    # Several models share the natural versions; a single one also says what it makes of them.
    sole = models[0] if len(models) == 1 else ""
    conditions = [{"model": sole, "layer": "natural"}]
    conditions += [{"model": model, "layer": layer} for model, layer in pairs]
    place = {pair: 1 + i for i, pair in enumerate(pairs)}
    shapes, sources = {}, []
    for stimulus, rows in table.groupby("stimulus", sort=True):
        natural, shapes[rows["original"].iloc[0]] = show(rows["original"].iloc[0])
        source = {"stimulus": stimulus, "answer": right[stimulus]}
        source |= {"files": [natural] + [""] * len(pairs), "labels": [""] * (1 + len(pairs))}
        source["labels"][0] = rows["label_original"].iloc[0] if sole else ""
        for row in rows[rows["passed"]].itertuples():
            i = place[row.model, row.layer]
            source["files"][i], shapes[row.file] = show(row.file)
            source["labels"][i] = row.label
        sources.append(source)
    shape = next(iter(shapes.values()))
    odd = [f"{path} {other}" for path, other in shapes.items() if other != shape]
    if odd:
        raise ValueError(
            f"stimuli are not all {shape} (width and height, or samples and rate in Hz), so that one natural version "
            f"cannot stand for all models: {plugins.first(odd)}; build an experiment for each"
        )
    return conditions, sources, shape


def _picture(path, _settings, keep, *, shape=None):
    content, shape = material.picture(path, size=shape)
    return keep(content, ".png"), shape


def _sound(path, settings, keep, *, shape=None):
    content, shape = material.sound(path, rms=settings["rms"], shape=shape)
    return keep(content, ".wav"), shape


def _pool(answers, table, n, rng):
    """Names and files of n stimuli beside those of the main part, spread over the answers."""
    others = answers[~answers["stimulus"].astype(str).isin(table["stimulus"])]
    others = others[others["file"].notna()] if "file" in others else others.head(0)
    if len(others) < n:
        raise ValueError(
            f"practice, demonstration and catch trials need {n} natural stimuli beside those of the main part; the "
            f"table of answers has {len(others)} more with a file: add some, or lower n_practice, n_demo, n_catch"
        )
    others = others.iloc[rng.permutation(len(others))]
    others = others.iloc[np.argsort(others.groupby("answer").cumcount().to_numpy(), kind="stable")]
    return list(zip(others["stimulus"].astype(str), others["file"], strict=True))[:n]


def _checks(settings, rng, keep):
    """Trials of the headphone check, and the noise to set the volume by."""
    orders = [headphones.orders()[i] for i in rng.permutation(len(headphones.orders()))][
        : settings["n_check"]
    ]

    def kept(waveform):
        return keep(material.encoded(waveform, headphones.RATE_HZ), ".wav")

    check = [
        {"kind": "stimulus", "stimulus": "-".join(order), "answer": str(place),
         "file": kept(headphones.tones(order, rms=settings["rms"]))}
        for order, place in orders
    ]  # fmt: skip
    return {"check": check, "noise": kept(headphones.noise(rms=settings["rms"], rng=rng))}


def _named(made, n, rng):
    """Catch trials with pictures: an icon, or a name in letters."""
    chosen = _cycled(made["choices"], n, rng)
    return [
        {"kind": "stimulus" if made["icons"] else "word", "stimulus": f"catch_{i}", "answer": choice,
         "file": made["icons"].get(choice, "")}
        for i, choice in enumerate(chosen, 1)
    ]  # fmt: skip


def _questions(choices, n, rng):
    """Trials that say what to answer, and show nothing else."""
    chosen = enumerate(_cycled(choices, n, rng), 1)
    return [
        {"kind": "question", "stimulus": f"attention_{i}", "answer": choice, "file": ""}
        for i, choice in chosen
    ]


def _cycled(choices, n, rng):
    """n of the choices in random order, none a second time before all were there."""
    orders = [rng.permutation(len(choices)) for _ in range(-(-n // len(choices)))]
    return [choices[i] for order in orders for i in order][:n]
