"""Our tables in the neutral form, for writing them as other tools have them, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from tps_pipeline import tables
from tps_pipeline.data.formats.neutral import LabelledVideo, Person, Seen
from tps_pipeline.data.kinetics_tps import Annotations
from tps_pipeline.labels import NO_STATE


def from_annotations(videos: pa.Table, annotations: Annotations) -> list[LabelledVideo]:
    """Labels of some videos.

    Args:
        videos: `tables.VIDEOS`; those without labels are given, too.
        annotations: Theirs. A frame's first person is the same person in all frames: labels know no better.
    """
    found = _videos(videos, annotations.actions)
    boxes = annotations.people.to_pylist()
    for row in boxes:
        _person(found, row, str(row["person"])).boxes[row["frame"]] = Seen(_box(row, tables.BOX))
    for row in annotations.parts.to_pylist():
        parts = _person(found, row, str(row["person"])).parts
        parts.setdefault(row["part"], {})[row["frame"]] = Seen(_box(row, tables.BOX), row["state"])
    for row in annotations.labelled_frames.to_pylist():
        if not row["n_people"]:
            found[row["video_id"]].empty.add(row["frame"])
    return list(found.values())


def from_predictions(
    videos: pa.Table, predictions: pa.Table, tracks: pa.Table, actions: pa.Table | None = None
) -> list[LabelledVideo]:
    """Detections or predictions of some videos, each person named by the track, or `<frame>-<person>` without one.

    Args:
        videos: `tables.VIDEOS`; those in which nobody was found are given, too.
        predictions: `tables.PREDICTIONS`, or `tables.DETECTIONS`, whose parts have no state. Of a part that is there
            more than once the likeliest counts.
        tracks: `tables.TRACKS` of the same people, as far as they are tracked.
        actions: `tables.VIDEO_ACTIONS` or `tables.ACTIONS`; without it the videos have no action.
    """
    found = _videos(videos, actions)
    track_of = {(row["video_id"], row["frame"], row["person"]): row["track_id"] for row in tracks.to_pylist()}
    wanted = [name for name in (*tables.DETECTIONS.names, "state") if name in predictions.column_names]
    for row in predictions.select(wanted).to_pylist():
        frame = row["frame"]
        track = track_of.get((row["video_id"], frame, row["person"]), f"{frame}-{row['person']}")
        person = _person(found, row, str(track))
        person.boxes[frame] = Seen(_box(row, tables.PERSON_BOX), score=row["person_score"])
        part = person.parts.setdefault(row["part"], {})
        if frame not in part or part[frame].score < row["part_score"]:
            part[frame] = Seen(_box(row, tables.BOX), row.get("state", NO_STATE), row["part_score"])
    for video in found.values():
        video.people = dict(sorted(video.people.items(), key=lambda item: _number(item[0])))
    return list(found.values())


def to_annotations(videos: list[LabelledVideo]) -> Annotations:
    """Labels as tables: a frame's people are numbered in the order of the video's."""
    frames, people, parts = [], [], []
    for video in videos:
        for frame, seen in video.frames().items():
            key = {"video_id": video.video_id, "frame": frame}
            frames.append({**key, "n_people": len(seen)})
            for number, (_, person) in enumerate(seen):
                of = {**key, "person": number}
                people.append({**of, **_corners(person.boxes[frame])})
                parts += [
                    {**of, "part": part, "state": there[frame].state or NO_STATE, **_corners(there[frame])}
                    for part, there in person.parts.items()
                    if frame in there
                ]
    actions = [{"video_id": video.video_id, "action": video.action} for video in videos if video.action is not None]
    return Annotations(
        _table(actions, tables.ACTIONS),
        _table(frames, tables.LABELLED_FRAMES),
        _table(people, tables.PEOPLE),
        _table(parts, tables.PARTS),
        tables.empty(tables.OBJECTS),
    )


def _videos(videos: pa.Table, actions: pa.Table | None) -> dict[str, LabelledVideo]:
    names = ["video_id", "n_frames", "width", "height", "fps"]
    action_of = {row["video_id"]: row["action"] for row in actions.to_pylist()} if actions else {}
    return {
        row["video_id"]: LabelledVideo(**row, action=action_of.get(row["video_id"]))
        for row in videos.select(names).to_pylist()
    }


def _person(found: dict[str, LabelledVideo], row: dict[str, object], name: str) -> Person:
    return found[str(row["video_id"])].people.setdefault(name, Person())


def _number(name: str) -> tuple[int, int, int]:
    """Tracks in the order of their numbers, then whoever has none."""
    frame, _, person = name.rpartition("-")
    return (1, int(frame), int(person)) if frame else (0, int(person), 0)


def _box(row: dict[str, int], names: tuple[str, str, str, str]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (row[name] for name in names)
    return x1, y1, x2, y2


def _corners(seen: Seen) -> dict[str, int]:
    return dict(zip(tables.BOX, seen.box, strict=True))


def _table(rows: Sequence[Mapping[str, object]], schema: pa.Schema) -> pa.Table:
    return tables.conform({name: [row[name] for row in rows] for name in schema.names}, schema)
