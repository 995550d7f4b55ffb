"""What one of each term of `lib.study_cost` costs here: CPU seconds of what the notebooks call, at small sizes."""

import tempfile
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import torch
import xarray as xr
from scipy import optimize
from threadpoolctl import threadpool_limits

import benchmarks
from benchmarks import decoding as selection
from benchmarks import decoding_forecast
from lib import (
    artefacts,
    bhscore_inference,
    decoding,
    dissimilarity,
    encoding,
    forecast,
    inference,
    kernels,
    layer_contributions,
    layer_weighted,
    network_cost,
    rdm,
    rdm_fitting,
    ridge,
    rsa,
    selected_ridge,
    sources,
    study_cost,
)

NETWORKS = ("resnet18", "mobilenet_v2")  # one that computes much, one that moves much
N_STIMULI = 166
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
DRAWING = """figure, axes = plt.subplots(1, 2)
sns.heatmap(np.eye(12), annot=True, ax=axes[0])"""


def measured(*, shrink=1):
    """Seconds of one of each term on one thread of this machine.

    Parameters
    ----------
    shrink : int
        By which sizes are divided, to try it.

    Returns
    -------
    pandas.Series
        Seconds by term; those of searchlights and of writing are as in `study_cost.rates`.
    """
    found, n_threads = study_cost.rates().set_index("term")["seconds"].copy(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            for part in (start, passes, layers, ridges, joint, rdms, selected, decoded):
                found.update(pd.Series(part(found, shrink), dtype=float))
    finally:
        torch.set_num_threads(n_threads)
    return found


def seconds(function):
    """CPU time of one call."""
    return benchmarks.cpu_seconds(function, repeats=1)[1]


def start(_found, _shrink):
    """A kernel that imports what an encoding imports, and draws."""
    cells = sources.cells(artefacts.ROOT / "notebooks" / "03_encode.ipynb")
    imports = next(text for kind, text, _ in cells if kind == "code" and text.startswith("import "))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "start.ipynb"
        made = [nbformat.v4.new_code_cell(text) for text in (imports, DRAWING)]
        nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=KERNEL), file)
        return {"start": seconds(lambda: kernels.execute(file, file.with_name("run.ipynb"), {}))}


def passes(_found, shrink):
    """Forward passes of two networks, which tell arithmetic from traffic."""
    n, work, took = max(1, 8 // shrink), [], []
    for name in NETWORKS:
        cost, model = network_cost.measured(name), forecast.untrained(name)
        inputs = model.preprocess(forecast.noise(model.modality))[None].repeat(n, 1, 1, 1)
        with torch.inference_mode():
            model.module(inputs[:1])
            took.append(seconds(lambda model=model, inputs=inputs: model.module(inputs)) / n)
        work.append((cost["flops"], cost["traffic"]))
    each, _ = optimize.nnls(np.array(work) / np.max(work, axis=0), np.array(took))
    return dict(zip(("flops", "traffic"), each / np.max(work, axis=0), strict=True))


def layers(_found, shrink):
    """A layer made narrow, its products between stimuli, and its RDMs in two splits."""
    rng, n_units = np.random.default_rng(0), 20_000 // shrink
    X = rng.standard_normal((N_STIMULI, n_units), np.float32)
    names, train = [f"s{i}" for i in range(N_STIMULI)], rng.permuted(np.eye(2, N_STIMULI, dtype=bool), axis=1)
    train |= rng.random(train.shape) < 0.5
    pieces, work = np.array_split(X, 3, axis=1), 2 * N_STIMULI**2 * n_units
    how = {"scaling": "z-scored", "train": train}
    return {
        "compressed": seconds(lambda: ridge.compress(pieces)) / work,
        "products": seconds(
            lambda: [p @ p.T for p in (piece - piece.mean(axis=0, dtype=float) for piece in pieces)]
        )
        / work,
        "rdms": seconds(lambda: dissimilarity.of_units(pieces, names, **how)) / work / len(train),
    }


def responses(n_voxels, n_groups=1, n_splits=1):
    """Features of a layer and responses that read out of it, three repeats."""
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((N_STIMULI, 40)) / np.arange(1, 41)
    Y = 3 * latents[:, :20] @ rng.standard_normal((20, n_voxels)) + rng.standard_normal(
        (3, N_STIMULI, n_voxels)
    )
    train = np.array([rng.permutation(N_STIMULI) < N_STIMULI // 2 for _ in range(n_splits)])
    cells = np.arange(n_voxels) * n_groups // n_voxels
    made = xr.Dataset(
        {"response": (("repeat", "stimulus", "voxel"), Y), "train": (("split", "stimulus"), train)},
        coords={
            "stimulus": [f"s{i}" for i in range(N_STIMULI)],
            "subject": ("voxel", np.array(["p"] * n_voxels)),
            "roi": ("voxel", np.char.add("r", cells.astype(str))),
        },
        attrs={"kind": "voxel"},
    )
    layers = {
        f"layer{i}": latents @ rng.standard_normal((40, N_STIMULI))
        + 0.3 * rng.standard_normal((N_STIMULI, N_STIMULI))
        for i in range(5)
    }
    return layers, made


def ridges(_found, shrink):
    """A layer's ridge for few and for many voxels."""
    took = []
    for n_voxels in (3, 1500 // shrink):
        columns, made = responses(n_voxels, n_splits=2)
        layer = xr.DataArray(columns["layer0"], {"stimulus": made["stimulus"]}, ("stimulus", "unit"))
        took.append(seconds(lambda layer=layer, made=made: encoding.encode(layer, made)))
    m = N_STIMULI // 2
    more = 2 * m * study_cost.N_PENALTIES * 4 * (1500 // shrink - 3)
    return {"fits": took[0] / (2 * m), "columns": max(took[1] - took[0], 0) / more}


def joint(found, shrink):
    """All layers together: by region, and by voxel for few and for many of them."""
    m, (columns, made) = N_STIMULI // 2, responses(40, n_groups=2)
    took = seconds(lambda: layer_weighted.encode(columns, made))
    took -= 2 * m * found["fits"] + 4 * 40 * m * study_cost.N_PENALTIES * found["columns"]
    banded = []
    for n_voxels in (3, 400 // shrink):
        columns, made = responses(n_voxels)
        banded.append(
            seconds(lambda columns=columns, made=made: layer_contributions.banded_scores(columns, made))
        )
    n_mixtures = study_cost.N_MIXTURES + len(columns)
    more = n_mixtures * m * study_cost.N_BANDED * (400 // shrink - 3)
    return {
        "weighted": max(took, 0) / (2 * m * (len(columns) + 4)),
        "mixtures": banded[0] / (n_mixtures * m),
        "mixed": max(banded[1] - banded[0], 0) / more,
    }


def rdms(_found, shrink):
    """RDMs of regions drawn anew, compared in halves, and predicted by weighted sums of layers."""
    rng, n, n_draws = np.random.default_rng(0), 80, 200 // shrink
    names, sizes = [f"s{i:02d}" for i in range(n)], {"subject": 4, "roi": 2}
    brain, models = (_random_rdms(lead, names, rng) for lead in (sizes, {"layer": 3}))
    pairs, n_rdms, n_layers = n * (n - 1) // 2, 8, 3
    half = xr.DataArray([np.arange(n) % 2 == 0], {"stimulus": names}, ("split", "stimulus"))

    def drawn():
        rsa.summary(models, brain, n_resamples=n_draws, n_permutations=n_draws)
        rsa.between_regions(brain, n_resamples=n_draws)
        rsa.ceilings(brain, n_resamples=n_draws)

    def weighed():
        for roi in brain["roi"].values:
            vectors = rdm.condensed(brain.sel(roi=roi))
            rdm_fitting.cross_validated(rdm.condensed(models), vectors, rng=np.random.default_rng(0))

    return {
        "drawn": seconds(drawn) / (n_draws * pairs * (n_rdms + n_layers)),
        "compared": seconds(lambda: rsa.half_similarities(models, brain, half)) / (2 * n_layers * n_rdms),
        "weighed": seconds(weighed) / (pairs * n_rdms * n_layers),
    }


def _random_rdms(leading, names, rng):
    """RDMs of noise."""
    values = rng.random((*leading.values(), len(names), len(names)))
    values = values + np.swapaxes(values, -1, -2)
    values[..., np.arange(len(names)), np.arange(len(names))] = 0
    labels = {dim: [f"{dim}{i}" for i in range(size)] for dim, size in leading.items()}
    return xr.DataArray(
        values, labels | {"stimulus": names, "stimulus_2": names}, (*leading, "stimulus", "stimulus_2")
    )


def selected(_found, shrink):
    """Units decoded from 500 selected voxels, of two numbers of voxels: solving tells itself from selecting."""
    n, n_units, work, took = 1200 // shrink, 200 // shrink, [], []
    n_feat = 500 // shrink
    for n_voxels in (640 // shrink, 1800 // shrink):
        size = {"n_stimuli": n, "n_voxels": n_voxels, "n_units": n_units, "n_repeats": 1}
        X, Y, rows = selection.simulate("of a common origin", **size)
        inputs = selected_ridge.prepare(X, rows, alpha=100.0, n_feat=n_feat)
        took.append(seconds(lambda inputs=inputs, Y=Y: inputs.fit(Y)))
        work.append((n_units * study_cost.system(n_voxels, n_feat), 2 * n * n_voxels * n_units))
    each, _ = optimize.nnls(np.array(work) / np.max(work, axis=0), np.array(took))
    return dict(zip(("solved", "picked"), each / np.max(work, axis=0), strict=True))


def decoded(_found, shrink):
    """Units decoded from small regions, and their scores for stimuli drawn anew."""
    n_units, widths, n_tested, n_draws = 400 // shrink, {"V1": 30, "V2": 30, "V4": 30}, 50, 20
    with tempfile.TemporaryDirectory() as folder:
        brain, network = (2, widths), (2, n_units)
        source, made = decoding_forecast.study(Path(folder), brain, network, (150, n_tested), (1, 2))
        work = 2 * n_units * 2 * len(widths)
        took = seconds(lambda: decoding.decode(source, made, folder))
        weights = inference.draws(n_tested, n_draws, np.random.default_rng(0))
        parts = list(bhscore_inference.predictions(Path(folder), ["layer0", "layer1"]))
        redrawn = seconds(lambda: bhscore_inference.resampled_counts(parts, weights))
    return {"scored": took / work, "redrawn": redrawn / (n_draws * work * n_tested)}
