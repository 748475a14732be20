"""A Kinetics-TPS folder on disk: which videos it holds, and what in its places is none.

::

    train_videos/<class>/<video>.mp4     or flat; the class then comes from the annotations' folders
    test_videos/<class>/<video>.mp4      or flat; a class folder here is never read as a label

Videos that lie directly in the data folder count as test videos, so any folder of videos can be run. Labels are
`annotations`' matter, lists `lists`'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tps_pipeline.data.compressed import archive_stem
from tps_pipeline.data.encoding import is_utf8, printable
from tps_pipeline.errors import DataError
from tps_pipeline.plain_file import unreachable

EXTENSIONS = frozenset({
    ".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".ts", ".mpg", ".mpeg",
    ".flv", ".f4v", ".wmv", ".asf", ".3gp", ".3g2", ".mts", ".m2ts", ".ogv", ".vob",
})  # fmt: skip
"""What the names of videos end with, in capitals, too."""

PLACES = ("train_videos", "train_annotations", "test_videos", "list", "gt")
"""The folders of a data folder."""

SHOWN = 20
"""Problems that a run tells one by one."""

_DOCUMENTS = frozenset({".md", ".txt", ".rst", ".pdf", ".html"})
"""Directly in the data folder they are about it, no part of it."""


@dataclass(frozen=True)
class Problem:
    """Something wrong with the data set, and what to do about it."""

    path: str
    """Relative to the data folder; a member of an archive is written `archive.tar:member`."""
    what: str
    """What is wrong, to be read after the path."""
    fix: str
    """What to do, as an order."""

    def __post_init__(self) -> None:
        for name in ("path", "what", "fix"):
            object.__setattr__(self, name, printable(getattr(self, name)))

    def __str__(self) -> str:
        return f"{self.path}: {self.what}; {self.fix}"


@dataclass(frozen=True)
class Video:
    """A video file found in the data folder."""

    video_id: str
    """The file's name without its extension."""
    folder: Literal["train", "test"]
    """Whether it is a training or a test video."""
    action: str | None
    """Its class folder; None for a flat training video and for every test video."""
    path: str
    """Relative to the data folder."""


def find_videos(data: Path) -> tuple[list[Video], list[Problem]]:
    """List the videos of a data folder, training videos first, each sorted by path.

    Returns:
        The videos, each id once, and what else lies where videos are looked for.

    Raises:
        DataError: The folder does not exist.
    """
    if not data.is_dir():
        raise DataError(f"{data}: no such folder; give the folder that holds train_videos/ or test_videos/")
    videos: dict[str, Video] = {}
    problems = []
    for video in _walk(data):
        if isinstance(video, Problem):
            problems.append(video)
        elif first := videos.get(video.video_id):
            what = f"a second video is called {video.video_id}, after {first.path}"
            problems.append(Problem(video.path, what, "rename or remove one of them; the first is used"))
        else:
            videos[video.video_id] = video
    return list(videos.values()), problems


def entries(folder: Path) -> list[Path]:
    """What a folder holds, sorted; nothing if it is not there. Hidden names are passed over.

    Raises:
        UnreachableError: It cannot be listed now.
    """
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreachable(folder, error) from None


def unused(where: str, *, among: str) -> Problem:
    """Something that lies in a place that is read, and is not what is read there; `among` says what would be."""
    return Problem(where, "is not used", f"move or delete it, if it is not meant to be {among}")


def first_of(problems: Sequence[Problem]) -> list[str]:
    """What a run tells of problems: the first ones, and how many more there are."""
    lines = [str(problem) for problem in problems[:SHOWN]]
    more = len(problems) - SHOWN
    return lines + ([f"{more} more problems; `tps data validate` names all {len(problems)}"] if more > 0 else [])


def _walk(data: Path) -> Iterator[Video | Problem]:
    """Everything where videos are looked for."""
    for entry in entries(data / "train_videos"):
        if entry.is_dir():
            for path in entries(entry):
                yield _video(data, path, "train", entry.name)
        else:
            yield _video(data, entry, "train", None)
    for entry in entries(data / "test_videos"):
        for path in entries(entry) if entry.is_dir() else [entry]:
            yield _video(data, path, "test", None)
    for entry in entries(data):
        if not _is_known(entry):
            yield _video(data, entry, "test", None)


def _video(data: Path, path: Path, folder: Literal["train", "test"], action: str | None) -> Video | Problem:
    where = path.relative_to(data).as_posix()
    if path.is_dir():
        inner = "/".join(where.split("/")[:-1]) or "test_videos"
        return Problem(where, "is a folder that is not looked into", f"move its videos to {inner}/, or delete it")
    if path.suffix.lower() not in EXTENSIONS or not path.is_file():
        return unused(where, among=f"a video ({' '.join(sorted(EXTENSIONS))})")
    if not is_utf8(where):
        return Problem(where, "has a name that is not UTF-8", "rename it; it is left out")
    return Video(path.stem, folder, action, where)


def _is_known(entry: Path) -> bool:
    """Whether something in the data folder has a place of its own, or is a document about it."""
    if entry.is_dir():
        return entry.name in PLACES
    if archive_stem(entry.name) == "train_annotations":
        return True
    return entry.suffix.lower() in _DOCUMENTS or entry.stem.upper() in ("README", "LICENSE", "LICENCE")
