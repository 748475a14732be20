"""Whether a file ends before its container says, or is none within: what FFmpeg reads over without a word.

Only sizes that a container declares are looked at, never pictures. A file that happens to end where one of its pieces
ends cannot be told from a whole one where no size spans all of it (transport streams, MP4 in fragments, Ogg, FLV).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

Fault = Literal["is cut off", "is damaged within"] | None
"""What is wrong with a file's structure, to be read after its name; None if nothing is."""

_BOXES = (b"ftyp", b"styp", b"sidx", b"moov", b"moof", b"mdat", b"mfra")
_EBML, _SEGMENT, _CLUSTER, _BLOCK = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0xA3
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_PACK = bytes.fromhex("000001ba")
_HEAD = 1 << 16


def fault(path: str | Path) -> Fault:
    """What certainly is wrong with a file; None also where nobody can know.

    Args:
        path: An MP4, MKV, WebM, AVI, FLV, WMV, Ogg, MPEG program or transport stream; nothing is said of others.

    Raises:
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as file:
        head = file.read(_HEAD)
        return _container(head)(file, head, os.fstat(file.fileno()).st_size)


def _container(head: bytes) -> Callable[[BinaryIO, bytes, int], Fault]:
    if head[4:8] in _BOXES:
        return _mp4
    starts = {
        _EBML.to_bytes(4, "big"): _matroska,
        b"RIFF": _avi,
        b"FLV": _flv,
        b"OggS": _ogg,
        _ASF: _asf,
        _PACK: _program_stream,
    }
    return next((look for start, look in starts.items() if head.startswith(start)), _transport_stream)


def _mp4(file: BinaryIO, head: bytes, size: int) -> Fault:
    """By the sizes of its boxes; a fragment is a `moof` box and the `mdat` box with its pictures."""
    at, kind = 0, b""
    while at < size:
        file.seek(at)
        box = file.read(16)
        length, kind = int.from_bytes(box[:4], "big"), box[4:8]
        if length == 1:
            length = int.from_bytes(box[8:16], "big")
        if length < 8 and len(box) >= 8:  # 0: to the end of the file; others are no box
            return None
        if at + max(length, 8) > size:
            return "is cut off" if len(box) < 8 or kind in _BOXES else None
        at += length
    return "is cut off" if kind == b"moof" else None


def _matroska(file: BinaryIO, head: bytes, size: int) -> Fault:
    """By the sizes of its elements, down to the blocks of its clusters; those of both may have been left open."""
    at = 0
    while at < size:
        file.seek(at)
        piece = file.read(13)
        id_length = 9 - piece[0].bit_length()
        if id_length > 4:
            return "is damaged within"
        if len(piece) <= id_length:
            return "is cut off"
        length_length = 9 - piece[id_length].bit_length()
        start = id_length + length_length
        if length_length > 8:
            return "is damaged within"
        if len(piece) < start:
            return "is cut off"
        open_end = (1 << 7 * length_length) - 1
        length = int.from_bytes(piece[id_length:start], "big") & open_end
        name = int.from_bytes(piece[:id_length], "big")
        within = name in (_SEGMENT, _CLUSTER)
        no_track = name == _BLOCK and piece[start : start + 1] == b"\0"
        if no_track or (length == open_end and not within):
            return "is damaged within"
        if length < open_end and at + start + length > size:
            return "is cut off"
        at += start if within else start + length
    return None


def _avi(file: BinaryIO, head: bytes, size: int) -> Fault:
    """By the sizes of its RIFF chunks, of which a large file has several; 0 was never filled in."""
    at = 0
    while at < size:
        file.seek(at)
        chunk = file.read(8)
        length = int.from_bytes(chunk[4:8], "little")
        if not chunk.startswith(b"RIFF") or not length:
            return None
        at += 8 + length + length % 2
    return "is cut off" if at > size + 1 else None  # some writers leave out the last padding


def _flv(file: BinaryIO, head: bytes, size: int) -> Fault:
    """By the sizes of its tags: sound, pictures, data."""
    at = int.from_bytes(head[5:9], "big") + 4
    while at < size:
        file.seek(at)
        tag = file.read(11)
        if tag[0] & 0x1F not in (8, 9, 18):
            return "is damaged within"
        at += 11 + int.from_bytes(tag[1:4], "big") + 4
    return "is cut off" if at > size else None


def _ogg(file: BinaryIO, head: bytes, size: int) -> Fault:
    """By the sizes of its pages."""
    at = 0
    while at < size:
        file.seek(at)
        page = file.read(27 + 255)
        if not page.startswith(b"OggS"[: len(page)]):
            return "is damaged within"
        count = page[26] if len(page) > 26 else 255
        if len(page) < 27 + count:
            return "is cut off"
        at += 27 + count + sum(page[27 : 27 + count])
    return "is cut off" if at > size else None


def _asf(file: BinaryIO, head: bytes, size: int) -> Fault:
    """By the size in its header; a broadcast has 0."""
    at = head.find(_ASF_FILE_PROPERTIES)
    return "is cut off" if at >= 0 and int.from_bytes(head[at + 40 : at + 48], "little") > size else None


def _program_stream(file: BinaryIO, head: bytes, size: int) -> Fault:
    """By the sizes of its packets; a pack's header has none, and is longer in MPEG-2."""
    at = 0
    while at < size:
        file.seek(at)
        start = file.read(14)
        if not start.startswith(b"\0\0\1"):
            return "is cut off" if len(start) < 3 else None
        if start.startswith(_PACK):
            at += 12 if len(start) < 14 or start[4] >> 6 != 1 else 14 + (start[13] & 7)
        elif start[3:4] == b"\xb9":  # the end
            return None
        else:
            at += 6 + int.from_bytes(start[4:6], "big")
    return "is cut off" if at > size else None


def _transport_stream(file: BinaryIO, head: bytes, size: int) -> Fault:
    """Packets of 188 bytes, each with a mark; Blu-ray has a time before each, broadcasts have a checksum behind."""
    for length, sync in ((188, 0), (192, 4), (204, 0)):
        if set(head[sync : sync + 8 * length : length]) == {0x47} and len(head) > 2 * length:
            marks = np.memmap(file, np.uint8, "r")[sync::length]
            if (marks != 0x47).any():
                return "is damaged within"
            return "is cut off" if size % length else None
    return None
