"""A video as a file that FFmpeg reads from, which remembers why it could not be read."""

from __future__ import annotations

import io
import os
from pathlib import Path

from tps_pipeline.plain_file import descriptor, unreachable


class VideoFile(io.FileIO):
    """A video file. FFmpeg takes a failure to read for the file's end, so the first one is kept.

    FFmpeg is given no name to open: names may be URLs.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(descriptor(path))
        self.path = path
        self._failure: OSError | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file; a failure is kept for `check`."""
        try:
            return self.readall() if size is None or size < 0 else os.read(self.fileno(), size)
        except OSError as error:
            self._failure = self._failure or error
            raise

    def check(self) -> None:
        """Raise UnreachableError if a read has failed."""
        if self._failure is not None:
            raise unreachable(self.path, self._failure) from self._failure


def read_through(path: str | Path) -> None:
    """Raise UnreachableError if a file cannot be read."""
    with VideoFile(path) as file:
        try:
            while file.read(1 << 20):
                pass
        except OSError:
            file.check()
