"""Whatever is wrong with a file becomes one kind of error, which names the file."""

import contextlib
import os

# What says enough as it is: about the place of a file or what is installed, not about its content.
PASSED = (
    *(FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, BlockingIOError),
    ImportError,
)


@contextlib.contextmanager
def named(source, what="is damaged, or holds something else than it should"):
    """Tell of any fault that shows while a file is read with the name of the file.

    For code that does nothing but make sense of one file, by parsers of others or by taking for granted what a whole
    file of its kind holds.

    Parameters
    ----------
    source : str, pathlib.Path or binary file object
    what : str
        Goes behind the name in the message; the fault itself comes last.

    Raises
    ------
    ValueError
        In place of anything that was raised, unless that is a ValueError that names the file already, or one of
        PASSED: a file that is not there, or may not be read.
    """
    where = name(source)
    try:
        yield
    except PASSED:
        raise
    # A parser raises whatever its code runs into, which depends on the byte that is wrong; nobody documents that.
    except Exception as error:
        if isinstance(error, ValueError) and where in str(error):
            raise
        fault = (
            str(error) if isinstance(error, ValueError) and str(error) else f"{type(error).__name__}: {error}"
        )
        raise ValueError(f"{where} {what}: {fault}") from error


def name(source):
    """What messages call a file: its path, or the name of a stream."""
    if isinstance(source, str | bytes | os.PathLike):
        return os.fsdecode(source)
    return str(getattr(source, "name", None) or "a stream without a name")
