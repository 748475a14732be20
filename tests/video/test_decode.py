import gc
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tests.video.clips import barcode, cut, rotate, write_clip
from tps_pipeline.errors import VideoError
from tps_pipeline.video.decode import Decoder, read_frames
from tps_pipeline.video.probe import probe

CLIPS: dict[str, dict[str, Any]] = {
    "closed_gop.mp4": {},
    "open_gop.mp4": {"x264": "open-gop=1"},
    "one_gop.mp4": {"gop": 250},
    "closed_gop.mkv": {},
    "vp9.webm": {"codec": "libvpx-vp9", "n_frames": 20},
    "odd_vp9.webm": {"codec": "libvpx-vp9", "n_frames": 20, "width": 101, "height": 67},
    "stream.ts": {},
    "old.avi": {"codec": "mpeg4"},
    "variable_rate.mp4": {"times": [33 * n + 7 * (n % 4) + 500 * (n > 20) for n in range(40)]},
}


@pytest.fixture(params=CLIPS)
def clip(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_clip(tmp_path / request.param, **CLIPS[request.param])


def test_every_frame_comes_once_and_in_order(clip: Path):
    frames = list(read_frames(clip))
    assert [index for index, _ in frames] == list(range(probe(clip).n_frames))
    assert [barcode(image) for _, image in frames] == list(range(len(frames)))


@pytest.mark.parametrize("indices", [range(0, 20, 5), range(3, 20, 2), [7], [0, 1, 19]])
def test_strided_read_equals_full_read(clip: Path, indices: list[int] | range):
    full = dict(read_frames(clip))
    part = dict(read_frames(clip, indices))
    assert list(part) == list(indices)
    for index, image in part.items():
        np.testing.assert_array_equal(image, full[index])


def test_strided_read_skips_work(tmp_path: Path):
    path = write_clip(tmp_path / "clip.mp4")
    seen = set()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.skip_frame = "NONREF"
        for frame in container.decode(stream):
            seen.add(frame.pts)
    assert len(seen) < 40  # the clip has frames that nothing refers to, so the test above does cover skipping


def test_edit_list_hides_what_was_cut_away(tmp_path: Path):
    path = cut(write_clip(tmp_path / "whole.mp4"), tmp_path / "cut.mp4", 17)
    assert probe(path).n_frames == 23
    assert [barcode(image) for _, image in read_frames(path)] == list(range(17, 40))
    assert [barcode(image) for _, image in read_frames(path, [0, 5, 22])] == [17, 22, 39]
    with pytest.raises(VideoError, match="pyav"):
        list(read_frames(path, decoder="decord"))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_applied(tmp_path: Path, degrees: int):
    plain = write_clip(tmp_path / "plain.mp4", 3)
    upright = dict(read_frames(plain))[2]
    turned = dict(read_frames(rotate(plain, degrees)))[2]
    np.testing.assert_array_equal(turned, np.rot90(upright, -degrees // 90))


@pytest.mark.parametrize("degrees", [0, 90])
@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_size_is_as_shown(tmp_path: Path, degrees: int, decoder: Decoder):
    path = write_clip(tmp_path / "clip.mp4", 3)
    if degrees:
        rotate(path, degrees)
    small = dict(read_frames(path, [1], size=(32, 48), decoder=decoder))[1]
    whole = dict(read_frames(path, [1]))[1]
    assert small.shape == (48, 32, 3)
    expected = cv2.resize(whole, (32, 48), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - expected).mean() < 12


@pytest.mark.parametrize("name", ["closed_gop.mp4", "open_gop.mp4", "variable_rate.mp4"])
@pytest.mark.parametrize("indices", [None, range(0, 40, 5)])
def test_decord_reads_the_same_pictures(tmp_path: Path, name: str, indices: range | None):
    path = write_clip(tmp_path / name, **CLIPS[name])
    ours, theirs = dict(read_frames(path, indices)), dict(read_frames(path, indices, decoder="decord"))
    assert list(ours) == list(theirs)
    for index, image in ours.items():
        np.testing.assert_array_equal(image, theirs[index])


def test_decord_is_kept_from_transport_streams(tmp_path: Path):
    with pytest.raises(VideoError, match="pyav"):
        list(read_frames(write_clip(tmp_path / "clip.ts", 5), decoder="decord"))


def test_what_was_decoded_is_freed_at_once(tmp_path: Path):
    path = rotate(write_clip(tmp_path / "a.mp4", 8), 90)
    list(read_frames(path))
    gc.collect()
    gc.disable()
    try:
        list(read_frames(path, [0, 3, 5], nearest=True))
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_opencv_agrees_on_colours(tmp_path: Path):
    path = write_clip(tmp_path / "clip.mp4", 5, width=340, height=256)
    _, theirs = cv2.VideoCapture(str(path)).read()
    _, ours = next(read_frames(path))
    np.testing.assert_array_equal(ours, theirs[..., ::-1])


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi"])
def test_asking_past_the_end_says_how_many_there_are(tmp_path: Path, name: str):
    path = write_clip(tmp_path / name, 6, codec="libx264" if name.endswith("mp4") else "mpeg4")
    with pytest.raises(VideoError, match=r"frame 7 was asked for, it has 6"):
        list(read_frames(path, [2, 6]))


@pytest.mark.parametrize("indices", [[3, 1], [1, 1], [-1, 2]])
def test_indices_must_ascend(tmp_path: Path, indices: list[int]):
    with pytest.raises(ValueError, match="ascending"):
        list(read_frames(write_clip(tmp_path / "clip.mp4", 5), indices))


def test_no_indices_no_frames(tmp_path: Path):
    assert list(read_frames(write_clip(tmp_path / "clip.mp4", 5), [])) == []
