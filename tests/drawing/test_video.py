"""Whole videos with boxes drawn on them, and `tps overlay`, which finds what to draw in a store."""

import shutil
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tests.drawing.people import rows, share
from tests.video.clips import HEIGHT, rotate, write_clip
from tps_pipeline import tables
from tps_pipeline.cli.app import app
from tps_pipeline.drawing.frame import LEFT, RIGHT
from tps_pipeline.drawing.video import Layer, predicted, with_tracks, write_video
from tps_pipeline.errors import UnreachableError
from tps_pipeline.store import Store
from tps_pipeline.video.decode import read_frames
from tps_pipeline.video.frames import extract
from tps_pipeline.video.probe import probe

pytestmark = pytest.mark.whole

SAMPLED = (1, 6, 11, 16)
VIDEO = "abc_000001_000011"
ARM = {"left_arm": (10, 20, 40, 50)}
IN_FRAME = {"x1": 10, "y1": 20, "x2": 60, "y2": 60}


@pytest.mark.parametrize("degrees", [0, 90])
def test_video_plays_in_browsers_and_shows_the_nearest_sampled_frame(tmp_path: Path, degrees: int):
    source = write_clip(tmp_path / "in.mp4", 20, width=98, height=64)
    if degrees:
        rotate(source, degrees)
    table = pd.concat([rows(ARM, frame=frame) for frame in (1, 11)])
    write_video(source, tmp_path / "out.mp4", Layer(table, action="push_car"), sampled=SAMPLED)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 30
    assert probe(tmp_path / "out.mp4").n_frames == 20
    orange = [share(image, LEFT) for _, image in read_frames(tmp_path / "out.mp4")]
    shown = [frame for frame, value in enumerate(orange, start=1) if value > 1.5 * min(orange)]
    assert shown == [1, 2, 3, 9, 10, 11, 12, 13]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_unreadable_video_is_named(tmp_path: Path):
    with pytest.raises(UnreachableError, match=r"gone\.mp4 cannot be read now"):
        write_video(tmp_path / "gone.mp4", tmp_path / "out.mp4", Layer(rows()), sampled=SAMPLED)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one video, and a store in which a method and an ensemble have parsed it."""
    folder = tmp_path_factory.mktemp("overlay")
    (folder / "data").mkdir()
    clip = write_clip(folder / "data" / "clip.mp4", 20)
    store = Store(folder / "store")
    keys = pd.DataFrame({"video_id": VIDEO, "frame": SAMPLED, "person": 0})
    facts = {"video_id": [VIDEO], "split": ["val"], "action": ["lunge"], "path": ["clip.mp4"], "n_frames": [20],
             "fps": [30.0], "width": [96], "height": [HEIGHT], "rotation": [0], "sha256": ["0"], "status": ["ok"],
             "error": [None]}  # fmt: skip
    guess = {"video_id": [VIDEO], "action": ["push_car"], "score": [0.9], "probabilities": [{}]}
    write = {
        "videos": tables.conform(facts, tables.VIDEOS),
        "video_actions": tables.conform(guess, tables.VIDEO_ACTIONS),
        "annotations/actions": tables.conform({"video_id": [VIDEO], "action": ["lunge"]}, tables.ACTIONS),
        "annotations/people": tables.conform(keys.assign(**IN_FRAME), tables.PEOPLE),
        "annotations/parts": tables.conform(keys.assign(part="left_arm", state="bend", **IN_FRAME), tables.PARTS),
        "predictions/video_category": predictions(keys, "right_arm"),
        "ensemble/voting": predictions(keys, "left_arm"),
        "detections/two_stage": tables.conform(predictions(keys.assign(person=5), "left_arm"), tables.DETECTIONS),
        "tracks": tables.conform(keys.assign(person=5, track_id=3), tables.TRACKS),
    }
    for asset, table in write.items():
        store.write(f"{asset}/val-000.parquet", table)
    train = tables.conform(facts | {"video_id": ["only_train"], "split": ["train"]}, tables.VIDEOS)
    store.write("videos/train-000.parquet", train)
    assert extract([(VIDEO, clip, SAMPLED)], folder / "store" / "frames" / "val-000.arrow") == []
    return folder


def predictions(keys: pd.DataFrame, part: str, person_score: float = 0.9) -> pa.Table:
    scores = {"person_score": person_score, "part_score": 0.9, "state": "bend", "state_score": 0.9}
    person = {f"person_{name}": value for name, value in IN_FRAME.items()}
    made = keys.assign(part=part, **scores, **person, **IN_FRAME)
    made["state_scores"] = pd.Series([{}] * len(made))
    return tables.conform(made, tables.PREDICTIONS)


def overlay(folder: Path, *arguments: str):
    shared = ["--store", str(folder / "store"), "--data", str(folder / "data"), "--out", str(folder / "out.mp4")]
    return CliRunner().invoke(app, ["overlay", *arguments, *shared])


@pytest.mark.parametrize(("method", "drawn", "other"), [("video_category", RIGHT, LEFT), ("voting", LEFT, RIGHT)])
def test_overlay_draws_a_method_or_an_ensemble(
    folder: Path, method: str, drawn: tuple[int, int, int], other: tuple[int, int, int]
):
    done = overlay(folder, VIDEO, "--method", method)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(folder / "out.mp4")
    pictures = [picture[30:] for _, picture in read_frames(folder / "out.mp4")]
    assert len(pictures) == 20
    assert all(share(picture, drawn) > 1.5 * share(picture, other) for picture in pictures)


def test_overlay_shows_the_annotation_at_the_left(folder: Path):
    assert overlay(folder, VIDEO, "--method", "video_category", "--truth").exit_code == 0
    _, picture = next(read_frames(folder / "out.mp4"))
    left, right = np.array_split(picture[30:], 2, axis=1)
    assert share(left, LEFT) > share(right, LEFT)
    assert share(right, RIGHT) > share(left, RIGHT)


@pytest.mark.parametrize(
    ("options", "drawn"), [([], False), (["--min-score", "0.15"], True), (["--min-score", "0.25"], False)]
)
def test_overlay_leaves_out_whom_it_is_told_to(folder: Path, tmp_path: Path, options: list[str], drawn: bool):
    folder = shutil.copytree(folder, tmp_path / "copy")
    keys = pd.DataFrame({"video_id": VIDEO, "frame": SAMPLED, "person": 0})
    Store(folder / "store").write("predictions/faint/val-000.parquet", predictions(keys, "left_arm", person_score=0.2))
    assert overlay(folder, VIDEO, "--method", "faint", *options).exit_code == 0
    _, picture = next(read_frames(folder / "out.mp4"))
    assert (share(picture[30:], LEFT) > 0.005) is drawn


@pytest.mark.parametrize("score", ["-0.1", "1.5", "much"])
def test_overlay_refuses_what_is_no_score(folder: Path, score: str):
    assert overlay(folder, VIDEO, "--method", "voting", "--min-score", score).exit_code == 2


def test_what_a_method_predicts_names_the_action_s_score_and_who_is_who():
    people = rows(ARM)
    moved = people.assign(person_x1=81)
    detections = pd.concat([people.assign(person=5), people.assign(frame=6, person=2)])
    tracks = pd.DataFrame({"frame": [1, 6], "person": [5, 2], "track_id": [3, 4]})
    action = pd.DataFrame({"action": ["push_car"], "score": [0.8765]})
    shown = predicted(
        pd.concat([people, moved, people.assign(frame=6)]).assign(person_score=0.9),
        action,
        by="voting",
        detections=detections,
        tracks=tracks,
    )
    assert shown.action == "voting: push_car 0.88"
    assert shown.parts["track_id"].fillna(-1).tolist() == [3, -1, 4]  # another box is another person
    nobody = predicted(
        people.assign(person_score=0.2), action.iloc[:0], by="voting", detections=detections, tracks=tracks
    )
    assert (nobody.action, len(nobody.parts)) == ("voting: no action", 0)


def test_two_people_in_one_box_are_two():
    person = rows(ARM)
    detections = pd.concat([person.assign(person=at) for at in (0, 1, 2)])
    tracks = pd.DataFrame({"frame": 1, "person": [0, 1, 2], "track_id": [7, 8, 9]})
    found = pd.concat([person.assign(person=at) for at in (1, 0)])  # a method that has left the faintest one out
    assert with_tracks(found, detections, tracks)[["person", "track_id"]].to_numpy().tolist() == [[1, 8], [0, 7]]


@pytest.mark.parametrize(
    ("video", "method", "message"),
    [
        ("abc_000001_000012", "voting", f"nearest of 2 is {VIDEO}"),
        (VIDEO, "vote", "some by video_category, voting"),
        ("only_train", "voting", "materialize ensemble/voting"),
    ],
)
def test_overlay_says_what_it_does_not_find(folder: Path, video: str, method: str, message: str):
    done = overlay(folder, video, "--method", method)
    assert done.exit_code == 1
    assert message in " ".join(done.stderr.split())


def test_overlay_names_a_video_that_is_not_in_the_data_folder(folder: Path, tmp_path: Path):
    (tmp_path / "store").symlink_to(folder / "store")
    (tmp_path / "data").mkdir()
    done = overlay(tmp_path, VIDEO, "--method", "voting")
    assert done.exit_code == 1
    assert "clip.mp4 is not there" in " ".join(done.stderr.split())
