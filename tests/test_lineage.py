import pyarrow as pa
import pytest

from tps_pipeline import recipe, versions
from tps_pipeline.errors import StoreError
from tps_pipeline.lineage import Lineage, Work
from tps_pipeline.store import Store, table_path


@pytest.fixture
def lineage(tmp_path) -> Lineage:
    return Lineage(Store(tmp_path))


def make(lineage, asset, partition=None, reads=(), content=0, digest="r", **options):
    work = Work(asset, partition, lineage.latest().inputs(reads), ("shards",), digest, **options)
    written = lineage.store.write(table_path(asset, partition), pa.table({"content": [content]}))
    return lineage.record(work, written, run_id="run")


def work(lineage, asset, partition=None, reads=(), digest="r", **options):
    return Work(asset, partition, lineage.latest().inputs(reads), ("shards",), digest, **options)


def test_an_output_is_stale_exactly_when_something_it_was_made_from_changed(lineage, monkeypatch):
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

    assert "recipe changed in shards" in lineage.latest().why_stale(
        work(lineage, "videos", "train-000", reads, digest="other")
    )
    monkeypatch.setitem(versions.CODE_VERSIONS, "videos", "2")
    assert lineage.latest().why_stale(work(lineage, "videos", "train-000", reads)) == "code version 1 is now 2"
    monkeypatch.undo()
    lineage.store.fs.rm(lineage.store.full(made.path))
    assert "is gone" in lineage.latest().why_stale(work(lineage, "videos", "train-000", reads))


def test_a_checkpoint_outlives_new_shards_but_not_changed_ones(lineage):
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


def test_trace_follows_the_versions_that_were_used(lineage):
    make(lineage, "shards", "test-000", content=1)
    make(lineage, "videos", "test-000", [("shards", "test-000")])
    make(lineage, "shards", "test-000", content=2)
    walked = [(depth, r.name, r.data_version) for depth, r in lineage.trace(("videos", "test-000"))]
    old = lineage.records()[0]
    assert [(d, n) for d, n, _ in walked] == [(0, "videos/test-000"), (1, "shards/test-000")]
    assert walked[1][2] == old.data_version
    with pytest.raises(StoreError, match="not in the store yet: nothing"):
        list(lineage.trace(("nothing", None)))


def test_stale_lists_reasons_downstream_too(lineage):
    demo = recipe.load("demo")
    digest = demo.digest_of(["shards"])
    for shard in ("val-000", "val-001", "train-000"):
        make(lineage, "shards", shard, digest=digest)
    make(lineage, "videos", "val-000", [("shards", "val-000")], digest=digest)
    make(lineage, "leaderboard", None, [("videos", "val-000")], digest=digest)
    assert dict(lineage.stale(demo)) == {"videos/val-001": "never made"}  # train has no videos at all: not expected
    make(lineage, "shards", "val-000", content=1, digest=digest)
    stale = dict(lineage.stale(demo))
    assert stale["videos/val-000"] == "shards/val-000 changed"
    assert stale["leaderboard"] == "videos/val-000 is stale"
    changed = demo.model_copy(update={"shards": recipe.Shards(videos_per_shard=3)})
    assert "recipe changed" in dict(lineage.stale(changed))["leaderboard"]


def test_compaction_keeps_every_record_once(lineage):
    for n in range(5):
        make(lineage, "shards", f"train-00{n}", content=n)
    before = lineage.records()
    assert lineage.compact() == 5
    assert len(lineage.store.fs.ls(lineage.store.full("lineage"))) == 1
    assert Lineage(lineage.store).records() == before == lineage.records()


def test_inputs_never_made_are_named(lineage):
    with pytest.raises(StoreError, match="frames/train-000"):
        lineage.latest().inputs([("frames", "train-000")])
