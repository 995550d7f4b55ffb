"""Responses beside predictions: the favourite layer, left-out splits only, sounds joined by name."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from lib import component_responses

SOUNDS = [f"s{i}" for i in range(6)]
PARTS = ["pitch", "music"]


@pytest.fixture
def responses():
    rng = np.random.default_rng(0)
    train = np.array([[1, 1, 1, 0, 0, 0], [0, 1, 0, 1, 0, 1]], bool)
    return xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), rng.random((2, 6, 2))),
            "train": (("split", "stimulus"), train),
        },
        {"stimulus": SOUNDS, "voxel": PARTS, "split": [0, 1]},
    )


@pytest.fixture
def predictions():
    rng = np.random.default_rng(1)
    coords = {"split": [0, 1], "stimulus": SOUNDS, "voxel": PARTS}
    dims = ("split", "stimulus", "voxel")
    return {name: xr.DataArray(rng.random((2, 6, 2)), coords, dims) for name in ("conv", "pool")}


def chosen(positions):
    return pd.DataFrame({"part": "pitch", "iteration": range(len(positions)), "position": positions})


def test_the_favourite_is_the_most_frequent_layer():
    names = ["a", "b", "c"]
    assert component_responses.favourites(chosen([0.5, 1, 1, 0, 1]), names)["pitch"] == "c"
    assert (
        component_responses.favourites(chosen([1, 0.5, 1, 0.5]), names)["pitch"] == "b"
    )  # a tie: the earlier
    assert component_responses.favourites(chosen([np.nan] * 3), ["only"])["pitch"] == "only"


def test_a_prediction_is_the_mean_of_splits_that_left_the_sound_out(responses, predictions):
    favourite = pd.Series({"pitch": "pool", "music": "conv"})
    table = component_responses.predicted(favourite, predictions, responses)
    rows = table[table["part"] == "pitch"].set_index("stimulus")
    made = predictions["pool"].sel(voxel="pitch").values
    assert set(rows["layer"]) == {"pool"}
    np.testing.assert_allclose(rows["predicted"]["s0"], made[1, 0])
    np.testing.assert_allclose(rows["predicted"]["s4"], made[:, 4].mean())
    assert np.isnan(rows["predicted"]["s1"])  # trained on in both
    measured = responses["response"].sel(voxel="pitch").mean("repeat").values
    np.testing.assert_allclose(rows["response"][SOUNDS], measured)


def test_sounds_are_joined_by_name(responses, predictions):
    favourite = pd.Series({"music": "conv"})
    shuffled = {"conv": predictions["conv"].isel(stimulus=[3, 1, 5, 0, 2, 4])}
    pd.testing.assert_frame_equal(
        component_responses.predicted(favourite, shuffled, responses),
        component_responses.predicted(favourite, predictions, responses),
    )
    with pytest.raises(ValueError, match="conv"):
        component_responses.predicted(
            favourite, {"conv": shuffled["conv"].isel(stimulus=slice(5))}, responses
        )


def test_nothing_chosen_is_an_empty_table(responses):
    table = component_responses.predicted(pd.Series(dtype=str), {}, responses)
    assert table.columns.tolist() == ["part", "layer", "stimulus", "response", "predicted"]
    assert table.empty
