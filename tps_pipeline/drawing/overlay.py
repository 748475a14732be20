"""One video of a store with a method's people, parts, states and action drawn on it."""

from __future__ import annotations

import difflib
from pathlib import Path

import pandas as pd
import pyarrow as pa

from tps_pipeline import outputs, tables
from tps_pipeline.drawing.video import SHOWN_SCORE, Layer, predicted, rows_of, write_video
from tps_pipeline.errors import DataError, StoreError
from tps_pipeline.lineage import Lineage
from tps_pipeline.outputs import Output
from tps_pipeline.store import Store
from tps_pipeline.video.frames import FrameFile

_NAMED = pa.schema([("video_id", pa.string()), ("path", pa.string())])
_DRAWN = (
    *(outputs.VIDEOS, outputs.VIDEO_ACTIONS, outputs.TRACKS, outputs.FRAMES),
    *(outputs.ACTIONS, outputs.PEOPLE, outputs.PARTS),
)


def overlay_video(
    store: Store,
    data: Path,
    video_id: str,
    method: str,
    out: Path,
    *,
    truth: bool = False,
    min_score: float = SHOWN_SCORE,
) -> None:
    """Write a video with what a method predicts on it.

    Args:
        store: Where the predictions are.
        data: The folder that the videos' paths start from.
        video_id: Which video.
        method: A method of the recipe, `voting`, `stacked` or `by_category`.
        out: The MP4 to write.
        truth: Show the annotation at its left.
        min_score: People below this score are left out.

    Raises:
        StoreError: The store does not know the video or the method, or has not predicted or not annotated the video.
        DataError: The video is not in the data folder.
        VideoError: The video cannot be read.
    """
    shard, path = _find(store, video_id)
    guesses = outputs.predictions(method)
    if not store.names(guesses.key):
        ensembles = [name for name in outputs.ENSEMBLES if store.names(outputs.predictions(name).key)]
        known = [*store.names("predictions"), *ensembles]
        meant = "".join(f" (did you mean {name}?)" for name in difflib.get_close_matches(method, known, 1))
        there = ", ".join(known) or "nobody"
        raise StoreError(f"{store.root} has no predictions by {method}{meant}; it has some by {there}")
    if not store.exists(guesses.path(shard)):
        raise StoreError(
            f"{method} has not been run on {video_id} (shard {shard}): materialize {guesses.key} there first"
        )
    if not (data / path).exists():
        raise DataError(f"{data / path} is not there: name the folder that {store.root} was made from with --data")
    boxes = Lineage(store).latest().detections(shard)
    _intact(store, shard, guesses, boxes)
    parts, action = (_rows(store, output, shard, video_id) for output in (guesses, outputs.VIDEO_ACTIONS))
    detections = _if_there(store, boxes, tables.DETECTIONS, shard, video_id)
    tracks = _if_there(store, outputs.TRACKS, tables.TRACKS, shard, video_id)
    layers = [predicted(parts, action, by=method, detections=detections, tracks=tracks, min_score=min_score)]
    if truth:
        layers.insert(0, _annotation(store, shard, video_id))
    sampled = FrameFile(store.local(outputs.FRAMES.path(shard))).numbers(video_id)
    write_video(data / path, out, *layers, sampled=sampled)


def _intact(store: Store, shard: str, *predicted: Output) -> None:
    """Make sure that what is drawn of a shard is what was recorded."""
    records = Lineage(store).latest().records
    for output in (*predicted, *_DRAWN):
        record = records.get(output.at(shard))
        if record and store.exists(record.path):
            store.intact(record)


def _if_there(store: Store, output: Output, schema: pa.Schema, shard: str, video_id: str) -> pd.DataFrame:
    """A video's rows, none where they were never made."""
    paths = [path for path in [output.path(shard)] if store.exists(path)]
    return rows_of(store.read_all(paths, schema), video_id)


def _annotation(store: Store, shard: str, video_id: str) -> Layer:
    actions = _rows(store, outputs.ACTIONS, shard, video_id)["action"].tolist()
    if not actions:
        raise StoreError(f"{video_id} is not annotated: leave --truth out")
    people, parts = (_rows(store, output, shard, video_id) for output in (outputs.PEOPLE, outputs.PARTS))
    return Layer(parts, people, action=f"annotated: {actions[0]}")


def _find(store: Store, video_id: str) -> tuple[str, str]:
    """The shard of a video, and its path in the data folder."""
    known: list[str] = []
    damaged: list[StoreError] = []
    records = Lineage(store).latest().of(outputs.VIDEOS.key)
    for name in store.names(outputs.VIDEOS.key):
        shard = name.removesuffix(outputs.VIDEOS.suffix)
        try:
            path = store.intact(records[shard]) if shard in records else outputs.VIDEOS.path(shard)
            videos = store.read(path, columns=["video_id", "path"]).cast(_NAMED).to_pydict()
        except (StoreError, ValueError) as error:  # the video may be in another shard
            damaged.append(StoreError(str(error)))
            continue
        if video_id in videos["video_id"]:
            return shard, videos["path"][videos["video_id"].index(video_id)]
        known += videos["video_id"]
    if damaged:
        raise damaged[0]
    if not known:
        raise StoreError(f"{store.root} has no videos; name the store with --store")
    nearest = difflib.get_close_matches(video_id, known, n=1, cutoff=0)[0]
    raise StoreError(f"there is no video {video_id} in {store.root}; the nearest of {len(known)} is {nearest}")


def _rows(store: Store, output: Output, shard: str, video_id: str) -> pd.DataFrame:
    return rows_of(store.read(output.path(shard)), video_id)
