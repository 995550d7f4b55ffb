"""Answers of an online experiment: what is read, what is refused, who counts, and analyses that take the result."""

import numpy as np
import pandas as pd
import pytest

from lib.recognition import anova, curves, printed, responses

LAYERS = ["layer2", "layer10"]  # in order; by letters they are not


def answers(participant="p1", *, modality="vision", seed=0, models=("a", "b"), n=6, right=None, demo=12):
    """Rows of one participant: demo, then n trials of each condition in random order."""
    rng = np.random.default_rng(seed)
    right = {"natural": 1.0, "layer2": 0.9, "layer10": 0.3} if right is None else right
    shown = [("demo", "", "natural")] * demo + [("catch", "", "natural")] * 2
    main = [("main", "", "natural")] * n + [
        ("main", m, layer) for m in models for layer in LAYERS for _ in range(n)
    ]
    shown += [main[i] for i in rng.permutation(len(main))]
    rows = []
    for trial, (phase, model, layer) in enumerate(shown, start=1):
        correct = phase != "main" or rng.random() < right[layer]
        network = "" if not model else ("dog" if rng.random() < 0.9 else "cat")
        rows.append({"experiment": "exp", "participant": participant, "trial": trial, "phase": phase,
                     "modality": modality, "stimulus": f"s{trial}", "model": model, "layer": layer,
                     "response": "dog" if correct else "", "answer": "dog", "correct": int(correct),
                     "rt_ms": 500.5 if correct else "", "network_response": network,
                     "network_correct": "" if not network else int(network == "dog"), "n_choices": 16,
                     "seed": seed})  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def written(tmp_path):
    """Write tables to files of their own; give their paths."""

    def write(*tables):
        paths = [tmp_path / f"{i}.csv" for i in range(len(tables))]
        for path, table in zip(paths, tables, strict=True):
            table.to_csv(path, index=False)
        return paths

    return write


def test_answers_are_read_as_written_in_any_order_of_columns(written):
    first, second = answers("p1"), answers("p2", seed=1)
    found = responses.read(written(first[first.columns[::-1]], second))
    assert found["participant"].unique().tolist() == ["p1", "p2"]
    assert found["correct"].dtype == bool
    assert found["correct"].tolist() == [*first["correct"], *second["correct"]]
    assert found["rt_ms"].isna().sum() == (~found["correct"]).sum()
    assert found["trial"].tolist() == [*first["trial"], *second["trial"]]
    joined = responses.read(written(pd.concat([first, second])))
    pd.testing.assert_frame_equal(joined.drop(columns="file"), found.drop(columns="file"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rt_ms": None}, r"lacks columns \['rt_ms'\]"),
        ({"age": 30}, r"unknown ones \['age'\]"),
        ({"phase": "training"}, "unknown phase"),
        ({"modality": "touch"}, "unknown modality"),
        ({"response": "cat"}, "row 2: response 'cat' to 'dog' is said to be 1"),
        ({"network_response": "cat"}, "contradicts network_response"),
        ({"rt_ms": "fast"}, "column rt_ms: 'fast' in row 2 is no number"),
        ({"correct": ""}, "column correct: '' in row 2 is no number"),
        ({"rt_ms": -3}, "-3.0 ms"),
        ({"trial": 1}, "not numbered"),
        ({"seed": 1.5}, "whole numbers"),
    ],
)
def test_what_is_wrong_in_a_file_is_an_error(written, change, said):
    ((column, value),) = change.items()
    table = answers().drop(columns=column) if value is None else answers().assign(**change)
    with pytest.raises(ValueError, match=said):
        responses.read(written(table))


def test_a_participant_counts_once(written):
    with pytest.raises(ValueError, match=r"'p1' is in 0\.csv and in 1\.csv"):
        responses.read(written(answers(), answers(seed=3)))
    with pytest.raises(ValueError, match="no file"):
        responses.read([])
    with pytest.raises(ValueError, match="0 rows"):
        responses.read(written(answers().head(0)))


def test_participants_are_excluded_with_their_reason(written):
    poor = answers("poor", seed=1)
    wrong = (poor["phase"] == "demo") & (poor["trial"] > 6)
    poor.loc[wrong, ["response", "correct"]] = ["cat", 0]
    tables = [answers("good"), poor, answers("gone", seed=2).head(30)]
    found = responses.exclusions(responses.read(written(*tables))).set_index("participant")
    assert found.loc["good", "reason"] == ""
    assert found.loc["poor", "reason"] == "demo: 6 of 12 correct, 7 needed"
    assert found.loc["gone", "reason"] == "broken off: 16 of 30 main trials"
    assert found.loc["good", ["demo_correct", "catch_trials", "main_trials"]].tolist() == [12, 2, 30]


def test_sounds_need_their_headphone_check(written):
    table = responses.read(written(answers(modality="audio")))
    assert responses.exclusions(table)["reason"].tolist() == ["check: 0 of 0 correct, 5 needed"]
    assert responses.exclusions(table, gates={})["reason"].tolist() == [""]
    with pytest.raises(ValueError, match="no participant is left: check"):
        responses.by_condition(table)


def test_conditions_are_proportions_of_the_main_trials(written):
    table = responses.read(written(*[answers(f"p{i}", seed=i) for i in range(5)]))
    found = responses.by_condition(table)
    human = found[found["observer"] == "human"]
    assert len(human) == 5 * 2 * 3
    main = table[(table["phase"] == "main") & (table["participant"] == "p3")]
    cell = human[(human["participant"] == "p3") & (human["model"] == "b") & (human["layer"] == "layer10")]
    expected = main[(main["model"] == "b") & (main["layer"] == "layer10")]["correct"].mean()
    assert cell["proportion_correct"].item() == expected
    assert cell["stage"].item() == 2  # after layer2, as numbers go
    natural = human[human["stage"] == 0]
    assert (
        natural.groupby("participant")["proportion_correct"].nunique().eq(1).all()
    )  # the same for both models
    network = found[found["observer"] == "network"]
    assert set(network["stage"]) == {1, 2}  # originals are no model's
    order = {"a": LAYERS[::-1], "b": LAYERS[::-1]}
    turned = responses.by_condition(table, layers=order)
    assert set(turned[turned["layer"] == "layer10"]["stage"]) == {1}
    with pytest.raises(ValueError, match="layers layer2 are none of a: layer10"):
        responses.by_condition(table, layers={"a": ["layer10"]})
    originals = table[table["layer"] == "natural"]
    with pytest.raises(ValueError, match="no metamer"):
        responses.by_condition(originals)


def test_networks_have_originals_where_there_is_one_model(written):
    table = answers(models=("a",))
    own = (table["phase"] == "main") & (table["model"] == "")
    table.loc[own, ["model", "network_response", "network_correct"]] = ["a", "dog", 1]
    found = responses.by_condition(responses.read(written(table)))
    assert found[(found["observer"] == "network") & (found["stage"] == 0)]["proportion_correct"].tolist() == [
        1
    ]


def test_curves_and_analyses_take_the_result(written):
    table = responses.read(written(*[answers(f"p{i}", seed=i) for i in range(6)]))
    found = responses.by_condition(table)
    means = curves.means(found)
    late, early = (
        means[(means["model"] == "a") & (means["observer"] == "human") & (means["layer"] == layer)].iloc[0]
        for layer in ("layer10", "layer2")
    )
    assert late["high"] < early["low"]  # as planted
    assert late["n"] == 6
    models = printed.models(found, n_permutations=99).set_index("term")
    assert models.loc["layer", "p_gg"] < 1e-3
    assert models.loc["model", "p_permutation"] > 1e-3
    shown = found[(found["model"] == "a") & (found["stage"] > 0)]
    assert printed.observer(shown, n_permutations=99).set_index("term").loc["observer:layer", "p"] < 0.05
    with pytest.raises(ValueError, match="observer network"):
        anova.cells(found[found["model"] == "a"], "observer")
