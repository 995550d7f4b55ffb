"""Proportions correct as stored by experiment: padding, axes, what is refused."""

import numpy as np
import pytest
import releases
import scipy.io

from lib import behaviour


def test_every_cell_becomes_a_row_with_its_own_names(tmp_path):
    table = behaviour.recognition(releases.stored(tmp_path / "a.mat"))
    assert len(table) == 12
    row = table[
        (table["participant"] == "10") & (table["layer"] == "layer1") & (table["observer"] == "network")
    ]
    assert row["stage"].item() == 1
    assert row["proportion_correct"].item() == pytest.approx(9 / 12)


def test_the_stored_characters_are_padded_and_come_without_blanks(tmp_path):
    path = releases.stored(tmp_path / "a.mat")
    assert scipy.io.loadmat(path)["model_layers"].tolist() == [
        "natural_image",
        "layer1       ",
        "final        ",
    ]
    table = behaviour.recognition(path)
    assert sorted(table["layer"].unique()) == ["final", "layer1", "natural_image"]
    assert sorted(table["observer"].unique()) == ["human", "network"]


def test_observers_are_told_by_name_not_by_position(tmp_path):
    path = releases.stored(tmp_path / "a.mat", conditions=np.array(["Network", "Human  "]))
    table = behaviour.recognition(path)
    assert table.query("observer == 'network'")["proportion_correct"].iloc[0] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axis_order": np.array(["model_layers", "participants", "conditions"])}, "has axes"),
        ({"conditions": np.array(["Human  ", "Monkey "])}, "conditions"),
        ({"model_layers": np.array(["natural_image", "final"])}, r"\(2, 3, 2\); \(2, 2, 2\)"),
        ({"model_layers": np.array(["a", "a ", "b"])}, "different names along each axis"),
        ({"participant_data_matrix": np.full((2, 3, 2), 1.1)}, "outside 0 to 1"),
        ({"participant_data_matrix": np.full((2, 3, 2), np.nan)}, "missing"),
        ({"participants": None}, "participants"),
    ],
)
def test_what_is_not_such_a_matrix_is_refused_by_name(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        behaviour.recognition(releases.stored(tmp_path / "odd.mat", **changes))
    assert "odd.mat" in str(caught.value)
