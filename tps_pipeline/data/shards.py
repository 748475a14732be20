"""Ingestion: videos become shards, immutable batches of one split, and get their facts.

A shard is called `train-000`, `val-000`, `test-003`. New videos form new shards with the next free numbers;
videos of an existing shard are never moved to another shard or split.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from tps_pipeline import tables
from tps_pipeline.data.annotations import Index, digest, find_annotations, find_ground_truth
from tps_pipeline.data.encoding import printable
from tps_pipeline.data.kinetics_tps import action_of, label_files, passed_over
from tps_pipeline.data.layout import Problem, Video, find_videos
from tps_pipeline.errors import UnreachableError
from tps_pipeline.progress import progress
from tps_pipeline.recipe import Shards

MIN_VIDEOS_FOR_VAL = 4
"""An action with at least this many videos has a validation video, however small the fraction."""

ANY_CONTENT = ""
"""Stands for the SHA-256 of a video that was taken out where nobody knows it any more: it is out whatever it holds."""

Row = dict[str, Any]
"""A row of `tables.SHARD`, by column."""


@dataclass(frozen=True)
class Ingested:
    """What an ingestion changes."""

    shards: dict[str, pa.Table]
    """New and changed shards by name (`tables.SHARD`)."""
    problems: list[Problem]
    """Videos that were not taken in, labels found twice or damaged; each with what to do."""
    changed: list[str] = field(default_factory=list)
    """The videos that are new or changed, by their paths."""
    missing: list[Problem] = field(default_factory=list)
    """Videos that are in a shard and no longer in the folder."""
    gone: list[str] = field(default_factory=list)
    """Lost shards of which nothing tells what videos they had."""


@dataclass(frozen=True)
class Known:
    """What a store has already.

    Attributes:
        manifests: Its shards by name (`tables.SHARD`).
        elsewhere: Names of those shards that were taken in from another data folder.
        removed: Videos that were taken out: their content's SHA-256, or `ANY_CONTENT`, by their id.
        numbered: Names of shards that there once were.
        lost: Shards that have lost their record or their table: the ids of their videos, none if nothing tells them.
    """

    manifests: Mapping[str, pa.Table] = field(default_factory=dict)
    elsewhere: Collection[str] = ()
    removed: Mapping[str, str] = field(default_factory=dict)
    numbered: Collection[str] = ()
    lost: Mapping[str, Sequence[str]] = field(default_factory=dict)


def ingest(data: Path, known: Known, settings: Shards, *, only: Collection[str] | None = None) -> Ingested:
    """Compare a data folder with the shards there are.

    A video that is known keeps its shard; where its content, place, action or labels differ from its row, its shard
    comes back with the new row. One that vanished keeps its row and is named. Left out are a new video whose content
    is known under another id, one whose name a video from another folder has, and one that was taken out. A file is
    hashed again only if its size or time differ from its row's. A lost shard is made again of its videos.

    Args:
        data: A Kinetics-TPS folder.
        known: What there is.
        settings: Batch size and validation share, for new videos.
        only: Look at these videos alone, by their paths (others may still be being written).

    Returns:
        The shards to write; none if nothing changed.

    Raises:
        DataError: The folder does not exist.
    """
    videos, problems = find_videos(data)
    index = find_annotations(data)
    problems += passed_over(data, videos, index)
    rows = {name: {row["video_id"]: row for row in table.to_pylist()} for name, table in known.manifests.items()}
    shard_of = {video_id: name for name, of_shard in rows.items() for video_id in of_shard}
    ids_by_content = {row["sha256"]: row["video_id"] for of_shard in rows.values() for row in of_shard.values()}

    new: list[Row] = []
    changed: dict[str, list[str]] = {}
    missing = [] if only is not None else _missing(rows, {video.video_id for video in videos}, known.elsewhere)
    lost = {*chain(*known.lost.values())}
    if only is not None:
        videos = [video for video in videos if video.path in only or video.video_id in lost]
    videos.sort(key=lambda video: video.video_id not in lost)  # what was there first, should another be its copy
    for video in progress(videos, "Looking for changes"):
        shard = shard_of.get(video.video_id)
        before = rows[shard][video.video_id] if shard else None
        row, problem = _examine(data, video, index, None if shard in known.elsewhere else before)
        if row is not None and before is not None and shard in known.elsewhere:
            problem = _namesake(video, row, before)
        elif row is not None and before is None:
            first = ids_by_content.setdefault(row["sha256"], video.video_id)
            if known.removed.get(video.video_id) in (row["sha256"], ANY_CONTENT):
                problem = Problem(video.path, "was taken out of the store", _put_back(video.video_id))
            elif first != video.video_id:
                problem = _same_content(video, first)
            else:
                new.append(row)
        elif shard and row is not None and _differs(row, before):
            rows[shard][video.video_id] = row
            changed.setdefault(shard, []).append(video.path)
        problems += [problem] if problem else []
    paths = [row["path"] for row in new] + [path for of_shard in changed.values() for path in of_shard]
    again = _made_again(new, known.lost)
    new = [row for row in new if not any(row in of_shard for of_shard in again.values())]
    there = chain(*(of_shard.values() for of_shard in rows.values()), *again.values())
    assign_splits(new, there, settings.val_fraction)
    shards = {name: list(rows[name].values()) for name in sorted(changed)} | again
    shards |= batch(new, {*known.manifests, *known.numbered, *known.lost}, settings)
    tables_ = {name: _table(rows) for name, rows in shards.items()}
    gone = [name for name, ids in known.lost.items() if not ids]
    return Ingested(tables_, _told(known.lost, again) + problems, sorted(paths), missing, gone)


def copies(data: Path, videos: Iterable[Video]) -> list[Problem]:
    """Videos of a folder that ingestion leaves out because another one, found before, has the same content."""
    by_size: dict[int, list[Video]] = {}
    for video in videos:
        with suppress(OSError):  # which is told where it is probed
            by_size.setdefault((data / video.path).stat().st_size, []).append(video)
    found, first = [], {}
    for video in (video for same in by_size.values() if len(same) > 1 for video in same):
        with suppress(OSError):
            before = first.setdefault(_content_hash(data / video.path), video.video_id)
            found += [] if before == video.video_id else [_same_content(video, before)]
    return found


def assign_splits(new: list[Row], known: Iterable[Row], val_fraction: float) -> None:
    """Set `split` of new labelled videos to train or val, action by action; known videos count but never move.

    Of an action's n videos, old and new, `round(n * val_fraction)` should be in val: at least one of
    `MIN_VIDEOS_FOR_VAL` or more, and never all. As many new videos as val lacks go there, in the order of their ids'
    hashes, so the choice depends on nothing but the ids, the counts and what is already in val.

    Args:
        new: Rows with `video_id`, `action` and `split`; those of the split `test` stay.
        known: Rows of existing shards.
        val_fraction: Share of each action's videos to hold out.
    """
    labelled = [row for row in known if row["split"] != "test"]
    total = Counter(row["action"] for row in labelled)
    held_out = Counter(row["action"] for row in labelled if row["split"] == "val")
    candidates = sorted((row for row in new if row["split"] != "test"), key=_id_hash)
    total.update(row["action"] for row in candidates)
    for row in candidates:
        action = row["action"]
        to_val = held_out[action] < _val_count(total[action], val_fraction)
        row["split"] = "val" if to_val else "train"
        held_out[action] += to_val


def batch(new: Iterable[Row], existing: Iterable[str], settings: Shards) -> dict[str, list[Row]]:
    """Deal new videos out to new shards of one split each.

    Videos are dealt in the order of their ids' hashes, so that a shard mixes actions, to as few shards as their size
    allows; sizes differ by one at most.

    Returns:
        Rows by shard name; numbers follow the highest existing one of the split.
    """
    taken = [re.fullmatch(r"(\w+)-(\d+)", name) for name in existing]
    shards: dict[str, list[Row]] = {}
    ordered = sorted(new, key=_id_hash)
    for split in ("train", "val", "test"):
        rows = [row for row in ordered if row["split"] == split]
        first = max((int(name[2]) + 1 for name in taken if name and name[1] == split), default=0)
        count = -(-len(rows) // settings.videos_per_shard)
        shards |= {f"{split}-{first + i:03}": rows[i::count] for i in range(count)}
    return shards


def probe_videos(data: Path, manifest: pa.Table) -> pa.Table:
    """Look at each video of a shard (`tables.VIDEOS`).

    One of which no frame can be decoded is marked `unreadable`; of another that is not whole `error` says what is
    missing.

    Raises:
        UnreachableError: A video cannot be read now.
    """
    from tps_pipeline.video.probe import probe_all  # imports PyAV, which ingestion does without

    known = manifest.to_pylist()
    found = progress(probe_all([data / row["path"] for row in known]), "Probing videos", total=len(known))
    names = ("n_frames", "fps", "width", "height", "rotation", "status")
    rows = [
        row | {name: getattr(facts, name) for name in names} | {"error": facts.error and printable(facts.error)}
        for row, facts in zip(known, found, strict=True)
    ]
    types = pa.schema([pa.field(f.name, _plain(f.type)) for f in tables.VIDEOS])
    return tables.conform(pa.Table.from_pylist(rows, schema=types), tables.VIDEOS)


def _made_again(new: list[Row], lost: Mapping[str, Sequence[str]]) -> dict[str, list[Row]]:
    """Lost shards of videos that are there, each in its order and of its split."""
    by_id = {row["video_id"]: row for row in new}
    shards: dict[str, list[Row]] = {}
    for name, ids in lost.items():
        split = name.rpartition("-")[0]
        there = [by_id[video_id] for video_id in ids if video_id in by_id]
        rows = [row for row in there if (row["split"] == "test") == (split == "test")]
        for row in rows:
            row["split"] = split
        shards |= {name: rows} if rows else {}
    return shards


def _told(lost: Mapping[str, Sequence[str]], again: Mapping[str, Sequence[Row]]) -> list[Problem]:
    """What has become of lost shards, in a line each."""
    what = "had lost its record or its table"
    there = "none of its videos is in this folder; put them back, or run with the folder that has them"
    return [
        Problem(f"shards/{name}", what, f"it has {len(again[name])} of its {len(ids)} videos again")
        if name in again
        else Problem(f"shards/{name}", what, there if ids else "nothing tells its videos: they are in new shards")
        for name, ids in lost.items()
    ]


def _same_content(video: Video, first: str) -> Problem:
    lost = ", and out of the submission" if video.folder == "test" else ""
    return Problem(video.path, f"has the same content as {first}", f"remove one of them; it is left out{lost}")


def _namesake(video: Video, row: Row, before: Row) -> Problem | None:
    if row["sha256"] == before["sha256"]:
        return None
    what = f"is called like {before['path']}, which the store has from another data folder"
    return Problem(video.path, what, "rename it; it is left out")


def _put_back(video_id: str) -> str:
    return f"delete it, or put it in again: `tps store remove {video_id} --undo`"


def _missing(
    rows: Mapping[str, Mapping[str, Row]], there: Collection[str], elsewhere: Collection[str]
) -> list[Problem]:
    return [
        Problem(
            row["path"], f"is in {shard} and no longer in the folder", f"put it back, or `tps store remove {video_id}`"
        )
        for shard, of_shard in rows.items()
        for video_id, row in of_shard.items()
        if shard not in elsewhere and video_id not in there
    ]


def _examine(data: Path, video: Video, index: Index, known: Row | None) -> tuple[Row | None, Problem | None]:
    """A video's row as it is now, or why it has none."""
    is_test = video.folder == "test"
    if known and (known["split"] == "test") != is_test:
        what = f"is already ingested in the split {known['split']}"
        return None, Problem(video.path, what, f"move it back to {known['path']} or give it another name")
    action = action_of(video, index)
    if action is None and not is_test:
        fix = "move it to train_videos/<class>/, or to test_videos/ if it has no class"
        return None, Problem(video.path, "is a training video without a class", fix)
    try:
        stat = (data / video.path).stat()
        seen = known is not None and (known["bytes"], known["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns)
        sha256 = known["sha256"] if known and seen else _content_hash(data / video.path)
    except OSError as error:
        return None, Problem(video.path, f"cannot be read ({error.strerror})", "check its permissions and the disk")
    try:
        files, _ = label_files(data, video.video_id, index=index, is_test=is_test)
    except UnreachableError as error:
        return None, Problem(video.path, f"has labels that cannot be read now ({error})", "it is left as it was")
    truth = find_ground_truth(data)
    if known and known["annotations"] and not is_test and not index.sources:  # ground truth may be taken away
        return None, Problem(video.path, "had labels, and the folder has none at all now", "put its labels back")
    true_action = truth.actions.get(video.video_id, "") if is_test else ""
    return {
        "video_id": video.video_id,
        "split": known["split"] if known else video.folder,
        "action": action,
        "path": video.path,
        "sha256": sha256,
        "bytes": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "annotations": digest(files, action=true_action) if files or true_action else None,
    }, None


def _differs(row: Row, known: Row | None) -> bool:
    """Whether a video changed; a new time alone does not count, or a copied data set would be stale as a whole."""
    return known is None or any(row[name] != known[name] for name in ("action", "path", "sha256", "annotations"))


def _val_count(videos: int, val_fraction: float) -> int:
    wanted = int(videos * val_fraction + 0.5)
    at_least = int(videos >= MIN_VIDEOS_FOR_VAL and val_fraction > 0)
    return min(max(wanted, at_least), videos - 1)


def _id_hash(row: Row) -> str:
    return hashlib.sha256(row["video_id"].encode()).hexdigest()


def _content_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _table(rows: list[Row]) -> pa.Table:
    types = pa.schema([pa.field(f.name, _plain(f.type)) for f in tables.SHARD])
    return tables.conform(pa.Table.from_pylist(rows, schema=types), tables.SHARD)


def _plain(type_: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_dictionary(type_) else type_
