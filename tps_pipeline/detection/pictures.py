"""Frames on their way to a detector: read and letterboxed while the network is busy with those before them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import cv2
import numpy as np
from numpy.typing import NDArray

from tps_pipeline.detection.detector import BATCH, Batch, TrainedDetector
from tps_pipeline.errors import StoreError
from tps_pipeline.progress import progress
from tps_pipeline.video.frames import FrameFile

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pictures:
    """Some frames.

    Attributes:
        keys: Video and frame number of each.
        frames: The frames themselves, RGB, (H, W, 3).
    """

    keys: list[tuple[str, int]]
    frames: list[NDArray[np.uint8]]


def steps(keys: Sequence[tuple[str, int]]) -> Iterable[Sequence[tuple[str, int]]]:
    """Keys of frames, as many of one video as go through a network at once, with a progress bar.

    What a network says differs in the last digits with what goes through it beside: a video is not to depend on others.
    """
    videos = [list(of_video) for _, of_video in groupby(keys, key=itemgetter(0))]
    batches = [of_video[i : i + BATCH] for of_video in videos for i in range(0, len(of_video), BATCH)]
    return progress(batches, "detecting")


def read(frames: FrameFile, keys: Sequence[tuple[str, int]]) -> Pictures:
    """Some frames of a file; damaged ones are left out."""
    found = [(key, picture) for key in keys if (picture := _frame(frames, *key)) is not None]
    return Pictures([key for key, _ in found], [picture for _, picture in found])


def read_prepared(
    frames: FrameFile, detector: TrainedDetector, keys: Sequence[tuple[str, int]]
) -> tuple[Pictures, list[Batch]]:
    """The same, also as a detector takes them."""
    pictures = read(frames, keys)
    return pictures, detector.prepare(pictures.frames)


def _frame(frames: FrameFile, video_id: str, frame: int) -> NDArray[np.uint8] | None:
    """A frame, or nothing (and a warning) if its JPEG is damaged."""
    try:
        return frames.frame(video_id, frame)
    except (StoreError, cv2.error) as error:
        log.warning("frame %d of %s is skipped: %s", frame, video_id, error)
        return None
