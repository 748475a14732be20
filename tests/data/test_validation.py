from pathlib import Path

import pytest

from tests.data.layouts import FRAME, add_videos, as_folders, write_frames, write_video
from tps_pipeline.data.kinetics_tps import read_all
from tps_pipeline.data.statistics import statistics
from tps_pipeline.data.validation import validate
from tps_pipeline.errors import DataError


def test_a_missing_folder_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="nowhere"):
        validate(tmp_path / "nowhere")


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    as_folders(tmp_path)
    for name in ("train_videos/lunge/v1", "train_videos/juggling_balls/v2", "test_videos/t1"):
        write_video(tmp_path / f"{name}.mp4", frames=8)
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "part_stat.txt").write_text("none\nbend\n")
    (tmp_path / "list" / "video_train_flist.csv").write_text("video,frames\nlunge/v1.mp4,8\nv2,8\n")
    return tmp_path


def test_a_healthy_folder_has_no_problems(healthy: Path):
    assert validate(healthy) == []


def test_validation_finds_everything(healthy: Path):
    write_frames(healthy / "train_annotations/lunge/v1", {7: "{", 50: FRAME})
    write_frames(healthy / "train_annotations/lunge/ghost", {1: FRAME})
    write_frames(healthy / "train_annotations/lunge", {1: FRAME})
    wide = {"humans": [{"box": [0, 0, 128, 239]}]}
    write_frames(healthy / "train_annotations/juggling_balls/v2", {4: wide})
    add_videos(healthy, train=("lunge/broken", "flat", "lunge/v2"))
    (healthy / "train_videos" / "empty_class").mkdir()
    (healthy / "list" / "video_train_flist.csv").write_text("lunge/v1,9\nlost,3\n")
    (healthy / "list" / "body_part.txt").write_text("head\ntail\n")
    (healthy / "gt").mkdir()
    (healthy / "gt" / "gt_vid_result.json").write_text('{"t9": "lunge"}')
    found = [str(problem) for problem in validate(healthy)]
    for words in (
        "lunge/v1/img_00007.json: is not a frame's labels",
        "v1.mp4: has 8 frames, but frame 50 is labelled",
        "labels ghost, which is not among the training videos",
        "lunge/img_00001.json: is not in a video's folder",
        "v2.mp4: frame 4: 1 person box(es) reach out of the 128x240 picture",
        "broken.mp4: is unreadable",
        "broken.mp4: has no labels",
        "flat.mp4: has no class",
        "a second video is called v2",
        "empty_class: has no videos",
        "gives lunge/v1 9 frames, the file has 8",
        "lists lost, which is not there",
        "body_part.txt: names the part 'tail', which no label has",
        "body_part.txt: lacks the part 'left_arm' of the labels",
        "gt/gt_vid_result.json: names t9",
        "gt/gt_vid_result.json: lacks t1",
    ):
        assert any(words in problem for problem in found), (words, found)


def test_statistics(tmp_path: Path):
    as_folders(tmp_path)
    add_videos(tmp_path, train=("lunge/v1", "juggling_balls/v2"))
    found = {name: table.to_pylist() for name, table in statistics(read_all(tmp_path)).items()}
    overview = {row["quantity"]: row["value"] for row in found["overview"]}
    assert overview["labelled frames"] == 3
    assert overview["people a frame"] == pytest.approx(4 / 3)
    assert overview["parts a person"] == 1
    assert overview["share of people without parts"] == 0.5
    assert overview["share of parts that are none"] == 0.5
    assert [(row["part"], row["state"], row["boxes"], row["share"]) for row in found["states"]] == [
        ("head", "none", 2, 1.0),
        ("left_arm", "bend", 2, 1.0),
    ]
    assert [(row["action"], row["videos"], row["frames"], row["people"]) for row in found["classes"]] == [
        ("juggling_balls", 1, 1, 2),
        ("lunge", 1, 2, 2),
    ]
