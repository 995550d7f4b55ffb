"""Names, patterns and blocks lead to the layers meant, in the order in which they are reached."""

import pytest
import torch
import torchvision
import toy
from torch import nn

from lib import activations, naming


class Residual(nn.Module):
    """Two convolutions around which the input is carried; its rectifier is called twice."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.relu = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.ReLU()

    def forward(self, x):
        return self.relu(x + self.conv2(self.relu(self.conv1(x))))


class Backwards(nn.Module):
    """Calls its parts in another order than it lists them."""

    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(3, 2, 1)
        self.layer2 = nn.Sequential(Residual(), Residual())
        self.layer1 = nn.Sequential(Residual(), Residual())
        self.spare = Residual()

    def forward(self, x):
        return self.last(self.layer2(self.layer1(x)))


NETWORK, INPUTS = Backwards().eval(), torch.rand(1, 3, 4, 4)


def test_exact_names_stay_as_they_are_given():
    assert naming.expand(NETWORK, ("last", "layer1.0"), INPUTS) == ("last", "layer1.0")
    assert naming.expand(NETWORK, "last, layer1.0  spare", INPUTS) == ("last", "layer1.0", "spare")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("layer*.1", ("layer1.1", "layer2.1")),
        ("layer?.[0-9]", ("layer1.0", "layer1.1", "layer2.0", "layer2.1")),
        ("layer1.0.relu", ("layer1.0.relu",)),
        ("layer1.?.relu", tuple(f"layer1.{i}.relu#{n}" for i in (0, 1) for n in (1, 2))),
        ("**.conv1", ("layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1", "layer2.1.conv1")),
        (("last", "layer2.*"), ("layer2.0", "layer2.1", "last")),
        ("layer1.0.relu#* layer1.0.relu#mean layer1.*", ("layer1.0.relu#1", "layer1.0.relu#2", "layer1.0.relu#mean",
                                                         "layer1.0", "layer1.1")),
    ],
)  # fmt: skip
def test_patterns_take_what_fits_in_the_order_reached(pattern, expected):
    assert naming.expand(NETWORK, pattern, INPUTS) == expected


def test_what_fits_nothing_is_refused_with_the_nearest():
    with pytest.raises(
        ValueError, match=r"nothing that is called fits it: 'layr\*\.1'; did you mean .*layer1\.1"
    ):
        naming.expand(NETWORK, "layr*.1", INPUTS)
    with pytest.raises(ValueError, match="nothing that is called"):
        naming.expand(NETWORK, "spar*", INPUTS)
    with pytest.raises(ValueError, match="unknown layer 'lastt'; did you mean last"):
        naming.expand(NETWORK, "lastt layer*", INPUTS)


def test_blocks_are_residual_blocks_and_groups_of_simple_modules():
    assert naming.blocks(NETWORK, INPUTS) == ("layer1.0", "layer1.1", "layer2.0", "layer2.1", "last")
    simple = toy.network(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(), nn.Linear(4, 3), nn.ReLU(), nn.Dropout(), nn.Linear(3, 2)),
    )
    assert naming.blocks(simple, torch.rand(1, 3, 4, 4)) == ("2", "4", "8", "10")
    with pytest.raises(ValueError, match="no block is found"):
        naming.blocks(toy.network(a=nn.ReLU()), INPUTS)


def test_block_that_is_called_again_counts_each_time_and_recurrent_ones_by_their_output():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.lstm = Residual(), nn.LSTM(16, 3, batch_first=True)

        def forward(self, x):
            return self.lstm(self.block(self.block(x)).flatten(2))

    assert naming.blocks(Loop(), INPUTS) == ("block#1", "block#2", "lstm.output")


class Branches(nn.Module):
    """Inception-like: branches that are sequences of convolutions with their normalisation."""

    def __init__(self):
        super().__init__()

        class Unit(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

            def forward(self, x):
                return self.norm(self.conv(x))

        self.one, self.two = nn.Sequential(Unit(), Unit()), nn.Sequential(Unit(), Unit())

    def forward(self, x):
        return self.one(x) + self.two(x)


def test_branches_of_a_block_are_not_blocks():
    assert naming.blocks(toy.network(a=Branches(), b=Branches()), INPUTS) == ("a", "b")


SIZES = {
    "alexnet": ("features.2 features.5 features.7 features.9 features.12 classifier.2 classifier.5 classifier.6", 224),
    "resnet50": ("maxpool layer1.0 layer1.1 layer1.2 layer2.0 layer2.1 layer2.2 layer2.3 layer3.0 layer3.1 "
                 "layer3.2 layer3.3 layer3.4 layer3.5 layer4.0 layer4.1 layer4.2 fc", 64),
    "squeezenet1_1": ("features.2 features.3 features.4 features.6 features.7 features.9 features.10 features.11 "
                      "features.12 classifier", 64),
    "densenet121": ("features.pool0 features.denseblock1 features.transition1 features.denseblock2 "
                    "features.transition2 features.denseblock3 features.transition3 features.denseblock4 "
                    "classifier", 64),
    "vit_b_32": (" ".join(["conv_proj", *(f"encoder.layers.encoder_layer_{i}" for i in range(12)), "heads"]), 224),
    "swin_t": ("features.0 features.1.0 features.1.1 features.2 features.3.0 features.3.1 features.4 "
               + " ".join(f"features.5.{i}" for i in range(6)) + " features.6 features.7.0 features.7.1 head", 64),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_blocks_of_known_architectures(name):
    with torch.device("meta"):
        module, inputs = (
            torchvision.models.get_model(name, weights=None).eval(),
            torch.zeros(1, 3, *[SIZES[name][1]] * 2),
        )
    found = naming.blocks(module, inputs)
    assert " ".join(found) == SIZES[name][0]
    assert list(activations.record(module, inputs, found)) == list(found)
