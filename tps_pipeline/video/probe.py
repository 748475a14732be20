"""What a video is, and whether it can be read, without decoding more than its first frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av

from tps_pipeline.errors import VideoError
from tps_pipeline.video.decode import decode, open_video, quarter_turns, scan


@dataclass(frozen=True)
class Probe:
    """A video's facts; of an unreadable one only `status` and `error` say anything."""

    n_frames: int = 0
    """Shown frames: as many as `read_frames` yields."""
    fps: float = 0.0
    """Frames a second, on average; 0 if the file does not say."""
    width: int = 0
    """Pixels, as shown (turned as `rotation` says)."""
    height: int = 0
    rotation: int = 0
    """Degrees clockwise by which the stored picture is turned to be shown: 0, 90, 180 or 270."""
    status: Literal["ok", "unreadable"] = "ok"
    error: str | None = None
    """Why it is unreadable; or, of a readable file that breaks off, how much is missing."""


def probe(path: str | Path) -> Probe:
    """Look at a video; a bad file is reported, never raised.

    Frames are counted from the container (a few milliseconds). Where it cannot tell (MPEG-TS, AVI, no times, no key
    frame at the start) they are counted by decoding. A file that breaks off is readable as far as it goes.

    Args:
        path: The file.

    Returns:
        Its facts, or `status="unreadable"` with the reason.
    """
    try:
        return _probe(path)
    except (VideoError, av.FFmpegError, OSError) as error:
        return Probe(status="unreadable", error=str(error))


def _probe(path: str | Path) -> Probe:
    with open_video(path) as (container, stream):
        packets, times = scan(container, stream)
        fps = float(stream.average_rate or 0)
        declared = stream.frames
    _, frame = next(decode(path, times=times), (0, None))
    if frame is None:
        raise VideoError(f"{path}: not one frame can be decoded; fetch the file again or leave it out")
    turns = quarter_turns(frame)
    width, height = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
    n_frames = len(times) if times is not None else sum(1 for _ in decode(path, times=None))
    error = f"{path}: breaks off after {packets} of {declared} frames" if packets < declared else None
    return Probe(n_frames, fps, width, height, rotation=-90 * turns % 360, error=error)
