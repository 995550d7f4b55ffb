"""Curves, analyses of variance and permutation tests of recognition: other implementations, laws, planted effects."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.anova import AnovaRM

from lib.recognition import anova, curves, permutation, printed

# 4 standard errors of a share that is 5 %, of so many simulations
SIMULATED = 400
AROUND_FIVE = 4 * np.sqrt(0.05 * 0.95 / SIMULATED)


@pytest.fixture
def rng(request):
    return np.random.default_rng(len(request.node.name))


def tidy(values, experiment="audio_exp9", names=("a", "b"), across="model"):
    """Table of an array (participant, layer, level)."""
    n, k, m = values.shape
    rows = [
        {"modality": "audio", "experiment": experiment, "paper_name": "Audio Experiment 9", "model": names[0],
         "stage": j, "layer": f"layer{j}", "participant": str(i), "observer": "human",
         "proportion_correct": values[i, j, level], "file": "x.mat"} | {across: names[level]}
        for i, j, level in itertools.product(range(n), range(k), range(m))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def term(found, name):
    return found.set_index("term").loc[name]


# Analyses of variance


@pytest.mark.parametrize("levels", [(5,), (2, 4), (3, 3)])
def test_repeated_measures_equal_statsmodels(rng, levels):
    values = rng.random((9, *levels)) + rng.random((9, *[1] * len(levels)))
    names = ["layer", "model"][: len(levels)]
    index = pd.MultiIndex.from_product([range(s) for s in values.shape], names=["unit", *names])
    table = pd.DataFrame({"y": values.ravel()}, index=index).reset_index()
    theirs = AnovaRM(table, "y", "unit", within=names).fit().anova_table
    ours = anova.analysis(values, names).set_index("term").loc[theirs.index]
    np.testing.assert_allclose(ours["F"], theirs["F Value"], rtol=1e-9)
    np.testing.assert_allclose(ours["p"], theirs["Pr > F"], rtol=1e-7)
    np.testing.assert_allclose(ours[["df", "df_error"]], theirs[["Num DF", "Den DF"]])


def residual(y, columns):
    """Sum of squares that a least-squares fit leaves."""
    design = np.column_stack(columns)
    return np.sum((y - design @ np.linalg.lstsq(design, y)[0]) ** 2)


@pytest.mark.parametrize("sizes", [(6, 6), (4, 7)])
def test_mixed_design_equals_least_squares(rng, sizes):
    n, k = sum(sizes), 4
    groups = np.repeat([0, 1], sizes)
    values = rng.random((n, k)) + groups[:, None] * rng.random(k)
    effect = {
        "unit": np.repeat(np.eye(n), k, axis=0),
        "layer": np.tile(np.vstack([np.eye(k - 1), -np.ones(k - 1)]), (n, 1)),
        "group": np.repeat(1 - 2.0 * groups, k)[:, None],
    }
    effect["both"] = effect["group"] * effect["layer"]
    y = values.ravel()
    full = residual(y, [effect["unit"], effect["layer"], effect["both"]])
    within = {"layer": effect["both"], "observer:layer": effect["layer"]}
    found = anova.analysis(values, ["layer"], groups=groups).set_index("term")
    for name, rest in within.items():  # type III: each effect beside all others
        assert found.loc[name, "sumsq"] == pytest.approx(residual(y, [effect["unit"], rest]) - full, rel=1e-9)
    assert found.loc["error(layer)", "sumsq"] == pytest.approx(full, rel=1e-9)
    t = stats.ttest_ind(values[groups == 0].mean(axis=1), values[groups == 1].mean(axis=1))
    assert found.loc["observer", "F"] == pytest.approx(t.statistic**2, rel=1e-9)
    assert found.loc["observer", "p"] == pytest.approx(t.pvalue, rel=1e-7)


def test_epsilons_are_those_of_the_covariance(rng):
    values = rng.normal(size=(12, 5)) * [1, 2, 3, 1, 0.5] + rng.normal(size=(12, 1))
    found = term(anova.analysis(values, ["layer"]), "layer")
    s = np.cov(values.T)
    k, n = 5, 12
    # Box (1954) by means of the matrix, without contrasts.
    top = k**2 * (np.trace(s) / k - s.mean()) ** 2
    gg = top / ((k - 1) * (np.sum(s**2) - 2 * k * np.sum(s.mean(axis=0) ** 2) + k**2 * s.mean() ** 2))
    hf = (n * (k - 1) * gg - 2) / ((k - 1) * (n - 1 - (k - 1) * gg))  # Huynh & Feldt (1976), one group
    assert found["eps_gg"] == pytest.approx(gg, rel=1e-9)
    assert found["eps_hf"] == pytest.approx(hf, rel=1e-9)
    assert found["p_gg"] == pytest.approx(stats.f.sf(found["F"], 4 * gg, 44 * gg), rel=1e-9)
    assert found["p_lb"] == pytest.approx(stats.f.sf(found["F"], 1, 11), rel=1e-9)
    effect = term(anova.analysis(values + np.arange(5), ["layer"]), "layer")
    assert effect["p"] < effect["p_hf"] < effect["p_gg"] < effect["p_lb"]


def test_covariance_of_groups_is_pooled(rng):
    values, groups = rng.normal(size=(14, 3)) * [1, 2, 4], np.repeat([0, 1], 7)
    apart = values + np.where(groups == 0, 0, 1)[:, None] * [0, 5, -3]
    first, second = (term(anova.analysis(v, ["layer"], groups=groups), "layer") for v in (values, apart))
    assert first["eps_gg"] == pytest.approx(second["eps_gg"], rel=1e-9)
    assert term(anova.analysis(apart, ["layer"]), "layer")["eps_gg"] != pytest.approx(
        second["eps_gg"], rel=0.01
    )


def test_sphericity_of_spherical_layers_is_not_doubted(rng):
    p = [
        term(anova.analysis(rng.normal(size=(20, 4)), ["layer"]), "layer")["mauchly_p"]
        for _ in range(SIMULATED)
    ]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=AROUND_FIVE)


def test_huynh_feldt_is_one_at_most(rng):
    found = [term(anova.analysis(rng.normal(size=(6, 3)), ["layer"]), "layer") for _ in range(50)]
    eps = np.array([one["eps_hf"] for one in found])
    assert eps.max() == 1
    assert (eps < 1).any()
    assert all(one["eps_gg"] <= 1 + 1e-12 for one in found)


def test_paired_and_independent_designs_differ_where_units_have_something_in_common(rng):
    common = rng.normal(size=(20, 1))
    values = common + 0.1 * rng.normal(size=(20, 4))
    other = values + 0.1 + 0.1 * rng.normal(size=(20, 4))
    paired = anova.analysis(np.stack([values, other], axis=1), ["observer", "layer"])
    stacked = anova.analysis(np.concatenate([values, other]), ["layer"], groups=np.repeat([0, 1], 20))
    assert term(paired, "observer")["p"] < 1e-4
    assert term(stacked, "observer")["p"] > 0.3
    assert term(paired, "observer")["sumsq"] == pytest.approx(term(stacked, "observer")["sumsq"])


def test_nothing_varies_is_no_effect():
    found = anova.analysis(np.full((5, 3), 0.5), ["layer"])
    assert np.isnan(term(found, "layer")["F"])
    sure = anova.analysis(np.tile([0.1, 0.5, 0.9], (5, 1)), ["layer"])
    assert term(sure, "layer")["F"] == np.inf
    assert term(sure, "layer")["p"] == 0


@pytest.mark.parametrize(
    ("values", "groups", "said"),
    [
        (np.full((4, 3), np.nan), None, "missing"),
        (np.ones((4, 1)), None, "two or more levels"),
        (np.ones((1, 3)), None, "take more units"),
        (np.ones((4, 3)), [0, 0, 0, 0], "two or more each"),
        (np.ones((4, 3)), [0, 1], "of 2 for 4 units"),
    ],
)
def test_what_has_no_analysis_is_an_error(values, groups, said):
    with pytest.raises(ValueError, match=said):
        anova.analysis(values, ["layer"], groups=groups)


def test_cells_are_found_by_name(rng):
    values = rng.random((3, 4, 2))
    table = tidy(values).sample(frac=1, random_state=0)
    found = anova.cells(table, "model").sel(participant=["0", "1", "2"], model=["a", "b"])
    np.testing.assert_array_equal(found, values)
    assert found["layer"].values.tolist() == [f"layer{i}" for i in range(4)]


def test_a_missing_cell_is_named(rng):
    table = tidy(rng.random((3, 4, 2)))
    with pytest.raises(ValueError, match="1 of 24 cells have no value: participant 0, stage 1, model b"):
        anova.cells(table.drop(index=3), "model")
    table.loc[3, "proportion_correct"] = np.nan
    with pytest.raises(ValueError, match="participant 0, stage 1, model b"):
        anova.cells(table, "model")
    with pytest.raises(ValueError, match="several rows"):
        anova.cells(pd.concat([table, table]), "model")
    with pytest.raises(ValueError, match="layers differ"):
        anova.cells(table.assign(layer=table["layer"].mask(table["model"] == "b", "conv")), "model")


# Permutations


def test_swaps_are_enumerated(rng):
    d = rng.integers(-3, 4, 9).astype(float)  # with ties
    sums = np.array(list(itertools.product([1, -1], repeat=9))) @ d
    assert permutation.swaps(d) == np.mean(abs(sums) >= abs(d.sum()) - 1e-9)
    assert permutation.swaps(d, ties=False) == np.mean(abs(sums) > abs(d.sum()) + 1e-9)
    with pytest.raises(ValueError, match="24"):
        permutation.swaps(np.ones(25))


def test_statistics_of_draws_order_them_as_f_does(rng):
    values = rng.random((6, 4, 3)) + rng.random((6, 1, 1))
    draws = np.stack([rng.permuted(values.reshape(6, -1), axis=1).reshape(values.shape) for _ in range(30)])
    F = [term(anova.analysis(v, ["layer", "model"]), "layer:model")["F"] for v in draws]
    np.testing.assert_allclose(permutation._interaction(draws), F, rtol=1e-9)
    profiles = values - values.mean(axis=1, keepdims=True)
    moved = np.stack([np.take_along_axis(profiles, o, axis=2) for o in orders(rng, 30)])
    F = [term(anova.analysis(v, ["layer", "model"]), "layer:model")["F"] for v in moved]
    assert stats.spearmanr(permutation._levels_apart(moved), F).statistic == pytest.approx(1)


def orders(rng, n):
    for _ in range(n):
        yield rng.permuted(np.tile(np.arange(3), (6, 1)), axis=1)[:, None, :]


def test_statistic_of_groups_by_layer_is_f(rng):
    profiles = rng.random((2, 9, 4))
    profiles -= profiles.mean(axis=2, keepdims=True)
    first = np.array([1.0, 1, 1, 1, 0, 0, 0, 0, 0])
    F = [term(anova.analysis(p, ["layer"], groups=first), "observer:layer")["F"] for p in profiles]
    found = permutation._mixed_interaction(profiles, np.tile(first, (2, 1)))
    np.testing.assert_allclose(found, F, rtol=1e-9)


def test_p_is_never_zero(rng):
    values = np.arange(5) + 0.01 * rng.random((30, 5))
    assert permutation.stage(values, n_permutations=99) == 1 / 100
    assert permutation.stage(values, n_permutations=99, published="feather2023") == 1 / 99
    pair = np.stack([values, values[:, ::-1] + 1], axis=2)
    assert permutation.paired(pair, n_permutations=99) == {"main": 0.01, "interaction": 0.01}
    few = permutation.paired(pair[:6], n_permutations=99)
    assert few["main"] == 2 / 2**6  # enumerated


def test_same_seed_same_p_and_other_seed_another(rng):
    values = rng.random((25, 4, 3))
    first, again, other = (permutation.paired(values, n_permutations=200, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_unknown_rule_is_an_error(rng):
    with pytest.raises(ValueError, match="feather2023"):
        permutation.stage(rng.random((4, 3)), published="feather2032")
    with pytest.raises(ValueError, match="two are right"):
        permutation.unpaired(rng.random((4, 3)), [0, 1, 2, 2])


def test_few_assignments_of_units_are_enumerated(rng):
    values, groups = rng.random((7, 3)), np.array([0, 0, 0, 1, 1, 1, 1])
    means = values.mean(axis=1)
    apart = [
        abs(means[list(c)].mean() - np.delete(means, c).mean()) for c in itertools.combinations(range(7), 3)
    ]
    expected = np.mean(np.array(apart) >= apart[0] - 1e-12)
    assert permutation.unpaired(values, groups)["main"] == pytest.approx(expected, rel=1e-12)
    published = permutation.unpaired(values, groups, published="feather2023", n_permutations=20_000)
    assert published["main"] == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 20_000))


def null(rng, uneven):
    """Two models without a difference: layers far apart; uneven: one layer varies much more than the others."""
    spread = np.where(np.arange(8) == 7, 1.0, 0.02) if uneven else np.full(8, 0.1)
    layers, people = np.linspace(0.9, 0.05, 8), 0.1 * rng.normal(size=(12, 1))
    return (layers + people)[:, :, None] + spread[None, :, None] * rng.normal(size=(12, 8, 2))


@pytest.mark.parametrize("uneven", [False, True])
def test_without_an_effect_one_in_twenty_is_called_one(rng, uneven):
    p = pd.DataFrame(
        [permutation.paired(null(rng, uneven), n_permutations=199, seed=i) for i in range(SIMULATED)]
    )
    assert (p <= 0.05).mean().tolist() == pytest.approx([0.05, 0.05], abs=AROUND_FIVE)


def test_published_shuffling_of_all_cells_finds_interactions_that_are_none(rng):
    p = [
        permutation.paired(null(rng, True), published="feather2023", n_permutations=199, seed=i)[
            "interaction"
        ]
        for i in range(SIMULATED // 2)
    ]
    assert np.mean(np.array(p) <= 0.05) > 0.05 + np.sqrt(2) * AROUND_FIVE  # half as many simulations


def test_without_a_difference_one_in_twenty_groups_is_called_one(rng):
    groups = np.repeat([0, 1], 5)
    p = pd.DataFrame(
        [permutation.unpaired(rng.random((10, 4)) + np.arange(4), groups) for _ in range(SIMULATED)]
    )
    # 252 assignments of which mirrored ones are equal: 12 of them are the most that 5 % allow.
    assert (p <= 0.05).mean().tolist() == pytest.approx([12 / 252] * 2, abs=AROUND_FIVE)


@pytest.mark.parametrize("effect", ["main", "interaction"])
def test_planted_effects_are_found_and_the_other_one_is_not(rng, effect):
    values = null(rng, False)
    values[:, :, 1] += 0.15 if effect == "main" else 0.3 * np.linspace(-1, 1, 8)
    p = permutation.paired(values, n_permutations=999)
    assert p.pop(effect) < 0.005
    assert p.popitem()[1] > 0.005


# Designs


def test_analyses_name_their_effects_and_their_participants(rng):
    values = rng.random((5, 4, 2))
    people = tidy(values)
    both = tidy(values, names=("human", "network"), across="observer")
    options = {"n_permutations": 99}
    found = {
        "layer": printed.layer(people[people["model"] == "a"], **options),
        "models": printed.models(people, **options),
        "observer": printed.observer(both, **options),
        "published": printed.observer(both, published="feather2023", **options),
    }
    tested = {name: t.dropna(subset="p_permutation")["term"].tolist() for name, t in found.items()}
    assert tested == {
        "layer": ["layer"], "models": ["model", "layer:model"], "observer": ["observer", "observer:layer"],
        "published": ["observer", "observer:layer"],
    }  # fmt: skip
    assert all((table["n"] == 5).all() for table in found.values())
    assert term(found["published"], "observer")["df_error"] == 8
    assert term(found["observer"], "observer")["df_error"] == 4
    last = printed.layer(people[people["model"] == "a"], published="feather2023", **options)
    assert term(last, "layer")["df"] == term(found["layer"], "layer")["df"] - 1


def test_a_layer_that_was_left_out_of_a_printed_table_is_left_out_again(rng):
    values = rng.random((6, 4, 2))
    table = tidy(values, "vision_exp12", names=("human", "network"), across="observer")
    table = table.assign(model="CLIP_resnet50", layer=table["layer"].replace("layer3", "final"))
    rows = pd.DataFrame({"file": "04-Feb-2023-EXP12_ANALYSIS_ANOVA.txt", "title": "EXP12 - CLIP_ResNet50",
                         "models": "CLIP_resnet50", "term": ["(Intercept)", "network_or_human"]})  # fmt: skip
    whole = printed.analyses(table, rows, published=None, n_permutations=9)
    published = printed.analyses(table, rows, n_permutations=9)
    df = [term(t, "observer:layer")["df"] for t in (whole, published)]
    assert df == [3, 2]


def test_names_of_printed_terms():
    assert printed.term_of("network_or_human:layer") == "observer:layer"
    assert printed.term_of("(Intercept):layer:model_type") == "layer:model"
    assert printed.term_of("Error(layer:model_type)") == "error(layer:model)"
    assert printed.term_of("(Intercept):stage") == "layer"
    assert printed.design_of(["(Intercept)", "Error"]) is None
    assert printed.experiment_of("20-Mar-2022-EXPERIMENT_6_MAIN.txt") == "audio_exp6"
    assert printed.experiment_of("notes.txt") == ""


def test_no_printed_table_gives_an_empty_one(rng):
    table, rows = tidy(rng.random((3, 3, 2))), pd.DataFrame(columns=["file", "title", "models", "term"])
    found = printed.analyses(table, rows)
    assert found.empty
    assert printed.quotable(found).empty


# Curves


def test_means_have_a_t_interval_or_the_published_error(rng):
    table = tidy(rng.random((10, 3, 2)))
    found, published = curves.means(table), curves.means(table, published="feather2023")
    values = table[(table["model"] == "b") & (table["stage"] == 1)]["proportion_correct"]
    row, theirs = (t[(t["model"] == "b") & (t["stage"] == 1)].iloc[0] for t in (found, published))
    assert row["sem"] == pytest.approx(stats.sem(values))
    low, high = stats.t.interval(0.95, 9, values.mean(), stats.sem(values))
    assert (row["value"], row["low"], row["high"], row["n"]) == pytest.approx((values.mean(), low, high, 10))
    assert theirs["sem"] == pytest.approx(values.std(ddof=0) / np.sqrt(10))
    assert theirs["high"] - theirs["low"] == pytest.approx(2 * theirs["sem"])
    with pytest.raises(ValueError, match="feather2023"):
        curves.means(table, published="2023")


def test_quoted_numbers_have_a_name_each(rng):
    found = curves.quotable(curves.means(tidy(rng.random((4, 3, 2)))))
    assert found["name"].tolist() == [
        f"recognition/audio_exp9/{m}/human/layer{i}" for i in range(3) for m in "ab"
    ]
    one = curves.quotable(curves.means(tidy(rng.random((1, 3, 2)))))
    assert one["what"].str.contains("no interval: one participant").all()
