"""Numbers in the figures of the functional-map study, as printed or measured there.

Dwivedi, Bonner, Cichy & Roig (2021), PLoS Comput Biol 17, e1009267, doi:10.1371/journal.pcbi.1009267.
"""

from pathlib import Path

from lib.artefacts import load_table

FIGURES = ("2b", "3b")


def bars(figure):
    """Bars of the best three networks (2b) or of the three groups (3b) in each region.

    Parameters
    ----------
    figure : {"2b", "3b"}

    Returns
    -------
    pandas.DataFrame
        roi, total (adjusted R² of all three, printed to two decimals), position (from 0), name, unique (adjusted
        R²; 2b measured in vector graphics to 1e-4, 3b in pixels to 0.004, where 0 is "at or below the axis"), bar
        (half length of the error bar; NaN in 3b) and star (0, 1: p < 0.05 against 0). The error bars are of
        regressions on sums of layers, not of the bars they stand on.
    """
    table = _read("bars", figure=str)
    return table[table["figure"] == figure].drop(columns="figure").reset_index(drop=True)


def beside(table, figure, labels):
    """Published bars beside those found here, where both are of the same network or group.

    Parameters
    ----------
    table : pandas.DataFrame
        roi, kind, part; of `lib.functional_rois.parted`.
    figure : {"2b", "3b"}
    labels : dict of str
        What the study calls each part.

    Returns
    -------
    pandas.DataFrame
        The table with the column published; NaN in rows that are not of kind "unique", and where the study shows
        another network among its best three.
    """
    known = bars(figure)[["roi", "name", "unique"]].rename(columns={"unique": "published"})
    known = known.assign(kind="unique")
    named = table.assign(name=table["part"].map(labels))
    return named.merge(known, how="left", on=["roi", "kind", "name"], validate="many_to_one").drop(
        columns="name"
    )


def pairs(figure):
    """Pairs of bars whose difference has a star.

    Parameters
    ----------
    figure : {"2b", "3b"}

    Returns
    -------
    pandas.DataFrame
        roi, first, second (positions).
    """
    table = _read("pairs", figure=str)
    return table[table["figure"] == figure].drop(columns="figure").reset_index(drop=True)


def venn():
    """Parts of variance of figure 2b, recovered from the areas of its diagrams, to about 0.01.

    Returns
    -------
    pandas.DataFrame
        roi, r1, r2, r3 (adjusted R² of each network alone), s12, s13, s23 (shared by two), t (by all).
    """
    return _read("venn")


def ceilings():
    """Explained variance beside the noise ceiling, figure 2c: measured in vector graphics.

    Returns
    -------
    pandas.DataFrame
        roi, value, half (of the error line), lower_ceiling, upper_ceiling, all on a scale of R². How they were
        made is not known: see `lib.functional_ceilings.reconstruction`.
    """
    return _read("ceilings")


def beside_ceilings(table):
    """Published explained variance and noise ceilings beside those found here.

    Parameters
    ----------
    table : pandas.DataFrame
        With column roi; of `lib.functional_ceilings.reconstruction`.

    Returns
    -------
    pandas.DataFrame
        The table with published, published_lower and published_upper; NaN in regions that were not published.
    """
    names = {"value": "published", "lower_ceiling": "published_lower", "upper_ceiling": "published_upper"}
    known = ceilings().rename(columns=names)[["roi", *names.values()]]
    return table.merge(known, how="left", on="roi", validate="many_to_one")


def _read(name, **types):
    return load_table(Path(__file__).with_name(f"published_maps.{name}.csv"), **types)
