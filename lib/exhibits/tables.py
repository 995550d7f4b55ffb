"""What a folder of metamers holds, read so that nothing can be shown without its gate."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import xarray as xr

from lib import artefacts, damage, hdf5, plugins

SUFFIXES = (".png", ".wav")
TABLES = {
    "gate": ("layer", "stimulus", "passed", "why", "original_file", "file"),
    "loss": ("layer", "stimulus", "step", "loss"),
    "distances": ("tapped", "measured", "stimulus", "spearman"),
    "null": ("layer", "measure", "maximum"),
    "judged": ("judge", "layer", "stimulus", "label_original", "label_metamer"),
}


@dataclass(frozen=True)
class Exhibit:
    """One metamer: its files, its gate and what else is known of it; without a gate, neither file."""

    layer: str
    stimulus: str
    gate: dict  # column → text; empty if it has no row in gate.csv
    original: Path | None  # None also where the gate names no file
    metamer: Path | None
    loss: pd.DataFrame
    distances: pd.DataFrame
    null: pd.DataFrame
    judged: pd.DataFrame

    @property
    def passed(self):
        """True or False as the gate says; None where there is no gate."""
        return {"true": True, "false": False}.get(self.gate.get("passed", "").lower())


@dataclass(frozen=True)
class Collection:
    """All metamers of one model and target; tables are in memory, sounds and pictures are not."""

    folder: Path
    model: str
    target: str
    layers: tuple
    stimuli: tuple
    tables: dict

    def exhibit(self, layer, stimulus):
        """One metamer with its evidence.

        Parameters
        ----------
        layer, stimulus : str

        Returns
        -------
        Exhibit

        Raises
        ------
        ValueError
            If there is no such layer or stimulus, the gate has two rows for it, or a row names a file outside
            the folder or one that is no PNG or WAV.
        """
        plugins.require(layer, self.layers, "layer")
        plugins.require(stimulus, self.stimuli, "stimulus")
        rows = _of(self.tables["gate"], layer=layer, stimulus=stimulus)
        if len(rows) > 1:
            raise ValueError(f"gate.csv has {len(rows)} rows for layer {layer!r} and stimulus {stimulus!r}")
        gate = {} if rows.empty else rows.iloc[0].to_dict()
        if gate.get("passed", "").lower() not in ("true", "false"):
            gate = {}
        return Exhibit(
            layer=layer,
            stimulus=stimulus,
            gate=gate,
            original=self._file(gate["original_file"]) if gate else None,
            metamer=self._file(gate["file"]) if gate else None,
            loss=_of(self.tables["loss"], layer=layer, stimulus=stimulus),
            distances=_of(self.tables["distances"], tapped=layer, stimulus=stimulus),
            null=self.tables["null"],
            judged=_of(self.tables["judged"], layer=layer, stimulus=stimulus),
        )

    def verdict(self, layer, stimulus):
        """What the gate says of a metamer, in two words at most.

        Parameters
        ----------
        layer, stimulus : str

        Returns
        -------
        {"passed", "failed", "no gate"}
        """
        rows = _of(self.tables["gate"], layer=layer, stimulus=stimulus)
        said = set(rows["passed"].str.lower())
        return (
            {"true": "passed", "false": "failed"}.get(said.pop(), "no gate") if len(said) == 1 else "no gate"
        )

    def _file(self, name):
        """A file that a row of the gate names, if it is one of this folder's sounds or pictures; None for ""."""
        if not name:
            return None
        file = (self.folder / name).resolve()
        if not file.is_relative_to(self.folder.resolve()) or file.suffix.lower() not in SUFFIXES:
            raise ValueError(f"gate.csv names {name!r}: not a PNG or WAV file inside {self.folder}")
        return file


def collection(folder):
    """What a folder of metamers holds: layers, stimuli, gates, losses, distances and labels.

    Parameters
    ----------
    folder : str or pathlib.Path
        `data/metamers/<model>/<target>`: `metamers.nc` names what was synthesised; `gate.csv`, `loss.csv`,
        `distances.csv`, `null.csv` and `judged.csv` are read where they exist.

    Returns
    -------
    Collection
        Without the metamers themselves.

    Raises
    ------
    ValueError
        If the folder has no `metamers.nc`, or a table lacks a column.
    """
    folder = Path(folder)
    file = folder / "metamers.nc"
    if not file.is_file():
        raise ValueError(
            f"{folder} holds no metamers.nc; give the folder of a result of 07_metamers, "
            "data/metamers/<model>/<target>"
        )
    with damage.named(file), hdf5.opened(file), xr.open_dataset(file, engine="h5netcdf") as stored:
        layers, stimuli = (tuple(map(str, stored[name].values)) for name in ("layer", "stimulus"))
        model, target = (str(stored.attrs.get(k, v)) for k, v in names(folder).items())
    tables = {name: _table(folder / f"{name}.csv", columns) for name, columns in TABLES.items()}
    return Collection(folder, model, target, layers, stimuli, tables)


def names(folder):
    """Model and target of a folder of metamers, from where it lies.

    Parameters
    ----------
    folder : str or pathlib.Path

    Returns
    -------
    dict
        `model` and `target`.
    """
    model, target = Path(folder).resolve().parts[-2:]
    return {"model": model, "target": target}


def _table(file, columns):
    """A table, names as text, so that a stimulus called 007 or NA keeps its name; empty if there is no file."""
    if not file.is_file():
        return pd.DataFrame(columns=list(columns), dtype=str)
    # A loss may be noted at each of many steps: its names are kept once, its numbers as numbers.
    long = file.stem == "loss"
    types = {"layer": "category", "stimulus": "category"}
    table = artefacts.load_table(file, **types) if long else artefacts.load_texts(file)
    absent = [column for column in columns if column not in table]
    if absent:
        raise ValueError(f"{file} lacks the columns {absent}")
    return table


def _of(table, **wanted):
    """Rows of a table whose columns have given values."""
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table
