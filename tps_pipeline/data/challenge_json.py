"""The challenge's four JSON files, decoded, checked and laid out as arrays.

`{gt,pred}_vid_result.json` is `{video: action}`. `{gt,pred}_part_result.json` is
`{video: {"img_00001.json": {"humans": [{"box": [x1, y1, x2, y2], "parts": {part: {"box": ..., "verb": ...}}}]}}}`;
an annotated part has one box and a state (or a list of states), a predicted part a list of boxes and as many states.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np

from tps_pipeline import plain_file
from tps_pipeline.cpu import collection_paused, keep_freed_memory
from tps_pipeline.data import alike
from tps_pipeline.data.encoding import as_utf8, printable
from tps_pipeline.errors import DataError, UnreachableError
from tps_pipeline.labels import PARTS, parts_of
from tps_pipeline.parsing import MAX_FRAME, Parsing, translate

MAX_BYTES = 4 << 30
"""Of a submission or its truth: 40 times the challenge's."""
MAX_PEOPLE = 10
"""People a frame in a submission (Kinetics-TPS evaluation rules)."""

MAX_PROPOSALS = 5
"""Proposals a part in a submission (Kinetics-TPS evaluation rules)."""

MAX_COORDINATE = 1e9
"""Corners further out are refused: their overlaps are no numbers."""

_FRAME_NAME = re.compile(r"img_0*([0-9]*)\.json")
_Box = tuple[float, float, float, float]


class _AnnotatedPart(msgspec.Struct, gc=False):
    box: _Box
    verb: str | list[str]


class _PredictedPart(msgspec.Struct, gc=False):
    box: list[_Box]
    verb: list[str]


_Part = TypeVar("_Part", _AnnotatedPart, _PredictedPart)


class _Person(msgspec.Struct, Generic[_Part], gc=False):
    box: _Box
    parts: dict[str, _Part]


class _Frame(msgspec.Struct, Generic[_Part], gc=False):
    humans: list[_Person[_Part]]


_Videos = dict[str, dict[str, _Frame[_Part]]]


@dataclass(frozen=True)
class Labelled:
    """One side of an evaluation: what is in the frames, and each video's action."""

    parsing: Parsing
    """People, parts and states of all frames."""
    actions: dict[str, str]
    """Each video's action, by video id."""
    frame_names: list[str]
    """Of the parsing's frames: the challenge compares frames by name, and `img_1.json` is not `img_00001.json`."""


def read_truth(folder: Path | str) -> Labelled:
    """Read `gt_part_result.json` and `gt_vid_result.json`.

    Args:
        folder: Where both files are.

    Raises:
        DataError: A file is missing or breaks the format; names video, frame, person and rule.
    """
    return _labelled(Path(folder) / "gt_part_result.json", Path(folder) / "gt_vid_result.json", _AnnotatedPart)


def read_submission(folder: Path | str, *, parts: Collection[str] | None = PARTS) -> Labelled:
    """Read `pred_part_result.json` and `pred_vid_result.json`.

    A proposal whose corners are the wrong way round is accepted: the challenge's evaluator takes it as one that
    overlaps nothing.

    Args:
        folder: Where both files are.
        parts: What its parts may be called; None for anything.

    Raises:
        DataError: A file is missing or breaks the format; names video, frame, person and rule.
    """
    paths = Path(folder) / "pred_part_result.json", Path(folder) / "pred_vid_result.json"
    return _labelled(*paths, _PredictedPart, max_people=MAX_PEOPLE, parts=parts)


def parse_truth(data: bytes, path: Path) -> Parsing:
    """Lay out the contents of a `gt_part_result.json`; `path` is for messages. Raises DataError."""
    return _read(path, data, _AnnotatedPart)[0]


def parse_submission(data: bytes, path: Path, *, parts: Collection[str] | None = PARTS) -> Parsing:
    """Lay out the contents of a `pred_part_result.json` (`read_submission`); `path` is for messages."""
    return _read(path, data, _PredictedPart, max_people=MAX_PEOPLE, parts=parts)[0]


def _labelled(
    path: Path,
    action_path: Path,
    part_type: type[_Part],
    *,
    max_people: int | None = None,
    parts: Collection[str] | None = None,
) -> Labelled:
    keep_freed_memory()  # before the first file is read: what it takes is the next one's
    parsing, frame_names = _read(path, _bytes(path), part_type, max_people=max_people, parts=parts)
    actions = _convert(_json(action_path, _bytes(action_path)), dict[str, str], str(action_path))
    unlike = sorted(set(parsing.videos) ^ set(actions))
    if unlike:
        there, absent = (path, action_path) if unlike[0] in parsing.videos else (action_path, path)
        raise DataError(f"video {printable(unlike[0])} is in {there} but not in {absent}; both files name all videos")
    return Labelled(parsing, actions, frame_names)


def _read(
    path: Path,
    data: bytes,
    part_type: type[_Part],
    *,
    max_people: int | None = None,
    parts: Collection[str] | None = None,
) -> tuple[Parsing, list[str]]:
    """Decode and lay out a file of frames; with the frames' names."""
    keep_freed_memory()
    with collection_paused():
        read = _at_once(data, part_type, max_people=max_people, parts=parts)
        if read is None:
            videos = _decode(path, data, part_type)
            names = [name for frames in videos.values() for name in frames]
            read = _lay_out(path, videos, max_people=max_people, parts=parts), names
    return read


def _at_once(
    data: bytes, part_type: type[_Part], *, max_people: int | None, parts: Collection[str] | None
) -> tuple[Parsing, list[str]] | None:
    """What `_read` gives, many times as fast; None where a rule is broken or not everything is written alike."""
    try:
        videos = msgspec.json.decode(data, type=dict[str, dict[str, msgspec.Raw]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    names = [name for frames in videos.values() for name in frames]
    numbers = [_frame_number(name) for name in names]
    proposals = part_type is _PredictedPart
    read = alike.Ways(proposals, are_json=True).read([frame for frames in videos.values() for frame in frames.values()])
    if read is None or None in numbers:
        return None
    named = (parts is None or {*read.parts} <= {*parts}) and "" not in read.parts and "" not in read.states
    few = max_people is None or read.people.max(initial=0) <= max_people
    boxes = read.person_box, read.part_box  # large: no array of what holds of each corner
    small = all(box.min(initial=0) >= -MAX_COORDINATE and box.max(initial=0) <= MAX_COORDINATE for box in boxes)
    if not (named and few and small and (read.person_box[:, :2] <= read.person_box[:, 2:]).all()):
        return None
    vocabulary = parts_of(read.parts)
    parsing = Parsing(
        videos=list(videos),
        states=read.states,
        parts=vocabulary,
        frame_video=np.repeat(np.arange(len(videos)), [len(frames) for frames in videos.values()]),
        frame=np.array(numbers, dtype=np.int64),
        person_frame=np.repeat(np.arange(len(names)), read.people),
        person_box=read.person_box,
        part_person=read.part_person,
        part=translate(read.parts, vocabulary)[read.part],
        part_box=read.part_box,
        state=read.state,
    )
    return parsing, names


def _bytes(path: Path) -> bytes:
    try:
        return as_utf8(plain_file.content(path, limit=MAX_BYTES))
    except UnreachableError as error:
        raise DataError(f"{path} cannot be read: {error.__cause__}") from error
    except plain_file.NotPlainError as error:
        raise DataError(f"{path}: {error}; give the file itself") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not JSON: {error}") from error


def _decode(path: Path, data: bytes, part_type: type[_Part]) -> _Videos[_Part]:
    """Decode at once if the file is as documented; else piece by piece, so that an error can name its place."""
    try:
        return msgspec.json.decode(data, type=_Videos[part_type])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        videos = _convert(_json(path, data), dict[str, dict[str, Any]], str(path))
    return {
        video: {name: _frame(frame, part_type, _place(path, video, name)) for name, frame in frames.items()}
        for video, frames in videos.items()
    }


def _place(path: Path, video: str, frame: str) -> str:
    return printable(f"{path}: video {video}, frame {frame}")


def _frame(raw: Any, part_type: type[_Part], where: str) -> _Frame[_Part]:
    humans = _convert(raw, dict[str, Any], where).get("humans")
    if not isinstance(humans, list):
        raise DataError(f"{where}: `humans` must be a list of people")
    return _Frame([_person(person, part_type, f"{where}, person {i}") for i, person in enumerate(humans, 1)])


def _person(raw: Any, part_type: type[_Part], where: str) -> _Person[_Part]:
    person = _convert(raw, dict[str, Any], where)
    for key in ("box", "parts"):
        if key not in person:
            raise DataError(f"{where} has no `{key}`")
    box = _convert(person["box"], _Box, f"{where}, box")
    parts = {}
    for name, part in _convert(person["parts"], dict[str, Any], f"{where}, parts").items():
        listed = _listed(part) if part_type is _PredictedPart else part
        parts[name] = _convert(listed, part_type, f"{where}, {printable(name)}")
    return _Person(box, parts)


def _listed(part: Any) -> Any:
    """A predicted part with its single box and state made lists."""
    if not isinstance(part, dict):
        return part
    part = dict(part)
    if isinstance(part.get("verb"), str):
        part["verb"] = [part["verb"]]
    if isinstance(part.get("box"), list) and part["box"] and not isinstance(part["box"][0], list):
        part["box"] = [part["box"]]
    return part


def _json(path: Path, data: bytes) -> Any:
    """Decode JSON; what is no finite number stays text, to be refused where its place is known."""
    try:
        return json.loads(data, parse_constant=str, parse_float=lambda x: float(x) if math.isfinite(float(x)) else x)
    except RecursionError as error:
        raise DataError(f"{path} is not a submission or its truth: brackets are nested too deep") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error


def _convert(value: Any, type_: Any, where: str) -> Any:
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise DataError(f"{where}: {error}") from error
    except (OverflowError, UnicodeEncodeError) as error:
        raise DataError(f"{where}: holds a number that is too large or half a character: {error}") from error


def _lay_out(
    path: Path,
    videos: _Videos[_Part],
    *,
    max_people: int | None = None,
    parts: Collection[str] | None = None,
) -> Parsing:
    """Flatten decoded files, checking what their types cannot say. Rows keep the files' order."""
    states: dict[str, int] = {}
    names: dict[str, int] = {}  # of the parts, as they come
    frame_rows: list[int] = []  # two numbers a frame; below, three a part and four a box
    person_frame: list[int] = []
    person_box: list[float] = []
    part_rows: list[int] = []
    part_box: list[float] = []
    for video_index, (video, frames) in enumerate(videos.items()):
        for name, frame in frames.items():
            number = _frame_number(name)
            if number is None:
                raise DataError(f"{_place(path, video, name)}: frames are named like img_00001.json")
            if max_people is not None and len(frame.humans) > max_people:
                found = f"{len(frame.humans)} people; at most {max_people} are allowed"
                raise DataError(f"{_place(path, video, name)}: {found}")
            for i, human in enumerate(frame.humans, 1):
                wrong = _broken_rule(human, parts)
                if wrong:
                    raise DataError(f"{_place(path, video, name)}, person {i}{printable(wrong)}")
                person = len(person_frame)
                for part_name, part in human.parts.items():
                    at = names.setdefault(part_name, len(names))
                    for box, verb in _alternatives(part):
                        part_box.extend(box)
                        part_rows += (person, at, states.setdefault(verb, len(states)))
                person_frame.append(len(frame_rows) // 2)
                person_box.extend(human.box)
            frame_rows += (video_index, number)
    frame_columns = np.array(frame_rows, dtype=np.int64).reshape(-1, 2)
    part_columns = np.array(part_rows, dtype=np.int64).reshape(-1, 3)
    vocabulary = parts_of(names)
    return Parsing(
        videos=list(videos),
        states=list(states),
        parts=vocabulary,
        frame_video=frame_columns[:, 0],
        frame=frame_columns[:, 1],
        person_frame=np.array(person_frame, dtype=np.int64),
        person_box=np.array(person_box, dtype=np.float64).reshape(-1, 4),
        part_person=part_columns[:, 0],
        part=translate([*names], vocabulary)[part_columns[:, 1]],
        part_box=np.array(part_box, dtype=np.float64).reshape(-1, 4),
        state=part_columns[:, 2],
    )


@lru_cache(maxsize=1 << 12)
def _frame_number(name: str) -> int | None:
    """A frame's number, or None where it has none or one that no video comes to."""
    found = _FRAME_NAME.fullmatch(name)
    if found is None or name == "img_.json" or len(found[1]) > len(str(MAX_FRAME)):
        return None
    number = int(found[1] or "0")
    return number if number <= MAX_FRAME else None


def _alternatives(part: _AnnotatedPart | _PredictedPart) -> Iterable[tuple[_Box, str]]:
    """A part's boxes, each with a state."""
    if isinstance(part, _PredictedPart):
        return zip(part.box, part.verb, strict=True)
    if isinstance(part.verb, str):
        return ((part.box, part.verb),)
    return [(part.box, verb) for verb in part.verb]


def _broken_rule(person: _Person[Any], parts: Collection[str] | None) -> str:
    """What is wrong with a person, or nothing."""
    x1, y1, x2, y2 = person.box
    if not _is_small(person.box):
        return f": box {list(person.box)} is not in pixels; give those of the picture"
    if x2 < x1 or y2 < y1:
        return f": box {list(person.box)} has x2 < x1 or y2 < y1"
    for name, part in person.parts.items():
        if parts is not None and name not in parts:
            return f": unknown part {name!r}; known are {', '.join(parts)}"
        if not name:
            return ": a part without a name"
        if not part.verb:
            return f", {name}: no `verb`"
        if type(part) is _PredictedPart and not len(part.box) == len(part.verb) <= MAX_PROPOSALS:
            found = f"{len(part.box)} boxes and {len(part.verb)} verbs"
            return f", {name}: {found}; a proposal is one of both, and at most {MAX_PROPOSALS} are allowed"
        if not all(_is_small(box) for box, _ in _alternatives(part)):
            return f", {name}: a box is not in pixels; give those of the picture"
    return ""


def _is_small(box: _Box) -> bool:
    """Whether all corners are numbers that overlaps can be told from."""
    return all(-MAX_COORDINATE <= corner <= MAX_COORDINATE for corner in box)
