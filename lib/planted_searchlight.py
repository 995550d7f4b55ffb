"""A planted sphere whose voxels carry a known RDM in noise, to see that it is found and nothing elsewhere."""

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from lib import inference, searchlight_geometry, searchlight_maps, searchlight_rdms

LEVEL = 0.05


def patterns(rdm, planted, *, n_subjects, signal, rng):
    """Patterns of subjects whose planted voxels have, in expectation, a given RDM.

    Planted voxels are √signal · L g + √(1 - signal) · noise with L Lᵀ = 1 - rdm and normal g, drawn anew for
    each voxel: their patterns correlate as the RDM says, but for noise. All other voxels are noise.

    Parameters
    ----------
    rdm : array (n_stimuli, n_stimuli)
        1 - correlation of some patterns.
    planted : bool array (n_voxels,)
    n_subjects : int
    signal : float
        Share of a planted voxel's variance, 0 to 1.
    rng : numpy.random.Generator

    Returns
    -------
    dict of str to array (n_stimuli, n_voxels)

    Raises
    ------
    ValueError
        If no patterns can have that RDM.
    """
    values, vectors = np.linalg.eigh(1 - np.asarray(rdm, float))
    if values[0] < -1e-8 * values[-1]:
        raise ValueError(f"no patterns have this RDM: 1 - rdm has the eigenvalue {values[0]:.2g}")
    root = vectors * np.sqrt(np.maximum(values, 0))
    found = {}
    for subject in range(n_subjects):
        response = rng.standard_normal((len(root), len(planted)))
        read = root @ rng.standard_normal((len(root), int(planted.sum())))
        response[:, planted] = np.sqrt(signal) * read + np.sqrt(1 - signal) * response[:, planted]
        found[f"planted{subject + 1}"] = response
    return found


def simulate(
    models, places, sphere, *, radius_mm, n_simulations, n_permutations=199, signal=0.3, n_subjects=4, rng
):
    """Search volumes with a planted sphere again and again.

    Parameters
    ----------
    models : xarray.DataArray (model, stimulus, stimulus_2)
        1 - correlation; the first is planted.
    places : array (n_voxels, 3)
        mm.
    sphere : tuple
        Centre (3,) and radius, mm.
    radius_mm : float
        Of searchlights.
    n_simulations, n_permutations : int
    signal : float
    n_subjects : int
    rng : numpy.random.Generator

    Returns
    -------
    table : pandas.DataFrame
        One row per simulation: found, share of the sphere's searchlights where the planted model is significant,
        family-wise; right, share of them where it wins; false, share of tests (of searchlights without any
        planted voxel, and models) with p < 0.05; any_false, whether one of these is significant family-wise.
    maps : xarray.Dataset
        Of the last simulation, with `planted` (centre).
    """
    planted = np.linalg.norm(places - np.asarray(sphere[0]), axis=1) <= sphere[1]
    near = searchlight_geometry.spheres(places, radius_mm)
    empty = near @ planted.astype(float) == 0
    stimuli, rows = models["stimulus"].values, []
    for _ in range(n_simulations):
        data = patterns(models.values[0], planted, n_subjects=n_subjects, signal=signal, rng=rng)
        orders = rng.permuted(np.tile(np.arange(len(stimuli)), (n_permutations, 1)), axis=1)
        batches = searchlight_rdms.of_patterns(data, dict.fromkeys(data, near))
        maps = searchlight_maps.evaluate(batches, models, stimuli, permutations=orders)
        right = maps["winner"].values[planted] == models["model"].values[0]
        below, family = (maps[name].values <= LEVEL for name in ("p", "p_family"))
        rows.append((family[planted, 0].mean(), right.mean(), below[empty].mean(), family[empty].any()))
    table = pd.DataFrame(rows, columns=["found", "right", "false", "any_false"])
    return table, maps.assign(planted=("centre", planted))


def rates(table):
    """Shares over simulations with 95 % intervals.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `simulate`.

    Returns
    -------
    pandas.DataFrame
        what, value, low, high, nominal (NaN: none), n. Intervals: Clopper and Pearson's for a yes or no, else
        Student's t over simulations.
    """
    what = {
        "found": ("sphere found", np.nan),
        "right": ("planted model wins there", np.nan),
        "false": ("false positives elsewhere, per test", LEVEL),
        "any_false": ("any false positive elsewhere, family-wise", LEVEL),
    }
    rows = []
    for column, (words, nominal) in what.items():
        values = table[column].to_numpy(float)
        mean, n = values.mean(), len(values)
        if table[column].dtype == bool:
            bounds = stats.binomtest(int(values.sum()), n).proportion_ci()
        else:
            half = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)
            bounds = mean - half, mean + half
        rows.append((words, mean, *bounds, nominal, n))
    return pd.DataFrame(rows, columns=["what", "value", "low", "high", "nominal", "n"])


def quotable(table):
    """Rows of numbers.csv.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `simulate`.

    Returns
    -------
    pandas.DataFrame
        name, value, low, high, n, unit, what.
    """
    found = rates(table)
    names = [f"rsa/planted_searchlight/all/{column}" for column in ("found", "right", "false", "any_false")]
    columns = {"name": names, "unit": "simulation"}
    return found.assign(**columns)[inference.QUOTED]


def section(maps, places, name, *, model=None):
    """A section through the middle of the planted sphere.

    Parameters
    ----------
    maps : xarray.Dataset
        Of `simulate`.
    places : array (n_centres, 3)
        On a grid, mm.
    name : str
        Of a variable.
    model : str, optional
        Of which model, where the variable has one.

    Returns
    -------
    xarray.DataArray (y, x)
        With coordinates x, y (mm) and `planted` (y, x).
    """
    values = maps[name] if model is None else maps[name].sel(model=model)
    values = values.mean("subject") if "subject" in values.dims else values
    middle = np.median(places[maps["planted"].values, 2])
    level = np.isclose(places[:, 2], places[np.abs(places[:, 2] - middle).argmin(), 2])
    (x, column), (y, row) = (np.unique(places[level, axis], return_inverse=True) for axis in (0, 1))
    image, planted = np.full((len(y), len(x)), np.nan), np.zeros((len(y), len(x)), bool)
    image[row, column] = values.transpose("centre").values[level]
    planted[row, column] = maps["planted"].values[level]
    coords = {"x": x, "y": y, "planted": (("y", "x"), planted)}
    return xr.DataArray(image, coords, ("y", "x"))
