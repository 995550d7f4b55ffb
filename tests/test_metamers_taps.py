import pytest
import torch
import toy
from torch import nn

from lib import activations
from lib.metamers import taps

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """A residual block whose one ReLU is called twice, the last time at its end."""

    def __init__(self, *, inplace=False):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.relu = nn.ReLU(inplace=inplace)

    def forward(self, x):
        return self.relu(self.second(self.relu(self.first(x))) + x)


class Repeated(nn.Module):
    """A cell that is called several times, and what counts how often anything after it runs."""

    def __init__(self, n=3):
        super().__init__()
        self.n, self.later = n, []
        self.cell = nn.Conv2d(3, 3, 1)
        self.end = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        for _ in range(self.n):
            x = self.cell(x).tanh()
        self.later.append(1)
        return self.end(x)


def gradient(function, x):
    """Of a weighted sum of an activation."""
    x = x.clone().requires_grad_()
    y = function(x).flatten()
    (y * torch.linspace(-1, 1, len(y))).sum().backward()
    return x.grad


@pytest.mark.parametrize("inplace", [False, True])
def test_tapped_relu_passes_back_its_gradient_and_others_do_not(inplace):
    whole = toy.network(block=Block(inplace=inplace), end=nn.Conv2d(3, 2, 3))
    tap = taps.tap(whole, "block", X)
    assert tap.overridden
    assert tap.rectifier is whole.block.relu
    assert tap.turn == 2
    torch.testing.assert_close(tap.activation(X), whole.block(X.clone()).flatten(1), rtol=0, atol=0)

    def by_hand(x):
        inner = torch.relu(whole.block.first(x))
        return taps.rectified(whole.block.second(inner) + x)

    torch.testing.assert_close(gradient(tap.activation, X), gradient(by_hand, X), rtol=0, atol=1e-6)
    true = taps.tap(whole, "block", X, fake_relu=False)
    assert not true.overridden
    assert not torch.allclose(gradient(true.activation, X), gradient(tap.activation, X))
    assert "forward" not in vars(whole.block.relu)


def test_gradient_behind_a_fake_relu_is_the_one_that_comes():
    z = torch.tensor([-2.0, -0.0, 3.0], requires_grad=True)
    y = taps.rectified(z)
    assert y.tolist() == [0, 0, 3]
    y.backward(torch.tensor([1.0, 2.0, 3.0]))
    assert z.grad.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "end",
    [
        nn.GELU(),
        nn.ReLU6(),
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)),
    ],
)
def test_what_does_not_end_in_a_relu_keeps_its_gradient(end):
    assert not taps.tap(toy.network(nn.Conv2d(3, 3, 3), end), "1", X).overridden


def test_relu_behind_which_nothing_happens_is_found():
    # dropout of a network in evaluation mode hands on the very tensor
    assert taps.tap(toy.network(nn.Conv2d(3, 3, 3), nn.ReLU(), nn.Dropout()), "2", X).overridden


@pytest.mark.parametrize("layer", ["cell#2", "cell#last", "cell#mean"])
def test_network_is_left_right_after_the_layer(layer):
    module = Repeated().eval().requires_grad_(False)
    tap = taps.tap(module, layer, X)
    tried = len(module.later)
    found = tap.activation(X)
    assert len(module.later) == tried
    with torch.no_grad():
        whole = activations.record(module, X, [layer])[layer]
    torch.testing.assert_close(found, whole.flatten(1), rtol=0, atol=1e-6)
    assert tap.part is module.cell


@pytest.mark.parametrize(
    ("layer", "error"), [("cell", "ambiguous"), ("cel", "cell"), ("cell#9", "called 3 times")]
)
def test_layer_that_is_not_one_is_refused(layer, error):
    with pytest.raises(ValueError, match=error):
        taps.tap(Repeated().eval(), layer, X)


class Chosen(nn.Module):
    """The largest channel, which has no gradient."""

    def forward(self, x):
        return x.argmax(1)


class Rounded(nn.Module):
    """Whole numbers, cut off from what they come from."""

    def forward(self, x):
        return x.detach().round()


class Deaf(nn.Module):
    """A weight that looks at no input."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.weight.expand(len(x), 5) * 1


@pytest.mark.parametrize(
    ("module", "layer", "error"),
    [
        (toy.network(nn.Conv2d(3, 4, 3), Chosen), "1", "argmax"),
        (toy.network(nn.Conv2d(3, 4, 3), Rounded, nn.Conv2d(4, 2, 3)), "2", "not connected"),
        (nn.Sequential(Deaf()), "0", "does not depend"),
    ],
)
def test_layer_without_a_gradient_is_refused(module, layer, error):
    with pytest.raises(ValueError, match=error):
        taps.tap(module, layer, X)


def test_relu_whose_forward_was_replaced_is_left_alone():
    whole = toy.network(conv=nn.Conv2d(3, 3, 3), relu=nn.ReLU())
    whole.relu.forward = lambda z: 2 * z.clamp(min=0)
    before = whole(X)
    tap = taps.tap(whole, "relu", X)
    assert not tap.overridden
    torch.testing.assert_close(tap.activation(X), before.flatten(1), rtol=0, atol=0)
    torch.testing.assert_close(whole(X), before, rtol=0, atol=0)
