"""What a store holds in the formats of other tools: `tps export`.

What a format's files look like is the matter of `data.formats`; videos that are in no store are not exported.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tps_pipeline import outputs, tables
from tps_pipeline.data.formats import ava, coco, cvat, fiftyone, label_studio, mot, tidy_csv
from tps_pipeline.data.formats.from_tables import from_annotations, from_predictions
from tps_pipeline.data.formats.neutral import LabelledVideo
from tps_pipeline.data.formats.new_folder import must_be_free, whole_folder
from tps_pipeline.data.kinetics_tps import Annotations
from tps_pipeline.drawing.video import with_tracks
from tps_pipeline.errors import StoreError
from tps_pipeline.lineage import Lineage, Snapshot
from tps_pipeline.outputs import Output

Format = Literal["csv", "coco", "cvat", "ava", "labelstudio", "mot", "fiftyone"]
"""What can be written."""


@dataclass
class Exported:
    """What was written."""

    videos: int = 0
    """How many."""
    notes: list[str] = field(default_factory=list[str])
    """What is not in it, and why."""


_LABELS = (outputs.ACTIONS, outputs.LABELLED_FRAMES, outputs.PEOPLE, outputs.PARTS, outputs.OBJECTS)
"""What `Annotations` has."""


class _Found(NamedTuple):
    """A video as each format wants it."""

    video: LabelledVideo
    rows: pd.DataFrame
    """As `tidy_csv.write` takes them."""
    file: str
    """The video itself, from its data folder on."""


def export_predictions(
    lineage: Lineage,
    method: str,
    kind: Format,
    out: Path,
    *,
    split: str | None = None,
    min_score: float = 0.0,
    data: Path = Path(),
) -> Exported:
    """Write what a method predicts.

    Args:
        lineage: The store's records: what is read is what was recorded.
        method: A method, `voting` or `by_category`.
        kind: As what.
        out: The folder, which must be new or empty. It appears whole or not at all.
        split: The videos of this split alone.
        min_score: People below this score are left out.
        data: The folder that the videos are in; `fiftyone` shows them.

    Raises:
        StoreError: There is nothing to export, or it is damaged or has failed a check.
        DataError: The folder cannot be made, or a video is not where `data` says.
    """
    must_be_free(out)
    store = _Verified(lineage, split)
    guesses = outputs.predictions(method)
    shards = [shard for shard in store.shards if store.has(guesses, shard)]
    if not shards:
        raise StoreError(store.nothing_by(method))
    exported = Exported(notes=store.unmade(guesses, shards))

    def found() -> Iterator[_Found]:
        for shard in shards:
            boxes = store.latest.detections(shard)
            videos, parts, detections, tracks, actions = (
                store.read(output, shard)
                for output in (outputs.VIDEOS, guesses, boxes, outputs.TRACKS, outputs.VIDEO_ACTIONS)
            )
            parts = parts.filter(pc.field("person_score") >= min_score)
            for video in store.readable(videos, shard, exported):
                yield _predicted(video, *(_of(table, video) for table in (parts, detections, tracks, actions)))

    _write(found(), kind, out, exported, data=data)
    return exported


def export_annotations(
    lineage: Lineage, kind: Format, out: Path, *, split: str | None = None, data: Path = Path()
) -> Exported:
    """Write the annotations of the videos that have some.

    Args:
        lineage: The store's records: what is read is what was recorded.
        kind: As what.
        out: The folder, which must be new or empty. It appears whole or not at all.
        split: The videos of this split alone.
        data: See `export_predictions`.

    Raises:
        StoreError: There is nothing to export, or it is damaged or has failed a check.
        DataError: The folder cannot be made, or a video is not where `data` says.
    """
    must_be_free(out)
    store = _Verified(lineage, split)
    shards = [shard for shard in store.shards if store.has(outputs.LABELLED_FRAMES, shard)]
    exported = Exported(notes=store.unmade(outputs.LABELLED_FRAMES, shards))

    def found() -> Iterator[_Found]:
        for shard in shards:
            read = [store.read(output, shard) for output in _LABELS]
            for video in store.readable(store.read(outputs.VIDEOS, shard), shard, exported):
                actions, frames, people, parts, objects = (_of(table, video) for table in read)
                annotations = Annotations(actions, frames, people, parts, objects)
                if annotations.labelled_frames.num_rows:
                    yield _annotated(video, annotations)

    _write(found(), kind, out, exported, data=data)
    return exported


def _write(found: Iterator[_Found], kind: Format, out: Path, exported: Exported, *, data: Path) -> None:
    """Fill the folder: a file a video, or one of all."""
    together: list[LabelledVideo] = []
    with whole_folder(out) as partial:
        for video, rows, file in found:
            exported.videos += 1
            match kind:
                case "csv":
                    tidy_csv.write(rows, partial / f"{video.video_id}.csv")
                case "cvat":
                    cvat.write(video, partial / f"{video.video_id}.xml")
                case "mot":
                    mot.write(video, partial / f"{video.video_id}.txt")
                case "coco" | "ava" | "labelstudio":
                    together.append(video)
                case "fiftyone":
                    fiftyone.write(video, rows, data / file, partial)
        if not exported.videos:
            raise StoreError(f"there is nothing to export: {'; '.join(exported.notes) or 'no video has any labels'}")
        match kind:
            case "coco":
                coco.write(together, partial / "coco.json")
            case "ava":
                ava.write(together, partial)
            case "labelstudio":
                label_studio.write(together, partial / "label_studio.json")
            case "fiftyone":
                fiftyone.finish(partial)
            case "csv" | "cvat" | "mot":
                pass  # written video by video


def _predicted(video: pa.Table, parts: pa.Table, detections: pa.Table, tracks: pa.Table, actions: pa.Table) -> _Found:
    """A video's predictions, each person with the track of the detected person whose box is the same."""
    rows = with_tracks(*(table.to_pandas() for table in (parts, detections, tracks)))
    people = rows.dropna(subset="track_id").drop_duplicates(["frame", "person"]).drop_duplicates(["frame", "track_id"])
    (labelled,) = from_predictions(video, parts, tables.conform(people, tables.TRACKS), actions)
    score = next(iter(actions["score"].to_pylist()), None)
    return _Found(labelled, rows.assign(action=labelled.action, action_score=score), video["path"][0].as_py())


def _annotated(video: pa.Table, annotations: Annotations) -> _Found:
    (labelled,) = from_annotations(video, annotations)
    people, parts = (table.to_pandas() for table in (annotations.people, annotations.parts))
    rows = tidy_csv.labelled(labelled.video_id, labelled.action, people, parts)
    return _Found(labelled, rows, video["path"][0].as_py())


def _of(table: pa.Table, video: pa.Table) -> pa.Table:
    """A video's rows."""
    return table.filter(pc.field("video_id").cast(pa.string()) == video["video_id"][0].as_py())


class _Verified:
    """Reads a store's tables as they were recorded."""

    def __init__(self, lineage: Lineage, split: str | None) -> None:
        self.latest: Snapshot = lineage.latest()
        self.store = lineage.store
        self.split = split
        self.shards = self.latest.shards(*([split] if split else outputs.SPLITS))
        if not self.shards:
            of_split = f" of the split {split}" if split else ""
            raise StoreError(f"{self.store.root} has no videos{of_split}; name the store with --store")

    def has(self, output: Output, shard: str) -> bool:
        """Whether an output was made for a shard."""
        return output.at(shard) in self.latest.records

    def read(self, output: Output, shard: str) -> pa.Table:
        """An output's table of a shard."""
        (version,) = self.latest.inputs([output.at(shard)])
        if verdict := self.latest.failed(version.key):
            raise StoreError(self.latest.refusal(verdict))
        self.store.verify(version.path, version.data_version)
        assert output.schema is not None
        return self.store.read(version.path).cast(output.schema)

    def readable(self, videos: pa.Table, shard: str, exported: Exported) -> Iterator[pa.Table]:
        """A shard's videos, each as a table of one row; one that is out of the store, or cannot be read, is not one."""
        known = set(self.read(outputs.SHARDS, shard)["video_id"].to_pylist())
        for row, facts in enumerate(videos.select(["video_id", "status", "error"]).to_pylist()):
            if facts["status"] != "ok":
                exported.notes.append(f"{facts['video_id']} is left out: {facts['error']}")
            elif facts["video_id"] in known:
                yield videos.slice(row, 1)

    def unmade(self, output: Output, shards: Sequence[str]) -> list[str]:
        """What to say of shards that an output was not made for, in splits that it was made for elsewhere."""
        splits = {shard.partition("-")[0] for shard in shards}
        missing = [shard for shard in self.shards if shard not in shards and shard.partition("-")[0] in splits]
        return [f"{output.key} was not made for {', '.join(missing)}: left out"] if missing else []

    def nothing_by(self, method: str) -> str:
        """What to say where there is nothing by a method."""
        names = {asset.partition("/")[2] for asset, _ in self.latest.records if asset.startswith("predictions/")}
        names |= {name for name in outputs.ENSEMBLES if self.latest.of(outputs.predictions(name).key)}
        meant = "".join(f" (did you mean {name}?)" for name in difflib.get_close_matches(method, names - {method}, 1))
        by = ", ".join(sorted(names)) or "nobody"
        of_split = f" of the split {self.split}" if self.split else ""
        return f"{self.store.root} has no predictions{of_split} by {method}{meant}; it has some by {by}"
