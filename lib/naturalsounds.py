"""What the data sets of natural sounds share: the 165 sounds, their table, the published splits."""

import pandas as pd

from lib import plugins
from lib.artefacts import home, load_table
from lib.download import raw

SOURCE = (
    "https://raw.githubusercontent.com/snormanhaignere/natsound165-neuron2015/"
    "b41b99ff620d7997dbf278fc770f58566707726a/"
)
OWNER = "nh2015comp"  # the data set beside which the tables of files and splits lie
FIRST = 3  # offenders a message names


def digests():
    """SHA-256 of each file of the repository of sounds.

    Returns
    -------
    pandas.Series
        64 hexadecimal digits, by address.
    """
    return load_table(_beside("files")).set_index("url")["sha256"]


def names():
    """Identifiers of the 165 sounds, by ascending number; nothing needs to be downloaded for them.

    Returns
    -------
    list of str
    """
    return load_table(_beside("splits"))["stimulus"].tolist()


def stimuli():
    """Table of the 165 sounds of two seconds, by ascending stimulus number.

    Returns
    -------
    pandas.DataFrame
        stimulus, file, sha256, category (one of 11).

    Raises
    ------
    FileNotFoundError
        If the table of categories has not been downloaded.

    References
    ----------
    Norman-Haignere et al. (2015), doi:10.1016/j.neuron.2015.11.035.
    """
    labels = pd.read_csv(
        raw(SOURCE + "stimuli/category_labels.csv"), names=["stimulus", "category"], dtype=str
    )
    labels = labels.sort_values("stimulus", key=lambda s: s.str.extract(r"^stim(\d+)_")[0].astype(int))
    urls = SOURCE + "stimuli/wav/" + labels["stimulus"] + ".wav"
    file = [raw(url).relative_to(home() / "data").as_posix() for url in urls]
    table = labels.assign(file=file, sha256=digests().reindex(urls).to_numpy())
    return table[["stimulus", "file", "sha256", "category"]].reset_index(drop=True)


def splits(table):
    """The published random halves of the sounds: 83 train, 82 test, ten times.

    Parameters
    ----------
    table : pandas.DataFrame
        With column stimulus.

    Returns
    -------
    numpy.ndarray
        (split, stimulus), bool: True where a sound trains; stimuli in the order of the table.

    Raises
    ------
    ValueError
        If the sounds of the table are not those of the splits.

    References
    ----------
    Tuckute, Feather et al. (2023), doi:10.1371/journal.pbio.3002366.
    """
    halves = load_table(_beside("splits")).set_index("stimulus")
    places = positions(table["stimulus"], halves.index, "the table of splits")
    return halves.to_numpy()[places].T.astype(bool)


def positions(sounds, names, what):
    """Where each sound stands in another list of the same sounds.

    Parameters
    ----------
    sounds, names : iterable of str
        Identifiers; the second list is the one to look in.
    what : str
        What the second list belongs to, for the message.

    Returns
    -------
    list of int
        Such that `names[i]` for `i` in it are `sounds`.

    Raises
    ------
    ValueError
        If one list has a sound that the other lacks, or one more than once.
    """
    sounds, names = list(sounds), list(names)
    odd = sorted(set(sounds) ^ set(names)) or [n for n in names if names.count(n) > 1]
    if odd or len(names) != len(sounds):
        raise ValueError(f"sounds of the category labels and of {what} differ: {odd[:FIRST]}")
    place = {name: i for i, name in enumerate(names)}
    return [place[sound] for sound in sounds]


def _beside(what):
    """Path of a table beside the plug-in that owns the sounds."""
    return plugins.path("target", OWNER).with_name(f"{OWNER}.{what}.csv")
