"""Human visual cortex while 1000 three-second videos were seen (Algonauts 2021 challenge)."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from tqdm.auto import tqdm

from lib import artefacts, damage, given, unpickle, videos
from lib.download import placed

LABEL = "Algonauts 2021"
MODALITY = "vision"
KIND = "voxel"
PLANTED = False
HOMEPAGE = "http://algonauts.csail.mit.edu/2021"
LICENCE = "by form, for research; not to be redistributed; cite the paper"
CITATION = (
    "Cichy, Dwivedi, Lahner, Lascelles, Iamshchinina, Graumann, Andonian, Murty, Kay, Roig & Oliva (2021). The "
    "Algonauts Project 2021 challenge: how the human brain makes sense of a world in motion. arXiv:2104.13714"
)
COUNTS = {"stimuli": 1000, "voxels": 29623, "subjects": 10, "rois": 9, "repeats": 3}
BY_FORM = True
WITHOUT = ("metamers",)  # which are made of single pictures, not of videos
PARTS = {"whole_brain": "all voxels of the full track, one file per subject, a few GB"}
SUBJECTS = 10
REGIONS = ("V1", "V2", "V3", "V4", "LOC", "EBA", "FFA", "STS", "PPA")
N_REPEATS, N_VIDEOS = 3, 1000
FMRI = "algonauts2021/participants_data_v2021"
VIDEOS = "algonauts2021/AlgonautsVideos268_All_30fpsmax"
ADVICE = "They come by form: ask at http://algonauts.csail.mit.edu/2021 (README of the challenge's development kit)."
# Frames number 4, 8, 12, … stand for a video.
EVERY = 4
# From voxel number to mm, of the kit's example volume.
STEP_MM, ORIGIN_MM = (2.5, 2.5, 2.75), (-96.5, -132.5, -78.5)
SPACE = "of the volume of the challenge's development kit"


def load(folder, parts=()):
    """Responses to single presentations, of voxels that the organisers chose for their reliability.

    Parameters
    ----------
    folder : pathlib.Path
        With part "whole_brain", all voxels are written there: `whole_brain/<subject>.nc`.
    parts : tuple of str
        Of `PARTS`.

    Returns
    -------
    responses : xarray.Dataset
        `response` (3, 1000, voxel), in the unit of the files. A voxel of two regions may be there twice: the
        files do not tell. `train` (10, 1000): ten folds that test 100 videos each; fold 0 is the public split
        of the first encoding models, the others divide its 900 training videos in the order of the same
        permutation.
    stimuli : pandas.DataFrame
        stimulus ("0001" to "1000", the prefix of the video's name), file, sha256. Files are "" unless the
        videos are there.

    Raises
    ------
    ValueError
        If a file is damaged, or of another shape than published.
    lib.download.DownloadError
        If files are missing; the message says where to ask and where to put them.

    References
    ----------
    Cichy et al. (2021), arXiv:2104.13714; voxel counts of its development kit. Public split: Zhou, Du & He
    (2022), doi:10.1007/s11633-022-1348-x.
    """
    names = [f"{n:04d}" for n in range(1, N_VIDEOS + 1)]
    stimuli, train = _stimuli(names), _train(names)
    if "whole_brain" in parts:
        _whole_brain(names, folder / "whole_brain")
    response, voxels = _regions()
    responses = xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), response, {"units": "as in the files"}),
            "train": (("split", "stimulus"), train),
        },
        coords={
            "repeat": range(N_REPEATS),
            "stimulus": names,
            "split": range(len(train)),
            **{name: ("voxel", column.tolist()) for name, column in voxels.items()},
        },
    )
    return (responses if stimuli["file"].any() else responses.assign_attrs(stimuli=_video_advice())), stimuli


def frames(path):
    """Frames of a video as the public encoding models saw them.

    Parameters
    ----------
    path : str or pathlib.Path

    Returns
    -------
    uint8 array (floor(frames / 4), height, width, 3)
        Frames number 4, 8, 12, …, RGB.

    References
    ----------
    Zhou, Du & He (2022), doi:10.1007/s11633-022-1348-x, published code.
    """
    return videos.frames(path, every=EVERY)


def _video_advice():
    return f"{ADVICE} Put the videos (1102 files, <prefix>_<name>.mp4) into data/raw/{VIDEOS}/"


def _beside(name):
    """A table of published numbers."""
    return artefacts.load_table(Path(__file__).with_name(f"algonauts2021.{name}.csv"))


def _published():
    """Number of voxels by subject (rows) and region (columns)."""
    return _beside("voxels").set_index("subject")


def _train(names):
    """Ten folds, each True for the 900 videos that train."""
    table = _beside("folds").set_index("video").sort_index()
    if table.index.tolist() != list(range(len(names))):
        raise ValueError(f"the table of folds must hold videos 0 to {len(names) - 1} once each")
    return np.array([table["fold"].to_numpy() != fold for fold in sorted(set(table["fold"]))])


def _stimuli(names):
    """Table of the videos; without files where none of them is there."""
    paths = given.listed(VIDEOS, ".mp4")
    if not paths:
        return pd.DataFrame({"stimulus": names, "file": "", "sha256": ""})
    first = paths[: len(names)]
    found = [path.rsplit("/", 1)[1].split("_")[0] for path in first]
    if found != names:
        odd = next(
            (i for i, pair in enumerate(zip(found, names, strict=False)) if pair[0] != pair[1]), len(found)
        )
        there = first[odd] if odd < len(first) else "nothing more"
        raise ValueError(
            f"videos in data/raw/{VIDEOS} must begin with 0001 to {names[-1]}, once each; "
            f"where {names[odd]} belongs there is {there}"
        )
    return given.stimuli(names, first, _video_advice())


def _regions():
    """Responses of all subjects and regions side by side, and a table of these voxels."""
    published = _published()
    sizes = {(f"sub{s:02d}", r): int(published.loc[f"sub{s:02d}", r])
             for s in range(1, SUBJECTS + 1) for r in REGIONS}  # fmt: skip
    names = {key: f"{FMRI}/mini_track/{key[0]}/{key[1]}.pkl" for key in sizes}
    paths = placed(names.values(), ADVICE)
    shape = (N_REPEATS, N_VIDEOS, sum(sizes.values()))
    log = logging.getLogger(__name__)
    log.info("algonauts2021: responses %s will take %.2f GB", shape, 8e-9 * np.prod(shape, dtype=float))
    response, first = np.empty(shape), 0
    for key, size in tqdm(sizes.items(), desc="algonauts2021"):
        value = _array(_content(paths[names[key]]), paths[names[key]], size)
        response[..., first : first + size] = value.swapaxes(0, 1)
        first += size
    rows = [(f"{s}-{r}-{n:04d}", s, r) for (s, r), size in sizes.items() for n in range(size)]
    return response, pd.DataFrame(rows, columns=["voxel", "subject", "roi"])


def _content(path):
    content = unpickle.load(path, encoding="latin1")
    if not isinstance(content, dict) or "train" not in content:
        found = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path} holds {found}, not a dict with key 'train'")
    return content


def _array(content, path, n_voxels):
    """Responses (video, repeat, voxel), of the size published and without gaps."""
    with damage.named(path):
        value = np.asarray(content["train"])
    wanted = (N_VIDEOS, N_REPEATS, n_voxels)
    if value.shape != wanted or value.dtype.kind != "f":
        raise ValueError(f"{path}: train is {value.dtype} {value.shape} instead of numbers {wanted}")
    if not np.isfinite(value).all():
        first = np.argwhere(~np.isfinite(value))[0].tolist()
        raise ValueError(f"{path}: train has values that are not finite, the first at {first}")
    return value


def _whole_brain(names, folder):
    """Write all voxels of each subject, one subject in memory at a time."""
    wanted = {f"sub{s:02d}": f"{FMRI}/full_track/sub{s:02d}/WB.pkl" for s in range(1, SUBJECTS + 1)}
    paths = placed(wanted.values(), ADVICE)
    for subject, name in tqdm(wanted.items(), desc="whole brain"):
        content = _content(paths[name])
        if "voxel_mask" not in content:
            raise ValueError(f"{paths[name]} lacks voxel_mask")
        places = np.argwhere(np.asarray(content["voxel_mask"]) == 1)
        if places.ndim != 2 or places.shape[1] != 3:
            raise ValueError(f"{paths[name]}: voxel_mask has {places.shape[1]} axes instead of 3")
        value = _array(content, paths[name], len(places))
        mm = places * STEP_MM + ORIGIN_MM
        attrs = {"units": "mm", "space": SPACE}
        found = xr.Dataset(
            {
                "response": (
                    ("repeat", "stimulus", "voxel"),
                    value.swapaxes(0, 1),
                    {"units": "as in the file"},
                )
            },
            {
                "stimulus": names,
                "voxel": [f"{subject}-{i:02d}-{j:02d}-{k:02d}" for i, j, k in places.tolist()],
                **{axis: ("voxel", mm[:, n], attrs) for n, axis in enumerate("xyz")},
            },
            {"subject": subject, "citation": CITATION, "licence": LICENCE},
        )
        artefacts.save(found, folder / f"{subject}.nc")
