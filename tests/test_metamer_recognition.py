"""The released results of the model-metamer experiments: published numbers, agreement among files, parts."""

import json
import os
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import releases
from scipy import stats

from lib import datasets, download, registry
from lib.datasets import metamer_recognition
from lib.metamers import labels

# Two ways of rounding a mean of at most 400 proportions in float64; the reference has 12 digits.
TIGHT = {"rtol": 1e-10, "atol": 1e-11}
CELLS = {
    "SumSq": "sumsq",
    "DF": "df",
    "F": "F",
    "p": "p",
    "pGG": "p_gg",
    "pHF": "p_hf",
    "pLB": "p_lb",
    "peta2": "eta2p",
}
REGIONS = ["V1", "V2", "V4", "IT"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    if not os.environ.get("DATA_MIRROR"):
        pytest.skip("DATA_MIRROR is not set: the released results cannot be read")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPENDIUM_HOME", str(tmp_path_factory.mktemp("metamers")))
        yield datasets.contents("metamer_recognition")


@pytest.fixture(scope="module")
def reference():
    if not os.environ.get("COMPENDIUM_REFERENCE"):
        pytest.skip("COMPENDIUM_REFERENCE is not set: the published numbers cannot be read")
    return json.loads(Path(os.environ["COMPENDIUM_REFERENCE"], "metamers.json").read_text())


def filled(values):
    return np.array([np.nan if v is None else v for v in values], dtype=float)


@pytest.mark.mirror
@pytest.mark.reference
def test_mean_recognition_is_the_published_one_in_all_files(tables, reference):
    table = tables["recognition"]
    assert table["file"].nunique() == len(reference["behaviour_means"]) == 25
    for key, published in reference["behaviour_means"].items():
        experiment, model = key.split("/")
        ours = table[(table["experiment"] == experiment) & (table["model"] == model)]
        assert published["paper_name"].startswith(ours["paper_name"].iloc[0] + " (")
        by_layer = ours.groupby(["observer", "stage", "layer"])["proportion_correct"]
        means, sems = by_layer.mean(), by_layer.std(ddof=0) / np.sqrt(published["n_participants"])
        assert means["human"].index.get_level_values("layer").tolist() == published["layers"]
        np.testing.assert_allclose(means["human"], published["human_mean"], **TIGHT)
        np.testing.assert_allclose(sems["human"], published["human_sem"], **TIGHT)
        np.testing.assert_allclose(means["network"], published["network_mean"], **TIGHT)


@pytest.mark.mirror
@pytest.mark.reference
def test_every_published_table_is_read_to_the_last_digit(tables, reference):
    anova = tables["anova"]
    published = reference["published_matlab_tables"]
    assert anova["file"].nunique() == 28
    assert len(anova.groupby(["file", "title"])) == len(published) == 43
    for key, table in published.items():
        file, title = key.split("::")
        ours = anova[(anova["file"] == file) & (anova["title"] == title)].set_index("term")
        assert set(ours.index) == set(table["published_table"])
        for term, cells in table["published_table"].items():
            found = ours.loc[term, list(CELLS.values())].tolist()
            np.testing.assert_array_equal(found, filled(cells.get(cell) for cell in CELLS))
        tested = ours["p_permutation"].dropna()
        is_interaction = tested.index.str.removeprefix("(Intercept):").str.contains(":")
        assert tested[~is_interaction].tolist() == [table["permutation_p_main"]]
        wanted = table["permutation_p_interaction"]
        assert tested[is_interaction].tolist() == ([] if wanted is None else [wanted])


@pytest.mark.mirror
def test_printed_tables_are_consistent_in_themselves(tables):
    anova = tables["anova"]
    # Five significant digits each.
    np.testing.assert_allclose(anova["sumsq"] / anova["df"], anova["meansq"], rtol=1e-4)


@pytest.mark.mirror
def test_models_of_a_table_are_models_of_the_behaviour(tables):
    known = set(tables["recognition"]["model"])
    named = {model for models in tables["anova"]["models"].unique() for model in models.split(", ")}
    assert named <= known


@pytest.mark.mirror
@pytest.mark.reference
@pytest.mark.parametrize(
    ("modality", "generator", "classes"), [("vision", "resnet50", 16), ("audio", "cochresnet50", 794)]
)
def test_networks_judge_others_metamers_as_published(tables, reference, modality, generator, classes):
    table = tables["network_network"]
    published = reference["network_network"][modality]
    expected = published["per_generating_model"][generator]
    ours = table[(table["modality"] == modality) & (table["classes"] == classes)]
    assert set(ours["network"]) == set(published["models"])
    accuracy = ours.groupby(["stage", "layer", "network"])["correct"].mean().unstack("network")  # noqa: PD010
    assert accuracy.index.get_level_values("layer").tolist() == expected["layers"]
    n_metamers = ours.groupby("stage")["position"].max() + 1
    assert n_metamers.tolist() == expected["n_metamers_evaluated"]
    np.testing.assert_allclose(accuracy[generator], expected["self_accuracy"], **TIGHT)
    others = accuracy.drop(columns=generator)
    np.testing.assert_allclose(others.mean(axis=1), expected["mean_other_models"], **TIGHT)
    sem = others.std(axis=1, ddof=0) / np.sqrt(others.shape[1])
    np.testing.assert_allclose(sem, expected["sem_other_models"], **TIGHT)


@pytest.mark.mirror
def test_choices_among_16_are_those_of_the_best_of_1000(tables):
    table = tables["network_network"].query("modality == 'vision'")
    key = ["network", "generator", "stage", "position"]
    wide = table.pivot_table(index=key, columns="classes", values="prediction", aggfunc="first")
    group = labels.imagenet().drop_duplicates("name").set_index("name")["group"]
    best = wide[1000].map(group)
    assert best.notna().all()
    grouped = best != ""
    assert grouped.sum() > 20_000
    assert (best[grouped] == wide[16][grouped]).all()


@pytest.mark.mirror
@pytest.mark.reference
def test_one_of_a_thousand_classes_is_judged_as_published(tables, reference):
    expected = reference["network_network"]["vision"]["per_generating_model"]["resnet50"]
    table = tables["network_network"].query("classes == 1000 and network != 'resnet50'")
    found = table.groupby(["stage", "network"])["correct"].mean().groupby("stage").mean()
    np.testing.assert_allclose(found, expected["mean_other_models_1000way"], **TIGHT)


@pytest.mark.mirror
def test_correct_means_that_the_chosen_class_is_the_true_one(tables):
    table = tables["network_network"]
    assert ((table["label"] == table["prediction"]) == table["correct"]).all()
    words = set(tables["words"]["word"])
    assert set(table.query("modality == 'audio'")["prediction"]) <= words


@pytest.mark.mirror
@pytest.mark.reference
def test_explained_variance_of_voxels_is_the_published_one(tables, reference):
    data, published = tables["voxel_regression"], reference["fmri"]
    assert data.sizes["voxel"] == published["voxels"] == 7694
    counts = data["subject"].to_series().value_counts(sort=False)
    assert counts.index.astype(int).tolist() == published["participants"]
    assert counts.tolist() == published["voxels_per_participant"]["all_aud_voxels"]
    stored = data["r2"].notnull().all(["voxel", "split"]).to_series()  # noqa: PD004
    assert stored[stored].index.tolist() == [
        *(("cochresnet50", layer) for layer in ("layer1", "layer2", "layer3")), ("spectemp_filters", "avgpool"),
    ]  # fmt: skip
    for model, layer in stored[stored].index:
        expected = published["models"][model]
        median = np.median(np.median(data["r2"].sel(model=model, layer=layer), axis=1))
        np.testing.assert_allclose(
            median, expected["allvoxel_median"][expected["layers"].index(layer)], **TIGHT
        )


@pytest.mark.mirror
@pytest.mark.reference
def test_a_network_explains_voxels_better_than_filters_by_the_published_t(tables, reference):
    data = tables["voxel_regression"]
    regions = {
        "all_aud_voxels": data["in_roi"].isin([True, False]).any("region"),
        **{r: data["in_roi"].sel(region=r) for r in data["region"].values},
    }
    for region, mask in regions.items():
        per_voxel = data["r2"].median("split").where(mask)
        people = per_voxel.groupby("subject").median("voxel")
        layers = people.sel(model="cochresnet50").dropna("layer")
        # The layer is chosen on the other seven people.
        best = ((layers.sum("subject") - layers) / 7).argmax("layer")
        network, filters = layers.isel(layer=best), people.sel(model="spectemp_filters", layer="avgpool")
        t = stats.ttest_rel(network.values, filters.values).statistic
        expected = reference["fmri"]["paired_tests"][f"cochresnet50 > spectemp_filters | {region}"]["t"]
        np.testing.assert_allclose(t, expected, rtol=1e-9)


@pytest.mark.mirror
@pytest.mark.reference
def test_splits_are_those_of_the_published_seed(tables, reference):
    seed, train = reference["fmri"]["split_seed"], tables["voxel_regression"]["train"]
    generator = np.random.RandomState(seed)
    for split in train.values:
        chosen = generator.choice(165, 83, replace=False)
        generator.choice(sorted(set(range(165)) - set(chosen)), 82, replace=False)
        assert set(np.flatnonzero(split)) == set(chosen)


@pytest.mark.mirror
def test_voxels_have_a_place_and_regions_their_size(tables):
    data = tables["voxel_regression"]
    assert set(data["hemisphere"].values) == {"left", "right"}
    # Norman-Haignere et al. (2015): the most selective 5 % of voxels of each kind, as stored with the results.
    sizes = data["in_roi"].sum("voxel").to_series().to_dict()
    assert sizes == {"tonotopic": 379, "pitch": 379, "music": 393, "speech": 379}


@pytest.mark.mirror
def test_brain_scores_name_layers_that_people_were_asked_about(tables):
    scores = tables["brainscore"].set_index(["model", "score"])
    assert scores.loc[("resnet50_l2_3_robust", "V1"), "value"] == 0.575
    assert scores.loc[("vgg_19", "IT"), "best_layer"] == "conv_relu_3_3_fake_relu"
    best = best_layer_recognition(tables)
    assert len(best) == 10
    assert best.notna().all().all()


def best_layer_recognition(tables):
    """Human recognition at the best layer of each region, people pooled over experiments; NaN if none was asked."""
    human = tables["recognition"].query("observer == 'human' and modality == 'vision'")
    means = human.groupby(["model", "layer"])["proportion_correct"].mean()
    scores = tables["brainscore"].query("score in @REGIONS").pivot_table(
        index="model", columns="score", values="best_layer", aggfunc="first"
    )  # fmt: skip
    scores = scores.loc[scores.index.intersection(human["model"].unique())]
    return pd.DataFrame(
        {
            score: [means.get((model, scores.loc[model, score])) for model in scores.index]
            for score in REGIONS
        },
        index=scores.index,
    )


@pytest.mark.mirror
@pytest.mark.reference
def test_brain_scores_correlate_with_recognition_as_published(tables, reference):
    best = best_layer_recognition(tables)
    if len(best) < 26:
        pytest.skip(f"the published correlations are over 26 models; the files here are of {len(best)}")
    for region, expected in reference["brainscore_fig7B"]["values"].items():
        scores = tables["brainscore"].query("score == @region").set_index("model")["value"]
        rho = stats.spearmanr(best[region], scores[best.index]).statistic
        np.testing.assert_allclose(rho, expected["spearman_rho"], rtol=1e-9)


@pytest.mark.mirror
@pytest.mark.reference
def test_words_are_those_of_the_classes(tables, reference):
    words, labels = tables["words"], reference["labels"]
    assert len(words) == labels["n_words"]
    assert words.set_index("number")["word"].loc[[0, 1, 793]].tolist() == [
        labels["word0"], labels["word1"], labels["word793"],
    ]  # fmt: skip


# Files of the format of the real ones, for machines without them

BEHAVIOUR = (
    "VisionBehavioralExperiments/EXP5_ANALYSIS/VisionExperiment5_network_vs_humans_datamatrix_{}_public.mat"
)
LOG = "VisionBehavioralExperiments/EXP12_ANALYSIS/04-Feb-2023-EXP12_ANALYSIS_ANOVA_NETWORK_HUMAN_RESULTS.txt"
ATTACK = (
    "VisionBehavioralExperiments/EXP9_ANALYSIS/"
    "20-Mar-2022-EXP9_ANALYSIS-SMALLER_RANGE_ADV_EVAL_ANOVA_NETWORK_RESULTS.txt"
)
AUDIO = "model_analysis_folders/audio_networks"
VISION = "model_analysis_folders/visual_networks"
SCORES = "notebooks/2022_10_26_Metamers_Paper_Brainscore_Model_Tracking.csv"
WORDS = "robustness/audio_functions/word_and_speaker_encodings_jsinv3.pckl"
SCORED = """\
Model #,name,Submission ID,Average,V1,V2,V4,IT,Behavior,Geirhos 2021,\
V1 best layer,V2 best layer,V4 best layer,IT best layer,
13,a,99,.4,.5,.3,.2,.1,.6,.7,l1,l2,l2,l3,
13,a,99,.9,.9,.9,.9,.9,.9,.9,x,x,x,x,
XXX,orig,X,X,X,X,X,X,X,X,orig,orig,orig,orig,
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A small repository; the parts as in the real registry."""
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    rng = np.random.default_rng(0)
    for model in ("resnet50", "resnet50_byol"):
        write(BEHAVIOUR.format(model), lambda path: releases.stored(path))
    write(LOG, lambda path: path.write_text(releases.mixed_log()))
    write(ATTACK, lambda path: path.write_text(releases.attacked_log(releases.ATTACKED)))
    for place, network, classes in ((AUDIO, "kell2018", (794,)), (VISION, "cornet_s", (1000, 16))):
        content = {"model_evaluation_directory": network}
        for n in classes:
            content |= releases.judged(rng, n)
        path = f"{place}/{network}/network_network_evaluations/accuracy_on_metamers_from_resnet50.pckl"
        write(path, lambda path, content=content: releases.written(path, content))
    for network, layer in (("cochresnet50", "layer1"), ("spectemp_filters", "avgpool")):
        path = releases.regression_path(Path(AUDIO), network, layer).as_posix()
        stored = releases.regression(layer)
        write(path, lambda path, stored=stored: releases.written(path, stored))
    write(SCORES, lambda path: path.write_text(SCORED))
    words = {"word_idx_to_word": {np.int64(1): "ability", np.int64(0): "__nullSignal__"}}
    write(WORDS, lambda path: releases.written(path, words))

    def listed(_name, parts=()):
        """What is there by then; the log of the attacks belongs to a part."""
        root = tmp_path / "data" / "raw"
        paths = [p.relative_to(root).as_posix() for p in sorted(root.rglob("*")) if p.is_file()]
        return pd.DataFrame({"url": [f"https://{p}" for p in paths if parts or not p.endswith(ATTACK)]})

    monkeypatch.setattr(metamer_recognition, "registry", listed)
    return tmp_path


def write(path, how):
    target = download.raw(metamer_recognition.SOURCE + path)
    target.parent.mkdir(parents=True, exist_ok=True)
    how(target)


def test_tables_of_a_small_repository(files):
    found = metamer_recognition.load(files)
    assert sorted(found) == [
        "anova",
        "brainscore",
        "network_network",
        "recognition",
        "voxel_regression",
        "words",
    ]
    assert found["recognition"]["paper_name"].unique().tolist() == ["Visual Experiment 3"]
    assert set(found["recognition"]["model"]) == {"resnet50", "resnet50_byol"}
    assert found["recognition"]["observer"].unique().tolist() == ["human", "network"]
    assert found["anova"]["file"].unique().tolist() == [Path(LOG).name]
    counts = found["network_network"].groupby(["modality", "classes"]).size()
    assert counts.to_dict() == {("audio", 794): 120, ("vision", 16): 120, ("vision", 1000): 120}
    assert found["voxel_regression"]["layer"].values.tolist() == ["layer1", "avgpool"]
    assert found["words"]["word"].tolist() == ["__nullSignal__", "ability"]


def test_brain_scores_keep_the_first_row_of_a_model_and_no_placeholder(files):
    scores = metamer_recognition.load(files)["brainscore"]
    assert scores["model"].unique().tolist() == ["a"]
    assert scores.set_index("score")["value"].to_dict() == {
        "Average": 0.4, "V1": 0.5, "V2": 0.3, "V4": 0.2, "IT": 0.1, "Behavior": 0.6, "Geirhos 2021": 0.7,
    }  # fmt: skip
    assert scores.set_index("score").loc[["V1", "IT", "Average"], "best_layer"].tolist() == ["l1", "l3", ""]


def test_attacks_come_with_the_part_that_holds_them(files):
    found = metamer_recognition.load(files, parts=("behaviour",))
    assert found["adversarial"]["n_correct"].sum() == np.sum(releases.ATTACKED)
    assert found["adversarial"]["file"].unique().tolist() == [Path(ATTACK).name]


@pytest.mark.usefixtures("files")
def test_other_people_in_one_experiment_are_an_error(tmp_path):
    def changed(path):
        values = np.arange(12.0).reshape(2, 3, 2) / 12
        values[1, 0, 0] = 0.25
        releases.stored(path, participant_data_matrix=values)

    write(BEHAVIOUR.format("resnet50_byol"), changed)
    with pytest.raises(ValueError, match=r"differ in people .*'vision_exp5', '10'"):
        metamer_recognition.load(tmp_path)


@pytest.mark.usefixtures("files")
def test_another_number_of_people_is_an_error(tmp_path):
    def fewer(path):
        values = np.arange(6.0).reshape(1, 3, 2) / 12
        releases.stored(path, participant_data_matrix=values, participants=np.array(["0"]))

    write(BEHAVIOUR.format("resnet50_byol"), fewer)
    with pytest.raises(ValueError, match=r"differ in people .*'vision_exp5', '10'"):
        metamer_recognition.load(tmp_path)


@pytest.mark.usefixtures("files")
def test_metamers_in_another_order_are_an_error(tmp_path):
    content = releases.judged(np.random.default_rng(1), 794) | {"model_evaluation_directory": "coch"}
    content["labels_all_layers"]["final"].reverse()
    path = f"{AUDIO}/coch/network_network_evaluations/accuracy_on_metamers_from_resnet50.pckl"
    write(path, lambda path: releases.written(path, content))
    with pytest.raises(ValueError, match=r"metamers in different orders: .*'resnet50', 'final', 794"):
        metamer_recognition.load(tmp_path)


@pytest.mark.usefixtures("files")
def test_a_log_of_another_format_is_named(tmp_path):
    log = releases.mixed_log().replace("pValueGG", "pGG")
    write(LOG, lambda path: path.write_text(log))
    with pytest.raises(ValueError, match=f"{Path(LOG).name}: table"):
        metamer_recognition.load(tmp_path)


def test_the_registry_lists_the_whole_release():
    table = registry.registry("metamer_recognition", tuple(metamer_recognition.PARTS))
    names = table["url"].map(lambda url: Path(unquote(url)).name)
    assert names.str.endswith("_public.mat").sum() == 59
    assert names.str.endswith("_RESULTS.txt").sum() == 59
    assert names.str.startswith("accuracy_on_metamers_from_").sum() == 17 * 17 + 20 * 20
    assert names.str.startswith("voxelwise_regression_").sum() == 52
    assert table["url"].is_unique
    assert not table["url"].str.contains("'").any()


def test_what_is_always_fetched_has_hashes_and_the_stated_size():
    table = registry.registry("metamer_recognition")
    assert len(table) == 97
    assert table["sha256"].str.fullmatch("[0-9a-f]{64}").all()
    assert table["size"].sum() == 9_798_768


@pytest.mark.reference
def test_the_registry_has_the_published_hashes(reference):
    table = registry.registry("metamer_recognition")
    ours = {
        unquote(r.url.removeprefix(metamer_recognition.SOURCE)): (r.sha256, r.size)
        for r in table.itertuples()
    }
    files = [f for f in reference["fixture_files"]["files"] if not f["path"].startswith("chcochleagram:")]
    assert ours == {f["path"]: (f["sha256"], f["bytes"]) for f in files}
