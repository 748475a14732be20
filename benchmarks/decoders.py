"""Decoding to RGB by our reader, OpenCV, and torchcodec and decord2 where they are installed: the same frames, one run.

Every frame, every fifth, and dense clips (five stretches of 32 frames). Each on one thread, turn by turn; processor
time, and ours divided by each (under 1: ours is faster). Prints one JSON line a clip and pattern.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2

from benchmarks.frames import make_clip
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.video.decode import read_frames


def ours(path: Path, frames: Sequence[int]) -> int:
    return sum(1 for _ in read_frames(path, frames))


def opencv(path: Path, frames: Sequence[int]) -> int:
    video, wanted, done = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1]), {*frames}, 0
    for index in range(max(frames) + 1):
        video.grab()
        if index in wanted:
            cv2.cvtColor(video.retrieve()[1], cv2.COLOR_BGR2RGB)
            done += 1
    return done


def torchcodec(path: Path, frames: Sequence[int]) -> int:
    decoders: Any = importlib.import_module("torchcodec.decoders")
    video = decoders.VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode="exact")
    return len(video.get_frames_at(list(frames)).data)


def decord2(path: Path, frames: Sequence[int]) -> int:
    decord: Any = importlib.import_module("decord")
    return len(decord.VideoReader(str(path), num_threads=1).get_batch(list(frames)).asnumpy())


def available() -> list[Callable[[Path, Sequence[int]], int]]:
    """The readers that work here."""
    readers: list[Callable[[Path, Sequence[int]], int]] = [ours, opencv]
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder) / "clip.mp4", 64, 48, n_frames=20)
        for reader in (torchcodec, decord2):
            try:
                reader(clip, [0, 5])
                readers.append(reader)
            except Exception as error:  # not installed, or for other libraries than are here
                print(json.dumps({"left_out": reader.__name__, "why": str(error).splitlines()[0][:200]}))
    return readers


def measure(path: Path, frames: Sequence[int], readers: Sequence[Callable[..., int]], rounds: int) -> dict[str, Any]:
    """Median processor seconds of each, and ours over each."""
    seconds: dict[str, list[float]] = {reader.__name__: [] for reader in readers}
    for _ in range(rounds):
        for reader in random.sample(list(readers), len(readers)):
            begin = time.process_time()
            if reader(path, frames) != len(frames):
                raise SystemExit(f"{reader.__name__} read another number of frames")
            seconds[reader.__name__].append(time.process_time() - begin)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "cpu_seconds": {name: round(value, 4) for name, value in median.items()},
        "ratio": {name: round(median["ours"] / value, 2) for name, value in median.items() if name != "ours"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    prepare_cpu()
    readers = available()
    with tempfile.TemporaryDirectory() as folder:
        for width, height, n in ((340, 256, 300), (1280, 720, 180)):
            clip = make_clip(Path(folder) / f"{width}.mp4", width, height, n_frames=n)
            dense = [start + i for start in range(0, n - 32, (n - 32) // 4) for i in range(32)]
            patterns = {"every": range(n), "every fifth": range(0, n, 5), "dense clips": sorted({*dense})}
            for name, frames in patterns.items():
                row = {"benchmark": "decoders", "size": [width, height], "frames": name}
                print(json.dumps(row | measure(clip, list(frames), readers, given.rounds)), flush=True)


if __name__ == "__main__":
    main()
