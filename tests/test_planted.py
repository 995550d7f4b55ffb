"""Planted brains are as described, and an analysis of the shipped ones finds what was planted."""

import importlib
import shutil

import numpy as np
import pytest
import torch
import toy
import xarray as xr
from sklearn.linear_model import Ridge, RidgeCV

from lib import artefacts, contract, datasets, encoding, features, folds, planted, plugins, recovery, ridge

SHIPPED = ["planted_audio", "planted_vision"]
DESIGN = {
    "n_subjects": 2, "n_repeats": 3, "n_voxels": 5, "shares": (0.5, 0.8, 1.0), "explainable": (0.2, 0.6, 1.0),
}  # fmt: skip


def simulated_layers(seed=0, n_stimuli=100, n_layers=3):
    """Layers that hold strong latents in common, and weaker ones of their own."""
    rng = np.random.default_rng(seed)
    common, layers = rng.standard_normal((n_stimuli, 2)), {}
    for i in range(n_layers):
        own = rng.standard_normal((n_stimuli, 4))
        units = np.hstack([3 * common, own]) @ rng.standard_normal((6, 60))
        layers[f"layer{i}"] = ridge.compress([units + 0.1 * rng.standard_normal(units.shape)])
    train = folds.half_splits([f"s{i}" for i in range(n_stimuli)], seed=seed)
    return layers, train


def held_out_r2(X, profiles, trains):
    """Squared correlation of scikit-learn's ridge predictions, mean over splits."""
    model = RidgeCV(np.logspace(-4, 6, 11))
    scores = []
    for train in trains:
        predicted = model.fit(X[train], profiles[train]).predict(X[~train]).reshape(-1, profiles.shape[1])
        pairs = zip(predicted.T, profiles[~train].T, strict=True)
        scores.append([np.corrcoef(*pair)[0, 1] ** 2 for pair in pairs])
    return np.mean(scores, axis=0)


def test_profiles_are_predicted_by_their_layer_and_not_by_its_rivals():
    layers, train = simulated_layers()
    others = folds.half_splits([f"s{i}" for i in range(100)], seed=99)  # splits that chose nothing
    for name in layers:
        profiles = planted.directions(layers, name, train)
        assert profiles.shape == (100, 2)
        np.testing.assert_allclose(profiles.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(profiles.std(axis=0), 1, rtol=1e-12)
        assert abs(np.corrcoef(profiles.T)[0, 1]) < 0.5  # two profiles, not one twice
        r2 = {other: held_out_r2(X, profiles, others) for other, X in layers.items()}
        own = r2.pop(name)
        assert (own > 0.95).all()
        assert all((rival < 0.5).all() for rival in r2.values())


def test_the_strongest_rival_counts_not_the_average():
    rng = np.random.default_rng(0)
    sharp, dull = rng.standard_normal((2, 100, 2))
    noise = 0.05 * rng.standard_normal((100, 60))
    units = np.hstack([3 * sharp, 0.5 * dull]) @ rng.standard_normal((4, 60)) + noise
    layers = {"own": units, "twin": sharp @ rng.standard_normal((2, 60)) + noise[::-1]}
    layers |= {f"weak{i}": rng.standard_normal((100, 60)) for i in range(9)}
    layers = {name: ridge.compress([X]) for name, X in layers.items()}
    train = folds.half_splits([f"s{i}" for i in range(100)])
    # What is sharp in `own` is best predicted, and no weak rival has it; but its twin does.
    r2 = held_out_r2(layers["twin"], planted.directions(layers, "own", train, n_candidates=4), train)
    assert (r2 < 0.2).all()


def test_the_most_predictable_profile_would_not_tell_layers_apart():
    layers, train = simulated_layers()
    alone = planted.directions({"layer0": layers["layer0"]}, "layer0", train, n_directions=1)
    # What is found without rivals lies in the strong latents, which every layer holds.
    assert all(held_out_r2(X, alone, train)[0] > 0.95 for X in layers.values())


def test_profiles_do_not_depend_on_the_scale_of_layers():
    layers, train = simulated_layers()
    plain = planted.directions(layers, "layer1", train)
    before = {name: X.copy() for name, X in layers.items()}
    scaled = planted.directions(
        {name: 10.0**i * X for i, (name, X) in enumerate(layers.items())}, "layer1", train
    )
    # The signs of eigenvectors are free.
    np.testing.assert_allclose(abs((plain * scaled).mean(axis=0)), 1, rtol=1e-8)
    for name, X in layers.items():
        np.testing.assert_array_equal(X, before[name])


def test_quadratic_forms_are_the_errors_of_explicit_regressions():
    layers, train = simulated_layers(n_stimuli=40)
    X, rng = 5 + layers["layer0"], np.random.default_rng(1)
    error, variance = planted._error_and_variance(X, train[:3])
    for u in rng.standard_normal((4, 40)) + 2:
        errors, variances = [], []
        for split in (*train[:3], *~train[:3]):
            centred = X[split] - X[split].mean(axis=0)
            penalty = planted.PENALTY * (centred**2).sum() / len(centred)
            predicted = Ridge(penalty, solver="svd").fit(X[split], u[split]).predict(X[~split])
            errors.append(np.mean((u[~split] - predicted) ** 2))
            variances.append(np.var(u[~split]))
        # penalised by 0.003 of the trace, the system is conditioned to 1e5 or better
        assert u @ error @ u == pytest.approx(sum(errors), rel=1e-9)
        assert u @ variance @ u == pytest.approx(sum(variances), rel=1e-10)


@pytest.fixture(scope="module")
def large():
    """A brain of 4000 stimuli, and its profiles: one that reads a single direction, one that mixes two."""
    rng = np.random.default_rng(0)
    profiles = {"A": rng.standard_normal((4000, 1)), "B": rng.standard_normal((4000, 2))}
    names = [f"s{i:04d}" for i in range(4000)]
    return planted.brain(profiles, names, design=DESIGN, rng=np.random.default_rng(1)), profiles


def test_each_cell_of_the_plan_has_its_voxels(large):
    brain, profiles = large
    assert dict(brain.sizes) == {"repeat": 3, "stimulus": 4000, "voxel": 2 * 2 * 3 * 3 * 5}
    cells = (
        brain[["true_share", "true_explainable"]]
        .to_dataframe()
        .groupby(["subject", "roi", "true_share", "true_explainable"])
    )
    assert (cells.size() == 5).all()
    assert len(cells) == 36
    assert set(brain["roi"].values) == set(profiles)
    assert brain.indexes["voxel"].is_unique


def assert_mean(values, expected):
    """Mean of independent values within 4 of its standard errors."""
    assert abs(np.mean(values) - expected) < 4 * np.std(values, ddof=1) / np.sqrt(np.size(values))


@pytest.mark.parametrize("share", DESIGN["shares"])
def test_signal_has_variance_one_and_the_planted_share_of_read_out(large, share):
    brain, profiles = large
    for roi, columns in profiles.items():
        here = (brain["roi"] == roi).values & (brain["true_share"] == share).values
        signal = brain["signal"].values[:, here]
        design = np.column_stack([np.ones(4000), columns])
        rest = np.linalg.lstsq(design, signal, rcond=None)[1]
        explained = 1 - rest / ((signal - signal.mean(axis=0)) ** 2).sum(axis=0)
        np.testing.assert_allclose(signal.mean(axis=0), 0, atol=1e-12)
        if share == 1:
            np.testing.assert_allclose(signal.var(axis=0), 1, rtol=1e-12)
            np.testing.assert_allclose(explained, 1, rtol=1e-12)
        else:
            assert_mean(signal.var(axis=0), 1)
            # The unrelated part is explained by chance, by (number of columns) / (number of stimuli) of it.
            assert_mean(explained - (1 - share) * columns.shape[1] / 4000, share)
            unrelated = signal - design @ np.linalg.lstsq(design, signal, rcond=None)[0]
            between = np.corrcoef(unrelated.T)[np.triu_indices(here.sum(), 1)]
            assert between.std() == pytest.approx(1 / np.sqrt(4000), rel=0.2)  # as of unrelated series
            assert explained.std() > 1e-4


def test_voxels_of_one_profile_read_that_profile(large):
    brain, profiles = large
    here = (brain["roi"] == "A").values & (brain["true_share"] == 0.8).values
    signal = brain["signal"].values[:, here]
    squared = [np.corrcoef(profiles["A"][:, 0], voxel)[0, 1] ** 2 for voxel in signal.T]
    assert_mean(np.array(squared) - 0.2 / 4000, 0.8)


@pytest.mark.parametrize("explainable", DESIGN["explainable"])
def test_noise_leaves_the_planted_explainable_variance(large, explainable):
    here = large[0].isel(voxel=(large[0]["true_explainable"] == explainable).values)
    noise = (here["response"] - here["signal"]).values
    if explainable == 1:
        assert abs(noise).max() < 1e-12
        return
    assert_mean(noise.var(axis=1), (1 - explainable) / explainable)
    # Pairs of repeats share one, so that voxels, not pairs, are independent.
    pairs = [
        [np.corrcoef(v[a], v[b])[0, 1] for a, b in ((0, 1), (0, 2), (1, 2))]
        for v in here["response"].values.T.swapaxes(1, 2)
    ]
    assert_mean(np.mean(pairs, axis=1), explainable)
    between = [np.corrcoef(a, b)[0, 1] for a, b in zip(noise[0].T, noise[1].T, strict=True)]
    assert_mean(between, 0)
    across = np.corrcoef(noise[0].T)[np.triu_indices(noise.shape[2], 1)]
    assert across.std() == pytest.approx(1 / np.sqrt(4000), rel=0.1)  # as unrelated series


def test_the_same_seed_plants_the_same_brain_and_another_seed_another(tmp_path):
    profiles = {"A": np.random.default_rng(0).standard_normal((30, 2))}
    names = [f"s{i}" for i in range(30)]
    for file, seed in {"one": 3, "again": 3, "other": 4}.items():
        brain = planted.brain(profiles, names, design=DESIGN, rng=np.random.default_rng(seed))
        artefacts.save(brain, tmp_path / f"{file}.nc")
    one, again, other = ((tmp_path / f"{file}.nc").read_bytes() for file in ("one", "again", "other"))
    assert one == again
    assert one != other


def test_attainable_is_what_scikit_learn_reaches_without_noise():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 6))
    signal = X @ rng.standard_normal((6, 4)) + rng.standard_normal((60, 4))
    train = folds.half_splits([f"s{i}" for i in range(60)])
    expected = []
    for split in train:
        # The published grid without powers that overflow or, in older versions, lose all digits: those above predict
        # the mean, those below fit alike.
        model = RidgeCV(10.0 ** np.arange(12, -7, -1), alpha_per_target=True).fit(X[split], signal[split])
        pairs = zip(model.predict(X[~split]).T, signal[~split].T, strict=True)
        expected.append([max(np.corrcoef(*pair)[0, 1], 0) ** 2 for pair in pairs])
    np.testing.assert_allclose(planted.attainable(X, signal, train), np.mean(expected, axis=0), rtol=1e-8)


def test_what_the_layer_cannot_predict_is_not_attainable():
    rng = np.random.default_rng(0)
    train = folds.half_splits([f"s{i}" for i in range(60)])
    found = planted.attainable(rng.standard_normal((60, 6)), rng.standard_normal((60, 20)), train)
    # Many splits predict the train mean, whose correlation with anything counts as 0; by chance r² is 1/30.
    assert ((found >= 0) & (found < 4 / 30)).all()
    assert (found.mean() < 1 / 30).all()


@pytest.fixture
def toy_target(tmp_path, monkeypatch):
    """Makes planted targets of a small network and 24 small pictures, with other seeds or regions."""
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    stimuli = toy.pictures(tmp_path, 24).assign(group=np.repeat(list("abcdefgh"), 3))
    design = DESIGN | {"explainable": (0.5,), "shares": (0.9,)}

    def make(rois=None, seed=0):
        rois = rois or {"early": "first", "late": "second"}
        return planted.target(toy.vision(), stimuli, rois=rois, design=design, seed=seed), stimuli

    return make


def test_a_target_keeps_the_contract_and_knows_its_truth(toy_target):
    target, stimuli = toy_target()
    about = {"target": "toy", "modality": "vision", "kind": "voxel", "licence": "none", "citation": "nobody"}
    contract.validate(target.assign_attrs(about), stimuli)  # groups of stimuli are not torn apart, for one
    assert target.sizes["split"] == 10
    truth = {"early": "first", "late": "second"}
    assert [truth[roi] for roi in target["roi"].values] == target["true_layer"].values.tolist()
    assert target.attrs["true_model"] == "toy"
    assert target.attrs["true_layers"] == "early first, late second"
    assert ((target["attainable_r2"] > 0) & (target["attainable_r2"] <= 1)).all()


def test_the_hierarchy_score_is_that_of_the_plan(toy_target):
    assert toy_target()[0].attrs["true_bh"] == pytest.approx(1)
    assert toy_target({"early": "second", "late": "first"})[0].attrs["true_bh"] == pytest.approx(-1)


def test_the_same_seed_makes_the_same_target_to_the_byte_and_another_other_splits_and_noise(
    toy_target, tmp_path
):
    for file in ("one", "again"):
        artefacts.save(toy_target(seed=3)[0], tmp_path / f"{file}.nc")
    assert (tmp_path / "one.nc").read_bytes() == (tmp_path / "again.nc").read_bytes()
    one, other = artefacts.load(tmp_path / "one.nc"), toy_target(seed=4)[0]
    assert (one["train"].values != other["train"].values).any()
    noises = [(target["response"] - target["signal"]).values.ravel() for target in (one, other)]
    assert abs(np.corrcoef(noises)[0, 1]) < 4 / np.sqrt(len(noises[0]))


def test_attainable_r2_belongs_to_the_voxels_own_layer(toy_target, tmp_path):
    target, stimuli = toy_target()
    features.extract(toy.vision(), stimuli, tmp_path / "features.nc")
    for layer in ("first", "second"):
        here = (target["true_layer"] == layer).values
        X = ridge.compress(features.blocks(tmp_path / "features.nc", layer))
        expected = planted.attainable(X, target["signal"].values[:, here], target["train"].values)
        np.testing.assert_allclose(target["attainable_r2"][here], expected, rtol=1e-9)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_plans_name_layers_in_the_order_of_the_network(name):
    plan = plugins.about("target", name)
    network = plugins.about("model", plan["MODEL"])
    depth = [network["LAYERS"].index(layer) for layer in plan["ROIS"].values()]
    assert len(depth) > 2
    assert depth == sorted(set(depth))
    assert plan["MODALITY"] == network["MODALITY"]
    assert len(plan["DESIGN"]["explainable"]) == 3  # noise levels
    assert min(plan["DESIGN"]["n_subjects"], plan["DESIGN"]["n_repeats"]) > 1


@pytest.fixture(scope="module", params=SHIPPED)
def shipped(request, tmp_path_factory):
    """A shipped target as downloaded (so held to the contract), features of its layers, scores of all layers."""
    home, n_threads = tmp_path_factory.mktemp(request.param), torch.get_num_threads()
    extract = features.extract

    def kept(model, stimuli, path, **settings):
        extract(model, stimuli, path, **settings)
        shutil.copy(path, home / "features.nc")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPENDIUM_HOME", str(home))
        # The extract step would make the very same features of these stimuli; half a minute is saved.
        patch.setattr(features, "extract", kept)
        torch.set_num_threads(1)
        truth, _ = datasets.load(request.param)
        torch.set_num_threads(n_threads)
    layers = {}
    for name in features.layers(home / "features.nc"):
        columns = ridge.compress(features.blocks(home / "features.nc", name))
        coords = {"stimulus": features.identifiers(home / "features.nc")}
        layers[name] = xr.DataArray(columns, dims=("stimulus", "unit"), coords=coords)
    scores = [encoding.encode(X, truth).drop_vars(["prediction", "stimulus"]) for X in layers.values()]
    return truth, layers, xr.concat(scores, xr.Variable("layer", list(layers)))


def test_shipped_targets_say_what_they_are(shipped):
    truth, layers, _ = shipped
    plugin = importlib.import_module(f"lib.datasets.{truth.attrs['target']}")
    assert truth.attrs["planted"] == 1
    assert truth.attrs["true_bh"] == pytest.approx(1)
    assert truth.attrs["true_model"] == plugin.MODEL
    assert list(layers) == list(plugins.about("model", plugin.MODEL)["LAYERS"])
    assert dict(zip(truth["roi"].values, truth["true_layer"].values, strict=True)) == plugin.ROIS
    assert (truth["attainable_r2"] > 0.5).all()


def test_the_true_layer_is_found_for_nearly_all_reliable_voxels(shipped):
    truth, _, scores = shipped
    found = recovery.voxels(scores, truth)
    reliable = found[found["repeat_r"] > 0.3]
    assert len(reliable) > 0.9 * len(found)
    right = reliable["layer"] == reliable["true_layer"]
    assert right.mean() >= 0.95
    assert right.groupby(reliable["roi"]).mean().min() > 0.9  # no region is lost in the others


def test_corrected_r2_is_what_the_regression_reaches_without_noise(shipped):
    truth, _, scores = shipped
    found = recovery.voxels(scores, truth)
    for _, here in found.groupby("true_explainable"):
        r2, ceiling, planted_r2 = here["r2"], here["ceiling"], here["attainable_r2"]
        corrected = r2.sum() / ceiling.sum()
        # Stimuli, splits and profiles are the same for what is planted and what is recovered; given these, all
        # that varies (mixture, unrelated part, noise) is drawn for each voxel alone. Voxels are therefore the
        # independent units, 144 per level; their terms of the linearised difference of ratio and mean:
        terms = (r2 - corrected * ceiling) / ceiling.mean() - (planted_r2 - planted_r2.mean())
        se = terms.std(ddof=1) / np.sqrt(len(terms))
        assert abs(corrected - planted_r2.mean()) < 3 * se
        assert se < 0.012  # so that the next line can hold, and 3 standard errors mean something
        assert r2.mean() < planted_r2.mean() - 3 * se  # what a score without correction would miss


def test_a_shuffled_target_scores_zero(shipped):
    truth, layers, _ = shipped
    mean, rng, r = (
        truth[["response", "train"]].mean("repeat").expand_dims("repeat"),
        np.random.default_rng(0),
        [],
    )
    for _ in range(12):
        order = rng.permutation(truth.sizes["stimulus"])
        shuffled = mean.assign(
            train=truth["train"], response=mean["response"].copy(data=mean["response"].values[:, order])
        )
        groups = [
            encoding.encode(layers[name], shuffled.isel(voxel=(truth["true_layer"] == name).values))["r"]
            for name in np.unique(truth["true_layer"])
        ]
        r.append(float(np.mean([group.mean() for group in groups])))
    # Voxels of a shuffle share their read-outs and stimuli: shuffles are the independent units.
    se = np.std(r, ddof=1) / np.sqrt(len(r))
    assert abs(np.mean(r)) < 3 * se
    assert se < 0.01


def test_places_are_added_and_nothing_else_changes():
    profiles = {"A": np.random.default_rng(0).standard_normal((20, 1)), "B": np.ones((20, 1))}
    profiles["B"][:7] = 0
    plain = planted.brain(profiles, [f"s{i}" for i in range(20)], design=DESIGN, rng=np.random.default_rng(1))
    found = planted.placed(plain, {"A": (-43, -23, 8), "B": (-50, -20, 5)})
    xr.testing.assert_identical(found.drop_vars(["hemisphere", "x", "y", "z"]), plain)
    contract._check_places(found)


def test_people_share_places_and_regions_do_not():
    names = [f"s{i}" for i in range(9)]
    rng = np.random.default_rng(0)
    profiles = {roi: rng.standard_normal((9, 1)) for roi in ("A", "B")}
    brain = planted.brain(profiles, names, design=DESIGN, rng=rng)
    centres = {"A": (-43, -23, 8), "B": (-47, -21, 7)}
    found = planted.placed(brain, centres).to_dataframe()[["subject", "roi", "hemisphere", "x", "y", "z"]]
    found = found.drop_duplicates().reset_index(drop=True)
    places = found.groupby(["hemisphere", "x", "y", "z"])
    assert (places["roi"].nunique() == 1).all()
    assert (places["subject"].nunique() == DESIGN["n_subjects"]).all()
    # 3 x 3 cells of 5 voxels in each region, left and right in turn
    assert found.groupby(["subject", "roi"])["hemisphere"].value_counts().to_list() == [23, 22] * 4
    left = found[found["hemisphere"] == "left"]
    assert (left["x"] < 0).all()
    assert (found.loc[found["hemisphere"] == "right", "x"] > 0).all()
    for roi, here in left.groupby("roi"):
        away = np.linalg.norm(here[["x", "y", "z"]].to_numpy() - centres[roi], axis=1)
        assert np.median(away) < 25


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_regions_lie_where_their_cortex_is(name):
    centres = importlib.import_module(f"lib.datasets.{name}").CENTRES
    assert list(centres) == list(importlib.import_module(f"lib.datasets.{name}").ROIS)
    x, y, z = np.array(list(centres.values())).T
    assert (x < 0).all()
    if name == "planted_vision":  # occipital, then forward and down
        assert (np.diff(y) > 0).all()
        assert (y < -50).all()
    else:  # temporal
        assert (np.abs(y) < 50).all()
        assert (z < 15).all()
