"""Metamers: stimuli made from noise until a network's layer responds to them as to the originals."""

import dataclasses
import time

import numpy as np
import pandas as pd
import torch
import xarray as xr
from tqdm.auto import tqdm

from lib import activations
from lib.metamers import checkpoints, losses, material, rules, taps


@dataclasses.dataclass(frozen=True)
class Metamers:
    """Metamers of one layer.

    Attributes
    ----------
    values : xarray.DataArray (stimulus, …)
        float32, in canvas units.
    loss : pandas.DataFrame
        layer, stimulus, step (number of steps before), loss.
    why : dict of str to str
        By stimulus: what went wrong, or "". Where it says something, the values are those before it did.
    overridden : bool
        Whether the layer's last ReLU passed back its gradient unchanged.
    """

    values: xr.DataArray
    loss: pd.DataFrame
    why: dict
    overridden: bool


def metamers(canvas, layer, originals, rule, *, batch_size=8, device="auto", checkpoint=None, start=None):
    """Stimuli whose activation at a layer is that of the originals.

    The network is run up to the layer and back, never beyond it. Stimuli of a batch have losses, steps and stops
    of their own.

    Parameters
    ----------
    canvas : lib.metamers.canvas.Canvas
    layer : str
        As `lib.metamers.taps.tap` takes it.
    originals : xarray.DataArray (stimulus, …)
        float32, in canvas units.
    rule : lib.metamers.rules.Rule
    batch_size : int
    device : {"auto", "cpu", "cuda"}
    checkpoint : pathlib.Path, optional
        Folder in which every block is noted. What a killed process left there of the very same is gone on with,
        to the result that it would have had on that device; remove it once the result is stored.
    start : tensor (n_stimuli, …), optional
        To start from; `material.starts` by default.

    Returns
    -------
    Metamers

    Raises
    ------
    ValueError
        If the layer is unknown or has no gradient, or the activation of an original is all 0 or not finite.
    """
    on = activations.device(device)
    there = canvas.moved(on, rule.dtype)
    # A copy: how products are rounded depends on where in memory a table begins, and targets tell checkpoints apart.
    x = torch.as_tensor(originals.values).to(on, rule.dtype, copy=True)
    start = (material.starts(canvas, originals, rule) if start is None else start).to(on, rule.dtype)
    tap = taps.tap(there.module, layer, there.inputs(x[:1]), fake_relu=rule.fake_relu)
    names = [str(name) for name in originals["stimulus"].values]
    done = []
    with tqdm(total=len(names) * rule.n_steps, desc=layer, unit="step") as bar:
        for i in range(0, len(names), batch_size):
            few = slice(i, i + batch_size)
            with _repeatable():
                target = _target(there, tap, x[few], names[few])
            run = _Run(there, tap, target, rule, bar)
            file = checkpoint and checkpoints.place(checkpoint, layer, i)
            with _repeatable():
                done.append(run.batch(start[few], file, names[few]))
    return _collected(canvas, layer, originals, done, tap)


@dataclasses.dataclass(frozen=True)
class _Run:
    """One batch of targets at one layer."""

    canvas: object
    tap: taps.Tap
    target: torch.Tensor
    rule: rules.Rule
    bar: tqdm

    def batch(self, start, file, names):
        """All blocks of a batch, from the start or from where a file says."""
        identity = checkpoints.identity(self.tap.layer, self.rule, names, self.target, start)
        batch = checkpoints.restored(file, identity, start.device) if file else None
        batch = batch or checkpoints.fresh(start, self.rule)
        self.bar.update(batch.block * self.rule.steps_per_block * len(start))
        while batch.block < self.rule.n_blocks:
            if batch.active.any():
                self._block(batch)
            self.bar.update(self.rule.steps_per_block * len(start))
            batch.block += 1
            if file:
                checkpoints.note(file, identity, batch)
        return batch

    def _block(self, batch):
        """One block of all stimuli that are not done; what is not finite any more is put back."""
        rule, on = self.rule, batch.active.nonzero()[:, 0]
        x = start = batch.x[on]
        memory = {name: values[on] for name, values in batch.memory.items()}
        best, kept, trace, slopes = torch.full_like(batch.best[on], torch.inf), x, [], []
        loss_of = losses.named(rule.loss, self.tap, seed=rule.seed, every=rule.every)
        for step in range(rule.steps_per_block):
            moment = losses.Moment(batch.block, step, rule.n_blocks)
            loss, gradient = loss_and_gradient(
                self.canvas, self.tap, x, self.target[on], lambda a, t, m=moment: loss_of(a, t, m)
            )
            trace.append(loss)
            slopes.append(gradient.flatten(1).abs().amax(1))
            best, kept = _better(best, kept, loss, x)
            x, memory = rules.moved(
                rule,
                x,
                gradient,
                loss,
                block=batch.block,
                start=start,
                memory=memory,
                limits=(self.canvas.low, self.canvas.high),
            )
        if batch.block == 0 and rule.loss != "relative":
            trace[0] = self.loss(start, on)  # the course of a metamer begins and ends with the same loss
        final = self.loss(x, on)
        if not rule.published and rule.loss == "relative":
            best, kept = _better(best, kept, final, x)
            x, final = kept, best
        self._close(batch, on, start, x, memory, torch.stack([*trace, final]), torch.stack(slopes))

    def loss(self, x, on):
        """The plain loss, without a gradient."""
        with torch.no_grad():
            return losses.relative(self.tap.activation(self.canvas.inputs(x)), self.target[on])

    def _close(self, batch, on, start, x, memory, trace, slopes):
        """Note a block: faults, losses, who is done."""
        rule, first = self.rule, batch.block * self.rule.steps_per_block
        whole = (
            torch.isfinite(trace).all(0) & torch.isfinite(x.flatten(1)).all(1) & torch.isfinite(slopes).all(0)
        )
        still = (slopes == 0).all(0)
        matched = (trace[0] == 0) if batch.block == 0 else torch.zeros_like(whole)
        batch.trace[first : first + len(trace), on.cpu().numpy()] = trace.cpu().numpy()
        for i, ok, dead, same in zip(
            on.tolist(), whole.tolist(), still.tolist(), matched.tolist(), strict=True
        ):
            if not ok:
                batch.why[i] = (
                    f"loss or gradient is not finite within {rule.steps_per_block} steps after step {first}"
                )
            elif same:
                batch.why[i] = "noise has the same activation: the layer does not depend on the stimulus"
            elif dead and batch.block == 0:
                batch.why[i] = "the gradient is 0: nothing in the layer responds to the noise"
        batch.x[on] = torch.where(rules.wide(whole, x), x, start)
        for name, values in memory.items():
            batch.memory[name][on] = values
        lowest = trace.amin(0) if rule.loss == "relative" else trace[-1]
        fallen = lowest < (1 - rule.tolerance) * batch.best[on] if rule.tolerance else torch.ones_like(whole)
        batch.best[on] = torch.minimum(batch.best[on], lowest)
        batch.active[on] = whole & ~matched & fallen


def loss_and_gradient(canvas, tap, x, target, loss=losses.relative):
    """Loss of each stimulus of a batch, and its gradient.

    Parameters
    ----------
    canvas : lib.metamers.canvas.Canvas
    tap : lib.metamers.taps.Tap
    x : tensor (n, …)
        In canvas units.
    target : tensor (n, n_units)
    loss : callable
        From activation and target to (n,).

    Returns
    -------
    loss : tensor (n,)
    gradient : tensor (n, …)
        Of each stimulus' own loss.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        each = loss(tap.activation(canvas.inputs(x)), target)
        (gradient,) = torch.autograd.grad(each.sum(), x)
    return each.detach(), gradient


def seconds(canvas, layers, originals, rule, *, batch_size=8, device="auto"):
    """How long synthesis will take, from one step of one batch at each layer.

    Parameters
    ----------
    canvas, layers, originals, rule, batch_size, device
        As for `metamers`; layers is a sequence of names.

    Returns
    -------
    dict of str to float
        Seconds of each layer; stimuli that are done early take less.
    """
    on, found = activations.device(device), {}
    there = canvas.moved(on, rule.dtype)
    x = torch.as_tensor(originals.values[:batch_size]).to(on, rule.dtype)
    start = material.starts(canvas, originals[:batch_size], rule).to(x)
    for layer in layers:
        tap = taps.tap(there.module, layer, there.inputs(x[:1]), fake_relu=rule.fake_relu)
        with torch.no_grad():
            target = tap.activation(there.inputs(x))
        times = []
        for _ in range(2):
            began = time.perf_counter()
            float(loss_and_gradient(there, tap, start, target)[1].sum())  # a GPU has finished only then
            times.append(time.perf_counter() - began)
        found[layer] = min(times) * rule.n_steps * len(originals) / len(x)
    return found


def _repeatable():
    """Convolutions on a GPU in full float32, and summed in one order: chosen anew, both change the course."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def _target(canvas, tap, x, names):
    """Activation of the originals; refused where no loss can be relative to it."""
    with torch.no_grad():
        target = tap.activation(canvas.inputs(x))
    length = target.norm(dim=1)
    for what, bad in (("all 0", length == 0), ("not finite", ~torch.isfinite(length))):
        odd = [name for name, is_bad in zip(names, bad.tolist(), strict=True) if is_bad]
        if odd:
            raise ValueError(
                f"the activation of layer {tap.layer!r} is {what} for {', '.join(map(repr, odd[:5]))}: there is "
                "nothing to match; leave these stimuli out or tap another layer"
            )
    return target


def _better(best, kept, loss, x):
    """Lowest loss so far and the stimulus it belongs to."""
    lower = loss < best
    return torch.where(lower, loss, best), torch.where(rules.wide(lower, x), x, kept)


def _collected(canvas, layer, originals, batches, tap):
    """Batches as one result."""
    names = [str(name) for name in originals["stimulus"].values]
    values = torch.cat([batch.x for batch in batches]).float().cpu()
    trace = np.concatenate([batch.trace for batch in batches], axis=1)
    why = [text for batch in batches for text in batch.why]
    step, stimulus = np.nonzero(~np.isnan(trace) | (np.arange(len(trace)) == 0)[:, None])
    loss = pd.DataFrame(
        {"layer": layer, "stimulus": np.array(names)[stimulus], "step": step, "loss": trace[step, stimulus]}
    ).sort_values(["stimulus", "step"], ignore_index=True)
    named = material.labelled(canvas, dict(zip(names, values, strict=True)))
    return Metamers(named, loss, dict(zip(names, why, strict=True)), tap.overridden)
