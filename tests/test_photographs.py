"""Crops of the bundled photographs: exact repetition, true excerpts, enough variety."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from lib import photographs
from lib.artefacts import home


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))


@pytest.mark.parametrize("name", photographs.PHOTOGRAPHS)
def test_each_photograph_is_carried_and_large_enough(name):
    picture = photographs.photograph(name)
    assert picture.mode == "RGB"
    assert min(picture.size) >= 2 * photographs.SMALLEST


def test_a_photograph_that_is_not_carried_is_an_error(monkeypatch):
    monkeypatch.setitem(photographs.PHOTOGRAPHS, "none", ("skimage.data", "none.png"))
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        photographs.photograph("none")


def test_crops_are_excerpts_of_growing_width():
    # A picture whose red grows to the right and whose green grows downwards tells place and width of a crop.
    ramp = np.linspace(0, 255, 400)
    pixels = np.stack([np.tile(ramp, (400, 1)), np.tile(ramp[:, None], 400), np.zeros((400, 400))], axis=-1)
    found = photographs.crops(
        Image.fromarray(pixels.round().astype("uint8")), n=10, rng=np.random.default_rng(0)
    )
    assert found.shape == (10, 224, 224, 3)
    assert found.dtype == np.uint8
    # from margin to margin the ramp rises by the crop's width, up to two steps of rounding at the ends
    width = (found[:, 112, -1, 0].astype(float) - found[:, 112, 0, 0]) * 400 / 255
    height = (found[:, -1, 112, 1].astype(float) - found[:, 0, 112, 1]) * 400 / 255
    assert np.allclose(width, height, atol=7)
    bounds = photographs.SMALLEST * (400 / photographs.SMALLEST) ** (np.arange(11) / 10)
    assert (width > bounds[:-1] - 7).all()
    assert (width < bounds[1:] + 7).all()


def test_variation_leaves_the_crop_itself_alone_and_follows_the_generator():
    crop = np.asarray(photographs.photograph("chelsea").resize((64, 64)))
    before = crop.copy()
    varied = [photographs.varied(crop, np.random.default_rng(seed)) for seed in (0, 0, *range(1, 40))]
    assert np.array_equal(crop, before)
    assert all(v.shape == crop.shape and v.dtype == np.uint8 for v in varied)
    assert np.array_equal(varied[0], varied[1])
    colour = np.array([np.ptp(v.astype(float), axis=-1).mean() for v in varied])
    assert (colour < 1).any()
    assert colour.max() > np.ptp(crop.astype(float), axis=-1).mean()
    light = np.array([v.mean() for v in varied]) / crop.mean()
    assert light.min() < 0.8
    assert light.max() > 1.1


def test_written_crops_are_tabulated_and_the_same_each_time(tmp_path, monkeypatch):
    some = {name: photographs.PHOTOGRAPHS[name] for name in ("astronaut", "china")}
    monkeypatch.setattr(photographs, "PHOTOGRAPHS", some)
    folder = tmp_path / "data" / "download" / "toy" / "stimuli"
    table = photographs.write_crops(folder, n_per_photograph=3)
    assert table["stimulus"].tolist() == [f"{name}_{k:02d}" for name in some for k in range(3)]
    assert table["group"].tolist() == ["astronaut"] * 3 + ["china"] * 3
    for row in table.itertuples():
        path = home() / "data" / row.file
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row.sha256
        with Image.open(path) as picture:
            assert (picture.size, picture.mode) == ((224, 224), "RGB")
    assert photographs.write_crops(folder, n_per_photograph=3).equals(table)
    other = photographs.write_crops(folder, n_per_photograph=3, seed=1)
    assert not set(other["sha256"]) & set(table["sha256"])


def test_no_crop_is_plain_and_no_two_are_alike():
    small = []
    for name in photographs.PHOTOGRAPHS:
        rng = np.random.default_rng([0, *name.encode()])
        small += [
            c[::16, ::16].mean(axis=-1).ravel()
            for c in photographs.crops(photographs.photograph(name), n=3, rng=rng)
        ]
    small = np.array(small)
    assert small.std(axis=1).min() > 4  # grey levels of 255
    correlation = np.abs(np.corrcoef(small) - np.eye(len(small)))
    assert correlation.max() < 0.95
