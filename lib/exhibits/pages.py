"""A page that shows metamers without a kernel and without a network, small enough to keep."""

import base64
import hashlib
import html
import itertools

from lib.exhibits import markup

HEIGHT = 990  # pixels of the frame
# JupyterLab takes the frame, but not its text, from notebooks that were run elsewhere.
UNTRUSTED = "Metamers are hidden until you trust this notebook (in JupyterLab: View, Command Palette, Trust Notebook)."
SCRIPT = """
const at = name => document.getElementById(name);
const show = () => {
  for (const option of at("stimulus").options) {
    const held = at(`m-${at("layer").value}-${option.value}`);
    option.textContent = `${option.dataset.name} (${held ? held.dataset.verdict : "not in this page"})`;
  }
  const chosen = at(`m-${at("layer").value}-${at("stimulus").value}`) || at("absent");
  at("view").replaceChildren(chosen.content.cloneNode(true));
  const place = at("view").querySelector(".mm-original");
  if (place) place.replaceWith(at(`o-${at("stimulus").value}`).content.cloneNode(true));
};
at("layer").addEventListener("change", show);
at("stimulus").addEventListener("change", show);
show();
"""
STYLE = """<style>
body { margin: 0; background: #fff; color: #1c1c1c; font: 13px/1.45 system-ui, sans-serif; }
header { padding: 12px 12px 0; max-width: 1040px; box-sizing: border-box; }
h1 { font-size: 16px; margin: 0 0 6px; overflow-wrap: anywhere; }
header span { display: inline-block; margin: 0 18px 6px 0; }
label { font-weight: 600; }
select { font: inherit; padding: 3px 20px 3px 3px; max-width: 340px; margin-left: 6px; }
select:focus-visible { outline: 2px solid #1f5fa8; outline-offset: 1px; }
header p { margin: 0; color: #555; font-size: 12px; }
</style>"""


def frame(collection, *, limit):
    """Metamers of a collection as one element of HTML that loads nothing: drop-downs, pictures and sounds.

    Stimulus after stimulus, with all layers, is taken in until the limit is reached. The page stands in a
    frame of its own that may reach neither the page around it nor any address, and runs only its own script.

    Parameters
    ----------
    collection : lib.exhibits.tables.Collection
    limit : int
        Bytes of the metamers taken in.

    Returns
    -------
    str
    """
    held, pieces = _held(collection, limit)
    page = _page(collection, held, pieces)
    title = markup.escaped(f"Metamers of {collection.model}, {collection.target}")
    return (
        f'<div><iframe title="{title}" sandbox="allow-scripts" srcdoc="{html.escape(page)}" '
        f'style="width: 100%; max-width: 1066px; height: {HEIGHT}px; border: 1px solid #ccc; resize: vertical; '
        f'background: #fff">{UNTRUSTED}</iframe></div>'
    )


def _held(collection, limit):
    """Places (layer, stimulus) of the metamers taken in, and the templates that hold them."""
    held, pieces, size = [], [], 0
    pairs = itertools.product(range(len(collection.stimuli)), range(len(collection.layers)))
    original = None
    for stimulus, layer in pairs:
        exhibit = collection.exhibit(collection.layers[layer], collection.stimuli[stimulus])
        new = []
        if exhibit.passed is not None and (original is None or original[0] != stimulus):
            shown = markup.piece(exhibit.original, markup.titles(exhibit)[0], compact=True)
            original = (stimulus, shown.brightest)
            new.append(f'<template id="o-{stimulus}">{shown.text}</template>')
        new.append(_template(exhibit, layer, stimulus, original and original[1]))
        size += sum(len(part.encode()) for part in new)
        if size > limit:
            break
        held.append((layer, stimulus))
        pieces += new
    return held, pieces


def _template(exhibit, layer, stimulus, brightest):
    """A metamer that is not shown yet, with a place for the natural stimulus that its layers share."""
    word = {True: "passed", False: "failed", None: "no gate"}[exhibit.passed]
    metamer = ""
    if exhibit.passed is not None:
        title = markup.titles(exhibit)[1]
        metamer = markup.piece(exhibit.metamer, title, brightest=brightest, compact=True).text
    content = markup.sheet(exhibit, '<div class="mm-original"></div>', metamer)
    return f'<template id="m-{layer}-{stimulus}" data-verdict="{word}">{content}</template>'


def _page(collection, held, pieces):
    """The whole document; its policy forbids every address and every script but its own."""
    policy = (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        f"form-action 'none'; script-src 'sha256-{_sha256(SCRIPT)}'"
    )
    title = markup.escaped(f"Metamers of {collection.model} from {collection.target}")
    listed = sorted({stimulus for _, stimulus in held})
    layers = _options("layer", "Layer", dict(enumerate(collection.layers)))
    stimuli = _options("stimulus", "Stimulus", {place: collection.stimuli[place] for place in listed})
    absent = markup.note(
        "This metamer is not in this page, which is kept small; the folder of the result holds it."
    )
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{title}</title>'
        f"{STYLE}{markup.STYLE}</head><body><header><h1>{title}</h1>{layers}{stimuli}"
        f"<p>{_said(collection, held, pieces)}</p></header>"
        f'<main id="view"><noscript>Choosing needs JavaScript.</noscript></main>'
        f'<template id="absent">{absent}</template>{"".join(pieces)}<script>{SCRIPT}</script></body></html>'
    )


def _options(name, label, texts):
    """A drop-down list with its label."""
    options = "".join(
        f'<option value="{place}" data-name="{markup.escaped(text)}">{markup.escaped(text)}</option>'
        for place, text in texts.items()
    )
    return f'<span><label for="{name}">{label}</label><select id="{name}">{options}</select></span>'


def _said(collection, held, pieces):
    """How much of the collection the page holds."""
    total = len(collection.layers) * len(collection.stimuli)
    size = sum(len(piece.encode()) for piece in pieces) / 1e6
    n_stimuli = len({stimulus for _, stimulus in held})
    said = (
        f"This page holds {len(held)} of {total} metamers, of {n_stimuli} of {len(collection.stimuli)} stimuli, "
        f"in {size:.1f} MB, and needs neither kernel nor network."
    )
    return (
        said
        if len(held) == total
        else f"{said} It is kept small: the others are in the folder of the result."
    )


def _sha256(text):
    """Digest of a script, as a policy names it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
