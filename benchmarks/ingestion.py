"""Annotation ingestion against `json`, lists of dictionaries and a data frame, on generated files of 1.4 kB.

Prints one line of JSON: CPU microseconds a file (best of some interleaved rounds) and the baseline's ratio to ours.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa

from tps_pipeline.data.annotations import digest, find_annotations, read_files
from tps_pipeline.data.frame_labels import parse
from tps_pipeline.data.kinetics_tps import read_annotations
from tps_pipeline.labels import PARTS

FRAMES = 150
PARTS_A_FRAME = 13.7
"""Of Kinetics-TPS: 7.9 M parts on 574,851 training frames."""
STATES = ("none", "bend", "unbend", "hold", "step_on", "stand", "swing", "turn")


def generate(data: Path, *, videos: int) -> int:
    """Write a folder of annotations and a tar file of the same beside it; returns the number of files."""
    draw = random.Random(0)
    for video in range(videos):
        folder = data / "folder" / "train_annotations" / f"class_{video % 24:02}" / f"video{video:07}_000057_000067"
        folder.mkdir(parents=True)
        for frame in range(1, FRAMES + 1):
            (folder / f"img_{frame:05}.json").write_text(json.dumps({"humans": _humans(draw)}))
    (data / "tar").mkdir()
    archive = data / "tar" / "train_annotations.tar"
    subprocess.run(["tar", "-cf", archive, "-C", data / "folder", "train_annotations"], check=True)
    return videos * FRAMES


def ours(data: Path, manifest: pa.Table) -> int:
    return read_annotations(data, manifest).parts.num_rows


def data_frame(data: Path) -> int:
    """The plain way: parse each file, collect a dictionary a part, make a data frame."""
    rows = []
    for path in (data / "train_annotations").glob("*/*/*.json"):
        for person, human in enumerate(json.loads(path.read_text())["humans"]):
            for name, part in human["parts"].items():
                x1, y1, x2, y2 = part["box"]
                rows.append(
                    {
                        "video_id": path.parent.name,
                        "frame": int(path.stem[4:]),
                        "person": person,
                        "part": name,
                        "x1": x1,
                        "y1": y1,
                        "x2": x2,
                        "y2": y2,
                        "state": part["verb"],
                    }
                )
    return len(pd.DataFrame(rows).sort_values(["video_id", "frame", "person", "part"]))


def parsed(data: Path) -> int:
    """What cannot be spared by a reader of one file after another: its bytes, and typed parsing of them."""
    read = [read_files(source, data)[0] for source in find_annotations(data).sources.values()]
    return sum(len(person.parts) for files in read for file in files for person in parse(file.content)[0])


def digests(data: Path) -> int:
    """What finding changed labels costs at each ingestion."""
    return len([digest(read_files(source, data)[0]) for source in find_annotations(data).sources.values()])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--videos", type=int, default=134)
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        files = generate(data, videos=given.videos)
        ids = [f"video{video:07}_000057_000067" for video in range(given.videos)]
        labelled = ["train"] * len(ids)
        manifest = pa.table({"video_id": ids, "split": labelled, "action": labelled})
        runs: dict[str, Callable[[], int]] = {
            "ours": lambda: ours(data / "folder", manifest),
            "ours_tar": lambda: ours(data / "tar", manifest),
            "read_and_parsed": lambda: parsed(data / "folder"),
            "json_data_frame": lambda: data_frame(data / "folder"),
            "digest": lambda: digests(data / "folder"),
        }
        best = dict.fromkeys(runs, float("inf"))
        rows = {}
        for _ in range(given.rounds):
            for name, run in runs.items():
                start = time.process_time()
                rows[name] = run()
                best[name] = min(best[name], time.process_time() - start)
        if len({rows[name] for name in ("ours", "ours_tar", "read_and_parsed", "json_data_frame")}) > 1:
            raise SystemExit(f"the readers disagree: {rows}")
        size = sum(path.stat().st_size for path in data.glob("folder/*/*/*/*.json"))
    result = {f"{name}_us_per_file": round(seconds / files * 1e6, 1) for name, seconds in best.items()}
    ratio = round(best["json_data_frame"] / best["ours"], 2)
    over_parsing = round(best["ours"] / best["read_and_parsed"], 2)
    ratio_tar = round(best["json_data_frame"] / best["ours_tar"], 2)
    ratios = {"ratio": ratio, "ratio_tar": ratio_tar, "over_reading_and_parsing": over_parsing}
    print(json.dumps({"files": files, "bytes_a_file": round(size / files), **result, **ratios}))


def _humans(draw: random.Random) -> list[dict[str, object]]:
    people = 3
    humans = []
    for number in range(1, people + 1):
        count = min(len(PARTS), max(0, round(draw.gauss(PARTS_A_FRAME / people, 1.5))))
        parts = {}
        for part in draw.sample(PARTS, count):
            parts[part] = {"number": number, "name": part, "box": _box(draw), "verb": draw.choice(STATES)}
        humans.append({"number": number, "box": _box(draw), "parts": parts})
    return humans


def _box(draw: random.Random) -> list[int]:
    x, y = draw.randrange(200), draw.randrange(200)
    return [x, y, x + draw.randrange(1, 140), y + draw.randrange(1, 56)]


if __name__ == "__main__":
    main()
