"""Recording a forward pass: every named output, once, as it was when it was put out."""

import pytest
import torch
import toy
from torch import nn

from lib import activations


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


def test_module_called_twice_is_refused_not_overwritten():
    module = Around(("a", "shared", "b", "shared"), a=nn.Linear(4, 4), b=nn.Linear(4, 4), shared=nn.ReLU())
    with pytest.raises(ValueError, match="'shared' is called more than once"):
        activations.record(module, torch.rand(2, 4), ("a", "shared"))
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
