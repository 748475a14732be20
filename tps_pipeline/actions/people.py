"""The people whom the video's action is told from: each one's boxes over time, and how much each says of the video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import recipe, tables
from tps_pipeline.detection.datasets import to_frame
from tps_pipeline.labels import PARTS
from tps_pipeline.methods.trajectories.sequences import Boxes, arrange, at_steps
from tps_pipeline.tables import BOX, PERSON_BOX


@dataclass(frozen=True)
class People:
    """The people of a video.

    Attributes:
        sequences: Boxes of each over time, `(T, 1 + parts, ...)`.
        weights: How much each says of the video: the sum of squared scores, so that who is seen surely and for long
            counts, and doubtful people hardly do.
        parts: Which parts the boxes are of, after the person's.
    """

    sequences: list[Boxes]
    weights: NDArray[np.float64]
    parts: tuple[str, ...] = PARTS


def people_of(
    detections: pa.Table,
    tracks: pa.Table,
    settings: recipe.TrajectoryAction | recipe.StatisticsAction,
    *,
    parts: tuple[str, ...] = PARTS,
) -> dict[str, People]:
    """The detected people of each video that has any, by video.

    Args:
        detections: `tables.DETECTIONS`.
        tracks: `tables.TRACKS` of the same people.
        settings: The recipe's section of who names the action.
        parts: Whose boxes are wanted.
    """
    arranged = arrange(detections, detections, tracks, parts, stride=settings.stride, threshold=settings.part_threshold)
    sequences: dict[str, list[Boxes]] = {}
    for rows, steps in zip(arranged.sequences, arranged.steps, strict=True):
        sequences.setdefault(str(arranged.videos[rows[0]]), []).append(at_steps(arranged.boxes, rows, steps))
    return {
        video: People(each, np.array([_weight(boxes) for boxes in each]), parts) for video, each in sequences.items()
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
    return float((boxes.confidences[:, 0].astype(np.float64) ** 2).sum())
