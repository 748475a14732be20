"""What is opened as a video, and how: no name is a URL, no file plays another, a passing failure is no result."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.video.clips import write_clip
from tps_pipeline.errors import UnreachableError, VideoError
from tps_pipeline.video import decode
from tps_pipeline.video.decode import read_frames
from tps_pipeline.video.frames import extract
from tps_pipeline.video.probe import probe, probe_all


@pytest.fixture
def listening() -> Iterator[tuple[int, list[Any]]]:
    """A port, and what has asked for it."""
    asked: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        done = threading.Event()

        def serve():
            while not done.is_set():
                try:
                    connection, address = server.accept()
                except TimeoutError:
                    continue
                asked.append(address)
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], asked
        done.set()
        thread.join()


NAMES = [
    "http:127.0.0.1:{port}?x.mp4", "tcp:127.0.0.1:{port}?.ts", "concat:a.mp4|b.mp4", "subfile:,,start,0,end,9,,:a.mp4",
    "cache:a.mp4", "file:a.mp4", "%03d.mp4", "async:a.mp4", "crypto:a.mp4", "data:x.mp4", "pipe:0.mp4", "*.mp4",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listening: tuple[int, list[Any]], name: str):
    port, asked = listening
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "good.mp4", 5)
    path = Path(name.format(port=port))
    (tmp_path / "good.mp4").rename(path)
    assert (probe(path).status, probe(path).n_frames) == ("ok", 5)
    assert len(list(read_frames(path))) == 5
    assert not asked


SCRIPTS = [
    "ffconcat version 1.0\nfile good.mp4\n",
    "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n",
    "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\ngood.mp4\n#EXT-X-ENDLIST\n",
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
    'contentType="video"><Representation id="0"><BaseURL>http://127.0.0.1:{port}/a.mp4</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "[playlist]\nFile1=http://127.0.0.1:{port}/a.mp4\n",
    "<ASX><ENTRY><REF HREF='http://127.0.0.1:{port}/a.mp4'/></ENTRY></ASX>",
    "RTSPtextRTSP://127.0.0.1:{port}/a",
    ";FFMETADATA1\ntitle=x\n",
]


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".m3u8", ".ffconcat"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_file_that_names_others_is_unreadable(
    tmp_path: Path, listening: tuple[int, list[Any]], script: str, suffix: str
):
    port, asked = listening
    write_clip(tmp_path / "good.mp4", 5)
    path = tmp_path / f"script{suffix}"
    path.write_text(script.format(port=port))
    assert probe(path).status == "unreadable"
    with pytest.raises(VideoError):
        next(read_frames(path))
    assert not asked


def _fifo(path: Path):
    os.mkfifo(path)


def _socket(path: Path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(path))


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_fifo, _socket, _endless, Path.mkdir])
def test_what_is_no_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]):
    monkeypatch.chdir(tmp_path)
    make(Path("v.mp4"))
    facts = probe("v.mp4")
    assert facts.status == "unreadable"
    assert "is no file" in str(facts.error)


def _failing_disk(code: int, start: int):
    """A disk that fails from a byte on."""
    read = os.read

    def fails(file: int, size: int):
        if os.lseek(file, 0, os.SEEK_CUR) + size > start:
            raise OSError(code, os.strerror(code))
        return read(file, size)

    return fails


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EACCES])
@pytest.mark.parametrize("start", [0, 20_000])
def test_a_passing_failure_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, start: int):
    path = tmp_path / "v.mp4"
    write_clip(path, 300, mux={"movflags": "faststart"})
    monkeypatch.setattr(decode, "_BUFFER", 4096)
    with monkeypatch.context() as failing:
        failing.setattr(os, "read", _failing_disk(code, start))
        with pytest.raises(UnreachableError, match=os.strerror(code)):
            probe(path)
        out = tmp_path / "frames.arrow"
        with pytest.raises(UnreachableError, match=r"v\.mp4 cannot be read now"):
            extract([("v", path, list(range(1, 301)))], out)
        assert not out.exists()
    assert probe(path).n_frames == 300


def test_what_is_not_there_is_no_result(tmp_path: Path):
    write_clip(tmp_path / "a.mp4", 5)
    with pytest.raises(UnreachableError, match=r"b\.mp4 cannot be read now"):
        list(probe_all([tmp_path / "a.mp4", tmp_path / "b.mp4"]))
    named = list(probe_all([tmp_path / "a.mp4", tmp_path / "b.mp4"], go_on=True))
    assert [facts.status for facts in named] == ["ok", "unreadable"]
