"""Faults in a file are told with its name, whatever they are."""

import io
import struct
import zipfile

import pytest

from lib import damage


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (KeyError("x"), "KeyError: 'x'"),
        (struct.error("4 bytes"), "error: 4 bytes"),
        (zipfile.BadZipFile("bad magic"), "BadZipFile: bad magic"),
        (OSError("unable to open"), "OSError: unable to open"),
        (RecursionError(), "RecursionError"),
        (ValueError("shape (2,)"), "shape (2,)"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "'utf-8' codec can't decode"),
    ],
)
def test_any_fault_becomes_an_error_that_names_the_file(fault, words, tmp_path):
    with (
        pytest.raises(ValueError, match=r"a\.h5 is no table: ") as told,
        damage.named(tmp_path / "a.h5", "is no table"),
    ):
        raise fault
    assert type(told.value) is ValueError
    assert words in str(told.value)
    assert told.value.__cause__ is fault


def test_what_names_the_file_already_is_left(tmp_path):
    for fault in (
        ValueError(f"{tmp_path / 'a'} has no x"),
        FileNotFoundError("b"),
        PermissionError("c"),
        ImportError("d"),
    ):
        with pytest.raises(type(fault)) as told, damage.named(tmp_path / "a"):
            raise fault
        assert told.value is fault


def test_a_whole_file_is_nobodys_concern_and_an_end_of_the_program_is_no_damage():
    with damage.named("a"):
        pass
    with pytest.raises(KeyboardInterrupt), damage.named("a"):
        raise KeyboardInterrupt


def test_streams_have_names_too():
    stream = io.BytesIO()
    assert damage.name(stream) == "a stream without a name"
    stream.name = "b.zip:c"
    assert damage.name(stream) == "b.zip:c"
    assert damage.name(b"d") == "d"
