"""People, parts and states of some videos' frames as flat index arrays: the form the metric and the ensembles work on.

Tables repeat a key on every row; here every level points at the one above it, so counting and matching are array
operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline.labels import parts_of
from tps_pipeline.tables import BOX, PERSON_BOX

Integers = NDArray[np.int64]
"""Whole numbers: indices and counts."""

Floats = NDArray[np.float64]
"""Numbers in double precision: scores and overlaps."""

_FRAME_BITS = 24
_PERSON_BITS = 16

MAX_FRAME = (1 << _FRAME_BITS) - 1
"""The highest number that a frame may have: a week of video."""


@dataclass(frozen=True)
class Parsing:
    """What is in the frames of some videos, annotated or predicted.

    Several rows of one person's part are alternatives: in a prediction its proposals, in an annotation its states.

    Attributes:
        videos: Names of the videos.
        states: Names of the states.
        parts: Names of the parts (`labels.parts_of`).
        frame_video: `(F,)` index into `videos`.
        frame: `(F,)` frame numbers, counted from 1.
        person_frame: `(P,)` index into the frames.
        person_box: `(P, 4)`.
        part_person: `(Q,)` index into the people.
        part: `(Q,)` index into `parts`.
        part_box: `(Q, 4)`.
        state: `(Q,)` index into `states`.
    """

    videos: list[str]
    states: list[str]
    parts: tuple[str, ...]
    frame_video: Integers
    frame: Integers
    person_frame: Integers
    person_box: Floats
    part_person: Integers
    part: Integers
    part_box: Floats
    state: Integers

    def frames_in(self, other: Parsing) -> Integers:
        """For each frame its index among another parsing's frames, or -1."""
        video = translate(self.videos, other.videos)[self.frame_video]
        keys = _frame_keys(other.frame_video, other.frame)
        return np.where(video < 0, -1, _find(_frame_keys(video, self.frame), keys))

    def part_in(self, parts: Sequence[str]) -> Integers:
        """For each row of `part` its index among other names of parts, or -1."""
        return translate(self.parts, parts)[self.part]


def annotated(frames: pa.Table, people: pa.Table, parts: pa.Table) -> Parsing:
    """Lay out annotation tables.

    Args:
        frames: `tables.LABELLED_FRAMES` of the frames that count; what the other tables say of other frames is left
            out, and so are videos without a row here.
        people: `tables.PEOPLE`.
        parts: `tables.PARTS`; several rows of one (video, frame, person, part) are several states.

    Returns:
        The annotations, videos in the order of their names.
    """
    videos, frame_keys = _listed(frames)
    person_keys = _person_keys(people, videos)
    return _parsing(videos, frame_keys, person_keys, _boxes(people, BOX), _person_keys(parts, videos), parts)


def predicted(predictions: pa.Table, frames: pa.Table) -> Parsing:
    """Lay out a table of predictions.

    Args:
        predictions: `tables.PREDICTIONS`; several rows of one (video, frame, person, part) are several proposals.
        frames: `video_id` and `frame` of every frame that was parsed, those without people included; predictions
            of other frames are left out.

    Returns:
        The predictions, videos in the order of their names.
    """
    videos, frame_keys = _listed(frames)
    part_keys = _person_keys(predictions, videos)
    starts, _ = _runs(part_keys)
    person_keys, first = np.unique(part_keys[starts], return_index=True)
    person_box = _boxes(predictions, PERSON_BOX)[starts[first]]
    return _parsing(videos, frame_keys, person_keys, person_box, part_keys, predictions)


def translate(names: Sequence[str], into: Sequence[str]) -> Integers:
    """For each name its index in another list, or -1."""
    index = {name: i for i, name in enumerate(into)}
    return np.array([index.get(name, -1) for name in names], dtype=np.int64)


def _parsing(
    videos: list[str],
    frame_keys: Integers,
    person_keys: Integers,
    person_box: Floats,
    part_keys: Integers,
    parts: pa.Table,
) -> Parsing:
    """Turn keys into indices."""
    person_frame = _find(person_keys >> _PERSON_BITS, frame_keys)
    listed = person_frame >= 0
    starts, lengths = _runs(part_keys)
    part_person = np.repeat(_find(part_keys[starts], person_keys[listed]), lengths)
    listed_parts = part_person >= 0
    kept = slice(None) if listed_parts.all() else listed_parts
    part, part_names = _encoded(parts["part"])
    vocabulary = parts_of(part_names)
    state, states = _encoded(parts["state"])
    return Parsing(
        videos=videos,
        states=states,
        parts=vocabulary,
        frame_video=frame_keys >> _FRAME_BITS,
        frame=frame_keys & ((1 << _FRAME_BITS) - 1),
        person_frame=person_frame[listed],
        person_box=person_box[listed],
        part_person=part_person[kept],
        part=translate(part_names, vocabulary)[part][kept],
        part_box=_boxes(parts, BOX)[kept],
        state=state[kept],
    )


def _listed(frames: pa.Table) -> tuple[list[str], Integers]:
    """The videos that have frames, and the sorted keys of the frames."""
    code, names = _encoded(frames["video_id"])
    videos = sorted(names[i] for i in np.flatnonzero(np.bincount(code)))
    keys = _frame_keys(translate(names, videos)[code], _integers(frames["frame"]))
    return videos, np.unique(keys[_runs(keys)[0]])


def _frame_keys(video: Integers, frame: Integers) -> Integers:
    return (video << _FRAME_BITS) + frame


def _person_keys(rows: pa.Table, videos: list[str]) -> Integers:
    """One number a (video, frame, person); negative where the video is not one of `videos`."""
    code, names = _encoded(rows["video_id"])
    frame_keys = _frame_keys(translate(names, videos)[code], _integers(rows["frame"]))
    return (frame_keys << _PERSON_BITS) + _integers(rows["person"])


def _find(keys: Integers, among: Integers) -> Integers:
    """For each key its index in `among`, or -1."""
    if not len(among):
        return np.full(len(keys), -1)
    order = np.argsort(among, kind="stable")
    found = order[np.minimum(np.searchsorted(among, keys, sorter=order), len(among) - 1)]
    return np.where(among[found] == keys, found, -1)


def _runs(keys: Integers) -> tuple[Integers, Integers]:
    """Where runs of equal keys start, and how long they are: tables are sorted, so a run is a person."""
    starts = np.flatnonzero(np.diff(keys, prepend=keys[:1] - 1))
    return starts, np.diff(starts, append=len(keys))


def _encoded(column: pa.ChunkedArray[Any]) -> tuple[Integers, list[str]]:
    """Codes and names of a column of strings."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    chunks: list[Any] = column.unify_dictionaries().chunks
    names = chunks[0].dictionary.to_pylist() if chunks else []
    codes = [chunk.indices.to_numpy() for chunk in chunks]
    return np.concatenate([np.empty(0, dtype=np.int64), *codes]), names


def _integers(column: pa.ChunkedArray[Any]) -> Integers:
    return column.to_numpy().astype(np.int64)


def _boxes(rows: pa.Table, names: tuple[str, ...]) -> NDArray[Any]:
    return np.stack([rows[name].to_numpy() for name in names], axis=1, dtype=np.float64)
