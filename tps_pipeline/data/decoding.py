"""Label files into tables: typed parsing, then checks on whole columns at once.

A frame's file is `{"humans": [{"box": [x1, y1, x2, y2], "parts": {"left_arm": {"box": [...], "verb": "bend"}}}]}`.
`verb` may be a list, of which the first is the state. Everything else about people is passed over (`number`,
`name`). A list under any other name whose entries have a `box` and a `name` holds objects; their field's name is
not documented, so entries that do not fit are passed over. A file with anything wrong in its people is left out whole.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import tables
from tps_pipeline.data.annotations import LabelFile
from tps_pipeline.data.encoding import as_utf8
from tps_pipeline.data.layout import Problem
from tps_pipeline.labels import PARTS
from tps_pipeline.parsing import MAX_FRAME

MAX_PEOPLE = int(np.iinfo(np.int16).max)
"""In a frame: what tables can number."""
_PIXELS = np.iinfo(np.int16)
_FRAME_NUMBER = re.compile(r"(?:[^0-9]*[^\W0-9_](?:_+|[-. ])?)?([0-9]+)\.json", re.IGNORECASE)
_FIX = "correct the file or delete it; the frame is left out"

Box = tuple[float, float, float, float]
"""The two corners of a box as an annotation file has them: x1, y1, x2, y2 in pixels."""

Rows = NDArray[np.int64]
"""Row numbers of a table."""


class _Part(msgspec.Struct, gc=False):
    box: Box
    verb: str | list[str]


class _Human(msgspec.Struct, gc=False):
    box: Box
    parts: dict[str, _Part] = {}


class _Frame(msgspec.Struct, gc=False):
    humans: list[_Human]


class _Object(msgspec.Struct, gc=False):
    box: Box
    name: str


_FRAMES = msgspec.json.Decoder(_Frame)


@dataclass
class _Files:
    """What one video's readable files say; `file` below is an index into these."""

    where: list[str] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    n_people: list[int] = field(default_factory=list)
    people: list[_Human] = field(default_factory=list)
    objects: list[tuple[int, _Object]] = field(default_factory=list)
    """With their file."""


@dataclass(frozen=True)
class VideoLabels:
    """One video's labels. Tables lack the `video_id` and are in the files' order."""

    labelled_frames: pa.Table
    """The frames that have a file."""
    people: pa.Table
    """People's boxes."""
    parts: pa.Table
    """Parts' boxes and states."""
    objects: pa.Table
    """Objects' boxes and names."""
    problems: list[Problem]
    """What was left out, and why."""


def decode(
    files: Iterable[LabelFile], states: Set[str] | None, *, parts: Set[str] = frozenset(PARTS), video_id: str = ""
) -> VideoLabels:
    """Decode one video's label files.

    Args:
        files: One file a frame.
        states: The states that labels may have (None: any).
        parts: The parts that they may have.
        video_id: The video's; files may be named after it, too.

    Returns:
        The labels, and a problem for each file that was left out.
    """
    found, problems = _parse(files, video_id)
    counts = np.array(found.n_people, int)
    file_of_person = np.repeat(np.arange(len(counts)), counts)
    person = np.arange(len(file_of_person)) - np.repeat(np.cumsum(counts) - counts, counts)
    person_of_part = np.repeat(np.arange(len(person)), np.array([len(human.parts) for human in found.people], int))
    file_of_part = file_of_person[person_of_part]
    boxed = list(itertools.chain.from_iterable([human.parts.values() for human in found.people]))
    names = list(itertools.chain.from_iterable([human.parts for human in found.people]))
    verbs = _first_states([part.verb for part in boxed])
    person_boxes, part_boxes = _boxes(found.people), _boxes(boxed)

    wrong: dict[int, str] = {}
    _check_boxes(wrong, person_boxes, file_of_person, what="a person's box")
    _check_boxes(wrong, part_boxes, file_of_part, what="a part's box")
    _check_names(wrong, names, file_of_part, known=parts, what=_unknown_part(parts))
    _check_names(wrong, verbs, file_of_part, known=states, what="is not in list/part_stat.txt")
    problems += [Problem(found.where[file], what, _FIX) for file, what in sorted(wrong.items())]

    objects = [item for _, item in found.objects]
    file_of_object = np.array([file for file, _ in found.objects], int)
    frames = np.array(found.frames, np.int32)
    files_of = {"labelled_frames": np.arange(len(frames)), "people": file_of_person, "parts": file_of_part}
    columns: dict[str, dict[str, Any]] = {
        "labelled_frames": {"n_people": counts},
        "people": {"person": person, **_corners(person_boxes)},
        "parts": {
            "person": person[person_of_part],
            "part": pa.array(names, pa.string()),
            "state": pa.array(verbs, pa.string()),
            **_corners(part_boxes),
        },
        "objects": {"name": pa.array([item.name for item in objects], pa.string()), **_corners(_boxes(objects))},
    }
    files_of["objects"] = file_of_object
    for name, of_table in columns.items():
        of_table["frame"] = frames[files_of[name]]
    rows = {name: pa.table(of_table) for name, of_table in columns.items()}
    if wrong:
        good = ~np.isin(np.arange(len(frames)), list(wrong))
        rows = {name: table.filter(good[files_of[name]]) for name, table in rows.items()}
    return VideoLabels(**rows, problems=problems)


def join(videos: dict[str, VideoLabels], name: str, schema: pa.Schema) -> pa.Table:
    """One table of all videos, in a declared shape."""
    parts = [getattr(labels, name) for labels in videos.values()]
    codes = np.repeat(np.arange(len(parts), dtype=np.int32), [part.num_rows for part in parts])
    ids = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(videos, pa.string()))
    rows = pa.concat_tables(parts) if parts else tables.empty(schema).drop_columns(["video_id"])
    return tables.conform(rows.append_column("video_id", ids), schema)


def frame_number(name: str, video_id: str = "") -> int | None:
    """The frame that a label file is of: the only number in its name, at the end.

    >>> frame_number("img_00012.json"), frame_number("7.json"), frame_number("a_1_2_00003.json", "a_1_2")
    (12, 7, 3)
    >>> frame_number("img_00005_v2.json"), frame_number("img_-1.json")
    (None, None)
    """
    found = _FRAME_NUMBER.fullmatch(name)
    if video_id and name.startswith(video_id):
        found = found or _FRAME_NUMBER.fullmatch(name.removeprefix(video_id).lstrip("_-. "))
    digits = found[1].lstrip("0") if found else ""
    return int(digits or "0") if found and len(digits) <= len(str(MAX_FRAME)) else None


def _parse(files: Iterable[LabelFile], video_id: str) -> tuple[_Files, list[Problem]]:
    found, problems = _Files(), []
    seen: set[int] = set()
    for file in files:
        frame = frame_number(file.name, video_id)
        if frame == 0:
            what = "labels frame 0, and frames are numbered from 1: all labels of the video may be one frame early"
            fix = "if they are counted from 0, add 1 to each file's number; this one is left out"
            problems.append(Problem(file.where, what, fix))
            continue
        if frame is None or frame > MAX_FRAME:
            fix = "name it after its frame, img_00001.json for the first; it is left out"
            problems.append(Problem(file.where, "has no frame number in its name", fix))
            continue
        if frame in seen:
            problems.append(Problem(file.where, f"labels frame {frame} a second time", "delete one of the two"))
            continue
        seen.add(frame)
        try:
            humans, objects = _parse_frame(as_utf8(file.content))
        except (ValueError, RecursionError) as error:
            problems.append(Problem(file.where, f"is not a frame's labels: {error}", _FIX))
            continue
        if len(humans) > MAX_PEOPLE:
            what = f"has {len(humans)} people, and at most {MAX_PEOPLE} in a frame can be read"
            problems.append(Problem(file.where, what, _FIX))
            continue
        found.objects += [(len(found.frames), item) for item in objects]
        found.where.append(file.where)
        found.frames.append(frame)
        found.n_people.append(len(humans))
        found.people += humans
    return found, problems


def _parse_frame(content: bytes) -> tuple[list[_Human], list[_Object]]:
    humans = _FRAMES.decode(content).humans
    n_boxes = len(humans) + sum(len(human.parts) for human in humans)
    # A part given twice is invisible after parsing, but its box is still in the text.
    if content.count(b'"box"') == n_boxes:
        return humans, []
    objects = _parse_objects(content)
    if content.count(b'"box"') != n_boxes + len(objects):
        json.loads(content, object_pairs_hook=_refuse_duplicates)
    return humans, [item for item in objects if _fits(_boxes([item])).all()]


def _parse_objects(content: bytes) -> list[_Object]:
    fields = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    others = [msgspec.json.decode(raw) for name, raw in fields.items() if name != "humans"]
    objects = []
    for item in (item for value in others if isinstance(value, list) for item in value):
        try:
            objects.append(msgspec.convert(item, _Object))
        except msgspec.ValidationError:
            continue
    return objects


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is given twice")
    return fields


def _first_states(verbs: list[str | list[str]]) -> list[str]:
    """The state of each part: the first of a list, and nothing for an empty one."""
    if list in set(map(type, verbs)):
        return [verb if isinstance(verb, str) else (*verb, "")[0] for verb in verbs]
    return cast(list[str], verbs)


def _boxes(labels: Sequence[_Human | _Part | _Object]) -> NDArray[np.float64]:
    corners = itertools.chain.from_iterable([label.box for label in labels])
    return np.fromiter(corners, np.float64, 4 * len(labels)).reshape(-1, 4)


def _corners(boxes: NDArray[np.float64]) -> dict[str, NDArray[np.int16]]:
    pixels = np.clip(np.rint(boxes), _PIXELS.min, _PIXELS.max).astype(np.int16)
    return dict(zip(tables.BOX, pixels.T, strict=True))


def _fits(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which boxes have corners in order, within what tables hold."""
    ordered = (boxes[:, 0] <= boxes[:, 2]) & (boxes[:, 1] <= boxes[:, 3])
    return ordered & (boxes >= _PIXELS.min).all(1) & (boxes <= _PIXELS.max).all(1)


def _check_boxes(wrong: dict[int, str], boxes: NDArray[np.float64], files: Rows, *, what: str) -> None:
    for row in np.flatnonzero(~_fits(boxes)):
        corners = ", ".join(f"{corner:g}" for corner in boxes[row])
        wrong.setdefault(int(files[row]), f"{what} [{corners}] is not x1 <= x2, y1 <= y2 in pixels")


def _unknown_part(known: Set[str]) -> str:
    ours, others = [part for part in PARTS if part in known], sorted(known - {*PARTS})
    return f"is none of the parts {', '.join([*ours, *others])}, and list/body_part.txt does not name it"


def _check_names(wrong: dict[int, str], names: list[str], files: Rows, *, known: Set[str] | None, what: str) -> None:
    """Find names that are empty, or not among the known ones (None: any)."""
    used = set(names)
    unknown = (used - known if known is not None else set()) | (used & {""})
    if unknown:
        for file, name in zip(files, names, strict=True):
            if name in unknown:
                wrong.setdefault(int(file), f"{name!r} {what}" if name else "a part has no name or no state")
