"""The published training of the layer-weighted model: its own numbers, its laws, planted layers."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from lib import artefacts, layer_contributions, layer_weighted, projection, standardisation
from lib import layer_weighted_runs as runs
from lib import layer_weighted_training as training

ZHOU = "zhou2022"
RUNS = {
    "main": training.Settings(n_epochs=8, seed=5),
    "stop": training.Settings(10, 1, n_epochs=40, patience=3, delta=5e-2, seed=6),
    "mse": training.Settings(0.5, 10, "mse", n_epochs=6, patience=2, delta=1e-2, seed=7),
    "fast": training.Settings(2, 3, n_epochs=60, patience=6, delta=2e-2, rate=2e-2, seed=8),
    "fold1": training.Settings(1, 1, n_epochs=4, seed=15),
    "fold2": training.Settings(1, 1, n_epochs=4, seed=16),
}
LOGGED = dict(zip(training.LOGGED, ("mses", "w_regs", "layer_spar_regs", "pccs", "tot_losses"), strict=True))


@pytest.fixture(scope="module")
def oracle():
    """What the published code returns on synthetic data."""
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE is not set")
    with np.load(Path(folder) / "layer_weighted_oracle.npz") as stored:
        return dict(stored)


def rows_of(oracle, run):
    """Train and validation rows of a run."""
    X, Y = oracle["X_train"], oracle["Y_train"]
    if not run.startswith("fold"):
        return X, Y, (oracle["X_test"], oracle["Y_test"])
    inside = ~np.isin(np.arange(len(X)), oracle[f"{run}_val_rows"])
    return X[inside], Y[inside], (X[~inside], Y[~inside])


# Tolerances are those that come with the reference, for another version of torch or another processor.
@pytest.mark.reference
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("given", [False, True], ids=["seed", "stored order"])
def test_training_equals_the_published_code(oracle, run, given):
    X, Y, validation = rows_of(oracle, run)
    stored = {"start": [oracle[f"{run}_{name}0"] for name in "Wba"], "orders": oracle[f"{run}_train_order"]}
    how = {"settings": RUNS[run], "published": ZHOU} | (stored if given else {})
    fit = training.train(X, Y, validation, oracle["dims"].tolist(), **how)
    for name, theirs in LOGGED.items():
        for part, what in (("train", "train"), ("validation", "test")):
            expected = oracle[f"{run}_{what}_{theirs}"]
            np.testing.assert_allclose(fit.history[f"{part}_{name}"], expected, atol=1e-5)
    trace = fit.history[["score", "best", "counter", "stored", "stopped"]]
    np.testing.assert_allclose(trace.astype(float), oracle[f"{run}_es_trace"][:, 1:], atol=1e-5)
    assert fit.history["step"].tolist() == oracle[f"{run}_steps"].tolist()
    assert fit.epoch == oracle[f"{run}_epoch_saved"]
    np.testing.assert_allclose(fit.layer_weights, oracle[f"{run}_a_per_epoch"], atol=2e-6)
    for name in "Wba":
        values = getattr(fit.model, name).detach().numpy()
        np.testing.assert_allclose(values, oracle[f"{run}_{name}"], atol=2e-6)
    predicted = training.predict(fit.model, validation[0])
    np.testing.assert_allclose(predicted, oracle[f"{run}_pred"], atol=1e-5)
    r = training.correlations(validation[1], predicted, published=ZHOU)
    np.testing.assert_allclose(r, oracle[f"{run}_pcc"], atol=1e-5)
    if f"{run}_layer_c" in oracle:
        c, share = training.contributions(fit.model, *validation)
        np.testing.assert_allclose(c, oracle[f"{run}_layer_c"], atol=2e-4)
        np.testing.assert_allclose(share, oracle[f"{run}_layer_contribution"], atol=2e-4)


@pytest.mark.reference
def test_initial_weights_come_from_the_seed(oracle):
    for run, settings in RUNS.items():
        generator = torch.Generator().manual_seed(settings.seed)
        model = training.Model(oracle["dims"].tolist(), 15, generator)
        for name in "Wba":
            np.testing.assert_array_equal(getattr(model, name).detach(), oracle[f"{run}_{name}0"])


@pytest.mark.reference
def test_search_scores_as_the_published_code(oracle):
    scores = []
    for run in ("fold1", "fold2"):
        X, Y, validation = rows_of(oracle, run)
        how = {"settings": RUNS[run], "published": ZHOU}
        model = training.train(X, Y, validation, oracle["dims"].tolist(), **how).model
        scores.append(training.score(model, *validation, published=ZHOU))
    assert np.mean(scores) == pytest.approx(oracle["cv_score"], abs=1e-5)


@pytest.mark.reference
def test_features_are_standardised_as_published(oracle):
    X = np.hstack([oracle[f"raw_layer{i}"] for i in (1, 2, 3)])
    train = ~np.isin(np.arange(len(X)), oracle["test_idx"])
    scaled = standardisation.columns(X, train, published=ZHOU)
    # 1e-6: rounding of single precision at values of a few standard deviations
    np.testing.assert_allclose(scaled[train], oracle["X_train"], atol=1e-6)
    np.testing.assert_allclose(scaled[oracle["test_idx"]], oracle["X_test"], atol=1e-6)


@pytest.mark.reference
def test_projections_equal_the_published_ones(oracle):
    def frames(k):
        rng = np.random.default_rng([5, k])
        first = rng.standard_normal((1, 64, 9, 9)).astype(np.float32)
        return first.ravel(), rng.standard_normal((1, 30)).astype(np.float32).ravel()

    pairs = [(frames(k), frames(k + 1000)) for k in range(120)]
    first, second = (np.stack([(a[i] + b[i]) / 2 for a, b in pairs]) for i in (0, 1))
    test, rng = runs.published_test(120, 20)
    train = ~np.isin(np.arange(120), test)
    np.testing.assert_array_equal(test, oracle["srp_test_idx"])
    projected = projection.standardised_first(first, train, "srp", rng=rng, published=ZHOU)
    assert projected[train].shape == tuple(oracle["srp_train_shape"])
    np.testing.assert_allclose(projected[train][:5, :8], oracle["srp_train_corner"], atol=1e-5)
    np.testing.assert_allclose(projected[test][:5, :8], oracle["srp_test_corner"], atol=1e-5)
    total = (projected[train].astype(float) ** 2).sum()
    np.testing.assert_allclose(total, oracle["srp_train_sum_sq"], rtol=1e-5)
    np.testing.assert_array_equal(rng.uniform(size=3), oracle["srp_next_draw"])
    small = projection.standardised_first(second, train, "srp", rng=rng, published=ZHOU)
    np.testing.assert_allclose(small[train][:5, :8], oracle["srp_layer2_corner"], atol=1e-5)
    components = np.abs(projection.standardised_first(first, train, "pca", rng=rng, published=ZHOU))
    assert components[train].shape == tuple(oracle["pca_train_shape"])
    np.testing.assert_allclose(components[train][:5, :6], oracle["pca_train_corner_abs"], atol=1e-2)
    np.testing.assert_allclose(components[test][:5, :6], oracle["pca_test_corner_abs"], atol=1e-2)


@pytest.mark.reference
def test_early_stopping_equals_the_published_one(oracle):
    for index, scores in enumerate(oracle["es_fixed_scores"]):
        for patience, expected in zip(
            (30, 2), oracle["es_fixed_trace"][2 * index : 2 * index + 2], strict=True
        ):
            stopping = training.EarlyStopping(delta=1e-3, patience=patience)
            for score, row in zip(scores[~np.isnan(scores)], expected, strict=False):
                stopping.improves(score)
                assert (stopping.best, stopping.counter, stopping.stored, stopping.stopped) == tuple(row)
                if stopping.stopped:
                    break


@pytest.mark.reference
def test_correlation_is_inflated_as_published(oracle):
    x, y = (torch.tensor(oracle[name]) for name in ("pcc_x", "pcc_y"))
    np.testing.assert_allclose(training.inflated_correlation(x, y), oracle["pcc_xy"], atol=1e-12)


def test_loss_by_hand():
    model = training.Model([2, 1], 2)
    values = {"W": [[3, 0, 4], [0, 0, 1]], "b": [0.1, -0.1], "a": [-0.2, 0.5]}
    model.load_state_dict({"layer": model.layer} | {n: torch.tensor(v).float() for n, v in values.items()})
    X = torch.tensor([[1.0, 2, 3], [0, 1, -1]])
    np.testing.assert_allclose(model(X).detach(), [[6.7, 1.4], [-1.9, -0.6]], rtol=1e-6)
    settings = training.Settings(weight_penalty=1, layer_penalty=0.1)
    error, weights, layers, _, total = training.loss(model, X, torch.zeros(2, 2), settings)
    expected = [12.705, 1.7320508, 0.35, 14.4720508]
    np.testing.assert_allclose([v.item() for v in (error, weights, layers, total)], expected, rtol=1e-6)


def test_correlation_by_hand():
    x, y = np.sin(np.arange(16.0))[:, None], np.cos(0.5 * np.arange(16.0))[:, None]
    assert training.correlations(y, x, published=ZHOU).item() == pytest.approx(0.130143, abs=5e-7)
    assert training.correlations(y, x).item() == pytest.approx(0.122009, abs=5e-7)
    for n in (16, 100):
        same = np.random.default_rng(n).normal(size=(n, 1))
        # 1e-6: 1e-8 is added to standard deviations of order 1
        assert training.correlations(same, same, published=ZHOU).item() == pytest.approx(
            n / (n - 1), abs=1e-6
        )


def test_split_and_dimensions_are_the_published_ones():
    test, _ = runs.published_test()
    assert test[:10].tolist() == [862, 699, 350, 243, 896, 738, 496, 1, 871, 926]
    assert test[-5:].tolist() == [34, 465, 560, 4, 102]
    assert (test.sum(), test.min(), test.max()) == (52797, 1, 998)
    assert [projection.dimension(n) for n in (900, 1000, 450, 1102)] == [5830, 5920, 5236, 6004]
    assert [len(training._batches(n, 16)) for n in (900, 450, 100)] == [56, 28, 6]


def test_early_stopping_by_hand():
    stopping = training.EarlyStopping(delta=1e-3, patience=30)
    stored = [epoch for epoch, score in enumerate([0.10, 0.1005, 0.1011, 0.1012]) if stopping.improves(score)]
    assert (stored, stopping.counter) == ([0, 2], 1)
    stopping = training.EarlyStopping(delta=1e-3, patience=1)
    assert [stopping.improves(0.1), stopping.improves(0.1005)] == [True, False]
    assert stopping.stopped


def test_a_score_that_is_not_a_number_is_never_kept():
    stopping = training.EarlyStopping(delta=1e-3, patience=9)
    assert [stopping.improves(s) for s in (np.nan, 0.2, np.nan, 0.1, 0.3)] == [
        False,
        True,
        False,
        False,
        True,
    ]
    assert (stopping.best, stopping.stored) == (0.3, 4)


def planted(n_stimuli=550, n_train=450, n_voxels=40, seed=0):
    """Three unrelated layers, responses from the second alone, as in the recovery test of the specification."""
    rng = np.random.default_rng(seed)
    layers = {f"layer{i}": rng.standard_normal((n_stimuli, 60)) for i in (1, 2, 3)}
    signal = layers["layer2"] @ rng.standard_normal((60, n_voxels)) * 0.3
    Y = signal + rng.standard_normal((1, n_stimuli, n_voxels))
    labels = {"subject": ["a"] * (n_voxels // 2) + ["b"] * (n_voxels // 2), "roi": ["V1"] * n_voxels}
    return layers, xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), Y),
            "train": (("split", "stimulus"), [np.arange(n_stimuli) < n_train]),
        },
        coords={
            "stimulus": [f"s{i}" for i in range(n_stimuli)],
            "voxel": [f"v{i}" for i in range(n_voxels)],
            "split": [0],
            **{name: ("voxel", values) for name, values in labels.items()},
        },
    )


FAST = training.Settings(1, 1, n_epochs=40, rate=3e-3)


def test_planted_layer_is_found_and_penalties_shrink_weights():
    layers, data = planted()
    X = standardisation.columns(np.hstack(list(layers.values())), data["train"].values[0])
    Y = data["response"].values[0].astype(np.float32)
    rw = []
    for weight_penalty in (0.01, 1, 10):
        settings = dataclasses.replace(FAST, weight_penalty=weight_penalty)
        fit = training.train(X[:450], Y[:450], (X[450:], Y[450:]), [60] * 3, settings=settings)
        rw.append(fit.model.penalties()[0].item())
        a, (c, share) = fit.model.a.abs(), training.contributions(fit.model, X[450:], Y[450:])
        assert a.argmax() == 1
        assert share[1] > 0.9
        assert share.sum() == pytest.approx(1)
        assert c.argmax() == 1
    assert rw[0] > rw[1] > rw[2]


def test_a_layer_without_weights_contributes_nothing():
    model = training.Model([2, 3], 4, torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.W[:, 2:] = 0
    X = np.random.default_rng(0).normal(size=(30, 5))
    c, share = training.contributions(model, X, training.predict(model, X))
    assert (c[1], share.tolist()) == (0, [1, 0])


def test_same_seed_same_weights_and_nothing_global_changes():
    layers, data = planted()
    X, Y = np.hstack(list(layers.values())), data["response"].values[0]
    settings = dataclasses.replace(FAST, n_epochs=2)
    state = torch.random.get_rng_state()
    fits = [
        training.train(X[:64], Y[:64], (X[64:96], Y[64:96]), [60] * 3, settings=how)
        for how in (settings, settings, dataclasses.replace(settings, seed=1))
    ]
    first, second, third = (fit.model.W.detach().numpy() for fit in fits)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - third).max() > 1e-3
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("published", [None, ZHOU])
def test_only_published_training_sees_the_test_stimuli(published):
    layers, data = planted(n_stimuli=160, n_train=110, n_voxels=6)
    settings = dataclasses.replace(FAST, n_epochs=25, patience=3, delta=2e-2)
    other = data["response"].values.copy()
    other[:, 110:] = np.random.default_rng(1).normal(size=other[:, 110:].shape)
    grid = [(1, 1)]
    fits = [
        runs.encode(layers, responses, published=published, grid=grid, settings=settings)
        for responses in (data, data.assign(response=(data["response"].dims, other)))
    ]
    same = bool((fits[0]["layer_weight"] == fits[1]["layer_weight"]).all())
    assert same == (published is None)


def test_penalties_are_searched_and_first_subjects_serve_all_as_published():
    layers, data = planted(n_stimuli=160, n_train=110, n_voxels=8)
    settings = dataclasses.replace(FAST, n_epochs=6)
    grid = ((1, 0.1), (100, 10))
    fit = runs.encode(layers, data, published=ZHOU, grid=grid, settings=settings)
    assert fit["group"].values.tolist() == ["a/V1", "b/V1"]
    first = data["response"].values[0][:110, :4].astype(np.float32)
    train = data["train"].values[0]
    X = standardisation.columns(np.hstack(list(layers.values())), train, published=ZHOU)[train]
    tuned = runs.tune(X, first, [60] * 3, grid=grid, settings=settings, published=ZHOU)
    assert tuned["weight_penalty"].tolist() == [1, 100]
    assert runs.best_penalties(tuned) == tuple(grid[tuned["score"].argmax()])
    chosen = fit[["weight_penalty", "layer_penalty"]].to_array().values[:, 0]
    np.testing.assert_array_equal(chosen, np.repeat(np.array(runs.best_penalties(tuned))[:, None], 2, axis=1))
    rows = runs.summary(fit, run="one")
    search = rows[rows["mode"] == "hyper_tune"]
    assert search["subject"].tolist() == ["a", "a"]
    assert search["score"].tolist() == tuned["score"].tolist()
    assert search[["weight_penalty", "layer_penalty"]].to_numpy().tolist() == [list(pair) for pair in grid]
    assert rows["mode"].tolist() == ["hyper_tune"] * 2 + ["train"] * 2
    tied = tuned.assign(score=0.5)
    assert runs.best_penalties(tied) == grid[0]


def test_search_without_leaks_scores_stimuli_that_stop_nothing():
    layers, data = planted(n_stimuli=96, n_train=80, n_voxels=4)
    X, Y = np.hstack(list(layers.values())), data["response"].values[0].astype(np.float32)
    settings = dataclasses.replace(FAST, n_epochs=4)
    inside = np.arange(96) < 48
    first = runs._stopped(X, Y, inside, [60] * 3, settings=settings, published=None)
    changed = np.where(inside[:, None], Y, -Y)
    second = runs._stopped(X, changed, inside, [60] * 3, settings=settings, published=None)
    assert first.history.equals(second.history)


@pytest.mark.parametrize("published", [None, ZHOU])
def test_scores_are_inflated_as_published_only(published):
    layers, data = planted(n_stimuli=130, n_train=110, n_voxels=4)
    settings = dataclasses.replace(FAST, n_epochs=3)
    fit = runs.encode(layers, data, published=published, grid=[(1, 1)], settings=settings)
    Y, predicted = data["response"].values[0, 110:], fit["prediction"].values[0, 110:]
    r = [np.corrcoef(*pair)[0, 1] for pair in zip(Y.T, predicted.T, strict=True)]
    # 1e-4: single precision, and 1e-8 on standard deviations
    np.testing.assert_allclose(fit["r"].values[0], np.array(r) * (20 / 19 if published else 1), rtol=1e-4)
    np.testing.assert_allclose(fit["score"].values[0, 0], fit["r"].values[0, :2].mean())


def test_stimuli_that_stop_training_do_not_train(monkeypatch):
    seen = {}

    def note(X, _, validation, *rest, **how):
        assert (rest, how["settings"]) == (([1],), FAST)
        seen.update(fitted=X[:, 0].tolist(), watched=validation[0][:, 0].tolist())

    monkeypatch.setattr(training, "train", note)
    X, inside = np.arange(40.0)[:, None], np.arange(40) % 4 > 0
    for published, watched in ((None, 3), (ZHOU, 10)):
        runs._stopped(X, X, inside, [1], settings=FAST, published=published)
        assert len(seen["watched"]) == watched
        assert not set(seen["fitted"]) & set(seen["watched"])
        every = sorted(seen["fitted"] + seen["watched"])
        assert every == (X[:, 0] if published else X[inside, 0]).tolist()


def test_stored_models_are_scored_again(tmp_path):
    layers, data = planted(n_stimuli=160, n_train=110, n_voxels=6)
    how = {"grid": [(1, 1)], "settings": dataclasses.replace(FAST, n_epochs=3), "folder": tmp_path}
    fit = runs.encode(layers, data, **how)
    again = runs.encode(layers, data, mode="test", **how)
    for name in ("prediction", "r", "layer_weight", "contribution"):
        np.testing.assert_array_equal(fit[name], again[name])
    assert (again["epoch_saved"] == -1).all()
    history = artefacts.load_table(tmp_path / "0/a/V1.csv")
    assert history["step"].tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="folder"):
        runs.encode(layers, data, mode="test")


def test_tables_keep_runs_apart():
    layers, data = planted(n_stimuli=160, n_train=110, n_voxels=6)
    settings = dataclasses.replace(FAST, n_epochs=2)
    fit = layer_weighted.encode(layers, data, published=ZHOU, grid=[(1, 1)], settings=settings)
    assert fit.attrs["published"] == ZHOU
    rows = runs.summary(fit, run="first")
    assert rows[["run", "mode", "subject", "roi"]].to_numpy().tolist() == [
        ["first", "train", "a", "V1"],
        ["first", "train", "b", "V1"],
    ]
    means = runs.averages(rows)
    assert means[["run", "roi", "n"]].to_numpy().tolist() == [["first", "V1", 2]]
    assert means["mean"].item() == pytest.approx(fit["score"].mean().item())
    assert means["std"].item() == pytest.approx(fit["score"].values[0].std(ddof=1))
    table = layer_contributions.table(fit)
    assert table["layer"].tolist() == ["layer1", "layer2", "layer3"] * 2


def test_too_few_rows_and_unknown_names_are_errors():
    X, Y = np.ones((10, 2)), np.ones((10, 1))
    with pytest.raises(ValueError, match="fill a batch of 16"):
        training.train(X, Y, (X, Y), [2])
    with pytest.raises(ValueError, match="pcc"):
        training.Settings(metric="r")
    layers, data = planted(n_stimuli=60, n_train=40, n_voxels=2)
    with pytest.raises(ValueError, match="zhou2022"):
        runs.encode(layers, data, published="zhou")
    with pytest.raises(ValueError, match="all of the labels"):
        runs.encode(layers, data * np.nan)
    with pytest.raises(ValueError, match='leave none to test: split by "halves"'):
        runs.encode(layers, data.assign(train=data["train"] | True))
    with pytest.raises(ValueError, match="not so: short"):
        runs.encode({"short": np.ones((5, 2))}, data)
    bad = data["response"].values[0] * np.nan
    X = np.hstack(list(layers.values()))
    with pytest.raises(ValueError, match="not finite"):
        training.train(X, bad, (X, bad), [60] * 3, settings=dataclasses.replace(FAST, n_epochs=2))


@pytest.mark.gpu
def test_the_same_on_a_gpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    layers, data = planted()
    X, Y = np.hstack(list(layers.values())), data["response"].values[0]
    settings = dataclasses.replace(FAST, n_epochs=5)
    fits = [
        training.train(
            X[:450], Y[:450], (X[450:], Y[450:]), [60] * 3, settings=dataclasses.replace(settings, device=d)
        )
        for d in ("cpu", "cuda")
    ]
    # 1e-4: 140 steps of at most the rate, each off by rounding of single precision in the gradient's size
    np.testing.assert_allclose(fits[1].model.W.detach(), fits[0].model.W.detach(), atol=1e-4)
