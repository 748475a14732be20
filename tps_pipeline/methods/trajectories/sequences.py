"""People's boxes as sequences: from tables to arrays, and what is done to them in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tps_pipeline import recipe
from tps_pipeline.boxes import paired_iou
from tps_pipeline.labels import swapped
from tps_pipeline.tables import BOX, PERSON_BOX

SAME = 0.5
"""Overlap from which a detected person is an annotated one."""
_PERSON = ["video_id", "frame", "person"]
_OF_FRAME, _OF_VIDEO = 15, 46
"""Bits of a person's number within a frame, and with the frame's: an int16 and an int32, neither negative. What is left
of an int64 tells 131,072 videos apart."""


class Boxes(NamedTuple):
    """Boxes of people, the person's first and then those of the parts; any leading dimensions.

    Attributes:
        corners: x1 y1 x2 y2, continuous pixels, float32, `(..., 1 + parts, 4)`.
        confidences: 0 to 1, float32, `(..., 1 + parts)`; 0 where there is no box.
    """

    corners: NDArray[np.float32]
    confidences: NDArray[np.float32]

    def mirrored(self, parts: Sequence[str]) -> Boxes:
        """The boxes of the mirror image, left and right exchanged. Where the picture ends does not matter here.

        Args:
            parts: Which parts they are of (`labels.parts_of`).
        """
        places = (0, *(1 + part for part in swapped(parts)))
        corners = self.corners[..., places, :] * np.array((-1, 1, -1, 1), np.float32)
        return Boxes(corners[..., [2, 1, 0, 3]], self.confidences[..., places])


@dataclass(frozen=True)
class Trajectories:
    """People in frames, and the sequences that they form.

    Attributes:
        boxes: Of each person in a frame, `(N, 1 + parts, ...)`.
        person_of_part: The person that each row of the table of parts belongs to, an index below N.
        videos: Each person's video, `(N,)`.
        sequences: Persons who are one track's, ascending in time.
        steps: When each of them is, in steps of a sequence, from 0.
    """

    boxes: Boxes
    person_of_part: NDArray[np.int64]
    videos: NDArray[np.str_]
    sequences: list[NDArray[np.int64]]
    steps: list[NDArray[np.int64]]


def arrange(
    people: pa.Table,
    parts: pa.Table,
    tracks: pa.Table,
    vocabulary: Sequence[str],
    *,
    stride: int,
    threshold: float = 0.0,
) -> Trajectories:
    """Bring tables into arrays.

    Args:
        people: `tables.PEOPLE`, or `tables.DETECTIONS`.
        parts: `tables.PARTS`, or `tables.DETECTIONS`. Detected boxes have their scores as confidences, a part's as a
            share of its person's; annotated ones have 1.
        tracks: `tables.TRACKS` of the same people.
        vocabulary: The parts whose boxes are wanted, in the order of the arrays; those of others are left out.
        stride: Step between the frames of a sequence. A track makes so many sequences, each of every `stride`-th
            frame.
        threshold: Parts of a lower confidence are left out.
    """
    detected = "person_score" in people.column_names
    names = pa.array(sorted(pc.unique(people["video_id"].cast(pa.string())).to_pylist()), pa.string())
    everyone, linked, owners = (_keys(table, names) for table in (people, tracks, parts))
    first = np.flatnonzero(~pd.Index(everyone).duplicated())
    track_at = pd.Index(linked).get_indexer(pd.Index(everyone[first]))
    first, track_at = first[track_at >= 0], track_at[track_at >= 0]
    person = pd.Index(everyone[first]).get_indexer(pd.Index(owners)).astype(np.int64)
    corners = np.zeros((len(first), 1 + len(vocabulary), 4), np.float32)
    confidences = np.zeros(corners.shape[:2], np.float32)
    corners[:, 0] = _columns(people, PERSON_BOX if detected else BOX)[first]
    confidences[:, 0] = people["person_score"].to_numpy()[first] if detected else 1
    codes = _codes(parts["part"], pa.array(vocabulary, pa.string()))
    wanted = codes >= 0
    at = person[wanted], 1 + codes[wanted]
    corners[at] = _columns(parts, BOX)[wanted]
    corners[..., 2:] += 1
    part_confidences = np.ones(len(owners), np.float32)
    if detected:
        part_confidences = parts["part_score"].to_numpy() / np.maximum(confidences[person, 0], 1e-6)
    confidences[at] = np.where(part_confidences < threshold, 0, part_confidences)[wanted]
    videos, frames = everyone[first] >> _OF_VIDEO, people["frame"].to_numpy()[first].astype(np.int64)
    sequences = _sequences(videos, tracks["track_id"].to_numpy()[track_at], frames, stride)
    steps = [(frames[rows] - frames[rows[0]]) // stride for rows in sequences]
    return Trajectories(Boxes(corners, confidences), person, np.array(names.to_pylist(), str)[videos], sequences, steps)


def _keys(table: pa.Table, videos: pa.Array[Any]) -> NDArray[np.int64]:
    """A number for each row's person: equal where video, frame and person are, `(rows,)`."""
    video, frame, person = _codes(table["video_id"], videos), table["frame"].to_numpy(), table["person"].to_numpy()
    return (video << _OF_VIDEO) | (frame.astype(np.int64) << _OF_FRAME) | person


def _codes(names: pa.ChunkedArray[Any], known: pa.Array[Any]) -> NDArray[np.int64]:
    """Where each name is among those that are known, -1 if it is not."""
    found: Any = pc.index_in(names.cast(pa.string()), value_set=known)
    return found.fill_null(-1).to_numpy().astype(np.int64)


def _columns(table: pa.Table, names: Sequence[str]) -> NDArray[np.generic]:
    return np.stack([table[name].to_numpy() for name in names], axis=1)


def _sequences(
    videos: NDArray[np.int64], tracks: NDArray[np.int32], frames: NDArray[np.int64], stride: int
) -> list[NDArray[np.int64]]:
    """Persons of the same video, track, and turn of the stride, ascending in time."""
    keys = np.stack((videos, tracks, frames % stride))
    order = np.lexsort((frames, *keys[::-1]))
    starts = np.flatnonzero(np.diff(keys[:, order]).any(axis=0)) + 1
    return np.split(order, starts) if len(order) else []


def at_steps(boxes: Boxes, people: NDArray[np.int64], steps: NDArray[np.int64]) -> Boxes:
    """The boxes of a sequence, `(T, 1 + parts, ...)`, with nobody in the steps in which the person is not seen."""
    length = int(steps[-1]) + 1
    corners = np.zeros((length, *boxes.corners.shape[1:]), np.float32)
    confidences = np.zeros((length, boxes.confidences.shape[1]), np.float32)
    corners[steps], confidences[steps] = boxes.corners[people], boxes.confidences[people]
    return Boxes(corners, confidences)


def augment(boxes: Boxes, settings: recipe.TrajectoryAugmentation, rng: np.random.Generator) -> Boxes:
    """Make a sequence of annotated boxes like one of detected boxes, in another view; it is not mirrored here.

    Args:
        boxes: `(T, 1 + parts, ...)`.
        settings: How far.
        rng: Where all draws come from.
    """
    corners, confidences = boxes
    doubts = rng.random(confidences.shape) ** 2
    sizes = np.tile(corners[..., 2:] - corners[..., :2], 2)
    moved = corners + settings.jitter * doubts[..., None] * sizes * rng.normal(size=corners.shape)
    gains = _gains(settings, rng)
    dropped = rng.random(confidences.shape) < settings.drop
    dropped |= rng.random(confidences.shape[1]) < settings.drop
    dropped[:, 0] = False
    kept = np.where(dropped, 0, confidences * (1 - doubts))
    return Boxes((moved * gains).astype(np.float32), kept.astype(np.float32))


def stretch(boxes: Boxes, settings: recipe.TrajectoryAugmentation, rng: np.random.Generator) -> Boxes:
    """Make a sequence of detected boxes like one in another view."""
    return boxes._replace(corners=(boxes.corners * _gains(settings, rng)).astype(np.float32))


def _gains(settings: recipe.TrajectoryAugmentation, rng: np.random.Generator) -> NDArray[np.float64]:
    return np.tile(rng.uniform(1 - settings.stretch, 1 + settings.stretch, 2), 2)


def annotated_of_detected(detections: pa.Table, people: pa.Table) -> dict[tuple[str, int, int], int]:
    """Who is who: by video, frame and person of a detected person, the annotated person of that frame.

    That is whom they overlap by `SAME` or more, the pairs that overlap most first; nobody is two people.

    Args:
        detections: `tables.DETECTIONS`.
        people: `tables.PEOPLE` of the same frames.
    """
    found = detections.select([*_PERSON, *PERSON_BOX]).to_pandas().astype({"video_id": str})
    there = people.select([*_PERSON, *BOX]).to_pandas().astype({"video_id": str})
    pairs = found.drop_duplicates(_PERSON).merge(there, on=_PERSON[:2], suffixes=("", "_annotated"))
    overlap = paired_iou(pairs[[*PERSON_BOX]].to_numpy(float), pairs[[*BOX]].to_numpy(float))
    pairs = pairs.assign(overlap=overlap)[overlap >= SAME].sort_values("overlap", ascending=False, kind="stable")
    taken, theirs = set(), {}
    for video, frame, person, annotated in pairs[[*_PERSON, "person_annotated"]].itertuples(index=False):
        if (video, frame, person) not in theirs and (video, frame, annotated) not in taken:
            theirs[video, frame, person] = annotated
            taken.add((video, frame, annotated))
    return theirs


def persons(table: pa.Table) -> list[tuple[str, int, int]]:
    """Video, frame and person of each row."""
    rows = table.select(_PERSON).to_pandas().astype({"video_id": str})
    return list(rows.itertuples(index=False, name=None))


def states_of_detected(detections: pa.Table, people: pa.Table, parts: pa.Table) -> list[str | None]:
    """The annotated state of each detected part; None where the person, or the part, is not annotated.

    Args:
        detections: `tables.DETECTIONS`.
        people: `tables.PEOPLE` of the same frames.
        parts: `tables.PARTS`; of several states of a part the first counts.
    """
    theirs = annotated_of_detected(detections, people)
    columns = parts.select([*_PERSON, "part", "state"]).to_pylist()
    states = {(row["video_id"], row["frame"], row["person"], row["part"]): row["state"] for row in reversed(columns)}
    return [
        states.get((video, frame, theirs.get((video, frame, person)), part))
        for (video, frame, person), part in zip(persons(detections), detections["part"].to_pylist(), strict=True)
    ]
