import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import plugins, selector

MEMBERS = {
    "Voxels": [0, 1, 2, 3, 4, 5],
    "V1": [0, 1, 2],
    "V2": [2, 3],
    "odd-one here": [5],
    "3": [4],
}


def members(key):
    plugins.require(key, MEMBERS, "key")
    return np.isin(np.arange(8), MEMBERS[key])


def columns(expression):
    return np.flatnonzero(selector.mask(expression, members)).tolist()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("V1", [0, 1, 2]),
        ("V1 = 1", [0, 1, 2]),
        ("V1=1=1", [0, 1, 2]),
        ("V1 = 0", [3, 4, 5, 6, 7]),
        ("V1 = 3", []),
        ("V1 = 1 | V2 = 1", [0, 1, 2, 3]),
        ("V1 + V2", [0, 1, 2, 3]),
        ("V1 & V2", [2]),
        ("V1 - V2", [0, 1]),
        ("V1-V2", [0, 1]),
        ("V1 | V2 & V2", [2, 3]),  # one rank, from the left
        ("V1 | (V2 & V1)", [0, 1, 2]),
        ("Voxels - V1 - V2", [4, 5]),
        ("Voxels - (V1 - V2)", [2, 3, 4, 5]),
        ("Voxels & V1 = 0", [3, 4, 5]),  # = binds tighter
        ("(V1 | V2) = 1 & V1", [0, 1, 2]),
        ("((V1))", [0, 1, 2]),
        ('"odd-one here"', [5]),
        ("'odd-one here' = 1|V2", [2, 3, 5]),
        ("'3'", [4]),  # in quotes a number is a key
        ("  V1\t&\nV2  ", [2]),
    ],
)
def test_selectors_mean_what_they_say(expression, expected):
    assert columns(expression) == expected


@pytest.mark.parametrize("operator", selector.COMBINE)
def test_operators_share_a_rank_and_associate_left(operator):
    for other in selector.COMBINE:
        expected = columns(f"(Voxels {operator} V1) {other} V2")
        assert columns(f"Voxels {operator} V1 {other} V2") == expected


ALL = set(range(8))
LEAVES = st.sampled_from([(f"'{key}'", set(columns)) for key, columns in MEMBERS.items()])
SETS = {"|": set.union, "+": set.union, "&": set.intersection, "-": set.difference}
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([*SETS]), inner).map(
            lambda t: (f"({t[0][0]} {t[1]} {t[2][0]})", SETS[t[1]](t[0][1], t[2][1]))
        ),
        inner.map(lambda t: (f"({t[0]} = 0)", ALL - t[1])),
        inner.map(lambda t: (f"({t[0]}=1)", t[1])),
    ),
    max_leaves=12,
)


@given(TREES)
def test_selections_are_operations_on_sets(tree):
    expression, expected = tree
    assert set(columns(expression)) == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "has 'its end' where a key or ( belongs"),
        ("V1 |", "has 'its end' where a key"),
        ("| V1", "has '|' where a key"),
        ("()", "has ')' where a key"),
        ("1 = V1", "has '1' where a key"),
        ("V1 V2", "goes on after its end, at 'V2'"),
        ("V1)", "goes on after its end, at ')'"),
        ("(V1", "lacks a closing parenthesis"),
        ("(V1 V2)", "lacks a closing parenthesis"),
        ("V1 = V2", "compares with 'V2'"),
        ("V1 = '1'", "compares with '1'"),
        ("V1 = -1", "compares with '-'"),
        ("V1 =", "compares with 'its end'"),
        ("'V1", 'cannot be read from "\'V1" on'),
        ("V9", "did you mean"),
        ("top 3 of V1 @ V2", "unknown key 'top'"),  # a rank selection, which is not supported
    ],
)
def test_a_malformed_selector_is_explained(expression, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        selector.mask(expression, members)
