import hashlib
import logging

import numpy as np
import pytest
from test_bdata import write

from lib import artefacts, datasets, plugins
from lib.datasets import deeprecon
from lib.download import NotThere, location
from lib.registry import registry

HOST = "ndownloader.figshare.com"
TRAINING = [
    *("n03_100", "n03_20"),  # as text, 100 comes before 20
    *("n01_5", "n01_7", "n02_1", "n02_2"),
]
TEST = ["n09_2", "n09_1", "n08_1"]
REGIONS = ("V1", "V2", "V3", "V4", "HVC")
WIDTHS = {"sub-01": 9, "sub-02": 7, "sub-03": 8}
REPEATS = {"Training": 5, "Test": 24}


def session(names, n_repeats, n_voxels, seed):
    """Samples and metadata of a session in a random order; the sample says which presentation it is."""
    rng = np.random.default_rng(seed)
    shown = rng.permutation(np.repeat(names, n_repeats))
    ranks = np.searchsorted(sorted(names), shown)
    count = {name: iter(range(n_repeats)) for name in names}
    repeats = np.array([next(count[name]) for name in shown])
    samples = np.empty((len(shown), n_voxels + 4))
    # Voxel v at repeat r of image number i: 1000 r + 10 i + v / 10, so any cell names where it belongs.
    samples[:, :n_voxels] = (1000 * repeats + 10 * (ranks + 1))[:, None] + np.arange(n_voxels) / 10
    samples[:, n_voxels:] = np.stack([np.arange(len(shown)) // 4, repeats, ranks + 1, 0.5 + ranks], 1)

    def row(columns, value=1.0):
        values = np.full(samples.shape[1], np.nan)
        values[list(columns)] = value
        return values

    members = {
        "VoxelData": row(range(n_voxels)),
        "Session": row([n_voxels]),
        "Run": row([n_voxels + 1]),
        "image_index": row([n_voxels + 2]),
        "stimulus_name": row([n_voxels + 3]),
        # The first voxel is in none; V2 shares one with V1.
        **{
            f"ROI_{region}": row([1 + k, 1 + max(k - (region == "V2"), 0)])
            for k, region in enumerate(REGIONS)
        },
        **{f"voxel_{a}": row(range(n_voxels), np.arange(n_voxels) + k) for k, a in enumerate("xyz")},
    }
    codes = {0.5 + i: name for i, name in enumerate(sorted(names))}
    return samples, members, {"stimulus_name": codes}


@pytest.fixture(autouse=True)
def mirror(tmp_path, monkeypatch):
    """All six files where the registry's addresses are mirrored."""
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(deeprecon, "STIMULI", {"Training": len(TRAINING), "Test": len(TEST)})
    (tmp_path / "mirror" / HOST / "files").mkdir(parents=True)
    for k, (subject, width) in enumerate(WIDTHS.items()):
        for kind, names in (("Training", TRAINING), ("Test", TEST)):
            put(tmp_path / "mirror", subject, kind, session(names, REPEATS[kind], width, [k, len(names)]))
    return tmp_path / "mirror"


def put(mirror, subject, kind, content):
    samples, members, names = content
    path = mirror / HOST / "files" / deeprecon.FILES[subject][kind]
    path.unlink(missing_ok=True)
    write(path, samples, members, names=names)


def test_each_presentation_is_where_it_belongs():
    responses, _ = datasets.load("deeprecon")
    assert responses["stimulus"].values.tolist() == sorted(TRAINING)
    assert responses["test_stimulus"].values.tolist() == sorted(TEST)
    column = np.array([int(v.split("-")[2]) for v in responses["voxel"].values.tolist()])
    for name, repeat, stimulus in (
        ("response", "repeat", "stimulus"),
        ("test_response", "test_repeat", "test_stimulus"),
    ):
        r, i = np.arange(responses.sizes[repeat]), 1 + np.arange(responses.sizes[stimulus])
        expected = 1000.0 * r[:, None, None] + 10 * i[:, None] + column / 10
        np.testing.assert_array_equal(responses[name].values, expected)
    assert responses["response"].shape == (5, 6, 15)
    assert responses["test_response"].shape == (24, 3, 15)


def test_voxels_of_all_regions_and_no_others_are_kept():
    responses, _ = datasets.load("deeprecon")
    first = responses.sel(voxel=responses["subject"] == "sub-01")
    # V1 holds columns 1; V2 columns 1 and 2; V3 3; V4 4; HVC 5.
    assert first["voxel"].values.tolist() == [f"sub-01-0000{n}" for n in (1, 2, 3, 4, 5)]
    assert first["roi"].values.tolist() == ["V1", "V2", "V3", "V4", "HVC"]
    assert first["region"].values.tolist() == list(REGIONS)
    expected = np.eye(5, dtype=bool)
    expected[1, 0] = True
    np.testing.assert_array_equal(first["in_roi"].values, expected)


def test_coordinates_are_those_of_the_file():
    responses, _ = datasets.load("deeprecon")
    column = [float(v.split("-")[2]) for v in responses["voxel"].values.tolist()]
    for k, axis in enumerate("xyz"):
        np.testing.assert_array_equal(responses[axis].values, np.array(column) + k)
        assert responses[axis].attrs["units"] == "mm"
        assert responses[axis].attrs["shared"] == 0


def test_the_published_rows_can_be_had():
    # 6000 single presentations to fit, and the mean of 24 to test.
    responses, _ = datasets.load("deeprecon")
    rows = responses["response"].stack(sample=("repeat", "stimulus")).transpose("sample", "voxel")
    assert rows.shape == (30, 15)
    mean = responses["test_response"].mean("test_repeat").values
    column = np.array([int(v.split("-")[2]) for v in responses["voxel"].values.tolist()])
    np.testing.assert_allclose(mean, 11500 + 10 * np.arange(1, 4)[:, None] + column / 10, rtol=1e-12)


def test_splits_keep_categories_together():
    responses, stimuli = datasets.load("deeprecon")
    assert stimuli["group"].tolist() == ["n01", "n01", "n02", "n02", "n03", "n03", "n08", "n09", "n09"]
    train = responses["train"].to_pandas().T
    assert train.shape == (6, 10)
    groups = stimuli["group"].to_numpy()[:6]
    assert (train.groupby(groups).nunique() == 1).all(axis=None)
    assert set(train.sum()) == {4}


def test_without_the_images_it_says_where_to_ask():
    responses, stimuli = datasets.load("deeprecon")
    assert set(stimuli["file"]) == {""}
    assert "https://forms.gle/ujvA34948Xg49jdn9" in responses.attrs["stimuli"]


def images(folder, names):
    (folder / deeprecon.IMAGES).mkdir(parents=True)
    for name in names:
        (folder / deeprecon.IMAGES / f"{name}.JPEG").write_text(name)


@pytest.mark.parametrize("where", ["home/data/raw", "mirror"])
def test_images_are_used_if_they_are_there(tmp_path, where):
    images(tmp_path / where, TRAINING + TEST)
    responses, stimuli = datasets.load("deeprecon")
    assert "stimuli" not in responses.attrs
    assert stimuli["stimulus"].tolist() == sorted(TRAINING) + sorted(TEST)
    assert stimuli["file"].tolist() == [f"raw/deeprecon/stimuli/{n}.JPEG" for n in stimuli["stimulus"]]
    assert stimuli["sha256"].tolist() == [hashlib.sha256(n.encode()).hexdigest() for n in stimuli["stimulus"]]


def test_some_of_the_images_are_not_enough(tmp_path):
    images(tmp_path / "home/data/raw", TRAINING)
    with pytest.raises(NotThere, match=r"3 of 9 files are not here: .*n08_1\.JPEG.*forms\.gle"):
        datasets.load("deeprecon")


# What is wrong with a file is said


def without_a_row(content):
    samples, members, names = content
    return samples[1:], members, names


def renumbered(content):
    samples, members, names = content
    samples = samples.copy()
    samples[samples[:, -2] == 2, -2] = 3
    return samples, members, names


def renamed(content):
    samples, members, names = content
    return (
        samples,
        members,
        {"stimulus_name": {k: v.replace("n03", "n04") for k, v in names["stimulus_name"].items()}},
    )


def unnamed(content):
    samples, members, names = content
    samples = samples.copy()
    samples[3, -1] = np.nan
    return samples, members, names


def moved(content):
    samples, members, names = content
    return samples, members | {"voxel_y": members["voxel_y"] + 1}, names


def regrouped(content):
    samples, members, names = content
    return samples, members | {"ROI_V1": members["ROI_V3"]}, names


def unmeasured(content):
    samples, members, names = content
    samples = samples.copy()
    samples[7, 4] = np.nan
    return samples, members, names


def other_flags(content):
    samples, members, names = content
    return samples, {key.replace("ROI_V4", "ROI_hV4"): row for key, row in members.items()}, names


def blind(content):
    samples, members, names = content
    none = np.full(samples.shape[1], np.nan)
    return samples, {key: none if "ROI" in key else row for key, row in members.items()}, names


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("Training", without_a_row, r"33900899 holds 6 images instead of 6; 1 of them not 5 times, .* 4 times"),
        ("Test", without_a_row, r"33900896 holds 3 images instead of 3; 1 of them not 24 times"),
        ("Training", unnamed, r"7 images instead of 6; 2 of them not 5 times, such as n/a 1 times"),
        ("Training", renumbered, r"image_index of n01_7 is 3 \(row \d+\), but by its name it is number 2; 5 rows"),
        ("Training", renamed, r"33900899 and the first .* different images: \['n03_100', 'n03_20', 'n04_100'\]"),
        ("Test", moved, r"training and test file of sub-02 disagree on voxels: \['y'\]"),
        ("Test", regrouped, r"sub-02 disagree on voxels: .*'V1'"),
        ("Training", unmeasured, r"33900899: .* cells that are NaN: row 7 column 4$"),
        ("Training", other_flags, r"unknown key of 33900899 'ROI_V4'; did you mean .*ROI_hV4"),
        ("Training", blind, r"33900899 has no voxel in any of"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(mirror, kind, change, message):
    names = {"Training": TRAINING, "Test": TEST}[kind]
    put(mirror, "sub-02", kind, change(session(names, REPEATS[kind], 7, [1, len(names)])))
    with pytest.raises(ValueError, match=message):
        datasets.load("deeprecon")


def test_the_memory_is_said_before(caplog):
    with caplog.at_level(logging.INFO, "lib.datasets.deeprecon"):
        datasets.load("deeprecon")
    assert "responses (5, 6, 15) and (24, 3, 15) will take 0.00 + 0.00 = 0.00 GB" in caplog.text


def test_files_without_places_have_no_coordinates(mirror):
    for k, (subject, width) in enumerate(WIDTHS.items()):
        for kind, names in (("Training", TRAINING), ("Test", TEST)):
            samples, members, codes = session(names, REPEATS[kind], width, [k, len(names)])
            members = {key: row for key, row in members.items() if key != "voxel_z"}
            put(mirror, subject, kind, (samples, members, codes))
    responses, _ = datasets.load("deeprecon")
    assert not {"x", "y", "z"} & set(responses.variables)


# Released accuracies


def test_released_accuracies_are_stored_by_network(mirror):
    from test_hierarchy_release import accuracies

    for direction, url in deeprecon.ACCURACIES.items():
        path = mirror / location(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        accuracies(path, direction)
    datasets.load("deeprecon", parts=("accuracies",))
    folder = artefacts.directory("download", target="deeprecon")
    decoding = artefacts.load(folder / "decoding" / "caffe" / "AlexNet.nc")["accuracy"]
    assert decoding.dims == ("subject", "roi", "unit")
    encoding = artefacts.load(folder / "encoding" / "pytorch" / "CORnet_Z.nc")["accuracy"]
    assert encoding.dims == ("layer", "voxel")


def test_the_registry_is_that_of_the_release():
    table = registry("deeprecon", ("accuracies", "features"))
    assert len(table) == 14
    assert (table["part"].value_counts().to_dict()) == {"": 6, "features": 6, "accuracies": 2}
    fmri = {str(deeprecon._path(s, k))[-8:] for s, kinds in deeprecon.FILES.items() for k in kinds}
    assert fmri == set(table["url"][table["part"] == ""].str[-8:])
    assert set(deeprecon.ACCURACIES.values()) == set(table["url"][table["part"] == "accuracies"])
    # the announced 2.4 and 6.8 GB, in shares; 0.35 GB of accuracies
    sizes = table.groupby("part")["size"].sum() / 1e9
    assert sizes.to_dict() == pytest.approx({"": 2.4, "features": 6.8, "accuracies": 0.35258}, abs=0.001)


def test_the_constants_are_those_of_the_paper():
    # Shen et al. (2019): 1200 training images five times, 50 test images 24 times, three subjects.
    stated = plugins.about("target", "deeprecon")
    assert stated["STIMULI"] == {"Training": 1200, "Test": 50}
    assert stated["REPEATS"] == {"Training": 5, "Test": 24}
    assert stated["COUNTS"] == {"stimuli": 1250, "voxels": None, "subjects": 3, "rois": 5, "repeats": 5}
