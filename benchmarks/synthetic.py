"""Speed of the synthetic data generator: drawing, labelling, encoding and writing, on one core.

Prints one line of JSON: frames a second of CPU time and of wall-clock time, best of some rounds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from tps_pipeline.data.synthetic import ACTIONS, generate


def measure(videos: int, width: int, height: int, frames: int) -> dict[str, float]:
    """Frames a second of one data set."""
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        generate(Path(folder) / "data", videos=videos, seed=0, width=width, height=height, frames=frames)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        rows = [path.read_text().split() for path in Path(folder).glob("data/list/video_*_flist.csv")]
    drawn = sum(int(row.split(",")[1]) for rows_of_split in rows for row in rows_of_split)
    return {"frames_per_cpu_second": drawn / cpu, "frames_per_second": drawn / wall}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=len(ACTIONS))
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    rounds = [measure(args.videos, args.width, args.height, args.frames) for _ in range(args.rounds)]
    best = max(rounds, key=lambda one: one["frames_per_cpu_second"])
    print(json.dumps({"benchmark": "synthetic", "size": [args.width, args.height], "videos": args.videos, **best}))


if __name__ == "__main__":
    main()
