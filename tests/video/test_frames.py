import pickle
import resource
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.video.clips import barcode, write_clip
from tps_pipeline import recipe, tables
from tps_pipeline.errors import StoreError
from tps_pipeline.video.decode import read_frames
from tps_pipeline.video.frames import FrameFile, export, extract, read_jpegs, wanted_frames

NUMBERS = [1, 6, 11, 16]


@pytest.fixture
def shard(tmp_path: Path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    videos = [(name, write_clip(tmp_path / f"{name}.mp4", 20), NUMBERS) for name in ("b", "a")]
    short = write_clip(tmp_path / "short.mp4", 8)
    out = tmp_path / "out" / "train-000.arrow"
    failed = extract([*videos, ("bad", bad, [1]), ("short", short, NUMBERS), ("none", bad, [])], out, jpeg_quality=90)
    return out, failed


def test_rows_are_the_declared_table_sorted(shard: tuple[Path, list[tuple[str, str]]]):
    out, _ = shard
    table = pa.ipc.open_file(str(out)).read_all()
    assert table.schema.equals(tables.FRAMES)
    assert list(zip(table["video_id"].to_pylist(), table["frame"].to_pylist(), strict=True)) == [
        (video, frame) for video in "ab" for frame in NUMBERS
    ]
    assert set(table["width"].to_pylist()) == {96}
    assert set(table["height"].to_pylist()) == {64}
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_bad_videos_are_reported_and_leave_no_rows(shard: tuple[Path, list[tuple[str, str]]]):
    _, failed = shard
    assert [video for video, _ in failed] == ["bad", "short"]
    assert "bad.mp4" in failed[0][1]
    assert "frame 16 was asked for, it has 8" in failed[1][1]


@pytest.mark.parametrize(("which", "train"), [("labelled", [6, 11]), ("all", [1, 6, 11, 16])])
def test_people_are_looked_for_where_the_recipe_says(which: str, train: list[int]):
    """In a training video in labelled frames, or in all; in any other as often as it says, whatever is labelled."""
    row = {"action": "a", "path": "a.mp4", "n_frames": 20, "fps": 25, "width": 96, "height": 64, "rotation": 0}
    row |= {"sha256": "", "status": "ok", "error": None}
    splits = [row | {"video_id": split, "split": split} for split in ("train", "val")]
    labelled = [{"video_id": split, "frame": f, "n_people": 1} for split in ("train", "val") for f in range(5, 15)]
    settings = recipe.Frames.model_validate({"sample_stride": 10, "train_stride": 5, "train_frames": which})
    wanted = wanted_frames(
        tables.conform(pd.DataFrame(splits), tables.VIDEOS),
        tables.conform(pd.DataFrame(labelled), tables.LABELLED_FRAMES),
        settings,
        data=Path("data"),
    )
    assert {video: frames for video, _, frames in wanted} == {"train": train, "val": [1, 11]}


def test_frames_come_back_in_their_colours(shard: tuple[Path, list[tuple[str, str]]], tmp_path: Path):
    frames = FrameFile(shard[0])
    assert len(frames) == 8
    assert frames.keys() == [(video, frame) for video in "ab" for frame in NUMBERS]
    decoded = dict(read_frames(tmp_path / "a.mp4"))
    for number in NUMBERS:
        image = frames.frame("a", number)
        assert barcode(image) == number - 1
        assert np.abs(image.astype(int) - decoded[number - 1]).mean() < 4
        np.testing.assert_array_equal(
            image[..., ::-1], cv2.imdecode(np.frombuffer(frames.jpeg("a", number), np.uint8), 1)
        )


@pytest.mark.parametrize("key", [("a", 2), ("a", 21), ("c", 1), ("short", 1)])
def test_missing_frame_is_named(shard: tuple[Path, list[tuple[str, str]]], key: tuple[str, int]):
    with pytest.raises(StoreError, match=f"frame {key[1]} of video {key[0]}"):
        FrameFile(shard[0]).jpeg(*key)


def test_quality_sets_size(shard: tuple[Path, list[tuple[str, str]]], tmp_path: Path):
    fine = tmp_path / "fine.arrow"
    assert extract([("a", tmp_path / "a.mp4", NUMBERS)], fine, jpeg_quality=99) == []
    assert len(FrameFile(fine).jpeg("a", 6)) > 1.2 * len(FrameFile(shard[0]).jpeg("a", 6))


def test_file_travels_to_worker_processes(shard: tuple[Path, list[tuple[str, str]]]):
    frames = FrameFile(shard[0])
    assert len(pickle.dumps(frames)) < 500
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as workers:
        image = workers.submit(FrameFile.frame, frames, "b", 11).result(timeout=120)
    np.testing.assert_array_equal(image, frames.frame("b", 11))


def test_export_writes_the_usual_layout(shard: tuple[Path, list[tuple[str, str]]], tmp_path: Path):
    frames = FrameFile(shard[0])
    assert export(frames, tmp_path / "from_file") == 8
    assert (tmp_path / "from_file/b/img_00011.jpg").read_bytes() == frames.jpeg("b", 11)
    assert export(read_jpegs("b", tmp_path / "b.mp4", NUMBERS, jpeg_quality=90), tmp_path / "from_video") == 4
    assert (tmp_path / "from_video/b/img_00011.jpg").read_bytes() == frames.jpeg("b", 11)


def test_no_videos_make_an_empty_file(tmp_path: Path):
    assert extract([], tmp_path / "empty.arrow") == []
    assert len(FrameFile(tmp_path / "empty.arrow")) == 0


@pytest.mark.parametrize("content", [None, b"", b"not arrow"])
def test_files_of_another_kind_are_refused(tmp_path: Path, content: bytes | None):
    path = tmp_path / "train-000.arrow"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=r"train-000\.arrow"):
        FrameFile(path)


def test_failed_write_leaves_nothing(tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", 5)
    with pytest.raises(ValueError, match="ascending"):
        extract([("a", clip, [3, 1])], tmp_path / "out" / "x.arrow")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_cannot_be_written_whole_is_no_result(tmp_path: Path):
    """Whatever is written when the disk is full: a video is not called unreadable, and no file is left."""
    videos = [(name, write_clip(tmp_path / f"{name}.mp4", 20), NUMBERS) for name in "ab"]
    assert extract(videos, tmp_path / "whole.arrow") == []
    size = (tmp_path / "whole.arrow").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    out = tmp_path / "out" / "cut.arrow"
    for room in range(0, size, 512):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            with pytest.raises(OSError, match="File too large"):
                extract(videos, out)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert list(out.parent.iterdir()) == []
    assert extract(videos, out) == []
    assert out.read_bytes() == (tmp_path / "whole.arrow").read_bytes()
