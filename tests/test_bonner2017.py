"""RDMs of indoor scenes, from archives built as the published ones are."""

import io
import logging
import pickle
import zipfile

import nibabel
import numpy as np
import pytest
import scipy.io
import xarray as xr
from PIL import Image
from scipy.spatial.distance import squareform

from lib import archives, artefacts, contract, datasets, download, scenes, searchlight, unpickle
from lib.datasets import bonner2017

# The label file's order; blanks at the end as there.
LABELS = [
    *(
        "V1v",
        "V1d",
        "V2v",
        "V2d",
        "V3v",
        "V3d",
        "hV4 ",
        "VO1",
        "VO2",
        "PHC1",
        "PHC2",
        "MST",
        "hMT",
        "LO2",
        "LO1",
    ),
    *("V3b", "V3a ", "IPS0", "IPS1", "IPS2", "IPS3", "IPS4", "IPS5", "SPL1", "FEF"),
]
SHOWN = [
    label.strip() for label in LABELS if label not in ("MST", "hMT", "SPL1", "FEF") and label[:3] != "IPS"
]
FILES = {"class_1000": "class_1000_feedforward", "class_places": "class_places_feedforward"}
BLOCKS = {"block4": "encoder_block4", "encoder_output": "encoder_output"}


def rdms(rng, *lead):
    """RDMs over 50 scenes."""
    values = rng.uniform(0, 2, (*lead, 50, 50))
    values = values + values.swapaxes(-1, -2)
    values[..., range(50), range(50)] = 0
    return values


def mat(**variables):
    stream = io.BytesIO()
    scipy.io.savemat(stream, variables)
    return stream.getvalue()


def npy(values):
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def npz(values):
    stream = io.BytesIO()
    np.savez(stream, values)
    return stream.getvalue()


def picture(shade):
    stream = io.BytesIO()
    Image.new("L", (4, 4), shade).save(stream, "PNG")
    return stream.getvalue()


class Release:
    """Both archives, for three subjects and a small brain."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.regions = {label: rdms(rng, 3) for label in LABELS}
        self.networks = {(n, layer): rdms(rng) for n in bonner2017.NETWORKS for layer in bonner2017.LAYERS}
        self.mask = np.zeros((12, 12, 12), np.uint8)
        self.mask[5:9, 5:7, 3:7] = 1
        self.n = len(searchlight.blocks(self.mask)[0])
        self.searchlights = rdms(rng, 3, self.n)
        self.ceilings = (rng.random(self.n), rng.random(self.n))
        self.labels = "roi,id\n" + "".join(f"{label},{i + 1}\n" for i, label in enumerate(LABELS))
        self.photographs = {f"image_{i}.png": picture(i) for i in range(1, 51)}
        self.copies = {f"fmri_{roi}_RDMs.npz": self.named(roi) for roi in SHOWN}

    def named(self, roi):
        return next(values for label, values in self.regions.items() if label.strip() == roi)

    def archive(self):
        """Members of `data.zip`, below `data/`."""
        folder = scenes.SEARCHLIGHTS
        found = {f"kastner_ROIs_RDMs_pearson/{k}.mat": mat(subject_rdm=v) for k, v in self.regions.items()}
        for (network, layer), values in self.networks.items():
            name = f"{FILES.get(network, network)}_{BLOCKS[layer]}.mat"
            found[f"RDM_taskonomy_bonner50/{name}"] = mat(rdm=values)
        image = nibabel.Nifti1Image(self.mask, np.diag([3, 3, 3, 1]))
        found |= {"mask.nii": image.to_bytes(), "ROIfiles_Labeling.txt": self.labels.encode()}
        found |= {f"{folder}/all_sub_slrdms.npy": npy(self.searchlights)}
        return found | {f"{folder}/noise_ceiling.pkl": pickle.dumps(self.ceilings)}

    def package(self):
        """Members of Net2Brain's archive, below `bonner_pnas2017/`."""
        found = {f"stimuli_data/{name}": content for name, content in self.photographs.items()}
        return found | {f"brain_data/{name}": npz(values) for name, values in self.copies.items()}

    def write(self, top="data/"):
        archives._listed.cache_clear()
        junk = {"__MACOSX/data/._mask.nii": b"x", "__MACOSX/data/kastner_ROIs_RDMs_pearson/._V1v.mat": b"x"}
        pack(scenes.ARCHIVE, {f"{top}{k}": v for k, v in self.archive().items()} | junk)
        junk = {"__MACOSX/bonner_pnas2017/stimuli_data/._image_1.png": b"x"}
        live = {"bonner_pnas2017/brain_data_live_study/fmri_PPA_RDMs.npz": b"x"}
        package = {f"bonner_pnas2017/{k}": v for k, v in self.package().items()}
        pack(scenes.PACKAGE, package | live | junk)
        return self


def pack(url, members):
    """A zip where the download would be."""
    path = download.raw(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.fixture
def release(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    monkeypatch.setattr(bonner2017, "COUNTS", bonner2017.COUNTS | {"subjects": 3})
    return Release()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data" / "download" / "bonner2017"


def whole(folder, parts=()):
    """What the plug-in loads, held to the contract."""
    responses, stimuli = bonner2017.load(folder, parts=parts)
    stated = {f: getattr(bonner2017, f.upper()) for f in ("modality", "kind", "licence", "citation")}
    return contract.validate(responses.assign_attrs(target="bonner2017", planted=0, **stated), stimuli)


# What is loaded


def test_regions_come_in_the_label_files_order_without_blanks(release, folder):
    responses, stimuli = whole(folder, release.write() and ())
    assert responses["roi"].values.tolist() == [label.strip() for label in LABELS]
    assert responses["rdm"].shape == (1, 3, 25, 50, 50)
    for label, values in release.regions.items():
        np.testing.assert_array_equal(responses["rdm"].sel(roi=label.strip())[0], values)
    assert stimuli["stimulus"].tolist() == responses["stimulus"].values.tolist()
    assert stimuli["stimulus"].iloc[[0, -1]].tolist() == ["scene01", "scene50"]
    assert (stimuli[["file", "sha256"]] == "").all(axis=None)
    assert "photographs" in responses.attrs["stimuli"]
    assert not folder.exists()


def test_networks_keep_their_layers(release, folder):
    responses, _ = whole(folder, release.write() and ())
    assert responses["taskonomy_rdm"].dims == ("network", "layer", "stimulus", "stimulus_2")
    for (network, layer), values in release.networks.items():
        found = responses["taskonomy_rdm"].sel(network=network, layer=layer)
        np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("top", ["data/", "", "./some/data/"])
def test_the_folder_at_the_top_does_not_matter(release, folder, top):
    xr.testing.assert_identical(
        whole(folder, release.write() and ())[0], whole(folder, release.write(top) and ())[0]
    )


def test_files_may_lack_the_blank_that_the_label_has(release, folder):
    expected = whole(folder, release.write() and ())[0]
    release.regions = {label.strip(): values for label, values in release.regions.items()}
    xr.testing.assert_identical(whole(folder, release.write() and ())[0], expected)


def test_the_label_as_it_is_comes_before_the_label_without_blanks(release, folder):
    release.regions["hV4"] = release.regions["V1v"]
    responses, _ = whole(folder, release.write() and ())
    np.testing.assert_array_equal(responses["rdm"].sel(roi="hV4")[0], release.regions["hV4 "])


def test_photographs_follow_the_natural_order_of_their_names(release, folder):
    responses, stimuli = whole(folder, release.write() and ("photographs",))
    assert stimuli["name"].tolist() == [f"image_{i}.png" for i in range(1, 51)]
    for row in stimuli.itertuples():
        path = artefacts.home() / "data" / row.file
        assert path.read_bytes() == release.photographs[row.name]
        assert path.is_relative_to(folder)
    lacking = responses.attrs["not_in_second_copy"].split(", ")
    assert lacking == [label.strip() for label in LABELS if label.strip() not in SHOWN]
    assert "stimuli" not in responses.attrs


def test_searchlights_are_written_beside(release, folder):
    responses, _ = whole(folder, release.write() and ("searchlight",))
    found = artefacts.load(folder / "searchlights.nc")
    for subject in range(3):
        for s in range(release.n):
            expected = squareform(release.searchlights[subject, s]).astype("f4")
            np.testing.assert_array_equal(found["rdm"][subject, s], expected)
    np.testing.assert_array_equal(found["lower_ceiling"], release.ceilings[0])
    np.testing.assert_array_equal(found["upper_ceiling"], release.ceilings[1])
    assert found["subject"].values.tolist() == responses["subject"].values.tolist()
    places = [0, 48, 49, 1224]
    assert found["stimulus"].values[places].tolist() == ["scene01", "scene01", "scene02", "scene49"]
    assert found["stimulus_2"].values[places].tolist() == ["scene02", "scene50", "scene03", "scene50"]
    mask = nibabel.load(folder / "mask.nii")
    np.testing.assert_array_equal(mask.dataobj, release.mask)
    np.testing.assert_array_equal(mask.affine, np.diag([3, 3, 3, 1]))
    np.testing.assert_array_equal(found["corner"], searchlight.blocks(release.mask)[0])


@pytest.mark.parametrize("kind", [list, lambda c: [list(map(float, v)) for v in c], np.array])
def test_ceilings_may_be_lists_or_arrays(release, folder, kind):
    expected = release.ceilings
    release.ceilings = kind(expected)
    whole(folder, release.write() and ("searchlight",))
    found = artefacts.load(folder / "searchlights.nc")
    np.testing.assert_array_equal([found["lower_ceiling"], found["upper_ceiling"]], expected)


def test_another_number_of_subjects_is_told(release, folder, monkeypatch, caplog):
    monkeypatch.setattr(bonner2017, "COUNTS", bonner2017.COUNTS | {"subjects": 16})
    with caplog.at_level(logging.WARNING):
        responses, _ = whole(folder, release.write() and ())
    assert responses.sizes["subject"] == 3
    assert "3 subjects; 16" in caplog.text


def test_it_comes_through_the_front_door(release, tmp_path, monkeypatch):
    release.write()
    for url in (scenes.ARCHIVE, scenes.PACKAGE):
        mirrored = tmp_path / "mirror" / download.location(url)
        mirrored.parent.mkdir(parents=True)
        download.raw(url).rename(mirrored)
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    responses, stimuli = datasets.load("bonner2017")
    assert not download.raw(scenes.PACKAGE).exists()  # not asked for
    assert responses.attrs["target"] == "bonner2017"
    responses, stimuli = datasets.load("bonner2017", parts=("photographs", "searchlight"))
    assert (stimuli["sha256"] != "").all()
    assert (
        artefacts.load(artefacts.directory("download", target="bonner2017") / "searchlights.nc").sizes["pair"]
        == 1225
    )


# What is refused


def lose(mapping, key):
    del mapping[key]


def grow(mapping, key, amount):
    mapping[key] = mapping[key] + amount * (1 - np.eye(50))


BROKEN = {
    "regions missing": (lambda r: (lose(r.regions, "V1d"), lose(r.regions, "hV4 ")), r"lacks RDMs of .*'V1d', 'hV4'"),
    "subjects differ": (lambda r: r.regions.update(V2v=r.regions["V2v"][:2]), "different numbers of subjects"),
    "region of another size": (lambda r: r.regions.update(V2v=np.zeros((3, 49, 49))), "'subject_rdm' has shape"),
    "label twice": (lambda r: setattr(r, "labels", r.labels + "hV4,26\n"), "names regions not or twice"),
    "labels without header": (lambda r: setattr(r, "labels", "V1v,1\nV1d,2\n"), "none of them roi"),
    "network missing": (lambda r: lose(r.networks, ("random", "block4")), "0 files instead of one for random, block4"),
    "network too small": (lambda r: r.networks.update({("random", "block4"): np.zeros((5, 5))}), "'rdm' has shape"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_fit_is_named(release, folder, case):
    break_it, message = BROKEN[case]
    break_it(release)
    release.write()
    with pytest.raises(ValueError, match=message):
        bonner2017.load(folder)


def test_two_files_of_one_network_are_named(release, folder):
    members = release.archive() | {"RDM_taskonomy_bonner50/old_edge2d_encoder_output.mat": b"x"}
    release.archive = lambda: members
    release.write()
    with pytest.raises(ValueError, match=r"2 files instead of one for edge2d, encoder_output"):
        bonner2017.load(folder)


BROKEN_COPY = {
    "values": (lambda r: grow(r.copies, "fmri_LO2_RDMs.npz", 0.25), "RDMs of LO2 differ .* by up to 0.25"),
    "subjects": (lambda r: r.copies.update({"fmri_LO2_RDMs.npz": r.named("LO2")[:2]}), r"RDMs of LO2 .*\(2, 50, 50\)"),
    "region unknown": (lambda r: r.copies.update({"fmri_V9_RDMs.npz": r.named("V1v")}), "fmri_V9_RDMs.*no region"),
    "region twice": (lambda r: r.copies.update({"V1v.npz": r.named("V1v")}), "V1v.npz .* stands for .'V1v'"),
    "no regions": (lambda r: r.copies.clear(), "nothing like brain_data"),
    "photograph missing": (lambda r: lose(r.photographs, "image_7.png"), "49 photographs in stimuli_data instead"),
    "undefined": (lambda r: grow(r.copies, "fmri_LO2_RDMs.npz", np.nan), "RDMs of LO2 differ"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_COPY)
def test_a_second_copy_that_differs_is_named(release, folder, case):
    break_it, message = BROKEN_COPY[case]
    break_it(release)
    release.write()
    with pytest.raises(ValueError, match=message):
        bonner2017.load(folder, parts=("photographs",))


@pytest.mark.parametrize("content", [b"PK", pickle.dumps([1])])
def test_a_damaged_second_copy_is_named(release, folder, content):
    members = release.package() | {"brain_data/fmri_LO2_RDMs.npz": content}
    release.package = lambda: members
    release.write()
    with pytest.raises(ValueError, match=r"fmri_LO2_RDMs.npz in .* is damaged"):
        bonner2017.load(folder, parts=("photographs",))


def without_block(one):
    one.mask[...] = 0
    one.mask[5, 5, 5] = 1


BROKEN_SEARCHLIGHTS = {
    "mask": (without_block, r"instead of twice \(1,\), as mask.nii"),
    "ceilings": (lambda r: setattr(r, "ceilings", r.ceilings[:1]), "noise_ceiling.pkl holds"),
    "ceilings of another kind": (
        lambda r: setattr(r, "ceilings", {"a": 1, "b": 2}),
        "noise_ceiling.pkl holds",
    ),
    "searchlights": (
        lambda r: setattr(r, "searchlights", r.searchlights[:, 1:]),
        "slrdms.npy in .*: RDMs of shape",
    ),
    "subjects": (
        lambda r: setattr(r, "searchlights", r.searchlights[1:]),
        "slrdms.npy in .*: RDMs of shape .2, ",
    ),
}


@pytest.mark.parametrize("case", BROKEN_SEARCHLIGHTS)
def test_searchlights_that_do_not_fit_are_named(release, folder, case):
    break_it, message = BROKEN_SEARCHLIGHTS[case]
    break_it(release)
    release.write()
    with pytest.raises(ValueError, match=message):
        bonner2017.load(folder, parts=("searchlight",))
    assert not (folder / "searchlights.nc").exists()


@pytest.mark.parametrize(
    "damage", [lambda _: b"no", lambda b: b[:400], lambda b: b[:-100], lambda b: bytes(348) + b[348:]]
)
def test_a_damaged_mask_is_named(release, folder, damage):
    members = release.archive()
    members["mask.nii"] = damage(members["mask.nii"])
    release.archive = lambda: members
    release.write()
    with pytest.raises(ValueError, match=r"mask.nii in .*data.zip.* is damaged"):
        bonner2017.load(folder, parts=("searchlight",))
    assert not list(folder.iterdir())


class Command:
    """What hostile ceilings would be."""

    def __reduce__(self):
        return eval, ("1",)


def test_ceilings_that_would_run_something_are_refused(release, folder):
    release.ceilings = Command()
    release.write()
    with pytest.raises(unpickle.Unsafe, match="eval"):
        bonner2017.load(folder, parts=("searchlight",))


def test_what_lies_outside_the_archive_is_refused(release, folder):
    release.write()
    with zipfile.ZipFile(download.raw(scenes.PACKAGE), "a") as archive:
        archive.writestr("bonner_pnas2017/stimuli_data/../../../../out.png", b"x")
    with pytest.raises(archives.Unsafe):
        bonner2017.load(folder, parts=("photographs",))
