"""Whether people recognise what networks recognise: layers' metamers judged by both, and Brain-Score."""

import numpy as np
import pandas as pd
from scipy import stats

from lib import inference, plugins
from lib.inference import QUOTED
from lib.recognition import networks

# Experiments whose people are pooled as published, for figure 8E and 8F and for figure 7B.
SCATTER = {
    "audio": ["audio_exp1", "audio_exp3", "audio_exp4", "audio_exp7", "audio_exp8"],
    "vision": ["vision_exp1", "vision_exp3", "vision_exp4", "vision_exp5", "vision_exp9"],
}
BRAINSCORE = ["vision_exp1", "vision_exp3", "vision_exp4", "vision_exp5", "vision_exp9", "vision_exp10",
              "vision_exp12", "vision_exp16"]  # fmt: skip
REGIONS = ["V1", "V2", "V4", "IT"]
POINTS = {"audio": 144, "vision": 148}  # published, 2022; the 2023 figure of vision has more networks
RULES = ("feather2023",)
FEWEST = 5  # models that an interval needs
CORRELATIONS = {"r2": stats.pearsonr, "rho": stats.spearmanr, "tau": stats.kendalltau}
WORDS = {"r2": "squared Pearson correlation", "rho": "Spearman correlation", "tau": "Kendall's tau"}


def people(table, experiments):
    """Mean recognition of each model's layers by the people of several experiments, pooled.

    Parameters
    ----------
    table : pandas.DataFrame
        `recognition` of target metamer_recognition.
    experiments : iterable of str
        Those that are not among the rows are passed over.

    Returns
    -------
    pandas.DataFrame
        model, layer, human (mean over participants of all experiments), n_people.
    """
    here = table[(table["observer"] == "human") & table["experiment"].isin(list(experiments))]
    grouped = here.groupby(["model", "layer"], sort=False)["proportion_correct"]
    return grouped.agg(human="mean", n_people="size").reset_index()


def points(recognition, evaluations, *, published=None):
    """Recognition of each layer's metamers by people and by networks.

    Parameters
    ----------
    recognition, evaluations : pandas.DataFrame
        `recognition` and `network_network` of target metamer_recognition.
    published : {"feather2023", "feather2022"}, optional
        See `networks.curves`: 2022 counts the generating network among the judges; 2023, and the default, do not.

    Returns
    -------
    pandas.DataFrame
        modality, model (that made the metamers), layer, human, n_people, networks (mean accuracy), n_networks. Layers
        that were judged by one side only are left out.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2023), doi:10.1038/s41593-023-01442-0, figure 8E and 8F.
    """
    curves = networks.curves(networks.accuracies(evaluations), published=published)
    curves = curves.rename(columns={"generator": "model", "value": "networks", "n": "n_networks"})
    tables = []
    for modality, experiments in SCATTER.items():
        human = people(recognition, experiments).assign(modality=modality)
        here = curves[curves["modality"] == modality]
        tables.append(human.merge(here, on=["modality", "model", "layer"]))
    columns = ["modality", "model", "layer", "human", "n_people", "networks", "n_networks"]
    return pd.concat(tables, ignore_index=True)[columns]


def correlations(found, x, y, *, by="modality", published=None, n_resamples=1000, seed=0):
    """Correlations of two columns over points, and their intervals over models.

    Parameters
    ----------
    found : pandas.DataFrame
        model and the columns x, y and `by`; a point without a value is left out.
    x, y : str
    by : str
        Column that tells the correlations apart.
    published : {"feather2023"}, optional
        Equal means that rounding in the sixteenth digit made unequal are not tied. Default: values that are equal in
        12 decimals are.
    n_resamples, seed : int
        Of the bootstrap over models, each drawn with all its points.

    Returns
    -------
    pandas.DataFrame
        `by`, measure (r2, rho, tau), value, low, high (95 %, percentiles; NaN with fewer than five models), p
        (two-sided, points taken for independent, as published; layers of one network are not, so that it is too
        small where a model has several), n (points), n_models, unit. NaN with fewer than three points.

    Raises
    ------
    ValueError
        If there is no such published rule.
    """
    if published is not None:
        plugins.require(published, RULES, "published rule")
    else:
        found = found.assign(**found[[x, y]].round(12))
    rows = []
    for group, here in found.dropna(subset=[x, y]).groupby(by, sort=False):
        models = [part[[x, y]].to_numpy() for _, part in here.groupby("model")]
        draws = _resampled(models, n_resamples, np.random.default_rng(seed))
        for measure in CORRELATIONS:
            value, p = _correlation(here[x], here[y], measure)
            low, high = np.nan, np.nan
            if draws:
                values = [_correlation(*draw.T, measure)[0] for draw in draws]
                low, high = np.nanquantile(values, [0.025, 0.975])
            rows.append({by: group, "measure": measure, "value": value, "low": low, "high": high, "p": p,
                         "n": len(here), "n_models": len(models)})  # fmt: skip
    columns = [by, "measure", "value", "low", "high", "p", "n", "n_models"]
    return pd.DataFrame(rows, columns=columns).assign(unit="model")


def brain_scores(recognition, scores):
    """Brain-Score of each model in each region, and recognition of the metamers of its best layer there.

    Parameters
    ----------
    recognition, scores : pandas.DataFrame
        `recognition` and `brainscore` of target metamer_recognition.

    Returns
    -------
    pandas.DataFrame
        region, model, layer (best for the region by Brain-Score), score, human (mean over people, pooled over
        experiments), n_people. Models whose people are not among the rows are left out.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2023), doi:10.1038/s41593-023-01442-0, figure 7B.
    """
    here = scores[scores["score"].isin(REGIONS)].rename(
        columns={"score": "region", "value": "score", "best_layer": "layer"}
    )
    found = here.merge(people(recognition, BRAINSCORE), on=["model", "layer"])
    return found[["region", "model", "layer", "score", "human", "n_people"]]


def bonferroni(found, *, n_tests=4):
    """Correlations with p for having asked so many questions.

    Parameters
    ----------
    found : pandas.DataFrame
        See `correlations`.
    n_tests : int

    Returns
    -------
    pandas.DataFrame
        With column p_corrected, at most 1.
    """
    return found.assign(p_corrected=np.minimum(found["p"] * n_tests, 1))


def quotable(found, quantity, *, by="modality"):
    """Rows of numbers.csv of correlations over layers or models.

    Parameters
    ----------
    found : pandas.DataFrame
        See `correlations` or `bonferroni`.
    quantity : str
        Fourth part of the names.
    by : str
        Column that tells the correlations apart.

    Returns
    -------
    pandas.DataFrame
        name (`recognition/metamer_recognition/<of what>/<quantity>/<measure>`), value, low, high, n, unit, what; rows
        without a value are left out.
    """
    found = found[found["value"].notna()]
    parts = "recognition/metamer_recognition/" + found[by].str.lower() + f"/{quantity}/" + found["measure"]
    said = [
        f"{WORDS[row['measure']]} over {row['n']} points of {row['n_models']} models{_published(row[by])}, "
        f"p {row['p']:.3g}"
        + (f" (corrected {row['p_corrected']:.3g})" if "p_corrected" in row else "")
        + (
            "; 95 % bootstrap interval over models"
            if pd.notna(row["low"])
            else "; no interval: too few models"
        )
        for row in found.to_dict("records")
    ]
    return found.assign(name=parts, what=said, n=found["n_models"])[QUOTED]


def _published(group):
    return f" (published: {POINTS[group]} points)" if group in POINTS else ""


def _correlation(x, y, measure):
    """A correlation and its p; NaN if a side does not vary or there are fewer than three points."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan, np.nan
    found = CORRELATIONS[measure](x, y)
    return found.statistic ** (2 if measure == "r2" else 1), found.pvalue


def _resampled(models, n_resamples, rng):
    """Points of models drawn with replacement; nothing if there are too few."""
    n = len(models)
    if n < FEWEST:
        return []
    counts = inference.draws(n, n_resamples, rng)
    return [np.concatenate([np.tile(m, (k, 1)) for m, k in zip(models, row, strict=True)]) for row in counts]
