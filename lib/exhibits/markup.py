"""A metamer and its evidence as HTML that loads nothing and trusts no name."""

import html
import math
import traceback
from dataclasses import dataclass

from lib.exhibits import drawing

SIDE = 224  # pixels; smaller pictures are enlarged to about this, by whole factors and without smoothing
MEASURES = (
    ("Spearman", "spearman", "{:.3f}"),
    ("Pearson", "pearson", "{:.3f}"),
    ("signal to noise (dB)", "snr_db", "{:.1f}"),
)
STYLE = """<style>
.mm { background: #fff; color: #1c1c1c; font: 13px/1.45 system-ui, sans-serif; padding: 12px; max-width: 1040px;
  box-sizing: border-box; overflow-wrap: anywhere; white-space: normal; }
.mm * { box-sizing: border-box; }
.mm p { margin: 4px 0; }
.mm .mm-verdict { padding: 6px 10px; border-left: 5px solid; font-size: 14px; margin: 0 0 10px; }
.mm .mm-passed { border-color: #1b7f3b; background: #e8f5ec; }
.mm .mm-failed { border-color: #b3261e; background: #fdecea; }
.mm .mm-absent { border-color: #8a6d00; background: #fff7dc; }
.mm .mm-grid { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 14px 22px; }
.mm figure, .mm section { margin: 0; min-width: 0; }
.mm figure { align-self: end; }
.mm figcaption, .mm h4 { font-size: 13px; font-weight: 600; margin: 0 0 4px; padding: 0; color: inherit; }
.mm img, .mm svg { display: block; max-width: 100%; height: auto; margin: 0; }
.mm img.mm-tiny { image-rendering: pixelated; }
.mm audio { display: block; width: 100%; height: 36px; margin-top: 4px; }
.mm table { border-collapse: collapse; width: 100%; margin: 0; font-size: 12.5px; table-layout: auto; }
.mm th, .mm td { text-align: left; padding: 3px 10px 3px 0; border-bottom: 1px solid #ddd; background: #fff;
  color: inherit; white-space: normal; max-width: none; }
.mm td.mm-n, .mm th.mm-n { text-align: right; font-variant-numeric: tabular-nums; }
.mm .mm-note { color: #555; font-size: 12px; }
.mm pre { white-space: pre-wrap; font-size: 11px; background: #f5f5f5; padding: 6px; }
@media (max-width: 560px) { .mm .mm-grid { grid-template-columns: minmax(0, 1fr); } }
</style>"""
WHY = (
    "Spearman and Pearson correlation, and signal-to-noise ratio, of the layer's activations to the natural "
    "stimulus and to the metamer; the null is the largest of many pairs of unrelated stimuli."
)


@dataclass(frozen=True)
class Piece:
    """A sound or picture as HTML, and the colour scale of its cochleagram (None for pictures)."""

    text: str
    brightest: float | None = None


def piece(file, title, *, brightest=None, compact=False):
    """A stored sound with its cochleagram, or a stored picture, under a title.

    Parameters
    ----------
    file : pathlib.Path or None
        WAV or PNG; None if there is none.
    title : str
    brightest : float, optional
        Value of the brightest colour of a cochleagram.
    compact : bool
        Play sounds from FLAC of 16 bits instead of the stored bytes.

    Returns
    -------
    Piece

    Raises
    ------
    ValueError
        If the file is missing or cannot be read.
    """
    if file is None:
        return Piece(_figure(title, '<p class="mm-note">Nothing was stored.</p>'))
    if not file.is_file():
        raise ValueError(f"{file} does not exist, although the gate names it; run the step again")
    if file.suffix.lower() == ".png":
        return Piece(_figure(title, _picture(file, title)))
    sound = drawing.sound(file)
    brightest = float(sound.cochleagram.max()) if brightest is None else brightest
    alt = f"Cochleagram, frequency over time: {title}, {sound.duration_s:.3g} seconds"
    return Piece(
        _figure(
            title, drawing.spectrum(sound, alt, brightest=brightest) + _player(sound, title, file, compact)
        ),
        brightest,
    )


def sheet(exhibit, original, metamer):
    """A metamer beside its natural stimulus, under the verdict of its gate and above the evidence.

    Parameters
    ----------
    exhibit : lib.exhibits.tables.Exhibit
    original, metamer : str
        HTML of the two, side by side; not looked at where there is no gate.

    Returns
    -------
    str
        HTML without style.
    """
    if exhibit.passed is None:
        return wrapped(_without_gate(exhibit))
    word, said = ("passed", "Passed the gate.") if exhibit.passed else ("failed", "Did not pass the gate")
    reason = f": {escaped(exhibit.gate['why'])}" if exhibit.gate["why"] else ""
    parts = [_distances(exhibit), _labels(exhibit), _loss(exhibit), _profile(exhibit)]
    return wrapped(
        f'<p class="mm-verdict mm-{word}" role="status"><strong>{said}</strong>{reason}</p>'
        f'<div class="mm-grid">{original}{metamer}{"".join(parts)}</div>'
    )


def titles(exhibit):
    """What the natural stimulus and the metamer are called.

    Parameters
    ----------
    exhibit : lib.exhibits.tables.Exhibit

    Returns
    -------
    tuple of str
        Plain text.
    """
    return f"Natural: {exhibit.stimulus}", f"Metamer of layer {exhibit.layer}: {exhibit.stimulus}"


def error(raised):
    """An error as a person needs it: what was wrong, and, folded, where.

    Parameters
    ----------
    raised : Exception

    Returns
    -------
    str
        HTML without style.
    """
    trace = escaped("".join(traceback.format_exception(raised)))
    return wrapped(
        f'<p class="mm-verdict mm-failed" role="alert"><strong>This cannot be shown.</strong> '
        f"{escaped(type(raised).__name__)}: {escaped(raised)}</p>"
        f"<details><summary>Where it happened</summary><pre>{trace}</pre></details>"
    )


def note(text):
    """A remark in the place of a sheet.

    Parameters
    ----------
    text : str
        Plain text.

    Returns
    -------
    str
        HTML without style.
    """
    return wrapped(f'<p class="mm-verdict mm-absent" role="status">{escaped(text)}</p>')


def wrapped(content):
    """HTML inside the element that the style applies to."""
    return f'<div class="mm">{content}</div>'


def escaped(text):
    """Anything as text of HTML, fit for attributes too."""
    return html.escape(str(text), quote=True)


def _without_gate(exhibit):
    """Why nothing is shown."""
    return (
        '<p class="mm-verdict mm-absent" role="status"><strong>Not shown: no gate.</strong> '
        f"gate.csv has no verdict for stimulus <em>{escaped(exhibit.stimulus)}</em> at layer "
        f"<em>{escaped(exhibit.layer)}</em>. Whether this is a metamer is not known, so it is neither shown nor "
        "played; run the gate of 07_metamers on it.</p>"
    )


def _figure(title, content):
    """Something to see or hear under its title."""
    return f"<figure><figcaption>{escaped(title)}</figcaption>{content}</figure>"


def _player(sound, title, file, compact):
    """Controls to play a sound, and what it is."""
    source = (drawing.flac(sound), "audio/flac") if compact else (file.read_bytes(), "audio/wav")
    return (
        f'<audio controls preload="metadata" aria-label="{escaped(f"Play: {title}")}" '
        f'src="{drawing.uri(*source)}"></audio><p class="mm-note">{sound.duration_s:.3g} s at {sound.rate_hz} Hz, '
        f"level {_number(sound.level_db, '{:.1f}')} dB re full scale</p>"
    )


def _picture(file, title):
    """A stored picture, unchanged; a tiny one is enlarged pixel by pixel."""
    width, height = drawing.size(file)
    factor = max(1, SIDE // max(width, height))
    tiny = ' class="mm-tiny"' if factor > 1 else ""
    enlarged = f", shown {factor} times as large" if factor > 1 else ""
    return (
        f'<img{tiny} src="{drawing.uri(file.read_bytes(), "image/png")}" alt="{escaped(title)}" '
        f'width="{width * factor}" height="{height * factor}">'
        f'<p class="mm-note">{width} × {height} pixels{enlarged}</p>'
    )


def _distances(exhibit):
    """How near the metamer is at its layer, and how near unrelated pairs come."""
    rows = []
    for name, column, form in MEASURES:
        value, chance = (_number(exhibit.gate.get(c), form) for c in (column, f"null_{column}"))
        rows.append(
            f'<tr><th scope="row">{name}</th><td class="mm-n">{value}</td><td class="mm-n">{chance}</td></tr>'
        )
    return _section(
        "Distance at this layer",
        '<table><thead><tr><th scope="col">measure</th><th scope="col" class="mm-n">metamer</th>'
        f'<th scope="col" class="mm-n">largest of null</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
        f'<p class="mm-note">{WHY}</p>',
    )


def _labels(exhibit):
    """What the model and its judges call the two."""
    gate = exhibit.gate
    rows = [("this model", gate.get("label_original", ""), gate.get("label_metamer", ""))]
    rows = [row for row in rows if any(row[1:])]
    rows += exhibit.judged[["judge", "label_original", "label_metamer"]].itertuples(index=False, name=None)
    if not rows:
        return _section("Labels", '<p class="mm-note">The model names nothing, and no other judged.</p>')
    cells = "".join(
        f'<tr><th scope="row">{escaped(who)}</th><td>{escaped(one)}</td><td>{escaped(other)}</td>'
        f"<td>{'same' if one == other else 'differs'}</td></tr>"
        for who, one, other in rows
    )
    return _section(
        "Labels",
        '<table><thead><tr><th scope="col">judge</th><th scope="col">natural</th><th scope="col">metamer</th>'
        f'<th scope="col"></th></tr></thead><tbody>{cells}</tbody></table>',
    )


def _loss(exhibit):
    """The loss curve, with its ends in words."""
    if exhibit.loss.empty:
        return _section("Loss", '<p class="mm-note">No loss is stored.</p>')
    first, last = exhibit.loss.iloc[0], exhibit.loss.iloc[-1]
    ends = [
        f"{_number(row['loss'], '{:.3g}')} at step {_number(row['step'], '{:.0f}')}" for row in (first, last)
    ]
    drawn = drawing.loss(exhibit.loss, f"Loss over steps: {ends[0]}, {ends[1]}")
    return _section("Loss", f'{drawn}<p class="mm-note">{escaped(" to ".join(ends))}</p>')


def _profile(exhibit):
    """Agreement at all layers: this one and later ones should agree, earlier ones need not."""
    found = exhibit.distances
    if found.empty:
        return ""
    measured = ", ".join(f"{row.measured} {_number(row.spearman, '{:.2f}')}" for row in found.itertuples())
    alt = f"Spearman correlation at each layer: {measured}"
    drawn = drawing.profile(found, exhibit.null, exhibit.layer, alt)
    first, last = found["measured"].iloc[[0, -1]]
    return _section(
        "Agreement layer by layer",
        f'{drawn}<p class="mm-note">Blue: metamer. Grey: unrelated pairs, up to the largest. Dotted: where it was '
        f"synthesised; this layer and later ones should agree, earlier ones need not. Layer 1 is "
        f"{escaped(first)}, {len(found)} is {escaped(last)}.</p>",
    )


def _section(title, content):
    """A part of the evidence."""
    return f"<section><h4>{title}</h4>{content}</section>"


def _number(value, form):
    """A number for reading; tables hold "" for what is not a number."""
    if value is None:
        return "not stored"
    try:
        number = float("nan" if value == "" else value)
    except ValueError:
        return "unreadable"
    if math.isnan(number):
        return "undefined"
    return form.format(number).replace("-", "−").replace("inf", "∞")
