"""What a study costs before it is run: work, seconds, memory and bytes of each step, from the sizes alone.

A job's work is counted in terms (`TERMS`: so many penalties times columns, so many dissimilarities drawn anew), each
with what one of it costs (`study_cost.rates.csv`; `python -m benchmarks paper_run` measures them anew): seconds are the
sum of count times rate. Bytes and memory follow from shapes.
"""

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from lib import artefacts, plugins, study_sizes

TERMS = {
    "start": "job: kernel, imports, drawing",
    "flops": "addition or multiplication of a forward pass",
    "traffic": "byte that a forward pass writes",
    "written": "byte of features on disk",
    "compressed": "addition or multiplication of the triangular factor of a layer",
    "products": "addition or multiplication of products between stimuli",
    "rdms": "addition or multiplication of RDMs of layers, standardised on train stimuli",
    "fits": "split, layer and train stimulus of a ridge",
    "columns": "split, layer, train stimulus, penalty and column of a ridge",
    "weighted": "split, region, train stimulus and layer (and four more) of weights per layer",
    "mixtures": "split, mixture of layers and train stimulus of a banded ridge",
    "mixed": "split, mixture, train stimulus, penalty and column of a banded ridge",
    "drawn": "pair of stimuli, subject, region and bootstrap draw of RDMs",
    "compared": "comparison of a layer's RDM with a subject's region, in half of the stimuli",
    "weighed": "pair of stimuli, subject, region and layer in weighted sums of RDMs",
    "searched": "pair of stimuli, layer and permutation in searchlights",
    "solved": "addition or multiplication of systems of selected voxels",
    "picked": "addition or multiplication of products by which inputs are selected",
    "scored": "unit and region that are decoded and scored",
    "redrawn": "unit, region, test stimulus and draw of a hierarchy score",
}
N_DRAWS, N_PENALTIES, N_BANDED, N_LIGHTS = 1000, 100, 14, 1000
# Mixtures of layers: all alike and so many drawn, besides each alone; and those of up to three sets, by their number.
N_MIXTURES, N_PARTED = 101, {1: 1, 2: 11, 3: 49}
# Passes besides those of the stimuli: trials before each of four passes over few, estimate, and repetition.
MORE_PASSES = 41
BASE_MEMORY = 0.9e9  # bytes of a kernel with all libraries, resident
FILE = 2e4  # bytes of an empty file of results
PACKED = 3.8  # bytes of a prediction, packed
# Bytes of executed notebooks.
NOTEBOOKS = {
    "extract": 6e4,
    "encode": 1.8e5,
    "rsa": 2e5,
    "decode": 2.6e5,
    "bhscore": 1.4e5,
    "metamers": 1.8e6,
}
BATCH, BLOCK = 8, 500
LIGHTS_MEMORY = 1 << 26  # bytes of the RDMs of searchlights that are held at a time


def _extract(network, target):
    """Work of extraction: a forward pass per stimulus, and products between stimuli for effective dimensions."""
    n, n_units = target.n_all, sum(network.units)
    passes = (n + MORE_PASSES) * bool(network.traffic)
    work = {"flops": passes * network.flops, "traffic": passes * network.traffic}
    return work | {"start": 1, "written": 4 * n * n_units, "products": 2 * n**2 * n_units}


def _encode(network, target):
    """Work of encoding: each layer alone, all together by region and by voxel, and in three sets."""
    n, m, S, L = target.n_all, target.n_train, target.n_splits, len(network.units)
    n_units, G, V, C = sum(network.units), len(target.cells), target.n_voxels, target.n_columns
    mixtures, joint = (N_MIXTURES + L if L > 1 else 1), L + 4
    parted = N_PARTED[min(3, L)]
    return {
        "start": 1,
        # Each layer alone, once more, all together, and again for the sets.
        "compressed": 2 * n**2 * n_units * 3,
        "products": 2 * n**2 * n_units * 2,
        "fits": S * (L + 1 + 2 * G) * m,
        "columns": S * (L + 3) * C * m * N_PENALTIES,
        "weighted": S * G * joint * m * (L > 1) + S * G * 4 * m,
        "mixtures": S * (mixtures + parted) * m,
        "mixed": S * (mixtures * V + parted * C) * m * N_BANDED,
    }


def _rsa(network, target):
    """Work of RSA: RDMs of layers, bootstrap of subjects and stimuli, halves, weighted sums, searchlights."""
    n, L, n_units = target.n_stimuli, len(network.units), sum(network.units)
    # Units scaled by train stimuli make RDMs anew for each split; those of stored RDMs are not scaled.
    n_made = 1 + (1 if target.kind == "rdm" else target.n_splits)
    return {
        "start": 1,
        "rdms": 2 * n**2 * n_units * n_made,
        "drawn": N_DRAWS * target.n_pairs * (target.n_rdms + L),
        "compared": 2 * target.n_splits * (L + 1) * target.n_rdms,
        "weighed": target.n_pairs * target.n_rdms * L,
        "searched": N_LIGHTS * L * target.n_pairs * target.located,
    }


def _decode(network, target, *, n_selected=500, n_units=500):
    """Work of decoding units from regions, and of encoding voxels from units, with as many inputs as are selected."""
    each, V, n_cells = sum(network.kept(n_units)), target.n_voxels, len(target.cells)
    encoded = [V * system(units, n_selected) for units in network.units]
    return {
        "start": 2,  # forecasts, which try regions and layers, take as long as all the rest of a small job
        "solved": each * sum(system(width, n_selected) for width in target.cells) + sum(encoded),
        "picked": 2 * target.n_train * (each + sum(network.units)) * V,
        "scored": each * n_cells,
    }


def _bhscore(network, target, *, n_units=500, n_draws=100):
    """Work of the hierarchy score: test stimuli drawn anew, for each unit and region."""
    kept = sum(network.kept(n_units))
    n_tested = target.n_test or target.n_stimuli - target.n_train
    return {"start": 1.5, "redrawn": n_draws * kept * len(target.cells) * n_tested}


def _metamers(network, _target, *, n_stimuli=2, n_layers=3, n_steps=160):
    """Work of metamers: steps of a gradient, on average through 0.6 of the network, back twice as dear as there.

    By default of pictures; 48 steps are taken of sounds.
    """
    steps = n_stimuli * min(n_layers, len(network.units)) * n_steps
    passes = 3 * 0.6 * steps + 2 * MORE_PASSES
    return {"start": 2, "flops": passes * network.flops, "traffic": passes * network.traffic}


STEPS = {
    "extract": _extract,
    "encode": _encode,
    "rsa": _rsa,
    "decode": _decode,
    "bhscore": _bhscore,
    "metamers": _metamers,
}


def system(n_inputs, n_selected):
    """Additions and multiplications of one system of selected inputs.

    Of few inputs it is those left out that are solved for, see `lib.subsets`.

    Parameters
    ----------
    n_inputs, n_selected : int

    Returns
    -------
    float
        0 where all are taken, which targets share.
    """
    if n_inputs <= n_selected:
        return 0.0
    return min(n_selected, 1.25 * (n_inputs - n_selected)) ** 3 / 3


def stored(step, network, target, *, n_units=500):
    """Bytes of a result on disk, but for some per cent of labels.

    Parameters
    ----------
    step : str
        A key of `STEPS`.
    network : study_sizes.Network
    target : study_sizes.Target
    n_units : int or None
        Of a layer that are decoded, at most; None: all.

    Returns
    -------
    float
    """
    n, S, L, V = target.n_all, target.n_splits, len(network.units), target.n_voxels
    n_apart = target.n_test or target.n_stimuli - target.n_train
    per_cell = target.n_subjects * max(1, len(target.cells) // max(1, target.n_subjects))
    kept = sum(network.kept(n_units))
    sizes = {
        "extract": 4 * n * sum(network.units),
        # Predictions (those of train stimuli are NaN and packed), scores, those of all layers together, parts of sets.
        "encode": S * V * (PACKED * n_apart * L + 68 * (L + 1) + 318) + FILE * (L + 3),
        "rsa": 8 * target.n_stimuli**2 * (L + target.n_rdms) + FILE * 3,
        # Decoded and true values of one split; accuracy and its correction; accuracies of encoding.
        "decode": 4 * kept * n_apart * (per_cell + 1) + 12 * kept * per_cell + 8 * L * V + FILE * (2 * L + 2),
        "bhscore": 0,
        "metamers": 9e5 * (min(3, L) + 1),
    }
    return sizes[step] + NOTEBOOKS[step]


def memory(step, network, target, *, n_units=500):
    """Bytes of memory that a job takes at most, libraries included.

    Parameters
    ----------
    step : str
        A key of `STEPS`.
    network : study_sizes.Network
    target : study_sizes.Target
    n_units : int or None
        Of a layer that are decoded, at most; None: all.

    Returns
    -------
    float
    """
    n, m, L, V, C = target.n_all, target.n_train, len(network.units), target.n_voxels, target.n_columns
    n_tested = target.n_test or n
    responses = 8 * target.n_repeats * target.n_stimuli * V + 8 * target.n_test_repeats * target.n_test * V
    kept = sum(network.kept(n_units))
    passed = BATCH * (8 * sum(network.units) + 3 * network.largest) + network.weights
    n_samples, cells = m * target.n_repeats, np.array(target.cells, float)
    widest = cells.max(initial=0)
    summed = (2 * n_samples + n + 2 * n_tested + 2 * cells) * cells
    extra = {
        "extract": passed if network.traffic else 4 * n * max(network.units),
        # Columns, their fits by seven unions at once, and scores of all layers.
        "encode": responses + 8 * n * C * (2 + 7) + 8 * n**2 * L + target.n_splits * V * (68 * L + 4 * n * 3),
        "rsa": responses
        + 8 * target.n_stimuli**2 * (3 * L + (3 + target.n_splits) * target.n_rdms)
        + (4 * N_LIGHTS * L * target.n_pairs + LIGHTS_MEMORY)
        * target.located,  # permuted models, RDMs at a time
        # The widest layer is there four times while it is standardised.
        "decode": responses
        + 8 * (summed.sum() + widest * (3 * BLOCK + 4 * widest) + 4 * n * max(network.units)),
        "bhscore": 8 * kept * n_tested * len(target.cells),
        "metamers": passed + 2 * 5 * network.traffic,  # two stimuli, forth and back
    }
    return BASE_MEMORY + extra[step]


def work(step, network, target, **how):
    """Work of a job, term by term.

    Parameters
    ----------
    step : str
        A key of `STEPS`.
    network : study_sizes.Network
    target : study_sizes.Target
    **how
        Of the step's function here: `n_units`, `n_selected`, …

    Returns
    -------
    pandas.Series
        Count of each of `TERMS` that occurs, by its name.
    """
    plugins.require(step, STEPS, "step with a cost model")
    counts = pd.Series(STEPS[step](network, target, **how), dtype=float)
    return counts[counts > 0]


def job(step, network, target, *, rates=None, **how):
    """What a job will take.

    Parameters
    ----------
    step, network, target
        As for `work`.
    rates : pandas.Series, optional
        Seconds of one of each term; default: `rates()`.
    **how
        As for `work`.

    Returns
    -------
    dict
        `seconds` on one core that nothing else uses, without a GPU; `bytes` on disk; `memory`, bytes at most.
    """
    rates = _rates() if rates is None else rates
    counts = work(step, network, target, **how)
    size = {"n_units": how["n_units"]} if "n_units" in how else {}
    return {
        "seconds": float((counts * rates[counts.index]).sum()),
        "bytes": float(stored(step, network, target, **size)),
        "memory": float(memory(step, network, target, **size)),
    }


def expected(todo, done, *, rates=None):
    """What jobs will take, by the model and by how long like jobs have taken.

    Parameters
    ----------
    todo : list of tuple
        step, model, target of each job.
    done : list of tuple
        The same and seconds, of jobs that have run.
    rates : pandas.Series, optional
        As for `job`.

    Returns
    -------
    pandas.DataFrame
        step, model, target; seconds: those of the job itself if it has run; else of the model, times the median of
        measured by foretold seconds of the step's jobs; or their mean where the model knows nothing; bytes and memory,
        as of `job`. NaN: unknown.
    """
    runs = pd.DataFrame(done, columns=["step", "model", "target", "measured"]).astype({"measured": float})
    table = pd.DataFrame(todo, columns=["step", "model", "target"])
    old, new = (
        [foretold(*row, rates=rates) for row in t.itertuples(index=False)] for t in (runs.iloc[:, :3], table)
    )
    runs = runs.assign(ratio=runs["measured"] / [cost["seconds"] for cost in old])
    table = table.join(pd.DataFrame(new, columns=["seconds", "bytes", "memory"], dtype=float))
    by_step = runs.groupby("step")[["ratio", "measured"]].agg({"ratio": "median", "measured": "mean"})
    found = table.join(by_step, on="step")
    last = runs.drop_duplicates(["step", "model", "target"]).set_index(["step", "model", "target"])[
        "measured"
    ]
    own = last.reindex(pd.MultiIndex.from_frame(table[["step", "model", "target"]])).to_numpy()
    guess = (found["seconds"] * found["ratio"].fillna(1)).fillna(found["measured"])
    return table.assign(seconds=np.where(np.isnan(own), guess, own))


def foretold(step, model, of_target, *, rates=None):
    """What a job will take, by the names of its model and target.

    Parameters
    ----------
    step, model, of_target : str
    rates : pandas.Series, optional
        As for `job`.

    Returns
    -------
    dict
        As of `job`, for a notebook's defaults; NaN where there is no model of the step, or sizes are not known.
    """
    unknown = dict.fromkeys(("seconds", "bytes", "memory"), np.nan)
    if step not in STEPS or not model or not of_target:
        return unknown
    try:
        found, sizes = study_sizes.network(model, of_target), study_sizes.target(of_target)
    except (OSError, KeyError, ValueError):  # a damaged file says nothing of sizes
        return unknown
    if not found or not sizes:
        return unknown
    sound = plugins.about("model", model)["MODALITY"] == "audio"
    return job(step, found, sizes, rates=rates, **({"n_steps": 48} if step == "metamers" and sound else {}))


def said(found, n_at_once):
    """What jobs will take, in words.

    Parameters
    ----------
    found : pandas.DataFrame
        As `expected` returns it.
    n_at_once : int
        Jobs that run at a time, each on a core of its own.

    Returns
    -------
    str
    """
    hours, n_unknown = found["seconds"].dropna() / 3600, int(found["seconds"].isna().sum())
    if not len(hours):
        return f"nothing is known of what {n_unknown} jobs take"
    wall = max(hours.sum() / n_at_once, hours.max())
    together = found["memory"].dropna().nlargest(n_at_once).sum()
    text = f"{hours.sum():.2g} core-hours, {wall:.2g} h with {n_at_once} at a time; "
    text += f"{found['bytes'].sum() / 1e9:.2g} GB on disk, {together / 1e9:.2g} GB of memory at a time"
    return text + (f"; nothing is known of {n_unknown}" if n_unknown else "")


@functools.cache
def rates():
    """Seconds of one of each term, as measured when the compendium was made.

    Returns
    -------
    pandas.DataFrame
        Columns term, seconds, counted (what one is), measured (how, where and when).
    """
    return artefacts.load_table(Path(__file__).with_name("study_cost.rates.csv"))


def _rates():
    """Seconds by term."""
    return rates().set_index("term")["seconds"]
