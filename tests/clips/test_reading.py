"""Clips from one pass: the same frames as naive indexing, never many held, broken and short videos."""

from __future__ import annotations

import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.video.clips import barcode, write_clip
from tps_pipeline.clips import reading as module
from tps_pipeline.clips.reading import ClipReader, Video, Windows, read_ahead, read_windows
from tps_pipeline.clips.sampling import dense_sample
from tps_pipeline.errors import UnreachableError, VideoError

FRAMES = 40


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    path = write_clip(tmp_path_factory.mktemp("clips") / "a.mp4", FRAMES)
    return path, np.stack([picture for _, picture in module.read_frames(path)])


def dense(key_frames: list[int], n_frames: int, *, length: int, interval: int, label: Any = "middle") -> np.ndarray:
    return np.stack([dense_sample(key, n_frames, length=length, interval=interval, label=label) for key in key_frames])


def shown(windows: Windows) -> np.ndarray:
    return windows.frames[windows.shown]


@settings(max_examples=40, deadline=None)
@given(
    key_frames=st.lists(st.integers(0, FRAMES - 1), min_size=1, max_size=12).map(sorted),
    length=st.integers(1, 50),
    interval=st.integers(1, 7),
    label=st.sampled_from(["start", "middle"]),
    batch=st.integers(1, 5),
)
def test_windows_show_what_naive_indexing_shows(
    whole: tuple[Path, np.ndarray],
    key_frames: list[int],
    length: int,
    interval: int,
    label: Literal["start", "middle"],
    batch: int,
) -> None:
    path, frames = whole
    indices = dense(key_frames, FRAMES, length=length, interval=interval, label=label)
    found = list(read_windows(path, indices, batch=batch))
    assert [len(windows.shown) for windows in found[:-1]] == [batch] * (len(found) - 1)
    assert np.array_equal(np.concatenate([shown(windows) for windows in found]), frames[indices])
    for windows in found:
        assert len(windows.frames) == len(np.unique(windows.shown))


def test_no_more_frames_are_held_than_later_clips_show(
    whole: tuple[Path, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = whole
    indices = dense(list(range(0, FRAMES, 5)), FRAMES, length=8, interval=1)
    read, alive = [], set()
    original = module.read_frames

    def counted(*arguments: Any, **options: Any):
        for at, picture in original(*arguments, **options):
            read.append(at)
            alive.add(at)
            weakref.finalize(picture, alive.remove, at)
            assert len(alive) <= 8 + 5  # two clips, the second five frames after the first
            yield at, picture

    monkeypatch.setattr(module, "read_frames", counted)
    for number, windows in enumerate(read_windows(path, indices, batch=2)):
        assert len(windows.frames) <= 8 + 5
        assert read[-1] == indices[2 * number : 2 * number + 2].max()  # nothing is decoded ahead
    assert read == sorted(set(read))  # nothing is decoded twice


def test_frames_are_scaled_and_in_order(whole: tuple[Path, np.ndarray]) -> None:
    path, _ = whole
    (windows,) = read_windows(path, np.arange(FRAMES)[None], batch=3, size=(48, 40))
    assert windows.frames.shape == (FRAMES, 40, 48, 3)
    (unscaled,) = read_windows(path, np.arange(3, 9)[None], batch=3)
    assert [barcode(frame) for frame in unscaled.frames] == list(range(3, 9))


def test_clips_out_of_order_are_refused(whole: tuple[Path, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="order"):
        next(read_windows(whole[0], np.array([[5, 6], [4, 5]]), batch=2))


def test_a_video_of_one_frame_fills_a_clip(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "one.mp4", 1)
    (windows,) = read_windows(path, dense([0], 1, length=8, interval=2), batch=4)
    assert windows.frames.shape[0] == 1
    assert shown(windows).shape[:2] == (1, 8)


def test_what_cannot_be_decoded_shows_the_nearest_frame_that_can(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 40, gop=10)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for packet in packets[25:]:
        assert packet.pos is not None
        data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    windows = read_windows(path, dense([2, 12, 30], 40, length=4, interval=1), batch=1)
    last = max(at for at, _ in module.read_frames(path))
    assert 20 < last < 28
    assert [[barcode(frame) for frame in clip] for window in windows for clip in shown(window)] == [
        [0, 1, 2, 3],
        [10, 11, 12, 13],
        [last] * 4,
    ]


def test_videos_read_ahead_are_as_one_by_one_and_a_broken_one_is_told_of_in_its_turn(
    whole: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    path, frames = whole
    broken, few = tmp_path / "broken.mp4", dense([3, 20, 30], FRAMES, length=5, interval=3)
    broken.write_bytes(b"no video")
    late = np.array([[0, 1], [FRAMES - 1, FRAMES]])  # past the end
    videos = [(path, few), (broken, few), (path, few[:0]), (path, late), (path, few[1:])]
    clips: dict[int, list[np.ndarray]] = {}
    said: dict[int, str] = {}
    for number, found in read_ahead(videos, batch=1, size=(frames.shape[2], frames.shape[1])):
        try:
            for windows in found:
                clips.setdefault(number, []).append(shown(windows))
        except VideoError as error:
            said[number] = str(error)
    wanted = {0: few, 4: few[1:]}
    assert list(clips) == list(wanted)
    assert all(np.array_equal(np.concatenate(clips[number]), frames[indices]) for number, indices in wanted.items())
    assert list(said) == [1, 3]
    assert "broken.mp4" in said[1]
    assert "frame 41" in said[3]


def test_kept_and_decoded_clips_are_the_same_within_the_budget(whole: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    path, _ = whole
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    videos = [Video(path, FRAMES), Video(broken, 4), Video(path, FRAMES)]
    megabyte = FRAMES * 96 * 96 * 3 / 2**20
    kept = ClipReader(videos, size=96, cache_megabytes=2)
    assert megabyte < 2 < 2 * megabyte
    assert list(kept.decoded) == [0]  # the second is broken, the third too large
    indices = dense([3, 20], FRAMES, length=5, interval=3)
    assert np.array_equal(kept.read(0, indices), kept.read(2, indices))
    with pytest.raises(VideoError, match="broken"):
        kept.read(1, indices)


@pytest.mark.slow
def test_ten_seconds_of_720p_take_little_memory(tmp_path: Path) -> None:
    quick = "ref=1:subme=0:me=dia:trellis=0:rc-lookahead=0"
    path = write_clip(tmp_path / "a.mp4", 300, width=1280, height=720, gop=250, x264=quick)
    code = f"""
import resource
import numpy as np
from tps_pipeline.clips.reading import read_windows
from tps_pipeline.clips.sampling import dense_sample
indices = np.stack([dense_sample(key, 300, length=32, interval=2) for key in range(0, 300, 5)])
for windows in read_windows({str(path)!r}, indices, batch=8):
    windows.frames[windows.shown]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1.5


def test_pictures_in_memory_stand_for_a_file_of_them(whole: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    frames, raw, nowhere = whole[1], tmp_path / "raw.nut", tmp_path / "nowhere"
    with av.open(str(raw), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "rgb24"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
    indices = dense([3, 9, 30], FRAMES, length=5, interval=2)
    for size in (None, (40, 24)):
        with module.at_hand(nowhere, [*frames]):
            found = list(read_windows(nowhere, indices, batch=2, size=size))
        for one, other in zip(found, read_windows(raw, indices, batch=2, size=size), strict=True):
            assert np.array_equal(shown(one), shown(other))
    with module.at_hand(nowhere, [*frames]), pytest.raises(VideoError, match=f"ends before frame {FRAMES + 1}"):
        list(read_windows(nowhere, np.array([[FRAMES]]), batch=1))
    with pytest.raises(UnreachableError):
        list(read_windows(nowhere, indices, batch=1))
