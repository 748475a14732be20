"""The people whom the video's action is told from: each one's boxes over time, and how much each says of the video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import recipe, tables
from tps_pipeline.actions.probabilities import ids
from tps_pipeline.detection.datasets import to_frame
from tps_pipeline.labels import PARTS
from tps_pipeline.methods.trajectories.sequences import Boxes, arrange, at_steps
from tps_pipeline.tables import BOX, PERSON_BOX

UNKNOWN_RATE = 25.0
"""Frames a second of a video that does not tell."""


@dataclass(frozen=True)
class People:
    """The people of a video.

    Attributes:
        sequences: Boxes of each over time, `(T, 1 + parts, ...)`.
        weights: How much each says of the video: the sum over time of squared score times area. Whom a video is about
            is surely and long seen, and near; doubtful people and those in the background hardly count.
        seconds: Between two steps.
        parts: Which parts the boxes are of, after the person's.
    """

    sequences: list[Boxes]
    weights: NDArray[np.float64]
    seconds: float
    parts: tuple[str, ...] = PARTS


def people_of(
    videos: pa.Table,
    detections: pa.Table,
    tracks: pa.Table,
    settings: recipe.TrajectoryAction | recipe.StatisticsAction,
    *,
    parts: tuple[str, ...] = PARTS,
) -> dict[str, People]:
    """The detected people of each video that has any, by video.

    Args:
        videos: `tables.VIDEOS`.
        detections: `tables.DETECTIONS` of some of them.
        tracks: `tables.TRACKS` of the same people.
        settings: The recipe's section of who names the action.
        parts: Whose boxes are wanted.
    """
    rates = dict(zip(ids(videos), videos["fps"].to_pylist(), strict=True))
    arranged = arrange(detections, detections, tracks, parts, stride=settings.stride, threshold=settings.part_threshold)
    sequences: dict[str, list[Boxes]] = {}
    for rows, steps in zip(arranged.sequences, arranged.steps, strict=True):
        sequences.setdefault(str(arranged.videos[rows[0]]), []).append(at_steps(arranged.boxes, rows, steps))
    seconds = {video: settings.stride / (rate or UNKNOWN_RATE) for video, rate in rates.items()}
    return {
        video: People(each, np.array([_weight(boxes) for boxes in each]), seconds[video], parts)
        for video, each in sequences.items()
    }


def as_detected(people: pa.Table, parts: pa.Table) -> pa.Table:
    """Annotated people and parts as if they had been detected, each beyond doubt; people without parts are left out.

    Args:
        people: `tables.PEOPLE`.
        parts: `tables.PARTS`.

    Returns:
        `tables.DETECTIONS`.
    """
    keys = ["video_id", "frame", "person"]
    whole = to_frame(people, *keys, *BOX).rename(columns=dict(zip(BOX, PERSON_BOX, strict=True)))
    rows = to_frame(parts, *keys, "part", *BOX).merge(whole, on=keys)
    return tables.conform(rows.assign(person_score=1.0, part_score=1.0), tables.DETECTIONS)


def _weight(boxes: Boxes) -> float:
    sides = (boxes.corners[:, 0, 2:] - boxes.corners[:, 0, :2]).astype(np.float64)
    return float((boxes.confidences[:, 0].astype(np.float64) ** 2 * sides.prod(1)).sum())
