"""Broken transfers against a server on this machine: what came stays, what does not belong to it goes."""

import gzip
import hashlib
import json
import threading
import time
import zlib

import pytest
import requests
from serving import ALWAYS, PAGE, serving

from lib import download, locked, transfer

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SIZE = len(CONTENT)
HALF = SIZE // 2
PATH = "/a/file.tar"
PUBLISHED = (SHA256, SIZE)
either = pytest.mark.parametrize(
    "declared", [PUBLISHED, (SHA256, 0), ("", SIZE), ()], ids=["published", "no size", "no hash", "neither"]
)


@pytest.fixture
def server():
    with serving({PATH: CONTENT}) as server:
        yield server


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    monkeypatch.setattr(download, "RETRIES", 0)
    monkeypatch.setattr(transfer, "PAUSE_S", 0)


@pytest.fixture
def bars(monkeypatch):
    """All progress bars of downloads, each with the number it started at when its first bytes came."""
    made = []

    class Bar(download.tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.seen = []
            made.append(self)

        def update(self, n=1):
            self.seen.append(self.n)
            return super().update(n)

    monkeypatch.setattr(download, "tqdm", Bar)
    return made


def ranges(server):
    """The parts that were asked for."""
    return [request.range for request in server.requests]


def interrupted(server, *declared, content=CONTENT):
    """Fetch half of a file; then the server fails. Gives the address and the bytes that were kept."""

    def half(handler):
        server.break_after(HALF)
        handler.answer(content)
        server.files[PATH] = content

    server.files[PATH] = lambda handler: (half(handler), server.fail(PATH, 503))
    with pytest.raises(download.NoNetwork, match="503"):
        download.fetch(server.url + PATH, *declared)
    server.failures.clear()
    server.files[PATH] = CONTENT
    server.requests.clear()
    return server.url + PATH, transfer.Partial(download.raw(server.url + PATH)).size


def files(url):
    """Names in the folder of a file."""
    return sorted(path.name for path in download.raw(url).parent.iterdir())


# A break within one call


@either
def test_a_broken_connection_is_taken_up_where_it_broke(server, declared):
    server.break_after(HALF)
    url = server.url + PATH
    assert download.fetch(url, *declared).read_bytes() == CONTENT
    first, second = server.requests
    assert (first.status, first.range, second.status) == (200, "", 206)
    kept = SIZE - second.sent
    assert second.range == f"bytes={kept}-"
    assert HALF - transfer.CHUNK < kept <= HALF
    assert second.headers["If-Range"] == f'"{zlib.crc32(CONTENT):x}"'
    assert files(url) == ["file.tar"]


@either
def test_a_connection_that_breaks_again_and_again_gets_there(server, declared):
    server.break_after(2 * transfer.CHUNK, ALWAYS)
    assert download.fetch(server.url + PATH, *declared).read_bytes() == CONTENT
    # Each break loses less than one read.
    assert SIZE / (2 * transfer.CHUNK) <= len(server.requests) <= SIZE / transfer.CHUNK + 1
    assert all(request.range for request in server.requests[1:])


def test_a_break_is_told_by_the_declared_size_where_the_server_states_none(server):
    server.length = None
    server.break_after(HALF)
    assert download.fetch(server.url + PATH, *PUBLISHED).read_bytes() == CONTENT
    assert ranges(server) == ["", f"bytes={HALF}-"]


@either
def test_a_server_that_gives_less_than_asked_for_is_asked_for_more(server, declared):
    def piece(handler):
        begin = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        end = min(begin + HALF // 2, SIZE)
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {begin}-{end - 1}/{SIZE}")
        handler.send_header("Content-Length", str(end - begin))
        handler.end_headers()
        handler.send(CONTENT[begin:end])

    url, kept = interrupted(server, *declared)
    server.files[PATH] = piece
    assert download.fetch(url, *declared).read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={begin}-" for begin in range(kept, SIZE, HALF // 2)]


def test_a_server_without_ranges_that_always_breaks_is_given_up(server):
    server.ranges = False
    server.break_after(HALF, ALWAYS)
    with pytest.raises(download.WrongSize, match=f"truncated, expected {SIZE} bytes"):
        download.fetch(server.url + PATH, *PUBLISHED)
    assert len(server.requests) == 2


def test_a_server_without_ranges_is_asked_again_from_the_start(server, bars):
    server.ranges = False
    server.break_after(HALF)
    assert download.fetch(server.url + PATH, *PUBLISHED).read_bytes() == CONTENT
    assert (bars[-1].n, bars[-1].total) == (SIZE, SIZE)
    assert [request.status for request in server.requests] == [200, 200]
    assert server.requests[1].range


def test_a_break_without_progress_is_tried_as_often_as_said(server, monkeypatch):
    monkeypatch.setattr(download, "RETRIES", 1)
    monkeypatch.setattr("time.sleep", lambda _: None)
    server.break_after(0, ALWAYS)
    with pytest.raises(download.WrongSize, match="truncated"):
        download.fetch(server.url + PATH)
    assert len(server.requests) == 2
    assert files(server.url + PATH) == []
    assert locked.entries() == {}


# A break that another run takes up


@either
def test_the_next_run_takes_up_what_the_last_one_kept(server, declared, bars, caplog):
    caplog.set_level("INFO")
    url, kept = interrupted(server, *declared)
    assert HALF - transfer.CHUNK < kept <= HALF
    assert files(url) == [".file.tar.partial", ".file.tar.partial.json"]
    bars.clear()
    assert download.fetch(url, *declared).read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={kept}-"]
    assert server.sent == SIZE - kept
    assert files(url) == ["file.tar"]
    assert f"{kept / 1e6:.1f} MB have come already" in caplog.text
    bar = next(bar for bar in bars if bar.desc.startswith("download"))
    assert (bar.seen[0], bar.initial, bar.n, bar.total) == (kept, kept, SIZE, SIZE)


def test_an_interrupted_transfer_says_what_is_kept(server):
    server.files[PATH] = lambda handler: (
        server.break_after(HALF),
        handler.answer(CONTENT),
        server.fail(PATH, 503),
    )
    with pytest.raises(download.NoNetwork, match=r"503.* \d{6} bytes are kept; the next run continues there"):
        download.fetch(server.url + PATH, *PUBLISHED)


def test_a_missing_file_costs_nothing_that_is_kept(server):
    url, kept = interrupted(server)
    server.fail(PATH, 404, times=1)
    with pytest.raises(download.NotThere, match="404"):
        download.fetch(url)
    assert download.fetch(url).read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={kept}-"] * 2


@either
def test_a_whole_that_lacks_only_its_name_is_not_asked_for(server, declared):
    url, _ = interrupted(server, *declared)
    transfer.Partial(download.raw(url)).content.write_bytes(CONTENT)
    assert download.fetch(url, *declared).read_bytes() == CONTENT
    assert server.requests == []


@either
def test_another_version_at_the_source_starts_afresh(server, declared):
    url, kept = interrupted(server, *declared, content=CONTENT[::-1])
    assert download.fetch(url, *declared).read_bytes() == CONTENT
    assert [(request.range, request.status) for request in server.requests] == [(f"bytes={kept}-", 200)]


@pytest.mark.parametrize("declared", [PUBLISHED, ()], ids=["published", "neither"])
def test_another_version_given_as_a_part_is_not_appended(server, declared):
    """A server that ignores If-Range and gives the rest of another version."""
    url, kept = interrupted(server, *declared, content=CONTENT[::-1])

    def part(handler):
        if "Range" in handler.headers:
            handler.headers.replace_header("If-Range", f'"{zlib.crc32(CONTENT):x}"')
        handler.answer(CONTENT)

    server.files[PATH] = part
    assert download.fetch(url, *declared).read_bytes() == CONTENT
    assert [(request.range, request.status) for request in server.requests] == [
        (f"bytes={kept}-", 206),
        ("", 200),
    ]


@either
@pytest.mark.parametrize(
    "stated", ["bytes 0-{last}/{size}", "bytes {kept}-{last}/*", "bytes {kept}-{last}/{more}", "rest", ""]
)
def test_a_part_that_was_not_asked_for_is_not_appended(server, declared, stated):
    url, kept = interrupted(server, *declared)
    place = {"kept": kept, "last": SIZE - 1, "size": SIZE, "more": SIZE + 1}

    def part(handler):
        if "Range" not in handler.headers:
            handler.answer(CONTENT)
            return
        handler.send_response(206)
        handler.send_header("Content-Range", stated.format(**place))
        handler.end_headers()
        handler.send(CONTENT[kept:])

    server.files[PATH] = part
    assert download.fetch(url, *declared).read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={kept}-", ""]


@either
def test_a_server_that_has_no_such_part_is_asked_for_the_whole(server, declared):
    url, _ = interrupted(server, *declared)

    def refuse(handler):
        if "Range" in handler.headers:
            handler.send_error(416)
        else:
            handler.answer(CONTENT)

    server.files[PATH] = refuse
    assert download.fetch(url, *declared).read_bytes() == CONTENT
    assert [request.status for request in server.requests] == [416, 200]


def test_a_wrong_whole_starts_afresh_once(server, bars):
    url, kept = interrupted(server, *PUBLISHED)
    transfer.Partial(download.raw(url)).content.write_bytes(CONTENT[:kept][::-1])
    bars.clear()
    assert download.fetch(url, *PUBLISHED).read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={kept}-", ""]
    bar = next(bar for bar in bars if bar.desc.startswith("download"))
    assert (bar.n, bar.total) == (SIZE, SIZE)


def test_a_wrong_whole_that_stays_wrong_is_told_and_nothing_kept(server, bars):
    server.etag = '"the same"'
    url, kept = interrupted(server, *PUBLISHED)
    server.files[PATH] = CONTENT[:kept] + bytes(SIZE - kept)
    with pytest.raises(download.WrongHash, match=f"expected {SHA256}"):
        download.fetch(url, *PUBLISHED)
    assert ranges(server) == [f"bytes={kept}-", ""]
    assert files(url) == []
    assert bars[-1].n == 0


def test_a_wrong_whole_that_breaks_again_starts_afresh_only_once(server):
    server.etag = '"the same"'
    url, kept = interrupted(server, *PUBLISHED)
    server.files[PATH] = CONTENT[:kept] + bytes(SIZE - kept)
    server.break_after(HALF + transfer.CHUNK, ALWAYS)
    with pytest.raises(download.WrongHash):
        download.fetch(url, *PUBLISHED)
    assert len(server.requests) == 3
    assert ranges(server)[:2] == [f"bytes={kept}-", ""]


def test_more_than_the_whole_is_not_kept(server):
    url, _ = interrupted(server, *PUBLISHED)
    transfer.Partial(download.raw(url)).content.write_bytes(CONTENT + b"more")
    assert download.fetch(url, *PUBLISHED).read_bytes() == CONTENT
    assert ranges(server) == [""]


def test_without_hash_and_version_nothing_is_continued(server):
    server.etag = False
    url, _ = interrupted(server)
    assert download.fetch(url).read_bytes() == CONTENT
    assert ranges(server) == [""]


def test_with_a_hash_no_version_is_needed(server):
    server.etag = False
    url, kept = interrupted(server, *PUBLISHED)
    assert download.fetch(url, *PUBLISHED).read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={kept}-"]
    assert "If-Range" not in server.requests[0].headers


@pytest.mark.parametrize("etag", [False, 'W/"weak"'])
def test_a_date_names_the_version_where_no_strong_tag_does(server, etag):
    server.etag, server.modified = etag, "Wed, 21 Oct 2015 07:28:00 GMT"
    url, kept = interrupted(server)
    assert download.fetch(url).read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={kept}-"]
    assert server.requests[0].headers["If-Range"] == server.modified


@pytest.mark.parametrize(
    "note", ["", "{", "[]", '{"ETag": 1}', '{"ETag": "", "Last-Modified": "", "size": {}}']
)
def test_a_damaged_note_is_as_good_as_none(server, note):
    url, kept = interrupted(server, *PUBLISHED)
    download.raw(url).with_name(".file.tar.partial.json").write_text(note)
    assert download.fetch(url, *PUBLISHED).read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={kept}-"]


def test_a_process_killed_while_the_hash_is_checked_loses_nothing(server, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pooch.core.hash_matches", killed)
        with pytest.raises(KeyboardInterrupt):
            download.fetch(server.url + PATH, *PUBLISHED)
    assert not download.raw(server.url + PATH).exists()
    assert download.fetch(server.url + PATH, *PUBLISHED).read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert files(server.url + PATH) == ["file.tar"]


@either
def test_a_file_system_without_links_will_do(server, monkeypatch, declared):
    def without(*_):
        raise PermissionError("no links here")

    monkeypatch.setattr("os.link", without)
    assert download.fetch(server.url + PATH, *declared).read_bytes() == CONTENT
    assert files(server.url + PATH) == ["file.tar"]


def test_a_partial_never_counts_as_the_file(server):
    url, _ = interrupted(server)
    assert download.missing([(url, "", 0)]) == [(url, "", 0)]
    assert not download.raw(url).exists()
    assert locked.entries() == {}


def test_the_mirror_makes_a_partial_needless(server, tmp_path, monkeypatch):
    url, _ = interrupted(server, *PUBLISHED)
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    download.mirror(url).parent.mkdir(parents=True)
    download.mirror(url).write_bytes(CONTENT)
    assert download.fetch(url, *PUBLISHED).read_bytes() == CONTENT
    assert server.requests == []
    assert files(url) == ["file.tar"]


def test_a_disk_that_fills_up_is_not_left_full(server, monkeypatch):
    write = transfer.Transfer.write

    def full(self, file, chunk):
        if self.partial.size > HALF:
            raise OSError(28, "No space left on device")
        write(self, file, chunk)

    monkeypatch.setattr(transfer.Transfer, "write", full)
    with pytest.raises(OSError, match="No space left"):
        download.fetch(server.url + PATH, *PUBLISHED)
    assert files(server.url + PATH) == []


# The bar


def test_a_bar_learns_sizes_from_the_mirror(tmp_path, monkeypatch, bars):
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    url = "https://example.org/a.tar"
    download.mirror(url).parent.mkdir(parents=True)
    download.mirror(url).write_bytes(CONTENT)
    download.fetch(url, "", 7)
    assert (bars[-1].n, bars[-1].total) == (SIZE, SIZE)


def test_a_mirrored_file_of_another_size_is_not_even_copied(tmp_path, monkeypatch, bars):
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    url = "https://example.org/a.tar"
    download.mirror(url).parent.mkdir(parents=True)
    download.mirror(url).write_bytes(CONTENT[1:])
    with pytest.raises(download.WrongSize, match="is truncated"):
        download.fetch(url, *PUBLISHED)
    assert bars[-1].seen == []


def test_a_bar_counts_what_another_process_fetched(server, bars):
    server.pause_after(1000)
    threads = [
        threading.Thread(target=download.fetch, args=(server.url + PATH, *PUBLISHED)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert server.paused.wait(10)
    while len([bar for bar in bars if bar.desc == "download"]) < 2:
        time.sleep(0.01)
    server.released.set()
    for thread in threads:
        thread.join()
    assert [(bar.n, bar.total) for bar in bars if bar.desc == "download"] == [(SIZE, SIZE)] * 2


def test_a_bar_counts_only_what_is_to_be_fetched(server, bars):
    server.files["/a/by_hand.tar"] = CONTENT
    by_hand = download.raw(server.url + "/a/by_hand.tar")
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(CONTENT)
    rows = [(server.url + PATH, *PUBLISHED), (server.url + "/a/by_hand.tar", "", SIZE)]
    download.fetch_all([*rows, *rows])
    assert (bars[-1].n, bars[-1].total) == (SIZE, SIZE)
    assert server.paths == [PATH]


# What servers say


def test_a_wrong_length_is_told_before_the_content_is_read(server):
    server.length = SIZE + 1
    server.pause_after(0)
    with pytest.raises(download.WrongSize, match=f"has {SIZE + 1} bytes, expected {SIZE}"):
        download.fetch(server.url + PATH, *PUBLISHED)
    assert files(server.url + PATH) == []


@pytest.mark.parametrize("declared", [(), ("", SIZE)])
def test_fewer_bytes_than_the_server_states_are_never_recorded(server, declared):
    server.ranges, server.length = False, SIZE + 1
    with pytest.raises(download.WrongSize, match=f"truncated, expected {SIZE + 1} bytes"):
        download.fetch(server.url + PATH, *declared)
    assert locked.entries() == {}
    assert not download.raw(server.url + PATH).exists()


def test_a_file_of_unstated_length_is_taken_as_it_ends(server, bars):
    server.length = None
    assert download.fetch(server.url + PATH).read_bytes() == CONTENT
    assert bars[-1].n == SIZE


def test_a_bar_learns_sizes_from_the_server(server, bars):
    download.fetch(server.url + PATH, "", 7)
    assert (bars[-1].n, bars[-1].total) == (SIZE, SIZE)


def test_a_passing_failure_is_tried_again(server, monkeypatch):
    monkeypatch.setattr(download, "RETRIES", 2)
    monkeypatch.setattr("time.sleep", lambda _: None)
    server.fail(PATH, 503, times=2)
    assert download.fetch(server.url + PATH).read_bytes() == CONTENT
    assert [request.status for request in server.requests] == [503, 503, 200]


def test_an_answer_without_content_is_no_file(server):
    server.files[PATH] = lambda handler: (handler.send_response(204), handler.end_headers())
    with pytest.raises(download.NotThere, match="status 204"):
        download.fetch(server.url + PATH)


def test_an_empty_answer_is_no_file(server):
    server.files[PATH] = b""
    with pytest.raises(download.NotThere, match="is empty"):
        download.fetch(server.url + PATH)
    assert files(server.url + PATH) == []
    assert locked.entries() == {}


def test_content_compressed_on_the_way_is_unpacked_and_its_length_not_compared(server):
    packed = gzip.compress(CONTENT)

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(packed)))
        handler.end_headers()
        handler.send(packed)

    server.files[PATH] = answer
    assert download.fetch(server.url + PATH, *PUBLISHED).read_bytes() == CONTENT


# Pages in disguise


@pytest.mark.parametrize(
    "suffix", ["tar", "zip", "gz", "h5", "mat", "npy", "npz", "pkl", "pckl", "csv", "TAR"]
)
def test_a_page_in_place_of_data_is_refused_and_not_recorded(server, suffix):
    url = f"{server.url}/a/data.{suffix}?dl=1"
    server.files[f"/a/data.{suffix}?dl=1"] = PAGE
    with pytest.raises(download.NotThere, match=r"is a web page .*<!DOCTYPE html>"):
        download.fetch(url)
    assert files(url) == []
    assert locked.entries() == {}


@pytest.mark.parametrize(
    "page",
    [
        b"<html>", b"\n  <HTML lang='en'>", b"\xef\xbb\xbf<!doctype HTML public>", b"<!-- a -->\n<html>",
        b"<?xml version='1.0'?>\n<!DOCTYPE html>", b"<head><title>404</title>",
    ],
)  # fmt: skip
def test_pages_are_known_by_their_beginning(tmp_path, page):
    path = tmp_path / "a.mat"
    path.write_bytes(page)
    assert "web page" in transfer.no_data(path, "https://example.org/a.mat")
    assert transfer.no_data(path, "https://example.org/a.html") == ""


@pytest.mark.parametrize(
    "content", [b"\x80\x02}q", b"MATLAB 5.0 <html>", b"<?xml version='1.0'?><data/>", b"<htmlike>", b"1"]
)
def test_data_are_no_page(tmp_path, content):
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    assert transfer.no_data(path, "https://example.org/a.mat") == ""


# The server of these tests


def test_the_server_gives_a_folder_and_nothing_outside(tmp_path):
    (tmp_path / "in" / "a b").mkdir(parents=True)
    (tmp_path / "in" / "a b" / "file").write_bytes(CONTENT)
    (tmp_path / "out").write_bytes(b"secret")
    with serving(tmp_path / "in", etag=False) as server:
        assert requests.get(server.url + "/a%20b/file", timeout=5).content == CONTENT
        assert requests.get(server.url + "/%2e%2e/out", timeout=5).status_code == 404
        assert server.paths == ["/a%20b/file", "/../out"]
        part = requests.get(server.url + "/a%20b/file", headers={"Range": f"bytes={SIZE - 3}-"}, timeout=5)
        assert (part.status_code, part.content) == (206, CONTENT[-3:])
        assert part.headers["Content-Range"] == f"bytes {SIZE - 3}-{SIZE - 1}/{SIZE}"
        part = requests.get(server.url + "/a%20b/file", headers={"Range": f"bytes={SIZE}-"}, timeout=5)
        assert part.status_code == 416


def test_a_note_says_what_the_server_said(server):
    url, _ = interrupted(server)
    note = json.loads(download.raw(url).with_name(".file.tar.partial.json").read_text())
    assert note == {"ETag": f'"{zlib.crc32(CONTENT):x}"', "Last-Modified": "", "size": SIZE}
