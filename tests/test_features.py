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
import torch
import toy
import xarray as xr
from PIL import Image
from torch import nn

from lib import artefacts, features, models, stimuli

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


EXTRACTION = """
import re, sys
from pathlib import Path
import torch, toy
from torch import nn
from lib import features
folder, count = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
model = toy.vision(toy.network(wide=nn.Conv2d(3, 1000, 1), narrow=nn.MaxPool2d(2)), ("wide", "narrow"))
features.extract(model, toy.pictures(folder, count), folder / "features.nc", batch_size=4)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
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
        peaks.append(int(done.stdout) * 1024)
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
