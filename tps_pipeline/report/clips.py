"""Playable videos for the report: the annotation beside a method's prediction, frame by frame."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa

from tps_pipeline.drawing.frame import MIN_WIDTH, beside
from tps_pipeline.drawing.video import Layer, encode, predicted, rows_of
from tps_pipeline.tables import BOX, PERSON_BOX
from tps_pipeline.video.frames import FrameFile

RATE = Fraction(3)
"""Sampled frames a second, so slow that states can be read: half the speed of life at a stride of 5 in 30 a second."""

MAX_BYTES = 450_000
"""Of one clip; twenty of them stay below 12 MB in base64."""

_QUICK = {"preset": "ultrafast", "crf": "28", "x264-params": "cabac=1:deblock=0,0:threads=1"}
"""x264 in a third of `veryfast`'s time at crf 24, as fine, a sixth larger: its two savings that cost most bytes are
taken back. One thread: the same bytes on every machine, and a quarter of the work less."""
_BUFFER_SECONDS = 2
"""Shorter is more even from frame to frame; a first frame must fit."""
_POSTER_WIDTH = 960


@dataclass(frozen=True)
class Clip:
    """A video's scored frames, each drawn twice: with what is annotated and with what a method predicts."""

    video_id: str
    """Which video."""
    method: str
    """Whose predictions are drawn."""
    action: str
    """The annotated action."""
    predicted_action: str
    """The predicted action."""
    psc: float
    """The method's PSC in this video, 0 to 1."""
    frames: int
    """How many frames it shows."""
    mp4: bytes
    """H.264, which every browser plays that is in use."""
    poster: bytes
    """A JPEG of the frame in the middle."""
    width: int
    """In pixels, both drawings side by side."""
    height: int
    """In pixels."""


def drawable(frames: FrameFile, parts: pa.Table) -> set[str]:
    """The videos of a shard with an annotated part in one of its extracted frames.

    Args:
        frames: The shard's frames.
        parts: The shard's `tables.PARTS`.
    """
    annotated = zip(parts["video_id"].to_pylist(), parts["frame"].to_pylist(), strict=True)
    return {video_id for video_id, _ in set(frames.keys()).intersection(annotated)}


def choose(psc: Mapping[str, float], *, count: int = 10) -> tuple[list[str], list[str]]:
    """Choose the videos that a method does worst and best on; equal ones by name.

    Args:
        psc: Its PSC by video.
        count: How many of each, at most; no video is among both.

    Returns:
        The worst, worst first, and the best, best first.

    >>> choose({"a": 0.5, "b": 0.1, "c": 0.9}, count=2)
    (['b', 'a'], ['c'])
    """
    ranked = sorted(psc, key=lambda video: (psc[video], video))
    n_worst, n_best = min(count, -(-len(ranked) // 2)), min(count, len(ranked) // 2)
    return ranked[:n_worst], ranked[::-1][:n_best]


def typical(psc: Mapping[str, float]) -> str | None:
    """The video that a method does as well on as on most: of equally many better and worse ones.

    >>> typical({"a": 0.5, "b": 0.1, "c": 0.9})
    'a'
    """
    ranked = sorted(psc, key=lambda video: (psc[video], video))
    return ranked[len(ranked) // 2] if ranked else None


def draw_clip(
    frames: FrameFile,
    scored: Mapping[str, Any],
    *,
    people: pa.Table,
    parts: pa.Table,
    predictions: pa.Table,
    video_actions: pa.Table,
    detections: pa.Table,
    tracks: pa.Table,
    max_bytes: int = MAX_BYTES,
) -> Clip:
    """Draw those of a video's extracted frames that are annotated; it must have some.

    Args:
        frames: The frames of the video's shard.
        scored: The video's row of a method's `tables.PSC`.
        people: The shard's `tables.PEOPLE`.
        parts: Its `tables.PARTS`.
        predictions: The method's `tables.PREDICTIONS`.
        video_actions: `tables.VIDEO_ACTIONS`.
        detections: The shard's `tables.DETECTIONS` that were tracked.
        tracks: Its `tables.TRACKS`.
        max_bytes: Detail is given up until the video is no larger.
    """
    video_id, method, action = (str(scored[name]) for name in ("video_id", "method", "action"))
    persons, truth, guess, guessed = (rows_of(t, video_id) for t in (people, parts, predictions, video_actions))
    found, who = rows_of(detections, video_id), rows_of(tracks, video_id)
    numbers = sorted(set(frames.numbers(video_id)) & set(persons["frame"]))
    pictures = [frames.frame(video_id, number) for number in numbers]
    scale = min(1.0, MIN_WIDTH / pictures[0].shape[1])
    shown = predicted(guess, guessed, by=method, detections=found, tracks=who)
    layers = (
        Layer(_scaled(truth, scale), _scaled(persons, scale), f"annotated: {action}"),
        replace(shown, parts=_scaled(shown.parts, scale)),
    )
    drawn = []
    for number, picture in zip(numbers, pictures, strict=True):
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        drawn.append(beside(*(layer.draw(small, number) for layer in layers)))
    height, width, _ = drawn[0].shape
    return Clip(
        video_id,
        method,
        action,
        str(guessed["action"].iloc[0]),
        psc=scored["psc"],
        frames=len(drawn),
        mp4=_mp4(drawn, max_bytes),
        poster=_poster(drawn[len(drawn) // 2]),
        width=width + width % 2,
        height=height + height % 2,
    )


def _mp4(pictures: list[np.ndarray], max_bytes: int) -> bytes:
    """Encode once, at a rate that keeps the whole small enough.

    x264 never gives more than its player's buffer can hold, which is nine tenths full at the start (`vbv-init`) and
    fills at the rate: over a clip that is the rate times its seconds and those of the buffer.
    """
    seconds = len(pictures) / RATE + Fraction(9, 10) * _BUFFER_SECONDS
    bits = int(8 * 0.98 * max_bytes / seconds)  # the rest is the container's
    bound = {"maxrate": str(bits), "bufsize": str(bits * _BUFFER_SECONDS)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        encode(path, pictures, rate=RATE, x264=_QUICK | bound)
        return path.read_bytes()


def _poster(picture: np.ndarray) -> bytes:
    scale = min(1.0, _POSTER_WIDTH / picture.shape[1])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 70])[1].tobytes()


def _scaled(rows: pd.DataFrame, scale: float) -> pd.DataFrame:
    boxes = [name for name in (*BOX, *PERSON_BOX) if name in rows]
    return rows.assign(**{name: rows[name] * scale for name in boxes})
