"""Choice of layers: the published code, laws."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from lib import layers


@pytest.fixture
def oracle():
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE is not set")
    return np.load(Path(folder) / "auditory_oracle.npz")


def labelled(values, **voxel):
    """Scores (layer, voxel, split) with coordinates of the voxels."""
    return xr.DataArray(
        values, dims=("layer", "voxel", "split"), coords={n: ("voxel", v) for n, v in voxel.items()}
    )


def random_scores(n_layers=4, n_voxels=30, n_splits=10, seed=0):
    values = np.random.default_rng(seed).random((n_layers, n_voxels, n_splits))
    return labelled(values, subject=np.arange(n_voxels) % 3)


@pytest.mark.reference
def test_published_halves_equal_the_golden_file():
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE is not set")
    golden = json.loads((Path(folder) / "auditory_golden_rng.json").read_text())["nit_masks_6comp_2layers"]
    for seed, masks in enumerate(golden):
        halves = layers.selection_splits(2, 6, 10, seed=seed, published="tuckute2023")
        np.testing.assert_array_equal(halves, np.array(masks, bool).reshape(2, 6, 10))


@pytest.mark.parametrize("published", [None, "tuckute2023"])
@pytest.mark.parametrize("n_splits", [2, 7, 10])
def test_half_of_the_splits_choose(published, n_splits):
    halves = layers.selection_splits(3, 50, n_splits, seed=1, published=published)
    assert halves.shape == (3, 50, n_splits)
    assert (halves.sum(axis=2) == n_splits // 2).all()
    assert (halves[0] == halves[1]).all() == (published is None)


def test_one_split_cannot_choose_and_score():
    with pytest.raises(ValueError, match="at least two"):
        layers.best_layer(random_scores(n_splits=1))


@pytest.mark.reference
@pytest.mark.parametrize("model", ["modelA", "modelB", "spectemp"])
def test_best_layer_equals_the_published_code(oracle, model):
    values = oracle[f"in_c_r2c_{model}"]
    values = values[None] if values.ndim == 2 else values
    scores = labelled(values, subject=oracle["in_subj_idx"])
    found = layers.subject_medians(layers.best_layer(scores, clip=1, published="tuckute2023"))
    names = {"score": "median_r2_test_c", "position": "pos", "relative_position": "rel_pos"}
    suffixes = {"mean": "", "std": "_std_over_it", "sem": "_sem_over_it"}
    compared = 0
    for ours, theirs in names.items():
        over = layers.over_iterations(found[ours])
        for stat, end in suffixes.items():
            key = f"c_{model}_{theirs}{end}"
            if key in oracle:
                np.testing.assert_allclose(over[stat], oracle[key], rtol=0, atol=1e-12)
                compared += 1
    assert compared == (3 if model == "spectemp" else 9)


@pytest.mark.reference
def test_components_equal_the_published_code(oracle):
    best = layers.best_layer(labelled(oracle["in_c_r2_comp"]), published="tuckute2023")
    np.testing.assert_allclose(best.score, oracle["c_comp_iter_median_r2_test"], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(best.position, oracle["c_comp_iter_pos"])
    sem = layers.over_iterations(best.score)["sem"]
    np.testing.assert_allclose(sem, oracle["c_comp_median_r2_test_sem_over_it"], rtol=0, atol=1e-12)


@pytest.mark.reference
def test_figure_over_models_equals_the_published_code(oracle):
    models = ["modelA", "modelB", "spectemp"]
    values = np.stack([oracle[f"c_{m}_median_r2_test_c"] for m in models], axis=1)
    table = xr.DataArray(values, dims=("subject", "model"))
    np.testing.assert_allclose(table.mean("subject"), oracle["c_figure_mean"], rtol=0, atol=1e-12)
    sem = layers.within_subject_sem(table, "model")
    np.testing.assert_allclose(sem, oracle["c_figure_yerr"], rtol=0, atol=1e-12)


@pytest.mark.reference
def test_preferred_layer_and_regions_equal_the_published_code(oracle):
    rois = np.array(["", "Primary", "Anterior", "Lateral", "Posterior"])[oracle["in_roi_code"].astype(int)]
    scores = labelled(oracle["in_c_r2c_modelA"], subject=oracle["in_subj_idx"], roi=rois)
    found = layers.preferred_layer(scores, clip=1)
    np.testing.assert_array_equal(found.position, oracle["e_argmax_pos"])
    np.testing.assert_array_equal(found.relative_position, oracle["e_argmax_rel_pos"])
    np.testing.assert_array_equal(found.n_tied, oracle["e_argmax_tie_nums"])
    by_roi = layers.subject_medians(found.relative_position, "subject", "roi")
    by_roi = by_roi.sel(roi=["Anterior", "Primary", "Lateral", "Posterior"])
    np.testing.assert_allclose(by_roi, oracle["e_roi_rel_pos"], rtol=0, atol=1e-12)
    sem = layers.within_subject_sem(by_roi, "roi")
    np.testing.assert_allclose(sem, oracle["e_roi_rel_pos_yerr"], rtol=0, atol=1e-12)
    by_layer = layers.subject_medians(layers.over_splits(scores, clip=1)).transpose("subject", "layer")
    np.testing.assert_allclose(by_layer, oracle["e_layer_scores_by_participant"], rtol=0, atol=1e-12)
    sem = layers.within_subject_sem(by_layer, "layer")
    np.testing.assert_allclose(sem, oracle["e_layer_scores_yerr"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("published", [None, "tuckute2023"])
def test_clear_best_layer_is_always_chosen(published):
    scores = random_scores()
    truth = np.arange(30) % 4
    scores.values[truth, np.arange(30)] += 2
    best = layers.best_layer(scores, published=published)
    np.testing.assert_array_equal(best.position, np.tile(truth + 1, (10, 1)))
    np.testing.assert_allclose(best.relative_position, np.tile(truth / 3, (10, 1)))
    np.testing.assert_array_equal(layers.preferred_layer(scores).position, truth + 1)


def test_choosing_and_scoring_on_the_same_splits_is_optimistic_and_this_is_not():
    scores = random_scores(n_layers=8, n_voxels=2000)
    held_out = layers.best_layer(scores).score.mean()
    same = layers.over_splits(scores).max("layer").mean()
    # all layers are alike: the median of five uniform numbers has mean 1/2 and standard deviation .19
    assert abs(held_out - 0.5) < 4 * 0.19 / np.sqrt(2000)
    assert same > 0.6


def test_ties_are_broken_evenly_and_reproducibly():
    scores = labelled(np.zeros((3, 3000, 10)))
    found = layers.preferred_layer(scores)
    counts = np.bincount(found.position.astype(int), minlength=4)[1:]
    assert (found.n_tied == 3).all()
    assert np.abs(counts - 1000).max() < 4 * np.sqrt(3000 * 2 / 9)
    xr.testing.assert_identical(found, layers.preferred_layer(scores))


def test_medians_are_clipped_but_single_splits_are_not():
    scores = labelled(np.array([[[0.1, 0.3, 5.0], [0.2, 4.0, 5.0]]]))
    np.testing.assert_array_equal(layers.over_splits(scores, clip=1), [[0.3, 1.0]])
    np.testing.assert_array_equal(layers.over_splits(scores), [[0.3, 4.0]])


def test_missing_values_drop_out():
    scores = random_scores()
    scores.values[2, 0] = np.nan
    scores.values[:, 1] = np.nan
    scores.values[0, 2, :3] = np.nan
    medians = layers.over_splits(scores)
    np.testing.assert_allclose(medians.values[0, 2], np.median(scores.values[0, 2, 3:]))
    np.testing.assert_allclose(medians.values[3, 5], np.median(scores.values[3, 5]))
    best = layers.best_layer(scores)
    assert (best.position[:, 0] != 3).all()
    assert np.isfinite(best.score[:, 0]).all()
    assert best.isel(voxel=1).to_dataarray().isnull().all()
    assert np.isnan(layers.preferred_layer(scores).position[1])


def test_one_layer_is_read_on_the_same_half():
    scores = random_scores(n_layers=1)
    best = layers.best_layer(scores, published="tuckute2023")
    for iteration in (0, 7):
        reads = ~layers.selection_splits(1, 30, 10, seed=iteration, published="tuckute2023")[0]
        expected = np.median(scores.values[0][reads].reshape(30, 5), axis=1)
        np.testing.assert_allclose(best.score[iteration], expected)
    assert (best.position == 1).all()
    assert best.relative_position.isnull().all()


def test_within_subject_sem_ignores_what_subjects_differ_in():
    rng = np.random.default_rng(0)
    table = xr.DataArray(rng.random((8, 3)), dims=("subject", "model"))
    offsets = xr.DataArray(rng.random(8) * 100, dims="subject")
    plain, shifted = (layers.within_subject_sem(t, "model") for t in (table, table + offsets))
    np.testing.assert_allclose(shifted, plain, rtol=1e-10)
    assert layers.within_subject_sem(table[:1], "model").isnull().all()


def test_subject_medians_keep_other_dimensions_and_leave_unnamed_voxels_out():
    scores = random_scores(n_voxels=6).assign_coords(roi=("voxel", ["a", "b", "", "a", "b", ""]))
    found = layers.subject_medians(scores, "roi")
    assert set(found.dims) == {"layer", "split", "roi"}
    assert found.roi.values.tolist() == ["a", "b"]
    np.testing.assert_allclose(found.sel(roi="a", layer=2, split=4), np.median(scores.values[2, [0, 3], 4]))
