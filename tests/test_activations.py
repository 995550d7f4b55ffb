"""Recording a forward pass: every named output, once, as it was when it was put out."""

import dataclasses
from collections import OrderedDict
from typing import NamedTuple

import pytest
import torch
import toy
from torch import nn

from lib import activations, models


class Many(nn.Module):
    """Puts out a tuple or a mapping of tensors."""

    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(x, 2 * x)


class Around(nn.Module):
    """Calls parts in a given order."""

    def __init__(self, order, **parts):
        super().__init__()
        self.order = order
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x):
        for name in self.order:
            x = self.get_submodule(name)(x)
            x = x[0] if isinstance(x, tuple) else x
        return x


def _hooks(module):
    return sum(len(part._forward_hooks) for part in module.modules())


def test_record_equals_running_the_parts():
    model, inputs = toy.vision(), torch.rand(3, 3, 16, 16)
    found = activations.record(model.module, inputs, ("second", "first"))
    assert list(found) == ["first", "second"]
    torch.testing.assert_close(found["first"], model.module[0](inputs))
    torch.testing.assert_close(found["second"], model.module(inputs))
    assert _hooks(model.module) == 0


def test_hooks_are_gone_after_a_failed_pass():
    module = toy.vision().module
    with pytest.raises(RuntimeError):
        activations.record(module, torch.rand(1, 7, 16, 16), ("first", "second"))
    with pytest.raises(ZeroDivisionError):
        activations.record(module, torch.rand(1, 3, 16, 16), ("first",), keep=lambda _: 1 / 0)
    assert _hooks(module) == 0


def test_stop_leaves_out_what_follows_and_keeps_the_answer():
    calls = []
    last = nn.Identity()
    last.register_forward_hook(lambda *_: calls.append(1))
    module, inputs = toy.network(a=nn.Linear(4, 3), b=nn.Tanh(), c=last), torch.rand(2, 4)
    for stop, expected in ((False, 1), (True, 0)):
        calls.clear()
        found = activations.record(module, inputs, ("b", "a"), stop=stop)
        assert len(calls) == expected
        torch.testing.assert_close(found["b"], module(inputs))


@pytest.mark.parametrize("wrap", [lambda a, b: (a, b), lambda a, b: [a, b], lambda a, b: {"0": a, "1": b}])
def test_elements_of_a_nested_output_are_named(wrap):
    module, inputs = toy.network(many=Many(wrap)), torch.rand(2, 4)
    found = activations.record(module, inputs, ("many.1", "many.0"))
    torch.testing.assert_close(found["many.1"], 2 * found["many.0"])
    with pytest.raises(ValueError, match=r"name one of: many\.0, many\.1"):
        activations.record(module, inputs, ("many",))
    with pytest.raises(ValueError, match=r"name one of: many\.0, many\.1"):
        activations.record(module, inputs, ("many.2",))


def test_element_of_a_single_tensor_is_refused():
    with pytest.raises(ValueError, match="use 'a'"):
        activations.record(toy.network(a=nn.Tanh()), torch.rand(2, 4), ("a.0",))


def test_module_called_twice_is_refused_unless_a_call_is_named():
    module = Around(("a", "shared", "b", "shared"), a=nn.Linear(4, 4), b=nn.Linear(4, 4), shared=nn.ReLU())
    inputs = torch.randn(2, 4)
    with pytest.raises(
        ValueError, match=r"'shared' is called more than once.* shared#1, shared#2.*shared#mean"
    ):
        activations.record(module, inputs, ("a", "shared"))
    assert _hooks(module) == 0
    first = module.a(inputs).relu()
    second = module.b(first).relu()
    for stop in (False, True):
        names = ("shared#2", "b", "shared#1", "shared#last", "shared#mean")
        found = activations.record(module, inputs, names, stop=stop)
        assert list(found) == ["shared#1", "b", "shared#2", "shared#last", "shared#mean"]
        torch.testing.assert_close(found["shared#1"], first)
        torch.testing.assert_close(found["shared#2"], second)
        torch.testing.assert_close(found["shared#last"], second)
        torch.testing.assert_close(found["shared#mean"], (first + second) / 2)
    with pytest.raises(ValueError, match=r"'shared#3': shared is called 2 times"):
        activations.record(module, inputs, ("shared#3",))
    for wrong in ("shared#0", "shared#x", "shared#"):
        with pytest.raises(ValueError, match="the number of a call, from 1 on, last or mean"):
            activations.record(module, inputs, (wrong,))
    with pytest.raises(ValueError, match="did you mean shared"):
        activations.record(module, inputs, ("shard#1",))


def test_a_module_called_once_is_also_its_first_call():
    module, inputs = toy.network(a=nn.Tanh(), b=nn.Tanh()), torch.rand(2, 4)
    found = activations.record(module, inputs, ("a", "a#1", "a#last", "a#mean"))
    assert all(torch.equal(found["a"], other) for other in found.values())


@dataclasses.dataclass
class Result:
    hidden: torch.Tensor
    pairs: list
    missing: None = None


class Named(NamedTuple):
    loss: torch.Tensor
    logits: torch.Tensor


@pytest.mark.parametrize(
    ("wrap", "paths"),
    [
        (lambda a, b: Result(a, [(a, b), {"b.c": b}]), ("hidden", "pairs.0.0", "pairs.0.1", "pairs.1.b.c")),
        (lambda a, b: OrderedDict(last=a, hidden=(a, b), past=None), ("last", "hidden.0", "hidden.1")),
        (lambda a, b: [Named(a, b), None], ("0.loss", "0.logits")),
    ],
)
def test_elements_are_found_at_any_depth(wrap, paths):
    module, inputs = toy.network(a=Many(wrap)), torch.rand(2, 4)
    found = activations.record(module, inputs, [f"a.{path}" for path in paths])
    expected = {key: value for key, value in zip(paths, found.values(), strict=True)}
    for path, value in expected.items():
        twice = path in ("pairs.0.1", "pairs.1.b.c", "hidden.1", "0.logits")
        torch.testing.assert_close(value, 2 * inputs if twice else inputs)
    with pytest.raises(ValueError, match=f"name one of: a.{paths[0]}, a.{paths[1]}"):
        activations.record(module, inputs, ("a",))
    assert [call.layer for call in activations.calls(module, inputs)] == [f"a.{path}" for path in paths]


def test_the_only_tensor_of_a_tuple_needs_no_element():
    module, inputs = toy.network(a=Many(lambda a, _: (a, None))), torch.rand(2, 4)
    torch.testing.assert_close(activations.record(module, inputs, ("a",))["a"], inputs)


def test_element_and_part_of_one_name_are_told_apart():
    module = Around(("outer",), outer=Around(("0",), **{"0": Many(lambda a, b: (a, b))}))
    module.outer.forward = lambda x: (module.outer.get_submodule("0")(x)[0] - 1, x)
    inputs = torch.rand(2, 4)
    found = activations.record(module, inputs, ("outer#1.0", "outer.0.1", "outer#1.1"))
    torch.testing.assert_close(found["outer#1.0"], inputs - 1)
    torch.testing.assert_close(found["outer.0.1"], 2 * inputs)


def test_recurrent_outputs_have_names():
    inputs = torch.rand(3, 5, 4)
    lstm, gru = nn.LSTM(4, 6, batch_first=True), nn.GRU(4, 6, batch_first=True)
    found = activations.record(toy.network(r=lstm), inputs, ("r.output", "r.hidden", "r.cell", "r.1.0"))
    output, (hidden, cell) = lstm(inputs)
    torch.testing.assert_close(found["r.output"], output)
    torch.testing.assert_close(found["r.hidden"], hidden)
    torch.testing.assert_close(found["r.cell"], cell)
    torch.testing.assert_close(found["r.1.0"], hidden)
    found = activations.record(toy.network(r=gru), inputs, ("r.output", "r.hidden"))
    torch.testing.assert_close(found["r.hidden"], gru(inputs)[1])
    with pytest.raises(ValueError, match=r"name one of: r\.output, r\.hidden"):
        activations.record(toy.network(r=gru), inputs, ("r",))


class Steps(nn.Module):
    """Calls a cell once per step."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(4, 6)

    def forward(self, x):
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return state[0]


def test_cell_called_per_step_equals_the_layer():
    steps, inputs = models.frozen(Steps()), torch.rand(3, 5, 4)
    lstm = nn.LSTM(4, 6, batch_first=True)
    lstm.load_state_dict({f"{name}_l0": value for name, value in steps.cell.state_dict().items()})
    names = ("cell#2.hidden", "cell#last.hidden", "cell#mean.hidden", "cell#5.cell")
    found = activations.record(steps, inputs, names)
    output, (_, cell) = lstm(inputs)
    torch.testing.assert_close(found["cell#2.hidden"], output[:, 1])
    torch.testing.assert_close(found["cell#last.hidden"], output[:, -1])
    torch.testing.assert_close(found["cell#mean.hidden"], output.mean(1))
    torch.testing.assert_close(found["cell#5.cell"], cell[0])


class Views(nn.Module):
    """Hands on a view of its input and writes into it later."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Identity(), nn.Identity()

    def forward(self, x):
        x = self.first(x)
        view = self.second(x[:, :2])
        view.zero_()
        x[:, 3] = 7
        return self.last(x)


def test_what_is_recorded_stays_as_it_was_put_out():
    module, inputs = models.frozen(Views()), torch.randn(5, 4)
    before = module.first(inputs)
    found = activations.record(module, inputs, ("first", "second", "last", "second#mean"))
    torch.testing.assert_close(found["first"], before)
    torch.testing.assert_close(found["second"], before[:, :2])
    torch.testing.assert_close(found["second#mean"], before[:, :2])
    assert (found["last"][:, 3] == 7).all()
    inner = toy.network(a=nn.Linear(4, 4), b=nn.ReLU(inplace=True))
    found = activations.record(inner, inputs, ("a", "b"))
    assert (found["a"] < 0).any()
    torch.testing.assert_close(found["a"].relu(), found["b"])


def test_calls_are_listed_in_order_under_names_that_record_takes():
    module = Around(
        ("a", "shared", "r", "shared"), a=nn.Linear(4, 4), shared=nn.ReLU(), r=nn.LSTM(4, 4, batch_first=True)
    )
    inputs = torch.rand(2, 3, 4)
    found = activations.calls(module, inputs)
    names = ["a", "shared#1", "r.output", "r.hidden", "r.cell", "shared#2"]
    assert [call.layer for call in found] == names
    recorded = activations.record(module, inputs, names)
    assert [tuple(value.shape) for value in recorded.values()] == [call.shape for call in found]
    assert [call.n_bytes for call in found][:3] == [96, 96, 96]
    assert _hooks(module) == 0


def test_module_never_called_and_unknown_names_are_refused():
    module = Around(("a",), a=nn.Linear(4, 4), spare=nn.Linear(4, 4))
    with pytest.raises(ValueError, match=r"\['spare'\] are not called"):
        activations.record(module, torch.rand(2, 4), ("a", "spare"))
    with pytest.raises(ValueError, match="unknown layer 'spar'; did you mean spare"):
        activations.record(module, torch.rand(2, 4), ("spar",))


def test_what_is_kept_survives_later_work_in_place():
    module = toy.network(a=nn.Linear(4, 4), b=nn.ReLU(inplace=True))
    inputs = torch.randn(5, 4)
    with torch.no_grad():
        found = activations.record(module, inputs, ("a", "b"), keep=torch.clone)
    assert (found["a"] < 0).any()
    assert (found["b"] >= 0).all()


def test_device_is_named_or_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert activations.device("auto").type == activations.device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="'cuda' is not available"):
        activations.device("cuda")
    with pytest.raises(ValueError, match="did you mean cuda"):
        activations.device("cuda0")


def test_inference_refuses_training_mode_and_restores_precision():
    module = toy.vision().module
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    with activations.inference(module, torch.device("cpu")) as same:
        assert same is module
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not module(torch.rand(1, 3, 16, 16)).requires_grad
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before
    with activations.inference(module, torch.device("cpu"), tf32=True):
        assert torch.backends.cudnn.allow_tf32
        assert torch.backends.cuda.matmul.allow_tf32
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before
    with (
        pytest.raises(ValueError, match=r"call \.eval\(\)"),
        activations.inference(module.train(), torch.device("cpu")),
    ):
        pass


def test_difference_is_relative_to_the_first():
    a = torch.tensor([1.0, -4.0])
    assert activations.difference(a, a + 1) == 0.25
    assert activations.difference(torch.zeros(2), a) == 4.0
    assert activations.difference(a, a * torch.nan) != activations.difference(a, a * torch.nan)
