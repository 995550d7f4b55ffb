"""The study of functional maps from its RDMs, released or planted: tables of regions and maps of searchlights."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import xarray as xr

from lib import functional_maps, functional_rois, rdm_regression, rdm_resampling, rdm_tests
from lib.searchlight import pairs

ANALYSES = ("networks", "groups")


def regressors(responses):
    """RDMs of the networks, a set of layers each.

    Parameters
    ----------
    responses : xarray.Dataset
        With `taskonomy_rdm` (network, layer, stimulus, stimulus_2).

    Returns
    -------
    dict of str to array (n_layers, n_pairs)
        By network.
    """
    rdm = responses["taskonomy_rdm"].transpose("network", "layer", "stimulus", "stimulus_2")
    values = rdm.values[..., *pairs(rdm.sizes["stimulus"])]
    return dict(zip(rdm["network"].values.tolist(), values, strict=True))


def brain(responses, rois=functional_rois.SHOWN):
    """RDMs of regions.

    Parameters
    ----------
    responses : xarray.Dataset
        With `rdm` (repeat, subject, roi, stimulus, stimulus_2).
    rois : sequence of str
        In order; those that are there are taken.

    Returns
    -------
    rdms : array (n_subjects, n_rois, n_pairs)
        Mean over repeats.
    rois : list of str
    """
    there = [roi for roi in rois if roi in responses["roi"].values]
    found = (
        responses["rdm"].sel(roi=there).mean("repeat").transpose("subject", "roi", "stimulus", "stimulus_2")
    )
    return found.values[..., *pairs(found.sizes["stimulus"])], there


def regions(responses, *, n_draws=10000, seed=0, published=None):
    """What the three best networks, and the three groups, explain of each region: figures 2b and 3b.

    Parameters
    ----------
    responses : xarray.Dataset
        With `rdm` and `taskonomy_rdm`.
    n_draws, seed, published
        See `lib.functional_rois.parted`.

    Returns
    -------
    pandas.DataFrame
        Of `lib.functional_rois.parted`, with `analysis`: "networks" or "groups".
    """
    sets, (rdms, rois) = regressors(responses), brain(responses)
    about = functional_maps.networks(list(sets))
    best = functional_rois.chosen(functional_rois.scores(rdms, sets, rois))
    options = {"n_draws": n_draws, "seed": seed, "published": published}
    found = {
        "networks": functional_rois.parted(rdms, sets, rois, chosen=best, **options),
        "groups": functional_rois.parted(rdms, functional_maps.grouped(sets, about), rois, **options),
    }
    return pd.concat([table.assign(analysis=name) for name, table in found.items()], ignore_index=True)


def collinearity(responses):
    """How far the groups' regressors can be told apart.

    Parameters
    ----------
    responses : xarray.Dataset
        With `taskonomy_rdm`.

    Returns
    -------
    pandas.DataFrame
        Of `lib.rdm_regression.collinearity`; `regressor` is the layer.
    """
    sets = regressors(responses)
    table = rdm_regression.collinearity(functional_maps.grouped(sets, functional_maps.networks(list(sets))))
    layers = dict(enumerate(responses["taskonomy_rdm"]["layer"].values.tolist()))
    return table.assign(regressor=table["regressor"].map(layers))


def searched(rdms, lower_ceiling, sets, *, n_permutations=10000, seed=0, published=None):
    """Codes of the maps of single networks and of groups, and what they rest on: figures 1d and 3a.

    Parameters
    ----------
    rdms : array (n_searchlights, n_pairs)
        Mean over subjects.
    lower_ceiling : array (n_searchlights,)
    sets : dict of str to array (n_layers, n_pairs)
        Of `regressors`.
    n_permutations, seed : int
    published : {"dwivedi2021"}, optional
        Permute entries of RDMs instead of conditions.

    Returns
    -------
    xarray.Dataset
        `code` (analysis, searchlight), see `lib.functional_maps.codes`; `score` (searchlight, network), √ of
        adjusted R²; `unique` (searchlight, group); `p_network`, `p_group`, `p_winner`; `total` (searchlight),
        adjusted R² of all groups.
    """
    about = functional_maps.networks(list(sets))
    groups, shown = functional_maps.grouped(sets, about), about.sort_values("place")["network"].tolist()
    orders = _orders(rdms.shape[1], n_permutations, seed, published)
    options = {"lower_ceiling": lower_ceiling, "published": published}
    single = functional_maps.searchlights(
        rdms, functional_maps.individual(sets), orders, pairs=False, **options
    )
    parted = functional_maps.searchlights(rdms, functional_maps.partitioned(groups), orders, **options)
    codes = [
        functional_maps.codes(single.statistic, list(sets), single.p, lower_ceiling, order=shown),
        functional_maps.codes(
            parted.statistic,
            list(groups),
            parted.p,
            lower_ceiling,
            order=list(groups),
            p_winner=parted.p_winner,
        ),
    ]
    total = rdm_regression.adjusted_r2(rdm_regression.design(groups, [list(groups)]), rdms)[:, 0]
    return xr.Dataset(
        {
            "code": (("analysis", "searchlight"), np.array(codes)),
            "score": (("searchlight", "network"), single.statistic),
            "p_network": (("searchlight", "network"), single.p),
            "unique": (("searchlight", "group"), parted.statistic),
            "p_group": (("searchlight", "group"), parted.p),
            "p_winner": ("searchlight", parted.p_winner),
            "total": ("searchlight", total),
        },
        coords={"analysis": list(ANALYSES), "network": list(sets), "group": list(groups)},
        attrs={
            "permuted": "entries, as published" if published else "conditions",
            "n_permutations": n_permutations,
        },
    )


def placed(mapped, stored):
    """Maps with the places of their searchlights, so that they can be drawn.

    Parameters
    ----------
    mapped : xarray.Dataset
        Of `searched`.
    stored : pathlib.Path
        Searchlights with `corner` and `size` (searchlight, axis), as `lib.searchlight.store` writes them; attribute
        `mask` names the volume beside it that they cover.

    Returns
    -------
    xarray.Dataset
        With `corner`, `size`, `mask` (i, j, k) and `affine` (row, column), from voxels to mm.

    Raises
    ------
    ValueError
        If there are other searchlights than mapped ones.
    """
    with xr.open_dataset(stored, engine="h5netcdf") as file:
        blocks, mask = file[["corner", "size"]].load(), nib.load(Path(stored).with_name(file.attrs["mask"]))
    if blocks.sizes["searchlight"] != mapped.sizes["searchlight"]:
        sizes = mapped.sizes["searchlight"], blocks.sizes["searchlight"]
        raise ValueError(f"maps are of {sizes[0]} searchlights, but {stored} has {sizes[1]}")
    return mapped.merge(blocks.drop_attrs()).assign(volume(mask))


def volume(mask):
    """A mask as variables.

    Parameters
    ----------
    mask : nibabel image

    Returns
    -------
    dict
        `mask` (i, j, k), whether a voxel is not 0, and `affine` (row, column), from voxels to mm.
    """
    voxels = np.asarray(mask.dataobj) != 0
    return {"mask": (("i", "j", "k"), voxels), "affine": (("row", "column"), mask.affine)}


def _orders(n_pairs, n_permutations, seed, published):
    """Orders of an RDM's entries."""
    n = rdm_resampling.n_conditions(n_pairs)
    if published:
        return rdm_tests.published_draws(n, n_permutations, seed=seed, subsamples=False)[1]
    rng = np.random.default_rng(seed)
    return rdm_tests.orders(rng.permuted(np.tile(np.arange(n), (n_permutations, 1)), axis=1))
