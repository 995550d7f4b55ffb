"""The residual networks of CIFAR-10: architecture by the paper, preprocessing by what training left behind."""

import os

import numpy as np
import pytest
import skimage.data
import torch
from torch.nn import functional

from lib import activations, controls, datasets, download, models, plugins, stimuli, validation, weights
from lib.models import cifar_resnets

NAMES = sorted(cifar_resnets.VARIANTS)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The trained networks, from the mirror, each loaded once."""
    if not os.environ.get("DATA_MIRROR"):
        pytest.skip("DATA_MIRROR is not set; it would hold the trained weights")
    home, kept = tmp_path_factory.mktemp("home"), {}

    def load(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COMPENDIUM_HOME", str(home))
            return kept.setdefault(name, models.load(name))

    return load


def untrained(name, seed=0):
    return controls.controlled(cifar_resnets.build(name, trained=False), "random", seed=seed)


@pytest.mark.parametrize(("name", "depth", "million"), [(NAMES[0], 20, 0.27), (NAMES[1], 56, 0.85)])
def test_depth_and_number_of_weights_are_those_of_the_paper(name, depth, million):
    # He et al. (2016), section 4.2 (6n + 2 layers with weights) and table 6 (millions, two decimals).
    module = cifar_resnets.build(name, trained=False)
    assert sum(isinstance(part, (torch.nn.Conv2d, torch.nn.Linear)) for part in module.modules()) == depth
    assert round(sum(p.numel() for p in module.parameters()) / 1e6, 2) == million


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_stem_blocks_pool_and_scores_in_order(name):
    module, layers = untrained(name), plugins.about("model", name)["LAYERS"]
    found = activations.record(module, torch.randn(2, 3, 32, 32), layers)
    assert tuple(found) == layers
    n_blocks = (len(layers) - 3) // 3
    expected = [(16, 32, 32)] * (1 + n_blocks) + [(32, 16, 16)] * n_blocks + [(64, 8, 8)] * n_blocks
    assert [tuple(found[layer].shape[1:]) for layer in layers] == [*expected, (64,), (10,)]
    assert all((found[layer] >= 0).all() for layer in layers[:-1])  # after rectification
    assert [key for key, p in module.named_modules() if isinstance(p, cifar_resnets.Block)] == [*layers[1:-2]]


def by_hand(weight, x):
    """The network of the paper from its tensors alone."""

    def unit(x, conv, norm, stride=1):
        x = functional.conv2d(x, weight[f"{conv}.weight"], stride=stride, padding=1)
        shape = 1, -1, 1, 1
        mean, var = weight[f"{norm}.running_mean"].view(shape), weight[f"{norm}.running_var"].view(shape)
        return (x - mean) / (var + 1e-5).sqrt() * weight[f"{norm}.weight"].view(shape) + weight[
            f"{norm}.bias"
        ].view(shape)

    x = unit(x, "conv1", "bn1").clamp(min=0)
    for block in sorted({key.rsplit(".", 2)[0] for key in weight if key.startswith("layer")}):
        wide = weight[f"{block}.conv1.weight"].shape[0]
        y = unit(x, f"{block}.conv1", f"{block}.bn1", 1 if wide == x.shape[1] else 2).clamp(min=0)
        y = unit(y, f"{block}.conv2", f"{block}.bn2")
        if wide != x.shape[1]:
            kept = x[:, :, ::2, ::2]
            x = torch.zeros_like(y)
            x[:, wide // 4 : wide // 4 + kept.shape[1]] = kept
        x = (y + x).clamp(min=0)
    return x.mean((2, 3)) @ weight["linear.weight"].T + weight["linear.bias"]


@pytest.mark.parametrize("name", NAMES)
def test_network_equals_the_paper_written_out(name):
    module = untrained(name).double()
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if "bn" in key and value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.5)
        inputs = torch.randn(2, 3, 32, 32, dtype=torch.float64)
        # Float64 sums of up to 576 products in another order, through up to 55 layers.
        torch.testing.assert_close(module(inputs), by_hand(module.state_dict(), inputs), rtol=1e-9, atol=1e-9)


def test_a_picture_of_the_size_is_taken_as_it_is():
    settings = plugins.about("model", NAMES[0])["INPUT"]
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    seen = cifar_resnets.preprocess(picture, settings)
    plain = (picture / 255 - settings["mean"]) / settings["std"]
    assert seen.dtype == torch.float32
    # Three operations in float32 on numbers up to 2.7.
    np.testing.assert_allclose(seen.permute(1, 2, 0), plain, rtol=0, atol=1e-6)


def test_other_pictures_are_their_central_square_without_aliases():
    settings = plugins.about("model", NAMES[0])["INPUT"] | {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    picture = np.zeros((200, 300, 3), dtype=np.uint8)
    picture[:, 50:250] = 255
    assert (cifar_resnets.preprocess(picture, settings) == 1).all()
    assert (cifar_resnets.preprocess(picture.transpose(1, 0, 2), settings) == 1).all()
    stripes = np.zeros((256, 256, 3), dtype=np.uint8)
    stripes[::2] = 255
    # Lines four times finer than a pixel: grey. Taking every eighth line would give all black or all white.
    inner = cifar_resnets.preprocess(stripes, settings)[:, 1:-1, 1:-1]
    assert (inner - 0.5).abs().max() < 0.01
    small = skimage.data.chelsea()[:20, :24]
    assert cifar_resnets.preprocess(small, settings).shape == (3, 32, 32)


@pytest.mark.parametrize("name", NAMES)
def test_untrained_network_keeps_the_contract_without_any_download(name, monkeypatch):
    monkeypatch.setattr(weights, "state", lambda *_, **__: pytest.fail("asks for weights"))
    validation.validate(models.load(f"{name}.random"), [skimage.data.chelsea(), skimage.data.coffee()])


def test_a_damaged_file_is_refused(tmp_path, monkeypatch):
    known = cifar_resnets.VARIANTS[NAMES[0]]
    place = tmp_path / download.location(cifar_resnets.SOURCE + known["FILE"])
    place.parent.mkdir(parents=True)
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path))
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path / "home"))
    for content in (b"\0" * known["BYTES"], b"short"):
        place.write_bytes(content)
        with pytest.raises(download.DownloadError, match=known["FILE"]):
            models.load(NAMES[0])


@pytest.mark.mirror
@pytest.mark.parametrize("name", NAMES)
def test_trained_network_names_photographs(name, real):
    model = real(name)
    validation.validate(model, [skimage.data.chelsea(), skimage.data.coffee()])
    for picture in (
        skimage.data.chelsea(),
        skimage.data.chelsea()[:, ::-1],
        skimage.data.chelsea()[:, 60:360],
    ):
        scores = model.module(model.preprocess(picture)[None]).softmax(1)[0]
        assert cifar_resnets.CLASSES[scores.argmax()] == "cat"
        assert scores.max() > 0.9


@pytest.mark.mirror
@pytest.mark.parametrize("name", NAMES)
def test_trained_network_names_the_animals_of_objects92(name, real, tmp_path, monkeypatch):
    model = real(name)
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    _, table = datasets.load("objects92")
    inputs = torch.stack(
        [
            model.preprocess(stimuli.read(tmp_path / "data" / row.file, sha256=row.sha256))
            for row in table.itertuples()
        ]
    )
    named = dict(
        zip(
            table["stimulus"], (cifar_resnets.CLASSES[i] for i in model.module(inputs).argmax(1)), strict=True
        )
    )
    # The four pictures that show one of the ten classes: an ostrich, a frog, a German shepherd, a Great Dane.
    shown = {"object30": "bird", "object36": "frog", "object41": "dog", "object42": "dog"}
    assert {key: named[key] for key in shown} == shown
    # The others show none; still, what is alive is called an animal more often than what was made.
    animals = {"bird", "cat", "deer", "dog", "frog", "horse"}
    alive, made = (
        np.mean(
            [named[key] in animals for key in table.loc[table["category"].str.contains(kind), "stimulus"]]
        )
        for kind in ("human", "artificial")
    )
    assert alive > made + 0.3


@pytest.mark.mirror
@pytest.mark.parametrize("name", NAMES)
def test_statistics_left_by_training_confirm_the_preprocessing(name, real):
    """Mean of the first convolution over CIFAR-10, predicted from the published mean colour alone.

    Colours of CIFAR-10 (0.4914, 0.4822, 0.4465; scale 0 to 1) are those that most code for it states. Training
    shifted pictures by up to 4 pixels over black: a pixel is of the picture with probability (1 - 20 / 9 / 32)².
    """
    module = real(name).module
    inside = (1 - np.mean(np.abs(np.arange(-4, 5))) / 32) ** 2
    colour = inside * np.array([0.4914, 0.4822, 0.4465])

    def agreement(mean, std):
        pixel = (colour - mean) / np.array(std)
        border = np.array([31 / 32, 1, 31 / 32])  # zeros beyond the edge, for taps off the centre
        taps = module.conv1.weight.double().numpy() * np.outer(border, border)
        return np.corrcoef((taps * pixel[:, None, None]).sum((1, 2, 3)), module.bn1.running_mean)[0, 1]

    settings = plugins.about("model", name)["INPUT"]
    ours = agreement(settings["mean"], settings["std"])
    assert ours > 0.95
    others = {
        "of CIFAR": ([0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616]),
        "blue first": (settings["mean"][::-1], settings["std"][::-1]),
        "-1 to 1": ([0.5] * 3, [0.5] * 3),
    }
    for what, scale in others.items():
        assert agreement(*scale) < ours - 0.1, what


@pytest.mark.mirror
def test_controls_of_a_trained_network_change_every_layer(real):
    trained = real(NAMES[0])
    inputs = torch.stack([trained.preprocess(p) for p in (skimage.data.chelsea(), skimage.data.coffee())])
    before = activations.record(trained.module, inputs, trained.layers)
    for control in plugins.CONTROLS:
        module = controls.controlled(trained.module, control)
        after = activations.record(module, inputs, trained.layers)
        for layer in trained.layers:
            assert activations.difference(before[layer], after[layer]) > 0.01, layer
    permuted = controls.controlled(trained.module, "permuted")
    for (key, one), two in zip(trained.module.named_parameters(), permuted.parameters(), strict=True):
        assert torch.equal(one.flatten().sort().values, two.flatten().sort().values), key
