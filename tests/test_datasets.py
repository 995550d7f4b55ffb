"""The contract of data sets, and the real components of human auditory cortex."""

import hashlib
import os

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from lib import artefacts, contract, datasets, download, folds, plugins
from lib.datasets import nh2015comp

# Norman-Haignere et al. (2015): sounds per category.
CATEGORIES = {
    "Music": 24, "Song": 11, "EngSpeech": 10, "ForSpeech": 7, "HumVoc": 13, "AniVoc": 10, "HumNonVoc": 15,
    "AniNonVoc": 5, "Nature": 4, "Mechanical": 39, "EnvSound": 27,
}  # fmt: skip
# Smallest and largest response; the largest are the axes of Tuckute, Feather et al. (2023), figure 4.
RANGES = {
    "lowfreq": (0.00013, 0.01910), "highfreq": (-0.00014, 0.01910), "envsounds": (0.00588, 0.01910),
    "pitch": (0.00040, 0.01910), "speech": (-0.00522, 0.01910), "music": (-0.00250, 0.01910),
}  # fmt: skip
# First digits of SHA-256 of each split's mask (165 bytes, 1 trains), sounds by ascending number.
MASKS = [
    "cf82281b2229a95f", "22fcd24ad11e10a0", "ddf33efcb51db233", "93c7afd670b3a837", "80f3c193b3a8bc8d",
    "d41dfa18cd54c92f", "ccf6e93f6fcf6553", "58fcda6d79870f5e", "c2241bdffec2cdd6", "97ce60e375d14400",
]  # fmt: skip


HALF, OTHER_HALF = [True, True, False, False], [False, False, True, True]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))


@pytest.fixture
def valid(tmp_path):
    """Responses of 3 voxels to 4 stimuli, twice, and their table."""
    names = ["s1", "s2", "s3", "s4"]
    responses = xr.Dataset(
        {
            "response": (("repeat", "stimulus", "voxel"), np.arange(24.0).reshape(2, 4, 3)),
            "train": (("split", "stimulus"), np.array([HALF, OTHER_HALF])),
        },
        coords={
            "repeat": [0, 1], "stimulus": names, "voxel": ["a", "b", "c"], "split": [0, 1],
            "subject": ("voxel", ["x", "x", "y"]), "roi": ("voxel", ["V1", "V4", "V1"]),
        },
        attrs={
            "target": "toy", "modality": "audio", "kind": "voxel", "planted": 0, "licence": "none",
            "citation": "nobody",
        },
    )  # fmt: skip
    (tmp_path / "data").mkdir()
    for name in names:
        (tmp_path / "data" / f"{name}.wav").write_text(name)
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in names]
    table = {"stimulus": names, "file": [f"{name}.wav" for name in names], "sha256": digests}
    return responses, pd.DataFrame({**table, "group": ["g", "g", "h", "h"]})


@pytest.fixture
def real():
    """The real data set, from the mirror."""
    if not os.environ.get("DATA_MIRROR"):
        pytest.skip("DATA_MIRROR is not set: the real components cannot be read")
    return datasets.load("nh2015comp")


def test_what_keeps_the_contract_comes_back_untouched(valid):
    before = valid[0].copy(deep=True), valid[1].copy()
    responses, stimuli = contract.validate(*valid)
    assert responses is valid[0]
    assert stimuli is valid[1]
    xr.testing.assert_identical(responses, before[0])
    pd.testing.assert_frame_equal(stimuli, before[1])


def test_the_contract_survives_the_disk(valid, tmp_path):
    artefacts.save(valid[0], tmp_path / "responses.nc")
    artefacts.save_table(valid[1], tmp_path / "stimuli.csv")
    contract.validate(
        artefacts.load(tmp_path / "responses.nc"), artefacts.load_table(tmp_path / "stimuli.csv")
    )


def nan(responses, *where):
    """Responses with a NaN."""
    values = responses["response"].to_numpy().copy()
    values[where] = np.nan
    return responses.assign(response=(responses["response"].dims, values))


def infinite(responses):
    return responses.assign(response=responses["response"].where(responses["response"] != 5, np.inf))


def without(responses, name):
    return responses.assign_attrs({name: ""})


def mask(responses, *, train):
    return responses.assign(train=(("split", "stimulus"), np.array(train)))


BROKEN_RESPONSES = {
    "axes in another order": (lambda r: r.transpose("stimulus", "repeat", "voxel", "split"), "has axes"),
    "axis renamed": (lambda r: r.rename(voxel="unit"), "lack variables or coordinates: voxel"),
    "no splits": (lambda r: r.drop_vars("train"), "lack variables or coordinates: train"),
    "no roi": (lambda r: r.drop_vars("roi"), "lack variables or coordinates: roi"),
    "roi per stimulus": (lambda r: r.assign_coords(roi=("stimulus", list("abcd"))), "roi has axes"),
    "roi not text": (lambda r: r.assign_coords(roi=("voxel", [1.0, np.nan, 2.0])), "text: 1.0, nan, 2.0"),
    "single precision": (lambda r: r.assign(response=r.response.astype("f4")), "response is float32 instead"),
    "mask of numbers": (lambda r: r.assign(train=r.train.astype(int)), "train is int64 instead of bool"),
    "repeats of text": (lambda r: r.assign_coords(repeat=["a", "b"]), "instead of whole numbers"),
    "no stimuli": (lambda r: r.isel(stimulus=slice(0)), "axes without any entry: stimulus"),
    "no citation": (lambda r: without(r, "citation"), "lack attributes: citation"),
    "unknown modality": (lambda r: r.assign_attrs(modality="auditory"), "modality.*'auditory'.*audio"),
    "planted unclear": (lambda r: r.assign_attrs(planted="yes"), "planted of responses 'yes'"),
    "voxel twice": (lambda r: r.assign_coords(voxel=list("aba")), "axis voxel occur more than once: a$"),
    "stimulus twice": (lambda r: r.assign_coords(stimulus=["s1", "s1", "s3", "s4"]), "axis stimulus .*: s1$"),
    "stimulus new": (lambda r: r.assign_coords(stimulus=["s1", "s2", "s3", "s9"]), "without a row.*: s9"),
    "order differs": (lambda r: r.isel(stimulus=[1, 0, 2, 3]), "order than responses: row 0 is s1, not s2"),
    "infinite": (infinite, "infinite responses .*: 0/s2/c$"),
    "NaN unexplained": (lambda r: nan(r, 1, 2, 0), "NaN .* says why .*: 1/s3/a$"),
    "all training": (lambda r: mask(r, train=[HALF, [True] * 4]), "without a test .*: 1$"),
    "none training": (lambda r: mask(r, train=[[False] * 4, HALF]), "without a training .*: 0$"),
    "group torn": (lambda r: mask(r, train=[[True, False, False, False]] * 2), "tears apart: g$"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_RESPONSES)
def test_broken_responses_are_refused_by_name(valid, case):
    break_it, message = BROKEN_RESPONSES[case]
    with pytest.raises(ValueError, match=message):
        contract.validate(break_it(valid[0]), valid[1])


BROKEN_STIMULI = {
    "no digest": (lambda s: s.drop(columns="sha256"), "stimuli lack columns: sha256"),
    "cell empty": (
        lambda s: s.assign(file=["s1.wav", None, "", "s4.wav"]),
        "without text in column file: 1, 2",
    ),
    "row missing": (lambda s: s.iloc[:3], "without a row in the table: s4"),
    "row too many": (lambda s: pd.concat([s, s.iloc[:1].assign(stimulus="s5")]), "without responses: s5"),
    "row twice": (lambda s: pd.concat([s, s.iloc[:1]]), "more than once in the table: s1"),
    "file missing": (lambda s: s.assign(file=["s1.wav", "s2.wav", "s3.wav", "x.wav"]), "not there: .*x.wav"),
    "file changed": (lambda s: s.assign(file=["s1.wav", "s2.wav", "s3.wav", "s3.wav"]), "sha256: .*s3.wav"),
    "file elsewhere": (
        lambda s: s.assign(file=["s1.wav", "s2.wav", "s3.wav", "../s4.wav"]),
        "outside .*: ../s4.wav",
    ),
}


@pytest.mark.parametrize("case", BROKEN_STIMULI)
def test_a_broken_table_is_refused_by_name(valid, case):
    break_it, message = BROKEN_STIMULI[case]
    with pytest.raises(ValueError, match=message):
        contract.validate(valid[0], break_it(valid[1]))


def test_missing_responses_are_allowed_when_explained_but_not_for_a_whole_voxel(valid):
    holes = nan(valid[0], 1, 2, 0)
    holes["response"].attrs["missing"] = "stimulus not presented in this repeat"
    contract.validate(holes, valid[1])
    silent = nan(valid[0], slice(None), slice(None), 1)
    silent["response"].attrs["missing"] = "voxel outside the field of view"
    with pytest.raises(ValueError, match=r"voxels without any response: b$"):
        contract.validate(silent, valid[1])


def test_only_the_first_offenders_are_named(valid):
    broken = valid[0].assign(response=valid[0]["response"] * np.nan)
    with pytest.raises(ValueError, match=r"0/s1/a, 0/s1/b, 0/s1/c and 21 more$"):
        contract.validate(broken, valid[1])


def test_groups_of_stimuli_reach_the_splits(valid, monkeypatch):
    responses, stimuli = valid
    monkeypatch.setattr(nh2015comp, "load", lambda _: (responses, stimuli.assign(run=[1, 2, 1, 2])))
    monkeypatch.setattr(datasets, "fetch_all", list)
    found, _ = datasets.load("nh2015comp")
    assert found["group"].dims == found["run"].dims == ("stimulus",)
    assert found["run"].values.tolist() == [1, 2, 1, 2]
    for train in folds.scheme(found, "halves").train.values:
        assert train.tolist() in (HALF, OTHER_HALF)
    # by identifier, whatever follows in the table
    held_out = pd.DataFrame({"stimulus": ["s9"], "group": ["k"]})
    moved = pd.concat([held_out, stimuli[::-1]])
    assert datasets._grouped(responses, moved)["group"].values.tolist() == ["g", "g", "h", "h"]


def test_an_unknown_data_set_is_met_with_the_nearest():
    with pytest.raises(ValueError, match=r"did you mean .*nh2015comp"):
        datasets.load("nh2015cmp")


def test_released_results_have_no_responses():
    with pytest.raises(ValueError, match=r"holds results, .*take datasets.contents\('metamer_recognition'\)"):
        datasets.load("metamer_recognition")


@pytest.mark.parametrize("name", datasets.names())
def test_each_plugin_declares_what_run_all_reads(name):
    found = plugins.about("target", name)
    assert found["MODALITY"] in {"audio", "vision"} | ({"both"} if found["KIND"] == "results" else set())
    assert found["KIND"] in plugins.KINDS
    assert isinstance(found["PLANTED"], bool)
    assert all(count is None or isinstance(count, int) for count in found["COUNTS"].values())
    assert all(line for line in found.get("PARTS", {}).values())
    # literals, since nothing of the plug-in is run to list it
    assert [key for key in ("LABEL", "LICENCE", "CITATION") if not found.get(key)] == []


@pytest.mark.parametrize("name", datasets.names())
def test_each_registry_holds_safe_addresses_and_whole_hashes(name):
    parts = plugins.about("target", name).get("PARTS", {})
    table = datasets.registry(name, parts)
    assert table["url"].is_unique
    assert table["sha256"].str.fullmatch("([0-9a-f]{64})?").all()
    assert (table["size"] > 0)[table["sha256"] != ""].all()
    listed = plugins.path("target", name).with_name(f"{name}.files.csv")
    if parts and listed.exists():
        assert {line.rpartition(",")[2] for line in listed.read_text().splitlines()[1:]} <= {"", *parts}
    assert len({download.location(url) for url in table["url"]}) == len(table)


def test_the_published_splits_are_the_golden_ones():
    splits = artefacts.load_table(plugins.path("target", "nh2015comp").with_name("nh2015comp.splits.csv"))
    numbers = splits["stimulus"].str.extract(r"stim(\d+)_")[0].astype(int)
    masks = splits.drop(columns="stimulus").to_numpy().astype(np.uint8).T
    assert numbers.is_monotonic_increasing
    assert [hashlib.sha256(mask.tobytes()).hexdigest()[:16] for mask in masks] == MASKS


def test_the_published_splits_are_what_the_legacy_generator_draws():
    splits = artefacts.load_table(plugins.path("target", "nh2015comp").with_name("nh2015comp.splits.csv"))
    generator = np.random.RandomState(0)
    for k in range(10):
        train = generator.choice(165, 83, replace=False)
        test = np.setdiff1d(np.arange(165), train)
        generator.choice(test, 82, replace=False)  # the original draws the test sounds too
        assert np.flatnonzero(splits[f"split{k}"]).tolist() == sorted(train)


@pytest.mark.mirror
def test_the_components_are_the_published_ones(real):
    responses, stimuli = real
    assert responses["response"].shape == (1, 165, 6)
    assert stimuli["category"].value_counts().to_dict() == CATEGORIES
    for name, (low, high) in RANGES.items():
        profile = responses["response"].sel(voxel=name)
        # printed to five decimals
        assert float(profile.min()) == pytest.approx(low, abs=0.5001e-5)
        assert float(profile.max()) == pytest.approx(high, abs=0.5001e-5)
    assert responses["train"].sum("stimulus").to_numpy().tolist() == [83] * 10


@pytest.mark.mirror
def test_components_prefer_what_they_are_named_for(real):
    responses, stimuli = real
    mean = responses["response"][0].to_pandas().groupby(stimuli["category"].to_numpy()).mean()
    assert set(mean["speech"].nlargest(3).index) == {"EngSpeech", "ForSpeech", "Song"}
    assert set(mean["music"].nlargest(2).index) == {"Music", "Song"}


@pytest.mark.mirror
def test_profiles_are_joined_by_identifier(real, monkeypatch):
    original = nh2015comp._profiles
    monkeypatch.setattr(nh2015comp, "_profiles", lambda path: original(path).sample(frac=1, random_state=0))
    responses, _ = nh2015comp.load(None)
    # `datasets.load` adds the attributes of the whole.
    xr.testing.assert_identical(responses, real[0].drop_attrs(deep=False))
    monkeypatch.setattr(
        nh2015comp, "_profiles", lambda path: original(path).rename({"stim7_applause": "stim8_x"})
    )
    with pytest.raises(ValueError, match=r"components.mat differ: .*'stim7_applause', 'stim8_x'"):
        nh2015comp.load(None)


@pytest.mark.mirror
@pytest.mark.parametrize(
    "damage", [lambda b: b[:3000], lambda b: b[:200] + bytes(400) + b[600:], lambda _: b"no"]
)
def test_a_damaged_file_of_components_is_named(real, damage):
    path = download.raw(nh2015comp.SOURCE + "data/components.mat")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"components.mat .*(is damaged|is no MATLAB file)"):
        nh2015comp.load(None)
    assert len(real[0]["voxel"]) == 6


@pytest.mark.mirror
def test_the_orders_of_sounds_agree_with_the_reference(real):
    if not os.environ.get("COMPENDIUM_REFERENCE"):
        pytest.skip("COMPENDIUM_REFERENCE is not set: the recorded order of sounds cannot be read")
    golden = artefacts.load_json(os.environ["COMPENDIUM_REFERENCE"] + "/auditory_golden_rng.json")
    assert real[1]["stimulus"].tolist() == golden["assumed_sound_order"]
