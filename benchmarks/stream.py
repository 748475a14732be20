"""The memory of `tps predict --stream` on a long video: whether it grows, minute by minute.

    python -m benchmarks.stream [--store demo/store] [--method instance_pcp] [--minutes 10] [--save json,mp4]

A 1280x720 clip of ten seconds with three people is drawn and repeated. Prints one JSON line: what the command's process
holds (MiB, as the kernel counts it) when it has told of each minute of the video, and the most that it ever held.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av

from benchmarks.predict import PEOPLE, SIZE, draw

CLIP, RATE = 300, 30
"""Frames of the clip, and how many are shown a second."""


def repeated(clip: Path, times: int, path: Path) -> Path:
    """The same clip so many times, its packets as they are."""
    with av.open(str(path), "w") as out, av.open(str(clip)) as first:
        stream = out.add_stream_from_template(first.streams.video[0])
        base = first.streams.video[0].time_base
        assert base is not None
        length = int(Fraction(CLIP, RATE) / base)
        for again in range(times):
            with av.open(str(clip)) as container:
                for packet in container.demux(container.streams.video[0]):
                    if packet.dts is not None and packet.pts is not None:
                        packet.dts, packet.pts = packet.dts + again * length, packet.pts + again * length
                        packet.stream = stream
                        out.mux(packet)
    return path


def held(process: subprocess.Popen[bytes]) -> dict[str, int]:
    """What a process holds now, and the most that it has held: MiB."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return {}
    said = dict(line.split(":", 1) for line in lines)
    return {
        name: int(said[key].split()[0]) // 1024 for name, key in (("now", "VmRSS"), ("most", "VmHWM")) if key in said
    }


def told(lines: Path) -> float:
    """Seconds of the video that have been told of."""
    with lines.open("rb") as file:
        file.seek(max(0, lines.stat().st_size - 2**18))
        whole = file.read().rpartition(b"\n")[0].rpartition(b"\n")[2]
    return json.loads(whole)["seconds"] if whole else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="demo/store")
    parser.add_argument("--method", default="instance_pcp")
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--save", default="json,mp4")
    arguments = parser.parse_args()
    if not Path(arguments.store, "lineage").is_dir():
        print(f"{arguments.store} is no store: run `make demo` first, or name one", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        clip = draw(Path(folder) / "clip.mp4", CLIP)
        long = repeated(clip, arguments.minutes * 60 * RATE // CLIP, Path(folder) / "long.mp4")
        said = ["predict", str(long), "--stream", "--store", arguments.store, "--method", arguments.method]
        said += ["--save", arguments.save, "--out", folder, "--min-score", "0", "--json"]
        began = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", "from tps_pipeline.cli.app import app; app()", *said], stdout=subprocess.PIPE
        ) as process:
            lines = Path(folder) / f"long_{arguments.method}.jsonl"
            by_minute, last = list[int](), dict[str, int]()
            while process.poll() is None:
                last = held(process) or last
                if lines.exists() and told(lines) >= 60 * (len(by_minute) + 1) and "now" in last:
                    by_minute.append(last["now"])
                time.sleep(0.2)
        took = time.perf_counter() - began
        found = {
            "method": arguments.method,
            "clip": [*SIZE, PEOPLE],
            "minutes": arguments.minutes,
            "save": arguments.save,
        }
        print(json.dumps({**found, "exit": process.returncode, "MiB_by_minute": by_minute, "MiB_most": last.get("most"),
                          "frames_per_second": round(arguments.minutes * 60 * RATE / took, 1),
                          "threads": os.environ.get("OMP_NUM_THREADS")}), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
