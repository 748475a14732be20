"""Annotation archives read in place: one pass over a tar file's 512-byte headers, nothing unpacked.

What is compressed is read by way of a plain copy: see `compressed`.
"""

from __future__ import annotations

import mmap
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tps_pipeline.errors import DataError

BLOCK = 512
"""Bytes of a header; contents are filled up to whole blocks (POSIX ustar)."""

Archive = mmap.mmap | bytes
"""A plain tar file's content."""

_PAX_PATH = re.compile(rb"(?<!\d)\d+ path=([^\n]*)\n")  # from a number's first digit only: a million take no hours
_PAX_LINK = re.compile(rb"(?<!\d)\d+ linkpath=([^\n]*)\n")
_OCTAL = re.compile(rb"[0-7]+")
_FILES, _LINKS, _FOLDERS = b"0\x007", b"12", b"5"
_WITHOUT_DATA = b"123456"
_LINKS_IN_A_ROW = 8
_MAX_NAME = 1 << 20
"""Bytes of what a header says of the next one: names of at most 64 KiB, and times and owners beside them."""
MAX_MEMBERS = 20_000_000
"""Members of an archive: 20 times all labels of Kinetics-TPS. More is taken for a trap."""


class Member(NamedTuple):
    """A file in a tar file; offsets in bytes."""

    name: str
    """Its path in the archive."""
    start: int
    """Of its first header."""
    data: int
    """Of its content."""
    size: int
    """Of its content."""
    end: int
    """Of the next member's first header."""
    link: str | None = None
    """The member that this one is another name of; it may come later."""


def members(archive: Archive, *, start: int = 0, end: int | None = None) -> Iterator[Member]:
    """List the files and links of a tar file (POSIX, GNU long names and pax paths) in their order.

    Several tar files one after the other are read as one.

    Args:
        archive: The file's content.
        start: Offset of the first header to read.
        end: Offset to stop at; the archive's end without.

    Raises:
        DataError: A header is damaged or the file ends early; members before that have been listed.
    """
    limit = len(archive) if end is None else end
    at = first = start
    name: str | None = None
    link: str | None = None
    ended = False
    count = 0
    while at + BLOCK <= limit:
        header = archive[at : at + BLOCK]
        ended = header[0] == 0 and not any(header)
        if ended:
            at += BLOCK
            first = at
            continue
        count += 1
        if count > MAX_MEMBERS:
            raise DataError(f"the archive has more than {MAX_MEMBERS} members")
        kind, size = header[156:157], _size(header, at)
        data = at + BLOCK
        at = data if kind in _WITHOUT_DATA else data + -(-size // BLOCK) * BLOCK
        if kind not in _WITHOUT_DATA and data + size > len(archive):
            raise DataError(f"the archive ends inside the member at byte {first}")
        if kind in b"LKx":
            if size > _MAX_NAME:
                raise DataError(f"the archive is damaged: a name of {size} bytes at byte {first}")
            said = archive[data : data + size]
            name = _text(said) if kind == b"L" else _pax(said, _PAX_PATH, kind) or name
            link = _text(said) if kind == b"K" else _pax(said, _PAX_LINK, kind) or link
            continue
        if kind in _FILES:
            yield Member(name or _name(header), first, data, size, at)
        elif kind in _LINKS:
            own, target = name or _name(header), link or _text(header[157:257])
            inside = posixpath.dirname(own) if kind == b"2" else ""
            yield Member(own, first, data, 0, at, posixpath.normpath(posixpath.join(inside, target)))
        elif kind not in _FOLDERS and kind != b"g":
            yield Member(name or _name(header), first, data, 0, at, "")
        first, name, link = at, None, None
    if end is None and not ended:
        raise DataError(f"the archive has no end, as one that was cut off at byte {limit}")


def files_by_name(archive: Archive) -> dict[str, Member]:
    """Where every file is, for links; what comes after damage is not there."""
    found: dict[str, Member] = {}
    try:
        for member in members(archive):
            found[posixpath.normpath(member.name)] = member
    except DataError:
        pass
    return found


def resolve(member: Member, found: Mapping[str, Member]) -> Member | None:
    """The file that a link leads to; a file is its own, and None a link that leads nowhere."""
    for _ in range(_LINKS_IN_A_ROW):
        if member.link is None:
            return member
        if member.link not in found:
            break
        member = found[member.link]
    return None


def _size(header: bytes, at: int) -> int:
    said = header[124:136].strip(b" \0") or b"0"
    if not _OCTAL.fullmatch(said):  # int() takes "-1", too, after which the same member would come again
        raise DataError(f"the archive is damaged: no tar header at byte {at}")
    return int(said, 8)


def _name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _pax(said: bytes, field: re.Pattern[bytes], kind: bytes) -> str | None:
    found = field.search(said) if kind == b"x" else None
    return _text(found[1]) if found else None


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
