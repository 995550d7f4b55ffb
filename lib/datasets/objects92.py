"""Representational dissimilarities of 92 pictures of objects in human and monkey inferior temporal cortex."""

import re

import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image
from scipy.spatial.distance import squareform

from lib import damage, matfiles
from lib.artefacts import atomic, digest, home
from lib.download import raw

LABEL = "92 objects"
MODALITY = "vision"
KIND = "rdm"
PLANTED = False
HOMEPAGE = "https://github.com/rsagroup/rsatoolbox"
LICENCE = "none stated for the data; the repository that carries them: MIT. Cite the papers"
CITATION = (
    "Kriegeskorte, Mur, Ruff, Kiani, Bodurka, Esteky, Tanaka & Bandettini (2008). Matching categorical object "
    "representations in inferior temporal cortex of man and monkey. Neuron 60, 1126-1141. "
    "doi:10.1016/j.neuron.2008.10.043. Similarity judgements: Mur, Meys, Bodurka, Goebel, Bandettini & "
    "Kriegeskorte (2013). Human object-similarity judgments reflect and transcend the primate-IT object "
    "representation. Frontiers in Psychology 4, 128. doi:10.3389/fpsyg.2013.00128"
)
# The two monkeys count once: their RDM is of all cells together.
COUNTS = {"stimuli": 92, "voxels": None, "subjects": 5, "rois": 2, "repeats": 2}
SOURCE = (
    "https://raw.githubusercontent.com/rsagroup/rsatoolbox/f1f83cadb7243492a1aae7460466e0f0140b20ac/"
    "demos/92imageData/"
)
FLAGS = ("human", "face", "animal", "natural")
MISSING = "not measured: the people's cortex is human_it, in two sessions; the two monkeys have one joint RDM"


def load(folder):
    """RDMs of people, monkeys, models and judgements, and the pictures, which are written into `folder`.

    Parameters
    ----------
    folder : pathlib.Path
        Of the download step.

    Returns
    -------
    responses : xarray.Dataset
        `rdm` (2, 5, 2, 92, 92), 1 - Pearson correlation, 0 to 2: human IT (316 voxels) of BE, KO, SN and TI
        in either session; monkey IT (674 cells of two monkeys) as subject "monkeys", in repeat 0. NaN where
        not measured. `model_rdm` (model, …) as released; `judgement_rdm` (observer, …), dissimilarity judged
        by 16 people, whose unit is arbitrary. Coordinate `session` (repeat).
    stimuli : pandas.DataFrame
        stimulus (`object01`, in the order of the file), file, sha256, category (one of 6), human, face,
        animal, natural, and the 12 overlapping categories of the file as `in_<name>`; all these bool.

    Raises
    ------
    ValueError
        If a file is damaged or lacks something, or the pictures' categories contradict the model RDMs made of
        categories: pictures and RDMs are then in different orders.

    References
    ----------
    Kriegeskorte et al. (2008), doi:10.1016/j.neuron.2008.10.043, figure 1; Mur et al. (2013),
    doi:10.3389/fpsyg.2013.00128.
    """
    published = matfiles.read(raw(SOURCE + "Kriegeskorte_Neuron2008_supplementalData.mat"))
    stimuli = _stimuli(published, folder / "stimuli")
    names = stimuli["stimulus"].tolist()
    models, judgements = _named("92_modelRDMs.mat", "Models"), _named("92_behavRDMs.mat", "rdms_behav_92")
    _check_order(stimuli, models)
    pair = ("stimulus", "stimulus_2")
    released = {"dissimilarity": "as released with the models"}
    judged = {"dissimilarity": "judged by arranging the pictures, as released; arbitrary unit"}
    return xr.Dataset(
        {
            "rdm": _measured(published),
            "model_rdm": (("model", *pair), np.stack(list(models.values())), released),
            "judgement_rdm": (("observer", *pair), np.stack(list(judgements.values())), judged),
        },
        coords={
            "stimulus": names,
            "stimulus_2": names,
            "model": list(models),
            "observer": [name.split("|")[-1].strip() for name in judgements],
        },
    ), stimuli


def _fields(content, variable, *fields):
    """The named fields of a structure array, one tuple per element, in the file's order."""
    elements = np.ravel(content.get(variable, [])).tolist()
    lacking = [f for f in fields if not elements or not all(isinstance(e, dict) and f in e for e in elements)]
    if lacking:
        raise ValueError(f"structure {variable} lacks {lacking}; the file holds {sorted(content)}")
    return [tuple(element[field] for field in fields) for element in elements]


def _named(file, variable):
    """RDMs by name from an array of structures."""
    with damage.named(raw(SOURCE + file)):
        fields = _fields(matfiles.read(raw(SOURCE + file)), variable, "name", "RDM")
        return {name: np.asarray(rdm, float) for name, rdm in fields}


def _measured(published):
    """`rdm` with its coordinates, from the people's sessions and the monkeys' condensed RDM."""
    sessions = {}
    for name, rdm in _named("92_brainRDMs.mat", "RDMs").items():
        parts = re.fullmatch(r"hIT \| (\w+) \| Session: (\d+)", name)
        if not parts:
            raise ValueError(f"92_brainRDMs.mat names an RDM {name!r}; 'hIT | BE | Session: 1' is expected")
        sessions[parts[1], int(parts[2])] = rdm
    subjects, numbers = sorted({s for s, _ in sessions}), sorted({n for _, n in sessions})
    condensed = dict(_fields(published, "RDMs_mIT_hIT_fig1", "name", "RDM"))["mIT_674neurons"]
    side = len(next(iter(sessions.values())))
    rdm = np.full((len(numbers), len(subjects) + 1, 2, side, side), np.nan)
    for (subject, number), values in sessions.items():
        rdm[numbers.index(number), subjects.index(subject), 0] = values
    # MATLAB's order of pairs, down the columns of the lower triangle, is along the rows of the upper one.
    rdm[0, -1, 1] = squareform(np.ravel(condensed))
    return xr.DataArray(
        rdm,
        dims=("repeat", "subject", "roi", "stimulus", "stimulus_2"),
        coords={
            "repeat": range(len(numbers)),
            "session": ("repeat", numbers),
            "subject": [*subjects, "monkeys"],
            "roi": ["human_it", "monkey_it"],
        },
        attrs={"dissimilarity": "1 - Pearson correlation across voxels or cells", "missing": MISSING},
    )


def _stimuli(published, folder):
    """Table of the pictures, which are written as PNG."""
    rows = []
    elements = _fields(published, "stimuli_92objs", "image", "category", *FLAGS)
    for number, (image, category, *flags) in enumerate(elements, start=1):
        path = folder / f"object{number:02d}.png"
        with atomic(path) as part:
            Image.fromarray(image).save(part)
        file = path.relative_to(home() / "data").as_posix()
        row = {"stimulus": path.stem, "file": file, "sha256": digest(path), "category": category}
        rows.append({**row, **dict(zip(FLAGS, map(bool, flags), strict=True))})
    labels = [f"in_{label}" for label in np.ravel(published["categoryLabels"])]
    memberships = pd.DataFrame(published["categoryVectors"].astype(bool), columns=labels)
    return pd.concat([pd.DataFrame(rows), memberships], axis=1)


def _check_order(stimuli, models):
    """Pictures and RDMs come from different files: what both say about animacy must agree."""
    animal = stimuli["animal"].to_numpy()
    kind = stimuli["category"].str.replace(r"^(non)?human ", "", regex=True).to_numpy(str)
    for what, differs in (
        ("the RDM 'animacy'", (models["animacy"] != (animal[:, None] != animal)).any(axis=1)),
        ("the RDM 'FaceBody…'", (models["FaceBodyManmadeNatobj"] != (kind[:, None] != kind)).any(axis=1)),
        ("the category vector 'animate'", stimuli["in_animate"].to_numpy() != animal),
    ):
        odd = stimuli["stimulus"][differs].tolist()
        if odd:
            raise ValueError(f"pictures and {what} disagree on categories, first of {odd[:3]}: other orders")
