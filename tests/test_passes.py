"""Stimuli are read ahead in order, and each keeps its own rows."""

import threading

import numpy as np
import pytest
import torch
import toy
from torch import nn

from lib import passes
from lib.reduction import Reduction


def test_items_come_in_order_one_ahead():
    made, used = [], []

    def make(item):
        made.append((item, threading.current_thread() is threading.main_thread()))
        return 10 * item

    for value in passes.ahead(make, range(5)):
        used.append(value)
        assert len(made) <= len(used) + 1
    assert used == [0, 10, 20, 30, 40]
    assert made == [(i, False) for i in range(5)]
    assert list(passes.ahead(make, [])) == []


def test_error_of_reading_comes_when_its_turn_comes():
    def make(item):
        if item == 2:
            raise ValueError("two is broken")
        return item

    coming = passes.ahead(make, range(4))
    assert [next(coming), next(coming)] == [0, 1]
    with pytest.raises(ValueError, match="two is broken"):
        next(coming)


def test_calls_behind_come_in_order_and_all_of_them():
    made = []
    with passes.behind(lambda *given: made.append((given, threading.current_thread()))) as later:
        for i in range(5):
            later(i, -i)
    assert [given for given, _ in made] == [(i, -i) for i in range(5)]
    assert threading.main_thread() not in {thread for _, thread in made}


@pytest.mark.parametrize("last", [True, False])
def test_error_behind_is_raised(last):
    def broken(item):
        if item == 1:
            raise OSError("disk is full")

    def calls():
        with passes.behind(broken) as later:
            for item in range(2 if last else 5):
                later(item)

    with pytest.raises(OSError, match="disk is full"):
        calls()


@pytest.mark.parametrize("batch_size", [1, 2, 7, 20])
def test_rows_of_several_inputs_are_their_means(batch_size):
    model = toy.vision()
    inputs, owners = torch.rand(7, 3, 16, 16), torch.tensor([0, 0, 0, 1, 2, 2, 2])
    run = passes.ready(model.module, model, inputs)
    each = run.rows(inputs, torch.arange(7), batch_size=batch_size)
    found = run.rows(inputs, owners, batch_size=batch_size)
    assert list(found) == ["first", "second"]
    for name, rows in found.items():
        expected = np.stack([each[name][owners == i].numpy().mean(0) for i in range(3)])
        np.testing.assert_allclose(rows.numpy(), expected, rtol=0, atol=1e-6)
    assert run.seconds(inputs, owners, batch_size=batch_size) > 0


class Complex(nn.Module):
    def forward(self, x):
        return torch.complex(x, x)


class Flat(nn.Module):
    def forward(self, x):
        return x.sum((1, 2, 3))


@pytest.mark.parametrize(("part", "kind"), [(Complex(), "complex numbers"), (Flat(), r"shape \(1,\)")])
def test_layers_that_are_no_features_are_refused(part, kind):
    model = toy.vision(toy.network(part=part), ("part",))
    with pytest.raises(ValueError, match=f"'part' puts out {kind}"):
        passes.ready(model.module, model, torch.rand(2, 3, 4, 4))


def test_reductions_reach_each_layer():
    model = toy.vision()
    run = passes.ready(model.module, model, torch.rand(2, 3, 16, 16), layers="*", reduce=Reduction("mean"))
    assert run.sizes == {"first": 4, "second": 5}
    assert {name: reducer.shape for name, reducer in run.reducers.items()} == {
        "first": (1, 4, 14, 14),
        "second": (1, 5, 6, 6),
    }
