"""Errors a user can act on: each names the file or the field, and the fix."""

from __future__ import annotations

import errno


class TpsError(Exception):
    """Base of every error this package raises on bad input; the command line prints it without a traceback."""

    def __str__(self) -> str:
        """The message as terminals, logs and tables can hold it: what it names need not be text, nor one line."""
        said = super().__str__()
        return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in said)


class DataError(TpsError):
    """A data set, an annotation file or a submission breaks a rule of its format."""


class VideoError(TpsError):
    """A video cannot be opened or decoded."""


class UnreachableError(TpsError):
    """A file cannot be read now: its folder is not mounted, its disk fails, or it may not be read.

    That says nothing of its content, so it is no result: what needs the file fails, and is tried again by the next run.
    """


class RecipeError(TpsError):
    """A recipe has an unknown key or a value that cannot work."""


class WeightsError(TpsError):
    """A weight file is missing, unsafe, or does not fit the network."""


class StoreError(TpsError):
    """Something expected in the store is not there, or is not what its schema says."""


class BundleError(TpsError):
    """A bundle is none, is damaged or unsafe, or is of another version."""


class UndeclaredError(TpsError):
    """A step reads an output or a part of the recipe that its declaration lacks."""


_NO_ROOM = ("No space left on device", "os error 28", "Disk quota exceeded", "disk is full")
"""How the system, Rust's libraries and SQLite say it."""

_FAILING = {
    errno.EIO,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EFBIG,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ENOTCONN,
}


def tells_of_no_room(message: str) -> bool:
    """Whether a message is of a disk that is full or a quota that is used up."""
    return any(words in message for words in _NO_ROOM)


def no_room(error: BaseException | None) -> bool:
    """Whether an error came of such a disk, however far back."""
    return any(tells_of_no_room(str(each)) for each in _chain(error))


def disk_failure(error: BaseException, place: object) -> str | None:
    """What to tell of an error that came of a disk that is full, fails or may not be written.

    Args:
        error: The error.
        place: What is on the disk.

    Returns:
        A line; None of an error that came of something else, or has a sentence of its own.
    """
    if isinstance(error, TpsError):
        return None
    if no_room(error):
        return make_room(place)
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in _FAILING:
            where = f" ({each.filename})" if each.filename else ""
            return f"{place}: {each.strerror}{where}; see to its disk and permissions, then run the same command again"
    return None


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error and what it came of, the newest first."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:  # a chain may lead back to itself
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def make_room(place: object) -> str:
    """What to tell of it."""
    return f"no room is left on the disk of {place}: make some, then run the same command again; it goes on from there"
