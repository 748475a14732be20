"""Files with something wrong: what can be decoded is used, what cannot is named, the same everywhere."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tests.data.layouts import FRAME, write_frames
from tests.video.clips import write_clip
from tests.video.damage import (
    FRAMES,
    avi_count,
    blank,
    blank_half,
    boxed,
    concatenated,
    cut,
    edit,
    empty_sample,
    filler,
    joined,
    whole,
    without,
    without_transport_packet,
)
from tps_pipeline import checks, recipe, tables
from tps_pipeline.cli.app import app
from tps_pipeline.data.kinetics_tps import read_all
from tps_pipeline.data.shards import Known, ingest, probe_videos
from tps_pipeline.data.validation import validate
from tps_pipeline.drawing.video import Layer, write_video
from tps_pipeline.video.decode import read_frames
from tps_pipeline.video.frames import FrameFile, extract, sampled_frames, wanted_frames
from tps_pipeline.video.probe import Probe, probe

FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}


class Example(NamedTuple):
    """A file, how many frames it has, and what must be said of it."""

    make: Callable[[Path], None]
    n_frames: range
    says: str


def just(count: int) -> range:
    return range(count, count + 1)


SOME = range(2, FRAMES)
"""How many frames are left depends on the encoder."""

DAMAGED = {
    "blank.mp4": Example(edit(blank, 25), just(50), r"1 of 50 frames cannot be decoded \(26\)"),
    "blank_key.mp4": Example(edit(blank, 24), just(50), r"of 50 frames cannot be decoded \(25-"),
    "blank_first.mp4": Example(edit(blank, 0), just(50), r"of 50 frames cannot be decoded \(1-"),
    "blank_last.mp4": Example(edit(blank, 49), just(50), r"1 of 50 frames cannot be decoded \(50\)"),
    "blank_two.mp4": Example(edit(blank, 10, 40), just(50), r"of 50 frames cannot be decoded \(11, 41\)"),
    "blank_half.mp4": Example(edit(blank_half, 25), just(50), r"1 of 50 frames cannot be decoded \(26\)"),
    "blank.mkv": Example(edit(blank, 25), SOME, "is damaged within"),
    "blank.ts": Example(edit(blank, 25), SOME, "is damaged within"),
    "filler.mp4": Example(edit(filler, 25), just(50), r"1 of 50 frames cannot be decoded \(26\)"),
    "filler_key.mp4": Example(edit(filler, 24), just(50), r"of 50 frames cannot be decoded \(25-"),
    "filler_first.mp4": Example(edit(filler, 0), just(50), r"of 50 frames cannot be decoded \(1-"),
    "empty.mp4": Example(empty_sample, just(49), "1 of 50 frames is empty"),
    "lost.mp4": Example(without(24), just(49), r"of 49 frames cannot be decoded \(25-"),
    "lost.mkv": Example(without(24), just(49), r"of 49 frames cannot be decoded \(25-"),
    "lost.ts": Example(without(24), SOME, "of 49 frames cannot be decoded"),
    "lost_first.mkv": Example(without(0), SOME, "frames cannot be decoded"),
    "lost_188_bytes.ts": Example(without_transport_packet(70), just(50), "1 of 50 frames is decoded with errors"),
    "lost_others.ts": Example(without_transport_packet(100), just(50), "1 of 50 frames is decoded with errors"),
    "joined_amid.mkv": Example(joined(range(5, 20), range(5, 50)), range(45, 60), "of 60 frames cannot be decoded"),
    "joined_sizes.mp4": Example(joined(range(25), range(25), sizes=(64, 48)), just(50), "are decoded with errors"),
    "cut.mp4": Example(cut(0.6, mux={"movflags": "faststart"}), SOME, r"breaks off after \d+ of 50 frames"),
    "cut_fragments.mp4": Example(cut(0.6, mux=FRAGMENTS), SOME, "is cut off"),
    "cut.mkv": Example(cut(0.6), SOME, "is cut off"),
    "cut_late.mkv": Example(cut(0.97), range(2, 51), "is cut off"),
    "cut.webm": Example(cut(0.6, codec="libvpx-vp9"), SOME, "is cut off"),
    "cut.ts": Example(cut(0.6013), SOME, "is cut off"),
    "cut.M2TS": Example(cut(0.6013, mux={"mpegts_m2ts_mode": "1"}), SOME, "is cut off"),
    "cut.FLV": Example(cut(0.6), SOME, "is cut off"),
    "cut.wmv": Example(cut(0.6, codec="msmpeg4v3"), SOME, "is cut off"),
    "cut.avi": Example(cut(0.6, codec="mpeg4"), SOME, "is cut off"),
    "cut.mpg": Example(cut(0.6, codec="mpeg2video"), SOME, "is cut off"),
    "cut.ogv": Example(cut(0.6, codec="libvpx"), SOME, "is cut off"),
}
"""Files of which a part can be read."""

SOUND = {
    "cat.ts": concatenated(25, 25),
    "cat_three.ts": concatenated(20, 1, 29),
    "cat.mts": concatenated(30, 20),
    "joined.mp4": joined(range(25), range(25)),
    "joined.mkv": joined(range(12), range(38)),
    "joined.ts": joined(range(25), range(25)),
    "one_too_many.avi": avi_count(51),
    "nine_too_many.avi": avi_count(59),
    "too_few.avi": avi_count(41),
    "no_count.avi": avi_count(0),
    "count.avi": avi_count(2**32 - 1),
    "rate_0.avi": boxed(b"strh", 28, bytes(4), codec="mpeg4"),
    "rate_infinite.avi": boxed(b"strh", 24, bytes(4), codec="mpeg4"),
    "rate.avi": boxed(b"strh", 28, b"\xff" * 4, codec="mpeg4"),
    "scale.avi": boxed(b"strh", 24, b"\xff" * 4, codec="mpeg4"),
    "size_0.avi": boxed(b"strf", 8, bytes(8), codec="mpeg4"),
    "size.avi": boxed(b"strf", 8, struct.pack("<ii", 100_000, 100_000), codec="mpeg4"),
    "size_0.mp4": boxed(b"tkhd", 76, bytes(8)),
    "size.mp4": boxed(b"avc1", 24, b"\xff" * 4),
    "timescale_1.mp4": boxed(b"mdhd", 12, struct.pack(">I", 1)),
    "timescale_0.mp4": boxed(b"mdhd", 12, bytes(4)),
    "timescale.mp4": boxed(b"mdhd", 12, b"\xff" * 4),
    "frame_of_days.mp4": boxed(b"stts", 12, struct.pack(">I", 2**31 - 1)),
    "years.mp4": boxed(b"mvhd", 16, b"\x7f" * 4),
    "years_of_pictures.mp4": boxed(b"mdhd", 16, b"\xff\xff\xff\xfe"),
    "whole.FLV": whole(),
    "whole.wmv": whole(codec="msmpeg4v3"),
    "whole.3gp": whole(),
    "whole.ogv": whole(codec="libvpx"),
    "whole.m2ts": whole(mux={"mpegts_m2ts_mode": "1"}),
    "whole.mkv": whole(),
    "whole.webm": whole(codec="libvpx-vp9"),
    "whole_fragments.mp4": whole(mux=FRAGMENTS),
    "live.webm": whole(codec="libvpx-vp9", mux={"live": "1"}),
    "whole.mpg": whole(codec="mpeg2video"),
    "whole.MTS": whole(),
}
"""Files that are whole, whatever their headers say."""


LABELLED: dict[int, object] = dict.fromkeys(range(1, FRAMES + 1, 5), FRAME)


def file_of(name: str) -> str:
    """An example's file: its name says the container, too, as that without its extension is the video's id."""
    return name.replace(".", "_").lower() + Path(name).suffix


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with each example as a test video."""
    folder = tmp_path_factory.mktemp("tested") / "test_videos"
    folder.mkdir()
    for name, make in ({name: example.make for name, example in DAMAGED.items()} | SOUND).items():
        make(folder / file_of(name))
    return folder.parent


@pytest.fixture(scope="module")
def trained(tested: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with each as a training video, every fifth frame labelled."""
    data = tmp_path_factory.mktemp("trained")
    (data / "train_videos" / "lunge").mkdir(parents=True)
    for path in (tested / "test_videos").iterdir():
        (data / "train_videos" / "lunge" / path.name).hardlink_to(path)
        write_frames(data / "train_annotations" / "lunge" / path.stem, LABELLED)
    return data


@pytest.fixture(scope="module")
def probes(tested: Path) -> dict[str, Probe]:
    return {name: probe(tested / "test_videos" / file_of(name)) for name in [*DAMAGED, *SOUND]}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_missing_is_named_and_counted(probes: dict[str, Probe], name: str):
    facts = probes[name]
    assert facts.status == "ok"
    assert facts.n_frames in DAMAGED[name].n_frames
    assert re.search(DAMAGED[name].says, facts.error or "")
    assert file_of(name) in (facts.error or "")


@pytest.mark.parametrize("name", SOUND)
def test_nothing_is_said_of_a_whole_file_whatever_its_header_says(probes: dict[str, Probe], name: str):
    facts = probes[name]
    assert (facts.status, facts.error, facts.n_frames, facts.undecodable) == ("ok", None, FRAMES, ())
    assert (facts.width, facts.height, facts.rotation) == (96, 64, 0)
    assert 0 <= facts.fps <= 1000


@pytest.mark.parametrize("name", [*DAMAGED, *SOUND])
def test_all_that_decodes_is_read_under_the_same_numbers_however_it_is_read(
    tested: Path, probes: dict[str, Probe], name: str
):
    path, facts = tested / "test_videos" / file_of(name), probes[name]
    decodable = [index for index in range(facts.n_frames) if index + 1 not in facts.undecodable]
    every = dict(read_frames(path))
    assert list(every) == decodable
    for stride in (3, 5):
        some = dict(read_frames(path, range(0, facts.n_frames, stride)))
        assert list(some) == [index for index in decodable if index % stride == 0]
        assert all(np.array_equal(picture, every[index]) for index, picture in some.items())
    numbers = range(0, facts.n_frames, 5)
    assert [index for index, _ in read_frames(path, numbers, nearest=True)] == list(numbers)


def test_the_nearest_picture_stands_in(tmp_path: Path):
    edit(blank, 24)(tmp_path / "clip.mp4")
    every, gone = dict(read_frames(tmp_path / "clip.mp4")), set(probe(tmp_path / "clip.mp4").undecodable)
    filled = dict(read_frames(tmp_path / "clip.mp4", nearest=True))
    assert list(filled) == list(range(FRAMES))
    assert len(gone) > 1
    for number in gone:
        nearest = min(every, key=lambda index: (abs(index + 1 - number), index))
        np.testing.assert_array_equal(filled[number - 1], every[nearest])


def steps(data: Path) -> tuple[pa.Table, dict[str, list[int]], dict[str, str]]:
    """What a run makes of a data folder: its table of videos, the frames of each, and what extraction says."""
    manifest = pa.concat_tables(ingest(data, Known(), recipe.Shards()).shards.values())
    videos, settings = probe_videos(data, manifest), recipe.Frames()
    train = videos["split"].to_pylist()[0] != "test"
    videos = videos.set_column(1, "split", pa.array(["train" if train else "test"] * len(videos)))
    wanted = wanted_frames(videos, read_all(data).labelled_frames, settings, data=data)
    said = extract(wanted, data / "frames.arrow", nearest=not train)
    frames = FrameFile(data / "frames.arrow")
    if not train:
        assert checks.missing_frames(videos, frames.index, settings.sample_stride) == []
    return videos, {video: frames.numbers(video) for video in map(str, videos["video_id"].to_pylist())}, dict(said)


def test_a_run_and_validate_say_the_same_of_test_videos(tested: Path, probes: dict[str, Probe]):
    videos, frames, said = steps(tested)
    named = {Path(p.path).name for p in validate(tested) if "is damaged" in p.what or "is unreadable" in p.what}
    assert named == {Path(row["path"]).name for row in videos.to_pylist() if row["error"]}
    assert named == {file_of(name) for name in DAMAGED}
    assert said == {}
    for name, facts in probes.items():
        assert frames[Path(file_of(name)).stem] == sampled_frames(facts.n_frames).tolist()


def test_a_run_leaves_out_the_training_frames_that_validate_names(trained: Path):
    videos, frames, said = steps(trained)
    named: dict[str, set[int]] = {}
    for problem in validate(trained):
        if found := re.search(r"frame (\d+) is labelled", problem.what):
            named.setdefault(Path(problem.path).stem, set()).add(int(found[1]))
    left_out = {video: LABELLED.keys() - set(numbers) for video, numbers in frames.items()}
    assert named == {video: numbers for video, numbers in left_out.items() if numbers}
    broken = {row["video_id"] for row in videos.to_pylist() if row["error"]}
    assert set(said) <= broken
    assert "frame 26" in said["blank_mp4"]


def test_export_writes_what_decodes_and_says_what_does_not(tested: Path, tmp_path: Path):
    source = tested / "test_videos" / file_of("blank.mp4")
    done = CliRunner().invoke(app, ["frames", "export", str(source), str(tmp_path)])
    assert done.exit_code == 0
    assert "1 of 50 frames cannot be decoded (26)" in done.output
    written = sorted(path.name for path in (tmp_path / "blank_mp4").iterdir())
    assert written == [f"img_{number:05}.jpg" for number in range(1, 51) if number != 26]


@pytest.mark.parametrize("name", ["blank_key.mp4", "joined_sizes.mp4", "cut.ts"])
def test_an_overlay_is_as_long_as_its_video(tested: Path, probes: dict[str, Probe], tmp_path: Path, name: str):
    layer = Layer(tables.empty(tables.PARTS).to_pandas())
    write_video(tested / "test_videos" / file_of(name), tmp_path / "drawn.mp4", layer, sampled=[1])
    assert probe(tmp_path / "drawn.mp4").n_frames == probes[name].n_frames


TURNS = {
    "as it is": (1, 0, 0, 1),
    "90": (0, 1, -1, 0),
    "180": (-1, 0, 0, -1),
    "270": (0, -1, 1, 0),
    "left and right": (-1, 0, 0, 1),
    "up and down": (1, 0, 0, -1),
    "diagonal": (0, 1, 1, 0),
    "other diagonal": (0, -1, -1, 0),
    "all zero": (0, 0, 0, 0),
    "no width": (0, 1, 0, 1),
    "one column": (1, 0, 1, 0),
}


@pytest.mark.parametrize("name", TURNS)
def test_display_matrices_are_applied_if_they_are_turns(tmp_path: Path, name: str):
    a, b, c, d = TURNS[name]
    path = write_clip(tmp_path / "clip.mp4", 3)
    plain = dict(read_frames(path))[1]
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 24] = struct.pack(">6i", *(value << 16 for value in (a, b, 0, c, d, 0)))
    path.write_bytes(data)
    expected = plain
    if a * d - b * c:
        y, x = np.mgrid[: plain.shape[0], : plain.shape[1]]
        to_x, to_y = a * x + c * y, b * x + d * y  # ISO 14496-12, 6.2.2
        expected = np.empty((np.ptp(to_y) + 1, np.ptp(to_x) + 1, 3), np.uint8)
        expected[to_y - to_y.min(), to_x - to_x.min()] = plain
    shown = dict(read_frames(path))[1]
    np.testing.assert_array_equal(shown, expected)
    facts = probe(path)
    assert (facts.height, facts.width) == shown.shape[:2]
    assert facts.error is None


def test_pictures_too_large_for_any_box_are_refused(tmp_path: Path):
    path = write_clip(tmp_path / "wide.mkv", 2, width=32_770, height=16, codec="ffv1")
    assert re.search("32770x16.* at most 32767", probe(path).error or "")
    assert probe(path).status == "unreadable"
