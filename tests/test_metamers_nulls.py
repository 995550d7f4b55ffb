"""Likeness of activations, and of those of random pairs: against SciPy, closed forms and the published programs."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import toy
from scipy import stats
from torch import nn

from lib import models
from lib.metamers import canvas, distances, nulls

TINY = ("input_after_preproc", "relu1", "relu2", "avgpool", "final")
# Of stored weights: names in the oracle, and ours in lib/models.
RESNET = {"layer1_fake_relu": "layer1.2", "layer2_fake_relu": "layer2.2", "layer2": "layer2.2"}
RESNET |= {"layer3_fake_relu": "layer3.2", "final": "linear"}


@pytest.fixture(scope="module")
def folder():
    if not os.environ.get("COMPENDIUM_REFERENCE"):
        pytest.skip("COMPENDIUM_REFERENCE is not set: the traces of the published programs cannot be read")
    return Path(os.environ["COMPENDIUM_REFERENCE"])


@pytest.fixture(scope="module")
def oracle(folder):
    with np.load(folder / "metamer_oracle.npz") as stored:
        return {key: stored[key] for key in stored.files if key.split("/")[0] in ("tiny", "resnet20")}


def activations(seed, shape=(5, 400)):
    """Rectified noise: half of the values are tied at 0."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).clamp(min=0)


def test_ranks_equal_scipys():
    x = activations(0)
    np.testing.assert_array_equal(distances.ranks(x), stats.rankdata(x, axis=1))
    assert distances.ranks(torch.tensor([[1.0, torch.nan]])).isnan().all()


def test_correlations_equal_scipys():
    a, b = activations(0), activations(1) + activations(0) / 2
    found = distances.between(a, b)
    for i in range(len(a)):
        np.testing.assert_allclose(found["spearman"][i], stats.spearmanr(a[i], b[i]).statistic, rtol=1e-12)
        wanted = stats.pearsonr(a[i].double(), b[i].double()).statistic
        np.testing.assert_allclose(found["pearson"][i], wanted, rtol=1e-12)


def test_a_tenth_of_the_amplitude_is_20_decibels_and_10_as_published():
    signal = activations(0)
    assert torch.allclose(distances.between(signal, 0.9 * signal)["snr_db"], torch.tensor(20.0).double())
    half = distances.between(signal, 0.9 * signal, published="feather2023")["snr_db"]
    assert torch.allclose(half, torch.tensor(10.0).double())


def test_degenerate_activations_are_said_to_be_so():
    a, flat, zero = activations(0)[:1], torch.full((1, 400), 0.1), torch.zeros(1, 400)
    same = distances.between(a, a)
    assert same["snr_db"].item() == np.inf
    np.testing.assert_allclose([same["spearman"].item(), same["pearson"].item()], 1, rtol=1e-12)
    for pair in ((a, flat), (flat, a)):
        found = distances.between(*pair)
        assert found["spearman"].isnan().all()
        assert found["pearson"].isnan().all()
        assert found["snr_db"].isfinite().all()
    assert distances.between(zero, zero)["snr_db"].isnan().all()
    odd = distances.between(a, torch.where(a > 2, torch.inf, a))
    assert all(values.isnan().all() for values in odd.values())


def test_measures_take_any_shape_and_refuse_unequal_ones():
    a, b = activations(0, (3, 4, 5, 6)), activations(1, (3, 4, 5, 6))
    flat = distances.between(a.flatten(1), b.flatten(1))
    assert all(torch.equal(values, flat[name]) for name, values in distances.between(a, b).items())
    with pytest.raises(ValueError, match="shapes"):
        distances.between(a, b[:, 1:])
    with pytest.raises(ValueError, match="feather2023"):
        distances.between(a, b, published="feather2022")


@pytest.mark.reference
def test_the_toy_distances_are_the_published_ones(folder):
    wanted = json.loads((folder / "metamers.json").read_text())["toy_checks"]["distance_measures"]
    pair = torch.tensor([wanted["orig"]]), torch.tensor([wanted["metamer"]])
    found = distances.between(*pair, published="feather2023")
    for ours, theirs in zip((*distances.MEASURES, *distances.NORMS), found, strict=True):
        assert ours == theirs
    names = {"snr_db": "dB_SNR"}
    for name, value in found.items():
        # Printed to 12 digits.
        np.testing.assert_allclose(value.item(), wanted[names.get(name, name)], rtol=1e-11)


# The tiny network of the published programs


class Tiny(nn.Module):
    """Two convolutions, the mean over space and a read-out; input normalised inside."""

    def __init__(self, stored):
        super().__init__()
        self.input_after_preproc, self.relu1, self.relu2 = nn.Identity(), nn.ReLU(), nn.ReLU()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.avgpool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc, self.final = nn.Linear(12, 10), nn.Identity()
        prefix = "tiny/weights/"
        state = {k.removeprefix(prefix): torch.from_numpy(v) for k, v in stored.items() if prefix in k}
        self.load_state_dict(state)

    def forward(self, x):
        mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        z = self.conv1(self.input_after_preproc((x - mean) / std))
        z = self.avgpool(self.relu2(self.conv2(self.relu1(z))))
        return self.final(self.fc(z))


@pytest.fixture(scope="module")
def tiny(oracle):
    return canvas.of(toy.vision(models.frozen(Tiny(oracle)), TINY))


def unfaked(layer):
    """The true layer of a name: values of the false gradient's branch are the same."""
    return layer.removesuffix("_fake_relu")


def pictures(stored):
    """Pictures of 8 bits as the programs gave them to a network."""
    return torch.from_numpy(stored).permute(0, 3, 1, 2).float() / 255


@pytest.mark.reference
def test_distances_of_metamers_are_the_published_ones(oracle, tiny):
    layers = [unfaked(layer) for layer in oracle["tiny/layers"].tolist()]
    original = nulls.activity(tiny, pictures(oracle["tiny/image"][None]), TINY)
    for row, tapped in enumerate(oracle["tiny/layers"].tolist()):
        metamer = torch.from_numpy(oracle[f"tiny/{tapped}/x"][-1:])
        active = nulls.activity(tiny, metamer, TINY)
        for column, measured in enumerate(layers):
            found = distances.between(original[measured], active[measured], published="feather2023")
            wanted = oracle["tiny/distances"][row, column]
            # Theirs were computed in float32.
            np.testing.assert_allclose(
                torch.cat(list(found.values())), wanted, rtol=1e-5, atol=1e-6, equal_nan=True
            )


@pytest.mark.reference
@pytest.mark.mirror
def test_distances_of_a_residual_networks_metamers_are_the_published_ones(oracle, tmp_path, monkeypatch):
    if not os.environ.get("DATA_MIRROR"):
        pytest.skip("DATA_MIRROR is not set: the weights of ResNet-20 cannot be read")
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    network = canvas.of(models.load("resnet20_cifar10"))
    names = oracle["resnet20/layers"].tolist()
    ours = {name: RESNET[name] for name in names}
    used = list(dict.fromkeys(ours.values()))
    original = nulls.activity(network, pictures(oracle["resnet20/image"][None]), used)
    for row, tapped in enumerate(names):
        active = nulls.activity(network, torch.from_numpy(oracle[f"resnet20/{tapped}/x"][-1:]), used)
        for column, measured in enumerate(names):
            layer = ours[measured]
            found = distances.between(original[layer], active[layer], published="feather2023")
            np.testing.assert_allclose(
                torch.cat(list(found.values())), oracle["resnet20/distances"][row, column], rtol=1e-4
            )


@pytest.mark.reference
@pytest.mark.parametrize("batch_size", [2, 5, 12])
def test_nulls_are_the_published_ones(oracle, tiny, batch_size):
    shown = pictures(oracle["tiny/null_pairs"])
    paired = nulls.pairs(len(shown), published="feather2023", shuffled=False)
    table = nulls.distribution(
        tiny, shown, TINY, paired=paired, published="feather2023", batch_size=batch_size
    )
    columns = [*distances.MEASURES, *distances.NORMS]
    for at, layer in enumerate(oracle["tiny/layers"].tolist()):
        found = table.loc[table["layer"] == unfaked(layer), columns].to_numpy().T
        np.testing.assert_allclose(found, oracle["tiny/null"][:, at], rtol=2e-5, atol=1e-6)
    null = nulls.summary(table, published="feather2023").set_index(["layer", "measure"])
    # The last pair is twice the same picture.
    assert null.loc[("relu1", "snr_db"), "n_infinite"] == 1
    assert null.loc[("relu1", "pearson"), "n_infinite"] == 0
    assert null.loc[("relu1", "pearson"), "maximum"] == pytest.approx(1)
    ours = nulls.summary(table).set_index(["layer", "measure"])
    assert (ours["n_infinite"] == 1).all()
    assert ours.loc[("relu1", "pearson"), "maximum"] < 0.999


# Pairs


@pytest.mark.parametrize("n", [2, 3, 50])
def test_all_pairs_are_all_there_are(n):
    paired = nulls.pairs(n)
    assert {tuple(sorted(pair)) for pair in paired.tolist()} == {(i, j) for j in range(n) for i in range(j)}


def test_drawn_pairs_are_distinct_and_follow_the_seed():
    paired = nulls.pairs(4000, n_pairs=500, seed=3)
    assert (paired[:, 0] != paired[:, 1]).all()
    assert len({tuple(sorted(pair)) for pair in paired.tolist()}) == 500
    assert 0 < (paired[:, 0] < paired[:, 1]).mean() < 1
    np.testing.assert_array_equal(paired, nulls.pairs(4000, n_pairs=500, seed=3))
    assert (paired != nulls.pairs(4000, n_pairs=500, seed=4)).any()
    assert paired.max() > 3900


def test_published_pairs_use_each_stimulus_once():
    neighbours = nulls.pairs(7, published="feather2023", shuffled=False)
    np.testing.assert_array_equal(neighbours, [[0, 1], [2, 3], [4, 5]])
    shuffled = nulls.pairs(100, published="feather2023", seed=1)
    assert sorted(shuffled.ravel().tolist()) == list(range(100))
    np.testing.assert_array_equal(
        nulls.pairs(7, n_pairs=4, published="feather2023", shuffled=False), neighbours
    )


def test_without_pairs_there_is_no_null():
    assert len(nulls.pairs(4, n_pairs=1000)) == 6
    with pytest.raises(ValueError, match="of 1 stimuli there are 0"):
        nulls.pairs(1)
    with pytest.raises(ValueError, match="0 pairs are wanted; of 7 stimuli there are 21"):
        nulls.pairs(7, n_pairs=0)


# Distribution


@pytest.fixture(scope="module")
def shown():
    return canvas.of(toy.vision())


def test_tiles_of_stimuli_change_nothing(shown):
    x = torch.rand(11, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    paired = nulls.pairs(11, n_pairs=40, seed=1)
    layers = ("first", "second")
    how = [{"batch_size": 11}, {"batch_size": 3}, {"batch_size": 2, "memory": 70_000}, {"memory": 1}]
    tables = [nulls.distribution(shown, x, layers, paired=paired, **one) for one in how]
    whole = tables[0]
    assert whole["pair"].tolist() == [*range(40)] * 2
    assert whole["layer"].tolist() == ["first"] * 40 + ["second"] * 40
    np.testing.assert_array_equal(whole[["first", "second"]].to_numpy()[:40], paired)
    for table in tables[1:]:
        np.testing.assert_allclose(table.iloc[:, 4:], whole.iloc[:, 4:], rtol=1e-4)
    active = nulls.activity(shown, x, layers)
    direct = distances.between(active["second"][paired[:, 0]], active["second"][paired[:, 1]])
    np.testing.assert_allclose(whole["snr_db"][40:], direct["snr_db"], rtol=1e-4)


def test_no_more_activations_are_kept_than_there_is_memory_for(shown, monkeypatch):
    runs = []
    run = nulls._run

    def counted(canvas, stimuli, layers, wanted, batch_size):
        runs.append((tuple(layers), len(wanted)))
        return run(canvas, stimuli, layers, wanted, batch_size)

    monkeypatch.setattr(nulls, "_run", counted)
    x = torch.rand(24, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    # First 784 units, second 180, of 12 bytes each: the second fits for all, of the first two tiles of four.
    small, large = 24 * 180 * 12, 8 * 784 * 12
    assert small < large < 24 * 784 * 12
    nulls.distribution(shown, x, ["first", "second"], paired=nulls.pairs(24), memory=large)
    assert [count for layers, count in runs if layers == ("second",)] == [24]
    tiled = [count for layers, count in runs if layers == ("first",)]
    assert max(tiled) <= 8
    # Six tiles: each of 15 pairs of tiles runs one at most, and each row its own.
    assert sum(tiled) <= 24 + 15 * 4
    runs.clear()
    nulls.distribution(shown, x, ["first", "second"], paired=nulls.pairs(24))
    assert runs == [(("second", "first"), 24)]


def test_stimuli_are_read_from_files(shown, tmp_path):
    table = toy.pictures(tmp_path, 5)
    files = [tmp_path / "data" / file for file in table["file"]]
    x = torch.stack([shown.stimulus(file) for file in files])
    paired = nulls.pairs(5)
    a, b = (nulls.distribution(shown, s, ["first"], paired=paired, batch_size=2) for s in (files, x))
    assert a.equals(b)


def test_silent_activations_count_as_unlike_as_published():
    x = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    dead = canvas.of(toy.vision(toy.network(first=Gate()), ("first",)))
    x[1] = x[3] = 0
    paired = np.array([[0, 1], [0, 2], [1, 3]])
    ours, theirs = (
        nulls.distribution(dead, x, ["first"], paired=paired, published=rule)
        for rule in (None, "feather2023")
    )
    assert ours["pearson"].isna().tolist() == [True, False, True]
    assert theirs.loc[[0, 2], list(distances.MEASURES)].eq(0).all(axis=None)
    assert theirs.loc[0, "norm_signal"] > 0
    null = nulls.summary(ours).set_index("measure")
    # Twice silence: not told apart. Sound and silence: a ratio of 1, no correlation.
    assert (null["n_infinite"] == 1).all()
    assert null["n_undefined"].to_dict() == {"spearman": 1, "pearson": 1, "snr_db": 0}


class Gate(nn.Module):
    """Passes what it is given."""

    def forward(self, x):
        return x.flatten(1)


def test_few_pairs_say_how_little_they_are_worth(shown):
    x = torch.rand(9, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    null = nulls.summary(nulls.distribution(shown, x, ["first"], paired=nulls.pairs(9)))
    # 36 pairs of 9 stimuli; four of them share none.
    assert (null["n_pairs"] == 36).all()
    assert (null["n_stimuli"] == 9).all()
    assert (null["chance"] == 1 / 5).all()
    assert (null["median"] <= null["q95"]).all()
    assert (null["q95"] <= null["maximum"]).all()


def test_further_pairs_lie_above_the_maximum_no_more_often_than_said():
    # Stimuli of one dimension, likeness minus their distance: pairs that share a stimulus depend on each other.
    rng, above, n_runs = np.random.default_rng(0), 0, 4000
    for _ in range(n_runs):
        x = rng.standard_normal(11)
        nearest = np.abs(np.subtract.outer(x[:9], x[:9])[~np.eye(9, dtype=bool)]).min()
        above += abs(x[9] - x[10]) < nearest
    bound, exact = 1 / 5, 1 / 37
    # Between a 37th, were the 36 pairs independent, and what is said; four standard errors.
    error = 4 * np.sqrt(bound * (1 - bound) / n_runs)
    assert above / n_runs <= bound + error
    assert above / n_runs >= exact - 4 * np.sqrt(exact * (1 - exact) / n_runs)
