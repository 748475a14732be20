"""Videos with something wrong, made by edits of small whole ones: what downloads, joins and writers do to files."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av

from tests.video.clips import write_clip

FRAMES = 50
_ENCODED: dict[str, bytes] = {}


def clip(path: Path, n_frames: int = FRAMES, **settings: Any) -> Path:
    """`write_clip`, each kind of clip encoded once."""
    kind = f"{path.suffix.lower()} {n_frames} {settings}"
    if kind not in _ENCODED:
        _ENCODED[kind] = write_clip(path, n_frames, **settings).read_bytes()
    path.write_bytes(_ENCODED[kind])
    return path


def packets(path: Path) -> list[tuple[int, int, int]]:
    """Presentation time, position and size of each packet, in the order of the file."""
    with av.open(str(path)) as container:
        found = [(p.pts, p.pos, p.size) for p in container.demux(video=0) if p.size]
    return [(pts, pos, size) for pts, pos, size in found if pts is not None and pos is not None]


def edit(change: Callable[[bytearray, int, int], None], *shown: int) -> Callable[[Path], None]:
    """Change the packets of some frames, counted as they are shown: bytes of the file, position and size."""

    def make(path: Path) -> None:
        clip(path, FRAMES)
        data, known = bytearray(path.read_bytes()), sorted(packets(path))
        for at in shown:
            change(data, *known[at][1:])
        path.write_bytes(data)

    return make


def blank(data: bytearray, at: int, size: int) -> None:
    """Zeros for a packet."""
    data[at : at + size] = bytes(size)


def blank_half(data: bytearray, at: int, size: int) -> None:
    """Zeros for its second half."""
    data[at + size // 2 : at + size] = bytes(size - size // 2)


def filler(data: bytearray, at: int, size: int) -> None:
    """A packet of one NAL unit that holds no picture (ITU-T H.264, 7.3.2.7)."""
    data[at : at + size] = (size - 4).to_bytes(4, "big") + b"\x0c" + b"\xff" * (size - 6) + b"\x80"


def empty_sample(path: Path) -> None:
    """An MP4 one sample of which has no bytes."""
    clip(path, FRAMES)
    number = 27
    _, at, size = packets(path)[number]
    data = bytearray(path.read_bytes())
    del data[at : at + size]
    box = data.index(b"mdat") - 4
    data[box : box + 4] = (int.from_bytes(data[box : box + 4], "big") - size).to_bytes(4, "big")
    entry = data.index(b"stsz") + 16 + 4 * number
    data[entry : entry + 4] = bytes(4)
    path.write_bytes(data)


def remux(path: Path, *parts: Sequence[int], sizes: Sequence[int] = (64,)) -> None:
    """Copy packets without decoding, as `-f concat -c copy` does: of each part the listed ones, in decoding order."""
    ahead = 0
    with av.open(str(path), "w") as out:
        copy = None
        for number, part in enumerate(parts):
            source = clip(path.with_name(f"part{number}.mp4"), FRAMES, height=sizes[number % len(sizes)])
            with av.open(str(source)) as container:
                copy = copy or out.add_stream_from_template(container.streams.video[0])
                whole = [packet for packet in container.demux(video=0) if packet.size]
                shift = ahead - int(whole[part[0]].dts or 0)
                for packet in (whole[at] for at in part):
                    packet.pts, packet.dts = int(packet.pts or 0) + shift, int(packet.dts or 0) + shift
                    ahead, packet.stream = packet.dts + 512, copy
                    out.mux(packet)
            source.unlink()


def without(*lost: int) -> Callable[[Path], None]:
    """Some packets are gone, counted in decoding order."""
    return lambda path: remux(path, [at for at in range(FRAMES) if at not in lost])


def joined(*parts: range, sizes: Sequence[int] = (64,)) -> Callable[[Path], None]:
    """Cuts put one after the other."""
    return lambda path: remux(path, *parts, sizes=sizes)


def concatenated(*counts: int) -> Callable[[Path], None]:
    """Transport streams one behind the other, as `cat` leaves them."""

    def make(path: Path) -> None:
        whole = b""
        for count in counts:
            whole += clip(path, count).read_bytes()
        path.write_bytes(whole)

    return make


def without_transport_packet(number: int) -> Callable[[Path], None]:
    """A transport stream that has lost 188 bytes."""

    def make(path: Path) -> None:
        data = clip(path, FRAMES, width=320, height=240).read_bytes()
        path.write_bytes(data[: 188 * number] + data[188 * (number + 1) :])

    return make


def cut(share: float, **settings: Any) -> Callable[[Path], None]:
    """The file ends early."""

    def make(path: Path) -> None:
        data = clip(path, FRAMES, **settings).read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return make


def whole(**settings: Any) -> Callable[[Path], None]:
    """Nothing is wrong."""
    return lambda path: clip(path, FRAMES, **settings) and None


def boxed(kind: bytes, at: int, value: bytes, **settings: Any) -> Callable[[Path], None]:
    """Other bytes so far behind the name of a box or chunk."""

    def make(path: Path) -> None:
        data = bytearray(clip(path, FRAMES, **settings).read_bytes())
        start = data.index(kind) + len(kind) + at
        data[start : start + len(value)] = value
        path.write_bytes(data)

    return make


def avi_count(frames: int) -> Callable[[Path], None]:
    """An AVI whose headers count other frames than there are."""

    def make(path: Path) -> None:
        boxed(b"avih", 20, struct.pack("<I", frames), codec="mpeg4")(path)
        data = bytearray(path.read_bytes())
        at = data.index(b"strh") + 8 + 32
        data[at : at + 4] = struct.pack("<I", frames)
        path.write_bytes(data)

    return make
