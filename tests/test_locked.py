"""The lock file: what is recorded stays, whoever else writes, and damage is named by its line."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from lib import locked

HASH = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4
HEADER = "url,sha256,size,recorded\n"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))


def written(text):
    """Put a lock file in place."""
    locked.file().parent.mkdir(exist_ok=True)
    locked.file().write_text(text, encoding="utf-8")


def test_nothing_is_recorded_where_there_is_no_lock_file():
    assert locked.entries() == {}


def test_what_is_recorded_is_read_back_with_the_day():
    locked.record({"https://b.org/b": (HASH, 7)})
    locked.record({"https://a.org/a,b": (OTHER, 5), "placed:a/b": (HASH, 1)})
    today = date.today().isoformat()
    assert locked.entries() == {
        "https://a.org/a,b": (OTHER, 5, today),
        "https://b.org/b": (HASH, 7, today),
        "placed:a/b": (HASH, 1, today),
    }
    table = pd.read_csv(locked.file())
    assert table.columns.tolist() == ["url", "sha256", "size", "recorded"]
    assert table["url"].tolist() == sorted(table["url"])


def test_recording_says_what_and_that_the_file_is_to_be_committed(caplog):
    caplog.set_level("INFO")
    locked.record({"https://a.org/a": (HASH, 7)})
    (record,) = caplog.records
    assert record.levelname == "INFO"
    for needed in (str(locked.file()), "https://a.org/a", HASH, "7 bytes", "commit"):
        assert needed in record.getMessage()


def test_recording_the_same_again_changes_nothing(caplog):
    written(HEADER + f"https://a.org/a,{HASH},7,2020-02-29\n")
    before = locked.file().read_bytes()
    caplog.set_level("INFO")
    locked.record({"https://a.org/a": (HASH, 7)})
    assert locked.file().read_bytes() == before
    assert caplog.text == ""


def test_another_content_is_never_written_over():
    written(HEADER + f"https://a.org/a,{HASH},7,2020-02-29\n")
    before = locked.file().read_bytes()
    with pytest.raises(ValueError, match=rf"{OTHER}.*since 2020-02-29.*delete the row of https://a.org/a"):
        locked.record({"https://c.org/c": (HASH, 1), "https://a.org/a": (OTHER, 7)})
    assert locked.file().read_bytes() == before


def test_a_file_edited_by_hand_is_read():
    written(
        "\ufeff" + HEADER.replace("\n", "\r\n") + f'\r\n"https://a.org/a",{HASH.upper()},7,2020-02-29\r\n'
    )
    assert locked.entries() == {"https://a.org/a": (HASH, 7, "2020-02-29")}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "has columns"),
        ("url,size,sha256,recorded\n", 1, "has columns"),
        (HEADER + "<<<<<<< ours\n", 2, "has 1 cells instead of 4: <<<<<<< ours"),
        (HEADER + f"https://a.org/a,{HASH},7,2020-02-29,\n", 2, "has 5 cells"),
        (HEADER + f"https://a.org/a,{HASH},7,2020-02-29\n" * 2, 3, "repeats line 2: https://a.org/a"),
        (HEADER + f"https://a.org/a,{HASH[:-1]},7,2020-02-29\n", 2, "not 64 hexadecimal digits"),
        (HEADER + f"https://a.org/a,{HASH[:-1]}g,7,2020-02-29\n", 2, "not 64 hexadecimal digits"),
        (HEADER + f"https://a.org/a,{HASH},-7,2020-02-29\n", 2, "no number of bytes"),
        (HEADER + f"https://a.org/a,{HASH},,2020-02-29\n", 2, "no number of bytes"),
        (HEADER + f"https://a.org/a,{HASH},7,yesterday\n", 2, "yesterday"),
        (HEADER + f",{HASH},7,2020-02-29\n", 2, "names no url"),
    ],
)
def test_damage_is_named_by_its_line_and_left_alone(text, line, message):
    written(text)
    with pytest.raises(ValueError, match=rf"locked\.csv, line {line}: .*{message}"):
        locked.entries()
    with pytest.raises(ValueError, match=message):
        locked.record({"https://b.org/b": (HASH, 7)})
    assert locked.file().read_text(encoding="utf-8") == text


def test_bytes_that_are_no_text_are_named_too():
    written("")
    locked.file().write_bytes(HEADER.encode() + b"\xff\xfe\n")
    with pytest.raises(ValueError, match=r"locked\.csv, line 1: .*utf-8"):
        locked.entries()


def test_writers_in_several_processes_lose_nothing():
    code = (
        "import sys; from lib import locked\n"
        "for i in range(8): locked.record({f'https://a.org/{sys.argv[1]}/{i}': ('ab' * 32, i)})"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(number)], cwd=Path(__file__).parents[1])
        for number in range(3)
    ]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    assert len(locked.entries()) == 3 * 8
