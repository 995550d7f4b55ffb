"""RSA of layers and brains: planted geometry, shuffled input, published numbers, honest choice of a layer."""

import os

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from lib import datasets, dissimilarity, features, rdm, rdm_inference, rsa

N = 30
NAMES = [f"s{i:02d}" for i in range(N)]
LAYERS = ["first", "second", "third"]


def activations(seed=0):
    """Units of three layers whose geometries differ."""
    rng = np.random.default_rng(seed)
    return {layer: rng.standard_normal((N, 60)).astype(np.float32) for layer in LAYERS}


def responses(layer="second", n_subjects=5, noise=2.0, seed=1):
    """Voxels of subjects that mix the units of one layer, in two regions; the last subject lacks one."""
    rng, units = np.random.default_rng(seed), activations()[layer]
    Y, subject, roi = [], [], []
    for number in range(n_subjects):
        for region in ("A", "B"):
            n = 3 if (number == n_subjects - 1 and region == "B") else 40
            signal = units @ rng.standard_normal((60, n))
            Y.append(signal + noise * signal.std() * rng.standard_normal((3, N, n)))
            subject += [f"p{number}"] * n
            roi += [region] * n
    Y = np.concatenate(Y, axis=2)
    train = np.random.default_rng(2).random((6, N)).argsort(axis=1) < N // 2
    return xr.Dataset(
        {"response": (("repeat", "stimulus", "voxel"), Y), "train": (("split", "stimulus"), train)},
        coords={
            "stimulus": NAMES,
            "voxel": [f"v{i}" for i in range(Y.shape[2])],
            "subject": ("voxel", subject),
            "roi": ("voxel", roi),
        },
    )


def models(**how):
    """RDMs of all layers."""
    return xr.concat(
        [dissimilarity.of_units([units], NAMES, **how).drop_attrs() for units in activations().values()],
        xr.Variable("layer", LAYERS),
    )


def test_brain_rdms_are_those_of_each_subject_and_region():
    data = responses()
    brain = rsa.of_brain(data)
    assert brain.dims == ("subject", "roi", "stimulus", "stimulus_2")
    assert brain["roi"].values.tolist() == ["all", "A", "B"]
    own = (data["subject"] == "p1") & (data["roi"] == "B")
    expected = 1 - np.corrcoef(data["response"].mean("repeat").values[:, own])
    np.testing.assert_allclose(brain.sel(subject="p1", roi="B"), expected, atol=1e-12)
    assert brain.sel(subject="p4", roi="B").isnull().all()
    assert brain["n_voxels"].sel(subject="p4").values.tolist() == [43, 40, 0]
    few = data.isel(voxel=np.r_[:40, 40:43])
    assert rsa.of_brain(few)["roi"].values.tolist() == ["all", "A"]
    empty = brain.where(brain["roi"] != "B")
    table, null = rsa.summary(models(), empty, n_resamples=3, n_permutations=3)
    assert set(table["roi"]) == set(null["roi"].values) == {"all", "A"}
    with pytest.raises(ValueError, match="5 voxels or more"):
        rsa.of_brain(data.isel(voxel=[0, 1]))


def test_brain_rdms_are_made_from_repeats_or_taken_as_they_are():
    data = responses()
    crossed = rsa.of_brain(data, measure="crossnobis")
    part = data["response"].isel(voxel=slice(0, 40))
    np.testing.assert_allclose(crossed.sel(subject="p0", roi="A"), dissimilarity.of_repeats(part), atol=1e-10)
    stored = xr.Dataset({"rdm": rsa.of_brain(data).expand_dims(repeat=2).copy()})
    xr.testing.assert_allclose(rsa.of_brain(stored).drop_attrs(), rsa.of_brain(data).drop_attrs())
    assert rsa.of_brain(data, scaling="z-scored", train=data["train"].values).sizes["split"] == 6


def test_stimuli_without_a_pattern_are_counted():
    silent = responses()
    silent["response"][:, 4, :40] = 0
    assert rsa.of_brain(responses()).attrs["n_constant_stimuli"] == 0
    assert rsa.of_brain(silent.isel(voxel=slice(0, 80))).attrs["n_constant_stimuli"] == 1


def test_regions_that_overlap_are_regions_too():
    data = responses()
    inside = np.zeros((1, data.sizes["voxel"]), bool)
    inside[0, 20:60] = True
    data = data.assign(in_roi=(("region", "voxel"), inside), region=["C"])
    brain = rsa.of_brain(data)
    expected = 1 - np.corrcoef(data["response"].mean("repeat").values[:, 20:60])
    np.testing.assert_allclose(brain.sel(subject="p0", roi="C"), expected, atol=1e-12)


def test_layers_come_from_files_by_identifier(tmp_path):
    path = tmp_path / "features.nc"
    content = {layer: (("stimulus", f"unit_{layer}"), units) for layer, units in activations().items()}
    xr.Dataset(
        content, coords={"stimulus": NAMES}, attrs={"layers": '["first", "second", "third"]'}
    ).to_netcdf(path, engine="h5netcdf")
    assert list(features.layers(path)) == LAYERS
    order = np.array(NAMES)[::-1]
    found = rsa.of_layer(path, "second", order)
    xr.testing.assert_allclose(rdm.matched(found, NAMES), models().sel(layer="second", drop=True), atol=1e-6)
    both = rsa.of_layer(path, LAYERS[:2], NAMES)
    joined = np.hstack([activations()[layer] for layer in LAYERS[:2]])
    np.testing.assert_allclose(both, 1 - np.corrcoef(joined), atol=1e-12)


def test_scores_have_a_row_for_what_is_defined():
    brain = rsa.of_brain(responses())
    table = rsa.scores(models(), brain, measures=["spearman", "cosine"])
    assert len(table) == 3 * (5 * 3 - 1) * 2
    assert set(table) == {"layer", "subject", "roi", "measure", "value"}


def test_planted_layer_is_the_most_similar_and_significant():
    table, largest = rsa.summary(models(), rsa.of_brain(responses()), n_resamples=200, n_permutations=199)
    assert set(table.loc[table.groupby("roi")["value"].idxmax(), "layer"]) == {"second"}
    planted = table[table["layer"] == "second"]
    assert (planted[["p", "p_fwe", "p_fdr"]] <= 0.02).all(axis=None)
    assert (table.loc[table["layer"] != "second", "p_fwe"] > 0.05).all()
    np.testing.assert_allclose(table["p_fdr"], stats.false_discovery_control(table["p"]))
    assert (planted["low"] > 0).all()
    assert ((planted["lower"] < planted["upper"]) & (planted["value"] < planted["upper_high"])).all()
    assert table.set_index("roi")["n_subjects"].to_dict() == {"all": 5, "A": 5, "B": 4}
    assert largest.shape == (200, 3)


def test_shuffled_input_changes_nothing():
    data, rng = responses(), np.random.default_rng(5)
    parts = {dim: rng.permutation(data.sizes[dim]) for dim in ("stimulus", "voxel", "repeat")}
    brain, other = rsa.of_brain(data), rsa.of_brain(data.isel(parts))
    few = {"n_resamples": 20, "n_permutations": 20}
    one, null = rsa.summary(models(), brain, **few)
    two, other_null = rsa.summary(models().isel(stimulus=rng.permutation(N)), other, **few)
    two = two.set_index(["layer", "roi"]).loc[one.set_index(["layer", "roi"]).index].reset_index()
    pd.testing.assert_frame_equal(one.drop(columns="measure"), two[one.columns].drop(columns="measure"))
    xr.testing.assert_allclose(null, other_null.sel(roi=null["roi"]))


def test_one_subject_has_no_ceiling_and_is_resampled_over_stimuli():
    table, _ = rsa.summary(
        models(),
        rsa.of_brain(responses(n_subjects=1).isel(voxel=slice(0, 40))),
        n_resamples=50,
        n_permutations=19,
    )
    assert table["lower"].isna().all()
    assert table["low"].notna().all()
    assert set(table["unit"]) == {"stimulus"}


def test_models_with_one_seed_share_their_permutations():
    brain = rsa.of_brain(responses())
    few = {"n_resamples": 5, "n_permutations": 99}
    whole, null = rsa.summary(models(), brain, **few)
    layers = {"x": LAYERS[:1], "y": LAYERS[1:]}
    halves = {name: rsa.summary(models().sel(layer=part), brain, **few) for name, part in layers.items()}
    tables, largest = ({name: pair[i] for name, pair in halves.items()} for i in (0, 1))
    np.testing.assert_allclose(np.maximum(largest["x"], largest["y"]), null, atol=1e-12)
    found = rsa.best_of_models(tables, largest).set_index(["model", "roi"])
    expected = whole.set_index(["layer", "roi"])["p_fwe"]
    assert found.loc[("y", "A"), "p_fwe"] == pytest.approx(expected["second", "A"])
    for (_, roi), row in found.iterrows():  # the first model too has to beat the layers of the second
        assert row["p_fwe"] == pytest.approx((1 + (null.sel(roi=roi)[1:] >= row["value"]).sum().item()) / 100)
    largest["x"] = largest["x"].isel(permutation=slice(5))
    with pytest.raises(ValueError, match="differ in the number of permutations"):
        rsa.best_of_models(tables, largest)


def test_best_layer_is_chosen_on_train_and_read_on_test():
    data = responses(noise=1.0)
    how = {"scaling": "z-scored", "train": data["train"].values}
    brain, train = rsa.of_brain(data, **how), data["train"]
    similar = rsa.half_similarities(models(**how), brain, train)
    best = rsa.best_layer(similar)
    assert (best["layer"].sel(roi=["all", "A"]) == 1).all()
    assert (best["relative_position"].sel(roi="A") == 0.5).all()
    assert best["value"].sel(subject="p4", roi="B").isnull()
    one = train.values[0]
    z = {layer: (X - X[one].mean(axis=0)) / X[one].std(axis=0) for layer, X in activations().items()}
    tested = np.array(NAMES)[~one]
    by_hand = [rdm.labelled(1 - np.corrcoef(x[~one]), tested) for x in z.values()]
    by_hand = xr.concat(by_hand, xr.Variable("layer", LAYERS))
    expected = rsa.scores(by_hand, rdm.matched(brain.isel(split=0), tested))
    found = similar["test"].isel(split=0).to_dataframe()["test"].dropna()
    expected = expected.set_index(["layer", "subject", "roi"])["value"]
    np.testing.assert_allclose(found.loc[expected.index], expected, atol=1e-6)


def test_choosing_on_noise_gains_nothing():
    values, flattered = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        noise = responses().copy()
        noise["response"] = noise["response"].copy(data=rng.standard_normal(noise["response"].shape))
        similar = rsa.half_similarities(models(), rsa.of_brain(noise), noise["train"])
        values.append(rsa.best_layer(similar)["value"].sel(roi="all").mean().item())
        flattered.append(similar["train"].max("layer").sel(roi="all").mean().item())
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(12)
    assert np.mean(flattered) > 0.02


def test_undefined_layers_are_never_chosen_unless_published():
    values = np.array([0.5, 0.2, 0.1])[:, None, None, None] * np.ones((3, 2, 1, 4))
    similar = xr.Dataset(
        {half: (("layer", "subject", "roi", "split"), values.copy()) for half in ("train", "test")}
    )
    similar["test"][0] = np.nan
    assert (rsa.best_layer(similar)["layer"] == 1).all()
    assert (rsa.best_layer(similar)["undefined"] == 1 / 3).all()
    assert rsa.best_layer(similar, published="tuckute2023")["value"].isnull().all()
    similar["train"][:] = np.nan
    assert rsa.best_layer(similar)["layer"].isnull().all()


def test_ceilings_of_halves_are_the_bounds_of_the_test_stimuli():
    data = responses()
    brain = rsa.of_brain(data)
    found = rsa.half_ceilings(brain, data["train"])
    test = rdm.matched(brain, np.array(NAMES)[~data["train"].values[2]])
    expected = rdm_inference.bounds(rdm.condensed(test.sel(roi="A")))
    for bound, value in zip(("lower", "upper"), expected, strict=True):
        assert found[bound].sel(roi="A").isel(split=2).mean().item() == pytest.approx(value, abs=1e-10)
    assert found["lower"].sel(subject="p4", roi="B").isnull().all()


def test_the_best_layer_is_averaged_over_subjects_after_splits():
    data = responses()
    brain = rsa.of_brain(data)
    best = rsa.best_layer(rsa.half_similarities(models(), brain, data["train"]))
    bounds = rsa.half_ceilings(brain, data["train"])
    table = rsa.best_table(best, bounds, measure="spearman").set_index("roi")
    for roi, n in {"all": 5, "A": 5, "B": 4}.items():
        row, here = table.loc[roi], best.sel(roi=roi, subject=[f"p{i}" for i in range(n)])
        assert (row["n"], row["unit"], row["interval"], row["undefined"]) == (n, "subject", "t", 0)
        assert row["position"] == pytest.approx(here["relative_position"].mean().item())
        value = np.median(here["by_split"].transpose("subject", "split").values, axis=1)
        expected = stats.t.interval(0.95, n - 1, value.mean(), stats.sem(value))
        np.testing.assert_allclose(row[["value", "low", "high"]].astype(float), [value.mean(), *expected])
        for name in ("lower", "upper"):
            each = bounds[name].sel(roi=roi).transpose("subject", "split").values[:n]
            assert row[name] == pytest.approx(np.median(each, axis=1).mean())


def test_ceilings_have_an_interval_for_each_unit():
    brain = rsa.of_brain(responses())
    found = rsa.ceilings(brain, n_resamples=100).set_index(["roi", "bound", "unit"])
    summary, _ = rsa.summary(models(), brain, n_resamples=2, n_permutations=1)
    both = found.xs("subject and stimulus", level="unit")
    for bound in ("lower", "upper"):
        expected = summary.groupby("roi")[bound].first()
        np.testing.assert_allclose(both.xs(bound, level="bound")["value"][expected.index], expected)
    assert ((found["low"] < found["value"]) & (found["value"] < found["high"])).all()
    assert (found["reranked"] - found["value"]).abs().max() < 0.02
    assert len(rsa.ceilings(brain.isel(subject=[0]))) == 0


@pytest.fixture(scope="module")
def objects92(tmp_path_factory):
    if not os.environ.get("DATA_MIRROR"):
        pytest.skip("needs DATA_MIRROR")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPENDIUM_HOME", str(tmp_path_factory.mktemp("objects92")))
        return datasets.load("objects92")[0]


@pytest.mark.mirror
def test_human_and_monkey_are_as_alike_as_published(objects92):
    (found,) = rsa.between_regions(rsa.of_brain(objects92), n_resamples=100).to_dict("records")
    # Kriegeskorte et al. (2008), figure 3: r = 0.49.
    assert found["value"] == pytest.approx(0.4912, abs=5e-5)
    assert found["low"] < 0.4912 < found["high"]
    assert (found["a"], found["b"]) == ("human_it", "monkey_it")


@pytest.mark.mirror
def test_models_are_ranked_and_their_ceilings_known(objects92):
    released = objects92["model_rdm"].rename(model="layer")
    table, _ = rsa.summary(released, rsa.of_brain(objects92), n_resamples=100, n_permutations=199)
    human = table[table["roi"] == "human_it"].sort_values("value", ascending=False)
    order = ["animacy", "monkeyIT", "FaceBodyManmadeNatobj", "EVA", "HMAX", "Silhouette", "RADON", "V1"]
    assert human["layer"].tolist() == order
    bounds = human[["lower", "upper"]].to_numpy()
    np.testing.assert_allclose(bounds, np.broadcast_to([0.37696, 0.67189], bounds.shape), atol=5e-6)
    assert (human["p_fwe"] < 0.05).tolist() == [True] * 6 + [False] * 2


def test_regions_are_compared_by_their_mean_rdms():
    brain = rsa.of_brain(responses())
    (found,) = rsa.between_regions(brain, measure="spearman", n_resamples=20).to_dict("records")
    a, b = rdm.condensed(brain.mean("subject"))[1:]
    assert (found["a"], found["b"]) == ("A", "B")
    assert found["value"] == pytest.approx(stats.spearmanr(a, b).statistic)


def test_differences_are_those_of_the_summary():
    brain = rsa.of_brain(responses())
    found = rsa.differences(models(), brain, n_resamples=100)
    value = rsa.summary(models(), brain, n_resamples=2, n_permutations=1)[0].set_index(["roi", "layer"])[
        "value"
    ]
    for row in found.itertuples():
        assert row.value == pytest.approx(value[row.roi, row.a] - value[row.roi, row.b], abs=1e-12)
    sure = found[(found["roi"] == "A") & (found["p_fwe"] < 0.05)]
    assert sorted(zip(sure["a"], sure["b"], strict=True)) == [("first", "second"), ("second", "third")]


def test_layers_without_an_rdm_change_nothing_for_the_others():
    brain, whole = rsa.of_brain(responses()), models()
    how = {"n_resamples": 20, "n_permutations": 20}
    less, null = rsa.summary(whole.sel(layer=["first", "third"]), brain, **how)
    silent = whole.where(whole["layer"] != "second")
    table, found = rsa.summary(silent, brain, **how)
    assert table["layer"].tolist() == LAYERS * 3
    assert table.loc[table["layer"] == "second", ["value", "low", "p", "p_fwe"]].isna().all(axis=None)
    rest = table[table["layer"] != "second"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, less)
    xr.testing.assert_identical(found, null)
    pairs = rsa.differences(silent, brain, n_resamples=20)
    assert set(pairs["a"]) | set(pairs["b"]) == {"first", "third"}
    none, nothing = rsa.summary(whole.where(False), brain, **how)
    assert none["value"].isna().all()
    assert (nothing == -np.inf).all()
