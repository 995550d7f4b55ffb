"""Where files of the web lie on this machine, by their address."""

import os
import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from lib.artefacts import home

DEFAULT_PORTS = {"http": 80, "https": 443}


def location(url):
    """Place of a file below `data/raw` and below `$DATA_MIRROR`: `<host>/<path>`, as `wget -x` writes it.

    Percent-encoding is undone; a port other than the scheme's own stays (`host:port`), so does a query
    (`name?query`, with `%2F` for a slash in it); doubled slashes count once.

    Parameters
    ----------
    url : str
        With scheme http or https.

    Returns
    -------
    pathlib.PurePosixPath
        Relative, without `.` or `..`.

    Raises
    ------
    ValueError
        If the scheme is another, host or file name is missing, or the path would climb out.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
        os.fsencode(unquote(url))
    except ValueError as error:
        raise ValueError(f"{url!r} is not an address of the web: {error}") from error
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError(
            f"{url!r} is not an address of the web; it must begin with http://host/ or https://host/"
        )
    port = "" if parts.port in (None, DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    query = "?" + unquote(parts.query).replace("/", "%2F") if parts.query else ""
    pieces = [parts.hostname + port, *(p for p in (unquote(parts.path) + query).split("/") if p)]
    if len(pieces) < 2 or parts.path.endswith("/"):
        raise ValueError(f"{url!r} names no file")
    return inside(pieces, url)


def raw(url):
    """Path of a downloaded file: `data/raw/<host>/<path>` (see `location`), whether it is there or not."""
    return home() / "data" / "raw" / location(url)


def mirror(url):
    """Path of a file in the mirror, `$DATA_MIRROR/<host>/<path>`; None if the variable is unset."""
    folder = os.environ.get("DATA_MIRROR")
    return Path(folder).resolve() / location(url) if folder else None


def inside(pieces, name):
    """Relative path of these pieces, none of which climbs out.

    Parameters
    ----------
    pieces : list of str
        Names of folders, and of a file at last.
    name : str
        What the pieces are of, for the message.

    Returns
    -------
    pathlib.PurePosixPath

    Raises
    ------
    ValueError
        If a piece is `.` or `..`, or holds a backslash or a control character.
    """
    if any(p in (".", "..") or re.search(r"[\\\x00-\x1f]", p) for p in pieces):
        raise ValueError(
            f"{name!r} holds '.', '..', a backslash or a control character: it could leave its folder"
        )
    return PurePosixPath(*pieces)
