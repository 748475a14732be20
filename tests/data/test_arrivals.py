"""New videos: one that is still being written waits, and none is taken in twice."""

import os
from pathlib import Path

import pyarrow as pa
import pytest

from tps_pipeline import recipe
from tps_pipeline.data.arrivals import Arrivals, look
from tps_pipeline.data.shards import Known, ingest

SETTINGS = recipe.Shards(videos_per_shard=4, val_fraction=0.0)


@pytest.fixture
def data(tmp_path: Path):
    (tmp_path / "test_videos").mkdir()
    return tmp_path


def put(data: Path, name: str, content: bytes, *, time: int = 1_000_000_000):
    path = data / "test_videos" / name
    path.write_bytes(content)
    os.utime(path, ns=(time, time))


def test_a_video_waits_until_it_has_stayed_the_same_from_one_look_to_the_next(data: Path):
    put(data, "a.mp4", b"")
    settled, seen = look(data, [], Arrivals())
    assert settled == []
    settled, seen = look(data, [], seen)
    assert settled == []  # made, and nothing written yet
    put(data, "a.mp4", b"hal")
    settled, seen = look(data, [], seen)
    assert settled == []
    put(data, "a.mp4", b"half", time=2_000_000_000)
    settled, seen = look(data, [], seen)
    assert settled == []
    settled, seen = look(data, [], seen)
    assert settled == ["test_videos/a.mp4"]
    settled, seen = look(data, [], seen)
    assert settled == []  # handed over once


def taken_in(data: Path, shards: dict[str, pa.Table], only: list[str] | None):
    found = ingest(data, Known(shards), SETTINGS, only=only)
    return shards | found.shards, [problem.what for problem in found.problems]


def test_what_is_taken_in_is_not_looked_at_again_until_it_changes(data: Path):
    put(data, "a.mp4", b"one")
    shards, _ = taken_in(data, {}, ["test_videos/a.mp4"])
    assert look(data, shards.values(), Arrivals()) == ([], Arrivals())
    put(data, "a.mp4", b"another", time=3_000_000_000)
    settled, seen = look(data, shards.values(), Arrivals())
    assert (settled, list(seen.waiting)) == ([], ["test_videos/a.mp4"])
    assert look(data, shards.values(), seen)[0] == ["test_videos/a.mp4"]


def test_a_video_seen_before_is_not_taken_in_under_another_name(data: Path):
    put(data, "a.mp4", b"one")
    shards, _ = taken_in(data, {}, ["test_videos/a.mp4"])
    put(data, "b.mp4", b"one", time=4_000_000_000)
    _, seen = look(data, shards.values(), Arrivals())
    settled, seen = look(data, shards.values(), seen)
    assert settled == ["test_videos/b.mp4"]
    after, problems = taken_in(data, shards, settled)
    assert problems == ["has the same content as a"]
    assert after == shards
    assert look(data, after.values(), seen)[0] == []  # nor handed over at every look


def test_only_what_has_settled_is_taken_in(data: Path):
    put(data, "a.mp4", b"one")
    put(data, "b.mp4", b"still growing")
    shards, _ = taken_in(data, {}, ["test_videos/a.mp4"])
    assert pa.concat_tables(shards.values())["video_id"].to_pylist() == ["a"]
    shards, _ = taken_in(data, shards, None)
    assert sorted(shards) == ["test-000", "test-001"]
