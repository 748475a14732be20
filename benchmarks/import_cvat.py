"""Import of a CVAT file of 100,000 boxes: seconds and memory, in a process of its own.

Prints one line of JSON: the wall seconds from the file to a whole data folder, the processor's seconds of the whole
process, its peak memory in megabytes, and how many boxes and frames there were. The video is one of drawn people.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from tps_pipeline.data.formats import cvat
from tps_pipeline.data.formats.importing import import_labels
from tps_pipeline.data.formats.neutral import LabelledVideo, Person, Seen
from tps_pipeline.labels import PARTS

PEOPLE, WIDTH, HEIGHT = 4, 320, 240


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boxes", type=int, default=100_000)
    parser.add_argument("--of", type=Path, help="only import this file, and say what it took")
    asked = parser.parse_args()
    if asked.of:
        print(json.dumps(measure(asked.of)))
        return
    with tempfile.TemporaryDirectory() as folder:
        labels = Path(folder) / "labels.xml"
        boxes, frames = generate(Path(folder), asked.boxes)
        command = [sys.executable, "-m", "benchmarks.import_cvat", "--of", str(labels)]
        took = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(json.dumps({"benchmark": "import_cvat", "boxes": boxes, "frames": frames, **took}))


def measure(labels: Path) -> dict[str, float]:
    """Seconds and megabytes of one import."""
    begin = time.perf_counter()
    import_labels(labels, labels.with_name("data"), "cvat")
    seconds = time.perf_counter() - begin
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": round(seconds, 2), "cpu_seconds": round(time.process_time(), 2), "peak_mb": round(memory)}


def generate(folder: Path, boxes: int) -> tuple[int, int]:
    """A video with some people in every frame, each with all parts; returns how many boxes and frames there are."""
    frames = -(-boxes // (PEOPLE * (1 + len(PARTS))))
    video = LabelledVideo("clip", frames, WIDTH, HEIGHT, "lunge")
    rng = np.random.default_rng(1)
    for number in range(PEOPLE):
        tracks = {part: _track(rng, frames) for part in PARTS}
        video.people[str(number)] = Person(_track(rng, frames), tracks)
    cvat.write(video, folder / "labels.xml")
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        for frame in range(frames):
            picture.pts = frame
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return PEOPLE * (1 + len(PARTS)) * frames, frames


def _track(rng: np.random.Generator, frames: int) -> dict[int, Seen]:
    corners = rng.integers(0, 200, (frames, 2))
    return {frame: Seen((int(x), int(y), int(x) + 30, int(y) + 30), "bend") for frame, (x, y) in enumerate(corners, 1)}


if __name__ == "__main__":
    main()
