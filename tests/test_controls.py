"""Controls replace what was learned and nothing else."""

import pytest
import torch
import toy
from torch import nn

from lib import controls, models


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
