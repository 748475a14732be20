"""A method that finds people itself: nobody detects for it, and its people have tracks all the same."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner

import tps_pipeline
from tests.predict.untrained import make_store
from tests.video.clips import write_clip
from tps_pipeline import recipe, tables
from tps_pipeline.cli.app import app
from tps_pipeline.drawing.video import own_people, with_tracks
from tps_pipeline.predict.following import Following

pytestmark = pytest.mark.whole

KEYS = ["frame", "person", "part"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One in which the action is named by what sees pictures."""
    members = yaml.safe_load((recipe.RECIPES / "bench.yaml").read_text())["video_action"]["members"]
    return make_store(tmp_path_factory.mktemp("store"), methods=["end_to_end"], video_action={"members": members})


def test_no_detector_is_read_nor_put_in_a_bundle(store: Path, tmp_path: Path):
    clip = write_clip(tmp_path / "a.mp4", 13)
    networks = tps_pipeline.load(store, method="end_to_end").bundle(tmp_path / "a.tps")
    assert {network.name for network in networks} == {"checkpoints/end_to_end", "checkpoints/video_action"}
    found = tps_pipeline.load(tmp_path / "a.tps")(clip)
    assert found.detections.num_rows == 0
    rows = found.to_pandas()
    assert len(rows) > 0
    assert rows.track_id.notna().all()
    assert {person["track"] for frame in found.to_dict(min_score=0)["frames"] for person in frame["people"]} == {
        *rows.track_id
    }
    found.draw(tmp_path / "drawn.mp4", min_score=0)
    assert (tmp_path / "drawn.mp4").is_file()


def test_what_a_stream_says_does_not_depend_on_what_follows(store: Path, tmp_path: Path):
    clip = write_clip(tmp_path / "a.mp4", 48)
    parser = tps_pipeline.load(store, method="end_to_end")
    short, long = (
        pd.concat([frame.people for frame in parser.stream(clip, window=window)])
        .sort_values(KEYS)
        .reset_index(drop=True)
        for window in (20, 40)
    )
    assert sorted({*short.frame}) == list(range(1, 48, 5))
    assert short.drop(columns="state_scores").equals(long.drop(columns="state_scores"))
    assert short.track_id.notna().all()
    assert not short.duplicated(["frame", "track_id", "part"]).any()


def test_who_is_followed_stays_who_it_is_when_frames_are_forgotten():
    def seen(*frames: int) -> pa.Table:
        box = {"x1": 1, "y1": 1, "x2": 5, "y2": 5, "person_x1": 10, "person_y1": 10, "person_x2": 40, "person_y2": 90}
        row = {"video_id": "a", "part": "head", "part_score": 0.5, "person": 0, "person_score": 0.9, **box}
        return tables.conform(pd.DataFrame([{**row, "frame": frame} for frame in frames]), tables.DETECTIONS)

    following = Following(5)
    following.link(seen(1, 6), start=0)
    following.forget(5)
    following.link(seen(6, 11), start=5)
    assert following.tracks.select(["frame", "track_id"]).to_pydict() == {"frame": [1, 6, 11], "track_id": [0, 0, 0]}
    assert following.detections["frame"].to_pylist() == [1, 6, 11]


@pytest.mark.slow
def test_the_network_is_onnx_too(store: Path, tmp_path: Path):
    pytest.importorskip("onnxruntime")
    clip = write_clip(tmp_path / "a.mp4", 6)
    there, here = (tps_pipeline.load(store, method="end_to_end", runtime=each)(clip) for each in ("onnx", "torch"))
    assert there.predictions["person_score"].to_numpy() == pytest.approx(
        here.predictions["person_score"].to_numpy(), abs=1e-4
    )
    out = tmp_path / "network.onnx"
    done = CliRunner().invoke(
        app, ["weights", "export", "end_to_end", "--to", "onnx", "--store", str(store), "--out", str(out)]
    )
    assert (done.exit_code, out.is_file()) == (0, True), done.output


def test_whose_people_are_detected_ones_is_told_by_their_boxes():
    box = {"person_x1": 1, "person_y1": 2, "person_x2": 30, "person_y2": 40}
    people = pd.DataFrame(
        [{"frame": 1 + at, "person": 0, "person_score": 0.9, **box, "person_x1": at} for at in range(4)]
    )
    tracks = people[["frame", "person"]].assign(track_id=7)
    assert with_tracks(people, people, tracks).track_id.tolist() == [7] * 4
    others = people.assign(person_y2=people.person_y2 + (people.frame > 1))  # one is a detected person's by chance
    assert own_people(others, people)
    assert not own_people(people[:0], people)
    assert with_tracks(others, people, tracks).track_id.tolist() == [0] * 4
