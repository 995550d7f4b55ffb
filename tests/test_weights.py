"""Files of weights are read without trust, and loaded completely or not at all."""

import collections
import hashlib
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from lib import download, weights

HOST = "weights.example.org"


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    (tmp_path / "mirror" / HOST).mkdir(parents=True)
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path / "home"))


@pytest.fixture
def serve(tmp_path):
    """Put a file into the mirror; its address. `{hash}` in the name becomes the first eight digits."""

    def put(content, name="net.pth", **options):
        path = tmp_path / "mirror" / HOST / "made.pth"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path, **options)
        name = name.format(hash=hashlib.sha256(path.read_bytes()).hexdigest()[:8])
        path.rename(path.with_name(name))
        return f"https://{HOST}/{name}"

    return put


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.LazyLinear(2)
    )


def made():
    module = net()
    module(torch.zeros(2, 3, 5, 5))
    return module


def sample():
    return {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


class Runs:
    """Unpickled, it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "legacy"])
def test_weights_come_back_as_stored(serve, options):
    found = weights.state(serve(sample(), **options))
    assert list(found) == list(sample())
    for name, value in sample().items():
        assert torch.equal(found[name], value)


def test_weights_are_found_under_their_key_without_their_prefix(serve):
    stored = {f"module.{name}": torch.nn.Parameter(value) for name, value in sample().items()}
    checkpoint = {"epoch": 3, "best": 91.25, "state_dict": collections.OrderedDict(stored)}
    found = weights.state(serve(checkpoint), key="state_dict", strip="module.")
    assert list(found) == list(sample())
    assert not any(value.requires_grad for value in found.values())


def test_numbers_of_numpy_beside_the_weights_are_read(serve):
    checkpoint = {"best": np.float64(91.25), "epoch": np.int64(3), "model": sample()}
    assert list(weights.state(serve(checkpoint), key="model")) == list(sample())
    old = pickle.dumps(np.float32(1.5), protocol=2).replace(b"numpy._core", b"numpy.core")
    assert pickle.dumps(np.float32(1.5), protocol=2) != old  # or the line before has nothing to show
    url = serve(_zipped({"data.pkl": _checkpoint(old)}), "old.pth")
    with pytest.raises(ValueError, match="entries best"):
        weights.state(url, key="model")


@pytest.mark.parametrize("where", ["beside", "instead"])
@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "legacy"])
def test_a_file_that_would_run_code_is_refused_and_does_not(serve, tmp_path, where, options):
    ran = tmp_path / "ran"
    hostile = {"state_dict": sample(), "args": Runs(ran)} if where == "beside" else Runs(ran)
    url = serve(hostile, **options)
    with pytest.raises(ValueError, match=r"net.pth holds more than numbers.*mkdir.*refused"):
        weights.state(url, key="state_dict")
    assert not ran.exists()
    torch.load(download.raw(url), weights_only=False)
    assert ran.exists()  # so it would have


def test_a_plain_pickle_is_refused_and_runs_nothing(serve, tmp_path):
    url = serve(pickle.dumps({"state_dict": Runs(tmp_path / "ran")}))
    with pytest.raises(ValueError, match=r"net\.pth (is damaged|holds more)"):
        weights.state(url, key="state_dict")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_damaged_in_words(serve, tmp_path, kept):
    torch.save(sample(), tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    url = serve(whole[: int(kept * len(whole))])
    with pytest.raises(ValueError, match=r"net.pth is damaged or no file of weights .*delete it"):
        weights.state(url)


@pytest.mark.parametrize("content", [b"\0" * 100, b"PK\x03\x04" + b"\xff" * 200, b"words", b"\x80\x02."])
def test_what_is_no_file_of_weights_is_damaged_in_words(serve, content):
    with pytest.raises(ValueError, match=r"net.pth is damaged or no file of weights"):
        weights.state(serve(content))


def test_a_file_that_is_not_what_its_name_says_is_refused(serve):
    for right in ("net-{hash}.pth", "net-20210317.pth", "net-large.pth"):
        assert list(weights.state(serve(sample(), right))) == list(sample())
    for wrong in ("net-00000000.pth", "net-deadbeef00.th"):
        url = serve(sample(), wrong)
        with pytest.raises(
            ValueError, match=rf"{wrong} is not what its name says: its sha256 .*delete the row"
        ):
            weights.state(url)


def test_a_declared_hash_goes_before_the_one_in_the_name(serve, tmp_path):
    url = serve(sample(), "net-00000000.pth")
    content = (tmp_path / "mirror" / HOST / "net-00000000.pth").read_bytes()
    right = hashlib.sha256(content).hexdigest()
    assert list(weights.state(url, sha256=right, size=len(content))) == list(sample())
    with pytest.raises(download.WrongHash):
        weights.state(url, sha256="0" * 64)


def test_a_file_that_changes_after_its_first_use_is_refused(serve):
    url = serve(sample())
    weights.state(url)
    torch.save({"a.weight": torch.zeros(2, 3)}, download.raw(url))
    serve({"a.weight": torch.zeros(2, 3)})
    with pytest.raises(download.WrongHash, match="Nobody published this hash"):
        weights.state(url)


@pytest.mark.parametrize(
    ("content", "key", "message"),
    [
        ({"state_dict": sample()}, "model", "no entry 'model'; it holds entries state_dict"),
        ([torch.ones(1)], "model", "no entry 'model'; it holds list"),
        ({"state_dict": sample(), "epoch": 1}, None, "no tensors are state_dict, epoch"),
        ({"state_dict": {}}, "state_dict", "no table of weights but nothing"),
        (torch.ones(3), None, "no table of weights but Tensor"),
        ({3: torch.ones(1)}, None, "no tensors are 3"),
    ],
)
def test_a_file_without_weights_where_they_should_be_says_what_it_holds(serve, content, key, message):
    url = serve(content)
    with pytest.raises(ValueError, match=message):
        weights.state(url, key=key)


def test_a_prefix_that_makes_two_names_one_is_refused(serve):
    url = serve({"module.a": torch.ones(1), "a": torch.zeros(1)})
    with pytest.raises(ValueError, match="more than once"):
        weights.state(url, strip="module.")


def test_a_network_takes_all_weights():
    module, other = made(), made()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.normal_()
    stored = {name: v.double() for name, v in other.state_dict().items() if "num_batches" not in name}
    assert weights.into(module, stored) is module
    for name, value in other.state_dict().items():
        assert torch.equal(module.state_dict()[name], value), name
        assert module.state_dict()[name].dtype == value.dtype


def test_weights_are_renamed_or_left_out():
    module = torch.nn.Linear(3, 2)
    stored = {"a.weight": torch.ones(2, 3), "a.bias": torch.ones(2), "aux.weight": torch.ones(1)}
    weights.into(module, stored, rename=lambda name: name[2:] if name.startswith("a.") else None)
    assert module.weight.eq(1).all()
    with pytest.raises(ValueError, match="more than once"):
        weights.into(module, stored, rename=lambda name: name.partition(".")[0])


def test_weights_that_do_not_fit_are_named_and_nothing_changes():
    module = made()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    stored = {name: torch.full_like(v, 7) for name, v in before.items()} | {"more": torch.ones(1)}
    del stored["0.bias"]
    stored["3.weight"] = torch.ones(2, 35)
    message = (
        r"fit Sequential: the file lacks 0.bias; it holds, without a place for them, more; "
        r"it has in another shape 3.weight \(2, 35\) instead of \(2, 36\)"
    )
    with pytest.raises(ValueError, match=message):
        weights.into(module, stored)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    with pytest.raises(ValueError, match=r"lacks 0.weight, 0.bias, 1.weight and 5 more"):
        weights.into(module, {})


def test_a_network_on_the_meta_device_is_refused_rather_than_left_empty():
    with pytest.raises(ValueError, match="meta device"):
        weights.into(torch.nn.Linear(3, 2, device="meta"), torch.nn.Linear(3, 2).state_dict())


def _checkpoint(number):
    """Pickled dict of one entry, `best`, whose pickled value is given."""
    return b"\x80\x02}X\x04\x00\x00\x00best" + number[2:-1] + b"s."


def _zipped(members):
    """Bytes of a file as torch writes them, with these members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"archive/{name}", content)
        archive.writestr("archive/version", "3\n")
    return stream.getvalue()
