"""Units of a network's layers and the work of a forward pass, from its shapes alone: no weights, no arithmetic."""

import importlib

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from lib import activations, forecast, plugins, reduction

META, CPU = torch.device("meta"), torch.device("cpu")


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations write; views write none.

    Attributes
    ----------
    n_bytes : int
    """

    def __init__(self):
        super().__init__()
        self.n_bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Run an operation, and count what it puts out."""
        found = function(*args, **(kwargs or {}))
        if not function.is_view:
            parts = found if isinstance(found, tuple | list) else (found,)
            self.n_bytes += sum(part.nbytes for part in parts if isinstance(part, torch.Tensor))
        return found


def measured(name, *, layers=()):
    """Units of layers, and the work of one forward pass of one stimulus of a usual size (`forecast.noise`).

    Parameters
    ----------
    name : str
        A model of `lib.models` that is a network; its control is ignored. Nothing is downloaded.
    layers : sequence of str
        Names as `activations.calls` gives them; default: the model's own, which must be listed.

    Returns
    -------
    dict
        `units`, of each layer as it is stored (time averaged out), by name; `flops`, additions and multiplications of
        convolutions, matrix products and attention (Fourier transforms are not counted); `traffic`, bytes that all
        operations write; `largest`, bytes of the largest output; `weights`, bytes of parameters and buffers.

    Raises
    ------
    ValueError
        If the network has no such layer; the nearest are named.
    """
    about, (stem, _) = plugins.about("model", name), plugins.split_control(name)
    plugin = importlib.import_module(f"lib.models.{plugins.path('model', stem).stem}")
    inputs = _inputs(plugin, about)
    try:
        module, found = _passed(_built(plugin, stem, META), inputs.to(META))
    except (RuntimeError, NotImplementedError):  # what depends on values needs some
        module, found = _passed(_built(plugin, stem, CPU), inputs)
    calls, flops, traffic = found
    shapes = {call.layer: call.shape for call in calls}
    shapes |= {f"{call.module}#last": call.shape for call in calls}
    wanted = tuple(layers) or about["LAYERS"]
    for layer in wanted:
        plugins.require(layer, shapes, f"layer of {stem}")
    return {
        "units": {name: _n_units(name, shapes[name], about["TIME_AXIS"]) for name in wanted},
        "flops": flops,
        "traffic": traffic,
        "largest": max(call.n_bytes for call in calls),
        "weights": sum(part.nbytes for part in (*module.parameters(), *module.buffers())),
    }


def _inputs(plugin, about):
    """A preprocessed stimulus."""
    settings = {"settings": dict(about["INPUT"])} if hasattr(plugin, "VARIANTS") else {}
    return plugin.preprocess(forecast.noise(about["MODALITY"]), **settings)[None]


def _built(plugin, stem, device):
    """A network; without values where the device has none, so that weights that are drawn take no time."""
    if not hasattr(plugin, "VARIANTS"):  # its weights are at hand
        return plugin.build().to(device)
    try:
        with device:
            module = plugin.build(stem, trained=False)
    except (RuntimeError, NotImplementedError, TypeError):  # filters that are computed need values
        module = plugin.build(stem, trained=False)
    return module.to(device)


def _passed(module, inputs):
    """A network, and its calls, flops and traffic in one pass."""
    with torch.no_grad(), FlopCounterMode(display=False) as flops, Traffic() as traffic:
        calls = activations.calls(module, inputs)
    return module, (calls, flops.get_total_flops(), traffic.n_bytes)


def _n_units(layer, shape, time_axis):
    """Units of one stimulus' output as they are stored."""
    return reduction.Reducer(layer, shape, time_axis=time_axis).n_units
