"""Human visual cortex, V1 to high-level areas, while 1250 natural images were seen (Deep Image Reconstruction)."""

import logging

import numpy as np
import pandas as pd
import xarray as xr

from lib import download, folds, given, hierarchy_release
from lib.bdata import BData
from lib.hierarchy_release import REGIONS

LABEL = "Deep image reconstruction"
MODALITY = "vision"
KIND = "voxel"
PLANTED = False
HOMEPAGE = "https://figshare.com/articles/Deep_Image_Reconstruction/7033577"
LICENCE = "as stated on the figshare page of the data; images on request only; cite the papers"
CITATION = (
    "Shen, Horikawa, Majima & Kamitani (2019). Deep image reconstruction from human brain activity. PLoS "
    "Computational Biology 15, e1006633. doi:10.1371/journal.pcbi.1006633; features and accuracies: Nonaka, "
    "Majima, Aoki & Kamitani (2021). Brain hierarchy score: which deep neural networks are hierarchically "
    "brain-like? iScience 24, 103013. doi:10.1016/j.isci.2021.103013"
)
COUNTS = {"stimuli": 1250, "voxels": None, "subjects": 3, "rois": 5, "repeats": 5}
PARTS = {
    "accuracies": "released decoding and encoding accuracies of 29 networks, 0.35 GB",
    "features": "released features of 29 networks, at most 1000 units per layer, 6.8 GB",
}
FILES = {
    "sub-01": {"Training": "33900893", "Test": "33900890"},
    "sub-02": {"Training": "33900899", "Test": "33900896"},
    "sub-03": {"Training": "33900908", "Test": "33900902"},
}
ACCURACIES = {
    "decoding": "https://ndownloader.figshare.com/files/24132263",
    "encoding": "https://figshare.com/ndownloader/files/32116400",
}
STIMULI = {"Training": 1200, "Test": 50}
REPEATS = {"Training": 5, "Test": 24}
IMAGES = "deeprecon/stimuli"
ADVICE = (
    "The images may not be redistributed: ask for them at https://forms.gle/ujvA34948Xg49jdn9 and put them, "
    f"<identifier>.JPEG, into data/raw/{IMAGES}/"
)


def load(folder, parts=()):
    """Single presentations of the 1200 training and the 50 test images, in three subjects.

    Nothing is averaged. Presentations of an image are in the order in which they happened. The published
    models were fitted to all 6000 training presentations, and tested on the mean over `test_repeat`.

    Parameters
    ----------
    folder : pathlib.Path
        With part "accuracies", the released ones are written there: `<direction>/<framework>/<network>.nc`.
    parts : tuple of str
        Of `PARTS`.

    Returns
    -------
    responses : xarray.Dataset
        `response` (5, 1200, voxel) and `test_response` (24, 50, voxel), in the unit of the files, of all
        voxels in any of five regions; `in_roi` (region, voxel), for regions overlap, and `roi` the first of
        them; `x`, `y`, `z` if the files tell. `train` (10, 1200): random halves that keep the images of a
        category together. No split of the training images was published; held out are the test images.
    stimuli : pandas.DataFrame
        stimulus, file, sha256, group (WordNet category). Files are "" unless the images are there.

    Raises
    ------
    ValueError
        If a file is damaged; an image was not shown as often as it should; or files disagree on images or
        voxels.
    lib.download.DownloadError
        If only some of the images are there.

    References
    ----------
    Shen et al. (2019), doi:10.1371/journal.pcbi.1006633; order of images as in Nonaka et al. (2021),
    doi:10.1016/j.isci.2021.103013.
    """
    if "accuracies" in parts:
        for direction, url in ACCURACIES.items():
            hierarchy_release.store(download.raw(url), folder / direction, direction=direction)
    files = {session: {subject: BData(_path(subject, session)) for subject in FILES} for session in REPEATS}
    voxels = _voxels(files)
    _announce(len(voxels["voxel"]))
    blocks, names = {}, {}
    for session, sources in files.items():
        names[session], rows = _presentations(sources, session)
        blocks[session] = _responses(sources, rows, session)
    groups = [name.split("_")[0] for name in names["Training"]]
    train = folds.half_splits(names["Training"], groups=groups)
    stimuli = _stimuli([*names["Training"], *names["Test"]])
    responses = xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), blocks["Training"], {"units": "as in the files"}),
            "test_response": (
                ("test_repeat", "test_stimulus", "voxel"), blocks["Test"], {"units": "as in the files"},
            ),
            "train": (("split", "stimulus"), train),
        },
        coords={
            "stimulus": names["Training"],
            "test_stimulus": names["Test"],
            **{"repeat": range(REPEATS["Training"]), "test_repeat": range(REPEATS["Test"])},
            "split": range(len(train)),
            **voxels,
        },
    )  # fmt: skip
    return (responses if stimuli["file"].any() else responses.assign_attrs(stimuli=ADVICE)), stimuli


def _path(subject, session):
    return download.raw(f"https://ndownloader.figshare.com/files/{FILES[subject][session]}")


def _any_region():
    return " | ".join(f"ROI_{region} = 1" for region in REGIONS)


def _voxels(files):
    """Coordinates of all voxels, the same in training and test files."""
    tables = {session: [_places(s, d) for s, d in sources.items()] for session, sources in files.items()}
    for training, test in zip(*tables.values(), strict=True):
        if not training.equals(test):
            same = [c for c in training if c in test and training[c].equals(test[c])]
            differ = sorted({*training, *test} - {*same})
            raise ValueError(
                f"training and test file of {training.loc[0, 'subject']} disagree on voxels: {differ}"
            )
    table = pd.concat(tables["Training"], ignore_index=True)
    members = table[list(REGIONS)].to_numpy().T
    found = {
        "region": list(REGIONS),
        "voxel": table["voxel"].tolist(),
        "subject": ("voxel", table["subject"].tolist()),
        "roi": ("voxel", np.array(REGIONS)[members.argmax(axis=0)].tolist()),
        "in_roi": (("region", "voxel"), members),
    }
    attrs = {
        "units": "mm",
        "space": "of the file, the subject's own (voxel_x, voxel_y, voxel_z)",
        "shared": 0,
    }
    known = [axis for axis in "xyz" if axis in table]
    if len(known) == 3 and table[known].notna().all(axis=None):
        found |= {axis: ("voxel", table[axis].to_numpy(), attrs) for axis in known}
    return found


def _announce(n_voxels):
    """Say how much memory the responses will take, before the first is read."""
    shapes = [(REPEATS[session], STIMULI[session], n_voxels) for session in REPEATS]
    sizes = [8e-9 * np.prod(shape, dtype=float) for shape in shapes]
    logging.getLogger(__name__).info(
        "deeprecon: responses %s and %s will take %.2f + %.2f = %.2f GB of memory",
        *shapes, *sizes, sum(sizes),
    )  # fmt: skip


def _places(subject, data):
    """Table of a file's voxels in any region: identifier, subject, membership, and x, y, z where known."""
    chosen = np.flatnonzero(data.mask(_any_region()))
    if not len(chosen):
        raise ValueError(f"{data.path} has no voxel in any of {REGIONS}")
    table = pd.DataFrame({"voxel": [f"{subject}-{column:05d}" for column in chosen], "subject": subject})
    for region in REGIONS:
        table[region] = data.mask(f"ROI_{region} = 1")[chosen]
    for axis in "xyz":
        if f"voxel_{axis}" in data.keys:
            table[axis] = data.metadata(f"voxel_{axis}")[chosen]
    return table


def _presentations(sources, session):
    """Sorted identifiers, the same in all subjects; and per subject the place of each row: repeat, image."""
    names, rows = None, {}
    for subject, data in sources.items():
        shown = _column(data, data.labels("stimulus_name"), "stimulus_name")
        listed, rank, counts = np.unique(shown, return_inverse=True, return_counts=True)
        _check_counts(data.path, session, dict(zip(listed.tolist(), counts.tolist(), strict=True)))
        number = _column(data, data.select("image_index"), "image_index")
        odd = np.flatnonzero(number != rank + 1)
        if len(odd):
            raise ValueError(
                f"{data.path}: image_index of {shown[odd[0]]} is {number[odd[0]]:g} (row {odd[0]}), but by "
                f"its name it is number {rank[odd[0]] + 1}; {len(odd)} rows differ so"
            )
        names = names or listed.tolist()
        if names != listed.tolist():
            first = sorted(set(names) ^ set(listed.tolist()))[:3]
            raise ValueError(f"{data.path} and the first subject's file hold different images: {first}")
        repeat = pd.Series(rank).groupby(rank).cumcount().to_numpy()
        rows[subject] = repeat * len(names) + rank
    return names, rows


def _column(data, values, key):
    if values.shape[1] != 1:
        raise ValueError(f"{data.path}: {key} has {values.shape[1]} columns instead of one")
    return values[:, 0]


def _check_counts(path, session, counts):
    """Each image was shown as often as it should."""
    odd = {name: n for name, n in counts.items() if n != REPEATS[session]}
    if odd or len(counts) != STIMULI[session]:
        first = ", ".join(f"{name} {n} times" for name, n in [*odd.items()][:3])
        raise ValueError(
            f"{path} holds {len(counts)} images instead of {STIMULI[session]}"
            + (f"; {len(odd)} of them not {REPEATS[session]} times, such as {first}" if odd else "")
        )


def _responses(sources, rows, session):
    """Presentations of all subjects side by side (repeat, image, voxel), read straight into place."""
    sizes = [data.cost(_any_region())[1][1] for data in sources.values()]
    shape = (REPEATS[session], STIMULI[session], sum(sizes))
    responses = np.empty(shape)
    flat, first = responses.reshape(-1, shape[2]), 0
    for (subject, data), size in zip(sources.items(), sizes, strict=True):
        for block_rows, columns, block in data.blocks(_any_region()):
            flat[rows[subject][block_rows], first + columns.start : first + columns.stop] = block
        first += size
    return responses


def _stimuli(names):
    """Table of the images; without files where none of them is there."""
    table = given.stimuli(names, [f"{IMAGES}/{name}.JPEG" for name in names], ADVICE)
    return table.assign(group=[name.split("_")[0] for name in names])
