"""Files that are read whole or written whole, with errors that say what to do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neuro.errors import BadInput

LIMIT = 2 * 2**30
"""Largest file in bytes that is read at once."""


def missing(path: Path) -> str:
    """Why nothing can be read at `path`, where no file is: to be said behind its name."""
    return "this is a directory, not a file" if path.is_dir() else "there is no such file"


def content(path: Path, kind: str = "a file", limit: int = LIMIT) -> bytes:
    """The bytes of the file at `path`.

    kind: what the path should be of, for the message.

    Raises:
        BadInput: no such file, one beyond `limit` bytes, or one that may not be read.
    """
    if not path.is_file():
        raise BadInput(f"{path}: {missing(path)}; give the path of {kind}.")
    try:
        if (size := path.stat().st_size) > limit:
            raise BadInput(f"{path.name} has {size:,} bytes; at most {limit:,} are read. Use a smaller network.")
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path.name} cannot be read: {error.strerror}; check its permissions.") from None


@contextmanager
def replacing(path: Path, option: str = "--out") -> Iterator[Path]:
    """A place to write to, in the folder of `path`, which takes the name `path` when the block ends without an error.

    Until then an older file stays as it is, and whatever happens no half file is left. option: the one that names
    `path`, for the message.

    Raises:
        BadInput: the folder cannot be made, or the system refuses to write.
    """
    with _beside(path, option) as part:
        yield part
        part.replace(path)


def check_writable(path: Path, option: str = "--out") -> None:
    """Makes the folder of `path` where it is missing and tries to write there; an older file stays as it is.

    Raises:
        BadInput: a folder in the way, or one that cannot be made or written to.
    """
    if path.is_dir():
        raise BadInput(f"{path}: is a folder. Give a file with {option}, such as {path / 'run.h5'}.")
    with _beside(path, option) as part:
        part.touch()


@contextmanager
def _beside(path: Path, option: str) -> Iterator[Path]:
    """A name in the folder of `path` for a file that is gone when the block ends."""
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(
            f"{path}: cannot be written: {error.strerror or error}. Give another place with {option}."
        ) from None
