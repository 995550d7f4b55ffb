"""RDMs with labels: joined by identifier, never by position."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.spatial.distance import pdist, squareform

from lib import rdm


def square(n=6, seed=0):
    """A labelled RDM of random patterns."""
    patterns = np.random.default_rng(seed).standard_normal((n, 9))
    return rdm.labelled(squareform(pdist(patterns, "sqeuclidean")), [f"s{i}" for i in range(n)])


def test_matched_follows_the_names_and_not_the_order():
    one = square()
    shuffled = one.isel(stimulus=[3, 1, 0, 5, 4, 2], stimulus_2=[2, 5, 1, 0, 3, 4])
    xr.testing.assert_identical(rdm.matched(shuffled, one["stimulus"].values), one)


def test_condensed_is_in_the_order_of_scipy():
    one = square()
    np.testing.assert_array_equal(rdm.condensed(one), squareform(one.values))
    assert rdm.condensed(xr.concat([one, one], "subject")).shape == (2, 15)


def test_axes_in_different_orders_are_an_error():
    with pytest.raises(ValueError, match="same order"):
        rdm.condensed(square().isel(stimulus=[1, 0, 2, 3, 4, 5]))


def test_missing_and_repeated_stimuli_are_named():
    with pytest.raises(ValueError, match="lacks 1 of 2 stimuli on stimulus: s9"):
        rdm.matched(square(), ["s1", "s9"])
    with pytest.raises(ValueError, match="once each, not so: s1"):
        rdm.matched(square(), ["s1", "s1"])
    with pytest.raises(ValueError, match="once each, not so: a"):
        rdm.labelled(np.zeros((3, 3)), ["a", "b", "a"])


def test_stimuli_without_any_dissimilarity_are_counted():
    values = square().values.copy()
    values[2] = values[:, 2] = np.nan
    assert rdm.labelled(values, list("abcdef")).attrs["n_constant_stimuli"] == 1


def test_classical_scaling_finds_places_with_the_given_distances():
    places = np.random.default_rng(1).standard_normal((7, 2))
    one = rdm.labelled(squareform(pdist(places, "sqeuclidean")), list("abcdefg"))
    found = rdm.classical_scaling(one)
    np.testing.assert_allclose(pdist(found.values), pdist(places), rtol=1e-10)
    assert (found.values[np.abs(found.values).argmax(axis=0), [0, 1]] > 0).all()


def test_tidy_keeps_groups_together_in_their_first_order():
    one = square()
    groups = pd.Series(["b", "a", "b", "a", "b", "c"], index=[f"s{i}" for i in range(6)])
    table = rdm.tidy({"x": one, "y": one}, groups)
    assert table["stimulus"].unique().tolist() == ["s0", "s2", "s4", "s1", "s3", "s5"]
    assert len(table) == 72
    row = table[(table["stimulus"] == "s4") & (table["stimulus_2"] == "s1")].iloc[0]
    assert row["value"] == one.sel(stimulus="s4", stimulus_2="s1")
    assert row["group"] == "b"
    with pytest.raises(ValueError, match="stimuli s5"):
        rdm.tidy({"x": one}, groups[:-1])


def test_percentiles_are_ranks_from_0_to_100():
    values = rdm.tidy({"x": square()}, percentiles=True).pivot_table(
        index="stimulus", columns="stimulus_2", values="value"
    )
    found = np.sort(squareform(values.to_numpy()))
    np.testing.assert_allclose(found, np.linspace(0, 100, 15))


def test_places_are_those_of_classical_scaling():
    table = rdm.placed({"x": square()})
    np.testing.assert_allclose(table[["x", "y"]], rdm.classical_scaling(square()).values)
    assert (table["group"] == "").all()
