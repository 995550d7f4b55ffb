"""Layer weights shared by a region: other implementations, laws, planted weights, bad input."""

import numpy as np
import pytest
from toylayers import planted

from lib import folds, layer_contributions, layer_weighted, metrics, ridge


def test_weights_do_not_depend_on_units_order_or_rotation():
    layers, data = planted((0.7, 0.3), n_units=20)
    first = layer_weighted.encode(layers, data, drop_one=False)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(20, 20)))[0]
    changed = {"layer1": 100 * layers["layer1"] @ rotation + 7, "layer0": layers["layer0"]}
    scaled = data.assign(response=data["response"] * np.linspace(1, 9, 30) + 5)
    second = layer_weighted.encode(changed, scaled, drop_one=False).sel(layer=first["layer"])
    # 1e-4: slopes below 1e-6 leave weights free by this much where the error's curvature is about 0.01
    np.testing.assert_allclose(second["kernel_share"], first["kernel_share"], atol=1e-4)
    np.testing.assert_allclose(second["r"], first["r"], atol=1e-4)


def test_predictions_equal_kernel_ridge_of_himalaya():
    from himalaya.kernel_ridge import KernelRidge

    layers, data = planted((0.6, 0.4))
    fit = layer_weighted.encode(layers, data, alphas=[1.0], drop_one=False)
    train, Y = data["train"].values[0], data["response"].mean("repeat").values
    X = []
    for a, layer in zip(fit["layer_weight"].values[0, 0], layers.values(), strict=True):
        centred = layer - layer[train].mean(axis=0)
        X.append(a * centred / np.sqrt((centred[train] ** 2).sum(axis=1).mean()))
    X, offset = np.hstack(X), Y[train].mean(axis=0)
    model = KernelRidge(alpha=1.0, warn=False).fit(X[train], Y[train] - offset)
    expected = model.predict(X[~train]) + offset
    # 1e-5: predictions are kept in single precision
    np.testing.assert_allclose(fit["prediction"].values[0][~train], expected, atol=1e-5)


def test_weights_and_predictions_do_not_see_the_test_stimuli():
    layers, data = planted((0.6, 0.4))
    train = data["train"].values[0]
    fit = layer_weighted.encode(layers, data, drop_one=False)
    other = data["response"].values.copy()
    other[:, ~train] = np.random.default_rng(1).normal(size=other[:, ~train].shape)
    more = {name: np.where(train[:, None], X, X + 1) for name, X in layers.items()}
    again = layer_weighted.encode(more, data.assign(response=(data["response"].dims, other)), drop_one=False)
    np.testing.assert_array_equal(again["layer_weight"], fit["layer_weight"])
    np.testing.assert_array_equal(again["left_out"], fit["left_out"])


def test_parts_of_all_layers_make_up_the_prediction():
    layers, data = planted((0.6, 0.4))
    fit = layer_weighted.encode(layers, data)
    train, Y = data["train"].values[0], data["response"].mean("repeat").values
    scaled = layer_weighted._scaled(list(layers.values()), train)
    parts = layer_weighted._parts(scaled, fit["layer_weight"].values[0, 0], Y, train, fit["alpha"].values[0])
    expected = parts.sum(axis=0) + Y[train].mean(axis=0)
    np.testing.assert_allclose(fit["prediction"].values[0][~train], expected, atol=1e-5)
    for name in ("contribution", "covariance_share", "kernel_share"):
        np.testing.assert_allclose(fit[name].sum("layer"), 1)


def test_only_the_planted_layer_is_given_weight():
    layers, data = planted((0, 1, 0))
    rows = layer_contributions.table(layer_weighted.encode(layers, data)).set_index("layer")
    assert rows["layer_weight"].idxmax() == "layer1"
    for share in ("contribution", "covariance_share", "kernel_share"):
        assert rows[share].drop("layer1").abs().max() < 0.1 < 0.9 < rows.loc["layer1", share]
    assert rows["unique"].drop("layer1").abs().max() < 0.02 < 0.2 < rows.loc["layer1", "unique"]


def test_what_is_unique_is_lost_without_the_layer_and_with_the_others_weighted_anew():
    layers, data = planted((0.5, 0.3, 0.2), noise=0.3)
    # What the first carries is in the second too, but there is little of it there.
    layers["layer1"] = layers["layer1"] + 0.3 * layers["layer0"]
    fit = layer_weighted.encode(layers, data)
    for index, name in enumerate(layers):
        others = {other: X for other, X in layers.items() if other != name}
        without = layer_weighted.encode(others, data, drop_one=False)["r2"].mean().item()
        expected = fit["r2"].mean().item() - without
        # 1e-3: the solver starts elsewhere, and layers that do not help are left out for 1e-5 of the error
        assert fit["unique"].values[0, 0, index] == pytest.approx(expected, abs=1e-3)


def test_as_good_as_banded_ridge_of_himalaya_and_better_than_the_best_layer():
    from himalaya.kernel_ridge import MultipleKernelRidgeCV

    layers, data = planted((0.5, 0.5, 0, 0), noise=0.6)
    train, Y = data["train"].values[0], data["response"].mean("repeat").values
    ours = layer_weighted.encode(layers, data, drop_one=False)["r"].mean().item()
    best = layer_weighted.single_layer(layers, data)["r"].mean().item()
    scaled = layer_weighted._scaled(list(layers.values()), train)
    K = np.stack([X[train] @ X[train].T for X in scaled])
    options = {"n_iter": 30, "alphas": np.logspace(-3, 3, 13), "progress_bar": False}
    model = MultipleKernelRidgeCV("precomputed", solver_params=options, random_state=0, cv=5)
    model.fit(K, Y[train] - Y[train].mean(axis=0))
    theirs = metrics.pearson(Y[~train], model.predict(np.stack([X[~train] @ X[train].T for X in scaled])))
    assert ours > best + 0.05
    # Weights of single voxels vary by chance, those of a region with one truth less.
    assert ours > theirs.mean() - 0.01


def test_best_single_layer_is_chosen_by_left_out_train_stimuli():
    layers, data = planted((0, 0.9, 0.1))
    fit = layer_weighted.single_layer(layers, data, alphas=ridge.ALPHAS)
    assert fit["chosen"].values[0, 0].tolist() == [0, 1, 0]
    other = layer_weighted.single_layer({"layer1": layers["layer1"]}, data, alphas=ridge.ALPHAS)
    np.testing.assert_allclose(fit["r"], other["r"], atol=1e-12)


def test_unusable_voxels_are_counted_and_leave_the_others_alone():
    layers, data = planted((0.6, 0.4), n_voxels=6)
    clean = layer_weighted.encode(layers, data.isel(voxel=slice(4)), drop_one=False)
    bad = data["response"].values.copy()
    bad[:, :, 4], bad[:, 3, 5] = 2.0, np.nan
    fit = layer_weighted.encode(layers, data.assign(response=(data["response"].dims, bad)), drop_one=False)
    assert [fit[name].item() for name in ("n_voxels", "n_constant", "n_missing")] == [4, 1, 1]
    np.testing.assert_array_equal(fit["layer_weight"], clean["layer_weight"])
    assert np.isnan(fit["r"].values[0, 4:]).all()


def test_a_region_without_usable_voxels_is_nan_and_counted():
    layers, data = planted((0.6, 0.4), n_voxels=4)
    constant = data.assign(response=data["response"] * 0, roi=("voxel", ["P", "P", "Q", ""]))
    constant["response"][:, :, :2] = data["response"][:, :, :2]
    fit = layer_weighted.encode(layers, constant)
    assert fit["group"].values.tolist() == ["a/P", "a/Q"]
    assert fit["n_constant"].values.tolist() == [[0, 1]]
    assert np.isnan(fit["layer_weight"].values[0, 1]).all()
    assert fit["voxel"].values.tolist() == ["v0", "v1", "v2"]


def test_voxels_constant_over_test_stimuli_do_not_hide_the_contributions_of_others():
    layers, data = planted((0.6, 0.4), n_voxels=6)
    test = ~data["train"].values[0]
    bad = data["response"].values.copy()
    bad[:, test, 5] = 2.0
    fit = layer_weighted.encode(layers, data.assign(response=(data["response"].dims, bad)))
    for name in ("contribution", "covariance_share", "unique"):
        assert np.isfinite(fit[name]).all()
    assert np.isnan(fit["r"].values[0]).tolist() == [False] * 5 + [True]
    bad[:, test] = 2.0
    nothing = layer_weighted.encode(layers, data.assign(response=(data["response"].dims, bad)))
    for name in ("contribution", "covariance_share", "unique"):
        assert np.isnan(nothing[name]).all()


def test_a_region_without_usable_voxels_has_no_best_layer():
    layers, data = planted((0.6, 0.4), n_voxels=4)
    fit = layer_weighted.single_layer(layers, data.assign(response=data["response"] * 0))
    assert np.isnan(fit["chosen"]).all()


@pytest.mark.parametrize("correction", ["reliability", "ncsnr"])
def test_a_fixed_test_is_that_of_the_same_stimuli_as_one_split(correction):
    layers, data = planted((0.6, 0.4), n_voxels=6)
    train = data["train"].values[0]
    order = np.concatenate([np.flatnonzero(train), np.flatnonzero(~train)])
    apart, held = data.isel(stimulus=train), data.isel(stimulus=~train)
    held = {"test_response": (("test_repeat", "test_stimulus", "voxel"), held["response"].values)}
    apart = apart.assign(held).assign_coords(test_stimulus=data["stimulus"].values[~train])
    sorted_layers = {name: X[order] for name, X in layers.items()}
    apart, together = (
        layer_weighted.encode(X, responses, correction=correction)
        for X, responses in ((sorted_layers, folds.scheme(apart, "fixed")), (layers, data))
    )
    for name in ("layer_weight", "contribution", "unique", "r"):
        np.testing.assert_allclose(apart[name], together[name], atol=1e-6)
    single = layer_weighted.single_layer(layers, data)
    banded = layer_contributions.banded_scores(layers, data)
    assert single["r"].shape == banded["r"].shape == together["r"].shape


def test_a_layer_that_does_not_vary_gets_no_weight():
    layers, data = planted((1.0,))
    fit = layer_weighted.encode(layers | {"flat": np.ones((120, 3))}, data)
    assert fit["kernel_share"].sel(layer="flat").item() == 0
    assert fit["contribution"].sel(layer="flat").item() == 0


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"one": np.ones((5, 2))}, "not so: one"),
        ({}, "no layer"),
        ({"one": np.full((120, 2), np.nan)}, "not finite: one"),
    ],
)
def test_layers_that_do_not_fit_are_named(layers, message):
    with pytest.raises(ValueError, match=message):
        layer_weighted.encode(layers, planted((1.0,))[1])


def test_an_unknown_rule_and_missing_labels_are_errors():
    layers, data = planted((1.0,))
    with pytest.raises(ValueError, match="zhou2022"):
        layer_weighted.encode(layers, data, published="zhou2021")
    with pytest.raises(ValueError, match="no region"):
        layer_weighted.encode(layers, data.assign_coords(roi=("voxel", [""] * 30)))
