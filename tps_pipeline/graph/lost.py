"""Shards that have lost their record or their table: which they are, and what videos they had.

A video stays in its shard, so which one that was is looked up in whatever is left: in the shard's other tables,
recorded or not. They need not be believed: they only name videos, whose rows are made anew from the data folder.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import pyarrow as pa

from tps_pipeline.errors import StoreError
from tps_pipeline.lineage import Snapshot
from tps_pipeline.outputs import ACTIONS, REMOVED, SHARDS, SPLITS, VIDEO_ACTIONS, VIDEOS
from tps_pipeline.store import Store

NAMING = (SHARDS, VIDEOS, ACTIONS, VIDEO_ACTIONS)
"""Tables that have a row for each video of a shard, and so tell which those are."""

_NAME = re.compile(rf"({'|'.join(SPLITS)})-\d+")


def manifest_of(latest: Snapshot, shard: str) -> pa.Table | None:
    """The table of a recorded shard (`tables.SHARD`); None if it is gone, or not what was recorded."""
    record = latest.records[SHARDS.at(shard)]
    try:
        latest.store.verify(record.path, record.data_version)
        return latest.store.read(record.path)
    except StoreError:
        return None


def lost_shards(
    latest: Snapshot, intact: Mapping[str, pa.Table], removed: Collection[str] = ()
) -> dict[str, list[str]]:
    """The ids of the videos of each lost shard, in their order; none where nothing tells them.

    Args:
        latest: The newest records.
        intact: The shards that are not lost, by name (`tables.SHARD`).
        removed: The videos that were taken out.
    """
    named = {partition for asset, partition in latest.records if partition and asset != REMOVED.key}
    named |= {file.partition(".")[0] for output in NAMING for file in latest.store.names(output.key)}
    taken_out = {name for name, record in latest.of(REMOVED.key).items() if record.rows}
    lost = sorted(name for name in named - intact.keys() - taken_out if is_shard(name))
    if not lost:
        return {}
    elsewhere = {video for manifest in intact.values() for video in manifest["video_id"].to_pylist()}
    elsewhere |= taken_out | {*removed}
    return {name: [v for v in videos_named(latest.store, name) if v not in elsewhere] for name in lost}


def is_shard(name: str) -> bool:
    """Whether this is what a shard is called."""
    return _NAME.fullmatch(name) is not None


def videos_named(store: Store, shard: str) -> list[str]:
    """The ids of the videos that a shard's tables name, each once."""
    return list(dict.fromkeys(video for output in NAMING for video in _ids(store, output.path(shard))))


def _ids(store: Store, path: str) -> list[str]:
    """The videos that a table names; none if it is no such table. A failing disk is an error: it tells nothing."""
    try:
        return list(filter(None, store.read(path, columns=["video_id"])["video_id"].cast(pa.string()).to_pylist()))
    except (StoreError, KeyError, pa.ArrowException):
        return []
