import io
import zipfile

import h5py
import numpy as np
import pytest
import scipy.io
import xarray as xr

from lib import artefacts, hierarchy_release

SUBJECTS = ["sub-01", "sub-02", "sub-03"]
REGIONS = ["V1", "V2", "V3", "V4", "HVC"]
UNITS = {"conv1_abs": 4, "fire2:concat": 3, "fc8": 2}
VOXELS = {"V1": 3, "V2": 2, "V3": 4, "V4": 1, "HVC": 5}
NETWORKS = ["caffe/AlexNet", "pytorch/CORnet_Z"]
IMAGES = ["n02_1", "n01_20", "n01_100"]


def mat5(name, value):
    """A `.mat` file of version 5."""
    stream = io.BytesIO()
    scipy.io.savemat(stream, {name: value})
    return stream.getvalue()


def mat73(name, value):
    """A `.mat` file of version 7.3 as hdf5storage writes it: 512 bytes of header, axes reversed."""
    stream = io.BytesIO()
    with h5py.File(stream, "w", userblock_size=512) as file:
        file[name] = value.T
        file[name].attrs["MATLAB_class"] = np.bytes_(
            {"float32": "single", "float64": "double"}[str(value.dtype)]
        )
        file[name].attrs["Python.Shape"] = np.array(value.shape, np.uint64)
    header = b"MATLAB 7.3 MAT-file, Platform: CPython".ljust(116) + bytes(8) + b"\x00\x02IM"
    return header.ljust(512, b"\0") + stream.getvalue()[512:]


def write(path, files):
    """A zip, or a folder, of files by name."""
    if path.name == "release":
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
        return path
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def value(direction, network, layer, subject, roi):
    """Accuracies that tell where they belong."""
    size = UNITS[layer] if direction == "decoding" else VOXELS[roi] + SUBJECTS.index(subject)
    place = [NETWORKS.index(network), [*UNITS].index(layer), SUBJECTS.index(subject), REGIONS.index(roi)]
    return np.float32(np.dot([0.5, 0.1, 0.02, 0.004], place) + 0.0001 * np.arange(size))[None]


def accuracy_files(direction):
    return {
        f"{direction}_accuracy/ImageNetTest/{network}/{layer}/{subject}/{roi}/accuracy.mat": mat73(
            "accuracy", value(direction, network, layer, subject, roi)
        )
        for network in NETWORKS for layer in UNITS for subject in SUBJECTS for roi in REGIONS
    }  # fmt: skip


def accuracies(path, direction):
    """A release of accuracies, as the published zips are laid out."""
    return write(path, accuracy_files(direction))


@pytest.fixture(params=["zip", "folder"])
def place(tmp_path, request):
    return tmp_path / ("release.zip" if request.param == "zip" else "release")


def test_decoding_accuracies_are_where_they_belong(place):
    accuracies(place, "decoding")
    assert hierarchy_release.networks(place) == NETWORKS
    for network in NETWORKS:
        found = hierarchy_release.decoding_accuracies(place, network)
        assert found.dims == ("subject", "roi", "unit")
        assert found.dtype == np.float32
        assert found["subject"].values.tolist() == SUBJECTS
        assert found["roi"].values.tolist() == REGIONS
        assert found.indexes["unit"].is_unique
        for subject in SUBJECTS:
            for roi in REGIONS:
                for layer in UNITS:
                    part = found.sel(subject=subject, roi=roi, unit=found["layer"] == layer)
                    expected = value("decoding", network, layer, subject, roi)[0]
                    np.testing.assert_array_equal(part.values, expected)


def test_encoding_accuracies_are_where_they_belong(place):
    accuracies(place, "encoding")
    found = hierarchy_release.encoding_accuracies(place, "caffe/AlexNet")
    assert found.dims == ("layer", "voxel")
    assert sorted(found["layer"].values.tolist()) == sorted(UNITS)
    assert found.indexes["voxel"].is_unique
    for subject in SUBJECTS:
        for roi in REGIONS:
            chosen = (found["subject"] == subject) & (found["roi"] == roi)
            for layer in UNITS:
                expected = value("encoding", "caffe/AlexNet", layer, subject, roi)[0]
                np.testing.assert_array_equal(found.sel(layer=layer, voxel=chosen).values, expected)


def test_undefined_accuracies_stay_undefined(place):
    files = accuracy_files("decoding")
    name = "decoding_accuracy/ImageNetTest/caffe/AlexNet/fc8/sub-02/V4/accuracy.mat"
    files[name] = mat73("accuracy", np.array([[np.nan, 0.5]], np.float32))
    found = hierarchy_release.decoding_accuracies(write(place, files), "caffe/AlexNet")
    assert int(found.isnull().sum()) == 1
    assert np.isnan(found.sel(subject="sub-02", roi="V4", unit="fc8/0000"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files, name: files.pop(name), r"lacks 1 accuracies, such as sub-02/V4/fc8$"),
        (
            lambda files, name: files.update({name: mat73("accuracy", np.zeros((1, 3)))}),
            r"AlexNet fc8 has 3 units in sub-02 V4, 2 elsewhere",
        ),
        (
            lambda files, name: files.update({name: mat73("accuracy", np.zeros((2, 1)))}),
            r"has shape \(2, 1\) instead of \(1, any\)",
        ),
        (lambda files, name: files.update({name: mat73("accurate", np.zeros((1, 2)))}), r"no variable 'accuracy'"),
        (lambda files, name: files.update({name: files[name][:900]}), r"sub-02/V4/accuracy\.mat.*truncated"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_release_is_said(place, change, message):
    files = accuracy_files("decoding")
    change(files, "decoding_accuracy/ImageNetTest/caffe/AlexNet/fc8/sub-02/V4/accuracy.mat")
    with pytest.raises(ValueError, match=message):
        hierarchy_release.decoding_accuracies(write(place, files), "caffe/AlexNet")


def test_encoding_needs_the_same_voxels_at_all_layers(place):
    files = accuracy_files("encoding")
    name = "encoding_accuracy/ImageNetTest/caffe/AlexNet/fc8/sub-02/V4/accuracy.mat"
    files[name] = mat73("accuracy", np.zeros((1, 7), np.float32))
    with pytest.raises(ValueError, match=r"AlexNet \S+ has \d voxels in sub-02 V4, \d at other layers"):
        hierarchy_release.encoding_accuracies(write(place, files), "caffe/AlexNet")


def test_an_unknown_network_is_met_with_the_nearest(place):
    accuracies(place, "decoding")
    with pytest.raises(ValueError, match=r"'caffe/Alexnet'.*did you mean .*caffe/AlexNet"):
        hierarchy_release.decoding_accuracies(place, "caffe/Alexnet")


def test_all_networks_are_stored(tmp_path):
    source = accuracies(tmp_path / "a.zip", "encoding")
    hierarchy_release.store(source, tmp_path / "out", direction="encoding")
    for network in NETWORKS:
        stored = artefacts.load(tmp_path / "out" / f"{network}.nc")["accuracy"]
        xr.testing.assert_identical(stored, hierarchy_release.encoding_accuracies(source, network))
    with pytest.raises(ValueError, match=r"direction 'coding'.*did you mean"):
        hierarchy_release.store(source, tmp_path / "out", direction="coding")
    empty = write(tmp_path / "b.zip", {"readme.txt": b""})
    with pytest.raises(ValueError, match=r"b\.zip holds no file like"):
        hierarchy_release.store(empty, tmp_path / "out", direction="encoding")


# Features


def feature_files(writer, shape=(4,)):
    rng = np.random.default_rng(0)
    values = {layer: rng.normal(size=(3, 1, *shape)).astype("f4") for layer in ("conv1_abs", "fire2:concat")}
    return values, {
        f"features/ImageNetTraining/caffe/SqueeseNet/{layer}/{image}.mat": writer("feat", values[layer][i])
        for layer in values for i, image in enumerate(IMAGES)
    }  # fmt: skip


@pytest.mark.parametrize("writer", [mat5, mat73])
@pytest.mark.parametrize("shape", [(4,), (2, 3, 5)])
def test_features_are_joined_by_image(place, writer, shape):
    values, files = feature_files(writer, shape)
    write(place, files)
    for layer in ("fire2:concat", "fire2/concat"):
        found = hierarchy_release.features(place, "caffe/SqueeseNet", layer)
        assert found.dims == ("stimulus", "unit")
        assert found.dtype == np.float32
        # sorted as text: 100 before 20
        assert found["stimulus"].values.tolist() == ["n01_100", "n01_20", "n02_1"]
        for i, image in enumerate(IMAGES):
            expected = values["fire2:concat"][i].reshape(-1)
            np.testing.assert_array_equal(found.sel(stimulus=image).values, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files, name: files.pop(name), r"conv1_abs and fire2:concat .* differ in images: \['n01_20'\]"),
        (lambda files, name: files.update({name: mat5("feat", np.zeros((1, 5)))}), r"[45] units, others [45]"),
        (lambda files, name: files.update({name: mat5("feat", np.zeros((4, 1)))}), r"has shape \(4, 1\) instead"),
        (lambda files, name: files.update({name: mat5("x", np.zeros((1, 4)))}), r"no variable 'feat'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_features_is_said(place, change, message):
    _, files = feature_files(mat5)
    change(files, "features/ImageNetTraining/caffe/SqueeseNet/conv1_abs/n01_20.mat")
    with pytest.raises(ValueError, match=message):
        hierarchy_release.features(write(place, files), "caffe/SqueeseNet", "conv1_abs")


def test_an_unknown_layer_is_met_with_the_nearest(place):
    _, files = feature_files(mat5)
    with pytest.raises(ValueError, match=r"layer of caffe/SqueeseNet 'conv1'.*did you mean .*conv1_abs"):
        hierarchy_release.features(write(place, files), "caffe/SqueeseNet", "conv1")
