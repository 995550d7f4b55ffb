"""CochCNN9 and CochResNet50: published shapes, counts and names; padding by hand; checkpoints as published."""

import io
import re
import tarfile

import numpy as np
import pytest
import torch
from torch.nn import functional

from lib import activations, cochnets, controls, models, plugins, sounds, validation, weights
from lib.models import cochcnn9, cochresnet50

# Shapes (channel, frequency, time) of the taps, their units after the mean over time, and parameters of the
# word networks: Feather et al. (2023), networks as released; Tuckute et al. (2023), released activations.
CNN_TAPS = {
    "input_after_preproc": (1, 211, 390),
    "relu0": (96, 71, 130),
    "maxpool0": (96, 36, 65),
    "relu1": (256, 18, 33),
    "maxpool1": (256, 9, 17),
    "relu2": (512, 9, 17),
    "relu3": (1024, 9, 17),
    "relu4": (512, 9, 17),
    "avgpool": (512, 5, 9),
    "relufc": (4096,),
    "final": (794,),
}
RESNET_TAPS = {
    "input_after_preproc": (1, 211, 390),
    "conv1_relu1": (64, 106, 195),
    "maxpool1": (64, 53, 98),
    "layer1": (256, 53, 98),
    "layer2": (512, 27, 49),
    "layer3": (1024, 14, 25),
    "layer4": (2048, 7, 13),
    "avgpool": (2048, 1, 1),
    "final": (794,),
}
CNN_UNITS = (6816, 3456, 4608, 2304, 4608, 9216, 4608, 2560, 4096)
RESNET_UNITS = (6784, 3392, 13568, 13824, 14336, 14336, 2048)
BUILD = {"cnn": cochnets.cochcnn9, "resnet": cochnets.cochresnet50}
TASKS = ("word", "speaker", "audioset", "multitask", "genre")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cnn():
    return lively(models.load("cochcnn9_word.random"))


@pytest.fixture(scope="module")
def resnet():
    return lively(models.load("cochresnet50_multitask.random"))


def lively(model):
    """A model whose batch normalisation, which is none before training, does something."""
    torch.manual_seed(0)
    for part in model.module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
            part.weight.uniform_(0.5, 1.5)
            part.bias.normal_(0, 0.1)
    return model


def sound(seed=0, *, rate_hz=44_100, duration_s=2.0):
    """Noise whose loudness swells four times a second."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(rate_hz * duration_s)) / rate_hz
    return rng.standard_normal(len(time)) * (1 + np.sin(8 * np.pi * time)), rate_hz


def unpacked_meta(build, n_classes=794):
    with torch.device("meta"):
        return build(n_classes)


def outputs(model, layers):
    return activations.record(model.module, model.preprocess(sound())[None], layers)


@pytest.mark.parametrize(("build", "count"), [("cnn", 110_221_980), ("resnet", 25_128_666)])
def test_word_networks_have_the_published_number_of_parameters(build, count):
    module = unpacked_meta(BUILD[build])
    assert sum(parameter.numel() for parameter in module.parameters()) == count


def test_taps_of_cochcnn9_have_the_published_names_order_and_shapes(cnn):
    found = outputs(cnn, CNN_TAPS)
    assert list(found) == list(CNN_TAPS)
    assert {name: tuple(tap.shape[1:]) for name, tap in found.items()} == CNN_TAPS


def test_taps_of_cochresnet50_have_the_published_names_order_and_shapes(resnet):
    taps = {name: shape for name, shape in RESNET_TAPS.items() if name != "final"}
    found = outputs(resnet, [*taps, "final.word"])
    assert list(found) == [*taps, "final.word"]
    assert {name: tuple(tap.shape[1:]) for name, tap in found.items()} == taps | {"final.word": (794,)}


@pytest.mark.parametrize(("name", "units"), [("cnn", CNN_UNITS), ("resnet", RESNET_UNITS)])
def test_units_after_the_mean_over_time_are_the_published_ones(name, units, request):
    model = request.getfixturevalue(name)
    found = outputs(model, model.layers)
    averaged = [tap.mean(model.time_axis) if tap.ndim > 2 else tap for tap in found.values()]
    assert tuple(tap.flatten(1).shape[1] for tap in averaged) == units


@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_rows_are_stimuli_and_the_gradient_reaches_the_waveform(name, request):
    model = request.getfixturevalue(name)
    given = torch.stack([model.preprocess(sound(seed)) for seed in range(2)])
    with torch.no_grad():
        assert validation.batch_faults(model.module, given, model.layers) == []
    leaf = given[:1].clone().requires_grad_(True)
    for tap in activations.record(model.module, leaf, [model.layers[0], model.layers[-1]]).values():
        (grad,) = torch.autograd.grad(tap.square().sum(), leaf, retain_graph=True)
        assert grad.isfinite().all()
        assert (grad != 0).float().mean() > 0.99


def test_a_network_of_several_tasks_answers_each(resnet):
    found = resnet.module(resnet.preprocess(sound())[None])
    assert {task: tuple(logits.shape) for task, logits in found.items()} == {
        "word": (1, 794),
        "speaker": (1, 433),
        "audioset": (1, 517),
    }


@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [(211, 7, 3), (390, 14, 3), (71, 2, 2), (17, 5, 1), (9, 9, 3), (5, 2, 4)]
)
def test_same_padding_sees_every_position_with_the_odd_zero_at_the_end(size, kernel, stride):
    before, after = cochnets.same_padding(size, kernel, stride)
    assert 0 <= after - before <= 1
    windows = torch.zeros(before + size + after).unfold(0, kernel, stride)
    assert len(windows) == -(-size // stride)
    # One zero less would lose a window, unless nothing needs to be added.
    assert after == 0 or len(torch.zeros(before + size + after - 1).unfold(0, kernel, stride)) < len(windows)


def test_padded_convolution_and_pooling_equal_sums_by_hand():
    picture = torch.randn(1, 1, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    convolution = cochnets.SameConv2d(1, 1, (2, 3), 2, bias=False).double().requires_grad_(False)
    found = {
        "convolution": convolution(picture),
        "maximum": cochnets.SameMaxPool2d((2, 3), 2)(picture - 10),
        "mean": cochnets.SameAvgPool2d((2, 3), 2)(picture),
    }
    # Rows 3, window 2, step 2: one row after. Columns 4, window 3, step 2: one column after.
    rows = [slice(0, 2), slice(2, 3)]
    columns = [slice(0, 3), slice(2, 4)]
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            part = picture[0, 0, row, column]
            kernel = convolution.weight[0, 0, : part.shape[0], : part.shape[1]]
            assert found["convolution"][0, 0, i, j].item() == pytest.approx((part * kernel).sum().item())
            assert found["maximum"][0, 0, i, j].item() == pytest.approx(part.max().item() - 10)
            assert found["mean"][0, 0, i, j].item() == pytest.approx(part.sum().item() / 6)


def test_cochcnn9_equals_its_stages_written_as_functions(cnn):
    """Batch normalisation, convolution, rectifier, pooling, in the published order and with padding by hand."""
    state = cnn.module.state_dict()

    def normalised(x, i):
        parts = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(state[f"batchnorm{i}.{part}"] for part in parts))

    # Zeros before and after along time, then frequency: TensorFlow's "SAME" for the published sizes.
    pads = {0: (5, 6, 3, 3), 1: (3, 4, 1, 1), 2: (2, 2, 0, 1), 3: (2, 2, 0, 1), 4: (2, 2, 0, 1)}
    strides = {0: 3, 1: 2, 2: 1, 3: 1, 4: 1}

    def convolved(x, i):
        padded = functional.pad(x, pads[i])
        return functional.conv2d(padded, state[f"conv{i}.weight"], stride=strides[i]).relu()

    x = outputs(cnn, ["input_after_preproc"])["input_after_preproc"]
    expected = {"relu0": convolved(normalised(x, 0), 0)}
    x = functional.pad(expected["relu0"], (1, 2, 0, 1), value=-torch.inf)
    expected["maxpool0"] = functional.max_pool2d(x, (2, 5), 2)
    expected["relu1"] = convolved(normalised(expected["maxpool0"], 1), 1)
    x = functional.pad(expected["relu1"], (2, 2, 0, 0), value=-torch.inf)
    expected["maxpool1"] = functional.max_pool2d(x, (2, 5), 2)
    x = normalised(expected["maxpool1"], 2)
    for i in (2, 3, 4):
        x = expected[f"relu{i}"] = convolved(x, i)
    x = expected["avgpool"] = functional.avg_pool2d(functional.pad(x, (2, 2, 0, 1)), (2, 5), 2)
    x = functional.linear(x.flatten(1), state["fullyconnected.weight"], state["fullyconnected.bias"])
    expected["relufc"] = x.relu()
    found = outputs(cnn, cnn.layers)
    for name in cnn.layers:
        assert expected[name].shape == found[name].shape
        # float32 sums of up to 23,040 products
        assert activations.difference(expected[name], found[name]) < 1e-5, name


def test_no_rectifier_works_in_place():
    for build in BUILD.values():
        parts = unpacked_meta(build).modules()
        assert not any(part.inplace for part in parts if isinstance(part, torch.nn.ReLU))


def test_the_residual_network_is_torchvisions_behind_one_channel(resnet):
    """Both sum in the same order here, but for the three equal channels: roundings of 6e-8 over 50 layers."""
    import torchvision

    twin = torchvision.models.resnet50(weights=None, num_classes=794).eval()
    state = {
        re.sub(r"^final\.word\.", "fc.", name): value
        for name, value in resnet.module.state_dict().items()
        if not re.match(r"final\.(speaker|audioset)", name)
    }
    state["conv1.weight"] = state["conv1.weight"].repeat(1, 3, 1, 1) / 3
    twin.load_state_dict(state)
    picture = outputs(resnet, ["input_after_preproc"])["input_after_preproc"]
    expected = twin(picture.repeat(1, 3, 1, 1)).detach()
    found = resnet.module(resnet.preprocess(sound())[None])["word"]
    assert activations.difference(expected, found) < 1e-4


def published(module, *, heads):
    """State of one of our networks under the names of a released checkpoint, with all that these hold."""
    state = {}
    for name, value in module.state_dict().items():
        for ours, theirs in {
            "final.word.": f"{heads}.signal/word_int.",
            "final.speaker.": f"{heads}.signal/speaker_int.",
            "final.audioset.": f"{heads}.noise/labels_binary_via_int.",
            "final.": f"{heads}.",
        }.items():
            if name.startswith(ours):
                name = name.replace(ours, theirs)
                break
        for wrapper in ("module.model.1.", "module.attacker.model.1."):
            state[wrapper + name] = value
    extra = {
        "module.preproc.normalize.new_mean": torch.zeros(1, 1, 1),
        "module.model.0.full_rep.rep.Cochleagram.downsampling.downsample_filter": torch.zeros(1, 1, 1001),
    }
    return {"model": extra | state, "epoch": 150, "optimizer": {"state": {}, "param_groups": []}}


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Serve checkpoints as members of one archive, as the laboratory does."""
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path / "home"))
    path = tmp_path / "mirror" / cochnets.CHECKPOINTS.removeprefix("https://")
    path.parent.mkdir(parents=True)

    def put(checkpoints, **options):
        with tarfile.open(path, "w") as file:
            for member, content in checkpoints.items():
                buffer = io.BytesIO()
                torch.save(content, buffer, **options)
                entry = tarfile.TarInfo(member)
                entry.size = buffer.tell()
                buffer.seek(0)
                file.addfile(entry, buffer)

    return put


# torch 1.5, with which the networks were trained, wrote the older format.
@pytest.mark.parametrize("top", ["", "./", "model_checkpoints/"])
def test_a_released_checkpoint_gives_the_same_network(archive, resnet, top):
    member = cochresnet50.VARIANTS["cochresnet50_multitask"]["MEMBER"]
    archive({top + member: published(resnet.module, heads="fc")}, _use_new_zipfile_serialization=False)
    loaded = models.load("cochresnet50_multitask")
    given = resnet.preprocess(sound())[None]
    expected, found = resnet.module(given), loaded.module(given)
    assert all(torch.equal(expected[task], found[task]) for task in expected)
    assert loaded.digest == models.digest(resnet.module, sounds.levelled, resnet.settings)


def small(n_classes):
    """CochCNN9 as far as names go, with a narrow full connection: the whole would be 440 MB."""
    module = unpacked_meta(cochnets.cochcnn9, n_classes)
    module.fullyconnected = torch.nn.Linear(2, 3)
    module.conv3, module.conv4 = cochnets.SameConv2d(1, 2, 1), cochnets.SameConv2d(2, 1, 1)
    module.final = cochnets._head(3, n_classes)
    return controls.random(module.to_empty(device="cpu"), seed=1)


@pytest.mark.parametrize("n_classes", [4, {"word": 4, "speaker": 3, "audioset": 2}])
def test_released_names_of_cochcnn9_are_read(archive, n_classes):
    module, twin = small(n_classes), small(n_classes)
    member = cochcnn9.VARIANTS["cochcnn9_word"]["MEMBER"]
    archive({member: published(module, heads="classification")})
    for parameter in twin.parameters():
        parameter.data.zero_()
    cochnets.trained(twin, member)
    state = twin.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def test_a_checkpoint_of_another_network_is_refused_with_the_first_names(archive, resnet):
    member = "a/5_checkpoint.pt"
    archive({member: published(resnet.module, heads="fc")})
    with pytest.raises(ValueError, match=r"lacks batchnorm0\.weight.*without a place for them, bn1\.weight"):
        cochnets.trained(unpacked_meta(cochnets.cochcnn9), member)


def test_a_missing_member_is_named_with_those_that_are_near(archive):
    archive({"top/word/5_checkpoint.pt": {"model": {}}, "top/speaker/5_checkpoint.pt": {"model": {}}})
    with pytest.raises(ValueError, match=r"0 members 'words/5_checkpoint\.pt'; near are top/word/5_check"):
        weights.state(f"{cochnets.CHECKPOINTS}#words/5_checkpoint.pt")
    with pytest.raises(ValueError, match=r"2 members '5_checkpoint\.pt'"):
        weights.state(f"{cochnets.CHECKPOINTS}#5_checkpoint.pt")


@pytest.mark.parametrize("family", [cochcnn9, cochresnet50])
def test_unpublished_weights_are_said_to_be_so(family):
    genre = next(name for name, known in family.VARIANTS.items() if not known["MEMBER"])
    assert family.VARIANTS[genre]["TASK"] == "genre"
    with pytest.raises(ValueError, match="not published"):
        family.build(genre)


@pytest.mark.parametrize("family", [cochcnn9, cochresnet50])
def test_every_task_has_its_networks_and_every_checkpoint_is_another(family):
    assert len(family.VARIANTS) == 13
    assert {known["TASK"] for known in family.VARIANTS.values()} == set(TASKS) == set(cochnets.CLASSES)
    members = [known["MEMBER"] for known in family.VARIANTS.values() if known["MEMBER"]]
    assert len(set(members)) == len(members) == 12
    assert all(re.fullmatch(r"audio_rep_training_cochleagram_1/.+/5_checkpoint\.pt", m) for m in members)
    assert all(name in plugins.names("model") for name in family.VARIANTS)


@pytest.mark.parametrize("task", TASKS)
def test_layers_are_modules_whatever_the_task(task):
    for build, family in ((cochnets.cochcnn9, cochcnn9), (cochnets.cochresnet50, cochresnet50)):
        module = unpacked_meta(build, cochnets.CLASSES[task])
        assert set(family.LAYERS) <= dict(module.named_modules()).keys()


def test_permuting_changes_every_layer_but_no_histogram(resnet):
    permuted = controls.permuted(resnet.module, seed=1)
    pairs = zip(resnet.module.layer1.parameters(), permuted.layer1.parameters(), strict=True)
    for before, after in pairs:
        assert torch.equal(before.flatten().sort()[0], after.flatten().sort()[0])
    given = resnet.preprocess(sound())[None]
    first = activations.record(resnet.module, given, resnet.layers)
    second = activations.record(permuted, given, resnet.layers)
    assert all(activations.difference(first[name], second[name]) > 0.01 for name in resnet.layers)


def test_networks_hear_two_seconds_levelled_and_clipped_as_released(cnn, resnet):
    waveform, rate_hz = sound()
    waveform[1000] = 1000
    for model in (cnn, resnet):
        given = model.preprocess((waveform, rate_hz))
        assert given.shape == (40_000,)
        assert given.max() == 1
        unclipped = sounds.levelled((waveform, rate_hz), model.settings | {"limit": None})
        assert unclipped.max() > 5
        assert unclipped.square().mean().sqrt().item() == pytest.approx(0.1, rel=1e-6)
