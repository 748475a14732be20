"""The sliding form: whom it detects are those of a whole file, and no source has to end or to fit in memory."""

import gc
import itertools
import json
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import tps_pipeline
from tests.predict.untrained import ACTIONS, make_store
from tests.video.clips import picture, write_clip
from tps_pipeline.cli.app import app
from tps_pipeline.errors import VideoError
from tps_pipeline.predict.live import Live
from tps_pipeline.predict.saving import save_stream
from tps_pipeline.video.probe import probe

pytestmark = pytest.mark.whole

KEYS = ["frame", "person", "part"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    crowded = {"person_threshold": 0.0, "people_per_frame": 3}
    return make_store(tmp_path_factory.mktemp("store"), two_stage=crowded)


def moving(count: Iterable[int]) -> Iterator[np.ndarray]:
    return (picture(index) for index in count)


@pytest.mark.parametrize("method", ["video_category", "part_trajectory", "voting"])
def test_a_stream_finds_whom_a_whole_file_has_and_keeps_their_tracks(method: str, store: Path, tmp_path: Path):
    clip = write_clip(tmp_path / "a.mp4", 48)
    parser = tps_pipeline.load(store, method=method)
    whole, frames = parser(clip), list(parser.stream(clip, window=20))
    assert [frame.frame for frame in frames] == list(whole.frames)
    assert [frame.seconds for frame in frames] == pytest.approx(whole.seconds)
    assert {frame.action for frame in frames} <= set(ACTIONS)
    told, once = (
        rows.sort_values(KEYS).reset_index(drop=True)
        for rows in (pd.concat([frame.people for frame in frames]), whole.to_pandas())
    )
    same = [*KEYS, "x1", "y1", "x2", "y2", "person_x1", "track_id"]
    assert told[same].to_numpy().tolist() == once[same].to_numpy().tolist()
    assert told.person_score.to_numpy() == pytest.approx(once.person_score.to_numpy(), abs=1e-5)


def test_in_one_window_a_stream_says_what_is_said_of_the_whole_file(store: Path, tmp_path: Path):
    clip = write_clip(tmp_path / "a.mp4", 20)
    parser = tps_pipeline.load(store, method="part_trajectory")
    whole, frames = parser(clip), list(parser.stream(clip, window=40))
    told = pd.concat([frame.people for frame in frames])
    assert told.state.astype(str).tolist() == whole.to_pandas().state.astype(str).tolist()
    assert frames[0].action == whole.action


def test_the_action_is_told_anew_when_the_whole_window_is_new(store: Path):
    parser = tps_pipeline.load(store, method="video_category", every=5)
    frames = parser.follow(Live("camera_0", 30.0, moving(range(60))), window=20)
    scores = [frame.action_score for frame in frames]
    halves = [scores[at] for at in range(0, 12, 2)]
    assert scores == [score for score in halves for _ in range(2)]
    assert halves[1] == halves[2] != halves[3] == halves[4] != halves[5]


def test_results_come_from_a_source_without_an_end_and_no_picture_is_kept(store: Path):
    parser, seen = tps_pipeline.load(store, method="video_category", every=4), list[weakref.ref[np.ndarray]]()

    class Picture(np.ndarray):
        """One that can be watched."""

    def coming() -> Iterator[np.ndarray]:
        for index in itertools.count():
            seen.append(weakref.ref(shown := picture(index).view(Picture)))
            yield shown

    going = parser.follow(Live("camera_0", 30.0, coming()), window=16)
    most, numbers = 0, []
    for frame in itertools.islice(going, 12):
        numbers.append(frame.frame)
        most = max(most, sum(each() is not None for each in seen))
    assert numbers == [1 + 4 * index for index in range(12)]
    assert 8 <= most <= 16 + 8


def test_a_stream_leaves_nothing_to_be_found_by_the_garbage_collector(store: Path):
    parser = tps_pipeline.load(store, method="part_trajectory", every=4)
    going = parser.follow(Live("camera_0", 30.0, moving(itertools.count())), window=16)
    deque(itertools.islice(going, 8), maxlen=0)
    gc.collect()
    gc.disable()
    try:
        deque(itertools.islice(going, 8), maxlen=0)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_camera_that_changes_its_size_goes_on(store: Path):
    pictures = [*moving(range(8)), *(picture(index, 128, 96) for index in range(8))]
    parser = tps_pipeline.load(store, every=4)
    frames = list(parser.follow(Live("camera_0", 30.0, iter(pictures)), window=8))
    assert [frame.picture.shape[:2] for frame in frames] == [(64, 96), (64, 96), (96, 128), (96, 128)]


def test_a_source_that_breaks_off_is_a_failure_and_leaves_what_was_found(store: Path, tmp_path: Path):
    def breaking() -> Iterator[np.ndarray]:
        yield from moving(range(8))
        raise VideoError("the camera broke off")

    parser = tps_pipeline.load(store, every=4)
    frames = parser.follow(Live("camera_0", 30.0, breaking()), window=8)
    with pytest.raises(VideoError, match="the camera broke off"):
        save_stream(frames, tmp_path / "out", ["json", "mp4"], rate=6)
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == probe(tmp_path / "out.mp4").n_frames == 2


def test_an_address_is_read_as_far_as_it_goes(store: Path, tmp_path: Path):
    content = bytearray(write_clip(tmp_path / "a.ts", 48).read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)

    class Sender(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if "whole" in self.path:
                self.send_header("Content-Length", f"{len(content)}")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Sender) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        parser = tps_pipeline.load(store, every=4)
        frames = list(parser.stream(f"{address}/whole.ts", allow_network=True, window=8))
        broken = parser.stream(f"{address}/cut.ts", allow_network=True, window=8)
        assert next(broken).frame == 1
        with pytest.raises(VideoError, match=r"cut\.ts: broke off \(Input/output error\)"):
            list(broken)
        server.shutdown()
    assert 4 <= len(frames) <= 12


def test_what_is_no_stream_is_said_before_anything_is_opened(store: Path):
    parser = tps_pipeline.load(store)
    with pytest.raises(VideoError, match=r"127\.0\.0\.1:9/x: is a network address"):
        next(parser.stream("http://127.0.0.1:9/x"))
    with pytest.raises(VideoError, match=r"127\.0\.0\.1:9/x: cannot be opened"):
        next(parser.stream("http://127.0.0.1:9/x", allow_network=True))
    with pytest.raises(VideoError, match="camera 99 cannot be opened; see that it is there"):
        next(parser.stream(99))


def test_without_a_display_nothing_is_shown_and_that_is_one_line(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    clip = str(write_clip(tmp_path / "a.mp4", 2))
    done = CliRunner().invoke(app, ["predict", clip, "--stream", "--show", "--store", str(store)])
    assert (done.exit_code, done.stderr) == (1, "tps: there is no display to show a window on; leave --show out\n")


def test_the_command_writes_a_line_a_frame_and_a_video(store: Path, tmp_path: Path):
    write_clip(tmp_path / "a.mp4", 33)
    fixed = ["--store", str(store), "--out", str(tmp_path), "--method", "part_trajectory", "--min-score", "0"]
    done = CliRunner().invoke(app, ["predict", str(tmp_path / "a.mp4"), "99", "--stream", "--json", *fixed])
    assert done.exit_code == 1
    followed, camera = json.loads(done.stdout)
    assert "camera 99 cannot be opened" in camera["error"]
    assert followed["seconds"] == pytest.approx(30 / 30)
    lines = [json.loads(line) for line in (tmp_path / "a_part_trajectory.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [1, 6, 11, 16, 21, 26, 31]
    assert {len(line["people"]) for line in lines} == {3}
    assert followed["people"] == len({person["track"] for line in lines for person in line["people"]})
    assert probe(tmp_path / "a_part_trajectory.mp4").n_frames == 7
    refused = CliRunner().invoke(app, ["predict", "99", "--save", "csv", *fixed])
    assert refused.exit_code == 2
    assert "csv: there are json, mp4" in refused.stderr


def test_streams_of_one_name_are_numbered_and_none_is_written_over_a_source(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    sources = ["a.mp4", "sub/a.mp4", "a_video_category.mp4"]
    for name in sources:
        write_clip(Path(name), 2)
    fixed = ["--store", str(store), "--method", "video_category", "--out", "."]
    done = CliRunner().invoke(app, ["predict", *sources, "--stream", "--json", *fixed])
    assert done.exit_code == 1
    refused, *rows = json.loads(done.stdout)
    assert refused["error"] == "a.mp4: its MP4 would be written over a_video_category.mp4; name another --out"
    stems = ["a_video_category_2", "a_video_category_video_category"]
    assert [row["files"] for row in rows] == [[f"{stem}.jsonl", f"{stem}.mp4"] for stem in stems]
    assert all(Path(file).is_file() for row in rows for file in row["files"])
