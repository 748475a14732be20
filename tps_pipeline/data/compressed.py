"""Archives by their names, each as the content of a plain tar file: compressed ones through a temporary copy."""

from __future__ import annotations

import bz2
import errno
import functools
import gzip
import lzma
import mmap
import os
import stat
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, NamedTuple

from tps_pipeline.data.tar import Archive
from tps_pipeline.errors import DataError, UnreachableError, make_room, no_room
from tps_pipeline.plain_file import descriptor, unreachable

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
"""What the names of archives that are read end with, in capitals, too."""

MAX_UNPACKED = 16 << 30
"""Bytes that an archive may unpack to: 40 times all labels of Kinetics-TPS. More is taken for a trap."""
MAX_RATIO = 200
"""How many times its size an archive may unpack to beyond the first GiB: labels, as JSON in tar, come to 30."""
_MAX_LINK = 4096

_CHUNK = 1 << 20
_Compressed = type[gzip.GzipFile] | type[bz2.BZ2File] | type[lzma.LZMAFile]
_UNPACK: dict[bytes, _Compressed] = {b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File, b"\xfd7zXZ\0": lzma.LZMAFile}
_ZIP = b"PK"
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What decompressors raise of damage; of theirs an OSError has no number, or is of a place before the file's start."""


class Opened(NamedTuple):
    """An archive's content."""

    content: Archive
    """As far as it could be read."""
    damage: str | None
    """Why it breaks off, if it does."""


def archive_stem(name: str) -> str | None:
    """An archive's name without its ending, or None for what is no archive that is read.

    >>> archive_stem("v1.tar.gz"), archive_stem("V1.TAR"), archive_stem("v1.rar")
    ('v1', 'V1', None)
    """
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), None)


def opened(path: Path) -> Opened:
    """Map an archive into memory; what its first bytes say counts, not its name.

    A compressed one is unpacked into a temporary file, which is kept for the next questions about it.

    Raises:
        UnreachableError: It cannot be read now, or there is no room for the temporary file.
        NotPlainError: It is no file.
    """
    found = path.stat()
    with os.fdopen(descriptor(path), "rb") as file:
        magic = file.read(6)
        if not any(map(magic.startswith, (*_UNPACK, _ZIP))):
            return Opened(_mapped(file), None)
    try:
        return _unpacked(path, (found.st_size, found.st_mtime_ns), magic)
    except OSError as error:  # a disk that fails or is full damages no archive
        if no_room(error):
            raise UnreachableError(f"{path} cannot be unpacked now: {make_room(tempfile.gettempdir())}") from error
        raise unreachable(path, error) from error


@functools.lru_cache(maxsize=32)
def _unpacked(path: Path, _stamp: tuple[int, int], magic: bytes) -> Opened:
    damage = None
    with tempfile.TemporaryFile(prefix="tps-labels-") as plain:
        try:
            if magic.startswith(_ZIP):
                _unpack_zip(path, plain)
            else:
                _unpack(path, plain, next(way for start, way in _UNPACK.items() if magic.startswith(start)))
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise
            damage = f"the archive's compression breaks off ({error})"
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, DataError) as error:
            damage = f"the archive cannot be unpacked ({error})"
        plain.flush()
        return Opened(_mapped(plain), damage)


def _unpack(path: Path, plain: IO[bytes], way: _Compressed) -> None:
    packed = path.stat().st_size
    with way(path) as source:
        while chunk := source.read(_CHUNK):
            plain.write(chunk)
            _limit(plain.tell(), packed)


def _unpack_zip(path: Path, plain: IO[bytes]) -> None:
    """Write a zip's files into a tar file."""
    with zipfile.ZipFile(path) as source, tarfile.open(fileobj=plain, mode="w") as packed:
        for info in source.infolist():
            if info.is_dir():
                continue
            member = tarfile.TarInfo(info.filename.replace("\\", "/"))  # as some programs for Windows write it
            _limit(plain.tell() + info.file_size, path.stat().st_size)
            if stat.S_ISLNK(info.external_attr >> 16):
                if info.file_size > _MAX_LINK:
                    raise DataError(f"{info.filename} is a link of {info.file_size} bytes")
                member.type, member.linkname = tarfile.SYMTYPE, source.read(info).decode("utf-8", "surrogateescape")
                packed.addfile(member)
                continue
            member.size = info.file_size
            with source.open(info) as content:
                packed.addfile(member, content)


def _limit(size: int, packed: int) -> None:
    if size > max(1 << 30, packed * MAX_RATIO):
        raise DataError(f"it unpacks to more than {MAX_RATIO} times its size")
    if size > MAX_UNPACKED:
        raise DataError(f"it unpacks to more than {MAX_UNPACKED >> 30} GiB")


def _mapped(file: IO[bytes]) -> Archive:
    file.seek(0, 2)
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if file.tell() else b""
