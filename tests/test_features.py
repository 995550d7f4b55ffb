"""Features on disk are the network's layers, row by row, whatever the batch; memory is that of one batch."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
import test_videos
import torch
import toy
import xarray as xr
from PIL import Image
from torch import nn

from lib import activations, artefacts, budget, features, models, projection, stimuli, videos
from lib.reduction import Reduction

TESTS = Path(__file__).parent


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "extract" / "features.nc"


def _whole(path, layer, **choice):
    """A stored layer in one piece."""
    return np.concatenate(list(features.blocks(path, layer, **choice)), axis=1)


def _hooks(module):
    return sum(len(part._forward_hooks) for part in module.modules())


@pytest.mark.parametrize("batch_size", [1, 4, 7, 32])
def test_features_equal_a_forward_pass_over_each_picture(batch_size, tmp_path, path):
    model, table = toy.vision(), toy.pictures(tmp_path, 9)
    features.extract(model, table, path, batch_size=batch_size)
    assert features.layers(path) == model.layers
    assert features.identifiers(path) == table["stimulus"].tolist()
    for i, file in enumerate(table["file"]):
        inputs = model.preprocess(stimuli.read(tmp_path / "data" / file))[None]
        first = model.module[0](inputs)
        # Float32 sums of 27 and 36 products in another order.
        np.testing.assert_allclose(_whole(path, "first")[i], first.flatten(), rtol=0, atol=1e-6)
        np.testing.assert_allclose(
            _whole(path, "second")[i], model.module[1](first).flatten(), rtol=0, atol=1e-6
        )


def test_time_is_averaged_out_and_channels_stay(tmp_path, path):
    model, table = toy.audio(), toy.sounds(tmp_path, 5)
    features.extract(model, table, path, batch_size=2)
    for i, file in enumerate(table["file"]):
        sound, _ = soundfile.read(tmp_path / "data" / file)
        filtered = model.module[1](torch.from_numpy(sound).float()[None, None])
        assert filtered.shape[2] > 1
        np.testing.assert_allclose(_whole(path, "filtered")[i], filtered.mean(2)[0], rtol=0, atol=1e-6)
    assert _whole(path, "read").shape == (5, 3)


def test_outputs_without_time_are_kept(tmp_path, path):
    module = toy.network(flat=nn.Linear(800, 6))
    features.extract(
        dataclasses.replace(toy.audio(module, ("flat",)), time_axis=1), toy.sounds(tmp_path, 3), path
    )
    assert _whole(path, "flat").shape == (3, 6)


def test_file_opens_in_xarray_and_h5py_with_names_and_record(tmp_path, path):
    model, table = toy.vision(), toy.pictures(tmp_path, 6)
    features.extract(model, table, path, batch_size=4, target="somewhere")
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        assert dataset["first"].dims == ("stimulus", "unit_first")
        assert dataset["first"].dtype == np.float32
        assert dataset["stimulus"].to_numpy().tolist() == table["stimulus"].tolist()
        assert (dataset.attrs["model"], dataset.attrs["target"]) == ("toy", "somewhere")
        assert json.loads(dataset.attrs["layers"]) == ["first", "second"]
        np.testing.assert_array_equal(dataset["second"], _whole(path, "second"))
    with h5py.File(path) as file:
        assert file["first"].chunks == (4, 4 * 14 * 14)
        assert file.attrs["model_digest"] == model.digest


def test_digest_follows_weights_stimuli_and_layers(tmp_path):
    def digest(model, table, **choice):
        path = tmp_path / "features.nc"
        features.extract(model, table, path, **choice)
        return artefacts.load(path).attrs["digest"]

    table = toy.pictures(tmp_path, 4)
    other = toy.pictures(tmp_path / "other", 4, seed=1).assign(file=table["file"])
    base = digest(toy.vision(), table)
    assert digest(toy.vision(), table, batch_size=2) == base
    weights = toy.network(first=nn.Conv2d(3, 4, 3), second=nn.Conv2d(4, 5, 3, stride=2), seed=1)
    renamed = table.assign(stimulus=["a", "b", "c", "d"])
    changed = [digest(toy.vision(weights), table), digest(toy.vision(), table, layers=["first"])]
    changed += [digest(toy.vision(), renamed), digest(toy.vision(), table.iloc[::-1])]
    (tmp_path / "data").rename(tmp_path / "before")
    (tmp_path / "other" / "data").rename(tmp_path / "data")
    changed += [digest(toy.vision(), other)]
    assert len({base, *changed}) == 6


def test_blocks_join_by_identifier_in_the_order_asked_for(tmp_path, path):
    features.extract(toy.vision(), toy.pictures(tmp_path, 6), path)
    whole = _whole(path, "first")
    pieces = list(features.blocks(path, "first", n_units=100))
    assert [piece.shape for piece in pieces] == [(6, 100)] * 7 + [(6, 84)]
    assert pieces[0].dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)
    chosen = _whole(path, "first", ids=iter(["p0004", "p0001", "p0004"]), n_units=100)
    np.testing.assert_array_equal(chosen, whole[[4, 1, 4]])


def test_layer_on_disk_is_the_stored_layer(tmp_path, path):
    table = toy.pictures(tmp_path, 6)
    features.extract(toy.vision(), table, path)
    stored = features.layer(path, "second")
    assert stored.dims == ("stimulus", "unit")
    assert stored["stimulus"].to_numpy().tolist() == table["stimulus"].tolist()
    np.testing.assert_array_equal(stored[:, 5:50], _whole(path, "second")[:, 5:50])
    with pytest.raises(ValueError, match="did you mean second"):
        features.layer(path, "secnd")


def test_missing_stimuli_and_layers_are_named(tmp_path, path):
    features.extract(toy.vision(), toy.pictures(tmp_path, 3), path)
    with pytest.raises(ValueError, match=r"2 stimuli have no features, first \['q1', 'q2'\]"):
        next(features.blocks(path, "first", ids=["p0001", "q1", "q2"]))
    with pytest.raises(ValueError, match=r"unknown layer in .*; did you mean first"):
        next(features.blocks(path, "frist"))


def test_stimuli_that_may_not_be_handed_on_are_said_to_be_missing(tmp_path, path):
    bare = toy.pictures(tmp_path, 3).assign(file="", sha256="")
    artefacts.save_table(bare, tmp_path / "stimuli.csv")
    for table in (bare, artefacts.load_table(tmp_path / "stimuli.csv")):
        with pytest.raises(ValueError, match=r"'p0000' has no file.* where to ask for it"):
            features.extract(toy.vision(), table, path)
    assert not path.exists()


def test_second_extraction_of_the_same_stimuli_is_identical(tmp_path, path):
    model, table = toy.vision(), toy.pictures(tmp_path, 6)
    features.extract(model, table, path, batch_size=2)
    assert features.repeatability(model, table, path, n_stimuli=2) == {"first": 0, "second": 0}
    other = toy.vision(toy.network(first=nn.Conv2d(3, 4, 3), second=nn.Conv2d(4, 5, 3, stride=2), seed=1))
    assert min(features.repeatability(other, table, path).values()) > 0.1


def test_estimate_tells_the_bytes_on_disk(tmp_path, path):
    model, table = toy.vision(), toy.pictures(tmp_path, 50, size=120)
    cost = features.estimate(model, table, batch_size=8)
    features.extract(model, table, path, batch_size=8)
    assert cost["units"] == {name: _whole(path, name).shape[1] for name in model.layers}
    # Chunks are whole, so the last rows round up to a batch; names and attributes take some kB.
    assert cost["bytes"] <= path.stat().st_size < cost["bytes"] * 56 / 50 + 50_000
    assert 0 < cost["seconds"] < 60


@pytest.mark.parametrize("failing", ["pass", "write"])
def test_failure_leaves_no_file_no_hook_and_the_old_result(failing, tmp_path, path, monkeypatch):
    model, table = toy.vision(), toy.pictures(tmp_path, 6)
    features.extract(model, table, path, batch_size=2)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("no space left on device")

    if failing == "pass":
        model.module[1].register_forward_pre_hook(fail)
    else:
        monkeypatch.setattr(features, "_require_finite", fail)
    with pytest.raises(OSError, match="no space"):
        features.extract(model, table, path, batch_size=2)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["features.nc"]
    assert _hooks(model.module) == 0


class NotANumber(nn.Module):
    """0 / 0 for pictures whose first pixel is black."""

    def forward(self, x):
        return x / (x[:, :1, :1, :1] > 0)


def test_feature_that_is_not_finite_names_layer_and_stimulus(tmp_path, path):
    table = toy.pictures(tmp_path, 5)
    picture = np.full((16, 16, 3), 100, dtype=np.uint8)
    picture[0, 0] = 0
    Image.fromarray(picture).save(tmp_path / "data" / table["file"][3])
    table.loc[3, "sha256"] = stimuli.digest(tmp_path / "data" / table["file"][3])
    model = toy.vision(toy.network(broken=NotANumber()), ("broken",))
    with pytest.raises(ValueError, match=r"'broken' is not finite for stimuli \['p0003'\]"):
        features.extract(model, table, path, batch_size=2)


class Tokens(nn.Module):
    def forward(self, x):
        return x.flatten(2).permute(2, 0, 1)


class Windows(nn.Module):
    def forward(self, x):
        return x.flatten(0, 1)


class Twice(nn.Module):
    """Calls its only part again after its other layer."""

    def __init__(self):
        super().__init__()
        self.shared, self.last = nn.ReLU(), nn.Conv2d(3, 3, 3)

    def forward(self, x):
        return self.shared(self.last(self.shared(x)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (toy.vision(toy.network(windows=Windows()), ("windows",)), "axis 0 holds the batch together with"),
        (toy.vision(models.frozen(Twice()), ("shared",)), "'shared' is called more than once"),
        (toy.vision(layers=("frist",)), "unknown layer 'frist'; did you mean first"),
        (toy.audio(), "stimulus 'p0000': .* is of another modality"),
    ],
)
def test_what_cannot_be_recorded_is_refused(model, message, tmp_path, path):
    with pytest.raises(ValueError, match=message):
        features.extract(model, toy.pictures(tmp_path, 4), path)
    assert not path.exists()


def test_training_mode_is_refused(tmp_path, path):
    model = toy.vision()
    model.module.train()
    with pytest.raises(ValueError, match=r"call \.eval\(\)"):
        features.extract(model, toy.pictures(tmp_path, 3), path)


def test_faulty_tables_are_refused_by_name(tmp_path, path):
    model, table = toy.vision(), toy.pictures(tmp_path, 4)
    with pytest.raises(ValueError, match=r"repeat in the table, first \['p0001'\]"):
        features.extract(model, table.iloc[[0, 1, 1]], path)
    with pytest.raises(ValueError, match="no stimuli"):
        features.extract(model, table.iloc[:0], path)
    with pytest.raises(ValueError, match=r"'p0002': .*p0002\.png has changed"):
        features.extract(model, table.assign(sha256=[*table["sha256"][:2], "0" * 64, "1" * 64]), path)
    with pytest.raises(FileNotFoundError, match=r"gone\.png does not exist"):
        features.extract(model, table.assign(file="gone.png"), path)


def test_stimulus_of_another_shape_is_named(tmp_path, path):
    table = toy.pictures(tmp_path, 3)
    wide = toy.pictures(tmp_path / "wide", 1, size=20)
    (tmp_path / "wide" / "data" / wide["file"][0]).rename(tmp_path / "data" / table["file"][2])
    table.loc[2, "sha256"] = wide["sha256"][0]
    for batch_size in (1, 3):
        with pytest.raises(
            ValueError, match=r"'p0002': shape \(3, 20, 20\) differs from the first's, \(3, 16, 16\)"
        ):
            features.extract(toy.vision(), table, path, batch_size=batch_size)


def test_layers_changed_in_place_are_stored_as_they_were(tmp_path, path):
    module = toy.network(a=nn.Conv2d(3, 4, 3), b=nn.ReLU(inplace=True))
    features.extract(toy.vision(module, ("a", "b")), toy.pictures(tmp_path, 3), path)
    before, after = _whole(path, "a"), _whole(path, "b")
    assert (before < 0).any()
    np.testing.assert_array_equal(np.maximum(before, 0), after)


def test_tokens_before_the_batch_are_stored_batch_first(tmp_path, path):
    table = toy.pictures(tmp_path, 5)
    module = toy.network(first=nn.Conv2d(3, 4, 3, stride=5), tokens=Tokens())
    features.extract(toy.vision(module, ("first", "tokens")), table, path, batch_size=2)
    first = _whole(path, "first").reshape(5, 4, 9)
    np.testing.assert_array_equal(_whole(path, "tokens").reshape(5, 9, 4), first.transpose(0, 2, 1))
    for pooling, expected in (("cls", first[:, :, 0]), ("mean", first.mean(2)), ("max", first.max(2))):
        features.extract(toy.vision(module, ("tokens",)), table, path, reduce=Reduction(pooling))
        np.testing.assert_allclose(_whole(path, "tokens"), expected, rtol=0, atol=1e-6)


def test_layers_are_chosen_by_name_pattern_or_block(tmp_path, path):
    model, table = toy.vision(), toy.pictures(tmp_path, 3)
    for layers, expected in (
        ("second", ("second",)),
        ("*", ("first", "second")),
        ("every-block", ("first", "second")),
    ):
        features.extract(model, table, path, layers=layers)
        assert features.layers(path) == expected
    assert features.units(path) == {"first": 784, "second": 180}
    # The same block twice, in one file beside the mean over both calls.
    module, names = models.frozen(Twice()), "shared#1 last shared#2"
    features.extract(toy.vision(module), table, path, layers=names)
    assert features.layers(path) == tuple(names.split())
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        np.testing.assert_array_equal(dataset["shared#2"], np.maximum(dataset["last"], 0))


@pytest.mark.parametrize("batch_size", [1, 3, 40])
def test_features_of_videos_are_means_over_every_fourth_frame(batch_size, tmp_path, path):
    pytest.importorskip("av")
    rng = np.random.default_rng(0)
    (tmp_path / "data" / "clips").mkdir(parents=True)
    for name, n_frames in (("a", 9), ("b", 20), ("c", 4), ("d", 13)):
        pictures = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(n_frames)]
        test_videos.write(tmp_path / "data" / "clips" / f"{name}.mp4", pictures)
    table = toy.table(tmp_path, [f"clips/{name}.mp4" for name in "abcd"])
    model = toy.vision()
    features.extract(model, table, path, batch_size=batch_size)
    for i, file in enumerate(table["file"]):
        frames = videos.frames(tmp_path / "data" / file, every=4)
        assert len(frames) == [2, 5, 1, 3][i]
        found = activations.record(model.module, torch.stack([*map(toy.pixels, frames)]), model.layers)
        for layer in model.layers:
            # Float32 sums in another order.
            np.testing.assert_allclose(
                _whole(path, layer)[i], found[layer].mean(0).flatten(), rtol=0, atol=1e-6
            )


def _project(path, name, n_units, n_kept):
    matrix = projection.SparseProjection(n_units, n_kept, name=name, seed=5)
    return matrix(torch.from_numpy(_whole(path, name))).numpy()


def test_random_projection_on_the_fly_equals_that_of_the_stored_layer(tmp_path, path, monkeypatch):
    monkeypatch.setattr(projection, "dimension", lambda n_stimuli: 20 * n_stimuli)
    model, table = toy.vision(), toy.pictures(tmp_path, 9)
    features.extract(model, table, path)
    expected = _project(path, "first", 784, 180), _whole(path, "second")
    reduce, other = Reduction(projection="srp", seed=5), path.with_name("srp.nc")
    features.extract(model, table, other, reduce=reduce, batch_size=4)
    assert features.reductions(other) == reduce
    np.testing.assert_allclose(_whole(other, "first"), expected[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(_whole(other, "second"), expected[1], rtol=0, atol=1e-6)
    assert features.repeatability(model, table, other, n_stimuli=4) == {"first": 0, "second": 0}
    few = dataclasses.replace(reduce, fitted_on=("p0000", "p0007", "p0008"))
    features.extract(model, table, other, reduce=few)
    assert features.units(other) == {"first": 60, "second": 60}


@pytest.mark.parametrize("names", [(), ("p0000", "p0003", "p0004", "p0006")])
def test_principal_components_are_those_of_the_stored_layer(names, tmp_path, path):
    model, table = toy.vision(), toy.pictures(tmp_path, 7)
    features.extract(model, table, path)
    reduce, other = Reduction(projection="pca", fitted_on=names), path.with_name("pca.nc")
    features.extract(model, table, other, reduce=reduce, batch_size=3)
    fitted = table["stimulus"].isin(names).to_numpy() if names else None
    for layer in model.layers:
        expected = projection.principal_components([_whole(path, layer)], fitted_on=fitted)
        assert expected.shape == (7, 3 if names else 6)
        np.testing.assert_allclose(_whole(other, layer), expected, rtol=0, atol=1e-5)
    assert features.repeatability(model, table, other) == {}
    assert [file.name for file in sorted(path.parent.iterdir())] == ["features.nc", "pca.nc"]
    with pytest.raises(ValueError, match=r"1 stimuli have no features, first \['q'\]"):
        features.extract(model, table, other, reduce=Reduction(projection="pca", fitted_on=("q",)))


@pytest.mark.parametrize("how", ["", "pca"])
def test_half_precision_is_stored_with_its_error_and_read_as_single(how, tmp_path, path):
    model, table = toy.vision(), toy.pictures(tmp_path, 6)
    features.extract(model, table, path, reduce=Reduction(projection=how))
    half = path.with_name("half.nc")
    features.extract(model, table, half, batch_size=2, reduce=Reduction(projection=how, precision="float16"))
    with h5py.File(half) as file:
        assert file["first"].dtype == np.float16
    assert features.layer(half, "first").dtype == next(features.blocks(half, "first")).dtype == np.float32
    errors = features.rounding(half)
    assert features.rounding(path) == {"first": 0, "second": 0}
    for layer in model.layers:
        single, rounded = _whole(path, layer), features.layer(half, layer).to_numpy()
        assert 0 < errors[layer] <= 2**-11
        assert np.abs(rounded - single).max() <= errors[layer] * np.abs(single).max() + 1e-6
    if not how:
        assert features.repeatability(model, table, half) == {"first": 0, "second": 0}
        with h5py.File(path) as full, h5py.File(half) as file:
            assert file["first"].id.get_storage_size() * 2 == full["first"].id.get_storage_size()


class Loud(nn.Module):
    def forward(self, x):
        return 1e6 * x


def test_what_half_precision_cannot_hold_is_refused_by_layer(tmp_path, path):
    model = toy.vision(toy.network(quiet=nn.Identity(), loud=Loud()), ("quiet", "loud"))
    with pytest.raises(
        ValueError, match=r"layer 'loud': values up to 1e.06 exceed .* float16.* leave the layer out"
    ):
        features.extract(model, toy.pictures(tmp_path, 3), path, reduce=Reduction(precision="float16"))
    assert not path.exists()


def test_digest_follows_the_reduction(tmp_path, path):
    model, table = toy.vision(), toy.pictures(tmp_path, 4)
    found = []
    for reduce in (
        Reduction(),
        Reduction("mean"),
        Reduction(precision="float16"),
        Reduction(projection="pca"),
    ):
        features.extract(model, table, path, reduce=reduce)
        found.append(artefacts.load(path).attrs["digest"])
    assert len(set(found)) == 4


KILLED = """
import os, signal, sys
from pathlib import Path
import toy
from lib import features
from lib.reduction import Reduction
folder, last, how = Path(sys.argv[1]), int(sys.argv[2]), eval(sys.argv[3])
model, table = toy.vision(), __import__("pandas").read_csv(folder / "stimuli.csv")
write = features.partial.Partial.write
def writing(part, rows, note):
    if part.done == last:
        part.file["first"][last : last + 1] = 7  # half of a batch
        part.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    write(part, rows, note)
features.partial.Partial.write = writing
features.extract(model, table, folder / "features.nc", batch_size=2, reduce=Reduction(**how))
"""


@pytest.mark.parametrize("how", [{}, {"projection": "pca"}, {"precision": "float16"}])
def test_killed_extraction_goes_on_at_the_next_batch_and_ends_the_same(how, tmp_path, monkeypatch):
    table, path = toy.pictures(tmp_path, 9), tmp_path / "features.nc"
    artefacts.save_table(table, tmp_path / "stimuli.csv")
    monkeypatch.setenv("PYTHONPATH", f"{TESTS}:{artefacts.ROOT}")
    command = [sys.executable, "-c", KILLED, str(tmp_path), "6", repr(how)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -9
    assert not path.exists()
    artefacts.sweep(tmp_path)
    passed = []
    rows = features.passes.Passes.rows
    monkeypatch.setattr(
        features.passes.Passes, "rows", lambda *a, **k: passed.append(len(a[1])) or rows(*a, **k)
    )
    features.extract(toy.vision(), table, path, batch_size=2, reduce=Reduction(**how))
    assert passed == [2, 1]
    whole = tmp_path / "whole.nc"
    features.extract(toy.vision(), table, whole, batch_size=2, reduce=Reduction(**how))
    with xr.open_dataset(path, engine="h5netcdf") as a, xr.open_dataset(whole, engine="h5netcdf") as b:
        xr.testing.assert_identical(a.load(), b.load())
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("other", ["weights", "stimuli", "layers", "batch", "reduction", "code", "settings"])
def test_what_was_begun_from_anything_else_is_done_anew(other, tmp_path, path, monkeypatch):
    table, how = toy.pictures(tmp_path, 8), {"batch_size": 2}
    model, rows, passed = toy.vision(), features.passes.Passes.rows, []

    def interrupted(*given, **options):
        passed.append(1)
        if len(passed) == 4:
            raise KeyboardInterrupt
        return rows(*given, **options)

    monkeypatch.setattr(features.passes.Passes, "rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        features.extract(model, table, path, **how)
    if other == "weights":
        model = dataclasses.replace(model, digest="0" * 64)
    elif other == "stimuli":
        table = table.assign(stimulus=table["stimulus"].str.upper())
    elif other == "code":
        monkeypatch.setattr(features, "_code", lambda: "another")
    elif other != "settings":
        how |= {
            "layers": {"layers": "second"},
            "batch": {"batch_size": 4},
            "reduction": {"reduce": Reduction("max")},
        }[other]
    if other == "settings":
        monkeypatch.setattr(features, "_record", lambda *a, record=features._record: record(*a) | {"x": 1})
    features.extract(model, table, path, **how)
    assert len(passed) == 4 + (2 if other == "batch" else 4)


def test_too_large_for_the_disk_or_the_memory_is_refused_with_alternatives(tmp_path, path, monkeypatch):
    model, table = toy.vision(), toy.pictures(tmp_path, 6)
    cost = features.estimate(model, table)
    with monkeypatch.context() as patch:
        patch.setattr(budget, "free_disk", lambda _: cost["bytes"])
        with pytest.raises(
            ValueError, match=r'be written, but only .* pooling="mean": 216 B;.* precision="float16"'
        ):
            features.extract(model, table, path)
        features.extract(model, table, path, reduce=Reduction(precision="float16"))
    with monkeypatch.context() as patch:
        patch.setattr(budget, "free_memory", lambda: cost["extra_memory"] / 2)
        with pytest.raises(ValueError, match=r"batches of 8 take .* Alternatives: batch_size=[23],"):
            features.extract(model, table, path)


def test_estimate_foretells_units_and_bytes_of_each_reduction(tmp_path, path):
    model, table = toy.vision(), toy.pictures(tmp_path, 12)
    for how in ({"pooling": "mean"}, {"projection": "pca"}, {"precision": "float16"}, {"projection": "srp"}):
        cost = features.estimate(model, table, reduce=Reduction(**how))
        features.extract(model, table, path, reduce=Reduction(**how))
        assert cost["units"] == features.units(path)
        stored = sum(features.layer(path, name).size for name in model.layers)
        assert cost["bytes"] == stored * (2 if "precision" in how else 4)
        assert cost["peak_disk"] == cost["bytes"] + (4 * 12 * 964 if how == {"projection": "pca"} else 0)


EXTRACTION = """
import re, sys
from pathlib import Path
import torch, toy
from torch import nn
from lib import features
folder, count = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
model = toy.vision(toy.network(wide=nn.Conv2d(3, 1000, 1), narrow=nn.MaxPool2d(2)), ("wide", "narrow"))
table = toy.pictures(folder, count)
expected = features.estimate(model, table, batch_size=4)["peak_memory"]
features.extract(model, table, folder / "features.nc", batch_size=4)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1], expected)
"""


def test_ten_times_the_stimuli_need_the_same_memory(tmp_path, monkeypatch):
    # Not getrusage: its peak starts from that of the process that started this one.
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc to read a process's own peak memory")
    peaks = []
    for count in (16, 160):
        home = tmp_path / str(count)
        home.mkdir()
        monkeypatch.setenv("COMPENDIUM_HOME", str(home))
        monkeypatch.setenv("PYTHONPATH", f"{TESTS}:{artefacts.ROOT}")
        command = [sys.executable, "-c", EXTRACTION, str(home), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peak, expected = map(int, done.stdout.split())
        peaks.append(peak * 1024)
        assert abs(expected / peaks[-1] - 1) < 0.25
    stored = (tmp_path / "160" / "features.nc").stat().st_size
    # Holding what is stored would show: it is more than twice the tolerance.
    assert stored > 0.2 * peaks[0]
    assert abs(peaks[1] / peaks[0] - 1) < 0.1


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["crepe_tiny", "efficientnet_lite0"])
def test_gpu_and_cpu_agree(name, tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = models.load(name)
    table = (
        toy.sounds(tmp_path, 6, n_samples=16000) if model.modality == "audio" else toy.pictures(tmp_path, 6)
    )
    for device in ("cpu", "cuda"):
        features.extract(model, table, tmp_path / f"{device}.nc", device=device)
    for layer in model.layers:
        cpu, gpu = (_whole(tmp_path / f"{device}.nc", layer) for device in ("cpu", "cuda"))
        # Full float32 on both: sums in another order through up to 50 layers.
        assert np.abs(gpu - cpu).max() < 1e-3 * np.abs(cpu).max()


@pytest.mark.parametrize(("scaled", "published"), [(False, None), (True, None), (False, "tuckute2023")])
def test_effective_dimensionality_equals_that_of_the_covariance(scaled, published, tmp_path):
    rng = np.random.default_rng(0)
    values = (rng.standard_normal((12, 30)) * rng.uniform(0.1, 9, 30) + 5).astype(np.float32)
    values[:, 7] = 3.7  # a unit that never varies
    path = tmp_path / "features.nc"
    with h5py.File(path, "w") as file:
        file.attrs["layers"] = '["fc"]'
        file["fc"] = values
    centred = values - values.mean(axis=0, dtype=float)
    if scaled:
        centred[:, np.arange(30) != 7] /= centred[:, np.arange(30) != 7].std(axis=0)
        centred[:, 7] = 0
    # as published, stimuli are the variables of the covariance, each centred over units; else units are
    eigenvalues = np.linalg.eigvalsh(np.cov(centred) if published else np.cov(centred.T, bias=True))
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    found = features.effective_dimensionality(path, "fc", scaled=scaled, published=published)
    assert found == pytest.approx(expected, rel=1e-9)
    assert 1 < found < 11


def test_units_that_never_vary_have_no_dimensions(tmp_path):
    path = tmp_path / "features.nc"
    with h5py.File(path, "w") as file:
        file.attrs["layers"] = '["fc"]'
        file["fc"] = np.full((5, 3), 0.1, np.float32)
    for scaled in (False, True):
        assert np.isnan(features.effective_dimensionality(path, "fc", scaled=scaled))
    with pytest.raises(ValueError, match="published rule"):
        features.effective_dimensionality(path, "fc", published="tuckute")
