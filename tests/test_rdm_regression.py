"""Regression on RDMs: closed forms, statsmodels, published code, and what does not matter."""

import numpy as np
import oracle_maps
import pytest
import statsmodels.api as sm

from lib import rdm_regression as regression


def closed_form():
    """Three sets of two smooth regressors and an RDM that mixes them; specified with its results."""
    k = np.arange(1225)
    x1, x2, x4 = np.sin(0.1 * k), np.cos(0.07 * k), np.cos(0.031 * k)
    x3, x5, x6 = np.sin(0.013 * k + 1) + 0.5 * x1, np.sin(0.2 * k) + 0.3 * x2, np.cos(0.017 * k + 2)
    y = x1 + 0.4 * x2 + 0.5 * x3 + 0.3 * x5 + 1.5 * np.sin(0.9 * k)
    return {"A": np.array([x1, x2]), "B": np.array([x3, x4]), "C": np.array([x5, x6])}, y


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_closed_form_is_met():
    sets, y = closed_form()
    prepared = regression.design(sets)
    r2 = regression.adjusted_r2(prepared, y)
    # Printed to six decimals.
    expected = [0.412643, 0.233010, 0.044287, 0.469361, 0.433324, 0.274304, 0.488928]
    np.testing.assert_allclose(r2, expected, atol=5.1e-7)
    parts = {"".join(sorted(part)): value for part, value in regression.parts(prepared, r2).items()}
    expected = {"A": 0.214624, "B": 0.055604, "C": 0.019568}
    expected |= {"AB": 0.174413, "AC": 0.021726, "BC": 0.001114, "ABC": 0.001880}
    assert parts == pytest.approx(expected, abs=5.1e-7)
    assert sum(parts.values()) == pytest.approx(r2[-1], abs=1e-12)
    np.testing.assert_allclose(regression.unique(prepared, r2), [parts[s] for s in "ABC"], atol=1e-12)


def test_adjusted_r2_is_that_of_statsmodels(rng):
    sets = {name: rng.random((2, 190)) for name in "ab"} | {"c": rng.random((1, 190))}
    rdms = rng.random((4, 190)) + sets["a"][0]
    prepared = regression.design(sets)
    found = regression.adjusted_r2(prepared, rdms)
    for i, union in enumerate(prepared.unions):
        X = sm.add_constant(np.concatenate([sets[name] for name in sets if name in union]).T)
        np.testing.assert_allclose(found[:, i], [sm.OLS(y, X).fit().rsquared_adj for y in rdms], rtol=1e-10)


@pytest.mark.reference
def test_published_statistics_are_reproduced():
    oracle = oracle_maps.arrays()
    single, grouped = oracle_maps.sets(oracle)
    y, close = oracle["roi"].mean(axis=0), {"rtol": 0, "atol": oracle_maps.TOLERANCE["f64"]}
    r2 = regression.adjusted_r2(regression.design(single, regression.singles(single)), y)
    np.testing.assert_allclose(r2, oracle["single_r2adj_f64"], **close)
    np.testing.assert_allclose(regression.score(r2), oracle["single_score_f64"], **close)
    np.testing.assert_allclose(regression.score(r2) ** 2, oracle["single_score2_f64"], **close)
    prepared = regression.design(grouped)
    r2 = regression.adjusted_r2(prepared, y)
    np.testing.assert_allclose(r2, oracle["subset_r2adj_f64"], **close)
    np.testing.assert_allclose(r2[-1], oracle["vpart_total_f64"], **close)
    np.testing.assert_allclose(
        list(regression.parts(prepared, r2).values()), oracle["vpart_parts_f64"], **close
    )
    two = regression.design({name: grouped[name] for name in "AB"})
    r2 = regression.adjusted_r2(two, y)
    np.testing.assert_allclose(list(regression.parts(two, r2).values()), oracle["vpart2_parts_f64"], **close)
    np.testing.assert_allclose(r2[-1], oracle["vpart2_total_f64"], **close)
    means = np.array([single[a] + single[b] for a, b in np.reshape(oracle_maps.NAMES, (3, 2))]) / 2
    np.testing.assert_allclose(means, oracle["grouped"], **close)


@pytest.mark.reference
def test_single_precision_of_the_published_code_explains_its_differences():
    oracle = oracle_maps.arrays()
    single, grouped = oracle_maps.sets(oracle)
    y = oracle["roi"].mean(axis=0)
    r2 = regression.adjusted_r2(regression.design(single, regression.singles(single)), y)
    # What the oracle says of its own single precision: 1.2e-5 of scores, 4e-5 of parts.
    np.testing.assert_allclose(regression.score(r2), oracle["single_score_f32"], rtol=0, atol=1.3e-5)
    prepared = regression.design(grouped)
    parts = regression.parts(prepared, regression.adjusted_r2(prepared, y))
    np.testing.assert_allclose(list(parts.values()), oracle["vpart_parts_f32"], rtol=0, atol=4e-5)
    # The published routine for any number of sets drops regressors instead of sets: not these.
    assert np.abs(list(parts.values())[:3] - oracle["vpart_general_buggy_f64"]).max() > 1e-3


def test_redundant_regressors_are_counted_and_change_nothing(rng, caplog):
    sets = {"a": rng.random((2, 66)), "b": rng.random((2, 66))}
    y = rng.random((3, 66)) + sets["a"][1]
    more = {"a": np.vstack([sets["a"], sets["a"].sum(axis=0)]), "b": np.vstack([sets["b"], np.ones(66)])}
    plain = regression.design(sets)
    assert not caplog.records
    prepared = regression.design(more)
    assert caplog.messages == ["2 of 6 regressors of a & b are redundant"]
    assert plain.redundant.tolist() == [0, 0, 0]
    assert prepared.redundant.tolist() == [1, 1, 2]
    np.testing.assert_allclose(
        regression.adjusted_r2(prepared, y), regression.adjusted_r2(plain, y), atol=1e-12
    )


def test_units_of_rdms_do_not_matter(rng):
    sets = {"a": rng.random((2, 66)), "b": rng.random((2, 66))}
    other = {"a": 1e-9 * sets["a"] + 1e-7, "b": np.array([[1e6], [-3]]) * sets["b"]}
    y = rng.random((2, 66)) + sets["a"][0]
    expected = regression.adjusted_r2(regression.design(sets), y)
    # An offset of 100 units leaves 14 digits.
    np.testing.assert_allclose(
        regression.adjusted_r2(regression.design(other), y * 7 - 1), expected, rtol=1e-10
    )


def test_undefined_and_constant_rdms_are_not_scored(rng):
    y = rng.random((3, 66))
    y[0], y[1, 5] = 0.3, np.nan
    r2 = regression.adjusted_r2(regression.design({"a": rng.random((2, 66))}), y)
    assert np.isnan(r2).all(axis=1).tolist() == [True, True, False]
    assert np.isnan(regression.score(r2[0, 0]))


def test_score_of_a_useless_model_is_zero_not_undefined(rng):
    r2 = regression.adjusted_r2(regression.design({"a": rng.random((4, 66))}), rng.random((50, 66)))
    assert (r2 < 0).any()
    assert (regression.score(r2) >= 0).all()


def test_bad_regressors_are_refused(rng):
    with pytest.raises(ValueError, match="differ in their numbers of pairs"):
        regression.design({"a": rng.random((2, 66)), "b": rng.random((2, 65))})
    with pytest.raises(ValueError, match=r"of .'b'. are not finite"):
        regression.design({"a": rng.random((2, 66)), "b": np.full((1, 66), np.nan)})


def test_collinearity_is_that_of_statsmodels(rng):
    sets = {"a": rng.random((2, 300)), "b": rng.random((2, 300))}
    sets["b"][0] += 3 * sets["a"][1]
    table = regression.collinearity(sets)
    columns = np.concatenate(list(sets.values()))
    for k, row in table.iterrows():
        fit = sm.OLS(columns[k], sm.add_constant(np.delete(columns, k, axis=0).T)).fit()
        assert row["r2_others"] == pytest.approx(fit.rsquared, rel=1e-9)
        assert row["vif"] == pytest.approx(1 / (1 - fit.rsquared), rel=1e-9)
    assert table["condition_number"].iloc[0] == pytest.approx(np.linalg.cond(np.corrcoef(columns)) ** 0.5)
    outside = sm.OLS(columns[0], sm.add_constant(sets["b"].T)).fit().rsquared
    assert table["r2_other_sets"].iloc[0] == pytest.approx(outside)


def test_redundant_regressor_has_infinite_variance_inflation(rng):
    a = rng.random((2, 100))
    table = regression.collinearity({"a": a, "b": np.vstack([a.sum(axis=0), rng.random(100)])})
    assert np.isinf(table["vif"]).tolist() == [True, True, True, False]
    assert table["rank"].iloc[0] == 3
    assert np.isinf(table["condition_number"].iloc[0])
