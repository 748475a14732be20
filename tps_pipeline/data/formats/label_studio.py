"""Label Studio's JSON: rectangles in videos, as sequences of key frames in percent of the picture.

A rectangle with the label `person` is a person, any other is a part. A part belongs to whom a relation ties it to, or
to whom its field `person` names (people are called by theirs, or else by their region's id). A region's `state` and
`person`, and a video's `action`, are choices or texts with that name. A rectangle with the label `nobody` says
that nobody is in its frames. Frames count from 1 here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tps_pipeline.data.formats.footage import Footage, Library
from tps_pipeline.data.formats.neutral import (
    NOBODY,
    Key,
    LabelledVideo,
    LeftOut,
    Person,
    Seen,
    edges_of,
    filled,
    refused,
)
from tps_pipeline.data.formats.source import decoded
from tps_pipeline.labels import PERSON
from tps_pipeline.whole_file import whole_file

_EXPORT = "export the project as JSON (not JSON-MIN)"
_SAID = ("choices", "text", "number")
_PERCENT = 1000.0
"""How far out of the picture a rectangle may reach."""


class _Drawn(msgspec.Struct):
    frame: int
    x: float
    y: float
    width: float
    height: float
    enabled: bool = True
    rotation: float = 0.0


class _Value(msgspec.Struct):
    sequence: list[_Drawn] = []
    labels: list[str] = []
    choices: list[str] = []
    text: list[str] | str = []
    number: float | None = None


class _Result(msgspec.Struct):
    type: str
    id: str = ""
    from_name: str = ""
    from_id: str = ""
    to_id: str = ""
    value: _Value | None = None


class _Annotation(msgspec.Struct):
    result: list[_Result]
    was_cancelled: bool = False


class _Task(msgspec.Struct):
    data: dict[str, Any]
    annotations: list[_Annotation]
    id: int | str = ""


def read(source: Path, library: Library, left_out: LeftOut) -> list[LabelledVideo]:
    """Read a JSON file.

    Args:
        source: The file.
        library: The videos that it is about; labels of others are left out.
        left_out: Where what cannot be carried over is counted.

    Returns:
        A video each task that somebody has labelled.

    Raises:
        DataError: The file is not what it should be: which element, and what to do.
    """
    videos: list[LabelledVideo] = []
    for task in decoded(source, list[_Task], _EXPORT):
        where = f"{source}: task {task.id}"
        done = [annotation for annotation in task.annotations if not annotation.was_cancelled]
        if not done:
            left_out.add("tasks that nobody has labelled", where)
            continue
        left_out.add("annotations of a task after its first", where, len(done) - 1)
        name = task.data.get("video") or next((value for value in task.data.values() if isinstance(value, str)), None)
        if not isinstance(name, str):
            raise refused(where, "names no video in its data", "label videos: data has to have a field `video`")
        if footage := library.find(name.rpartition("?d=")[2], where):
            videos.append(_video(done[0].result, footage, where, left_out))
    return videos


def _video(results: list[_Result], footage: Footage, where: str, left_out: LeftOut) -> LabelledVideo:
    """A task's regions as people and their parts."""
    video = LabelledVideo(footage.path.stem, footage.n_frames, footage.width, footage.height, footage.action)
    regions: dict[str, tuple[str, dict[int, Seen]]] = {}
    said: dict[str, dict[str, str]] = {}
    for result in results:
        if result.type in (*_SAID, "textarea") and result.value:
            said.setdefault(result.id, {})[result.from_name] = _text(result.value)
            if result.from_name == "action":
                video.action = _text(result.value) or video.action
    for result in results:
        here = f"{where}, region {result.id}"
        if result.type == "videorectangle" and result.value:
            if not result.id or result.id in regions:
                what = "is there twice" if result.id else "has no id"
                raise refused(here, what, "give each region an id of its own")
            if not result.value.labels:
                left_out.add("rectangles without a label", here)
                continue
            left_out.add("labels of a rectangle after its first", here, len(result.value.labels) - 1)
            state = said.get(result.id, {}).get("state", "")
            regions[result.id] = result.value.labels[0], _boxes(result.value, state, footage, here, left_out)
        elif result.type not in (*_SAID, "textarea", "relation"):
            left_out.add(f"results of the type {result.type}", here)
    _tie(video, regions, said, results, where, left_out)
    return video


def _boxes(value: _Value, state: str, footage: Footage, where: str, left_out: LeftOut) -> dict[int, Seen]:
    """A rectangle's boxes by frame; after a last key frame that is enabled it stays."""
    keys: dict[int, Key] = {}
    for drawn in value.sequence:
        here = f"{where}, frame {drawn.frame}"
        if drawn.frame < 1:
            raise refused(here, "frames count from 1", "correct it")
        if drawn.frame in keys:
            raise refused(here, "is there twice", "delete one of the two key frames")
        if max(map(abs, (drawn.x, drawn.y, drawn.width, drawn.height))) > _PERCENT:
            raise refused(here, "the rectangle is not in percent of the picture", "correct or delete it")
        turned = drawn.rotation % 360 != 0
        left_out.add("rotated boxes", here, int(turned))
        left_out.add("key frames past the end of their video", here, int(drawn.frame > footage.n_frames))
        x, y = footage.width / 100, footage.height / 100
        edges = drawn.x * x, drawn.y * y, (drawn.x + drawn.width) * x, (drawn.y + drawn.height) * y
        keys[drawn.frame] = Key(drawn.frame, edges, state, not turned, drawn.enabled and not turned)
    ordered = [keys[frame] for frame in sorted(keys)]
    if ordered and ordered[-1].goes_on:
        ordered.append(ordered[-1]._replace(frame=max(footage.n_frames, ordered[-1].frame) + 1, shown=False))
    return dict(filled(ordered, where, last=footage.n_frames))


def _tie(
    video: LabelledVideo, regions: dict[str, tuple[str, dict[int, Seen]]], said: dict[str, dict[str, str]],
    results: list[_Result], where: str, left_out: LeftOut,
) -> None:  # fmt: skip
    """Make people of the regions that are, and give them the others."""
    name_of: dict[str, str] = {}
    for region, (label, seen) in regions.items():
        if label == PERSON:
            name = name_of[region] = said.get(region, {}).get("person") or region
            there = video.people.setdefault(name, Person()).boxes
            if twice := sorted(there.keys() & seen.keys()):
                what = f"is a second person called {name} in frame {twice[0]}"
                raise refused(f"{where}, region {region}", what, "give one of the two another `person`")
            there.update(seen)
    related: dict[str, set[str]] = {}
    for result in results:
        for part, person in ((result.from_id, result.to_id), (result.to_id, result.from_id)):
            if result.type == "relation" and person in name_of and part not in name_of:
                related.setdefault(part, set()).add(name_of[person])
    for region, (label, seen) in regions.items():
        if label == PERSON:
            continue
        if label == NOBODY:
            video.empty |= set(seen)
            continue
        here = f"{where}, region {region}"
        among = related.get(region) or {said.get(region, {}).get("person", "")}
        person = video.people.get(next(iter(among))) if len(among) == 1 else None
        if person is None:
            left_out.add("rectangles of parts that belong to no person", f"{here}, {label}")
            continue
        of_person = person.parts.setdefault(label, {})
        if twice := sorted(of_person.keys() & seen.keys()):
            raise refused(here, f"is a second {label} of its person in frame {twice[0]}", "delete one of the two there")
        alone = seen.keys() - person.boxes.keys()
        left_out.add("boxes of parts in frames without their person", here, len(alone))
        of_person.update((frame, box) for frame, box in seen.items() if frame not in alone)


def _text(value: _Value) -> str:
    """What a choice, a text or a number says."""
    texts = value.choices or ([value.text] if isinstance(value.text, str) else value.text)
    number = [] if value.number is None else [f"{value.number:g}"]
    return next(iter([*texts, *number]), "").strip()


def write(videos: Sequence[LabelledVideo], path: Path) -> None:
    """Write the labels of some videos as tasks that Label Studio imports with them.

    Args:
        videos: A region each of their people, and one each of a part's stretches in one state. The project needs a
            `VideoRectangle` called `box` and its labels, and for each region the texts `person` and `state`; the
            video's `action` is one, too.
        path: The JSON file; one that is there is replaced.
    """
    tasks = [
        {"id": number, "data": {"video": f"{video.video_id}.mp4"}, "annotations": [{"result": [*_results(video)]}]}
        for number, video in enumerate(videos, 1)
    ]
    with whole_file(path) as partial:
        partial.write_bytes(msgspec.json.encode(tasks))


def _results(video: LabelledVideo) -> Iterator[dict[str, Any]]:
    """A video's regions, and what is said of each and of the video."""
    if video.action is not None:
        yield _words("action", "action", video.action)
    for number, (name, person) in enumerate(video.people.items(), 1):
        yield _region(f"p{number}", PERSON, person.boxes, video)
        yield _words(f"p{number}", "person", name)
        for part, seen in person.parts.items():
            for at, state in enumerate(sorted({each.state for each in seen.values()})):
                region = f"p{number}-{part}-{at}"
                yield _region(region, part, {n: each for n, each in seen.items() if each.state == state}, video)
                yield _words(region, "person", name)
                yield _words(region, "state", state)
    if video.empty:
        picture = Seen((0, 0, video.width - 1, video.height - 1))
        yield _region(NOBODY, NOBODY, dict.fromkeys(video.empty, picture), video)


def _region(name: str, label: str, seen: Mapping[int, Seen], video: LabelledVideo) -> dict[str, Any]:
    """A rectangle that is shown in these frames alone: a key in each, the last of a stretch not enabled."""
    sequence: list[_Drawn] = []
    for frame in sorted(seen):
        left, top, right, bottom = edges_of(seen[frame].box)
        x, y = 100 / video.width, 100 / video.height
        drawn = _Drawn(frame, left * x, top * y, (right - left) * x, (bottom - top) * y, enabled=frame + 1 in seen)
        sequence.append(drawn)
    value = {"framesCount": video.n_frames, "sequence": sequence, "labels": [label]}
    return {"id": name, "type": "videorectangle", "from_name": "box", "to_name": "video", "value": value}


def _words(region: str, name: str, text: str) -> dict[str, Any]:
    return {"id": region, "type": "textarea", "from_name": name, "to_name": "video", "value": {"text": [text]}}
