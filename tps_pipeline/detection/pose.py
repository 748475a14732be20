"""Detection by landmarks: people, the 33 landmarks of each, and the parts that these make.

Who is in a frame is found by `follower.py`; here a shard's frames become tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain, groupby
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import recipe, tables
from tps_pipeline.ahead import ahead
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.detection.detector import TrainedDetector
from tps_pipeline.detection.follower import Follower, Person, mirrored
from tps_pipeline.detection.pictures import read, steps
from tps_pipeline.detection.sides import exchanged
from tps_pipeline.detection.suppression import suppress
from tps_pipeline.detection.two_stage import to_pixels
from tps_pipeline.labels import PARTS
from tps_pipeline.landmarks import LANDMARKS, part_boxes
from tps_pipeline.models.blazepose import BlazePose
from tps_pipeline.tables import BOX, PERSON_BOX
from tps_pipeline.video.frames import FrameFile


class Found(NamedTuple):
    """What was found in some frames.

    Attributes:
        detections: `tables.DETECTIONS`: people are numbered from the best down; a part's score is its person's times
            the mean visibility of its landmarks.
        poses: `tables.POSES` of the same people.
    """

    detections: pa.Table
    poses: pa.Table


def find(
    frames: FrameFile,
    networks: BlazePose,
    *,
    settings: recipe.Pose,
    person_detector: TrainedDetector | None = None,
    two_stage: recipe.TwoStage | None = None,
) -> Found:
    """Find every frame's people, their landmarks and their parts.

    Nobody is followed from one video to the next. A frame that cannot be read gives no rows.

    Args:
        frames: The frames of a shard.
        networks: BlazePose's.
        settings: Where people are looked for, and thresholds.
        person_detector: Who else says where people may be.
        two_stage: How that one is used: threshold, overlap and number of people; the recipe's defaults without.
    """
    prepare_cpu()
    likely_people = partial(_with_likely, frames, person_detector, two_stage or recipe.TwoStage())
    batches = ahead(likely_people, steps(frames.keys()))
    rows: list[dict[str, Any]] = []
    landmarks: list[dict[str, Any]] = []
    each = (one for batch in batches for one in batch)
    for video_id, of_video in groupby(each, key=lambda one: one[0][0]):
        follower, seen = Follower(networks, settings), list[tuple[int, tuple[int, int], list[Person]]]()
        for (_, frame), picture, likely in of_video:
            seen.append((frame, (picture.shape[1], picture.shape[0]), follower.find(picture, likely)))
        settled = with_sides([people for _, _, people in seen])
        for (frame, size, _), people in zip(seen, settled, strict=True):
            rows.append(_detections(video_id, frame, people, size, seen=settings.seen))
            landmarks.append(_poses(video_id, frame, people))
    return Found(_table(rows, tables.DETECTIONS), _table(landmarks, tables.POSES))


def with_sides(frames: Sequence[Sequence[Person]]) -> list[list[Person]]:
    """The people of a video's frames, with left and right as in most of the frames that they were followed through."""
    of_person: dict[int, list[Person]] = {}
    for person in chain.from_iterable(frames):
        of_person.setdefault(person.number, []).append(person)
    wrong: set[int] = set()
    for seen in of_person.values():
        points, visibility = (np.stack(each) for each in zip(*((p.points, p.visibility) for p in seen), strict=True))
        wrong |= {id(person) for person, bad in zip(seen, exchanged(points, visibility), strict=True) if bad}
    return [[mirrored(person) if id(person) in wrong else person for person in people] for people in frames]


_Frame = tuple[tuple[str, int], NDArray[np.uint8], NDArray[np.float32] | None]
"""A frame's key, its picture, and where people may be."""


def _with_likely(
    frames: FrameFile, detector: TrainedDetector | None, settings: recipe.TwoStage, keys: Sequence[tuple[str, int]]
) -> list[_Frame]:
    """Some frames, with the boxes of a person detector."""
    pictures = read(frames, keys)
    if detector is None:
        return [(key, picture, None) for key, picture in zip(pictures.keys, pictures.frames, strict=True)]
    looked_for = partial(
        suppress, threshold=settings.person_threshold, iou=settings.person_iou, most=settings.people_per_frame
    )
    found = detector(detector.prepare(pictures.frames), looked_for)
    return [(key, picture, said[0]) for key, picture, said in zip(pictures.keys, pictures.frames, found, strict=True)]


def _detections(
    video_id: str, frame: int, people: Sequence[Person], size: tuple[int, int], *, seen: float
) -> dict[str, NDArray[Any]]:
    """One frame's rows of `tables.DETECTIONS`, by column."""
    if not people:
        return {}
    points, visibility = (np.stack(each) for each in zip(*((p.points, p.visibility) for p in people), strict=True))
    edges, part_scores = part_boxes(points, visibility, seen=seen)
    corners = np.array([*size, *size])
    within = (edges[..., 2:].clip(0, size) - edges[..., :2].clip(0, size) >= 1).all(-1)  # NaN is not
    person, part = np.nonzero(within)
    scores = np.array([p.score for p in people], np.float32)
    whole = to_pixels(np.stack([p.box for p in people]).clip(0, corners).astype(np.float32), size)[person]
    own = to_pixels(edges[person, part].astype(np.float32), size)
    return {
        "video_id": np.full(len(person), video_id, object),
        "frame": np.full(len(person), frame),
        "person": person,
        "person_score": scores[person],
        **dict(zip(PERSON_BOX, whole.T, strict=True)),
        "part": np.array(PARTS, object)[part],
        "part_score": scores[person] * part_scores[person, part],
        **dict(zip(BOX, own.T, strict=True)),
    }


def _poses(video_id: str, frame: int, people: Sequence[Person]) -> dict[str, NDArray[Any]]:
    """One frame's rows of `tables.POSES`, by column."""
    if not people:
        return {}
    each, points = len(LANDMARKS), np.concatenate([p.points for p in people])
    return {
        "video_id": np.full(len(points), video_id, object),
        "frame": np.full(len(points), frame),
        "person": np.repeat(np.arange(len(people)), each),
        "landmark": np.tile(np.array(LANDMARKS, object), len(people)),
        "x": points[:, 0],
        "y": points[:, 1],
        "visibility": np.concatenate([p.visibility for p in people]),
    }


def _table(frames: Sequence[dict[str, NDArray[Any]]], schema: pa.Schema) -> pa.Table:
    columns = [frame for frame in frames if frame]
    if not columns:
        return tables.empty(schema)
    return tables.conform({name: np.concatenate([c[name] for c in columns]) for name in columns[0]}, schema)
