"""The RDMs of 92 objects: agreement of man and monkey, files among themselves, pictures with RDMs, damage."""

import os

import numpy as np
import pytest
import scipy.io
from PIL import Image

from lib import artefacts, datasets, download, matfiles, registry, stimuli
from lib.datasets import objects92

HUMAN_MONKEY = 0.49  # Kriegeskorte et al. (2008), figure 3: Pearson correlation of human and monkey IT RDMs
BRAIN, MODELS = "92_brainRDMs.mat", "92_modelRDMs.mat"
SUPPLEMENT = "Kriegeskorte_Neuron2008_supplementalData.mat"
SHORT = [("human face", 1, 1, 1, 1), ("nonhuman bodypart", 0, 0, 1, 1), ("human face", 1, 1, 1, 1),
         ("artificial inanimate", 0, 0, 0, 0)]  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    if not os.environ.get("DATA_MIRROR"):
        pytest.skip("DATA_MIRROR is not set: the real RDMs cannot be read")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPENDIUM_HOME", str(tmp_path_factory.mktemp("objects92")))
        yield *datasets.load("objects92"), artefacts.home()


def pairs(matrix):
    return matrix[..., *np.triu_indices(matrix.shape[-1], 1)]


def correlation(a, b):
    return np.corrcoef(pairs(np.asarray(a)), pairs(np.asarray(b)))[0, 1]


def human(responses):
    return responses["rdm"].sel(roi="human_it").mean(["repeat", "subject"]).values


def monkey(responses):
    return responses["rdm"].sel(subject="monkeys", roi="monkey_it", repeat=0).values


def picture(home, file):
    return stimuli.read(home / "data" / file)


def silhouettes(table, home):
    """1 - correlation of where each picture differs from the grey around it."""
    views = np.stack([picture(home, file) for file in table["file"]]).astype(int)
    shapes = (np.abs(views - views[:, :1, :1]).max(axis=-1) > 8).reshape(len(views), -1)
    return 1 - np.corrcoef(shapes)


@pytest.mark.mirror
def test_the_real_data_keep_the_contract_and_the_counts(loaded):
    responses, table, _ = loaded
    assert responses["rdm"].shape == (2, 5, 2, 92, 92)
    assert responses["model_rdm"].shape == (8, 92, 92)
    assert responses["judgement_rdm"].shape == (16, 92, 92)
    assert responses["subject"].values.tolist() == ["BE", "KO", "SN", "TI", "monkeys"]
    measured = responses["rdm"].notnull().all(["stimulus", "stimulus_2"]).sum(["repeat", "subject"])
    assert measured.to_series().to_dict() == {"human_it": 8, "monkey_it": 1}
    assert table["stimulus"].iloc[[0, -1]].tolist() == ["object01", "object92"]


@pytest.mark.mirror
def test_man_and_monkey_agree_as_published(loaded):
    found = correlation(human(loaded[0]), monkey(loaded[0]))
    assert found == pytest.approx(HUMAN_MONKEY, abs=0.005)
    # Of the supplement's own float64 RDMs; the sessions are float32, rounded at 6e-8 of 1.5.
    assert found == pytest.approx(0.49120979614604926, abs=1e-6)


@pytest.mark.mirror
def test_mean_over_sessions_is_the_people_s_rdm_of_the_supplement(loaded):
    content = matfiles.read(download.mirror(objects92.SOURCE + SUPPLEMENT))
    condensed = {e["name"]: np.ravel(e["RDM"]) for e in np.ravel(content["RDMs_mIT_hIT_fig1"])}
    # float32: half a unit in the last place of a value below 2 is 6e-8, once per session and once in the mean.
    np.testing.assert_allclose(pairs(human(loaded[0])), condensed["hITvisStim_316vx"], rtol=0, atol=2.4e-7)


@pytest.mark.mirror
def test_the_monkeys_among_the_models_are_the_monkeys(loaded):
    np.testing.assert_array_equal(loaded[0]["model_rdm"].sel(model="monkeyIT"), monkey(loaded[0]))


@pytest.mark.mirror
def test_pictures_are_in_the_order_of_the_models(loaded):
    """An RDM computed from the pictures is that of silhouettes; not so with pictures of a category exchanged."""
    responses, table, home = loaded
    own, published = silhouettes(table, home), responses["model_rdm"].sel(model="Silhouette").values
    assert correlation(own, published) > 0.99
    rng = np.random.default_rng(0)
    for _ in range(20):
        order = table.groupby("category", sort=False).sample(frac=1, random_state=rng).index.to_numpy()
        assert correlation(own[np.ix_(order, order)], published) < 0.5


@pytest.mark.mirror
@pytest.mark.parametrize("cortex", [human, monkey])
def test_faces_and_animals_lie_together_as_in_no_other_order(loaded, cortex):
    rdm = cortex(loaded[0])
    rng = np.random.default_rng(0)
    for category in ("face", "animal"):
        of = loaded[1][category].to_numpy()

        def gap(of):
            within = np.concatenate([pairs(rdm[np.ix_(side, side)]) for side in (of, ~of)])
            return rdm[of][:, ~of].mean() - within.mean()

        assert gap(of) > max(gap(rng.permutation(of)) for _ in range(500))


@pytest.mark.mirror
def test_categories_of_the_two_tables_agree(loaded):
    table = loaded[1]
    for ours, theirs in (("animal", "in_animate"), ("human", "in_human"), ("face", "in_face")):
        assert table[ours].tolist() == table[theirs].tolist()
    # Kriegeskorte et al. (2008), figure 1: faces and bodies, 12 each of man and animal; 23 and 21 objects.
    assert table["category"].value_counts().to_dict() == {
        "natural inanimate": 23, "artificial inanimate": 21, "human bodypart": 12, "human face": 12,
        "nonhuman bodypart": 12, "nonhuman face": 12,
    }  # fmt: skip


@pytest.mark.mirror
def test_pictures_are_written_without_loss(loaded):
    content = matfiles.read(download.mirror(objects92.SOURCE + SUPPLEMENT))
    _, table, home = loaded
    for element, file in zip(np.ravel(content["stimuli_92objs"]), table["file"], strict=True):
        np.testing.assert_array_equal(picture(home, file), element["image"])


# Files of the format of the real ones, for machines without them


def structures(rows, shape=None):
    """A MATLAB structure array from a list of dicts, in the given shape."""
    array = np.empty(len(rows), dtype=[(key, object) for key in rows[0]])
    for place, row in enumerate(rows):
        array[place] = tuple(row.values())
    return array.reshape(shape or (1, -1))


def symmetric(rng, n):
    half = np.triu(rng.random((n, n)), 1)
    return half + half.T


def write(name, **variables):
    path = download.raw(objects92.SOURCE + name)
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, variables, do_compression=True)
    return path


def supplement(condensed, elements):
    rng = np.random.default_rng(1)
    objects = [
        {"category": c, **dict(zip(objects92.FLAGS, np.uint8(flags), strict=True)), "image":
         rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)}
        for c, *flags in elements
    ]  # fmt: skip
    labels = np.array([["animate", "inanim"]], dtype=object)
    animal = np.array([flags[3] for flags in elements], dtype=np.uint8)
    write(
        SUPPLEMENT,
        RDMs_mIT_hIT_fig1=structures(
            [
                {"name": "mIT_674neurons", "color": [0, 0, 0], "RDM": condensed[None]},
                {"name": "hITvisStim_316vx", "color": [0, 0, 1], "RDM": condensed[None] / 2},
            ]
        ),
        categoryLabels=labels,
        categoryVectors=np.stack([animal, 1 - animal], 1),
        stimuli_92objs=structures(objects),
    )
    return objects


@pytest.fixture
def files(monkeypatch):
    """Two people, two sessions, stored in another order than by name; four pictures."""
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    rng = np.random.default_rng(0)
    sessions = {
        (s, n): np.float32(symmetric(rng, 4)) for s, n in [("KO", 2), ("BE", 1), ("BE", 2), ("KO", 1)]
    }
    rows = [
        {"RDM": rdm, "name": f"hIT | {s} | Session: {n}", "color": [0, 0, 0]}
        for (s, n), rdm in sessions.items()
    ]
    write(BRAIN, RDMs=structures(rows, (1, 2, 2)))
    kind = np.array([category.split()[-1] for category, *_ in SHORT])
    animal = np.array([flags[3] for flags in SHORT])
    models = {"RADON": symmetric(rng, 4)}
    models["animacy"] = np.uint8(animal[:, None] != animal)
    models["FaceBodyManmadeNatobj"] = np.uint8(kind[:, None] != kind)
    write(MODELS, Models=structures([{"RDM": r, "color": [0, 0, 0], "name": n} for n, r in models.items()]))
    judged = [
        {"RDM": symmetric(rng, 4) / 50, "name": f"simJudge | subject{n}", "color": [0.5, 0, 0]}
        for n in (1, 2)
    ]
    write("92_behavRDMs.mat", rdms_behav_92=structures(judged))
    condensed = np.arange(1.0, 7.0) / 10
    return {
        "sessions": sessions,
        "models": models,
        "condensed": condensed,
        "objects": supplement(condensed, SHORT),
    }


def test_sessions_are_placed_by_name_not_by_position(files):
    responses, _ = objects92.load(artefacts.directory("download", target="objects92"))
    assert responses["subject"].values.tolist() == ["BE", "KO", "monkeys"]
    assert responses["session"].values.tolist() == [1, 2]
    for (subject, number), rdm in files["sessions"].items():
        cell = responses["rdm"].sel(subject=subject, roi="human_it").isel(repeat=number - 1)
        np.testing.assert_array_equal(cell, rdm)
    assert responses["rdm"].sel(roi="human_it", subject="monkeys").isnull().all()
    assert responses["rdm"].sel(roi="monkey_it").isel(repeat=1).isnull().all()


@pytest.mark.usefixtures("files")
def test_the_condensed_rdm_runs_along_the_rows_of_the_upper_triangle():
    responses, _ = objects92.load(artefacts.directory("download", target="objects92"))
    expected = np.array([[0, 1, 2, 3], [1, 0, 4, 5], [2, 4, 0, 6], [3, 5, 6, 0]]) / 10
    np.testing.assert_array_equal(monkey(responses), expected)


def test_pictures_and_their_categories_come_in_the_file_s_order(files):
    _, table = objects92.load(artefacts.directory("download", target="objects92"))
    assert table["category"].tolist() == [category for category, *_ in SHORT]
    assert table["face"].tolist() == [True, False, True, False]
    assert table["in_inanim"].tolist() == [False, False, False, True]
    for element, file in zip(files["objects"], table["file"], strict=True):
        with Image.open(artefacts.home() / "data" / file) as written:
            np.testing.assert_array_equal(np.asarray(written), element["image"])


def test_models_and_observers_keep_their_names(files):
    responses, _ = objects92.load(artefacts.directory("download", target="objects92"))
    assert responses["observer"].values.tolist() == ["subject1", "subject2"]
    for name, rdm in files["models"].items():
        np.testing.assert_array_equal(responses["model_rdm"].sel(model=name), rdm)


def test_pictures_in_another_order_than_rdms_are_an_error(files):
    supplement(files["condensed"], [SHORT[3], *SHORT[:3]])
    with pytest.raises(ValueError, match=r"disagree on categories, first of .*object01"):
        objects92.load(artefacts.directory("download", target="objects92"))


def test_pictures_exchanged_among_animals_are_an_error(files):
    supplement(files["condensed"], [SHORT[1], SHORT[0], *SHORT[2:]])
    with pytest.raises(ValueError, match=r"pictures and the RDM 'FaceBody…' disagree"):
        objects92.load(artefacts.directory("download", target="objects92"))


@pytest.mark.usefixtures("files")
def test_an_unknown_name_of_a_session_is_an_error():
    row = {"RDM": np.zeros((4, 4)), "name": "hIT, BE, Session 1", "color": [0, 0, 0]}
    write(BRAIN, RDMs=structures([row]))
    with pytest.raises(ValueError, match=r"'hIT, BE, Session 1'; 'hIT \| BE \| Session: 1' is expected"):
        objects92.load(artefacts.directory("download", target="objects92"))


@pytest.mark.usefixtures("files")
def test_a_lacking_field_is_an_error():
    write(MODELS, Models=structures([{"rdm": np.zeros((4, 4)), "name": "animacy"}]))
    with pytest.raises(ValueError, match=r"structure Models lacks \['RDM'\]"):
        objects92.load(artefacts.directory("download", target="objects92"))


@pytest.mark.usefixtures("files")
def test_damage_names_the_file():
    path = download.raw(objects92.SOURCE + BRAIN)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"92_brainRDMs\.mat"):
        objects92.load(artefacts.directory("download", target="objects92"))


def test_every_file_has_a_hash_and_a_size():
    table = registry.registry("objects92")
    assert len(table) == 4
    assert table["sha256"].str.fullmatch("[0-9a-f]{64}").all()
    assert table["size"].sum() == 5_144_165
