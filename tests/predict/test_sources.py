"""Awkward sources, one by one: each is done or told of in one clear line, and the video beside it is done."""

import json
import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import tps_pipeline
from tests.predict.untrained import make_store
from tests.video import damage
from tests.video.clips import picture, rotate, write_clip
from tps_pipeline.cli.app import app
from tps_pipeline.errors import VideoError
from tps_pipeline.predict.sources import find
from tps_pipeline.video.probe import probe

pytestmark = pytest.mark.whole

DONE = ""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store"), two_stage={"person_threshold": 0.0, "people_per_frame": 2})


def encoded(path: Path, pix_fmt: str, *, codec: str = "libx264", rate: int = 30, size: tuple[int, int] = (96, 64),
            frames: int = 8) -> None:  # fmt: skip
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        if codec == "libx264":
            stream.options = {"preset": "ultrafast"}
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.resize(picture(index), (size[1], size[0], 3)), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def grey(path: Path) -> None:
    Image.fromarray(picture(0)).save(path)


def written(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\ngood.mp4\n#EXT-X-ENDLIST\n"

CASES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no such file": ("nowhere.mp4", lambda path: None, "nowhere.mp4: is not there; see how it is written"),
    "a folder without videos": ("folder", Path.mkdir, "folder: no videos are in this folder"),
    "a picture": ("picture.jpg", grey, "picture.jpg: is a picture, not a video"),
    "a picture called .mp4": ("picture.mp4", lambda path: grey(path.with_suffix(".png")) or path.with_suffix(
        ".png").rename(path), "picture.mp4: is a picture, not a video"),
    "text": ("text.mp4", written(b"this is text\n" * 99), "text.mp4: FFmpeg cannot open it"),
    "zero bytes": ("empty.mp4", written(b""), "empty.mp4: FFmpeg cannot open it"),
    "truncated, its index gone": ("cut.mp4", damage.cut(0.6), "cut.mp4: FFmpeg cannot open it"),
    "truncated, its index there": ("cut.mkv", damage.cut(0.6), DONE),
    "sound alone": ("sound.mp4", sound, "sound.mp4: there are no pictures in it"),
    "one frame": ("one.mp4", lambda path: write_clip(path, 1), DONE),
    "8K": ("large.mp4", lambda path: encoded(path, "yuv420p", size=(7680, 4320), frames=1), DONE),
    "240 frames a second": ("fast.mp4", lambda path: encoded(path, "yuv420p", rate=240), DONE),
    "a varying rate": ("vfr.mp4", lambda path: write_clip(path, 6, times=[0, 10, 50, 400, 410, 900]), DONE),
    "turned": ("turned.mp4", lambda path: rotate(write_clip(path, 6), 90), DONE),
    "10 bits": ("deep.mp4", lambda path: encoded(path, "yuv420p10le"), DONE),
    "alpha": ("alpha.mov", lambda path: encoded(path, "argb", codec="qtrle"), DONE),
    "an odd name": ("Über & [so] #1 100% 'ok'.mp4", lambda path: write_clip(path, 6), DONE),
    "a name that is no text": ("caf\udce9.mp4", lambda path: write_clip(path.with_name("x.mp4"), 6).rename(path),
        "has a name that is not UTF-8; rename it"),
    "unreadable": ("locked.mp4", lambda path: path.symlink_to("/proc/self/mem"), "locked.mp4 cannot be read now ("),
    "a link to nowhere": ("link.mp4", lambda path: path.symlink_to("gone"), "link.mp4 cannot be read now (No such"),
    "a pipe": ("pipe.mp4", os.mkfifo, "pipe.mp4: is no file; save it to a file first"),
    "a playlist": ("list.m3u8", written(PLAYLIST), "list.m3u8: FFmpeg cannot open it"),
    "a playlist called .mp4": ("list.mp4", written(PLAYLIST), "list.mp4: FFmpeg cannot open it"),
    "an address": ("http://127.0.0.1:9/a.mp4", lambda path: None,
        "http://127.0.0.1:9/a.mp4: is a network address, and none is opened unless --allow-network is given"),
    "a pattern that fits nothing": ("*.avi", lambda path: None, "*.avi: no file is called so"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "good.mp4", 2)
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_it_is_done_or_told_of_in_one_line_and_the_other_is_done(case: str, store: Path, here: Path):
    name, make, said = CASES[case]
    make(here / name if "://" not in name else here)
    done = predict(name, "good.mp4", store=store)
    failures = [line for line in done.stderr.splitlines() if line.startswith("tps: ")]
    assert (done.exit_code, len(failures)) == ((1, 1) if said else (0, 0)), done.stderr
    assert all(said in line for line in failures)
    assert "Traceback" not in done.stderr
    made = {path.name for path in (here / "predictions").iterdir()}
    wanted = {"good.mp4"} if said else {"good.mp4", name}
    assert made == {f"{Path(each).stem}_video_category.json" for each in wanted}


def predict(*arguments: str, store: Path, save: str = "json"):
    fixed = ["--store", str(store), "--method", "video_category", "--save", save]
    return CliRunner().invoke(app, ["predict", *arguments, *fixed])


@pytest.mark.parametrize(("threshold", "most", "people"), [(1.0, 5, 0), (0.0, 200, 200)])
@pytest.mark.parametrize("method", ["part_trajectory", "by_category"])
def test_with_nobody_in_it_or_two_hundred(threshold: float, most: int, people: int, method: str, tmp_path: Path):
    crowded = {"person_threshold": threshold, "people_per_frame": most, "person_iou": 0.99}
    store = make_store(tmp_path / "store", two_stage=crowded)
    found = tps_pipeline.load(store, method=method)("good.mp4")
    (frame,) = json.loads(found.to_json(min_score=0))["frames"]
    assert len(frame["people"]) == people
    assert bool(found.people(min_score=0)) == bool(people)
    found.draw("drawn.mp4", min_score=0 if people == 0 else 1)
    assert probe("drawn.mp4").n_frames == 2


def test_folders_and_patterns_are_the_videos_in_them_each_once(here: Path):
    (here / "more" / "deep").mkdir(parents=True)
    for name in ("more/b.mp4", "more/deep/a.MKV", "more/.hidden.mp4", "more/notes.txt", "more/[1].mp4"):
        (here / name).touch()
    named = ["more", "more/*.mp4", "good.mp4", "more/[1].mp4", "2"]
    found = ["more/[1].mp4", "more/b.mp4", "more/deep/a.MKV", "good.mp4"]
    assert [*find(named)] == [*map(Path, found), 2]


def test_an_address_is_one_only_where_that_is_allowed():
    assert [*find(["rtsp://camera/1"], allow_network=True)] == ["rtsp://camera/1"]
    (refused,) = find(["rtsp://camera/1"])
    assert isinstance(refused, VideoError)


def test_the_table_names_each_video_that_is_done_and_json_the_others_too(store: Path, here: Path):
    write_clip(here / "more.mp4", 31)
    (here / "sub").mkdir()
    write_clip(here / "sub" / "good.mp4", 4)
    done = predict("good.mp4", "nowhere.mp4", "sub/good.mp4", "more.mp4", "--json", store=store)
    refused, *rows = json.loads(done.stdout)
    assert "nowhere.mp4: is not there" in refused["error"]
    assert [row["files"] for row in rows] == [
        [f"predictions/{name}.json"] for name in ("good_video_category", "good_video_category_2", "more_video_category")
    ]
    assert [row["seconds"] for row in rows] == pytest.approx([2 / 30, 4 / 30, 31 / 30])
    shown = predict("more.mp4", store=store).stdout
    assert re.search(r"more\.mp4 +1\.033 +\d+ +pu\w+ +0\.\d+ +[\d.]+", shown)


def test_what_is_read_is_not_written_over(store: Path, here: Path):
    (here / "good.mp4").rename("a_video_category.mp4")
    write_clip(here / "a.mp4", 2)
    before = (here / "a_video_category.mp4").read_bytes()
    done = predict("a.mp4", "a_video_category.mp4", "--out", ".", store=store, save="mp4")
    assert (here / "a_video_category.mp4").read_bytes() == before
    assert "a.mp4: its MP4 would be written over a_video_category.mp4" in done.stderr


def test_a_file_that_cannot_be_written_is_one_line_and_the_others_are_done(store: Path, here: Path):
    write_clip(here / "more.mp4", 2)
    (here / "predictions" / "good_video_category.csv" / "full").mkdir(parents=True)
    done = predict("good.mp4", "more.mp4", store=store, save="json,csv")
    assert done.exit_code == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("tps: ")]
    assert line == ("tps: predictions/good_video_category.csv cannot be written (Is a directory); name another --out")
    assert (here / "predictions" / "more_video_category.csv").is_file()


@pytest.mark.parametrize(("save", "said"), [("gif", "gif: there are json, csv"), (",", "nothing: there are json")])
def test_what_cannot_be_saved_is_wrong_usage(save: str, said: str, store: Path):
    done = predict("good.mp4", store=store, save=save)
    assert done.exit_code == 2
    assert said in done.stderr
