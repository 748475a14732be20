import json
import os
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.layouts import FRAME, add_videos, write_frames, write_video
from tps_pipeline import tables
from tps_pipeline.data.kinetics_tps import read_annotations
from tps_pipeline.data.shards import MIN_VIDEOS_FOR_VAL, Known, assign_splits, batch, ingest, probe_videos
from tps_pipeline.errors import UnreachableError
from tps_pipeline.recipe import Shards

SETTINGS = Shards(videos_per_shard=3, val_fraction=0.25)


def counted(**videos: int) -> tuple[str, ...]:
    """So many training videos of each class."""
    return tuple(f"{action}/{action}_{i}" for action, count in videos.items() for i in range(count))


def split_of(shards: dict[str, pa.Table]) -> dict[str, str]:
    return {row["video_id"]: row["split"] for table in shards.values() for row in table.to_pylist()}


def test_first_ingestion(tmp_path: Path):
    add_videos(tmp_path, train=counted(lunge=8, push_up=4, snatch=1), test=("lunge/t1", "t2"))
    found = ingest(tmp_path, Known(), SETTINGS)
    assert found.problems == []
    assert sorted(found.shards) == ["test-000", "train-000", "train-001", "train-002", "train-003", "val-000"]
    rows = [row for table in found.shards.values() for row in table.to_pylist()]
    assert len({row["video_id"] for row in rows}) == len(rows) == 15
    held_out = Counter(row["action"] for row in rows if row["split"] == "val")
    assert held_out == {"lunge": 2, "push_up": 1}
    assert {row["action"] for row in rows if row["split"] == "test"} == {None}
    for name, table in found.shards.items():
        assert table.schema == tables.SHARD
        assert set(table["split"].to_pylist()) == {name.split("-")[0]}
        assert 1 <= table.num_rows <= 3
    assert ingest(tmp_path, Known(found.shards), SETTINGS).shards == {}


def test_additions_form_new_shards_and_change_nothing_old(tmp_path: Path):
    add_videos(tmp_path, train=counted(lunge=5), test=("t1",))
    first = ingest(tmp_path, Known(), SETTINGS).shards
    add_videos(tmp_path, train=counted(lunge=12, push_up=4), test=("t2",))
    second = ingest(tmp_path, Known(first), SETTINGS).shards
    assert not set(first) & set(second)
    assert "test-001" in second
    splits = split_of(first) | split_of(second)
    assert len(splits) == 18
    assert Counter(splits[f"lunge_{i}"] for i in range(12))["val"] == 3


def test_order_of_files_does_not_matter(tmp_path: Path):
    names = list(counted(lunge=9, push_up=5))
    random.Random(1).shuffle(names)
    one = ingest(add_videos(tmp_path / "a", train=tuple(names)), Known(), SETTINGS).shards
    two = ingest(add_videos(tmp_path / "b", train=tuple(sorted(names))), Known(), SETTINGS).shards
    assert {name: table["video_id"].to_pylist() for name, table in one.items()} == {
        name: table["video_id"].to_pylist() for name, table in two.items()
    }


@pytest.fixture
def ingested(tmp_path: Path) -> tuple[Path, dict[str, pa.Table]]:
    add_videos(tmp_path, train=counted(lunge=6, push_up=6), test=("t1", "t2"))
    for action in ("lunge", "push_up"):
        for i in range(6):
            write_frames(tmp_path / "train_annotations" / action / f"{action}_{i}", {1: FRAME, 6: FRAME})
    return tmp_path, ingest(tmp_path, Known(), SETTINGS).shards


def changed_rows(before: dict[str, pa.Table], after: dict[str, pa.Table]) -> list[tuple[str, set[str]]]:
    old = {row["video_id"]: row for table in before.values() for row in table.to_pylist()}
    rows = [row for table in after.values() for row in table.to_pylist()]
    found = [(row["video_id"], {key for key in row if row[key] != old[row["video_id"]][key]}) for row in rows]
    return [(video_id, keys) for video_id, keys in found if keys]


def test_an_edited_label_of_equal_length_changes_its_shard_only(ingested: tuple[Path, dict[str, pa.Table]]):
    data, shards = ingested
    path = data / "train_annotations" / "lunge" / "lunge_2" / "img_00001.json"
    times = path.stat().st_mtime_ns
    path.write_text(path.read_text().replace("bend", "hold"))
    os.utime(path, ns=(times, times))
    found = ingest(data, Known(shards), SETTINGS).shards
    assert len(found) == 1
    assert next(iter(found)) in shards
    assert changed_rows(shards, found) == [("lunge_2", {"annotations"})]


def test_replaced_video_content_changes_its_shard_only(ingested: tuple[Path, dict[str, pa.Table]]):
    data, shards = ingested
    (data / "train_videos" / "push_up" / "push_up_0.mp4").write_bytes(b"another")
    found = ingest(data, Known(shards), SETTINGS).shards
    assert [row[0] for row in changed_rows(shards, found)] == ["push_up_0"]
    assert "sha256" in changed_rows(shards, found)[0][1]
    assert ingest(data, Known(shards | found), SETTINGS).shards == {}


def test_a_copy_of_the_data_is_the_same_data(
    ingested: tuple[Path, dict[str, pa.Table]], tmp_path_factory: pytest.TempPathFactory
):
    data, shards = ingested
    copy = tmp_path_factory.mktemp("copy") / "data"
    shutil.copytree(data, copy, copy_function=shutil.copyfile)
    assert ingest(copy, Known(shards), SETTINGS).shards == {}


def test_packed_labels_are_the_same_labels(ingested: tuple[Path, dict[str, pa.Table]]):
    data, shards = ingested
    shutil.make_archive(str(data / "train_annotations"), "tar", data, "train_annotations")
    shutil.rmtree(data / "train_annotations")
    assert ingest(data, Known(shards), SETTINGS) == type(ingest(data, Known(shards), SETTINGS))({}, [])


def test_unchanged_files_are_not_hashed_again(ingested: tuple[Path, dict[str, pa.Table]]):
    data, shards = ingested
    path = data / "test_videos" / "t1.mp4"
    stat = path.stat()
    path.write_bytes(b"X" * stat.st_size)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert ingest(data, Known(shards), SETTINGS).shards == {}


def test_a_vanished_video_keeps_its_row(ingested: tuple[Path, dict[str, pa.Table]]):
    data, shards = ingested
    (data / "test_videos" / "t1.mp4").unlink()
    assert ingest(data, Known(shards), SETTINGS).shards == {}
    with pytest.raises(UnreachableError, match=r"t1\.mp4 cannot be read now"):
        probe_videos(data, shards["test-000"])


def test_an_unreadable_video_is_marked(ingested: tuple[Path, dict[str, pa.Table]]):
    data, shards = ingested
    (data / "test_videos" / "t1.mp4").write_bytes(b"no video")
    table = probe_videos(data, shards["test-000"])
    assert table.schema == tables.VIDEOS
    assert set(table["status"].to_pylist()) == {"unreadable"}


def test_labels_that_are_away_do_not_change_a_shard(ingested: tuple[Path, dict[str, pa.Table]]):
    data, shards = ingested
    (data / "train_annotations").rename(data.parent / "away")
    found = ingest(data, Known(shards), SETTINGS)
    assert (found.shards, found.changed) == ({}, [])
    assert any("the folder has none at all now" in problem.what for problem in found.problems)
    (labelled, *_) = [name for name, shard in shards.items() if shard["annotations"].null_count == 0]
    with pytest.raises(UnreachableError, match="cannot be read now"):
        read_annotations(data, shards[labelled])
    (data.parent / "away").rename(data / "train_annotations")
    assert len(read_annotations(data, shards[labelled]).labelled_frames)


def test_known_content_under_another_name_is_left_out(ingested: tuple[Path, dict[str, pa.Table]]):
    data, shards = ingested
    shutil.copy(data / "train_videos" / "lunge" / "lunge_0.mp4", data / "test_videos" / "copy.mp4")
    found = ingest(data, Known(shards), SETTINGS)
    assert found.shards == {}
    assert "same content as lunge_0" in found.problems[0].what


def test_a_video_that_changes_class_or_folder(ingested: tuple[Path, dict[str, pa.Table]]):
    data, shards = ingested
    (data / "train_videos" / "lunge" / "lunge_1.mp4").rename(data / "train_videos" / "push_up" / "lunge_1.mp4")
    (data / "train_videos" / "lunge" / "lunge_3.mp4").rename(data / "test_videos" / "lunge_3.mp4")
    found = ingest(data, Known(shards), SETTINGS)
    assert changed_rows(shards, found.shards) == [("lunge_1", {"action", "path"})]
    assert [problem.path for problem in found.problems] == [
        "train_annotations/lunge/lunge_3",
        "test_videos/lunge_3.mp4",
    ]


def test_flat_training_videos_take_the_class_of_their_labels(tmp_path: Path):
    add_videos(tmp_path, train=("v1", "v2"))
    write_frames(tmp_path / "train_annotations" / "lunge" / "v1", {1: FRAME})
    found = ingest(tmp_path, Known(), SETTINGS)
    assert [row["action"] for row in found.shards["train-000"].to_pylist()] == ["lunge"]
    assert [problem.path for problem in found.problems] == ["train_videos/v2.mp4"]


def test_ground_truth_counts_as_a_test_videos_labels(ingested: tuple[Path, dict[str, pa.Table]]):
    data, shards = ingested
    (data / "gt").mkdir()
    (data / "gt" / "gt_vid_result.json").write_text(json.dumps({"t1": "lunge"}))
    found = ingest(data, Known(shards), SETTINGS).shards
    assert changed_rows(shards, found) == [("t1", {"annotations"})]
    (data / "gt" / "gt_part_result.json").write_text(json.dumps({"t1": {"img_00001.json": FRAME}}))
    again = ingest(data, Known(shards | found), SETTINGS).shards
    assert changed_rows(shards | found, again) == [("t1", {"annotations"})]
    assert {row["action"] for row in again["test-000"].to_pylist()} == {None}


def test_probe_of_a_readable_video(tmp_path: Path):
    write_video(tmp_path / "test_videos" / "t1.mp4", frames=7)
    shards = ingest(tmp_path, Known(), SETTINGS).shards
    (row,) = probe_videos(tmp_path, shards["test-000"]).to_pylist()
    assert (row["status"], row["n_frames"], row["width"], row["height"]) == ("ok", 7, 128, 240)
    assert row["sha256"] == shards["test-000"]["sha256"][0].as_py()


waves = st.lists(
    st.dictionaries(st.sampled_from(["lunge", "push_up", "snatch"]), st.integers(1, 12)), min_size=1, max_size=4
)


@settings(max_examples=60, deadline=None)
@given(waves, st.sampled_from([0.0, 0.1, 0.2, 0.5]), st.integers(1, 7))
def test_splits_are_stable_stratified_and_disjoint(
    waves: list[dict[str, int]], val_fraction: float, videos_per_shard: int
):
    configured = Shards(videos_per_shard=videos_per_shard, val_fraction=val_fraction)
    shards: dict[str, list[dict[str, Any]]] = {}
    total: Counter[str] = Counter()
    for wave in waves:
        before = {name: [dict(row) for row in rows] for name, rows in shards.items()}
        new = []
        for action, count in wave.items():
            ids = range(total[action], total[action] + count)
            new += [{"video_id": f"{action}{i}", "action": action, "split": "train"} for i in ids]
            total[action] += count
        new.append({"video_id": f"t{len(before)}", "action": None, "split": "test"})
        assign_splits(new, (row for rows in shards.values() for row in rows), val_fraction)
        dealt = batch(new, shards, configured)
        assert not set(dealt) & set(shards)
        shards |= dealt
        assert {name: shards[name] for name in before} == before
    rows = [row for rows in shards.values() for row in rows]
    assert len({row["video_id"] for row in rows}) == len(rows)
    assert all(len(rows) <= videos_per_shard for rows in shards.values())
    for action, count in total.items():
        val = sum(row["split"] == "val" for row in rows if row["action"] == action)
        assert val < count or count == 0
        assert abs(val - count * val_fraction) <= 1
        assert val_fraction == 0 or val >= (count >= MIN_VIDEOS_FOR_VAL)
