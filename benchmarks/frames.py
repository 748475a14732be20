"""Frame extraction (decode and JPEG) against OpenCV's `read` and `imwrite`, in the same run.

    python benchmarks/frames.py [VIDEO ...] [--rounds 7]

Without videos, two clips are made (340x256 and 1280x720, B-frames). Prints one JSON line a clip and stride: medians of
CPU and wall seconds, and ours divided by OpenCV's (under 1: ours is faster). Both use one thread, the same JPEG quality
and the same memory settings, and take turns. For every fifth frame OpenCV skips with `grab`.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np

from tps_pipeline.training.loop import prepare_cpu
from tps_pipeline.video import extract, probe, sampled_frames

QUALITY = 95


def make_clip(path: Path, width: int, height: int, n_frames: int = 300) -> Path:
    """A clip of moving blurred noise: H.264, B-frames, one key frame in 250."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (height + n_frames, width + 2 * n_frames, 3), dtype=np.uint8)
    scene = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)  # pyright: ignore[reportCallIssue, reportArgumentType]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "veryfast", "bf": "3"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = width, height, "yuv420p", 250
        for index in range(n_frames):
            image = scene[index : index + height, 2 * index : 2 * index + width].copy()
            x = 5 * index % width
            image[height // 3 : height // 2, x : x + width // 8] ^= 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    return path


def ours(path: Path, out: Path, n_frames: int, stride: int) -> None:
    failed = extract([("clip", path, sampled_frames(n_frames, stride))], out / "frames.arrow", jpeg_quality=QUALITY)  # pyright: ignore[reportArgumentType]
    if failed:
        raise RuntimeError(failed)


def opencv(path: Path, out: Path, n_frames: int, stride: int) -> None:
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    for index in range(n_frames):
        if not video.grab():
            raise RuntimeError(f"{path}: OpenCV stops at frame {index + 1}")
        if index % stride == 0:
            _, image = video.retrieve()
            cv2.imwrite(str(out / f"img_{index + 1:05d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def measure(path: Path, stride: int, rounds: int) -> dict[str, object]:
    facts = probe(path)
    runs: dict[Callable[..., None], list[tuple[float, float]]] = {ours: [], opencv: []}
    for _ in range(rounds):
        for run in random.sample(list(runs), 2):
            with tempfile.TemporaryDirectory() as folder:
                cpu, wall = time.process_time(), time.perf_counter()
                run(path, Path(folder), facts.n_frames, stride)
                runs[run].append((time.process_time() - cpu, time.perf_counter() - wall))
    medians = {run.__name__: [statistics.median(times) for times in zip(*runs[run], strict=True)] for run in runs}
    ratios = [
        [a / b for a, b in zip(one, other, strict=True)] for one, other in zip(runs[ours], runs[opencv], strict=True)
    ]
    cpu, wall = (statistics.median(values) for values in zip(*ratios, strict=True))
    return {
        "clip": path.name,
        "size": [facts.width, facts.height],
        "frames": facts.n_frames,
        "stride": stride,
        "rounds": rounds,
        "ours_s": {"cpu": round(medians["ours"][0], 4), "wall": round(medians["ours"][1], 4)},
        "opencv_s": {"cpu": round(medians["opencv"][0], 4), "wall": round(medians["opencv"][1], 4)},
        "ratio": {"cpu": round(cpu, 3), "wall": round(wall, 3)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    prepare_cpu()
    with tempfile.TemporaryDirectory() as folder:
        clips = arguments.videos or [
            make_clip(Path(folder) / "clip_340x256.mp4", 340, 256),
            make_clip(Path(folder) / "clip_1280x720.mp4", 1280, 720, n_frames=90),
        ]
        for path in clips:
            for stride in (1, 5):
                print(json.dumps(measure(path, stride, arguments.rounds)), flush=True)


if __name__ == "__main__":
    main()
