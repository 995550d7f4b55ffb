"""Encoding of one layer: the published code, joining by identifier, missing data."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from lib import encoding, folds, layers, metrics, ridge

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


@pytest.mark.reference
def test_encoding_equals_the_published_code():
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE is not set")
    oracle = np.load(Path(folder) / "auditory_oracle.npz")
    ids = sounds(165)
    responses = xr.Dataset(
        {
            "response": (("stimulus", "voxel", "repeat"), oracle["in_a_Y"]),
            "train": (("split", "stimulus"), oracle["split_train_mask"].astype(bool)),
        },
        coords={"stimulus": ids},
    )
    features = xr.DataArray(oracle["in_a_X"], dims=("stimulus", "unit"), coords={"stimulus": ids})
    scores = encoding.encode(features, responses, published="tuckute2023")
    one, four = (oracle[f"mask_a_{m}_determined"].astype(bool).T for m in ("mean_fit", "all_four_fits"))
    for ours, theirs, mask in (
        ("r", "r_prior_zero", one),
        ("r2", "r2_test", one),
        ("r2_train", "r2_train", one),
        ("reliability_voxel", "rv_corrected", one),
        ("reliability_prediction", "rvhat_corrected", four),
        ("r2_corrected", "r2_test_c", four),
    ):
        expected = oracle[f"a_{theirs}"].T
        np.testing.assert_allclose(scores[ours].values[mask], expected[mask], rtol=0, atol=1e-10)
    np.testing.assert_allclose(scores.alpha.values[one], oracle["a_alphas"].T[one], rtol=1e-12)
    edges = oracle["a_warning_alphas"].T[one]
    np.testing.assert_array_equal(scores.alpha_at_edge.values[one], edges)


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
