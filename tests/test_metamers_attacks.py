"""Attacks on networks: against closed forms of the smallest change that fools a linear one, within their norms."""

import numpy as np
import pytest
import torch
import toy
from scipy.optimize import linprog
from torch import nn

from lib import models
from lib.metamers import attacks, canvas, labels


def linear(weight, bias=(0.0, 0.0)):
    """A network of two classes: the difference of their scores is weight · x + bias."""
    network = toy.network(flat=nn.Flatten(), scores=nn.Linear(weight.numel(), 2))
    network.scores.weight.data = torch.stack([weight, torch.zeros_like(weight)])
    network.scores.bias.data = torch.tensor(bias)
    return canvas.of(toy.vision(models.frozen(network), ("scores",)))


def drawn(seed=0, n=3 * 4 * 4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, generator=generator), 0.4 + 0.2 * torch.rand(5, n, generator=generator)


DUAL = {"l1": torch.inf, "l2": 2, "linf": 1}


@pytest.mark.parametrize("norm", attacks.NORMS)
def test_a_linear_network_is_fooled_from_the_smallest_norm_on(norm):
    weight, x = drawn()
    # Far from the borders of the range: scores differ by little.
    bias = -(x @ weight).mean().item()
    shown = linear(weight, (bias, 0.0))
    pictures = x.view(5, 3, 4, 4)
    margin = x @ weight + bias
    truth = (margin < 0).long()
    # Hölder: the smallest change of norm p is the margin by the dual norm of the weights.
    smallest = (margin.abs() / weight.norm(p=DUAL[norm])).tolist()
    for i, epsilon in enumerate(smallest):
        one, label = pictures[i : i + 1], truth[i : i + 1]
        for factor, fooled in ((0.999, False), (1.001, True)):
            attack = attacks.Attack(norm, factor * epsilon)
            changed = attacks.adversarial(shown, one, label, attack)
            assert (attacks.classes(shown, changed) != label).item() is fooled
            # Sums near 1 are rounded to 6e-8, in each of 48 values.
            assert attacks.size(changed - one, norm).item() <= factor * epsilon + 48 * 6e-8


def best_change(weight, x, epsilon):
    """Largest increase of weight · x by a change of L1 norm epsilon inside the range, by linear programming."""
    n = len(weight)
    bounds = [*[(0, 1 - v) for v in x.tolist()], *[(0, v) for v in x.tolist()]]
    cost = -np.concatenate([weight, -weight]).astype(float)
    found = linprog(cost, A_ub=np.ones((1, 2 * n)), b_ub=[epsilon], bounds=bounds)
    return -found.fun


def test_l1_attacks_reach_the_optimum_where_the_range_stops_them():
    weight, x = drawn(1)
    pictures = x.view(5, 3, 4, 4)
    # Of either class as little as it takes to go on to the end.
    shown = linear(weight, (1e3, 0.0))
    attack = attacks.Attack("l1", 6.0)
    changed = attacks.adversarial(shown, pictures, torch.zeros(5, dtype=torch.long), attack)
    gained = -(changed - pictures).flatten(1) @ weight
    for i in range(5):
        wanted = best_change(-weight.numpy(), x[i].numpy(), 6.0)
        assert wanted < 6 * weight.abs().max() * 0.95, "the range stops nothing"
        assert gained[i].item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize(("norm", "epsilon"), [("l1", 8.0), ("l2", 2.0), ("linf", 0.3)])
def test_no_attack_leaves_its_norm_or_the_range(norm, epsilon, random):
    shown = canvas.of(toy.vision(layers=("second",)))
    x = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    x[0], x[1] = 0, 1
    network = toy.network(base=shown.module, flat=nn.Flatten(), scores=nn.Linear(180, 4))
    shown = canvas.of(toy.vision(network, ("scores",)))
    truth = attacks.classes(shown, x)
    attack = attacks.Attack(norm, epsilon, n_steps=10, random=random)
    changed = attacks.adversarial(shown, x, truth, attack)
    # Rounding of 768 float32 values.
    assert attacks.size(changed.double() - x.double(), norm).max() <= epsilon * (1 + 1e-4)
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert (changed != x).flatten(1).any(1).all()
    again = attacks.adversarial(shown, x, truth, attack)
    assert torch.equal(again, changed)
    parts = torch.cat([attacks.adversarial(shown, x[i : i + 1], truth[i : i + 1], attack) for i in range(6)])
    assert random or torch.allclose(parts, changed, atol=1e-5)


def test_random_starts_follow_their_seed():
    weight, x = drawn()
    shown, truth = linear(weight, (100.0, 0.0)), torch.zeros(5, dtype=torch.long)
    a, b, c = (
        attacks.adversarial(
            shown, x.view(5, 3, 4, 4), truth, attacks.Attack("l2", 0.1, n_steps=1, random=True, seed=s)
        )
        for s in (0, 0, 1)
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_a_sure_network_is_still_attacked():
    # Scores a thousand apart: the softmax is 1 in float32, and its cross-entropy has no gradient.
    weight, x = drawn()
    shown = linear(1e4 * weight, (-1e4 * (x @ weight).min().item() + 3e3, 0.0))
    truth = attacks.classes(shown, x.view(5, 3, 4, 4))
    changed = attacks.adversarial(shown, x.view(5, 3, 4, 4), truth, attacks.Attack("linf", 0.3))
    assert (attacks.classes(shown, changed) != truth).all()


def test_accuracy_falls_with_the_norm_and_starts_at_clean():
    shown = canvas.of(toy.vision(toy.network(flat=nn.Flatten(), scores=nn.Linear(48, 3)), ("scores",)))
    x = torch.rand(20, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    own = attacks.classes(shown, x)
    truth = torch.where(torch.arange(20) < 5, (own + 1) % 3, own)
    table = attacks.evaluation(
        shown, x, truth, "l2", epsilons=(0, 0.01, 0.1, 1.0, 3.0), batch_size=6, n_steps=16
    )
    assert table["value"].iloc[0] == 0.75
    assert (table["value"].diff().dropna() <= 0).all()
    assert table["value"].iloc[-1] == 0
    assert (table["largest"] <= table["epsilon"] * (1 + 1e-5)).all()
    assert (table["n"] == 20).all()
    clean = attacks.evaluation(shown, x, None, "linf", epsilons=(0,))
    assert clean["value"].item() == 1
    assert attacks.EPSILONS["linf"] == tuple(
        attacks.evaluation(shown, x[:1], None, "linf", n_steps=1)["epsilon"]
    )


def test_scores_over_time_are_averaged():
    network = toy.network(scores=nn.Unflatten(1, (4, 4)))
    shown = canvas.of(
        toy.vision(toy.network(flat=nn.Flatten(), pick=nn.Linear(48, 16), **{"scores": network}), ())
    )
    x = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    namer = labels.Labeller("scores", tuple("abcd"), time_axis=1)
    truth = attacks.classes(shown, x, layer="scores", time_axis=1)
    assert ["abcd"[i] for i in truth] == namer.of(shown, x)
    table = attacks.evaluation(shown, x, None, "l2", epsilons=(0, 5.0), labeller=namer)
    assert table["value"].tolist() == [1, 0]


class Best(nn.Module):
    """One where the best class is, which has no gradient."""

    def forward(self, x):
        return nn.functional.one_hot(x.argmax(1), x.shape[1]).float()


def test_what_cannot_be_attacked_is_refused():
    network = toy.network(flat=nn.Flatten(), scores=nn.Linear(48, 3), best=Best())
    shown = canvas.of(toy.vision(network, ("scores",)))
    x, truth = torch.full((2, 3, 4, 4), 0.5), torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match="no gradient"):
        attacks.adversarial(shown, x, truth, attacks.Attack("l2", 0.1))
    attacks.adversarial(shown, x, truth, attacks.Attack("l2", 0.1), layer="scores")
    with pytest.raises(ValueError, match="range of the canvas, 0 to 1"):
        attacks.adversarial(shown, x + 1, truth, attacks.Attack("l2", 0.1))
    for bad in (
        {"norm": "l3", "epsilon": 1},
        {"norm": "l2", "epsilon": -1},
        {"norm": "l2", "epsilon": np.nan},
    ):
        with pytest.raises(ValueError, match=r"norm|epsilon"):
            attacks.Attack(**bad)
