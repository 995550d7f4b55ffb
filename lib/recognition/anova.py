"""Analyses of variance of complete tables: factors within units, and one between them."""

from itertools import combinations

import numpy as np
import pandas as pd
import xarray as xr
from scipy import linalg, stats

from lib import plugins

COLUMNS = [
    "term", "sumsq", "df", "meansq", "F", "p", "p_gg", "p_hf", "p_lb", "eta2p", "df_error", "eps_gg", "eps_hf",
    "mauchly_w", "mauchly_p",
]  # fmt: skip
ROUNDING = 1e-13  # share of the sum of all squares below which a sum of squares is rounding


def cells(table, across=None):
    """Proportions correct of one experiment as a labelled array without gaps.

    Parameters
    ----------
    table : pandas.DataFrame
        participant, stage, layer, proportion_correct, and the column `across`; one row per cell, as in
        `recognition` of target metamer_recognition or of `responses.by_condition`.
    across : {"model", "observer"}, optional
        Column that is a further factor.

    Returns
    -------
    xarray.DataArray (participant, layer[, across])
        Layers in the order of stages, levels of `across` in that of their first rows.

    Raises
    ------
    ValueError
        If a cell is missing or occurs twice, or the levels of `across` have other layers.
    """
    axes = ["participant", "stage", *([across] if across else [])]
    twice = table[table.duplicated(axes)]
    if len(twice):
        raise ValueError(f"cell {twice[axes].iloc[0].to_dict()} has several rows; one is right")
    names = table.groupby("stage")["layer"].unique()
    odd = [list(layers) for layers in names if len(layers) > 1]
    if odd:
        raise ValueError(f"layers differ at the same stage: {odd[0][:3]}")
    values = table.set_index(axes)["proportion_correct"]
    levels = [sorted(set(table[a])) if a == "stage" else list(dict.fromkeys(table[a])) for a in axes]
    whole = values.reindex(pd.MultiIndex.from_product(levels, names=axes))
    _complete(whole)
    array = xr.DataArray(
        whole.to_numpy(float).reshape([len(level) for level in levels]),
        dims=axes,
        coords=dict(zip(axes, levels, strict=True)),
    )
    layers = [names[stage][0] for stage in levels[1]]
    return array.rename(stage="layer").assign_coords(layer=layers)


def _complete(whole):
    missing = whole.index[~np.isfinite(whole.to_numpy(float))]
    if len(missing):
        offenders = [
            ", ".join(f"{k} {v}" for k, v in zip(whole.index.names, cell, strict=True)) for cell in missing
        ]
        raise ValueError(
            f"{len(missing)} of {len(whole)} cells have no value: {plugins.first(offenders, between='; ')}; an "
            "analysis of variance needs every cell of every participant"
        )


def analysis(values, within, *, groups=None, between="observer"):
    """Analysis of variance with repeated measures, each effect with its own error term.

    Sums of squares are of type III with effects coded, which for groups of equal size are the only ones. Every
    unit's cells are projected on orthonormal contrasts of an effect; sphericity is corrected with the
    covariance of those contrasts pooled within groups.

    Parameters
    ----------
    values : array (n_units, n_levels, …)
        One axis per factor within units; finite.
    within : sequence of str
        Names of these factors.
    groups : array (n_units,), optional
        Group of each unit, a factor between units.
    between : str
        Its name.

    Returns
    -------
    pandas.DataFrame
        term ("intercept", factors, products such as "observer:layer", and their errors such as
        "error(layer)"), sumsq, df, meansq, F, p (uncorrected), p_gg, p_hf, p_lb (Greenhouse-Geisser,
        Huynh-Feldt in Lecoutre's form, at most 1, and lower bound), eta2p (partial eta squared), df_error,
        eps_gg, eps_hf, mauchly_w and mauchly_p (first-order chi-square approximation). NaN in rows of errors;
        where neither effect nor error varies; for Mauchly's test with a single contrast or fewer units than
        contrasts. F is infinite where only the error does not vary.

    Raises
    ------
    ValueError
        If a value is not finite, a factor has a single level, or units are too few to leave an error.

    References
    ----------
    Winer, Brown & Michels (1991), Statistical Principles in Experimental Design, chapters 4 and 7. Greenhouse &
    Geisser (1959), Psychometrika 24:95. Lecoutre (1991), J Educ Stat 16:371. Mauchly (1940), Ann Math Stat 11:204.
    """
    values, within = np.asarray(values, float), list(within)
    design, blocks = _design(len(values), groups)
    _check(values, within, len(values) - design.shape[1])
    total, rows = (values**2).sum(), []
    for size in range(len(within) + 1):
        for factors in combinations(range(len(within)), size):
            contrasts = _projection(values.shape[1:], factors)
            name = ":".join(within[f] for f in factors)
            found = _effects(values.reshape(len(values), -1) @ contrasts, design, blocks, total)
            rows += _rows(found, name, between)
    return pd.DataFrame(rows, columns=COLUMNS)


def _check(values, within, df_error):
    if values.ndim != len(within) + 1 or min(values.shape[1:]) < 2:
        raise ValueError(
            f"values {values.shape} with factors {within}: units and one axis of two or more levels per factor "
            "are right"
        )
    if not np.isfinite(values).all():
        unit = int(np.argwhere(~np.isfinite(values))[0][0])
        raise ValueError(
            f"values are missing, first in unit {unit}; an analysis of variance needs every cell"
        )
    if df_error < 1:
        raise ValueError(f"{len(values)} units leave no degree of freedom for the error; take more units")


def _design(n, groups):
    """Columns of the intercept and of the groups, coded as effects, and which columns belong together."""
    if groups is None:
        return np.ones((n, 1)), [slice(0, 1)]
    levels, index = np.unique(np.asarray(groups), return_inverse=True)
    if len(index) != n or len(levels) < 2:
        raise ValueError(
            f"groups {levels.tolist()} of {len(index)} for {n} units: one of two or more each is right"
        )
    effects = np.vstack([np.eye(len(levels) - 1), -np.ones(len(levels) - 1)])
    return np.column_stack([np.ones(n), effects[index]]), [slice(0, 1), slice(1, len(levels))]


def _projection(levels, factors):
    """Orthonormal contrasts of some factors, the mean over the others; columns."""
    whole = np.ones((1, 1))
    for factor, k in enumerate(levels):
        basis = linalg.helmert(k).T if factor in factors else np.full((k, 1), k**-0.5)
        whole = np.kron(whole, basis)
    return whole


def _effects(projected, design, blocks, total):
    """Sums of squares of intercept and groups, their degrees of freedom, and the error with its covariance."""
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ projected
    residual = projected - design @ coefficients
    error = residual.T @ residual
    sums = [np.sum(coefficients[b] * np.linalg.solve(inverse[b, b], coefficients[b])) for b in blocks]
    n, d = projected.shape
    ranks = [b.stop - b.start for b in blocks]
    clean = [0.0 if s < ROUNDING * total else s for s in (*sums, np.trace(error))]
    return {
        "sums": clean[:-1],
        "ranks": ranks,
        "error": clean[-1],
        "d": d,
        "nu": n - design.shape[1],
        "covariance": error,
    }


def _rows(found, name, between):
    """Rows of an effect, of the group's interaction with it, and of their common error."""
    d, nu = found["d"], found["nu"]
    about = _sphericity(found["covariance"], nu)
    df_error = d * nu
    names = [name or "intercept", ":".join(filter(None, [between, name]))]
    for term, sumsq, rank in zip(names, found["sums"], found["ranks"], strict=False):
        df = d * rank
        F = _ratio(sumsq / df, found["error"] / df_error)
        p = {
            column: stats.f.sf(F, df * eps, df_error * eps)
            for column, eps in (
                ("p", 1),
                ("p_gg", about["eps_gg"]),
                ("p_hf", about["eps_hf"]),
                ("p_lb", 1 / d),
            )
        }
        eta = np.nan if term == "intercept" else _ratio(sumsq, sumsq + found["error"])
        yield {"term": term, "sumsq": sumsq, "df": df, "meansq": sumsq / df, "F": F, "eta2p": eta,
               "df_error": df_error} | p | about  # fmt: skip
    error = found["error"]
    yield {"term": f"error({name})" if name else "error", "sumsq": error, "df": df_error,
           "meansq": error / df_error}  # fmt: skip


def _ratio(above, below):
    return above / below if below else (np.inf if above else np.nan)


def _sphericity(error, nu):
    """Epsilons and Mauchly's test of the cross-products of d contrasts with nu degrees of freedom."""
    d, trace = len(error), np.trace(error)
    nothing = {"eps_gg": 1.0, "eps_hf": 1.0, "mauchly_w": np.nan, "mauchly_p": np.nan}
    if d == 1 or not trace:
        return nothing
    gg = trace**2 / (d * np.sum(error**2))
    below = d * (nu - d * gg)
    hf = min(1.0, ((nu + 1) * d * gg - 2) / below) if below > 0 else 1.0
    if nu < d:
        return nothing | {"eps_gg": gg, "eps_hf": hf}
    w = np.exp(np.linalg.slogdet(error / trace * d)[1])
    factor = nu - (2 * d**2 + d + 2) / (6 * d)
    with np.errstate(divide="ignore"):
        chi2 = -factor * np.log(w)
    p = stats.chi2.sf(chi2, d * (d + 1) / 2 - 1)
    return {"eps_gg": gg, "eps_hf": hf, "mauchly_w": w, "mauchly_p": p}
