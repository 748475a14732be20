"""What is out of a store: its notes, `removed/<name>.json`, with their records; a lost one is told from what is left.

What is taken out stays out, so neither a lost note nor a lost record lets it in again. Taking out and putting back
stand in `tps_pipeline.graph.ingestion`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from tps_pipeline.data.layout import Problem
from tps_pipeline.data.shards import ANY_CONTENT
from tps_pipeline.errors import StoreError
from tps_pipeline.graph.lost import is_shard, videos_named
from tps_pipeline.lineage import Lineage, Record, Snapshot, Work
from tps_pipeline.lineage.records import Input
from tps_pipeline.outputs import REMOVED, SHARDS
from tps_pipeline.store import Store, Written


class Note(msgspec.Struct, frozen=True):
    """What is said of something that was taken out.

    Attributes:
        removed: What somebody wanted out: a shard or a video.
        shard: Where it was.
        because: Why.
        videos: The SHA-256 of each video's content by its id; none if it is in again, or nobody knows what it had.
    """

    removed: str
    shard: str = msgspec.field(name="from")
    because: str
    videos: dict[str, str]


@dataclass(frozen=True)
class Removal:
    """A shard or a video that is out.

    Attributes:
        name: Which.
        note: What was said, or what can be told of it.
        record: Of the note; None if that is lost.
        lost: Whether the note is lost, or is not what was recorded.
    """

    name: str
    note: Note
    record: Record | None
    lost: bool

    @property
    def problem(self) -> Problem:
        """What to say where the note is lost."""
        again = f"put it in again: `tps store remove {self.note.removed} --undo`"
        fix = f"{self.note.removed} stays out; if it should not, {again}"
        if not self.note.videos:
            fix = "nothing tells its videos: take them out again where they come back as new, `tps store remove`"
        return Problem(REMOVED.path(self.name), "was lost or damaged", fix)


def removals(latest: Snapshot) -> list[Removal]:
    """All that is out, by name, as notes say, or else as records and tables do."""
    recorded = latest.of(REMOVED.key)
    files = latest.store.names(REMOVED.key)
    noted = {file.removesuffix(REMOVED.suffix) for file in files if file.endswith(REMOVED.suffix)}
    found: list[Removal] = []
    for name in sorted(recorded.keys() | noted):
        record = recorded.get(name)
        if record is not None and not record.rows:  # it is in again
            continue
        note = _read(latest.store, name, record)
        found.append(Removal(name, note or _told(latest, name, record, noted), record, note is None))
    return found


def write(lineage: Lineage, name: str, note: Note, inputs: tuple[Input, ...] = (), *, out: bool = True) -> Record:
    """Note that something is out, or in again, and record it."""
    content = msgspec.json.format(msgspec.json.encode(note), indent=1)
    written = lineage.store.write_bytes(REMOVED.path(name), content)
    rows = max(1, len(note.videos)) if out else 0
    counted = Written(written.path, written.data_version, written.bytes, rows)
    return lineage.record(Work(REMOVED.key, name, inputs, (), ""), counted, run_id="tps store remove")


def mend(lineage: Lineage) -> list[Problem]:
    """Write notes and records that are lost again; what to say of the notes."""
    lost = [each for each in removals(lineage.latest()) if each.lost or (each.record is None and each.note.videos)]
    for each in lost:
        write(lineage, each.name, each.note, each.record.inputs if each.record else ())
    return [each.problem for each in lost if each.lost]


def _read(store: Store, name: str, record: Record | None) -> Note | None:
    """A note; None if it is lost, or another's."""
    try:
        if record is not None:
            store.intact(record)
        note = msgspec.json.decode(store.local(REMOVED.path(name)).read_bytes(), type=Note)
    except (StoreError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return note if name in (note.removed, note.shard) else None


def _told(latest: Snapshot, name: str, record: Record | None, noted: set[str]) -> Note:
    """What a lost note must have said."""
    was = next((i for i in record.inputs if i.asset == SHARDS.key), None) if record else None
    contents = _contents(latest.store, was) if was else {}
    if not is_shard(name):
        return Note(name, str(was.partition) if was else "", "", {name: contents.get(name, ANY_CONTENT)})
    videos = dict(contents or dict.fromkeys(videos_named(latest.store, name), ANY_CONTENT))
    (only,) = videos if len(videos) == 1 else (name,)
    its_last = only in noted or REMOVED.at(only) in latest.records  # then that is what was taken out
    return Note(only if its_last else name, name, "", videos)


def _contents(store: Store, shard: Input) -> Mapping[str, str]:
    """The videos of a version of a shard with their contents' SHA-256; none if it is not there any more."""
    try:
        rows = store.read(store.intact(shard)).select(["video_id", "sha256"]).to_pylist()
    except StoreError:
        return {}
    return {row["video_id"]: row["sha256"] for row in rows}
