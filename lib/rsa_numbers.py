"""Rows of numbers.csv from the tables of an RSA."""

import numpy as np
import pandas as pd

from lib.inference import QUOTED
from lib.rdm_comparison import MEASURES
from lib.rdm_fitting import FITTED

READ = {FITTED: "non-negative sum of all layers, fitted to other subjects and stimuli"}


def quotable(summaries):
    """Rows of numbers.csv from tables of `rsa.summary`, `rsa.best_table` and `rdm_fitting.over_subjects`.

    Parameters
    ----------
    summaries : pandas.DataFrame
        Rows of these tables, with columns target and model; those of `best_table` have no layer. Layers without
        a value give no row.

    Returns
    -------
    pandas.DataFrame
        name (`rsa/<target>/<model>/<measure>/<roi>[/<layer>]`), value, low, high, n, unit, what.
    """
    summaries = summaries.dropna(subset="value")
    layer = summaries.get("layer", pd.Series(None, summaries.index, dtype=object)).astype(object)
    named = summaries[["target", "model", "measure", "roi"]].assign(layer=layer.fillna(""))
    kind = layer.map(READ).fillna("mean over subjects, one layer or model")
    kind = kind.mask(layer.isna(), "best layer, chosen and read on different stimuli")
    by_t = summaries.get("interval", pd.Series("", summaries.index)).eq("t")
    interval = pd.Series("95 % bootstrap-t interval", summaries.index).mask(by_t, "95 % t interval")
    interval = interval.where(summaries["low"].notna(), "no interval: one subject")
    ceiling = summaries.apply(lambda row: f"noise ceiling {row['lower']:.3f} to {row['upper']:.3f}", axis=1)
    ceiling = ceiling.where(summaries["lower"].notna(), "no noise ceiling: one subject")
    what = summaries["measure"].map(MEASURES) + ", " + kind + "; " + interval + "; " + ceiling
    n = summaries.get("n", pd.Series(np.nan, summaries.index)).fillna(_numbers(summaries))
    return summaries.assign(name=_names(named), n=n, what=what)[QUOTED]


def of_ceilings(table):
    """Rows of numbers.csv from tables of `rsa.ceilings`.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of these tables, with a column target.

    Returns
    -------
    pandas.DataFrame
        name (`rsa/<target>/<roi>/<measure>/<bound>_ceiling/<unit>`), value, low, high, n, unit, what.
    """
    parts = table[["target", "roi", "measure"]].assign(
        bound=table["bound"] + "_ceiling", unit=table["unit"].str.replace(" ", "_")
    )
    again = " (ranked again " + table["reranked"].map("{:.4f}".format) + ")"
    again = again.where(table["reranked"].notna(), "")
    what = table["bound"] + " noise ceiling of " + table["measure"].map(MEASURES) + again
    what = what + "; 95 % bootstrap-t interval"
    return table.assign(name=_names(parts), n=_numbers(table), what=what)[QUOTED]


def of_regions(regions):
    """Rows of numbers.csv from tables of `rsa.between_regions`.

    Parameters
    ----------
    regions : pandas.DataFrame
        Rows of these tables, with a column target.

    Returns
    -------
    pandas.DataFrame
        name (`rsa/<target>/<b>/<measure>/<a>`), value, low, high, n, unit, what.
    """
    parts = regions[["target", "b", "measure", "a"]]
    what = regions["measure"].map(MEASURES) + " of two regions, mean over subjects; 95 % bootstrap-t interval"
    return regions.assign(name=_names(parts), what=what)[QUOTED]


def of_differences(table):
    """Rows of numbers.csv from tables of `rsa.differences`.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of these tables, with a column target.

    Returns
    -------
    pandas.DataFrame
        name (`rsa/<target>/<a>/difference/<roi>/<b>`), value, low, high, n, unit, what (with p).
    """
    parts = table.assign(what="difference")[["target", "a", "what", "roi", "b"]]
    told = table["measure"].map(MEASURES) + ", first model less the last; 95 % bootstrap-t interval, p = "
    what = told + table["p"].map("{:.2g}".format) + ", Holm-corrected " + table["p_fwe"].map("{:.2g}".format)
    return table.assign(name=_names(parts), n=_numbers(table), what=what)[QUOTED]


def _names(parts):
    """Names from their parts, in lower case; parts that are empty are left out at the end."""
    parts = parts.astype("string").replace("/", "_", regex=True)
    names = ["/".join(("rsa", *row)).rstrip("/").lower() for row in parts.to_numpy()]
    return pd.Series(names, parts.index, dtype="string")


def _numbers(table):
    """How many of the units were drawn: stimuli, or subjects where both are."""
    if "n_subjects" not in table:
        return pd.Series(np.nan, table.index)
    return table["n_stimuli"].where(table["unit"] == "stimulus", table["n_subjects"])
