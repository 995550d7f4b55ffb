"""How well features are decoded: over stimuli, over units, told apart from other stimuli, and corrected for noise."""

import numpy as np
import pandas as pd
import xarray as xr

from lib import correction, inference, metrics, significance

MEANING = {
    "accuracy": "correlation of decoded and true feature over test stimuli; NaN where either does not vary",
    "reliability": "share of the decoded feature's variance over test stimuli that is not noise of the test responses; "
    "negative by chance, NaN with one repeat",
    "corrected": "accuracy / √reliability, not clipped; NaN where reliability is not above 0",
    "pattern": "correlation of decoded and true features over units, each in deviations from its mean over train "
    "stimuli",
    "identification": "share of the other test stimuli whose true pattern resembles the decoded one less than that of "
    "the stimulus itself; chance .5",
}
QUANTITIES = {
    "accuracy": "mean correlation of decoded and true features over test stimuli",
    "corrected": "mean accuracy over mean √reliability of units that have both",
    "significant": "share of units with positive correlations that are significant (false discovery rate .05)",
    "pattern": "mean correlation of decoded and true patterns over units",
    "identification": "mean share of other stimuli that the decoded pattern resembles less; chance .5",
}


def corrected(r, reliability):
    """Accuracy as it would be if every test stimulus had been repeated without end.

    A decoded feature is d = w·x + b, with x the mean of k test responses, signal s and noise e / √k. The true feature f
    is known without error, so that cov(f, d) = cov(f, w·s), and noise only adds to the variance of d:
    corr(f, d) = corr(f, w·s) √reliability, where reliability = var(w·s) / var(d). Unlike responses, of which two sides
    are noisy, only this one term divides. The decoder itself stays as it was fitted, from noisy responses: what better
    training would add is not in it.

    Parameters
    ----------
    r : array
        Correlation of decoded and true feature over test stimuli.
    reliability : array
        Share of signal in the variance of the decoded feature, see `signal_share`.

    Returns
    -------
    array
        Of the sign of r, beyond ±1 through sampling error; NaN where reliability is NaN or not above 0.

    References
    ----------
    Spearman (1904), Am J Psychol 15:72.
    """
    reliability = np.asarray(reliability, float)
    return r / np.sqrt(np.where(reliability > 0, reliability, np.nan))


def signal_share(repeats):
    """Reliability of decoded features: share of the variance over stimuli that the repeats have in common.

    Decoding is linear, so what is decoded from the mean of the repeats is the mean of what is decoded from each. With
    variances S of the signal and N of the noise of one repeat, two halves of k repeats correlate by
    r = S / (S + 2 N / k), and Spearman-Brown's 2 r / (1 + r) is S / (S + N / k). Here N comes from all repeats at once
    (`correction.noise_ceiling`), as if from all halves, so that no halving has to be drawn.

    Parameters
    ----------
    repeats : array (n_repeats, n_stimuli, n_units)
        Decoded from single test presentations; NaN where a stimulus was not shown.

    Returns
    -------
    array (n_units,)
        At most 1; negative by chance where there is little signal; NaN with one repeat, fewer than four stimuli, or
        where nothing varies.

    References
    ----------
    Spearman (1910), Br J Psychol 3:271; Brown (1910), Br J Psychol 3:296.
    """
    return correction.noise_ceiling(np.asarray(repeats, float))


def profile(true, decoded):
    """Correlation of decoded and true features over the stimuli that were decoded.

    Parameters
    ----------
    true, decoded : array (n_stimuli, n_units)
        Rows of `decoded` that are NaN throughout are stimuli that were not shown.

    Returns
    -------
    array (n_units,)
        NaN where either side does not vary, or fewer than two stimuli were shown.
    """
    shown = ~np.isnan(decoded).all(axis=1)
    if shown.sum() < 2:
        return np.full(decoded.shape[1], np.nan)
    return metrics.pearson(true[shown], decoded[shown])


def patterns(true, decoded):
    """How each stimulus' decoded pattern of units resembles the true ones.

    Parameters
    ----------
    true, decoded : array (n_stimuli, n_units)
        Each unit in deviations from its mean over train stimuli: raw patterns correlate because units have different
        means, whatever was seen. Units that hold NaN are left out; stimuli that are NaN throughout were not shown.

    Returns
    -------
    pattern : array (n_stimuli,)
        Correlation of the stimulus' decoded and true pattern over units.
    identification : array (n_stimuli,)
        Share of the other stimuli whose true pattern correlates less with the decoded one than the stimulus' own does;
        equal ones count half. All pairs are compared. Chance is .5.

    References
    ----------
    Horikawa & Kamitani (2017), Nat Commun 8:15037, Methods (pairwise identification).
    """
    shown = ~np.isnan(decoded).all(axis=1)
    usable = np.isfinite(decoded[shown]).all(axis=0) & np.isfinite(true).all(axis=0)
    found = np.full((2, len(true)), np.nan)
    if usable.sum() > 1 and shown.any():
        a, b = (_unit(values[shown][:, usable]) for values in (decoded, true))
        r = a @ b.T
        own = np.diag(r)[:, None]
        less = (r < own).sum(axis=1) + 0.5 * ((r == own).sum(axis=1) - 1)
        defined = np.isfinite(r).all(axis=1) & (len(r) > 1)
        found[0, shown] = np.diag(r)
        found[1, shown] = np.where(defined, less / max(len(r) - 1, 1), np.nan)
    return found[0], found[1]


def by_subject(decoding):
    """What each subject has at each layer and region, over units or stimuli.

    Parameters
    ----------
    decoding : xarray.Dataset
        What `lib.decoding.decode` returned.

    Returns
    -------
    pandas.DataFrame
        layer, roi, subject, and a column for each of `QUANTITIES`; means over splits. Units and stimuli that are NaN
        are left out.
    """
    n_test, rows = decoding.attrs["n_test"], []
    for layer in decoding["layer_name"].values.tolist():
        units = decoding.isel(unit=np.flatnonzero(decoding["layer"].values == layer))
        r = units["accuracy"].astype(float)
        both = np.isfinite(units["corrected"])
        reliable = units["reliability"].astype(float).where(both)
        stimuli = decoding[["pattern", "identification"]].sel(layer_name=layer)
        found = {
            "accuracy": r.mean("unit"),
            "corrected": r.where(both).mean("unit") / np.sqrt(reliable).mean("unit"),
            "significant": xr.apply_ufunc(
                _significant, r, kwargs={"n": n_test}, input_core_dims=[["unit"]], vectorize=True
            ),
            "pattern": stimuli["pattern"].mean("stimulus"),
            "identification": stimuli["identification"].mean("stimulus"),
        }
        table = xr.Dataset(found).mean("split").drop_vars("layer_name", errors="ignore").to_dataframe()
        rows.append(table.reset_index().assign(layer=layer))
    table = pd.concat(rows, ignore_index=True)[["layer", "roi", "subject", *QUANTITIES]]
    return table.dropna(subset=list(QUANTITIES), how="all").reset_index(drop=True)


def summary(decoding, *, level=0.95):
    """Accuracies of each layer in each region, mean over subjects with Student's t interval.

    Units are not samples of anything: first they are averaged within each subject, then subjects, who are.

    Parameters
    ----------
    decoding : xarray.Dataset
        What `lib.decoding.decode` returned.
    level : float
        Of confidence.

    Returns
    -------
    pandas.DataFrame
        layer, roi, quantity (see `QUANTITIES`), value, low, high (NaN with one subject), n, unit.
    """
    tables, each = [], by_subject(decoding)
    for quantity in QUANTITIES:
        found = inference.mean_interval(each, value=quantity, by=["layer", "roi"], level=level)
        tables.append(found.rename(columns={quantity: "value"}).assign(quantity=quantity))
    columns = ["layer", "roi", "quantity", "value", "low", "high", "n", "unit"]
    return pd.concat(tables, ignore_index=True)[columns]


def counts(decoding):
    """How often something was out of the ordinary.

    Parameters
    ----------
    decoding : xarray.Dataset
        What `lib.decoding.decode` returned.

    Returns
    -------
    pandas.DataFrame
        quantity (a short name), what (in words), count, of (number of cases looked at). With fewer than three test
        stimuli nothing is significant.
    """
    r, known = decoding["accuracy"], np.isfinite(decoding["n_voxels"])
    n_voxels = int(decoding["n_voxels"].where(known, 0).sum())
    there = r.where(known, drop=False)
    n_cases = int(known.sum()) * r.sizes["unit"]
    n, published = decoding.attrs["n_test"], {"published": "nonaka2021"}
    bounds = [
        significance.threshold(n, 0.05, **how) if n > 2 else (np.nan, np.nan) for how in ({}, published)
    ]
    significant, within = ((there > low) & (there < high) for low, high in bounds)
    undefined = int((known & np.isnan(r)).sum())
    lacking = known & np.isfinite(r) & np.isnan(decoding["corrected"])
    cases = {
        "constant_voxels": ("voxels that do not vary", decoding["n_constant"].where(known, 0).sum(), n_voxels),
        "missing_voxels": ("voxels that lack a value", decoding["n_missing"].where(known, 0).sum(), n_voxels),
        "undefined": ("undefined accuracies", undefined, n_cases),
        "undefined_corrected": ("accuracies that cannot be corrected for noise", lacking.sum(), n_cases - undefined),
        "above_1": ("corrected accuracies above 1", (decoding["corrected"] > 1).sum(), n_cases - undefined),
        "significant": ("positive accuracies with p < .05", significant.sum(), n_cases - undefined),
        "significant_published": (
            "accuracies within the published bounds of p < .05", within.sum(), n_cases - undefined,
        ),
    }  # fmt: skip
    rows = [(name, what, int(count), int(of)) for name, (what, count, of) in cases.items()]
    return pd.DataFrame(rows, columns=["quantity", "what", "count", "of"])


def quotable(table):
    """Rows of numbers.csv from summaries of several results.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of `summary`, with columns target and model.

    Returns
    -------
    pandas.DataFrame
        name (`decode/<target>/<model>/<quantity>/<layer>/<roi>`), value, low, high, n, unit, what.
    """
    parts = table[["target", "model", "quantity", "layer", "roi"]].agg("/".join, axis=1)
    named = table.assign(name=("decode/" + parts).str.lower(), what=table["quantity"].map(QUANTITIES))
    return named[inference.QUOTED].reset_index(drop=True)


def _significant(r, *, n):
    """Share of units whose positive correlation is significant, at a false discovery rate of .05."""
    known = np.isfinite(r)
    if not known.any() or n < 3:
        return np.nan
    p = inference.corrected(significance.p_value(np.clip(r[known], -1, 1), n))
    return float(((p < 0.05) & (r[known] > 0)).mean())


def _unit(values):
    """Rows centred and of length 1; NaN where a row does not vary."""
    centred = values - values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return centred / np.where(length > 1e-12 * np.abs(values).max(axis=1, keepdims=True), length, np.nan)
