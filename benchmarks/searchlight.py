"""RDMs of all searchlights of a volume and their comparison with model RDMs, beside rsatoolbox.

Synthetic patterns of 50 stimuli, the number of the functional-map study, in a cube of voxels, spheres of the
radius that rsatoolbox's default gives, and five model RDMs. Both sides start from the same patterns and
neighbourhoods in memory and end with the Spearman (or Pearson) correlation of every model in every searchlight, on
one thread.
"""

import contextlib
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

EDGE, RADIUS, N_STIMULI, N_MODELS = 17, 3, 50, 5
COMPARISONS = {"spearman": "spearman", "pearson": "corr"}  # ours and theirs
EDGES = (12, 17, 24)  # of volumes, for growth
STIMULI = (25, 50, 100)


def simulate(edge=EDGE, n_stimuli=N_STIMULI, seed=0):
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


def ours(patterns, neighbours, models, comparison="spearman"):
    """Scores (n_centres, n_models)."""
    ends = np.concatenate([[0], np.cumsum([len(n) for n in neighbours])])
    members = np.concatenate(neighbours)
    shape = len(neighbours), patterns.shape[1]
    within = sparse.csr_array((np.ones(len(members), bool), members, ends), shape=shape)
    batches = searchlight_rdms.of_patterns({"": patterns}, {"": within})
    labels = labelled(models, len(patterns))
    return searchlight_maps.evaluate(batches, labels, labels["stimulus"].values, comparison=comparison)[
        "score"
    ].values


def rsatoolbox(patterns, centres, neighbours, models, comparison="corr"):
    """The same from rsatoolbox."""
    with contextlib.redirect_stderr(io.StringIO()):
        found = theirs.get_searchlight_RDMs(patterns, centres, neighbours, np.arange(len(patterns)))
        fixed = [ModelFixed(str(i), values) for i, values in enumerate(models)]
        results = theirs.evaluate_models_searchlight(found, fixed, eval_fixed, method=comparison)
    return np.array([result.evaluations[0, :, 0] for result in results])


def compare():
    """Rows of all comparisons."""
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patterns, centres, neighbours, models = simulate()
        growth, peak = slopes(), peak_bytes(patterns, neighbours, models)
        rows, sizes = [], [len(n) for n in neighbours]
        for comparison, name in COMPARISONS.items():
            scores, ours_s = benchmarks.cpu_seconds(
                lambda c=comparison: ours(patterns, neighbours, models, c)
            )
            expected, seconds = benchmarks.cpu_seconds(
                lambda n=name: rsatoolbox(patterns, centres, neighbours, models, n), repeats=1
            )
            case = (
                f"{len(centres)} spheres of {min(sizes)} to {max(sizes)} voxels, {N_STIMULI} stimuli, "
                f"correlation distance, {N_MODELS} models, {comparison}; "
                f"scores differ by {np.abs(scores - expected).max():.0e}; "
                f"ours peaks at {peak / 1e6:.0f} MB; {growth}"
            )
            rows.append(benchmarks.row("searchlight", case, ours_s, "rsatoolbox searchlight", seconds))
    return rows


def slopes():
    """How our time grows, as exponents from a straight line through logarithms, in words."""
    found = {}
    for what, sizes in (
        ("searchlights", [(e, N_STIMULI) for e in EDGES]),
        ("stimuli", [(EDGE, n) for n in STIMULI]),
    ):
        points = []
        for edge, n_stimuli in sizes:
            patterns, _, neighbours, models = simulate(edge, n_stimuli)
            _, seconds = benchmarks.cpu_seconds(lambda p=patterns, n=neighbours, m=models: ours(p, n, m))
            points.append((len(neighbours) if what == "searchlights" else n_stimuli, seconds))
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


if __name__ == "__main__":
    benchmarks.append(compare())
