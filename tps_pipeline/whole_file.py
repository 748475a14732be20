"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Make a file in one step, in a folder that is made, too, if need be.

    Args:
        path: Where it goes; a file that is there is replaced.

    Yields:
        Where to write it. When the block ends it takes its place; after an error it is gone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        move_whole(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def remove_partial(folder: Path) -> None:
    """Remove what killed processes have left half-written in a folder, to which no other process writes now."""
    for partial in folder.glob(".*.partial"):
        partial.unlink(missing_ok=True)


def move_whole(source: Path, target: Path) -> None:
    """Rename a finished file or folder so that a power cut leaves the old or the new one, never half of it.

    A rename can reach the disk before what it names does: content is written out first, then the name.

    Args:
        source: The file or folder, on the target's file system.
        target: Where it goes; a file that is there is replaced, a folder must not be there.
    """
    for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
        _write_out(file)
    source.replace(target)
    _write_out(target.parent)


def _write_out(path: Path) -> None:
    """Have the disk hold a file's content, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems do not know it for folders
        if path.is_file():
            raise
    finally:
        os.close(descriptor)
