"""A folder that is made of files of labels: new, and there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tps_pipeline.data.formats.neutral import refused
from tps_pipeline.errors import DataError, make_room, no_room
from tps_pipeline.whole_file import move_whole


def must_be_free(out: Path) -> None:
    """Refuse a folder that cannot appear as a whole.

    Raises:
        DataError: It holds something already, or there is no folder to put it in.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise refused(f"{out}", "is there already, and is no data folder", "name a data folder, or a new one")
    if not out.absolute().parent.is_dir():
        raise refused(f"{out}", "would be in a folder that is not there", f"make {out.parent} first")


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Make a folder in one step.

    Args:
        out: The folder, as `must_be_free` wants it.

    Yields:
        The folder to fill, which is there. When the block ends it takes its place; after an error it is gone.

    Raises:
        DataError: A file cannot be written.
    """
    partial = out.absolute().with_name(f".{out.absolute().name}.{os.getpid()}.partial")
    with written(out):
        try:
            partial.mkdir()
            yield partial
            move_whole(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def written(out: Path) -> Iterator[None]:
    """Tell in one line of a file that cannot be written.

    Raises:
        DataError: It cannot.
    """
    try:
        yield
    except OSError as error:
        if no_room(error):
            raise DataError(make_room(out)) from error
        what = f"cannot be written ({error.strerror or error}: {error.filename})"
        raise refused(f"{out}", what, "see that it may be written and the videos read, then run again") from error
