"""Printed analyses of variance and matrices: every digit, each test at its row, what is refused."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import releases

from lib import printouts


def by_term(rows):
    return rows.set_index("term")


def test_every_digit_of_a_table_arrives():
    rows = by_term(printouts.anova_tables(releases.mixed_log()))
    assert len(rows) == 6
    assert rows.loc["network_or_human:layer", printouts.NUMBERS].tolist() == [
        7.7963, 6, 1.2994, 181.17, 3.7683e-86, 8.8441e-71, 1.9987e-81, 1.9314e-16, 0.81914,
    ]  # fmt: skip
    assert rows.loc["Error(layer)", ["sumsq", "df", "meansq"]].tolist() == [1.7213, 240, 0.0071721]
    assert rows.loc["Error(layer)", ["F", "p", "p_gg", "p_hf", "p_lb", "eta2p"]].isna().all()


@pytest.mark.parametrize(
    ("log", "tested", "models"),
    [
        (releases.mixed_log, {"network_or_human": 0.0001, "network_or_human:layer": 0.0002}, "CLIP_resnet50"),
        (
            releases.two_way_log,
            {"(Intercept):model_type": 0.5462, "(Intercept):layer:model_type": 0.9793},
            "resnet50, texture_shape_resnet50_trained_on_SIN",
        ),
        (releases.one_way_log, {"(Intercept):stage": 0.0001}, "spectemp_filters"),
    ],
)
def test_permutation_tests_stand_at_the_row_whose_f_they_print(log, tested, models):
    rows = by_term(printouts.anova_tables(log()))
    assert rows["p_permutation"].dropna().to_dict() == tested
    assert rows["models"].unique().tolist() == [models]


def test_tables_of_one_log_keep_apart():
    rows = printouts.anova_tables(releases.mixed_log() + releases.two_way_log() + releases.one_way_log())
    assert rows.groupby("title", sort=False).size().to_dict() == {
        "EXP12 - CLIP_ResNet50": 6, "StylizedImageNet_ResNet50": 8, "EXP6 - SpecTemp": 4,
    }  # fmt: skip
    assert rows.groupby("title")["p_permutation"].count().sum() == 5
    assert rows["models"].unique().tolist() == [
        "CLIP_resnet50", "resnet50, texture_shape_resnet50_trained_on_SIN", "spectemp_filters",
    ]  # fmt: skip


def test_mean_squares_are_sums_over_degrees_of_freedom():
    rows = printouts.anova_tables(releases.mixed_log() + releases.two_way_log() + releases.one_way_log())
    # Both printed with 5 significant digits: half a unit of the fifth, 5e-5, each.
    np.testing.assert_allclose(rows["sumsq"] / rows["df"], rows["meansq"], rtol=1e-4)


def test_a_log_without_tables_gives_no_rows():
    assert len(printouts.anova_tables("NUM_PERMUTATIONS = 10000\n")) == 0
    assert len(printouts.adversarial_accuracies("NUM_PERMUTATIONS = 10000\n")) == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pValueLB", "pValueXX", "has columns"),
        ("     10811    2.6978e-50", "     10811", "has 8 numbers instead of 9 or 4"),
        ("main effect: 517.2581", "main effect: 519.0", "is that of 0 rows"),
        ("interaction: 181.1714", "interaction: 172.1", "is that of 0 rows"),
    ],
)
def test_another_format_is_an_error_that_names_the_table(old, new, message):
    assert old in releases.mixed_log()
    with pytest.raises(ValueError, match=message) as caught:
        printouts.anova_tables(releases.mixed_log().replace(old, new))
    assert "CLIP_ResNet50" in str(caught.value)


def test_counts_come_back_from_four_printed_digits():
    rows = printouts.adversarial_accuracies(releases.attacked_log(releases.ATTACKED))
    assert rows.groupby("network", sort=False)["n_correct"].apply(list).tolist() == [
        [k for seed in matrix for k in seed] for matrix in releases.ATTACKED
    ]
    assert rows["network"].unique().tolist() == releases.NAMES
    assert rows["eps"].unique().tolist() == [31.622777, 100, 316.22777, 1000]
    assert rows["norm"].unique().tolist() == ["l1"]
    assert rows.loc[5, ["seed", "eps", "n_correct", "proportion_correct"]].tolist() == [
        1,
        100,
        306,
        306 / 1024,
    ]


def test_every_count_of_images_survives_rounding_to_four_digits():
    counts = np.arange(1024).reshape(2, 128, 4).tolist()
    rows = printouts.adversarial_accuracies(releases.attacked_log(counts))
    assert rows["n_correct"].tolist() == list(range(1024))


def test_an_accuracy_between_two_counts_is_an_error():
    log = releases.attacked_log(releases.ATTACKED).replace(f"{402 / 1024:.4f}", "0.3931")
    with pytest.raises(ValueError, match="is no count of 1024"):
        printouts.adversarial_accuracies(log)


def test_another_number_of_attacks_than_columns_is_an_error():
    with pytest.raises(ValueError, match=r"2 matrices of \[4\] columns for 2 networks and 3 sizes"):
        printouts.adversarial_accuracies(releases.attacked_log(releases.ATTACKED, eps="1 2 3"))


@pytest.mark.reference
def test_all_nine_published_attacks_come_back():
    if not os.environ.get("COMPENDIUM_REFERENCE"):
        pytest.skip("COMPENDIUM_REFERENCE is not set: the counts of all nine comparisons cannot be read")
    path = Path(os.environ["COMPENDIUM_REFERENCE"], "metamers.json")
    comparisons = {
        name: value for name, value in json.loads(path.read_text())["adversarial_exp9"].items()
        if isinstance(value, dict) and "correct_counts_of_1024" in value
    }  # fmt: skip
    log = "".join(
        releases.attacked_log(v["correct_counts_of_1024"], name, " ".join(map(str, v["eps"])))
        for name, v in comparisons.items()
    )
    rows = printouts.adversarial_accuracies(log)
    assert rows["comparison"].nunique() == len(comparisons) == 9
    expected = [np.ravel(v["correct_counts_of_1024"]) for v in comparisons.values()]
    assert rows["n_correct"].tolist() == np.concatenate(expected).tolist()
    assert isinstance(rows, pd.DataFrame)
