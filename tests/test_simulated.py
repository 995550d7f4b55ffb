"""The simulated targets: their tables are what 08_figures draws, and the truth is in them."""

import numpy as np
import pytest

from lib import contract, quality
from lib.datasets import simulated_searchlights, simulated_statistics


@pytest.fixture(scope="module")
def statistics():
    """All tables, from fewer simulations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated_statistics, "N_SIMULATIONS", {"": 3, "unequal": 3, "new": 2})
        patch.setattr(simulated_statistics, "N_UNRELATED", 3)
        yield simulated_statistics.load(None)


@pytest.fixture(scope="module")
def searchlights():
    """All tables, from fewer volumes and permutations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(simulated_searchlights.SPHERE, "n_simulations", 3)
        patch.setattr(simulated_searchlights, "N_PERMUTATIONS", 19)
        yield simulated_searchlights.load(None)


@pytest.mark.parametrize("made", ["statistics", "searchlights"])
def test_tables_keep_the_contract_and_have_what_is_stated(made, request):
    module = {"statistics": simulated_statistics, "searchlights": simulated_searchlights}[made]
    tables = request.getfixturevalue(made)
    contract.validate_results(tables)
    assert (quality.counts(tables, module.COUNTS)["agree"] == "yes").all()


def test_every_design_and_level_is_simulated(statistics):
    noise = statistics["noise_correction"]
    assert set(noise["explainable"]) == set(simulated_statistics.EXPLAINABLE)
    assert set(noise["planted"]) == set(simulated_statistics.PLANTED_SHARES)
    assert noise["case"].nunique() == len(simulated_statistics.CASES)
    assert set(statistics["layer_weights"]["case"]) == set(simulated_statistics.WEIGHTS)


def test_planted_sphere_is_in_the_section_and_scores_higher(searchlights):
    sections = searchlights["sections"]
    assert sections["planted"].values.any()
    inside = sections["score"].values[sections["planted"].values]
    outside = sections["score"].values[~sections["planted"].values]
    assert np.nanmean(inside) > np.nanmean(outside) + 0.1
    assert searchlights["searches"]["found"].min() > 0.5


def test_functional_map_knows_its_volume(searchlights):
    mapped = searchlights["functional_maps"]
    last = (mapped["corner"] + mapped["size"]).max("searchlight").values
    assert (last <= mapped["mask"].shape).all()
    assert np.linalg.det(mapped["affine"].values[:3, :3]) != 0
