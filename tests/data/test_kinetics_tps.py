import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.layouts import (
    FRAME,
    HUMAN,
    LAYOUTS,
    TRAIN,
    add_videos,
    as_folders,
    as_one_tar,
    manifest,
    pack,
    write_frames,
)
from tps_pipeline import tables
from tps_pipeline.data.annotations import LabelFile
from tps_pipeline.data.decoding import VideoFiles, decode
from tps_pipeline.data.kinetics_tps import read_all, read_annotations
from tps_pipeline.data.layout import find_videos
from tps_pipeline.data.statistics import statistics


@pytest.mark.parametrize("lay_out", LAYOUTS)
def test_every_layout_gives_the_same_tables(tmp_path: Path, lay_out: Callable[[Path], None]):
    lay_out(tmp_path)
    found = read_annotations(tmp_path, TRAIN)
    assert found.problems == []
    assert found.actions.to_pylist() == [
        {"video_id": "v1", "action": "lunge"},
        {"video_id": "v2", "action": "juggling_balls"},
    ]
    assert found.labelled_frames.to_pylist() == [
        {"video_id": "v1", "frame": 1, "n_people": 2},
        {"video_id": "v1", "frame": 6, "n_people": 0},
        {"video_id": "v2", "frame": 3, "n_people": 2},
    ]
    assert [tuple(row.values()) for row in found.people.to_pylist()] == [
        ("v1", 1, 0, 10, 20, 110, 220),
        ("v1", 1, 1, 0, 0, 5, 5),
        ("v2", 3, 0, 10, 20, 110, 220),
        ("v2", 3, 1, 0, 0, 5, 5),
    ]
    assert [tuple(row.values()) for row in found.parts.to_pylist()] == [
        ("v1", 1, 0, "head", 40, 20, 70, 50, "none"),
        ("v1", 1, 0, "left_arm", 12, 30, 40, 90, "bend"),
        ("v2", 3, 0, "head", 40, 20, 70, 50, "none"),
        ("v2", 3, 0, "left_arm", 12, 30, 40, 90, "bend"),
    ]
    schemas = {
        "actions": tables.ACTIONS,
        "labelled_frames": tables.LABELLED_FRAMES,
        "people": tables.PEOPLE,
        "parts": tables.PARTS,
        "objects": tables.OBJECTS,
    }
    for name, schema in schemas.items():
        assert getattr(found, name).schema == schema


@pytest.mark.parametrize("format_", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_in_archives(tmp_path: Path, format_: int):
    video = "a_video_with_a_name_of_over_a_hundred_letters_" + "y" * 70
    write_frames(tmp_path / "train_annotations_source" / "hurling_(sport)" / video, {1: FRAME})
    pack(tmp_path / "train_annotations.tar", tmp_path / "train_annotations_source", name="data", format_=format_)
    found = read_annotations(tmp_path, manifest((video, "train", "hurling_(sport)")))
    assert found.problems == []
    assert found.people.num_rows == 2


def test_a_broken_archive_keeps_what_comes_before(tmp_path: Path):
    as_one_tar(tmp_path)
    path = tmp_path / "train_annotations.tar"
    with tarfile.open(path) as file:
        last = file.getmembers()[-1]
    path.write_bytes(path.read_bytes()[: last.offset_data + 10])
    found = read_all(add_videos(tmp_path, train=("lunge/v1", "juggling_balls/v2")))
    assert found.labelled_frames.num_rows == 2
    assert any("archive ends" in problem.what for problem in found.problems)
    path.write_bytes(b"\x1f\x8b" + b"compressed" * 200)
    assert any("compression breaks off" in problem.what for problem in read_all(tmp_path).problems)


BROKEN = {
    "empty": ("", "not a frame's labels"),
    "cut": (json.dumps(FRAME)[:50], "not a frame's labels"),
    "not utf-8": ("\udcff", "not a frame's labels"),
    "deep": ("[" * 100_000, "not a frame's labels"),
    "a list": ("[]", "Expected `object`"),
    "no humans": ("{}", "`humans`"),
    "unknown part": (
        json.dumps({"humans": [{**HUMAN, "parts": {"tail": HUMAN["parts"]["head"]}}]}),
        "'tail' is none of the parts",
    ),
    "unknown state": (json.dumps(FRAME).replace("bend", "fly"), "'fly' is not in list/part_stat.txt"),
    "no state": (json.dumps(FRAME).replace('["none", "turn"]', "[]"), "no state"),
    "a number for a state": (json.dumps(FRAME).replace('"bend"', "3"), "verb"),
    "three corners": (json.dumps({"humans": [{**HUMAN, "box": [1, 2, 3]}]}), "length 4"),
    "nested box": (json.dumps({"humans": [{**HUMAN, "box": [[1, 2, 3, 4]]}]}), "humans[0].box"),
    "turned box": (json.dumps({"humans": [{**HUMAN, "box": [9, 2, 3, 4]}]}), "person's box [9, 2, 3, 4]"),
    "turned part": (json.dumps(FRAME).replace("[12, 30, 40, 90]", "[12, 30, 40, 20]"), "part's box"),
    "huge box": (json.dumps({"humans": [{**HUMAN, "box": [1, 2, 3, 40000]}]}), "person's box"),
    "part twice": (json.dumps(FRAME).replace('"head": {', '"left_arm": {'), "'left_arm' is given twice"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_and_the_rest_survives(tmp_path: Path, kind: str):
    content, complaint = BROKEN[kind]
    as_folders(tmp_path)
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "part_stat.txt").write_text("0 bend\n1 turn\n")
    whole = read_annotations(tmp_path, TRAIN)
    path = tmp_path / "train_annotations" / "lunge" / "v1" / "img_00003.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    found = read_annotations(tmp_path, TRAIN)
    assert [problem.path for problem in found.problems] == ["train_annotations/lunge/v1/img_00003.json"]
    assert complaint in found.problems[0].what
    for name in ("labelled_frames", "people", "parts", "objects"):
        assert getattr(found, name).equals(getattr(whole, name))


def test_badly_named_and_repeated_frames(tmp_path: Path):
    write_frames(tmp_path / "train_annotations" / "lunge" / "v1", {1: FRAME, 2: FRAME})
    folder = tmp_path / "train_annotations" / "lunge" / "v1"
    (folder / "frame.json").write_text(json.dumps(FRAME))
    (folder / "img_00000.json").write_text(json.dumps(FRAME))
    (folder / "img_000002.json").write_text(json.dumps(FRAME))
    (folder / "._img_00001.json").write_bytes(b"\0\5")
    (folder / "img_00007.json").mkdir()
    found = read_annotations(tmp_path, TRAIN)
    assert found.labelled_frames["frame"].to_pylist() == [1, 2]
    assert sorted(Path(problem.path).name for problem in found.problems) == [
        "frame.json",
        "img_00000.json",
        "img_000002.json",
        "img_00007.json",
    ]


def test_objects_under_any_name(tmp_path: Path):
    things = [{"name": "barbell", "box": [1, 2, 3, 4]}, {"name": "no box"}, {"box": [1, 2, 3, 4]}, 5]
    frame = {**FRAME, "camera": {"name": "x"}, "things": things, "size": [3, 4], "more": []}
    write_frames(tmp_path / "train_annotations" / "lunge" / "v1", {2: frame})
    found = read_annotations(tmp_path, TRAIN)
    assert found.problems == []
    assert [tuple(row.values()) for row in found.objects.to_pylist()] == [("v1", 2, "barbell", 1, 2, 3, 4)]
    assert found.people.num_rows == 2


def test_fractional_corners_are_rounded(tmp_path: Path):
    write_frames(tmp_path / "train_annotations" / "lunge" / "v1", {1: {"humans": [{"box": [-0.6, 1.2, 3.0, 4.7]}]}})
    assert [tuple(row.values())[3:] for row in read_annotations(tmp_path, TRAIN).people.to_pylist()] == [(-1, 1, 3, 5)]


def test_ground_truth_labels_test_videos_only(tmp_path: Path):
    as_folders(tmp_path)
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "gt_vid_result.json").write_text(json.dumps({"t1": "lunge", "v1": "wrong"}))
    truth = {"t1": {"img_00006.json": {"humans": []}, "img_00001.json": FRAME, "img_00011.json": {}}, "t2": 3}
    (tmp_path / "gt" / "gt_part_result.json").write_text(json.dumps(truth))
    rows = manifest(("t1", "test", None), ("t2", "test", None), ("t3", "test", None), ("v1", "train", "lunge"))
    found = read_annotations(tmp_path, rows)
    assert dict(zip(*(found.actions[name].to_pylist() for name in ("video_id", "action")), strict=True)) == {
        "t1": "lunge",
        "v1": "lunge",
    }
    frames = [(row["video_id"], row["frame"]) for row in found.labelled_frames.to_pylist()]
    assert frames == [("t1", 1), ("t1", 6), ("v1", 1), ("v1", 6)]
    assert sorted(problem.path for problem in found.problems) == [
        "gt/gt_part_result.json:t1/img_00011.json",
        "gt/gt_part_result.json:t2",
    ]
    (tmp_path / "gt" / "gt_part_result.json").write_text("{")
    found = read_annotations(tmp_path, rows)
    assert set(found.labelled_frames["video_id"].to_pylist()) == {"v1"}


def test_videos_in_class_folders_and_flat(tmp_path: Path):
    add_videos(tmp_path, train=("lunge/v1", "flat"), test=("lunge/t1", "t2", "lunge/v1"))
    (tmp_path / "train_videos" / "lunge" / "notes.txt").write_text("")
    (tmp_path / "loose.webm").write_bytes(b"")
    videos, problems = find_videos(tmp_path)
    assert {(video.video_id, video.folder, video.action) for video in videos} == {
        ("v1", "train", "lunge"),
        ("flat", "train", None),
        ("t1", "test", None),
        ("t2", "test", None),
        ("loose", "test", None),
    }
    assert [problem.path for problem in problems] == ["train_videos/lunge/notes.txt", "test_videos/lunge/v1.mp4"]


def test_a_class_folder_of_test_videos_leaks_nowhere(tmp_path: Path):
    add_videos(tmp_path, test=("secret_class/t1",))
    found = read_all(tmp_path)
    assert found.actions.num_rows == 0
    assert statistics(found)["classes"].num_rows == 0


boxes = st.lists(st.integers(-5, 400), min_size=4, max_size=4)
humans = st.fixed_dictionaries(
    {
        "box": boxes,
        "parts": st.dictionaries(
            st.just("head"), st.fixed_dictionaries({"box": boxes, "verb": st.sampled_from(["bend", ""])})
        ),
    }
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(st.binary(), st.lists(humans).map(lambda h: json.dumps({"humans": h}).encode())), max_size=6))
def test_any_content_is_either_labels_or_a_problem(contents: list[bytes]):
    files = [LabelFile(f"{i}", f"img_{i + 1:05}.json", content) for i, content in enumerate(contents)]
    found = decode([VideoFiles("v", files)], None)
    named = {int(problem.path) + 1 for problem in found.problems}
    kept: list[int] = found.labelled_frames["frame"].to_numpy().tolist()
    assert sorted([*named, *kept]) == list(range(1, len(files) + 1))
    assert set(found.parts["frame"].to_pylist()) <= set(found.people["frame"].to_pylist()) <= set(kept)
