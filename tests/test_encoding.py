"""Encoding of one layer: the published code, joining by identifier, missing data."""

import json
import os
import tracemalloc
from pathlib import Path

import h5netcdf
import h5py
import numpy as np
import pytest
import xarray as xr

from lib import correction, encoding, folds, layers, metrics, reliability, ridge

N = 60


def sounds(n=N):
    return [f"stim{i}" for i in range(n)]


def data(n_repeats=3, n_voxels=8, n_units=100, seed=0):
    """Features (stimulus, unit) and responses that follow them in part."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, n_units)).astype(np.float32)
    signal = X[:, :5] @ rng.standard_normal((5, n_voxels))
    Y = signal + 2 * rng.standard_normal((n_repeats, N, n_voxels))
    coords = {"stimulus": sounds(), "voxel": [f"v{i}" for i in range(n_voxels)]}
    responses = xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), Y),
            "train": (("split", "stimulus"), folds.half_splits(sounds(), n_splits=3)),
        },
        coords={**coords, "subject": ("voxel", np.arange(n_voxels) % 2), "split": [0, 1, 2]},
        attrs={"target": "simulated"},
    )
    return xr.DataArray(X, dims=("stimulus", "unit_relu"), coords={"stimulus": sounds()}), responses


def oracle():
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE is not set")
    return np.load(Path(folder) / "auditory_oracle.npz")


def published(source, key, features, Y):
    """The oracle's features and responses encoded as published."""
    coords = {"stimulus": sounds(165)}
    responses = xr.Dataset(
        {
            "response": (("stimulus", "voxel", "repeat"), Y),
            "train": (("split", "stimulus"), source["split_train_mask"].astype(bool)),
        },
        coords=coords,
    )
    layer = xr.DataArray(source[features], dims=("stimulus", "unit"), coords=coords)
    return encoding.encode(layer, responses, published="tuckute2023" if key == "a" else None)


CASES = {
    "a": ("in_a_X", "in_a_Y", "mask_a_mean_fit_determined"),
    "b": ("in_a_X", "in_b_Y", "mask_b_determined"),
    "bw": ("in_b_Xwide", "in_b_Y", "mask_bw_determined"),
}


@pytest.mark.reference
@pytest.mark.parametrize("key", CASES)
def test_encoding_equals_the_published_code(key):
    source, (features, responses, mask) = oracle(), CASES[key]
    Y = source[responses] if key == "a" else source[responses][:, :, None]
    scores = published(source, key, features, Y)
    one = source[mask].astype(bool).T
    pairs = [("r", "r_prior_zero", one), ("r2", "r2_test", one), ("r2_train", "r2_train", one)]
    if key == "a":
        four = source["mask_a_all_four_fits_determined"].astype(bool).T
        pairs += [
            ("reliability_voxel", "rv_corrected", np.isfinite(scores.r2.values)),
            ("reliability_prediction", "rvhat_corrected", four),
            ("r2_corrected", "r2_test_c", four),
            ("constant_repeats", "warning_constant_splits", four),
        ]
    for ours, theirs, determined in pairs:
        expected = source[f"{key}_{theirs}"].T
        assert determined.mean() > 0.5
        np.testing.assert_allclose(scores[ours].values[determined], expected[determined], rtol=0, atol=1e-10)
    np.testing.assert_allclose(scores.alpha.values[one], source[f"{key}_alphas"].T[one], rtol=1e-12)
    for ours, theirs in (("alpha_at_edge", "alphas"), ("constant_prediction", "constant_mean")):
        expected = source[f"{key}_warning_{theirs}"].T[one]
        np.testing.assert_array_equal(scores[ours].values[one], expected)
    assert (key == "a") == bool(scores.attrs["corrected"])


@pytest.mark.reference
@pytest.mark.parametrize("key", CASES)
def test_columns_of_the_published_table_are_over_splits(key):
    source, (features, responses, mask) = oracle(), CASES[key]
    Y = source[responses] if key == "a" else source[responses][:, :, None]
    scores = published(source, key, features, Y)
    names = {"r_prior_zero_test": scores.r, "r_test": np.maximum(scores.r, 0), "r2_test": scores.r2}
    names |= {"r2_train": scores.r2_train, "alpha": scores.alpha}
    determined = dict.fromkeys(names, source[mask].astype(bool).all(axis=1))
    if key == "a":
        names["r2_test_c"] = scores.r2_corrected
        determined["r2_test_c"] = source["mask_a_all_four_fits_determined"].astype(bool).all(axis=1)
    for name, values in names.items():
        for over in ("mean", "median", "std"):
            if f"{key}_df_{over}_{name}" in source:
                ours = getattr(values.isel(voxel=determined[name]), over)("split").values
                expected = source[f"{key}_df_{over}_{name}"][determined[name]]
                np.testing.assert_allclose(ours, expected, rtol=1e-12 * (name == "alpha"), atol=1e-10)


@pytest.mark.reference
def test_pairs_of_repeats_and_predictions_equal_the_published_code():
    source = oracle()
    X, Y, trains = source["in_a_X"], source["in_a_Y"], source["split_train_mask"].astype(bool)
    four, one = (source[f"mask_a_{m}_determined"].astype(bool) for m in ("all_four_fits", "mean_fit"))
    summed, order = np.zeros(Y.shape[:2]), [0, 2, 1]  # published as (0, 1), (1, 2), (0, 2)
    for split, train in enumerate(trains):
        repeats = np.moveaxis(Y, 2, 0)
        ours = reliability.repeat_correlations(repeats[:, train])[order]
        np.testing.assert_allclose(ours.T, source["a_rv_pairs"][:, split], rtol=0, atol=1e-10)
        np.testing.assert_allclose(
            metrics.median(ours.T), source["a_rv_median"][:, split], rtol=0, atol=1e-10
        )
        fits = [ridge.leave_one_out(X, repeat, train).predictions[~train] for repeat in repeats]
        kept = four[:, split]
        ours = reliability.repeat_correlations(np.array(fits)[:, :, kept])[order].T
        np.testing.assert_allclose(ours, source["a_rvhat_pairs"][kept, split], rtol=0, atol=1e-10)
        np.testing.assert_allclose(
            metrics.median(ours), source["a_rvhat_median"][kept, split], rtol=0, atol=1e-10
        )
        fit = ridge.leave_one_out(X, Y.mean(axis=2), train)
        summed += np.where(train[:, None], 0, fit.predictions)
        for side, values in (("pred_test", fit.predictions[~train]), ("test", Y.mean(axis=2)[~train])):
            expected = source[f"a_y_{side}_std_mean"][:, split]
            np.testing.assert_allclose(
                values.std(axis=0)[one[:, split]], expected[one[:, split]], rtol=0, atol=1e-10
            )
    kept = one.all(axis=1)
    expected = source["a_y_preds_rescaled_mean_over_test_splits"][:, kept]
    mean = summed[:, kept] / (~trains).sum(axis=0)[:, None]
    np.testing.assert_allclose(mean, expected, rtol=0, atol=1e-10)


def test_scores_are_those_of_separate_fits():
    features, responses = data()
    scores = encoding.encode(features, responses)
    X, Y = features.values.astype(float), responses.response.values
    for split, train in enumerate(responses.train.values):
        fit = ridge.leave_one_out(X, Y.mean(axis=0), train)
        np.testing.assert_array_equal(scores.alpha[split], fit.alpha)
        np.testing.assert_allclose(scores.prediction[split], fit.predictions, rtol=1e-5)  # float32
        r2 = metrics.squared_correlation(Y.mean(axis=0)[~train], fit.predictions[~train])
        np.testing.assert_allclose(scores.r2[split], np.where(fit.constant, 0, r2), rtol=1e-9)
    ratio = scores.r2 / (scores.reliability_voxel * scores.reliability_prediction)
    xr.testing.assert_allclose(scores.r2_corrected, ratio, rtol=1e-12)
    assert scores.attrs["target"] == "simulated"
    assert scores.subject.dims == ("voxel",)


def test_stimuli_are_joined_by_identifier():
    features, responses = data()
    order = np.random.default_rng(1).permutation(N)
    plain, moved = (encoding.encode(f, responses) for f in (features, features[order]))
    xr.testing.assert_allclose(moved, plain, rtol=1e-6)
    moved = encoding.encode(features, responses.isel(stimulus=order)).sel(stimulus=plain.stimulus)
    xr.testing.assert_allclose(moved, plain, rtol=1e-6)


def test_stimuli_that_differ_are_an_error_naming_them():
    features, responses = data()
    renamed = features.assign_coords(stimulus=["other", *sounds()[1:]])
    with pytest.raises(ValueError, match=r"without features: .*stim0.* without responses: .*other"):
        encoding.encode(renamed, responses)
    with pytest.raises(ValueError, match="each once"):
        encoding.encode(features[np.r_[0, :N]], responses)


def test_features_of_held_out_stimuli_are_left_alone():
    features, responses = data()
    plain = encoding.encode(features[: N - 6], responses.isel(stimulus=slice(N - 6)))
    held_out = responses.isel(stimulus=slice(N - 6)).assign_coords(test_stimulus=sounds()[N - 6 :])
    held_out = encoding.encode(features, held_out)
    # The compression of a layer rotates it within the span of other rows; float32 predictions.
    xr.testing.assert_allclose(held_out.drop_vars("test_stimulus", errors="ignore"), plain, rtol=1e-5)


def test_layer_is_read_in_blocks(monkeypatch, tmp_path):
    features, responses = data()
    plain = encoding.encode(features, responses)
    features.to_dataset(name="relu").to_netcdf(tmp_path / "features.nc", engine="h5netcdf")
    monkeypatch.setattr(encoding, "BYTES_PER_BLOCK", 8 * N * 7)
    assert [b.shape[1] for b in encoding.blocks(features)] == [7] * 14 + [2]
    with xr.open_dataset(tmp_path / "features.nc", engine="h5netcdf") as stored:
        xr.testing.assert_allclose(encoding.encode(stored["relu"], responses), plain, rtol=1e-6)


def test_one_repeat_is_not_corrected():
    features, responses = data(n_repeats=1)
    scores = encoding.encode(features, responses)
    assert scores.attrs["corrected"] == 0
    for name in ("r2_corrected", "reliability_voxel", "reliability_prediction"):
        assert scores[name].isnull().all()
    assert np.isfinite(scores.r2).all()
    assert encoding.pooled_r2(scores).isnull().all()
    nothing = scores.assign(reliability_voxel=scores.r2 - 2, reliability_prediction=scores.r2 * 0 + 1)
    assert encoding.pooled_r2(nothing).isnull().all()


def test_incomplete_repeats_are_left_out_for_their_voxel():
    features, responses = data()
    Y = responses.response.values
    Y[2, 5, 0] = np.nan
    Y[1:, :, 1] = np.nan
    Y[:, 7, 2] = np.nan
    scores = encoding.encode(features, responses)
    two = encoding.encode(features, responses.isel(repeat=[0, 1]))
    assert scores.n_repeats.values[:4].tolist() == [2, 1, 0, 3]
    np.testing.assert_allclose(scores.r2_corrected[:, 0], two.r2_corrected[:, 0], rtol=1e-10)
    assert np.isfinite(scores.r2[:, 1]).all()
    assert scores.r2_corrected[:, 1].isnull().all()
    assert scores.r2[:, 2].isnull().all()
    assert scores.alpha[:, 2].isnull().all()
    assert np.isfinite(scores.r2_corrected[:, 3:]).all()


def test_constant_response_is_nan_and_constant_prediction_is_zero():
    features, responses = data()
    rng = np.random.default_rng(5)
    responses.response.values[:, :, 0] = 2.0
    responses.response.values[:, :, 1] = rng.standard_normal((3, N)) * 1e3
    flat = xr.zeros_like(features)
    for layer in (features, flat):
        scores = encoding.encode(layer, responses)
        assert scores.r2[:, 0].isnull().all()
        assert (scores.constant_prediction[:, 0] == 1).all()
        constant = scores.constant_prediction.values[:, 1:] == 1
        assert (scores.r.values[:, 1:][constant] == 0).all()
    assert constant.all()
    assert (scores.constant_repeats == 3).all()


@pytest.mark.parametrize("penalty", encoding.PENALTIES)
def test_penalties_are_chosen_by_what_is_left_out(penalty):
    features, responses = data()
    run = np.arange(N) % 3
    responses = responses.assign_coords(run=("stimulus", run), group=("stimulus", np.arange(N) // 2))
    responses = folds.scheme(responses, "halves").isel(split=[0, 1])
    scores = encoding.encode(features, responses, penalty=penalty)
    X, Y = features.values.astype(float), responses.response.mean("repeat").values
    for split, train in enumerate(responses.train.values):
        groups = {"leave-one-out": None, "leave-one-run-out": run}.get(penalty, np.zeros(N, int))
        if penalty == "kfold":
            names = np.array(sounds())[train]
            groups[train] = folds.parts(names, 5, groups=(np.arange(N) // 2)[train])
        fit = ridge.leave_one_out(X, Y, train, groups=groups)
        np.testing.assert_array_equal(scores.alpha[split], fit.alpha)
        np.testing.assert_allclose(scores.r2_left_out[split], 1 - fit.left_out, rtol=1e-9, atol=1e-12)


def test_left_out_score_is_near_zero_for_unrelated_responses_and_high_for_related_ones():
    features, responses = data(n_voxels=200)
    noise = responses.copy(deep=True)
    noise.response.values[:] = np.random.default_rng(1).standard_normal(noise.response.shape)
    related, unrelated = (encoding.encode(features, r).r2_left_out.values for r in (responses, noise))
    # the best of many penalties is never much worse than the mean, which is one of them
    assert (unrelated >= -1e-9).all()
    assert related.mean() > unrelated.mean() + 0.05
    alphas = [1.0]
    fixed = encoding.encode(features, noise, alphas=alphas)
    # one penalty is no choice: the explained variance of left-out noise is negative by overfitting
    assert fixed.r2_left_out.mean() < 0


def with_test(n_test=20, n_test_repeats=4):
    """Responses with held-out test stimuli, features of all."""
    features, responses = data()
    kept, held = responses.isel(stimulus=slice(N - n_test)), responses.isel(stimulus=slice(N - n_test, N))
    rng = np.random.default_rng(7)
    signal = held.response.mean("repeat").values
    test = signal + 2 * rng.standard_normal((n_test_repeats, *signal.shape))
    kept["test_response"] = ("test_repeat", "test_stimulus", "voxel"), test
    return features, kept.assign_coords(test_stimulus=held.stimulus.values)


def test_fixed_test_is_scored_on_its_own_stimuli_and_repeats():
    features, responses = with_test()
    scores = encoding.encode(features, folds.scheme(responses, "fixed"))
    X, Y = features.values.astype(float), responses.response.values
    test = responses.test_response.values
    train = np.arange(N) < N - 20
    padded = np.concatenate([Y, np.full((3, 20, 8), np.nan)], axis=1)
    fit = ridge.leave_one_out(X, padded.mean(axis=0), train)
    single = np.array([ridge.leave_one_out(X, y, train).predictions[~train] for y in padded])
    r = metrics.pearson(test.mean(axis=0), fit.predictions[~train])
    voxel = reliability.reliability(reliability.single_repeat_reliability(test), 4, 20)
    prediction = reliability.reliability(reliability.single_repeat_reliability(single), 3, 20)
    expected = {"r": r, "reliability_voxel": voxel, "reliability_prediction": prediction}
    expected["r2_corrected"] = np.maximum(r, 0) ** 2 / (voxel * prediction)
    expected |= {"alpha": fit.alpha, "r2_left_out": 1 - fit.left_out}
    for name, values in expected.items():
        np.testing.assert_allclose(scores[name][0], values, rtol=1e-9)
    assert scores.stimulus.values.tolist() == sounds()[N - 20 :]
    np.testing.assert_allclose(scores.prediction[0], fit.predictions[~train], rtol=1e-5)
    assert (scores.n_repeats == 4).all()
    assert scores.subject.dims == ("voxel",)
    assert scores.attrs["corrected"] == 1


def test_fixed_test_with_one_train_repeat_cannot_be_corrected():
    features, responses = with_test()
    one = folds.scheme(responses.isel(repeat=[0]), "fixed")
    scores = encoding.encode(features, one)
    assert scores.r2_corrected.isnull().all()
    assert np.isfinite(scores.reliability_voxel).all()
    assert scores.attrs["corrected"] == 0
    # by a rule that corrects the response alone it can
    assert np.isfinite(encoding.encode(features, one, correction="ncsnr").r2_corrected).any()


def test_split_without_test_stimuli_needs_a_fixed_test():
    features, responses = data()
    responses.train.values[1] = True
    with pytest.raises(ValueError, match=r"splits \[1\] train on all stimuli"):
        encoding.encode(features, responses)
    features, responses = with_test()
    with pytest.raises(ValueError, match=r"without features: \['stim59'\]"):
        encoding.encode(features[:-1], folds.scheme(responses, "fixed"))


@pytest.mark.parametrize("rule", correction.RULES)
def test_scores_are_corrected_by_the_rule_named(rule):
    features, responses = data()
    scores = encoding.encode(features, responses, correction=rule)
    assert scores.attrs["correction"] == rule
    Y = responses.response.values
    for split, train in enumerate(responses.train.values):
        single = np.array([ridge.leave_one_out(features.values, y, train).predictions[~train] for y in Y])
        voxel, prediction = correction.terms(
            Y[:, train], Y[:, ~train], single, rule=rule, n_repeats=np.full(8, 3)
        )
        np.testing.assert_allclose(scores.reliability_voxel[split], voxel, rtol=1e-9)
        np.testing.assert_allclose(scores.reliability_prediction[split], prediction, rtol=1e-7)
        product = np.where(voxel * prediction > 0, voxel * prediction, np.nan)
        np.testing.assert_allclose(scores.r2_corrected[split], scores.r2[split] / product, rtol=1e-7)


def test_rules_that_count_repeats_per_stimulus_use_all_of_them():
    features, responses = data()
    Y = responses.response.values
    Y[2, ::2, 0] = np.nan
    scores = encoding.encode(features, responses, correction="ncsnr")
    mean = np.nanmean(Y[:, :, 0], axis=0)
    fit = ridge.leave_one_out(features.values, mean[:, None], responses.train.values[0])
    np.testing.assert_allclose(scores.alpha[0, 0], fit.alpha[0])
    assert scores.n_repeats.values[:2].tolist() == [2, 3]
    whole = encoding.encode(features, responses, correction="reliability")
    assert whole.n_repeats.values[:2].tolist() == [2, 3]
    assert scores.r2[0, 0] != whole.r2[0, 0]


def test_nothing_that_goes_wrong_is_silent():
    features, responses = data()
    features.values[:, 3] = 0.1
    Y = responses.response.values
    Y[:, :, 0] = 2.0  # constant
    Y[:, 5, 1] = np.nan  # no complete repeat
    Y[1:, 5, 2] = np.nan  # one
    scores = encoding.encode(features, responses)
    assert scores.r2.isnull().all("split").values.tolist() == [True, True, *[False] * 6]
    assert scores.r2_corrected.isnull().all("split").values.tolist() == [True] * 3 + [False] * 5
    assert scores.r2_left_out[:, :2].isnull().all()
    found = encoding.counts(scores).set_index("quantity")
    assert found["count"][["no_repeat", "one_repeat"]].tolist() == [1, 1]
    assert found["count"]["constant_response"] == 3  # in three splits
    assert found["count"]["undefined"] == 6
    assert found["count"]["undefined_corrected"] == 9
    assert found["count"]["constant_units"] == 1
    assert scores.constant_units == 1
    assert found["of"]["undefined"] == 3 * 8
    assert found["count"]["alpha_largest"] == (scores.alpha_at_edge == 1).sum()
    assert found["count"]["above_1"] == (scores.r2_corrected > 1).sum()
    stacked = xr.concat([scores, scores], "layer", data_vars="all")
    twice = encoding.counts(stacked).set_index("quantity")["count"]
    assert twice[["undefined", "constant_units", "no_repeat"]].tolist() == [12, 2, 1]
    rows = encoding.quotable(found.reset_index().assign(target="T", model="M")).set_index("name")
    assert rows.loc["encode/t/m/undefined", ["value", "n", "unit"]].tolist() == [
        0.25,
        24,
        "layer x split x voxel",
    ]
    assert rows.loc["encode/t/m/no_repeat", ["value", "n", "unit"]].tolist() == [1 / 8, 8, "voxel"]
    harmless = encoding.encode(features.drop_isel(unit_relu=3), responses)
    xr.testing.assert_allclose(
        scores.drop_vars("constant_units"), harmless.drop_vars("constant_units"), rtol=1e-5
    )


def test_features_that_are_not_finite_are_an_error_naming_units():
    features, responses = data()
    features.values[4, [7, 30]] = np.nan
    with pytest.raises(ValueError, match=r"2 units hold values that are not finite, the first: \[7, 30\]"):
        encoding.encode(features, responses)


def test_choices_that_do_not_exist_are_errors_naming_them():
    features, responses = data()
    with pytest.raises(ValueError, match="leave-one-out"):
        encoding.encode(features, responses, penalty="leave-one-ou")
    with pytest.raises(ValueError, match="ncsnr"):
        encoding.encode(features, responses, correction="ncsn")
    with pytest.raises(ValueError, match='coordinate "run"'):
        encoding.encode(features, responses, penalty="leave-one-run-out")
    few = responses.isel(stimulus=slice(8))
    few["train"] = ("split", "stimulus"), np.array([[True] * 4 + [False] * 4] * 3)
    with pytest.raises(ValueError, match="4 groups and cannot be split; give at least 5"):
        encoding.encode(features[:8], few, penalty="kfold")


def test_a_million_units_never_lie_in_memory(tmp_path):
    n_units, rng = 1_000_000, np.random.default_rng(0)
    _, responses = data()
    with h5netcdf.File(tmp_path / "features.nc", "w") as file:
        file.dimensions = {"stimulus": N, "unit": n_units}
        file.create_variable("stimulus", ("stimulus",), dtype=h5py.string_dtype())[:] = np.array(
            sounds(), object
        )
        layer = file.create_variable("relu", ("stimulus", "unit"), dtype="f4", chunks=(N, 4096))
        for start in range(0, n_units, 50_000):
            layer[:, start : start + 50_000] = rng.random((N, 50_000), dtype=np.float32)
    tracemalloc.start()
    with xr.open_dataset(tmp_path / "features.nc", engine="h5netcdf") as stored:
        scores = encoding.encode(stored["relu"], responses.isel(split=[0]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The layer takes 240 MB, and twice that in the precision in which it is treated.
    assert peak < 100e6
    assert np.isfinite(scores.r2).all()


def test_inputs_are_unchanged():
    features, responses = data()
    before = features.copy(deep=True), responses.copy(deep=True)
    encoding.encode(features, responses)
    xr.testing.assert_identical(features, before[0])
    xr.testing.assert_identical(responses, before[1])


def test_every_variable_has_a_meaning():
    scores = encoding.encode(*data())
    assert all(scores[name].attrs["long_name"] for name in scores.data_vars)
    assert scores.prediction.dtype == np.float32
    assert (scores.prediction.isnull() == data()[1].train).all()


@pytest.mark.reference
def test_published_component_scores_give_the_published_figure():
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE is not set")
    record = json.loads((Path(folder) / "spectemp_components.json").read_text())
    scores = xr.DataArray([record["r2_per_split_6x10"]], dims=("layer", "voxel", "split"))
    over = layers.over_iterations(layers.best_layer(scores, published="tuckute2023").score)
    np.testing.assert_allclose(over["mean"], record["nit"], atol=1e-6)  # six printed decimals
    np.testing.assert_allclose(over["sem"], record["nit_sem"], atol=1e-6)
    # Tuckute et al. 2023, figure 4, two decimals; pitch .5347 is printed .53
    np.testing.assert_allclose(over["mean"], [0.71, 0.55, 0.45, 0.53, 0.66, 0.34], atol=0.0061)
