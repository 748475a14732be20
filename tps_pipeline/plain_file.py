"""Opening files that others wrote: what is no plain file is not opened, what cannot be read now is told from damage.

What a file holds is its reader's matter.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from tps_pipeline.errors import UnreachableError

PLAIN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
"""How a file is opened: what has become a pipe since it was looked at is empty and waits for nobody."""


class NotPlainError(ValueError):
    """What lies in a file's place is none, or too large for what it should be; the message lacks the name."""


def unreachable(path: str | Path, error: OSError) -> UnreachableError:
    """What is raised where the system does not let a file be read."""
    reason = error.strerror or str(error)
    return UnreachableError(
        f"{path} cannot be read now ({reason}); see that it is there and may be read, then run again"
    )


def descriptor(path: str | Path) -> int:
    """Open a file for reading, if it is one: a pipe, a socket or a device would never end, or never begin.

    Args:
        path: A file, or a link to one.

    Returns:
        A file descriptor.

    Raises:
        NotPlainError: It is no file.
        UnreachableError: It cannot be opened now.
    """
    try:
        opened = os.open(path, PLAIN)
    except OSError as error:
        with suppress(OSError):
            if not stat.S_ISREG(Path(path).stat().st_mode):  # a socket cannot even be opened
                raise NotPlainError("is no file") from None
        raise unreachable(path, error) from error
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise NotPlainError("is no file")
    return opened


def content(path: str | Path, *, limit: int) -> bytes:
    """A file's content.

    Args:
        path: A file, or a link to one.
        limit: Bytes that it may have.

    Raises:
        NotPlainError: It is no file, or larger than `limit`.
        UnreachableError: It cannot be read now.
    """
    with os.fdopen(descriptor(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise NotPlainError(f"is larger than {limit >> 20} MiB")
        try:
            return file.read(size)  # as many bytes are set aside as are asked for
        except OSError as error:
            raise unreachable(path, error) from error
