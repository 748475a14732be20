from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tps_pipeline.errors import StoreError
from tps_pipeline.lineage import Lineage, Work, ledger, records
from tps_pipeline.outputs import Key
from tps_pipeline.store import Store


@pytest.fixture
def lineage(tmp_path: Path) -> Lineage:
    return Lineage(Store(tmp_path))


def make(
    lineage: Lineage,
    asset: str,
    partition: str | None = None,
    reads: Sequence[Key] = (),
    content: int = 0,
    digest: str = "r",
    **options: Any,
):
    work = Work(asset, partition, lineage.latest().inputs(reads), ("shards",), digest, **options)
    written = lineage.store.write(f"{asset}/{partition or 'all'}.parquet", pa.table({"content": [content]}))
    return lineage.record(work, written, run_id="run")


def work(
    lineage: Lineage,
    asset: str,
    partition: str | None = None,
    reads: Sequence[Key] = (),
    digest: str = "r",
    **options: Any,
):
    return Work(asset, partition, lineage.latest().inputs(reads), ("shards",), digest, **options)


def test_an_output_is_stale_exactly_when_something_it_was_made_from_changed(lineage: Lineage):
    reads = [("shards", "train-000")]
    make(lineage, "shards", "train-000")
    assert lineage.latest().why_stale(work(lineage, "videos", "train-000", reads)) == "never made"
    made = make(lineage, "videos", "train-000", reads)
    assert lineage.latest().why_stale(work(lineage, "videos", "train-000", reads)) is None

    make(lineage, "shards", "train-000")  # written again, same content
    assert lineage.latest().why_stale(work(lineage, "videos", "train-000", reads)) is None
    make(lineage, "shards", "train-000", content=1)
    assert lineage.latest().why_stale(work(lineage, "videos", "train-000", reads)) == "shards/train-000 changed"
    make(lineage, "shards", "train-000", content=0)

    other = work(lineage, "videos", "train-000", reads, digest="other")
    assert "recipe changed in shards" in str(lineage.latest().why_stale(other))
    newer = work(lineage, "videos", "train-000", reads, code_version="2")
    assert lineage.latest().why_stale(newer) == "code version 1 is now 2"
    lineage.store.fs.rm(lineage.store.full(made.path))
    assert "is gone" in str(lineage.latest().why_stale(work(lineage, "videos", "train-000", reads)))


def test_a_checkpoint_outlives_new_shards_but_not_changed_ones(lineage: Lineage):
    shards = [("shards", "train-000"), ("shards", "train-001")]
    for key in shards:
        make(lineage, *key)
    make(lineage, "checkpoints/person_detector", reads=shards[:1])
    grown = work(lineage, "checkpoints/person_detector", reads=shards)
    kept = work(lineage, "checkpoints/person_detector", reads=shards, keeps_when_inputs_grow=True)
    assert lineage.latest().why_stale(grown) == "shards/train-001 is new"
    assert lineage.latest().why_stale(kept) is None
    make(lineage, "shards", "train-000", content=1)
    kept = work(lineage, "checkpoints/person_detector", reads=shards, keeps_when_inputs_grow=True)
    assert lineage.latest().why_stale(kept) == "shards/train-000 changed"


def test_trace_follows_the_versions_that_were_used(lineage: Lineage):
    make(lineage, "shards", "test-000", content=1)
    make(lineage, "videos", "test-000", [("shards", "test-000")])
    make(lineage, "shards", "test-000", content=2)
    walked = [(depth, r.name, r.data_version) for depth, r in lineage.trace(("videos", "test-000"))]
    old = lineage.records()[0]
    assert [(d, n) for d, n, _ in walked] == [(0, "videos/test-000"), (1, "shards/test-000")]
    assert walked[1][2] == old.data_version
    with pytest.raises(StoreError, match="not in the store yet: nothing"):
        list(lineage.trace(("nothing", None)))


def test_compaction_keeps_every_record_once(lineage: Lineage):
    for n in range(5):
        make(lineage, "shards", f"train-00{n}", content=n)
    before = lineage.records()
    assert lineage.compact() == 5
    assert len(lineage.store.fs.ls(lineage.store.full("lineage"))) == 1
    assert Lineage(lineage.store).records() == before == lineage.records()


def test_who_reads_while_another_merges_sees_every_record(lineage: Lineage, monkeypatch: pytest.MonkeyPatch):
    for n in range(3):
        make(lineage, "shards", f"train-00{n}", content=n)
    reader, read = Lineage(lineage.store), lineage.store.read

    def merged_meanwhile(path: str):
        monkeypatch.setattr(lineage.store, "read", read)
        lineage.compact()
        return read(path)

    monkeypatch.setattr(lineage.store, "read", merged_meanwhile)
    assert [record.name for record in reader.records()] == [f"shards/train-00{n}" for n in range(3)]


def test_trace_of_an_earlier_version_and_of_equal_content_written_twice(lineage: Lineage):
    make(lineage, "shards", "test-000", content=1)
    first = make(lineage, "videos", "test-000", [("shards", "test-000")])
    table = make(lineage, "leaderboard", None, [("videos", "test-000")], content=1)
    make(lineage, "shards", "test-000", content=2)
    make(lineage, "videos", "test-000", [("shards", "test-000")])  # the same content from another version
    make(lineage, "leaderboard", None, [("videos", "test-000")], content=2)
    old = [record for _, record in lineage.trace(("leaderboard", None), table.data_version[:10])]
    assert [r.record for r in old[:2]] == [table.record, first.record]
    assert old[2].data_version == first.inputs[0].data_version
    with pytest.raises(StoreError, match="leaderboard has no version beef"):
        list(lineage.trace(("leaderboard", None), "beef"))


def test_a_trace_knows_what_was_made_since_the_one_before(lineage: Lineage):
    make(lineage, "shards", "test-000", content=1)
    make(lineage, "videos", "test-000", [("shards", "test-000")], content=1)
    assert len(list(lineage.trace(("videos", "test-000")))) == 2
    shard = make(Lineage(lineage.store), "shards", "test-000", content=2)  # by another process
    video = make(lineage, "videos", "test-000", [("shards", "test-000")], content=2)
    assert [record.record for _, record in lineage.trace(("videos", "test-000"))] == [video.record, shard.record]


def test_inputs_never_made_are_named(lineage: Lineage):
    with pytest.raises(StoreError, match="frames/train-000; materialize them first"):
        lineage.latest().inputs([("frames", "train-000")])
    with pytest.raises(StoreError, match="weights/yolov7x_coco; import them first, see `tps weights list`"):
        lineage.latest().inputs([("weights/yolov7x_coco", None)])


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch):
    """Sets the clock of this process, as seen by lineage, by some hours."""

    def put(hours: float) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None):
                return datetime.now(tz) + timedelta(hours=hours)

        for module in (ledger, records):
            monkeypatch.setattr(module, "datetime", Clock)

    return put


@pytest.mark.parametrize("hours", [(0, -2), (0, -2, -4), (0, 24 * 365, 0), (0, 3, -3, 3)])
def test_whatever_the_clock_says_the_newest_record_is_the_one_that_was_made_last(
    lineage: Lineage, set_clock: Callable[[float], None], hours: tuple[int, ...]
):
    reads = [("shards", "train-000")]
    versions = []
    for turn, shift in enumerate(hours):
        set_clock(shift)
        shard = make(lineage, "shards", "train-000", content=turn)
        made = make(lineage, "videos", "train-000", reads, content=turn)
        seen = Lineage(lineage.store)  # another process
        assert seen.latest().records[("shards", "train-000")].data_version == shard.data_version
        assert seen.latest().why_stale(work(seen, "videos", "train-000", reads)) is None
        assert [record.record for _, record in seen.trace(("videos", "train-000"))] == [made.record, shard.record]
        assert [r.data_version for r in seen.versions(("shards", "train-000"))] == [shard.data_version, *versions]
        versions.insert(0, shard.data_version)
    assert [r.data_version for r in lineage.records()] == [r.data_version for r in Lineage(lineage.store).records()]
    lineage.compact()
    assert Lineage(lineage.store).latest().records[("shards", "train-000")].data_version == versions[0]


def test_two_machines_whose_clocks_differ_keep_one_order(lineage: Lineage, set_clock: Callable[[float], None]):
    here, there = lineage, Lineage(lineage.store)
    reads = [("shards", "train-000")]
    for content in range(3):
        set_clock(0)
        make(here, "shards", "train-000", content=content)
        set_clock(-5)
        make(there, "videos", "train-000", reads, content=content)
    contents = [record.asset for record in Lineage(lineage.store).records()]
    assert contents == ["shards", "videos"] * 3
    times = [(record.started_at, record.finished_at) for record in lineage.records()]
    assert all(began <= ended for began, ended in times)


def test_equal_content_of_a_machine_whose_clock_is_fast_is_traced_to_the_last(
    lineage: Lineage, set_clock: Callable[[float], None]
):
    reads = [("shards", "train-000")]
    make(lineage, "shards", "train-000")
    set_clock(5)
    shard = make(Lineage(lineage.store), "shards", "train-000")
    set_clock(0)
    made = make(lineage, "videos", "train-000", reads)
    assert [record.record for _, record in lineage.trace(("videos", "train-000"))] == [made.record, shard.record]
    now = datetime.now(UTC)
    assert abs(made.finished_at - now) < timedelta(minutes=5)  # whose clock is right keeps its own time


def unnumbered(lineage: Lineage) -> Lineage:
    """Make a store's records those of version 0.2, in one file."""
    table = records.to_table(lineage.records()).drop_columns("sequence")
    for name in lineage.store.names("lineage"):
        lineage.store.remove(f"lineage/{name}")
    lineage.store.write("lineage/0.parquet", table)
    return Lineage(lineage.store)


@pytest.mark.parametrize("compacted", [False, True])
def test_records_without_a_number_come_first_by_their_time(
    lineage: Lineage, set_clock: Callable[[float], None], compacted: bool
):
    reads = [("shards", "train-000")]
    for hours in (24 * 365, 24 * 365 + 1):  # times that were carried on from a clock that was fast
        set_clock(hours)
        make(lineage, "shards", "train-000", content=hours)
        make(lineage, "videos", "train-000", reads, content=hours)
    kept = [record.record for record in lineage.records()]
    lineage = unnumbered(lineage)
    assert [record.record for record in lineage.records()] == kept
    assert [record.record for _, record in lineage.trace(("videos", "train-000"))] == [kept[3], kept[2]]
    for hours in (0, 2, -2):
        set_clock(hours)
        shard = make(lineage, "shards", "train-000", content=hours)
        made = make(lineage, "videos", "train-000", reads, content=hours)
        kept += [shard.record, made.record]
        assert [record.record for _, record in lineage.trace(("videos", "train-000"))] == [made.record, shard.record]
    if compacted:
        lineage.compact()
    lineage = Lineage(lineage.store)
    assert [record.record for record in lineage.records()] == kept
    assert [record.sequence for record in lineage.records()] == [None] * 4 + [1, 2, 3, 4, 5, 6]
    assert [record.record for _, record in lineage.trace(("videos", "train-000"))] == kept[:-3:-1]
    assert lineage.latest().why_stale(work(lineage, "videos", "train-000", reads)) is None


def test_equal_content_made_before_and_after_a_clock_was_set_back_is_traced_to_the_last(
    lineage: Lineage, set_clock: Callable[[float], None]
):
    set_clock(0)
    _, shard = make(lineage, "shards", "train-000"), make(lineage, "shards", "train-000")
    set_clock(-2)
    made = make(lineage, "videos", "train-000", [("shards", "train-000")])
    assert [record.record for _, record in lineage.trace(("videos", "train-000"))] == [made.record, shard.record]
