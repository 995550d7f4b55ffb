import json
import os
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from sklearn.linear_model import Ridge

from lib import bhscore, significance

# Hand-worked, and a synthetic network: specification of the published function, restated; 50 stimuli.
LAYERS = [
    [[0.60, 0.20, 0.45, np.nan], [0.50, 0.10, 0.50, np.nan], [0.10, 0.15, 0.30, np.nan]],
    [[0.40, 0.35, 0.30], [0.45, 0.35, 0.29], [0.44, 0.20, -0.10]],
    [[0.30, 0.97, 0.10], [0.40, 0.60, 0.33], [0.70, 0.50, 0.55]],
]
REGIONS = [
    [[0.5, 0.4, 0.6], [0.4, 0.5, 0.5], [0.1, 0.3, 0.4]],
    [[0.4, 0.3, 0.2], [0.5, 0.6, 0.2], [0.3, 0.5, 0.25]],
    [[0.2, 0.1, 0.45], [0.3, 0.2, 0.4], [0.6, 0.5, 0.3]],
]


@pytest.fixture
def oracle():
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE, a folder of oracles, is not set")
    return json.loads((Path(folder) / "hierarchy_bhscore_oracle.json").read_text())


def decoding(groups, rois=None):
    """Accuracies (roi, unit) of layers, as those of one subject."""
    values = np.concatenate([np.asarray(group, float) for group in groups], axis=1)
    layer = np.repeat([f"layer{i}" for i in range(len(groups))], [np.shape(group)[1] for group in groups])
    rois = rois or [f"region{i}" for i in range(len(values))]
    coords = {"subject": ["a"], "roi": rois, "unit": np.arange(len(layer)), "layer": ("unit", layer)}
    return xr.DataArray(values[None], coords, ("subject", "roi", "unit"))


def encoding(groups):
    """Accuracies (layer, voxel) of regions, as those of one subject."""
    values = np.concatenate([np.asarray(group, float) for group in groups], axis=1)
    roi = np.repeat([f"region{i}" for i in range(len(groups))], [np.shape(group)[1] for group in groups])
    coords = {"layer": [f"layer{i}" for i in range(len(values))], "voxel": np.arange(len(roi))}
    coords |= {"subject": ("voxel", ["a"] * len(roi)), "roi": ("voxel", roi)}
    return xr.DataArray(values, coords, ("layer", "voxel"))


def synthetic():
    rng = np.random.RandomState(42)
    place = np.arange(5)[:, None]
    return [np.clip(0.45 - 0.05 * abs(1.75 * place - i) + 0.15 * rng.randn(5, 60), -1, 1) for i in range(8)]


def pooled(tops):
    return bhscore.counts(tops).sum("subject").values


def ranked(table):
    """Spearman correlation of the items of a table, from their ranks."""
    rows, columns = np.nonzero(table)
    times = table[rows, columns]
    return stats.spearmanr(np.repeat(rows, times), np.repeat(columns, times)).statistic


@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (8, 4), (20, 5)])
def test_spearman_of_tables_equals_that_of_ranks(shape):
    rng = np.random.default_rng(sum(shape))
    tables = rng.poisson(rng.uniform(0.3, 20, size=(30, 1, 1)), size=(30, *shape))
    tables[:10, :, 1] = 0  # a region without units
    tables[5:15, 1] = 0  # a layer without units
    with np.errstate(all="ignore"):
        expected = [
            ranked(t) if min((t.sum(0) > 0).sum(), (t.sum(1) > 0).sum()) > 1 else np.nan for t in tables
        ]
    np.testing.assert_allclose(bhscore.spearman(tables), expected, atol=1e-12)
    np.testing.assert_allclose(bhscore.spearman(tables / 7), expected, atol=1e-12)  # shares do as well


@pytest.mark.parametrize("table", [np.zeros((3, 4)), np.diag([5, 0, 0]), np.outer([1, 2, 3], [0, 1, 0]) / 7])
def test_items_in_one_row_or_column_have_no_order(table):
    assert np.isnan(bhscore.spearman(table))
    assert np.isnan(bhscore.score(table))


def test_hand_worked_decoding():
    tops = bhscore.top_rois(decoding(LAYERS), n_stimuli=50, published="nonaka2021")
    assert tops["top"].values.tolist() == [0, -1, 1, -1, 1, 0, -1, 2, -1, 2]
    assert bhscore.score(pooled(tops), n_layers=None) == pytest.approx(0.75, abs=1e-12)
    fates = ["kept", "below", "kept", "undefined", "kept", "tied", "below", "kept", "above", "kept"]
    assert tops["fate"].values.tolist() == fates
    corrected = bhscore.top_rois(decoding(LAYERS), n_stimuli=50)
    assert corrected["top"].values.tolist() == [0, -1, 1, -1, 1, 0, 0, 2, 0, 2]
    assert bhscore.score(pooled(corrected), n_layers=None) == pytest.approx(0.3946400141150675, abs=1e-12)


def test_hand_worked_encoding():
    tops = bhscore.top_layers(encoding(REGIONS), n_stimuli=50, published="nonaka2021")
    assert tops["top"].values.tolist() == [0, 1, 0, 1, 1, -1, 2, 2, 0]
    assert bhscore.score(pooled(tops), n_layers=None) == pytest.approx(8 / 15, abs=1e-12)


def test_synthetic_network_has_the_scores_of_the_original():
    tops = bhscore.top_rois(decoding(synthetic()), n_stimuli=50, published="nonaka2021")
    table = pooled(tops)
    assert table.sum(axis=1).tolist() == [57, 58, 59, 59, 59, 60, 60, 60]
    assert bhscore.score(table, n_layers=None) == pytest.approx(0.6206089999745822, abs=1e-12)
    drawn = bhscore.drawn_scores(table, seed=0)
    assert drawn.mean() == pytest.approx(0.6122866686330791, abs=1e-12)
    assert drawn[:3] == pytest.approx([0.6481126077065568, 0.6250959476235411, 0.6331642809051883], abs=1e-12)


def test_exact_score_is_the_mean_over_all_subsets_and_what_draws_scatter_around():
    table = pooled(bhscore.top_rois(decoding(synthetic()), n_stimuli=50, published="nonaka2021"))
    each = [ranked(table[[0, *middle, 7]]) for middle in combinations(range(1, 7), 3)]
    assert len(each) == 20
    assert bhscore.score(table) == pytest.approx(np.mean(each), abs=1e-12)
    tops = bhscore.top_rois(decoding(synthetic()), n_stimuli=50, published="nonaka2021")
    found = bhscore.subset_scores(bhscore.counts(tops).sum("subject"))
    np.testing.assert_allclose(found["value"], each, atol=1e-12)
    assert found["layers"].iloc[0] == "layer0, layer1, layer2, layer3, layer7"
    drawn = bhscore.drawn_scores(table, seed=3)
    assert abs(drawn.mean() - np.mean(each)) < 4 * np.std(each) / 10  # 4 standard errors of 100 draws


@pytest.mark.reference
def test_original_function_gives_the_same(oracle):
    for name, made, tops_of in (
        ("decoding_hand", decoding, bhscore.top_rois), ("encoding_hand", encoding, bhscore.top_layers),
    ):  # fmt: skip
        case = oracle[name]
        accuracy = made([np.array(group, float) for group in case["accuracy"]])
        tops = tops_of(accuracy, n_stimuli=50, published="nonaka2021")
        kept = [tops["top"].values[(tops["group"] == g) & (tops["top"] >= 0)].tolist() for g in range(3)]
        assert kept == case["top"]
        assert bhscore.score(pooled(tops), n_layers=None) == pytest.approx(case["rho"], abs=1e-12)
    case = oracle["synthetic"]
    table = pooled(bhscore.top_rois(decoding(synthetic()), n_stimuli=50, published="nonaka2021"))
    assert table.tolist() == case["top_counts"]
    assert bhscore.score(table, n_layers=None) == pytest.approx(case["rho_all_layers"], abs=1e-12)
    assert bhscore.score(table) == pytest.approx(case["exact_mean_over_20_subsets"], abs=1e-12)
    drawn = bhscore.drawn_scores(table, seed=0)
    assert drawn.std(ddof=1) == pytest.approx(case["layerselect_std_ddof1"], abs=1e-12)
    bounds = significance.threshold(50, 0.05, published="nonaka2021")
    assert bounds == pytest.approx(tuple(oracle["p_threshold_p05"]["original_window"]), abs=1e-12)


def test_all_subsets_of_99_layers_take_less_than_a_second():
    assert bhscore.subsets(99).shape == (147_440, 5)
    table = np.random.default_rng(0).integers(0, 300, size=(99, 5))
    started = time.process_time()
    bhscore.score(table)
    assert time.process_time() - started < 1


def test_some_of_many_subsets_are_without_replacement():
    some = bhscore.subsets(40, most=500)
    assert len({tuple(row) for row in some.tolist()}) == 500
    assert (np.diff(some, axis=1) > 0).all()
    assert (some[:, [0, -1]] == [0, 39]).all()
    table = np.random.default_rng(1).poisson(np.eye(40, 5, k=0) + 3)
    each = bhscore.spearman(table[bhscore.subsets(40)])
    assert bhscore.score(table, most=500) == pytest.approx(each.mean(), abs=4 * each.std() / np.sqrt(500))


@pytest.mark.parametrize("n_all", [2, 3, 4, 5])
def test_networks_with_few_layers_are_scored_whole(n_all):
    table = np.random.default_rng(n_all).integers(1, 9, size=(n_all, 3))
    assert bhscore.score(table) == pytest.approx(ranked(table), abs=1e-12)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="2 or more"):
        bhscore.subsets(8, 1)
    with pytest.raises(ValueError, match="all at once"):
        bhscore.drawn_scores(np.ones((4, 3)))
    with pytest.raises(ValueError, match="decoding"):
        bhscore.measures({"decodings": np.ones((4, 3))})
    with pytest.raises(ValueError, match="nonaka2021"):
        bhscore.top_rois(decoding(LAYERS), n_stimuli=50, published="nonaka2020")


def test_arguments_are_left_as_they_are():
    accuracy = decoding(LAYERS)
    before = accuracy.copy(deep=True)
    bhscore.top_rois(accuracy, n_stimuli=50, published="nonaka2021")
    xr.testing.assert_identical(accuracy, before)


def test_reversed_regions_change_the_sign_and_shuffled_items_nothing():
    table = pooled(bhscore.top_rois(decoding(synthetic()), n_stimuli=50))
    assert bhscore.score(table[:, ::-1]) == pytest.approx(-bhscore.score(table), abs=1e-12)
    assert bhscore.score(table[::-1]) == pytest.approx(-bhscore.score(table), abs=1e-12)
    accuracy = decoding(synthetic())
    order = np.random.default_rng(0).permutation(60) + 60 * np.arange(8)[:, None]
    moved = bhscore.top_rois(accuracy.isel(unit=order.ravel()), n_stimuli=50)
    np.testing.assert_array_equal(pooled(moved), table)


def test_subjects_are_counted_apart():
    accuracy = decoding(synthetic())
    two = xr.concat(
        [accuracy, accuracy[:, ::-1].assign_coords(roi=accuracy["roi"], subject=["b"])], "subject"
    )
    table = bhscore.counts(bhscore.top_rois(two, n_stimuli=50))
    assert table.dims == ("subject", "layer", "roi")
    assert table["subject"].values.tolist() == ["a", "b"]
    np.testing.assert_array_equal(table.sel(subject="b"), table.sel(subject="a").values[:, ::-1])
    by_direction = bhscore.measures({"decoding": table.values, "encoding": table.values})
    assert by_direction["decoding"] == pytest.approx([bhscore.score(t) for t in table.values])
    assert by_direction["mean"] == pytest.approx((by_direction["decoding"] + by_direction["encoding"]) / 2)


def test_a_layer_without_significant_units_is_left_out():
    accuracy = decoding(synthetic())
    silent = accuracy.where(accuracy["layer"] != "layer3", 0.1)
    tops = bhscore.top_rois(silent, n_stimuli=50)
    table = pooled(tops)
    assert table[3].sum() == 0
    rest = np.delete(table, 3, axis=0)
    assert bhscore.score(table, n_layers=None) == pytest.approx(bhscore.score(rest, n_layers=None), abs=1e-12)
    fates = bhscore.fates(tops).set_index("group")
    assert fates.loc["layer3", ["n", "kept", "below"]].tolist() == [60, 0, 60]
    shares = bhscore.shares(bhscore.counts(tops)).set_index(["layer", "roi"])["share"]
    assert shares["layer3"].isna().all()
    assert shares.drop("layer3").groupby("layer").sum().to_numpy() == pytest.approx(1)


def test_nothing_significant_has_no_score():
    tops = bhscore.top_rois(decoding(synthetic()) / 100, n_stimuli=50)
    assert np.isnan(bhscore.score(pooled(tops)))
    assert (bhscore.sensitivity(decoding(synthetic()) / 100, n_stimuli=50)["value"].isna()).all()


def test_published_voxels_are_those_of_the_seeded_choice():
    n = {("a", "V1"): 1500, ("a", "V2"): 20, ("b", "V1"): 1001}
    subject, roi = (np.repeat([cell[i] for cell in n], list(n.values())) for i in (0, 1))
    coords = {
        "layer": ["l"],
        "voxel": np.arange(len(roi)),
        "subject": ("voxel", subject),
        "roi": ("voxel", roi),
    }
    accuracy = xr.DataArray(np.zeros((1, len(roi))), coords, ("layer", "voxel"))
    kept = bhscore.published_voxels(accuracy)["voxel"].values
    first = np.random.RandomState(0).choice(1500, 1000, replace=False)
    assert first[:5].tolist() == [471, 9, 1499, 54, 1411]
    third = 1520 + np.random.RandomState(0).choice(1001, 1000, replace=False)
    np.testing.assert_array_equal(kept, np.sort(np.concatenate([first, np.arange(1500, 1520), third])))


def test_regions_come_in_the_order_asked_for():
    accuracy, order = encoding(REGIONS), ["region2", "region0"]
    table = bhscore.counts(bhscore.top_layers(accuracy, n_stimuli=50, rois=order))
    assert table["roi"].values.tolist() == order
    everything = bhscore.counts(bhscore.top_layers(accuracy, n_stimuli=50))
    xr.testing.assert_equal(table, everything.sel(roi=order))


def test_sensitivity_has_the_score_of_every_choice():
    accuracy = decoding(synthetic())
    found = bhscore.sensitivity(accuracy, n_stimuli=50, levels=(0.05, 0.01), n_layers=(3, 5, None))
    assert found.groupby("formula", sort=False).size().to_dict() == {"t": 6, "nonaka2021": 6}
    row = found.query("formula == 'nonaka2021' and level == 0.05 and n_layers == 5").iloc[0]
    assert row["value"] == pytest.approx(0.6161157868947631, abs=1e-12)
    assert row["n"] == 472
    strict = found.query("level == 0.01")["n"].to_numpy()
    assert (strict < found.query("level == 0.05")["n"].to_numpy()).all()


ORDERS = {"planted": [0, 1, 2, 3, 4], "reversed": [4, 3, 2, 1, 0], "without order": [1, 4, 2, 0, 3]}


@pytest.mark.parametrize("kind", ORDERS)
def test_planted_hierarchy_comes_back_through_decoding(kind):
    """Independent latents per layer; voxels of region r read those of layer ORDERS[kind][r]; ridge decodes units."""
    rng, n = np.random.default_rng(0), 150
    latents = rng.standard_normal((5, n, 3))
    units = [z @ rng.standard_normal((3, 12)) for z in latents]
    cells = []
    for _ in range(2):
        voxels = [latents[layer] @ rng.standard_normal((3, 15)) for layer in ORDERS[kind]]
        voxels = [X + rng.standard_normal(X.shape) for X in voxels]
        predicted = [[Ridge(10).fit(X[:100], Y[:100]).predict(X[100:]) for Y in units] for X in voxels]
        cells.append(
            [
                np.concatenate([correlations(Y[100:], p) for Y, p in zip(units, row, strict=True)])
                for row in predicted
            ]
        )
    coords = {
        "subject": ["a", "b"],
        "roi": range(5),
        "unit": range(60),
        "layer": ("unit", np.repeat(range(5), 12)),
    }
    accuracy = xr.DataArray(np.array(cells), coords, ("subject", "roi", "unit"))
    table = pooled(bhscore.top_rois(accuracy, n_stimuli=50))
    assert table.sum() == 120
    expected = stats.spearmanr(range(5), ORDERS[kind]).statistic
    assert expected == pytest.approx({"planted": 1, "reversed": -1, "without order": 0}[kind], abs=1e-12)
    assert bhscore.score(table) == pytest.approx(expected, abs=1e-12)


def correlations(Y, Y_hat):
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(Y.T, Y_hat.T, strict=True)])
