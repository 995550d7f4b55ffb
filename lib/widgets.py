"""Metamers to be heard and seen in a notebook, never without their gate."""

from pathlib import Path

import ipywidgets
from IPython.display import HTML

from lib import artefacts
from lib.exhibits import markup, pages, tables


def metamers(folders=None):
    """A browser of metamers: choose model, target, layer and stimulus; hear or see it with its evidence.

    Parameters
    ----------
    folders : path or list of paths, optional
        Results of 07_metamers, `data/metamers/<model>/<target>`; by default all that are finished.

    Returns
    -------
    ipywidgets.Widget
        Four drop-down lists, and the natural stimulus beside its metamer: sounds with players and
        cochleagrams on one colour scale, pictures as stored, the verdict of the gate, distances against the
        null, labels of the model and of the judges, loss, and agreement at all layers. A metamer without
        a gate is replaced by an explanation. What goes wrong while choosing is said in its place. Only the
        chosen sounds or pictures are in memory.

    Raises
    ------
    ValueError
        If a given folder holds no metamers, or two are of the same model and target.
    """
    found = _finished() if folders is None else _given(folders)
    if not found:
        said = "No metamers are finished yet: run the step 07_metamers, or give the folder of a result."
        return ipywidgets.HTML(markup.STYLE + markup.note(said))
    return _Browser(found).box


def page(folder, *, megabytes=8):
    """A browser of one folder's metamers that needs neither kernel nor network, as in an exported notebook.

    Parameters
    ----------
    folder : path
        Result of 07_metamers, `data/metamers/<model>/<target>`.
    megabytes : float
        Limit of its size, in 10⁶ bytes. Stimuli are taken in order, each with its layers, until it is reached;
        the page says how many it holds. Sounds are kept as FLAC of 16 bits, pictures as stored.

    Returns
    -------
    IPython.display.HTML

    Raises
    ------
    ValueError
        If the folder holds no metamers, a file that the gate names is missing, or the limit is not above 0.
    """
    if not megabytes > 0:
        raise ValueError(f"megabytes is above 0, not {megabytes}")
    return HTML(pages.frame(tables.collection(folder), limit=round(megabytes * 1e6)))


def _finished():
    """Folders of all finished results by model and target."""
    return {(str(r["model"]), str(r["target"])): r["folder"] for r in artefacts.finished("metamers")}


def _given(folders):
    """Folders that were given, by model and target."""
    folders = [folders] if isinstance(folders, str | Path) else list(folders)
    found = {}
    for one in map(tables.collection, folders):
        if (one.model, one.target) in found:
            raise ValueError(
                f"two folders hold {one.model} and {one.target}: {found[one.model, one.target]}, {one.folder}"
            )
        found[one.model, one.target] = one.folder
    return found


class _Browser:
    """Drop-down lists, each of which narrows the next, and the sheet of what they choose."""

    def __init__(self, folders):
        self.folders, self.collection, self.filling = folders, None, False
        self.lists = {
            name: ipywidgets.Dropdown(
                description=name.capitalize(),
                style={"description_width": "initial"},
                layout={"width": "auto", "max_width": "420px", "margin": "2px 18px 2px 2px"},
            )
            for name in ("model", "target", "layer", "stimulus")
        }
        self.sheet = ipywidgets.HTML(layout={"width": "100%", "max_width": "1040px"})
        for chosen in self.lists.values():
            chosen.observe(self._changed, "value")
        row = ipywidgets.HBox(list(self.lists.values()), layout={"flex_flow": "row wrap"})
        self.box = ipywidgets.VBox([row, self.sheet])
        self._changed()

    def _changed(self, _=None):
        """Fill the lists that depend on the changed one, and show what is chosen."""
        if self.filling:
            return
        self.filling = True
        try:
            self._fill()
            said = self._chosen()
        except Exception as raised:  # said to the person; Jupyter would only log it
            said = markup.error(raised)
        finally:
            self.filling = False
        self.sheet.value = markup.STYLE + said

    def _fill(self):
        """What can be chosen, given what is chosen; a choice that is still there is kept."""
        model = _offer(
            self.lists["model"], [(name, name) for name in dict.fromkeys(m for m, _ in self.folders)]
        )
        target = _offer(self.lists["target"], [(t, t) for m, t in self.folders if m == model])
        folder = self.folders[model, target]
        if self.collection is None or self.collection.folder != Path(folder):
            self.collection = None
            self.collection = tables.collection(folder)
        layer = _offer(self.lists["layer"], [(name, name) for name in self.collection.layers])
        stimuli = [(f"{s} ({self.collection.verdict(layer, s)})", s) for s in self.collection.stimuli]
        _offer(self.lists["stimulus"], stimuli)

    def _chosen(self):
        """Sheet of the chosen metamer; nothing else is read."""
        exhibit = self.collection.exhibit(self.lists["layer"].value, self.lists["stimulus"].value)
        if exhibit.passed is None:
            return markup.sheet(exhibit, "", "")
        natural, title = markup.titles(exhibit)
        original = markup.piece(exhibit.original, natural)
        metamer = markup.piece(exhibit.metamer, title, brightest=original.brightest)
        return markup.sheet(exhibit, original.text, metamer.text)


def _offer(chosen, options):
    """Give a list new options, keep its choice if that is still one of them, and return it."""
    if chosen.options != tuple(options):
        kept, values = chosen.value, [value for _, value in options]
        chosen.options = options
        chosen.value = kept if kept in values else values[0]
    return chosen.value
