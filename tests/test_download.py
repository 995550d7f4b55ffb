"""Downloads against a server on this machine that can be told to misbehave."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import pytest
from serving import PAGE, serving

from lib import download, hdf5, locked, transfer

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


# Hashes that nobody published


def test_the_first_download_records_and_the_second_asks_for_nothing(server, caplog):
    caplog.set_level("INFO")
    url = server.url + "/a/file.bin"
    assert download.missing([(url, "", 0)]) == [(url, "", 0)]
    path = download.fetch(url)
    assert path.read_bytes() == CONTENT
    assert locked.entries()[url][:2] == (SHA256, SIZE)
    assert f"{url} has sha256 {SHA256} and {SIZE} bytes" in caplog.text
    assert {record.levelname for record in caplog.records} == {"INFO"}
    assert download.missing([(url, "", 0)]) == []
    before = locked.file().read_bytes()
    assert download.fetch(url) == path
    assert len(server.requests) == 1
    assert locked.file().read_bytes() == before


def test_what_is_recorded_counts_as_declared(server):
    url = server.url + "/a/file.bin"
    download.fetch(url)
    download.raw(url).unlink()
    assert download.missing([(url, "", 7)]) == [(url, SHA256, SIZE)]


def test_an_announced_size_is_not_checked_before_the_first_download(server):
    url = server.url + "/a/file.bin"
    download.fetch(url, "", 7)
    assert locked.entries()[url].size == SIZE


@pytest.mark.parametrize(
    ("content", "kind"),
    [(CONTENT[::-1], download.WrongHash), (CONTENT[:-1], download.WrongSize), (PAGE, download.WrongHash)],
)
def test_another_content_than_recorded_is_refused_until_its_row_is_deleted(server, content, kind):
    url = server.url + "/a/file.bin"
    download.fetch(url)
    download.raw(url).unlink()
    server.files["/a/file.bin"] = content
    day = locked.entries()[url].recorded
    with pytest.raises(kind) as raised:
        download.fetch(url)
    for needed in (
        f"{locked.file()} holds sha256 {SHA256} ({SIZE} bytes) since {day}",
        f"delete the row of {url} there",
    ):
        assert needed in str(raised.value)
    assert locked.entries()[url].sha256 == SHA256
    if content is PAGE:
        return
    lines = locked.file().read_text().splitlines()
    locked.file().write_text("\n".join(line for line in lines if url not in line) + "\n")
    assert download.fetch(url).read_bytes() == content
    assert locked.entries()[url][:2] == (hashlib.sha256(content).hexdigest(), len(content))


def test_a_recorded_file_that_is_damaged_here_is_fetched_again(server):
    url = server.url + "/a/file.bin"
    download.fetch(url).write_bytes(CONTENT[::-1])
    assert download.fetch(url).read_bytes() == CONTENT
    assert len(server.requests) == 2


@pytest.mark.parametrize("content", [CONTENT, b"small"])
def test_a_file_put_by_hand_is_recorded(server, content):
    url = server.url + "/a/file.bin"
    download.raw(url).parent.mkdir(parents=True)
    download.raw(url).write_bytes(content)
    assert download.missing([(url, "", 0)]) == []
    assert download.fetch(url).read_bytes() == content
    assert locked.entries()[url].size == len(content)
    assert server.requests == []


def test_a_page_put_by_hand_is_replaced(server):
    url = server.url + "/a/file.bin"
    download.raw(url).parent.mkdir(parents=True)
    download.raw(url).write_bytes(PAGE)
    assert download.missing([(url, "", 0)]) == [(url, "", 0)]
    assert download.fetch(url).read_bytes() == CONTENT
    assert locked.entries()[url].sha256 == SHA256


def test_a_mirrored_file_is_recorded(server, tmp_path, monkeypatch):
    url = server.url + "/a/file.bin"
    mirrored(tmp_path, monkeypatch, url, CONTENT)
    download.fetch(url)
    assert locked.entries()[url][:2] == (SHA256, SIZE)
    assert server.requests == []


def test_a_mirrored_page_is_refused_and_not_recorded(server, tmp_path, monkeypatch):
    url = server.url + "/a/file.bin"
    path = mirrored(tmp_path, monkeypatch, url, PAGE)
    with pytest.raises(download.NotThere, match=f"mirrored file {path} is a web page .*replace or remove it"):
        download.fetch(url)
    assert left(tmp_path) == []
    assert locked.entries() == {}


def test_a_mirror_that_changed_is_told_by_the_lock_file(server, tmp_path, monkeypatch):
    url = server.url + "/a/file.bin"
    path = mirrored(tmp_path, monkeypatch, url, CONTENT)
    download.fetch(url).unlink()
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(download.WrongHash, match=rf"mirrored file {path} .*delete the row of {url}"):
        download.fetch(url)


def test_a_file_that_ends_its_reader_is_refused_and_not_recorded(server, monkeypatch):
    monkeypatch.setattr(hdf5, "TRIAL", "import os; os.abort()")
    url, content = server.url + "/a/file.h5", io.BytesIO()
    with h5py.File(content, "w") as file:
        file["x"] = [1.0]
    server.files["/a/file.h5"] = content.getvalue()
    put("form/V1.h5", content.getvalue())
    for _ in range(2):
        with pytest.raises(ValueError, match=r"file\.h5 is damaged: the HDF5 library dies of it"):
            download.fetch(url)
        with pytest.raises(ValueError, match=r"V1\.h5 is damaged: the HDF5 library dies of it"):
            download.placed(["form/V1.h5"], ADVICE)
    assert locked.entries() == {}
    # Who published a hash vouches for the content.
    assert download.fetch(url, hashlib.sha256(content.getvalue()).hexdigest()).exists()


def test_a_published_hash_leaves_the_lock_file_alone(server):
    url = server.url + "/a/file.bin"
    locked.file().parent.mkdir(parents=True)
    locked.file().write_text("damaged")
    download.fetch(url, SHA256, SIZE)
    assert locked.file().read_text() == "damaged"


def test_a_damaged_lock_file_is_named_before_anything_is_asked(server):
    locked.file().parent.mkdir(parents=True)
    locked.file().write_text("url,sha256,size,recorded\nhttps://a.org/a,12,3,2020-02-29\n")
    with pytest.raises(ValueError, match=r"locked\.csv, line 2: "):
        download.fetch(server.url + "/a/file.bin")
    assert server.requests == []


@pytest.mark.parametrize("declared", [("12", 5), ("nan", 5), (float("nan"), 5), (SHA256 + "0", 5), ("", -1)])
def test_a_wrong_declaration_is_named(server, declared):
    with pytest.raises(ValueError, match=f"{server.url}/a/file.bin is declared with sha256"):
        download.fetch(server.url + "/a/file.bin", *declared)
    assert server.requests == []


def test_a_published_hash_needs_no_size(server):
    url = server.url + "/a/file.bin"
    assert download.fetch(url, SHA256).read_bytes() == CONTENT
    assert download.missing([(url, SHA256, 0)]) == []
    server.files["/a/file.bin"] = CONTENT[:-1]
    download.raw(url).unlink()
    with pytest.raises(download.WrongHash):
        download.fetch(url, SHA256)


def test_what_is_to_be_fetched_is_said_beforehand(server, caplog, capsys):
    caplog.set_level("INFO", "lib.download")
    server.files |= {"/b/1.bin": b"1", "/b/2.bin": b"22"}
    rows = [(server.url + "/a/file.bin", SHA256, SIZE), *((f"{server.url}/b/{i}.bin", "", 0) for i in (1, 2))]
    download.fetch_all(rows)
    assert "3 files to fetch, 0.5 MB and 2 of unknown size" in caplog.text
    assert "have come already" not in caplog.text
    assert "download (2 of unknown size): 100%" in capsys.readouterr().err


def test_a_row_given_twice_is_fetched_once(server):
    rows = [(server.url + "/a/file.bin", "", 0)] * 2
    assert list(download.fetch_all(rows)) == [rows[0][0]]
    assert len(server.requests) == 1


def test_several_processes_fetch_each_file_once_and_record_all(server):
    """As `nh2015` and `b2021` do, which share an archive."""
    server.files |= {f"/b/{i}.bin": CONTENT[i:] for i in range(6)}
    rows = [(f"{server.url}/b/{i}.bin", "", 0) for i in range(6)]
    code = f"from lib import download; download.fetch_all({rows!r}[int(__import__('sys').argv[1]):])"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, first], cwd=Path(__file__).parents[1], stderr=subprocess.DEVNULL
        )
        for first in "012"
    ]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    assert sorted(server.paths) == [f"/b/{i}.bin" for i in range(6)]
    assert {url: entry.size for url, entry in locked.entries().items()} == {
        url: SIZE - i for i, (url, _, _) in enumerate(rows)
    }


def test_everything_comes_from_the_mirror_without_a_network(tmp_path, monkeypatch):
    def no_network(*_, **__):
        raise AssertionError("asked the network")

    monkeypatch.setattr("socket.socket.connect", no_network)
    host = "https://data.example.org"
    rows = [(f"{host}/published.bin", SHA256, SIZE), (f"{host}/a%20b/other.tar?dl=1", "", 0)]
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    places = [download.mirror(url) for url, _, _ in rows] + [tmp_path / "mirror" / "form" / "V1.pkl"]
    for path in places:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
    assert [path.read_bytes() for path in download.fetch_all(rows).values()] == [CONTENT] * 2
    assert download.placed(["form/V1.pkl"], "Ask.") == {"form/V1.pkl": places[2]}
    assert sorted(locked.entries()) == [rows[1][0], "placed:form/V1.pkl"]
    for path in places[:2]:
        path.unlink()
    assert list(download.fetch_all(rows)) == [url for url, _, _ in rows]


# Data that come by form


ADVICE = "Ask for them at https://example.org/form."


def put(path, content=CONTENT):
    """Place a file below data/raw."""
    place = download.home() / "data" / "raw" / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


def test_placed_files_are_found_and_recorded(caplog):
    caplog.set_level("INFO")
    paths = ["form/b/V1.pkl", "form/a b/V2.pkl"]
    places = [put(path) for path in paths]
    assert download.placed(iter(paths), ADVICE) == dict(zip(paths, places, strict=True))
    assert {key: entry[:2] for key, entry in locked.entries().items()} == {
        f"placed:{path}": (SHA256, SIZE) for path in paths
    }
    assert caplog.text.count("commit") == 2
    before = locked.file().read_bytes()
    download.placed(paths, ADVICE)
    assert locked.file().read_bytes() == before


def test_placed_files_here_come_before_the_mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    for path in ("form/V1.pkl", "form/V2.pkl"):
        (tmp_path / "mirror" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mirror" / path).write_bytes(b"mirrored")
    here = put("form/V1.pkl")
    assert download.placed(["form/V1.pkl", "form/V2.pkl"], ADVICE) == {
        "form/V1.pkl": here,
        "form/V2.pkl": tmp_path / "mirror/form/V2.pkl",
    }


def test_placed_files_that_are_missing_are_counted_and_named(tmp_path):
    put("form/0.pkl")
    with pytest.raises(download.NotThere) as raised:
        download.placed([f"form/{i}.pkl" for i in range(6)], ADVICE)
    assert "5 of 6 files are not here: form/1.pkl, form/2.pkl, form/3.pkl and 2 more. " in str(raised.value)
    for needed in (ADVICE, str(tmp_path / "home" / "data" / "raw"), "$DATA_MIRROR, which is not set"):
        assert needed in str(raised.value)
    assert locked.entries() == {}


def test_a_placed_file_that_changed_is_refused_until_its_row_is_deleted():
    put("form/V1.pkl")
    download.placed(["form/V1.pkl"], ADVICE)
    put("form/V1.pkl", CONTENT[::-1])
    put("form/V2.pkl")
    with pytest.raises(
        download.WrongHash, match=r"V1\.pkl has sha256 .*delete the row of placed:form/V1\.pkl"
    ):
        download.placed(["form/V2.pkl", "form/V1.pkl"], ADVICE)
    assert list(locked.entries()) == ["placed:form/V1.pkl"]
    locked.file().unlink()
    download.placed(["form/V2.pkl", "form/V1.pkl"], ADVICE)
    assert locked.entries()["placed:form/V1.pkl"].sha256 == hashlib.sha256(CONTENT[::-1]).hexdigest()


@pytest.mark.parametrize(("content", "fault"), [(PAGE, "web page"), (b"", "is empty")])
def test_a_placed_file_without_data_is_refused_and_not_recorded(content, fault):
    put("form/V1.pkl", content)
    with pytest.raises(download.NotThere, match=fault):
        download.placed(["form/V1.pkl"], ADVICE)
    assert locked.entries() == {}


@pytest.mark.parametrize(
    "path",
    ["../a", "a/../../b", "a/./b", "/etc/hostname", "a\\..\\b", "a\x00", "a/", "", ".", "~/../a", "a/b\n"],
)
def test_an_unsafe_placed_path_is_refused(path):
    with pytest.raises(ValueError, match=r"could leave its folder|is no path of a file"):
        download.placed([path], ADVICE)
