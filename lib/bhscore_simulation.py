"""What brain hierarchy scores and their intervals should be, where the truth is known: simulated and planted."""

import dataclasses
import tempfile

import numpy as np
import pandas as pd
import xarray as xr

from lib import bhscore, bhscore_inference, decoding, inference


@dataclasses.dataclass(frozen=True)
class Design:
    """A simulated network and brain.

    Attributes
    ----------
    n_layers, n_rois, n_units, n_latents : int
        Units (of each layer) are mixtures of latents, which each layer has for itself.
    n_stimuli : int
        Test stimuli.
    strength : float
        How much worse a latent is decoded (correlation) from a region as far from its layer as can be.
    latent_sd, subject_sd : float
        Spread of the latents' correlations over regions, and of a region's and layer's over people.
    """

    n_layers: int = 6
    n_rois: int = 5
    n_units: int = 60
    n_latents: int = 15
    n_stimuli: int = 50
    strength: float = 0.3
    latent_sd: float = 0.1
    subject_sd: float = 0.1


def network(design, rng):
    """Units of a network, and how well its latents can be decoded from each region.

    Parameters
    ----------
    design : Design
    rng : numpy.random.Generator

    Returns
    -------
    mixture : array (n_layers, n_units, n_latents)
        Rows of length 1.
    correlation : array (n_layers, n_rois, n_latents)
        Of decoded with true latents, mean over people: 0.45, less the strength times the distance of the relative
        places of layer and region, and a random part of the latent.
    """
    mixture = rng.standard_normal((design.n_layers, design.n_units, design.n_latents))
    places = np.linspace(0, 1, design.n_layers)[:, None] - np.linspace(0, 1, design.n_rois)
    own = rng.standard_normal((design.n_layers, design.n_rois, design.n_latents))
    correlation = 0.45 - design.strength * abs(places)[:, :, None] + design.latent_sd * own
    return mixture / np.linalg.norm(mixture, axis=2, keepdims=True), correlation


def people(correlation, n_subjects, design, rng):
    """Correlations in people.

    Parameters
    ----------
    correlation : array (n_layers, n_rois, n_latents)
        Of `network`.
    n_subjects : int
    design : Design
    rng : numpy.random.Generator

    Returns
    -------
    array (n_subjects, n_layers, n_rois, n_latents)
        Within ±0.95.
    """
    own = design.subject_sd * rng.standard_normal((n_subjects, *correlation.shape[:2], 1))
    return np.clip(
        correlation + own + 0.05 * rng.standard_normal((n_subjects, *correlation.shape)), -0.95, 0.95
    )


def predictions(mixture, correlations, latents, rng):
    """Decoded and true features of test stimuli.

    Parameters
    ----------
    mixture : array (n_layers, n_units, n_latents)
    correlations : array (n_subjects, n_layers, n_rois, n_latents)
    latents : array (n_layers, n_stimuli, n_latents)
        Standard normal; the same for all people.
    rng : numpy.random.Generator
        Of the errors of decoding, which are of latents, as those of linear decoders are: units share them.

    Yields
    ------
    str, xarray.Dataset
        As `lib.bhscore_inference.predictions`.
    """
    n_subjects, _, n_rois, n_latents = correlations.shape
    coords = {"subject": range(n_subjects), "roi": [f"region{i + 1}" for i in range(n_rois)]}
    for number, (mix, z) in enumerate(zip(mixture, latents, strict=True)):
        rho = correlations[:, number, :, None]
        error = rng.standard_normal((n_subjects, n_rois, len(z), n_latents))
        decoded = (rho * z + np.sqrt(1 - rho**2) * error) @ mix.T
        found = {
            "decoded": (("subject", "roi", "stimulus", "unit"), decoded),
            "true": (("stimulus", "unit"), z @ mix.T),
        }
        unit = [f"layer{number + 1}/{i:04d}" for i in range(len(mix))]
        yield f"layer{number + 1}", xr.Dataset(found, coords | {"unit": unit})


def accuracies(parts):
    """Correlations of decoded with true features.

    Parameters
    ----------
    parts : iterable of (str, xarray.Dataset)
        As from `predictions`.

    Returns
    -------
    xarray.DataArray (subject, roi, unit)
        With coordinate `layer` (unit).
    """
    found, layers = [], []
    for name, part in parts:
        decoded = _standard(part["decoded"].transpose("subject", "roi", "stimulus", "unit").values)
        found.append((decoded * _standard(part["true"].transpose("stimulus", "unit").values)).mean(axis=-2))
        layers += [(name, unit) for unit in part["unit"].values.tolist()]
    layer, unit = zip(*layers, strict=True)
    coords = {"subject": part["subject"].values, "roi": part["roi"].values, "unit": list(unit)}
    return xr.DataArray(
        np.concatenate(found, axis=-1), coords | {"layer": ("unit", list(layer))}, tuple(coords)
    )


def subject_coverage(design, *, n_subjects=4, n_networks=4, n_experiments=50, seed=0):
    """How often intervals over people hold the score that all people together would give.

    In each network, units, stimuli and the people of many experiments are drawn; the truth is the score of all those
    people's units together.

    Parameters
    ----------
    design : Design
    n_subjects : int
        Of an experiment.
    n_networks, n_experiments : int
        Experiments are those with one network.
    seed : int

    Returns
    -------
    pandas.DataFrame
        method (of `lib.bhscore_inference.over_subjects`), coverage (of 95 % intervals), n (intervals), truth (mean).
    """
    rng, rows = np.random.default_rng(seed), []
    for _ in range(n_networks):
        mixture, correlation = network(design, rng)
        latents = rng.standard_normal((design.n_layers, design.n_stimuli, design.n_latents))
        tables = []
        for _ in range(n_experiments):
            who = people(correlation, n_subjects, design, rng)
            found = accuracies(predictions(mixture, who, latents, rng))
            tables.append(bhscore.counts(bhscore.top_rois(found, n_stimuli=design.n_stimuli)))
        truth = bhscore.score(sum(table.sum("subject").values for table in tables))
        for method in bhscore_inference.METHODS:
            for table in tables:
                found = bhscore_inference.over_subjects({"decoding": table}, method=method)
                rows.append((method, _holds(found, "subject", truth), truth))
    return _coverage(rows, "method")


def stimulus_coverage(design, *, n_subjects=3, n_networks=3, n_experiments=40, n_resamples=100, seed=0):
    """How often intervals over stimuli hold the mean score of experiments with other stimuli, as many.

    People and units stay; the truth is the mean over the experiments with one network.

    Parameters
    ----------
    design, n_subjects, n_networks, n_experiments
        As for `subject_coverage`.
    n_resamples : int
        Of stimuli, for each interval.
    seed : int

    Returns
    -------
    pandas.DataFrame
        unit ("stimulus"), coverage (of 95 % intervals), n (intervals), truth (mean).
    """
    rng, rows = np.random.default_rng(seed), []
    for _ in range(n_networks):
        mixture, correlation = network(design, rng)
        who, found = people(correlation, n_subjects, design, rng), []
        for _ in range(n_experiments):
            latents = rng.standard_normal((design.n_layers, design.n_stimuli, design.n_latents))
            parts = list(predictions(mixture, who, latents, rng))
            tops = bhscore.top_rois(accuracies(parts), n_stimuli=design.n_stimuli)
            weights = inference.draws(design.n_stimuli, n_resamples, rng)
            drawn = bhscore_inference.resampled_counts(parts, weights)
            found.append(bhscore_inference.over_stimuli(bhscore.counts(tops), drawn))
        truth = np.mean([one["value"].iloc[0] for one in found])
        rows += [("stimulus", _holds(one, "stimulus", truth), truth) for one in found]
    return _coverage(rows, "unit")


def noise_free(source, responses, *, settings):
    """How well units would be decoded from a planted brain without noise: from its stored signal.

    Parameters
    ----------
    source : pathlib.Path
        Features, written by `features.extract`.
    responses : xarray.Dataset
        Of a planted target, with `signal` (stimulus, voxel).
    settings : lib.decoding.Settings
        With fewer units of a layer than were decoded with noise, they are some of those if the seed is the same.

    Returns
    -------
    xarray.DataArray (split, subject, roi, unit)
        Accuracies as `lib.decoding.decode` gives them.

    Raises
    ------
    ValueError
        As `lib.decoding.decode`.
    """
    signal = responses["signal"].transpose("stimulus", "voxel").expand_dims(repeat=[0])
    clean = responses.drop_dims("repeat").assign(response=signal)
    with tempfile.TemporaryDirectory() as folder:
        return decoding.decode(source, clean, folder, settings=settings)["accuracy"]


def _standard(values):
    """Mean 0 and standard deviation 1 over stimuli, the last axis but one."""
    centred = values - values.mean(axis=-2, keepdims=True)
    return centred / centred.std(axis=-2, keepdims=True)


def _holds(intervals, unit, truth):
    """Whether the interval of the score by decoding holds the truth."""
    row = intervals[(intervals["measure"] == "decoding") & (intervals["unit"] == unit)].iloc[0]
    return row["low"] <= truth <= row["high"]


def _coverage(rows, by):
    """Share of intervals that hold the truth."""
    table = pd.DataFrame(rows, columns=[by, "holds", "truth"]).groupby(by, sort=False)
    return table.agg(coverage=("holds", "mean"), n=("holds", "size"), truth=("truth", "mean")).reset_index()
