"""Recognition as released: every printed analysis of variance, permutation p, mean and figure that the files allow."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from lib import datasets
from lib.recognition import agreement, anova, curves, networks, permutation, printed

pytestmark = [pytest.mark.mirror, pytest.mark.reference]
TIGHT = {"rtol": 1e-9, "atol": 1e-11}  # the reference has 12 digits
N = 10_000  # permutations, here and as published


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


@pytest.fixture(scope="module")
def analysed(tables):
    return printed.analyses(tables["recognition"], tables["anova"], seed=1)


def test_every_printed_cell_comes_back_in_all_its_digits(tables, analysed):
    found = printed.compared(analysed, tables["anova"])
    cells = tables["anova"][printed.CELLS].notna().to_numpy().sum()
    assert len(found) == cells == 1883
    assert found[~found["agrees"]].empty
    assert analysed.groupby(["file", "title"]).ngroups == 43
    experiments = {"audio_exp1", "audio_exp3", "audio_exp4", "vision_exp1", "vision_exp3", "vision_exp6"}
    assert set(analysed["experiment"]) == experiments


def test_headline_f_values(analysed):
    # Feather et al. (2023), Visual Experiment 6: F(4, 76) = 351.873925.
    row = analysed[(analysed["about"] == "hmax_standard") & (analysed["term"] == "layer")].iloc[0]
    assert (row["df"], row["df_error"], round(row["F"], 6)) == (4, 76, 351.873925)
    assert (row["mauchly_w"], row["mauchly_p"]) == pytest.approx((0.394930683249, 0.0631993315728), rel=1e-9)


def test_analyses_of_all_files_are_those_of_the_reference(tables, reference):
    table = tables["recognition"]
    for (experiment, model), rows in table.groupby(["experiment", "model"]):
        key = f"{experiment}/{model}"
        human = (
            anova.analysis(anova.cells(rows[rows["observer"] == "human"]), ["layer"])
            .set_index("term")
            .loc["layer"]
        )
        expected = reference["anova_human_layer_all59"][key]
        ours = human[
            ["F", "df", "df_error", "p", "eta2p", "eps_gg", "eps_hf", "p_gg", "p_hf", "p_lb"]
        ].to_list()
        names = ["F", "DF", "DFerr", "p", "peta2", "GG", "HF", "pGG", "pHF", "pLB"]
        np.testing.assert_allclose(ours, [expected[name] for name in names], rtol=1e-7)
        np.testing.assert_allclose(human["mauchly_w"], expected["mauchly_W"], rtol=1e-7)
        mixed = printed.observer(rows, published="feather2023", n_permutations=9).set_index("term")
        expected = reference["anova_mixed_human_vs_network_all59"][key]
        for term, theirs in (("observer", "observer"), ("layer", "layer"), ("observer:layer", "interaction")):
            np.testing.assert_allclose(mixed.loc[term, "F"], expected[theirs]["F"], rtol=1e-9)


def test_permutation_p_are_the_printed_ones_but_for_chance(tables, analysed):
    theirs = tables["anova"].assign(term=tables["anova"]["term"].map(printed.term_of))
    theirs = theirs.dropna(subset="p_permutation")
    both = theirs.merge(analysed, on=["file", "title", "term"], suffixes=("_printed", ""))
    assert len(both) == len(theirs) == 85
    ours, printed_p = both["p_permutation"], both["p_permutation_printed"]
    error = np.sqrt(2 * ours * (1 - ours) / N)
    # Both are random; at the floor a p of up to 4 / N is likely enough to give either.
    assert (abs(ours - printed_p) <= np.maximum(4 * error, 4 / N)).all()
    assert (ours >= 1 / N).all()


def test_swaps_of_two_models_are_the_enumerated_ones(tables, reference):
    n_checked = 0
    for key, table in reference["published_matlab_tables"].items():
        check = table.get("permutation_check") or {}
        if "exact_p_main_ge" not in check:
            continue
        file, title = key.split("::")
        rows = tables["anova"][(tables["anova"]["file"] == file) & (tables["anova"]["title"] == title)]
        here = tables["recognition"]
        here = here[here["experiment"] == printed.experiment_of(file)]
        here = here[here["model"].isin(rows["models"].iloc[0].split(", ")) & (here["observer"] == "human")]
        difference = np.subtract(*anova.cells(here, "model").mean("layer").values.T)
        assert permutation.swaps(difference) == pytest.approx(check["exact_p_main_ge"], rel=1e-9)
        strict = permutation.swaps(difference, ties=False)
        assert strict == pytest.approx(check["exact_p_main_strict"], rel=1e-9)
        n_checked += 1
    assert n_checked == 21


def test_pairing_people_and_networks_finds_more(tables, analysed):
    paired = printed.analyses(tables["recognition"], tables["anova"], published=None, n_permutations=99)
    keys = ["file", "title", "term"]
    both = analysed.merge(paired, on=keys, suffixes=("_published", ""))
    here = both[(both["design"] == "observer") & both["term"].str.startswith("observer")]
    assert len(here) == 2 * 19
    assert (here["df_error"] < here["df_error_published"]).all()
    assert (here["eta2p"] > here["eta2p_published"]).all()
    same = both[(both["design"] == "model") & both["F"].notna()]
    np.testing.assert_allclose(same["F"], same["F_published"], rtol=1e-12)


def test_curves_are_the_published_ones(tables, reference):
    found = curves.means(tables["recognition"], published="feather2023")
    for (experiment, model), rows in found.groupby(["experiment", "model"]):
        expected = reference["behaviour_means"][f"{experiment}/{model}"]
        human, network = (rows[rows["observer"] == o].sort_values("stage") for o in ("human", "network"))
        np.testing.assert_allclose(human["value"], expected["human_mean"], **TIGHT)
        np.testing.assert_allclose(human["sem"], expected["human_sem"], **TIGHT)
        np.testing.assert_allclose(network["value"], expected["network_mean"], **TIGHT)


def test_points_and_curves_of_the_networks_here_are_the_published_ones(tables, reference):
    judged = networks.accuracies(tables["network_network"])
    drawn = networks.curves(judged, published="feather2023")
    groups = networks.groups(judged, networks.GROUPS, published="feather2023")
    for modality, model, drop in (("audio", "cochresnet50", 0), ("vision", "resnet50", 1)):
        expected = reference["network_network"][modality]["per_generating_model"][model]
        rows = drawn[drawn["generator"] == model].sort_values("stage")
        np.testing.assert_allclose(rows["value"], expected["mean_other_models"], **TIGHT)
        np.testing.assert_allclose(rows["sem"], expected["sem_other_models"], **TIGHT)
        key = {"audio": "figure8D_groups", "vision": "figure8B_groups_20models"}[modality]
        group = groups[(groups["modality"] == modality) & (groups["group"] == "standard")].sort_values(
            "stage"
        )
        published = reference["network_network"][modality][key]["standard"]
        np.testing.assert_allclose(group["value"], published["mean"], **TIGHT)
        np.testing.assert_allclose(group["sem"], published["sem"], **TIGHT)
        for rule, column in (
            ("feather2023", "mean_other_models"),
            ("feather2022", "mean_all_models_incl_self"),
        ):
            points = agreement.points(tables["recognition"], tables["network_network"], published=rule)
            points = points[points["model"] == model].set_index("layer").loc[expected["layers"][drop:]]
            np.testing.assert_allclose(points["networks"], expected[column][drop:], **TIGHT)
        if (
            expected["n_participants_pooled"][drop] == points["n_people"].iloc[0]
        ):  # the same experiments are here
            np.testing.assert_allclose(points["human"], expected["human_mean_pooled"][drop:], **TIGHT)


def test_brain_scores_of_the_models_here(tables):
    found = agreement.brain_scores(tables["recognition"], tables["brainscore"])
    assert found.groupby("region")["model"].nunique().to_dict() == dict.fromkeys(agreement.REGIONS, 10)
    row = found[(found["region"] == "V1") & (found["model"] == "resnet50_l2_3_robust")].iloc[0]
    assert row["score"] == 0.575
