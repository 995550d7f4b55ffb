"""Representational similarity of a model's layers and a brain: RDMs of both, scores, and the best layer read fairly."""

from itertools import combinations

import numpy as np
import pandas as pd
import xarray as xr

from lib import dissimilarity, features, inference, layers, rdm, rdm_inference, rdm_permutation
from lib import rdm_comparison as comparison
from lib.plugins import require

ALL = "all"  # region of all voxels of a subject, inside or outside of named ones
KEY = ["layer", "roi", "measure"]
CEILING = ["roi", "measure", "bound", "unit", "value", "low", "high", "reranked", "n_subjects", "n_stimuli"]
FEWEST = 5  # voxels below which a region has no RDM


def of_layer(source, layer, stimuli, **how):
    """RDM of a layer that was extracted.

    Parameters
    ----------
    source : pathlib.Path
        `features.nc` of the step "extract".
    layer : str or list of str
        Several layers count as one: their units side by side.
    stimuli : sequence of str
        Identifiers, in the order wanted.
    **how
        Keywords of `lib.dissimilarity.of_units`: measure, scaling, train, published.

    Returns
    -------
    xarray.DataArray (stimulus, stimulus_2)
        Or (split, stimulus, stimulus_2).

    Raises
    ------
    ValueError
        If the file lacks a layer or stimulus.
    """
    names = [layer] if isinstance(layer, str) else list(layer)
    blocks = (block for name in names for block in features.blocks(source, name, ids=stimuli))
    return dissimilarity.of_units(blocks, stimuli, **how)


def of_brain(responses, *, measure="correlation", scaling="none", train=None, published=None):
    """RDM of each subject and region.

    Parameters
    ----------
    responses : xarray.Dataset
        As `lib.contract` has it. With `rdm` these are averaged over repeats, and the other arguments mean
        nothing; with `response` they are made from the voxels of a subject (region "all", those outside of named
        regions included) and of each of its regions.
    measure : str
        Of `lib.dissimilarity`; "crossnobis" and "mahalanobis" are made from repeats, others from their mean.
    scaling, train, published
        As for `lib.dissimilarity.of_units`; not for measures made from repeats.

    Returns
    -------
    xarray.DataArray (subject, roi, stimulus, stimulus_2)
        Or (subject, roi, split, stimulus, stimulus_2) if `train` is given and used. NaN where a subject has no
        such region, or fewer than five voxels in it. Coordinate `n_voxels` (subject, roi): voxels used. Attribute
        `n_constant_stimuli`: patterns without a direction, of all subjects and regions.

    Raises
    ------
    ValueError
        If the measure is unknown, or no voxel of any region can be used.
    """
    if "rdm" in responses:
        stored = responses["rdm"].mean("repeat").transpose("subject", "roi", *rdm.PAIR)
        return stored.dropna("roi", how="all")
    require(measure, dissimilarity.MEASURES, "dissimilarity")
    how = {"measure": measure}
    if measure in dissimilarity.UNCROSSED:
        how |= {"scaling": scaling, "train": train, "published": published}
    regions = _regions(responses)
    subjects = dict.fromkeys(responses["subject"].values.astype(str).tolist())
    found = []
    for subject in subjects:
        own = responses["subject"].values.astype(str) == subject
        found.append([_of_voxels(responses["response"], own & inside, how) for inside in regions.values()])
    template = next((one for row in found for one in row if one is not None), None)
    if template is None:
        raise ValueError(f"no region of any subject has {FEWEST} voxels or more")
    empty = xr.full_like(template, np.nan).assign_attrs(n_units=0)
    filled = [[empty if one is None else one for one in row] for row in found]
    joined = xr.concat([xr.concat(row, "roi") for row in filled], "subject")
    numbers = [[one.attrs["n_units"] for one in row] for row in filled]
    attrs = {name: template.attrs[name] for name in ("dissimilarity", "scaling") if name in template.attrs}
    attrs["n_constant_stimuli"] = sum(
        one.attrs["n_constant_stimuli"] for row in found for one in row if one is not None
    )
    joined = joined.drop_attrs().assign_attrs(attrs).assign_coords(subject=list(subjects), roi=list(regions))
    joined = joined.transpose("subject", "roi", ...).assign_coords(n_voxels=(("subject", "roi"), numbers))
    return joined.dropna("roi", how="all")


def scores(models, brain, *, measures=("spearman",)):
    """Similarity of each layer's RDM with each subject's, region by region.

    Parameters
    ----------
    models : xarray.DataArray (layer, stimulus, stimulus_2)
    brain : xarray.DataArray (…, stimulus, stimulus_2)
        As of `of_brain`, or with repeats; joined by identifier.
    measures : sequence of str
        See `lib.rdm_comparison`.

    Returns
    -------
    pandas.DataFrame
        layer, the leading dimensions of `brain`, measure, value (-1 to 1); what is undefined has no row.
    """
    leading = [dim for dim in brain.dims if dim not in rdm.PAIR]
    tables = []
    for measure in measures:
        value = comparison.compare(models, brain, measure=measure).rename("value")
        table = value.to_dataframe().reset_index().assign(measure=measure)
        tables.append(table[["layer", *leading, "measure", "value"]])
    return pd.concat(tables, ignore_index=True).dropna(subset="value", ignore_index=True)


def summary(models, brain, *, measure="spearman", n_resamples=1000, n_permutations=1000, seed=0):
    """Each layer in each region: mean over subjects, interval, noise ceiling, and tests against chance.

    Intervals are from a bootstrap of subjects and stimuli (`lib.rdm_inference`), of stimuli alone if there is one
    subject. p is one-sided from permuted stimuli, with subjects and the RDM's structure kept; p_fwe corrects for
    all layers of the region by the largest similarity, p_fdr (Benjamini-Hochberg) for all layers and regions.

    Parameters
    ----------
    models : xarray.DataArray (layer, stimulus, stimulus_2)
        Layers without any dissimilarity have NaN and take no part.
    brain : xarray.DataArray (subject, roi, stimulus, stimulus_2)
        Subjects without the region are left out of it. Joined by identifier. In both, pairs of stimuli that any
        other layer or subject of the region lacks are left out for all; `scores` leaves them out one by one.
    measure : str
        See `lib.rdm_comparison`.
    n_resamples, n_permutations : int
    seed : int
        Two models with the same seed see the same permutations of the same stimuli, whatever their order; see
        `largest`.

    Returns
    -------
    table : pandas.DataFrame
        layer, roi, measure, value, se, low, high, lower, lower_low, lower_high, upper, upper_low, upper_high
        (noise ceiling, NaN for one subject), p, p_fwe, p_fdr, n_subjects, n_stimuli, unit (what was resampled).
    largest : xarray.DataArray (permutation, roi)
        The largest similarity of any layer under each permutation, the unpermuted one first.
    """
    stimuli = np.sort(rdm.identifiers(brain["stimulus"].values))
    A, names = _of_models(models, stimuli)
    brain = _by_region(brain, stimuli)
    there = [vectors[np.isfinite(vectors).any(axis=1)] for vectors in rdm.condensed(brain)]
    tables, largest = [], []
    drawn = _drawn_together(A, there, measure, n_resamples, seed)
    for roi, vectors, found in zip(brain["roi"].values, there, drawn, strict=True):
        table, null = _one_region(
            A, vectors, found, {"measure": measure, "n_permutations": n_permutations}, seed
        )
        about = {"roi": str(roi), "measure": measure, "n_subjects": len(vectors), "n_stimuli": len(stimuli)}
        every = table.assign(layer=names).set_index("layer").reindex(models["layer"].values).reset_index()
        tables.append(every.assign(unit=_unit(vectors), **about))
        largest.append(null)
    table = pd.concat(tables, ignore_index=True)
    table["p_fdr"] = inference.corrected(table["p"])
    null = xr.DataArray(np.array(largest).T, dims=("permutation", "roi"), coords={"roi": brain["roi"].values})
    return table[[*KEY, *(column for column in table if column not in KEY)]], null


def best_of_models(tables, largest):
    """p of each model's best layer, corrected for all layers of all models.

    Parameters
    ----------
    tables : dict of pandas.DataFrame
        Model → table of `summary`.
    largest : dict of xarray.DataArray (permutation, roi)
        Model → null of `summary`, with the same seed and stimuli.

    Returns
    -------
    pandas.DataFrame
        model, roi, layer (the best), value, low, high, lower, upper, p_fwe. The value is that of the best of
        several and read where it was chosen: too large by that, which the p allows for.

    Raises
    ------
    ValueError
        If the models' numbers of permutations differ.
    """
    sizes = {model: null.sizes["permutation"] for model, null in largest.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"models differ in the number of permutations: {sizes}; give all the same and one seed"
        )
    null = xr.concat([largest[model] for model in tables], "model").max("model")
    rows = []
    for model, table in tables.items():
        for roi, part in table.dropna(subset="value").groupby("roi", sort=False):
            row = part.loc[part["value"].idxmax()]
            one = np.r_[row["value"], null.sel(roi=roi).values[1:]]
            rows.append(row.to_dict() | {"model": model, "p_fwe": float(rdm_permutation.p_values(one))})
    columns = ["model", "roi", "layer", "value", "low", "high", "lower", "upper", "p_fwe"]
    return pd.DataFrame(rows, columns=columns)


def differences(models, brain, *, measure="spearman", n_resamples=1000, seed=0):
    """Which of two models is more similar to a region, for all pairs of models.

    Intervals and tests are from a bootstrap of subjects and stimuli, of stimuli alone if there is one subject, in
    which both models see the same draws.

    Parameters
    ----------
    models : xarray.DataArray (layer, stimulus, stimulus_2)
        The models to compare, named by `layer`; those without any dissimilarity take no part.
    brain : xarray.DataArray (subject, roi, stimulus, stimulus_2)
    measure : str
        See `lib.rdm_comparison`.
    n_resamples : int
    seed : int

    Returns
    -------
    pandas.DataFrame
        roi, a, b, measure, value (similarity of a less that of b), low, high (95 %), p (two-sided), p_fwe (Holm)
        and p_fdr over the pairs of the region, n_subjects, n_stimuli, unit.
    """
    stimuli = np.sort(rdm.identifiers(brain["stimulus"].values))
    A, names = _of_models(models, stimuli)
    brain = _by_region(brain, stimuli)
    regions = [vectors[np.isfinite(vectors).any(axis=1)] for vectors in rdm.condensed(brain)]
    drawn, tables = _drawn_together(A, regions, measure, n_resamples, seed), []
    for roi, there, found in zip(brain["roi"].values, regions, drawn, strict=True):
        unit = _unit(there)
        rng = np.random.default_rng(seed).spawn(2)[0]
        table = rdm_inference.pairwise(found, len(A), unit=unit, n_resamples=n_resamples, rng=rng)
        about = {"roi": str(roi), "measure": measure, "n_subjects": len(there), "n_stimuli": len(stimuli)}
        tables.append(table.assign(a=names[table["a"]], b=names[table["b"]], unit=unit, **about))
    columns = ["roi", "a", "b", "measure", "value", "low", "high", "p", "p_fwe", "p_fdr"]
    return pd.concat(tables, ignore_index=True)[[*columns, "n_subjects", "n_stimuli", "unit"]]


def ceilings(brain, *, measure="spearman", n_resamples=1000, seed=0):
    """Noise ceiling of each region, with an interval for each choice of what is drawn anew.

    Parameters
    ----------
    brain : xarray.DataArray (subject, roi, stimulus, stimulus_2)
        Regions with fewer than two subjects are left out.
    measure : str
        See `lib.rdm_comparison`.
    n_resamples : int
    seed : int

    Returns
    -------
    pandas.DataFrame
        roi, measure, bound ("lower", "upper"), unit ("subject", "stimulus", "subject and stimulus"), value, low,
        high (95 % bootstrap-t), reranked ("spearman": the bound of mean ranks that are ranked again, as an RDM's
        would be; NaN else), n_subjects, n_stimuli.
    """
    stimuli = np.sort(rdm.identifiers(brain["stimulus"].values))
    brain = _by_region(brain, stimuli)
    regions = [vectors[np.isfinite(vectors).any(axis=1)] for vectors in rdm.condensed(brain)]
    regions = {roi: v for roi, v in zip(brain["roi"].values.astype(str), regions, strict=True) if len(v) > 1}
    if not regions:
        return pd.DataFrame(columns=CEILING)
    none = np.empty((0, len(stimuli) * (len(stimuli) - 1) // 2))
    drawn, rows = _drawn_together(none, list(regions.values()), measure, n_resamples, seed), []
    for (roi, vectors), found in zip(regions.items(), drawn, strict=True):
        again = rdm_inference.bounds(vectors, reranked=True) if measure == "spearman" else (np.nan, np.nan)
        about = {"roi": roi, "measure": measure, "reranked": again}
        for unit in rdm_inference.UNITS:
            how = {"unit": unit, "n_resamples": n_resamples, "rng": np.random.default_rng(seed).spawn(2)[0]}
            table = rdm_inference.estimates(found, 0, **how).rename(columns={"what": "bound"})
            sizes = {"n_subjects": len(vectors), "n_stimuli": len(stimuli)}
            rows.append(table.assign(unit=unit, **about, **sizes))
    return pd.concat(rows, ignore_index=True)[CEILING]


def half_similarities(models, brain, train, *, measure="spearman"):
    """Similarities of RDMs of the train stimuli, and of the test stimuli, of each split.

    Parameters
    ----------
    models : xarray.DataArray ([layer,] [split,] stimulus, stimulus_2)
        With `split` where units were scaled on the train stimuli.
    brain : xarray.DataArray (subject, roi, [split,] stimulus, stimulus_2)
    train : xarray.DataArray (split, stimulus)
        Bool; all are joined by its identifiers.
    measure : str
        See `lib.rdm_comparison`.

    Returns
    -------
    xarray.Dataset
        `train`, `test` ([layer,] subject, roi, split), -1 to 1 or NaN.
    """
    found = {"train": [], "test": []}
    for number, subset in enumerate(train.transpose("split", "stimulus").values):
        for half, chosen in (("train", subset), ("test", ~subset)):
            stimuli = train["stimulus"].values[chosen]
            sides = [_of_split(side, number, stimuli) for side in (models, brain)]
            found[half].append(comparison.compare(*sides, measure=measure))
    return xr.Dataset({half: xr.concat(parts, "split") for half, parts in found.items()})


def half_ceilings(brain, train, *, measure="spearman", published=None):
    """Similarity of each subject's RDM of the test stimuli with the mean of the others, and of all.

    Parameters
    ----------
    brain : xarray.DataArray (subject, roi, [split,] stimulus, stimulus_2)
    train : xarray.DataArray (split, stimulus)
    measure : str
        That of the scores.
    published : {"tuckute2023"}, optional
        Pearson correlation with the mean dissimilarity of the others, whatever the measure of the scores is.

    Returns
    -------
    xarray.Dataset
        `lower`, `upper` (subject, roi, split); NaN for a subject without others.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (RSA); Nili et al. (2014),
    PLoS Comput Biol 10:e1003553.
    """
    splits = []
    for number, subset in enumerate(train.transpose("split", "stimulus").values):
        part = _of_split(brain, number, train["stimulus"].values[~subset]).transpose(
            "roi", "subject", *rdm.PAIR
        )
        rows = [
            rdm_inference.each_bound(one, measure=measure, published=published) for one in rdm.condensed(part)
        ]
        splits.append(np.array(rows))
    values = np.array(splits)
    coords = {name: brain[name].values for name in ("roi", "subject")}
    bounds = ((("split", "roi", "subject"), values[:, :, i]) for i in (0, 1))
    return xr.Dataset(dict(zip(("lower", "upper"), bounds, strict=True)), coords=coords).transpose(
        "subject", "roi", "split"
    )


def best_layer(similarities, *, published=None):
    """Layer of each subject that is most similar on the train stimuli, and its similarity on the test stimuli.

    Parameters
    ----------
    similarities : xarray.Dataset
        `train`, `test` (layer, subject, roi, split); see `half_similarities`.
    published : {"tuckute2023"}, optional
        A layer undefined on the test stimuli can be chosen, and the value is NaN then; here it cannot.

    Returns
    -------
    xarray.Dataset
        `layer` (subject, roi, split), number of the chosen one, the first of ties, NaN where there is none;
        `by_split`, its test similarity; `value` (subject, roi), the median over splits; `relative_position`, the
        mean over splits, 0 the first layer and 1 the last; `undefined`, share of layers and splits without
        similarity.

    References
    ----------
    Tuckute, Feather, Boebinger & McDermott (2023), PLoS Biol 21:e3002366, Methods (RSA).
    """
    train, test = (
        similarities[half].transpose("layer", "subject", "roi", "split") for half in ("train", "test")
    )
    lost = train.isnull() if published else train.isnull() | test.isnull()
    chosen = train.where(~lost, -np.inf).argmax("layer")
    there = ~lost.all("layer")
    position = xr.apply_ufunc(layers.relative_position, chosen + 1, kwargs={"n_layers": train.sizes["layer"]})
    by_split = test.isel(layer=chosen).drop_vars("layer", errors="ignore").where(there)
    return xr.Dataset(
        {
            "layer": chosen.where(there),
            "by_split": by_split,
            "value": by_split.median("split"),
            "relative_position": position.where(there).mean("split"),
            "undefined": (train.isnull() | test.isnull()).mean(["layer", "split"]),
        }
    )


def best_table(best, ceilings, *, measure):
    """Mean over subjects of the best layer's similarity, with t interval and ceilings, region by region.

    Parameters
    ----------
    best : xarray.Dataset
        Of `best_layer`.
    ceilings : xarray.Dataset
        Of `half_ceilings`; medians over splits and means over subjects are taken.
    measure : str
        For the record.

    Returns
    -------
    pandas.DataFrame
        roi, measure, value, low, high, n, unit ("subject"), interval, position (mean relative position), lower,
        upper, undefined (share of layers and splits without similarity).
    """
    names = ["value", "relative_position", "undefined"]
    table = best[names].to_dataframe().reset_index().dropna(subset="value")
    rows = inference.mean_interval(table, value="value", by=["roi"])
    about = table.groupby("roi")[["relative_position", "undefined"]].mean()
    bounds = ceilings.median("split").mean("subject").to_dataframe()[["lower", "upper"]]
    rows = rows.join(about.rename(columns={"relative_position": "position"}), on="roi").join(bounds, on="roi")
    return rows.assign(measure=measure, interval="t")


def between_regions(brain, *, measure="pearson", n_resamples=1000, seed=0):
    """Similarity of the mean RDMs of each two regions, such as those of two species, with an interval.

    Parameters
    ----------
    brain : xarray.DataArray (subject, roi, stimulus, stimulus_2)
        RDMs are averaged over the subjects that have the region. Region "all" is left out.
    measure : str
        See `lib.rdm_comparison`.
    n_resamples : int
    seed : int

    Returns
    -------
    pandas.DataFrame
        a, b (regions, in the order of `brain`), measure, value, low, high (95 % bootstrap-t interval over stimuli;
        people are not drawn anew), n (stimuli), unit.

    References
    ----------
    Kriegeskorte et al. (2008), Neuron 60:1126, figure 3 (human and monkey inferior temporal cortex).
    """
    stimuli = np.sort(rdm.identifiers(brain["stimulus"].values))
    vectors = rdm.condensed(rdm.matched(brain.mean("subject"), stimuli).transpose("roi", *rdm.PAIR))
    named = {
        name: one for name, one in zip(brain["roi"].values.astype(str), vectors, strict=True) if name != ALL
    }
    rows = []
    for a, b in combinations(named, 2):
        how = {"measure": measure, "unit": "stimulus", "n_resamples": n_resamples}
        one = rdm_inference.intervals(named[a][None], named[b][None], **how, rng=np.random.default_rng(seed))
        rows.append((a, b, measure, *one.loc[0, ["value", "low", "high"]], len(stimuli), "stimulus"))
    return pd.DataFrame(rows, columns=["a", "b", "measure", "value", "low", "high", "n", "unit"])


def _regions(responses):
    """Voxels of all regions: all of them, those by name, and those that overlap."""
    roi = responses["roi"].values.astype(str)
    regions = {ALL: np.ones(len(roi), bool)} | {
        name: roi == name for name in dict.fromkeys(roi.tolist()) if name
    }
    if "in_roi" in responses:
        inside = responses["in_roi"].transpose("region", "voxel").values
        regions |= dict(zip(responses["region"].values.astype(str).tolist(), inside, strict=True))
    return regions


def _by_region(brain, stimuli):
    """RDMs (roi, subject, …) by the subjects' names: one seed draws the same ones whatever their order."""
    brain = rdm.matched(brain, stimuli).sortby("subject").transpose("roi", "subject", *rdm.PAIR)
    return brain.dropna("roi", how="all")


def _of_models(models, stimuli):
    """Upper triangles of the layers that have any dissimilarity, and their names."""
    vectors = rdm.condensed(rdm.matched(models, stimuli).transpose("layer", *rdm.PAIR))
    there = np.isfinite(vectors).any(axis=1)
    return vectors[there], models["layer"].values[there]


def _of_voxels(response, inside, how):
    """RDM of some voxels, None if they are too few."""
    if inside.sum() < FEWEST:
        return None
    part = response.isel(voxel=np.flatnonzero(inside))
    if how["measure"] in dissimilarity.CROSSED:
        return dissimilarity.of_repeats(part, **how)
    mean = part.mean("repeat").transpose("stimulus", "voxel")
    return dissimilarity.of_units([mean.values], mean["stimulus"].values, **how)


def _unit(brain):
    """What is resampled: a single subject cannot be."""
    return rdm_inference.UNITS[2] if len(brain) > 1 else "stimulus"


def _drawn_together(models, regions, measure, n_resamples, seed):
    """Resamples of each region; all from one ranking of all RDMs, unless some lack pairs."""
    how = {"measure": measure, "n_resamples": n_resamples}
    whole = np.vstack([models, *regions])
    if not np.isfinite(whole).all():
        for brain in regions:
            yield rdm_inference.resamples(np.vstack([models, brain]), **how, rng=np.random.default_rng(seed))
        return
    found = rdm_inference.resamples(whole, **how, rng=np.random.default_rng(seed))
    first = len(models) + np.cumsum([0, *map(len, regions)])
    for start, brain in zip(first, regions, strict=False):
        yield found.of(np.r_[: len(models), start : start + len(brain)])


def _one_region(models, brain, found, permuting, seed):
    """Table of all layers, and the largest similarity under each permutation, of one region."""
    of_subjects, of_names = np.random.default_rng(seed).spawn(2)
    how = {"unit": _unit(brain), "n_resamples": len(found.drawn), "rng": of_subjects}
    rows = rdm_inference.estimates(found, len(models), **how)
    bounds = rows.set_index("what").loc[["lower", "upper"]]
    table = rows.iloc[:-2].drop(columns=["what", "n_free", "p"])
    for name, bound in bounds.iterrows():
        table = table.assign(
            **{name: bound["value"], f"{name}_low": bound["low"], f"{name}_high": bound["high"]}
        )
    null = rdm_permutation.permuted(models, brain, **permuting, rng=of_names)
    table = table.assign(p=rdm_permutation.p_values(null), p_fwe=rdm_permutation.max_statistic(null))
    return table, np.where(np.isnan(null), -np.inf, null).max(axis=1, initial=-np.inf)


def _of_split(side, number, stimuli):
    """RDMs of some stimuli, as scaled for that split."""
    side = side.isel(split=number) if "split" in side.dims else side
    return rdm.matched(side, stimuli)
