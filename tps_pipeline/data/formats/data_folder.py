"""A data folder in our layout, made of labels in the neutral form and their videos: whole, or not at all.

A video's labels are one archive: a power cut leaves all or nothing, which costs a wait for the disk each file.
"""

from __future__ import annotations

import csv
import io
import shutil
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tps_pipeline.data.annotations import ROOT
from tps_pipeline.data.encoding import is_utf8
from tps_pipeline.data.formats.footage import Library
from tps_pipeline.data.formats.neutral import Box, LabelledVideo, LeftOut, Person, refused
from tps_pipeline.data.formats.new_folder import whole_folder
from tps_pipeline.data.lists import BODY_PARTS, FRAME_COUNTS, STATES, read_names
from tps_pipeline.labels import NO_STATE, PARTS

UNNAMED = "unnamed"
"""The class of a video of which nothing says one."""


def write(videos: Sequence[LabelledVideo], library: Library, out: Path, left_out: LeftOut) -> None:
    """Make a data folder of training videos.

    Args:
        videos: Their labels. Boxes are cut at the picture's edge.
        library: Where the files are: they become hard links where that works, or else copies.
        out: The folder, as `new_folder.must_be_free` wants it.
        left_out: Where what cannot be carried over is counted.

    Raises:
        DataError: A name cannot stand in it, or a file cannot be written.
    """
    with whole_folder(out) as partial:
        fill(videos, library, partial, left_out)


def fill(videos: Sequence[LabelledVideo], library: Library, out: Path, left_out: LeftOut) -> None:
    """Write training videos into an empty folder; see `write`."""
    for video in videos:
        _write_video(video, library, out, left_out)
    _write_lists(videos, out)


def _write_video(video: LabelledVideo, library: Library, out: Path, left_out: LeftOut) -> None:
    footage = library.find(video.video_id, video.video_id)
    assert footage, "only videos that are there are read"
    left_out.add(f"videos without an action, now in the class {UNNAMED!r}", video.video_id, int(video.action is None))
    action = UNNAMED if video.action is None else video.action
    if action != Path(action).name or action.startswith(".") or not action.isprintable():
        what = f"the action {action!r} cannot be a folder's name"
        raise refused(video.video_id, what, "rename it: letters, digits and underscores")
    if not is_utf8(video.video_id):
        raise refused(f"{footage.path}", "has a name that is not UTF-8", "rename it")
    labels = out / ROOT / action / f"{video.video_id}.tar"
    labels.parent.mkdir(parents=True, exist_ok=True)
    number = {name: n for n, name in enumerate(video.people, 1)}
    with tarfile.open(labels, "w") as archive:
        for frame, people in video.frames().items():
            seen = (_human(video, person, frame, number[name], left_out) for name, person in people)
            content = msgspec.json.encode({"humans": [human for human in seen if human]})
            member = tarfile.TarInfo(f"{video.video_id}/img_{frame:05d}.json")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    file = out / "train_videos" / action / footage.path.name
    file.parent.mkdir(parents=True, exist_ok=True)
    source = footage.path.resolve()
    try:
        file.hardlink_to(source)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, file)


def _human(video: LabelledVideo, person: Person, frame: int, number: int, left_out: LeftOut) -> dict[str, Any] | None:
    """A person as a frame's labels have them."""
    where = f"{video.video_id}, frame {frame}"
    box = _cut(person.boxes[frame].box, video, where, left_out)
    if box is None:
        return None
    parts: dict[str, Any] = {}
    for part, there in person.parts.items():
        seen = there.get(frame)
        if seen and (of_part := _cut(seen.box, video, where, left_out)):
            left_out.add(f"boxes of parts without a state, now {NO_STATE!r}", where, int(not seen.state))
            parts[part] = {"box": of_part, "verb": seen.state or NO_STATE}
    return {"number": number, "box": box, "parts": parts}


def _cut(box: Box, video: LabelledVideo, where: str, left_out: LeftOut) -> Box | None:
    """What of a box is in the picture."""
    x1, y1, x2, y2 = box
    inside = max(x1, 0), max(y1, 0), min(x2, video.width - 1), min(y2, video.height - 1)
    if inside[0] > inside[2] or inside[1] > inside[3]:
        left_out.add("boxes outside of the picture", where)
        return None
    left_out.add("boxes cut at the picture's edge", where, int(inside != box))
    return inside


def _write_lists(videos: Sequence[LabelledVideo], out: Path) -> None:
    """The parts and states that the labels have, and how many frames each video has."""
    people = [person for video in videos for person in video.people.values()]
    parts = {part for person in people for part in person.parts}
    states = {seen.state for person in people for part in person.parts.values() for seen in part.values()}
    (out / "list").mkdir()
    ours = [part for part in PARTS if part in parts]
    if parts:
        _write_names(out, BODY_PARTS, [*ours, *sorted(parts - set(ours))], "part")
        _write_names(out, STATES, sorted({*states, NO_STATE} - {""}), "state")
    with (out / FRAME_COUNTS["train"]).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows((video.video_id, video.n_frames) for video in videos)


def _write_names(out: Path, path: str, names: Iterable[str], kind: str) -> None:
    """Write a list, and see that it is read as it was meant."""
    (out / path).write_text("".join(f"{name}\n" for name in names), encoding="utf-8", errors="backslashreplace")
    read = read_names(out, path)
    for name in names:
        if not read or name not in read.names:
            what = f"the {kind} {name!r} cannot stand in {path}"
            raise refused("the labels", what, "rename it where it was labelled: letters, digits and underscores")
