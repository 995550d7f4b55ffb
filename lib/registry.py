"""Which files a data set downloads, as the tables beside the plug-ins list them."""

import pandas as pd

from lib import artefacts, plugins

COLUMNS = ("url", "sha256", "size", "part")


def registry(name, parts=()):
    """The files that a data set downloads.

    Parameters
    ----------
    name : str
    parts : iterable of str
        Parts to have besides what is always fetched: keys of the plug-in's PARTS.

    Returns
    -------
    pandas.DataFrame
        Columns url, sha256 (64 hexadecimal digits; "" if nobody published it), size (bytes; only announced,
        or 0 if not even that, where the hash is not known), part ("" for what is always fetched). Files of
        the data sets in the plug-in's SHARES are among them. No rows if nothing is downloaded.

    Raises
    ------
    ValueError
        If there is no such data set or part, with the nearest names; or its table of files is damaged.
    """
    known = plugins.about("target", name)
    for part in parts:
        plugins.require(part, known.get("PARTS", ()), f"part of {name}")
    tables = [_listed(plugins.path("target", other)) for other in (name, *known.get("SHARES", ()))]
    table = pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)
    return table[table["part"].isin(["", *parts])].drop_duplicates("url").reset_index(drop=True)


def _listed(plugin):
    """Table of the files beside a plug-in."""
    file = plugin.with_name(f"{plugin.stem}.files.csv")
    if not file.exists():
        return pd.DataFrame({c: pd.Series(dtype=int if c == "size" else str) for c in COLUMNS})
    table = artefacts.load_texts(file, COLUMNS[:3]).reindex(columns=COLUMNS, fill_value="")
    for column, right in (("url", "https?://.+"), ("sha256", "([0-9a-f]{64})?"), ("size", "[0-9]{0,18}")):
        odd = table[column][~table[column].str.fullmatch(right)]
        if len(odd):
            raise ValueError(
                f"{file}, row {odd.index[0] + 2}: {column} {odd.iloc[0]!r} is not of the form {right}"
            )
    return table.assign(size=table["size"].replace("", "0").astype(int))
