"""What is in a store: which videos of which data folder, taken in, taken out again, and why.

A store knows a data folder by its videos, so that the folder can move; another one has to be let in by name. What is
taken out stays out, with the reason in its lineage, until it is put in again or the video is another. How videos
become shards stands in `tps_pipeline.data.shards`, how lost ones are found again in `tps_pipeline.graph.lost`, what is
out in `tps_pipeline.graph.removals`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tps_pipeline.data.encoding import printable
from tps_pipeline.data.layout import Video, find_videos
from tps_pipeline.data.shards import Ingested, Known, ingest
from tps_pipeline.errors import DataError, StoreError
from tps_pipeline.graph import removals
from tps_pipeline.graph.lost import lost_shards, manifest_of
from tps_pipeline.graph.removals import Note
from tps_pipeline.graph.run import Run
from tps_pipeline.lineage import Input, Lineage, Record, Snapshot, Work
from tps_pipeline.lineage.rows import shard_of
from tps_pipeline.outputs import FOLDERS, SHARDS, SPLITS
from tps_pipeline.store import Written

SAME = 0.5
"""A folder in another place is the same if it has this share of the videos that were taken in from it."""


@dataclass(frozen=True)
class Folder:
    """A data folder that videos of the store came from.

    Attributes:
        version: Of its record, which shards name as what they were made from.
        place: Where it was when it was last used; empty if nobody knows.
        accepted: What was in it when it was let in by name (`_identity_of`); empty if it was not.
        manifests: The shards that came from it (`tables.SHARD`).
    """

    version: Input
    place: str
    accepted: str
    manifests: Mapping[str, pa.Table]


def look(run: Run, *, only: Collection[str] | None = None) -> Ingested:
    """Compare the run's data folder with the store; nothing is written.

    Args:
        run: The run.
        only: Look at these videos alone, by their paths.

    Raises:
        DataError: There is no such folder, or no video in it.
        StoreError: The store was filled from another one.
    """
    folders = folders_of(run.lineage.latest())
    here = recognised(run, folders)
    elsewhere = [name for folder in folders if folder is not here for name in folder.manifests]
    return ingest(run.data, _known(run.lineage, folders, elsewhere), run.recipe.shards, only=only)


def recognised(run: Run, folders: list[Folder] | None = None) -> Folder | None:
    """Which of the store's folders the run's is; None if the store has no video yet.

    Raises:
        DataError: There is no such folder, or no video in it.
        StoreError: It is none of them.
    """
    videos = _videos(run.data)
    folders = folders_of(run.lineage.latest()) if folders is None else folders
    if not folders:
        return None
    here = str(run.data.resolve())
    sizes = _sizes(run.data, videos)
    for folder in sorted(folders, key=lambda folder: folder.place != here):
        rows = [row for manifest in folder.manifests.values() for row in manifest.to_pylist()]
        familiar = folder.accepted == _digest(sizes.items()) or any(row["video_id"] in sizes for row in rows)
        if folder.place == here and (familiar or not rows):
            return folder
        there = sum(sizes.get(row["video_id"]) == row["bytes"] for row in rows)
        if rows and there >= SAME * len(rows):
            return folder
    known = [row for folder in folders for manifest in folder.manifests.values() for row in manifest.to_pylist()]
    there = sum(sizes.get(row["video_id"]) == row["bytes"] for row in known)
    places = " and ".join(filter(None, (folder.place for folder in folders))) or "another folder"
    raise StoreError(
        f"{run.data} is not the data folder of {run.store_name}: it has {there} of the store's {len(known)} videos, "
        f"which came from {places}; correct DATA or STORE, or let it in beside them: "
        f"`tps store accept {run.data} --store {run.store_name}`"
    )


def take_in(run: Run, *, only: Collection[str] | None = None) -> Ingested:
    """Take in what is new or changed in the run's data folder, and make lost shards again; see `look`."""
    with run.store.lock(SHARDS.key):
        mended = removals.mend(run.lineage)
        found = look(run, only=only)
        folder = _note_place(run, recognised(run))
        for name, manifest in sorted(found.shards.items()):
            _write(run.lineage, run.recipe.digest_of(()), name, manifest, (folder.as_input,), run.id)
        for name in found.gone:
            removals.write(run.lineage, name, Note(name, name, "lost", {}))
    return replace(found, problems=mended + found.problems)


def folders_of(latest: Snapshot) -> list[Folder]:
    """The data folders that a store was filled from, in the order in which it came to know them.

    Shards of a store that knew none (version 0.2), or has lost its record of theirs, are the first one's.
    """
    records = sorted(latest.of(FOLDERS.key).values(), key=_name)
    manifests: dict[str | None, dict[str, pa.Table]] = {}
    known = [record.partition for record in records] or [None]
    for shard in latest.shards(*SPLITS):
        inputs = latest.records[SHARDS.at(shard)].inputs
        came_from = next((i.partition for i in inputs if i.asset == FOLDERS.key and i.partition in known), known[0])
        if (manifest := manifest_of(latest, shard)) is not None:
            manifests.setdefault(came_from, {})[shard] = manifest
    if not records and manifests:
        return [Folder(Input(FOLDERS.key, None, "", ""), "", "", manifests[None])]
    return [Folder(r.as_input, *_said(latest, r), manifests.get(r.partition, {})) for r in records]


def place_of(lineage: Lineage) -> str | None:
    """Where the data folder was that was last taken in from; None if the store does not know."""
    latest = lineage.latest()
    records = latest.of(FOLDERS.key).values()
    return (_said(latest, max(records, key=lambda record: record.order))[0] or None) if records else None


def accept(lineage: Lineage, data: Path) -> None:
    """Let the videos of another data folder into a store, beside those that it has.

    Raises:
        DataError: There is no such folder, or no video in it.
    """
    folders, here, inside = folders_of(lineage.latest()), str(data.resolve()), _identity_of(data, _videos(data))
    if folders and folders[0].version.partition is None:  # those that it has are the first's, wherever that is
        _record_folder(lineage, 0, "", _identity(folders[0].manifests.values()))
    number = next((n for n, folder in enumerate(folders) if folder.place == here), len(folders))
    version = folders[number].version.data_version if number < len(folders) else inside
    _record_folder(lineage, number, here, version, accepted=inside)


def remove(lineage: Lineage, name: str, because: str) -> str:
    """Take a shard or a video out of a store; what was made from it is made again by the next run.

    Args:
        lineage: The store's records.
        name: A shard, or the id of a video.
        because: Why, for its lineage.

    Returns:
        The shard.

    Raises:
        StoreError: The store has no such shard or video.
    """
    latest = lineage.latest()
    shard = name if name in latest.shards(*SPLITS) else shard_of(latest, name)
    record = latest.records[SHARDS.at(shard)]
    manifest = lineage.store.read(lineage.store.intact(record))
    chosen = pc.field("video_id").cast(pa.string()) == name
    out, rest = (
        (manifest, manifest.slice(0, 0)) if shard == name else (manifest.filter(chosen), manifest.filter(~chosen))
    )
    note = Note(name, shard, printable(because), {row["video_id"]: row["sha256"] for row in out.to_pylist()})
    removed = removals.write(lineage, name, note, (record.as_input,))
    if rest.num_rows:
        _write(lineage, record.recipe_digest, shard, rest, (*record.inputs, removed.as_input), "tps store remove")
    elif shard != name:  # its last video
        removals.write(lineage, shard, note, (record.as_input,))
    return shard


def put_back(lineage: Lineage, name: str) -> None:
    """Have the next run take in what was taken out.

    Raises:
        StoreError: It was not.
    """
    out = [each for each in removals.removals(lineage.latest()) if each.note.videos and each.note.removed == name]
    if not out:
        raise StoreError(f"{name} was not taken out of this store")
    for each in out:  # of a shard's last video the shard's, too
        undone = Note(name, each.note.shard, "put in again", {})
        removals.write(lineage, each.name, undone, (each.record.as_input,) if each.record else (), out=False)


def _note_place(run: Run, folder: Folder | None) -> Record:
    """Record a folder that is new, has moved, or is used again after another one."""
    latest, here = run.lineage.latest(), str(run.data.resolve())
    if folder is None:
        return _record_folder(run.lineage, 0, here, _identity_of(run.data, _videos(run.data)))
    if folder.version.partition is None:
        return _record_folder(run.lineage, 0, here, _identity(folder.manifests.values()))
    record = latest.records[folder.version.key]
    if (folder.place, place_of(run.lineage)) == (here, here):
        return record
    return _record_folder(run.lineage, int(_name(record).rpartition("-")[2]), here, record.data_version)


def _record_folder(lineage: Lineage, number: int, place: str, identity: str, *, accepted: str = "") -> Record:
    name, said = f"folder-{number:03}", {"folder": place, "accepted": accepted, "videos": identity}
    written = lineage.store.write_bytes(FOLDERS.path(name), json.dumps(said).encode())
    # It is the same one wherever it is, and so is what was made from it.
    same = Written(written.path, identity, written.bytes)
    return lineage.record(Work(FOLDERS.key, name, (), (), ""), same, run_id="ingestion")


def _write(
    lineage: Lineage, recipe: str, name: str, manifest: pa.Table, inputs: tuple[Input, ...], run_id: str
) -> None:
    written = lineage.store.write(SHARDS.path(name), manifest)
    lineage.record(Work(SHARDS.key, name, inputs, (), recipe), written, run_id=run_id)


def _known(lineage: Lineage, folders: list[Folder], elsewhere: Collection[str]) -> Known:
    """What ingestion has to know of a store."""
    manifests = {name: manifest for folder in folders for name, manifest in folder.manifests.items()}
    latest = lineage.latest()
    removed = {video: sha for each in removals.removals(latest) for video, sha in each.note.videos.items()}
    return Known(manifests, elsewhere, removed, list(latest.of(SHARDS.key)), lost_shards(latest, manifests, removed))


def _videos(data: Path) -> list[Video]:
    videos, _ = find_videos(data)
    if not videos:
        raise DataError(f"{data} has no videos; put them in train_videos/<class>/ and test_videos/, or right there")
    return videos


def _sizes(data: Path, videos: list[Video]) -> dict[str, int]:
    return {video.video_id: (data / video.path).stat().st_size for video in videos if (data / video.path).exists()}


def _identity_of(data: Path, videos: list[Video]) -> str:
    return _digest(_sizes(data, videos).items())


def _identity(manifests: Collection[pa.Table]) -> str:
    return _digest((row["video_id"], row["bytes"]) for manifest in manifests for row in manifest.to_pylist())


def _digest(sizes: Any) -> str:
    return hashlib.sha256(json.dumps(sorted(sizes)).encode()).hexdigest()


def _said(latest: Snapshot, record: Record) -> tuple[str, str]:
    """Where a folder is, and what was in it when it was let in by name; nothing if its note is lost or another's.

    The folder is then told from its videos, and noted again when it is next used.
    """
    try:  # the record's version is that of the folder's videos, not of the note
        said = json.loads(latest.store.local(record.path).read_bytes())
        if said.get("videos", record.data_version) == record.data_version:
            return str(said["folder"]), str(said["accepted"])
    except (StoreError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return "", ""


def _name(record: Record) -> str:
    return str(record.partition)
