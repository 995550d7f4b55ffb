"""What MATLAB printed to a log: analyses of variance with their permutation tests, and matrices of accuracies."""

import itertools
import re

import numpy as np
import pandas as pd

HEADER = ["SumSq", "DF", "MeanSq", "F", "pValue", "pValueGG", "pValueHF", "pValueLB", "partial_etaSquared"]
NUMBERS = ["sumsq", "df", "meansq", "F", "p", "p_gg", "p_hf", "p_lb", "eta2p"]
ERROR = ["sumsq", "df", "meansq", "eta2p"]  # what a row of an error term shows
TITLE = re.compile(r"(?P<title>.+) Full ANOVA")
EFFECT = re.compile(
    r"(?:(?P<title>.+) )?(?P<what>F\([^)]*\)|p[-_]value) (?P<effect>main effect|interaction) ?: (?P<value>\S+)"
)
# How the models of the table to come are announced, in three kinds of log.
ANNOUNCED = (
    re.compile(r"Loading .*_datamatrix_(.+)\.mat"),
    re.compile(r"MODELS_INCLUDED_IN_ANOVA: (.+)"),
    re.compile(r"\s*(\{'.+'\})\s*"),
)
SLICE = re.compile(r"anova_comparison_data_matrix\(:,:,(\d+)\) =")
IMAGES = 1024  # accuracies under attack are counts of so many images


def anova_tables(text):
    """Every row of every printed analysis of variance, with the permutation tests printed after it.

    Parameters
    ----------
    text : str
        Content of a log.

    Returns
    -------
    pandas.DataFrame
        title, models (separated by ", "; of the data that the table is about), term; sumsq, df, meansq, F, p
        (uncorrected), p_gg, p_hf, p_lb (Greenhouse-Geisser, Huynh-Feldt, lower bound) and eta2p (partial eta
        squared) with the digits printed; p_permutation at the rows of the main effect and the interaction
        that were tested so. NaN where nothing is printed. No rows if there is no table.

    Raises
    ------
    ValueError
        If a table has other columns, a row another number of cells or something else than numbers, or a printed
        test belongs to no row.
    """
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if TITLE.fullmatch(line.strip())]
    tables = [
        _table(lines[start:stop]).assign(models=_models(lines[:start]))
        for start, stop in itertools.pairwise([*starts, len(lines)])
    ]
    columns = ["title", "models", "term", *NUMBERS, "p_permutation"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def adversarial_accuracies(text):
    """Accuracy of networks under attack, from the matrices printed before their analyses of variance.

    Parameters
    ----------
    text : str
        Content of a log.

    Returns
    -------
    pandas.DataFrame
        comparison (short name of the analysis), norm ("l1", "l2", "linf"), network, seed (0 to 4), eps (size
        of the attack in that norm), n_correct (of 1024 images; four printed digits determine it),
        proportion_correct. No rows if there is no such matrix.

    Raises
    ------
    ValueError
        If a matrix has not as many columns as sizes are announced, there are not as many matrices as networks,
        or an accuracy is no count of 1024.
    """
    blocks = re.split(r"experiment_short_name =\s+", text)[1:]
    tables = [_accuracies(block) for block in blocks]
    columns = ["comparison", "norm", "network", "seed", "eps", "n_correct", "proportion_correct"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _models(lines):
    """Models named last before a table."""
    for line in reversed(lines):
        for pattern in ANNOUNCED:
            if found := pattern.fullmatch(line):
                return ", ".join(re.findall(r"'([^']+)'", found[1])) or found[1]
    return ""


def _table(lines):
    """Rows of one table; the first line is its title, tests may follow it."""
    title = TITLE.fullmatch(lines[0].strip())["title"]
    columns = "".join(lines[1:2]).split()
    if columns != HEADER:
        raise ValueError(f"table {title!r} has columns {columns} instead of {HEADER}")
    try:
        return _rows(title, lines)
    except (StopIteration, KeyError, ValueError) as error:
        raise ValueError(f"table {title!r} is damaged: {str(error) or 'it has no rows'}") from error


def _rows(title, lines):
    """Rows of one table, its title and header left out, with the tests."""
    body = [line.split() for line in lines[2:]]
    first = next(i for i, cells in enumerate(body) if cells and not set(cells[0]) <= {"_"})
    last = next((i for i in range(first, len(body)) if not body[i]), len(body))
    table = pd.DataFrame([_row(title, cells) for cells in body[first:last]])
    table = table.reindex(columns=["title", "term", *NUMBERS])
    return _with_tests(table, [EFFECT.fullmatch(line.strip()) for line in lines])


def _row(title, cells):
    term, *numbers = cells
    names = {len(NUMBERS): NUMBERS, len(ERROR): ERROR}.get(len(numbers))
    if names is None:
        raise ValueError(f"row {term!r} of table {title!r} has {len(numbers)} numbers instead of 9 or 4")
    return {"title": title, "term": term, **dict(zip(names, map(float, numbers), strict=True))}


def _with_tests(table, effects):
    """Put each permutation p at the row whose F is printed with it."""
    found = {}
    for effect in filter(None, effects):
        found.setdefault(effect["effect"], {})[effect["what"][0]] = float(effect["value"])
    p = pd.Series(np.nan, index=table.index)
    for effect, values in found.items():
        n_factors = table["term"].str.replace(r"^\(Intercept\):?", "", regex=True).map(_count_factors)
        # Both are rounded: the table to 5 significant digits, the line to 5 or to 4 decimals.
        near = np.isclose(table["F"], values.get("F", np.nan), rtol=1e-4, atol=5e-5)
        rows = table.index[near & (n_factors == (2 if effect == "interaction" else 1))]
        if len(rows) != 1:
            title = table["title"].iloc[0]
            raise ValueError(
                f"{effect} F = {values.get('F')} after table {title!r} is that of {len(rows)} rows"
            )
        p[rows[0]] = values["p"]
    return table.assign(p_permutation=p)


def _count_factors(term):
    return 0 if not term or term.startswith("Error") else term.count(":") + 1


def _accuracies(block):
    """Accuracies of one comparison; the block begins with its name."""
    lines = block.splitlines() or [""]
    name = lines[0].strip().strip("'")
    try:
        return _comparison(name, block, lines)
    except (TypeError, ValueError) as error:
        raise ValueError(f"comparison {name!r} is damaged: {error}") from error


def _comparison(name, block, lines):
    """Accuracies of one comparison."""
    networks = re.findall(
        r"\{'([^']+)'\}", next((line for line in lines if line.strip().startswith("{'")), "")
    )
    eps = [float(v) for v in re.search(r"Running EPS values \[([^]]*)\]", block)[1].split()]
    matrices = [_matrix(lines[i + 1 :]) for i, line in enumerate(lines) if SLICE.fullmatch(line.strip())]
    shapes = {matrix.shape[1] for matrix in matrices}
    if len(matrices) != len(networks) or shapes != {len(eps)}:
        raise ValueError(
            f"{name}: {len(matrices)} matrices of {sorted(shapes)} columns for {len(networks)} networks and "
            f"{len(eps)} sizes of attack"
        )
    if not all(((matrix >= 0) & (matrix <= 1)).all() for matrix in matrices):
        raise ValueError(f"{name}: an accuracy is not between 0 and 1")
    count = np.rint(np.stack(matrices) * IMAGES)
    if (np.abs(np.stack(matrices) - count / IMAGES) > 5.1e-5).any():  # half a unit of the fourth decimal
        raise ValueError(f"{name}: an accuracy is no count of {IMAGES} images")
    axes = [networks, range(count.shape[1]), eps]
    index = pd.MultiIndex.from_product(axes, names=["network", "seed", "eps"])
    table = pd.DataFrame({"n_correct": count.ravel().astype(int)}, index=index).reset_index()
    norm = name.rsplit("_", 1)[-1]
    return table.assign(comparison=name, norm=norm, proportion_correct=table["n_correct"] / IMAGES)


def _matrix(lines):
    """The rows of numbers after a blank line, up to the next blank line."""
    rows = []
    for line in lines[1:]:
        if not line.strip():
            break
        rows.append([float(v) for v in line.split()])
    return np.array(rows, ndmin=2)
