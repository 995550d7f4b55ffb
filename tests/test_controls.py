"""Controls replace what was learned and nothing else."""

import pickle

import pytest
import torch
import toy
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from lib import controls, models, orders, untrained


class Gain(nn.Module):
    """A parameter of a module that cannot initialise itself."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.linspace(2.0, 4.0, 4000))

    def forward(self, x):
        return x * self.gain.mean()


@pytest.fixture(params=["crepe_tiny", "efficientnet_lite0"])
def trained(request):
    return models.load(request.param).module


def _changed(a, b):
    """Names of the tensors that differ between two networks."""
    a, b = a.state_dict(), b.state_dict()
    assert a.keys() == b.keys()
    return {name for name in a if not torch.equal(a[name], b[name])}


def test_permuted_changes_every_learned_tensor_but_no_histogram(trained):
    twin = controls.permuted(trained)
    assert _changed(trained, twin) == {name for name, _ in trained.named_parameters()}
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor.flatten().sort().values, twin.state_dict()[name].flatten().sort().values)


def test_permutations_of_tensors_of_one_size_are_independent(trained):
    twin, seen = controls.permuted(trained), {}
    for name, parameter in trained.named_parameters():
        # Values repeat seldom, so the sorted order identifies the permutation.
        order = tuple(
            parameter.flatten().argsort()[twin.get_parameter(name).flatten().argsort().argsort()].tolist()
        )
        assert seen.setdefault(order, name) == name
    assert len(seen) == len(list(trained.parameters()))


def test_permutation_of_a_tensor_does_not_depend_on_the_others():
    first, second = nn.Linear(40, 30), nn.Linear(30, 20)
    small, large = toy.network(a=first), toy.network(b=second, a=first)
    assert torch.equal(controls.permuted(small).a.weight, controls.permuted(large).a.weight)


@pytest.mark.parametrize("control", ["permuted", "random"])
def test_control_leaves_the_network_the_seed_and_the_mode_alone(control, trained):
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    state = torch.get_rng_state()
    twins = [controls.controlled(trained, control, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(trained.state_dict()[name], tensor) for name, tensor in before.items())
    assert not _changed(twins[0], twins[1])
    assert _changed(twins[0], twins[2])
    assert not twins[0].training
    assert not any(parameter.requires_grad for parameter in twins[0].parameters())


def test_random_replaces_weights_resets_statistics_and_keeps_scale(trained):
    twin = controls.random(trained)
    assert {name for name in _changed(trained, twin) if name.endswith("running_var")}
    for part in twin.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert not part.running_mean.any()
            assert (part.running_var == 1).all()
        if isinstance(part, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            fan_in, n = part.weight[0].numel(), part.weight.numel()
            # Variance 2 / fan-in (He et al. 2015, eq. 10); standard error of a variance is sqrt(2 / n).
            assert abs(part.weight.var() * fan_in / 2 - 1) < 5 * (2 / n) ** 0.5
            assert part.bias is None or not part.bias.any()


def test_random_draws_other_parameters_with_their_own_mean_and_deviation():
    twin = controls.random(toy.network(gain=Gain()))
    values = twin.gain.gain
    spread = float(torch.linspace(2.0, 4.0, 4000).std(correction=0))
    assert abs(values.mean() - 3) < 5 * spread / 4000**0.5
    assert abs(values.std() - spread) < 5 * spread / 8000**0.5


def test_control_of_a_network_without_weights_is_refused():
    with pytest.raises(ValueError, match="without parameters"):
        controls.controlled(toy.network(nn.ReLU()), "permuted")
    with pytest.raises(ValueError, match="did you mean permuted"):
        controls.controlled(toy.vision().module, "permute")


# Every layer changes, no histogram does


class Recurrent(nn.Module):
    """Words, read by three recurrent layers of different kinds."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(30, 12, padding_idx=0)
        self.gru = nn.GRU(12, 10, batch_first=True, bidirectional=True)
        self.lstm = nn.LSTM(20, 9, num_layers=2, batch_first=True)
        self.cell = nn.RNNCell(9, 8)
        self.read = nn.Linear(8, 5)

    def forward(self, x):
        x = self.lstm(self.gru(self.embedding(x))[0])[0]
        return self.read(self.cell(x[:, -1]))


class Transformer(nn.Module):
    """Frames with learned positions through attention and feed-forward maps, normalised before each."""

    def __init__(self, depth=2):
        super().__init__()
        self.frames = weight_norm(nn.Linear(6, 16))
        self.positions = nn.Parameter(0.02 * torch.randn(7, 16))
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)

    def forward(self, x):
        return self.encoder(self.frames(x) + self.positions)


def drawn_apart(module, seed=0):
    """The network with every parameter away from what it is initialised to, as training leaves it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return models.frozen(module)


def outputs(module, inputs):
    """First tensor put out by each module, in each of its calls."""
    found, handles = {}, []

    def keep(name):
        def hook(_module, _inputs, output):
            output = output[0] if isinstance(output, tuple) else output
            found.setdefault(name, []).append(output.clone())

        return hook

    for name, part in module.named_modules():
        handles.append(part.register_forward_hook(keep(name)))
    # Attention computes its maps itself, unless gradients are asked for.
    with torch.enable_grad():
        module(inputs)
    for handle in handles:
        handle.remove()
    return found


NETWORKS = {
    "convolutional": lambda: (models.load("efficientnet_lite0").module, torch.rand(2, 3, 64, 64)),
    "transformer": lambda: (drawn_apart(Transformer()), torch.rand(2, 7, 6)),
    "recurrent": lambda: (drawn_apart(Recurrent()), torch.arange(1, 21).view(2, 10)),
}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("published", [False, True])
def test_permuting_changes_every_layer_but_no_histogram(kind, published):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        trained, inputs = NETWORKS[kind]()
    order = orders.drawn(trained.state_dict()) if published else None
    twin = controls.permuted(trained, order=order)
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor.flatten().sort().values, twin.state_dict()[name].flatten().sort().values)
    before, after = outputs(trained, inputs), outputs(twin, inputs)
    assert before.keys() == after.keys()
    own = {
        name
        for name, part in trained.named_modules()
        if next(part.parameters(recurse=False), None) is not None
    }
    # Weights of these are used by the module around them.
    hidden = {name for name in own if "parametrizations" in name or name.endswith("out_proj")}
    assert own - set(before) <= hidden
    for name, calls in before.items():
        for a, b in zip(calls, after[name], strict=True):
            assert a.shape == b.shape
            assert not torch.allclose(a, b), name


# Orders that were published


def test_drawn_order_is_that_of_the_published_scheme():
    trained = models.load("efficientnet_lite0").module
    state = trained.state_dict()
    with torch.random.fork_rng(devices=[]):
        # In the words of the build scripts: seed 0, then a permutation of all entries, tensor after tensor.
        torch.manual_seed(0)
        expected = {}
        for name, w in state.items():
            if "stem" in name:
                expected[name] = w
                continue
            idx = torch.randperm(w.nelement())
            expected[name] = w.view(-1)[idx].view(w.size())
    order = orders.drawn(state, skip=("stem",))
    # A network whose stem is not permuted lacks learned tensors; in the study, what is skipped is not learned.
    order |= {name: torch.arange(w.numel()) for name, w in state.items() if "stem" in name}
    twin = controls.controlled(trained, "permuted", order=order)
    for name, tensor in twin.state_dict().items():
        assert torch.equal(tensor, expected[name])
    assert any("running_var" in name for name in _changed(trained, twin))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_stored_indices_give_the_permutation_they_were_stored_for(protocol, tmp_path):
    trained = toy.network(first=nn.Conv2d(3, 8, 5), norm=nn.BatchNorm2d(8), second=nn.Conv2d(8, 2, 3))
    order = orders.drawn({f"model.1.{name}": w for name, w in trained.state_dict().items()}, seed=3)
    path = tmp_path / "rand_network_indices.pckl"
    path.write_bytes(pickle.dumps(order, protocol=protocol))
    found = orders.stored(path, rename=lambda name: name.removeprefix("model.1."))
    twin = controls.permuted(trained, order=found)
    for name, w in trained.state_dict().items():
        assert torch.equal(twin.state_dict()[name].flatten(), w.flatten()[order[f"model.1.{name}"]])
    part = orders.stored(path, rename=lambda name: name[8:] if "running" not in name else None)
    kept = controls.permuted(trained, order=part)
    assert torch.equal(kept.norm.running_mean, trained.norm.running_mean)
    assert torch.equal(kept.first.weight, twin.first.weight)


def test_order_of_another_network_is_refused_by_name(tmp_path):
    trained = toy.network(first=nn.Conv2d(3, 8, 5), second=nn.Conv2d(8, 2, 3))
    order = orders.drawn(trained.state_dict())
    with pytest.raises(ValueError, match=r"lacks parameters first\.weight, first\.bias"):
        controls.permuted(trained, order={n: v for n, v in order.items() if "first" not in n})
    with pytest.raises(ValueError, match=r"not there: third\.weight"):
        controls.permuted(trained, order=order | {"third.weight": torch.arange(3)})
    with pytest.raises(ValueError, match=r"no permutation .* first\.bias \(7 of 8\)"):
        controls.permuted(trained, order=order | {"first.bias": torch.arange(7)})
    with pytest.raises(ValueError, match=r"no permutation .* first\.bias \(8 of 8\)"):
        controls.permuted(trained, order=order | {"first.bias": torch.zeros(8)})
    with pytest.raises(ValueError, match="control with a stored order 'random'"):
        controls.controlled(trained, "random", order=order)
    for content, said in {
        "list": ([1], "list instead of indices"),
        "text": ({"first.weight": "x"}, r"first\.weight hold something else"),
        "real": ({"first.weight": torch.rand(3)}, r"first\.weight hold something else"),
        "table": ({"first.weight": torch.ones(3, 3).long()}, r"first\.weight hold something else"),
    }.values():
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(content))
        with pytest.raises(ValueError, match=said):
            orders.stored(tmp_path / "x.pkl")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": torch.arange(2), "b": torch.arange(2)}))
    with pytest.raises(ValueError, match="fall together"):
        orders.stored(tmp_path / "x.pkl", rename=lambda _name: "c")


def test_tied_weights_are_permuted_once():
    trained = toy.network(a=nn.Linear(6, 6, bias=False), b=nn.Linear(6, 6, bias=False))
    trained.b.weight = trained.a.weight
    order = orders.drawn(trained.state_dict())
    for twin in (controls.permuted(trained), controls.permuted(trained, order=order)):
        assert twin.a.weight is twin.b.weight
        assert torch.equal(twin.a.weight.flatten().sort().values, trained.a.weight.flatten().sort().values)
    assert torch.equal(twin.a.weight.flatten(), trained.a.weight.flatten()[order["b.weight"]])
    one = {"a.weight": order["a.weight"]}
    assert torch.equal(
        controls.permuted(trained, order=one).b.weight.flatten(), trained.a.weight.flatten()[one["a.weight"]]
    )


# Initialisation of parts that are no plain maps


def variance_is(tensor, expected):
    """Whether a tensor's variance is the expected one within five standard errors, sqrt(2 / n) of it."""
    return abs(float(tensor.var()) / expected - 1) < 5 * (2 / tensor.numel()) ** 0.5


def test_random_attention_has_maps_of_unit_gain_and_no_offset():
    one = drawn_apart(nn.MultiheadAttention(64, 8))
    other = drawn_apart(nn.MultiheadAttention(64, 8, kdim=48, vdim=80, add_bias_kv=True))
    twins = [controls.random(module) for module in (one, other)]
    assert variance_is(twins[0].in_proj_weight, 1 / 64)
    for name, fan_in in {"q_proj_weight": 64, "k_proj_weight": 48, "v_proj_weight": 80}.items():
        assert variance_is(getattr(twins[1], name), 1 / fan_in)
    assert not torch.equal(twins[1].bias_k, other.bias_k)
    for twin in twins:
        assert not twin.in_proj_bias.any()
        assert not twin.out_proj.bias.any()
        assert variance_is(twin.out_proj.weight, 2 / 64)


def test_random_embedding_keeps_its_scale_and_its_padding():
    trained = drawn_apart(nn.Embedding(400, 30, padding_idx=7), seed=11)
    with torch.no_grad():
        trained.weight.mul_(0.02).add_(0.01)
        trained.weight[7] = 0
    twin = controls.random(trained)
    assert not twin.weight[7].any()
    others = torch.cat([twin.weight[:7], twin.weight[8:]])
    assert variance_is(others, float(trained.weight.var()))
    correlation = torch.corrcoef(
        torch.stack([others.flatten(), torch.cat([trained.weight[:7], trained.weight[8:]]).flatten()])
    )
    assert abs(correlation[0, 1]) < 5 / others.numel() ** 0.5


def test_random_normalisation_is_reset_and_recurrence_is_torchs():
    trained = drawn_apart(
        nn.Sequential(nn.LayerNorm(20), nn.GroupNorm(2, 20), nn.GRU(20, 25), nn.LSTMCell(20, 16))
    )
    twin = controls.random(trained)
    for part in twin[:2]:
        assert (part.weight == 1).all()
        assert not part.bias.any()
    for part, hidden in zip(twin[2:], (25, 16), strict=True):
        for parameter in part.parameters():
            assert parameter.abs().max() <= hidden**-0.5
            # A uniform distribution within ±a has variance a² / 3; its squares spread less than a normal one's.
            assert variance_is(parameter, 1 / (3 * hidden))


@pytest.mark.parametrize("form", ["parametrized", "older"])
def test_random_replaces_weights_stored_as_direction_and_length(form):
    plain = nn.Conv1d(40, 30, 5)
    if form == "older":
        with pytest.warns(FutureWarning):
            part = nn.utils.weight_norm(plain, dim=2)
    else:
        part = weight_norm(plain, dim=2)
    trained = drawn_apart(part, seed=11)
    x = torch.rand(2, 40, 9)
    before = trained(x)  # the older form cannot be copied before it has been run
    twin = controls.random(trained)
    assert not torch.allclose(before, twin(x))
    assert variance_is(twin.weight, 2 / 200)
    # Lengths are those of the directions that were drawn, to roundings of float32.
    direction = twin.weight_v if form == "older" else twin.parametrizations.weight.original1
    assert torch.allclose(twin.weight, direction, atol=1e-6)
    correlation = torch.corrcoef(torch.stack([trained.weight.flatten(), twin.weight.flatten()]))[0, 1]
    assert abs(correlation) < 5 / twin.weight.numel() ** 0.5
    assert not twin.bias.any()


@pytest.mark.parametrize("kind", NETWORKS)
def test_random_replaces_every_parameter_and_keeps_layers_apart_from_zero(kind):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        trained, inputs = NETWORKS[kind]()
    twin = controls.random(trained)
    assert {name for name, _ in trained.named_parameters()} <= _changed(trained, twin)
    for name, calls in outputs(twin, inputs).items():
        for output in calls:
            assert output.isfinite().all()
            assert output.std() > 1e-3, name


def test_random_transformer_keeps_its_scale_in_depth():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        trained = drawn_apart(Transformer(depth=24))
    found = outputs(
        controls.random(trained), torch.randn(4, 7, 6, generator=torch.Generator().manual_seed(0))
    )
    first, last = (float(found[f"encoder.layers.{i}"][0].std()) for i in (0, 23))
    # Each of 48 branches adds about the variance that a normalised input has, so scale grows like a root.
    assert 1 < last / first < 3 * 24**0.5


def test_redrawing_leaves_the_network_alone():
    trained = drawn_apart(Transformer())
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        twin = untrained.redrawn(trained)
    assert all(torch.equal(trained.state_dict()[name], tensor) for name, tensor in before.items())
    assert twin.state_dict().keys() == before.keys()
