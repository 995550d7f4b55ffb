"""Downloads against a server on this machine that can be told to misbehave."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from serving import serving

from lib import download, transfer

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SIZE = len(CONTENT)


@pytest.fixture
def server():
    with serving({"/a/file.bin": CONTENT}) as server:
        yield server


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    monkeypatch.setattr(download, "RETRIES", 0)
    monkeypatch.setattr(transfer, "PAUSE_S", 0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def mirrored(tmp_path, monkeypatch, url, content):
    """Put a file into a mirror."""
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    path = tmp_path / "mirror" / download.location(url)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def left(tmp_path):
    """Names of all files below home, apart from locks."""
    return sorted(p.name for p in (tmp_path / "home").rglob("*") if p.is_file() and p.parent.name != ".locks")


def test_a_file_lands_under_host_and_path_and_a_second_run_asks_for_nothing(server, tmp_path):
    url = server.url + "/a/file.bin"
    path = download.fetch(url, SHA256, SIZE)
    assert path == tmp_path / "home" / "data" / "raw" / f"127.0.0.1:{server.server_port}" / "a" / "file.bin"
    assert path.read_bytes() == CONTENT
    assert download.fetch(url, SHA256.upper(), SIZE) == path
    assert server.paths == ["/a/file.bin"]
    assert left(tmp_path) == ["file.bin"]


def test_the_mirror_comes_before_the_network(server, tmp_path, monkeypatch):
    url = server.url + "/a/file.bin"
    mirrored(tmp_path, monkeypatch, url, CONTENT)
    assert download.fetch(url, SHA256, SIZE).read_bytes() == CONTENT
    assert server.requests == []


def test_a_file_the_mirror_lacks_comes_from_the_network(server, tmp_path, monkeypatch):
    mirrored(tmp_path, monkeypatch, server.url + "/b/other.bin", b"other")
    assert download.fetch(server.url + "/a/file.bin", SHA256, SIZE).read_bytes() == CONTENT


def test_a_wrong_hash_is_refused_and_nothing_left(server, tmp_path):
    server.files["/a/file.bin"] = CONTENT[::-1]
    found = hashlib.sha256(CONTENT[::-1]).hexdigest()
    with pytest.raises(
        download.WrongHash, match=f"{server.url}/a/file.bin sends has sha256 {found}, expected {SHA256}"
    ):
        download.fetch(server.url + "/a/file.bin", SHA256, SIZE)
    assert left(tmp_path) == []


def test_a_wrong_hash_is_not_asked_for_again(server, monkeypatch):
    monkeypatch.setattr(download, "RETRIES", 2)
    server.files["/a/file.bin"] = CONTENT[::-1]
    with pytest.raises(download.WrongHash):
        download.fetch(server.url + "/a/file.bin", SHA256, SIZE)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("content", "kind"),
    [(CONTENT[::-1], download.WrongHash), (CONTENT[:-1], download.WrongSize), (b"", download.WrongSize)],
)
def test_a_damaged_mirror_is_named_and_not_worked_around(server, tmp_path, monkeypatch, content, kind):
    url = server.url + "/a/file.bin"
    path = mirrored(tmp_path, monkeypatch, url, content)
    with pytest.raises(kind, match=f"mirrored file {path} .*replace or remove it"):
        download.fetch(url, SHA256, SIZE)
    assert server.requests == []
    assert left(tmp_path) == []


@pytest.mark.parametrize("declared", [SIZE, None], ids=["length announced", "no length"])
def test_a_transfer_cut_short_is_told_by_its_size(server, tmp_path, declared):
    server.files["/a/file.bin"] = lambda handler: handler.give(CONTENT[:1000], declared)
    with pytest.raises(download.WrongSize, match=f"truncated, expected {SIZE} bytes: .*1000 bytes read"):
        download.fetch(server.url + "/a/file.bin", SHA256, SIZE)
    assert {name.startswith(".file.bin.partial") for name in left(tmp_path)} <= {True}


def test_a_file_longer_than_declared_is_not_read_to_its_end(server, tmp_path):
    sent = []

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while len(sent) < 10_000:
                sent.append(handler.wfile.write(CONTENT))
        except OSError:
            return

    server.files["/a/file.bin"] = endless
    with pytest.raises(download.WrongSize, match=f"longer than the {SIZE} bytes"):
        download.fetch(server.url + "/a/file.bin", SHA256, SIZE)
    assert len(sent) < 10_000
    assert left(tmp_path) == []


def test_a_broken_transfer_is_tried_again(server, monkeypatch):
    monkeypatch.setattr(download, "RETRIES", 1)

    def first_half_only(handler):
        server.files["/a/file.bin"] = CONTENT
        handler.give(CONTENT[: SIZE // 2], SIZE)

    server.files["/a/file.bin"] = first_half_only
    assert download.fetch(server.url + "/a/file.bin", SHA256, SIZE).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_missing_file_says_what_to_put_where(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "RETRIES", 2)
    url = server.url + "/b/none.bin"
    with pytest.raises(download.NotThere) as raised:
        download.fetch(url, SHA256, SIZE)
    place = f"127.0.0.1:{server.server_port}/b/none.bin"
    for needed in (
        url,
        "404",
        SHA256,
        f"{SIZE} bytes",
        str(tmp_path / "home/data/raw" / place),
        f"$DATA_MIRROR/{place}",
    ):
        assert needed in str(raised.value)
    assert len(server.requests) == 1


def test_a_failing_server_is_no_missing_file(server):
    server.files["/a/file.bin"] = lambda handler: handler.send_error(503)
    with pytest.raises(download.NoNetwork, match="503"):
        download.fetch(server.url + "/a/file.bin", SHA256, SIZE)


def test_no_network_says_what_to_put_where(server, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    server.shutdown()
    server.server_close()
    url = server.url + "/a/file.bin"
    with pytest.raises(download.NoNetwork) as raised:
        download.fetch(url, SHA256, SIZE)
    assert str(tmp_path / "mirror" / download.location(url)) in str(raised.value)
    assert str(download.raw(url)) in str(raised.value)


def test_a_silent_server_is_given_up(server, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT_S", 0.2)
    server.files["/a/file.bin"] = lambda _: time.sleep(1)
    with pytest.raises(download.NoNetwork, match="timed out"):
        download.fetch(server.url + "/a/file.bin", SHA256, SIZE)


@pytest.mark.parametrize("damage", [CONTENT[:100], CONTENT[::-1]], ids=["truncated", "changed"])
def test_a_damaged_file_is_fetched_again_or_named(server, damage):
    url = server.url + "/a/file.bin"
    path = download.raw(url)
    path.parent.mkdir(parents=True)
    path.write_bytes(damage)
    server.files.clear()
    with pytest.raises(
        download.NotThere, match=f"file that is here cannot be used: {path} has .* instead of"
    ):
        download.fetch(url, SHA256, SIZE)
    server.files["/a/file.bin"] = CONTENT
    assert download.fetch(url, SHA256, SIZE).read_bytes() == CONTENT


def test_a_file_put_by_hand_is_enough(server):
    url = server.url + "/nowhere/file.bin"
    path = download.raw(url)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert download.fetch(url, SHA256, SIZE) == path
    assert server.requests == []


def test_a_registry_is_fetched_once_and_counted_in_bytes(server, capsys):
    server.files["/a/small.bin"] = b"small"
    rows = [
        (server.url + "/a/file.bin", SHA256, SIZE),
        (server.url + "/a/small.bin", hashlib.sha256(b"small").hexdigest(), 5),
    ]
    assert [row[2] for row in download.missing(rows)] == [SIZE, 5]
    paths = download.fetch_all(rows)
    assert [paths[row[0]].stat().st_size for row in rows] == [SIZE, 5]
    assert "512k/512k" in capsys.readouterr().err
    assert download.missing(rows) == []
    download.fetch_all(rows)
    assert len(server.requests) == 2
    assert capsys.readouterr().err == ""


def test_one_failure_keeps_what_came_before(server):
    rows = [(server.url + "/a/file.bin", SHA256, SIZE), (server.url + "/a/none.bin", SHA256, SIZE)]
    with pytest.raises(download.NotThere):
        download.fetch_all(rows)
    assert download.missing(rows) == rows[1:]


def killed_half_way(server, url, *declared):
    """Start fetching in another process and kill it when half of the content has come."""
    server.pause_after(SIZE // 2)
    code = f"from lib import download; download.fetch{(url, *declared)!r}"
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[1], stderr=subprocess.DEVNULL
    )
    assert server.paused.wait(30)
    deadline = time.time() + 10
    while transfer.Partial(download.raw(url)).size < SIZE // 2 - transfer.CHUNK and time.time() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    server.released.set()


@pytest.mark.parametrize("declared", [(SHA256, SIZE), ()], ids=["published", "not published"])
def test_a_killed_transfer_is_continued(server, tmp_path, declared):
    url = server.url + "/a/file.bin"
    killed_half_way(server, url, *declared)
    assert not download.raw(url).exists()
    kept = transfer.Partial(download.raw(url)).size
    assert kept > SIZE // 2 - transfer.CHUNK
    for path in download.raw(url).parent.glob("tmp*"):
        os.utime(path, (0, 0))
    assert download.fetch(url, *declared).read_bytes() == CONTENT
    assert [request.range for request in server.requests] == ["", f"bytes={kept}-"]
    # What was sent twice is at most what one read holds.
    assert server.requests[1].sent == SIZE - kept
    assert SIZE <= SIZE // 2 + server.requests[1].sent <= SIZE + transfer.CHUNK
    assert [name for name in left(tmp_path) if not name.endswith("locked.csv.lock")] == (
        ["file.bin"] if declared else ["file.bin", "locked.csv"]
    )


def test_a_living_transfer_is_not_swept_away(server):
    living = download.raw(server.url + "/a/file.bin").with_name("tmpabcd1234")
    living.parent.mkdir(parents=True)
    living.write_bytes(b"half")
    download.fetch(server.url + "/a/file.bin", SHA256, SIZE)
    assert living.exists()


def test_a_full_disk_leaves_nothing(server, tmp_path, monkeypatch):
    def full(_transfer, _file, _chunk):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transfer.Transfer, "write", full)
    with pytest.raises(OSError, match="No space left"):
        download.fetch(server.url + "/a/file.bin", SHA256, SIZE)
    assert left(tmp_path) == []


@pytest.mark.parametrize("declared", [(SHA256, SIZE), ()], ids=["published", "not published"])
def test_of_two_at_once_one_fetches_and_both_get_the_file(server, caplog, declared):
    caplog.set_level("INFO", "lib.download")
    server.pause_after(1000)
    url, paths = server.url + "/a/file.bin", []
    threads = [
        threading.Thread(target=lambda: paths.append(download.fetch(url, *declared))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert server.paused.wait(10)
    deadline = time.time() + 10
    while "waiting for another process" not in caplog.text and time.time() < deadline:
        time.sleep(0.01)
    server.released.set()
    for thread in threads:
        thread.join()
    assert [p.read_bytes() for p in paths] == [CONTENT, CONTENT]
    assert len(server.requests) == 1


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
    assert download.location(url).as_posix() == place


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/../x", "https://example.org/a/%2e%2e/x", "https://example.org/%2e%2e%2fx",
        "https://../x", "https://example.org/a/./x", "https://example.org/a%5c..%5cx", "https://example.org/a%00",
        "file:///etc/hostname", "ftp://example.org/x", "/etc/hostname", "https:///x", "https://example.org/",
        "https://example.org/folder/", "https://example.org:port/x", "",
    ],
)  # fmt: skip
def test_an_unsafe_address_is_refused(url):
    with pytest.raises(ValueError, match=r"."):
        download.fetch(url, SHA256, SIZE)
