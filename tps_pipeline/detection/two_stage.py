"""Two-stage detection: people in the frame, then each person's parts in the person's crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor

from tps_pipeline import recipe, tables
from tps_pipeline.ahead import ahead
from tps_pipeline.boxes import paired_iou
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.detection.datasets import classes, crops
from tps_pipeline.detection.detector import Batch, TrainedDetector, load
from tps_pipeline.detection.pictures import Pictures, read_prepared, steps
from tps_pipeline.detection.suppression import suppress
from tps_pipeline.errors import WeightsError
from tps_pipeline.labels import PERSON, swapped
from tps_pipeline.tables import BOX, PERSON_BOX
from tps_pipeline.video.frames import FrameFile

AGREED = 0.55
"""Overlap from which two views have found the same (that of weighted boxes fusion)."""
View = tuple[NDArray[Any], ...]
"""Of each part the best box, (C, 4), and its score, (C,)."""


@dataclass(frozen=True)
class PersonDetections:
    """The people detected in one frame, best first.

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


def detect(
    frames: FrameFile,
    person_checkpoint: Path,
    part_checkpoint: Path,
    *,
    settings: recipe.TwoStage,
    inference: tuple[recipe.DetectorInference, recipe.DetectorInference] | None = None,
) -> pa.Table:
    """Find every frame's people and their parts.

    Everyone gets all parts, each at its best box however faint: the challenge does not count parts or people that
    are not there (only too few boxes cost). A frame without people gives no rows, a frame that cannot be read neither.

    Args:
        frames: The frames of a shard.
        person_checkpoint: The person detector.
        part_checkpoint: The part detector, trained with the same crop margin.
        settings: Thresholds and margin.
        inference: How the person detector and the part detector look at pictures; the recipe's defaults without.

    Returns:
        `tables.DETECTIONS`; people are numbered from the best down, and a part's score is its own times its
        person's.

    Raises:
        WeightsError: A checkpoint is missing or damaged, or detects something else.
    """
    of_people, of_parts = inference or (None, None)
    person_detector = load_of(person_checkpoint, of_people, people=True)
    part_detector = load_of(part_checkpoint, of_parts, parts=True)
    return find(frames, person_detector, part_detector, settings=settings)


def find(
    frames: FrameFile, person_detector: TrainedDetector, part_detector: TrainedDetector, *, settings: recipe.TwoStage
) -> pa.Table:
    """What `detect` does, with detectors at hand."""
    prepare_cpu()
    prepared = ahead(partial(read_prepared, frames, person_detector), steps(frames.keys()))
    people = (find_people(person_detector, *each, settings=settings) for each in prepared)
    columns: list[dict[str, NDArray[Any]]] = []
    for everyone, cuts in ahead(partial(cut, part_detector, mirror=settings.mirror), people):
        columns += find_parts(part_detector, everyone, cuts, mirror=settings.mirror)
    if not columns:
        return tables.empty(tables.DETECTIONS)
    return tables.conform({k: np.concatenate([c[k] for c in columns]) for k in columns[0]}, tables.DETECTIONS)


def find_people(
    detector: TrainedDetector, pictures: Pictures, batches: Sequence[Batch], *, settings: recipe.TwoStage
) -> list[PersonDetections]:
    """The people of some frames, after non-maximum suppression; frames without any are left out.

    Args:
        detector: The person detector.
        pictures: The frames.
        batches: The same, prepared for the detector.
        settings: Score threshold, overlap and number of people; margin of the crops.
    """
    found = detector(batches, partial(suppress, threshold=settings.person_threshold, iou=settings.person_iou))
    result = []
    for (video_id, frame), picture, (boxes, scores, _) in zip(pictures.keys, pictures.frames, found, strict=True):
        size = (picture.shape[1], picture.shape[0])
        best = np.flatnonzero(inside(boxes, size))[: settings.people_per_frame]
        if len(best) == 0:
            continue
        pixels = to_pixels(boxes[best], size)
        windows = crops(pixels, np.array(size), margin=settings.crop_margin)
        cuts = [picture[y1 : y2 + 1, x1 : x2 + 1] for x1, y1, x2, y2 in windows]
        result.append(PersonDetections(video_id, frame, size, pixels, scores[best], windows, cuts))
    return result


def cut(
    detector: TrainedDetector, people: Sequence[PersonDetections], *, mirror: bool = False
) -> tuple[Sequence[PersonDetections], list[Batch]]:
    """People with their crops as a detector takes them, those of all frames together; then their mirror images."""
    crops = [crop for p in people for crop in p.cuts]
    mirrored = [np.ascontiguousarray(crop[:, ::-1]) for crop in crops] if mirror else []
    return people, detector.prepare(crops + mirrored)


def find_parts(
    detector: TrainedDetector, people: Sequence[PersonDetections], cuts: Sequence[Batch], *, mirror: bool = False
) -> list[dict[str, NDArray[Any]]]:
    """The best box of each part of everyone.

    Args:
        detector: The part detector.
        people: The people of some frames.
        cuts: Their crops, from `cut`.
        mirror: Whether mirror images are among them; what is seen in both is fused.

    Returns:
        Columns of `tables.DETECTIONS`, one dictionary a frame.
    """
    found = detector(cuts, best_of_each)
    if mirror:
        widths = [crop.shape[1] for p in people for crop in p.cuts]
        views = zip(found[: len(widths)], found[len(widths) :], widths, strict=True)
        found = [_fused(view, _mirrored(other, detector.labels, width)) for view, other, width in views]
    each = iter(found)
    columns = []
    for p in people:
        boxes, scores = zip(*(next(each) for _ in p.windows), strict=True)
        corners = np.tile(p.windows[:, None, :2], 2).astype(np.float32)
        in_frame = to_pixels((boxes + corners).reshape(-1, 4), p.size)
        columns.append(_columns(p, detector.labels, in_frame, np.concatenate(scores)))
    return columns


def _mirrored(view: View, parts: Sequence[str], width: int) -> View:
    """What was found in the mirror image of a picture of a width as it is in the picture, left and right exchanged."""
    (boxes, scores), places = view, [*swapped(parts)]
    back = boxes[places][:, [2, 1, 0, 3]] * np.array((-1, 1, -1, 1), np.float32)
    return back + np.array((width, 0, width, 0), np.float32), scores[places]


def _fused(one: View, other: View) -> View:
    """Weighted boxes fusion (arXiv 1910.13302) of two views, class by class.

    Where they overlap by `AGREED` or more: the mean box by scores, and the mean score; else the surer one, at half its
    score, since one of two has seen it.
    """
    (boxes, scores), (others, doubts) = one, other
    inclusive = np.array((0, 0, 1, 1), np.float32)
    agree = paired_iou(boxes - inclusive, others - inclusive) >= AGREED
    total = np.maximum(scores + doubts, np.finfo(np.float32).tiny)
    mean = (boxes * scores[:, None] + others * doubts[:, None]) / total[:, None]
    surer = np.where((scores >= doubts)[:, None], boxes, others)
    return np.where(agree[:, None], mean, surer), np.where(agree, scores + doubts, np.maximum(scores, doubts)) / 2


def best_of_each(boxes: Tensor, scores: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
    """Each class's best box and its score: (C, 4) and (C,) for each picture of a batch (`detector.Reduce`)."""
    score, best = scores.max(1)
    return [*zip(boxes.gather(1, best[..., None].expand(-1, -1, 4)), score, strict=True)]


def to_pixels(boxes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.int64]:
    """Continuous boxes as inclusive corners of at least one pixel inside the picture, (N, 4)."""
    last = np.array(size) - 1
    low = np.rint(boxes[:, :2]).clip(0, last)
    high = np.maximum(np.rint(boxes[:, 2:]) - 1, low).clip(0, last)
    return np.concatenate((low, high), 1).astype(np.int64)


def _columns(
    people: PersonDetections, parts: tuple[str, ...], boxes: NDArray[np.int64], part_scores: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    """One frame's rows of `tables.DETECTIONS`, by column."""
    count, each = len(people.boxes), len(parts)
    person = np.repeat(np.arange(count), each)
    scores = people.scores[person]
    return {
        "video_id": np.full(count * each, people.video_id, object),
        "frame": np.full(count * each, people.frame),
        "person": person,
        "person_score": scores,
        **dict(zip(PERSON_BOX, people.boxes[person].T, strict=True)),
        "part": np.tile(np.array(parts, object), count),
        "part_score": scores * part_scores,
        **dict(zip(BOX, boxes.T, strict=True)),
    }


def load_of(
    path: Path, inference: recipe.DetectorInference | None = None, *, people: bool = False, parts: bool = False
) -> TrainedDetector:
    """Read a detector and make sure of what it detects: people, parts (whichever it has learned), or both."""
    detector = load(path, inference=inference)
    if detector.labels != classes(detector.labels, people=people, parts=parts):
        needed = " and ".join([*([PERSON] if people else []), *(["parts"] if parts else [])])
        raise WeightsError(f"{path}: detects {', '.join(detector.labels)}; needed is a detector of {needed}")
    return detector


def inside(boxes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which continuous boxes share at least a pixel with the picture."""
    shared = boxes[:, 2:].clip(0, size) - boxes[:, :2].clip(0, size)
    return shared.min(1) >= 1
