"""How good a data set is before any model: what is there against what its paper states, and noise ceilings."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from lib import ceilings, inference, metrics
from lib.plugins import require

COLUMNS = ["roi", "quantity", "estimate", "low", "high", "n", "unit", "undefined"]
COUNTED = ("stimuli", "voxels", "subjects", "rois", "repeats")
REPEAT_R, EXPLAINABLE = "single-repeat r", "explainable variance"
LOWER, UPPER = "lower noise ceiling", "upper noise ceiling"
SPLIT_HALF = "split-half reliability"
WHOLE = "all voxels"
RECOGNITION = {"experiment", "participant", "layer", "model", "observer", "proportion_correct"}
BLOCK = 2_000_000  # numbers that each of a handful of arrays holds at once


@dataclass(frozen=True)
class Halves:
    """A value in random halves of n units and in their complements, (2, n_resamples)."""

    values: np.ndarray
    n: int
    unit: str
    of_pairs: bool = False


def counts(contents, stated):
    """What a data set holds beside what its paper states.

    Parameters
    ----------
    contents : dict
        As `lib.datasets.contents` gives it: `responses` (xarray.Dataset) and `stimuli`, or tables of results
        (pandas.DataFrame or xarray.Dataset) by name.
    stated : dict of str to int or None
        Of responses: "stimuli" (held-out ones included), "voxels", "subjects", "rois", "repeats",
        "test_repeats". Of results: "<table>.<column>", the number of distinct values; "voxels", "subjects",
        "stimuli" where a table has such an axis. None: the paper states nothing.

    Returns
    -------
    pandas.DataFrame
        Columns what; here (NA if the data have no such thing); stated (NA if nothing is); agree ("yes", "no",
        or "" where nothing is stated). Rows in the order of `stated`.

    Raises
    ------
    ValueError
        If something is stated that these data do not have; the message names the nearest.
    """
    here = _counted(contents)
    for what, value in stated.items():
        valid = (*here, *COUNTED) if value is None else here
        require(what, dict.fromkeys(valid), "count that a data set states")
    agreement = {True: "yes", False: "no"}
    rows = [
        (what, here.get(what), value, "" if value is None else agreement[here[what] == value])
        for what, value in stated.items()
    ]
    table = pd.DataFrame(rows, columns=["what", "here", "stated", "agree"])
    return table.astype({"here": "Int64", "stated": "Int64"})


def reliability(contents, *, n_resamples, rng):
    """How far a data set agrees with itself, region by region: the ceiling of every model of it.

    Responses of voxels: "single-repeat r" (`lib.ceilings.repeat_correlation`) and "explainable variance", the
    largest r² that a model can reach against the mean over repeats (`lib.ceilings.explainable_variance`). The
    median over the voxels of each subject is averaged over subjects, with Student's t interval. The interval of
    a single subject speaks of other stimuli, not of other subjects. Quantities of held-out stimuli end in
    "(test stimuli)".

    RDMs: "lower noise ceiling" and "upper noise ceiling" (`lib.ceilings.rdm_bounds`) of the means over repeats.
    Subjects are no sample for Student's t here: their values share a reference, and that of the upper bound
    holds the subject itself. So the interval speaks of other stimuli for these subjects. "single-repeat r":
    Spearman correlation between the RDMs of repeats, averaged over subjects with Student's t interval.

    Results with a table `recognition`: "split-half reliability" (`lib.ceilings.split_half`) of human
    observers' profile over models and layers, for each experiment. The interval speaks of other participants.

    Intervals that are not over subjects come from random halves of the stimuli or participants: with a and b
    the values in a half and in its complement, and d = (a - b) / 2, the mean of d² is half the variance of a half,
    hence the variance of the whole if that goes with 1 / n. What pairs of units add goes with 1 / n², and
    counts twice in it; it is the variance of c = (a + b) / 2 over the halvings, and is subtracted for RDMs
    (pairs of stimuli) and profiles (pairs of participants), which are close to the mean of their halves. A
    bootstrap would count it three times. The interval is Student's t with n - 1 degrees of freedom, on the
    scale where the variance hardly depends on the value: artanh x of correlations, log(1 - x) of reliabilities.

    Parameters
    ----------
    contents : dict
        As `lib.datasets.contents` gives it.
    n_resamples : int
        Random halves, each with its complement. 200 give the standard error within about 10 %.
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        Columns roi ("all voxels", then the regions; the experiment for results), quantity, estimate, low and
        high (95 %), n (units averaged, or halved), unit ("subject", "stimulus" or "participant"; where there
        is no estimate, why: "one repeat", "one subject", "one participant", "no value"), undefined (voxels,
        subjects or conditions without a value). Nothing is clipped: pure noise scatters around 0.

    References
    ----------
    Efron & Stein (1981), Ann Stat 9:586 (what resampling makes of the variance of pairs); Politis, Romano & Wolf
    (1999), Subsampling, chapter 2.
    """
    kind = _kind(contents)
    if kind == "rdm":
        rows = _of_rdms(contents["responses"]["rdm"], n_resamples, rng)
    elif kind == "results":
        rows = _of_recognition(contents.get("recognition"), n_resamples, rng)
    else:
        responses = contents["responses"]
        rows = [r for prefix in _sets(responses) for r in _of_set(responses, prefix, n_resamples, rng)]
    return pd.DataFrame(rows, columns=COLUMNS)


def voxels(responses):
    """Reliability of each voxel.

    Parameters
    ----------
    responses : xarray.Dataset
        As `lib.contract` has it; NaN is a response that was not measured.

    Returns
    -------
    pandas.DataFrame
        One row per voxel: voxel, subject, roi, repeat_r, explainable_variance (see `lib.ceilings`), and
        test_repeat_r, test_explainable_variance if there is `test_response`. NaN where there is one repeat.
    """
    columns = {c: responses[c].values.astype(str) for c in ("voxel", "subject", "roi")}
    for prefix, Y in _sets(responses).items():
        columns[f"{prefix}repeat_r"], columns[f"{prefix}explainable_variance"] = _per_voxel(Y)[:, 0]
    return pd.DataFrame(columns)


def between_regions(contents):
    """How alike the geometries of regions are: Pearson correlation of their mean RDMs.

    Parameters
    ----------
    contents : dict
        As `lib.datasets.contents` gives it.

    Returns
    -------
    pandas.DataFrame
        roi × roi, -1 to 1, over the pairs of stimuli; RDMs are averaged over the subjects and repeats that were
        measured. Empty if the data set has no RDMs.

    References
    ----------
    Kriegeskorte et al. (2008), Neuron 60:1126 (human and monkey inferior temporal cortex: 0.49).
    """
    if "rdm" not in contents.get("responses", ()):
        return pd.DataFrame()
    rdm = contents["responses"]["rdm"].mean(["repeat", "subject"])
    upper = rdm.values[(slice(None), *np.triu_indices(rdm.sizes["stimulus"], 1))]
    return pd.DataFrame(np.atleast_2d(np.corrcoef(upper)), index=rdm["roi"].values, columns=rdm["roi"].values)


def _kind(contents):
    """The kind of responses, or "results" where there are none."""
    responses = contents.get("responses")
    return responses.attrs.get("kind", "results") if isinstance(responses, xr.Dataset) else "results"


def _counted(contents):
    """All counts that can be stated of a data set."""
    if _kind(contents) == "results":
        return _counted_results(contents)
    responses = contents["responses"]
    sizes = responses.sizes
    found = {"stimuli": sizes["stimulus"] + sizes.get("test_stimulus", 0)}
    if "rdm" in responses:
        measured = np.isfinite(responses["rdm"]).any(["repeat", "stimulus", "stimulus_2"])
        found |= {"subjects": int(measured.any("roi").sum()), "rois": int(measured.any("subject").sum())}
    else:
        found |= {"voxels": sizes["voxel"], "subjects": len(set(responses["subject"].values.tolist()))}
        found["rois"] = len(_regions(responses))
    repeats = {"repeats": "repeat", "test_repeats": "test_repeat"}
    return found | {what: sizes[axis] for what, axis in repeats.items() if axis in sizes}


def _counted_results(tables):
    """Distinct values of each column, and of the identifiers of voxels, subjects and stimuli."""
    found = {
        f"{name}.{column}": int(pd.Series(np.ravel(table[column])).nunique())
        for name, table in tables.items()
        for column in (table.variables if isinstance(table, xr.Dataset) else table.columns)
    }
    arrays = [t for t in tables.values() if isinstance(t, xr.Dataset)]
    for what, axis in (("voxels", "voxel"), ("subjects", "subject"), ("stimuli", "stimulus")):
        names = [
            set(t[axis].values.ravel().tolist()) for t in arrays if axis in t.variables or axis in t.dims
        ]
        if names:
            found[what] = len(set().union(*names))
    return found


def _sets(responses):
    """The response arrays of a data set, by the prefix of their columns."""
    names = {"": "response", "test_": "test_response"}
    return {
        prefix: responses[name].transpose(f"{prefix}repeat", f"{prefix}stimulus", "voxel")
        for prefix, name in names.items()
        if name in responses
    }


def _regions(responses):
    """Voxels of each region that has any: those of `roi`, then those of `in_roi`."""
    roi = responses["roi"].values.astype(str)
    regions = {name: roi == name for name in dict.fromkeys(roi.tolist()) if name}
    if "in_roi" in responses:
        inside = responses["in_roi"].transpose("region", "voxel").values
        named = zip(responses["region"].values.astype(str).tolist(), inside, strict=True)
        regions |= {name: mask for name, mask in named if mask.any()}
    return regions


def _per_voxel(Y, subsets=None, kept=None):
    """Both quantities (2, n_subsets, n_voxels) of the kept voxels, block by block."""
    kept = np.arange(Y.shape[2]) if kept is None else kept
    n_subsets = 1 if subsets is None else len(subsets)
    most = max(len(Y) * (len(Y) - 1) // 2, len(Y)) * max(Y.shape[1], n_subsets)
    step = max(1, BLOCK // most)
    found = np.full((2, n_subsets, len(kept)), np.nan)
    for start in range(0, len(kept) if len(Y) > 1 else 0, step):
        part = slice(start, start + step)
        block = Y.isel(voxel=kept[part]).values.astype(float)
        found[0, :, part] = ceilings.repeat_correlation(block, subsets)
        found[1, :, part] = ceilings.explainable_variance(block, subsets)
    return found


def _of_set(responses, prefix, n_resamples, rng):
    """Rows of one response array."""
    Y, subject = _sets(responses)[prefix], responses["subject"].values.astype(str)
    regions = {WHOLE: np.ones(len(subject), bool)} | _regions(responses)
    values = _per_voxel(Y)[:, 0]
    medians = {
        name: np.stack(
            [metrics.median(values[:, mask & (subject == s)]) for s in dict.fromkeys(subject[mask])]
        )
        for name, mask in regions.items()
    }
    alone = {name: regions[name] for name, m in medians.items() if (np.isfinite(m).sum(axis=0) == 1).any()}
    halved = _halved_medians(Y, alone, _halves(Y.shape[1], n_resamples, rng)) if alone else {}
    for name, of_subjects in medians.items():
        for i, quantity in enumerate((REPEAT_R, EXPLAINABLE)):
            undefined = np.isnan(values[i, regions[name]]).sum()
            key = (name, quantity + (" (test stimuli)" if prefix else ""))
            why = "one repeat" if len(Y) < 2 else "no value"
            halves = Halves(halved[name][i], Y.shape[1], "stimulus") if name in halved else None
            yield _row(key, of_subjects[:, i], undefined, why=why, halves=halves)


def _halves(n, n_resamples, rng):
    """Random halves of n units and their complements, bool (2, n_resamples, n); an odd unit is in neither."""
    place = rng.permuted(np.tile(np.arange(n), (n_resamples, 1)), axis=1)
    return np.stack([place < n // 2, (place >= n // 2) & (place < n // 2 * 2)])


def _halved_medians(Y, regions, halves):
    """Median over each region's voxels of both quantities (2, 2, n_resamples) in halves of the stimuli."""
    kept = np.flatnonzero(np.any(list(regions.values()), axis=0))
    subsets = halves.reshape(-1, halves.shape[2])
    found = {name: [] for name in regions}
    for chunk in np.array_split(subsets, -(-len(subsets) * len(kept) // (4 * BLOCK))):
        values = _per_voxel(Y, chunk, kept)
        for name, mask in regions.items():
            found[name].append(metrics.median(values[..., mask[kept]]))
    return {name: np.concatenate(parts, axis=1).reshape(2, 2, -1) for name, parts in found.items()}


def _row(key, values, undefined, *, why, halves=None):
    """A row of the table: the mean of several subjects' values, or a single value, known also from halves."""
    values = values[np.isfinite(values)]
    if not len(values):
        return (*key, np.nan, np.nan, np.nan, 0, why, int(undefined))
    if len(values) == 1:
        scale = _reliability_scale if key[1].startswith((EXPLAINABLE, SPLIT_HALF)) else _correlation_scale
        bounds = _bounds(values[0], halves, scale=scale)
        return (*key, values[0], *bounds, halves.n, halves.unit, int(undefined))
    table = pd.DataFrame({"subject": range(len(values)), "value": values, "all": ""})
    mean = inference.mean_interval(table, value="value", by=["all"]).iloc[0]
    return (*key, mean["value"], mean["low"], mean["high"], len(values), "subject", int(undefined))


def _correlation_scale(x, *, back=False):
    return np.tanh(x) if back else np.arctanh(x)


def _reliability_scale(x, *, back=False):
    return -np.expm1(-x) if back else -np.log1p(-x)


def _bounds(value, halves, *, scale):
    """95 % interval of a value that is also known from halves; see `reliability`."""
    both = halves.values[:, np.isfinite(halves.values).all(axis=0)]
    if value >= 1 or both.shape[1] < 2:
        return (value, value) if value >= 1 else (np.nan, np.nan)
    a, b = scale(np.minimum(both, 1 - 1e-15))
    variance = np.mean((a - b) ** 2) / 4
    if halves.of_pairs:
        # Pairs alone leave half of it; less is chance.
        variance = max(variance - np.var((a + b) / 2, ddof=1), variance / 2)
    reach = stats.t.ppf(0.975, halves.n - 1) * np.sqrt(variance)
    return tuple(float(scale(scale(value) + step, back=True)) for step in (-reach, reach))


def _of_rdms(rdm, n_resamples, rng):
    """Rows of a data set of RDMs."""
    rdm = rdm.transpose("roi", "subject", "repeat", "stimulus", "stimulus_2")
    n = rdm.sizes["stimulus"]
    a, b = np.triu_indices(n, 1)
    halves = _halves(n, n_resamples, rng)
    for name, values in zip(rdm["roi"].values, rdm.values, strict=True):
        pairs = values[..., a, b]
        measured = np.isfinite(pairs).all(axis=2)
        rdms = [one[here] for one, here in zip(pairs, measured, strict=True) if here.any()]
        yield from _of_roi(str(name), rdms, halves, undefined=len(pairs) - len(rdms))


def _of_roi(name, rdms, halves, *, undefined):
    """Rows of a region: `rdms` holds (repeat, pair) of each subject that was measured."""
    repeated = [r for r in rdms if len(r) > 1]
    correlations = np.array([ceilings.rdm_correlation(r) for r in repeated])
    values = (*ceilings.rdm_bounds([r.mean(axis=0) for r in rdms]), correlations)
    reasons = ("one subject" if rdms else "no value",) * 2
    reasons += ("one repeat" if rdms and not repeated else "no value",)
    halved = _halved_rdms(rdms, halves) if len(rdms) > 1 or len(repeated) == 1 else np.empty((3, 2, 0))
    for quantity, value, why, half in zip((LOWER, UPPER, REPEAT_R), values, reasons, halved, strict=True):
        samples = Halves(half, halves.shape[2], "stimulus", of_pairs=True)
        yield _row((name, quantity), np.atleast_1d(value), undefined, why=why, halves=samples)


def _halved_rdms(rdms, halves):
    """Both bounds, and the correlation of a single subject's repeats, (3, 2, n_resamples), in halves of stimuli."""
    a, b = np.triu_indices(halves.shape[2], 1)
    mean, repeated = np.array([r.mean(axis=0) for r in rdms]), [r for r in rdms if len(r) > 1]
    found = []
    for half in halves.reshape(-1, halves.shape[2]):
        inside = half[a] & half[b]
        single = ceilings.rdm_correlation(repeated[0][:, inside]) if len(repeated) == 1 else np.nan
        found.append((*ceilings.rdm_bounds(mean[:, inside]), single))
    return np.array(found).T.reshape(3, 2, -1)


def _of_recognition(table, n_resamples, rng):
    """Rows of human recognition, if there is a table of it."""
    if table is None or not set(table.columns) >= RECOGNITION:
        return
    require("human", table["observer"].unique().tolist(), "observer")
    for experiment, part in table[table["observer"] == "human"].groupby("experiment", sort=False):
        profiles, undefined = _profiles(part)
        n = len(profiles)
        halves = _halves(n, n_resamples, rng).reshape(-1, n)
        why = "one participant" if n < 2 else "no value"
        samples = ceilings.split_half(profiles, halves).reshape(2, -1)
        samples = Halves(samples, n, "participant", of_pairs=True)
        key = (str(experiment), SPLIT_HALF)
        yield _row(key, ceilings.split_half(profiles), undefined, why=why, halves=samples)


def _profiles(human):
    """Profile of each participant (rows) over models and layers; number of conditions that some have not seen."""
    axes = ["model", "layer", "participant"]
    cells = human.set_index(axes)["proportion_correct"].to_xarray().transpose(*axes).values
    layers = np.tile(np.arange(cells.shape[1]), len(cells))
    conditions = pd.DataFrame(cells.reshape(-1, cells.shape[2])).assign(layer=layers)
    seen = conditions.drop(columns="layer").notna()
    complete = conditions[seen.all(axis=1)]
    # Natural stimuli come once per model, with the same answers: they count once.
    profiles = complete.drop_duplicates().drop(columns="layer").to_numpy().T
    return profiles, int(seen.any(axis=1).sum()) - len(complete)
