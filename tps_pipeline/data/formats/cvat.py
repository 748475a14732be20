"""CVAT for video 1.1: people and parts as tracks of boxes in an XML file, read and written.

A person is a track with the label `person`; it is called by its attribute `person`, or else by the track's number. Any
other label is a part. It belongs to whom its attribute `person` names, or else to the one person of its group. The
attribute `state` may change from box to box. The attribute `action` of people is the video's class. A box with the
label `nobody` says that nobody is in its frame. Frames count from 0 here.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree.ElementTree import ParseError  # the type of the error; what parses is defusedxml
from xml.sax.saxutils import escape, quoteattr

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from tps_pipeline.data.encoding import printable
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
from tps_pipeline.labels import NO_STATE, PERSON
from tps_pipeline.plain_file import NotPlainError, descriptor
from tps_pipeline.whole_file import whole_file

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_EXPORT = "export the task as `CVAT for video 1.1`"
_SHAPES = {
    "polygon": "polygons", "polyline": "polylines", "points": "points", "cuboid": "cuboids", "mask": "masks",
    "ellipse": "ellipses", "skeleton": "skeletons",
}  # fmt: skip


class _Task(NamedTuple):
    """What the file says of a video."""

    names: tuple[str, ...]
    """What the video may be called, likeliest first."""
    size: tuple[int, int] | None
    """Width and height."""
    labels: frozenset[str]
    """Those that the task has; empty if the file does not say."""
    step: int
    """Every how many frames there are labels."""


@dataclass
class _Track:
    """A track as it stands in the file, all frames filled."""

    where: str
    label: str
    number: str
    group: str
    said: dict[str, str]
    seen: dict[int, Seen]


@dataclass
class _Parsed:
    """A task and its tracks."""

    task: _Task
    footage: Footage | None
    tracks: list[_Track] = field(default_factory=list)
    numbers: set[str] = field(default_factory=set)


def read(source: Path, library: Library, left_out: LeftOut) -> list[LabelledVideo]:
    """Read an XML file.

    Args:
        source: The file.
        library: The videos that it is about; labels of others are left out.
        left_out: Where what cannot be carried over is counted.

    Returns:
        A video each task.

    Raises:
        DataError: The file is not what it should be: which element, and what to do.
    """
    tasks: dict[str, _Parsed] = {}
    for element in _elements(source):
        if element.tag == "meta":
            tasks = {number: _Parsed(task, _find(task, library, source)) for number, task in _tasks(element, source)}
        elif element.tag == "image":
            raise refused(f"{source}: image {element.get('id')}", "is of `CVAT for images`", _EXPORT)
        elif element.tag == "track":
            _add_track(element, tasks, source, left_out)
        elif element.tag != "version":
            left_out.add("elements that are no tracks", f"{source}: <{printable(element.tag)}>")
    if not tasks:
        raise refused(f"{source}", "has no <meta> that names a video", _EXPORT)
    return [_video(each.task, each.footage, each.tracks, left_out) for each in tasks.values() if each.footage]


def _elements(source: Path) -> Iterator[Element]:
    """The parts of the file, one after the other; each is forgotten after it was used."""
    root: Element | None = None
    depth = 0
    try:
        with os.fdopen(descriptor(source), "rb") as file:
            for event, element in iterparse(file, events=("start", "end"), forbid_dtd=True):
                depth += 1 if event == "start" else -1
                if root is None:
                    root = element
                    if root.tag != "annotations":
                        raise refused(f"{source}: <{root.tag}>", "is not CVAT's <annotations>", _EXPORT)
                elif event == "end" and depth == 1:  # not the tracks within a skeleton's
                    yield element
                    root.clear()
    except NotPlainError as error:
        raise refused(f"{source}", str(error), _EXPORT) from None
    except DefusedXmlException as error:
        kind = "an entity or a document type of its own"
        raise refused(f"{source}", f"has {kind} ({type(error).__name__})", f"delete it, or {_EXPORT} again") from None
    except (ParseError, ValueError, LookupError) as error:  # the last two: an encoding that is none
        raise refused(f"{source}", f"is no whole XML: {error}", f"{_EXPORT} again") from None


def _tasks(meta: Element, source: Path) -> Iterator[tuple[str, _Task]]:
    """The tasks of the file; a job's file has none, and is one itself."""
    source_of_one = meta.findtext("source", "").strip()  # of a project each task has its own
    labels = frozenset(name for label in meta.iter("label") if (name := label.findtext("name", "").strip()))
    for task in list(meta.iter("task")) or list(meta.iter("job")):
        where = f"{source}: task {task.findtext('id', '').strip() or '?'}"
        size = None
        if (original := task.find("original_size")) is not None:
            width, height = (_whole(original.findtext(side, ""), where, side) for side in ("width", "height"))
            size = width, height
        filter_ = task.findtext("frame_filter", "").replace(" ", "")
        step = _whole(filter_.removeprefix("step="), where, "frame_filter") if filter_ else 1
        named = (task.findtext("source", "").strip(), source_of_one, task.findtext("name", "").strip(), source.stem)
        names = tuple(name for name in named if name)
        yield task.findtext("id", "").strip(), _Task(names, size, labels, max(step, 1))


def _find(task: _Task, library: Library, source: Path) -> Footage | None:
    """The video of a task, if it is there."""
    where = f"{source}: task {task.names[0]}"
    known = [name for name in task.names if library.has(name)]
    footage = library.find((known or list(task.names))[0], where)
    if footage and task.size and task.size != (footage.width, footage.height):
        labelled, there = (f"{width}x{height}" for width, height in (task.size, (footage.width, footage.height)))
        what = f"is labelled in {labelled}, and {footage.path} has {there}"
        raise refused(where, what, "give --videos the folder of the videos that were labelled")
    return footage


def _add_track(element: Element, tasks: dict[str, _Parsed], source: Path, left_out: LeftOut) -> None:
    """Keep a track, if its task's video is there."""
    where = f"{source}: track {element.get('id', '?')}"
    if not tasks:
        raise refused(where, "comes before the file's <meta>", _EXPORT)
    number, label = _required(element, "id", where), _required(element, "label", where)
    named = element.get("task_id")
    task = tasks.get(named) if named is not None else next(iter(tasks.values())) if len(tasks) == 1 else None
    if task is None:
        what = f"is of the task {named}, which the file does not have" if named else "does not say of which task it is"
        raise refused(where, what, "correct its task_id")
    if number in task.numbers:
        raise refused(where, "is there twice", "give one of the two another id, or delete it")
    task.numbers.add(number)
    if task.footage is None:
        return
    if task.task.labels and label not in task.task.labels:
        left_out.add("tracks with a label that the task does not have", f"{where}, {label}")
        return
    group = element.get("group_id", "0")
    said = _attributes(element)
    if seen := _boxes(element, where, task.task, task.footage.n_frames, left_out):
        task.tracks.append(_Track(where, label, number, group, said, seen))


def _boxes(element: Element, where: str, task: _Task, n_frames: int, left_out: LeftOut) -> dict[int, Seen]:
    """A track's boxes by frame, those between key frames included."""
    keys: dict[int, Key] = {}
    state = ""
    for box in element:
        if box.tag != "box":
            if box.tag in _SHAPES and box.get("outside") != "1":
                left_out.add(f"{_SHAPES[box.tag]}, which are not boxes", where)
            continue
        frame = _whole(_required(box, "frame", where), where, "frame") + 1
        here = f"{where}, frame {frame - 1}"
        if frame in keys:
            raise refused(here, "is there twice", "delete one of the two boxes")
        said = {attribute.get("name"): (attribute.text or "").strip() for attribute in box.iter("attribute")}
        state = said.get("state") or state
        turned = _number(box.get("rotation", "0"), here, "rotation") % 360 != 0
        shown = box.get("outside", "0") != "1" and not turned
        if turned:
            left_out.add("rotated boxes", here)
        if shown and frame > n_frames:
            left_out.add("boxes past the end of their video", here)
        left, top, right, bottom = (
            _number(_required(box, side, here), here, side) for side in ("xtl", "ytl", "xbr", "ybr")
        )
        keys[frame] = Key(frame, (left, top, right, bottom), state, shown, goes_on=shown)
    ordered = [keys[frame] for frame in sorted(keys)]
    if ordered != list(keys.values()):  # states are carried on in the order of the frames
        raise refused(where, "has boxes that are not in the order of their frames", "sort them by frame")
    return dict(filled(ordered, where, last=n_frames, step=task.step, first=0))


def _attributes(track: Element) -> dict[str, str]:
    """What the boxes of a track say, each attribute's first value that is not empty."""
    said: dict[str, str] = {}
    for attribute in track.iter("attribute"):
        if value := (attribute.text or "").strip():
            said.setdefault(attribute.get("name", ""), value)
    return said


def _video(task: _Task, footage: Footage | None, tracks: Sequence[_Track], left_out: LeftOut) -> LabelledVideo:
    """Tie a video's tracks to each other."""
    assert footage
    video = LabelledVideo(footage.path.stem, footage.n_frames, footage.width, footage.height, footage.action)
    groups: dict[str, set[str]] = {}
    actions: Counter[str] = Counter()
    for track in tracks:
        if track.label == NOBODY:
            video.empty |= set(track.seen)
        elif track.label == PERSON:
            name = track.said.get("person") or f"#{track.number}"
            person = video.people.setdefault(name, Person())
            if twice := sorted(person.boxes.keys() & track.seen.keys()):
                what = f"is a second person called {name} in frame {twice[0] - 1}"
                raise refused(track.where, what, "give one of the two another value of the attribute `person`")
            person.boxes.update(track.seen)
            groups.setdefault(track.group, set()).add(name)
            actions[track.said.get("action", "")] += len(track.seen)
    for track in tracks:
        if track.label not in (PERSON, NOBODY):
            _tie(track, video, groups, left_out)
    del actions[""]
    if actions:
        video.action, _ = actions.most_common(1)[0]
        others = actions.total() - actions[video.action]
        left_out.add("people's boxes with another action than their video's", video.video_id, others)
    return video


def _tie(track: _Track, video: LabelledVideo, groups: Mapping[str, set[str]], left_out: LeftOut) -> None:
    """Give a part to its person."""
    in_group = groups.get(track.group, set()) if track.group != "0" else set[str]()
    name = track.said.get("person") or (next(iter(in_group)) if len(in_group) == 1 else None)
    person = None if name is None else video.people.get(name) or video.people.get(f"#{name}")
    if person is None:
        left_out.add("tracks of parts that belong to no person", f"{track.where}, {track.label}")
        return
    of_person = person.parts.setdefault(track.label, {})
    if twice := sorted(of_person.keys() & track.seen.keys()):
        what = f"is a second {track.label} of the person {name} in frame {twice[0] - 1}"
        raise refused(track.where, what, "correct its attribute `person`, or delete it there")
    alone = track.seen.keys() - person.boxes.keys()
    left_out.add("boxes of parts in frames without their person", track.where, len(alone))
    of_person.update((frame, seen) for frame, seen in track.seen.items() if frame not in alone)


def _required(element: Element, name: str, where: str) -> str:
    value = element.get(name)
    if value is None or not value.strip():
        raise refused(where, f"<{element.tag}> has no {name}", f"add it, or {_EXPORT} again")
    return value.strip()


def _number(text: str, where: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise refused(where, f"{name} is {text!r}, which is no number", "correct it") from None


def _whole(text: str, where: str, name: str) -> int:
    if not (text.strip().isascii() and text.strip().isdigit() and len(text.strip()) < 10):
        raise refused(where, f"{name} is {text!r}, which is no whole number", "correct it")
    return int(text)


def write(video: LabelledVideo, path: Path) -> None:
    """Write a video's labels as a file that CVAT uploads to a task of the video with the same labels.

    Args:
        video: Its people come first, then each one's parts.
        path: The XML file; one that is there is replaced.
    """
    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n')
        file.write(_meta(video))
        for number, (label, group, shared, seen) in enumerate(_tracks(video)):
            grouped = f' group_id="{group}"' if group else ""
            file.write(f'<track id="{number}" label={quoteattr(label)} source="auto"{grouped}>\n')
            for frame in sorted(seen):
                file.write(_box(frame, seen[frame], shared, label))
                if frame + 1 not in seen and frame < video.n_frames:
                    file.write(_box(frame + 1, seen[frame], shared, label, outside=True))
            file.write("</track>\n")
        file.write("</annotations>\n")


def _tracks(video: LabelledVideo) -> Iterator[tuple[str, int, dict[str, str], dict[int, Seen]]]:
    """Label, group, attributes that do not change, and boxes of each track."""
    for group, (name, person) in enumerate(video.people.items(), 1):
        action = {} if video.action is None else {"action": video.action}
        yield PERSON, group, {"person": name, **action}, person.boxes
        for part, seen in person.parts.items():
            yield part, group, {"person": name}, seen
    if video.empty:
        picture = Seen((0, 0, video.width - 1, video.height - 1))
        yield NOBODY, 0, {}, dict.fromkeys(sorted(video.empty), picture)


def _box(frame: int, seen: Seen, shared: Mapping[str, str], label: str, *, outside: bool = False) -> str:
    sides = " ".join(
        f'{side}="{edge:.2f}"' for side, edge in zip(("xtl", "ytl", "xbr", "ybr"), edges_of(seen.box), strict=True)
    )
    said = {**shared} if label in (PERSON, NOBODY) else {**shared, "state": seen.state}
    attributes = "".join(
        f"<attribute name={quoteattr(name)}>{escape(value)}</attribute>" for name, value in said.items()
    )
    shown = f'frame="{frame - 1}" keyframe="1" outside="{int(outside)}" occluded="0"'
    return f'<box {shown} {sides} z_order="0">{attributes}</box>\n'


def _meta(video: LabelledVideo) -> str:
    """What the task needs: its labels with their attributes, and the video."""
    parts = sorted({part for person in video.people.values() for part in person.parts})
    states = {
        seen.state for person in video.people.values() for part in person.parts.values() for seen in part.values()
    }
    named = _attribute("person", mutable=False)
    state = _attribute("state", mutable=True, values=sorted({NO_STATE, *states}))
    labels = [_label(PERSON, named + _attribute("action", mutable=False))]
    labels += [_label(part, named + state) for part in parts]
    labels += [_label(NOBODY, "")] if video.empty else []
    size = f"<original_size><width>{video.width}</width><height>{video.height}</height></original_size>"
    source = f"<source>{escape(video.video_id)}.mp4</source>"
    return (
        f"<meta><task><name>{escape(video.video_id)}</name><size>{video.n_frames}</size><mode>interpolation</mode>"
        f"<start_frame>0</start_frame><stop_frame>{video.n_frames - 1}</stop_frame><frame_filter></frame_filter>\n"
        f"<labels>\n{''.join(labels)}</labels>\n{size}</task>{source}</meta>\n"
    )


def _label(name: str, attributes: str) -> str:
    return f"<label><name>{escape(name)}</name><type>rectangle</type><attributes>{attributes}</attributes></label>\n"


def _attribute(name: str, *, mutable: bool, values: Sequence[str] = ()) -> str:
    kind = "select" if values else "text"
    first = NO_STATE if values else ""
    return (
        f"<attribute><name>{name}</name><mutable>{mutable}</mutable><input_type>{kind}</input_type>"
        f"<default_value>{first}</default_value><values>{escape(chr(10).join(values))}</values></attribute>"
    )
