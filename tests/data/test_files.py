"""Whatever lies in a place that is read is used, or named by `tps data validate` and by a run."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.layouts import (
    FRAME,
    TRAIN,
    add_videos,
    as_folders,
    manifest,
    told_by_a_run,
    write_files,
    write_frames,
)
from tps_pipeline.data.annotations import GROUND_TRUTH, GROUND_TRUTH_ACTIONS
from tps_pipeline.data.kinetics_tps import read_all, read_annotations
from tps_pipeline.data.layout import EXTENSIONS, SHOWN, Problem, find_videos, first_of
from tps_pipeline.data.lists import (
    BODY_PARTS,
    FRAME_COUNTS,
    OBJECTS,
    STATES,
    known_states,
    read_frame_counts,
    read_names,
)
from tps_pipeline.data.validation import validate

LABELS = json.dumps(FRAME)
V1 = "train_annotations/lunge/v1"


def one_video(data: Path, files: Mapping[str, str | bytes]) -> Path:
    """A training video, another one that has labels, and some files."""
    as_folders(data)
    add_videos(data, train=("lunge/v1", "juggling_balls/v2", "lunge/v3"))
    return write_files(data, files)


NOT_LABELS = {
    "an empty folder": ({"train_annotations/lunge/v3/.keep": ""}, "train_annotations/lunge/v3"),
    "only .xml": ({"train_annotations/lunge/v3/img_00001.xml": "<x/>"}, "train_annotations/lunge/v3/img_00001.xml"),
    "only .txt": ({"train_annotations/lunge/v3/img_00001.txt": "0 0 0"}, "train_annotations/lunge/v3/img_00001.txt"),
    ".json.gz": ({f"{V1}/img_00002.json.gz": gzip.compress(LABELS.encode())}, f"{V1}/img_00002.json.gz"),
    "a folder deeper": (
        {"train_annotations/lunge/v3/labels/img_00001.json": LABELS},
        "train_annotations/lunge/v3/labels",
    ),
    "two folders deeper": ({f"{V1}/v1/v2/img_00001.json": LABELS}, f"{V1}/v1/v2"),
    "a version": ({f"{V1}/img_00005_v2.json": LABELS}, f"{V1}/img_00005_v2.json"),
    "a copy": ({f"{V1}/img_00005 (1).json": LABELS}, f"{V1}/img_00005 (1).json"),
    "a second number": ({f"{V1}/img_00005_2.json": LABELS}, f"{V1}/img_00005_2.json"),
    "a negative frame": ({f"{V1}/img_-0005.json": LABELS}, f"{V1}/img_-0005.json"),
    "30 digits": ({f"{V1}/img_{'9' * 30}.json": LABELS}, f"{V1}/img_{'9' * 30}.json"),
    "5000 digits": ({f"{V1}/{'1' * 200}.json": LABELS}, f"{V1}/{'1' * 200}.json"),
    "beside the class folders": ({"train_annotations/labels.csv": "x"}, "train_annotations/labels.csv"),
    "an archive that is not read": ({"train_annotations/lunge.rar": "x"}, "train_annotations/lunge.rar"),
    "and in a class": ({"train_annotations/lunge/v3.7z": "x"}, "train_annotations/lunge/v3.7z"),
    "labels of nothing": ({"train_annotations/lunge/v9/img_00001.json": LABELS}, "train_annotations/lunge/v9"),
    "no labels at all": ({}, "train_videos/lunge/v3.mp4"),
    "in gt": ({"gt/gt_part_results.json": "{}"}, "gt/gt_part_results.json"),
    "a list of another name": ({"list/part_state.txt": "bend"}, "list/part_state.txt"),
    "a place in capitals": ({"Train_Annotations/x/y.json": "{}"}, "Train_Annotations"),
    "a broken archive beside the videos": ({"labels.zip": "x"}, "labels.zip"),
    "a video too deep": ({"train_videos/lunge/more/v4.mp4": "x"}, "train_videos/lunge/more"),
    "a test video too deep": ({"test_videos/a/b/t1.mp4": "x"}, "test_videos/a/b"),
    "no video": ({"train_videos/lunge/v1.srt": "x"}, "train_videos/lunge/v1.srt"),
    "a picture": ({"test_videos/t1.jpg": "x"}, "test_videos/t1.jpg"),
    "half a download": ({"test_videos/t1.mp4.part": "x"}, "test_videos/t1.mp4.part"),
}


@pytest.mark.parametrize("kind", NOT_LABELS)
def test_what_is_not_used_is_named_by_validate_and_by_a_run(tmp_path: Path, kind: str):
    files, path = NOT_LABELS[kind]
    data = one_video(tmp_path, files)
    for problems in (validate(data), told_by_a_run(data)):
        (problem,) = [problem for problem in problems if problem.path == path and "unreadable" not in problem.what]
        assert "\n" not in str(problem)
        assert problem.fix
    assert read_annotations(data, TRAIN).labelled_frames.num_rows == 3


def test_labels_in_capitals_are_labels(tmp_path: Path):
    write_files(tmp_path, {f"{V1}/IMG_00001.JSON": LABELS, f"{V1}/img_00006.Json": '{"humans": []}'})
    write_frames(tmp_path / "train_annotations/juggling_balls/v2", {3: FRAME})
    as_folders(tmp_path / "other")
    found, expected = (read_annotations(data, TRAIN) for data in (tmp_path, tmp_path / "other"))
    assert found == expected


@pytest.mark.parametrize("extension", sorted(EXTENSIONS | {".FLV", ".MTS", ".Wmv"}))
def test_videos_by_their_extension(tmp_path: Path, extension: str):
    videos, problems = find_videos(write_files(tmp_path, {f"test_videos/t1{extension}": "x"}))
    assert ([video.video_id for video in videos], problems) == (["t1"], [])


NAMES = {
    "raise up": ["raise up"],
    "0 raise up": ["raise up"],
    "raise up 12": ["raise up"],
    "raise up,12": ["raise up"],
    "12,raise up": ["raise up"],
    "7\traise up": ["raise up"],
    "raise up: 3": ["raise up"],
    "3. horizontal bar": ["horizontal bar"],
    "(3) horizontal bar": ["horizontal bar"],
    '"horizontal bar";4': ["horizontal bar"],
    "4   horizontal bar   977": ["horizontal bar"],
    "step_on": ["step_on"],
    "": [],
    "[red]": ["[red]"],
}


@pytest.mark.parametrize("line", NAMES)
def test_names_in_lists_are_kept_whole(tmp_path: Path, line: str):
    listed = read_names(write_files(tmp_path, {STATES: f"bend\n{line}\n"}), STATES)
    assert listed
    assert (list(listed.names), listed.problems) == (["bend", *NAMES[line]], [])


@pytest.mark.parametrize("line", ["bend,unbend", "1,bend,biegen", "bend  unbend"])
def test_what_is_passed_over_in_a_line_is_named(tmp_path: Path, line: str):
    listed = read_names(write_files(tmp_path, {STATES: f"{line}\n"}), STATES)
    assert listed
    assert list(listed.names) == ["bend"]
    (problem,) = listed.problems
    assert "line 1: " in problem.what


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lists_and_labels_in_any_unicode(tmp_path: Path, encoding: str):
    frame = json.loads(LABELS.replace("bend", "beugen ä"))
    text = json.dumps(frame, ensure_ascii=False)
    files = {
        f"{V1}/img_00001.json": text,
        STATES: "none\nturn\nbeugen ä\n",
        FRAME_COUNTS["train"]: "v1,9\n",
        GROUND_TRUTH_ACTIONS: '{"t1": "ä"}',
        GROUND_TRUTH: f'{{"t1": {{"img_00001.json": {text}}}}}',
    }
    data = write_files(tmp_path, {path: content.encode(encoding) for path, content in files.items()})
    found = read_annotations(data, manifest(("v1", "train", "lunge"), ("t1", "test", None)))
    assert found.problems == []
    assert known_states(data) == {"none", "turn", "beugen ä", "others"}
    assert found.parts["state"].to_pylist() == ["none", "beugen ä"] * 2
    assert found.actions["action"].to_pylist() == ["ä", "lunge"]
    assert read_frame_counts(data, FRAME_COUNTS["train"]).names == {"v1": 9}


NO_TEXT = {
    "latin-1": "häten\n".encode("latin-1"),
    "half of UTF-16": "\ufeffbend".encode("utf-16-le")[:-1],
    "noise": b"\xff" * 9,
}


@pytest.mark.parametrize("kind", NO_TEXT)
def test_lists_that_are_no_text_are_named(tmp_path: Path, kind: str):
    data = one_video(tmp_path, {OBJECTS: NO_TEXT[kind]})
    for problems in (validate(data), told_by_a_run(data)):
        assert any(problem.path == OBJECTS and "save it as UTF-8" in problem.fix for problem in problems)


ROWS = {
    "not two columns": "video,frames\nv1,8\nv2\n",
    "words for a number": "v1,8\nv2,many\n",
    "no name": "v1,8\n,9\n",
    "too long a number": f"v1,8\nv2,{'9' * 30}\n",
    "no digit": "v1,8\nv2,²\n",
    "too long a field": f"v1,8\n{'x' * 200_000},1\n",
}


@pytest.mark.parametrize("kind", ROWS)
def test_rows_that_are_no_rows_are_named(tmp_path: Path, kind: str):
    listed = read_frame_counts(write_files(tmp_path, {"list/x.csv": ROWS[kind]}), "list/x.csv")
    assert listed.names == {"v1": 8}
    assert len(listed.problems) == 1
    assert len(str(listed.problems[0])) < 200


@pytest.mark.parametrize("text", ["video;frames\nv1;8\n", "v1\t8\n", "v1 8\n", '"v1", 8.0\n', "id,n\r\nv1,8\r\n"])
def test_lists_of_videos_in_other_forms(tmp_path: Path, text: str):
    listed = read_frame_counts(write_files(tmp_path, {"list/x.csv": text}), "list/x.csv")
    assert (listed.names, listed.problems) == ({"v1": 8}, [])


RAW = {
    "a video": b"test_videos/caf\xe9.mp4",
    "a class": b"train_videos/caf\xe9/v7.mp4",
    "the labels' folder": b"train_annotations/lunge/caf\xe9/img_00001.json",
    "the labels' class": b"train_annotations/caf\xe9/v7/img_00001.json",
    "a frame": b"train_annotations/lunge/v1/img_00002\xe9.json",
    "a list": b"list/caf\xe9.txt",
    "a line break": b"test_videos/a\nb.jpg",
    "colours": b"test_videos/a\x1b[31mb.jpg",
}


@pytest.mark.parametrize("kind", RAW)
def test_names_that_are_no_text_are_named_and_can_be_shown(tmp_path: Path, kind: str):
    data = one_video(tmp_path, {})
    path = os.path.join(os.fsencode(data), RAW[kind])  # noqa: PTH118 - bytes
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
    Path(os.fsdecode(path)).write_text(LABELS)
    for problems in (validate(data), told_by_a_run(data)):
        lines = [str(problem) for problem in problems if "\\" in problem.path]
        assert lines
        assert all(line.encode().decode().isprintable() for line in lines)


def test_the_data_folder_itself_may_have_a_name_that_is_no_text(tmp_path: Path):
    data = one_video(tmp_path / os.fsdecode(b"caf\xe9"), {"test_videos/t1.mp4": "no video"})
    (line,) = [str(problem) for problem in validate(data) if problem.path == "test_videos/t1.mp4"]
    assert "is unreadable" in line
    assert line.encode()


def test_labels_that_count_from_zero_are_named_with_the_fix(tmp_path: Path):
    data = one_video(tmp_path, {"train_annotations/lunge/v3/img_00000.json": LABELS, f"{V1}/0.json": LABELS})
    for problems in (validate(data), told_by_a_run(data)):
        named = [problem for problem in problems if "frame 0" in problem.what]
        assert len(named) == 2
        assert all("add 1 to each file's number" in problem.fix for problem in named)


NUMBERS = ["1" + "0" * 400, "1e400", "-1e400", "NaN", "Infinity", "9" * 5000, "-99999999999999999999", "1e308"]


@pytest.mark.parametrize("number", NUMBERS)
def test_no_number_in_a_label_is_more_than_a_problem(tmp_path: Path, number: str):
    text = LABELS.replace("[10, 20, 110, 220]", f"[10, 20, 110, {number}]")
    gt = f'{{"t1": {{"img_00001.json": {text}}}}}'
    data = write_files(tmp_path, {f"{V1}/img_00001.json": text, f"{V1}/img_00002.json": LABELS, GROUND_TRUTH: gt})
    found = read_annotations(data, manifest(("v1", "train", "lunge"), ("t1", "test", None)))
    frames = [(row["video_id"], row["frame"]) for row in found.labelled_frames.to_pylist()]
    named = {problem.path for problem in found.problems}
    assert frames == [("v1", 2)]
    assert f"{V1}/img_00001.json" in named
    assert any(path.startswith(GROUND_TRUTH) for path in named | {p.path for p in validate(data)})


def test_a_run_tells_the_first_problems_and_how_many_there_are():
    problems = [Problem(f"x{i}", "is not used", "delete it") for i in range(SHOWN + 5)]
    lines = first_of(problems)
    assert lines[0] == "x0: is not used; delete it"
    assert lines[SHOWN:] == [f"5 more problems; `tps data validate` names all {SHOWN + 5}"]
    assert first_of(problems[:2]) == [str(problem) for problem in problems[:2]]


NAMES_OF_FILES = st.sampled_from(
    ["img_00001.json", "img_00002.JSON", "img_3.json", "img_00001_v2.json", "a.json", "b.xml", "v1.mp4", "v2.MKV",
     "v3.flv", "v1.json", "t1.avi", "part_stat.txt", "x.txt", "v1.tar", "lunge.zip", "gt_vid_result.json"]
)  # fmt: skip
FOLDERS = st.sampled_from(
    ["", "train_videos", "train_videos/lunge", "train_videos/lunge/deep", "test_videos", "test_videos/a", "list", "gt",
     "test_videos/a/b", "train_annotations", "train_annotations/lunge", "train_annotations/lunge/v1", "elsewhere",
     "train_annotations/lunge/v1/v1", "train_annotations/lunge/v1/more", "train_annotations/lunge/v2", "elsewhere/more"]
)  # fmt: skip
DOCUMENTS = ("part_stat.txt", "x.txt")
KNOWN = {STATES, BODY_PARTS, OBJECTS, *FRAME_COUNTS.values(), GROUND_TRUTH, GROUND_TRUTH_ACTIONS}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sets(st.tuples(FOLDERS, NAMES_OF_FILES), max_size=12))
def test_what_is_held_and_what_is_named_is_what_there_is(
    tmp_path_factory: pytest.TempPathFactory, places: set[tuple[str, str]]
):
    data = tmp_path_factory.mktemp("data")
    paths = sorted(f"{folder}/{name}".lstrip("/") for folder, name in places)
    # Two videos of one content are one: the second is named, and nothing is said of its labels.
    videos = {path: path for path in paths if Path(path).suffix in (".mp4", ".MKV", ".flv", ".avi")}
    write_files(data, {path: "{}" if path in KNOWN else LABELS for path in paths} | videos)
    labels = read_all(data).labelled_frames.to_pylist()
    held = {video.path for video in find_videos(data)[0]} | (KNOWN & set(paths)) | set(DOCUMENTS)
    frames = {"img_00001.json": 1, "img_00002.JSON": 2, "img_3.json": 3, "v1.json": 1, "a.json": 0}
    for row in labels:
        inside = (f"train_annotations/lunge/{row['video_id']}/", f"train_annotations/lunge/v1/{row['video_id']}/")
        of_frame = [path for path in paths if path.startswith(inside) and frames.get(Path(path).name) == row["frame"]]
        held.update(of_frame[:1])
        assert of_frame
    for problems in (validate(data), told_by_a_run(data)):
        named = {problem.path for problem in problems}
        assert not {problem.path for problem in problems if problem.what == "is not used"} & held
        for path in set(paths) - held:
            parts = Path(path).parts
            above = {"/".join(parts[:n]) for n in range(1, len(parts) + 1)}
            assert above & named, path
