"""A Kinetics-TPS folder on disk: which videos and which name lists it holds.

::

    train_videos/<class>/<video>.mp4     or flat; the class then comes from the annotations' folders
    test_videos/<class>/<video>.mp4      or flat; a class folder here is never read as a label
    list/part_stat.txt ...               the vocabulary, one name a line

Videos that lie directly in the data folder count as test videos, so any folder of videos can be run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from tps_pipeline.errors import DataError
from tps_pipeline.labels import NO_STATE

EXTENSIONS = frozenset(
    {".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".flv", ".wmv", ".ogv"}
    | {".ts", ".mts", ".m2ts", ".mpg", ".mpeg"}
)
UNLISTED_STATES = frozenset({NO_STATE, "others"})
"""States with a meaning of their own (no movement; outside the vocabulary), legal even if part_stat.txt lacks them."""

T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """Something wrong with the data set, and what to do about it."""

    path: str
    """Relative to the data folder; a member of an archive is written `archive.tar:member`."""
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}; {self.fix}"


@dataclass(frozen=True)
class Video:
    """A video file found in the data folder."""

    video_id: str
    """The file's name without its extension."""
    folder: Literal["train", "test"]
    action: str | None
    """Its class folder; None for a flat training video and for every test video."""
    path: str
    """Relative to the data folder."""


def find_videos(data: Path) -> tuple[list[Video], list[Problem]]:
    """List the videos of a data folder, training videos first, each sorted by path.

    Returns:
        The videos, each id once, and what was left out.

    Raises:
        DataError: The folder does not exist.
    """
    if not data.is_dir():
        raise DataError(f"{data}: no such folder; give the folder that holds train_videos/ or test_videos/")
    videos: dict[str, Video] = {}
    problems = []
    for video in _walk(data):
        if first := videos.get(video.video_id):
            what = f"a second video is called {video.video_id}, after {first.path}"
            problems.append(Problem(video.path, what, "rename or remove one of them; the first is used"))
        else:
            videos[video.video_id] = video
    return list(videos.values()), problems


def read_names(path: Path) -> list[str] | None:
    """Read a name list: one name a line, a number or a comma beside it is passed over.

    Returns:
        The names in the file's order, or None if there is no such file.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    fields = ([field for field in re.split(r"[\s,:;]+", line) if field and not field.isdigit()] for line in lines)
    return [names[0] for names in fields if names]


def known_states(data: Path) -> frozenset[str] | None:
    """The states that labels may have, or None (any) without a `list/part_stat.txt`."""
    names = read_names(data / "list" / "part_stat.txt")
    return frozenset(names) | UNLISTED_STATES if names else None


def entries(folder: Path) -> list[Path]:
    """What a folder holds, sorted; nothing if it is not there. Hidden names are passed over."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".")) if folder.is_dir() else []


def _walk(data: Path) -> Iterator[Video]:
    for entry in entries(data / "train_videos"):
        yield from (_video(data, path, "train", entry.name) for path in entries(entry) if _is_video(path))
        if _is_video(entry):
            yield _video(data, entry, "train", None)
    for entry in entries(data / "test_videos"):
        yield from (_video(data, path, "test", None) for path in [entry, *entries(entry)] if _is_video(path))
    yield from (_video(data, path, "test", None) for path in entries(data) if _is_video(path))


def _video(data: Path, path: Path, folder: Literal["train", "test"], action: str | None) -> Video:
    return Video(path.stem, folder, action, path.relative_to(data).as_posix())


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and path.is_file()
