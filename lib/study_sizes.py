"""Sizes of data sets and networks, from what is on disk or else as tabulated, before anything is run."""

import functools
import json
from pathlib import Path
from typing import NamedTuple

import h5py
import pandas as pd
import xarray as xr

from lib import artefacts, auditory_models, plugins

ASSUMED_UNITS = 1000  # of layers of released features: those of the hierarchy score have so many at most


class Target(NamedTuple):
    """Sizes of a brain data set.

    Attributes
    ----------
    n_stimuli, n_train, n_splits, n_repeats : int
    cells : tuple of int
        Voxels of each region of each subject.
    n_subjects : int
    n_regions : int
        For RDMs, with that of all voxels.
    n_test, n_test_repeats : int
        Stimuli shown apart as a test, and how often; 0 where splits leave stimuli out.
    kind : {"component", "voxel", "rdm"}
    located : bool
        Whether voxels have places, and searchlights are run.
    """

    n_stimuli: int
    n_train: int
    n_splits: int
    n_repeats: int
    cells: tuple
    n_subjects: int
    n_regions: int
    n_test: int = 0
    n_test_repeats: int = 0
    kind: str = "voxel"
    located: bool = False

    @property
    def n_voxels(self):
        """Voxels of all regions."""
        return sum(self.cells)

    @property
    def n_columns(self):
        """Columns that are fitted: the mean, and each repeat if there are several."""
        return self.n_voxels * (1 + (self.n_repeats if self.n_repeats > 1 else 0))

    @property
    def n_all(self):
        """Stimuli, those of a test included."""
        return self.n_stimuli + self.n_test

    @property
    def n_pairs(self):
        """Pairs of stimuli."""
        return self.n_stimuli * (self.n_stimuli - 1) // 2

    @property
    def n_rdms(self):
        """RDMs of subjects and regions."""
        return self.n_subjects * self.n_regions


class Network(NamedTuple):
    """Sizes of a network.

    Attributes
    ----------
    units : tuple of int
        Of each layer that is kept.
    flops, traffic, largest, weights : float
        As `network_cost.measured` returns them, per stimulus; 0 where activations are taken as released.
    """

    units: tuple
    flops: float = 0.0
    traffic: float = 0.0
    largest: float = 0.0
    weights: float = 0.0

    def kept(self, n_units):
        """Units of each layer that are decoded: at most so many, all if None."""
        return [min(units, n_units) if n_units else units for units in self.units]


def target(name):
    """Sizes of a data set: of what was downloaded, or else as its plug-in states them.

    Parameters
    ----------
    name : str

    Returns
    -------
    Target or None
        None where numbers are missing. What is only stated is taken to have ten splits into halves, and as many voxels
        in each region of each subject.
    """
    file = artefacts.directory("download", target=name) / "responses.nc"
    if file.exists():
        return _of_file(file)
    about = plugins.about("target", name)
    counts = about.get("COUNTS", {})
    n, n_voxels, n_repeats = (counts.get(what) for what in ("stimuli", "voxels", "repeats"))
    if not (n and n_voxels and n_repeats):
        return None
    n_subjects, n_rois = counts.get("subjects") or 1, counts.get("rois") or 1
    cells = even(n_voxels, n_subjects * n_rois)
    return Target(n, (n + 1) // 2, 10, n_repeats, cells, n_subjects, n_rois + 1, kind=about["KIND"])


def even(n_voxels, n_cells):
    """Voxels of regions that are as alike in size as can be.

    Parameters
    ----------
    n_voxels, n_cells : int
        Of all regions together; regions.

    Returns
    -------
    tuple of int
        Sum n_voxels.
    """
    return tuple(n_voxels // n_cells + (cell < n_voxels % n_cells) for cell in range(n_cells))


def _of_file(file):
    """Sizes of responses on disk."""
    with xr.open_dataset(file, engine="h5netcdf") as found:
        sizes, kind = found.sizes, found.attrs["kind"]
        if "rdm" in found:
            shape = sizes["subject"], sizes["roi"]
            return Target(sizes["stimulus"], sizes["stimulus"], 10, 1, (), *shape, kind=kind)
        labels = pd.DataFrame({name: found[name].values.astype(str) for name in ("subject", "roi")})
        cells = tuple(labels[labels["roi"] != ""].groupby(["subject", "roi"]).size())
        n_train = int(found["train"].sum("stimulus").mean())
        n_regions = labels.loc[labels["roi"] != "", "roi"].nunique() + 1 + sizes.get("region", 0)
        tests = sizes.get("test_stimulus", 0), sizes.get("test_repeat", 0)
        here = sizes["stimulus"], n_train, sizes["split"], sizes["repeat"], cells
        return Target(*here, labels["subject"].nunique(), n_regions, *tests, kind, "z" in found.coords)


def network(model, target=""):
    """Sizes of a network: of what was extracted, or else as tabulated beside this module.

    Parameters
    ----------
    model : str
        As for `models.load`; a control costs what its model costs.
    target : str, optional
        Data set that features may have been extracted for.

    Returns
    -------
    Network or None
        None where nothing is known without building it, for which see `network_cost.measured`.
    """
    stem, _ = plugins.split_control(model)
    about = plugins.about("model", stem)
    work = {} if about.get("RELEASED") else passes(stem)
    file = artefacts.directory("extract", model=model, target=target) / "features.nc"
    if file.exists():
        with h5py.File(file) as found:
            found_units = tuple(found[name].shape[1] for name in json.loads(found.attrs["layers"]))
        return Network(found_units, **work)
    known, layers = units(stem), about["LAYERS"]
    if about.get("RELEASED"):
        return Network(tuple(known.get(layer, ASSUMED_UNITS) for layer in layers))
    if isinstance(layers, str) or not set(layers) <= set(known):
        return None
    return Network(tuple(known[layer] for layer in layers), **work)


def units(model):
    """Units of layers of a network with random weights, for a stimulus of a usual size.

    Parameters
    ----------
    model : str

    Returns
    -------
    dict of str to int
        By layer; those of `lib.auditory_models` and `lib.bh29`. Empty for models that are in neither.
    """
    table = _table("layers")
    return dict(table.loc[table["model"] == twin(model), ["layer", "units"]].itertuples(index=False))


def twin(model):
    """The tabulated model of an architecture: itself, one trained otherwise, or the one whose features are released.

    Parameters
    ----------
    model : str

    Returns
    -------
    str
        "" if there is none.
    """
    tabulated, known = {*_table("layers")["model"]}, auditory_models.networks()
    if model in tabulated:
        return model
    same = known.loc[(known["model"] == model) | (known["released"] == model), "network"]
    models = known.loc[known["network"].isin(same), "model"]
    return next((name for name in models if name in tabulated), "")


def passes(model):
    """Work of a forward pass of a network, for a stimulus of a usual size.

    Parameters
    ----------
    model : str

    Returns
    -------
    dict
        `flops`, `traffic`, `largest` and `weights` as for `Network`; empty for models that are not tabulated.
    """
    table, name = _table("passes").set_index("model"), twin(model)
    return table.loc[name].to_dict() if name else {}


@functools.cache
def _table(part):
    """A table beside this module."""
    return artefacts.load_table(Path(__file__).with_name(f"study_sizes.{part}.csv"))
