"""The contract of RDMs, held-out stimuli, places of voxels and released results."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from lib import contract

NAMES = ["s1", "s2", "s3"]
ABOUT = {"target": "toy", "modality": "vision", "planted": 0, "licence": "none", "citation": "nobody"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))


def table(names):
    """Stimuli that may not be handed on."""
    return pd.DataFrame({"stimulus": names, "file": "", "sha256": ""})


@pytest.fixture
def matrices():
    """RDMs of two subjects in two regions, one subject's missing in the second."""
    values = np.random.default_rng(0).random((1, 2, 2, 3, 3))
    values = values + values.swapaxes(-1, -2)
    values[..., range(3), range(3)] = 0
    values[0, 1, 1] = np.nan
    about = {"dissimilarity": "1 - Pearson correlation", "missing": "not measured"}
    coords = {
        "repeat": [0],
        "subject": ["a", "b"],
        "roi": ["V1", "IT"],
        "stimulus": NAMES,
        "stimulus_2": NAMES,
    }
    responses = xr.Dataset({"rdm": (contract.RDM, values, about)}, coords=coords)
    return responses.assign_attrs(ABOUT, kind="rdm", stimuli="ask the authors")


@pytest.fixture
def held_out():
    """Responses to three stimuli, twice, and to two more, four times; overlapping regions; places."""
    rng = np.random.default_rng(0)
    place = {"units": "mm", "space": "MNI"}
    responses = xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), rng.normal(size=(2, 3, 2))),
            "test_response": (("test_repeat", "test_stimulus", "voxel"), rng.normal(size=(4, 2, 2))),
            "train": (("split", "stimulus"), np.array([[True, True, False], [False, True, True]])),
            "in_roi": (("region", "voxel"), np.array([[True, False], [True, True]])),
        },
        coords={
            "repeat": [0, 1], "stimulus": NAMES, "test_repeat": range(4), "test_stimulus": ["t1", "t2"],
            "voxel": ["a", "b"], "split": [0, 1], "region": ["V1", "V2"], "subject": ("voxel", ["x", "x"]),
            "roi": ("voxel", ["V1", ""]), "x": ("voxel", [1.0, np.nan], place),
            "hemisphere": ("voxel", ["left", "right"]),
        },
    )  # fmt: skip
    return responses.assign_attrs(ABOUT, kind="voxel", stimuli="ask the authors")


def with_rdm(responses, *where, value):
    changed = responses["rdm"].copy()
    changed[where] = value
    return responses.assign(rdm=changed)


def test_rdms_that_keep_the_contract_come_back_untouched(matrices):
    before = matrices.copy(deep=True)
    assert contract.validate(matrices, table(NAMES))[0] is matrices
    xr.testing.assert_identical(matrices, before)


def test_models_may_come_along(matrices):
    model = matrices["rdm"].isel(repeat=0, roi=0, drop=True).rename(subject="model")
    contract.validate(matrices.assign(model_rdm=model), table(NAMES))
    lame = model.copy()
    lame[0, 0, 1] += 1
    with pytest.raises(ValueError, match=r"model_rdms that are not symmetric \(model\): a"):
        contract.validate(matrices.assign(model_rdm=lame), table(NAMES))


BROKEN_RDMS = {
    "lopsided": (lambda r: with_rdm(r, 0, 1, 0, 0, 1, value=9), r"not symmetric \(repeat/subject/roi\): 0/b/V1$"),
    "far from itself": (lambda r: with_rdm(r, 0, 0, 1, 2, 2, value=0.1), "diagonal is not 0 .*: 0/a/IT$"),
    "hole": (lambda r: with_rdm(r, 0, 0, 0, 1, 2, value=np.nan), "rdms not finite .*: 0/a/V1$"),
    "infinite": (lambda r: with_rdm(r, 0, 0, 0, 1, 2, value=np.inf), "rdms not finite .*: 0/a/V1$"),
    "region of nobody": (lambda r: with_rdm(r, 0, slice(None), 1, value=np.nan), "no subject has an RDM: IT$"),
    "missing unexplained": (
        lambda r: r.assign(rdm=r["rdm"].drop_attrs().assign_attrs(dissimilarity="d")),
        "attribute `missing` says why .*: 0/b/IT$",
    ),
    "unknown dissimilarity": (lambda r: r.assign(rdm=r["rdm"].drop_attrs()), "lacks attribute `dissimilarity`"),
    "columns are others": (lambda r: r.assign_coords(stimulus_2=["s1", "s3", "s2"]), "differ: s2 by s3, s3 by s2"),
    "no subjects": (lambda r: r.isel(subject=0, drop=True), "lack variables or coordinates: subject"),
    "axes swapped": (lambda r: r.transpose("subject", "repeat", ...), "rdm has axes"),
    "single precision": (lambda r: r.assign(rdm=r["rdm"].astype("f4")), "rdm is float32"),
    "kind": (lambda r: r.assign_attrs(kind="results"), "attribute kind of responses 'results'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_RDMS)
def test_broken_rdms_are_refused_by_name(matrices, case):
    break_it, message = BROKEN_RDMS[case]
    with pytest.raises(ValueError, match=message):
        contract.validate(break_it(matrices), table(NAMES))


def test_held_out_stimuli_follow_the_others(held_out):
    contract.validate(held_out, table([*NAMES, "t1", "t2"]))
    with pytest.raises(ValueError, match="without a row in the table: t1, t2"):
        contract.validate(held_out, table(NAMES))
    with pytest.raises(ValueError, match="row 0 is t1, not s1"):
        contract.validate(held_out, table(["t1", "t2", *NAMES]))


BROKEN_VOXELS = {
    "held out and not": (lambda r: r.assign_coords(test_stimulus=["t1", "s2"]), "both held out and not: s2"),
    "held out twice": (lambda r: r.assign_coords(test_stimulus=["t1", "t1"]), "axis test_stimulus .*: t1"),
    "held-out NaN": (
        lambda r: r.assign(test_response=r["test_response"].where(r["test_repeat"] > 0)), "NaN though .*0/t1/a"
    ),
    "numbers for members": (lambda r: r.assign(in_roi=r["in_roi"].astype(int)), "in_roi is int64 instead of bool"),
    "no unit": (lambda r: r.assign_coords(x=r["x"].drop_attrs()), "x must be float64 per voxel, in mm"),
    "no space": (lambda r: r.assign_coords(x=("voxel", [0.0, 1.0], {"units": "mm"})), "x lacks attribute `space`"),
    "third hemisphere": (lambda r: r.assign_coords(hemisphere=("voxel", ["left", "rh"])), "hemispheres .*: 'rh'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_VOXELS)
def test_broken_voxels_are_refused_by_name(held_out, case):
    break_it, message = BROKEN_VOXELS[case]
    names = list(dict.fromkeys([*NAMES, *break_it(held_out)["test_stimulus"].values.tolist()]))
    with pytest.raises(ValueError, match=message):
        contract.validate(break_it(held_out), table(names))


def test_stimuli_without_files_need_a_word_about_them(held_out):
    names = [*NAMES, "t1", "t2"]
    del held_out.attrs["stimuli"]
    with pytest.raises(ValueError, match="without text in column file: 0, 1, 2 and 2 more"):
        contract.validate(held_out, table(names))
    half = table(names).assign(file=["a.png", "", "", "", ""])
    with pytest.raises(ValueError, match="without text in column file: 1, 2, 3 and 1 more"):
        contract.validate(held_out.assign_attrs(stimuli="ask"), half)


def test_results_are_tables_with_content():
    good = {"recognition": pd.DataFrame({"a": [1]}), "fits": xr.Dataset({"b": ("voxel", [1])})}
    assert contract.validate_results(good) is good
    for broken, error, message in (
        ({}, ValueError, "without any table"),
        ({"a/b": good["fits"]}, ValueError, "no file name: 'a/b'"),
        ({"a": [1]}, TypeError, "table a is a list"),
        ({"a": pd.DataFrame({"b": []})}, ValueError, "without content: a"),
    ):
        with pytest.raises(error, match=message):
            contract.validate_results(broken)
