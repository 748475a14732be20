"""Annotation archives read in place: one pass over a tar file's 512-byte headers, nothing unpacked."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tps_pipeline.errors import DataError

BLOCK = 512
_PAX_PATH = re.compile(rb"\d+ path=([^\n]*)\n")


class Member(NamedTuple):
    """A regular file in a tar file; offsets in bytes."""

    name: str
    start: int
    """Of its first header."""
    data: int
    size: int
    end: int
    """Of the next member's first header."""


@contextmanager
def opened(path: Path) -> Iterator[mmap.mmap | bytes]:
    """Map an uncompressed tar file into memory."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as archive:
            yield archive


def members(archive: mmap.mmap | bytes, *, start: int = 0, end: int | None = None) -> Iterator[Member]:
    """List the regular files of a tar file (POSIX, GNU long names and pax paths) in their order.

    Args:
        archive: The file's content.
        start: Offset of the first header to read.
        end: Offset to stop at.

    Raises:
        DataError: A header is damaged or the file ends early; members before that have been listed.
    """
    limit = len(archive) if end is None else end
    at = first = start
    long_name: str | None = None
    while at + BLOCK <= limit:
        header = archive[at : at + BLOCK]
        if header[0] == 0 and not any(header):
            return
        size = _size(header, at)
        data = at + BLOCK
        at = data + -(-size // BLOCK) * BLOCK
        if data + size > len(archive):
            raise DataError(f"the archive ends inside the member at byte {first}")
        kind = header[156:157]
        if kind == b"L":
            long_name = _text(archive[data : data + size])
            continue
        if kind == b"x":
            found = _PAX_PATH.search(archive[data : data + size])
            long_name = _text(found[1]) if found else long_name
            continue
        if kind in b"0\0":
            yield Member(long_name or _name(header), first, data, size, at)
        first, long_name = at, None


def _size(header: bytes, at: int) -> int:
    try:
        return int(header[124:136].strip(b" \0") or b"0", 8)
    except ValueError:
        raise DataError(f"the archive is damaged, or compressed: no tar header at byte {at}") from None


def _name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")
