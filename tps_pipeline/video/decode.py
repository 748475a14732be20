"""Read a video's frames in the order they are shown, in one pass, each under the right number.

Seeking and strided batch reads return wrong frames on open-GOP, cut and variable-rate files with every common library,
so nothing here seeks. What makes a strided read cheap instead: frames that no other frame refers to are not decoded
unless they are wanted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Literal, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.error import InvalidDataError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from tps_pipeline.errors import VideoError

Decoder = Literal["pyav", "decord"]

_CONTAINERS = ("mov", "matroska")
_CODECS = ("h264", "hevc", "vp9", "av1")


class Scan(NamedTuple):
    """What a container tells without decoding."""

    packets: int
    """Whole packets, those outside the shown part of the video included."""
    times: list[int] | None
    """When each frame is shown, ascending, in the stream's time base; None where only decoding tells."""


@contextmanager
def open_video(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video's main picture stream for reading, to be decoded on one thread.

    Args:
        path: The file.

    Yields:
        The container and the stream.

    Raises:
        VideoError: FFmpeg cannot open the file, or it has no picture.
    """
    try:
        container = av.open(str(Path(path).absolute()), metadata_errors="ignore")  # "12:30" is no protocol
    except (av.FFmpegError, OSError) as error:
        raise VideoError(
            f"{path}: FFmpeg cannot open it ({error.strerror}); fetch the file again or leave it out"
        ) from error
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            raise VideoError(f"{path}: there are no pictures in it; fetch the file again or leave it out")
        stream.thread_count = 1
        yield container, stream


def scan(container: InputContainer, stream: VideoStream) -> Scan:
    """Count and time a video's frames from its container alone (about 2 ms for a ten-second clip).

    Times are given only where one packet is one shown frame: a container that keeps times (MP4, MKV, WebM) of a codec
    that packs so, beginning with a key frame. Packets that an edit list cuts away are left out.
    """
    found = [(packet.pts, packet.is_discard, packet.is_keyframe) for packet in _packets(container, stream)]
    shown = [pts for pts, discard, _ in found if not discard]
    times = sorted(pts for pts in shown if pts is not None)
    known = container.format.name.startswith(_CONTAINERS) and stream.codec_context.name in _CODECS
    distinct = len(set(times)) == len(shown)
    if not times or not known or not distinct:
        return Scan(len(found), None)
    first, _, key = found[0]
    # Pictures shown before the first key frame refer to what is not in the file: the decoder may drop them.
    if not key or first is None or times[0] < first:
        return Scan(len(found), None)
    return Scan(len(found), times)


def decode(
    path: str | Path, indices: Sequence[int] | None = None, *, times: list[int] | None
) -> Iterator[tuple[int, VideoFrame]]:
    """Decode the wanted frames of a video, colours and size as stored.

    Args:
        path: The file.
        indices: The wanted frames, ascending; None for all.
        times: ``scan``'s times. With them a missing frame is noticed; without, frames are numbered as they come.

    Yields:
        Index and frame, in the order shown.

    Raises:
        VideoError: A wanted frame is not there or cannot be decoded. A file that breaks off ends early instead.
    """
    everything = count() if times is None else range(len(times))
    position = {pts: index for index, pts in enumerate(times or ())}
    wanted = {times[index] for index in indices} if times is not None and indices is not None else None
    pending = iter(everything if indices is None else indices)
    expected = next(pending, None)
    arrived, broken = 0, None
    with open_video(path) as (container, stream):
        for packet in chain(_packets(container, stream), (None,)):
            if expected is None:
                return
            if broken and packet is not None:
                raise broken
            if wanted is not None and packet is not None:
                stream.codec_context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
            try:
                frames = stream.decode(packet)
            except av.FFmpegError as error:
                at = position.get(packet.pts, arrived) if packet is not None and packet.pts is not None else arrived
                broken = _undecodable(path, at)
                if times is not None:
                    raise broken from error
                continue
            for frame in frames:
                index = position.get(frame.pts, -1) if times is not None and frame.pts is not None else arrived
                arrived += 1
                if expected is None or index < expected:
                    continue
                if index > expected or (times is not None and frame.is_corrupt):
                    raise _undecodable(path, expected)
                yield index, frame
                expected = next(pending, None)
    if expected is not None and times is not None:
        raise _undecodable(path, expected)
    if expected is not None and indices is not None:
        raise VideoError(f"{path}: frame {expected + 1} was asked for, it has {arrived}")


def read_frames(
    path: str | Path,
    indices: Sequence[int] | None = None,
    *,
    decoder: Decoder = "pyav",
    size: tuple[int, int] | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Read frames as pictures, upright, in the order shown, in one pass over the file.

    An index counts shown frames from 0, whatever their rate: nothing is resampled. A file that breaks off yields the
    frames before the break, as many as ``probe`` counts.

    Args:
        path: The file.
        indices: The wanted frames, ascending and distinct; None for all.
        decoder: ``pyav``, or ``decord`` (reads in order only, refuses files that it miscounts).
        size: Width and height to scale to, in pixels as shown; None keeps the video's own.

    Yields:
        Index and picture: RGB uint8, height x width x 3.

    Raises:
        VideoError: The file cannot be opened, or a frame is not there or cannot be decoded.
        ValueError: ``indices`` are not ascending and distinct from 0 on.
    """
    if indices is not None:
        indices = [int(index) for index in indices]
        if indices != sorted(set(indices)) or (indices and indices[0] < 0):
            raise ValueError("indices must be ascending, distinct and not negative")
    with open_video(path) as (container, stream):
        times = scan(container, stream).times
    if indices and times is not None and indices[-1] >= len(times):
        raise VideoError(f"{path}: frame {indices[-1] + 1} was asked for, it has {len(times)}")
    if decoder == "decord":
        yield from _read_decord(path, indices, times=times, size=size)
        return
    reformatter = VideoReformatter()
    for index, frame in decode(path, indices, times=times):
        yield index, _upright_rgb(frame, reformatter, size)


def quarter_turns(frame: VideoFrame) -> int:
    """How often to turn a frame by 90 degrees counter-clockwise for it to stand as its display matrix says."""
    return round(frame.rotation / 90) % 4


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet]:
    """Whole packets in decoding order, up to the end of the file or to where it breaks off."""
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                return
            if packet.size:
                yield packet
    except InvalidDataError:
        return


def _undecodable(path: str | Path, index: int) -> VideoError:
    return VideoError(f"{path}: frame {index + 1} cannot be decoded; fetch the file again or leave it out")


def _upright_rgb(frame: VideoFrame, reformatter: VideoReformatter, size: tuple[int, int] | None) -> np.ndarray:
    turns = quarter_turns(frame)
    width, height = size or (None, None)
    if turns % 2:
        width, height = height, width
    picture = reformatter.reformat(frame, width, height, "rgb24", threads=1).to_ndarray()
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def _read_decord(
    path: str | Path, indices: list[int] | None, *, times: list[int] | None, size: tuple[int, int] | None
) -> Iterator[tuple[int, np.ndarray]]:
    # decord crashes if imported before torch (dmlc/decord#293), and has no wheel for aarch64.
    import decord

    if times is None:
        raise VideoError(f"{path}: decord may hang on this kind of file or miscount it; use the decoder pyav")
    width, height = size or (-1, -1)
    wanted = list(range(len(times))) if indices is None else indices
    try:
        reader = decord.VideoReader(
            str(Path(path).absolute()), ctx=decord.cpu(0), num_threads=1, width=width, height=height
        )
        if len(reader) != len(times):
            raise VideoError(f"{path}: decord counts {len(reader)} frames of {len(times)}; use the decoder pyav")
        pending = iter(wanted)
        expected = next(pending, None)
        for index in range(wanted[-1] + 1 if wanted else 0):
            picture = reader[index]
            if index == expected:
                yield index, picture.asnumpy()
                expected = next(pending, None)
    except decord.DECORDError as error:
        raise VideoError(f"{path}: decord cannot decode it; use the decoder pyav") from error
