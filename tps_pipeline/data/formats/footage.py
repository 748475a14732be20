"""The videos that labels of other tools are about: found by name in a folder, and looked at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from tps_pipeline.data.formats.neutral import LeftOut, refused
from tps_pipeline.data.layout import EXTENSIONS, PLACES

_UPLOAD = re.compile(r"[0-9a-f]{8}-")
"""What Label Studio puts before the name of an uploaded file."""


class Footage(NamedTuple):
    """A video file."""

    path: Path
    """Where it is."""
    action: str | None
    """The class folder that it lies in, if it is in one."""
    n_frames: int
    """How many it shows."""
    fps: float
    """Frames a second."""
    width: int
    """Pixels, as shown."""
    height: int
    """Pixels, as shown."""


@dataclass
class Library:
    """The videos of a folder and of the folders in it."""

    folder: Path
    """Where they are looked for."""
    left_out: LeftOut
    """Where those that are not there are counted."""

    def __post_init__(self) -> None:
        self._paths: dict[str, list[Path]] = {}
        for path in sorted(self.folder.rglob("*")):
            if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file():
                self._paths.setdefault(path.stem, []).append(path)
        self._seen: dict[str, Footage | None] = {}

    def names(self) -> list[str]:
        """The names of all videos, without their extensions."""
        return sorted(self._paths)

    def has(self, name: str) -> bool:
        """Whether a video of that name is there."""
        return self._stem(name) in self._paths

    def find(self, name: str, where: str) -> Footage | None:
        """A video by the name that labels give it: with or without folders, extension or an upload's prefix.

        Args:
            name: Of the file.
            where: The element that names it, for messages.

        Returns:
            None if it is not there or cannot be read, which is counted once.

        Raises:
            DataError: Two files have the name.
        """
        stem = self._stem(name)
        if stem not in self._seen:
            self._seen[stem] = self._look(stem, where)
        return self._seen[stem]

    def _stem(self, name: str) -> str:
        """A file's name without what is around it."""
        said = PurePosixPath(unquote(name).replace("\\", "/")).name
        stem = said[: -len(suffix)] if (suffix := PurePosixPath(said).suffix).lower() in EXTENSIONS else said
        return stem if stem in self._paths or not _UPLOAD.match(stem) else _UPLOAD.sub("", stem, count=1)

    def _look(self, stem: str, where: str) -> Footage | None:
        from tps_pipeline.video.probe import probe

        paths = self._paths.get(stem, [])
        if len(paths) > 1:
            what = f"two videos are called {stem}: {paths[0]} and {paths[1]}"
            raise refused(
                where, what, "rename or move one of them, or give --videos the folder of the one that is meant"
            )
        if not paths:
            self.left_out.add(f"videos that are not in {self.folder}", stem)
            return None
        found = probe(paths[0])
        if found.status != "ok":
            self.left_out.add("videos that cannot be read", f"{paths[0]}: {found.error}")
            return None
        above = paths[0].parent
        action = above.name if above != self.folder and above.name not in PLACES else None
        return Footage(paths[0], action, found.n_frames, found.fps, found.width, found.height)
