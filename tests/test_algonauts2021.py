import io
import logging
import pickle
import struct

import numpy as np
import pandas as pd
import pytest
from test_videos import GREY
from test_videos import write as write_clip

from lib import artefacts, datasets, plugins
from lib.datasets import algonauts2021
from lib.download import NotThere

REGIONS = ["V1", "V2", "V3", "V4", "LOC", "EBA", "FFA", "STS", "PPA"]
SUBJECTS = [f"sub{n:02d}" for n in range(1, 11)]


class OldPickler(pickle._Pickler):
    """Writes what Python 2 wrote: text and bytes alike, as byte strings."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_text(self, text):
        content = text if isinstance(text, bytes) else text.encode()
        self.write(b"T" + struct.pack("<i", len(content)) + content)

    dispatch[str] = dispatch[bytes] = save_text


def old_pickle(value):
    stream = io.BytesIO()
    OldPickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")


def published(seed=0):
    """Small numbers of voxels, different for most regions."""
    sizes = np.random.default_rng(seed).integers(1, 4, (10, 9))
    return pd.DataFrame(sizes, SUBJECTS, REGIONS)


def value(subject, region, size):
    """Responses (video, repeat, voxel) that tell where they belong."""
    video, repeat, voxel = np.ogrid[:1000, :3, :size]
    place = 100 * SUBJECTS.index(subject) + 10 * REGIONS.index(region)
    return 10_000.0 * repeat + 2.0**-10 * video + place + voxel


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """All files of the mini track below $DATA_MIRROR."""
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(algonauts2021, "_published", published)
    for subject, sizes in published().iterrows():
        for region, size in sizes.items():
            put(
                tmp_path / "mirror", f"mini_track/{subject}/{region}", {"train": value(subject, region, size)}
            )
    return tmp_path / "mirror"


def put(mirror, name, content):
    path = mirror / algonauts2021.FMRI / f"{name}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else old_pickle(content))


def test_responses_are_where_they_belong(mirror):
    assert mirror
    responses, _ = datasets.load("algonauts2021")
    assert responses["response"].dims == ("repeat", "stimulus", "voxel")
    assert responses["stimulus"].values[[0, -1]].tolist() == ["0001", "1000"]
    for subject, sizes in published().iterrows():
        for region, size in sizes.items():
            chosen = (responses["subject"] == subject) & (responses["roi"] == region)
            found = responses["response"].sel(voxel=chosen).values
            np.testing.assert_array_equal(found, value(subject, region, size).swapaxes(0, 1))
    assert responses.sizes["voxel"] == published().to_numpy().sum()


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickles_of_later_versions_are_read_alike(mirror, protocol):
    before, _ = datasets.load("algonauts2021")
    (artefacts.home() / "data" / "locked.csv").unlink()
    size = published().loc["sub03", "LOC"]
    content = pickle.dumps({"train": value("sub03", "LOC", size)}, protocol=protocol)
    put(mirror, "mini_track/sub03/LOC", content)
    after, _ = datasets.load("algonauts2021")
    assert after.identical(before)


def test_the_memory_is_said_before(mirror, caplog):
    assert mirror
    with caplog.at_level(logging.INFO, "lib.datasets.algonauts2021"):
        datasets.load("algonauts2021")
    assert f"responses (3, 1000, {published().to_numpy().sum()}) will take 0.00 GB" in caplog.text


# Published numbers


def test_the_public_split_is_the_first():
    # Check values of the published code's own draw (legacy generator, seed 400).
    table = algonauts2021._beside("folds")
    public = table["video"][table["fold"] == 0].tolist()
    assert public[:10] == [862, 699, 350, 243, 896, 738, 496, 1, 871, 926]
    assert public[-5:] == [34, 465, 560, 4, 102]
    assert (len(public), sum(public), min(public), max(public)) == (100, 52797, 1, 998)
    train = algonauts2021._train([f"{n:04d}" for n in range(1, 1001)])
    assert np.flatnonzero(~train[0]).tolist() == sorted(public)


def test_each_video_is_tested_once():
    train = algonauts2021._train([f"{n:04d}" for n in range(1, 1001)])
    assert train.shape == (10, 1000)
    assert (~train).sum(axis=1).tolist() == [100] * 10
    assert (~train).sum(axis=0).tolist() == [1] * 1000


def test_the_folds_are_what_the_legacy_generator_draws():
    table = algonauts2021._beside("folds")
    drawn = np.random.RandomState(400).permutation(1000)
    assert table["video"].tolist() == drawn.tolist()
    assert table["fold"].tolist() == np.repeat(np.arange(10), 100).tolist()


def test_voxel_counts_are_the_published_ones():
    # Development kit of the challenge.
    table = algonauts2021._published()
    assert table.index.tolist() == SUBJECTS
    assert table.columns.tolist() == REGIONS == list(algonauts2021.REGIONS)
    assert table.loc["sub01"].tolist() == [232, 231, 261, 107, 1843, 351, 68, 341, 425]
    assert table.loc["sub10"].tolist() == [238, 249, 188, 60, 1034, 162, 69, 120, 165]
    counts = plugins.about("target", "algonauts2021")["COUNTS"]
    assert table.to_numpy().sum() == counts["voxels"]
    assert (len(table), len(table.columns)) == (counts["subjects"], counts["rois"])


# What is wrong is said


def test_without_files_it_says_where_to_ask(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    with pytest.raises(
        NotThere, match=r"90 of 90 files .*mini_track/sub01/V1\.pkl.*algonauts\.csail\.mit\.edu"
    ):
        datasets.load("algonauts2021")


def with_gap(size):
    gap = value("sub02", "V1", size)
    gap[5, 2, 0] = np.nan
    return {"train": gap}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda n: {"train": value("sub02", "V1", n + 1)}, r"V1\.pkl: train is float64 \(1000, 3, \d\) instead of"),
        (lambda n: {"train": value("sub02", "V1", n).swapaxes(0, 1)}, r"train is float64 \(3, 1000, "),
        (lambda n: {"train": value("sub02", "V1", n)[:900]}, r"train is float64 \(900, 3, "),
        (lambda n: {"train": value("sub02", "V1", n).astype(int)}, r"train is int64 "),
        (with_gap, r"V1\.pkl: train has values that are not finite, the first at \[5, 2, 0\]"),
        (lambda n: {"test": value("sub02", "V1", n)}, r"V1\.pkl holds \['test'\], not a dict with key 'train'"),
        (lambda n: value("sub02", "V1", n), r"V1\.pkl holds ndarray, not a dict"),
        (lambda n: old_pickle({"train": value("sub02", "V1", n)})[:-3000], r"V1\.pkl"),
        (lambda _: b"cos\nsystem\n(S'echo harm'\ntR.", r"V1\.pkl.*system"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(mirror, content, message):
    put(mirror, "mini_track/sub02/V1", content(published().loc["sub02", "V1"]))
    with pytest.raises(ValueError, match=message):
        datasets.load("algonauts2021")


# Videos


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "home/data/raw" / algonauts2021.VIDEOS
    folder.mkdir(parents=True)
    for n in range(1, 1103):
        (folder / f"{n:04d}_0-{n % 7}-1-clip.mp4").write_text(f"clip {n}")
    return folder


def test_videos_are_used_if_they_are_there(mirror, clips):
    assert mirror
    responses, stimuli = datasets.load("algonauts2021")
    assert "stimuli" not in responses.attrs
    assert stimuli["stimulus"].tolist() == responses["stimulus"].values.tolist()
    assert stimuli["file"].iloc[41] == f"raw/{algonauts2021.VIDEOS}/0042_0-0-1-clip.mp4"
    assert (clips / "0042_0-0-1-clip.mp4").read_text() == "clip 42"


def test_without_the_videos_it_says_where_to_ask(mirror):
    assert mirror
    responses, stimuli = datasets.load("algonauts2021")
    assert set(stimuli["file"]) == set(stimuli["sha256"]) == {""}
    assert stimuli["stimulus"].tolist() == responses["stimulus"].values.tolist()
    assert "algonauts.csail.mit.edu" in responses.attrs["stimuli"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "0042_0-0-1-clip.mp4").unlink(), r"where 0042 belongs there is .*/0043_"),
        (lambda f: (f / "0042_again.mp4").write_text("x"), r"where 0043 belongs there is .*/0042_again"),
        (lambda f: [p.unlink() for p in f.glob("0[5-9]*")], r"where 0500 belongs there is .*/1000_"),
        (lambda f: [p.unlink() for p in f.glob("[01][5-9]*")] + [p.unlink() for p in f.glob("1*")],
         r"where 0500 belongs there is nothing more"),
    ],
)  # fmt: skip
def test_a_video_too_many_or_too_few_is_named(mirror, clips, change, message):
    assert mirror
    change(clips)
    with pytest.raises(ValueError, match=message):
        datasets.load("algonauts2021")


def test_frames_are_every_fourth(tmp_path):
    found = algonauts2021.frames(write_clip(tmp_path / "a.mp4", GREY))
    # Shades are 8 apart; a lossy codec and a matrix of colours may move them by less than half of that.
    assert np.abs(found.mean(axis=(1, 2, 3)) - GREY[3::4]).max() < 4


# The full track


def whole_brain(n_voxels, seed):
    """A subject's file: responses, and a mask with as many voxels."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((78, 93, 71))
    mask.flat[np.sort(rng.choice(mask.size, n_voxels, replace=False))] = 1
    mask.flat[0] = 2  # what is not 1 does not count
    return {"train": rng.normal(size=(1000, 3, n_voxels)).astype("f4"), "voxel_mask": mask}


def test_whole_brains_are_stored_with_their_places(mirror):
    contents = {subject: whole_brain(4, n) for n, subject in enumerate(SUBJECTS)}
    for subject, content in contents.items():
        put(mirror, f"full_track/{subject}/WB", content)
    datasets.load("algonauts2021", parts=("whole_brain",))
    folder = artefacts.directory("download", target="algonauts2021") / "whole_brain"
    for subject, content in contents.items():
        found = artefacts.load(folder / f"{subject}.nc")
        np.testing.assert_array_equal(found["response"].values, content["train"].swapaxes(0, 1))
        assert found["response"].dtype == np.float32
        for n, voxel in enumerate(np.argwhere(content["voxel_mask"] == 1)):
            expected = np.array([-96.5, -132.5, -78.5]) + voxel * [2.5, 2.5, 2.75]
            np.testing.assert_allclose([found[a].values[n] for a in "xyz"], expected, rtol=0, atol=1e-12)
            assert found["voxel"].values[n] == f"{subject}-{voxel[0]:02d}-{voxel[1]:02d}-{voxel[2]:02d}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["voxel_mask"].fill(0), r"train is float32 \(1000, 3, 4\) instead of numbers \(1000, 3, 0\)"),
        (lambda c: c.pop("voxel_mask"), r"WB\.pkl lacks voxel_mask"),
        (lambda c: c.update(voxel_mask=c["voxel_mask"].ravel()), r"voxel_mask has 1 axes instead of 3"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_whole_brain_is_said(mirror, change, message):
    content = whole_brain(4, 0)
    change(content)
    for subject in SUBJECTS:
        put(mirror, f"full_track/{subject}/WB", content)
    with pytest.raises(ValueError, match=message):
        datasets.load("algonauts2021", parts=("whole_brain",))
