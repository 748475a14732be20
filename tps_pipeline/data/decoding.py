"""Label files into tables, then checks on whole columns at once.

Files are read some hundred together where they are written alike (`alike`), and parsed one by one where they are not:
the same rows come of both.

What a file may hold is `frame_labels`' matter. One with anything wrong in its people is left out whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import tables
from tps_pipeline.data import alike
from tps_pipeline.data.annotations import LabelFile
from tps_pipeline.data.frame_labels import (
    MAX_PEOPLE,
    PIXELS,
    Object,
    Person,
    boxes_of,
    fits,
    fitting_objects,
    frame_numbers,
    parse,
)
from tps_pipeline.data.layout import Problem
from tps_pipeline.labels import PARTS
from tps_pipeline.parsing import MAX_FRAME, Integers

_BLOCK = 1 << 20
"""Bytes of files that are read together."""
_KEPT = 8 << 20
"""Bytes, somewhat more than the arrays of a block. glibc gives freed memory back to the system unless it is less than
twice what was freed at once before (mallopt(3), M_MMAP_THRESHOLD); to touch it again for each block takes longer than
to read the labels in it. Nothing of these bytes is touched."""
_HUMANS_ALONE = 14
"""Bytes of a file beside the list of its people where it holds no more: `{"humans": }`, and the end of the line."""
_FIX = "correct the file or delete it; the frame is left out"

Rows = NDArray[np.int32]
"""Numbers of a table's rows, or of what else there are as many."""


class _Outline(msgspec.Struct, gc=False):
    humans: msgspec.Raw


_OUTLINES = msgspec.json.Decoder(_Outline)


class VideoFiles(NamedTuple):
    """One video's label files, as found."""

    video_id: str
    """The video's; files may be named after it, too."""
    files: Sequence[LabelFile]
    """One file a frame."""
    problems: Sequence[Problem] = ()
    """What else lies among them."""


@dataclass(frozen=True)
class Labels:
    """What some videos' files say."""

    labelled_frames: pa.Table
    """The frames that have a file: `tables.LABELLED_FRAMES`."""
    people: pa.Table
    """People's boxes: `tables.PEOPLE`."""
    parts: pa.Table
    """Parts' boxes and states: `tables.PARTS`."""
    objects: pa.Table
    """Objects' boxes and names: `tables.OBJECTS`."""
    problems: list[Problem]
    """What was left out, and why, video by video."""


_Objects = list[tuple[int, Object]]
"""Objects with their file."""


class _Rows(NamedTuple):
    """What some files say in rows as narrow as a table's: memory that is touched for the first time takes longest."""

    people: NDArray[np.int16]
    """`(F,)` how many each file has."""
    person_file: Rows
    """`(P,)`."""
    person: NDArray[np.int16]
    """`(P,)` their number in the frame."""
    person_box: NDArray[np.int16]
    """`(P, 4)` pixels."""
    part_file: Rows
    """`(Q,)`, a part with its first state."""
    part_person: NDArray[np.int16]
    """`(Q,)` their number in the frame."""
    part_box: NDArray[np.int16]
    """`(Q, 4)` pixels."""
    part: Rows
    """`(Q,)` index into the names of parts."""
    state: Rows
    """`(Q,)` index into the names of states."""


@dataclass
class _Found:
    """What files say, block after block; a file is an index into all those that are of a frame of their own."""

    known_parts: Set[str]
    known_states: Set[str] | None
    video: list[int] = field(default_factory=list)
    nth: list[int] = field(default_factory=list)
    """Of its video's files."""
    frame: list[int] = field(default_factory=list)
    where: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    """Of the last ones, which are not read yet; what is read is let go."""
    rows: list[_Rows] = field(default_factory=list)
    parts: dict[str, int] = field(default_factory=dict)
    """Their names, numbered as they come."""
    states: dict[str, int] = field(default_factory=dict)
    """Alike."""
    objects: _Objects = field(default_factory=list)
    ways: alike.Ways = field(default_factory=lambda: alike.Ways(proposals=False))
    left_out: set[int] = field(default_factory=set)
    """Files that have a problem."""
    problems: list[tuple[tuple[int, int, int], Problem]] = field(default_factory=list)
    """With their place: the video, then its folder's, those of files that cannot be read, and of what files say."""

    def add(self, number: int, video: VideoFiles) -> int:
        """Take in a video's files, each of a frame of its own, and say how many bytes they are."""
        frames = frame_numbers([file.name for file in video.files], video.video_id)
        files, nths = video.files, [*range(len(frames))]
        if len({*frames}) < len(frames) or min(frames, default=1) < 1 or max(frames, default=1) > MAX_FRAME:
            nths = self._of_frames(number, video, frames)
            files, frames = [files[nth] for nth in nths], [frames[nth] for nth in nths]
        self.video += [number] * len(nths)
        self.nth += nths
        self.frame += frames
        self.where += [file.where for file in files]
        contents = [file.content for file in files]
        self.contents += contents
        return sum(map(len, contents))

    def _of_frames(self, number: int, video: VideoFiles, frames: list[int]) -> list[int]:
        """Which of a video's files are of a frame of their own; the others are named."""
        seen: dict[int, int] = {}
        for nth, (file, frame) in enumerate(zip(video.files, frames, strict=True)):
            if 1 <= frame <= MAX_FRAME and frame not in seen:
                seen[frame] = nth
                continue
            if frame == 0:
                what = "labels frame 0, and frames are numbered from 1: all labels of the video may be one frame early"
                fix = "if they are counted from 0, add 1 to each file's number; this one is left out"
            elif frame in seen:
                what, fix = f"labels frame {frame} a second time", "delete one of the two"
            else:
                what = "has no frame number in its name"
                fix = "name it after its frame, img_00001.json for the first; it is left out"
            self.problems.append(((number, 1, nth), Problem(file.where, what, fix)))
        return [*seen.values()]

    def read(self) -> None:
        """Read the files that are not read yet: all at once if they are written alike, else one by one."""
        before = len(self.where) - len(self.contents)
        columns, objects = _read_at_once(self.contents, self.ways, alone=not self.objects) or self._one_by_one(before)
        files = np.arange(before, len(self.where), dtype=np.int32)
        self.contents = []
        self.objects += [(before + file, item) for file, item in objects]
        person_file = np.repeat(files, columns.people)
        first = np.cumsum(columns.people) - columns.people
        person = (np.arange(len(person_file)) - np.repeat(first, columns.people)).astype(np.int16)
        part_file = person_file[columns.part_person]
        wrong: dict[int, str] = {}
        _check_boxes(wrong, columns.person_box, person_file, what="a person's box")
        _check_boxes(wrong, columns.part_box, part_file, what="a part's box")
        named = columns.parts, columns.part, part_file
        _check_names(wrong, *named, known=self.known_parts, what=_unknown_part(self.known_parts))
        named = columns.states, columns.state, part_file
        _check_names(wrong, *named, known=self.known_states, what="is not in list/part_stat.txt")
        for file, what in wrong.items():
            self._leave_out(file, 2, what)
        self.rows.append(
            _Rows(
                columns.people.astype(np.int16),
                person_file,
                person,
                _pixels(columns.person_box),
                part_file,
                person[columns.part_person],
                _pixels(columns.part_box),
                _numbered(self.parts, columns.parts)[columns.part],
                _numbered(self.states, columns.states)[columns.state],
            )
        )

    def _one_by_one(self, before: int) -> tuple[alike.Columns, _Objects]:
        people: list[list[Person]] = []
        objects: _Objects = []
        for nth, content in enumerate(self.contents):
            humans, others = self._parse(before + nth, content)
            people.append(humans)
            objects += [(nth, item) for item in others]
        return _columns(people), objects

    def _parse(self, file: int, content: bytes) -> tuple[list[Person], list[Object]]:
        """A file's people and objects; none of one that cannot be read, which is named."""
        try:
            humans, others = parse(content)
            if len(humans) <= MAX_PEOPLE:
                return humans, others
            what = f"has {len(humans)} people, and at most {MAX_PEOPLE} in a frame can be read"
        except (ValueError, RecursionError) as error:
            what = f"is not a frame's labels: {error}"
        self._leave_out(file, 1, what)
        return [], []

    def _leave_out(self, file: int, kind: int, what: str) -> None:
        self.left_out.add(file)
        self.problems.append(((self.video[file], kind, self.nth[file]), Problem(self.where[file], what, _FIX)))


def decode(videos: Iterable[VideoFiles], states: Set[str] | None, *, parts: Set[str] = frozenset(PARTS)) -> Labels:
    """Decode some videos' label files.

    Args:
        videos: Each once; they are asked for one by one, and no more than a few files are held at a time.
        states: The states that labels may have (None: any).
        parts: The parts that they may have.

    Returns:
        The labels, and a problem for each file that was left out.
    """
    np.empty(_KEPT, np.uint8)  # and freed
    found = _Found(parts, states)
    names: list[str] = []
    unread = 0
    for number, video in enumerate(videos):
        names.append(video.video_id)
        found.problems += [((number, 0, nth), problem) for nth, problem in enumerate(video.problems)]
        unread += found.add(number, video)
        if unread >= _BLOCK:
            found.read()
            unread = 0
    found.read()
    return _tables(found, names)


def _tables(found: _Found, videos: list[str]) -> Labels:
    """Lay out what stands of what was found."""
    rows = _Rows(*map(np.concatenate, zip(*found.rows, strict=True)))
    frame, video = np.array(found.frame, np.int32), np.array(found.video, np.int32)
    stands = np.ones(len(frame), bool)
    stands[[*found.left_out]] = False

    def table(schema: pa.Schema, files: Rows, columns: dict[str, Any]) -> pa.Table:
        columns |= {"video_id": _named(video[files], videos), "frame": frame[files]}
        laid_out = pa.table(columns)
        return tables.conform(laid_out.filter(stands[files]) if found.left_out else laid_out, schema)

    names = {"part": _named(rows.part, found.parts), "state": _named(rows.state, found.states)}
    objects = [item for _, item in found.objects]
    object_file = np.array([file for file, _ in found.objects], np.int32)
    object_names = pa.array([item.name for item in objects], pa.string())
    return Labels(
        table(tables.LABELLED_FRAMES, np.arange(len(frame), dtype=np.int32), {"n_people": rows.people}),
        table(tables.PEOPLE, rows.person_file, {"person": rows.person, **_corners(rows.person_box)}),
        table(tables.PARTS, rows.part_file, {"person": rows.part_person, **names, **_corners(rows.part_box)}),
        table(tables.OBJECTS, object_file, {"name": object_names, **_corners(_pixels(boxes_of(objects)))}),
        [problem for _, problem in sorted(found.problems, key=itemgetter(0))],
    )


def _named(codes: Rows, names: Iterable[str]) -> pa.Array[Any]:
    return pa.DictionaryArray.from_arrays(codes, pa.array([*names], pa.string()))


def _numbered(numbers: dict[str, int], names: list[str]) -> Rows:
    """The number of each of some names; new ones are numbered as they come."""
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int32)


def _read_at_once(contents: list[bytes], ways: alike.Ways, *, alone: bool) -> tuple[alike.Columns, _Objects] | None:
    """Read files that are written alike; None if they are not, or anything is wrong with one.

    Args:
        contents: The files'.
        ways: How files are written.
        alone: Whether they are taken to hold nothing but people before it is looked whether they hold more.
    """
    others: list[int] = []
    try:
        read = ways.read(contents) if alone else None
        if read is None:
            humans = [outline.humans for outline in map(_OUTLINES.decode, contents)]
            beside = np.array([*map(len, contents)], int) - np.array([*map(len, map(memoryview, humans))], int)
            others = np.flatnonzero(beside > _HUMANS_ALONE).tolist()
            frames = contents.copy()
            for nth in others:
                frames[nth] = b'{"humans":%b}' % humans[nth]
            read = ways.read(frames) if others or not alone else None
        if read is None or not (np.isfinite(read.person_box).all() and np.isfinite(read.part_box).all()):
            return None
        columns = _first_of_states(read)
        n_boxes = columns.people + np.bincount(
            np.repeat(np.arange(len(contents)), columns.people)[columns.part_person], minlength=len(contents)
        )
        objects = [(nth, item) for nth in others for item in fitting_objects(contents[nth], int(n_boxes[nth]))]
    except (ValueError, RecursionError):
        return None
    return None if columns.people.max(initial=0) > MAX_PEOPLE else (columns, objects)


def _first_of_states(read: alike.Columns) -> alike.Columns:
    """One row a part: the first of several states counts."""
    first = np.diff(read.part_person * len(read.parts) + read.part, prepend=-1) != 0
    if first.all():
        return read
    part_person, part, part_box, state = (
        column[first] for column in (read.part_person, read.part, read.part_box, read.state)
    )
    return replace(read, part_person=part_person, part=part, part_box=part_box, state=state)


def _columns(people: list[list[Person]]) -> alike.Columns:
    """Parsed people of some frames, in the form in which they are read at once."""
    humans = [*itertools.chain.from_iterable(people)]
    parts = [part for human in humans for part in human.parts.values()]
    names: dict[str, int] = {}
    states: dict[str, int] = {}
    return alike.Columns(
        people=np.array([*map(len, people)], int),
        person_box=boxes_of(humans),
        part_person=np.repeat(np.arange(len(humans)), np.array([len(human.parts) for human in humans], int)),
        part=np.array([names.setdefault(name, len(names)) for human in humans for name in human.parts], int),
        part_box=boxes_of(parts),
        state=np.array([states.setdefault(part.state, len(states)) for part in parts], int),
        parts=[*names],
        states=[*states],
    )


def _pixels(boxes: NDArray[np.float64]) -> NDArray[np.int16]:
    """Boxes, which are used up, as whole pixels."""
    return np.clip(np.rint(boxes, out=boxes), PIXELS.min, PIXELS.max, out=boxes).astype(np.int16)


def _corners(boxes: NDArray[np.int16]) -> dict[str, NDArray[np.int16]]:
    return dict(zip(tables.BOX, boxes.T, strict=True))


def _check_boxes(wrong: dict[int, str], boxes: NDArray[np.float64], files: Rows, *, what: str) -> None:
    for row in np.flatnonzero(~fits(boxes)):
        corners = ", ".join(f"{corner:g}" for corner in boxes[row])
        wrong.setdefault(int(files[row]), f"{what} [{corners}] is not x1 <= x2, y1 <= y2 in pixels")


def _unknown_part(known: Set[str]) -> str:
    ours, others = [part for part in PARTS if part in known], sorted(known - {*PARTS})
    return f"is none of the parts {', '.join([*ours, *others])}, and list/body_part.txt does not name it"


def _check_names(
    wrong: dict[int, str], names: list[str], codes: Integers, files: Rows, *, known: Set[str] | None, what: str
) -> None:
    """Find names that are empty, or not among the known ones (None: any)."""
    unknown = [code for code, name in enumerate(names) if not name or (known is not None and name not in known)]
    for row in np.flatnonzero(np.isin(codes, unknown)) if unknown else ():
        name = names[codes[row]]
        wrong.setdefault(int(files[row]), f"{name!r} {what}" if name else "a part has no name or no state")
