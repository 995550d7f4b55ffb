"""VGGish: mel filters by the published formula, layers by hand, pieces seen alone, weights under their names."""

import numpy as np
import pytest
import torch
from torch import nn

from lib import activations, models, validation
from lib.models import vggish


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    return models.load("vggish.random")


def sound(seed=0, *, duration_s=1.0):
    return 0.1 * np.random.default_rng(seed).standard_normal(round(16_000 * duration_s)), 16_000


def test_mel_filters_are_triangles_between_equally_spaced_edges():
    filters = vggish.mel_filters().numpy()
    assert filters.shape == (257, 64)
    edges_hz = 700 * np.expm1(np.linspace(np.log1p(125 / 700), np.log1p(7500 / 700), 66))
    for band in (0, 20, 63):
        inside = np.flatnonzero(filters[:, band]) * 31.25
        assert edges_hz[band] < inside.min()
        assert inside.max() < edges_hz[band + 2]
    # Between the first and the last peak, neighbouring triangles add up to 1.
    bins_hz = np.arange(257) * 31.25
    between = (bins_hz > edges_hz[1]) & (bins_hz < edges_hz[-2])
    np.testing.assert_allclose(filters[between].sum(axis=1), 1, atol=1e-12)


def test_a_tone_is_loudest_in_the_band_around_it():
    time = np.arange(15_600) / 16_000
    loudness = vggish.LogMel()(torch.from_numpy(np.sin(2 * np.pi * 1000 * time)).float()[None])
    assert loudness.shape == (1, 96, 1, 64)
    edges_hz = 700 * np.expm1(np.linspace(np.log1p(125 / 700), np.log1p(7500 / 700), 66))
    assert loudness[0, 50, 0].argmax() == np.abs(edges_hz[1:-1] - 1000).argmin()
    # Whatever is silent lies at the floor.
    assert vggish.LogMel()(torch.zeros(1, 15_600)).unique().item() == pytest.approx(np.log(0.01))


def test_frames_of_a_sound_equal_their_formula():
    waveform = sound()[0]
    n = 37  # any frame
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    spectrum = np.abs(np.fft.rfft(window * waveform[160 * n : 160 * n + 400], 512))
    expected = np.log(spectrum @ vggish.mel_filters().numpy() + 0.01)
    found = vggish.LogMel()(torch.from_numpy(waveform).float()[None])[0, n, 0]
    # float32: windows, sums over 512 samples and logarithms of values down to the floor
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def published(module):
    """The network in the published layout, with the weights of ours."""
    layers, n_in = [], 1
    for n_out in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M"):
        layers += [nn.MaxPool2d(2)] if n_out == "M" else [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU()]
        n_in = n_in if n_out == "M" else n_out
    embeddings = [nn.Linear(12_288, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU()]
    twin = nn.ModuleDict(
        {
            "features": nn.Sequential(*layers),
            "embeddings": nn.Sequential(*embeddings, nn.Linear(4096, 128), nn.ReLU()),
        }
    )
    ours = [part for part in module.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    theirs = [part for part in twin.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    for source, target in zip(ours, theirs, strict=True):
        target.load_state_dict(source.state_dict())
    return twin


def test_layers_equal_the_published_network_on_each_piece(model):
    given = model.preprocess(sound(duration_s=2.0))[None]
    found = activations.record(model.module, given, ["spectrogram", *model.layers])
    assert list(found) == ["spectrogram", *model.layers]
    twin = published(model.module)
    x = found["spectrogram"].unflatten(1, (2, 96)).flatten(0, 1).transpose(1, 2)  # (piece, 1, 96, 64)
    assert x.shape == (2, 1, 96, 64)
    expected = {}
    with torch.no_grad():
        for layer in twin["features"]:
            x = layer(x)
            if not isinstance(layer, nn.Conv2d):
                expected[model.layers[len(expected)]] = x.transpose(1, 2).flatten(0, 1)[None]
        x = x.permute(0, 2, 3, 1).flatten(1)
        for layer in twin["embeddings"]:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                expected[model.layers[len(expected)]] = x[None]
    for name in model.layers:
        assert expected[name].shape == found[name].shape
        assert activations.difference(expected[name], found[name]) < 1e-5


def test_units_after_the_mean_over_time_are_channels_at_bands(model):
    found = activations.record(model.module, model.preprocess(sound())[None], model.layers)
    units = [tap.mean(model.time_axis).flatten(1).shape[1] for tap in found.values()]
    assert units == [
        *(64 * 64, 64 * 32, 128 * 32, 128 * 16, 256 * 16, 256 * 16, 256 * 8, 512 * 8, 512 * 8, 512 * 4),
        *(4096, 4096, 128),
    ]


def test_the_network_keeps_the_contract(model):
    validation.validate(model, [sound(0), sound(1)])


def test_what_exceeds_the_last_whole_piece_goes_unheard(model):
    waveform = model.preprocess(sound(duration_s=1.9))[None]
    assert torch.equal(model.module(waveform), model.module(waveform[:, :15_600]))


def test_stored_names_are_read():
    with torch.device("meta"):
        ours = vggish.network()
        theirs = published(ours)
    renamed = {vggish._ours(name): value.shape for name, value in theirs.state_dict().items()}
    assert renamed == {name: value.shape for name, value in ours.state_dict().items()}
