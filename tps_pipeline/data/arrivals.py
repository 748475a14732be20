"""Videos that are new in a data folder and no longer being written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from tps_pipeline.data.layout import find_videos

Seen = dict[str, tuple[int, int]]
"""Size and time of change (ns) of files, by their path in the data folder."""


@dataclass(frozen=True)
class Arrivals:
    """What was seen when the folder was last looked at.

    Attributes:
        waiting: Files that may still be written.
        handed_over: Files that have been given to ingestion once; what it leaves out (a video that is there under
            another name, one without a class) is not given again until the file changes.
    """

    waiting: Seen = field(default_factory=dict)
    handed_over: Seen = field(default_factory=dict)


def look(data: Path, manifests: Iterable[pa.Table], before: Arrivals) -> tuple[list[str], Arrivals]:
    """Find videos that are new or changed, and have stayed as they are since the last look.

    Args:
        data: A Kinetics-TPS folder.
        manifests: The existing shards (`tables.SHARD`).
        before: What the last look returned.

    Returns:
        Paths to hand over to ingestion, and what to remember.

    Raises:
        DataError: The folder does not exist.
    """
    known: Seen = {}
    for manifest in manifests:
        columns = (manifest[name].to_pylist() for name in ("path", "bytes", "mtime_ns"))
        known |= {path: (size, time) for path, size, time in zip(*columns, strict=True)}
    waiting, handed_over, settled = {}, {}, []
    for video in find_videos(data)[0]:
        try:
            stat = (data / video.path).stat()
        except OSError:  # gone since the listing
            continue
        now = (stat.st_size, stat.st_mtime_ns)
        if known.get(video.path) == now:
            continue
        if before.handed_over.get(video.path) == now:
            handed_over[video.path] = now
        elif before.waiting.get(video.path) == now and stat.st_size:
            handed_over[video.path] = now
            settled.append(video.path)
        else:
            waiting[video.path] = now
    return settled, Arrivals(waiting, handed_over)
