"""Two-stage detection: people in the frame, then each person's ten parts in the person's crop."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torchvision.ops import nms

from tps_pipeline import recipe, tables
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.detection.datasets import PERSON, crops
from tps_pipeline.detection.detector import Detector, load
from tps_pipeline.errors import StoreError, WeightsError
from tps_pipeline.labels import PARTS
from tps_pipeline.tables import BOX, PERSON_BOX
from tps_pipeline.video.frames import FrameFile

log = logging.getLogger(__name__)

BATCH = 32
"""Frames, or crops, that go through a network at once."""

T = TypeVar("T")


@dataclass(frozen=True)
class People:
    """The people of one frame, best first.

    Attributes:
        video_id: The video.
        frame: Its frame, from 1.
        size: Width and height of the frame.
        boxes: Inclusive corners in frame pixels, (P, 4), int64.
        scores: (P,).
        windows: Each one's crop as inclusive corners in frame pixels, (P, 4), int64.
        cuts: The crops themselves: P pictures, RGB.
    """

    video_id: str
    frame: int
    size: tuple[int, int]
    boxes: NDArray[np.int64]
    scores: NDArray[np.float32]
    windows: NDArray[np.int64]
    cuts: list[NDArray[np.uint8]]


def detect(frames: FrameFile, person_checkpoint: Path, part_checkpoint: Path, *, settings: recipe.TwoStage) -> pa.Table:
    """Find every frame's people and their parts.

    Everyone gets all ten parts, each at its best box however faint: the challenge does not count parts or people that
    are not there (only too few boxes cost). A frame without people gives no rows, a frame that cannot be read neither.

    Args:
        frames: The frames of a shard.
        person_checkpoint: The person detector.
        part_checkpoint: The part detector, trained with the same crop margin.
        settings: Thresholds and margin.

    Returns:
        ``tables.DETECTIONS``; people are numbered from the best down, and a part's score is its own times its
        person's.

    Raises:
        WeightsError: A checkpoint is missing or damaged, or detects something else.
    """
    prepare_cpu()
    person_detector = load_of(person_checkpoint, (PERSON,))
    part_detector = load_of(part_checkpoint, PARTS)
    columns: list[dict[str, NDArray]] = []
    for pictures in read_batches(frames, frames.keys()):
        people = find_people(person_detector, pictures, settings=settings)
        columns += find_parts(part_detector, people)
    if not columns:
        return tables.empty(tables.DETECTIONS)
    return tables.conform({k: np.concatenate([c[k] for c in columns]) for k in columns[0]}, tables.DETECTIONS)


def find_people(
    detector: Detector, pictures: Sequence[tuple[str, int, NDArray[np.uint8]]], *, settings: recipe.TwoStage
) -> list[People]:
    """The people of some frames, after non-maximum suppression; frames without any are left out.

    Args:
        detector: The person detector.
        pictures: Video, frame number and picture (RGB) of each frame.
        settings: Score threshold, overlap and number of people; margin of the crops.
    """
    found = detector([picture for _, _, picture in pictures]) if pictures else []
    result = []
    for (video_id, frame, picture), (candidates, scores) in zip(pictures, found, strict=True):
        size = (picture.shape[1], picture.shape[0])
        likely = scores[:, 0] >= settings.person_threshold
        boxes, likely_scores = candidates[likely], scores[likely, 0]
        order = nms(torch.from_numpy(boxes), torch.from_numpy(likely_scores), settings.person_iou).numpy()
        order = order[inside(boxes[order], size)][: settings.people_per_frame]
        if len(order) == 0:
            continue
        pixels = to_pixels(boxes[order], size)
        windows = crops(pixels, np.array(size), margin=settings.crop_margin)
        cuts = [picture[y1 : y2 + 1, x1 : x2 + 1] for x1, y1, x2, y2 in windows]
        result.append(People(video_id, frame, size, pixels, likely_scores[order], windows, cuts))
    return result


def find_parts(detector: Detector, people: Sequence[People]) -> list[dict[str, NDArray]]:
    """The best box of each of the ten parts of everyone, crops of several frames in one batch.

    Args:
        detector: The part detector.
        people: The people of some frames.

    Returns:
        Columns of ``tables.DETECTIONS``, one dictionary a frame.
    """
    found = (each for batch in batches([cut for p in people for cut in p.cuts]) for each in detector(batch))
    columns = []
    for p in people:
        best, scores = [], []
        for window, (boxes, likelihood) in zip(p.windows, found, strict=False):
            winners = likelihood.argmax(0)
            best.append(to_pixels(boxes[winners] + np.tile(window[:2], 2), p.size))
            scores.append(likelihood[winners, np.arange(len(PARTS))])
        columns.append(_columns(p, np.concatenate(best), np.concatenate(scores)))
    return columns


def to_pixels(boxes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.int64]:
    """Continuous boxes as inclusive corners of at least one pixel inside the picture, (N, 4)."""
    last = np.array(size) - 1
    low = np.rint(boxes[:, :2]).clip(0, last)
    high = np.maximum(np.rint(boxes[:, 2:]) - 1, low).clip(0, last)
    return np.concatenate((low, high), 1).astype(np.int64)


def _columns(people: People, boxes: NDArray[np.int64], part_scores: NDArray[np.float32]) -> dict[str, NDArray]:
    """One frame's rows of ``tables.DETECTIONS``, by column."""
    count, each = len(people.boxes), len(PARTS)
    person = np.repeat(np.arange(count), each)
    scores = people.scores[person]
    return {
        "video_id": np.full(count * each, people.video_id, object),
        "frame": np.full(count * each, people.frame),
        "person": person,
        "person_score": scores,
        **dict(zip(PERSON_BOX, people.boxes[person].T, strict=True)),
        "part": np.tile(np.array(PARTS, object), count),
        "part_score": scores * part_scores,
        **dict(zip(BOX, boxes.T, strict=True)),
    }


def load_of(path: Path, labels: tuple[str, ...]) -> Detector:
    """Read a detector and make sure of what it detects."""
    detector = load(path)
    if detector.labels != labels:
        raise WeightsError(f"{path}: detects {', '.join(detector.labels)}; needed is a detector of {', '.join(labels)}")
    return detector


def read_batches(
    frames: FrameFile, keys: Sequence[tuple[str, int]]
) -> Iterator[list[tuple[str, int, NDArray[np.uint8]]]]:
    """Frames in batches, with a progress bar: video, frame number and picture of each; damaged ones are left out."""
    steps = list(batches(keys))
    for step in track(steps, "detecting", console=Console(stderr=True), disable=not Console(stderr=True).is_terminal):
        yield [(*key, picture) for key in step if (picture := _read(frames, *key)) is not None]


def _read(frames: FrameFile, video_id: str, frame: int) -> NDArray[np.uint8] | None:
    """A frame, or nothing (and a warning) if its JPEG is damaged."""
    try:
        return frames.frame(video_id, frame)
    except (StoreError, cv2.error) as error:
        log.warning("frame %d of %s is skipped: %s", frame, video_id, error)
        return None


def inside(boxes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which continuous boxes share at least a pixel with the picture."""
    shared = boxes[:, 2:].clip(0, size) - boxes[:, :2].clip(0, size)
    return shared.min(1) >= 1


def batches(items: Sequence[T]) -> Iterator[list[T]]:
    """What goes through a network at once."""
    yield from (list(items[i : i + BATCH]) for i in range(0, len(items), BATCH))
