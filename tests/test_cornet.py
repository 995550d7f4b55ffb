"""The CORnet family: names and shapes of the published weights, and what runs when."""

import hashlib
import itertools

import pytest
import skimage.data
import torch
from torch.nn import functional

from lib import activations, controls, download, models, plugins, validation, weights
from lib.models import cornet

NAMES = sorted(cornet.VARIANTS)
AREAS, WIDTHS = ("V1", "V2", "V4", "IT"), (64, 128, 256, 512)
STEPS = {"V2": 2, "V4": 4, "IT": 2}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sketch(name):
    """The network without numbers, for its names and shapes."""
    with torch.device("meta"):
        return cornet.build(name, trained=False), torch.zeros(2, 3, 224, 224)


def untrained(name, seed=0):
    """Random weights, and statistics and gains that are not the initial ones."""
    module = controls.controlled(cornet.build(name, trained=False), "random", seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if "norm" in key and value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return module


def pictures(count=2, size=64):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(3))


def published(kind):
    """Names and shapes of the tensors in the published files, without counters."""
    norm = {"weight": (), "bias": (), "running_mean": (), "running_var": ()}
    decoder = {"decoder.linear.weight": (1000, 512), "decoder.linear.bias": (1000,)}
    found, n_in = {}, 3
    for area, n_out in zip(AREAS, WIDTHS, strict=True):
        first = area == "V1"
        if kind == "S" and not first:
            wide = 4 * n_out
            found |= {
                f"{area}.conv_input.weight": (n_out, n_in, 1, 1),
                f"{area}.skip.weight": (n_out, n_out, 1, 1),
            }
            found |= {f"{area}.conv1.weight": (wide, n_out, 1, 1), f"{area}.conv2.weight": (wide, wide, 3, 3)}
            found |= {f"{area}.conv3.weight": (n_out, wide, 1, 1)}
            found |= {f"{area}.norm_skip.{part}": (n_out,) for part in norm}
            for t in range(STEPS[area]):
                for i, width in ((1, wide), (2, wide), (3, n_out)):
                    found |= {f"{area}.norm{i}_{t}.{part}": (width,) for part in norm}
        elif kind == "S":
            found |= {"V1.conv1.weight": (64, 3, 7, 7), "V1.conv2.weight": (64, 64, 3, 3)}
            found |= {f"V1.norm{i}.{part}": (64,) for i in (1, 2) for part in norm}
        elif kind == "Z":
            kernel = 7 if first else 3
            found |= {f"{area}.conv.weight": (n_out, n_in, kernel, kernel), f"{area}.conv.bias": (n_out,)}
        else:
            kernel = 7 if first else 3
            found |= {
                f"{area}.conv_input.weight": (n_out, n_in, kernel, kernel),
                f"{area}.conv_input.bias": (n_out,),
            }
            found |= {f"{area}.conv1.weight": (n_out, n_out, 3, 3)}
            found |= {
                f"{area}.{n}.{part}": (n_out,) for n in ("norm_input", "norm1") for part in ("weight", "bias")
            }
        n_in = n_out
    return found | decoder


@pytest.mark.parametrize("name", NAMES)
def test_weights_have_the_published_names_and_shapes(name):
    module, _ = sketch(name)
    ours = {k: tuple(v.shape) for k, v in module.state_dict().items() if "num_batches_tracked" not in k}
    assert ours == published(cornet.VARIANTS[name]["KIND"])


def test_cornet_s_has_the_published_number_of_weights():
    # 53.4 million (Kubilius et al., 2019, figure 1 and the released file).
    module, _ = sketch("cornet_s")
    assert sum(p.numel() for p in module.parameters()) == 53_416_616


@pytest.mark.parametrize("name", NAMES)
def test_areas_come_in_order_and_halve_from_56_to_7(name):
    # Kubilius et al. (2019), figure 1: 56 × 56, 28 × 28, 14 × 14 and 7 × 7 positions.
    module, inputs = sketch(name)
    layers = plugins.about("model", name)["LAYERS"]
    found = activations.record(module, inputs, layers)
    assert tuple(found) == layers
    areas = [(64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)]
    assert [tuple(found[layer].shape) for layer in layers] == [
        (2, *s) for s in [*areas, (512, 1, 1), (1000,)]
    ]


def normalised(weight, name, x, groups=0):
    if groups:
        return functional.group_norm(x, groups, weight[f"{name}.weight"], weight[f"{name}.bias"])
    kept = (
        weight[f"{name}.{part}"].view(1, -1, 1, 1)
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    mean, var, gain, offset = kept
    return (x - mean) / (var + 1e-5).sqrt() * gain + offset


def by_hand_s(w, x):
    """CORnet-S from its tensors alone."""
    x = normalised(w, "V1.norm1", functional.conv2d(x, w["V1.conv1.weight"], stride=2, padding=3)).relu()
    x = functional.max_pool2d(x, 3, 2, 1)
    x = normalised(w, "V1.norm2", functional.conv2d(x, w["V1.conv2.weight"], padding=1)).relu()
    for area, steps in STEPS.items():
        x = functional.conv2d(x, w[f"{area}.conv_input.weight"])
        skip = normalised(w, f"{area}.norm_skip", functional.conv2d(x, w[f"{area}.skip.weight"], stride=2))
        for t in range(steps):
            y = normalised(w, f"{area}.norm1_{t}", functional.conv2d(x, w[f"{area}.conv1.weight"])).relu()
            y = functional.conv2d(y, w[f"{area}.conv2.weight"], stride=1 if t else 2, padding=1)
            y = normalised(w, f"{area}.norm2_{t}", y).relu()
            y = normalised(w, f"{area}.norm3_{t}", functional.conv2d(y, w[f"{area}.conv3.weight"]))
            x = skip = (y + skip).relu()
    return x.mean((2, 3)) @ w["decoder.linear.weight"].T + w["decoder.linear.bias"]


def by_hand_r(w, x, *, delayed):
    """CORnet-R or -RT from its tensors alone: each state as a function of area and time."""

    def inward(area, t):
        if area == 0:
            return x
        if t == 0:
            return None
        return state(area - 1, t - 1 if delayed else t)

    def state(area, t):
        if t < 0:
            size = x.shape[-1] // (4 * 2**area)
            return x.new_zeros(len(x), WIDTHS[area], size, size)
        name, total, seen = AREAS[area], state(area, t - 1), inward(area, t)
        if seen is not None:
            kernel = w[f"{name}.conv_input.weight"]
            y = functional.conv2d(
                seen, kernel, w[f"{name}.conv_input.bias"], 2 if area else 4, kernel.shape[-1] // 2
            )
            total = total + normalised(w, f"{name}.norm_input", y, 32).relu()
        y = functional.conv2d(total, w[f"{name}.conv1.weight"], padding=1)
        return normalised(w, f"{name}.norm1", y, 32).relu()

    return state(3, 4).mean((2, 3)) @ w["decoder.linear.weight"].T + w["decoder.linear.bias"]


def by_hand_z(w, x):
    """CORnet-Z from its tensors alone."""
    for area in AREAS:
        kernel = w[f"{area}.conv.weight"]
        stride = 2 if area == "V1" else 1
        x = functional.conv2d(x, kernel, w[f"{area}.conv.bias"], stride, kernel.shape[-1] // 2).relu()
        x = functional.max_pool2d(x, 3, 2, 1)
    return x.mean((2, 3)) @ w["decoder.linear.weight"].T + w["decoder.linear.bias"]


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("cornet_z", by_hand_z),
        ("cornet_r", lambda w, x: by_hand_r(w, x, delayed=False)),
        ("cornet_rt", lambda w, x: by_hand_r(w, x, delayed=True)),
    ],
)
def test_network_equals_the_description_written_out(name, by_hand):
    module, inputs = untrained(name), pictures()
    # Float32 sums of up to 4,608 products in another order, through up to ten convolutions.
    torch.testing.assert_close(module(inputs), by_hand(module.state_dict(), inputs), rtol=1e-3, atol=1e-4)


def test_cornet_s_equals_the_description_written_out(monkeypatch):
    # A quarter of the width: the same program with a sixteenth of its 200 MB.
    monkeypatch.setattr(cornet, "WIDTHS", (64, 32, 48, 40))
    module, inputs = untrained("cornet_s"), pictures()
    torch.testing.assert_close(module(inputs), by_hand_s(module.state_dict(), inputs), rtol=1e-3, atol=1e-4)
    layers = ["V4.step0", "V4.step1", "V4.step2", "V4.step3", "V4.output"]
    found = activations.record(module, inputs, layers)
    assert torch.equal(found["V4.step3"], found["V4.output"])
    for one, two in itertools.pairwise(layers[:-1]):
        assert activations.difference(found[one], found[two]) > 0.01


@pytest.mark.parametrize(("name", "arrival"), [("cornet_r", (0, 1, 1, 1)), ("cornet_rt", (0, 1, 2, 3))])
def test_a_picture_reaches_an_area_at_the_right_step(name, arrival):
    module, inputs = untrained(name), pictures()
    layers = [f"{area}.step{t}" for area in AREAS for t in range(5)]
    found = activations.record(module, inputs, layers)
    for area, first in zip(AREAS, arrival, strict=True):
        seen = [activations.difference(*found[f"{area}.step{t}"]) > 1e-3 for t in range(5)]
        assert seen == [t >= first for t in range(5)]
    last = activations.record(module, inputs, ["V2.step4", "V2.output"])
    assert torch.equal(*last.values())


@pytest.mark.parametrize("name", ["cornet_z", "cornet_rt"])
def test_untrained_network_keeps_the_contract_without_any_download(name, monkeypatch):
    monkeypatch.setattr(weights, "state", lambda *_, **__: pytest.fail("asks for weights"))
    model = models.load(f"{name}.random")
    assert validation.batch_faults(model.module, pictures(), model.layers) == []
    if name.endswith("z"):
        validation.validate(model, [skimage.data.chelsea(), skimage.data.coffee()])


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A checkpoint of the published form in the mirror; its tensors."""
    module = untrained("cornet_z", seed=5)
    found = {f"module.{key}": value for key, value in module.state_dict().items()}
    place = tmp_path / "s3.amazonaws.com" / "cornet-models"
    place.mkdir(parents=True)
    torch.save({"epoch": 25, "flags": {"model": "Z"}, "state_dict": found}, place / "file")
    digest = hashlib.sha256((place / "file").read_bytes()).hexdigest()
    (place / "file").rename(place / f"cornet_z-{digest[:8]}.pth")
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path))
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(cornet.VARIANTS["cornet_z"], "FILE", f"cornet_z-{digest[:8]}.pth")
    return module.state_dict()


def test_a_published_file_is_loaded_and_permuted(stored):
    trained, other = models.load("cornet_z"), models.load("cornet_z.permuted")
    for key, value in stored.items():
        assert torch.equal(trained.module.state_dict()[key], value)
        assert torch.equal(
            other.module.state_dict()[key].flatten().sort().values, value.flatten().sort().values
        )
    before, after = (activations.record(m.module, pictures(), m.layers) for m in (trained, other))
    for layer in trained.layers:
        assert activations.difference(before[layer], after[layer]) > 0.01, layer


@pytest.mark.usefixtures("stored")
def test_another_file_under_a_published_name_is_refused(tmp_path, monkeypatch):
    place = tmp_path / "s3.amazonaws.com" / "cornet-models"
    (place / cornet.VARIANTS["cornet_z"]["FILE"]).rename(place / "cornet_z-5c427c9c.pth")
    monkeypatch.setitem(cornet.VARIANTS["cornet_z"], "FILE", "cornet_z-5c427c9c.pth")
    with pytest.raises(ValueError, match=r"cornet_z-5c427c9c.pth is not what its name says"):
        models.load("cornet_z")


def test_files_are_named_with_their_hash():
    urls = {cornet.SOURCE + known["FILE"] for known in cornet.VARIANTS.values()}
    assert len(urls) == len(NAMES)
    assert all(weights.HASHED.search(url) and download.location(url) for url in urls)
