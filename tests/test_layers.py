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


def keys(oracle, prefix):
    return {key for key in oracle.files if key.startswith(prefix)}


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
        if (key := f"c_{model}_iter_{theirs}") in oracle:
            np.testing.assert_allclose(found[ours], oracle[key], rtol=0, atol=1e-12)
            compared += 1
        for stat, end in suffixes.items():
            key = f"c_{model}_{theirs}{end}"
            if key in oracle:
                np.testing.assert_allclose(over[stat], oracle[key], rtol=0, atol=1e-12)
                compared += 1
    assert compared == len(keys(oracle, f"c_{model}_"))


@pytest.mark.reference
def test_components_equal_the_published_code(oracle):
    best = layers.best_layer(labelled(oracle["in_c_r2_comp"]), published="tuckute2023")
    np.testing.assert_allclose(best.score, oracle["c_comp_iter_median_r2_test"], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(best.position, oracle["c_comp_iter_pos"])
    score, position = (layers.over_iterations(best[name]) for name in ("score", "position"))
    found = {
        "median_r2_test": score["mean"],
        "median_r2_test_std_over_it": score["std"],
        "median_r2_test_sem_over_it": score["sem"],
        "pos": position["mean"],
        "rel_pos": best["relative_position"].mean("iteration"),
    }
    for name, value in found.items():
        np.testing.assert_allclose(value, oracle[f"c_comp_{name}"], rtol=0, atol=1e-12)
    iterations = {"c_comp_iter_median_r2_test", "c_comp_iter_pos"}
    assert iterations | {f"c_comp_{name}" for name in found} == keys(oracle, "c_comp_")


@pytest.mark.reference
def test_every_key_about_layers_is_compared(oracle):
    # c_: `test_best_layer…`, `test_components…`, `test_figure…`; e_: `test_preferred_layer…`; f_: tests/test_inference
    prefixes = ("c_modelA_", "c_modelB_", "c_spectemp_", "c_comp_")
    rest = {key for key in keys(oracle, "c_") | keys(oracle, "e_") if not key.startswith(prefixes)}
    source = Path(__file__).read_text(encoding="utf-8")
    assert {key for key in rest if f'oracle["{key}"]' not in source} == set()
    source = Path(__file__).with_name("test_inference.py").read_text(encoding="utf-8")
    assert {key for key in keys(oracle, "f_") if f'oracle["{key}"]' not in source} == set()


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


# Nested choice, other subjects, the same data


def test_nested_layer_is_chosen_without_the_scores():
    scores = random_scores(n_layers=5)
    left_out = scores.copy(data=np.random.default_rng(1).random(scores.shape))
    found = layers.nested_layer(scores, left_out)
    for v in range(0, 30, 7):
        for k in range(10):
            best = int(left_out.values[:, v, k].argmax())
            assert found.score[k, v] == scores.values[best, v, k]
            assert found.position[k, v] == best + 1
            assert found.relative_position[k, v] == best / 4
    assert found.subject.values.tolist() == scores.subject.values.tolist()
    other = layers.nested_layer(scores + 1, left_out)  # whatever the scores are
    np.testing.assert_array_equal(other.position, found.position)


def test_nested_choice_is_not_optimistic_where_all_layers_are_alike():
    scores = random_scores(n_layers=8, n_voxels=2000)
    left_out = scores.copy(data=np.random.default_rng(1).random(scores.shape))
    nested = layers.nested_layer(scores, left_out).score.mean()
    # uniform numbers: mean 1/2, standard deviation .289
    assert abs(nested - 0.5) < 4 * 0.289 / np.sqrt(20_000)
    assert layers.preferred_layer(scores).score.mean() > 0.6


def test_nested_choice_leaves_out_layers_without_a_value():
    scores = random_scores(n_layers=3, n_voxels=4)
    left_out = scores.copy(data=np.tile([0.1, 0.2, 0.3], (10, 4, 1)).T)
    left_out.values[2, 0] = np.nan  # its choice unknown
    scores.values[2, 1] = np.nan  # its score unknown
    left_out.values[:, 2] = np.nan
    found = layers.nested_layer(scores, left_out)
    np.testing.assert_array_equal(found.position, np.tile([2, 2, np.nan, 3], (10, 1)))
    assert found.isel(voxel=2).to_dataarray().isnull().all()
    assert found.isel(voxel=[0, 1, 3]).to_dataarray().notnull().all()


def test_one_layer_is_read_in_every_split():
    scores = random_scores(n_layers=1)
    found = layers.nested_layer(scores, scores * 0)
    np.testing.assert_array_equal(found.score, scores.values[0].T)
    assert (found.position == 1).all()
    assert found.relative_position.isnull().all()


def test_left_out_subjects_do_not_choose_their_layer():
    values = xr.DataArray(
        [[0.5, 0.5, 0.9], [0.6, 0.6, 0.1], [0.1, 0.2, 0.3]],
        dims=("layer", "subject"),
        coords={"subject": ["a", "b", "c"]},
    )
    found = layers.leave_one_subject_out(values)
    # c alone prefers layer 1 by far, so that it wins for a and b; the others' choice for c is layer 2
    assert found.position.values.tolist() == [1, 1, 2]
    assert found.score.values.tolist() == [0.5, 0.5, 0.1]
    assert found.relative_position.values.tolist() == [0, 0, 0.5]
    assert found.subject.values.tolist() == ["a", "b", "c"]


def test_missing_subjects_drop_out_of_the_others():
    values = xr.DataArray([[0.5, np.nan, 0.9], [0.6, 0.6, 0.1]], dims=("layer", "subject"))
    found = layers.leave_one_subject_out(values)
    # for a: 0.9 of c alone against .35; for b .7 against .35; for c .5 against .6
    assert found.position.values.tolist() == [1, 1, 2]
    np.testing.assert_array_equal(found.score, [0.5, np.nan, 0.1])


def test_a_single_subject_has_no_others_but_a_single_layer_needs_none():
    alone = xr.DataArray([[0.5], [0.6]], dims=("layer", "subject"))
    assert layers.leave_one_subject_out(alone).to_dataarray().isnull().all()
    found = layers.leave_one_subject_out(alone[:1])
    assert (found.score, found.position) == (0.5, 1)
    assert found.relative_position.isnull().all()


def test_the_preferred_layers_own_score_is_the_largest_median():
    scores = random_scores()
    scores.values[:, 3] = np.nan
    expected = np.nanmax(np.median(scores.values[:, [0, 1, 2, *range(4, 30)]], axis=2), axis=0)
    found = layers.preferred_layer(scores).score
    np.testing.assert_array_equal(found[[0, 1, 2, *range(4, 30)]], expected)
    assert np.isnan(found[3])
