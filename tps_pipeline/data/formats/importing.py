"""From the files of another tool to a data folder: `tps data import`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tps_pipeline.data.formats import adding, ava, coco, cvat, data_folder, label_studio
from tps_pipeline.data.formats.footage import Library
from tps_pipeline.data.formats.neutral import LabelledVideo, LeftOut, refused
from tps_pipeline.data.formats.new_folder import must_be_free
from tps_pipeline.data.layout import entries

Format = Literal["cvat", "coco", "ava", "labelstudio"]
"""What can be imported."""

_READERS = {
    "cvat": (".xml", cvat.read),
    "coco": (".json", coco.read),
    "ava": (".csv", ava.read),
    "labelstudio": (".json", label_studio.read),
}


@dataclass(frozen=True)
class Imported:
    """What was made."""

    videos: list[LabelledVideo]
    """Those that were imported."""
    left_out: LeftOut
    """What could not be carried over as it is."""

    def lines(self) -> Iterator[str]:
        """What to tell of it: what there is, then what there is not."""
        people = [person for video in self.videos for person in video.people.values()]
        parts = {part for person in people for part in person.parts}
        frames = sum(len(video.frames()) for video in self.videos)
        of_people = sum(len(person.boxes) for person in people)
        of_parts = sum(len(boxes) for person in people for boxes in person.parts.values())
        yield f"{len(self.videos)} video(s), {frames} labelled frame(s)"
        yield f"{of_people} box(es) of people, {of_parts} of {len(parts)} kind(s) of parts"
        lines = self.left_out.lines()
        yield f"not carried over as it is:{'' if lines else ' nothing'}"
        yield from (f"  {line}" for line in lines)


def import_labels(source: Path, out: Path, kind: Format, videos: Path | None = None) -> Imported:
    """Make a data folder of the labels of another tool, or add them to one.

    Args:
        source: A file, or a folder of files.
        out: The folder; one that holds something must be a data folder.
        kind: Which tool's.
        videos: The folder in which the videos are, or in folders in it; that of the labels without.

    Returns:
        What was made.

    Raises:
        DataError: The labels break a rule of their format, there is nothing to import, or a video of theirs is there
            already with other labels. Nothing is written.
    """
    suffix, read = _READERS[kind]
    if not source.exists():
        raise refused(f"{source}", "is not there", f"name the file or the folder of the {kind} labels")
    adds = adding.is_data_folder(out)
    if not adds:
        must_be_free(out)
    files = [path for path in entries(source) if path.suffix.lower() == suffix] if source.is_dir() else [source]
    if not files:
        raise refused(f"{source}", f"has no {suffix} file", f"name the file or the folder of the {kind} labels")
    left_out = LeftOut()
    library = Library(videos or (source if source.is_dir() else source.parent), left_out)
    found: dict[str, LabelledVideo] = {}
    for path in files:
        for video in read(path, library, left_out):
            if video.video_id in found:
                fix = "keep one of the two"
                raise refused(f"{path}", f"labels {video.video_id}, which was labelled before", fix)
            found[video.video_id] = video
    labelled = [found[name] for name in sorted(found) if found[name].frames()]
    for name in found.keys() - {video.video_id for video in labelled}:
        left_out.add("videos without any labels", name)
    if not labelled:
        why = left_out.lines() or ["no labels"]
        fix = "label people as `person`, and say of each part whose it is"
        if any(what.startswith("videos that") for what in left_out.counts):
            fix = "give --videos the folder of the videos, named as the labels name them"
        raise refused(f"{source}", f"leaves nothing to import: {'; '.join(why)}", fix)
    (adding.add if adds else data_folder.write)(labelled, library, out, left_out)
    return Imported(labelled, left_out)
