"""Whatever the bytes of a file: it is read, or refused in words that name it; nothing else happens.

Profiles of Hypothesis (tests/conftest.py): the usual one is quick and the same each time, `--hypothesis-profile=long`
takes thousands of new examples for each reader.
"""

import contextlib
import gzip
import io
import json
import pickle
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import av
import h5py
import mutations
import nibabel
import numpy as np
import pandas as pd
import pytest
import releases
import scipy.io
import soundfile
import torch
import xarray as xr
from hypothesis import given, reject
from hypothesis import strategies as st
from PIL import Image

from lib import (
    archives,
    artefacts,
    behaviour,
    featurefiles,
    features,
    hdf5,
    hierarchy_release,
    matfiles,
    metamer_results,
    orders,
    own,
    partial,
    scenes,
    soundactivations,
    soundarchive,
    stimuli,
    surfaces,
    unpickle,
    videos,
    weights,
)
from lib.bdata import BData
from lib.datasets import algonauts2021, bonner2017, images78, metamer_recognition, nh2015comp, objects92
from lib.exhibits import drawing, tables
from lib.metamers import checkpoints

# Parsers may warn of what they find, and h5netcdf fails once more when it gives up a file that it could not open.
pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(0)
TABLE = pd.DataFrame({"voxel_id": [3, 5], "hemi": [b"lh", b"rh"], "roi": ["a", None], "r": [0.5, np.nan]})
VALUES = {
    "a": RNG.normal(size=(3, 4)),
    "b": [1, 2.5, "text", b"bytes", None, (1, {2})],
    "c": np.array([("x", 1)], [("n", "S3"), ("i", "<i8")]),
    "d": np.array(["s", None], object),
}


class Reader(NamedTuple):
    """How a kind of file is made and read."""

    seed: object  # () -> bytes of a valid file, or of the part that is changed
    read: object  # path -> value
    kinds: object  # of the value
    name: str = "file.bin"
    wrap: object = bytes  # from the changed part to the file


# Valid files


def npy(values):
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=True)
    return stream.getvalue()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def mat(content, **how):
    stream = io.BytesIO()
    scipy.io.savemat(stream, content, **how)
    return stream.getvalue()


def hdf(fill, **how):
    stream = io.BytesIO()
    with h5py.File(stream, "w", **how) as file:
        fill(file)
    return stream.getvalue()


def zipped(members, method=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()


def tarred(members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def mixed(file):
    """Contiguous, compressed and checked data sets, texts, references and attributes."""
    noise = np.random.default_rng(0).normal(size=(8, 6)).round(2)
    file["plain"] = noise
    file.create_dataset("group/packed", data=noise, chunks=(4, 6), compression="gzip")
    file.create_dataset("checked", data=noise, chunks=(4, 6), fletcher32=True, shuffle=True)
    file["text"] = ["a", "b"]
    file["text"].attrs["note"] = "x"
    file["reference"] = np.array([file["plain"].ref], h5py.ref_dtype)


def samples(file):
    """A BData file: three voxels, a label."""
    file["dataset"] = np.column_stack([np.ones((4, 3)), [101.0, 102.0, 101.0, 102.0]])
    file["metadata/key"] = ["ROI_V1", "voxel_x", "name"]
    file["metadata/description"] = ["", "", ""]
    file["metadata/value"] = np.array([[1, 1, 0, np.nan], [1, 2, 3, np.nan], [np.nan] * 3 + [1]], float)
    file["vmap/name/101.0"], file["vmap/name/102.0"] = b"n01", b"n02"


def recent(file):
    """Variables of MATLAB 7.3: numbers, cells, text."""
    file["x"] = np.arange(6.0).reshape(2, 3)
    file["x"].attrs["MATLAB_class"] = np.bytes_("double")
    file["refs/a"] = np.arange(3.0)
    file["cells"] = np.array([file["refs/a"].ref], h5py.ref_dtype)
    file["cells"].attrs["MATLAB_class"] = np.bytes_("cell")
    file["s/data"], file["s/ir"], file["s/jc"] = np.ones(2), np.array([0, 1], "u8"), np.array([0, 1, 2], "u8")
    file["s"].attrs["MATLAB_sparse"] = np.uint64(2)
    file["text"] = np.frombuffer("word".encode("utf-16-le"), "u2")
    file["text"].attrs["MATLAB_class"] = np.bytes_("char")


OLD = {
    "x": RNG.normal(size=(2, 3)),
    "text": "word",
    "rows": np.array(["ab", "cd"]),
    "cells": np.array([np.ones(2), "b"], object),
    "structure": {"a": np.arange(3), "b": {"c": "d"}},
    "sparse": scipy.sparse.csc_matrix(np.eye(3)),
    "z": np.ones(2) * 1j,
    "truth": np.array([True, False]),
}


def stored_features(folder):
    """A file of features as they are written, of two layers."""
    path = folder / "features.nc"
    data = xr.Dataset(
        {
            "first": (("stimulus", "unit_first"), np.arange(6, dtype="f4").reshape(3, 2)),
            "second": (("stimulus", "unit_second"), np.ones((3, 4), "f4")),
        },
        {"stimulus": ["a", "b", "c"]},
        {
            "layers": json.dumps(["first", "second"]),
            "reduction": json.dumps({"precision": "float32", "fitted_on": []}),
            "digest": "0" * 64,
        },
    )
    artefacts.save(data, path)
    return path.read_bytes()


def labelled(folder):
    path = folder / "labelled.nc"
    data = xr.Dataset(
        {"r": (("split", "voxel"), RNG.normal(size=(2, 3)), {"units": "1"}), "n": ("voxel", [1, 2, 3])},
        {"voxel": ["a", "b", "c"], "split": [0, 1]},
        {"target": "x", "seed": 1},
    )
    artefacts.save(data, path)
    return path.read_bytes()


def browsed(folder):
    path = folder / "metamers.nc"
    data = xr.Dataset(
        {"metamer": (("layer", "stimulus"), np.zeros((2, 3)))}, {"layer": ["a", "b"], "stimulus": list("xyz")}
    )
    artefacts.save(data, path)
    return path.read_bytes()


def sound(ending, subtype):
    def made(folder):
        path = folder / f"made{ending}"
        soundfile.write(path, np.sin(np.arange(400) / 9) / 2, 8000, subtype=subtype)
        return path.read_bytes()

    return made


def picture(ending, mode="RGB", **how):
    def made(_):
        stream = io.BytesIO()
        values = np.arange(12 * 9 * 3, dtype=np.uint8).reshape(12, 9, 3)
        Image.fromarray(values).convert(mode).save(
            stream, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending), **how
        )
        return stream.getvalue()

    return made


def clip(folder):
    path = folder / "made.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=30)
        stream.height = stream.width = 32
        stream.pix_fmt = "yuv420p"
        for shade in range(0, 160, 20):
            file.mux(
                stream.encode(
                    av.VideoFrame.from_ndarray(np.full((32, 32, 3), shade, np.uint8), format="rgb24")
                )
            )
        file.mux(stream.encode())
    return path.read_bytes()


def nifti(_):
    return nibabel.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)).to_bytes()


def state(_, **how):
    stream = io.BytesIO()
    torch.save({"state_dict": {"w": torch.ones(2, 3), "b": torch.zeros(2)}}, stream, **how)
    return stream.getvalue()


def noted(folder):
    file = folder / "made.npz"
    batch = checkpoints.Batch(
        x=torch.ones(2, 3),
        memory={"m": torch.zeros(2, 3)},
        best=torch.ones(2),
        active=torch.ones(2, dtype=torch.bool),
        trace=np.zeros((5, 2)),
        why=["", "no"],
        block=1,
    )
    checkpoints.note(file, "this", batch)
    return file.read_bytes()


EXPERIMENT = {
    "participant_data_matrix": np.arange(12.0).reshape(2, 3, 2) / 12,
    "model_layers": np.array(["natural_image", "layer1", "final"]),
    "conditions": np.array(["Human  ", "Network"]),
    "participants": np.array(["0", "10"]),
    "axis_order": np.array(["participants", "model_layers", "conditions"]),
}


def cells(*items):
    values = np.empty(len(items), object)
    values[:] = items
    return values


MATRIX = {
    "ras_coords_fsaverage": cells(np.ones((4, 2)), np.ones((3, 2))),
    "voxel_indices_fsaverage": cells(np.arange(4), np.arange(3)),
}
COMPONENTS = {
    "R": np.ones((3, 6)),
    "stim_names": cells("a", "b", "c"),
    "component_names": cells(*nh2015comp.COMPONENTS),
}
JUDGED = {"Models": [{"name": "animacy", "RDM": np.zeros((4, 4))}, {"name": "other", "RDM": np.ones((4, 4))}]}
EVALUATED = {"model_evaluation_directory": "kell2018", **releases.judged(np.random.default_rng(0), 16)}
REGRESSED = releases.regression()
ORDER = {"w": torch.arange(6), "b": torch.arange(2)}
WORDS = {"word_idx_to_word": {0: "a", 1: "b"}}
RESPONSES = {"train": np.zeros((algonauts2021.N_VIDEOS, algonauts2021.N_REPEATS, 2), "f4"), "roi": "V1"}
CEILINGS = [np.zeros(1), np.ones(1)]
SOUNDS = np.array([(b"a.wav", 1, 2.0, 0.1, "music")] * 3,
                  [("f", "S9"), ("n", "<i8"), ("d", "<f8"), ("r", "<f8"), ("c", "<U9")])  # fmt: skip
ACCURACIES = {
    f"decoding_accuracy/caffe/AlexNet/{layer}/sub-01/{roi}/accuracy.mat": layer
    for layer in ("conv1", "fc8")
    for roi in ("V1", "HVC")
}


# Readers


def walked(path):
    """All values of an HDF5 file."""
    found = {}

    def visit(name, item):
        found[name] = hdf5.values(item) if isinstance(item, h5py.Dataset) else None

    with hdf5.opened(path) as file:
        file.visititems(visit)
    return found


def bdata(path):
    data = BData(path)
    return data.select("ROI_V1 = 1"), data.labels("name"), data.metadata("voxel_x"), data.mask("ROI_* = 1")


def unpacked(path):
    archives._listed.cache_clear()
    folder = path.with_name("box")
    before = {p.name for p in path.parent.iterdir()} | {"box"}
    found = archives.extract(path, folder / "deep")
    assert {p.name for p in path.parent.iterdir()} <= before
    assert {p.name for p in folder.iterdir()} <= {"deep"}
    return found


def at(owner, name, read):
    """Reads where a download would have brought the file."""

    def reading(path):
        archives._listed.cache_clear()
        with mock.patch.object(owner, name, return_value=path):
            return read(path)

    return reading


def loaded(_):
    found = weights.state("https://host/net.pth", key="state_dict")
    # Weights that fit no network are refused, by what does not know any file.
    with contextlib.suppress(ValueError):
        weights.into(torch.nn.Linear(3, 2), found, rename={"w": "weight", "b": "bias"}.get)
    return found


def all_features(path):
    found = [
        features.units(path),
        features.reductions(path),
        features.rounding(path),
        features.identifiers(path),
    ]
    for name in features.layers(path):
        found += [*features.blocks(path, name), features.effective_dimensionality(path, name)]
        with features.layer(path, name) as stored:
            found.append(stored.values)
    return found


def filled(path):
    """Goes on with what was left behind, or begins anew: the outcome is the same."""
    target = path.with_name("out.nc")
    part, log = partial._parts(target)
    part.write_bytes(path.read_bytes())
    batch = {"start": 0, "stop": 2, "sums": {"x": CHECKSUM}, "note": 0}
    opening = {"identity": {"id": 1}, "variables": {"x": [[4, 3], "float32"]}}
    log.write_text("".join(json.dumps(record) + "\n" for record in (opening, batch)))
    with partial.filling(target, {"id": 1}, lay_out) as filling:
        assert filling.done in (0, 2)
        for start in range(filling.done, 4, 2):
            filling.write({"x": ROWS[start : start + 2]}, 0)
        filling.complete(target, {})
    with h5py.File(target) as file:
        np.testing.assert_array_equal(file["x"], ROWS)
    target.unlink()
    return "as it should be"


ROWS = np.arange(12, dtype="f4").reshape(4, 3)
CHECKSUM = partial._checksum(ROWS[:2])


def lay_out(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (4, 3), "f4", chunks=(2, 3), dcpl=partial.reserved())


def half_written(folder):
    path = folder / "made.nc"
    lay_out(path)
    with h5py.File(path, "r+") as file:
        file["x"][:2] = ROWS[:2]
    return path.read_bytes()


def npz_features(path):
    archives._listed.cache_clear()
    release = featurefiles.npz(path.parent, "theirs", ("one", "two"))
    return dict(release.read(["a"], ["one", "two"]))


def searchlights(path):
    """Of one block in a mask of 4 × 4 × 4."""
    rdm = xr.DataArray(0, attrs={"dissimilarity": "x"})
    responses = xr.Dataset({"rdm": rdm}, {"subject": ["s"], "stimulus": ["a", "b", "c"]})
    bonner2017._searchlights(path.parent / "out", responses)
    return artefacts.load(path.parent / "out" / "searchlights.nc")


def scene_members(**changes):
    rdms = np.zeros((1, 1, 3, 3))
    rdms[..., [0, 1], [1, 0]] = 1
    members = {"mask": nifti(None), "ceilings": pickle.dumps(CEILINGS), "rdms": npy(rdms), **changes}
    return tarred(
        {
            "data/mask.nii": members["mask"],
            f"data/{scenes.SEARCHLIGHTS}/noise_ceiling.pkl": members["ceilings"],
            f"data/{scenes.SEARCHLIGHTS}/all_sub_slrdms.npy": members["rdms"],
        }
    )


def in_archive(name):
    return lambda content: tarred({f"{soundarchive.FOLDER}/{name}": content})


def activations(file):
    file["layer_list"] = np.array([b"one"])
    file["one"] = np.arange(330, dtype="f4").reshape(165, 2)


def of_file(path):
    names = soundactivations.naturalsounds.names()[:3]
    return dict(soundactivations._from_file(path, "m/natsound_activations.h5", {}, names, ["one"]))


def of_pickles(path):
    return dict(soundactivations._from_pickles(path, {"a": "a.pkl"}, {}, ["a"], ["one"]))


def release(folder):
    del folder
    return mat({"feat": np.ones((1, 2, 3), "f4")})


def release_of(content):
    images = ("n01", "n02")
    return zipped({f"features/caffe/AlexNet/conv1/{image}.mat": content for image in images})


def only(function):
    """A file that needs no folder to be made."""
    return lambda _: function()


READERS = {
    "pickle": Reader(only(lambda: pickle.dumps(VALUES, 4)), unpickle.load, object),
    "pickle of Python 2": Reader(only(lambda: pickle.dumps(VALUES, 0)), unpickle.load, object),
    "pickled table": Reader(
        only(lambda: pickle.dumps(TABLE, 5)), lambda p: unpickle.load(p, allow="pandas"), object
    ),
    "pickled tensors": Reader(only(lambda: pickle.dumps(ORDER)), lambda p: unpickle.load(p, allow="torch"), object),
    "npy": Reader(only(lambda: npy(VALUES["a"])), unpickle.npy, np.ndarray),
    "npy of records": Reader(only(lambda: npy(VALUES["c"])), unpickle.npy, np.ndarray),
    "npy of objects": Reader(only(lambda: npy(VALUES["d"])), unpickle.npy, np.ndarray),
    "tar": Reader(only(lambda: tarred({"a/b": b"text" * 9, "c": b"x"})), unpacked, dict),
    "gzip": Reader(only(lambda: gzip.compress(tarred({"a/b": b"text" * 9}), mtime=0)), unpacked, dict),
    "tar in gzip": Reader(
        only(lambda: tarred({"a/b": b"text" * 9, "c": b"x"})), unpacked, dict, wrap=lambda c: gzip.compress(c, 1)
    ),
    "zip": Reader(only(lambda: zipped({"a/b": b"text" * 9, "c": b"x"})), unpacked, dict),
    "HDF5": Reader(only(lambda: hdf(mixed)), walked, dict),
    "HDF5, recent format": Reader(only(lambda: hdf(mixed, libver="latest")), walked, dict),
    "BData": Reader(only(lambda: hdf(samples)), bdata, tuple, "file.h5"),
    "MATLAB 5": Reader(only(lambda: mat(OLD)), matfiles.read, dict, "file.mat"),
    "MATLAB 5, compressed": Reader(only(lambda: mat(OLD, do_compression=True)), matfiles.read, dict, "file.mat"),
    "MATLAB 5, inside of what is compressed": Reader(
        only(lambda: mat({"cells": OLD["cells"]})[128:]),
        matfiles.read,
        dict,
        "file.mat",
        lambda c: mat({})[:128] + b"\x0f\0\0\0" + len(z := zlib.compress(c, 1)).to_bytes(4, "little") + z,
    ),
    "MATLAB 7.3": Reader(only(lambda: hdf(recent)), matfiles.read, dict, "file.mat"),
    "weights": Reader(state, at(weights.download, "fetch", loaded), dict, "net.pth"),
    "weights, old format": Reader(
        lambda f: state(f, _use_new_zipfile_serialization=False),
        at(weights.download, "fetch", loaded),
        dict,
        "net.pth",
    ),
    "WAV": Reader(sound(".wav", "PCM_16"), stimuli.read, tuple, "file.wav"),
    "WAV of floats": Reader(sound(".wav", "FLOAT"), stimuli.read, tuple, "file.wav"),
    "FLAC": Reader(sound(".flac", "PCM_16"), stimuli.read, tuple, "file.flac"),
    "Ogg": Reader(sound(".ogg", "VORBIS"), stimuli.read, tuple, "file.ogg"),
    "PNG": Reader(picture("png"), stimuli.read, np.ndarray, "file.png"),
    "PNG of 16 bits": Reader(picture("png", "I;16"), stimuli.read, np.ndarray, "file.png"),
    "PNG with a palette": Reader(picture("png", "P"), stimuli.read, np.ndarray, "file.png"),
    "JPEG": Reader(picture("jpg"), stimuli.read, np.ndarray, "file.jpg"),
    "BMP": Reader(picture("bmp"), stimuli.read, np.ndarray, "file.bmp"),
    "TIFF": Reader(picture("tif", compression="tiff_lzw"), stimuli.read, np.ndarray, "file.tif"),
    "TIFF, plain": Reader(picture("tif"), stimuli.read, np.ndarray, "file.tif"),
    "MP4": Reader(clip, stimuli.read, np.ndarray, "file.mp4"),
    "video": Reader(clip, videos.frames, np.ndarray, "file.mp4"),
    "size of a picture": Reader(picture("png"), drawing.size, tuple, "file.png"),
    "rate of sounds": Reader(sound(".wav", "PCM_16"), lambda p: own._one_rate([p]), type(None), "file.wav"),
    "results": Reader(labelled, artefacts.load, xr.Dataset, "file.nc"),
    "features": Reader(stored_features, all_features, list, "features.nc"),
    "metamers": Reader(browsed, lambda p: tables.collection(p.parent), tables.Collection, "metamers.nc"),
    "half-written features": Reader(half_written, filled, str),
    "checkpoint": Reader(
        noted,
        lambda p: checkpoints.restored(p, "this", torch.device("cpu")),
        (type(None), checkpoints.Batch),
        "a.npz",
    ),
    "array of RDMs": Reader(only(lambda: npz(arr_0=np.zeros((2, 4, 4)))), lambda p: images78._rdms(p, 4), np.ndarray),
    "array of RDMs, inside": Reader(
        only(lambda: npy(np.zeros((2, 4, 4)))),
        lambda p: images78._rdms(p, 4),
        np.ndarray,
        wrap=lambda c: zipped({"arr_0.npy": c}),
    ),
    "copies of RDMs": Reader(
        only(lambda: npy(np.zeros((2, 4, 4)))),
        at(scenes, "raw", lambda _: scenes.copies(["V1"])),
        dict,
        wrap=lambda c: zipped({"brain_data/fmri_V1.npz": zipped({"arr_0.npy": c})}),
    ),
    "mask": Reader(
        nifti, at(scenes, "raw", lambda p: scenes.mask(p.with_name("mask.nii"))), np.ndarray,
        wrap=lambda c: scene_members(mask=c),
    ),
    "ceilings": Reader(
        only(lambda: pickle.dumps(CEILINGS)), at(scenes, "raw", lambda _: scenes.ceilings(1)), dict,
        wrap=lambda c: scene_members(ceilings=c),
    ),
    "npz of features": Reader(only(lambda: npz(one=np.ones(2), two=np.ones(3))), npz_features, dict, "a.npz"),
    "features of the release": Reader(
        release,
        lambda p: hierarchy_release.features(p, "caffe/AlexNet", "conv1"),
        xr.DataArray,
        wrap=release_of,
    ),
    "accuracies of the release": Reader(
        only(lambda: mat({"accuracy": np.ones((1, 3), "f4")})),
        lambda p: hierarchy_release.decoding_accuracies(p, "caffe/AlexNet"),
        xr.DataArray,
        wrap=lambda c: zipped(dict.fromkeys(ACCURACIES, c)),
    ),
    "sounds of the archive": Reader(
        only(lambda: npy(SOUNDS)), at(soundarchive, "raw", lambda _: soundarchive.sounds()), tuple,
        wrap=in_archive("NH2015/neural_stim_meta.npy"),
    ),
    "voxels of the archive": Reader(
        only(lambda: pickle.dumps(TABLE)), at(soundarchive, "raw", lambda _: soundarchive.table("a.pkl")), pd.DataFrame,
        wrap=in_archive("a.pkl"),
    ),
    "cells of the archive": Reader(
        only(lambda: mat({"info": {"names": cells("a", "b")}})),
        at(soundarchive, "raw", lambda _: soundarchive.cells("a.mat", "info", "names")), list,
        wrap=in_archive("a.mat"),
    ),
    "activations of all sounds": Reader(
        only(lambda: hdf(activations)), of_file, dict, wrap=lambda c: tarred({"m/natsound_activations.h5": c})
    ),
    "activations of a sound": Reader(
        only(lambda: pickle.dumps({"one": np.ones(3), "two": np.ones(2)}, 3)), of_pickles, dict,
        wrap=lambda c: tarred({"a.pkl": c}),
    ),
    "words": Reader(only(lambda: pickle.dumps(WORDS)), metamer_recognition._words, pd.DataFrame),
}  # fmt: skip
# Readers that make something of the content of a file, and the content.
CONTENTS = {
    "recognition": (EXPERIMENT, mat, behaviour.recognition, pd.DataFrame),
    "voxel matrix": (MATRIX, mat, surfaces.voxel_matrix, dict),
    "components": (COMPONENTS, mat, nh2015comp._profiles, pd.DataFrame),
    "evaluation": (EVALUATED, pickle.dumps, metamer_results.evaluation, pd.DataFrame),
    "regression": (REGRESSED, pickle.dumps, metamer_results.voxel_regression, xr.Dataset),
    "order": (ORDER, pickle.dumps, orders.stored, dict),
    "words": (WORDS, pickle.dumps, metamer_recognition._words, pd.DataFrame),
    "array of RDMs": (
        {"arr_0": np.zeros((2, 4, 4))}, lambda c: npz(**c), lambda p: images78._rdms(p, 4), np.ndarray
    ),
    "copies of RDMs": (
        {"arr_0": np.zeros((2, 4, 4))}, lambda c: zipped({"brain_data/fmri_V1.npz": npz(**c)}),
        at(scenes, "raw", lambda _: scenes.copies(["V1"])), dict,
    ),
    "ceilings": (
        {"": CEILINGS}, lambda c: scene_members(ceilings=pickle.dumps(c.get(""))),
        at(scenes, "raw", lambda _: scenes.ceilings(1)), dict,
    ),
    "checkpoint": (
        {"identity": np.array("this"), "x": np.ones((2, 3), "f4"), "best": np.ones(2, "f4"),
         "active": np.ones(2, bool), "memory.m": np.zeros((2, 3), "f4"), "trace": np.zeros((5, 2)),
         "why": np.array(["", "no"]), "block": np.array(1)},
        lambda c: npz(**c), lambda p: checkpoints.restored(p, "this", torch.device("cpu")),
        (type(None), checkpoints.Batch),
    ),
    "npz of features": ({"one": np.ones(2), "two": np.ones(3)}, lambda c: npz(**c), npz_features, dict),
    "features of the release": (
        {"feat": np.ones((1, 2, 3), "f4")}, lambda c: release_of(mat(c)),
        lambda p: hierarchy_release.features(p, "caffe/AlexNet", "conv1"), xr.DataArray,
    ),
    "accuracies of the release": (
        {name: np.ones((1, 3), "f4") for name in ACCURACIES},
        lambda c: zipped({name: mat({"accuracy": value}) for name, value in c.items()}),
        lambda p: hierarchy_release.decoding_accuracies(p, "caffe/AlexNet"), xr.DataArray,
    ),
    "sounds of the archive": (
        {"": SOUNDS}, lambda c: in_archive("NH2015/neural_stim_meta.npy")(npy(c.get(""))),
        at(soundarchive, "raw", lambda _: soundarchive.sounds()), tuple,
    ),
    "voxels of the archive": (
        TABLE.to_dict("list"), lambda c: in_archive("a.pkl")(pickle.dumps(pd.DataFrame(c))),
        at(soundarchive, "raw", lambda _: soundarchive.table("a.pkl")), pd.DataFrame,
    ),
    "cells of the archive": (
        {"info": {"names": cells("a", "b")}}, lambda c: in_archive("a.mat")(mat(c)),
        at(soundarchive, "raw", lambda _: soundarchive.cells("a.mat", "info", "names")), list,
    ),
    "activations of a sound": (
        {"one": np.ones(3), "two": np.ones(2)}, lambda c: tarred({"a.pkl": pickle.dumps(c)}), of_pickles, dict
    ),
    "weights": (
        {"state_dict": {"w": np.ones((2, 3)), "b": np.zeros(2)}}, lambda c: saved(c),
        at(weights.download, "fetch", loaded), dict,
    ),
    "searchlights": (
        {"rdms": np.zeros((1, 1, 3, 3)), "ceilings": CEILINGS},
        lambda c: scene_members(rdms=npy(c.get("rdms")), ceilings=pickle.dumps(c.get("ceilings"))),
        at(scenes, "raw", at(bonner2017, "raw", searchlights)), xr.Dataset,
    ),
    "own array": (
        {"": np.ones((2, 3, 4))}, lambda c: npy(c.get("")),
        lambda p: own._from_npy(own_place(p), list("abc"), list("wxyz")), xr.DataArray,
    ),
    "videos": (RESPONSES, pickle.dumps, lambda p: algonauts2021._array(algonauts2021._content(p), p, 2), np.ndarray),
    "RDMs by name": (
        JUDGED, mat, at(objects92, "raw", lambda _: objects92._named("92_modelRDMs.mat", "Models")), dict
    ),
}  # fmt: skip
# Readers of HDF5, whose files can be changed and remain such files.
REWORKED = ("HDF5", "BData", "MATLAB 7.3", "results", "features", "metamers", "half-written features")


def own_place(path):
    (path.parent / "stimuli.csv").touch()
    (path.parent / "responses.npy").write_bytes(path.read_bytes())
    return path.parent


def torched(content):
    """Arrays as tensors, as PyTorch writes them."""
    if isinstance(content, dict):
        content = {key: torched(value) for key, value in content.items()}
    elif isinstance(content, np.ndarray):
        content = (
            torch.from_numpy(np.ascontiguousarray(content))
            if content.dtype.kind in "fiub"
            else content.tolist()
        )
    return content


def saved(content):
    stream = io.BytesIO()
    torch.save(torched(content), stream)
    return stream.getvalue()


SEEDED = {}


def seed(name, folder):
    """The valid file of a reader, made once."""
    if name not in SEEDED:
        SEEDED[name] = READERS[name].seed(folder)
    return SEEDED[name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzzed")


@pytest.mark.parametrize("name", READERS)
def test_valid_files_are_read(name, folder):
    reader = READERS[name]
    path = placed(folder, name, reader.name, reader.wrap(seed(name, folder)))
    assert isinstance(reader.read(path), reader.kinds)


@pytest.mark.parametrize("name", CONTENTS)
def test_valid_contents_are_read(name, folder):
    content, write, read, kinds = CONTENTS[name]
    found = read(placed(folder, name, path_of(name), write(content)))
    assert isinstance(found, kinds)


def placed(folder, name, file, content):
    """A file in a folder of its own."""
    path = folder / "".join(c if c.isalnum() else "_" for c in name) / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # an error that is still alive may keep the last one open
    path.write_bytes(content)
    return path


def path_of(name):
    if name == "evaluation":
        return str(releases.path_of(Path()))
    return str(releases.regression_path(Path())) if name == "regression" else "a.npz"


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
def test_other_bytes_are_read_or_refused_in_words(name, folder, data):
    reader = READERS[name]
    content = reader.wrap(data.draw(mutations.changed(seed(name, folder))))
    path = placed(folder, name, reader.name, content)
    mutations.outcome(lambda: reader.read(path), str(path.parent.name), reader.kinds)


@pytest.mark.parametrize("name", CONTENTS)
@given(data=st.data())
def test_other_contents_are_read_or_refused_in_words(name, folder, data):
    content, write, read, kinds = CONTENTS[name]
    changed = data.draw(mutations.otherwise(content))
    try:
        written = write(changed)
    # Not everything can be written.
    except Exception:
        reject()
    path = placed(folder, name, path_of(name), written)
    mutations.outcome(lambda: read(path), str(folder), kinds)


@pytest.mark.parametrize("name", REWORKED)
@given(data=st.data())
def test_other_contents_of_hdf5_are_read_or_refused_in_words(name, folder, data):
    reader = READERS[name]
    path = placed(folder, name, reader.name, seed(name, folder))
    mutations.reworked(path, data)
    mutations.outcome(lambda: reader.read(path), str(folder), reader.kinds)
