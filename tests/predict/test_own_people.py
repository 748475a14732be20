"""A method that finds people itself: nobody detects for it, and its people have tracks all the same."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import tps_pipeline
from tests.predict.untrained import make_store
from tests.video.clips import write_clip
from tps_pipeline import recipe
from tps_pipeline.cli.app import app
from tps_pipeline.drawing.video import own_people, with_tracks

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
    assert {network.name for network in networks} == {"end_to_end", "video_action"}
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


def test_a_stream_finds_whom_a_whole_file_has_and_keeps_their_tracks(store: Path, tmp_path: Path):
    clip = write_clip(tmp_path / "a.mp4", 48)
    parser = tps_pipeline.load(store, method="end_to_end")
    whole, frames = parser(clip), list(parser.stream(clip, window=20))
    assert [frame.frame for frame in frames] == list(whole.frames)
    told, once = (
        rows.sort_values(KEYS).reset_index(drop=True)
        for rows in (pd.concat([frame.people for frame in frames]), whole.to_pandas())
    )
    assert (
        told[[*KEYS, "person_x1", "track_id"]].to_numpy().tolist()
        == once[[*KEYS, "person_x1", "track_id"]].to_numpy().tolist()
    )
    assert told.person_score.to_numpy() == pytest.approx(once.person_score.to_numpy(), abs=1e-5)
    assert told.state.astype(str).tolist() == once.state.astype(str).tolist()


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
