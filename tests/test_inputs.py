"""The input alone as a model: the picture, and the cochleagram."""

import numpy as np
import torch

from lib import features, models, stimuli, synthesis


def test_pixels_are_the_picture_between_0_and_1():
    model = models.load("pixels")
    picture = np.zeros((64, 80, 3), np.uint8)
    picture[:, 8:72, 1] = np.arange(64)  # the central square is columns 8 to 71
    picture[:, :8] = picture[:, 72:] = 255
    x = model.preprocess(picture)
    out = model.module(x[None])[0]
    np.testing.assert_allclose(out.numpy()[1], np.broadcast_to(np.arange(64) / 255, (64, 64)), rtol=1e-6)
    assert out[[0, 2]].abs().max() == 0


def test_pixels_keep_the_mean_of_a_larger_picture():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (256, 256, 3), np.uint8)
    means = models.load("pixels").preprocess(picture).mean((1, 2)).numpy() * 255
    # Rounded to bytes twice, and borders weigh a little less: half a grey level.
    np.testing.assert_allclose(means, picture.mean((0, 1)), atol=0.5)


def test_cochleagram_is_the_first_stage_of_the_baseline():
    alone, baseline = models.load("cochleagram"), models.load("spectemp")
    waveform = np.random.default_rng(0).normal(size=40_000)
    x = alone.preprocess((waveform, 20_000))
    assert torch.equal(x, baseline.preprocess((waveform, 20_000)))
    assert torch.equal(alone.module(x[None]), baseline.module.cochleagram(x[None]))
    assert alone.time_axis == 2


def test_features_of_the_cochleagram_are_its_channels_averaged_over_time(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    table = synthesis.write_sounds(tmp_path / "data" / "sounds", n_per_category=1).head(2)
    model = models.load("cochleagram")
    features.extract(model, table, tmp_path / "features.nc")
    x = torch.stack([model.preprocess(stimuli.read(tmp_path / "data" / file)) for file in table["file"]])
    found = features.layer(tmp_path / "features.nc", "cochleagram")
    np.testing.assert_allclose(found, model.module(x).mean(-1), rtol=1e-5)
