"""Pictures as they come: of a file, a camera, or a network address."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tps_pipeline.errors import VideoError
from tps_pipeline.predict.sources import Camera, video
from tps_pipeline.video.decode import open_video, rate_of, read_frames

Pictures = Iterator[NDArray[np.uint8]]
"""Pictures in the order shown: RGB uint8, height x width x 3."""

UNKNOWN_RATE = 25.0
"""Frames a second where nothing tells."""

_OPEN_FOR = 10.0
"""Seconds in which an address has to answer."""


class Live(NamedTuple):
    """A source that is open.

    Attributes:
        name: What it is called.
        fps: Frames a second.
        pictures: Its pictures.
    """

    name: str
    fps: float
    pictures: Pictures


def name_of(source: str | Path | Camera) -> str:
    """What a source is called: a file by its name."""
    if isinstance(source, Camera):
        return f"camera_{source}"
    return "address" if isinstance(source, str) and "://" in source else Path(source).stem


@contextmanager
def opened(source: str | Path | Camera, *, allow_network: bool = False) -> Iterator[Live]:
    """Open a source.

    Args:
        source: A file, a camera's number, or a network address.
        allow_network: Whether an address is opened.

    Raises:
        VideoError: It cannot be opened, or not now.
        UnreachableError: It is a file that cannot be read now.
    """
    if isinstance(source, Camera):
        yield from _camera(source)
    elif isinstance(source, str) and "://" in source:
        if not allow_network:
            raise VideoError(f"{source}: is a network address; allow_network has it opened")
        yield from _address(source)
    else:
        path = video(source)
        with open_video(path) as (_, stream):
            fps = rate_of(stream) or UNKNOWN_RATE
        yield Live(name_of(path), fps, (picture for _, picture in read_frames(path, nearest=True)))


def _camera(number: Camera) -> Iterator[Live]:
    refused = VideoError(f"camera {number} cannot be opened; see that it is there and nobody else has it")
    if sys.platform == "linux" and not Path(f"/dev/video{number}").exists():
        raise refused  # OpenCV would say it in nine lines
    camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise refused
        yield Live(name_of(number), camera.get(cv2.CAP_PROP_FPS) or UNKNOWN_RATE, _seen_by(camera))
    finally:
        camera.release()


def _seen_by(camera: cv2.VideoCapture) -> Pictures:
    while (read := camera.read())[0]:
        yield cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _address(address: str) -> Iterator[Live]:
    try:
        container = av.open(address, timeout=_OPEN_FOR)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{address}: cannot be opened ({error.strerror})") from error
    with closing(container):
        if not container.streams.video:
            raise VideoError(f"{address}: there are no pictures in it")
        stream = container.streams.video[0]
        yield Live(name_of(address), rate_of(stream) or UNKNOWN_RATE, _sent(container, stream, address))


def _sent(container: InputContainer, stream: VideoStream, address: str) -> Pictures:
    """What an address sends, until its end; what cannot be decoded is passed over."""
    reformatter = VideoReformatter()
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{address}: broke off ({error.strerror})") from error
        if packet is None:
            return
        with suppress(av.FFmpegError):
            for frame in packet.decode():
                yield np.asarray(reformatter.reformat(frame, format="rgb24").to_ndarray(), np.uint8)
