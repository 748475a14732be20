"""What a video is, and which of its frames can be read: every frame is decoded once, none is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple

import av

from tps_pipeline.cpu import cores
from tps_pipeline.errors import UnreachableError, VideoError
from tps_pipeline.plain_file import unreachable
from tps_pipeline.video.decode import Scan, decode_all, nothing_in, open_video, rate_of, scan, upright
from tps_pipeline.video.structure import fault

MAX_SIDE = 32767
"""Pixels: what a table's boxes can hold."""
NAMED = 10
"""Runs of frames that a message names."""


@dataclass(frozen=True)
class Probe:
    """A video's facts; of an unreadable one only `status` and `error` say anything."""

    n_frames: int = 0
    """Shown frames, those that cannot be decoded included where the container tells of them."""
    fps: float = 0.0
    """Frames a second, on average; 0 if the file does not say, or nothing that can be."""
    width: int = 0
    """Pixels, as shown (turned as `rotation` says)."""
    height: int = 0
    """Pixels, as `width`."""
    rotation: int = 0
    """Degrees clockwise by which the stored picture is turned to be shown: 0, 90, 180 or 270."""
    status: Literal["ok", "unreadable"] = "ok"
    """Whether any frame can be decoded."""
    error: str | None = None
    """Why it is unreadable; or, of a readable file, what of it is missing."""
    undecodable: tuple[int, ...] = ()
    """Numbers, from 1, of the frames that are shown and cannot be decoded."""


def probe(path: str | Path) -> Probe:
    """Look at a video; what is wrong with its content is reported, never raised.

    Frames are counted and timed from the container; where it cannot tell (MPEG-TS, AVI, no times, no key frame at the
    start) they are those that decode. A file of which something can be read is readable: what cannot is in `error`.

    Args:
        path: The file.

    Returns:
        Its facts, or `status="unreadable"` with the reason.

    Raises:
        UnreachableError: The file cannot be read now, which says nothing of it.
    """
    try:
        return _probe(path)
    except (VideoError, av.FFmpegError) as error:
        return Probe(status="unreadable", error=str(error))
    except OSError as error:
        raise unreachable(path, error) from error


def shown_at(path: str | Path, *, n_frames: int, fps: float) -> list[float]:
    """When each frame of a readable video is shown, in seconds from the first one on.

    Args:
        path: The file.
        n_frames: Its frames, as probed.
        fps: Its average rate, which tells where the container keeps no times; 0 if that is not known either.

    Returns:
        So many times, ascending.
    """
    with open_video(path) as (container, stream):
        times, base = scan(container, stream).times, stream.time_base
    if times is None or base is None or len(times) != n_frames:
        return [number / (fps or 25) for number in range(n_frames)]
    return [float((time - times[0]) * base) for time in times]


def probe_all(paths: Sequence[str | Path], *, go_on: bool = False) -> Iterator[Probe]:
    """Look at many videos, as many at once as there are cores; in their order.

    Args:
        paths: The files.
        go_on: Whether one that cannot be read now is called unreadable: for telling, not for keeping.

    Raises:
        UnreachableError: A file cannot be read now.
    """
    with ThreadPoolExecutor(cores()) as threads:
        try:
            yield from threads.map(_named if go_on else probe, paths)
        finally:
            threads.shutdown(cancel_futures=True)


def _named(path: str | Path) -> Probe:
    try:
        return probe(path)
    except UnreachableError as error:
        return Probe(status="unreadable", error=str(error))


class _Look(NamedTuple):
    """What decoding a file gives.

    Attributes:
        decoded: Indices of the frames that decode.
        failed: Of each packet that does not the number of frames that had come.
        faulty: Numbers of the frames that decode with errors.
        sizes: Width and height as shown, and the number of the frame from which on they are.
        rotation: Degrees clockwise, of the first frame.
        interlaced: Whether a frame has two fields, which may be packets of their own.
    """

    decoded: set[int]
    failed: list[int]
    faulty: list[int]
    sizes: list[tuple[int, int, int]]
    rotation: int
    interlaced: bool


def _probe(path: str | Path) -> Probe:
    with open_video(path) as (container, stream):
        found = scan(container, stream)
        fps = rate_of(stream)
        indexed = container.format.name.startswith("mov")  # of the others some count wrongly: AVI one too many
        declared = stream.frames if indexed else 0
        empty = sum(entry.size == 0 for entry in stream.index_entries) if found.packets < declared else 0
    look = _look(path, found.times)
    if not look.decoded:
        raise nothing_in(path)
    width, height, _ = look.sizes[0]
    n_frames = len(look.decoded) if found.times is None else len(found.times)
    undecodable = tuple(index + 1 for index in range(n_frames) if index not in look.decoded)
    missing = [
        *_ending(path, found, n_frames, declared=declared, empty=empty),
        *_gaps(look, found, undecodable),
    ]
    return Probe(
        n_frames,
        fps,
        width,
        height,
        look.rotation,
        error=f"{path}: {'; '.join(missing)}" if missing else None,
        undecodable=undecodable,
    )


def _look(path: str | Path, times: list[int] | None) -> _Look:
    """Decode everything.

    Raises:
        VideoError: Pictures are too large for any table of boxes.
    """
    decoded: set[int] = set()
    failed: list[int] = []
    faulty: list[int] = []
    sizes: list[tuple[int, int, int]] = []
    rotation, interlaced = 0, False
    for index, frame in decode_all(path, times=times, unseen=True):
        if frame is None:
            failed.append(index)
        if frame is None or index < 0:
            continue
        turns = upright(frame).turns
        width, height = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
        if max(width, height) > MAX_SIDE:
            what = f"its pictures are {width}x{height}, and at most {MAX_SIDE} pixels a side can be read"
            raise VideoError(f"{path}: {what}; scale it down or leave it out")
        if not decoded:
            rotation = -90 * turns % 360
        if not sizes or sizes[-1][:2] != (width, height):
            sizes.append((width, height, index + 1))
        if frame.is_corrupt:
            faulty.append(index + 1)
        interlaced |= frame.interlaced_frame
        decoded.add(index)
    return _Look(decoded, failed, faulty, sizes, rotation, interlaced)


def _ending(path: str | Path, found: Scan, n_frames: int, *, declared: int, empty: int) -> Iterator[str]:
    """What is missing at the end, and what never was there."""
    how = fault(path) or ("is cut off" if found.broken else None)
    if how and found.packets + empty < declared:
        yield f"breaks off after {found.packets} of {declared} frames"
    elif how:
        yield f"{how}; {n_frames} frames can be read"
    if empty:
        yield f"{empty} of {declared} frames {_are(empty)} empty"


def _gaps(look: _Look, found: Scan, undecodable: Sequence[int]) -> Iterator[str]:
    """What is missing before the end."""
    n_frames = len(look.decoded) if found.times is None else len(found.times)
    if undecodable:
        yield f"{len(undecodable)} of {n_frames} frames cannot be decoded ({runs(undecodable)})"
    elif found.times is None:
        lost = len(look.failed)
        if found.shown is not None and not look.interlaced:
            lost = max(lost, found.shown - n_frames)
        where = f" (after frame {runs(look.failed)})" if look.failed else ""
        if lost:
            yield f"{lost} of {n_frames + lost} frames cannot be decoded{where}; the others are counted without them"
    if look.faulty:
        count = len(look.faulty)
        yield f"{count} of {n_frames} frames {_are(count)} decoded with errors ({runs(look.faulty)})"
    for width, height, frame in look.sizes[1 : NAMED + 1]:
        yield f"from frame {frame} on its pictures are {width}x{height}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def runs(numbers: Iterable[int]) -> str:
    """Ascending numbers in short.

    >>> runs([3, 4, 5, 9])
    '3-5, 9'
    """
    runs = [
        [number for _, number in run]
        for _, run in groupby(enumerate(sorted(set(numbers))), key=lambda pair: pair[1] - pair[0])
    ]
    shown = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs[:NAMED]]
    return ", ".join(shown) + (", ..." if len(runs) > NAMED else "")
