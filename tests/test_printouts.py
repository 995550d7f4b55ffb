"""Printed analyses of variance and matrices: every digit, each test at its row, what is refused."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib import printouts

COLUMNS = "SumSq DF MeanSq F pValue pValueGG pValueHF pValueLB partial_etaSquared"
# Feather et al. (2023), released print-out of Visual Experiment 2, CLIP ResNet50.
MIXED = """
(Intercept) 186.54 1 186.54 10811 2.6978e-50 2.6978e-50 2.6978e-50 2.6978e-50 NaN
network_or_human 8.9255 1 8.9255 517.26 1.7126e-24 1.7126e-24 1.7126e-24 1.7126e-24 0.92822
Error 0.69022 40 0.017256 NaN
(Intercept):layer 7.4059 6 1.2343 172.1 5.6343e-84 5.2687e-69 2.2521e-79 4.4837e-16 0.81141
network_or_human:layer 7.7963 6 1.2994 181.17 3.7683e-86 8.8441e-71 1.9987e-81 1.9314e-16 0.81914
Error(layer) 1.7213 240 0.0071721 NaN
"""
# The same, Visual Experiment 5, ResNet50 trained on stylised images.
TWO_WAY = """
(Intercept) 116.73 1 116.73 1216.7 2.1727e-19 2.1727e-19 2.1727e-19 2.1727e-19 NaN
Error 1.9189 20 0.095944 NaN
(Intercept):layer 41.147 7 5.8782 470.27 6.5323e-94 1.3419e-56 1.5723e-72 2.2917e-15 0.95921
Error(layer) 1.7499 140 0.0125 NaN
(Intercept):model_type 0.0022954 1 0.0022954 0.35942 0.55556 0.55556 0.55556 0.55556 0.017654
Error(model_type) 0.12773 20 0.0063863 NaN
(Intercept):layer:model_type 0.011923 7 0.0017033 0.22513 0.97884 0.93023 0.95966 0.6403 0.011131
Error(layer:model_type) 1.0592 140 0.0075658 NaN
"""
# The same, Audio Experiment 2: people only, with the matrix printed before.
ONE_WAY = """
(Intercept) 39.408 1 39.408 2994.8 2.2626e-22 2.2626e-22 2.2626e-22 2.2626e-22 NaN
Error 0.25001 19 0.013159 NaN
(Intercept):stage 10.043 4 2.5107 515.29 3.2577e-54 3.007e-47 3.2577e-54 3.1495e-15 0.96444
Error(stage) 0.3703 76 0.0048724 NaN
"""
# The same, Visual Experiment 12, VOneAlexNet against LowpassAlexNet, L1: images correct of 1024, 5 seeds, 4 sizes.
ATTACKED = [
    [[402, 300, 84, 2], [419, 306, 79, 0], [451, 316, 89, 1], [413, 294, 77, 0], [431, 304, 92, 5]],
    [[411, 304, 69, 2], [410, 302, 67, 1], [447, 335, 75, 1], [422, 294, 71, 0], [433, 314, 90, 2]],
]
NAMES = ["alexnet_reduced_aliasing_early_checkpoint", "vonealexnet_gaussian_noise_std4_fixed"]


def table(title, body):
    """Head, underlines, a blank line, rows in columns, a blank line; cells of error terms without F are blank."""
    rows = [row.split() for row in ["term " + COLUMNS, *body.strip().splitlines()]]
    rows = [row if len(row) == 10 else [*row[:4], *[""] * 5, row[4]] for row in rows]
    head, *lines = ["".join([f"    {row[0]:30}", *(f"    {cell:>10}" for cell in row[1:])]) for row in rows]
    rule = " " * 34 + "    ".join("_" * 10 for _ in range(9))
    return "\n".join([f"{title} Full ANOVA", head.replace("term", "    "), rule, "", *lines, "", ""])


def mixed_log():
    name = "EXP12 - CLIP_ResNet50"
    return (
        "######### | Visual Networks: Large Dataset Training | #########\nNUM_PERMUTATIONS = 10000\n"
        f"Loading {name} ||| EXP12_ANALYSIS/VisionExperiment12_network_vs_humans_datamatrix_CLIP_resnet50.mat\n"
        f"Using between factors\n{table(name, MIXED)}"
        f"{name} F(observer) main effect: 517.2581\n{name} p-value main effect: 0.0001\n"
        f"{name} F(stage, observer) interaction: 181.1714\n{name} p-value interaction: 0.0002\n"
    )


def two_way_log():
    return (
        "NUM_PERMUTATIONS = 10000\nMODELS_INCLUDED_IN_ANOVA: resnet50, texture_shape_resnet50_trained_on_SIN\n\n"
        "p_value_interaction =\n\n    0.9793\n\n\n"
        f"{table('StylizedImageNet_ResNet50', TWO_WAY)}"
        "F(model) main effect: 0.35942\np_value main effect : 0.5462\n"
        "F(model, stage) interaction: 0.22513\np_value interaction : 0.9793\n"
    )


def one_way_log():
    name = "EXP6 - SpecTemp"
    return (
        f"Loading {name} ||| EXPERIMENT_6/AudioExperiment6_network_vs_humans_datamatrix_spectemp_filters.mat\n"
        "Removing Human Recognition of Classifier Metamers for SPECTEMP ANOVA\n"
        f"    0.7273    0.9091    0.8750    0.6176         0\n\n{table(name, ONE_WAY)}"
        f"{name} F(observer) main effect: 515.2883\n{name} p-value main effect: 0.0001\n"
    )


def attacked_log(counts, name="gvone_vs_lowpass_alexnet_adv_eval_l1", eps="31.622777            100      316.22777"
                 "           1000"):  # fmt: skip
    """Four decimals, a bare 0 for zero, as MATLAB prints a matrix."""
    slices = "".join(
        f"anova_comparison_data_matrix(:,:,{i}) =\n\n"
        + "".join("".join(f"{k / 1024:10.4f}" if k else f"{0:10d}" for k in row) + "\n" for row in matrix)
        + "\n\n"
        for i, matrix in enumerate(counts, start=1)
    )
    cells = "    ".join(f"{{'{n}'}}" for n in NAMES)
    return (
        f"experiment_short_name =\n\n    '{name}'\n\n\nexperiment_name =\n\n    'EXP9 - L1: VOneAlexNet'\n\n\n"
        'models =\n\n  1x2 <a href="matlab:helpPopup cell" style="font-weight:bold">cell</a> array\n\n'
        f"    {cells}\n\n\nindex_range =\n\n     4     5     6     7\n\n\n"
        f"Running EPS values [{eps}] for attack type {name}\n\nmodel_idx =\n\n     2     3\n\n\n{slices}"
        'network_between_factors_cell =\n\n  1x2 <a href="matlab:helpPopup cell">cell</a> array\n\n'
        "    {5x1 double}    {5x1 double}\n\n\n"
    )


def by_term(rows):
    return rows.set_index("term")


def test_every_digit_of_a_table_arrives():
    rows = by_term(printouts.anova_tables(mixed_log()))
    assert len(rows) == 6
    assert rows.loc["network_or_human:layer", printouts.NUMBERS].tolist() == [
        7.7963, 6, 1.2994, 181.17, 3.7683e-86, 8.8441e-71, 1.9987e-81, 1.9314e-16, 0.81914,
    ]  # fmt: skip
    assert rows.loc["Error(layer)", ["sumsq", "df", "meansq"]].tolist() == [1.7213, 240, 0.0071721]
    assert rows.loc["Error(layer)", ["F", "p", "p_gg", "p_hf", "p_lb", "eta2p"]].isna().all()


@pytest.mark.parametrize(
    ("log", "tested", "models"),
    [
        (mixed_log, {"network_or_human": 0.0001, "network_or_human:layer": 0.0002}, "CLIP_resnet50"),
        (
            two_way_log,
            {"(Intercept):model_type": 0.5462, "(Intercept):layer:model_type": 0.9793},
            "resnet50, texture_shape_resnet50_trained_on_SIN",
        ),
        (one_way_log, {"(Intercept):stage": 0.0001}, "spectemp_filters"),
    ],
)
def test_permutation_tests_stand_at_the_row_whose_f_they_print(log, tested, models):
    rows = by_term(printouts.anova_tables(log()))
    assert rows["p_permutation"].dropna().to_dict() == tested
    assert rows["models"].unique().tolist() == [models]


def test_tables_of_one_log_keep_apart():
    rows = printouts.anova_tables(mixed_log() + two_way_log() + one_way_log())
    assert rows.groupby("title", sort=False).size().to_dict() == {
        "EXP12 - CLIP_ResNet50": 6, "StylizedImageNet_ResNet50": 8, "EXP6 - SpecTemp": 4,
    }  # fmt: skip
    assert rows.groupby("title")["p_permutation"].count().sum() == 5


def test_mean_squares_are_sums_over_degrees_of_freedom():
    rows = printouts.anova_tables(mixed_log() + two_way_log() + one_way_log())
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
    assert old in mixed_log()
    with pytest.raises(ValueError, match=message) as caught:
        printouts.anova_tables(mixed_log().replace(old, new))
    assert "CLIP_ResNet50" in str(caught.value)


def test_counts_come_back_from_four_printed_digits():
    rows = printouts.adversarial_accuracies(attacked_log(ATTACKED))
    assert rows.groupby("network", sort=False)["n_correct"].apply(list).tolist() == [
        [k for seed in matrix for k in seed] for matrix in ATTACKED
    ]
    assert rows["network"].unique().tolist() == NAMES
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
    rows = printouts.adversarial_accuracies(attacked_log(counts))
    assert rows["n_correct"].tolist() == list(range(1024))


def test_an_accuracy_between_two_counts_is_an_error():
    log = attacked_log(ATTACKED).replace(f"{402 / 1024:.4f}", "0.3931")
    with pytest.raises(ValueError, match="is no count of 1024"):
        printouts.adversarial_accuracies(log)


def test_another_number_of_attacks_than_columns_is_an_error():
    with pytest.raises(ValueError, match=r"2 matrices of \[4\] columns for 2 networks and 3 sizes"):
        printouts.adversarial_accuracies(attacked_log(ATTACKED, eps="1 2 3"))


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
        attacked_log(v["correct_counts_of_1024"], name, " ".join(map(str, v["eps"])))
        for name, v in comparisons.items()
    )
    rows = printouts.adversarial_accuracies(log)
    assert rows["comparison"].nunique() == len(comparisons) == 9
    expected = [np.ravel(v["correct_counts_of_1024"]) for v in comparisons.values()]
    assert rows["n_correct"].tolist() == np.concatenate(expected).tolist()
    assert isinstance(rows, pd.DataFrame)
