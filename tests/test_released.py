"""Published activations, in the formats in which they were published, give what extraction gives."""

import importlib
import io
import json
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import soundset
import xarray as xr

from lib import artefacts, encoding, features, hierarchy_release, models, naturalsounds, plugins, released
from lib.download import raw
from lib.featurefiles import KNOWN_ENDINGS, npz
from lib.soundactivations import URL
from lib.stimuli import PICTURES, SOUNDS

NAMES = [name for name in plugins.names("model") if plugins.about("model", name).get("RELEASED")]
ALPHAS = 10.0 ** np.arange(3, -4, -1)


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    monkeypatch.delenv("DATA_MIRROR", raising=False)


def archive(files):
    """The archive of activations where a download would put it, of contents by name."""
    path = raw(URL)
    path.parent.mkdir(parents=True, exist_ok=True)
    (artefacts.home() / "data" / "locked.csv").unlink(missing_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def h5(layers):
    """One file of a model's activations: names of the layers as bytes, and a data set for each."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["layer_list"] = np.array([name.encode() for name in layers])
        for name, values in layers.items():
            file[name] = values
    return stream.getvalue()


def rows(n_units, *, seed=0):
    """Activations of the 165 sounds by ascending number."""
    return np.random.default_rng(seed).standard_normal((165, n_units)).astype(np.float32)


def pickles(folder, layers, *, suffix="", protocol=3):
    """One pickle for each sound, in an order of files that is not that of the sounds."""
    return {
        f"model_actv/{folder}/{sound}_activations{suffix}.pkl": pickle.dumps(
            {key: values[i] for key, values in layers.items()}, protocol=protocol
        )
        for i, sound in sorted(enumerate(naturalsounds.names()), key=lambda pair: pair[1])
    }


def table(names):
    return pd.DataFrame({"stimulus": list(names), "sha256": "0" * 64})


def read(release, names, layers=None):
    return dict(release.read(list(names), list(layers or release.layers)))


def published(name, control=""):
    """A member's release, by way of its plug-in."""
    plugin = importlib.import_module(f"lib.models.{plugins.path('model', name).stem}")
    return plugin.release(name, control=control)


# What a model of released activations is


def test_members_are_those_of_the_two_papers():
    audio = [name for name in NAMES if plugins.about("model", name)["MODALITY"] == "audio"]
    assert (len(audio), len(NAMES)) == (36, 36 + 29)
    for name in NAMES:
        known = plugins.about("model", name)
        assert known["LAYERS"]
        assert known["BUNDLED"] is False
        targets = [plugins.about("target", target) for target in known["TARGETS"]]
        assert {target["MODALITY"] for target in targets} == {known["MODALITY"]}


def test_tables_are_those_of_the_authors():
    if not os.environ.get("COMPENDIUM_REFERENCE"):
        pytest.skip("COMPENDIUM_REFERENCE names no folder with the authors' tables")
    folder = Path(os.environ["COMPENDIUM_REFERENCE"])
    listed = json.loads((folder / "auditory_models.json").read_text())["models"]
    known = {plugins.about("model", name).get("FOLDER"): plugins.about("model", name) for name in NAMES}
    for folder_name, row in listed.items():
        found = known[folder_name]
        assert found["LAYERS"] == tuple(row["layers"])
        assert found["LABEL"] == f"{row['display_name']} (released)"
        for layer, key in row.get("saved_layer_keys", {}).items():
            assert found["KEYS"].get(layer, layer) == key
    networks = {plugins.about("model", name).get("NETWORK"): plugins.about("model", name) for name in NAMES}
    for row in json.loads((folder / "hierarchy_settings_summary.json").read_text()).values():
        assert networks[row["dir"]]["LAYERS"] == tuple(row["layers"])


# The same results


@pytest.fixture
def extracted(tmp_path, monkeypatch):
    """Features of CREPE for the 165 sounds in miniature, and the table of the sounds in another order."""
    digests = soundset.write()
    monkeypatch.setattr(naturalsounds, "digests", lambda: digests)
    sounds = naturalsounds.stimuli().sample(frac=1, random_state=1)
    path = tmp_path / "extracted.nc"
    features.extract(models.load("crepe_tiny"), sounds, path, batch_size=55, device="cpu", target="t")
    return sounds, path


def by_number(path, layer):
    """Features of the sounds by ascending number."""
    return next(features.blocks(path, layer, ids=naturalsounds.names(), n_units=None))


def responses(sounds):
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((1, len(sounds), 4))
    train = np.array([rng.permutation(len(sounds)) < 83 for _ in range(2)])
    return xr.Dataset(
        {"response": (("repeat", "stimulus", "voxel"), noise), "train": (("split", "stimulus"), train)},
        coords={
            "stimulus": sounds["stimulus"].tolist(),
            "voxel": list("abcd"),
            "subject": ("voxel", ["s"] * 4),
            "roi": ("voxel", ["r"] * 4),
            "repeat": [0],
            "split": [0, 1],
        },
        attrs={"kind": "component"},
    )


@pytest.mark.parametrize("form", ["h5", "pickles", "npz"])
def test_released_activations_give_the_scores_of_extracted_ones(form, extracted, tmp_path):
    sounds, path = extracted
    layers = features.layers(path)
    values = {layer: by_number(path, layer) for layer in layers}
    if form == "h5":
        archive({"model_actv/Kell2018word/natsound_activations.h5": h5(values)})
        release = published("released_cochcnn9_word")
    elif form == "pickles":
        archive(pickles("AST", values))
        release = published("released_ast")
    else:
        (tmp_path / "npz").mkdir()
        for i, sound in enumerate(naturalsounds.names()):
            arrays = {layer: values[layer][i : i + 1] for layer in layers}
            np.savez_compressed(tmp_path / "npz" / f"{sound}.wav.npz", **arrays)
        release = npz(tmp_path / "npz", "theirs", layers)
    stored = tmp_path / "released.nc"
    released.store(release, sounds, stored, layers=layers, target="t")
    assert features.layers(stored) == layers
    assert features.identifiers(stored) == features.identifiers(path) == sounds["stimulus"].tolist()
    wanted = responses(sounds)
    for layer in ("conv5", "pitch"):
        ours, theirs = (features.layer(p, layer) for p in (path, stored))
        assert theirs.dtype == ours.dtype == np.float32
        xr.testing.assert_identical(ours.load().drop_attrs(), theirs.load().drop_attrs())
        a, b = (encoding.encode(X, wanted, alphas=ALPHAS) for X in (ours, theirs))
        xr.testing.assert_identical(a, b)
        assert np.isfinite(a["r"]).any()
        assert features.effective_dimensionality(stored, layer) == features.effective_dimensionality(
            path, layer
        )


def test_file_has_the_parts_that_extraction_writes(extracted, tmp_path):
    sounds, path = extracted
    archive({"Kell2018word/natsound_activations.h5": h5({"pitch": by_number(path, "pitch")})})
    stored = tmp_path / "released.nc"
    released.store(published("released_cochcnn9_word"), sounds, stored, layers=["pitch"], target="t")
    with xr.open_dataset(path) as ours, xr.open_dataset(stored) as theirs:
        assert theirs["pitch"].dims == ours["pitch"].dims
        assert {*theirs.attrs} == {*ours.attrs} - {"batch_size"}
        assert theirs.attrs["model"] == "released_cochcnn9_word"
        assert len(theirs.attrs["digest"]) == 64
    assert features.reductions(stored) == features.reductions(path)
    assert features.units(stored) == {"pitch": 360}


def test_cost_is_told_from_one_stimulus_and_is_right():
    archive({"Kell2018word/natsound_activations.h5": h5({"relu0": rows(7), "relu1": rows(3)})})
    cost = released.estimate(
        published("released_cochcnn9_word"), table(naturalsounds.names()[:20]), layers=["relu0", "relu1"]
    )
    assert cost["units"] == {"relu0": 7, "relu1": 3}
    assert cost["bytes"] == cost["peak_disk"] == 4 * 20 * 10
    assert cost["peak_memory"] > cost["extra_memory"] == 2 * 4 * 20 * 7


def test_reading_again_gives_what_was_stored_unless_that_was_changed(tmp_path):
    archive({"Kell2018word/natsound_activations.h5": h5({"relu0": rows(7), "relu1": rows(3)})})
    release, some = published("released_cochcnn9_word"), table(naturalsounds.names()[30:10:-3])
    released.store(release, some, tmp_path / "x.nc", layers="relu[01]")
    assert released.repeatability(release, some, tmp_path / "x.nc", n_stimuli=4) == {"relu0": 0, "relu1": 0}
    with h5py.File(tmp_path / "x.nc", "r+") as file:
        file["relu1"][1] *= 2
    found = released.repeatability(release, some, tmp_path / "x.nc")
    assert found["relu0"] == 0
    assert found["relu1"] > 0.1


def test_layers_are_chosen_by_name_and_by_pattern(tmp_path):
    values = {
        layer: rows(2, seed=i)
        for i, layer in enumerate(plugins.about("model", "released_wav2vec2")["LAYERS"])
    }
    archive(pickles("wav2vec", values))
    release, some = published("released_wav2vec2"), table(naturalsounds.names()[:3])
    for asked, expected in {
        "": tuple(release.layers),
        "Final Encoder_1?": ("Final", "Encoder_10", "Encoder_11", "Encoder_12"),
        "Encoder_2": ("Encoder_2",),
    }.items():
        released.store(release, some, tmp_path / "x.nc", layers=asked)
        assert features.layers(tmp_path / "x.nc") == expected
    with pytest.raises(ValueError, match=r"fits .'relu\*'.; it has .'Embedding'"):
        released.store(release, some, tmp_path / "x.nc", layers="relu*")


def test_digest_tells_content_control_and_member_apart():
    files = {
        f"Kell2018{task}/natsound_activations{suffix}.h5": h5({"relu0": rows(2)})
        for task in ("word", "music")
        for suffix in ("", "_randnetw")
    }
    archive(files)
    names = ("released_cochcnn9_word", "released_cochcnn9_genre")
    found = {published(name, control).digest for name in names for control in ("", "permuted")}
    assert len(found) == 4
    assert published(names[0]).digest == published(names[0]).digest in found


def test_values_that_are_not_finite_are_refused_by_name(tmp_path):
    values = rows(5)
    values[3, 2] = np.nan
    archive({"Kell2018word/natsound_activations.h5": h5({"relu0": values})})
    names = naturalsounds.names()
    with pytest.raises(ValueError, match=f"'relu0' .* not finite for 1 stimuli, first .'{names[3]}'"):
        released.store(published("released_cochcnn9_word"), table(names), tmp_path / "x.nc", layers=["relu0"])
    assert not (tmp_path / "x.nc").exists()


def test_stimuli_that_were_not_shown_or_repeat_are_named(tmp_path):
    archive({"Kell2018word/natsound_activations.h5": h5({"relu0": rows(5)})})
    release = published("released_cochcnn9_word")
    with pytest.raises(ValueError, match=r"no activations for 2 of the stimuli, first .'chirp_00', 'other'"):
        released.store(release, table(["chirp_00", "stim5_alarm_clock", "other"]), tmp_path / "x.nc")
    with pytest.raises(ValueError, match="repeat"):
        released.store(release, table(["stim5_alarm_clock"] * 2), tmp_path / "x.nc")


# One HDF5 file


def test_layers_that_files_call_otherwise_are_found():
    values = {layer: rows(4, seed=i) for i, layer in enumerate(["a", "b", "c", "d", "e", "f"])}
    final = "final/signal/speaker_int", "final/signal/word_int", "final/noise/labels_binary_via_int"
    archive(
        {
            "ResNet50music/natsound_activations.h5": h5({"relu1": values["a"], "layer1": values["b"]}),
            "ResNet50speaker/natsound_activations.h5": h5(
                {final[0]: values["c"], "conv1_relu1": values["a"]}
            ),
            "Kell2018audioset/natsound_activations.h5": h5({final[2]: values["d"]}),
            "Kell2018multitask/natsound_activations.h5": h5(
                dict(zip(final, [values["d"], values["e"], values["f"]], strict=True))
            ),
        }
    )
    expected = {
        ("released_cochresnet50_genre", "conv1_relu1"): "a",
        ("released_cochresnet50_genre", "layer1"): "b",
        ("released_cochresnet50_speaker", "final"): "c",
        ("released_cochresnet50_speaker", "conv1_relu1"): "a",
        ("released_cochcnn9_audioset", "final"): "d",
        ("released_cochcnn9_multitask", "final_speaker"): "d",
        ("released_cochcnn9_multitask", "final_word"): "e",
        ("released_cochcnn9_multitask", "final_audioset"): "f",
    }
    for (name, layer), key in expected.items():
        found = read(published(name), naturalsounds.names(), [layer])
        assert np.array_equal(found[layer], values[key])


def test_permuted_network_is_another_file():
    trained, permuted = rows(4, seed=1), rows(4, seed=2)
    archive(
        {
            "model_actv/Kell2018word/natsound_activations.h5": h5({"relu0": trained}),
            "model_actv/Kell2018word/natsound_activations_randnetw.h5": h5({"relu0": permuted}),
            "model_actv/Kell2018wordSeed2/natsound_activations.h5": h5({"relu0": permuted + 1}),
        }
    )
    some = naturalsounds.names()[10:3:-2]
    for control, values in {"": trained, "permuted": permuted}.items():
        release = published("released_cochcnn9_word", control)
        assert release.name == "released_cochcnn9_word" + (f".{control}" if control else "")
        assert np.array_equal(read(release, some, ["relu0"])["relu0"], values[10:3:-2])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"relu00": rows(3)}, "did you mean relu00"),
        ({"relu0": rows(3)[:164]}, r"float32 \(164, 3\) instead of real \(165, units\)"),
        ({"relu0": np.zeros((165, 2), int)}, r"int64 \(165, 2\) instead of real"),
        ({"relu0": rows(0)}, r"\(165, 0\)"),
    ],
)
def test_file_of_another_form_is_refused(content, said):
    archive({"Kell2018word/natsound_activations.h5": h5(content)})
    with pytest.raises(ValueError, match=said):
        read(published("released_cochcnn9_word"), naturalsounds.names(), ["relu0"])


def test_archive_without_the_model_names_the_nearest():
    archive({"Kell2018words/natsound_activations.h5": h5({"relu0": rows(3)})})
    with pytest.raises(ValueError, match="'Kell2018word'; did you mean Kell2018words"):
        published("released_cochcnn9_word")
    with pytest.raises(ValueError, match="unknown folder of a model"):
        published("released_ast")
    archive({"Kell2018word/natsound_activations.h5": h5({"relu0": rows(3)})})
    with pytest.raises(ValueError, match="0 files Kell2018word/natsound_activations_randnetw"):
        published("released_cochcnn9_word", "permuted")


# One pickle for each sound


def test_saved_keys_of_each_model_are_read_as_its_layers():
    known = {name: plugins.about("model", name) for name in NAMES}
    names = [name for name, about in known.items() if about.get("STORED") == "per sound"]
    assert len(names) == 9
    files, values = {}, {}
    for i, name in enumerate(names[:3]):
        keys = [known[name]["KEYS"].get(layer, layer) for layer in known[name]["LAYERS"]]
        values[name] = {key: rows(2, seed=100 * i + j) for j, key in enumerate(keys)}
        files |= pickles(known[name]["FOLDER"], values[name])
    archive(files)
    for name in names[:3]:
        found = read(published(name), naturalsounds.names()[::-1])
        assert list(found) == list(known[name]["LAYERS"])
        for array, expected in zip(found.values(), values[name].values(), strict=True):
            assert np.array_equal(array, expected[::-1])


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_permuted_and_hidden_pickles_are_not_counted(protocol):
    trained, permuted = rows(3, seed=1), rows(3, seed=2)
    key = "ReLU()--0"
    hidden = {"model_actv/VGGish/._stim5_alarm_clock_activations.pkl": b"Mac OS X"}
    archive(
        pickles("VGGish", {key: trained}, protocol=protocol)
        | pickles("VGGish", {key: permuted}, suffix="_randnetw", protocol=protocol)
        | hidden
    )
    for control, values in {"": trained, "permuted": permuted}.items():
        release = published("released_vggish", control)
        found = read(release, naturalsounds.names(), ["ReLU_1"])["ReLU_1"]
        assert np.array_equal(found, values)


def test_exactly_the_165_sounds_must_be_there():
    files = pickles("wav2vec", {"Embedding": rows(2)})
    name = naturalsounds.names()[70]
    content = files.pop(f"model_actv/wav2vec/{name}_activations.pkl")
    archive(files)
    with pytest.raises(ValueError, match=f"164 pickles .* instead of 165.*'{name}'"):
        published("released_wav2vec2")
    archive(files | {"model_actv/wav2vec/stim9999_kazoo_activations.pkl": content})
    with pytest.raises(ValueError, match=f"165 pickles .*'{name}', 'stim9999_kazoo'"):
        published("released_wav2vec2")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "list instead of a table of layers"),
        (
            {"Embedding ": np.zeros(2)},
            "unknown layer in .*stim5_alarm_clock.* 'Embedding'; did you mean Embedding ",
        ),
        ({"Embedding": np.zeros((2, 3))}, r"\(2, 3\) instead of an array \(units,\), averaged over time"),
        ({"Embedding": "loud"}, "str instead of an array"),
        ({"Embedding": np.zeros(3)}, "stim5_alarm_clock has 3 units|has 2 units, stim5_alarm_clock has 3"),
    ],
)
def test_pickle_of_another_form_is_refused(content, said):
    files = pickles("wav2vec", {"Embedding": rows(2)})
    files["model_actv/wav2vec/stim5_alarm_clock_activations.pkl"] = pickle.dumps(content)
    archive(files)
    with pytest.raises(ValueError, match=said):
        read(published("released_wav2vec2"), naturalsounds.names(), ["Embedding"])


def test_pickles_run_nothing():
    class Worm:
        def __reduce__(self):
            return os.mkdir, ("hatched",)

    files = pickles("wav2vec", {"Embedding": rows(2)})
    files["model_actv/wav2vec/stim5_alarm_clock_activations.pkl"] = pickle.dumps({"Embedding": Worm()})
    archive(files)
    with pytest.raises(ValueError, match="mkdir"):
        read(published("released_wav2vec2"), naturalsounds.names(), ["Embedding"])
    assert not Path("hatched").exists()


# One `.mat` for each image


def feature_zips(framework, network, values):
    """Zips of training and test features where downloads would put them; `values` by layer and image."""
    numbers = importlib.import_module("lib.models.released_bhscore").SOURCES[framework]
    for number, (session, images) in zip(numbers, values.items(), strict=True):
        path = raw(f"https://ndownloader.figshare.com/files/{number}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for image, layers in images.items():
                for layer, feat in layers.items():
                    stream = io.BytesIO()
                    scipy.io.savemat(stream, {"feat": feat})
                    archive.writestr(
                        f"features/{session}/{framework}/{network}/{layer}/{image}.mat", stream.getvalue()
                    )


def test_features_of_training_and_test_images_are_joined(tmp_path):
    rng = np.random.default_rng(2)
    units = {"conv1_abs": 6, "layer1": 4}
    images = {"ImageNetTraining": ["n02_2", "n02_10", "n01_7"], "ImageNetTest": ["n09_1", "n03_4"]}
    values = {
        session: {i: {layer: rng.random((1, n), np.float32) for layer, n in units.items()} for i in names}
        for session, names in images.items()
    }
    feature_zips("pytorch", "resnet18", values)
    release = published("released_resnet_18")
    order = ["n09_1", "n02_10", "n01_7", "n03_4", "n02_2"]
    together = values["ImageNetTraining"] | values["ImageNetTest"]
    released.store(release, table(order), tmp_path / "x.nc", layers=list(units), target="deeprecon")
    for layer in units:
        expected = np.concatenate([together[image][layer] for image in order])
        assert np.array_equal(features.layer(tmp_path / "x.nc", layer), expected)
    zips = [raw(f"https://ndownloader.figshare.com/files/{n}") for n in ("24172862", "24172691")]
    assert hierarchy_release.images(zips[0], "pytorch/resnet18") == sorted(images["ImageNetTraining"])
    with pytest.raises(ValueError, match="n99_1"):
        released.store(release, table([*order, "n99_1"]), tmp_path / "y.nc")
    with pytest.raises(ValueError, match="did you mean layer1"):
        read(release, order, ["layer2"])
    with pytest.raises(ValueError, match="permuted"):
        published("released_resnet_18", "permuted")


def test_image_in_both_zips_and_layers_of_another_size_are_refused():
    one = {"n01_1": {"conv1_abs": np.ones((1, 3), np.float32)}}
    feature_zips("pytorch", "resnet18", {"ImageNetTraining": one, "ImageNetTest": one})
    with pytest.raises(ValueError, match=r"image n01_1 of pytorch/resnet18 lies in .* and in "):
        read(published("released_resnet_18"), ["n01_1"], ["conv1_abs"])
    other = {"n02_1": {"conv1_abs": np.ones((1, 4), np.float32)}}
    feature_zips("pytorch", "resnet34", {"ImageNetTraining": one, "ImageNetTest": other})
    (artefacts.home() / "data" / "locked.csv").unlink()
    with pytest.raises(ValueError, match="n02_1 has 4 units, n01_1 has 3"):
        read(published("released_resnet_34"), ["n01_1", "n02_1"], ["conv1_abs"])


# Net2Brain's `.npz`


def net2brain(folder, layout, values):
    """A folder of features of a layer and a stimulus, in one of the layouts that Net2Brain has had."""
    folder.mkdir()
    layers, shown = list(values), list(next(iter(values.values())))
    if layout == "stimulus":
        for name in shown:
            np.savez(folder / f"{name}.npz", **{layer: values[layer][name] for layer in layers})
    elif layout == "both":
        for layer in layers:
            for name in shown:
                np.savez_compressed(folder / f"{layer}_{name}.npz", **{name: values[layer][name]})
    else:
        for layer in layers:
            np.savez_compressed(folder / layout.format(layer), **values[layer])
    (folder / "._junk.npz").write_bytes(b"Mac OS X")


LAYOUTS = ["stimulus", "both", "{}.npz", "consolidated_{}.npz", "{}_consolidated.npz"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_layouts_of_net2brain_are_read_alike(layout, tmp_path):
    rng = np.random.default_rng(3)
    shapes = {"layer1.0.relu": (1, 2, 3, 3), "fc": (1, 5)}
    shown = ["b_2.jpg", "a 1.JPEG", "c.v2.png", "plain"]
    values = {
        layer: {name: rng.random(shape, np.float32) for name in shown} for layer, shape in shapes.items()
    }
    net2brain(tmp_path / "feats", layout, values)
    release = npz(tmp_path / "feats", "theirs", list(shapes))
    order = ["c.v2", "plain", "a 1", "b_2"]
    files = dict(zip(["b_2", "a 1", "c.v2", "plain"], shown, strict=True))
    found = read(release, order)
    assert list(found) == list(shapes)
    for layer, shape in shapes.items():
        expected = np.stack([values[layer][files[name]].ravel() for name in order])
        assert found[layer].shape == (4, np.prod(shape))
        assert np.array_equal(found[layer], expected)
    with pytest.raises(ValueError, match=r"no activations for 1 of the stimuli, first .'d'"):
        read(release, [*order, "d"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_npz_without_the_layers_says_what_there_is(layout, tmp_path):
    net2brain(tmp_path / "feats", layout, {"conv": {"a.png": np.ones(2)}, "fc": {"a.png": np.ones(2)}})
    with pytest.raises(ValueError, match=r"no layers .'pool'.; by its files"):
        npz(tmp_path / "feats", "theirs", ["fc", "pool"])
    with pytest.raises(ValueError, match=r"no \.npz"):
        npz(tmp_path, "theirs", ["fc"])


def test_npz_of_sentences_of_unlike_length_and_of_objects_are_refused(tmp_path):
    unlike = {"fc": {"a.png": np.ones((1, 2)), "b.png": np.ones((1, 3))}}
    net2brain(tmp_path / "unlike", "stimulus", unlike)
    with pytest.raises(ValueError, match="b has 3 units, a has 2"):
        read(npz(tmp_path / "unlike", "theirs", ["fc"]), ["a", "b"])
    net2brain(tmp_path / "objects", "stimulus", {"fc": {"a.png": np.array(["x", None], object)}})
    with pytest.raises(ValueError, match=r"object .* instead of real numbers"):
        read(npz(tmp_path / "objects", "theirs", ["fc"]), ["a"])
    twice = {"fc": {"a.png": np.ones(2), "a.jpg": np.ones(2)}}
    net2brain(tmp_path / "twice", "stimulus", twice)
    with pytest.raises(ValueError, match="two arrays are of stimulus a"):
        npz(tmp_path / "twice", "theirs", ["fc"])


def test_endings_of_stimuli_are_those_that_can_be_read():
    assert {*SOUNDS, *PICTURES} <= set(KNOWN_ENDINGS)
