import wave
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from tests.video.clips import barcode, rotate, write_clip
from tps_pipeline.video.decode import read_frames
from tps_pipeline.video.probe import probe


def test_facts_of_a_healthy_clip(tmp_path: Path):
    facts = probe(write_clip(tmp_path / "clip.mp4", 40, width=100, height=66))
    assert (facts.n_frames, facts.fps, facts.width, facts.height, facts.rotation) == (40, 30.0, 100, 66, 0)
    assert (facts.status, facts.error) == ("ok", None)


@pytest.mark.parametrize(("degrees", "size"), [(90, (66, 100)), (180, (100, 66)), (270, (66, 100))])
def test_size_is_as_shown(tmp_path: Path, degrees: int, size: tuple[int, int]):
    facts = probe(rotate(write_clip(tmp_path / "clip.mp4", 3, width=100, height=66), degrees))
    assert (facts.width, facts.height) == size
    assert facts.rotation == degrees


@pytest.mark.parametrize("name", ["clip.ts", "clip.avi", "clip.mkv"])
def test_counts_where_the_container_does_not(tmp_path: Path, name: str):
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    assert probe(write_clip(tmp_path / name, 21, codec=codec)).n_frames == 21


def test_stream_that_starts_amid_a_gop_counts_what_decodes(tmp_path: Path):
    whole, late = write_clip(tmp_path / "whole.mp4"), tmp_path / "late.mkv"
    with av.open(str(whole)) as container, av.open(str(late), "w") as out:
        copy = out.add_stream_from_template(container.streams.video[0])
        for packet in [packet for packet in container.demux(video=0) if packet.size][5:]:
            packet.stream = copy
            out.mux(packet)
    shown = [barcode(image) for _, image in read_frames(late)]
    assert probe(late).n_frames == len(shown) < 35
    assert shown[-20:] == list(range(20, 40))


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
@pytest.mark.parametrize("share", [0.35, 0.6, 0.97])
def test_truncated_file_is_readable_as_far_as_it_goes(tmp_path: Path, name: str, share: float):
    path = write_clip(tmp_path / name, mux={"movflags": "faststart"} if name.endswith("mp4") else None)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    facts = probe(path)
    shown = [barcode(image) for _, image in read_frames(path)]
    assert facts.status == "ok"
    assert 0 < facts.n_frames == len(shown) < 40
    # The last frames before the break may have lost a neighbour that was to be shown between them.
    assert shown[:-3] == list(range(len(shown) - 3))
    if name.endswith("mp4"):
        assert f"breaks off after {facts.n_frames} of 40 frames" in str(facts.error)


def _text(path: Path):
    path.write_text("not a video\n" * 100)


def _empty(path: Path):
    path.write_bytes(b"")


def _frameless(path: Path):
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()


def _sound(path: Path):
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 800, "NONE", ""))
        sound.writeframes(bytes(1600))


def _headless(path: Path):
    """An MP4 cut before its index, which lies at the end."""
    write_clip(path)
    path.write_bytes(path.read_bytes()[:2000])


def _noise(path: Path):
    """An MP4 whose index is whole and whose pictures are all gone."""
    write_clip(path, mux={"movflags": "faststart"})
    data = path.read_bytes()
    start = data.index(b"mdat") + 4
    path.write_bytes(data[:start] + bytes(len(data) - start))


def _folder(path: Path):
    path.mkdir()


@pytest.mark.parametrize("make", [_text, _empty, _frameless, _sound, _headless, _noise, _folder])
def test_bad_files_are_reported_not_raised(tmp_path: Path, make: Callable[[Path], None]):
    path = tmp_path / "clip.mp4"
    make(path)
    facts = probe(path)
    assert (facts.status, facts.n_frames) == ("unreadable", 0)
    assert str(path) in str(facts.error)
    assert "fetch the file again or leave it out" in str(facts.error)
