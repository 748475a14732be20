"""Imported videos into a data folder that is there: each whole or not at all, and nothing over what is there.

A video's file comes last: what looks for new videos finds it with its labels. An import that was cut off is finished by
the same once more.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from tps_pipeline.data.annotations import ROOT, find_annotations
from tps_pipeline.data.formats import data_folder
from tps_pipeline.data.formats.footage import Library
from tps_pipeline.data.formats.neutral import LabelledVideo, LeftOut, refused
from tps_pipeline.data.formats.new_folder import written
from tps_pipeline.data.layout import PLACES, find_videos
from tps_pipeline.data.lists import BODY_PARTS, FRAME_COUNTS, STATES, contents, read_frame_counts, read_names
from tps_pipeline.labels import PARTS
from tps_pipeline.whole_file import move_whole, whole_file

VIDEOS = "train_videos"
"""The folder that takes the videos."""


def is_data_folder(folder: Path) -> bool:
    """Whether a folder is one that videos can be added to."""
    return any((folder / place).is_dir() for place in PLACES)


def add(videos: Sequence[LabelledVideo], library: Library, out: Path, left_out: LeftOut) -> None:
    """Add training videos to a data folder; those that are there with the very same labels are left as they are.

    Args:
        videos: Their labels.
        library: Where the files are.
        out: The data folder.
        left_out: Where what cannot be carried over is counted.

    Raises:
        DataError: A video or its labels are there already and are others, a name cannot stand in the folder, or a file
            cannot be written. The folder is as it was, but for videos that were added whole.
    """
    partial = out.absolute() / f".import.{os.getpid()}.partial"
    with written(out):
        try:
            partial.mkdir()
            data_folder.fill(videos, library, partial, left_out)
            new = _new(partial, out, left_out)
            if new:
                _add_to_lists(partial, out, {path.stem for path in new})
            for video in new:
                _move(partial, out, video)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _new(partial: Path, out: Path, left_out: LeftOut) -> list[Path]:
    """The videos that are not there yet; refuses what would take the place of something."""
    there, labels, new = (
        {video.video_id: video.path for video in find_videos(out)[0]},
        find_annotations(out).sources,
        [],
    )
    for video in sorted((partial / VIDEOS).glob("*/*")):
        within, name = video.relative_to(partial), video.stem
        own = _labels_of(within)
        if name in labels and not (labels[name].path == out / own and filecmp.cmp(partial / own, out / own, False)):
            what = f"labels of {name} are there already, and are not these: {labels[name].path.relative_to(out)}"
            raise refused(f"{out}", what, "delete them and the video to have it anew, or leave it out of the import")
        if name not in there:
            new.append(video)
        elif there[name] != within.as_posix() or name not in labels or not filecmp.cmp(video, out / within, False):
            what = f"a video called {name} is there already: {there[name]}"
            raise refused(f"{out}", what, "move it away to have it anew, or leave it out of the import")
        else:
            left_out.add("videos that were there already, with the same labels", name)
    return new


def _add_to_lists(partial: Path, out: Path, new: set[str]) -> None:
    """Add what is not listed yet. A folder without a list of states takes any, and stays so."""
    (out / "list").mkdir(exist_ok=True)
    for path in (BODY_PARTS, STATES):
        listed, own = read_names(out, path), read_names(partial, path)
        known = {*listed.names} if listed else {*PARTS}
        names = [name for name in (own.names if own else ()) if name not in known]
        if listed or path == BODY_PARTS:
            _append(out, path, names)
    counts, path = read_frame_counts(partial, FRAME_COUNTS["train"]).names, FRAME_COUNTS["train"]
    text = contents(out, path)
    mark = next((mark for mark in ",;\t" if mark in text), " " if text.strip() else ",")
    listed = read_frame_counts(out, path).names
    _append(out, path, [f"{name}{mark}{counts[name]}" for name in sorted(new) if listed.get(name) != counts[name]])


def _append(out: Path, path: str, lines: Iterable[str]) -> None:
    added = "".join(f"{line}\n" for line in lines)
    if added:
        before = contents(out, path)
        with whole_file(out / path) as partial:
            partial.write_text(
                before + ("\n" if before and not before.endswith("\n") else "") + added, encoding="utf-8"
            )


def _move(partial: Path, out: Path, video: Path) -> None:
    """Put a video where it belongs, its labels before it."""
    within = video.relative_to(partial)
    for path in (_labels_of(within), within):
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        move_whole(partial / path, out / path)


def _labels_of(video: Path) -> Path:
    return Path(ROOT, video.parent.name, f"{video.stem}.tar")
