"""RDMs of all searchlights of a volume and their comparison with model RDMs, beside rsatoolbox.

Synthetic patterns of 50 stimuli, the number of the functional-map study, in a cube of voxels, spheres of the
radius that rsatoolbox's default gives, and five model RDMs. Both sides start from the same patterns and
neighbourhoods in memory and end with the Spearman (or Pearson) correlation of every model in every searchlight, on
one thread. rsatoolbox knows no GPU: there, ours (transfers included) stands beside the wall time of rsatoolbox on the
CPU.
"""

import contextlib
import functools
import io
import tracemalloc
import warnings

import numpy as np
import xarray as xr
from rsatoolbox.inference import eval_fixed
from rsatoolbox.model import ModelFixed
from rsatoolbox.util import searchlight as theirs
from scipy import sparse
from threadpoolctl import threadpool_limits

import benchmarks
from lib import searchlight_maps, searchlight_rdms

RADIUS, N_MODELS = 3, 5
COMPARISONS = {"spearman": "spearman", "pearson": "corr"}  # ours and theirs
# Voxels along each edge of the volume, stimuli, comparison, and seconds on two idle cores.
SMALL = [(6, 12, "spearman", 1), (6, 12, "pearson", 1)]
USUAL = [(17, 50, "spearman", 40), (17, 50, "pearson", 25)]
SIZES = {"small": SMALL, "usual": USUAL, "full": [*USUAL, (24, 50, "spearman", 75), (24, 50, "pearson", 40)]}
GROWTH = (12, 17, 24), (25, 50, 100)  # edges and stimuli over which growth is told with the middle ones
TOLERANCE = 1e-10  # of scores: correlations in double precision


def simulate(edge, n_stimuli, seed=0):
    """Patterns (n_stimuli, n_voxels), centres and neighbours as rsatoolbox finds them, model RDMs."""
    rng = np.random.default_rng(seed)
    patterns = rng.standard_normal((n_stimuli, edge**3))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        centres, neighbours = theirs.get_volume_searchlight(np.ones((edge,) * 3), radius=RADIUS)
    models = rng.random((N_MODELS, n_stimuli * (n_stimuli - 1) // 2))
    return patterns, centres, neighbours, models


def labelled(models, n_stimuli):
    """Upper triangles as RDMs with names."""
    square = np.zeros((len(models), n_stimuli, n_stimuli))
    square[:, *np.triu_indices(n_stimuli, 1)] = models
    names = np.arange(n_stimuli).astype(str)
    coords = {"model": np.arange(len(models)).astype(str), "stimulus": names, "stimulus_2": names}
    return xr.DataArray(square + square.swapaxes(1, 2), coords, ("model", "stimulus", "stimulus_2"))


def ours(patterns, neighbours, models, comparison="spearman", device=None):
    """Scores (n_centres, n_models)."""
    ends = np.concatenate([[0], np.cumsum([len(n) for n in neighbours])])
    members = np.concatenate(neighbours)
    shape = len(neighbours), patterns.shape[1]
    within = sparse.csr_array((np.ones(len(members), bool), members, ends), shape=shape)
    batches = searchlight_rdms.of_patterns({"": patterns}, {"": within}, device=device)
    labels = labelled(models, len(patterns))
    found = searchlight_maps.evaluate(
        batches, labels, labels["stimulus"].values, comparison=comparison, device=device
    )
    return found["score"].values


def rsatoolbox(patterns, centres, neighbours, models, comparison="corr"):
    """The same from rsatoolbox."""
    with contextlib.redirect_stderr(io.StringIO()):
        found = theirs.get_searchlight_RDMs(patterns, centres, neighbours, np.arange(len(patterns)))
        fixed = [ModelFixed(str(i), values) for i, values in enumerate(models)]
        results = theirs.evaluate_models_searchlight(found, fixed, eval_fixed, method=comparison)
    return np.array([result.evaluations[0, :, 0] for result in results])


def cases(size="usual", device="cpu"):
    """Cases of a size on a device."""
    function = _compare if device == "cpu" else functools.partial(on_device, device=device)
    return [
        benchmarks.Case(_name(*case), seconds, functools.partial(function, *case))
        for *case, seconds in SIZES[size]
    ]


def _name(edge, n_stimuli, comparison):
    """A size in words."""
    return (
        f"{edge**3} spheres of radius {RADIUS}, {n_stimuli} stimuli, correlation distance, {N_MODELS} models, "
        f"{comparison}"
    )


def _compare(edge, n_stimuli, comparison):
    """Comparison of one size; of some sizes also how time grows."""
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patterns, centres, neighbours, models = simulate(edge, n_stimuli)
        scores, ours_s = benchmarks.cpu_seconds(lambda: ours(patterns, neighbours, models, comparison))
        expected, seconds = benchmarks.cpu_seconds(
            lambda: rsatoolbox(patterns, centres, neighbours, models, COMPARISONS[comparison]), repeats=1
        )
        said = f"{_name(edge, n_stimuli, comparison)}; {_agreement(scores, expected)}; "
        said += f"ours peaks at {peak_bytes(patterns, neighbours, models) / 1e6:.0f} MB"
        if (edge, n_stimuli, comparison) == USUAL[0][:3]:
            said += f"; {slopes(edge, n_stimuli)}"
    return [benchmarks.row("searchlight", said, ours_s, "rsatoolbox searchlight", seconds)]


def _agreement(scores, expected):
    """How far scores differ, in words."""
    difference = benchmarks.agreed("scores", np.abs(scores - expected).max(), TOLERANCE)
    return f"scores differ by {difference:.0e}"


def on_device(edge, n_stimuli, comparison, *, device):
    """Ours on a device, by torch on the CPU too, beside the wall time of rsatoolbox on the CPU; one row.

    Parameters
    ----------
    edge, n_stimuli : int
    comparison : {"spearman", "pearson"}
    device : str
        "cpu" or "cuda".

    Returns
    -------
    list of dict
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patterns, centres, neighbours, models = simulate(edge, n_stimuli)
        scores, ours_s = benchmarks.device_seconds(
            lambda: ours(patterns, neighbours, models, comparison, device), device
        )
        with threadpool_limits(1), benchmarks.stopwatch() as wall:
            expected = rsatoolbox(patterns, centres, neighbours, models, COMPARISONS[comparison])
    said = f"{_name(edge, n_stimuli, comparison)}; {_agreement(scores, expected)}; transfers included"
    return [
        benchmarks.row(
            "searchlight", said, ours_s, "rsatoolbox searchlight on the CPU, wall", wall[0], device=device
        )
    ]


def slopes(edge, n_stimuli):
    """How our time grows, as exponents from a straight line through logarithms, in words."""
    found = {}
    for what, sizes in (
        ("searchlights", [(e, n_stimuli) for e in GROWTH[0]]),
        ("stimuli", [(edge, n) for n in GROWTH[1]]),
    ):
        points = []
        for edge_here, n_here in sizes:
            patterns, _, neighbours, models = simulate(edge_here, n_here)
            _, seconds = benchmarks.cpu_seconds(lambda p=patterns, n=neighbours, m=models: ours(p, n, m))
            points.append((len(neighbours) if what == "searchlights" else n_here, seconds))
        found[what] = np.polyfit(*np.log(np.array(points).T), 1)[0]
    return (
        f"time grows with searchlights to the power {found['searchlights']:.2f} and with stimuli to "
        f"{found['stimuli']:.2f}, so with pairs of stimuli to {found['stimuli'] / 2:.2f}"
    )


def peak_bytes(patterns, neighbours, models):
    """Most that ours holds beside its input."""
    tracemalloc.start()
    ours(patterns, neighbours, models)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak
