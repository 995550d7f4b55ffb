"""The published brain hierarchy scores of 29 networks, and the same from the accuracies their authors released.

Nonaka, Majima, Aoki & Kamitani (2021), iScience 24, 103013, doi:10.1016/j.isci.2021.103013. Scores stand in the
outputs and figure titles of the authors' notebooks (github.com/KamitaniLab/BHscore), as of 2021, and of 2020 for the
two earlier runs; `bhscore_published.scores.csv` beside this module holds them.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from tqdm.auto import tqdm

from lib import bh29, bhscore, bhscore_inference, inference, significance
from lib.artefacts import load, load_table

N_STIMULI = 50
# How near a recomputed score must come: 100 random draws of layers; printed to two decimals; nothing random; half of
# the first.
TOLERANCES = {"decoding": 0.02, "decoding_all_layers": 0.005, "encoding": 1e-9, "mean": 0.01}


def scores():
    """Published scores of the networks.

    Returns
    -------
    pandas.DataFrame
        One row per network, which is the index, in the published order (`lib.bh29`). Columns: `decoding` (mean of 100
        random subsets of five layers, drawn without a seed), `decoding_20200807` and `decoding_20200811` (earlier
        draws), `decoding_all_layers` (two decimals), `encoding`, `mean` (of decoding and encoding, by which networks
        are ranked) and `top1` (accuracy on ImageNet as the authors used it, %).
    """
    table = load_table(Path(__file__).with_name("bhscore_published.scores.csv")).set_index("network")
    mean = (table["decoding"] + table["encoding"]) / 2
    return table.assign(mean=mean).loc[bh29.networks().index]


def tidy():
    """Published scores, one per row.

    Returns
    -------
    pandas.DataFrame
        network, measure (of `lib.bhscore.MEASURES`), published.
    """
    table = scores()[[*bhscore.MEASURES]].rename_axis("network").reset_index()
    return table.melt("network", var_name="measure", value_name="published")


def performance(table, *, value="published", level=0.95):
    """Rank correlation of scores with accuracy on ImageNet over networks.

    Parameters
    ----------
    table : pandas.DataFrame
        network, measure, and the score; as from `tidy` or `recomputed`. Networks whose accuracy is not known, and
        scores that are NaN, are left out.
    value : str
        Column of the score.
    level : float

    Returns
    -------
    pandas.DataFrame
        measure, value (Spearman), low, high (Fisher's z with the variance of Bonett & Wright), p, n (networks), unit.
        Networks of one family are no independent samples: bounds and p take them for such.

    References
    ----------
    Bonett & Wright (2000), Psychometrika 65:23.
    """
    top1, rows = scores()["top1"], []
    for measure, part in table.dropna(subset=value).groupby("measure", sort=False):
        part = part[part["network"].isin(top1.index)]
        n = len(part)
        rho, p = stats.spearmanr(part[value], top1[part["network"]]) if n > 2 else (np.nan, np.nan)
        half = stats.norm.ppf((1 + level) / 2) * np.sqrt((1 + rho**2 / 2) / (n - 3)) if n > 3 else np.nan
        bounds = (
            np.tanh([np.arctanh(rho) - half, np.arctanh(rho) + half]) if abs(rho) < 1 else (np.nan, np.nan)
        )
        rows.append((measure, rho, *bounds, p, n, "network"))
    return pd.DataFrame(rows, columns=["measure", "value", "low", "high", "p", "n", "unit"])


def recomputed(folder):
    """Scores of all networks from the released accuracies, beside the published ones.

    Parameters
    ----------
    folder : pathlib.Path
        Result of the download of `deeprecon` with part "accuracies": `<direction>/<framework>/<network>.nc`.

    Returns
    -------
    pandas.DataFrame
        network, formula of significance ("nonaka2021", or "t"), then as `lib.bhscore_inference.over_subjects`, with
        `decoding` the mean of all subsets of five layers; published, difference (value - published), tolerance and
        within (bool). The last four are NaN where nothing was published, as for the formula "t". Without files no rows.

    Raises
    ------
    ValueError
        If the directions of a network differ in subjects.
    """
    names = {name: network for network, name in bh29.networks()["folder"].items()}
    files = {file.relative_to(folder / "decoding") for file in (folder / "decoding").rglob("*.nc")}
    files |= {file.relative_to(folder / "encoding") for file in (folder / "encoding").rglob("*.nc")}
    order = {name: place for place, name in enumerate(names)}
    files = sorted(files, key=lambda file: (order.get(_name(file), len(order)), _name(file)))
    rows = [
        _network(folder, file, formula).assign(
            network=names.get(_name(file), _name(file)), formula=formula or "t"
        )
        for file in tqdm(files, desc="scores from released accuracies")
        for formula in (*significance.RULES, None)
    ]
    found = (
        pd.concat(rows, ignore_index=True)
        if rows
        else pd.DataFrame(columns=["network", "formula", "measure"])
    )
    return _compared(found)


def beside(found):
    """Published scores with the recomputed ones beside them, where there are any.

    Parameters
    ----------
    found : pandas.DataFrame
        Of `recomputed`; may have no rows.

    Returns
    -------
    pandas.DataFrame
        network, measure, published, and value, low, high by the published formula (NaN: not recomputed).
    """
    columns = ["network", "measure", "value", "low", "high"]
    same = found[found["formula"] == significance.RULES[0]].reindex(columns=columns)
    return tidy().merge(same, how="left", on=["network", "measure"])


def quotable(found, *, level=0.95):
    """Rows of numbers.csv: how scores and accuracy on ImageNet go together, as published and recomputed.

    Parameters
    ----------
    found : pandas.DataFrame
        Of `recomputed`; may have no rows.
    level : float

    Returns
    -------
    pandas.DataFrame
        name (`bhscore/deeprecon/<published or released>/top1_spearman/<measure>`), value, low, high, n, unit, what;
        and, of recomputed scores, `…/released/largest_difference/<measure>` from the published ones.
    """
    rows = [performance(tidy(), level=level).assign(source="published")]
    same = found[found["formula"] == significance.RULES[0]]
    if len(same):
        rows.append(performance(same, value="value", level=level).assign(source="released"))
    table = pd.concat(rows, ignore_index=True)
    name = "bhscore/deeprecon/" + table["source"] + "/top1_spearman/" + table["measure"]
    what = (
        "Spearman correlation of the BH score ("
        + table["measure"].map(bhscore.MEASURES)
        + "), "
        + table["source"]
    )
    what += " accuracies or scores, with ImageNet accuracy over networks; 95 % interval by Fisher's z"
    table = table.assign(name=name, what=what)[inference.QUOTED]
    return pd.concat([table, *_differences(same)], ignore_index=True)


def _name(file):
    """A network's folder in the release."""
    return file.with_suffix("").as_posix()


def _network(folder, file, formula):
    """Scores of one network, by those directions that are there."""
    tables = {}
    for direction, tops in (("decoding", bhscore.top_rois), ("encoding", bhscore.top_layers)):
        path = folder / direction / file
        if path.is_file():
            found = tops(load(path)["accuracy"], n_stimuli=N_STIMULI, published=formula)
            tables[direction] = bhscore.counts(found)
    return bhscore_inference.over_subjects(tables)


def _compared(found):
    """Scores beside those that were published by the same formula."""
    published = tidy().assign(formula=significance.RULES[0])
    found = found.merge(published, how="left", on=["network", "measure", "formula"])
    if "value" not in found:
        return found
    found["difference"] = found["value"] - found["published"]
    found["tolerance"] = found["measure"].map(TOLERANCES).where(found["published"].notna())
    within = found["difference"].abs() <= found["tolerance"] + 1e-12
    return found.assign(within=within.astype(object).where(found["published"].notna()))


def _differences(same):
    """Largest difference of each measure from the published scores, as rows of numbers.csv."""
    known = same.dropna(subset="published") if len(same) else same
    for measure, part in known.groupby("measure", sort=False):
        row = {
            "name": f"bhscore/deeprecon/released/largest_difference/{measure}",
            "value": part["difference"].abs().max(), "low": np.nan, "high": np.nan, "n": len(part), "unit": "network",
            "what": "largest difference of a recomputed from the published BH score; no interval: the same accuracies",
        }  # fmt: skip
        yield pd.DataFrame([row])
