"""Read a video's frames in the order they are shown, in one pass, each under the right number.

Seeking and strided batch reads return wrong frames on open-GOP, cut and variable-rate files with every common library,
so nothing here seeks. What makes a strided read cheap instead: frames that no other frame refers to are not decoded
unless they are wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count, islice
from pathlib import Path
from typing import Literal, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from tps_pipeline.errors import VideoError
from tps_pipeline.plain_file import NotPlainError
from tps_pipeline.video.file import VideoFile, read_through

Decoder = Literal["pyav", "decord"]
"""The library that decodes."""

_CONTAINERS = ("mov", "matroska")
_CODECS = ("h264", "hevc", "vp9", "av1")

FORMATS = (
    "mov matroska webm avi mpegts mpeg flv live_flv asf ogg rm nut mxf dv wtv"
    " ivf h264 hevc obu av1 vc1 m4v mpegvideo mjpeg yuv4mpegpipe gif apng"
)
"""FFmpeg's formats that are read: each is one file, none plays what it names (as ffconcat, HLS, DASH and SDP do)."""
_OPTIONS = {"format_whitelist": ",".join(FORMATS.split()), "protocol_whitelist": "none"}
_BUFFER = 1 << 17

LATE = 4
"""Frames after which one that is missing may still come: a decoder that has lost one gives the next in disorder."""


RATES = (0.01, 1000.0)
"""Frames a second that are believed."""


class Scan(NamedTuple):
    """What a container tells without decoding."""

    packets: int
    """Whole packets, those outside the shown part of the video included."""
    shown: int | None
    """Those within it, where each is a picture or a field of one; None where some are neither."""
    times: list[int] | None
    """When each frame is shown, ascending, in the stream's time base; None where only decoding tells."""
    broken: bool
    """Whether the file ends within a packet, or in what is none."""


@contextmanager
def open_video(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video's main picture stream for reading, to be decoded on one thread.

    Args:
        path: The file.

    Yields:
        The container and the stream.

    Raises:
        VideoError: FFmpeg cannot open the file, or it has no picture.
        UnreachableError: It cannot be read now.
    """
    try:
        file = VideoFile(path)
    except NotPlainError as error:
        raise VideoError(f"{path}: {error}; fetch the file again or leave it out") from error
    with file:
        try:
            container, stream = _open(file)
            if container.format.name.startswith("mov") and not rate_of(stream):
                # Times that make no sense do not say either which frames an edit list leaves.
                container.close()
                file.seek(0)
                container, stream = _open(file, {"ignore_editlist": "1"})
            with container:
                stream.thread_count = 1
                yield container, stream
        except (VideoError, av.FFmpegError, OSError):
            file.check()
            raise
        file.check()


def rate_of(stream: VideoStream) -> float:
    """Frames a second, on average; 0 if the file does not say, or what cannot be."""
    rate = stream.average_rate
    return float(rate) if rate is not None and RATES[0] <= rate <= RATES[1] else 0.0


def _open(file: VideoFile, options: dict[str, str] | None = None) -> tuple[InputContainer, VideoStream]:
    path = file.path
    try:
        container = av.open(
            file, "r", options=_OPTIONS | (options or {}), metadata_errors="ignore", buffer_size=_BUFFER
        )
    except (av.FFmpegError, OSError) as error:
        raise VideoError(
            f"{path}: FFmpeg cannot open it ({error.strerror}); fetch the file again or leave it out"
        ) from error
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        container.close()
        raise VideoError(f"{path}: there are no pictures in it; fetch the file again or leave it out")
    return container, stream


def scan(container: InputContainer, stream: VideoStream) -> Scan:
    """Count and time a video's frames from its container alone (about 2 ms for a ten-second clip).

    Times are given only where one packet is one shown frame: a container that keeps times (MP4, MKV, WebM) of a codec
    that packs so, beginning with a key frame. Packets that an edit list cuts away are left out.
    """
    packets = _Packets(container, stream)
    found = [(packet.pts, packet.is_discard, packet.is_keyframe) for packet in packets]
    shown = [pts for pts, discard, _ in found if not discard]
    one_each = stream.codec_context.name in _CODECS
    times = sorted(pts for pts in shown if pts is not None)
    known = container.format.name.startswith(_CONTAINERS) and one_each
    distinct = len(set(times)) == len(shown)
    unknown = Scan(len(found), len(shown) if one_each else None, None, packets.broken)
    if not times or not known or not distinct:
        return unknown
    first, _, key = found[0]
    if first is None:
        return unknown
    # The container's word counts, too: the decoder cannot tell of a packet that it cannot read.
    key |= any(entry.is_keyframe and entry.timestamp <= first for entry in islice(stream.index_entries, 1))
    # Pictures shown before the first key frame refer to what is not in the file: the decoder may drop them.
    if not key or times[0] < first:
        return unknown
    return unknown._replace(times=times)


def decode(
    path: str | Path, indices: Sequence[int] | None = None, *, times: list[int] | None, nearest: bool = False
) -> Iterator[tuple[int, VideoFrame]]:
    """Decode the wanted frames of a video, colours and size as stored.

    Args:
        path: The file.
        indices: The wanted frames, ascending; None for all.
        times: `scan`'s times. With them a frame that cannot be decoded keeps its number; without, frames are numbered
            as they come.
        nearest: Give the nearest frame that was decoded in place of one that cannot be; else that is passed over.

    Yields:
        Index and frame, in the order shown.

    Raises:
        VideoError: A wanted frame lies past the end; or, with `nearest`, not one frame can be decoded.
    """
    everything = count() if times is None else range(len(times))
    pending = iter(everything if indices is None else indices)
    expected = next(pending, None)
    frames = _in_order(path, indices, times)
    last, before = -1, None
    while expected is not None and (decoded := next(frames, None)):
        index, frame = decoded
        while expected is not None and expected <= index:
            if expected == index:
                yield index, frame
            elif nearest:
                yield expected, frame if before is None or index - expected < expected - last else before
            expected = next(pending, None)
        last, before = index, frame
    if expected is None or (times is None and indices is None):
        return
    if times is None:
        raise VideoError(f"{path}: frame {expected + 1} was asked for, it has {last + 1}")
    if nearest:
        if before is None:
            raise nothing_in(path)
        yield from ((index, before) for index in chain((expected,), pending))


def decode_all(
    path: str | Path, *, times: list[int] | None, wanted: Collection[int] | None = None, unseen: bool = False
) -> Iterator[tuple[int, VideoFrame | None]]:
    """Decode what a file has, whatever of it fails.

    Args:
        path: The file.
        times: `scan`'s times.
        wanted: When the frames are shown that are needed; what no other frame refers to may be left out else.
        unseen: Whether nobody looks at the pictures, only at what decodes: that takes two thirds of the time.

    Yields:
        Index and frame as the decoder gives them; None in place of a frame where a packet cannot be decoded.
    """
    position = {pts: index for index, pts in enumerate(times or ())}
    arrived = 0
    with open_video(path) as (container, stream):
        if unseen:
            stream.codec_context.options = {"skip_loop_filter": "all"}
        for packet in chain(_Packets(container, stream), (None,)):
            if wanted is not None and packet is not None:
                stream.codec_context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
            try:
                frames = stream.decode(packet)
            except av.FFmpegError:
                yield arrived, None
                continue
            for frame in frames:
                index = arrived if times is None else -1 if frame.pts is None else position.get(frame.pts, -1)
                arrived += 1
                yield index, frame


def _in_order(
    path: str | Path, indices: Sequence[int] | None, times: list[int] | None
) -> Iterator[tuple[int, VideoFrame]]:
    """What decodes, in the order shown: the wanted frames, and those that come beside them."""
    last = -1
    if times is not None and indices is not None:
        pending = iter(indices)
        expected = next(pending, -1)
        for index, frame in decode_all(path, times=times, wanted={times[index] for index in indices}):
            if index < 0:
                continue
            if frame is None or frame.is_corrupt or index <= last or last < expected < index:
                break
            if index == expected:
                expected = next(pending, -1)
            yield index, frame
            last = index
    # At the first sign of damage the short cut ends: what decodes behind it depends on what was decoded before.
    held: dict[int, VideoFrame] = {}
    for index, frame in decode_all(path, times=times):
        if frame is None or index <= last:
            continue
        held.setdefault(index, frame)
        while last + 1 in held or len(held) > LATE:
            last = min(held)
            yield last, held.pop(last)
    yield from sorted(held.items())


def read_frames(
    path: str | Path,
    indices: Sequence[int] | None = None,
    *,
    decoder: Decoder = "pyav",
    size: tuple[int, int] | None = None,
    nearest: bool = False,
) -> Iterator[tuple[int, np.ndarray]]:
    """Read frames as pictures, upright, in the order shown, in one pass over the file.

    An index counts shown frames from 0, whatever their rate: nothing is resampled. A frame that cannot be decoded is
    passed over, and the others keep their numbers; `probe` names it. A file that breaks off yields the frames before
    the break.

    Args:
        path: The file.
        indices: The wanted frames, ascending and distinct; None for all.
        decoder: `pyav`, or `decord` (reads in order only, refuses files that it miscounts).
        size: Width and height to scale to, in pixels as shown; None keeps the video's own.
        nearest: Give the nearest picture that was decoded in place of one that cannot be.

    Yields:
        Index and picture: RGB uint8, height x width x 3.

    Raises:
        VideoError: The file cannot be opened, a frame lies past its end, or none can be decoded for `nearest`.
        ValueError: `indices` are not ascending and distinct from 0 on.
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
    for index, frame in decode(path, indices, times=times, nearest=nearest):
        yield index, _upright_rgb(frame, reformatter, size)


class Upright(NamedTuple):
    """How a stored picture is brought to stand as its display matrix says."""

    mirrored: bool
    """Whether left and right are exchanged first."""
    turns: int
    """How often it is then turned by 90 degrees counter-clockwise."""


def upright(frame: VideoFrame) -> Upright:
    """Read a frame's display matrix; one that is no turn (all zero, as some writers leave it) says nothing."""
    # `frame.side_data` refers to the frame, which refers to it: every decoded picture would stay in memory until Python
    # looks for cycles, of a long video ever longer.
    beside = SideDataContainer(frame)  # pyright: ignore[reportCallIssue] - no stub of __init__
    found = beside.get("DISPLAYMATRIX") if len(beside) else None  # asking for what is not there takes its time
    if found is None:
        return Upright(mirrored=False, turns=0)
    # FFmpeg keeps the nine numbers of ISO 14496-12, 6.2.2: (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d = np.frombuffer(found, np.int32)[:5].astype(float)
    area = a * d - b * c
    if not area:
        return Upright(mirrored=False, turns=0)
    mirrored = area < 0
    if mirrored:
        a, b = -a, -b
    angle = np.arctan2(b / np.hypot(b, d), a / np.hypot(a, c))
    return Upright(bool(mirrored), round(-angle / (np.pi / 2)) % 4)


def nothing_in(path: str | Path) -> VideoError:
    """What is raised where a file has no frame at all."""
    return VideoError(f"{path}: not one frame can be decoded; fetch the file again or leave it out")


class _Packets:
    """Packets in decoding order, up to the end of the file or to where it breaks off.

    A packet that is flagged as damaged counts: it may decode, as after every jump in a stream that was joined. The last
    one of a file is the half one at which it breaks off (a transport stream has no such flag, it only has jumps).
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._container, self._stream = container, stream
        self.broken = False

    def __iter__(self) -> Iterator[Packet[VideoStream]]:
        flagged = None
        try:
            for packet in self._container.demux(self._stream):
                if flagged is not None and packet.size:
                    yield flagged
                    flagged = None
                if packet.is_corrupt and self._container.format.name != "mpegts":
                    flagged = packet
                elif packet.size:
                    yield packet
        except av.FFmpegError:
            self.broken = True
        self.broken |= flagged is not None


def _upright_rgb(frame: VideoFrame, reformatter: VideoReformatter, size: tuple[int, int] | None) -> np.ndarray:
    mirrored, turns = upright(frame)
    width, height = size or (None, None)
    if turns % 2:
        width, height = height, width
    picture = reformatter.reformat(frame, width, height, "rgb24", threads=1).to_ndarray()
    if mirrored:
        picture = np.fliplr(picture)
    return np.ascontiguousarray(np.rot90(picture, turns))


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
        read_through(path)
        raise VideoError(f"{path}: decord cannot decode it; use the decoder pyav") from error
