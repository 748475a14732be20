"""Small real videos whose frames carry their own number as a barcode."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT, BLOCK, BITS = 96, 64, 8, 12


def write_clip(
    path: Path,
    n_frames: int = 40,
    *,
    width: int = WIDTH,
    height: int = HEIGHT,
    codec: str = "libx264",
    gop: int = 12,
    x264: str = "open-gop=0",
    times: Sequence[int] | None = None,
    mux: dict[str, str] | None = None,
) -> Path:
    """A clip with B-frames at 30 frames a second; `times` (milliseconds) make its rate vary."""
    with av.open(str(path), "w", options=mux or {}) as container:
        stream = container.add_stream(codec, rate=30)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = width, height, "yuv420p", gop
        stream.thread_count = 1
        if codec == "libx264":
            stream.max_b_frames = 3
            stream.options = {"x264-params": f"{x264}:b-adapt=0:b-pyramid=normal:scenecut=0:threads=1"}
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(n_frames):
            frame = av.VideoFrame.from_ndarray(picture(index, width, height), "rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def picture(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A moving texture under the index's barcode (low bit first)."""
    y, x = np.mgrid[:height, :width]
    grey = 128 + 60 * np.sin((x + 3 * index) / 9) * np.cos((y - index) / 7)
    image = np.stack([grey, grey[::-1], np.full_like(grey, 90)], axis=2).astype(np.uint8)
    for bit in range(BITS):
        image[: 2 * BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 235 * (index >> bit & 1) + 10
    return image


def barcode(image: np.ndarray) -> int:
    """The index that a decoded picture carries."""
    blocks = [image[3:13, bit * BLOCK + 2 : (bit + 1) * BLOCK - 2].mean() for bit in range(BITS)]
    return sum(int(block > 128) << bit for bit, block in enumerate(blocks))


def rotate(path: Path, degrees: int) -> Path:
    """Declare in an MP4 that its pictures are to be shown turned clockwise."""
    data = bytearray(path.read_bytes())
    cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    # The matrix lies 44 bytes into a version 0 track header (ISO 14496-12, 8.3.2), as 16.16 fixed point.
    at = data.index(b"tkhd") + 4 + 40
    matrix = (cosine, sine, 0, -sine, cosine, 0)
    data[at : at + 24] = b"".join((value << 16).to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(data)
    return path


def cut(source: Path, path: Path, start: int) -> Path:
    """Copy packets without decoding from the key frame before `start` on: an edit list hides what lies before it."""
    with av.open(str(source)) as container, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as out:
        stream = container.streams.video[0]
        copy = out.add_stream_from_template(stream)
        packets = [packet for packet in container.demux(stream) if packet.size]
        shown = [packet.pts for packet in packets if packet.pts is not None]
        assert len(shown) == len(packets)
        shift = sorted(shown)[start]
        first = max(n for n, packet in enumerate(packets) if packet.is_keyframe and shown[n] <= shift)
        for packet, time in zip(packets[first:], shown[first:], strict=True):
            assert packet.dts is not None
            packet.pts, packet.dts, packet.stream = time - shift, packet.dts - shift, copy
            out.mux(packet)
    return path
