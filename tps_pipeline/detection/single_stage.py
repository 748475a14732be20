"""Single-stage detection: one detector finds people and parts on the frame, then each part is given to someone.

What the challenge's paper tried first and gave up for two stages, as it does badly where people are many.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import boxes, recipe, tables
from tps_pipeline.ahead import ahead
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.detection.pictures import read_prepared, steps
from tps_pipeline.detection.suppression import suppress
from tps_pipeline.detection.two_stage import inside, load_of, to_pixels
from tps_pipeline.labels import PERSON
from tps_pipeline.tables import BOX, PERSON_BOX
from tps_pipeline.video.frames import FrameFile


def detect(
    frames: FrameFile,
    checkpoint: Path,
    *,
    settings: recipe.SingleStage,
    inference: recipe.DetectorInference | None = None,
) -> pa.Table:
    """Find every frame's people and parts, and give the parts to the people (`assign`).

    Args:
        frames: The frames of a shard.
        checkpoint: The detector of people and parts.
        settings: Thresholds.
        inference: How the detector looks at pictures; the recipe's defaults without.

    Returns:
        `tables.DETECTIONS`: the parts that someone was given; people are numbered from the best down, and a part's
        score is its own times its person's. Someone without any part has no row.

    Raises:
        WeightsError: The checkpoint is missing or damaged, or detects something else.
    """
    prepare_cpu()
    detector = load_of(checkpoint, inference, people=True, parts=True)
    columns: list[dict[str, NDArray[Any]]] = []
    looked_for = partial(suppress, threshold=settings.threshold, iou=settings.iou)
    for pictures, batches in ahead(partial(read_prepared, frames, detector), steps(frames.keys())):
        found = detector(batches, looked_for)
        for key, picture, (boxes_, scores, labels) in zip(pictures.keys, pictures.frames, found, strict=True):
            size = (picture.shape[1], picture.shape[0])
            seen = inside(boxes_, size)
            named = np.array(detector.labels, object)[labels[seen]]
            columns.append(_columns(*key, to_pixels(boxes_[seen], size), scores[seen], named, settings))
    if not columns:
        return tables.empty(tables.DETECTIONS)
    return tables.conform({k: np.concatenate([c[k] for c in columns]) for k in columns[0]}, tables.DETECTIONS)


def assign(
    people: NDArray[np.int64],
    people_scores: NDArray[np.float32],
    parts: NDArray[np.int64],
    *,
    containment: float,
) -> NDArray[np.int64]:
    """Say whose a part is: of all the people whose box holds enough of it, the one with the best score x IoU.

    IoU of the part with the person's box, as in the paper: of two people around a part it prefers the one whose box
    is smaller. The score keeps faint second boxes around a person from taking the person's parts away.

    Args:
        people: Inclusive corners, (P, 4).
        people_scores: (P,).
        parts: Inclusive corners, (M, 4).
        containment: Share of a part's box that has to lie in the person's.

    Returns:
        For each part a person, or -1 where nobody's box holds enough of it, (M,).
    """
    if not len(people):
        return np.full(len(parts), -1)
    overlap = boxes.iou(parts.astype(float), people.astype(float))
    # intersection = IoU x union, and union = areas - intersection
    shared = overlap / (1 + overlap) * (boxes.area(parts)[:, None] + boxes.area(people))
    holds = shared >= containment * boxes.area(parts)[:, None] * (1 - 1e-9)
    value = np.where(holds, overlap * people_scores, -1.0)
    return np.where(holds.any(1), value.argmax(1), -1)


def _columns(
    video_id: str,
    frame: int,
    found: NDArray[np.int64],
    scores: NDArray[np.float32],
    labels: NDArray[np.object_],
    settings: recipe.SingleStage,
) -> dict[str, NDArray[Any]]:
    """One frame's rows of `tables.DETECTIONS`, by column: of each part someone was given, the best."""
    is_person = labels == PERSON
    people, people_scores = (
        found[is_person][: settings.people_per_frame],
        scores[is_person][: settings.people_per_frame],
    )
    parts, part_scores = found[~is_person], scores[~is_person]
    names, part = np.unique(labels[~is_person].astype(str), return_inverse=True)
    owner = assign(people, people_scores, parts, containment=settings.containment)
    # Boxes are best first, so the first of a person's candidates is the best.
    _, first = np.unique(owner * (len(names) + 1) + part, return_index=True)
    chosen = first[owner[first] >= 0]
    person = owner[chosen]
    return {
        "video_id": np.full(len(chosen), video_id, object),
        "frame": np.full(len(chosen), frame),
        "person": person,
        "person_score": people_scores[person],
        **dict(zip(PERSON_BOX, people[person].T, strict=True)),
        "part": names[part[chosen]],
        "part_score": people_scores[person] * part_scores[chosen],
        **dict(zip(BOX, parts[chosen].T, strict=True)),
    }
