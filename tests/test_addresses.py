"""Addresses become paths that stay in their folder."""

import pytest

from lib import addresses


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    monkeypatch.delenv("DATA_MIRROR", raising=False)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://Example.org:443//a//b%20c.mat", "example.org/a/b c.mat"),
        ("http://example.org:8080/b%27layer%27.pckl", "example.org:8080/b'layer'.pckl"),
        ("https://example.org/files/12?dl=1", "example.org/files/12?dl=1"),
        ("https://example.org/get?path=a/b", "example.org/get?path=a%2Fb"),
        ("https://example.org/a.bin#part", "example.org/a.bin"),
    ],
)
def test_location_is_host_and_decoded_path(url, place):
    assert addresses.location(url).as_posix() == place


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/../x", "https://example.org/a/%2e%2e/x", "https://example.org/a%5c..%5cx",
        "file:///etc/hostname", "https:///x", "https://example.org/folder/", "",
    ],
)  # fmt: skip
def test_an_unsafe_address_has_no_place(url):
    for place in (addresses.location, addresses.raw):
        with pytest.raises(ValueError, match=r"."):
            place(url)


def test_raw_and_mirror_hold_the_same_tree(tmp_path, monkeypatch):
    url = "https://example.org/a/b%20c.mat"
    assert addresses.raw(url) == tmp_path / "data" / "raw" / "example.org" / "a" / "b c.mat"
    assert addresses.mirror(url) is None
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    assert addresses.mirror(url) == tmp_path / "mirror" / "example.org" / "a" / "b c.mat"


def test_pieces_stay_inside():
    assert addresses.inside(["a", "b"], "a/b").as_posix() == "a/b"
    for piece in ("..", ".", "a\\b", "a\nb"):
        with pytest.raises(ValueError, match="could leave its folder"):
            addresses.inside(["a", piece], "name")
