"""Archives are read only when every member is harmless, and written only inside their folder."""

import gzip
import io
import os
import re
import stat
import tarfile
import warnings
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib import archives

CONTENT = {"data/a.txt": b"first" * 300, "data/b c.bin": bytes(range(256)) * 40, "top.txt": b""}
KINDS = {"a.tar": "w", "a.tar.gz": "w:gz", "a.zip": None}


def entry(name, size=0, **changes):
    """An entry of a tar."""
    made = tarfile.TarInfo(name)
    made.size = size
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def tar(path, entries, mode="w"):
    """A tar of entries, or of contents by name."""
    with tarfile.open(path, mode) as archive:
        for made, content in entries:
            made = entry(made, len(content)) if isinstance(made, str) else made
            archive.addfile(made, io.BytesIO(content))
    return path


def zipped(path, entries):
    """A zip of entries (ZipInfo), or of contents by name."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of names that occur twice
        for made, content in entries:
            archive.writestr(made, content)
    return path


@pytest.fixture(params=KINDS)
def archive(request, tmp_path):
    """A harmless archive of each kind."""
    path = tmp_path / request.param
    return (
        zipped(path, CONTENT.items())
        if not KINDS[path.name]
        else tar(path, CONTENT.items(), KINDS[path.name])
    )


def test_names_are_listed(archive):
    assert archives.names(archive) == list(CONTENT)
    assert archives.names(str(archive)) == list(CONTENT)


def test_members_are_read_in_place(archive):
    for name, content in CONTENT.items():
        with archives.stream(archive, name) as stream:
            assert stream.read() == content
            assert stream.seek(3) == 3 if content else True
            assert stream.read(4) == content[3:7]
            assert stream.seek(0, io.SEEK_END) == len(content) == stream.raw.size
            assert stream.seek(-2, io.SEEK_CUR) == len(content) - 2 if content else True
            assert stream.name == f"{archive}:{name}"
    assert sorted(p.name for p in archive.parent.iterdir()) == [archive.name]


def test_several_members_are_read_one_after_the_other(archive):
    found = {name: stream.read() for name, stream in archives.streams(archive, reversed(CONTENT))}
    assert found == CONTENT
    with pytest.raises(ValueError, match="has no member 'x'"):
        list(archives.streams(archive, ["top.txt", "x"]))


def test_archives_are_unpacked(archive, tmp_path):
    found = archives.extract(archive, tmp_path / "out")
    assert {name: path.read_bytes() for name, path in found.items()} == CONTENT
    assert {
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()
    } == set(CONTENT)
    some = archives.extract(archive, tmp_path / "some", pattern="data/*.bin")
    assert list(some) == ["data/b c.bin"]
    with pytest.raises(ValueError, match=r"no member like '\*\.mat'; it has 'data/a.txt', "):
        archives.extract(archive, tmp_path / "none", pattern="*.mat")
    assert not (tmp_path / "none").exists()


def test_what_is_there_is_left_and_what_is_damaged_replaced(archive, tmp_path):
    first = archives.extract(archive, tmp_path / "out")["data/a.txt"]
    before = first.stat().st_mtime_ns, first.stat().st_ino
    archives.extract(archive, tmp_path / "out")
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == before
    first.write_bytes(b"short")
    archives.extract(archive, tmp_path / "out")
    assert first.read_bytes() == CONTENT["data/a.txt"]
    if archive.suffix == ".zip":  # tars keep no checksum
        first.write_bytes(b"x" * len(CONTENT["data/a.txt"]))
        archives.extract(archive, tmp_path / "out")
        assert first.read_bytes() == CONTENT["data/a.txt"]


def test_a_member_that_is_not_there_is_told_with_its_like(archive):
    with (
        pytest.raises(ValueError, match=r"has no member 'wrong/a\.txt'; it has 'data/a\.txt'$"),
        archives.stream(archive, "wrong/a.txt"),
    ):
        pass
    with pytest.raises(FileNotFoundError):
        archives.names(archive.with_name("b.tar"))


def test_an_archive_that_changes_is_read_anew(tmp_path):
    path = tar(tmp_path / "a.tar", [("a", b"1")])
    assert archives.names(path) == ["a"]
    tar(path, [("b", b"1"), ("c", b"2")])
    os.utime(path, (1, 1))
    assert archives.names(path) == ["b", "c"]


# Hostile members


LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
HOSTILE_TARS = {
    "climbs": (["../evil"], "climbs out"),
    "climbs deep": (["a/b/../../../evil"], "climbs out"),
    "absolute": (["/etc/../evil"], "not a relative path"),
    "drive": (["C:evil"], "not a relative path"),
    "backslash": (["..\\evil"], "climbs out"),
    "share": (["\\\\host\\evil"], "backslash"),
    "newline": (["a\nb"], "control character"),
    "link": ([entry("a", **LINK)], "is a link to '/etc/passwd'"),
    "link and through it": ([entry("a", type=tarfile.SYMTYPE, linkname=".."), "a/evil"], "is a link to '..'"),
    "hard link": ([entry("a", type=tarfile.LNKTYPE, linkname="../evil")], "is a link to '../evil'"),
    "device": ([entry("a", type=tarfile.CHRTYPE)], "device or pipe"),
    "pipe": ([entry("a", type=tarfile.FIFOTYPE)], "device or pipe"),
    "folder outside": ([entry("../evil", type=tarfile.DIRTYPE)], "climbs out"),
    "twice": (["a", "b", "a"], "'a' occurs twice"),
    "twice, in other words": (["a/b", "./a//b"], "'a/b' occurs twice"),
    "case": (["data/A.txt", "data/a.TXT"], "differs from 'data/A.txt' in case only"),
    "accents": (["caf\u00e9", "cafe\u0301"], "in case only"),
    "file and folder": (["a", "a/b"], "is a file and a folder"),
}  # fmt: skip
HOSTILE_ZIPS = {k: v for k, v in HOSTILE_TARS.items() if all(isinstance(m, str) for m in v[0])}


@pytest.fixture
def outside(tmp_path):
    """A folder in whose subfolder archives are unpacked, and whose content must stay."""
    (tmp_path / "box").mkdir()
    yield tmp_path / "box"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["box"]


def refuses(path, message):
    """Assert that nothing of an archive is read or written."""
    for attempt in (
        lambda: archives.names(path),
        lambda: archives.extract(path, path.parent / "out" / "deep"),
        lambda: archives.extract(path, path.parent / "out" / "deep", pattern="good.txt"),
        lambda: archives.stream(path, "good.txt").__enter__(),
    ):
        with pytest.raises(archives.Unsafe, match=message) as caught:
            attempt()
        assert str(path) in str(caught.value)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("name", HOSTILE_TARS)
def test_one_hostile_member_spoils_a_tar(name, mode, outside):
    members, message = HOSTILE_TARS[name]
    path = tar(outside / "evil.tar", [("good.txt", b"good"), *((m, b"") for m in members)], mode)
    refuses(path, re.escape(message))


@pytest.mark.parametrize("name", HOSTILE_ZIPS)
def test_one_hostile_member_spoils_a_zip(name, outside):
    members, message = HOSTILE_ZIPS[name]
    path = zipped(outside / "evil.zip", [("good.txt", b"good"), *((m, b"evil") for m in members)])
    refuses(path, re.escape(message))


@pytest.mark.parametrize(("mode", "message"), [(stat.S_IFLNK, "is a link"), (stat.S_IFIFO, "device or pipe")])
def test_a_zip_holds_neither_links_nor_devices(mode, message, outside):
    made = zipfile.ZipInfo("a")
    made.create_system, made.external_attr = 3, (mode | 0o777) << 16
    refuses(zipped(outside / "evil.zip", [("good.txt", b"good"), (made, "/etc/passwd")]), message)


def test_an_encrypted_zip_is_refused(outside):
    path = zipped(outside / "secret.zip", [("good.txt", b"good")])
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    refuses(path, "is encrypted")


def test_a_zip_bomb_is_refused(outside, monkeypatch):
    monkeypatch.setattr(archives, "FLOOR_BYTES", 1_000_000)
    path = zipped(outside / "bomb.zip", [("good.txt", b"good"), ("zeros", bytes(20_000_000))])
    assert path.stat().st_size < 50_000
    refuses(path, r"'zeros' would grow from \d+ to 20000000 bytes")
    assert archives.names(path, limit_ratio=2000) == ["good.txt", "zeros"]


def test_a_tar_bomb_is_refused(outside, monkeypatch):
    monkeypatch.setattr(archives, "FLOOR_BYTES", 1_000_000)
    path = tar(outside / "bomb.tar.gz", [("good.txt", b"good"), ("zeros", bytes(20_000_000))], "w:gz")
    refuses(path, r"grows too much, before byte 200\d+ ")
    assert archives.names(path, limit_ratio=2000) == ["good.txt", "zeros"]


def test_a_bomb_behind_the_end_of_a_tar_is_refused(outside, monkeypatch):
    monkeypatch.setattr(archives, "FLOOR_BYTES", 1_000_000)
    path = tar(outside / "bomb.tar", [("good.txt", b"good")])
    with gzip.open(path.with_suffix(".gz"), "wb") as file:
        file.write(path.read_bytes() + bytes(30_000_000))
    path.unlink()
    refuses(path.with_suffix(".gz"), "grows too much")


def test_members_that_share_bytes_are_refused(outside):
    path = zipped(outside / "evil.zip", [("good.txt", b"good" * 100), ("b", b"x" * 1000)])
    content = bytearray(path.read_bytes())
    second = content.rindex(b"PK\x01\x02")
    content[second + 42 : second + 46] = bytes(4)  # both begin at byte 0
    path.write_bytes(content)
    refuses(path, "'good.txt' overlaps 'b'|'b' overlaps 'good.txt'")


def test_a_size_that_lies_gives_no_more_than_it_says(outside):
    path = zipped(outside / "lie.zip", [("a", b"x" * 100_000)])
    content = path.read_bytes().replace((100_000).to_bytes(4, "little"), (500).to_bytes(4, "little"))
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"member 'a', at byte 0 is damaged"):
        archives.extract(path, outside / "out")
    assert not [p for p in (outside / "out").rglob("*") if p.is_file()]


def test_sizes_are_capped(archive, tmp_path):
    total = sum(map(len, CONTENT.values()))
    with pytest.raises(archives.Unsafe, match=f"would take {total} bytes, more than the {total - 1} allowed"):
        archives.extract(archive, tmp_path / "out", limit_bytes=total - 1)
    assert not (tmp_path / "out").exists()
    archives.extract(archive, tmp_path / "out", limit_bytes=total)
    with (
        pytest.raises(archives.Unsafe, match="allowed"),
        archives.stream(archive, "data/a.txt", limit_bytes=10),
    ):
        pass


def test_members_are_counted(archive, monkeypatch):
    monkeypatch.setattr(archives, "LIMIT_MEMBERS", 1)
    archives._listed.cache_clear()
    with pytest.raises(archives.Unsafe, match="more than 1"):
        archives.names(archive)


@pytest.mark.parametrize("where", ["out/data", "out/data/a.txt", "out/top.txt"])
def test_links_in_the_folder_are_not_followed(archive, where, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere.txt").write_text("keep")
    place = tmp_path / where
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / ("elsewhere.txt" if place.suffix else "elsewhere"))
    with pytest.raises(archives.Unsafe, match=r"is a link; .* is not written through it"):
        archives.extract(archive, tmp_path / "out")
    assert (tmp_path / "elsewhere.txt").read_text() == "keep"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_sparse_member_is_refused(outside):
    path = outside / "sparse.tar"
    tar(path, [("good.txt", b"good"), (entry("holes", 0, type=tarfile.GNUTYPE_SPARSE), b"")])
    refuses(path, "has holes")


# Damage


def test_every_cut_is_told(archive, tmp_path):
    whole = archive.read_bytes()
    path = tmp_path / f"cut{archive.suffix}"
    end = (
        -(-len(whole.rstrip(b"\0")) // 512) * 512 if archive.suffix == ".tar" else len(whole)
    )  # zeros follow
    for length in [*range(0, end, 97), end - 1, end // 2]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=re.escape(str(path))):
            archives.extract(path, tmp_path / "out")
    assert not (tmp_path / "out").exists() or archive.suffix == ".zip"


def test_a_damaged_header_in_the_middle_is_not_taken_for_the_end(tmp_path):
    path = tar(tmp_path / "a.tar", CONTENT.items())
    content = bytearray(path.read_bytes())
    content[2048 + 150] ^= 1  # in the header of the second member
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.tar is damaged.* at byte 2048"):
        archives.names(path)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
def test_damage_of_content_is_told_with_member_and_byte(name, tmp_path):
    noise = os.urandom(300_000)
    path = tmp_path / name
    _ = tar(path, [("a", noise)], "w:gz") if name.endswith("gz") else zipped(path, [("a", noise)])
    content = bytearray(path.read_bytes())
    content[200_000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}"):
        archives.extract(path, tmp_path / "out")
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]


def test_other_files_are_told(tmp_path):
    for content in (b"", b"x" * 2000, b"\x89HDF\r\n\x1a\n" * 100, b"PK", b"\x1f\x8b\x08", b"BZh91AY" * 99):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(ValueError, match=r"x is damaged, or neither tar, tar\.gz nor zip"):
            archives.names(tmp_path / "x")


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4), st.integers(0, 10**6))
def test_no_change_raises_anything_else_or_writes_outside(archive, changes, end):
    folder = archive.parent / "box"
    folder.mkdir(exist_ok=True)
    content = bytearray(archive.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    path = folder / "changed"
    path.write_bytes(content[: end % len(content)] if end % 3 == 0 else content)
    archives._listed.cache_clear()
    message = ""
    try:
        archives.extract(path, folder / "out" / "deep")
    except ValueError as error:
        message = str(error)
    assert not message or str(folder) in message
    assert {p.name for p in folder.iterdir()} <= {"changed", "out"}
    assert {p.name for p in archive.parent.iterdir()} == {archive.name, "box"}
