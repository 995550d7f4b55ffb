"""Published bars, diagrams and ceilings agree with each other."""

import numpy as np
import pandas as pd
import pytest

from lib import functional_maps, functional_rois, published_maps


@pytest.mark.parametrize("figure", published_maps.FIGURES)
def test_bars_are_less_than_their_totals(figure):
    table = published_maps.bars(figure)
    assert table["roi"].drop_duplicates().tolist() == list(functional_rois.SHOWN)
    assert (table.groupby("roi").size() == 3).all()
    rois = table.groupby("roi")
    # Totals are printed to two decimals.
    assert (rois["unique"].sum() <= rois["total"].first() + 0.005).all()


def by_rank():
    """Unique variance (roi, rank), total, and the parts of the diagrams, regions in one order."""
    table, parts = published_maps.bars("2b"), published_maps.venn().set_index("roi")
    unique = table.pivot_table(index="roi", columns="position", values="unique").reindex(parts.index)
    return unique.to_numpy(), table.groupby("roi")["total"].first().reindex(parts.index).to_numpy(), parts


def test_seven_parts_sum_to_the_total():
    unique, total, parts = by_rank()
    whole = unique.sum(axis=1) + parts[["s12", "s13", "s23", "t"]].sum(axis=1)
    # Recovered with totals that are known to .005, and printed to two or three decimals.
    np.testing.assert_allclose(whole, total, atol=0.011)


def test_parts_of_a_network_sum_to_what_it_explains_alone():
    unique, _, parts = by_rank()
    shared = parts[["s12", "s13", "s23"]].to_numpy() @ [[1, 1, 0], [1, 0, 1], [0, 1, 1]]
    alone = parts[["r1", "r2", "r3"]].to_numpy()
    np.testing.assert_allclose(unique + shared + parts[["t"]].to_numpy(), alone, atol=0.011)
    assert (np.diff(alone, axis=1) <= 0).all()


def test_more_than_sixty_percent_is_explained_in_nine_regions():
    table = published_maps.ceilings()
    share = table["value"] / table["lower_ceiling"]
    # The abstract's claim holds of the lower ceiling, V3a by rounding.
    assert (share >= 0.5995).sum() == 9
    assert (table["value"] <= table["upper_ceiling"]).all()


def test_stars_are_of_bars_above_the_axis():
    table = published_maps.bars("3b")
    assert (table["unique"][table["star"] == 1] > 0).all()
    assert published_maps.bars("2b")["star"].eq(1).all()
    assert len(published_maps.pairs("2b")) == 45 - 3 - 1 - 1 - 1 - 1
    assert published_maps.pairs("3b").groupby("roi").size().reindex(["V2d", "VO1", "V3b"]).fillna(
        0
    ).tolist() == [0, 2, 2]


def test_published_bars_stand_beside_the_same_network_of_the_same_region():
    rows = [("V1v", "unique", "edge2d"), ("V1v", "single", "edge2d"), ("V1v", "unique", "normal"),
            ("VO1", "unique", "edge2d")]  # fmt: skip
    table = pd.DataFrame(rows, columns=["roi", "kind", "part"])
    found = published_maps.beside(table, "2b", {"edge2d": "2D edges", "normal": "normals"})
    np.testing.assert_array_equal(found["published"], [0.1044, np.nan, np.nan, 0.0368])
    assert found.columns.tolist() == [*table.columns, "published"]


def test_every_published_name_is_that_of_a_network_or_group():
    labels = set(functional_maps.networks()["label"])
    assert set(published_maps.bars("2b")["name"]) <= labels
    assert set(published_maps.bars("3b")["name"]) == set(functional_maps.GROUPS)


def test_published_ceilings_stand_beside_their_regions():
    table = pd.DataFrame({"roi": ["V1d", "FFA"], "value": [0.2, 0.1]})
    found = published_maps.beside_ceilings(table)
    assert found.loc[0, ["value", "published", "published_lower", "published_upper"]].tolist() == [
        0.2,
        0.2569,
        0.4047,
        0.4686,
    ]
    assert found.loc[1, ["published", "published_lower", "published_upper"]].isna().all()
