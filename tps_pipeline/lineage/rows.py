"""What the store says about one video, one frame or one person, and which networks said so.

(`video_id`, `frame`) is the same key in every table. People are numbered by whoever found them, so a person is
followed from table to table by their box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tps_pipeline.boxes import iou
from tps_pipeline.errors import StoreError
from tps_pipeline.lineage.ledger import Lineage
from tps_pipeline.lineage.records import Input, Record
from tps_pipeline.lineage.snapshot import Snapshot
from tps_pipeline.outputs import CHECKPOINTS, DATASETS, PARTS, PEOPLE, SHARDS, SPLITS
from tps_pipeline.store import Store, Version
from tps_pipeline.tables import BOX, PERSON_BOX


@dataclass(frozen=True)
class Found:
    """What one output holds of what was asked for.

    Attributes:
        record: The output's newest record.
        rows: Its rows; of an output that is no table (data sets) or holds pictures, without the pictures.
        networks: The checkpoints that it was made with.
        overlap: Of a person: how far the box found here and the one asked for overlap (IoU); None where people have no
            boxes.
    """

    record: Record
    rows: pa.Table
    networks: tuple[Input, ...]
    overlap: float | None = None


def find(lineage: Lineage, video_id: str, frame: int | None = None, person: int | None = None) -> Iterator[Found]:
    """Look a video, a frame of it or a person in that frame up in everything that was made of its shard.

    Args:
        lineage: The store's records.
        video_id: The video.
        frame: One of its frames, counted from 1.
        person: One of the people detected there, as those detections number them that tracks are of.

    Yields:
        The outputs that hold rows of it, in the order they were made.

    Raises:
        StoreError: The store has no such video, or no such person.
    """
    latest, store = lineage.latest(), lineage.store
    shard = shard_of(latest, video_id)
    sought = None if person is None or frame is None else _sought(latest, shard, video_id, frame, person)
    of_shard = [latest.records[asset, shard] for asset, partition in latest.records if partition == shard]
    for record in sorted(of_shard, key=lambda record: record.order):
        rows, overlap = _rows(store, record, video_id, frame), None
        if sought and rows.num_rows and "person" in rows.column_names:
            rows, overlap = sought.among(rows, record.asset)
        if rows.num_rows:
            yield Found(record, rows, tuple(i for i in record.inputs if i.asset.startswith(CHECKPOINTS)), overlap)


def shard_of(latest: Snapshot, video_id: str) -> str:
    """The shard that a video is in.

    Raises:
        StoreError: The store does not know the video.
    """
    for shard in latest.shards(*SPLITS):
        manifest = latest.store.read(latest.store.intact(latest.records[SHARDS.at(shard)]), columns=["video_id"])
        if video_id in manifest["video_id"].unique().to_pylist():
            return shard
    raise StoreError(f"no shard holds the video {video_id}; is it in the data folder, and were shards materialized?")


@dataclass(frozen=True)
class _Sought:
    """A detected person, and the number of the annotated person that is most like them."""

    person: int
    box: np.ndarray
    annotated: int | None

    def among(self, rows: pa.Table, asset: str) -> tuple[pa.Table, float | None]:
        """This person's rows, and how far the boxes overlap where people have boxes."""
        if set(PERSON_BOX) <= set(rows.column_names):
            return _most_like(rows, PERSON_BOX, self.box)
        if asset == PEOPLE.key:
            return _most_like(rows, BOX, self.box)
        number = self.annotated if (asset == PARTS.key or asset.startswith(DATASETS)) else self.person
        return rows.filter(pc.field("person") == pa.scalar(number, rows["person"].type)), None


def _sought(latest: Snapshot, shard: str, video_id: str, frame: int, person: int) -> _Sought:
    (numbered,) = latest.inputs([latest.detections(shard).at(shard)])
    here = _rows(latest.store, numbered, video_id, frame)
    rows = here.filter(pc.field("person") == person).select(list(PERSON_BOX)).slice(0, 1)
    if not rows.num_rows:
        known = ", ".join(map(str, here["person"].unique().to_pylist())) or "none"
        raise StoreError(
            f"{numbered.path} has no person {person} in frame {frame} of {video_id}; people there: {known}"
        )
    box = rows.to_pandas().to_numpy(np.float64)
    annotations = latest.records.get(PEOPLE.at(shard))
    people = _rows(latest.store, annotations, video_id, frame) if annotations else pa.table({})
    annotated = _most_like(people, BOX, box)[0]["person"][0].as_py() if people.num_rows else None
    return _Sought(person, box, annotated)


def _most_like(rows: pa.Table, columns: Sequence[str], box: np.ndarray) -> tuple[pa.Table, float]:
    """The rows of the person whose box overlaps one most, and how far."""
    overlaps = iou(rows.select(list(columns)).to_pandas().to_numpy(np.float64), box)[:, 0]
    best = rows["person"][int(overlaps.argmax())]
    return rows.filter(pc.field("person") == best), float(overlaps.max())


def _rows(store: Store, version: Version, video_id: str, frame: int | None) -> pa.Table:
    """A table's rows of a video or frame; those of a table without frames belong to every frame."""
    if version.path.endswith(".arrow"):
        with pa.memory_map(str(store.local(store.intact(version)))) as source:
            table = pa.ipc.open_file(source).read_all().drop_columns("jpeg")
    elif version.path.endswith(".parquet"):
        table = store.read(store.intact(version))
    else:
        return pa.table({})
    chosen = pc.field("video_id").cast(pa.string()) == video_id
    if frame is not None and "frame" in table.column_names:
        chosen &= pc.field("frame") == frame
    return table.filter(chosen)
