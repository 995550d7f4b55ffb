"""Contributions of layers: planted weights come back, tables say what was found."""

import numpy as np
import pytest
from scipy import stats
from toylayers import planted

from lib import layer_contributions, layer_weighted


@pytest.mark.parametrize("truth", [(0, 1, 0), (0.5, 0.3, 0.2)])
def test_planted_weights_are_recovered_and_predict_best(truth):
    found, scores = layer_contributions.recovered(truth, n_draws=6)
    shares = found[found["method"] == "kernel_share"].pivot_table(
        index="draw", columns="layer", values="value"
    )
    # Within three standard errors, which are about 0.01; a share of 0 can only err upwards, by such errors.
    allowed = np.maximum(3 * stats.sem(shares), 0.04)
    assert (np.abs(shares.mean().to_numpy() - truth) < allowed).all()
    assert (stats.sem(shares) < 0.03).all()
    r = scores.pivot_table(index="draw", columns="method", values="r")
    joint = r.pop("all layers, weighted by region")
    assert (joint.mean() > r.mean() - 0.005).all()
    assert joint.mean() > r["banded ridge"].mean() + 0.01


def test_banded_scores_take_the_repeats_that_other_methods_take():
    layers, data = planted((0.1, 0.9), n_voxels=4)
    columns = {name: X - X.mean(axis=0) for name, X in layers.items()}
    Y = data["response"].values.copy()
    Y[1, 3, 0] = np.nan  # the first repeat is left
    Y[:, :, 1] = 2.0
    Y[:, 5, 2] = np.nan
    scores = layer_contributions.banded_scores(columns, data.assign(response=data["response"].copy(data=Y)))
    first = layer_contributions.banded_scores(columns, data.isel(repeat=[0]))
    np.testing.assert_allclose(scores["r"][:, 0], first["r"][:, 0])
    assert np.isnan(scores["r"][0]).values.tolist() == [False, True, True, False]


def test_tables_and_numbers_name_the_strongest_layer():
    layers, data = planted((0.1, 0.9))
    columns = {name: X - X.mean(axis=0) for name, X in layers.items()}
    joint = layer_weighted.encode(columns, data)
    rows = layer_contributions.table(joint)
    assert rows[["subject", "roi", "layer"]].to_numpy().tolist() == [
        ["a", "P", "layer0"],
        ["a", "P", "layer1"],
    ]
    np.testing.assert_array_equal(rows["unique"], joint["unique"].values[0, 0])
    scores = {"all": joint, "banded": layer_contributions.banded_scores(columns, data)}
    scores["single"] = layer_weighted.single_layer(columns, data)
    compared = layer_contributions.methods(scores)
    assert compared["method"].tolist() == ["all", "banded", "single"]
    assert compared["value"].iloc[0] == pytest.approx(joint["r2"].median().item())
    quoted = layer_contributions.quotable(rows, compared, target="toy", model="Net").set_index("name")[
        "value"
    ]
    start = "encode/toy/net/layer weighted"
    assert quoted[f"{start} kernel_share/p/layer1"] == rows["kernel_share"].max()
    gained = compared["value"].iloc[0] - compared["value"].iloc[2]
    assert quoted[f"{start} gain/all"] == pytest.approx(gained)
    assert len(quoted) == 1 + 3 + 2


def test_banded_scores_are_nan_where_responses_are():
    layers, data = planted((0.5, 0.5), n_voxels=4)
    bad = data["response"].values.copy()
    bad[:, 3, 1] = np.nan
    scores = layer_contributions.banded_scores(layers, data.assign(response=(data["response"].dims, bad)))
    assert np.isnan(scores["r"].values[0]).tolist() == [False, True, False, False]
    assert scores["roi"].values.tolist() == ["P"] * 4


def test_a_figure_shows_the_tables_values_with_the_planted_layer():
    layers, data = planted((0.1, 0.9))
    joint = layer_weighted.encode(layers, data, drop_one=False)
    names = {"target": "toy", "model": "net"}
    shares = layer_contributions.table(joint).assign(**names)
    compared = layer_contributions.methods({"all": joint}).assign(**names)
    table = layer_contributions.shown(shares, compared, {("toy", "net"): {"P": "layer1"}})
    assert table["panel"].unique().tolist() == ["kernel_share", "contribution", "scores"]
    part = table[table["panel"] == "contribution"]
    assert part["value"].tolist() == shares["contribution"].tolist()
    assert set(table["true_layer"]) == {"layer1"}
    assert set(table["layers"]) == {"layer0,layer1"}
    assert table[table["panel"] == "scores"]["value"].item() == compared["mean"].item()
