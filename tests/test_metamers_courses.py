import math

import pandas as pd
import test_metamers_synthesis as few

from benchmarks import metamers as benchmark
from lib.metamers import courses, rules


def test_rules_are_compared_on_the_same_budget():
    budget = {"n_blocks": 8, "steps_per_block": 30, "tolerance": 0.0}
    by = {"published": rules.rule("vision", "feather2023", **budget), "ours": rules.rule("vision", **budget)}
    table = courses.courses(few.MADE, ["3"], few.pictures(), by, device="cpu")
    assert table.groupby(["rule", "layer", "stimulus"]).size().eq(241).all()
    start = table[table["step"] == 0].pivot_table(index="stimulus", columns="rule", values="loss")
    assert (start["ours"] == start["published"]).all()
    told = courses.reached(table)
    ours = told[told["rule"] == "ours"]
    assert (ours["n_lower"] == 3).all()
    assert (ours["loss_100"] < told[told["rule"] == "published"]["loss_100"].to_numpy()).all()
    assert told["loss_25"].gt(told["loss_100"]).all()


def test_losses_reached_are_those_at_the_share_of_the_steps():
    rows = [
        (rule, "a", s, step, step / 10, 1 - step / (20 if rule == "x" else 10))
        for rule in "xy"
        for s in "st"
        for step in range(11)
    ]
    table = pd.DataFrame(rows, columns=["rule", "layer", "stimulus", "step", "seconds", "loss"])
    told = courses.reached(table, at=(0.5, 1.0)).set_index("rule")
    assert told.loc["x", "loss_50"] == 0.75
    assert told.loc["y", ["loss_50", "loss_100", "n_lower", "seconds", "n"]].tolist() == [0.5, 0, 2, 1, 2]
    assert math.isnan(told.loc["x", "n_lower"])


def test_benchmark_holds_ours_beside_the_others():
    rows = [row for case in benchmark.cases("small") for row in case.compare()]
    assert [row["opponent"] for row in rows] == [
        "forward and backward to the layer",
        "two whole forward passes, batch 1",
        "plenoptic Metamer",
    ]
    assert all(float(row["ratio"]) > 0 for row in rows)
