"""Searchlights and functional maps of simulated brains: spheres that must be found, and a planted study."""

import numpy as np
import xarray as xr

from lib import (
    functional_ceilings,
    functional_maps,
    functional_rois,
    functional_study,
    planted_searchlight,
    planted_study,
    rdm_crossvalidation,
    searchlight_geometry,
)

LABEL = "Simulated searchlights"
MODALITY = "both"
KIND = "results"
PLANTED = True
HOMEPAGE = ""
LICENCE = "MIT"
CITATION = "made by this compendium"
COUNTS = {"functional_regions.roi": 15, "collinearity.set": 3}
VOLUME = {"shape": (11, 11, 9), "spacing": 3}  # voxels; mm
SPHERE = {"sphere": ((15, 15, 12), 7), "radius_mm": 6.1, "n_simulations": 200}  # centre and radius in mm
N_PERMUTATIONS = 500  # of conditions, in the planted study
N_FOLDS = 5  # of conditions
SECTIONS = {
    "score": "planted",
    "p_family": "planted",
    "null_95": "planted",
    "lower_ceiling": None,
    "n_voxels": None,
}
SEED = 0


def load(_folder):
    """Tables and maps of what was found beside what was planted.

    Parameters
    ----------
    _folder : pathlib.Path
        Of the download step; not used.

    Returns
    -------
    dict of str to pandas.DataFrame or xarray.Dataset
        `searches` (`lib.planted_searchlight.simulate`), `sections` through the last of its volumes; of the
        planted study (`lib.planted_study.study`) `functional_maps` (`lib.functional_study.searched`, with the
        blocks and the mask), `functional_regions`, `collinearity`, `functional_ceilings` and `cross_validated`.
    """
    searches, sections = _searches(np.random.default_rng(SEED))
    return {"searches": searches, "sections": sections} | _study()


def _searches(rng):
    """What was found of a planted sphere in many volumes, and sections through the last."""
    names = [f"stimulus {i}" for i in range(16)]
    rdms = np.array([1 - np.corrcoef(rng.normal(size=(16, 8))) for _ in range(3)])
    axes = {"model": ["planted", "second", "third"], "stimulus": names, "stimulus_2": names}
    models = xr.DataArray(rdms, axes, ("model", "stimulus", "stimulus_2"))
    affine = np.diag([*[VOLUME["spacing"]] * 3, 1])
    places = searchlight_geometry.coordinates(np.ones(VOLUME["shape"]), affine)
    found, last = planted_searchlight.simulate(models, places, **SPHERE, rng=rng)
    sections = {
        name: planted_searchlight.section(last, places, name, model=model) for name, model in SECTIONS.items()
    }
    return found, xr.Dataset(sections)


def _study():
    """The analyses of Dwivedi et al. (2021) on a planted brain."""
    study, lights, mask = planted_study.study()
    sets = functional_study.regressors(study)
    options = {"n_permutations": N_PERMUTATIONS, "seed": SEED}
    mean = lights["rdm"].mean("subject").values.astype(float)
    mapped = functional_study.searched(mean, lights["lower_ceiling"].values, sets, **options)
    rdms, rois = functional_study.brain(study)
    groups = functional_maps.grouped(sets, functional_maps.networks(list(sets)))
    folds = rdm_crossvalidation.condition_folds(study.sizes["stimulus"], N_FOLDS, np.random.default_rng(SEED))
    blocks = lights[["corner", "size", "true_roi"]]
    return {
        "functional_maps": mapped.merge(blocks).assign(functional_study.volume(mask)),
        "functional_regions": functional_study.regions(study, n_draws=N_PERMUTATIONS, seed=SEED),
        "collinearity": functional_study.collinearity(study),
        "functional_ceilings": functional_ceilings.reconstruction(rdms, sets, rois),
        "cross_validated": functional_rois.cross_validated(rdms, groups, rois, folds),
    }
