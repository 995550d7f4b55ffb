"""Pickled evaluations and regressions, on files written as Python 2 and old NumPy wrote them."""

import numpy as np
import pytest
import releases

from lib import metamer_results

KEYS = metamer_results.EVALUATIONS[794]


@pytest.fixture
def audio(tmp_path):
    content = releases.judged(np.random.default_rng(0), 794) | {"model_evaluation_directory": "kell2018"}
    return content, releases.path_of(tmp_path)


def test_an_audio_evaluation_arrives_stimulus_by_stimulus(audio):
    content, path = audio
    table = metamer_results.evaluation(releases.written(path, content))
    assert len(table) == 3 * 40
    assert table["layer"].unique().tolist() == releases.LAYER_SETS
    assert table["stage"].unique().tolist() == [0, 1, 2]
    assert table[["network", "generator", "classes"]].drop_duplicates().to_numpy().tolist() == [
        ["kell2018", "cochresnet50", 794]
    ]
    final = table[table["layer"] == "final"]
    assert final["correct"].tolist() == content["correct_incorrect"]["final"]
    assert final["prediction"].tolist() == content["predictions__all_layers"]["final"]


def test_a_vision_evaluation_keeps_both_numbers_of_classes(tmp_path):
    rng = np.random.default_rng(1)
    content = (
        releases.judged(rng, 1000) | releases.judged(rng, 16) | {"model_evaluation_directory": "kell2018"}
    )
    table = metamer_results.evaluation(releases.written(releases.path_of(tmp_path), content))
    for classes in (16, 1000):
        ours = table[(table["classes"] == classes) & (table["stage"] == 1)]
        assert ours["correct"].tolist() == content[f"correct_incorrect_{classes}"]["conv1_relu1_fake_relu"]


def test_an_all_correct_layer_has_no_error_of_its_mean(tmp_path):
    content = releases.judged(np.random.default_rng(0), 794, share=1.1) | {
        "model_evaluation_directory": "kell2018"
    }
    assert metamer_results.evaluation(releases.written(releases.path_of(tmp_path), content))["correct"].all()


def test_a_mean_that_is_not_that_of_the_list_is_an_error(audio):
    content, path = audio
    content["average_correct"]["final"] += 0.025
    with pytest.raises(ValueError, match=r"states mean .* at final of 794 classes"):
        metamer_results.evaluation(releases.written(path, content))


def test_an_sem_that_is_not_that_of_the_list_is_an_error(audio):
    content, path = audio
    content["bootstrap_sem"]["final"] *= 1.5
    with pytest.raises(ValueError, match=r"and SEM .* at final"):
        metamer_results.evaluation(releases.written(path, content))


def test_lists_of_different_lengths_are_an_error(audio):
    content, path = audio
    content["labels_all_layers"]["final"].pop()
    with pytest.raises(ValueError, match="lists of different lengths at final"):
        metamer_results.evaluation(releases.written(path, content))


def test_a_lacking_layer_is_an_error(audio):
    content, path = audio
    del content["bootstrap_sem"]["final"]
    with pytest.raises(ValueError, match="different layers"):
        metamer_results.evaluation(releases.written(path, content))


def test_one_underscore_is_not_the_key(audio):
    content, path = audio
    content["predictions_all_layers"] = content.pop("predictions__all_layers")
    with pytest.raises(ValueError, match=r"lacks .*predictions__all_layers"):
        metamer_results.evaluation(releases.written(path, content))


def test_something_else_than_an_evaluation_is_refused_by_name(tmp_path):
    for content in (["a list"], {"model_evaluation_directory": "kell2018", **dict.fromkeys(KEYS, 1)}):
        with pytest.raises(ValueError, match=r"accuracy_on_metamers_from_\S+ is no evaluation of metamers"):
            metamer_results.evaluation(releases.written(releases.path_of(tmp_path), content))


def test_an_evaluation_by_another_network_is_an_error(audio):
    content, path = audio
    content["model_evaluation_directory"] = "cochresnet50"
    with pytest.raises(ValueError, match="is no evaluation by kell2018"):
        metamer_results.evaluation(releases.written(path, content))


def test_a_pickle_that_runs_something_is_refused(tmp_path):
    path = releases.path_of(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    with pytest.raises(ValueError, match=r"os\.system|system"):
        metamer_results.evaluation(path)
    assert not (tmp_path / "ran").exists()


# Regressions


def read(folder, network="cochresnet50", layer="layer1", **options):
    path = releases.regression_path(folder, network, layer)
    return metamer_results.voxel_regression(releases.written(path, releases.regression(layer, **options)))


def test_a_regression_keeps_voxels_with_their_table(tmp_path):
    dataset, stored = read(tmp_path), releases.regression()
    np.testing.assert_array_equal(dataset["r2"], stored["r2s"])
    np.testing.assert_array_equal(dataset["alpha"], stored["alphas"])
    assert dataset.attrs == {"network": "cochresnet50", "layer": "layer1"}
    at = dataset.sel(voxel="1021")
    assert (at["subject"].item(), at["hemisphere"].item(), at["x"].item(), at["y"].item()) == (
        "1",
        "right",
        37,
        -57,
    )
    assert at["in_roi"].to_series().to_dict() == {
        "tonotopic": True,
        "pitch": True,
        "music": True,
        "speech": True,
    }
    assert dataset["train"].sel(split=1).values.tolist() == [False, True, True, False, True]


def test_regressions_are_joined_by_voxel_not_by_position(tmp_path):
    turned = slice(None, None, -1)
    parts = [
        read(tmp_path),
        read(tmp_path, layer="layer2", seed=1, order=turned),
        read(tmp_path, "spectemp", "avgpool"),
    ]
    joined = metamer_results.joined(parts, ["layer1", "layer2", "layer3", "avgpool"])
    assert joined["r2"].dims == ("model", "layer", "voxel", "split")
    assert joined["layer"].values.tolist() == ["layer1", "layer2", "avgpool"]
    cell = joined["r2"].sel(model="cochresnet50", layer="layer2")
    np.testing.assert_array_equal(cell, releases.regression(seed=1)["r2s"])
    assert joined["r2"].sel(model="spectemp", layer="layer2").isnull().all()
    assert joined["alpha"].sel(model="spectemp", layer="avgpool").notnull().all()
    assert joined["subject"].dims == ("voxel",)


def test_other_voxels_or_splits_are_an_error(tmp_path):
    first = read(tmp_path)
    with pytest.raises(ValueError, match=r"differ in 1 voxels, first \['1035'\]"):
        metamer_results.joined(
            [first, read(tmp_path, layer="layer2", order=slice(0, 5))], ["layer1", "layer2"]
        )
    moved = read(tmp_path, layer="layer2")
    moved["x"] = moved["x"] + 1
    with pytest.raises(ValueError, match=r"differ in \['x'\]"):
        metamer_results.joined([first, moved], ["layer1", "layer2"])
    with pytest.raises(ValueError, match="none of"):
        metamer_results.joined([first], ["layer2"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer_name": np.bytes_("layer2")}, "holds layer 'layer2'"),
        ({"all_test_idxs": np.ones((5, 3))}, "both train and test"),
        ({"voxel_meta": None}, "is no regression onto voxels"),
        ({"roi_masks": {}}, "is no regression onto voxels"),
    ],
)
def test_what_is_no_regression_is_refused_by_name(tmp_path, changes, message):
    path = releases.written(releases.regression_path(tmp_path), releases.regression() | changes)
    with pytest.raises(ValueError, match=message) as caught:
        metamer_results.voxel_regression(path)
    assert path.name in str(caught.value)


def test_a_truncated_pickle_is_refused(tmp_path):
    path = releases.written(releases.regression_path(tmp_path), releases.regression())
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match="voxelwise_regression"):
        metamer_results.voxel_regression(path)
