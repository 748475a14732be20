"""AVA's CSV: a line for each action of a person in a picture, without a heading.

`video_id,middle_frame_timestamp,x1,y1,x2,y2,action_id,person_id`: seconds, then a box as shares of the picture. A line
with nothing after the time says that nobody is there. Actions are named by a `.pbtxt` beside the file; without one they
are called `action_<id>`. AVA gives actions to people, we give one to a video: the one that most lines have. It knows
neither parts nor states, so those are not written.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tps_pipeline.data.formats.footage import Footage, Library
from tps_pipeline.data.formats.neutral import (
    Box,
    Edges,
    LabelledVideo,
    LeftOut,
    Person,
    Seen,
    edges_of,
    pixels,
    refused,
)
from tps_pipeline.data.formats.source import text_of
from tps_pipeline.whole_file import whole_file

_COLUMNS = "video_id,middle_frame_timestamp,x1,y1,x2,y2,action_id,person_id"
_FIX = f"give {_COLUMNS}"
_NAMED = re.compile(r'name:\s*"([^"]+)"\s+(?:label_)?id:\s*([0-9]+)')


def read(source: Path, library: Library, left_out: LeftOut) -> list[LabelledVideo]:
    """Read a CSV file.

    Args:
        source: The file.
        library: The videos that it is about; their frames a second tell which frame a time is.
        left_out: Where what cannot be carried over is counted.

    Returns:
        The videos; AVA has no parts.

    Raises:
        DataError: The file is not what it should be: which line, and what to do.
    """
    names = _action_names(source)
    videos: dict[str, LabelledVideo] = {}
    actions: dict[str, Counter[str]] = {}
    for number, row in _lines(source):
        where = f"{source}: line {number}"
        if not 2 <= len(row) <= 8 or not row[0]:
            raise refused(where, f"has {len(row)} columns", _FIX)
        footage = library.find(row[0], where)
        if footage is None:
            left_out.add("lines of videos that are not there", where)
            continue
        frame = _frame(row[1], footage, where)
        if frame > footage.n_frames:
            left_out.add("boxes past the end of their video", where)
            continue
        stem = footage.path.stem
        video = videos.setdefault(stem, LabelledVideo(stem, footage.n_frames, footage.width, footage.height))
        if not any(row[2:]):
            video.empty.add(frame)
            continue
        if len(row) < 7:
            raise refused(where, f"has {len(row)} columns", _FIX)
        _add(video, frame, _box(row[2:6], footage, where), row[7] if len(row) > 7 else "", where)
        if row[6]:
            actions.setdefault(stem, Counter())[names.get(row[6], f"action_{row[6]}")] += 1
    for stem, video in videos.items():
        counted = actions.get(stem, Counter[str]())
        folder = library.find(stem, f"{source}")
        video.action = counted.most_common(1)[0][0] if counted else folder and folder.action
        left_out.add("actions of people other than their video's", stem, counted.total() - counted[video.action or ""])
    return list(videos.values())


def _lines(source: Path) -> list[tuple[int, list[str]]]:
    """The file's lines that are not empty, with their numbers."""
    reader = csv.reader(text_of(source, _FIX).decode().splitlines(), strict=True)
    found: list[tuple[int, list[str]]] = []
    try:
        found.extend((reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row))
    except csv.Error as error:
        raise refused(f"{source}: line {reader.line_num}", f"is no CSV: {error}", _FIX) from None
    return found


def _action_names(source: Path) -> dict[str, str]:
    """The names of the actions by number, from the label maps beside the file."""
    found: dict[str, str] = {}
    for path in sorted(source.parent.glob("*.pbtxt")):
        for name, number in _NAMED.findall(text_of(path, "give AVA's label map").decode()):
            found[number] = re.sub(r"[^\w-]+", "_", name).strip("_")
    return found


def _frame(text: str, footage: Footage, where: str) -> int:
    """The frame that is shown at a time."""
    seconds = _number(text, where)
    if seconds < 0:
        raise refused(where, f"the time {text} is negative", "correct it")
    if footage.fps <= 0:
        raise refused(where, f"{footage.path} does not say how many frames a second it has", "encode it anew")
    return math.floor(seconds * footage.fps + 1e-3) + 1


def _box(texts: list[str], footage: Footage, where: str) -> Box:
    """A box in pixels from its corners as shares of the picture."""
    left, top, right, bottom = (_number(text, where) for text in texts)
    if not all(-0.5 <= corner <= 1.5 for corner in (left, top, right, bottom)):
        raise refused(where, f"the box {','.join(texts)} is not in shares of the picture", "divide it by its size")
    edges: Edges = (
        left * footage.width, top * footage.height, right * footage.width, bottom * footage.height
    )  # fmt: skip
    return pixels(edges, where)


def _add(video: LabelledVideo, frame: int, box: Box, said: str, where: str) -> None:
    """Add a person's box; another line about the same box is another action."""
    if said in ("", "-1"):  # the format's word for nobody in particular
        said = f"{frame} {box}"
    there = video.people.setdefault(said, Person()).boxes
    if there.setdefault(frame, Seen(box)).box != box:
        what = f"is a second box of the person {said} at the same time"
        raise refused(where, what, "give one of the two another person_id")


def _number(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise refused(where, f"{text!r} is no number", _FIX)
    return number


def write(videos: Sequence[LabelledVideo], folder: Path) -> None:
    """Write the people of some videos, each with the video's action.

    Args:
        videos: Each with its frames a second. A frame is named by the time in the middle of its being shown.
        folder: Where `ava.csv` and `ava_actions.pbtxt` go; files of these names are replaced.

    Raises:
        DataError: A video does not say how many frames a second it has.
    """
    number = {name: n for n, name in enumerate(sorted({video.action for video in videos if video.action}), 1)}
    with whole_file(folder / "ava_actions.pbtxt") as partial:
        partial.write_text(
            "".join(f'item {{\n  name: "{name}"\n  id: {n}\n}}\n' for name, n in number.items()), "utf-8"
        )
    with whole_file(folder / "ava.csv") as partial, partial.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        for video in videos:
            if video.fps <= 0:
                raise refused(video.video_id, "does not say how many frames a second it has", "encode it anew")
            person_id = {name: n for n, name in enumerate(video.people, 1)}
            for frame, people in video.frames().items():
                time = f"{(frame - 0.5) / video.fps:.6f}"
                lines.writerows(
                    [video.video_id, time, *_shares(person.boxes[frame].box, video), number.get(video.action or "", ""),
                     person_id[name]] for name, person in people
                )  # fmt: skip
                if not people:
                    lines.writerow([video.video_id, time, *[""] * 6])


def _shares(box: Box, video: LabelledVideo) -> list[str]:
    """A box's corners as shares of the picture."""
    sizes = (video.width, video.height) * 2
    return [f"{edge / size:.6f}" for edge, size in zip(edges_of(box), sizes, strict=True)]
