"""Analyses of variance of networks under attack: networks between seeds, size of the attack within."""

import numpy as np
import pandas as pd

from lib.inference import QUOTED
from lib.recognition import anova, permutation

CELLS = ["comparison", "norm", "network", "seed", "eps", "n_correct", "proportion_correct"]
COLUMNS = ["comparison", "norm", "networks", *anova.COLUMNS, "p_permutation", "n"]


def cells(table):
    """Accuracy under attack of the two networks of one comparison as a labelled array.

    Parameters
    ----------
    table : pandas.DataFrame
        network, seed, eps, proportion_correct; rows of one comparison of `adversarial` of target metamer_recognition.

    Returns
    -------
    xarray.DataArray (network, seed, eps)

    Raises
    ------
    ValueError
        If a cell is missing or occurs twice.
    """
    keys = ["network", "seed", "eps"]
    if table.duplicated(keys).any():
        raise ValueError(
            f"{table[table.duplicated(keys)][keys].iloc[0].to_dict()} has several rows; one is right"
        )
    order = {key: list(dict.fromkeys(table[key])) for key in keys}
    values = table.set_index(keys)["proportion_correct"].to_xarray().sel(order)
    if values.isnull().any():
        missing = values.to_series()
        raise ValueError(f"no accuracy of {missing.index[missing.isna()][0]} (network, seed, size of attack)")
    return values


def analyses(table, *, published=None, n_permutations=10_000, seed=0):
    """Whether two networks resist attacks equally well, and equally at each size of attack.

    Parameters
    ----------
    table : pandas.DataFrame
        `adversarial` of target metamer_recognition; see `cells`.
    published : {"feather2023"}, optional
        p of permutations as in `permutation.unpaired`, without ties. With five seeds each there are but 252
        assignments, so that these hang on ties. Default: all of them are enumerated and ties count.
    n_permutations, seed : int

    Returns
    -------
    pandas.DataFrame
        comparison, norm, networks (separated by ", "), the columns of `anova.analysis` (factors network, between
        seeds, and eps, within), p_permutation (of network and network:eps), n (seeds of each network).

    Raises
    ------
    ValueError
        If a comparison is not of two networks, or a cell is missing.

    References
    ----------
    Feather, Leclerc, Madry & McDermott (2023), doi:10.1038/s41593-023-01442-0, Methods (adversarial robustness).
    """
    tables = []
    for (comparison, norm), rows in table.groupby(["comparison", "norm"], sort=False):
        values = cells(rows)
        n = values.sizes["seed"]
        stacked, groups = np.concatenate(values.values), np.repeat([0, 1], n)
        if values.sizes["network"] != 2:
            raise ValueError(f"{comparison} is of {values.sizes['network']} networks; two are right")
        p = permutation.unpaired(
            stacked, groups, published=published, ties=not published, n_permutations=n_permutations, seed=seed
        )
        found = anova.analysis(stacked, ["eps"], groups=groups, between="network")
        tested = {"network": p["main"], "network:eps": p["interaction"]}
        found = found.assign(p_permutation=found["term"].map(tested).astype(float), n=n)
        names = ", ".join(values["network"].values.tolist())
        tables.append(found.assign(comparison=comparison, norm=norm, networks=names))
    return pd.concat(tables, ignore_index=True)[COLUMNS] if tables else pd.DataFrame(columns=COLUMNS)


def quotable(found):
    """Rows of numbers.csv of networks under attack.

    Parameters
    ----------
    found : pandas.DataFrame
        See `analyses`.

    Returns
    -------
    pandas.DataFrame
        name (`recognition/adversarial/<comparison>/anova_f/<effect>`, effects network, eps, interaction), value, low,
        high, n, unit, what.
    """
    effects = found[found["F"].notna() & (found["term"] != "intercept")]
    effect = effects["term"].where(~effects["term"].str.contains(":"), "interaction")
    name = "recognition/adversarial/" + effects["comparison"] + "/anova_f/" + effect
    what = [
        f"F({row.df:.0f}, {row.df_error:.0f}) of {row.term}, accuracy of {row.networks} under {row.norm} attacks; "
        f"Greenhouse-Geisser p {row.p_gg:.3g}, partial eta squared {row.eta2p:.3f}"
        + ("" if np.isnan(row.p_permutation) else f", permutation p {row.p_permutation:.3g}")
        + "; no interval: a test"
        for row in effects.itertuples()
    ]
    found = effects.assign(name=name.str.lower(), value=effects["F"], what=what)
    return found.assign(low=np.nan, high=np.nan, unit="seed of the attack")[QUOTED]
