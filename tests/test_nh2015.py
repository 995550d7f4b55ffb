"""Voxels of auditory cortex, from archives built as the published one is, and from the real table of voxels."""

import io
import os
import pickle
import tarfile

import numpy as np
import pandas as pd
import pytest
import scipy.io
import soundset
import xarray as xr

from lib import archives, contract, datasets, download, naturalsounds, soundarchive, soundvoxels, unpickle
from lib.datasets import b2021, nh2015

META = [
    ("subj_idx", "<i8"),
    ("hemi", "S2"),
    ("x_ras", "<i2"),
    ("y_ras", "<i2"),
    ("voxel_id", "<i8"),
    ("n_reps", "<f8"),
]
RECORD = [("file", "S60"), ("number", "<i8"), ("duration", "<f8"), ("rms", "<f8"), ("category", "<U20")]
PUBLISHED = (
    "raw.githubusercontent.com/jenellefeather/model_metamers_pytorch/f89cdad5c355081f97886863ed901fc9b34bce21/"
    "model_analysis_folders/audio_networks/spectemp_filters/regression_results/natsound_activations/"
    "voxelwise_regression_b'avgpool'_randseed3882_zero_center_fmri_activations.pckl"
)  # fmt: skip


# Archives as published


def npy(values):
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=True)
    return stream.getvalue()


def mat(names):
    """`stim_info_v4.mat`: a structure whose field stim_names is a column of cells."""
    cells = np.empty((len(names), 1), object)
    cells[:, 0] = names
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"stim_info": {"cat_assignment": np.ones((len(names), 1)), "stim_names": cells}})
    return stream.getvalue()


def tar(members, prefix=""):
    """Put an archive where the download would be."""
    path = download.raw(soundarchive.URL)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"{prefix}data/neural/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def plain(table):
    """A table with object columns and names, as pandas 1.1 wrote them."""
    table = table.astype({c: object for c in table if table[c].dtype.kind not in "iufb"})
    table.columns = table.columns.astype(object)
    return table


def reliable(rng, n_sounds, n_voxels):
    """Responses (sound, voxel, repetition) that repeat, at a level above zero."""
    common = rng.standard_normal((n_sounds, n_voxels, 1))
    return 2 + common + 0.7 * rng.standard_normal((n_sounds, n_voxels, 3))


def stated(Y, *, squared):
    """Columns of reliability, worked out voxel by voxel from (sound, voxel, repetition)."""
    pearson, kell = [], []
    for v in np.moveaxis(Y, 1, 0):
        pearson.append(np.median([np.corrcoef(v[:, i], v[:, j])[0, 1] for i, j in ((0, 1), (1, 2), (0, 2))]))
        v12, v3 = v[:, :2].mean(1), v[:, 2]
        rest = v12 - (v3 @ v12) / (v3 @ v3) * v3
        ratio = np.linalg.norm(rest) / np.linalg.norm(v12)
        kell.append(1 - ratio**2 if squared else 1 - ratio)
    return {"pearson_r_reliability": pearson, "kell_r_reliability": kell}


class NH2015:
    """Ten voxels of three subjects, of which three were scanned twice only."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.names = rng.permutation(soundset.names()).tolist()
        self.categories = {}  # where they differ from the table of sounds
        self.Y = reliable(rng, 165, 10)
        self.meta = np.zeros(10, META)
        self.meta["subj_idx"] = [0, 0, 0, 0, 2, 2, 2, 9, 9, 9]
        self.meta["hemi"] = [b"rh", b"lh"] * 5
        self.meta["x_ras"], self.meta["y_ras"] = rng.integers(-28, 95, (2, 10))
        self.meta["voxel_id"] = np.sort(rng.choice(293347, 10, replace=False))
        self.meta["n_reps"] = [3, 3, 2, 3, 2, 3, 3, 2, 3, 3]
        self.kept = np.flatnonzero(self.meta["n_reps"] == 3)
        self.Y[:, self.meta["n_reps"] == 2, 2] = np.nan
        table = pd.DataFrame(self.meta[self.kept]).drop(columns="n_reps")
        table["hemi"] = [h.decode() for h in table["hemi"]]
        regions = {"tonotopic": [1, 1, 0, 0, 0, 0, 0], "pitch": [0, 1, 1, 0, 0, 0, 0]}
        regions |= {"music": [0, 0, 0, 0, 1, 0, 0], "speech": [0, 0, 0, 0, 0, 0, 1]}
        table = table.assign(**{name: np.array(v, float) for name, v in regions.items()})
        table = table.assign(**stated(self.Y[:, self.kept], squared=False))
        general = ["Primary", np.nan, "Lateral", "Anterior", np.nan, "Posterior", "Primary"]
        specific = ["A1", np.nan, "A4", "PI", np.nan, "RI", "LBelt"]
        table = table.assign(roi_label_general=general, roi_label_specific=specific)
        self.table = table.iloc[rng.permutation(len(table))]  # in another order, under another index

    def records(self):
        """`neural_stim_meta.npy`."""
        records = np.zeros(165, RECORD)
        records["file"] = [f"{name}.wav".encode() for name in self.names]
        categories = naturalsounds.stimuli().set_index("stimulus")["category"]
        records["category"] = [self.categories.get(name) or categories[name] for name in self.names]
        return records

    def members(self, protocol=4):
        return {
            "NH2015/voxel_features_array.npy": npy(self.Y),
            "NH2015/voxel_features_meta.npy": npy(self.meta),
            "NH2015/neural_stim_meta.npy": npy(self.records()),
            "NH2015/df_roi_meta.pkl": pickle.dumps(plain(self.table), protocol=protocol),
        }


class B2021:
    """Six voxels of two subjects, and 192 sounds that begin with the common ones."""

    def __init__(self, common):
        rng = np.random.default_rng(1)
        self.common = common
        self.names = common.names + [f"stim{900 + i}_music_{i}" for i in range(27)]
        self.Y = np.asfortranarray(reliable(rng, 192, 6))  # it came out of MATLAB
        table = {"subj_idx": [1, 1, 1, 2, 2, 2], "hemi": ["rh", "lh"] * 3, "x_ras": rng.integers(-28, 95, 6)}
        table |= {"y_ras": rng.integers(-67, 63, 6), "voxel_id": np.arange(6)} | stated(self.Y, squared=True)
        table |= {
            "roi_label_general": ["Primary"] + [np.nan] * 5,
            "roi_label_specific": ["A1"] + [np.nan] * 5,
        }
        self.table = pd.DataFrame(table).iloc[::-1]

    def members(self, protocol=4):
        return self.common.members() | {
            "B2021/voxel_features_array.npy": npy(self.Y),
            "B2021/voxel_features_meta.npy": npy(np.arange(6)),
            "B2021/stim_info_v4.mat": mat(self.names),
            "B2021/df_roi_meta.pkl": pickle.dumps(plain(self.table), protocol=protocol),
        }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """165 tiny sounds, written once: their folder of downloads and their SHA-256."""
    place = tmp_path_factory.mktemp("sounds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPENDIUM_HOME", str(place))
        return place / "data" / "raw", soundset.write()


@pytest.fixture
def sounds(tmp_path, monkeypatch, written):
    """165 tiny sounds in place of the real ones."""
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    (tmp_path / "data" / "raw").mkdir(parents=True)
    for host in written[0].iterdir():
        (tmp_path / "data" / "raw" / host.name).symlink_to(host)
    monkeypatch.setattr(naturalsounds, "digests", lambda: written[1])
    return written[1]


@pytest.fixture
def old(sounds, monkeypatch):
    assert len(sounds) == 165
    monkeypatch.setattr(nh2015, "SUBJECTS", {0: 3, 2: 2, 9: 2})
    monkeypatch.setattr(nh2015, "REGIONS", {"tonotopic": 2, "pitch": 2, "music": 1, "speech": 1})
    return NH2015()


@pytest.fixture
def new(old, monkeypatch):
    monkeypatch.setattr(b2021, "COUNTS", b2021.COUNTS | {"voxels": 6, "subjects": 2})
    return B2021(old)


def whole(plugin, name):
    """What a plug-in loads, held to the contract."""
    responses, stimuli = plugin.load(None)
    stated = {f: getattr(plugin, f.upper()) for f in ("modality", "kind", "licence", "citation")}
    return contract.validate(responses.assign_attrs(target=name, planted=0, **stated), stimuli)


# What is loaded


def test_voxels_with_three_scans_keep_their_responses_and_places(old):
    tar(old.members())
    responses, stimuli = whole(nh2015, "nh2015")
    assert responses["response"].shape == (3, 165, 7)
    assert stimuli["stimulus"].tolist() == soundset.names()
    table = old.table.set_index("voxel_id")
    for k in old.kept:
        voxel = responses.sel(voxel=str(old.meta["voxel_id"][k]))
        for i in (0, 7, 164):
            found = voxel["response"].sel(stimulus=old.names[i])
            np.testing.assert_array_equal(found, old.Y[i, k])
        row = table.loc[old.meta["voxel_id"][k]]
        assert voxel["subject"] == f"subject {row['subj_idx']}"
        assert voxel["hemisphere"] == {"rh": "right", "lh": "left"}[row["hemi"]]
        assert (voxel["x"], voxel["y"]) == (row["x_ras"], row["y_ras"])
        assert voxel["roi"] == ("" if pd.isna(row["roi_label_general"]) else row["roi_label_general"])
        assert voxel["roi_specific"] == (
            "" if pd.isna(row["roi_label_specific"]) else row["roi_label_specific"]
        )
        for region in nh2015.REGIONS:
            assert bool(voxel["in_roi"].sel(region=region)) == bool(row[region])
    np.testing.assert_array_equal(responses["train"], naturalsounds.splits(stimuli))


def test_newer_voxels_are_cut_to_the_common_sounds(new):
    tar(new.members())
    responses, stimuli = whole(b2021, "b2021")
    assert responses["response"].shape == (3, 165, 6)
    assert stimuli["stimulus"].tolist() == soundset.names()
    found = responses["response"].sel(stimulus=new.names[:165]).transpose("stimulus", "voxel", "repeat")
    np.testing.assert_array_equal(found, new.Y[:165])
    assert responses["subject"].values.tolist() == ["subject 1"] * 3 + ["subject 2"] * 3
    assert responses["hemisphere"].values.tolist() == ["right", "left"] * 3
    table = new.table.set_index("voxel_id").sort_index()
    assert responses["x"].values.tolist() == table["x_ras"].tolist()
    assert responses["roi"].values.tolist() == ["Primary", *[""] * 5]


VARIANTS = {
    "dot before the names": {"prefix": "./"},
    "old pickle": {"protocol": 2},
    "oldest pickle": {"protocol": 0},
    "records of objects": {"objects": True},
    "hemispheres as bytes": {"hemi": True},
    "rows sorted": {"sort": True},
}


@pytest.mark.parametrize("case", VARIANTS)
def test_variants_of_the_files_give_the_same(new, monkeypatch, case):
    tar(new.members())
    expected = [plugin.load(None)[0] for plugin in (nh2015, b2021)]
    how = VARIANTS[case]
    for one in (new, new.common):
        if how.get("sort"):
            one.table = one.table.sort_values("voxel_id")
        if how.get("hemi"):
            one.table = one.table.assign(hemi=[h.encode() for h in one.table["hemi"]])
    if how.get("objects"):
        objects = np.empty(165, object)
        objects[:] = [tuple(record) for record in new.common.records()]
        monkeypatch.setattr(new.common, "records", lambda: objects)
    archives._listed.cache_clear()
    tar(
        new.common.members(how.get("protocol", 4)) | new.members(how.get("protocol", 4)),
        how.get("prefix", ""),
    )
    for plugin, before in zip((nh2015, b2021), expected, strict=True):
        xr.testing.assert_identical(plugin.load(None)[0], before)


def test_both_come_through_the_front_door(new, sounds, tmp_path, monkeypatch):
    archive = tar(new.members())
    mirrored = tmp_path / "mirror" / download.location(soundarchive.URL)
    mirrored.parent.mkdir(parents=True)
    archive.rename(mirrored)
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    listed = {name: datasets.registry(name) for name in ("nh2015", "b2021")}
    unhashed = {name: table[table["sha256"] == ""] for name, table in listed.items()}
    monkeypatch.setattr(
        datasets, "registry", lambda name, _=(): unhashed[name]
    )  # the sounds are here already
    for name in listed:
        assert len(listed[name]) == 1 + len(sounds) + 2  # also the components and the categories
        assert unhashed[name]["url"].tolist() == [soundarchive.URL]
        responses, _ = datasets.load(name)
        assert responses.attrs["target"] == name


# What is refused


def nudge(one, column, value):
    one.table.loc[one.table.index[0], column] = value


def drop_voxel(one):
    one.table = one.table.iloc[1:]


def foreign_voxel(one):
    one.table = pd.concat([one.table, one.table.iloc[:1].assign(voxel_id=1234567)])


def twin_voxel(one):
    one.table = pd.concat([one.table, one.table.iloc[:1]])


def third_scan(one):
    one.meta["n_reps"] = 3
    one.Y = np.nan_to_num(one.Y)


def rename(one):
    one.categories["stim999_x"], one.names[3] = "Music", "stim999_x"


def swap(one):
    one.Y[:, one.kept] = one.Y[:, one.kept[::-1]]


BROKEN_OLD = {
    "voxel missing": (drop_voxel, "df_roi_meta differ: .* .1 in all"),
    "voxel foreign": (foreign_voxel, "df_roi_meta differ: .1234567."),
    "voxel twice": (twin_voxel, "voxels more than once"),
    "columns in another order": (swap, "stated correlation between repeats: 6 of 7 voxels|6 of 7"),
    "correlation differs": (lambda o: nudge(o, "pearson_r_reliability", 0.1), "1 of 7 voxels: .* not 0.1000"),
    "hemisphere differs": (lambda o: nudge(o, "hemi", "xx"), "hemi in df_roi_meta is not that of"),
    "coordinate differs": (lambda o: nudge(o, "x_ras", 500), "x_ras in df_roi_meta is not that of"),
    "more voxels": (third_scan, r"not the published ones: subject 0 \(4, not 3\), 2 \(3, not 2\), 9"),
    "region differs": (lambda o: nudge(o, "music", 1 - o.table["music"].iloc[0]), "functional regions have"),
    "sound unknown": (rename, "voxels differ: .*'stim999_x'"),
    "sounds too few": (lambda o: setattr(o, "Y", o.Y[:164]), r"\(164, 10, 3\) instead of \(165, 10, 3\)"),
    "no identifiers": (
        lambda o: setattr(o, "table", o.table.drop(columns="voxel_id")),
        "without a column voxel_id",
    ),
}


@pytest.mark.parametrize("case", BROKEN_OLD)
def test_what_does_not_fit_is_named(old, case):
    break_it, message = BROKEN_OLD[case]
    break_it(old)
    tar(old.members())
    with pytest.raises(ValueError, match=message):
        nh2015.load(None)


def reorder(one):
    one.names[:2] = one.names[1::-1]


def fewer_sounds(one):
    one.names, one.Y = one.names[:100], one.Y[:100]


BROKEN_NEW = {
    "order of sounds": (reorder, "does not begin with the 165 common sounds: .*stim"),
    "sounds too few": (fewer_sounds, "does not begin with the 165"),
    "names too few": (lambda o: o.names.pop(), r"\(192, 6, 3\) instead of \(191, 6, 3\)"),
    "voxel missing": (drop_voxel, "df_roi_meta differ"),
    "subject differs": (lambda o: nudge(o, "subj_idx", 7), "'subjects': 3"),
    "correlation differs": (
        lambda o: nudge(o, "pearson_r_reliability", 0.1),
        "1 of 6 voxels: 5 .*not 0.1000",
    ),
    "hemisphere unknown": (lambda o: nudge(o, "hemi", "xx"), r"hemispheres \['xx'\]"),
}


@pytest.mark.parametrize("case", BROKEN_NEW)
def test_what_does_not_fit_the_newer_is_named(new, case):
    break_it, message = BROKEN_NEW[case]
    break_it(new)
    tar(new.members())
    with pytest.raises(ValueError, match=message):
        b2021.load(None)


def test_a_share_that_differs_is_told_but_no_obstacle(new):
    tar(new.members())
    expected = b2021.load(None)[0]
    nudge(new, "kell_r_reliability", 0.25)
    archives._listed.cache_clear()
    tar(new.members())
    with pytest.warns(UserWarning, match=r"shares .* differ: 1 of 6 voxels: 5 \(0\.\d+, not 0\.2500\)"):
        xr.testing.assert_identical(b2021.load(None)[0], expected)


def test_categories_that_differ_are_told_but_no_obstacle(old):
    tar(old.members())
    expected = nh2015.load(None)[0]
    old.categories["stim7_applause"] = "Music"
    archives._listed.cache_clear()
    tar(old.members())
    with pytest.warns(
        UserWarning, match=r"not those of the sounds: 1 of 165 sounds: stim7_applause \(Music, not"
    ):
        xr.testing.assert_identical(nh2015.load(None)[0], expected)


class Command:
    """What a hostile table would hold."""

    def __reduce__(self):
        return eval, ("1",)


def test_a_table_that_would_run_something_is_refused(old):
    tar(old.members() | {"NH2015/df_roi_meta.pkl": pickle.dumps(Command())})
    with pytest.raises(unpickle.Unsafe, match="eval"):
        nh2015.load(None)


def test_an_archive_that_lacks_a_file_or_its_end_is_named(old):
    members = old.members()
    del members["NH2015/df_roi_meta.pkl"]
    tar(members)
    with pytest.raises(ValueError, match=r"data.tar has no member 'data/neural/NH2015/df_roi_meta.pkl'"):
        nh2015.load(None)
    path = tar(old.members())
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(ValueError, match=r"data.tar"):
        nh2015.load(None)


# Reliabilities


@pytest.mark.parametrize("squared", [False, True])
def test_projection_is_a_regression_without_intercept(squared):
    Y = np.moveaxis(reliable(np.random.default_rng(2), 40, 5), 2, 0)
    found = soundvoxels.projection_reliability(Y, squared=squared)
    for k in range(5):
        v = Y[:2, :, k].mean(0)
        rest = np.sqrt(np.linalg.lstsq(Y[2, :, [k]].T, v, rcond=None)[1][0])
        share = rest / np.linalg.norm(v)
        # Both solve in double precision; the problem has one well-conditioned unknown.
        assert found[k] == pytest.approx(1 - share ** (2 if squared else 1), abs=1e-12)


def test_projection_is_complete_for_repeats_that_are_multiples_and_undefined_without_response():
    v = np.random.default_rng(3).standard_normal((40, 1))
    found = soundvoxels.projection_reliability(np.stack([v, 3 * v, -2 * v]))
    assert found == pytest.approx([1], abs=1e-12)
    assert np.isnan(soundvoxels.projection_reliability(np.stack([v, v, 0 * v]))).all()


# The real voxels


@pytest.fixture
def published():
    """The table of the real voxels and their functional regions, as another study has published it."""
    if not os.environ.get("DATA_MIRROR"):
        pytest.skip("DATA_MIRROR is not set: the real table of voxels cannot be read")
    path = os.path.join(os.environ["DATA_MIRROR"], PUBLISHED)
    if not os.path.exists(path):
        pytest.skip("the mirror has no results by voxel")
    found = unpickle.load(path)
    return found["voxel_meta"], found["roi_masks"]


@pytest.mark.mirror
def test_published_counts_are_those_of_the_real_voxels(published):
    meta, masks = published
    assert (meta["n_reps"] == 3).all()
    soundvoxels.check_counts(meta["subj_idx"], nh2015.SUBJECTS)
    assert len(meta) == sum(nh2015.SUBJECTS.values()) == nh2015.COUNTS["voxels"]
    assert len(nh2015.SUBJECTS) == nh2015.COUNTS["subjects"]
    assert (
        dict(zip(masks["mask_names"], masks["masks"].sum(0).astype(int).tolist(), strict=True))
        == nh2015.REGIONS
    )
    assert len(np.unique(meta["voxel_id"])) == len(meta)
    # Hemispheres share no coordinate: on the right x is even and y odd, on the left the reverse.
    right = meta["hemi"] == b"rh"
    assert (right.sum(), (~right).sum()) == (3877, 3817)
    assert ((meta["x_ras"] % 2 == 0) == right).all()
    assert ((meta["y_ras"] % 2 == 1) == right).all()
    assert len(np.unique(meta[["x_ras", "y_ras"]])) == 1945


@pytest.mark.mirror
def test_real_voxels_load_at_full_size(published, tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    meta, masks = published
    one = NH2015()
    rng = np.random.default_rng(4)
    one.Y = reliable(rng, 165, len(meta))
    one.meta = meta
    table = pd.DataFrame(meta).drop(columns="n_reps").assign(hemi=[h.decode() for h in meta["hemi"]])
    table = table.assign(**dict(zip(masks["mask_names"], masks["masks"].T, strict=True)))
    one.table = table.assign(roi_label_general=np.nan, roi_label_specific=np.nan)
    for row in datasets.registry("nh2015").itertuples():
        if row.sha256:
            download.raw(row.url).parent.mkdir(parents=True, exist_ok=True)
            download.raw(row.url).symlink_to(download.mirror(row.url))
    tar(one.members())
    responses, stimuli = whole(nh2015, "nh2015")
    assert responses["response"].shape == (3, 165, 7694)
    assert responses["in_roi"].any("region").sum() == 1312
    assert responses["in_roi"].sel(region=["tonotopic", "pitch"]).all("region").sum() == 86
    assert len(stimuli) == 165
